/* Lanes of the simd level: 4 floats a register, in the compiler's own vectors of 128 bits; what
 * these can't say, in NEON's words (aarch64) or SSE4.1's (x86). A mask is how many lanes count.
 * Included by lanes.h. */
#ifndef RLM_KERNELS_LANES4_H
#define RLM_KERNELS_LANES4_H

/* Registers, and whether a product is rounded only after the sum. */
#ifdef __aarch64__
#include <arm_neon.h>
enum { V_LANES = 4, V_REGISTERS = 32, V_FUSED = 1 };
#else
#include <smmintrin.h>
enum { V_LANES = 4, V_REGISTERS = 16, V_FUSED = 0 };
#endif

typedef float v_f32 __attribute__((vector_size(16)));
typedef int32_t v_i32 __attribute__((vector_size(16)));
typedef int v_mask;    /* lanes [0, n) */
typedef v_i32 v_flags; /* of a comparison: all bits of a lane, or none */

#define V_ALL ((v_mask)V_LANES)

RLM_INLINE v_mask v_tail(int64_t n) /* lanes [0, n) */
{
    return n >= V_LANES ? V_ALL : (v_mask)n;
}
RLM_INLINE v_mask v_left(int64_t n) /* the same where n may be 0 or less: no lanes */
{
    return n > 0 ? v_tail(n) : 0;
}
RLM_INLINE v_i32 v_set_i32(int n)
{
    return (v_i32){n, n, n, n};
}
RLM_INLINE v_flags v_lanes(v_mask m) /* all bits of the lanes of m */
{
    return v_set_i32(m) > (v_i32){0, 1, 2, 3};
}

/* ---- Memory: lanes outside m are read as 0 and not written ----------------------------------- */

RLM_INLINE v_f32 v_read(const float *p) /* all lanes */
{
    v_f32 v;
    memcpy(&v, p, sizeof v);
    return v;
}
RLM_INLINE void v_write(float *p, v_f32 v)
{
    memcpy(p, &v, sizeof v);
}
RLM_INLINE v_f32 v_load(const float *p, v_mask m)
{
    if (m == V_ALL)
        return v_read(p);
    return (v_f32){m > 0 ? p[0] : 0, m > 1 ? p[1] : 0, m > 2 ? p[2] : 0, 0};
}
RLM_INLINE void v_store(float *p, v_mask m, v_f32 v)
{
    if (m == V_ALL)
        v_write(p, v);
    else
        for (int i = 0; i < m; i++)
            p[i] = v[i];
}
RLM_INLINE void v_stream(float *p, v_f32 v)
{
    v_write(p, v);
}
RLM_INLINE void v_fence(void)
{
}
RLM_INLINE v_f32 v_gather(const float *p, int step, v_mask m) /* p[0], p[step], .. */
{
    int64_t s = step;
    return (v_f32){m > 0 ? p[0] : 0, m > 1 ? p[s] : 0, m > 2 ? p[2 * s] : 0, m > 3 ? p[3 * s] : 0};
}
RLM_INLINE v_f32 v_unbf16(const uint16_t *p, v_mask m)
{
    typedef uint16_t v_u16 __attribute__((vector_size(8)));
    v_u16 some = {0};
    if (m == V_ALL)
        memcpy(&some, p, sizeof some);
    else
        for (int i = 0; i < m; i++)
            some[i] = p[i];
    return (v_f32)(__builtin_convertvector(some, v_i32) << 16);
}
RLM_INLINE void v_store16(uint16_t *p, v_mask m, v_f32 v)
{
    for (int i = 0; i < m; i++)
        p[i] = rlm_bf16(v[i]);
}

/* ---- Choices --------------------------------------------------------------------------------- */

RLM_INLINE v_flags v_above(v_f32 a, v_f32 b) /* a > b; no where one is NaN */
{
    return a > b;
}
RLM_INLINE v_f32 v_pick(v_flags f, v_f32 no, v_f32 yes)
{
    return (v_f32)((v_i32)no ^ (((v_i32)no ^ (v_i32)yes) & f));
}
RLM_INLINE v_f32 v_only(v_mask m, v_f32 out, v_f32 in)
{
    return m == V_ALL ? in : v_pick(v_lanes(m), out, in);
}
RLM_INLINE v_f32 v_keep(v_mask m, v_f32 x) /* 0 outside */
{
    return m == V_ALL ? x : (v_f32)((v_i32)x & v_lanes(m));
}
RLM_INLINE v_f32 v_drop(v_flags f, v_f32 x) /* 0 where f says yes */
{
    return (v_f32)((v_i32)x & ~f);
}
RLM_INLINE unsigned v_bits(v_flags f, v_mask m) /* a bit a lane of m */
{
    v_i32 bit = f & (v_i32){1, 2, 4, 8};
    return (unsigned)(bit[0] | bit[1] | bit[2] | bit[3]) & ((1u << m) - 1u);
}

