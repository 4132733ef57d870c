/* What the two halves of the oneDNN overlay share: one bf16 product on one thread.
 *
 * Depths are padded with zeros to 32: oneDNN 2.6.3 gives wrong sums or an illegal instruction for
 * ragged depths on AMX. Weights are packed once as bf16 [cout][kt*kh*kw*cin, padded] for forward
 * and [cin][kt*kh*kw*cout, padded] for data gradients. */
#ifndef RLM_KERNELS_DNN_H
#define RLM_KERNELS_DNN_H

#include "src/kernels/blas.h"

enum { DNN_ROWS = 256, DNN_COLS = 256 }; /* of one product */

static inline int rlm_dnn_pad(int64_t k)
{
    return (int)((k + 31) / 32 * 32);
}

/* c [m][n] = a b in f32; a [m][k] (ta: stored [k][m]), b stored [n][k] (tb) or [k][n], all dense
 * bf16, ldb the distance of b's stored rows. k is a multiple of 32. Takes the worker's slot 3. */
typedef struct rlm_dnn_product {
    bool ta, tb;
    int m, n, k, ldb;
    const uint16_t *a, *b;
    float *c;
} rlm_dnn_product;
void rlm_dnn_multiply(rlm_par *par, int worker, const rlm_dnn_product *p);

void rlm_dnn_pack(rlm_par *par, const rlm_weight_geom *g, const float *w, bool transposed,
                  void *out);

/* bf16 copy of x[0..n), made once so that gathering only copies. From outside slices; lives in slot
 * 2 of worker 0 until the next call; `room` more values follow it uninitialised. */
uint16_t *rlm_dnn_rounded(rlm_par *par, int64_t n, const float *x, int64_t room);
void rlm_dnn_round_into(rlm_par *par, int64_t n, const float *x, uint16_t *out);

/* to[0..n) = bf16 of from. */
static inline void rlm_dnn_round(int n, const float *from, uint16_t *to)
{
    for (int i = 0; i < n; i++)
        to[i] = rlm_bf16(from[i]);
}

#endif
