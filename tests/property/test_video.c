/* The video tokenizer's laws: causality, images as one-frame clips, exact sizes, chunks equal to
 * the whole, codes that pack and unpack, the paper's parameter count. */
#include <stdlib.h>

#include "src/base/rng.h"
#include "tests/test.h"
#include "tokenizers/video.h"

typedef struct bench {
    rlm_kernels k;
    rlm_arena arena;
    rlm_par *par;
    rlm_params params;
    rlm_video *video;
    rlm_run run;
} bench;

static rlm_video_config small_haar(void)
{
    return (rlm_video_config){.bits = 6,
                              .haar = 1,
                              .factorised = 1,
                              .levels = 2,
                              .channels = {16, 32},
                              .blocks = {1, 1},
                              .decoder_blocks = {2}, /* of the second level: as blocks */
                              .down_t = {1},
                              .down_s = {2},
                              .mid_blocks = 1,
                              .groups = 4};
}

/* The paper's topology, narrow: every branch that Haar and factorising switch off. */
static rlm_video_config small_full(void)
{
    return (rlm_video_config){.bits = 4,
                              .levels = 4,
                              .channels = {4, 8, 8, 8},
                              .blocks = {1, 1, 1, 1},
                              .down_t = {1, 2, 2},
                              .down_s = {2, 2, 2},
                              .mid_blocks = 1,
                              .groups = 4};
}

static int bench_open_on(bench *b, const rlm_video_config *c, const char *mask, int threads)
{
    rlm_error err = {0};
    *b = (bench){0};
    int code = rlm_kernels_init(&b->k, mask, &err);
    code = code ? code : rlm_par_open(&b->par, threads, &err);
    code = code ? code : rlm_arena_reserve(&b->arena, (size_t)8 << 30, &err);
    code = code ? code : rlm_video_new(&b->video, c, &b->params, &err);
    code = code ? code : rlm_params_allocate(&b->params, false, &err);
    if (!code) {
        rlm_params_initialise(&b->params, 7);
        code = rlm_params_pack(&b->params, &b->k, b->par, false, &err);
    }
    b->run = (rlm_run){.k = &b->k, .arena = &b->arena, .par = b->par};
    if (code)
        fprintf(stderr, "%s\n", err.text);
    return code;
}

static int bench_open(bench *b, const rlm_video_config *c, const char *mask)
{
    return bench_open_on(b, c, mask, 2);
}

static void bench_close(bench *b)
{
    rlm_video_free(&b->video);
    rlm_params_free(&b->params);
    rlm_arena_release(&b->arena);
    rlm_par_close(&b->par);
}

static rlm_frames noise(int count, int h, int w, uint64_t seed)
{
    rlm_frames f = {.count = count, .height = h, .width = w, .fps_num = 8, .fps_den = 1};
    size_t n = (size_t)count * (size_t)h * (size_t)w * 3;
    f.rgb = rlm_alloc(n);
    for (size_t i = 0; i < n; i++)
        f.rgb[i] = (uint8_t)rlm_rng_below(seed, 0, i, 256);
    return f;
}

static rlm_codes encode(bench *b, const rlm_frames *f)
{
    rlm_codes codes = {0};
    rlm_error err = {0};
    CHECK(rlm_video_encode(&b->run, b->video, f, &codes, &err) == 0);
    if (err.code)
        fprintf(stderr, "%s\n", err.text);
    return codes;
}

static rlm_frames decode(bench *b, const rlm_codes *codes)
{
    rlm_frames f = {0};
    rlm_error err = {0};
    CHECK(rlm_video_decode(&b->run, b->video, codes, &f, &err) == 0);
    if (err.code)
        fprintf(stderr, "%s\n", err.text);
    return f;
}

