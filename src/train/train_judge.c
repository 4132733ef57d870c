/* Training of the judge on clips of the playground, rendered as they are needed.
 *
 * Rendering costs as much as learning, so every batch serves twice: fresh, and REPLAY batches later
 * in a mirror. Of six clips one is as rendered, four went through the tokenizers of a model and
 * back (when there is one: what a judge reads are mostly decoded clips), one is blurred, noisy,
 * lighter or darker. A tenth of the scenes come from the far end of the test split, so that the
 * pairs held out of a model's training are no surprise to the judge of that model; what it is
 * scored on it never sees. */
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/base/rng.h"
#include "src/pipeline.h"
#include "src/train/judge.h"

enum { LOADER_DEPTH = 3, LOADER_THREADS = 1, VALIDATION = 48, REPLAY = 16, JUDGE_STREAM = 0x10d6e };
static const uint64_t TEST_FROM = 1u << 20; /* test seeds of the judge's training start here */
static const double HEADS = 2 + 2 * BODY_KINDS + CLIP_KINDS + CROP_KINDS; /* gaps are one */

/* A batch; in a loader's slot pixels, bands and truth lie behind each other. */
typedef struct samples {
    float *pixels; /* [count][JUDGE_FLOATS] */
    float *bands;  /* [count][HEARD][BANDS] */
    rlm_judge_truth *truth;
} samples;
enum { SOUND_FLOATS = JUDGE_HEARD * JUDGE_BANDS };

typedef struct trainer {
    rlm_trainer base;
    rlm_judge_config config;
    rlm_judge_net *net;
    rlm_judge_crop *looks[LOOKS];
    float *crops[LOOKS]; /* [crops_of][32][32][channels] */
    rlm_loader *loader;
    rlm_world *world;
    rlm_engine *engine; /* tokenizers for round trips; NULL: none */
    rlm_session *session;
    samples held;         /* validation clips */
    void *replay[REPLAY]; /* batch k is kept at k % REPLAY until it serves again */
    float *loss;
    int32_t *target;
    double total, correct[BODY_KINDS + CLIP_KINDS + CROP_KINDS]; /* of the last step */
} trainer;

/* ---- Clips ----------------------------------------------------------------------------------- */

static uint64_t seed_of(const trainer *t, int64_t index)
{
    uint64_t i = (uint64_t)index + (t->base.recipe.seed << 24);
    if (rlm_rng_below(t->base.recipe.seed, JUDGE_STREAM, (uint64_t)index, 10) == 0)
        return rlm_world_seed(RLM_SPLIT_TEST, TEST_FROM + i);
    return rlm_world_seed(RLM_SPLIT_TRAIN, i);
}

static size_t slot_bytes(int count)
{
    return rlm_size_mul((size_t)count,
                        (JUDGE_FLOATS + SOUND_FLOATS) * sizeof(float) + sizeof(rlm_judge_truth));
}

static samples in_slot(const void *slot, int count)
{
    float *pixels = (float *)slot, *bands = pixels + (size_t)count * JUDGE_FLOATS;
    return (samples){pixels, bands, (rlm_judge_truth *)(bands + (size_t)count * SOUND_FLOATS)};
}

static int make_sample(trainer *t, uint64_t seed, int64_t index, const samples *s, int at)
{
    rlm_clip clip = {0};
    int way = (int)(index % 6);
    int code = rlm_judge_render(t->world, seed, &clip, &s->truth[at], NULL);
    if (!code && way > 0 && way < 5 && t->session)
        code = rlm_clip_round_trip(t->session, &clip, NULL, NULL, NULL);
    else if (!code && way == 5)
        rlm_judge_spoil(t->base.recipe.seed, (uint64_t)index, &clip);
    if (!code) {
        rlm_judge_pixels(&clip.video, s->pixels + (size_t)at * JUDGE_FLOATS);
        rlm_judge_bands(&clip.audio, s->bands + (size_t)at * SOUND_FLOATS);
    }
    rlm_clip_free(&clip);
    return code;
}

