/* Products with quantised weights that the AVX-512 and AMX levels share. */
#ifndef RLM_KERNELS_AVX512_QUANT_H
#define RLM_KERNELS_AVX512_QUANT_H

#include "src/kernels/kernels.h"
#include "src/kernels/quant.h"

void rlm_avx512_linear_quant(rlm_par *par, int bits, int m, int n, int k, const float *x,
                             const void *quant, const float *bias, const float *residual, float *y);
void rlm_avx512_quant(rlm_kernels *k);

#endif
