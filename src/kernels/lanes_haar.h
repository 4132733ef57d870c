/* The Haar transform of one 4x4x4x3 block in 16 rows: row (a, b) holds the 12 floats (column,
 * channel) of frame a, row b, in a register where one is wide enough. The 4-point matrix is
 * symmetric, so the transform and its inverse are the same code with another scale, and the
 * transpose of each goes the other's way with its own scale. */
#ifndef RLM_KERNELS_LANES_HAAR_H
#define RLM_KERNELS_LANES_HAAR_H

#include "src/kernels/lanes.h"

#if RLM_LANES == 16

typedef __m512 haar_row;
#define HAAR_LANES ((__mmask16)0x0fff)

RLM_INLINE haar_row haar_load(const float *p)
{
    return _mm512_maskz_loadu_ps(HAAR_LANES, p);
}
RLM_INLINE void haar_store(float *p, haar_row x, bool add)
{
    x = _mm512_add_ps(_mm512_maskz_loadu_ps(add ? HAAR_LANES : 0, p), x);
    _mm512_mask_storeu_ps(p, HAAR_LANES, x);
}
RLM_INLINE haar_row haar_add(haar_row a, haar_row b)
{
    return _mm512_add_ps(a, b);
}
RLM_INLINE haar_row haar_sub(haar_row a, haar_row b)
{
    return _mm512_sub_ps(a, b);
}
RLM_INLINE haar_row haar_scale(haar_row a, float by)
{
    return _mm512_mul_ps(a, _mm512_set1_ps(by));
}

/* haar_points along the columns inside a row. */
RLM_INLINE haar_row haar_columns(haar_row x)
{
    const __m512i a0 = _mm512_set_epi32(15, 14, 13, 12, 8, 7, 6, 8, 7, 6, 2, 1, 0, 2, 1, 0);
    const __m512i a1 = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 11, 10, 9, 5, 4, 3, 5, 4, 3);
    const __m512i b0 = _mm512_set_epi32(15, 14, 13, 12, 5, 4, 3, 5, 4, 3, 2, 1, 0, 2, 1, 0);
    const __m512i b1 = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 11, 10, 9, 8, 7, 6, 8, 7, 6);
    const __m512 sign = _mm512_set_ps(0, 0, 0, 0, -1, -1, -1, 1, 1, 1, -1, -1, -1, 1, 1, 1);
    x = _mm512_fmadd_ps(sign, _mm512_permutexvar_ps(a1, x), _mm512_permutexvar_ps(a0, x));
    return _mm512_fmadd_ps(sign, _mm512_permutexvar_ps(b1, x), _mm512_permutexvar_ps(b0, x));
}

#else

typedef float haar_pixel __attribute__((vector_size(16)));
typedef struct haar_row {
    haar_pixel v[4]; /* the columns: three channels, the last lane is anything */
} haar_row;

RLM_INLINE haar_row haar_load(const float *p)
{
    haar_row x;
    for (int i = 0; i < 3; i++)
        memcpy(&x.v[i], p + 3 * i, sizeof x.v[i]);
    memcpy(&x.v[3], p + 8, sizeof x.v[3]);
    x.v[3] = __builtin_shufflevector(x.v[3], x.v[3], 1, 2, 3, 3);
    return x;
}
RLM_INLINE haar_row haar_add(haar_row a, haar_row b)
{
    for (int i = 0; i < 4; i++)
        a.v[i] += b.v[i];
    return a;
}
RLM_INLINE void haar_store(float *p, haar_row x, bool add)
{
    if (add)
        x = haar_add(haar_load(p), x);
    for (int i = 0; i < 3; i++) /* each over what the one before wrote too far */
        memcpy(p + 3 * i, &x.v[i], sizeof x.v[i]);
    memcpy(p + 9, &x.v[3], 2 * sizeof *p);
    p[11] = x.v[3][2];
}
RLM_INLINE haar_row haar_sub(haar_row a, haar_row b)
{
    for (int i = 0; i < 4; i++)
        a.v[i] -= b.v[i];
    return a;
}
RLM_INLINE haar_row haar_scale(haar_row a, float by)
{
    for (int i = 0; i < 4; i++)
        a.v[i] *= by;
    return a;
}

/* haar_points along the columns inside a row. */
RLM_INLINE haar_row haar_columns(haar_row x)
{
    haar_pixel l0 = x.v[0] + x.v[1], h0 = x.v[0] - x.v[1];
    haar_pixel l1 = x.v[2] + x.v[3], h1 = x.v[2] - x.v[3];
    return (haar_row){{l0 + l1, l0 - l1, h0 + h1, h0 - h1}};
}

