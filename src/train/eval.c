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

enum { PSNR, SSIM, MS_SSIM, PERCEPTUAL, FLICKER, BITS, RATE, VIDEO_MEASURES };
static const rlm_measure video_measures[VIDEO_MEASURES] = {
    [PSNR] = {"psnr", 3,
              "dB, 255^2 over the mean squared difference of all bytes of a clip (RGB); mean of "
              "the clips' dB; 100 when equal"},
    [SSIM] = {"ssim", 4,
              "Wang 2004 on luma (Rec. 601), Gaussian 11x11 of sigma 1.5, only whole windows, K1 "
              "0.01, K2 0.03; mean over frames"},
    [MS_SSIM] =
        {"ms_ssim", 4,
         "Wang 2003 with as many of its 5 scales as keep both sides at 11 or more (128x128: "
         "4), their weights scaled to the sum 1"},
    [PERCEPTUAL] = {"perceptual", 4, NULL},
    [FLICKER] = {"flicker", 3,
                 "mean absolute error of the change of luma from frame to frame, grey levels of "
                 "255"},
    [BITS] = {"bits", 0, "of the codes of a clip or picture"},
    [RATE] = {"bits_per_second", 1, "bits over frames / frame rate; null for pictures"},
};
static const char *const PERCEPTUAL_HOW =
    "SqueezeNet v1.1 features (relu1, fire2..fire9), channels of unit length, squared difference, "
    "mean over positions, sum over layers (LPIPS with all weights 1); mean over frames";
static const char *const PERCEPTUAL_ABSENT =
    "not measured: needs the weights of SqueezeNet v1.1 (--perceptual squeezenet_v1.1.safetensors)";

typedef struct job {
    const rlm_eval_options *o;
    rlm_log log;
    rlm_eval_list list;
    rlm_par *par; /* of the measures; the session has its own */
    rlm_engine *engine;
    rlm_session *session;
    rlm_perceptual *perceptual;
    rlm_bit_use bits;
    rlm_eval_sheet sheet;
    rlm_measure measures[RLM_MEASURES];
    rlm_tally tally;
    cJSON *items;
    int skipped, measured;
    double start; /* rlm_now() of the call */
} job;

/* ---- One clip ---------------------------------------------------------------------------------
 */

/* What stands beside the original; codes stay empty with --against. */
static int make_other(job *j, const rlm_eval_item *item, const rlm_clip *clip, rlm_codes *codes,
                      rlm_clip *out, rlm_error *err)
{
    if (item->pair)
        return rlm_eval_read(&j->list, j->o, item, true, out, err);
    RLM_TRY(rlm_encode(j->session, clip, codes, NULL, err));
    return rlm_decode(j->session, codes, NULL, out, err);
}

static int measure_video(job *j, const rlm_frames *a, const rlm_frames *b, double *v,
                         rlm_error *err)
{
    rlm_structure s;
    RLM_TRY(rlm_structure_score(j->par, a, b, &s, err));
    v[PSNR] = rlm_psnr(a, b);
    v[SSIM] = s.ssim;
    v[MS_SSIM] = s.ms_ssim;
    v[FLICKER] = rlm_flicker(a, b);
    v[PERCEPTUAL] = NAN;
    return j->perceptual ? rlm_perceptual_score(j->perceptual, a, b, &v[PERCEPTUAL], err) : 0;
}

static int same_size(const rlm_eval_item *item, const rlm_frames *a, const rlm_frames *b,
                     rlm_error *err)
{
    if (a->count == b->count && a->height == b->height && a->width == b->width)
        return 0;
    return rlm_fail(err, RLM_E_MEDIA, "%s: has %d frames of %dx%d, %s has %d of %dx%d", item->name,
                    a->count, a->width, a->height, item->pair ? item->pair : "its decoding",
                    b->count, b->width, b->height);
}

/* Whether item i of n gets one of the columns, which are spread evenly. */
static bool shown(int i, int n)
{
    int columns = n < RLM_EVAL_COLUMNS ? n : RLM_EVAL_COLUMNS;
    return i * columns / n != (i + 1) * columns / n;
}