/* ---- Arithmetic ------------------------------------------------------------------------------ */

RLM_INLINE v_f32 v_set(float x)
{
    return (v_f32){x, x, x, x};
}
RLM_INLINE v_f32 v_zero(void)
{
    return v_set(0);
}
RLM_INLINE v_f32 v_add(v_f32 a, v_f32 b)
{
    return a + b;
}
RLM_INLINE v_f32 v_sub(v_f32 a, v_f32 b)
{
    return a - b;
}
RLM_INLINE v_f32 v_mul(v_f32 a, v_f32 b)
{
    return a * b;
}
RLM_INLINE v_f32 v_div(v_f32 a, v_f32 b)
{
    return a / b;
}
RLM_INLINE v_f32 v_sqrt(v_f32 x)
{
#ifdef __aarch64__
    return vsqrtq_f32(x);
#else
    return (v_f32)_mm_sqrt_ps((__m128)x);
#endif
}
/* Rounded once where the processor can (V_FUSED). */
RLM_INLINE v_f32 v_fma(v_f32 a, v_f32 b, v_f32 c) /* a b + c */
{
#ifdef __aarch64__
    return vfmaq_f32(c, a, b);
#else
    return a * b + c;
#endif
}
RLM_INLINE v_f32 v_fms(v_f32 a, v_f32 b, v_f32 c) /* a b - c */
{
    return v_fma(a, b, -c);
}
RLM_INLINE v_f32 v_fnma(v_f32 a, v_f32 b, v_f32 c) /* c - a b */
{
#ifdef __aarch64__
    return vfmsq_f32(c, a, b);
#else
    return c - a * b;
#endif
}
RLM_INLINE v_f32 v_min(v_f32 a, v_f32 b) /* b where one is NaN; so v_max */
{
#ifdef __aarch64__
    return v_pick(a < b, b, a);
#else
    return (v_f32)_mm_min_ps((__m128)a, (__m128)b);
#endif
}
RLM_INLINE v_f32 v_max(v_f32 a, v_f32 b)
{
#ifdef __aarch64__
    return v_pick(a > b, b, a);
#else
    return (v_f32)_mm_max_ps((__m128)a, (__m128)b);
#endif
}
RLM_INLINE v_f32 v_whole(v_f32 x) /* to the nearest integer */
{
#ifdef __aarch64__
    return vrndnq_f32(x);
#else
    return (v_f32)_mm_round_ps((__m128)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#endif
}
RLM_INLINE v_f32 v_floor(v_f32 x)
{
#ifdef __aarch64__
    return vrndmq_f32(x);
#else
    return (v_f32)_mm_floor_ps((__m128)x);
#endif
}
RLM_INLINE v_f32 v_fraction(v_f32 x) /* x - floor(x), 0 of infinities */
{
    x = v_min(v_set(4194304.0f), v_max(v_set(-4194304.0f), x));
    return x - v_floor(x);
}
RLM_INLINE v_i32 v_to_i32(v_f32 x) /* to the nearest */
{
#ifdef __aarch64__
    return vcvtnq_s32_f32(x);
#else
    return (v_i32)_mm_cvtps_epi32((__m128)x);
#endif
}
RLM_INLINE v_f32 v_scale2(v_f32 x, v_f32 n) /* x 2^floor(n), in two halves: n reaches 128 */
{
    v_i32 k = v_to_i32(v_floor(v_min(v_set(252.0f), v_max(v_set(-252.0f), n)))), half = k >> 1;
    x *= (v_f32)((half + 127) << 23);
    return x * (v_f32)((k - half + 127) << 23);
}
RLM_INLINE v_f32 v_negative(v_f32 x) /* -|x| */
{
    return (v_f32)((v_i32)x | v_set_i32(INT32_MIN));
}
RLM_INLINE v_f32 v_rcp(v_f32 x)
{
    return 1.0f / x;
}

/* ---- Integers -------------------------------------------------------------------------------- */

RLM_INLINE v_i32 v_add_i32(v_i32 x, int n)
{
    return x + n;
}
RLM_INLINE v_flags v_has(v_i32 x, int bit)
{
    return (x & bit) == bit;
}
RLM_INLINE v_f32 v_of_i32(v_i32 x)
{
    return __builtin_convertvector(x, v_f32);
}
RLM_INLINE v_i32 v_top_magnitude(v_i32 top, v_f32 x) /* of |x| as integers: NaN is above all */
{
    v_i32 size = (v_i32)x & INT32_MAX;
    v_flags more = size > top;
    return (size & more) | (top & ~more);
}
RLM_INLINE void v_write_i32(int32_t *p, v_i32 x)
{
    memcpy(p, &x, sizeof x);
}

/* ---- Lanes of four bytes or two halves ------------------------------------------------------- */

RLM_INLINE v_i32 v_load_i32(const void *p, v_mask m)
{
    v_i32 x = {0};
    if (m == V_ALL)
        memcpy(&x, p, sizeof x);
    else
        memcpy(&x, p, (size_t)m * 4);
    return x;
}
RLM_INLINE v_i32 v_quad(const int8_t *p) /* the same four bytes in every lane */
{
    int32_t four;
    memcpy(&four, p, 4);
    return v_set_i32(four);
}
RLM_INLINE v_i32 v_flip(v_i32 x) /* bytes from offset 128 to signed */
{
    return x ^ v_set_i32((int)0x80808080);
}
RLM_INLINE v_f32 v_byte(v_i32 x, int i) /* byte i, signed */
{
    return v_of_i32(x << (24 - 8 * i) >> 24);
}
RLM_INLINE v_f32 v_half(v_i32 x, int i) /* half i, bf16 */
{
    return (v_f32)(i ? x & (int)0xffff0000 : x << 16);
}

/* acc + the four products of a lane's bytes. Those of a are -128 .. 127, of b -127 .. 127: two
 * products fit 16 bits. */
RLM_INLINE v_i32 v_dot(v_i32 acc, v_i32 a, v_i32 b)
{
#ifdef __ARM_FEATURE_DOTPROD
    return vdotq_s32(acc, (int8x16_t)a, (int8x16_t)b);
#elif defined(__aarch64__)
    int8x16_t x = (int8x16_t)a, y = (int8x16_t)b;
    int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(y)), high = vmull_high_s8(x, y);
    return vpadalq_s16(acc, vpaddq_s16(low, high));
#else
    __m128i x = (__m128i)a,
            pairs = _mm_maddubs_epi16(_mm_abs_epi8(x), _mm_sign_epi8((__m128i)b, x));
    return acc + (v_i32)_mm_madd_epi16(pairs, _mm_set1_epi16(1));
#endif
}
/* The same of a's halves of bytes: 0 .. 15, the lower ones meet `low`, the upper ones `high`. */
RLM_INLINE v_i32 v_dot4(v_i32 acc, v_i32 a, v_i32 low, v_i32 high)
{
    v_i32 l = a & 0x0f0f0f0f, h = a >> 4 & 0x0f0f0f0f;
#ifdef __aarch64__
    return v_dot(v_dot(acc, l, low), h, high);
#else
    __m128i pairs = _mm_add_epi16(_mm_maddubs_epi16((__m128i)l, (__m128i)low),
                                  _mm_maddubs_epi16((__m128i)h, (__m128i)high));
    return acc + (v_i32)_mm_madd_epi16(pairs, _mm_set1_epi16(1));
#endif
}

