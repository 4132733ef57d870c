/* Every sound of the dataset, decoded once and kept as 16-bit samples: an hour at 16 kHz is 115 MB,
 * and a crop costs a copy. Behind them, sounds of the playground. */
#include "src/train/audio_train.h"

#include "src/base/rng.h"
#include "src/world/world.h"

#include <math.h>
#include <string.h>

static const double MAX_SECONDS = 600;      /* of one file */
static const double MADE_SECONDS = 3;       /* of a playground sound */
enum { MADE = 512, MADE_VAL = 8 };          /* how many, and how many of them only validate */
static const int64_t MAX_SAMPLES = 1 << 30; /* of all: 2 GiB */

static int16_t to_int16(float v)
{
    float s = v * 32768.0f;
    return (int16_t)lrintf(s < -32768.0f ? -32768.0f : s > 32767.0f ? 32767.0f : s);
}

/* Whether a film that could not be read for its sound has just none. */
static bool is_silent(const rlm_item *item)
{
    rlm_want want;
    rlm_clip clip = {0};
    if (item->kind != RLM_MEDIA_VIDEO)
        return false;
    rlm_want_defaults(&want);
    want.want_audio = 0;
    want.max_frames = 1;
    bool yes = !rlm_media_read(item->path, &want, &clip, NULL);
    rlm_clip_free(&clip);
    return yes;
}

/* A file that cannot be read is left out with a word; *silent counts films without sound. */
static int load_item(rlm_sounds *s, int i, int *silent, const rlm_log *log, rlm_error *err)
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
        if (is_silent(&s->set.items[i]))
            ++*silent;
        else
            rlm_logf(log, 1, "%s; skipped", why.text);
        s->set.skipped++;
        return 0;
    }
    int64_t n = clip.audio.count;
    int code = 0;
    if (n <= s->rate / 10)
        rlm_logf(log, 1, "%s: shorter than 0.1 s; skipped", s->set.items[i].path);
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

/* Sounds of MADE scenes into the places behind the dataset's. */
static int make_sounds(rlm_sounds *s, uint64_t seed, rlm_error *err)
{
    int64_t n = (int64_t)(MADE_SECONDS * SOUND_RATE);
    rlm_motion *motion = rlm_alloc(sizeof *motion);
    float *wave = rlm_alloc((size_t)n * sizeof *wave);
    rlm_scene scene;
    int code = motion && wave ? 0 : RLM_E_NOMEM;
    for (int i = s->set.count; i < s->set.count + s->made && !code; i++) {
        rlm_scene_make(&scene, rlm_rng(seed, 950, (uint64_t)i), -1);
        rlm_motion_make(motion, &scene, MADE_SECONDS);
        memset(wave, 0, (size_t)n * sizeof *wave);
        rlm_world_sound(&scene, motion, SOUND_ALL, n, wave);
        s->samples[i] = rlm_alloc((size_t)n * sizeof **s->samples);
        if (!s->samples[i])
            code = RLM_E_NOMEM;
        for (int64_t k = 0; k < n && !code; k++)
            s->samples[i][k] = to_int16(wave[k]);
        s->count[i] = code ? 0 : n;
        s->total += s->count[i];
    }
    rlm_free(motion);
    rlm_free(wave);
    return code ? rlm_fail(err, code, "audio training: no memory for playground sounds") : 0;
}

static int open_set(rlm_sounds *s, const rlm_train_options *o, const rlm_log *log, rlm_error *err)
{
    if (!o->data_count && s->made)
        return 0;
    RLM_TRY(rlm_dataset_open(&s->set, o->data, o->data_count, log, err));
    return rlm_dataset_keep(&s->set, RLM_MEDIA_AUDIO | RLM_MEDIA_VIDEO, true, err);
}

static int load_all(rlm_sounds *s, const rlm_train_options *o, uint64_t seed, const rlm_log *log,
                    rlm_error *err)
{
    RLM_TRY(open_set(s, o, log, err));
    size_t room = (size_t)s->set.count + (size_t)s->made + 1;
    s->samples = rlm_calloc(room, sizeof *s->samples);
    s->count = rlm_calloc(room, sizeof *s->count);
    s->val = rlm_calloc(room, sizeof *s->val);
    if (!s->samples || !s->count || !s->val)
        return rlm_fail(err, RLM_E_NOMEM, "audio training: no memory for %d files", s->set.count);
    int silent = 0;
    for (int i = 0; i < s->set.count; i++) {
        RLM_TRY(load_item(s, i, &silent, log, err));
        if (s->count[i] && s->set.items[i].split)
            s->val[s->val_count++] = i;
        else
            s->trained += s->count[i];
    }
    if (silent)
        rlm_logf(log, 1, "sound: %d clips have none; skipped", silent);
    if (!s->trained && s->set.count)
        return rlm_fail(err, RLM_E_ARG, "audio training: no sound in %d files", s->set.count);
    RLM_TRY(make_sounds(s, seed, err));
    for (int i = 0; i < MADE_VAL && s->made; i++)
        s->val[s->val_count++] = s->set.count + i;
    return 0;
}

/* Files that have sound. */
static int heard(const rlm_sounds *s)
{
    int n = 0;
    for (int i = 0; i < s->set.count; i++)
        n += s->count[i] > 0;
    return n;
}

int rlm_sounds_open(rlm_sounds *s, const rlm_train_options *o, const rlm_recipe *r, int rate,
                    const rlm_log *log, rlm_error *err)
{
    memset(s, 0, sizeof *s);
    s->rate = rate;
    s->playground = o->data_count ? r->playground : 1.0;
    s->made = s->playground > 0 ? MADE : 0;
    if (s->made && rate != SOUND_RATE)
        return rlm_fail(err, RLM_E_UNSUPPORTED,
                        "audio training: the playground sounds at %d Hz, the codec's rate is %d Hz",
                        SOUND_RATE, rate);
    int code = load_all(s, o, r->seed, log, err);
    if (code)
        rlm_sounds_free(s);
    else
        rlm_logf(log, 2,
                 "sound: %.1f minutes in %d files and %d playground clips, %d for validation",
                 (double)s->total / rate / 60, heard(s), s->made, s->val_count);
    return code;
}

void rlm_sounds_free(rlm_sounds *s)
{
    for (int i = 0; s->samples && i < s->set.count + s->made; i++)
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
    if (rlm_rng_uniform(seed, 951, (uint64_t)index) < s->playground)
        return s->set.count + MADE_VAL +
               (int)rlm_rng_below(seed, 952, (uint64_t)index, (uint32_t)(s->made - MADE_VAL));
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
