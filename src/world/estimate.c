/* Flow and depth of ordinary video, where no one knows the truth. Flow: least squares over a window
 * (Lucas and Kanade), coarse to fine, each level refined by warping. Depth: a guess, nothing more:
 * what is lower in the picture is taken to be nearer, and what moves more than its row does, too.
 */
#include <string.h>

#include "src/base/mem.h"
#include "src/world/world.h"

enum { LEVELS = 6, ROUNDS = 4, WINDOW = 3 };

typedef struct plane {
    int w, h;
    float *at; /* [h][w] */
} plane;

/* Scratch of one pair of frames; one block. */
typedef struct pair {
    plane a[LEVELS], b[LEVELS];
    float *u, *v, *gx, *gy, *sum[5], *line; /* of the largest level */
    int levels;
} pair;

static float sample(const plane *p, float x, float y)
{
    x = w_clamp(x, 0, (float)(p->w - 1));
    y = w_clamp(y, 0, (float)(p->h - 1));
    int ix = (int)x, iy = (int)y, jx = ix + 1 < p->w ? ix + 1 : ix,
        jy = iy + 1 < p->h ? iy + 1 : iy;
    float fx = x - (float)ix, fy = y - (float)iy;
    const float *q = p->at + (size_t)iy * (size_t)p->w, *r = p->at + (size_t)jy * (size_t)p->w;
    float top = q[ix] + fx * (q[jx] - q[ix]), low = r[ix] + fx * (r[jx] - r[ix]);
    return top + fy * (low - top);
}

static void to_grey(const uint8_t *rgb, plane *p)
{
    size_t n = (size_t)p->w * (size_t)p->h;
    for (size_t i = 0; i < n; i++)
        p->at[i] = 0.299f * rgb[3 * i] + 0.587f * rgb[3 * i + 1] + 0.114f * rgb[3 * i + 2];
}

static void halve(const plane *from, plane *to)
{
    for (int y = 0; y < to->h; y++)
        for (int x = 0; x < to->w; x++) {
            int x1 = 2 * x + 1 < from->w ? 2 * x + 1 : 2 * x, y1 = 2 * y + 1;
            const float *a = from->at + (size_t)(2 * y) * (size_t)from->w;
            const float *b = from->at + (size_t)(y1 < from->h ? y1 : 2 * y) * (size_t)from->w;
            to->at[(size_t)y * (size_t)to->w + (size_t)x] =
                0.25f * (a[2 * x] + a[x1] + b[2 * x] + b[x1]);
        }
}

/* Sum over (2 WINDOW + 1)^2 pixels, edges repeated; in place by way of `line`. */
static void window_sum(float *at, int w, int h, float *line)
{
    for (int pass = 0; pass < 2; pass++) {
        int n = pass ? h : w, step = pass ? w : 1, lines = pass ? w : h, skip = pass ? 1 : w;
        for (int k = 0; k < lines; k++) {
            float *p = at + (size_t)k * (size_t)skip;
            for (int i = 0; i < n; i++) {
                float sum = 0;
                for (int d = -WINDOW; d <= WINDOW; d++) {
                    int j = i + d;
                    sum += p[(j < 0 ? 0 : j >= n ? n - 1 : j) * step];
                }
                line[i] = sum;
            }
            for (int i = 0; i < n; i++)
                p[i * step] = line[i];
        }
    }
}

static void gradients(pair *s, const plane *a)
{
    for (int y = 0; y < a->h; y++)
        for (int x = 0; x < a->w; x++) {
            size_t i = (size_t)y * (size_t)a->w + (size_t)x;
            int l = x > 0, r = x + 1 < a->w, t = y > 0, d = y + 1 < a->h;
            float gx = a->at[i + (size_t)r] - a->at[i - (size_t)l];
            float gy = a->at[i + (size_t)(d ? a->w : 0)] - a->at[i - (size_t)(t ? a->w : 0)];
            s->gx[i] = l + r ? gx / (float)(l + r) : 0;
            s->gy[i] = t + d ? gy / (float)(t + d) : 0;
        }
}

