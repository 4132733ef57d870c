/* Quantised weights: choosing values and scales, packing them, and the definition of the product.
 */
#include "src/kernels/quant.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/kernels/ref_kernels.h"

enum { GROUP_MAX = 128, GRAIN = 4096, TRIES = 9 };

size_t rlm_quant_bytes(int bits, int n, int k)
{
    return rlm_size_mul(rlm_size_mul((size_t)rlm_quant_panels(n), rlm_quant_block(bits)),
                        (size_t)rlm_quant_groups(bits, k));
}

/* ---- Values and scales ---------------------------------------------------------------------- */

/* q = w / scale rounded into [low, high]; returns the squared error. */
static float round_group(const float *w, int n, float scale, int low, int high, int8_t *q)
{
    float inverse = scale > 0 || scale < 0 ? 1.0f / scale : 0.0f, error = 0;
    for (int i = 0; i < n; i++) {
        float v = rintf(w[i] * inverse);
        v = v < (float)low ? (float)low : v > (float)high ? (float)high : v;
        float d = w[i] - v * scale;
        q[i] = (int8_t)v;
        error += d * d;
    }
    return error;
}

/* Scales around the one that puts the largest magnitude on -8. */
static float quantise_4(const float *w, int n, float top, int8_t *q)
{
    int8_t tried[32];
    float best = 0, least = round_group(w, n, 0, 0, 0, q);
    for (int i = 0; i < TRIES && top != 0; i++) {
        float scale = rlm_unbf16(rlm_bf16(top / (-8.0f + 0.25f * (float)i)));
        float error = round_group(w, n, scale, -8, 7, tried);
        if (error < least) {
            least = error;
            best = scale;
            memcpy(q, tried, (size_t)n);
        }
    }
    return best;
}

typedef struct quantise_job {
    int bits, k;
    const float *w;
    int8_t *q;
    float *scale;
} quantise_job;

static void quantise_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const quantise_job *j = ctx;
    int group = rlm_quant_group(j->bits), groups = rlm_quant_groups(j->bits, j->k);
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        int64_t row = item / groups, from = item % groups * group;
        int n = j->k - from < group ? (int)(j->k - from) : group;
        float w[GROUP_MAX], top = 0;
        int8_t *q = j->q + row * j->k + from;
        for (int i = 0; i < n; i++) {
            float v = j->w[row * j->k + from + i];
            w[i] = isfinite(v) && fabsf(v) >= 1e-30f ? v : 0.0f;
            top = fabsf(w[i]) > fabsf(top) ? w[i] : top;
        }
        if (j->bits == 4) {
            j->scale[item] = quantise_4(w, n, top, q);
        } else {
            j->scale[item] = fabsf(top) / 127.0f;
            round_group(w, n, j->scale[item], -127, 127, q);
        }
    }
}

void rlm_quantise(rlm_par *par, int bits, int n, int k, const float *w, int8_t *q, float *scale)
{
    quantise_job j = {bits, k, w, q, scale};
    rlm_par_for(par, (int64_t)n * rlm_quant_groups(bits, k), GRAIN / rlm_quant_group(bits),
                quantise_rows, &j);
}

/* ---- Packing -------------------------------------------------------------------------------- */

typedef struct pack_job {
    int bits, n, k;
    const int8_t *q;
    const float *scale;
    uint8_t *out;
} pack_job;

/* One column of one group: its scale and values. q [n] values of it, or NULL past the end. */
static void pack_column(int bits, int column, const int8_t *q, int n, float scale, uint8_t *block)
{
    int half = column / 16, lane = column % 16, group = rlm_quant_group(bits);
    if (bits == 8) {
        memcpy(block + 4 * column, &scale, 4);
        for (int k = 0; k < group; k++)
            block[128 + k / 4 * 128 + half * 64 + lane * 4 + k % 4] =
                (uint8_t)((k < n ? q[k] : 0) + 128);
        return;
    }
    uint16_t short_scale = rlm_bf16(scale);
    memcpy(block + 2 * column, &short_scale, 2);
    for (int k = 0; k < group / 2; k++) {
        int low = (k < n ? q[k] : 0) + 8, high = (k + 16 < n ? q[k + 16] : 0) + 8;
        block[64 + k / 4 * 128 + half * 64 + lane * 4 + k % 4] = (uint8_t)(low | high << 4);
    }
}

