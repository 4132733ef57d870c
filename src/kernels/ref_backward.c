/* Definition of the training kernels, part 1: gradients of convolution, matrices, norms and
 * elementwise operations. Every item of work gathers into outputs of its own, so the result never
 * depends on the threads. Part 2: ref_backward_sequence.c. */
#include "src/kernels/ref_kernels.h"

#include <stdlib.h>

#include "src/base/mem.h"

#include "src/kernels/conv_rows.h"
#include "src/kernels/ref_common.h"

/* ---- Convolution --------------------------------------------------------------------------- */

typedef struct conv_job {
    const rlm_conv_shape *s;
    const float *x, *dy, *w;
    float *dx, *dw, *dbias;
    bool add;
} conv_job;

/* Output place along one axis that reads input `in` through `tap`; -1: none. */
static int conv_reader(int in, int pad, int tap, int stride, int count)
{
    int at = in + pad - tap;
    return at >= 0 && at % stride == 0 && at / stride < count ? at / stride : -1;
}

/* acc[i] += sum over readers of dy * w, for input channels [first, first + width). */
static void data_point(const conv_job *j, const int at[4], int first, int width, double *acc)
{
    const rlm_conv_shape *s = j->s;
    int taps = s->kt * s->kh * s->kw;
    for (int tap = 0; tap < taps; tap++) {
        int t = conv_reader(at[1], s->pt, tap / s->kw / s->kh, s->st, s->ot);
        int h = conv_reader(at[2], s->ph, tap / s->kw % s->kh, s->sh, s->oh);
        int w = conv_reader(at[3], s->pw, tap % s->kw * s->dw, s->sw, s->ow);
        if (t < 0 || h < 0 || w < 0)
            continue;
        const float *dy =
            j->dy + ((((int64_t)at[0] * s->ot + t) * s->oh + h) * s->ow + w) * s->cout;
        for (int co = 0; co < s->cout; co++) {
            const float *filter = j->w + ((int64_t)co * taps + tap) * s->cin + first;
            for (int i = 0; i < width; i++)
                acc[i] += (double)dy[co] * filter[i];
        }
    }
}

static void data_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const conv_job *j = ctx;
    const rlm_conv_shape *s = j->s;
    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        int at[4] = {(int)(row / s->w / s->h / s->t), (int)(row / s->w / s->h % s->t),
                     (int)(row / s->w % s->h), (int)(row % s->w)};
        for (int first = 0; first < s->cin; first += REF_BLOCK) {
            int width = ref_min(REF_BLOCK, s->cin - first);
            double acc[REF_BLOCK] = {0};
            data_point(j, at, first, width, acc);
            for (int i = 0; i < width; i++)
                ref_add(j->dx + row * s->cin + first + i, acc[i], j->add);
        }
    }
}

static void conv_backward_data(rlm_par *par, const rlm_conv_shape *s, const float *dy,
                               const rlm_weight *w, float *dx, bool add)
{
    conv_job j = {.s = s, .dy = dy, .w = w->f32, .dx = dx, .add = add};
    rlm_par_for(par, (int64_t)s->n * s->t * s->h * s->w, 1, data_rows, &j);
}

/* acc[i] += sum over output places of dy[co] * x[tap's place][first + i]. */
static void weight_point(const conv_job *j, int co, int tap, int first, int width, double *acc)
{
    const rlm_conv_shape *s = j->s;
    int64_t rows = (int64_t)s->n * s->ot * s->oh * s->ow;
    for (int64_t row = 0; row < rows; row++) {
        int64_t n = row / s->ow / s->oh / s->ot;
        int t = (int)(row / s->ow / s->oh % s->ot) * s->st - s->pt + tap / s->kw / s->kh;
        int h = (int)(row / s->ow % s->oh) * s->sh - s->ph + tap / s->kw % s->kh;
        int w = (int)(row % s->ow) * s->sw - s->pw + tap % s->kw * s->dw;
        if (t < 0 || t >= s->t || h < 0 || h >= s->h || w < 0 || w >= s->w)
            continue;
        const float *x = j->x + (((n * s->t + t) * s->h + h) * s->w + w) * s->cin + first;
        double dy = j->dy[row * s->cout + co];
        for (int i = 0; i < width; i++)
            acc[i] += dy * x[i];
    }
}

