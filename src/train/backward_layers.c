/* One backward rule a layer. Shapes come from the record, arithmetic from the kernels; every
 * gradient is accumulated. */
#include "src/train/backward.h"

#include <assert.h>
#include <stddef.h>

static float *grad_of(const rlm_param *p)
{
    return p ? p->grad : NULL;
}

/* dx += dy, for identities: straight-through, sums, residual branches (which mostly share one). */
static void pass_through(rlm_run *run, const rlm_tensor *x, const rlm_tensor *y)
{
    if (!x->grad || x->grad == y->grad)
        return;
    if (rlm_grad_adds(x))
        run->k->axpy(run->par, rlm_tensor_count(y), 1.0f, y->grad, x->grad);
    else
        run->k->copy(run->par, rlm_tensor_count(y), y->grad, x->grad);
}

static void linear_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_linear *l = r->layer;
    const rlm_tensor *x = &r->in[0];
    int m = (int)rlm_tensor_rows(x);
    float *dw = grad_of(l->w), *dbias = grad_of(l->bias);
    if (x->grad)
        run->k->linear_backward_data(run->par, m, l->out, l->in, r->out.grad, &l->w->weight,
                                     x->grad, rlm_grad_adds(x));
    if (dw)
        run->k->linear_backward_weight(run->par, m, l->out, l->in, rlm_f32(x), r->out.grad, dw,
                                       dbias);
    pass_through(run, &r->in[1], &r->out);
}

static void conv_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_conv *c = r->layer;
    const rlm_tensor *x = &r->in[0];
    float *dw = grad_of(c->w), *dbias = grad_of(c->bias);
    if (x->grad)
        run->k->conv_backward_data(run->par, &r->u.conv, r->out.grad, &c->w->weight, x->grad,
                                   rlm_grad_adds(x));
    if (dw)
        run->k->conv_backward_weight(run->par, &r->u.conv, rlm_f32(x), r->out.grad, dw, dbias);
    pass_through(run, &r->in[1], &r->out);
}

/* Through the convolution into scratch, then through the norm or the activation. */
static void prepared_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_conv *c = r->layer;
    const rlm_groupnorm *n = r->u.prepared.layer;
    const rlm_conv_shape *s = &r->u.prepared.conv;
    const rlm_tensor *x = &r->in[0];
    rlm_prepare p = {.norm = r->u.prepared.norm,
                     .stats = r->saved[0],
                     .gain = n && n->gain ? n->gain->data : NULL,
                     .bias = n && n->bias ? n->bias->data : NULL};
    float *dw = grad_of(c->w), *dgain = n ? grad_of(n->gain) : NULL;
    float *dbias = n ? grad_of(n->bias) : NULL;
    size_t mark = rlm_arena_mark(run->arena);
    if (dw)
        run->k->prepared_backward_weight(run->par, s, r->saved[1], r->out.grad, dw,
                                         grad_of(c->bias));
    size_t count = n ? (size_t)rlm_tensor_count(x) : 0;
    float *room = rlm_arena_alloc(run->arena, rlm_size_mul(count, sizeof *room));
    if (x->grad || dgain)
        run->k->prepared_backward_data(run->par, s, &p, rlm_f32(x), r->out.grad, &c->w->weight,
                                       x->grad, dgain, dbias, x->grad && rlm_grad_adds(x), room);
    pass_through(run, &r->in[1], &r->out);
    rlm_arena_rewind(run->arena, mark);
}

/* x's gradient may be the output's: a residual branch shares it. */
static void pair_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_conv *c[2] = {r->layer, r->u.pair.second};
    const rlm_tensor *x = &r->in[0];
    rlm_pair_layers l;
    rlm_pair_grads to = {.x = x->grad, .add = rlm_grad_adds(x)};
    for (int i = 0; i < 2; i++) {
        const rlm_groupnorm *n = r->u.pair.norm[i];
        l.gain[i] = n->gain->data;
        l.bias[i] = n->bias->data;
        l.w[i] = &c[i]->w->weight;
        to.gain[i] = n->gain->grad;
        to.bias[i] = n->bias->grad;
        to.w[i] = c[i]->w->grad;
    }
    size_t mark = rlm_arena_mark(run->arena);
    void *room = rlm_arena_alloc(run->arena, run->k->pair_room(&r->u.pair.shape));
    run->k->pair_backward(run->par, &r->u.pair.shape, &l, rlm_f32(x), r->out.grad, r->saved[0], &to,
                          room);
    pass_through(run, &r->in[1], &r->out);
    rlm_arena_rewind(run->arena, mark);
}

