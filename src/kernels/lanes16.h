/* Lanes of the AVX-512 level: 16 floats a register, masks of their own. Included by lanes.h. */
#ifndef RLM_KERNELS_LANES16_H
#define RLM_KERNELS_LANES16_H

enum { V_LANES = 16, V_REGISTERS = 32, V_FUSED = 1 };

typedef __m512 v_f32;
typedef __m512i v_i32;
typedef __mmask16 v_mask;  /* lanes [0, n) */
typedef __mmask16 v_flags; /* of a comparison, a lane each */

#define V_ALL ((v_mask)0xffff)

RLM_INLINE v_mask v_tail(int64_t n) /* lanes [0, n) */
{
    return n >= 16 ? V_ALL : (v_mask)((1u << n) - 1u);
}
RLM_INLINE v_mask v_left(int64_t n) /* the same where n may be 0 or less: no lanes */
{
    return n > 0 ? v_tail(n) : (v_mask)0;
}

/* ---- Memory: lanes outside m are read as 0 and not written ----------------------------------- */

RLM_INLINE v_f32 v_load(const float *p, v_mask m)
{
    return _mm512_maskz_loadu_ps(m, p);
}
RLM_INLINE void v_store(float *p, v_mask m, v_f32 v)
{
    _mm512_mask_storeu_ps(p, m, v);
}
RLM_INLINE v_f32 v_read(const float *p) /* all lanes */
{
    return _mm512_loadu_ps(p);
}
RLM_INLINE void v_write(float *p, v_f32 v)
{
    _mm512_storeu_ps(p, v);
}
RLM_INLINE void v_stream(float *p, v_f32 v) /* past the caches; p aligned to a register */
{
    _mm512_stream_ps(p, v);
}
RLM_INLINE void v_fence(void) /* behind the last of them */
{
    _mm_sfence();
}
RLM_INLINE v_f32 v_gather(const float *p, int step, v_mask m) /* p[0], p[step], .. */
{
    __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    lane = _mm512_mullo_epi32(lane, _mm512_set1_epi32(step));
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), m, lane, p, 4);
}
RLM_INLINE v_f32 v_unbf16(const uint16_t *p, v_mask m)
{
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p)), 16));
}
/* Rounds to nearest even and keeps NaN and denormals, as rlm_bf16 does. */
RLM_INLINE __m256i v_round16(v_f32 v)
{
    const __m512i one = _mm512_set1_epi32(1), half = _mm512_set1_epi32(0x7fff);
    __m512i u = _mm512_castps_si512(v), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), one);
    __m512i r = _mm512_add_epi32(_mm512_add_epi32(u, half), odd);
    r = _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), u,
                             _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16));
}
RLM_INLINE void v_store16(uint16_t *p, v_mask m, v_f32 v)
{
#ifdef RLM_BF16
    _mm256_mask_storeu_epi16(p, m, (__m256i)_mm512_cvtneps_pbh(v));
#else
    _mm256_mask_storeu_epi16(p, m, v_round16(v));
#endif
}

/* ---- Arithmetic ------------------------------------------------------------------------------ */

