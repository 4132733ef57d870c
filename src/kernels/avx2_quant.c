/* AVX2: products with quantised weights, in integers of 8 bits summed in pairs. Up to 4 rows of x
 * meet a panel at once. */
#include "src/kernels/avx.h"
#include "src/kernels/quant.h"

enum { ROWS = 4, AHEAD = 1024 };

/* ---- Rows of x ------------------------------------------------------------------------------ */

typedef struct rows_job {
    int bits, k;
    const float *x;
    rlm_quant_x q;
} rows_job;

/* Compared as integers, so that a NaN is the largest of all. */
static float group_top(const float *x, int n)
{
    __m256i top = _mm256_setzero_si256(), magnitude = _mm256_set1_epi32(0x7fffffff);
    int32_t lane[8], best = 0;
    float f;
    for (int i = 0; i < n; i += 8) {
        __m256i v = _mm256_castps_si256(v_load(x + i, v_tail(n - i)));
        top = _mm256_max_epi32(top, _mm256_and_si256(v, magnitude));
    }
    _mm256_storeu_si256((__m256i *)(void *)lane, top);
    for (int i = 0; i < 8; i++)
        best = lane[i] > best ? lane[i] : best;
    memcpy(&f, &best, 4);
    return f;
}

static void rows_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rows_job *j = ctx;
    int group = rlm_quant_group(j->bits), groups = rlm_quant_groups(j->bits, j->k);
    (void)worker;
    for (int64_t item = begin * groups; item < end * groups; item++) {
        int from = (int)(item % groups) * group;
        const float *x = j->x + item / groups * j->k + from;
        int n = j->k - from < group ? j->k - from : group;
        float top = group_top(x, n);
        bool tiny = top < 1e-30f;
        __m256 inverse = v_set(tiny ? 0.0f : 127.0f / top);
        int8_t *out = j->q.q8 + item * group;
        int32_t q[8], sum = 0;
        for (int i = 0; i < group; i += 8) {
            __m256 v = i < n ? v_load(x + i, v_tail(n - i)) : _mm256_setzero_ps();
            _mm256_storeu_si256((__m256i *)(void *)q,
                                _mm256_cvtps_epi32(_mm256_mul_ps(v, inverse)));
            for (int l = 0; l < 8; l++) {
                out[i + l] = (int8_t)q[l];
                sum += (int8_t)q[l];
            }
        }
        j->q.scale[item] = tiny ? 0.0f : top / 127.0f;
        j->q.sum[item] = sum;
    }
}

/* ---- Panels --------------------------------------------------------------------------------- */

RLM_INLINE __m256i quad(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, 4);
    return _mm256_set1_epi32(four);
}

/* acc += sums of four products of w (signed) and v. */
RLM_INLINE __m256i add_signed(__m256i acc, __m256i w, __m256i v)
{
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(v), _mm256_sign_epi8(w, v));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* Eight columns (quarter of the panel) of one group, `m` rows: acc [m]. */
RLM_INLINE void group_8(int m, const uint8_t *w, const int8_t *x, size_t stride, __m256i *acc)
{
    const __m256i flip = _mm256_set1_epi8((char)0x80);
    for (int r = 0; r < 32; r++, w += 128) {
        _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
        __m256i v = _mm256_xor_si256(_mm256_load_si256((const __m256i *)(const void *)w), flip);
        for (int i = 0; i < m; i++)
            acc[i] = add_signed(acc[i], v, quad(x + (size_t)i * stride + 4 * r));
    }
}

/* 4 bits: values 0..15 times x, summed in 16 bits (eight products of at most 15 * 127). */
RLM_INLINE void group_4(int m, const uint8_t *w, const int8_t *x, size_t stride, __m256i *acc)
{
    const __m256i low = _mm256_set1_epi8(15), one = _mm256_set1_epi16(1);
    for (int r = 0; r < 4; r++, w += 128) {
        _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
        __m256i v = _mm256_load_si256((const __m256i *)(const void *)w);
        __m256i l = _mm256_and_si256(v, low);
        __m256i h = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
        for (int i = 0; i < m; i++) {
            const int8_t *at = x + (size_t)i * stride + 4 * r;
            __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(l, quad(at)),
                                             _mm256_maddubs_epi16(h, quad(at + 16)));
            acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(pairs, one));
        }
    }
}

