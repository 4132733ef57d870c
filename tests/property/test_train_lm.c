/* Training of the language model from media files to a model directory: it learns, it resumes
 * exactly, and the token cache is used. Tokenizers are untrained: the codes need not be pretty. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/model_dir.h"
#include "src/reelm_train.h"
#include "src/train/train.h"
#include "tests/folder.h"
#include "tests/test.h"

enum { SIDE = 144, FRAMES = 9, RATE = 16000, CLIPS = 6 };

static void join(char out[512], const char *name)
{
    snprintf(out, 512, "%s/%s", folder, name);
}

/* A square that moves with the clip's own speed; every second clip has a tone. */
static void write_clip(const char *path, int which)
{
    static uint8_t rgb[FRAMES * SIDE * SIDE * 3];
    static float tone[RATE * 2];
    rlm_error err = {0};
    for (int t = 0; t < FRAMES; t++)
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                int left = 10 + which * t / 2;
                int inside = x >= left && x < left + 40 && y >= 50 && y < 90;
                uint8_t *p = rgb + ((t * SIDE + y) * SIDE + x) * 3;
                p[0] = p[1] = p[2] = inside ? 220 : 30;
            }
    for (int i = 0; i < RATE * 2; i++)
        tone[i] = 0.3f * sinf((float)i * (0.05f + 0.02f * (float)which));
    rlm_clip clip = {.video = {FRAMES, SIDE, SIDE, 8, 1, rgb}};
    if (which % 2)
        clip.audio = (rlm_pcm){RATE * 2, 1, RATE, tone};
    CHECK(rlm_media_write(path, &clip, NULL, &err) == 0);
}

static void write_data(void)
{
    char path[512], text[4096] = "";
    join(path, "data");
    CHECK(rlm_mkdirs(path, NULL) == 0);
    for (int i = 0; i < CLIPS; i++) {
        snprintf(path, sizeof path, "%s/data/clip%d.mp4", folder, i);
        write_clip(path, i);
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n,
                 "{\"file_name\": \"clip%d.mp4\", \"text\": \"a square moves at speed %d\"}\n", i,
                 i);
    }
    join(path, "data/metadata.jsonl");
    CHECK(rlm_file_write(path, text, strlen(text), NULL) == 0);
}

static void write_tokenizers(void)
{
    char dir[512];
    rlm_video_config vc;
    rlm_audio_config ac;
    rlm_video *video;
    rlm_audio *audio;
    rlm_params vp = {0}, ap = {0};
    rlm_error err = {0};
    join(dir, "model");
    CHECK(rlm_mkdirs(dir, &err) == 0);
    CHECK(rlm_config_read("assets/configs/video-tiny.json", &vc, NULL, NULL, &err) == 0);
    CHECK(rlm_config_read("assets/configs/audio-tiny.json", NULL, &ac, NULL, &err) == 0);
    CHECK(rlm_video_new(&video, &vc, &vp, &err) == 0);
    CHECK(rlm_audio_new(&audio, &ac, &ap, &err) == 0);
    CHECK(rlm_params_allocate(&vp, false, &err) == 0 && rlm_params_allocate(&ap, false, &err) == 0);
    rlm_params_initialise(&vp, 1);
    rlm_params_initialise(&ap, 2);
    CHECK(rlm_model_save_part(dir, RLM_PART_VIDEO, &vc, &vp, NULL, &err) == 0);
    CHECK(rlm_model_save_part(dir, RLM_PART_AUDIO, &ac, &ap, NULL, &err) == 0);
    CHECK(rlm_model_add_text(dir, "assets/models/default/text.model", &err) == 0);
    rlm_video_free(&video);
    rlm_audio_free(&audio);
    rlm_params_free(&vp);
    rlm_params_free(&ap);
}

/* Train `steps` steps into run; stop after `until` (a run cut short, to be resumed). */
static int cut_at(void *cookie, const char *line)
{
    int until = *(const int *)cookie, step = 0;
    return sscanf(line, "step %d", &step) == 1 && step >= until;
}