/* One round on one level: where does each window of a go in b, near the flow so far? */
static void refine(pair *s, const plane *a, const plane *b)
{
    size_t n = (size_t)a->w * (size_t)a->h;
    for (int y = 0; y < a->h; y++)
        for (int x = 0; x < a->w; x++) {
            size_t i = (size_t)y * (size_t)a->w + (size_t)x;
            float gx = s->gx[i], gy = s->gy[i];
            float e = a->at[i] - sample(b, (float)x + s->u[i], (float)y + s->v[i]);
            float trust = 1.0f / (1.0f + 0.05f * e * e); /* what is covered does not pull */
            s->sum[0][i] = trust * gx * gx;
            s->sum[1][i] = trust * gx * gy;
            s->sum[2][i] = trust * gy * gy;
            s->sum[3][i] = trust * gx * e;
            s->sum[4][i] = trust * gy * e;
        }
    for (int k = 0; k < 5; k++)
        window_sum(s->sum[k], a->w, a->h, s->line);
    for (size_t i = 0; i < n; i++) {
        float xx = s->sum[0][i] + 60, xy = s->sum[1][i], yy = s->sum[2][i] + 60;
        float det = xx * yy - xy * xy, inv = 1.0f / det;
        float du = (yy * s->sum[3][i] - xy * s->sum[4][i]) * inv;
        float dv = (xx * s->sum[4][i] - xy * s->sum[3][i]) * inv;
        float sure = det / (xx + yy); /* about the weaker of the two directions */
        s->sum[0][i] = sure;
        s->sum[1][i] = sure * (s->u[i] + w_clamp(du, -1, 1));
        s->sum[2][i] = sure * (s->v[i] + w_clamp(dv, -1, 1));
    }
    for (int k = 0; k < 3; k++) /* what is sure spreads to what is not */
        window_sum(s->sum[k], a->w, a->h, s->line);
    for (size_t i = 0; i < n; i++) {
        float inv = 1.0f / s->sum[0][i];
        s->u[i] = s->sum[1][i] * inv;
        s->v[i] = s->sum[2][i] * inv;
    }
}

/* Median of five: the pixel and its four neighbours. */
static void smooth(float *at, float *to, int w, int h)
{
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const float *p = at + (size_t)y * (size_t)w + (size_t)x;
            float q[5] = {p[0], p[x > 0 ? -1 : 0], p[x + 1 < w ? 1 : 0], p[y > 0 ? -w : 0],
                          p[y + 1 < h ? w : 0]};
            for (int i = 1; i < 5; i++)
                for (int j = i; j > 0 && q[j] < q[j - 1]; j--) {
                    float swap = q[j];
                    q[j] = q[j - 1];
                    q[j - 1] = swap;
                }
            to[(size_t)y * (size_t)w + (size_t)x] = q[2];
        }
    memcpy(at, to, sizeof(float) * (size_t)w * (size_t)h);
}

/* The flow of level k + 1, doubled, as the start of level k. */
static void double_flow(pair *s, int k, float *flow)
{
    plane half = {s->a[k + 1].w, s->a[k + 1].h, s->sum[0]};
    size_t n = (size_t)half.w * (size_t)half.h;
    memcpy(half.at, flow, sizeof(float) * n);
    for (int y = 0; y < s->a[k].h; y++)
        for (int x = 0; x < s->a[k].w; x++)
            flow[(size_t)y * (size_t)s->a[k].w + (size_t)x] =
                2 * sample(&half, 0.5f * (float)x - 0.25f, 0.5f * (float)y - 0.25f);
}

