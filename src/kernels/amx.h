/* Shared pieces of the AMX overlay: tile configuration, activation panels, the 2 x 2 tile product.
 *
 * A product is computed in blocks of 32 rows x 32 columns (four 16 x 16 f32 tiles) over K in chunks
 * of 32 bf16 values. B (weights) is packed per 32 columns: [column block][chunk][2 tiles][16
 * k-pairs] [16 columns][2], 2 KiB a chunk. A is read in place from bf16 panels: one tile row is 32
 * consecutive values; `off[chunk]` is its byte offset from the position's base. */
#ifndef RLM_KERNELS_AMX_H
#define RLM_KERNELS_AMX_H

#include "src/kernels/avx512.h"

enum { RLM_AMX_K = 32, RLM_AMX_TILE = 1024, RLM_AMX_BLOCK = 32 };

static inline int rlm_div_up(int64_t a, int64_t b)
{
    return (int)((a + b - 1) / b);
}

/* Grow a slot of every worker now: whichever of them gets work, memory is asked for only here. */
static inline void rlm_amx_room(rlm_par *par, int slot, size_t bytes)
{
    for (int w = 0; w < rlm_par_threads(par); w++)
        rlm_par_scratch(par, w, slot, bytes);
}

/* All eight tiles 16 rows x 64 bytes. The barrier keeps gcc 12 from dropping the stores to cfg. */
static inline void rlm_amx_begin(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t colsb[16];
        uint8_t rows[16];
    } cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.palette = 1;
    for (int i = 0; i < 8; i++) {
        cfg.colsb[i] = 64;
        cfg.rows[i] = 16;
    }
    __asm__ volatile("" ::"r"(&cfg) : "memory");
    _tile_loadconfig(&cfg);
}

static inline void rlm_amx_end(void)
{
    _tile_release();
}

