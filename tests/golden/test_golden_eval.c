/* The measures of `eval` against the numpy twin (twin_eval.py), and what must hold of any measure:
 * nothing between equals, more with more noise. */
#include "src/train/eval.h"
#include "tests/test.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/base/rng.h"
#include "src/train/audio_train.h"

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
    rlm_par *par = NULL;
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

static float *wave(const rlm_safetensors *st, const char *name, int64_t *n)
{
    const rlm_tensor *t = rlm_st_find(st, name);
    CHECK(t && t->rank == 1);
    *n = rlm_tensor_count(t);
    float *x = malloc((size_t)*n * sizeof *x);
    rlm_st_to_f32(t, x);
    return x;
}

static void sounds_match(void)
{
    rlm_safetensors st;
    rlm_error err;
    rlm_par *par = NULL;
    rlm_ears *ears;
    rlm_heard h;
    int64_t n;
    CHECK(!rlm_st_open(&st, FIXTURE, &err) && !rlm_par_open(&par, 2, &err));
    CHECK(!rlm_ears_open(&ears, 16000, par, &err));
    float *x = wave(&st, "x", &n), *y = wave(&st, "y", &n);
    rlm_ears_score(ears, n, x, y, &h);
    CHECK_NEAR(rlm_si_sdr(n, x, y), golden(&st, "golden.si_sdr"), 1e-4);
    CHECK_NEAR(h.log_mel, golden(&st, "golden.log_mel"), 1e-3);
    CHECK_NEAR(h.stft, golden(&st, "golden.stft"), 1e-4);
    rlm_ears_score(ears, n, x, x, &h);
    CHECK(h.log_mel == 0 && h.stft == 0);
    memset(x, 0, (size_t)n * sizeof *x);
    rlm_ears_score(ears, n, x, y, &h);
    CHECK(isnan(h.stft) && h.log_mel > 0);
    rlm_ears_close(&ears);
    rlm_par_close(&par);
    rlm_st_close(&st);
    free(x);
    free(y);
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
    rlm_par *par = NULL;
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

static void more_noise_sounds_worse(void)
{
    rlm_safetensors st;
    rlm_error err;
    rlm_par *par = NULL;
    rlm_ears *ears;
    int64_t n;
    CHECK(!rlm_st_open(&st, FIXTURE, &err) && !rlm_par_open(&par, 1, &err));
    CHECK(!rlm_ears_open(&ears, 16000, par, &err));
    float *x = wave(&st, "x", &n), *y = malloc((size_t)n * sizeof *y);
    rlm_heard before = {0};
    double sdr = INFINITY;
    for (int level = 0; level < 5; level++) {
        rlm_heard h;
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] + (rlm_rng_uniform(3, 2, (uint64_t)i) - 0.5f) * 0.01f * (float)(1 << level);
        rlm_ears_score(ears, n, x, y, &h);
        CHECK(h.log_mel > before.log_mel && h.stft > before.stft && rlm_si_sdr(n, x, y) < sdr);
        before = h;
        sdr = rlm_si_sdr(n, x, y);
    }
    rlm_ears_close(&ears);
    rlm_par_close(&par);
    rlm_st_close(&st);
    free(x);
    free(y);
}

/* ---- Use of codes ---- */

#define HAS_NUMBER(o, key, value)                                                                  \
    CHECK_NEAR(cJSON_GetObjectItemCaseSensitive(o, key)->valuedouble, value, 1e-4)

static void bits_are_counted(void)
{
    /* bit 0 half the time; bit 1 its opposite; bit 2 never; bit 3 with bit 0 but for one code */
    int32_t ids[8] = {9, 2, 9, 2, 9, 2, 9, 10};
    rlm_codes codes = {.dims = {2, 2, 2}, .count = 8, .ids = ids};
    rlm_bit_use u = {.bits = 4};
    rlm_error err;
    CHECK(!rlm_bit_use_add(&u, &codes, &err) && !rlm_bit_use_add(&u, &codes, &err));
    cJSON *o = rlm_bit_use_json(&u);
    const cJSON *pair = cJSON_GetObjectItemCaseSensitive(o, "max_correlation_bits");
    HAS_NUMBER(o, "least_mean", 0);
    HAS_NUMBER(o, "most_mean", 0.625);
    HAS_NUMBER(o, "max_correlation", -1);
    HAS_NUMBER(o, "codes", 16);
    HAS_NUMBER(o, "different_codes", 3);
    CHECK(cJSON_GetArrayItem(pair, 0)->valueint == 0 && cJSON_GetArrayItem(pair, 1)->valueint == 1);
    cJSON_Delete(o);
    rlm_bit_use_free(&u);
}

static void codes_are_counted(void)
{
    int32_t ids[8] = {0, 1, 2, 3, 5, 5, 5, 5};
    rlm_codes codes = {.dims = {2, 4, 1}, .count = 8, .ids = ids};
    rlm_code_use u = {.levels = 2, .codes = 8};
    rlm_error err;
    CHECK(!rlm_code_use_add(&u, &codes, &err));
    cJSON *o = rlm_code_use_json(&u);
    const cJSON *used = cJSON_GetObjectItemCaseSensitive(o, "used");
    const cJSON *perplexity = cJSON_GetObjectItemCaseSensitive(o, "perplexity");
    CHECK_NEAR(cJSON_GetArrayItem(used, 0)->valuedouble, 0.5, 1e-9);
    CHECK_NEAR(cJSON_GetArrayItem(used, 1)->valuedouble, 0.125, 1e-9);
    CHECK_NEAR(cJSON_GetArrayItem(perplexity, 0)->valuedouble, 4, 1e-9);
    CHECK_NEAR(cJSON_GetArrayItem(perplexity, 1)->valuedouble, 1, 1e-9);
    cJSON_Delete(o);
    rlm_code_use_free(&u);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(pictures_match);
    TEST_CASE(sounds_match);
    TEST_CASE(perceptual_matches);
    TEST_CASE(perceptual_of_the_real_network);
    TEST_CASE(wrong_network_is_refused);
    TEST_CASE(equal_pictures_differ_by_nothing);
    TEST_CASE(more_noise_is_worse);
    TEST_CASE(more_noise_sounds_worse);
    TEST_CASE(bits_are_counted);
    TEST_CASE(codes_are_counted);
    return TEST_END();
}
