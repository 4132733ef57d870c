/* One frame: nearest surface at every pixel centre, truth from it, shading, and four more rays
 * where the label changes. Rays have length 1 along the axis of view, so that their parameter is
 * depth. */
#include <string.h>

#include "src/base/mem.h"
#include "src/world/render.h"

static void set_body(rlm_frame *f, const rlm_motion *m, int i)
{
    static const v3 colours[] = {{0.78f, 0.025f, 0.025f}, {0.92f, 0.24f, 0.012f},
                                 {0.92f, 0.70f, 0.02f},   {0.035f, 0.46f, 0.05f},
                                 {0.02f, 0.62f, 0.70f},   {0.025f, 0.09f, 0.80f},
                                 {0.26f, 0.03f, 0.56f},   {0.95f, 0.26f, 0.48f}};
    rlm_body *b = &f->body[i];
    const rlm_object *o = &f->scene->object[i];
    rlm_pose pose;
    rlm_motion_pose(m, f->scene, i, f->t, &pose);
    b->object = o;
    b->rotation = pose.rotation;
    b->p = v3_make((float)pose.p[0], (float)pose.p[1], (float)pose.p[2]);
    b->d0 = (float)o->dim[0];
    b->d1 = (float)o->dim[1];
    b->bound = o->shape == SHAPE_BALL   ? b->d0
               : o->shape == SHAPE_CUBE ? b->d0 * 1.7321f
               : o->shape == SHAPE_RING ? b->d0 + b->d1
                                        : sqrtf(b->d0 * b->d0 + b->d1 * b->d1);
    b->bound *= 1.0005f;
    b->eye = m3_back(&b->rotation, v3_sub(f->view.at, b->p));
    b->sun = m3_back(&b->rotation, f->sun);
    b->colour = colours[o->colour];
    float high = o->shape == SHAPE_RING ? (o->upright ? b->d1 : b->d0 + b->d1)
                 : o->shape == SHAPE_BALL || o->shape == SHAPE_CUBE || !o->upright ? b->d0
                                                                                   : b->d1;
    b->low = w_max(b->p.y - high, 0);
    b->foot = o->shape == SHAPE_BALL || !o->upright ? 0.62f * b->bound : b->d0 * 1.1f;
}

/* The pixels a ball around the body covers, a little generously. */
static void set_box(const rlm_frame *f, rlm_body *b)
{
    const rlm_view *v = &f->view;
    v3 d = v3_sub(b->p, v->at);
    float z = v3_dot(d, v->ahead) - b->bound;
    b->x0 = b->y0 = 0;
    b->x1 = f->width;
    b->y1 = f->height;
    if (z < 0.1f)
        return;
    float x = v3_dot(d, v->right), y = v3_dot(d, v->up), near = v->focal / z;
    float far = v->focal / (z + 2 * b->bound), r = b->bound;
    float left = (x - r) * ((x - r) < 0 ? near : far), right = (x + r) * ((x + r) < 0 ? far : near);
    float top = (y + r) * ((y + r) < 0 ? far : near), low = (y - r) * ((y - r) < 0 ? near : far);
    b->x0 = (int)w_clamp(left + v->half_w - 2, 0, (float)f->width);
    b->x1 = (int)w_clamp(right + v->half_w + 3, 0, (float)f->width);
    b->y0 = (int)w_clamp(v->half_h - top - 2, 0, (float)f->height);
    b->y1 = (int)w_clamp(v->half_h - low + 3, 0, (float)f->height);
}

static v3 ray(const rlm_view *v, float px, float py)
{
    float inv = 1.0f / v->focal;
    v3 d = v3_mad(v->ahead, v->right, (px - v->half_w) * inv);
    return v3_mad(d, v->up, (v->half_h - py) * inv);
}

#define ROOM_BACK 4.2f
#define ROOM_SIDE 6.0f

