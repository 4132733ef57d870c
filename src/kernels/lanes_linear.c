/* Products of a few rows with weights in bf16, which decoding streams: memory is what binds,
 * and a value is half as wide as in f32. More rows go to OpenBLAS. */
#include "src/kernels/lanes.h"
#include "src/kernels/blas.h"
#include "src/kernels/flush.h"

enum {
    FEW = 8,                /* rows of x at most */
    ROWS = 4,               /* of them at once */
    TALL = 8,               /* rows of w at once */
    SUMS = V_REGISTERS / 2, /* in registers */
    CHUNK = 131072          /* values of w a slice */
};

typedef struct half_job {
    int m, n, k;
    const float *x;
    const uint16_t *w;
    const float *bias, *residual;
    float *y;
} half_job;

/* Rows of w are a page or less: what is to come of memory is asked for here, the same place of the
 * next block, because no stream is long enough for the processor to foresee it. */
RLM_INLINE void ask_ahead(const uint16_t *w, int64_t values)
{
    __builtin_prefetch(w + values);
}

/* sum [m][tall] += `lanes` columns of m rows of x times `tall` rows of w; m, tall and lanes are
 * constants where it counts. */
RLM_INLINE void add_lanes(int m, int tall, int k, const float *from, const uint16_t *w,
                          v_mask lanes, v_f32 sum[ROWS][TALL])
{
    v_f32 x[ROWS];
    for (int i = 0; i < m; i++)
        x[i] = v_load(from + (int64_t)i * k, lanes);
    for (int r = 0; r < tall; r++) {
        v_f32 a = v_unbf16(w + (int64_t)r * k, lanes);
        ask_ahead(w + (int64_t)r * k, (int64_t)tall * k);
        for (int i = 0; i < m; i++)
            sum[i][r] = v_fma(a, x[i], sum[i][r]);
    }
}

/* Rows [row, row + m) of x times `tall` rows of w from c on. */
RLM_INLINE void block(const half_job *j, int m, int tall, int row, int64_t c)
{
    const uint16_t *w = j->w + c * j->k;
    const float *from = j->x + (int64_t)row * j->k;
    v_f32 sum[ROWS][TALL];
    for (int i = 0; i < m; i++)
        for (int r = 0; r < tall; r++)
            sum[i][r] = v_zero();
    int d = 0;
    for (; d + V_LANES <= j->k; d += V_LANES)
        add_lanes(m, tall, j->k, from + d, w + d, V_ALL, sum);
    if (d < j->k)
        add_lanes(m, tall, j->k, from + d, w + d, v_tail(j->k - d), sum);
    for (int i = 0; i < m; i++)
        for (int r = 0; r < tall; r++) {
            int64_t at = (int64_t)(row + i) * j->n + c + r;
            float y = v_sum(sum[i][r]) + (j->bias ? j->bias[c + r] : 0.0f);
            j->y[at] = y + (j->residual ? j->residual[at] : 0.0f);
        }
}

/* Columns [c, end) of y, as many at once as registers hold sums. */
RLM_INLINE void columns(const half_job *j, int m, int row, int64_t c, int64_t end)
{
    const int tall = m == 1 ? TALL : m == 2 ? SUMS / 2 : SUMS / 4;
    for (; c + tall <= end; c += tall)
        block(j, m, tall, row, c);
    for (; c < end; c++)
        block(j, m, 1, row, c);
}

static void half_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const half_job *j = ctx;
    unsigned csr = rlm_flush_begin();
    (void)worker;
    for (int64_t c = begin; c < end; c += TALL) {
        int64_t last = c + TALL < end ? c + TALL : end;
        for (int row = 0; row < j->m; row += ROWS) /* what was read of w is in the cache */
            switch (j->m - row) {
            case 1:
                columns(j, 1, row, c, last);
                break;
            case 2:
                columns(j, 2, row, c, last);
                break;
            case 3:
                columns(j, 3, row, c, last);
                break;
            default:
                columns(j, 4, row, c, last);
            }
    }
    rlm_flush_end(csr);
}

static void linear_half(rlm_par *par, int m, int n, int k, const float *x, const uint16_t *w,
                        const float *bias, const float *residual, float *y)
{
    half_job j = {m, n, k, x, w, bias, residual, y};
    int64_t share = (n + rlm_par_threads(par) - 1) / rlm_par_threads(par), most = 1 + CHUNK / k;
    int64_t grain = ((share < most ? share : most) + TALL - 1) / TALL * TALL;
    if (m > FEW)
        rlm_blas_linear_half(par, m, n, k, x, w, bias, residual, y);
    else
        rlm_par_for(par, n, grain, half_fn, &j);
}

void V_NAME(linear)(rlm_kernels *k)
{
    k->linear_half = linear_half;
}
