/* Dense products of few rows from the AMX packing, without tiles: a tile product has 32 rows or
 * wastes them. Each panel of 32 columns is one stream of pairs, 16 columns an instruction, for 8
 * rows at once; a row's sum does not depend on how many there are. */
#include "src/kernels/amx.h"

enum { ROWS = 8, MOST = 32, AHEAD = 2048, SLICE = 131072 /* bytes of weights a task */ };

typedef struct rows_job {
    int n, chunks;
    const uint16_t *x; /* [m][chunks * 32] */
    const uint8_t *pack;
    const float *bias, *residual;
    float *y;
    int m;
} rows_job;

/* One panel: y [m][32]. m is a constant where this is inlined. */
static inline __attribute__((always_inline)) void panel(int m, const uint8_t *w, int chunks,
                                                        const uint16_t *x, float *y)
{
    __m512 a[ROWS][2];
    for (int i = 0; i < m; i++)
        a[i][0] = a[i][1] = _mm512_setzero_ps();
    for (int c = 0; c < chunks; c++, w += 2 * RLM_AMX_TILE)
        for (int p = 0; p < 16; p++) {
            const uint8_t *at = w + 64 * p;
            _mm_prefetch((const char *)at + AHEAD, _MM_HINT_T0);
            _mm_prefetch((const char *)at + AHEAD + RLM_AMX_TILE, _MM_HINT_T0);
            __m512bh w0 = (__m512bh)_mm512_load_si512(at);
            __m512bh w1 = (__m512bh)_mm512_load_si512(at + RLM_AMX_TILE);
            for (int i = 0; i < m; i++) {
                int32_t pair;
                memcpy(&pair, x + ((size_t)i * (size_t)chunks + (size_t)c) * 32 + 2 * p, 4);
                __m512bh v = (__m512bh)_mm512_set1_epi32(pair);
                a[i][0] = _mm512_dpbf16_ps(a[i][0], w0, v);
                a[i][1] = _mm512_dpbf16_ps(a[i][1], w1, v);
            }
        }
    for (int i = 0; i < m; i++) {
        _mm512_store_ps(y + 32 * i, a[i][0]);
        _mm512_store_ps(y + 32 * i + 16, a[i][1]);
    }
}

static void some_rows(int m, const uint8_t *w, int chunks, const uint16_t *x, float *y)
{
    switch (m) {
    case 1:
        panel(1, w, chunks, x, y);
        break;
    case 2:
        panel(2, w, chunks, x, y);
        break;
    case 3:
    case 4:
        panel(4, w, chunks, x, y);
        break;
    default:
        panel(ROWS, w, chunks, x, y);
    }
}

static void panels_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rows_job *j = ctx;
    _Alignas(64) float block[ROWS * 32];
    (void)worker;
    for (int64_t b = begin; b < end; b++) {
        const uint8_t *w = j->pack + (size_t)b * (size_t)j->chunks * 2 * RLM_AMX_TILE;
        int column = (int)b * 32, n = j->n - column < 32 ? j->n - column : 32;
        for (int row = 0; row < j->m; row += ROWS) {
            int m = j->m - row < ROWS ? j->m - row : ROWS;
            int64_t at = (int64_t)row * j->n + column;
            some_rows(m, w, j->chunks, j->x + (size_t)row * (size_t)j->chunks * 32, block);
            rlm_amx_store(block, m, n, j->bias ? j->bias + column : NULL,
                          j->residual ? j->residual + at : NULL, j->y + at, (size_t)j->n, false);
        }
    }
}

void rlm_amx_rows_forward(rlm_par *par, int m, int n, int k, const float *x, const rlm_weight *w,
                          const float *bias, const float *residual, float *y)
{
    if (m > MOST || !w->pack) {
        rlm_amx_linear_forward(par, m, n, k, x, w, bias, residual, y);
        return;
    }
    rows_job j = {.n = n,
                  .chunks = rlm_div_up(k, 32),
                  .pack = w->pack,
                  .bias = bias,
                  .residual = residual,
                  .y = y,
                  .m = m};
    size_t row = (size_t)j.chunks * 32;
    int padded = rlm_div_up(m, ROWS) * ROWS; /* rows that nobody reads the products of */
    uint16_t *x16 = rlm_par_scratch(par, 0, 3, (size_t)padded * row * sizeof *x16);
    for (int i = 0; i < m; i++) {
        memset(x16 + (size_t)(i + 1) * row - 32, 0, 64);
        rlm_amx_to_bf16(x + (int64_t)i * k, k, x16 + (size_t)i * row);
    }
    memset(x16 + (size_t)m * row, 0, (size_t)(padded - m) * row * sizeof *x16);
    j.x = x16;
    int count = rlm_div_up(n, 32), threads = rlm_par_threads(par);
    int grain = (int)(SLICE / (row * 64)) + 1, share = rlm_div_up(count, threads);
    rlm_par_for(par, count, grain < share ? grain : share, panels_fn, &j);
}
