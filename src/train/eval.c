/* The door of evaluation: what is named goes through the tokenizers (or stands beside what another
 * codec made of it), is measured, and becomes one JSON object. */
#include "src/train/eval.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/pipeline.h"

void rlm_eval_defaults(rlm_eval_options *o, int what)
{
    *o = (rlm_eval_options){.what = what, .split = -1};
}

typedef rlm_eval_job job;

/* ---- All of them ----------------------------------------------------------------------------- */

bool rlm_eval_shown(const rlm_eval_job *j, int index)
{
    int n = j->list.count, columns = n < RLM_EVAL_COLUMNS ? n : RLM_EVAL_COLUMNS;
    return index * columns / n != (index + 1) * columns / n;
}

static int tell(const job *j, int done)
{
    rlm_progress p = {.stage = RLM_STAGE_MEASURE, .done = done, .total = j->list.count};
    p.elapsed_s = rlm_now() - j->start;
    p.eta_s = done ? p.elapsed_s / done * (p.total - done) : 0;
    return j->o->progress && j->o->progress(j->o->progress_cookie, &p);
}

/* A file that cannot be read is left out with a word. */
static int judge_all(job *j, rlm_error *err)
{
    rlm_error why = {0};
    for (int i = 0; i < j->list.count; i++) {
        rlm_clip clip;
        if (tell(j, i))
            return rlm_fail(err, RLM_E_CANCELLED, "evaluation: stopped after %d of %d files", i,
                            j->list.count);
        if (rlm_eval_read(&j->list, j->o, &j->list.items[i], false, &clip, &why)) {
            rlm_logf(&j->log, 1, "%s; skipped", why.text);
            j->skipped++;
            continue;
        }
        int code = j->o->what == RLM_EVAL_AUDIO ? rlm_eval_audio_judge(j, i, &clip, err)
                                                : rlm_eval_video_judge(j, i, &clip, err);
        rlm_clip_free(&clip);
        RLM_TRY(code);
        j->measured++;
    }
    tell(j, j->list.count);
    return j->measured ? 0 : rlm_fail(err, RLM_E_MEDIA, "evaluation: no file could be read");
}

static int open_engine(job *j, rlm_error *err)
{
    rlm_options options;
    rlm_options_defaults(&options);
    options.threads = j->o->threads;
    options.cpu_mask = j->o->cpu_mask;
    options.log = j->o->log;
    options.log_cookie = j->o->log_cookie;
    RLM_TRY(rlm_open(&j->engine, j->o->model_dir, &options, err));
    return rlm_session_open(&j->session, j->engine, err);
}

static int open_all(job *j, rlm_error *err)
{
    const rlm_eval_options *o = j->o;
    RLM_TRY(rlm_eval_list_open(&j->list, o, &j->log, err));
    if (o->list)
        return 0;
    RLM_TRY(rlm_par_open(&j->par, o->threads, err));
    if (!o->against)
        RLM_TRY(open_engine(j, err));
    if (o->search) {
        rlm_search_options s = {.model_dir = o->model_dir,
                                .steps = o->search,
                                .perceptual = o->perceptual,
                                .threads = o->threads,
                                .cpu_mask = o->cpu_mask};
        RLM_TRY(rlm_search_open(&j->search, &s, err));
    }
    j->tally.measures = j->measures;
    return o->what == RLM_EVAL_AUDIO ? rlm_eval_audio_open(j, err) : rlm_eval_video_open(j, err);
}

