/* Reports of the audio loop: scores, WAV pairs, spectrogram pairs. */
#include "src/train/audio_train.h"

#include <math.h>
#include <stdio.h>

#include "src/train/eval.h"

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

/* ---- Samples ---- */

static int write_wav(const char *path, int rate, int count, const float *wave, rlm_error *err)
{
    rlm_clip clip = {
        .audio = {.count = count, .channels = 1, .rate = rate, .samples = (float *)wave}};
    return rlm_media_write(path, &clip, NULL, err);
}

int rlm_audio_sample_write(rlm_ears *ears, const char *run_dir, int64_t step, int number, int rate,
                           int count, const float *original, const float *coded, rlm_error *err)
{
    char path[1024], stem[900];
    rlm_eval_sheet sheet = {0};
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
    int code = rlm_ears_show(ears, &sheet, count, original, coded, err);
    if (!code)
        code = rlm_eval_sheet_write(&sheet, path, err);
    rlm_eval_sheet_free(&sheet);
    return code;
}
