/* Light and surfaces: what colour a ray brings back, in linear light. */
#include <string.h>

#include "src/base/rng.h"
#include "src/world/render.h"

enum { LOOK_STREAM = 0x100c };

static float draw(const rlm_scene *s, int i, float low, float high)
{
    return low + (high - low) * rlm_rng_uniform(s->seed, LOOK_STREAM, (uint64_t)i);
}

void rlm_light_set(rlm_frame *f)
{
    static const v3 light[] = {
        {1.55f, 1.47f, 1.34f}, {1.75f, 0.98f, 0.52f}, {0.42f, 0.52f, 0.80f}, {1.15f, 1.08f, 0.97f}};
    static const v3 ambient[] = {
        {0.40f, 0.46f, 0.56f}, {0.44f, 0.38f, 0.46f}, {0.15f, 0.18f, 0.30f}, {0.52f, 0.50f, 0.47f}};
    static const v3 zenith[] = {
        {0.09f, 0.25f, 0.68f}, {0.16f, 0.13f, 0.36f}, {0.004f, 0.007f, 0.028f}, {0.5f, 0.5f, 0.5f}};
    static const v3 horizon[] = {
        {0.52f, 0.70f, 0.92f}, {1.30f, 0.52f, 0.16f}, {0.035f, 0.05f, 0.12f}, {0.5f, 0.5f, 0.5f}};
    static const v3 walls[] = {
        {0.72f, 0.62f, 0.46f}, {0.45f, 0.55f, 0.66f}, {0.52f, 0.60f, 0.47f}, {0.68f, 0.50f, 0.47f}};
    static const v3 bounces[] = {{0.10f, 0.18f, 0.04f},
                                 {0.34f, 0.26f, 0.16f},
                                 {0.5f, 0.53f, 0.6f},
                                 {0.20f, 0.12f, 0.06f},
                                 {0.26f, 0.26f, 0.25f}};
    const rlm_scene *s = f->scene;
    float ce = (float)w_cos(s->light_elevation), se = (float)w_sin(s->light_elevation);
    f->sun = v3_make(ce * (float)w_cos(s->light_azimuth), se, ce * (float)w_sin(s->light_azimuth));
    f->overcast = s->weather == CLEAR ? 0.0f : 1.0f;
    f->light = v3_scale(light[s->sky], 1 - 0.55f * f->overcast);
    f->ambient = v3_scale(ambient[s->sky], 1 + 0.25f * f->overcast);
    f->zenith = zenith[s->sky];
    f->horizon = horizon[s->sky];
    if (f->overcast > 0 && s->sky != SUNSET) {
        float g = s->sky == NIGHT ? 0.035f : 0.52f;
        v3 grey = {g, g * 1.04f, g * 1.12f};
        f->zenith = v3_mix(f->zenith, v3_scale(grey, 0.7f), 0.75f);
        f->horizon = v3_mix(f->horizon, grey, 0.75f);
    } else if (f->overcast > 0) {
        f->zenith = v3_mix(f->zenith, v3_make(0.22f, 0.18f, 0.24f), 0.4f);
        f->horizon = v3_scale(f->horizon, 0.85f);
    }
    f->glow = v3_scale(f->light, 1 - f->overcast);
    f->wall = v3_scale(walls[(int)draw(s, 0, 0, 3.999f)], draw(s, 1, 0.85f, 1.05f));
    f->floor_tint = v3_scale(v3_make(draw(s, 2, 0.94f, 1.06f), 1, draw(s, 3, 0.94f, 1.06f)),
                             draw(s, 4, 0.85f, 1.1f));
    f->penumbra = s->sky == INDOORS ? 0.13f : f->overcast > 0 ? 0.22f : 0.06f;
    v3 up = v3_mad(f->ambient, f->light, 0.6f * f->sun.y);
    f->bounce = v3_mul(bounces[s->floor], up);
    float angle = draw(s, 5, 0, 6.2831f);
    if (s->floor >= PLANKS)
        angle *= 0.25f;
    f->texture_cos = (float)w_cos((double)angle) / W_TILE;
    f->texture_sin = (float)w_sin((double)angle) / W_TILE;
    f->texture_u = draw(s, 6, 0, 1);
    f->texture_v = draw(s, 7, 0, 1);
    f->cloud_u = draw(s, 8, 0, 1);
    f->cloud_v = draw(s, 9, 0, 1);
}

