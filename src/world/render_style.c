/* Photo-like pictures stay as they are; the other three styles redraw the finished frame: cartoon
 * adds ink, pencil becomes coloured hatching on paper, neon becomes glowing outlines in the dark.
 */
#include <string.h>

#include "src/base/rng.h"
#include "src/world/render.h"

/* What an outline is drawn between: bodies and their faces, floor, sky, walls. */
static int line_between(const rlm_frame *f, int i, int j)
{
    int a = f->label[i], b = f->label[j];
    return a != b && (a >= LABEL_BODY || b >= LABEL_BODY);
}

/* Outlines into plane 0, about `wide` pixels, soft. Uses planes 0 and 1. */
static void outlines(rlm_frame *f, float wide)
{
    int w = f->width, h = f->height, r = (int)wide;
    float *line = f->plane, *other = f->plane + (size_t)w * (size_t)h;
    memset(other, 0, sizeof(float) * (size_t)w * (size_t)h);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            int i = y * w + x;
            if ((x + 1 < w && line_between(f, i, i + 1)) ||
                (y + 1 < h && line_between(f, i, i + w)))
                for (int dy = 0; dy <= r && y + dy < h; dy++)
                    for (int dx = 0; dx <= r && x + dx < w; dx++)
                        other[i + dy * w + dx] = 1;
        }
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            int up = y > 0 ? -w : 0, down = y + 1 < h ? w : 0, left = x > 0 ? -1 : 0;
            int right = x + 1 < w ? 1 : 0;
            const float *p = other + y * w + x;
            float sum = 4 * p[0] + 2 * (p[up] + p[down] + p[left] + p[right]) + p[up + left] +
                        p[up + right] + p[down + left] + p[down + right];
            line[y * w + x] = w_min(sum * (1.5f / 16), 1);
        }
}

static void cartoon(rlm_frame *f)
{
    int n = f->width * f->height;
    outlines(f, f->line * 0.9f);
    for (int i = 0; i < n; i++) {
        float keep = 1 - 0.92f * f->plane[i], *p = f->rgb + 3 * i;
        float mean = (p[0] + p[1] + p[2]) * (1.0f / 3);
        for (int k = 0; k < 3; k++)
            p[k] = w_max(mean + 1.15f * (p[k] - mean), 0) * 1.06f * keep;
    }
}

/* The pencil taken for a pixel of colour (r, g, b): for a body, mostly the body's own, lest evening
 * light turn pink into red. */
static v3 pencil_hue(const rlm_frame *f, int label, float r, float g, float b)
{
    v3 hue = v3_scale(v3_make(r, g, b), 1 / (w_max(r, w_max(g, b)) + 1e-3f));
    if (label < LABEL_BODY)
        return hue;
    v3 own = f->body[(label - LABEL_BODY) / LABEL_FACES].colour;
    return v3_mix(hue, v3_scale(own, 1 / w_max(own.x, w_max(own.y, own.z))), 0.6f);
}

/* Dark lines along one diagonal, 0..1, wavering. */
static float strokes(const rlm_frame *f, float x, float y, float dx, float dy, float gap,
                     float shift)
{
    float along = (x * dx + y * dy) / gap, across = (x * dy - y * dx) / gap;
    float waver = rlm_noise(f->world, along * 0.011f + shift, across * 0.05f) * 2.2f;
    float at = across + waver, in = at - (float)w_floor(at) - 0.5f;
    float press = 0.5f + rlm_noise(f->world, along * 0.04f + shift, across * 0.31f);
    return w_smooth(0.40f, 0.12f, fabsf(in)) * press;
}

