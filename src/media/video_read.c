/* Any media file -> rlm_clip. One pass over the packets: pictures go through a nearest-timestamp
 * clock (variable to constant rate), sound is placed against the picture's start.
 *
 *   time of result frame k:  k / rate, counted from the start of the picture + want.start_s
 *   it shows the decoded frame whose timestamp is nearest (ties: the earlier one) */
#include "src/media/media.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"

enum { READER_FIRST_BYTES = 64 << 20, READER_MAX_SIDE = 16384, READER_SOUND_WINDOW = 1 << 16 };

/* One call of rlm_media_read. Times are seconds. */
typedef struct reader {
    const rlm_want *want;
    const char *name;
    rlm_input input;
    AVCodecContext *video, *audio; /* NULL: absent, not wanted, or given up */
    AVFrame *frame, *held;         /* being decoded; the last decoded picture */
    AVPacket *packet;
    rlm_scaler scaler;
    rlm_sound sound;
    rlm_frames out;
    int64_t room; /* frames allocated in out */
    int limit;    /* result frames at most */
    int held_at;  /* index of the held picture in out; -1: not converted yet */
    int decoded;  /* pictures seen */
    int turn;     /* of the stream */
    int true_w, true_h;
    double rate;         /* result frames a second */
    double origin;       /* timestamp that counts as 0 */
    double held_t, step; /* time of held; its duration */
    double file_step;    /* nominal duration of a frame of the file */
    int has_origin, heard;
    double end_s; /* sound after this is not needed */
    char *metadata;
    rlm_clip_sink sink; /* NULL: all is kept in out and sound */
    void *sink_cookie;
    int window;            /* frames kept before the sink gets them */
    int64_t given, played; /* frames and samples that the sink got */
} reader;

void rlm_want_defaults(rlm_want *want)
{
    *want = (rlm_want){.max_frames = 4096,
                       .max_seconds = 600,
                       .want_video = 1,
                       .want_audio = 1,
                       .max_pixels = 64000000,
                       .max_bytes = INT64_C(1) << 31};
}

void rlm_clip_free(rlm_clip *clip)
{
    if (!clip)
        return;
    rlm_free(clip->video.rgb);
    rlm_free(clip->audio.samples);
    rlm_free(clip->metadata);
    *clip = (rlm_clip){0};
}

static int want_check(const rlm_want *w, rlm_error *err)
{
    if (w->width < 0 || w->width > READER_MAX_SIDE || w->height < 0 || w->height > READER_MAX_SIDE)
        return rlm_fail(err, RLM_E_RANGE, "wanted picture size is %dx%d, sides are 0 to %d",
                        w->width, w->height, READER_MAX_SIDE);
    if (w->fit < RLM_FIT_COVER || w->fit > RLM_FIT_STRETCH)
        return rlm_fail(err, RLM_E_ARG, "wanted fit is %d, known are 0 to 2", w->fit);
    if (w->fps_num < 0 || w->fps_den < 0 || !w->fps_num != !w->fps_den ||
        (w->fps_den && (double)w->fps_num / w->fps_den > 1000))
        return rlm_fail(err, RLM_E_RANGE,
                        "wanted frame rate is %d/%d, 0/0 or up to 1000 is allowed", w->fps_num,
                        w->fps_den);
    if (w->rate && (w->rate < 1000 || w->rate > 384000))
        return rlm_fail(err, RLM_E_RANGE, "wanted sample rate is %d, 1000 to 384000 is allowed",
                        w->rate);
    if (w->channels < 0 || w->channels > 2)
        return rlm_fail(err, RLM_E_RANGE, "wanted channels are %d, 0 to 2 is allowed", w->channels);
    if (!(w->start_s >= 0 && w->start_s < 1e9) || !(w->max_seconds > 0 && w->max_seconds < 1e9))
        return rlm_fail(err, RLM_E_RANGE, "wanted start %g s and length %g s: must be >= 0 and > 0",
                        w->start_s, w->max_seconds);
    if (w->max_frames < 1 || w->max_pixels < 1 || w->max_bytes < 1)
        return rlm_fail(err, RLM_E_RANGE, "limits on frames, pixels and bytes must be at least 1");
    if (!w->want_video && !w->want_audio)
        return rlm_fail(err, RLM_E_ARG, "neither picture nor sound is wanted");
    return 0;
}

