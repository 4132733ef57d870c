/* Flow and depth as three channels of a picture, scaled over the clip, never over a frame, and the
 * way back. */
#include <string.h>

#include "src/base/mem.h"
#include "src/world/world.h"

static uint8_t byte(float x)
{
    return (uint8_t)(w_clamp(x, 0, 255) + 0.5f);
}

int rlm_control_pack(const float *depth, const float *flow, int frames, int height, int width,
                     rlm_clip *out, rlm_control_range *range, rlm_error *err)
{
    if (frames < 1 || height < 1 || width < 1)
        return rlm_fail(err, RLM_E_RANGE, "control: %d frames of %d x %d", frames, width, height);
    size_t n = rlm_size_mul(rlm_size_mul((size_t)frames, (size_t)height), (size_t)width);
    uint8_t *rgb = rlm_alloc(rlm_size_mul(n, 3));
    if (!rgb)
        return rlm_fail(err, RLM_E_NOMEM, "control: no memory for %d frames of %d x %d", frames,
                        width, height);
    rlm_control_range r = {.flow = 1e-3f, .near = 0, .far = 1e30f};
    for (size_t i = 0; flow && i < 2 * n; i++)
        r.flow = w_max(r.flow, fabsf(flow[i]));
    for (size_t i = 0; depth && i < n; i++) {
        float q = 1.0f / w_clamp(depth[i], 0.01f, W_FAR);
        r.near = w_max(r.near, q);
        r.far = w_min(r.far, q);
    }
    if (!depth)
        r.far = 0;
    if (r.near < r.far + 1e-6f)
        r.near = r.far + 1e-6f;
    float k = 127.0f / r.flow, s = 255.0f / (r.near - r.far);
    for (size_t i = 0; i < n; i++) {
        rgb[3 * i] = flow ? byte(128 + k * flow[2 * i]) : 128;
        rgb[3 * i + 1] = flow ? byte(128 + k * flow[2 * i + 1]) : 128;
        rgb[3 * i + 2] = depth ? byte(s * (1.0f / w_clamp(depth[i], 0.01f, W_FAR) - r.far)) : 0;
    }
    memset(out, 0, sizeof *out);
    out->video = (rlm_frames){frames, height, width, 8, 1, rgb};
    if (range)
        *range = r;
    return 0;
}

void rlm_control_unpack(const rlm_frames *packed, const rlm_control_range *range, float *depth,
                        float *flow)
{
    size_t n = (size_t)packed->count * (size_t)packed->height * (size_t)packed->width;
    float k = range->flow / 127.0f, s = (range->near - range->far) / 255.0f;
    for (size_t i = 0; i < n; i++) {
        if (flow) {
            flow[2 * i] = k * ((float)packed->rgb[3 * i] - 128);
            flow[2 * i + 1] = k * ((float)packed->rgb[3 * i + 1] - 128);
        }
        if (depth)
            depth[i] = 1.0f / w_max(range->far + s * (float)packed->rgb[3 * i + 2], 1.0f / W_FAR);
    }
}
