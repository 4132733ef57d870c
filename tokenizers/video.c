/* The video tokenizer's door: configuration, and whole clips in chunks. */
#include "tokenizers/video.h"

#include <assert.h>
#include <string.h>

#include "tokenizers/video_net.h"

/* Encoding: latent frames of every chunk but the first, which has one more. Decoding goes frame by
 * frame, since a frame can be shown as soon as its codes are known; it takes no longer. */
enum { VIDEO_CHUNK = 4 };
enum { VIDEO_SIDE_MAX = 8192, VIDEO_FRAMES_MAX = 1 << 20 };

void rlm_video_config_defaults(rlm_video_config *c)
{
    *c = (rlm_video_config){.bits = 18,
                            .haar = 1,
                            .factorised = 1,
                            .levels = 2,
                            .channels = {96, 256},
                            .blocks = {4, 3},
                            .down_t = {1},
                            .down_s = {2},
                            .mid_blocks = 0,
                            .groups = 8};
}

void rlm_video_config_paper(rlm_video_config *c)
{
    *c = (rlm_video_config){.bits = 18,
                            .levels = 4,
                            .channels = {128, 256, 256, 512},
                            .blocks = {4, 4, 4, 4},
                            .down_t = {1, 2, 2},
                            .down_s = {2, 2, 2},
                            .mid_blocks = 4,
                            .groups = 32};
}

static int in_range(rlm_error *err, const char *what, int at, int value, int low, int high)
{
    if (value >= low && value <= high)
        return RLM_OK;
    return rlm_fail(err, RLM_E_RANGE, "video config: %s[%d] is %d, allowed are %d..%d", what, at,
                    value, low, high);
}

int rlm_video_config_check(const rlm_video_config *c, rlm_error *err)
{
    RLM_TRY(in_range(err, "bits", 0, c->bits, 1, 24));
    RLM_TRY(in_range(err, "haar", 0, c->haar, 0, 1));
    RLM_TRY(in_range(err, "factorised", 0, c->factorised, 0, 1));
    RLM_TRY(in_range(err, "levels", 0, c->levels, 1, RLM_VIDEO_LEVELS));
    RLM_TRY(in_range(err, "mid_blocks", 0, c->mid_blocks, 0, 64));
    RLM_TRY(in_range(err, "groups", 0, c->groups, 1, 4096));
    for (int i = 0; i < c->levels; i++) {
        RLM_TRY(in_range(err, "channels", i, c->channels[i], 1, 4096));
        RLM_TRY(in_range(err, "blocks", i, c->blocks[i], 1, 64));
        RLM_TRY(in_range(err, "decoder_blocks", i, c->decoder_blocks[i], 0, 64));
        if (c->channels[i] % c->groups)
            return rlm_fail(err, RLM_E_RANGE,
                            "video config: channels[%d] is %d, not a multiple of groups (%d)", i,
                            c->channels[i], c->groups);
        if (i + 1 == c->levels)
            break;
        RLM_TRY(in_range(err, "down_t", i, c->down_t[i], 1, 2));
        RLM_TRY(in_range(err, "down_s", i, c->down_s[i], 1, 2));
    }
    return RLM_OK;
}

int rlm_video_stride_t(const rlm_video_config *c)
{
    int stride = c->haar ? 4 : 1;
    for (int i = 0; i + 1 < c->levels; i++)
        stride *= c->down_t[i];
    return stride;
}

int rlm_video_stride_s(const rlm_video_config *c)
{
    int stride = c->haar ? 4 : 1;
    for (int i = 0; i + 1 < c->levels; i++)
        stride *= c->down_s[i];
    return stride;
}

int rlm_video_new(rlm_video **out, const rlm_video_config *c, rlm_params *params, rlm_error *err)
{
    *out = NULL;
    RLM_TRY(rlm_video_config_check(c, err));
    rlm_video *v = rlm_calloc(1, sizeof *v);
    if (!v)
        return rlm_fail(err, RLM_E_NOMEM, "video tokenizer: no memory for its layers");
    v->config = *c;
    int code = rlm_video_encoder_declare(v, params, err);
    if (!code)
        code = rlm_video_decoder_declare(v, params, err);
    if (code)
        rlm_video_free(&v);
    *out = v;
    return code;
}

