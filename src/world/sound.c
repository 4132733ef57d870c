/* What is heard: modal impacts at the sample of each contact, rolling and sliding, the air around.
 */
#include <string.h>

#include "src/base/rng.h"
#include "src/world/world.h"

enum { SOUND_STREAM = 0x50d0, MODES = 6 };

static float noise(const rlm_scene *s, int layer, int64_t i)
{
    return 2 * rlm_rng_uniform(s->seed, SOUND_STREAM + (uint64_t)layer, (uint64_t)i) - 1;
}

/* A struck mode: gain * sin(w n) * decay^n from n0 on; zero before. */
static void ring_mode(float *to, int64_t from, int64_t count, double hertz, double decay_s,
                      double gain)
{
    if (hertz > 0.47 * SOUND_RATE || hertz < 30)
        return;
    double r = w_exp(-1 / (decay_s * SOUND_RATE)), w = 2 * W_PI * hertz / SOUND_RATE;
    double k = 2 * r * w_cos(w), r2 = r * r, a = 0, b = gain * r * w_sin(w);
    int64_t end = from + (int64_t)(7 * decay_s * SOUND_RATE) + 2;
    if (end > count)
        end = count;
    for (int64_t n = from + 1; n < end; n++) { /* zero at `from` itself */
        double y = b;
        b = k * b - r2 * a;
        a = y;
        to[n] += (float)y;
    }
}

/* Low-passed noise that dies away: the blow itself, and soft floors. */
static void thud(const rlm_scene *s, int layer, float *to, int64_t from, int64_t count,
                 double hertz, double decay_s, double gain)
{
    double r = w_exp(-1 / (decay_s * SOUND_RATE)), level = gain;
    double a = 1 - w_exp(-2 * W_PI * hertz / SOUND_RATE), low = 0;
    int64_t end = from + (int64_t)(6 * decay_s * SOUND_RATE) + 2;
    for (int64_t n = from; n < end && n < count; n++, level *= r) {
        low += a * ((double)noise(s, layer, n - from) - low);
        to[n] += (float)(level * low);
    }
}

typedef struct voice {
    double hertz;                     /* lowest mode of a body of 0.5 m */
    double ratio[MODES], decay, fall; /* s; how much faster each higher mode dies */
    double gain, blow;                /* of the modes; of the noise */
} voice;

static const voice voices[MATERIALS] = {
    {95, {1, 1.6, 2.3, 3.1, 4.2, 5.0}, 0.055, 0.5, 0.9, 0.8},       /* rubber */
    {420, {1, 1.52, 2.76, 3.9, 5.40, 7.1}, 0.60, 0.18, 0.40, 0.25}, /* metal */
    {240, {1, 2.1, 2.9, 4.3, 5.6, 7.2}, 0.050, 0.25, 0.8, 0.55},    /* wood */
    {1050, {1, 1.83, 2.61, 3.2, 4.4, 5.3}, 0.22, 0.3, 0.38, 0.3},   /* glass */
};

static void strike(const rlm_scene *s, int layer, const rlm_object *o, double damp, double level,
                   int64_t from, int64_t count, float *to)
{
    const voice *v = &voices[o->material];
    static const double shape[] = {1.0, 0.86, 0.93, 1.15, 0.72};
    double hertz = v->hertz * shape[o->shape] * 0.5 / o->radius * (o->radius > 0.4 ? 1 : 0.85);
    double hard = w_clamp((float)(0.35 + 0.2 * level * 4), 0.3f, 1.0f), gain = level * v->gain;
    for (int i = 0; i < MODES; i++) {
        double own = 1 + 0.03 * (double)noise(s, 900 + o->shape * 8 + o->material, i);
        double decay = v->decay * damp / (1 + v->fall * i * 1.6);
        ring_mode(to, from, count, hertz * v->ratio[i] * own, decay, gain);
        gain *= 0.45 + 0.4 * hard;
    }
    thud(s, layer, to, from, count, 500 + 2500 * hard, 0.012, level * v->blow);
}

