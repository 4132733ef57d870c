/* Reports of the audio loop: scores, WAV pairs, spectrogram pairs. */
#include "src/train/audio_train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WINDOW = 512, HOP = 128, BINS = WINDOW / 2, GAP = 8 };
static const double PI = 3.14159265358979323846;

double rlm_si_sdr(int64_t n, const float *x, const float *y)
{
    double xx = 1e-9, xy = 0, error = 1e-9;
    for (int64_t i = 0; i < n; i++) {
        xx += (double)x[i] * x[i];
        xy += (double)x[i] * y[i];
    }
    double a = xy / xx;
    for (int64_t i = 0; i < n; i++) {
        double d = y[i] - a * x[i];
        error += d * d;
    }
    return 10.0 * log10((a * a * xx + 1e-9) / error);
}

/* ---- Spectrograms ---- */

/* Hann-windowed cosines and sines [WINDOW][2 * BINS]. */
static void fill_basis(float *basis)
{
    for (int i = 0; i < WINDOW; i++) {
        double w = (0.5 - 0.5 * cos(2 * PI * i / WINDOW)) * 4.0 / WINDOW;
        for (int b = 0; b < BINS; b++) {
            double angle = 2 * PI * (double)((i * b) % WINDOW) / WINDOW;
            basis[i * 2 * BINS + 2 * b] = (float)(w * cos(angle));
            basis[i * 2 * BINS + 2 * b + 1] = (float)(w * sin(angle));
        }
    }
}

/* Black over red to yellow and white: u in [0, 1]. */
static void heat(float u, uint8_t rgb[3])
{
    for (int i = 0; i < 3; i++) {
        float v = 3.0f * u - (float)i;
        rgb[i] = (uint8_t)(255.0f * (v < 0 ? 0 : v > 1 ? 1 : v));
    }
}

/* Columns of a picture [BINS rows, low frequencies below][frames] at row `top`: -90 to -10 dB. */
static void paint(const float *spectra, int frames, uint8_t *rgb, int top)
{
    for (int f = 0; f < frames; f++)
        for (int b = 0; b < BINS; b++) {
            const float *z = spectra + ((int64_t)f * BINS + b) * 2;
            float db = 10.0f * log10f(z[0] * z[0] + z[1] * z[1] + 1e-12f);
            float u = (db + 90.0f) / 80.0f;
            int row = top + BINS - 1 - b;
            heat(u < 0 ? 0 : u > 1 ? 1 : u, rgb + ((int64_t)row * frames + f) * 3);
        }
}

static int write_spectrograms(rlm_run *run, const char *path, int count,
                              const float *const waves[2], rlm_error *err)
{
    int frames = (count - WINDOW) / HOP + 1, height = 2 * BINS + GAP;
    if (frames < 1)
        return 0;
    float *basis = rlm_alloc((size_t)WINDOW * 2 * BINS * sizeof(float));
    float *rows = rlm_alloc((size_t)frames * WINDOW * sizeof(float));
    float *spectra = rlm_alloc((size_t)frames * 2 * BINS * sizeof(float));
    uint8_t *rgb = rlm_calloc((size_t)frames * (size_t)height, 3);
    int code = 0;
    if (!basis || !rows || !spectra || !rgb) {
        code = rlm_fail(err, RLM_E_NOMEM, "%s: no memory", path);
        goto fail;
    }
    memset(rgb, 128, (size_t)frames * (size_t)height * 3);
    fill_basis(basis);
    for (int side = 0; side < 2; side++) {
        for (int f = 0; f < frames; f++)
            memcpy(rows + (int64_t)f * WINDOW, waves[side] + (int64_t)f * HOP,
                   WINDOW * sizeof(float));
        run->k->gemm(run->par, false, false, frames, 2 * BINS, WINDOW, 1.0f, rows, basis, 0.0f,
                     spectra);
        paint(spectra, frames, rgb, side * (BINS + GAP));
    }
    rlm_clip clip = {
        .video = {
            .count = 1, .height = height, .width = frames, .fps_num = 1, .fps_den = 1, .rgb = rgb}};
    code = rlm_media_write(path, &clip, NULL, err);
fail:
    rlm_free(basis);
    rlm_free(rows);
    rlm_free(spectra);
    rlm_free(rgb);
    return code;
}

/* ---- Samples ---- */

static int write_wav(const char *path, int rate, int count, const float *wave, rlm_error *err)
{
    rlm_clip clip = {
        .audio = {.count = count, .channels = 1, .rate = rate, .samples = (float *)wave}};
    return rlm_media_write(path, &clip, NULL, err);
}

int rlm_audio_sample_write(rlm_run *run, const char *run_dir, int64_t step, int number, int rate,
                           int count, const float *original, const float *coded, rlm_error *err)
{
    char path[1024], stem[900];
    snprintf(path, sizeof path, "%s/samples", run_dir);
    RLM_TRY(rlm_mkdirs(path, err));
    int wrote =
        snprintf(stem, sizeof stem, "%s/samples/audio_%07lld_%d", run_dir, (long long)step, number);
    if (wrote >= (int)sizeof stem)
        return rlm_fail(err, RLM_E_ARG, "%s: the path is too long", run_dir);
    snprintf(path, sizeof path, "%s_original.wav", stem);
    RLM_TRY(write_wav(path, rate, count, original, err));
    snprintf(path, sizeof path, "%s_coded.wav", stem);
    RLM_TRY(write_wav(path, rate, count, coded, err));
    snprintf(path, sizeof path, "%s.png", stem);
    const float *const waves[2] = {original, coded};
    return write_spectrograms(run, path, count, waves, err);
}
