/* extend: a video goes on (or began earlier). Forward, from file to file, the library writes while
 * it makes; what needs the whole film is made in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/cli/job.h"

static int make_longer(cli_job *j, rlm_clip *out, rlm_report *report, rlm_error *err)
{
    int code =
        rlm_extend(j->session, &j->request, &j->condition, j->args->seconds, out, report, err);
    if (!j->request.dry_run && out->video.count)
        cli_drift_add(&j->drift, &out->video);
    return code;
}

/* The job and the shape of what went into the file so far: counts, no pictures. */
typedef struct growing {
    cli_job *job;
    rlm_clip shape;
} growing;

static void seen(void *cookie, const rlm_clip *part)
{
    growing *g = cookie;
    int pictures = g->shape.video.count + part->video.count;
    int64_t samples = g->shape.audio.count + part->audio.count;
    cli_drift_add(&g->job->drift, &part->video);
    g->shape = *part;
    g->shape.video.count = pictures;
    g->shape.audio.count = samples;
    g->shape.video.rgb = NULL;
    g->shape.audio.samples = NULL;
    g->shape.metadata = NULL;
}

static const char *settings(void *cookie, const rlm_report *report)
{
    growing *g = cookie;
    rlm_report none = {0};
    cJSON *o = cli_job_outcome(g->job, &g->shape, report ? report : &none);
    free(g->job->final);
    g->job->final = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    return cli_embedded(g->job->args, g->job->final);
}

static int make_in_file(cli_job *j, rlm_clip *out, rlm_report *report, rlm_error *err)
{
    const cli_args *a = j->args;
    growing g = {.job = j};
    rlm_extend_hooks hooks = {.part = seen, .settings = settings, .cookie = &g};
    rlm_write_options w;
    cli_write_options(a, &w);
    int code = rlm_extend_file(j->session, &j->request, cli_job_source(a), a->seconds, j->output,
                               &w, &hooks, report, err);
    *out = g.shape;
    return code;
}

/* One prompt a window: from the options, or the lines of a file. */
static int window_prompts(cli_job *j, const cli_args *a, const cli_batch *lines)
{
    if (a->prompts.count && (lines->lines || a->prompt || a->prompt_file))
        return cli_usage("extend: --prompts brings the prompts; leave %s out",
                         lines->lines ? "--prompts-file" : "--prompt");
    for (int i = 0; i < lines->lines; i++)
        if (lines->object[i])
            return cli_usage("%s:%d: one prompt a line is expected, for one window each",
                             a->prompts_file, lines->number[i]);
    j->request.prompts = lines->lines ? (const char *const *)lines->line : a->prompts.items;
    j->request.prompt_count = lines->lines ? lines->lines : a->prompts.count;
    return 0;
}

int cmd_extend(const cli_args *a)
{
    cli_args own = *a;
    cli_batch lines = {0};
    rlm_error err = {0};
    cJSON *saved;
    int code = cli_settings_recall(&own, &saved);
    if (!code && ((!own.init_video && !own.input_count) || own.seconds <= 0))
        code = cli_usage("usage: reelm extend VIDEO --seconds S [-p PROMPT] -o FILE");
    if (!code)
        code = cli_batch_open(&lines, &own);
    cli_job j = {.args = &own, .recorded = saved};
    if (!code)
        code = cli_job_fill(&j, &own, lines.seed);
    if (!code)
        code = window_prompts(&j, &own, &lines);
    if (!code)
        code = cli_job_name(&j, 1);
    if (!code)
        code = cli_job_check_shape(&j);
    if (!code)
        code = cli_job_inputs(&j);
    if (!code)
        code = cli_settings_match(&j);
    if (!code && cli_job_open(&j, &err))
        code = cli_error(&err);
    cli_make make = j.in_file ? make_in_file : make_longer;
    cli_catch_interrupt();
    if (!code)
        code = own.dry_run ? cli_job_dry_run(&j, make) : cli_job_run(&j, make);
    cli_job_close(&j);
    cli_batch_close(&lines);
    cJSON_Delete(saved);
    return code;
}
