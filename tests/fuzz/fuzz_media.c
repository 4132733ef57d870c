/* A media file through our AVIO and libsndfile: read whole, in windows, and described. The first
 * byte says what is wanted of it. */
#include "tests/fuzz/fuzz.h"

#include "src/media/media.h"

enum { WINDOW = 2, MOST_FRAMES = 6 };

static int sink(void *cookie, const rlm_clip *part, rlm_error *err)
{
    int64_t *samples = cookie;
    (void)err;
    FUZZ_CHECK(part->video.count >= 0 && part->video.count <= WINDOW && part->audio.count >= 0);
    *samples += part->audio.count;
    return 0;
}

static void check(const rlm_clip *c, const rlm_want *want)
{
    const rlm_frames *v = &c->video;
    int64_t sum = 0, bytes = (int64_t)v->count * v->height * v->width * 3;
    FUZZ_CHECK(v->count >= 0 && v->count <= MOST_FRAMES && bytes <= want->max_bytes);
    for (int64_t i = 0; i < bytes; i++)
        sum += v->rgb[i];
    for (int64_t i = 0; i < c->audio.count * c->audio.channels; i++)
        sum += c->audio.samples[i] > 0;
    FUZZ_CHECK(sum >= 0 && (v->count || c->audio.count));
    FUZZ_CHECK(!v->count || (v->fps_num > 0 && v->fps_den > 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    const char *path = fuzz_file(data + 1, size - 1);
    char *json = NULL;
    int64_t samples = 0;
    rlm_clip clip = {0};
    rlm_error err = {0};
    rlm_want want;
    rlm_want_defaults(&want);
    want.max_frames = MOST_FRAMES;
    want.max_seconds = 2;
    want.max_pixels = 512 * 512;
    want.max_bytes = 16 << 20;
    if (*data & 1)
        want.width = 24, want.height = 40, want.fit = *data >> 1 & 1;
    if (*data & 4)
        want.fps_num = 8, want.fps_den = 1;
    if (*data & 8)
        want.rate = 16000, want.channels = 1;
    want.start_s = *data & 16 ? 0.3 : 0;
    if (rlm_media_read(path, &want, &clip, &err))
        FUZZ_CHECK(err.text[0] && !clip.video.rgb && !clip.audio.samples);
    else
        check(&clip, &want);
    rlm_clip_free(&clip);
    if (*data & 32)
        rlm_media_stream(path, &want, WINDOW, sink, &samples, NULL);
    if (*data & 64) {
        rlm_media_probe(path, &json, NULL);
        rlm_string_free(&json);
    }
    return 0;
}
