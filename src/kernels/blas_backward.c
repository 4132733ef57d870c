/* OpenBLAS overlay, training half: gradients of products and convolutions in f32. Data gradients
 * gather, tap by tap, the output rows that read an input row; weight gradients gather the input
 * rows a tap reads. No two slices write the same element. */
#include "src/kernels/blas.h"

#include "src/kernels/conv_rows.h"

/* ---- Linear -------------------------------------------------------------------------------- */

void rlm_blas_linear_backward_data(rlm_par *par, int m, int n, int k, const float *dy,
                                   const rlm_weight *w, float *dx, bool add)
{
    rlm_blas_gemm g = {false, false, m, k, n, n, k, k, 1, add, dy, w->f32, dx};
    rlm_blas_gemm_tiles(par, &g);
}

typedef struct bias_job {
    int64_t rows;
    int c;
    const float *dy;
    float *dbias;
} bias_job;

static void bias_block(void *ctx, int64_t begin, int64_t end, int worker)
{
    const bias_job *j = ctx;
    (void)worker;
    for (int64_t block = begin; block < end; block++) {
        int first = (int)block * 64, width = j->c - first < 64 ? j->c - first : 64;
        double acc[64] = {0};
        for (int64_t row = 0; row < j->rows; row++)
            for (int i = 0; i < width; i++)
                acc[i] += j->dy[row * j->c + first + i];
        for (int i = 0; i < width; i++)
            j->dbias[first + i] += (float)acc[i];
    }
}

void rlm_blas_bias_gradient(rlm_par *par, int64_t rows, int c, const float *dy, float *dbias)
{
    bias_job j = {rows, c, dy, dbias};
    rlm_par_for(par, (c + 63) / 64, 1, bias_block, &j);
}

static void linear_backward_weight(rlm_par *par, int m, int n, int k, const float *x,
                                   const float *dy, float *dw, float *dbias)
{
    rlm_blas_gemm g = {true, false, n, k, m, n, k, k, 1, 1, dy, x, dw};
    if (dw)
        rlm_blas_gemm_tiles(par, &g);
    if (dbias)
        rlm_blas_bias_gradient(par, m, n, dy, dbias);
}

/* ---- Convolution --------------------------------------------------------------------------- */

typedef struct conv_job {
    rlm_par *par;
    const rlm_conv_shape *s;
    int rows, blocks; /* rows gathered at once; blocks of output channels */
    const float *x, *dy, *w;
    float *dx, *dw;
    bool add;
} conv_job;

/* dy rows that read input rows [row, row + count) through tap, packed; place[i]: row they add to.
 */
static int gather_readers(const conv_job *j, int64_t row, int count, int tap, float *rows,
                          int *place)
{
    const rlm_conv_shape *s = j->s;
    conv_walk k = conv_readers(s);
    conv_place p = conv_place_of(&k, row);
    conv_tap t = conv_tap_of(&k, tap);
    int found = 0;
    for (int i = 0; i < count; i++, conv_next(&k, &p)) {
        int64_t from = conv_row(&k, &p, t);
        if (from < 0)
            continue;
        memcpy(rows + (int64_t)found * s->cout, j->dy + from * s->cout,
               (size_t)s->cout * sizeof(float));
        place[found++] = i;
    }
    return found;
}

static void data_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const conv_job *j = ctx;
    const rlm_conv_shape *s = j->s;
    int taps = conv_taps(s), place[BLAS_TILE];
    int64_t total = conv_rows_in(s);
    float *dy = rlm_par_scratch(j->par, worker, 0, (size_t)j->rows * s->cout * sizeof(float));
    float *part = rlm_par_scratch(j->par, worker, 1, (size_t)j->rows * s->cin * sizeof(float));
    for (int64_t slice = begin; slice < end; slice++) {
        int64_t row = slice * j->rows;
        int count = total - row < j->rows ? (int)(total - row) : j->rows;
        float *dx = j->dx + row * s->cin;
        if (!j->add)
            memset(dx, 0, (size_t)count * s->cin * sizeof(float));
        for (int tap = 0; tap < taps; tap++) {
            int found = gather_readers(j, row, count, tap, dy, place);
            const float *w = j->w + (int64_t)tap * s->cin;
            bool whole = found == count;
            if (found)
                rlm_sgemm(false, false, found, s->cin, s->cout, 1, dy, s->cout, w, taps * s->cin,
                          whole ? 1 : 0, whole ? dx : part, s->cin);
            for (int i = 0; i < found && !whole; i++)
                for (int c = 0; c < s->cin; c++)
                    dx[(int64_t)place[i] * s->cin + c] += part[(int64_t)i * s->cin + c];
        }
    }
}

