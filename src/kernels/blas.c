/* OpenBLAS overlay: products in f32. A convolution gathers the patches of a slice of output
 * positions, then multiplies them with the weight. */
#include "src/kernels/blas.h"

#include <cblas.h>

#include "src/kernels/conv_rows.h"
#include "src/kernels/flush.h"

/* ---- Products ------------------------------------------------------------------------------ */

/* Denormals count as 0. */
void rlm_sgemm(bool ta, bool tb, int m, int n, int k, float alpha, const float *a, int lda,
               const float *b, int ldb, float beta, float *c, int ldc)
{
    unsigned csr = rlm_flush_begin();
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, m, n,
                k, alpha, a, lda, b, ldb, beta, c, ldc);
    rlm_flush_end(csr);
}

static void gemm_tile(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rlm_blas_gemm *g = ctx;
    int64_t across = (g->n + BLAS_TILE - 1) / BLAS_TILE;
    (void)worker;
    for (int64_t tile = begin; tile < end; tile++) {
        int64_t row = tile / across * BLAS_TILE, col = tile % across * BLAS_TILE;
        int m = g->m - row < BLAS_TILE ? (int)(g->m - row) : BLAS_TILE;
        int n = g->n - col < BLAS_TILE ? (int)(g->n - col) : BLAS_TILE;
        rlm_sgemm(g->ta, g->tb, m, n, g->k, g->alpha, g->a + (g->ta ? row : row * g->lda), g->lda,
                  g->b + (g->tb ? col * g->ldb : col), g->ldb, g->beta, g->c + row * g->ldc + col,
                  g->ldc);
    }
}

void rlm_blas_gemm_tiles(rlm_par *par, const rlm_blas_gemm *g)
{
    int64_t down = (g->m + BLAS_TILE - 1) / BLAS_TILE, across = (g->n + BLAS_TILE - 1) / BLAS_TILE;
    rlm_blas_gemm copy = *g;
    rlm_par_for(par, down * across, 1, gemm_tile, &copy);
}

static void gemm(rlm_par *par, bool ta, bool tb, int m, int n, int k, float alpha, const float *a,
                 const float *b, float beta, float *c)
{
    rlm_blas_gemm g = {ta, tb, m, n, k, ta ? m : k, tb ? k : n, n, alpha, beta, a, b, c};
    rlm_blas_gemm_tiles(par, &g);
}

/* ---- Linear -------------------------------------------------------------------------------- */

typedef struct linear_job {
    int m, n, k, rows, cols; /* product; size of a slice */
    rlm_par *par;
    const float *x, *w;
    const uint16_t *half; /* in place of w */
    const float *bias, *residual;
    float *y;
} linear_job;

/* y = residual + bias on a block of m x n, so that the product can be added to it. */
static void start_block(int64_t m, int n, int ld, const float *bias, const float *residual,
                        float *y)
{
    for (int64_t row = 0; row < m; row++)
        for (int i = 0; i < n; i++)
            y[row * ld + i] = (residual ? residual[row * ld + i] : 0) + (bias ? bias[i] : 0);
}

/* Rows [col, col + n) of the weight in f32. */
static const float *rows_of(const linear_job *j, int64_t col, int n, int worker)
{
    if (!j->half)
        return j->w + col * j->k;
    int64_t count = (int64_t)n * j->k;
    const uint16_t *from = j->half + col * j->k;
    float *w = rlm_par_scratch(j->par, worker, 0, (size_t)count * sizeof *w);
    for (int64_t i = 0; i < count; i++)
        w[i] = rlm_unbf16(from[i]);
    return w;
}

static void linear_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const linear_job *j = ctx;
    int64_t across = (j->n + j->cols - 1) / j->cols;
    for (int64_t slice = begin; slice < end; slice++) {
        int64_t row = slice / across * j->rows, col = slice % across * j->cols;
        int m = j->m - row < j->rows ? (int)(j->m - row) : j->rows;
        int n = j->n - col < j->cols ? (int)(j->n - col) : j->cols;
        int64_t at = row * j->n + col;
        const float *x = j->x + row * j->k, *w = rows_of(j, col, n, worker);
        start_block(m, n, j->n, j->bias ? j->bias + col : NULL,
                    j->residual ? j->residual + at : NULL, j->y + at);
        if (m <= 8)
            for (int64_t i = 0; i < m; i++) /* the slice of w stays in cache */
                cblas_sgemv(CblasRowMajor, CblasNoTrans, n, j->k, 1, w, j->k, x + i * j->k, 1, 1,
                            j->y + at + i * j->n, 1);
        else
            rlm_sgemm(false, true, m, n, j->k, 1, x, j->k, w, j->k, 1, j->y + at, j->n);
    }
}

static void linear(rlm_par *par, linear_job *j)
{
    j->par = par;
    j->rows = BLAS_TILE;
    j->cols = j->m <= 8 ? 64 : BLAS_TILE;
    int64_t down = (j->m + j->rows - 1) / j->rows, across = (j->n + j->cols - 1) / j->cols;
    rlm_par_for(par, down * across, 1, linear_slice, j);
}

