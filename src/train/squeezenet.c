/* SqueezeNet v1.1: declaring, loading, its features and the distance of two sets of them. Pooling
 * and the distance are loops here, with their gradients: they serve a few small pictures a step,
 * and nothing but the perceptual loss ever looks back through them. */
#include "src/train/squeezenet.h"

#include <math.h>
#include <stdio.h>

enum { FIRST_FIRE = 2 };
static const int SQUEEZE[RLM_FIRES] = {16, 16, 32, 32, 48, 48, 64, 64};
static const int EXPAND[RLM_FIRES] = {64, 64, 128, 128, 192, 192, 256, 256};
const float rlm_squeezenet_mean[3] = {104, 117, 123};

static void declare(rlm_squeezenet *p)
{
    rlm_conv_spec first = {.cin = 3, .cout = 64, .kh = 3, .kw = 3, .sh = 2, .sw = 2, .bias = true};
    rlm_conv_declare(&p->conv1, &p->params, "conv1", &first);
    for (int i = 0, in = 64; i < RLM_FIRES; in = 2 * EXPAND[i++]) {
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

int rlm_squeezenet_load(rlm_squeezenet *net, const char *path, rlm_error *err)
{
    rlm_safetensors st;
    declare(net);
    RLM_TRY(rlm_params_allocate(&net->params, false, err));
    RLM_TRY(rlm_st_open(&st, path, err));
    int code = RLM_OK;
    for (int i = 0; i < net->params.count && !code; i++)
        code = load_one(net->params.items[i], &st, err);
    rlm_st_close(&st);
    return code;
}

/* ---- Forward ---- */

static rlm_tensor conv(rlm_run *run, const rlm_conv *c, const rlm_tensor *x)
{
    rlm_tensor y = rlm_conv_forward(run, c, x);
    return rlm_act_forward(run, RLM_ACT_RELU, &y);
}

/* Columns of y from `to` on become x. */
static void put_columns(rlm_run *run, const rlm_tensor *x, const rlm_tensor *y, int to)
{
    int c = (int)rlm_tensor_last(x), cy = (int)rlm_tensor_last(y);
    run->k->columns(run->par, rlm_tensor_rows(x), c, rlm_f32(x), c, 0, rlm_f32(y), cy, to, false);
    if (run->tape)
        rlm_tape_push(run->tape, &(rlm_record){.op = RLM_OP_COLUMNS,
                                               .in = {*x},
                                               .out = *y,
                                               .u.columns = {.count = c, .to = to}});
}

static rlm_tensor fire(rlm_run *run, const rlm_fire *f, const rlm_tensor *x)
{
    rlm_tensor s = conv(run, &f->squeeze, x);
    rlm_tensor one = conv(run, &f->expand1, &s);
    rlm_tensor three = conv(run, &f->expand3, &s);
    int c = f->expand1.cout;
    rlm_tensor y = rlm_tensor_new5(run, x->shape[0], 1, x->shape[2], x->shape[3], 2 * c);
    put_columns(run, &one, &y, 0);
    put_columns(run, &three, &y, c);
    return y;
}

typedef struct pool_job {
    const rlm_tensor *x, *y;
    int64_t h, w; /* places of x that count */
} pool_job;

/* Rows of places of y. */
static void pool_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const pool_job *j = ctx;
    const rlm_tensor *x = j->x;
    int64_t c = x->shape[4], oh = j->y->shape[2], ow = j->y->shape[3];
    (void)worker;
    for (int64_t i = begin * ow; i < end * ow; i++) {
        int64_t n = i / (oh * ow), top = i / ow % oh * 2, left = i % ow * 2;
        float *to = rlm_f32(j->y) + i * c;
        for (int64_t k = 0; k < c; k++)
            to[k] = -INFINITY;
        for (int64_t r = top; r < top + 3 && r < j->h; r++)
            for (int64_t s = left; s < left + 3 && s < j->w; s++) {
                const float *from = rlm_f32(x) + ((n * x->shape[2] + r) * x->shape[3] + s) * c;
                for (int64_t k = 0; k < c; k++)
                    to[k] = from[k] > to[k] ? from[k] : to[k];
            }
    }
}

/* x [n][1][.][.][c], of which h x w count; dry: only the shape. */
static rlm_tensor pool(rlm_run *run, const rlm_tensor *x, int64_t h, int64_t w, bool dry)
{
    int64_t c = x->shape[4], oh = (h - 2) / 2 + 1, ow = (w - 2) / 2 + 1;
    rlm_tensor y = rlm_tensor_new5(run, x->shape[0], 1, oh, ow, c);
    pool_job j = {x, &y, h, w};
    if (!dry)
        rlm_par_for(run->par, x->shape[0] * oh, 1, pool_rows, &j);
    return y;
}

void rlm_squeezenet_features(rlm_run *run, const rlm_squeezenet *net, const rlm_tensor *x,
                             int64_t h, int64_t w, bool dry, rlm_tape *tapes,
                             rlm_tensor pooled[RLM_STRETCHES], rlm_tap taps[RLM_TAPS])
{
    /* conv1 has no padding: of "same" with a zero behind, all places but those that see it */
    h = (h - 3) / 2 + 1;
    w = (w - 3) / 2 + 1;
    run->tape = tapes;
    rlm_tensor y = conv(run, &net->conv1, x);
    taps[0] = (rlm_tap){y, h, w};
    for (int i = 0, stretch = 0; i < RLM_FIRES; i++) {
        if (i == 0 || i == 2 || i == 4) {
            run->tape = tapes ? &tapes[++stretch] : NULL;
            y = pool(run, &y, h, w, dry);
            if (tapes)
                pooled[stretch] = y;
            h = y.shape[2];
            w = y.shape[3];
        }
        y = fire(run, &net->fires[i], &y);
        taps[1 + i] = (rlm_tap){y, h, w};
    }
}

static const float *place(const rlm_tensor *x, const float *data, int64_t n, int64_t r, int64_t s)
{
    return data + ((n * x->shape[2] + r) * x->shape[3] + s) * x->shape[4];
}

/* Pictures of y. */
static void pool_back(void *ctx, int64_t begin, int64_t end, int worker)
{
    const pool_job *j = ctx;
    const rlm_tensor *x = j->x, *y = j->y;
    int64_t c = x->shape[4], oh = y->shape[2], ow = y->shape[3];
    (void)worker;
    for (int64_t at = begin * oh * ow; at < end * oh * ow; at++) {
        int64_t n = at / (oh * ow), top = at / ow % oh * 2, left = at % ow * 2;
        for (int64_t k = 0; k < c; k++) {
            float best = rlm_f32(y)[at * c + k];
            bool found = false;
            for (int64_t r = top; r < top + 3 && r < j->h && !found; r++)
                for (int64_t s = left; s < left + 3 && s < j->w && !found; s++) {
                    if (place(x, rlm_f32(x), n, r, s)[k] != best)
                        continue;
                    ((float *)place(x, x->grad, n, r, s))[k] += y->grad[at * c + k];
                    found = true;
                }
        }
    }
}

void rlm_squeezenet_pool_backward(rlm_par *par, const rlm_tap *in, const rlm_tensor *y)
{
    pool_job j = {&in->x, y, in->h, in->w};
    rlm_par_for(par, y->shape[0], 1, pool_back, &j);
}

/* ---- The distance ---- */

/* Of two rows of c features, adding scale * gradient for b to db (NULL: none). Two rows of nothing
 * are 0 apart, one of nothing and one of something 1, two that share nothing 2. */
static double row_distance(int64_t c, const float *a, const float *b, double scale, float *db)
{
    double aa = 0, bb = 0, ab = 0;
    for (int64_t k = 0; k < c; k++) {
        aa += (double)a[k] * a[k];
        bb += (double)b[k] * b[k];
        ab += (double)a[k] * b[k];
    }
    double na = sqrt(aa + 1e-12), nb = sqrt(bb + 1e-12), cosine = ab / (na * nb);
    double size_a = aa / (na * na), size_b = bb / (nb * nb); /* 1, or 0 of a row of nothing */
    for (int64_t k = 0; k < c && db; k++)
        db[k] += (float)(scale * 2.0 / nb * ((cosine + 1 - size_b) * b[k] / nb - a[k] / na));
    return fmax(size_a + size_b - 2 * cosine, 0);
}

enum { COMPARE_PARTS = 64 }; /* whose sums are added in order, whoever took them */

typedef struct compare_job {
    const rlm_tap *a, *b;
    double scale; /* of a place */
    double sum[COMPARE_PARTS];
} compare_job;

static void compare_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    compare_job *j = ctx;
    const rlm_tensor *a = &j->a->x, *b = &j->b->x;
    int64_t h = j->a->h, w = j->a->w, places = a->shape[0] * h * w;
    (void)worker;
    for (int64_t part = begin; part < end; part++) {
        double sum = 0;
        for (int64_t i = places * part / COMPARE_PARTS; i < places * (part + 1) / COMPARE_PARTS;
             i++) {
            int64_t n = i / w / h, r = i / w % h, s = i % w;
            float *db = b->grad ? (float *)place(b, b->grad, n, r, s) : NULL;
            sum += row_distance(a->shape[4], place(a, rlm_f32(a), n, r, s),
                                place(b, rlm_f32(b), n, r, s), j->scale, db);
        }
        j->sum[part] = sum;
    }
}

double rlm_squeezenet_compare(rlm_par *par, const rlm_tap *a, const rlm_tap *b, double scale)
{
    double each = 1.0 / (double)(a->x.shape[0] * a->h * a->w), sum = 0;
    compare_job j = {.a = a, .b = b, .scale = scale * each};
    rlm_par_for(par, COMPARE_PARTS, 1, compare_part, &j);
    for (int i = 0; i < COMPARE_PARTS; i++)
        sum += j.sum[i];
    return sum * each;
}
