/* Levels without VNNI: attention to the key and value cache, a lane a key or a column. */
#include <assert.h>

#include "src/kernels/lanes.h"
#include "src/kernels/cache.h"

/* ---- A softmax-weighted sum built block by block -------------------------------------------- */

enum { SOFT_DIM = 256, SOFT_KEYS = 64 };

typedef struct soft {
    float max, sum, acc[SOFT_DIM];
} soft;

/* Weights of n scores under the running maximum (in place), shrinking what was summed before. */
static void soft_weights(soft *o, float *score, int n, int dim)
{
    float max = o->max, shrink;
    for (int i = 0; i < n; i++)
        max = score[i] > max ? score[i] : max;
    if (max > o->max && o->sum > 0) {
        shrink = expf(o->max - max);
        o->sum *= shrink;
        for (int d = 0; d < dim; d++)
            o->acc[d] *= shrink;
    }
    o->max = max;
    for (int i = 0; i < n; i += V_LANES) {
        v_mask m = v_tail(n - i);
        v_f32 e = v_keep(m, v_exp(v_sub(v_load(score + i, m), v_set(max))));
        o->sum += v_sum(e);
        v_store(score + i, m, e);
    }
}

static void soft_finish(const soft *o, int dim, float *y)
{
    float scale = o->sum > 0 ? 1.0f / o->sum : 0.0f;
    for (int d = 0; d < dim; d++)
        y[d] = o->acc[d] * scale;
}

/* ---- Keys and values ------------------------------------------------------------------------ */

typedef struct cache_job {
    rlm_cache_shape s;
    const float *q;
    const void *cache;
    float *y;
} cache_job;

/* Keys or values that share a lane: 4 of 8 bits or 2 of 16, a constant where it counts. */
RLM_INLINE v_f32 part_of(int run, v_i32 x, int i)
{
    return run == 4 ? v_byte(x, i) : v_half(x, i);
}

enum { BLOCK = 16, VECTORS = BLOCK / V_LANES };

/* score [16] of the block of keys at k; q padded with zeros to the cache's width. */
RLM_INLINE void block_scores(int run, int width, const float *q, const uint8_t *k, float *score)
{
    v_f32 sum[VECTORS];
    for (int v = 0; v < VECTORS; v++)
        sum[v] = v_zero();
    for (int d = 0; d < width; d += run, k += 64)
        for (int v = 0; v < VECTORS; v++) {
            v_i32 x = v_load_i32(k + 4 * V_LANES * v, V_ALL);
            x = run == 4 ? v_flip(x) : x;
            for (int i = 0; i < run; i++)
                sum[v] = v_fma(part_of(run, x, i), v_set(q[d + i]), sum[v]);
        }
    for (int v = 0; v < VECTORS; v++)
        v_write(score + V_LANES * v, sum[v]);
}

enum { WIDE = 8 }; /* sums at once */

/* acc [.. wide vectors, of the last of which m counts] += weights of n keys times their values;
 * from one run of keys to the next there are `dim` lanes. */
RLM_INLINE void add_columns(int run, int wide, v_mask m, int dim, const float *w, int n,
                            const uint8_t *values, float *acc)
{
    v_f32 sum[WIDE];
    for (int v = 0; v < wide; v++)
        sum[v] = v_load(acc + V_LANES * v, v == wide - 1 ? m : V_ALL);
    for (int i = 0; i < n; i += run, values += 4 * (size_t)dim)
        for (int v = 0; v < wide; v++) {
            v_i32 x = v_load_i32(values + 4 * V_LANES * v, v == wide - 1 ? m : V_ALL);
            if (n - i >= run)
                for (int r = 0; r < run; r++)
                    sum[v] = v_fma(part_of(run, x, r), v_set(w[i + r]), sum[v]);
            else /* the keys behind are nobody's */
                for (int r = 0; r < n - i; r++)
                    sum[v] = v_fma(part_of(run, x, r), v_set(w[i + r]), sum[v]);
        }
    for (int v = 0; v < wide; v++)
        v_store(acc + V_LANES * v, v == wide - 1 ? m : V_ALL, sum[v]);
}

RLM_INLINE void add_values(int run, int dim, const float *w, int n, const uint8_t *values,
                           float *acc)
{
    int d = 0;
    for (; d + WIDE * V_LANES <= dim; d += WIDE * V_LANES)
        add_columns(run, WIDE, V_ALL, dim, w, n, values + 4 * (size_t)d, acc + d);
    for (; d < dim; d += V_LANES)
        add_columns(run, 1, v_tail(dim - d), dim, w, n, values + 4 * (size_t)d, acc + d);
}

/* n <= 64 keys from `from`, a multiple of 16. */
RLM_INLINE void some_keys(int run, const rlm_cache_shape *s, const float *q, uint8_t *head,
                          int from, int n, soft *o)
{
    float score[SOFT_KEYS];
    int width = (int)rlm_cache_width(s->dim);
    const float *scales = rlm_cache_scales(s, head) + from;
    const uint8_t *keys = head + rlm_cache_key_at(s, from, 0) * (run == 4 ? 1 : 2);
    for (int i = 0; i < n; i += BLOCK, keys += 64 * width / run)
        block_scores(run, width, q, keys, score + i);
    for (int i = 0; i < n; i++)
        score[i] *= s->scale * (run == 4 ? scales[i] : 1.0f);
    soft_weights(o, score, n, s->dim);
    for (int i = 0; i < n && run == 4; i++)
        score[i] *= scales[rlm_cache_keys(s->capacity) + (size_t)i];
    add_values(run, s->dim, score, n,
               head + rlm_cache_key_bytes(s) + (size_t)(from / run) * (size_t)s->dim * 4, o->acc);
}

/* One item: a head of a query, (batch * rows + row) * heads + head. */
static void cache_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const cache_job *j = ctx;
    const rlm_cache_shape *s = &j->s;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        int64_t row = item / s->heads, head = item % s->heads, batch = row / s->rows;
        uint8_t *region = rlm_cache_head(s, j->cache, batch * s->heads + head);
        float q[SOFT_DIM + 4] = {0};
        soft o = {.max = -INFINITY};
        memcpy(q, j->q + row * s->q_stride + head * s->dim, (size_t)s->dim * sizeof *q);
        for (int p = 0; p < s->seen[row]; p += SOFT_KEYS) {
            int n = s->seen[row] - p < SOFT_KEYS ? s->seen[row] - p : SOFT_KEYS;
            if (s->bits == 8)
                some_keys(4, s, q, region, p, n, &o);
            else
                some_keys(2, s, q, region, p, n, &o);
        }
        soft_finish(&o, s->dim, j->y + item * s->dim);
    }
}

static void attention_cached(rlm_par *par, const rlm_cache_shape *s, const float *q,
                             const void *cache, float *y)
{
    cache_job j = {*s, q, cache, y};
    assert(s->dim <= SOFT_DIM);
    rlm_par_for(par, (int64_t)s->batch * s->rows * s->heads, 1, cache_fn, &j);
}

void V_NAME(cache)(rlm_kernels *k)
{
    k->attention_cached = attention_cached;
}
