/* Shared by the files of all levels of vectors: exp and friends, sweeps over rows. lanes_*.c are
 * written in lanes and compiled once a level, with its flags: 4 lanes (NEON, SSE4.1), 8 (AVX2) or
 * 16 (AVX-512), and once more what gains by bf16 instructions. Everything here is inline. */
#ifndef RLM_KERNELS_LANES_H
#define RLM_KERNELS_LANES_H

#if RLM_LANES > 4
#include <immintrin.h>
#endif
#include <math.h>
#include <string.h>

#include "src/kernels/flush.h"
#include "src/kernels/kernels.h"

#define RLM_INLINE static inline __attribute__((always_inline))

/* RLM_LANES (4, 8 or 16) and RLM_BF16 are given on the command line: what the compiler may use
 * besides (-march=native) says nothing about the level. */
#ifdef RLM_BF16
#define V_LEVEL bf16
#elif RLM_LANES == 16
#define V_LEVEL avx512
#elif RLM_LANES == 8
#define V_LEVEL avx2
#else
#define V_LEVEL simd
#endif

/* The name of a function that each level has: rlm_avx2_norm, rlm_kernels_avx2. */
#define V_JOIN_(a, b) a##b
#define V_JOIN(a, b)  V_JOIN_(a, b)
#define V_NAME(name)  V_JOIN(V_JOIN(rlm_, V_LEVEL), _##name)
#define V_FILL        V_JOIN(rlm_kernels_, V_LEVEL)

#if RLM_LANES == 16
#include "src/kernels/lanes16.h"
#elif RLM_LANES == 8
#include "src/kernels/lanes8.h"
#else
#include "src/kernels/lanes4.h"
#endif

static inline int64_t v_round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* Elements a slice of work: about 20 us of streaming, so that waking a worker pays. */
#define RLM_GRAIN 32768

/* Results larger than a core's caches are written past them: a store that misses reads its line
 * first, two thirds of the traffic of writing. count floats at y, in whole lines of rows of `row`.
 * Who does so ends its slice with v_far_end: such stores come in any order. */
enum { RLM_FAR_BYTES = 4 << 20 };
RLM_INLINE bool v_is_far(const float *y, int64_t count, int64_t row)
{
    return count > RLM_FAR_BYTES / (int64_t)sizeof(float) && row % 16 == 0 &&
           (uintptr_t)y % 64 == 0;
}
RLM_INLINE void v_put(bool far, float *p, v_mask m, v_f32 v)
{
    if (far)
        v_stream(p, v);
    else
        v_store(p, m, v);
}
RLM_INLINE void v_far_end(bool far)
{
    if (far)
        v_fence();
}

/* Rows a slice when a row costs `c` elements. */
RLM_INLINE int64_t v_row_grain(int64_t c)
{
    return c >= RLM_GRAIN ? 1 : RLM_GRAIN / (c < 1 ? 1 : c);
}

/* e^x; saturates to 0 and infinity, keeps NaN; relative error 2e-7. */
RLM_INLINE v_f32 v_exp(v_f32 x)
{
    x = v_min(v_set(89.0f), v_max(v_set(-104.0f), x));
    v_f32 n = v_whole(v_mul(x, v_set(1.44269504f)));
    v_f32 r = v_fnma(n, v_set(0.693359375f), x);
    r = v_fnma(n, v_set(-2.12194440e-4f), r);
    v_f32 p = v_set(8.31248e-3f);
    p = v_fma(p, r, v_set(4.189055e-2f));
    p = v_fma(p, r, v_set(1.6667116e-1f));
    p = v_fma(p, r, v_set(4.9999229e-1f));
    p = v_fma(p, r, v_set(1.0f));
    p = v_fma(p, r, v_set(1.0f));
    return v_scale2(p, n);
}

/* 1 / (1 + e^-x), accurate in both tails (0 where it is below 1e-38); keeps NaN. e^-x = 2^u =
 * 2^floor(u) 2^r, relative error 1e-7 of 2^r and 4e-8 |u| of u. */
RLM_INLINE v_f32 v_sigmoid(v_f32 x)
{
    v_f32 u = v_mul(x, v_set(-1.44269504f)), one = v_set(1.0f);
    v_f32 r = v_fraction(u); /* [0, 1) */
    v_f32 p = v_set(1.8775767e-3f);
    p = v_fma(p, r, v_set(8.9893406e-3f));
    p = v_fma(p, r, v_set(5.5826318e-2f));
    p = v_fma(p, r, v_set(2.4015361e-1f));
    p = v_fma(p, r, v_set(6.9315308e-1f));
    p = v_fma(p, r, v_set(0.99999994f));
    return v_drop(v_above(u, v_set(125.99999f)), v_rcp(v_add(one, v_scale2(p, u))));
}

/* tanh; a Taylor series near 0, where 1 - 2 / (e^2x + 1) would cancel. */
RLM_INLINE v_f32 v_tanh(v_f32 x)
{
    v_f32 big = v_fms(v_set(2.0f), v_sigmoid(v_add(x, x)), v_set(1.0f));
    v_f32 s = v_mul(x, x), p = v_set(-1382.0f / 155925.0f);
    p = v_fma(p, s, v_set(62.0f / 2835.0f));
    p = v_fma(p, s, v_set(-17.0f / 315.0f));
    p = v_fma(p, s, v_set(2.0f / 15.0f));
    p = v_fma(p, s, v_set(-1.0f / 3.0f));
    p = v_fma(v_mul(p, s), x, x);
    return v_pick(v_above(v_set(0.0625f), s), big, p);
}

