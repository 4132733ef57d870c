/* Files a window at a time: whatever the pieces, the codes and the pictures are those of the whole.
 */
#include "src/base/file.h"
#include "src/json_fields.h"
#include "src/media/media.h"
#include "src/pipeline.h"
#include "tests/unit/pipeline_rig.h"

/* Pieces of a stream put together again. */
typedef struct heap {
    rlm_clip clip;
    int calls, most; /* most frames at once */
    int refuse;      /* fail at this call; 0: never */
} heap;

static int gather(void *cookie, const rlm_clip *part, rlm_error *why)
{
    heap *h = cookie;
    rlm_frames *v = &h->clip.video;
    rlm_pcm *a = &h->clip.audio;
    size_t one = (size_t)part->video.height * (size_t)part->video.width * 3;
    if (++h->calls == h->refuse)
        return rlm_fail(why, RLM_E_CANCELLED, "enough");
    h->most = part->video.count > h->most ? part->video.count : h->most;
    if (part->video.count) {
        v->rgb = rlm_realloc(v->rgb, one * v->count, one * (v->count + part->video.count));
        memcpy(v->rgb + one * v->count, part->video.rgb, one * part->video.count);
        v->count += part->video.count;
        v->width = part->video.width;
        v->height = part->video.height;
    }
    if (part->audio.count) {
        a->samples = rlm_realloc(a->samples, (size_t)a->count * sizeof(float),
                                 (size_t)(a->count + part->audio.count) * sizeof(float));
        memcpy(a->samples + a->count, part->audio.samples,
               (size_t)part->audio.count * sizeof(float));
        a->count += part->audio.count;
    }
    return 0;
}

/* 2.3 s of pictures at 16 a second with sound at 22,050 Hz, as a file. */
static const char *film(void)
{
    rlm_clip c = make_clip(37, 44, 30, 16, 22050 * 37 / 16, 22050);
    const char *path = in_folder("film.mkv");
    CHECK(!rlm_media_write(path, &c, NULL, &err));
    rlm_clip_free(&c);
    return path;
}

static rlm_want codec_want(void)
{
    rlm_want want;
    rlm_want_defaults(&want);
    want.rate = 16000;
    want.channels = 1;
    return want;
}

static void case_stream_is_read(void)
{
    static const int windows[] = {1, 5, 16, 100};
    const char *path = film();
    rlm_want want = codec_want();
    for (int rate = 0; rate < 3; rate++) { /* its own, fewer, more pictures a second */
        want.fps_num = rate * 12;
        want.fps_den = rate > 0;
        want.start_s = rate == 2 ? 0.4 : 0;
        rlm_clip whole = {0};
        CHECK(!rlm_media_read(path, &want, &whole, &err));
        CHECK(whole.video.count > 15 && whole.audio.count > 20000);
        for (int i = 0; i < 4; i++) {
            heap h = {0};
            CHECK(!rlm_media_stream(path, &want, windows[i], gather, &h, &err));
            CHECK(h.most <= windows[i] && h.most > 0);
            CHECK(same_clip(&h.clip, &whole));
            rlm_clip_free(&h.clip);
        }
        rlm_clip_free(&whole);
    }
    heap stops = {.refuse = 2};
    CHECK(rlm_media_stream(path, &want, 4, gather, &stops, &err) == RLM_E_CANCELLED);
    rlm_clip_free(&stops.clip);
}

static int same_codes(const rlm_codes *a, const rlm_codes *b)
{
    return a->count > 0 && a->count == b->count && !memcmp(a->dims, b->dims, sizeof a->dims) &&
           !memcmp(a->ids, b->ids, (size_t)a->count * sizeof *a->ids) &&
           !strcmp(a->tokenizer, b->tokenizer) && a->true_frames == b->true_frames &&
           a->true_height == b->true_height && a->true_width == b->true_width &&
           a->fps_num == b->fps_num && a->fps_den == b->fps_den &&
           a->true_samples == b->true_samples && a->rate == b->rate;
}

