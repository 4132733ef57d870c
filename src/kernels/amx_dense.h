/* Shared by the dense products on AMX: rows as tiles [tile of 16][chunk][16][32] bf16 in a core's
 * L2 cache, panels of 32 packed columns streamed past them, sums of a panel as [rows][32] f32. */
#ifndef RLM_KERNELS_AMX_DENSE_H
#define RLM_KERNELS_AMX_DENSE_H

#include "src/kernels/amx.h"

enum { DENSE_SEGMENT = 16 /* chunks of K whose weights stay in the L1 cache */ };

/* Where the sums of a panel go: y [rows][ldy], n <= 32 columns, as rlm_amx_store. */
typedef struct dense_out {
    float *y;
    const float *bias, *residual;
    size_t ldy;
    int n;
    bool far;
} dense_out;

/* Finished sums on their way there, a few rows beside every chunk of the next block: a burst of
 * stores past the caches holds the buffers that tile loads from L2 need. */
typedef struct dense_leaving {
    dense_out to;       /* of the first row still to go */
    const float *block; /* [rows][32] */
    int rows;
} dense_leaving;

RLM_INLINE void dense_leave(dense_leaving *l, int rows)
{
    dense_out *to = &l->to;
    rows = rows < l->rows ? rows : l->rows;
    if (rows < 1)
        return;
    rlm_amx_store(l->block, rows, to->n, to->bias, to->residual, to->y, to->ldy, to->far);
    l->block += rows * 32;
    to->y += (size_t)rows * to->ldy;
    to->residual = to->residual ? to->residual + (size_t)rows * to->ldy : NULL;
    l->rows -= rows;
}

/* One panel: rows (a0, a1: two tiles of 16) x nk chunks; as rlm_amx_block, with whole tiles in a
 * row; rows pass once, so their loads leave L1 to the panel. Each tile is loaded for the next chunk
 * behind its last product, those that come from L2 first. Meanwhile `lines` cache lines a chunk are
 * asked for into L2 from `ahead` on, and what is leaving (or NULL) leaves. */
RLM_INLINE void dense_block(const uint8_t *a0, const uint8_t *a1, const uint8_t *b, int nk,
                            bool narrow, bool add, float *out, const uint8_t *ahead, int lines,
                            dense_leaving *leaving)
{
    int pace = leaving ? rlm_div_up(leaving->rows, nk) : 0;
    rlm_amx_sums_begin(out, add);
    _tile_stream_loadd(4, a0, 64);
    _tile_loadd(6, b, 64);
    _tile_stream_loadd(5, a1, 64);
    if (!narrow)
        _tile_loadd(7, b + RLM_AMX_TILE, 64);
    for (int i = 0; i < nk; i++) {
        bool more = i + 1 < nk;
        a0 += RLM_AMX_TILE;
        a1 += RLM_AMX_TILE;
        b += 2 * RLM_AMX_TILE;
        for (int l = 0; l < lines; l++, ahead += 64)
            _mm_prefetch((const char *)ahead, _MM_HINT_T1);
        _tile_dpbf16ps(0, 4, 6);
        if (!narrow)
            _tile_dpbf16ps(1, 4, 7);
        if (more)
            _tile_stream_loadd(4, a0, 64);
        _tile_dpbf16ps(2, 5, 6);
        if (more)
            _tile_loadd(6, b, 64);
        if (!narrow) {
            _tile_dpbf16ps(3, 5, 7);
            if (more)
                _tile_loadd(7, b + RLM_AMX_TILE, 64);
        }
        if (more)
            _tile_stream_loadd(5, a1, 64);
        if (leaving)
            dense_leave(leaving, pace);
    }
    rlm_amx_sums_end(out);
}

/* A panel: sums [rows][32] (+)= rows of tiles x chunks of weights. */
typedef struct dense_product {
    const uint8_t *a, *b; /* rows as tiles, panel */
    int rows, depth;      /* depth: chunks */
    bool narrow, add;     /* add: to what sums hold */
    float *sums;          /* [rows][32] */
    /* The panel that is wanted after this one met `all` rows, of which these begin at `at`: each
     * asks for its part of it. NULL: none. */
    const uint8_t *next;
    int at, all;
} dense_product;

/* leaving: what still leaves, or NULL; it gets these sums in its place, for out, unless that is
 * NULL. What is left at the end is the caller's to send off. */
static inline void dense_panel_out(const dense_product *p, dense_leaving *leaving,
                                   const dense_out *out)
{
    size_t tile = (size_t)p->depth * RLM_AMX_TILE;
    int lines = p->next ? rlm_div_up(2 * RLM_AMX_TILE / 64, rlm_div_up(p->all, 32)) : 0;
    int segment = rlm_div_up(p->depth, rlm_div_up(p->depth, DENSE_SEGMENT));
    for (int k = 0; k < p->depth; k += segment) {
        int run = p->depth - k < segment ? p->depth - k : segment;
        const uint8_t *b = p->b + (size_t)k * 2 * RLM_AMX_TILE;
        for (int r = 0; r < p->rows; r += 32) {
            const uint8_t *a0 = p->a + (size_t)(r / 16) * tile + (size_t)k * RLM_AMX_TILE;
            const uint8_t *a1 = r + 16 < p->rows ? a0 + tile : a0;
            const uint8_t *ahead = p->next + (size_t)((p->at + r) / 32 * p->depth + k) * lines * 64;
            float *sums = p->sums + r * 32;
            dense_block(a0, a1, b, run, p->narrow, p->add || k > 0, sums, ahead, lines, leaving);
            if (!out || k + run < p->depth)
                continue;
            *leaving = (dense_leaving){*out, sums, p->rows - r < 32 ? p->rows - r : 32};
            leaving->to.y += (size_t)r * out->ldy;
            if (out->residual)
                leaving->to.residual += (size_t)r * out->ldy;
            if (p->rows <= 32) /* the next panel's sums may take this place */
                dense_leave(leaving, 32);
        }
    }
}

static inline void dense_panel(const uint8_t *a, int rows, const uint8_t *b, int depth, bool narrow,
                               bool add, float *sums, const uint8_t *next, int at, int all)
{
    dense_product p = {a, b, rows, depth, narrow, add, sums, next, at, all};
    dense_panel_out(&p, NULL, NULL);
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