static void run_or_dump(const char *run, int steps, int until, int resume, const char *config,
                        double playground, const char *dump)
{
    char run_dir[512], model_dir[512], data[512];
    const char *dirs[] = {data};
    rlm_train_options o;
    rlm_error err = {0};
    join(run_dir, run);
    join(model_dir, "model");
    join(data, "data");
    rlm_train_defaults(&o, RLM_TRAIN_LM);
    o.config = config;
    o.data = dirs;
    o.data_count = playground < 1;
    o.run_dir = run_dir;
    o.model_dir = model_dir;
    o.steps = steps;
    o.resume = resume;
    o.threads = 2;
    o.deterministic = 1;
    o.playground = playground;
    o.dump = dump;
    o.progress = until ? cut_at : NULL;
    o.progress_cookie = &until;
    int code = rlm_train(&o, &err);
    if (code)
        fprintf(stderr, "%s\n", err.text);
    CHECK(code == 0);
}

static void run_on(const char *run, int steps, int until, int resume, const char *config,
                   double playground)
{
    run_or_dump(run, steps, until, resume, config, playground, NULL);
}

static void run_lm(const char *run, int steps, int until, int resume)
{
    run_on(run, steps, until, resume, "assets/configs/lm-tiny.json", 0);
}

static void hash_of(const char *name, char out[65])
{
    char path[512];
    rlm_map map;
    join(path, name);
    out[0] = 0;
    CHECK(rlm_map_open(&map, path, NULL) == 0);
    rlm_sha256_hex(map.data, map.bytes, out);
    rlm_map_close(&map);
}

/* First and last "key" of a run's metrics. */
static void ends_of(const char *run, const char *key, double *first, double *last)
{
    char path[512], name[64], *text;
    size_t bytes;
    snprintf(path, sizeof path, "%s/%s/metrics.jsonl", folder, run);
    snprintf(name, sizeof name, "\"%s\":", key);
    *first = *last = NAN;
    CHECK(rlm_file_read(path, 1 << 20, &text, &bytes, NULL) == 0);
    for (char *p = text; (p = strstr(p, name)); p++) {
        *last = strtod(p + strlen(name), NULL);
        *first = isnan(*first) ? *last : *first;
    }
    rlm_free(text);
}

static int exists(const char *name)
{
    char path[512];
    join(path, name);
    return access(path, R_OK) == 0;
}

static void test_learns(void)
{
    double first, last;
    run_lm("whole", 40, 0, 0);
    ends_of("whole", "loss", &first, &last);
    CHECK(last < first - 1.0);
    ends_of("whole", "unigram_video", &first, &last);
    CHECK(first > 0);
    CHECK(exists("whole/model/lm.safetensors") && exists("whole/model/text.model"));
    CHECK(exists("whole/samples/step_0000040_0.mp4"));
    rlm_model m;
    rlm_kernels k;
    rlm_error err = {0};
    char dir[512];
    join(dir, "whole/model");
    CHECK(rlm_kernels_init(&k, NULL, &err) == 0);
    int code = rlm_model_open(&m, dir, RLM_PART_ALL, &k, NULL, &err);
    CHECK_STR(code ? err.text : "", "");
    if (code)
        return;
    CHECK(m.lm && m.lm_config.text_pieces == 2048);
    rlm_model_close(&m);
}

static void test_resumes(void)
{
    char whole[65], parts[65];
    run_lm("parts", 40, 20, 0);
    run_lm("parts", 40, 0, 1);
    hash_of("whole/model/lm.safetensors", whole);
    hash_of("parts/model/lm.safetensors", parts);
    CHECK_STR(parts, whole);
}

/* Blocks computed again in backward: less is kept, the bits are the same. */
static void test_recomputes(void)
{
    char config[512], *text, whole[65], anew[65];
    size_t bytes;
    join(config, "recompute.json");
    CHECK(rlm_file_read("assets/configs/lm-tiny.json", 1 << 16, &text, &bytes, NULL) == 0);
    char *train = strstr(text, "\"train\": {");
    CHECK(train != NULL);
    FILE *f = fopen(config, "w");
    CHECK(f != NULL);
    if (train && f) {
        train += strlen("\"train\": {");
        fprintf(f, "%.*s\"recompute\": 1,%s", (int)(train - text), text, train);
        fclose(f);
        run_on("anew", 40, 0, 0, config, 0);
    }
    hash_of("whole/model/lm.safetensors", whole);
    hash_of("anew/model/lm.safetensors", anew);
    CHECK_STR(anew, whole);
    rlm_free(text);
}

