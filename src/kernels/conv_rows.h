/* Which rows a tap of a convolution joins, for overlays that gather rows and multiply. Rows are
 * positions of the flattened grids [n][t][h][w] and [n][ot][oh][ow]. Private to the overlays. */
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

/* Row i of one grid is row i of the other: a dense product. */
static inline bool conv_is_dense(const rlm_conv_shape *s)
{
    return conv_taps(s) == 1 && s->st == 1 && s->sh == 1 && s->sw == 1 && !s->pt && !s->ph &&
           !s->pw && s->t == s->ot && s->h == s->oh && s->w == s->ow;
}

/* Input row that output row `row` reads through `tap`; -1: outside. */
static inline int64_t conv_source(const rlm_conv_shape *s, int64_t row, int tap)
{
    int w = (int)(row % s->ow) * s->sw - s->pw + tap % s->kw * s->dw;
    int h = (int)(row / s->ow % s->oh) * s->sh - s->ph + tap / s->kw % s->kh;
    int t = (int)(row / s->ow / s->oh % s->ot) * s->st - s->pt + tap / s->kw / s->kh;
    int64_t n = row / s->ow / s->oh / s->ot;
    if (t < 0 || t >= s->t || h < 0 || h >= s->h || w < 0 || w >= s->w)
        return -1;
    return ((n * s->t + t) * s->h + h) * s->w + w;
}

/* Output row that reads input row `row` through `tap`; -1: none. */
static inline int64_t conv_reader(const rlm_conv_shape *s, int64_t row, int tap)
{
    int w = (int)(row % s->w) + s->pw - tap % s->kw * s->dw;
    int h = (int)(row / s->w % s->h) + s->ph - tap / s->kw % s->kh;
    int t = (int)(row / s->w / s->h % s->t) + s->pt - tap / s->kw / s->kh;
    int64_t n = row / s->w / s->h / s->t;
    if (t < 0 || h < 0 || w < 0 || t % s->st || h % s->sh || w % s->sw)
        return -1;
    t /= s->st;
    h /= s->sh;
    w /= s->sw;
    if (t >= s->ot || h >= s->oh || w >= s->ow)
        return -1;
    return ((n * s->ot + t) * s->oh + h) * s->ow + w;
}

#endif
