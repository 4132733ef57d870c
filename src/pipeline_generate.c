/* rlm_generate: a request to the grids of one task, a pass of the language model, and back to
 * pictures and sound. What one pass cannot hold is continued by windows (pipeline_extend.c). */
#include "src/pipeline.h"

#include <math.h>
#include <string.h>
#include <sys/resource.h>

#include "src/media/media.h"

enum { TEXT_MAX = 256, PROMPTS_MAX = 4096 };

/* ---- The job --------------------------------------------------------------------------------- */

static int check_sampling(const char *name, const rlm_sampling *s, rlm_error *err)
{
    if (!(s->temperature >= 0 && s->temperature <= 100))
        return rlm_fail(err, RLM_E_RANGE, "%s temperature is %g, allowed are 0 to 100", name,
                        s->temperature);
    if (s->top_k < 0)
        return rlm_fail(err, RLM_E_RANGE, "%s top-k is %d, allowed are 0 (off) and more", name,
                        s->top_k);
    if (!(s->top_p > 0 && s->top_p <= 1))
        return rlm_fail(err, RLM_E_RANGE, "%s top-p is %g, allowed are above 0 to 1", name,
                        s->top_p);
    if (!(s->min_p >= 0 && s->min_p <= 1))
        return rlm_fail(err, RLM_E_RANGE, "%s min-p is %g, allowed are 0 (off) to 1", name,
                        s->min_p);
    if (!(s->cfg_scale >= 0 && s->cfg_scale <= 100))
        return rlm_fail(err, RLM_E_RANGE, "%s guidance scale is %g, allowed are 0 to 100", name,
                        s->cfg_scale);
    return 0;
}

static int check_request(const rlm_request *r, rlm_error *err)
{
    if (r->task < RLM_TASK_AUTO || r->task >= RLM_TASK_COUNT)
        return rlm_fail(err, RLM_E_ARG, "task is %d, known are 0 to %d", r->task,
                        RLM_TASK_COUNT - 1);
    if (r->width < 16 || r->width > 1024 || r->height < 16 || r->height > 1024)
        return rlm_fail(err, RLM_E_RANGE, "picture size is %dx%d, sides of 16 to 1024 are allowed",
                        r->width, r->height);
    if (r->frames < 1 || r->frames > 256)
        return rlm_fail(err, RLM_E_RANGE, "frames is %d, allowed are 1 to 256", r->frames);
    if (r->fps_num < 1 || r->fps_den < 1 || (double)r->fps_num / r->fps_den > 240 ||
        (double)r->fps_num / r->fps_den < 0.1)
        return rlm_fail(err, RLM_E_RANGE, "frame rate is %d/%d, allowed are 0.1 to 240 a second",
                        r->fps_num, r->fps_den);
    if (r->prompt_count < 0 || r->prompt_count > PROMPTS_MAX || (r->prompt_count && !r->prompts))
        return rlm_fail(err, RLM_E_ARG, "%d prompts, allowed are 0 to %d", r->prompt_count,
                        PROMPTS_MAX);
    RLM_TRY(check_sampling("video", &r->video, err));
    RLM_TRY(check_sampling("motion", &r->motion, err));
    return check_sampling("audio", &r->audio_sampling, err);
}

static int encode_text(const rlm_session *s, const char *text, int32_t **ids, int *count,
                       rlm_error *err)
{
    int cut = 0;
    *count = 0;
    *ids = NULL;
    if (!text || !*text)
        return 0;
    RLM_TRY(rlm_session_need(s, RLM_PART_TEXT, err));
    *ids = rlm_alloc(TEXT_MAX * sizeof **ids);
    if (!*ids)
        return rlm_fail(err, RLM_E_NOMEM, "prompt: out of memory");
    RLM_TRY(rlm_text_encode(s->engine->model.text, text, strlen(text), *ids, TEXT_MAX, count, &cut,
                            err));
    if (cut)
        rlm_logf(&s->engine->log, 1, "the prompt is longer than %d pieces and was cut", TEXT_MAX);
    return 0;
}

int rlm_job_prompt(rlm_job *j, int prompt, rlm_error *err)
{
    int last = j->r->prompt_count - 1;
    prompt = prompt > last ? last : prompt;
    if (last < 0 || prompt == j->prompt)
        return 0;
    rlm_free(j->text);
    j->text = NULL;
    j->prompt = prompt;
    return encode_text(j->s, j->r->prompts[prompt], &j->text, &j->text_count, err);
}

