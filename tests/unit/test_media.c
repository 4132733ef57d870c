/* Media in and out: every format there and back, inputs of all shapes made with the ffmpeg program
 * when there is one, and files that must be refused with a sentence. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/diag.h"
#include "src/base/file.h"
#include "src/base/mem.h"
#include "tests/test.h"

static char folder[] = "/tmp/reelm-test-media-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[4][512];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static int have_ffmpeg(void)
{
    return !system("ffmpeg -version >/dev/null 2>&1");
}

/* Run ffmpeg with the folder as its working directory; 0 on success. */
static int ffmpeg(const char *args)
{
    char line[2048];
    snprintf(line, sizeof line, "cd %s && ffmpeg -v error -y %s </dev/null >/dev/null 2>&1", folder,
             args);
    return system(line);
}

/* A moving gradient with a bright square, and a 440 Hz tone in every channel. */
static rlm_clip make_clip(int count, int w, int h, int fps, double seconds, int rate, int channels)
{
    rlm_clip c = {0};
    if (count) {
        c.video =
            (rlm_frames){.count = count, .width = w, .height = h, .fps_num = fps, .fps_den = 1};
        c.video.rgb = rlm_alloc((size_t)count * w * h * 3);
    }
    uint8_t *p = c.video.rgb;
    for (int t = 0; t < count; t++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++, p += 3) {
                int square = x * 4 / w == t % 4 && y * 4 / h == 1;
                p[0] = (uint8_t)(square ? 220 : 40 + 120 * x / w);
                p[1] = (uint8_t)(square ? 200 : 60 + 120 * y / h);
                p[2] = (uint8_t)(square ? 190 : 100 + t * 3 % 60);
            }
    int64_t n = (int64_t)(seconds * rate + 0.5);
    if (n) {
        c.audio = (rlm_pcm){.count = n, .channels = channels, .rate = rate};
        c.audio.samples = rlm_alloc((size_t)n * channels * sizeof(float));
        for (int64_t i = 0; i < n; i++)
            for (int k = 0; k < channels; k++)
                c.audio.samples[i * channels + k] =
                    0.4f * sinf(6.2831853f * 440.0f * (float)i / (float)rate);
    }
    return c;
}

static double psnr(const rlm_frames *a, const rlm_frames *b)
{
    if (a->width != b->width || a->height != b->height || a->count != b->count || !a->count)
        return 0;
    size_t n = (size_t)a->count * a->width * a->height * 3;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a->rgb[i] - b->rgb[i];
        sum += d * d;
    }
    return sum > 0 ? 10 * log10(255.0 * 255.0 * (double)n / sum) : 99;
}

/* Root mean square of the samples in the middle half. */
static double loudness(const rlm_pcm *a)
{
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = a->count / 4; i < a->count * 3 / 4; i++, n++)
        sum += (double)a->samples[i * a->channels] * a->samples[i * a->channels];
    return n ? sqrt(sum / (double)n) : 0;
}

/* Cycles a second in the middle half, by zero crossings. */
static double pitch(const rlm_pcm *a)
{
    int64_t from = a->count / 4, to = a->count * 3 / 4, crossings = 0;
    for (int64_t i = from + 1; i < to; i++)
        crossings += (a->samples[(i - 1) * a->channels] < 0) != (a->samples[i * a->channels] < 0);
    return to > from ? (double)crossings * a->rate / (2.0 * (double)(to - from)) : 0;
}

static int read_ok(const char *path, const rlm_want *want, rlm_clip *clip)
{
    rlm_error err = {0};
    *clip = (rlm_clip){0};
    int code = rlm_media_read(path, want, clip, &err);
    if (code)
        TEST_FAILED("reading %s: %s", path, err.text);
    return !code;
}

static int write_ok(const char *path, const rlm_clip *clip, const rlm_write_options *o)
{
    rlm_error err = {0};
    int code = rlm_media_write(path, clip, o, &err);
    if (code)
        TEST_FAILED("writing %s: %s", path, err.text);
    return !code;
}