static int fill_batch(void *ctx, int64_t index, void *slot)
{
    trainer *t = ctx;
    samples s = in_slot(slot, t->base.recipe.batch);
    for (int i = 0; i < t->base.recipe.batch; i++) {
        int64_t n = index * t->base.recipe.batch + i;
        RLM_TRY(make_sample(t, seed_of(t, n), n, &s, i));
    }
    return 0;
}

/* ---- Setting up ------------------------------------------------------------------------------ */

static int read_config(trainer *t, rlm_error *err)
{
    void *root;
    char where[256];
    rlm_judge_config_defaults(&t->config);
    if (!t->base.o->config)
        return 0;
    RLM_TRY(rlm_json_read(t->base.o->config, &root, err));
    snprintf(where, sizeof where, "%s: \"network\"", t->base.o->config);
    const cJSON *network = cJSON_GetObjectItemCaseSensitive(root, "network");
    int code = network ? rlm_fields_read(network, rlm_judge_fields, rlm_judge_field_count,
                                         &t->config, where, err)
                       : 0;
    rlm_json_free(root);
    return code;
}

/* From another judge, perhaps of another shape: every parameter of the same name and size. */
static int load_init(trainer *t, rlm_error *err)
{
    rlm_safetensors st;
    int taken = 0;
    RLM_TRY(rlm_train_init_open(&st, t->base.o->init, "judge.safetensors", err));
    for (int i = 0; i < t->base.params.count; i++) {
        rlm_param *p = t->base.params.items[i];
        const rlm_tensor *x = rlm_st_find(&st, p->name);
        if (!x || rlm_tensor_count(x) != p->count)
            continue;
        rlm_st_to_f32(x, p->data);
        taken++;
    }
    rlm_st_close(&st);
    rlm_logf(&t->base.log, 2, "%s: %d of %d parameters taken", t->base.o->init, taken,
             t->base.params.count);
    return taken ? 0 : rlm_fail(err, RLM_E_MODEL, "%s: no parameter of a judge", t->base.o->init);
}

static int open_network(trainer *t, rlm_error *err)
{
    RLM_TRY(read_config(t, err));
    RLM_TRY(rlm_judge_net_new(&t->net, &t->config, &t->base.params, err));
    for (int i = 0; i < LOOKS; i++)
        RLM_TRY(rlm_judge_crop_new(&t->looks[i], i, &t->base.params, err));
    RLM_TRY(rlm_params_allocate(&t->base.params, true, err));
    rlm_judge_net_initialise(t->net, &t->base.params, t->base.recipe.seed);
    if (t->base.o->init)
        RLM_TRY(load_init(t, err));
    RLM_TRY(rlm_judge_net_plan(t->net, t->base.recipe.batch, err));
    return rlm_optim_new(&t->base.optim, &t->base.params, &t->base.recipe, err);
}

/* Of the many overlapping moments of contacts every other one is looked at, in turns. */
static bool passed_over(const trainer *t, int look, int moment, int object)
{
    return look == LOOK_CONTACT && (moment + object + t->base.step) % 2;
}

/* Crops a batch may give; no less than one clip that is judged. */
static int crops_of(const trainer *t, int look)
{
    int moments = rlm_judge_crop_moments(look), most = t->base.recipe.batch * MAX_OBJECTS * moments;
    most = look == LOOK_CONTACT ? (most + 1) / 2 + t->base.recipe.batch * MAX_OBJECTS : most;
    return most > COLOURS * moments ? most : COLOURS * moments;
}

static int dry_step(void *cookie, rlm_error *err)
{
    trainer *t = cookie;
    rlm_judge_logits l;
    rlm_tensor out[CROP_KINDS];
    (void)err;
    t->base.run.lazy = false; /* losses write gradients past rlm_grad */
    rlm_judge_forward(&t->base.run, t->net, t->base.recipe.batch, NULL, NULL, &l);
    for (int i = 0; i < LOOKS; i++)
        rlm_judge_crop_forward(&t->base.run, t->looks[i], crops_of(t, i), NULL, out);
    rlm_arena_alloc(&t->base.arena, JUDGE_CROP_SCRATCH);
    rlm_backward_plan(&t->base.run, &t->base.tape);
    return 0;
}

