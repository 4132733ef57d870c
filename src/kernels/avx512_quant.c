/* AVX-512 VNNI: products with quantised weights. Rows of x become int8 once; then each panel of 32
 * columns is streamed once for up to 8 rows, which is what decoding needs: 64 multiply-adds an
 * instruction, so memory is what binds. More rows meet a panel while it is in the cache. */
#include "src/kernels/avx512_quant.h"
#include "src/kernels/lanes_quant.h"

enum {
    ROWS = 8,
    AHEAD = 2048 /* bytes of weights asked for in advance */
};

/* ---- Rows of x ------------------------------------------------------------------------------ */

RLM_INLINE int32_t round_group(const float *x, int n, int group, float inverse, int8_t *out)
{
    __m512i sum = _mm512_setzero_si512();
    for (int i = 0; i < group; i += 16) {
        __m512 v = i < n ? v_load(x + i, v_tail(n - i)) : _mm512_setzero_ps();
        __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(v, v_set(inverse)));
        q = _mm512_max_epi32(q, _mm512_set1_epi32(-128)); /* no number: as it is stored */
        sum = _mm512_add_epi32(sum, q);
        _mm_store_si128((__m128i *)(void *)(out + i), _mm512_cvtsepi32_epi8(q));
    }
    return _mm512_reduce_add_epi32(sum);
}

static void rows_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    quant_rows(ctx, begin, end, v_top, round_group);
}

/* ---- Panels --------------------------------------------------------------------------------- */

/* One group of `m` rows of x: 4 values at r = 0.. are one broadcast. Row stride in bytes. */
typedef struct group_x {
    const int8_t *q8;
    size_t stride;
} group_x;

RLM_INLINE __m512i quad(const group_x *x, int row, int r)
{
    int32_t four;
    memcpy(&four, x->q8 + (size_t)row * x->stride + 4 * r, 4);
    return _mm512_set1_epi32(four);
}

/* acc [m][2] += 8-bit group: 32 runs of four k. */
RLM_INLINE void group_8(int m, const uint8_t *w, const group_x *x, __m512i acc[][2])
{
    for (int r = 0; r < 32; r++, w += 128) {
        _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
        _mm_prefetch((const char *)w + AHEAD + 64, _MM_HINT_T0);
        __m512i w0 = _mm512_load_si512(w), w1 = _mm512_load_si512(w + 64);
        for (int i = 0; i < m; i++) {
            __m512i v = quad(x, i, r);
            acc[i][0] = _mm512_dpbusd_epi32(acc[i][0], w0, v);
            acc[i][1] = _mm512_dpbusd_epi32(acc[i][1], w1, v);
        }
    }
}

/* The same for 4 bits: rows r and r + 4 share bytes. */
RLM_INLINE void group_4(int m, const uint8_t *w, const group_x *x, __m512i acc[][2])
{
    const __m512i low = _mm512_set1_epi8(15);
    _mm_prefetch((const char *)w + AHEAD - 64, _MM_HINT_T0);
    for (int r = 0; r < 4; r++, w += 128) {
        _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
        _mm_prefetch((const char *)w + AHEAD + 64, _MM_HINT_T0);
        __m512i w0 = _mm512_load_si512(w), w1 = _mm512_load_si512(w + 64);
        __m512i l0 = _mm512_and_si512(w0, low), l1 = _mm512_and_si512(w1, low);
        __m512i h0 = _mm512_and_si512(_mm512_srli_epi16(w0, 4), low);
        __m512i h1 = _mm512_and_si512(_mm512_srli_epi16(w1, 4), low);
        for (int i = 0; i < m; i++) {
            __m512i v = quad(x, i, r), u = quad(x, i, r + 4);
            acc[i][0] = _mm512_dpbusd_epi32(acc[i][0], l0, v);
            acc[i][1] = _mm512_dpbusd_epi32(acc[i][1], l1, v);
            acc[i][0] = _mm512_dpbusd_epi32(acc[i][0], h0, u);
            acc[i][1] = _mm512_dpbusd_epi32(acc[i][1], h1, u);
        }
    }
}

