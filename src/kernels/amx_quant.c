/* AMX: products of many rows with quantised weights, as reading a prefix needs them. The weights
 * become a bf16 packing once, in scratch, and are multiplied as such; few rows go to VNNI
 * (avx512_quant.c), which streams the weights as they are. */
#include "src/kernels/amx_dense.h"
#include "src/kernels/avx512_quant.h"

enum { FEW = 32 };

typedef struct unpack_job {
    int bits, groups, chunks; /* groups as quant.h fills them up; chunks of 32 along k */
    const uint8_t *from;
    uint8_t *to;
} unpack_job;

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

/* A group of 16 columns (half of the panel) into tiles; b: first tile of the group's half; chunks
 * past `left` are padding that the packing does not have. */
static void unpack_group(int bits, const uint8_t *block, int half, int left, uint8_t *b)
{
    const __m512i low = _mm512_set1_epi8(15);
    __m512 scale = rlm_quant_scales(bits, block, half);
    if (bits == 8) {
        for (int r = 0; r < 32 && r / 8 < left; r++)
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

static void unpack_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const unpack_job *j = ctx;
    int step = rlm_quant_group(j->bits) / 32; /* chunks of a group */
    (void)worker;
    for (int64_t p = begin; p < end; p++) {
        const uint8_t *from = j->from + (size_t)p * (size_t)j->groups * rlm_quant_block(j->bits);
        uint8_t *to = j->to + (size_t)p * (size_t)j->chunks * 2 * RLM_AMX_TILE;
        for (int g = 0; g < j->groups; g++, from += rlm_quant_block(j->bits))
            for (int half = 0; half < 2; half++)
                unpack_group(j->bits, from, half, j->chunks - g * step,
                             to + ((size_t)(g * step) * 2 + (size_t)half) * RLM_AMX_TILE);
    }
}

const uint8_t *rlm_amx_dense_weight(rlm_par *par, int n, int k, const rlm_weight *w, void *room)
{
    if (!w->quant)
        return w->pack;
    unpack_job j = {w->bits, rlm_quant_groups(w->bits, k), rlm_div_up(k, 32), w->quant, room};
    rlm_par_for(par, rlm_quant_panels(n), 1 + 65536 / (32 * k), unpack_fn, &j);
    return room;
}

void rlm_amx_linear_quant(rlm_par *par, int bits, int m, int n, int k, const float *x,
                          const void *quant, const float *bias, const float *residual, float *y)
{
    if (m <= FEW) {
        rlm_avx512_linear_quant(par, bits, m, n, k, x, quant, bias, residual, y);
        return;
    }
    rlm_weight w = {.quant = quant, .bits = bits};
    void *room = rlm_par_scratch(par, 0, 1, dense_bytes(n, k));
    rlm_amx_gemm(par, m, n, k, x, rlm_amx_dense_weight(par, n, k, &w, room), bias, residual, y);
}
