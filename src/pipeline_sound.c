/* Sound for pictures, window after window, each of which hears the end of the one before; and
 * seconds of a film's own sound made anew between what is kept. */
#include "src/pipeline.h"

#include <math.h>
#include <string.h>

#include "src/media/media.h"

enum { SOUND_PAST = 5 /* pictures of a window that sound already */, SPANS_MAX = 64 };
static const double FADE = 0.01; /* s: what is made comes and goes within its span */

/* Sound in the making. */
typedef struct dub {
    rlm_job *j;
    rlm_frames film; /* at the request's size and rate; borrowed */
    rlm_pcm sound;   /* at the codec's rate, mono, as long as the film; borrowed */
    rlm_codes video; /* of the window in progress */
    uint8_t *known;  /* of its sound */
    int32_t *forced;
    rlm_layout_spec spec;
} dub;

static void dub_free(dub *d)
{
    rlm_codes_free(&d->video);
    rlm_free(d->known);
    rlm_free(d->forced);
}

/* ---- Windows --------------------------------------------------------------------------------- */

/* Codes of sound [base, end) that lie wholly outside of [from, to), which is to be made, stand as
 * they are. All in samples. */
static int hear(dub *d, int64_t base, int64_t from, int64_t to, int64_t end, rlm_error *err)
{
    rlm_grid *g = &d->spec.audio_out;
    rlm_clip part = {.audio = d->sound};
    rlm_codes codes = {0};
    int64_t hop = rlm_audio_hop(&d->j->s->engine->model.audio_config);
    int64_t before = (from - base) / hop, behind = (to - base + hop - 1) / hop;
    size_t count = (size_t)g->t * (size_t)g->h;
    g->ids = NULL;
    g->known = NULL;
    part.audio.samples += base;
    part.audio.count = (to < end ? end : from) - base;
    if (part.audio.count < hop)
        return 0;
    RLM_TRY(rlm_encode(d->j->s, &part, NULL, &codes, err));
    rlm_free(d->known);
    rlm_free(d->forced);
    uint8_t *known = d->known = rlm_calloc(count, 1);
    int32_t *forced = d->forced = rlm_calloc(count, sizeof *forced);
    if (!known || !forced) {
        rlm_codes_free(&codes);
        return rlm_fail(err, RLM_E_NOMEM, "no memory for the sound");
    }
    int have = codes.dims[1] < g->h ? codes.dims[1] : g->h;
    for (int i = 0; i < g->t * g->h; i++) {
        int q = i / g->h, f = i % g->h;
        if (f < have && (f < before || f >= behind)) {
            known[i] = 1;
            forced[i] = codes.ids[q * codes.dims[1] + f];
        }
    }
    g->ids = forced;
    g->known = known;
    rlm_codes_free(&codes);
    return 0;
}

/* Sound [*done, to) of a window of pictures [start, end). */
static int dub_window(dub *d, int start, int end, int64_t *done, int64_t to, rlm_error *err)
{
    const rlm_model *m = &d->j->s->engine->model;
    size_t one = (size_t)d->film.height * (size_t)d->film.width * 3;
    rlm_clip part = {.video = d->film};
    rlm_made made = {0};
    int64_t base = rlm_sound_samples(d->j, start), from = *done;
    part.video.count = end - start;
    part.video.rgb += (size_t)start * one;
    rlm_codes_free(&d->video);
    RLM_TRY(rlm_encode(d->j->s, &part, &d->video, NULL, err));
    const int *n = d->video.dims;
    d->spec = (rlm_layout_spec){.task = RLM_TASK_VIDEO_TO_AUDIO,
                                .visual_in = {n[0], n[1], n[2], d->video.ids, NULL},
                                .audio_out = {m->lm_config.audio_levels,
                                              rlm_sound_frames(d->j, end - start), 1, NULL, NULL},
                                .source = -1};
    d->j->seed++;
    RLM_TRY(hear(d, base, from, to, rlm_sound_samples(d->j, end), err));
    int code = rlm_window_sample(d->j, &d->spec, &made, err);
    if (!code && made.levels)
        code = rlm_take_sound(d->j, &made, d->spec.audio_out.h, from - base, to - from,
                              d->sound.samples + from, err);
    if (!code && made.levels)
        *done = to;
    rlm_made_free(&made);
    return code;
}

/* Pictures [*start, *end) of `count`, for which a window makes the sound from sample `at` on. */
static void cut_window(const rlm_job *j, int count, int64_t at, int *start, int *end)
{
    int window =
        1 + (RLM_WINDOW_LATENTS - 1) * rlm_video_stride_t(&j->s->engine->model.video_config);
    int picture = 0;
    while (picture + 1 < count && rlm_sound_samples(j, picture + 1) <= at)
        picture++;
    *start = picture > SOUND_PAST ? picture - SOUND_PAST : 0;
    *end = count - *start < window ? count : *start + window;
}

