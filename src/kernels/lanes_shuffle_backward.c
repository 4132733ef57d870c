/* Lanes: transposes of the Haar transform and of nearest upsampling. */
#include "src/kernels/lanes_haar.h"

static void haar_forward_adjoint(rlm_par *par, const rlm_haar_shape *s, const float *in, float *out,
                                 bool add)
{
    haar_run(par, s, in, out, HAAR_FORWARD, add, haar_to_pixels);
}

static void haar_inverse_adjoint(rlm_par *par, const rlm_haar_shape *s, const float *in, float *out,
                                 bool add)
{
    haar_run(par, s, in, out, HAAR_INVERSE, add, haar_to_cells);
}

/* ---- Upsampling ---------------------------------------------------------------------------- */

typedef struct upsample_job {
    rlm_shuffle_shape s;
    const float *dy;
    float *dx;
} upsample_job;

/* One row (n, t, h) of the deep grid: sum its ft * fh rows of copies. */
static void upsample_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const upsample_job j = *(const upsample_job *)ctx;
    const rlm_shuffle_shape s = j.s;
    int64_t frames = (int64_t)s.t * s.ft - s.drop, wide = (int64_t)s.w * s.fw * s.c;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        int h = (int)(r % s.h), t = (int)(r / s.h % s.t);
        int64_t n = r / s.h / s.t;
        for (int a = 0; a < s.ft; a++) {
            int64_t f = (int64_t)t * s.ft + a - s.drop;
            if (f < 0)
                continue;
            for (int b = 0; b < s.fh; b++) {
                const float *dy = j.dy + ((n * frames + f) * s.h * s.fh + h * s.fh + b) * wide;
                float *dx = j.dx + r * s.w * s.c;
                for (int64_t w = 0; w < (int64_t)s.w * s.fw; w++)
                    v_row_add(dx + w / s.fw * s.c, dy + w * s.c, s.c);
            }
        }
    }
}
static void upsample_backward(rlm_par *par, const rlm_shuffle_shape *s, const float *dy, float *dx)
{
    upsample_job j = {*s, dy, dx};
    int64_t cost = (int64_t)s->w * s->fw * s->c * s->ft * s->fh;
    rlm_par_for(par, (int64_t)s->n * s->t * s->h, v_row_grain(cost), upsample_fn, &j);
}

void V_NAME(shuffle_backward)(rlm_kernels *k)
{
    k->haar_forward_adjoint = haar_forward_adjoint;
    k->haar_inverse_adjoint = haar_inverse_adjoint;
    k->upsample_backward = upsample_backward;
}