static void side_free(rlm_video_side *side)
{
    for (int i = 0; i < RLM_VIDEO_LEVELS; i++)
        rlm_free(side->levels[i].blocks);
    rlm_free(side->mid);
}

void rlm_video_free(rlm_video **v)
{
    if (!*v)
        return;
    side_free(&(*v)->encoder);
    side_free(&(*v)->decoder);
    rlm_free(*v);
    *v = NULL;
}

const rlm_video_config *rlm_video_get_config(const rlm_video *v)
{
    return &v->config;
}

/* ---- Whole clips ----------------------------------------------------------------------------- */

/* A clip on its way through: grid in latent frames and codes, and the chunk at hand. */
typedef struct clip_walk {
    const rlm_video *v;
    bool encoding;
    rlm_video_stream stream;
    int t, h, w;    /* latent grid */
    int st, ss;     /* pixels a code spans */
    int begin, end; /* latent frames of the chunk */
    int base;       /* encoding: the clip's number of the first frame at hand */
    size_t mark;    /* arena, restored behind every chunk */
} clip_walk;

static int chunk_end(const clip_walk *k, int begin)
{
    int end = !k->encoding ? begin + 1 : begin == 0 ? 1 + VIDEO_CHUNK : begin + VIDEO_CHUNK;
    return end < k->t ? end : k->t;
}

/* Pixel frames that belong to latent frames [0, t). */
static int pixel_frames(const clip_walk *k, int t)
{
    return t == 0 ? 0 : 1 + (t - 1) * k->st;
}

/* Frames in front of a later chunk's pixels that only fill the wavelet's first place. */
static int pixel_lead(const clip_walk *k)
{
    return k->v->config.haar && k->begin > 0 ? 1 : 0;
}

static rlm_tensor encode_chunk(rlm_run *run, clip_walk *k, const rlm_frames *frames, int32_t *ids);
static rlm_tensor decode_chunk(rlm_run *run, clip_walk *k, const int32_t *ids);

/* First a pass with empty kernels, which tells how much the largest chunk and its caches need; then
 * the arena and the caches get that much. */
static int walk_open(clip_walk *k, rlm_run *run, const rlm_video *v, const int dims[3],
                     bool encoding, rlm_error *err)
{
    *k = (clip_walk){.v = v,
                     .encoding = encoding,
                     .t = dims[0],
                     .h = dims[1],
                     .w = dims[2],
                     .st = rlm_video_stride_t(&v->config),
                     .ss = rlm_video_stride_s(&v->config),
                     .mark = rlm_arena_mark(run->arena)};
    rlm_kernels empty;
    rlm_kernels_empty(&empty, run->k);
    rlm_run dry = {.k = &empty, .arena = run->arena, .par = run->par};
    for (int pass = 0; pass < 2; pass++) {
        k->begin = pass ? chunk_end(k, 0) : 0;
        if (k->begin >= k->t)
            break;
        k->end = chunk_end(k, k->begin);
        k->stream.first = pass == 0;
        k->stream.used = 0;
        if (encoding)
            encode_chunk(&dry, k, NULL, NULL);
        else
            decode_chunk(&dry, k, NULL);
        rlm_arena_rewind(run->arena, k->mark);
    }
    k->stream.bytes = k->stream.used;
    k->begin = k->end = 0;
    RLM_TRY(rlm_arena_commit(run->arena, run->arena->peak, err));
    if (k->stream.bytes == 0)
        return RLM_OK;
    k->stream.data = rlm_alloc(k->stream.bytes);
    if (!k->stream.data)
        return rlm_fail(err, RLM_E_NOMEM, "video tokenizer: no memory for %zu bytes of context",
                        k->stream.bytes);
    return RLM_OK;
}

/* The chunk after the one at hand; false behind the last. */
static bool walk_next(clip_walk *k, rlm_run *run)
{
    rlm_arena_rewind(run->arena, k->mark);
    k->begin = k->end;
    k->end = chunk_end(k, k->begin);
    k->stream.first = k->begin == 0;
    k->stream.used = 0;
    return k->begin < k->t;
}

