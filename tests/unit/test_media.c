/* Media there and back: every format, every wish of a reader. */
#include <malloc.h>
#include <sys/mman.h>

#include "src/base/rng.h"
#include "src/media/media.h"
#include "tests/unit/media_rig.h"

/* ---- There and back -------------------------------------------------------------------------- */

typedef struct trip {
    const char *name;
    int width, height, count, fps;
    double least_psnr;               /* 0: no picture comes back */
    int rate_in, rate_out, channels; /* rate_out 0: no sound comes back */
} trip;

static const trip trips[] = {
    {"a.mp4", 128, 128, 17, 8, 36, 16000, 16000, 1},
    {"odd.mp4", 127, 95, 9, 8, 36, 16000, 16000, 1},
    {"one.mp4", 64, 64, 1, 8, 34, 0, 0, 0},
    {"tiny.mp4", 1, 3, 5, 8, 18, 0, 0, 0},
    {"wide.mp4", 224, 128, 30, 30, 36, 48000, 48000, 2},
    {"odd.mov", 71, 51, 9, 8, 36, 44100, 44100, 2},
    {"a.mov", 128, 128, 17, 8, 36, 44100, 44100, 2},
    {"a.mkv", 128, 224, 41, 8, 36, 16000, 48000, 1},
    {"odd.mkv", 33, 65, 9, 24, 36, 8000, 48000, 1},
    {"a.webm", 128, 128, 17, 8, 34, 16000, 48000, 1},
    {"odd.webm", 127, 95, 9, 8, 34, 48000, 48000, 2},
    {"a.gif", 128, 128, 17, 8, 28, 16000, 0, 1},
    {"odd.gif", 63, 31, 5, 10, 28, 0, 0, 0},
    {"a.y4m", 128, 128, 17, 8, 45, 0, 0, 0},
    {"odd.y4m", 77, 51, 3, 25, 45, 0, 0, 0},
    {"a.png", 129, 67, 1, 8, 99, 0, 0, 0},
    {"a.wav", 0, 0, 0, 8, 0, 16000, 16000, 1},
    {"b.wav", 0, 0, 0, 8, 0, 96000, 96000, 2},
    {"a.flac", 0, 0, 0, 8, 0, 8000, 8000, 2},
    {"a.ogg", 0, 0, 0, 8, 0, 16000, 16000, 1},
    {"a.m4a", 0, 0, 0, 8, 0, 22050, 22050, 1},
};

static void trip_one(const trip *t)
{
    double seconds = t->count ? (double)t->count / t->fps : 2.125;
    rlm_clip in = make_clip(t->count, t->width, t->height, t->fps, t->rate_in ? seconds : 0,
                            t->rate_in, t->channels);
    rlm_clip out = {0};
    if (write_ok(in_folder(t->name), &in, NULL) && read_ok(in_folder(t->name), NULL, &out)) {
        if (t->least_psnr > 0) {
            if (out.video.width != t->width || out.video.height != t->height ||
                out.video.count != t->count)
                TEST_FAILED("%s: came back as %d frames of %dx%d", t->name, out.video.count,
                            out.video.width, out.video.height);
            double got = psnr(&in.video, &out.video);
            if (got < t->least_psnr)
                TEST_FAILED("%s: %.1f dB, expected %.1f", t->name, got, t->least_psnr);
            if (t->count > 1 && !strstr(t->name, "gif"))
                CHECK_NEAR((double)out.video.fps_num / out.video.fps_den, t->fps, 1e-3);
        } else {
            CHECK(out.video.count == 0);
        }
        CHECK(out.audio.rate == t->rate_out);
        if (t->rate_out) {
            CHECK(out.audio.channels == t->channels);
            double frame = t->count ? 1.0 / t->fps : 0.05;
            if (fabs((double)out.audio.count / out.audio.rate - seconds) > frame)
                TEST_FAILED("%s: %.3f s of sound, expected %.3f", t->name,
                            (double)out.audio.count / out.audio.rate, seconds);
            CHECK_NEAR(loudness(&out.audio), 0.4 / sqrt(2), 0.03);
            CHECK_NEAR(pitch(&out.audio), 440, 6);
        }
    }
    rlm_clip_free(&in);
    rlm_clip_free(&out);
    CHECK(!in.video.rgb && !in.audio.samples);
}