/* Reading must fail with this code and a sentence naming the file. */
static void must_refuse(const char *path, const rlm_want *want, int expected, const char *part)
{
    rlm_clip clip = {0};
    rlm_error err = {0};
    int code = rlm_media_read(path, want, &clip, &err);
    if (code != expected || !strstr(err.text, part))
        TEST_FAILED("%s: code %d \"%s\", expected %d and \"%s\"", path, code, err.text, expected,
                    part);
    CHECK(err.code == code);
    CHECK(!clip.video.rgb && !clip.audio.samples);
    rlm_clip_free(&clip);
}

/* ---- There and back -----------------------------------------------------------------------------
 */

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
    {"a.mov", 128, 128, 17, 8, 36, 44100, 44100, 2},
    {"a.mkv", 128, 224, 41, 8, 36, 16000, 16000, 1},
    {"odd.mkv", 33, 65, 9, 24, 36, 8000, 8000, 1},
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

static void case_metadata(void)
{
    static const char *const names[] = {"m.mp4", "m.mkv", "m.webm", "m.png",
                                        "m.mov", "m.wav", "m.flac", "m.ogg"};
    const char *json = "{\"prompt\":\"a red ball, \xc3\xa9t\xc3\xa9 \xe7\x90\x83\",\"seed\":7}";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        rlm_clip in = make_clip(1, 64, 48, 8, 0.5, 16000, 1), out = {0};
        in.metadata = rlm_strdup(json);
        if (write_ok(in_folder(names[i]), &in, NULL) && read_ok(in_folder(names[i]), NULL, &out)) {
            CHECK(out.metadata);
            if (out.metadata && strcmp(names[i], "m.png"))
                CHECK_STR(out.metadata, json);
            else if (out.metadata)
                CHECK_STR(out.metadata,
                          "{\"prompt\":\"a red ball, \\u00e9t\\u00e9 \\u7403\",\"seed\":7}");
        }
        rlm_clip_free(&out);
        rlm_write_options bare = {.no_metadata = 1};
        if (write_ok(in_folder(names[i]), &in, &bare) && read_ok(in_folder(names[i]), NULL, &out))
            CHECK(!out.metadata);
        rlm_clip_free(&in);
        rlm_clip_free(&out);
    }
}

static void case_png_sequence(void)
{
    rlm_clip in = make_clip(3, 32, 16, 8, 0, 0, 0), out = {0};
    rlm_error err;
    CHECK(rlm_media_write(in_folder("many.png"), &in, NULL, &err) == RLM_E_ARG);
    CHECK_HAS(err.text, "3 frames");
    CHECK(rlm_media_write(in_folder("x%d%d.png"), &in, NULL, &err) == RLM_E_ARG);
    CHECK(rlm_media_write(in_folder("x%s.png"), &in, NULL, &err) == RLM_E_ARG);
    CHECK(rlm_media_write(in_folder("x%n.png"), &in, NULL, &err) == RLM_E_ARG);
    CHECK(write_ok(in_folder("seq%%_%03d.png"), &in, NULL));
    if (read_ok(in_folder("seq%_002.png"), NULL, &out))
        CHECK(!memcmp(out.video.rgb, in.video.rgb + 2 * 32 * 16 * 3, 32 * 16 * 3));
    CHECK(access(in_folder("seq%_003.png"), F_OK));
    rlm_clip_free(&in);
    rlm_clip_free(&out);
}

