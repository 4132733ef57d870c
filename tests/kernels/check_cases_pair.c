/* Cases of a pair of prepared convolutions: fused kernels against the same kernel by kernel. */
#include <stdio.h>

#include "src/base/mem.h"
#include "tests/kernels/check_cases.h"

static const int pair_shapes[][6] = {/* n t side channels hidden groups */
                                     {2, 3, 8, 32, 48, 4},
                                     {1, 5, 7, 17, 40, 1},
                                     {1, 1, 67, 96, 64, 8},
                                     {3, 2, 16, 64, 100, 2}};
static const int pair_bench[][6] = {{4, 5, 32, 96, 96, 8}};

/* One of the two, with its part of the inputs and outputs. */
typedef struct half {
    rlm_conv_shape conv;
    rlm_groupnorm_shape norm;
    rlm_weight w;
    const float *gain, *bias;
    float *dgain, *dbias, *dw;
    float *seen, *stats;
    void *memory[2];
} half;

static int64_t places(const rlm_conv_shape *s)
{
    return (int64_t)s->n * s->t * s->h * s->w;
}

static half half_of(const int *p, int second)
{
    int side = p[2], cin = p[second ? 4 : 3], cout = p[second ? 3 : 4], k = second ? 1 : 3;
    return (half){.conv = {.n = p[0],
                           .t = p[1],
                           .h = side,
                           .w = side,
                           .cin = cin,
                           .ot = p[1],
                           .oh = side,
                           .ow = side,
                           .cout = cout,
                           .kt = second ? 3 : 1,
                           .kh = k,
                           .kw = k,
                           .st = 1,
                           .sh = 1,
                           .sw = 1,
                           .dw = 1,
                           .pt = second ? 2 : 0,
                           .ph = k / 2,
                           .pw = k / 2},
                  .norm = {p[0] * p[1], side * side, cin, p[5], 1e-5f, RLM_ACT_SILU}};
}

static void forward(const rlm_kernels *k, rlm_par *par, half *a, const float *x,
                    const float *residual, float *y)
{
    a->seen = rlm_alloc((size_t)(places(&a->conv) * a->conv.cin) * sizeof(float));
    a->stats = rlm_alloc((size_t)(a->norm.frames * a->norm.groups) * 2 * sizeof(float));
    k->groupnorm_forward(par, &a->norm, x, a->gain, a->bias, a->seen, a->stats);
    k->conv_forward(par, &a->conv, a->seen, &a->w, NULL, residual, y);
}

/* Frees what the forward kept. */
static void backward(const rlm_kernels *k, rlm_par *par, half *a, const float *x, const float *dy,
                     float *dx, bool add)
{
    k->conv_backward_weight(par, &a->conv, a->seen, dy, a->dw, NULL);
    k->conv_backward_data(par, &a->conv, dy, &a->w, a->seen, false);
    k->groupnorm_backward(par, &a->norm, x, a->gain, a->bias, a->stats, a->seen, dx, a->dgain,
                          a->dbias, add);
    rlm_free(a->seen);
    rlm_free(a->stats);
}

static void apart(const rlm_kernels *k, rlm_par *par, check_case *c, half *a)
{
    int64_t hidden = places(&a[0].conv) * a[0].conv.cout;
    float *h = rlm_alloc((size_t)hidden * 2 * sizeof *h), *dh = h + hidden;
    forward(k, par, &a[0], c->in[0], NULL, h);
    forward(k, par, &a[1], h, c->in[0], c->out[3]);
    backward(k, par, &a[1], h, c->in[3], dh, false);
    backward(k, par, &a[0], c->in[0], dh, c->out[0], true);
    rlm_free(h);
}

static void together(const rlm_kernels *k, rlm_par *par, check_case *c, const half *a)
{
    rlm_pair_shape s = {{a[0].conv, a[1].conv}, {a[0].norm, a[1].norm}};
    rlm_pair_layers l = {{a[0].gain, a[1].gain}, {a[0].bias, a[1].bias}, {&a[0].w, &a[1].w}};
    rlm_pair_grads to = {.x = c->out[0], .add = true};
    for (int i = 0; i < 2; i++) {
        to.gain[i] = a[i].dgain;
        to.bias[i] = a[i].dbias;
        to.w[i] = a[i].dw;
    }
    void *saved = rlm_alloc(k->pair_saved(&s)), *room = rlm_alloc(k->pair_room(&s));
    k->pair_save(par, &s, &l, c->in[0], c->in[0], c->out[3], saved);
    k->pair_backward(par, &s, &l, c->in[0], c->in[3], saved, &to, room);
    rlm_free(saved);
    rlm_free(room);
}

/* in: x, both weights, gains and biases in turn, dy; out: dx, the gradients of those two, y. */
static void run_pair(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    half a[2];
    int64_t w = 0, v = 0;
    for (int i = 0; i < 2; i++) {
        a[i] = half_of(c->p, i);
        const rlm_conv_shape *s = &a[i].conv;
        rlm_weight_geom g = {s->cout, s->kt, s->kh, s->kw, s->cin, 1};
        a[i].w.f32 = c->in[1] + w;
        a[i].dw = c->out[1] + w;
        w += (int64_t)s->cout * s->kt * s->kh * s->kw * s->cin;
        a[i].gain = c->in[2] + v;
        a[i].dgain = c->out[2] + v;
        a[i].bias = a[i].gain + s->cin;
        a[i].dbias = a[i].dgain + s->cin;
        v += 2 * s->cin;
        for (int t = 0; t < 2; t++) {
            size_t bytes = k->pack_bytes(&g, t);
            a[i].memory[t] = bytes ? rlm_alloc(bytes) : NULL;
            if (bytes)
                k->pack(par, &g, a[i].w.f32, t, a[i].memory[t]);
        }
        a[i].w.pack = a[i].memory[0];
        a[i].w.pack_t = a[i].memory[1];
    }
    if (k->pair_backward)
        together(k, par, c, a);
    else
        apart(k, par, c, a);
    for (int i = 0; i < 4; i++)
        rlm_free(a[i / 2].memory[i % 2]);
}

static void pair_case(check_case *c, const int *p, int variant)
{
    (void)variant;
    snprintf(c->name, sizeof c->name, "pair %dx%dx%dx%d c%d hidden%d", p[0], p[1], p[2], p[2], p[3],
             p[4]);
    for (int i = 0; i < 6; i++)
        c->p[i] = p[i];
    c->class = CASE_QUANT;
    c->run = run_pair;
    c->levels = RLM_LEVEL_AMX;
    c->accumulates = true;
    c->calm = true;
    int64_t x = (int64_t)p[0] * p[1] * p[2] * p[2] * p[3];
    c->in_size[0] = c->in_size[3] = c->out_size[0] = c->out_size[3] = x;
    c->in_size[1] = c->out_size[1] = (int64_t)p[3] * p[4] * 12;
    c->in_size[2] = c->out_size[2] = 2 * (int64_t)(p[3] + p[4]);
}

bool check_pair_case_at(walk *w, bool bench, check_case *c)
{
    GROUP(pair_shapes, pair_bench, 1, pair_case, ITEM);
    return false;
}
