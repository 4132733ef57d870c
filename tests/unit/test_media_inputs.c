/* Media of others: inputs of all shapes made with the ffmpeg program when there is one, and files
 * that are damaged or cut off, or must be refused with a sentence. */
#include <sys/resource.h>

#include "tests/unit/media_rig.h"

/* ---- Inputs of other programs ---------------------------------------------------------------- */

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
    char *json = NULL;
    CHECK(!rlm_media_probe(in_folder("turned.jpg"), &json, NULL));
    CHECK_HAS(json ? json : "", "\"rotation\":\t90");
    rlm_free(json);
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

/* The wanted start is counted once, from the start of the sound. */
static void case_sound_from(void)
{
    static const char *const files[] = {
        "-f lavfi -i sine=440:d=8:sample_rate=44100 -c:a aac from.m4a",
        "-f lavfi -i sine=440:d=8:sample_rate=44100 -c:a libmp3lame from.mp3",
        "-f lavfi -i testsrc=s=64x48:r=10:d=8 -f lavfi -i sine=440:d=8:sample_rate=44100 -c:a aac "
        "from.mp4",
        "-f lavfi -i sine=440:d=8:sample_rate=48000 -c:a libopus from.ogg"};
    static const char *const names[] = {"from.m4a", "from.mp3", "from.mp4", "from.ogg"};
    static const double starts[] = {0.5, 1, 3, 6.5};
    if (!have_ffmpeg())
        TEST_SKIP("no ffmpeg program");
    for (int i = 0; i < 4; i++) {
        if (ffmpeg(files[i])) {
            printf("not made: %s\n", names[i]);
            continue;
        }
        for (int k = 0; k < 4; k++) {
            rlm_clip out = {0};
            rlm_want w;
            rlm_want_defaults(&w);
            w.start_s = starts[k];
            w.want_video = 0;
            if (!read_ok(in_folder(names[i]), &w, &out))
                continue;
            double got = (double)out.audio.count / out.audio.rate;
            if (fabs(got - (8 - starts[k])) > 0.1)
                TEST_FAILED("%s from %g s: %.3f s", names[i], starts[k], got);
            CHECK_NEAR(pitch(&out.audio), 440, 8);
            rlm_clip_free(&out);
        }
    }
}

/* A stream whose sample rate changes has no holes at its own rate. */
static void case_sound_changes_rate(void)
{
    rlm_clip out = {0};
    char *data[2] = {NULL, NULL};
    size_t bytes[2] = {0, 0};
    if (!have_ffmpeg())
        TEST_SKIP("no ffmpeg program");
    for (int i = 0; i < 2; i++) {
        char args[256];
        snprintf(args, sizeof args,
                 "-f lavfi -i sine=440:d=4:sample_rate=%d -c:a libmp3lame -write_xing 0 "
                 "-id3v2_version 0 part.mp3",
                 i ? 48000 : 24000);
        if (ffmpeg(args))
            TEST_SKIP("no MP3 encoder");
        CHECK(!rlm_file_read(in_folder("part.mp3"), 1 << 20, &data[i], &bytes[i], NULL));
    }
    FILE *f = fopen(in_folder("both.mp3"), "wb");
    for (int i = 0; i < 2; i++) {
        fwrite(data[i], 1, bytes[i], f);
        rlm_free(data[i]);
    }
    fclose(f);
    if (read_ok(in_folder("both.mp3"), NULL, &out))
        CHECK_NEAR((double)out.audio.count / out.audio.rate, 8.1, 0.2);
    rlm_clip_free(&out);
}

/* y4m has no tag for its colours: both programs take them alike, at any size. */
static void case_y4m_colours(void)
{
    rlm_clip in = make_clip(1, 1280, 720, 8, 0, 0, 0), out = {0};
    if (!have_ffmpeg())
        TEST_SKIP("no ffmpeg program");
    if (write_ok(in_folder("hd.y4m"), &in, NULL) && read_ok(in_folder("hd.y4m"), NULL, &out))
        CHECK(psnr(&in.video, &out.video) > 45);
    rlm_clip_free(&out);
    CHECK(!ffmpeg("-i hd.y4m -vf scale=flags=accurate_rnd+full_chroma_int hd.png"));
    if (read_ok(in_folder("hd.png"), NULL, &out))
        CHECK(psnr(&in.video, &out.video) > 40);
    rlm_clip_free(&out);
    rlm_clip_free(&in);
}

/* White on nothing, made smaller: white to the edge. */
static void case_transparent(void)
{
    rlm_clip out = {0};
    rlm_want w;
    rlm_want_defaults(&w);
    w.width = w.height = 16;
    if (!have_ffmpeg())
        TEST_SKIP("no ffmpeg program");
    CHECK(!ffmpeg("-f lavfi -i \"color=white:s=64x64,format=rgba,geq=r='255*between(X,20,43)':"
                  "g='255*between(X,20,43)':b='255*between(X,20,43)':"
                  "a='255*between(X,20,43)*between(Y,20,43)'\" -frames:v 1 clear.png"));
    if (read_ok(in_folder("clear.png"), &w, &out)) {
        int darkest = 255;
        for (int i = 0; i < 16 * 16 * 3; i++)
            darkest = out.video.rgb[i] < darkest ? out.video.rgb[i] : darkest;
        CHECK(out.video.width == 16 && darkest == 255);
    }
    rlm_clip_free(&out);
}

