/* Layers: shapes, causality and streaming of convolutions against the plain sum over taps, records
 * on the tape, and the dry run. All on the reference kernels. */
#include "tests/test.h"

#include "src/base/rng.h"
#include "src/nn/layers.h"

/* ---- A small world to run layers in ---------------------------------------------------------- */

typedef struct fixture {
    rlm_kernels k;
    rlm_arena arena;
    rlm_params params;
    rlm_tape tape;
    rlm_run run;
} fixture;

static void fixture_open(fixture *f, bool tape)
{
    *f = (fixture){0};
    CHECK(rlm_kernels_init(&f->k, "ref", NULL) == 0);
    CHECK(rlm_arena_reserve(&f->arena, 64 << 20, NULL) == 0);
    CHECK(rlm_arena_commit(&f->arena, 16 << 20, NULL) == 0);
    f->run =
        (rlm_run){.k = &f->k, .arena = &f->arena, .tape = tape ? &f->tape : NULL, .lazy = tape};
}

/* After the declarations. */
static void fixture_ready(fixture *f)
{
    CHECK(rlm_params_allocate(&f->params, f->run.tape != NULL, NULL) == 0);
    rlm_params_initialise(&f->params, 3);
    for (int64_t i = 0; i < f->params.total; i++) /* biases and gains that matter */
        f->params.data[i] += 0.1f * rlm_rng_normal(4, 4, (uint64_t)i);
    CHECK(rlm_params_pack(&f->params, &f->k, NULL, false, NULL) == 0);
}

static void fixture_close(fixture *f)
{
    rlm_tape_free(&f->tape);
    rlm_params_free(&f->params);
    rlm_arena_release(&f->arena);
}

static rlm_tensor noise5(fixture *f, int64_t n, int64_t t, int64_t h, int64_t w, int64_t c)
{
    rlm_tensor x = rlm_tensor_new5(&f->run, n, t, h, w, c);
    for (int64_t i = 0; i < rlm_tensor_count(&x); i++)
        rlm_f32(&x)[i] = rlm_rng_normal(9, (uint64_t)(c + w), (uint64_t)i);
    return x;
}

/* ---- Convolution ----------------------------------------------------------------------------- */

/* The definition in layers.h, written out: input coordinate of tap `a` of output `o`. */
static int tap(int o, int a, int size, int kernel, int stride, int dilation, bool causal)
{
    if (causal)
        return o * stride - (kernel - 1) * dilation + a * dilation;
    int out = (size + stride - 1) / stride;
    int missing = (out - 1) * stride + (kernel - 1) * dilation + 1 - size;
    return o * stride - (missing > 0 ? missing / 2 : 0) + a * dilation;
}

static double naive_conv(const rlm_conv *c, const rlm_tensor *x, const int64_t at[5])
{
    double sum = c->bias ? c->bias->data[at[4]] : 0;
    const int64_t *d = x->shape;
    for (int a = 0; a < c->kt; a++)
        for (int b = 0; b < c->kh; b++)
            for (int e = 0; e < c->kw; e++) {
                int t = tap((int)at[1], a, (int)d[1], c->kt, c->st, 1, true);
                int h = tap((int)at[2], b, (int)d[2], c->kh, c->sh, 1, false);
                int w = tap((int)at[3], e, (int)d[3], c->kw, c->sw, c->dilation, c->causal_w);
                if (t < 0 || h < 0 || w < 0 || t >= d[1] || h >= d[2] || w >= d[3])
                    continue;
                for (int i = 0; i < c->cin; i++)
                    sum += (double)rlm_f32(
                               x)[(((at[0] * d[1] + t) * d[2] + h) * d[3] + w) * c->cin + i] *
                           c->w->data[(((at[4] * c->kt + a) * c->kh + b) * c->kw + e) * c->cin + i];
            }
    return sum;
}

static double conv_error(const rlm_conv *c, const rlm_tensor *x, const rlm_tensor *y)
{
    double worst = 0;
    int64_t i = 0, at[5];
    for (at[0] = 0; at[0] < y->shape[0]; at[0]++)
        for (at[1] = 0; at[1] < y->shape[1]; at[1]++)
            for (at[2] = 0; at[2] < y->shape[2]; at[2]++)
                for (at[3] = 0; at[3] < y->shape[3]; at[3]++)
                    for (at[4] = 0; at[4] < y->shape[4]; at[4]++, i++)
                        worst = fmax(worst, fabs(rlm_f32(y)[i] - naive_conv(c, x, at)));
    return worst;
}

