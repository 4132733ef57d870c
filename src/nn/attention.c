#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "src/nn/layers.h"

void rlm_attention_declare(rlm_attention *a, rlm_params *p, const char *name, int heads, int dim)
{
    char full[128];
    *a = (rlm_attention){.heads = heads, .dim = dim};
    snprintf(full, sizeof full, "%s.q_gain", name);
    a->q_gain = rlm_params_add(p, full, 1, (int64_t[]){dim}, RLM_INIT_CONST, 1.0f);
    snprintf(full, sizeof full, "%s.k_gain", name);
    a->k_gain = rlm_params_add(p, full, 1, (int64_t[]){dim}, RLM_INIT_CONST, 1.0f);
}

rlm_tensor rlm_qk_rope_forward(rlm_run *run, const rlm_attention *a, const rlm_tensor *qkv,
                               const float *angle)
{
    int width = a->heads * a->dim, stride = 3 * width;
    assert(rlm_tensor_last(qkv) == stride && a->dim % 2 == 0);
    rlm_rope_shape s = {.rows = rlm_tensor_rows(qkv),
                        .heads = a->heads,
                        .dim = a->dim,
                        .stride = stride,
                        .from = 0,
                        .eps = RLM_QK_EPS};
    rlm_tensor y = run->tape ? rlm_tensor_like(run, qkv) : *qkv;
    float *rstd_q = NULL, *rstd_k = NULL;
    if (run->tape) {
        size_t bytes = rlm_size_mul((size_t)s.rows, (size_t)a->heads * sizeof(float));
        rstd_q = rlm_arena_alloc(run->arena, bytes);
        rstd_k = rlm_arena_alloc(run->arena, bytes);
    }
    run->k->rope_forward(run->par, &s, rlm_f32(qkv), a->q_gain ? a->q_gain->data : NULL, angle,
                         rlm_f32(&y), rstd_q);
    s.from = width;
    run->k->rope_forward(run->par, &s, rlm_f32(qkv), a->k_gain ? a->k_gain->data : NULL, angle,
                         rlm_f32(&y), rstd_k);
    if (run->tape) {
        run->k->columns(run->par, s.rows, width, rlm_f32(qkv), stride, 2 * width, rlm_f32(&y),
                        stride, 2 * width, false);
        rlm_record r = {.op = RLM_OP_QK_ROPE, .layer = a, .in = {*qkv}, .out = y};
        r.saved[0] = (void *)(uintptr_t)angle;
        r.saved[1] = rstd_q;
        r.saved[2] = rstd_k;
        rlm_tape_push(run->tape, &r);
    }
    return y;
}

rlm_tensor rlm_attention_forward(rlm_run *run, const rlm_attention *a, const rlm_attention_in *in,
                                 const rlm_tensor *qkv)
{
    assert(rlm_tensor_rows(qkv) == (int64_t)in->batch * in->len);
    assert(rlm_tensor_last(qkv) == 3 * (int64_t)a->heads * a->dim);
    rlm_attention_shape s = {.batch = in->batch,
                             .len = in->len,
                             .heads = a->heads,
                             .dim = a->dim,
                             .prefix = in->prefix,
                             .length = in->length,
                             .scale = 1.0f / sqrtf((float)a->dim)};
    rlm_tensor y = *qkv;
    y.shape[y.rank - 1] /= 3;
    y = rlm_tensor_like(run, &y);
    size_t rows = rlm_size_mul((size_t)in->batch * (size_t)in->len, (size_t)a->heads);
    float *lse = rlm_arena_alloc(run->arena, rlm_size_mul(rows, sizeof(float)));
    if (qkv->dtype == RLM_BF16)
        run->k->attention_bf16_forward(run->par, &s, qkv->data, rlm_f32(&y), lse);
    else
        run->k->attention_forward(run->par, &s, rlm_f32(qkv), rlm_f32(&y), lse);
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_ATTENTION,
                        .layer = a,
                        .in = {*qkv},
                        .out = y,
                        .saved = {lse},
                        .u.attention = s};
        rlm_tape_push(run->tape, &r);
    }
    return y;
}