static void pencil(rlm_frame *f)
{
    float unit = f->line, gap = 2.6f * w_max(unit, 0.8f);
    outlines(f, f->line * 0.5f);
    for (int y = 0; y < f->height; y++)
        for (int x = 0; x < f->width; x++) {
            int i = y * f->width + x;
            float *p = f->rgb + 3 * i, fx = (float)x, fy = (float)y;
            float grain = rlm_noise(f->world, fx / unit * 0.045f, fy / unit * 0.045f) - 0.5f;
            float r = w_min(p[0], 1.6f), g = w_min(p[1], 1.6f), b = w_min(p[2], 1.6f);
            float tone = sqrtf(0.3f * r + 0.55f * g + 0.15f * b);
            v3 hue = pencil_hue(f, f->label[i], r, g, b);
            float dark = w_clamp(1.12f - tone, 0, 1), ink = 0;
            ink += w_clamp(dark * 2.2f, 0, 1) * strokes(f, fx, fy, 0.8f, 0.6f, gap, 0.1f);
            if (dark > 0.35f)
                ink += w_clamp((dark - 0.35f) * 2.4f, 0, 1) *
                       strokes(f, fx, fy, 0.7f, -0.714f, gap * 1.1f, 0.6f);
            ink = w_clamp(ink * (0.9f + 1.2f * grain), 0, 1);
            v3 paper = v3_scale(v3_make(1.55f, 1.48f, 1.36f), 1 + 0.14f * grain);
            v3 wash =
                v3_mul(paper, v3_mix(v3_make(1, 1, 1), hue,
                                     f->label[i] >= LABEL_BODY ? 0.85f : 0.55f)); /* rubbed in */
            wash = v3_scale(wash, w_min(0.42f + 0.85f * tone, 1));
            v3 stroke = v3_mul(v3_mul(hue, hue), v3_make(0.34f, 0.34f, 0.34f));
            v3 c = v3_mix(wash, v3_mad(stroke, v3_make(0.05f, 0.05f, 0.06f), 1), 0.72f * ink);
            float line = f->plane[i] * w_clamp(0.72f + 1.6f * grain, 0.3f, 1);
            c = v3_mix(c, v3_make(0.07f, 0.07f, 0.08f), line);
            memcpy(p, &c, sizeof c);
        }
}

/* Mean over 2 r + 1 values, `step` apart, n of them; from and to must differ. */
static void box_line(const float *from, float *to, int n, int step, int r)
{
    float sum = 0, inv = 1.0f / (float)(2 * r + 1);
    for (int i = -r; i <= r; i++)
        sum += from[(i < 0 ? 0 : i >= n ? n - 1 : i) * step];
    for (int i = 0; i < n; i++) {
        int in = i + r + 1, out = i - r;
        to[i * step] = sum * inv;
        sum += from[(in >= n ? n - 1 : in) * step] - from[(out < 0 ? 0 : out) * step];
    }
}

/* Two passes of a box of radius r over plane `a`, by way of `b`. */
static void blur(float *a, float *b, int w, int h, int r)
{
    for (int pass = 0; pass < 2; pass++) {
        for (int y = 0; y < h; y++)
            box_line(a + (size_t)y * (size_t)w, b + (size_t)y * (size_t)w, w, 1, r);
        for (int x = 0; x < w; x++)
            box_line(b + x, a + x, h, w, r);
    }
}

/* The colour a pixel glows in: the body's at its outline, else its own. */
static v3 tube_colour(const rlm_frame *f, int i)
{
    int w = f->width, n = w * f->height, best = f->label[i];
    int near[4] = {i + 1, i - 1, i + w, i - w};
    for (int k = 0; k < 4 && best < LABEL_BODY; k++)
        if (near[k] >= 0 && near[k] < n && f->label[near[k]] > best)
            best = f->label[near[k]];
    if (best < LABEL_BODY)
        return v3_make(0.5f, 0.5f, 0.7f);
    v3 c = f->body[(best - LABEL_BODY) / LABEL_FACES].colour;
    return v3_add(v3_scale(c, 1.25f), v3_make(0.04f, 0.04f, 0.04f));
}

static void neon(rlm_frame *f)
{
    int w = f->width, h = f->height, n = w * h, r = (int)(2.5f * f->line + 0.5f);
    float *line = f->plane, *spare = f->plane + n, *glow = f->plane + 2 * n;
    outlines(f, f->line * 0.9f);
    for (int i = 0; i < n; i++) { /* the scene, dim */
        float *p = f->rgb + 3 * i, mean = (p[0] + p[1] + p[2]) * (1.0f / 3);
        int body = f->label[i] >= LABEL_BODY;
        float k = body ? 0.34f : 0.15f, rich = body ? 1.35f : 1.25f;
        p[0] = w_max(mean + rich * (p[0] - mean), 0) * k + 0.004f;
        p[1] = w_max(mean + rich * (p[1] - mean), 0) * k * 0.92f;
        p[2] = w_max(mean + rich * (p[2] - mean), 0) * k * 1.12f + 0.012f;
    }
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < n; i++) {
            v3 c = line[i] > 0 ? tube_colour(f, i) : v3_make(0, 0, 0);
            glow[i] = line[i] * (&c.x)[k];
            f->rgb[3 * i + k] =
                f->rgb[3 * i + k] * (1 - line[i]) + 2.2f * glow[i] + 0.30f * line[i];
        }
        blur(glow, spare, w, h, r > 0 ? r : 1);
        for (int i = 0; i < n; i++)
            f->rgb[3 * i + k] += 1.5f * glow[i];
    }
}

void rlm_style_apply(rlm_frame *f)
{
    if (f->style == CARTOON)
        cartoon(f);
    else if (f->style == PENCIL)
        pencil(f);
    else if (f->style == NEON)
        neon(f);
}
