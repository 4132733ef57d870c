/* Seed -> what there is: objects, materials, floor, sky, weather, light, camera, style, event.
 * Drawn anew until the draw is possible (a marble does not bounce on sand) and fits its split: a
 * held-out pair is in no training or validation scene, and in every second test scene. */
#include <string.h>

#include "src/base/rng.h"
#include "src/world/world.h"

enum { SPLIT_STREAM = 0x5711, SCENE_STREAM = 0x5ce0, MANY = 400 };

const rlm_pair rlm_held_out[HELD_OUT_PAIRS] = {
    {{FACT_COLOUR, FACT_SHAPE}, {PURPLE, SHAPE_CONE}},
    {{FACT_COLOUR, FACT_SHAPE}, {CYAN, SHAPE_RING}},
    {{FACT_COLOUR, FACT_SHAPE}, {ORANGE, SHAPE_CYLINDER}},
    {{FACT_MATERIAL, FACT_SHAPE}, {GLASS, SHAPE_CUBE}},
    {{FACT_MATERIAL, FACT_FLOOR}, {METAL, SNOW}},
    {{FACT_COLOUR, FACT_MATERIAL}, {YELLOW, GLASS}},
    {{FACT_FLOOR, FACT_SKY}, {SAND, NIGHT}},
    {{FACT_SKY, FACT_WEATHER}, {SUNSET, SNOWFALL}},
    {{FACT_STYLE, FACT_EVENT}, {NEON, JUMP}},
    {{FACT_STYLE, FACT_CAMERA}, {PENCIL, ORBIT_SHOT}},
};

int rlm_world_split(uint64_t seed)
{
    uint32_t part = rlm_rng_below(seed, SPLIT_STREAM, 0, 20);
    return part < 18 ? RLM_SPLIT_TRAIN : part == 18 ? RLM_SPLIT_VALIDATION : RLM_SPLIT_TEST;
}

uint64_t rlm_world_seed(int split, uint64_t index)
{
    uint64_t seed;
    for (uint64_t i = 0;; i++) {
        seed = rlm_rng(index, SPLIT_STREAM + 1 + (uint64_t)split, i) >> 11;
        if (rlm_world_split(seed) == split)
            return seed;
    }
}

typedef struct draw {
    uint64_t seed, stream, n;
} draw;

static int below(draw *d, int n)
{
    return (int)rlm_rng_below(d->seed, d->stream, d->n++, (uint32_t)n);
}

static double between(draw *d, double low, double high)
{
    return low + (high - low) * (double)rlm_rng_uniform(d->seed, d->stream, d->n++);
}

/* Index drawn by weights that sum to 100. */
static int weighted(draw *d, const int *weight)
{
    int at = below(d, 100), i = 0;
    while (at >= weight[i]) /* ends: at < the sum. NOLINT(clang-analyzer-core.*) */
        at -= weight[i++];
    return i;
}

double rlm_restitution(int material, int floor)
{
    static const double of_material[] = {0.84, 0.58, 0.50, 0.64};
    static const double of_floor[] = {0.84, 0.48, 0.52, 0.94, 1.0};
    return of_material[material] * (floor < 0 ? 1.0 : of_floor[floor]);
}

double rlm_flat_landing(const rlm_scene *s)
{
    const rlm_object *o = &s->object[0];
    return s->event == FALL && o->upright && o->shape != SHAPE_BALL ? 0.45 : 1.0;
}

double rlm_friction(int material, int floor)
{
    static const double of_material[] = {1.2, 0.85, 1.0, 0.8};
    static const double of_floor[] = {0.34, 0.42, 0.16, 0.22, 0.17};
    return of_material[material] * of_floor[floor];
}

double rlm_mass(const rlm_object *o)
{
    static const double density[] = {1.1, 4.0, 0.7, 2.5};
    double r = o->dim[0], h = o->dim[1], volume;
    switch (o->shape) {
    case SHAPE_BALL:
        volume = 4.18879 * r * r * r;
        break;
    case SHAPE_CUBE:
        volume = 8 * r * r * r;
        break;
    case SHAPE_CYLINDER:
        volume = 6.28319 * r * r * h;
        break;
    case SHAPE_CONE:
        volume = 2.0944 * r * r * h;
        break;
    default:
        volume = 19.7392 * r * h * h;
        break;
    }
    return volume * density[o->material];
}

