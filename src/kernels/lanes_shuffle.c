/* Lanes: depth to space and back, nearest upsampling, the Haar transform. Copies of whole runs of
 * channels. */
#include "src/kernels/lanes_haar.h"

/* ---- Depth and space ----------------------------------------------------------------------- */

typedef struct shuffle_job {
    rlm_shuffle_shape s;
    bool to_wide, accumulate;
    const float *wide_in, *deep_in;
    float *wide_out, *deep_out;
} shuffle_job;

/* Runs of fw * c floats are contiguous on both sides. One item: one row (n, t, h) of the deep
 * grid, for one of its ft * fh taps at a time, so that the wide side streams. */
static void shuffle_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const shuffle_job j = *(const shuffle_job *)ctx;
    const rlm_shuffle_shape s = j.s;
    int64_t frames = (int64_t)s.t * s.ft - s.drop, run = (int64_t)s.fw * s.c;
    int64_t deep_step = (int64_t)s.ft * s.fh * run;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        int h = (int)(item % s.h), t = (int)(item / s.h % s.t);
        int64_t n = item / s.h / s.t;
        for (int tap = 0; tap < s.ft * s.fh; tap++) {
            int a = tap / s.fh, b = tap % s.fh;
            int64_t f = (int64_t)t * s.ft + a - s.drop;
            int64_t wide = ((n * frames + f) * s.h * s.fh + (int64_t)h * s.fh + b) * s.w * run;
            int64_t deep = item * s.w * deep_step + tap * run;
            for (int64_t w = 0; w < s.w; w++, wide += run, deep += deep_step) {
                if (f < 0) {
                    if (!j.to_wide && !j.accumulate)
                        memset(j.deep_out + deep, 0, (size_t)run * sizeof(float));
                    continue;
                }
                float *out = j.to_wide ? j.wide_out + wide : j.deep_out + deep;
                const float *in = j.to_wide ? j.deep_in + deep : j.wide_in + wide;
                if (j.accumulate)
                    v_row_add(out, in, run);
                else
                    v_row_copy(out, in, run);
            }
        }
    }
}

static int64_t shuffle_grain(const rlm_shuffle_shape *s)
{
    return v_row_grain((int64_t)s->w * s->c * s->ft * s->fh * s->fw);
}

static void depth_to_space(rlm_par *par, const rlm_shuffle_shape *s, const float *x, float *y,
                           bool accumulate)
{
    shuffle_job j = {
        .s = *s, .to_wide = true, .accumulate = accumulate, .deep_in = x, .wide_out = y};
    rlm_par_for(par, (int64_t)s->n * s->t * s->h, shuffle_grain(s), shuffle_fn, &j);
}

static void space_to_depth(rlm_par *par, const rlm_shuffle_shape *s, const float *y, float *x,
                           bool accumulate)
{
    shuffle_job j = {
        .s = *s, .to_wide = false, .accumulate = accumulate, .wide_in = y, .deep_out = x};
    rlm_par_for(par, (int64_t)s->n * s->t * s->h, shuffle_grain(s), shuffle_fn, &j);
}

typedef struct upsample_job {
    rlm_shuffle_shape s;
    const float *x;
    float *y;
} upsample_job;

/* One item: one row of the deep grid; its first wide copy is built, the others are copied. */
static void upsample_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const upsample_job j = *(const upsample_job *)ctx;
    const rlm_shuffle_shape s = j.s;
    int64_t frames = (int64_t)s.t * s.ft - s.drop, wide = (int64_t)s.w * s.fw * s.c;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        int h = (int)(item % s.h), t = (int)(item / s.h % s.t);
        int64_t n = item / s.h / s.t;
        const float *built = NULL;
        for (int tap = 0; tap < s.ft * s.fh; tap++) {
            int64_t f = (int64_t)t * s.ft + tap / s.fh - s.drop;
            if (f < 0)
                continue;
            float *y =
                j.y + ((n * frames + f) * s.h * s.fh + (int64_t)h * s.fh + tap % s.fh) * wide;
            if (built) {
                v_row_copy(y, built, wide);
                continue;
            }
            for (int64_t w = 0; w < (int64_t)s.w * s.fw; w++)
                v_row_copy(y + w * s.c, j.x + (item * s.w + w / s.fw) * s.c, s.c);
            built = y;
        }
    }
}

static void upsample_forward(rlm_par *par, const rlm_shuffle_shape *s, const float *x, float *y)
{
    upsample_job j = {*s, x, y};
    rlm_par_for(par, (int64_t)s->n * s->t * s->h, shuffle_grain(s), upsample_fn, &j);
}

/* ---- Haar ---------------------------------------------------------------------------------- */

static void haar_forward(rlm_par *par, const rlm_haar_shape *s, const float *in, float *out)
{
    haar_run(par, s, in, out, HAAR_FORWARD, false, haar_to_cells);
}

static void haar_inverse(rlm_par *par, const rlm_haar_shape *s, const float *in, float *out)
{
    haar_run(par, s, in, out, HAAR_INVERSE, false, haar_to_pixels);
}

void V_NAME(shuffle)(rlm_kernels *k)
{
    k->depth_to_space = depth_to_space;
    k->space_to_depth = space_to_depth;
    k->upsample_forward = upsample_forward;
    k->haar_forward = haar_forward;
    k->haar_inverse = haar_inverse;
}
