/* Lanes of the AVX2 level: 8 floats a register; a mask is how many lanes count, so that whole
 * registers are moved by plain instructions. Included by lanes.h. */
#ifndef RLM_KERNELS_LANES8_H
#define RLM_KERNELS_LANES8_H

enum { V_LANES = 8, V_REGISTERS = 16, V_FUSED = 1 };

typedef __m256 v_f32;
typedef __m256i v_i32;
typedef int v_mask;     /* lanes [0, n) */
typedef __m256 v_flags; /* of a comparison, a lane each */

#define V_ALL ((v_mask)V_LANES)

RLM_INLINE v_mask v_tail(int64_t n) /* lanes [0, n) */
{
    return n >= V_LANES ? V_ALL : (v_mask)n;
}
RLM_INLINE v_mask v_left(int64_t n) /* the same where n may be 0 or less: no lanes */
{
    return n > 0 ? v_tail(n) : 0;
}
RLM_INLINE __m256i v_lanes(v_mask m) /* all bits of the lanes of m */
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(m), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* ---- Memory: lanes outside m are read as 0 and not written ----------------------------------- */

RLM_INLINE v_f32 v_load(const float *p, v_mask m)
{
    return m == V_ALL ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, v_lanes(m));
}
RLM_INLINE void v_store(float *p, v_mask m, v_f32 v)
{
    if (m == V_ALL)
        _mm256_storeu_ps(p, v);
    else
        _mm256_maskstore_ps(p, v_lanes(m), v);
}
RLM_INLINE v_f32 v_read(const float *p) /* all lanes */
{
    return _mm256_loadu_ps(p);
}
RLM_INLINE void v_write(float *p, v_f32 v)
{
    _mm256_storeu_ps(p, v);
}
RLM_INLINE void v_stream(float *p, v_f32 v) /* past the caches; p aligned to a register */
{
    _mm256_stream_ps(p, v);
}
RLM_INLINE void v_fence(void) /* behind the last of them */
{
    _mm_sfence();
}
RLM_INLINE v_f32 v_gather(const float *p, int step, v_mask m) /* p[0], p[step], .. */
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    lane = _mm256_mullo_epi32(lane, _mm256_set1_epi32(step));
    return _mm256_mask_i32gather_ps(_mm256_setzero_ps(), p, lane, _mm256_castsi256_ps(v_lanes(m)),
                                    4);
}
RLM_INLINE v_f32 v_unbf16(const uint16_t *p, v_mask m)
{
    uint16_t some[V_LANES] = {0};
    if (m < V_LANES) {
        memcpy(some, p, (size_t)m * sizeof *p);
        p = some;
    }
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}
RLM_INLINE void v_store16(uint16_t *p, v_mask m, v_f32 v)
{
    float some[V_LANES];
    v_write(some, v);
    for (int i = 0; i < m; i++)
        p[i] = rlm_bf16(some[i]);
}

/* ---- Arithmetic ------------------------------------------------------------------------------ */

