/* Rotary positions: sine and cosine of a row's angles, a head normed and rotated. */
#ifndef RLM_KERNELS_AVX512_ROPE_H
#define RLM_KERNELS_AVX512_ROPE_H

#include "src/kernels/avx512.h"

#define ROPE_MAX_DIM 256

/* Both of x, |x| < 1e5: reduction by pi/2 in three parts, then the usual polynomials. */
RLM_INLINE void v_sincos(__m512 x, __m512 *sine, __m512 *cosine)
{
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, v_set(0.636619772f)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512i q = _mm512_cvtps_epi32(n);
    __m512 r = _mm512_fnmadd_ps(n, v_set(1.57079637e+0f), x);
    r = _mm512_fnmadd_ps(n, v_set(-4.37113883e-8f), r);
    r = _mm512_fnmadd_ps(n, v_set(-1.71512489e-15f), r);
    __m512 z = _mm512_mul_ps(r, r), s = v_set(-1.9515295891e-4f), c = v_set(2.443315711809948e-5f);
    s = _mm512_fmadd_ps(s, z, v_set(8.3321608736e-3f));
    s = _mm512_fmadd_ps(s, z, v_set(-1.6666654611e-1f));
    s = _mm512_fmadd_ps(_mm512_mul_ps(s, z), r, r);
    c = _mm512_fmadd_ps(c, z, v_set(-1.388731625493765e-3f));
    c = _mm512_fmadd_ps(c, z, v_set(4.166664568298827e-2f));
    c = _mm512_fmadd_ps(c, z, v_set(-0.5f));
    c = _mm512_fmadd_ps(c, z, v_set(1.0f));
    __mmask16 odd = _mm512_test_epi32_mask(q, _mm512_set1_epi32(1));
    __m512 a = _mm512_mask_blend_ps(odd, s, c), b = _mm512_mask_blend_ps(odd, c, s);
    __m512 zero = _mm512_setzero_ps();
    *sine = _mm512_mask_sub_ps(a, _mm512_test_epi32_mask(q, _mm512_set1_epi32(2)), zero, a);
    q = _mm512_add_epi32(q, _mm512_set1_epi32(1));
    *cosine = _mm512_mask_sub_ps(b, _mm512_test_epi32_mask(q, _mm512_set1_epi32(2)), zero, b);
}

RLM_INLINE void rope_table(const float *angle, int half, float *sine, float *cosine)
{
    for (int i = 0; i < half; i += 16) {
        __mmask16 m = v_tail(half - i);
        __m512 s, c;
        v_sincos(v_load(angle + i, m), &s, &c);
        v_store(sine + i, m, s);
        v_store(cosine + i, m, c);
    }
}

/* One head: dim floats, normalised, then pairs (i, i + half) rotated; y may be x. Returns 1 / rms.
 */
RLM_INLINE float rope_head_forward(const float *x, int dim, float eps, const float *gain,
                                   const float *sine, const float *cosine, float *y)
{
    int half = dim / 2;
    __m512 sum = _mm512_setzero_ps();
    for (int i = 0; i < dim; i += 16) {
        __m512 v = v_load(x + i, v_tail(dim - i));
        sum = _mm512_fmadd_ps(v, v, sum);
    }
    float rstd = (float)(1.0 / sqrt((double)_mm512_reduce_add_ps(sum) / dim + eps));
    for (int i = 0; i < half; i += 16) {
        __mmask16 m = v_tail(half - i);
        __m512 u = _mm512_mul_ps(v_load(x + i, m), v_set(rstd));
        __m512 v = _mm512_mul_ps(v_load(x + half + i, m), v_set(rstd));
        __m512 s = v_load(sine + i, m), c = v_load(cosine + i, m);
        if (gain) {
            u = _mm512_mul_ps(u, v_load(gain + i, m));
            v = _mm512_mul_ps(v, v_load(gain + half + i, m));
        }
        v_store(y + i, m, _mm512_fmsub_ps(u, c, _mm512_mul_ps(v, s)));
        v_store(y + half + i, m, _mm512_fmadd_ps(u, s, _mm512_mul_ps(v, c)));
    }
    return rstd;
}

#endif
