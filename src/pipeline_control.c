/* Pictures from depth and flow, given or estimated, and pictures from sound. */
#include "src/pipeline.h"

#include <string.h>

#include "src/media/media.h"

/* What a window's condition lives in. */
typedef struct source {
    rlm_clip clip; /* control pictures, or sound, at the request's size and rates */
    rlm_codes codes;
} source;

/* ---- Depth and flow -------------------------------------------------------------------------- */

/* Flow and depth as they can be seen in a plain video. */
static int estimate(const rlm_frames *v, rlm_clip *out, rlm_error *err)
{
    size_t n = (size_t)v->count * (size_t)v->height * (size_t)v->width;
    float *flow = rlm_alloc(rlm_size_mul(3 * sizeof *flow, n));
    if (!flow)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for the flow of %d frames", v->count);
    int code = rlm_flow_estimate(v, flow, err);
    if (!code) {
        rlm_depth_guess(v, flow, flow + 2 * n);
        code = rlm_control_pack(flow + 2 * n, flow, v->count, v->height, v->width, out, NULL, err);
    }
    rlm_free(flow);
    if (!code) {
        out->video.fps_num = v->fps_num;
        out->video.fps_den = v->fps_den;
    }
    return code;
}

/* Given pictures: red and green of the one, blue of the other (grey is all three). */
static int join(const rlm_frames *depth, const rlm_frames *flow, rlm_clip *out, rlm_error *err)
{
    const rlm_frames *shape = depth->count ? depth : flow;
    if (depth->count && flow->count && depth->count != flow->count)
        return rlm_fail(err, RLM_E_ARG, "depth has %d frames, flow %d: they must be alike",
                        depth->count, flow->count);
    size_t n = (size_t)shape->count * (size_t)shape->height * (size_t)shape->width;
    out->video = *shape;
    out->video.rgb = rlm_alloc(rlm_size_mul(n, 3));
    if (!out->video.rgb)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %d control pictures", shape->count);
    for (size_t i = 0; i < n; i++) {
        out->video.rgb[3 * i] = flow->count ? flow->rgb[3 * i] : 128;
        out->video.rgb[3 * i + 1] = flow->count ? flow->rgb[3 * i + 1] : 128;
        out->video.rgb[3 * i + 2] = depth->count ? depth->rgb[3 * i + 2] : 0;
    }
    return 0;
}

static int read_control(rlm_job *j, source *s, rlm_error *err)
{
    const rlm_request *r = j->r;
    rlm_clip plain = {0}, depth = {0}, flow = {0};
    rlm_want want;
    rlm_job_want(j, &want);
    want.want_audio = 0;
    int code = 0;
    if ((!r->depth || !r->depth->video.count) && (!r->flow || !r->flow->video.count)) {
        if (!r->condition || !r->condition->video.count)
            return rlm_fail(err, RLM_E_ARG, "stylization needs depth, flow or a video");
        code = rlm_clip_convert(r->condition, &want, &plain, err);
        if (!code)
            code = estimate(&plain.video, &s->clip, err);
    } else {
        if (r->depth)
            code = rlm_clip_convert(r->depth, &want, &depth, err);
        if (!code && r->flow)
            code = rlm_clip_convert(r->flow, &want, &flow, err);
        if (!code)
            code = join(&depth.video, &flow.video, &s->clip, err);
    }
    rlm_clip_free(&plain);
    rlm_clip_free(&depth);
    rlm_clip_free(&flow);
    return code;
}

static int open_control(void *ctx, rlm_walk *w, int from, int past, int n, rlm_layout_spec *spec,
                        rlm_error *err)
{
    source *s = ctx;
    rlm_clip part = {.video = s->clip.video};
    (void)w;
    (void)past;
    part.video.rgb += (size_t)from * (size_t)part.video.height * (size_t)part.video.width * 3;
    part.video.count = n;
    rlm_codes_free(&s->codes);
    RLM_TRY(rlm_encode(w->j->s, &part, &s->codes, NULL, err));
    spec->visual_in = spec->video_out;
    spec->visual_in.ids = s->codes.ids;
    return 0;
}

