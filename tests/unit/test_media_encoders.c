/* A libavcodec that lacks encoders: this program stands in front of its two look-ups. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libavcodec/avcodec.h>

#include "src/media/media.h"
#include "tests/unit/media_rig.h"

static enum AVCodecID missing[3]; /* ids not to be found */

static const AVCodec *unless_missing(const AVCodec *codec)
{
    for (int i = 0; i < 3; i++)
        if (codec && codec->id == missing[i])
            return NULL;
    return codec;
}

const AVCodec *avcodec_find_encoder(enum AVCodecID id)
{
    const AVCodec *(*real)(enum AVCodecID) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "avcodec_find_encoder");
    return unless_missing(real(id));
}

const AVCodec *avcodec_find_encoder_by_name(const char *name)
{
    const AVCodec *(*real)(const char *) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "avcodec_find_encoder_by_name");
    return unless_missing(real(name));
}

static void note(void *cookie, const char *text)
{
    snprintf(cookie, 128, "%s", text);
}

/* What serves instead is said once, can be read, and has the size it should; nothing left: refused
 * in one sentence. */
static void case_no_h264(void)
{
    static const struct {
        const char *name;
        enum AVCodecID missing[3], used;
        const char *said;
    } rows[] = {
        {"a.mp4", {AV_CODEC_ID_NONE}, AV_CODEC_ID_H264, ""},
        {"b.mp4", {AV_CODEC_ID_H264}, AV_CODEC_ID_VP9, "no H.264 encoder: VP9 instead"},
        {"c.mkv", {AV_CODEC_ID_H264}, AV_CODEC_ID_VP9, "no H.264 encoder: VP9 instead"},
        {"d.mp4",
         {AV_CODEC_ID_H264, AV_CODEC_ID_VP9},
         AV_CODEC_ID_MPEG4,
         "no H.264 encoder: MPEG-4 part 2 instead"},
    };
    rlm_clip in = make_clip(5, 65, 47, 8, 0, 0, 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char said[128] = "", *json = NULL;
        rlm_error err = {0};
        rlm_clip out = {0};
        rlm_write_options o = {.warn = note, .warn_cookie = said};
        memcpy(missing, rows[i].missing, sizeof missing);
        if (!write_ok(in_folder(rows[i].name), &in, &o) ||
            !read_ok(in_folder(rows[i].name), NULL, &out))
            continue;
        CHECK(out.video.width == 65 && out.video.height == 47 && out.video.count == 5);
        CHECK(psnr(&in.video, &out.video) > 30);
        CHECK_HAS(said, rows[i].said);
        CHECK(!*said == !*rows[i].said);
        CHECK(!rlm_media_probe(in_folder(rows[i].name), &json, &err));
        CHECK_HAS(json ? json : "", avcodec_get_name(rows[i].used));
        rlm_string_free(&json);
        rlm_clip_free(&out);
    }
    memcpy(missing, (enum AVCodecID[]){AV_CODEC_ID_H264, AV_CODEC_ID_VP9, AV_CODEC_ID_MPEG4},
           sizeof missing);
    rlm_error err = {0};
    CHECK(rlm_media_write(in_folder("none.mp4"), &in, NULL, &err) == RLM_E_UNSUPPORTED);
    CHECK_HAS(err.text, "no H.264 encoder");
    CHECK(rlm_media_write(in_folder("none.webm"), &in, NULL, &err) == RLM_E_UNSUPPORTED);
    CHECK_HAS(err.text, "no VP9 encoder");
    rlm_clip_free(&in);
}

int main(int argc, char **argv)
{
    if (!folder_open())
        return 1;
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_no_h264);
    folder_close();
    return TEST_END();
}
