/* Painting: what a mask, boxes or added borders cover is made anew; every other pixel and the sound
 * come back as they were. */
#include "src/pipeline.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "src/media/media.h"

enum { BOXES_MAX = 64, BORDER_MAX = 4096, PAINT_SIDE_MAX = 8192, WHITE = 127, HINT = 8 };

typedef struct paint {
    const rlm_request *r;
    rlm_clip canvas;        /* the condition with its borders, at the request's size and rates */
    rlm_clip mask;          /* brighter than HINT: to be made; one picture, or one a frame */
    rlm_codes codes;        /* of the window, holes filled */
    int32_t *seen;          /* the same, -1 where it is to be made */
    uint8_t *known, *holes; /* codes kept; pixels of the window to be made */
} paint;

static int hole_at(const paint *p, int frame, size_t pixel)
{
    const rlm_frames *m = &p->mask.video;
    size_t at = (size_t)(frame < m->count ? frame : m->count - 1) * (size_t)m->height;
    return m->rgb[3 * (at * (size_t)m->width + pixel)] > HINT;
}

/* ---- From the request: canvas and mask, first as large as the condition ---------------------- */

static int check_paint(const rlm_request *r, rlm_error *err)
{
    const rlm_clip *c = r->condition, *m = r->mask;
    if (!c || c->video.count < 1)
        return rlm_fail(err, RLM_E_ARG, "painting needs a picture or video as its condition");
    if (m && (m->video.width != c->video.width || m->video.height != c->video.height))
        return rlm_fail(err, RLM_E_ARG, "the mask is %dx%d, the picture %dx%d: they must be alike",
                        m->video.width, m->video.height, c->video.width, c->video.height);
    if (m && m->video.count != 1 && m->video.count != c->video.count)
        return rlm_fail(err, RLM_E_ARG,
                        "the mask has %d frames, the video %d: one picture, or one a frame",
                        m->video.count, c->video.count);
    if (r->box_count < 0 || r->box_count > BOXES_MAX || (r->box_count && !r->boxes))
        return rlm_fail(err, RLM_E_ARG, "%d boxes, allowed are 0 to %d", r->box_count, BOXES_MAX);
    for (int i = 0; i < 4; i++)
        if (r->outpaint[i] < 0 || r->outpaint[i] > BORDER_MAX)
            return rlm_fail(err, RLM_E_RANGE, "a border of %d pixels, allowed are 0 to %d",
                            r->outpaint[i], BORDER_MAX);
    for (int i = 0; i < r->box_count; i++) {
        const rlm_box *b = &r->boxes[i];
        int to = b->to > 0 ? b->to : c->video.count;
        if (b->width < 1 || b->height < 1 || b->x < 0 || b->y < 0 ||
            b->x > c->video.width - b->width || b->y > c->video.height - b->height)
            return rlm_fail(err, RLM_E_RANGE,
                            "box %d: %dx%d at %d,%d does not lie in the picture of %dx%d", i + 1,
                            b->width, b->height, b->x, b->y, c->video.width, c->video.height);
        if (b->from < 0 || b->from >= to || to > c->video.count)
            return rlm_fail(err, RLM_E_RANGE, "box %d: frames %d to %d, the video has 0 to %d",
                            i + 1, b->from, to - 1, c->video.count - 1);
    }
    if (!m && !r->box_count && !r->outpaint[0] && !r->outpaint[1] && !r->outpaint[2] &&
        !r->outpaint[3])
        return rlm_fail(err, RLM_E_ARG, "painting needs a mask, a box or borders to make anew");
    return 0;
}