/* Changing pixel frame k changes no code frame before ceil(k / 4), and does change a later one. */
static void causality_of(const rlm_video_config *c)
{
    bench b;
    if (bench_open(&b, c, "ref"))
        CHECK(!"opens");
    rlm_frames f = noise(13, 16, 16, 3);
    rlm_codes before = encode(&b, &f);
    int plane = before.dims[1] * before.dims[2];
    for (int k = 0; k < 13; k += 3) {
        size_t frame = 16 * 16 * 3;
        uint8_t *p = f.rgb + (size_t)k * frame;
        for (size_t i = 0; i < frame; i++)
            p[i] = (uint8_t)(255 - p[i]);
        rlm_codes after = encode(&b, &f);
        int unchanged = (k + 3) / 4 * plane;
        CHECK(!memcmp(before.ids, after.ids, (size_t)unchanged * sizeof(int32_t)));
        CHECK(memcmp(before.ids + unchanged, after.ids + unchanged,
                     (size_t)(before.count - unchanged) * sizeof(int32_t)));
        for (size_t i = 0; i < frame; i++)
            p[i] = (uint8_t)(255 - p[i]);
        rlm_codes_free(&after);
    }
    rlm_codes_free(&before);
    rlm_free(f.rgb);
    bench_close(&b);
}

static void causality(void)
{
    rlm_video_config haar = small_haar(), full = small_full();
    causality_of(&haar);
    causality_of(&full);
}

/* Decoding is causal too: the first frames do not depend on later codes. */
static void decoder_causality(void)
{
    rlm_video_config c = small_haar();
    bench b;
    CHECK(!bench_open(&b, &c, "ref"));
    rlm_frames f = noise(9, 16, 24, 5);
    rlm_codes codes = encode(&b, &f);
    rlm_frames whole = decode(&b, &codes);
    codes.ids[codes.count - 1] ^= 5;
    rlm_frames other = decode(&b, &codes);
    size_t early = 5 * 16 * 24 * 3, all = 9 * 16 * 24 * 3;
    CHECK(!memcmp(whole.rgb, other.rgb, early));
    CHECK(memcmp(whole.rgb + early, other.rgb + early, all - early));
    rlm_free(other.rgb);
    rlm_free(whole.rgb);
    rlm_codes_free(&codes);
    rlm_free(f.rgb);
    bench_close(&b);
}

/* An image is the first frame of any clip that starts with it. */
static void image_is_one_frame(void)
{
    rlm_video_config c = small_haar();
    bench b;
    CHECK(!bench_open(&b, &c, "ref"));
    rlm_frames f = noise(9, 24, 16, 9);
    rlm_codes clip = encode(&b, &f);
    f.count = 1;
    rlm_codes image = encode(&b, &f);
    CHECK(image.dims[0] == 1 && image.dims[1] == 3 && image.dims[2] == 2 && image.count == 6);
    CHECK(!memcmp(clip.ids, image.ids, 6 * sizeof(int32_t)));
    rlm_codes_free(&image);
    rlm_codes_free(&clip);
    rlm_free(f.rgb);
    bench_close(&b);
}

/* Any length and size comes back as it went in; grids are what the format says. */
static void sizes(void)
{
    static const int CASES[][3] = {{1, 16, 16},   {2, 17, 130}, {17, 128, 128},
                                   {18, 33, 16},  {40, 16, 47}, {41, 24, 24},
                                   {5, 224, 128}, {64, 16, 16}, {3, 1, 1}};
    rlm_video_config c = small_haar();
    bench b;
    CHECK(!bench_open(&b, &c, NULL));
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const int *s = CASES[i];
        rlm_frames f = noise(s[0], s[1], s[2], i);
        rlm_codes codes = encode(&b, &f);
        CHECK(codes.dims[0] == 1 + (s[0] + 2) / 4 && codes.dims[1] == (s[1] + 7) / 8 &&
              codes.dims[2] == (s[2] + 7) / 8);
        rlm_frames back = decode(&b, &codes);
        CHECK(back.count == s[0] && back.height == s[1] && back.width == s[2]);
        CHECK(back.fps_num == 8 && back.fps_den == 1);
        for (int64_t j = 0; j < codes.count; j++)
            CHECK(codes.ids[j] >= 0 && codes.ids[j] < 64);
        rlm_free(back.rgb);
        rlm_codes_free(&codes);
        rlm_free(f.rgb);
    }
    bench_close(&b);
}

