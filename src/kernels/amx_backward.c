/* AMX overlay, training side: backward data is the forward product with the reversed, transposed
 * weight; weight gradients are in amx_conv_weight.c. */
#include "src/kernels/amx.h"
#include "src/kernels/blas.h"

void rlm_amx_conv_backward_data(rlm_par *par, const rlm_conv_shape *s, const float *dy,
                                const rlm_weight *w, float *dx, bool add)
{
    const float *residual = add ? dx : NULL;
    if (!w->pack_t) {
        rlm_blas_conv_backward_data(par, s, dy, w, dx, add);
        return;
    }
    if (rlm_amx_is_linear(s)) {
        rlm_amx_gemm(par, s->n * s->t * s->h * s->w, s->cin, s->cout, dy, w->pack_t, NULL, residual,
                     dx);
        return;
    }
    const rlm_conv_shape *m = s;
    int up[3] = {m->st, m->sh, m->sw};
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
    bool plain = up[0] == 1 && up[1] == 1 && up[2] == 1;
    rlm_amx_grid g = {.s = b};
    if (plain) {
        g = rlm_amx_grid_of(&b);
    } else {
        g.tp = b.ot + b.kt - 1;
        g.hp = b.oh + b.kh - 1;
        g.wp = b.ow + (b.kw - 1) * b.dw;
    }
    rlm_amx_conv_run(par, &g, up, dy, w->pack_t, NULL, residual, dx);
}

void rlm_amx_linear_backward_data(rlm_par *par, int m, int n, int k, const float *dy,
                                  const rlm_weight *w, float *dx, bool add)
{
    if (w->pack_t)
        rlm_amx_gemm(par, m, k, n, dy, w->pack_t, NULL, add ? dx : NULL, dx);
    else
        rlm_blas_linear_backward_data(par, m, n, k, dy, w, dx, add);
}

void rlm_amx_linear_backward_weight(rlm_par *par, int m, int n, int k, const float *x,
                                    const float *dy, float *dw, float *dbias)
{
    rlm_conv_shape s = {.n = 1,
                        .t = 1,
                        .h = 1,
                        .w = m,
                        .cin = k,
                        .ot = 1,
                        .oh = 1,
                        .ow = m,
                        .cout = n,
                        .kt = 1,
                        .kh = 1,
                        .kw = 1,
                        .st = 1,
                        .sh = 1,
                        .sw = 1,
                        .dw = 1};
    rlm_amx_conv_backward_weight(par, &s, x, dy, dw, dbias);
}

bool rlm_kernels_amx_backward(rlm_kernels *k)
{
    rlm_cpu cpu = rlm_cpu_detect();
    if (!cpu.amx_bf16 || !cpu.avx512_bf16 || k->linear_forward != rlm_amx_linear_forward)
        return false;
    k->conv_backward_data = rlm_amx_conv_backward_data;
    k->conv_backward_weight = rlm_amx_conv_backward_weight;
    k->linear_backward_data = rlm_amx_linear_backward_data;
    k->linear_backward_weight = rlm_amx_linear_backward_weight;
    rlm_kernels_amx_attention_backward(k);
    return true;
}
