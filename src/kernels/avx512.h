/* Shared by the avx512_*.c and amx*.c files only: what needs registers of 512 bits. Everything is
 * inline; the files are compiled with the flags of their level. */
#ifndef RLM_KERNELS_AVX512_H
#define RLM_KERNELS_AVX512_H

#include "src/kernels/lanes.h"

RLM_INLINE __mmask32 v_tail32(int64_t n) /* lanes [0, n) of 32 */
{
    return n >= 32 ? 0xffffffffu : (1u << n) - 1u;
}

/* 2^x for results in bf16: relative error 2e-4; lanes outside m give 0. */
RLM_INLINE __m512 v_exp2_16(__mmask16 m, __m512 x)
{
    __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); /* [0, 1) */
    __m512 p = _mm512_set1_ps(0.0790199f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.2241264f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.6968386f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.9998119f));
    return _mm512_maskz_scalef_ps(m, p, x); /* 2^floor(x) */
}

/* 16 registers of 16 x 32 bit, transposed in place. */
RLM_INLINE void v_transpose16(__m512i r[16])
{
    __m512i t[16];
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) {
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
        t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
        t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
        t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
        r[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
        r[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
        r[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd);
    }
}

/* Largest magnitude of n floats, compared as integers, so that a NaN is the largest of all. */
RLM_INLINE float v_top(const float *x, int n)
{
    __m512i top = _mm512_setzero_si512(), magnitude = _mm512_set1_epi32(0x7fffffff);
    for (int i = 0; i < n; i += 16) {
        __m512i v = _mm512_castps_si512(v_load(x + i, v_tail(n - i)));
        top = _mm512_max_epi32(top, _mm512_and_si512(v, magnitude));
    }
    int bits = _mm512_reduce_max_epi32(top);
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* lanes_attention*.c at this level: what AMX falls back to for dimensions that it does not tile. */
void rlm_avx512_attention_forward(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                                  float *y, float *lse);
void rlm_avx512_attention_backward(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                                   const float *y, const float *lse, const float *dy, float *dqkv,
                                   bool add);

#endif
