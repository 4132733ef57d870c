#include "src/server/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "src/server/upload.h"

enum {
    FOLLOW_CELLS = 448, /* 128 x 224, the largest shape of training: sizes taken from a source */
    CONDITION_FRAMES = 512,
    PREVIEW_SIDE = 192,
    PREVIEW_LIMIT = 8 << 20,
    SPANS_MOST = 64
};
static const int64_t condition_bytes = (int64_t)512 << 20; /* of one decoded input */

/* ---- Opening --------------------------------------------------------------------------------- */

static void base_name(const char *path, char *to, size_t room)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t at = n;
    while (at && path[at - 1] != '/')
        at--;
    snprintf(to, room, "reelm-%.*s", (int)(n - at < 60 ? n - at : 60), path + at);
}

/* Cells of a picture such that one pass of five latent frames with sound and text fits. */
static int64_t cells_of(int positions)
{
    int64_t cells = (positions - 900) / 5;
    return cells < 4 ? 4 : cells > 16384 ? 16384 : cells;
}

int rlm_worker_open(rlm_worker *w, const char *model_dir, const char *judge,
                    const rlm_options *options, double max_seconds, rlm_error *err)
{
    rlm_request plain;
    char *json = NULL;
    *w = (rlm_worker){
        .judge_path = judge, .threads = options->threads, .cpu_mask = options->cpu_mask};
    rlm_request_defaults(&plain);
    base_name(model_dir, w->name, sizeof w->name);
    int code = rlm_open(&w->engine, model_dir, options, err);
    if (!code)
        code = rlm_session_open(&w->session, w->engine, err);
    if (!code)
        code = rlm_engine_info(w->engine, &json, err);
    cJSON *info = code ? NULL : cJSON_Parse(json);
    if (!code && !info)
        code = rlm_serve_fail(err, RLM_E_NOMEM, "%s: no memory for what it says", w->name);
    const cJSON *lm = cJSON_GetObjectItemCaseSensitive(info, "lm");
    const cJSON *positions = cJSON_GetObjectItemCaseSensitive(lm, "positions");
    const cJSON *video = cJSON_GetObjectItemCaseSensitive(info, "video");
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(video, "stride_time");
    const cJSON *most = cJSON_GetObjectItemCaseSensitive(video, "overlap_most");
    w->limits = (rlm_wish_limits){
        .width = plain.width,
        .height = plain.height,
        .frames = plain.frames,
        .fps = (double)plain.fps_num / plain.fps_den,
        .seconds = max_seconds,
        .max_cells = cells_of(cJSON_IsNumber(positions) ? (int)positions->valuedouble : 4096),
        .has_sound = cJSON_HasObjectItem(info, "audio"),
        .overlap_step = cJSON_IsNumber(step) && step->valueint > 0 ? step->valueint : 1,
        .overlap_most = cJSON_IsNumber(most) ? most->valueint : 1,
        .asks = judge ? rlm_judge_asks : NULL};
    if (!code && !lm)
        code = rlm_serve_fail(err, RLM_E_MODEL, "%s: this model has no language model to serve",
                              model_dir);
    cJSON_DeleteItemFromObject(info, "model"); /* a path of the server */
    w->info = info ? cJSON_PrintUnformatted(info) : NULL;
    cJSON_Delete(info);
    rlm_string_free(&json);
    if (code)
        rlm_worker_close(w);
    return code;
}

void rlm_worker_close(rlm_worker *w)
{
    rlm_judge_close(&w->judge);
    rlm_session_close(&w->session);
    rlm_close(&w->engine);
    cJSON_free(w->info);
    w->info = NULL;
}

/* ---- One job --------------------------------------------------------------------------------- */

typedef struct making {
    rlm_worker *worker;
    rlm_work *work;
    rlm_request request;
    rlm_clip clips[RLM_WISH_INPUTS]; /* decoded inputs, by their place in the wish */
    rlm_clip condition;              /* borrows from clips */
    rlm_keyframe keyframes[RLM_WISH_INPUTS];
    rlm_span spans[SPANS_MOST]; /* of the sound, to be made anew */
    char *prompt_text;          /* that prompts lie in; heap */
    const char *prompts[RLM_WISH_PROMPTS];
    char tokens[RLM_STORE_PATH];
} making;

static int stopped(void *cookie)
{
    return rlm_work_stopped(cookie);
}

