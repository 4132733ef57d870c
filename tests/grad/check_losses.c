/* Every loss against 4-point finite differences on the reference kernels, along its own gradient
 * and along random directions; and known values. */
#include "src/train/eval.h"
#include "src/train/train.h"

#include "src/base/rng.h"
#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>

static struct {
    rlm_kernels reference;
    rlm_par *par;
} world;

static void fill_random(float *x, int64_t n, uint64_t stream, float scale)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = scale * rlm_rng_normal(77, stream, (uint64_t)i);
}

static rlm_tensor new_tensor(int rank, const int64_t *shape)
{
    rlm_tensor t = rlm_tensor_view(NULL, RLM_F32, rank, shape);
    size_t n = (size_t)rlm_tensor_count(&t);
    t.data = rlm_alloc(n * sizeof(float));
    t.grad = rlm_calloc(n, sizeof(float));
    fill_random(t.data, (int64_t)n, 100, 1.0f);
    return t;
}

static void free_tensor(rlm_tensor *t)
{
    rlm_free(t->data);
    rlm_free(t->grad);
}

static double length(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sqrt(sum);
}

static float *copy_of(const float *x, int64_t n)
{
    float *y = rlm_alloc((size_t)n * sizeof *y);
    memcpy(y, x, (size_t)n * sizeof *y);
    return y;
}

typedef double (*loss_fn)(rlm_run *run, const rlm_tensor *x, void *ctx, float scale);

/* Along the gradient itself and along random directions. */
static void check_loss(loss_fn loss, void *ctx, rlm_tensor *x, double h, double tolerance)
{
    rlm_run run = {&world.reference, NULL, world.par, NULL};
    int64_t n = rlm_tensor_count(x);
    const float scale = 0.7f;
    float *data = rlm_f32(x), *keep = copy_of(data, n), *grad = x->grad;
    memset(grad, 0, (size_t)n * sizeof *grad);
    loss(&run, x, ctx, scale);
    double size = length(grad, n);
    CHECK(size > 0);
    for (int d = 0; d < 6; d++) {
        double analytic = 0, unit = 0, sum = 0;
        float *way = rlm_alloc((size_t)n * sizeof *way);
        for (int64_t i = 0; i < n; i++) {
            way[i] = d ? rlm_rng_normal(21, (uint64_t)d, (uint64_t)i) : grad[i];
            unit += (double)way[i] * way[i];
        }
        for (int64_t i = 0; i < n; i++) {
            way[i] /= (float)sqrt(unit);
            analytic += (double)way[i] * grad[i];
        }
        static const double AT[4] = {1, -1, 2, -2}, WEIGHT[4] = {8, -8, -1, 1};
        x->grad = NULL;
        for (int s = 0; s < 4; s++) {
            for (int64_t i = 0; i < n; i++)
                data[i] = keep[i] + (float)(AT[s] * h) * way[i];
            sum += WEIGHT[s] * loss(&run, x, ctx, 1.0f);
        }
        memcpy(data, keep, (size_t)n * sizeof *data);
        x->grad = grad;
        double numeric = scale * sum / (12.0 * h), error = fabs(numeric - analytic) / size;
        if (!(error < tolerance))
            TEST_FAILED("direction %d: %.6g by differences, %.6g by formula", d, numeric, analytic);
        rlm_free(way);
    }
    /* added, not overwritten */
    float once = grad[n / 2];
    loss(&run, x, ctx, scale);
    CHECK_NEAR(grad[n / 2], 2 * once, 1e-5 * fabs(once) + 1e-12);
    rlm_free(keep);
}

typedef struct recon_ctx {
    int kind;
    const float *target;
} recon_ctx;

static double recon(rlm_run *run, const rlm_tensor *x, void *ctx, float scale)
{
    recon_ctx *c = ctx;
    return rlm_loss_recon(run, c->kind, x, c->target, scale);
}

static void case_loss_recon(void)
{
    float target[60];
    fill_random(target, 60, 31, 1.0f);
    for (int kind = RLM_LOSS_L1; kind <= RLM_LOSS_L2; kind++) {
        rlm_tensor x;
        x = new_tensor(2, (int64_t[]){6, 10});
        check_loss(recon, &(recon_ctx){kind, target}, &x, 1e-2, 5e-3);
        free_tensor(&x);
    }
}

typedef struct lfq_ctx {
    float tau, gamma, entropy, commit;
} lfq_ctx;