RLM_INLINE void quarter(int bits, int m, const uint8_t *panel, int groups, const rlm_quant_x *x,
                        int64_t row, int at, float *y)
{
    const int group = rlm_quant_group(bits);
    __m256 sum[ROWS];
    for (int i = 0; i < m; i++)
        sum[i] = _mm256_setzero_ps();
    for (int g = 0; g < groups; g++, panel += rlm_quant_block(bits)) {
        int64_t place = row * groups + g;
        const int8_t *q8 = x->q8 + place * group;
        __m256i acc[ROWS];
        __m256 scale;
        for (int i = 0; i < m; i++)
            acc[i] = bits == 8 ? _mm256_setzero_si256()
                               : _mm256_set1_epi32(-8 * x->sum[place + (int64_t)i * groups]);
        if (bits == 8) {
            scale = _mm256_load_ps((const float *)(const void *)(panel + 32 * at));
            group_8(m, panel + 128 + 32 * at, q8, (size_t)groups * (size_t)group, acc);
        } else {
            scale = v_unbf16((const uint16_t *)(const void *)(panel + 16 * at), 8);
            group_4(m, panel + 64 + 32 * at, q8, (size_t)groups * (size_t)group, acc);
        }
        for (int i = 0; i < m; i++)
            sum[i] = _mm256_fmadd_ps(
                _mm256_cvtepi32_ps(acc[i]),
                _mm256_mul_ps(scale, v_set(x->scale[place + (int64_t)i * groups])), sum[i]);
    }
    for (int i = 0; i < m; i++)
        _mm256_store_ps(y + 32 * i + 8 * at, sum[i]);
}

/* y [m][32]; the number of rows is a constant in each call. */
RLM_INLINE void panel_rows(int bits, int m, const uint8_t *panel, int groups, const rlm_quant_x *x,
                           int64_t row, float *y)
{
    for (int at = 0; at < 4; at++)
        switch (m) {
        case 1:
            quarter(bits, 1, panel, groups, x, row, at, y);
            break;
        case 2:
            quarter(bits, 2, panel, groups, x, row, at, y);
            break;
        case 3:
            quarter(bits, 3, panel, groups, x, row, at, y);
            break;
        default:
            quarter(bits, ROWS, panel, groups, x, row, at, y);
        }
}

/* ---- The product ---------------------------------------------------------------------------- */

typedef struct quant_job {
    int bits, m, n, k;
    rlm_quant_x x;
    const uint8_t *pack;
    const float *bias, *residual;
    float *y;
} quant_job;

static void finish(const quant_job *j, int64_t row, int column, const float *from)
{
    for (int c = column; c < column + 32 && c < j->n; c++, from++) {
        int64_t at = row * j->n + c;
        float v = *from + (j->bias ? j->bias[c] : 0.0f);
        j->y[at] = v + (j->residual ? j->residual[at] : 0.0f);
    }
}

static void quant_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const quant_job *j = ctx;
    int groups = rlm_quant_groups(j->bits, j->k);
    _Alignas(64) float y[ROWS * 32];
    (void)worker;
    for (int64_t p = begin; p < end; p++) {
        const uint8_t *panel = j->pack + (size_t)p * (size_t)groups * rlm_quant_block(j->bits);
        for (int row = 0; row < j->m; row += ROWS) {
            int m = j->m - row < ROWS ? j->m - row : ROWS;
            if (j->bits == 8)
                panel_rows(8, m, panel, groups, &j->x, row, y);
            else
                panel_rows(4, m, panel, groups, &j->x, row, y);
            for (int i = 0; i < m; i++)
                finish(j, row + i, (int)p * 32, y + 32 * i);
        }
    }
}

static void linear_quant(rlm_par *par, int bits, int m, int n, int k, const float *x,
                         const void *quant, const float *bias, const float *residual, float *y)
{
    void *memory = rlm_par_scratch(par, 0, 3, rlm_quant_x_bytes(bits, m, k));
    rlm_quant_x q = rlm_quant_x_at(bits, m, k, memory);
    rows_job rows = {bits, k, x, q};
    quant_job j = {bits, m, n, k, q, quant, bias, residual, y};
    rlm_par_for(par, m, v_row_grain(k), rows_fn, &rows);
    rlm_par_for(par, rlm_quant_panels(n), 1 + 131072 / (32 * k), quant_fn, &j);
}

void RLM_AVX(quant)(rlm_kernels *k)
{
    k->linear_quant = linear_quant;
}