static int open_sources(trainer *t, rlm_error *err)
{
    RLM_TRY(rlm_world_open(&t->world, 1, err));
    if (!t->base.o->model_dir)
        return 0;
    rlm_options options;
    rlm_options_defaults(&options);
    options.threads = 1;
    options.cpu_mask = t->base.o->cpu_mask;
    RLM_TRY(rlm_open(&t->engine, t->base.o->model_dir, &options, err));
    return rlm_session_open(&t->session, t->engine, err);
}

static int open_memory(trainer *t, rlm_error *err)
{
    size_t batch = (size_t)t->base.recipe.batch, rows = batch * JUDGE_CELLS;
    t->loss = rlm_alloc(rows * sizeof(float));
    t->target = rlm_alloc(rows * sizeof(int32_t));
    for (int i = 0; i < LOOKS; i++)
        t->crops[i] = rlm_alloc(
            rlm_size_mul((size_t)crops_of(t, i), rlm_judge_crop_floats(i) * sizeof(float)));
    t->held = in_slot(rlm_alloc(slot_bytes(VALIDATION)), VALIDATION);
    if (!t->loss || !t->target || !t->crops[LOOK_BODY] || !t->crops[LOOK_CONTACT] ||
        !t->held.pixels)
        return rlm_fail(err, RLM_E_NOMEM, "judge training: no memory for batches of %zu", batch);
    for (int i = 0; i < VALIDATION; i++)
        if (make_sample(t, rlm_world_seed(RLM_SPLIT_VALIDATION, (uint64_t)i + 100000), 0, &t->held,
                        i))
            return rlm_fail(err, RLM_E_NOMEM, "judge training: no memory for clips");
    return 0;
}

/* Fresh batches up to the start of step t->base.step. */
static int64_t fresh_batches(const trainer *t)
{
    return t->base.step * ((t->base.recipe.accumulate + 1) / 2);
}

static int open_replay(trainer *t, rlm_error *err)
{
    int64_t next = fresh_batches(t);
    for (int64_t k = next > REPLAY ? next - REPLAY : 0; k < next || k < REPLAY; k++) {
        void **slot = &t->replay[k % REPLAY];
        *slot = rlm_alloc(slot_bytes(t->base.recipe.batch));
        if (!*slot || (k < next && fill_batch(t, k, *slot)))
            return rlm_fail(err, RLM_E_NOMEM, "judge training: no memory for clips");
    }
    return 0;
}

static int open_all(void *cookie, rlm_error *err)
{
    trainer *t = cookie;
    const rlm_train_options *o = t->base.o;
    RLM_TRY(open_network(t, err));
    RLM_TRY(rlm_train_plan(&t->base, dry_step, err));
    RLM_TRY(open_sources(t, err));
    RLM_TRY(open_memory(t, err));
    t->base.checkpoint =
        (rlm_checkpoint){.optims = {&t->base.optim}, .names = {"model"}, .optim_count = 1};
    RLM_TRY(rlm_train_begin(&t->base, err));
    RLM_TRY(open_replay(t, err));
    RLM_TRY(rlm_loader_open(&t->loader, o->deterministic ? 0 : LOADER_THREADS, LOADER_DEPTH,
                            slot_bytes(t->base.recipe.batch), fresh_batches(t), fill_batch, t,
                            err));
    return rlm_train_repack(&t->base, err);
}

