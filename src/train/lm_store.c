/* Clips -> codes, once: every view of a clip is encoded by the frozen tokenizers and kept in memory
 * and in run_dir/tokens/KEY.safetensors, where KEY hashes the content, the tokenizers and the
 * recipe of the views. A killed run finds there what it had. */
#include "src/train/lm_train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/rng.h"

enum {
    SIDE = 128,  /* pixels of a view */
    FRAMES = 17, /* 2.125 s at 8 frames a second */
    FPS = 8,
    SCHEMA = 2
};
static const double CLIP_SECONDS = 17.0 / 8.0, SOUND_LEAST = 0.5, SILENCE = 1e-3;

/* One view's cut. */
typedef struct cut {
    int first, count; /* frames */
    int x, y, flip;
} cut;

int rlm_lm_store_open(rlm_lm_store *s, const rlm_model *model, const char *run_dir, int count,
                      int views, rlm_error *err)
{
    memset(s, 0, sizeof *s);
    s->model = model;
    s->views = views;
    s->dir = rlm_path_join(run_dir, "tokens");
    s->clips = rlm_calloc((size_t)count + 1, sizeof *s->clips);
    if (!s->dir || !s->clips) {
        rlm_lm_store_free(s);
        return rlm_fail(err, RLM_E_NOMEM, "lm training: no memory for %d clips", count);
    }
    s->count = count;
    return rlm_mkdirs(s->dir, err);
}

static void free_views(rlm_lm_clip *c)
{
    for (int i = 0; i < RLM_LM_VIEWS_MAX; i++) {
        rlm_free(c->views[i].video);
        rlm_free(c->views[i].sound);
        rlm_free(c->views[i].control);
    }
    memset(c->views, 0, sizeof c->views);
    c->view_count = 0;
}

void rlm_lm_store_free(rlm_lm_store *s)
{
    for (int i = 0; i < s->count; i++)
        free_views(&s->clips[i]);
    rlm_free(s->clips);
    rlm_free(s->dir);
    memset(s, 0, sizeof *s);
}

/* ---- Cache ----------------------------------------------------------------------------------- */

/* Captions decide whether a view may be mirrored. */
static int names_a_side(const char *text)
{
    static const char *const sides[] = {"left", "right", "\xe5\xb7\xa6", "\xe5\x8f\xb3"};
    for (; text && *text; text++)
        for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++)
            if (!strncasecmp(text, sides[i], strlen(sides[i])))
                return 1;
    return 0;
}

static int may_flip(const rlm_lm_raw *raw)
{
    return !names_a_side(raw->text[0]) && !names_a_side(raw->text[1]);
}

static int cache_path(const rlm_lm_store *s, const rlm_lm_raw *raw, char out[4096])
{
    char text[512], key[65];
    snprintf(text, sizeof text, "%d %s %s %s views %d side %d frames %d flip %d", SCHEMA, raw->key,
             s->model->video_sha, s->model->audio ? s->model->audio_sha : "-",
             raw->rigid ? 1 : s->views, SIDE, FRAMES, may_flip(raw));
    rlm_sha256_hex(text, strlen(text), key);
    return snprintf(out, 4096, "%s/%.40s.safetensors", s->dir, key) < 4096;
}

/* A tensor of codes below `limit` as a heap array; NULL when absent, damaged or out of memory. */
static int32_t *read_codes(const rlm_safetensors *st, const char *kind, int view, int dims[3],
                           int rank, int32_t limit)
{
    char name[32];
    snprintf(name, sizeof name, "%s.%d", kind, view);
    const rlm_tensor *t = rlm_st_find(st, name);
    if (!t || t->dtype != RLM_I32 || t->rank != rank)
        return NULL;
    int64_t count = rlm_tensor_count(t);
    if (count < 1 || count > 1 << 22)
        return NULL;
    int32_t *codes = rlm_alloc((size_t)count * sizeof *codes);
    if (!codes)
        return NULL;
    memcpy(codes, t->data, (size_t)count * sizeof *codes);
    for (int64_t i = 0; i < count; i++)
        if (codes[i] < 0 || codes[i] >= limit) {
            rlm_free(codes);
            return NULL;
        }
    for (int i = 0; i < rank; i++)
        dims[i] = (int)t->shape[i];
    return codes;
}

static bool load_cached(rlm_lm_clip *c, const char *path)
{
    rlm_safetensors st;
    if (rlm_st_open(&st, path, NULL))
        return false;
    for (int i = 0; i < RLM_LM_VIEWS_MAX; i++) {
        rlm_lm_view *v = &c->views[i];
        int sound[3] = {0}, control[3] = {0};
        v->video = read_codes(&st, "video", i, v->dims, 3, RLM_VIDEO_CODES);
        v->sound = read_codes(&st, "sound", i, sound, 2, RLM_AUDIO_CODES);
        v->control = read_codes(&st, "control", i, control, 3, RLM_VIDEO_CODES);
        if (v->control && memcmp(control, v->dims, sizeof control)) {
            rlm_free(v->control);
            v->control = NULL;
        }
        v->levels = sound[0];
        v->frames = sound[1];
        if (!v->video && !v->sound)
            break;
        c->view_count++;
    }
    rlm_st_close(&st);
    return c->view_count > 0;
}

