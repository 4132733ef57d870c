/* AVX-512: the key and value cache. A step of generation is one stream over keys and values in
 * the order of cache.h: every 64 bytes are one instruction, 16 keys or 16 columns wide, without a
 * sum across lanes. Caches are cut into spans of 256 keys, whose softmaxes are merged in order. */
#include <assert.h>

#include "src/kernels/avx512.h"
#include "src/kernels/cache.h"

enum { DIM = RLM_HEAD_DIM_MAX, SPAN = 256, AHEAD = 2048 };
#define LOG2E 1.44269504f

/* A query's part of a span. */
typedef struct span_sum {
    _Alignas(64) float acc[DIM];
    float max, sum; /* scores are in units of log 2 */
} span_sum;

typedef struct cache_job {
    rlm_cache_shape s;
    int spans;
    const float *q;
    const void *cache;
    float *y;
    span_sum *part; /* [batch][rows][heads][spans]; NULL: one span */
} cache_job;

/* ---- bf16 ----------------------------------------------------------------------------------- */

/* acc += products of pairs of bf16, one pair a lane. Compiled twice: without the instruction the
 * halves are floats with zeros below. */
RLM_INLINE __m512 dot_16(__m512 acc, __m512i a, __m512i b)
{
#ifdef RLM_BF16
    return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
#else
    const __m512i high = _mm512_set1_epi32((int)0xffff0000);
    acc = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(a, 16)),
                          _mm512_castsi512_ps(_mm512_slli_epi32(b, 16)), acc);
    return _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(a, high)),
                           _mm512_castsi512_ps(_mm512_and_si512(b, high)), acc);
#endif
}

/* score[16 * blocks] of keys in pairs; q: width / 2 pairs of bf16, already scaled. */
static void scores_16(const int32_t *q, const uint8_t *k, int n, int pairs, float *score)
{
    size_t block = (size_t)pairs * 64;
    for (int i = 0; i < n; i += 64, k += 4 * block) {
        int blocks = (n - i + 15) / 16 < 4 ? (n - i + 15) / 16 : 4;
        const uint8_t *at[4];
        __m512 a[4], b[4];
        for (int c = 0; c < 4; c++) {
            at[c] = k + (size_t)(c < blocks ? c : 0) * block;
            a[c] = b[c] = _mm512_setzero_ps();
        }
        for (int p = 0; p + 1 < pairs; p += 2) {
            __m512i q0 = _mm512_set1_epi32(q[p]);
            __m512i q1 = _mm512_set1_epi32(q[p + 1]);
            for (int c = 0; c < 4; c++) {
                const uint8_t *from = at[c] + (size_t)p * 64;
                _mm_prefetch((const char *)from + AHEAD, _MM_HINT_T0);
                _mm_prefetch((const char *)from + AHEAD + 64, _MM_HINT_T0);
                a[c] = dot_16(a[c], _mm512_loadu_si512(from), q0);
                b[c] = dot_16(b[c], _mm512_loadu_si512(from + 64), q1);
            }
        }
        for (int c = 0; c < blocks; c++)
            _mm512_storeu_ps(score + i + 16 * c, _mm512_add_ps(a[c], b[c]));
    }
}

/* acc[dim] += sum over n keys; p: weights in pairs of bf16. The half of a last pair that nobody
 * wrote may hold anything. */
static void weigh_16(const int32_t *p, const uint8_t *v, int n, int dim, float *acc)
{
    int pairs = n / 2;
    for (int d = 0; d < dim; d += 64) {
        __m512 a[4], b[4];
        __mmask16 m[4];
        for (int c = 0; c < 4; c++) {
            m[c] = v_left(dim - d - 16 * c);
            a[c] = v_load(acc + d + 16 * c, m[c]);
            b[c] = _mm512_setzero_ps();
        }
        const uint8_t *from = v + (size_t)d * 4;
        size_t row = (size_t)dim * 4;
        int i = 0;
        for (; i + 1 < pairs; i += 2, from += 2 * row) {
            __m512i p0 = _mm512_set1_epi32(p[i]);
            __m512i p1 = _mm512_set1_epi32(p[i + 1]);
            for (int c = 0; c < 4; c++) {
                const uint8_t *x = from + 64 * c;
                _mm_prefetch((const char *)x + AHEAD, _MM_HINT_T0);
                _mm_prefetch((const char *)x + AHEAD + row, _MM_HINT_T0);
                a[c] = dot_16(a[c], _mm512_maskz_loadu_epi32(m[c], x), p0);
                b[c] = dot_16(b[c], _mm512_maskz_loadu_epi32(m[c], x + row), p1);
            }
        }
        for (; i < (n + 1) / 2; i++, from += row) {
            __m512i keep = _mm512_set1_epi32(2 * i + 1 < n ? -1 : 0xffff);
            __m512i p0 = _mm512_set1_epi32(p[i]);
            for (int c = 0; c < 4; c++) {
                __m512i x = _mm512_maskz_loadu_epi32(m[c], from + 64 * c);
                a[c] = dot_16(a[c], _mm512_and_si512(x, keep), p0);
            }
        }
        for (int c = 0; c < 4; c++)
            v_store(acc + d + 16 * c, m[c], _mm512_add_ps(a[c], b[c]));
    }
}

