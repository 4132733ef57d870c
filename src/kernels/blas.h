/* What the two halves of the OpenBLAS overlay share. Every call of OpenBLAS is single-threaded and
 * works on a slice whose size follows from the shape alone: results do not depend on the threads.
 * Libraries choose the order of a sum by the size of the product. What convolutions multiply
 * therefore has a size that follows from the weight alone, the last slice filled up with zeros:
 * a position's result does not depend on how long the clip is. */
#ifndef RLM_KERNELS_BLAS_H
#define RLM_KERNELS_BLAS_H

#include "src/kernels/kernels.h"

enum { BLAS_TILE = 256, BLAS_GATHER = 1 << 18 }; /* floats gathered at once: 1 MiB */

typedef struct rlm_blas_gemm {
    bool ta, tb;
    int m, n, k;
    int lda, ldb, ldc;
    float alpha, beta;
    const float *a, *b;
    float *c;
} rlm_blas_gemm;

/* c = alpha op(a) op(b) + beta c, cut into tiles of c. */
void rlm_blas_gemm_tiles(rlm_par *par, const rlm_blas_gemm *g);

/* Entries of this overlay, for others that leave some shapes to it. */
void rlm_blas_linear_forward(rlm_par *par, int m, int n, int k, const float *x, const rlm_weight *w,
                             const float *bias, const float *residual, float *y);
void rlm_blas_linear_half(rlm_par *par, int m, int n, int k, const float *x, const uint16_t *w,
                          const float *bias, const float *residual, float *y);
void rlm_blas_conv_forward(rlm_par *par, const rlm_conv_shape *s, const float *x,
                           const rlm_weight *w, const float *bias, const float *residual, float *y);
void rlm_blas_linear_backward_data(rlm_par *par, int m, int n, int k, const float *dy,
                                   const rlm_weight *w, float *dx, bool add);
void rlm_blas_conv_backward_data(rlm_par *par, const rlm_conv_shape *s, const float *dy,
                                 const rlm_weight *w, float *dx, bool add);
/* dbias[c] += sum over the rows of dy [rows][c]. */
void rlm_blas_bias_gradient(rlm_par *par, int64_t rows, int c, const float *dy, float *dbias);

/* Rows to gather at once when each has `width` floats: a multiple of 16 up to BLAS_TILE. */
static inline int rlm_blas_rows(int64_t width)
{
    int64_t rows = BLAS_GATHER / (width > 0 ? width : 1) / 16 * 16;
    return rows > BLAS_TILE ? BLAS_TILE : rows < 16 ? 16 : (int)rows;
}

/* cblas_sgemm, row major. */
void rlm_sgemm(bool ta, bool tb, int m, int n, int k, float alpha, const float *a, int lda,
               const float *b, int ldb, float beta, float *c, int ldc);

#endif