/* How many codes its windows have, for `count` pictures. */
static int64_t span_codes(const rlm_job *j, int count, int64_t from, int64_t to)
{
    int start, end, levels = j->s->engine->model.lm_config.audio_levels;
    int64_t codes = 0;
    for (int64_t at = from; at < to; at = rlm_sound_samples(j, end)) {
        cut_window(j, count, at, &start, &end);
        codes += (int64_t)levels * rlm_sound_frames(j, end - start);
    }
    return codes;
}

/* Sound [from, to) of the film. *done: up to where it is made. */
static int dub_span(dub *d, int64_t from, int64_t to, int64_t *done, rlm_error *err)
{
    int start, end;
    for (*done = from; *done < to && !d->j->cancelled;) {
        rlm_mark begin = rlm_job_mark(d->j);
        int64_t codes = d->j->done;
        cut_window(d->j, d->film.count, *done, &start, &end);
        int64_t stop = rlm_sound_samples(d->j, end);
        RLM_TRY(dub_window(d, start, end, done, stop < to ? stop : to, err));
        if (d->j->r->dry_run && start > 0) { /* windows that hear one before are alike */
            int64_t rest = span_codes(d->j, d->film.count, *done, to);
            rlm_job_left_out(d->j, &begin, rest, d->j->done - codes);
            d->j->report.audio_tokens += rest;
            *done = to;
        }
    }
    return 0;
}

/* ---- Whole soundtracks ----------------------------------------------------------------------- */

static int dub_need(rlm_job *j, rlm_error *err)
{
    RLM_TRY(rlm_session_need(j->s, RLM_PART_AUDIO, err));
    return j->s->engine->model.lm_config.audio_levels
               ? 0
               : rlm_fail(err, RLM_E_UNSUPPORTED, "this language model knows no sound");
}

int64_t rlm_dub_codes(const rlm_job *j, int frames)
{
    return span_codes(j, frames, 0, rlm_sound_samples(j, frames));
}

int rlm_dub(rlm_job *j, rlm_clip *clip, rlm_error *err)
{
    const rlm_model *m = &j->s->engine->model;
    dub d = {.j = j, .film = clip->video};
    RLM_TRY(dub_need(j, err));
    int64_t samples = rlm_sound_samples(j, clip->video.count), done = 0;
    clip->audio = (rlm_pcm){.channels = 1, .rate = m->audio_config.rate};
    clip->audio.samples = rlm_calloc((size_t)samples + 1, sizeof(float));
    if (!clip->audio.samples)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %lld samples", (long long)samples);
    d.sound = clip->audio;
    int code = dub_span(&d, 0, samples, &done, err);
    clip->audio.count = done;
    dub_free(&d);
    return code;
}

/* ---- Spans of a sound that is there ---------------------------------------------------------- */

static int check_spans(const rlm_request *r, rlm_error *err)
{
    const rlm_clip *c = r->condition;
    double seconds = (double)c->video.count * c->video.fps_den / c->video.fps_num;
    if (r->span_count < 0 || r->span_count > SPANS_MAX || (r->span_count && !r->spans))
        return rlm_fail(err, RLM_E_ARG, "%d spans of sound, allowed are 0 to %d", r->span_count,
                        SPANS_MAX);
    if (r->span_count && !c->audio.count)
        return rlm_fail(err, RLM_E_ARG,
                        "the video has no sound to keep: leave the spans out, and all is made");
    for (int i = 0; i < r->span_count; i++) {
        const rlm_span *s = &r->spans[i];
        double to = s->to > 0 ? s->to : seconds;
        if (!(s->from >= 0 && s->from < to && to <= seconds + 1e-6))
            return rlm_fail(err, RLM_E_RANGE, "span %d: %g to %g s of a video of %g s", i + 1,
                            s->from, to, seconds);
    }
    return 0;
}

/* Put what was made, in mono at the same rate, into [from, to) of the sound; in FADE it comes and
 * goes, but not at an end of the sound. */
static void mix(rlm_pcm *sound, const rlm_pcm *made, int64_t from, int64_t to)
{
    double fade = fmax(1, FADE * sound->rate);
    to = to < sound->count ? to : sound->count;
    to = to < made->count ? to : made->count;
    for (int64_t i = from; i < to; i++) {
        double in = from > 0 ? ((double)(i - from) + 0.5) / fade : 1;
        double out = to < sound->count ? ((double)(to - i) - 0.5) / fade : 1;
        float share = (float)fmin(1, fmin(in, out));
        for (int c = 0; c < sound->channels; c++) {
            float *x = &sound->samples[i * sound->channels + c];
            *x += share * (made->samples[i] - *x);
        }
    }
}