static int save_cached(const rlm_lm_clip *c, const rlm_lm_store *s, const char *path,
                       rlm_error *err)
{
    rlm_st_writer w;
    rlm_st_writer_init(&w);
    rlm_st_add_meta(&w, "video_sha256", s->model->video_sha);
    if (s->model->audio)
        rlm_st_add_meta(&w, "audio_sha256", s->model->audio_sha);
    for (int i = 0; i < c->view_count; i++) {
        const rlm_lm_view *v = &c->views[i];
        char name[32];
        int64_t video[3] = {v->dims[0], v->dims[1], v->dims[2]}, sound[2] = {v->levels, v->frames};
        if (v->video) {
            rlm_tensor t = rlm_tensor_view(v->video, RLM_I32, 3, video);
            snprintf(name, sizeof name, "video.%d", i);
            rlm_st_add(&w, name, &t, RLM_I32);
        }
        if (v->control) {
            rlm_tensor t = rlm_tensor_view(v->control, RLM_I32, 3, video);
            snprintf(name, sizeof name, "control.%d", i);
            rlm_st_add(&w, name, &t, RLM_I32);
        }
        if (v->sound) {
            rlm_tensor t = rlm_tensor_view(v->sound, RLM_I32, 2, sound);
            snprintf(name, sizeof name, "sound.%d", i);
            rlm_st_add(&w, name, &t, RLM_I32);
        }
    }
    int code = rlm_st_commit(&w, path, err);
    rlm_st_writer_free(&w);
    return code;
}

/* ---- Encoding -------------------------------------------------------------------------------- */

/* View 0 is the middle of the picture from the start; the others vary place, time and side. */
static cut choose_cut(const rlm_frames *f, const char *key, int view, int flip_allowed)
{
    uint64_t seed = 0;
    memcpy(&seed, key, sizeof seed);
    int room_x = f->width - SIDE, room_y = f->height - SIDE, room_t = f->count - FRAMES;
    cut c = {.count = f->count < FRAMES ? f->count : FRAMES};
    c.x = room_x > 0 ? room_x / 2 : 0;
    c.y = room_y > 0 ? room_y / 2 : 0;
    if (view == 0)
        return c;
    uint64_t stream = (uint64_t)view;
    c.x = room_x > 0 ? (int)rlm_rng_below(seed, stream, 0, (uint32_t)room_x + 1) : 0;
    c.y = room_y > 0 ? (int)rlm_rng_below(seed, stream, 1, (uint32_t)room_y + 1) : 0;
    c.first = room_t > 0 ? (int)rlm_rng_below(seed, stream, 2, (uint32_t)room_t + 1) : 0;
    c.flip = flip_allowed && (rlm_rng(seed, stream, 3) & 1);
    return c;
}

/* Cut pixels [count][SIDE][SIDE][3], heap; pictures are at least SIDE wide and high. */
static uint8_t *cut_pixels(const rlm_frames *f, const cut *c)
{
    uint8_t *out = rlm_alloc((size_t)c->count * SIDE * SIDE * 3), *to = out;
    if (!out)
        return NULL;
    for (int t = 0; t < c->count; t++)
        for (int y = 0; y < SIDE; y++) {
            size_t row = (size_t)(c->first + t) * (size_t)f->height + (size_t)(c->y + y);
            const uint8_t *from = f->rgb + (row * (size_t)f->width + (size_t)c->x) * 3;
            for (int x = 0; x < SIDE; x++, to += 3)
                memcpy(to, from + 3 * (c->flip ? SIDE - 1 - x : x), 3);
        }
    return out;
}

static int encode_control(const rlm_lm_store *s, rlm_run *run, const rlm_frames *control,
                          rlm_lm_view *v, rlm_error *err)
{
    rlm_codes codes;
    RLM_TRY(rlm_video_encode(run, s->model->video, control, &codes, err));
    if (codes.dims[0] != v->dims[0] || codes.dims[1] != v->dims[1] || codes.dims[2] != v->dims[2]) {
        rlm_codes_free(&codes);
        return rlm_fail(err, RLM_E_INTERNAL, "lm training: control and picture differ in size");
    }
    v->control = codes.ids;
    return 0;
}

/* control: depth and flow that are known of the whole picture, or none; guess: take those that the
 * view's pictures suggest. */