/* One item = one tap of one output channel. */
static void weight_taps(void *ctx, int64_t begin, int64_t end, int worker)
{
    const conv_job *j = ctx;
    const rlm_conv_shape *s = j->s;
    int taps = s->kt * s->kh * s->kw;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        for (int first = 0; first < s->cin; first += REF_BLOCK) {
            int width = ref_min(REF_BLOCK, s->cin - first);
            double acc[REF_BLOCK] = {0};
            weight_point(j, (int)(item / taps), (int)(item % taps), first, width, acc);
            for (int i = 0; i < width; i++)
                j->dw[item * s->cin + first + i] += (float)acc[i];
        }
    }
}

typedef struct column_sum_job {
    int64_t rows;
    int c;
    const float *x;
    float *sum;
} column_sum_job;

static void column_sum_blocks(void *ctx, int64_t begin, int64_t end, int worker)
{
    const column_sum_job *j = ctx;
    (void)worker;
    for (int64_t block = begin; block < end; block++) {
        int first = (int)block * REF_BLOCK, width = ref_min(REF_BLOCK, j->c - first);
        double acc[REF_BLOCK] = {0};
        for (int64_t row = 0; row < j->rows; row++)
            for (int i = 0; i < width; i++)
                acc[i] += j->x[row * j->c + first + i];
        for (int i = 0; i < width; i++)
            j->sum[first + i] += (float)acc[i];
    }
}

/* sum[c] += over rows of x [rows][c]: the gradient of every bias. */
static void column_sum(rlm_par *par, int64_t rows, int c, const float *x, float *sum)
{
    column_sum_job j = {rows, c, x, sum};
    rlm_par_for(par, (c + REF_BLOCK - 1) / REF_BLOCK, 1, column_sum_blocks, &j);
}

static void conv_backward_weight(rlm_par *par, const rlm_conv_shape *s, const float *x,
                                 const float *dy, float *dw, float *dbias)
{
    conv_job j = {.s = s, .x = x, .dy = dy, .dw = dw};
    if (dw)
        rlm_par_for(par, (int64_t)s->cout * s->kt * s->kh * s->kw, 1, weight_taps, &j);
    if (dbias)
        column_sum(par, (int64_t)s->n * s->ot * s->oh * s->ow, s->cout, dy, dbias);
}

static void prepared_backward_weight(rlm_par *par, const rlm_conv_shape *s, const void *saved,
                                     const float *dy, float *dw, float *dbias)
{
    conv_backward_weight(par, s, saved, dy, dw, dbias);
}

static void linear_backward_data(rlm_par *par, int m, int n, int k, const float *dy,
                                 const rlm_weight *w, float *dx, bool add)
{
    rlm_conv_shape s = conv_of_linear(m, n, k);
    conv_backward_data(par, &s, dy, w, dx, add);
}

static void linear_backward_weight(rlm_par *par, int m, int n, int k, const float *x,
                                   const float *dy, float *dw, float *dbias)
{
    rlm_conv_shape s = conv_of_linear(m, n, k);
    conv_backward_weight(par, &s, x, dy, dw, dbias);
}

/* ---- Norms --------------------------------------------------------------------------------- */

typedef struct rmsnorm_job {
    int64_t rows;
    int c;
    const float *x, *gain, *rstd, *dy;
    float *dx, *dgain;
} rmsnorm_job;

/* y = x r g, r = (mean x^2 + eps)^-1/2:  dx = r (g dy - x r^2 mean(x g dy)). */
static void rmsnorm_data(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rmsnorm_job *j = ctx;
    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        const float *x = j->x + row * j->c, *dy = j->dy + row * j->c;
        double r = j->rstd[row], mean = 0;
        for (int i = 0; i < j->c; i++)
            mean += (double)x[i] * dy[i] * (j->gain ? j->gain[i] : 1.0f);
        mean /= j->c;
        for (int i = 0; i < j->c; i++) {
            double g = (double)dy[i] * (j->gain ? j->gain[i] : 1.0f);
            j->dx[row * j->c + i] += (float)(r * (g - x[i] * r * r * mean));
        }
    }
}

