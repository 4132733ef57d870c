/* What this processor, and the system above it, let us use. */
#define _GNU_SOURCE /* syscall() */
#include "src/kernels/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TILE_DATA = 18, XCOMP_REQUEST = 0x1023 }; /* arch_prctl(ARCH_REQ_XCOMP_PERM, TILEDATA) */

static bool bit(unsigned word, int i)
{
    return word >> i & 1;
}

/* State components the system saves: XCR0. */
static unsigned saved_state(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Linux hands out tile registers on request only, for the whole process. */
static bool tiles_granted(void)
{
    return syscall(SYS_arch_prctl, XCOMP_REQUEST, TILE_DATA) == 0;
}

rlm_cpu rlm_cpu_detect(void)
{
    rlm_cpu cpu = {.simd = false};
    unsigned a, b, c, d, ymm = 0x6, zmm = 0xe6, tiles = 0x60000;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return cpu;
    cpu.simd = bit(c, 9) && bit(c, 19); /* SSSE3, SSE4.1 */
    if (!bit(c, 27))
        return cpu;
    unsigned state = saved_state();
    cpu.fma = bit(c, 12) && bit(c, 29) && (state & ymm) == ymm;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return cpu;
    cpu.avx2 = cpu.fma && bit(b, 5);
    cpu.avx512 = cpu.avx2 && (state & zmm) == zmm && bit(b, 16) && bit(b, 17) && bit(b, 28) &&
                 bit(b, 30) && bit(b, 31);
    cpu.avx512_vnni = cpu.avx512 && bit(c, 11);
    bool tile = cpu.avx512 && (state & tiles) == tiles && bit(d, 24);
    if (tile && (bit(d, 22) || bit(d, 25)) && tiles_granted()) {
        cpu.amx_bf16 = bit(d, 22);
        cpu.amx_int8 = bit(d, 25);
    }
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d))
        cpu.avx512_bf16 = cpu.avx512 && bit(a, 5);
    return cpu;
}

#else

rlm_cpu rlm_cpu_detect(void)
{
#ifdef __aarch64__
    rlm_cpu cpu = {.simd = true}; /* NEON belongs to every one */
#else
    rlm_cpu cpu = {.simd = false};
#endif
    return cpu;
}

#endif
