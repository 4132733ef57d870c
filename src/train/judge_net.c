/* The judge's networks.
 *
 *   pixels -> Haar, two levels -> 1x1 -> blocks at 32 -> blocks at 16 -> blocks at 8
 *      320 places and 11 queries -> attention -> queries: heads of the clip and the bodies
 *                                             -> places: up to 16 -> heads of the cells
 *   bands -> convolutions in time -> onsets
 *
 * Queries: scene, camera, event, one for a body of each colour. The cells say where a colour is. */
#include <stdio.h>
#include <string.h>

#include "src/train/judge.h"

enum {
    GROUPS = 8, /* of group norm */
    COARSE = 8,
    PLACES = JUDGE_GROUPS * COARSE * COARSE,
    QUERY_SCENE = 0,
    QUERY_CAMERA,
    QUERY_EVENT,
    QUERY_BODIES, /* one a colour */
    QUERIES = QUERY_BODIES + COLOURS,
    LENGTH = PLACES + QUERIES,
    BLOCKS_MAX = 8,
    CLASSES_BODY = 2 + SHAPES + MATERIALS + SIZES + 3,
    CLASSES_CELL = CLASSES_BODY + COLOURS - 1,
    CLASSES_SCENE = FLOORS + SKIES + WEATHERS + STYLES
};

typedef struct block {
    rlm_groupnorm norm[2];
    rlm_conv space, time; /* 1x3x3, 3x1x1 */
} block;

typedef struct layer {
    rlm_rmsnorm attend, think;
    rlm_linear qkv, out, up, down;
    rlm_attention attention;
} layer;

typedef struct tone {
    rlm_groupnorm norm;
    rlm_conv conv;
} tone;

struct rlm_judge_net {
    rlm_judge_config config;
    rlm_conv stem, down[2], up, cells, hear, heard;
    block blocks[3][BLOCKS_MAX];
    layer layers[BLOCKS_MAX];
    tone tones[BLOCKS_MAX];
    rlm_embedding place, query;
    rlm_groupnorm cell_norm, heard_norm;
    rlm_rmsnorm norm;
    rlm_linear scene, camera, event, body;
    /* Index tables for batches up to `most`. */
    int most;
    int32_t *sequence, *places, *queries, *grid; /* [most][LENGTH] */
    int32_t *ask[QUERY_BODIES + 1];              /* rows of a query; last: of the colours */
    int *prefix;
    float *angle;
};

/* ---- Configuration --------------------------------------------------------------------------- */

#define AT(field) offsetof(rlm_judge_config, field)
const rlm_field rlm_judge_fields[] = {
    {"width", RLM_FIELD_INTS, AT(width), GROUPS, 512, 3, 0, 0},
    {"blocks", RLM_FIELD_INTS, AT(blocks), 0, BLOCKS_MAX, 3, 0, 0},
    {"layers", RLM_FIELD_INT, AT(layers), 0, BLOCKS_MAX, 0, 0, 0},
    {"heads", RLM_FIELD_INT, AT(heads), 1, 16, 0, 0, 0},
    {"sound", RLM_FIELD_INT, AT(sound), GROUPS, 256, 0, 0, 0},
    {"sound_blocks", RLM_FIELD_INT, AT(sound_blocks), 0, BLOCKS_MAX, 0, 0, 0},
};
const int rlm_judge_field_count = sizeof rlm_judge_fields / sizeof *rlm_judge_fields;

void rlm_judge_config_defaults(rlm_judge_config *c)
{
    *c = (rlm_judge_config){.width = {64, 96, 128},
                            .blocks = {1, 2, 2},
                            .layers = 3,
                            .heads = 2,
                            .sound = 48,
                            .sound_blocks = 4};
}

int rlm_judge_config_check(const rlm_judge_config *c, rlm_error *err)
{
    for (int i = 0; i < 3; i++)
        if (c->width[i] % GROUPS)
            return rlm_fail(err, RLM_E_RANGE, "judge: width %d is no multiple of %d", c->width[i],
                            GROUPS);
    if (c->sound % GROUPS)
        return rlm_fail(err, RLM_E_RANGE, "judge: sound %d is no multiple of %d", c->sound, GROUPS);
    if (c->width[2] % (2 * c->heads))
        return rlm_fail(err, RLM_E_RANGE, "judge: width %d does not divide into %d even heads",
                        c->width[2], c->heads);
    if (c->width[2] / c->heads > RLM_HEAD_DIM_MAX)
        return rlm_fail(err, RLM_E_RANGE, "judge: heads of %d dims, at most %d are possible",
                        c->width[2] / c->heads, RLM_HEAD_DIM_MAX);
    return 0;
}

