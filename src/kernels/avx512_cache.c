/* AVX-512: the key/value cache. One step of generation is a stream over bf16 keys and values, each
 * read once; queries and sums stay f32. Long caches of few heads are cut into spans, whose partial
 * softmaxes are merged in order. */
#include <assert.h>

#include "src/kernels/avx512.h"

enum { CACHE_DIM = 256, CACHE_KEYS = 64, CACHE_SPAN = 256 };

typedef struct cache_job {
    rlm_cache_shape s;
    int spans, span; /* spans of a cache, keys in each */
    const float *q;
    const uint16_t *k, *v;
    float *y;
    float
        *part; /* [batch][rows][heads][spans][2 + dim] = max, sum, weighted values; NULL: 1 span */
} cache_job;

/* score[n] = scale * q . k over n keys. */
static void cache_scores(const float *q, const uint16_t *k, int n, int dim, float scale,
                         float *score)
{
    for (int i = 0; i < n; i += 4) {
        __m512 acc[4];
        for (int r = 0; r < 4; r++)
            acc[r] = _mm512_setzero_ps();
        int rows = n - i < 4 ? n - i : 4;
        for (int d = 0; d < dim; d += 16) {
            __mmask16 m = v_tail(dim - d);
            __m512 x = v_load(q + d, m);
            for (int r = 0; r < 4; r++) {
                int64_t row = i + (r < rows ? r : 0);
                acc[r] = _mm512_fmadd_ps(x, v_unbf16(k + row * dim + d, m), acc[r]);
            }
        }
        for (int r = 0; r < rows; r++)
            score[i + r] = _mm512_reduce_add_ps(acc[r]) * scale;
    }
}

/* acc[dim] += sum of w[i] * v[i]. */
static void cache_sum(const float *w, const uint16_t *v, int n, int dim, float *acc)
{
    for (int d = 0; d < dim; d += 64) {
        __mmask16 m[4];
        __m512 a[4];
        for (int c = 0; c < 4; c++) {
            m[c] = dim - d - 16 * c > 0 ? v_tail(dim - d - 16 * c) : 0;
            a[c] = v_load(acc + d + 16 * c, m[c]);
        }
        for (int i = 0; i < n; i++) {
            __m512 x = v_set(w[i]);
            for (int c = 0; c < 4; c++)
                a[c] = _mm512_fmadd_ps(x, v_unbf16(v + (int64_t)i * dim + d + 16 * c, m[c]), a[c]);
        }
        for (int c = 0; c < 4; c++)
            v_store(acc + d + 16 * c, m[c], a[c]);
    }
}

/* Running softmax over n more keys: state = max, sum; acc[dim]. */
static void cache_keys(const float *q, const uint16_t *k, const uint16_t *v, int n, int dim,
                       float scale, float state[2], float *acc)
{
    float score[CACHE_KEYS];
    __m512 top = v_set(state[0]), sum = _mm512_setzero_ps();
    cache_scores(q, k, n, dim, scale, score);
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = v_tail(n - i);
        top = _mm512_mask_max_ps(top, m, top, v_load(score + i, m));
    }
    float max = _mm512_reduce_max_ps(top);
    if (max > state[0] && state[1] > 0) {
        float shrink = expf(state[0] - max);
        state[1] *= shrink;
        for (int d = 0; d < dim; d += 16) {
            __mmask16 m = v_tail(dim - d);
            v_store(acc + d, m, _mm512_mul_ps(v_load(acc + d, m), v_set(shrink)));
        }
    }
    state[0] = max;
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = v_tail(n - i);
        __m512 e = v_exp(_mm512_sub_ps(v_load(score + i, m), v_set(max)));
        sum = _mm512_mask_add_ps(sum, m, sum, e);
        v_store(score + i, m, e);
    }
    state[1] += _mm512_reduce_add_ps(sum);
    cache_sum(score, v, n, dim, acc);
}

