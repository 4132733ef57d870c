/* Datasets, loader, journal, recipe, and the codes of clips. */
#include "src/train/lm_train.h"
#include "src/train/train.h"
#include "src/train/video_train.h"

#include "src/base/rng.h"
#include "tests/folder.h"
#include "tests/small_video.h"
#include "tests/test.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

static void write_text(const char *name, const char *text)
{
    rlm_error err = {0};
    const char *path = in_folder(name);
    if (rlm_file_write(path, text, strlen(text), &err))
        TEST_FAILED("%s", err.text);
}

static void make_dir(const char *name)
{
    const char *path = in_folder(name);
    CHECK(rlm_mkdirs(path, NULL) == 0);
}

/* ---- Datasets ---- */

typedef struct said {
    int lines;
    char last[256];
} said;

static void listen(void *cookie, int level, const char *text)
{
    said *s = cookie;
    (void)level;
    s->lines++;
    snprintf(s->last, sizeof s->last, "%s", text);
}

static const rlm_item *item_named(const rlm_dataset *d, const char *name)
{
    for (int i = 0; i < d->count; i++)
        if (strstr(d->items[i].path, name))
            return &d->items[i];
    return NULL;
}

/* 200 recordings of a large source, cut into 2 clips each, 9 of a small one. */
static void write_listed(void)
{
    static char tsv[65536], jsonl[4096];
    int n = snprintf(tsv, sizeof tsv, "file\tsource\tpath\thas_audio\n");
    make_dir("listed");
    for (int i = 0; i < 409; i++) {
        char name[48], full[64];
        bool big = i < 400;
        snprintf(name, sizeof name, "%s_%03d.mp4", big ? "big" : "small", i);
        snprintf(full, sizeof full, "listed/%s", name);
        write_text(full, "x");
        n += snprintf(tsv + n, sizeof tsv - (size_t)n, "%s\t%s\trec%d.mkv\t%d\n", name,
                      big ? "org/big" : "org/small", big ? i / 2 : i, i % 2);
    }
    n += snprintf(tsv + n, sizeof tsv - (size_t)n,
                  "gone.mp4\torg/big\tx\t0\n../x.mp4\torg/big\tx\t0\n");
    write_text("listed/manifest.tsv", tsv);
    snprintf(
        jsonl, sizeof jsonl,
        "{\"file_name\": \"big_003.mp4\", \"text\": \"a cat\", \"text_long\": \"a cat sits\"}\n"
        "not json\n");
    write_text("listed/metadata.jsonl", jsonl);
    write_text("listed/small_405.txt", "a dog\nA dog runs.\n");
}

static void case_dataset_lists(void)
{
    rlm_dataset d;
    rlm_error err = {0};
    said s = {0};
    rlm_log log = {listen, &s};
    write_listed();
    const char *dir = in_folder("listed");
    const char *dirs[2] = {dir, dir};
    CHECK(rlm_dataset_open(&d, dirs, 2, &log, &err) == 0);
    CHECK(d.count == 409 && d.train_count + d.val_count == 409);
    CHECK(d.skipped == 6 && s.lines == 6); /* gone, outside, not JSON; twice */
    CHECK(d.val_count > 4 && d.val_count < 60);
    CHECK(d.group_count == 2);
    for (int i = 0; i < d.count; i++)
        for (int j = 0; j < i; j++)
            if (!strcmp(d.items[i].source, d.items[j].source))
                CHECK(d.items[i].split == d.items[j].split);
    const rlm_item *cat = item_named(&d, "big_003"), *dog = item_named(&d, "small_405");
    CHECK(cat && cat->has_audio == 1 && !strcmp(cat->group, "org/big"));
    CHECK_STR(cat->text, "a cat");
    CHECK_STR(cat->text_long, "a cat sits");
    CHECK_STR(dog->text, "a dog");
    CHECK_STR(dog->text_long, "A dog runs.");
    rlm_dataset_free(&d);
}

