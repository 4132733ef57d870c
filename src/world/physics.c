/* Motion in closed form: free flight, rolling without slip, sliding with friction, central impacts
 * and circles, joined at contacts whose times are exact roots, never steps of a clock. Bodies keep
 * their axis while they fly; balls turn. */
#include <string.h>

#include "src/base/rng.h"
#include "src/world/world.h"

#define GRAVITY 9.81

enum { PHYSICS_STREAM = 0x9451c5 };

/* Height of the centre above the floor at rest. */
static double rest_height(const rlm_object *o)
{
    if (o->shape == SHAPE_BALL || o->shape == SHAPE_CUBE)
        return o->dim[0];
    if (o->shape == SHAPE_RING)
        return o->upright ? o->dim[1] : o->dim[0] + o->dim[1];
    return o->upright ? o->dim[1] : o->dim[0];
}

/* Half of the length along a level line through it, at the height of a ball's centre. */
static double half_length(const rlm_object *o)
{
    return o->shape == SHAPE_RING ? o->dim[0] + o->dim[1] : o->dim[0];
}

static double rolling_radius(const rlm_object *o)
{
    return o->shape == SHAPE_RING ? o->dim[0] + o->dim[1] : o->dim[0];
}

static int can_roll(const rlm_object *o)
{
    return o->shape == SHAPE_BALL || (!o->upright && o->shape != SHAPE_CUBE);
}

/* Deceleration of a body that rolls or slides, m/s^2. */
static double resistance(const rlm_scene *s, const rlm_object *o)
{
    static const double rolling[] = {0.075, 0.11, 0.06, 0.022, 0.018};
    return GRAVITY * (can_roll(o) ? rolling[s->floor] : rlm_friction(o->material, s->floor));
}

static rlm_segment *add_segment(rlm_motion *m, int object, const rlm_segment *s)
{
    int n = m->segments[object];
    if (n == MAX_SEGMENTS)
        return &m->segment[object][n - 1];
    m->segment[object][n] = *s;
    m->segments[object] = n + 1;
    return &m->segment[object][n];
}

static void add_contact(rlm_motion *m, double t, int a, int b, double speed, const double at[3])
{
    if (m->contacts == MAX_CONTACTS || t >= m->seconds)
        return;
    int i = m->contacts++;
    while (i > 0 && m->contact[i - 1].t > t) {
        m->contact[i] = m->contact[i - 1];
        i--;
    }
    m->contact[i] = (rlm_contact){t, a, b, speed, {at[0], at[1], at[2]}};
}

/* The state of a segment at t as the start of another, at rest. */
static rlm_segment carry(const rlm_segment *s, double t)
{
    rlm_segment n = *s;
    double d = t - s->t0, way = 0;
    for (int i = 0; i < 3; i++) {
        n.p[i] = s->p[i] + s->v[i] * d + 0.5 * s->a[i] * d * d;
        n.v[i] = n.a[i] = 0;
        if (i != 1)
            way += (n.p[i] - s->p[i]) * (n.p[i] - s->p[i]);
    }
    double sense = s->v[0] * s->v[0] + s->v[2] * s->v[2] > 0 ? 1 : 0;
    n.t0 = t;
    n.roll = s->roll + sense * s->rolls * sqrt(way);
    n.rolls = 0;
    n.yaw = s->yaw + s->yaw_rate * d + 0.5 * s->yaw_acceleration * d * d;
    n.yaw_rate = n.yaw_acceleration = 0;
    return n;
}

static rlm_segment start(const rlm_scene *s, int object)
{
    const rlm_object *o = &s->object[object];
    /* What rolls turns about a line across its heading, so it starts straight. */
    int straight = can_roll(o) && s->event != SPIN && s->event != JUMP && o->role != BYSTANDER;
    rlm_segment g = {.p = {o->x, rest_height(o), o->z}, .yaw = straight ? 0 : o->yaw};
    return g;
}

/* From segment start g: speed v along `heading`, slowed until it stops. way: sign of the rolling.
 */
