/* The perceptual distance (perceptual.c) as a loss: value and gradient with respect to pixels.
 *
 * The network is frozen, so only the reconstruction's half is walked back. Three pools cut the
 * stack into four stretches with a tape each; the pools' own gradients are loops here, as are those
 * of the distance: they serve a few small pictures a step and exist only in training. Convolutions
 * run on the kernels of the caller (bf16 where the machine has it). */
#include "src/train/squeezenet.h"

#include <math.h>
#include <string.h>

enum { STRETCHES = 4, TAPS = 1 + RLM_FIRES };

typedef struct tap {
    rlm_tensor x;
    int64_t h, w; /* places that count */
} tap;

struct rlm_perceptual_loss {
    rlm_squeezenet net;
    rlm_tape tapes[STRETCHES];
    tap target[TAPS], made[TAPS];
    rlm_tensor pooled[STRETCHES]; /* inputs of stretches 1.. */
    bool dry;
};

int rlm_perceptual_loss_open(rlm_perceptual_loss **out, const char *path, const rlm_kernels *k,
                             rlm_par *par, rlm_error *err)
{
    *out = rlm_calloc(1, sizeof **out);
    if (!*out)
        return rlm_fail(err, RLM_E_NOMEM, "perceptual loss: out of memory");
    int code = rlm_squeezenet_load(&(*out)->net, path, err);
    if (!code)
        code = rlm_params_pack(&(*out)->net.params, k, par, true, err);
    if (code)
        rlm_perceptual_loss_close(out);
    return code;
}

void rlm_perceptual_loss_close(rlm_perceptual_loss **pp)
{
    if (!*pp)
        return;
    for (int i = 0; i < STRETCHES; i++)
        rlm_tape_free(&(*pp)->tapes[i]);
    rlm_params_free(&(*pp)->net.params);
    rlm_free(*pp);
    *pp = NULL;
}

/* ---- Pools ---- */

static const float *place(const rlm_tensor *x, const float *data, int64_t n, int64_t r, int64_t s)
{
    return data + ((n * x->shape[2] + r) * x->shape[3] + s) * x->shape[4];
}

/* The gradient goes to the first place of a window that holds its maximum. */
static void pool_backward(const tap *in, const rlm_tensor *y)
{
    const rlm_tensor *x = &in->x;
    int64_t c = x->shape[4], oh = y->shape[2], ow = y->shape[3];
    for (int64_t at = 0; at < x->shape[0] * oh * ow; at++) {
        int64_t n = at / (oh * ow), top = at / ow % oh * 2, left = at % ow * 2;
        for (int64_t k = 0; k < c; k++) {
            float best = rlm_f32(y)[at * c + k];
            bool found = false;
            for (int64_t r = top; r < top + 3 && r < in->h && !found; r++)
                for (int64_t s = left; s < left + 3 && s < in->w && !found; s++) {
                    if (place(x, rlm_f32(x), n, r, s)[k] != best)
                        continue;
                    ((float *)place(x, x->grad, n, r, s))[k] += y->grad[at * c + k];
                    found = true;
                }
        }
    }
}

/* ---- The distance ---- */

/* Of two rows of c features, adding scale * gradient for b to db (NULL: none). */
static double row_distance(int64_t c, const float *a, const float *b, double scale, float *db)
{
    double aa = 1e-12, bb = 1e-12, ab = 0;
    for (int64_t k = 0; k < c; k++) {
        aa += (double)a[k] * a[k];
        bb += (double)b[k] * b[k];
        ab += (double)a[k] * b[k];
    }
    double na = sqrt(aa), nb = sqrt(bb), cosine = ab / (na * nb);
    for (int64_t k = 0; k < c && db; k++)
        db[k] += (float)(scale * 2.0 / nb * (cosine * b[k] / nb - a[k] / na));
    return 2.0 - 2.0 * cosine;
}

static double compare(const tap *a, const tap *b, double scale)
{
    int64_t c = a->x.shape[4], n = a->x.shape[0], plane = a->h * a->w;
    double sum = 0, each = 1.0 / (double)(n * plane);
    for (int64_t i = 0; i < n * plane; i++) {
        int64_t clip = i / plane, r = i / a->w % a->h, s = i % a->w;
        float *db = (float *)place(&b->x, b->x.grad, clip, r, s);
        sum += row_distance(c, place(&a->x, rlm_f32(&a->x), clip, r, s),
                            place(&b->x, rlm_f32(&b->x), clip, r, s), scale * each, db);
    }
    return sum * each;
}