/* e^x - 1 for x <= 0. */
RLM_INLINE v_f32 v_expm1(v_f32 x)
{
    v_f32 big = v_sub(v_exp(x), v_set(1.0f));
    v_f32 p = v_set(1.0f / 720.0f);
    p = v_fma(p, x, v_set(1.0f / 120.0f));
    p = v_fma(p, x, v_set(1.0f / 24.0f));
    p = v_fma(p, x, v_set(1.0f / 6.0f));
    p = v_fma(p, x, v_set(0.5f));
    p = v_fma(v_mul(p, x), x, x);
    return v_pick(v_above(x, v_set(-0.2f)), big, p);
}

/* GELU in tanh form is x * sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3). */
RLM_INLINE v_f32 v_gelu_gate(v_f32 x)
{
    v_f32 s = v_mul(x, x);
    v_f32 u = v_fma(s, v_set(0.0713548163f), v_set(1.59576912f));
    return v_sigmoid(v_mul(u, x));
}

RLM_INLINE v_f32 v_act(rlm_act act, v_f32 x)
{
    v_f32 zero = v_zero();
    switch (act) {
    case RLM_ACT_SILU:
        return v_mul(x, v_sigmoid(x));
    case RLM_ACT_ELU:
        return v_pick(v_above(x, zero), v_expm1(v_min(zero, x)), x);
    case RLM_ACT_LEAKY:
        return v_pick(v_above(zero, x), x, v_mul(x, v_set(0.2f)));
    case RLM_ACT_GELU:
        return v_mul(x, v_gelu_gate(x));
    case RLM_ACT_TANH:
        return v_tanh(x);
    case RLM_ACT_RELU:
        return v_max(x, zero);
    case RLM_ACT_NONE:
        break;
    }
    return x;
}

/* d act / d x. */
RLM_INLINE v_f32 v_dact(rlm_act act, v_f32 x)
{
    v_f32 zero = v_zero(), one = v_set(1.0f), s, t;
    switch (act) {
    case RLM_ACT_SILU: /* s + x s (1 - s) */
        s = v_sigmoid(x);
        return v_fma(v_mul(x, s), v_sub(one, s), s);
    case RLM_ACT_ELU:
        return v_pick(v_above(x, zero), v_exp(v_min(zero, x)), one);
    case RLM_ACT_LEAKY:
        return v_pick(v_above(x, zero), v_set(0.2f), one);
    case RLM_ACT_GELU: /* s + x s (1 - s) d(2u)/dx */
        s = v_gelu_gate(x);
        t = v_fma(v_mul(x, x), v_set(0.214064449f), v_set(1.59576912f));
        t = v_mul(v_mul(t, x), v_mul(s, v_sub(one, s)));
        return v_add(s, t);
    case RLM_ACT_TANH: /* 4 e / (1 + e)^2, e = e^-2|x|: no cancellation in the tails */
        t = v_exp(v_negative(v_add(x, x)));
        s = v_rcp(v_add(one, t));
        return v_mul(v_mul(v_set(4.0f), t), v_mul(s, s));
    case RLM_ACT_RELU:
        return v_pick(v_above(x, zero), zero, one);
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

/* Values from index i on of x: f32, or bf16 if half. */
RLM_INLINE v_f32 v_of(bool half, const void *x, int64_t i, v_mask m)
{
    return half ? v_unbf16((const uint16_t *)x + i, m) : v_load((const float *)x + i, m);
}
RLM_INLINE const void *v_at(bool half, const void *x, int64_t i)
{
    return (const uint8_t *)x + i * (half ? 2 : 4);
}

/* y += x, y = x over n floats of one row. */
RLM_INLINE void v_row_add(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += V_LANES) {
        v_mask m = v_tail(n - i);
        v_store(y + i, m, v_add(v_load(y + i, m), v_load(x + i, m)));
    }
}
RLM_INLINE void v_row_copy(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += V_LANES) {
        v_mask m = v_tail(n - i);
        v_store(y + i, m, v_load(x + i, m));
    }
}

/* Elementwise operands: meaning of each pointer is the kernel's. */
typedef struct v_args {
    const float *a, *b, *c, *d;
    float *x, *y, *z, *w;
    float alpha;
} v_args;
typedef void (*v_at_fn)(const v_args *e, int64_t i, v_mask m);

/* at(e, i, lanes) over [begin, end): inlined for a constant `at`. */
RLM_INLINE void v_sweep(v_at_fn at, const v_args *e, int64_t begin, int64_t end)
{
    int64_t i = begin;
    for (; i + V_LANES <= end; i += V_LANES)
        at(e, i, V_ALL);
    if (i < end)
        at(e, i, v_tail(end - i));
}

/* Attention in f32, any head dimension. */
void V_NAME(attention_forward)(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                               float *y, float *lse);
void V_NAME(attention_backward)(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                                const float *y, const float *lse, const float *dy, float *dqkv,
                                bool add);

/* Each family replaces its entries. */
void V_NAME(elementwise)(rlm_kernels *k);
void V_NAME(norm)(rlm_kernels *k);
void V_NAME(shuffle)(rlm_kernels *k);
void V_NAME(sequence)(rlm_kernels *k);
void V_NAME(conv)(rlm_kernels *k);
void V_NAME(rvq)(rlm_kernels *k);
void V_NAME(cache)(rlm_kernels *k);
void V_NAME(quant)(rlm_kernels *k);
void V_NAME(linear)(rlm_kernels *k);
void V_NAME(spectrum)(rlm_kernels *k);
void V_NAME(elementwise_backward)(rlm_kernels *k);
void V_NAME(norm_backward)(rlm_kernels *k);
void V_NAME(shuffle_backward)(rlm_kernels *k);
void V_NAME(sequence_backward)(rlm_kernels *k);
void V_NAME(conv_backward)(rlm_kernels *k);
void V_NAME(optim)(rlm_kernels *k);

#endif
