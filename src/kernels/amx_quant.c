/* AMX: products of many rows with quantised weights, as reading a prefix needs them. A panel of 32
 * columns becomes bf16 tiles once, in the cache of the core that uses it, and meets every row; few
 * rows go to VNNI (avx512_quant.c), which streams the weights as they are. */
#include "src/kernels/amx.h"
#include "src/kernels/avx512_quant.h"

enum { FEW = 32, PANELS = 8, CACHED = 512 << 10 /* bytes of tiles a core keeps */ };

typedef struct quant_job {
    rlm_par *par;
    int bits, m, n, k, groups, chunks; /* chunks of 32 along k, groups filled up */
    int panels;                        /* of a task */
    const float *x;
    uint8_t *a; /* rows as tiles [m / 16][chunk][16][32] bf16, 32 rows filled up */
    const size_t *off;
    const uint8_t *pack;
    const float *bias, *residual;
    float *y;
} quant_job;

static void rows_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const quant_job *j = ctx;
    (void)worker;
    for (int64_t r = begin; r < end; r++)
        rlm_amx_row(r < j->m ? j->x + r * j->k : NULL, j->k, j->chunks,
                    j->a + (size_t)(r / 16) * (size_t)j->chunks * RLM_AMX_TILE + r % 16 * 64);
}

/* Two k-pairs of 16 columns: bytes of four k, `zero` stands for 0; out: two rows of a tile. */
static inline void four_k(__m512i v, int zero, __m512 scale, uint8_t *out)
{
    const __m512i byte = _mm512_set1_epi32(255), z = _mm512_set1_epi32(zero);
    __m512 f[4];
    for (int i = 0; i < 4; i++) {
        __m512i q = _mm512_and_si512(_mm512_srl_epi32(v, _mm_cvtsi32_si128(8 * i)), byte);
        f[i] = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(q, z)), scale);
    }
    _mm512_store_si512(out, rlm_amx_pair(f[0], f[1]));
    _mm512_store_si512(out + 64, rlm_amx_pair(f[2], f[3]));
}

/* A group of 16 columns (half of the panel) into tiles; b: first tile of the group's half. */
static void unpack_group(int bits, const uint8_t *block, int half, uint8_t *b)
{
    const __m512i low = _mm512_set1_epi8(15);
    __m512 scale = rlm_quant_scales(bits, block, half);
    if (bits == 8) {
        for (int r = 0; r < 32; r++)
            four_k(_mm512_load_si512(block + 128 + 128 * r + 64 * half), 128, scale,
                   b + r / 8 * 2 * RLM_AMX_TILE + r % 8 * 128);
        return;
    }
    for (int r = 0; r < 4; r++) {
        __m512i v = _mm512_load_si512(block + 64 + 128 * r + 64 * half);
        four_k(_mm512_and_si512(v, low), 8, scale, b + r * 128);
        four_k(_mm512_and_si512(_mm512_srli_epi16(v, 4), low), 8, scale, b + (r + 4) * 128);
    }
}

/* Panel p into tiles at b. */
static void unpack_panel(const quant_job *j, int p, uint8_t *b)
{
    const uint8_t *from = j->pack + (size_t)p * (size_t)j->groups * rlm_quant_block(j->bits);
    size_t group = (size_t)rlm_quant_group(j->bits) / 32 * 2 * RLM_AMX_TILE;
    for (int g = 0; g < j->groups; g++, from += rlm_quant_block(j->bits), b += group)
        for (int half = 0; half < 2; half++)
            unpack_group(j->bits, from, half, b + half * RLM_AMX_TILE);
}

static void product(const quant_job *j, int row, int panel, const uint8_t *b)
{
    _Alignas(64) float block[32 * 32];
    size_t rows = (size_t)j->chunks * RLM_AMX_TILE;
    const uint8_t *a = j->a + (size_t)(row / 16) * rows;
    int column = panel * 32, n = j->n - column < 32 ? j->n - column : 32;
    int64_t at = (int64_t)row * j->n + column;
    rlm_amx_block(a, a + rows, 64, j->off, b, j->chunks, n <= 16, false, block);
    rlm_amx_store(block, j->m - row < 32 ? j->m - row : 32, n, j->bias ? j->bias + column : NULL,
                  j->residual ? j->residual + at : NULL, j->y + at, (size_t)j->n, false);
}

/* One task: some panels, unpacked once, against every row: the rows pass once a task. */
static void panels_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const quant_job *j = ctx;
    size_t one = (size_t)j->chunks * 2 * RLM_AMX_TILE;
    uint8_t *b = rlm_par_scratch(j->par, worker, 1, (size_t)j->panels * one);
    for (int64_t from = begin; from < end; from += j->panels) {
        int count = end - from < j->panels ? (int)(end - from) : j->panels;
        for (int i = 0; i < count; i++)
            unpack_panel(j, (int)from + i, b + (size_t)i * one);
        rlm_amx_begin();
        for (int row = 0; row < j->m; row += 32)
            for (int i = 0; i < count; i++)
                product(j, row, (int)from + i, b + (size_t)i * one);
        rlm_amx_end();
    }
}

void rlm_amx_linear_quant(rlm_par *par, int bits, int m, int n, int k, const float *x,
                          const void *quant, const float *bias, const float *residual, float *y)
{
    if (m <= FEW) {
        rlm_avx512_linear_quant(par, bits, m, n, k, x, quant, bias, residual, y);
        return;
    }
    quant_job j = {.par = par,
                   .bits = bits,
                   .m = m,
                   .n = n,
                   .k = k,
                   .groups = rlm_quant_groups(bits, k),
                   .x = x,
                   .pack = quant,
                   .bias = bias,
                   .residual = residual,
                   .y = y};
    j.chunks = j.groups * rlm_quant_group(bits) / 32;
    int most = CACHED / (j.chunks * 2 * RLM_AMX_TILE), threads = rlm_par_threads(par);
    int share = rlm_div_up(rlm_quant_panels(n), 2 * threads); /* work for everybody */
    j.panels = most < PANELS ? most : PANELS;
    j.panels = j.panels < share ? j.panels : share;
    j.panels = j.panels > 1 ? j.panels : 1;
    int padded = rlm_div_up(m, 32) * 32;
    size_t table = (size_t)rlm_div_up(j.chunks * (int)sizeof(size_t), 64) * 64;
    uint8_t *scratch = rlm_par_scratch(par, 0, 2, table + (size_t)padded * (size_t)j.chunks * 64);
    size_t *off = (size_t *)(void *)scratch;
    for (int i = 0; i < j.chunks; i++)
        off[i] = (size_t)i * RLM_AMX_TILE;
    j.off = off;
    j.a = scratch + table;
    rlm_amx_room(par, 1, (size_t)j.panels * (size_t)j.chunks * 2 * RLM_AMX_TILE);
    rlm_par_for(par, padded, 1 + 32768 / k, rows_fn, &j);
    rlm_par_for(par, rlm_quant_panels(n), j.panels, panels_fn, &j);
}