static void case_round_trips(void)
{
    for (size_t i = 0; i < sizeof trips / sizeof *trips; i++)
        trip_one(&trips[i]);
}

static void case_lossless_sound(void)
{
    rlm_clip in = make_clip(0, 0, 0, 8, 0.5, 16000, 2), out = {0};
    if (write_ok(in_folder("exact.flac"), &in, NULL) &&
        read_ok(in_folder("exact.flac"), NULL, &out)) {
        CHECK(out.audio.count == in.audio.count);
        double worst = 0;
        for (int64_t i = 0; i < out.audio.count * 2 && i < in.audio.count * 2; i++)
            worst = fmax(worst, fabs((double)out.audio.samples[i] - in.audio.samples[i]));
        CHECK(worst < 1.0 / 30000);
    }
    rlm_clip_free(&in);
    rlm_clip_free(&out);
}

/* AVI keeps every bit of a picture of any size, and sound as floats. */
static void case_lossless_video(void)
{
    rlm_clip in = make_clip(5, 33, 65, 8, 0.625, 16000, 1), out = {0};
    for (size_t i = 0; i < (size_t)5 * 33 * 65 * 3; i++)
        in.video.rgb[i] = (uint8_t)rlm_rng_below(3, 0, i, 256);
    if (write_ok(in_folder("exact.avi"), &in, NULL) &&
        read_ok(in_folder("exact.avi"), NULL, &out)) {
        CHECK(out.video.count == 5 && out.video.width == 33 && out.video.height == 65);
        CHECK(!memcmp(in.video.rgb, out.video.rgb, (size_t)5 * 33 * 65 * 3));
        CHECK(out.audio.count == 10000 &&
              !memcmp(in.audio.samples, out.audio.samples, 10000 * sizeof(float)));
    }
    rlm_clip_free(&in);
    rlm_clip_free(&out);
}

/* Sound longer or shorter than the picture is cut or filled up. */
static void case_sound_fits_picture(void)
{
    static const double seconds[] = {0.3, 1.0, 5.0};
    static const char *const names[] = {"fit.mp4", "fit.mkv", "fit.webm"};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            rlm_clip in = make_clip(16, 64, 64, 8, seconds[k], 16000, 1), out = {0};
            if (write_ok(in_folder(names[i]), &in, NULL) &&
                read_ok(in_folder(names[i]), NULL, &out))
                CHECK_NEAR((double)out.audio.count / out.audio.rate, 2.0, 0.126);
            rlm_clip_free(&in);
            rlm_clip_free(&out);
        }
}

/* The same clip is the same file, whatever lay in memory before. */
static void case_same_bytes(void)
{
    static const int sizes[][2] = {{32, 24}, {32, 128}, {34, 34}, {96, 64}};
    static const int rounds[] = {0, 1, 85, 200, 254};
    static const char *const names[] = {"same.mp4", "same.mkv", "same.webm"};
    for (int i = 0; i < 12; i++) {
        const int *size = sizes[i / 3];
        const char *path = in_folder(names[i % 3]);
        char sha[65], first[65] = "";
        rlm_error err = {0};
        rlm_clip in = make_clip(5, size[0], size[1], 8, 0.625, 16000, 1);
        size_t n = (size_t)size[0] * (size_t)size[1] * 3;
        for (size_t k = 0; k < 5 * n; k++) { /* waves that drift, and grain */
            float x = (float)(k / 3 % (size_t)size[0]), y = (float)(k % n / 3 / (size_t)size[0]);
            float t = (float)(k / n);
            in.video.rgb[k] =
                (uint8_t)(110 + 50 * sinf(0.31f * x + 0.6f * t) * cosf(0.23f * y - t) +
                          (float)rlm_rng_below(1, 0, k, 24));
        }
        for (int round = 0; round < 5; round++) {
            mallopt(M_PERTURB, rounds[round]); /* what fresh memory holds */
            sha[0] = 0;
            CHECK(write_ok(path, &in, NULL) && !rlm_file_sha256(path, sha, &err));
            if (round && strcmp(sha, first))
                TEST_FAILED("%s of %dx%d: round %d differs", names[i % 3], size[0], size[1], round);
            memcpy(first, sha, sizeof first);
        }
        rlm_clip_free(&in);
    }
    mallopt(M_PERTURB, 0);
}

