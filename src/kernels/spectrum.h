/* What the definitions and the overlays of the spectra share: a transform by halves over rows of 16
 * lanes, the gathering of frames, the logarithms. RLM_SPECTRUM_REAL is the type of the arithmetic:
 * double in the reference, float in overlays, whose flags let the compiler fill wide registers.
 * Private to the files that define it. */
#ifndef RLM_KERNELS_SPECTRUM_H
#define RLM_KERNELS_SPECTRUM_H

#include <math.h>
#include <string.h>

#include "src/kernels/kernels.h"

#ifndef RLM_SPECTRUM_REAL
#define RLM_SPECTRUM_REAL float
#endif

enum { SPECTRUM_WINDOW_MAX = 1024 };

/* e^(-2 pi i k / n), k < n / 2, as pairs. */
static inline void spectrum_twiddles(int n, bool inverse, RLM_SPECTRUM_REAL *out)
{
    for (int k = 0; k < n / 2; k++) {
        double angle = (inverse ? 2 : -2) * 3.14159265358979323846 * k / n;
        out[2 * k] = (RLM_SPECTRUM_REAL)cos(angle);
        out[2 * k + 1] = (RLM_SPECTRUM_REAL)sin(angle);
    }
}

static inline void spectrum_swap(float *a, float *b)
{
    float keep[RLM_FFT_LANES];
    memcpy(keep, a, sizeof keep);
    memcpy(a, b, sizeof keep);
    memcpy(b, keep, sizeof keep);
}

/* Rows in the order of their bit-reversed numbers. */
static inline void spectrum_reverse(int n, float *x)
{
    for (int i = 1, j = 0; i < n; i++) {
        int bit = n >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j |= bit;
        if (i < j) {
            spectrum_swap(x + (int64_t)i * RLM_FFT_LANES, x + (int64_t)j * RLM_FFT_LANES);
            spectrum_swap(x + (int64_t)(n + i) * RLM_FFT_LANES,
                          x + (int64_t)(n + j) * RLM_FFT_LANES);
        }
    }
}

/* (a, b) -> (a + w b, a - w b) on every lane. */
static inline void spectrum_butterfly(float *restrict ar, float *restrict ai, float *restrict br,
                                      float *restrict bi, RLM_SPECTRUM_REAL wr,
                                      RLM_SPECTRUM_REAL wi)
{
    for (int l = 0; l < RLM_FFT_LANES; l++) {
        RLM_SPECTRUM_REAL re = wr * br[l] - wi * bi[l], im = wr * bi[l] + wi * br[l];
        RLM_SPECTRUM_REAL r = ar[l], i = ai[l];
        ar[l] = (float)(r + re);
        ai[l] = (float)(i + im);
        br[l] = (float)(r - re);
        bi[l] = (float)(i - im);
    }
}

/* One block [re, im][n][16]. */
static inline void spectrum_transform(int n, const RLM_SPECTRUM_REAL *twiddles, float *x)
{
    spectrum_reverse(n, x);
    float *im = x + (int64_t)n * RLM_FFT_LANES;
    for (int half = 1; half < n; half *= 2)
        for (int base = 0; base < n; base += 2 * half)
            for (int j = 0; j < half; j++) {
                const RLM_SPECTRUM_REAL *w = twiddles + 2 * (j * (n / 2 / half));
                int64_t a = (int64_t)(base + j) * RLM_FFT_LANES;
                int64_t b = a + (int64_t)half * RLM_FFT_LANES;
                spectrum_butterfly(x + a, im + a, x + b, im + b, w[0], w[1]);
            }
}

typedef struct fft_job {
    int n;
    const RLM_SPECTRUM_REAL *twiddles;
    float *x;
} fft_job;

static inline void fft_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const fft_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        spectrum_transform(j->n, j->twiddles, j->x + i * 2 * j->n * RLM_FFT_LANES);
}

static inline void fft(rlm_par *par, int64_t blocks, int n, bool inverse, float *x)
{
    RLM_SPECTRUM_REAL twiddles[RLM_FFT_MAX];
    spectrum_twiddles(n, inverse, twiddles);
    fft_job j = {n, twiddles, x};
    rlm_par_for(par, blocks, 1, fft_fn, &j);
}