static void case_file_to_codes(void)
{
    const char *path = film();
    rlm_want want = codec_want();
    rlm_clip whole = {0};
    rlm_codes v[2] = {{{0}}}, a[2] = {{{0}}};
    CHECK(!rlm_media_read(path, &want, &whole, &err));
    CHECK(!rlm_encode(session, &whole, &v[0], &a[0], &err));
    rlm_want_defaults(&want);
    CHECK(!rlm_encode_file(session, path, &want, &v[1], &a[1], &err));
    CHECK(same_codes(&v[0], &v[1]) && same_codes(&a[0], &a[1]));
    rlm_codes_free(&v[1]);
    rlm_codes_free(&a[1]);
    CHECK(!rlm_encode_file(session, path, &want, NULL, &a[1], &err));
    CHECK(a[1].dims[0] == a[0].dims[0] && abs(a[1].dims[1] - a[0].dims[1]) < 8);
    CHECK(rlm_encode_file(session, "/nowhere.mp4", &want, &v[1], NULL, &err) == RLM_E_IO);
    CHECK(!v[1].count);
    for (int i = 0; i < 2; i++) {
        rlm_codes_free(&v[i]);
        rlm_codes_free(&a[i]);
    }
    rlm_clip_free(&whole);
}

/* In a session that never did anything: scratch of both parts is planned for, one beside the other.
 */
static void case_fresh_session(void)
{
    static const int sizes[][2] = {{16, 16}, {64, 48}, {320, 240}};
    rlm_session *used = session;
    for (int i = 0; i < 3; i++) {
        rlm_clip c = make_clip(23, sizes[i][0], sizes[i][1], 8, 16000 * 23 / 8, 16000);
        rlm_codes v = {{0}}, a = {{0}};
        rlm_want want;
        rlm_want_defaults(&want);
        CHECK(!rlm_media_write(in_folder("fresh.mkv"), &c, NULL, &err));
        CHECK(!rlm_session_open(&session, engine, &err));
        CHECK(!rlm_encode_file(session, in_folder("fresh.mkv"), &want, &v, &a, &err));
        rlm_session_close(&session);
        CHECK(!rlm_session_open(&session, engine, &err));
        CHECK(!rlm_decode_file(session, &v, &a, NULL, in_folder("back.mkv"), NULL, &err));
        rlm_session_close(&session);
        rlm_codes_free(&v);
        rlm_codes_free(&a);
        rlm_clip_free(&c);
    }
    session = used;
}

/* Every length around the ends of chunks, in pieces of 1 to 7 frames. */
static void case_pushed_frames(void)
{
    const rlm_model *m = &engine->model;
    for (int frames = 1; frames < 52; frames += 1 + frames / 6) {
        rlm_clip c = make_clip(frames, 24, 19, 8, 0, 0);
        rlm_codes whole = {{0}}, pushed = {{0}};
        rlm_video_encoder *e = NULL;
        CHECK(!rlm_video_encode(&session->run, m->video, &c.video, &whole, &err));
        CHECK(!rlm_video_encoder_open(&e, &session->run, m->video, 19, 24, &err));
        for (int at = 0, n = 1; at < frames; at += n, n = 1 + n % 7) {
            rlm_frames part = c.video;
            part.rgb += (size_t)at * 24 * 19 * 3;
            part.count = frames - at < n ? frames - at : n;
            CHECK(!rlm_video_encoder_push(e, &part, &err));
        }
        CHECK(!rlm_video_encoder_finish(e, &pushed, &err));
        pushed.fps_num = whole.fps_num;
        pushed.fps_den = whole.fps_den;
        CHECK(same_codes(&whole, &pushed));
        rlm_frames other = c.video;
        other.width = 23;
        CHECK(rlm_video_encoder_push(e, &other, &err) == RLM_E_RANGE);
        rlm_video_encoder_close(&e);
        rlm_codes_free(&whole);
        rlm_codes_free(&pushed);
        rlm_clip_free(&c);
    }
}

