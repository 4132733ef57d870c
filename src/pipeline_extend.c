/* Any length by windows: the last pictures are encoded afresh, as many latent frames as the model
 * was trained to see before it continues, and the new ones are decoded together with them. */
#include "src/pipeline.h"

#include <math.h>
#include <string.h>

#include "src/media/media.h"

enum { WINDOW_PAST = 3 /* latent frames */, EXTEND_FRAMES_MAX = 4096 };

/* One window: the past as codes, and the shape of what is to come. */
typedef struct window {
    rlm_codes video, audio; /* past */
    rlm_codes all;          /* pictures, past and new, once they are made */
    int past, past_frames;  /* latent frames, pictures */
    int latents;            /* new */
    int32_t *forced, *seen; /* with keyframes: output codes known, and as the prefix shows them */
    uint8_t *known;
    int painted; /* 1: the pass makes past and new, between keyframes */
    rlm_layout_spec spec;
} window;

int64_t rlm_sound_samples(const rlm_job *j, int frames)
{
    double seconds = (double)frames * j->r->fps_den / j->r->fps_num;
    return (int64_t)floor(seconds * j->s->engine->model.audio_config.rate + 0.5);
}

int rlm_sound_frames(const rlm_job *j, int frames)
{
    int64_t hop = rlm_audio_hop(&j->s->engine->model.audio_config);
    int64_t n = rlm_sound_samples(j, frames), whole = n / hop; /* half a frame rounds down */
    whole += 2 * (n % hop) > hop;
    return whole < 1 ? 1 : (int)whole;
}

void rlm_job_want(const rlm_job *j, rlm_want *want)
{
    const rlm_model *m = &j->s->engine->model;
    rlm_want_defaults(want);
    want->width = j->r->width;
    want->height = j->r->height;
    want->fps_num = j->r->fps_num;
    want->fps_den = j->r->fps_den;
    want->rate = m->audio ? m->audio_config.rate : 16000;
    want->channels = 1;
    want->warn = rlm_log_warning;
    want->warn_cookie = (void *)(uintptr_t)j->s->engine;
}

static void window_free(window *w)
{
    rlm_codes_free(&w->video);
    rlm_codes_free(&w->audio);
    rlm_codes_free(&w->all);
    rlm_free(w->forced);
    rlm_free(w->seen);
    rlm_free(w->known);
}

static int window_past(rlm_job *j, const rlm_clip *clip, int sound, window *w, rlm_error *err)
{
    const rlm_frames *v = &clip->video;
    size_t one = (size_t)v->height * (size_t)v->width * 3;
    rlm_clip tail = {.video = *v};
    tail.video.count = w->past_frames;
    tail.video.rgb = v->rgb + (size_t)(v->count - w->past_frames) * one;
    if (sound) {
        int64_t n = rlm_sound_samples(j, w->past_frames);
        n = n < clip->audio.count ? n : clip->audio.count;
        tail.audio = clip->audio;
        tail.audio.count = n;
        tail.audio.samples = clip->audio.samples + (clip->audio.count - n);
    }
    return rlm_encode(j->s, &tail, &w->video, sound ? &w->audio : NULL, err);
}

/* The window's shape, after `have` pictures. With keyframes in reach everything between what is
 * known is painted. */
static void window_spec(const rlm_job *j, int have, window *w)
{
    int side = rlm_video_stride_s(&j->s->engine->model.video_config), t = w->past + w->latents;
    int h = (j->r->height + side - 1) / side, width = (j->r->width + side - 1) / side;
    rlm_grid all = {t, h, width, NULL, NULL}, past = all, made = all;
    past.t = w->past;
    made.t = w->latents;
    w->painted = rlm_window_keys(j, have - w->past_frames, w->past, t, h, width, NULL, NULL) > 0;
    w->spec = (rlm_layout_spec){.task = w->painted ? RLM_TASK_PAINT : RLM_TASK_PREDICT,
                                .visual_in = w->painted ? all : past,
                                .video_out = w->painted ? all : made,
                                .source = -1};
}

