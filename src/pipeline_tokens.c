/* Clips <-> token grids, and token grids <-> .rtok files (docs/FORMATS.md). */
#include "src/pipeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/media/media.h"

enum { TOKENS_FRAMES_MAX = 1 << 20, TOKENS_SIDE_MAX = 16384 };

/* ---- Clips <-> grids ---------------------------------------------------------------------------
 */

/* The codec works chunk by chunk: its scratch is what a dry run over two chunks asks for. */
static int plan_audio(rlm_session *s, int64_t samples, rlm_error *err)
{
    const rlm_audio *a = s->engine->model.audio;
    const rlm_audio_config *c = rlm_audio_get_config(a);
    rlm_kernels empty;
    rlm_codes codes = {0};
    rlm_pcm none = {.count = samples, .channels = 1, .rate = c->rate}, back = {0};
    rlm_kernels_empty(&empty, &s->engine->kernels);
    rlm_run dry = {.k = &empty, .arena = &s->arena, .par = s->par};
    none.samples = rlm_calloc((size_t)samples, sizeof(float));
    if (!none.samples)
        return rlm_fail(err, RLM_E_NOMEM, "audio codec: no memory for %lld samples",
                        (long long)samples);
    int code = rlm_audio_encode(&dry, a, &none, &codes, err);
    if (!code) {
        memset(codes.ids, 0, (size_t)codes.count * sizeof *codes.ids);
        code = rlm_audio_decode(&dry, a, &codes, &back, err);
    }
    rlm_free(back.samples);
    rlm_codes_free(&codes);
    rlm_free(none.samples);
    if (!code)
        code = rlm_session_allow(s, s->arena.peak, err);
    return code ? code : rlm_arena_commit(&s->arena, s->arena.peak, err);
}

static int encode_audio(rlm_session *s, const rlm_pcm *pcm, rlm_codes *audio, rlm_error *err)
{
    const rlm_model *m = &s->engine->model;
    rlm_clip in = {.audio = *pcm}, mono = {0};
    rlm_want want;
    rlm_want_defaults(&want);
    want.rate = rlm_audio_get_config(m->audio)->rate;
    want.channels = 1;
    const rlm_pcm *use = pcm;
    if (pcm->rate != want.rate || pcm->channels != 1) {
        RLM_TRY(rlm_clip_convert(&in, &want, &mono, err));
        use = &mono.audio;
    }
    int code = use->count ? plan_audio(s, use->count, err) : 0;
    if (!code && use->count)
        code = rlm_audio_encode(&s->run, m->audio, use, audio, err);
    if (!code && use->count)
        memcpy(audio->tokenizer, m->audio_sha, sizeof audio->tokenizer);
    rlm_clip_free(&mono);
    return code;
}

int rlm_encode(rlm_session *s, const rlm_clip *clip, rlm_codes *video, rlm_codes *audio,
               rlm_error *err)
{
    const rlm_model *m = &s->engine->model;
    rlm_codes v = {0}, a = {0};
    if (video && clip->video.count > 0) {
        RLM_TRY(rlm_session_need(s, RLM_PART_VIDEO, err));
        RLM_TRY(rlm_video_encode(&s->run, m->video, &clip->video, &v, err));
        memcpy(v.tokenizer, m->video_sha, sizeof v.tokenizer);
    }
    if (audio && clip->audio.count > 0) {
        int code = rlm_session_need(s, RLM_PART_AUDIO, err);
        if (!code)
            code = encode_audio(s, &clip->audio, &a, err);
        if (code) {
            rlm_codes_free(&v);
            return code;
        }
    }
    if (video)
        *video = v;
    if (audio)
        *audio = a;
    return 0;
}

static int check_tokenizer(const char *what, const rlm_codes *codes, const char *sha,
                           rlm_error *err)
{
    if (codes->tokenizer[0] && strcmp(codes->tokenizer, sha))
        return rlm_fail(err, RLM_E_TOKENS,
                        "the %s codes were made by tokenizer %.12s..., this model has %.12s...",
                        what, codes->tokenizer, sha);
    return 0;
}

int rlm_decode(rlm_session *s, const rlm_codes *video, const rlm_codes *audio, rlm_clip *out,
               rlm_error *err)
{
    const rlm_model *m = &s->engine->model;
    rlm_clip made = {0};
    int code = 0;
    if (video && video->count) {
        RLM_TRY(rlm_session_need(s, RLM_PART_VIDEO, err));
        RLM_TRY(check_tokenizer("video", video, m->video_sha, err));
        RLM_TRY(rlm_video_decode(&s->run, m->video, video, &made.video, NULL, NULL, err));
        if (made.video.fps_num < 1 || made.video.fps_den < 1)
            made.video.fps_num = 8, made.video.fps_den = 1;
    }
    if (audio && audio->count) {
        code = rlm_session_need(s, RLM_PART_AUDIO, err);
        if (!code)
            code = check_tokenizer("audio", audio, m->audio_sha, err);
        if (!code)
            code = plan_audio(s, (int64_t)audio->dims[1] * rlm_audio_hop(&m->audio_config), err);
        if (!code)
            code = rlm_audio_decode(&s->run, m->audio, audio, &made.audio, err);
    }
    if (!code && !made.video.count && !made.audio.count)
        code = rlm_fail(err, RLM_E_TOKENS, "there are no codes to decode");
    if (code)
        rlm_clip_free(&made);
    else
        *out = made;
    return code;
}

