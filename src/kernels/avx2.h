/* Shared by the avx2_*.c files: tails, exp and sigmoid in eight lanes. */
#ifndef RLM_KERNELS_AVX2_H
#define RLM_KERNELS_AVX2_H

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "src/kernels/kernels.h"

#define RLM_INLINE static inline __attribute__((always_inline))

#define RLM_GRAIN 32768 /* elements a slice */

RLM_INLINE __m256i w_tail(int64_t n) /* lanes [0, n) */
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > 8 ? 8 : (int)n),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
RLM_INLINE __m256 w_load(const float *p, __m256i m)
{
    return _mm256_maskload_ps(p, m);
}
RLM_INLINE void w_store(float *p, __m256i m, __m256 v)
{
    _mm256_maskstore_ps(p, m, v);
}
RLM_INLINE __m256 w_set(float x)
{
    return _mm256_set1_ps(x);
}
RLM_INLINE int64_t w_row_grain(int64_t c)
{
    return c >= RLM_GRAIN ? 1 : RLM_GRAIN / (c < 1 ? 1 : c);
}

RLM_INLINE float w_sum(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
RLM_INLINE float w_max(__m256 v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* e^x; 0 below -87, infinity above 89, keeps NaN; relative error 2e-7. */
RLM_INLINE __m256 w_exp(__m256 x)
{
    __m256 low = _mm256_cmp_ps(x, w_set(-87.3f), _CMP_LT_OQ);
    __m256 high = _mm256_cmp_ps(x, w_set(88.72f), _CMP_GT_OQ);
    x = _mm256_min_ps(w_set(88.7f), _mm256_max_ps(w_set(-87.3f), x));
    __m256 n = _mm256_round_ps(_mm256_mul_ps(x, w_set(1.44269504f)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, w_set(0.693359375f), x);
    r = _mm256_fnmadd_ps(n, w_set(-2.12194440e-4f), r);
    __m256 p = w_set(8.31248e-3f);
    p = _mm256_fmadd_ps(p, r, w_set(4.189055e-2f));
    p = _mm256_fmadd_ps(p, r, w_set(1.6667116e-1f));
    p = _mm256_fmadd_ps(p, r, w_set(4.9999229e-1f));
    p = _mm256_fmadd_ps(p, r, w_set(1.0f));
    p = _mm256_fmadd_ps(p, r, w_set(1.0f));
    /* 2^n in two halves: n reaches 128, one exponent does not. */
    __m256i k = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(k, 1);
    __m256i bias = _mm256_set1_epi32(127), rest = _mm256_sub_epi32(k, half);
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
    p = _mm256_andnot_ps(low, p);
    return _mm256_blendv_ps(p, w_set(INFINITY), high);
}

RLM_INLINE __m256 w_sigmoid(__m256 x)
{
    __m256 e = w_exp(_mm256_or_ps(x, w_set(-0.0f)));
    __m256 r = _mm256_div_ps(w_set(1.0f), _mm256_add_ps(w_set(1.0f), e));
    return _mm256_blendv_ps(r, _mm256_mul_ps(r, e), x);
}

/* tanh; a Taylor series near 0. */
RLM_INLINE __m256 w_tanh(__m256 x)
{
    __m256 big = _mm256_fmsub_ps(w_set(2.0f), w_sigmoid(_mm256_add_ps(x, x)), w_set(1.0f));
    __m256 s = _mm256_mul_ps(x, x), p = w_set(-1382.0f / 155925.0f);
    p = _mm256_fmadd_ps(p, s, w_set(62.0f / 2835.0f));
    p = _mm256_fmadd_ps(p, s, w_set(-17.0f / 315.0f));
    p = _mm256_fmadd_ps(p, s, w_set(2.0f / 15.0f));
    p = _mm256_fmadd_ps(p, s, w_set(-1.0f / 3.0f));
    p = _mm256_fmadd_ps(_mm256_mul_ps(p, s), x, x);
    return _mm256_blendv_ps(big, p, _mm256_cmp_ps(s, w_set(0.0625f), _CMP_LT_OQ));
}

/* e^x - 1 for x <= 0. */
RLM_INLINE __m256 w_expm1(__m256 x)
{
    __m256 big = _mm256_sub_ps(w_exp(x), w_set(1.0f));
    __m256 p = w_set(1.0f / 720.0f);
    p = _mm256_fmadd_ps(p, x, w_set(1.0f / 120.0f));
    p = _mm256_fmadd_ps(p, x, w_set(1.0f / 24.0f));
    p = _mm256_fmadd_ps(p, x, w_set(1.0f / 6.0f));
    p = _mm256_fmadd_ps(p, x, w_set(0.5f));
    p = _mm256_fmadd_ps(_mm256_mul_ps(p, x), x, x);
    return _mm256_blendv_ps(big, p, _mm256_cmp_ps(x, w_set(-0.2f), _CMP_GT_OQ));
}

RLM_INLINE __m256 w_act(rlm_act act, __m256 x)
{
    __m256 zero = _mm256_setzero_ps(), up = _mm256_cmp_ps(x, zero, _CMP_GT_OQ), u;
    switch (act) {
    case RLM_ACT_SILU:
        return _mm256_mul_ps(x, w_sigmoid(x));
    case RLM_ACT_ELU:
        return _mm256_blendv_ps(w_expm1(_mm256_min_ps(zero, x)), x, up);
    case RLM_ACT_LEAKY:
        return _mm256_blendv_ps(_mm256_mul_ps(x, w_set(0.2f)), x, up);
    case RLM_ACT_GELU: /* x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3) */
        u = _mm256_fmadd_ps(_mm256_mul_ps(x, x), w_set(0.0713548163f), w_set(1.59576912f));
        return _mm256_mul_ps(x, w_sigmoid(_mm256_mul_ps(u, x)));
    case RLM_ACT_TANH:
        return w_tanh(x);
    case RLM_ACT_RELU:
        return _mm256_max_ps(x, zero);
    case RLM_ACT_NONE:
        break;
    }
    return x;
}

/* 8 bf16 as floats; fewer: through a small copy. */
RLM_INLINE __m256 w_unbf16(const uint16_t *p, int64_t n)
{
    uint16_t some[8] = {0};
    if (n < 8) {
        memcpy(some, p, (size_t)n * sizeof *p);
        p = some;
    }
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}

void rlm_avx2_elementwise(rlm_kernels *k);
void rlm_avx2_sequence(rlm_kernels *k);
void rlm_avx2_quant(rlm_kernels *k);
void rlm_avx2_cache(rlm_kernels *k);

#endif
