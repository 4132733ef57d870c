/* A clip in memory to another size, frame rate, sample rate and channel count, by the same rules as
 * reading a file. */
#include "src/media/media.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"

/* The result's size, and room for its pictures. */
static int convert_plan(const AVFrame *f, rlm_scaler *s, const rlm_want *want, rlm_frames *out,
                        rlm_error *err)
{
    AVRational square = {1, 1};
    RLM_TRY(rlm_scaler_plan(s, want, f, square, 0, "clip", err));
    size_t bytes = rlm_size_mul(rlm_size_mul((size_t)s->width, (size_t)s->height), 3);
    out->rgb = rlm_alloc(rlm_size_mul(bytes, (size_t)out->count));
    out->width = s->width;
    out->height = s->height;
    return out->rgb ? 0
                    : rlm_fail(err, RLM_E_NOMEM, "clip: no memory for %d frames of %dx%d",
                               out->count, s->width, s->height);
}

static int convert_video(const rlm_frames *v, const rlm_want *want, rlm_frames *out, rlm_error *err)
{
    rlm_scaler s = {0};
    AVRational square = {1, 1};
    double from = (double)v->fps_num / v->fps_den, to = from;
    *out = (rlm_frames){.fps_num = v->fps_num, .fps_den = v->fps_den};
    if (want->fps_num) {
        to = (double)want->fps_num / want->fps_den;
        out->fps_num = want->fps_num;
        out->fps_den = want->fps_den;
    }
    double count = v->count == 1 ? 1 : floor(v->count * to / from + 0.5);
    out->count = count < 1 ? 1 : count > want->max_frames ? want->max_frames : (int)count;
    AVFrame *f = rlm_frame_new(AV_PIX_FMT_RGB24, v->width, v->height);
    int code = f ? convert_plan(f, &s, want, out, err)
                 : rlm_fail(err, RLM_E_NOMEM, "clip: no memory for a picture");
    size_t one = (size_t)out->width * (size_t)out->height * 3;
    for (int k = 0, last = -1; k < out->count && !code; k++) {
        int at = (int)ceil(k * from / to - 0.5);
        at = at < 0 ? 0 : at >= v->count ? v->count - 1 : at;
        uint8_t *rgb = out->rgb + (size_t)k * one;
        if (at == last) {
            memcpy(rgb, rgb - one, one);
        } else if (out->width == v->width && out->height == v->height) {
            memcpy(rgb, v->rgb + (size_t)at * one, one);
        } else {
            rlm_frame_fill(f, v, at);
            code = rlm_scaler_run(&s, want->fit, f, square, 0, rgb, "clip", err);
        }
        last = at;
    }
    av_frame_free(&f);
    rlm_scaler_close(&s);
    return code;
}

static int convert_audio(const rlm_pcm *a, const rlm_want *want, rlm_pcm *out, rlm_error *err)
{
    rlm_sound s = {.name = "clip",
                   .want_rate = want->rate,
                   .want_channels = want->channels,
                   .limit = INT64_MAX / 4,
                   .max_bytes = want->max_bytes};
    int code = 0;
    for (int64_t done = 0; done < a->count && !code; done += 65536) {
        int64_t n = a->count - done < 65536 ? a->count - done : 65536;
        const uint8_t *planes[1] = {(const uint8_t *)(a->samples + done * a->channels)};
        code =
            rlm_sound_push(&s, planes, (int)n, AV_SAMPLE_FMT_FLT, a->rate, a->channels, NULL, err);
    }
    if (!code)
        code = rlm_sound_push(&s, NULL, 0, 0, 0, 0, NULL, err);
    if (!code) {
        *out = s.pcm;
        s.pcm.samples = NULL;
    }
    rlm_sound_close(&s);
    return code;
}

int rlm_clip_convert(const rlm_clip *in, const rlm_want *want, rlm_clip *out, rlm_error *err)
{
    const rlm_frames *v = &in->video;
    rlm_clip made = {0};
    int code = 0;
    if (v->count > 0 && want->want_video) {
        if (!v->rgb || v->width < 1 || v->height < 1 || v->fps_num < 1 || v->fps_den < 1)
            return rlm_fail(err, RLM_E_ARG, "clip: %d frames of %dx%d at %d/%d a second", v->count,
                            v->width, v->height, v->fps_num, v->fps_den);
        code = convert_video(v, want, &made.video, err);
    }
    if (!code && in->audio.count > 0 && want->want_audio) {
        if (!in->audio.samples || in->audio.channels < 1 || in->audio.rate < 1)
            code = rlm_fail(err, RLM_E_ARG, "clip: sound of %d channels at %d Hz",
                            in->audio.channels, in->audio.rate);
        else
            code = convert_audio(&in->audio, want, &made.audio, err);
    }
    if (code)
        rlm_clip_free(&made);
    else
        *out = made;
    return code;
}