/* The condition's sound, as it came, as far as the pictures go or to its end. */
static int keep_sound(rlm_job *j, rlm_clip *out, rlm_error *err)
{
    const rlm_clip *c = j->r->condition;
    rlm_want want;
    if (!c || !c->audio.count || !j->r->audio || !out->video.count)
        return 0;
    rlm_job_want(j, &want);
    want.want_video = want.rate = want.channels = 0;
    rlm_clip in = {.audio = c->audio}, heard = {0};
    RLM_TRY(rlm_clip_convert(&in, &want, &heard, err));
    double seconds = (double)out->video.count * j->r->fps_den / j->r->fps_num;
    int64_t most = (int64_t)(seconds * heard.audio.rate + 0.5);
    out->audio = heard.audio;
    if (!j->r->longest && most < out->audio.count)
        out->audio.count = most;
    return 0;
}

/* Unless something failed already: the pictures, with the sound they keep. Frees the source. */
static int walk(rlm_walk *w, source *s, int code, rlm_clip *out, rlm_error *err)
{
    if (!code)
        code = rlm_walk_run(w, err);
    out->video = w->out;
    if (!code)
        code = keep_sound(w->j, out, err);
    rlm_codes_free(&s->codes);
    rlm_clip_free(&s->clip);
    return code;
}

int rlm_stylize(rlm_job *j, rlm_clip *out, rlm_error *err)
{
    source s = {0};
    rlm_walk w = {.j = j, .task = RLM_TASK_STYLIZE, .open = open_control, .ctx = &s};
    int code = read_control(j, &s, err);
    w.frames = s.clip.video.count < j->r->frames ? s.clip.video.count : j->r->frames;
    return walk(&w, &s, code, out, err);
}

/* ---- Sound ----------------------------------------------------------------------------------- */

static int open_sound(void *ctx, rlm_walk *w, int from, int past, int n, rlm_layout_spec *spec,
                      rlm_error *err)
{
    source *s = ctx;
    int64_t at = rlm_sound_samples(w->j, from), end = rlm_sound_samples(w->j, from + n);
    rlm_clip part = {.audio = s->clip.audio};
    (void)past;
    part.audio.samples += at;
    part.audio.count = end - at;
    rlm_codes_free(&s->codes);
    RLM_TRY(rlm_encode(w->j->s, &part, NULL, &s->codes, err));
    spec->audio_in = (rlm_grid){w->j->s->engine->model.lm_config.audio_levels, s->codes.dims[1], 1,
                                s->codes.ids, NULL};
    return 0;
}

int rlm_visualize(rlm_job *j, rlm_clip *out, rlm_error *err)
{
    const rlm_clip *c = j->r->condition;
    source s = {0};
    rlm_walk w = {.j = j,
                  .task = RLM_TASK_AUDIO_TO_VIDEO,
                  .open = open_sound,
                  .ctx = &s,
                  .frames = j->r->frames};
    rlm_want want;
    if (!c || !c->audio.count)
        return rlm_fail(err, RLM_E_ARG, "this task needs sound as its condition");
    RLM_TRY(rlm_session_need(j->s, RLM_PART_AUDIO, err));
    if (!j->s->engine->model.lm_config.audio_levels)
        return rlm_fail(err, RLM_E_UNSUPPORTED, "this language model knows no sound");
    rlm_job_want(j, &want);
    want.want_video = 0;
    rlm_clip in = {.audio = c->audio};
    int code = rlm_clip_convert(&in, &want, &s.clip, err);
    if (!code)
        code = rlm_fit_sound(&s.clip.audio, rlm_sound_samples(j, w.frames), err);
    return walk(&w, &s, code, out, err);
}
