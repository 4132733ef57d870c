/* A training config or a model directory's config.json: what passes the checks makes networks
 * (their declarations; no memory for weights), and a recipe. */
#include "tests/fuzz/fuzz.h"

#include "src/train/train.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);
    rlm_video_config v;
    rlm_audio_config a;
    rlm_lm_config l;
    rlm_error err = {0};
    rlm_video_config_defaults(&v);
    rlm_audio_config_defaults(&a);
    rlm_lm_config_defaults(&l);
    if (!rlm_config_read(path, &v, NULL, NULL, &err)) {
        rlm_video *net = NULL;
        rlm_params p = {0};
        rlm_video_new(&net, &v, &p, NULL);
        rlm_video_free(&net);
        rlm_params_free(&p);
    }
    FUZZ_CHECK(!err.code || err.text[0]);
    if (!rlm_config_read(path, NULL, &a, NULL, NULL)) {
        rlm_audio *net = NULL;
        rlm_params p = {0};
        rlm_audio_new(&net, &a, &p, NULL);
        rlm_audio_free(&net);
        rlm_params_free(&p);
    }
    if (!rlm_config_read(path, NULL, NULL, &l, NULL)) {
        rlm_lm *net = NULL;
        rlm_params p = {0};
        rlm_lm_new(&net, &l, &p, NULL);
        rlm_lm_free(&net);
        rlm_params_free(&p);
    }
    rlm_train_options o;
    rlm_recipe r;
    rlm_train_defaults(&o, RLM_TRAIN_LM);
    o.config = path;
    if (!rlm_recipe_load(&r, &o, NULL))
        FUZZ_CHECK(r.steps >= 1 && r.batch >= 1 && r.lr >= 0);
    return 0;
}
