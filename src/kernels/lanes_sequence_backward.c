/* Lanes: gradients of embeddings and rotary positions. */
#include <assert.h>

#include "src/kernels/lanes_rope.h"

/* ---- Embedding ----------------------------------------------------------------------------- */

enum { EMBEDDING_COLUMNS = 64 };

typedef struct embedding_job {
    int64_t rows;
    int c;
    const int32_t *ids;
    const float *dy;
    float *dtable;
} embedding_job;

/* A slice is a range of columns: rows with the same id never meet in two threads. */
static void embedding_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const embedding_job j = *(const embedding_job *)ctx;
    (void)worker;
    for (int64_t r = 0; r < j.rows; r++) {
        if (j.ids[r] >= 0)
            v_row_add(j.dtable + (int64_t)j.ids[r] * j.c + begin, j.dy + r * j.c + begin,
                      end - begin);
    }
}

static void embedding_backward(rlm_par *par, int64_t rows, int c, const int32_t *ids,
                               const float *dy, float *dtable)
{
    embedding_job j = {rows, c, ids, dy, dtable};
    int64_t parts = rlm_par_threads(par), grain = (c + parts - 1) / parts;
    grain = (grain + EMBEDDING_COLUMNS - 1) / EMBEDDING_COLUMNS * EMBEDDING_COLUMNS;
    rlm_par_for(par, c, rows * c < RLM_GRAIN ? c : grain, embedding_fn, &j);
}

/* ---- Rotary positions ---------------------------------------------------------------------- */

typedef struct rope_job {
    rlm_rope_shape s;
    int64_t slice; /* rows */
    const float *x, *gain, *angle, *rstd, *dy;
    float *dx, *part; /* part [slices][dim] or NULL */
} rope_job;

/* One head: turn dy back (into turned[dim]), then through the norm. */
static void rope_head(const rope_job *j, int64_t at, float rstd, const float *sine,
                      const float *cosine, float *turned, float *part)
{
    int dim = j->s.dim, half = dim / 2;
    const float *x = j->x + at, *dy = j->dy + at;
    for (int i = 0; i < half; i += V_LANES) {
        v_mask m = v_tail(half - i);
        v_f32 a = v_load(dy + i, m), b = v_load(dy + half + i, m);
        v_f32 s = v_load(sine + i, m), c = v_load(cosine + i, m);
        v_store(turned + i, m, v_fma(a, c, v_mul(b, s)));
        v_store(turned + half + i, m, v_fms(b, c, v_mul(a, s)));
    }
    v_f32 dot = v_zero(), scale = v_set(rstd);
    for (int i = 0; i < dim; i += V_LANES) {
        v_mask m = v_tail(dim - i);
        v_f32 g = v_load(turned + i, m), v = v_load(x + i, m);
        if (part)
            v_store(part + i, m, v_fma(g, v_mul(v, scale), v_load(part + i, m)));
        if (j->gain)
            g = v_mul(g, v_load(j->gain + i, m));
        v_store(turned + i, m, g);
        dot = v_fma(g, v, dot);
    }
    if (!j->dx)
        return;
    v_f32 mean = v_set(v_sum(dot) / (float)dim * rstd * rstd);
    for (int i = 0; i < dim; i += V_LANES) {
        v_mask m = v_tail(dim - i);
        v_f32 g = v_fnma(v_load(x + i, m), mean, v_load(turned + i, m));
        v_store(j->dx + at + i, m, v_fma(g, scale, v_load(j->dx + at + i, m)));
    }
}

static void rope_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rope_job *j = ctx;
    const rlm_rope_shape *s = &j->s;
    float sine[ROPE_MAX_DIM / 2], cosine[ROPE_MAX_DIM / 2], turned[ROPE_MAX_DIM];
    int half = s->dim / 2;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        float *part = j->part ? j->part + i * s->dim : NULL;
        int64_t last = (i + 1) * j->slice < s->rows ? (i + 1) * j->slice : s->rows;
        if (part)
            memset(part, 0, (size_t)s->dim * sizeof(float));
        for (int64_t r = i * j->slice; r < last; r++) {
            rope_table(j->angle + r * half, half, sine, cosine);
            for (int h = 0; h < s->heads; h++)
                rope_head(j, r * s->stride + s->from + h * s->dim, j->rstd[r * s->heads + h], sine,
                          cosine, turned, part);
        }
    }
}

static void rope_backward(rlm_par *par, const rlm_rope_shape *s, const float *x, const float *gain,
                          const float *angle, const float *rstd, const float *dy, float *dx,
                          float *dgain)
{
    rope_job j = {*s, 32, x, gain, angle, rstd, dy, dx, NULL};
    int64_t slices = (s->rows + j.slice - 1) / j.slice;
    assert(s->dim <= ROPE_MAX_DIM);
    if (slices <= 0)
        return;
    if (dgain)
        j.part = rlm_par_scratch(par, 0, 3, (size_t)slices * (size_t)s->dim * sizeof(float));
    rlm_par_for(par, slices, v_row_grain((int64_t)s->heads * s->dim * j.slice * 4), rope_fn, &j);
    for (int i = 0; dgain && i < s->dim; i++) {
        double sum = 0;
        for (int64_t p = 0; p < slices; p++)
            sum += j.part[p * s->dim + i];
        dgain[i] += (float)sum;
    }
}

void V_NAME(sequence_backward)(rlm_kernels *k)
{
    k->embedding_backward = embedding_backward;
    k->rope_backward = rope_backward;
}
