/* Levels without VNNI: products with quantised weights, in integers of 8 bits summed in pairs. Up
 * to 4 rows of x meet a panel at once. */
#include "src/kernels/lanes.h"
#include "src/kernels/quant.h"

enum { ROWS = 4, AHEAD = 1024 };

/* ---- Rows of x ------------------------------------------------------------------------------ */

typedef struct rows_job {
    int bits, k;
    const float *x;
    rlm_quant_x q;
} rows_job;

static float group_top(const float *x, int n)
{
    v_i32 top = v_set_i32(0);
    int32_t lane[V_LANES], best = 0;
    float f;
    for (int i = 0; i < n; i += V_LANES)
        top = v_top_magnitude(top, v_load(x + i, v_tail(n - i)));
    v_write_i32(lane, top);
    for (int i = 0; i < V_LANES; i++)
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
        v_f32 inverse = v_set(tiny ? 0.0f : 127.0f / top);
        int8_t *out = j->q.q8 + item * group;
        int32_t q[V_LANES], sum = 0;
        for (int i = 0; i < group; i += V_LANES) {
            v_f32 v = i < n ? v_load(x + i, v_tail(n - i)) : v_zero();
            v_write_i32(q, v_to_i32(v_mul(v, inverse)));
            for (int l = 0; l < V_LANES; l++) {
                out[i + l] = (int8_t)q[l];
                sum += (int8_t)q[l];
            }
        }
        j->q.scale[item] = tiny ? 0.0f : top / 127.0f;
        j->q.sum[item] = sum;
    }
}

/* ---- Panels --------------------------------------------------------------------------------- */

/* V_LANES columns of one group of a panel, `m` rows: acc [m]. */
RLM_INLINE void group_8(int m, const uint8_t *w, const int8_t *x, size_t stride, v_i32 *acc)
{
    for (int r = 0; r < 32; r++, w += 128) {
        __builtin_prefetch(w + AHEAD);
        v_i32 v = v_flip(v_load_i32(w, V_ALL));
        for (int i = 0; i < m; i++)
            acc[i] = v_dot(acc[i], v, v_quad(x + (size_t)i * stride + 4 * r));
    }
}

/* 4 bits: values 0..15 times x. */
RLM_INLINE void group_4(int m, const uint8_t *w, const int8_t *x, size_t stride, v_i32 *acc)
{
    for (int r = 0; r < 4; r++, w += 128) {
        __builtin_prefetch(w + AHEAD);
        v_i32 v = v_load_i32(w, V_ALL);
        for (int i = 0; i < m; i++) {
            const int8_t *at = x + (size_t)i * stride + 4 * r;
            acc[i] = v_dot4(acc[i], v, v_quad(at), v_quad(at + 16));
        }
    }
}

/* Columns [at, at + V_LANES) of a panel. */
RLM_INLINE void columns(int bits, int m, const uint8_t *panel, int groups, const rlm_quant_x *x,
                        int64_t row, int at, float *y)
{
    const int group = rlm_quant_group(bits);
    v_f32 sum[ROWS];
    for (int i = 0; i < m; i++)
        sum[i] = v_zero();
    for (int g = 0; g < groups; g++, panel += rlm_quant_block(bits)) {
        int64_t place = row * groups + g;
        const int8_t *q8 = x->q8 + place * group;
        v_i32 acc[ROWS];
        v_f32 scale;
        for (int i = 0; i < m; i++)
            acc[i] = v_set_i32(bits == 8 ? 0 : -8 * x->sum[place + (int64_t)i * groups]);
        if (bits == 8) {
            scale = v_read((const float *)(const void *)panel + at);
            group_8(m, panel + 128 + 4 * at, q8, (size_t)groups * (size_t)group, acc);
        } else {
            scale = v_unbf16((const uint16_t *)(const void *)panel + at, V_ALL);
            group_4(m, panel + 64 + 4 * at, q8, (size_t)groups * (size_t)group, acc);
        }
        for (int i = 0; i < m; i++)
            sum[i] = v_fma(v_of_i32(acc[i]),
                           v_mul(scale, v_set(x->scale[place + (int64_t)i * groups])), sum[i]);
    }
    for (int i = 0; i < m; i++)
        v_write(y + 32 * i + at, sum[i]);
}

/* y [m][32]; the number of rows is a constant in each call. */
RLM_INLINE void panel_rows(int bits, int m, const uint8_t *panel, int groups, const rlm_quant_x *x,
                           int64_t row, float *y)
{
    for (int at = 0; at < 32; at += V_LANES)
        switch (m) {
        case 1:
            columns(bits, 1, panel, groups, x, row, at, y);
            break;
        case 2:
            columns(bits, 2, panel, groups, x, row, at, y);
            break;
        case 3:
            columns(bits, 3, panel, groups, x, row, at, y);
            break;
        default:
            columns(bits, ROWS, panel, groups, x, row, at, y);
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

void V_NAME(quant)(rlm_kernels *k)
{
    k->linear_quant = linear_quant;
}
