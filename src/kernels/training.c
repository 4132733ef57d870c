/* The training half of the table: linked into the training library only, so that programs which
 * only generate carry no gradient code. */
#include "src/kernels/kernels.h"

int rlm_kernels_init_training(rlm_kernels *k, const char *mask, rlm_error *err)
{
    RLM_TRY(rlm_kernels_init(k, mask, err));
    rlm_kernels_reference_backward(k);
#ifdef RLM_HAVE_BLAS
    if (k->levels & RLM_LEVEL_BLAS)
        rlm_kernels_blas_backward(k);
#endif
#ifdef RLM_HAVE_DNNL
    if (k->levels & RLM_LEVEL_DNN)
        rlm_kernels_dnn_backward(k);
#endif
#ifdef RLM_HAVE_SIMD_BACKWARD
    if (k->levels & RLM_LEVEL_SIMD)
        rlm_kernels_simd_backward(k);
#endif
#ifdef RLM_HAVE_AVX2_BACKWARD
    if (k->levels & RLM_LEVEL_AVX2)
        rlm_kernels_avx2_backward(k);
#endif
#ifdef RLM_HAVE_AVX512_BACKWARD
    if (k->levels & RLM_LEVEL_AVX512)
        rlm_kernels_avx512_backward(k);
#endif
#ifdef RLM_HAVE_AMX_BACKWARD
    if (k->levels & RLM_LEVEL_AMX)
        rlm_kernels_amx_backward(k);
#endif
    return RLM_OK;
}

/* ---- Entries that do nothing --------------------------------------------------------------- */

static void no_conv_data(rlm_par *par, const rlm_conv_shape *s, const float *dy,
                         const rlm_weight *w, float *dx, bool add)
{
    (void)par, (void)s, (void)dy, (void)w, (void)dx, (void)add;
}

static void no_conv_weight(rlm_par *par, const rlm_conv_shape *s, const float *x, const float *dy,
                           float *dw, float *dbias)
{
    (void)par, (void)s, (void)x, (void)dy, (void)dw, (void)dbias;
}

static void no_prepared_data(rlm_par *par, const rlm_conv_shape *s, const rlm_prepare *prepare,
                             const float *x, const float *dy, const rlm_weight *w, float *dx,
                             float *dgain, float *dbias, bool add, float *room)
{
    (void)par, (void)s, (void)prepare, (void)x, (void)dy, (void)w, (void)dx, (void)add;
    (void)dgain, (void)dbias, (void)room;
}

static void no_prepared_weight(rlm_par *par, const rlm_conv_shape *s, const void *saved,
                               const float *dy, float *dw, float *dbias)
{
    (void)par, (void)s, (void)saved, (void)dy, (void)dw, (void)dbias;
}

static void no_linear_data(rlm_par *par, int m, int n, int k, const float *dy, const rlm_weight *w,
                           float *dx, bool add)
{
    (void)par, (void)m, (void)n, (void)k, (void)dy, (void)w, (void)dx, (void)add;
}

static void no_linear_weight(rlm_par *par, int m, int n, int k, const float *x, const float *dy,
                             float *dw, float *dbias)
{
    (void)par, (void)m, (void)n, (void)k, (void)x, (void)dy, (void)dw, (void)dbias;
}

static void no_rmsnorm(rlm_par *par, int64_t rows, int c, const float *x, const float *gain,
                       const float *rstd, const float *dy, float *dx, float *dgain)
{
    (void)par, (void)rows, (void)c, (void)x, (void)gain, (void)rstd, (void)dy, (void)dx;
    (void)dgain;
}

static void no_groupnorm(rlm_par *par, const rlm_groupnorm_shape *s, const float *x,
                         const float *gain, const float *bias, const float *stats, const float *dy,
                         float *dx, float *dgain, float *dbias, bool add)
{
    (void)par, (void)s, (void)x, (void)gain, (void)bias, (void)stats, (void)dy, (void)dx;
    (void)dgain, (void)dbias, (void)add;
}

static void no_act(rlm_par *par, rlm_act act, int64_t n, const float *x, const float *dy, float *dx,
                   bool add)
{
    (void)par, (void)act, (void)n, (void)x, (void)dy, (void)dx, (void)add;
}

