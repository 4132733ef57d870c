#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "src/nn/layers.h"

void rlm_linear_declare(rlm_linear *l, rlm_params *p, const char *name, int in, int out, bool bias,
                        float scale)
{
    char full[128];
    *l = (rlm_linear){.in = in, .out = out};
    snprintf(full, sizeof full, "%s.weight", name);
    rlm_weight_geom g = {.cout = out, .kt = 1, .kh = 1, .kw = 1, .cin = in, .dw = 1};
    l->w = rlm_params_add_weight(p, full, &g, scale);
    if (l->w) { /* a matrix, not a kernel of one tap */
        l->w->rank = 2;
        l->w->shape[1] = in;
    }
    if (bias) {
        snprintf(full, sizeof full, "%s.bias", name);
        l->bias = rlm_params_add(p, full, 1, (int64_t[]){out}, RLM_INIT_CONST, 0.0f);
    }
}

/* y [rows][out] of x [rows][in] as a convolution of one tap. */
static void tap(rlm_run *run, const rlm_linear *l, const rlm_tensor *x, rlm_tensor *y)
{
    int rows = (int)rlm_tensor_rows(x);
    rlm_conv_shape s = {.n = 1, .t = 1, .h = 1, .w = rows, .cin = l->in, .dw = 1};
    s.ot = s.oh = 1;
    s.ow = rows;
    s.cout = l->out;
    s.kt = s.kh = s.kw = s.st = s.sh = s.sw = 1;
    assert(!l->w->weight.quant && !l->w->weight.half);
    run->k->conv_forward(run->par, &s, rlm_f32(x), &l->w->weight, l->bias ? l->bias->data : NULL,
                         NULL, rlm_f32(y));
}

static rlm_tensor linear(rlm_run *run, const rlm_linear *l, const rlm_tensor *x,
                         const rlm_tensor *residual, bool places)
{
    assert(rlm_tensor_last(x) == l->in);
    rlm_tensor y = *x;
    y.shape[y.rank - 1] = l->out;
    assert(!residual || rlm_tensor_count(residual) == rlm_tensor_count(&y));
    y = residual ? rlm_tensor_after(run, residual) : rlm_tensor_like(run, &y);
    const float *bias = l->bias ? l->bias->data : NULL;
    const float *add = residual ? rlm_f32(residual) : NULL;
    const rlm_weight *w = &l->w->weight;
    int rows = (int)rlm_tensor_rows(x);
    assert(!run->tape || (!w->quant && !w->half));
    if (places)
        tap(run, l, x, &y);
    else if (w->quant)
        run->k->linear_quant(run->par, w->bits, rows, l->out, l->in, rlm_f32(x), w->quant, bias,
                             add, rlm_f32(&y));
    else if (w->half)
        run->k->linear_half(run->par, rows, l->out, l->in, rlm_f32(x), w->half, bias, add,
                            rlm_f32(&y));
    else
        run->k->linear_forward(run->par, rows, l->out, l->in, rlm_f32(x), w, bias, add,
                               rlm_f32(&y));
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_LINEAR, .layer = l, .in = {*x}, .out = y};
        if (residual)
            r.in[1] = *residual;
        rlm_tape_push(run->tape, &r);
    }
    return y;
}

rlm_tensor rlm_linear_forward(rlm_run *run, const rlm_linear *l, const rlm_tensor *x)
{
    return linear(run, l, x, NULL, false);
}

rlm_tensor rlm_linear_places_forward(rlm_run *run, const rlm_linear *l, const rlm_tensor *x)
{
    return linear(run, l, x, NULL, true);
}

rlm_tensor rlm_linear_residual_forward(rlm_run *run, const rlm_linear *l, const rlm_tensor *x,
                                       const rlm_tensor *residual)
{
    return linear(run, l, x, residual, false);
}

void rlm_embedding_declare(rlm_embedding *e, rlm_params *p, const char *name, int count, int dim,
                           float std)
{
    char full[128];
    *e = (rlm_embedding){.count = count, .dim = dim};
    snprintf(full, sizeof full, "%s.weight", name);
    /* Initialisation divides by sqrt(fan in), here dim. */
    e->table = rlm_params_add(p, full, 2, (int64_t[]){count, dim}, RLM_INIT_NORMAL,
                              std * sqrtf((float)dim));
}

rlm_tensor rlm_embedding_forward(rlm_run *run, const rlm_embedding *e, const int32_t *ids,
                                 int64_t rows, const rlm_tensor *into)
{
    assert(!into || rlm_tensor_count(into) == rows * e->dim);
    rlm_tensor y = into ? *into : rlm_tensor_new(run, 2, (int64_t[]){rows, e->dim});
    run->k->embedding_forward(run->par, rows, e->dim, ids, e->table->data, rlm_f32(&y),
                              into != NULL);
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_EMBEDDING, .layer = e, .out = y};
        r.saved[0] = (void *)(uintptr_t)ids;
        if (into)
            r.in[0] = *into;
        rlm_tape_push(run->tape, &r);
    }
    return y;
}
