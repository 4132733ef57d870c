/* AVX2: elementwise kernels, column copies and norms, forward, and the overlay's entry. Loops
 * without intrinsics are left to the compiler's vectoriser. */
#include "src/kernels/avx2.h"

typedef struct job {
    rlm_act act;
    float alpha;
    const float *a, *b, *d;
    float *y;
} job;

RLM_INLINE void act_run(rlm_act act, const float *x, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, w_act(act, _mm256_loadu_ps(x + i)));
    if (i < n) {
        __m256i m = w_tail(n - i);
        w_store(y + i, m, w_act(act, w_load(x + i, m)));
    }
}

static void act_row(rlm_act act, const float *x, float *y, int64_t n)
{
    switch (act) {
    case RLM_ACT_SILU:
        act_run(RLM_ACT_SILU, x, y, n);
        break;
    case RLM_ACT_ELU:
        act_run(RLM_ACT_ELU, x, y, n);
        break;
    case RLM_ACT_LEAKY:
        act_run(RLM_ACT_LEAKY, x, y, n);
        break;
    case RLM_ACT_GELU:
        act_run(RLM_ACT_GELU, x, y, n);
        break;
    case RLM_ACT_TANH:
        act_run(RLM_ACT_TANH, x, y, n);
        break;
    case RLM_ACT_RELU:
        act_run(RLM_ACT_RELU, x, y, n);
        break;
    case RLM_ACT_NONE:
        if (x != y)
            memcpy(y, x, (size_t)n * sizeof *x);
        break;
    }
}

static void act_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    (void)worker;
    act_row(j->act, j->a + begin, j->y + begin, end - begin);
}
static void act_forward(rlm_par *par, rlm_act act, int64_t n, const float *x, float *y)
{
    job j = {.act = act, .a = x, .y = y};
    rlm_par_for(par, n, RLM_GRAIN, act_fn, &j);
}

static void add_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job j = *(const job *)ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        j.y[i] = j.a[i] + j.b[i];
}
static void add(rlm_par *par, int64_t n, const float *a, const float *b, float *y)
{
    job j = {.a = a, .b = b, .y = y};
    rlm_par_for(par, n, RLM_GRAIN, add_fn, &j);
}

static void axpy_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job j = *(const job *)ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        j.y[i] += j.alpha * j.a[i];
}
static void axpy(rlm_par *par, int64_t n, float alpha, const float *x, float *y)
{
    job j = {.a = x, .y = y, .alpha = alpha};
    rlm_par_for(par, n, RLM_GRAIN, axpy_fn, &j);
}

static void modulate_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job j = *(const job *)ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        j.y[i] = j.a[i] * (1 + j.b[i]) + j.d[i];
}
static void modulate_forward(rlm_par *par, int64_t n, const float *x, const float *scale,
                             const float *shift, float *y)
{
    job j = {.a = x, .b = scale, .d = shift, .y = y};
    rlm_par_for(par, n, RLM_GRAIN, modulate_fn, &j);
}

typedef struct rows_job {
    int c;
    float eps;
    const float *x, *gain;
    float *y, *rstd;
} rows_job;

static void swiglu_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rows_job j = *(const rows_job *)ctx;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        const float *gate = j.x + r * 2 * j.c, *up = gate + j.c;
        for (int i = 0; i < j.c; i += 8) {
            __m256i m = w_tail(j.c - i);
            __m256 g = w_act(RLM_ACT_SILU, w_load(gate + i, m));
            w_store(j.y + r * j.c + i, m, _mm256_mul_ps(g, w_load(up + i, m)));
        }
    }
}
static void swiglu_forward(rlm_par *par, int64_t rows, int c, const float *x, float *y)
{
    rows_job j = {.c = c, .x = x, .y = y};
    rlm_par_for(par, rows, w_row_grain(c), swiglu_fn, &j);
}

/* ---- Norms --------------------------------------------------------------------------------- */

static void rms_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rows_job j = *(const rows_job *)ctx;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        const float *x = j.x + r * j.c;
        __m256 sum = _mm256_setzero_ps();
        for (int i = 0; i < j.c; i += 8) {
            __m256 v = w_load(x + i, w_tail(j.c - i));
            sum = _mm256_fmadd_ps(v, v, sum);
        }
        float rstd = (float)(1.0 / sqrt((double)w_sum(sum) / j.c + j.eps));
        for (int i = 0; i < j.c; i++)
            j.y[r * j.c + i] = x[i] * rstd * (j.gain ? j.gain[i] : 1.0f);
        if (j.rstd)
            j.rstd[r] = rstd;
    }
}
static void rmsnorm_forward(rlm_par *par, int64_t rows, int c, const float *x, const float *gain,
                            float eps, float *y, float *rstd)
{
    rows_job j = {c, eps, x, gain, y, rstd};
    rlm_par_for(par, rows, w_row_grain(c), rms_fn, &j);
}