static const struct {
    rlm_conv_spec spec;
    int t, h, w, ot, oh, ow;
} conv_cases[] = {
    {{.cin = 3, .cout = 4, .kt = 3, .kh = 3, .kw = 3, .bias = true}, 5, 6, 7, 5, 6, 7},
    {{.cin = 2, .cout = 3, .kt = 3, .kh = 3, .kw = 3, .st = 2, .sh = 2, .sw = 2, .bias = true},
     5,
     6,
     7,
     3,
     3,
     4},
    {{.cin = 2, .cout = 3, .kt = 3, .st = 2}, 17, 1, 2, 9, 1, 2},
    {{.cin = 2, .cout = 3, .kt = 2, .kh = 4, .kw = 4, .sh = 2, .sw = 2}, 2, 8, 9, 2, 4, 5},
    {{.cin = 2, .cout = 3, .kt = 1, .kh = 2, .kw = 4}, 1, 5, 5, 1, 5, 5},
    {{.cin = 5, .cout = 1, .kt = 1, .kh = 1, .kw = 1, .bias = true}, 2, 3, 4, 2, 3, 4},
    {{.cin = 2, .cout = 3, .kw = 7, .causal_w = true, .bias = true}, 1, 1, 20, 1, 1, 20},
    {{.cin = 2, .cout = 3, .kw = 7, .dilation = 3, .causal_w = true}, 1, 1, 20, 1, 1, 20},
    {{.cin = 2, .cout = 3, .kw = 10, .sw = 5, .causal_w = true}, 1, 1, 20, 1, 1, 4},
    {{.cin = 2, .cout = 3, .kw = 4, .sw = 2, .causal_w = true}, 1, 1, 7, 1, 1, 4},
    {{.cin = 2, .cout = 3, .kw = 3, .dilation = 2}, 1, 1, 9, 1, 1, 9},
    {{.cin = 2, .cout = 3, .kh = 3, .kw = 3, .sh = 3, .sw = 3}, 1, 2, 1, 1, 1, 1},
};
#define CONV_CASES ((int)(sizeof conv_cases / sizeof *conv_cases))

static void convolutions_match_the_sum_over_taps(void)
{
    for (int i = 0; i < CONV_CASES; i++) {
        fixture f;
        rlm_conv c;
        fixture_open(&f, false);
        rlm_conv_declare(&c, &f.params, "conv", &conv_cases[i].spec);
        fixture_ready(&f);
        rlm_tensor x = noise5(&f, 2, conv_cases[i].t, conv_cases[i].h, conv_cases[i].w, c.cin);
        rlm_tensor y = rlm_conv_forward(&f.run, &c, &x);
        CHECK(y.shape[0] == 2 && y.shape[1] == conv_cases[i].ot && y.shape[2] == conv_cases[i].oh);
        CHECK(y.shape[3] == conv_cases[i].ow && y.shape[4] == c.cout);
        CHECK_NEAR(conv_error(&c, &x, &y), 0, 2e-6);
        /* With a residual, in place. */
        rlm_tensor r = rlm_tensor_like(&f.run, &y);
        for (int64_t j = 0; j < rlm_tensor_count(&r); j++)
            rlm_f32(&r)[j] = (float)j;
        rlm_tensor z = rlm_conv_residual_forward(&f.run, &c, &x, &r);
        CHECK(z.data == r.data);
        for (int64_t j = 0; j < rlm_tensor_count(&z); j++)
            CHECK_NEAR(rlm_f32(&z)[j], rlm_f32(&y)[j] + (float)j, 1e-6 * (double)(j + 8));
        fixture_close(&f);
    }
}

/* Changing frame (or sample) s changes no output that belongs to an earlier one. */
static void convolutions_are_causal(void)
{
    for (int i = 0; i < CONV_CASES; i++) {
        fixture f;
        rlm_conv c;
        fixture_open(&f, false);
        rlm_conv_declare(&c, &f.params, "conv", &conv_cases[i].spec);
        fixture_ready(&f);
        rlm_tensor x = noise5(&f, 1, conv_cases[i].t, conv_cases[i].h, conv_cases[i].w, c.cin);
        int axis = c.causal_w ? 3 : 1, stride = c.causal_w ? c.sw : c.st;
        rlm_tensor y = rlm_conv_forward(&f.run, &c, &x);
        int64_t size = x.shape[axis], step = rlm_tensor_count(&x) / size;
        int64_t out = rlm_tensor_count(&y) / y.shape[axis];
        for (int64_t s = 0; s < size; s++) {
            float *at = rlm_f32(&x) + s * step, kept = *at;
            *at += 100;
            rlm_tensor z = rlm_conv_forward(&f.run, &c, &x);
            *at = kept;
            int64_t first = (s + stride - 1) / stride * out; /* first output that may differ */
            CHECK(memcmp(y.data, z.data, (size_t)first * sizeof(float)) == 0);
        }
        fixture_close(&f);
    }
}

