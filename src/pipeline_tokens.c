/* Clips <-> token grids, and token grids <-> .rtok files (docs/FORMATS.md). */
#include "src/pipeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/media/media.h"

enum { PLAN_FRAMES = RLM_AUDIO_CONTEXT_MAX + RLM_AUDIO_CHUNK };
enum { TOKENS_FRAMES_MAX = 1 << 20, TOKENS_SIDE_MAX = 16384, WINDOWS_MAX = 4096 };
enum { TOKENS_STILLS_MAX = 64, HOP_MAX = 4096, STRIDE_MAX = 4 << RLM_VIDEO_LEVELS };

/* ---- Clips <-> grids ------------------------------------------------------------------------- */

int rlm_session_plan_audio(rlm_session *s, int64_t samples, rlm_error *err)
{
    const rlm_audio *a = s->engine->model.audio;
    const rlm_audio_config *c = rlm_audio_get_config(a);
    rlm_kernels empty;
    rlm_codes codes = {0};
    int64_t most = (int64_t)PLAN_FRAMES * rlm_audio_hop(c);
    samples = samples < most ? samples : most;
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
    int code = use->count ? rlm_session_plan_audio(s, use->count, err) : 0;
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

int rlm_codes_belong(const char *what, const rlm_codes *codes, const char *sha, rlm_error *err)
{
    if (codes->tokenizer[0] && strcmp(codes->tokenizer, sha))
        return rlm_fail(err, RLM_E_TOKENS,
                        "the %s codes were made by tokenizer %.12s..., this model has %.12s...",
                        what, codes->tokenizer, sha);
    return 0;
}

/* ---- Grids of several windows ---------------------------------------------------------------- */

/* Pictures or samples that n code frames come to: at most n * step + extra. */
typedef struct reach {
    int64_t step, extra;
} reach;

static reach video_reach(const rlm_engine *e)
{
    int64_t stride = e && e->model.video ? rlm_video_stride_t(&e->model.video_config) : STRIDE_MAX;
    return (reach){stride, 1 - stride};
}

/* Half a frame of samples has no code of its own: one more frame is allowed. */
static reach sound_reach(const rlm_engine *e)
{
    int64_t hop = e && e->model.audio ? rlm_audio_hop(&e->model.audio_config) : HOP_MAX;
    return (reach){hop, hop};
}

/* The windows must tile the grid, none keep more than its codes come to; sums of what they keep
 * must be the true length. */
static int check_windows(const rlm_codes *c, int total, reach r, int64_t length, const char *what,
                         rlm_error *err)
{
    int64_t codes = 0, kept = 0;
    for (int i = 0; i < c->window_count; i++) {
        const rlm_window *w = &c->windows[i];
        if (w->codes < 1 || w->codes > total || w->skip < 0 || w->take < 1 || w->take > length ||
            w->skip + w->take > w->codes * r.step + r.extra)
            return rlm_fail(err, RLM_E_TOKENS, "%s: window %d has %d codes, skips %lld, keeps %lld",
                            what, i, w->codes, (long long)w->skip, (long long)w->take);
        codes += w->codes;
        kept += w->take;
    }
    if (codes != total || kept != length)
        return rlm_fail(err, RLM_E_TOKENS,
                        "%s: windows of %lld codes keep %lld, the grid has %d and %lld", what,
                        (long long)codes, (long long)kept, total, (long long)length);
    return 0;
}

/* Pictures of every window, what each keeps, behind each other. */
static int decode_video(rlm_session *s, const rlm_codes *all, rlm_frames *out, rlm_error *err)
{
    const rlm_video *v = s->engine->model.video;
    if (!all->window_count)
        return rlm_video_decode(&s->run, v, all, out, err);
    RLM_TRY(
        check_windows(all, all->dims[0], video_reach(s->engine), all->true_frames, "video", err));
    size_t plane = (size_t)all->dims[1] * (size_t)all->dims[2];
    size_t one = rlm_size_mul(rlm_size_mul((size_t)all->true_height, (size_t)all->true_width), 3);
    rlm_frames f = {.height = all->true_height,
                    .width = all->true_width,
                    .fps_num = all->fps_num,
                    .fps_den = all->fps_den};
    f.rgb = rlm_alloc(rlm_size_mul(one, (size_t)all->true_frames));
    int code = f.rgb ? 0 : rlm_fail(err, RLM_E_NOMEM, "no memory for %d frames", all->true_frames);
    int32_t *ids = all->ids;
    for (int i = 0; i < all->window_count && !code; i++) {
        const rlm_window *w = &all->windows[i];
        rlm_codes piece = *all;
        rlm_frames made = {0};
        piece.dims[0] = w->codes;
        piece.count = (int64_t)w->codes * (int64_t)plane;
        piece.ids = ids;
        int64_t frames = w->skip + w->take;
        piece.true_frames = frames < INT32_MAX ? (int)frames : INT32_MAX;
        code = rlm_video_decode(&s->run, v, &piece, &made, err);
        if (!code)
            memcpy(f.rgb + (size_t)f.count * one, made.rgb + (size_t)w->skip * one,
                   (size_t)w->take * one);
        f.count += (int)w->take;
        ids += piece.count;
        rlm_free(made.rgb);
    }
    if (code)
        rlm_free(f.rgb);
    else
        *out = f;
    return code;
}

/* Window of `codes` frames from frame `from` on, as a grid of its own; heap. */
static int cut_sound(const rlm_codes *all, int from, int codes, rlm_codes *piece, rlm_error *err)
{
    *piece = *all;
    piece->windows = NULL;
    piece->window_count = 0;
    piece->still_frames = NULL;
    piece->stills = NULL;
    piece->still_count = 0;
    piece->dims[1] = codes;
    piece->count = (int64_t)all->dims[0] * codes;
    piece->ids = rlm_alloc((size_t)piece->count * sizeof *piece->ids);
    if (!piece->ids)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %lld codes", (long long)piece->count);
    for (int q = 0; q < all->dims[0]; q++)
        memcpy(piece->ids + (size_t)q * (size_t)codes,
               all->ids + (size_t)q * (size_t)all->dims[1] + from, (size_t)codes * sizeof(int32_t));
    return 0;
}

static int decode_piece(rlm_session *s, const rlm_codes *audio, rlm_pcm *out, rlm_error *err)
{
    const rlm_model *m = &s->engine->model;
    reach r = sound_reach(s->engine);
    int64_t samples = audio->dims[1] * r.step;
    if (audio->true_samples > samples + r.extra)
        return rlm_fail(err, RLM_E_TOKENS, "sound: %lld samples of %d code frames, at most %lld",
                        (long long)audio->true_samples, audio->dims[1],
                        (long long)(samples + r.extra));
    RLM_TRY(rlm_session_plan_audio(s, samples, err));
    return rlm_audio_decode(&s->run, m->audio, audio, out, err);
}

static int decode_sound(rlm_session *s, const rlm_codes *all, rlm_pcm *out, rlm_error *err)
{
    if (!all->window_count)
        return decode_piece(s, all, out, err);
    RLM_TRY(
        check_windows(all, all->dims[1], sound_reach(s->engine), all->true_samples, "sound", err));
    rlm_pcm p = {.channels = 1, .rate = all->rate};
    p.samples = rlm_calloc((size_t)all->true_samples, sizeof *p.samples);
    int code = p.samples ? 0 : rlm_fail(err, RLM_E_NOMEM, "no memory for the sound");
    for (int i = 0, from = 0; i < all->window_count && !code; i++) {
        const rlm_window *w = &all->windows[i];
        rlm_codes piece = {0};
        rlm_pcm made = {0};
        code = cut_sound(all, from, w->codes, &piece, err);
        piece.true_samples = 0; /* all its frames have */
        if (!code)
            code = decode_piece(s, &piece, &made, err);
        for (int64_t k = 0; !code && k < w->take && w->skip + k < made.count; k++)
            p.samples[p.count + k] = made.samples[w->skip + k];
        p.count += w->take;
        from += w->codes;
        rlm_free(made.samples);
        rlm_codes_free(&piece);
    }
    if (code)
        rlm_free(p.samples);
    else
        *out = p;
    return code;
}

int rlm_decode(rlm_session *s, const rlm_codes *video, const rlm_codes *audio, rlm_clip *out,
               rlm_error *err)
{
    const rlm_model *m = &s->engine->model;
    rlm_clip made = {0};
    int code = 0;
    if (video && video->count) {
        RLM_TRY(rlm_session_need(s, RLM_PART_VIDEO, err));
        RLM_TRY(rlm_codes_belong("video", video, m->video_sha, err));
        RLM_TRY(rlm_stills_check(video, "video", err));
        RLM_TRY(decode_video(s, video, &made.video, err));
        code = rlm_stills_show(s, video, &made.video, err);
        if (made.video.fps_num < 1 || made.video.fps_den < 1)
            made.video.fps_num = 8, made.video.fps_den = 1;
    }
    if (!code && audio && audio->count) {
        code = rlm_session_need(s, RLM_PART_AUDIO, err);
        if (!code)
            code = rlm_codes_belong("audio", audio, m->audio_sha, err);
        if (!code)
            code = decode_sound(s, audio, &made.audio, err);
    }
    if (!code && !made.video.count && !made.audio.count)
        code = rlm_fail(err, RLM_E_TOKENS, "there are no codes to decode");
    if (code)
        rlm_clip_free(&made);
    else
        *out = made;
    return code;
}

int rlm_clip_round_trip(rlm_session *s, rlm_clip *clip, rlm_better_fn better, void *cookie,
                        rlm_error *err)
{
    rlm_codes video = {0}, audio = {0};
    rlm_clip shown = {0};
    rlm_codes *heard = clip->audio.count > 0 ? &audio : NULL;
    int code = rlm_encode(s, clip, &video, heard, err);
    if (!code && better)
        code = better(cookie, clip, &video, heard, err);
    if (!code)
        code = rlm_decode(s, &video, heard, &shown, err);
    rlm_codes_free(&video);
    rlm_codes_free(&audio);
    if (code)
        return code;
    rlm_clip_free(clip);
    *clip = shown;
    return 0;
}

/* ---- Files ----------------------------------------------------------------------------------- */

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

/* "codes:skip:take,..." of a clip of several windows; false when there is no memory. */
static bool put_windows(rlm_st_writer *w, const char *key, const rlm_codes *c)
{
    enum { ROOM = 48 };
    if (!c->window_count)
        return true;
    char *text = rlm_alloc((size_t)c->window_count * ROOM);
    size_t n = 0;
    for (int i = 0; text && i < c->window_count; i++)
        n += (size_t)snprintf(text + n, ROOM, "%s%d:%" PRId64 ":%" PRId64, i ? "," : "",
                              c->windows[i].codes, c->windows[i].skip, c->windows[i].take);
    if (text)
        rlm_st_add_meta(w, key, text);
    rlm_free(text);
    return text != NULL;
}

/* "4,16" and their codes; false when there is no memory. */
static bool put_stills(rlm_st_writer *w, const rlm_codes *c)
{
    enum { ROOM = 12 };
    if (!c->still_count)
        return true;
    char *text = rlm_alloc((size_t)c->still_count * ROOM);
    size_t n = 0;
    int64_t shape[3] = {c->still_count, c->dims[1], c->dims[2]};
    for (int i = 0; text && i < c->still_count; i++)
        n += (size_t)snprintf(text + n, ROOM, "%s%d", i ? "," : "", c->still_frames[i]);
    if (text)
        rlm_st_add_meta(w, "still_frames", text);
    rlm_tensor t = rlm_tensor_view(c->stills, RLM_I32, 3, shape);
    rlm_st_add(w, "stills", &t, RLM_I32);
    rlm_free(text);
    return text != NULL;
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
    bool windows = (has_video && video->window_count) || (has_audio && audio->window_count);
    bool stored = true;
    bool stills = has_video && video->still_count;
    rlm_st_add_meta(&w, "version", stills ? "3" : windows ? "2" : "1");
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
        stored = put_windows(&w, "video_windows", video) && put_stills(&w, video);
    }
    if (has_audio) {
        int64_t shape[2] = {audio->dims[0], audio->dims[1]};
        rlm_tensor t = rlm_tensor_view(audio->ids, RLM_I32, 2, shape);
        rlm_st_add(&w, "audio", &t, RLM_I32);
        rlm_st_add_meta(&w, "audio_tokenizer", sha_of(audio, engine, 0));
        put_number(&w, "samples", audio->true_samples);
        put_number(&w, "rate", audio->rate);
        stored = put_windows(&w, "audio_windows", audio) && stored;
    }
    int code = stored ? rlm_st_commit(&w, path, err)
                      : rlm_fail(err, RLM_E_NOMEM, "%s: no memory for its windows", path);
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

/* The windows of a file, if it has any: they must tile `total` codes and keep `length`. */
static int read_windows(const rlm_safetensors *st, const char *key, int total, reach r,
                        int64_t length, rlm_codes *c, rlm_error *err)
{
    const char *text = rlm_st_meta(st, key);
    int count = 1;
    if (!text)
        return 0;
    for (const char *p = text; *p; p++)
        count += *p == ',';
    if (count > WINDOWS_MAX)
        return rlm_fail(err, RLM_E_FORMAT, "%s: \"%s\" has %d windows, at most %d", st->path, key,
                        count, WINDOWS_MAX);
    c->windows = rlm_calloc((size_t)count, sizeof *c->windows);
    if (!c->windows)
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory for %d windows", st->path, count);
    c->window_count = count;
    for (int i = 0; i < count; i++) {
        rlm_window *w = &c->windows[i];
        int used = 0;
        if (sscanf(text, "%9d:%15" SCNd64 ":%15" SCNd64 "%n", &w->codes, &w->skip, &w->take,
                   &used) != 3 ||
            text[used] != (i + 1 < count ? ',' : 0))
            return rlm_fail(err, RLM_E_FORMAT, "%s: \"%s\" is not like 5:0:17,5:9:8", st->path,
                            key);
        text += used + 1;
    }
    return check_windows(c, total, r, length, st->path, err);
}

/* Frame numbers of the metadata, and the codes of the tensor "stills". */
static int read_stills(const rlm_safetensors *st, rlm_codes *c, rlm_error *err)
{
    const rlm_tensor *t = rlm_st_find(st, "stills");
    const char *text = rlm_st_meta(st, "still_frames");
    rlm_codes grid = {0};
    if (!t)
        return 0;
    if (!text || t->rank != 3 || t->shape[0] > TOKENS_STILLS_MAX)
        return rlm_fail(err, RLM_E_FORMAT, "%s: \"stills\" are not 1 to %d grids with their frames",
                        st->path, TOKENS_STILLS_MAX);
    int code = read_ids(st, t, "stills", 3, RLM_VIDEO_CODES, &grid, err);
    c->stills = grid.ids;
    RLM_TRY(code);
    if (grid.dims[1] != c->dims[1] || grid.dims[2] != c->dims[2])
        return rlm_fail(err, RLM_E_FORMAT, "%s: a still is %d x %d codes, the video %d x %d",
                        st->path, grid.dims[1], grid.dims[2], c->dims[1], c->dims[2]);
    c->still_frames = rlm_calloc((size_t)grid.dims[0], sizeof *c->still_frames);
    if (!c->still_frames)
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory for %d stills", st->path, grid.dims[0]);
    c->still_count = grid.dims[0];
    for (int i = 0; i < c->still_count; i++) {
        int used = 0;
        if (sscanf(text, "%9d%n", &c->still_frames[i], &used) != 1 ||
            text[used] != (i + 1 < c->still_count ? ',' : 0))
            return rlm_fail(err, RLM_E_FORMAT,
                            "%s: \"still_frames\" is not like 4,16 for %d stills", st->path,
                            c->still_count);
        text += used + 1;
    }
    return rlm_stills_check(c, st->path, err);
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
    RLM_TRY(read_windows(st, "video_windows", c->dims[0], video_reach(e), c->true_frames, c, err));
    return read_stills(st, c, err);
}

static int read_audio(const rlm_safetensors *st, const rlm_engine *e, rlm_codes *c, rlm_error *err)
{
    int64_t rate;
    const rlm_tensor *t = rlm_st_find(st, "audio");
    if (!t)
        return 0;
    RLM_TRY(read_ids(st, t, "audio", 2, RLM_AUDIO_CODES, c, err));
    RLM_TRY(read_sha(st, "audio_tokenizer", e ? e->model.audio_sha : NULL, c, err));
    /* every window may have a frame that is half without a code */
    reach r = sound_reach(e);
    int64_t most = c->dims[1] * (r.step + r.extra);
    RLM_TRY(meta_number(st, "samples", 1, most, &c->true_samples, err));
    RLM_TRY(meta_number(st, "rate", 1000, 384000, &rate, err));
    c->rate = (int)rate;
    return read_windows(st, "audio_windows", c->dims[1], r, c->true_samples, c, err);
}

int rlm_tokens_read(const rlm_engine *engine, const char *path, rlm_codes *video, rlm_codes *audio,
                    char **settings, rlm_error *err)
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
    if (!code && version > 3)
        code = rlm_fail(err, RLM_E_VERSION, "%s: version %lld, this program reads 1 to 3", path,
                        (long long)version);
    if (!code)
        code = read_video(&st, engine, &v, err);
    if (!code)
        code = read_audio(&st, engine, &a, err);
    if (!code && !v.count && !a.count)
        code = rlm_fail(err, RLM_E_FORMAT, "%s: holds no codes", path);
    const char *text = rlm_st_meta(&st, "settings");
    char *copy = !code && settings && text ? rlm_strdup(text) : NULL;
    if (!code && settings && text && !copy)
        code = rlm_fail(err, RLM_E_NOMEM, "%s: no memory for its settings", path);
    rlm_st_close(&st);
    if (!code && settings)
        *settings = copy;
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
