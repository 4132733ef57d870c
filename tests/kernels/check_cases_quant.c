/* The case table of the kernel check, third part: what generation alone uses. */
#include "tests/kernels/check_cases.h"

#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/kernels/cache.h"
#include "src/kernels/quant.h"

/* ---- Quantised weights ---------------------------------------------------------------------- */

static const int quant_shapes[][3] = {/* m n k */
                                      {1, 1, 1},    {1, 33, 65},   {2, 64, 128},  {3, 31, 257},
                                      {5, 65, 127}, {8, 96, 384},  {9, 17, 129},  {17, 40, 31},
                                      {7, 32, 640}, {40, 63, 192}, {130, 97, 130}};
static const int quant_bench[][3] = {
    {1, 1024, 4096}, {2, 1024, 4096}, {8, 1024, 4096}, {1280, 1024, 1024}};

static void run_quant(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->linear_quant(par, c->p[3], c->p[0], c->p[1], c->p[2], c->in[0], c->in[4], c->in[2], c->in[3],
                    c->out[0]);
}

/* in[4] = packing of in[1]. */
static void prepare_quant(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    int bits = c->p[3], n = c->p[1], depth = c->p[2];
    int8_t *q = rlm_alloc((size_t)n * (size_t)depth);
    float *scale = rlm_alloc((size_t)n * (size_t)rlm_quant_groups(bits, depth) * sizeof *scale);
    (void)k;
    rlm_quantise(par, bits, n, depth, c->in[1], q, scale);
    rlm_quant_pack(par, bits, n, depth, q, scale, c->in[4]);
    rlm_free(q);
    rlm_free(scale);
}

static void quant_case(check_case *c, const int *s, int variant)
{
    int bits = variant & 1 ? 4 : 8;
    bool bare = variant > 1;
    snprintf(c->name, sizeof c->name, "linear_quant %d bits m%d n%d k%d%s", bits, s[0], s[1], s[2],
             bare ? " bare" : "");
    c->class = CASE_QUANT;
    c->run = run_quant;
    c->prepare = prepare_quant;
    c->hostile = true;
    memcpy(c->p, s, 3 * sizeof *s);
    c->p[3] = bits;
    c->in_size[0] = (int64_t)s[0] * s[2];
    c->in_size[1] = (int64_t)s[1] * s[2];
    c->in_size[2] = bare ? 0 : s[1];
    c->in_size[3] = bare ? 0 : (int64_t)s[0] * s[1];
    c->in_size[4] = (int64_t)rlm_quant_bytes(bits, s[1], s[2]) / 4;
    c->out_size[0] = (int64_t)s[0] * s[1];
    c->out_row[0] = s[1];
}

/* in[4] = in[1] in bf16. */
static void run_half(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->linear_half(par, c->p[0], c->p[1], c->p[2], c->in[0],
                   (const uint16_t *)(const void *)c->in[4], c->in[2], c->in[3], c->out[0]);
}

static void prepare_half(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    uint16_t *half = (uint16_t *)(void *)c->in[4];
    (void)k, (void)par;
    for (int64_t i = 0; i < c->in_size[1]; i++)
        half[i] = rlm_bf16(c->in[1][i]);
}

static void half_case(check_case *c, const int *s, int variant)
{
    quant_case(c, s, variant ? 2 : 0);
    snprintf(c->name, sizeof c->name, "linear_half m%d n%d k%d%s", s[0], s[1], s[2],
             variant ? " bare" : "");
    c->class = CASE_PRODUCT;
    c->run = run_half;
    c->prepare = prepare_half;
    c->in_size[4] = (c->in_size[1] + 1) / 2;
}

/* ---- The halves of a transformer block ------------------------------------------------------ */

static const int block_shapes[][3] = {/* rows, heads of 32 or 64, hidden */
                                      {33, 2, 96},
                                      {64, 1, 32},
                                      {97, 3, 640},
                                      {300, 2, 3360}};
static const int block_bench[][3] = {{1280, 6, 640}, {1280, 16, 4096}};

/* A weight [n][k] in 16, 8 or 4 bits as fused kernels take it; free what `memory` receives. */
static rlm_weight weight_of(const rlm_kernels *k, rlm_par *par, int bits, int n, int depth,
                            const float *w, void **memory)
{
    rlm_weight out = {.f32 = w};
    rlm_weight_geom g = {n, 1, 1, 1, depth, 1};
    if (bits == 16) {
        size_t bytes = k->pack_bytes(&g, false);
        out.pack = *memory = bytes ? rlm_alloc(bytes) : NULL;
        if (out.pack)
            k->pack(par, &g, w, false, *memory);
        return out;
    }
    int8_t *q = rlm_alloc((size_t)n * (size_t)depth);
    float *scale = rlm_alloc((size_t)n * (size_t)rlm_quant_groups(bits, depth) * sizeof *scale);
    out.quant = *memory = rlm_alloc(rlm_quant_bytes(bits, n, depth));
    out.bits = bits;
    rlm_quantise(par, bits, n, depth, w, q, scale);
    rlm_quant_pack(par, bits, n, depth, q, scale, *memory);
    rlm_free(q);
    rlm_free(scale);
    return out;
}