static void glide(rlm_motion *m, const rlm_scene *s, int object, rlm_segment g, double heading,
                  double v, double way)
{
    const rlm_object *o = &s->object[object];
    double slow = resistance(s, o);
    double c = w_cos(heading), z = w_sin(heading);
    g.v[0] = v * c;
    g.v[2] = v * z;
    g.a[0] = -slow * c;
    g.a[2] = -slow * z;
    g.rolls = can_roll(o) ? way / rolling_radius(o) : 0;
    add_segment(m, object, &g);
    rlm_segment stopped = carry(&g, g.t0 + v / slow);
    add_segment(m, object, &stopped);
}

static double draw_between(const rlm_scene *s, int index, double low, double high)
{
    return low + (high - low) * (double)rlm_rng_uniform(s->seed, PHYSICS_STREAM, (uint64_t)index);
}

/* From height h, moving along the heading at v, until the bounces die. */
static void drop(rlm_motion *m, rlm_scene *s, double h, double v)
{
    rlm_object *o = &s->object[0];
    double e = rlm_restitution(o->material, s->floor) * rlm_flat_landing(s), rest = rest_height(o);
    double c = w_cos(s->heading), z = w_sin(s->heading);
    double flight = v > 0 ? 0.5 * v : 0;
    o->x = -c * flight * 1.6;
    o->z = -z * flight * 1.6;
    rlm_segment g = start(s, 0);
    g.t0 = draw_between(s, 3, 0.0, 0.12);
    rlm_segment hold = g;
    hold.t0 = 0;
    hold.p[1] = rest + h;
    if (g.t0 > 0 && v == 0)
        add_segment(m, 0, &hold);
    else
        g.t0 = 0;
    double up = 0;
    g.p[1] = rest + h;
    for (int n = 0; n < 40; n++) {
        g.v[0] = v * c;
        g.v[1] = up;
        g.v[2] = v * z;
        g.a[1] = -GRAVITY;
        g.rolls = can_roll(o) ? 1 / rolling_radius(o) : 0;
        g.yaw_rate = can_roll(o) ? 0 : draw_between(s, 4, -1.2, 1.2) / (1 + n);
        add_segment(m, 0, &g);
        double fall = g.p[1] - rest;
        double down = sqrt(up * up + 2 * GRAVITY * fall);
        double t = g.t0 + (up + down) / GRAVITY;
        g = carry(&g, t);
        g.p[1] = rest;
        double at[3] = {g.p[0], 0, g.p[2]};
        add_contact(m, t, 0, -1, down, at);
        up = e * down;
        v *= 0.95;
        if (up < 0.3 || n == 39)
            break;
    }
    if (v > 0)
        glide(m, s, 0, g, s->heading, o->shape == SHAPE_BALL ? v : 0.5 * v, 1);
    else
        add_segment(m, 0, &g);
}

static void travel(rlm_motion *m, rlm_scene *s)
{
    rlm_object *o = &s->object[0];
    double way = draw_between(s, 0, 2.1, 2.9);
    double slow = resistance(s, o);
    double least = way / draw_between(s, 1, 1.3, 1.9); /* not slower than this on average */
    double v = sqrt(2 * slow * way);
    double fast = least + 0.5 * slow * way / least;
    if (fast > v)
        v = fast;
    double c = w_cos(s->heading), z = w_sin(s->heading);
    o->x = -c * way * 0.5;
    o->z = -z * way * 0.5;
    o->yaw = o->shape == SHAPE_CUBE || !o->upright ? 0 : o->yaw;
    glide(m, s, 0, start(s, 0), s->heading, v, 1);
}

static void spin(rlm_motion *m, rlm_scene *s)
{
    rlm_segment g = start(s, 0);
    double rate = draw_between(s, 0, 5.0, 9.0);
    if (rlm_rng_below(s->seed, PHYSICS_STREAM, 1, 2))
        rate = -rate;
    double slow = draw_between(s, 2, 0.5, 1.2);
    g.yaw_rate = rate;
    g.yaw_acceleration = rate > 0 ? -slow : slow;
    add_segment(m, 0, &g);
    rlm_segment stopped = carry(&g, (rate > 0 ? rate : -rate) / slow);
    add_segment(m, 0, &stopped);
}

