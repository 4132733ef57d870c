/* The Haar transform of one 4x4x4x3 block in 16 registers: register (a, b) holds the 12 floats
 * (column, channel) of frame a, row b. The 4-point matrix is symmetric, so the transform and its
 * inverse are the same code with another scale. */
#ifndef RLM_KERNELS_AVX512_HAAR_H
#define RLM_KERNELS_AVX512_HAAR_H

#include "src/kernels/avx512.h"

#define HAAR_LANES 0x0fff

/* Rows LL, LH, HL, HH of (x0, x1, x2, x3), unscaled. */
RLM_INLINE void haar_points(__m512 *x0, __m512 *x1, __m512 *x2, __m512 *x3)
{
    __m512 l0 = _mm512_add_ps(*x0, *x1), h0 = _mm512_sub_ps(*x0, *x1);
    __m512 l1 = _mm512_add_ps(*x2, *x3), h1 = _mm512_sub_ps(*x2, *x3);
    *x0 = _mm512_add_ps(l0, l1);
    *x1 = _mm512_sub_ps(l0, l1);
    *x2 = _mm512_add_ps(h0, h1);
    *x3 = _mm512_sub_ps(h0, h1);
}

/* The same along the columns inside a register. */
RLM_INLINE __m512 haar_columns(__m512 x)
{
    const __m512i a0 = _mm512_set_epi32(15, 14, 13, 12, 8, 7, 6, 8, 7, 6, 2, 1, 0, 2, 1, 0);
    const __m512i a1 = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 11, 10, 9, 5, 4, 3, 5, 4, 3);
    const __m512i b0 = _mm512_set_epi32(15, 14, 13, 12, 5, 4, 3, 5, 4, 3, 2, 1, 0, 2, 1, 0);
    const __m512i b1 = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 11, 10, 9, 8, 7, 6, 8, 7, 6);
    const __m512 sign = _mm512_set_ps(0, 0, 0, 0, -1, -1, -1, 1, 1, 1, -1, -1, -1, 1, 1, 1);
    x = _mm512_fmadd_ps(sign, _mm512_permutexvar_ps(a1, x), _mm512_permutexvar_ps(a0, x));
    return _mm512_fmadd_ps(sign, _mm512_permutexvar_ps(b1, x), _mm512_permutexvar_ps(b0, x));
}

RLM_INLINE void haar_block(__m512 x[16], float scale)
{
    for (int a = 0; a < 16; a += 4)
        haar_points(&x[a], &x[a + 1], &x[a + 2], &x[a + 3]);
    for (int b = 0; b < 4; b++)
        haar_points(&x[b], &x[b + 4], &x[b + 8], &x[b + 12]);
    for (int i = 0; i < 16; i++)
        x[i] = _mm512_mul_ps(haar_columns(x[i]), v_set(scale));
}

/* Where a cell's pixels start: frame a of the group, row b of the block; stride of a frame and of a
 * row in floats. Group 0 is one frame. */
typedef struct haar_cell {
    int64_t at, frame, row;
    bool first;
} haar_cell;

RLM_INLINE haar_cell haar_cell_at(const rlm_haar_shape *s, int64_t cell)
{
    int w = (int)(cell % s->w), h = (int)(cell / s->w % s->h);
    int t = (int)(cell / s->w / s->h % s->t);
    int64_t n = cell / s->w / s->h / s->t, frames = 1 + 4 * ((int64_t)s->t - 1);
    haar_cell c = {.row = 12 * (int64_t)s->w, .first = t == 0};
    c.frame = c.row * 4 * s->h;
    c.at = (n * frames + (t ? 1 + 4 * ((int64_t)t - 1) : 0)) * c.frame + 4 * h * c.row + 12 * w;
    return c;
}

RLM_INLINE void haar_read_pixels(const haar_cell *c, const float *in, __m512 x[16])
{
    for (int i = 0; i < 16; i++)
        x[i] = v_load(in + c->at + (c->first ? 0 : i / 4 * c->frame) + i % 4 * c->row, HAAR_LANES);
}

typedef struct haar_job {
    rlm_haar_shape s;
    const float *in;
    float *out;
    bool add; /* of adjoints: to out */
} haar_job;

RLM_INLINE void haar_run(rlm_par *par, const rlm_haar_shape *s, const float *in, float *out,
                         bool add, rlm_par_fn fn)
{
    haar_job j = {*s, in, out, add};
    rlm_par_for(par, (int64_t)s->n * s->t * s->h * s->w, v_row_grain(192), fn, &j);
}

#endif
