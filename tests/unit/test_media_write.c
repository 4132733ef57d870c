/* Files as they are written: what stands in them beside picture and sound, sequences, and what must
 * not be written. */
#include "src/media/media.h"
#include "tests/unit/media_rig.h"

/* As many colours as a GIF has come back as they were, and two pictures at their rate. */
static void case_exact_gif(void)
{
    rlm_clip in = make_clip(2, 32, 16, 8, 0, 0, 0), out = {0};
    for (int i = 0; i < 2 * 32 * 16; i++) {
        const uint8_t k = (uint8_t)(i * 7 % 255),
                      rgb[3] = {k, (uint8_t)(255 - k), (uint8_t)(k * 5)};
        memcpy(in.video.rgb + 3 * i, rgb, 3);
    }
    if (write_ok(in_folder("exact.gif"), &in, NULL) &&
        read_ok(in_folder("exact.gif"), NULL, &out)) {
        CHECK(out.video.count == 2 && !memcmp(in.video.rgb, out.video.rgb, 3 * 2 * 32 * 16));
        CHECK_NEAR((double)out.video.fps_num / out.video.fps_den, 8, 0.5); /* in hundredths of s */
    }
    rlm_clip_free(&out);
    rlm_clip_free(&in);
}

/* GIF counts in hundredths, and readers take less than two of them for ten. */
static void case_fast_gif(void)
{
    static const int rates[] = {40, 60, 100, 144, 240};
    for (int i = 0; i < 5; i++) {
        rlm_clip in = make_clip(rates[i], 32, 24, rates[i], 0, 0, 0), out = {0};
        if (write_ok(in_folder("fast.gif"), &in, NULL) &&
            read_ok(in_folder("fast.gif"), NULL, &out)) {
            double fps = (double)out.video.fps_num / out.video.fps_den;
            CHECK(fps < 50.5);
            CHECK_NEAR(out.video.count / fps, 1, 0.03);
        }
        rlm_clip_free(&in);
        rlm_clip_free(&out);
    }
}

static void case_metadata(void)
{
    static const char *const names[] = {"m.mp4", "m.mkv", "m.webm", "m.avi", "m.png",
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

/* What writing would refuse is refused before anything is made. */
static void case_writable(void)
{
    static const struct {
        const char *name;
        int pictures, samples, code;
    } rows[] = {
        {"one.png", 1, 0, 0},         {"one.png", 2, 0, RLM_E_ARG},
        {"n%d.png", 2, 0, 0},         {"n%d%d.png", 2, 0, RLM_E_ARG},
        {"n%s.png", 2, 0, RLM_E_ARG}, {"a.wav", 2, 0, RLM_E_ARG},
        {"a.flac", 2, 0, RLM_E_ARG},  {"a.ogg", 0, 1, 0},
        {"a.gif", 0, 1, RLM_E_ARG},   {"a.mp4", 0, 0, RLM_E_ARG},
        {"a.mp4", 2, 0, 0},           {"a.xyz", 2, 0, RLM_E_UNSUPPORTED},
    };
    rlm_error err = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rlm_clip shape = {.video.count = rows[i].pictures, .audio.count = rows[i].samples};
        int code = rlm_media_writable(in_folder(rows[i].name), NULL, &shape, &err);
        if (code != rows[i].code)
            TEST_FAILED("%s, row %zu: %d", rows[i].name, i, code);
    }
    CHECK(!rlm_media_writable(in_folder("one.png"), NULL, NULL, &err));
    CHECK(rlm_media_writable(in_folder("n%d%d.png"), NULL, NULL, &err) == RLM_E_ARG);
}

/* Who made a file can be read of it, whatever it was written as; a glance says the same. */
static void case_origin(void)
{
    static const char *const names[] = {"o.mp4", "o.mkv", "o.png", "o.wav", "o.ogg"};
    for (int i = 0; i < 5; i++)
        for (int origin = RLM_ORIGIN_GENERATED; origin <= RLM_ORIGIN_COMPOSITE; origin++) {
            rlm_clip in = make_clip(1, 64, 48, 8, 0.5, 16000, 1), out = {0};
            rlm_glance seen = {0};
            in.metadata = rlm_strdup("{\"seed\":7,\"ai_generated\":true}");
            in.origin = origin;
            if (write_ok(in_folder(names[i]), &in, NULL) &&
                read_ok(in_folder(names[i]), NULL, &out)) {
                CHECK(out.origin == origin);
                CHECK(!rlm_media_glance(in_folder(names[i]), &seen, NULL));
                CHECK(seen.origin == origin && seen.has_video == (i < 3));
                CHECK(strstr(out.metadata, "\"seed\":7"));
            }
            rlm_clip again = {0}; /* its settings go into the next file once */
            if (write_ok(in_folder(names[i]), &out, NULL) &&
                read_ok(in_folder(names[i]), NULL, &again))
                CHECK_STR(again.metadata, out.metadata);
            rlm_clip_free(&again);
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

/* A sequence that fails half way leaves what stood there, and nothing of its own. */
static void case_png_sequence_fails(void)
{
    rlm_clip in = make_clip(4, 32, 16, 8, 0, 0, 0);
    rlm_error err = {0};
    char *data = NULL;
    size_t bytes = 0;
    for (int i = 0; i < 2; i++) /* the first it would replace, and the one it fails at */
        CHECK(!rlm_file_write(in_folder(i ? "half_2.png" : "half_0.png"), "old", 3, NULL));
    CHECK(!mkdir(in_folder("half_3.png"), 0700));
    int before = files_in(folder);
    CHECK(rlm_media_write(in_folder("half_%d.png"), &in, NULL, &err) == RLM_E_IO);
    CHECK_HAS(err.text, "half_3.png");
    CHECK(files_in(folder) == before);
    for (int i = 0; i < 2; i++) {
        CHECK(!rlm_file_read(in_folder(i ? "half_2.png" : "half_0.png"), 1 << 20, &data, &bytes,
                             NULL));
        CHECK(bytes == 3);
        rlm_free(data);
        data = NULL;
    }
    CHECK(!rmdir(in_folder("half_3.png")));
    CHECK(write_ok(in_folder("half_%d.png"), &in, NULL) && files_in(folder) == before + 1);
    rlm_clip_free(&in);
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

int main(int argc, char **argv)
{
    if (!folder_open())
        return 1;
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_exact_gif);
    TEST_CASE(case_fast_gif);
    TEST_CASE(case_metadata);
    TEST_CASE(case_origin);
    TEST_CASE(case_writable);
    TEST_CASE(case_png_sequence);
    TEST_CASE(case_png_sequence_fails);
    TEST_CASE(case_write_refusals);
    TEST_CASE(case_stdin_stdout);
    folder_close();
    return TEST_END();
}