/* The condition's sound at its own rate, with what `heard` has in the spans. */
static int mix_spans(rlm_job *j, const rlm_pcm *heard, const int64_t *ends, rlm_pcm *out,
                     rlm_error *err)
{
    const rlm_request *r = j->r;
    const rlm_pcm *own = &r->condition->audio;
    size_t bytes = rlm_size_mul((size_t)own->count, sizeof(float) * (size_t)own->channels);
    rlm_clip in = {.audio = *heard}, made = {0};
    rlm_want want;
    rlm_want_defaults(&want);
    want.rate = own->rate;
    RLM_TRY(rlm_clip_convert(&in, &want, &made, err));
    *out = *own;
    out->samples = rlm_alloc(bytes);
    if (!out->samples) {
        rlm_clip_free(&made);
        *out = (rlm_pcm){0};
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %lld samples", (long long)own->count);
    }
    memcpy(out->samples, own->samples, bytes);
    for (int i = 0; i < r->span_count; i++)
        mix(out, &made.audio, llround(r->spans[i].from * own->rate),
            ends[i] * own->rate / heard->rate);
    rlm_clip_free(&made);
    return 0;
}

/* A span in samples. */
static void span_ends(const rlm_span *s, double rate, int64_t samples, int64_t *from, int64_t *to)
{
    *from = llround(s->from * rate);
    *to = llround(s->to * rate);
    *to = *to > 0 && *to < samples ? *to : samples;
}

/* The spans of the condition's sound made anew. film: its pictures as the tokenizer reads them. */
static int dub_spans(rlm_job *j, const rlm_frames *film, rlm_pcm *out, rlm_error *err)
{
    const rlm_request *r = j->r;
    const rlm_model *m = &j->s->engine->model;
    rlm_clip in = {.audio = r->condition->audio}, heard = {0};
    int64_t ends[SPANS_MAX] = {0}, from, to;
    rlm_want want;
    rlm_job_want(j, &want);
    want.want_video = 0;
    RLM_TRY(dub_need(j, err));
    int64_t samples = rlm_sound_samples(j, film->count);
    RLM_TRY(rlm_clip_convert(&in, &want, &heard, err));
    int code = rlm_fit_sound(&heard.audio, samples, err);
    dub d = {.j = j, .film = *film, .sound = heard.audio};
    double rate = m->audio_config.rate;
    for (int i = 0; i < r->span_count; i++) {
        span_ends(&r->spans[i], rate, samples, &from, &to);
        j->total += span_codes(j, film->count, from, to);
    }
    for (int i = 0; i < r->span_count && !code; i++) {
        span_ends(&r->spans[i], rate, samples, &from, &to);
        ends[i] = from;
        if (from < to)
            code = dub_span(&d, from, to, &ends[i], err);
    }
    if (!code)
        code = mix_spans(j, &heard.audio, ends, out, err);
    dub_free(&d);
    rlm_clip_free(&heard);
    return code;
}

/* ---- The task -------------------------------------------------------------------------------- */

int rlm_soundtrack(rlm_job *j, rlm_clip *out, rlm_error *err)
{
    const rlm_clip *c = j->r->condition;
    rlm_clip film = {0};
    rlm_want want;
    if (!c || !c->video.count)
        return rlm_fail(err, RLM_E_ARG, "this task needs a video as its condition");
    RLM_TRY(check_spans(j->r, err));
    rlm_job_want(j, &want);
    want.want_audio = 0;
    RLM_TRY(rlm_clip_convert(c, &want, &film, err));
    if (!j->r->span_count)
        j->total = rlm_dub_codes(j, film.video.count);
    int code =
        j->r->span_count ? dub_spans(j, &film.video, &film.audio, err) : rlm_dub(j, &film, err);
    rlm_free(film.video.rgb);
    out->audio = film.audio;
    size_t one = rlm_size_mul((size_t)c->video.height * 3, (size_t)c->video.width);
    size_t bytes = rlm_size_mul(one, (size_t)c->video.count);
    uint8_t *rgb = code ? NULL : rlm_alloc(bytes);
    if (code || !rgb)
        return code ? code : rlm_fail(err, RLM_E_NOMEM, "no memory for %d frames", c->video.count);
    memcpy(rgb, c->video.rgb, bytes);
    out->video = c->video;
    out->video.rgb = rgb;
    if (j->cancelled || j->r->span_count)
        return 0;
    double seconds = (double)c->video.count * c->video.fps_den / c->video.fps_num;
    return rlm_fit_sound(&out->audio, (int64_t)floor(seconds * out->audio.rate + 0.5), err);
}