/* As much past and future as one pass holds after `have` pictures. */
static int window_cut(const rlm_job *j, int have, int rest, window *w, rlm_error *err)
{
    const rlm_model *m = &j->s->engine->model;
    int stride = rlm_video_stride_t(&m->video_config), overlap = j->r->overlap;
    /* latent frames: as many as the pictures there are fill, as a window is to see, as it may */
    int there = 1 + (have - 1) / stride;
    int wanted = overlap ? 1 + (overlap - 1) / stride : WINDOW_PAST;
    int most = there < wanted ? there : wanted;
    int least = overlap ? most : 1; /* what was asked for is not changed */
    for (w->past = most; w->past >= least; w->past--) {
        w->past_frames = 1 + (w->past - 1) * stride;
        w->latents = (rest + stride - 1) / stride;
        if (w->latents > RLM_WINDOW_LATENTS - w->past)
            w->latents = RLM_WINDOW_LATENTS - w->past;
        for (; w->latents >= 1; w->latents--) {
            window_spec(j, have, w);
            if (rlm_window_fits(j, &w->spec))
                return 0;
        }
    }
    return rlm_fail(err, RLM_E_RANGE,
                    "a picture of %dx%d leaves no room to continue: this model has %d positions",
                    j->r->width, j->r->height, m->lm_config.max_len);
}

int64_t rlm_continue_codes(const rlm_job *j, int have, int frames, int sound)
{
    int stride = rlm_video_stride_t(&j->s->engine->model.video_config);
    int levels = sound ? j->s->engine->model.lm_config.audio_levels : 0;
    int64_t codes = 0;
    for (window w = {0}; have < frames && !window_cut(j, have, frames - have, &w, NULL);
         have += w.latents * stride) {
        const rlm_grid *g = &w.spec.video_out;
        int heard = rlm_sound_frames(j, w.past_frames + w.latents * stride);
        codes += (int64_t)g->t * g->h * g->w + (int64_t)levels * heard;
    }
    return codes;
}

/* A painted window: what is known of it. */
static int window_paint(rlm_job *j, window *w, int base, rlm_error *err)
{
    const rlm_codes *v = &w->video;
    rlm_grid *g = &w->spec.video_out;
    size_t count = (size_t)g->t * (size_t)g->h * (size_t)g->w;
    w->forced = rlm_calloc(count, sizeof *w->forced);
    w->seen = rlm_alloc(count * sizeof *w->seen);
    w->known = rlm_calloc(count, 1);
    if (!w->forced || !w->seen || !w->known)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %zu codes", count);
    memcpy(w->forced, v->ids, (size_t)v->count * sizeof *w->forced);
    memset(w->known, 1, (size_t)v->count);
    rlm_window_keys(j, base, w->past, g->t, g->h, g->w, w->forced, w->known);
    for (size_t i = 0; i < count; i++)
        w->seen[i] = w->known[i] ? w->forced[i] : -1;
    w->spec.visual_in.ids = w->seen;
    g->ids = w->forced;
    g->known = w->known;
    return 0;
}

/* Choose how much past and future one pass holds, and encode the past. */
static int window_open(rlm_job *j, const rlm_clip *clip, int rest, int sound, window *w,
                       rlm_error *err)
{
    RLM_TRY(window_cut(j, clip->video.count, rest, w, err));
    RLM_TRY(window_past(j, clip, sound, w, err));
    w->spec.visual_in.ids = w->video.ids;
    return w->painted ? window_paint(j, w, clip->video.count - w->past_frames, err) : 0;
}

/* Past and new codes as one grid. */
static int window_join(const rlm_job *j, window *w, const rlm_made *made, rlm_error *err)
{
    int stride = rlm_video_stride_t(&j->s->engine->model.video_config);
    rlm_codes *all = &w->all;
    int past = w->painted ? 0 : w->past, latents = past + made->latents;
    *all = w->video;
    all->dims[0] = latents;
    all->count = (int64_t)all->dims[0] * all->dims[1] * all->dims[2];
    all->true_frames = 1 + (latents - 1) * stride;
    all->ids = rlm_alloc(rlm_size_mul((size_t)all->count, sizeof *all->ids));
    if (!all->ids)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %lld codes", (long long)all->count);
    size_t old = past ? (size_t)w->video.count : 0;
    memcpy(all->ids, w->video.ids, old * sizeof *all->ids);
    memcpy(all->ids + old, made->video, ((size_t)all->count - old) * sizeof *all->ids);
    return 0;
}

/* Append the new pictures, `most` in the clip. Their codes are saved before. */
static int append_video(rlm_job *j, const window *w, const rlm_made *codes, rlm_clip *clip,
                        int most, rlm_error *err)
{
    rlm_frames made = {0}, *v = &clip->video;
    int take = w->all.true_frames - w->past_frames;
    take = v->count + take > most ? most - v->count : take;
    if (take < 1)
        return 0;
    RLM_TRY(rlm_job_keep_video(j, &w->all, w->past_frames, take, err));
    RLM_TRY(rlm_job_save(j, err));
    RLM_TRY(rlm_film_take(j, codes->video, codes->latents, &made, err));
    size_t one = (size_t)v->height * (size_t)v->width * 3;
    int n = made.count;
    uint8_t *grown = rlm_realloc(v->rgb, (size_t)v->count * one, (size_t)(v->count + n) * one);
    if (!grown) {
        rlm_free(made.rgb);
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %d frames", v->count + n);
    }
    v->rgb = grown;
    memcpy(grown + (size_t)v->count * one, made.rgb, (size_t)n * one);
    v->count += n;
    rlm_free(made.rgb);
    return 0;
}