/* ---- Files that must be refused -------------------------------------------------------------- */

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
    /* 1 MHz, and 17 channels */
    uint8_t wav[60] =
        "RIFF4\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x42\x0f\0\x80\x84\x1e\0\x02\0\x10\0"
        "data\x10";
    put_file("fast.wav", (const char *)wav, sizeof wav);
    must_refuse(in_folder("fast.wav"), NULL, RLM_E_MEDIA, "1000000 Hz");
    memcpy(wav + 22, "\x11\0\x40\x1f\0\0\x80\x3e\0\0\x22\0\x10\0", 14);
    put_file("wide.wav", (const char *)wav, sizeof wav);
    must_refuse(in_folder("wide.wav"), NULL, RLM_E_MEDIA, "17 channels");
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

static void on_warning(void *cookie, const char *text)
{
    snprintf(cookie, 600, "%s", text);
}

/* A file that ends early is told of; one that is whole, or more than was wanted, is not. */
static void case_cut_off(void)
{
    static const char *const names[] = {"t.mp4", "t.mkv", "t.flac"}; /* made by case_truncated */
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 4; k++) {
            char told[600] = "";
            rlm_clip out = {0};
            rlm_want w;
            rlm_want_defaults(&w);
            w.warn = on_warning;
            w.warn_cookie = told;
            cut_file(names[i], "cut", k & 1 ? 600 : 1000);
            w.max_seconds = k & 2 ? 0.5 : 600;
            if (read_ok(in_folder("cut"), &w, &out) && (k == 1) != !!strstr(told, "cut off: "))
                TEST_FAILED("%s, %d: \"%s\"", names[i], k, told);
            CHECK(k != 1 || strstr(told, " of 4.1"));
            rlm_clip_free(&out);
        }
}

/* Bytes turned at random places: any answer but a crash or unbounded memory. */
static void case_damaged(void)
{
    static const char *const names[] = {"t.mp4", "t.mkv", "t.gif", "t.wav", "t.flac"};
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

/* Bytes from `at` behind the first box of that type on. */
static char *box_at(char *data, size_t bytes, const char *type, size_t at)
{
    for (size_t i = 0; i + 4 + at + 4 <= bytes; i++)
        if (!memcmp(data + i, type, 4))
            return data + i + 4 + at;
    return NULL;
}

static long peak_kib(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss;
}

/* An MP4 of three frames whose tables say otherwise: ten thousand frames, no time or backwards,
 * offsets and sizes outside the file, a picture of 30,000 x 30,000. What comes is bounded by the
 * file and by the wish. */
static void case_tables_lie(void)
{
    static const struct {
        const char *type; /* box */
        size_t at;        /* of the number, behind the type: version and flags come first */
        uint32_t value;   /* big endian there */
    } lies[] = {
        {"stsz", 8, 10000},
        {"stsz", 8, 0xffffffff},
        {"stsz", 4, 0x7fffffff},
        {"stts", 4, 10000},
        {"stts", 8, 10000},
        {"stts", 12, 0},
        {"stts", 12, 0xffffff00},
        {"stts", 12, 0x7fffffff},
        {"ctts", 12, 0x80000000},
        {"stco", 8, 0xfffffff0},
        {"stco", 4, 10000},
        {"stsc", 12, 0x7fffffff},
        {"mdhd", 16, 0xffffffff},
        {"mdhd", 12, 0},
        {"mvhd", 16, 0xffffffff},
        {"tkhd", 76, 30000u << 16},
        {"avc1", 24, 30000u << 16 | 30000},
        {"elst", 12, 0x80000000},
    };
    rlm_clip in = make_clip(3, 64, 48, 8, 0.375, 16000, 1);
    char *data = NULL;
    size_t bytes = 0;
    int patched = 0;
    if (!write_ok(in_folder("three.mp4"), &in, NULL))
        return;
    CHECK(!rlm_file_read(in_folder("three.mp4"), 1 << 20, &data, &bytes, NULL));
    long before = peak_kib();
    for (size_t i = 0; i < sizeof lies / sizeof lies[0] && data; i++) {
        rlm_clip out = {0};
        rlm_error err = {0};
        char *copy = rlm_alloc(bytes);
        memcpy(copy, data, bytes);
        uint8_t *to = (uint8_t *)box_at(copy, bytes, lies[i].type, lies[i].at);
        for (int k = 0; k < 4 && to; k++)
            to[k] = (uint8_t)(lies[i].value >> (24 - 8 * k));
        patched += to != NULL;
        put_file("lies", copy, bytes);
        rlm_free(copy);
        int code = rlm_media_read(in_folder("lies"), NULL, &out, &err);
        if (code ? code != RLM_E_MEDIA && code != RLM_E_NOMEM : out.video.count > 4096)
            TEST_FAILED("%s + %zu: code %d %s, %d frames", lies[i].type, lies[i].at, code, err.text,
                        out.video.count);
        rlm_clip_free(&out);
    }
    CHECK(patched >= 14);
    CHECK(peak_kib() - before < 256 << 10);
    rlm_free(data);
    rlm_clip_free(&in);
}

int main(int argc, char **argv)
{
    if (!folder_open())
        return 1;
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_rotated);
    TEST_CASE(case_exif_orientation);
    TEST_CASE(case_foreign);
    TEST_CASE(case_downmix);
    TEST_CASE(case_sound_from);
    TEST_CASE(case_sound_changes_rate);
    TEST_CASE(case_y4m_colours);
    TEST_CASE(case_transparent);
    TEST_CASE(case_refused);
    TEST_CASE(case_bad_folder);
    TEST_CASE(case_truncated);
    TEST_CASE(case_cut_off);
    TEST_CASE(case_tables_lie);
    TEST_CASE(case_damaged);
    folder_close();
    return TEST_END();
}
