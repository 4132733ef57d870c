/* AVX: embeddings, rotary positions with normed queries and keys, and the two quantisers. */
#include <assert.h>

#include "src/kernels/avx_rope.h"

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
        for (int i = 0; i < j.bits; i += V_LANES) {
            v_mask m = v_tail(j.bits - i);
            v_flags up = v_above(v_load(j.z + r * j.bits + i, m), v_zero());
            v_store(j.q + r * j.bits + i, m, v_pick(up, v_set(-1.0f), v_set(1.0f)));
            id |= v_bits(up, m) << i;
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
    const float *turned; /* [blocks][dim][lanes] */
    const float *half;   /* |c|^2 / 2; infinity past the end */
    float longest;       /* largest |c|^2 / 2 */
    int32_t *ids;
} nearest_job;

/* Lay as many codes as lanes side by side, so that one vector holds one dimension of all of them.
 */
static void turn_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const nearest_job j = *(const nearest_job *)ctx;
    float *turned = (float *)j.turned, *half = (float *)j.half;
    (void)worker;
    for (int64_t b = begin; b < end; b++) {
        const float *code = j.book + b * V_LANES * j.dim;
        int n = j.codes - (int)b * V_LANES < V_LANES ? j.codes - (int)b * V_LANES : V_LANES;
        v_f32 sum = v_zero();
        for (int d = 0; d < j.dim; d++) {
            v_f32 v = v_gather(code + d, j.dim, v_tail(n));
            v_write(turned + (b * j.dim + d) * V_LANES, v);
            sum = v_fma(v, v, sum);
        }
        v_write(half + b * V_LANES, v_only(v_tail(n), v_set(INFINITY), v_mul(sum, v_set(0.5f))));
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
    int padded = (j->codes + V_LANES - 1) / V_LANES * V_LANES, best = 0;
    v_f32 low = v_set(INFINITY), xx = v_zero();
    for (int i = 0; i < padded; i += V_LANES)
        low = v_min(low, v_read(score + i));
    for (int i = 0; i < j->dim; i += V_LANES) {
        v_f32 v = v_load(x + i, v_tail(j->dim - i));
        xx = v_fma(v, v, xx);
    }
    float slack = 4e-6f * (v_sum(xx) + j->longest);
    float bound = nextafterf(v_least(low) + slack, INFINITY);
    double closest = INFINITY;
    for (int i = 0; i < padded; i += V_LANES) {
        v_flags close = v_above(v_set(bound), v_read(score + i));
        for (unsigned m = v_bits(close, V_ALL); m; m &= m - 1) {
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
    int blocks = (j->codes + V_LANES - 1) / V_LANES;
    float *score =
        rlm_par_scratch(j->par, worker, 0, (size_t)blocks * V_LANES * NEAREST_ROWS * sizeof(float));
    for (int64_t r = begin; r < end; r += NEAREST_ROWS) {
        int rows = end - r < NEAREST_ROWS ? (int)(end - r) : NEAREST_ROWS;
        const float *x[NEAREST_ROWS];
        for (int i = 0; i < NEAREST_ROWS; i++)
            x[i] = j->x + (r + (i < rows ? i : 0)) * j->dim;
        for (int b = 0; b < blocks; b++) {
            const float *t = j->turned + (int64_t)b * j->dim * V_LANES;
            v_f32 acc[NEAREST_ROWS];
            for (int i = 0; i < NEAREST_ROWS; i++)
                acc[i] = v_read(j->half + b * V_LANES);
            for (int d = 0; d < j->dim; d++) {
                v_f32 c = v_read(t + d * V_LANES);
                for (int i = 0; i < NEAREST_ROWS; i++)
                    acc[i] = v_fnma(c, v_set(x[i][d]), acc[i]);
            }
            for (int i = 0; i < NEAREST_ROWS; i++)
                v_write(score + (i * blocks + b) * V_LANES, acc[i]);
        }
        for (int i = 0; i < rows; i++)
            j->ids[r + i] = pick(j, x[i], score + (int64_t)i * blocks * V_LANES);
    }
}

static void nearest(rlm_par *par, int64_t rows, int dim, int codes, const float *x,
                    const float *book, int32_t *ids)
{
    int64_t blocks = (codes + V_LANES - 1) / V_LANES;
    float *turned =
        rlm_par_scratch(par, 0, 3, (size_t)blocks * V_LANES * ((size_t)dim + 1) * sizeof(float));
    nearest_job j = {par, dim, codes, x, book, turned, turned + blocks * dim * V_LANES, 0, ids};
    rlm_par_for(par, blocks, v_row_grain(dim * 64), turn_fn, &j);
    for (int i = 0; i < codes; i++)
        j.longest = j.half[i] > j.longest ? j.half[i] : j.longest;
    rlm_par_for(par, rows, NEAREST_ROWS, nearest_fn, &j);
}

void RLM_AVX(sequence)(rlm_kernels *k)
{
    k->embedding_forward = embedding_forward;
    k->rope_forward = rope_forward;
    k->lfq_forward = lfq_forward;
    k->nearest = nearest;
}
