/* eval world: what the judge says of clips of the playground, or how right it is. */
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/cli/cli.h"
#include "src/reelm_train.h"

static const char *word(const cJSON *o, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsString(v) ? v->valuestring : "";
}

/* Answers that say no, clip by clip; with -v all of them. */
static void print_answers(const cli_args *a, const cJSON *clips)
{
    const cJSON *clip, *row;
    cJSON_ArrayForEach(clip, clips)
    {
        cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(clip, "answers"))
        {
            int holds = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(row, "holds"));
            const char *of = word(row, "of");
            if (!holds || a->verbose)
                printf("%-24s  %s%s%-10s  said %-10s  seen %-10s  %s\n", word(clip, "clip"), of,
                       *of ? " " : "", word(row, "fact"), word(row, "said"), word(row, "seen"),
                       holds ? "holds" : "does not hold");
        }
    }
}

static void print_report(const cli_args *a, const cJSON *root)
{
    const cJSON *fact, *clips = cJSON_GetObjectItemCaseSensitive(root, "clips");
    const char *rate = cJSON_IsArray(clips) ? "holds" : "accuracy";
    if (cJSON_IsArray(clips))
        print_answers(a, clips);
    printf("%-12s %8s %9s\n", "fact", "asked", rate);
    cJSON_ArrayForEach(fact, cJSON_GetObjectItemCaseSensitive(root, "facts"))
        printf("%-12s %8.0f %8.2f%%\n", fact->string, cli_json_number(fact, "asked"),
               100 * cli_json_number(fact, rate));
    printf("%-12s %8s %8.2f%%\n", "mean", "", 100 * cli_json_number(root, "mean"));
    const cJSON *may = cJSON_GetObjectItemCaseSensitive(root, "may_judge");
    if (may)
        puts(cJSON_IsTrue(may) ? "it may judge" : "it may not judge");
}

static int fill_options(const cli_args *a, rlm_eval_world_options *o)
{
    static const char *const splits[] = {"train", "validation", "test"};
    static char judge[4096];
    o->judge = a->judge ? a->judge : cli_asset("world/judge.safetensors", judge, sizeof judge);
    o->inputs = a->inputs + 1;
    o->input_count = a->input_count - 1;
    o->prompt = a->prompt;
    for (int i = 0; i < RLM_SPLITS && a->split; i++)
        if (!strcmp(a->split, splits[i]))
            o->split = i;
    if (a->split && strcmp(a->split, splits[o->split]))
        return cli_usage("--split: '%s' is none of train, validation, test", a->split);
    if (a->count > 0 && o->input_count)
        return cli_usage("--count is of renders: give it or clips, not both");
    if (a->count > 0)
        o->count = a->count;
    o->first = a->seed < 0 ? 0 : a->seed;
    o->round_trip = a->round_trip;
    o->model_dir = cli_model_dir(a);
    o->search = (int)a->search;
    o->perceptual = a->perceptual;
    if (o->search && !o->round_trip)
        return cli_usage("--search of world needs --round-trip");
    o->certify = a->certify;
    o->threads = (int)a->threads;
    o->cpu_mask = a->cpu_mask;
    return EXIT_DONE;
}

int cmd_eval_world(const cli_args *a)
{
    rlm_eval_world_options o;
    rlm_options shared;
    rlm_error err = {0};
    char *json = NULL;
    cli_progress progress;
    rlm_eval_world_defaults(&o);
    cli_library_options(a, &shared);
    o.log = shared.log;
    o.log_cookie = shared.log_cookie;
    int exit_code = fill_options(a, &o);
    if (exit_code)
        return exit_code;
    cli_catch_interrupt();
    cli_progress_begin(&progress, a);
    o.progress = cli_progress_step;
    o.progress_cookie = &progress;
    int code = rlm_eval_world(&o, &json, &err);
    cli_progress_end(&progress);
    return code ? cli_error(&err) : cli_show(a, cli_json_take(&json), print_report);
}
