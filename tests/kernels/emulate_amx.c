#include "tests/kernels/emulate_amx.h"

#include "src/kernels/kernels.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 16, ROW = 64, TILES = 8 };

static _Thread_local struct {
    _Alignas(64) uint8_t tile[TILES][ROWS * ROW];
    int configured;
} state;

static uint8_t *tile_of(int i)
{
    if (!state.configured || i < 0 || i >= TILES)
        abort();
    return state.tile[i];
}

void emulated_loadconfig(const void *config)
{
    const uint8_t *c = config;
    uint16_t width;
    if (c[0] != 1 || c[1] != 0)
        abort();
    for (int i = 0; i < TILES; i++) {
        memcpy(&width, c + 16 + 2 * i, sizeof width);
        if (width != ROW || c[48 + i] != ROWS)
            abort();
    }
    memset(&state, 0, sizeof state);
    state.configured = 1;
}

void emulated_release(void)
{
    state.configured = 0;
}

void emulated_zero(int tile)
{
    memset(tile_of(tile), 0, ROWS * ROW);
}

void emulated_load(int tile, const void *from, size_t stride)
{
    uint8_t *to = tile_of(tile);
    for (size_t r = 0; r < ROWS; r++)
        memcpy(to + r * ROW, (const uint8_t *)from + r * stride, ROW);
}

void emulated_store(int tile, void *to, size_t stride)
{
    const uint8_t *from = tile_of(tile);
    for (size_t r = 0; r < ROWS; r++)
        memcpy((uint8_t *)to + r * stride, from + r * ROW, ROW);
}

/* Denormals of bf16 are zeros to these instructions. */
static __m512i flush(__m512i pairs)
{
    __m512i exponent = _mm512_and_si512(pairs, _mm512_set1_epi16(0x7f80));
    return _mm512_maskz_mov_epi16(_mm512_test_epi16_mask(exponent, exponent), pairs);
}

static __m512 even(__m512i pairs)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}

static __m512 odd(__m512i pairs)
{
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000)));
}

__m512 emulated_dot(__m512 sums, __m512i a, __m512i b)
{
    a = flush(a);
    b = flush(b);
    sums = _mm512_fmadd_ps(odd(a), odd(b), sums);
    return _mm512_fmadd_ps(even(a), even(b), sums);
}

void emulated_dpbf16(int sums, int a, int b)
{
    uint8_t *to = tile_of(sums);
    const uint8_t *from = tile_of(a), *with = tile_of(b);
    __m512i columns[ROWS];
    for (int k = 0; k < ROWS; k++)
        columns[k] = flush(_mm512_load_si512(with + k * ROW));
    for (int r = 0; r < ROWS; r++) {
        __m512 s = _mm512_load_ps(to + r * ROW);
        for (int k = 0; k < ROWS; k++) {
            int32_t pair;
            memcpy(&pair, from + r * ROW + 4 * k, sizeof pair);
            __m512i x = flush(_mm512_set1_epi32(pair));
            s = _mm512_fmadd_ps(even(x), even(columns[k]), s);
            s = _mm512_fmadd_ps(odd(x), odd(columns[k]), s);
        }
        _mm512_store_ps(to + r * ROW, s);
    }
}

__m256i emulated_half(__m512 x)
{
    __m512i u = _mm512_castps_si512(x), exponent = _mm512_set1_epi32(0x7f800000);
    __m512i last = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i half = _mm512_add_epi32(u, _mm512_add_epi32(last, _mm512_set1_epi32(0x7fff)));
    __m512i quiet = _mm512_or_si512(u, _mm512_set1_epi32(1 << 22));
    half = _mm512_mask_mov_epi32(half, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), quiet);
    half = _mm512_mask_and_epi32(half, _mm512_testn_epi32_mask(u, exponent), u,
                                 _mm512_set1_epi32((int)0x80000000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(half, 16));
}

/* The linker's --wrap: this processor, but with AMX and bf16 wherever it has AVX-512. */
rlm_cpu __real_rlm_cpu_detect(void);
rlm_cpu __wrap_rlm_cpu_detect(void);

rlm_cpu __wrap_rlm_cpu_detect(void)
{
    rlm_cpu cpu = __real_rlm_cpu_detect();
    if (cpu.avx512 && cpu.avx512_vnni)
        cpu.amx_bf16 = cpu.amx_int8 = cpu.avx512_bf16 = true;
    return cpu;
}
