/* The video network against tests/golden/twin_video.py: same weights, same input; z, pixels, losses
 * and the gradient of every weight must agree. */
#include "tests/golden/video_rig.h"

static const rlm_video_config FULL = {.bits = 5,
                                      .levels = 4,
                                      .channels = {4, 4, 6, 6},
                                      .blocks = {1, 1, 1, 1},
                                      .down_t = {1, 2, 2},
                                      .down_s = {2, 2, 2},
                                      .mid_blocks = 1,
                                      .groups = 2};

/* |a - b| / |b|, Euclidean. */
static double distance(const float *a, const float *b, int64_t n)
{
    double diff = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        diff += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return sqrt(diff / (size + 1e-30));
}

static void compare_gradients(const bench *b, double tolerance)
{
    for (int i = 0; i < b->params.count; i++) {
        const rlm_param *p = b->params.items[i];
        char name[128];
        snprintf(name, sizeof name, "g.%s", p->name);
        float *g = expected(b, name);
        CHECK(g);
        double d = g ? distance(p->grad, g, p->count) : 1;
        if (!(d <= tolerance))
            TEST_FAILED("gradient of %s is off by %.3g, tolerance %.3g", p->name, d, tolerance);
        rlm_free(g);
    }
}

static void agree(const char *path, const rlm_video_config *c, const char *mask, double forward,
                  double backward)
{
    bench b;
    if (bench_open(&b, path, c, mask)) {
        CHECK(!"opens");
        return;
    }
    float *x = expected(&b, "x"), *z = expected(&b, "z"), *y = expected(&b, "y");
    float *loss = expected(&b, "loss");
    int64_t shape[5] = {2, 9, 8, 16, 3};
    rlm_tensor in = rlm_tensor_view(x, RLM_F32, 5, shape);
    rlm_tensor mine = rlm_video_encode_forward(&b.run, b.video, &in);
    CHECK(mine.shape[0] == 2 && mine.shape[1] == 3 && mine.shape[2] == 1 && mine.shape[3] == 2 &&
          mine.shape[4] == c->bits);
    CHECK(distance(rlm_f32(&mine), z, rlm_tensor_count(&mine)) <= forward);
    /* coarse arithmetic may flip a bit near 0: the rest goes on from the twin's z */
    memcpy(rlm_f32(&mine), z, (size_t)rlm_tensor_count(&mine) * sizeof(float));
    rlm_tensor q = rlm_lfq_forward(&b.run, &mine, NULL);
    rlm_tensor out = rlm_video_decode_forward(&b.run, b.video, &q);
    CHECK(rlm_tensor_count(&out) == rlm_tensor_count(&in));
    CHECK(distance(rlm_f32(&out), y, rlm_tensor_count(&out)) <= forward);
    double recon = rlm_loss_recon(&b.run, RLM_LOSS_L2, &out, x, 1.0f);
    rlm_lfq_loss bits = rlm_loss_lfq(&b.run, &mine, 1.0f, 1.0f, 0.1f, 0.25f);
    CHECK_NEAR(recon, loss[0], 10 * forward * loss[0]);
    CHECK_NEAR(bits.token_entropy, loss[1], 1e-4);
    CHECK_NEAR(bits.batch_entropy, loss[2], 1e-4);
    CHECK_NEAR(bits.commitment, loss[3], 1e-4);
    rlm_backward(&b.run, &b.tape);
    compare_gradients(&b, backward);
    rlm_free(x);
    rlm_free(z);
    rlm_free(y);
    rlm_free(loss);
    bench_close(&b);
}

static void tiny_reference(void)
{
    agree("tests/golden/video_tiny.safetensors", &TINY, "ref", 1e-4, 1e-4);
}

static void full_reference(void)
{
    agree("tests/golden/video_full.safetensors", &FULL, "ref", 1e-4, 1e-4);
}

static void tiny_best(void)
{
    agree("tests/golden/video_tiny.safetensors", &TINY, NULL, 0.02, 0.1);
}

static void full_best(void)
{
    agree("tests/golden/video_full.safetensors", &FULL, NULL, 0.02, 0.1);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(tiny_reference);
    TEST_CASE(full_reference);
    TEST_CASE(tiny_best);
    TEST_CASE(full_best);
    return TEST_END();
}