/* ---- Forward and back ---- */

/* x [n][1][h][w][3] BGR less means. tapes NULL: features only. */
static void features(rlm_perceptual_loss *p, rlm_run *run, const rlm_tensor *x, rlm_tape *tapes,
                     tap *taps)
{
    const rlm_squeezenet *net = &p->net;
    int64_t h = (x->shape[2] - 3) / 2 + 1, w = (x->shape[3] - 3) / 2 + 1;
    run->tape = tapes;
    rlm_tensor y = rlm_squeezenet_conv(run, &net->conv1, x);
    taps[0] = (tap){y, h, w};
    for (int i = 0, stretch = 0; i < RLM_FIRES; i++) {
        if (rlm_squeezenet_pools(i)) {
            run->tape = tapes ? &tapes[++stretch] : NULL;
            y = rlm_squeezenet_pool(run, &y, h, w, p->dry);
            if (tapes)
                p->pooled[stretch] = y;
            h = y.shape[2];
            w = y.shape[3];
        }
        y = rlm_squeezenet_fire(run, &net->fires[i], &y);
        taps[1 + i] = (tap){y, h, w};
    }
}

/* Frame `at[i]` of clip i of pixels [n][t][h][w][3] in [-1, 1] as network input; back: its gradient
 * into grad. */
static void fill_pictures(const float *pixels, int64_t n, int64_t frames, int64_t plane,
                          const int *at, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        const float *from = pixels + (i * frames + at[i]) * plane * 3;
        for (int64_t k = 0; k < plane * 3; k++)
            out[i * plane * 3 + k] =
                (from[k / 3 * 3 + 2 - k % 3] + 1.0f) * 127.5f - rlm_squeezenet_mean[k % 3];
    }
}

static void return_gradient(const float *dpicture, int64_t n, int64_t frames, int64_t plane,
                            const int *at, float *grad)
{
    for (int64_t i = 0; i < n; i++) {
        float *to = grad + (i * frames + at[i]) * plane * 3;
        for (int64_t k = 0; k < plane * 3; k++)
            to[k / 3 * 3 + 2 - k % 3] += 127.5f * dpicture[i * plane * 3 + k];
    }
}

double rlm_loss_perceptual(rlm_run *run, rlm_perceptual_loss *p, const rlm_tensor *x,
                           const float *target, const int *at, float scale)
{
    static const int first[STRETCHES] = {0, 1, 3, 5}, last[STRETCHES] = {0, 2, 4, TAPS - 1};
    int64_t n = x->shape[0], h = x->shape[2], w = x->shape[3], frames = x->shape[1];
    rlm_tape *outer = run->tape;
    bool lazy = run->lazy;
    rlm_tensor a = rlm_tensor_view(NULL, RLM_F32, 5, (int64_t[5]){n, 1, h, w, 3}), b;
    size_t mark = rlm_arena_mark(run->arena);
    double sum = 0;
    float *dx = rlm_grad(run, x);
    p->dry = !target;
    run->tape = NULL;
    run->lazy = false; /* the loops here add to gradients directly */
    a = rlm_tensor_like(run, &a);
    if (target)
        fill_pictures(target, n, frames, h * w, at, rlm_f32(&a));
    features(p, run, &a, NULL, p->target);
    for (int i = 0; i < STRETCHES; i++)
        rlm_tape_clear(&p->tapes[i]);
    run->tape = &p->tapes[0];
    b = rlm_tensor_like(run, &a);
    if (target)
        fill_pictures(rlm_f32(x), n, frames, h * w, at, rlm_f32(&b));
    features(p, run, &b, p->tapes, p->made);
    run->tape = NULL;
    for (int s = STRETCHES - 1; s >= 0; s--) {
        for (int i = first[s]; i <= last[s] && target; i++)
            sum += compare(&p->target[i], &p->made[i], scale);
        rlm_backward(run, &p->tapes[s]);
        if (s > 0 && target)
            pool_backward(&p->made[first[s] - 1], &p->pooled[s]);
    }
    if (target && dx)
        return_gradient(b.grad, n, frames, h * w, at, dx);
    rlm_arena_rewind(run->arena, mark);
    run->tape = outer;
    run->lazy = lazy;
    return sum;
}
