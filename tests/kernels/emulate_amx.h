/* The instructions of AMX and AVX512-BF16 by functions, put in front of the sources of those levels
 * (-include), so that a machine with plain AVX-512 runs them: check_kernels_emulated. Tiles are 16
 * rows of 64 bytes, as amx.h configures them. */
#ifndef RLM_TESTS_EMULATE_AMX_H
#define RLM_TESTS_EMULATE_AMX_H

#include <immintrin.h>
#include <stddef.h>

/* Of the calling thread. Using tiles outside loadconfig .. release ends the program. */
void emulated_loadconfig(const void *config);
void emulated_release(void);
void emulated_zero(int tile);
void emulated_load(int tile, const void *from, size_t stride);
void emulated_store(int tile, void *to, size_t stride);
void emulated_dpbf16(int sums, int a, int b);

/* Rounded to nearest, ties to even; denormals become zeros. */
__m256i emulated_half(__m512 x);
__m512 emulated_dot(__m512 sums, __m512i a, __m512i b);

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig   emulated_loadconfig
#define _tile_release      emulated_release
#define _tile_zero         emulated_zero
#define _tile_loadd        emulated_load
#define _tile_stream_loadd emulated_load
#define _tile_stored       emulated_store
#define _tile_dpbf16ps     emulated_dpbf16

#define _mm512_cvtneps_pbh(x) ((__m256bh)emulated_half(x))
#define _mm512_cvtne2ps_pbh(high, low)                                                             \
    ((__m512bh)_mm512_inserti64x4(_mm512_castsi256_si512(emulated_half(low)), emulated_half(high), \
                                  1))
#define _mm512_dpbf16_ps(sums, a, b) emulated_dot(sums, (__m512i)(a), (__m512i)(b))

#endif
