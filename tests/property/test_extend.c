/* What must hold of clips longer than a window, and of films that are made longer: given pictures'
 * codes stand where they should, the total of work is known from the first code on, a clip of
 * several windows is its token file, and a generation that was stopped goes on as if it had not
 * been. On a tiny model of random weights. */
#include "src/pipeline.h"
#include "tests/unit/pipeline_rig.h"

/* ---- Keyframes ------------------------------------------------------------------------------- */

/* Codes of latent frame `at` of a still clip of the image. */
static void still_codes(const rlm_clip *image, int at, int32_t *to)
{
    rlm_codes codes = {0};
    rlm_clip still = make_clip(17, image->video.width, image->video.height, 8, 0, 0);
    for (int i = 0; i < 17; i++)
        memcpy(still.video.rgb + pixels(&image->video) * (size_t)i, image->video.rgb,
               pixels(&image->video));
    CHECK(!rlm_encode(session, &still, &codes, NULL, &err));
    size_t plane = (size_t)codes.dims[1] * (size_t)codes.dims[2];
    memcpy(to, codes.ids + plane * (size_t)at, plane * sizeof *to);
    rlm_codes_free(&codes);
    rlm_clip_free(&still);
}

/* Picture `frame` of the clip is the image as the tokenizer gives it back alone, to the bit. */
static void check_still(const rlm_clip *clip, int frame, const rlm_clip *image)
{
    rlm_codes codes = {0};
    rlm_clip back = {0}, one = *image;
    one.video.count = 1;
    CHECK(!rlm_encode(session, &one, &codes, NULL, &err));
    CHECK(!rlm_decode(session, &codes, NULL, &back, &err));
    size_t n = pixels(&image->video);
    CHECK(frame < clip->video.count && back.video.count == 1 &&
          !memcmp(clip->video.rgb + (size_t)frame * n, back.video.rgb, n));
    rlm_codes_free(&codes);
    rlm_clip_free(&back);
}

/* What the file says of stills, and pictures [from, ..) of the clip; then the file is hurt. */
static void check_stills(const char *path, const rlm_clip *clip, int from, int count,
                         const int *frames)
{
    rlm_codes v = {0};
    rlm_clip back = {0};
    size_t n = pixels(&clip->video);
    CHECK(!rlm_tokens_read(engine, path, &v, NULL, NULL, &err));
    CHECK(v.still_count == count && v.true_frames == clip->video.count - from);
    CHECK(v.still_count != count || !memcmp(v.still_frames, frames, (size_t)count * sizeof(int)));
    CHECK(!rlm_decode(session, &v, NULL, &back, &err));
    CHECK(
        back.video.count == v.true_frames &&
        !memcmp(back.video.rgb, clip->video.rgb + (size_t)from * n, (size_t)back.video.count * n));
    rlm_clip_free(&back);
    CHECK(rlm_codes_cut(&v, 0, 1, &err) == RLM_E_UNSUPPORTED);
    v.still_frames[v.still_count - 1] = v.true_frames;
    CHECK(rlm_decode(session, &v, NULL, &back, &err) == RLM_E_TOKENS);
    CHECK(!rlm_tokens_write(NULL, path, &v, NULL, &err));
    rlm_codes_free(&v);
    CHECK(rlm_tokens_read(engine, path, &v, NULL, NULL, &err) == RLM_E_TOKENS);
    CHECK_HAS(err.text, "a still at frame");
}

/* first, middle and last pictures stand in the codes of a clip of two windows, and are shown as
 * stills; taken up again from its tokens it is the same. */