static void case_pushed_samples(void)
{
    static const int64_t lengths[] = {1,         159,           161,           320 * 128 - 200,
                                      320 * 128, 320 * 128 + 1, 320 * 300 + 77};
    const rlm_model *m = &engine->model;
    CHECK(!rlm_session_plan_audio(session, INT64_MAX, &err));
    for (int i = 0; i < 7; i++) {
        rlm_clip c = make_clip(1, 16, 16, 8, lengths[i], 16000);
        rlm_codes whole = {{0}}, pushed = {{0}};
        rlm_audio_encoder *e = NULL;
        CHECK(!rlm_audio_encode(&session->run, m->audio, &c.audio, &whole, &err));
        CHECK(!rlm_audio_encoder_open(&e, &session->run, m->audio, &err));
        for (int64_t at = 0, n = 1; at < lengths[i]; at += n, n = 1 + n * 3 % 5000) {
            int64_t left = lengths[i] - at;
            CHECK(!rlm_audio_encoder_push(e, left < n ? left : n, c.audio.samples + at, &err));
        }
        CHECK(!rlm_audio_encoder_finish(e, &pushed, &err));
        CHECK(same_codes(&whole, &pushed));
        rlm_audio_encoder_close(&e);
        rlm_codes_free(&whole);
        rlm_codes_free(&pushed);
        rlm_clip_free(&c);
    }
}

/* Equal but for what a resampler fed in other pieces may round otherwise. */
static int same_film(const rlm_clip *a, const rlm_clip *b)
{
    rlm_clip x = *a, y = *b;
    float most = 0;
    x.audio.count = y.audio.count = 0;
    for (int64_t i = 0; i < a->audio.count && i < b->audio.count; i++)
        most = fmaxf(most, fabsf(a->audio.samples[i] - b->audio.samples[i]));
    return same_clip(&x, &y) && a->audio.count == b->audio.count && most < 1e-4f;
}

/* The file made in windows shows and sounds like the one made whole. */
static void case_codes_to_file(void)
{
    rlm_want want;
    rlm_codes v = {{0}}, a = {{0}};
    rlm_want_defaults(&want);
    CHECK(!rlm_encode_file(session, film(), &want, &v, &a, &err));
    static const char *const names[] = {"a.mkv", "a.mp4", "a.webm"};
    for (int i = 0; i < 3; i++) {
        rlm_clip whole = {0}, b = {0}, c = {0};
        CHECK(!rlm_decode(session, &v, &a, &whole, &err));
        CHECK(!rlm_media_write(in_folder(names[i]), &whole, NULL, &err));
        CHECK(!rlm_media_read(in_folder(names[i]), &want, &b, &err));
        CHECK(!rlm_decode_file(session, &v, &a, NULL, in_folder(names[i]), NULL, &err));
        CHECK(!rlm_media_read(in_folder(names[i]), &want, &c, &err));
        CHECK(b.video.count == 37 && b.audio.count > 30000 && same_film(&b, &c));
        rlm_clip_free(&whole);
        rlm_clip_free(&b);
        rlm_clip_free(&c);
    }
    rlm_clip sound = {0};
    CHECK(!rlm_decode_file(session, NULL, &a, NULL, in_folder("a.m4a"), NULL, &err));
    CHECK(!rlm_media_read(in_folder("a.m4a"), &want, &sound, &err));
    CHECK(!sound.video.count && llabs(sound.audio.count - a.true_samples) < 2100);
    rlm_clip_free(&sound);
    CHECK(!rlm_decode_file(session, &v, &a, NULL, in_folder("a.wav"), NULL, &err));
    CHECK(!rlm_media_read(in_folder("a.wav"), &want, &sound, &err));
    CHECK(sound.audio.count == a.true_samples);
    rlm_clip_free(&sound);
    a.ids[5] = 99999;
    CHECK(rlm_decode_file(session, &v, &a, NULL, in_folder("b.mp4"), NULL, &err) == RLM_E_TOKENS);
    CHECK(access(in_folder("b.mp4"), F_OK) != 0);
    CHECK(rlm_decode_file(session, NULL, NULL, NULL, in_folder("b.mp4"), NULL, &err) ==
          RLM_E_TOKENS);
    rlm_codes_free(&v);
    rlm_codes_free(&a);
}

/* A film whose sound has no decoder is made longer without it. */
static void case_extend_undecodable(void)
{
    char line[512];
    rlm_clip out = {0};
    const char *in = in_folder("wide.mkv");
    snprintf(line, sizeof line,
             "ffmpeg -v error -y -f lavfi -i testsrc=s=32x32:r=8:d=2 -f lavfi -i "
             "anullsrc=cl=24c:r=16000:d=2 -c:v ffv1 -c:a pcm_s16le %s </dev/null >/dev/null 2>&1",
             in);
    if (system(line))
        TEST_SKIP("no ffmpeg program");
    plain_request();
    request.width = request.height = 32;
    if (rlm_extend_file(session, &request, in, 0.5, in_folder("longer.mkv"), NULL, NULL, NULL,
                        &err))
        TEST_FAILED("extend: %s", err.text);
    CHECK(!rlm_media_read(in_folder("longer.mkv"), NULL, &out, &err));
    CHECK(out.video.count == 16 + 4 && !out.audio.count);
    rlm_clip_free(&out);
}

