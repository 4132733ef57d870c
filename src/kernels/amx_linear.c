/* AMX overlay: dense products. A task turns its rows into bf16 tiles in the L2 cache, a depth of K
 * at a time, and streams the weights past them; a few rows (decode) still stream every weight
 * exactly once. */
#include "src/kernels/amx_dense.h"
#include "src/kernels/blas.h"

typedef struct gemm_job {
    int m, n, k, chunks;
    int m_block, n_block; /* rows and columns of a task, multiples of 32 */
    int n_tasks;
    int depth; /* chunks of K at a time */
    bool far;  /* y is written past the caches */
    size_t rows_bytes, sums_bytes;
    const float *x;
    const uint8_t *pack;
    const float *bias, *residual;
    float *y;
    rlm_par *par;
} gemm_job;

enum {
    GROUP = 128,            /* rows whose sums lie in the L1 cache */
    ROWS_BYTES = 768 << 10, /* of a task's rows as tiles */
    SUMS_BYTES = 1 << 20,   /* of a task's sums between depths */
    M_LEAST = 256,
    M_MOST = 512
};

/* Chunks [from, from + depth) of rows [row, row + count) of x as tiles [tile][depth][16][32] bf16,
 * missing rows and K zero. */
static void convert_rows(const gemm_job *j, int row, int count, int from, int depth, uint8_t *out)
{
    int padded = rlm_div_up(count, 32) * 32, left = j->k - from * 32;
    int k = left < depth * 32 ? left : depth * 32;
    for (int r = 0; r < padded; r++)
        rlm_amx_row(r < count ? j->x + (int64_t)(row + r) * j->k + from * 32 : NULL, k, depth,
                    out + (size_t)(r / 16) * depth * RLM_AMX_TILE + (r % 16) * 64);
}

static void gemm_task(const gemm_job *j, int row, int column, uint8_t *a, float *sums)
{
    _Alignas(64) float block[GROUP * 32];
    int rows = j->m - row < j->m_block ? j->m - row : j->m_block;
    int last = column + j->n_block < j->n ? column + j->n_block : j->n;
    dense_leaving leaving = {.rows = 0};
    for (int from = 0; from < j->chunks; from += j->depth) {
        int depth = j->chunks - from < j->depth ? j->chunks - from : j->depth;
        bool whole = depth == j->chunks, done = from + depth == j->chunks;
        convert_rows(j, row, rows, from, depth, a);
        for (int c = column; c < last; c += 32) {
            const uint8_t *b = j->pack + ((size_t)(c / 32) * j->chunks + from) * 2 * RLM_AMX_TILE;
            int n = j->n - c < 32 ? j->n - c : 32;
            const uint8_t *next = c + 32 < last ? b + (size_t)j->chunks * 2 * RLM_AMX_TILE : NULL;
            for (int r = 0; r < rows; r += GROUP) {
                int count = rows - r < GROUP ? rows - r : GROUP;
                float *to = whole ? block : sums + ((size_t)(c - column) * j->m_block + r * 32);
                int64_t at = (int64_t)(row + r) * j->n + c;
                dense_product p = {.a = a + (size_t)(r / 16) * depth * RLM_AMX_TILE,
                                   .b = b,
                                   .rows = count,
                                   .depth = depth,
                                   .narrow = n <= 16,
                                   .add = from > 0,
                                   .sums = to,
                                   .next = next,
                                   .at = r,
                                   .all = rows};
                dense_out out = {.y = j->y + at,
                                 .bias = j->bias ? j->bias + c : NULL,
                                 .residual = j->residual ? j->residual + at : NULL,
                                 .ldy = (size_t)j->n,
                                 .n = n,
                                 .far = j->far};
                dense_panel_out(&p, &leaving, done ? &out : NULL);
            }
        }
        dense_leave(&leaving, 32);
    }
}

static void gemm_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const gemm_job *j = ctx;
    uint8_t *a = rlm_par_scratch(j->par, worker, 3, j->rows_bytes + j->sums_bytes);
    rlm_amx_begin();
    for (int64_t i = begin; i < end; i++)
        gemm_task(j, (int)(i / j->n_tasks) * j->m_block, (int)(i % j->n_tasks) * j->n_block, a,
                  (float *)(void *)(a + j->rows_bytes));
    rlm_amx_end();
    v_far_end(j->far);
}

/* Rows of a task: as many as L2 holds, cut evenly, and work for everybody. Few rows are cut along m
 * before n, since a task along n turns its rows anew. */
static void plan_tasks(gemm_job *j)
{
    int threads = rlm_par_threads(j->par), most = ROWS_BYTES / (j->chunks * 64) / 32 * 32;
    most = most < M_LEAST ? M_LEAST : most > M_MOST ? M_MOST : most;
    int least = j->m >= 2048 ? 8 : 4, tasks = rlm_div_up(j->m, most);
    tasks = tasks < least ? least : rlm_div_up(tasks, threads) * threads;
    j->m_block = rlm_div_up(rlm_div_up(j->m, tasks), 32) * 32;
    j->m_block = j->m < 256 ? rlm_div_up(j->m, 32) * 32 : j->m_block;
    j->depth = ROWS_BYTES / (j->m_block * 64);
    j->depth = rlm_div_up(j->chunks, rlm_div_up(j->chunks, j->depth));
    if (j->m <= 32)
        j->depth = j->chunks;
    int m_tasks = rlm_div_up(j->m, j->m_block), columns = rlm_div_up(j->n, 32);
    int few = j->m >= 256 ? 4 : 8;
    int want = m_tasks >= few ? 1 : rlm_div_up(few, m_tasks); /* tasks along n */
    j->n_block = rlm_div_up(columns, want) * 32;
    if (j->depth < j->chunks) {
        int fit = SUMS_BYTES / (j->m_block * 128) * 32;
        j->n_block = j->n_block < fit ? j->n_block : fit;
        j->sums_bytes = (size_t)j->m_block * j->n_block * sizeof(float);
    }
    j->n_tasks = rlm_div_up(j->n, j->n_block);
    j->rows_bytes = (size_t)j->m_block * j->depth * 64;
}

void rlm_amx_gemm(rlm_par *par, int m, int n, int k, const float *x, const void *pack,
                  const float *bias, const float *residual, float *y)
{
    gemm_job j = {.m = m,
                  .n = n,
                  .k = k,
                  .x = x,
                  .pack = pack,
                  .bias = bias,
                  .residual = residual,
                  .y = y,
                  .par = par,
                  .chunks = rlm_div_up(k, 32)};
    plan_tasks(&j);
    j.far = v_is_far(y, (int64_t)m * n, n);
    rlm_amx_room(par, 3, j.rows_bytes + j.sums_bytes);
    rlm_par_for(par, (int64_t)rlm_div_up(m, j.m_block) * j.n_tasks, 1, gemm_slice, &j);
}

void rlm_amx_linear_forward(rlm_par *par, int m, int n, int k, const float *x, const rlm_weight *w,
                            const float *bias, const float *residual, float *y)
{
    if (w->pack)
        rlm_amx_gemm(par, m, n, k, x, w->pack, bias, residual, y);
    else
        rlm_blas_linear_forward(par, m, n, k, x, w, bias, residual, y);
}