int rlm_overlap_most(const rlm_model *m)
{
    return 1 + (RLM_WINDOW_LATENTS - 2) * (m->video ? rlm_video_stride_t(&m->video_config) : 1);
}

/* The past of a window is whole latent frames, and leaves room for one more. */
static int check_overlap(const rlm_session *s, const rlm_request *r, rlm_error *err)
{
    int stride = s->engine->model.video ? rlm_video_stride_t(&s->engine->model.video_config) : 1;
    int most = rlm_overlap_most(&s->engine->model), at = r->overlap;
    if (!at || (at >= 1 && at <= most && (at - 1) % stride == 0))
        return 0;
    int below = at < 1 ? 1 : at > most ? most : 1 + (at - 1) / stride * stride;
    int above = below + stride > most ? most : below + stride;
    if (at < 1 || at > most)
        return rlm_fail(err, RLM_E_RANGE,
                        "overlap is %d frames, 1 to %d in steps of %d are allowed", at, most,
                        stride);
    return rlm_fail(err, RLM_E_RANGE, "overlap is %d frames, no whole code frames; %d or %d are",
                    at, below, above);
}

/* Layouts number their ids as prompts/vocab.h does: the language model must do the same. */
static int check_vocabulary(const rlm_model *m, rlm_error *err)
{
    const rlm_lm_config *c = &m->lm_config;
    if (c->specials != RLM_ID_SPECIALS || 1 << c->video_bits != RLM_VIDEO_CODES ||
        c->audio_levels != RLM_AUDIO_LEVELS || c->audio_codes != RLM_AUDIO_CODES)
        return rlm_fail(err, RLM_E_MODEL,
                        "%s: lm has %d specials, %d video bits and %d x %d audio codes; generation "
                        "needs 256, 18 and 4 x 1024",
                        m->dir, c->specials, c->video_bits, c->audio_levels, c->audio_codes);
    if (m->video_config.bits > 18 || (m->audio && (m->audio_config.levels < c->audio_levels ||
                                                   m->audio_config.codes > c->audio_codes)))
        return rlm_fail(err, RLM_E_MODEL, "%s: the tokenizers have more codes than the lm", m->dir);
    return 0;
}

int rlm_job_open(rlm_job *j, rlm_session *s, const rlm_request *r, rlm_error *err)
{
    *j = (rlm_job){.s = s, .r = r, .start = rlm_now(), .seed = r->seed};
    j->report = (rlm_report){.width = r->width, .height = r->height};
    RLM_TRY(check_vocabulary(&s->engine->model, err));
    RLM_TRY(check_request(r, err));
    RLM_TRY(check_overlap(s, r, err));
    const char *prompt = r->prompt_count ? r->prompts[0] : r->prompt;
    int code = encode_text(s, prompt, &j->text, &j->text_count, err);
    if (!code)
        code = encode_text(s, r->negative_prompt, &j->negative, &j->negative_count, err);
    if (!code)
        code = rlm_job_resume(j, err);
    if (code)
        rlm_job_close(j);
    return code;
}

rlm_mark rlm_job_mark(const rlm_job *j)
{
    const rlm_report *t = &j->report;
    return (rlm_mark){rlm_now(), j->probe_s, t->prefill_s, t->sample_s, t->prefix_tokens};
}

void rlm_job_left_out(rlm_job *j, const rlm_mark *since, int64_t rest, int64_t made)
{
    rlm_report *t = &j->report;
    double more = made > 0 ? (double)rest / (double)made : 0;
    t->prefill_s += more * (t->prefill_s - since->prefill_s);
    t->sample_s += more * (t->sample_s - since->sample_s);
    t->prefix_tokens += (int64_t)(more * (double)(t->prefix_tokens - since->prefix_tokens));
    j->unmade_s += more * (rlm_now() - since->at - (j->probe_s - since->probe_s));
}

void rlm_job_close(rlm_job *j)
{
    struct rusage usage;
    if (!getrusage(RUSAGE_SELF, &usage))
        j->report.peak_bytes = (int64_t)usage.ru_maxrss * 1024;
    if (j->r->dry_run) { /* all but the probes was real work */
        j->report.decode_s = rlm_now() - j->start - j->probe_s + j->unmade_s;
        if (!j->outlet)
            j->report.peak_bytes += (int64_t)j->unmade * j->r->width * j->r->height * 3;
        j->report.frames += j->unmade;
    }
    rlm_free(j->text);
    rlm_free(j->negative);
    j->text = j->negative = NULL;
    rlm_job_keys_free(j);
    rlm_codes_free(&j->made_video);
    rlm_codes_free(&j->made_audio);
    rlm_codes_free(&j->given_video);
    rlm_codes_free(&j->given_audio);
}

