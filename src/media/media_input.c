/* Bytes and containers: files and stdin behind libavformat's custom I/O. Demuxers come from a list,
 * and none of them may open anything else. */
#include "src/media/media.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/display.h>
#include <libavutil/opt.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "src/base/file.h"
#include "src/base/mem.h"

/* Containers and bare streams that carry their own data. Playlists (hls, dash, concat), devices and
 * network formats are absent on purpose. */
static const char input_formats[] =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpeg,mpegts,mpegvideo,ogg,wav,w64,aiff,caf,au,"
    "flac,"
    "mp3,aac,ac3,eac3,dts,amr,ape,wv,tta,tak,asf,nut,ivf,obu,h264,hevc,m4v,dv,mjpeg,mxf,rm,gif,"
    "apng,"
    "yuv4mpegpipe,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,pgm_pipe,ppm_pipe,pam_pipe,"
    "pbm_pipe,gif_pipe,qoi_pipe,jpegls_pipe,jpegxl_pipe,j2k_pipe,exr_pipe,psd_pipe,hdr_pipe,"
    "xbm_pipe,sgi_pipe,pcx_pipe,dds_pipe";

enum { INPUT_IO_BYTES = 32768, INPUT_MAX_STREAMS = 64, METADATA_LIMIT = 1 << 20 };

int rlm_av_fail(rlm_error *err, const char *name, const char *what, int av_code)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = {0};
    av_strerror(av_code, text, sizeof text);
    return rlm_fail(err, av_code == AVERROR(ENOMEM) ? RLM_E_NOMEM : RLM_E_MEDIA, "%s: %s: %s", name,
                    what, text);
}

static int source_buffer(rlm_source *s, const char *path, int64_t limit, rlm_error *err)
{
    const char *name = s->name;
    size_t bytes = 0;
    int code = rlm_file_read(path, (size_t)limit, &s->buffer, &bytes, err);
    s->bytes = (int64_t)bytes;
    if (!code && !bytes) {
        rlm_source_close(s);
        return rlm_fail(err, RLM_E_MEDIA, "%s: is empty, a media file was expected", name);
    }
    return code;
}

int rlm_source_open(rlm_source *s, const char *path, int64_t limit, rlm_error *err)
{
    *s = (rlm_source){.name = path, .fd = -1};
    if (!path || !*path)
        return rlm_fail(err, RLM_E_ARG, "media file: the path is empty");
    if (!strcmp(path, "-")) {
        s->name = "stdin";
        return source_buffer(s, "-", limit, err);
    }
    struct stat st;
    if (stat(path, &st))
        return rlm_fail(err, RLM_E_IO, "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return rlm_fail(err, RLM_E_MEDIA, "%s: is a folder, a media file was expected", path);
    if (!S_ISREG(st.st_mode))
        return source_buffer(s, path, limit, err);
    if (!st.st_size)
        return rlm_fail(err, RLM_E_MEDIA, "%s: is empty, a media file was expected", path);
    s->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0)
        return rlm_fail(err, RLM_E_IO, "%s: %s", path, strerror(errno));
    s->bytes = st.st_size;
    return 0;
}

void rlm_source_close(rlm_source *s)
{
    if (s->fd >= 0)
        close(s->fd);
    rlm_free(s->buffer);
    *s = (rlm_source){.fd = -1};
}

int64_t rlm_source_read(rlm_source *s, void *to, int64_t bytes)
{
    int64_t got = s->bytes - s->at;
    if (got > bytes)
        got = bytes;
    if (got <= 0)
        return 0;
    if (s->fd >= 0) {
        do {
            got = pread(s->fd, to, (size_t)(bytes < got ? bytes : got), s->at);
        } while (got < 0 && errno == EINTR);
    } else {
        memcpy(to, s->buffer + s->at, (size_t)got);
    }
    if (got > 0)
        s->at += got;
    return got;
}

int64_t rlm_source_seek(rlm_source *s, int64_t at)
{
    if (at < 0)
        return -1;
    s->at = at;
    return at;
}

static int input_io_read(void *cookie, uint8_t *to, int bytes)
{
    int64_t got = rlm_source_read(cookie, to, bytes);
    return got > 0 ? (int)got : got < 0 ? AVERROR(EIO) : AVERROR_EOF;
}

static int64_t input_io_seek(void *cookie, int64_t offset, int whence)
{
    rlm_source *s = cookie;
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
        return s->bytes;
    case SEEK_SET:
        return rlm_source_seek(s, offset);
    case SEEK_CUR:
        return rlm_source_seek(s, s->at + offset);
    case SEEK_END:
        return rlm_source_seek(s, s->bytes + offset);
    default:
        return AVERROR(EINVAL);
    }
}