/* Chunks with their context in front give the numbers of the whole. */
static void streamed_chunks_equal_the_whole(void)
{
    for (int i = 0; i < CONV_CASES; i++) {
        fixture f;
        rlm_conv c;
        fixture_open(&f, false);
        rlm_conv_declare(&c, &f.params, "conv", &conv_cases[i].spec);
        fixture_ready(&f);
        int axis = c.causal_w ? 3 : 1, stride = c.causal_w ? c.sw : c.st;
        int context = rlm_conv_context(&c);
        rlm_tensor x = noise5(&f, 1, conv_cases[i].t, conv_cases[i].h, conv_cases[i].w, c.cin);
        rlm_tensor y = rlm_conv_forward(&f.run, &c, &x);
        int64_t size = x.shape[axis], step = rlm_tensor_count(&x) / size;
        int64_t done = 0, out = rlm_tensor_count(&y) / y.shape[axis];
        for (int64_t s = 0, n; s < size; s += n) {
            n = size - s < 2 * stride ? size - s : 2 * stride;
            int64_t shape[5];
            memcpy(shape, x.shape, sizeof shape);
            shape[axis] = context + n;
            rlm_tensor chunk = rlm_tensor_new(&f.run, 5, shape);
            for (int64_t j = -context; j < n; j++)
                for (int64_t e = 0; e < step; e++)
                    rlm_f32(&chunk)[(j + context) * step + e] =
                        s + j < 0 ? 0 : rlm_f32(&x)[(s + j) * step + e];
            rlm_tensor z = rlm_conv_stream_forward(&f.run, &c, &chunk);
            CHECK(done + z.shape[axis] <= y.shape[axis]);
            CHECK(memcmp(rlm_f32(&y) + done * out, z.data,
                         (size_t)rlm_tensor_count(&z) * sizeof(float)) == 0);
            done += z.shape[axis];
        }
        CHECK(done == y.shape[axis]);
        fixture_close(&f);
    }
}

/* ---- A network through every layer ----------------------------------------------------------- */

typedef struct net {
    rlm_conv stem, down;
    rlm_groupnorm norm;
    rlm_linear qkv, out, mlp;
    rlm_rmsnorm rms;
    rlm_attention attention;
    rlm_embedding embedding;
} net;

static void net_declare(net *m, rlm_params *p)
{
    rlm_conv_declare(
        &m->stem, p, "stem",
        &(rlm_conv_spec){.cin = 192, .cout = 16, .kt = 3, .kh = 3, .kw = 3, .bias = true});
    rlm_conv_declare(&m->down, p, "down",
                     &(rlm_conv_spec){.cin = 16, .cout = 16, .kt = 3, .kh = 3, .kw = 3});
    rlm_groupnorm_declare(&m->norm, p, "norm", 16, 4, RLM_ACT_SILU, true);
    rlm_linear_declare(&m->qkv, p, "qkv", 16, 48, false, 1);
    rlm_linear_declare(&m->out, p, "out", 16, 16, true, 1);
    rlm_linear_declare(&m->mlp, p, "mlp", 16, 32, true, 1);
    rlm_rmsnorm_declare(&m->rms, p, "rms", 16);
    rlm_attention_declare(&m->attention, p, "attention", 2, 8);
    rlm_embedding_declare(&m->embedding, p, "embedding", 10, 16, 0.02f);
}

static const int32_t net_ids[8] = {0, 9, -1, 3, 3, 3, 1, 2};
static const int net_prefix[1] = {3}, net_length[1] = {8};
static const float net_angle[8 * 4];