static void case_dataset_draws(void)
{
    rlm_dataset d;
    const char *dir = in_folder("listed");
    const char *dirs[1] = {dir};
    CHECK(rlm_dataset_open(&d, dirs, 1, NULL, NULL) == 0);
    int seen[409] = {0}, small = 0, twins = 0, total = 20 * d.round_slots;
    for (int i = 0; i < total; i++) {
        int at = rlm_dataset_draw(&d, 7, i);
        CHECK(at >= 0 && at < d.count && d.items[at].split == 0);
        seen[at]++;
        small += strstr(d.items[at].path, "small") != NULL;
        twins += at == rlm_dataset_draw(&d, 8, i);
    }
    int big_items = 0, small_items = 0, low = total, high = 0;
    for (int i = 0; i < d.train_count; i++) {
        int at = d.train[i];
        bool big = strstr(d.items[at].path, "big") != NULL;
        big_items += big;
        small_items += !big;
        low = big && seen[at] < low ? seen[at] : low;
        high = big && seen[at] > high ? seen[at] : high;
    }
    double want = sqrt(small_items) / (sqrt(small_items) + sqrt(big_items));
    CHECK_NEAR((double)small / total, want, 0.02);
    CHECK(high - low <= 1); /* every epoch serves each once */
    CHECK(twins < total / 20);
    rlm_dataset_free(&d);
}

static void case_dataset_walk(void)
{
    rlm_dataset d;
    rlm_error err = {0};
    make_dir("plain/train/a");
    make_dir("plain/test");
    write_text("plain/train/a/one.mp4", "x");
    write_text("plain/train/two.png", "x");
    write_text("plain/train/two.txt", "two things\n");
    write_text("plain/test/three.wav", "x");
    write_text("plain/train/empty.mp4", "");
    write_text("plain/notes.md", "x");
    const char *dir = in_folder("plain");
    const char *dirs[1] = {dir};
    CHECK(rlm_dataset_open(&d, dirs, 1, NULL, &err) == 0);
    CHECK(d.count == 3 && d.train_count == 2 && d.val_count == 1 && d.skipped == 1);
    CHECK(item_named(&d, "three")->split == 1 && item_named(&d, "three")->has_audio == 1);
    CHECK_STR(item_named(&d, "two")->text, "two things");
    CHECK(rlm_dataset_keep(&d, RLM_MEDIA_IMAGE, false, &err) == 0);
    CHECK(d.count == 1 && d.items[rlm_dataset_draw(&d, 1, 99)].kind == RLM_MEDIA_IMAGE);
    CHECK(rlm_dataset_keep(&d, RLM_MEDIA_AUDIO, false, &err) == RLM_E_ARG);
    rlm_dataset_free(&d);
    dirs[0] = "/nonexistent";
    CHECK(rlm_dataset_open(&d, dirs, 1, NULL, &err) == RLM_E_IO);
}

/* Recordings r34, r37 and r39 all hash into the validation split. */
static void case_dataset_few(void)
{
    static const char jsonl[] = "{\"file_name\": \"a.mp4\", \"source\": \"r34\"}\n"
                                "{\"file_name\": \"b.mp4\", \"source\": \"r34\"}\n"
                                "{\"file_name\": \"c.mp4\", \"source\": \"r37\"}\n"
                                "{\"file_name\": \"d.wav\", \"source\": \"r39\"}\n";
    rlm_dataset d;
    rlm_error err = {0};
    make_dir("few");
    write_text("few/a.mp4", "x");
    write_text("few/b.mp4", "x");
    write_text("few/c.mp4", "x");
    write_text("few/d.wav", "x");
    write_text("few/metadata.jsonl", jsonl);
    const char *dir = in_folder("few");
    const char *dirs[1] = {dir};
    CHECK(rlm_dataset_open(&d, dirs, 1, NULL, &err) == 0);
    CHECK(d.train_count == 2 && d.val_count == 2 && item_named(&d, "b.mp4")->split == 0);
    CHECK(rlm_dataset_keep(&d, RLM_MEDIA_AUDIO, false, &err) == 0);
    CHECK(d.train_count == 1 && d.val_count == 0);
    rlm_dataset_free(&d);
}

