/* The recipe: built-in defaults, then the "train" object of a config file, then the caller's
 * options. */
#include "src/json_fields.h"
#include "src/train/train.h"

#include <cjson/cJSON.h>
#include <string.h>

/* clang-format off */
#define RECIPE(kind, field, low, high) \
    {#field, kind, offsetof(rlm_recipe, field), low, high, 0, 0, 0}
/* clang-format on */
static const rlm_field FIELDS[] = {
    RECIPE(RLM_FIELD_I64, steps, 1, 1e9),
    RECIPE(RLM_FIELD_INT, batch, 1, 65536),
    RECIPE(RLM_FIELD_INT, accumulate, 1, 4096),
    RECIPE(RLM_FIELD_DOUBLE, lr, 0, 10),
    RECIPE(RLM_FIELD_DOUBLE, muon_lr, 0, 10),
    RECIPE(RLM_FIELD_DOUBLE, beta1, 0, 0.9999999),
    RECIPE(RLM_FIELD_DOUBLE, beta2, 0, 0.9999999),
    RECIPE(RLM_FIELD_DOUBLE, eps, 1e-20, 1),
    RECIPE(RLM_FIELD_DOUBLE, weight_decay, 0, 10),
    RECIPE(RLM_FIELD_DOUBLE, clip, 0, 1e9),
    RECIPE(RLM_FIELD_DOUBLE, ema, 0, 0.9999999),
    RECIPE(RLM_FIELD_I64, warmup, 0, 1e9),
    RECIPE(RLM_FIELD_DOUBLE, decay, 0, 1),
    RECIPE(RLM_FIELD_INT, muon, 0, 1),
    RECIPE(RLM_FIELD_INT, checkpoint_every, 0, 1e9),
    RECIPE(RLM_FIELD_INT, sample_every, 0, 1e9),
    RECIPE(RLM_FIELD_INT, validate_every, 0, 1e9),
    RECIPE(RLM_FIELD_INT, keep, 1, 64),
    RECIPE(RLM_FIELD_DOUBLE, playground, 0, 1),
    RECIPE(RLM_FIELD_INT, world_clips, 0, 1e6),
    RECIPE(RLM_FIELD_INT, world_stills, 0, 1e6),
    RECIPE(RLM_FIELD_I64, world_first, 0, 1e12),
    RECIPE(RLM_FIELD_DOUBLE, perceptual, 0, 100),
    RECIPE(RLM_FIELD_INT, recompute, 0, 1),
    RECIPE(RLM_FIELD_DOUBLE, stft, 0, 100),
    RECIPE(RLM_FIELD_DOUBLE, critic, 0, 1),
    RECIPE(RLM_FIELD_INT, decoder_only, 0, 1),
    RECIPE(RLM_FIELD_I64, seed, 0, 9007199254740992.0),
};
#undef RECIPE
enum { FIELD_COUNT = sizeof FIELDS / sizeof *FIELDS };

void rlm_recipe_defaults(rlm_recipe *r, int what)
{
    *r = (rlm_recipe){.steps = 20000,
                      .batch = 8,
                      .accumulate = 1,
                      .lr = 3e-4,
                      .beta1 = 0.9,
                      .beta2 = 0.99,
                      .eps = 1e-8,
                      .weight_decay = 0.01,
                      .clip = 1.0,
                      .ema = 0.999,
                      .warmup = 200,
                      .decay = 0.2,
                      .checkpoint_every = 500,
                      .sample_every = 1000,
                      .validate_every = 500,
                      .keep = 2,
                      .playground = 0.5,
                      .world_clips = 4096,
                      .seed = 1};
    if (what == RLM_TRAIN_VIDEO) { /* as assets/configs/video-default.json */
        r->batch = 4;
        r->lr = 1e-3;
        r->muon = 1;
        r->muon_lr = 3e-3;
        r->beta2 = 0.95;
        r->warmup = 30;
        r->decay = 0.3;
        r->ema = 0.998;
        r->validate_every = 500;
        r->sample_every = 500;
        r->playground = 0.25;
    }
    if (what == RLM_TRAIN_AUDIO) {
        r->batch = 8;
        r->lr = 1e-3;
        r->muon = 1;
        r->muon_lr = 3e-3;
        r->critic = 0;
        r->playground = 0;
    }
    if (what == RLM_TRAIN_LM) {
        r->lr = 1e-3;
        r->beta2 = 0.95;
        r->weight_decay = 0.1;
        r->muon = 1;
    }
}

void rlm_train_defaults(rlm_train_options *o, int what)
{
    memset(o, 0, sizeof *o);
    o->what = what;
    o->playground = -1;
}

static int read_file(rlm_recipe *r, const char *path, rlm_error *err)
{
    void *root;
    char where[256];
    RLM_TRY(rlm_json_read(path, &root, err));
    const cJSON *train = cJSON_GetObjectItemCaseSensitive(root, "train");
    snprintf(where, sizeof where, "%s: \"train\"", path);
    int code = train ? rlm_fields_read(train, FIELDS, FIELD_COUNT, r, where, err) : 0;
    rlm_json_free(root);
    return code;
}

int rlm_recipe_load(rlm_recipe *r, const rlm_train_options *o, rlm_error *err)
{
    rlm_recipe_defaults(r, o->what);
    if (o->config)
        RLM_TRY(read_file(r, o->config, err));
    if (o->steps < 0 || o->batch < 0 || o->lr < 0 || o->playground > 1)
        return rlm_fail(err, RLM_E_RANGE,
                        "train: steps %lld, batch %d, lr %g (none below 0), "
                        "playground %g (at most 1)",
                        (long long)o->steps, o->batch, o->lr, o->playground);
    if (o->steps > 0)
        r->steps = o->steps;
    if (o->batch > 0)
        r->batch = o->batch;
    if (o->lr > 0)
        r->lr = o->lr;
    if (o->seed)
        r->seed = o->seed;
    if (o->checkpoint_every > 0)
        r->checkpoint_every = o->checkpoint_every;
    if (o->sample_every > 0)
        r->sample_every = o->sample_every;
    if (o->validate_every > 0)
        r->validate_every = o->validate_every;
    if (o->playground >= 0)
        r->playground = o->playground;
    return 0;
}