/* y = residual + w x of what the weight stands for, in f32. */
static void run_dense(const rlm_kernels *k, rlm_par *par, int m, int n, int depth, const float *x,
                      const rlm_weight *w, const float *residual, float *y)
{
    rlm_weight plain = {.f32 = w->f32};
    float *f32 = w->quant ? rlm_alloc((size_t)n * (size_t)depth * sizeof *f32) : NULL;
    for (int i = 0; i < n && f32; i++)
        rlm_quant_row(w->bits, depth, w->quant, i, f32 + (int64_t)i * depth);
    if (f32)
        plain.f32 = f32;
    k->linear_forward(par, m, n, depth, x, &plain, NULL, residual, y);
    rlm_free(f32);
}

/* in: x, up or qkv weights, gain of the norm, down weights or gains of q and k with the angles. */
static void run_mlp(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    int rows = c->p[0], dim = c->p[1], ffn = c->p[2];
    void *memory[2] = {NULL, NULL};
    rlm_weight up = weight_of(k, par, c->p[3], 2 * ffn, dim, c->in[1], &memory[0]);
    rlm_weight down = weight_of(k, par, c->p[3], dim, ffn, c->in[3], &memory[1]);
    rlm_mlp_shape s = {rows, dim, ffn, 1e-6f};
    if (k->mlp_forward) {
        k->mlp_forward(par, &s, c->in[0], c->in[2], &up, &down, c->out[0]);
    } else {
        float *h = rlm_alloc((size_t)rows * (size_t)(dim + 3 * ffn) * sizeof *h);
        float *u = h + (size_t)rows * (size_t)dim, *v = u + (size_t)rows * (size_t)ffn * 2;
        k->rmsnorm_forward(par, rows, dim, c->in[0], c->in[2], 1e-6f, h, NULL);
        run_dense(k, par, rows, 2 * ffn, dim, h, &up, NULL, u);
        k->swiglu_forward(par, rows, ffn, u, v);
        run_dense(k, par, rows, dim, ffn, v, &down, c->in[0], c->out[0]);
        rlm_free(h);
    }
    rlm_free(memory[0]);
    rlm_free(memory[1]);
}

static void run_qkv(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    int rows = c->p[0], dim = c->p[1], head = c->p[4];
    void *memory = NULL;
    rlm_weight w = weight_of(k, par, c->p[3], 3 * dim, dim, c->in[1], &memory);
    const float *q_gain = c->in[3], *k_gain = q_gain + head, *angle = c->in[4];
    if (k->qkv_forward) {
        rlm_qkv_shape s = {rows, dim / head, head, 1e-6f, 1e-6f};
        k->qkv_forward(par, &s, c->in[0], c->in[2], &w, q_gain, k_gain, angle, c->out[0]);
    } else {
        rlm_rope_shape s = {rows, dim / head, head, 3 * dim, 0, 1e-6f};
        float *h = rlm_alloc((size_t)rows * (size_t)dim * sizeof *h);
        k->rmsnorm_forward(par, rows, dim, c->in[0], c->in[2], 1e-6f, h, NULL);
        run_dense(k, par, rows, 3 * dim, dim, h, &w, NULL, c->out[0]);
        k->rope_forward(par, &s, c->out[0], q_gain, angle, c->out[0], NULL);
        s.from = dim;
        k->rope_forward(par, &s, c->out[0], k_gain, angle, c->out[0], NULL);
        rlm_free(h);
    }
    rlm_free(memory);
}