/* What a list passes over is said, but not what belongs to a listed clip. */
static void case_dataset_unlisted(void)
{
    static const char jsonl[] = "{\"file_name\": \"a.mp4\"}\n";
    static const char *const files[] = {"a.mp4", "a.control.mp4", "a.wav", "b.mp4", "sub/c.jpg"};
    rlm_dataset d;
    rlm_error err = {0};
    said s = {0};
    rlm_log log = {listen, &s};
    make_dir("part/sub");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[64];
        snprintf(name, sizeof name, "part/%s", files[i]);
        write_text(name, "x");
    }
    write_text("part/metadata.jsonl", jsonl);
    const char *dir = in_folder("part"), *below = in_folder("part/sub");
    const char *dirs[2] = {dir, below};
    CHECK(rlm_dataset_open(&d, dirs, 1, &log, &err) == 0 && d.count == 1 && s.lines == 1);
    rlm_dataset_free(&d);
    CHECK(rlm_dataset_open(&d, dirs, 2, NULL, &err) == 0 && d.count == 2);
    rlm_dataset_free(&d);
}

/* Links that lead back add nothing, one to elsewhere does; of eight files one validates, of each
 * kind by itself. */
static void case_dataset_links(void)
{
    rlm_dataset d;
    rlm_error err = {0};
    make_dir("linked/sub");
    make_dir("elsewhere");
    write_text("elsewhere/far.mp4", "x");
    for (int i = 0; i < 16; i++) {
        char name[32];
        snprintf(name, sizeof name, "linked/%s%d.%s", i < 8 ? "c" : "sub/p", i,
                 i < 8 ? "mp4" : "png");
        write_text(name, "x");
    }
    const char *dir = in_folder("linked"), *loop = in_folder("linked/loop"),
               *up = in_folder("linked/sub/up");
    const char *file = in_folder("linked/sub/c.mp4"), *far = in_folder("linked/far");
    const char *dirs[1] = {dir};
    CHECK(!symlink(".", loop) && !symlink("..", up) && !symlink("../c0.mp4", file));
    CHECK(!symlink("../elsewhere", far));
    CHECK(rlm_dataset_open(&d, dirs, 1, NULL, &err) == 0 && d.count == 17);
    CHECK(rlm_dataset_keep(&d, RLM_MEDIA_VIDEO, false, &err) == 0);
    CHECK(d.count == 9 && d.val_count >= 1 && d.train_count >= 6);
    rlm_dataset_free(&d);
}

/* ---- Loader ---- */

static int slow_fill(void *ctx, int64_t index, void *slot)
{
    usleep((useconds_t)(rlm_rng(5, 5, (uint64_t)index) % 3000));
    for (int i = 0; i < 100; i++)
        ((int64_t *)slot)[i] = index;
    return ctx && index == *(int64_t *)ctx;
}

static void case_loader_order(void)
{
    for (int threads = 0; threads <= 3; threads++) {
        rlm_loader *l;
        int64_t bad = 57;
        const int64_t *before = NULL;
        CHECK(rlm_loader_open(&l, threads, 4, 100 * sizeof(int64_t), 40, slow_fill, &bad, NULL) ==
              0);
        for (int64_t i = 40; i < 140; i++) {
            const int64_t *slot = rlm_loader_next(l);
            CHECK((slot == NULL) == (i == bad));
            CHECK(!slot || (slot[0] == i && slot[99] == i));
            CHECK(!before || (before[0] == i - 1 && before[99] == i - 1));
            before = slot;
        }
        rlm_loader_close(&l);
        CHECK(!l);
    }
    rlm_loader *l;
    CHECK(rlm_loader_open(&l, 1, 2, 8, 0, slow_fill, NULL, NULL) == RLM_E_ARG);
}

/* ---- Journal ---- */

static char *text_of(const char *name)
{
    const char *path = in_folder(name);
    char *text = NULL;
    size_t bytes;
    CHECK(rlm_file_read(path, 1 << 20, &text, &bytes, NULL) == 0);
    return text;
}

