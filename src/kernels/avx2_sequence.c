/* AVX2 f32: attention over a sequence, nearest codes. */
#include <assert.h>

#include "src/kernels/avx2_soft.h"

/* ---- A sequence ---------------------------------------------------------------------------- */

typedef struct att_job {
    rlm_attention_shape s;
    const float *qkv;
    float *y, *lse;
} att_job;

static void att_keys(soft *o, const float *q, const float *k, const float *v, int64_t stride, int n,
                     int dim, float scale)
{
    float score[SOFT_KEYS];
    for (int i = 0; i < n; i++) {
        __m256 sum = _mm256_setzero_ps();
        for (int d = 0; d < dim; d += 8) {
            __m256i m = w_tail(dim - d);
            sum = _mm256_fmadd_ps(w_load(q + d, m), w_load(k + i * stride + d, m), sum);
        }
        score[i] = w_sum(sum) * scale;
    }
    soft_weights(o, score, n, dim);
    for (int d = 0; d < dim; d += 8) {
        __m256i m = w_tail(dim - d);
        __m256 acc = w_load(o->acc + d, m);
        for (int i = 0; i < n; i++)
            acc = _mm256_fmadd_ps(w_set(score[i]), w_load(v + i * stride + d, m), acc);
        w_store(o->acc + d, m, acc);
    }
}

/* One item: a query of a head, (batch * heads + head) * len + i. */
static void att_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const att_job *j = ctx;
    const rlm_attention_shape *s = &j->s;
    int64_t width = (int64_t)s->heads * s->dim, stride = 3 * width;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        int i = (int)(item % s->len);
        int64_t head = item / s->len % s->heads, batch = item / s->len / s->heads;
        int seen = i + 1 > s->prefix[batch] ? i + 1 : s->prefix[batch];
        seen = seen < s->length[batch] ? seen : s->length[batch];
        const float *rows = j->qkv + batch * s->len * stride + head * s->dim;
        const float *k = rows + width, *v = k + width;
        soft o = {.max = -INFINITY};
        for (int p = 0; p < seen; p += SOFT_KEYS)
            att_keys(&o, rows + i * stride, k + p * stride, v + p * stride, stride,
                     seen - p < SOFT_KEYS ? seen - p : SOFT_KEYS, s->dim, s->scale);
        soft_finish(&o, s->dim, j->y + (batch * s->len + i) * width + head * s->dim);
        if (j->lse)
            j->lse[item] = o.sum > 0 ? o.max + logf(o.sum) : 0;
    }
}

static void attention_forward(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                              float *y, float *lse)
{
    att_job j = {*s, qkv, y, lse};
    assert(s->dim <= SOFT_DIM);
    rlm_par_for(par, (int64_t)s->batch * s->heads * s->len, 16, att_fn, &j);
}

/* ---- Nearest codes ------------------------------------------------------------------------- */

typedef struct nearest_job {
    int dim, codes;
    const float *x, *book;
    int32_t *ids;
} nearest_job;

/* f32 distances sort out nearly all codes; those within rounding of the best are decided in
 * double, in index order. */
static double exact(const float *x, const float *c, int dim)
{
    double sum = 0;
    for (int i = 0; i < dim; i++) {
        double d = (double)x[i] - c[i];
        sum += d * d;
    }
    return sum;
}

static void nearest_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const nearest_job j = *(const nearest_job *)ctx;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        const float *x = j.x + r * j.dim;
        double best = INFINITY;
        j.ids[r] = 0;
        for (int code = 0; code < j.codes; code++) {
            const float *c = j.book + (int64_t)code * j.dim;
            __m256 sum = _mm256_setzero_ps();
            for (int i = 0; i < j.dim; i += 8) {
                __m256i m = w_tail(j.dim - i);
                __m256 d = _mm256_sub_ps(w_load(x + i, m), w_load(c + i, m));
                sum = _mm256_fmadd_ps(d, d, sum);
            }
            if ((double)w_sum(sum) > best * (1 + 1e-4))
                continue;
            double d = exact(x, c, j.dim);
            if (d < best) {
                best = d;
                j.ids[r] = code;
            }
        }
    }
}

static void nearest(rlm_par *par, int64_t rows, int dim, int codes, const float *x,
                    const float *book, int32_t *ids)
{
    nearest_job j = {dim, codes, x, book, ids};
    rlm_par_for(par, rows, 1, nearest_fn, &j);
}

void rlm_avx2_sequence(rlm_kernels *k)
{
    k->attention_forward = attention_forward;
    k->nearest = nearest;
}