int rlm_take_sound(rlm_job *j, const rlm_made *made, int frames, int64_t skip, int64_t take,
                   float *to, rlm_error *err)
{
    rlm_clip sound = {0};
    rlm_codes grid = rlm_job_audio_grid(j, made->levels, frames, made->audio, 0);
    RLM_TRY(rlm_job_keep_audio(j, &grid, skip, take, err));
    RLM_TRY(rlm_job_save(j, err));
    double start = rlm_now();
    RLM_TRY(rlm_decode(j->s, NULL, &grid, &sound, err));
    int64_t have = sound.audio.count - skip, n = have < take ? have : take;
    if (n > 0)
        memcpy(to, sound.audio.samples + skip, (size_t)n * sizeof *to);
    rlm_clip_free(&sound);
    j->report.decode_s += rlm_now() - start;
    return 0;
}

int rlm_fit_sound(rlm_pcm *a, int64_t samples, rlm_error *err)
{
    if (samples > a->count) {
        size_t one = sizeof(float) * (size_t)a->channels;
        float *grown =
            rlm_realloc(a->samples, (size_t)a->count * one, rlm_size_mul((size_t)samples, one));
        if (!grown)
            return rlm_fail(err, RLM_E_NOMEM, "no memory for %lld samples", (long long)samples);
        memset(grown + a->count * a->channels, 0, (size_t)(samples - a->count) * one);
        a->samples = grown;
    }
    a->count = samples;
    return 0;
}

/* Sound up to the end of the pictures: both are counted from the start of the result, whose first
 * pictures and samples have left the clip. */
static int fit_to_pictures(const rlm_job *j, rlm_clip *clip, rlm_error *err)
{
    const rlm_outlet *o = j->outlet;
    int gone = o ? o->gone : 0;
    int64_t gone_samples = o ? o->gone_samples : 0;
    int64_t end_samples = rlm_sound_samples(j, gone + clip->video.count);
    return rlm_fit_sound(&clip->audio, end_samples - gone_samples, err);
}

/* Sound codes of the window: the past's are given, the rest is to be sampled. Level by level, so
 * each level hears its own past before it goes on. */
static int sound_spec(const rlm_job *j, const window *w, rlm_layout_spec *spec, int32_t **ids,
                      uint8_t **known, rlm_error *err)
{
    int levels = j->s->engine->model.lm_config.audio_levels;
    int past = w->audio.dims[1], frames = rlm_sound_frames(j, w->all.true_frames);
    size_t count = (size_t)levels * (size_t)frames;
    *ids = rlm_calloc(count, sizeof **ids);
    *known = rlm_calloc(count, 1);
    if (!*ids || !*known)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %zu codes", count);
    past = past < frames ? past : frames;
    for (int q = 0; q < levels; q++) {
        memcpy(*ids + (size_t)q * (size_t)frames, w->audio.ids + (size_t)q * w->audio.dims[1],
               (size_t)past * sizeof **ids);
        memset(*known + (size_t)q * (size_t)frames, 1, (size_t)past);
    }
    const int *d = w->all.dims;
    *spec = (rlm_layout_spec){.task = RLM_TASK_VIDEO_TO_AUDIO,
                              .visual_in = {d[0], d[1], d[2], w->all.ids, NULL},
                              .audio_out = {levels, frames, 1, *ids, *known},
                              .source = -1};
    return 0;
}

/* Sound up to the end of the picture: decode past and new together, take what is new. */
static int append_sound(rlm_job *j, const window *w, rlm_clip *clip, rlm_error *err)
{
    rlm_layout_spec spec;
    rlm_made made = {0};
    int32_t *ids = NULL;
    uint8_t *known = NULL;
    int64_t before = clip->audio.count;
    int code = fit_to_pictures(j, clip, err);
    if (!code)
        code = sound_spec(j, w, &spec, &ids, &known, err);
    if (!code)
        code = rlm_window_sample(j, &spec, &made, err);
    if (!code && made.levels) /* the window's sound begins where its past began */
        code = rlm_take_sound(j, &made, spec.audio_out.h, rlm_sound_samples(j, w->past_frames),
                              clip->audio.count - before, clip->audio.samples + before, err);
    rlm_made_free(&made);
    rlm_free(ids);
    rlm_free(known);
    return code;
}

