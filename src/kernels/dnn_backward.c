/* oneDNN overlay, training half: gradients of linear layers and convolutions in bf16 with f32 sums
 * over slices. A linear layer is a 1x1x1 convolution here. No two slices write the same element. */
#include "src/kernels/dnn.h"

#include "src/kernels/conv_rows.h"

typedef struct grad_job {
    rlm_par *par;
    const rlm_conv_shape *s;
    int rows;         /* positions of a slice */
    int down, across; /* blocks of output and input channels */
    const uint16_t *x, *dy, *w;
    float *dx, *dw;
    bool add;
} grad_job;

/* ---- Data ---------------------------------------------------------------------------------- */

/* patch [count][taps * cout, padded]: the output rows that read input rows from `row`. */
static void gather_readers(const rlm_conv_shape *s, const uint16_t *dy, int64_t row, int count,
                           uint16_t *patch)
{
    int taps = conv_taps(s), width = taps * s->cout, padded = rlm_dnn_pad(width);
    conv_walk k = conv_readers(s);
    conv_place p = conv_place_of(&k, row);
    for (int i = 0; i < count; i++, conv_next(&k, &p)) {
        for (int tap = 0; tap < taps; tap++, patch += s->cout) {
            int64_t from = conv_row(&k, &p, conv_tap_of(&k, tap));
            if (from < 0)
                memset(patch, 0, (size_t)s->cout * sizeof *patch);
            else
                memcpy(patch, dy + from * s->cout, (size_t)s->cout * sizeof *patch);
        }
        memset(patch, 0, (size_t)(padded - width) * sizeof *patch);
        patch += padded - width;
    }
}

static void data_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const grad_job *j = ctx;
    const rlm_conv_shape *s = j->s;
    int padded = rlm_dnn_pad((int64_t)conv_taps(s) * s->cout);
    int64_t total = conv_rows_in(s);
    uint16_t *patch = rlm_par_scratch(j->par, worker, 0, (size_t)j->rows * padded * 2);
    float *part = rlm_par_scratch(j->par, worker, 1, (size_t)j->rows * s->cin * sizeof(float));
    for (int64_t slice = begin; slice < end; slice++) {
        int64_t row = slice * j->rows;
        int count = total - row < j->rows ? (int)(total - row) : j->rows;
        gather_readers(s, j->dy, row, count, patch);
        rlm_dnn_product p = {false, true, count, s->cin, padded, padded, patch, j->w, part};
        rlm_dnn_multiply(j->par, worker, &p);
        for (int64_t i = 0; i < (int64_t)count * s->cin; i++)
            j->dx[row * s->cin + i] = j->add ? j->dx[row * s->cin + i] + part[i] : part[i];
    }
}

static void conv_backward_data(rlm_par *par, const rlm_conv_shape *s, const float *dy,
                               const rlm_weight *w, float *dx, bool add)
{
    if (!w->pack_t) {
        rlm_blas_conv_backward_data(par, s, dy, w, dx, add);
        return;
    }
    int64_t rows = conv_rows_in(s);
    int block = 2 * rlm_blas_rows((int64_t)conv_taps(s) * s->cout);
    const uint16_t *rounded = rlm_dnn_rounded(par, conv_rows_out(s) * s->cout, dy, 0);
    grad_job j = {
        .par = par, .s = s, .rows = block, .dy = rounded, .w = w->pack_t, .dx = dx, .add = add};
    rlm_par_for(par, (rows + block - 1) / block, 1, data_slice, &j);
}

static void linear_backward_data(rlm_par *par, int m, int n, int k, const float *dy,
                                 const rlm_weight *w, float *dx, bool add)
{
    rlm_conv_shape s = conv_of_linear(m, n, k);
    conv_backward_data(par, &s, dy, w, dx, add);
}

/* ---- Weight -------------------------------------------------------------------------------- */

enum { BLOCK = 256, DEPTH = 512 }; /* channels of a tile of dw; positions summed in one product */

/* One tile of dw: tap, output channels [co, co + m), input channels [ci, ci + n). */
typedef struct tile {
    int tap, co, m, ci, n;
} tile;

