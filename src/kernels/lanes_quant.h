/* Products with quantised weights in integers, what every level does the same way: rows of x become
 * int8 once, then panels of 32 columns are taken in turn. A level says how a group of x is rounded,
 * how a panel is multiplied and for how many rows at once. */
#ifndef RLM_KERNELS_LANES_QUANT_H
#define RLM_KERNELS_LANES_QUANT_H

#include "src/kernels/lanes.h"
#include "src/kernels/quant.h"

enum { QUANT_CHUNK = 131072 }; /* bytes of weights a slice */

/* y [m][n] = from [m][k] times the packing, + bias + residual (NULL: none). */
typedef struct quant_job {
    int bits, m, n, k;
    const float *from;
    const uint8_t *pack;
    const float *bias, *residual;
    float *y;
    rlm_quant_x x; /* `from` in int8 */
} quant_job;

/* n <= group values, the rest 0, as int8 in steps of top / 127; returns their sum. */
typedef int32_t (*quant_round_fn)(const float *x, int n, int group, float inverse, int8_t *out);
/* The largest magnitude of n values. */
typedef float (*quant_top_fn)(const float *x, int n);

/* Rows [begin, end) of x; the functions are constants, so that they are inlined. */
RLM_INLINE void quant_rows(const quant_job *j, int64_t begin, int64_t end, quant_top_fn top_of,
                           quant_round_fn round)
{
    int group = rlm_quant_group(j->bits), groups = rlm_quant_groups(j->bits, j->k);
    for (int64_t item = begin * groups; item < end * groups; item++) {
        int from = (int)(item % groups) * group;
        const float *x = j->from + item / groups * j->k + from;
        int n = j->k - from < group ? j->k - from : group;
        float top = top_of(x, n);
        bool tiny = top < 1e-30f;
        j->x.sum[item] = round(x, n, group, tiny ? 0.0f : 127.0f / top, j->x.q8 + item * group);
        j->x.scale[item] = tiny ? 0.0f : top / 127.0f;
    }
}

/* sums [m][32] of rows [row, row + m) of x times a panel. */
typedef void (*quant_sums_fn)(int bits, int m, const uint8_t *panel, int groups,
                              const rlm_quant_x *x, int64_t row, float *sums);

/* Row `row` of y from `column` on: the sums of a panel, bias and residual. */
RLM_INLINE void quant_finish(const quant_job *j, int64_t row, int column, const float *sums)
{
    for (int c = column; c < column + 32 && c < j->n; c += V_LANES, sums += V_LANES) {
        int64_t at = row * j->n + c;
        v_mask m = v_tail(j->n - c);
        v_f32 v = v_read(sums);
        if (j->bias)
            v = v_add(v, v_load(j->bias + c, m));
        if (j->residual)
            v = v_add(v, v_load(j->residual + at, m));
        v_store(j->y + at, m, v);
    }
}

enum { QUANT_ROWS = 8 }; /* rows at once, at most */

/* Panels [begin, end), `rows` of x at a time. */
RLM_INLINE void quant_panels(const quant_job *j, int64_t begin, int64_t end, int rows,
                             quant_sums_fn sums_of)
{
    int groups = rlm_quant_groups(j->bits, j->k);
    _Alignas(64) float sums[QUANT_ROWS * 32];
    for (int64_t p = begin; p < end; p++) {
        const uint8_t *panel = j->pack + (size_t)p * (size_t)groups * rlm_quant_block(j->bits);
        for (int row = 0; row < j->m; row += rows) {
            int m = j->m - row < rows ? j->m - row : rows;
            sums_of(j->bits, m, panel, groups, &j->x, row, sums);
            for (int i = 0; i < m; i++)
                quant_finish(j, row + i, (int)p * 32, sums + 32 * i);
        }
    }
}

/* The whole product; x lies in scratch of the team that lives until the next one. */
RLM_INLINE void quant_product(rlm_par *par, quant_job *j, rlm_par_fn rows, rlm_par_fn panels)
{
    int count = rlm_quant_panels(j->n), threads = rlm_par_threads(par);
    size_t bytes = rlm_quant_block(j->bits) * (size_t)rlm_quant_groups(j->bits, j->k);
    int grain = (int)(QUANT_CHUNK / bytes) + 1, share = (count + threads - 1) / threads;
    void *memory = rlm_par_scratch(par, 0, 3, rlm_quant_x_bytes(j->bits, j->m, j->k));
    j->x = rlm_quant_x_at(j->bits, j->m, j->k, memory);
    rlm_par_for(par, j->m, v_row_grain(j->k), rows, j);
    rlm_par_for(par, count, grain < share ? grain : share, panels, j);
}

#endif
