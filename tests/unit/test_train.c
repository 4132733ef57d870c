/* Optimisers, schedule and checkpoints, without networks. */
#include "src/train/train.h"

#include "src/base/rng.h"
#include "tests/folder.h"
#include "tests/test.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static rlm_kernels kernels;

static void write_text(const char *name, const char *text)
{
    rlm_error err = {0};
    const char *path = in_folder(name);
    if (rlm_file_write(path, text, strlen(text), &err))
        TEST_FAILED("%s", err.text);
}

static rlm_recipe plain_recipe(void)
{
    return (rlm_recipe){.steps = 1000, .lr = 0.02, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8};
}

/* A matrix [24][16] that Muon may serve, and a gain. */
static void two_params(rlm_params *p)
{
    *p = (rlm_params){0};
    rlm_weight_geom g = {24, 1, 1, 1, 16, 1};
    rlm_params_add_weight(p, "matrix.weight", &g, 1.0f);
    rlm_params_add(p, "gain", 1, (int64_t[]){5}, RLM_INIT_CONST, 1.0f);
    CHECK(rlm_params_allocate(p, true, NULL) == 0);
    rlm_params_initialise(p, 3);
}

static double target_of(int64_t i)
{
    return 0.3 * sin((double)i);
}

/* Loss 0.5 |p - target|^2 and its gradient. */
static double quadratic(rlm_params *p)
{
    double loss = 0;
    for (int i = 0; i < p->count; i++)
        for (int64_t j = 0; j < p->items[i]->count; j++) {
            double d = p->items[i]->data[j] - target_of(j);
            p->items[i]->grad[j] += (float)d;
            loss += 0.5 * d * d;
        }
    return loss;
}

static void case_adamw_first_step(void)
{
    rlm_params p;
    rlm_optim o;
    rlm_run run = {&kernels, NULL, NULL, NULL};
    rlm_recipe r = plain_recipe();
    r.weight_decay = 0.5;
    two_params(&p);
    CHECK(rlm_optim_new(&o, &p, &r, NULL) == 0);
    float before = p.items[0]->data[7], gain = p.items[1]->data[2];
    quadratic(&p);
    double g = p.items[0]->grad[7];
    rlm_optim_step(&o, &run, &r);
    /* bias correction makes the first step lr * sign(g); decay touches matrices only */
    double want = before - r.lr * (g > 0 ? 1 : -1) - r.lr * r.weight_decay * before;
    CHECK_NEAR(p.items[0]->data[7], want, 1e-5);
    CHECK_NEAR(p.items[1]->data[2], gain - r.lr * (gain > target_of(2) ? 1 : -1), 1e-5);
    for (int64_t i = 0; i < p.total; i++)
        CHECK(p.grad[i] == 0);
    rlm_optim_free(&o);
    rlm_params_free(&p);
}

static void converge(int muon)
{
    rlm_params p;
    rlm_optim o;
    rlm_run run = {&kernels, NULL, NULL, NULL};
    rlm_recipe r = plain_recipe();
    r.muon = muon;
    r.decay = 0.5;
    r.steps = 400;
    two_params(&p);
    CHECK(rlm_optim_new(&o, &p, &r, NULL) == 0);
    CHECK((o.scratch != NULL) == (muon != 0));
    double first = quadratic(&p), last = first;
    int64_t allocations = 0;
    for (int i = 0; i < r.steps; i++) {
        rlm_optim_step(&o, &run, &r);
        last = quadratic(&p);
        if (i == 0)
            allocations = rlm_alloc_count();
    }
    CHECK(rlm_alloc_count() == allocations);
    if (!(last < 2e-3 * first))
        TEST_FAILED("muon %d: loss went from %g to %g", muon, first, last);
    rlm_optim_free(&o);
    rlm_params_free(&p);
}

static void case_adamw_converges(void)
{
    converge(0);
}

static void case_muon_converges(void)
{
    converge(1);
}

/* The update of a matrix has singular values near 1 (times the documented scale): the Gram matrix
 * of its shorter side is near the identity. */