/* ---- Files ------------------------------------------------------------------------------------
 */

static const char *sha_of(const rlm_codes *c, const rlm_engine *engine, int video)
{
    if (c->tokenizer[0] || !engine)
        return c->tokenizer;
    return video ? engine->model.video_sha : engine->model.audio_sha;
}

static void put_number(rlm_st_writer *w, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    rlm_st_add_meta(w, key, text);
}

int rlm_tokens_save(const rlm_engine *engine, const char *path, const rlm_codes *video,
                    const rlm_codes *audio, const char *settings, rlm_error *err)
{
    rlm_st_writer w;
    int has_video = video && video->count, has_audio = audio && audio->count;
    if (!has_video && !has_audio)
        return rlm_fail(err, RLM_E_ARG, "%s: there are no codes to write", path);
    if ((has_video && !*sha_of(video, engine, 1)) || (has_audio && !*sha_of(audio, engine, 0)))
        return rlm_fail(err, RLM_E_ARG, "%s: the codes do not say which tokenizer made them", path);
    rlm_st_writer_init(&w);
    rlm_st_add_meta(&w, "schema", "reelm.tokens");
    rlm_st_add_meta(&w, "version", "1");
    if (settings && *settings)
        rlm_st_add_meta(&w, "settings", settings);
    if (has_video) {
        char fps[32];
        int64_t shape[3] = {video->dims[0], video->dims[1], video->dims[2]};
        rlm_tensor t = rlm_tensor_view(video->ids, RLM_I32, 3, shape);
        rlm_st_add(&w, "video", &t, RLM_I32);
        rlm_st_add_meta(&w, "video_tokenizer", sha_of(video, engine, 1));
        put_number(&w, "frames", video->true_frames);
        put_number(&w, "height", video->true_height);
        put_number(&w, "width", video->true_width);
        snprintf(fps, sizeof fps, "%d/%d", video->fps_num, video->fps_den);
        rlm_st_add_meta(&w, "fps", fps);
    }
    if (has_audio) {
        int64_t shape[2] = {audio->dims[0], audio->dims[1]};
        rlm_tensor t = rlm_tensor_view(audio->ids, RLM_I32, 2, shape);
        rlm_st_add(&w, "audio", &t, RLM_I32);
        rlm_st_add_meta(&w, "audio_tokenizer", sha_of(audio, engine, 0));
        put_number(&w, "samples", audio->true_samples);
        put_number(&w, "rate", audio->rate);
    }
    int code = rlm_st_commit(&w, path, err);
    rlm_st_writer_free(&w);
    return code;
}

int rlm_tokens_write(const rlm_engine *engine, const char *path, const rlm_codes *video,
                     const rlm_codes *audio, rlm_error *err)
{
    return rlm_tokens_save(engine, path, video, audio, NULL, err);
}

/* A whole number of the metadata in [low, high]. */
static int meta_number(const rlm_safetensors *st, const char *key, int64_t low, int64_t high,
                       int64_t *out, rlm_error *err)
{
    const char *text = rlm_st_meta(st, key);
    char *end = NULL;
    *out = text ? strtoll(text, &end, 10) : 0;
    if (!text || end == text || *end || *out < low || *out > high)
        return rlm_fail(err, RLM_E_FORMAT, "%s: \"%s\" is %s, expected %lld to %lld", st->path, key,
                        text ? text : "missing", (long long)low, (long long)high);
    return 0;
}

/* Copy ids of a tensor out of the map (it may be unaligned), each in [0, limit). */
static int read_ids(const rlm_safetensors *st, const rlm_tensor *t, const char *name, int rank,
                    int32_t limit, rlm_codes *c, rlm_error *err)
{
    if (t->dtype != RLM_I32 || t->rank != rank)
        return rlm_fail(err, RLM_E_FORMAT, "%s: \"%s\" is not int32 of rank %d", st->path, name,
                        rank);
    c->dims[2] = 1;
    for (int i = 0; i < rank; i++) {
        if (t->shape[i] < 1 || t->shape[i] > TOKENS_FRAMES_MAX)
            return rlm_fail(err, RLM_E_FORMAT, "%s: \"%s\" has an axis of %lld", st->path, name,
                            (long long)t->shape[i]);
        c->dims[i] = (int)t->shape[i];
    }
    c->count = rlm_tensor_count(t);
    c->ids = rlm_alloc(rlm_size_mul((size_t)c->count, sizeof *c->ids));
    if (!c->ids)
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory for %lld codes", st->path,
                        (long long)c->count);
    memcpy(c->ids, t->data, (size_t)c->count * sizeof *c->ids);
    for (int64_t i = 0; i < c->count; i++)
        if (c->ids[i] < 0 || c->ids[i] >= limit)
            return rlm_fail(err, RLM_E_TOKENS, "%s: %s code %lld is %d, allowed are 0 to %d",
                            st->path, name, (long long)i, c->ids[i], limit - 1);
    return 0;
}

