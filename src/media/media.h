/* Media files <-> rlm_clip: declarations the files of this room share. Programs and other rooms use
 * rlm_media_read, rlm_media_write and rlm_media_probe of src/reelm.h.
 *
 *   source (bytes) -> input (libavformat) -> decoders -> scaler -> frames
 *          \-> libsndfile --------------------------\-> sound -> samples
 *
 * Every input is hostile: demuxers come from a list, none may open a second file, sizes are checked
 * before decoders see them, and memory grows with what was decoded, never with what a header says.
 */
#ifndef RLM_MEDIA_MEDIA_H
#define RLM_MEDIA_MEDIA_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>
#include <stdio.h>

#include "src/base/diag.h"

enum { RLM_SOUND_CHANNELS = 16, RLM_SOUND_RATE = 768000 }; /* most that is read */

/* ---- media_input.c: bytes and containers ----------------------------------------------------- */

/* Random access to the bytes of a regular file, or of a pipe read to its end. */
typedef struct rlm_source {
    const char *name; /* for sentences; borrowed */
    int fd;           /* -1 when buffered */
    char *buffer;     /* heap; NULL when fd is used */
    int64_t bytes, at;
} rlm_source;
/* path "-": stdin. Pipes longer than `limit` bytes fail with RANGE. */
int rlm_source_open(rlm_source *s, const char *path, int64_t limit, rlm_error *err);
void rlm_source_close(rlm_source *s);
int64_t rlm_source_read(rlm_source *s, void *to, int64_t bytes); /* 0 at the end, < 0 on error */
int64_t rlm_source_seek(rlm_source *s, int64_t at);              /* new position or -1 */

typedef struct rlm_input {
    rlm_source *source; /* borrowed */
    AVIOContext *io;
    AVFormatContext *fmt;
    int video, sound; /* stream numbers; -1: none. Cover art is no video */
    int still;        /* 1: an image file */
} rlm_input;
int rlm_input_open(rlm_input *in, rlm_source *source, int64_t max_pixels, rlm_error *err);
void rlm_input_close(rlm_input *in);
/* Decoder of one stream. MEDIA error if there is none, or the picture is above max_pixels. */
int rlm_decoder_open(AVCodecContext **out, const rlm_input *in, int stream, int64_t max_pixels,
                     rlm_error *err);
AVRational rlm_input_rate(const rlm_input *in); /* frames a second of the video stream; never 0 */
/* Exact size of a picture that was padded to even sides for 4:2:0, else {0, 0}. */
void rlm_input_true_size(const rlm_input *in, int *width, int *height);

/* The picture of an image file, or NULL: what only decoding tells (its turn, its text). The packet
 * is spent. Caller frees. */
AVFrame *rlm_input_still(const rlm_input *in, int64_t max_pixels);
/* Our settings in the file: heap or NULL. first: its first picture, which those of PNG come with,
 * or NULL. */
char *rlm_input_metadata(const rlm_input *in, const AVFrame *first);
/* JSON object in `text`, copied with rlm_alloc; NULL if it is none. */
char *rlm_metadata_copy(const char *text);

/* ---- probe.c: what reading will find, before anything is decoded ----------------------------- */
typedef struct rlm_glance {
    int has_video, has_audio; /* that can be decoded */
    int origin;               /* RLM_ORIGIN_* */
} rlm_glance;
int rlm_media_glance(const char *path, rlm_glance *out, rlm_error *err); /* no pipe */

/* ---- video_read.c ---------------------------------------------------------------------------- */

/* part: some frames, some samples, or both; borrowed during the call. */
typedef int (*rlm_clip_sink)(void *cookie, const rlm_clip *part, rlm_error *err);
/* As rlm_media_read, in order, a piece at a time: at most `window` frames at once, and no sound is
 * held back longer than the pictures of its time. Of a WAV or FLAC file the whole sound comes at
 * once. want->max_bytes limits a piece. */
int rlm_media_stream(const char *path, const rlm_want *want, int window, rlm_clip_sink sink,
                     void *cookie, rlm_error *err);

/* want->warn is told when less came than the file promised; seconds. */
void rlm_warn_cut_off(const rlm_want *want, const char *name, double got, double promised);