RLM_INLINE v_f32 v_set(float x)
{
    return _mm256_set1_ps(x);
}
RLM_INLINE v_f32 v_zero(void)
{
    return _mm256_setzero_ps();
}
RLM_INLINE v_f32 v_add(v_f32 a, v_f32 b)
{
    return _mm256_add_ps(a, b);
}
RLM_INLINE v_f32 v_sub(v_f32 a, v_f32 b)
{
    return _mm256_sub_ps(a, b);
}
RLM_INLINE v_f32 v_mul(v_f32 a, v_f32 b)
{
    return _mm256_mul_ps(a, b);
}
RLM_INLINE v_f32 v_div(v_f32 a, v_f32 b)
{
    return _mm256_div_ps(a, b);
}
RLM_INLINE v_f32 v_sqrt(v_f32 x)
{
    return _mm256_sqrt_ps(x);
}
RLM_INLINE v_f32 v_fma(v_f32 a, v_f32 b, v_f32 c) /* a b + c */
{
    return _mm256_fmadd_ps(a, b, c);
}
RLM_INLINE v_f32 v_fms(v_f32 a, v_f32 b, v_f32 c) /* a b - c */
{
    return _mm256_fmsub_ps(a, b, c);
}
RLM_INLINE v_f32 v_fnma(v_f32 a, v_f32 b, v_f32 c) /* c - a b */
{
    return _mm256_fnmadd_ps(a, b, c);
}
RLM_INLINE v_f32 v_min(v_f32 a, v_f32 b) /* b where one is NaN; so v_max */
{
    return _mm256_min_ps(a, b);
}
RLM_INLINE v_f32 v_max(v_f32 a, v_f32 b)
{
    return _mm256_max_ps(a, b);
}
RLM_INLINE v_f32 v_whole(v_f32 x) /* to the nearest integer */
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
RLM_INLINE v_f32 v_fraction(v_f32 x) /* x - floor(x), 0 of infinities */
{
    x = v_min(v_set(4194304.0f), v_max(v_set(-4194304.0f), x));
    return v_sub(x, _mm256_floor_ps(x));
}
RLM_INLINE v_f32 v_scale2(v_f32 x, v_f32 n) /* x 2^floor(n), in two halves: n reaches 128 */
{
    n = _mm256_floor_ps(v_min(v_set(252.0f), v_max(v_set(-252.0f), n)));
    __m256i k = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(k, 1);
    __m256i bias = _mm256_set1_epi32(127), rest = _mm256_sub_epi32(k, half);
    x = v_mul(x, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
    return v_mul(x, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}
RLM_INLINE v_f32 v_negative(v_f32 x) /* -|x| */
{
    return _mm256_or_ps(x, v_set(-0.0f));
}
RLM_INLINE v_f32 v_rcp(v_f32 x)
{
    return v_div(v_set(1.0f), x);
}

/* ---- Choices --------------------------------------------------------------------------------- */

RLM_INLINE v_flags v_above(v_f32 a, v_f32 b) /* a > b; no where one is NaN */
{
    return _mm256_cmp_ps(a, b, _CMP_GT_OQ);
}
RLM_INLINE v_f32 v_pick(v_flags f, v_f32 no, v_f32 yes)
{
    return _mm256_blendv_ps(no, yes, f);
}
RLM_INLINE v_f32 v_keep(v_mask m, v_f32 x) /* 0 outside */
{
    return m == V_ALL ? x : _mm256_and_ps(x, _mm256_castsi256_ps(v_lanes(m)));
}
RLM_INLINE v_f32 v_only(v_mask m, v_f32 out, v_f32 in)
{
    return m == V_ALL ? in : _mm256_blendv_ps(out, in, _mm256_castsi256_ps(v_lanes(m)));
}
RLM_INLINE v_f32 v_drop(v_flags f, v_f32 x) /* 0 where f says yes */
{
    return _mm256_andnot_ps(f, x);
}
RLM_INLINE unsigned v_bits(v_flags f, v_mask m) /* a bit a lane of m */
{
    return (unsigned)_mm256_movemask_ps(f) & ((1u << m) - 1u);
}

/* ---- Integers -------------------------------------------------------------------------------- */

RLM_INLINE v_i32 v_to_i32(v_f32 x) /* to the nearest */
{
    return _mm256_cvtps_epi32(x);
}
RLM_INLINE v_i32 v_add_i32(v_i32 x, int n)
{
    return _mm256_add_epi32(x, _mm256_set1_epi32(n));
}
RLM_INLINE v_flags v_has(v_i32 x, int bit)
{
    __m256i b = _mm256_set1_epi32(bit);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(x, b), b));
}