/* ---- 8 bits --------------------------------------------------------------------------------- */

/* One row in 8 bits; returns its scale. */
static float round_8(const float *x, int n, int8_t *q)
{
    float most = v_top(x, n);
    bool fine = isfinite(most), tiny = most < 1e-30f;
    __m512 inverse = v_set(fine && !tiny ? 127.0f / most : 0.0f);
    for (int i = 0; i < n; i += 16) {
        __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(v_load(x + i, v_tail(n - i)), inverse));
        _mm_storeu_si128((__m128i *)(void *)(q + i),
                         fine ? _mm512_cvtsepi32_epi8(v) : _mm_setzero_si128());
    }
    return !fine ? NAN : tiny ? 0.0f : most / 127.0f;
}

/* A query in 8 bits: bytes, their sum, and its scale with the softmax's. */
typedef struct query_8 {
    int32_t quad[DIM / 4];
    int32_t sum;
    float scale;
} query_8;

static void scores_8(const query_8 *q, const uint8_t *k, const float *scales, int n, int quads,
                     float *score)
{
    size_t block = (size_t)quads * 64;
    for (int i = 0; i < n; i += 64, k += 4 * block) {
        int blocks = (n - i + 15) / 16 < 4 ? (n - i + 15) / 16 : 4;
        const uint8_t *at[4];
        __m512i a[4];
        for (int c = 0; c < 4; c++) {
            at[c] = k + (size_t)(c < blocks ? c : 0) * block;
            a[c] = _mm512_set1_epi32(-128 * q->sum);
        }
        for (int p = 0; p < quads; p++) {
            __m512i x = _mm512_set1_epi32(q->quad[p]);
            for (int c = 0; c < 4; c++) {
                const uint8_t *from = at[c] + (size_t)p * 64;
                _mm_prefetch((const char *)from + AHEAD, _MM_HINT_T0);
                a[c] = _mm512_dpbusd_epi32(a[c], _mm512_loadu_si512(from), x);
            }
        }
        for (int c = 0; c < blocks; c++) {
            __m512 f = _mm512_mul_ps(_mm512_loadu_ps(scales + i + 16 * c), v_set(q->scale));
            _mm512_storeu_ps(score + i + 16 * c, _mm512_mul_ps(_mm512_cvtepi32_ps(a[c]), f));
        }
    }
}

/* high, low [n] bytes of the weights times `one` (16 bits); n a multiple of 16. */
static void weigh_8(const int32_t *high, const int32_t *low, float one, const uint8_t *v, int n,
                    int dim, float *acc)
{
    for (int d = 0; d < dim; d += 64) {
        __m512i a[4], b[4];
        __mmask16 m[4];
        const uint8_t *from = v + (size_t)d * 4;
        for (int c = 0; c < 4; c++) {
            m[c] = v_left(dim - d - 16 * c);
            a[c] = b[c] = _mm512_setzero_si512();
        }
        for (int i = 0; i < (n + 3) / 4; i++, from += (size_t)dim * 4) {
            __m512i h = _mm512_set1_epi32(high[i]), l = _mm512_set1_epi32(low[i]);
            for (int c = 0; c < 4; c++) {
                _mm_prefetch((const char *)from + 64 * c + AHEAD, _MM_HINT_T0);
                __m512i x = _mm512_maskz_loadu_epi32(m[c], from + 64 * c);
                a[c] = _mm512_dpbusd_epi32(a[c], h, x);
                b[c] = _mm512_dpbusd_epi32(b[c], l, x);
            }
        }
        for (int c = 0; c < 4; c++) {
            __m512 s =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(a[c]), v_set(256.0f), _mm512_cvtepi32_ps(b[c]));
            float *to = acc + d + 16 * c;
            v_store(to, m[c], _mm512_fmadd_ps(s, v_set(one), v_load(to, m[c])));
        }
    }
}