/* Small bright dots fixed in the sky. */
static float stars(const rlm_frame *f, v3 d)
{
    float k = 26.0f / (1.0f + d.y), x = d.x * k, y = d.z * k;
    int ix = w_floor(x), iy = w_floor(y);
    uint64_t r =
        rlm_rng(f->scene->seed, LOOK_STREAM + 1, (uint64_t)((int64_t)(iy + 512) * 1024 + ix + 512));
    if ((r & 15) > 5)
        return 0;
    float px = 0.2f + 0.6f * (float)(r >> 40) * (1.0f / 16777216.0f);
    float py = 0.2f + 0.6f * (float)((r >> 16) & 0xffffff) * (1.0f / 16777216.0f);
    float dx = x - (float)ix - px, dy = y - (float)iy - py;
    float wide = w_max(0.05f, 26.0f * 0.6f / f->view.focal);
    float q = (dx * dx + dy * dy) / (wide * wide);
    return q < 1 ? (1 - q) * (1 - q) * (0.3f + 0.12f * (float)((r >> 4) & 7)) : 0;
}

/* d: unit. crisp: clouds and stars too; else the blurred sky that surfaces mirror. */
static v3 sky(const rlm_frame *f, v3 d, int crisp)
{
    const rlm_scene *s = f->scene;
    if (s->sky == INDOORS) {
        float lift = w_clamp(0.5f + 0.5f * d.y, 0, 1);
        v3 lit = v3_mul(f->wall, v3_mad(f->ambient, f->light, 0.25f + 0.3f * lift));
        float lamp = w_smooth(0.86f, 0.95f, v3_dot(d, f->sun));
        return v3_mad(v3_scale(lit, 0.45f + 0.6f * lift), f->light, 2.0f * lamp);
    }
    float e = w_clamp(d.y, 0, 1), up = w_clamp(e * 2.2f, 0, 1);
    up = 1 - (1 - up) * (1 - up);
    v3 c = v3_mix(f->horizon, f->zenith, up);
    if (s->sky == SUNSET)
        c = v3_mix(c, v3_make(0.80f, 0.22f, 0.24f), 0.9f * up * (1 - up) * 2);
    float to_sun = w_max(v3_dot(d, f->sun), 0), g2 = to_sun * to_sun, g4 = g2 * g2;
    float halo = g4 * g4, disc = s->sky == NIGHT ? 0.9975f : 0.9965f;
    c = v3_mad(c, f->glow,
               (s->sky == SUNSET ? 0.30f : 0.12f) * halo * (s->sky == NIGHT ? 0.3f : 1));
    if (!crisp)
        return c;
    if (s->sky == NIGHT) {
        c = v3_mad(c, v3_make(0.9f, 0.95f, 1.1f), (1 - f->overcast) * stars(f, d) * 1.3f);
    }
    c = v3_mad(c, f->glow, 2.2f * w_smooth(disc, disc + 0.0012f, to_sun));
    float k = 0.12f / (e + 0.10f), u = f->cloud_u + d.x * k, v = f->cloud_v + d.z * k * 0.6f;
    float low = s->sky == NIGHT ? 0.6f : 0.5f - 0.12f * f->overcast;
    float cover = w_smooth(low, low + 0.2f, rlm_noise(f->world, u, v)) * w_smooth(0, 0.08f, e);
    v3 cloud = v3_mad(v3_scale(f->ambient, 0.55f), f->light, s->sky == SUNSET ? 0.30f : 0.38f);
    if (s->sky == NIGHT)
        cloud = v3_scale(cloud, 0.12f);
    if (f->overcast > 0)
        cloud = v3_scale(f->horizon, 0.8f);
    return v3_mix(c, cloud, cover * 0.85f);
}

static v3 texel(const uint8_t *level, int n, float u, float v)
{
    float x = u * (float)n - 0.5f, y = v * (float)n - 0.5f;
    int ix = w_floor(x), iy = w_floor(y);
    float fx = x - (float)ix, fy = y - (float)iy, gx = 1 - fx, gy = 1 - fy;
    int x0 = (ix & (n - 1)) * 4, x1 = ((ix + 1) & (n - 1)) * 4;
    const uint8_t *a = level + (size_t)(iy & (n - 1)) * (size_t)n * 4;
    const uint8_t *b = level + (size_t)((iy + 1) & (n - 1)) * (size_t)n * 4;
    float wa = gx * gy, wb = fx * gy, wc = gx * fy, wd = fx * fy;
    return v3_make(wa * a[x0] + wb * a[x1] + wc * b[x0] + wd * b[x1],
                   wa * a[x0 + 1] + wb * a[x1 + 1] + wc * b[x0 + 1] + wd * b[x1 + 1],
                   wa * a[x0 + 2] + wb * a[x1 + 2] + wc * b[x0 + 2] + wd * b[x1 + 2]);
}

