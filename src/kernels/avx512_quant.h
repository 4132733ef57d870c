/* Products with quantised weights that the AVX-512 and AMX levels share. */
#ifndef RLM_KERNELS_AVX512_QUANT_H
#define RLM_KERNELS_AVX512_QUANT_H

#include "src/kernels/avx512.h"
#include "src/kernels/quant.h"

/* Scales of half a panel's columns in one group (`block`). */
RLM_INLINE __m512 rlm_quant_scales(int bits, const uint8_t *block, int half)
{
    if (bits == 8)
        return _mm512_load_ps(block + 64 * half);
    return v_unbf16((const uint16_t *)(const void *)(block + 32 * half), 0xffff);
}

void rlm_avx512_linear_quant(rlm_par *par, int bits, int m, int n, int k, const float *x,
                             const void *quant, const float *bias, const float *residual, float *y);

#endif
