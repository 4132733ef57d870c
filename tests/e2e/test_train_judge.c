/* The judge's loop: it learns, its weights open as a judge, and a run that was stopped goes on as
 * if it had not been, mirrored replays included. */
#include <stdio.h>
#include <stdlib.h>

#include "src/train/judge.h"
#include "tests/e2e/run_files.h"
#include "tests/folder.h"
#include "tests/test.h"

enum { STEPS = 22, STOP = 19 }; /* replays begin with the 17th batch */

static const char CONFIG[] =
    "{\"what\": \"judge\", \"network\": {\"width\": [16, 16, 16], \"blocks\": [1, 1, 1], "
    "\"layers\": 1, \"heads\": 1, \"sound\": 8, \"sound_blocks\": 1}, \"train\": {\"steps\": 22, "
    "\"batch\": 1, \"accumulate\": 2, \"lr\": 0.003, \"muon\": 1, \"muon_lr\": 0.01, \"warmup\": "
    "2, \"ema\": 0.9, \"checkpoint_every\": 100, \"validate_every\": 100, \"sample_every\": 100}}";

static int stop_at(void *cookie, const char *line)
{
    const int *step = cookie;
    return atoi(strstr(line, "step ") + 5) >= *step;
}

static int train(const char *run, int resume, int stop, rlm_error *err)
{
    rlm_train_options o;
    rlm_train_defaults(&o, RLM_TRAIN_JUDGE);
    o.config = in_folder("config.json");
    o.run_dir = run;
    o.resume = resume;
    o.threads = 1;
    o.deterministic = 1;
    o.progress = stop_at;
    o.progress_cookie = &stop;
    return rlm_train(&o, err);
}

static void case_train_and_resume(void)
{
    rlm_error err = {0};
    const char *whole = in_folder("whole"), *part = in_folder("part");
    const char *weights = in_folder("whole/model/judge.safetensors");
    CHECK(rlm_file_write(in_folder("config.json"), CONFIG, sizeof CONFIG - 1, &err) == 0);
    CHECK(train(whole, 0, 1000, &err) == 0);
    CHECK(train(part, 0, STOP, &err) == 0);
    CHECK(train(part, 1, 1000, &err) == 0);
    CHECK_STR(err.text, "");
    CHECK(same_file(weights, in_folder("part/model/judge.safetensors")));
    rlm_judge *judge = NULL;
    CHECK(rlm_judge_load(&judge, weights, 1, NULL, &err) == 0);
    CHECK(judge && judge->config.width[0] == 16 && judge->config.sound == 8);
    rlm_judge_close(&judge);
    /* What it says is worth nothing yet, and it is not asked. */
    const char *input = "tests/bad";
    char *json = NULL;
    rlm_eval_world_options o;
    rlm_eval_world_defaults(&o);
    o.judge = weights;
    o.inputs = &input;
    o.input_count = 1;
    CHECK(rlm_eval_world(&o, &json, &err) == RLM_E_MODEL && !json);
    CHECK_HAS(err.text, "--certify");
    o.input_count = 0;
    o.count = 4;
    o.certify = 1;
    CHECK(rlm_eval_world(&o, &json, &err) == RLM_E_MODEL && !json);
    CHECK_HAS(err.text, "needed");
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    if (!folder_open())
        return 1;
    TEST_CASE(case_train_and_resume);
    folder_close();
    return TEST_END();
}
