/* Pixels through libswscale, samples through libswresample. */
#include "src/media/media.h"

#include <libavutil/channel_layout.h>
#include <libavutil/display.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"

enum { SCALER_MAX_SIDE = 16384, SOUND_MAX_CHANNELS = 8, SOUND_FIRST_ROOM = 65536 };

/* ---- Orientation ----------------------------------------------------------------------------- */

int rlm_turn_from_matrix(const int32_t *m)
{
    if (!m)
        return 0;
    /* x' = m0 x + m3 y, y' = m1 x + m4 y, y downwards; other angles go to the nearest quarter */
    double a = m[0], b = m[1], c = m[3], d = m[4];
    if (fabs(a) + fabs(d) >= fabs(b) + fabs(c))
        return (a < 0 ? RLM_TURN_FLIP_X : 0) | (d < 0 ? RLM_TURN_FLIP_Y : 0);
    return RLM_TURN_SWAP | (c < 0 ? RLM_TURN_FLIP_X : 0) | (b < 0 ? RLM_TURN_FLIP_Y : 0);
}

int rlm_turn_of_frame(const AVFrame *frame, int stream_turn)
{
    static const uint8_t exif[9] = {0, 0, 2, 6, 4, 1, 3, 7, 5};
    const AVFrameSideData *side = av_frame_get_side_data(frame, AV_FRAME_DATA_DISPLAYMATRIX);
    if (side && side->size >= 9 * sizeof(int32_t))
        return rlm_turn_from_matrix((const int32_t *)side->data);
    const AVDictionaryEntry *e = av_dict_get(frame->metadata, "Orientation", NULL, 0);
    int tag = e ? atoi(e->value) : 0;
    return tag >= 1 && tag <= 8 ? exif[tag] : stream_turn;
}

/* ---- Pictures -------------------------------------------------------------------------------- */

/* SWS_CS_* of a picture. */
static int colour_space(int tagged, int width, int height)
{
    switch (tagged) {
    case AVCOL_SPC_BT709:
        return SWS_CS_ITU709;
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
        return SWS_CS_ITU601;
    case AVCOL_SPC_SMPTE240M:
        return SWS_CS_SMPTE240M;
    case AVCOL_SPC_FCC:
        return SWS_CS_FCC;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL:
        return SWS_CS_BT2020;
    default: /* untagged: high definition is Rec. 709, the rest 601 */
        return width >= 1280 || height >= 720 ? SWS_CS_ITU709 : SWS_CS_ITU601;
    }
}

void rlm_colour_details(struct SwsContext *sws, int space, int full_in, int full_out, int to_yuv)
{
    const int *in = sws_getCoefficients(to_yuv ? SWS_CS_DEFAULT : space);
    const int *out = sws_getCoefficients(to_yuv ? space : SWS_CS_DEFAULT);
    sws_setColorspaceDetails(sws, in, full_in, out, full_out, 0, 1 << 16, 1 << 16);
}

static int clamp_side(double x, int low, int high)
{
    return x < low ? low : x > high ? high : (int)(x + 0.5);
}

/* Size a picture is looked at: sample aspect ratio and turn applied. */
static void display_size(const AVFrame *f, AVRational sar, int turn, double *w, double *h)
{
    double ratio = sar.num > 0 && sar.den > 0 ? av_q2d(sar) : 1.0;
    if (ratio < 1.0 / 16 || ratio > 16)
        ratio = 1.0;
    double x = (f->width - (int)f->crop_right) * ratio, y = f->height - (int)f->crop_bottom;
    *w = turn & RLM_TURN_SWAP ? y : x;
    *h = turn & RLM_TURN_SWAP ? x : y;
}

int rlm_scaler_plan(rlm_scaler *s, const rlm_want *want, const AVFrame *frame, AVRational sar,
                    int turn, const char *name, rlm_error *err)
{
    double w, h;
    display_size(frame, sar, turn, &w, &h);
    double out_w = want->width, out_h = want->height;
    if (!want->width && !want->height) {
        out_w = w;
        out_h = h;
    } else if (!want->width) {
        out_w = w * want->height / h;
    } else if (!want->height) {
        out_h = h * want->width / w;
    }
    if (out_w > SCALER_MAX_SIDE || out_h > SCALER_MAX_SIDE)
        return rlm_fail(err, RLM_E_MEDIA,
                        "%s: the picture would be %.0fx%.0f, at most %d is allowed", name, out_w,
                        out_h, SCALER_MAX_SIDE);
    s->width = clamp_side(out_w, 1, SCALER_MAX_SIDE);
    s->height = clamp_side(out_h, 1, SCALER_MAX_SIDE);
    return 0;
}