void rlm_warn_cut_off(const rlm_want *want, const char *name, double got, double promised)
{
    char text[512];
    if (!want->warn || got + 0.25 + 0.02 * promised >= promised) /* lead-ins, the last frame */
        return;
    snprintf(text, sizeof text, "%.400s: cut off: %.2f of %.2f s", name, got, promised);
    want->warn(want->warn_cookie, text);
}

/* ---- Pictures -------------------------------------------------------------------------------- */

static int64_t frame_bytes(const reader *r)
{
    return (int64_t)r->scaler.width * r->scaler.height * 3;
}

static int64_t emitted(const reader *r)
{
    return r->given + r->out.count;
}

/* Give the sink what was gathered. */
static int reader_flush(reader *r, rlm_error *err)
{
    rlm_clip part = {.video = r->out, .audio = r->sound.pcm};
    part.video.width = r->scaler.width;
    part.video.height = r->scaler.height;
    if (!part.video.count && !part.audio.count)
        return 0;
    r->given += r->out.count;
    r->played += r->sound.pcm.count;
    r->sound.limit -= r->sound.pcm.count;
    r->out.count = 0;
    r->sound.pcm.count = 0;
    r->held_at = -1;
    return r->sink(r->sink_cookie, &part, err);
}

/* Room for one more frame. Nothing is allocated on the word of a header alone. */
static int reader_grow(reader *r, rlm_error *err)
{
    int64_t one = frame_bytes(r), used = r->sound.room * (int64_t)sizeof(float) *
                                         (r->sound.pcm.channels ? r->sound.pcm.channels : 1);
    if (r->out.count < r->room)
        return 0;
    int64_t most = (r->want->max_bytes - used) / one, room = r->room * 2;
    if (!r->room)
        room = READER_FIRST_BYTES / one > 1 ? READER_FIRST_BYTES / one : 1;
    if (room > r->limit)
        room = r->limit;
    if (r->sink && room > r->window)
        room = r->window;
    if (room > most)
        room = most;
    if (room <= r->out.count)
        return rlm_fail(err, RLM_E_NOMEM,
                        "%s: frame %d of %dx%d is above the limit of %lld bytes; ask for a smaller "
                        "size, rate or duration",
                        r->name, r->out.count + 1, r->scaler.width, r->scaler.height,
                        (long long)r->want->max_bytes);
    uint8_t *grown = rlm_realloc(r->out.rgb, (size_t)(r->room * one), (size_t)(room * one));
    if (!grown)
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory for %lld frames of %dx%d", r->name,
                        (long long)room, r->scaler.width, r->scaler.height);
    r->out.rgb = grown;
    r->room = room;
    return 0;
}

static AVRational frame_sar(const reader *r, const AVFrame *f)
{
    const AVStream *st = r->input.fmt->streams[r->input.video];
    return st->sample_aspect_ratio.num > 0 ? st->sample_aspect_ratio : f->sample_aspect_ratio;
}

/* Append the held picture once. */
static int reader_emit(reader *r, rlm_error *err)
{
    int turn = rlm_turn_of_frame(r->held, r->turn);
    AVRational sar = frame_sar(r, r->held);
    if (!r->scaler.width)
        RLM_TRY(rlm_scaler_plan(&r->scaler, r->want, r->held, sar, turn, r->name, err));
    if (r->sink && r->out.count == r->window)
        RLM_TRY(reader_flush(r, err));
    RLM_TRY(reader_grow(r, err));
    size_t one = (size_t)frame_bytes(r);
    uint8_t *to = r->out.rgb + (size_t)r->out.count * one;
    if (r->held_at >= 0)
        memcpy(to, r->out.rgb + (size_t)r->held_at * one, one);
    else
        RLM_TRY(rlm_scaler_run(&r->scaler, r->want->fit, r->held, sar, turn, to, r->name, err));
    r->held_at = r->out.count++;
    return 0;
}