void rlm_blas_conv_backward_data(rlm_par *par, const rlm_conv_shape *s, const float *dy,
                                 const rlm_weight *w, float *dx, bool add)
{
    int64_t rows = conv_rows_in(s);
    if (conv_is_dense(s)) {
        rlm_blas_linear_backward_data(par, (int)rows, s->cout, s->cin, dy, w, dx, add);
        return;
    }
    int block = rlm_blas_rows(s->cin > s->cout ? s->cin : s->cout);
    conv_job j = {.par = par, .s = s, .rows = block, .dy = dy, .w = w->f32, .dx = dx, .add = add};
    rlm_par_for(par, (rows + block - 1) / block, 1, data_slice, &j);
}

/* One item = one tap of one block of output channels. */
static void weight_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const conv_job *j = ctx;
    const rlm_conv_shape *s = j->s;
    int taps = conv_taps(s);
    int64_t total = conv_rows_out(s);
    float *x = rlm_par_scratch(j->par, worker, 0, (size_t)j->rows * s->cin * sizeof(float));
    for (int64_t item = begin; item < end; item++) {
        int tap = (int)(item / j->blocks), co = (int)(item % j->blocks) * BLAS_TILE;
        int width = s->cout - co < BLAS_TILE ? s->cout - co : BLAS_TILE;
        float *dw = j->dw + ((int64_t)co * taps + tap) * s->cin;
        conv_walk k = conv_sources(s);
        conv_place p = {0};
        conv_tap t = conv_tap_of(&k, tap);
        for (int64_t row = 0; row < total; row += j->rows) {
            int count = total - row < j->rows ? (int)(total - row) : j->rows;
            for (int i = 0; i < count; i++, conv_next(&k, &p)) {
                int64_t from = conv_row(&k, &p, t);
                float *to = x + (int64_t)i * s->cin;
                if (from < 0)
                    memset(to, 0, (size_t)s->cin * sizeof(float));
                else
                    memcpy(to, j->x + from * s->cin, (size_t)s->cin * sizeof(float));
            }
            rlm_sgemm(true, false, width, s->cin, count, 1, j->dy + row * s->cout + co, s->cout, x,
                      s->cin, 1, dw, taps * s->cin);
        }
    }
}

static void conv_backward_weight(rlm_par *par, const rlm_conv_shape *s, const float *x,
                                 const float *dy, float *dw, float *dbias)
{
    int64_t rows = conv_rows_out(s);
    if (conv_is_dense(s)) {
        linear_backward_weight(par, (int)rows, s->cout, s->cin, x, dy, dw, dbias);
        return;
    }
    int blocks = (s->cout + BLAS_TILE - 1) / BLAS_TILE;
    conv_job j = {.par = par,
                  .s = s,
                  .rows = rlm_blas_rows(s->cin),
                  .blocks = blocks,
                  .x = x,
                  .dy = dy,
                  .dw = dw};
    if (dw)
        rlm_par_for(par, (int64_t)conv_taps(s) * blocks, 1, weight_slice, &j);
    if (dbias)
        rlm_blas_bias_gradient(par, rows, s->cout, dy, dbias);
}

bool rlm_kernels_blas_backward(rlm_kernels *k)
{
    k->linear_backward_data = rlm_blas_linear_backward_data;
    k->linear_backward_weight = linear_backward_weight;
    k->conv_backward_data = rlm_blas_conv_backward_data;
    k->conv_backward_weight = conv_backward_weight;
    k->prepared_backward_data = NULL;
    k->prepared_backward_weight = NULL;
    return true;
}