typedef struct gn_job {
    rlm_groupnorm_shape s;
    rlm_par *par;
    const float *x, *gain, *bias;
    float *y, *stats;
} gn_job;

/* Per-channel sums of d = x - x[row 0] and d^2 over a frame, in blocks of rows so that f32 holds
 * them: sum[2c] in double. */
static void gn_sums(const gn_job *j, const float *x, double *sum, float *block)
{
    int c = j->s.c;
    memset(sum, 0, (size_t)c * 2 * sizeof *sum);
    for (int64_t from = 0; from < j->s.hw; from += 64) {
        int64_t to = from + 64 < j->s.hw ? from + 64 : j->s.hw;
        float *square = block + c;
        memset(block, 0, (size_t)c * 2 * sizeof *block);
        for (int64_t r = from; r < to; r++) {
            for (int i = 0; i < c; i += 8) {
                __m256i m = w_tail(c - i);
                __m256 d = _mm256_sub_ps(w_load(x + r * c + i, m), w_load(x + i, m));
                w_store(block + i, m, _mm256_add_ps(w_load(block + i, m), d));
                w_store(square + i, m, _mm256_fmadd_ps(d, d, w_load(square + i, m)));
            }
        }
        for (int i = 0; i < 2 * c; i++)
            sum[i] += block[i];
    }
}

/* One item: a frame. */
static void gn_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const gn_job *j = ctx;
    const rlm_groupnorm_shape *s = &j->s;
    int c = s->c, width = c / s->groups;
    double *sum = rlm_par_scratch(j->par, worker, 0, (size_t)c * 4 * sizeof(double));
    float *block = (float *)(sum + 2 * c), *slope = block, *mean = block + c;
    for (int64_t frame = begin; frame < end; frame++) {
        const float *x = j->x + frame * s->hw * c;
        float *y = j->y ? j->y + frame * s->hw * c : NULL;
        gn_sums(j, x, sum, block);
        for (int g = 0; g < s->groups; g++) {
            double total = 0, dev = 0, count = (double)s->hw * width;
            for (int i = g * width; i < (g + 1) * width; i++)
                total += sum[i] + (double)s->hw * x[i];
            double m = total / count;
            for (int i = g * width; i < (g + 1) * width; i++) {
                double d = m - x[i];
                dev += sum[c + i] - 2 * d * sum[i] + (double)s->hw * d * d;
            }
            double rstd = 1.0 / sqrt((dev > 0 ? dev : 0) / count + s->eps);
            for (int i = g * width; i < (g + 1) * width; i++) {
                mean[i] = (float)m;
                slope[i] = (float)rstd * (j->gain ? j->gain[i] : 1.0f);
            }
            if (j->stats) {
                j->stats[(frame * s->groups + g) * 2] = (float)m;
                j->stats[(frame * s->groups + g) * 2 + 1] = (float)rstd;
            }
        }
        for (int64_t r = 0; r < s->hw && j->y; r++) {
            for (int i = 0; i < c; i++)
                y[r * c + i] = (x[r * c + i] - mean[i]) * slope[i] + (j->bias ? j->bias[i] : 0.0f);
            act_row(s->act, y + r * c, y + r * c, c);
        }
    }
}
static void groupnorm_forward(rlm_par *par, const rlm_groupnorm_shape *s, const float *x,
                              const float *gain, const float *bias, float *y, float *stats)
{
    gn_job j = {*s, par, x, gain, bias, y, stats};
    rlm_par_for(par, s->frames, w_row_grain((int64_t)s->hw * s->c), gn_fn, &j);
}

void rlm_avx2_elementwise(rlm_kernels *k)
{
    k->act_forward = act_forward;
    k->add = add;
    k->axpy = axpy;
    k->modulate_forward = modulate_forward;
    k->swiglu_forward = swiglu_forward;
    k->rmsnorm_forward = rmsnorm_forward;
    k->groupnorm_forward = groupnorm_forward;
}

/* The entry; rlm_kernels_init has asked the processor before. */
bool rlm_kernels_avx2(rlm_kernels *k)
{
    rlm_avx2_elementwise(k);
    rlm_avx2_sequence(k);
    rlm_avx2_quant(k);
    rlm_avx2_cache(k);
    return true;
}