/* Floor, walls or sky along d. */
static float hit_stage(const rlm_frame *f, v3 d, int *label)
{
    v3 o = f->view.at;
    float t = W_FAR;
    *label = LABEL_SKY;
    if (d.y < -1e-6f && o.y / -d.y < W_FAR) {
        t = o.y / -d.y;
        *label = LABEL_FLOOR;
    }
    if (f->scene->sky != INDOORS)
        return t;
    if (d.z > 1e-6f && (ROOM_BACK - o.z) / d.z < t) {
        t = (ROOM_BACK - o.z) / d.z;
        *label = LABEL_WALL;
    }
    float side = d.x > 0 ? (ROOM_SIDE - o.x) : (-ROOM_SIDE - o.x);
    if (fabsf(d.x) > 1e-6f && side / d.x < t) {
        t = side / d.x;
        *label = d.x > 0 ? LABEL_WALL + 2 : LABEL_WALL + 1;
    }
    return t;
}

/* Everything along the ray of (px, py); `near` the pixel whose boxes count. */
static float trace(const rlm_frame *f, v3 d, int x, int y, int *label)
{
    float t = hit_stage(f, d, label);
    for (int i = 0; i < f->bodies; i++) {
        const rlm_body *b = &f->body[i];
        if (x < b->x0 || x >= b->x1 || y < b->y0 || y >= b->y1)
            continue;
        int face;
        float hit = rlm_shape_hit(b, b->eye, m3_back(&b->rotation, d), t, &face);
        if (hit < t) {
            t = hit;
            *label = LABEL_BODY + LABEL_FACES * i + face;
        }
    }
    return t;
}

static void see(rlm_frame *f)
{
    for (int y = 0; y < f->height; y++)
        for (int x = 0; x < f->width; x++) {
            int label, at = y * f->width + x;
            v3 d = ray(&f->view, (float)x + 0.5f, (float)y + 0.5f);
            f->depth[at] = trace(f, d, x, y, &label);
            f->label[at] = (uint8_t)label;
        }
}

static int on_edge(const rlm_frame *f, int x, int y)
{
    const uint8_t *l = f->label + y * f->width + x;
    return (x > 0 && l[-1] != l[0]) || (x + 1 < f->width && l[1] != l[0]) ||
           (y > 0 && l[-f->width] != l[0]) || (y + 1 < f->height && l[f->width] != l[0]);
}

static void paint(rlm_frame *f)
{
    static const float at[4][2] = {
        {0.375f, 0.125f}, {0.875f, 0.375f}, {0.125f, 0.625f}, {0.625f, 0.875f}};
    for (int y = 0; y < f->height; y++)
        for (int x = 0; x < f->width; x++) {
            int i = y * f->width + x;
            v3 c = {0, 0, 0};
            if (!on_edge(f, x, y)) {
                v3 d = ray(&f->view, (float)x + 0.5f, (float)y + 0.5f);
                c = rlm_shade(f, d, f->depth[i], f->label[i]);
            } else {
                for (int k = 0; k < 4; k++) {
                    int label;
                    v3 d = ray(&f->view, (float)x + at[k][0], (float)y + at[k][1]);
                    float t = trace(f, d, x, y, &label);
                    v3 one = rlm_shade(f, d, t, label);
                    c = v3_add(c, v3_make(w_min(one.x, 2), w_min(one.y, 2), w_min(one.z, 2)));
                }
                c = v3_scale(c, 0.25f);
            }
            memcpy(f->rgb + 3 * i, &c, sizeof c);
        }
}

