/* The verbs that make clips: generate, animate, edit, stylize, sound, visualize. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>

#include "src/cli/job.h"

static int make_clip(cli_job *j, rlm_clip *out, rlm_report *report, rlm_error *err)
{
    return rlm_generate(j->session, &j->request, out, report, err);
}

static bool is_there(const char *path)
{
    struct stat st;
    return !stat(path, &st) && st.st_size > 0;
}

/* One clip of a batch, from its own options. */
static int generate_one(cli_job *j, const cli_args *item, int number)
{
    rlm_error err = {0};
    int code = cli_job_fill(j, item, 0);
    if (!code)
        code = cli_job_name(j, number);
    if (code)
        return code;
    if (item->skip_existing && is_there(j->output)) {
        if (!item->quiet)
            fprintf(stderr, "reelm: %s: is there already\n", j->output);
        return EXIT_DONE;
    }
    code = cli_job_inputs(j);
    if (!code)
        code = cli_job_check_shape(j);
    if (!code && number == 1)
        code = cli_settings_match(j);
    if (code)
        return code;
    code = cli_best_check(j);
    if (code)
        return code;
    if (cli_job_open(j, &err) || cli_best_open(j, &err))
        return cli_error(&err);
    if (number == 1 && !item->prompts_file)
        rlm_session_batch(j->session, (int)item->batch_count);
    if (item->dry_run)
        return cli_job_dry_run(j, make_clip);
    return cli_job_run(j, j->tries > 1 ? cli_best_make : make_clip);
}

int cmd_generate(const cli_args *a)
{
    cli_args own = *a;
    cli_batch batch = {0};
    cJSON *saved;
    int code = cli_settings_recall(&own, &saved);
    if (!code && own.verb == CLI_ANIMATE && !own.init_img && !own.input_count && !own.prompts_file)
        code = cli_usage("animate: an image is missing: reelm animate IMAGE -o FILE");
    if (!code)
        code = cli_batch_open(&batch, &own);
    int count = code ? 0 : cli_batch_count(&batch), failed = 0;
    cli_job j = {.args = &own, .many = count > 1, .recorded = saved};
    if (count > 1 && own.output && !strcmp(own.output, "-"))
        code = cli_usage("-o -: stdout takes one clip, not %d", count);
    else if (count > 1 && own.resume_tokens)
        code = cli_usage("--resume goes on with one clip, not with a batch");
    cli_catch_interrupt();
    for (int i = 0; i < count && !code; i++) {
        cli_args item;
        code = cli_batch_item(&batch, i, &item);
        /* a line that names its own output gets that name */
        j.many = count > 1 && (item.output == own.output || own.batch_count > 1);
        if (!code)
            code = generate_one(&j, &item, i + 1);
        cli_job_clear(&j);
        j.args = &own;
        if (code && count > 1 && code != EXIT_INTERRUPTED && code != EXIT_MODEL) {
            failed++; /* the others go on */
            code = EXIT_DONE;
        }
    }
    if (failed) {
        fprintf(stderr, "reelm: %d of %d clips failed\n", failed, count);
        code = code ? code : EXIT_FAIL;
    }
    cli_job_close(&j);
    cli_batch_close(&batch);
    cJSON_Delete(saved);
    return code;
}
