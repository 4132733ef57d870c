/* Levels without VNNI: products with quantised weights, in integers of 8 bits summed in pairs. Up
 * to 4 rows of x meet a panel at once. */
#include "src/kernels/lanes_quant.h"

enum { ROWS = 4, AHEAD = 1024 };

/* ---- Rows of x ------------------------------------------------------------------------------ */

/* The largest magnitude; NaN is above all. */
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

RLM_INLINE int32_t round_group(const float *x, int n, int group, float inverse, int8_t *out)
{
    int32_t q[V_LANES], sum = 0;
    for (int i = 0; i < group; i += V_LANES) {
        v_f32 v = i < n ? v_load(x + i, v_tail(n - i)) : v_zero();
        v_write_i32(q, v_to_i32(v_mul(v, v_set(inverse))));
        for (int l = 0; l < V_LANES; l++) {
            out[i + l] = (int8_t)q[l];
            sum += (int8_t)q[l];
        }
    }
    return sum;
}

static void rows_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    quant_rows(ctx, begin, end, group_top, round_group);
}

/* ---- Panels --------------------------------------------------------------------------------- */

/* A tile: m rows of x by `wide` vectors of a panel's 32 columns, as many sums as half of the
 * registers hold; m, wide and bits are constants in each call. */
enum { VECTORS = 32 / V_LANES, SUMS = V_REGISTERS / 2 };

/* acc [m][wide] += one group's products: 8 bits, */
RLM_INLINE void group_8(int m, int wide, const uint8_t *w, const int8_t *x, size_t stride,
                        v_i32 acc[ROWS][VECTORS])
{
    for (int r = 0; r < 32; r++, w += 128)
        for (int v = 0; v < wide; v++) {
            const uint8_t *from = w + 4 * V_LANES * v;
            if (4 * V_LANES * v % 64 == 0)
                __builtin_prefetch(from + AHEAD);
            v_i32 a = v_flip(v_load_i32(from, V_ALL));
            for (int i = 0; i < m; i++)
                acc[i][v] = v_dot(acc[i][v], a, v_quad(x + (size_t)i * stride + 4 * r));
        }
}

/* or 4: values 0..15. */
RLM_INLINE void group_4(int m, int wide, const uint8_t *w, const int8_t *x, size_t stride,
                        v_i32 acc[ROWS][VECTORS])
{
    for (int r = 0; r < 4; r++, w += 128)
        for (int v = 0; v < wide; v++) {
            const uint8_t *from = w + 4 * V_LANES * v;
            if (4 * V_LANES * v % 64 == 0)
                __builtin_prefetch(from + AHEAD);
            v_i32 a = v_load_i32(from, V_ALL);
            for (int i = 0; i < m; i++) {
                const int8_t *at = x + (size_t)i * stride + 4 * r;
                acc[i][v] = v_dot4(acc[i][v], a, v_quad(at), v_quad(at + 16));
            }
        }
}

/* Columns [at, at + wide V_LANES) of a panel. */
RLM_INLINE void columns(int bits, int m, int wide, const uint8_t *panel, int groups,
                        const rlm_quant_x *x, int64_t row, int at, float *y)
{
    const int group = rlm_quant_group(bits);
    v_f32 sum[ROWS][VECTORS];
    for (int i = 0; i < m; i++)
        for (int v = 0; v < wide; v++)
            sum[i][v] = v_zero();
    for (int g = 0; g < groups; g++, panel += rlm_quant_block(bits)) {
        int64_t place = row * groups + g;
        const int8_t *q8 = x->q8 + place * group;
        const void *scales = panel;
        v_i32 acc[ROWS][VECTORS];
        for (int i = 0; i < m; i++)
            for (int v = 0; v < wide; v++)
                acc[i][v] = v_set_i32(bits == 8 ? 0 : -8 * x->sum[place + (int64_t)i * groups]);
        if (bits == 8)
            group_8(m, wide, panel + 128 + 4 * at, q8, (size_t)groups * (size_t)group, acc);
        else
            group_4(m, wide, panel + 64 + 4 * at, q8, (size_t)groups * (size_t)group, acc);
        for (int v = 0; v < wide; v++) {
            v_f32 scale = v_of(bits == 4, scales, at + V_LANES * v, V_ALL);
            for (int i = 0; i < m; i++) {
                v_f32 both = v_mul(scale, v_set(x->scale[place + (int64_t)i * groups]));
                sum[i][v] = v_fma(v_of_i32(acc[i][v]), both, sum[i][v]);
            }
        }
    }
    for (int i = 0; i < m; i++)
        for (int v = 0; v < wide; v++)
            v_write(y + 32 * i + at + V_LANES * v, sum[i][v]);
}

/* y [m][32]. */
RLM_INLINE void panel_rows(int bits, int m, const uint8_t *panel, int groups, const rlm_quant_x *x,
                           int64_t row, float *y)
{
    const int most = m == 1 ? SUMS : m == 2 ? SUMS / 2 : SUMS / 4;
    const int wide = most < VECTORS ? most : VECTORS;
    for (int at = 0; at < 32; at += wide * V_LANES)
        columns(bits, m, wide, panel, groups, x, row, at, y);
}

RLM_INLINE void by_rows(int bits, int m, const uint8_t *panel, int groups, const rlm_quant_x *x,
                        int64_t row, float *y)
{
    switch (m) {
    case 1:
        panel_rows(bits, 1, panel, groups, x, row, y);
        break;
    case 2:
        panel_rows(bits, 2, panel, groups, x, row, y);
        break;
    case 3:
        panel_rows(bits, 3, panel, groups, x, row, y);
        break;
    default:
        panel_rows(bits, ROWS, panel, groups, x, row, y);
    }
}

RLM_INLINE void panel_sums(int bits, int m, const uint8_t *panel, int groups, const rlm_quant_x *x,
                           int64_t row, float *y)
{
    if (bits == 8)
        by_rows(8, m, panel, groups, x, row, y);
    else
        by_rows(4, m, panel, groups, x, row, y);
}

static void panels_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    quant_panels(ctx, begin, end, ROWS, panel_sums);
}

static void linear_quant(rlm_par *par, int bits, int m, int n, int k, const float *x,
                         const void *quant, const float *bias, const float *residual, float *y)
{
    quant_job j = {bits, m, n, k, x, quant, bias, residual, y};
    quant_product(par, &j, rows_fn, panels_fn);
}

void V_NAME(quant)(rlm_kernels *k)
{
    k->linear_quant = linear_quant;
}
