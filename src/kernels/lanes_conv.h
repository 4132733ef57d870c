/* Convolutions in f32 without patches, what both halves share: tiles of output positions read the
 * input's rows where they lie, and weights packed in panels of channels. Private to the
 * overlays in lanes. */
#ifndef RLM_KERNELS_LANES_CONV_H
#define RLM_KERNELS_LANES_CONV_H

#include "src/kernels/lanes.h"
#include "src/kernels/conv_rows.h"

/* A tile: positions x vectors of channels, as sums in registers. */
enum { CONV_ROWS = V_REGISTERS == 32 ? 8 : 4, CONV_WIDE = 3 };
enum { CONV_PANEL = CONV_WIDE * V_LANES }; /* channels */

/* Vectors of the panel that begins where `left` channels are left. */
RLM_INLINE int conv_wide(int left)
{
    return left < CONV_PANEL ? (left + V_LANES - 1) / V_LANES : CONV_WIDE;
}

/* y [rows of `out`][channels] = x [rows of `in`][depth] and its taps times a packing
 * [taps][depth][channels] in panels, + bias + residual (NULL: none; y may alias residual). */
typedef struct conv_product {
    conv_walk walk;
    int64_t rows;
    int depth, channels;
    const float *x, *pack, *bias, *residual;
    float *y;
} conv_product;
void V_NAME(conv_multiply)(rlm_par *par, const conv_product *c);
void V_NAME(conv_pack)(rlm_par *par, const rlm_weight_geom *g, const float *w, bool transposed,
                       void *out);

#endif
