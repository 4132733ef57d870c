/* The judge's networks as a whole: gradients of every parameter against finite differences. */
#include "src/base/rng.h"
#include "src/train/judge.h"
#include "tests/test.h"

enum { TENSORS = 2 * BODY_KINDS + CLIP_KINDS + 1, PROBES = 2 };

typedef struct rig {
    rlm_kernels k;
    rlm_par *par;
    rlm_arena arena;
    rlm_tape tape;
    rlm_run run;
    rlm_params params;
    rlm_judge_net *net;
    float *pixels, *bands;
} rig;

static double loss(rig *r, bool seed_gradients)
{
    rlm_judge_logits l;
    rlm_arena_rewind(&r->arena, 0);
    rlm_tape_clear(&r->tape);
    rlm_judge_forward(&r->run, r->net, 1, r->pixels, r->bands, &l);
    rlm_tensor *out[TENSORS] = {&l.heard};
    for (int i = 0; i < BODY_KINDS; i++) {
        out[1 + i] = &l.cell[i];
        out[1 + BODY_KINDS + i] = &l.body[i];
    }
    for (int i = 0; i < CLIP_KINDS; i++)
        out[1 + 2 * BODY_KINDS + i] = &l.clip[i];
    double sum = 0;
    for (int k = 0; k < TENSORS; k++) {
        int64_t n = rlm_tensor_count(out[k]);
        for (int64_t i = 0; i < n; i++) {
            float w = rlm_rng_normal(1, (uint64_t)k, (uint64_t)i) / sqrtf((float)n);
            sum += (double)rlm_f32(out[k])[i] * (double)w;
            if (seed_gradients)
                out[k]->grad[i] += w;
        }
    }
    return sum;
}

static void rig_open(rig *r)
{
    rlm_error err = {0};
    rlm_judge_config c = {.width = {16, 16, 16},
                          .blocks = {1, 1, 1},
                          .layers = 1,
                          .heads = 2,
                          .sound = 8,
                          .sound_blocks = 1};
    memset(r, 0, sizeof *r);
    CHECK(rlm_kernels_init_training(&r->k, "blas", &err) == 0);
    CHECK(rlm_par_open(&r->par, 1, &err) == 0);
    CHECK(rlm_arena_reserve(&r->arena, (size_t)1 << 33, &err) == 0);
    CHECK(rlm_arena_commit(&r->arena, (size_t)1 << 28, &err) == 0);
    CHECK(rlm_judge_net_new(&r->net, &c, &r->params, &err) == 0);
    CHECK(rlm_params_allocate(&r->params, true, &err) == 0);
    rlm_judge_net_initialise(r->net, &r->params, 3);
    CHECK(rlm_judge_net_plan(r->net, 1, &err) == 0);
    CHECK(rlm_params_pack(&r->params, &r->k, r->par, true, &err) == 0);
    r->run = (rlm_run){.k = &r->k, .arena = &r->arena, .par = r->par, .tape = &r->tape};
    r->pixels = rlm_alloc(JUDGE_FLOATS * sizeof(float));
    r->bands = rlm_alloc(JUDGE_HEARD * JUDGE_BANDS * sizeof(float));
    for (int i = 0; i < JUDGE_FLOATS; i++)
        r->pixels[i] = 2 * rlm_rng_uniform(5, 1, (uint64_t)i) - 1;
    for (int i = 0; i < JUDGE_HEARD * JUDGE_BANDS; i++)
        r->bands[i] = rlm_rng_normal(5, 2, (uint64_t)i);
}

static void rig_close(rig *r)
{
    rlm_judge_net_free(&r->net);
    rlm_params_free(&r->params);
    rlm_tape_free(&r->tape);
    rlm_arena_release(&r->arena);
    rlm_par_close(&r->par);
    rlm_free(r->pixels);
    rlm_free(r->bands);
}

static void case_every_parameter(void)
{
    rig r;
    rlm_error err = {0};
    int wrong = 0, dead = 0;
    rig_open(&r);
    loss(&r, true);
    rlm_backward(&r.run, &r.tape);
    for (int i = 0; i < r.params.count; i++) {
        rlm_param *p = r.params.items[i];
        double size = 0;
        for (int64_t k = 0; k < p->count; k++)
            size += fabs((double)p->grad[k]);
        size /= (double)p->count;
        if (size == 0 && dead++ < 5)
            fprintf(stderr, "%s has no gradient\n", p->name);
        for (int n = 0; n < PROBES; n++) {
            int64_t at = rlm_rng_below(8, (uint64_t)i, (uint64_t)n, (uint32_t)p->count);
            float keep = p->data[at], step = 2e-2f;
            double d[2];
            for (int side = 0; side < 2; side++) {
                p->data[at] = side ? keep - step : keep + step;
                CHECK(rlm_params_pack(&r.params, &r.k, r.par, true, &err) == 0);
                d[side] = loss(&r, false);
            }
            p->data[at] = keep;
            double slope = (d[0] - d[1]) / (2.0 * (double)step);
            double off = fabs(slope - (double)p->grad[at]);
            if (off > 0.05 * fabs(slope) + 0.05 * size + 1e-4 && wrong++ < 8)
                fprintf(stderr, "%s[%d]: %g, differences say %g (mean %g)\n", p->name, (int)at,
                        (double)p->grad[at], slope, size);
        }
    }
    CHECK(dead == 0);
    CHECK(wrong == 0);
    rig_close(&r);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_every_parameter);
    return TEST_END();
}