static const rlm_clip *clip_of(const making *m, int role)
{
    for (int i = 0; i < m->work->wish->input_count; i++)
        if (m->work->wish->inputs[i].role == role)
            return &m->clips[i];
    return NULL;
}

static int decode_input(making *m, int index, const rlm_want *want, rlm_clip *out, rlm_error *err)
{
    const rlm_wish_input *in = &m->work->wish->inputs[index];
    rlm_error inner = {0};
    int64_t bytes = 0;
    int fd = rlm_store_open_file(m->work->store, m->work->id, in->name, &bytes);
    if (fd < 0)
        return rlm_serve_fail(err, RLM_E_IO, "%s: the stored file is missing",
                              rlm_input_role_name(in->role));
    int code = rlm_upload_decode(fd, want, stopped, m->work, out, &inner);
    close(fd);
    if (code)
        rlm_serve_fail(err, code, "%s: %.440s", rlm_input_role_name(in->role), inner.text);
    return code;
}

/* The size of the result when the client named none: the source's, shrunk to what training saw. */
static int follow_size(making *m, int index, rlm_error *err)
{
    rlm_want want;
    rlm_clip first = {0};
    rlm_want_defaults(&want);
    want.max_frames = 1;
    want.want_audio = 0;
    if (m->request.width)
        return 0;
    int code = decode_input(m, index, &want, &first, err);
    if (code)
        return code;
    const int *border = m->work->wish->outpaint;
    int width = first.video.width + border[0] + border[1];
    int height = first.video.height + border[2] + border[3];
    if (first.video.count) {
        int64_t most = m->worker->limits.max_cells;
        rlm_wish_fit(&width, &height, most < FOLLOW_CELLS ? most : FOLLOW_CELLS);
        m->request.width = width;
        m->request.height = height;
    }
    rlm_clip_free(&first);
    return 0;
}

/* What is wanted of an input's file. Inputs of painting keep their own pixels: boxes count them. */
static void input_want(const making *m, const rlm_wish_input *in, rlm_want *want)
{
    const rlm_request *r = &m->request;
    rlm_want_defaults(want);
    want->max_bytes = condition_bytes;
    want->max_seconds = m->worker->limits.seconds;
    want->max_frames = in->role == RLM_INPUT_KEYFRAME ? 1 : CONDITION_FRAMES;
    int heard = in->role == RLM_INPUT_AUDIO || in->role == RLM_INPUT_SOUND_MASK;
    want->want_video = !heard;
    want->want_audio = heard || in->role == RLM_INPUT_CONDITION;
    if (want->want_audio) {
        want->rate = 16000;
        want->channels = 1;
    }
    if (want->want_video && in->role != RLM_INPUT_KEYFRAME) {
        want->fps_num = r->fps_num;
        want->fps_den = r->fps_den;
    }
    if (in->role == RLM_INPUT_MASK) {
        const rlm_clip *c = clip_of(m, RLM_INPUT_CONDITION);
        want->width = c ? c->video.width : 0;
        want->height = c ? c->video.height : 0;
        want->fit = RLM_FIT_STRETCH;
    } else if (want->want_video && r->task != RLM_TASK_PAINT) {
        want->width = r->width;
        want->height = r->height;
        want->fit = in->role == RLM_INPUT_CONDITION || in->role == RLM_INPUT_KEYFRAME
                        ? RLM_FIT_COVER
                        : RLM_FIT_STRETCH;
    }
}

static int read_inputs(making *m, rlm_error *err)
{
    const rlm_wish *w = m->work->wish;
    for (int pass = 0; pass < 2; pass++) /* the condition first: others follow its size */
        for (int i = 0; i < w->input_count; i++) {
            rlm_want want;
            int first = w->inputs[i].role == RLM_INPUT_CONDITION;
            if (first != !pass)
                continue;
            int code = first ? follow_size(m, i, err) : 0;
            input_want(m, &w->inputs[i], &want);
            if (!code)
                code = decode_input(m, i, &want, &m->clips[i], err);
            if (code)
                return code;
            if (want.want_video && !m->clips[i].video.count &&
                w->inputs[i].role != RLM_INPUT_CONDITION)
                return rlm_serve_fail(err, RLM_E_MEDIA, "%s: the file holds no picture",
                                      rlm_input_role_name(w->inputs[i].role));
        }
    return 0;
}

