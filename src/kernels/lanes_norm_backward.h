/* The gradient of group norm as a job, for groupnorm_backward and for convolutions that end in it:
 * they have their gradient in bf16. */
#ifndef RLM_KERNELS_LANES_NORM_BACKWARD_H
#define RLM_KERNELS_LANES_NORM_BACKWARD_H

#include "src/kernels/lanes_norm.h"

typedef struct norm_back {
    rlm_groupnorm_shape s;
    rlm_par *par;
    const float *gain, *bias, *stats;
    const void *x, *dy; /* [frames][hw][c]; f32, or bf16: dy if half, all if half_x (and half) */
    void *dx;           /* or NULL: only the gradients of gain and bias */
    bool half, half_x;
    bool add; /* f32 */
    /* norm_back's own: */
    norm_cut cut;
    bool far;    /* dx is written past the caches */
    float *part; /* [frames][slices][2][c] = sums over rows of dz, dz * xhat */
} norm_back;

/* dgain, dbias (+=) may be NULL. */
void V_NAME(norm_back)(norm_back *j, float *dgain, float *dbias);

#endif
