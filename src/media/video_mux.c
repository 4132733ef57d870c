/* MP4 and MOV: H.264 and AAC; Matroska: H.264 and Opus; WebM: VP9 and Opus; AVI: FFV1 and float
 * samples, nothing lost. Through libavformat.
 *
 * H.264 4:2:0 stores even sides only: an odd side gets one more, replicated, row or column, and the
 * tag keywords = "reelm-size=WxH" (genre in MOV, whose muxer drops keywords) tells the true size to
 * rlm_media_read. VP9 stores any size. */
#include "src/media/media.h"

#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"

enum { MUX_IO_BYTES = 65536, SOUND_BLOCK = 1024, SOUND_KEPT = 1 << 16 };

struct rlm_mux {
    rlm_sink *sink;
    const char *format;
    AVFormatContext *fmt;
    AVIOContext *io;
    AVCodecContext *video, *audio;
    AVStream *video_stream, *audio_stream;
    AVFrame *rgb, *frame, *block; /* a picture as it came, as it is encoded; a block of sound */
    AVPacket *packet;
    struct SwsContext *sws;
    rlm_sound sound;  /* the track at the encoder's rate, as far as it is there ... */
    int64_t sound_at; /* ... of which so many samples are encoded already */
    int64_t sound_total, sound_done; /* samples in all, INT64_MAX: not known yet; encoded */
    bool sound_ends;                 /* no more will come */
    bool longest;                    /* it may outlast the pictures */
    int64_t pictures;                /* encoded */
};
typedef struct rlm_mux mux;

/* ---- Bytes ----------------------------------------------------------------------------------- */

static int mux_io_write(void *cookie, uint8_t *data, int bytes)
{
    rlm_sink *s = cookie;
    return rlm_sink_write(s, data, bytes) < 0 ? AVERROR(s->failed) : bytes;
}

static int64_t mux_io_seek(void *cookie, int64_t offset, int whence)
{
    rlm_sink *s = cookie;
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
        return s->bytes;
    case SEEK_SET:
        return rlm_sink_seek(s, offset);
    case SEEK_CUR:
        return rlm_sink_seek(s, s->at + offset);
    case SEEK_END:
        return rlm_sink_seek(s, s->bytes + offset);
    default:
        return AVERROR(EINVAL);
    }
}

/* Moving the index to the front re-reads the file being written: a second view of the sink. */
typedef struct sink_view {
    const rlm_sink *sink;
    int64_t at;
} sink_view;

static int view_read(void *cookie, uint8_t *to, int bytes)
{
    sink_view *v = cookie;
    int64_t got = rlm_sink_read(v->sink, v->at, to, bytes);
    if (got <= 0)
        return AVERROR_EOF;
    v->at += got;
    return (int)got;
}

static int64_t view_seek(void *cookie, int64_t offset, int whence)
{
    sink_view *v = cookie;
    if ((whence & ~AVSEEK_FORCE) == AVSEEK_SIZE)
        return v->sink->bytes;
    v->at = whence == SEEK_CUR   ? v->at + offset
            : whence == SEEK_END ? v->sink->bytes + offset
                                 : offset;
    return v->at;
}

static int view_open(AVFormatContext *fmt, AVIOContext **io, const char *url, int flags,
                     AVDictionary **options)
{
    (void)url, (void)options;
    mux *m = fmt->opaque;
    if (flags & AVIO_FLAG_WRITE)
        return AVERROR(EPERM);
    sink_view *v = rlm_calloc(1, sizeof *v);
    uint8_t *buffer = av_malloc(MUX_IO_BYTES);
    if (v && buffer) {
        v->sink = m->sink;
        *io = avio_alloc_context(buffer, MUX_IO_BYTES, 0, v, view_read, NULL, view_seek);
        if (*io)
            return 0;
    }
    rlm_free(v);
    av_free(buffer);
    return AVERROR(ENOMEM);
}

static int view_close(AVFormatContext *fmt, AVIOContext *io)
{
    (void)fmt;
    rlm_free(io->opaque);
    av_freep(&io->buffer);
    avio_context_free(&io);
    return 0;
}