static int read_sha(const rlm_safetensors *st, const char *key, const char *own, rlm_codes *c,
                    rlm_error *err)
{
    const char *sha = rlm_st_meta(st, key);
    if (!sha || strlen(sha) != 64)
        return rlm_fail(err, RLM_E_FORMAT, "%s: \"%s\" is no sha256", st->path, key);
    memcpy(c->tokenizer, sha, sizeof c->tokenizer);
    if (own && strcmp(sha, own))
        return rlm_fail(err, RLM_E_TOKENS, "%s: made by %s %.12s..., this model has %.12s...",
                        st->path, key, sha, *own ? own : "none");
    return 0;
}

static int read_video(const rlm_safetensors *st, const rlm_engine *e, rlm_codes *c, rlm_error *err)
{
    int64_t frames, height, width;
    const rlm_tensor *t = rlm_st_find(st, "video");
    const char *fps = rlm_st_meta(st, "fps");
    if (!t)
        return 0;
    RLM_TRY(read_ids(st, t, "video", 3, RLM_VIDEO_CODES, c, err));
    RLM_TRY(read_sha(st, "video_tokenizer", e ? e->model.video_sha : NULL, c, err));
    RLM_TRY(meta_number(st, "frames", 1, TOKENS_FRAMES_MAX, &frames, err));
    RLM_TRY(meta_number(st, "height", 1, TOKENS_SIDE_MAX, &height, err));
    RLM_TRY(meta_number(st, "width", 1, TOKENS_SIDE_MAX, &width, err));
    c->true_frames = (int)frames;
    c->true_height = (int)height;
    c->true_width = (int)width;
    if (!fps || sscanf(fps, "%d/%d", &c->fps_num, &c->fps_den) != 2 || c->fps_num < 1 ||
        c->fps_den < 1)
        return rlm_fail(err, RLM_E_FORMAT, "%s: \"fps\" is %s, expected like 8/1", st->path,
                        fps ? fps : "missing");
    return 0;
}

static int read_audio(const rlm_safetensors *st, const rlm_engine *e, rlm_codes *c, rlm_error *err)
{
    int64_t rate;
    const rlm_tensor *t = rlm_st_find(st, "audio");
    if (!t)
        return 0;
    RLM_TRY(read_ids(st, t, "audio", 2, RLM_AUDIO_CODES, c, err));
    RLM_TRY(read_sha(st, "audio_tokenizer", e ? e->model.audio_sha : NULL, c, err));
    RLM_TRY(meta_number(st, "samples", 1, INT64_C(1) << 40, &c->true_samples, err));
    RLM_TRY(meta_number(st, "rate", 1000, 384000, &rate, err));
    c->rate = (int)rate;
    return 0;
}

int rlm_tokens_read(const rlm_engine *engine, const char *path, rlm_codes *video, rlm_codes *audio,
                    rlm_error *err)
{
    rlm_safetensors st;
    rlm_codes v = {0}, a = {0};
    int64_t version;
    RLM_TRY(rlm_st_open_stream(&st, path, err));
    const char *schema = rlm_st_meta(&st, "schema");
    int code = 0;
    if (!schema || strcmp(schema, "reelm.tokens"))
        code = rlm_fail(err, RLM_E_FORMAT, "%s: is no token file (schema is %s)", path,
                        schema ? schema : "missing");
    if (!code)
        code = meta_number(&st, "version", 1, 1 << 20, &version, err);
    if (!code && version != 1)
        code = rlm_fail(err, RLM_E_VERSION, "%s: version %lld, this program reads 1", path,
                        (long long)version);
    if (!code)
        code = read_video(&st, engine, &v, err);
    if (!code)
        code = read_audio(&st, engine, &a, err);
    if (!code && !v.count && !a.count)
        code = rlm_fail(err, RLM_E_FORMAT, "%s: holds no codes", path);
    rlm_st_close(&st);
    if (!code && video) {
        *video = v;
        v = (rlm_codes){0};
    }
    if (!code && audio) {
        *audio = a;
        a = (rlm_codes){0};
    }
    rlm_codes_free(&v);
    rlm_codes_free(&a);
    return code;
}

int rlm_tokens_settings(const char *path, char **json, rlm_error *err)
{
    rlm_safetensors st;
    RLM_TRY(rlm_st_open_stream(&st, path, err));
    const char *schema = rlm_st_meta(&st, "schema"), *text = rlm_st_meta(&st, "settings");
    int code = 0;
    *json = NULL;
    if (!schema || strcmp(schema, "reelm.tokens"))
        code = rlm_fail(err, RLM_E_FORMAT, "%s: is no token file", path);
    else if (text && !(*json = rlm_strdup(text)))
        code = rlm_fail(err, RLM_E_NOMEM, "%s: no memory for its settings", path);
    rlm_st_close(&st);
    return code;
}