static void case_journal(void)
{
    rlm_journal *j;
    const char *run_dir = in_folder("journal");
    CHECK(rlm_journal_open(&j, run_dir, 0, NULL) == 0);
    for (int s = 1; s <= 10; s++)
        rlm_journal_put(j, s, "loss", 10.0 / s, "lr", 1e-3, NULL);
    rlm_journal_put(j, 10, "val_none", RLM_UNMEASURED, "val_loss", 2.0, NULL);
    CHECK_HAS(rlm_journal_line(j, 20), "step 10/20  val_loss 2");
    CHECK(!strstr(rlm_journal_line(j, 10), "eta")); /* done */
    usleep(20000);
    rlm_journal_put(j, 10, "loss", 1.0, NULL); /* 2 ms a step */
    rlm_journal_until(j, rlm_now() + 7230);
    CHECK_HAS(rlm_journal_line(j, 1 << 30), "eta 2 h 0 min"); /* the clock ends it, not the steps */
    CHECK_HAS(rlm_journal_line(j, 20), "eta 0 s");
    rlm_journal_put(j, 11, "loss", NAN, NULL);
    char *text = text_of("journal/metrics.jsonl"); /* before close: flushed */
    CHECK_HAS(text, "{\"step\":11,");
    CHECK_HAS(text, "\"loss\":null");
    rlm_free(text);
    rlm_journal_close(&j);
    const char *path = in_folder("journal/metrics.jsonl");
    FILE *f = fopen(path, "a");
    fputs("{\"step\":5,\"loss", f); /* torn by a kill */
    fclose(f);
    CHECK(rlm_journal_open(&j, run_dir, 7, NULL) == 0);
    rlm_journal_put(j, 8, "loss", 1.0, NULL);
    rlm_journal_close(&j);
    text = text_of("journal/metrics.jsonl");
    CHECK_HAS(text, "{\"step\":7,");
    CHECK(!strstr(text, "{\"step\":9,") && !strstr(text, "val_loss"));
    int lines = 0;
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    CHECK(lines == 8);
    rlm_free(text);
    text = text_of("journal/metrics.svg");
    CHECK_HAS(text, "<svg");
    CHECK_HAS(text, "polyline");
    CHECK_HAS(text, "</svg>");
    rlm_free(text);
}

/* ---- Recipe ---- */

static void case_recipe(void)
{
    rlm_recipe r;
    rlm_error err = {0};
    rlm_train_options o;
    rlm_train_defaults(&o, RLM_TRAIN_LM);
    const char *path = in_folder("config.json");
    o.config = path;
    write_text("config.json", "{\"train\": {\"lr\": 0.25, \"steps\": 77, \"muon\": false}}");
    o.steps = 5;
    CHECK(rlm_recipe_load(&r, &o, &err) == 0);
    CHECK(r.lr == 0.25 && r.steps == 5 && r.muon == 0 && r.beta1 == 0.9);
    write_text("config.json", "{\"train\": {\"lerning_rate\": 1, \"wamup\": 3}}");
    CHECK(rlm_recipe_load(&r, &o, &err) == RLM_E_ARG);
    CHECK_HAS(err.text, "lerning_rate");
    write_text("config.json", "{\"train\": {\"wamup\": 3}}");
    CHECK(rlm_recipe_load(&r, &o, &err) == RLM_E_ARG);
    CHECK_HAS(err.text, "did you mean \"warmup\"");
    write_text("config.json", "{\"train\": {\"batch\": 2.5}}");
    CHECK(rlm_recipe_load(&r, &o, &err) == RLM_E_RANGE);
    write_text("config.json", "{\"train\": {\"batch\": ");
    CHECK(rlm_recipe_load(&r, &o, &err) == RLM_E_FORMAT);
}