int rlm_judge_body_classes(int kind)
{
    static const int classes[BODY_KINDS] = {2, SHAPES, MATERIALS, SIZES, 3};
    return classes[kind];
}

/* A cell says which colour, or that nobody is there. */
static int cell_classes(int kind)
{
    return kind == BODY_COLOUR ? 1 + COLOURS : rlm_judge_body_classes(kind);
}

int rlm_judge_clip_classes(int kind)
{
    return rlm_fact_values(rlm_judge_clip_fact(kind));
}

int rlm_judge_clip_fact(int kind)
{
    static const int facts[CLIP_KINDS] = {FACT_FLOOR,  FACT_SKY,   FACT_WEATHER,  FACT_STYLE,
                                          FACT_CAMERA, FACT_EVENT, FACT_DIRECTION};
    return facts[kind];
}

/* ---- Declaration ----------------------------------------------------------------------------- */

static void conv(rlm_conv *c, rlm_params *p, const char *name, int cin, int cout, int kt, int ks,
                 float scale)
{
    rlm_conv_spec s = {
        .cin = cin, .cout = cout, .kt = kt, .kh = ks, .kw = ks, .bias = true, .scale = scale};
    rlm_conv_declare(c, p, name, &s);
}

static void declare_block(block *b, rlm_params *p, const char *prefix, int width)
{
    char name[64];
    snprintf(name, sizeof name, "%s.norm0", prefix);
    rlm_groupnorm_declare(&b->norm[0], p, name, width, GROUPS, RLM_ACT_SILU, true);
    snprintf(name, sizeof name, "%s.space", prefix);
    conv(&b->space, p, name, width, width, 1, 3, 1.0f);
    snprintf(name, sizeof name, "%s.norm1", prefix);
    rlm_groupnorm_declare(&b->norm[1], p, name, width, GROUPS, RLM_ACT_SILU, true);
    snprintf(name, sizeof name, "%s.time", prefix);
    conv(&b->time, p, name, width, width, 3, 1, 0.5f);
}

static void declare_layer(layer *l, rlm_params *p, int i, int width, int heads)
{
    char name[64];
    snprintf(name, sizeof name, "layer%d.attend", i);
    rlm_rmsnorm_declare(&l->attend, p, name, width);
    snprintf(name, sizeof name, "layer%d.qkv", i);
    rlm_linear_declare(&l->qkv, p, name, width, 3 * width, false, 1.0f);
    snprintf(name, sizeof name, "layer%d.attention", i);
    rlm_attention_declare(&l->attention, p, name, heads, width / heads);
    snprintf(name, sizeof name, "layer%d.out", i);
    rlm_linear_declare(&l->out, p, name, width, width, false, 0.5f);
    snprintf(name, sizeof name, "layer%d.think", i);
    rlm_rmsnorm_declare(&l->think, p, name, width);
    snprintf(name, sizeof name, "layer%d.up", i);
    rlm_linear_declare(&l->up, p, name, width, 4 * width, false, 1.0f);
    snprintf(name, sizeof name, "layer%d.down", i);
    rlm_linear_declare(&l->down, p, name, 2 * width, width, false, 0.5f);
}

/* A head stays with AdamW: it is no hidden matrix. */
static void head(rlm_linear *l, rlm_params *p, const char *name, int in, int out)
{
    rlm_linear_declare(l, p, name, in, out, true, 0.5f);
    if (l->w)
        l->w->matrix = false;
}

static void declare_sound(rlm_judge_net *n, rlm_params *p)
{
    const rlm_judge_config *c = &n->config;
    rlm_conv_spec s = {.cin = JUDGE_BANDS, .cout = c->sound, .kw = 3, .causal_w = true, .bias = 1};
    rlm_conv_declare(&n->hear, p, "sound.in", &s);
    for (int i = 0; i < c->sound_blocks; i++) {
        char name[64];
        snprintf(name, sizeof name, "sound.norm%d", i);
        rlm_groupnorm_declare(&n->tones[i].norm, p, name, c->sound, GROUPS, RLM_ACT_SILU, true);
        snprintf(name, sizeof name, "sound.conv%d", i);
        s = (rlm_conv_spec){.cin = c->sound,
                            .cout = c->sound,
                            .kw = 5,
                            .dilation = 1 + i % 2,
                            .causal_w = true,
                            .bias = true,
                            .scale = 0.7f};
        rlm_conv_declare(&n->tones[i].conv, p, name, &s);
    }
    rlm_groupnorm_declare(&n->heard_norm, p, "sound.norm", c->sound, GROUPS, RLM_ACT_SILU, true);
    s = (rlm_conv_spec){.cin = c->sound, .cout = 2, .kw = 1, .causal_w = true, .bias = true};
    rlm_conv_declare(&n->heard, p, "sound.out", &s);
    if (n->heard.w)
        n->heard.w->matrix = false;
}

