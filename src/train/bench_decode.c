/* Inference rows: reading a prefix and decoding, for every preset and kind of weights. The weights
 * are any bytes in the packing that a kernel reads; their values do not matter for time. */
#include <stdio.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/kernels/quant.h"
#include "src/train/bench.h"

enum { PREFIX = 24, DEPTH = 1500, CLIP = 1704, READ = 1280, LONGEST = 1792, MOST = 8 };

typedef struct decode_net {
    rlm_bench_state *b;
    rlm_lm_config config;
    rlm_params params;
    rlm_lm *lm;
    rlm_lm_cache *cache;
    rlm_weights weights, opened;  /* asked for; in `block` */
    uint8_t *block;               /* all weights */
    size_t block_bytes, streamed; /* streamed: matrices of the layers, read by every step */
    int batch, bits;              /* bits of the cache */
    int32_t ids[READ], pos[3 * READ];
    void (*run)(struct decode_net *n);
} decode_net;

/* ---- Weights -------------------------------------------------------------------------------- */

static size_t item_bytes(const decode_net *n, const rlm_param *item)
{
    int bits = rlm_params_quant_bits(item, n->weights);
    if (bits)
        return rlm_quant_bytes(bits, (int)item->shape[0], (int)item->shape[1]);
    if (n->weights == RLM_WEIGHTS_BF16 && rlm_params_in_half(item, n->b->run.k))
        return rlm_size_align((size_t)item->count * 2, RLM_ALIGN);
    if (item->packable && n->weights == RLM_WEIGHTS_BF16)
        return rlm_size_align(n->b->run.k->pack_bytes(&item->geom, false), RLM_ALIGN);
    return 0;
}

typedef struct fill_job {
    uint8_t *block;
    int bits; /* 0: numbers that are small in bf16 and f32 alike */
} fill_job;

static void fill_lines(void *ctx, int64_t begin, int64_t end, int worker)
{
    const fill_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        for (int w = 0; w < 8; w++) {
            uint64_t v = (uint64_t)(i * 8 + w + 1) * 0x9e3779b97f4a7c15u;
            v ^= v >> 29;
            if (!j->bits)
                v = (v & 0x80ff80ff80ff80ffu) | 0x3c003c003c003c00u;
            memcpy(j->block + i * 64 + w * 8, &v, 8);
        }
}

static void fill(const decode_net *n, uint8_t *at, size_t bytes, int bits)
{
    fill_job j = {at, bits};
    rlm_par_for(n->b->run.par, (int64_t)(bytes / 64), 1 << 14, fill_lines, &j);
    float scale = 1e-3f;
    uint16_t half = rlm_bf16(scale);
    for (size_t g = 0; bits && g < bytes; g += rlm_quant_block(bits))
        for (int c = 0; c < RLM_QUANT_COLUMNS; c++)
            bits == 8 ? memcpy(at + g + 4 * (size_t)c, &scale, 4)
                      : memcpy(at + g + 2 * (size_t)c, &half, 2);
}

/* One parameter into the block at `at`; returns the bytes it takes. */
static size_t place(decode_net *n, rlm_param *item, size_t at)
{
    size_t packed = item_bytes(n, item), plain = rlm_size_align((size_t)item->count * 4, RLM_ALIGN);
    int bits = rlm_params_quant_bits(item, n->weights);
    bool whole = !packed || item->shared;
    if (item->matrix && strstr(item->name, "layers."))
        n->streamed += packed ? packed : (size_t)item->count * 4;
    if (!n->block)
        return packed + (whole ? plain : 0);
    item->weight = (rlm_weight){0};
    if (packed) {
        bool half = !bits && rlm_params_in_half(item, n->b->run.k);
        fill(n, n->block + at, packed, bits);
        item->weight.pack = bits || half ? NULL : n->block + at;
        item->weight.half = half ? (const uint16_t *)(const void *)(n->block + at) : NULL;
        item->weight.quant = bits ? n->block + at : NULL;
        item->weight.bits = bits;
        at += packed;
    }
    if (whole) {
        fill(n, n->block + at, plain, 0);
        item->data = (float *)(void *)(n->block + at);
        item->weight.f32 = item->data;
    }
    return packed + (whole ? plain : 0);
}