/* Weights times the values' scales as 16-bit numbers in two planes of bytes; returns what one of
 * them is worth. */
static float split_weights(const float *p, const float *scales, int n, uint8_t *high, uint8_t *low)
{
    __m512 top = _mm512_setzero_ps();
    for (int i = 0; i < n; i += 16)
        top = _mm512_max_ps(top, _mm512_maskz_mul_ps(v_tail(n - i), _mm512_loadu_ps(p + i),
                                                     v_load(scales + i, v_tail(n - i))));
    float most = _mm512_reduce_max_ps(top), one = most / 65535.0f;
    __m512 inverse = v_set(most > 1e-30f ? 65535.0f / most : 0.0f);
    for (int i = 0; i < n; i += 16) {
        __m512 w = _mm512_maskz_mul_ps(v_tail(n - i), _mm512_loadu_ps(p + i),
                                       v_load(scales + i, v_tail(n - i)));
        __m512i u = _mm512_cvtps_epi32(_mm512_mul_ps(w, inverse));
        _mm_storeu_si128((__m128i *)(void *)(high + i),
                         _mm512_cvtepi32_epi8(_mm512_srli_epi32(u, 8)));
        _mm_storeu_si128((__m128i *)(void *)(low + i), _mm512_cvtepi32_epi8(u));
    }
    return one;
}

/* ---- A span --------------------------------------------------------------------------------- */

/* e^(score - max) in place and, if p is not NULL, as bf16; sets max and sum. Lanes past n become 0.
 */
static void softmax(float *score, int n, uint16_t *p, span_sum *o)
{
    __m512 top = v_set(-INFINITY), sum = _mm512_setzero_ps();
    for (int i = 0; i < n; i += 16)
        top = _mm512_mask_max_ps(top, v_tail(n - i), top, _mm512_loadu_ps(score + i));
    o->max = _mm512_reduce_max_ps(top);
    for (int i = 0; i < n; i += 16) {
        __m512 e = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(score + i), v_set(o->max)),
                                 v_set(1.0f / LOG2E));
        e = _mm512_maskz_mov_ps(v_tail(n - i), v_exp(e));
        sum = _mm512_add_ps(sum, e);
        _mm512_storeu_ps(score + i, e);
        if (p)
            v_store16(p + i, V_ALL, e);
    }
    o->sum = _mm512_reduce_add_ps(sum);
}

/* The first bytes of a stream that begins when another ends. */
static void ask(const uint8_t *p)
{
    for (int i = 0; i < AHEAD; i += 64)
        _mm_prefetch((const char *)p + i, _MM_HINT_T0);
}

static void span_16(const rlm_cache_shape *s, const float *q, uint8_t *head, int from, int n,
                    span_sum *o)
{
    _Alignas(64) float score[SPAN];
    _Alignas(64) uint16_t q16[DIM], p[SPAN];
    int width = (int)rlm_cache_width(s->dim);
    const uint8_t *keys = head + (size_t)from * (size_t)width * 2;
    const uint8_t *values = head + rlm_cache_key_bytes(s) + (size_t)from * (size_t)s->dim * 2;
    __m512 scale = v_set(s->scale * LOG2E);
    ask(keys);
    ask(values);
    for (int d = 0; d < width; d += 16) {
        __m512 x = _mm512_mul_ps(v_load(q + d, v_tail(s->dim - d)), scale);
        v_store16(q16 + d, V_ALL, x);
    }
    scores_16((const int32_t *)(const void *)q16, keys, n, width / 2, score);
    softmax(score, n, p, o);
    weigh_16((const int32_t *)(const void *)p, values, n, s->dim, o->acc);
}

static void span_8(const rlm_cache_shape *s, const float *q, uint8_t *head, int from, int n,
                   span_sum *o)
{
    _Alignas(64) float score[SPAN];
    _Alignas(64) uint8_t high[SPAN], low[SPAN];
    query_8 x = {.sum = 0};
    int width = (int)rlm_cache_width(s->dim);
    const float *scales = rlm_cache_scales(s, head) + from;
    const uint8_t *keys = head + (size_t)from * (size_t)width;
    const uint8_t *values = head + rlm_cache_key_bytes(s) + (size_t)from * (size_t)s->dim;
    ask(keys);
    ask(values);
    x.scale = round_8(q, s->dim, (int8_t *)x.quad) * s->scale * LOG2E;
    for (int d = 0; d < s->dim; d++)
        x.sum += ((const int8_t *)x.quad)[d];
    scores_8(&x, keys, scales, n, width / 4, score);
    softmax(score, n, NULL, o);
    float one = split_weights(score, scales + rlm_cache_keys(s->capacity), n, high, low);
    weigh_8((const int32_t *)(const void *)high, (const int32_t *)(const void *)low, one, values, n,
            s->dim, o->acc);
}

