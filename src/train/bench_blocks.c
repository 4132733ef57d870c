/* What a training step spends its time in: the two convolutions of a residual block with their
 * norms, the halves of a transformer block, attention between them. Rows exist for tables that have
 * the fused forms. */
#include <math.h>
#include <stdio.h>

#include "src/train/bench.h"

enum { LM_LEN = 1792, LM_PREFIX = 512, CONV_TAPS = 9 + 3 };

static const char *const PASS[] = {"forward", "backward"};

static bool row_wanted(const rlm_bench_state *b, const char *name, int back, char text[96])
{
    snprintf(text, 96, "%s %s", name, PASS[back]);
    return rlm_bench_wants(b, text);
}

static bool wanted(const rlm_bench_state *b, const char *name)
{
    char text[96];
    return row_wanted(b, name, 0, text) || row_wanted(b, name, 1, text);
}

/* flops: of the forward, which leaves what the backward needs; a backward has twice as many. */
static void add_rows(rlm_bench_state *b, const char *name, double flops, void (*forward)(void *),
                     void (*backward)(void *), void *ctx)
{
    char text[96];
    for (int back = 0; back < 2; back++) {
        if (!row_wanted(b, name, back, text))
            continue;
        if (back)
            forward(ctx);
        double seconds = rlm_bench_time(b, back ? backward : forward, ctx);
        rlm_bench_add(
            b, &(rlm_bench_row){.name = text, .seconds = seconds, .flops = flops * (1 + back)});
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
    rlm_bench_memory m = {.count = 0};
    convs v = {.run = &b->run};
    size_t n = (size_t)4 * 5 * (size_t)side * (size_t)side * (size_t)c;
    char name[64];
    snprintf(name, sizeof name, "block 1x3x3+3x1x1 4x5x%dx%d c%d", side, side, c);
    if (!wanted(b, name))
        return;
    for (int i = 0; i < 2; i++) {
        int kt = i ? 3 : 1, ks = i ? 1 : 3;
        v.s.conv[i] = rlm_bench_conv(4, 5, side, c, kt, ks);
        v.s.norm[i] = (rlm_groupnorm_shape){20, side * side, c, 8, 1e-6f, RLM_ACT_SILU};
        v.w[i] = rlm_bench_weight(&b->run, &m, &v.s.conv[i]);
        v.l.gain[i] = rlm_bench_floats(&m, (size_t)c);
        v.l.bias[i] = rlm_bench_floats(&m, (size_t)c);
        v.to.gain[i] = rlm_bench_floats(&m, (size_t)c);
        v.to.bias[i] = rlm_bench_floats(&m, (size_t)c);
        v.to.w[i] = rlm_bench_floats(&m, (size_t)(kt * ks * ks * c) * (size_t)c);
        v.l.w[i] = &v.w[i];
    }
    v.x = rlm_bench_floats(&m, n);
    v.y = rlm_bench_floats(&m, n);
    v.dy = rlm_bench_floats(&m, n);
    v.to.x = rlm_bench_floats(&m, n);
    v.saved = rlm_bench_room(&m, b->run.k->pair_saved(&v.s));
    v.room = rlm_bench_room(&m, b->run.k->pair_room(&v.s));
    if (!m.failed)
        add_rows(b, name, 2.0 * CONV_TAPS * c * (double)n, convs_forward, convs_backward, &v);
    rlm_bench_release(&m);
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

static rlm_weight linear(const rlm_run *run, rlm_bench_memory *m, int out, int in)
{
    rlm_conv_shape s = rlm_bench_dense(1, out, in);
    return rlm_bench_weight(run, m, &s);
}

/* Everything but what kernels make of it. */
static void halves_fill(halves *h, rlm_bench_memory *m, int width)
{
    const rlm_kernels *t = h->run->k;
    size_t rows = (size_t)h->q.rows, d = (size_t)width, f = (size_t)h->m.ffn;
    size_t head = (size_t)h->q.dim;
    h->qkv = linear(h->run, m, 3 * width, width);
    h->up = linear(h->run, m, 2 * h->m.ffn, width);
    h->down = linear(h->run, m, width, h->m.ffn);
    h->x = rlm_bench_floats(m, rows * d);
    h->y = rlm_bench_floats(m, rows * d);
    h->dy = rlm_bench_floats(m, rows * d);
    h->gain = rlm_bench_floats(m, d);
    h->q_gain = rlm_bench_floats(m, head);
    h->k_gain = rlm_bench_floats(m, head);
    h->angle = rlm_bench_floats(m, rows * head / 2);
    h->lse = rlm_bench_floats(m, rows * (size_t)h->q.heads);
    h->heads = rlm_bench_room(m, rows * 3 * d * sizeof *h->heads);
    h->dheads = rlm_bench_room(m, rows * 3 * d * sizeof *h->dheads);
    h->qkv_saved = rlm_bench_room(m, t->qkv_saved(&h->q));
    h->mlp_saved = rlm_bench_room(m, t->mlp_saved(&h->m));
    h->to = (rlm_qkv_grads){rlm_bench_floats(m, rows * d), rlm_bench_floats(m, d),
                            rlm_bench_floats(m, 3 * d * d), rlm_bench_floats(m, head),
                            rlm_bench_floats(m, head)};
    h->mlp_to = (rlm_mlp_grads){rlm_bench_floats(m, rows * d), rlm_bench_floats(m, d),
                                rlm_bench_floats(m, 2 * f * d), rlm_bench_floats(m, f * d)};
}

/* batch sequences of LM_LEN positions, LM_PREFIX of them a prefix. */
static void lm_rows(rlm_bench_state *b, const char *preset, int batch)
{
    static const char *const part[] = {"q, k, v", "attention", "mlp"};
    rlm_lm_config c;
    rlm_bench_memory m = {.count = 0};
    char name[3][64];
    bool any = false;
    for (int i = 0; i < 3; i++) {
        snprintf(name[i], sizeof name[i], "block %s %dx%d %s", preset, batch, LM_LEN, part[i]);
        any |= wanted(b, name[i]);
    }
    if (!any || rlm_lm_config_preset(&c, preset))
        return;
    int head = c.dim / c.heads, rows = batch * LM_LEN;
    halves h = {.run = &b->run,
                .q = {rows, c.heads, head, 1e-6f, 1e-6f},
                .m = {rows, c.dim, c.ffn, 1e-6f},
                .a = {batch, LM_LEN, c.heads, head, h.prefix, h.length, 1.0f / sqrtf((float)head)}};
    for (int i = 0; i < batch; i++) {
        h.prefix[i] = LM_PREFIX;
        h.length[i] = LM_LEN;
    }
    halves_fill(&h, &m, c.dim);
    double d = c.dim, pairs = 0.5 * LM_LEN * LM_LEN + 0.5 * LM_PREFIX * LM_PREFIX;
    if (!m.failed) {
        qkv_forward(&h); /* heads and their gradients: no kernel is timed on zeros */
        attention_forward(&h);
        attention_backward(&h);
        add_rows(b, name[0], 6.0 * rows * d * d, qkv_forward, qkv_backward, &h);
        add_rows(b, name[1], 4.0 * batch * pairs * d, attention_forward, attention_backward, &h);
        add_rows(b, name[2], 6.0 * rows * d * c.ffn, mlp_forward, mlp_backward, &h);
    }
    rlm_bench_release(&m);
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