static int files_in(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static void case_write_refusals(void)
{
    rlm_clip in = make_clip(2, 32, 16, 8, 0.2, 16000, 1), none = {0};
    rlm_error err;
    rlm_write_options o = {.format = "mp4"};
    int before = files_in(folder);
    CHECK(rlm_media_write(in_folder("x.xyz"), &in, NULL, &err) == RLM_E_UNSUPPORTED);
    CHECK_HAS(err.text, "xyz");
    CHECK(rlm_media_write(in_folder("x.mp4"), &none, NULL, &err) == RLM_E_ARG);
    CHECK(rlm_media_write("-", &in, NULL, &err) == RLM_E_ARG);
    CHECK(rlm_media_write("", &in, NULL, &err) == RLM_E_ARG);
    CHECK(rlm_media_write(in_folder("no/such/x.mp4"), &in, NULL, &err) == RLM_E_IO);
    CHECK_HAS(err.text, "no/such");
    CHECK(rlm_media_write(folder, &in, &o, &err) == RLM_E_IO);
    if (!access("/dev/full", W_OK)) {
        struct stat st;
        CHECK(rlm_media_write("/dev/full", &in, &o, &err) == RLM_E_IO);
        CHECK_HAS(err.text, "/dev/full");
        CHECK(!stat("/dev/full", &st) && S_ISCHR(st.st_mode));
    }
    rlm_clip wav = {.audio = in.audio};
    CHECK(rlm_media_write(in_folder("x.gif"), &wav, NULL, &err) == RLM_E_ARG);
    in.video.fps_num = 0;
    CHECK(rlm_media_write(in_folder("x.mp4"), &in, NULL, &err) == RLM_E_RANGE);
    CHECK(files_in(folder) == before);
    rlm_clip_free(&in);
}

static void case_stdin_stdout(void)
{
    static const char *const formats[] = {"mp4", "mkv", "y4m", "wav"};
    rlm_clip in = make_clip(9, 64, 48, 8, 1.125, 16000, 1);
    for (int i = 0; i < 4; i++) {
        rlm_clip out = {0};
        rlm_write_options o = {.format = formats[i]};
        fflush(stdout);
        int saved = dup(STDOUT_FILENO);
        int fd = open(in_folder("piped"), O_CREAT | O_TRUNC | O_WRONLY, 0600);
        dup2(fd, STDOUT_FILENO);
        close(fd);
        int ok = write_ok("-", &in, &o);
        dup2(saved, STDOUT_FILENO);
        close(saved);
        if (ok && freopen(in_folder("piped"), "rb", stdin) && read_ok("-", NULL, &out)) {
            CHECK(out.video.count == (i < 3 ? 9 : 0));
            CHECK((out.audio.count > 0) == (i != 2));
        }
        rlm_clip_free(&out);
    }
    if (freopen("/dev/null", "rb", stdin))
        must_refuse("-", NULL, RLM_E_MEDIA, "stdin");
    rlm_clip_free(&in);
}

/* ---- Wishes ------------------------------------------------------------------------------------
 */

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
        CHECK_NEAR((double)out.audio.count / 16000, 0.8, 0.07);
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

/* ---- Inputs of other programs -------------------------------------------------------------------
 */

/* Red left half, blue right half, white top-left corner. */
static const char halves[] =
    "-f lavfi -i \"color=red:s=80x64:r=10:d=1,drawbox=40:0:40:64:blue:fill,"
    "drawbox=0:0:16:16:white:fill\" ";

static const uint8_t *pixel(const rlm_clip *c, int frame, int x, int y)
{
    const rlm_frames *v = &c->video;
    return v->rgb + (((size_t)frame * v->height + y) * v->width + x) * 3;
}

static void case_rotated(void)
{
    char args[1024];
    rlm_clip out = {0};
    if (!have_ffmpeg())
        TEST_SKIP("no ffmpeg program");
    snprintf(args, sizeof args, "%s -pix_fmt yuv420p up.mp4", halves);
    CHECK(!ffmpeg(args));
    CHECK(!ffmpeg("-i up.mp4 -metadata:s:v:0 rotate=90 -c copy turned.mp4"));
    if (read_ok(in_folder("up.mp4"), NULL, &out)) {
        CHECK(out.video.width == 80 && out.video.height == 64 && out.video.count == 10);
        CHECK(pixel(&out, 0, 5, 5)[1] > 200);
        CHECK(pixel(&out, 0, 5, 50)[0] > 200 && pixel(&out, 0, 5, 50)[2] < 60);
        CHECK(pixel(&out, 0, 70, 50)[2] > 200 && pixel(&out, 0, 70, 50)[0] < 60);
    }
    rlm_clip_free(&out);
    char *json = NULL;
    CHECK(!rlm_media_probe(in_folder("turned.mp4"), &json, NULL));
    if (json && !strstr(json, "\"rotation\":\t0")) {
        /* ffmpeg's rotate=90: the red left half comes to lie at the top or at the bottom */
        if (read_ok(in_folder("turned.mp4"), NULL, &out)) {
            CHECK(out.video.width == 64 && out.video.height == 80);
            int cw = strstr(json, "\"rotation\":\t90") != NULL;
            CHECK(pixel(&out, 0, 30, cw ? 20 : 60)[0] > 200);
            CHECK(pixel(&out, 0, 30, cw ? 60 : 20)[2] > 200);
            CHECK(pixel(&out, 0, cw ? 58 : 5, cw ? 5 : 74)[1] > 200);
        }
    } else {
        TEST_FAILED("turned.mp4 carries no rotation");
    }
    rlm_free(json);
    rlm_clip_free(&out);
}

static void case_exif_orientation(void)
{
    /* an APP1 segment with Orientation = 6 (turn clockwise) put behind the SOI of a JPEG */
    static const uint8_t exif[] = {0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0,    0,    'M', 'M',
                                   0,    42,   0, 0,  0,   8,   0,   1,   0x01, 0x12, 0,   3,
                                   0,    0,    0, 1,  0,   6,   0,   0,   0,    0,    0,   0};
    char args[1024], *data = NULL;
    size_t bytes = 0;
    rlm_clip out = {0};
    if (!have_ffmpeg())
        TEST_SKIP("no ffmpeg program");
    snprintf(args, sizeof args, "%s -frames:v 1 -q:v 2 -pix_fmt yuvj444p up.jpg", halves);
    CHECK(!ffmpeg(args));
    if (rlm_file_read(in_folder("up.jpg"), 1 << 20, &data, &bytes, NULL))
        return;
    FILE *f = fopen(in_folder("turned.jpg"), "wb");
    fwrite(data, 1, 2, f);
    fwrite(exif, 1, sizeof exif, f);
    fwrite(data + 2, 1, bytes - 2, f);
    fclose(f);
    rlm_free(data);
    if (read_ok(in_folder("turned.jpg"), NULL, &out)) {
        CHECK(out.video.width == 64 && out.video.height == 80 && out.video.count == 1);
        CHECK(pixel(&out, 0, 30, 20)[0] > 200 && pixel(&out, 0, 30, 60)[2] > 200);
        CHECK(pixel(&out, 0, 58, 5)[1] > 200);
    }
    rlm_clip_free(&out);
}

typedef struct foreign {
    const char *args, *name;  /* ffmpeg's, the file made */
    int width, height, count; /* expected; 0: not looked at, -1: absent */
    int rate, channels;
    double seconds; /* of sound */
} foreign;

#define PICTURE "-f lavfi -i testsrc=s=100x80:r=10:d=1 "
#define TONE    "-f lavfi -i sine=440:d=1:sample_rate="

static const foreign foreigners[] = {
    {PICTURE "-vf setsar=2/1 sar.mp4", "sar.mp4", 200, 80, 10, 0, 0, 0},
    {PICTURE "-pix_fmt yuv420p10le ten.mkv", "ten.mkv", 100, 80, 10, 0, 0, 0},
    {PICTURE "-c:v ffv1 -pix_fmt gray16le grey.mkv", "grey.mkv", 100, 80, 10, 0, 0, 0},
    {PICTURE "-c:v ffv1 -pix_fmt yuv410p low.mkv", "low.mkv", 100, 80, 10, 0, 0, 0},
    {PICTURE "-vf select='not(mod(n\\,3))' -vsync vfr vfr.mp4", "vfr.mp4", 100, 80, 0, 0, 0, 0},
    {PICTURE "-vf crop=99:77 -c:v libvpx-vp9 odd9.webm", "odd9.webm", 99, 77, 10, 0, 0, 0},
    {PICTURE "-c:v mpeg4 old.avi", "old.avi", 100, 80, 10, 0, 0, 0},
    {PICTURE "-c:v mpeg2video ts.ts", "ts.ts", 100, 80, 10, 0, 0, 0},
    {PICTURE "-c:v libx264 raw.h264", "raw.h264", 100, 80, 0, 0, 0, 0},
    {PICTURE "-frames:v 1 still.jpg", "still.jpg", 100, 80, 1, 0, 0, 0},
    {PICTURE "-frames:v 1 still.webp", "still.webp", 100, 80, 1, 0, 0, 0},
    {PICTURE "-frames:v 1 -pix_fmt rgba64be deep.png", "deep.png", 100, 80, 1, 0, 0, 0},
    {PICTURE "-frames:v 1 -pix_fmt monob mono.png", "mono.png", 100, 80, 1, 0, 0, 0},
    {PICTURE "-frames:v 1 still.bmp", "still.bmp", 100, 80, 1, 0, 0, 0},
    {PICTURE "-frames:v 1 still.gif", "still.gif", 100, 80, 1, 0, 0, 0},
    {PICTURE "moving.gif", "moving.gif", 100, 80, 10, 0, 0, 0},
    {PICTURE TONE "8000 -c:a aac low.mp4", "low.mp4", 100, 80, 10, 8000, 1, 1},
    {TONE "96000 -ac 2 high.m4a", "high.m4a", -1, 0, 0, 96000, 2, 1},
    {TONE "48000 -ac 6 -c:a aac six.m4a", "six.m4a", -1, 0, 0, 48000, 6, 1},
    {TONE "44100 -c:a libmp3lame a.mp3", "a.mp3", -1, 0, 0, 44100, 1, 1},
    {TONE "48000 -c:a libopus o.ogg", "o.ogg", -1, 0, 0, 48000, 1, 1},
    {TONE "22050 -c:a adpcm_ms ad.wav", "ad.wav", -1, 0, 0, 22050, 1, 1},
    {TONE "16000 -c:a pcm_u8 u8.wav", "u8.wav", -1, 0, 0, 16000, 1, 1},
    {"-i a.mp3 -i still.jpg -map 0 -map 1 -c copy -disposition:v attached_pic art.mp3", "art.mp3",
     -1, 0, 0, 44100, 1, 1},
    {"-i low.mp4 -i still.jpg -map 0 -map 1 -c copy -disposition:v:1 attached_pic art.mp4",
     "art.mp4", 100, 80, 10, 8000, 1, 1},
};

static void case_foreign(void)
{
    if (!have_ffmpeg())
        TEST_SKIP("no ffmpeg program");
    for (size_t i = 0; i < sizeof foreigners / sizeof *foreigners; i++) {
        const foreign *f = &foreigners[i];
        rlm_clip out = {0};
        if (ffmpeg(f->args)) {
            printf("not made: %s\n", f->name);
            continue;
        }
        if (!read_ok(in_folder(f->name), NULL, &out))
            continue;
        if (f->width > 0 && (out.video.width != f->width || out.video.height != f->height ||
                             (f->count && out.video.count != f->count)))
            TEST_FAILED("%s: %d frames of %dx%d", f->name, out.video.count, out.video.width,
                        out.video.height);
        if (f->width < 0 && out.video.count)
            TEST_FAILED("%s: has %d frames, expected none", f->name, out.video.count);
        if (out.audio.rate != f->rate || out.audio.channels != f->channels)
            TEST_FAILED("%s: sound of %d Hz, %d channels", f->name, out.audio.rate,
                        out.audio.channels);
        if (f->rate) {
            CHECK_NEAR((double)out.audio.count / out.audio.rate, f->seconds, 0.15);
            if (f->channels < 6) /* the tone of 5.1 is in the centre */
                CHECK_NEAR(pitch(&out.audio), 440, 8);
        }
        rlm_clip_free(&out);
    }
}

/* 5.1 and 96 kHz down to 16 kHz mono: the tone survives. */
static void case_downmix(void)
{
    rlm_want w;
    rlm_clip out = {0};
    if (!have_ffmpeg())
        TEST_SKIP("no ffmpeg program");
    rlm_want_defaults(&w);
    w.rate = 16000;
    w.channels = 1;
    CHECK(!ffmpeg(TONE "48000 -ac 6 -c:a aac six.m4a"));
    CHECK(!ffmpeg(TONE "96000 -ac 2 high.wav"));
    static const char *const names[] = {"six.m4a", "high.wav"};
    for (int i = 0; i < 2; i++) {
        if (read_ok(in_folder(names[i]), &w, &out)) {
            CHECK(out.audio.channels == 1 && out.audio.rate == 16000);
            CHECK_NEAR((double)out.audio.count / 16000, 1.0, 0.05);
            CHECK_NEAR(pitch(&out.audio), 440, 6);
            CHECK(loudness(&out.audio) > 0.03);
        }
        rlm_clip_free(&out);
    }
}

/* ---- Files that must be refused
 * ------------------------------------------------------------------ */

static void put_file(const char *name, const void *data, size_t bytes)
{
    CHECK(!rlm_file_write(in_folder(name), data, bytes, NULL));
}

/* The first `keep` of 1000 parts of a file. */
static void cut_file(const char *from, const char *to, int keep)
{
    char *data = NULL;
    size_t bytes = 0;
    CHECK(!rlm_file_read(in_folder(from), 1 << 26, &data, &bytes, NULL));
    if (data)
        put_file(to, data, bytes * (size_t)keep / 1000);
    rlm_free(data);
}

static void case_refused(void)
{
    must_refuse(in_folder("missing.mp4"), NULL, RLM_E_IO, "missing.mp4");
    must_refuse(folder, NULL, RLM_E_MEDIA, "folder");
    put_file("empty.mp4", "", 0);
    must_refuse(in_folder("empty.mp4"), NULL, RLM_E_MEDIA, "empty");
    char text[3000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "The quick brown fox. "[i % 21];
    put_file("text.mp4", text, sizeof text);
    must_refuse(in_folder("text.mp4"), NULL, RLM_E_MEDIA, "text.mp4");
    put_file("text.wav", text, 5);
    must_refuse(in_folder("text.wav"), NULL, RLM_E_MEDIA, "text.wav");
    const char *list = "ffconcat version 1.0\nfile 'limit.mp4'\n";
    put_file("list.mp4", list, strlen(list));
    must_refuse(in_folder("list.mp4"), NULL, RLM_E_MEDIA, "list.mp4");
    const char *hls = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n";
    put_file("hls.mp4", hls, strlen(hls));
    must_refuse(in_folder("hls.mp4"), NULL, RLM_E_MEDIA, "hls.mp4");
    const char *lie = "YUV4MPEG2 W30000 H30000 F25:1 C420jpeg\nFRAME\nabc";
    put_file("lie.y4m", lie, strlen(lie));
    must_refuse(in_folder("lie.y4m"), NULL, RLM_E_MEDIA, "lie.y4m");
    const char *short_lie = "YUV4MPEG2 W4000 H4000 F25:1 C420jpeg\nFRAME\nabc";
    put_file("short.y4m", short_lie, strlen(short_lie));
    must_refuse(in_folder("short.y4m"), NULL, RLM_E_MEDIA, "short.y4m");
    const char *none = "YUV4MPEG2 W40 H40 F25:1 C420jpeg\n";
    put_file("none.y4m", none, strlen(none));
    must_refuse(in_folder("none.y4m"), NULL, RLM_E_MEDIA, "none.y4m");
}

/* tests/bad/media: damaged files kept with the source. */
static void case_bad_folder(void)
{
    DIR *d = opendir("tests/bad/media");
    int n = 0;
    if (!d)
        TEST_SKIP("tests/bad/media is not below the working directory");
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[512];
        if (e->d_name[0] == '.' || strstr(e->d_name, ".md"))
            continue;
        snprintf(path, sizeof path, "tests/bad/media/%s", e->d_name);
        must_refuse(path, NULL, RLM_E_MEDIA, e->d_name);
        n++;
    }
    closedir(d);
    CHECK(n >= 5);
}

/* A file cut in the middle gives what decodes; cut in its header it is refused. Never a crash. */
static void case_truncated(void)
{
    rlm_clip in = make_clip(33, 128, 96, 8, 4.125, 16000, 1);
    static const char *const names[] = {"t.mp4", "t.mkv", "t.webm", "t.gif",
                                        "t.y4m", "t.wav", "t.flac", "t.ogg"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!write_ok(in_folder(names[i]), &in, NULL))
            continue;
        for (int keep = 1; keep < 1000; keep += keep < 20 ? 3 : 97) {
            rlm_clip out = {0};
            rlm_error err = {0};
            cut_file(names[i], "cut", keep);
            int code = rlm_media_read(in_folder("cut"), NULL, &out, &err);
            if (code != 0 && code != RLM_E_MEDIA)
                TEST_FAILED("%s cut to %d/1000: %d %s", names[i], keep, code, err.text);
            if (code)
                CHECK_HAS(err.text, "cut");
            else
                CHECK(out.video.count <= 34 && out.audio.count <= 6 * 48000);
            /* an Ogg page of some seconds is whole or nothing */
            if (keep > 700 && code && strcmp(names[i], "t.ogg"))
                TEST_FAILED("%s cut to %d/1000 gives nothing: %s", names[i], keep, err.text);
            rlm_clip_free(&out);
        }
    }
    rlm_clip_free(&in);
}