void rlm_blas_linear_forward(rlm_par *par, int m, int n, int k, const float *x, const rlm_weight *w,
                             const float *bias, const float *residual, float *y)
{
    linear_job j = {
        .m = m, .n = n, .k = k, .x = x, .w = w->f32, .bias = bias, .residual = residual, .y = y};
    linear(par, &j);
}

void rlm_blas_linear_half(rlm_par *par, int m, int n, int k, const float *x, const uint16_t *w,
                          const float *bias, const float *residual, float *y)
{
    linear_job j = {
        .m = m, .n = n, .k = k, .x = x, .half = w, .bias = bias, .residual = residual, .y = y};
    linear(par, &j);
}

/* ---- Convolution --------------------------------------------------------------------------- */

typedef struct conv_job {
    rlm_par *par;
    const rlm_conv_shape *s;
    int rows, taps; /* output positions of a slice; taps gathered at once */
    const float *x, *w, *bias, *residual;
    float *y;
} conv_job;

/* patch [count][taps][cin] of output rows from `row`, taps from `first`. */
static void gather_patches(const conv_job *j, int64_t row, int count, int first, int taps,
                           float *patch)
{
    const rlm_conv_shape *s = j->s;
    size_t bytes = (size_t)s->cin * sizeof(float);
    conv_walk k = conv_sources(s);
    conv_place p = conv_place_of(&k, row);
    for (int i = 0; i < count; i++, conv_next(&k, &p)) {
        for (int tap = first; tap < first + taps; tap++, patch += s->cin) {
            int64_t from = conv_row(&k, &p, conv_tap_of(&k, tap));
            if (from < 0)
                memset(patch, 0, bytes);
            else
                memcpy(patch, j->x + from * s->cin, bytes);
        }
    }
}

/* y [rows][cout] += the product of output rows from `row`, of which `count` there are. */
static void conv_block(const conv_job *j, int64_t row, int count, float *patch, float *y)
{
    const rlm_conv_shape *s = j->s;
    int all = conv_taps(s), depth = all * s->cin;
    for (int tap = 0; tap < all; tap += j->taps) {
        int taps = all - tap < j->taps ? all - tap : j->taps, k = taps * s->cin;
        bool there = conv_is_dense(s) && count == j->rows;
        if (!there) {
            gather_patches(j, row, count, tap, taps, patch);
            memset(patch + (int64_t)count * k, 0, (size_t)(j->rows - count) * k * sizeof *patch);
        }
        rlm_sgemm(false, true, j->rows, s->cout, k, 1, there ? j->x + row * k : patch, k,
                  j->w + (int64_t)tap * s->cin, depth, 1, y, s->cout);
    }
}

static void conv_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const conv_job *j = ctx;
    const rlm_conv_shape *s = j->s;
    int64_t total = conv_rows_out(s), block = (int64_t)j->rows * s->cout;
    size_t floats = (size_t)j->rows * j->taps * s->cin;
    float *patch = rlm_par_scratch(j->par, worker, 0, floats * sizeof(float));
    float *part = rlm_par_scratch(j->par, worker, 1, (size_t)block * sizeof(float));
    for (int64_t slice = begin; slice < end; slice++) {
        int64_t row = slice * j->rows, at = row * s->cout;
        int count = total - row < j->rows ? (int)(total - row) : j->rows;
        float *y = count < j->rows ? part : j->y + at;
        start_block(count, s->cout, s->cout, j->bias, j->residual ? j->residual + at : NULL, y);
        if (y == part)
            memset(part + (int64_t)count * s->cout, 0,
                   (size_t)(j->rows - count) * s->cout * sizeof *part);
        conv_block(j, row, count, patch, y);
        if (y == part)
            memcpy(j->y + at, part, (size_t)count * s->cout * sizeof *part);
    }
}

void rlm_blas_conv_forward(rlm_par *par, const rlm_conv_shape *s, const float *x,
                           const rlm_weight *w, const float *bias, const float *residual, float *y)
{
    int64_t rows = conv_rows_out(s);
    int taps = 1 + 1024 / s->cin;
    taps = taps < conv_taps(s) ? taps : conv_taps(s);
    int block = rlm_blas_rows((int64_t)taps * s->cin);
    conv_job j = {par, s, block, taps, x, w->f32, bias, residual, y};
    rlm_par_for(par, (rows + block - 1) / block, 1, conv_slice, &j);
}

/* 3 x 3 against pencil and paper. */
static bool probe(void)
{
    static const float a[6] = {1, 2, 3, 4, 5, 6}, b[6] = {1, 0, -1, 2, 1, 0};
    float c[4] = {0};
    rlm_sgemm(false, true, 2, 2, 3, 1, a, 3, b, 3, 0, c, 2);
    return c[0] == -2 && c[1] == 4 && c[2] == -2 && c[3] == 13;
}

bool rlm_kernels_blas(rlm_kernels *k)
{
    openblas_set_num_threads(1);
    if (!probe())
        return false;
    k->gemm = gemm;
    k->linear_forward = rlm_blas_linear_forward;
    k->linear_half = rlm_blas_linear_half;
    k->conv_forward = rlm_blas_conv_forward;
    k->prepared_forward = NULL;
    return true;
}