static void declare(rlm_judge_net *n, rlm_params *p)
{
    const rlm_judge_config *c = &n->config;
    const int *w = c->width;
    char name[64];
    conv(&n->stem, p, "stem", 192, w[0], 1, 1, 1.0f);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < c->blocks[i]; k++) {
            snprintf(name, sizeof name, "level%d.block%d", i, k);
            declare_block(&n->blocks[i][k], p, name, w[i]);
        }
    conv(&n->down[0], p, "down0", 4 * w[0], w[1], 1, 1, 1.0f);
    conv(&n->down[1], p, "down1", 4 * w[1], w[2], 1, 1, 1.0f);
    conv(&n->up, p, "up1", w[2], w[1], 1, 1, 1.0f);
    rlm_embedding_declare(&n->place, p, "place", PLACES, w[2], 0.5f);
    rlm_embedding_declare(&n->query, p, "query", QUERIES, w[2], 0.5f);
    for (int i = 0; i < c->layers; i++)
        declare_layer(&n->layers[i], p, i, w[2], c->heads);
    rlm_rmsnorm_declare(&n->norm, p, "norm", w[2]);
    rlm_groupnorm_declare(&n->cell_norm, p, "cells.norm", w[1], GROUPS, RLM_ACT_SILU, true);
    conv(&n->cells, p, "cells.out", w[1], CLASSES_CELL, 1, 1, 0.5f);
    if (n->cells.w)
        n->cells.w->matrix = false;
    head(&n->scene, p, "scene", w[2], CLASSES_SCENE);
    head(&n->camera, p, "camera", w[2], CAMERAS);
    head(&n->event, p, "event", w[2], EVENTS + DIRECTIONS);
    head(&n->body, p, "body", w[2], CLASSES_BODY);
    declare_sound(n, p);
}

/* All but the mean of a block of pixels is small in the pictures we see: root mean squares of 0.005
 * to 0.13 against 0.9. The stem starts with weights that make up for it. */
void rlm_judge_net_initialise(rlm_judge_net *n, rlm_params *p, uint64_t seed)
{
    enum { BANDS = 192, MEAN = 3 };
    rlm_params_initialise(p, seed);
    float *w = n->stem.w->data;
    for (int64_t i = 0; i < n->stem.w->count; i++)
        w[i] *= i % BANDS < MEAN ? 1.0f : 12.0f;
}

int rlm_judge_net_new(rlm_judge_net **out, const rlm_judge_config *c, rlm_params *p, rlm_error *err)
{
    *out = NULL;
    RLM_TRY(rlm_judge_config_check(c, err));
    rlm_judge_net *n = rlm_calloc(1, sizeof *n);
    if (!n)
        return rlm_fail(err, RLM_E_NOMEM, "judge: no memory");
    n->config = *c;
    declare(n, p);
    *out = n;
    return 0;
}

void rlm_judge_net_free(rlm_judge_net **net)
{
    rlm_judge_net *n = *net;
    if (!n)
        return;
    rlm_free(n->sequence);
    rlm_free(n->places);
    rlm_free(n->queries);
    rlm_free(n->grid);
    for (int i = 0; i <= QUERY_BODIES; i++)
        rlm_free(n->ask[i]);
    rlm_free(n->prefix);
    rlm_free(n->angle);
    rlm_free(n);
    *net = NULL;
}

/* ---- Index tables ---------------------------------------------------------------------------- */