/* Bytes turned at random places: any answer but a crash or unbounded memory. */
static void case_damaged(void)
{
    static const char *const names[] = {"t.mp4", "t.mkv", "t.gif", "t.wav", "t.flac", "a.png"};
    uint32_t state = 12345;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *data = NULL;
        size_t bytes = 0;
        if (rlm_file_read(in_folder(names[i]), 1 << 26, &data, &bytes, NULL))
            continue; /* made by earlier cases */
        for (int n = 0; n < 12; n++) {
            rlm_clip out = {0};
            rlm_error err = {0};
            rlm_want w;
            rlm_want_defaults(&w);
            w.max_bytes = 64 << 20;
            w.max_frames = 200;
            char *copy = rlm_alloc(bytes);
            memcpy(copy, data, bytes);
            for (int k = 0; k < 8; k++) {
                state = state * 1664525u + 1013904223u;
                copy[(state >> 8) % (n & 1         ? bytes
                                     : bytes < 400 ? bytes
                                                   : 400)] ^= (char)(1u << (state >> 29));
            }
            put_file("damaged", copy, bytes);
            rlm_free(copy);
            int code = rlm_media_read(in_folder("damaged"), &w, &out, &err);
            CHECK(code == 0 || code == RLM_E_MEDIA || code == RLM_E_NOMEM);
            rlm_clip_free(&out);
        }
        rlm_free(data);
    }
}

/* ---- The rest ----------------------------------------------------------------------------------
 */

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
    if (!mkdtemp(folder))
        return 1;
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_round_trips);
    TEST_CASE(case_lossless_sound);
    TEST_CASE(case_sound_fits_picture);
    TEST_CASE(case_metadata);
    TEST_CASE(case_png_sequence);
    TEST_CASE(case_write_refusals);
    TEST_CASE(case_stdin_stdout);
    TEST_CASE(case_want);
    TEST_CASE(case_limits);
    TEST_CASE(case_out_of_memory);
    TEST_CASE(case_rotated);
    TEST_CASE(case_exif_orientation);
    TEST_CASE(case_foreign);
    TEST_CASE(case_downmix);
    TEST_CASE(case_refused);
    TEST_CASE(case_bad_folder);
    TEST_CASE(case_truncated);
    TEST_CASE(case_damaged);
    TEST_CASE(case_probe);
    TEST_CASE(case_faststart);
    TEST_CASE(case_real_clips);
    char line[600];
    snprintf(line, sizeof line, "rm -rf %s", folder);
    if (system(line))
        printf("%s was left behind\n", folder);
    return TEST_END();
}