/* a [DEPTH][m], b [DEPTH][n] of output rows from `row`; rows past the end are zeros. */
static void gather_tile(const grad_job *j, const tile *t, int64_t row, int depth, uint16_t *a,
                        uint16_t *b)
{
    const rlm_conv_shape *s = j->s;
    int64_t total = conv_rows_out(s);
    conv_walk k = conv_sources(s);
    conv_place p = conv_place_of(&k, row);
    conv_tap tap = conv_tap_of(&k, t->tap);
    for (int64_t i = 0; i < depth; i++, a += t->m, b += t->n, conv_next(&k, &p)) {
        int64_t from = row + i < total ? conv_row(&k, &p, tap) : -1;
        if (from < 0) {
            memset(a, 0, (size_t)t->m * sizeof *a);
            memset(b, 0, (size_t)t->n * sizeof *b);
        } else {
            memcpy(a, j->dy + (row + i) * s->cout + t->co, (size_t)t->m * sizeof *a);
            memcpy(b, j->x + from * s->cin + t->ci, (size_t)t->n * sizeof *b);
        }
    }
}

static void weight_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const grad_job *j = ctx;
    const rlm_conv_shape *s = j->s;
    int64_t total = conv_rows_out(s);
    int taps = conv_taps(s);
    uint16_t *a = rlm_par_scratch(j->par, worker, 0, (size_t)2 * DEPTH * BLOCK * sizeof *a);
    uint16_t *b = a + (size_t)DEPTH * BLOCK;
    float *part = rlm_par_scratch(j->par, worker, 1, BLOCK * BLOCK * sizeof(float));
    for (int64_t item = begin; item < end; item++) {
        tile t = {.tap = (int)(item / j->across / j->down),
                  .co = (int)(item / j->across % j->down) * BLOCK,
                  .ci = (int)(item % j->across) * BLOCK};
        t.m = s->cout - t.co < BLOCK ? s->cout - t.co : BLOCK;
        t.n = s->cin - t.ci < BLOCK ? s->cin - t.ci : BLOCK;
        float *dw = j->dw + ((int64_t)t.co * taps + t.tap) * s->cin + t.ci;
        for (int64_t row = 0; row < total; row += DEPTH) {
            int depth = total - row < DEPTH ? rlm_dnn_pad(total - row) : DEPTH;
            gather_tile(j, &t, row, depth, a, b);
            rlm_dnn_product p = {true, false, t.m, t.n, depth, t.n, a, b, part};
            rlm_dnn_multiply(j->par, worker, &p);
            for (int64_t m = 0; m < t.m; m++)
                for (int64_t n = 0; n < t.n; n++)
                    dw[m * taps * s->cin + n] += part[m * t.n + n];
        }
    }
}

static void conv_backward_weight(rlm_par *par, const rlm_conv_shape *s, const float *x,
                                 const float *dy, float *dw, float *dbias)
{
    int64_t count = conv_rows_in(s) * s->cin, room = conv_rows_out(s) * s->cout;
    uint16_t *rounded = dw ? rlm_dnn_rounded(par, count, x, room) : NULL;
    if (dw)
        rlm_dnn_round_into(par, room, dy, rounded + count);
    grad_job j = {.par = par, .s = s, .x = rounded, .dy = rounded + (dw ? count : 0), .dw = dw};
    j.down = (s->cout + BLOCK - 1) / BLOCK;
    j.across = (s->cin + BLOCK - 1) / BLOCK;
    if (dw)
        rlm_par_for(par, (int64_t)conv_taps(s) * j.down * j.across, 1, weight_slice, &j);
    if (dbias)
        rlm_blas_bias_gradient(par, conv_rows_out(s), s->cout, dy, dbias);
}

static void linear_backward_weight(rlm_par *par, int m, int n, int k, const float *x,
                                   const float *dy, float *dw, float *dbias)
{
    rlm_conv_shape s = conv_of_linear(m, n, k);
    conv_backward_weight(par, &s, x, dy, dw, dbias);
}

bool rlm_kernels_dnn_backward(rlm_kernels *k)
{
    if (k->pack == rlm_dnn_pack) {
        k->linear_backward_data = linear_backward_data;
        k->conv_backward_data = conv_backward_data;
    }
    k->linear_backward_weight = linear_backward_weight;
    k->conv_backward_weight = conv_backward_weight;
    k->prepared_backward_data = NULL;
    k->prepared_backward_weight = NULL;
    return true;
}
