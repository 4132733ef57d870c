/* The kernel table: the only code that touches tensor elements. One typedef a kernel, with shapes.
 * rlm_kernels_init fills it from the reference, then overlays replace entries where the CPU, the
 * mask and a probe call allow. ref_forward.c and ref_backward.c DEFINE every operation.
 *
 * Layout everywhere: channels last. Picture-like data [n][t][h][w][c]; sequences [rows][c].
 * Gradients: every *_backward ACCUMULATES (+=) into its d* outputs. NULL d* outputs are skipped.
 * Where a kernel takes `add`, false means that dx is overwritten (nothing was added to it yet).
 * `par` may be NULL only for reference kernels called from tests. */
#ifndef RLM_KERNELS_H
#define RLM_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "src/base/par.h"

/* ---- Convolution (and linear = 1x1x1) ------------------------------------------------------ */

/* y[n][ot][oh][ow][cout] = bias + sum over taps (a,b,c) and ci of
 *   w[cout][a][b][c][cin] * x[n][o_t*st - pt + a][o_h*sh - ph + b][o_w*sw - pw + c*dw][cin]
 * with zeros outside x. "behind" padding is whatever the output size reads past the end. A
 * position's result has the same bits whatever n, t and ot are (and w, where it is time): clips
 * pass in chunks. Linear layers promise no such thing. */
typedef struct rlm_conv_shape {
    int n, t, h, w, cin; /* input grid */
    int ot, oh, ow, cout;
    int kt, kh, kw;
    int st, sh, sw; /* strides >= 1 */
    int dw;         /* dilation along w (audio); 1 otherwise */
    int pt, ph, pw; /* zeros in front */
} rlm_conv_shape;

/* A weight as kernels see it: f32 master [cout][kt][kh][kw][cin], and optional packings made by
 * the same table's `pack` (NULL: the kernel must work from f32). Inference may keep a matrix in
 * fewer bits alone: then f32 and the packings are NULL. */
typedef struct rlm_weight {
    const float *f32;
    const void *pack;   /* for forward */
    const void *pack_t; /* for backward_data; NULL in inference */
    const void *quant;  /* NULL, or quantised (quant.h) in `bits`, 8 or 4 */
    int bits;
    const uint16_t *half; /* NULL, or bf16 [n][k] where the table has no packing */
} rlm_weight;

/* Geometry a packing depends on. */
typedef struct rlm_weight_geom {
    int cout, kt, kh, kw, cin, dw;
} rlm_weight_geom;

/* Bytes of a packing (0: this table needs none), and making it. transposed: for backward_data. */
typedef size_t (*rlm_pack_bytes_fn)(const rlm_weight_geom *g, bool transposed);
typedef void (*rlm_pack_fn)(rlm_par *par, const rlm_weight_geom *g, const float *w, bool transposed,
                            void *out);

/* bias [cout] or NULL. residual, same shape as y, or NULL: added. y may alias residual. */
typedef void (*rlm_conv_forward_fn)(rlm_par *par, const rlm_conv_shape *s, const float *x,
                                    const rlm_weight *w, const float *bias, const float *residual,
                                    float *y);
typedef void (*rlm_conv_backward_data_fn)(rlm_par *par, const rlm_conv_shape *s, const float *dy,
                                          const rlm_weight *w, float *dx, bool add);
typedef void (*rlm_conv_backward_weight_fn)(rlm_par *par, const rlm_conv_shape *s, const float *x,
                                            const float *dy, float *dw, float *dbias);

/* y[m][n] = bias[n] + residual[m][n] + sum_k x[m][k] w[n][k]. m = 1..8 is the decode case and must
 * stream the weights once. */
typedef void (*rlm_linear_forward_fn)(rlm_par *par, int m, int n, int k, const float *x,
                                      const rlm_weight *w, const float *bias, const float *residual,
                                      float *y);
typedef void (*rlm_linear_backward_data_fn)(rlm_par *par, int m, int n, int k, const float *dy,
                                            const rlm_weight *w, float *dx, bool add);
typedef void (*rlm_linear_backward_weight_fn)(rlm_par *par, int m, int n, int k, const float *x,
                                              const float *dy, float *dw, float *dbias);

/* The same product from a quantised packing (quant.h) of `bits` 8 or 4. The definition multiplies
 * the weights that the packing stands for; overlays may round x to int8 in the packing's groups. */
typedef void (*rlm_linear_quant_fn)(rlm_par *par, int bits, int m, int n, int k, const float *x,
                                    const void *quant, const float *bias, const float *residual,
                                    float *y);

