/* The tiny codec against the NumPy twin (twin_audio.py): latent, codes, sum of codes, wave. */
#include "tests/test.h"
#include "tokenizers/audio.h"

#include <stdlib.h>

static const char *const FIXTURE = "tests/golden/audio_tiny.safetensors";

typedef struct net {
    rlm_kernels k;
    rlm_par *par;
    rlm_arena arena;
    rlm_run run;
    rlm_params params;
    rlm_audio *audio;
    rlm_safetensors st;
} net;

static bool open_net(net *m, const char *mask)
{
    rlm_audio_config c;
    rlm_error err;
    memset(m, 0, sizeof *m);
    rlm_audio_config_tiny(&c);
    if (rlm_kernels_init(&m->k, mask, &err) || rlm_par_open(&m->par, 1, &err) ||
        rlm_arena_reserve(&m->arena, 1 << 24, &err) || rlm_arena_commit(&m->arena, 1 << 24, &err) ||
        rlm_audio_new(&m->audio, &c, &m->params, &err) ||
        rlm_params_allocate(&m->params, false, &err) || rlm_st_open(&m->st, FIXTURE, &err) ||
        rlm_params_load(&m->params, &m->st, "", &err) ||
        rlm_params_pack(&m->params, &m->k, NULL, false, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return false;
    }
    m->run = (rlm_run){.k = &m->k, .arena = &m->arena, .par = m->par};
    return true;
}

static void close_net(net *m)
{
    rlm_st_close(&m->st);
    rlm_audio_free(&m->audio);
    rlm_params_free(&m->params);
    rlm_arena_release(&m->arena);
    rlm_par_close(&m->par);
}

static float *golden(const net *m, const char *name, int64_t *count)
{
    const rlm_tensor *t = rlm_st_find(&m->st, name);
    CHECK(t != NULL);
    *count = rlm_tensor_count(t);
    float *x = malloc((size_t)*count * sizeof *x);
    rlm_st_to_f32(t, x);
    return x;
}

/* Energy of the difference over the energy of the expected. */
static double relative_error(int64_t n, const float *found, const float *expected)
{
    double d = 0, e = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        d += (double)(found[i] - expected[i]) * (found[i] - expected[i]);
        e += (double)expected[i] * expected[i];
    }
    return d / e;
}

static void compare(const char *mask, double tolerance, bool exact_codes)
{
    net m;
    if (!open_net(&m, mask)) {
        CHECK(!"network");
        return;
    }
    int64_t samples, latents, codes, sums, outs;
    float *wave = golden(&m, "golden.wave", &samples);
    float *latent = golden(&m, "golden.latent", &latents);
    float *ids = golden(&m, "golden.ids", &codes);
    float *sum = golden(&m, "golden.quantised", &sums);
    float *out = golden(&m, "golden.out", &outs);
    const rlm_audio_config *c = rlm_audio_get_config(m.audio);
    int64_t frames = latents / c->dim;
    rlm_tensor x = rlm_tensor_view(wave, RLM_F32, 5, (int64_t[5]){1, 1, 1, samples, 1});
    rlm_tensor z = rlm_audio_encode_forward(&m.run, m.audio, &x);
    CHECK(rlm_tensor_count(&z) == latents && outs == samples && codes == frames * c->levels);
    CHECK_NEAR(relative_error(latents, rlm_f32(&z), latent), 0, tolerance);
    int32_t *mine = malloc((size_t)codes * sizeof *mine);
    float *q = malloc((size_t)sums * sizeof *q);
    rlm_audio_quantise(&m.run, m.audio, c->levels, frames, latent, mine, q);
    int64_t other = 0;
    for (int64_t i = 0; i < codes; i++)
        other += mine[i] != (int32_t)ids[i];
    CHECK(!exact_codes || other == 0);
    CHECK(exact_codes || other <= codes / 20);
    if (!other)
        CHECK_NEAR(relative_error(sums, q, sum), 0, 1e-12);
    rlm_tensor s = rlm_tensor_view(sum, RLM_F32, 5, (int64_t[5]){1, 1, 1, frames, c->dim});
    rlm_tensor y = rlm_audio_decode_forward(&m.run, m.audio, &s);
    CHECK_NEAR(relative_error(outs, rlm_f32(&y), out), 0, tolerance);
    free(mine);
    free(q);
    free(wave);
    free(latent);
    free(ids);
    free(sum);
    free(out);
    close_net(&m);
}

static void case_reference(void)
{
    compare("ref", 1e-10, true);
}

static void case_best(void)
{
    compare(NULL, 1e-3, false);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_reference);
    TEST_CASE(case_best);
    return TEST_END();
}