/* A clip of one chunk needs no memory of chunks before. */
static rlm_video_stream *walk_stream(clip_walk *k)
{
    return k->t > chunk_end(k, 0) ? &k->stream : NULL;
}

static void walk_close(clip_walk *k, rlm_run *run)
{
    rlm_arena_rewind(run->arena, k->mark);
    rlm_free(k->stream.data);
}

void rlm_video_floats(const rlm_frames *f, int index, int h, int w, float *out)
{
    const uint8_t *in = f->rgb + (size_t)index * (size_t)f->height * (size_t)f->width * 3;
    for (int y = 0; y < h; y++) {
        const uint8_t *row =
            in + (size_t)(y < f->height ? y : f->height - 1) * (size_t)f->width * 3;
        for (int x = 0; x < w; x++, out += 3) {
            const uint8_t *p = row + (size_t)(x < f->width ? x : f->width - 1) * 3;
            for (int c = 0; c < 3; c++)
                out[c] = (float)p[c] * (2.0f / 255.0f) - 1.0f;
        }
    }
}

/* frames NULL: dry run. */
static rlm_tensor encode_chunk(rlm_run *run, clip_walk *k, const rlm_frames *frames, int32_t *ids)
{
    int lead = pixel_lead(k), first = pixel_frames(k, k->begin), h = k->h * k->ss, w = k->w * k->ss;
    int count = pixel_frames(k, k->end) - first + lead;
    rlm_tensor pixels = rlm_tensor_new5(run, 1, count, h, w, 3);
    if (frames)
        for (int i = 0; i < count; i++) {
            int at = first + i - lead - k->base;
            rlm_video_floats(frames, at < frames->count ? at : frames->count - 1, h, w,
                             rlm_f32(&pixels) + (size_t)i * (size_t)h * (size_t)w * 3);
        }
    rlm_tensor z = rlm_video_encoder_forward(run, k->v, walk_stream(k), &pixels);
    return rlm_lfq_forward(run, &z, ids);
}

int rlm_video_encode(rlm_run *run, const rlm_video *v, const rlm_frames *frames, rlm_codes *codes,
                     rlm_error *err)
{
    const rlm_video_config *c = &v->config;
    if (frames->count < 1 || frames->count > VIDEO_FRAMES_MAX || frames->width < 1 ||
        frames->height < 1 || frames->width > VIDEO_SIDE_MAX || frames->height > VIDEO_SIDE_MAX)
        return rlm_fail(err, RLM_E_RANGE,
                        "video encode: %d frames of %dx%d, allowed are 1..%d frames of at most "
                        "%dx%d",
                        frames->count, frames->width, frames->height, VIDEO_FRAMES_MAX,
                        VIDEO_SIDE_MAX, VIDEO_SIDE_MAX);
    int st = rlm_video_stride_t(c), ss = rlm_video_stride_s(c);
    int dims[3] = {1 + (frames->count - 1 + st - 1) / st, (frames->height + ss - 1) / ss,
                   (frames->width + ss - 1) / ss};
    size_t plane = (size_t)dims[1] * (size_t)dims[2];
    int32_t *ids = rlm_alloc(rlm_size_mul(rlm_size_mul((size_t)dims[0], plane), sizeof *ids));
    if (!ids)
        return rlm_fail(err, RLM_E_NOMEM, "video encode: no memory for %dx%dx%d codes", dims[0],
                        dims[1], dims[2]);
    clip_walk k;
    int code = walk_open(&k, run, v, dims, true, err);
    while (!code && walk_next(&k, run))
        encode_chunk(run, &k, frames, ids + (size_t)k.begin * plane);
    walk_close(&k, run);
    if (code) {
        rlm_free(ids);
        return code;
    }
    *codes = (rlm_codes){.dims = {dims[0], dims[1], dims[2]},
                         .count = (int64_t)dims[0] * (int64_t)plane,
                         .ids = ids,
                         .true_frames = frames->count,
                         .true_height = frames->height,
                         .true_width = frames->width,
                         .fps_num = frames->fps_num,
                         .fps_den = frames->fps_den};
    return RLM_OK;
}

/* ---- Clips that arrive piece by piece ---- */