/* Its pictures are decoded while they are sampled, behind those it begins with; `most` new ones. */
static int window_film(rlm_job *j, const window *w, int most, int number, rlm_error *err)
{
    const rlm_grid *g = &w->spec.video_out;
    int past = w->painted ? 0 : w->past;
    rlm_codes grid = rlm_job_video_grid(j, past + g->t, g->h, g->w, NULL, w->past_frames + most);
    return rlm_film_open(j, &grid, w->video.ids, past, w->past_frames, number, err);
}

/* One window more, `frames` pictures in all. gone: those that have left the clip. */
static int add_window(rlm_job *j, rlm_clip *clip, int frames, int gone, int sound, rlm_error *err)
{
    window w = {0};
    rlm_made made = {0};
    int had = gone + clip->video.count;
    j->seed++;
    int code = window_open(j, clip, frames - had, sound, &w, err);
    if (!code)
        code = window_film(j, &w, frames - had, had, err);
    if (!code)
        code = rlm_window_sample(j, &w.spec, &made, err);
    if (!code && made.latents)
        code = window_join(j, &w, &made, err);
    if (!code && made.latents)
        code = append_video(j, &w, &made, clip, frames - gone, err);
    rlm_film_close(j);
    if (!code && made.latents && sound)
        code = append_sound(j, &w, clip, err);
    rlm_made_free(&made);
    window_free(&w);
    return code;
}

int rlm_continue(rlm_job *j, rlm_clip *clip, int frames, int sound, rlm_error *err)
{
    int gone = j->outlet ? j->outlet->gone : 0, had = gone + clip->video.count;
    if (sound)
        RLM_TRY(fit_to_pictures(j, clip, err));
    while (had < frames && !j->cancelled) {
        rlm_mark begin = rlm_job_mark(j);
        RLM_TRY(rlm_job_prompt(j, j->windows++, err));
        RLM_TRY(add_window(j, clip, frames, gone, sound, err));
        int have = gone + clip->video.count;
        rlm_job_tell(j, RLM_STAGE_DECODE, have, frames, 1);
        if (j->r->dry_run && have < frames) { /* what follows costs as much a code */
            int64_t video = rlm_continue_codes(j, have, frames, 0);
            int64_t rest = rlm_continue_codes(j, have, frames, sound);
            rlm_job_left_out(j, &begin, rest, rlm_continue_codes(j, had, have, sound));
            j->report.video_tokens += video;
            j->report.audio_tokens += rest - video;
            j->unmade = frames - have;
            break;
        }
        RLM_TRY(rlm_outlet_pass(j, clip, err));
        gone = j->outlet ? j->outlet->gone : 0;
        had = have;
    }
    return 0;
}

/* The last picture first. */
static void turn_round(rlm_frames *v)
{
    size_t one = (size_t)v->height * (size_t)v->width * 3;
    for (int a = 0, b = v->count - 1; a < b; a++, b--)
        for (size_t i = 0; i < one; i++) {
            uint8_t keep = v->rgb[(size_t)a * one + i];
            v->rgb[(size_t)a * one + i] = v->rgb[(size_t)b * one + i];
            v->rgb[(size_t)b * one + i] = keep;
        }
}

/* Sound for the first `fresh` pictures, in front of what the clip has. */
static int sound_before(rlm_job *j, rlm_clip *clip, int fresh, rlm_error *err)
{
    rlm_clip part = {.video = clip->video};
    part.video.count = fresh;
    rlm_mark begin = rlm_job_mark(j);
    int code = rlm_dub(j, &part, err);
    if (code) {
        rlm_free(part.audio.samples);
        return code;
    }
    if (j->unmade) {
        int64_t codes = rlm_dub_codes(j, fresh), rest = rlm_dub_codes(j, fresh + j->unmade) - codes;
        rlm_job_left_out(j, &begin, rest, codes);
        j->report.audio_tokens += rest;
    }
    int64_t old = clip->audio.count, n = rlm_sound_samples(j, clip->video.count) - old;
    float *all = n > 0 ? rlm_calloc((size_t)(n + old), sizeof *all) : NULL;
    if (n > 0 && !all) {
        rlm_free(part.audio.samples);
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %lld samples", (long long)(n + old));
    }
    if (n > 0) {
        int64_t have = part.audio.count < n ? part.audio.count : n;
        memcpy(all, part.audio.samples, (size_t)have * sizeof *all);
        memcpy(all + n, clip->audio.samples, (size_t)old * sizeof *all);
        rlm_free(clip->audio.samples);
        clip->audio.samples = all;
        clip->audio.count = n + old;
    }
    rlm_free(part.audio.samples);
    return 0;
}