/* Colour edges of an odd picture come back where they stood: its chroma belongs to even sides. */
static void case_odd_chroma(void)
{
    rlm_clip in = make_clip(3, 71, 51, 8, 0, 0, 0), even = make_clip(3, 72, 52, 8, 0, 0, 0);
    rlm_clip a = {0}, b = {0};
    for (int t = 0; t < 3; t++)
        for (int y = 0; y < 52; y++)
            for (int x = 0; x < 72; x++) {
                const uint8_t colour[3] = {x / 6 % 2 ? 220 : 30, y / 6 % 2 ? 180 : 60, 90};
                int ox = x < 71 ? x : 70, oy = y < 51 ? y : 50;
                const uint8_t last[3] = {ox / 6 % 2 ? 220 : 30, oy / 6 % 2 ? 180 : 60, 90};
                memcpy(even.video.rgb + ((t * 52 + y) * 72 + x) * 3, last, 3);
                if (x < 71 && y < 51)
                    memcpy(in.video.rgb + ((t * 51 + y) * 71 + x) * 3, colour, 3);
            }
    if (write_ok(in_folder("odd_c.mp4"), &in, NULL) &&
        write_ok(in_folder("even_c.mp4"), &even, NULL) &&
        read_ok(in_folder("odd_c.mp4"), NULL, &a) && read_ok(in_folder("even_c.mp4"), NULL, &b)) {
        CHECK(a.video.width == 71 && a.video.height == 51 && b.video.width == 72);
        int differ = 0; /* the same even pictures, cropped */
        for (int y = 0; y < 51 && b.video.width == 72; y++)
            differ |=
                memcmp(a.video.rgb + (size_t)y * 71 * 3, b.video.rgb + (size_t)y * 72 * 3, 71 * 3);
        CHECK(!differ);
    }
    rlm_clip_free(&in);
    rlm_clip_free(&even);
    rlm_clip_free(&a);
    rlm_clip_free(&b);
}

/* ---- Wishes ---------------------------------------------------------------------------------- */

static void case_want(void)
{
    rlm_clip in = make_clip(50, 160, 96, 25, 2, 16000, 1), out = {0};
    rlm_want w;
    if (!write_ok(in_folder("want.mkv"), &in, NULL))
        return;
    rlm_want_defaults(&w);
    w.width = w.height = 64;
    w.fps_num = 8;
    w.fps_den = 1;
    w.max_frames = 9;
    w.rate = 8000;
    if (read_ok(in_folder("want.mkv"), &w, &out)) {
        CHECK(out.video.count == 9 && out.video.width == 64 && out.video.height == 64);
        CHECK(out.video.fps_num == 8 && out.video.fps_den == 1);
        CHECK(out.audio.rate == 8000 && out.audio.count == 9000);
        /* frame k shows source frame nearest to k * 25 / 8; its blue level tells which */
        for (int k = 0; k < 9; k++) {
            int source = (int)ceil(k * 25.0 / 8 - 0.5);
            CHECK_NEAR(out.video.rgb[((k * 64 + 60) * 64 + 2) * 3 + 2], 100 + source * 3 % 60, 5);
        }
    }
    rlm_clip_free(&out);
    rlm_want_defaults(&w);
    w.start_s = 1.2;
    if (read_ok(in_folder("want.mkv"), &w, &out)) {
        CHECK(out.video.count == 20);
        CHECK_NEAR((double)out.audio.count / out.audio.rate, 0.8, 0.07);
        CHECK_NEAR(out.video.rgb[((90) * 160 + 2) * 3 + 2], 100 + 30 * 3 % 60, 5);
    }
    rlm_clip_free(&out);
    w.start_s = 3;
    must_refuse(in_folder("want.mkv"), &w, RLM_E_MEDIA, "3 s");
    rlm_want_defaults(&w);
    w.height = 48;
    w.want_audio = 0;
    if (read_ok(in_folder("want.mkv"), &w, &out))
        CHECK(out.video.width == 80 && out.video.height == 48 && !out.audio.count);
    rlm_clip_free(&out);
    w.height = 100;
    w.width = 100;
    w.fit = RLM_FIT_CONTAIN;
    w.max_frames = 1;
    if (read_ok(in_folder("want.mkv"), &w, &out)) {
        CHECK(out.video.rgb[50] == 0 && out.video.rgb[(99 * 100 + 50) * 3] == 0);
        CHECK(out.video.rgb[(50 * 100 + 50) * 3] > 40);
    }
    rlm_clip_free(&out);
    w.want_video = 0;
    w.want_audio = 1;
    if (read_ok(in_folder("want.mkv"), &w, &out))
        CHECK(!out.video.count && out.audio.count > 30000);
    rlm_clip_free(&out);
    rlm_clip_free(&in);
}

