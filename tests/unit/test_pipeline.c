/* The whole flow on a tiny model of random weights: what comes out means nothing, but its sizes,
 * lengths, determinism and refusals do. */
#include "tests/unit/pipeline_rig.h"

/* ---- Cases ----------------------------------------------------------------------------------- */

static void case_text_to_video(void)
{
    plain_request();
    rlm_clip a = generate(9, 40, 32, 18000), b = generate(9, 40, 32, 18000);
    CHECK(a.video.fps_num == 8 && a.audio.rate == 16000 && a.audio.channels == 1);
    CHECK(same_clip(&a, &b));
    rlm_clip_free(&b);
    request.seed = 12;
    b = generate(9, 40, 32, 18000);
    CHECK(!same_clip(&a, &b));
    rlm_clip_free(&b);
    request.seed = 11;
    request.video.cfg_scale = 1.0f;
    b = generate(9, 40, 32, 18000);
    CHECK(!same_clip(&a, &b));
    rlm_clip_free(&a);
    rlm_clip_free(&b);
}

/* The first code frame is drawn as `video` says, those that follow it as `motion` does. */
static void case_motion(void)
{
    plain_request();
    rlm_clip a = generate(9, 40, 32, 18000);
    for (int i = 0; i < 3; i++) {
        plain_request();
        if (i == 0)
            request.motion.temperature = 0;
        else if (i == 1)
            request.motion.cfg_scale = 3; /* guided to the end: no sequence is left early */
        else
            request.video.temperature = 0;
        rlm_clip b = generate(9, 40, 32, 18000);
        size_t picture = (size_t)40 * 32 * 3;
        CHECK(!memcmp(a.video.rgb, b.video.rgb, picture) == (i < 2));
        CHECK(memcmp(a.video.rgb + 8 * picture, b.video.rgb + 8 * picture, picture));
        rlm_clip_free(&b);
    }
    rlm_clip_free(&a);
}

static void case_any_size(void)
{
    static const int sizes[][3] = {{16, 16, 1}, {17, 23, 2}, {64, 33, 6}, {33, 64, 5}};
    plain_request();
    request.audio = 0;
    for (int i = 0; i < 4; i++) {
        request.width = sizes[i][0];
        request.height = sizes[i][1];
        request.frames = sizes[i][2];
        rlm_clip a = generate(sizes[i][2], sizes[i][0], sizes[i][1], 0);
        rlm_clip_free(&a);
    }
}

static void case_longer_than_a_window(void)
{
    plain_request();
    request.frames = 30;
    request.width = request.height = 16;
    rlm_clip a = generate(30, 16, 16, 60000);
    rlm_clip_free(&a);
    request.audio = 0;
    a = generate(30, 16, 16, 0);
    rlm_clip_free(&a);
}

static void case_image(void)
{
    plain_request();
    request.task = RLM_TASK_IMAGE;
    rlm_clip a = generate(1, 40, 32, 0);
    rlm_clip_free(&a);
}

/* The first picture of an animation is the image, as the tokenizer keeps it. */
static void case_animate(void)
{
    rlm_codes codes = {0};
    rlm_clip image = make_clip(1, 40, 32, 8, 0, 0), kept = {0};
    plain_request();
    CHECK(!rlm_encode(session, &image, &codes, NULL, &err));
    CHECK(!rlm_decode(session, &codes, NULL, &kept, &err));
    request.condition = &image;
    rlm_clip a = generate(9, 40, 32, 18000);
    CHECK(!memcmp(a.video.rgb, kept.video.rgb, 40 * 32 * 3));
    rlm_clip_free(&a);
    rlm_clip_free(&kept);
    rlm_codes_free(&codes);
    rlm_clip_free(&image);
}