static int reader_emit_until(reader *r, double until, rlm_error *err)
{
    while (emitted(r) < r->limit && (double)emitted(r) / r->rate <= until)
        RLM_TRY(reader_emit(r, err));
    return 0;
}

/* ---- The clock: 0 is where the picture starts, or the sound where there is none, + start_s ----
 */

/* What the container says of the start; false: nothing. */
static bool clock_open(reader *r, const AVStream *st)
{
    if (st->start_time == AV_NOPTS_VALUE)
        return false;
    r->origin = (double)st->start_time * av_q2d(st->time_base);
    r->has_origin = 1;
    return true;
}

static double clock_time(const reader *r, double absolute)
{
    return absolute - r->origin - r->want->start_s;
}

/* The decoded picture in r->frame becomes the held one. */
static int reader_picture(reader *r, rlm_error *err)
{
    AVFrame *f = r->frame;
    const AVStream *st = r->input.fmt->streams[r->input.video];
    int64_t pts = f->best_effort_timestamp;
    double t = r->decoded ? r->held_t + r->file_step : 0;
    if (pts != AV_NOPTS_VALUE) {
        double absolute = (double)pts * av_q2d(st->time_base);
        int far_off = !r->want->start_s && fabs(absolute - r->origin) > 10;
        if (!r->has_origin || (!r->decoded && far_off))
            r->origin = absolute;
        r->has_origin = 1;
        if (r->decoded && clock_time(r, absolute) < r->held_t - 1)
            r->origin = absolute - r->want->start_s - t; /* the clock wrapped: go on from here */
        t = clock_time(r, absolute);
    }
    if (r->decoded && t < r->held_t)
        t = r->held_t;
    if (!r->decoded && !r->metadata)
        r->metadata = rlm_input_metadata(&r->input, f);
    if (r->decoded)
        RLM_TRY(reader_emit_until(r, (r->held_t + t) / 2, err));
    double step = (double)f->pkt_duration * av_q2d(st->time_base);
    r->step = step > 0 && step < 60 ? step : r->file_step;
    if (r->true_w && f->width - r->true_w < 2 && f->height - r->true_h < 2 &&
        f->width >= r->true_w && f->height >= r->true_h) {
        f->crop_right = (size_t)(f->width - r->true_w);
        f->crop_bottom = (size_t)(f->height - r->true_h);
    }
    /* y4m has no tag for the matrix: whoever pipes it takes Rec. 601 at any size */
    if (f->colorspace == AVCOL_SPC_UNSPECIFIED &&
        !strcmp(r->input.fmt->iformat->name, "yuv4mpegpipe"))
        f->colorspace = AVCOL_SPC_SMPTE170M;
    av_frame_unref(r->held);
    av_frame_move_ref(r->held, f);
    r->held_t = t;
    r->held_at = -1;
    r->decoded++;
    return 0;
}

/* The last picture lasts its own duration. */
static int reader_last_picture(reader *r, rlm_error *err)
{
    if (!r->decoded)
        return 0;
    const char *format = r->input.fmt->iformat->name;
    int still =
        r->input.still || (r->decoded == 1 && (!strcmp(format, "gif") || !strcmp(format, "apng")));
    double end = r->held_t + r->step;
    if (!still)
        RLM_TRY(reader_emit_until(r, end - 0.5 / r->rate + 1e-6, err));
    if (!emitted(r) && (still || end > 0))
        RLM_TRY(reader_emit(r, err));
    return 0;
}

/* ---- Sound ----------------------------------------------------------------------------------- */

