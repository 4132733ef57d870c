/* Counter-based random numbers: value = f(seed, stream, index). No state, so any order of draws
 * and any number of threads give the same numbers. */
#ifndef RLM_BASE_RNG_H
#define RLM_BASE_RNG_H

#include <math.h>
#include <stdint.h>

/* Finaliser of splitmix64 (Steele, Lea, Flood 2014), applied twice over the mixed words. */
static inline uint64_t rlm_rng_mix(uint64_t z)
{
    z += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static inline uint64_t rlm_rng(uint64_t seed, uint64_t stream, uint64_t index)
{
    return rlm_rng_mix(rlm_rng_mix(seed ^ rlm_rng_mix(stream)) + index * 0xd1342543de82ef95ull);
}

/* Uniform in [0, 1), 24 bits. */
static inline float rlm_rng_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (float)(rlm_rng(seed, stream, index) >> 40) * (1.0f / 16777216.0f);
}

/* Integer in [0, n), n >= 1. */
static inline uint32_t rlm_rng_below(uint64_t seed, uint64_t stream, uint64_t index, uint32_t n)
{
    return (uint32_t)(((rlm_rng(seed, stream, index) >> 32) * (uint64_t)n) >> 32);
}

/* Standard normal (Box-Muller on two draws of the same index). */
static inline float rlm_rng_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint64_t r = rlm_rng(seed, stream, index);
    double u = ((double)(r >> 40) + 1.0) * (1.0 / 16777217.0);
    double v = (double)(r & 0xffffff) * (1.0 / 16777216.0);
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

#endif