static void pack_panels(void *ctx, int64_t begin, int64_t end, int worker)
{
    const pack_job *j = ctx;
    int group = rlm_quant_group(j->bits), groups = rlm_quant_groups(j->bits, j->k);
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        uint8_t *block = j->out + (size_t)item * rlm_quant_block(j->bits);
        int from = (int)(item % groups) * group;
        int n = j->k - from < group ? j->k - from : group;
        for (int c = 0; c < RLM_QUANT_COLUMNS; c++) {
            int64_t row = item / groups * RLM_QUANT_COLUMNS + c;
            bool real = row < j->n;
            pack_column(j->bits, c, real ? j->q + row * j->k + from : NULL, real ? n : 0,
                        real ? j->scale[row * groups + item % groups] : 0.0f, block);
        }
    }
}

void rlm_quant_pack(rlm_par *par, int bits, int n, int k, const int8_t *q, const float *scale,
                    void *out)
{
    pack_job j = {bits, n, k, q, scale, out};
    rlm_par_for(par, (int64_t)rlm_quant_panels(n) * rlm_quant_groups(bits, k), 16, pack_panels, &j);
}

void rlm_quant_row(int bits, int k, const void *pack, int n0, float *w)
{
    int group = rlm_quant_group(bits), groups = rlm_quant_groups(bits, k);
    int column = n0 % RLM_QUANT_COLUMNS, at = column / 16 * 64 + column % 16 * 4;
    const uint8_t *panel = (const uint8_t *)pack + (size_t)(n0 / RLM_QUANT_COLUMNS) *
                                                       (size_t)groups * rlm_quant_block(bits);
    for (int i = 0; i < k; i++) {
        const uint8_t *block = panel + (size_t)(i / group) * rlm_quant_block(bits);
        int r = i % group / 4;
        if (bits == 8) {
            float scale;
            memcpy(&scale, block + 4 * column, 4);
            w[i] = scale * (float)(block[128 + r * 128 + at + i % 4] - 128);
        } else {
            uint16_t scale;
            memcpy(&scale, block + 2 * column, 2);
            int byte = block[64 + r % 4 * 128 + at + i % 4];
            w[i] = rlm_unbf16(scale) * (float)((r < 4 ? byte & 15 : byte >> 4) - 8);
        }
    }
}

/* ---- The product, as it is defined ----------------------------------------------------------- */

typedef struct quant_job {
    rlm_par *par;
    int bits, m, n, k;
    const float *x;
    const void *pack;
    const float *bias, *residual;
    float *y;
} quant_job;

static void quant_columns(void *ctx, int64_t begin, int64_t end, int worker)
{
    const quant_job *j = ctx;
    float *w = rlm_par_scratch(j->par, worker, 3, (size_t)j->k * sizeof *w);
    for (int64_t c = begin; c < end; c++) {
        rlm_quant_row(j->bits, j->k, j->pack, (int)c, w);
        for (int64_t r = 0; r < j->m; r++) {
            double sum = j->bias ? (double)j->bias[c] : 0;
            for (int i = 0; i < j->k; i++)
                sum += (double)j->x[r * j->k + i] * (double)w[i];
            if (j->residual)
                sum += (double)j->residual[r * j->n + c];
            j->y[r * j->n + c] = (float)sum;
        }
    }
}

static void linear_quant(rlm_par *par, int bits, int m, int n, int k, const float *x,
                         const void *pack, const float *bias, const float *residual, float *y)
{
    quant_job j = {par, bits, m, n, k, x, pack, bias, residual, y};
    rlm_par_for(par, n, 8, quant_columns, &j);
}

void rlm_kernels_reference_quant(rlm_kernels *k)
{
    k->linear_quant = linear_quant;
}
