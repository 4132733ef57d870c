/* The camera: far enough to keep the motion in sight for any aspect ratio, and its six moves. */
#include "src/world/render.h"

static void pose(const rlm_scene *s, const rlm_motion *m, double distance, int width, int height,
                 double t, rlm_view *v)
{
    double way = m->seconds > 0 ? t / m->seconds : 0, move = s->camera_move;
    double round = 0, pan = 0, zoom = 1, pitch = s->camera_pitch;
    way = way > 1 ? 1 : way;
    switch (s->camera) {
    case PAN_LEFT:
        pan = 0.17 * move * (1 - 2 * way);
        break;
    case PAN_RIGHT:
        pan = 0.17 * move * (2 * way - 1);
        break;
    case ZOOM_IN:
        zoom = 1 + 0.5 * move * (way - 1) / 1.5;
        break;
    case ZOOM_OUT:
        zoom = 1 - 0.5 * move * way / 1.5;
        break;
    case ORBIT_SHOT:
        round = 0.42 * move * (2 * way - 1);
        break;
    default:
        break;
    }
    float ca = (float)w_cos(round), sa = (float)w_sin(round);
    float cp = (float)w_cos(pitch), sp = (float)w_sin(pitch);
    v3 ahead = {sa * cp, -sp, ca * cp};
    v3 centre = {(float)m->centre[0], (float)m->centre[1], (float)m->centre[2]};
    v->at = v3_mad(centre, ahead, -(float)distance);
    float cb = (float)w_cos(round + pan), sb = (float)w_sin(round + pan);
    float cq = (float)w_cos(pitch - 0.07), sq = (float)w_sin(pitch - 0.07);
    v->ahead = v3_make(sb * cq, -sq, cb * cq);
    v->right = v3_make(cb, 0, -sb);
    v->up = v3_cross(v->ahead, v->right);
    float side = (float)(width < height ? width : height);
    v->focal = 0.5f * side * 2.3f * (float)zoom;
    v->half_w = 0.5f * (float)width;
    v->half_h = 0.5f * (float)height;
}

void rlm_camera_at(const rlm_scene *s, const rlm_motion *m, double distance, int width, int height,
                   double t, rlm_view *view)
{
    pose(s, m, distance, width, height, t, view);
}

static int in_sight(const rlm_scene *s, const rlm_motion *m, const rlm_view *v, double t)
{
    for (int i = 0; i < s->count; i++) {
        rlm_pose p;
        rlm_motion_pose(m, s, i, t, &p);
        v3 d = v3_sub(v3_make((float)p.p[0], (float)p.p[1], (float)p.p[2]), v->at);
        float z = v3_dot(d, v->ahead), r = (float)s->object[i].radius;
        if (z < 1.0f + r)
            return 0;
        float x = fabsf(v3_dot(d, v->right)), y = fabsf(v3_dot(d, v->up));
        if ((x + r) * v->focal > 0.93f * v->half_w * z ||
            (y + r) * v->focal > 0.93f * v->half_h * z)
            return 0;
    }
    return 1;
}

double rlm_camera_distance(const rlm_scene *s, const rlm_motion *m, int width, int height)
{
    double distance = 2.1;
    for (int tries = 0; tries < 48; tries++) {
        int good = 1;
        for (int i = 0; i <= 22 && good; i++) {
            rlm_view v;
            double t = 0.1 * i, shown = t < m->seconds ? t : m->seconds;
            pose(s, m, distance, width, height, shown, &v);
            good = in_sight(s, m, &v, t);
        }
        if (good)
            break;
        distance *= 1.035;
    }
    return distance;
}