static int told(void *cookie, const rlm_progress *p)
{
    making *m = cookie;
    return rlm_work_told(m->work, p->stage, p->done, p->total, p->eta_s);
}

static void shown(void *cookie, const rlm_frames *pictures, int first)
{
    making *m = cookie;
    rlm_clip sheet = {0};
    char path[RLM_STORE_PATH], *png = NULL;
    rlm_bytes text = {0};
    size_t bytes = 0;
    int count = pictures->count;
    rlm_store_file_path(m->work->store, m->work->id, "preview.png", path);
    int bad =
        rlm_pictures_sheet(pictures, 0, count - 1, count, count, PREVIEW_SIDE, &sheet, NULL) ||
        rlm_media_write(path, &sheet, NULL, NULL) ||
        rlm_store_read(m->work->store, m->work->id, "preview.png", PREVIEW_LIMIT, &png, &bytes,
                       NULL);
    if (!bad)
        rlm_bytes_base64(&text, png, bytes);
    if (!bad && !text.failed) {
        rlm_work_preview(m->work, first, count, sheet.video.width / count, sheet.video.height,
                         text.data);
        text.data = NULL;
    }
    rlm_bytes_free(&text);
    free(png);
    rlm_clip_free(&sheet);
}

static void fill_request(making *m)
{
    const rlm_wish *w = m->work->wish;
    rlm_request *r = &m->request;
    rlm_request_defaults(r);
    r->task = w->task;
    r->prompts = m->prompts;
    r->prompt_count = rlm_wish_prompt_lines(w, &m->prompt_text, m->prompts);
    r->prompt = w->prompt && *w->prompt && !r->prompt_count ? w->prompt : NULL;
    r->negative_prompt = w->negative;
    r->width = w->width;
    r->height = w->height;
    r->frames = w->frames ? w->frames : r->frames;
    rlm_fps_fraction(w->fps, &r->fps_num, &r->fps_den);
    r->audio = w->sound != 0;
    r->seed = (uint64_t)w->seed;
    rlm_request_sampling(r, &w->sampling);
    r->boxes = w->box_count ? w->boxes : NULL;
    r->box_count = w->box_count;
    memcpy(r->outpaint, w->outpaint, sizeof r->outpaint);
    r->backward = w->backward;
    r->overlap = w->overlap;
    r->reencode = w->reencode;
    r->progress = told;
    r->preview = shown;
    r->progress_cookie = r->preview_cookie = m;
    rlm_store_file_path(m->work->store, m->work->id, "tokens.rtok", m->tokens);
    r->save_tokens = m->tokens;
    if (w->best_of < 2 && !access(m->tokens, R_OK))
        r->resume_tokens = m->tokens;
}

/* A mask of sound: what is loud is made anew; shorter silences belong to what is around them. */
static int spans_of(making *m, const rlm_pcm *mask, rlm_error *err)
{
    rlm_request *r = &m->request;
    int64_t quiet = mask->rate / 20, last = -quiet - 1;
    for (int64_t i = 0; i < mask->count; i++) {
        float x = mask->samples[i * mask->channels];
        if (!(x > 0.5f || x < -0.5f))
            continue;
        if (i - last > quiet && r->span_count == SPANS_MOST)
            return rlm_serve_fail(err, RLM_E_ARG, "audio mask: has more than %d parts", SPANS_MOST);
        if (i - last > quiet)
            m->spans[r->span_count++].from = (double)i / mask->rate;
        last = i;
        m->spans[r->span_count - 1].to = (double)(i + 1) / mask->rate;
    }
    const rlm_frames *v = &m->condition.video;
    if (r->span_count && v->count &&
        m->spans[r->span_count - 1].to > (double)v->count * v->fps_den / v->fps_num)
        m->spans[r->span_count - 1].to = 0; /* sound outlasts pictures by a block at times */
    r->spans = m->spans;
    return r->span_count ? 0
                         : rlm_serve_fail(err, RLM_E_ARG,
                                          "audio mask: is silent, so nothing is to be made anew");
}

