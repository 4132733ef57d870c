/* Shared by the dense products on AMX: rows as tiles [tile of 16][chunk][16][32] bf16 in a core's
 * L2 cache, panels of 32 packed columns streamed past them, sums of a panel as [rows][32] f32. */
#ifndef RLM_KERNELS_AMX_DENSE_H
#define RLM_KERNELS_AMX_DENSE_H

#include "src/kernels/amx.h"

enum { DENSE_SEGMENT = 12 /* chunks of K whose weights stay in the L1 cache */ };

/* One panel: rows (a0, a1: two tiles of 16) x nk chunks; as rlm_amx_block, with whole tiles in a
 * row; rows pass once, so their loads leave L1 to the panel. Meanwhile `lines` cache lines a chunk
 * are asked for into L2 from `ahead` on. */
static inline void dense_block(const uint8_t *a0, const uint8_t *a1, const uint8_t *b, int nk,
                               bool narrow, bool add, float *out, const uint8_t *ahead, int lines)
{
    rlm_amx_sums_begin(out, add);
    for (int i = 0; i < nk; i++, a0 += RLM_AMX_TILE, a1 += RLM_AMX_TILE, b += 2 * RLM_AMX_TILE) {
        for (int l = 0; l < lines; l++, ahead += 64)
            _mm_prefetch((const char *)ahead, _MM_HINT_T1);
        _tile_stream_loadd(4, a0, 64);
        _tile_loadd(6, b, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_stream_loadd(5, a1, 64);
        _tile_dpbf16ps(2, 5, 6);
        if (narrow)
            continue;
        _tile_loadd(7, b + RLM_AMX_TILE, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
    }
    rlm_amx_sums_end(out);
}

/* sums [rows][32] (+)= rows of tiles x `depth` chunks of the panel b. The rows are the ones from
 * `at` on of `all` that meet this panel before `next` is wanted: each asks for its part of it. */
static inline void dense_panel(const uint8_t *a, int rows, const uint8_t *b, int depth, bool narrow,
                               bool add, float *sums, const uint8_t *next, int at, int all)
{
    size_t tile = (size_t)depth * RLM_AMX_TILE;
    int lines = next ? rlm_div_up(2 * RLM_AMX_TILE / 64, rlm_div_up(all, 32)) : 0;
    int segment = rlm_div_up(depth, rlm_div_up(depth, DENSE_SEGMENT));
    for (int k = 0; k < depth; k += segment) {
        int run = depth - k < segment ? depth - k : segment;
        for (int r = 0; r < rows; r += 32) {
            const uint8_t *a0 = a + (size_t)(r / 16) * tile + (size_t)k * RLM_AMX_TILE;
            dense_block(a0, r + 16 < rows ? a0 + tile : a0, b + (size_t)k * 2 * RLM_AMX_TILE, run,
                        narrow, add || k > 0, sums + r * 32,
                        next + (size_t)((at + r) / 32 * depth + k) * (size_t)lines * 64, lines);
        }
    }
}

/* Rows of a block's input, normed: x [rows][c] / sqrt(mean(x^2) + eps) * gain as tiles, as
 * rmsnorm_forward computes them. c a multiple of 32; gain NULL: 1. */
static inline void dense_normed(const float *x, int rows, int c, const float *gain, float eps,
                                uint8_t *out)
{
    size_t tile = (size_t)(c / 32) * RLM_AMX_TILE;
    for (int r = 0; r < rows; r++, x += c) {
        __m512 s0 = _mm512_setzero_ps(), s1 = s0;
        for (int i = 0; i < c; i += 32) {
            __m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + i + 16);
            s0 = _mm512_fmadd_ps(a, a, s0);
            s1 = _mm512_fmadd_ps(b, b, s1);
        }
        float sum = _mm512_reduce_add_ps(_mm512_add_ps(s0, s1));
        __m512 scale = v_set((float)(1.0 / sqrt((double)sum / c + eps)));
        uint8_t *to = out + (size_t)(r / 16) * tile + r % 16 * 64;
        for (int i = 0; i < c; i += 32, to += RLM_AMX_TILE) {
            __m512 a = _mm512_mul_ps(_mm512_loadu_ps(x + i), scale);
            __m512 b = _mm512_mul_ps(_mm512_loadu_ps(x + i + 16), scale);
            if (gain) {
                a = _mm512_mul_ps(a, _mm512_loadu_ps(gain + i));
                b = _mm512_mul_ps(b, _mm512_loadu_ps(gain + i + 16));
            }
            _mm512_store_si512(to, (__m512i)_mm512_cvtne2ps_pbh(b, a));
        }
    }
    for (int r = rows; r % 32; r++)
        for (int i = 0; i < c / 32; i++)
            memset(out + (size_t)(r / 16) * tile + (size_t)i * RLM_AMX_TILE + r % 16 * 64, 0, 64);
}

/* amx_quant.c: the weight's bf16 packing; a quantised one is unpacked to `room` (dense_bytes). */
static inline size_t dense_bytes(int n, int k)
{
    return (size_t)rlm_div_up(n, 32) * (size_t)rlm_div_up(k, 32) * 2 * RLM_AMX_TILE;
}
const uint8_t *rlm_amx_dense_weight(rlm_par *par, int n, int k, const rlm_weight *w, void *room);

#endif