/* A demuxer that asks for a second file gets none. */
static int input_refuse_open(AVFormatContext *fmt, AVIOContext **io, const char *url, int flags,
                             AVDictionary **options)
{
    (void)fmt, (void)url, (void)flags, (void)options;
    *io = NULL;
    return AVERROR(EPERM);
}

static void input_pick_streams(rlm_input *in)
{
    int64_t best = -1;
    in->video = in->sound = -1;
    for (unsigned i = 0; i < in->fmt->nb_streams; i++) {
        AVStream *st = in->fmt->streams[i];
        const AVCodecParameters *par = st->codecpar;
        int hidden =
            st->disposition & (AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS);
        st->discard = AVDISCARD_ALL;
        if (par->codec_type == AVMEDIA_TYPE_VIDEO && !hidden) {
            int64_t score = (int64_t)par->width * par->height +
                            ((st->disposition & AV_DISPOSITION_DEFAULT) ? INT64_C(1) << 40 : 0);
            if (score > best) {
                best = score;
                in->video = (int)i;
            }
        } else if (par->codec_type == AVMEDIA_TYPE_AUDIO && par->codec_id) {
            int better = in->sound < 0 ||
                         ((st->disposition & AV_DISPOSITION_DEFAULT) &&
                          !(in->fmt->streams[in->sound]->disposition & AV_DISPOSITION_DEFAULT));
            if (better)
                in->sound = (int)i;
        }
    }
    if (in->video >= 0)
        in->fmt->streams[in->video]->discard = AVDISCARD_DEFAULT;
    if (in->sound >= 0)
        in->fmt->streams[in->sound]->discard = AVDISCARD_DEFAULT;
}

/* libavformat decodes a little to learn what the header leaves out; its decoders get our limits. */
static int input_inspect(rlm_input *in, int64_t max_pixels)
{
    unsigned n = in->fmt->nb_streams;
    AVDictionary *options[INPUT_MAX_STREAMS + 1] = {0};
    for (unsigned i = 0; i < n && i < INPUT_MAX_STREAMS; i++) {
        av_dict_set_int(&options[i], "max_pixels", max_pixels, 0);
        av_dict_set_int(&options[i], "threads", 1, 0);
    }
    int code = avformat_find_stream_info(in->fmt, n && n <= INPUT_MAX_STREAMS ? options : NULL);
    for (unsigned i = 0; i < n && i < INPUT_MAX_STREAMS; i++)
        av_dict_free(&options[i]);
    return code;
}

int rlm_input_open(rlm_input *in, rlm_source *source, int64_t max_pixels, rlm_error *err)
{
    *in = (rlm_input){.source = source, .video = -1, .sound = -1};
    av_log_set_level(AV_LOG_QUIET);
    in->fmt = avformat_alloc_context();
    uint8_t *buffer = av_malloc(INPUT_IO_BYTES);
    if (in->fmt && buffer)
        in->io = avio_alloc_context(buffer, INPUT_IO_BYTES, 0, source, input_io_read, NULL,
                                    input_io_seek);
    if (!in->fmt || !in->io) {
        av_free(buffer);
        rlm_input_close(in);
        return rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", source->name);
    }
    in->fmt->pb = in->io;
    in->fmt->io_open = input_refuse_open;
    in->fmt->flags |= AVFMT_FLAG_CUSTOM_IO;
    in->fmt->max_streams = INPUT_MAX_STREAMS;
    in->fmt->format_whitelist = av_strdup(input_formats);
    rlm_source_seek(source, 0);
    int code = avformat_open_input(&in->fmt, NULL, NULL, NULL);
    if (code < 0) {
        rlm_input_close(in);
        return rlm_av_fail(err, source->name, "no media file, or damaged at its start", code);
    }
    code = input_inspect(in, max_pixels);
    if (code < 0) {
        rlm_input_close(in);
        return rlm_av_fail(err, source->name, "streams cannot be read", code);
    }
    const char *name = in->fmt->iformat->name;
    in->still = strlen(name) > 5 && !strcmp(name + strlen(name) - 5, "_pipe");
    input_pick_streams(in);
    return 0;
}

void rlm_input_close(rlm_input *in)
{
    avformat_close_input(&in->fmt);
    if (in->io)
        av_freep(&in->io->buffer);
    avio_context_free(&in->io);
    *in = (rlm_input){.video = -1, .sound = -1};
}