struct rlm_video_encoder {
    rlm_run *run;
    clip_walk k;
    rlm_frames hold; /* frames of the next chunk, behind those that lead it */
    int room;        /* frames allocated in hold */
    int32_t *ids;
    int64_t count, ids_room;
    int frames; /* seen */
};

/* A walk whose end is not known: it goes on in full chunks until it is told. */
static const int NO_END = VIDEO_FRAMES_MAX;

int rlm_video_encoder_open(rlm_video_encoder **out, rlm_run *run, const rlm_video *v, int height,
                           int width, rlm_error *err)
{
    *out = NULL;
    if (width < 1 || height < 1 || width > VIDEO_SIDE_MAX || height > VIDEO_SIDE_MAX)
        return rlm_fail(err, RLM_E_RANGE, "video encode: frames of %dx%d, at most %dx%d", width,
                        height, VIDEO_SIDE_MAX, VIDEO_SIDE_MAX);
    rlm_video_encoder *e = rlm_calloc(1, sizeof *e);
    if (!e)
        return rlm_fail(err, RLM_E_NOMEM, "video encode: out of memory");
    int ss = rlm_video_stride_s(&v->config);
    int dims[3] = {NO_END, (height + ss - 1) / ss, (width + ss - 1) / ss};
    e->run = run;
    int code = walk_open(&e->k, run, v, dims, true, err);
    e->room = 1 + VIDEO_CHUNK * e->k.st;
    e->hold = (rlm_frames){.height = height, .width = width};
    e->hold.rgb = rlm_alloc((size_t)e->room * (size_t)height * (size_t)width * 3);
    if (!code && !e->hold.rgb)
        code = rlm_fail(err, RLM_E_NOMEM, "video encode: no memory for %d frames of %dx%d", e->room,
                        width, height);
    if (code)
        rlm_video_encoder_close(&e);
    *out = e;
    return code;
}

void rlm_video_encoder_close(rlm_video_encoder **e)
{
    if (!*e)
        return;
    walk_close(&(*e)->k, (*e)->run);
    rlm_free((*e)->hold.rgb);
    rlm_free((*e)->ids);
    rlm_free(*e);
    *e = NULL;
}

/* The chunk at hand, up to latent frame `end`; its last frame leads the next. */
static int encoder_chunk(rlm_video_encoder *e, int end, rlm_error *err)
{
    clip_walk *k = &e->k;
    size_t plane = (size_t)k->h * (size_t)k->w;
    int64_t more = (int64_t)plane * (end - k->end);
    if (e->count + more > e->ids_room) {
        int64_t room = 2 * (e->count + more);
        int32_t *grown = rlm_realloc(e->ids, (size_t)e->ids_room * sizeof *grown,
                                     rlm_size_mul((size_t)room, sizeof *grown));
        if (!grown)
            return rlm_fail(err, RLM_E_NOMEM, "video encode: no memory for %lld codes",
                            (long long)room);
        e->ids = grown;
        e->ids_room = room;
    }
    walk_next(k, e->run);
    k->end = end;
    int lead = k->begin ? 1 : 0;
    k->base = pixel_frames(k, k->begin) - lead;
    encode_chunk(e->run, k, &e->hold, e->ids + e->count);
    rlm_arena_rewind(e->run->arena, k->mark); /* others may use it until the next push */
    e->count += more;
    size_t one = (size_t)e->hold.height * (size_t)e->hold.width * 3;
    memmove(e->hold.rgb, e->hold.rgb + (size_t)(e->hold.count - 1) * one, one);
    e->hold.count = 1;
    return RLM_OK;
}

int rlm_video_encoder_push(rlm_video_encoder *e, const rlm_frames *f, rlm_error *err)
{
    size_t one = (size_t)e->hold.height * (size_t)e->hold.width * 3;
    if (f->height != e->hold.height || f->width != e->hold.width ||
        f->count > VIDEO_FRAMES_MAX - e->frames)
        return rlm_fail(err, RLM_E_RANGE,
                        "video encode: %d more frames of %dx%d, after %d of %dx%d", f->count,
                        f->width, f->height, e->frames, e->hold.width, e->hold.height);
    for (int i = 0; i < f->count; i++) {
        if (e->hold.count == e->room)
            RLM_TRY(encoder_chunk(e, chunk_end(&e->k, e->k.end), err));
        memcpy(e->hold.rgb + (size_t)e->hold.count * one, f->rgb + (size_t)i * one, one);
        e->hold.count++;
        e->frames++;
    }
    return RLM_OK;
}

