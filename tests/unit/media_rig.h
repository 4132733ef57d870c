/* What the media tests share: a folder of their own, synthetic clips, measures. */
#ifndef RLM_TESTS_MEDIA_RIG_H
#define RLM_TESTS_MEDIA_RIG_H

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/diag.h"
#include "src/base/file.h"
#include "src/base/mem.h"
#include "tests/folder.h"
#include "tests/test.h"

static inline int have_ffmpeg(void)
{
    return !system("ffmpeg -version >/dev/null 2>&1");
}

/* Run ffmpeg with the folder as its working directory; 0 on success. */
static inline int ffmpeg(const char *args)
{
    char line[2048];
    snprintf(line, sizeof line, "cd %s && ffmpeg -v error -y %s </dev/null >/dev/null 2>&1", folder,
             args);
    return system(line);
}

/* A moving gradient with a bright square, and a 440 Hz tone in every channel. */
static inline rlm_clip make_clip(int count, int w, int h, int fps, double seconds, int rate,
                                 int channels)
{
    rlm_clip c = {0};
    if (count) {
        c.video =
            (rlm_frames){.count = count, .width = w, .height = h, .fps_num = fps, .fps_den = 1};
        c.video.rgb = rlm_alloc((size_t)count * w * h * 3);
    }
    uint8_t *p = c.video.rgb;
    for (int t = 0; t < count; t++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++, p += 3) {
                int square = x * 4 / w == t % 4 && y * 4 / h == 1;
                p[0] = (uint8_t)(square ? 220 : 40 + 120 * x / w);
                p[1] = (uint8_t)(square ? 200 : 60 + 120 * y / h);
                p[2] = (uint8_t)(square ? 190 : 100 + t * 3 % 60);
            }
    int64_t n = (int64_t)(seconds * rate + 0.5);
    if (n) {
        c.audio = (rlm_pcm){.count = n, .channels = channels, .rate = rate};
        c.audio.samples = rlm_alloc((size_t)n * channels * sizeof(float));
        for (int64_t i = 0; i < n; i++)
            for (int k = 0; k < channels; k++)
                c.audio.samples[i * channels + k] =
                    0.4f * sinf(6.2831853f * 440.0f * (float)i / (float)rate);
    }
    return c;
}

static inline double psnr(const rlm_frames *a, const rlm_frames *b)
{
    if (a->width != b->width || a->height != b->height || a->count != b->count || !a->count)
        return 0;
    size_t n = (size_t)a->count * a->width * a->height * 3;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a->rgb[i] - b->rgb[i];
        sum += d * d;
    }
    return sum > 0 ? 10 * log10(255.0 * 255.0 * (double)n / sum) : 99;
}

/* Root mean square of the samples in the middle half. */
static inline double loudness(const rlm_pcm *a)
{
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = a->count / 4; i < a->count * 3 / 4; i++, n++)
        sum += (double)a->samples[i * a->channels] * a->samples[i * a->channels];
    return n ? sqrt(sum / (double)n) : 0;
}

/* Cycles a second in the middle half, by zero crossings. */
static inline double pitch(const rlm_pcm *a)
{
    int64_t from = a->count / 4, to = a->count * 3 / 4, crossings = 0;
    for (int64_t i = from + 1; i < to; i++)
        crossings += (a->samples[(i - 1) * a->channels] < 0) != (a->samples[i * a->channels] < 0);
    return to > from ? (double)crossings * a->rate / (2.0 * (double)(to - from)) : 0;
}

static inline int read_ok(const char *path, const rlm_want *want, rlm_clip *clip)
{
    rlm_error err = {0};
    *clip = (rlm_clip){0};
    int code = rlm_media_read(path, want, clip, &err);
    if (code)
        TEST_FAILED("reading %s: %s", path, err.text);
    return !code;
}

static inline int write_ok(const char *path, const rlm_clip *clip, const rlm_write_options *o)
{
    rlm_error err = {0};
    int code = rlm_media_write(path, clip, o, &err);
    if (code)
        TEST_FAILED("writing %s: %s", path, err.text);
    return !code;
}

/* Reading must fail with this code and a sentence naming the file. */
static inline void must_refuse(const char *path, const rlm_want *want, int expected,
                               const char *part)
{
    rlm_clip clip = {0};
    rlm_error err = {0};
    int code = rlm_media_read(path, want, &clip, &err);
    if (code != expected || !strstr(err.text, part))
        TEST_FAILED("%s: code %d \"%s\", expected %d and \"%s\"", path, code, err.text, expected,
                    part);
    CHECK(err.code == code);
    CHECK(!clip.video.rgb && !clip.audio.samples);
    rlm_clip_free(&clip);
}

#endif
