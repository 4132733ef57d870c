/* What must hold of edits whatever the model says: kept pixels are exact, given pictures' codes
 * stand where they should, a clip of several windows is its token file, and a generation that was
 * stopped goes on as if it had not been. On a tiny model of random weights. */
#include "src/pipeline.h"
#include "tests/unit/pipeline_rig.h"

static size_t pixels(const rlm_frames *v)
{
    return (size_t)v->height * (size_t)v->width * 3;
}

static void edit_request(const rlm_clip *film)
{
    plain_request();
    request.task = RLM_TASK_AUTO;
    request.condition = film;
    request.width = film->video.width;
    request.height = film->video.height;
    request.video.cfg_scale = 1;
}

/* Pixels that differ inside and outside of the hole: outside there must be none. */
static void check_kept(const rlm_clip *in, const rlm_clip *out, int dx, int dy,
                       int (*hole)(int f, int x, int y))
{
    int64_t wrong = 0, changed = 0;
    for (int f = 0; f < in->video.count; f++)
        for (int y = 0; y < in->video.height; y++)
            for (int x = 0; x < in->video.width; x++) {
                size_t a = ((size_t)f * in->video.height + y) * in->video.width + x;
                size_t b = ((size_t)f * out->video.height + y + dy) * out->video.width + x + dx;
                int differs = memcmp(in->video.rgb + 3 * a, out->video.rgb + 3 * b, 3) != 0;
                wrong += differs && !hole(f, x, y);
                changed += differs && hole(f, x, y);
            }
    CHECK(wrong == 0);
    CHECK(changed > 0 || dx || dy);
}

static int in_box(int f, int x, int y)
{
    return f >= 2 && f < 21 && x >= 9 && x < 25 && y >= 5 && y < 20;
}

static int in_circle(int f, int x, int y)
{
    int cx = 10 + f / 2, cy = 16;
    return (x - cx) * (x - cx) + (y - cy) * (y - cy) < 50;
}

static int nowhere(int f, int x, int y)
{
    (void)f;
    (void)x;
    (void)y;
    return 0;
}

static void case_box(void)
{
    rlm_clip film = make_clip(23, 43, 29, 12, 30000, 16000);
    rlm_box box = {9, 5, 16, 15, 2, 21};
    edit_request(&film);
    request.fps_num = 12;
    request.boxes = &box;
    request.box_count = 1;
    rlm_clip a = generate(23, 43, 29, 30000), b = generate(23, 43, 29, 30000);
    check_kept(&film, &a, 0, 0, in_box);
    CHECK(same_clip(&a, &b));
    CHECK(!memcmp(a.audio.samples, film.audio.samples, 30000 * sizeof(float)));
    rlm_clip_free(&a);
    rlm_clip_free(&b);
    request.audio = 0;
    a = generate(23, 43, 29, 0);
    rlm_clip_free(&a);
    rlm_clip_free(&film);
}

static void case_mask(void)
{
    rlm_clip film = make_clip(20, 40, 32, 8, 0, 0), mask = make_clip(20, 40, 32, 8, 0, 0);
    for (int f = 0; f < 20; f++)
        for (int y = 0; y < 32; y++)
            for (int x = 0; x < 40; x++)
                memset(mask.video.rgb + 3 * (((size_t)f * 32 + y) * 40 + x),
                       in_circle(f, x, y) ? 250 : 5, 3);
    edit_request(&film);
    request.mask = &mask;
    rlm_clip a = generate(20, 40, 32, 0);
    check_kept(&film, &a, 0, 0, in_circle);
    rlm_clip_free(&a);
    film.video.count = mask.video.count = 1; /* a picture */
    a = generate(1, 40, 32, 0);
    check_kept(&film, &a, 0, 0, in_circle);
    rlm_clip_free(&a);
    rlm_clip_free(&film);
    rlm_clip_free(&mask);
}

