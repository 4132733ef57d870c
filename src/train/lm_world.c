/* Clips of the playground for the language model: rendered in memory on all threads, a few at once,
 * in the order of their seeds. The first `train` come from the training split, then `stills` (a
 * picture each, for the words' sake: five cost what a clip does), the rest from the validation
 * split. */
#include "src/train/lm_train.h"

#include <stdio.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/world/world.h"

enum {
    SIDE = 128,
    FRAMES = 17,
    AT_ONCE = 8,    /* clips rendered together */
    CONTROLLED = 3, /* one training clip of so many has control pictures; stylize needs no more */
    STREAM_CONTROL = 971
};
/* Of the control pictures: flow alone, depth alone, both estimated from the picture; else both
 * true. */
static const float FLOW_ALONE = 0.15f, DEPTH_ALONE = 0.15f, ESTIMATED = 0.2f;

struct rlm_lm_world {
    rlm_world *world;
    int train, stills, count;
    int64_t start;          /* scene of index 0 */
    int first, have;        /* clips at hand: indices [first, first + have) */
    rlm_clip clip[AT_ONCE]; /* moved out by fetch */
    rlm_world_truth truth[AT_ONCE];
    char text[RLM_LM_TEXTS][512]; /* of the last key */
};

int rlm_lm_world_open(rlm_lm_world **out, int threads, const rlm_lm_clips *c, int validation,
                      rlm_error *err)
{
    size_t n = (size_t)FRAMES * SIDE * SIDE;
    *out = NULL;
    rlm_lm_world *w = rlm_calloc(1, sizeof *w);
    if (!w)
        return rlm_fail(err, RLM_E_NOMEM, "lm training: no memory for the playground");
    w->train = c->made;
    w->stills = c->stills;
    w->count = c->made + c->stills + validation;
    w->start = c->first;
    int code = rlm_world_open(&w->world, threads, err);
    for (int i = 0; i < AT_ONCE && !code; i++) {
        w->truth[i].depth = rlm_alloc(n * sizeof(float));
        w->truth[i].flow = rlm_alloc(2 * n * sizeof(float));
        if (!w->truth[i].depth || !w->truth[i].flow)
            code = rlm_fail(err, RLM_E_NOMEM, "lm training: no memory for the playground");
    }
    if (code)
        rlm_lm_world_close(&w);
    *out = w;
    return code;
}

void rlm_lm_world_close(rlm_lm_world **world)
{
    rlm_lm_world *w = *world;
    if (!w)
        return;
    for (int i = 0; i < AT_ONCE; i++) {
        rlm_clip_free(&w->clip[i]);
        rlm_free(w->truth[i].depth);
        rlm_free(w->truth[i].flow);
    }
    rlm_world_close(&w->world);
    rlm_free(w);
    *world = NULL;
}

static uint64_t seed_of(const rlm_lm_world *w, int index)
{
    int trained = w->train + w->stills;
    if (index < trained)
        return rlm_world_seed(RLM_SPLIT_TRAIN, (uint64_t)(w->start + index));
    return rlm_world_seed(RLM_SPLIT_VALIDATION, (uint64_t)(index - trained));
}

static bool is_still(const rlm_lm_world *w, int index)
{
    return index >= w->train && index < w->train + w->stills;
}

static void wanted(const rlm_lm_world *w, int index, rlm_world_want *want)
{
    rlm_world_want_defaults(want);
    want->width = want->height = SIDE;
    want->frames = is_still(w, index) ? 1 : FRAMES;
}

