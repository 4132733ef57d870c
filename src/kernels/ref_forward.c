/* Definition of the forward kernels, part 1: convolution, matrices, norms, elementwise. Plain C,
 * double accumulators, one output at a time, so the result never depends on the threads.
 * Part 2: ref_sequence.c. */
#include "src/kernels/ref_kernels.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"

#include "src/kernels/ref_common.h"

static size_t pack_bytes(const rlm_weight_geom *g, bool transposed)
{
    (void)g, (void)transposed;
    return 0;
}

static void pack(rlm_par *par, const rlm_weight_geom *g, const float *w, bool transposed, void *out)
{
    (void)par, (void)g, (void)w, (void)transposed, (void)out;
}

/* ---- Convolution --------------------------------------------------------------------------- */

typedef struct conv_job {
    const rlm_conv_shape *s;
    const float *x, *w, *bias, *residual;
    float *y;
} conv_job;

static double dot(int n, const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* The same, b in bf16. */
static double half_dot(int n, const float *a, const uint16_t *b)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * (double)rlm_unbf16(b[i]);
    return sum;
}

/* Sum over the taps of one output channel: w [kt][kh][kw][cin]. */
static double conv_point(const rlm_conv_shape *s, const float *x, const float *w, const int at[4])
{
    double sum = 0;
    for (int a = 0; a < s->kt; a++) {
        int t = at[1] * s->st - s->pt + a;
        for (int b = 0; b < s->kh && t >= 0 && t < s->t; b++) {
            int h = at[2] * s->sh - s->ph + b;
            for (int c = 0; c < s->kw && h >= 0 && h < s->h; c++) {
                int v = at[3] * s->sw - s->pw + c * s->dw;
                if (v < 0 || v >= s->w)
                    continue;
                int64_t in = (((int64_t)at[0] * s->t + t) * s->h + h) * s->w + v;
                int tap = (a * s->kh + b) * s->kw + c;
                sum += dot(s->cin, x + in * s->cin, w + (int64_t)tap * s->cin);
            }
        }
    }
    return sum;
}

static void conv_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const conv_job *j = ctx;
    const rlm_conv_shape *s = j->s;
    int64_t filter = (int64_t)s->kt * s->kh * s->kw * s->cin;
    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        int at[4] = {(int)(row / s->ow / s->oh / s->ot), (int)(row / s->ow / s->oh % s->ot),
                     (int)(row / s->ow % s->oh), (int)(row % s->ow)};
        for (int co = 0; co < s->cout; co++) {
            double y = conv_point(s, j->x, j->w + co * filter, at);
            y += j->bias ? j->bias[co] : 0;
            y += j->residual ? j->residual[row * s->cout + co] : 0;
            j->y[row * s->cout + co] = (float)y;
        }
    }
}

static void conv_forward(rlm_par *par, const rlm_conv_shape *s, const float *x, const rlm_weight *w,
                         const float *bias, const float *residual, float *y)
{
    conv_job j = {s, x, w->f32, bias, residual, y};
    rlm_par_for(par, (int64_t)s->n * s->ot * s->oh * s->ow, 1, conv_rows, &j);
}

/* ---- Matrices ------------------------------------------------------------------------------ */

typedef struct linear_job {
    int m, n, k;
    const float *x, *w;
    const uint16_t *half; /* NULL: the weight is w */
    const float *bias, *residual;
    float *y;
} linear_job;

static void linear_columns(void *ctx, int64_t begin, int64_t end, int worker)
{
    const linear_job *j = ctx;
    (void)worker;
    for (int64_t n = begin; n < end; n++) {
        for (int64_t m = 0; m < j->m; m++) {
            const float *x = j->x + m * j->k;
            double y =
                j->half ? half_dot(j->k, x, j->half + n * j->k) : dot(j->k, x, j->w + n * j->k);
            y += j->bias ? j->bias[n] : 0;
            y += j->residual ? j->residual[m * j->n + n] : 0;
            j->y[m * j->n + n] = (float)y;
        }
    }
}

static void linear_forward(rlm_par *par, int m, int n, int k, const float *x, const rlm_weight *w,
                           const float *bias, const float *residual, float *y)
{
    linear_job j = {m, n, k, x, w->f32, NULL, bias, residual, y};
    rlm_par_for(par, n, 16, linear_columns, &j);
}

static void linear_half(rlm_par *par, int m, int n, int k, const float *x, const uint16_t *w,
                        const float *bias, const float *residual, float *y)
{
    linear_job j = {m, n, k, x, NULL, w, bias, residual, y};
    rlm_par_for(par, n, 16, linear_columns, &j);
}

typedef struct gemm_job {
    bool ta, tb;
    int m, n, k;
    float alpha, beta;
    const float *a, *b;
    float *c;
} gemm_job;

