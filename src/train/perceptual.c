/* The perceptual distance of SqueezeNet's features (squeezenet.h). The layers are the project's
 * own; the distance itself is a loop here, as nothing learns through it (perceptual_loss.c does).
 * The kernels stay at f32 so that a distance is the same on every machine. */
#include "src/train/eval.h"
#include "src/train/squeezenet.h"

#include <math.h>

enum { SIDE_MIN = 32, SIDE_MAX = 4096 };
static const size_t ARENA_RESERVE = (size_t)1 << 36;

struct rlm_perceptual {
    rlm_kernels k, empty;
    rlm_arena arena;
    rlm_run run;
    rlm_squeezenet net;
    int planned_h, planned_w; /* size the arena was committed for */
    bool dry;                 /* planning: no element may be touched */
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

/* ---- Forward ----------------------------------------------------------------------------------
 */

/* The pair of features x [2][1][.][.][c], of which h x w count. */
static double compare(const rlm_perceptual *p, const rlm_tensor *x, int64_t h, int64_t w)
{
    int64_t c = x->shape[4], plane = x->shape[2] * x->shape[3];
    double sum = 0;
    for (int64_t i = 0; i < h * w && !p->dry; i++) {
        const float *a = rlm_f32(x) + (i / w * x->shape[3] + i % w) * c, *b = a + plane * c;
        double aa = 0, bb = 0, ab = 0;
        for (int64_t k = 0; k < c; k++) {
            aa += (double)a[k] * a[k];
            bb += (double)b[k] * b[k];
            ab += (double)a[k] * b[k];
        }
        double na = sqrt(aa) + 1e-10, nb = sqrt(bb) + 1e-10;
        double d = aa / (na * na) + bb / (nb * nb) - 2 * ab / (na * nb);
        sum += d > 0 ? d : 0;
    }
    return sum / (double)(h * w);
}

/* x [2][1][h][w][3], sides even: real sides are h0, w0. Returns the distance of its halves. */
static double distance(rlm_perceptual *p, const rlm_tensor *x, int h0, int w0)
{
    /* conv1 has no padding: of "same" with a zero behind, all places but those that see it */
    int64_t h = (h0 - 3) / 2 + 1, w = (w0 - 3) / 2 + 1;
    rlm_tensor y = rlm_squeezenet_conv(&p->run, &p->net.conv1, x);
    double sum = compare(p, &y, h, w);
    for (int i = 0; i < RLM_FIRES; i++) {
        if (rlm_squeezenet_pools(i))
            y = rlm_squeezenet_pool(&p->run, &y, h, w, p->dry);
        h = y.shape[2];
        w = y.shape[3];
        y = rlm_squeezenet_fire(&p->run, &p->net.fires[i], &y);
        sum += compare(p, &y, h, w);
    }
    return sum;
}

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
    rlm_arena_rewind(&p->arena, 0);
    p->dry = !a;
    p->run.k = a ? &p->k : &p->empty;
    rlm_tensor x = rlm_tensor_new5(&p->run, 2, 1, even_h, even_w, 3);
    if (a) {
        fill_picture(a, index, even_h, even_w, rlm_f32(&x));
        fill_picture(b, index, even_h, even_w, rlm_f32(&x) + (size_t)even_h * even_w * 3);
    }
    return distance(p, &x, h, w);
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
