/* Smooth filling of holes by pull and push: averages of what is known, coarser and coarser, then
 * back down to where nothing is known. After Gortler et al., The Lumigraph, 1996, section 3.4. */
#include "src/pipeline.h"

#include <string.h>

/* One grid of the pyramid: [h][w] of three sums of colour and a weight in [0, 1]. */
typedef struct level {
    int h, w;
    float *v;
} level;

enum { LEVELS = 14 };

/* Four cells to one; weights add up to at most one. */
static void pull(const level *fine, level *coarse)
{
    for (int y = 0; y < coarse->h; y++)
        for (int x = 0; x < coarse->w; x++) {
            float *to = coarse->v + 4 * ((size_t)y * (size_t)coarse->w + (size_t)x);
            float sum[4] = {0};
            for (int i = 0; i < 4; i++) {
                int fy = 2 * y + i / 2, fx = 2 * x + i % 2;
                if (fy >= fine->h || fx >= fine->w)
                    continue;
                const float *f = fine->v + 4 * ((size_t)fy * (size_t)fine->w + (size_t)fx);
                for (int c = 0; c < 3; c++)
                    sum[c] += f[3] * f[c];
                sum[3] += f[3];
            }
            for (int c = 0; c < 3; c++)
                to[c] = sum[3] > 0 ? sum[c] / sum[3] : 0;
            to[3] = sum[3] < 1 ? sum[3] : 1;
        }
}

/* The coarse value at a fine cell, bilinear between the centres of the cells around it. */
static void sample(const level *c, int fy, int fx, float out[3])
{
    float y = 0.5f * ((float)fy + 0.5f) - 0.5f, x = 0.5f * ((float)fx + 0.5f) - 0.5f;
    y = y < 0 ? 0 : y > (float)(c->h - 1) ? (float)(c->h - 1) : y;
    x = x < 0 ? 0 : x > (float)(c->w - 1) ? (float)(c->w - 1) : x;
    int y0 = (int)y, x0 = (int)x;
    int y1 = y0 + 1 < c->h ? y0 + 1 : y0, x1 = x0 + 1 < c->w ? x0 + 1 : x0;
    float b = y - (float)y0, a = x - (float)x0;
    const float *top = c->v + 4 * (size_t)y0 * (size_t)c->w,
                *low = c->v + 4 * (size_t)y1 * (size_t)c->w;
    for (int k = 0; k < 3; k++)
        out[k] = (1 - b) * ((1 - a) * top[4 * x0 + k] + a * top[4 * x1 + k]) +
                 b * ((1 - a) * low[4 * x0 + k] + a * low[4 * x1 + k]);
}

static void push(const level *coarse, level *fine)
{
    for (int y = 0; y < fine->h; y++)
        for (int x = 0; x < fine->w; x++) {
            float *f = fine->v + 4 * ((size_t)y * (size_t)fine->w + (size_t)x), from[3];
            if (f[3] >= 1)
                continue;
            sample(coarse, y, x, from);
            for (int c = 0; c < 3; c++)
                f[c] = f[3] * f[c] + (1 - f[3]) * from[c];
            f[3] = 1;
        }
}

int rlm_fill(float *pixels, const uint8_t *known, int h, int w, rlm_error *err)
{
    level l[LEVELS] = {{h, w, NULL}};
    int count = 1;
    size_t cells = (size_t)h * (size_t)w;
    while (count < LEVELS && (l[count - 1].h > 1 || l[count - 1].w > 1)) {
        l[count] = (level){(l[count - 1].h + 1) / 2, (l[count - 1].w + 1) / 2, NULL};
        cells += (size_t)l[count].h * (size_t)l[count].w;
        count++;
    }
    float *all = rlm_alloc(rlm_size_mul(cells, 4 * sizeof *all));
    if (!all)
        return rlm_fail(err, RLM_E_NOMEM, "no memory to fill %dx%d pixels", w, h);
    l[0].v = all;
    for (int i = 1; i < count; i++)
        l[i].v = l[i - 1].v + 4 * (size_t)l[i - 1].h * (size_t)l[i - 1].w;
    for (size_t i = 0; i < (size_t)h * (size_t)w; i++) {
        for (int c = 0; c < 3; c++)
            l[0].v[4 * i + (size_t)c] = known[i] ? pixels[3 * i + (size_t)c] : 0;
        l[0].v[4 * i + 3] = known[i] ? 1 : 0;
    }
    for (int i = 1; i < count; i++)
        pull(&l[i - 1], &l[i]);
    for (int i = count - 1; i > 0; i--)
        push(&l[i], &l[i - 1]);
    for (size_t i = 0; i < (size_t)h * (size_t)w; i++)
        for (int c = 0; c < 3; c++)
            pixels[3 * i + (size_t)c] = l[0].v[4 * i + (size_t)c];
    rlm_free(all);
    return 0;
}
