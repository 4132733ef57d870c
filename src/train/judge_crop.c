/* The judge's second look: a body cut out and brought to one size, for its shape and material and
 * for the style.
 *
 *   17 frames, a square around a body in frame 0, 8 and 16 -> 32 x 32 -> convolutions -> heads
 *
 * Six channels: the pixels, and four times what they differ from the mean around them; outlines,
 * grain and highlights are small beside the colours, and learnt late without it.
 * In training the squares come from the masks and tremble; when judging, from the cells that show
 * the body's colour. */
#include <math.h>
#include <stdio.h>

#include "src/base/rng.h"
#include "src/train/judge.h"

enum { GROUPS = 8, LEVELS = 3 };
static const int WIDTHS[LEVELS + 1] = {24, 48, 96, 128};

struct rlm_judge_crop {
    rlm_conv stem, down[LEVELS], space[LEVELS], flat;
    rlm_groupnorm norm[LEVELS], last, hidden;
    rlm_linear heads[CROP_KINDS];
};

int rlm_judge_crop_classes(int kind)
{
    static const int classes[CROP_KINDS] = {COLOURS, SHAPES, MATERIALS, STYLES};
    return classes[kind];
}

static void conv(rlm_conv *c, rlm_params *p, const char *name, int cin, int cout, int k)
{
    rlm_conv_spec s = {.cin = cin, .cout = cout, .kh = k, .kw = k, .bias = true};
    rlm_conv_declare(c, p, name, &s);
}

int rlm_judge_crop_new(rlm_judge_crop **out, rlm_params *p, rlm_error *err)
{
    static const char *const kinds[CROP_KINDS] = {"crop.colour", "crop.shape", "crop.material",
                                                  "crop.style"};
    rlm_judge_crop *n = rlm_calloc(1, sizeof *n);
    char name[64];
    *out = n;
    if (!n)
        return rlm_fail(err, RLM_E_NOMEM, "judge: no memory");
    conv(&n->stem, p, "crop.stem", CROP_CHANNELS, WIDTHS[0], 3);
    for (int i = 0; i < LEVELS; i++) {
        snprintf(name, sizeof name, "crop.down%d", i);
        conv(&n->down[i], p, name, 4 * WIDTHS[i], WIDTHS[i + 1], 1);
        snprintf(name, sizeof name, "crop.norm%d", i);
        rlm_groupnorm_declare(&n->norm[i], p, name, WIDTHS[i + 1], GROUPS, RLM_ACT_SILU, true);
        snprintf(name, sizeof name, "crop.space%d", i);
        conv(&n->space[i], p, name, WIDTHS[i + 1], WIDTHS[i + 1], 3);
    }
    rlm_groupnorm_declare(&n->last, p, "crop.last", WIDTHS[LEVELS], GROUPS, RLM_ACT_SILU, true);
    conv(&n->flat, p, "crop.flat", 16 * WIDTHS[LEVELS], 96, 1);
    rlm_groupnorm_declare(&n->hidden, p, "crop.hidden", 96, GROUPS, RLM_ACT_SILU, true);
    for (int i = 0; i < CROP_KINDS; i++) {
        rlm_linear_declare(&n->heads[i], p, kinds[i], 96, rlm_judge_crop_classes(i), true, 0.5f);
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
    int64_t shape[5] = {m, 1, CROP_SIDE, CROP_SIDE, CROP_CHANNELS};
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

/* Channels 3 .. 5: contrast with the mean of up to 5 x 5. */
static void add_contrast(float *crop)
{
    for (int j = 0; j < CROP_SIDE; j++)
        for (int i = 0; i < CROP_SIDE; i++) {
            float sum[3] = {0}, *here = crop + (size_t)(j * CROP_SIDE + i) * CROP_CHANNELS;
            int count = 0;
            for (int y = j > 2 ? j - 2 : 0; y <= j + 2 && y < CROP_SIDE; y++)
                for (int x = i > 2 ? i - 2 : 0; x <= i + 2 && x < CROP_SIDE; x++, count++)
                    for (int k = 0; k < 3; k++)
                        sum[k] += crop[(size_t)(y * CROP_SIDE + x) * CROP_CHANNELS + k];
            for (int k = 0; k < 3; k++)
                here[3 + k] = 4 * (here[k] - sum[k] / (float)count);
        }
}

void rlm_judge_cut(const float *pixels, int frame, const rlm_judge_square *s, float *crop)
{
    float *to = crop;
    const float *f = pixels + (size_t)frame * JUDGE_SIDE * JUDGE_SIDE * 3;
    float step = s->side / CROP_SIDE;
    for (int j = 0; j < CROP_SIDE; j++)
        for (int i = 0; i < CROP_SIDE; i++, to += CROP_CHANNELS) {
            float x = s->x + ((float)i + 0.5f - CROP_SIDE / 2) * step - 0.5f;
            float y = s->y + ((float)j + 0.5f - CROP_SIDE / 2) * step - 0.5f;
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
    add_contrast(crop);
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
        double w = (double)p[i * stride], u = 8 * (i % JUDGE_GRID) + 4,
               v = 8 * (i / JUDGE_GRID) + 4;
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
