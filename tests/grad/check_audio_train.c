/* What only the tokenizers' loops have: the critics' gradient into what they see, and the codec's
 * quantiser's learning. */
#include "src/base/rng.h"
#include "src/train/audio_train.h"
#include "tests/test.h"

#include <stdlib.h>

typedef struct fixture {
    rlm_kernels k;
    rlm_par *par;
    rlm_arena arena;
    rlm_tape tape;
    rlm_run run;
} fixture;

static const size_t SCRATCH = (size_t)256 << 20;

static void open_fixture(fixture *f, const char *mask)
{
    rlm_error err;
    memset(f, 0, sizeof *f);
    CHECK(rlm_kernels_init_training(&f->k, mask, &err) == 0);
    CHECK(rlm_par_open(&f->par, 2, &err) == 0);
    CHECK(rlm_arena_reserve(&f->arena, SCRATCH, &err) == 0);
    CHECK(rlm_arena_commit(&f->arena, SCRATCH, &err) == 0);
    f->run = (rlm_run){.k = &f->k, .arena = &f->arena, .par = f->par, .tape = &f->tape};
}

static void close_fixture(fixture *f)
{
    rlm_tape_free(&f->tape);
    rlm_arena_release(&f->arena);
    rlm_par_close(&f->par);
}

enum { WAVE = 8 * RLM_CRITIC_STEP };
static const float FEATURE = 3.0f;
static const int64_t SHAPES[2][5] = {
    [RLM_CRITIC_WAVE] = {1, 1, 1, WAVE, 1}, [RLM_CRITIC_FILM] = {1, 1, 14, 20, RLM_CRITIC_PAIR}};

static double verdict(fixture *f, rlm_critics *c, const int64_t shape[5], float *made,
                      const float *real, float *grad)
{
    rlm_critic_loss l;
    rlm_tensor fake = rlm_tensor_view(made, RLM_F32, 5, shape);
    fake.grad = grad;
    rlm_critics_judge(&f->run, c, &fake, real, FEATURE, &l);
    return l.adversarial + FEATURE * l.feature;
}

/* Along random directions the loss changes as the gradient says; critics get no gradient, and the
 * arena is given back. */
static void critic_gradient(rlm_critic_kind kind)
{
    const int64_t *shape = SHAPES[kind];
    fixture f;
    rlm_params p = {0};
    rlm_critics *c;
    rlm_error err;
    static float x[WAVE], real[WAVE], moved[WAVE], g[WAVE], unused[WAVE], dir[WAVE];
    open_fixture(&f, "blas");
    CHECK(rlm_critics_new(&c, kind, &p, &err) == 0);
    CHECK(rlm_params_allocate(&p, true, &err) == 0);
    rlm_params_initialise(&p, 5);
    rlm_critics_fill(c);
    for (int i = 0; i < WAVE; i++) {
        x[i] = 0.2f * rlm_rng_normal(1, 1, (uint64_t)i);
        real[i] = 0.3f * sinf(0.05f * (float)i);
    }
    memset(g, 0, sizeof g);
    verdict(&f, c, shape, x, real, g);
    CHECK(rlm_arena_mark(&f.arena) == 0);
    CHECK(f.k.sumsq(f.par, p.total, p.grad) == 0);
    for (int trial = 0; trial < 4; trial++) {
        const float h = 1e-4f; /* of a network of kinks */
        double along = 0, value[2];
        for (int i = 0; i < WAVE; i++) {
            dir[i] = rlm_rng_normal(7, (uint64_t)trial, (uint64_t)i);
            along += (double)g[i] * dir[i];
        }
        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < WAVE; i++)
                moved[i] = x[i] + (side ? -h : h) * dir[i];
            value[side] = verdict(&f, c, shape, moved, real, unused);
        }
        double slope = (value[0] - value[1]) / (2 * h);
        CHECK_NEAR(slope, along, 0.02 * fabs(along) + 0.02);
    }
    rlm_critics_free(&c);
    rlm_params_free(&p);
    close_fixture(&f);
}

