/* AVX2: attention to the key and value cache, eight keys or eight columns at once. */
#include <assert.h>

#include "src/kernels/avx.h"
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
    for (int i = 0; i < n; i += 8) {
        v_mask m = v_tail(n - i);
        __m256 e = v_exp(_mm256_sub_ps(v_load(score + i, m), v_set(max)));
        e = v_keep(m, e);
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

RLM_INLINE __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* Byte `i` of every 32-bit lane as a signed number. */
RLM_INLINE __m256 byte_of(__m256i x, int i)
{
    return _mm256_cvtepi32_ps(
        _mm256_srai_epi32(_mm256_sll_epi32(x, _mm_cvtsi32_si128(24 - 8 * i)), 24));
}

/* Half `i` of every lane as bf16. */
RLM_INLINE __m256 half_of(__m256i x, int i)
{
    return _mm256_castsi256_ps(i ? _mm256_and_si256(x, _mm256_set1_epi32((int)0xffff0000))
                                 : _mm256_slli_epi32(x, 16));
}

/* score[8] of the keys at `k` (half a block); q padded with zeros to the cache's width. */
static void eight_scores(const rlm_cache_shape *s, const float *q, const uint8_t *k, float *score)
{
    int width = (int)rlm_cache_width(s->dim), run = s->bits == 8 ? 4 : 2;
    const __m256i flip = _mm256_set1_epi8((char)0x80);
    __m256 sum = _mm256_setzero_ps();
    for (int d = 0; d < width; d += run, k += 64) {
        __m256i x = load(k);
        if (run == 4) {
            x = _mm256_xor_si256(x, flip);
            for (int i = 0; i < 4; i++)
                sum = _mm256_fmadd_ps(byte_of(x, i), v_set(q[d + i]), sum);
        } else {
            sum = _mm256_fmadd_ps(half_of(x, 0), v_set(q[d]), sum);
            sum = _mm256_fmadd_ps(half_of(x, 1), v_set(q[d + 1]), sum);
        }
    }
    _mm256_storeu_ps(score, sum);
}

/* acc += weights of `run` keys times their values, `count` of which are there. */
static void add_values(const rlm_cache_shape *s, const float *w, int count, const uint8_t *v,
                       float *acc)
{
    int run = s->bits == 8 ? 4 : 2;
    for (int d = 0; d < s->dim; d += 8) {
        v_mask m = v_tail(s->dim - d);
        __m256i x =
            _mm256_maskload_epi32((const int *)(const void *)(v + 4 * (size_t)d), v_lanes(m));
        __m256 sum = v_load(acc + d, m);
        for (int i = 0; i < run && i < count; i++)
            sum = _mm256_fmadd_ps(run == 4 ? byte_of(x, i) : half_of(x, i), v_set(w[i]), sum);
        v_store(acc + d, m, sum);
    }
}

/* n <= 64 keys from `from`, a multiple of 16. */
static void some_keys(const rlm_cache_shape *s, const float *q, uint8_t *head, int from, int n,
                      soft *o)
{
    float score[SOFT_KEYS];
    int run = s->bits == 8 ? 4 : 2;
    const float *scales = rlm_cache_scales(s, head) + from;
    const uint8_t *keys = head + rlm_cache_key_at(s, from, 0) * (s->bits == 8 ? 1 : 2);
    size_t block = 64 * rlm_cache_width(s->dim) / (size_t)run;
    for (int i = 0; i < n; i += 8)
        eight_scores(s, q, keys + (size_t)(i / 16) * block + (size_t)(i % 16) * 4, score + i);
    for (int i = 0; i < n; i++)
        score[i] *= s->scale * (run == 4 ? scales[i] : 1.0f);
    soft_weights(o, score, n, s->dim);
    for (int i = 0; i < n && run == 4; i++)
        score[i] *= scales[rlm_cache_keys(s->capacity) + (size_t)i];
    for (int i = 0; i < n; i += run)
        add_values(s, score + i, n - i,
                   head + rlm_cache_key_bytes(s) + (size_t)((from + i) / run) * (size_t)s->dim * 4,
                   o->acc);
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
        for (int p = 0; p < s->seen[row]; p += SOFT_KEYS)
            some_keys(s, q, region, p, s->seen[row] - p < SOFT_KEYS ? s->seen[row] - p : SOFT_KEYS,
                      &o);
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

void RLM_AVX(cache)(rlm_kernels *k)
{
    k->attention_cached = attention_cached;
}
