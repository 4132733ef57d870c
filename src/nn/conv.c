#include <assert.h>
#include <stdio.h>

#include "src/nn/layers.h"

/* ---- Convolution ---------------------------------------------------------------------------- */

static int or_one(int v)
{
    return v ? v : 1;
}

void rlm_conv_declare(rlm_conv *c, rlm_params *p, const char *name, const rlm_conv_spec *spec)
{
    char full[128];
    *c = (rlm_conv){.cin = spec->cin,
                    .cout = spec->cout,
                    .kt = or_one(spec->kt),
                    .kh = or_one(spec->kh),
                    .kw = or_one(spec->kw),
                    .st = or_one(spec->st),
                    .sh = or_one(spec->sh),
                    .sw = or_one(spec->sw),
                    .dilation = or_one(spec->dilation),
                    .causal_w = spec->causal_w};
    snprintf(full, sizeof full, "%s.weight", name);
    rlm_weight_geom g = {
        .cout = c->cout, .kt = c->kt, .kh = c->kh, .kw = c->kw, .cin = c->cin, .dw = c->dilation};
    c->w = rlm_params_add_weight(p, full, &g, spec->scale != 0 ? spec->scale : 1.0f);
    if (spec->bias) {
        snprintf(full, sizeof full, "%s.bias", name);
        c->bias = rlm_params_add(p, full, 1, (int64_t[]){c->cout}, RLM_INIT_CONST, 0.0f);
    }
}

int rlm_conv_context(const rlm_conv *c)
{
    return c->causal_w ? (c->kw - 1) * c->dilation : c->kt - 1;
}

/* Zeros in front of an axis whose output size is ceil(size / stride): half of what is missing. */
static int same_pad(int size, int out, int kernel, int stride)
{
    int missing = (out - 1) * stride + kernel - size;
    return missing > 0 ? missing / 2 : 0;
}

/* streaming: x brings the causal axis' context itself, so nothing is padded there. */
static rlm_conv_shape conv_shape(const rlm_conv *c, const rlm_tensor *x, bool streaming)
{
    assert(x->rank == 5 && x->shape[4] == c->cin);
    rlm_conv_shape s = {.n = (int)x->shape[0],
                        .t = (int)x->shape[1],
                        .h = (int)x->shape[2],
                        .w = (int)x->shape[3],
                        .cin = c->cin,
                        .cout = c->cout,
                        .kt = c->kt,
                        .kh = c->kh,
                        .kw = c->kw,
                        .st = c->st,
                        .sh = c->sh,
                        .sw = c->sw,
                        .dw = c->dilation};
    int context = rlm_conv_context(c), carried = streaming ? context : 0;
    s.pt = c->kt - 1;
    s.oh = (s.h + s.sh - 1) / s.sh;
    s.ph = same_pad(s.h, s.oh, s.kh, s.sh);
    if (c->causal_w) {
        assert(s.w > carried);
        s.ot = (s.t - 1) / s.st + 1;
        s.pw = context - carried;
        s.ow = (s.w - carried - 1) / s.sw + 1;
    } else {
        assert(s.t > carried);
        s.pt = context - carried;
        s.ot = (s.t - carried - 1) / s.st + 1;
        s.ow = (s.w + s.sw - 1) / s.sw;
        s.pw = same_pad(s.w, s.ow, (s.kw - 1) * s.dw + 1, s.sw);
    }
    return s;
}

static rlm_tensor conv(rlm_run *run, const rlm_conv *c, const rlm_tensor *x,
                       const rlm_tensor *residual, bool streaming)
{
    rlm_conv_shape s = conv_shape(c, x, streaming);
    int64_t shape[5] = {s.n, s.ot, s.oh, s.ow, s.cout};
    rlm_tensor y = residual ? rlm_tensor_after(run, residual) : rlm_tensor_new(run, 5, shape);
    assert(!residual || rlm_tensor_count(residual) == (int64_t)s.n * s.ot * s.oh * s.ow * s.cout);
    run->k->conv_forward(run->par, &s, rlm_f32(x), &c->w->weight, c->bias ? c->bias->data : NULL,
                         residual ? rlm_f32(residual) : NULL, rlm_f32(&y));
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_CONV, .layer = c, .in = {*x}, .out = y, .u.conv = s};
        if (residual)
            r.in[1] = *residual;
        rlm_tape_push(run->tape, &r);
    }
    return y;
}

