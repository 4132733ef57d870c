/* The judge's closer looks: squares around a body brought to one size.
 *
 *   body     frame 0, 8 or 16         -> colour, shape, material; the style
 *   contact  seven frames, four gaps  -> in which eighth of each gap it meets something
 *
 * Each is 32 x 32, goes through the same convolutions and has four heads.
 *
 * A pixel of a body's look: its colour, and four times what it differs from the mean around it;
 * outlines, grain and highlights are small beside the colours, and learnt late without it. Of a
 * contact's: the mean of the seven frames, and twice what each differs from it.
 * In training the squares come from the masks and tremble; when judging, from the cells that show
 * the body's colour. */
#include <math.h>
#include <stdio.h>

#include "src/base/rng.h"
#include "src/train/judge.h"

enum {
    GROUPS = 8,
    LEVELS = 3,
    BODY_FRAME = 8,  /* frames between the moments of a body's look */
    SPAN_FRAMES = 7, /* of a contact's: one before the five of the gaps, one behind */
    PIXELS = CROP_SIDE * CROP_SIDE
};
static const float ROOM = 1.5f; /* around a body in motion */

static const struct look {
    const char *name, *heads[CROP_KINDS];
    int classes[CROP_KINDS];
    int channels, moments, hidden, widths[LEVELS + 1];
} looks[LOOKS] = {
    {"crop",
     {"colour", "shape", "material", "style"},
     {COLOURS, SHAPES, MATERIALS, STYLES},
     6,
     3,
     96,
     {24, 48, 96, 128}},
    {"meet",
     {"gap0", "gap1", "gap2", "gap3"},
     {1 + JUDGE_SPAN_PARTS, 1 + JUDGE_SPAN_PARTS, 1 + JUDGE_SPAN_PARTS, 1 + JUDGE_SPAN_PARTS},
     3 * (1 + SPAN_FRAMES),
     CROP_MOMENTS,
     128,
     {48, 64, 96, 128}},
};

struct rlm_judge_crop {
    int channels;
    rlm_conv stem, down[LEVELS], space[LEVELS], flat;
    rlm_groupnorm norm[LEVELS], last, hidden;
    rlm_linear heads[CROP_KINDS];
};

int rlm_judge_crop_classes(int look, int kind)
{
    return looks[look].classes[kind];
}

int rlm_judge_crop_moments(int look)
{
    return looks[look].moments;
}

size_t rlm_judge_crop_floats(int look)
{
    return (size_t)PIXELS * (size_t)looks[look].channels;
}

void rlm_judge_crop_frames(int look, int moment, int *from, int *to)
{
    *from = look == LOOK_BODY ? moment * BODY_FRAME : moment + 1;
    *to = look == LOOK_BODY ? *from : moment + 4;
}

static void conv(rlm_conv *c, rlm_params *p, const char *name, int cin, int cout, int k)
{
    rlm_conv_spec s = {.cin = cin, .cout = cout, .kh = k, .kw = k, .bias = true};
    rlm_conv_declare(c, p, name, &s);
}

/* "look.part" or "look.part2", into a buffer that the next call overwrites. */
static const char *name_of(char name[64], const struct look *l, const char *part, int index)
{
    if (index < 0)
        snprintf(name, 64, "%s.%s", l->name, part);
    else
        snprintf(name, 64, "%s.%s%d", l->name, part, index);
    return name;
}

int rlm_judge_crop_new(rlm_judge_crop **out, int look, rlm_params *p, rlm_error *err)
{
    const struct look *l = &looks[look];
    const int *w = l->widths;
    rlm_judge_crop *n = rlm_calloc(1, sizeof *n);
    char s[64];
    *out = n;
    if (!n)
        return rlm_fail(err, RLM_E_NOMEM, "judge: no memory");
    n->channels = l->channels;
    conv(&n->stem, p, name_of(s, l, "stem", -1), l->channels, w[0], 3);
    for (int i = 0; i < LEVELS; i++) {
        conv(&n->down[i], p, name_of(s, l, "down", i), 4 * w[i], w[i + 1], 1);
        rlm_groupnorm_declare(&n->norm[i], p, name_of(s, l, "norm", i), w[i + 1], GROUPS,
                              RLM_ACT_SILU, true);
        conv(&n->space[i], p, name_of(s, l, "space", i), w[i + 1], w[i + 1], 3);
    }
    rlm_groupnorm_declare(&n->last, p, name_of(s, l, "last", -1), w[LEVELS], GROUPS, RLM_ACT_SILU,
                          true);
    conv(&n->flat, p, name_of(s, l, "flat", -1), 16 * w[LEVELS], l->hidden, 1);
    rlm_groupnorm_declare(&n->hidden, p, name_of(s, l, "hidden", -1), l->hidden, GROUPS,
                          RLM_ACT_SILU, true);
    for (int i = 0; i < CROP_KINDS; i++) {
        rlm_linear_declare(&n->heads[i], p, name_of(s, l, l->heads[i], -1), l->hidden,
                           l->classes[i], true, 0.5f);
        if (n->heads[i].w)
            n->heads[i].w->matrix = false;
    }
    return 0;
}

