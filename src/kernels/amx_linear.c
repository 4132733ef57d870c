/* AMX overlay: dense products. A task converts its rows to bf16 tiles once and meets all of its
 * column blocks; a few rows (decode) still stream every weight exactly once. */
#include "src/kernels/amx.h"
#include "src/kernels/blas.h"

typedef struct gemm_job {
    int m, n, k, chunks;
    int m_block, n_block; /* rows and columns of a task, multiples of 32 */
    int n_tasks, segment;
    size_t room; /* bytes of a worker's rows */
    const float *x;
    const uint8_t *pack;
    const size_t *off;
    const float *bias, *residual;
    float *y;
    rlm_par *par;
} gemm_job;

enum {
    M_BLOCK = 256,
    GROUP = 8,   /* tiles of 16 rows */
    SEGMENT = 12 /* chunks of K */
};

/* Rows [row, row + count) of x as tiles [tile][chunk][16][32] bf16, missing rows and K zero. */
static void convert_rows(const gemm_job *j, int row, int count, uint8_t *out)
{
    int padded = rlm_div_up(count, 32) * 32;
    for (int r = 0; r < padded; r++)
        rlm_amx_row(r < count ? j->x + (int64_t)(row + r) * j->k : NULL, j->k, j->chunks,
                    out + (size_t)(r / 16) * j->chunks * RLM_AMX_TILE + (r % 16) * 64);
}

/* Up to GROUP tiles of rows against one column block; where K is long, the weights of a segment
 * stay in the L1 cache and the sums of a pair wait in `block`. */
static void gemm_group(const gemm_job *j, const uint8_t *a, int row, int rows, int c, float *block)
{
    const uint8_t *b = j->pack + (size_t)(c / 32) * j->chunks * 2 * RLM_AMX_TILE;
    size_t tile = (size_t)j->chunks * RLM_AMX_TILE;
    int n = j->n - c < 32 ? j->n - c : 32;
    for (int k = 0; k < j->chunks; k += j->segment) {
        int run = j->chunks - k < j->segment ? j->chunks - k : j->segment;
        for (int r = 0; r < rows; r += 32) {
            const uint8_t *a0 = a + (size_t)(r / 16) * tile;
            rlm_amx_block(a0, r + 16 < rows ? a0 + tile : a0, 64, j->off + k,
                          b + (size_t)k * 2 * RLM_AMX_TILE, run, n <= 16, k > 0, block + r * 32);
        }
    }
    int64_t at = (int64_t)row * j->n + c;
    rlm_amx_store(block, rows, n, j->bias ? j->bias + c : NULL,
                  j->residual ? j->residual + at : NULL, j->y + at, j->n);
}

static void gemm_task(const gemm_job *j, int row, int column, uint8_t *a)
{
    _Alignas(64) float block[GROUP * 512];
    int rows = j->m - row < j->m_block ? j->m - row : j->m_block;
    int last = column + j->n_block < j->n ? column + j->n_block : j->n;
    convert_rows(j, row, rows, a);
    for (int c = column; c < last; c += 32)
        for (int r = 0; r < rows; r += GROUP * 16)
            gemm_group(j, a + (size_t)(r / 16) * j->chunks * RLM_AMX_TILE, row + r,
                       rows - r < GROUP * 16 ? rows - r : GROUP * 16, c, block);
}

static void gemm_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const gemm_job *j = ctx;
    uint8_t *a = rlm_par_scratch(j->par, worker, 3, j->room);
    rlm_amx_begin();
    for (int64_t i = begin; i < end; i++)
        gemm_task(j, (int)(i / j->n_tasks) * j->m_block, (int)(i % j->n_tasks) * j->n_block, a);
    rlm_amx_end();
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
    size_t *off = rlm_par_scratch(par, 0, 2, (size_t)j.chunks * sizeof *off);
    for (int i = 0; i < j.chunks; i++)
        off[i] = (size_t)i * RLM_AMX_TILE;
    j.off = off;
    /* A task along n converts its rows anew: few rows are cut along m first. */
    j.m_block = m >= 8 * M_BLOCK ? M_BLOCK : m >= 256 ? 128 : rlm_div_up(m, 32) * 32;
    int m_tasks = rlm_div_up(m, j.m_block), columns = rlm_div_up(n, 32);
    int least = m >= 256 ? 4 : 8;
    int want = m_tasks >= least ? 1 : rlm_div_up(least, m_tasks); /* tasks along n */
    j.n_block = rlm_div_up(columns, want) * 32;
    j.n_tasks = rlm_div_up(n, j.n_block);
    j.segment = m <= 32 ? j.chunks : rlm_div_up(j.chunks, rlm_div_up(j.chunks, SEGMENT));
    j.room = (size_t)(m < M_BLOCK ? rlm_div_up(m, 32) * 32 : M_BLOCK) * j.chunks * 64;
    rlm_amx_room(par, 3, j.room);
    rlm_par_for(par, (int64_t)m_tasks * j.n_tasks, 1, gemm_slice, &j);
}

void rlm_amx_linear_forward(rlm_par *par, int m, int n, int k, const float *x, const rlm_weight *w,
                            const float *bias, const float *residual, float *y)
{
    if (w->pack)
        rlm_amx_gemm(par, m, n, k, x, w->pack, bias, residual, y);
    else
        rlm_blas_linear_forward(par, m, n, k, x, w, bias, residual, y);
}