/* Size of the whole scaled picture, looked at, before cropping (cover) or padding (contain). */
static void scaled_size(const rlm_scaler *s, int fit, double w, double h, int *sw, int *sh)
{
    double kx = s->width / w, ky = s->height / h;
    *sw = s->width;
    *sh = s->height;
    if (fit == RLM_FIT_STRETCH)
        return;
    /* a difference below half a pixel is rounding, not another aspect ratio */
    if (fabs(w * ky - s->width) <= 0.5 || fabs(h * kx - s->height) <= 0.5)
        return;
    if (fit == RLM_FIT_COVER) {
        double k = kx > ky ? kx : ky;
        *sw = clamp_side(w * k, s->width, 32 * s->width);
        *sh = clamp_side(h * k, s->height, 32 * s->height);
    } else {
        double k = kx < ky ? kx : ky;
        *sw = clamp_side(w * k, 1, s->width);
        *sh = clamp_side(h * k, 1, s->height);
    }
}

static int scaler_buffer(rlm_scaler *s, size_t bytes)
{
    if (bytes <= s->bytes)
        return 0;
    rlm_free(s->pixels);
    s->pixels = rlm_alloc(bytes);
    s->bytes = s->pixels ? bytes : 0;
    return s->pixels ? 0 : -1;
}

AVFrame *rlm_frame_new(int format, int width, int height)
{
    AVFrame *f = av_frame_alloc();
    if (!f)
        return NULL;
    f->format = format;
    f->width = width;
    f->height = height;
    if (av_frame_get_buffer(f, 0) < 0)
        av_frame_free(&f);
    return f;
}

void rlm_frame_fill(AVFrame *to, const rlm_frames *v, int index)
{
    size_t row = (size_t)v->width * 3;
    const uint8_t *rgb = v->rgb + (size_t)index * (size_t)v->height * row;
    for (int y = 0; y < to->height; y++) {
        const uint8_t *from = rgb + (size_t)(y < v->height ? y : v->height - 1) * row;
        uint8_t *line = to->data[0] + (ptrdiff_t)y * to->linesize[0];
        memcpy(line, from, row);
        for (int x = v->width; x < to->width; x++)
            memcpy(line + 3 * x, from + row - 3, 3);
    }
}

static int frame_is_full_range(const AVFrame *f)
{
    switch (f->format) {
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ444P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ411P:
        return 1;
    default:
        return f->color_range == AVCOL_RANGE_JPEG;
    }
}

/* White behind transparency, in place: four bytes a pixel become three. */
static void flatten_rows(AVFrame *f)
{
    for (int y = 0; y < f->height; y++) {
        uint8_t *row = f->data[0] + (ptrdiff_t)y * f->linesize[0];
        for (int x = 0; x < f->width; x++) {
            unsigned alpha = row[4 * x + 3];
            for (int c = 0; c < 3; c++)
                row[3 * x + c] =
                    (uint8_t)((row[4 * x + c] * alpha + 255 * (255 - alpha) + 127) / 255);
        }
    }
}

/* The picture as RGB at its own size, white behind transparency and its crop taken off, into
 * s->flat. Before scaling, since the colour of what is transparent would bleed into the edges, and
 * since 36 columns of chroma belong to 72 pixels, not to the 71 that are looked at. */
static int scaler_flatten(rlm_scaler *s, const AVFrame *f, int alpha, const char *name,
                          rlm_error *err)
{
    int format = alpha ? AV_PIX_FMT_RGBA : AV_PIX_FMT_RGB24;
    if (!s->flat || s->flat_width != f->width || s->flat_height != f->height) {
        av_frame_free(&s->flat);
        s->flat = rlm_frame_new(AV_PIX_FMT_RGBA, f->width, f->height);
        s->flat_width = f->width;
        s->flat_height = f->height;
    }
    s->flat_sws = sws_getCachedContext(
        s->flat_sws, f->width, f->height, f->format, f->width, f->height, format,
        SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
    if (!s->flat || !s->flat_sws)
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory for a %dx%d picture", name, f->width,
                        f->height);
    rlm_colour_details(s->flat_sws, colour_space(f->colorspace, f->width, f->height),
                       frame_is_full_range(f), 1, 0);
    int done = sws_scale(s->flat_sws, (const uint8_t *const *)f->data, f->linesize, 0, f->height,
                         s->flat->data, s->flat->linesize);
    if (done <= 0)
        return rlm_av_fail(err, name, "scaling", done);
    s->flat->width = f->width - (int)f->crop_right;
    s->flat->height = f->height - (int)f->crop_bottom;
    s->flat->format = AV_PIX_FMT_RGB24;
    if (alpha)
        flatten_rows(s->flat);
    return 0;
}

