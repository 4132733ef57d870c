/* Training against its PyTorch twin: from the same weights, on the same batches, the C optimiser
 * and losses must walk the curve of tests/golden/twin_train_video.py --fixture. */
#include "tests/golden/video_rig.h"

enum { STEPS = 16, BATCHES = 3, TERMS = 6, BATCH_FLOATS = 2 * 9 * 16 * 32 * 3 };

static const char *const TERM[TERMS] = {"L1", "L2", "bit entropy", "use", "commitment", "norm"};

typedef struct follower {
    bench b;
    rlm_optim optim;
    rlm_recipe recipe;
} follower;

static int follower_open(follower *f, const char *mask)
{
    rlm_error err = {0};
    *f = (follower){0};
    rlm_recipe_defaults(&f->recipe, RLM_TRAIN_VIDEO);
    f->recipe.warmup = 0;
    f->recipe.decay = 0;
    f->recipe.ema = 0.9;
    int code = bench_open(&f->b, "tests/golden/video_curve.safetensors", &TINY, mask);
    code = code ? code : rlm_optim_new(&f->optim, &f->b.params, &f->recipe, &err);
    return code;
}

static void follower_close(follower *f)
{
    rlm_optim_free(&f->optim);
    bench_close(&f->b);
}

/* One step on a batch, the losses and weights of train_video.c. */
static void step(follower *f, float *x, double terms[TERMS])
{
    bench *b = &f->b;
    int64_t shape[5] = {2, 9, 16, 32, 3};
    rlm_tensor in = rlm_tensor_view(x, RLM_F32, 5, shape);
    rlm_rmsnorm sphere = {.dim = TINY.bits, .eps = 1e-6f};
    rlm_error err = {0};
    rlm_arena_rewind(&b->arena, 0);
    rlm_tape_clear(&b->tape);
    rlm_tensor z = rlm_video_encode_forward(&b->run, b->video, &in);
    z = rlm_rmsnorm_forward(&b->run, &sphere, &z);
    rlm_tensor q = rlm_lfq_forward(&b->run, &z, NULL);
    rlm_tensor y = rlm_video_decode_forward(&b->run, b->video, &q);
    terms[0] = rlm_loss_recon(&b->run, RLM_LOSS_L1, &y, x, 0.5f);
    terms[1] = rlm_loss_recon(&b->run, RLM_LOSS_L2, &y, x, 5.0f);
    rlm_lfq_loss bits = rlm_loss_lfq(&b->run, &z, 1.0f, 1.0f, 0.05f / (float)TINY.bits, 0.1f);
    terms[2] = bits.token_entropy;
    terms[3] = bits.batch_entropy;
    terms[4] = bits.commitment;
    rlm_backward(&b->run, &b->tape);
    terms[5] = rlm_optim_step(&f->optim, &b->run, &f->recipe);
    CHECK(rlm_params_pack(&b->params, &b->k, b->par, true, &err) == 0);
}

/* The averaged weights at the end, all of them as one vector: |a - b| / |b|. */
static double weights_apart(const follower *f)
{
    const bench *b = &f->b;
    double diff = 0, size = 0;
    for (int i = 0; i < b->params.count; i++) {
        const rlm_param *p = b->params.items[i];
        char name[128];
        snprintf(name, sizeof name, "e.%s", p->name);
        float *e = expected(b, name);
        const float *mine = f->optim.ema + (p->data - b->params.data);
        CHECK(e);
        for (int64_t k = 0; e && k < p->count; k++) {
            diff += ((double)mine[k] - e[k]) * ((double)mine[k] - e[k]);
            size += (double)e[k] * e[k];
        }
        rlm_free(e);
    }
    return sqrt(diff / (size + 1e-30));
}

/* Relative tolerances: of the pixel losses, of the other terms, of the weights at the end. In bf16
 * a bit near 0 falls to the other side now and then, which moves the terms of so few codes a lot.
 */
static void follow(const char *mask, double pixels, double others, double apart)
{
    follower f;
    if (follower_open(&f, mask)) {
        CHECK(!"opens");
        return;
    }
    float *x = expected(&f.b, "x"), *curve = expected(&f.b, "curve");
    CHECK(x && curve);
    for (int i = 0; i < STEPS && x && curve; i++) {
        double terms[TERMS];
        step(&f, x + (size_t)(i % BATCHES) * BATCH_FLOATS, terms);
        for (int k = 0; k < TERMS; k++) {
            double want = curve[i * TERMS + k], tolerance = k < 2 ? pixels : others;
            if (!(fabs(terms[k] - want) <= tolerance * fabs(want)))
                TEST_FAILED("step %d: %s %.6f, the twin's %.6f", i, TERM[k], terms[k], want);
        }
    }
    double d = weights_apart(&f);
    if (!(d <= apart))
        TEST_FAILED("weights after %d steps are off by %.3g", STEPS, d);
    rlm_free(x);
    rlm_free(curve);
    follower_close(&f);
}

static void reference_follows(void)
{
    follow("ref", 5e-4, 5e-4, 5e-4);
}

/* f32 as well. */
static void blas_follows(void)
{
    follow("blas", 5e-4, 5e-4, 5e-4);
}

/* Every level above ref and blas, some of which multiply in bf16; one that the machine lacks is
 * its best one. */
static void bf16_follows(void)
{
    for (int i = 2; rlm_kernels_level(i); i++)
        follow(rlm_kernels_level(i), 0.05, 0.4, 0.1);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(reference_follows);
    TEST_CASE(blas_follows);
    TEST_CASE(bf16_follows);
    return TEST_END();
}
