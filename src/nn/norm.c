/* Norms and the layers without parameters. */
#include <assert.h>
#include <stdio.h>

#include "src/nn/layers.h"

#define NORM_EPS 1e-6f

/* What backward will need again; it lives as long as the activations. */
static float *saved_floats(rlm_run *run, int64_t count)
{
    return rlm_arena_alloc(run->arena, rlm_size_mul((size_t)count, sizeof(float)));
}

void rlm_rmsnorm_declare(rlm_rmsnorm *n, rlm_params *p, const char *name, int dim)
{
    char full[128];
    *n = (rlm_rmsnorm){.dim = dim, .eps = NORM_EPS};
    snprintf(full, sizeof full, "%s.gain", name);
    n->gain = rlm_params_add(p, full, 1, (int64_t[]){dim}, RLM_INIT_CONST, 1.0f);
}

rlm_tensor rlm_rmsnorm_forward(rlm_run *run, const rlm_rmsnorm *n, const rlm_tensor *x)
{
    assert(rlm_tensor_last(x) == n->dim);
    int64_t rows = rlm_tensor_rows(x);
    rlm_tensor y = rlm_tensor_like(run, x);
    float *rstd = run->tape ? saved_floats(run, rows) : NULL;
    run->k->rmsnorm_forward(run->par, rows, n->dim, rlm_f32(x), n->gain ? n->gain->data : NULL,
                            n->eps, rlm_f32(&y), rstd);
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_RMSNORM, .layer = n, .in = {*x}, .out = y, .saved = {rstd}};
        rlm_tape_push(run->tape, &r);
    }
    return y;
}

void rlm_groupnorm_declare(rlm_groupnorm *n, rlm_params *p, const char *name, int dim, int groups,
                           rlm_act act, bool affine)
{
    char full[128];
    *n = (rlm_groupnorm){.dim = dim, .groups = groups, .eps = NORM_EPS, .act = act};
    if (!affine)
        return;
    snprintf(full, sizeof full, "%s.gain", name);
    n->gain = rlm_params_add(p, full, 1, (int64_t[]){dim}, RLM_INIT_CONST, 1.0f);
    snprintf(full, sizeof full, "%s.bias", name);
    n->bias = rlm_params_add(p, full, 1, (int64_t[]){dim}, RLM_INIT_CONST, 0.0f);
}

rlm_tensor rlm_groupnorm_forward(rlm_run *run, const rlm_groupnorm *n, const rlm_tensor *x)
{
    assert(x->rank == 5 && x->shape[4] == n->dim && n->dim % n->groups == 0);
    rlm_groupnorm_shape s = {.frames = (int)(x->shape[0] * x->shape[1]),
                             .hw = (int)(x->shape[2] * x->shape[3]),
                             .c = n->dim,
                             .groups = n->groups,
                             .eps = n->eps,
                             .act = n->act};
    rlm_tensor y = rlm_tensor_like(run, x);
    float *stats = saved_floats(run, (int64_t)s.frames * s.groups * 2);
    run->k->groupnorm_forward(run->par, &s, rlm_f32(x), n->gain ? n->gain->data : NULL,
                              n->bias ? n->bias->data : NULL, rlm_f32(&y), stats);
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_GROUPNORM,
                        .layer = n,
                        .in = {*x},
                        .out = y,
                        .saved = {stats},
                        .u.groupnorm = s};
        rlm_tape_push(run->tape, &r);
    }
    return y;
}

rlm_tensor rlm_act_forward(rlm_run *run, rlm_act act, const rlm_tensor *x)
{
    rlm_tensor y = rlm_tensor_like(run, x);
    run->k->act_forward(run->par, act, rlm_tensor_count(x), rlm_f32(x), rlm_f32(&y));
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_ACT, .in = {*x}, .out = y, .u.act = act};
        rlm_tape_push(run->tape, &r);
    }
    return y;
}

rlm_tensor rlm_add_forward(rlm_run *run, const rlm_tensor *a, const rlm_tensor *b)
{
    assert(rlm_tensor_count(a) == rlm_tensor_count(b));
    rlm_tensor y = rlm_tensor_like(run, a);
    run->k->add(run->par, rlm_tensor_count(a), rlm_f32(a), rlm_f32(b), rlm_f32(&y));
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_ADD, .in = {*a, *b}, .out = y};
        rlm_tape_push(run->tape, &r);
    }
    return y;
}

rlm_tensor rlm_modulate_forward(rlm_run *run, const rlm_tensor *x, const rlm_tensor *scale,
                                const rlm_tensor *shift)
{
    int64_t n = rlm_tensor_count(x);
    assert(rlm_tensor_count(scale) == n && rlm_tensor_count(shift) == n);
    rlm_tensor y = rlm_tensor_like(run, x);
    run->k->modulate_forward(run->par, n, rlm_f32(x), rlm_f32(scale), rlm_f32(shift), rlm_f32(&y));
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_MODULATE, .in = {*x, *scale, *shift}, .out = y};
        rlm_tape_push(run->tape, &r);
    }
    return y;
}

rlm_tensor rlm_swiglu_forward(rlm_run *run, const rlm_tensor *x)
{
    assert(rlm_tensor_last(x) % 2 == 0);
    rlm_tensor y = *x;
    y.shape[y.rank - 1] /= 2;
    y = rlm_tensor_like(run, &y);
    run->k->swiglu_forward(run->par, rlm_tensor_rows(x), (int)rlm_tensor_last(&y), rlm_f32(x),
                           rlm_f32(&y));
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_SWIGLU, .in = {*x}, .out = y};
        rlm_tape_push(run->tape, &r);
    }
    return y;
}

rlm_tensor rlm_slice_forward(rlm_run *run, const rlm_tensor *x, int from, int count)
{
    assert(from >= 0 && count > 0 && from + (int64_t)count <= rlm_tensor_last(x));
    rlm_tensor y = *x;
    y.shape[y.rank - 1] = count;
    y = rlm_tensor_like(run, &y);
    run->k->columns(run->par, rlm_tensor_rows(x), count, rlm_f32(x), (int)rlm_tensor_last(x), from,
                    rlm_f32(&y), count, 0, false);
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_COLUMNS, .in = {*x}, .out = y};
        r.u.columns.count = count;
        r.u.columns.from = from;
        rlm_tape_push(run->tape, &r);
    }
    return y;
}

rlm_tensor rlm_lfq_forward(rlm_run *run, const rlm_tensor *z, int32_t *ids)
{
    rlm_tensor q = rlm_tensor_like(run, z);
    run->k->lfq_forward(run->par, rlm_tensor_rows(z), (int)rlm_tensor_last(z), rlm_f32(z),
                        rlm_f32(&q), ids);
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_LFQ, .in = {*z}, .out = q};
        rlm_tape_push(run->tape, &r);
    }
    return q;
}