RLM_INLINE v_f32 v_set(float x)
{
    return _mm512_set1_ps(x);
}
RLM_INLINE v_f32 v_zero(void)
{
    return _mm512_setzero_ps();
}
RLM_INLINE v_f32 v_add(v_f32 a, v_f32 b)
{
    return _mm512_add_ps(a, b);
}
RLM_INLINE v_f32 v_sub(v_f32 a, v_f32 b)
{
    return _mm512_sub_ps(a, b);
}
RLM_INLINE v_f32 v_mul(v_f32 a, v_f32 b)
{
    return _mm512_mul_ps(a, b);
}
RLM_INLINE v_f32 v_div(v_f32 a, v_f32 b)
{
    return _mm512_div_ps(a, b);
}
RLM_INLINE v_f32 v_sqrt(v_f32 x)
{
    return _mm512_sqrt_ps(x);
}
RLM_INLINE v_f32 v_fma(v_f32 a, v_f32 b, v_f32 c) /* a b + c */
{
    return _mm512_fmadd_ps(a, b, c);
}
RLM_INLINE v_f32 v_fms(v_f32 a, v_f32 b, v_f32 c) /* a b - c */
{
    return _mm512_fmsub_ps(a, b, c);
}
RLM_INLINE v_f32 v_fnma(v_f32 a, v_f32 b, v_f32 c) /* c - a b */
{
    return _mm512_fnmadd_ps(a, b, c);
}
RLM_INLINE v_f32 v_min(v_f32 a, v_f32 b) /* b where one is NaN; so v_max */
{
    return _mm512_min_ps(a, b);
}
RLM_INLINE v_f32 v_max(v_f32 a, v_f32 b)
{
    return _mm512_max_ps(a, b);
}
RLM_INLINE v_f32 v_whole(v_f32 x) /* to the nearest integer */
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
RLM_INLINE v_f32 v_fraction(v_f32 x) /* x - floor(x), 0 of infinities */
{
    return _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
RLM_INLINE v_f32 v_scale2(v_f32 x, v_f32 n) /* x 2^floor(n) */
{
    return _mm512_scalef_ps(x, n);
}
RLM_INLINE v_f32 v_negative(v_f32 x) /* -|x| */
{
    return _mm512_or_ps(x, v_set(-0.0f));
}
/* 1 / x for |x| in [1e-37, 1e37]: 14-bit estimate and one Newton step. */
RLM_INLINE v_f32 v_rcp(v_f32 x)
{
    v_f32 y = _mm512_rcp14_ps(x);
    return v_mul(y, v_fnma(x, y, v_set(2.0f)));
}

/* ---- Choices --------------------------------------------------------------------------------- */

RLM_INLINE v_flags v_above(v_f32 a, v_f32 b) /* a > b; no where one is NaN */
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}
RLM_INLINE v_f32 v_pick(v_flags f, v_f32 no, v_f32 yes)
{
    return _mm512_mask_blend_ps(f, no, yes);
}
RLM_INLINE v_f32 v_keep(v_mask m, v_f32 x) /* 0 outside */
{
    return _mm512_maskz_mov_ps(m, x);
}
RLM_INLINE v_f32 v_only(v_mask m, v_f32 out, v_f32 in)
{
    return _mm512_mask_blend_ps(m, out, in);
}
RLM_INLINE v_f32 v_drop(v_flags f, v_f32 x) /* 0 where f says yes */
{
    return _mm512_mask_mov_ps(x, f, _mm512_setzero_ps());
}
RLM_INLINE unsigned v_bits(v_flags f, v_mask m) /* a bit a lane of m */
{
    return f & m;
}

/* ---- Integers -------------------------------------------------------------------------------- */

RLM_INLINE v_i32 v_to_i32(v_f32 x) /* to the nearest */
{
    return _mm512_cvtps_epi32(x);
}
RLM_INLINE v_i32 v_add_i32(v_i32 x, int n)
{
    return _mm512_add_epi32(x, _mm512_set1_epi32(n));
}
RLM_INLINE v_flags v_has(v_i32 x, int bit)
{
    return _mm512_test_epi32_mask(x, _mm512_set1_epi32(bit));
}

/* ---- Across lanes ---------------------------------------------------------------------------- */

RLM_INLINE float v_sum(v_f32 x)
{
    return _mm512_reduce_add_ps(x);
}
RLM_INLINE float v_most(v_f32 x)
{
    return _mm512_reduce_max_ps(x);
}

/* Sums of lanes in double. */
typedef struct v_double {
    __m512d lo, hi;
} v_double;
RLM_INLINE v_double v_double_zero(void)
{
    return (v_double){_mm512_setzero_pd(), _mm512_setzero_pd()};
}
RLM_INLINE v_double v_double_of(v_f32 x)
{
    return (v_double){_mm512_cvtps_pd(_mm512_castps512_ps256(x)),
                      _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1))};
}
RLM_INLINE v_double v_double_add(v_double a, v_double b)
{
    return (v_double){_mm512_add_pd(a.lo, b.lo), _mm512_add_pd(a.hi, b.hi)};
}
RLM_INLINE v_double v_double_fma(v_double a, v_double b, v_double c)
{
    return (v_double){_mm512_fmadd_pd(a.lo, b.lo, c.lo), _mm512_fmadd_pd(a.hi, b.hi, c.hi)};
}
RLM_INLINE v_f32 v_double_round(v_double a)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(a.lo)), _mm512_cvtpd_ps(a.hi),
                              1);
}
RLM_INLINE double v_double_sum(v_double a)
{
    return _mm512_reduce_add_pd(_mm512_add_pd(a.lo, a.hi));
}

#endif