static void gemm_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const gemm_job *j = ctx;
    int64_t m = j->m, n = j->n, k = j->k;
    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        for (int64_t col = 0; col < n; col++) {
            double sum = 0;
            for (int64_t i = 0; i < k; i++)
                sum += (double)j->a[j->ta ? i * m + row : row * k + i] *
                       j->b[j->tb ? col * k + i : i * n + col];
            float *c = j->c + row * n + col;
            *c = (float)(j->alpha * sum + (j->beta != 0 ? (double)j->beta * *c : 0));
        }
    }
}

static void gemm(rlm_par *par, bool ta, bool tb, int m, int n, int k, float alpha, const float *a,
                 const float *b, float beta, float *c)
{
    gemm_job j = {ta, tb, m, n, k, alpha, beta, a, b, c};
    rlm_par_for(par, m, 1, gemm_rows, &j);
}

/* ---- Norms --------------------------------------------------------------------------------- */

typedef struct rmsnorm_job {
    int c;
    const float *x, *gain;
    float eps, *y, *rstd;
} rmsnorm_job;

static void rmsnorm_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rmsnorm_job *j = ctx;
    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        const float *x = j->x + row * j->c;
        float *y = j->y + row * j->c;
        double r = 1.0 / sqrt(dot(j->c, x, x) / j->c + j->eps);
        for (int i = 0; i < j->c; i++)
            y[i] = (float)(x[i] * r * (j->gain ? j->gain[i] : 1.0f));
        if (j->rstd)
            j->rstd[row] = (float)r;
    }
}

static void rmsnorm_forward(rlm_par *par, int64_t rows, int c, const float *x, const float *gain,
                            float eps, float *y, float *rstd)
{
    rmsnorm_job j = {c, x, gain, eps, y, rstd};
    rlm_par_for(par, rows, 16, rmsnorm_rows, &j);
}

typedef struct groupnorm_job {
    const rlm_groupnorm_shape *s;
    const float *x, *gain, *bias;
    float *y, *stats;
} groupnorm_job;

/* One item = one group of one frame. */
static void groupnorm_groups(void *ctx, int64_t begin, int64_t end, int worker)
{
    const groupnorm_job *j = ctx;
    const rlm_groupnorm_shape *s = j->s;
    int width = s->c / s->groups;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        int first = (int)(item % s->groups) * width;
        int64_t base = item / s->groups * s->hw * s->c + first;
        double sum = 0, square = 0, count = (double)s->hw * width;
        for (int64_t p = 0; p < s->hw; p++)
            for (int c = 0; c < width; c++)
                sum += j->x[base + p * s->c + c];
        double mean = sum / count;
        for (int64_t p = 0; p < s->hw; p++) {
            for (int c = 0; c < width; c++) {
                double d = j->x[base + p * s->c + c] - mean;
                square += d * d;
            }
        }
        double rstd = 1.0 / sqrt(square / count + s->eps);
        for (int64_t p = 0; p < s->hw && j->y; p++) {
            for (int c = 0; c < width; c++) {
                int64_t at = base + p * s->c + c;
                double u = (j->x[at] - mean) * rstd;
                u = u * (j->gain ? j->gain[first + c] : 1) + (j->bias ? j->bias[first + c] : 0);
                j->y[at] = (float)ref_act(s->act, u);
            }
        }
        if (j->stats) {
            j->stats[2 * item] = (float)mean;
            j->stats[2 * item + 1] = (float)rstd;
        }
    }
}

static void groupnorm_forward(rlm_par *par, const rlm_groupnorm_shape *s, const float *x,
                              const float *gain, const float *bias, float *y, float *stats)
{
    groupnorm_job j = {s, x, gain, bias, y, stats};
    rlm_par_for(par, (int64_t)s->frames * s->groups, 1, groupnorm_groups, &j);
}

/* ---- Prepared convolution ------------------------------------------------------------------ */

typedef struct prepare_job {
    const rlm_prepare *p;
    const float *x;
    float *y;
} prepare_job;

static void prepare_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const prepare_job *j = ctx;
    const rlm_prepare *p = j->p;
    int c = p->norm.c;
    (void)worker;
    for (int64_t row = begin; row < end; row++)
        for (int i = 0; i < c; i++) {
            double u = j->x[row * c + i];
            if (p->stats) {
                int64_t item = row / p->norm.hw * p->norm.groups + i / (c / p->norm.groups);
                u = (u - p->stats[2 * item]) * p->stats[2 * item + 1];
                u = u * (p->gain ? p->gain[i] : 1) + (p->bias ? p->bias[i] : 0);
            }
            j->y[row * c + i] = (float)ref_act(p->norm.act, u);
        }
}

/* What a prepared convolution keeps here: x as it saw it, in f32. */
static size_t prepared_saved(const rlm_conv_shape *s)
{
    return (size_t)s->n * s->t * s->h * s->w * s->cin * sizeof(float);
}

static void prepared_forward(rlm_par *par, const rlm_conv_shape *s, const rlm_prepare *prepare,
                             const float *x, const rlm_weight *w, const float *bias,
                             const float *residual, float *y, void *saved)
{
    float *seen = saved ? saved : rlm_alloc(prepared_saved(s));
    if (!seen)
        abort();
    prepare_job j = {prepare, x, seen};
    rlm_par_for(par, (int64_t)prepare->norm.frames * prepare->norm.hw, 64, prepare_rows, &j);
    conv_forward(par, s, seen, w, bias, residual, y);
    if (!saved)
        rlm_free(seen);
}