static void close_all(void *cookie)
{
    trainer *t = cookie;
    if (t->loader)
        rlm_loader_close(&t->loader);
    rlm_session_close(&t->session);
    rlm_close(&t->engine);
    rlm_world_close(&t->world);
    rlm_judge_net_free(&t->net);
    for (int i = 0; i < LOOKS; i++) {
        rlm_judge_crop_free(&t->looks[i]);
        rlm_free(t->crops[i]);
    }
    rlm_free(t->loss);
    rlm_free(t->target);
    rlm_free(t->held.pixels);
    for (int i = 0; i < REPLAY; i++)
        rlm_free(t->replay[i]);
}

/* ---- A step ---------------------------------------------------------------------------------- */

/* Mean cross-entropy of x's rows against t->target, into x's gradient with `weight`; rows of target
 * -1 are left out. right: share of rows that are likeliest as they should be. The two sums over
 * rows are the loss itself. */
static double head_loss(trainer *t, const rlm_tensor *x, double weight, double *right)
{
    int64_t rows = rlm_tensor_rows(x), asked = 0, good = 0;
    int classes = (int)rlm_tensor_last(x);
    double sum = 0;
    for (int64_t i = 0; i < rows; i++) {
        asked += t->target[i] >= 0;
        good +=
            t->target[i] >= 0 && rlm_judge_best(rlm_f32(x) + i * classes, classes) == t->target[i];
    }
    if (right)
        *right += (asked ? (double)good / (double)asked : 1) / t->base.recipe.accumulate;
    if (!asked)
        return 0;
    weight /= t->base.recipe.accumulate;
    t->base.k.cross_entropy(t->base.par, rows, classes, rlm_f32(x), t->target, 0,
                            (float)(weight / (double)asked), t->loss, x->grad);
    for (int64_t i = 0; i < rows; i++)
        sum += t->target[i] >= 0 ? (double)t->loss[i] : 0;
    return weight * sum / (double)asked;
}

/* Cells without a body are many and easy: one in eight is asked. */
static double cell_losses(trainer *t, const rlm_judge_logits *l, const rlm_judge_truth *truth)
{
    static const double weight[BODY_KINDS] = {0.5, 0.3, 0.2, 0.2, 0.2};
    double sum = 0;
    for (int k = 0; k < BODY_KINDS; k++) {
        for (int b = 0; b < t->base.recipe.batch; b++)
            for (int i = 0; i < JUDGE_CELLS; i++) {
                int v = truth[b].cell[k][i];
                bool skip = k == BODY_COLOUR && v == 0 && (i * 5 + t->base.step) % 8;
                t->target[b * JUDGE_CELLS + i] = skip ? -1 : v;
            }
        sum += head_loss(t, &l->cell[k], weight[k], NULL);
    }
    return sum;
}

static double clip_losses(trainer *t, const rlm_judge_logits *l, const rlm_judge_truth *truth)
{
    static const double weight[CLIP_KINDS] = {0.4, 0.3, 0.3, 0.2, 0.7, 1.0, 1.0};
    static const double body_weight[BODY_KINDS] = {1.0, 0.3, 0.2, 1.0, 1.0};
    double sum = 0;
    for (int k = 0; k < CLIP_KINDS; k++) {
        for (int b = 0; b < t->base.recipe.batch; b++)
            t->target[b] = truth[b].clip[k];
        sum += head_loss(t, &l->clip[k], weight[k], &t->correct[BODY_KINDS + k]);
    }
    for (int k = 0; k < BODY_KINDS; k++) {
        for (int b = 0; b < t->base.recipe.batch; b++)
            for (int c = 0; c < COLOURS; c++)
                t->target[b * COLOURS + c] = truth[b].body[k][c];
        sum += head_loss(t, &l->body[k], body_weight[k], &t->correct[k]);
    }
    for (int b = 0; b < t->base.recipe.batch; b++)
        for (int i = 0; i < JUDGE_HEARD; i++)
            t->target[b * JUDGE_HEARD + i] = truth[b].heard[i];
    return sum + head_loss(t, &l->heard, 2.0, NULL);
}

