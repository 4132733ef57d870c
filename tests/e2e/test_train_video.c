/* The video loop from files to files: moving squares in, pixels that come closer, steps that
 * allocate nothing, a model that loads, and a run that goes on where it was stopped as if it had
 * not been. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/model_dir.h"
#include "src/reelm_train.h"
#include "tests/e2e/run_files.h"
#include "tests/test.h"

enum { FRAMES = 20, WIDTH = 160, HEIGHT = 144, STEPS = 24 };

static char root[64];

static const char *at(const char *name)
{
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", root, name);
    return path[turn];
}

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
        if (rlm_mkdirs(at("data/train"), &err) || rlm_mkdirs(at("data/test"), &err) ||
            rlm_media_write(at(name), &clip, NULL, &err)) {
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
    const char *data = at("data");
    rlm_train_options o;
    rlm_train_defaults(&o, RLM_TRAIN_VIDEO);
    o.config = at("config.json");
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

/* "loss" of the first and last line of a run's journal that have one. */
static void read_journal(const char *run, double *first, double *last)
{
    char path[300], line[1024];
    snprintf(path, sizeof path, "%s/metrics.jsonl", run);
    FILE *f = fopen(path, "r");
    *first = *last = 0;
    while (f && fgets(line, sizeof line, f)) {
        const char *loss = strstr(line, "\"loss\":");
        if (!loss)
            continue;
        *last = atof(loss + 7);
        if (*first == 0)
            *first = *last;
    }
    if (f)
        fclose(f);
}

/* A run directory that holds only the checkpoint of step 12 of run `whole`. */
static bool copy_older(const char *whole, const char *part)
{
    rlm_error err;
    const char *name = "checkpoints/step_0000012.safetensors";
    char *text = NULL, *file = NULL, list[256] = "", from[256], to[256], latest[256];
    size_t bytes, length;
    snprintf(from, sizeof from, "%s/%s", whole, name);
    snprintf(to, sizeof to, "%s/%s", part, name);
    snprintf(latest, sizeof latest, "%s/latest", part);
    bool ok = !rlm_file_read(at("whole/latest"), 4096, &text, &length, &err);
    const char *older = ok ? strstr(text, "step_0000012") : NULL;
    if (older)
        snprintf(list, sizeof list, "%.*s\n", (int)strcspn(older, "\n"), older);
    ok = older && !rlm_mkdirs(at("part/checkpoints"), &err) &&
         !rlm_file_read(from, 1 << 28, &file, &bytes, &err) &&
         !rlm_file_write(to, file, bytes, &err) &&
         !rlm_file_write(latest, list, strlen(list), &err);
    rlm_free(text);
    rlm_free(file);
    return ok;
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
    char whole[128], part[128];
    snprintf(whole, sizeof whole, "%s/whole", root);
    snprintf(part, sizeof part, "%s/part", root);
    CHECK(write_files());
    CHECK(rlm_file_write(at("config.json"), CONFIG, sizeof CONFIG - 1, &err) == 0);
    CHECK(train(whole, 0, NULL, &c, &err) == 0);
    CHECK_STR(err.text, "");
    read_journal(whole, &first, &last);
    CHECK(first > 0 && last < 0.6 * first);
    /* files are read at first use, validation runs at 12 and 24: between them only steps */
    CHECK(c.step == STEPS && c.allocs[22] == c.allocs[13]);
    CHECK(rlm_kernels_init(&k, NULL, &err) == 0);
    CHECK(rlm_model_open(&m, at("whole/model"), RLM_PART_VIDEO, &k, NULL, &err) == 0);
    CHECK(m.video != NULL && m.video_config.bits == 8);
    rlm_model_close(&m);
    CHECK(access(at("whole/samples/step_0000024.png"), R_OK) == 0);
    CHECK(copy_older(whole, part));
    CHECK(train(part, 1, NULL, &rest, &err) == 0);
    CHECK(rest.step == 12);
    CHECK(same_file(at("whole/model/video.safetensors"), at("part/model/video.safetensors")));
}

/* What keeps a language model's codes valid: the encoder stays as it was, to the bit. */
static void case_decoder_only(void)
{
    rlm_error err = {0};
    counts c = {0};
    char run[128], init[128], before[160], after[160], config[1024];
    snprintf(run, sizeof run, "%s/only", root);
    snprintf(init, sizeof init, "%s/whole/model", root);
    snprintf(before, sizeof before, "%s/video.safetensors", init);
    snprintf(after, sizeof after, "%s/model/video.safetensors", run);
    snprintf(config, sizeof config, "%.*s, \"decoder_only\": 1, \"weight_decay\": 0.5}}",
             (int)sizeof CONFIG - 3, CONFIG);
    CHECK(rlm_file_write(at("config.json"), config, strlen(config), &err) == 0);
    CHECK(train(run, 0, NULL, &c, &err) == RLM_E_ARG && strstr(err.text, "decoder_only"));
    CHECK(train(run, 0, init, &c, &err) == 0);
    CHECK(changed(before, after, "encoder.") == 0);
    CHECK(changed(before, after, "decoder.") > 0);
}

static void case_nothing_to_see(void)
{
    rlm_error err = {0};
    char run[128];
    const char *data = at("nothing");
    rlm_train_options o;
    CHECK(rlm_mkdirs(data, &err) == 0);
    snprintf(run, sizeof run, "%s/none", root);
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
    snprintf(root, sizeof root, "/tmp/reelm-train-video-XXXXXX");
    if (!mkdtemp(root))
        return 1;
    TEST_CASE(case_train_and_resume);
    TEST_CASE(case_decoder_only);
    TEST_CASE(case_nothing_to_see);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    if (system(command) != 0)
        fprintf(stderr, "%s stays\n", root);
    return TEST_END();
}
