/* A softmax-weighted sum built block by block, in eight lanes. */
#ifndef RLM_KERNELS_AVX2_SOFT_H
#define RLM_KERNELS_AVX2_SOFT_H

#include "src/kernels/avx2.h"

enum { SOFT_DIM = 256, SOFT_KEYS = 64 };

typedef struct soft {
    float max, sum, acc[SOFT_DIM];
} soft;

/* Weights of n scores under the running maximum (in place), shrinking what was summed before. */
static inline void soft_weights(soft *o, float *score, int n, int dim)
{
    float max = o->max, shrink;
    for (int i = 0; i < n; i++)
        max = score[i] > max ? score[i] : max;
    if (max > o->max && o->sum > 0) {
        shrink = expf(o->max - max);
        o->sum *= shrink;
        for (int d = 0; d < dim; d++)
            o->acc[d] *= shrink;
    }
    o->max = max;
    for (int i = 0; i < n; i += 8) {
        __m256i m = w_tail(n - i);
        __m256 e = w_exp(_mm256_sub_ps(w_load(score + i, m), w_set(max)));
        e = _mm256_and_ps(e, _mm256_castsi256_ps(m));
        o->sum += w_sum(e);
        w_store(score + i, m, e);
    }
}

static inline void soft_finish(const soft *o, int dim, float *y)
{
    float scale = o->sum > 0 ? 1.0f / o->sum : 0.0f;
    for (int d = 0; d < dim; d++)
        y[d] = o->acc[d] * scale;
}

#endif
