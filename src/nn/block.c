/* The two halves of a transformer block: fused kernels where a table has them and nothing is
 * recorded, else layer by layer. */
#include <assert.h>

#include "src/nn/layers.h"

/* A fused kernel may run: many rows, nobody needs what lies between. */
static bool fused(const rlm_run *run, const rlm_linear *l, int64_t rows)
{
    const rlm_weight *w = &l->w->weight;
    return !run->tape && rows >= RLM_BLOCK_ROWS && !l->bias && l->in % 32 == 0 &&
           (w->pack || w->quant);
}

rlm_tensor rlm_qkv_forward(rlm_run *run, const rlm_rmsnorm *norm, const rlm_linear *l,
                           const rlm_attention *a, const rlm_tensor *x, const float *angle)
{
    int64_t rows = rlm_tensor_rows(x);
    if (!run->k->qkv_forward || !fused(run, l, rows)) {
        rlm_tensor h = rlm_rmsnorm_forward(run, norm, x);
        rlm_tensor qkv = rlm_linear_forward(run, l, &h);
        return rlm_qk_rope_forward(run, a, &qkv, angle);
    }
    rlm_tensor y = *x;
    rlm_qkv_shape s = {(int)rows, a->heads, a->dim, norm->eps, RLM_QK_EPS};
    assert(l->in == a->heads * a->dim && l->out == 3 * l->in);
    y.shape[y.rank - 1] = l->out;
    y = rlm_tensor_like(run, &y);
    run->k->qkv_forward(run->par, &s, rlm_f32(x), norm->gain->data, &l->w->weight,
                        a->q_gain ? a->q_gain->data : NULL, a->k_gain ? a->k_gain->data : NULL,
                        angle, rlm_f32(&y));
    return y;
}

rlm_tensor rlm_mlp_forward(rlm_run *run, const rlm_rmsnorm *norm, const rlm_linear *up,
                           const rlm_linear *down, const rlm_tensor *x)
{
    int64_t rows = rlm_tensor_rows(x);
    if (!run->k->mlp_forward || !fused(run, up, rows) || !fused(run, down, rows)) {
        rlm_tensor h = rlm_rmsnorm_forward(run, norm, x);
        rlm_tensor u = rlm_linear_forward(run, up, &h);
        u = rlm_swiglu_forward(run, &u);
        return rlm_linear_residual_forward(run, down, &u, x);
    }
    rlm_tensor y = rlm_tensor_after(run, x);
    rlm_mlp_shape s = {(int)rows, up->in, down->in, norm->eps};
    run->k->mlp_forward(run->par, &s, rlm_f32(x), norm->gain->data, &up->w->weight,
                        &down->w->weight, rlm_f32(&y));
    return y;
}