static void case_limits(void)
{
    rlm_clip in = make_clip(50, 160, 96, 25, 2, 16000, 1);
    rlm_want w;
    if (!write_ok(in_folder("limit.mp4"), &in, NULL) || !write_ok(in_folder("l.wav"), &in, NULL))
        return;
    rlm_want_defaults(&w);
    w.max_bytes = 200000;
    must_refuse(in_folder("limit.mp4"), &w, RLM_E_NOMEM, "200000");
    w.max_bytes = 5000;
    must_refuse(in_folder("l.wav"), &w, RLM_E_NOMEM, "5000");
    rlm_want_defaults(&w);
    w.max_pixels = 10000;
    must_refuse(in_folder("limit.mp4"), &w, RLM_E_MEDIA, "160x96");
    rlm_want_defaults(&w);
    w.width = -1;
    must_refuse(in_folder("limit.mp4"), &w, RLM_E_RANGE, "-1");
    rlm_want_defaults(&w);
    w.fps_num = 8;
    must_refuse(in_folder("limit.mp4"), &w, RLM_E_RANGE, "8/0");
    rlm_want_defaults(&w);
    w.want_audio = 0;
    must_refuse(in_folder("l.wav"), &w, RLM_E_MEDIA, "no picture");
    rlm_clip_free(&in);
}

static void case_out_of_memory(void)
{
    rlm_clip in = make_clip(5, 32, 32, 8, 0.6, 16000, 1);
    static const char *const names[] = {"oom.mp4", "oom.gif", "oom.png", "oom.wav"};
    for (int i = 0; i < 4; i++) {
        in.video.count = i == 2 ? 1 : 5;
        if (!write_ok(in_folder(names[i]), &in, NULL))
            continue;
        for (int n = 0; n < 30; n++) {
            rlm_clip out = {0};
            rlm_error err = {0};
            rlm_alloc_fail_after(n);
            int code = rlm_media_write(in_folder("oom2"), &in,
                                       &(rlm_write_options){.format = names[i] + 4}, &err);
            rlm_alloc_fail_after(n);
            int read_code = rlm_media_read(in_folder(names[i]), NULL, &out, &err);
            rlm_alloc_fail_after(-1);
            CHECK(code == 0 || code == RLM_E_NOMEM);
            CHECK(read_code == 0 || read_code == RLM_E_NOMEM);
            rlm_clip_free(&out);
            if (!code && !read_code)
                break;
        }
    }
    rlm_clip_free(&in);
}

/* ---- The rest -------------------------------------------------------------------------------- */

static void case_probe(void)
{
    rlm_clip in = make_clip(17, 127, 95, 8, 2.125, 16000, 1);
    char *json = NULL;
    rlm_error err;
    in.metadata = rlm_strdup("{\"seed\":11}");
    if (write_ok(in_folder("q\"uote.mp4"), &in, NULL)) {
        CHECK(!rlm_media_probe(in_folder("q\"uote.mp4"), &json, &err));
        if (json) {
            CHECK_HAS(json, "\"codec\":\t\"h264\"");
            CHECK_HAS(json, "\"codec\":\t\"aac\"");
            CHECK_HAS(json, "\"rate\":\t16000");
            CHECK_HAS(json, "\"fps\":\t8");
            CHECK_HAS(json, "\"true_width\":\t127");
            CHECK_HAS(json, "\"seed\":\t11");
            CHECK_HAS(json, "q\\\"uote.mp4");
        }
        rlm_free(json);
    }
    json = NULL;
    CHECK(rlm_media_probe(in_folder("missing.mp4"), &json, &err) == RLM_E_IO && !json);
    rlm_clip_free(&in);
}

