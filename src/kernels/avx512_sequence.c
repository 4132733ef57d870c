/* AVX-512: embeddings, rotary positions with normed queries and keys, and the two quantisers. */
#include <assert.h>

#include "src/kernels/avx512_rope.h"

/* ---- Embedding ----------------------------------------------------------------------------- */

typedef struct embedding_job {
    int c;
    bool accumulate;
    const int32_t *ids;
    const float *table;
    float *y;
} embedding_job;

static void embedding_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const embedding_job j = *(const embedding_job *)ctx;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        float *y = j.y + r * j.c;
        if (j.ids[r] < 0) {
            if (!j.accumulate)
                memset(y, 0, (size_t)j.c * sizeof(float));
        } else if (j.accumulate) {
            v_row_add(y, j.table + (int64_t)j.ids[r] * j.c, j.c);
        } else {
            v_row_copy(y, j.table + (int64_t)j.ids[r] * j.c, j.c);
        }
    }
}

static void embedding_forward(rlm_par *par, int64_t rows, int c, const int32_t *ids,
                              const float *table, float *y, bool accumulate)
{
    embedding_job j = {c, accumulate, ids, table, y};
    rlm_par_for(par, rows, v_row_grain(c), embedding_fn, &j);
}

/* ---- Rotary positions ---------------------------------------------------------------------- */

typedef struct rope_job {
    rlm_rope_shape s;
    const float *x, *gain, *angle;
    float *y, *rstd;
} rope_job;

static void rope_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rope_job *j = ctx;
    const rlm_rope_shape *s = &j->s;
    float sine[ROPE_MAX_DIM / 2], cosine[ROPE_MAX_DIM / 2];
    int half = s->dim / 2;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        rope_table(j->angle + r * half, half, sine, cosine);
        for (int h = 0; h < s->heads; h++) {
            int64_t at = r * s->stride + s->from + h * s->dim;
            float rstd =
                rope_head_forward(j->x + at, s->dim, s->eps, j->gain, sine, cosine, j->y + at);
            if (j->rstd)
                j->rstd[r * s->heads + h] = rstd;
        }
    }
}

static void rope_forward(rlm_par *par, const rlm_rope_shape *s, const float *x, const float *gain,
                         const float *angle, float *y, float *rstd)
{
    rope_job j = {*s, x, gain, angle, y, rstd};
    assert(s->dim <= ROPE_MAX_DIM);
    rlm_par_for(par, s->rows, v_row_grain((int64_t)s->heads * s->dim * 2), rope_fn, &j);
}

/* ---- Quantisers ---------------------------------------------------------------------------- */

typedef struct lfq_job {
    int bits;
    const float *z;
    float *q;
    int32_t *ids;
} lfq_job;

static void lfq_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const lfq_job j = *(const lfq_job *)ctx;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        uint32_t id = 0;
        for (int i = 0; i < j.bits; i += 16) {
            __mmask16 m = v_tail(j.bits - i);
            __mmask16 up = _mm512_mask_cmp_ps_mask(m, v_load(j.z + r * j.bits + i, m),
                                                   _mm512_setzero_ps(), _CMP_GT_OQ);
            v_store(j.q + r * j.bits + i, m, _mm512_mask_blend_ps(up, v_set(-1.0f), v_set(1.0f)));
            id |= (uint32_t)up << i;
        }
        if (j.ids)
            j.ids[r] = (int32_t)id;
    }
}

static void lfq_forward(rlm_par *par, int64_t rows, int bits, const float *z, float *q,
                        int32_t *ids)
{
    lfq_job j = {bits, z, q, ids};
    assert(bits < 32);
    rlm_par_for(par, rows, v_row_grain(32), lfq_fn, &j);
}

typedef struct nearest_job {
    rlm_par *par;
    int dim, codes;
    const float *x, *book;
    const float *turned; /* [codes/16][dim][16] */
    const float *half;   /* |c|^2 / 2; infinity past the end */
    float longest;       /* largest |c|^2 / 2 */
    int32_t *ids;
} nearest_job;

/* Lay 16 codes side by side, so that one vector holds one dimension of all of them. */
static void turn_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const nearest_job j = *(const nearest_job *)ctx;
    float *turned = (float *)j.turned, *half = (float *)j.half;
    __m512i lane =
        _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                           _mm512_set1_epi32(j.dim));
    (void)worker;
    for (int64_t b = begin; b < end; b++) {
        const float *code = j.book + b * 16 * j.dim;
        __mmask16 m = v_tail(j.codes - b * 16);
        __m512 sum = _mm512_setzero_ps();
        for (int d = 0; d < j.dim; d++) {
            __m512 v = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), m, lane, code + d, 4);
            _mm512_storeu_ps(turned + (b * j.dim + d) * 16, v);
            sum = _mm512_fmadd_ps(v, v, sum);
        }
        sum = _mm512_mask_mul_ps(v_set(INFINITY), m, sum, v_set(0.5f));
        _mm512_storeu_ps(half + b * 16, sum);
    }
}