/* Albedo of the floor at (x, z), averaged over about `foot` metres. */
static v3 floor_albedo(const rlm_frame *f, float x, float z, float foot)
{
    float u = f->texture_u + x * f->texture_cos - z * f->texture_sin;
    float v = f->texture_v + x * f->texture_sin + z * f->texture_cos;
    float texels = foot * (TEXTURE / W_TILE);
    if (f->style == CARTOON)
        texels = texels < 5 ? 5 : texels;
    int level = 0, n = TEXTURE;
    const uint8_t *p = f->world->floor[f->scene->floor];
    while (texels >= 2 && level < MIPS - 2) {
        texels *= 0.5f;
        p += (size_t)n * (size_t)n * 4;
        n /= 2;
        level++;
    }
    v3 c = texel(p, n, u, v);
    float mix = texels - 1;
    if (mix > 0)
        c = v3_mix(c, texel(p + (size_t)n * (size_t)n * 4, n / 2, u, v), w_min(mix, 1));
    float broad = f->scene->floor < PLANKS
                      ? 0.75f + 0.5f * rlm_noise(f->world, u * 0.31f, v * 0.31f)
                      : 0.9f + 0.2f * rlm_noise(f->world, u * 0.31f, v * 0.31f);
    c = v3_scale(v3_mul(c, c), broad * (1.0f / 65025.0f));
    return v3_mul(c, f->floor_tint);
}

/* Share of the light, by colour, that reaches p; the body `own` does not shade itself. */
static v3 shadow(const rlm_frame *f, v3 p, int own)
{
    v3 pass = {1, 1, 1};
    for (int i = 0; i < f->bodies; i++) {
        const rlm_body *b = &f->body[i];
        v3 to = v3_sub(b->p, p);
        float s = v3_dot(to, f->sun), miss = v3_dot(to, to) - s * s;
        float reach = b->bound + f->penumbra * w_max(s, 0);
        if (i == own || s < -b->bound || miss > reach * reach)
            continue;
        float clear = 1;
        if (b->object->shape == SHAPE_BALL) {
            float soft = f->penumbra * w_max(s, 0.05f);
            clear = s > 0 ? w_smooth(-soft, soft, sqrtf(w_max(miss, 0)) - b->d0) : 1;
        } else {
            v3 o = m3_back(&b->rotation, v3_scale(to, -1));
            float t = w_max(0.004f, s - b->bound), end = s + b->bound;
            for (int n = 0; n < 22 && t < end && clear > 0.01f; n++) {
                float h = rlm_shape_distance(b, v3_mad(o, b->sun, t));
                clear = w_min(clear, h / (1.6f * f->penumbra * t));
                t += w_max(h, 0.02f);
            }
            clear = w_smooth(0, 1, clear);
        }
        if (b->object->material == GLASS) {
            v3 tint = v3_mad(v3_make(0.30f, 0.30f, 0.30f), b->colour, 0.55f);
            pass = v3_mul(pass, v3_mix(tint, v3_make(1, 1, 1), clear));
        } else {
            pass = v3_scale(pass, clear);
        }
    }
    return pass;
}

/* Share of the open sky above a point of the floor. */
static float openness(const rlm_frame *f, v3 p)
{
    float open = 1;
    for (int i = 0; i < f->bodies; i++) {
        const rlm_body *b = &f->body[i];
        float dx = p.x - b->p.x, dz = p.z - b->p.z, r2 = b->foot * b->foot;
        float q = (dx * dx + dz * dz) / r2, gap = b->low / b->foot;
        if (q < 6)
            open *= 1 - 0.62f * (1 - q / 6) / ((1 + q * q * 0.8f) * (1 + 5 * gap * gap));
    }
    return open;
}

static v3 cel(v3 albedo, v3 ambient, v3 light, float lit)
{
    float band = lit > 0.5f ? 1.0f : lit > 0.12f ? 0.62f : 0.18f;
    return v3_mul(albedo, v3_mad(ambient, light, band * 0.9f));
}