/* Damaged cache files are encoded again. */
static void test_cache(void)
{
    char path[512], name[768], whole[65], again[65];
    struct dirent *e;
    int files = 0;
    join(path, "whole/tokens");
    DIR *d = opendir(path);
    CHECK(d != NULL);
    while (d && (e = readdir(d)))
        if (strstr(e->d_name, ".safetensors")) {
            snprintf(name, sizeof name, "%s/%s", path, e->d_name);
            if (files++ % 2)
                CHECK(truncate(name, 100) == 0);
        }
    if (d)
        closedir(d);
    CHECK(files == CLIPS);
    snprintf(name, sizeof name, "rm -rf %s/again && mkdir %s/again && cp -r %s %s/again/", folder,
             folder, path, folder);
    CHECK(system(name) == 0);
    run_lm("again", 40, 0, 0);
    hash_of("whole/model/lm.safetensors", whole);
    hash_of("again/model/lm.safetensors", again);
    CHECK_STR(again, whole);
}

/* Clips of the playground, alone and beside files: every kind of task has them, the validation
 * tells both sources apart, a run cut short goes on as if it had not been. */
static void test_playground(void)
{
    static const char recipe[] = "{\"network\": {\"preset\": \"tiny\"}, \"train\": {\"batch\": 2, "
                                 "\"lr\": 0.003, \"warmup\": 2, \"ema\": 0.9, \"world_clips\": 5, "
                                 "\"world_stills\": 3}}";
    char config[512], whole[65], parts[65];
    double first, last;
    join(config, "world.json");
    CHECK(rlm_file_write(config, recipe, sizeof recipe - 1, NULL) == 0);
    run_on("world", 12, 0, 0, config, 1);
    run_on("world_parts", 12, 6, 0, config, 1);
    ends_of("world_parts", "step", &first, &last);
    CHECK(first == 0 && last == 6); /* it stops at once when asked to */
    run_on("world_parts", 12, 0, 1, config, 1);
    hash_of("world/model/lm.safetensors", whole);
    hash_of("world_parts/model/lm.safetensors", parts);
    CHECK_STR(parts, whole);
    static const char *const keys[] = {"val_world_video", "val_world_sound", "val_world_predict",
                                       "val_world_image", "val_world_stylize"};
    for (int i = 0; i < 5; i++) {
        ends_of("world", keys[i], &first, &last);
        CHECK(last > 0 && last < 20);
    }
    ends_of("world", "val_video", &first, &last);
    CHECK(!(last > 0)); /* there are no files */
    run_on("both", 4, 0, 0, config, 0.5);
    ends_of("both", "val_world_sound", &first, &last);
    CHECK(last > 0);
}

static const int32_t *dumped(const rlm_safetensors *st, const char *name, int64_t rows, int columns)
{
    const rlm_tensor *t = rlm_st_find(st, name);
    CHECK(t && t->dtype == RLM_I32 && rlm_tensor_count(t) > 0);
    if (!t || (rows && rlm_tensor_count(t) != rows * columns))
        return TEST_FAILED("%s: not %lld x %d", name, (long long)rows, columns), NULL;
    return t->data;
}

/* The run of test_playground as a file: 5 clips and 3 stills to train on, 5 clips to validate; its
 * sequences are those that the trainer builds (twin_lm_data.py compares them with its own). */