/* The same product from rows of bf16, w [n][k]; x and sums are f32. */
typedef void (*rlm_linear_half_fn)(rlm_par *par, int m, int n, int k, const float *x,
                                   const uint16_t *w, const float *bias, const float *residual,
                                   float *y);

/* c = alpha * op(a) op(b) + beta * c in f32 (never bf16), row major; op = transpose if flag.
 * op(a) [m][k], op(b) [k][n]. For spectra, Muon and everything that needs f32. */
typedef void (*rlm_gemm_fn)(rlm_par *par, bool ta, bool tb, int m, int n, int k, float alpha,
                            const float *a, const float *b, float beta, float *c);

/* ---- Norms --------------------------------------------------------------------------------- */

/* y = x / sqrt(mean(x^2) + eps) * gain; rows of c. gain NULL: 1. rstd [rows] saved (may be NULL).
 */
typedef void (*rlm_rmsnorm_forward_fn)(rlm_par *par, int64_t rows, int c, const float *x,
                                       const float *gain, float eps, float *y, float *rstd);
typedef void (*rlm_rmsnorm_backward_fn)(rlm_par *par, int64_t rows, int c, const float *x,
                                        const float *gain, const float *rstd, const float *dy,
                                        float *dx, float *dgain);

/* Group norm with statistics per frame (so time never leaks), then an activation:
 * x [frames][hw][c]; statistics over hw and c/groups; y = act(xhat * gain[c] + bias[c]).
 * gain, bias NULL: 1, 0. stats [frames][groups][2] = mean, rstd saved for backward. */
typedef enum {
    RLM_ACT_NONE,
    RLM_ACT_SILU,
    RLM_ACT_ELU,
    RLM_ACT_LEAKY,
    RLM_ACT_GELU,
    RLM_ACT_TANH,
    RLM_ACT_RELU
} rlm_act;
typedef struct rlm_groupnorm_shape {
    int frames, hw, c, groups;
    float eps;
    rlm_act act;
} rlm_groupnorm_shape;
/* y NULL: only the statistics. */
typedef void (*rlm_groupnorm_forward_fn)(rlm_par *par, const rlm_groupnorm_shape *s, const float *x,
                                         const float *gain, const float *bias, float *y,
                                         float *stats);
typedef void (*rlm_groupnorm_backward_fn)(rlm_par *par, const rlm_groupnorm_shape *s,
                                          const float *x, const float *gain, const float *bias,
                                          const float *stats, const float *dy, float *dx,
                                          float *dgain, float *dbias, bool add);

/* A convolution that prepares its input as it reads it: x stands for act(xhat * gain + bias) with
 * `stats` as groupnorm_forward left them (frames = n * t, hw = h * w, c = cin), or for act(x) where
 * stats is NULL; the padding stays zero. Saves writing the prepared tensor and reading it twice.
 * saved, if not NULL: prepared_saved(s) bytes aligned to 64, x as the convolution saw it in the
 * table's own form, which is all that the gradient of the weight needs of x. backward_data: of x
 * (behind a norm dx may be NULL), and += of gain and bias (NULL: none), as conv_backward_data and
 * then groupnorm_backward or act_backward. room: behind a norm as many floats as x has, aligned to
 * 64, lost. Tables without a fused form hold NULL: run the kernels one by one. */
typedef struct rlm_prepare {
    rlm_groupnorm_shape norm; /* norm.act in both cases */
    const float *stats, *gain, *bias;
} rlm_prepare;
typedef void (*rlm_prepared_forward_fn)(rlm_par *par, const rlm_conv_shape *s,
                                        const rlm_prepare *prepare, const float *x,
                                        const rlm_weight *w, const float *bias,
                                        const float *residual, float *y, void *saved);
typedef size_t (*rlm_prepared_saved_fn)(const rlm_conv_shape *s);
typedef void (*rlm_prepared_backward_data_fn)(rlm_par *par, const rlm_conv_shape *s,
                                              const rlm_prepare *prepare, const float *x,
                                              const float *dy, const rlm_weight *w, float *dx,
                                              float *dgain, float *dbias, bool add, float *room);
typedef void (*rlm_prepared_backward_weight_fn)(rlm_par *par, const rlm_conv_shape *s,
                                                const void *saved, const float *dy, float *dw,
                                                float *dbias);

/* ---- Elementwise --------------------------------------------------------------------------- */

/* LEAKY slope 0.2; ELU alpha 1; GELU tanh form. x may alias y in forward. */
typedef void (*rlm_act_forward_fn)(rlm_par *par, rlm_act act, int64_t n, const float *x, float *y);
typedef void (*rlm_act_backward_fn)(rlm_par *par, rlm_act act, int64_t n, const float *x,
                                    const float *dy, float *dx, bool add);