static void rmsnorm_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_rmsnorm *n = r->layer;
    const rlm_tensor *x = &r->in[0];
    run->k->rmsnorm_backward(run->par, rlm_tensor_rows(x), n->dim, rlm_f32(x),
                             n->gain ? n->gain->data : NULL, r->saved[0], r->out.grad,
                             rlm_grad(run, x), grad_of(n->gain));
}

static void groupnorm_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_groupnorm *n = r->layer;
    const rlm_tensor *x = &r->in[0];
    run->k->groupnorm_backward(run->par, &r->u.groupnorm, rlm_f32(x),
                               n->gain ? n->gain->data : NULL, n->bias ? n->bias->data : NULL,
                               r->saved[0], r->out.grad, x->grad, grad_of(n->gain),
                               grad_of(n->bias), rlm_grad_adds(x));
}

static void act_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_tensor *x = &r->in[0];
    if (x->grad)
        run->k->act_backward(run->par, r->u.act, rlm_tensor_count(x), rlm_f32(x), r->out.grad,
                             x->grad, rlm_grad_adds(x));
}

static void add_rule(rlm_run *run, const rlm_record *r)
{
    pass_through(run, &r->in[0], &r->out);
    pass_through(run, &r->in[1], &r->out);
}

static void modulate_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_tensor *x = &r->in[0], *scale = &r->in[1], *shift = &r->in[2];
    const bool add[3] = {rlm_grad_adds(x), rlm_grad_adds(scale), rlm_grad_adds(shift)};
    run->k->modulate_backward(run->par, rlm_tensor_count(x), rlm_f32(x), rlm_f32(scale),
                              r->out.grad, x->grad, scale->grad, shift->grad, add);
}

static void swiglu_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_tensor *x = &r->in[0];
    if (x->grad)
        run->k->swiglu_backward(run->par, rlm_tensor_rows(x), (int)rlm_tensor_last(&r->out),
                                rlm_f32(x), r->out.grad, x->grad, rlm_grad_adds(x));
}

static void columns_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_tensor *x = &r->in[0];
    if (x->grad)
        run->k->columns(run->par, rlm_tensor_rows(x), r->u.columns.count, r->out.grad,
                        (int)rlm_tensor_last(&r->out), r->u.columns.to, rlm_grad(run, x),
                        (int)rlm_tensor_last(x), r->u.columns.from, true);
}

static void depth_to_space_rule(rlm_run *run, const rlm_record *r)
{
    if (r->in[0].grad)
        run->k->space_to_depth(run->par, &r->u.shuffle, r->out.grad, r->in[0].grad,
                               rlm_grad_adds(&r->in[0]));
}

static void space_to_depth_rule(rlm_run *run, const rlm_record *r)
{
    if (r->in[0].grad)
        run->k->depth_to_space(run->par, &r->u.shuffle, r->out.grad, r->in[0].grad,
                               rlm_grad_adds(&r->in[0]));
}

static void upsample_rule(rlm_run *run, const rlm_record *r)
{
    if (r->in[0].grad)
        run->k->upsample_backward(run->par, &r->u.shuffle, r->out.grad, rlm_grad(run, &r->in[0]));
}

static void haar_rule(rlm_run *run, const rlm_record *r)
{
    if (r->in[0].grad)
        run->k->haar_forward_adjoint(run->par, &r->u.haar, r->out.grad, r->in[0].grad,
                                     rlm_grad_adds(&r->in[0]));
}

static void haar_inverse_rule(rlm_run *run, const rlm_record *r)
{
    if (r->in[0].grad)
        run->k->haar_inverse_adjoint(run->par, &r->u.haar, r->out.grad, r->in[0].grad,
                                     rlm_grad_adds(&r->in[0]));
}

/* Straight through: the sign counts as the identity. */
static void lfq_rule(rlm_run *run, const rlm_record *r)
{
    pass_through(run, &r->in[0], &r->out);
}

static void embedding_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_embedding *e = r->layer;
    float *dtable = grad_of(e->table);
    if (dtable)
        run->k->embedding_backward(run->par, rlm_tensor_rows(&r->out), e->dim, r->saved[0],
                                   r->out.grad, dtable);
    pass_through(run, &r->in[0], &r->out); /* nothing when it accumulated in place */
}

