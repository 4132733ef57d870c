/* Tables made once: floors as mip chains, tileable noise, the tone curve. The same for every seed;
 * a scene turns, shifts and tints them. */
#include <string.h>

#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/world/world.h"

enum { TEXTURE_STREAM = 0x7e };

static float lattice(int octave, int x, int y, int period)
{
    x &= period - 1;
    y &= period - 1;
    return rlm_rng_uniform(TEXTURE_STREAM, (uint64_t)octave,
                           (uint64_t)y * (uint64_t)period + (uint64_t)x);
}

/* Value noise of `period` cells across, at (u, v) in [0, 1). */
static float value_noise(int octave, float u, float v, int period)
{
    float x = u * (float)period, y = v * (float)period;
    int ix = w_floor(x), iy = w_floor(y);
    float fx = x - (float)ix, fy = y - (float)iy;
    fx = fx * fx * (3 - 2 * fx);
    fy = fy * fy * (3 - 2 * fy);
    float a = lattice(octave, ix, iy, period), b = lattice(octave, ix + 1, iy, period);
    float c = lattice(octave, ix, iy + 1, period), d = lattice(octave, ix + 1, iy + 1, period);
    return a + fx * (b - a) + fy * (c - a + fx * (a - b - c + d));
}

static void make_noise(float *noise)
{
    for (int y = 0; y < NOISE; y++)
        for (int x = 0; x < NOISE; x++) {
            float sum = 0, weight = 0.5f;
            for (int k = 0; k < 6; k++, weight *= 0.5f)
                sum += weight * value_noise(k, (float)x / NOISE, (float)y / NOISE, 4 << k);
            noise[y * NOISE + x] = sum * (1.0f / 0.984375f);
        }
}

float rlm_noise(const struct rlm_world *w, float u, float v)
{
    float x = u * NOISE, y = v * NOISE;
    int ix = w_floor(x), iy = w_floor(y);
    float fx = x - (float)ix, fy = y - (float)iy;
    int x0 = ix & (NOISE - 1), x1 = (ix + 1) & (NOISE - 1);
    const float *a = w->noise + (iy & (NOISE - 1)) * NOISE;
    const float *b = w->noise + ((iy + 1) & (NOISE - 1)) * NOISE;
    return a[x0] + fx * (a[x1] - a[x0]) +
           fy * (b[x0] - a[x0] + fx * (a[x0] - a[x1] - b[x0] + b[x1]));
}

/* u, v in [0, 1): W_TILE metres. Linear albedo. */
static v3 grass(const struct rlm_world *w, float u, float v, int x, int y)
{
    float blade = rlm_noise(w, u * 6, v * 2) - 0.5f, tuft = rlm_noise(w, u * 3 + 0.3f, v * 3);
    float fine =
        rlm_rng_uniform(3, TEXTURE_STREAM, (uint64_t)(y / 3) * TEXTURE + (uint64_t)x) - 0.5f;
    float tone = w_clamp(0.5f + 1.5f * blade + 0.55f * fine + 0.6f * (tuft - 0.5f), 0, 1);
    v3 c = v3_mix(v3_make(0.035f, 0.12f, 0.02f), v3_make(0.24f, 0.42f, 0.07f), tone);
    return v3_mix(c, v3_make(0.36f, 0.40f, 0.10f), 0.25f * w_smooth(0.55f, 0.8f, tuft));
}

static v3 sand(const struct rlm_world *w, float u, float v, int x, int y)
{
    float bend = rlm_noise(w, u, v) * 1.4f;
    float wave = (float)w_sin(2 * W_PI * (14.0 * (double)v + 2.2 * (double)bend));
    float grain = rlm_rng_uniform(4, TEXTURE_STREAM, (uint64_t)y * TEXTURE + (uint64_t)x) - 0.5f;
    float tone = 0.62f + 0.10f * wave + 0.22f * grain + 0.35f * (rlm_noise(w, u * 4, v * 4) - 0.5f);
    return v3_mix(v3_make(0.34f, 0.21f, 0.10f), v3_make(0.86f, 0.66f, 0.40f), w_clamp(tone, 0, 1));
}

static v3 snow(const struct rlm_world *w, float u, float v, int x, int y)
{
    float soft = rlm_noise(w, u * 2, v * 2), bump = rlm_noise(w, u * 7 + 0.1f, v * 7);
    float dot = rlm_rng_uniform(5, TEXTURE_STREAM, (uint64_t)y * TEXTURE + (uint64_t)x);
    float tone = w_clamp(0.4f + 0.9f * (soft - 0.5f) + 0.8f * (bump - 0.5f) + 0.12f * dot, 0, 1);
    v3 c = v3_mix(v3_make(0.56f, 0.66f, 0.82f), v3_make(0.93f, 0.95f, 0.98f), tone);
    return dot > 0.992f ? v3_scale(c, 1.08f) : c;
}

