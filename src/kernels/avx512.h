/* Shared by the avx512*.c and amx*.c files only: masks, vector exp and friends, sweeps over rows.
 * Everything is inline; the files are compiled with the flags of their level. */
#ifndef RLM_KERNELS_AVX512_H
#define RLM_KERNELS_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "src/kernels/kernels.h"

#define RLM_INLINE static inline __attribute__((always_inline))

/* Elements a slice of work: about 20 us of streaming, so that waking a worker pays. */
#define RLM_GRAIN 32768

RLM_INLINE __mmask16 v_tail(int64_t n) /* lanes [0, n) */
{
    return n >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1u);
}
RLM_INLINE __mmask32 v_tail32(int64_t n) /* of 32 */
{
    return n >= 32 ? 0xffffffffu : (1u << n) - 1u;
}
RLM_INLINE __mmask16 v_left(int64_t n) /* the same where n may be 0 or less: no lanes */
{
    return n > 0 ? v_tail(n) : (__mmask16)0;
}
RLM_INLINE __m512 v_load(const float *p, __mmask16 m)
{
    return _mm512_maskz_loadu_ps(m, p);
}
RLM_INLINE void v_store(float *p, __mmask16 m, __m512 v)
{
    _mm512_mask_storeu_ps(p, m, v);
}
RLM_INLINE __m512 v_set(float x)
{
    return _mm512_set1_ps(x);
}

/* Results larger than a core's caches are written past them: a store that misses reads its line
 * first, two thirds of the traffic of writing. count floats at y, in whole lines of rows of `row`.
 * Who does so ends its slice with v_far_end: such stores come in any order. */
enum { RLM_FAR_BYTES = 4 << 20 };
RLM_INLINE bool v_is_far(const float *y, int64_t count, int64_t row)
{
    return count > RLM_FAR_BYTES / (int64_t)sizeof(float) && row % 16 == 0 &&
           (uintptr_t)y % 64 == 0;
}
RLM_INLINE void v_put(bool far, float *p, __mmask16 m, __m512 v)
{
    if (far)
        _mm512_stream_ps(p, v);
    else
        v_store(p, m, v);
}
RLM_INLINE void v_far_end(bool far)
{
    if (far)
        _mm_sfence();
}

/* Denormals cost a hundred cycles each: flush them where decaying moments and the tails of a
 * softmax would be full of them. Give the result of v_flush_begin to v_flush_end. */
RLM_INLINE unsigned v_flush_begin(void)
{
    unsigned csr = _mm_getcsr();
    _mm_setcsr(csr | 0x8040); /* flush to zero, denormals are zero */
    return csr;
}
RLM_INLINE void v_flush_end(unsigned csr)
{
    _mm_setcsr(csr);
}

/* Rows a slice when a row costs `c` elements. */
RLM_INLINE int64_t v_row_grain(int64_t c)
{
    return c >= RLM_GRAIN ? 1 : RLM_GRAIN / (c < 1 ? 1 : c);
}

/* e^x; saturates to 0 and infinity, keeps NaN; relative error 2e-7. */
RLM_INLINE __m512 v_exp(__m512 x)
{
    x = _mm512_min_ps(v_set(89.0f), _mm512_max_ps(v_set(-104.0f), x));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, v_set(1.44269504f)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, v_set(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, v_set(-2.12194440e-4f), r);
    __m512 p = v_set(8.31248e-3f);
    p = _mm512_fmadd_ps(p, r, v_set(4.189055e-2f));
    p = _mm512_fmadd_ps(p, r, v_set(1.6667116e-1f));
    p = _mm512_fmadd_ps(p, r, v_set(4.9999229e-1f));
    p = _mm512_fmadd_ps(p, r, v_set(1.0f));
    p = _mm512_fmadd_ps(p, r, v_set(1.0f));
    return _mm512_scalef_ps(p, n);
}

/* 1 / x for |x| in [1e-37, 1e37]: 14-bit estimate and one Newton step. */
RLM_INLINE __m512 v_rcp(__m512 x)
{
    __m512 y = _mm512_rcp14_ps(x);
    return _mm512_mul_ps(y, _mm512_fnmadd_ps(x, y, v_set(2.0f)));
}

/* 2^x for results in bf16: relative error 2e-4; lanes outside m give 0. */
RLM_INLINE __m512 v_exp2_16(__mmask16 m, __m512 x)
{
    __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); /* [0, 1) */
    __m512 p = v_set(0.0790199f);
    p = _mm512_fmadd_ps(p, r, v_set(0.2241264f));
    p = _mm512_fmadd_ps(p, r, v_set(0.6968386f));
    p = _mm512_fmadd_ps(p, r, v_set(0.9998119f));
    return _mm512_maskz_scalef_ps(m, p, x); /* 2^floor(x) */
}

