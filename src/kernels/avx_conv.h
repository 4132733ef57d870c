/* Convolutions in f32 without patches, what both halves share: tiles of output positions read the
 * input's rows where they lie, and weights packed in panels of channels. Private to the AVX
 * overlays. */
#ifndef RLM_KERNELS_AVX_CONV_H
#define RLM_KERNELS_AVX_CONV_H

#include "src/kernels/avx.h"

/* A tile: positions x vectors of channels, as sums in registers. */
enum { CONV_ROWS = V_LANES == 16 ? 8 : 4, CONV_WIDE = 3 };
enum { CONV_PANEL = CONV_WIDE * V_LANES }; /* channels */

/* From a position of grid `out` to the row of grid `in` that a tap joins to it, an axis each (t, h,
 * w): in = (out * stride + offset + tap * step) / every. Outside `in`, or with a remainder: zeros.
 */
typedef struct conv_walk {
    int in[3], out[3], stride[3], offset[3], step[3], every[3], taps[3];
} conv_walk;

RLM_INLINE conv_walk conv_walk_of(const rlm_conv_shape *s)
{
    return (conv_walk){.in = {s->t, s->h, s->w},
                       .out = {s->ot, s->oh, s->ow},
                       .stride = {s->st, s->sh, s->sw},
                       .offset = {-s->pt, -s->ph, -s->pw},
                       .step = {1, 1, s->dw},
                       .every = {1, 1, 1},
                       .taps = {s->kt, s->kh, s->kw}};
}

/* A position of grid `out`, counted on. */
typedef struct conv_place {
    int64_t n;
    int t, h, w;
} conv_place;

RLM_INLINE conv_place conv_place_of(const conv_walk *k, int64_t row)
{
    conv_place p = {.w = (int)(row % k->out[2])};
    row /= k->out[2];
    p.h = (int)(row % k->out[1]);
    row /= k->out[1];
    p.t = (int)(row % k->out[0]);
    p.n = row / k->out[0];
    return p;
}
RLM_INLINE void conv_next(const conv_walk *k, conv_place *p)
{
    if (++p->w < k->out[2])
        return;
    p->w = 0;
    if (++p->h < k->out[1])
        return;
    p->h = 0;
    if (++p->t < k->out[0])
        return;
    p->t = 0;
    p->n++;
}
/* The place on an axis of `in` that a tap joins to `at`; -1: none. */
RLM_INLINE int conv_axis(const conv_walk *k, int axis, int at, int tap)
{
    int in = at * k->stride[axis] + k->offset[axis] + tap * k->step[axis], every = k->every[axis];
    if (every > 1)
        in = in % every ? -1 : in / every;
    return in < k->in[axis] ? in : -1;
}
/* The row of `in` that tap (a, b, c) joins to p; negative: outside. */
RLM_INLINE int64_t conv_row(const conv_walk *k, const conv_place *p, int a, int b, int c)
{
    int t = conv_axis(k, 0, p->t, a), h = conv_axis(k, 1, p->h, b), w = conv_axis(k, 2, p->w, c);
    if ((t | h | w) < 0)
        return -1;
    return ((p->n * k->in[0] + t) * k->in[1] + h) * k->in[2] + w;
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
void RLM_AVX(conv_multiply)(rlm_par *par, const conv_product *c);

#endif