static double lfq(rlm_run *run, const rlm_tensor *x, void *ctx, float scale)
{
    lfq_ctx *c = ctx;
    rlm_lfq_loss l = rlm_loss_lfq(run, x, c->tau, c->gamma, scale * c->entropy, scale * c->commit);
    double bits = (double)rlm_tensor_last(x);
    return c->entropy * bits * (l.token_entropy - c->gamma * l.batch_entropy) +
           c->commit * l.commitment;
}

static void case_loss_lfq(void)
{
    static const lfq_ctx CASES[4] = {{2.0f, 1.0f, 1.0f, 0.0f},
                                     {2.0f, 0.3f, 1.0f, 0.5f},
                                     {1.0f, 2.0f, 0.1f, 0.25f},
                                     {4.0f, 1.0f, 0.0f, 1.0f}};
    for (int i = 0; i < 4; i++) {
        rlm_tensor x;
        lfq_ctx c = CASES[i];
        x = new_tensor(2, (int64_t[]){40, 6});
        for (int j = 0; j < 240; j++) /* the sign jumps at 0 */
            rlm_f32(&x)[j] += rlm_f32(&x)[j] > 0 ? 0.1f : -0.1f;
        check_loss(lfq, &c, &x, 1e-2, 1e-3);
        free_tensor(&x);
    }
}

/* Known values: far from zero every coin is sure, at zero none is. */
static void case_loss_lfq_values(void)
{
    rlm_tensor x;
    rlm_run run = {&world.reference, NULL, world.par, NULL};
    x = new_tensor(2, (int64_t[]){4, 2});
    float *z = rlm_f32(&x);
    for (int i = 0; i < 4; i++) {
        z[2 * i] = i % 2 ? 1.0f : -1.0f; /* used both ways */
        z[2 * i + 1] = 1.0f;             /* dead */
    }
    rlm_lfq_loss l = rlm_loss_lfq(&run, &x, 0.01f, 1.0f, 0, 0);
    CHECK_NEAR(l.token_entropy, 0, 1e-9);
    CHECK_NEAR(l.batch_entropy, log(2.0) / 2, 1e-9);
    CHECK_NEAR(l.commitment, 0, 1e-12);
    memset(z, 0, 8 * sizeof *z);
    l = rlm_loss_lfq(&run, &x, 0.01f, 1.0f, 1, 1);
    CHECK_NEAR(l.token_entropy, log(2.0), 1e-9);
    CHECK_NEAR(l.commitment, 1, 1e-12);
    for (int i = 0; i < 8; i++)
        CHECK(isfinite(x.grad[i]));
    free_tensor(&x);
}

typedef struct mel_ctx {
    rlm_mel *mel;
    const float *target;
} mel_ctx;

static double mel(rlm_run *run, const rlm_tensor *x, void *ctx, float scale)
{
    mel_ctx *c = ctx;
    return rlm_loss_mel(run, c->mel, x, c->target, scale);
}

static void one_spectral_loss(rlm_mel_use use, double least)
{
    enum { N = 1500 };
    rlm_tensor x;
    mel_ctx c = {0};
    rlm_error err = {0};
    float *target = rlm_alloc(2 * N * sizeof *target);
    fill_random(target, 2 * N, 41, 0.3f);
    x = new_tensor(5, (int64_t[]){2, 1, 1, N, 1});
    fill_random(rlm_f32(&x), 2 * N, 42, 0.1f);
    CHECK(rlm_mel_new(&c.mel, use, 16000, N, 2, &err) == 0);
    c.target = target;
    rlm_run run = {&world.reference, NULL, world.par, NULL};
    check_loss(mel, &c, &x, 4e-3, 2e-2);
    CHECK(rlm_loss_mel(&run, c.mel, &x, target, 1.0f) > least);
    float *same = copy_of(rlm_f32(&x), 2 * N);
    CHECK(rlm_loss_mel(&run, c.mel, &x, same, 1.0f) < 1e-3);
    rlm_mel_free(&c.mel);
    CHECK(!c.mel);
    rlm_free(same);
    rlm_free(target);
    free_tensor(&x);
}

static void case_loss_mel(void)
{
    one_spectral_loss(RLM_MEL_SCORE, 0.5);
    one_spectral_loss(RLM_MEL_TRAIN, 0.5);
}

/* Of a third of the target's noise: convergence is above 2 / 3, logarithms above log 3. Of a sound,
 * the loss is the distance that the evaluation measures by products with sines. */
