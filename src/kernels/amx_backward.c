/* AMX overlay, training side: backward data is the forward product with the reversed, transposed
 * weight; weight gradients are in amx_conv_weight.c and amx_dense_weight.c. */
#include "src/kernels/amx_block.h"
#include "src/kernels/amx_dense_weight.h"
#include "src/kernels/lanes_norm_backward.h"
#include "src/kernels/blas.h"

/* The convolution that carries gradients back: reversed, with zeros between strides. */
void rlm_amx_data_run(rlm_par *par, const rlm_conv_shape *m, rlm_amx_conv *c)
{
    rlm_conv_shape b = {.n = m->n,
                        .t = m->ot,
                        .h = m->oh,
                        .w = m->ow,
                        .cin = m->cout,
                        .ot = m->t,
                        .oh = m->h,
                        .ow = m->w,
                        .cout = m->cin,
                        .kt = m->kt,
                        .kh = m->kh,
                        .kw = m->kw,
                        .st = 1,
                        .sh = 1,
                        .sw = 1,
                        .dw = m->dw,
                        .pt = m->kt - 1 - m->pt,
                        .ph = m->kh - 1 - m->ph,
                        .pw = (m->kw - 1) * m->dw - m->pw};
    c->up[0] = m->st;
    c->up[1] = m->sh;
    c->up[2] = m->sw;
    if (m->st == 1 && m->sh == 1 && m->sw == 1)
        b = rlm_amx_merged(&b);
    rlm_amx_conv_run(par, &b, c);
}

static void conv_backward_data(rlm_par *par, const rlm_conv_shape *s, const float *dy,
                               const rlm_weight *w, float *dx, bool add)
{
    const float *residual = add ? dx : NULL;
    rlm_amx_conv c = {.x = dy, .pack = w->pack_t, .residual = residual, .y = dx};
    if (!w->pack_t)
        rlm_blas_conv_backward_data(par, s, dy, w, dx, add);
    else if (rlm_amx_is_linear(s))
        rlm_amx_gemm(par, s->n * s->t * s->h * s->w, s->cin, s->cout, dy, w->pack_t, NULL, residual,
                     dx);
    else
        rlm_amx_data_run(par, s, &c);
}

/* Through the convolution, by way of bf16 in `room`, then through the norm. */
static void norm_data(const rlm_conv_shape *s, norm_back *j, const float *dy, const rlm_weight *w,
                      float *dgain, float *dbias, float *room)
{
    rlm_amx_conv c = {.x = dy, .pack = w->pack_t, .y16 = (uint16_t *)(void *)room};
    if (w->pack_t)
        rlm_amx_data_run(j->par, s, &c);
    else
        rlm_blas_conv_backward_data(j->par, s, dy, w, room, false);
    j->dy = room;
    j->half = w->pack_t != NULL;
    rlm_bf16_norm_back(j, dgain, dbias);
}

static void prepared_backward_data(rlm_par *par, const rlm_conv_shape *s,
                                   const rlm_prepare *prepare, const float *x, const float *dy,
                                   const rlm_weight *w, float *dx, float *dgain, float *dbias,
                                   bool add, float *room)
{
    if (prepare->stats) {
        norm_back j = {.s = prepare->norm,
                       .par = par,
                       .x = x,
                       .gain = prepare->gain,
                       .bias = prepare->bias,
                       .stats = prepare->stats,
                       .dx = dx,
                       .add = add};
        norm_data(s, &j, dy, w, dgain, dbias, room);
        return;
    }
    rlm_amx_conv c = {.x = dy,
                      .pack = w->pack_t,
                      .residual = add ? dx : NULL,
                      .slope = x,
                      .act = prepare->norm.act,
                      .y = dx};
    if (w->pack_t) {
        rlm_amx_data_run(par, s, &c);
        return;
    }
    int64_t count = (int64_t)s->n * s->t * s->h * s->w * s->cin; /* nobody's fast path */
    float *dh = rlm_par_scratch(par, 0, 3, (size_t)count * sizeof *dh);
    rlm_blas_conv_backward_data(par, s, dy, w, dh, false);
    for (int64_t i = 0; i < count; i += 16) {
        __mmask16 m = v_tail(count - i);
        __m512 d = v_dact(prepare->norm.act, v_load(x + i, m));
        v_store(dx + i, m,
                _mm512_fmadd_ps(d, v_load(dh + i, m), v_load(dx + i, add ? m : (__mmask16)0)));
    }
}

static void linear_backward_data(rlm_par *par, int m, int n, int k, const float *dy,
                                 const rlm_weight *w, float *dx, bool add)
{
    if (w->pack_t)
        rlm_amx_gemm(par, m, k, n, dy, w->pack_t, NULL, add ? dx : NULL, dx);
    else
        rlm_blas_linear_backward_data(par, m, n, k, dy, w, dx, add);
}

bool rlm_kernels_amx_backward(rlm_kernels *k)
{
    rlm_cpu cpu = rlm_cpu_detect();
    if (!cpu.amx_bf16 || !cpu.avx512_bf16 || k->pack != rlm_amx_pack)
        return false;
    k->conv_backward_data = conv_backward_data;
    k->conv_backward_weight = rlm_amx_conv_backward_weight;
    k->prepared_backward_data = prepared_backward_data;
    k->prepared_backward_weight = rlm_amx_prepared_backward_weight;
    k->linear_backward_data = linear_backward_data;
    k->linear_backward_weight = rlm_amx_dense_backward_weight;
    rlm_kernels_amx_attention_backward(k);
    rlm_kernels_amx_block_backward(k);
    rlm_kernels_amx_muon(k);
    rlm_kernels_amx_pair(k);
    return true;
}
