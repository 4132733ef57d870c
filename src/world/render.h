/* Private to the renderer: a frame's camera, bodies and light, and what its files share. */
#ifndef RLM_WORLD_RENDER_H
#define RLM_WORLD_RENDER_H

#include "src/world/world.h"

/* Labels of pixels: what is seen there. A body's faces differ so that its edges show. */
enum { LABEL_SKY, LABEL_FLOOR, LABEL_WALL, LABEL_BODY = 8, LABEL_FACES = 8 };

typedef struct rlm_view {
    v3 at, right, up, ahead;
    float focal, half_w, half_h; /* pixels */
} rlm_view;

typedef struct rlm_body {
    const rlm_object *object;
    m3 rotation;
    v3 p;
    float bound, d0, d1; /* radius around all of it; the object's dims */
    v3 eye;              /* the camera in its own axes */
    v3 sun;              /* the direction of the light in its own axes */
    float low, foot;     /* height of its lowest point; radius of its foot */
    v3 colour;           /* linear albedo */
    int x0, x1, y0, y1;  /* pixels it may cover */
} rlm_body;

typedef struct rlm_frame {
    const struct rlm_world *world;
    const rlm_scene *scene;
    rlm_view view;
    rlm_body body[MAX_OBJECTS];
    int bodies, width, height, style;
    double t;
    v3 sun, light, ambient, bounce; /* direction; colours */
    v3 zenith, horizon, glow, wall, floor_tint;
    float penumbra, overcast, line; /* tangent; share of grey; outline width in pixels */
    float texture_cos, texture_sin, texture_u, texture_v, cloud_u, cloud_v;
    float *rgb;     /* [h][w][3], linear, owned by rlm_world_draw */
    float *depth;   /* [h][w] along the axis of view, m */
    uint8_t *label; /* [h][w] */
    float *plane;   /* [h][w][4], scratch of the styles */
} rlm_frame;

/* ---- camera.c */
/* Distance that keeps everything that moves in sight, and the pose of the camera at time t. */
double rlm_camera_distance(const rlm_scene *s, const rlm_motion *m, int width, int height);
void rlm_camera_at(const rlm_scene *s, const rlm_motion *m, double distance, int width, int height,
                   double t, rlm_view *view);

/* ---- shapes.c: all in the body's own axes */
/* Way along d from o to the surface, below `limit`; or limit. *face: 0..7. */
float rlm_shape_hit(const rlm_body *b, v3 o, v3 d, float limit, int *face);
v3 rlm_shape_normal(const rlm_body *b, v3 p, int face);
float rlm_shape_distance(const rlm_body *b, v3 p); /* a lower bound of it, exact near */
/* -1..1: the stripes that make turning visible; `pixel` is the size of one there, m. */
float rlm_shape_stripe(const rlm_body *b, v3 p, int face, float pixel);

/* ---- render_shade.c */
void rlm_light_set(rlm_frame *f);
v3 rlm_shade(const rlm_frame *f, v3 d, float t, int label);

/* ---- render_style.c, render_weather.c: on the finished frame */
void rlm_style_apply(rlm_frame *f);
void rlm_weather_draw(rlm_frame *f);

#endif