/* The pictures with their borders, edges repeated; heap. */
static int wide_canvas(const rlm_request *r, rlm_frames *out, rlm_error *err)
{
    const rlm_frames *v = &r->condition->video;
    const int *border = r->outpaint;
    *out = *v;
    out->width = v->width + border[0] + border[1];
    out->height = v->height + border[2] + border[3];
    if (out->width > PAINT_SIDE_MAX || out->height > PAINT_SIDE_MAX)
        return rlm_fail(err, RLM_E_RANGE, "%dx%d with borders, at most %d a side", out->width,
                        out->height, PAINT_SIDE_MAX);
    size_t one = rlm_size_mul((size_t)out->width * (size_t)out->height, 3);
    uint8_t *to = rlm_alloc(rlm_size_mul(one, (size_t)v->count));
    out->rgb = to;
    if (!to)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %d frames of %dx%d", v->count, out->width,
                        out->height);
    for (int f = 0; f < v->count; f++)
        for (int y = 0; y < out->height; y++) {
            int sy = y - border[2];
            sy = sy < 0 ? 0 : sy < v->height ? sy : v->height - 1;
            const uint8_t *row =
                v->rgb + ((size_t)f * (size_t)v->height + (size_t)sy) * (size_t)v->width * 3;
            for (int x = 0; x < out->width; x++, to += 3) {
                int sx = x - border[0];
                memcpy(to, row + 3 * (sx < 0 ? 0 : sx < v->width ? sx : v->width - 1), 3);
            }
        }
    return 0;
}

static int is_border(const rlm_request *r, const rlm_frames *m, int x, int y)
{
    return x < r->outpaint[0] || y < r->outpaint[2] || x >= m->width - r->outpaint[1] ||
           y >= m->height - r->outpaint[3];
}

static int is_hole(const rlm_request *r, const rlm_frames *m, int frame, int x, int y)
{
    const rlm_frames *v = &r->condition->video;
    int cx = x - r->outpaint[0], cy = y - r->outpaint[2];
    if (is_border(r, m, x, y))
        return 1;
    if (r->mask) {
        const rlm_frames *k = &r->mask->video;
        size_t row = (size_t)(frame < k->count ? frame : 0) * (size_t)k->height + (size_t)cy;
        const uint8_t *p = k->rgb + 3 * (row * (size_t)k->width + (size_t)cx);
        if ((p[0] + p[1] + p[2]) / 3 > WHITE)
            return 1;
    }
    for (int i = 0; i < r->box_count; i++) {
        const rlm_box *b = &r->boxes[i];
        if (frame >= b->from && frame < (b->to > 0 ? b->to : v->count) && cx >= b->x &&
            cy >= b->y && cx < b->x + b->width && cy < b->y + b->height)
            return 1;
    }
    return 0;
}

/* White where it is to be made: as many pictures as differ. Heap. */
static int wide_mask(const rlm_request *r, int width, int height, rlm_frames *out, rlm_error *err)
{
    const rlm_frames *v = &r->condition->video;
    int each = r->mask && r->mask->video.count > 1, any = 0;
    for (int i = 0; i < r->box_count; i++)
        each |= r->boxes[i].from > 0 || (r->boxes[i].to > 0 && r->boxes[i].to < v->count);
    *out = *v;
    out->count = each ? v->count : 1;
    out->width = width;
    out->height = height;
    size_t one = rlm_size_mul((size_t)width * (size_t)height, 3);
    uint8_t *to = rlm_alloc(rlm_size_mul(one, (size_t)out->count));
    out->rgb = to;
    if (!to)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for a mask of %dx%d", width, height);
    for (int f = 0; f < out->count; f++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++, to += 3) {
                int hole = is_hole(r, out, f, x, y);
                memset(to, hole ? 255 : 0, 3);
                any |= hole;
            }
    return any ? 0 : rlm_fail(err, RLM_E_ARG, "the mask is black everywhere: nothing to make anew");
}

/* Sides come in steps, so a size of the canvas's shape may differ by so much of it. */
enum { SHAPE_TOLERANCE = 8 };

/* To the request's size the canvas is cropped around its middle. Where that would take most of a
 * new border, a shape that is nearly the canvas's is stretched, and another refused. */
static int fit_borders(const rlm_request *r, const rlm_frames *wide, int *fit, rlm_error *err)
{
    double kx = (double)r->width / wide->width, ky = (double)r->height / wide->height;
    double crop[2] = {wide->width * (1 - kx / ky) / 2, wide->height * (1 - ky / kx) / 2};
    bool lost = false;
    for (int i = 0; i < 4; i++)
        lost |= r->outpaint[i] && 2 * crop[i / 2] >= r->outpaint[i];
    if (!lost)
        return 0;
    *fit = RLM_FIT_STRETCH;
    if (fmax(kx / ky, ky / kx) <= 1 + 1.0 / SHAPE_TOLERANCE)
        return 0;
    return rlm_fail(err, RLM_E_RANGE,
                    "with its borders the picture is %dx%d: %dx%d would crop them away, ask for a "
                    "size of that shape",
                    wide->width, wide->height, r->width, r->height);
}

