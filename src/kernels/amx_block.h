/* The halves of a transformer block on AMX, as training calls them too (amx_block*.c). */
#ifndef RLM_KERNELS_AMX_BLOCK_H
#define RLM_KERNELS_AMX_BLOCK_H

#include "src/kernels/amx_dense.h"

/* What the gated half keeps for its gradient: gates and ups in bf16, [chunk of 32 hidden
 * values][rows rounded up to 32][32 gates, 32 ups]. Where a row of a chunk begins. */
static inline size_t mlp_kept(const rlm_mlp_shape *s, int chunk, int row)
{
    return ((size_t)chunk * (size_t)rlm_div_up(s->rows, 32) * 32 + (size_t)row) * 64;
}

/* qkv_forward to one of y and half (bf16), the other NULL; rstd [rows][q heads, k heads] receives
 * 1 / rms of every head, or is NULL. */
void rlm_amx_qkv(rlm_par *par, const rlm_qkv_shape *s, const float *x, const float *gain,
                 const rlm_weight *w, const float *q_gain, const float *k_gain, const float *angle,
                 float *y, uint16_t *half, float *rstd);
/* mlp_forward; keep: see above, or NULL. */
void rlm_amx_mlp(rlm_par *par, const rlm_mlp_shape *s, const float *x, const float *gain,
                 const rlm_weight *up, const rlm_weight *down, float *y, uint16_t *keep);

/* amx_block_backward.c, amx_muon.c */
void rlm_kernels_amx_block_backward(rlm_kernels *k);
void rlm_kernels_amx_muon(rlm_kernels *k);

#endif