RLM_INLINE v_i32 v_set_i32(int n)
{
    return _mm256_set1_epi32(n);
}
RLM_INLINE v_f32 v_of_i32(v_i32 x)
{
    return _mm256_cvtepi32_ps(x);
}
RLM_INLINE v_i32 v_top_magnitude(v_i32 top, v_f32 x) /* of |x| as integers: NaN is above all */
{
    __m256i size = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(INT32_MAX));
    return _mm256_max_epi32(top, size);
}
RLM_INLINE void v_write_i32(int32_t *p, v_i32 x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, x);
}

/* ---- Lanes of four bytes or two halves ------------------------------------------------------- */

RLM_INLINE v_i32 v_load_i32(const void *p, v_mask m)
{
    return m == V_ALL ? _mm256_loadu_si256(p) : _mm256_maskload_epi32(p, v_lanes(m));
}
RLM_INLINE v_i32 v_quad(const int8_t *p) /* the same four bytes in every lane */
{
    int32_t four;
    memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}
RLM_INLINE v_i32 v_flip(v_i32 x) /* bytes from offset 128 to signed */
{
    return _mm256_xor_si256(x, _mm256_set1_epi8((char)0x80));
}
RLM_INLINE v_f32 v_byte(v_i32 x, int i) /* byte i, signed */
{
    return v_of_i32(_mm256_srai_epi32(_mm256_sll_epi32(x, _mm_cvtsi32_si128(24 - 8 * i)), 24));
}
RLM_INLINE v_f32 v_half(v_i32 x, int i) /* half i, bf16 */
{
    return _mm256_castsi256_ps(i ? _mm256_and_si256(x, _mm256_set1_epi32((int)0xffff0000))
                                 : _mm256_slli_epi32(x, 16));
}

/* acc + the four products of a lane's bytes. Those of a are -128 .. 127, of b -127 .. 127: two
 * products fit 16 bits. */
RLM_INLINE v_i32 v_dot(v_i32 acc, v_i32 a, v_i32 b)
{
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
/* The same of a's halves of bytes: 0 .. 15, the lower ones meet `low`, the upper ones `high`. */
RLM_INLINE v_i32 v_dot4(v_i32 acc, v_i32 a, v_i32 low, v_i32 high)
{
    const __m256i nibble = _mm256_set1_epi8(15), one = _mm256_set1_epi16(1);
    __m256i l = _mm256_and_si256(a, nibble);
    __m256i h = _mm256_and_si256(_mm256_srli_epi16(a, 4), nibble);
    __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(l, low), _mm256_maddubs_epi16(h, high));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, one));
}

/* ---- Across lanes ---------------------------------------------------------------------------- */

RLM_INLINE float v_sum(v_f32 x)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
RLM_INLINE float v_most(v_f32 x)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* Sums of lanes in double. */
typedef struct v_double {
    __m256d lo, hi;
} v_double;
RLM_INLINE v_double v_double_zero(void)
{
    return (v_double){_mm256_setzero_pd(), _mm256_setzero_pd()};
}
RLM_INLINE v_double v_double_of(v_f32 x)
{
    return (v_double){_mm256_cvtps_pd(_mm256_castps256_ps128(x)),
                      _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))};
}
RLM_INLINE v_double v_double_add(v_double a, v_double b)
{
    return (v_double){_mm256_add_pd(a.lo, b.lo), _mm256_add_pd(a.hi, b.hi)};
}
RLM_INLINE v_double v_double_fma(v_double a, v_double b, v_double c)
{
    return (v_double){_mm256_fmadd_pd(a.lo, b.lo, c.lo), _mm256_fmadd_pd(a.hi, b.hi, c.hi)};
}
RLM_INLINE v_f32 v_double_round(v_double a)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(a.lo)),
                                _mm256_cvtpd_ps(a.hi), 1);
}
RLM_INLINE double v_double_sum(v_double a)
{
    double lane[4];
    _mm256_storeu_pd(lane, _mm256_add_pd(a.lo, a.hi));
    return (lane[0] + lane[2]) + (lane[1] + lane[3]);
}

#endif