/* 1 / (1 + e^-x), accurate in both tails (0 where it is below 1e-38); keeps NaN. e^-x = 2^u =
 * 2^floor(u) 2^r, relative error 1e-7 of 2^r and 4e-8 |u| of u. */
RLM_INLINE __m512 v_sigmoid(__m512 x)
{
    __m512 u = _mm512_mul_ps(x, v_set(-1.44269504f)), one = v_set(1.0f);
    __mmask16 m = _mm512_cmp_ps_mask(u, v_set(126.0f), _CMP_NGE_UQ);
    __m512 r = _mm512_reduce_ps(u, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); /* [0, 1) */
    __m512 p = v_set(1.8775767e-3f);
    p = _mm512_fmadd_ps(p, r, v_set(8.9893406e-3f));
    p = _mm512_fmadd_ps(p, r, v_set(5.5826318e-2f));
    p = _mm512_fmadd_ps(p, r, v_set(2.4015361e-1f));
    p = _mm512_fmadd_ps(p, r, v_set(6.9315308e-1f));
    p = _mm512_fmadd_ps(p, r, v_set(0.99999994f));
    return _mm512_maskz_mov_ps(m, v_rcp(_mm512_add_ps(one, _mm512_scalef_ps(p, u))));
}

/* tanh; a Taylor series near 0, where 1 - 2 / (e^2x + 1) would cancel. */
RLM_INLINE __m512 v_tanh(__m512 x)
{
    __m512 big = _mm512_fmsub_ps(v_set(2.0f), v_sigmoid(_mm512_add_ps(x, x)), v_set(1.0f));
    __m512 s = _mm512_mul_ps(x, x), p = v_set(-1382.0f / 155925.0f);
    p = _mm512_fmadd_ps(p, s, v_set(62.0f / 2835.0f));
    p = _mm512_fmadd_ps(p, s, v_set(-17.0f / 315.0f));
    p = _mm512_fmadd_ps(p, s, v_set(2.0f / 15.0f));
    p = _mm512_fmadd_ps(p, s, v_set(-1.0f / 3.0f));
    p = _mm512_fmadd_ps(_mm512_mul_ps(p, s), x, x);
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(s, v_set(0.0625f), _CMP_LT_OQ), big, p);
}

/* e^x - 1 for x <= 0. */
RLM_INLINE __m512 v_expm1(__m512 x)
{
    __m512 big = _mm512_sub_ps(v_exp(x), v_set(1.0f));
    __m512 p = v_set(1.0f / 720.0f);
    p = _mm512_fmadd_ps(p, x, v_set(1.0f / 120.0f));
    p = _mm512_fmadd_ps(p, x, v_set(1.0f / 24.0f));
    p = _mm512_fmadd_ps(p, x, v_set(1.0f / 6.0f));
    p = _mm512_fmadd_ps(p, x, v_set(0.5f));
    p = _mm512_fmadd_ps(_mm512_mul_ps(p, x), x, x);
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, v_set(-0.2f), _CMP_GT_OQ), big, p);
}

/* GELU in tanh form is x * sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3). */
RLM_INLINE __m512 v_gelu_gate(__m512 x)
{
    __m512 s = _mm512_mul_ps(x, x);
    __m512 u = _mm512_fmadd_ps(s, v_set(0.0713548163f), v_set(1.59576912f));
    return v_sigmoid(_mm512_mul_ps(u, x));
}

RLM_INLINE __m512 v_act(rlm_act act, __m512 x)
{
    __m512 zero = _mm512_setzero_ps();
    switch (act) {
    case RLM_ACT_SILU:
        return _mm512_mul_ps(x, v_sigmoid(x));
    case RLM_ACT_ELU:
        return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, zero, _CMP_GT_OQ),
                                    v_expm1(_mm512_min_ps(x, zero)), x);
    case RLM_ACT_LEAKY:
        return _mm512_mask_mul_ps(x, _mm512_cmp_ps_mask(x, zero, _CMP_LT_OQ), x, v_set(0.2f));
    case RLM_ACT_GELU:
        return _mm512_mul_ps(x, v_gelu_gate(x));
    case RLM_ACT_TANH:
        return v_tanh(x);
    case RLM_ACT_RELU:
        return _mm512_max_ps(x, zero);
    case RLM_ACT_NONE:
        break;
    }
    return x;
}