static void case_critic_gradient(void)
{
    critic_gradient(RLM_CRITIC_WAVE);
    critic_gradient(RLM_CRITIC_FILM);
}

/* Steps on their own gradient make the critics tell noise from a tone. */
static void critics_learn(rlm_critic_kind kind)
{
    fixture f;
    rlm_params p = {0};
    rlm_critics *c;
    rlm_error err;
    rlm_optim o;
    rlm_critic_loss first = {0}, last = {0};
    static float x[WAVE], real[WAVE];
    rlm_recipe r = {.steps = 1000, .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8};
    open_fixture(&f, NULL);
    CHECK(rlm_critics_new(&c, kind, &p, &err) == 0);
    CHECK(rlm_params_allocate(&p, true, &err) == 0);
    rlm_params_initialise(&p, 5);
    rlm_critics_fill(c);
    const rlm_param *fixed = rlm_params_find(&p, "critic1.stft.weight");
    float basis = fixed ? fixed->data[777] : 0;
    CHECK(rlm_optim_new(&o, &p, &r, &err) == 0);
    for (int i = 0; i < WAVE; i++) {
        x[i] = 0.2f * rlm_rng_normal(1, 1, (uint64_t)i);
        real[i] = 0.3f * sinf(0.05f * (float)i);
    }
    rlm_tensor fake = rlm_tensor_view(x, RLM_F32, 5, SHAPES[kind]);
    for (int step = 0; step < 20; step++) {
        CHECK(rlm_params_pack(&p, &f.k, f.par, true, &err) == 0);
        rlm_critics_learn(&f.run, c, &fake, real, &last);
        if (step == 0)
            first = last;
        rlm_optim_step(&o, &f.run, &r);
    }
    CHECK(last.critic < 0.5 * first.critic);
    CHECK(!fixed == (kind == RLM_CRITIC_FILM));
    CHECK(!fixed || fixed->data[777] == basis);
    rlm_optim_free(&o);
    rlm_critics_free(&c);
    rlm_params_free(&p);
    close_fixture(&f);
}

static void case_critics_learn(void)
{
    critics_learn(RLM_CRITIC_WAVE);
    critics_learn(RLM_CRITIC_FILM);
}

/* Points around `codes` centres: k-means finds them, training keeps them, nothing stays dead. */
static void case_quantiser_learns(void)
{
    fixture f;
    rlm_audio_config c;
    rlm_params p = {0};
    rlm_audio *a;
    rlm_rvq q;
    rlm_error err;
    enum { ROWS = 1024 };
    open_fixture(&f, NULL);
    rlm_audio_config_tiny(&c);
    CHECK(rlm_audio_new(&a, &c, &p, &err) == 0 && rlm_params_allocate(&p, false, &err) == 0);
    CHECK(rlm_rvq_open(&q, a, ROWS, &err) == 0);
    float *x = malloc((size_t)(ROWS * c.dim) * sizeof *x);
    float *y = malloc((size_t)(ROWS * c.dim) * sizeof *y);
    int levels[4] = {4, 4, 1, 2};
    double energy = 0, error[2] = {0, 0};
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < c.dim; i++) {
            uint64_t centre = rlm_rng(3, 3, (uint64_t)r) % 40;
            x[r * c.dim + i] = rlm_rng_normal(4, centre, (uint64_t)i) +
                               0.1f * rlm_rng_normal(5, (uint64_t)r, (uint64_t)i);
            energy += x[r * c.dim + i] * x[r * c.dim + i];
        }
    rlm_rvq_collect(&q, ROWS, x);
    rlm_rvq_start(&q, &f.run, 1);
    CHECK(q.started == 1);
    for (int step = 0; step < 60; step++) {
        rlm_rvq_train(&q, &f.run, ROWS, 4, levels, x, y, 1, step);
        double e = 0;
        for (int i = 0; i < ROWS / 2 * c.dim; i++)
            e += (x[i] - y[i]) * (x[i] - y[i]);
        error[step > 0] = e;
    }
    CHECK(error[0] < 0.1 * energy && error[1] < 0.01 * energy);
    CHECK(error[1] <= error[0] * 1.02);
    /* a clip of one level is the sum of one code */
    int32_t ids[4 * ROWS];
    f.run.tape = NULL;
    rlm_audio_quantise(&f.run, a, 1, 4, x + ROWS / 2 * c.dim, ids, NULL);
    CHECK(ids[0] >= 0 && ids[4] == -1);
    free(x);
    free(y);
    rlm_rvq_free(&q);
    rlm_audio_free(&a);
    rlm_params_free(&p);
    close_fixture(&f);
}