/* Whole-clip forward on padded pixels, for comparison with the chunked door. */
static void chunks_of(const rlm_video_config *c, const char *mask, int frames, int side)
{
    bench b;
    rlm_error err;
    CHECK(!bench_open(&b, c, mask));
    CHECK(!rlm_arena_commit(&b.arena, (size_t)1 << 30, &err));
    rlm_frames f = noise(frames, side, side, 11);
    rlm_codes codes = encode(&b, &f);
    rlm_frames back = decode(&b, &codes);

    rlm_tensor pixels = rlm_tensor_new5(&b.run, 1, frames, side, side, 3);
    int64_t n = rlm_tensor_count(&pixels);
    for (int64_t i = 0; i < n; i++)
        rlm_f32(&pixels)[i] = (float)f.rgb[i] * (2.0f / 255.0f) - 1.0f;
    int32_t *ids = rlm_alloc((size_t)codes.count * sizeof *ids);
    rlm_tensor z = rlm_video_encode_forward(&b.run, b.video, &pixels);
    rlm_tensor q = rlm_lfq_forward(&b.run, &z, ids);
    CHECK(!memcmp(ids, codes.ids, (size_t)codes.count * sizeof *ids));
    rlm_tensor y = rlm_video_decode_forward(&b.run, b.video, &q);
    CHECK(rlm_tensor_count(&y) == n);
    int64_t different = 0;
    for (int64_t i = 0; i < n; i++) {
        float p = rlm_f32(&y)[i] * 127.5f + 128.0f;
        different += (uint8_t)(p < 0.0f ? 0.0f : p > 255.0f ? 255.0f : p) != back.rgb[i];
    }
    if (different)
        TEST_FAILED("%s: %lld of %lld bytes differ", b.k.level, (long long)different, (long long)n);
    rlm_free(ids);
    rlm_free(back.rgb);
    rlm_codes_free(&codes);
    rlm_free(f.rgb);
    bench_close(&b);
}

static void chunked_equals_whole(void)
{
    rlm_video_config haar = small_haar(), full = small_full();
    for (int i = 0; rlm_kernels_level(i); i++) {
        chunks_of(&haar, rlm_kernels_level(i), 49, i ? 32 : 16);
        chunks_of(&full, rlm_kernels_level(i), 41, 16);
    }
}

static void chunked_equals_whole_default(void)
{
    rlm_video_config c;
    rlm_video_config_defaults(&c);
    for (int i = 1; rlm_kernels_level(i); i++)
        chunks_of(&c, rlm_kernels_level(i), 41, rlm_kernels_level(i + 1) ? 32 : 64);
}

/* Codes that come frame by frame, other work in the arena between them, pictures 2..total - 1
 * alone taken: what decoding all at once gives. Then a decoder left in the middle, and one that
 * was given an id out of range in between. */
static void streamed_of(const rlm_video_config *c, const char *mask, int threads, int frames,
                        int side)
{
    bench b;
    rlm_error err;
    CHECK(!bench_open_on(&b, c, mask, threads));
    rlm_frames f = noise(frames, side, side, 12), out = {.height = side, .width = side};
    rlm_codes codes = encode(&b, &f), other = encode(&b, &f);
    rlm_frames whole = decode(&b, &codes);
    size_t plane = (size_t)codes.dims[1] * (size_t)codes.dims[2], one = (size_t)(side * side * 3);
    int stride = rlm_video_stride_t(c);
    out.rgb = rlm_alloc((size_t)frames * one);
    rlm_video_decoder *d = NULL, *left = NULL;
    CHECK(!rlm_video_decoder_open(&left, &b.run, b.video, &codes, &err));
    CHECK(!rlm_video_decoder_push(left, codes.ids, 0, 0, &out, &err) && out.count == 0);
    rlm_video_decoder_close(&left);
    CHECK(!left);
    CHECK(!rlm_video_decoder_open(&d, &b.run, b.video, &codes, &err));
    for (int t = 0; t < codes.dims[0]; t++) {
        int first = t ? 1 + (t - 1) * stride : 0;
        int32_t *ids = other.ids + (size_t)t * plane;
        *ids = -1;
        CHECK(rlm_video_decoder_push(d, ids, 0, 99, &out, &err) == RLM_E_TOKENS);
        CHECK(!rlm_video_decoder_push(d, codes.ids + (size_t)t * plane, first > 2 ? 0 : 2 - first,
                                      frames - 1 - first, &out, &err));
        memset(b.arena.base, 0xff, b.arena.committed); /* between tokens it is others' */
    }
    CHECK(rlm_video_decoder_push(d, codes.ids, 0, 99, &out, &err) == RLM_E_TOKENS);
    CHECK(out.count == frames - 3 &&
          !memcmp(out.rgb, whole.rgb + 2 * one, (size_t)out.count * one));
    rlm_video_decoder_close(&d);
    rlm_codes_free(&codes);
    rlm_codes_free(&other);
    rlm_free(whole.rgb);
    rlm_free(out.rgb);
    rlm_free(f.rgb);
    bench_close(&b);
}