/* d act / d x. */
RLM_INLINE __m512 v_dact(rlm_act act, __m512 x)
{
    __m512 zero = _mm512_setzero_ps(), one = v_set(1.0f), s, t;
    switch (act) {
    case RLM_ACT_SILU: /* s + x s (1 - s) */
        s = v_sigmoid(x);
        return _mm512_fmadd_ps(_mm512_mul_ps(x, s), _mm512_sub_ps(one, s), s);
    case RLM_ACT_ELU:
        return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, zero, _CMP_GT_OQ),
                                    v_exp(_mm512_min_ps(x, zero)), one);
    case RLM_ACT_LEAKY:
        return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, zero, _CMP_GT_OQ), v_set(0.2f), one);
    case RLM_ACT_GELU: /* s + x s (1 - s) d(2u)/dx */
        s = v_gelu_gate(x);
        t = _mm512_fmadd_ps(_mm512_mul_ps(x, x), v_set(0.214064449f), v_set(1.59576912f));
        t = _mm512_mul_ps(_mm512_mul_ps(t, x), _mm512_mul_ps(s, _mm512_sub_ps(one, s)));
        return _mm512_add_ps(s, t);
    case RLM_ACT_TANH: /* 4 e / (1 + e)^2, e = e^-2|x|: no cancellation in the tails */
        t = v_exp(_mm512_or_ps(_mm512_add_ps(x, x), v_set(-0.0f)));
        s = v_rcp(_mm512_add_ps(one, t));
        return _mm512_mul_ps(_mm512_mul_ps(v_set(4.0f), t), _mm512_mul_ps(s, s));
    case RLM_ACT_RELU:
        return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, zero, _CMP_GT_OQ), zero, one);
    case RLM_ACT_NONE:
        break;
    }
    return one;
}

/* fn(act, ctx), where act is a constant if fn is one: a loop an activation, nothing to decide in
 * it. */
typedef void (*v_act_fn)(rlm_act act, void *ctx);
RLM_INLINE void v_by_act(rlm_act act, v_act_fn fn, void *ctx)
{
    switch (act) {
    case RLM_ACT_SILU:
        fn(RLM_ACT_SILU, ctx);
        break;
    case RLM_ACT_ELU:
        fn(RLM_ACT_ELU, ctx);
        break;
    case RLM_ACT_LEAKY:
        fn(RLM_ACT_LEAKY, ctx);
        break;
    case RLM_ACT_GELU:
        fn(RLM_ACT_GELU, ctx);
        break;
    case RLM_ACT_TANH:
        fn(RLM_ACT_TANH, ctx);
        break;
    case RLM_ACT_RELU:
        fn(RLM_ACT_RELU, ctx);
        break;
    case RLM_ACT_NONE:
        fn(RLM_ACT_NONE, ctx);
        break;
    }
}

/* 16 bf16 as floats. */
RLM_INLINE __m512 v_unbf16(const uint16_t *p, __mmask16 m)
{
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p)), 16));
}

/* Values from index i on of x: f32, or bf16 if half. */
RLM_INLINE __m512 v_of(bool half, const void *x, int64_t i, __mmask16 m)
{
    return half ? v_unbf16((const uint16_t *)x + i, m) : v_load((const float *)x + i, m);
}
RLM_INLINE const void *v_at(bool half, const void *x, int64_t i)
{
    return (const uint8_t *)x + i * (half ? 2 : 4);
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

/* y += x, y = x over n floats of one row. */
RLM_INLINE void v_row_add(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = v_tail(n - i);
        v_store(y + i, m, _mm512_add_ps(v_load(y + i, m), v_load(x + i, m)));
    }
}
RLM_INLINE void v_row_copy(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = v_tail(n - i);
        v_store(y + i, m, v_load(x + i, m));
    }
}

/* Elementwise operands: meaning of each pointer is the kernel's. */
typedef struct v_args {
    const float *a, *b, *c, *d;
    float *x, *y, *z, *w;
    float alpha;
} v_args;
typedef void (*v_at_fn)(const v_args *e, int64_t i, __mmask16 m);

/* at(e, i, lanes) over [begin, end): inlined for a constant `at`. */
RLM_INLINE void v_sweep(v_at_fn at, const v_args *e, int64_t begin, int64_t end)
{
    int64_t i = begin;
    for (; i + 16 <= end; i += 16)
        at(e, i, 0xffff);
    if (i < end)
        at(e, i, v_tail(end - i));
}

/* Attention in f32, any head dimension: what AMX falls back to for dimensions it does not tile. */
void rlm_avx512_attention_forward(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                                  float *y, float *lse);
void rlm_avx512_attention_backward(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                                   const float *y, const float *lse, const float *dy, float *dqkv,
                                   bool add);

/* Each family replaces its entries. */
void rlm_avx512_elementwise(rlm_kernels *k);
void rlm_avx512_norm(rlm_kernels *k);
void rlm_avx512_shuffle(rlm_kernels *k);
void rlm_avx512_sequence(rlm_kernels *k);
void rlm_avx512_cache(rlm_kernels *k);
void rlm_avx512_spectrum(rlm_kernels *k);
void rlm_avx512_elementwise_backward(rlm_kernels *k);
void rlm_avx512_norm_backward(rlm_kernels *k);
void rlm_avx512_shuffle_backward(rlm_kernels *k);
void rlm_avx512_sequence_backward(rlm_kernels *k);
void rlm_avx512_optim(rlm_kernels *k);

#endif
