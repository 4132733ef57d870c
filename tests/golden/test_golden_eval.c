/* The measures of `eval` against the numpy twin (twin_eval.py), and what must hold of any measure:
 * nothing between equals, more with more noise. */
#include "src/train/eval.h"
#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "src/base/rng.h"

static const char *const FIXTURE = "tests/golden/eval.safetensors";
static const char *const REAL = "../shared/data/perceptual/squeezenet_v1.1.safetensors";
static const char *const COUNTED = "test_golden_eval.safetensors";

static double golden(const rlm_safetensors *st, const char *name)
{
    float v = NAN;
    const rlm_tensor *t = rlm_st_find(st, name);
    CHECK(t != NULL);
    if (t)
        rlm_st_to_f32(t, &v);
    return v;
}

static rlm_frames frames(const rlm_safetensors *st, const char *name)
{
    const rlm_tensor *t = rlm_st_find(st, name);
    CHECK(t && t->dtype == RLM_U8 && t->rank == 4);
    return (rlm_frames){.count = (int)t->shape[0],
                        .height = (int)t->shape[1],
                        .width = (int)t->shape[2],
                        .rgb = (uint8_t *)t->data};
}

static void pictures_match(void)
{
    rlm_safetensors st;
    rlm_error err;
    rlm_par *par;
    rlm_structure s;
    CHECK(!rlm_st_open(&st, FIXTURE, &err) && !rlm_par_open(&par, 2, &err));
    rlm_frames a = frames(&st, "a"), b = frames(&st, "b");
    CHECK_NEAR(rlm_psnr(&a, &b), golden(&st, "golden.psnr"), 1e-4);
    CHECK_NEAR(rlm_flicker(&a, &b), golden(&st, "golden.flicker"), 1e-4);
    CHECK(!rlm_structure_score(par, &a, &b, &s, &err));
    CHECK(s.scales == 3);
    CHECK_NEAR(s.ssim, golden(&st, "golden.ssim"), 1e-6);
    CHECK_NEAR(s.ms_ssim, golden(&st, "golden.ms_ssim"), 1e-6);
    rlm_par_close(&par);
    rlm_st_close(&st);
}

/* ---- SqueezeNet ---- */

static int add_counted(rlm_st_writer *w, int number, const char *name, const int64_t shape[4],
                       float **keep)
{
    char full[64];
    int64_t n = shape[0] * shape[1] * shape[2] * shape[3];
    double reach = 2 * sqrt(6 / (double)(n / shape[0]));
    float *x = malloc((size_t)n * sizeof *x), *bias = malloc((size_t)shape[0] * sizeof *bias);
    for (int64_t i = 0; i < n; i++) {
        uint64_t u = ((uint64_t)i * 2654435761u + 977u * (uint64_t)number) % 65521u;
        x[i] = (float)(((double)u / 65521 - 0.5) * reach);
    }
    for (int64_t i = 0; i < shape[0]; i++)
        bias[i] = (float)((double)((i * 7 + number) % 11 - 5) / 50);
    rlm_tensor t = rlm_tensor_view(x, RLM_F32, 4, shape);
    snprintf(full, sizeof full, "%s.weight", name);
    rlm_st_add(w, full, &t, RLM_F32);
    t = rlm_tensor_view(bias, RLM_F32, 1, shape);
    snprintf(full, sizeof full, "%s.bias", name);
    rlm_st_add(w, full, &t, RLM_F32);
    keep[0] = x;
    keep[1] = bias;
    return number + 1;
}

/* The network whose weights both sides make from a counter. */
static void write_counted(const char *path)
{
    static const int squeeze[] = {16, 16, 32, 32, 48, 48, 64, 64};
    static const int expand[] = {64, 64, 128, 128, 192, 192, 256, 256};
    float *keep[2 * 25] = {0};
    rlm_st_writer w;
    rlm_error err;
    rlm_st_writer_init(&w);
    int n = add_counted(&w, 0, "conv1", (int64_t[]){64, 3, 3, 3}, keep);
    for (int i = 0, in = 64; i < 8; in = 2 * expand[i++]) {
        char name[64];
        int64_t s = squeeze[i], e = expand[i];
        snprintf(name, sizeof name, "fire%d.squeeze1x1", 2 + i);
        n = add_counted(&w, n, name, (int64_t[]){s, in, 1, 1}, keep + 2 * n);
        snprintf(name, sizeof name, "fire%d.expand1x1", 2 + i);
        n = add_counted(&w, n, name, (int64_t[]){e, s, 1, 1}, keep + 2 * n);
        snprintf(name, sizeof name, "fire%d.expand3x3", 2 + i);
        n = add_counted(&w, n, name, (int64_t[]){e, s, 3, 3}, keep + 2 * n);
    }
    CHECK(!rlm_st_commit(&w, path, &err));
    rlm_st_writer_free(&w);
    for (int i = 0; i < 2 * n; i++)
        free(keep[i]);
}