/* The scene, all facts and contacts of it, names the content; captions do not. */
int rlm_lm_world_key(void *ctx, int index, rlm_lm_raw *out, rlm_error *err)
{
    rlm_lm_world *w = ctx;
    rlm_world_want want;
    char *facts = NULL, name[65 + 32];
    uint64_t seed = seed_of(w, index);
    wanted(w, index, &want);
    RLM_TRY(rlm_world_facts(seed, &want, &facts, err));
    char *captions = strstr(facts, ",\"caption\"");
    if (captions)
        *captions = 0;
    rlm_sha256_hex(facts, strlen(facts), out->key);
    rlm_string_free(&facts);
    snprintf(name, sizeof name, "playground %d %s", RLM_WORLD_SCHEMA, out->key);
    rlm_sha256_hex(name, strlen(name), out->key);
    for (int i = 0; i < RLM_LM_TEXTS; i++) {
        rlm_world_caption(seed, -1, i / 2 % 2 ? RLM_LANGUAGE_ZH : RLM_LANGUAGE_EN, i % 2, i / 4,
                          w->text[i], sizeof w->text[i]);
        out->text[i] = w->text[i];
    }
    out->source = RLM_SOURCE_PLAYGROUND;
    out->rigid = 1;
    return 0;
}

/* Render the clips from `index` on, as many as are of its kind. */
static int render(rlm_lm_world *w, int index, rlm_error *err)
{
    uint64_t seeds[AT_ONCE];
    rlm_world_want want;
    int end = index < w->train ? w->train : is_still(w, index) ? w->train + w->stills : w->count;
    wanted(w, index, &want);
    for (int i = 0; i < AT_ONCE; i++)
        rlm_clip_free(&w->clip[i]);
    w->first = index;
    w->have = end - index < AT_ONCE ? end - index : AT_ONCE;
    for (int i = 0; i < w->have; i++)
        seeds[i] = seed_of(w, index + i);
    int code = rlm_world_batch(w->world, seeds, w->have, &want, w->clip, w->truth, err);
    w->have = code ? 0 : w->have;
    return code;
}

int rlm_lm_control_estimate(const rlm_frames *f, rlm_clip *out, rlm_error *err)
{
    size_t n = (size_t)f->count * (size_t)f->height * (size_t)f->width;
    float *flow = rlm_alloc(3 * n * sizeof *flow), *depth = flow ? flow + 2 * n : NULL;
    if (!flow)
        return rlm_fail(err, RLM_E_NOMEM, "lm training: no memory for the flow of %d frames",
                        f->count);
    int code = rlm_flow_estimate(f, flow, err);
    if (!code) {
        rlm_depth_guess(f, flow, depth);
        code = rlm_control_pack(depth, flow, f->count, f->height, f->width, out, NULL, err);
    }
    rlm_free(flow);
    return code;
}

/* Depth and flow as the tokenizer will see them, sometimes in part, sometimes only guessed, as a
 * user's controls are; of training clips only one in a few. */
static int control_of(const rlm_lm_world *w, int index, const rlm_frames *f, rlm_clip *out,
                      rlm_error *err)
{
    const rlm_world_truth *t = &w->truth[index - w->first];
    float u = rlm_rng_uniform(seed_of(w, index), STREAM_CONTROL, 0);
    const float *depth = t->depth, *flow = t->flow;
    if (is_still(w, index) || (index < w->train && index % CONTROLLED))
        return 0;
    if (u < FLOW_ALONE) {
        depth = NULL;
    } else if (u < FLOW_ALONE + DEPTH_ALONE) {
        flow = NULL;
    } else if (u < FLOW_ALONE + DEPTH_ALONE + ESTIMATED) {
        return rlm_lm_control_estimate(f, out, err);
    }
    return rlm_control_pack(depth, flow, f->count, f->height, f->width, out, NULL, err);
}

int rlm_lm_world_fetch(void *ctx, int index, rlm_lm_raw *out, rlm_error *err)
{
    rlm_lm_world *w = ctx;
    if (index < w->first || index >= w->first + w->have || !w->clip[index - w->first].video.rgb)
        RLM_TRY(render(w, index, err));
    rlm_clip *c = &w->clip[index - w->first];
    out->clip = *c;
    memset(c, 0, sizeof *c);
    return control_of(w, index, &out->clip.video, &out->control, err);
}
