/* The two halves of a transformer block: fused kernels where a table has them, else layer by layer.
 */
#include <assert.h>

#include "src/nn/layers.h"

/* A fused kernel may run: many rows, packed weights; with a tape everything has a gradient. */
static bool fused(const rlm_run *run, const rlm_linear *l, const rlm_tensor *x)
{
    const rlm_weight *w = &l->w->weight;
    if (rlm_tensor_rows(x) < RLM_BLOCK_ROWS || l->bias || l->in % 32)
        return false;
    return run->tape ? x->grad && l->w->grad && w->pack && w->pack_t : w->pack || w->quant;
}

static const float *gain_of(const rlm_param *p)
{
    return p ? p->data : NULL;
}

/* y (bf16) and a record of it; q_gain and k_gain are there. */
static void qkv_save(rlm_run *run, const rlm_rmsnorm *norm, const rlm_linear *l,
                     const rlm_attention *a, const rlm_tensor *x, const rlm_qkv_shape *s,
                     const float *angle, const rlm_tensor *y)
{
    rlm_record r = {.op = RLM_OP_QKV, .layer = l, .in = {*x}, .out = *y};
    r.saved[0] = rlm_arena_alloc(run->arena, run->k->qkv_saved(s));
    r.saved[1] = (void *)(uintptr_t)angle;
    r.u.qkv.shape = *s;
    r.u.qkv.norm = norm;
    r.u.qkv.attention = a;
    run->k->qkv_save(run->par, s, rlm_f32(x), norm->gain->data, &l->w->weight, a->q_gain->data,
                     a->k_gain->data, angle, y->data, r.saved[0]);
    rlm_tape_push(run->tape, &r);
}

rlm_tensor rlm_qkv_forward(rlm_run *run, const rlm_rmsnorm *norm, const rlm_linear *l,
                           const rlm_attention *a, const rlm_tensor *x, const float *angle)
{
    bool dim = a->dim == 32 || a->dim == 64 || a->dim == 128;
    bool have = run->tape ? run->k->qkv_save && dim && a->q_gain && a->q_gain->grad && a->k_gain &&
                                a->k_gain->grad && norm->gain->grad
                          : run->k->qkv_forward != NULL;
    if (!have || !fused(run, l, x)) {
        rlm_tensor h = rlm_rmsnorm_forward(run, norm, x);
        rlm_tensor qkv = rlm_linear_forward(run, l, &h);
        return rlm_qk_rope_forward(run, a, &qkv, angle);
    }
    rlm_tensor y = *x;
    rlm_qkv_shape s = {(int)rlm_tensor_rows(x), a->heads, a->dim, norm->eps, RLM_QK_EPS};
    assert(l->in == a->heads * a->dim && l->out == 3 * l->in);
    y.shape[y.rank - 1] = l->out;
    y = run->tape ? rlm_tensor_like_bf16(run, &y) : rlm_tensor_like(run, &y);
    if (run->tape)
        qkv_save(run, norm, l, a, x, &s, angle, &y);
    else
        run->k->qkv_forward(run->par, &s, rlm_f32(x), norm->gain->data, &l->w->weight,
                            gain_of(a->q_gain), gain_of(a->k_gain), angle, rlm_f32(&y));
    return y;
}

rlm_tensor rlm_mlp_forward(rlm_run *run, const rlm_rmsnorm *norm, const rlm_linear *up,
                           const rlm_linear *down, const rlm_tensor *x)
{
    bool have = run->tape ? run->k->mlp_save && norm->gain->grad : run->k->mlp_forward != NULL;
    if (!have || !fused(run, up, x) || !fused(run, down, x)) {
        rlm_tensor h = rlm_rmsnorm_forward(run, norm, x);
        rlm_tensor u = rlm_linear_forward(run, up, &h);
        u = rlm_swiglu_forward(run, &u);
        return rlm_linear_residual_forward(run, down, &u, x);
    }
    rlm_tensor y = rlm_tensor_after(run, x);
    rlm_mlp_shape s = {(int)rlm_tensor_rows(x), up->in, down->in, norm->eps};
    if (!run->tape) {
        run->k->mlp_forward(run->par, &s, rlm_f32(x), norm->gain->data, &up->w->weight,
                            &down->w->weight, rlm_f32(&y));
        return y;
    }
    rlm_record r = {.op = RLM_OP_MLP, .layer = up, .in = {*x}, .out = y};
    r.saved[0] = rlm_arena_alloc(run->arena, run->k->mlp_saved(&s));
    r.u.mlp.shape = s;
    r.u.mlp.norm = norm;
    r.u.mlp.up = up;
    r.u.mlp.down = down;
    run->k->mlp_save(run->par, &s, rlm_f32(x), norm->gain->data, &up->w->weight, &down->w->weight,
                     rlm_f32(&y), r.saved[0]);
    rlm_tape_push(run->tape, &r);
    return y;
}