static void finish(float *y, const float *acc, float sum, int dim)
{
    for (int d = 0; d < dim; d += 16) {
        __mmask16 m = v_tail(dim - d);
        v_store(y + d, m, _mm512_mul_ps(v_load(acc + d, m), v_set(sum > 0 ? 1.0f / sum : 0.0f)));
    }
}

/* One item: a span of one head of one query. */
static void cache_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const cache_job *j = ctx;
    const rlm_cache_shape *s = &j->s;
    (void)worker;
    unsigned csr = rlm_flush_begin();
    for (int64_t item = begin; item < end; item++) {
        int64_t span = item % j->spans, row = item / j->spans % s->rows;
        int64_t head = item / j->spans / s->rows % s->heads;
        int64_t batch = item / j->spans / s->rows / s->heads, query = batch * s->rows + row;
        const float *q = j->q + query * s->q_stride + head * s->dim;
        uint8_t *region = rlm_cache_head(s, j->cache, batch * s->heads + head);
        int from = (int)span * SPAN, n = s->seen[query] - from;
        span_sum own, *o = j->part ? j->part + (query * s->heads + head) * j->spans + span : &own;
        memset(o, 0, sizeof *o);
        o->max = -INFINITY;
        n = n < SPAN ? n : SPAN;
        if (n > 0 && s->bits == 8)
            span_8(s, q, region, from, n, o);
        else if (n > 0)
            span_16(s, q, region, from, n, o);
        if (!j->part)
            finish(j->y + (query * s->heads + head) * s->dim, o->acc, o->sum, s->dim);
    }
    rlm_flush_end(csr);
}

/* Spans of one head of one query -> y. */
static void merge(const cache_job *j, int64_t item)
{
    int dim = j->s.dim;
    const span_sum *part = j->part + item * j->spans;
    _Alignas(64) float acc[DIM] = {0};
    float max = -INFINITY, sum = 0;
    for (int i = 0; i < j->spans; i++)
        max = part[i].max > max || isnan(part[i].max) ? part[i].max : max;
    for (int i = 0; i < j->spans; i++) {
        if (part[i].sum == 0)
            continue;
        float w = exp2f(part[i].max - max);
        sum += w * part[i].sum;
        for (int d = 0; d < dim; d += 16)
            _mm512_store_ps(acc + d, _mm512_fmadd_ps(v_set(w), _mm512_load_ps(part[i].acc + d),
                                                     _mm512_load_ps(acc + d)));
    }
    finish(j->y + item * dim, acc, sum, dim);
}

static void attention_cached(rlm_par *par, const rlm_cache_shape *s, const float *q,
                             const void *cache, float *y)
{
    cache_job j = {.s = *s, .spans = 1, .q = q, .cache = cache, .y = y};
    int64_t items = (int64_t)s->batch * s->rows * s->heads;
    int most = 0;
    assert(s->dim <= DIM);
    for (int i = 0; i < s->batch * s->rows; i++)
        most = s->seen[i] > most ? s->seen[i] : most;
    if (most > SPAN) {
        j.spans = (most + SPAN - 1) / SPAN;
        j.part = rlm_par_scratch(par, 0, 3, (size_t)items * (size_t)j.spans * sizeof *j.part);
    }
    int keys = most < SPAN ? most : SPAN;
    rlm_par_for(par, items * j.spans, v_row_grain((int64_t)(keys + 1) * s->dim), cache_fn, &j);
    for (int64_t i = 0; j.part && i < items; i++)
        merge(&j, i);
}

/* ---- Storing -------------------------------------------------------------------------------- */

typedef struct store_job {
    rlm_cache_shape s;
    const float *x;
    const int *at;
    void *cache;
} store_job;