/* y [m][32] = rows [row, row + m) of x times a panel. bits and m are constants where it counts. */
RLM_INLINE void panel(int bits, int m, const uint8_t *block, int groups, const rlm_quant_x *x,
                      int64_t row, float *y)
{
    const int group = rlm_quant_group(bits), zero = bits == 8 ? 128 : 8;
    __m512 sum[ROWS][2];
    for (int i = 0; i < m; i++)
        sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    for (int g = 0; g < groups; g++, block += rlm_quant_block(bits)) {
        __m512i acc[ROWS][2];
        int64_t at = row * groups + g;
        group_x gx = {x->q8 + at * group, (size_t)groups * (size_t)group};
        for (int i = 0; i < m; i++)
            acc[i][0] = acc[i][1] = _mm512_set1_epi32(-zero * x->sum[at + i * groups]);
        if (bits == 8)
            group_8(m, block + 128, &gx, acc);
        else
            group_4(m, block + 64, &gx, acc);
        __m512 s0 = rlm_quant_scales(bits, block, 0), s1 = rlm_quant_scales(bits, block, 1);
        for (int i = 0; i < m; i++) {
            __m512 f = v_set(x->scale[at + i * groups]);
            sum[i][0] =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[i][0]), _mm512_mul_ps(s0, f), sum[i][0]);
            sum[i][1] =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[i][1]), _mm512_mul_ps(s1, f), sum[i][1]);
        }
    }
    for (int i = 0; i < m; i++) {
        _mm512_store_ps(y + 32 * i, sum[i][0]);
        _mm512_store_ps(y + 32 * i + 16, sum[i][1]);
    }
}

typedef void (*panel_fn)(const uint8_t *block, int groups, const rlm_quant_x *x, int64_t row,
                         float *y);
#define PANEL(bits, m)                                                                             \
    static void panel_##bits##_##m(const uint8_t *block, int groups, const rlm_quant_x *x,         \
                                   int64_t row, float *y)                                          \
    {                                                                                              \
        panel(bits, m, block, groups, x, row, y);                                                  \
    }
PANEL(8, 1)
PANEL(8, 2)
PANEL(8, 3)
PANEL(8, 4)
PANEL(8, 5)
PANEL(8, 6)
PANEL(8, 7)
PANEL(8, 8)
PANEL(4, 1)
PANEL(4, 2)
PANEL(4, 3)
PANEL(4, 4)
PANEL(4, 5)
PANEL(4, 6)
PANEL(4, 7)
PANEL(4, 8)
static const panel_fn panels[2][ROWS] = {
    {panel_8_1, panel_8_2, panel_8_3, panel_8_4, panel_8_5, panel_8_6, panel_8_7, panel_8_8},
    {panel_4_1, panel_4_2, panel_4_3, panel_4_4, panel_4_5, panel_4_6, panel_4_7, panel_4_8}};

/* ---- The product ---------------------------------------------------------------------------- */

RLM_INLINE void panel_sums(int bits, int m, const uint8_t *block, int groups, const rlm_quant_x *x,
                           int64_t row, float *y)
{
    panels[bits == 4][m - 1](block, groups, x, row, y);
}

static void panels_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    quant_panels(ctx, begin, end, ROWS, panel_sums);
}

void rlm_avx512_linear_quant(rlm_par *par, int bits, int m, int n, int k, const float *x,
                             const void *quant, const float *bias, const float *residual, float *y)
{
    quant_job j = {bits, m, n, k, x, quant, bias, residual, y};
    quant_product(par, &j, rows_fn, panels_fn);
}

void V_NAME(quant)(rlm_kernels *k)
{
    k->linear_quant = rlm_avx512_linear_quant;
}