static v3 planks(const struct rlm_world *w, float u, float v)
{
    float across = v * 14;
    int row = w_floor(across);
    float in = across - (float)row;
    float shift = rlm_rng_uniform(6, TEXTURE_STREAM, (uint64_t)row);
    float along = (u + shift) * 3;
    int piece = w_floor(along) % 3;
    float at = along - (float)w_floor(along);
    float hue = rlm_rng_uniform(7, TEXTURE_STREAM, (uint64_t)row * 3 + (uint64_t)piece);
    float grain = rlm_noise(w, u * 2 + shift, v * 24) - 0.5f;
    float ring = (float)w_sin(2 * W_PI * (double)(in * 2 + 3 * rlm_noise(w, u + hue, v * 3)));
    float tone = w_clamp(0.32f + 0.45f * hue + 0.6f * grain + 0.08f * ring, 0, 1);
    v3 c = v3_mix(v3_make(0.19f, 0.085f, 0.032f), v3_make(0.56f, 0.32f, 0.14f), tone);
    float seam = w_smooth(0.0f, 0.05f, in) * w_smooth(0.0f, 0.05f, 1 - in) *
                 w_smooth(0.0f, 0.008f, at) * w_smooth(0.0f, 0.008f, 1 - at);
    return v3_scale(c, 0.25f + 0.75f * seam);
}

static v3 tiles(const struct rlm_world *w, float u, float v)
{
    float x = u * 8, y = v * 8;
    int ix = w_floor(x), iy = w_floor(y);
    float fx = x - (float)ix, fy = y - (float)iy;
    float cloud = rlm_noise(w, u * 3, v * 3) - 0.5f;
    float vein = w_smooth(0.035f, 0.0f, fabsf(rlm_noise(w, u * 2 + 0.4f, v * 2) - 0.5f));
    float own = rlm_rng_uniform(8, TEXTURE_STREAM, (uint64_t)iy * 8 + (uint64_t)ix) - 0.5f;
    v3 c = (ix + iy) & 1 ? v3_make(0.70f, 0.68f, 0.63f) : v3_make(0.20f, 0.23f, 0.27f);
    c = v3_scale(c, 1 + 0.25f * cloud + 0.12f * own - 0.12f * vein);
    float inside = w_smooth(0.0f, 0.03f, fx) * w_smooth(0.0f, 0.03f, 1 - fx) *
                   w_smooth(0.0f, 0.03f, fy) * w_smooth(0.0f, 0.03f, 1 - fy);
    return v3_mix(v3_make(0.36f, 0.34f, 0.31f), c, inside);
}

static uint8_t encode(float x)
{
    return (uint8_t)(w_clamp(sqrtf(w_clamp(x, 0, 1)) * 255.0f + 0.5f, 0, 255));
}

static void make_floor(const struct rlm_world *w, int floor, uint8_t *to)
{
    for (int y = 0; y < TEXTURE; y++)
        for (int x = 0; x < TEXTURE; x++, to += 4) {
            float u = ((float)x + 0.5f) / TEXTURE, v = ((float)y + 0.5f) / TEXTURE;
            v3 c = floor == GRASS    ? grass(w, u, v, x, y)
                   : floor == SAND   ? sand(w, u, v, x, y)
                   : floor == SNOW   ? snow(w, u, v, x, y)
                   : floor == PLANKS ? planks(w, u, v)
                                     : tiles(w, u, v);
            to[0] = encode(c.x);
            to[1] = encode(c.y);
            to[2] = encode(c.z);
            to[3] = 0;
        }
}

static void make_mips(uint8_t *level)
{
    for (int n = TEXTURE; n > 1; n /= 2) {
        uint8_t *next = level + (size_t)n * (size_t)n * 4;
        for (int y = 0; y < n / 2; y++)
            for (int x = 0; x < n / 2; x++)
                for (int k = 0; k < 4; k++) {
                    const uint8_t *a =
                        level + ((size_t)(2 * y) * (size_t)n + 2 * (size_t)x) * 4 + k;
                    int sum = a[0] + a[4] + a[4 * n] + a[4 * n + 4];
                    next[((size_t)y * (size_t)(n / 2) + (size_t)x) * 4 + k] =
                        (uint8_t)((sum + 2) / 4);
                }
        level = next;
    }
}

static void make_tone(uint8_t *tone)
{
    for (int i = 0; i < TONES; i++) {
        double x = 1 - w_exp(-1.35 * ((double)i + 0.5) * 4 / TONES);
        double y = x < 0.0031308 ? 12.92 * x : 1.055 * w_pow(x, 1 / 2.4) - 0.055;
        tone[i] = (uint8_t)(y * 255 + 0.5);
    }
}

int rlm_textures_make(struct rlm_world *w, rlm_error *err)
{
    w->noise = rlm_alloc(sizeof(float) * NOISE * NOISE);
    if (!w->noise)
        return rlm_fail(err, RLM_E_NOMEM, "playground: no memory for its textures");
    make_noise(w->noise);
    make_tone(w->tone);
    for (int i = 0; i < FLOORS; i++) {
        w->floor[i] = rlm_alloc((size_t)TEXTURE * TEXTURE * 4 / 3 * 4 + 64);
        if (!w->floor[i])
            return rlm_fail(err, RLM_E_NOMEM, "playground: no memory for its textures");
        make_floor(w, i, w->floor[i]);
        make_mips(w->floor[i]);
    }
    return 0;
}
