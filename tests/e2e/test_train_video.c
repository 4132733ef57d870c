/* The video loop from files to files: moving squares in, pixels that come closer, steps that
 * allocate nothing, a model that loads, and a run that goes on where it was stopped as if it had
 * not been. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/model_dir.h"
#include "src/reelm_train.h"
#include "tests/e2e/run_files.h"
#include "tests/folder.h"
#include "tests/test.h"

enum { FRAMES = 20, WIDTH = 160, HEIGHT = 144, STEPS = 24 };

/* A square that walks over a ramp. */
static void draw(uint8_t *rgb, int t, int kind)
{
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++, rgb += 3) {
            int inside = abs(x - 20 - t * (4 + kind)) < 20 && abs(y - 50 - 10 * kind) < 24;
            rgb[0] = (uint8_t)(inside ? 230 : 40 + y / 2);
            rgb[1] = (uint8_t)(inside ? 60 * kind : 90);
            rgb[2] = (uint8_t)(inside ? 30 : 60 + x / 2);
        }
}

static bool write_files(void)
{
    static const char *const NAMES[] = {"train/a.mp4", "train/b.mp4", "train/c.png",
                                        "train/d.png", "test/e.mp4",  "test/f.png"};
    rlm_error err;
    static uint8_t rgb[FRAMES * HEIGHT * WIDTH * 3];
    for (int i = 0; i < 6; i++) {
        char name[64];
        bool still = strstr(NAMES[i], ".png") != NULL;
        for (int t = 0; t < FRAMES; t++)
            draw(rgb + (size_t)t * HEIGHT * WIDTH * 3, t, i % 4);
        snprintf(name, sizeof name, "data/%s", NAMES[i]);
        rlm_clip clip = {.video = {.count = still ? 1 : FRAMES,
                                   .height = HEIGHT,
                                   .width = WIDTH,
                                   .fps_num = 8,
                                   .fps_den = 1,
                                   .rgb = rgb}};
        if (rlm_mkdirs(in_folder("data/train"), &err) || rlm_mkdirs(in_folder("data/test"), &err) ||
            rlm_media_write(in_folder(name), &clip, NULL, &err)) {
            fprintf(stderr, "%s\n", err.text);
            return false;
        }
    }
    return true;
}

typedef struct counts {
    int64_t step, allocs[STEPS];
} counts;

static int count_step(void *cookie, const char *line)
{
    counts *c = cookie;
    (void)line;
    if (c->step < STEPS)
        c->allocs[c->step++] = rlm_alloc_count();
    return 0;
}

static int train(const char *run, int resume, const char *init, counts *c, rlm_error *err)
{
    const char *data = in_folder("data");
    rlm_train_options o;
    rlm_train_defaults(&o, RLM_TRAIN_VIDEO);
    o.config = in_folder("config.json");
    o.data = &data;
    o.data_count = 1;
    o.run_dir = run;
    o.resume = resume;
    o.init = init;
    o.threads = 2;
    o.deterministic = 1;
    o.playground = 0; /* its pool is filled while training */
    o.progress = count_step;
    o.progress_cookie = c;
    return rlm_train(&o, err);
}

static const char CONFIG[] =
    "{\"what\": \"video\", \"network\": {\"bits\": 8, \"haar\": 1, \"factorised\": 1, "
    "\"levels\": 2, \"channels\": [8, 16], \"blocks\": [1, 1], \"down_t\": [1], \"down_s\": [2], "
    "\"mid_blocks\": 0, \"groups\": 4}, \"train\": {\"steps\": 24, \"batch\": 4, \"lr\": 0.003, "
    "\"muon_lr\": 0.01, \"warmup\": 4, \"ema\": 0.9, \"critic\": 0.75, \"checkpoint_every\": 12, "
    "\"validate_every\": 12, \"sample_every\": 24}}";

static void case_train_and_resume(void)
{
    rlm_error err = {0};
    double first, last;
    rlm_model m = {0};
    rlm_kernels k;
    counts c = {0}, rest = {0};
    const char *whole = in_folder("whole");
    const char *part = in_folder("part");
    CHECK(write_files());
    CHECK(rlm_file_write(in_folder("config.json"), CONFIG, sizeof CONFIG - 1, &err) == 0);
    CHECK(train(whole, 0, NULL, &c, &err) == 0);
    CHECK_STR(err.text, "");
    read_journal(whole, "loss", &first, &last);
    CHECK(first > 0 && last < 0.6 * first);
    /* files are read at first use, validation runs at 12 and 24: between them only steps */
    CHECK(c.step == STEPS && c.allocs[22] == c.allocs[13]);
    CHECK(rlm_kernels_init(&k, NULL, &err) == 0);
    CHECK(rlm_model_open(&m, in_folder("whole/model"), RLM_PART_VIDEO, &k, NULL, &err) == 0);
    CHECK(m.video != NULL && m.video_config.bits == 8);
    rlm_model_close(&m);
    CHECK(access(in_folder("whole/samples/step_0000024.png"), R_OK) == 0);
    CHECK(copy_checkpoint(whole, part, 12));
    CHECK(train(part, 1, NULL, &rest, &err) == 0);
    CHECK(rest.step == 12);
    CHECK(same_file(in_folder("whole/model/video.safetensors"),
                    in_folder("part/model/video.safetensors")));
}

/* What keeps a language model's codes valid: the encoder stays as it was, to the bit. */
static void case_decoder_only(void)
{
    rlm_error err = {0};
    counts c = {0};
    char before[160], after[160], config[1024];
    const char *run = in_folder("only");
    const char *init = in_folder("whole/model");
    snprintf(before, sizeof before, "%s/video.safetensors", init);
    snprintf(after, sizeof after, "%s/model/video.safetensors", run);
    snprintf(config, sizeof config, "%.*s, \"decoder_only\": 1, \"weight_decay\": 0.5}}",
             (int)sizeof CONFIG - 3, CONFIG);
    CHECK(rlm_file_write(in_folder("config.json"), config, strlen(config), &err) == 0);
    CHECK(train(run, 0, NULL, &c, &err) == RLM_E_ARG && strstr(err.text, "decoder_only"));
    CHECK(train(run, 0, init, &c, &err) == 0);
    CHECK(changed(before, after, "encoder.") == 0);
    CHECK(changed(before, after, "decoder.") > 0);
}

static void case_nothing_to_see(void)
{
    rlm_error err = {0};
    const char *data = in_folder("nothing");
    rlm_train_options o;
    CHECK(rlm_mkdirs(data, &err) == 0);
    const char *run = in_folder("none");
    rlm_train_defaults(&o, RLM_TRAIN_VIDEO);
    o.data = &data;
    o.data_count = 1;
    o.run_dir = run;
    CHECK(rlm_train(&o, &err) == RLM_E_ARG);
    CHECK_HAS(err.text, "no media");
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    if (!folder_open())
        return 1;
    TEST_CASE(case_train_and_resume);
    TEST_CASE(case_decoder_only);
    TEST_CASE(case_nothing_to_see);
    folder_close();
    return TEST_END();
}
