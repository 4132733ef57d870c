/* Every layer's struct and forward, one screen a family. A layer is parameters plus geometry;
 * *_declare names its parameters in `p` (prefix "enc.b0.conv" gives "enc.b0.conv.weight"),
 * *_forward computes and, when run->tape is set, records. Element arithmetic happens in kernels
 * only. */
#ifndef RLM_NN_LAYERS_H
#define RLM_NN_LAYERS_H

#include "src/nn/params.h"
#include "src/nn/tape.h"
#include "src/nn/tensor.h"

/* ---- linear.c: y = x W^T + b ---------------------------------------------------------------- */
typedef struct rlm_linear {
    int in, out;
    rlm_param *w, *bias; /* [out][in], [out] or NULL */
} rlm_linear;
/* std of the weight = scale / sqrt(in). */
void rlm_linear_declare(rlm_linear *l, rlm_params *p, const char *name, int in, int out, bool bias,
                        float scale);
rlm_tensor rlm_linear_forward(rlm_run *run, const rlm_linear *l, const rlm_tensor *x);
/* The same on places of pictures, whose results then do not depend on how many there are: clips
 * come in chunks. Kernels promise that of convolutions only. No quantised weights. */
rlm_tensor rlm_linear_places_forward(rlm_run *run, const rlm_linear *l, const rlm_tensor *x);
/* residual + l(x). The result takes residual over: its memory in inference, its gradient in
 * training (see rlm_tensor_after), so residual must not be used again. */
rlm_tensor rlm_linear_residual_forward(rlm_run *run, const rlm_linear *l, const rlm_tensor *x,
                                       const rlm_tensor *residual);

/* Token embedding: rows of table; id < 0 gives zeros. */
typedef struct rlm_embedding {
    int count, dim;
    rlm_param *table;
} rlm_embedding;
void rlm_embedding_declare(rlm_embedding *e, rlm_params *p, const char *name, int count, int dim,
                           float std);
/* into: NULL for a new tensor [rows][dim], else accumulates into it and returns it. ids must live
 * until backward. */
rlm_tensor rlm_embedding_forward(rlm_run *run, const rlm_embedding *e, const int32_t *ids,
                                 int64_t rows, const rlm_tensor *into);

/* ---- gather.c: y[i] = x[rows[i]] ------------------------------------------------------------ */
/* rows [count], each a row of x seen as [rows][last], or < 0 for zeros; must live until backward.
 */
rlm_tensor rlm_gather_forward(rlm_run *run, const rlm_tensor *x, const int32_t *rows,
                              int64_t count);

/* ---- conv.c: causal convolution over [n][t][h][w][c] ---------------------------------------- */
/* Time is padded (kt - 1) in front only. Space: (k - 1) split half / half when stride is 1
 * ("same"); with stride s output size is ceil(size / s). Sound (causal_w): (kw - 1) * dilation in
 * front. */
typedef struct rlm_conv {
    int cin, cout, kt, kh, kw, st, sh, sw, dilation;
    bool causal_w;
    rlm_param *w, *bias;
} rlm_conv;
typedef struct rlm_conv_spec {
    int cin, cout, kt, kh, kw;
    int st, sh, sw; /* 0 means 1 */
    int dilation;   /* 0 means 1 */
    bool causal_w, bias;
    float scale; /* 0 means 1: std = scale / sqrt(fan in) */
} rlm_conv_spec;
void rlm_conv_declare(rlm_conv *c, rlm_params *p, const char *name, const rlm_conv_spec *spec);
rlm_tensor rlm_conv_forward(rlm_run *run, const rlm_conv *c, const rlm_tensor *x);
/* residual as in rlm_linear_residual_forward. */
rlm_tensor rlm_conv_residual_forward(rlm_run *run, const rlm_conv *c, const rlm_tensor *x,
                                     const rlm_tensor *residual);
/* Streaming in time: x carries `context` earlier frames (t axis, or w when causal_w; zeros before
 * the first) in front; the output is only what belongs to the new ones. No tape. With a stride the
 * number of frames given so far must be a multiple of it whenever a call follows. */
int rlm_conv_context(const rlm_conv *c); /* (k - 1) * dilation along the causal axis */
rlm_tensor rlm_conv_stream_forward(rlm_run *run, const rlm_conv *c, const rlm_tensor *x);
rlm_tensor rlm_conv_stream_residual_forward(rlm_run *run, const rlm_conv *c, const rlm_tensor *x,
                                            const rlm_tensor *residual);

rlm_tensor rlm_depth_to_space_forward(rlm_run *run, const rlm_tensor *x, int ft, int fh, int fw,
                                      int drop);
rlm_tensor rlm_space_to_depth_forward(rlm_run *run, const rlm_tensor *x, int ft, int fh, int fw);
rlm_tensor rlm_upsample_forward(rlm_run *run, const rlm_tensor *x, int ft, int fh, int fw,
                                int drop);