/* ---- From tokens to a clip ------------------------------------------------------------------- */

/* What the first pass made, saved; its sound is decoded, its pictures are but for what was given.
 */
static int made_clip(rlm_job *j, const rlm_layout_spec *spec, const rlm_made *made, int frames,
                     rlm_clip *clip, rlm_error *err)
{
    const rlm_grid *v = &spec->video_out, *a = &spec->audio_out;
    rlm_codes video = {0}, audio = {0};
    rlm_clip sound = {0};
    if (made->latents)
        video = rlm_job_video_grid(j, made->latents, v->h, v->w, made->video, frames);
    if (made->levels)
        audio =
            rlm_job_audio_grid(j, made->levels, a->h, made->audio, rlm_sound_samples(j, frames));
    if (video.count)
        RLM_TRY(rlm_job_keep_video(j, &video, 0, video.true_frames, err));
    if (audio.count)
        RLM_TRY(rlm_job_keep_audio(j, &audio, 0, audio.true_samples, err));
    RLM_TRY(rlm_job_save(j, err));
    if (video.count) {
        RLM_TRY(rlm_film_take(j, made->video, made->latents, &clip->video, err));
        rlm_job_tell(j, RLM_STAGE_DECODE, clip->video.count, clip->video.count, 1);
    }
    double start = rlm_now();
    if (audio.count) {
        RLM_TRY(rlm_decode(j->s, NULL, &audio, &sound, err));
        clip->audio = sound.audio;
    }
    j->report.decode_s += rlm_now() - start;
    return 0;
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

static int task_of(const rlm_request *r)
{
    const rlm_clip *c = r->condition;
    if (r->task != RLM_TASK_AUTO)
        return r->task;
    if (r->mask || r->box_count || r->outpaint[0] || r->outpaint[1] || r->outpaint[2] ||
        r->outpaint[3])
        return RLM_TASK_PAINT;
    if (r->depth || r->flow)
        return RLM_TASK_STYLIZE;
    if (r->span_count)
        return RLM_TASK_VIDEO_TO_AUDIO;
    if (c && c->video.count > 1)
        return c->audio.count && r->audio ? RLM_TASK_AV_CONTINUE : RLM_TASK_PREDICT;
    if (c && !c->video.count && c->audio.count)
        return RLM_TASK_AUDIO_TO_VIDEO;
    return r->frames == 1 && !c ? RLM_TASK_IMAGE : RLM_TASK_VIDEO;
}

/* Everything one task needs; freed whatever happens. */
typedef struct plan {
    int task;
    int sound;              /* 1: the pass makes pictures and sound */
    int dub;                /* 1: sound is made for the finished pictures */
    int keys;               /* 1: keyframes stand in this pass: it paints between them */
    rlm_clip condition;     /* at the request's size and rates */
    rlm_codes video, audio; /* of the condition */
    uint8_t *known;
    int32_t *forced, *seen; /* codes known, and as a prefix with gaps shows them */
    int frames;             /* of the pass */
    rlm_layout_spec spec;
} plan;

static void plan_free(plan *p)
{
    rlm_clip_free(&p->condition);
    rlm_codes_free(&p->video);
    rlm_codes_free(&p->audio);
    rlm_free(p->known);
    rlm_free(p->forced);
    rlm_free(p->seen);
}

static int plan_condition(rlm_job *j, plan *p, rlm_error *err)
{
    static const uint8_t picture[RLM_TASK_COUNT] = {
        [RLM_TASK_PREDICT] = 1, [RLM_TASK_AV_CONTINUE] = 1};
    static const uint8_t sound[RLM_TASK_COUNT] = {[RLM_TASK_AV_CONTINUE] = 1};
    const rlm_clip *c = j->r->condition;
    rlm_want want;
    if (picture[p->task] && (!c || !c->video.count))
        return rlm_fail(err, RLM_E_ARG, "this task needs a video as its condition");
    if (sound[p->task] && (!c || !c->audio.count))
        return rlm_fail(err, RLM_E_ARG, "this task needs sound as its condition");
    if (!c || p->task == RLM_TASK_IMAGE || p->task == RLM_TASK_PAINT ||
        p->task == RLM_TASK_STYLIZE || p->task == RLM_TASK_AUDIO_TO_VIDEO ||
        p->task == RLM_TASK_VIDEO_TO_AUDIO)
        return 0;
    rlm_job_want(j, &want);
    want.want_audio = sound[p->task];
    return rlm_clip_convert(c, &want, &p->condition, err);
}

/* Latent frames of one pass: all, or as many as training saw and positions allow. */
static int plan_latents(rlm_job *j, plan *p, int frames, rlm_error *err)
{
    const rlm_model *m = &j->s->engine->model;
    int stride = rlm_video_stride_t(&m->video_config), side = rlm_video_stride_s(&m->video_config);
    int most = 1 + (frames - 1 + stride - 1) / stride;
    most = most > RLM_WINDOW_LATENTS ? RLM_WINDOW_LATENTS : most;
    p->spec.video_out.h = (j->r->height + side - 1) / side;
    p->spec.video_out.w = (j->r->width + side - 1) / side;
    for (int t = most; t >= 1; t--) {
        p->frames = 1 + (t - 1) * stride;
        p->frames = p->frames < frames ? p->frames : frames;
        p->spec.video_out.t = t;
        if (p->keys)
            p->spec.visual_in =
                (rlm_grid){t, p->spec.video_out.h, p->spec.video_out.w, p->seen, NULL};
        if (p->sound)
            p->spec.audio_out = (rlm_grid){m->lm_config.audio_levels,
                                           rlm_sound_frames(j, p->frames), 1, NULL, NULL};
        if (rlm_window_fits(j, &p->spec))
            return 0;
    }
    return rlm_fail(err, RLM_E_RANGE,
                    "a picture of %dx%d does not fit into the %d positions of this model",
                    j->r->width, j->r->height, m->lm_config.max_len);
}

/* What is known of the output: the codes of the first picture, and of keyframes. */
static int plan_forced(rlm_job *j, plan *p, rlm_error *err)
{
    const rlm_grid *g = &p->spec.video_out;
    size_t plane = (size_t)g->h * (size_t)g->w, count = (size_t)g->t * plane;
    p->known = rlm_calloc(count, 1);
    p->forced = rlm_calloc(count, sizeof *p->forced);
    if (!p->known || !p->forced)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %zu codes", count);
    if (p->video.count) {
        memset(p->known, 1, plane);
        memcpy(p->forced, p->video.ids, plane * sizeof *p->forced);
    }
    rlm_window_keys(j, 0, p->video.count > 0, g->t, g->h, g->w, p->forced, p->known);
    for (size_t i = 0; p->keys && i < count; i++)
        p->seen[i] = p->known[i] ? p->forced[i] : -1;
    p->spec.video_out.ids = p->forced;
    p->spec.video_out.known = p->known;
    return 0;
}

/* Keyframes in reach of the first pass make it a painting: all the rest is hidden. */
static int plan_keys(rlm_job *j, plan *p, rlm_error *err)
{
    const rlm_model *m = &j->s->engine->model;
    int side = rlm_video_stride_s(&m->video_config), first = p->condition.video.count > 0;
    int h = (j->r->height + side - 1) / side, w = (j->r->width + side - 1) / side;
    if (!j->r->keyframe_count)
        return 0;
    RLM_TRY(rlm_job_keys(j, 0, first, j->r->frames - 1, j->r->frames, err));
    if (!rlm_window_keys(j, 0, first, RLM_WINDOW_LATENTS, h, w, NULL, NULL))
        return 0;
    p->seen = rlm_calloc((size_t)RLM_WINDOW_LATENTS * (size_t)h * (size_t)w, sizeof *p->seen);
    if (!p->seen)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %d x %d codes", h, w);
    p->keys = 1;
    p->spec.task = RLM_TASK_PAINT;
    return 0;
}

static int plan_video(rlm_job *j, plan *p, rlm_error *err)
{
    const rlm_model *m = &j->s->engine->model;
    int heard = p->task == RLM_TASK_VIDEO && j->r->audio && m->audio && m->lm_config.audio_levels;
    if (p->task == RLM_TASK_VIDEO)
        RLM_TRY(plan_keys(j, p, err));
    p->sound = heard && !p->condition.video.count && !p->keys;
    p->dub = heard && !p->sound;
    if (p->condition.video.count) {
        p->condition.video.count = 1;
        RLM_TRY(rlm_encode(j->s, &p->condition, &p->video, NULL, err));
        p->spec.visual_in = (rlm_grid){1, p->video.dims[1], p->video.dims[2], p->video.ids, NULL};
    }
    RLM_TRY(plan_latents(j, p, p->task == RLM_TASK_IMAGE ? 1 : j->r->frames, err));
    return p->video.count || p->keys ? plan_forced(j, p, err) : 0;
}

/* ---- Entry ----------------------------------------------------------------------------------- */

static int make_continuation(rlm_job *j, plan *p, rlm_clip *out, rlm_error *err)
{
    const rlm_model *m = &j->s->engine->model;
    int sound = p->task == RLM_TASK_AV_CONTINUE;
    if (sound && (!m->audio || !m->lm_config.audio_levels))
        return rlm_fail(err, RLM_E_UNSUPPORTED, "this model knows no sound");
    *out = p->condition;
    p->condition = (rlm_clip){0};
    int have = out->video.count, frames = have + j->r->frames;
    RLM_TRY(rlm_job_keys(j, have, have, frames - 1, frames, err));
    j->total = rlm_continue_codes(j, have, frames, sound);
    RLM_TRY(rlm_continue(j, out, frames, sound, err));
    return rlm_job_show_keys(j, &out->video, err);
}

static int make_pictures(rlm_job *j, plan *p, rlm_clip *out, rlm_error *err)
{
    rlm_made made = {0};
    int code = plan_video(j, p, err);
    const rlm_grid *v = &p->spec.video_out, *a = &p->spec.audio_out;
    int whole = p->frames >= j->r->frames || p->task == RLM_TASK_IMAGE;
    if (!code) {
        j->total = (int64_t)v->t * v->h * v->w + (int64_t)a->t * a->h;
        j->total += p->dub ? rlm_dub_codes(j, p->frames) : 0;
        j->total += whole ? 0 : rlm_continue_codes(j, p->frames, j->r->frames, p->sound || p->dub);
        j->windows = 1;
        rlm_codes grid = rlm_job_video_grid(j, v->t, v->h, v->w, NULL, p->frames);
        code = rlm_film_open(j, &grid, NULL, 0, 0, 0, err);
    }
    if (!code)
        code = rlm_window_sample(j, &p->spec, &made, err);
    if (!code)
        code = made_clip(j, &p->spec, &made, p->frames, out, err);
    rlm_film_close(j);
    rlm_made_free(&made);
    if (!code && p->dub && out->video.count && !j->cancelled)
        code = rlm_dub(j, out, err);
    if (!code && !whole && !j->cancelled)
        code = rlm_continue(j, out, j->r->frames, (p->sound || p->dub) && out->audio.count, err);
    return code ? code : rlm_job_show_keys(j, &out->video, err);
}

int rlm_generate(rlm_session *s, const rlm_request *request, rlm_clip *out, rlm_report *report,
                 rlm_error *err)
{
    rlm_job j;
    plan p = {.spec = {.source = -1}};
    rlm_clip clip = {0};
    RLM_TRY(rlm_session_need(s, RLM_PART_VIDEO | RLM_PART_LM, err));
    RLM_TRY(rlm_job_open(&j, s, request, err));
    p.task = p.spec.task = j.report.task = task_of(request);
    int code = plan_condition(&j, &p, err);
    if (!code) {
        switch (p.task) {
        case RLM_TASK_PREDICT:
        case RLM_TASK_AV_CONTINUE:
            code = make_continuation(&j, &p, &clip, err);
            break;
        case RLM_TASK_VIDEO_TO_AUDIO:
            code = rlm_soundtrack(&j, &clip, err);
            break;
        case RLM_TASK_PAINT:
            code = rlm_paint(&j, &clip, err);
            break;
        case RLM_TASK_STYLIZE:
            code = rlm_stylize(&j, &clip, err);
            break;
        case RLM_TASK_AUDIO_TO_VIDEO:
            code = rlm_visualize(&j, &clip, err);
            break;
        default:
            code = make_pictures(&j, &p, &clip, err);
        }
    }
    plan_free(&p);
    if (!code && j.cancelled)
        code = rlm_fail(err, RLM_E_CANCELLED, "stopped with %d frames finished", clip.video.count);
    j.report.frames = clip.video.count;
    rlm_job_close(&j);
    clip.origin = rlm_origin(p.task, request->condition);
    if (!code || code == RLM_E_CANCELLED)
        *out = clip;
    else
        rlm_clip_free(&clip);
    if (report)
        *report = j.report;
    return code;
}