static int open_weights(decode_net *n, rlm_error *err)
{
    if (n->opened == n->weights)
        return 0;
    rlm_free(n->block);
    n->block = NULL;
    n->opened = n->weights;
    for (int pass = 0; pass < 2; pass++) {
        size_t at = 0;
        n->streamed = 0;
        for (int i = 0; i < n->params.count; i++)
            at += place(n, n->params.items[i], at);
        n->block_bytes = at;
        if (!pass && !(n->block = rlm_alloc(at)))
            return rlm_fail(err, RLM_E_NOMEM, "bench: no memory for %zu bytes of weights", at);
    }
    return 0;
}

/* ---- Work ----------------------------------------------------------------------------------- */

static void run_once(void *ctx)
{
    decode_net *n = ctx;
    size_t mark = rlm_arena_mark(n->b->run.arena);
    n->run(n);
    rlm_arena_rewind(n->b->run.arena, mark);
}

static void read_prefix(decode_net *n)
{
    rlm_lm_cache_rewind(n->cache, 0, 0);
    rlm_lm_prefill(&n->b->run, n->lm, n->cache, 0, n->ids, n->pos, READ);
}

static void one_step(decode_net *n)
{
    for (int s = 0; s < n->batch; s++)
        rlm_lm_cache_blank(n->cache, s, DEPTH);
    rlm_lm_step(&n->b->run, n->lm, n->cache, n->ids, n->pos, NULL);
}

/* A clip as generation makes it: 1,280 video codes and 4 levels of 106 sound codes, drawn with
 * guidance when the batch is 2. */
static void whole_clip(decode_net *n)
{
    rlm_lm_sampling s = {
        .temperature = 1, .top_p = 0.95f, .cfg_scale = n->batch == 2 ? 1.5f : 1.0f, .seed = 1};
    for (int i = 0; i < n->batch; i++)
        rlm_lm_cache_blank(n->cache, i, PREFIX);
    int32_t video = n->config.specials, audio = video + (1 << n->config.video_bits), id = video;
    for (int i = 0; i < CLIP; i++) {
        int32_t ids[2] = {id, id}, pos[6] = {i / 256, i / 16 % 16, i % 16};
        memcpy(pos + 3, pos, 3 * sizeof *pos);
        rlm_lm_step(&n->b->run, n->lm, n->cache, ids, pos, NULL);
        bool sound = i >= 1280;
        id = rlm_lm_sample(&n->b->run, n->lm, rlm_lm_last_hidden(n->cache), n->batch, &s, i,
                           sound ? audio + (i - 1280) / 106 * 1024 : video,
                           sound ? 1024 : 1 << n->config.video_bits, NULL);
    }
}

/* ---- Rows ----------------------------------------------------------------------------------- */

/* Cache and scratch for `batch` sequences of the current run. */
static int prepare(decode_net *n, int batch, void (*run)(decode_net *), rlm_error *err)
{
    rlm_kernels empty;
    rlm_bench_state *b = n->b;
    const rlm_kernels *real = b->run.k;
    RLM_TRY(open_weights(n, err));
    n->batch = batch;
    n->run = run;
    n->bits = n->weights >= RLM_WEIGHTS_INT8 ? 8 : 16;
    rlm_lm_cache_free(&n->cache);
    RLM_TRY(rlm_lm_cache_new_as(&n->cache, n->lm, n->bits, batch, LONGEST, err));
    rlm_kernels_empty(&empty, real);
    b->run.k = &empty;
    b->run.arena->peak = b->run.arena->used;
    run_once(n);
    b->run.k = real;
    return rlm_arena_commit(b->run.arena, b->run.arena->peak, err);
}