static void streamed_equals_whole(void)
{
    rlm_video_config haar = small_haar(), full = small_full(), wide;
    rlm_video_config_defaults(&wide);
    for (int i = 0; rlm_kernels_level(i); i++) {
        streamed_of(&haar, rlm_kernels_level(i), 2, 17, 24);
        streamed_of(&full, rlm_kernels_level(i), 1, 13, 16);
    }
    streamed_of(&wide, NULL, 2, 17, 64);
}

/* An error of the taker's ends it: how many pictures there were is known. */
static int stop_late(void *cookie, rlm_frames *f, int from, int done, rlm_error *err)
{
    CHECK(f->count - from == (done == 1 ? 1 : 4));
    f->count = 0;
    *(int *)cookie = done;
    return done * 3 > 65 ? rlm_fail(err, RLM_E_CANCELLED, "enough") : 0;
}

static void cancel(void)
{
    rlm_video_config c = small_haar();
    bench b;
    CHECK(!bench_open(&b, &c, NULL));
    rlm_frames f = noise(65, 16, 16, 2);
    rlm_codes codes = encode(&b, &f);
    int done = 0;
    rlm_error err;
    CHECK(rlm_video_decode_parts(&b.run, b.video, &codes, stop_late, &done, &err) ==
          RLM_E_CANCELLED);
    CHECK(done == 25);
    rlm_codes_free(&codes);
    rlm_free(f.rgb);
    bench_close(&b);
}

/* Scratch and arena full of NaN: whatever is read before it is written shows in the pixels. */
static void poison(bench *b)
{
    memset(b->arena.base, 0xff, b->arena.committed);
    for (int w = 0; w < rlm_par_threads(b->par); w++)
        for (int slot = 0; slot < 4; slot++)
            memset(rlm_par_scratch(b->par, w, slot, 1 << 22), 0xff, 1 << 22);
}

/* A short clip decodes the same in a fresh bench, after NaN everywhere, after another clip. */
static void history_of(const rlm_video_config *c, const char *mask, int threads, int frames, int h,
                       int w)
{
    bench b;
    CHECK(!bench_open_on(&b, c, mask, threads));
    rlm_frames f = noise(frames, h, w, 3), other = noise(21, 64, 64, 4);
    rlm_codes codes = encode(&b, &f), others = encode(&b, &other);
    size_t bytes = (size_t)frames * (size_t)h * (size_t)w * 3;
    bench_close(&b);
    CHECK(!bench_open_on(&b, c, mask, threads));
    rlm_frames fresh = decode(&b, &codes), gone = decode(&b, &others);
    rlm_frames later = decode(&b, &codes);
    poison(&b);
    rlm_frames behind = decode(&b, &codes);
    CHECK(!memcmp(fresh.rgb, later.rgb, bytes));
    CHECK(!memcmp(fresh.rgb, behind.rgb, bytes));
    poison(&b);
    rlm_codes again = encode(&b, &f);
    CHECK(!memcmp(again.ids, codes.ids, (size_t)codes.count * sizeof *codes.ids));
    rlm_free(fresh.rgb);
    rlm_free(gone.rgb);
    rlm_free(later.rgb);
    rlm_free(behind.rgb);
    rlm_codes_free(&codes);
    rlm_codes_free(&others);
    rlm_codes_free(&again);
    rlm_free(f.rgb);
    rlm_free(other.rgb);
    bench_close(&b);
}