/* What the floor adds to a blow. */
static void strike_floor(const rlm_scene *s, int layer, double level, int64_t from, int64_t count,
                         float *to)
{
    switch (s->floor) {
    case GRASS:
        thud(s, layer, to, from, count, 420, 0.045, 1.5 * level);
        break;
    case SAND:
        thud(s, layer, to, from, count, 900, 0.07, 1.4 * level);
        break;
    case SNOW:
        thud(s, layer, to, from, count, 300, 0.06, 1.7 * level);
        thud(s, layer + 1, to, from, count, 3000, 0.05, 0.25 * level);
        break;
    case PLANKS:
        ring_mode(to, from, count, 118, 0.085, 0.55 * level);
        ring_mode(to, from, count, 203, 0.060, 0.35 * level);
        ring_mode(to, from, count, 371, 0.035, 0.22 * level);
        break;
    default:
        ring_mode(to, from, count, 1310, 0.018, 0.20 * level);
        thud(s, layer, to, from, count, 4500, 0.008, 0.7 * level);
        break;
    }
}

static void impacts(const rlm_scene *s, const rlm_motion *m, int64_t count, float *to)
{
    static const double damp[] = {0.35, 0.3, 0.28, 0.85, 1.0};
    for (int i = 0; i < m->contacts; i++) {
        const rlm_contact *c = &m->contact[i];
        const rlm_object *a = &s->object[c->a];
        int64_t from = (int64_t)(c->t * SOUND_RATE + 0.5);
        double dx = c->at[0], dz = c->at[2] + 4.5; /* the ear is where the camera stands */
        double far = sqrt(dx * dx + dz * dz + 1);
        double level =
            0.32 * (0.25 + 0.75 * c->speed / 4) * (a->size == BIG ? 1.15 : 0.85) * 4.6 / far;
        level = level > 0.55 ? 0.55 : level;
        if (from >= count)
            continue;
        strike(s, 1000 + 8 * i, a, c->b < 0 ? damp[s->floor] : 1, level, from, count, to);
        if (c->b < 0)
            strike_floor(s, 1002 + 8 * i, level, from, count, to);
        else
            strike(s, 1004 + 8 * i, &s->object[c->b], 1, level, from, count, to);
    }
}

/* Noise whose level and pitch follow the speed over the floor; bumps follow the turning. */
static void rolling(const rlm_scene *s, const rlm_motion *m, int64_t count, float *to)
{
    static const double loud[] = {0.032, 0.038, 0.03, 0.055, 0.05};
    static const double bright[] = {1300, 2200, 2600, 700, 1700};
    enum { HOP = 160 };
    for (int i = 0; i < s->count && s->object[i].role != BYSTANDER; i++) {
        const rlm_object *o = &s->object[i];
        double low = 0, under = 0, level = 0, phase = 0;
        int slides = o->upright && o->shape != SHAPE_BALL;
        for (int64_t n0 = 0; n0 < count; n0 += HOP) {
            rlm_pose p;
            rlm_motion_pose(m, s, i, (double)n0 / SOUND_RATE, &p);
            double turning = p.spin > 0 ? p.spin : -p.spin;
            double v = p.touches ? p.speed + 0.12 * turning * o->radius : 0;
            double goal =
                v > 0.02 ? loud[s->floor] * sqrt(v < 2.5 ? v : 2.5) * (slides ? 1.5 : 1.0) : 0;
            double cut = bright[s->floor] * (slides ? 1.6 : 1.0) * (0.4 + 0.4 * v);
            double a = 1 - w_exp(-2 * W_PI * (cut > 6500 ? 6500 : cut) / SOUND_RATE);
            phase += v / o->radius * HOP / SOUND_RATE;
            double bump = slides ? 1 : 0.7 + 0.3 * w_sin(phase * 2);
            for (int64_t n = n0; n < n0 + HOP && n < count; n++) {
                level += (goal * bump - level) * 0.004;
                low += a * ((double)noise(s, 10 + i, n) - low);
                under += 0.03 * (low - under);
                to[n] += (float)(level * (low - under));
            }
        }
    }
}

