/* The search for codes of sound: mel and STFT distances and the wave itself, weighed as the decoder
 * was trained. x is the encoder's z; the codes are what the quantiser finds for it. */
#include <math.h>
#include <string.h>

#include "src/train/search.h"

enum {
    WINDOW = 128, /* frames */
    OVERLAP = 16, /* of them searched again with the next window: they sound on in it */
};
static const float STFT_WEIGHT = 20, WAVE_WEIGHT = 8; /* beside the mel distance */
static const float RATE = 0.08f;                      /* of the root mean square of z */

typedef rlm_search_sound window;

/* ---- A window -------------------------------------------------------------------------------- */

static int64_t total_of(const window *w)
{
    return w->codes->dims[1];
}

/* Samples from frame `at` of the clip on. */
static float *wave_at(const window *w, int64_t at)
{
    return w->wave + (at - w->first) * w->hop;
}

/* Frames in front of the window, as many as `side` looks back (0 the encoder, 1 the decoder). */
static int lead_of(const window *w, int side)
{
    return w->begin < w->before[side] ? (int)w->begin : w->before[side];
}

/* Frames in front of a window that are kept: the longer look back. */
static int back_of(const window *w)
{
    return w->before[w->before[1] > w->before[0]];
}

/* The window's codes between the clip's grid and those at hand. */
static void copy_codes(const window *w, bool to_clip)
{
    size_t bytes = (size_t)w->window * sizeof *w->ids;
    for (int q = 0; q < w->codes->dims[0]; q++) {
        int32_t *clip = w->codes->ids + q * total_of(w) + w->begin;
        int32_t *own = w->ids + (int64_t)q * w->window;
        memcpy(to_clip ? clip : own, to_clip ? own : clip, bytes);
    }
}

static void start(rlm_search *s, bool dry)
{
    window *w = &s->sound;
    int lead = lead_of(w, 0), dim = s->model.audio_config.dim;
    size_t mark = rlm_arena_mark(&s->arena);
    rlm_tensor x = rlm_tensor_view(wave_at(w, w->begin - lead), RLM_F32, 5,
                                   (int64_t[5]){1, 1, 1, (int64_t)(lead + w->window) * w->hop, 1});
    rlm_tensor z = rlm_audio_encode_forward(&s->run, s->model.audio, &x);
    w->z.count = (int64_t)w->window * dim;
    copy_codes(w, false);
    if (!dry) {
        memcpy(w->z.x, rlm_f32(&z) + lead * dim, (size_t)w->z.count * sizeof *w->z.x);
        double square = s->k.sumsq(s->par, w->z.count, w->z.x);
        w->z.rate = RATE * (float)sqrt(square / (double)w->z.count);
    }
    rlm_arena_rewind(&s->arena, mark);
}

static double look(rlm_search *s, const float **slope, bool dry)
{
    window *w = &s->sound;
    rlm_run *run = &s->run;
    const rlm_audio *a = s->model.audio;
    int lead = lead_of(w, 1), dim = s->model.audio_config.dim, levels = w->codes->dims[0];
    int64_t n = (int64_t)w->window * w->hop, skip = (int64_t)lead * w->hop;
    rlm_tensor q = rlm_tensor_new5(run, 1, 1, 1, lead + w->window, dim);
    rlm_audio_dequantise_rows(run, a, levels, lead, w->codes->ids + w->begin - lead, total_of(w),
                              rlm_f32(&q));
    rlm_audio_dequantise_rows(run, a, levels, w->window, w->ids, w->window,
                              rlm_f32(&q) + lead * dim);
    rlm_tensor y = rlm_audio_decode_forward(run, a, &q);
    float *dy = rlm_grad(run, &y);
    rlm_tensor heard = rlm_tensor_view(rlm_f32(&y) + skip, RLM_F32, 5, (int64_t[5]){1, 1, 1, n, 1});
    heard.grad = dy + skip;
    *slope = q.grad + lead * dim;
    if (dry) /* what follows has its own memory */
        return 0;
    const float *to = wave_at(w, w->begin);
    double loss = rlm_loss_mel(run, w->mel, &heard, to, 1.0f);
    loss += STFT_WEIGHT * rlm_loss_mel(run, w->stft, &heard, to, STFT_WEIGHT);
    return loss + WAVE_WEIGHT * rlm_loss_recon(run, RLM_LOSS_L1, &heard, to, WAVE_WEIGHT);
}

static void quantise(rlm_search *s)
{
    window *w = &s->sound;
    rlm_audio_quantise_rows(&s->run, s->model.audio, w->codes->dims[0], w->window, w->z.x, w->ids,
                            w->window, NULL);
}