/* ---- Elementwise --------------------------------------------------------------------------- */

typedef struct element_job {
    rlm_act act;
    float alpha;
    int c;
    const float *a, *b, *d;
    float *y;
} element_job;

static void act_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const element_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        j->y[i] = (float)ref_act(j->act, j->a[i]);
}

static void act_forward(rlm_par *par, rlm_act act, int64_t n, const float *x, float *y)
{
    element_job j = {.act = act, .a = x, .y = y};
    rlm_par_for(par, n, REF_GRAIN, act_slice, &j);
}

static void add_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const element_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        j->y[i] = j->a[i] + j->b[i];
}

static void add(rlm_par *par, int64_t n, const float *a, const float *b, float *y)
{
    element_job j = {.a = a, .b = b, .y = y};
    rlm_par_for(par, n, REF_GRAIN, add_slice, &j);
}

static void axpy_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const element_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        j->y[i] += j->alpha * j->a[i];
}

static void axpy(rlm_par *par, int64_t n, float alpha, const float *x, float *y)
{
    element_job j = {.alpha = alpha, .a = x, .y = y};
    rlm_par_for(par, n, REF_GRAIN, axpy_slice, &j);
}

static void scale_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const element_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        j->y[i] *= j->alpha;
}

static void scale(rlm_par *par, int64_t n, float alpha, float *y)
{
    element_job j = {.alpha = alpha, .y = y};
    rlm_par_for(par, n, REF_GRAIN, scale_slice, &j);
}

static void fill_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const element_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        j->y[i] = j->alpha;
}

static void fill(rlm_par *par, int64_t n, float value, float *y)
{
    element_job j = {.alpha = value, .y = y};
    rlm_par_for(par, n, 16 * REF_GRAIN, fill_slice, &j);
}

static void copy_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const element_job *j = ctx;
    (void)worker;
    memcpy(j->y + begin, j->a + begin, (size_t)(end - begin) * sizeof(float));
}

static void copy(rlm_par *par, int64_t n, const float *x, float *y)
{
    element_job j = {.a = x, .y = y};
    rlm_par_for(par, n, 16 * REF_GRAIN, copy_slice, &j);
}

static void modulate_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const element_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        j->y[i] = j->a[i] * (1.0f + j->b[i]) + j->d[i];
}

static void modulate_forward(rlm_par *par, int64_t n, const float *x, const float *scale,
                             const float *shift, float *y)
{
    element_job j = {.a = x, .b = scale, .d = shift, .y = y};
    rlm_par_for(par, n, REF_GRAIN, modulate_slice, &j);
}

static void swiglu_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const element_job *j = ctx;
    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        const float *gate = j->a + row * 2 * j->c, *up = gate + j->c;
        for (int i = 0; i < j->c; i++)
            j->y[row * j->c + i] = (float)(ref_act(RLM_ACT_SILU, gate[i]) * up[i]);
    }
}

static void swiglu_forward(rlm_par *par, int64_t rows, int c, const float *x, float *y)
{
    element_job j = {.c = c, .a = x, .y = y};
    rlm_par_for(par, rows, 8, swiglu_rows, &j);
}

typedef struct columns_job {
    int count, cx, from, cy, to;
    bool accumulate;
    const float *x;
    float *y;
} columns_job;

static void columns_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const columns_job *j = ctx;
    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        const float *x = j->x + row * j->cx + j->from;
        float *y = j->y + row * j->cy + j->to;
        for (int i = 0; i < j->count; i++)
            y[i] = j->accumulate ? y[i] + x[i] : x[i];
    }
}

static void columns(rlm_par *par, int64_t rows, int count, const float *x, int cx, int from,
                    float *y, int cy, int to, bool accumulate)
{
    columns_job j = {count, cx, from, cy, to, accumulate, x, y};
    rlm_par_for(par, rows, 64, columns_rows, &j);
}

void rlm_kernels_reference(rlm_kernels *k)
{
    k->pack_bytes = pack_bytes;
    k->pack = pack;
    k->conv_forward = conv_forward;
    k->linear_forward = linear_forward;
    k->linear_half = linear_half;
    k->gemm = gemm;
    k->rmsnorm_forward = rmsnorm_forward;
    k->groupnorm_forward = groupnorm_forward;
    k->prepared_forward = prepared_forward;
    k->prepared_saved = prepared_saved;
    k->act_forward = act_forward;
    k->add = add;
    k->axpy = axpy;
    k->scale = scale;
    k->fill = fill;
    k->copy = copy;
    k->modulate_forward = modulate_forward;
    k->swiglu_forward = swiglu_forward;
    k->columns = columns;
    rlm_kernels_reference_sequence(k);
    rlm_kernels_reference_spectrum(k);
    rlm_kernels_reference_quant(k);
}
