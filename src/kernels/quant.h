/* Quantised weights of dense layers, inference only: w[n][k] ~ scale[n][k / group] * q[n][k].
 *   8 bits: groups of 128 along k, q in -127..127, f32 scales
 *   4 bits: groups of 32, q in -8..7, scales that bf16 holds exactly
 *
 * One packing for every level, in the order in which a product of few rows streams it: panels of 32
 * columns (n), a panel's groups one after another, each group its 32 scales (f32, or bf16 for 4
 * bits) and then its values. Rows of a group are runs of four k: [half of 16 columns][16][4 k]
 * bytes of q + 128; with 4 bits byte [row r][half][column][k] holds q + 8 of row r in its lower
 * half and of row r + 4 in its upper. Columns past n and k past the end are q = 0. */
#ifndef RLM_KERNELS_QUANT_H
#define RLM_KERNELS_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/par.h"

enum { RLM_QUANT_COLUMNS = 32 };

static inline int rlm_quant_group(int bits)
{
    return bits == 8 ? 128 : 32;
}
static inline int rlm_quant_groups(int bits, int k)
{
    return (k + rlm_quant_group(bits) - 1) / rlm_quant_group(bits);
}
static inline int rlm_quant_panels(int n)
{
    return (n + RLM_QUANT_COLUMNS - 1) / RLM_QUANT_COLUMNS;
}
/* Bytes of one group of one panel: scales and values. */
static inline size_t rlm_quant_block(int bits)
{
    return bits == 8 ? 128 + 4096 : 64 + 512;
}
size_t rlm_quant_bytes(int bits, int n, int k); /* of the packing; a multiple of 64 */

/* w [n][k] -> q [n][k], scale [n][groups]. 8 bits: largest magnitude / 127. 4 bits: of several
 * scales the one with the least squared error. Values that are not finite become 0. */
void rlm_quantise(rlm_par *par, int bits, int n, int k, const float *w, int8_t *q, float *scale);
/* scale of 4 bits must come from rlm_quantise or be exact in bf16. out: rlm_quant_bytes. */
void rlm_quant_pack(rlm_par *par, int bits, int n, int k, const int8_t *q, const float *scale,
                    void *out);
/* Weights of row n0 of the layer from a packing, as f32 [k]. */
void rlm_quant_row(int bits, int k, const void *pack, int n0, float *w);

/* Rows of x as int8 for products in integers: q8 [rows][groups * group], scale and sum of q8
 * [rows][groups]. A group whose largest magnitude is below 1e-30 is zero; one with a value that is
 * not finite has a NaN or infinite scale. */
typedef struct rlm_quant_x {
    int8_t *q8;
    float *scale;
    int32_t *sum;
} rlm_quant_x;
static inline size_t rlm_quant_x_bytes(int bits, int rows, int k)
{
    size_t groups = (size_t)rows * (size_t)rlm_quant_groups(bits, k);
    return groups * ((size_t)rlm_quant_group(bits) + 8) + 64;
}
/* The parts of `memory` (rlm_quant_x_bytes, 64-byte aligned), empty. */
static inline rlm_quant_x rlm_quant_x_at(int bits, int rows, int k, void *memory)
{
    size_t groups = (size_t)rows * (size_t)rlm_quant_groups(bits, k);
    rlm_quant_x x = {.q8 = memory};
    x.scale = (float *)(void *)(x.q8 + groups * (size_t)rlm_quant_group(bits));
    x.sum = (int32_t *)(void *)(x.scale + groups);
    return x;
}

#endif
