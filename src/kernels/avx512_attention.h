/* f32 attention by rows of four queries: products with a transposed panel of keys, weighted sums of
 * rows. Shared by forward and backward. */
#ifndef RLM_KERNELS_AVX512_ATTENTION_H
#define RLM_KERNELS_AVX512_ATTENTION_H

#include "src/kernels/avx512.h"

enum { ATT_ROWS = 4 };

static inline int att_keys(const rlm_attention_shape *s, int64_t batch, int i)
{
    int prefix = s->prefix[batch], n = i + 1 > prefix ? i + 1 : prefix;
    return n < s->length[batch] ? n : s->length[batch];
}

/* out [dim][ld] = rows [n][dim] of stride; columns up to the next multiple of 16 are zero. */
static inline void att_turn(const float *x, int64_t stride, int n, int dim, int64_t ld, float *out)
{
    for (int d = 0; d < dim; d++) {
        for (int r = 0; r < n; r++)
            out[d * ld + r] = x[r * stride + d];
        for (int r = n; r < (n + 15) / 16 * 16; r++)
            out[d * ld + r] = 0;
    }
}

/* out [4][ld] = scale * q [4 rows][dim] . panel [dim][ld], columns [0, n). */
static inline void att_dot(const float *const q[ATT_ROWS], const float *panel, int dim, int n,
                           int64_t ld, float scale, float *out)
{
    for (int k = 0; k < n; k += 16) {
        __m512 acc[ATT_ROWS];
        for (int i = 0; i < ATT_ROWS; i++)
            acc[i] = _mm512_setzero_ps();
        for (int d = 0; d < dim; d++) {
            __m512 p = _mm512_loadu_ps(panel + d * ld + k);
            for (int i = 0; i < ATT_ROWS; i++)
                acc[i] = _mm512_fmadd_ps(p, v_set(q[i][d]), acc[i]);
        }
        for (int i = 0; i < ATT_ROWS; i++)
            _mm512_storeu_ps(out + i * ld + k, _mm512_mul_ps(acc[i], v_set(scale)));
    }
}

/* out[i] [dim] = sum over rows k < n of w[i][k] * x[k]. */
static inline void att_sum(const float *w, int64_t ld, const float *x, int64_t stride, int n,
                           int dim, float *const out[ATT_ROWS])
{
    for (int d = 0; d < dim; d += 32) {
        __mmask16 m0 = v_tail(dim - d), m1 = dim - d > 16 ? v_tail(dim - d - 16) : 0;
        __m512 a[ATT_ROWS], b[ATT_ROWS];
        for (int i = 0; i < ATT_ROWS; i++)
            a[i] = b[i] = _mm512_setzero_ps();
        for (int k = 0; k < n; k++) {
            __m512 x0 = v_load(x + k * stride + d, m0), x1 = v_load(x + k * stride + d + 16, m1);
            for (int i = 0; i < ATT_ROWS; i++) {
                __m512 p = v_set(w[i * ld + k]);
                a[i] = _mm512_fmadd_ps(p, x0, a[i]);
                b[i] = _mm512_fmadd_ps(p, x1, b[i]);
            }
        }
        for (int i = 0; i < ATT_ROWS; i++) {
            v_store(out[i] + d, m0, a[i]);
            v_store(out[i] + d + 16, m1, b[i]);
        }
    }
}

#endif