/* One row of the result from the scaled picture: crop and turn. */
static void scaler_row(const uint8_t *pixels, int stride, int sw, int sh, int turn, int x0, int y,
                       int n, uint8_t *to)
{
    /* sw, sh: scaled size looked at; the stored picture has them exchanged when swapped */
    int fy = turn & RLM_TURN_FLIP_Y ? sh - 1 - y : y;
    if (!turn) {
        memcpy(to, pixels + (size_t)fy * stride + (size_t)x0 * 3, (size_t)n * 3);
        return;
    }
    for (int i = 0; i < n; i++) {
        int x = x0 + i, fx = turn & RLM_TURN_FLIP_X ? sw - 1 - x : x;
        const uint8_t *p = turn & RLM_TURN_SWAP ? pixels + (size_t)fx * stride + (size_t)fy * 3
                                                : pixels + (size_t)fy * stride + (size_t)fx * 3;
        memcpy(to + 3 * i, p, 3);
    }
}

int rlm_scaler_run(rlm_scaler *s, int fit, const AVFrame *frame, AVRational sar, int turn,
                   uint8_t *rgb, const char *name, rlm_error *err)
{
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(frame->format);
    if (!desc || !sws_isSupportedInput(frame->format))
        return rlm_fail(err, RLM_E_MEDIA, "%s: pixel format %s is not supported", name,
                        desc ? desc->name : "unknown");
    double w, h;
    int sw, sh, alpha = !!(desc->flags & AV_PIX_FMT_FLAG_ALPHA);
    if (alpha || frame->crop_right || frame->crop_bottom) {
        RLM_TRY(scaler_flatten(s, frame, alpha, name, err));
        frame = s->flat;
    }
    display_size(frame, sar, turn, &w, &h);
    scaled_size(s, fit, w, h, &sw, &sh);
    int store_w = turn & RLM_TURN_SWAP ? sh : sw, store_h = turn & RLM_TURN_SWAP ? sw : sh;
    int stride = (int)rlm_size_align((size_t)store_w * 3, 64);
    size_t bytes = rlm_size_add(rlm_size_mul((size_t)stride, (size_t)store_h), 256);
    if (scaler_buffer(s, bytes))
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory for a %dx%d picture", name, store_w,
                        store_h);
    s->sws = sws_getCachedContext(
        s->sws, frame->width, frame->height, frame->format, store_w, store_h, AV_PIX_FMT_RGB24,
        SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
    if (!s->sws)
        return rlm_fail(err, RLM_E_MEDIA, "%s: %dx%d %s cannot be scaled to %dx%d", name,
                        frame->width, frame->height, desc->name, store_w, store_h);
    rlm_colour_details(s->sws, colour_space(frame->colorspace, frame->width, frame->height),
                       frame_is_full_range(frame), 1, 0);
    uint8_t *planes[4] = {s->pixels};
    int strides[4] = {stride};
    int done = sws_scale(s->sws, (const uint8_t *const *)frame->data, frame->linesize, 0,
                         frame->height, planes, strides);
    if (done <= 0)
        return rlm_av_fail(err, name, "scaling", done);
    /* cover: a window into the scaled picture; contain: the scaled picture inside black */
    int crop_x = sw > s->width ? (sw - s->width) / 2 : 0;
    int crop_y = sh > s->height ? (sh - s->height) / 2 : 0;
    int pad_x = sw < s->width ? (s->width - sw) / 2 : 0;
    int pad_y = sh < s->height ? (s->height - sh) / 2 : 0;
    int n = sw < s->width ? sw : s->width, rows = sh < s->height ? sh : s->height;
    if (n < s->width || rows < s->height)
        memset(rgb, 0, (size_t)s->width * (size_t)s->height * 3);
    for (int y = 0; y < rows; y++)
        scaler_row(s->pixels, stride, sw, sh, turn, crop_x, crop_y + y, n,
                   rgb + ((size_t)(pad_y + y) * (size_t)s->width + (size_t)pad_x) * 3);
    return 0;
}

void rlm_scaler_close(rlm_scaler *s)
{
    sws_freeContext(s->sws);
    sws_freeContext(s->flat_sws);
    av_frame_free(&s->flat);
    rlm_free(s->pixels);
    *s = (rlm_scaler){0};
}

/* ---- Sound ----------------------------------------------------------------------------------- */

static int sound_grow(rlm_sound *s, int64_t samples, rlm_error *err)
{
    if (samples <= s->room)
        return 0;
    int64_t frame = (int64_t)sizeof(float) * s->pcm.channels;
    int64_t room = s->room ? s->room * 2 : SOUND_FIRST_ROOM;
    if (room < samples)
        room = samples;
    if (room > s->max_bytes / frame)
        room = s->max_bytes / frame;
    if (room < samples)
        return rlm_fail(err, RLM_E_NOMEM, "%s: its sound needs more than the limit of %lld bytes",
                        s->name, (long long)s->max_bytes);
    float *grown = rlm_realloc(s->pcm.samples, (size_t)(s->room * frame), (size_t)(room * frame));
    if (!grown)
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory for %lld samples", s->name,
                        (long long)room);
    s->pcm.samples = grown;
    s->room = room;
    return 0;
}