static void case_other_tasks(void)
{
    rlm_clip film = make_clip(17, 48, 48, 8, 44100 * 2, 44100);
    plain_request();
    request.width = request.height = 32;
    request.condition = &film;
    request.task = RLM_TASK_STYLIZE;
    rlm_clip a = generate(9, 32, 32, 49613); /* the film's own sound, at its rate */
    rlm_clip_free(&a);
    request.task = RLM_TASK_VIDEO_TO_AUDIO;
    a = generate(17, 48, 48, 34000); /* the film as it came */
    rlm_clip_free(&a);
    request.task = RLM_TASK_AUDIO_TO_VIDEO;
    a = generate(9, 32, 32, 49613); /* the sound as it came */
    rlm_clip_free(&a);
    request.task = RLM_TASK_PREDICT;
    a = generate(26, 32, 32, 0);
    rlm_clip_free(&a);
    request.task = RLM_TASK_AV_CONTINUE;
    a = generate(26, 32, 32, 52000);
    rlm_clip_free(&a);
    rlm_clip_free(&film);
}

/* So slow that the sound of a window's pictures fills the model: fewer pictures a window. */
static void case_slow_pictures(void)
{
    rlm_clip film = make_clip(1, 16, 16, 8, 16000, 16000), sound = {.audio = film.audio};
    plain_request();
    request.width = request.height = 16;
    request.frames = 5;
    request.fps_den = 16;
    request.condition = &sound;
    request.task = RLM_TASK_AUDIO_TO_VIDEO;
    rlm_clip a = generate(5, 16, 16, 16000);
    rlm_clip_free(&a);
    rlm_clip_free(&film);
}

/* Source pictures stay as they are; frames of another rate are chosen by time. */
static void case_extend(void)
{
    static const int counts[] = {1, 2, 6, 20};
    for (int i = 0; i < 4; i++) {
        rlm_clip film = make_clip(counts[i], 32, 32, 8, 2000 * counts[i], 16000), out = {0};
        plain_request();
        request.width = request.height = 32;
        if (rlm_extend(session, &request, &film, 1.5, &out, NULL, &err))
            TEST_FAILED("extend: %s", err.text);
        CHECK(out.video.count == counts[i] + 12);
        CHECK(out.audio.count == 2000 * (counts[i] + 12));
        CHECK(!memcmp(out.video.rgb, film.video.rgb, (size_t)counts[i] * 32 * 32 * 3));
        rlm_clip_free(&out);
        rlm_clip_free(&film);
    }
    rlm_clip film = make_clip(50, 20, 20, 25, 0, 0), out = {0};
    CHECK(!rlm_extend(session, &request, &film, 0.5, &out, NULL, &err));
    CHECK(out.video.count == 16 + 4 && out.video.width == 32 && !out.audio.count);
    rlm_clip_free(&out);
    CHECK(rlm_extend(session, &request, &film, -1, &out, NULL, &err) == RLM_E_RANGE);
    CHECK(rlm_extend(session, &request, NULL, 1, &out, NULL, &err) == RLM_E_ARG);
    rlm_clip_free(&film);
}

/* What leaves for a file window by window is what is made in memory. */
typedef struct grown {
    int pictures, asked;
    int64_t samples;
} grown;

static void grown_part(void *cookie, const rlm_clip *part)
{
    grown *s = cookie;
    s->pictures += part->video.count;
    s->samples += part->audio.count;
}

static const char *grown_settings(void *cookie, const rlm_report *report)
{
    grown *s = cookie;
    s->asked++;
    return report ? "{\"at\":\"the end\"}" : "{}";
}