static void case_borders(void)
{
    rlm_clip film = make_clip(6, 40, 32, 8, 0, 0);
    edit_request(&film);
    int border[4] = {8, 5, 0, 11};
    memcpy(request.outpaint, border, sizeof border);
    request.width = 53;
    request.height = 43;
    rlm_clip a = generate(6, 53, 43, 0);
    check_kept(&film, &a, 8, 0, nowhere);
    rlm_clip_free(&a);
    rlm_clip_free(&film);
}

static void refuse(int expected, const char *part)
{
    rlm_clip clip = {0};
    int code = rlm_generate(session, &request, &clip, NULL, &err);
    if (code != expected || !strstr(err.text, part))
        TEST_FAILED("%d \"%s\", expected %d and \"%s\"", code, err.text, expected, part);
    rlm_clip_free(&clip);
}

static void case_refusals(void)
{
    rlm_clip film = make_clip(5, 40, 32, 8, 0, 0), mask = make_clip(3, 40, 32, 8, 0, 0);
    rlm_box box = {30, 0, 11, 4, 0, 0};
    rlm_keyframe keys[2] = {{&film, 3}, {&film, 5}};
    edit_request(&film);
    request.task = RLM_TASK_PAINT;
    refuse(RLM_E_ARG, "mask, a box or borders");
    request.boxes = &box;
    request.box_count = 1;
    refuse(RLM_E_RANGE, "box 1: 11x4 at 30,0");
    box = (rlm_box){0, 0, 4, 4, 3, 9};
    refuse(RLM_E_RANGE, "frames 3 to 9");
    request.mask = &mask;
    request.box_count = 0;
    refuse(RLM_E_ARG, "the mask has 3 frames");
    mask.video.width = 20;
    refuse(RLM_E_ARG, "the mask is 20x32");
    mask.video.width = 40;
    mask.video.count = 1;
    memset(mask.video.rgb, 0, 40 * 32 * 3);
    refuse(RLM_E_ARG, "black");
    request.condition = NULL;
    refuse(RLM_E_ARG, "needs a picture");
    plain_request();
    request.keyframes = keys;
    request.keyframe_count = 2;
    refuse(RLM_E_ARG, "must be 4 apart");
    keys[1].frame = 9;
    refuse(RLM_E_RANGE, "frame 9 of a clip of 9");
    keys[1].frame = -10;
    refuse(RLM_E_RANGE, "free are 0 to 8");
    plain_request();
    request.task = RLM_TASK_STYLIZE;
    refuse(RLM_E_ARG, "needs depth, flow or a video");
    plain_request();
    request.resume_tokens = in_root("none.rtok");
    refuse(RLM_E_IO, "none.rtok");
    rlm_clip_free(&film);
    rlm_clip_free(&mask);
}

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
    char path[128];
    int32_t want[20];
    rlm_codes v = {0};
    rlm_clip image = make_clip(1, 40, 32, 8, 0, 0), other = make_clip(2, 40, 32, 8, 0, 0);
    other.video.rgb += pixels(&other.video);
    other.video.count = 1;
    rlm_keyframe keys[3] = {{&other, 7}, {&image, -1}, {&image, 0}};
    plain_request();
    snprintf(path, sizeof path, "%s/keys.rtok", root);
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
    char path[128];
    rlm_clip film = make_clip(9, 32, 32, 8, 0, 0), image = make_clip(1, 32, 32, 8, 0, 0), out = {0};
    rlm_keyframe keys[2] = {{&image, -1}, {&image, 10}};
    memset(image.video.rgb, 200, pixels(&image.video) / 2);
    snprintf(path, sizeof path, "%s/behind.rtok", root);
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

/* ---- Controls -------------------------------------------------------------------------------- */