/* Pixels [1][5][8][8][3] through wavelet, convolutions, attention over 2*2*2 positions and back. */
static rlm_tensor net_forward(rlm_run *run, const net *m, const rlm_tensor *pixels)
{
    rlm_tensor x = rlm_haar_forward(run, pixels);
    x = rlm_conv_forward(run, &m->stem, &x);
    size_t scope = rlm_scope_open(run);
    rlm_tensor h = rlm_groupnorm_forward(run, &m->norm, &x);
    x = rlm_conv_residual_forward(run, &m->down, &h, &x);
    rlm_scope_close(run, scope);
    rlm_tensor s = rlm_tensor_reshape(&x, 2, (int64_t[]){8, 16});
    s = rlm_embedding_forward(run, &m->embedding, net_ids, 8, &s);
    scope = rlm_scope_open(run);
    h = rlm_rmsnorm_forward(run, &m->rms, &s);
    h = rlm_linear_forward(run, &m->qkv, &h);
    h = rlm_qk_rope_forward(run, &m->attention, &h, net_angle);
    h = rlm_attention_forward(
        run, &m->attention,
        &(rlm_attention_in){
            .batch = 1, .len = 8, .prefix = net_prefix, .length = net_length, .angle = net_angle},
        &h);
    s = rlm_linear_residual_forward(run, &m->out, &h, &s);
    rlm_scope_close(run, scope);
    h = rlm_linear_forward(run, &m->mlp, &s);
    h = rlm_swiglu_forward(run, &h);
    rlm_tensor a = rlm_slice_forward(run, &h, 0, 8), b = rlm_slice_forward(run, &h, 8, 8);
    a = rlm_add_forward(run, &a, &b);
    a = rlm_modulate_forward(run, &a, &b, &b);
    a = rlm_act_forward(run, RLM_ACT_GELU, &a);
    x = rlm_tensor_reshape5(&a, 1, 2, 2, 2, 8);
    x = rlm_depth_to_space_forward(run, &x, 2, 2, 2, 1);
    x = rlm_upsample_forward(run, &x, 1, 2, 2, 0);
    return x;
}

static void networks_have_their_shapes(void)
{
    fixture f;
    net m;
    fixture_open(&f, false);
    net_declare(&m, &f.params);
    fixture_ready(&f);
    rlm_tensor pixels = noise5(&f, 1, 5, 8, 8, 3);
    rlm_tensor y = net_forward(&f.run, &m, &pixels);
    CHECK(y.rank == 5 && y.shape[1] == 3 && y.shape[2] == 8 && y.shape[3] == 8 && y.shape[4] == 1);
    for (int64_t i = 0; i < rlm_tensor_count(&y); i++)
        CHECK(isfinite(rlm_f32(&y)[i]));
    rlm_tensor c = rlm_haar_forward(&f.run, &pixels);
    rlm_tensor back = rlm_haar_inverse_forward(&f.run, &c);
    for (int64_t i = 0; i < rlm_tensor_count(&back); i++)
        CHECK_NEAR(rlm_f32(&back)[i], rlm_f32(&pixels)[i], 1e-5);
    rlm_tensor one = noise5(&f, 1, 2, 4, 6, 8);
    rlm_tensor wide = rlm_depth_to_space_forward(&f.run, &one, 1, 2, 2, 0);
    CHECK(wide.shape[1] == 2 && wide.shape[2] == 8 && wide.shape[3] == 12 && wide.shape[4] == 2);
    rlm_tensor deep = rlm_space_to_depth_forward(&f.run, &wide, 1, 2, 2);
    CHECK(memcmp(deep.data, one.data, 2 * 4 * 6 * 8 * sizeof(float)) == 0);
    int32_t ids[48];
    rlm_tensor q = rlm_lfq_forward(&f.run, &one, ids);
    int low_bit = rlm_f32(&one)[0] > 0;
    CHECK(rlm_f32(&q)[0] == (low_bit ? 1 : -1) && (ids[0] & 1) == low_bit);
    fixture_close(&f);
}

/* Nothing is recorded of pixels that want no gradient, and their coefficients have none. */
static void frames_without_a_gradient_ask_for_none(void)
{
    fixture f;
    fixture_open(&f, true);
    float pixels[4 * 4 * 3] = {1};
    rlm_tensor x = rlm_tensor_view(pixels, RLM_F32, 5, (int64_t[5]){1, 1, 4, 4, 3});
    rlm_tensor y = rlm_haar_forward(&f.run, &x);
    CHECK(!y.grad && f.tape.count == 0 && y.shape[4] == 192);
    x.grad = pixels;
    y = rlm_haar_forward(&f.run, &x);
    CHECK(y.grad && f.tape.count == 1);
    fixture_close(&f);
}

/* The same forward, recorded: same numbers, one record a layer call, gradients zeroed by their
 * first use and by no other. */