static int encode_picture(const rlm_lm_store *s, rlm_run *run, const rlm_frames *f, const cut *c,
                          const rlm_clip *control, bool guess, rlm_lm_view *v, rlm_error *err)
{
    rlm_frames part = {
        .count = c->count, .height = SIDE, .width = SIDE, .fps_num = FPS, .fps_den = 1};
    rlm_codes codes;
    rlm_clip guessed = {0};
    part.rgb = cut_pixels(f, c);
    if (!part.rgb)
        return rlm_fail(err, RLM_E_NOMEM, "lm training: no memory for %d frames", c->count);
    int code = rlm_video_encode(run, s->model->video, &part, &codes, err);
    if (!code) {
        memcpy(v->dims, codes.dims, sizeof v->dims);
        v->video = codes.ids;
    }
    if (!code && c->count > 1 && guess)
        code = rlm_lm_control_estimate(&part, &guessed, err);
    if (!code && (guess ? guessed.video.count : control->video.count))
        code = encode_control(s, run, guess ? &guessed.video : &control->video, v, err);
    rlm_clip_free(&guessed);
    rlm_free(part.rgb);
    return code;
}

static int encode_sound(const rlm_lm_store *s, rlm_run *run, const rlm_pcm *pcm, double start,
                        rlm_lm_view *v, rlm_error *err)
{
    rlm_codes codes;
    int64_t first = (int64_t)(start * pcm->rate), most = (int64_t)(CLIP_SECONDS * pcm->rate);
    rlm_pcm part = {.count = pcm->count - first, .channels = 1, .rate = pcm->rate};
    part.count = part.count > most ? most : part.count;
    if (!s->model->audio || part.count < (int64_t)(SOUND_LEAST * pcm->rate))
        return 0;
    part.samples = pcm->samples + first;
    double energy = 0;
    for (int64_t i = 0; i < part.count; i++)
        energy += (double)part.samples[i] * (double)part.samples[i];
    if (energy < SILENCE * SILENCE * (double)part.count)
        return 0;
    RLM_TRY(rlm_audio_encode(run, s->model->audio, &part, &codes, err));
    v->levels = codes.dims[0];
    v->frames = codes.dims[1];
    v->sound = codes.ids;
    return 0;
}

static int encode_views(const rlm_lm_store *s, rlm_run *run, const rlm_lm_raw *raw, rlm_lm_clip *c,
                        rlm_error *err)
{
    const rlm_frames *f = &raw->clip.video;
    int views = raw->rigid ? 1 : s->views;
    if (f->count < 1 || f->width < SIDE || f->height < SIDE)
        return rlm_fail(err, RLM_E_MEDIA, "%d frames of %dx%d, expected 1.. of at least %dx%d",
                        f->count, f->width, f->height, SIDE, SIDE);
    for (int i = 0; i < views; i++) {
        cut at = choose_cut(f, raw->key, i, may_flip(raw));
        rlm_lm_view *v = &c->views[i];
        c->view_count = i + 1;
        bool guess = i == 0 && raw->source == RLM_SOURCE_REAL;
        RLM_TRY(encode_picture(s, run, f, &at, &raw->control, guess, v, err));
        if (f->count > 1 && raw->clip.audio.count > 0)
            RLM_TRY(encode_sound(s, run, &raw->clip.audio, (double)at.first / FPS, v, err));
    }
    return 0;
}

static int encode_text(const rlm_lm_store *s, const rlm_lm_raw *raw, rlm_lm_clip *c, rlm_error *err)
{
    for (int i = 0; i < RLM_LM_TEXTS; i++)
        if (raw->text[i])
            RLM_TRY(rlm_text_encode(s->model->text, raw->text[i], strlen(raw->text[i]), c->text[i],
                                    RLM_LM_TEXT_MAX, &c->text_count[i], NULL, err));
    return 0;
}

static void count_tokens(rlm_lm_store *s, const rlm_lm_clip *c)
{
    for (int i = 0; i < c->view_count; i++) {
        const rlm_lm_view *v = &c->views[i];
        int64_t n = (int64_t)v->dims[0] * v->dims[1] * v->dims[2];
        s->video_tokens += (v->video ? n : 0) + (v->control ? n : 0);
        s->sound_tokens += (int64_t)v->levels * v->frames;
    }
}

int rlm_lm_store_add(rlm_lm_store *s, rlm_run *run, int place, int index, rlm_lm_key_fn key,
                     rlm_lm_fetch_fn fetch, void *ctx, const rlm_log *log, rlm_error *err)
{
    char path[4096];
    rlm_error why = {0};
    rlm_lm_raw raw = {0};
    rlm_lm_clip *c = &s->clips[place];
    if (key(ctx, index, &raw, &why)) {
        rlm_logf(log, 1, "skipped: %s", why.text);
        return 0;
    }
    c->source = raw.source;
    RLM_TRY(encode_text(s, &raw, c, err));
    if (!cache_path(s, &raw, path))
        return rlm_fail(err, RLM_E_IO, "%s: path too long", s->dir);
    if (!load_cached(c, path)) {
        int code = fetch(ctx, index, &raw, &why);
        if (!code)
            code = encode_views(s, run, &raw, c, &why);
        rlm_clip_free(&raw.clip);
        rlm_clip_free(&raw.control);
        if (code == RLM_E_NOMEM)
            return rlm_fail(err, code, "%s", why.text);
        if (code) {
            free_views(c);
            rlm_logf(log, 1, "skipped: %s", why.text);
            return 0;
        }
        RLM_TRY(save_cached(c, s, path, err));
    }
    count_tokens(s, c);
    return 0;
}
