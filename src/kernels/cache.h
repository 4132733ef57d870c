/* Layout of the key and value cache: one for every level, in the order in which a step of
 * generation streams it. A head of a sequence is one region, [batch][heads] of them behind each
 * other; capacity is rounded up to 16 keys, the width of keys to a multiple of 4.
 *
 *   16 bits: keys bf16 [block of 16 keys][width / 2][16 keys][2], values bf16 [key / 2][dim][2]
 *    8 bits: keys [block of 16 keys][width / 4][16 keys][4] bytes of q + 128,
 *            values int8 [key / 4][dim][4], then f32 scales of keys [keys] and of values [keys]
 *
 * With 8 bits a scale is the row's largest magnitude / 127, 0 below 1e-30; a row that is not finite
 * has the scale NaN. Memory starts zeroed. */
#ifndef RLM_KERNELS_CACHE_H
#define RLM_KERNELS_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "src/kernels/kernels.h"

static inline size_t rlm_cache_keys(int capacity)
{
    return ((size_t)capacity + 15) / 16 * 16;
}
static inline size_t rlm_cache_width(int dim)
{
    return ((size_t)dim + 3) / 4 * 4;
}
/* Bytes of the keys of one head, and of its whole region (a multiple of 64). */
static inline size_t rlm_cache_key_bytes(const rlm_cache_shape *s)
{
    return rlm_cache_keys(s->capacity) * rlm_cache_width(s->dim) * (s->bits == 8 ? 1 : 2);
}
static inline size_t rlm_cache_value_bytes(const rlm_cache_shape *s)
{
    size_t bytes = rlm_cache_keys(s->capacity) * (size_t)s->dim * (s->bits == 8 ? 1 : 2);
    return (bytes + 63) / 64 * 64;
}
static inline size_t rlm_cache_head_bytes(const rlm_cache_shape *s)
{
    size_t scales = s->bits == 8 ? 8 * rlm_cache_keys(s->capacity) : 0;
    return (rlm_cache_key_bytes(s) + rlm_cache_value_bytes(s) + scales + 63) / 64 * 64;
}
/* Parts of the region of head `item` = batch * heads + head. */
static inline uint8_t *rlm_cache_head(const rlm_cache_shape *s, const void *cache, int64_t item)
{
    return (uint8_t *)(uintptr_t)cache + (size_t)item * rlm_cache_head_bytes(s);
}
static inline float *rlm_cache_scales(const rlm_cache_shape *s, uint8_t *head)
{
    return (float *)(void *)(head + rlm_cache_key_bytes(s) + rlm_cache_value_bytes(s));
}
/* Element of key or value `at` in elements (not bytes) from the start of its part. */
static inline size_t rlm_cache_key_at(const rlm_cache_shape *s, int64_t key, int d)
{
    size_t run = s->bits == 8 ? 4 : 2, width = rlm_cache_width(s->dim);
    return ((size_t)(key / 16) * (width / run) + (size_t)d / run) * 16 * run +
           (size_t)(key % 16) * run + (size_t)d % run;
}
static inline size_t rlm_cache_value_at(const rlm_cache_shape *s, int64_t key, int d)
{
    int64_t run = s->bits == 8 ? 4 : 2;
    return ((size_t)(key / run) * (size_t)s->dim + (size_t)d) * (size_t)run + (size_t)(key % run);
}

#endif
