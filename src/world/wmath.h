/* Arithmetic of the playground. Only + - * / sqrt, conversions and comparisons are used, all of
 * which IEEE 754 rounds in one way; sine, exponential and power are built from them here. Hence,
 * with products rounded before they are added (-ffp-contract=off, as meson.build asks), the same
 * seed gives the same bytes on every machine. */
#ifndef RLM_WORLD_WMATH_H
#define RLM_WORLD_WMATH_H

#include <math.h>
#include <stdint.h>

#define W_PI 3.14159265358979323846

typedef struct v3 {
    float x, y, z;
} v3;

typedef struct m3 { /* rows */
    v3 r[3];
} m3;

static inline v3 v3_make(float x, float y, float z)
{
    return (v3){x, y, z};
}
static inline v3 v3_add(v3 a, v3 b)
{
    return (v3){a.x + b.x, a.y + b.y, a.z + b.z};
}
static inline v3 v3_sub(v3 a, v3 b)
{
    return (v3){a.x - b.x, a.y - b.y, a.z - b.z};
}
static inline v3 v3_mul(v3 a, v3 b)
{
    return (v3){a.x * b.x, a.y * b.y, a.z * b.z};
}
static inline v3 v3_scale(v3 a, float s)
{
    return (v3){a.x * s, a.y * s, a.z * s};
}
/* a + s b */
static inline v3 v3_mad(v3 a, v3 b, float s)
{
    return (v3){a.x + s * b.x, a.y + s * b.y, a.z + s * b.z};
}
static inline v3 v3_mix(v3 a, v3 b, float s)
{
    return (v3){a.x + s * (b.x - a.x), a.y + s * (b.y - a.y), a.z + s * (b.z - a.z)};
}
static inline float v3_dot(v3 a, v3 b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}
static inline v3 v3_cross(v3 a, v3 b)
{
    return (v3){a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
static inline v3 v3_unit(v3 a)
{
    return v3_scale(a, 1.0f / sqrtf(v3_dot(a, a)));
}
static inline v3 m3_apply(const m3 *m, v3 a)
{
    return (v3){v3_dot(m->r[0], a), v3_dot(m->r[1], a), v3_dot(m->r[2], a)};
}
/* The transpose, which is the inverse of a rotation. */
static inline v3 m3_back(const m3 *m, v3 a)
{
    return v3_mad(v3_mad(v3_scale(m->r[0], a.x), m->r[1], a.y), m->r[2], a.z);
}
static inline float w_clamp(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}
static inline float w_min(float a, float b)
{
    return a < b ? a : b;
}
static inline float w_max(float a, float b)
{
    return a > b ? a : b;
}
/* 0 below a, 1 above b, smooth between. */
static inline float w_smooth(float a, float b, float x)
{
    float t = w_clamp((x - a) / (b - a), 0.0f, 1.0f);
    return t * t * (3.0f - 2.0f * t);
}
/* Largest whole number <= x, |x| < 2^31. */
static inline int w_floor(float x)
{
    int i = (int)x;
    return i - (x < (float)i);
}

static inline double w_sin(double x)
{
    double turns = x * (0.5 / W_PI);
    double whole = (double)(int64_t)turns;
    x = (turns - whole) * (2 * W_PI); /* (-2 pi, 2 pi) */
    if (x > W_PI)
        x -= 2 * W_PI;
    if (x < -W_PI)
        x += 2 * W_PI;
    if (x > W_PI / 2)
        x = W_PI - x;
    if (x < -W_PI / 2)
        x = -W_PI - x;
    double s = x * x;
    double p = 1 - s / (16.0 * 17);
    p = 1 - s / (14.0 * 15) * p;
    p = 1 - s / (12.0 * 13) * p;
    p = 1 - s / (10.0 * 11) * p;
    p = 1 - s / (8.0 * 9) * p;
    p = 1 - s / (6.0 * 7) * p;
    p = 1 - s / (4.0 * 5) * p;
    p = 1 - s / (2.0 * 3) * p;
    return x * p;
}
static inline double w_cos(double x)
{
    return w_sin(x + W_PI / 2);
}
static inline double w_tan(double x)
{
    return w_sin(x) / w_cos(x);
}
/* Relative error below 1e-12 for |x| < 700. */
static inline double w_exp(double x)
{
    double term = 1, sum = 1;
    x *= 1.0 / 1024;
    for (int i = 1; i < 9; i++) {
        term *= x / i;
        sum += term;
    }
    for (int i = 0; i < 10; i++)
        sum *= sum;
    return sum;
}
/* x > 0; relative error below 1e-10. */
static inline double w_log(double x)
{
    int e = 0;
    while (x > 1.5) {
        x *= 0.5;
        e++;
    }
    while (x < 0.75) {
        x *= 2;
        e--;
    }
    double y = (x - 1) / (x + 1), s = y * y, term = y, sum = 0;
    for (int i = 1; i < 26; i += 2) {
        sum += term / i;
        term *= s;
    }
    return 2 * sum + e * 0.69314718055994530942;
}
static inline double w_pow(double x, double y)
{
    return x <= 0 ? 0 : w_exp(y * w_log(x));
}

#endif