/* y = a + b (y may alias a). */
typedef void (*rlm_add_fn)(rlm_par *par, int64_t n, const float *a, const float *b, float *y);
/* y += alpha * x. */
typedef void (*rlm_axpy_fn)(rlm_par *par, int64_t n, float alpha, const float *x, float *y);
/* y *= alpha. */
typedef void (*rlm_scale_fn)(rlm_par *par, int64_t n, float alpha, float *y);
/* y = value everywhere; y = x. */
typedef void (*rlm_fill_fn)(rlm_par *par, int64_t n, float value, float *y);
typedef void (*rlm_copy_fn)(rlm_par *par, int64_t n, const float *x, float *y);
/* y = x * (1 + scale) + shift, all [n] (adaptive group norm, per position). add: to dx, dscale,
 * dshift. */
typedef void (*rlm_modulate_forward_fn)(rlm_par *par, int64_t n, const float *x, const float *scale,
                                        const float *shift, float *y);
typedef void (*rlm_modulate_backward_fn)(rlm_par *par, int64_t n, const float *x,
                                         const float *scale, const float *dy, float *dx,
                                         float *dscale, float *dshift, const bool add[3]);
/* SwiGLU: x [rows][2c] = gate | up; y [rows][c] = silu(gate) * up. */
typedef void (*rlm_swiglu_forward_fn)(rlm_par *par, int64_t rows, int c, const float *x, float *y);
typedef void (*rlm_swiglu_backward_fn)(rlm_par *par, int64_t rows, int c, const float *x,
                                       const float *dy, float *dx, bool add);
/* Columns [from, from + count) of x [rows][cx] to/from columns [to, to+count) of y [rows][cy]:
 * y = x (accumulate false) or y += x. Slices, concatenations and their gradients. */
typedef void (*rlm_columns_fn)(rlm_par *par, int64_t rows, int count, const float *x, int cx,
                               int from, float *y, int cy, int to, bool accumulate);

/* ---- Rearrangement ------------------------------------------------------------------------- */

/* Depth to space by (ft, fh, fw), channel order (t, h, w, c): x [n][t][h][w][ft*fh*fw*c] ->
 * y [n][t*ft - drop][h*fh][w*fw][c]; the first `drop` frames of each item are dropped.
 * space_to_depth is its adjoint with accumulate: dx += gather(dy) (dropped frames get nothing). */
typedef struct rlm_shuffle_shape {
    int n, t, h, w, c; /* grid of the DEEP side; c = channels of the wide side */
    int ft, fh, fw, drop;
} rlm_shuffle_shape;
typedef void (*rlm_depth_to_space_fn)(rlm_par *par, const rlm_shuffle_shape *s, const float *x,
                                      float *y, bool accumulate);
typedef void (*rlm_space_to_depth_fn)(rlm_par *par, const rlm_shuffle_shape *s, const float *y,
                                      float *x, bool accumulate);
/* Nearest upsampling with the same shape struct, x [n][t][h][w][c] (c channels on both sides). */
typedef void (*rlm_upsample_forward_fn)(rlm_par *par, const rlm_shuffle_shape *s, const float *x,
                                        float *y);
typedef void (*rlm_upsample_backward_fn)(rlm_par *par, const rlm_shuffle_shape *s, const float *dy,
                                         float *dx);

/* Two-level orthonormal 3-D Haar wavelet of clips whose first frame is repeated to fill a group:
 * pixels [n][1 + 4(t-1)][4h][4w][3] <-> coefficients [n][t][h][w][192], 192 = (band_t, band_h,
 * band_w in 4x4x4 order, LLL first) x 3. Both levels split every band, so the transform of an axis
 * is the 4-point Walsh-Hadamard matrix / 2, rows ordered LL, LH, HL, HH. Coefficients are scaled by
 * 1/4. inverse: the four frames of group 0 are averaged into frame 0.
 * *_adjoint are the exact transposes: gradients of the other direction. */
typedef struct rlm_haar_shape {
    int n, t, h, w; /* grid of the coefficients */
} rlm_haar_shape;
typedef void (*rlm_haar_fn)(rlm_par *par, const rlm_haar_shape *s, const float *in, float *out);
typedef void (*rlm_haar_adjoint_fn)(rlm_par *par, const rlm_haar_shape *s, const float *in,
                                    float *out, bool add);

/* ---- Quantisers ---------------------------------------------------------------------------- */

/* LFQ: z [rows][bits] -> q = +1 where z > 0 else -1, and ids[row] = sum 2^i [z_i > 0] (ids may be
 * NULL). Backward of the straight-through sign is dz += dq (use axpy). */