void rlm_judge_crop_free(rlm_judge_crop **net)
{
    rlm_free(*net);
    *net = NULL;
}

void rlm_judge_crop_forward(rlm_run *run, const rlm_judge_crop *n, int m, const float *crops,
                            rlm_tensor out[CROP_KINDS])
{
    int64_t shape[5] = {m, 1, CROP_SIDE, CROP_SIDE, n->channels};
    rlm_tensor h = rlm_tensor_view((void *)crops, RLM_F32, 5, shape);
    h = rlm_conv_forward(run, &n->stem, &h);
    for (int i = 0; i < LEVELS; i++) {
        h = rlm_space_to_depth_forward(run, &h, 1, 2, 2);
        h = rlm_conv_forward(run, &n->down[i], &h);
        rlm_tensor g = rlm_groupnorm_forward(run, &n->norm[i], &h);
        h = rlm_conv_residual_forward(run, &n->space[i], &g, &h);
    }
    h = rlm_groupnorm_forward(run, &n->last, &h);
    h = rlm_space_to_depth_forward(run, &h, 1, 4, 4);
    h = rlm_conv_forward(run, &n->flat, &h);
    h = rlm_groupnorm_forward(run, &n->hidden, &h);
    for (int i = 0; i < CROP_KINDS; i++)
        out[i] = rlm_linear_forward(run, &n->heads[i], &h);
}

/* ---- Cutting out ----------------------------------------------------------------------------- */

/* A square of frame f [128][128][3] into three channels of crop, `channels` floats a pixel. */
static void cut_frame(const float *f, const rlm_judge_square *s, int channels, float *to)
{
    const float step = s->side / CROP_SIDE, half = 0.5f * CROP_SIDE;
    for (int j = 0; j < CROP_SIDE; j++)
        for (int i = 0; i < CROP_SIDE; i++, to += channels) {
            float x = s->x + ((float)i + 0.5f - half) * step - 0.5f;
            float y = s->y + ((float)j + 0.5f - half) * step - 0.5f;
            x = x < 0 ? 0 : x > JUDGE_SIDE - 1.001f ? JUDGE_SIDE - 1.001f : x;
            y = y < 0 ? 0 : y > JUDGE_SIDE - 1.001f ? JUDGE_SIDE - 1.001f : y;
            int ix = (int)x, iy = (int)y;
            float fx = x - (float)ix, fy = y - (float)iy;
            const float *a = f + ((size_t)iy * JUDGE_SIDE + (size_t)ix) * 3;
            const float *b = a + (size_t)JUDGE_SIDE * 3;
            for (int k = 0; k < 3; k++)
                to[k] = (1 - fy) * ((1 - fx) * a[k] + fx * a[k + 3]) +
                        fy * ((1 - fx) * b[k] + fx * b[k + 3]);
        }
}

/* Channels 3 .. 5: contrast with the mean of up to 5 x 5. */
static void add_contrast(float *crop, int channels)
{
    for (int j = 0; j < CROP_SIDE; j++)
        for (int i = 0; i < CROP_SIDE; i++) {
            float sum[3] = {0}, *here = crop + (size_t)(j * CROP_SIDE + i) * (size_t)channels;
            int count = 0;
            for (int y = j > 2 ? j - 2 : 0; y <= j + 2 && y < CROP_SIDE; y++)
                for (int x = i > 2 ? i - 2 : 0; x <= i + 2 && x < CROP_SIDE; x++, count++)
                    for (int k = 0; k < 3; k++)
                        sum[k] += crop[(size_t)(y * CROP_SIDE + x) * (size_t)channels + (size_t)k];
            for (int k = 0; k < 3; k++)
                here[3 + k] = 4 * (here[k] - sum[k] / (float)count);
        }
}