/* The sums of a block, out [32][32], in tiles 0 to 3: from zero, or added to what out holds. */
static inline void rlm_amx_sums_begin(const float *out, bool add)
{
    if (add) {
        _tile_loadd(0, out, 128);
        _tile_loadd(1, out + 16, 128);
        _tile_loadd(2, out + 16 * 32, 128);
        _tile_loadd(3, out + 16 * 32 + 16, 128);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
}

static inline void rlm_amx_sums_end(float *out)
{
    _tile_stored(0, out, 128);
    _tile_stored(1, out + 16, 128);
    _tile_stored(2, out + 16 * 32, 128);
    _tile_stored(3, out + 16 * 32 + 16, 128);
}

/* out [32][32] (+)= A (two tiles of 16 rows at a0, a1, row stride lda bytes) x B (nk chunks). When
 * narrow, only columns 0..15 are computed. add: to what out holds. */
static inline void rlm_amx_block(const uint8_t *a0, const uint8_t *a1, size_t lda,
                                 const size_t *off, const uint8_t *b, int nk, bool narrow, bool add,
                                 float *out)
{
    rlm_amx_sums_begin(out, add);
    if (narrow) {
        for (int i = 0; i < nk; i++, b += 2 * RLM_AMX_TILE) {
            _tile_loadd(6, b, 64);
            _tile_loadd(4, a0 + off[i], lda);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(5, a1 + off[i], lda);
            _tile_dpbf16ps(2, 5, 6);
        }
    } else {
        for (int i = 0; i < nk; i++, b += 2 * RLM_AMX_TILE) {
            _tile_loadd(4, a0 + off[i], lda);
            _tile_loadd(6, b, 64);
            _tile_loadd(7, b + RLM_AMX_TILE, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(5, a1 + off[i], lda);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    rlm_amx_sums_end(out);
}

/* y rows (stride ldy) = block rows + bias + residual, n <= 32 columns; residual may be y itself.
 * far: past the caches (v_is_far). */
static inline void rlm_amx_store(const float *block, int rows, int n, const float *bias,
                                 const float *residual, float *y, size_t ldy, bool far)
{
    __mmask16 m0 = v_tail(n), m1 = v_left(n - 16);
    __m512 b0 = bias ? _mm512_maskz_loadu_ps(m0, bias) : _mm512_setzero_ps();
    __m512 b1 = bias ? _mm512_maskz_loadu_ps(m1, bias + 16) : _mm512_setzero_ps();
    for (int r = 0; r < rows; r++, block += 32, y += ldy) {
        __m512 v0 = _mm512_add_ps(_mm512_load_ps(block), b0);
        __m512 v1 = _mm512_add_ps(_mm512_load_ps(block + 16), b1);
        if (residual) {
            v0 = _mm512_add_ps(v0, _mm512_maskz_loadu_ps(m0, residual + r * ldy));
            v1 = _mm512_add_ps(v1, _mm512_maskz_loadu_ps(m1, residual + r * ldy + 16));
        }
        v_put(far, y, m0, v0);
        if (m1)
            v_put(far, y + 16, m1, v1);
    }
}

/* The same sums in bf16, bare. */
static inline void rlm_amx_store16(const float *block, int rows, int n, uint16_t *y, size_t ldy)
{
    __mmask32 m = v_tail32(n);
    for (int r = 0; r < rows; r++, block += 32, y += ldy) {
        __m512bh v = _mm512_cvtne2ps_pbh(_mm512_load_ps(block + 16), _mm512_load_ps(block));
        _mm512_mask_storeu_epi16(y, m, (__m512i)v);
    }
}

/* 32 values as bf16, past the caches if far (p is then aligned to 64). */
RLM_INLINE void v_put_bf16(bool far, uint16_t *p, __m512 lo, __m512 hi)
{
    __m512i v = (__m512i)_mm512_cvtne2ps_pbh(hi, lo);
    if (far)
        _mm512_stream_si512((__m512i *)(void *)p, v);
    else
        _mm512_storeu_si512(p, v);
}

/* n f32 -> bf16, round to nearest even. */
static inline void rlm_amx_to_bf16(const float *x, int n, uint16_t *y)
{
    int i = 0;
    for (; i + 32 <= n; i += 32) {
        __m512bh v = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(x + i));
        _mm512_storeu_si512(y + i, (__m512i)v);
    }
    for (; i < n; i += 16) {
        __mmask16 m = v_tail(n - i);
        __m256bh v = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(m, x + i));
        _mm256_mask_storeu_epi16(y + i, m, (__m256i)v);
    }
}

/* A row of k floats into its place in tiles [chunk][16][32] bf16, zeros past k; x NULL: zeros. */
static inline void rlm_amx_row(const float *x, int k, int chunks, uint8_t *tile)
{
    int c = 0;
    for (; x && c < k / 32; c++, tile += RLM_AMX_TILE)
        rlm_amx_to_bf16(x + c * 32, 32, (uint16_t *)tile);
    for (; c < chunks; c++, tile += RLM_AMX_TILE) {
        memset(tile, 0, 64);
        if (x && c == k / 32)
            rlm_amx_to_bf16(x + c * 32, k % 32, (uint16_t *)tile);
    }
}

/* Two vectors of 16 f32 as 16 pairs of bf16, lo in the lower half. */
static inline __m512i rlm_amx_pair(__m512 lo, __m512 hi)
{
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(hi, lo));
}

/* How the K axis of a convolution is cut (a function of the weight's geometry only). BLOCKED:
 * activations as [channel block of 32][position][32], chunks (block, a, b, c). MERGED (few
 * channels, dilation 1): [position][cin], the kw taps of a row are one run of kw * cin values,
 * chunks (a, b, i). */
typedef struct rlm_amx_cut {
    bool merged;
    int cblk, blocks; /* values a position holds in one block; blocks */
    int run;          /* chunks of one (a, b) row of one block */
    int chunks;       /* in all */
} rlm_amx_cut;

static inline rlm_amx_cut rlm_amx_cut_of(int cin, int kt, int kh, int kw, int dw)
{
    int blocks = rlm_div_up(cin, 32), merged_run = rlm_div_up((int64_t)kw * cin, 32);
    rlm_amx_cut c;
    c.merged = kw > 1 && dw == 1 && merged_run < kw * blocks;
    c.cblk = c.merged ? cin : 32;
    c.blocks = c.merged ? 1 : blocks;
    c.run = c.merged ? merged_run : kw;
    c.chunks = c.blocks * kt * kh * c.run;
    return c;
}

/* Axes merged where the kernel does not look around on them. */
rlm_conv_shape rlm_amx_merged(const rlm_conv_shape *shape);

/* A 1x1x1 convolution without strides: a dense product over all positions. */
static inline bool rlm_amx_is_linear(const rlm_conv_shape *s)
{
    return s->kt * s->kh * s->kw == 1 && s->st == 1 && s->sh == 1 && s->sw == 1 && s->ot == s->t &&
           s->oh == s->h && s->ow == s->w;
}

/* The convolution behind both directions, merged axes: y = product [* act'(slope)] + bias +
 * residual. up: zeros between source positions, plus one ({1, 1, 1} forward, as `saved` wants it: x
 * as seen, bf16). y16: instead of y, the bare product in bf16. Other pointers but x and pack may be
 * NULL. */
typedef struct rlm_amx_conv {
    int up[3];
    const rlm_prepare *prepare;
    const void *x;
    bool half; /* x is bf16, else f32 */
    const void *pack;
    const float *bias, *residual, *slope;
    rlm_act act;
    float *y;
    uint16_t *saved, *y16;
} rlm_amx_conv;
void rlm_amx_conv_run(rlm_par *par, const rlm_conv_shape *s, const rlm_amx_conv *c);

size_t rlm_amx_pack_bytes(const rlm_weight_geom *g, bool transposed);
void rlm_amx_pack(rlm_par *par, const rlm_weight_geom *g, const float *w, bool transposed,
                  void *out);
void rlm_amx_conv_forward(rlm_par *par, const rlm_conv_shape *s, const float *x,
                          const rlm_weight *w, const float *bias, const float *residual, float *y);
void rlm_amx_prepared_forward(rlm_par *par, const rlm_conv_shape *s, const rlm_prepare *prepare,
                              const float *x, const rlm_weight *w, const float *bias,
                              const float *residual, float *y, void *saved);
/* saved: x as seen, [n][t][h][w][cin] bf16. */
size_t rlm_amx_prepared_saved(const rlm_conv_shape *s);
void rlm_amx_prepared_backward_weight(rlm_par *par, const rlm_conv_shape *s, const void *saved,
                                      const float *dy, float *dw, float *dbias);
/* The same; half: of x, half_y: of dy: bf16, else f32. */
void rlm_amx_backward_weight(rlm_par *par, const rlm_conv_shape *s, bool half, const void *x,
                             bool half_y, const void *dy, float *dw, float *dbias);
/* conv_backward_data on AMX alone: c has x (dy), half, pack and where the product goes. */
void rlm_amx_data_run(rlm_par *par, const rlm_conv_shape *s, rlm_amx_conv *c);
void rlm_amx_conv_backward_weight(rlm_par *par, const rlm_conv_shape *s, const float *x,
                                  const float *dy, float *dw, float *dbias);
void rlm_amx_linear_forward(rlm_par *par, int m, int n, int k, const float *x, const rlm_weight *w,
                            const float *bias, const float *residual, float *y);
/* amx_rows.c: linear_forward of 1 to 32 rows without tiles; more rows go to the above. */
void rlm_amx_rows_forward(rlm_par *par, int m, int n, int k, const float *x, const rlm_weight *w,
                          const float *bias, const float *residual, float *y);
/* amx_quant.c: linear_quant of any number of rows. */
void rlm_amx_linear_quant(rlm_par *par, int bits, int m, int n, int k, const float *x,
                          const void *quant, const float *bias, const float *residual, float *y);
/* The product both directions of linear share: y = residual + bias + x B, packed B. */
void rlm_amx_gemm(rlm_par *par, int m, int n, int k, const float *x, const void *pack,
                  const float *bias, const float *residual, float *y);

/* amx_pair.c */
void rlm_kernels_amx_pair(rlm_kernels *k);

/* amx_block.c */
void rlm_kernels_amx_block(rlm_kernels *k);

/* amx_attention*.c; bf16: kernels.h's attention_bf16_forward */
void rlm_amx_attention_bf16(rlm_par *par, const rlm_attention_shape *s, const uint16_t *qkv,
                            float *y, float *lse);
void rlm_kernels_amx_attention(rlm_kernels *k);
void rlm_kernels_amx_attention_backward(rlm_kernels *k);

#endif