static int reader_sound(reader *r, rlm_error *err)
{
    const AVFrame *f = r->frame;
    const AVStream *st = r->input.fmt->streams[r->input.sound];
    int rate = r->sound.pcm.rate ? r->sound.pcm.rate /* of a stream whose rate changes */
               : r->want->rate   ? r->want->rate
                                 : f->sample_rate;
    int64_t pts = f->best_effort_timestamp;
    double absolute = pts == AV_NOPTS_VALUE ? r->origin : (double)pts * av_q2d(st->time_base);
    if (!r->has_origin && r->input.video < 0) {
        r->origin = absolute;
        r->has_origin = 1;
    }
    double at = clock_time(r, absolute);
    r->sound.max_bytes = r->want->max_bytes - r->room * frame_bytes(r);
    if (!r->heard) {
        if (fabs(at + r->want->start_s) > 3600)
            at = -r->want->start_s; /* no sane timestamp: sound and picture start together */
        r->sound.limit = (int64_t)ceil(r->end_s * rate);
        r->sound.skip = -(int64_t)floor(at * rate + 0.5);
        r->heard = 1;
    } else if (r->sound.skip <= 0 && r->sound.swr && pts != AV_NOPTS_VALUE) {
        /* a hole in the stream (lost packets, paused recording) is silence, not a shift */
        double hole = at - (double)(r->played + r->sound.pcm.count) / rate -
                      (double)swr_get_delay(r->sound.swr, 1000000) * 1e-6;
        if (hole > 0.1 && hole < 60)
            RLM_TRY(rlm_sound_silence(&r->sound, (int64_t)(hole * rate), err));
    }
    return rlm_sound_push(&r->sound, (const uint8_t **)f->extended_data, f->nb_samples, f->format,
                          f->sample_rate, f->ch_layout.nb_channels, &f->ch_layout, err);
}

/* ---- The pass over the packets --------------------------------------------------------------- */

static int video_wanted(const reader *r)
{
    return r->video && emitted(r) < r->limit && !(r->input.still && r->decoded);
}

static int audio_wanted(const reader *r)
{
    return r->audio && !(r->heard && rlm_sound_full(&r->sound));
}

/* packet NULL: drain. Damaged packets are passed over: what decodes is kept. */
static int reader_decode(reader *r, AVCodecContext *c, const AVPacket *packet, rlm_error *err)
{
    if (avcodec_send_packet(c, packet) == AVERROR(ENOMEM))
        return rlm_fail(err, RLM_E_NOMEM, "%s: out of memory while decoding", r->name);
    for (;;) {
        if (avcodec_receive_frame(c, r->frame) < 0)
            return 0;
        int code = c == r->video ? reader_picture(r, err) : reader_sound(r, err);
        av_frame_unref(r->frame);
        if (code)
            return code;
        if (c == r->video ? !video_wanted(r) : !audio_wanted(r))
            return 0;
    }
}

static int reader_pass(reader *r, rlm_error *err)
{
    while (video_wanted(r) || audio_wanted(r)) {
        int code = av_read_frame(r->input.fmt, r->packet);
        if (code < 0)
            break;
        AVCodecContext *c = NULL;
        if (r->packet->stream_index == r->input.video && video_wanted(r))
            c = r->video;
        else if (r->packet->stream_index == r->input.sound && audio_wanted(r))
            c = r->audio;
        code = c ? reader_decode(r, c, r->packet, err) : 0;
        av_packet_unref(r->packet);
        if (code)
            return code;
        if (r->sink && r->sound.pcm.count >= READER_SOUND_WINDOW)
            RLM_TRY(reader_flush(r, err));
        if (r->video && !video_wanted(r))
            r->input.fmt->streams[r->input.video]->discard = AVDISCARD_ALL;
    }
    if (video_wanted(r))
        RLM_TRY(reader_decode(r, r->video, NULL, err));
    RLM_TRY(reader_last_picture(r, err));
    if (audio_wanted(r))
        RLM_TRY(reader_decode(r, r->audio, NULL, err));
    if (r->heard)
        RLM_TRY(rlm_sound_push(&r->sound, NULL, 0, 0, 0, 0, NULL, err));
    return 0;
}

/* ---- Opening and the result ------------------------------------------------------------------ */

static void reader_seek(reader *r)
{
    int stream = r->video ? r->input.video : r->input.sound;
    const AVStream *st = r->input.fmt->streams[stream];
    if (r->want->start_s < 1 || r->input.still)
        return;
    /* behind a seek the first packet no longer tells where the sound starts */
    if (!clock_open(r, st) && !r->video)
        return;
    double at = r->want->start_s - (r->video ? 0 : 0.2);
    if (st->start_time != AV_NOPTS_VALUE)
        at += (double)st->start_time * av_q2d(st->time_base);
    if (fabs(at) < 1e9) /* a file that cannot seek is decoded from its start */
        av_seek_frame(r->input.fmt, stream, (int64_t)(at / av_q2d(st->time_base)),
                      AVSEEK_FLAG_BACKWARD);
}

