/* Lanes: embeddings, rotary positions with normed queries and keys, and the lookup-free quantiser.
 */
#include <assert.h>

#include "src/kernels/lanes_rope.h"

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

void V_NAME(sequence)(rlm_kernels *k)
{
    k->embedding_forward = embedding_forward;
    k->rope_forward = rope_forward;
    k->lfq_forward = lfq_forward;
}