/* The range a lone value of a fact takes on this scene. */
int rlm_scene_fact(const rlm_scene *s, int object, int fact)
{
    const rlm_object *o = &s->object[object];
    switch (fact) {
    case FACT_COLOUR:
        return o->colour;
    case FACT_SHAPE:
        return o->shape;
    case FACT_MATERIAL:
        return o->material;
    case FACT_SIZE:
        return o->size;
    case FACT_FLOOR:
        return s->floor;
    case FACT_SKY:
        return s->sky;
    case FACT_WEATHER:
        return s->weather;
    case FACT_CAMERA:
        return s->camera;
    case FACT_STYLE:
        return s->style;
    case FACT_EVENT:
        return s->event;
    case FACT_DIRECTION:
        return s->direction;
    default:
        return s->light;
    }
}

int rlm_scene_has_pair(const rlm_scene *s, const rlm_pair *pair)
{
    for (int i = 0; i < s->count; i++)
        if (rlm_scene_fact(s, i, pair->fact[0]) == pair->value[0] &&
            rlm_scene_fact(s, i, pair->fact[1]) == pair->value[1])
            return 1;
    return 0;
}

static void give_size(rlm_object *o)
{
    double r = o->size == BIG ? 0.50 : 0.28;
    o->radius = r;
    switch (o->shape) {
    case SHAPE_BALL:
        o->dim[0] = o->dim[1] = r;
        break;
    case SHAPE_CUBE:
        o->dim[0] = o->dim[1] = 0.78 * r;
        break;
    case SHAPE_CYLINDER:
        o->dim[0] = 0.70 * r;
        o->dim[1] = 0.86 * r;
        break;
    case SHAPE_CONE:
        o->dim[0] = 0.86 * r;
        o->dim[1] = 0.98 * r;
        break;
    default:
        o->dim[0] = 0.74 * r;
        o->dim[1] = 0.26 * r;
        break;
    }
}

static int shape_of_actor(draw *d, int event)
{
    static const int rolling[] = {SHAPE_BALL, SHAPE_BALL, SHAPE_CYLINDER, SHAPE_RING};
    static const int sliding[] = {SHAPE_CUBE, SHAPE_CYLINDER, SHAPE_CONE, SHAPE_RING};
    static const int hitting[] = {SHAPE_BALL, SHAPE_BALL, SHAPE_CUBE, SHAPE_CYLINDER};
    static const int circling[] = {SHAPE_BALL, SHAPE_CUBE, SHAPE_CONE, SHAPE_CYLINDER};
    int i = below(d, 4);
    switch (event) {
    case ROLL:
        return rolling[i];
    case SLIDE:
        return sliding[i];
    case COLLIDE:
        return hitting[i];
    case ORBIT:
        return circling[i];
    default:
        return below(d, SHAPES);
    }
}

static int direction_of(draw *d, int event)
{
    static const int travelling[] = {0, 37, 37, 13, 13}, hopping[] = {50, 20, 20, 5, 5};
    int way = weighted(d, travelling), hop = weighted(d, hopping);
    if (event == ROLL || event == SLIDE || event == COLLIDE)
        return way;
    return event == BOUNCE || event == JUMP ? hop : NOWHERE;
}