int rlm_video_encoder_finish(rlm_video_encoder *e, rlm_codes *codes, rlm_error *err)
{
    int t = 1 + (e->frames - 1 + e->k.st - 1) / e->k.st;
    if (!e->frames)
        return rlm_fail(err, RLM_E_RANGE, "video encode: there are no frames");
    if (e->k.end < t)
        RLM_TRY(encoder_chunk(e, t, err));
    *codes = (rlm_codes){.dims = {t, e->k.h, e->k.w},
                         .count = e->count,
                         .ids = e->ids,
                         .true_frames = e->frames,
                         .true_height = e->hold.height,
                         .true_width = e->hold.width};
    e->ids = NULL;
    return RLM_OK;
}

/* Floats of one frame to bytes, cropped to the true size. */
static void floats_to_frame(const float *in, int w, rlm_frames *f, int index)
{
    uint8_t *out = f->rgb + (size_t)index * (size_t)f->height * (size_t)f->width * 3;
    for (int y = 0; y < f->height; y++) {
        const float *row = in + (size_t)y * (size_t)w * 3;
        for (int i = 0; i < f->width * 3; i++) {
            float p = row[i] * 127.5f + 128.0f; /* + 127.5, and a half to round */
            *out++ = (uint8_t)(!(p > 0.0f) ? 0.0f : p > 255.0f ? 255.0f : p);
        }
    }
}

/* ids NULL: dry run. The pixels returned have no lead. */
static rlm_tensor decode_chunk(rlm_run *run, clip_walk *k, const int32_t *ids)
{
    int bits = k->v->config.bits;
    rlm_tensor q = rlm_tensor_new5(run, 1, k->end - k->begin, k->h, k->w, bits);
    if (ids)
        rlm_video_unpack(ids, rlm_tensor_rows(&q), bits, rlm_f32(&q));
    return rlm_video_decoder_forward(run, k->v, walk_stream(k), &q);
}

/* ids: of the chunk. */
static int ids_check(const rlm_video_config *c, const int32_t *ids, int64_t count, rlm_error *err)
{
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >> c->bits)
            return rlm_fail(err, RLM_E_TOKENS, "video decode: code %lld is %d, allowed are 0..%d",
                            (long long)i, (int)ids[i], (1 << c->bits) - 1);
    return RLM_OK;
}

/* Sizes of hostile codes: the grid, the ids and the true size must belong together. */
static int codes_check(const rlm_video_config *c, const rlm_codes *codes, rlm_error *err)
{
    int st = rlm_video_stride_t(c), ss = rlm_video_stride_s(c);
    const int *d = codes->dims;
    if (d[0] < 1 || d[1] < 1 || d[2] < 1 || d[0] > VIDEO_FRAMES_MAX / st ||
        d[1] > VIDEO_SIDE_MAX / ss || d[2] > VIDEO_SIDE_MAX / ss ||
        codes->count != (int64_t)d[0] * d[1] * d[2])
        return rlm_fail(err, RLM_E_TOKENS, "video decode: a grid of %dx%dx%d with %lld codes", d[0],
                        d[1], d[2], (long long)codes->count);
    if (codes->true_frames < 1 || codes->true_height < 1 || codes->true_width < 1 ||
        codes->true_frames > 1 + (d[0] - 1) * st || codes->true_height > d[1] * ss ||
        codes->true_width > d[2] * ss)
        return rlm_fail(
            err, RLM_E_TOKENS, "video decode: %d frames of %dx%d do not fit a grid of %dx%dx%d",
            codes->true_frames, codes->true_width, codes->true_height, d[0], d[1], d[2]);
    return RLM_OK;
}

struct rlm_video_decoder {
    rlm_run *run;
    clip_walk k;
};