typedef void (*rlm_lfq_forward_fn)(rlm_par *par, int64_t rows, int bits, const float *z, float *q,
                                   int32_t *ids);
/* RVQ: each row of x [rows][dim] becomes one code of each of the books [levels][codes][dim], whose
 * sum is near it (squared distance): ids[level * pitch + row]. Codes are searched level by level,
 * `beam` best sums kept from one to the next (M-L search; LeBlanc, Bhattacharya, Mahmoud
 * and Cuperman 1993); 1: the nearest code of what earlier levels left, SoundStream's
 * choice. Of equals the earlier path and the lower code win. levels and beam from 1 to the
 * largest below. */
enum { RLM_RVQ_LEVELS_MAX = 16, RLM_RVQ_BEAM_MAX = 32 };
typedef struct rlm_rvq_shape {
    int64_t rows;
    int dim, codes, levels, beam;
} rlm_rvq_shape;
typedef void (*rlm_rvq_search_fn)(rlm_par *par, const rlm_rvq_shape *s, const float *x,
                                  const float *books, int32_t *ids, int64_t pitch);

/* ---- Spectra ------------------------------------------------------------------------------- */

/* Blocks of 16 complex Fourier transforms side by side, in place: x [blocks][re, im][n][16], n a
 * power of two from 2 to 4096. y_k = sum_j x_j e^(-2 pi i jk / n), inverse: e^(+...); unscaled. */
enum { RLM_FFT_LANES = 16, RLM_FFT_MAX = 4096 };
typedef void (*rlm_fft_fn)(rlm_par *par, int64_t blocks, int n, bool inverse, float *x);
/* What an ear takes of waves [n][w], w a multiple of hop: y [n][w / hop][hop + window / 2], from
 * the `window` >= hop samples x before (f + 1) * hop, zeros before the wave: the last hop of them
 * over sqrt(mean x^2 + 1e-5): shape without loudness, then ln(|X_b|^2 / sum of squares of the Hann
 * window + 1e-6) / 4 + 1.75,  b = 1 .. window / 2 window: a power of two from 32 to 1024. */
typedef struct rlm_spectrum_shape {
    int n, w, hop, window;
} rlm_spectrum_shape;
typedef void (*rlm_ear_fn)(rlm_par *par, const rlm_spectrum_shape *s, const float *wave, float *y);

/* ---- Sequences ----------------------------------------------------------------------------- */

/* y[row] (+)= table[ids[row]] for ids >= 0; rows with id < 0 give 0 (or nothing, accumulate). */
typedef void (*rlm_embedding_forward_fn)(rlm_par *par, int64_t rows, int c, const int32_t *ids,
                                         const float *table, float *y, bool accumulate);
typedef void (*rlm_embedding_backward_fn)(rlm_par *par, int64_t rows, int c, const int32_t *ids,
                                          const float *dy, float *dtable);

/* QK norm + rotary positions, in place on one of q, k inside x [rows][stride] at column `from`:
 * heads x dim floats; RMS-normalised per head with gain[dim] (NULL: 1), then rotated pairwise
 * (i, i + dim/2) by angle[row][dim/2]. rstd [rows][heads] saved when not NULL. */
typedef struct rlm_rope_shape {
    int64_t rows;
    int heads, dim, stride, from;
    float eps;
} rlm_rope_shape;
typedef void (*rlm_rope_forward_fn)(rlm_par *par, const rlm_rope_shape *s, const float *x,
                                    const float *gain, const float *angle, float *y, float *rstd);
typedef void (*rlm_rope_backward_fn)(rlm_par *par, const rlm_rope_shape *s, const float *x,
                                     const float *gain, const float *angle, const float *rstd,
                                     const float *dy, float *dx, float *dgain);

/* Prefix-LM attention over a batch of equally long sequences. qkv [batch][len][3*heads*dim] (q|k|v,
 * already normed and rotated); position i sees j iff j < length and (j <= i or j < prefix).
 * prefix[batch] and length[batch] (padding at the end is never seen) in rows.
 * y [batch][len][heads*dim]; lse [batch][heads][len] saved (may be NULL). scale multiplies q.k.
 * A row that sees nothing gives y = 0 and lse = 0. */
typedef struct rlm_attention_shape {
    int batch, len, heads, dim;
    const int *prefix, *length;
    float scale;
} rlm_attention_shape;
/* Keys that position i of a sequence sees: the first of them, all contiguous. */
static inline int rlm_attention_seen(const rlm_attention_shape *s, int64_t batch, int i)
{
    int prefix = s->prefix[batch], n = i + 1 > prefix ? i + 1 : prefix;
    return n < s->length[batch] ? n : s->length[batch];
}
typedef void (*rlm_attention_forward_fn)(rlm_par *par, const rlm_attention_shape *s,
                                         const float *qkv, float *y, float *lse);