static void jump(rlm_motion *m, rlm_scene *s)
{
    rlm_object *o = &s->object[0];
    double up = draw_between(s, 0, 2.9, 3.9), air = 2 * up / GRAVITY;
    double pause = draw_between(s, 1, 0.12, 0.25), t = draw_between(s, 2, 0.1, 0.3);
    double v = s->direction == NOWHERE ? 0 : draw_between(s, 3, 0.8, 1.2);
    double c = w_cos(s->heading), z = w_sin(s->heading);
    o->x = -c * v * air * 1.1;
    o->z = -z * v * air * 1.1;
    rlm_segment g = start(s, 0);
    add_segment(m, 0, &g);
    for (int n = 0; n < (v > 0 ? 3 : 40) && t < m->seconds; n++) {
        g = carry(&g, t);
        g.v[0] = v * c;
        g.v[1] = up;
        g.v[2] = v * z;
        g.a[1] = -GRAVITY;
        g.yaw_rate = 0.6;
        add_segment(m, 0, &g);
        t += air;
        g = carry(&g, t);
        g.p[1] = rest_height(o);
        double at[3] = {g.p[0], 0, g.p[2]};
        add_segment(m, 0, &g);
        add_contact(m, t, 0, -1, up, at);
        t += pause;
    }
}

/* Level distance of the centres when a and b touch on the line of the heading. */
static double touching(const rlm_object *a, const rlm_object *b)
{
    double ra = a->dim[0], rb = b->dim[0];
    if (a->shape == SHAPE_BALL && b->shape == SHAPE_BALL)
        return 2 * sqrt(ra * rb);
    const rlm_object *ball = a->shape == SHAPE_BALL ? a : b;
    const rlm_object *other = ball == a ? b : a;
    if (ball->shape == SHAPE_BALL) {
        double over = ball->dim[0] - 2 * rest_height(other); /* centre above the edge */
        double r = ball->dim[0];
        return half_length(other) + (over > 0 ? sqrt(r * r - over * over) : r);
    }
    return half_length(a) + half_length(b);
}

static void collide(rlm_motion *m, rlm_scene *s)
{
    rlm_object *a = &s->object[0], *b = &s->object[1];
    double c = w_cos(s->heading), z = w_sin(s->heading), gap = draw_between(s, 0, 1.1, 1.6);
    double when = draw_between(s, 1, 0.6, 0.95), apart = touching(a, b);
    double slow = resistance(s, a);
    double v = gap / when + 0.5 * slow * when; /* reaches b after exactly `when` */
    b->x = 0.1 * c;
    b->z = 0.1 * z;
    a->x = b->x - (apart + gap) * c;
    a->z = b->z - (apart + gap) * z;
    a->yaw = b->yaw = 0;
    double hit = v - slow * when, e = rlm_restitution(a->material, -1);
    e *= rlm_restitution(b->material, -1);
    double ma = rlm_mass(a), mb = rlm_mass(b), all = ma + mb;
    double slow_b = resistance(s, b), push = sqrt(2 * slow_b * 0.35); /* b should move 0.35 m */
    double least = push * all / ((1 + e) * ma);
    least = least < 1.2 ? 1.2 : least > 5 ? 5 : least;
    if (hit < least) {
        v += least - hit;
        when = (v - sqrt(v * v - 2 * slow * gap)) / slow;
        hit = v - slow * when;
    }
    rlm_segment ga = start(s, 0), gb = start(s, 1);
    add_segment(m, 1, &gb);
    glide(m, s, 0, ga, s->heading, v, 1);
    m->segments[0] = 1; /* only up to the impact */
    ga = carry(&m->segment[0][0], when);
    gb.t0 = when;
    double va = hit * (ma - e * mb) / all, vb = hit * (1 + e) * ma / all;
    double reach = a->shape == SHAPE_BALL || b->shape != SHAPE_BALL ? half_length(b) : b->dim[0];
    double at[3] = {b->x - c * reach, a->dim[0] < b->dim[0] ? a->dim[0] : b->dim[0],
                    b->z - z * reach};
    add_contact(m, when, 0, 1, hit, at);
    if (va >= 0)
        glide(m, s, 0, ga, s->heading, va + 1e-6, 1);
    else
        glide(m, s, 0, ga, s->heading + W_PI, -va, -1);
    glide(m, s, 1, gb, s->heading, vb, 1);
}