static void no_modulate(rlm_par *par, int64_t n, const float *x, const float *scale,
                        const float *dy, float *dx, float *dscale, float *dshift, const bool add[3])
{
    (void)par, (void)n, (void)x, (void)scale, (void)dy, (void)dx, (void)dscale, (void)dshift;
    (void)add;
}

static void no_swiglu(rlm_par *par, int64_t rows, int c, const float *x, const float *dy, float *dx,
                      bool add)
{
    (void)par, (void)rows, (void)c, (void)x, (void)dy, (void)dx, (void)add;
}

static void no_upsample(rlm_par *par, const rlm_shuffle_shape *s, const float *dy, float *dx)
{
    (void)par, (void)s, (void)dy, (void)dx;
}

static void no_haar(rlm_par *par, const rlm_haar_shape *s, const float *in, float *out, bool add)
{
    (void)par, (void)s, (void)in, (void)out, (void)add;
}

static void no_embedding(rlm_par *par, int64_t rows, int c, const int32_t *ids, const float *dy,
                         float *dtable)
{
    (void)par, (void)rows, (void)c, (void)ids, (void)dy, (void)dtable;
}

static void no_rope(rlm_par *par, const rlm_rope_shape *s, const float *x, const float *gain,
                    const float *angle, const float *rstd, const float *dy, float *dx, float *dgain)
{
    (void)par, (void)s, (void)x, (void)gain, (void)angle, (void)rstd, (void)dy, (void)dx;
    (void)dgain;
}

static void no_qkv_save(rlm_par *par, const rlm_qkv_shape *s, const float *x, const float *gain,
                        const rlm_weight *w, const float *q_gain, const float *k_gain,
                        const float *angle, uint16_t *y, void *saved)
{
    (void)par, (void)s, (void)x, (void)gain, (void)w, (void)q_gain, (void)k_gain, (void)angle;
    (void)y, (void)saved;
}

static void no_qkv_backward(rlm_par *par, const rlm_qkv_shape *s, const float *x, const float *gain,
                            const rlm_weight *w, const float *q_gain, const float *k_gain,
                            const float *angle, const uint16_t *y, const void *saved,
                            const uint16_t *dy, const rlm_qkv_grads *to)
{
    (void)par, (void)s, (void)x, (void)gain, (void)w, (void)q_gain, (void)k_gain, (void)angle;
    (void)y, (void)saved, (void)dy, (void)to;
}

static void no_mlp_save(rlm_par *par, const rlm_mlp_shape *s, const float *x, const float *gain,
                        const rlm_weight *up, const rlm_weight *down, float *y, void *saved)
{
    (void)par, (void)s, (void)x, (void)gain, (void)up, (void)down, (void)y, (void)saved;
}

static void no_mlp_backward(rlm_par *par, const rlm_mlp_shape *s, const float *x, const float *gain,
                            const rlm_weight *up, const rlm_weight *down, const void *saved,
                            const rlm_mlp_grads *to)
{
    (void)par, (void)s, (void)x, (void)gain, (void)up, (void)down, (void)saved, (void)to;
}

static void no_pair_save(rlm_par *par, const rlm_pair_shape *s, const rlm_pair_layers *l,
                         const float *x, const float *residual, float *y, void *saved)
{
    (void)par, (void)s, (void)l, (void)x, (void)residual, (void)y, (void)saved;
}

static void no_pair_backward(rlm_par *par, const rlm_pair_shape *s, const rlm_pair_layers *l,
                             const float *x, const float *dy, const void *saved,
                             const rlm_pair_grads *to, void *room)
{
    (void)par, (void)s, (void)l, (void)x, (void)dy, (void)saved, (void)to, (void)room;
}

static void no_attention(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                         const float *y, const float *lse, const float *dy, float *dqkv, bool add)
{
    (void)par, (void)s, (void)qkv, (void)y, (void)lse, (void)dy, (void)dqkv, (void)add;
}

static void no_bf16_forward(rlm_par *par, const rlm_attention_shape *s, const uint16_t *qkv,
                            float *y, float *lse)
{
    (void)par, (void)s, (void)qkv, (void)y, (void)lse;
}

