/* What the definitions of forward and backward share: activations and their slopes, the Haar
 * transform of one block, and the cut of work into slices. Private to ref_*.c. */
#ifndef RLM_KERNELS_REF_COMMON_H
#define RLM_KERNELS_REF_COMMON_H

#include <math.h>

#include "src/kernels/kernels.h"

enum {
    REF_GRAIN = 4096, /* elements of a slice of elementwise work */
    REF_BLOCK = 64,   /* channels summed at once in double on the stack */
    REF_DIM = 256     /* largest head dimension of attention */
};

static inline int ref_min(int a, int b)
{
    return a < b ? a : b;
}

static inline double ref_sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static inline double ref_gelu_arg(double x)
{
    return 0.7978845608028654 * (x + 0.044715 * x * x * x);
}

static inline double ref_act(rlm_act act, double x)
{
    switch (act) {
    case RLM_ACT_SILU:
        return x * ref_sigmoid(x);
    case RLM_ACT_ELU:
        return x > 0 ? x : expm1(x);
    case RLM_ACT_LEAKY:
        return x > 0 ? x : 0.2 * x;
    case RLM_ACT_GELU:
        return 0.5 * x * (1.0 + tanh(ref_gelu_arg(x)));
    case RLM_ACT_TANH:
        return tanh(x);
    case RLM_ACT_RELU:
        return x > 0 ? x : 0;
    case RLM_ACT_NONE:
        break;
    }
    return x;
}

/* d act(x) / dx. */
static inline double ref_act_slope(rlm_act act, double x)
{
    double s;
    switch (act) {
    case RLM_ACT_SILU:
        s = ref_sigmoid(x);
        return s * (1.0 + x * (1.0 - s));
    case RLM_ACT_ELU:
        return x > 0 ? 1.0 : exp(x);
    case RLM_ACT_LEAKY:
        return x > 0 ? 1.0 : 0.2;
    case RLM_ACT_GELU:
        s = tanh(ref_gelu_arg(x));
        return 0.5 * (1.0 + s) +
               0.5 * x * (1.0 - s * s) * 0.7978845608028654 * (1.0 + 3.0 * 0.044715 * x * x);
    case RLM_ACT_TANH:
        s = 1.0 / cosh(x);
        return s * s;
    case RLM_ACT_RELU:
        return x > 0 ? 1.0 : 0.0;
    case RLM_ACT_NONE:
        break;
    }
    return 1.0;
}

/* Rows LL, LH, HL, HH of the orthonormal 4-point transform; symmetric rows make it its own
 * inverse after transposition. */
static inline double ref_haar_tap(int band, int i)
{
    static const signed char sign[4][4] = {
        {1, 1, 1, 1}, {1, 1, -1, -1}, {1, -1, 1, -1}, {1, -1, -1, 1}};
    return 0.5 * sign[band][i];
}

/* One 4x4x4 block b[a][b][c], in place: every axis by the transform (inverse: transposed). */
static inline void ref_haar_block(double block[64], bool inverse)
{
    static const int stride[3] = {16, 4, 1};
    for (int axis = 0; axis < 3; axis++) {
        int step = stride[axis];
        for (int line = 0; line < 64; line++) {
            if ((line / step) % 4)
                continue;
            double in[4], *p = block + line;
            for (int i = 0; i < 4; i++)
                in[i] = p[i * step];
            for (int i = 0; i < 4; i++) {
                double sum = 0;
                for (int j = 0; j < 4; j++)
                    sum += in[j] * (inverse ? ref_haar_tap(j, i) : ref_haar_tap(i, j));
                p[i * step] = sum;
            }
        }
    }
}

/* Frame of a clip of 1 + 4 (t - 1) frames that group g holds at place a. */
static inline int ref_haar_frame(int g, int a)
{
    return g == 0 ? 0 : 1 + 4 * (g - 1) + a;
}

/* Offset of channel 0 of pixel (a, b, c) of the block at coefficient cell `cell`. */
static inline int64_t ref_haar_pixel(const rlm_haar_shape *s, int64_t cell, int a, int b, int c)
{
    int w = (int)(cell % s->w), h = (int)(cell / s->w % s->h);
    int t = (int)(cell / s->w / s->h % s->t);
    int64_t n = cell / s->w / s->h / s->t, frames = 1 + 4 * (s->t - 1);
    int64_t row = (n * frames + ref_haar_frame(t, a)) * 4 * s->h + 4 * h + b;
    return (row * 4 * s->w + 4 * w + c) * 3;
}

static inline bool ref_haar_first(const rlm_haar_shape *s, int64_t cell)
{
    return cell / s->w / s->h % s->t == 0;
}

/* Position i of a sequence of `length` real positions sees j. */
static inline bool ref_sees(int i, int j, int prefix, int length)
{
    return j < length && (j <= i || j < prefix);
}

/* A gradient: added, or the first of its kind. */
static inline void ref_add(float *dx, double value, bool add)
{
    *dx = add ? *dx + (float)value : (float)value;
}

#endif