static void case_keyframes(void)
{
    static const int frames[] = {0, 7, 24};
    int32_t want[20];
    rlm_codes v = {0};
    rlm_clip image = make_clip(1, 40, 32, 8, 0, 0), other = make_clip(2, 40, 32, 8, 0, 0);
    other.video.rgb += pixels(&other.video);
    other.video.count = 1;
    rlm_keyframe keys[3] = {{&other, 7}, {&image, -1}, {&image, 0}};
    plain_request();
    const char *path = in_folder("keys.rtok");
    request.save_tokens = path;
    request.keyframes = keys;
    request.keyframe_count = 3;
    request.frames = 25;
    rlm_clip a = generate(25, 40, 32, 50000);
    for (int i = 0; i < 3; i++)
        check_still(&a, keys[i].frame < 0 ? 24 : keys[i].frame, keys[i].image);
    request.save_tokens = NULL;
    request.resume_tokens = path;
    rlm_clip b = generate(25, 40, 32, 50000);
    CHECK(same_clip(&a, &b));
    rlm_clip_free(&b);
    request.resume_tokens = NULL;
    CHECK(!rlm_tokens_read(engine, path, &v, NULL, NULL, &err));
    check_stills(path, &a, 0, 3, frames);
    rlm_clip_free(&a);
    CHECK(v.window_count == 2 && v.dims[0] == 10 && v.dims[1] == 4 && v.dims[2] == 5);
    static const int latent[3] = {2, 9, 0}, in_window[3] = {2, 4, 0};
    for (int i = 0; i < 3 && v.count == 200; i++) {
        still_codes(keys[i].image, in_window[i], want);
        CHECK(!memcmp(want, v.ids + 20 * latent[i], sizeof want));
    }
    rlm_codes_free(&v);
    /* the first one is what an image as the condition is */
    request.keyframe_count = 1;
    request.keyframes = keys + 2;
    request.frames = 5;
    request.save_tokens = NULL;
    a = generate(5, 40, 32, 10000);
    request.keyframe_count = 0;
    request.condition = &image;
    b = generate(5, 40, 32, 10000);
    CHECK(!memcmp(a.video.rgb, b.video.rgb, pixels(&a.video)));
    rlm_clip_free(&a);
    rlm_clip_free(&b);
    rlm_clip_free(&image);
    other.video.rgb -= pixels(&other.video);
    rlm_clip_free(&other);
}

/* Continuing a film leaves it alone, whatever stands near its end; the file holds what is new. */
static void case_keyframe_behind(void)
{
    static const int frames[] = {1, 9};
    rlm_clip film = make_clip(9, 32, 32, 8, 0, 0), image = make_clip(1, 32, 32, 8, 0, 0), out = {0};
    rlm_keyframe keys[2] = {{&image, -1}, {&image, 10}};
    memset(image.video.rgb, 200, pixels(&image.video) / 2);
    const char *path = in_folder("behind.rtok");
    plain_request();
    request.width = request.height = 32;
    request.keyframes = keys;
    request.keyframe_count = 2;
    request.save_tokens = path;
    if (rlm_extend(session, &request, &film, 1.25, &out, NULL, &err))
        TEST_FAILED("extend: %s", err.text);
    CHECK(out.video.count == 19);
    CHECK(!memcmp(out.video.rgb, film.video.rgb, 9 * pixels(&film.video)));
    check_still(&out, 10, &image);
    check_still(&out, 18, &image);
    check_stills(path, &out, 9, 2, frames);
    rlm_clip_free(&out);
    rlm_clip_free(&film);
    rlm_clip_free(&image);
}

/* ---- Backward -------------------------------------------------------------------------------- */

static void case_backward(void)
{
    rlm_clip film = make_clip(9, 32, 32, 8, 18000, 16000), out = {0};
    edit_request(&film);
    request.condition = NULL;
    request.backward = 1;
    rlm_keyframe key = {&film, 0};
    request.keyframes = &key;
    request.keyframe_count = 1;
    if (rlm_extend(session, &request, &film, 1.5, &out, NULL, &err))
        TEST_FAILED("extend: %s", err.text);
    CHECK(out.video.count == 9 + 12 && out.audio.count == 2000 * 21);
    if (out.video.count == 21 && out.audio.count == 42000) {
        CHECK(!memcmp(out.video.rgb + 12 * pixels(&out.video), film.video.rgb,
                      9 * pixels(&film.video)));
        CHECK(!memcmp(out.audio.samples + 24000, film.audio.samples, 18000 * sizeof(float)));
        check_still(&out, 0, &film);
    }
    rlm_clip_free(&out);
    key.frame = 12; /* the film's own first picture */
    CHECK(rlm_extend(session, &request, &film, 1.5, &out, NULL, &err) == RLM_E_RANGE);
    rlm_clip_free(&film);
}

/* ---- Progress -------------------------------------------------------------------------------- */

typedef struct totals {
    int told;
    int64_t least, most; /* of the totals told while sampling */
} totals;

static int watch_totals(void *cookie, const rlm_progress *p)
{
    totals *t = cookie;
    if (p->stage == RLM_STAGE_PREFILL && p->done)
        usleep(110000); /* told ten times a second: now the first code of a window is told */
    if (p->stage == RLM_STAGE_SAMPLE) {
        t->least = t->told && t->least < p->total ? t->least : p->total;
        t->most = t->told && t->most > p->total ? t->most : p->total;
        t->told++;
    }
    return 0;
}

/* The total is known from the first code on, and is what all windows come to. */
static void check_totals(const char *what, const rlm_clip *film, double more)
{
    rlm_report report;
    totals t = {0};
    rlm_clip out = {0};
    request.progress = watch_totals;
    request.progress_cookie = &t;
    int code = more > 0 ? rlm_extend(session, &request, film, more, &out, &report, &err)
                        : rlm_generate(session, &request, &out, &report, &err);
    int64_t codes = report.video_tokens + report.audio_tokens;
    if (code)
        TEST_FAILED("%s: %s", what, err.text);
    if (t.told < 2 || t.least != codes || t.most != codes)
        TEST_FAILED("%s: %d times told, totals %lld to %lld, really %lld", what, t.told,
                    (long long)t.least, (long long)t.most, (long long)codes);
    rlm_clip_free(&out);
}

