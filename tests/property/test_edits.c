/* What must hold of edits whatever the model says: kept pixels and samples are exact, and what a
 * window without holes keeps stands in the token file. On a tiny model of random weights. */
#include "src/pipeline.h"
#include "tests/unit/pipeline_rig.h"

/* How far pixels reach: frames, columns and rows, from and to. */
typedef struct extent {
    int from[3], to[3], count;
} extent;

static void reach(extent *e, int f, int x, int y)
{
    const int at[3] = {f, x, y};
    for (int i = 0; i < 3; i++) {
        e->from[i] = e->count && e->from[i] < at[i] ? e->from[i] : at[i];
        e->to[i] = e->count && e->to[i] > at[i] ? e->to[i] : at[i];
    }
    e->count++;
}

/* Pixels that differ: none outside of the hole; inside as far as it reaches. */
static void check_kept(const rlm_clip *in, const rlm_clip *out, int dx, int dy,
                       int (*hole)(int f, int x, int y))
{
    int64_t wrong = 0;
    extent changed = {0}, holes = {0};
    for (int f = 0; f < in->video.count; f++)
        for (int y = 0; y < in->video.height; y++)
            for (int x = 0; x < in->video.width; x++) {
                size_t a = ((size_t)f * in->video.height + y) * in->video.width + x;
                size_t b = ((size_t)f * out->video.height + y + dy) * out->video.width + x + dx;
                int differs = memcmp(in->video.rgb + 3 * a, out->video.rgb + 3 * b, 3) != 0;
                wrong += differs && !hole(f, x, y);
                if (hole(f, x, y))
                    reach(&holes, f, x, y);
                if (differs && hole(f, x, y))
                    reach(&changed, f, x, y);
            }
    CHECK(wrong == 0);
    CHECK(!memcmp(changed.from, holes.from, sizeof holes.from));
    CHECK(!memcmp(changed.to, holes.to, sizeof holes.to));
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

/* By another seed those codes differ whose pixels the hole touches, and no others. */
static void case_codes_of_a_hole(void)
{
    rlm_clip film = make_clip(9, 40, 32, 8, 0, 0);
    rlm_box box = {8, 8, 16, 16, 5, 9}; /* to the edges of codes: those of latent frame 2 */
    rlm_codes v[2] = {0};
    edit_request(&film);
    request.boxes = &box;
    request.box_count = 1;
    request.save_tokens = in_folder("hole.rtok");
    for (int i = 0; i < 2; i++, request.seed++) {
        rlm_clip a = generate(9, 40, 32, 0);
        CHECK(!rlm_tokens_read(engine, request.save_tokens, &v[i], NULL, NULL, &err));
        rlm_clip_free(&a);
    }
    CHECK(v[0].count == 3 * 4 * 5 && v[1].count == v[0].count);
    for (int i = 0; i < v[0].count && i < v[1].count; i++) {
        int t = i / 20, y = i / 5 % 4, x = i % 5,
            made = t == 2 && (y == 1 || y == 2) && (x == 1 || x == 2);
        if ((v[0].ids[i] != v[1].ids[i]) != made)
            TEST_FAILED("code %d, %d, %d was %s", t, y, x, made ? "kept" : "made");
    }
    rlm_codes_free(&v[0]);
    rlm_codes_free(&v[1]);
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
    /* at another shape the middle would be left, and nothing to make; nearly it, all is */
    int sides[4] = {40, 40, 0, 0};
    memcpy(request.outpaint, sides, sizeof sides);
    request.width = request.height = 32;
    refuse(RLM_E_RANGE, "picture is 120x32: 32x32 would crop them away");
    int narrow[4] = {1, 1, 0, 0};
    memcpy(request.outpaint, narrow, sizeof narrow);
    request.width = 40;
    a = generate(6, 40, 32, 0);
    size_t changed = 0, n = pixels(&film.video);
    for (size_t i = 0; i < n; i++)
        changed += a.video.rgb[i] != film.video.rgb[i];
    CHECK(changed); /* the border is made: cropped away, the picture would be the film's own */
    rlm_clip_free(&a);
    rlm_clip_free(&film);
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
    refuse(RLM_E_RANGE, "frames 3 to 8, the video has 0 to 4");
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
    request.resume_tokens = in_folder("none.rtok");
    refuse(RLM_E_IO, "none.rtok");
    rlm_clip_free(&film);
    rlm_clip_free(&mask);
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

/* A window begins with the codes of the last pictures made, and goes on from there. */
static void case_windows_share_pictures(void)
{
    rlm_clip film = make_clip(24, 40, 32, 8, 0, 0);
    rlm_codes v = {0}, shared = {0};
    edit_request(&film);
    request.frames = 24;
    request.task = RLM_TASK_STYLIZE;
    request.save_tokens = in_folder("windows.rtok");
    rlm_clip a = generate(24, 40, 32, 0), tail = {.video = a.video};
    CHECK(!rlm_tokens_read(engine, request.save_tokens, &v, NULL, NULL, &err));
    CHECK(v.window_count == 2 && v.windows[0].codes == 5 && v.windows[1].skip == 5);
    tail.video.rgb += 12 * pixels(&a.video); /* the last 5 of the first 17 */
    tail.video.count = 5;
    CHECK(!rlm_encode(session, &tail, &shared, NULL, &err));
    CHECK(shared.count == 2 * 20 && v.count >= 7 * 20 &&
          !memcmp(v.ids + 5 * 20, shared.ids, 2 * 20 * sizeof *v.ids));
    rlm_codes_free(&shared);
    rlm_codes_free(&v);
    rlm_clip_free(&a);
    rlm_clip_free(&film);
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
    rlm_codes codes = {0};
    rlm_clip film = make_clip(31, 24, 20, 8, 0, 0), back = {0};
    const char *path = in_folder("sound.rtok");
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

/* Codes of sound that is kept are its own, before the span and behind it: of two seeds those differ
 * that lie in it. */
static void case_sound_around_a_span(void)
{
    static const rlm_span span = {1.0, 1.5};
    rlm_clip film = make_clip(33, 24, 20, 8, 4 * 22050, 22050), out = {0};
    rlm_codes a[2] = {0};
    plain_request();
    request.condition = &film;
    request.width = request.height = 16;
    request.spans = &span;
    request.span_count = 1;
    request.save_tokens = in_folder("span.rtok");
    for (int i = 0; i < 2; i++, request.seed++) {
        CHECK(!rlm_generate(session, &request, &out, NULL, &err));
        CHECK(!rlm_tokens_read(engine, request.save_tokens, NULL, &a[i], NULL, &err));
        rlm_clip_free(&out);
    }
    /* the window begins 5 pictures, 0.625 s, before the span and lasts 17; 50 codes a second */
    CHECK(a[0].dims[1] == 106 && a[1].count == a[0].count);
    extent made = {0};
    for (int i = 0; i < a[0].count && i < a[1].count; i++)
        if (a[0].ids[i] != a[1].ids[i])
            reach(&made, i % 106, i / 106, 0);
    CHECK(made.from[0] == 31 && made.to[0] == 56 && made.from[1] == 0 && made.to[1] == 3);
    CHECK(made.count > 4 * 26 / 2);
    rlm_codes_free(&a[0]);
    rlm_codes_free(&a[1]);
    rlm_clip_free(&film);
}

/* Each picture of a painting is shown once, in order, those of windows without holes too. */
static void count_shown(void *cookie, const rlm_frames *pictures, int first)
{
    int *next = cookie;
    CHECK(first == *next && pictures->count > 0);
    *next = first + pictures->count;
}

/* A window without holes is not sampled; the token file has it, and resumes at the right one. */
static void case_untouched_window(void)
{
    static const int spans[][2] = {{20, 25}, {2, 6}};
    const char *path = in_folder("painted.rtok");
    rlm_clip film = make_clip(29, 40, 32, 8, 0, 0);
    for (int i = 0; i < 2; i++) {
        rlm_box box = {9, 5, 16, 15, spans[i][0], spans[i][1]};
        rlm_codes v = {0};
        edit_request(&film);
        request.boxes = &box;
        request.box_count = 1;
        request.save_tokens = path;
        request.settings = "{\"ai_generated\":true}";
        rlm_clip a = generate(29, 40, 32, 0);
        char *settings = NULL; /* they tell a decoder that a recording is in it */
        CHECK(!rlm_tokens_read(engine, path, &v, NULL, &settings, &err));
        CHECK_HAS(settings ? settings : "", "\"compositeWithTrainedAlgorithmicMedia\"");
        rlm_string_free(&settings);
        CHECK(v.window_count == 2 && v.true_frames == 29);
        rlm_codes_free(&v);
        request.save_tokens = NULL;
        request.resume_tokens = path;
        request.seed++; /* all is taken from the file, so it does not matter */
        int shown = 0;
        request.preview = count_shown;
        request.preview_cookie = &shown;
        rlm_clip b = generate(29, 40, 32, 0);
        CHECK(same_clip(&a, &b) && shown == 29);
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
    TEST_CASE(case_codes_of_a_hole);
    TEST_CASE(case_mask);
    TEST_CASE(case_borders);
    TEST_CASE(case_refusals);
    TEST_CASE(case_stylize);
    TEST_CASE(case_windows_share_pictures);
    TEST_CASE(case_visualize);
    TEST_CASE(case_soundtrack);
    TEST_CASE(case_sound_spans);
    TEST_CASE(case_sound_around_a_span);
    TEST_CASE(case_untouched_window);
    rig_close();
    return TEST_END();
}
