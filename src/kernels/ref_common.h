/* What the definitions of forward and backward share: activations and their slopes, and the cut of
 * work into slices. Private to ref_*.c. */
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
