/* The audio loop from files to files: tones in, a loss that falls, a model that loads, and a run
 * that goes on where it was stopped as if it had not been. */
#include "src/model_dir.h"
#include "src/reelm_train.h"
#include "tests/e2e/run_files.h"
#include "tests/folder.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILES = 24, RATE = 16000, SECONDS = 2 };

static bool write_tones(void)
{
    rlm_error err;
    static float wave[RATE * SECONDS];
    for (int f = 0; f < FILES; f++) {
        char name[64];
        for (int i = 0; i < RATE * SECONDS; i++)
            wave[i] =
                0.4f * sinf(0.02f * (float)(f + 2) * (float)i) * (float)((i / 4000 + f) % 3 != 0);
        snprintf(name, sizeof name, "data/tone%02d.wav", f);
        rlm_clip clip = {
            .audio = {.count = RATE * SECONDS, .channels = 1, .rate = RATE, .samples = wave}};
        if (rlm_mkdirs(in_folder("data"), &err) ||
            rlm_media_write(in_folder(name), &clip, NULL, &err))
            return false;
    }
    return true;
}

static int train(const char *run, int64_t steps, int resume, const char *init, rlm_error *err)
{
    const char *data = in_folder("data");
    rlm_train_options o;
    rlm_train_defaults(&o, RLM_TRAIN_AUDIO);
    o.config = in_folder("config.json");
    o.data = &data;
    o.data_count = 1;
    o.run_dir = run;
    o.steps = steps;
    o.resume = resume;
    o.init = init;
    o.threads = 2;
    o.deterministic = 1;
    return rlm_train(&o, err);
}

static const char CONFIG[] =
    "{\"what\": \"audio\", \"network\": {\"preset\": \"tiny\"}, \"train\": {\"steps\": 40, "
    "\"batch\": 2, \"lr\": 0.003, \"muon_lr\": 0.01, \"warmup\": 4, \"ema\": 0.9, \"critic\": 0.2, "
    "\"checkpoint_every\": 20, \"validate_every\": 40, \"sample_every\": 40}}";

static void case_train_and_resume(void)
{
    rlm_error err = {0};
    double first, last;
    rlm_model m = {0};
    rlm_kernels k;
    CHECK(write_tones());
    CHECK(rlm_file_write(in_folder("config.json"), CONFIG, sizeof CONFIG - 1, &err) == 0);
    const char *whole = in_folder("whole");
    const char *part = in_folder("part");
    CHECK(train(whole, 0, 0, NULL, &err) == 0);
    CHECK_STR(err.text, "");
    read_journal(whole, "mel", &first, &last);
    CHECK(first > 0 && last < 0.75 * first);
    CHECK(rlm_kernels_init(&k, NULL, &err) == 0);
    CHECK(rlm_model_open(&m, in_folder("whole/model"), RLM_PART_AUDIO, &k, NULL, &err) == 0);
    CHECK(m.audio != NULL && m.audio_config.codes == 64);
    rlm_model_close(&m);
    CHECK(access(in_folder("whole/model/audio.safetensors"), R_OK) == 0);
    CHECK(copy_checkpoint(whole, part, 20));
    CHECK(train(part, 0, 1, NULL, &err) == 0);
    CHECK(same_file(in_folder("whole/model/audio.safetensors"),
                    in_folder("part/model/audio.safetensors")));
}

/* A run killed behind its last checkpoint has no step left that would write its model. */
static void case_killed_at_the_end(void)
{
    rlm_error err = {0};
    const char *whole = in_folder("whole");
    CHECK(rename(in_folder("whole/model/audio.safetensors"), in_folder("old.safetensors")) == 0);
    CHECK(rlm_file_write(in_folder("whole/latest.tmp.2147483646"), "x", 1, &err) == 0);
    CHECK(train(whole, 0, 1, NULL, &err) == 0);
    CHECK(same_file(in_folder("whole/model/audio.safetensors"), in_folder("old.safetensors")));
    CHECK(access(in_folder("whole/latest.tmp.2147483646"), F_OK) != 0);
}

/* What keeps a language model's codes valid: encoder and codebooks stay as they were, to the bit.
 */
static void case_decoder_only(void)
{
    static const char ONLY[] =
        "{\"what\": \"audio\", \"network\": {\"preset\": \"tiny\"}, \"train\": {\"steps\": 8, "
        "\"batch\": 2, \"warmup\": 2, \"ema\": 0.9, \"weight_decay\": 0.5, \"decoder_only\": 1}}";
    rlm_error err = {0};
    const char *run = in_folder("only");
    const char *init = in_folder("whole/model");
    const char *before = in_folder("whole/model/audio.safetensors");
    const char *after = in_folder("only/model/audio.safetensors");
    CHECK(rlm_file_write(in_folder("config.json"), ONLY, sizeof ONLY - 1, &err) == 0);
    CHECK(train(run, 0, 0, NULL, &err) != 0 && strstr(err.text, "decoder_only"));
    CHECK(train(run, 0, 0, init, &err) == 0);
    CHECK(changed(before, after, "encoder.") == 0);
    CHECK(changed(before, after, "rvq.books") == 0);
    CHECK(changed(before, after, "decoder.") > 0);
}

static void case_nothing_to_hear(void)
{
    rlm_error err = {0};
    const char *run = in_folder("none");
    const char *data = in_folder("empty");
    rlm_train_options o;
    CHECK(rlm_mkdirs(data, &err) == 0);
    rlm_train_defaults(&o, RLM_TRAIN_AUDIO);
    o.data = &data;
    o.data_count = 1;
    o.run_dir = run;
    CHECK(rlm_train(&o, &err) != 0 && err.text[0] != 0);
}

int main(int argc, char **argv)
{
    if (!folder_open())
        return 1;
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_train_and_resume);
    TEST_CASE(case_killed_at_the_end);
    TEST_CASE(case_decoder_only);
    TEST_CASE(case_nothing_to_hear);
    folder_close();
    return TEST_END();
}