static void reader_plan_video(reader *r)
{
    AVStream *st = r->input.fmt->streams[r->input.video];
    AVRational rate = rlm_input_rate(&r->input);
    r->file_step = 1 / av_q2d(rate);
    r->out.fps_num = r->want->fps_num ? r->want->fps_num : rate.num;
    r->out.fps_den = r->want->fps_num ? r->want->fps_den : rate.den;
    r->rate = (double)r->out.fps_num / r->out.fps_den;
    double most = floor(r->want->max_seconds * r->rate + 0.5);
    r->limit = most < 1 ? 1 : most > r->want->max_frames ? r->want->max_frames : (int)most;
    if (!r->input.still && r->limit / r->rate < r->end_s)
        r->end_s = r->limit / r->rate;
    size_t bytes = 0;
    const uint8_t *matrix = av_stream_get_side_data(st, AV_PKT_DATA_DISPLAYMATRIX, &bytes);
    r->turn = rlm_turn_from_matrix(bytes >= 36 ? (const int32_t *)matrix : NULL);
    rlm_input_true_size(&r->input, &r->true_w, &r->true_h);
    (void)clock_open(r, st);
}

static int reader_open(reader *r, rlm_source *source, rlm_error *err)
{
    RLM_TRY(rlm_input_open(&r->input, source, r->want->max_pixels, err));
    rlm_input *in = &r->input;
    if (!r->want->want_video || in->video < 0) {
        if (in->video >= 0)
            in->fmt->streams[in->video]->discard = AVDISCARD_ALL;
        in->video = -1;
    }
    if (!r->want->want_audio || in->sound < 0) {
        if (in->sound >= 0)
            in->fmt->streams[in->sound]->discard = AVDISCARD_ALL;
        in->sound = -1;
    }
    if (in->video < 0 && in->sound < 0)
        return rlm_fail(err, RLM_E_MEDIA, "%s: holds no %s", r->name,
                        !r->want->want_audio   ? "picture"
                        : !r->want->want_video ? "sound"
                                               : "picture and no sound");
    if (in->video >= 0)
        RLM_TRY(rlm_decoder_open(&r->video, in, in->video, r->want->max_pixels, err));
    /* sound that has no decoder does not spoil the picture */
    if (in->sound >= 0) {
        int code = rlm_decoder_open(&r->audio, in, in->sound, r->want->max_pixels, err);
        if (code && !r->video)
            return code;
    }
    r->frame = av_frame_alloc();
    r->held = av_frame_alloc();
    r->packet = av_packet_alloc();
    if (!r->frame || !r->held || !r->packet)
        return rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", r->name);
    return 0;
}

static void reader_close(reader *r)
{
    avcodec_free_context(&r->video);
    avcodec_free_context(&r->audio);
    av_frame_free(&r->frame);
    av_frame_free(&r->held);
    av_packet_free(&r->packet);
    rlm_scaler_close(&r->scaler);
    rlm_sound_close(&r->sound);
    rlm_input_close(&r->input);
    rlm_free(r->out.rgb);
    rlm_free(r->metadata);
}

/* Move what was read into the caller's clip. */
static void reader_hand_over(reader *r, rlm_clip *out)
{
    *out = (rlm_clip){.metadata = r->metadata, .origin = rlm_origin_of_metadata(r->metadata)};
    if (r->out.count) {
        out->video = r->out;
        out->video.width = r->scaler.width;
        out->video.height = r->scaler.height;
        r->out.rgb = NULL;
    }
    if (r->sound.pcm.count) {
        out->audio = r->sound.pcm;
        r->sound.pcm.samples = NULL;
    }
    r->metadata = NULL;
}