/* qkv rows are q | k | v, each heads * dim wide; v was copied. */
static void qk_rope_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_attention *a = r->layer;
    const rlm_tensor *x = &r->in[0];
    const float *angle = r->saved[0];
    int width = a->heads * a->dim;
    float *dx = rlm_grad(run, x);
    rlm_rope_shape s = {.rows = rlm_tensor_rows(x),
                        .heads = a->heads,
                        .dim = a->dim,
                        .stride = (int)rlm_tensor_last(x),
                        .from = 0,
                        .eps = 1e-6f};
    run->k->rope_backward(run->par, &s, rlm_f32(x), a->q_gain ? a->q_gain->data : NULL, angle,
                          r->saved[1], r->out.grad, dx, grad_of(a->q_gain));
    s.from = width;
    run->k->rope_backward(run->par, &s, rlm_f32(x), a->k_gain ? a->k_gain->data : NULL, angle,
                          r->saved[2], r->out.grad, dx, grad_of(a->k_gain));
    if (dx)
        run->k->columns(run->par, s.rows, width, r->out.grad, s.stride, 2 * width, dx, s.stride,
                        2 * width, true);
}

static void attention_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_tensor *qkv = &r->in[0];
    if (qkv->dtype == RLM_BF16) {
        rlm_grad_adds(qkv); /* written from now on */
        run->k->attention_bf16_backward(run->par, &r->u.attention, qkv->data, rlm_f32(&r->out),
                                        r->saved[0], r->out.grad, (uint16_t *)(void *)qkv->grad);
    } else if (qkv->grad)
        run->k->attention_backward(run->par, &r->u.attention, rlm_f32(qkv), rlm_f32(&r->out),
                                   r->saved[0], r->out.grad, qkv->grad, rlm_grad_adds(qkv));
}

static void gather_rule(rlm_run *run, const rlm_record *r)
{
    if (r->in[0].grad)
        run->k->embedding_backward(run->par, rlm_tensor_rows(&r->out),
                                   (int)rlm_tensor_last(&r->out), r->saved[0], r->out.grad,
                                   rlm_grad(run, &r->in[0]));
}

static void qkv_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_linear *l = r->layer;
    const rlm_attention *a = r->u.qkv.attention;
    const rlm_rmsnorm *n = r->u.qkv.norm;
    rlm_qkv_grads to = {rlm_grad(run, &r->in[0]), n->gain->grad, l->w->grad, a->q_gain->grad,
                        a->k_gain->grad};
    run->k->qkv_backward(run->par, &r->u.qkv.shape, rlm_f32(&r->in[0]), n->gain->data,
                         &l->w->weight, a->q_gain->data, a->k_gain->data, r->saved[1], r->out.data,
                         r->saved[0], (const uint16_t *)(const void *)r->out.grad, &to);
}

/* One gradient: of the output before, of the input after. */
static void mlp_rule(rlm_run *run, const rlm_record *r)
{
    const rlm_linear *up = r->u.mlp.up, *down = r->u.mlp.down;
    const rlm_rmsnorm *n = r->u.mlp.norm;
    rlm_mlp_grads to = {r->out.grad, n->gain->grad, up->w->grad, down->w->grad};
    assert(r->in[0].grad == r->out.grad);
    run->k->mlp_backward(run->par, &r->u.mlp.shape, rlm_f32(&r->in[0]), n->gain->data,
                         &up->w->weight, &down->w->weight, r->saved[0], &to);
}

const rlm_backward_rule *rlm_backward_rules(void)
{
    static const rlm_backward_rule rules[RLM_OPS] = {
        [RLM_OP_LINEAR] = linear_rule,
        [RLM_OP_CONV] = conv_rule,
        [RLM_OP_PREPARED] = prepared_rule,
        [RLM_OP_PAIR] = pair_rule,
        [RLM_OP_RMSNORM] = rmsnorm_rule,
        [RLM_OP_GROUPNORM] = groupnorm_rule,
        [RLM_OP_ACT] = act_rule,
        [RLM_OP_ADD] = add_rule,
        [RLM_OP_MODULATE] = modulate_rule,
        [RLM_OP_SWIGLU] = swiglu_rule,
        [RLM_OP_COLUMNS] = columns_rule,
        [RLM_OP_DEPTH_TO_SPACE] = depth_to_space_rule,
        [RLM_OP_SPACE_TO_DEPTH] = space_to_depth_rule,
        [RLM_OP_UPSAMPLE] = upsample_rule,
        [RLM_OP_HAAR] = haar_rule,
        [RLM_OP_HAAR_INVERSE] = haar_inverse_rule,
        [RLM_OP_LFQ] = lfq_rule,
        [RLM_OP_EMBEDDING] = embedding_rule,
        [RLM_OP_QK_ROPE] = qk_rope_rule,
        [RLM_OP_ATTENTION] = attention_rule,
        [RLM_OP_GATHER] = gather_rule,
        [RLM_OP_QKV] = qkv_rule,
        [RLM_OP_MLP] = mlp_rule,
    };
    return rules;
}