static void check_orthogonal(const rlm_kernels *k, rlm_par *par, int rows, int cols, float size)
{
    rlm_params p = {0};
    rlm_optim o;
    rlm_run run = {k, NULL, par, NULL};
    rlm_recipe r = plain_recipe();
    rlm_weight_geom g = {rows, 1, 1, 1, cols, 1};
    int count = rows * cols, side = rows < cols ? rows : cols, most = rows + cols - side;
    r.muon = 1;
    r.lr = 1;
    rlm_params_add_weight(&p, "matrix.weight", &g, 1.0f);
    CHECK(rlm_params_allocate(&p, true, NULL) == 0);
    CHECK(rlm_optim_new(&o, &p, &r, NULL) == 0);
    for (int i = 0; i < count; i++)
        p.grad[i] = size * rlm_rng_normal(1, 1, (uint64_t)i);
    r.clip = 0;
    rlm_optim_step(&o, &run, &r);
    double trace = 0, off = 0;
    for (int a = 0; a < side; a++)
        for (int b = 0; b <= a; b++) {
            double dot = 0;
            for (int i = 0; i < most; i++) {
                const float *x = p.data + (rows < cols ? a * cols + i : i * cols + a);
                const float *y = p.data + (rows < cols ? b * cols + i : i * cols + b);
                dot += (double)*x * *y / (0.04 * most);
            }
            trace += a == b ? dot : 0;
            off = a == b ? off : fmax(off, fabs(dot));
        }
    CHECK_NEAR(trace / side, 1.0, 0.35);
    CHECK(off < 0.35);
    rlm_optim_free(&o);
    rlm_params_free(&p);
}

static void case_muon_orthogonal(void)
{
    rlm_kernels best;
    rlm_par *par;
    CHECK(rlm_kernels_init_training(&best, NULL, NULL) == 0);
    CHECK(rlm_par_open(&par, 2, NULL) == 0);
    check_orthogonal(&kernels, NULL, 24, 16, 1);
    check_orthogonal(&kernels, NULL, 10, 45, 1e8f);
    check_orthogonal(&best, par, 24, 16, 1e8f);
    check_orthogonal(&best, par, 33, 130, 1);
    check_orthogonal(&best, par, 192, 64, 1e-6f);
    rlm_par_close(&par);
}

static void case_clip_and_skip(void)
{
    rlm_params p;
    rlm_optim o;
    rlm_run run = {&kernels, NULL, NULL, NULL};
    rlm_recipe r = plain_recipe();
    r.clip = 1.0;
    two_params(&p);
    CHECK(rlm_optim_new(&o, &p, &r, NULL) == 0);
    p.items[0]->grad[0] = 30;
    p.items[1]->grad[0] = 40;
    CHECK_NEAR(rlm_optim_step(&o, &run, &r), 50, 1e-4);
    CHECK_NEAR(o.m[0], 0.1 * 30 / 50, 1e-6); /* momentum saw the clipped gradient */
    float keep = p.items[0]->data[3];
    p.items[0]->grad[3] = NAN;
    CHECK(!isfinite(rlm_optim_step(&o, &run, &r)));
    CHECK(p.items[0]->data[3] == keep && p.items[0]->grad[3] == 0);
    CHECK(o.skipped == 1 && o.step == 2);
    rlm_optim_free(&o);
    rlm_params_free(&p);
}

static void case_ema(void)
{
    rlm_params p;
    rlm_optim o;
    rlm_run run = {&kernels, NULL, NULL, NULL};
    rlm_recipe r = plain_recipe();
    r.ema = 0.999;
    r.muon = 1;
    two_params(&p);
    CHECK(rlm_optim_new(&o, &p, &r, NULL) == 0);
    float first[2] = {p.items[0]->data[1], p.items[1]->data[1]};
    quadratic(&p);
    rlm_optim_step(&o, &run, &r);
    double d = 2.0 / 11.0; /* the first decay, warmed up */
    for (int i = 0; i < 2; i++) {
        const rlm_param *item = p.items[i];
        double want = d * first[i] + (1 - d) * item->data[1];
        CHECK_NEAR(o.ema[item->data - p.data + 1], want, 1e-5);
    }
    float live = p.data[0], average = o.ema[0];
    rlm_optim_swap_ema(&o);
    CHECK(p.data[0] == average && o.ema[0] == live);
    rlm_optim_free(&o);
    rlm_params_free(&p);
}