static void store_16(const rlm_cache_shape *s, const float *k, const float *v, int at,
                     uint8_t *head)
{
    _Alignas(64) uint16_t row[DIM];
    int width = (int)rlm_cache_width(s->dim);
    uint8_t *keys = head + rlm_cache_key_at(s, at, 0) * 2;
    uint8_t *values = head + rlm_cache_key_bytes(s) + (size_t)(at / 2) * (size_t)s->dim * 4;
    for (int d = 0; d < width; d += 16)
        _mm256_store_si256((__m256i *)(void *)(row + d),
                           v_round16(v_load(k + d, v_tail(s->dim - d))));
    for (int p = 0; p < width / 2; p++)
        memcpy(keys + p * 64, row + 2 * p, 4);
    for (int d = 0; d < s->dim; d += 16) {
        __mmask16 m = v_tail(s->dim - d);
        __m512i x = _mm512_cvtepu16_epi32(v_round16(v_load(v + d, m)));
        __m512i old = _mm512_maskz_loadu_epi32(m, values + 4 * d);
        x = at % 2 ? _mm512_or_si512(_mm512_slli_epi32(x, 16),
                                     _mm512_and_si512(old, _mm512_set1_epi32(0xffff)))
                   : _mm512_or_si512(x, _mm512_andnot_si512(_mm512_set1_epi32(0xffff), old));
        _mm512_mask_storeu_epi32(values + 4 * d, m, x);
    }
}

/* 16 rows of q, k, v, `stride` floats apart, where a block of keys begins; dim a multiple of 32. */
static void store_16_block(const rlm_cache_shape *s, const float *k, const float *v, int64_t stride,
                           int at, uint8_t *head)
{
    uint8_t *keys = head + rlm_cache_key_at(s, at, 0) * 2;
    uint8_t *values = head + rlm_cache_key_bytes(s) + (size_t)(at / 2) * (size_t)s->dim * 4;
    for (int d = 0; d < s->dim; d += 32, keys += 16 * 64) {
        __m512i r[16];
        for (int i = 0; i < 16; i++) {
            __m256i lo = v_round16(_mm512_loadu_ps(k + i * stride + d));
            __m256i hi = v_round16(_mm512_loadu_ps(k + i * stride + d + 16));
            r[i] = _mm512_inserti64x4(_mm512_castsi256_si512(lo), hi, 1);
        }
        v_transpose16(r);
        for (int i = 0; i < 16; i++)
            _mm512_storeu_si512(keys + i * 64, r[i]);
    }
    for (int i = 0; i < 16; i += 2, values += 4 * s->dim)
        for (int d = 0; d < s->dim; d += 16) {
            const float *from = v + i * stride + d;
            __m512i lo = _mm512_cvtepu16_epi32(v_round16(_mm512_loadu_ps(from)));
            __m512i hi = _mm512_cvtepu16_epi32(v_round16(_mm512_loadu_ps(from + stride)));
            _mm512_storeu_si512(values + 4 * d, _mm512_or_si512(lo, _mm512_slli_epi32(hi, 16)));
        }
}

static void store_8(const rlm_cache_shape *s, const float *k, const float *v, int at, uint8_t *head)
{
    int8_t row[DIM] = {0};
    float *scales = rlm_cache_scales(s, head);
    uint8_t *keys = head + rlm_cache_key_at(s, at, 0);
    uint8_t *values = head + rlm_cache_key_bytes(s) + rlm_cache_value_at(s, at, 0);
    scales[at] = round_8(k, s->dim, row);
    for (int d = 0; d < s->dim; d++)
        keys[d / 4 * 64 + d % 4] = (uint8_t)(row[d] + 128);
    scales[rlm_cache_keys(s->capacity) + (size_t)at] = round_8(v, s->dim, row);
    for (int d = 0; d < s->dim; d++)
        values[4 * d] = (uint8_t)row[d];
}

/* Rows that follow each other share words: an item is a head of a sequence. */
static void store_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const store_job *j = ctx;
    const rlm_cache_shape *s = &j->s;
    int64_t width = (int64_t)s->heads * s->dim;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        int64_t batch = item / s->heads, head = item % s->heads;
        uint8_t *region = rlm_cache_head(s, j->cache, item);
        for (int r = 0; r < s->rows; r++) {
            const float *k = j->x + (batch * s->rows + r) * s->q_stride + width + head * s->dim;
            int at = j->at[batch] + r;
            if (s->bits == 8) {
                store_8(s, k, k + width, at, region);
            } else if (at % 16 == 0 && s->rows - r >= 16 && s->dim % 32 == 0) {
                store_16_block(s, k, k + width, s->q_stride, at, region);
                r += 15;
            } else {
                store_16(s, k, k + width, at, region);
            }
        }
    }
}

static void cache_store(rlm_par *par, const rlm_cache_shape *s, const float *x, const int *at,
                        void *cache)
{
    store_job j = {*s, x, at, cache};
    assert(s->dim <= DIM);
    rlm_par_for(par, (int64_t)s->batch * s->heads, v_row_grain((int64_t)s->rows * s->dim), store_fn,
                &j);
}

void V_NAME(cache)(rlm_kernels *k)
{
    k->attention_cached = attention_cached;
    k->cache_store = cache_store;
}