#endif

/* Rows LL, LH, HL, HH of (x0, x1, x2, x3), unscaled. */
RLM_INLINE void haar_points(haar_row *x0, haar_row *x1, haar_row *x2, haar_row *x3)
{
    haar_row l0 = haar_add(*x0, *x1), h0 = haar_sub(*x0, *x1);
    haar_row l1 = haar_add(*x2, *x3), h1 = haar_sub(*x2, *x3);
    *x0 = haar_add(l0, l1);
    *x1 = haar_sub(l0, l1);
    *x2 = haar_add(h0, h1);
    *x3 = haar_sub(h0, h1);
}

RLM_INLINE void haar_block(haar_row x[16], float scale)
{
    for (int a = 0; a < 16; a += 4)
        haar_points(&x[a], &x[a + 1], &x[a + 2], &x[a + 3]);
    for (int b = 0; b < 4; b++)
        haar_points(&x[b], &x[b + 4], &x[b + 8], &x[b + 12]);
    for (int i = 0; i < 16; i++)
        x[i] = haar_scale(haar_columns(x[i]), scale);
}

/* The four frames of group 0 in one: the sum of row i of all of them. */
RLM_INLINE haar_row haar_frames(const haar_row x[16], int i)
{
    return haar_add(haar_add(x[i], x[i + 4]), haar_add(x[i + 8], x[i + 12]));
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

typedef struct haar_job {
    rlm_haar_shape s;
    const float *in;
    float *out;
    const float *scale; /* HAAR_FORWARD or HAAR_INVERSE */
    bool add;           /* to out */
} haar_job;

/* A quarter of the orthonormal transform, and four times its inverse, where a group of one frame is
 * the mean of its four: of unnormalised sums. [1]: of the cells of that group. */
static const float HAAR_FORWARD[2] = {1.0f / 32, 1.0f / 32}, HAAR_INVERSE[2] = {0.5f, 0.125f};

/* `add` is a constant where these two are called. */
RLM_INLINE void haar_analyse(const haar_job *j, int64_t begin, int64_t end, bool add)
{
    for (int64_t cell = begin; cell < end; cell++) {
        haar_cell c = haar_cell_at(&j->s, cell);
        haar_row x[16];
        for (int i = 0; i < 16; i++)
            x[i] = haar_load(j->in + c.at + (c.first ? 0 : i / 4 * c.frame) + i % 4 * c.row);
        haar_block(x, j->scale[c.first]);
        for (int i = 0; i < 16; i++)
            haar_store(j->out + cell * 192 + i * 12, x[i], add);
    }
}
RLM_INLINE void haar_synthesise(const haar_job *j, int64_t begin, int64_t end, bool add)
{
    for (int64_t cell = begin; cell < end; cell++) {
        haar_cell c = haar_cell_at(&j->s, cell);
        haar_row x[16];
        for (int i = 0; i < 16; i++)
            x[i] = haar_load(j->in + cell * 192 + i * 12);
        haar_block(x, j->scale[c.first]);
        for (int i = 0; i < (c.first ? 4 : 16); i++) {
            float *y = j->out + c.at + i / 4 * c.frame + i % 4 * c.row;
            haar_store(y, c.first ? haar_frames(x, i) : x[i], add);
        }
    }
}

/* Pixels -> coefficients. */
static void haar_to_cells(void *ctx, int64_t begin, int64_t end, int worker)
{
    const haar_job j = *(const haar_job *)ctx;
    (void)worker;
    if (j.add)
        haar_analyse(&j, begin, end, true);
    else
        haar_analyse(&j, begin, end, false);
}

/* Coefficients -> pixels. */
static void haar_to_pixels(void *ctx, int64_t begin, int64_t end, int worker)
{
    const haar_job j = *(const haar_job *)ctx;
    (void)worker;
    if (j.add)
        haar_synthesise(&j, begin, end, true);
    else
        haar_synthesise(&j, begin, end, false);
}

RLM_INLINE void haar_run(rlm_par *par, const rlm_haar_shape *s, const float *in, float *out,
                         const float scale[2], bool add, rlm_par_fn fn)
{
    haar_job j = {*s, in, out, scale, add};
    rlm_par_for(par, (int64_t)s->n * s->t * s->h * s->w, v_row_grain(192), fn, &j);
}

#endif