typedef struct spectrum_job {
    rlm_spectrum_shape s;
    const RLM_SPECTRUM_REAL *twiddles;
    const float *hann; /* over its root energy */
    const float *wave;
    float *y;
} spectrum_job;

/* Frame number `frame` of all waves, windowed, into one lane of a block. */
static inline void spectrum_gather(const spectrum_job *j, int64_t frame, float *lane)
{
    const rlm_spectrum_shape *s = &j->s;
    int64_t frames = s->w / s->hop, at = (frame % frames + 1) * s->hop - s->window;
    const float *wave = j->wave + frame / frames * s->w;
    for (int i = 0; i < s->window; i++)
        lane[i * RLM_FFT_LANES] = at + i < 0 ? 0.0f : j->hann[i] * wave[at + i];
}

/* A frame to a lane, its imaginary part zero: two would fit, but then the rounding of one would
 * depend on the other, and causality would hold only nearly. */
static inline void spectrum_logs(const spectrum_job *j, int64_t first, int count, const float *x)
{
    int n = j->s.window, bins = n / 2;
    const float *im = x + (int64_t)n * RLM_FFT_LANES;
    for (int r = 0; r < count; r++) {
        float *y = j->y + (first + r) * (j->s.hop + bins) + j->s.hop;
        for (int b = 1; b <= bins; b++) {
            int64_t p = (int64_t)b * RLM_FFT_LANES + r;
            y[b - 1] = 0.25f * logf(x[p] * x[p] + im[p] * im[p] + 1e-6f) + 1.75f;
        }
    }
}

/* The newest hop of a frame, level taken out. */
static inline void spectrum_shape(const spectrum_job *j, int64_t frame)
{
    const rlm_spectrum_shape *s = &j->s;
    int64_t frames = s->w / s->hop, end = (frame % frames + 1) * s->hop;
    const float *wave = j->wave + frame / frames * s->w;
    float *y = j->y + frame * (s->hop + s->window / 2);
    double energy = 0;
    for (int64_t i = end > s->window ? end - s->window : 0; i < end; i++)
        energy += (double)wave[i] * wave[i];
    float gain = (float)(1.0 / sqrt(energy / s->window + 1e-5));
    for (int i = 0; i < s->hop; i++)
        y[i] = gain * wave[end - s->hop + i];
}

static inline void ear_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const spectrum_job *j = ctx;
    (void)worker;
    int64_t frames = (int64_t)j->s.n * (j->s.w / j->s.hop);
    float block[2 * SPECTRUM_WINDOW_MAX * RLM_FFT_LANES];
    for (int64_t i = begin; i < end; i++) {
        int64_t first = i * RLM_FFT_LANES;
        int count = frames - first < RLM_FFT_LANES ? (int)(frames - first) : RLM_FFT_LANES;
        memset(block, 0, (size_t)(2 * j->s.window * RLM_FFT_LANES) * sizeof(float));
        for (int r = 0; r < count; r++)
            spectrum_gather(j, first + r, block + r);
        spectrum_transform(j->s.window, j->twiddles, block);
        spectrum_logs(j, first, count, block);
        for (int r = 0; r < count; r++)
            spectrum_shape(j, first + r);
    }
}

static inline void ear(rlm_par *par, const rlm_spectrum_shape *s, const float *wave, float *y)
{
    RLM_SPECTRUM_REAL twiddles[SPECTRUM_WINDOW_MAX];
    float hann[SPECTRUM_WINDOW_MAX];
    double energy = 0.375 * s->window; /* of a Hann window */
    for (int i = 0; i < s->window; i++)
        hann[i] =
            (float)((0.5 - 0.5 * cos(2 * 3.14159265358979323846 * i / s->window)) / sqrt(energy));
    spectrum_twiddles(s->window, false, twiddles);
    spectrum_job j = {*s, twiddles, hann, wave, y};
    int64_t frames = (int64_t)s->n * (s->w / s->hop);
    rlm_par_for(par, (frames + RLM_FFT_LANES - 1) / RLM_FFT_LANES, 1, ear_fn, &j);
}

#endif