/* variant: qkv, mlp in 16, 8 and 4 bits. */
static void block_case(check_case *c, const int *s, int variant)
{
    static const int bits[] = {16, 8, 4};
    bool mlp = variant & 1;
    int head = s[0] % 2 ? 32 : 64, dim = head * s[1];
    snprintf(c->name, sizeof c->name, "%s_forward %d bits rows%d dim%d hidden%d",
             mlp ? "mlp" : "qkv", bits[variant / 2], s[0], dim, s[2]);
    c->class = mlp || variant > 1 ? CASE_QUANT : CASE_SOFT;
    c->run = mlp ? run_mlp : run_qkv;
    c->hostile = true;
    c->calm = !mlp; /* angles */
    c->p[0] = s[0];
    c->p[1] = dim;
    c->p[2] = s[2];
    c->p[3] = bits[variant / 2];
    c->p[4] = head;
    c->in_size[0] = (int64_t)s[0] * dim;
    c->in_size[1] = (int64_t)(mlp ? 2 * s[2] : 3 * dim) * dim;
    c->in_size[2] = dim;
    c->in_size[3] = mlp ? (int64_t)s[2] * dim : 2 * head;
    c->in_size[4] = mlp ? 0 : (int64_t)s[0] * head / 2;
    c->out_size[0] = (int64_t)s[0] * (mlp ? dim : 3 * dim);
    c->out_row[0] = mlp ? dim : 3 * dim;
}

/* ---- The cache ------------------------------------------------------------------------------ */

static const int cached_shapes[][5] = {/* batch rows heads dim capacity */
                                       {1, 1, 1, 2, 3},      {2, 1, 2, 64, 70},  {1, 3, 2, 32, 65},
                                       {2, 5, 1, 128, 40},   {1, 1, 3, 48, 257}, {3, 1, 1, 6, 17},
                                       {1, 2, 2, 256, 1025}, {1, 1, 1, 33, 600}};
static const int cached_bench[][5] = {{1, 1, 6, 64, 1536}, {2, 1, 16, 64, 1536}};

/* Stores all rows by the table's own cache_store in two parts, then attends to them (variant 0:
 * bf16, 1: 8 bits) or gives the cache itself (2, 3). */
static void run_cached(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    rlm_cache_shape *s = &c->cache, fill = *s;
    size_t bytes = rlm_cache_head_bytes(s) * (size_t)(s->batch * s->heads);
    uint8_t *cache = c->ready ? c->ready : rlm_calloc(1, bytes);
    int at[4] = {0}, last[4];
    s->seen = c->seen;
    for (int n = 0; n < s->batch && !c->ready; n++) { /* each of its own length */
        const float *x = c->in[0] + (int64_t)n * s->capacity * s->q_stride;
        uint8_t *own = rlm_cache_head(s, cache, (int64_t)n * s->heads);
        last[0] = s->capacity - 1;
        fill.batch = 1;
        fill.rows = s->capacity - 1;
        k->cache_store(par, &fill, x, at, own);
        fill.rows = 1;
        k->cache_store(par, &fill, x + (int64_t)last[0] * s->q_stride, last, own);
    }
    if (c->p[0] < 2)
        k->attention_cached(par, s, c->in[1], cache, c->out[0]);
    for (int64_t i = 0; i < c->out_size[0] && c->p[0] > 1; i++)
        c->out[0][i] = cache[i];
    if (c->keep)
        c->ready = cache;
    else
        rlm_free(cache);
}

static void cached_case(check_case *c, const int *s, int variant)
{
    int width = s[2] * s[3], stride = 3 * width;
    c->cache = (rlm_cache_shape){.batch = s[0],
                                 .rows = s[1],
                                 .heads = s[2],
                                 .dim = s[3],
                                 .capacity = s[4],
                                 .q_stride = stride,
                                 .bits = variant % 2 ? 8 : 16,
                                 .scale = 0.125f};
    for (int i = 0; i < s[0] * s[1]; i++)
        c->seen[i] = s[4] - i % 3;
    snprintf(c->name, sizeof c->name, "%s %d bits b%d rows%d heads%d dim%d capacity%d",
             variant > 1 ? "cache_store" : "attention_cached", c->cache.bits, s[0], s[1], s[2],
             s[3], s[4]);
    c->p[0] = variant;
    c->class = variant > 1 ? CASE_EXACT : variant ? CASE_QUANT : CASE_SOFT;
    c->calm = variant < 2;
    c->hostile = variant == 2;
    c->run = run_cached;
    c->in_size[0] = (int64_t)s[0] * s[4] * stride;
    c->in_size[1] = (int64_t)s[0] * s[1] * stride;
    c->out_size[0] = (int64_t)s[0] * s[1] * width;
    if (variant > 1)
        c->out_size[0] = (int64_t)rlm_cache_head_bytes(&c->cache) * s[0] * s[2];
}

bool check_quant_case_at(walk *w, bool bench, check_case *c)
{
    GROUP(quant_shapes, quant_bench, bench ? 2 : 4, quant_case, ITEM);
    GROUP(quant_shapes, quant_bench, bench ? 1 : 2, half_case, ITEM);
    GROUP(block_shapes, block_bench, 6, block_case, ITEM);
    GROUP(cached_shapes, cached_bench, bench ? 2 : 4, cached_case, ITEM);
    return false;
}