static void match_network(const char *path, const char *name)
{
    rlm_safetensors st;
    rlm_error err;
    rlm_par *par;
    rlm_perceptual *p;
    double score = NAN;
    CHECK(!rlm_st_open(&st, FIXTURE, &err) && !rlm_par_open(&par, 2, &err));
    rlm_frames a = frames(&st, "a"), b = frames(&st, "b");
    if (rlm_perceptual_open(&p, path, par, &err)) {
        fprintf(stderr, "%s\n", err.text);
        CHECK(!"network");
    } else {
        double expected = golden(&st, name);
        CHECK(!rlm_perceptual_score(p, &a, &b, &score, &err));
        CHECK_NEAR(score, expected, 1e-4 * expected);
        CHECK(!rlm_perceptual_score(p, &a, &a, &score, &err));
        CHECK_NEAR(score, 0, 1e-9);
        b.height = 16;
        CHECK(rlm_perceptual_score(p, &b, &b, &score, &err) == RLM_E_RANGE);
        rlm_perceptual_close(&p);
    }
    rlm_par_close(&par);
    rlm_st_close(&st);
}

static void perceptual_matches(void)
{
    write_counted(COUNTED);
    match_network(COUNTED, "golden.perceptual_counted");
    unlink(COUNTED);
}

static void perceptual_of_the_real_network(void)
{
    if (access(REAL, R_OK))
        TEST_SKIP("%s is not there", REAL);
    match_network(REAL, "golden.perceptual");
}

static void wrong_network_is_refused(void)
{
    rlm_perceptual *p = NULL;
    rlm_error err;
    CHECK(rlm_perceptual_open(&p, FIXTURE, NULL, &err) == RLM_E_MODEL);
    CHECK(!p);
    CHECK_HAS(err.text, "conv1.weight");
}

/* ---- Properties ---- */

static void equal_pictures_differ_by_nothing(void)
{
    rlm_safetensors st;
    rlm_error err;
    rlm_structure s;
    CHECK(!rlm_st_open(&st, FIXTURE, &err));
    rlm_frames a = frames(&st, "a");
    CHECK(isinf(rlm_psnr(&a, &a)));
    CHECK(rlm_flicker(&a, &a) == 0);
    CHECK(!rlm_structure_score(NULL, &a, &a, &s, &err));
    CHECK_NEAR(s.ssim, 1, 1e-12);
    CHECK_NEAR(s.ms_ssim, 1, 1e-12);
    a.count = 1;
    CHECK(isnan(rlm_flicker(&a, &a)));
    a.width = 10;
    CHECK(!rlm_structure_score(NULL, &a, &a, &s, &err));
    CHECK(isnan(s.ssim) && s.scales == 0);
    rlm_st_close(&st);
}

static void more_noise_is_worse(void)
{
    rlm_safetensors st;
    rlm_error err;
    CHECK(!rlm_st_open(&st, FIXTURE, &err));
    rlm_frames a = frames(&st, "a"), b = a;
    size_t n = (size_t)a.count * (size_t)a.height * (size_t)a.width * 3;
    double psnr = INFINITY, ssim = 1.1, ms = 1.1, flicker = -1;
    b.rgb = malloc(n);
    for (int level = 0; level < 5; level++) {
        rlm_structure s;
        for (size_t i = 0; i < n; i++) {
            int v = a.rgb[i] + (int)((rlm_rng_uniform(3, 1, i) - 0.5f) * (float)(8 << level));
            b.rgb[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
        CHECK(!rlm_structure_score(NULL, &a, &b, &s, &err));
        CHECK(rlm_psnr(&a, &b) < psnr && s.ssim < ssim && s.ms_ssim < ms);
        CHECK(rlm_flicker(&a, &b) > flicker);
        psnr = rlm_psnr(&a, &b);
        ssim = s.ssim;
        ms = s.ms_ssim;
        flicker = rlm_flicker(&a, &b);
    }
    free(b.rgb);
    rlm_st_close(&st);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(pictures_match);
    TEST_CASE(perceptual_matches);
    TEST_CASE(perceptual_of_the_real_network);
    TEST_CASE(wrong_network_is_refused);
    TEST_CASE(equal_pictures_differ_by_nothing);
    TEST_CASE(more_noise_is_worse);
    return TEST_END();
}
