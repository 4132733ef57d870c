/* Writing with a full disk: every call that writes, flushes, closes, syncs, renames or makes a
 * folder fails in turn, and files may grow to every size up to the whole. The file that was there
 * stays as it was, nothing half-written is left, and the error says what it was about; or the new
 * one is whole. */
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "src/server/store.h"
#include "src/train/train.h"
#include "tests/fault/calls.h"
#include "tests/unit/pipeline_rig.h"

static rlm_clip clips[2];
static rlm_codes codes[2];
static int turn; /* which of two contents is written */
static char target[160];

static const char *at(const char *name)
{
    snprintf(target, sizeof target, "%s/%s", folder, name);
    return target;
}

/* ---- What is written ------------------------------------------------------------------------- */

static int put_tokens(rlm_error *e)
{
    return rlm_tokens_write(engine, at("out/a.rtok"), &codes[turn], NULL, e);
}

static int put_media(const char *name, rlm_error *e)
{
    rlm_clip c = clips[turn];
    if (strstr(name, ".png"))
        c.video = (rlm_frames){1, 32, 32, 8, 1, c.video.rgb + 3 * 32 * 32 * turn};
    return rlm_media_write(at(name), &c, NULL, e);
}

static int put_mp4(rlm_error *e)
{
    return put_media("out/a.mp4", e);
}
static int put_gif(rlm_error *e)
{
    return put_media("out/a.gif", e);
}
static int put_png(rlm_error *e)
{
    return put_media("out/a.png", e);
}
static int put_wav(rlm_error *e)
{
    return put_media("out/a.wav", e);
}

/* A file of the server's state. */
static int put_job(rlm_error *e)
{
    static const char *const texts[2] = {"{\"status\":\"queued\"}",
                                         "{\"status\":\"failed\",\"x\":1}"};
    rlm_store store;
    int code = rlm_store_open(&store, in_folder("out"), e);
    if (code) {
        rlm_store_close(&store);
        return code;
    }
    const char *id = "video_0123456789abcdef0123456789abcdef";
    rlm_store_create(&store, id, NULL);
    code = rlm_store_write(&store, id, "job.json", texts[turn], strlen(texts[turn]), e);
    rlm_store_close(&store);
    at("out/jobs/video_0123456789abcdef0123456789abcdef/job.json");
    return code;
}

static const struct {
    const char *name;
    int (*put)(rlm_error *);
} scenes[] = {{"tokens", put_tokens}, {"mp4", put_mp4}, {"gif", put_gif},
              {"png", put_png},       {"wav", put_wav}, {"job", put_job}};

/* ---- What is found afterwards ---------------------------------------------------------------- */

static char *content(size_t *n)
{
    char *text = NULL;
    rlm_file_read(target, 1 << 24, &text, n, NULL);
    return text;
}

/* Files beside the target, "jobs" and its lock apart. */
static int strangers(void)
{
    char dir[200];
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(target, '/') - target), target);
    DIR *d = opendir(dir);
    int count = 0;
    for (struct dirent *f; d && (f = readdir(d));)
        count += f->d_name[0] != '.' && strcmp(f->d_name, strrchr(target, '/') + 1) &&
                 strcmp(f->d_name, "jobs");
    if (d)
        closedir(d);
    return count;
}

/* One attempt to replace content 0 by content 1 while something fails. */
static void attempt(int scene, int64_t call, int rest, int64_t limit, const char *want[2],
                    const size_t bytes[2])
{
    struct rlimit whole, small;
    rlm_error e = {0};
    size_t n = 0;
    const char *name = scenes[scene].name;
    turn = 0;
    CHECK(!scenes[scene].put(&e));
    turn = 1;
    getrlimit(RLIMIT_FSIZE, &whole);
    small = whole;
    if (limit >= 0)
        small.rlim_cur = (rlim_t)limit;
    fault_calls_arm(call, rest);
    setrlimit(RLIMIT_FSIZE, &small);
    int code = scenes[scene].put(&e);
    setrlimit(RLIMIT_FSIZE, &whole);
    const char *what = fault_calls_what();
    fault_calls_arm(-1, 0);
    char *found = content(&n);
    int old = found && n == bytes[0] && !memcmp(found, want[0], n);
    int new = found &&n == bytes[1] && !memcmp(found, want[1], n);
    if (!new && !(old && code)) /* a folder that could not be synced may hold the new one already */
        TEST_FAILED("%s: call %lld (%s), limit %lld: code %d, and the file is neither old nor new",
                    name, (long long)call, what, (long long)limit, code);
    if (code && (code != RLM_E_IO || !e.text[0]))
        TEST_FAILED("%s: call %lld (%s): code %d \"%s\"", name, (long long)call, what, code,
                    e.text);
    if (strangers())
        TEST_FAILED("%s: call %lld (%s), limit %lld: something else is left behind", name,
                    (long long)call, what, (long long)limit);
    rlm_free(found);
}

