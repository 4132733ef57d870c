/* eval video|audio|world: measured quality of the tokenizers, or of another codec's files. */
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/cli/cli.h"
#include "src/reelm_train.h"

/* ---- For people ---- */

static void print_cell(const cJSON *value, int width)
{
    char text[32] = "-";
    if (cJSON_IsNumber(value))
        snprintf(text, sizeof text, "%.10g", value->valuedouble);
    printf("  %*s", width, text);
}

/* Column widths follow the names of the measures. */
static int width_of(const cJSON *measure)
{
    int n = (int)strlen(measure->string);
    return n < 8 ? 8 : n;
}

static void print_row(const char *name, int files, const cJSON *values, const cJSON *measures)
{
    const cJSON *m;
    printf("%-24.24s", name);
    if (files >= 0)
        printf("  %5d", files);
    else
        printf("  %5s", "");
    cJSON_ArrayForEach(m, measures)
        print_cell(cJSON_GetObjectItemCaseSensitive(values, m->string), width_of(m));
    putchar('\n');
}

static void print_bits(const cJSON *bits)
{
    const cJSON *pair = cJSON_GetObjectItemCaseSensitive(bits, "max_correlation_bits");
    if (!bits)
        return;
    printf("bits: each is 1 in %.4f to %.4f of the codes; largest correlation %.4f (bits %d and "
           "%d); %.0f of %.0f codes differ\n",
           cli_json_number(bits, "least_mean"), cli_json_number(bits, "most_mean"),
           cli_json_number(bits, "max_correlation"), cJSON_GetArrayItem(pair, 0)->valueint,
           cJSON_GetArrayItem(pair, 1)->valueint, cli_json_number(bits, "different_codes"),
           cli_json_number(bits, "codes"));
}

static void print_codes(const cJSON *codes)
{
    const cJSON *used = cJSON_GetObjectItemCaseSensitive(codes, "used");
    const cJSON *perplexity = cJSON_GetObjectItemCaseSensitive(codes, "perplexity");
    for (int i = 0; i < cJSON_GetArraySize(used); i++)
        printf("level %d: %.1f %% of the codes used, perplexity %.1f\n", i,
               100 * cJSON_GetArrayItem(used, i)->valuedouble,
               cJSON_GetArrayItem(perplexity, i)->valuedouble);
}

static void print_report(const cli_args *a, const cJSON *root)
{
    const cJSON *mean = cJSON_GetObjectItemCaseSensitive(root, "mean"), *m, *item;
    printf("%-24s  %5s", a->inputs[0], "files");
    cJSON_ArrayForEach(m, mean) printf("  %*s", width_of(m), m->string);
    putchar('\n');
    if (a->verbose)
        cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "items"))
            print_row(cJSON_GetObjectItemCaseSensitive(item, "name")->valuestring, -1, item, mean);
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "groups"))
        print_row(item->string, (int)cli_json_number(item, "files"), item, mean);
    item = cJSON_GetObjectItemCaseSensitive(root, "mean_of_groups");
    if (item)
        print_row("mean of groups", -1, item, mean);
    print_row("all files", (int)cli_json_number(root, "measured"), mean, mean);
    print_bits(cJSON_GetObjectItemCaseSensitive(root, "bits"));
    print_codes(cJSON_GetObjectItemCaseSensitive(root, "codes"));
}

static void print_list(const cli_args *a, const cJSON *root)
{
    const cJSON *file;
    (void)a;
    cJSON_ArrayForEach(file, cJSON_GetObjectItemCaseSensitive(root, "files"))
        puts(file->valuestring);
}

/* ---- Tokenizers ---- */

static int fill_options(const cli_args *a, rlm_eval_options *o)
{
    o->model_dir = cli_model_dir(a);
    o->inputs = a->inputs + 1;
    o->input_count = a->input_count - 1;
    o->against = a->against;
    if (a->split && !strcmp(a->split, "test"))
        return cli_usage("--split test is of the playground: eval world");
    if (a->split && strcmp(a->split, "all"))
        o->split = strcmp(a->split, "train") ? RLM_SPLIT_VALIDATION : RLM_SPLIT_TRAIN;
    o->most = a->limit;
    o->world = (int)a->world_clips;
    o->controls = a->controls;
    if (o->controls && !o->world)
        return cli_usage("--controls needs --world N");
    o->native = a->native;
    o->levels = (int)a->levels;
    o->list = a->list;
    o->perceptual = a->perceptual;
    o->search = (int)a->search;
    o->sheet = a->sheet_file;
    o->keep = a->keep;
    o->threads = (int)a->threads;
    o->cpu_mask = a->cpu_mask;
    return EXIT_DONE;
}

static int evaluate(const cli_args *a, int what)
{
    rlm_eval_options o;
    rlm_options shared;
    rlm_error err = {0};
    char *json = NULL;
    rlm_eval_defaults(&o, what);
    cli_library_options(a, &shared);
    o.log = shared.log;
    o.log_cookie = shared.log_cookie;
    int exit_code = fill_options(a, &o);
    if (exit_code)
        return exit_code;
    if (!o.input_count && !o.world)
        return cli_usage("usage: reelm eval %s DIR... (or --world N)", a->inputs[0]);
    cli_catch_interrupt();
    cli_progress progress;
    cli_progress_begin(&progress, a);
    o.progress = cli_progress_step;
    o.progress_cookie = &progress;
    int code = rlm_eval(&o, &json, &err);
    cli_progress_end(&progress);
    return code ? cli_error(&err)
                : cli_show(a, cli_json_take(&json), a->list ? print_list : print_report);
}

static int eval_video(const cli_args *a)
{
    return evaluate(a, RLM_EVAL_VIDEO);
}

static int eval_audio(const cli_args *a)
{
    return evaluate(a, RLM_EVAL_AUDIO);
}

int cmd_eval(const cli_args *a)
{
    static const struct {
        const char *name;
        int (*run)(const cli_args *a);
    } kinds[] = {
        {"video", eval_video},
        {"audio", eval_audio},
        {"world", cmd_eval_world},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(a->inputs[0], kinds[i].name))
            return kinds[i].run(a);
    return cli_usage("eval: '%s' is none of video, audio, world", a->inputs[0]);
}