static int paint_open(rlm_job *j, paint *p, rlm_error *err)
{
    rlm_clip wide = {.audio = j->r->condition->audio}, mask = {0};
    rlm_want want;
    rlm_job_want(j, &want);
    want.want_audio = j->r->audio;
    want.rate = want.channels = 0;
    int code = wide_canvas(j->r, &wide.video, err);
    if (!code)
        code = fit_borders(j->r, &wide.video, &want.fit, err);
    if (!code)
        code = wide_mask(j->r, wide.video.width, wide.video.height, &mask.video, err);
    if (!code)
        code = rlm_clip_convert(&wide, &want, &p->canvas, err);
    want.want_audio = 0;
    if (!code)
        code = rlm_clip_convert(&mask, &want, &p->mask, err);
    rlm_free(wide.video.rgb);
    rlm_free(mask.video.rgb);
    return code;
}

static void window_free(paint *p)
{
    rlm_codes_free(&p->codes);
    rlm_free(p->seen);
    rlm_free(p->known);
    rlm_free(p->holes);
    p->seen = NULL;
    p->known = p->holes = NULL;
}

/* ---- A window -------------------------------------------------------------------------------- */

/* Frame `frame` of the canvas into rgb, its holes filled with what lies around them. */
static int filled_frame(const paint *p, int frame, uint8_t *rgb, uint8_t *holes, rlm_error *err)
{
    const rlm_frames *v = &p->canvas.video;
    size_t n = (size_t)v->height * (size_t)v->width, kept = 0;
    const uint8_t *from = v->rgb + (size_t)frame * n * 3;
    memcpy(rgb, from, 3 * n);
    for (size_t i = 0; i < n; i++) {
        holes[i] = (uint8_t)hole_at(p, frame, i);
        kept += !holes[i];
    }
    if (kept == n)
        return 0;
    if (!kept) {
        memset(rgb, 128, 3 * n);
        return 0;
    }
    float *pixels = rlm_alloc(3 * n * sizeof *pixels);
    uint8_t *known = rlm_alloc(n);
    int code = pixels && known ? 0 : rlm_fail(err, RLM_E_NOMEM, "no memory to fill a picture");
    for (size_t i = 0; i < n && !code; i++) {
        known[i] = !holes[i];
        for (int c = 0; c < 3; c++)
            pixels[3 * i + (size_t)c] = from[3 * i + (size_t)c];
    }
    if (!code)
        code = rlm_fill(pixels, known, v->height, v->width, err);
    for (size_t i = 0; i < 3 * n && !code; i++)
        if (holes[i / 3])
            rgb[i] = (uint8_t)(pixels[i] + 0.5f);
    rlm_free(pixels);
    rlm_free(known);
    return code;
}

/* Codes whose block of pixels has a hole are to be made; returns how many. */
static int mark_codes(const paint *p, int frames, int stride, int side)
{
    const rlm_frames *v = &p->canvas.video;
    const int *d = p->codes.dims;
    int count = 0;
    memset(p->known, 1, (size_t)p->codes.count);
    for (int f = 0; f < frames; f++)
        for (int y = 0; y < v->height; y++)
            for (int x = 0; x < v->width; x++)
                if (p->holes[((size_t)f * (size_t)v->height + (size_t)y) * (size_t)v->width +
                             (size_t)x]) {
                    int t = (f + stride - 1) / stride;
                    size_t at = ((size_t)t * (size_t)d[1] + (size_t)(y / side)) * (size_t)d[2];
                    p->known[at + (size_t)(x / side)] = 0;
                }
    for (int64_t i = 0; i < p->codes.count; i++) {
        p->seen[i] = p->known[i] ? p->codes.ids[i] : -1;
        count += !p->known[i];
    }
    return count;
}