int rlm_decoder_open(AVCodecContext **out, const rlm_input *in, int stream, int64_t max_pixels,
                     rlm_error *err)
{
    const AVStream *st = in->fmt->streams[stream];
    const AVCodecParameters *par = st->codecpar;
    const char *name = in->source->name;
    int64_t pixels = (int64_t)par->width * par->height;
    if (par->codec_type == AVMEDIA_TYPE_VIDEO && pixels > max_pixels)
        return rlm_fail(err, RLM_E_MEDIA, "%s: is %dx%d, more than the limit of %lld pixels", name,
                        par->width, par->height, (long long)max_pixels);
    if (par->codec_type == AVMEDIA_TYPE_AUDIO &&
        (par->ch_layout.nb_channels > RLM_SOUND_CHANNELS || par->sample_rate > RLM_SOUND_RATE))
        return rlm_fail(err, RLM_E_MEDIA, "%s: sound of %d Hz and %d channels is not supported",
                        name, par->sample_rate, par->ch_layout.nb_channels);
    const AVCodec *codec = avcodec_find_decoder(par->codec_id);
    if (!codec)
        return rlm_fail(err, RLM_E_MEDIA, "%s: there is no decoder for %s", name,
                        avcodec_get_name(par->codec_id));
    AVCodecContext *c = avcodec_alloc_context3(codec);
    int code = c ? avcodec_parameters_to_context(c, par) : AVERROR(ENOMEM);
    if (code >= 0) {
        c->pkt_timebase = st->time_base;
        c->max_pixels = max_pixels;
        c->thread_count = pixels >= 1280 * 720 ? 2 : 1;
        code = avcodec_open2(c, codec, NULL);
    }
    if (code < 0) {
        avcodec_free_context(&c);
        return rlm_av_fail(err, name, avcodec_get_name(par->codec_id), code);
    }
    *out = c;
    return 0;
}

/* Of two pictures libavformat takes no average, and guesses their clock's rate: a GIF's is 100. */
static AVRational input_average(const AVStream *st)
{
    AVRational rate = st->avg_frame_rate;
    if (!rate.num && st->nb_frames > 1 && st->nb_frames < 1 << 20 && st->duration > 0 &&
        st->duration < 1 << 30)
        av_reduce(&rate.num, &rate.den, st->nb_frames * st->time_base.den,
                  st->duration * st->time_base.num, 1 << 20);
    return rate;
}

AVRational rlm_input_rate(const rlm_input *in)
{
    AVRational none = {8, 1}, rate = none;
    if (in->video >= 0 && !in->still) {
        const AVStream *st = in->fmt->streams[in->video];
        rate = input_average(st);
        if (rate.num <= 0 || rate.den <= 0 || av_q2d(rate) > 240)
            rate = st->r_frame_rate;
        if (rate.num <= 0 || rate.den <= 0 || av_q2d(rate) > 240 || av_q2d(rate) < 0.01)
            rate = none;
        av_reduce(&rate.num, &rate.den, rate.num, rate.den, 1 << 20);
    }
    return rate.num > 0 && rate.den > 0 ? rate : none;
}

void rlm_input_true_size(const rlm_input *in, int *width, int *height)
{
    static const char *const keys[] = {"keywords", "genre"};
    *width = *height = 0;
    for (int i = 0; i < 2 && !*width; i++) {
        const AVDictionaryEntry *e = av_dict_get(in->fmt->metadata, keys[i], NULL, 0);
        if (!e || sscanf(e->value, "reelm-size=%dx%d", width, height) != 2)
            *width = *height = 0;
    }
}

AVFrame *rlm_input_still(const rlm_input *in, int64_t max_pixels)
{
    AVCodecContext *c = NULL;
    AVPacket *packet = av_packet_alloc();
    AVFrame *f = av_frame_alloc();
    bool have = false;
    if (in->still && in->video >= 0 && packet && f &&
        !rlm_decoder_open(&c, in, in->video, max_pixels, NULL)) {
        while (!have && av_read_frame(in->fmt, packet) >= 0) {
            if (packet->stream_index == in->video)
                have = !avcodec_send_packet(c, packet) && !avcodec_send_packet(c, NULL) &&
                       !avcodec_receive_frame(c, f);
            av_packet_unref(packet);
        }
    }
    avcodec_free_context(&c);
    av_packet_free(&packet);
    if (!have)
        av_frame_free(&f);
    return f;
}

char *rlm_input_metadata(const rlm_input *in, const AVFrame *first)
{
    const AVDictionaryEntry *e = first ? av_dict_get(first->metadata, "reelm", NULL, 0) : NULL;
    char *text = rlm_metadata_copy(e ? e->value : NULL);
    if (text)
        return text;
    e = av_dict_get(in->fmt->metadata, "comment", NULL, 0);
    if (!e && in->sound >= 0) /* Ogg keeps its tags with the stream */
        e = av_dict_get(in->fmt->streams[in->sound]->metadata, "comment", NULL, 0);
    return rlm_metadata_copy(e ? e->value : NULL);
}

char *rlm_metadata_copy(const char *text)
{
    if (!text || strlen(text) > METADATA_LIMIT)
        return NULL;
    cJSON *json = cJSON_Parse(text);
    char *copy = cJSON_IsObject(json) ? rlm_strdup(text) : NULL;
    cJSON_Delete(json);
    return copy;
}
