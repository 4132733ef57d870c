/* Every allocation of our own code made to fail in turn: no crash, nothing leaked, a sentence, or
 * the same result as without the failure. test_alloc [NAME] does early ones all and later ones
 * sparsely; test_alloc --all [NAME] does all; test_alloc --at N NAME does one and says where it
 * was. */
#define _GNU_SOURCE /* nftw */
#include <cjson/cJSON.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include "src/pipeline.h"
#include "src/reelm_train.h"
#include "src/server/jobs.h"
#include "src/server/server.h"
#include "tests/fault/alloc.h"
#include "tests/unit/pipeline_rig.h"

typedef uint64_t digest;

static rlm_clip source;
static rlm_codes video_codes, audio_codes;

static void add(digest *d, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++)
        *d = (*d ^ p[i]) * UINT64_C(1099511628211);
}

static void add_clip(digest *d, const rlm_clip *c)
{
    add(d, c->video.rgb, (size_t)c->video.count * c->video.width * c->video.height * 3);
    add(d, c->audio.samples, (size_t)c->audio.count * c->audio.channels * sizeof(float));
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static const char *file_in(const char *name)
{
    static char path[8][128];
    static int turn;
    char *to = path[turn++ % 8];
    snprintf(to, 128, "%s/%s", folder, name);
    return to;
}

static const char *fresh(const char *name)
{
    const char *path = file_in(name);
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return path;
}

/* ---- What is done while allocations fail ----------------------------------------------------- */

static int do_open(rlm_error *e, digest *d)
{
    rlm_engine *mine = NULL;
    rlm_session *s = NULL;
    char *json = NULL;
    int code = rlm_open(&mine, folder, NULL, e);
    if (!code)
        code = rlm_session_open(&s, mine, e);
    if (!code)
        code = rlm_engine_info(mine, &json, e);
    (void)d; /* a kernel level whose probe has no memory stays out: other rounding, no error */
    rlm_string_free(&json);
    rlm_session_close(&s);
    rlm_close(&mine);
    return code;
}

static int do_encode(rlm_error *e, digest *d)
{
    rlm_session *s = NULL;
    rlm_codes v = {0}, a = {0};
    int code = rlm_session_open(&s, engine, e);
    if (!code)
        code = rlm_encode(s, &source, &v, &a, e);
    add(d, v.ids, (size_t)v.count * sizeof *v.ids);
    add(d, a.ids, (size_t)a.count * sizeof *a.ids);
    rlm_codes_free(&v);
    rlm_codes_free(&a);
    rlm_session_close(&s);
    return code;
}

static int do_decode(rlm_error *e, digest *d)
{
    rlm_session *s = NULL;
    rlm_clip out = {0};
    int code = rlm_session_open(&s, engine, e);
    if (!code)
        code = rlm_decode(s, &video_codes, &audio_codes, &out, e);
    add_clip(d, &out);
    rlm_clip_free(&out);
    rlm_session_close(&s);
    return code;
}

static int do_request(const rlm_request *r, double extend, rlm_error *e, digest *d)
{
    rlm_session *s = NULL;
    rlm_clip out = {0};
    int code = rlm_session_open(&s, engine, e);
    if (!code)
        code = extend > 0 ? rlm_extend(s, r, &source, extend, &out, NULL, e)
                          : rlm_generate(s, r, &out, NULL, e);
    if (!code) /* a shorter clip of a failed call is no result */
        add_clip(d, &out);
    rlm_clip_free(&out);
    rlm_session_close(&s);
    return code;
}

static void small_request(rlm_request *r)
{
    rlm_request_defaults(r);
    r->width = r->height = 16;
    r->frames = 5;
    r->prompt = "a red ball";
    r->seed = 3;
}

static int do_generate(rlm_error *e, digest *d)
{
    rlm_request r;
    rlm_keyframe key = {&source, -1};
    small_request(&r);
    r.video.cfg_scale = 2;
    r.negative_prompt = "blue";
    r.keyframes = &key;
    r.keyframe_count = 1;
    r.settings = "{\"seed\":3}";
    r.save_tokens = file_in("saved.rtok");
    return do_request(&r, 0, e, d);
}

static int do_extend(rlm_error *e, digest *d)
{
    rlm_request r;
    small_request(&r);
    return do_request(&r, 0.5, e, d);
}

static void digest_part(void *d, const rlm_clip *part)
{
    add_clip(d, part);
}

static int do_extend_file(rlm_error *e, digest *d)
{
    rlm_request r;
    rlm_session *s = NULL;
    digest made = *d;
    rlm_extend_hooks hooks = {.part = digest_part, .cookie = &made};
    const char *const words[] = {"a red ball", "grass"};
    small_request(&r);
    r.prompts = words;
    r.prompt_count = 2;
    int code = rlm_session_open(&s, engine, e);
    if (!code)
        code = rlm_extend_file(s, &r, file_in("film.mkv"), 0.5, file_in("grown.mkv"), NULL, &hooks,
                               NULL, e);
    if (!code)
        *d = made;
    rlm_session_close(&s);
    return code;
}

static int do_paint(rlm_error *e, digest *d)
{
    rlm_request r;
    rlm_box box = {2, 2, 6, 6, 0, 0};
    small_request(&r);
    r.task = RLM_TASK_PAINT;
    r.condition = &source;
    r.boxes = &box;
    r.box_count = 1;
    r.outpaint[0] = 2;
    return do_request(&r, 0, e, d);
}

static int do_stylize(rlm_error *e, digest *d)
{
    rlm_request r;
    small_request(&r);
    r.task = RLM_TASK_STYLIZE;
    r.condition = &source;
    return do_request(&r, 0, e, d);
}

static int do_tokens(rlm_error *e, digest *d)
{
    rlm_codes v = {0}, a = {0};
    char *json = NULL;
    int code = rlm_tokens_save(engine, file_in("codes.rtok"), &video_codes, &audio_codes,
                               "{\"seed\":3}", e);
    if (!code)
        code = rlm_tokens_read(engine, file_in("codes.rtok"), &v, &a, &json, e);
    add(d, v.ids, (size_t)v.count * sizeof *v.ids);
    add(d, json ? json : "", json ? strlen(json) : 0);
    rlm_string_free(&json);
    rlm_codes_free(&v);
    rlm_codes_free(&a);
    return code;
}

static int do_media(rlm_error *e, digest *d)
{
    static const char *const names[] = {"m.mp4", "m.gif", "m.png", "m.wav", "m.y4m"};
    int code = 0;
    for (int i = 0; i < 5 && !code; i++) {
        rlm_clip in = source, out = {0};
        char *json = NULL;
        in.video.count = i == 2 ? 1 : in.video.count;
        in.metadata = (char *)"{\"seed\":3}";
        code = rlm_media_write(file_in(names[i]), &in, NULL, e);
        if (!code)
            code = rlm_media_read(file_in(names[i]), NULL, &out, e);
        if (!code)
            code = rlm_media_probe(file_in(names[i]), &json, e);
        add_clip(d, &out); /* the description may lack members */
        rlm_string_free(&json);
        rlm_clip_free(&out);
    }
    return code;
}

static int do_settings(rlm_error *e, digest *d)
{
    rlm_request r;
    rlm_box box = {2, 2, 6, 6, 1, 3};
    char *json = NULL;
    small_request(&r);
    r.negative_prompt = "blue";
    r.boxes = &box;
    r.box_count = 1;
    r.outpaint[0] = 2;
    int code = rlm_request_settings(engine, &r, &json, e);
    add(d, json ? json : "", json ? strlen(json) : 0);
    rlm_string_free(&json);
    return code;
}

static int do_convert(rlm_error *e, digest *d)
{
    (void)d;
    return rlm_convert(folder, fresh("int8"), "int8", "int8", NULL, NULL, e);
}

static int do_world(rlm_error *e, digest *d)
{
    rlm_world *w = NULL;
    rlm_world_want want;
    rlm_clip out = {0};
    char *json = NULL;
    rlm_world_want_defaults(&want);
    want.width = want.height = 24;
    want.frames = 3;
    int code = rlm_world_open(&w, 1, e);
    if (!code)
        code = rlm_world_clip(w, 7, &want, &out, NULL, e);
    if (!code)
        code = rlm_world_facts(7, &want, &json, e);
    add_clip(d, &out);
    add(d, json ? json : "", json ? strlen(json) : 0);
    rlm_string_free(&json);
    rlm_clip_free(&out);
    rlm_world_close(&w);
    return code;
}

static int do_train(rlm_error *e, digest *d)
{
    const char *data = file_in("data");
    rlm_train_options o;
    rlm_train_defaults(&o, RLM_TRAIN_AUDIO);
    o.config = "assets/configs/audio-tiny.json";
    o.data = &data;
    o.data_count = 1;
    o.run_dir = fresh("run");
    o.steps = 1;
    o.batch = 1;
    o.checkpoint_every = 1;
    o.threads = 1;
    o.deterministic = 1;
    o.playground = 0;
    (void)d;
    return rlm_train(&o, e);
}

static void stop_at_once(void *cookie, const char *url)
{
    (void)cookie, (void)url;
    pthread_kill(pthread_self(), SIGTERM);
}

static int do_serve(rlm_error *e, digest *d)
{
    rlm_serve_options o;
    rlm_serve_options_defaults(&o);
    o.port = 0;
    o.model_dir = folder;
    o.api_keys = "one-of-them,two-of-them";
    o.state_dir = file_in("state");
    o.library.threads = 1;
    o.listening = stop_at_once;
    (void)d;
    return rlm_serve(&o, e);
}

/* From the body of a request to the job's file and back. */
static int do_wish(rlm_error *e, digest *d)
{
    static const rlm_wish_limits limits = {128, 128, 17, 8, 60, 1458, 1, 4, 13, NULL};
    char body[] =
        "{\"prompt\":\"a ball\",\"seconds\":\"2\",\"size\":\"64x64\",\"keyframes\":[{\"frame\":3,"
        "\"image_url\":\"data:image/png;base64,iVBORw0KGgoAAAAA\"}]} ";
    rlm_form *form = calloc(1, sizeof *form);
    rlm_wish *w = calloc(2, sizeof *w);
    rlm_refusal r = {0};
    cJSON *saved = NULL;
    int bad = !form || !w || rlm_form_parse(form, "application/json", body, strlen(body) - 1, &r);
    if (!bad)
        bad = rlm_wish_parse(w, RLM_WISH_CREATE, form, &r) || rlm_wish_settle(w, &limits, &r);
    if (!bad)
        bad = !(saved = rlm_wish_save(w)) || rlm_wish_load(w + 1, saved, &r);
    if (!bad)
        add(d, w[1].prompt, strlen(w[1].prompt));
    if (bad)
        bad = rlm_serve_fail(e, RLM_E_NOMEM, "%s", r.message[0] ? r.message : "no memory");
    cJSON_Delete(saved);
    for (int i = 0; w && i < 2; i++)
        rlm_wish_free(w + i);
    if (form)
        rlm_form_free(form);
    free(form);
    free(w);
    return bad;
}

static const struct {
    const char *name;
    int (*run)(rlm_error *, digest *);
    int sparse; /* of the quick run: every (1 + n / sparse)-th, it takes long */
} scenes[] = {
    {"open", do_open, 8},          {"encode", do_encode, 64},  {"decode", do_decode, 64},
    {"generate", do_generate, 12}, {"extend", do_extend, 6},   {"extend_file", do_extend_file, 6},
    {"paint", do_paint, 6},        {"stylize", do_stylize, 6}, {"tokens", do_tokens, 64},
    {"settings", do_settings, 64}, {"media", do_media, 32},    {"convert", do_convert, 8},
    {"world", do_world, 64},       {"wish", do_wish, 64},      {"train", do_train, 2},
    {"serve", do_serve, 8},
};

/* ---- One failure ----------------------------------------------------------------------------- */

static int fail_one(int scene, int64_t at, int rest, digest want)
{
    digest d = 0;
    rlm_error why = {0};
    char where[64] = "";
    fault_arm(at, rest);
    int code = scenes[scene].run(&why, &d);
    int64_t missed = fault_missed(), lost = fault_leaks(where, sizeof where);
    fault_arm(-1, 0);
    const char *name = scenes[scene].name;
    if (code && (code >= 0 || !why.text[0]))
        TEST_FAILED("%s: allocation %lld: code %d, \"%s\"", name, (long long)at, code, why.text);
    /* cJSON cannot tell a text that is no JSON from one that it had no memory for; training leaves
     * out, and names in its log, a file that it has no memory for, as it does a damaged one */
    if (code && code != RLM_E_NOMEM && !strstr(why.text, "JSON") &&
        !strstr(why.text, "no sound in"))
        TEST_FAILED("%s: allocation %lld is called %s: %s", name, (long long)at,
                    rlm_error_name(code), why.text);
    if (!code && missed && d != want)
        TEST_FAILED("%s: allocation %lld: another result, and no error", name, (long long)at);
    if (lost)
        TEST_FAILED("%s: allocation %lld: %lld blocks leaked, the first %s (code %d %s)", name,
                    (long long)at, (long long)lost, where, code, why.text);
    return missed > 0;
}

static int all;

static void scene_run(int scene)
{
    rlm_error why = {0};
    digest warm = 0, want = 0;
    char where[64];
    CHECK(!scenes[scene].run(&why, &warm)); /* what is allocated once for ever */
    fault_arm(-1, 0);
    if (scenes[scene].run(&why, &want))
        TEST_FAILED("%s: %s", scenes[scene].name, why.text);
    CHECK(want == warm && fault_leaks(where, 0) == 0);
    int64_t sites = fault_count(), tried = 0;
    for (int64_t n = 0; n < sites; n += all ? 1 : 1 + n / scenes[scene].sparse) {
        tried += fail_one(scene, n, 0, want);
        if (all ? n % 4 == 0 : tried % 2 == 0)
            tried += fail_one(scene, n, 1, want);
    }
    printf("%s: %lld allocations, %lld runs with failures\n", scenes[scene].name, (long long)sites,
           (long long)tried);
    CHECK(tried > 0 && !scenes[scene].run(&why, &warm)); /* and all is well again */
}

static void prepare(void)
{
    source = make_clip(5, 16, 16, 8, 10000, 16000);
    rlm_clip sound = {.audio = source.audio};
    CHECK(!rlm_encode(session, &source, &video_codes, &audio_codes, &err));
    CHECK(!mkdir(file_in("data"), 0700));
    CHECK(!rlm_media_write(file_in("film.mkv"), &source, NULL, &err));
    CHECK(!rlm_media_write(file_in("data/a.wav"), &sound, NULL, &err));
    CHECK(!rlm_media_write(file_in("data/b.wav"), &sound, NULL, &err));
}

static void finish(void)
{
    rlm_clip_free(&source);
    rlm_codes_free(&video_codes);
    rlm_codes_free(&audio_codes);
}

int main(int argc, char **argv)
{
    int64_t at = -1;
    if (argc > 1 && !strcmp(argv[1], "--all")) {
        all = 1;
        argc--, argv++;
    } else if (argc > 3 && !strcmp(argv[1], "--at")) {
        at = atoll(argv[2]);
        argc -= 2, argv += 2;
    }
    TEST_BEGIN(argc, argv);
    if (rig_open())
        return 1;
    prepare();
    for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++) {
        if (test_state.only && strcmp(test_state.only, scenes[i].name))
            continue;
        test_state.bad_checks = 0;
        if (at >= 0) {
            fault_tell(1);
            fail_one((int)i, at, 0, 0);
        } else {
            scene_run((int)i);
        }
        test_state.passed += !test_state.bad_checks;
        test_state.failed += test_state.bad_checks > 0;
        fflush(stdout);
    }
    finish();
    rig_close();
    return TEST_END();
}