/* What is frozen stays, bit for bit, with and without Muon; resumed, it is what was averaged. */
static void case_frozen(void)
{
    for (int muon = 0; muon < 2; muon++) {
        rlm_params p;
        rlm_optim o;
        rlm_run run = {&kernels, NULL, NULL, NULL};
        rlm_recipe r = plain_recipe();
        float before[24 * 16];
        r.muon = muon;
        r.ema = 0.5;
        r.weight_decay = 0.5;
        two_params(&p);
        rlm_params_freeze(&p, "gain");
        CHECK(rlm_optim_new(&o, &p, &r, NULL) == 0);
        const rlm_param *matrix = p.items[0], *gain = p.items[1];
        memcpy(before, matrix->data, sizeof before);
        quadratic(&p);
        rlm_optim_step(&o, &run, &r);
        CHECK(!memcmp(matrix->data, before, sizeof before) && gain->data[0] != 1.0f);
        float live = gain->data[0];
        o.ema[matrix->data - p.data + 3] = 7;
        rlm_optim_settle(&o);
        CHECK(matrix->data[3] == 7 && matrix->data[4] == before[4] && gain->data[0] == live);
        rlm_optim_free(&o);
        rlm_params_free(&p);
    }
}

static void case_schedule(void)
{
    rlm_recipe r = {.steps = 1000, .warmup = 100, .decay = 0.2};
    CHECK_NEAR(rlm_schedule(&r, 1), 0.01, 1e-9);
    CHECK_NEAR(rlm_schedule(&r, 50), 0.5, 1e-9);
    CHECK_NEAR(rlm_schedule(&r, 100), 1, 1e-9);
    CHECK_NEAR(rlm_schedule(&r, 800), 1, 1e-9);
    CHECK_NEAR(rlm_schedule(&r, 900), 1 - sqrt(0.5), 0.01);
    CHECK(rlm_schedule(&r, 1000) > 0 && rlm_schedule(&r, 1000) < 0.01);
    for (int64_t s = 801; s <= 1000; s++)
        CHECK(rlm_schedule(&r, s) <= rlm_schedule(&r, s - 1));
    CHECK(rlm_schedule(&r, 5000) > 0);
}

/* ---- Checkpoints ---- */

typedef struct state {
    rlm_params p;
    rlm_optim o;
    uint64_t words[3];
    rlm_checkpoint c;
} state;

static void state_new(state *s)
{
    rlm_recipe r = plain_recipe();
    r.ema = 0.9;
    memset(s, 0, sizeof *s);
    two_params(&s->p);
    CHECK(rlm_optim_new(&s->o, &s->p, &r, NULL) == 0);
    s->c = (rlm_checkpoint){.optims = {&s->o},
                            .names = {"model"},
                            .optim_count = 1,
                            .blobs = {{"words", s->words, sizeof s->words}},
                            .blob_count = 1};
}

static void state_free(state *s)
{
    rlm_optim_free(&s->o);
    rlm_params_free(&s->p);
}

static void state_advance(state *s, int steps)
{
    rlm_run run = {&kernels, NULL, NULL, NULL};
    rlm_recipe r = plain_recipe();
    r.ema = 0.9;
    for (int i = 0; i < steps; i++) {
        quadratic(&s->p);
        rlm_optim_step(&s->o, &run, &r);
        s->words[i % 3] = rlm_rng(1, 2, (uint64_t)s->o.step);
    }
    s->c.step = s->o.step;
}