rlm_tensor rlm_conv_forward(rlm_run *run, const rlm_conv *c, const rlm_tensor *x)
{
    return conv(run, c, x, NULL, false);
}

rlm_tensor rlm_conv_residual_forward(rlm_run *run, const rlm_conv *c, const rlm_tensor *x,
                                     const rlm_tensor *residual)
{
    return conv(run, c, x, residual, false);
}

/* Convolution of x as `p` says to see it. */
static rlm_tensor prepared(rlm_run *run, const rlm_groupnorm *n, const rlm_prepare *p,
                           const rlm_conv *c, const rlm_tensor *x, const rlm_tensor *residual)
{
    rlm_conv_shape s = conv_shape(c, x, false);
    int64_t shape[5] = {s.n, s.ot, s.oh, s.ow, s.cout};
    rlm_tensor y = residual ? rlm_tensor_after(run, residual) : rlm_tensor_new(run, 5, shape);
    bool keep = run->tape && c->w->grad;
    void *saved = keep ? rlm_arena_alloc(run->arena, run->k->prepared_saved(&s)) : NULL;
    run->k->prepared_forward(run->par, &s, p, rlm_f32(x), &c->w->weight,
                             c->bias ? c->bias->data : NULL, residual ? rlm_f32(residual) : NULL,
                             rlm_f32(&y), saved);
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_PREPARED, .layer = c, .in = {*x}, .out = y};
        r.saved[0] = (void *)(uintptr_t)p->stats;
        r.saved[1] = saved;
        r.u.prepared.conv = s;
        r.u.prepared.norm = p->norm;
        r.u.prepared.layer = n;
        if (residual)
            r.in[1] = *residual;
        rlm_tape_push(run->tape, &r);
    }
    return y;
}

static bool prepares(const rlm_run *run)
{
    return run->k->prepared_forward &&
           (!run->tape || (run->k->prepared_backward_data && run->k->prepared_backward_weight));
}

static rlm_groupnorm_shape norm_shape(const rlm_groupnorm *n, const rlm_conv_shape *s)
{
    return (rlm_groupnorm_shape){.frames = s->n * s->t,
                                 .hw = s->h * s->w,
                                 .c = n->dim,
                                 .groups = n->groups,
                                 .eps = n->eps,
                                 .act = n->act};
}

rlm_tensor rlm_norm_conv_forward(rlm_run *run, const rlm_groupnorm *n, const rlm_conv *c,
                                 const rlm_tensor *x, const rlm_tensor *residual)
{
    if (!prepares(run)) {
        rlm_tensor h = rlm_groupnorm_forward(run, n, x);
        return conv(run, c, &h, residual, false);
    }
    rlm_conv_shape s = conv_shape(c, x, false);
    rlm_prepare p = {.norm = norm_shape(n, &s),
                     .gain = n->gain ? n->gain->data : NULL,
                     .bias = n->bias ? n->bias->data : NULL};
    size_t count = (size_t)p.norm.frames * (size_t)p.norm.groups * 2;
    float *stats = rlm_arena_alloc(run->arena, rlm_size_mul(count, sizeof *stats));
    run->k->groupnorm_forward(run->par, &p.norm, rlm_f32(x), p.gain, p.bias, NULL, stats);
    p.stats = stats;
    return prepared(run, n, &p, c, x, residual);
}

/* One of a pair that its kernels take: no biases or strides, and a gradient of everything. */
static bool pairs(const rlm_groupnorm *n, const rlm_conv *c)
{
    const rlm_weight *w = &c->w->weight;
    return n->gain && n->gain->grad && n->bias && n->bias->grad && !c->bias && c->w->grad &&
           w->pack && w->pack_t && c->st == 1 && c->sh == 1 && c->sw == 1 && !c->causal_w;
}