/* With the variance held, the pull changes along random directions as its gradient says. */
static void case_quantiser_pull(void)
{
    fixture f;
    rlm_audio_config c;
    rlm_params p = {0};
    rlm_audio *a;
    rlm_rvq q;
    rlm_error err;
    enum { ROWS = 40, DIM = 16, N = ROWS * DIM };
    static float x[N], y[N], g[N], unused[N], moved[N], dir[N];
    open_fixture(&f, "blas");
    rlm_audio_config_tiny(&c);
    CHECK(c.dim == DIM);
    CHECK(rlm_audio_new(&a, &c, &p, &err) == 0 && rlm_params_allocate(&p, false, &err) == 0);
    CHECK(rlm_rvq_open(&q, a, ROWS, &err) == 0);
    q.started = 1;
    for (int i = 0; i < N; i++) {
        x[i] = 0.7f + rlm_rng_normal(11, 1, (uint64_t)i);
        y[i] = x[i] + 0.3f * rlm_rng_normal(11, 2, (uint64_t)i);
    }
    rlm_tensor z = rlm_tensor_view(x, RLM_F32, 2, (int64_t[2]){ROWS, DIM});
    rlm_tensor code = rlm_tensor_view(y, RLM_F32, 2, (int64_t[2]){ROWS, DIM});
    z.grad = g;
    rlm_rvq_pulled at = rlm_rvq_pull(&q, &f.run, &z, &code, 2.0f);
    CHECK(at.offset > 0.2 && at.lost > 0.02 && at.value > 0);
    for (int trial = 0; trial < 4; trial++) {
        const float h = 1e-4f; /* of a network of kinks */
        double along = 0, value[2];
        for (int i = 0; i < N; i++) {
            dir[i] = rlm_rng_normal(12, (uint64_t)trial, (uint64_t)i);
            along += (double)g[i] * dir[i];
        }
        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < N; i++)
                moved[i] = x[i] + (side ? -h : h) * dir[i];
            rlm_tensor there = rlm_tensor_view(moved, RLM_F32, 2, (int64_t[2]){ROWS, DIM});
            there.grad = unused;
            rlm_rvq_pulled r = rlm_rvq_pull(&q, &f.run, &there, &code, 2.0f);
            value[side] = r.value * r.spread / at.spread;
        }
        CHECK_NEAR((value[0] - value[1]) / (2 * h), along, 1e-3 * fabs(along) + 1e-4);
    }
    rlm_rvq_free(&q);
    rlm_audio_free(&a);
    rlm_params_free(&p);
    close_fixture(&f);
}

static void case_si_sdr(void)
{
    float x[1000], y[1000];
    for (int i = 0; i < 1000; i++) {
        x[i] = rlm_rng_normal(1, 1, (uint64_t)i);
        y[i] = 0.25f * x[i] + 0.025f * rlm_rng_normal(1, 2, (uint64_t)i);
    }
    CHECK_NEAR(rlm_si_sdr(1000, x, y), 20.0, 0.5);
    CHECK(rlm_si_sdr(1000, x, x) > 60);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_critic_gradient);
    TEST_CASE(case_critics_learn);
    TEST_CASE(case_quantiser_learns);
    TEST_CASE(case_quantiser_pull);
    TEST_CASE(case_si_sdr);
    return TEST_END();
}