static void rmsnorm_gain(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rmsnorm_job *j = ctx;
    (void)worker;
    for (int64_t block = begin; block < end; block++) {
        int first = (int)block * REF_BLOCK, width = ref_min(REF_BLOCK, j->c - first);
        double acc[REF_BLOCK] = {0};
        for (int64_t row = 0; row < j->rows; row++) {
            int64_t at = row * j->c + first;
            for (int i = 0; i < width; i++)
                acc[i] += (double)j->dy[at + i] * j->x[at + i] * j->rstd[row];
        }
        for (int i = 0; i < width; i++)
            j->dgain[first + i] += (float)acc[i];
    }
}

static void rmsnorm_backward(rlm_par *par, int64_t rows, int c, const float *x, const float *gain,
                             const float *rstd, const float *dy, float *dx, float *dgain)
{
    rmsnorm_job j = {rows, c, x, gain, rstd, dy, dx, dgain};
    if (dx)
        rlm_par_for(par, rows, 16, rmsnorm_data, &j);
    if (dgain)
        rlm_par_for(par, (c + REF_BLOCK - 1) / REF_BLOCK, 1, rmsnorm_gain, &j);
}

typedef struct groupnorm_job {
    const rlm_groupnorm_shape *s;
    const float *x, *gain, *bias, *stats, *dy;
    float *dx, *dgain, *dbias;
    bool add;
} groupnorm_job;

/* xhat and d(before the activation) of one element of group `item`, channel c. */
static double groupnorm_slope(const groupnorm_job *j, int64_t item, int c, int64_t at, double *xhat)
{
    *xhat = ((double)j->x[at] - j->stats[2 * item]) * j->stats[2 * item + 1];
    double u = *xhat * (j->gain ? j->gain[c] : 1) + (j->bias ? j->bias[c] : 0);
    return j->dy[at] * ref_act_slope(j->s->act, u);
}

/* One item = one group of one frame. g = slope * gain: dx = rstd (g - mean g - xhat mean(g xhat)).
 */
static void groupnorm_data(void *ctx, int64_t begin, int64_t end, int worker)
{
    const groupnorm_job *j = ctx;
    const rlm_groupnorm_shape *s = j->s;
    int width = s->c / s->groups;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        int first = (int)(item % s->groups) * width;
        int64_t base = item / s->groups * s->hw * s->c + first;
        double xhat, mean = 0, along = 0, count = (double)s->hw * width;
        for (int64_t p = 0; p < s->hw; p++) {
            for (int c = 0; c < width; c++) {
                double g = groupnorm_slope(j, item, first + c, base + p * s->c + c, &xhat);
                g *= j->gain ? j->gain[first + c] : 1;
                mean += g;
                along += g * xhat;
            }
        }
        mean /= count;
        along /= count;
        for (int64_t p = 0; p < s->hw; p++) {
            for (int c = 0; c < width; c++) {
                int64_t at = base + p * s->c + c;
                double g = groupnorm_slope(j, item, first + c, at, &xhat);
                g *= j->gain ? j->gain[first + c] : 1;
                ref_add(j->dx + at, j->stats[2 * item + 1] * (g - mean - xhat * along), j->add);
            }
        }
    }
}

static void groupnorm_channels(void *ctx, int64_t begin, int64_t end, int worker)
{
    const groupnorm_job *j = ctx;
    const rlm_groupnorm_shape *s = j->s;
    int width = s->c / s->groups;
    (void)worker;
    for (int c = (int)begin; c < end; c++) {
        double gain = 0, bias = 0, xhat;
        for (int64_t row = 0; row < (int64_t)s->frames * s->hw; row++) {
            int64_t item = row / s->hw * s->groups + c / width;
            double g = groupnorm_slope(j, item, c, row * s->c + c, &xhat);
            gain += g * xhat;
            bias += g;
        }
        if (j->dgain)
            j->dgain[c] += (float)gain;
        if (j->dbias)
            j->dbias[c] += (float)bias;
    }
}

static void groupnorm_backward(rlm_par *par, const rlm_groupnorm_shape *s, const float *x,
                               const float *gain, const float *bias, const float *stats,
                               const float *dy, float *dx, float *dgain, float *dbias, bool add)
{
    groupnorm_job j = {s, x, gain, bias, stats, dy, dx, dgain, dbias, add};
    if (dx)
        rlm_par_for(par, (int64_t)s->frames * s->groups, 1, groupnorm_data, &j);
    if (dgain || dbias)
        rlm_par_for(par, s->c, 16, groupnorm_channels, &j);
}