rlm_tensor rlm_norm_conv_pair_forward(rlm_run *run, const rlm_groupnorm *n, const rlm_conv *c,
                                      const rlm_tensor *x, const rlm_tensor *residual)
{
    if (!run->tape || !run->k->pair_save || !x->grad || !pairs(&n[0], &c[0]) ||
        !pairs(&n[1], &c[1])) {
        rlm_tensor h = rlm_norm_conv_forward(run, &n[0], &c[0], x, NULL);
        return rlm_norm_conv_forward(run, &n[1], &c[1], &h, residual);
    }
    rlm_record r = {.op = RLM_OP_PAIR, .layer = &c[0], .in = {*x, *residual}};
    rlm_pair_shape *s = &r.u.pair.shape;
    rlm_pair_layers l;
    rlm_tensor h = *x; /* its shape */
    for (int i = 0; i < 2; i++) {
        s->conv[i] = conv_shape(&c[i], &h, false);
        s->norm[i] = norm_shape(&n[i], &s->conv[i]);
        l.gain[i] = n[i].gain->data;
        l.bias[i] = n[i].bias->data;
        l.w[i] = &c[i].w->weight;
        r.u.pair.norm[i] = &n[i];
        h.shape[4] = c[i].cout;
    }
    r.u.pair.second = &c[1];
    r.saved[0] = rlm_arena_alloc(run->arena, run->k->pair_saved(s));
    r.out = rlm_tensor_after(run, residual);
    run->k->pair_save(run->par, s, &l, rlm_f32(x), rlm_f32(residual), rlm_f32(&r.out), r.saved[0]);
    rlm_tape_push(run->tape, &r);
    return r.out;
}

rlm_tensor rlm_act_conv_forward(rlm_run *run, rlm_act act, const rlm_conv *c, const rlm_tensor *x,
                                const rlm_tensor *residual)
{
    /* Its backward writes x's gradient while it reads y's. */
    assert(!residual || !residual->grad || residual->grad != x->grad);
    if (!prepares(run)) {
        rlm_tensor h = rlm_act_forward(run, act, x);
        return conv(run, c, &h, residual, false);
    }
    rlm_prepare p = {.norm = {.frames = (int)(x->shape[0] * x->shape[1]),
                              .hw = (int)(x->shape[2] * x->shape[3]),
                              .c = c->cin,
                              .groups = 1,
                              .act = act}};
    return prepared(run, NULL, &p, c, x, residual);
}

rlm_tensor rlm_conv_stream_forward(rlm_run *run, const rlm_conv *c, const rlm_tensor *x)
{
    assert(!run->tape);
    return conv(run, c, x, NULL, true);
}

rlm_tensor rlm_conv_stream_residual_forward(rlm_run *run, const rlm_conv *c, const rlm_tensor *x,
                                            const rlm_tensor *residual)
{
    assert(!run->tape);
    return conv(run, c, x, residual, true);
}

/* ---- Rearrangement -------------------------------------------------------------------------- */

/* deep: [n][t][h][w] of the grid of fewer places; c: channels of the other. */
static rlm_shuffle_shape shuffle_of(const int64_t deep[4], int64_t c, int ft, int fh, int fw,
                                    int drop)
{
    return (rlm_shuffle_shape){.n = (int)deep[0],
                               .t = (int)deep[1],
                               .h = (int)deep[2],
                               .w = (int)deep[3],
                               .c = (int)c,
                               .ft = ft,
                               .fh = fh,
                               .fw = fw,
                               .drop = drop};
}

/* The grid of more places. */
static rlm_tensor new_wide(rlm_run *run, const rlm_shuffle_shape *s)
{
    return rlm_tensor_new5(run, s->n, (int64_t)s->t * s->ft - s->drop, (int64_t)s->h * s->fh,
                           (int64_t)s->w * s->fw, s->c);
}

static rlm_tensor recorded(rlm_run *run, rlm_op op, const rlm_shuffle_shape *s, const rlm_tensor *x,
                           rlm_tensor y)
{
    if (run->tape) {
        rlm_record r = {.op = op, .in = {*x}, .out = y, .u.shuffle = *s};
        rlm_tape_push(run->tape, &r);
    }
    return y;
}

