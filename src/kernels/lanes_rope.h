/* Rotary positions: sine and cosine of a row's angles, a head normed and rotated. */
#ifndef RLM_KERNELS_LANES_ROPE_H
#define RLM_KERNELS_LANES_ROPE_H

#include "src/kernels/lanes.h"

#define ROPE_MAX_DIM RLM_HEAD_DIM_MAX

/* Both of x, |x| < 1e5: reduction by pi/2 in three parts, then the usual polynomials. Where
 * products are rounded before they are added the first parts are short, so that up to |x| of 12,000
 * they need no rounding (W. J. Cody and W. Waite, 1980). */
RLM_INLINE void v_sincos(v_f32 x, v_f32 *sine, v_f32 *cosine)
{
    v_f32 n = v_whole(v_mul(x, v_set(0.636619772f)));
    v_i32 q = v_to_i32(n);
    v_f32 r = v_fnma(n, v_set(V_FUSED ? 1.57079637e+0f : 1.5703125f), x);
    r = v_fnma(n, v_set(V_FUSED ? -4.37113883e-8f : 4.83751297e-4f), r);
    r = v_fnma(n, v_set(V_FUSED ? -1.71512489e-15f : 7.54978995e-8f), r);
    v_f32 z = v_mul(r, r), s = v_set(-1.9515295891e-4f), c = v_set(2.443315711809948e-5f);
    s = v_fma(s, z, v_set(8.3321608736e-3f));
    s = v_fma(s, z, v_set(-1.6666654611e-1f));
    s = v_fma(v_mul(s, z), r, r);
    c = v_fma(c, z, v_set(-1.388731625493765e-3f));
    c = v_fma(c, z, v_set(4.166664568298827e-2f));
    c = v_fma(c, z, v_set(-0.5f));
    c = v_fma(c, z, v_set(1.0f));
    v_flags odd = v_has(q, 1);
    v_f32 a = v_pick(odd, s, c), b = v_pick(odd, c, s);
    v_f32 zero = v_zero();
    *sine = v_pick(v_has(q, 2), a, v_sub(zero, a));
    *cosine = v_pick(v_has(v_add_i32(q, 1), 2), b, v_sub(zero, b));
}

RLM_INLINE void rope_table(const float *angle, int half, float *sine, float *cosine)
{
    for (int i = 0; i < half; i += V_LANES) {
        v_mask m = v_tail(half - i);
        v_f32 s, c;
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
    v_f32 sum = v_zero();
    for (int i = 0; i < dim; i += V_LANES) {
        v_f32 v = v_load(x + i, v_tail(dim - i));
        sum = v_fma(v, v, sum);
    }
    float rstd = (float)(1.0 / sqrt((double)v_sum(sum) / dim + eps));
    for (int i = 0; i < half; i += V_LANES) {
        v_mask m = v_tail(half - i);
        v_f32 u = v_mul(v_load(x + i, m), v_set(rstd));
        v_f32 v = v_mul(v_load(x + half + i, m), v_set(rstd));
        v_f32 s = v_load(sine + i, m), c = v_load(cosine + i, m);
        if (gain) {
            u = v_mul(u, v_load(gain + i, m));
            v = v_mul(v, v_load(gain + half + i, m));
        }
        v_store(y + i, m, v_fms(u, c, v_mul(v, s)));
        v_store(y + half + i, m, v_fma(u, s, v_mul(v, c)));
    }
    return rstd;
}

#endif