/* Every configuration that comes with reelm loads: network and recipe. */
static void case_shipped_configs(void)
{
    static const char *const WHAT[3] = {"video", "audio", "lm"};
    struct dirent **names;
    int n = scandir("assets/configs", &names, NULL, alphasort), seen = 0;
    for (int i = 0; i < n; i++) {
        for (int what = 0; what < 3; what++) {
            rlm_error err = {0};
            rlm_video_config video;
            rlm_audio_config audio;
            rlm_lm_config lm;
            rlm_recipe recipe;
            rlm_train_options o;
            if (strncmp(names[i]->d_name, WHAT[what], strlen(WHAT[what])))
                continue;
            char *path = rlm_path_join("assets/configs", names[i]->d_name);
            rlm_train_defaults(&o, what);
            o.config = path;
            if (rlm_config_read(path, what == RLM_TRAIN_VIDEO ? &video : NULL,
                                what == RLM_TRAIN_AUDIO ? &audio : NULL,
                                what == RLM_TRAIN_LM ? &lm : NULL, &err) ||
                rlm_recipe_load(&recipe, &o, &err))
                TEST_FAILED("%s", err.text);
            seen++;
            rlm_free(path);
        }
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    CHECK(seen >= 3);
}

/* Playground samples: a pure function of seed and index, pictures are frames of scenes, controls
 * among them, and the validation scenes are none of them. */
static void case_scenes(void)
{
    rlm_error err;
    rlm_scenes one, two;
    static float a[RLM_CROP_FLOATS], b[RLM_CROP_FLOATS];
    if (rlm_scenes_open(&one, &err) || rlm_scenes_open(&two, &err)) {
        TEST_FAILED("%s", err.text);
        return;
    }
    bool ranged = true;
    for (int64_t i = 0; i < 6; i++) {
        CHECK(rlm_scenes_sample(&one, 5, i, RLM_CROP_FRAMES, a) == 0);
        CHECK(rlm_scenes_sample(&two, 5, i, RLM_CROP_FRAMES, b) == 0);
        CHECK(!memcmp(a, b, sizeof a));
        for (int k = 0; k < RLM_CROP_FLOATS; k++)
            ranged &= a[k] >= -1.0f && a[k] <= 1.0f;
        CHECK(rlm_scenes_sample(&one, 5, i, 1, b) == 0);
        bool found = false; /* the single picture is a frame of the same scene */
        for (int t = 0; t < RLM_CROP_FRAMES && !found; t++)
            found = !memcmp(a + t * RLM_IMAGE_FLOATS, b, RLM_IMAGE_FLOATS * sizeof *b);
        CHECK(found);
        CHECK(rlm_scenes_sample(&one, 6, i, RLM_CROP_FRAMES, b) == 0);
        CHECK(memcmp(a, b, sizeof a));
    }
    CHECK(ranged);
    rlm_scenes_free(&one);
    rlm_scenes_free(&two);
}

/* ---- Codes of clips ---- */

enum { PICTURE = 128 };

/* A small video tokenizer, and the bundled text model. */
static int open_tokenizers(rlm_model *m, const rlm_kernels *k, rlm_par *par, rlm_error *err)
{
    const char *dir = in_folder("tokenizers");
    RLM_TRY(rlm_model_add_text(dir, "assets/models/default/text.model", err));
    RLM_TRY(small_video_save(dir, err));
    return rlm_model_open(m, dir, RLM_PART_VIDEO | RLM_PART_TEXT, k, par, err);
}

/* One picture whose sides differ, under a caption; how often it was asked for. */
typedef struct picture_source {
    const char *text;
    int fetched;
} picture_source;

static void paint(uint8_t *rgb, int mirrored)
{
    for (int i = 0; i < PICTURE * PICTURE; i++) {
        int x = mirrored ? PICTURE - 1 - i % PICTURE : i % PICTURE;
        memset(rgb + 3 * i, x / 8 * 16 + i / PICTURE / 32, 3);
    }
}

static int picture_key(void *ctx, int index, rlm_lm_raw *out, rlm_error *err)
{
    (void)index, (void)err;
    out->text[0] = ((picture_source *)ctx)->text;
    snprintf(out->key, sizeof out->key, "%064d", 5);
    return 0;
}

static int picture_fetch(void *ctx, int index, rlm_lm_raw *out, rlm_error *err)
{
    (void)index, (void)err;
    ((picture_source *)ctx)->fetched++;
    out->clip.video = (rlm_frames){1, PICTURE, PICTURE, 8, 1, rlm_alloc(PICTURE * PICTURE * 3)};
    paint(out->clip.video.rgb, 0);
    return 0;
}

/* Views of a clip that are the mirrored picture; -1: one is neither. */
static int mirrored_views(const rlm_lm_clip *c, const rlm_codes want[2])
{
    int mirrored = 0, other = 0;
    size_t bytes = (size_t)want[0].count * sizeof(int32_t);
    for (int i = 0; i < c->view_count; i++) {
        bool is_mirror = !memcmp(c->views[i].video, want[1].ids, bytes);
        mirrored += is_mirror;
        other += !is_mirror && memcmp(c->views[i].video, want[0].ids, bytes);
    }
    return other ? -1 : mirrored;
}

/* Codes of no tokenizer in each file of a folder. */
static void spoil(const char *dir)
{
    struct dirent *f;
    int32_t codes[16] = {[3] = 1 << 18};
    rlm_tensor t = rlm_tensor_view(codes, RLM_I32, 3, (int64_t[]){1, 4, 4});
    DIR *d = opendir(dir);
    while (d && (f = readdir(d)))
        if (f->d_name[0] != '.') {
            rlm_st_writer w;
            char *path = rlm_path_join(dir, f->d_name);
            rlm_st_writer_init(&w);
            rlm_st_add(&w, "video.0", &t, RLM_I32);
            CHECK(rlm_st_commit(&w, path, NULL) == 0);
            rlm_st_writer_free(&w);
            rlm_free(path);
        }
    if (d)
        closedir(d);
}

/* Views are mirrored unless the caption names a side; codes come from the cache, or afresh where
 * that is damaged. */
static void case_views(void)
{
    rlm_kernels k;
    rlm_arena arena;
    rlm_model model;
    rlm_lm_store s;
    rlm_error err = {0};
    rlm_codes want[2];
    static uint8_t rgb[PICTURE * PICTURE * 3];
    static const char *const texts[] = {"a ball rolls", "it rolls LEFT", "a ball rolls",
                                        "a ball rolls"};
    rlm_par *par;
    CHECK(rlm_kernels_init(&k, NULL, &err) == 0 && rlm_par_open(&par, 1, &err) == 0);
    CHECK(rlm_arena_reserve(&arena, (size_t)4 << 30, &err) == 0);
    if (open_tokenizers(&model, &k, par, &err)) {
        TEST_FAILED("%s", err.text);
        return;
    }
    rlm_run run = {.k = &k, .arena = &arena, .par = par};
    for (int i = 0; i < 2; i++) {
        paint(rgb, i);
        rlm_frames f = {1, PICTURE, PICTURE, 8, 1, rgb};
        CHECK(rlm_video_encode(&run, model.video, &f, &want[i], &err) == 0);
    }
    CHECK(rlm_lm_store_open(&s, &model, folder, 4, RLM_LM_VIEWS_MAX, &err) == 0);
    picture_source source = {0};
    for (int i = 0; i < 4; i++) {
        if (i == 3)
            spoil(s.dir);
        source.text = texts[i];
        CHECK(!rlm_lm_store_add(&s, &run, i, i, picture_key, picture_fetch, &source, NULL, &err));
        CHECK(s.clips[i].view_count == RLM_LM_VIEWS_MAX && s.clips[i].text_count[0] > 1);
        CHECK(source.fetched == (i < 2 ? i + 1 : i)); /* the third is the first */
    }
    int mirrored = mirrored_views(&s.clips[0], want);
    CHECK(mirrored > 1 && mirrored < RLM_LM_VIEWS_MAX);
    CHECK(!memcmp(s.clips[0].views[0].video, want[0].ids, (size_t)want[0].count * 4));
    CHECK(mirrored_views(&s.clips[1], want) == 0);
    CHECK(mirrored_views(&s.clips[2], want) == mirrored);
    CHECK(mirrored_views(&s.clips[3], want) == mirrored);
    CHECK(s.video_tokens == 4 * RLM_LM_VIEWS_MAX * want[0].count && !s.sound_tokens);
    rlm_lm_store_free(&s);
    rlm_codes_free(&want[0]);
    rlm_codes_free(&want[1]);
    rlm_model_close(&model);
    rlm_arena_release(&arena);
    rlm_par_close(&par);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    if (!folder_open())
        return 1;
    TEST_CASE(case_dataset_lists);
    TEST_CASE(case_dataset_draws);
    TEST_CASE(case_dataset_walk);
    TEST_CASE(case_dataset_few);
    TEST_CASE(case_dataset_unlisted);
    TEST_CASE(case_dataset_links);
    TEST_CASE(case_loader_order);
    TEST_CASE(case_journal);
    TEST_CASE(case_recipe);
    TEST_CASE(case_shipped_configs);
    TEST_CASE(case_scenes);
    TEST_CASE(case_views);
    folder_close();
    return TEST_END();
}