/* What an extension backwards took is given back when its sound finds no memory. */
static void case_backward_out_of_memory(void)
{
    rlm_clip film = make_clip(5, 16, 16, 8, 10000, 16000);
    plain_request();
    request.width = request.height = 16;
    request.backward = 1;
    rlm_clip warm = {0};
    CHECK(!rlm_extend(session, &request, &film, 0.5, &warm, NULL, &err));
    rlm_clip_free(&warm);
    size_t before = rlm_alloc_bytes();
    for (int n = 0, code = 1; n < 900 && code; n++) {
        rlm_clip out = {0};
        rlm_alloc_fail_after(n);
        code = rlm_extend(session, &request, &film, 0.5, &out, NULL, &err);
        rlm_alloc_fail_after(-1);
        CHECK(code == 0 || code == RLM_E_NOMEM);
        rlm_clip_free(&out);
        if (rlm_alloc_bytes() > before + 256)
            TEST_FAILED("allocation %d: %zu bytes are left", n, rlm_alloc_bytes() - before);
        before = rlm_alloc_bytes() > before ? rlm_alloc_bytes() : before;
    }
    rlm_clip_free(&film);
}

/* Whole files are joined with their sound: of 17 pictures at 8 a second it ends 19 codes before the
 * next file's last picture of its first code, and comes back from its end there. */
static void case_joined_sound(void)
{
    enum { LEVELS = 2, N = 106, START = 125 };
    rlm_codes video = {.dims = {10, 4, 4}, .fps_num = 8, .fps_den = 1, .count = 160}, part[2];
    for (int i = 0; i < 2; i++) {
        part[i] = (rlm_codes){.dims = {LEVELS, N}, .count = LEVELS * N, .rate = 16000};
        part[i].true_samples = 17 * 16000 / 8;
        part[i].ids = rlm_alloc(LEVELS * N * sizeof *part[i].ids);
        for (int k = 0; k < LEVELS * N; k++)
            part[i].ids[k] = k + 500 * i;
    }
    CHECK(!rlm_codes_join_sound(&part[0], &part[1], &video, 5, &err));
    CHECK(part[0].dims[1] == START + N && part[0].true_samples == START * 320 + 34000);
    for (int level = 0; level < LEVELS; level++) {
        const int32_t *ids = part[0].ids + level * (START + N);
        CHECK(ids[N - 1] == level * N + N - 1 && ids[N] == ids[N - 1]);
        CHECK(ids[START - 1] == ids[N - 1 - 18] && ids[START] == level * N + 500);
        CHECK(ids[START + N - 1] == level * N + N - 1 + 500);
    }
    video.dims[0] = 40; /* the next begins seconds later */
    CHECK(rlm_codes_join_sound(&part[0], &part[1], &video, 30, &err) == RLM_E_UNSUPPORTED);
    CHECK(part[0].dims[1] == START + N);
    rlm_codes_free(&part[0]);
    rlm_codes_free(&part[1]);
}

static int always(void)
{
    return 1;
}

/* What a killed convert left goes with the next, but not what belongs to a process that lives; one
 * that is stopped leaves nothing. */