static void scene_run(int scene, int old_files)
{
    char *kept[2];
    size_t bytes[2];
    int64_t calls = 0, tried = 0;
    fault_calls_old_files(old_files);
    for (turn = 0; turn < 2; turn++) {
        rlm_error e = {0};
        fault_calls_arm(-1, 0);
        if (scenes[scene].put(&e))
            TEST_FAILED("%s: %s", scenes[scene].name, e.text);
        calls = fault_calls();
        kept[turn] = content(&bytes[turn]);
    }
    const char *want[2] = {kept[0], kept[1]};
    CHECK(kept[0] && kept[1] && (bytes[0] != bytes[1] || memcmp(kept[0], kept[1], bytes[0])));
    for (int64_t n = 0; n < calls; n++)
        for (int rest = 0; rest < 2; rest++, tried++)
            attempt(scene, n, rest, -1, want, bytes);
    int64_t step = (int64_t)bytes[1] / 12 + 1;
    for (int64_t limit = 0; limit <= (int64_t)bytes[1]; limit += step, tried++)
        attempt(scene, -1, 0, limit, want, bytes);
    fault_calls_old_files(0);
    printf("%s%s: %lld calls, %lld attempts\n", scenes[scene].name,
           old_files ? " (named from the start)" : "", (long long)calls, (long long)tried);
    rlm_free(kept[0]);
    rlm_free(kept[1]);
}

/* ---- Folders that change in several steps ---------------------------------------------------- */

/* A run directory: after any failure the newest listed checkpoint loads, the old or the new. */
static void case_checkpoint(void)
{
    rlm_params p = {0};
    const int64_t shape[1] = {3000};
    float value[2] = {1, 2};
    char run[160];
    rlm_params_add(&p, "w", 1, shape, RLM_INIT_CONST, 1);
    CHECK(!rlm_params_allocate(&p, false, NULL));
    rlm_optim o = {.params = &p, .m = rlm_calloc(3072, 4), .v = rlm_calloc(3072, 4)};
    rlm_checkpoint c = {.optims = {&o}, .names = {"model"}, .optim_count = 1};
    int64_t calls = 1;
    for (int64_t n = -1; n < calls; n++)
        for (int rest = 0; rest < 2; rest++) {
            rlm_error e = {0};
            snprintf(run, sizeof run, "%s/run%lld.%d", folder, (long long)n, rest);
            p.data[0] = value[0];
            c.step = 1;
            CHECK(!rlm_checkpoint_save(&c, run, 1, &e));
            p.data[0] = value[1];
            c.step = 2;
            fault_calls_arm(n, rest);
            int code = rlm_checkpoint_save(&c, run, 1, &e);
            calls = n < 0 ? fault_calls() : calls;
            fault_calls_arm(-1, 0);
            CHECK(!code || (code == RLM_E_IO && e.text[0]));
            p.data[0] = 0;
            if (rlm_checkpoint_load(&c, run, &e))
                TEST_FAILED("call %lld: %s", (long long)n, e.text);
            CHECK((c.step == 1 && p.data[0] == value[0]) || (c.step == 2 && p.data[0] == value[1]));
            CHECK(code || c.step == 2);
        }
    printf("checkpoint: %lld calls\n", (long long)calls);
    rlm_free(o.m);
    rlm_free(o.v);
    rlm_params_free(&p);
}

/* A model directory whose codec is replaced: whatever happens it opens, as the old or the new. */
static void case_model(void)
{
    rlm_audio_config c;
    rlm_params p = {0};
    rlm_audio *a = NULL;
    rlm_kernels k;
    char dir[160];
    rlm_audio_config_tiny(&c);
    CHECK(!rlm_kernels_init(&k, "ref", NULL));
    CHECK(!rlm_audio_new(&a, &c, &p, NULL) && !rlm_params_allocate(&p, false, NULL));
    int64_t calls = 1;
    for (int64_t n = -1; n < calls; n++)
        for (int rest = 0; rest < 2; rest++) {
            rlm_model m;
            rlm_error e = {0};
            snprintf(dir, sizeof dir, "%s/model%lld.%d", folder, (long long)n, rest);
            rlm_params_initialise(&p, 7);
            CHECK(!rlm_model_save_part(dir, RLM_PART_AUDIO, &c, &p, NULL, &e));
            rlm_params_initialise(&p, 8);
            fault_calls_arm(n, rest);
            int code = rlm_model_save_part(dir, RLM_PART_AUDIO, &c, &p, NULL, &e);
            calls = n < 0 ? fault_calls() : calls;
            fault_calls_arm(-1, 0);
            CHECK(!code || (code == RLM_E_IO && e.text[0]));
            if (rlm_model_open(&m, dir, RLM_PART_AUDIO, &k, NULL, &e))
                TEST_FAILED("call %lld: %s", (long long)n, e.text);
            else
                rlm_model_close(&m);
        }
    printf("model: %lld calls\n", (long long)calls);
    rlm_audio_free(&a);
    rlm_params_free(&p);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    signal(SIGXFSZ, SIG_IGN);
    if (rig_open() || mkdir(at("out"), 0700))
        return 1;
    clips[0] = make_clip(5, 32, 32, 8, 10000, 16000);
    clips[1] = make_clip(9, 32, 32, 8, 18000, 16000);
    for (int i = 0; i < 2; i++)
        CHECK(!rlm_encode(session, &clips[i], &codes[i], NULL, &err));
    for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++) {
        if (test_state.only && strcmp(test_state.only, scenes[i].name))
            continue;
        test_state.bad_checks = 0;
        char clean[200];
        snprintf(clean, sizeof clean, "rm -rf %s/out/*", folder);
        CHECK(!system(clean));
        for (int old_files = 0; old_files < 2; old_files++)
            scene_run((int)i, old_files);
        test_state.passed += !test_state.bad_checks;
        test_state.failed += test_state.bad_checks > 0;
    }
    TEST_CASE(case_checkpoint);
    TEST_CASE(case_model);
    for (int i = 0; i < 2; i++) {
        rlm_clip_free(&clips[i]);
        rlm_codes_free(&codes[i]);
    }
    rig_close();
    return TEST_END();
}
