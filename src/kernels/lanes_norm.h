/* Group norm's cut of work, shared by its forward and backward: a frame [hw][c] is cut into slices
 * of whole rows whose sums are combined in order, so results do not depend on the threads. */
#ifndef RLM_KERNELS_LANES_NORM_H
#define RLM_KERNELS_LANES_NORM_H

#include "src/kernels/lanes.h"

/* lanes_norm.c at the AVX-512 level: the statistics of groupnorm_forward; half: x is bf16. */
void rlm_avx512_norm_stats(rlm_par *par, const rlm_groupnorm_shape *s, bool half, const void *x,
                           float *stats);

#define NORM_SLICE       32768     /* elements a slice */
#define NORM_FRAME_BYTES (1 << 20) /* frames up to here are read twice from the L2 cache */

typedef struct norm_cut {
    int64_t rows;   /* rows of a slice */
    int64_t slices; /* slices of a frame */
    bool by_frame;  /* one worker does a whole frame */
} norm_cut;

static inline norm_cut norm_cut_of(rlm_par *par, const rlm_groupnorm_shape *s, int streams)
{
    norm_cut cut = {.rows = NORM_SLICE / s->c};
    if (cut.rows < 8)
        cut.rows = 8;
    cut.slices = (s->hw + cut.rows - 1) / cut.rows;
    cut.by_frame = cut.slices == 1 ||
                   (s->frames >= rlm_par_threads(par) &&
                    (int64_t)s->hw * s->c * streams * (int64_t)sizeof(float) <= NORM_FRAME_BYTES);
    return cut;
}

/* Per-channel mean, rstd, gain and bias of one frame, c floats each, at out[0 .. 4c). */
static inline void norm_frame_table(const rlm_groupnorm_shape *s, const float *stats,
                                    const float *gain, const float *bias, float *out)
{
    int c = s->c, width = c / s->groups;
    for (int g = 0; g < s->groups; g++) {
        for (int i = g * width; i < (g + 1) * width; i++) {
            out[i] = stats[2 * g];
            out[c + i] = stats[2 * g + 1];
            out[2 * c + i] = gain ? gain[i] : 1.0f;
            out[3 * c + i] = bias ? bias[i] : 0.0f;
        }
    }
}

#endif