/* Seconds that the header promises of a stream; 0: it does not, or libavformat guessed. */
static double promised_s(const reader *r, int stream)
{
    const AVFormatContext *fmt = r->input.fmt;
    const AVStream *st = fmt->streams[stream];
    if (fmt->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE)
        return 0;
    if (st->duration > 0)
        return (double)st->duration * av_q2d(st->time_base);
    /* the whole lasts as long as its longest stream */
    unsigned used = (r->input.video >= 0) + (r->input.sound >= 0);
    return used == fmt->nb_streams && fmt->duration > 0 ? (double)fmt->duration / AV_TIME_BASE : 0;
}

/* A file that ended while more was wanted and promised is told of. */
static void warn_if_cut_off(const reader *r)
{
    const rlm_want *w = r->want;
    double pictures = r->decoded ? r->held_t + r->step : 0, sound = 0, promised = 0, got;
    if (r->sound.pcm.rate)
        sound = (double)(r->played + r->sound.pcm.count) / r->sound.pcm.rate;
    if (!w->warn || r->input.still)
        return;
    if (r->video && emitted(r) < r->limit)
        promised = promised_s(r, r->input.video);
    if (r->audio && !(r->heard && rlm_sound_full(&r->sound)))
        promised = fmax(promised, promised_s(r, r->input.sound));
    got = w->start_s + fmax(pictures, sound);
    rlm_warn_cut_off(w, r->name, got, promised);
}

static int read_with_libav(reader *r, rlm_source *source, rlm_clip *out, rlm_error *err)
{
    RLM_TRY(reader_open(r, source, err));
    if (r->video)
        reader_plan_video(r);
    reader_seek(r);
    RLM_TRY(reader_pass(r, err));
    bool nothing = !emitted(r) && !r->played && !r->sound.pcm.count;
    if (nothing && (r->decoded || r->heard))
        return rlm_fail(err, RLM_E_MEDIA, "%s: ends before the wanted start of %g s", r->name,
                        r->want->start_s);
    if (nothing)
        return rlm_fail(err, RLM_E_MEDIA, "%s: nothing in it could be decoded (damaged or cut off)",
                        r->name);
    warn_if_cut_off(r);
    if (!r->metadata)
        r->metadata = rlm_input_metadata(&r->input, NULL);
    if (!r->sink)
        reader_hand_over(r, out);
    return 0;
}

static void reader_reset_sound(reader *r)
{
    r->sound = (rlm_sound){.name = r->name,
                           .want_rate = r->want->rate,
                           .want_channels = r->want->channels,
                           .max_bytes = r->want->max_bytes};
}

static int reader_run(reader *r, const char *path, rlm_clip *out, rlm_error *err)
{
    rlm_source source;
    RLM_TRY(want_check(r->want, err));
    RLM_TRY(rlm_source_open(&source, path, r->want->max_bytes, err));
    r->name = source.name;
    r->held_at = -1;
    r->end_s = r->want->max_seconds;
    reader_reset_sound(r);
    int code = RLM_E_MEDIA;
    if (r->want->want_audio && rlm_audio_file_knows(&source)) {
        code = rlm_audio_file_read(&source, r->want, &r->sound, &r->metadata, err);
        if (!code && !r->sink)
            reader_hand_over(r, out);
        else if (code == RLM_E_MEDIA)
            rlm_sound_close(&r->sound);
    }
    if (code == RLM_E_MEDIA) {
        reader_reset_sound(r);
        code = read_with_libav(r, &source, out, err);
    }
    if (!code && r->sink)
        code = reader_flush(r, err);
    reader_close(r);
    rlm_source_close(&source);
    return code;
}

int rlm_media_read(const char *path, const rlm_want *want, rlm_clip *out, rlm_error *err)
{
    rlm_want plain;
    rlm_want_defaults(&plain);
    reader r = {.want = want ? want : &plain};
    return reader_run(&r, path, out, err);
}

int rlm_media_stream(const char *path, const rlm_want *want, int window, rlm_clip_sink sink,
                     void *cookie, rlm_error *err)
{
    rlm_clip none = {0};
    reader r = {.want = want, .sink = sink, .sink_cookie = cookie, .window = window};
    return reader_run(&r, path, &none, err);
}
