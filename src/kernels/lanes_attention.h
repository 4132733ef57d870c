/* f32 attention by blocks of queries and keys (T. Dao et al., FlashAttention, 2022): operands of a
 * head packed without gaps, products of blocks in registers. Shared by forward and backward. */
#ifndef RLM_KERNELS_LANES_ATTENTION_H
#define RLM_KERNELS_LANES_ATTENTION_H

#include "src/kernels/lanes.h"

/* Rows of a tile: with two registers a row, as many sums as there are registers to hold. */
enum { ATT_TILE = V_REGISTERS == 32 ? 12 : 6 };
/* Queries and keys of a block: whole tiles and pairs of registers both ways. Scores lie key by key,
 * [keys][queries], so that a lane is a query and no sum goes across lanes. */
enum { ATT_QUERIES = 96, ATT_KEYS = 96 };

/* Rows [n][dim] of x, `stride` apart -> out [rows][wide]; the rest is 0. */
static inline void att_pack(const float *x, int64_t stride, int n, int rows, int dim, int wide,
                            float *out)
{
    for (int r = 0; r < rows; r++, out += wide)
        for (int d = 0; d < wide; d += V_LANES)
            v_write(out + d, v_load(x + (r < n ? r : 0) * stride + d, r < n ? v_left(dim - d) : 0));
}

/* out [dim][ld] = scale * rows [n][dim] of x, `stride` apart, transposed; 0 from column n on. */
static inline void att_turn(const float *x, int64_t stride, int n, int dim, int ld, float scale,
                            float *out)
{
    for (int r = 0; r < ld; r += V_LANES)
        for (int d = 0; d < dim; d++) {
            v_f32 v = v_gather(x + (r < n ? r : 0) * stride + d, (int)stride, v_left(n - r));
            v_write(out + (int64_t)d * ld + r, v_mul(v, v_set(scale)));
        }
}

/* A matrix read a number at a time: number (i, k) is at[i * row + k * step]. */
typedef struct att_left {
    const float *at;
    int64_t row, step;
} att_left;

/* A tile of c (+)= the rows of a by 1 or 2 registers of b [k][ldb]. */
RLM_INLINE void att_tile(int wide, const att_left *a, const float *b, int64_t ldb, int k, float *c,
                         int64_t ldc, bool add)
{
    v_f32 acc[ATT_TILE][2];
#pragma GCC unroll 12
    for (int r = 0; r < ATT_TILE; r++)
        for (int v = 0; v < wide; v++)
            acc[r][v] = add ? v_read(c + r * ldc + v * V_LANES) : v_zero();
    const float *left = a->at;
    for (int i = 0; i < k; i++, b += ldb, left += a->step) {
        v_f32 b0 = v_read(b), b1 = wide > 1 ? v_read(b + V_LANES) : v_zero();
#pragma GCC unroll 12
        for (int r = 0; r < ATT_TILE; r++) {
            v_f32 x = v_set(left[r * a->row]);
            acc[r][0] = v_fma(x, b0, acc[r][0]);
            if (wide > 1)
                acc[r][1] = v_fma(x, b1, acc[r][1]);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < ATT_TILE; r++)
        for (int v = 0; v < wide; v++)
            v_write(c + r * ldc + v * V_LANES, acc[r][v]);
}

/* c [m][n] (+)= a [m][k] b [k][n]; m whole tiles, n whole registers. */
static inline void att_product(int m, int n, int k, att_left a, const float *b, int64_t ldb,
                               float *c, int64_t ldc, bool add)
{
    for (int j = 0; j < n; j += 2 * V_LANES)
        for (int i = 0; i < m; i += ATT_TILE) {
            att_left part = {a.at + i * a.row, a.row, a.step};
            float *to = c + i * ldc + j;
            if (n - j > V_LANES)
                att_tile(2, &part, b + j, ldb, k, to, ldc, add);
            else
                att_tile(1, &part, b + j, ldb, k, to, ldc, add);
        }
}

#endif