/* Frames 0 to `count` - 1 of a clip at other rates: which of them are shown, and for how long. */
static void case_clip_rates(void)
{
    static const struct {
        int count, from, num, den, made, shown[8]; /* the first eight */
    } rates[] = {{24, 24, 8, 1, 8, {0, 3, 6, 9, 12, 15, 18, 21}},
                 {24, 24, 12, 1, 12, {0, 2, 4, 6, 8, 10, 12, 14}},
                 {4, 8, 24, 1, 12, {0, 0, 1, 1, 1, 2, 2, 2}},
                 {4, 8, 30000, 1001, 15, {0, 0, 1, 1, 1, 1, 2, 2}},
                 {1, 8, 24, 1, 1, {0}}};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        rlm_clip in = make_clip(rates[i].count, 16, 16, rates[i].from, 0, 0, 0), out = {0};
        rlm_want want;
        size_t one = 16 * 16 * 3;
        for (int f = 0; f < in.video.count; f++)
            memset(in.video.rgb + f * one, f, one);
        rlm_want_defaults(&want);
        want.fps_num = rates[i].num;
        want.fps_den = rates[i].den;
        CHECK(!rlm_clip_convert(&in, &want, &out, NULL));
        CHECK(out.video.count == rates[i].made);
        CHECK(out.video.fps_num == rates[i].num && out.video.fps_den == rates[i].den);
        for (int f = 0; f < out.video.count && f < 8; f++)
            CHECK(out.video.rgb[f * one] == rates[i].shown[f]);
        rlm_clip_free(&out);
        want.max_frames = 3;
        CHECK(!rlm_clip_convert(&in, &want, &out, NULL));
        CHECK(out.video.count == (rates[i].made < 3 ? rates[i].made : 3));
        rlm_clip_free(&out);
        want.width = want.height = 32; /* the same pictures, larger */
        CHECK(!rlm_clip_convert(&in, &want, &out, NULL) && out.video.width == 32);
        for (int f = 0; f < out.video.count; f++)
            CHECK_NEAR(out.video.rgb[(f * 32 + 16) * 32 * 3], rates[i].shown[f], 1);
        rlm_clip_free(&out);
        rlm_clip_free(&in);
    }
}

/* A part of a sound, from files that libsndfile reads and from one that it does not. */
static void case_part_of_a_sound(void)
{
    static const char *const names[] = {"part.wav", "part.flac", "part.avi"};
    rlm_clip in = make_clip(16, 16, 16, 8, 2, 16000, 2), out = {0};
    for (int64_t i = 0; i < in.audio.count; i++)
        for (int k = 0; k < 2; k++)
            in.audio.samples[2 * i + k] = (float)((k ? -i : i) % 1024) / 1024;
    for (int n = 0; n < 3; n++) {
        rlm_want want;
        rlm_want_defaults(&want);
        want.start_s = 0.5;
        want.max_seconds = 0.25;
        want.want_video = 0;
        in.video.count = n < 2 ? 0 : 16;
        if (!write_ok(in_folder(names[n]), &in, NULL) || !read_ok(in_folder(names[n]), &want, &out))
            continue;
        CHECK(out.audio.count == 4000 && out.audio.channels == 2 && out.audio.rate == 16000);
        double worst = 0;
        for (int i = 0; i < 2 * 4000 && i < 2 * out.audio.count; i++)
            worst = fmax(worst, fabs(out.audio.samples[i] - in.audio.samples[2 * 8000 + i]));
        CHECK_NEAR(worst, 0, 1e-4);
        rlm_clip_free(&out);
        want.start_s = 2.5;
        must_refuse(in_folder(names[n]), &want, RLM_E_MEDIA, names[n]);
    }
    rlm_clip_free(&in);
}