static void case_extend_file(void)
{
    static const char *const words[] = {"a red ball", "grass"};
    enum { FRAMES = 22, MORE = 20 };
    char in[4096], longer[4096];
    rlm_clip film = make_clip(FRAMES, 32, 32, 8, 2000 * FRAMES, 16000);
    snprintf(in, sizeof in, "%s", in_folder("extend_in.avi"));
    snprintf(longer, sizeof longer, "%s", in_folder("extend_out.avi"));
    CHECK(!rlm_media_write(in, &film, NULL, &err));
    for (int i = 0; i < 4; i++) {
        rlm_clip whole = {0}, read = {0};
        grown s = {0};
        rlm_extend_hooks hooks = {.part = grown_part, .settings = grown_settings, .cookie = &s};
        plain_request();
        request.width = request.height = 32;
        request.overlap = i == 1 ? 5 : 0;
        request.reencode = i == 2;
        request.prompts = words;
        request.prompt_count = i == 3 ? 2 : 0;
        if (rlm_extend(session, &request, &film, MORE / 8.0, &whole, NULL, &err) ||
            rlm_extend_file(session, &request, in, MORE / 8.0, longer, NULL, &hooks, NULL, &err) ||
            rlm_media_read(longer, NULL, &read, &err))
            TEST_FAILED("extend: %s", err.text);
        CHECK(s.asked == 2 && s.pictures == FRAMES + MORE && s.samples == 2000 * s.pictures);
        CHECK(read.video.count == FRAMES + MORE && read.audio.count == whole.audio.count);
        CHECK(whole.video.count == FRAMES + MORE && read.metadata && strstr(read.metadata, "end"));
        CHECK(!memcmp(read.video.rgb, whole.video.rgb, (size_t)read.video.count * 32 * 32 * 3));
        CHECK(!memcmp(read.audio.samples, whole.audio.samples,
                      (size_t)read.audio.count * sizeof(float)));
        CHECK(request.reencode == !!memcmp(whole.video.rgb, film.video.rgb, FRAMES * 32 * 32 * 3));
        rlm_clip_free(&read);
        rlm_clip_free(&whole);
    }
    plain_request();
    request.backward = 1;
    CHECK(rlm_extend_file(session, &request, in, 1, longer, NULL, NULL, NULL, &err) ==
          RLM_E_UNSUPPORTED);
    request.backward = 0;
    request.overlap = 7;
    CHECK(rlm_extend_file(session, &request, in, 1, longer, NULL, NULL, NULL, &err) == RLM_E_RANGE);
    request.overlap = 0;
    CHECK(rlm_extend_file(session, &request, in, -1, longer, NULL, NULL, NULL, &err) ==
          RLM_E_RANGE);
    CHECK(rlm_extend_file(session, &request, "none.mp4", 1, longer, NULL, NULL, NULL, &err) ==
          RLM_E_IO);
    remove(in);
    remove(longer);
    rlm_clip_free(&film);
}

/* ---- Progress and cancel --------------------------------------------------------------------- */

typedef struct told {
    int calls, stop_at; /* sampled tokens at which to stop; 0: never */
    int64_t last;
} told;

static int on_progress(void *cookie, const rlm_progress *p)
{
    told *t = cookie;
    t->calls++;
    CHECK(p->done >= 0 && p->done <= p->total);
    if (p->stage == RLM_STAGE_SAMPLE)
        t->last = p->done;
    if (p->stage == RLM_STAGE_SAMPLE && t->stop_at) { /* told rarely: take one's time */
        usleep(20000);
        return p->done >= t->stop_at;
    }
    return 0;
}

static void case_cancel(void)
{
    told t = {0};
    rlm_clip clip = {0};
    plain_request();
    request.progress = on_progress;
    request.progress_cookie = &t;
    request.width = request.height = 128;
    request.frames = 17;
    request.save_tokens = in_folder("cancel.rtok");
    char path[128];
    snprintf(path, sizeof path, "%s", request.save_tokens);
    request.save_tokens = path;
    t.stop_at = 300;
    CHECK(rlm_generate(session, &request, &clip, NULL, &err) == RLM_E_CANCELLED);
    CHECK(t.calls > 2 && t.last >= 300);
    /* the frames that were whole are there, and their tokens */
    int latents = (int)((t.last < 1280 ? t.last : 1280) / 256);
    CHECK(clip.video.count == 1 + 4 * (latents - 1));
    rlm_codes v = {0}, a = {0};
    CHECK(!rlm_tokens_read(engine, path, &v, &a, NULL, &err));
    CHECK(v.dims[0] == latents && v.true_frames == clip.video.count);
    rlm_codes_free(&v);
    rlm_codes_free(&a);
    rlm_clip_free(&clip);
    t = (told){.stop_at = 1};
    CHECK(rlm_generate(session, &request, &clip, NULL, &err) == RLM_E_CANCELLED);
    rlm_clip_free(&clip);
}