/* What came before: the film is continued running backwards, then turned round. Its sound is made
 * for the finished pictures, since sound does not run backwards. */
static int extend_backward(rlm_job *j, rlm_clip *clip, int frames, int sound, rlm_error *err)
{
    rlm_pcm heard = clip->audio;
    int before = clip->video.count;
    clip->audio = (rlm_pcm){0};
    j->no_preview = 1;
    turn_round(&clip->video);
    int code = rlm_continue(j, clip, frames, 0, err);
    if (!code)
        code = rlm_job_show_keys(j, &clip->video, err);
    turn_round(&clip->video);
    clip->audio = heard;
    if (!code && sound)
        code = rlm_fit_sound(&clip->audio, rlm_sound_samples(j, before), err);
    if (!code && sound && clip->video.count > before)
        code = sound_before(j, clip, clip->video.count - before, err);
    return code;
}

static int extend_keys(rlm_job *j, int before, int frames, rlm_error *err)
{
    if (!j->r->backward)
        return rlm_job_keys(j, before, before, frames - 1, frames, err);
    RLM_TRY(rlm_job_keys(j, before, 0, frames - before - 1, frames, err));
    for (int i = 0; i < j->key_count; i++)
        j->keys[i].frame = frames - 1 - j->keys[i].frame;
    return 0;
}

static int64_t extend_codes(const rlm_job *j, int have, int frames, int sound)
{
    int later = sound && j->r->backward; /* sound for the finished pictures */
    return rlm_continue_codes(j, have, frames, sound && !later) +
           (later ? rlm_dub_codes(j, frames - have) : 0);
}

int rlm_extends_sound(const rlm_job *j, int heard)
{
    const rlm_model *m = &j->s->engine->model;
    return j->r->audio && heard && m->audio && m->lm_config.audio_levels > 0;
}

int rlm_extend_frames(const rlm_job *j, int have, double seconds, int most, int *frames,
                      rlm_error *err)
{
    if (!(seconds > 0 && seconds <= 3600))
        return rlm_fail(err, RLM_E_RANGE, "extend: %g seconds, allowed are above 0 to 3600",
                        seconds);
    double more = ceil(seconds * j->r->fps_num / j->r->fps_den - 1e-6);
    if (have + more > most)
        return rlm_fail(err, RLM_E_RANGE, "extend: %.0f frames in all, at most %d are allowed",
                        have + more, most);
    *frames = have + (int)more;
    return 0;
}

int rlm_extend(rlm_session *s, const rlm_request *request, const rlm_clip *source, double seconds,
               rlm_clip *out, rlm_report *report, rlm_error *err)
{
    rlm_job j;
    rlm_want want;
    rlm_clip clip = {0};
    if (!source || source->video.count < 1)
        return rlm_fail(err, RLM_E_ARG, "extend: the source has no picture");
    RLM_TRY(rlm_session_need(s, RLM_PART_VIDEO | RLM_PART_LM, err));
    RLM_TRY(rlm_job_open(&j, s, request, err));
    rlm_job_want(&j, &want);
    int sound = rlm_extends_sound(&j, source->audio.count > 0), frames = 0;
    want.want_audio = sound;
    int code = rlm_clip_convert(source, &want, &clip, err);
    if (!code)
        code = rlm_extend_frames(&j, clip.video.count, seconds, EXTEND_FRAMES_MAX, &frames, err);
    if (!code && request->reencode)
        code = rlm_clip_round_trip(s, &clip, NULL, NULL, err);
    j.report.task = sound ? RLM_TASK_AV_CONTINUE : RLM_TASK_PREDICT;
    if (!code)
        code = extend_keys(&j, clip.video.count, frames, err);
    if (!code)
        j.total = extend_codes(&j, clip.video.count, frames, sound);
    if (!code)
        code = request->backward ? extend_backward(&j, &clip, frames, sound, err)
                                 : rlm_continue(&j, &clip, frames, sound, err);
    if (!code && !request->backward)
        code = rlm_job_show_keys(&j, &clip.video, err);
    if (!code && j.cancelled)
        code = rlm_fail(err, RLM_E_CANCELLED, "stopped after %d of %d frames", clip.video.count,
                        frames);
    clip.origin = rlm_origin(RLM_TASK_PREDICT, source);
    if (!code || code == RLM_E_CANCELLED)
        *out = clip;
    else
        rlm_clip_free(&clip);
    j.report.frames = clip.video.count;
    rlm_job_close(&j);
    if (report)
        *report = j.report;
    return code;
}
