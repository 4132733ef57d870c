/* Ball, cube, cylinder, cone, ring: where a ray meets them, their normals, distances and stripes.
 */
#include "src/world/render.h"

static float hit_ball(float r, v3 o, v3 d, float limit)
{
    float a = v3_dot(d, d), b = v3_dot(o, d), c = v3_dot(o, o) - r * r, q = b * b - a * c;
    if (q < 0)
        return limit;
    float t = (-b - sqrtf(q)) / a;
    return t > 1e-4f && t < limit ? t : limit;
}

static float hit_cube(float r, v3 o, v3 d, float limit, int *face)
{
    const float *po = &o.x, *pd = &d.x;
    float near = -1e30f, far = 1e30f;
    int side = 0;
    for (int i = 0; i < 3; i++) {
        if (pd[i] > -1e-9f && pd[i] < 1e-9f) {
            if (po[i] > r || po[i] < -r)
                return limit;
            continue;
        }
        float inv = 1.0f / pd[i], t0 = (-r - po[i]) * inv, t1 = (r - po[i]) * inv;
        int low = t0 < t1;
        float first = low ? t0 : t1, last = low ? t1 : t0;
        if (first > near) {
            near = first;
            side = 2 * i + !low;
        }
        far = last < far ? last : far;
    }
    if (near >= far || near < 1e-4f || near >= limit)
        return limit;
    *face = side;
    return near;
}

/* Side first, then the lids. Faces: 0 side, 1 top, 2 bottom. */
static float hit_cylinder(float r, float h, v3 o, v3 d, float limit, int *face)
{
    float a = d.x * d.x + d.z * d.z, b = o.x * d.x + o.z * d.z, c = o.x * o.x + o.z * o.z - r * r;
    float best = limit, q = b * b - a * c;
    if (q < 0 && c > 0)
        return limit;
    if (q >= 0 && a > 1e-12f) {
        float t = (-b - sqrtf(q)) / a, y = o.y + t * d.y;
        if (t > 1e-4f && t < best && y > -h && y < h) {
            best = t;
            *face = 0;
        }
    }
    if (d.y != 0) {
        float t = ((d.y < 0 ? h : -h) - o.y) / d.y, x = o.x + t * d.x, z = o.z + t * d.z;
        if (t > 1e-4f && t < best && x * x + z * z < r * r) {
            best = t;
            *face = d.y < 0 ? 1 : 2;
        }
    }
    return best;
}

/* Tip at y = h, base of radius r at y = -h. Faces: 0 side, 2 base. */
static float hit_cone(float r, float h, v3 o, v3 d, float limit, int *face)
{
    float k = r / (2 * h), k2 = k * k, y = o.y - h, best = limit;
    float a = d.x * d.x + d.z * d.z - k2 * d.y * d.y;
    float b = o.x * d.x + o.z * d.z - k2 * y * d.y;
    float c = o.x * o.x + o.z * o.z - k2 * y * y, q = b * b - a * c;
    if (q >= 0 && fabsf(a) > 1e-9f) {
        float root = sqrtf(q);
        for (int i = 0; i < 2; i++) {
            float t = (i ? -b + root : -b - root) / a, at = o.y + t * d.y;
            if (t > 1e-4f && t < best && at > -h && at < h) {
                best = t;
                *face = 0;
            }
        }
    }
    if (d.y > 0) {
        float t = (-h - o.y) / d.y, x = o.x + t * d.x, z = o.z + t * d.z;
        if (t > 1e-4f && t < best && x * x + z * z < r * r) {
            best = t;
            *face = 2;
        }
    }
    return best;
}

static float ring_distance(float big, float small, v3 p)
{
    float q = sqrtf(p.x * p.x + p.z * p.z) - big;
    return sqrtf(q * q + p.y * p.y) - small;
}

/* Walks by the distance, which is exact, through the ball around it. */
static float hit_ring(float big, float small, v3 o, v3 d, float limit)
{
    float r = big + small, a = v3_dot(d, d), b = v3_dot(o, d),
          q = b * b - a * (v3_dot(o, o) - r * r);
    if (q < 0)
        return limit;
    float root = sqrtf(q), t = (-b - root) / a, end = (-b + root) / a, inv = 1.0f / sqrtf(a);
    if (t < 1e-4f)
        t = 1e-4f;
    for (int i = 0; i < 40 && t < end; i++) {
        float h = ring_distance(big, small, v3_mad(o, d, t));
        if (h < 2e-4f)
            return t < limit ? t : limit;
        t += h * inv;
    }
    return limit;
}