static void test_dump(void)
{
    char config[512], path[512];
    rlm_safetensors st;
    rlm_error err = {0};
    join(config, "world.json");
    join(path, "world.dump");
    run_or_dump("dumped", 12, 0, 0, config, 1, path);
    CHECK(!exists("dumped/checkpoints"));
    CHECK(rlm_st_open(&st, path, &err) == 0);
    const int32_t *clips = dumped(&st, "clips", 13, 3), *views = dumped(&st, "views", 13, 6);
    int64_t codes = 0, text = 0, counted = 0;
    for (int i = 0; clips && views && i < 13; i++) {
        const int32_t *v = views + 6 * i;
        CHECK(clips[3 * i] == RLM_SOURCE_PLAYGROUND && clips[3 * i + 1] == (i >= 8));
        CHECK(clips[3 * i + 2] == 1 && v[0] == (i >= 5 && i < 8 ? 1 : 5));
        CHECK(v[5] == (i >= 8 || i == 0 || i == 3)); /* controls */
        codes += (int64_t)v[0] * v[1] * v[2] * (1 + v[5]) + (int64_t)v[3] * v[4];
    }
    CHECK(dumped(&st, "codes", codes, 1) != NULL);
    const int32_t *counts = dumped(&st, "text_count", 13, 8);
    for (int i = 0; counts && i < 13 * 8; i++)
        text += counts[i];
    CHECK(dumped(&st, "text", text, 1) != NULL);
    const int32_t *rows = dumped(&st, "sequences", 0, 4);
    int64_t n = rlm_tensor_count(rlm_st_find(&st, "sequences")) / 4;
    CHECK(n == 50); /* 10 kinds of 5 clips */
    for (int64_t i = 0; rows && i < n; i++)
        counted += rows[4 * i + 3];
    CHECK(dumped(&st, "ids", counted, 1) && dumped(&st, "pos", counted, 3));
    CHECK(dumped(&st, "target", counted, 1) != NULL);
    rlm_st_close(&st);
}

/* A run that starts at scene 2 has the captions and pictures that a run from scene 0 has there, so
 * that several machines can share the scenes out. */
static void test_first_scene(void)
{
    static const char recipe[] = "{\"network\": {\"preset\": \"tiny\"}, \"train\": {\"batch\": 2, "
                                 "\"world_clips\": 1, \"world_first\": 2}}";
    char config[512], path[512];
    rlm_safetensors all, later;
    rlm_error err = {0};
    join(config, "later.json");
    CHECK(rlm_file_write(config, recipe, sizeof recipe - 1, NULL) == 0);
    join(path, "later.dump");
    run_or_dump("later", 1, 0, 0, config, 1, path);
    CHECK(rlm_st_open(&later, path, &err) == 0);
    join(path, "world.dump");
    CHECK(rlm_st_open(&all, path, &err) == 0);
    const int32_t *views = dumped(&all, "views", 13, 6), *codes = dumped(&all, "codes", 0, 1);
    const int32_t *counts = dumped(&all, "text_count", 13, 8), *text = dumped(&all, "text", 0, 1);
    const int32_t *mine = dumped(&later, "codes", 0, 1), *said = dumped(&later, "text", 0, 1);
    const int32_t *lengths = dumped(&later, "text_count", 2, 8);
    if (!views || !codes || !counts || !text || !mine || !said || !lengths)
        return;
    int64_t words = 0, video = (int64_t)views[0] * views[1] * views[2];
    for (int i = 0; i < 2; i++) {
        const int32_t *v = views + 6 * i;
        codes += (int64_t)v[0] * v[1] * v[2] * (1 + v[5]) + (int64_t)v[3] * v[4];
        for (int k = 0; k < 8; k++)
            text += counts[8 * i + k];
    }
    for (int k = 0; k < 8; k++)
        words += lengths[k];
    CHECK(memcmp(lengths, counts + 16, 8 * sizeof *lengths) == 0);
    CHECK(words > 0 && memcmp(said, text, (size_t)words * sizeof *said) == 0);
    CHECK(memcmp(mine, codes, (size_t)video * sizeof *mine) == 0);
    rlm_st_close(&all);
    rlm_st_close(&later);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    if (!folder_open())
        return 1;
    write_data();
    write_tokenizers();
    TEST_CASE(test_learns);
    TEST_CASE(test_resumes);
    TEST_CASE(test_recomputes);
    TEST_CASE(test_cache);
    TEST_CASE(test_playground);
    TEST_CASE(test_dump);
    TEST_CASE(test_first_scene);
    folder_close();
    return TEST_END();
}