static v3 shade_floor(const rlm_frame *f, v3 p, float t, float grazing)
{
    float foot = t / f->view.focal;
    foot = foot / sqrtf(w_max(grazing, 0.02f)); /* between the two widths of its footprint */
    v3 c = floor_albedo(f, p.x, p.z, foot * 0.9f), pass = shadow(f, p, -1);
    float open = openness(f, p), lit = f->sun.y;
    v3 light = v3_mul(f->light, pass), ambient = v3_scale(f->ambient, open);
    if (f->scene->sky == INDOORS) {
        float fall = 1.12f / (1 + 0.035f * (p.x * p.x + p.z * p.z));
        light = v3_scale(light, fall);
    }
    c = v3_mul(c, v3_mad(ambient, light, lit));
    if (f->scene->floor >= PLANKS && f->style != CARTOON) { /* a sheen */
        float fresnel = (1 - grazing) * (1 - grazing);
        fresnel *= fresnel * (f->scene->floor == TILES ? 0.28f : 0.14f);
        v3 d = v3_unit(v3_sub(p, f->view.at));
        c = v3_mix(c, sky(f, v3_make(d.x, -d.y, d.z), 0), fresnel * open);
    }
    return c;
}

static v3 haze(const rlm_frame *f, v3 c, v3 d, float t)
{
    float far = f->scene->weather == CLEAR ? 0.016f : 0.045f, q = far * w_max(t - 4, 0);
    float share = q / (1 + q);
    if (share <= 0.001f)
        return c;
    return v3_mix(c, sky(f, v3_unit(v3_make(d.x, 0.015f, d.z)), 0), share);
}

static v3 shade_wall(const rlm_frame *f, v3 p, v3 n)
{
    float along = n.x != 0 ? p.z : p.x, stripe = along * 2.2f;
    float in = stripe - (float)w_floor(stripe);
    v3 c = f->wall;
    c = v3_scale(c, 1 - 0.07f * w_smooth(0.45f, 0.5f, in) * w_smooth(1.0f, 0.95f, in));
    c = v3_mix(v3_make(0.75f, 0.73f, 0.70f), c, w_smooth(0.20f, 0.22f, p.y));
    c = v3_scale(c, 1 - 0.5f * w_smooth(0.25f, 0.20f, p.y) * w_smooth(0.19f, 0.21f, p.y));
    float corner = 0.55f + 0.45f * w_smooth(0, 1.1f, p.y + 0.12f);
    float lit = w_max(v3_dot(n, f->sun), 0) * 0.7f + 0.12f;
    v3 pass = shadow(f, p, -1);
    float fall = 1.15f / (1 + 0.02f * (p.x * p.x + (p.y - 2) * (p.y - 2)));
    return v3_mul(c, v3_mad(v3_scale(f->ambient, corner), v3_mul(f->light, pass), lit * fall));
}

/* What a surface mirrors or lets through along r (unit) from p. */
static v3 surroundings(const rlm_frame *f, v3 p, v3 r, int own)
{
    if (r.y > -0.02f)
        return sky(f, r, 0);
    float t = p.y / -r.y;
    v3 q = v3_mad(p, r, t);
    v3 c = floor_albedo(f, q.x, q.z, 0.03f + 0.04f * t);
    c = v3_mul(c, v3_mad(f->ambient, v3_mul(f->light, shadow(f, q, own)), f->sun.y));
    return haze(f, c, r, t);
}

static float power(float x, int doublings)
{
    for (int i = 0; i < doublings; i++)
        x *= x;
    return x;
}

static v3 wood_grain(const rlm_frame *f, const rlm_body *b, v3 q, v3 c)
{
    float k = 1 / b->bound, bend = rlm_noise(f->world, q.y * k * 0.2f + 0.3f, q.x * k * 0.2f);
    float x = q.x * k + 0.4f * bend, z = q.z * k + 0.25f;
    float ring = sqrtf(x * x + z * z) * 7 + 2 * bend;
    float in = ring - (float)w_floor(ring);
    float tone = w_smooth(0, 0.75f, in) * w_smooth(1, 0.85f, in);
    float fine = rlm_noise(f->world, x * 0.9f, q.y * k * 0.12f) - 0.5f;
    c = v3_mix(c, v3_mul(c, v3_make(0.62f, 0.40f, 0.24f)), 0.25f + 0.55f * tone);
    return v3_scale(c, 0.95f + 0.5f * fine);
}