static int open_window(void *ctx, rlm_walk *w, int from, int past, int n, rlm_layout_spec *spec,
                       rlm_error *err)
{
    paint *p = ctx;
    const rlm_video_config *config = &w->j->s->engine->model.video_config;
    size_t pixels = (size_t)w->out.height * (size_t)w->out.width;
    rlm_clip work = {.video = w->out};
    window_free(p);
    work.video.count = n;
    work.video.rgb = rlm_alloc(rlm_size_mul(3 * pixels, (size_t)n));
    p->holes = rlm_calloc((size_t)n, pixels);
    int code = work.video.rgb && p->holes ? 0 : rlm_fail(err, RLM_E_NOMEM, "no memory to paint");
    if (!code && past)
        memcpy(work.video.rgb, w->out.rgb + 3 * pixels * (size_t)from, 3 * pixels * (size_t)past);
    for (int i = past; i < n && !code; i++)
        code = filled_frame(p, from + i, work.video.rgb + 3 * pixels * (size_t)i,
                            p->holes + pixels * (size_t)i, err);
    if (!code)
        code = rlm_encode(w->j->s, &work, &p->codes, NULL, err);
    rlm_free(work.video.rgb);
    if (code)
        return code;
    p->seen = rlm_alloc((size_t)p->codes.count * sizeof *p->seen);
    p->known = rlm_alloc((size_t)p->codes.count);
    if (!p->seen || !p->known)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %lld codes", (long long)p->codes.count);
    int unknown = mark_codes(p, n, rlm_video_stride_t(config), rlm_video_stride_s(config));
    spec->visual_in = spec->video_out;
    spec->visual_in.ids = p->seen;
    spec->video_out.ids = p->codes.ids;
    spec->video_out.known = p->known;
    return !unknown;
}

/* What was made meets what is kept: the difference along the edge of the hole is spread over it. */
static int blend_frame(const paint *p, int frame, uint8_t *made, rlm_error *err)
{
    const rlm_frames *v = &p->canvas.video;
    size_t n = (size_t)v->height * (size_t)v->width;
    const uint8_t *kept = v->rgb + (size_t)frame * n * 3;
    float *off = rlm_alloc(3 * n * sizeof *off);
    uint8_t *known = rlm_alloc(n);
    int code = off && known ? 0 : rlm_fail(err, RLM_E_NOMEM, "no memory to paint");
    for (size_t i = 0; i < n && !code; i++) {
        known[i] = !hole_at(p, frame, i);
        for (size_t c = 3 * i; c < 3 * i + 3; c++)
            off[c] = (float)kept[c] - (float)made[c];
    }
    if (!code)
        code = rlm_fill(off, known, v->height, v->width, err);
    for (size_t i = 0; i < 3 * n && !code; i++) {
        float sum = (float)made[i] + off[i];
        made[i] = known[i / 3] ? kept[i] : (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum + 0.5f);
    }
    rlm_free(off);
    rlm_free(known);
    return code;
}

static int take_window(void *ctx, rlm_walk *w, int from, int n, rlm_error *err)
{
    paint *p = ctx;
    size_t pixels = (size_t)w->out.height * (size_t)w->out.width;
    for (int f = from; f < from + n; f++) {
        uint8_t *made = w->out.rgb + 3 * pixels * (size_t)f;
        size_t i = 0;
        while (i < pixels && !hole_at(p, f, i))
            i++;
        if (i == pixels)
            memcpy(made, p->canvas.video.rgb + 3 * pixels * (size_t)f, 3 * pixels);
        else
            RLM_TRY(blend_frame(p, f, made, err));
    }
    return 0;
}

int rlm_paint(rlm_job *j, rlm_clip *out, rlm_error *err)
{
    paint p = {.r = j->r};
    rlm_walk w = {
        .j = j, .task = RLM_TASK_PAINT, .open = open_window, .take = take_window, .ctx = &p};
    RLM_TRY(check_paint(j->r, err));
    int code = paint_open(j, &p, err);
    w.frames = p.canvas.video.count;
    if (!code)
        code = rlm_walk_run(&w, err);
    out->video = w.out;
    out->audio = p.canvas.audio;
    p.canvas.audio = (rlm_pcm){0};
    if (out->video.count < w.frames) { /* stopped: the sound ends with the pictures */
        double seconds = (double)out->video.count * j->r->fps_den / j->r->fps_num;
        int64_t most = (int64_t)(seconds * out->audio.rate);
        out->audio.count = most < out->audio.count ? most : out->audio.count;
    }
    window_free(&p);
    rlm_clip_free(&p.canvas);
    rlm_clip_free(&p.mask);
    return code;
}