static void case_stylize(void)
{
    rlm_clip film = make_clip(30, 40, 32, 8, 0, 0), depth = make_clip(30, 40, 32, 8, 0, 0);
    edit_request(&film);
    request.frames = 30;
    request.task = RLM_TASK_STYLIZE;
    rlm_clip a = generate(30, 40, 32, 0);
    request.depth = &depth;
    rlm_clip b = generate(30, 40, 32, 0);
    CHECK(!same_clip(&a, &b));
    rlm_clip_free(&a);
    request.flow = &depth;
    request.condition = NULL;
    a = generate(30, 40, 32, 0);
    CHECK(!same_clip(&a, &b));
    rlm_clip_free(&a);
    rlm_clip_free(&b);
    depth.video.count = 7;
    request.flow = NULL;
    a = generate(7, 40, 32, 0);
    rlm_clip_free(&a);
    rlm_clip_free(&film);
    rlm_clip_free(&depth);
}

static void case_visualize(void)
{
    rlm_clip sound = make_clip(0, 40, 32, 8, 16000 * 3, 16000);
    plain_request();
    rlm_free(sound.video.rgb);
    sound.video = (rlm_frames){0};
    request.condition = &sound;
    request.frames = 24;
    rlm_clip a = generate(24, 40, 32, 48000);
    CHECK(!memcmp(a.audio.samples, sound.audio.samples, 48000 * sizeof(float)));
    rlm_clip_free(&a);
    rlm_clip_free(&sound);
}

/* The film comes back as it came; its sound is that of the token file. */
static void case_soundtrack(void)
{
    char path[128];
    rlm_codes codes = {0};
    rlm_clip film = make_clip(31, 24, 20, 8, 0, 0), back = {0};
    snprintf(path, sizeof path, "%s/sound.rtok", root);
    plain_request();
    request.task = RLM_TASK_VIDEO_TO_AUDIO;
    request.condition = &film;
    request.width = request.height = 16;
    request.save_tokens = path;
    rlm_clip a = generate(31, 24, 20, 62000);
    CHECK(!memcmp(a.video.rgb, film.video.rgb, 31 * pixels(&film.video)));
    CHECK(!rlm_tokens_read(engine, path, NULL, &codes, NULL, &err));
    CHECK(codes.window_count == 3 && codes.true_samples == 62000);
    CHECK(!rlm_decode(session, NULL, &codes, &back, &err));
    CHECK(back.audio.count == 62000 &&
          !memcmp(back.audio.samples, a.audio.samples, 62000 * sizeof(float)));
    rlm_codes_free(&codes);
    rlm_clip_free(&back);
    rlm_clip_free(&a);
    rlm_clip_free(&film);
}

/* Two spans of a stereo sound of another rate: every sample outside of them is the one that came,
 * in them it is another; the pictures stay. */