static void crop_targets(const rlm_judge_truth *truth, int look, int moment, int object,
                         int32_t target[CROP_KINDS])
{
    const rlm_object *o = &truth->scene.object[object];
    for (int gap = 0; gap < CROP_KINDS && look == LOOK_CONTACT; gap++)
        target[gap] = truth->contact[object][moment + gap];
    if (look == LOOK_CONTACT)
        return;
    target[CROP_COLOUR] = o->colour;
    target[CROP_SHAPE] = o->shape;
    target[CROP_MATERIAL] = truth->scene.style == PHOTO ? o->material : -1;
    target[CROP_STYLE] = truth->scene.style;
}

/* Squares around the bodies of the batch; returns how many. target [crops_of][CROP_KINDS]. */
static int cut_crops(trainer *t, const samples *s, int look, int32_t *target)
{
    int count = 0;
    for (int b = 0; b < t->base.recipe.batch; b++)
        for (int i = 0; i < s->truth[b].scene.count; i++)
            for (int m = 0; m < rlm_judge_crop_moments(look); m++) {
                rlm_judge_square at = s->truth[b].square[look][m][i];
                if (at.side == 0 || passed_over(t, look, m, i))
                    continue;
                rlm_judge_tremble(t->base.recipe.seed + (uint64_t)t->base.step, (uint64_t)count,
                                  &at);
                rlm_judge_cut(look, s->pixels + (size_t)b * JUDGE_FLOATS, m, &at,
                              t->crops[look] + (size_t)count * rlm_judge_crop_floats(look));
                crop_targets(&s->truth[b], look, m, i, target + count * CROP_KINDS);
                count++;
            }
    return count;
}

static double crop_losses(trainer *t, const samples *s, int look)
{
    static const double weight[LOOKS][CROP_KINDS] = {{0.3, 1.0, 1.5, 0.5}, {1.0, 1.0, 1.0, 1.0}};
    int32_t *target = t->target + crops_of(t, look); /* behind what head_loss reads */
    int count = cut_crops(t, s, look, target);
    double sum = 0;
    if (!count)
        return 0;
    rlm_tensor out[CROP_KINDS];
    rlm_judge_crop_forward(&t->base.run, t->looks[look], count, t->crops[look], out);
    for (int k = 0; k < CROP_KINDS; k++) {
        for (int i = 0; i < count; i++)
            t->target[i] = target[i * CROP_KINDS + k];
        sum += head_loss(t, &out[k], weight[look][k],
                         look == LOOK_BODY ? &t->correct[BODY_KINDS + CLIP_KINDS + k] : NULL);
    }
    return sum;
}

static void learn(trainer *t, const samples *s)
{
    rlm_judge_logits l;
    rlm_arena_rewind(&t->base.arena, 0);
    rlm_tape_clear(&t->base.tape);
    t->base.run.tape = &t->base.tape;
    rlm_judge_forward(&t->base.run, t->net, t->base.recipe.batch, s->pixels, s->bands, &l);
    t->total += cell_losses(t, &l, s->truth) + clip_losses(t, &l, s->truth);
    for (int i = 0; i < LOOKS; i++)
        t->total += crop_losses(t, s, i);
    rlm_backward(&t->base.run, &t->base.tape);
}

/* Fresh batch k, and batch k - REPLAY in a mirror when `twice`. */
static int micro_steps(trainer *t, int64_t k, bool twice, rlm_error *err)
{
    int batch = t->base.recipe.batch;
    const void *slot = rlm_loader_next(t->loader);
    void *old = t->replay[k % REPLAY];
    if (!slot)
        return rlm_fail(err, RLM_E_NOMEM, "judge training: no memory for clips");
    samples fresh = in_slot(slot, batch), again = in_slot(old, batch);
    learn(t, &fresh);
    if (twice && k >= REPLAY) {
        for (int i = 0; i < batch; i++)
            rlm_judge_mirror(again.pixels + (size_t)i * JUDGE_FLOATS, &again.truth[i]);
        learn(t, &again);
    }
    memcpy(old, slot, slot_bytes(batch));
    return 0;
}