static void case_totals(void)
{
    rlm_clip film = make_clip(23, 32, 32, 8, 46000, 16000), sound = {.audio = film.audio};
    rlm_clip image = make_clip(1, 32, 32, 8, 0, 0);
    rlm_keyframe key = {&image, -1};
    rlm_span spans[] = {{0.25, 0.5}, {1.9, 0}};
    rlm_box box = {8, 8, 16, 16, 0, 23};
    edit_request(&film);
    request.condition = NULL;
    check_totals("extend with sound", &film, 2.5);
    request.overlap = 5;
    check_totals("extend, overlap", &film, 2.5);
    request.overlap = 0;
    request.backward = 1;
    check_totals("extend backward", &film, 2.5);
    request.backward = 0;
    request.keyframes = &key;
    request.keyframe_count = 1;
    check_totals("extend to a keyframe", &film, 2.5);
    request.keyframe_count = 0;
    request.frames = 30;
    check_totals("generate", NULL, 0);
    request.condition = &image;
    check_totals("animate", NULL, 0);
    edit_request(&film);
    request.boxes = &box;
    request.box_count = 1;
    check_totals("paint", NULL, 0);
    request.box_count = 0;
    request.spans = spans;
    request.span_count = 2;
    check_totals("spans of sound", NULL, 0);
    request.span_count = 0;
    request.task = RLM_TASK_VIDEO_TO_AUDIO;
    check_totals("sound", NULL, 0);
    request.condition = &sound;
    request.task = RLM_TASK_AUDIO_TO_VIDEO;
    request.frames = 23;
    check_totals("visualize", NULL, 0);
    rlm_clip_free(&image);
    rlm_clip_free(&film);
}

/* ---- Windows as tokens, and taking up again -------------------------------------------------- */

typedef struct stop {
    int64_t at; /* tokens after which to stop */
} stop;

static int stop_at(void *cookie, const rlm_progress *p)
{
    const stop *s = cookie;
    if (p->stage == RLM_STAGE_DECODE)
        return 0;
    usleep(110000); /* progress is told ten times a second: now it is at every token */
    return p->stage == RLM_STAGE_SAMPLE && p->done >= s->at;
}

/* The token file of a long clip decodes to that clip. */
static void check_file(const char *path, const rlm_clip *clip)
{
    rlm_codes v = {0}, a = {0};
    rlm_clip back = {0};
    CHECK(!rlm_tokens_read(engine, path, &v, &a, NULL, &err));
    CHECK(v.window_count > 1 && v.true_frames == clip->video.count);
    if (rlm_decode(session, &v, a.count ? &a : NULL, &back, &err))
        TEST_FAILED("%s", err.text);
    CHECK(same_clip(&back, clip));
    CHECK(rlm_codes_cut(&v, 0, 1, &err) == RLM_E_UNSUPPORTED);
    v.windows[0].take++;
    rlm_clip_free(&back);
    CHECK(rlm_decode(session, &v, NULL, &back, &err) == RLM_E_TOKENS);
    rlm_codes_free(&v);
    rlm_codes_free(&a);
}

static void case_resume(void)
{
    static const int64_t stops[] = {10, 70, 104, 160, 500};
    const char *whole = in_folder("whole.rtok");
    const char *part = in_folder("part.rtok");
    plain_request();
    request.width = request.height = 32;
    request.frames = 30;
    request.save_tokens = whole;
    rlm_clip a = generate(30, 32, 32, 60000);
    check_file(whole, &a);
    for (int i = 0; i < 5; i++) {
        stop s = {stops[i]};
        rlm_clip cut = {0};
        unlink(part);
        request.save_tokens = part;
        request.progress = stop_at;
        request.progress_cookie = &s;
        int code = rlm_generate(session, &request, &cut, NULL, &err);
        CHECK(code == RLM_E_CANCELLED && cut.video.count < 30);
        CHECK(cut.video.count == 0 ||
              !memcmp(cut.video.rgb, a.video.rgb, (size_t)cut.video.count * pixels(&a.video)));
        rlm_clip_free(&cut);
        request.progress = NULL;
        request.save_tokens = NULL;
        request.resume_tokens = access(part, R_OK) ? NULL : part;
        CHECK(request.resume_tokens || stops[i] < 16);
        rlm_clip b = generate(30, 32, 32, 60000);
        CHECK(same_clip(&a, &b));
        rlm_clip_free(&b);
        request.resume_tokens = NULL;
    }
    rlm_clip_free(&a);
    request.frames = 49; /* five windows, each its own codes */
    request.save_tokens = whole;
    a = generate(49, 32, 32, 98000);
    request.save_tokens = NULL;
    request.resume_tokens = whole;
    rlm_clip b = generate(49, 32, 32, 98000);
    CHECK(same_clip(&a, &b));
    rlm_clip_free(&a);
    rlm_clip_free(&b);
    request.width = 48;
    refuse(RLM_E_TOKENS, "settings it was made with");
}