static void fill_tables(rlm_judge_net *n)
{
    for (int b = 0; b < n->most; b++) {
        n->prefix[b] = LENGTH;
        for (int i = 0; i < LENGTH; i++) {
            n->sequence[b * LENGTH + i] = i < PLACES ? b * PLACES + i : -1;
            n->places[b * LENGTH + i] = i < PLACES ? i : -1;
            n->queries[b * LENGTH + i] = i < PLACES ? -1 : i - PLACES;
        }
        for (int i = 0; i < PLACES; i++)
            n->grid[b * PLACES + i] = b * LENGTH + i;
        for (int i = QUERY_SCENE; i < QUERY_BODIES; i++)
            n->ask[i][b] = b * LENGTH + PLACES + i;
        for (int i = 0; i < COLOURS; i++)
            n->ask[QUERY_BODIES][b * COLOURS + i] = b * LENGTH + PLACES + QUERY_BODIES + i;
    }
}

int rlm_judge_net_plan(rlm_judge_net *n, int most, rlm_error *err)
{
    size_t length = rlm_size_mul((size_t)most, LENGTH);
    n->most = most;
    n->sequence = rlm_alloc(rlm_size_mul(length, sizeof(int32_t)));
    n->places = rlm_alloc(rlm_size_mul(length, sizeof(int32_t)));
    n->queries = rlm_alloc(rlm_size_mul(length, sizeof(int32_t)));
    n->grid = rlm_alloc(rlm_size_mul(length, sizeof(int32_t)));
    n->prefix = rlm_alloc(rlm_size_mul((size_t)most, sizeof(int)));
    n->angle = rlm_calloc(length, (size_t)n->config.width[2] * sizeof(float)); /* no rotation */
    int good = n->sequence && n->places && n->queries && n->grid && n->prefix && n->angle;
    for (int i = 0; i <= QUERY_BODIES; i++) {
        n->ask[i] = rlm_alloc(rlm_size_mul((size_t)most * COLOURS, sizeof(int32_t)));
        good = good && n->ask[i];
    }
    if (!good)
        return rlm_fail(err, RLM_E_NOMEM, "judge: no memory for batches of %d", most);
    fill_tables(n);
    return 0;
}

/* ---- Forward --------------------------------------------------------------------------------- */

static rlm_tensor block_forward(rlm_run *run, const block *b, const rlm_tensor *x)
{
    rlm_tensor h = rlm_groupnorm_forward(run, &b->norm[0], x);
    h = rlm_conv_forward(run, &b->space, &h);
    h = rlm_groupnorm_forward(run, &b->norm[1], &h);
    return rlm_conv_residual_forward(run, &b->time, &h, x);
}

static rlm_tensor level_forward(rlm_run *run, const rlm_judge_net *n, int level, rlm_tensor x)
{
    for (int i = 0; i < n->config.blocks[level]; i++)
        x = block_forward(run, &n->blocks[level][i], &x);
    return x;
}

static rlm_tensor down_forward(rlm_run *run, const rlm_conv *c, const rlm_tensor *x)
{
    rlm_tensor h = rlm_space_to_depth_forward(run, x, 1, 2, 2);
    return rlm_conv_forward(run, c, &h);
}

static rlm_tensor up_forward(rlm_run *run, const rlm_conv *c, const rlm_tensor *x,
                             const rlm_tensor *skip)
{
    rlm_tensor h = rlm_conv_forward(run, c, x);
    h = rlm_upsample_forward(run, &h, 1, 2, 2, 0);
    return rlm_add_forward(run, skip, &h);
}

static rlm_tensor layer_forward(rlm_run *run, const layer *l, const rlm_attention_in *in,
                                const rlm_tensor *x)
{
    rlm_tensor h = rlm_rmsnorm_forward(run, &l->attend, x);
    h = rlm_linear_forward(run, &l->qkv, &h);
    h = rlm_qk_rope_forward(run, &l->attention, &h, in->angle);
    h = rlm_attention_forward(run, &l->attention, in, &h);
    rlm_tensor y = rlm_linear_residual_forward(run, &l->out, &h, x);
    h = rlm_rmsnorm_forward(run, &l->think, &y);
    h = rlm_linear_forward(run, &l->up, &h);
    h = rlm_swiglu_forward(run, &h);
    return rlm_linear_residual_forward(run, &l->down, &h, &y);
}