static void case_convert_leaves_nothing(void)
{
    char to[128], stale[160], alive[160], mine[160], other[160];
    snprintf(to, sizeof to, "%s", in_folder("converted"));
    snprintf(stale, sizeof stale, "%s.tmp.%d", to, 1 << 22); /* no process has that number */
    snprintf(other, sizeof other, "%s-too.tmp.%d", to, 1 << 22);
    snprintf(alive, sizeof alive, "%s.tmp.%ld", to, (long)getppid());
    snprintf(mine, sizeof mine, "%s.tmp.%ld", to, (long)getpid());
    CHECK(!rlm_mkdirs(stale, &err) && !rlm_mkdirs(alive, &err) && !rlm_mkdirs(other, &err));
    char *inside = rlm_path_join(stale, "config.json");
    CHECK(!rlm_file_write(inside, "{}", 2, &err));
    rlm_free(inside);
    CHECK(rlm_convert(folder, to, "q4", NULL, always, NULL, &err) == RLM_E_CANCELLED);
    CHECK(!rlm_is_dir(to) && !rlm_is_dir(mine) && !rlm_is_dir(stale));
    CHECK(rlm_is_dir(alive) && rlm_is_dir(other));
    rmdir(alive);
    rmdir(other);
    CHECK(!rlm_convert(folder, to, "q4", NULL, NULL, NULL, &err) && rlm_is_dir(to));
}

static void case_list_of_numbers(void)
{
    typedef struct numbers {
        int at[4];
    } numbers;
    static const rlm_field field = {.name = "at",
                                    .kind = RLM_FIELD_INTS,
                                    .offset = offsetof(numbers, at),
                                    .most = 4,
                                    .high = 9};
    numbers n = {{0}};
    void *json = NULL;
    CHECK(!rlm_file_write(in_folder("list.json"), "{\"at\":[true,2]}", 15, &err));
    CHECK(!rlm_json_read(in_folder("list.json"), &json, &err));
    CHECK(rlm_fields_read(json, &field, 1, &n, "list.json", &err) == RLM_E_RANGE);
    CHECK_HAS(err.text, "at");
    rlm_json_free(json);
}

/* Seconds become whole frames; the most there may be is allowed, one more is not. */
static void case_frames_of_an_extension(void)
{
    rlm_job j = {.r = &request};
    int frames = 0;
    plain_request();
    request.fps_num = 30000;
    request.fps_den = 1001;
    CHECK(!rlm_extend_frames(&j, 9, 1.001, 39, &frames, &err) && frames == 39);
    CHECK(!rlm_extend_frames(&j, 9, 0.01, 39, &frames, &err) && frames == 10);
    CHECK(rlm_extend_frames(&j, 9, 1.001, 38, &frames, &err) == RLM_E_RANGE);
    CHECK_HAS(err.text, "39 frames in all, at most 38");
    static const double wrong[] = {0, -1, 3601, NAN};
    for (int i = 0; i < 4; i++)
        CHECK(rlm_extend_frames(&j, 9, wrong[i], 1 << 30, &frames, &err) == RLM_E_RANGE);
}

/* ---- Grids as values ------------------------------------------------------------------------- */

/* 2 x 3 codes a frame, numbered from `first` on. */
static rlm_codes some_codes(int frames, int first)
{
    rlm_codes c = {.dims = {frames, 2, 3}, .count = frames * 6, .true_frames = frames * 4 - 3};
    c.fps_num = 12;
    c.fps_den = 1;
    snprintf(c.tokenizer, sizeof c.tokenizer, "v");
    c.ids = rlm_alloc((size_t)c.count * sizeof *c.ids);
    for (int i = 0; i < c.count; i++)
        c.ids[i] = first + i;
    return c;
}

/* Four levels; code f of level q is 1000 q + first + f. */
static rlm_codes some_sound(int frames, int first)
{
    rlm_codes c = {.dims = {4, frames, 1}, .count = frames * 4, .true_samples = frames * 320};
    c.rate = 16000;
    snprintf(c.tokenizer, sizeof c.tokenizer, "a");
    c.ids = rlm_alloc((size_t)c.count * sizeof *c.ids);
    for (int i = 0; i < c.count; i++)
        c.ids[i] = i / frames * 1000 + first + i % frames;
    return c;
}