rlm_tensor rlm_depth_to_space_forward(rlm_run *run, const rlm_tensor *x, int ft, int fh, int fw,
                                      int drop)
{
    int f = ft * fh * fw;
    assert(x->rank == 5 && x->shape[4] % f == 0);
    rlm_shuffle_shape s = shuffle_of(x->shape, x->shape[4] / f, ft, fh, fw, drop);
    rlm_tensor y = new_wide(run, &s);
    run->k->depth_to_space(run->par, &s, rlm_f32(x), rlm_f32(&y), false);
    return recorded(run, RLM_OP_DEPTH_TO_SPACE, &s, x, y);
}

rlm_tensor rlm_space_to_depth_forward(rlm_run *run, const rlm_tensor *x, int ft, int fh, int fw)
{
    const int64_t *wide = x->shape;
    assert(x->rank == 5 && wide[1] % ft == 0 && wide[2] % fh == 0 && wide[3] % fw == 0);
    int64_t deep[4] = {wide[0], wide[1] / ft, wide[2] / fh, wide[3] / fw};
    rlm_shuffle_shape s = shuffle_of(deep, wide[4], ft, fh, fw, 0);
    rlm_tensor y = rlm_tensor_new5(run, s.n, s.t, s.h, s.w, (int64_t)ft * fh * fw * s.c);
    run->k->space_to_depth(run->par, &s, rlm_f32(x), rlm_f32(&y), false);
    return recorded(run, RLM_OP_SPACE_TO_DEPTH, &s, x, y);
}

rlm_tensor rlm_upsample_forward(rlm_run *run, const rlm_tensor *x, int ft, int fh, int fw, int drop)
{
    assert(x->rank == 5);
    rlm_shuffle_shape s = shuffle_of(x->shape, x->shape[4], ft, fh, fw, drop);
    rlm_tensor y = new_wide(run, &s);
    run->k->upsample_forward(run->par, &s, rlm_f32(x), rlm_f32(&y));
    return recorded(run, RLM_OP_UPSAMPLE, &s, x, y);
}

/* ---- Wavelet: 1 + 4(t - 1) frames of 4h x 4w x 3 <-> t x h x w x 192 ------------------------- */

rlm_tensor rlm_haar_forward(rlm_run *run, const rlm_tensor *pixels)
{
    assert(pixels->rank == 5 && pixels->shape[4] == 3);
    assert(pixels->shape[1] % 4 == 1 && pixels->shape[2] % 4 == 0 && pixels->shape[3] % 4 == 0);
    rlm_haar_shape s = {.n = (int)pixels->shape[0],
                        .t = (int)(pixels->shape[1] - 1) / 4 + 1,
                        .h = (int)pixels->shape[2] / 4,
                        .w = (int)pixels->shape[3] / 4};
    rlm_run plain = *run; /* frames that want no gradient need none of their coefficients */
    plain.tape = pixels->grad ? run->tape : NULL;
    rlm_tensor y = rlm_tensor_new5(&plain, s.n, s.t, s.h, s.w, 192);
    run->k->haar_forward(run->par, &s, rlm_f32(pixels), rlm_f32(&y));
    if (plain.tape) {
        rlm_record r = {.op = RLM_OP_HAAR, .in = {*pixels}, .out = y, .u.haar = s};
        rlm_tape_push(run->tape, &r);
    }
    return y;
}

rlm_tensor rlm_haar_inverse_forward(rlm_run *run, const rlm_tensor *coeffs)
{
    assert(coeffs->rank == 5 && coeffs->shape[4] == 192);
    rlm_haar_shape s = {.n = (int)coeffs->shape[0],
                        .t = (int)coeffs->shape[1],
                        .h = (int)coeffs->shape[2],
                        .w = (int)coeffs->shape[3]};
    rlm_tensor y = rlm_tensor_new5(run, s.n, 1 + 4 * ((int64_t)s.t - 1), (int64_t)s.h * 4,
                                   (int64_t)s.w * 4, 3);
    run->k->haar_inverse(run->par, &s, rlm_f32(coeffs), rlm_f32(&y));
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_HAAR_INVERSE, .in = {*coeffs}, .out = y, .u.haar = s};
        rlm_tape_push(run->tape, &r);
    }
    return y;
}