/* Squared distance in double, in index order: decides between codes that f32 cannot separate. */
static double distance(const nearest_job *j, const float *x, int code)
{
    const float *c = j->book + (int64_t)code * j->dim;
    double sum = 0;
    for (int i = 0; i < j->dim; i++) {
        double d = (double)x[i] - c[i];
        sum += d * d;
    }
    return sum;
}

/* score = |c|^2 / 2 - x.c; among scores within f32's error of the best, the exact distances. */
static int32_t pick(const nearest_job *j, const float *x, const float *score)
{
    int padded = (j->codes + 15) / 16 * 16, best = 0;
    __m512 low = v_set(INFINITY), xx = _mm512_setzero_ps();
    for (int i = 0; i < padded; i += 16)
        low = _mm512_min_ps(low, _mm512_loadu_ps(score + i));
    for (int i = 0; i < j->dim; i += 16) {
        __m512 v = v_load(x + i, v_tail(j->dim - i));
        xx = _mm512_fmadd_ps(v, v, xx);
    }
    float slack = 4e-6f * (_mm512_reduce_add_ps(xx) + j->longest);
    __m512 bound = v_set(_mm512_reduce_min_ps(low) + slack);
    double closest = INFINITY;
    for (int i = 0; i < padded; i += 16) {
        __mmask16 m = _mm512_cmp_ps_mask(_mm512_loadu_ps(score + i), bound, _CMP_LE_OQ);
        for (; m; m &= (__mmask16)(m - 1)) {
            int code = i + __builtin_ctz(m);
            double d = code < j->codes ? distance(j, x, code) : INFINITY;
            if (d < closest) {
                closest = d;
                best = code;
            }
        }
    }
    return best;
}

enum { NEAREST_ROWS = 8 };

static void nearest_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const nearest_job *j = ctx;
    int blocks = (j->codes + 15) / 16;
    float *score =
        rlm_par_scratch(j->par, worker, 0, (size_t)blocks * 16 * NEAREST_ROWS * sizeof(float));
    for (int64_t r = begin; r < end; r += NEAREST_ROWS) {
        int rows = end - r < NEAREST_ROWS ? (int)(end - r) : NEAREST_ROWS;
        const float *x[NEAREST_ROWS];
        for (int i = 0; i < NEAREST_ROWS; i++)
            x[i] = j->x + (r + (i < rows ? i : 0)) * j->dim;
        for (int b = 0; b < blocks; b++) {
            const float *t = j->turned + (int64_t)b * j->dim * 16;
            __m512 acc[NEAREST_ROWS];
            for (int i = 0; i < NEAREST_ROWS; i++)
                acc[i] = _mm512_loadu_ps(j->half + b * 16);
            for (int d = 0; d < j->dim; d++) {
                __m512 c = _mm512_loadu_ps(t + d * 16);
                for (int i = 0; i < NEAREST_ROWS; i++)
                    acc[i] = _mm512_fnmadd_ps(c, v_set(x[i][d]), acc[i]);
            }
            for (int i = 0; i < NEAREST_ROWS; i++)
                _mm512_storeu_ps(score + (i * blocks + b) * 16, acc[i]);
        }
        for (int i = 0; i < rows; i++)
            j->ids[r + i] = pick(j, x[i], score + (int64_t)i * blocks * 16);
    }
}

static void nearest(rlm_par *par, int64_t rows, int dim, int codes, const float *x,
                    const float *book, int32_t *ids)
{
    int64_t blocks = (codes + 15) / 16;
    float *turned =
        rlm_par_scratch(par, 0, 3, (size_t)blocks * 16 * ((size_t)dim + 1) * sizeof(float));
    nearest_job j = {par, dim, codes, x, book, turned, turned + blocks * dim * 16, 0, ids};
    rlm_par_for(par, blocks, v_row_grain(dim * 64), turn_fn, &j);
    for (int i = 0; i < codes; i++)
        j.longest = j.half[i] > j.longest ? j.half[i] : j.longest;
    rlm_par_for(par, rows, NEAREST_ROWS, nearest_fn, &j);
}

void rlm_avx512_sequence(rlm_kernels *k)
{
    k->embedding_forward = embedding_forward;
    k->rope_forward = rope_forward;
    k->lfq_forward = lfq_forward;
    k->nearest = nearest;
}
