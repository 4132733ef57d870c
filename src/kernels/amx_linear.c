/* AMX overlay: dense products. A task turns its rows into bf16 tiles in the L2 cache, a depth of K
 * at a time, and streams the weights past them; a few rows (decode) still stream every weight
 * exactly once. */
#include "src/kernels/amx.h"
#include "src/kernels/blas.h"

typedef struct gemm_job {
    int m, n, k, chunks;
    int m_block, n_block; /* rows and columns of a task, multiples of 32 */
    int n_tasks;
    int depth, segment; /* chunks of K that stay in L2 and L1 */
    bool stream;        /* y is larger than what the caches hold: write past them */
    size_t rows_bytes, sums_bytes;
    const float *x;
    const uint8_t *pack;
    const size_t *off;
    const float *bias, *residual;
    float *y;
    rlm_par *par;
} gemm_job;

enum {
    GROUP = 8,              /* tiles of 16 rows */
    SEGMENT = 12,           /* chunks of K */
    ROWS_BYTES = 768 << 10, /* of a task's rows as tiles */
    SUMS_BYTES = 1 << 20,   /* of a task's sums between depths */
    M_LEAST = 256, M_MOST = 512,
    STREAM_BYTES = 24 << 20
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

/* sums [rows][32] (+)= tiles of rows x `depth` chunks of one column block. The weights of a segment
 * stay in the L1 cache while GROUP tiles of rows meet them. */
static void panel_sums(const gemm_job *j, const uint8_t *a, int rows, const uint8_t *b, int depth,
                       bool narrow, bool add, float *sums)
{
    size_t tile = (size_t)depth * RLM_AMX_TILE;
    for (int k = 0; k < depth; k += j->segment) {
        int run = depth - k < j->segment ? depth - k : j->segment;
        for (int r = 0; r < rows; r += 32) {
            const uint8_t *a0 = a + (size_t)(r / 16) * tile;
            rlm_amx_block(a0, r + 16 < rows ? a0 + tile : a0, 64, j->off + k,
                          b + (size_t)k * 2 * RLM_AMX_TILE, run, narrow, add || k > 0,
                          sums + r * 32);
        }
    }
}

static void gemm_task(const gemm_job *j, int row, int column, uint8_t *a, float *sums)
{
    _Alignas(64) float block[GROUP * 512];
    int rows = j->m - row < j->m_block ? j->m - row : j->m_block;
    int last = column + j->n_block < j->n ? column + j->n_block : j->n;
    for (int from = 0; from < j->chunks; from += j->depth) {
        int depth = j->chunks - from < j->depth ? j->chunks - from : j->depth;
        bool whole = depth == j->chunks, done = from + depth == j->chunks;
        convert_rows(j, row, rows, from, depth, a);
        for (int c = column; c < last; c += 32) {
            const uint8_t *b = j->pack + ((size_t)(c / 32) * j->chunks + from) * 2 * RLM_AMX_TILE;
            int n = j->n - c < 32 ? j->n - c : 32;
            for (int r = 0; r < rows; r += GROUP * 16) {
                int count = rows - r < GROUP * 16 ? rows - r : GROUP * 16;
                float *to = whole ? block : sums + ((size_t)(c - column) * j->m_block + r * 32);
                int64_t at = (int64_t)(row + r) * j->n + c;
                panel_sums(j, a + (size_t)(r / 16) * depth * RLM_AMX_TILE, count, b, depth, n <= 16,
                           from > 0, to);
                if (done)
                    rlm_amx_store(to, count, n, j->bias ? j->bias + c : NULL,
                                  j->residual ? j->residual + at : NULL, j->y + at, j->n,
                                  j->stream);
            }
        }
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
    if (j->stream)
        _mm_sfence();
}

/* Rows of a task: as many as L2 holds, cut evenly, and work for everybody. Few rows are cut along m
 * before n, since a task along n turns its rows anew. */
static void plan_tasks(gemm_job *j)
{
    int row_bytes = j->chunks * 64, threads = rlm_par_threads(j->par);
    int most = ROWS_BYTES / row_bytes / 32 * 32;
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
    j->segment = j->m <= 32 ? j->depth : rlm_div_up(j->depth, rlm_div_up(j->depth, SEGMENT));
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
    j.stream = (int64_t)m * n * (int64_t)sizeof(float) > STREAM_BYTES && n % 16 == 0 &&
               (uintptr_t)y % 64 == 0;
    size_t *off = rlm_par_scratch(par, 0, 2, (size_t)j.depth * sizeof *off);
    for (int i = 0; i < j.depth; i++)
        off[i] = (size_t)i * RLM_AMX_TILE;
    j.off = off;
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
