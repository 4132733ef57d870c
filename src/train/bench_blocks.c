/* What a training step spends its time in: the two convolutions of a residual block with their
 * norms, the halves of a transformer block, attention between them, the optimiser's matrices. Rows
 * exist for tables that have the fused forms. */
#include <math.h>
#include <stdio.h>

#include "src/train/bench.h"

enum { HELD_MAX = 40, LM_LEN = 1792, LM_PREFIX = 512, CONV_TAPS = 9 + 3 };

/* Memory of one block under test; `failed` once there was none. */
typedef struct block {
    rlm_bench_state *b;
    void *held[HELD_MAX];
    int count;
    bool failed;
} block;

static void *room(block *k, size_t bytes)
{
    void *p = k->count < HELD_MAX ? rlm_calloc(bytes + 64, 1) : NULL;
    k->failed |= !p;
    if (p)
        k->held[k->count++] = p;
    return p;
}

static float *values(block *k, size_t n)
{
    float *x = room(k, n * sizeof *x);
    rlm_bench_values(x, n);
    return x;
}

static void block_free(block *k)
{
    for (int i = 0; i < k->count; i++)
        rlm_free(k->held[i]);
}

/* A weight of random values with both packings. */
static rlm_weight packed(block *k, const rlm_weight_geom *g)
{
    const rlm_run *run = &k->b->run;
    size_t n = (size_t)g->cout * (size_t)g->kt * (size_t)g->kh * (size_t)g->kw * (size_t)g->cin;
    float *w = values(k, n);
    void *to[2];
    for (int t = 0; t < 2; t++) {
        to[t] = room(k, run->k->pack_bytes(g, t));
        if (w && to[t])
            run->k->pack(run->par, g, w, t, to[t]);
    }
    return (rlm_weight){.f32 = w, .pack = to[0], .pack_t = to[1]};
}

static rlm_weight packed_linear(block *k, int out, int in)
{
    return packed(k, &(rlm_weight_geom){out, 1, 1, 1, in, 1});
}

/* flops: of the forward; a backward has twice as many. */
static void add_rows(block *k, const char *name, double flops, void (*forward)(void *),
                     void (*backward)(void *), void *ctx)
{
    if (k->failed)
        return;
    for (int back = 0; back < 2; back++) {
        char text[96];
        snprintf(text, sizeof text, "%s %s", name, back ? "backward" : "forward");
        if (!rlm_bench_wants(k->b, text))
            continue;
        double seconds = rlm_bench_time(k->b, back ? backward : forward, ctx);
        rlm_bench_add(
            k->b, &(rlm_bench_row){.name = text, .seconds = seconds, .flops = flops * (1 + back)});
    }
}

/* ---- Residual blocks of the video tokenizer -------------------------------------------------- */

typedef struct convs {
    rlm_run *run;
    rlm_pair_shape s;
    rlm_weight w[2];
    rlm_pair_layers l;
    rlm_pair_grads to;
    float *x, *y, *dy;
    void *saved, *room;
} convs;

static void convs_forward(void *ctx)
{
    convs *c = ctx;
    c->run->k->pair_save(c->run->par, &c->s, &c->l, c->x, c->x, c->y, c->saved);
}

static void convs_backward(void *ctx)
{
    convs *c = ctx;
    c->run->k->pair_backward(c->run->par, &c->s, &c->l, c->x, c->dy, c->saved, &c->to, c->room);
}

/* 1x3x3 and 3x1x1, c channels on grids of 5 x side x side, 4 clips. */
static void conv_rows(rlm_bench_state *b, int side, int c)
{
    block k = {.b = b};
    convs v = {.run = &b->run};
    size_t places = (size_t)4 * 5 * (size_t)side * (size_t)side, n = places * (size_t)c;
    for (int i = 0; i < 2; i++) {
        int kt = i ? 3 : 1, ks = i ? 1 : 3;
        v.s.conv[i] = (rlm_conv_shape){4,  5,  side, side, c, 5, side,   side,   c,     kt,
                                       ks, ks, 1,    1,    1, 1, kt - 1, ks / 2, ks / 2};
        v.s.norm[i] = (rlm_groupnorm_shape){20, side * side, c, 8, 1e-6f, RLM_ACT_SILU};
        v.w[i] = packed(&k, &(rlm_weight_geom){c, kt, ks, ks, c, 1});
        v.l.gain[i] = values(&k, (size_t)c);
        v.l.bias[i] = values(&k, (size_t)c);
        v.to.gain[i] = values(&k, (size_t)c);
        v.to.bias[i] = values(&k, (size_t)c);
        v.to.w[i] = values(&k, (size_t)(kt * ks * ks * c) * (size_t)c);
        v.l.w[i] = &v.w[i];
    }
    v.x = values(&k, n);
    v.y = values(&k, n);
    v.dy = values(&k, n);
    v.to.x = values(&k, n);
    v.saved = room(&k, b->run.k->pair_saved(&v.s));
    v.room = room(&k, b->run.k->pair_room(&v.s));
    char name[64];
    snprintf(name, sizeof name, "block 1x3x3+3x1x1 4x5x%dx%d c%d", side, side, c);
    add_rows(&k, name, 2.0 * CONV_TAPS * c * (double)n, convs_forward, convs_backward, &v);
    block_free(&k);
}

/* ---- Halves of a transformer block ----------------------------------------------------------- */