static void case_loss_stft(void)
{
    enum { N = 16000 };
    rlm_run run = {&world.reference, NULL, world.par, NULL};
    rlm_error err = {0};
    rlm_mel *bins;
    rlm_ears *ears;
    rlm_heard heard;
    rlm_tensor x = new_tensor(5, (int64_t[]){1, 1, 1, N, 1});
    float *target = rlm_alloc(N * sizeof *target);
    one_spectral_loss(RLM_MEL_BINS, 1.7);
    fill_random(rlm_f32(&x), N, 43, 0.2f);
    for (int i = 0; i < N; i++) {
        target[i] = 0.3f * sinf(0.2f * (float)i) + 0.5f * rlm_f32(&x)[i];
        rlm_f32(&x)[i] += 0.2f * sinf(0.21f * (float)i);
    }
    CHECK(rlm_mel_new(&bins, RLM_MEL_BINS, 16000, N, 1, &err) == 0);
    CHECK(rlm_ears_open(&ears, 16000, world.par, &err) == 0);
    rlm_ears_score(ears, N, target, rlm_f32(&x), &heard);
    CHECK_NEAR(rlm_loss_mel(&run, bins, &x, target, 1.0f), heard.stft, 0.03 * heard.stft);
    rlm_ears_close(&ears);
    rlm_mel_free(&bins);
    rlm_free(target);
    free_tensor(&x);
}

typedef struct entropy_ctx {
    const int32_t *target;
    float zloss;
} entropy_ctx;

static double cross_entropy(rlm_run *run, const rlm_tensor *x, void *ctx, float scale)
{
    entropy_ctx *c = ctx;
    float loss[6], d[6 * 9];
    double sum = 0;
    run->k->cross_entropy(run->par, 6, 9, rlm_f32(x), c->target, c->zloss, scale, loss, d);
    for (int i = 0; i < 6; i++)
        sum += loss[i];
    for (int i = 0; i < 54 && x->grad; i++)
        x->grad[i] += d[i];
    return sum;
}

static void case_loss_cross_entropy(void)
{
    static const int32_t TARGET[6] = {0, 8, -1, 3, 3, 5};
    for (int z = 0; z < 2; z++) {
        rlm_tensor x;
        x = new_tensor(2, (int64_t[]){6, 9});
        check_loss(cross_entropy, &(entropy_ctx){TARGET, z ? 1e-2f : 0}, &x, 1e-2, 2e-3);
        for (int i = 0; i < 9; i++)
            CHECK(x.grad[2 * 9 + i] == 0);
        free_tensor(&x);
    }
}

/* ---- The perceptual loss, on a network of random weights ---- */

static void *kept[64]; /* the writer borrows its tensors until it has written */
static int kept_count;

static void add_random(rlm_st_writer *w, const char *name, const char *what, int rank,
                       const int64_t *shape, float scale, uint64_t stream)
{
    char full[96];
    rlm_tensor t = new_tensor(rank, shape);
    fill_random(t.data, rlm_tensor_count(&t), stream, scale);
    snprintf(full, sizeof full, "%s.%s", name, what);
    rlm_st_add(w, full, &t, RLM_F32);
    rlm_free(t.grad);
    kept[kept_count++] = t.data;
}

/* stem: of the first layer's weights, a factor. */
static void write_network(const char *path, float stem)
{
    static const int SQUEEZE[8] = {16, 16, 32, 32, 48, 48, 64, 64};
    static const char *const PARTS[3] = {"squeeze1x1", "expand1x1", "expand3x3"};
    rlm_st_writer w;
    rlm_error err;
    rlm_st_writer_init(&w);
    add_random(&w, "conv1", "weight", 4, (int64_t[]){64, 3, 3, 3}, stem * 0.02f, 1);
    add_random(&w, "conv1", "bias", 1, (int64_t[]){64}, stem * 0.1f, 2);
    for (int i = 0, in = 64; i < 8; in = 8 * SQUEEZE[i++])
        for (int part = 0; part < 3; part++) {
            char name[64];
            int64_t cin = part ? SQUEEZE[i] : in, out = part ? 4 * SQUEEZE[i] : SQUEEZE[i];
            int64_t k = part == 2 ? 3 : 1;
            snprintf(name, sizeof name, "fire%d.%s", i + 2, PARTS[part]);
            float scale = sqrtf(2.0f / (float)(cin * k * k));
            add_random(&w, name, "weight", 4, (int64_t[]){out, cin, k, k}, scale,
                       (uint64_t)(10 * i + part));
            add_random(&w, name, "bias", 1, (int64_t[]){out}, 0.1f, (uint64_t)(100 + i));
        }
    if (rlm_st_commit(&w, path, &err))
        TEST_FAILED("%s", err.text);
    rlm_st_writer_free(&w);
    while (kept_count)
        rlm_free(kept[--kept_count]);
}