/* Decoded inputs become the request's conditions. */
static int attach_inputs(making *m, rlm_error *err)
{
    const rlm_wish *w = m->work->wish;
    rlm_request *r = &m->request;
    const rlm_clip *condition = clip_of(m, RLM_INPUT_CONDITION),
                   *sound = clip_of(m, RLM_INPUT_AUDIO);
    if (condition)
        m->condition = *condition;
    if (sound)
        m->condition.audio = sound->audio;
    r->condition = condition || sound ? &m->condition : NULL;
    r->mask = clip_of(m, RLM_INPUT_MASK);
    r->depth = clip_of(m, RLM_INPUT_DEPTH);
    r->flow = clip_of(m, RLM_INPUT_FLOW);
    for (int i = 0; i < w->input_count; i++)
        if (w->inputs[i].role == RLM_INPUT_KEYFRAME)
            m->keyframes[r->keyframe_count++] = (rlm_keyframe){&m->clips[i], w->inputs[i].frame};
    r->keyframes = r->keyframe_count ? m->keyframes : NULL;
    if (!r->width) { /* nothing to follow */
        r->width = m->worker->limits.width;
        r->height = m->worker->limits.height;
    }
    r->spans = w->span_count ? w->spans : NULL;
    r->span_count = w->span_count;
    const rlm_clip *parts = clip_of(m, RLM_INPUT_SOUND_MASK);
    return parts && !r->span_count ? spans_of(m, &parts->audio, err) : 0;
}

/* ---- One job, from end to end ---------------------------------------------------------------- */

static void fill_result(making *m, const rlm_clip *clip, const rlm_report *t)
{
    rlm_job_result *r = &m->work->result;
    const rlm_frames *v = &clip->video;
    r->width = v->width;
    r->height = v->height;
    r->frames = v->count;
    r->fps = v->fps_den ? (double)v->fps_num / v->fps_den : 0;
    r->seconds = v->count && r->fps > 0 ? v->count / r->fps
                 : clip->audio.rate     ? (double)clip->audio.count / clip->audio.rate
                                        : 0;
    r->prefix_tokens = t->prefix_tokens;
    r->video_tokens = t->video_tokens;
    r->audio_tokens = t->audio_tokens;
    r->prefill_s = t->prefill_s;
    r->sample_s = t->sample_s;
    r->decode_s = t->decode_s;
    r->task = t->task;
}

/* Clips of several seeds; the request's seed becomes that of the one kept. */
static int make_best(making *m, rlm_clip *clip, rlm_report *report, rlm_error *err)
{
    rlm_worker *w = m->worker;
    rlm_job_result *r = &m->work->result;
    rlm_choice choice;
    int code =
        w->judge ? 0 : rlm_judge_open(&w->judge, w->judge_path, w->threads, w->cpu_mask, err);
    if (!code)
        code = rlm_generate_best(w->session, w->judge, &m->request, m->work->wish->best_of, clip,
                                 report, &choice, err);
    if (code)
        return code;
    r->first_seed = (int64_t)choice.first;
    m->request.seed = choice.seed;
    r->seed = (int64_t)choice.seed;
    r->tried = choice.tried;
    r->facts_asked = choice.verdict.asked;
    r->facts_shown = choice.verdict.holds;
    return 0;
}

static int make_clip(making *m, rlm_clip *clip, rlm_report *report, rlm_error *err)
{
    const rlm_wish *w = m->work->wish;
    if (w->kind == RLM_WISH_EXTEND)
        return rlm_extend(m->worker->session, &m->request, &m->condition, w->seconds, clip, report,
                          err);
    if (w->best_of > 1)
        return make_best(m, clip, report, err);
    return rlm_generate(m->worker->session, &m->request, clip, report, err);
}

int rlm_worker_make(void *cookie, rlm_work *work, rlm_error *err)
{
    making *m = calloc(1, sizeof *m);
    rlm_clip clip = {0};
    rlm_report report = {0};
    if (!m)
        return rlm_serve_fail(err, RLM_E_NOMEM, "out of memory");
    m->worker = cookie;
    m->work = work;
    fill_request(m);
    int code = read_inputs(m, err);
    if (!code)
        code = attach_inputs(m, err);
    if (!code)
        code = make_clip(m, &clip, &report, err);
    if (!code)
        code = rlm_outputs_write(work, m->worker, &m->request, &clip, err);
    if (!code)
        fill_result(m, &clip, &report);
    rlm_clip_free(&clip);
    for (int i = 0; i < RLM_WISH_INPUTS; i++)
        rlm_clip_free(&m->clips[i]);
    free(m->prompt_text);
    free(m);
    return code;
}
