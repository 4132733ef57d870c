/* Attention on AMX tiles: conversions of one head's rows to bf16 operands.
 *
 * Row r of a head is `dim` floats, or bf16 values, at x + r * stride; rows at or past `rows` count
 * as zeros. `n` rows (a multiple of 32) are written. A tile is 16 rows of 64 bytes. Forms:
 *
 *   plain  [n][dim]                                  A operand, contraction over dim
 *   pairs  [n/16][dim/32][16 dim pairs][16 rows][2]  B operand, contraction over dim
 *   mixed  [n/32][dim/16][16 row pairs][16 dims][2]  B operand, contraction over rows
 *   turned [n/32][dim][32 rows]                      A operand, contraction over rows */
#ifndef RLM_KERNELS_AMX_ATTENTION_H
#define RLM_KERNELS_AMX_ATTENTION_H

#include "src/kernels/amx.h"

enum { ATT_MAX_DIM = 128 };

static inline bool att_dim_ok(int dim)
{
    return dim == 32 || dim == 64 || dim == 128;
}

/* The compiler may not move plain stores past tile loads: gcc's tile loads name no memory. */
RLM_INLINE void att_fence(void)
{
    __asm__ volatile("" ::: "memory");
}

/* 32 floats times scale as bf16. */
RLM_INLINE __m512i att_cvt(const float *x, __m512 scale)
{
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_mul_ps(_mm512_loadu_ps(x + 16), scale),
                                        _mm512_mul_ps(_mm512_loadu_ps(x), scale));
}

/* Source of a conversion. */
typedef struct att_rows {
    const void *x;
    int64_t stride;
    int rows, n, dim;
    float scale; /* of floats; bf16 values pass as they are */
    bool half;   /* x is bf16 */
} att_rows;

/* Values [at, at + 32) of x as bf16. Rows of a head lie pages apart, which no hardware foresees:
 * the values that lie 32 rows behind them are asked for. */
RLM_INLINE __m512i att_load(const att_rows *a, int64_t at, __m512 scale)
{
    if (a->half) {
        const uint16_t *x = (const uint16_t *)a->x + at;
        _mm_prefetch((const char *)(x + 32 * a->stride), _MM_HINT_T0);
        return _mm512_loadu_si512(x);
    }
    const float *x = (const float *)a->x + at;
    _mm_prefetch((const char *)(x + 32 * a->stride), _MM_HINT_T0);
    _mm_prefetch((const char *)(x + 32 * a->stride + 16), _MM_HINT_T0);
    return att_cvt(x, scale);
}

/* Rows of the same kind `count` values further on. */
RLM_INLINE att_rows att_behind(const att_rows *a, int64_t count)
{
    att_rows b = *a;
    b.x = v_at(a->half, a->x, count);
    return b;
}

static inline void att_plain(const att_rows *a, uint16_t *out)
{
    __m512 scale = v_set(a->scale);
    for (int r = 0; r < a->n; r++, out += a->dim) {
        if (r < a->rows) {
            for (int d = 0; d < a->dim; d += 32)
                _mm512_storeu_si512(out + d, att_load(a, r * a->stride + d, scale));
        } else {
            memset(out, 0, (size_t)a->dim * sizeof *out);
        }
    }
}

static inline void att_pairs(const att_rows *a, uint16_t *out)
{
    __m512 scale = v_set(a->scale);
    for (int r = 0; r < a->n; r += 16) {
        for (int d = 0; d < a->dim; d += 32, out += 512) {
            __m512i t[16];
            for (int i = 0; i < 16; i++) {
                t[i] = _mm512_setzero_si512();
                if (r + i < a->rows)
                    t[i] = att_load(a, (r + i) * a->stride + d, scale);
            }
            v_transpose16(t);
            for (int i = 0; i < 16; i++)
                _mm512_storeu_si512(out + i * 32, t[i]);
        }
    }
}

/* Of two rows of 32 bf16 values, which of them pair 16 columns from `first` on. */
RLM_INLINE __m512i att_pairs_of(int first)
{
    __m512i order = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,
                                     39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    return _mm512_add_epi16(order, _mm512_set1_epi16((short)first));
}

static inline void att_mixed(const att_rows *a, uint16_t *out)
{
    __m512 scale = v_set(a->scale);
    __m512i lo = att_pairs_of(0), hi = att_pairs_of(16);
    for (int r = 0; r < a->n; r += 32) {
        for (int d = 0; d < a->dim; d += 32, out += 1024) {
            for (int i = 0; i < 32; i += 2) {
                int64_t at = (r + i) * a->stride + d;
                __m512i u = _mm512_setzero_si512(), v = u;
                if (r + i < a->rows)
                    u = att_load(a, at, scale);
                if (r + i + 1 < a->rows)
                    v = att_load(a, at + a->stride, scale);
                _mm512_storeu_si512(out + i * 16, _mm512_permutex2var_epi16(u, lo, v));
                _mm512_storeu_si512(out + 512 + i * 16, _mm512_permutex2var_epi16(u, hi, v));
            }
        }
    }
}

/* From the pairs form of the same rows. */
static inline void att_turned(const uint16_t *pairs, int n, int dim, uint16_t *out)
{
    for (int r = 0; r < n; r += 32, out += 32 * dim) {
        const uint16_t *lo = pairs + (int64_t)r * dim, *hi = lo + 16 * dim;
        for (int d = 0; d < dim; d += 2) {
            __m512i a = _mm512_loadu_si512(lo + d * 16), b = _mm512_loadu_si512(hi + d * 16);
            uint16_t *row = out + d * 32;
            _mm256_storeu_si256((__m256i *)row, _mm512_cvtepi32_epi16(a));
            _mm256_storeu_si256((__m256i *)(row + 16), _mm512_cvtepi32_epi16(b));
            _mm256_storeu_si256((__m256i *)(row + 32),
                                _mm512_cvtepi32_epi16(_mm512_srli_epi32(a, 16)));
            _mm256_storeu_si256((__m256i *)(row + 48),
                                _mm512_cvtepi32_epi16(_mm512_srli_epi32(b, 16)));
        }
    }
}

/* Tiles 0..3 (2 x 2) += A (two tile rows at a, a + 16 lda; chunk i at a + i * step_a) times B (two
 * tiles at b, b + next_b; chunk i at b + i * step_b), all in bytes. */
RLM_INLINE void att_product(const void *a, size_t lda, size_t step_a, const void *b, size_t next_b,
                            size_t step_b, int chunks)
{
    const uint8_t *pa = a, *pb = b;
    for (int i = 0; i < chunks; i++, pa += step_a, pb += step_b) {
        _tile_loadd(4, pa, lda);
        _tile_loadd(6, pb, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, pb + next_b, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, pa + 16 * lda, lda);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}
RLM_INLINE void att_tiles_zero(void)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}
/* c: 32 x 32 floats, row stride ld floats. */
RLM_INLINE void att_tiles_load(const float *c, int64_t ld)
{
    _tile_loadd(0, c, ld * 4);
    _tile_loadd(1, c + 16, ld * 4);
    _tile_loadd(2, c + 16 * ld, ld * 4);
    _tile_loadd(3, c + 16 * ld + 16, ld * 4);
}
RLM_INLINE void att_tiles_store(float *c, int64_t ld)
{
    _tile_stored(0, c, ld * 4);
    _tile_stored(1, c + 16, ld * 4);
    _tile_stored(2, c + 16 * ld, ld * 4);
    _tile_stored(3, c + 16 * ld + 16, ld * 4);
}

#endif
