/* SqueezeNet v1.1 as a ruler for pictures:
 *
 *   BGR 0..255 minus means -> conv1 3x3 / 2, ReLU -> pool -> fire2, fire3 -> pool -> fire4, fire5
 *     -> pool -> fire6 .. fire9;  fire(x) = [relu(expand1x1(s)), relu(expand3x3(s))],
 *   s = relu(squeeze1x1(x));  pool: maximum of 3x3, stride 2, the last window cut at the border
 *
 * The layers are the project's own; pooling and the distance itself are loops here, as nothing
 * learns through them. The kernels stay at f32 so that a distance is the same on every machine. */
#include "src/train/eval.h"

#include <math.h>
#include <stdio.h>

enum { FIRES = 8, FIRST_FIRE = 2, TAKEN = 1 + FIRES, SIDE_MIN = 32, SIDE_MAX = 4096 };
static const int SQUEEZE[FIRES] = {16, 16, 32, 32, 48, 48, 64, 64};
static const int EXPAND[FIRES] = {64, 64, 128, 128, 192, 192, 256, 256};
static const float MEAN_BGR[3] = {104, 117, 123};
static const size_t ARENA_RESERVE = (size_t)1 << 36;

typedef struct fire {
    rlm_conv squeeze, expand1, expand3;
} fire;

struct rlm_perceptual {
    rlm_kernels k, empty;
    rlm_arena arena;
    rlm_run run;
    rlm_params params;
    rlm_conv conv1;
    fire fires[FIRES];
    int planned_h, planned_w; /* size the arena was committed for */
    bool dry;                 /* planning: no element may be touched */
};

static void declare(rlm_perceptual *p)
{
    rlm_conv_spec first = {.cin = 3, .cout = 64, .kh = 3, .kw = 3, .sh = 2, .sw = 2, .bias = true};
    rlm_conv_declare(&p->conv1, &p->params, "conv1", &first);
    for (int i = 0, in = 64; i < FIRES; in = 2 * EXPAND[i++]) {
        char name[64];
        rlm_conv_spec squeeze = {.cin = in, .cout = SQUEEZE[i], .bias = true};
        rlm_conv_spec expand = {.cin = SQUEEZE[i], .cout = EXPAND[i], .bias = true};
        snprintf(name, sizeof name, "fire%d.squeeze1x1", FIRST_FIRE + i);
        rlm_conv_declare(&p->fires[i].squeeze, &p->params, name, &squeeze);
        snprintf(name, sizeof name, "fire%d.expand1x1", FIRST_FIRE + i);
        rlm_conv_declare(&p->fires[i].expand1, &p->params, name, &expand);
        expand.kh = expand.kw = 3;
        snprintf(name, sizeof name, "fire%d.expand3x3", FIRST_FIRE + i);
        rlm_conv_declare(&p->fires[i].expand3, &p->params, name, &expand);
    }
}

/* [out][in][kh][kw] of the file to [out][kh][kw][in]; biases as they are. */
static int load_one(rlm_param *param, const rlm_safetensors *st, rlm_error *err)
{
    const rlm_tensor *t = rlm_st_find(st, param->name);
    bool weight = param->rank == 5;
    int64_t out = param->shape[0], kh = param->shape[2], kw = param->shape[3], in = param->shape[4];
    if (!t || t->dtype > RLM_F16 ||
        (weight ? t->rank != 4 || t->shape[0] != out || t->shape[1] != in || t->shape[2] != kh ||
                      t->shape[3] != kw
                : t->rank != 1 || t->shape[0] != out))
        return rlm_fail(err, RLM_E_MODEL, "%s: %s is %s; SqueezeNet v1.1 is expected", st->path,
                        param->name, t ? "of another shape" : "missing");
    if (!weight) {
        rlm_st_to_f32(t, param->data);
        return RLM_OK;
    }
    float *flat = rlm_alloc((size_t)param->count * sizeof *flat);
    if (!flat)
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory for %s", st->path, param->name);
    rlm_st_to_f32(t, flat);
    for (int64_t o = 0; o < out; o++)
        for (int64_t c = 0; c < in; c++)
            for (int64_t k = 0; k < kh * kw; k++)
                param->data[(o * kh * kw + k) * in + c] = flat[(o * in + c) * kh * kw + k];
    rlm_free(flat);
    return RLM_OK;
}