typedef void (*rlm_attention_backward_fn)(rlm_par *par, const rlm_attention_shape *s,
                                          const float *qkv, const float *y, const float *lse,
                                          const float *dy, float *dqkv, bool add);

/* The two halves of a transformer block over many rows, for inference. Tables without a fused form
 * hold NULL: run the kernels one by one, as for fewer than RLM_BLOCK_ROWS rows. Widths (heads *
 * dim, ffn) are multiples of 32. Weights are packed (bf16 or quant). qkv: y [rows][3 * heads * dim]
 * = w rmsnorm(x, gain), then rope_forward of its q and its k. mlp: y = x + down swiglu(up
 * rmsnorm(x, gain)); y may be x. */
enum { RLM_BLOCK_ROWS = 33 };
typedef struct rlm_qkv_shape {
    int rows, heads, dim;
    float eps, rope_eps;
} rlm_qkv_shape;
typedef void (*rlm_qkv_forward_fn)(rlm_par *par, const rlm_qkv_shape *s, const float *x,
                                   const float *gain, const rlm_weight *w, const float *q_gain,
                                   const float *k_gain, const float *angle, float *y);
typedef struct rlm_mlp_shape {
    int rows, dim, ffn;
    float eps;
} rlm_mlp_shape;
typedef void (*rlm_mlp_forward_fn)(rlm_par *par, const rlm_mlp_shape *s, const float *x,
                                   const float *gain, const rlm_weight *up, const rlm_weight *down,
                                   float *y);

/* Keys and values of what was read so far (cache.h has their layout), in bf16 or in 8 bits with a
 * scale a key. rows: new positions of each of `batch` sequences, given as qkv rows [batch][rows]
 * [q_stride] of which q | k | v are the first 3 * heads * dim. */
typedef struct rlm_cache_shape {
    int batch, rows, heads, dim, capacity, q_stride;
    int bits;        /* 16: bf16, 8 */
    const int *seen; /* [batch * rows]: a query sees the first so many entries */
    float scale;     /* multiplies q.k */
} rlm_cache_shape;
/* Attention of new queries to a cache that already holds their own keys; y [batch][rows]
 * [heads * dim]. Overlays may round q and the weights as the cache is rounded. */
typedef void (*rlm_attention_cached_fn)(rlm_par *par, const rlm_cache_shape *s, const float *q,
                                        const void *cache, float *y);
/* k and v of the rows to places at[batch].. of their sequence. */
typedef void (*rlm_cache_store_fn)(rlm_par *par, const rlm_cache_shape *s, const float *qkv,
                                   const int *at, void *cache);

/* Cross-entropy over rows of logits [rows][classes]; target -1 = row ignored. loss[row] in nats
 * (+ zloss * logZ^2). dlogits = scale * (softmax - onehot [+ z term]) OVERWRITTEN, may be NULL or
 * alias logits; ignored rows give 0. */
typedef void (*rlm_cross_entropy_fn)(rlm_par *par, int64_t rows, int classes, const float *logits,
                                     const int32_t *target, float zloss, float scale, float *loss,
                                     float *dlogits);

/* ---- Training-only ------------------------------------------------------------------------- */

/* The halves of a block where a gradient is wanted. *_save: the forward, and what the backward will
 * need into `saved`, *_saved of bytes aligned to 64 in the table's own form. *_backward: gradients
 * of everything, accumulating; none is NULL. Weights have both packings. Tables without a fused
 * form hold NULL (in all eight) and then, as for fewer rows or other widths than above, the layers
 * run kernels one by one. mlp: d [rows][dim] is dy on entry and dx on return. qkv: dim is 32, 64 or
 * 128; y and its gradient dy are bf16; where a gain is 0 the norm's input is lost and counts as 0.
 * attention_bf16: between them, as the f32 entries, overwriting dqkv. */
typedef size_t (*rlm_qkv_saved_fn)(const rlm_qkv_shape *s);
typedef void (*rlm_qkv_save_fn)(rlm_par *par, const rlm_qkv_shape *s, const float *x,
                                const float *gain, const rlm_weight *w, const float *q_gain,
                                const float *k_gain, const float *angle, uint16_t *y, void *saved);
typedef struct rlm_qkv_grads {
    float *x, *gain, *w, *q_gain, *k_gain;
} rlm_qkv_grads;
typedef void (*rlm_qkv_backward_fn)(rlm_par *par, const rlm_qkv_shape *s, const float *x,
                                    const float *gain, const rlm_weight *w, const float *q_gain,
                                    const float *k_gain, const float *angle, const uint16_t *y,
                                    const void *saved, const uint16_t *dy, const rlm_qkv_grads *to);