static bool same_state(const state *a, const state *b)
{
    for (int i = 0; i < a->p.count; i++) {
        int64_t at = a->p.items[i]->data - a->p.data;
        size_t n = (size_t)a->p.items[i]->count * sizeof(float);
        if (memcmp(a->p.data + at, b->p.data + at, n) || memcmp(a->o.m + at, b->o.m + at, n) ||
            memcmp(a->o.v + at, b->o.v + at, n) || memcmp(a->o.ema + at, b->o.ema + at, n))
            return false;
    }
    return a->c.step == b->c.step && a->o.step == b->o.step &&
           !memcmp(a->words, b->words, sizeof a->words);
}

static void case_checkpoint_round_trip(void)
{
    state a, b;
    rlm_error err = {0};
    const char *run_dir = in_folder("run1");
    state_new(&a);
    state_new(&b);
    CHECK(!rlm_checkpoint_exists(run_dir));
    CHECK(rlm_checkpoint_load(&b.c, run_dir, &err) == RLM_E_IO);
    state_advance(&a, 5);
    CHECK(rlm_checkpoint_save(&a.c, run_dir, 2, &err) == 0);
    CHECK(rlm_checkpoint_load(&b.c, run_dir, &err) == 0);
    CHECK(same_state(&a, &b) && b.c.note[0] == 0);
    /* what follows is the same too */
    state_advance(&a, 3);
    state_advance(&b, 3);
    CHECK(same_state(&a, &b));
    state_free(&a);
    state_free(&b);
}

static int exists(const char *name)
{
    const char *path = in_folder(name);
    int there = access(path, F_OK) == 0;
    return there;
}

/* Flip one byte in the middle, or cut the file in half. */
static void damage(const char *name, bool cut)
{
    const char *path = in_folder(name);
    char *data;
    size_t bytes;
    CHECK(rlm_file_read(path, 1 << 24, &data, &bytes, NULL) == 0);
    data[bytes / 2] ^= 1;
    FILE *f = fopen(path, "wb");
    fwrite(data, 1, cut ? bytes / 2 : bytes, f);
    fclose(f);
    rlm_free(data);
}

static void case_checkpoint_damage(void)
{
    state a, b;
    rlm_error err = {0};
    const char *run_dir = in_folder("run2");
    state_new(&a);
    state_new(&b);
    for (int i = 1; i <= 4; i++) {
        state_advance(&a, 10);
        CHECK(rlm_checkpoint_save(&a.c, run_dir, 3, &err) == 0);
    }
    CHECK(!exists("run2/checkpoints/step_0000010.safetensors"));
    CHECK(exists("run2/checkpoints/step_0000020.safetensors"));
    CHECK(rlm_checkpoint_load(&b.c, run_dir, &err) == 0 && b.c.step == 40);
    damage("run2/checkpoints/step_0000040.safetensors", false);
    CHECK(rlm_checkpoint_load(&b.c, run_dir, &err) == 0 && b.c.step == 30);
    CHECK_HAS(b.c.note, "step_0000040");
    damage("run2/checkpoints/step_0000030.safetensors", true);
    CHECK(rlm_checkpoint_load(&b.c, run_dir, &err) == 0 && b.c.step == 20);
    state_advance(&b, 1);
    state keep = b;
    damage("run2/checkpoints/step_0000020.safetensors", true);
    CHECK(rlm_checkpoint_load(&b.c, run_dir, &err) == RLM_E_FORMAT);
    CHECK_HAS(err.text, "step_0000040");
    CHECK(b.c.step == keep.c.step && b.o.step == keep.o.step);
    /* a run that went on from there is saved under a name of its own */
    b.c.step = 40;
    CHECK(rlm_checkpoint_save(&b.c, run_dir, 1, &err) == 0);
    CHECK(exists("run2/checkpoints/step_0000040-1.safetensors"));
    CHECK(!exists("run2/checkpoints/step_0000040.safetensors"));
    CHECK(rlm_checkpoint_load(&a.c, run_dir, &err) == 0 && same_state(&a, &b));
    state_free(&a);
    state_free(&b);
}