static void no_bf16_backward(rlm_par *par, const rlm_attention_shape *s, const uint16_t *qkv,
                             const float *y, const float *lse, const float *dy, uint16_t *dqkv)
{
    (void)par, (void)s, (void)qkv, (void)y, (void)lse, (void)dy, (void)dqkv;
}

static void no_cross_entropy(rlm_par *par, int64_t rows, int classes, const float *logits,
                             const int32_t *target, float zloss, float scale, float *loss,
                             float *dlogits)
{
    (void)par, (void)rows, (void)classes, (void)logits, (void)target, (void)zloss, (void)scale;
    (void)loss, (void)dlogits;
}

static void no_adamw(rlm_par *par, const rlm_adamw *o, int64_t n, float *p, const float *g,
                     float *m, float *v, float *ema_p)
{
    (void)par, (void)o, (void)n, (void)p, (void)g, (void)m, (void)v, (void)ema_p;
}

static void no_moment(rlm_par *par, int64_t n, float momentum, float grad_scale, const float *g,
                      float *m, float *x)
{
    (void)par, (void)n, (void)momentum, (void)grad_scale, (void)g, (void)m, (void)x;
}

static void no_apply(rlm_par *par, int64_t n, float keep, float step, float ema,
                     const float *update, float *p, float *ema_p)
{
    (void)par, (void)n, (void)keep, (void)step, (void)ema, (void)update, (void)p, (void)ema_p;
}

static void no_orthogonalise(rlm_par *par, int count, const rlm_matrix *m)
{
    (void)par, (void)count, (void)m;
}

static double no_sumsq(rlm_par *par, int64_t n, const float *x)
{
    (void)par, (void)n, (void)x;
    return 0;
}

static double no_recon(rlm_par *par, int kind, int64_t n, const float *x, const float *target,
                       float scale, float *dx)
{
    (void)par, (void)kind, (void)n, (void)x, (void)target, (void)scale, (void)dx;
    return 0;
}

void rlm_kernels_empty_training(rlm_kernels *k, const rlm_kernels *like)
{
    rlm_kernels_empty(k, like);
    k->conv_backward_data = no_conv_data;
    k->conv_backward_weight = no_conv_weight;
    k->prepared_backward_data = like->prepared_backward_data ? no_prepared_data : NULL;
    k->prepared_backward_weight = like->prepared_backward_weight ? no_prepared_weight : NULL;
    k->linear_backward_data = no_linear_data;
    k->linear_backward_weight = no_linear_weight;
    k->rmsnorm_backward = no_rmsnorm;
    k->groupnorm_backward = no_groupnorm;
    k->act_backward = no_act;
    k->modulate_backward = no_modulate;
    k->swiglu_backward = no_swiglu;
    k->upsample_backward = no_upsample;
    k->haar_forward_adjoint = no_haar;
    k->haar_inverse_adjoint = no_haar;
    k->embedding_backward = no_embedding;
    k->rope_backward = no_rope;
    k->qkv_saved = like->qkv_saved;
    k->qkv_save = like->qkv_save ? no_qkv_save : NULL;
    k->qkv_backward = like->qkv_backward ? no_qkv_backward : NULL;
    k->attention_bf16_forward = like->attention_bf16_forward ? no_bf16_forward : NULL;
    k->attention_bf16_backward = like->attention_bf16_backward ? no_bf16_backward : NULL;
    k->mlp_saved = like->mlp_saved;
    k->mlp_save = like->mlp_save ? no_mlp_save : NULL;
    k->mlp_backward = like->mlp_backward ? no_mlp_backward : NULL;
    k->pair_saved = like->pair_saved;
    k->pair_room = like->pair_room;
    k->pair_save = like->pair_save ? no_pair_save : NULL;
    k->pair_backward = like->pair_backward ? no_pair_backward : NULL;
    k->attention_backward = no_attention;
    k->cross_entropy = no_cross_entropy;
    k->adamw = no_adamw;
    k->muon_moment = no_moment;
    k->muon_apply = no_apply;
    k->orthogonalise = like->orthogonalise ? no_orthogonalise : NULL;
    k->sumsq = no_sumsq;
    k->recon = no_recon;
}