static void case_sound_spans(void)
{
    static const rlm_span spans[] = {{0.5, 1.25}, {3.5, 0}};
    rlm_clip film = make_clip(33, 24, 20, 8, 4 * 22050, 22050), out = {0};
    plain_request();
    request.condition = &film;
    request.width = request.height = 16;
    request.spans = spans;
    request.span_count = 2;
    if (rlm_generate(session, &request, &out, NULL, &err))
        TEST_FAILED("%s", err.text);
    CHECK(out.video.count == 33 &&
          !memcmp(out.video.rgb, film.video.rgb, 33 * pixels(&film.video)));
    CHECK(out.audio.count == film.audio.count && out.audio.rate == 22050 &&
          out.audio.channels == film.audio.channels);
    int64_t inside = 0, changed = 0;
    for (int64_t i = 0; i < out.audio.count && i < film.audio.count; i++) {
        double t = (double)i / 22050;
        int in = (t > 0.499 && t < 1.251) || t > 3.499;
        int same = out.audio.samples[i] == film.audio.samples[i];
        CHECK(in || same);
        inside += in;
        changed += in && !same;
    }
    CHECK(changed > inside * 9 / 10);
    rlm_clip_free(&out);
    static const rlm_span wrong[] = {{1, 9}, {2, 2}, {-1, 1}};
    for (int i = 0; i < 3; i++) {
        request.spans = &wrong[i];
        request.span_count = 1;
        CHECK(rlm_generate(session, &request, &out, NULL, &err) == RLM_E_RANGE);
        CHECK_HAS(err.text, "span 1");
    }
    film.audio.count = 0;
    request.spans = spans;
    CHECK(rlm_generate(session, &request, &out, NULL, &err) == RLM_E_ARG);
    CHECK_HAS(err.text, "no sound to keep");
    rlm_clip_free(&film);
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
    char whole[128], part[128];
    snprintf(whole, sizeof whole, "%s/whole.rtok", root);
    snprintf(part, sizeof part, "%s/part.rtok", root);
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

/* A window without holes is not sampled; the token file has it, and resumes at the right one. */
static void case_untouched_window(void)
{
    static const int spans[][2] = {{20, 25}, {2, 6}};
    char path[128];
    snprintf(path, sizeof path, "%s/painted.rtok", root);
    rlm_clip film = make_clip(29, 40, 32, 8, 0, 0);
    for (int i = 0; i < 2; i++) {
        rlm_box box = {9, 5, 16, 15, spans[i][0], spans[i][1]};
        rlm_codes v = {0};
        edit_request(&film);
        request.boxes = &box;
        request.box_count = 1;
        request.save_tokens = path;
        rlm_clip a = generate(29, 40, 32, 0);
        CHECK(!rlm_tokens_read(engine, path, &v, NULL, NULL, &err));
        CHECK(v.window_count == 2 && v.true_frames == 29);
        rlm_codes_free(&v);
        request.save_tokens = NULL;
        request.resume_tokens = path;
        request.seed++; /* all is taken from the file, so it does not matter */
        rlm_clip b = generate(29, 40, 32, 0);
        CHECK(same_clip(&a, &b));
        rlm_clip_free(&a);
        rlm_clip_free(&b);
    }
    rlm_clip_free(&film);
}

/* ---- Filling --------------------------------------------------------------------------------- */

static void case_fill(void)
{
    enum { H = 37, W = 53 };
    static float p[H * W * 3];
    static uint8_t known[H * W];
    for (int i = 0; i < H * W; i++) {
        known[i] = i / W < 5 || i % W > 40;
        for (int c = 0; c < 3; c++)
            p[3 * i + c] = known[i] ? (float)(40 * c) : 1e9f;
    }
    CHECK(!rlm_fill(p, known, H, W, &err));
    for (int i = 0; i < H * W * 3; i++)
        CHECK_NEAR(p[i], 40 * (i % 3), 1e-3);
    /* between dark and bright edges it goes from one to the other */
    for (int i = 0; i < H * W; i++) {
        known[i] = i % W < 4 || i % W >= W - 4;
        for (int c = 0; c < 3; c++)
            p[3 * i + c] = i % W < 4 ? 0.0f : 100.0f;
    }
    CHECK(!rlm_fill(p, known, H, W, &err));
    float left = p[3 * (18 * W + 8)], middle = p[3 * (18 * W + W / 2)],
          right = p[3 * (18 * W + W - 9)];
    CHECK(left < middle && middle < right && left < 30 && right > 70);
}

int main(int argc, char **argv)
{
    if (rig_open())
        return 1;
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_fill);
    TEST_CASE(case_box);
    TEST_CASE(case_mask);
    TEST_CASE(case_borders);
    TEST_CASE(case_refusals);
    TEST_CASE(case_keyframes);
    TEST_CASE(case_keyframe_behind);
    TEST_CASE(case_stylize);
    TEST_CASE(case_visualize);
    TEST_CASE(case_soundtrack);
    TEST_CASE(case_sound_spans);
    TEST_CASE(case_backward);
    TEST_CASE(case_totals);
    TEST_CASE(case_resume);
    TEST_CASE(case_untouched_window);
    rig_close();
    return TEST_END();
}