enum { SEEN_SIDE = 16, SEEN_ROOM = 64 };
typedef struct seen {
    int calls, next; /* next: one past the last picture shown */
    int slow;
    int64_t done;     /* tokens, as last told */
    int64_t first_at; /* tokens done when the first picture came */
    uint8_t pictures[SEEN_ROOM][SEEN_SIDE * SEEN_SIDE * 3];
} seen;

static void on_preview(void *cookie, const rlm_frames *pictures, int first)
{
    seen *s = cookie;
    CHECK(pictures->width == SEEN_SIDE && pictures->height == SEEN_SIDE && pictures->count > 0);
    CHECK(first == s->next && first + pictures->count <= SEEN_ROOM); /* each once, in order */
    s->first_at = s->calls++ ? s->first_at : s->done;
    memcpy(s->pictures[first], pictures->rgb, (size_t)pictures->count * sizeof s->pictures[0]);
    s->next = first + pictures->count;
    if (s->slow) /* progress is told rarely: take one's time */
        usleep(110000);
}

static int on_token(void *cookie, const rlm_progress *p)
{
    seen *s = cookie;
    if (p->stage == RLM_STAGE_SAMPLE)
        s->done = p->done;
    return 0;
}

static seen watch_request(void)
{
    plain_request();
    request.width = request.height = SEEN_SIDE;
    request.progress = on_token;
    request.preview = on_preview;
    return (seen){0};
}

static void check_seen(const seen *s, const rlm_clip *clip, int from)
{
    CHECK(s->next == clip->video.count);
    for (int i = from; i < s->next && i < SEEN_ROOM; i++)
        if (memcmp(s->pictures[i], clip->video.rgb + (size_t)i * sizeof s->pictures[0],
                   sizeof s->pictures[0]))
            TEST_FAILED("picture %d was shown otherwise", i);
}

/* What is shown early is what comes out, window behind window; watching changes nothing. */
static void case_preview(void)
{
    seen s = watch_request();
    request.preview = NULL;
    request.progress = NULL;
    request.frames = 30;
    rlm_clip plain = generate(30, 16, 16, 60000);
    request.preview = on_preview;
    request.progress = on_token;
    request.preview_cookie = request.progress_cookie = &s;
    rlm_clip watched = generate(30, 16, 16, 60000);
    CHECK(same_clip(&plain, &watched));
    check_seen(&s, &watched, 0);
    CHECK(s.calls >= 8 && s.first_at < 4); /* the first picture has 4 codes of 20 and more */
    rlm_clip_free(&plain);
    rlm_clip_free(&watched);
}

/* What was seen before it is stopped is what there is. */
static int on_token_stop(void *cookie, const rlm_progress *p)
{
    on_token(cookie, p);
    return ((seen *)cookie)->next > 5;
}