static void orbit(rlm_motion *m, rlm_scene *s)
{
    rlm_object *a = &s->object[0], *b = &s->object[1];
    double r = a->radius + b->radius + draw_between(s, 0, 0.35, 0.55);
    double turn = draw_between(s, 1, 2.4, 3.6);
    b->x = b->z = 0;
    if (rlm_rng_below(s->seed, PHYSICS_STREAM, 2, 2))
        turn = -turn;
    rlm_segment gb = start(s, 1), ga = start(s, 0);
    ga.p[0] = ga.p[2] = 0;
    ga.circle = r;
    ga.phase = draw_between(s, 3, 0, 2 * W_PI);
    ga.angular = turn;
    ga.rolls = can_roll(a) ? 1 / rolling_radius(a) : 0;
    add_segment(m, 1, &gb);
    add_segment(m, 0, &ga);
}

void rlm_motion_pose(const rlm_motion *m, const rlm_scene *s, int object, double t, rlm_pose *pose)
{
    const rlm_object *o = &s->object[object];
    int n = m->segments[object] - 1;
    while (n > 0 && m->segment[object][n].t0 > t)
        n--;
    const rlm_segment *g = &m->segment[object][n];
    rlm_segment now = carry(g, t);
    double d = t - g->t0, heading = s->heading, yaw = now.yaw, roll = now.roll;
    double vx = g->v[0] + g->a[0] * d, vz = g->v[2] + g->a[2] * d;
    if (g->circle > 0) {
        double phase = g->phase + g->angular * d;
        now.p[0] += g->circle * w_cos(phase);
        now.p[2] += g->circle * w_sin(phase);
        heading = phase + (g->angular > 0 ? 0.5 : -0.5) * W_PI;
        roll = g->rolls * g->circle * (g->angular > 0 ? g->angular : -g->angular) * d;
        yaw = -phase;
        vx = g->circle * g->angular;
        vz = 0;
    }
    memcpy(pose->p, now.p, sizeof pose->p);
    pose->speed = sqrt(vx * vx + vz * vz);
    pose->spin = g->yaw_rate + g->yaw_acceleration * d;
    pose->touches = g->a[1] == 0 && now.p[1] < rest_height(o) + 1e-9;
    /* Columns: the object's axes in the world. Level bodies roll about (-sin h, 0, cos h) times -1,
     * so that the top moves along the heading. */
    float ch = (float)w_cos(heading), sh = (float)w_sin(heading);
    float cy = (float)w_cos(yaw), sy = (float)w_sin(yaw);
    v3 along = {ch, 0, sh}, across = {sh, 0, -ch}, up = {0, 1, 0};
    v3 axis[3];
    if (o->shape == SHAPE_BALL || !o->upright) {
        float cr = (float)w_cos(roll), sr = (float)w_sin(roll);
        v3 a = v3_sub(v3_scale(along, cr), v3_scale(up, sr));
        v3 b = v3_add(v3_scale(up, cr), v3_scale(along, sr));
        float tilt = o->shape == SHAPE_BALL ? 0.6f : 1.0f; /* balls show their stripes aslant */
        float rest = sqrtf(1.0f - tilt * tilt);
        axis[0] = a;
        axis[1] = v3_add(v3_scale(across, tilt), v3_scale(b, rest));
        axis[2] = v3_cross(axis[0], axis[1]);
        if (g->circle == 0)
            for (int i = 0; i < 3; i++)
                axis[i] = v3_make(cy * axis[i].x + sy * axis[i].z, axis[i].y,
                                  cy * axis[i].z - sy * axis[i].x);
    } else {
        double h = g->circle > 0 ? 0 : heading;
        float c = (float)w_cos(h - yaw), z = (float)w_sin(h - yaw);
        axis[0] = v3_make(c, 0, z);
        axis[1] = up;
        axis[2] = v3_cross(axis[0], axis[1]);
        if (g->circle > 0) {
            axis[0] = along;
            axis[2] = v3_cross(axis[0], axis[1]);
        }
    }
    pose->rotation = (m3){{{axis[0].x, axis[1].x, axis[2].x},
                           {axis[0].y, axis[1].y, axis[2].y},
                           {axis[0].z, axis[1].z, axis[2].z}}};
}