/* ---- Encoders -------------------------------------------------------------------------------- */

static const AVCodec *encoder_find(enum AVCodecID id, const char *first)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(first);
    return codec ? codec : avcodec_find_encoder(id);
}

static int mux_stream(mux *m, AVStream **st, const AVCodecContext *c)
{
    *st = avformat_new_stream(m->fmt, NULL);
    if (!*st)
        return AVERROR(ENOMEM);
    (*st)->time_base = c->time_base;
    return avcodec_parameters_from_context((*st)->codecpar, c);
}

/* What a container's pictures are coded with: the first of the rows that this libavcodec has and
 * the container holds. */
typedef struct picture_codec {
    const char *format; /* NULL: all that no other row names */
    enum AVCodecID id;
    const char *first, *name; /* encoder looked for first; what people call it */
    enum AVPixelFormat pixels;
    int even; /* stores even sides only */
} picture_codec;

static const picture_codec *picture_codec_choose(mux *m, const AVCodec **codec,
                                                 const rlm_write_options *o, rlm_error *err)
{
    static const picture_codec rows[] = {
        {"avi", AV_CODEC_ID_FFV1, "ffv1", "FFV1", AV_PIX_FMT_BGR0, 0},
        {"webm", AV_CODEC_ID_VP9, "libvpx-vp9", "VP9", AV_PIX_FMT_YUV420P, 0},
        {NULL, AV_CODEC_ID_H264, "libx264", "H.264", AV_PIX_FMT_YUV420P, 1},
        {NULL, AV_CODEC_ID_VP9, "libvpx-vp9", "VP9", AV_PIX_FMT_YUV420P, 0},
        {NULL, AV_CODEC_ID_MPEG4, "mpeg4", "MPEG-4 part 2", AV_PIX_FMT_YUV420P, 1},
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    const picture_codec *best = NULL; /* of the format */
    int named = !strcmp(m->format, "avi") || !strcmp(m->format, "webm");
    for (int i = 0; i < ROWS; i++) {
        const picture_codec *row = &rows[i];
        if (row->format ? strcmp(row->format, m->format) : named)
            continue;
        best = best ? best : row;
        if (avformat_query_codec(m->fmt->oformat, row->id, FF_COMPLIANCE_NORMAL) != 1 ||
            !(*codec = encoder_find(row->id, row->first)))
            continue;
        if (row != best && o->warn) {
            char text[128];
            snprintf(text, sizeof text, "this libavcodec has no %s encoder: %s instead", best->name,
                     row->name);
            o->warn(o->warn_cookie, text);
        }
        return row;
    }
    rlm_fail(err, RLM_E_UNSUPPORTED, "this libavcodec has no %s encoder",
             best ? best->name : m->format);
    return NULL;
}

static void picture_codec_options(AVCodecContext *c, enum AVCodecID id, int crf)
{
    double rate = av_q2d(c->framerate);
    c->gop_size = rate * 2 < 12 ? 12 : rate * 2 > 250 ? 250 : (int)(rate * 2);
    c->thread_count = (int64_t)c->width * c->height >= 640 * 360 ? 2 : 1;
    switch (id) {
    case AV_CODEC_ID_FFV1: /* each picture alone, with checksums */
        c->gop_size = 1;
        c->level = 3;
        break;
    case AV_CODEC_ID_VP9:
        av_opt_set_int(c->priv_data, "crf", crf, 0);
        av_opt_set(c->priv_data, "deadline", "good", 0);
        av_opt_set_int(c->priv_data, "cpu-used", 4, 0);
        av_opt_set_int(c->priv_data, "row-mt", 1, 0);
        break;
    case AV_CODEC_ID_MPEG4:
        c->flags |= AV_CODEC_FLAG_QSCALE;
        c->global_quality = FF_QP2LAMBDA * (crf < 12 ? 2 : crf > 51 ? 9 : crf / 6);
        break;
    default:
        av_opt_set_int(c->priv_data, "crf", crf <= 51 ? crf : 51, 0);
        /* both read memory that libx264 never wrote: the same clip gave other files */
        av_opt_set_int(c->priv_data, "mbtree", 0, 0);
        av_opt_set_int(c->priv_data, "weightp", 0, 0);
    }
}

static int mux_open_video(mux *m, const rlm_frames *v, const rlm_write_options *o, rlm_error *err)
{
    const AVCodec *codec = NULL;
    const picture_codec *row = picture_codec_choose(m, &codec, o, err);
    if (!row)
        return RLM_E_UNSUPPORTED;
    AVCodecContext *c = m->video = avcodec_alloc_context3(codec);
    if (!c)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for the picture encoder");
    int rgb = row->pixels == AV_PIX_FMT_BGR0;
    c->width = row->even ? (v->width + 1) & ~1 : v->width;
    c->height = row->even ? (v->height + 1) & ~1 : v->height;
    c->pix_fmt = row->pixels;
    c->time_base = (AVRational){v->fps_den, v->fps_num};
    c->framerate = (AVRational){v->fps_num, v->fps_den};
    c->sample_aspect_ratio = (AVRational){1, 1};
    c->color_range = rgb ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    c->colorspace = rgb ? AVCOL_SPC_RGB : AVCOL_SPC_BT709;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    if (m->fmt->oformat->flags & AVFMT_GLOBALHEADER)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    picture_codec_options(c, row->id, o->crf);
    int code = avcodec_open2(c, codec, NULL);
    if (code >= 0)
        code = mux_stream(m, &m->video_stream, c);
    if (code < 0)
        return rlm_av_fail(err, codec->name, "picture encoder", code);
    m->video_stream->avg_frame_rate = c->framerate;
    if (c->width != v->width || c->height != v->height) {
        char text[64];
        snprintf(text, sizeof text, "reelm-size=%dx%d", v->width, v->height);
        av_dict_set(&m->fmt->metadata, strcmp(m->format, "mov") ? "keywords" : "genre", text, 0);
    }
    m->rgb = rlm_frame_new(AV_PIX_FMT_RGB24, c->width, c->height);
    m->frame = rlm_frame_new(c->pix_fmt, c->width, c->height);
    m->sws = sws_getContext(c->width, c->height, AV_PIX_FMT_RGB24, c->width, c->height, c->pix_fmt,
                            SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP, NULL, NULL, NULL);
    if (!m->rgb || !m->frame || !m->sws)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for a %dx%d picture", c->width, c->height);
    if (!rgb)
        rlm_colour_details(m->sws, SWS_CS_ITU709, 1, 0, 1);
    return 0;
}

/* The nearest rate the encoder knows that is not below the wanted one. */
static int encoder_rate(const AVCodec *codec, int rate)
{
    int best = 0, highest = 0;
    const int *known = codec->supported_samplerates;
    if (!known)
        return rate;
    for (; *known; known++) {
        highest = *known > highest ? *known : highest;
        if (*known >= rate && (!best || *known < best))
            best = *known;
    }
    return best ? best : highest;
}

/* More of the track, to the encoder's rate. */
static int mux_take_sound(mux *m, const rlm_pcm *a, rlm_error *err)
{
    for (int64_t done = 0; done < a->count;) {
        int64_t n = a->count - done < 65536 ? a->count - done : 65536;
        const uint8_t *planes[1] = {(const uint8_t *)(a->samples + done * a->channels)};
        RLM_TRY(rlm_sound_push(&m->sound, planes, (int)n, AV_SAMPLE_FMT_FLT, a->rate, a->channels,
                               NULL, err));
        done += n;
    }
    return 0;
}

static int mux_open_audio(mux *m, const rlm_pcm *a, rlm_error *err)
{
    /* Opus in Matroska too: readers skip its lead-in, that of AAC there many play, as a delay */
    static const struct {
        const char *format, *first, *name;
        enum AVCodecID id;
    } rows[] = {{"webm", "libopus", "Opus", AV_CODEC_ID_OPUS},
                {"matroska", "libopus", "Opus", AV_CODEC_ID_OPUS},
                {"avi", "pcm_f32le", "PCM", AV_CODEC_ID_PCM_F32LE},
                {NULL, "aac", "AAC", AV_CODEC_ID_AAC}};
    int row = 0;
    while (rows[row].format && strcmp(rows[row].format, m->format))
        row++;
    const AVCodec *codec = encoder_find(rows[row].id, rows[row].first);
    if (!codec)
        return rlm_fail(err, RLM_E_UNSUPPORTED, "this libavcodec has no %s encoder",
                        rows[row].name);
    AVCodecContext *c = m->audio = avcodec_alloc_context3(codec);
    if (!c)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for the sound encoder");
    c->sample_rate = encoder_rate(codec, a->rate);
    c->sample_fmt = codec->sample_fmts ? codec->sample_fmts[0] : AV_SAMPLE_FMT_FLTP;
    for (const enum AVSampleFormat *f = codec->sample_fmts; f && *f != AV_SAMPLE_FMT_NONE; f++)
        if (*f == AV_SAMPLE_FMT_FLT || *f == AV_SAMPLE_FMT_FLTP)
            c->sample_fmt = *f;
    av_channel_layout_default(&c->ch_layout, a->channels > 2 ? 2 : a->channels);
    c->bit_rate = (int64_t)(c->sample_rate < 32000 ? 64000 : 96000) * c->ch_layout.nb_channels;
    c->time_base = (AVRational){1, c->sample_rate};
    if (m->fmt->oformat->flags & AVFMT_GLOBALHEADER)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    int code = avcodec_open2(c, codec, NULL);
    if (code >= 0)
        code = mux_stream(m, &m->audio_stream, c);
    if (code < 0)
        return rlm_av_fail(err, codec->name, "sound encoder", code);
    if (c->sample_fmt != AV_SAMPLE_FMT_FLT && c->sample_fmt != AV_SAMPLE_FMT_FLTP)
        return rlm_fail(err, RLM_E_UNSUPPORTED, "%s takes no float samples", codec->name);
    m->block->format = c->sample_fmt;
    m->block->sample_rate = c->sample_rate;
    m->block->nb_samples = c->frame_size > 0 ? c->frame_size : 1024;
    if (av_channel_layout_copy(&m->block->ch_layout, &c->ch_layout) < 0 ||
        av_frame_get_buffer(m->block, 0) < 0)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for the sound encoder");
    m->sound = (rlm_sound){.name = "sound",
                           .want_rate = c->sample_rate,
                           .want_channels = c->ch_layout.nb_channels,
                           .limit = INT64_MAX / 4,
                           .max_bytes = INT64_MAX / 4};
    m->sound_total = INT64_MAX;
    return 0;
}

/* ---- Encoding -------------------------------------------------------------------------------- */

/* frame NULL: flush. */
static int mux_encode(mux *m, AVCodecContext *c, AVStream *st, const AVFrame *frame, rlm_error *err)
{
    int code = avcodec_send_frame(c, frame);
    while (code >= 0) {
        code = avcodec_receive_packet(c, m->packet);
        if (code == AVERROR(EAGAIN) || code == AVERROR_EOF)
            return 0;
        if (code < 0)
            break;
        if (c == m->video && !m->packet->duration)
            m->packet->duration = 1;
        av_packet_rescale_ts(m->packet, c->time_base, st->time_base);
        m->packet->stream_index = st->index;
        code = av_interleaved_write_frame(m->fmt, m->packet);
    }
    RLM_TRY(rlm_sink_check(m->sink, err));
    return rlm_av_fail(err, c->codec->name, "encoding", code);
}

static int mux_picture(mux *m, const rlm_frames *v, int i, rlm_error *err)
{
    if (av_frame_make_writable(m->frame) < 0)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for a picture");
    rlm_frame_fill(m->rgb, v, i);
    if (sws_scale(m->sws, (const uint8_t *const *)m->rgb->data, m->rgb->linesize, 0,
                  m->video->height, m->frame->data, m->frame->linesize) <= 0)
        return rlm_fail(err, RLM_E_INTERNAL, "a %dx%d picture could not be converted", v->width,
                        v->height);
    m->frame->pts = m->pictures++;
    return mux_encode(m, m->video, m->video_stream, m->frame, err);
}

/* One block of n samples; silence where nothing was given. */
static int mux_block(mux *m, int64_t n, rlm_error *err)
{
    AVFrame *b = m->block;
    int channels = m->audio->ch_layout.nb_channels;
    int planar = m->audio->sample_fmt == AV_SAMPLE_FMT_FLTP;
    b->nb_samples = m->audio->frame_size > 0 ? m->audio->frame_size : SOUND_BLOCK;
    if (av_frame_make_writable(b) < 0)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for a block of sound");
    b->nb_samples = (int)n;
    for (int64_t k = 0; k < n; k++) {
        int64_t at = m->sound_at + k;
        for (int c = 0; c < channels; c++) {
            float x = at < m->sound.pcm.count ? m->sound.pcm.samples[at * channels + c] : 0;
            x = x > 1 ? 1 : x >= -1 ? x : x < -1 ? -1 : 0; /* NaN becomes 0 */
            ((float *)b->data[planar ? c : 0])[planar ? k : k * channels + c] = x;
        }
    }
    b->pts = m->sound_done;
    m->sound_done += n;
    m->sound_at += n;
    return mux_encode(m, m->audio, m->audio_stream, b, err);
}

/* Samples that last as long as so many pictures. */
static int64_t mux_samples(const mux *m, int64_t pictures)
{
    double seconds = (double)pictures * av_q2d(m->video->time_base);
    return (int64_t)(seconds * m->audio->sample_rate + 0.5);
}

/* Encode whole blocks of sound up to sample `until` and the track's end, as far as there is sound;
 * when no more will come, with silence for what is missing. */
static int mux_sound_until(mux *m, int64_t until, rlm_error *err)
{
    rlm_pcm *pcm = &m->sound.pcm;
    int64_t size = m->audio->frame_size > 0 ? m->audio->frame_size : SOUND_BLOCK;
    while (m->sound_done < until && m->sound_done < m->sound_total) {
        int64_t left = m->sound_total - m->sound_done, n = left < size ? left : size;
        if (!m->sound_ends && pcm->count - m->sound_at < n)
            break;
        RLM_TRY(mux_block(m, n, err));
    }
    if (m->sound_at > SOUND_KEPT && m->sound_at < pcm->count && m->sound_at > pcm->count / 2) {
        pcm->count -= m->sound_at;
        memmove(pcm->samples, pcm->samples + m->sound_at * pcm->channels,
                (size_t)(pcm->count * pcm->channels) * sizeof(float));
        m->sound_at = 0;
    }
    return 0;
}

int rlm_mux_push(mux *m, const rlm_clip *part, rlm_error *err)
{
    const rlm_frames *v = &part->video;
    if (m->audio && part->audio.count)
        RLM_TRY(mux_take_sound(m, &part->audio, err));
    for (int i = 0; i < v->count && m->video; i++) {
        RLM_TRY(mux_picture(m, v, i, err));
        double seconds = (double)m->pictures * v->fps_den / v->fps_num;
        if (m->audio)
            RLM_TRY(mux_sound_until(m, (int64_t)(seconds * m->audio->sample_rate), err));
    }
    return m->audio && !m->video ? mux_sound_until(m, INT64_MAX, err) : 0;
}

/* The track ends with the pictures, or with its own last sample where there are none or it may be
 * longer. */
static int mux_end_sound(mux *m, rlm_error *err)
{
    RLM_TRY(rlm_sound_push(&m->sound, NULL, 0, 0, 0, 0, NULL, err));
    m->sound_ends = true;
    int64_t own = m->sound_done + m->sound.pcm.count - m->sound_at;
    int64_t pictures = m->video ? mux_samples(m, m->pictures) : 0;
    m->sound_total = m->video && (!m->longest || own < pictures) ? pictures : own;
    RLM_TRY(mux_sound_until(m, INT64_MAX, err));
    return mux_encode(m, m->audio, m->audio_stream, NULL, err);
}

int rlm_mux_finish(mux *m, rlm_error *err)
{
    if (m->audio)
        RLM_TRY(mux_end_sound(m, err));
    if (m->video)
        RLM_TRY(mux_encode(m, m->video, m->video_stream, NULL, err));
    int code = av_write_trailer(m->fmt);
    avio_flush(m->io);
    RLM_TRY(rlm_sink_check(m->sink, err));
    return code < 0 ? rlm_av_fail(err, m->format, "index", code) : 0;
}

static int mux_start(mux *m, const char *format, const rlm_clip *clip, const rlm_write_options *o,
                     rlm_error *err)
{
    int code = avformat_alloc_output_context2(&m->fmt, NULL, format, NULL);
    uint8_t *buffer = av_malloc(MUX_IO_BYTES);
    m->block = av_frame_alloc();
    m->packet = av_packet_alloc();
    if (code >= 0 && buffer)
        m->io =
            avio_alloc_context(buffer, MUX_IO_BYTES, 1, m->sink, NULL, mux_io_write, mux_io_seek);
    if (!m->io || !m->block || !m->packet) {
        if (!m->io)
            av_free(buffer);
        return rlm_av_fail(err, format, "container", code < 0 ? code : AVERROR(ENOMEM));
    }
    m->fmt->pb = m->io;
    m->fmt->opaque = m;
    m->fmt->io_open = view_open;
    m->fmt->io_close2 = view_close;
    m->fmt->url = av_strdup("");
    m->fmt->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
    if (clip->video.count)
        RLM_TRY(mux_open_video(m, &clip->video, o, err));
    if (clip->audio.count)
        RLM_TRY(mux_open_audio(m, &clip->audio, err));
    m->longest = o->longest != 0;
    if (clip->audio.count && clip->video.count && !m->longest)
        m->sound_total = mux_samples(m, clip->video.count);
    if (clip->metadata)
        av_dict_set(&m->fmt->metadata, "comment", clip->metadata, 0);
    if (clip->origin)
        rlm_mark_tags(&m->fmt->metadata, format, clip->origin);
    AVDictionary *options = NULL;
    if (!strcmp(format, "mp4") || !strcmp(format, "mov"))
        av_dict_set(&options, "movflags", "+faststart", 0);
    code = avformat_write_header(m->fmt, &options);
    av_dict_free(&options);
    if (code < 0)
        return rlm_av_fail(err, format, "header", code);
    return 0;
}

int rlm_mux_open(mux **out, rlm_sink *sink, const char *format, const rlm_clip *shape,
                 const rlm_write_options *o, rlm_error *err)
{
    mux *m = *out = rlm_calloc(1, sizeof *m);
    if (!m)
        return rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", format);
    m->sink = sink;
    m->format = format;
    int code = mux_start(m, format, shape, o, err);
    if (code)
        rlm_mux_close(out);
    return code;
}

void rlm_mux_close(mux **out)
{
    mux *m = *out;
    if (!m)
        return;
    avcodec_free_context(&m->video);
    avcodec_free_context(&m->audio);
    av_frame_free(&m->rgb);
    av_frame_free(&m->frame);
    av_frame_free(&m->block);
    av_packet_free(&m->packet);
    sws_freeContext(m->sws);
    rlm_sound_close(&m->sound);
    if (m->io)
        av_freep(&m->io->buffer);
    avio_context_free(&m->io);
    avformat_free_context(m->fmt);
    rlm_free(m);
    *out = NULL;
}

int rlm_mux_write(rlm_sink *sink, const char *format, const rlm_clip *clip,
                  const rlm_write_options *o, rlm_error *err)
{
    mux *m;
    RLM_TRY(rlm_mux_open(&m, sink, format, clip, o, err));
    int code = rlm_mux_push(m, clip, err);
    if (!code)
        code = rlm_mux_finish(m, err);
    rlm_mux_close(&m);
    return code;
}