typedef void (*rlm_attention_bf16_forward_fn)(rlm_par *par, const rlm_attention_shape *s,
                                              const uint16_t *qkv, float *y, float *lse);
typedef void (*rlm_attention_bf16_backward_fn)(rlm_par *par, const rlm_attention_shape *s,
                                               const uint16_t *qkv, const float *y,
                                               const float *lse, const float *dy, uint16_t *dqkv);
typedef size_t (*rlm_mlp_saved_fn)(const rlm_mlp_shape *s);
typedef void (*rlm_mlp_save_fn)(rlm_par *par, const rlm_mlp_shape *s, const float *x,
                                const float *gain, const rlm_weight *up, const rlm_weight *down,
                                float *y, void *saved);
typedef struct rlm_mlp_grads {
    float *d, *gain, *up, *down;
} rlm_mlp_grads;
typedef void (*rlm_mlp_backward_fn)(rlm_par *par, const rlm_mlp_shape *s, const float *x,
                                    const float *gain, const rlm_weight *up, const rlm_weight *down,
                                    const void *saved, const rlm_mlp_grads *to);

/* Two prepared convolutions behind norms where a gradient is wanted, without biases or strides:
 * y = conv[1](act(norm[1](h))) + residual, h = conv[0](act(norm[0](x))). h and its gradient are the
 * table's own business, and rounded as it likes. pair_save: the forward, and what the backward will
 * need into `saved`, pair_saved of bytes aligned to 64; y is not residual. pair_backward: dx (+)=
 * (it may be dy), the other gradients accumulate; those of frozen layers are NULL. room: pair_room
 * of bytes, as saved, lost. Weights have both packings. Tables without a fused form hold NULL (in
 * all four). */
typedef struct rlm_pair_shape {
    rlm_conv_shape conv[2];
    rlm_groupnorm_shape norm[2];
} rlm_pair_shape;
typedef struct rlm_pair_layers {
    const float *gain[2], *bias[2]; /* of the norms */
    const rlm_weight *w[2];
} rlm_pair_layers;
typedef struct rlm_pair_grads {
    float *x;
    bool add; /* to x */
    float *gain[2], *bias[2], *w[2];
} rlm_pair_grads;
typedef size_t (*rlm_pair_bytes_fn)(const rlm_pair_shape *s);
typedef void (*rlm_pair_save_fn)(rlm_par *par, const rlm_pair_shape *s, const rlm_pair_layers *l,
                                 const float *x, const float *residual, float *y, void *saved);
typedef void (*rlm_pair_backward_fn)(rlm_par *par, const rlm_pair_shape *s,
                                     const rlm_pair_layers *l, const float *x, const float *dy,
                                     const void *saved, const rlm_pair_grads *to, void *room);

typedef struct rlm_adamw {
    float lr, beta1, beta2, eps, weight_decay;
    float grad_scale; /* multiplies g first: clipping */
    int64_t step;     /* 1-based, for bias correction */
    float ema;        /* > 0: ema = ema_decay * ema + (1 - decay) * p; ema_p NULL: none */
} rlm_adamw;
typedef void (*rlm_adamw_fn)(rlm_par *par, const rlm_adamw *o, int64_t n, float *p, const float *g,
                             float *m, float *v, float *ema_p);
/* Muon around its orthogonalisation. moment: m = momentum m + s g, then x = s g + momentum m
 * (Nesterov), s = grad_scale. apply: p = keep p + step update, then the average as in AdamW; update
 * NULL: only the decay. */
typedef void (*rlm_muon_moment_fn)(rlm_par *par, int64_t n, float momentum, float grad_scale,
                                   const float *g, float *m, float *x);
typedef void (*rlm_muon_apply_fn)(rlm_par *par, int64_t n, float keep, float step, float ema,
                                  const float *update, float *p, float *ema_p);
/* Orthogonalises every x [rows][cols] in place (m, count of them): RLM_MUON_STEPS quintic
 * Newton-Schulz steps on scale * x, which has norm 1 (or 0: x becomes 0), each
 * X <- (aI + bA + cA^2) X with A = X X^T, or the mirrored form where rows are the longer side
 * (K. Jordan et al., Muon, 2024). Tables without a fused form hold NULL: run its products one by
 * one. */