/* Seen from where the camera stands: does one hide half of the other? */
static int covers(const rlm_object *o, double x, double z, const rlm_object *p, const rlm_pose *at)
{
    double a = 1 / (z + 5.5), b = 1 / (at->p[2] + 5.5), apart = fabs(x * a - at->p[0] * b);
    return apart < 0.55 * (o->radius * a + p->radius * b) && at->p[1] < 2.2 * p->radius;
}

/* Room for bystander i at (x, z) beside the way of those before it, and mostly in sight. */
static int has_room(const rlm_motion *m, const rlm_scene *s, int i, double x, double z)
{
    const rlm_object *o = &s->object[i];
    enum { MOMENTS = 36 };
    for (int j = 0; j < i; j++) {
        int hidden = 0;
        for (int n = 0; n < MOMENTS; n++) {
            rlm_pose p;
            rlm_motion_pose(m, s, j, 0.06 * n, &p);
            double dx = p.p[0] - x, dz = p.p[2] - z;
            double least = o->radius + s->object[j].radius * 1.1 + 0.15;
            if (dx * dx + dz * dz < least * least)
                return 0;
            hidden += covers(o, x, z, &s->object[j], &p);
        }
        if (hidden > MOMENTS / 3)
            return 0;
    }
    return 1;
}

/* Put those that stand by beside the way of the others. */
static void place_bystanders(rlm_motion *m, rlm_scene *s)
{
    for (int i = 0; i < s->count; i++) {
        rlm_object *o = &s->object[i];
        if (o->role != BYSTANDER)
            continue;
        for (int attempt = 0; attempt < 80; attempt++) {
            double grow = 1 + 0.015 * attempt;
            o->x = grow * draw_between(s, 100 + i * 200 + 2 * attempt, -1.5, 1.5);
            o->z = grow * draw_between(s, 101 + i * 200 + 2 * attempt, -0.3, 1.4);
            if (has_room(m, s, i, o->x, o->z))
                break;
        }
        rlm_segment g = start(s, i);
        add_segment(m, i, &g);
    }
}

static void find_extent(rlm_motion *m, const rlm_scene *s)
{
    double low[3] = {1e9, 0, 1e9}, high[3] = {-1e9, 0, -1e9};
    for (int i = 0; i < s->count; i++) {
        double t = 0;
        for (int step = 0; step < 22; step++, t += 0.1) {
            rlm_pose p;
            rlm_motion_pose(m, s, i, t, &p);
            for (int k = 0; k < 3; k++) {
                double r = s->object[i].radius;
                if (p.p[k] - r < low[k])
                    low[k] = p.p[k] - r;
                if (p.p[k] + r > high[k])
                    high[k] = p.p[k] + r;
            }
        }
    }
    for (int k = 0; k < 3; k++)
        m->centre[k] = 0.5 * (low[k] + high[k]);
    double x = high[0] - low[0], y = high[1] - low[1];
    m->extent = 0.5 * (x > y ? x : y);
}

void rlm_motion_make(rlm_motion *m, rlm_scene *s, double seconds)
{
    memset(m, 0, sizeof *m);
    m->seconds = seconds;
    switch (s->event) {
    case BOUNCE:
        drop(m, s, draw_between(s, 0, 0.9, 1.5),
             s->direction == NOWHERE ? 0 : draw_between(s, 1, 0.9, 1.4));
        break;
    case FALL:
        drop(m, s, draw_between(s, 0, 1.0, 1.7), 0);
        break;
    case SPIN:
        spin(m, s);
        break;
    case COLLIDE:
        collide(m, s);
        break;
    case JUMP:
        jump(m, s);
        break;
    case ORBIT:
        orbit(m, s);
        break;
    default:
        travel(m, s);
        break;
    }
    place_bystanders(m, s);
    find_extent(m, s);
}