static void flow_pair(pair *s, const uint8_t *a, const uint8_t *b, float *flow)
{
    to_grey(a, &s->a[0]);
    to_grey(b, &s->b[0]);
    for (int k = 1; k < s->levels; k++) {
        halve(&s->a[k - 1], &s->a[k]);
        halve(&s->b[k - 1], &s->b[k]);
    }
    size_t top = (size_t)s->a[s->levels - 1].w * (size_t)s->a[s->levels - 1].h;
    memset(s->u, 0, sizeof(float) * top);
    memset(s->v, 0, sizeof(float) * top);
    for (int k = s->levels - 1; k >= 0; k--) {
        const plane *p = &s->a[k];
        gradients(s, p);
        for (int n = 0; n < ROUNDS; n++) {
            refine(s, p, &s->b[k]);
            smooth(s->u, s->sum[0], p->w, p->h);
            smooth(s->v, s->sum[0], p->w, p->h);
        }
        if (k > 0) {
            double_flow(s, k - 1, s->u);
            double_flow(s, k - 1, s->v);
        }
    }
    size_t n = (size_t)s->a[0].w * (size_t)s->a[0].h;
    for (size_t i = 0; i < n; i++) {
        flow[2 * i] = s->u[i];
        flow[2 * i + 1] = s->v[i];
    }
}

static float *plan(pair *s, int w, int h)
{
    size_t n = (size_t)w * (size_t)h, side = (size_t)(w > h ? w : h);
    float *block = rlm_alloc(rlm_size_mul(rlm_size_add(rlm_size_mul(n, 12), side + 64), 4));
    if (!block)
        return NULL;
    float *at = block;
    s->levels = 0;
    for (int k = 0; k < LEVELS && (k == 0 || (w >= 28 && h >= 28)); k++) {
        s->a[k] = (plane){w, h, at};
        s->b[k] = (plane){w, h, at + (size_t)w * (size_t)h};
        at += 2 * (size_t)w * (size_t)h; /* all levels together: below 8/3 n + the odd rows */
        s->levels++;
        w = (w + 1) / 2;
        h = (h + 1) / 2;
        if (at + 2 * (size_t)w * (size_t)h > block + 3 * n)
            break;
    }
    float **parts[] = {&s->u,      &s->v,      &s->gx,     &s->gy,    &s->sum[0],
                       &s->sum[1], &s->sum[2], &s->sum[3], &s->sum[4]};
    for (int k = 0; k < 9; k++)
        *parts[k] = block + (size_t)(3 + k) * n;
    s->line = block + 12 * n;
    return block;
}

int rlm_flow_estimate(const rlm_frames *v, float *flow, rlm_error *err)
{
    pair s;
    if (v->count < 1 || v->width < 1 || v->height < 1)
        return rlm_fail(err, RLM_E_ARG, "flow: there are no frames");
    float *block = plan(&s, v->width, v->height);
    if (!block)
        return rlm_fail(err, RLM_E_NOMEM, "flow: no memory for frames of %d x %d", v->width,
                        v->height);
    size_t n = (size_t)v->width * (size_t)v->height;
    for (int t = 0; t + 1 < v->count; t++)
        flow_pair(&s, v->rgb + 3 * n * (size_t)t, v->rgb + 3 * n * (size_t)(t + 1),
                  flow + 2 * n * (size_t)t);
    float *last = flow + 2 * n * (size_t)(v->count - 1);
    if (v->count > 1)
        memcpy(last, last - 2 * n, sizeof(float) * 2 * n);
    else
        memset(last, 0, sizeof(float) * 2 * n);
    rlm_free(block);
    return 0;
}

void rlm_depth_guess(const rlm_frames *v, const float *flow, float *depth)
{
    for (int t = 0; t < v->count; t++)
        for (int y = 0; y < v->height; y++) {
            size_t at = ((size_t)t * (size_t)v->height + (size_t)y) * (size_t)v->width;
            float below = ((float)y + 0.5f) / (float)v->height - 0.38f; /* of the horizon */
            float floor = below > 0 ? w_clamp(1.1f / below, 1.5f, 30) : 30, mean = 0;
            for (int x = 0; flow && x < v->width; x++)
                mean += fabsf(flow[2 * (at + (size_t)x)]) + fabsf(flow[2 * (at + (size_t)x) + 1]);
            mean /= (float)v->width;
            for (int x = 0; x < v->width; x++) {
                const float *f = flow ? flow + 2 * (at + (size_t)x) : NULL;
                float more = f ? fabsf(f[0]) + fabsf(f[1]) - mean : 0;
                float near = w_smooth(0.5f, 2.0f, more);
                depth[at + (size_t)x] = floor + near * (w_min(floor, 4.0f) - floor);
            }
        }
}
