/* The Haar transform by its definition, for its two directions and their transposes: the 4-point
 * matrix is orthogonal, so the transpose of each direction is the other one with its own scale.
 * Private to ref_*.c. */
#ifndef RLM_KERNELS_REF_HAAR_H
#define RLM_KERNELS_REF_HAAR_H

#include "src/kernels/ref_common.h"

/* Rows LL, LH, HL, HH of the orthonormal 4-point transform; symmetric rows make it its own
 * inverse after transposition. */
static inline double ref_haar_tap(int band, int i)
{
    static const signed char sign[4][4] = {
        {1, 1, 1, 1}, {1, 1, -1, -1}, {1, -1, 1, -1}, {1, -1, -1, 1}};
    return 0.5 * sign[band][i];
}

/* One 4x4x4 block b[a][b][c], in place: every axis by the transform (inverse: transposed). */
static inline void ref_haar_block(double block[64], bool inverse)
{
    static const int stride[3] = {16, 4, 1};
    for (int axis = 0; axis < 3; axis++) {
        int step = stride[axis];
        for (int line = 0; line < 64; line++) {
            if ((line / step) % 4)
                continue;
            double in[4], *p = block + line;
            for (int i = 0; i < 4; i++)
                in[i] = p[i * step];
            for (int i = 0; i < 4; i++) {
                double sum = 0;
                for (int j = 0; j < 4; j++)
                    sum += in[j] * (inverse ? ref_haar_tap(j, i) : ref_haar_tap(i, j));
                p[i * step] = sum;
            }
        }
    }
}

/* Frame of a clip of 1 + 4 (t - 1) frames that group g holds at place a. */
static inline int ref_haar_frame(int g, int a)
{
    return g == 0 ? 0 : 1 + 4 * (g - 1) + a;
}

/* Offset of channel 0 of pixel (a, b, c) of the block at coefficient cell `cell`. */
static inline int64_t ref_haar_pixel(const rlm_haar_shape *s, int64_t cell, int a, int b, int c)
{
    int w = (int)(cell % s->w), h = (int)(cell / s->w % s->h);
    int t = (int)(cell / s->w / s->h % s->t);
    int64_t n = cell / s->w / s->h / s->t, frames = 1 + 4 * (s->t - 1);
    int64_t row = (n * frames + ref_haar_frame(t, a)) * 4 * s->h + 4 * h + b;
    return (row * 4 * s->w + 4 * w + c) * 3;
}

static inline bool ref_haar_first(const rlm_haar_shape *s, int64_t cell)
{
    return cell / s->w / s->h % s->t == 0;
}

typedef struct ref_haar_job {
    const rlm_haar_shape *s;
    const float *in;
    float *out;
    const double *scale; /* REF_HAAR_FORWARD or REF_HAAR_INVERSE */
    bool add;            /* to out */
} ref_haar_job;

/* [1]: of the first group, whose one frame stands for four in the forward transform and is the mean
 * of four in the inverse. */
static const double REF_HAAR_FORWARD[2] = {0.25, 0.25}, REF_HAAR_INVERSE[2] = {4.0, 1.0};

/* Pixels -> coefficients. */
static inline void ref_haar_to_cells(void *ctx, int64_t begin, int64_t end, int worker)
{
    const ref_haar_job *j = ctx;
    (void)worker;
    for (int64_t cell = begin; cell < end; cell++) {
        double scale = j->scale[ref_haar_first(j->s, cell)];
        for (int ch = 0; ch < 3; ch++) {
            double block[64];
            for (int i = 0; i < 64; i++)
                block[i] = scale * j->in[ref_haar_pixel(j->s, cell, i / 16, i / 4 % 4, i % 4) + ch];
            ref_haar_block(block, false);
            for (int i = 0; i < 64; i++)
                ref_add(j->out + cell * 192 + i * 3 + ch, block[i], j->add);
        }
    }
}

/* Coefficients -> pixels. */
static inline void ref_haar_to_pixels(void *ctx, int64_t begin, int64_t end, int worker)
{
    const ref_haar_job *j = ctx;
    (void)worker;
    for (int64_t cell = begin; cell < end; cell++) {
        bool first = ref_haar_first(j->s, cell);
        for (int ch = 0; ch < 3; ch++) {
            double block[64];
            for (int i = 0; i < 64; i++)
                block[i] = j->scale[first] * j->in[cell * 192 + i * 3 + ch];
            ref_haar_block(block, true);
            for (int i = 0; i < (first ? 16 : 64); i++) {
                double v = block[i];
                if (first)
                    v += block[16 + i] + block[32 + i] + block[48 + i];
                ref_add(j->out + ref_haar_pixel(j->s, cell, i / 16, i / 4 % 4, i % 4) + ch, v,
                        j->add);
            }
        }
    }
}

static inline void ref_haar(rlm_par *par, const rlm_haar_shape *s, const float *in, float *out,
                            const double scale[2], bool add, rlm_par_fn fn)
{
    ref_haar_job j = {s, in, out, scale, add};
    rlm_par_for(par, (int64_t)s->n * s->t * s->h * s->w, 8, fn, &j);
}

#endif
