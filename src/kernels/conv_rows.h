/* Which rows a tap of a convolution joins, for overlays that gather rows and multiply. Rows are
 * positions of the flattened grids [n][t][h][w] and [n][ot][oh][ow]. Private to the kernels. */
#ifndef RLM_KERNELS_CONV_ROWS_H
#define RLM_KERNELS_CONV_ROWS_H

#include <string.h>

#include "src/kernels/kernels.h"

static inline int64_t conv_rows_in(const rlm_conv_shape *s)
{
    return (int64_t)s->n * s->t * s->h * s->w;
}

static inline int64_t conv_rows_out(const rlm_conv_shape *s)
{
    return (int64_t)s->n * s->ot * s->oh * s->ow;
}

static inline int conv_taps(const rlm_conv_shape *s)
{
    return s->kt * s->kh * s->kw;
}

/* A linear layer of m rows is a convolution of one tap over m positions. */
static inline rlm_conv_shape conv_of_linear(int m, int n, int k)
{
    return (rlm_conv_shape){.n = 1,
                            .t = 1,
                            .h = 1,
                            .w = m,
                            .cin = k,
                            .ot = 1,
                            .oh = 1,
                            .ow = m,
                            .cout = n,
                            .kt = 1,
                            .kh = 1,
                            .kw = 1,
                            .st = 1,
                            .sh = 1,
                            .sw = 1,
                            .dw = 1};
}

/* Row i of one grid is row i of the other: a dense product. */
static inline bool conv_is_dense(const rlm_conv_shape *s)
{
    return conv_taps(s) == 1 && s->st == 1 && s->sh == 1 && s->sw == 1 && !s->pt && !s->ph &&
           !s->pw && s->t == s->ot && s->h == s->oh && s->w == s->ow;
}

/* From a position of grid `out` to the row of grid `in` that a tap joins to it, an axis each (t, h,
 * w): in = (out * stride + offset + tap * step) / every; none outside `in`, or with a remainder. */
typedef struct conv_walk {
    int in[3], out[3], stride[3], offset[3], step[3], every[3], taps[3];
} conv_walk;

/* From output positions to the input rows they read, */
static inline conv_walk conv_sources(const rlm_conv_shape *s)
{
    return (conv_walk){.in = {s->t, s->h, s->w},
                       .out = {s->ot, s->oh, s->ow},
                       .stride = {s->st, s->sh, s->sw},
                       .offset = {-s->pt, -s->ph, -s->pw},
                       .step = {1, 1, s->dw},
                       .every = {1, 1, 1},
                       .taps = {s->kt, s->kh, s->kw}};
}

/* and from input positions to the output rows that read them. */
static inline conv_walk conv_readers(const rlm_conv_shape *s)
{
    return (conv_walk){.in = {s->ot, s->oh, s->ow},
                       .out = {s->t, s->h, s->w},
                       .stride = {1, 1, 1},
                       .offset = {s->pt, s->ph, s->pw},
                       .step = {-1, -1, -s->dw},
                       .every = {s->st, s->sh, s->sw},
                       .taps = {s->kt, s->kh, s->kw}};
}

/* A position of grid `out`, counted on instead of divided out for every tap. */
typedef struct conv_place {
    int64_t n;
    int at[3];
} conv_place;

static inline conv_place conv_place_of(const conv_walk *k, int64_t row)
{
    conv_place p;
    for (int axis = 2; axis >= 0; axis--) {
        p.at[axis] = (int)(row % k->out[axis]);
        row /= k->out[axis];
    }
    p.n = row;
    return p;
}

static inline void conv_next(const conv_walk *k, conv_place *p)
{
    for (int axis = 2; axis >= 0; axis--) {
        if (++p->at[axis] < k->out[axis])
            return;
        p->at[axis] = 0;
    }
    p->n++;
}

typedef struct conv_tap {
    int at[3];
} conv_tap;

static inline conv_tap conv_tap_of(const conv_walk *k, int tap)
{
    return (conv_tap){
        {tap / k->taps[2] / k->taps[1], tap / k->taps[2] % k->taps[1], tap % k->taps[2]}};
}

/* The row of `in` that a tap joins to p; -1: none. */
static inline int64_t conv_row(const conv_walk *k, const conv_place *p, conv_tap tap)
{
    int64_t row = p->n;
    for (int i = 0; i < 3; i++) {
        int in = p->at[i] * k->stride[i] + k->offset[i] + tap.at[i] * k->step[i];
        if (in < 0 || (k->every[i] > 1 && in % k->every[i]))
            return -1;
        if (k->every[i] > 1)
            in /= k->every[i];
        if (in >= k->in[i])
            return -1;
        row = row * k->in[i] + in;
    }
    return row;
}

#endif