static void no_history(void)
{
    rlm_video_config haar = small_haar(), full = small_full(), whole;
    rlm_video_config_defaults(&whole);
    for (int i = 0; rlm_kernels_level(i); i++)
        for (int threads = 1; threads <= 2; threads++) {
            history_of(&haar, rlm_kernels_level(i), threads, 5, 24, 32);
            history_of(&full, rlm_kernels_level(i), threads, 5, 24, 32);
            if (!rlm_kernels_level(i + 1))
                history_of(&whole, rlm_kernels_level(i), threads, 5, 24, 32);
        }
}

static void hostile_codes(void)
{
    rlm_video_config c = small_haar();
    bench b;
    CHECK(!bench_open(&b, &c, NULL));
    rlm_frames f = noise(5, 16, 16, 2), out = {0};
    rlm_codes codes = encode(&b, &f);
    rlm_error err;
    int32_t good = codes.ids[3];
    codes.ids[3] = 64;
    CHECK(rlm_video_decode(&b.run, b.video, &codes, &out, &err) == RLM_E_TOKENS);
    codes.ids[3] = -1;
    CHECK(rlm_video_decode(&b.run, b.video, &codes, &out, &err) == RLM_E_TOKENS);
    codes.ids[3] = good;
    codes.true_frames = 6;
    CHECK(rlm_video_decode(&b.run, b.video, &codes, &out, &err) == RLM_E_TOKENS);
    codes.true_frames = 5;
    codes.dims[1] = 1 << 30;
    CHECK(rlm_video_decode(&b.run, b.video, &codes, &out, &err) == RLM_E_TOKENS);
    CHECK(!out.rgb);
    rlm_codes_free(&codes);
    rlm_free(f.rgb);
    bench_close(&b);
}

static void pack_and_unpack(void)
{
    enum { ROWS = 500, BITS = 18 };
    rlm_kernels k;
    rlm_error err;
    CHECK(!rlm_kernels_init(&k, "ref", &err));
    static int32_t ids[ROWS], back[ROWS];
    static float q[ROWS * BITS], again[ROWS * BITS];
    for (int i = 0; i < ROWS; i++)
        ids[i] =
            i < 2 ? i * ((1 << BITS) - 1) : (int32_t)rlm_rng_below(1, 2, (uint64_t)i, 1 << BITS);
    rlm_video_unpack(ids, ROWS, BITS, q);
    CHECK(q[0] == -1.0f && q[BITS] == 1.0f);
    ids[2] = 1; /* bit 0 is channel 0 */
    rlm_video_unpack(ids, 3, BITS, q);
    CHECK(q[2 * BITS] == 1.0f && q[2 * BITS + 1] == -1.0f);
    rlm_video_unpack(ids, ROWS, BITS, q);
    k.lfq_forward(NULL, ROWS, BITS, q, again, back);
    CHECK(!memcmp(ids, back, sizeof ids));
    CHECK(!memcmp(q, again, sizeof q));
}

static int64_t declared(const rlm_params *p, const char *prefix)
{
    int64_t n = 0;
    for (int i = 0; i < p->count; i++)
        if (!strncmp(p->items[i]->name, prefix, strlen(prefix)))
            n += p->items[i]->count;
    return n;
}