static int step_row(decode_net *n, const char *preset, int batch, rlm_error *err)
{
    char name[96];
    const rlm_lm_config *c = &n->config;
    snprintf(name, sizeof name, "lm %s decode, batch %d, depth %d, %s", preset, batch, DEPTH,
             rlm_weights_name(n->weights));
    if (!rlm_bench_wants(n->b, name))
        return 0;
    RLM_TRY(prepare(n, batch, one_step, err));
    double row = (double)c->dim * n->bits / 8 + (n->bits == 8 ? 4.0 * c->heads : 0);
    double bytes = (double)n->streamed + 2.0 * c->layers * row * DEPTH * batch;
    rlm_bench_add(n->b, &(rlm_bench_row){.name = name,
                                         .seconds = rlm_bench_time(n->b, run_once, n),
                                         .bytes = bytes,
                                         .unit = "tokens",
                                         .units = batch});
    return 0;
}

static int clip_rows(decode_net *n, const char *preset, rlm_error *err)
{
    char name[96];
    for (int batch = 1; batch <= 2; batch++) {
        snprintf(name, sizeof name, "lm %s clip of %d, %s, %s", preset, CLIP,
                 batch == 2 ? "guided" : "unguided", rlm_weights_name(n->weights));
        if (!rlm_bench_wants(n->b, name))
            continue;
        RLM_TRY(prepare(n, batch, whole_clip, err));
        rlm_bench_add(n->b, &(rlm_bench_row){.name = name,
                                             .seconds = rlm_bench_time(n->b, run_once, n),
                                             .unit = "tokens",
                                             .units = CLIP});
    }
    return 0;
}

static int weight_rows(decode_net *n, const char *preset, rlm_error *err)
{
    char name[96];
    const rlm_lm_config *c = &n->config;
    double products = 4.0 * c->dim * c->dim + 3.0 * c->dim * c->ffn;
    bool large = c->dim >= 2048, small = c->dim < 1024;
    snprintf(name, sizeof name, "lm %s prefill %d, %s", preset, READ, rlm_weights_name(n->weights));
    if ((!large || n->weights == RLM_WEIGHTS_INT8) && rlm_bench_wants(n->b, name)) {
        RLM_TRY(prepare(n, 1, read_prefix, err));
        double attention = 4.0 * READ * READ * (double)c->dim * c->layers;
        rlm_bench_add(n->b, &(rlm_bench_row){.name = name,
                                             .seconds = rlm_bench_time(n->b, run_once, n),
                                             .flops = 2.0 * READ * c->layers * products + attention,
                                             .unit = "tokens",
                                             .units = READ});
    }
    for (int batch = 1; batch <= MOST; batch = batch == 2 ? MOST : batch * 2)
        RLM_TRY(step_row(n, preset, batch, err));
    /* A clip of the larger presets takes minutes a call and tells nothing that a step does not. */
    return !small || n->b->quick ? 0 : clip_rows(n, preset, err);
}

int rlm_bench_decode(rlm_bench_state *b, const char *preset, rlm_error *err)
{
    decode_net *n = rlm_calloc(1, sizeof *n);
    if (!n)
        return rlm_fail(err, RLM_E_NOMEM, "bench: no memory");
    n->b = b;
    rlm_lm_config_defaults(&n->config);
    rlm_lm_config_preset(&n->config, preset);
    for (int i = 0; i < READ; i++) {
        n->ids[i] = n->config.specials + i * 7919 % 262144;
        n->pos[3 * i] = i / 256;
        n->pos[3 * i + 1] = i / 16 % 16;
        n->pos[3 * i + 2] = i % 16;
    }
    int code = rlm_lm_new(&n->lm, &n->config, &n->params, err);
    for (int w = RLM_WEIGHTS_F32; w < RLM_WEIGHTS && !code; w++) {
        if (w == RLM_WEIGHTS_F32 && n->config.dim >= 2048)
            continue;
        n->weights = (rlm_weights)w;
        code = weight_rows(n, preset, err);
    }
    rlm_lm_cache_free(&n->cache);
    rlm_lm_free(&n->lm);
    rlm_params_free(&n->params);
    rlm_free(n->block);
    rlm_free(n);
    return code;
}