typedef struct perceptual_ctx {
    rlm_perceptual_loss *loss;
    rlm_arena arena;
    const float *target;
} perceptual_ctx;

static double perceptual(rlm_run *run, const rlm_tensor *x, void *ctx, float scale)
{
    static const int AT[2] = {1, 0};
    perceptual_ctx *c = ctx;
    run->arena = &c->arena;
    return rlm_loss_perceptual(run, c->loss, x, c->target, AT, scale);
}

/* False: the case has failed. */
static bool open_perceptual(perceptual_ctx *c, float stem)
{
    char path[] = "/tmp/reelm_squeezenet_XXXXXX";
    rlm_error err;
    int file = mkstemp(path);
    CHECK(file >= 0);
    close(file);
    write_network(path, stem);
    *c = (perceptual_ctx){0};
    int code = rlm_perceptual_loss_open(&c->loss, path, &world.reference, world.par, &err);
    if (!code)
        code = rlm_arena_reserve(&c->arena, (size_t)1 << 32, &err);
    if (!code)
        code = rlm_arena_commit(&c->arena, (size_t)1 << 27, &err);
    unlink(path);
    if (code)
        TEST_FAILED("%s", err.text);
    return !code;
}

/* Frame 1 of clip 0 and frame 0 of clip 1 are looked at, and only they get a gradient. */
static void case_loss_perceptual(void)
{
    perceptual_ctx c;
    if (!open_perceptual(&c, 1))
        return;
    enum { SIDE = 34, PLANE = SIDE * SIDE * 3 };
    rlm_tensor x = new_tensor(5, (int64_t[]){2, 2, SIDE, SIDE, 3});
    float *target = copy_of(rlm_f32(&x), 4 * PLANE);
    for (int i = 0; i < 4 * PLANE; i++)
        target[i] = 0.5f * rlm_f32(&x)[i] + 0.2f * rlm_rng_normal(3, 4, (uint64_t)i);
    c.target = target;
    check_loss(perceptual, &c, &x, 2e-3, 2e-2);
    for (int i = 0; i < PLANE; i++)
        CHECK(x.grad[i] == 0 && x.grad[3 * PLANE + i] == 0);
    c.target = rlm_f32(&x);
    rlm_run run = {&world.reference, NULL, world.par, NULL};
    CHECK(fabs(perceptual(&run, &x, &c, 1.0f)) < 1e-5);
    rlm_perceptual_loss_close(&c.loss);
    rlm_arena_release(&c.arena);
    rlm_free(target);
    free_tensor(&x);
}

/* Places where no feature answers are no distance apart: of a network that sees nothing, none are.
 */
static void case_loss_perceptual_blind(void)
{
    perceptual_ctx c;
    if (!open_perceptual(&c, 0))
        return;
    rlm_tensor x = new_tensor(5, (int64_t[]){2, 2, 32, 32, 3});
    float *target = copy_of(rlm_f32(&x), rlm_tensor_count(&x));
    c.target = target;
    rlm_f32(&x)[0] += 0.5f;
    rlm_run run = {&world.reference, NULL, world.par, NULL};
    CHECK(fabs(perceptual(&run, &x, &c, 1.0f)) < 1e-5);
    rlm_perceptual_loss_close(&c.loss);
    rlm_arena_release(&c.arena);
    rlm_free(target);
    free_tensor(&x);
}

int main(int argc, char **argv)
{
    rlm_error err = {0};
    TEST_BEGIN(argc, argv);
    if (rlm_kernels_init_training(&world.reference, "ref", &err) ||
        rlm_par_open(&world.par, 2, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    TEST_CASE(case_loss_recon);
    TEST_CASE(case_loss_lfq);
    TEST_CASE(case_loss_lfq_values);
    TEST_CASE(case_loss_mel);
    TEST_CASE(case_loss_stft);
    TEST_CASE(case_loss_cross_entropy);
    TEST_CASE(case_loss_perceptual);
    TEST_CASE(case_loss_perceptual_blind);
    rlm_par_close(&world.par);
    return TEST_END();
}