static int judge_video(job *j, int index, const rlm_clip *clip, rlm_error *err)
{
    const rlm_eval_item *item = &j->list.items[index];
    rlm_codes codes = {0};
    rlm_clip other = {0};
    double v[RLM_MEASURES];
    int code = make_other(j, item, clip, &codes, &other, err);
    const rlm_frames *a = &clip->video, *b = &other.video;
    if (!code)
        code = same_size(item, a, b, err);
    if (!code)
        code = measure_video(j, a, b, v, err);
    if (!code) {
        int64_t bits = codes.count * j->bits.bits;
        v[BITS] = item->pair ? (item->bytes < 0 ? NAN : 8.0 * (double)item->bytes) : (double)bits;
        v[RATE] = a->count > 1 ? v[BITS] * a->fps_num / a->fps_den / a->count : NAN;
        rlm_tally_add(&j->tally, item->name, item->label, v, j->items);
    }
    if (!code && codes.count)
        code = rlm_bit_use_add(&j->bits, &codes, err);
    if (!code && j->o->sheet && shown(index, j->list.count))
        code = rlm_eval_sheet_add(&j->sheet, a, b, err);
    if (!code && j->o->keep)
        code = rlm_eval_keep(j->o->keep, "originals", item, false, clip, err);
    if (!code && j->o->keep)
        code = rlm_eval_keep(j->o->keep, "coded", item, false, &other, err);
    rlm_codes_free(&codes);
    rlm_clip_free(&other);
    return code;
}

/* ---- All of them ------------------------------------------------------------------------------
 */

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
        int code = judge_video(j, i, &clip, err);
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
    RLM_TRY(rlm_session_open(&j->session, j->engine, err));
    RLM_TRY(rlm_session_need(j->session, RLM_PART_VIDEO, err));
    j->bits.bits = j->engine->model.video_config.bits;
    return 0;
}

static int open_all(job *j, rlm_error *err)
{
    const rlm_eval_options *o = j->o;
    RLM_TRY(rlm_eval_list_open(&j->list, o, &j->log, err));
    if (o->list)
        return 0;
    RLM_TRY(rlm_par_open(&j->par, o->threads, err));
    if (o->perceptual)
        RLM_TRY(rlm_perceptual_open(&j->perceptual, o->perceptual, j->par, err));
    else
        rlm_logf(&j->log, 1, "perceptual distance: %s", PERCEPTUAL_ABSENT);
    if (!o->against)
        RLM_TRY(open_engine(j, err));
    memcpy(j->measures, video_measures, sizeof video_measures);
    j->measures[PERCEPTUAL].how = o->perceptual ? PERCEPTUAL_HOW : PERCEPTUAL_ABSENT;
    j->tally.measures = j->measures;
    j->tally.measure_count = VIDEO_MEASURES;
    return 0;
}

static void close_all(job *j)
{
    rlm_session_close(&j->session);
    rlm_close(&j->engine);
    rlm_perceptual_close(&j->perceptual);
    if (j->par)
        rlm_par_close(&j->par);
    rlm_bit_use_free(&j->bits);
    rlm_eval_sheet_free(&j->sheet);
    rlm_eval_list_free(&j->list);
}

/* ---- JSON -------------------------------------------------------------------------------------
 */

static const char *clip_protocol(const rlm_eval_options *o)
{
    return o->native ? "own size and rate, at most 256 frames"
                     : "17 frames at 8 fps by nearest timestamp, the last one held when there are "
                       "fewer; shorter side scaled to 128 (bicubic), middle 128x128; pictures: one "
                       "frame; folders of PNG frames as they are";
}

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
        cJSON_AddStringToObject(root, "tokenizer", j->engine->model.video_sha);
        cJSON_AddStringToObject(root, "kernels", j->engine->kernels.level);
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
    cJSON_AddStringToObject(protocol, "clip", clip_protocol(j->o));
    cJSON_AddNumberToObject(root, "measured", j->measured);
    cJSON_AddNumberToObject(root, "skipped", j->skipped);
    rlm_tally_json(&j->tally, root);
    if (j->bits.count)
        cJSON_AddItemToObject(root, "bits", rlm_bit_use_json(&j->bits));
    cJSON_AddNumberToObject(root, "seconds", round((rlm_now() - j->start) * 100) / 100);
    cJSON_AddItemToObject(root, "items", j->items);
    j->items = NULL;
    *json = print_and_delete(root);
    return *json ? 0 : rlm_fail(err, RLM_E_NOMEM, "evaluation: no memory for its report");
}

static int check_options(const rlm_eval_options *o, rlm_error *err)
{
    if (o->what != RLM_EVAL_VIDEO)
        return rlm_fail(err, RLM_E_ARG, "evaluation: what is %d, expected video", o->what);
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