static void case_checkpoint_shape(void)
{
    state a;
    rlm_error err = {0};
    const char *run_dir = in_folder("run3");
    state_new(&a);
    state_advance(&a, 1);
    CHECK(rlm_checkpoint_save(&a.c, run_dir, 1, &err) == 0);
    rlm_params p = {0};
    rlm_optim o;
    rlm_recipe r = plain_recipe();
    rlm_weight_geom g = {16, 1, 1, 1, 24, 1};
    rlm_params_add_weight(&p, "matrix.weight", &g, 1.0f);
    CHECK(rlm_params_allocate(&p, true, NULL) == 0);
    CHECK(rlm_optim_new(&o, &p, &r, NULL) == 0);
    rlm_checkpoint c = {.optims = {&o}, .names = {"model"}, .optim_count = 1};
    CHECK(rlm_checkpoint_load(&c, run_dir, &err) == RLM_E_MODEL);
    CHECK_HAS(err.text, "model/weight/matrix.weight is [24,1,1,1,16], the network has [16,");
    c.names[0] = "critic";
    CHECK(rlm_checkpoint_load(&c, run_dir, &err) != 0);
    CHECK_HAS(err.text, "critic");
    a.c.blobs[0].bytes--; /* nor state of another size, nor another state */
    CHECK(rlm_checkpoint_load(&a.c, run_dir, &err) == RLM_E_MODEL);
    CHECK_HAS(err.text, "blob/words has 24 bytes, expected 23");
    a.c.blobs[0] = (rlm_state_blob){"verbs", a.words, sizeof a.words};
    CHECK(rlm_checkpoint_load(&a.c, run_dir, &err) == RLM_E_MODEL);
    CHECK_HAS(err.text, "blob/verbs has 0 bytes");
    rlm_optim_free(&o);
    rlm_params_free(&p);
    state_free(&a);
}

/* A run without averages saves none and needs none. */
static void case_checkpoint_without_averages(void)
{
    state a, b;
    rlm_error err = {0};
    const char *run_dir = in_folder("run6");
    state_new(&a);
    state_new(&b);
    rlm_free(a.o.ema);
    rlm_free(b.o.ema);
    a.o.ema = b.o.ema = NULL;
    state_advance(&a, 2);
    CHECK(rlm_checkpoint_save(&a.c, run_dir, 1, &err) == 0);
    CHECK(rlm_checkpoint_load(&b.c, run_dir, &err) == 0 && b.o.step == 2);
    CHECK(!memcmp(a.p.data, b.p.data, (size_t)a.p.total * sizeof(float)));
    state_free(&b);
    state_new(&b); /* one with averages finds none */
    CHECK(rlm_checkpoint_load(&b.c, run_dir, &err) == RLM_E_MODEL);
    CHECK_HAS(err.text, "model/ema/matrix.weight is missing");
    state_free(&a);
    state_free(&b);
}

/* A file of tensors, the list's own, that is no checkpoint, or one of a later version. */
static void case_checkpoint_foreign(void)
{
    state a;
    rlm_error err = {0};
    static const int codes[] = {RLM_E_FORMAT, RLM_E_VERSION};
    const char *run_dir = in_folder("run7"),
               *path = in_folder("run7/checkpoints/step_1.safetensors");
    char line[128] = "step_1.safetensors ";
    CHECK(rlm_mkdirs(path, &err) == 0 && rmdir(path) == 0);
    state_new(&a);
    for (int i = 0; i < 2; i++) {
        rlm_st_writer w;
        rlm_st_writer_init(&w);
        rlm_st_add_meta(&w, "format", i ? "reelm-checkpoint" : "reelm");
        rlm_st_add_meta(&w, "version", i ? "2" : "1");
        CHECK(rlm_st_commit(&w, path, &err) == 0);
        rlm_st_writer_free(&w);
        CHECK(rlm_file_sha256(path, line + 19, &err) == 0);
        write_text("run7/latest", line);
        CHECK(rlm_checkpoint_load(&a.c, run_dir, &err) == codes[i]);
        CHECK_HAS(err.text, i ? "version 2, expected 1" : "not a checkpoint");
    }
    write_text("run7/latest", "../../step_1.safetensors 0\n");
    CHECK(rlm_checkpoint_load(&a.c, run_dir, &err) == RLM_E_FORMAT);
    CHECK_HAS(err.text, "line 1 is not FILE SHA256");
    state_free(&a);
}