/* MAGVIT-v2: 144.9 M + 225.7 M parameters. Forward runs when asked for: it takes a minute. */
static void paper_size(void)
{
    rlm_video_config c;
    rlm_video_config_paper(&c);
    rlm_params p = {0};
    rlm_video *v;
    rlm_error err;
    CHECK(!rlm_video_new(&v, &c, &p, &err));
    CHECK_NEAR((double)declared(&p, "encoder.") / 1e6, 144.9, 0.05);
    CHECK_NEAR((double)declared(&p, "decoder.") / 1e6, 225.7, 0.05);
    CHECK(rlm_video_stride_t(&c) == 4 && rlm_video_stride_s(&c) == 8);
    rlm_video_free(&v);
    rlm_params_free(&p);
}

/* A decoder may be deeper than its encoder, level by level. */
static void decoders_have_their_own_depth(void)
{
    rlm_video_config c = small_haar();
    rlm_params p = {0};
    rlm_video *v;
    rlm_error err = {0};
    CHECK(!rlm_video_new(&v, &c, &p, &err));
    CHECK(rlm_params_find(&p, "decoder.level0.block1.conv0.weight") != NULL);
    CHECK(!rlm_params_find(&p, "decoder.level0.block2.conv0.weight"));
    CHECK(!rlm_params_find(&p, "encoder.level0.block1.conv0.weight"));
    CHECK(!rlm_params_find(&p, "decoder.level1.block1.conv0.weight"));
    rlm_video_free(&v);
    rlm_params_free(&p);
    c.decoder_blocks[1] = 65;
    CHECK(rlm_video_config_check(&c, &err) == RLM_E_RANGE);
    CHECK_HAS(err.text, "decoder_blocks[1] is 65");
}

static void paper_runs(void)
{
    if (!getenv("REELM_SLOW_TESTS"))
        TEST_SKIP("370 M parameters; set REELM_SLOW_TESTS");
    rlm_video_config c;
    rlm_video_config_paper(&c);
    bench b;
    CHECK(!bench_open(&b, &c, NULL));
    rlm_frames f = noise(5, 32, 32, 2);
    rlm_codes codes = encode(&b, &f);
    CHECK(codes.dims[0] == 2 && codes.dims[1] == 4 && codes.dims[2] == 4);
    rlm_frames back = decode(&b, &codes);
    CHECK(back.count == 5 && back.width == 32);
    rlm_free(back.rgb);
    rlm_codes_free(&codes);
    rlm_free(f.rgb);
    bench_close(&b);
}

/* The bundled network stays within 12 MB of bf16. */
static void default_size(void)
{
    rlm_video_config c;
    rlm_video_config_defaults(&c);
    rlm_params p = {0};
    rlm_video *v;
    rlm_error err;
    CHECK(!rlm_video_new(&v, &c, &p, &err));
    int64_t n = declared(&p, "");
    CHECK(n > 4000000 && n * 2 <= 12000000);
    CHECK(rlm_video_stride_t(&c) == 4 && rlm_video_stride_s(&c) == 8);
    rlm_video_free(&v);
    rlm_params_free(&p);
}

static void bad_config(void)
{
    rlm_video_config c;
    rlm_params p = {0};
    rlm_video *v;
    rlm_error err;
    rlm_video_config_defaults(&c);
    c.groups = 7;
    CHECK(rlm_video_new(&v, &c, &p, &err) == RLM_E_RANGE && !v);
    CHECK_HAS(err.text, "groups");
    rlm_video_config_defaults(&c);
    c.levels = 9;
    CHECK(rlm_video_config_check(&c, &err) == RLM_E_RANGE);
    CHECK_HAS(err.text, "levels");
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(causality);
    TEST_CASE(decoder_causality);
    TEST_CASE(image_is_one_frame);
    TEST_CASE(sizes);
    TEST_CASE(chunked_equals_whole);
    TEST_CASE(chunked_equals_whole_default);
    TEST_CASE(streamed_equals_whole);
    TEST_CASE(cancel);
    TEST_CASE(no_history);
    TEST_CASE(hostile_codes);
    TEST_CASE(pack_and_unpack);
    TEST_CASE(paper_size);
    TEST_CASE(decoders_have_their_own_depth);
    TEST_CASE(paper_runs);
    TEST_CASE(default_size);
    TEST_CASE(bad_config);
    return TEST_END();
}
