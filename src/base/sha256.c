/* SHA-256 as FIPS 180-4 writes it; section numbers refer to that text. */
#include <string.h>

#include "src/base/file.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t k256[64] = {/* 4.2.2 */
                                  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b,
                                  0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
                                  0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7,
                                  0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
                                  0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152,
                                  0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
                                  0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
                                  0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
                                  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
                                  0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
                                  0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
                                  0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
                                  0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotr(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void block(uint32_t state[8], const uint8_t *p) /* 6.2.2 */
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    memcpy(s, state, sizeof s);
    /* In round j letter n of the text, 0 to 7 for a to h, is s[(n - j) % 8]: nothing moves, and
     * with the loop unrolled the letters are registers. */
#define S(n) s[((n)-j) & 7]
    for (int i = 0; i < 64; i += 8)
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
            uint32_t e1 = rotr(S(4), 6) ^ rotr(S(4), 11) ^ rotr(S(4), 25);
            uint32_t ch = (S(4) & S(5)) ^ (~S(4) & S(6));
            uint32_t t1 = S(7) + e1 + ch + k256[i + j] + w[i + j];
            uint32_t e0 = rotr(S(0), 2) ^ rotr(S(0), 13) ^ rotr(S(0), 22);
            uint32_t t2 = e0 + ((S(0) & S(1)) ^ (S(0) & S(2)) ^ (S(1) & S(2)));
            S(3) += t1;
            S(7) = t1 + t2;
        }
#undef S
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

#if defined(__x86_64__)
/* The same with the processor's own rounds (Intel SHA extensions): two rounds an instruction. The
 * state lives as ABEF and CDGH; blocks of 64 bytes. */
__attribute__((target("sha,sse4.1,ssse3"))) static void blocks_by_cpu(uint32_t state[8],
                                                                      const uint8_t *p, size_t n)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i t = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xb1);
    __m128i s1 =
        _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1b);
    __m128i s0 = _mm_alignr_epi8(t, s1, 8);
    s1 = _mm_blend_epi16(s1, t, 0xf0);
    for (; n > 0; n--, p += 64) {
        __m128i w[4], from0 = s0, from1 = s1;
        for (int i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i)),
                                    swap);
        for (int i = 0; i < 16; i++) {
            __m128i k = _mm_loadu_si128((const __m128i *)(const void *)(k256 + 4 * i));
            __m128i m = _mm_add_epi32(w[i % 4], k);
            s1 = _mm_sha256rnds2_epu32(s1, s0, m);
            s0 = _mm_sha256rnds2_epu32(s0, s1, _mm_shuffle_epi32(m, 0x0e));
            /* w[i] becomes w of four rounds times four later */
            __m128i next = _mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]);
            next = _mm_add_epi32(next, _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4));
            w[i % 4] = _mm_sha256msg2_epu32(next, w[(i + 3) % 4]);
        }
        s0 = _mm_add_epi32(s0, from0);
        s1 = _mm_add_epi32(s1, from1);
    }
    t = _mm_shuffle_epi32(s0, 0x1b);
    s1 = _mm_shuffle_epi32(s1, 0xb1);
    s0 = _mm_blend_epi16(t, s1, 0xf0);
    s1 = _mm_alignr_epi8(s1, t, 8);
    _mm_storeu_si128((__m128i *)(void *)state, s0);
    _mm_storeu_si128((__m128i *)(void *)(state + 4), s1);
}

static int cpu_has_sha(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1) &&
           __builtin_cpu_supports("sse4.1");
}
#endif

static void blocks(uint32_t state[8], const uint8_t *p, size_t n)
{
#if defined(__x86_64__)
    if (cpu_has_sha()) {
        blocks_by_cpu(state, p, n);
        return;
    }
#endif
    for (; n > 0; n--, p += 64)
        block(state, p);
}

void rlm_sha256_hex(const void *data, size_t bytes, char out[65])
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}; /* 5.3.3 */
    const uint8_t *p = bytes ? data : (const uint8_t *)""; /* NULL may not move, even by 0 */
    size_t left = bytes % 64;
    blocks(state, p, bytes / 64);
    p += bytes - left;
    uint8_t tail[128] = {0}; /* 5.1.1: 1 bit, zeros, length in bits */
    if (left)
        memcpy(tail, p, left);
    tail[left] = 0x80;
    int more = left < 56 ? 1 : 2;
    uint64_t bits = (uint64_t)bytes * 8;
    for (int i = 0; i < 8; i++)
        tail[64 * more - 1 - i] = (uint8_t)(bits >> (8 * i));
    blocks(state, tail, (size_t)more);
    static const char hex[] = "0123456789abcdef";
    for (int i = 0; i < 64; i++)
        out[i] = hex[state[i / 8] >> (28 - 4 * (i % 8)) & 15];
    out[64] = 0;
}