/* ---- Across lanes ---------------------------------------------------------------------------- */

RLM_INLINE float v_sum(v_f32 x)
{
    return (x[0] + x[2]) + (x[1] + x[3]);
}
RLM_INLINE float v_most(v_f32 x)
{
    x = v_max(x, __builtin_shufflevector(x, x, 2, 3, 2, 3));
    return x[0] > x[1] ? x[0] : x[1];
}

/* Sums of lanes in double. */
typedef double v_pair __attribute__((vector_size(16)));
typedef struct v_double {
    v_pair lo, hi;
} v_double;
RLM_INLINE v_double v_double_zero(void)
{
    return (v_double){{0, 0}, {0, 0}};
}
RLM_INLINE v_double v_double_of(v_f32 x)
{
    return (v_double){{x[0], x[1]}, {x[2], x[3]}};
}
RLM_INLINE v_double v_double_add(v_double a, v_double b)
{
    return (v_double){a.lo + b.lo, a.hi + b.hi};
}
RLM_INLINE v_double v_double_fma(v_double a, v_double b, v_double c)
{
    return (v_double){a.lo * b.lo + c.lo, a.hi * b.hi + c.hi};
}
RLM_INLINE v_f32 v_double_round(v_double a)
{
    return (v_f32){(float)a.lo[0], (float)a.lo[1], (float)a.hi[0], (float)a.hi[1]};
}
RLM_INLINE double v_double_sum(v_double a)
{
    v_pair s = a.lo + a.hi;
    return s[0] + s[1];
}

#endif