int rlm_video_decoder_open(rlm_video_decoder **out, rlm_run *run, const rlm_video *v,
                           const rlm_codes *codes, rlm_error *err)
{
    *out = NULL;
    RLM_TRY(codes_check(&v->config, codes, err));
    rlm_video_decoder *d = rlm_calloc(1, sizeof *d);
    if (!d)
        return rlm_fail(err, RLM_E_NOMEM, "video decode: out of memory");
    d->run = run;
    int code = walk_open(&d->k, run, v, codes->dims, false, err);
    if (code)
        rlm_video_decoder_close(&d);
    *out = d;
    return code;
}

void rlm_video_decoder_close(rlm_video_decoder **d)
{
    if (!*d)
        return;
    walk_close(&(*d)->k, (*d)->run);
    rlm_free(*d);
    *d = NULL;
}

int rlm_video_decoder_push(rlm_video_decoder *d, const int32_t *ids, int from, int to,
                           rlm_frames *f, rlm_error *err)
{
    clip_walk *k = &d->k;
    if (k->end == k->t)
        return rlm_fail(err, RLM_E_TOKENS, "video decode: more than %d code frames", k->t);
    RLM_TRY(ids_check(&k->v->config, ids, (int64_t)k->h * k->w, err));
    walk_next(k, d->run);
    rlm_tensor y = decode_chunk(d->run, k, ids);
    int64_t frame = y.shape[2] * y.shape[3] * 3;
    for (int i = from; i < to && i < y.shape[1]; i++)
        floats_to_frame(rlm_f32(&y) + i * frame, (int)y.shape[3], f, f->count++);
    rlm_arena_rewind(d->run->arena, k->mark); /* others may use it until the next push */
    return RLM_OK;
}

/* Frame by frame into f, which has room for all of them, or (take given) for those of one. */
static int decode_all(rlm_run *run, const rlm_video *v, const rlm_codes *codes, rlm_frames *f,
                      rlm_video_part_fn take, void *cookie, rlm_error *err)
{
    size_t plane = (size_t)codes->dims[1] * (size_t)codes->dims[2];
    rlm_video_decoder *d = NULL;
    int code = rlm_video_decoder_open(&d, run, v, codes, err), done = 0;
    for (int t = 0; !code && done < codes->true_frames; t++) {
        int from = f->count;
        code = rlm_video_decoder_push(d, codes->ids + (size_t)t * plane, 0,
                                      codes->true_frames - done, f, err);
        done += f->count - from;
        if (!code && take)
            code = take(cookie, f, from, done, err);
    }
    rlm_video_decoder_close(&d);
    return code;
}

static int frames_alloc(rlm_frames *f, const rlm_codes *codes, int count, rlm_error *err)
{
    *f = (rlm_frames){.height = codes->true_height,
                      .width = codes->true_width,
                      .fps_num = codes->fps_num,
                      .fps_den = codes->fps_den};
    size_t bytes = rlm_size_mul(rlm_size_mul((size_t)f->height, (size_t)f->width), 3);
    f->rgb = rlm_alloc(rlm_size_mul(bytes, (size_t)count));
    return f->rgb ? RLM_OK
                  : rlm_fail(err, RLM_E_NOMEM, "video decode: no memory for %d frames of %dx%d",
                             count, f->width, f->height);
}

int rlm_video_decode(rlm_run *run, const rlm_video *v, const rlm_codes *codes, rlm_frames *frames,
                     rlm_error *err)
{
    rlm_frames f;
    RLM_TRY(codes_check(&v->config, codes, err));
    RLM_TRY(ids_check(&v->config, codes->ids, codes->count, err));
    RLM_TRY(frames_alloc(&f, codes, codes->true_frames, err));
    int code = decode_all(run, v, codes, &f, NULL, NULL, err);
    if (code)
        rlm_free(f.rgb);
    else
        *frames = f;
    return code;
}

int rlm_video_decode_parts(rlm_run *run, const rlm_video *v, const rlm_codes *codes,
                           rlm_video_part_fn take, void *cookie, rlm_error *err)
{
    rlm_frames f;
    RLM_TRY(codes_check(&v->config, codes, err));
    RLM_TRY(ids_check(&v->config, codes->ids, codes->count, err));
    RLM_TRY(frames_alloc(&f, codes, rlm_video_stride_t(&v->config), err));
    int code = decode_all(run, v, codes, &f, take, cookie, err);
    rlm_free(f.rgb);
    return code;
}