static void cache_finish(float *y, const float *acc, float sum, int dim)
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
    unsigned csr = v_flush_begin();
    for (int64_t item = begin; item < end; item++) {
        int64_t span = item % j->spans, row = item / j->spans % s->rows;
        int64_t head = item / j->spans / s->rows % s->heads;
        int64_t batch = item / j->spans / s->rows / s->heads, query = batch * s->rows + row;
        const float *q = j->q + query * s->q_stride + head * s->dim;
        int64_t cache = (batch * s->heads + head) * s->capacity * s->dim;
        int64_t from = span * j->span, to = from + j->span;
        to = to < s->seen[query] && span + 1 < j->spans ? to : s->seen[query];
        float acc[CACHE_DIM], state[2] = {-INFINITY, 0};
        memset(acc, 0, (size_t)s->dim * sizeof(float));
        for (int64_t i = from; i < to; i += CACHE_KEYS) {
            int n = to - i < CACHE_KEYS ? (int)(to - i) : CACHE_KEYS;
            cache_keys(q, j->k + cache + i * s->dim, j->v + cache + i * s->dim, n, s->dim, s->scale,
                       state, acc);
        }
        if (j->part) {
            float *part = j->part + ((query * s->heads + head) * j->spans + span) * (s->dim + 2);
            memcpy(part, state, sizeof state);
            memcpy(part + 2, acc, (size_t)s->dim * sizeof(float));
        } else {
            cache_finish(j->y + (query * s->heads + head) * s->dim, acc, state[1], s->dim);
        }
    }
    v_flush_end(csr);
}

/* Spans of one head of one query -> y. */
static void cache_merge(const cache_job *j, int64_t item)
{
    int dim = j->s.dim;
    const float *part = j->part + item * j->spans * (dim + 2);
    float acc[CACHE_DIM], max = -INFINITY, sum = 0;
    memset(acc, 0, sizeof acc);
    for (int i = 0; i < j->spans; i++)
        max = part[i * (dim + 2)] > max ? part[i * (dim + 2)] : max;
    for (int i = 0; i < j->spans; i++, part += dim + 2) {
        if (part[1] <= 0)
            continue;
        float w = expf(part[0] - max);
        sum += w * part[1];
        for (int d = 0; d < dim; d++)
            acc[d] += w * part[2 + d];
    }
    cache_finish(j->y + item * dim, acc, sum, dim);
}

static void attention_cached(rlm_par *par, const rlm_cache_shape *s, const float *q,
                             const uint16_t *k, const uint16_t *v, float *y)
{
    cache_job j = {.s = *s, .spans = 1, .span = s->capacity, .q = q, .k = k, .v = v, .y = y};
    int64_t items = (int64_t)s->batch * s->rows * s->heads;
    int most = 0;
    assert(s->dim <= CACHE_DIM);
    for (int i = 0; i < s->batch * s->rows; i++)
        most = s->seen[i] > most ? s->seen[i] : most;
    if (items <= 64 && most > 2 * CACHE_SPAN) {
        j.span = CACHE_SPAN;
        j.spans = (most + CACHE_SPAN - 1) / CACHE_SPAN;
        j.part =
            rlm_par_scratch(par, 0, 3, (size_t)items * (size_t)j.spans * (size_t)(s->dim + 2) * 4);
    }
    int keys = most < j.span ? most : j.span;
    rlm_par_for(par, items * j.spans, v_row_grain((int64_t)(keys + 1) * s->dim), cache_fn, &j);
    for (int64_t i = 0; j.part && i < items; i++)
        cache_merge(&j, i);
}

typedef struct store_job {
    rlm_cache_shape s;
    const float *x;
    int stride, from, at;
    uint16_t *cache;
} store_job;

/* Rounds to nearest even and keeps NaN and denormals, as rlm_bf16 does. */
static void store_row(const float *x, int dim, uint16_t *out)
{
    const __m512i one = _mm512_set1_epi32(1), half = _mm512_set1_epi32(0x7fff);
    for (int d = 0; d < dim; d += 16) {
        __mmask16 m = v_tail(dim - d);
        __m512 v = v_load(x + d, m);
        __m512i u = _mm512_castps_si512(v), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), one);
        __m512i r = _mm512_add_epi32(_mm512_add_epi32(u, half), odd);
        __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
        r = _mm512_mask_or_epi32(r, nan, u, _mm512_set1_epi32(0x400000));
        _mm256_mask_storeu_epi16(out + d, m, _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16)));
    }
}

static void store_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const store_job *j = ctx;
    const rlm_cache_shape *s = &j->s;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        int64_t batch = r / s->rows, place = j->at + r % s->rows;
        for (int64_t h = 0; h < s->heads; h++)
            store_row(j->x + r * j->stride + j->from + h * s->dim, s->dim,
                      j->cache + ((batch * s->heads + h) * s->capacity + place) * s->dim);
    }
}

static void cache_store(rlm_par *par, const rlm_cache_shape *s, const float *x, int stride,
                        int from, int at, uint16_t *cache)
{
    store_job j = {*s, x, stride, from, at, cache};
    rlm_par_for(par, (int64_t)s->batch * s->rows, v_row_grain((int64_t)s->heads * s->dim), store_fn,
                &j);
}

void rlm_avx512_cache(rlm_kernels *k)
{
    k->attention_cached = attention_cached;
    k->cache_store = cache_store;
}