static void close_all(job *j)
{
    rlm_session_close(&j->session);
    rlm_close(&j->engine);
    rlm_perceptual_close(&j->perceptual);
    rlm_search_close(&j->search);
    rlm_ears_close(&j->ears);
    rlm_code_use_free(&j->use);
    if (j->par)
        rlm_par_close(&j->par);
    rlm_bit_use_free(&j->bits);
    rlm_eval_sheet_free(&j->sheet);
    rlm_eval_list_free(&j->list);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static const char *split_name(const rlm_eval_options *o)
{
    return o->split < 0 ? "all" : o->split == RLM_SPLIT_VALIDATION ? "validation" : "train";
}

static cJSON *describe(const job *j)
{
    const rlm_eval_options *o = j->o;
    cJSON *root = cJSON_CreateObject(), *inputs = cJSON_AddArrayToObject(root, "inputs");
    for (int i = 0; i < o->input_count; i++)
        cJSON_AddItemToArray(inputs, cJSON_CreateString(o->inputs[i]));
    if (o->world)
        cJSON_AddNumberToObject(root, o->controls ? "controls" : "playground", o->world);
    cJSON_AddStringToObject(root, "split", split_name(o));
    if (o->against) {
        cJSON_AddStringToObject(root, "against", o->against);
    } else if (!o->list) {
        cJSON_AddStringToObject(root, "model", o->model_dir);
        cJSON_AddStringToObject(root, "tokenizer",
                                o->what == RLM_EVAL_AUDIO ? j->engine->model.audio_sha
                                                          : j->engine->model.video_sha);
        cJSON_AddStringToObject(root, "kernels", j->engine->kernels.level);
        if (o->search)
            cJSON_AddNumberToObject(root, "search", o->search);
    }
    return root;
}

static char *print_and_delete(cJSON *root)
{
    char *text = cJSON_Print(root), *copy = text ? rlm_strdup(text) : NULL;
    free(text);
    cJSON_Delete(root);
    return copy;
}

static int list_json(const job *j, char **json, rlm_error *err)
{
    cJSON *root = describe(j), *files = cJSON_AddArrayToObject(root, "files");
    for (int i = 0; i < j->list.count; i++)
        cJSON_AddItemToArray(files, cJSON_CreateString(j->list.items[i].name));
    *json = print_and_delete(root);
    return *json ? 0 : rlm_fail(err, RLM_E_NOMEM, "evaluation: no memory for its report");
}

static int report_json(job *j, char **json, rlm_error *err)
{
    cJSON *root = describe(j), *protocol = cJSON_AddObjectToObject(root, "protocol");
    cJSON_AddStringToObject(protocol, "clip",
                            j->o->what == RLM_EVAL_AUDIO ? rlm_eval_audio_protocol(j->o)
                                                         : rlm_eval_video_protocol(j->o));
    cJSON_AddNumberToObject(root, "measured", j->measured);
    cJSON_AddNumberToObject(root, "skipped", j->skipped);
    rlm_tally_json(&j->tally, root);
    if (j->bits.count)
        cJSON_AddItemToObject(root, "bits", rlm_bit_use_json(&j->bits));
    if (j->use.frames)
        cJSON_AddItemToObject(root, "codes", rlm_code_use_json(&j->use));
    cJSON_AddNumberToObject(root, "seconds", round((rlm_now() - j->start) * 100) / 100);
    cJSON_AddItemToObject(root, "items", j->items);
    j->items = NULL;
    *json = print_and_delete(root);
    return *json ? 0 : rlm_fail(err, RLM_E_NOMEM, "evaluation: no memory for its report");
}

static int check_options(const rlm_eval_options *o, rlm_error *err)
{
    if (o->what != RLM_EVAL_VIDEO && o->what != RLM_EVAL_AUDIO)
        return rlm_fail(err, RLM_E_ARG, "evaluation: what is %d, expected video or audio", o->what);
    if (!o->model_dir && !o->against && !o->list)
        return rlm_fail(err, RLM_E_ARG,
                        "evaluation: neither a model directory nor a folder to "
                        "compare with was named");
    if (o->world < 0 || o->input_count < 0 || (!o->input_count && !o->world))
        return rlm_fail(err, RLM_E_ARG,
                        "evaluation: no file, no folder and no playground clip was "
                        "named");
    if (o->split < -1 || o->split > RLM_SPLIT_VALIDATION)
        return rlm_fail(err, RLM_E_ARG, "evaluation: split is %d, expected train or validation",
                        o->split);
    if (o->search && o->against)
        return rlm_fail(err, RLM_E_ARG, "evaluation: a search is for codes made here");
    if (o->against && o->world)
        return rlm_fail(err, RLM_E_ARG,
                        "evaluation: playground clips have no files to compare "
                        "with; keep them first");
    return 0;
}

int rlm_eval(const rlm_eval_options *o, char **json, rlm_error *err)
{
    RLM_TRY(check_options(o, err));
    job *j = rlm_calloc(1, sizeof *j);
    if (!j)
        return rlm_fail(err, RLM_E_NOMEM, "evaluation: out of memory");
    j->start = rlm_now();
    j->o = o;
    j->log = (rlm_log){o->log, o->log_cookie};
    int code = open_all(j, err);
    if (!code && o->list) {
        code = list_json(j, json, err);
    } else if (!code) {
        j->items = cJSON_CreateArray();
        code = judge_all(j, err);
        if (!code && o->sheet)
            code = rlm_eval_sheet_write(&j->sheet, o->sheet, err);
        if (!code)
            code = report_json(j, json, err);
        cJSON_Delete(j->items);
    }
    close_all(j);
    rlm_free(j);
    return code;
}