static void case_preview_of_other_ways(void)
{
    rlm_clip film = make_clip(9, SEEN_SIDE, SEEN_SIDE, 8, 18000, 16000), clip = {0};
    seen s = watch_request();
    request.preview_cookie = request.progress_cookie = &s;
    request.audio = 0;
    s.next = 9;
    CHECK(!rlm_extend(session, &request, &film, 2, &clip, NULL, &err));
    CHECK(s.next == 9 + 16);
    check_seen(&s, &clip, 9);
    rlm_clip_free(&clip);
    s = watch_request();
    s.slow = 1;
    request.progress = on_token_stop;
    request.preview_cookie = request.progress_cookie = &s;
    request.frames = 17;
    CHECK(rlm_generate(session, &request, &clip, NULL, &err) == RLM_E_CANCELLED);
    check_seen(&s, &clip, 0);
    CHECK(clip.video.count > 5 && clip.video.count <= 17);
    rlm_clip_free(&clip);
    rlm_clip_free(&film);
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

static void case_token_files(void)
{
    rlm_clip film = make_clip(6, 43, 29, 12, 9000, 16000), out = {0};
    rlm_codes v = {0}, a = {0}, v2 = {0}, a2 = {0};
    const char *path = in_folder("x.rtok");
    CHECK(!rlm_encode(session, &film, &v, &a, &err));
    CHECK(v.dims[0] == 3 && v.dims[1] == 4 && v.dims[2] == 6 && a.dims[0] == 4);
    CHECK(!rlm_tokens_write(engine, path, &v, &a, &err));
    CHECK(!rlm_tokens_read(engine, path, &v2, &a2, NULL, &err));
    CHECK(v.count == v2.count && !memcmp(v.ids, v2.ids, (size_t)v.count * 4));
    CHECK(a.count == a2.count && !memcmp(a.ids, a2.ids, (size_t)a.count * 4));
    CHECK(v2.true_width == 43 && v2.true_height == 29 && v2.true_frames == 6 && v2.fps_num == 12);
    CHECK(a2.true_samples == 9000 && a2.rate == 16000);
    CHECK(!rlm_decode(session, &v2, &a2, &out, &err));
    CHECK(out.video.width == 43 && out.video.height == 29 && out.video.count == 6);
    CHECK(out.audio.count == 9000);
    rlm_clip_free(&out);
    v2.tokenizer[0] ^= 1;
    CHECK(rlm_decode(session, &v2, NULL, &out, &err) == RLM_E_TOKENS);
    CHECK(!rlm_tokens_write(NULL, path, &v2, NULL, &err));
    rlm_codes_free(&v2);
    CHECK(rlm_tokens_read(engine, path, &v2, &a2, NULL, &err) == RLM_E_TOKENS);
    CHECK_HAS(err.text, "x.rtok");
    CHECK(!rlm_tokens_read(NULL, path, &v2, NULL, NULL, &err));
    v2.ids[3] = -5;
    CHECK(!rlm_tokens_write(NULL, path, &v2, NULL, &err));
    rlm_codes_free(&v2);
    CHECK(rlm_tokens_read(NULL, path, &v2, NULL, NULL, &err) == RLM_E_TOKENS);
    CHECK(rlm_tokens_read(NULL, in_folder("lm.safetensors"), &v2, NULL, NULL, &err) ==
          RLM_E_FORMAT);
    CHECK(rlm_tokens_read(NULL, in_folder("none.rtok"), &v2, NULL, NULL, &err) == RLM_E_IO);
    CHECK(rlm_tokens_write(engine, in_folder("y.rtok"), NULL, NULL, &err) == RLM_E_ARG);
    rlm_codes_free(&v);
    rlm_codes_free(&a);
    rlm_codes_free(&a2);
    rlm_clip_free(&film);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

/* refuse, and a plain request again. */
static void refuse_once(int expected, const char *part)
{
    refuse(expected, part);
    plain_request();
}

static void case_refusals(void)
{
    plain_request();
    request.width = 15;
    refuse_once(RLM_E_RANGE, "15x32");
    request.height = 2000;
    refuse_once(RLM_E_RANGE, "2000");
    request.frames = 0;
    refuse_once(RLM_E_RANGE, "frames is 0");
    request.frames = 257;
    refuse_once(RLM_E_RANGE, "257");
    request.fps_den = 0;
    refuse_once(RLM_E_RANGE, "8/0");
    request.video.temperature = -1;
    refuse_once(RLM_E_RANGE, "temperature");
    request.audio_sampling.top_p = 0;
    refuse_once(RLM_E_RANGE, "top-p");
    request.motion.temperature = 101;
    refuse_once(RLM_E_RANGE, "motion temperature");
    request.video.min_p = 2;
    refuse_once(RLM_E_RANGE, "min-p");
    request.video.cfg_scale = (float)NAN;
    refuse_once(RLM_E_RANGE, "guidance");
    request.task = 99;
    refuse_once(RLM_E_ARG, "99");
    request.task = RLM_TASK_PREDICT;
    refuse_once(RLM_E_ARG, "condition");
    request.width = request.height =
        1024; /* one frame has 16,384 codes, the model 4096 positions */
    refuse_once(RLM_E_RANGE, "1024x1024");
    rlm_engine *none = NULL;
    CHECK(rlm_open(&none, in_folder("nowhere"), NULL, &err) != 0 && !none);
    rlm_options o;
    rlm_options_defaults(&o);
    o.cpu_mask = "abacus";
    CHECK(rlm_open(&none, folder, &o, &err) == RLM_E_ARG && !none);
}

static void case_out_of_memory(void)
{
    plain_request();
    request.width = request.height = 16;
    request.frames = 5;
    for (int n = 0; n < 400; n += 1 + n / 8) {
        rlm_clip clip = {0};
        rlm_alloc_fail_after(n);
        int code = rlm_generate(session, &request, &clip, NULL, &err);
        rlm_alloc_fail_after(-1);
        CHECK(code == 0 || code == RLM_E_NOMEM);
        rlm_clip_free(&clip);
        if (!code)
            break;
    }
    rlm_clip a = generate(5, 16, 16, 10000);
    rlm_clip_free(&a);
}

static void case_info(void)
{
    char *json = NULL;
    CHECK(!rlm_engine_info(engine, &json, &err));
    if (json) {
        CHECK_HAS(json, "\"lm\"");
        CHECK_HAS(json, "\"kernels\"");
    }
    rlm_string_free(&json);
    CHECK(!json);
    rlm_engine *far = NULL; /* a name longer than the room the text begins with */
    char dir[1600];
    snprintf(dir, sizeof dir, "%s", folder);
    while (strlen(dir) < 1500)
        strcat(dir, "/.");
    CHECK(!rlm_open(&far, dir, NULL, &err));
    CHECK(far && !rlm_engine_info(far, &json, &err));
    CHECK_HAS(json ? json : "", dir);
    CHECK(json && json[strlen(json) - 1] == '}');
    rlm_string_free(&json);
    rlm_close(&far);
}

static void case_max_memory(void)
{
    rlm_options o;
    rlm_engine *small = NULL;
    rlm_session *s = NULL;
    rlm_clip clip = {0};
    rlm_options_defaults(&o);
    o.max_memory = 1 << 20;
    plain_request();
    CHECK(!rlm_open(&small, folder, &o, &err));
    CHECK(!rlm_session_open(&s, small, &err));
    CHECK(rlm_generate(s, &request, &clip, NULL, &err) == RLM_E_LIMIT);
    rlm_session_close(&s);
    rlm_close(&small);
    CHECK(!s && !small);
}

int main(int argc, char **argv)
{
    if (rig_open())
        return 1;
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_text_to_video);
    TEST_CASE(case_motion);
    TEST_CASE(case_any_size);
    TEST_CASE(case_longer_than_a_window);
    TEST_CASE(case_image);
    TEST_CASE(case_animate);
    TEST_CASE(case_other_tasks);
    TEST_CASE(case_slow_pictures);
    TEST_CASE(case_extend);
    TEST_CASE(case_extend_file);
    TEST_CASE(case_cancel);
    TEST_CASE(case_preview);
    TEST_CASE(case_preview_of_other_ways);
    TEST_CASE(case_token_files);
    TEST_CASE(case_refusals);
    TEST_CASE(case_out_of_memory);
    TEST_CASE(case_info);
    TEST_CASE(case_max_memory);
    rig_close();
    return TEST_END();
}