/* Channels 0 .. 2 become the mean of the frames in the others, those what they differ from it. */
static void take_mean(float *crop, int channels)
{
    for (int i = 0; i < PIXELS; i++, crop += channels)
        for (int k = 0; k < 3; k++) {
            float sum = 0;
            for (int f = 1; f <= SPAN_FRAMES; f++)
                sum += crop[3 * f + k];
            crop[k] = sum / SPAN_FRAMES;
            for (int f = 1; f <= SPAN_FRAMES; f++)
                crop[3 * f + k] = 2 * (crop[3 * f + k] - crop[k]);
        }
}

void rlm_judge_cut(int look, const float *pixels, int moment, const rlm_judge_square *s,
                   float *crop)
{
    const size_t frame = (size_t)JUDGE_SIDE * JUDGE_SIDE * 3;
    int channels = looks[look].channels;
    if (look == LOOK_BODY) {
        cut_frame(pixels + frame * (size_t)(moment * BODY_FRAME), s, channels, crop);
        add_contrast(crop, channels);
        return;
    }
    rlm_judge_square wide = {s->x, s->y, ROOM * s->side};
    for (int f = 0; f < SPAN_FRAMES; f++) {
        int at = moment - 1 + f;
        at = at < 0 ? 0 : at > JUDGE_FRAMES - 1 ? JUDGE_FRAMES - 1 : at;
        cut_frame(pixels + frame * (size_t)at, &wide, channels, crop + 3 * (1 + f));
    }
    take_mean(crop, channels);
}

void rlm_judge_tremble(uint64_t seed, uint64_t index, rlm_judge_square *s)
{
    enum { STREAM = 0xc407 };
    float wide = 0.75f + 0.8f * rlm_rng_uniform(seed, STREAM, index);
    s->x += 0.3f * s->side * (rlm_rng_uniform(seed, STREAM + 1, index) - 0.5f);
    s->y += 0.3f * s->side * (rlm_rng_uniform(seed, STREAM + 2, index) - 0.5f);
    s->side *= wide;
}

/* Mean and spread of the cells' probability of a colour; a square body of side a spreads a^2 / 12,
 * a cell 64 / 12. */
int rlm_judge_find(const float *p, int stride, rlm_judge_square *s)
{
    double sum = 0, x = 0, y = 0, xx = 0, yy = 0;
    for (int i = 0; i < JUDGE_GRID * JUDGE_GRID; i++) {
        int row = i / JUDGE_GRID, column = i % JUDGE_GRID;
        double w = (double)p[i * stride], u = 8 * column + 4, v = 8 * row + 4;
        w = w < 0.15 ? 0 : w;
        sum += w;
        x += w * u;
        y += w * v;
        xx += w * u * u;
        yy += w * v * v;
    }
    if (sum < 0.4)
        return 0;
    x /= sum;
    y /= sum;
    xx = xx / sum - x * x - 5.3;
    yy = yy / sum - y * y - 5.3;
    double spread = xx > yy ? xx : yy;
    *s =
        (rlm_judge_square){(float)x, (float)y, (float)(1.3 * sqrt(12 * (spread > 8 ? spread : 8)))};
    return 1;
}

enum { CELLS = JUDGE_GRID * JUDGE_GRID };

/* The probability of a connected piece, cells that touch by a corner included; its cells are
 * emptied. */
static double take_piece(float *w, int start)
{
    int stack[CELLS], depth = 0;
    double sum = 0;
    stack[depth++] = start;
    sum += (double)w[start];
    w[start] = 0;
    while (depth) {
        int at = stack[--depth], row = at / JUDGE_GRID, column = at % JUDGE_GRID;
        for (int r = row - 1; r <= row + 1; r++)
            for (int c = column - 1; c <= column + 1; c++) {
                int to = r * JUDGE_GRID + c;
                if (r < 0 || r >= JUDGE_GRID || c < 0 || c >= JUDGE_GRID || w[to] <= 0)
                    continue;
                sum += (double)w[to];
                w[to] = 0;
                stack[depth++] = to;
            }
    }
    return sum;
}

int rlm_judge_pieces(const float *p, int stride)
{
    float w[CELLS];
    int pieces = 0;
    for (int i = 0; i < CELLS; i++)
        w[i] = p[i * stride] > 0.5f ? p[i * stride] : 0;
    for (int i = 0; i < CELLS; i++)
        pieces += w[i] > 0 && take_piece(w, i) > 1.2;
    return pieces;
}