static void prepared_backward_data(rlm_par *par, const rlm_conv_shape *s,
                                   const rlm_prepare *prepare, const float *x, const float *dy,
                                   const rlm_weight *w, float *dx, float *dgain, float *dbias,
                                   bool add, float *room)
{
    int64_t count = (int64_t)s->n * s->t * s->h * s->w * s->cin;
    if (prepare->stats) {
        conv_backward_data(par, s, dy, w, room, false);
        groupnorm_backward(par, &prepare->norm, x, prepare->gain, prepare->bias, prepare->stats,
                           room, dx, dgain, dbias, add);
        return;
    }
    float *dh = rlm_alloc((size_t)count * sizeof *dh);
    if (!dh)
        abort();
    conv_backward_data(par, s, dy, w, dh, false);
    for (int64_t i = 0; i < count; i++)
        ref_add(dx + i, dh[i] * ref_act_slope(prepare->norm.act, x[i]), add);
    rlm_free(dh);
}

/* ---- Elementwise --------------------------------------------------------------------------- */

typedef struct element_job {
    rlm_act act;
    int c;
    const float *x, *scale, *dy;
    float *dx, *dscale, *dshift;
    const bool *adds; /* to these three */
    bool add;
} element_job;

static void act_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const element_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        ref_add(j->dx + i, j->dy[i] * ref_act_slope(j->act, j->x[i]), j->add);
}

static void act_backward(rlm_par *par, rlm_act act, int64_t n, const float *x, const float *dy,
                         float *dx, bool add)
{
    element_job j = {.act = act, .x = x, .dy = dy, .dx = dx, .add = add};
    rlm_par_for(par, n, REF_GRAIN, act_slice, &j);
}

static void modulate_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const element_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        if (j->dx)
            ref_add(j->dx + i, j->dy[i] * (1.0f + j->scale[i]), j->adds[0]);
        if (j->dscale)
            ref_add(j->dscale + i, j->dy[i] * j->x[i], j->adds[1]);
        if (j->dshift)
            ref_add(j->dshift + i, j->dy[i], j->adds[2]);
    }
}

static void modulate_backward(rlm_par *par, int64_t n, const float *x, const float *scale,
                              const float *dy, float *dx, float *dscale, float *dshift,
                              const bool add[3])
{
    element_job j = {.x = x,
                     .scale = scale,
                     .dy = dy,
                     .dx = dx,
                     .dscale = dscale,
                     .dshift = dshift,
                     .adds = add};
    rlm_par_for(par, n, REF_GRAIN, modulate_slice, &j);
}

static void swiglu_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const element_job *j = ctx;
    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        const float *gate = j->x + row * 2 * j->c, *up = gate + j->c;
        float *dgate = j->dx + row * 2 * j->c, *dup = dgate + j->c;
        for (int i = 0; i < j->c; i++) {
            double dy = j->dy[row * j->c + i];
            ref_add(dgate + i, dy * up[i] * ref_act_slope(RLM_ACT_SILU, gate[i]), j->add);
            ref_add(dup + i, dy * ref_act(RLM_ACT_SILU, gate[i]), j->add);
        }
    }
}

static void swiglu_backward(rlm_par *par, int64_t rows, int c, const float *x, const float *dy,
                            float *dx, bool add)
{
    element_job j = {.c = c, .x = x, .dy = dy, .dx = dx, .add = add};
    rlm_par_for(par, rows, 8, swiglu_rows, &j);
}

void rlm_kernels_reference_backward(rlm_kernels *k)
{
    k->conv_backward_data = conv_backward_data;
    k->conv_backward_weight = conv_backward_weight;
    k->prepared_backward_data = prepared_backward_data;
    k->prepared_backward_weight = prepared_backward_weight;
    k->linear_backward_data = linear_backward_data;
    k->linear_backward_weight = linear_backward_weight;
    k->rmsnorm_backward = rmsnorm_backward;
    k->groupnorm_backward = groupnorm_backward;
    k->act_backward = act_backward;
    k->modulate_backward = modulate_backward;
    k->swiglu_backward = swiglu_backward;
    rlm_kernels_reference_backward_sequence(k);
}