float rlm_shape_hit(const rlm_body *b, v3 o, v3 d, float limit, int *face)
{
    *face = 0;
    switch (b->object->shape) {
    case SHAPE_BALL:
        return hit_ball(b->d0, o, d, limit);
    case SHAPE_CUBE:
        return hit_cube(b->d0, o, d, limit, face);
    case SHAPE_CYLINDER:
        return hit_cylinder(b->d0, b->d1, o, d, limit, face);
    case SHAPE_CONE:
        return hit_cone(b->d0, b->d1, o, d, limit, face);
    default:
        return hit_ring(b->d0, b->d1, o, d, limit);
    }
}

v3 rlm_shape_normal(const rlm_body *b, v3 p, int face)
{
    switch (b->object->shape) {
    case SHAPE_BALL:
        return v3_scale(p, 1.0f / b->d0);
    case SHAPE_CUBE: {
        v3 n = {0, 0, 0};
        (&n.x)[face / 2] = face & 1 ? 1.0f : -1.0f;
        return n;
    }
    case SHAPE_CYLINDER:
        return face == 0 ? v3_unit(v3_make(p.x, 0, p.z)) : v3_make(0, face == 1 ? 1.0f : -1.0f, 0);
    case SHAPE_CONE: {
        if (face)
            return v3_make(0, -1, 0);
        float q = sqrtf(p.x * p.x + p.z * p.z) + 1e-9f, slope = b->d0 / (2 * b->d1);
        return v3_unit(v3_make(p.x / q, slope, p.z / q));
    }
    default: {
        float q = sqrtf(p.x * p.x + p.z * p.z), k = 1.0f - b->d0 / (q + 1e-9f);
        return v3_unit(v3_make(p.x * k, p.y, p.z * k));
    }
    }
}

float rlm_shape_distance(const rlm_body *b, v3 p)
{
    float q = sqrtf(p.x * p.x + p.z * p.z);
    switch (b->object->shape) {
    case SHAPE_BALL:
        return sqrtf(v3_dot(p, p)) - b->d0;
    case SHAPE_CUBE: {
        v3 e = {w_max(fabsf(p.x) - b->d0, 0), w_max(fabsf(p.y) - b->d0, 0),
                w_max(fabsf(p.z) - b->d0, 0)};
        return sqrtf(v3_dot(e, e));
    }
    case SHAPE_CYLINDER: {
        float x = w_max(q - b->d0, 0), y = w_max(fabsf(p.y) - b->d1, 0);
        return sqrtf(x * x + y * y);
    }
    case SHAPE_CONE: {
        float h = 2 * b->d1, r = b->d0, inv = 1.0f / sqrtf(h * h + r * r);
        return w_max((q * h + (p.y - b->d1) * r) * inv, -b->d1 - p.y);
    }
    default:
        return ring_distance(b->d0, b->d1, p);
    }
}

float rlm_shape_stripe(const rlm_body *b, v3 p, int face, float pixel)
{
    if (b->object->shape == SHAPE_CUBE) {
        const float *c = &p.x;
        float a = fabsf(c[(face / 2 + 1) % 3]), e = fabsf(c[(face / 2 + 2) % 3]);
        float inside = 0.80f * b->d0 - w_max(a, e); /* a frame along the edges */
        return w_clamp(inside / (pixel + 1e-6f), -1, 1);
    }
    float q2 = p.x * p.x + p.z * p.z + 1e-9f, x2 = p.x * p.x, z2 = p.z * p.z;
    float sine, lobes; /* of an angle around the axis: four pairs of stripes, three on a ball */
    if (b->object->shape == SHAPE_BALL) {
        float q = sqrtf(q2);
        sine = p.z * (3 * x2 - z2) / (q2 * q);
        lobes = 3;
    } else {
        sine = 4 * p.x * p.z * (x2 - z2) / (q2 * q2);
        lobes = 4;
    }
    return w_clamp(sine * sqrtf(q2) / (lobes * (pixel + 1e-6f)), -1, 1);
}