#define RLM_MUON_A 3.4445f
#define RLM_MUON_B -4.7750f
#define RLM_MUON_C 2.0315f
enum { RLM_MUON_STEPS = 5 };
typedef struct rlm_matrix {
    int rows, cols;
    float scale;
    float *x;
} rlm_matrix;
typedef void (*rlm_orthogonalise_fn)(rlm_par *par, int count, const rlm_matrix *m);
/* Sum of squares in double, the same for any thread count. */
typedef double (*rlm_sumsq_fn)(rlm_par *par, int64_t n, const float *x);
/* Reconstruction: L1 or L2 mean over n; returns the loss; dy += scale * d(loss)/dx. kind 1 = L1
 * (smoothed: sqrt(d^2 + 1e-6)), 2 = squared. dx may be NULL. */
typedef double (*rlm_recon_fn)(rlm_par *par, int kind, int64_t n, const float *x,
                               const float *target, float scale, float *dx);

enum { RLM_HEAD_DIM_MAX = 256 }; /* of attention and rotation; configs beyond it are refused */

/* Overlays in force, one bit each, in the order in which they are laid over each other. */
enum {
    RLM_LEVEL_REF = 1,
    RLM_LEVEL_BLAS = 2,
    RLM_LEVEL_DNN = 4,
    RLM_LEVEL_SIMD = 8, /* vectors of 128 bits: SSE4.1, NEON */
    RLM_LEVEL_AVX2 = 16,
    RLM_LEVEL_AVX512 = 32,
    RLM_LEVEL_AMX = 64
};

/* Entries named *_backward*, *_save* (but prepared_saved), pair_*, *_bf16*, *_adjoint,
 * cross_entropy, adamw, muon_*, orthogonalise, sumsq, recon are training's: rlm_kernels_init leaves
 * them NULL, rlm_kernels_init_training fills them. */
typedef struct rlm_kernels {
    const char *level; /* highest overlay in force: "ref", "blas", "dnn", "simd", "avx2", .. */
    unsigned levels;   /* RLM_LEVEL_* of all overlays in force */
    rlm_pack_bytes_fn pack_bytes;
    rlm_pack_fn pack;
    bool packs_alone; /* with a packing no forward ever reads the f32 weights */
    rlm_conv_forward_fn conv_forward;
    rlm_conv_backward_data_fn conv_backward_data;
    rlm_conv_backward_weight_fn conv_backward_weight;
    rlm_prepared_forward_fn prepared_forward;
    rlm_prepared_saved_fn prepared_saved;
    rlm_prepared_backward_data_fn prepared_backward_data;
    rlm_prepared_backward_weight_fn prepared_backward_weight;
    rlm_linear_forward_fn linear_forward;
    rlm_linear_backward_data_fn linear_backward_data;
    rlm_linear_backward_weight_fn linear_backward_weight;
    rlm_linear_quant_fn linear_quant;
    rlm_linear_half_fn linear_half;
    rlm_gemm_fn gemm;
    rlm_rmsnorm_forward_fn rmsnorm_forward;
    rlm_rmsnorm_backward_fn rmsnorm_backward;
    rlm_groupnorm_forward_fn groupnorm_forward;
    rlm_groupnorm_backward_fn groupnorm_backward;
    rlm_act_forward_fn act_forward;
    rlm_act_backward_fn act_backward;
    rlm_add_fn add;
    rlm_axpy_fn axpy;
    rlm_scale_fn scale;
    rlm_fill_fn fill;
    rlm_copy_fn copy;
    rlm_modulate_forward_fn modulate_forward;
    rlm_modulate_backward_fn modulate_backward;
    rlm_swiglu_forward_fn swiglu_forward;
    rlm_swiglu_backward_fn swiglu_backward;
    rlm_columns_fn columns;
    rlm_depth_to_space_fn depth_to_space;
    rlm_space_to_depth_fn space_to_depth;
    rlm_upsample_forward_fn upsample_forward;
    rlm_upsample_backward_fn upsample_backward;
    rlm_haar_fn haar_forward;                 /* pixels -> coefficients */
    rlm_haar_fn haar_inverse;                 /* coefficients -> pixels */
    rlm_haar_adjoint_fn haar_forward_adjoint; /* d coefficients -> d pixels */
    rlm_haar_adjoint_fn haar_inverse_adjoint; /* d pixels -> d coefficients */
    rlm_lfq_forward_fn lfq_forward;
    rlm_rvq_search_fn rvq_search;
    rlm_fft_fn fft;
    rlm_ear_fn ear;
    rlm_embedding_forward_fn embedding_forward;
    rlm_embedding_backward_fn embedding_backward;
    rlm_rope_forward_fn rope_forward;
    rlm_rope_backward_fn rope_backward;
    rlm_attention_forward_fn attention_forward;
    rlm_attention_backward_fn attention_backward;
    rlm_qkv_forward_fn qkv_forward;
    rlm_mlp_forward_fn mlp_forward;
    rlm_qkv_saved_fn qkv_saved;
    rlm_qkv_save_fn qkv_save;
    rlm_qkv_backward_fn qkv_backward;
    rlm_attention_bf16_forward_fn attention_bf16_forward;
    rlm_attention_bf16_backward_fn attention_bf16_backward;
    rlm_mlp_saved_fn mlp_saved;
    rlm_mlp_save_fn mlp_save;
    rlm_mlp_backward_fn mlp_backward;
    rlm_pair_bytes_fn pair_saved, pair_room;
    rlm_pair_save_fn pair_save;
    rlm_pair_backward_fn pair_backward;
    rlm_attention_cached_fn attention_cached;
    rlm_cache_store_fn cache_store;
    rlm_cross_entropy_fn cross_entropy;
    rlm_adamw_fn adamw;
    rlm_muon_moment_fn muon_moment;
    rlm_muon_apply_fn muon_apply;
    rlm_orthogonalise_fn orthogonalise;
    rlm_sumsq_fn sumsq;
    rlm_recon_fn recon;
} rlm_kernels;

