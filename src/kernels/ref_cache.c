/* The key and value cache, as it is defined: rounding on the way in, attention in double on the way
 * out. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "src/kernels/cache.h"
#include "src/kernels/ref_common.h"
#include "src/kernels/ref_kernels.h"

typedef struct cached_job {
    const rlm_cache_shape *s;
    const float *q;
    const void *cache;
    float *y;
} cached_job;

/* Key and value `at` of a head as they are in the cache. */
static void read_row(const rlm_cache_shape *s, uint8_t *head, int64_t at, double *k, double *v)
{
    const uint8_t *values = head + rlm_cache_key_bytes(s);
    const uint16_t *k16 = (const uint16_t *)(const void *)head;
    const uint16_t *v16 = (const uint16_t *)(const void *)values;
    const float *scales = rlm_cache_scales(s, head);
    for (int d = 0; d < s->dim; d++) {
        size_t i = rlm_cache_key_at(s, at, d), j = rlm_cache_value_at(s, at, d);
        if (s->bits == 8) {
            k[d] = (double)scales[at] * ((int)head[i] - 128);
            v[d] = (double)scales[rlm_cache_keys(s->capacity) + (size_t)at] * (int8_t)values[j];
        } else {
            k[d] = rlm_unbf16(k16[i]);
            v[d] = rlm_unbf16(v16[j]);
        }
    }
}

/* One query of one head: online softmax in double. */
static void one_query(const rlm_cache_shape *s, const float *q, uint8_t *head, int seen, float *y)
{
    double acc[REF_DIM] = {0}, k[REF_DIM], v[REF_DIM], max = -INFINITY, sum = 0;
    for (int64_t p = 0; p < seen; p++) {
        double score = 0;
        read_row(s, head, p, k, v);
        for (int c = 0; c < s->dim; c++)
            score += (double)q[c] * k[c];
        score *= (double)s->scale;
        double top = score > max ? score : max, shrink = exp(max - top), weight = exp(score - top);
        sum = sum * shrink + weight;
        for (int c = 0; c < s->dim; c++)
            acc[c] = acc[c] * shrink + weight * v[c];
        max = top;
    }
    for (int c = 0; c < s->dim; c++)
        y[c] = (float)(sum > 0 ? acc[c] / sum : 0);
}

/* One item = one query of one head: (batch * rows + row) * heads + head. */
static void cached_queries(void *ctx, int64_t begin, int64_t end, int worker)
{
    const cached_job *j = ctx;
    const rlm_cache_shape *s = j->s;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        int64_t row = item / s->heads, head = item % s->heads, batch = row / s->rows;
        one_query(s, j->q + row * s->q_stride + head * s->dim,
                  rlm_cache_head(s, j->cache, batch * s->heads + head), s->seen[row],
                  j->y + item * s->dim);
    }
}

static void attention_cached(rlm_par *par, const rlm_cache_shape *s, const float *q,
                             const void *cache, float *y)
{
    cached_job j = {s, q, cache, y};
    assert(s->dim <= REF_DIM);
    rlm_par_for(par, (int64_t)s->batch * s->rows * s->heads, 1, cached_queries, &j);
}

/* 8 bits of a row: q and its scale. */
static float round_row(const float *x, int n, int8_t *q)
{
    float top = 0;
    for (int i = 0; i < n; i++)
        top = !(fabsf(x[i]) <= top) ? fabsf(x[i]) : top;
    if (!isfinite(top)) {
        memset(q, 0, (size_t)n);
        return NAN;
    }
    float inverse = top >= 1e-30f ? 127.0f / top : 0.0f;
    for (int i = 0; i < n; i++)
        q[i] = (int8_t)rintf(x[i] * inverse);
    return top >= 1e-30f ? top / 127.0f : 0.0f;
}

static void store_row(const rlm_cache_shape *s, const float *k, const float *v, int64_t at,
                      uint8_t *head)
{
    uint8_t *values = head + rlm_cache_key_bytes(s);
    int8_t qk[REF_DIM], qv[REF_DIM];
    if (s->bits == 8) {
        float *scales = rlm_cache_scales(s, head);
        scales[at] = round_row(k, s->dim, qk);
        scales[rlm_cache_keys(s->capacity) + (size_t)at] = round_row(v, s->dim, qv);
    }
    for (int d = 0; d < s->dim; d++) {
        size_t i = rlm_cache_key_at(s, at, d), j = rlm_cache_value_at(s, at, d);
        if (s->bits == 8) {
            head[i] = (uint8_t)(qk[d] + 128);
            values[j] = (uint8_t)qv[d];
        } else {
            ((uint16_t *)(void *)head)[i] = rlm_bf16(k[d]);
            ((uint16_t *)(void *)values)[j] = rlm_bf16(v[d]);
        }
    }
}

typedef struct store_job {
    const rlm_cache_shape *s;
    const float *x;
    const int *at;
    void *cache;
} store_job;

/* Two rows may share a word of the cache: an item is one head of one sequence. */
static void store_heads(void *ctx, int64_t begin, int64_t end, int worker)
{
    const store_job *j = ctx;
    const rlm_cache_shape *s = j->s;
    int64_t width = (int64_t)s->heads * s->dim;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        int64_t batch = item / s->heads, head = item % s->heads;
        for (int64_t r = 0; r < s->rows; r++) {
            const float *k = j->x + (batch * s->rows + r) * s->q_stride + width + head * s->dim;
            store_row(s, k, k + width, j->at[batch] + r, rlm_cache_head(s, j->cache, item));
        }
    }
}

static void cache_store(rlm_par *par, const rlm_cache_shape *s, const float *x, const int *at,
                        void *cache)
{
    store_job j = {s, x, at, cache};
    int64_t work = (int64_t)s->rows * s->dim;
    assert(s->dim <= REF_DIM);
    rlm_par_for(par, (int64_t)s->batch * s->heads, 1 + REF_GRAIN / work, store_heads, &j);
}

void rlm_kernels_reference_cache(rlm_kernels *k)
{
    k->attention_cached = attention_cached;
    k->cache_store = cache_store;
}