static v3 shade_body(const rlm_frame *f, int index, int face, v3 d, float t)
{
    const rlm_body *b = &f->body[index];
    v3 p = v3_mad(f->view.at, d, t), q = m3_back(&b->rotation, v3_sub(p, b->p));
    v3 n = m3_apply(&b->rotation, rlm_shape_normal(b, q, face)), view = v3_unit(d);
    int material = b->object->material;
    float stripe = rlm_shape_stripe(b, q, face, 1.2f * t / f->view.focal);
    v3 c = v3_scale(b->colour, material == WOOD ? 0.95f + 0.14f * stripe : 0.84f + 0.22f * stripe);
    if (material == WOOD && f->style != CARTOON)
        c = wood_grain(f, b, q, c);
    float lit = v3_dot(n, f->sun), facing = w_max(-v3_dot(n, view), 0);
    v3 pass = lit > 0 ? shadow(f, v3_mad(p, n, 0.004f), index) : v3_make(0, 0, 0);
    v3 half = v3_unit(v3_sub(f->sun, view)), light = v3_mul(f->light, pass);
    float up = 0.5f + 0.5f * n.y, shine = w_max(v3_dot(n, half), 0);
    v3 around = v3_mix(f->bounce, f->ambient, up);
    around = v3_scale(around, 0.55f + 0.45f * w_smooth(-0.05f, 0.6f, p.y / b->bound));
    v3 reflected = v3_mad(view, n, -2 * v3_dot(n, view));
    if (f->style == CARTOON) {
        v3 flat = cel(c, around, light, w_max(lit, 0));
        float hard = material == RUBBER ? 0 : power(shine, material == WOOD ? 4 : 6);
        if (material == METAL)
            flat = v3_scale(flat, 0.8f + 0.5f * w_smooth(0.1f, 0.2f, reflected.y));
        if (material == GLASS) { /* lighter, of the same hue: red glass must not look pink */
            v3 hue = v3_mix(v3_make(1, 1, 1), b->colour, 0.85f);
            flat = v3_mix(flat, v3_mul(v3_add(f->horizon, f->ambient), hue), 0.35f);
        }
        return hard > 0.5f ? v3_mad(flat, f->light, 0.6f) : flat;
    }
    lit = material == RUBBER ? w_max(0.15f + 0.85f * lit, 0) * (lit > 0) : w_max(lit, 0);
    v3 diffuse = v3_mul(c, v3_mad(around, light, lit));
    float fresnel = power(1 - facing, 2) * (1 - facing);
    if (material == METAL) {
        v3 tint = v3_mix(b->colour, v3_make(1, 1, 1), 0.10f + 0.5f * fresnel);
        tint = v3_scale(tint, 0.84f + 0.16f * stripe);
        v3 mirror = v3_mul(tint, surroundings(f, p, reflected, index));
        v3 spark = v3_mul(v3_mix(tint, v3_make(1, 1, 1), 0.5f), light);
        c = v3_add(v3_scale(diffuse, 0.38f), v3_scale(mirror, 1.0f));
        return v3_mad(c, spark, 2.2f * power(shine, 7) + 0.35f * power(shine, 4));
    }
    if (material == GLASS) {
        v3 bent = v3_unit(v3_mad(view, n, -0.45f * facing));
        v3 behind = surroundings(f, v3_mad(p, bent, 1.2f * b->bound * facing), bent, index);
        v3 tint = v3_mix(v3_make(1, 1, 1), b->colour, 0.90f);
        tint = v3_scale(tint, 0.96f + 0.08f * stripe);
        c = v3_mad(v3_mul(behind, tint), diffuse, 0.50f);
        float inner = power(w_max(-v3_dot(n, f->sun), 0), 1); /* light gathered on the far side */
        c = v3_mad(c, v3_mul(b->colour, f->light), 0.25f * inner);
        c = v3_mix(c, surroundings(f, p, reflected, index), 0.06f + 0.75f * fresnel);
        return v3_mad(c, light, 3.0f * power(shine, 8));
    }
    float gloss = material == WOOD ? 0.25f * power(shine, 5) : 0.10f * power(shine, 3);
    c = v3_mad(diffuse, light, gloss);
    return v3_mix(c, sky(f, reflected.y > 0 ? reflected : v3_make(0, 1, 0), 0),
                  (material == WOOD ? 0.14f : 0.06f) * fresnel);
}

v3 rlm_shade(const rlm_frame *f, v3 d, float t, int label)
{
    static const v3 walls[] = {{0, 0, -1}, {1, 0, 0}, {-1, 0, 0}};
    if (label == LABEL_SKY)
        return sky(f, v3_unit(d), 1);
    v3 p = v3_mad(f->view.at, d, t);
    if (label == LABEL_FLOOR) {
        float grazing = -d.y / sqrtf(v3_dot(d, d));
        return haze(f, shade_floor(f, p, t, grazing), d, f->scene->sky == INDOORS ? 0 : t);
    }
    if (label < LABEL_BODY)
        return shade_wall(f, p, walls[label - LABEL_WALL]);
    label -= LABEL_BODY;
    return shade_body(f, label / LABEL_FACES, label % LABEL_FACES, d, t);
}