rlm_tensor rlm_haar_forward(rlm_run *run, const rlm_tensor *pixels);         /* c = 3 -> 192 */
rlm_tensor rlm_haar_inverse_forward(rlm_run *run, const rlm_tensor *coeffs); /* 192 -> 3 */

/* ---- norm.c --------------------------------------------------------------------------------- */
typedef struct rlm_rmsnorm {
    int dim;
    float eps;
    rlm_param *gain;
} rlm_rmsnorm;
void rlm_rmsnorm_declare(rlm_rmsnorm *n, rlm_params *p, const char *name, int dim);
rlm_tensor rlm_rmsnorm_forward(rlm_run *run, const rlm_rmsnorm *n, const rlm_tensor *x);

/* Statistics per frame and group; act fused behind. affine false: no gain and bias. */
typedef struct rlm_groupnorm {
    int dim, groups;
    float eps;
    rlm_act act;
    rlm_param *gain, *bias;
} rlm_groupnorm;
void rlm_groupnorm_declare(rlm_groupnorm *n, rlm_params *p, const char *name, int dim, int groups,
                           rlm_act act, bool affine);
rlm_tensor rlm_groupnorm_forward(rlm_run *run, const rlm_groupnorm *n, const rlm_tensor *x);

rlm_tensor rlm_act_forward(rlm_run *run, rlm_act act, const rlm_tensor *x);
/* c(n(x)) or c(act(x)), plus residual unless NULL (as in rlm_linear_residual_forward): in one
 * kernel where the table has it, so that n(x) never exists in memory. */
rlm_tensor rlm_norm_conv_forward(rlm_run *run, const rlm_groupnorm *n, const rlm_conv *c,
                                 const rlm_tensor *x, const rlm_tensor *residual);
/* c[1](n[1](c[0](n[0](x)))) + residual, which is not NULL: with a tape in kernels that keep what
 * lies between in their own form. */
rlm_tensor rlm_norm_conv_pair_forward(rlm_run *run, const rlm_groupnorm *n, const rlm_conv *c,
                                      const rlm_tensor *x, const rlm_tensor *residual);
rlm_tensor rlm_act_conv_forward(rlm_run *run, rlm_act act, const rlm_conv *c, const rlm_tensor *x,
                                const rlm_tensor *residual);
rlm_tensor rlm_add_forward(rlm_run *run, const rlm_tensor *a, const rlm_tensor *b);
rlm_tensor rlm_modulate_forward(rlm_run *run, const rlm_tensor *x, const rlm_tensor *scale,
                                const rlm_tensor *shift);
rlm_tensor rlm_swiglu_forward(rlm_run *run, const rlm_tensor *x);
/* Columns [from, from + count) as a new tensor. */
rlm_tensor rlm_slice_forward(rlm_run *run, const rlm_tensor *x, int from, int count);
/* Straight-through sign; ids [rows] may be NULL. */
rlm_tensor rlm_lfq_forward(rlm_run *run, const rlm_tensor *z, int32_t *ids);

/* ---- attention.c ---------------------------------------------------------------------------- */
/* QK norm, rotation, prefix-LM attention on a packed qkv [batch][len][3 * heads * dim]. */
typedef struct rlm_attention {
    int heads, dim;             /* dim of one head */
    rlm_param *q_gain, *k_gain; /* [dim] */
} rlm_attention;
typedef struct rlm_attention_in {
    int batch, len;
    const int *prefix, *length; /* [batch]; live until backward */
    const float *angle;         /* [batch * len][dim / 2]; lives until backward */
} rlm_attention_in;
void rlm_attention_declare(rlm_attention *a, rlm_params *p, const char *name, int heads, int dim);
#define RLM_QK_EPS 1e-6f
/* Normed and rotated qkv: a copy with a tape (v copied), in place without. */
rlm_tensor rlm_qk_rope_forward(rlm_run *run, const rlm_attention *a, const rlm_tensor *qkv,
                               const float *angle);
rlm_tensor rlm_attention_forward(rlm_run *run, const rlm_attention *a, const rlm_attention_in *in,
                                 const rlm_tensor *qkv);

/* ---- block.c -------------------------------------------------------------------------------- */
/* The halves of a transformer block around attention. Queries, keys and values of norm(x), normed
 * and rotated; and x + down(swiglu(up(norm(x)))), which takes x over as
 * rlm_linear_residual_forward does its residual. */
rlm_tensor rlm_qkv_forward(rlm_run *run, const rlm_rmsnorm *norm, const rlm_linear *l,
                           const rlm_attention *a, const rlm_tensor *x, const float *angle);
rlm_tensor rlm_mlp_forward(rlm_run *run, const rlm_rmsnorm *norm, const rlm_linear *up,
                           const rlm_linear *down, const rlm_tensor *x);

#endif
