/* The language model against its twins: hidden states, loss of each head, gradients (twin_lm.py);
 * a short run of training, step by step (twin_train_lm.py). */
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/train/train.h"
#include "tests/test.h"

typedef struct golden {
    rlm_safetensors st;
    rlm_kernels k;
    rlm_par *par;
    rlm_arena arena;
    rlm_tape tape;
    rlm_params params;
    rlm_lm *lm;
    rlm_lm_plan *plan;
    rlm_run run;
    int batch, len;
} golden;

static const int32_t *ints(const golden *g, const char *name)
{
    const rlm_tensor *t = rlm_st_find(&g->st, name);
    CHECK(t && t->dtype == RLM_I32);
    return t->data;
}

static void golden_open(golden *g, const char *file, const char *level)
{
    rlm_error err = {0};
    memset(g, 0, sizeof *g);
    CHECK(rlm_st_open(&g->st, file, &err) == 0);
    const int32_t *n = ints(g, "config");
    rlm_lm_config c = {.layers = n[0],
                       .dim = n[1],
                       .heads = n[2],
                       .ffn = n[3],
                       .cond = n[4],
                       .specials = n[5],
                       .video_bits = n[6],
                       .audio_levels = n[7],
                       .audio_codes = n[8],
                       .text_pieces = n[9],
                       .max_len = 1024,
                       .rope_base = (float)n[10]};
    CHECK(rlm_kernels_init_training(&g->k, level, &err) == 0);
    CHECK(rlm_par_open(&g->par, 1, &err) == 0);
    CHECK(rlm_lm_new(&g->lm, &c, &g->params, &err) == 0);
    CHECK(rlm_params_allocate(&g->params, true, &err) == 0);
    int code = rlm_params_load(&g->params, &g->st, "w.", &err);
    CHECK(code == 0);
    if (code)
        fprintf(stderr, "%s\n", err.text);
    CHECK(rlm_params_pack(&g->params, &g->k, g->par, true, &err) == 0);
    CHECK(rlm_arena_reserve(&g->arena, 64u << 20, &err) == 0);
    CHECK(rlm_arena_commit(&g->arena, 64u << 20, &err) == 0);
    g->run = (rlm_run){.k = &g->k, .arena = &g->arena, .par = g->par, .tape = &g->tape};
    const rlm_tensor *ids = rlm_st_find(&g->st, "ids"), *target = rlm_st_find(&g->st, "target");
    g->batch = (int)ids->shape[0];
    g->len = (int)ids->shape[1];
    static uint8_t mask[256];
    CHECK(rlm_tensor_count(target) <= 256);
    for (int i = 0; i < rlm_tensor_count(target); i++)
        mask[i] = (uint8_t)((const int32_t *)target->data)[i];
    CHECK(rlm_lm_plan_new(&g->plan, g->lm, g->batch, g->len, &err) == 0);
    rlm_lm_batch b = {.batch = g->batch,
                      .len = g->len,
                      .ids = ids->data,
                      .pos = ints(g, "pos"),
                      .target = mask,
                      .prefix = ints(g, "prefix"),
                      .length = ints(g, "length")};
    rlm_lm_plan_fill(g->plan, g->lm, &b);
}

static void golden_close(golden *g)
{
    rlm_lm_plan_free(&g->plan);
    rlm_lm_free(&g->lm);
    rlm_params_free(&g->params);
    rlm_tape_free(&g->tape);
    rlm_arena_release(&g->arena);
    rlm_par_close(&g->par);
    rlm_st_close(&g->st);
}

static void check_hidden(const golden *g, const rlm_tensor *hidden)
{
    const rlm_tensor *t = rlm_st_find(&g->st, "hidden");
    const int32_t *length = ints(g, "length");
    int64_t dim = rlm_tensor_last(hidden);
    double worst = 0;
    for (int n = 0; n < g->batch; n++)
        for (int64_t i = 0; i < length[n] * dim; i++) {
            int64_t at = n * g->len * dim + i;
            double d = fabs((double)rlm_f32(hidden)[at] - (double)((const float *)t->data)[at]);
            worst = d > worst ? d : worst;
        }
    CHECK_NEAR(worst, 0, 2e-5);
}

/* Mean nats of a group; its gradient times weight goes into the logits. */
static double group_loss(golden *g, const rlm_lm_logits *l, int group, float weight)
{
    float nats[256];
    int64_t rows = l->rows[group];
    const rlm_tensor *x = &l->logits[group];
    CHECK(rows > 0 && rows <= 256);
    rlm_grad_adds(x); /* cross-entropy overwrites */
    g->k.cross_entropy(g->par, rows, (int)rlm_tensor_last(x), rlm_f32(x), l->target[group], 0,
                       weight / (float)rows, nats, x->grad);
    double sum = 0;
    for (int64_t i = 0; i < rows; i++)
        sum += (double)nats[i];
    return sum / (double)rows;
}

static void check_gradients(const golden *g)
{
    for (int i = 0; i < g->params.count; i++) {
        const rlm_param *p = g->params.items[i];
        char name[128];
        snprintf(name, sizeof name, "g.%s", p->name);
        const rlm_tensor *t = rlm_st_find(&g->st, name);
        CHECK(t != NULL && rlm_tensor_count(t) == p->count);
        if (!t)
            continue;
        float *want = rlm_alloc((size_t)p->count * sizeof *want);
        rlm_st_to_f32(t, want);
        double gap = 0, energy = 0;
        for (int64_t j = 0; j < p->count; j++) {
            double d = (double)p->grad[j] - (double)want[j];
            gap += d * d;
            energy += (double)want[j] * (double)want[j];
        }
        CHECK(energy > 0);
        if (!(gap <= 1e-6 * energy))
            fprintf(stderr, "%s: gap %g of %g\n", name, gap, energy);
        CHECK(gap <= 1e-6 * energy);
        rlm_free(want);
    }
}