/* ---- convert.c: pixels and samples ----------------------------------------------------------- */

/* How a stored picture is turned to be looked at: swap the axes first, then mirror. */
enum { RLM_TURN_SWAP = 1, RLM_TURN_FLIP_X = 2, RLM_TURN_FLIP_Y = 4 };
int rlm_turn_from_matrix(const int32_t *matrix); /* 9 values of a display matrix; NULL: 0 */
int rlm_turn_of_frame(const AVFrame *frame, int stream_turn);

typedef struct rlm_scaler {
    struct SwsContext *sws;
    uint8_t *pixels; /* scaled picture before turning and cropping */
    size_t bytes;
    int width, height; /* of the result; 0 until the first frame */
    /* What is transparent or cropped (crop_right, crop_bottom of its frame), as RGB. */
    struct SwsContext *flat_sws;
    AVFrame *flat;
    int flat_width, flat_height; /* as it was made */
} rlm_scaler;
/* Fix the result's size from the first frame and the wish. MEDIA on sizes beyond 16384. */
int rlm_scaler_plan(rlm_scaler *s, const rlm_want *want, const AVFrame *frame, AVRational sar,
                    int turn, const char *name, rlm_error *err);
/* rgb: [height][width][3] */
int rlm_scaler_run(rlm_scaler *s, int fit, const AVFrame *frame, AVRational sar, int turn,
                   uint8_t *rgb, const char *name, rlm_error *err);
void rlm_scaler_close(rlm_scaler *s);

/* A picture with memory of libav's, spare bytes behind its rows; av_frame_free. NULL: no memory. */
AVFrame *rlm_frame_new(int format, int width, int height);
/* Picture `index` into an RGB24 frame at least as large, its last column and row repeated beyond.
 * libswscale and encoders read some bytes past a row, so a caller's buffer is no frame for them. */
void rlm_frame_fill(AVFrame *to, const rlm_frames *v, int index);

/* Rec. 601 or 709 and the range of a picture, from its tags or by its size. */
void rlm_colour_details(struct SwsContext *sws, int space, int full_in, int full_out, int to_yuv);

/* Samples of any format in, float at one rate and channel count out, cut to a window. */
typedef struct rlm_sound {
    struct SwrContext *swr;
    const char *name;
    int want_rate, want_channels;        /* 0: as the first block */
    int in_format, in_rate, in_channels; /* of the swr */
    int64_t skip;  /* output samples still to drop at the start; < 0: silence to put there */
    int64_t limit; /* output samples at most */
    int64_t max_bytes;
    int64_t room; /* samples allocated */
    rlm_pcm pcm;  /* the result */
} rlm_sound;
/* data as swr_convert takes it; count 0 flushes. layout NULL: default of `channels`. */
int rlm_sound_push(rlm_sound *s, const uint8_t **data, int count, int format, int rate,
                   int channels, const AVChannelLayout *layout, rlm_error *err);
int rlm_sound_silence(rlm_sound *s, int64_t samples, rlm_error *err);
int rlm_sound_full(const rlm_sound *s);
void rlm_sound_close(rlm_sound *s); /* frees pcm too */

/* ---- clip_convert.c -------------------------------------------------------------------------- */

/* want: size, fit, frame rate, max_frames, rate, channels, want_video, want_audio. out is
 * overwritten on success (heap, rlm_clip_free; no metadata) and untouched on failure. */
int rlm_clip_convert(const rlm_clip *in, const rlm_want *want, rlm_clip *out, rlm_error *err);

/* ---- audio_file.c: libsndfile ---------------------------------------------------------------- */

/* 1: the file starts like one libsndfile reads (WAV, FLAC). */
int rlm_audio_file_knows(rlm_source *s);
/* Decodes into s->pcm from want->start_s on. RLM_E_MEDIA if libsndfile cannot (the caller then
 * tries libav). metadata: heap or NULL. */
int rlm_audio_file_read(rlm_source *source, const rlm_want *want, rlm_sound *s, char **metadata,
                        rlm_error *err);

/* ---- Writing --------------------------------------------------------------------------------- */

/* ---- sink.c: bytes of a file being made: grows, seeks, then lands at its path whole. Memory holds
 * them; with `beside` only the first few MiB, what is longer a file without a name there. */