typedef struct halves {
    rlm_run *run;
    rlm_qkv_shape q;
    rlm_mlp_shape m;
    rlm_attention_shape a;
    int prefix[8], length[8];
    rlm_weight qkv, up, down;
    rlm_qkv_grads to;
    rlm_mlp_grads mlp_to;
    float *x, *y, *dy, *gain, *q_gain, *k_gain, *angle, *lse;
    uint16_t *heads, *dheads;
    void *qkv_saved, *mlp_saved;
} halves;

static void qkv_forward(void *ctx)
{
    halves *h = ctx;
    h->run->k->qkv_save(h->run->par, &h->q, h->x, h->gain, &h->qkv, h->q_gain, h->k_gain, h->angle,
                        h->heads, h->qkv_saved);
}

static void qkv_backward(void *ctx)
{
    halves *h = ctx;
    h->run->k->qkv_backward(h->run->par, &h->q, h->x, h->gain, &h->qkv, h->q_gain, h->k_gain,
                            h->angle, h->heads, h->qkv_saved, h->dheads, &h->to);
}

static void attention_forward(void *ctx)
{
    halves *h = ctx;
    h->run->k->attention_bf16_forward(h->run->par, &h->a, h->heads, h->y, h->lse);
}

static void attention_backward(void *ctx)
{
    halves *h = ctx;
    h->run->k->attention_bf16_backward(h->run->par, &h->a, h->heads, h->y, h->lse, h->dy,
                                       h->dheads);
}

static void mlp_forward(void *ctx)
{
    halves *h = ctx;
    h->run->k->mlp_save(h->run->par, &h->m, h->x, h->gain, &h->up, &h->down, h->y, h->mlp_saved);
}

static void mlp_backward(void *ctx)
{
    halves *h = ctx;
    h->run->k->mlp_backward(h->run->par, &h->m, h->x, h->gain, &h->up, &h->down, h->mlp_saved,
                            &h->mlp_to);
}

static void halves_fill(block *k, halves *h, int width)
{
    const rlm_kernels *t = k->b->run.k;
    size_t rows = (size_t)h->q.rows, d = (size_t)width, f = (size_t)h->m.ffn;
    size_t head = (size_t)h->q.dim;
    h->qkv = packed_linear(k, 3 * width, width);
    h->up = packed_linear(k, 2 * h->m.ffn, width);
    h->down = packed_linear(k, width, h->m.ffn);
    h->x = values(k, rows * d);
    h->y = values(k, rows * d);
    h->dy = values(k, rows * d);
    h->gain = values(k, d);
    h->q_gain = values(k, head);
    h->k_gain = values(k, head);
    h->angle = values(k, rows * head / 2);
    h->lse = values(k, rows * (size_t)h->q.heads);
    h->heads = room(k, rows * 3 * d * sizeof *h->heads);
    h->dheads = room(k, rows * 3 * d * sizeof *h->dheads);
    h->qkv_saved = room(k, t->qkv_saved(&h->q));
    h->mlp_saved = room(k, t->mlp_saved(&h->m));
    h->to = (rlm_qkv_grads){values(k, rows * d), values(k, d), values(k, 3 * d * d),
                            values(k, head), values(k, head)};
    h->mlp_to =
        (rlm_mlp_grads){values(k, rows * d), values(k, d), values(k, 2 * f * d), values(k, f * d)};
}

/* batch sequences of LM_LEN positions, LM_PREFIX of them a prefix. */
static void lm_rows(rlm_bench_state *b, const char *preset, int batch)
{
    rlm_lm_config c;
    if (rlm_lm_config_preset(&c, preset))
        return;
    block k = {.b = b};
    int head = c.dim / c.heads, rows = batch * LM_LEN;
    halves h = {.run = &b->run,
                .q = {rows, c.heads, head, 1e-6f, 1e-6f},
                .m = {rows, c.dim, c.ffn, 1e-6f},
                .a = {batch, LM_LEN, c.heads, head, h.prefix, h.length, 1.0f / sqrtf((float)head)}};
    for (int i = 0; i < batch; i++) {
        h.prefix[i] = LM_PREFIX;
        h.length[i] = LM_LEN;
    }
    halves_fill(&k, &h, c.dim);
    double d = c.dim, pairs = 0.5 * LM_LEN * LM_LEN + 0.5 * LM_PREFIX * LM_PREFIX;
    char name[64];
    snprintf(name, sizeof name, "block %s %dx%d q, k, v", preset, batch, LM_LEN);
    add_rows(&k, name, 6.0 * rows * d * d, qkv_forward, qkv_backward, &h);
    snprintf(name, sizeof name, "block %s %dx%d attention", preset, batch, LM_LEN);
    add_rows(&k, name, 4.0 * batch * pairs * d, attention_forward, attention_backward, &h);
    snprintf(name, sizeof name, "block %s %dx%d mlp", preset, batch, LM_LEN);
    add_rows(&k, name, 6.0 * rows * d * c.ffn, mlp_forward, mlp_backward, &h);
    block_free(&k);
}

void rlm_bench_blocks(rlm_bench_state *b)
{
    const rlm_kernels *k = b->run.k;
    if (k->pair_save) {
        conv_rows(b, 32, 96);
        conv_rows(b, 16, 256);
    }
    if (k->qkv_save) {
        lm_rows(b, "default", 4);
        lm_rows(b, "300m", 1);
    }
}