static void draw_objects(draw *d, rlm_scene *s)
{
    int pair = s->event == COLLIDE || s->event == ORBIT;
    static const int counts[] = {45, 35, 20};
    s->count = 1 + weighted(d, counts);
    if (pair && s->count < 2)
        s->count = 2;
    for (int i = 0; i < s->count; i++) {
        rlm_object *o = &s->object[i];
        o->role = i == 0 ? ACTOR : i == 1 && pair ? TARGET : BYSTANDER;
        o->shape = i == 0 ? shape_of_actor(d, s->event) : below(d, SHAPES);
        o->colour = below(d, COLOURS);
        o->material = below(d, MATERIALS);
        o->size = below(d, SIZES);
        o->yaw = between(d, 0, 2 * W_PI);
        o->upright = 1;
        if (i == 0 && s->event == ROLL && o->shape != SHAPE_BALL)
            o->upright = 0;
        if (o->shape == SHAPE_RING &&
            (i == 0 ? s->event == SPIN || s->event == JUMP : below(d, 2) && o->role == BYSTANDER))
            o->upright = 0;
        if (o->shape == SHAPE_RING && i == 0 && s->event == BOUNCE)
            o->upright = 0;
        give_size(o);
    }
}

static void draw_scene(draw *d, rlm_scene *s, int style)
{
    static const int styles[] = {49, 17, 17, 17}, skies[] = {35, 20, 18, 27};
    static const int weathers[] = {64, 18, 18}, cameras[] = {50, 10, 10, 10, 10, 10};
    static const double headings[] = {0, W_PI, 0, -W_PI / 2, W_PI / 2};
    s->event = below(d, EVENTS);
    s->direction = direction_of(d, s->event);
    s->heading = s->direction == NOWHERE ? between(d, 0, 2 * W_PI) : headings[s->direction];
    draw_objects(d, s);
    s->sky = weighted(d, skies);
    s->floor = below(d, FLOORS);
    s->weather = weighted(d, weathers);
    if (s->sky == INDOORS) {
        s->weather = CLEAR;
        s->floor = PLANKS + (s->floor & 1);
    }
    s->camera = weighted(d, cameras);
    s->style = weighted(d, styles);
    if (style >= 0)
        s->style = style;
    s->light = below(d, LIGHTS);
    static const double towards[] = {W_PI, 0, -W_PI / 2, W_PI / 2};
    s->light_azimuth = towards[s->light] + between(d, -0.45, 0.45);
    s->light_elevation = s->sky == SUNSET ? between(d, 0.42, 0.6) : between(d, 0.65, 1.1);
    s->camera_pitch = between(d, 0.17, 0.30);
    s->camera_move = between(d, 0.6, 1.0);
}

static int possible(const rlm_scene *s)
{
    const rlm_object *a = &s->object[0], *b = &s->object[1];
    double e = rlm_restitution(a->material, s->floor) * rlm_flat_landing(s);
    if ((s->event == BOUNCE && e < 0.39) || (s->event == FALL && e > 0.36))
        return 0;
    if (s->event == ROLL && a->shape == SHAPE_RING && s->direction > RIGHT)
        return 0;
    if (s->event == COLLIDE && b->shape > SHAPE_CYLINDER)
        return 0;
    if ((s->direction == TOWARDS || s->direction == AWAY) && s->camera == ORBIT_SHOT)
        return 0;
    /* On a line with the eye the nearer one must be the smaller, or the other is never seen. */
    if (s->event == COLLIDE && s->direction == AWAY && (a->size != SMALL || b->size != BIG))
        return 0;
    if (s->event == COLLIDE && s->direction == TOWARDS && (a->size != BIG || b->size != SMALL))
        return 0;
    for (int i = 0; i < s->count; i++)
        for (int j = 0; j < i; j++)
            if (s->object[i].colour == s->object[j].colour)
                return 0;
    return 1;
}

void rlm_scene_make(rlm_scene *s, uint64_t seed, int style)
{
    int split = rlm_world_split(seed);
    int wanted = split == RLM_SPLIT_TEST && rlm_rng_below(seed, SPLIT_STREAM, 1, 2);
    for (int attempt = 0; attempt < MANY; attempt++) {
        draw d = {seed, SCENE_STREAM + (uint64_t)attempt, 0};
        memset(s, 0, sizeof *s);
        s->seed = seed;
        draw_scene(&d, s, style);
        int pairs = 0;
        for (int i = 0; i < HELD_OUT_PAIRS; i++)
            pairs += rlm_scene_has_pair(s, &rlm_held_out[i]);
        if (possible(s) && (wanted ? pairs == 1 : pairs == 0))
            return;
    }
}
