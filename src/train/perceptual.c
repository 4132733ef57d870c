/* The perceptual distance of SqueezeNet's features (squeezenet.h) between frames of bytes. The
 * kernels stay at f32 so that a distance is the same on every machine. */
#include "src/train/eval.h"
#include "src/train/squeezenet.h"

enum { SIDE_MIN = 32, SIDE_MAX = 4096 };
static const size_t ARENA_RESERVE = (size_t)1 << 36;

struct rlm_perceptual {
    rlm_kernels k, empty;
    rlm_arena arena;
    rlm_run run;
    rlm_squeezenet net;
    int planned_h, planned_w; /* size the arena was committed for */
};

int rlm_perceptual_open(rlm_perceptual **out, const char *path, rlm_par *par, rlm_error *err)
{
    *out = NULL;
    rlm_perceptual *p = rlm_calloc(1, sizeof *p);
    if (!p)
        return rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", path);
    int code = rlm_kernels_init(&p->k, "blas", err);
    if (!code)
        code = rlm_squeezenet_load(&p->net, path, err);
    if (!code)
        code = rlm_params_pack(&p->net.params, &p->k, par, false, err);
    if (!code)
        code = rlm_arena_reserve(&p->arena, ARENA_RESERVE, err);
    rlm_kernels_empty(&p->empty, &p->k);
    p->run = (rlm_run){.k = &p->k, .arena = &p->arena, .par = par};
    if (code)
        rlm_perceptual_close(&p);
    *out = p;
    return code;
}

void rlm_perceptual_close(rlm_perceptual **pp)
{
    rlm_perceptual *p = *pp;
    if (!p)
        return;
    if (p->arena.base)
        rlm_arena_release(&p->arena);
    rlm_params_free(&p->net.params);
    rlm_free(p);
    *pp = NULL;
}

/* ---- Forward --------------------------------------------------------------------------------- */

static void fill_picture(const rlm_frames *f, int index, int h, int w, float *out)
{
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++, out += 3) {
            bool there = y < f->height && x < f->width;
            const uint8_t *from =
                f->rgb +
                (((size_t)index * (size_t)f->height + (size_t)y) * (size_t)f->width + (size_t)x) *
                    3;
            for (int c = 0; c < 3; c++)
                out[c] = there ? (float)from[2 - c] - rlm_squeezenet_mean[c] : 0.0f;
        }
}

/* One pair of frames; a NULL: with empty kernels, to plan. */
static double pair(rlm_perceptual *p, const rlm_frames *a, const rlm_frames *b, int index, int h,
                   int w)
{
    int even_h = (h + 1) & ~1, even_w = (w + 1) & ~1;
    rlm_tap taps[RLM_TAPS];
    double sum = 0;
    rlm_arena_rewind(&p->arena, 0);
    p->run.k = a ? &p->k : &p->empty;
    rlm_tensor x = rlm_tensor_new5(&p->run, 2, 1, even_h, even_w, 3);
    if (a) {
        fill_picture(a, index, even_h, even_w, rlm_f32(&x));
        fill_picture(b, index, even_h, even_w, rlm_f32(&x) + (size_t)even_h * even_w * 3);
    }
    rlm_squeezenet_features(&p->run, &p->net, &x, h, w, !a, NULL, NULL, taps);
    for (int i = 0; i < RLM_TAPS && a; i++) {
        rlm_tap first = taps[i], second = taps[i];
        first.x.shape[0] = second.x.shape[0] = 1;
        second.x.data = rlm_f32(&first.x) + rlm_tensor_count(&first.x);
        sum += rlm_squeezenet_compare(p->run.par, &first, &second, 0);
    }
    return sum;
}

int rlm_perceptual_score(rlm_perceptual *p, const rlm_frames *a, const rlm_frames *b, double *score,
                         rlm_error *err)
{
    int h = a->height, w = a->width;
    if (h < SIDE_MIN || w < SIDE_MIN || h > SIDE_MAX || w > SIDE_MAX)
        return rlm_fail(err, RLM_E_RANGE,
                        "perceptual distance: pictures of %dx%d, sides are %d to "
                        "%d",
                        w, h, SIDE_MIN, SIDE_MAX);
    if (h != p->planned_h || w != p->planned_w) {
        pair(p, NULL, NULL, 0, h, w);
        RLM_TRY(rlm_arena_commit(&p->arena, p->arena.peak, err));
        p->planned_h = h;
        p->planned_w = w;
    }
    *score = 0;
    for (int i = 0; i < a->count; i++)
        *score += pair(p, a, b, i, h, w) / a->count;
    return RLM_OK;
}