static void case_codes_are_cut(void)
{
    static const int outside[][2] = {{-1, 2}, {2, 2}, {3, 2}, {0, 6}};
    rlm_codes v = some_codes(5, 0), whole = v, s = some_sound(83, 0);
    for (int i = 0; i < 4; i++) {
        CHECK(rlm_codes_cut(&v, outside[i][0], outside[i][1], &err) == RLM_E_RANGE);
        CHECK_HAS(err.text, "outside 0:5");
    }
    CHECK(!rlm_codes_cut(&v, 0, 5, &err) && v.count == 30 && v.true_frames == 17);
    CHECK(!rlm_codes_cut(&v, 2, 4, &err) && v.dims[0] == 2 && v.count == 12);
    CHECK(v.ids[0] == 12 && v.ids[11] == 23 && v.true_frames == 5);
    CHECK(!rlm_codes_cut_sound(&s, &whole, 2, 4, &err)); /* 16 2/3 codes a latent frame */
    CHECK(s.dims[1] == 67 - 33 && s.count == 4 * 34 && s.true_samples == 34 * 320);
    CHECK(s.ids[0] == 33 && s.ids[33] == 66 && s.ids[34] == 1033 && s.ids[135] == 3066);
    CHECK(rlm_codes_cut_sound(&s, &whole, 3, 5, &err) == RLM_E_UNSUPPORTED); /* ends before */
    s.rate = 24000;
    CHECK(rlm_codes_cut_sound(&s, &whole, 0, 1, &err) == RLM_E_UNSUPPORTED);
    CHECK_HAS(err.text, "not at 50 codes a second");
    rlm_codes_free(&v);
    rlm_codes_free(&s);
}

static void case_codes_are_joined(void)
{
    rlm_codes a = some_codes(2, 0), b = some_codes(3, 100);
    CHECK(!rlm_codes_join(&a, &b, &err) && a.dims[0] == 5 && a.count == 30);
    CHECK(a.ids[11] == 11 && a.ids[12] == 100 && a.ids[29] == 117 && a.true_frames == 17);
    b.dims[2] = 2;
    CHECK(rlm_codes_join(&a, &b, &err) == RLM_E_TOKENS);
    b.dims[2] = 3;
    b.tokenizer[0] = 'w';
    CHECK(rlm_codes_join(&a, &b, &err) == RLM_E_TOKENS && a.count == 30);
    rlm_codes_free(&b);
    CHECK(rlm_codes_join(&a, &b, &err) == RLM_E_TOKENS);
    rlm_codes_free(&a);
}

/* b's sound begins where its pictures do: behind 33 codes of a's, one less for rounding; what lacks
 * is a's end backwards. */
static void case_sounds_are_joined(void)
{
    rlm_codes video = some_codes(2, 0), none = {0};
    for (int have = 31; have <= 35; have++) {
        rlm_codes a = some_sound(have, 0), b = some_sound(7, 500);
        int kept = have == 32 ? 32 : 33;
        CHECK(!rlm_codes_join_sound(&a, &b, &video, 2, &err));
        CHECK(a.dims[1] == kept + 7 && a.count == 4 * (kept + 7));
        CHECK(a.true_samples == (kept + 7) * 320);
        CHECK(a.ids[kept - 1] == (have == 31 ? 29 : kept - 1) && a.ids[kept] == 500);
        CHECK(a.ids[kept + 7] == 1000 && a.ids[4 * (kept + 7) - 1] == 3506);
        b.dims[0] = 3;
        CHECK(rlm_codes_join_sound(&a, &b, &video, 2, &err) == RLM_E_UNSUPPORTED);
        CHECK_HAS(err.text, "different codecs");
        rlm_codes_free(&b);
        CHECK(rlm_codes_join_sound(&a, &b, &video, 2, &err) == RLM_E_UNSUPPORTED);
        CHECK_HAS(err.text, "not all files have one");
        rlm_codes_free(&a);
    }
    CHECK(!rlm_codes_join_sound(&none, &none, &video, 2, &err) && !none.ids);
    rlm_codes_free(&video);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    if (rig_open())
        return 1;
    TEST_CASE(case_stream_is_read);
    TEST_CASE(case_file_to_codes);
    TEST_CASE(case_fresh_session);
    TEST_CASE(case_pushed_frames);
    TEST_CASE(case_pushed_samples);
    TEST_CASE(case_codes_to_file);
    TEST_CASE(case_extend_undecodable);
    TEST_CASE(case_backward_out_of_memory);
    TEST_CASE(case_joined_sound);
    TEST_CASE(case_convert_leaves_nothing);
    TEST_CASE(case_list_of_numbers);
    TEST_CASE(case_frames_of_an_extension);
    TEST_CASE(case_codes_are_cut);
    TEST_CASE(case_codes_are_joined);
    TEST_CASE(case_sounds_are_joined);
    rig_close();
    return TEST_END();
}
