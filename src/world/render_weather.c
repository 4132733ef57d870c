/* Rain and snow: drops and flakes in the air between the camera and what it sees. They belong to
 * the picture only, not to depth, flow or mask. */
#include "src/base/rng.h"
#include "src/world/render.h"

enum { WEATHER_STREAM = 0x3a1 };

static void blend(rlm_frame *f, int x, int y, float z, v3 c, float share)
{
    if (x < 0 || y < 0 || x >= f->width || y >= f->height)
        return;
    int i = y * f->width + x;
    if (f->depth[i] < z || share <= 0)
        return;
    float *p = f->rgb + 3 * i;
    p[0] += share * (c.x - p[0]);
    p[1] += share * (c.y - p[1]);
    p[2] += share * (c.z - p[2]);
}

static void streak(rlm_frame *f, float x, float y, float length, float z, v3 c, float share)
{
    int rows = (int)length + 2;
    for (int k = 0; k < rows; k++) {
        float at = y - (float)k, cover = w_clamp(length - (float)k + 0.5f, 0, 1);
        float along = x + 0.12f * (float)k, fx = along - 0.5f;
        int ix = w_floor(fx);
        float part = fx - (float)ix;
        blend(f, ix, w_floor(at), z, c, share * cover * (1 - part));
        blend(f, ix + 1, w_floor(at), z, c, share * cover * part);
    }
}

static void flake(rlm_frame *f, float x, float y, float r, float z, v3 c, float share)
{
    int x0 = w_floor(x - r - 0.5f), x1 = w_floor(x + r + 0.5f);
    int y0 = w_floor(y - r - 0.5f), y1 = w_floor(y + r + 0.5f);
    for (int iy = y0; iy <= y1; iy++)
        for (int ix = x0; ix <= x1; ix++) {
            float dx = (float)ix + 0.5f - x, dy = (float)iy + 0.5f - y;
            float d = sqrtf(dx * dx + dy * dy);
            blend(f, ix, iy, z, c, share * w_clamp(r + 0.5f - d, 0, 1));
        }
}

void rlm_weather_draw(rlm_frame *f)
{
    const rlm_scene *s = f->scene;
    if (s->weather == CLEAR)
        return;
    int rain = s->weather == RAIN, dark = s->sky == NIGHT;
    int count = rain ? 420 : 520;
    float wide = f->view.half_w / f->view.focal, tall = f->view.half_h / f->view.focal;
    float speed = rain ? 6.5f : 0.85f;
    v3 c = rain ? v3_make(0.75f, 0.8f, 0.9f) : v3_make(1.1f, 1.12f, 1.18f);
    c = v3_scale(c, dark ? 0.45f : 1.0f);
    float ink = 0.34f;
    if (rain && f->style == PENCIL) { /* on paper, strokes are darker than what they cross */
        c = v3_make(0.10f, 0.11f, 0.15f);
        ink = 0.6f;
    }
    for (int i = 0; i < count; i++) {
        uint64_t at = (uint64_t)i * 4;
        float a = rlm_rng_uniform(s->seed, WEATHER_STREAM, at);
        float b = rlm_rng_uniform(s->seed, WEATHER_STREAM, at + 1);
        float e = rlm_rng_uniform(s->seed, WEATHER_STREAM, at + 2);
        float z = 1.4f + 9.0f * e * e, high = 2.2f * tall * z + 0.2f;
        float fallen = b * high + (float)f->t * speed * (0.85f + 0.3f * a);
        fallen -= high * (float)w_floor(fallen / high);
        float sway = rain ? 0 : 0.10f * (float)w_sin((double)(1.3f * (float)f->t + 20 * a));
        float x = (2.3f * a - 1.15f) * wide * z + sway, y = 0.5f * high - fallen,
              k = f->view.focal / z;
        float px = f->view.half_w + x * k, py = f->view.half_h - y * k;
        if (rain)
            streak(f, px, py, w_max(speed * 0.028f * k, 2), z, c, ink * w_min(1, 3.2f / z));
        else
            flake(f, px, py, w_clamp(0.018f * k, 0.45f * f->line, 3 * f->line), z, c, 0.85f);
    }
}