/* Where the surface seen at a pixel is one frame later, minus the pixel. */
static void flow_of(const rlm_frame *f, const rlm_frame *next, float *flow)
{
    for (int y = 0; y < f->height; y++)
        for (int x = 0; x < f->width; x++, flow += 2) {
            int i = y * f->width + x, label = f->label[i];
            float px = (float)x + 0.5f, py = (float)y + 0.5f;
            v3 d = ray(&f->view, px, py), to = d;
            if (label != LABEL_SKY) {
                v3 p = v3_mad(f->view.at, d, f->depth[i]);
                if (label >= LABEL_BODY) {
                    const rlm_body *a = &f->body[(label - LABEL_BODY) / LABEL_FACES];
                    const rlm_body *b = &next->body[(label - LABEL_BODY) / LABEL_FACES];
                    v3 own = m3_back(&a->rotation, v3_sub(p, a->p));
                    p = v3_add(m3_apply(&b->rotation, own), b->p);
                }
                to = v3_sub(p, next->view.at);
            }
            float z = v3_dot(to, next->view.ahead), k = z > 0.05f ? next->view.focal / z : 0;
            flow[0] = z > 0.05f ? v3_dot(to, next->view.right) * k + f->view.half_w - px : 0;
            flow[1] = z > 0.05f ? f->view.half_h - v3_dot(to, next->view.up) * k - py : 0;
        }
}

static void truth_of(const rlm_frame *f, const rlm_frame *next, int n, rlm_world_truth *truth)
{
    size_t pixels = (size_t)f->width * (size_t)f->height;
    if (truth->depth)
        memcpy(truth->depth + (size_t)n * pixels, f->depth, sizeof(float) * pixels);
    if (truth->flow)
        flow_of(f, next, truth->flow + 2 * (size_t)n * pixels);
    if (truth->mask)
        for (size_t i = 0; i < pixels; i++)
            truth->mask[(size_t)n * pixels + i] =
                f->label[i] < LABEL_BODY ? 0
                                         : (uint8_t)(1 + (f->label[i] - LABEL_BODY) / LABEL_FACES);
}

static void set_frame(rlm_frame *f, const rlm_motion *m, double distance, double t)
{
    f->t = t;
    rlm_camera_at(f->scene, m, distance, f->width, f->height, t, &f->view);
    f->bodies = f->scene->count;
    for (int i = 0; i < f->bodies; i++) {
        set_body(f, m, i);
        set_box(f, &f->body[i]);
    }
}

static void to_bytes(const rlm_frame *f, uint8_t *rgb)
{
    const uint8_t *tone = f->world->tone;
    int n = 3 * f->width * f->height;
    for (int i = 0; i < n; i++)
        rgb[i] = tone[(int)w_clamp(f->rgb[i] * (0.25f * TONES), 0, TONES - 1)];
}

int rlm_world_draw(const struct rlm_world *w, const rlm_scene *s, const rlm_motion *m,
                   const rlm_world_want *want, uint8_t *rgb, rlm_world_truth *truth, rlm_error *err)
{
    size_t pixels = (size_t)want->width * (size_t)want->height;
    float *floats = rlm_alloc(pixels * 8 * sizeof(float));
    uint8_t *labels = rlm_alloc(pixels);
    rlm_frame f = {.world = w, .scene = s, .width = want->width, .height = want->height};
    if (!floats || !labels) {
        rlm_free(floats);
        rlm_free(labels);
        return rlm_fail(err, RLM_E_NOMEM, "playground: no memory for a frame of %d x %d",
                        want->width, want->height);
    }
    f.rgb = floats;
    f.depth = floats + 3 * pixels;
    f.plane = floats + 4 * pixels;
    f.label = labels;
    f.style = s->style;
    f.line = (float)(want->width < want->height ? want->width : want->height) / 128.0f;
    rlm_light_set(&f);
    double distance = rlm_camera_distance(s, m, want->width, want->height);
    double step = (double)want->fps_den / want->fps_num;
    for (int n = 0; n < want->frames; n++) {
        rlm_frame next = f;
        set_frame(&f, m, distance, n * step);
        see(&f);
        if (truth) {
            set_frame(&next, m, distance, (n + 1) * step);
            truth_of(&f, &next, n, truth);
        }
        if (!rgb)
            continue;
        paint(&f);
        int drawn = s->style == PENCIL && s->weather == RAIN; /* strokes over the drawing */
        if (!drawn)
            rlm_weather_draw(&f);
        rlm_style_apply(&f);
        if (drawn)
            rlm_weather_draw(&f);
        to_bytes(&f, rgb + 3 * (size_t)n * pixels);
    }
    rlm_free(floats);
    rlm_free(labels);
    return 0;
}