/* Killed between writing the file and naming it: the old one stays the latest. */
static void case_checkpoint_torn_write(void)
{
    state a, b;
    rlm_error err = {0};
    const char *run_dir = in_folder("run4");
    state_new(&a);
    state_new(&b);
    state_advance(&a, 2);
    CHECK(rlm_checkpoint_save(&a.c, run_dir, 2, &err) == 0);
    write_text("run4/checkpoints/step_0000004.safetensors.tmp.123", "half");
    write_text("run4/checkpoints/step_0000003.safetensors", "half");
    CHECK(rlm_checkpoint_load(&b.c, run_dir, &err) == 0 && same_state(&a, &b));
    state_advance(&b, 1);
    CHECK(rlm_checkpoint_save(&b.c, run_dir, 2, &err) == 0);
    CHECK(!exists("run4/checkpoints/step_0000004.safetensors.tmp.123"));
    CHECK(rlm_checkpoint_load(&a.c, run_dir, &err) == 0 && same_state(&a, &b));
    state_free(&a);
    state_free(&b);
}

/* A child saves without end and is killed at odd moments: what is left always loads, and holds what
 * its step says. */
static void case_checkpoint_killed(void)
{
    const char *run_dir = in_folder("run5");
    int64_t newest = 0;
    for (int turn = 0; turn < 12; turn++) {
        pid_t child = fork();
        if (child == 0) {
            state s;
            state_new(&s);
            if (rlm_checkpoint_exists(run_dir))
                rlm_checkpoint_load(&s.c, run_dir, NULL);
            for (;;) {
                state_advance(&s, 1);
                rlm_checkpoint_save(&s.c, run_dir, 2, NULL);
            }
        }
        usleep(15000 + (useconds_t)rlm_rng_below(4, 4, (uint64_t)turn, 20000));
        for (int wait = 0; turn == 0 && wait < 1000 && !rlm_checkpoint_exists(run_dir); wait++)
            usleep(10000); /* a busy machine: at least one save is seen */
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        state got, want;
        rlm_error err = {0};
        state_new(&got);
        state_new(&want);
        if (rlm_checkpoint_exists(run_dir)) {
            if (rlm_checkpoint_load(&got.c, run_dir, &err))
                TEST_FAILED("%s", err.text);
            CHECK(got.c.note[0] == 0 && got.c.step >= newest);
            newest = got.c.step;
            /* one step a save: the state is a function of the step */
            for (int64_t i = 0; i < newest; i++)
                state_advance(&want, 1);
            CHECK(same_state(&got, &want));
        }
        state_free(&got);
        state_free(&want);
    }
    CHECK(newest > 0);
}

int main(int argc, char **argv)
{
    rlm_error err = {0};
    TEST_BEGIN(argc, argv);
    if (!folder_open() || rlm_kernels_init_training(&kernels, "ref", &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    TEST_CASE(case_adamw_first_step);
    TEST_CASE(case_adamw_converges);
    TEST_CASE(case_muon_converges);
    TEST_CASE(case_muon_orthogonal);
    TEST_CASE(case_clip_and_skip);
    TEST_CASE(case_ema);
    TEST_CASE(case_frozen);
    TEST_CASE(case_schedule);
    TEST_CASE(case_checkpoint_round_trip);
    TEST_CASE(case_checkpoint_damage);
    TEST_CASE(case_checkpoint_shape);
    TEST_CASE(case_checkpoint_without_averages);
    TEST_CASE(case_checkpoint_foreign);
    TEST_CASE(case_checkpoint_torn_write);
    TEST_CASE(case_checkpoint_killed);
    folder_close();
    return TEST_END();
}