static int train_step(trainer *t, double *norm, rlm_error *err)
{
    t->total = 0;
    memset(t->correct, 0, sizeof t->correct);
    for (int i = 0; i < t->base.recipe.accumulate; i += 2)
        RLM_TRY(micro_steps(t, fresh_batches(t) + i / 2, i + 1 < t->base.recipe.accumulate, err));
    *norm = rlm_optim_step(&t->base.optim, &t->base.run, &t->base.recipe);
    t->base.step++;
    return rlm_train_repack(&t->base, err);
}

static int advance(void *cookie, rlm_error *err)
{
    trainer *t = cookie;
    double norm;
    RLM_TRY(train_step(t, &norm, err));
    const double *c = t->correct, *d = t->correct + BODY_KINDS;
    rlm_journal_put(t->base.journal, t->base.step, "loss", t->total / HEADS, "colour",
                    c[BODY_COLOUR], "shape", d[CLIP_KINDS + CROP_SHAPE], "material",
                    d[CLIP_KINDS + CROP_MATERIAL], "size", c[BODY_SIZE], "role", c[BODY_ROLE],
                    "floor", d[CLIP_FLOOR], "camera", d[CLIP_CAMERA], "event", d[CLIP_EVENT],
                    "direction", d[CLIP_DIRECTION], "grad", norm, "lr", rlm_train_rate(&t->base),
                    NULL);
    return 0;
}

/* ---- Looking, saving ------------------------------------------------------------------------- */

static void score_held(trainer *t, rlm_judge_score *score)
{
    memset(score, 0, sizeof *score);
    for (int i = 0; i < VALIDATION; i++) {
        rlm_judge_logits l;
        rlm_judge_view view;
        rlm_arena_rewind(&t->base.arena, 0);
        const float *pixels = t->held.pixels + (size_t)i * JUDGE_FLOATS;
        rlm_judge_forward(&t->base.run, t->net, 1, pixels, t->held.bands + (size_t)i * SOUND_FLOATS,
                          &l);
        rlm_judge_read(&l, 0, &view);
        rlm_judge_look_again(&t->base.run, t->looks, &l, 0, pixels, &view);
        rlm_judge_settle(&view);
        rlm_judge_count(&t->held.truth[i], &view, score);
    }
}

static double share(const rlm_judge_score *s, int what)
{
    return s->asked[what] ? (double)s->right[what] / (double)s->asked[what] : 0;
}

static int look(void *cookie, int what, rlm_error *err)
{
    trainer *t = cookie;
    rlm_judge_score s;
    char line[512];
    int n = 0;
    double sum = 0;
    (void)what;
    (void)err;
    t->base.run.tape = NULL;
    score_held(t, &s);
    for (int i = 0; i < SCORE_SOUND; i++) {
        n += snprintf(line + n, sizeof line - (size_t)n, " %s %.1f", rlm_judge_score_names[i],
                      100 * share(&s, i));
        sum += share(&s, i);
    }
    rlm_journal_put(t->base.journal, t->base.step, "val", 1 - sum / SCORE_SOUND, NULL);
    rlm_logf(&t->base.log, 2, "step %lld:%s", (long long)t->base.step, line);
    return 0;
}

static int save(void *cookie, const char *dir, rlm_error *err)
{
    trainer *t = cookie;
    char path[1024], note[64];
    snprintf(path, sizeof path, "%s/judge.safetensors", dir);
    snprintf(note, sizeof note, "step %lld", (long long)t->base.step);
    return rlm_judge_save(path, &t->config, &t->base.params, t->base.optim.ema, note, err);
}

int rlm_train_judge(const rlm_train_options *o, rlm_error *err)
{
    static const rlm_loop LOOP = {.bytes = sizeof(trainer),
                                  .open = open_all,
                                  .advance = advance,
                                  .look = look,
                                  .save = save,
                                  .close = close_all};
    return rlm_train_run(&LOOP, o, err);
}