/* mask: NULL or "" = best; otherwise the highest level allowed ("ref" < "blas" < "dnn" < "simd" <
 * "avx2" < "avx512" < "amx"). Unknown names fail with RLM_E_ARG. A level the CPU lacks is skipped.
 * Fills the inference entries only; refers to no training symbol. */
int rlm_kernels_init(rlm_kernels *k, const char *mask, rlm_error *err);
/* Name of level i, the lowest 0; NULL behind the highest. Levels that this build or CPU lacks have
 * names too. */
const char *rlm_kernels_level(int i);
/* rlm_kernels_init, then every training entry. Lives in training.c, which only libreelm_train and
 * tests link, together with ref_backward*.c and the *_backward.c files of the overlays. */
int rlm_kernels_init_training(rlm_kernels *k, const char *mask, rlm_error *err);
/* Every inference entry does nothing, pack_bytes as `like` says: dry runs. */
void rlm_kernels_empty(rlm_kernels *k, const rlm_kernels *like);
/* The training entries too (training.c); sumsq and recon return 0. */
void rlm_kernels_empty_training(rlm_kernels *k, const rlm_kernels *like);

/* Overlays of the inference entries, in this order; called by rlm_kernels_init when the build has
 * them (RLM_HAVE_*), the CPU can and the mask allows. Each returns true if it replaced anything;
 * false leaves the table as it was. An overlay that sets `pack` sets pack_bytes, conv_forward and
 * linear_forward with it (not linear_forward where weights of one tap have no packing): a packing
 * is read only by the table that made it. */
void rlm_kernels_reference(rlm_kernels *k);
bool rlm_kernels_blas(rlm_kernels *k);
bool rlm_kernels_dnn(rlm_kernels *k);
bool rlm_kernels_simd(rlm_kernels *k);
bool rlm_kernels_avx2(rlm_kernels *k);
bool rlm_kernels_avx512(rlm_kernels *k);
bool rlm_kernels_amx(rlm_kernels *k);

/* The same overlays' training entries, called by rlm_kernels_init_training, same order, for the
 * bits in k->levels and with the inference entries complete. They live in files of their own
 * (X_backward.c). A *_backward_data entry may read pack_t only if k->pack is its own overlay's:
 * otherwise it works from the f32 master or leaves the entry alone. */
void rlm_kernels_reference_backward(rlm_kernels *k);
bool rlm_kernels_blas_backward(rlm_kernels *k);
bool rlm_kernels_dnn_backward(rlm_kernels *k);
bool rlm_kernels_simd_backward(rlm_kernels *k);
bool rlm_kernels_avx2_backward(rlm_kernels *k);
bool rlm_kernels_avx512_backward(rlm_kernels *k);
bool rlm_kernels_amx_backward(rlm_kernels *k);

/* CPU features, read once (cpu.c). amx: the kernel also granted tile state to this process. */
typedef struct rlm_cpu {
    bool simd, avx2, fma, avx512, avx512_bf16, avx512_vnni, amx_bf16, amx_int8;
} rlm_cpu;
rlm_cpu rlm_cpu_detect(void);

static inline uint16_t rlm_bf16(float f) /* round to nearest even; NaN stays NaN */
{
    union {
        float f;
        uint32_t u;
    } v = {f};
    if ((v.u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((v.u >> 16) | 0x40);
    return (uint16_t)((v.u + 0x7fffu + ((v.u >> 16) & 1)) >> 16);
}
static inline float rlm_unbf16(uint16_t h)
{
    union {
        uint32_t u;
        float f;
    } v = {(uint32_t)h << 16};
    return v.f;
}

#endif