static void the_tape_records_what_was_done(void)
{
    fixture f, g;
    net m, n;
    fixture_open(&f, false);
    net_declare(&m, &f.params);
    fixture_ready(&f);
    fixture_open(&g, true);
    net_declare(&n, &g.params);
    fixture_ready(&g);
    memset(g.arena.base, 0xff, g.arena.committed); /* gradients must not stay what they were */
    rlm_tensor x = noise5(&f, 1, 5, 8, 8, 3), x2 = noise5(&g, 1, 5, 8, 8, 3);
    rlm_tensor y = net_forward(&f.run, &m, &x), y2 = net_forward(&g.run, &n, &x2);
    CHECK(memcmp(y.data, y2.data, (size_t)rlm_tensor_count(&y) * sizeof(float)) == 0);
    static const rlm_op expected[] = {
        RLM_OP_HAAR,     RLM_OP_CONV,   RLM_OP_GROUPNORM,      RLM_OP_CONV,      RLM_OP_EMBEDDING,
        RLM_OP_RMSNORM,  RLM_OP_LINEAR, RLM_OP_QK_ROPE,        RLM_OP_ATTENTION, RLM_OP_LINEAR,
        RLM_OP_LINEAR,   RLM_OP_SWIGLU, RLM_OP_COLUMNS,        RLM_OP_COLUMNS,   RLM_OP_ADD,
        RLM_OP_MODULATE, RLM_OP_ACT,    RLM_OP_DEPTH_TO_SPACE, RLM_OP_UPSAMPLE};
    int count = (int)(sizeof expected / sizeof *expected);
    CHECK(f.tape.count == 0 && g.tape.count == count && !g.tape.failed);
    for (int i = 0; i < count && i < g.tape.count; i++) {
        const rlm_record *r = &g.tape.items[i];
        CHECK(r->op == expected[i] && r->out.grad && r->out.data);
        bool first = !rlm_grad_touched(&r->out);
        float *dy = rlm_grad(&g.run, &r->out);
        for (int64_t j = 0; j < rlm_tensor_count(&r->out); j++)
            CHECK(first ? dy[j] == 0 : dy[j] != 0);
        g.run.k->fill(g.run.par, rlm_tensor_count(&r->out), 1.0f, dy);
        CHECK(rlm_grad_touched(&r->out) && rlm_grad_adds(&r->out));
    }
    const rlm_record *conv = &g.tape.items[3];
    CHECK(conv->layer == &n.down && conv->in[1].data == g.tape.items[1].out.data);
    CHECK(conv->out.data != conv->in[1].data && conv->u.conv.cout == 16);
    CHECK(g.tape.items[4].out.data == g.tape.items[4].in[0].data);
    int capacity = g.tape.capacity;
    rlm_tape_clear(&g.tape);
    CHECK(g.tape.count == 0 && g.tape.capacity == capacity);
    rlm_tape_free(&g.tape);
    rlm_alloc_fail_after(0);
    rlm_tape_push(&g.tape, &(rlm_record){.op = RLM_OP_ADD});
    rlm_alloc_fail_after(-1);
    rlm_tape_push(&g.tape, &(rlm_record){.op = RLM_OP_ADD});
    CHECK(g.tape.failed && g.tape.count == 0);
    fixture_close(&f);
    fixture_close(&g);
}

/* Empty kernels in memory that cannot be touched ask for exactly what the real run uses. */
static void the_dry_run_foretells_the_peak(void)
{
    for (int tape = 0; tape < 2; tape++) {
        fixture f;
        net m;
        fixture_open(&f, tape);
        net_declare(&m, &f.params);
        fixture_ready(&f);
        rlm_kernels empty;
        rlm_kernels_empty(&empty, &f.k);
        rlm_arena dry;
        CHECK(rlm_arena_reserve(&dry, 64 << 20, NULL) == 0);
        rlm_run run = f.run;
        run.k = &empty;
        run.arena = &dry;
        rlm_tensor x = rlm_tensor_new5(&run, 1, 5, 8, 8, 3);
        net_forward(&run, &m, &x);
        CHECK(dry.committed == 0 && dry.peak > 0);
        size_t planned = dry.peak;
        rlm_tape_clear(&f.tape);
        rlm_arena_rewind(&dry, 0);
        CHECK(rlm_arena_commit(&dry, planned, NULL) == 0);
        run.k = &f.k;
        x = rlm_tensor_new5(&run, 1, 5, 8, 8, 3);
        f.k.fill(NULL, rlm_tensor_count(&x), 1.0f, rlm_f32(&x));
        rlm_tensor y = net_forward(&run, &m, &x);
        CHECK(dry.peak == planned && isfinite(rlm_f32(&y)[0]));
        rlm_arena_release(&dry);
        fixture_close(&f);
    }
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(convolutions_match_the_sum_over_taps);
    TEST_CASE(convolutions_are_causal);
    TEST_CASE(streamed_chunks_equal_the_whole);
    TEST_CASE(networks_have_their_shapes);
    TEST_CASE(frames_without_a_gradient_ask_for_none);
    TEST_CASE(the_tape_records_what_was_done);
    TEST_CASE(the_dry_run_foretells_the_peak);
    return TEST_END();
}