static void take(rlm_search *s)
{
    copy_codes(&s->sound, true);
}

static const rlm_search_task TASK = {0, start, look, quantise, take};

/* ---- A clip ---------------------------------------------------------------------------------- */

static int check_codes(const rlm_search *s, const rlm_codes *c, rlm_error *err)
{
    const rlm_audio_config *config = &s->model.audio_config;
    if (!s->model.audio)
        return rlm_fail(err, RLM_E_MODEL, "search: %s has no audio codec", s->model.dir);
    bool fits = c->dims[0] == config->levels && c->dims[1] >= 1 &&
                c->count == (int64_t)c->dims[0] * c->dims[1];
    for (int64_t i = 0; fits && i < c->count; i++)
        fits = c->ids[i] >= 0 && c->ids[i] < config->codes;
    return fits ? 0 : rlm_fail(err, RLM_E_TOKENS, "search: the codes are not of this codec");
}

int rlm_search_sound_begin(rlm_search *s, rlm_codes *codes, rlm_error *err)
{
    window *w = &s->sound;
    RLM_TRY(check_codes(s, codes, err));
    const rlm_audio_config *c = &s->model.audio_config;
    int window_was = w->window;
    w->codes = codes;
    w->hop = rlm_audio_hop(c);
    w->window = codes->dims[1] < WINDOW ? codes->dims[1] : WINDOW;
    w->begin = w->first = w->held = 0;
    rlm_audio_contexts(s->model.audio, &w->before[0], &w->before[1]);
    s->start = rlm_now();
    if (w->window == window_was && w->z.x)
        return 0;
    rlm_search_sound_free(w);
    int samples = w->window * w->hop;
    w->wave = rlm_alloc(rlm_size_mul((size_t)(back_of(w) + w->window) * w->hop, sizeof *w->wave));
    w->ids = rlm_calloc((size_t)w->window * (size_t)c->levels, sizeof *w->ids);
    if (!w->wave || !w->ids)
        return rlm_fail(err, RLM_E_NOMEM, "search: no memory for %d samples", samples);
    RLM_TRY(rlm_mel_new(&w->mel, RLM_MEL_TRAIN, c->rate, samples, 1, err));
    RLM_TRY(rlm_mel_new(&w->stft, RLM_MEL_BINS, c->rate, samples, 1, err));
    return rlm_descent_new(&w->z, (int64_t)w->window * c->dim, err);
}

/* Searched, and on to the next; behind the last one begin is the clip's end. */
static int end_window(rlm_search *s, rlm_error *err)
{
    window *w = &s->sound;
    int64_t total = total_of(w), last = total - w->window;
    RLM_TRY(rlm_search_window(s, &TASK, &w->z, w->begin, w->begin + w->window, total, err));
    if (w->begin == last) {
        w->begin = total;
        return 0;
    }
    w->begin += w->window - OVERLAP;
    if (w->begin > last)
        w->begin = last;
    return 0;
}

/* Makes room behind what is held: what no window will look at again goes. */
static void drop_old(window *w)
{
    int64_t keep = w->begin - back_of(w);
    if (keep <= w->first)
        return;
    int64_t gone = (keep - w->first) * w->hop;
    memmove(w->wave, w->wave + gone, (size_t)(w->held - gone) * sizeof *w->wave);
    w->held -= gone;
    w->first = keep;
}

int rlm_search_sound_push(rlm_search *s, int64_t count, const float *samples, rlm_error *err)
{
    window *w = &s->sound;
    while (count > 0 && w->begin < total_of(w)) {
        int64_t want = (w->begin + w->window - w->first) * w->hop - w->held;
        int64_t n = count < want ? count : want;
        memcpy(w->wave + w->held, samples, (size_t)n * sizeof *samples);
        w->held += n;
        samples += n;
        count -= n;
        if (n == want) {
            RLM_TRY(end_window(s, err));
            drop_old(w);
        }
    }
    return 0;
}

/* Silence fills the last frame, as it does when codes are made. */
int rlm_search_sound_end(rlm_search *s, rlm_error *err)
{
    static const float silence[256] = {0};
    window *w = &s->sound;
    if (w->begin == 0 && w->held == 0)
        return rlm_fail(err, RLM_E_ARG, "search: no sound came");
    while (w->begin < total_of(w))
        RLM_TRY(rlm_search_sound_push(s, 256, silence, err));
    return 0;
}

void rlm_search_sound_free(rlm_search_sound *w)
{
    rlm_mel_free(&w->mel);
    rlm_mel_free(&w->stft);
    rlm_descent_free(&w->z);
    rlm_free(w->wave);
    rlm_free(w->ids);
    w->wave = NULL;
    w->ids = NULL;
}