typedef struct rlm_sink {
    uint8_t *data;
    int64_t bytes, room, at;
    int failed;         /* errno of the first write that failed */
    const char *beside; /* borrowed; a path in the folder that has room, or NULL */
    FILE *spill;        /* all bytes are there; NULL: in data */
} rlm_sink;
int rlm_sink_write(rlm_sink *s, const void *data, int64_t bytes); /* bytes or -1 */
int64_t rlm_sink_seek(rlm_sink *s, int64_t at);
int64_t rlm_sink_read(const rlm_sink *s, int64_t at, void *to,
                      int64_t bytes); /* how many; 0: end */
/* Where the text first stands from there on, or -1. */
int64_t rlm_sink_find(const rlm_sink *s, const char *text, int64_t from);
int rlm_sink_check(const rlm_sink *s, rlm_error *err); /* NOMEM or IO when a write failed */
void rlm_sink_free(rlm_sink *s);
/* To a file: atomic. "-", devices and pipes: written straight. */
int rlm_sink_land(const rlm_sink *s, const char *path, rlm_error *err);

int rlm_mux_write(rlm_sink *sink, const char *format, const rlm_clip *clip,
                  const rlm_write_options *o, rlm_error *err); /* mp4 mov webm mkv avi */
/* The same piece by piece. shape: sizes, rates, metadata and how much there will be (count); no
 * data. format must outlive it. Sound of a time comes with its pictures or before. */
typedef struct rlm_mux rlm_mux;
int rlm_mux_open(rlm_mux **out, rlm_sink *sink, const char *format, const rlm_clip *shape,
                 const rlm_write_options *o, rlm_error *err);
int rlm_mux_push(rlm_mux *m, const rlm_clip *part, rlm_error *err);
int rlm_mux_finish(rlm_mux *m, rlm_error *err);
void rlm_mux_close(rlm_mux **m);
/* ---- video_write.c: a file piece by piece; memory holds one. Containers only (rlm_media_grows).
 * It appears whole in finish, or never. */
typedef struct rlm_media_out rlm_media_out;
int rlm_media_out_open(rlm_media_out **out, const char *path, const rlm_clip *shape,
                       const rlm_write_options *options, rlm_error *err);
int rlm_media_out_push(rlm_media_out *w, const rlm_clip *part, rlm_error *err);
/* metadata: stands instead of the shape's, if it is at most 2 KiB longer; NULL: the shape's. */
int rlm_media_out_finish(rlm_media_out *w, const char *metadata, rlm_error *err);
void rlm_media_out_close(rlm_media_out **w);

int rlm_gif_write(rlm_sink *sink, const rlm_frames *f, rlm_error *err);
int rlm_y4m_write(rlm_sink *sink, const rlm_frames *f, rlm_error *err);
/* One frame; metadata: JSON or NULL; origin: RLM_ORIGIN_* for the mark. */
int rlm_png_write(rlm_sink *sink, const rlm_frames *f, int index, const char *metadata, int origin,
                  rlm_error *err);
int rlm_audio_file_write(rlm_sink *sink, const char *format, const rlm_pcm *pcm,
                         const char *metadata, rlm_error *err); /* wav flac ogg */

/* ---- ai_mark.c: origin is RLM_ORIGIN_GENERATED or RLM_ORIGIN_COMPOSITE ----------------------- */
enum { RLM_XMP_ROOM = 1024 };
int rlm_xmp_packet(int origin, char out[RLM_XMP_ROOM]); /* its length */
/* To a finished file of a muxer that keeps it (mp4, mov, gif); before writing: to its tags. */
void rlm_mark_file(rlm_sink *sink, const char *muxer, int origin);
void rlm_mark_tags(AVDictionary **tags, const char *muxer, int origin);
/* What embedded settings say of the file they came from. json may be NULL. */
int rlm_origin_of_metadata(const char *json);
/* The settings with what they must say of a file of this origin: heap, NULL without memory. */
char *rlm_metadata_mark(const char *json, int origin);

/* "name: what went wrong: libav's words". */
int rlm_av_fail(rlm_error *err, const char *name, const char *what, int av_code);

#endif
