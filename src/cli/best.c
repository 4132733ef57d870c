/* --best-of N: clips of N seeds; the judge keeps the one that shows most of what the prompt names
 * (rlm_generate_best). The seed that is kept makes the same clip alone. */
#include <stdio.h>

#include <cjson/cJSON.h>

#include "src/cli/job.h"

int cli_best_check(cli_job *j)
{
    const cli_args *a = j->args;
    if (j->tries < 2)
        return 0;
    if (a->resume_tokens)
        return cli_usage("--best-of makes several clips, --resume goes on with one");
    if (!rlm_judge_asks(j->request.prompt)) {
        static const char why[] =
            "--best-of has no effect: the prompt names nothing that the judge "
            "knows (bodies, what they do, the floor, the sky, the weather)";
        if (a->strict)
            return cli_usage("%s", why);
        if (!a->quiet)
            fprintf(stderr, "reelm: %s\n", why);
        j->tries = 1;
    }
    if (j->tries > 1 && j->tokens[0] && !cli_is_regular(j->tokens))
        return cli_usage("--best-of: tokens go to a file, not to %s", j->tokens);
    return 0;
}

int cli_best_open(cli_job *j, rlm_error *err)
{
    char path[CLI_PATH_ROOM];
    const cli_args *a = j->args;
    if (j->tries < 2 || j->judge)
        return 0;
    return rlm_judge_open(&j->judge, cli_asset("world/judge.safetensors", path, sizeof path),
                          (int)a->threads, a->cpu_mask, err);
}

int cli_best_make(cli_job *j, rlm_clip *out, rlm_report *report, rlm_error *err)
{
    int code = rlm_generate_best(j->session, j->judge, &j->request, j->tries, out, report,
                                 &j->choice, err);
    j->request.seed = j->choice.seed; /* what is said of the clip is said of this seed */
    return code;
}

void cli_best_add(const cli_job *j, cJSON *o)
{
    if (!j->choice.tried)
        return;
    cJSON *chosen = cJSON_AddObjectToObject(o, "chosen");
    cJSON_AddNumberToObject(chosen, "of", j->choice.tried);
    cJSON_AddNumberToObject(chosen, "first_seed", (double)j->choice.first);
    cJSON_AddNumberToObject(chosen, "facts_asked", j->choice.verdict.asked);
    cJSON_AddNumberToObject(chosen, "facts_shown", j->choice.verdict.holds);
}

void cli_best_say(const cli_job *j)
{
    const rlm_verdict *v = &j->choice.verdict;
    unsigned long long first = j->choice.first;
    if (j->choice.tried)
        printf("%s: chosen of seeds %llu to %llu, shows %d of %d facts\n", j->output, first,
               first + (unsigned long long)j->choice.tried - 1, v->holds, v->asked);
}
