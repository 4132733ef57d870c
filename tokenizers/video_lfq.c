/* Lookup-free quantiser, outside the networks: code = sum over i of 2^i [z_i > 0]. */
#include "tokenizers/video.h"

void rlm_video_unpack(const int32_t *ids, int64_t rows, int bits, float *q)
{
    for (int64_t r = 0; r < rows; r++)
        for (int i = 0; i < bits; i++)
            q[r * bits + i] = (ids[r] >> i) & 1 ? 1.0f : -1.0f;
}