static void case_faststart(void)
{
    rlm_clip in = make_clip(17, 64, 64, 8, 0, 0, 0);
    char *data = NULL;
    size_t bytes = 0;
    if (write_ok(in_folder("fast.mp4"), &in, NULL) &&
        !rlm_file_read(in_folder("fast.mp4"), 1 << 24, &data, &bytes, NULL)) {
        size_t moov = 0, mdat = 0;
        for (size_t i = 0; i + 4 <= bytes; i++) {
            moov = !moov && !memcmp(data + i, "moov", 4) ? i : moov;
            mdat = !mdat && !memcmp(data + i, "mdat", 4) ? i : mdat;
        }
        CHECK(moov && mdat && moov < mdat);
    }
    rlm_free(data);
    rlm_clip_free(&in);
}

/* libswscale and the encoders read some bytes past a row: not of a buffer that is the caller's. The
 * last byte of these pictures is the last of its page, and the next page must not be touched. */
static void case_page_end(void)
{
    static const char *const formats[] = {"mp4", "webm", "y4m", "gif"};
    static const int sizes[][2] = {{32, 24}, {33, 25}, {40, 31}, {16, 2}, {1, 1}, {128, 70}};
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = 16 * page;
    uint8_t *map =
        mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED && !mprotect(map + room, page, PROT_NONE));
    for (int i = 0; i < 6; i++) {
        int w = sizes[i][0], h = sizes[i][1];
        rlm_clip plain = make_clip(2, w, h, 8, 0, 0, 0), edge = plain, out = {0};
        rlm_want want;
        edge.video.rgb = map + room - (size_t)2 * (size_t)h * (size_t)w * 3;
        memcpy(edge.video.rgb, plain.video.rgb, (size_t)2 * (size_t)h * (size_t)w * 3);
        for (int f = 0; f < 4; f++) {
            rlm_write_options o = {.format = formats[f]};
            CHECK(write_ok(in_folder("edge"), &edge, &o));
        }
        rlm_want_defaults(&want);
        want.width = 50;
        want.height = 20;
        CHECK(!rlm_clip_convert(&edge, &want, &out, NULL));
        rlm_clip_free(&out);
        rlm_clip_free(&plain);
    }
    munmap(map, room + page);
}

static void case_real_clips(void)
{
    const char *root = "../shared/data/video/clips";
    DIR *d = opendir(root);
    rlm_want w;
    int n = 0;
    double start = rlm_now();
    if (!d)
        TEST_SKIP("no real clips beside the source");
    rlm_want_defaults(&w);
    w.width = w.height = 128;
    w.fps_num = 8;
    w.fps_den = 1;
    w.max_frames = 17;
    w.rate = 16000;
    w.channels = 1;
    for (struct dirent *e; n < 40 && (e = readdir(d)) != NULL;) {
        char path[512];
        rlm_clip out = {0};
        snprintf(path, sizeof path, "%s/%s", root, e->d_name);
        if (!strstr(e->d_name, ".mp4") || !read_ok(path, &w, &out))
            continue;
        CHECK(out.video.count == 17 && out.video.width == 128 && out.video.height == 128);
        CHECK(!out.audio.count || out.audio.rate == 16000);
        rlm_clip_free(&out);
        n++;
    }
    closedir(d);
    CHECK(n > 0);
    printf("%d real clips, %.1f ms each\n", n, (rlm_now() - start) * 1000 / (n ? n : 1));
}

int main(int argc, char **argv)
{
    if (!folder_open())
        return 1;
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_round_trips);
    TEST_CASE(case_lossless_sound);
    TEST_CASE(case_lossless_video);
    TEST_CASE(case_sound_fits_picture);
    TEST_CASE(case_same_bytes);
    TEST_CASE(case_odd_chroma);
    TEST_CASE(case_want);
    TEST_CASE(case_limits);
    TEST_CASE(case_out_of_memory);
    TEST_CASE(case_probe);
    TEST_CASE(case_clip_rates);
    TEST_CASE(case_part_of_a_sound);
    TEST_CASE(case_faststart);
    TEST_CASE(case_page_end);
    TEST_CASE(case_real_clips);
    folder_close();
    return TEST_END();
}