static void wind(const rlm_scene *s, double gain, double hertz, int64_t count, float *to)
{
    double a = 1 - w_exp(-2 * W_PI * hertz / SOUND_RATE), x = 0, y = 0;
    double slow = 0.35 + 0.25 * (double)noise(s, 21, 0), start = 6.28 * (double)noise(s, 21, 1);
    double gust = 1;
    for (int64_t n = 0; n < count; n++) {
        if (n % 256 == 0)
            gust = 0.75 + 0.25 * w_sin(start + 2 * W_PI * slow * (double)n / SOUND_RATE);
        x += a * ((double)noise(s, 20, n) - x);
        y += a * (x - y);
        to[n] += (float)(gain * gust * y);
    }
}

static void rain(const rlm_scene *s, int64_t count, float *to)
{
    double low = 0;
    for (int64_t n = 0; n < count; n++) {
        double x = (double)noise(s, 30, n);
        low += 0.35 * (x - low);
        to[n] += (float)(0.022 * (x - 0.6 * low));
    }
    int drops = (int)(count * 60 / SOUND_RATE);
    for (int i = 0; i < drops; i++) {
        int64_t at = (int64_t)(0.5 * (1 + (double)noise(s, 31, i)) * (double)count);
        double hertz = 1800 + 1700 * (1 + (double)noise(s, 32, i));
        ring_mode(to, at, count, hertz, 0.004, 0.02 + 0.015 * (double)noise(s, 33, i));
    }
}

/* Crickets at night, a bird by day: short trains of tones. */
static void chirps(const rlm_scene *s, double hertz, double every, double gain, int bends,
                   int64_t count, float *to)
{
    double offset = every * 0.5 * (1 + (double)noise(s, 40, 0));
    for (int k = 0; k * every + offset < (double)count / SOUND_RATE; k++)
        for (int j = 0; j < 3; j++) {
            double pitch = hertz * (1 + 0.02 * (double)noise(s, 41, k));
            int64_t from =
                (int64_t)((k * every + offset + j * (bends ? 0.09 : 0.035)) * SOUND_RATE);
            int64_t length = (int64_t)((bends ? 0.06 : 0.022) * SOUND_RATE);
            double phase = 0;
            for (int64_t n = 0; n < length && from + n < count; n++) {
                double at = (double)n / (double)length, shape = 4 * at * (1 - at);
                phase += 2 * W_PI / SOUND_RATE * pitch * (bends ? 1.15 - 0.3 * at : 1);
                to[from + n] += (float)(gain * shape * shape * w_sin(phase));
            }
        }
}

static void ambience(const rlm_scene *s, int64_t count, float *to)
{
    if (s->sky == INDOORS) {
        wind(s, 0.05, 140, count, to);
        return;
    }
    wind(s, s->weather == SNOWFALL ? 0.20 : 0.13, s->weather == SNOWFALL ? 420 : 300, count, to);
    if (s->weather == RAIN)
        rain(s, count, to);
    else if (s->sky == NIGHT && s->weather == CLEAR)
        chirps(s, 4300, 0.42, 0.035, 0, count, to);
    else if (s->sky == DAY && s->weather == CLEAR && s->floor != SNOW)
        chirps(s, 3100, 1.3, 0.022, 1, count, to);
}

void rlm_world_sound(const rlm_scene *s, const rlm_motion *m, int layers, int64_t count,
                     float *samples)
{
    if (layers & SOUND_IMPACTS)
        impacts(s, m, count, samples);
    if (layers & SOUND_ROLLING)
        rolling(s, m, count, samples);
    if (layers & SOUND_AMBIENCE)
        ambience(s, count, samples);
    for (int64_t i = 0; i < count; i++) { /* soft ceiling */
        float x = samples[i], a = fabsf(x);
        if (a > 0.7f)
            samples[i] = (x > 0 ? 1.0f : -1.0f) * (0.7f + 0.3f * (a - 0.7f) / (a - 0.4f));
    }
}