int rlm_sound_full(const rlm_sound *s)
{
    return s->pcm.count >= s->limit;
}

/* Take `got` converted samples that lie behind pcm.count: drop what is to be skipped or too much.
 */
static void sound_take(rlm_sound *s, int64_t got)
{
    int c = s->pcm.channels;
    int64_t drop = s->skip < got ? s->skip : got;
    float *at = s->pcm.samples + s->pcm.count * c;
    s->skip -= drop;
    got -= drop;
    if (drop && got)
        memmove(at, at + drop * c, (size_t)(got * c) * sizeof(float));
    s->pcm.count += got;
    if (s->pcm.count > s->limit)
        s->pcm.count = s->limit;
}

static int sound_convert(rlm_sound *s, const uint8_t **data, int count, rlm_error *err)
{
    int room = swr_get_out_samples(s->swr, count);
    if (room < 0)
        return rlm_av_fail(err, s->name, "resampling", room);
    RLM_TRY(sound_grow(s, s->pcm.count + room + 16, err));
    uint8_t *out[1] = {(uint8_t *)(s->pcm.samples + s->pcm.count * s->pcm.channels)};
    int got = swr_convert(s->swr, out, room + 16, data, count);
    if (got < 0)
        return rlm_av_fail(err, s->name, "resampling", got);
    sound_take(s, got);
    return 0;
}

static int sound_open(rlm_sound *s, int format, int rate, int channels,
                      const AVChannelLayout *layout, rlm_error *err)
{
    if (rate < 1000 || rate > 768000 || channels < 1 || channels > 64)
        return rlm_fail(err, RLM_E_MEDIA, "%s: sound of %d Hz and %d channels is not supported",
                        s->name, rate, channels);
    AVChannelLayout in = {0}, out = {0};
    if (layout && layout->order != AV_CHANNEL_ORDER_UNSPEC && layout->nb_channels == channels)
        av_channel_layout_copy(&in, layout);
    else
        av_channel_layout_default(&in, channels);
    if (!s->pcm.rate) {
        s->pcm.rate = s->want_rate ? s->want_rate : rate;
        s->pcm.channels = s->want_channels ? s->want_channels : channels;
        if (s->pcm.channels > SOUND_MAX_CHANNELS)
            s->pcm.channels = 2;
    }
    if (s->pcm.channels == channels)
        av_channel_layout_copy(&out, &in);
    else
        av_channel_layout_default(&out, s->pcm.channels);
    swr_free(&s->swr);
    int code = swr_alloc_set_opts2(&s->swr, &out, AV_SAMPLE_FMT_FLT, s->pcm.rate, &in, format, rate,
                                   0, NULL);
    if (code >= 0)
        code = swr_init(s->swr);
    av_channel_layout_uninit(&in);
    av_channel_layout_uninit(&out);
    if (code < 0)
        return rlm_av_fail(err, s->name, "resampling", code);
    s->in_format = format;
    s->in_rate = rate;
    s->in_channels = channels;
    return 0;
}

int rlm_sound_push(rlm_sound *s, const uint8_t **data, int count, int format, int rate,
                   int channels, const AVChannelLayout *layout, rlm_error *err)
{
    if (!count)
        return s->swr ? sound_convert(s, NULL, 0, err) : 0;
    if (rlm_sound_full(s))
        return 0;
    if (!s->swr || format != s->in_format || rate != s->in_rate || channels != s->in_channels) {
        if (s->swr)
            RLM_TRY(sound_convert(s, NULL, 0, err));
        RLM_TRY(sound_open(s, format, rate, channels, layout, err));
    }
    if (s->skip < 0) {
        int64_t lead = -s->skip;
        s->skip = 0;
        RLM_TRY(rlm_sound_silence(s, lead, err));
    }
    return sound_convert(s, data, count, err);
}

int rlm_sound_silence(rlm_sound *s, int64_t samples, rlm_error *err)
{
    if (samples > s->limit - s->pcm.count)
        samples = s->limit - s->pcm.count;
    if (samples <= 0)
        return 0;
    RLM_TRY(sound_grow(s, s->pcm.count + samples, err));
    memset(s->pcm.samples + s->pcm.count * s->pcm.channels, 0,
           (size_t)(samples * s->pcm.channels) * sizeof(float));
    s->pcm.count += samples;
    return 0;
}

void rlm_sound_close(rlm_sound *s)
{
    swr_free(&s->swr);
    rlm_free(s->pcm.samples);
    *s = (rlm_sound){0};
}