static void test_twin(void)
{
    static const int groups[] = {RLM_LM_GROUP_SPECIAL, RLM_LM_GROUP_VIDEO_LO, RLM_LM_GROUP_VIDEO_HI,
                                 RLM_LM_GROUP_AUDIO, RLM_LM_GROUP_AUDIO + 1};
    golden g;
    golden_open(&g, "tests/golden/lm_tiny.safetensors", "ref");
    rlm_tensor hidden = rlm_lm_forward(&g.run, g.lm, g.plan);
    check_hidden(&g, &hidden);
    rlm_lm_logits l = rlm_lm_heads_forward(&g.run, g.lm, g.plan, &hidden);
    const float *want = rlm_st_find(&g.st, "loss")->data;
    const float *weight = rlm_st_find(&g.st, "weight")->data;
    for (int i = 0; i < 5; i++)
        CHECK_NEAR(group_loss(&g, &l, groups[i], weight[i]), want[i], 2e-5);
    rlm_backward(&g.run, &g.tape);
    check_gradients(&g);
    golden_close(&g);
}

/* Loss of a step as train_lm.c counts it; its gradient goes into the logits. */
static double step_loss(golden *g, const rlm_lm_logits *l)
{
    float nats[256];
    double sum = 0, targets = 0;
    for (int i = 0; i < RLM_LM_GROUPS; i++)
        targets += i == RLM_LM_GROUP_VIDEO_HI ? 0 : (double)l->rows[i];
    for (int i = 0; i < RLM_LM_GROUPS; i++) {
        float weight = i == RLM_LM_GROUP_SPECIAL ? 0.1f : 1.0f;
        const rlm_tensor *x = &l->logits[i];
        if (!l->rows[i])
            continue;
        CHECK(l->rows[i] <= 256);
        rlm_grad_adds(x);
        g->k.cross_entropy(g->par, l->rows[i], (int)rlm_tensor_last(x), rlm_f32(x), l->target[i],
                           1e-4f, weight / (float)targets, nats, x->grad);
        for (int64_t j = 0; j < l->rows[i]; j++)
            sum += (double)weight * (double)nats[j];
    }
    return sum / targets;
}

/* The averaged weights at the end. */
static void check_average(const golden *g, const rlm_optim *o, double most)
{
    for (int i = 0; i < g->params.count; i++) {
        const rlm_param *p = g->params.items[i];
        const float *got = o->ema + (p->data - g->params.data);
        char name[128];
        snprintf(name, sizeof name, "e.%s", p->name);
        const rlm_tensor *t = rlm_st_find(&g->st, name);
        CHECK(t != NULL && rlm_tensor_count(t) == p->count);
        double gap = 0, energy = 0;
        for (int64_t j = 0; t && j < p->count; j++) {
            double want = (double)((const float *)t->data)[j], d = (double)got[j] - want;
            gap += d * d;
            energy += want * want;
        }
        if (!(gap <= 1e-6 * energy))
            fprintf(stderr, "%s: gap %g of %g\n", name, gap, energy);
        CHECK(gap <= most * energy);
    }
}

/* tolerance: nats of a step's loss, and a tenth of the gradient norm's; energy: of the averaged
 * weights' difference at the end, of theirs. */
static void follow(const char *mask, double tolerance, double energy)
{
    rlm_recipe r = {.steps = 20,
                    .warmup = 4,
                    .decay = 0.5,
                    .lr = 0.004,
                    .muon = 1,
                    .muon_lr = 0.02,
                    .weight_decay = 0.1,
                    .beta1 = 0.9,
                    .beta2 = 0.95,
                    .eps = 1e-8,
                    .clip = 1.0,
                    .ema = 0.9};
    rlm_optim o;
    rlm_error err = {0};
    golden g;
    golden_open(&g, "tests/golden/lm_curve.safetensors", mask);
    CHECK(rlm_optim_new(&o, &g.params, &r, &err) == 0);
    const float *loss = rlm_st_find(&g.st, "loss")->data, *norm = rlm_st_find(&g.st, "norm")->data;
    CHECK(loss[r.steps - 1] < loss[0] - 0.5f);
    for (int i = 0; i < r.steps; i++) {
        rlm_arena_rewind(&g.arena, 0);
        rlm_tape_clear(&g.tape);
        rlm_tensor hidden = rlm_lm_forward(&g.run, g.lm, g.plan);
        rlm_lm_logits l = rlm_lm_heads_forward(&g.run, g.lm, g.plan, &hidden);
        double found = step_loss(&g, &l);
        CHECK_NEAR(found, loss[i], tolerance);
        rlm_backward(&g.run, &g.tape);
        CHECK_NEAR(rlm_optim_step(&o, &g.run, &r), norm[i], 10 * tolerance * (double)norm[i]);
        CHECK(rlm_params_pack(&g.params, &g.k, g.par, true, &err) == 0);
    }
    check_average(&g, &o, energy);
    rlm_optim_free(&o);
    golden_close(&g);
}

static void test_curve(void)
{
    follow("ref", 2e-4, 1e-6);
    follow("blas", 2e-4, 1e-6); /* f32 as well */
}

/* Every level above ref and blas, some of which multiply in bf16; one that the machine lacks is
 * its best one. */
static void test_curve_bf16(void)
{
    for (int i = 2; rlm_kernels_level(i); i++)
        follow(rlm_kernels_level(i), 0.06, 3e-3);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(test_twin);
    TEST_CASE(test_curve);
    TEST_CASE(test_curve_bf16);
    return TEST_END();
}