/* Places and queries attend to all of their clip. x [n][5][8][8][c] -> [n * LENGTH][c]. */
static rlm_tensor attend(rlm_run *run, const rlm_judge_net *n, const rlm_tensor *x)
{
    int batch = (int)x->shape[0];
    rlm_attention_in in = {
        .batch = batch, .len = LENGTH, .prefix = n->prefix, .length = n->prefix, .angle = n->angle};
    rlm_tensor s = rlm_gather_forward(run, x, n->sequence, (int64_t)batch * LENGTH);
    s = rlm_embedding_forward(run, &n->place, n->places, (int64_t)batch * LENGTH, &s);
    s = rlm_embedding_forward(run, &n->query, n->queries, (int64_t)batch * LENGTH, &s);
    for (int i = 0; i < n->config.layers; i++)
        s = layer_forward(run, &n->layers[i], &in, &s);
    return rlm_rmsnorm_forward(run, &n->norm, &s);
}

/* Columns of y, one tensor a kind, in the order of `classes`. */
static void split(rlm_run *run, const rlm_tensor *y, int kinds, int (*classes)(int), int first,
                  rlm_tensor *out)
{
    for (int k = 0, from = 0; k < kinds; k++) {
        out[k] = rlm_slice_forward(run, y, from, classes(first + k));
        from += classes(first + k);
    }
}

static void clip_heads(rlm_run *run, const rlm_judge_net *n, const rlm_tensor *s, int batch,
                       rlm_judge_logits *out)
{
    rlm_tensor h = rlm_gather_forward(run, s, n->ask[QUERY_SCENE], batch);
    h = rlm_linear_forward(run, &n->scene, &h);
    split(run, &h, 4, rlm_judge_clip_classes, CLIP_FLOOR, &out->clip[CLIP_FLOOR]);
    h = rlm_gather_forward(run, s, n->ask[QUERY_CAMERA], batch);
    out->clip[CLIP_CAMERA] = rlm_linear_forward(run, &n->camera, &h);
    h = rlm_gather_forward(run, s, n->ask[QUERY_EVENT], batch);
    h = rlm_linear_forward(run, &n->event, &h);
    split(run, &h, 2, rlm_judge_clip_classes, CLIP_EVENT, &out->clip[CLIP_EVENT]);
    h = rlm_gather_forward(run, s, n->ask[QUERY_BODIES], (int64_t)batch * COLOURS);
    h = rlm_linear_forward(run, &n->body, &h);
    split(run, &h, BODY_KINDS, rlm_judge_body_classes, 0, out->body);
}

static rlm_tensor hear(rlm_run *run, const rlm_judge_net *n, const rlm_tensor *bands)
{
    rlm_tensor x = rlm_conv_forward(run, &n->hear, bands);
    for (int i = 0; i < n->config.sound_blocks; i++) {
        rlm_tensor h = rlm_groupnorm_forward(run, &n->tones[i].norm, &x);
        x = rlm_conv_residual_forward(run, &n->tones[i].conv, &h, &x);
    }
    x = rlm_groupnorm_forward(run, &n->heard_norm, &x);
    return rlm_conv_forward(run, &n->heard, &x);
}

void rlm_judge_forward(rlm_run *run, const rlm_judge_net *n, int batch, const float *pixels,
                       const float *bands, rlm_judge_logits *out)
{
    int64_t frames[5] = {batch, JUDGE_FRAMES, JUDGE_SIDE, JUDGE_SIDE, 3};
    int64_t ticks[5] = {batch, 1, 1, JUDGE_HEARD, JUDGE_BANDS};
    rlm_tensor x = rlm_tensor_view((void *)pixels, RLM_F32, 5, frames);
    rlm_tensor y = rlm_tensor_view((void *)bands, RLM_F32, 5, ticks);
    rlm_tensor h = rlm_haar_forward(run, &x);
    h = rlm_conv_forward(run, &n->stem, &h);
    rlm_tensor fine = level_forward(run, n, 0, h);
    h = down_forward(run, &n->down[0], &fine);
    rlm_tensor middle = level_forward(run, n, 1, h);
    h = down_forward(run, &n->down[1], &middle);
    h = level_forward(run, n, 2, h);
    rlm_tensor s = attend(run, n, &h);
    clip_heads(run, n, &s, batch, out);
    out->heard = hear(run, n, &y);
    h = rlm_gather_forward(run, &s, n->grid, (int64_t)batch * PLACES);
    h = rlm_tensor_reshape5(&h, batch, JUDGE_GROUPS, COARSE, COARSE, n->config.width[2]);
    h = up_forward(run, &n->up, &h, &middle);
    h = rlm_groupnorm_forward(run, &n->cell_norm, &h);
    h = rlm_conv_forward(run, &n->cells, &h);
    split(run, &h, BODY_KINDS, cell_classes, 0, out->cell);
}
