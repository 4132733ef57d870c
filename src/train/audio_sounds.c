/* Every sound of the dataset, decoded once and kept as 16-bit samples: an hour at 16 kHz is 115 MB,
 * and a crop costs a copy. */
#include "src/train/audio_train.h"

#include "src/base/rng.h"

#include <math.h>
#include <string.h>

static const double MAX_SECONDS = 600;      /* of one file */
static const int64_t MAX_SAMPLES = 1 << 30; /* of all: 2 GiB */

static int16_t to_int16(float v)
{
    float s = v * 32768.0f;
    return (int16_t)lrintf(s < -32768.0f ? -32768.0f : s > 32767.0f ? 32767.0f : s);
}

/* A file that cannot be read or has no sound is left out with a word. */
static int load_item(rlm_sounds *s, int i, const rlm_log *log, rlm_error *err)
{
    rlm_clip clip = {0};
    rlm_error why;
    rlm_want want;
    rlm_want_defaults(&want);
    want.want_video = 0;
    want.rate = s->rate;
    want.channels = 1;
    want.max_seconds = MAX_SECONDS;
    if (rlm_media_read(s->set.items[i].path, &want, &clip, &why)) {
        rlm_logf(log, 1, "%s", why.text);
        s->set.skipped++;
        return 0;
    }
    int64_t n = clip.audio.count;
    int code = 0;
    if (n > s->rate / 10) {
        int16_t *out = rlm_alloc(rlm_size_mul((size_t)n, sizeof *out));
        if (!out || s->total + n > MAX_SAMPLES)
            code = rlm_fail(err, RLM_E_NOMEM, "%s: no room for its %lld samples",
                            s->set.items[i].path, (long long)n);
        for (int64_t k = 0; k < n && !code; k++)
            out[k] = to_int16(clip.audio.samples[k]);
        if (code)
            rlm_free(out);
        else
            s->samples[i] = out;
        s->count[i] = code ? 0 : n;
        s->total += s->count[i];
    }
    rlm_clip_free(&clip);
    return code;
}

int rlm_sounds_open(rlm_sounds *s, const rlm_train_options *o, int rate, const rlm_log *log,
                    rlm_error *err)
{
    memset(s, 0, sizeof *s);
    s->rate = rate;
    int code = rlm_dataset_open(&s->set, o->data, o->data_count, log, err);
    if (code)
        return code;
    code = rlm_dataset_keep(&s->set, RLM_MEDIA_AUDIO | RLM_MEDIA_VIDEO, true, err);
    s->samples = rlm_calloc((size_t)s->set.count + 1, sizeof *s->samples);
    s->count = rlm_calloc((size_t)s->set.count + 1, sizeof *s->count);
    s->val = rlm_calloc((size_t)s->set.count + 1, sizeof *s->val);
    if (!code && (!s->samples || !s->count || !s->val))
        code = rlm_fail(err, RLM_E_NOMEM, "audio training: no memory for %d files", s->set.count);
    for (int i = 0; i < s->set.count && !code; i++)
        code = load_item(s, i, log, err);
    int64_t trained = 0;
    for (int i = 0; i < s->set.count && !code; i++) {
        if (s->count[i] && s->set.items[i].split)
            s->val[s->val_count++] = i;
        else
            trained += s->count[i];
    }
    if (!code && !trained)
        code = rlm_fail(err, RLM_E_ARG, "audio training: no sound in %d files", s->set.count);
    if (code)
        rlm_sounds_free(s);
    else
        rlm_logf(log, 2, "sound: %.1f minutes in %d files, %d of them for validation",
                 (double)s->total / rate / 60, s->set.count, s->val_count);
    return code;
}

void rlm_sounds_free(rlm_sounds *s)
{
    for (int i = 0; s->samples && i < s->set.count; i++)
        rlm_free(s->samples[i]);
    rlm_free(s->samples);
    rlm_free(s->count);
    rlm_free(s->val);
    rlm_dataset_free(&s->set);
    memset(s, 0, sizeof *s);
}

/* Samples [at, at + length) of item i, zeros beyond its end. Returns the peak. */
static float copy_crop(const rlm_sounds *s, int i, int64_t at, int length, float *out)
{
    float peak = 0;
    for (int k = 0; k < length; k++) {
        out[k] = at + k < s->count[i] ? (float)s->samples[i][at + k] * (1.0f / 32768.0f) : 0.0f;
        peak = fmaxf(peak, fabsf(out[k]));
    }
    return peak;
}

/* Draws that meet a silent file move on; after a while whatever has sound serves. */
static int draw_item(const rlm_sounds *s, uint64_t seed, int64_t index)
{
    for (int64_t turn = 0; turn < 64; turn++) {
        int i = rlm_dataset_draw(&s->set, seed + (uint64_t)turn, index);
        if (s->count[i])
            return i;
    }
    for (int i = 0; i < s->set.count; i++)
        if (s->count[i] && !s->set.items[i].split)
            return i;
    return 0;
}

void rlm_sounds_crop(const rlm_sounds *s, uint64_t seed, int64_t index, int length, float *out)
{
    int i = draw_item(s, seed, index);
    int64_t spare = s->count[i] - length, at = 0;
    if (spare > 0)
        at = rlm_rng_below(seed, 901, (uint64_t)index, (uint32_t)spare + 1);
    float peak = copy_crop(s, i, at, length, out);
    float gain = 1.0f;
    /* seven of ten: peak at 0 to -20 dB, so that quiet recordings teach as much as loud ones */
    if (rlm_rng_uniform(seed, 902, (uint64_t)index) < 0.7f) {
        float level = powf(10.0f, -rlm_rng_uniform(seed, 903, (uint64_t)index));
        gain = fminf(0.95f * level / (peak + 1e-4f), 30.0f);
    }
    if (rlm_rng(seed, 904, (uint64_t)index) & 1)
        gain = -gain;
    for (int k = 0; k < length; k++)
        out[k] *= gain;
}

void rlm_sounds_val(const rlm_sounds *s, int i, int length, float *out)
{
    int item = s->val[i % s->val_count];
    int64_t spare = s->count[item] - length;
    copy_crop(s, item, spare > 0 ? spare / 2 : 0, length, out);
}
