/* Weight gradients of dense layers: c [a][b] = sum over rows of A [row][a] x B [row][b], both as
 * tiles in memory. A slab of SLAB rows holds, for every 16 channels, its chunks of 32 rows one
 * after the other: turned (A: 16 channels x 32 rows) or paired (B: 16 pairs of rows x 16 channels).
 * Rows and channels that do not exist are zero; tiles of a side come in twos. */
#ifndef RLM_KERNELS_AMX_DENSE_WEIGHT_H
#define RLM_KERNELS_AMX_DENSE_WEIGHT_H

#include "src/kernels/amx.h"

enum {
    WEIGHT_SLAB = 512 /* rows */
};

/* Tiles of a side of `channels`; 16-bit values of `rows` rows of it. */
static inline int dense_tiles(int channels)
{
    return rlm_div_up(channels, 32) * 2;
}
static inline size_t dense_side(int rows, int channels)
{
    return (size_t)rlm_div_up(rows, 32) * (size_t)dense_tiles(channels) * 512;
}

/* Where tile 0 of the chunk that begins at `row` of `rows` lies; `tile`: values to the next one. */
static inline size_t dense_chunk_at(int row, int rows, int tiles, size_t *tile)
{
    int slab = row / WEIGHT_SLAB * WEIGHT_SLAB, left = rows - slab;
    *tile = (size_t)rlm_div_up(left < WEIGHT_SLAB ? left : WEIGHT_SLAB, 32) * 512;
    return (size_t)slab / 32 * (size_t)tiles * 512 + (size_t)(row - slab) / 32 * 512;
}

/* 32 rows of x [..][pitch], of which `rows` exist, as turned or paired tiles. The rows behind them
 * are asked for meanwhile. */
static inline void dense_turn(const float *x, int rows, int channels, int64_t pitch, size_t tile,
                              uint16_t *out)
{
    for (int c = 0; c < dense_tiles(channels) * 16; c += 16, out += tile) {
        __m512i r[16];
        __mmask16 m = v_left(channels - c);
        for (int i = 0; i < 16; i++) {
            const float *at = x + 2 * i * pitch + c;
            __mmask16 m0 = 2 * i < rows ? m : 0, m1 = 2 * i + 1 < rows ? m : 0;
            r[i] = rlm_amx_pair(v_load(at, m0), v_load(at + pitch, m1));
            _mm_prefetch((const char *)(at + 32 * pitch), _MM_HINT_T1);
            _mm_prefetch((const char *)(at + 33 * pitch), _MM_HINT_T1);
        }
        v_transpose16(r);
        for (int i = 0; i < 16; i++)
            _mm512_store_si512(out + i * 32, r[i]);
    }
}
static inline void dense_pair(const float *x, int rows, int channels, int64_t pitch, size_t tile,
                              uint16_t *out)
{
    for (int c = 0; c < dense_tiles(channels) * 16; c += 16, out += tile) {
        __mmask16 m = v_left(channels - c);
        for (int i = 0; i < 32; i += 2) {
            const float *at = x + i * pitch + c;
            __mmask16 m0 = i < rows ? m : 0, m1 = i + 1 < rows ? m : 0;
            _mm512_store_si512(out + i * 16, rlm_amx_pair(v_load(at, m0), v_load(at + pitch, m1)));
            _mm_prefetch((const char *)(at + 32 * pitch), _MM_HINT_T1);
            _mm_prefetch((const char *)(at + 33 * pitch), _MM_HINT_T1);
        }
    }
}

/* dw [n][k], or [k][n] if turned, += A^T B over rows; n, k: channels of A, of B. gram: A and B are
 * one matrix in both forms, half of the product is computed, the rest mirrored, and dw = it. */
typedef struct dense_weight {
    int n, k;
    const uint16_t *a, *b;
    float *dw;
    bool turned, gram;
} dense_weight;
/* Every worker's room for the next: whoever calls it from inside a slice asks for this before. */
void rlm_amx_weight_room(rlm_par *par);
/* `count` of them, over the same number of rows. */
void rlm_amx_weight_products(rlm_par *par, const dense_weight *w, int count, int rows);
/* dw [n][k] += dy [m][n]^T x [m][k], dbias [n] (or NULL) += sums of dy. */
void rlm_amx_dense_backward_weight(rlm_par *par, int m, int n, int k, const float *x,
                                   const float *dy, float *dw, float *dbias);

#endif