static int load(rlm_perceptual *p, const char *path, rlm_error *err)
{
    rlm_safetensors st;
    declare(p);
    RLM_TRY(rlm_params_allocate(&p->params, false, err));
    RLM_TRY(rlm_st_open(&st, path, err));
    int code = RLM_OK;
    for (int i = 0; i < p->params.count && !code; i++)
        code = load_one(p->params.items[i], &st, err);
    rlm_st_close(&st);
    return code;
}

int rlm_perceptual_open(rlm_perceptual **out, const char *path, rlm_par *par, rlm_error *err)
{
    *out = NULL;
    rlm_perceptual *p = rlm_calloc(1, sizeof *p);
    if (!p)
        return rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", path);
    int code = rlm_kernels_init(&p->k, "blas", err);
    if (!code)
        code = load(p, path, err);
    if (!code)
        code = rlm_params_pack(&p->params, &p->k, par, false, err);
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
    rlm_params_free(&p->params);
    rlm_free(p);
    *pp = NULL;
}

/* ---- Forward ----------------------------------------------------------------------------------
 */

/* x [2][1][.][.][c], of which h x w count, to their maxima of 3x3 at every second place. */
static rlm_tensor pool(rlm_perceptual *p, const rlm_tensor *x, int64_t h, int64_t w)
{
    int64_t c = x->shape[4], oh = (h - 2) / 2 + 1, ow = (w - 2) / 2 + 1;
    rlm_tensor y = rlm_tensor_new5(&p->run, x->shape[0], 1, oh, ow, c);
    for (int64_t n = 0; n < x->shape[0] && !p->dry; n++)
        for (int64_t i = 0; i < oh * ow; i++) {
            int64_t top = i / ow * 2, left = i % ow * 2;
            float *to = rlm_f32(&y) + (n * oh * ow + i) * c;
            for (int64_t k = 0; k < c; k++)
                to[k] = -INFINITY;
            for (int64_t r = top; r < top + 3 && r < h; r++)
                for (int64_t s = left; s < left + 3 && s < w; s++) {
                    const float *from = rlm_f32(x) + ((n * x->shape[2] + r) * x->shape[3] + s) * c;
                    for (int64_t k = 0; k < c; k++)
                        to[k] = fmaxf(to[k], from[k]);
                }
        }
    return y;
}

static rlm_tensor conv_relu(rlm_perceptual *p, const rlm_conv *c, const rlm_tensor *x)
{
    rlm_tensor y = rlm_conv_forward(&p->run, c, x);
    return rlm_act_forward(&p->run, RLM_ACT_RELU, &y);
}

static rlm_tensor fire_forward(rlm_perceptual *p, const fire *f, const rlm_tensor *x)
{
    rlm_tensor s = conv_relu(p, &f->squeeze, x);
    rlm_tensor one = conv_relu(p, &f->expand1, &s), three = conv_relu(p, &f->expand3, &s);
    int c = f->expand1.cout;
    rlm_tensor y = rlm_tensor_new5(&p->run, x->shape[0], 1, x->shape[2], x->shape[3], 2 * c);
    p->run.k->columns(p->run.par, rlm_tensor_rows(&s), c, rlm_f32(&one), c, 0, rlm_f32(&y), 2 * c,
                      0, false);
    p->run.k->columns(p->run.par, rlm_tensor_rows(&s), c, rlm_f32(&three), c, 0, rlm_f32(&y), 2 * c,
                      c, false);
    return y;
}

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
    rlm_tensor y = conv_relu(p, &p->conv1, x);
    double sum = compare(p, &y, h, w);
    for (int i = 0; i < FIRES; i++) {
        if (i == 0 || i == 2 || i == 4)
            y = pool(p, &y, h, w);
        h = y.shape[2];
        w = y.shape[3];
        y = fire_forward(p, &p->fires[i], &y);
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
                out[c] = there ? (float)from[2 - c] - MEAN_BGR[c] : 0.0f;
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