/* ---- Token files ----------------------------------------------------------------------------- */

/* What an extension of one window leaves shows a part of it: cut or joined it would not be read. */
static void case_one_window(void)
{
    rlm_codes v = {0}, other = {0};
    rlm_clip film = make_clip(9, 32, 32, 8, 0, 0), out = {0};
    const char *path = in_folder("one.rtok");
    edit_request(&film);
    request.condition = NULL;
    request.save_tokens = path;
    CHECK(!rlm_extend(session, &request, &film, 1, &out, NULL, &err));
    CHECK(!rlm_tokens_read(engine, path, &v, NULL, NULL, &err));
    CHECK(v.window_count == 1 && v.windows[0].skip == 9 && v.true_frames == 8);
    CHECK(rlm_codes_cut(&v, 0, 1, &err) == RLM_E_UNSUPPORTED);
    CHECK(!rlm_encode(session, &film, &other, NULL, &err));
    CHECK(rlm_codes_join(&other, &v, &err) == RLM_E_UNSUPPORTED);
    CHECK(rlm_codes_join(&v, &other, &err) == RLM_E_UNSUPPORTED);
    rlm_codes_free(&other);
    rlm_codes_free(&v);
    rlm_clip_free(&out);
    rlm_clip_free(&film);
}

/* Nothing keeps more than its codes come to, whatever the file says: memory follows the file. */
static void case_windows_lie(void)
{
    rlm_codes v = {0}, a = {0}, back = {0};
    rlm_clip film = make_clip(9, 32, 32, 8, 18000, 16000), out = {0};
    rlm_window whole = {0};
    const char *path = in_folder("lie.rtok");
    CHECK(!rlm_encode(session, &film, &v, &a, &err));
    CHECK(a.dims[1] == 56 && v.dims[0] == 3); /* of 56.25 frames of sound */
    rlm_codes *const grids[2] = {&v, &a};
    for (int i = 0; i < 2; i++) {
        rlm_codes *c = grids[i];
        int64_t *samples = &a.true_samples, most = i ? 57 * 320 : 9, great = i ? 35000 : 1 << 20;
        c->windows = &whole;
        c->window_count = 1;
        for (int k = 0; k < 3; k++) {
            whole = (rlm_window){i ? 56 : 3, k == 2, k == 1 ? great : most};
            v.true_frames = i ? 9 : (int)whole.take;
            *samples = i ? whole.take : 18000;
            int expected = k ? RLM_E_TOKENS : 0;
            CHECK(rlm_decode(session, i ? NULL : &v, i ? &a : NULL, &out, &err) == expected);
            rlm_clip_free(&out);
            CHECK(!rlm_tokens_write(engine, path, i ? NULL : &v, i ? &a : NULL, &err));
            CHECK(rlm_tokens_read(engine, path, &back, NULL, NULL, &err) == expected);
            rlm_codes_free(&back);
            if (k == 1 && !i) /* no model says how much a code is: more than any makes is refused */
                CHECK(rlm_tokens_read(NULL, path, &back, NULL, NULL, &err) < 0);
        }
        c->windows = NULL;
        c->window_count = 0;
    }
    a.true_samples = INT64_C(1) << 33;
    CHECK(rlm_decode(session, NULL, &a, &out, &err) == RLM_E_TOKENS);
    CHECK(!rlm_tokens_write(engine, path, NULL, &a, &err));
    CHECK(rlm_tokens_read(engine, path, NULL, &back, NULL, &err) == RLM_E_FORMAT);
    CHECK(rlm_tokens_read(NULL, path, NULL, &back, NULL, &err) == RLM_E_FORMAT);
    rlm_codes_free(&v);
    rlm_codes_free(&a);
    rlm_clip_free(&film);
}

int main(int argc, char **argv)
{
    if (rig_open())
        return 1;
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_keyframes);
    TEST_CASE(case_keyframe_behind);
    TEST_CASE(case_backward);
    TEST_CASE(case_totals);
    TEST_CASE(case_resume);
    TEST_CASE(case_one_window);
    TEST_CASE(case_windows_lie);
    rig_close();
    return TEST_END();
}
