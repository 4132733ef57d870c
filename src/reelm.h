/* reelm: text, images, video and sound in; video with sound out. The public header.
 *
 *   rlm_engine *engine = NULL; rlm_session *session = NULL; rlm_clip clip = {0}; rlm_error err;
 *   rlm_options options; rlm_options_defaults(&options);
 *   rlm_request request; rlm_request_defaults(&request);
 *   request.prompt = "a red ball bounces on grass";
 *   if (rlm_open(&engine, "assets/models/default", &options, &err) ||
 *       rlm_session_open(&session, engine, &err) ||
 *       rlm_generate(session, &request, &clip, NULL, &err) ||
 *       rlm_media_write("out.mp4", &clip, NULL, &err))
 *       puts(err.text);
 *   rlm_clip_free(&clip); rlm_session_close(&session); rlm_close(&engine);
 *
 * Threads: an engine is read-only after rlm_open and may be shared; a session belongs to one thread
 * at a time. The progress callback runs on the calling thread.
 * Functions that can fail return 0 or a negative RLM_E_*; the last argument, which may be NULL,
 * receives the same code and one sentence. Pointers returned through `out` belong to the caller. */
#ifndef REELM_H
#define REELM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RLM_API __attribute__((visibility("default")))
#else
#define RLM_API
#endif

#define RLM_VERSION "0.1.0"

/* ---- Errors ------------------------------------------------------------------------------- */

/* Frozen: never renumbered. docs/ERRORS.md explains each. */
enum {
    RLM_OK = 0,
    RLM_E_ARG = -10,         /* an argument that can never be right                     */
    RLM_E_RANGE = -12,       /* a number outside its range                              */
    RLM_E_IO = -20,          /* the system refused to open, read or write               */
    RLM_E_FORMAT = -22,      /* a file of ours is damaged or is something else          */
    RLM_E_VERSION = -24,     /* a file of ours from another version                     */
    RLM_E_MEDIA = -30,       /* a media file that cannot be decoded or encoded          */
    RLM_E_MODEL = -40,       /* model directory: missing, inconsistent or wrong weights */
    RLM_E_TOKENS = -42,      /* token file: wrong tokenizer, ids out of range           */
    RLM_E_NOMEM = -50,       /* memory, or a limit set on it                            */
    RLM_E_LIMIT = -52,       /* more memory than rlm_options.max_memory allows          */
    RLM_E_CANCELLED = -60,   /* the progress callback asked to stop                     */
    RLM_E_BUSY = -62,        /* a bounded queue is full                                 */
    RLM_E_UNSUPPORTED = -70, /* a valid wish that this build or model cannot fulfil     */
    RLM_E_INTERNAL = -99     /* a bug in reelm                                          */
};

typedef struct rlm_error {
    int code;
    char text[504];
} rlm_error;

/* "ARG", "IO", ... of a code; "UNKNOWN" otherwise. Static string. */
RLM_API const char *rlm_error_name(int code);

/* ---- Clips: what enters and leaves --------------------------------------------------------- */

typedef struct rlm_frames {
    int count, height, width; /* 0 frames: no picture */
    int fps_num, fps_den;     /* frames a second = fps_num / fps_den */
    uint8_t *rgb;             /* [count][height][width][3], sRGB */
} rlm_frames;

typedef struct rlm_pcm {
    int64_t count; /* sample frames; 0: no sound */
    int channels;
    int rate;       /* Hz */
    float *samples; /* [count][channels], nominally [-1, 1] */
} rlm_pcm;

typedef struct rlm_clip {
    rlm_frames video;
    rlm_pcm audio;
    char *metadata; /* JSON object embedded in the file (generation settings), or NULL */
    int origin;     /* RLM_ORIGIN_*: what rlm_media_write says of who made it */
} rlm_clip;

/* Set by rlm_generate and rlm_extend, and by rlm_media_read from embedded settings: recorded (the
 * default; no mark), made by a model, parts of a recording kept. */
enum { RLM_ORIGIN_RECORDED = 0, RLM_ORIGIN_GENERATED = 1, RLM_ORIGIN_COMPOSITE = 2 };

RLM_API void rlm_clip_free(rlm_clip *clip); /* frees what it holds and zeroes it */

/* A part of a grid that is decoded on its own: as many latent frames or sound frames, of whose
 * pictures or samples the first `skip` are left out (others show those moments) and `take` kept. */
typedef struct rlm_window {
    int codes;
    int64_t skip, take;
} rlm_window;

/* Token grids. Video: dims {t, h, w} of 18-bit codes; audio: dims {levels, frames, 1} of codes
 * 0..1023. `count` = product of dims; 0: absent. true_* restore the exact size after decoding.
 * What was generated in several windows is their grids, one behind the other in time. */
typedef struct rlm_codes {
    int dims[3];
    int64_t count;
    int32_t *ids;
    int true_frames, true_height, true_width; /* video, pixels */
    int fps_num, fps_den;
    int64_t true_samples; /* audio, at rate */
    int rate;
    char tokenizer[65];  /* sha256 of the weights that made the codes, or "" */
    rlm_window *windows; /* heap; NULL: one piece */
    int window_count;
    /* Keyframes: pictures that are shown as their own codes decode alone, as a clip of one frame;
     * those around them are led there. Heap or NULL. */
    int still_count;   /* 0..64 */
    int *still_frames; /* ascending, in 0..true_frames - 1 */
    int32_t *stills;   /* [still_count][h][w] */
} rlm_codes;

RLM_API void rlm_codes_free(rlm_codes *codes);
/* Keep code frames [from, to) of a video grid; b appended to a along time (grids must match). On
 * failure the codes are unchanged; what has windows, or pictures shown as stills, cannot be cut or
 * joined (UNSUPPORTED). */
RLM_API int rlm_codes_cut(rlm_codes *video, int from, int to, rlm_error *err);
RLM_API int rlm_codes_join(rlm_codes *a, const rlm_codes *b, rlm_error *err);
/* The same for the sound beside the pictures. Cut: of code frames [from, to) of `video` as it was
 * before its own cut, up to where the next would begin, so that pieces join without a gap. Join: b
 * behind a, from where the pictures behind code frame t of `video` begin; what a lacks up to there,
 * at most seven pictures, is its end backwards. No sound: 0. On failure the codes are unchanged;
 * UNSUPPORTED says why it has no place there (windows, another codec or rate, too short). */
RLM_API int rlm_codes_cut_sound(rlm_codes *sound, const rlm_codes *video, int from, int to,
                                rlm_error *err);
RLM_API int rlm_codes_join_sound(rlm_codes *a, const rlm_codes *b, const rlm_codes *video, int t,
                                 rlm_error *err);

/* ---- Media files --------------------------------------------------------------------------- */

/* What a caller may want of a file; rlm_want_defaults sets "as it is" with safe limits. */
typedef struct rlm_want {
    int width, height;          /* 0: as the file. One 0: keep the aspect ratio */
    int fit;                    /* RLM_FIT_*: how an aspect ratio that differs is met */
    int fps_num, fps_den;       /* 0: as the file; else resampled in time by nearest timestamp */
    int max_frames;             /* stop after this many output frames; default 4096 */
    double start_s;             /* skip this much of picture and sound first; default 0 */
    double max_seconds;         /* default 600 */
    int rate;                   /* Hz; 0: as the file */
    int channels;               /* 0: as the file, 1: mono, 2: stereo */
    int want_video, want_audio; /* default 1, 1; what is absent gives count 0 */
    int64_t max_pixels;         /* of one decoded frame; default 64 million */
    int64_t max_bytes;          /* of decoded frames and samples together; default 2 GiB */
    /* Told one sentence when the file ends before what its header promises; or NULL (default). */
    void (*warn)(void *cookie, const char *text);
    void *warn_cookie;
} rlm_want;
enum { RLM_FIT_COVER = 0, RLM_FIT_CONTAIN = 1, RLM_FIT_STRETCH = 2 }; /* crop, pad black, stretch */
RLM_API void rlm_want_defaults(rlm_want *want);

/* path: a file, or "-" for stdin. Any container and codec of libav; PNG/JPEG/WebP become one frame;
 * rotation and sample aspect ratio are applied. Fails with RLM_E_MEDIA if nothing can be decoded.
 * out is overwritten and belongs to the caller on success; untouched on failure. */
RLM_API int rlm_media_read(const char *path, const rlm_want *want, rlm_clip *out, rlm_error *err);

/* How a file is written. format NULL: by extension (mp4 webm mkv avi gif y4m png wav flac ogg); avi
 * loses nothing (FFV1); "%d" in a png's name writes a sequence. path "-" writes to stdout and needs
 * format. */
typedef struct rlm_write_options {
    const char *format;
    int crf;         /* H.264/VP9 quality; default 18 */
    int no_metadata; /* 1: leave clip.metadata out */
    int no_ai_mark;  /* 1: no XMP DigitalSourceType (mp4 mov gif png) and no tag ai_generated */
    int longest;     /* 1: sound that outlasts the pictures is written to its end (default: cut) */
    /* Told one sentence when the usual encoder is missing and another serves (H.264, else VP9, else
     * MPEG-4 part 2); or NULL. */
    void (*warn)(void *cookie, const char *text);
    void *warn_cookie;
} rlm_write_options;
RLM_API int rlm_media_write(const char *path, const rlm_clip *clip,
                            const rlm_write_options *options,
                            rlm_error *err); /* options may be NULL */

/* SHA-256 of a file's bytes as 64 hex digits. Not for pipes. */
RLM_API int rlm_file_sha256(const char *path, char hex[65], rlm_error *err);

/* Would rlm_media_write know the format and the folder, and would the format hold a clip of this
 * shape (video.count, audio.count: 0 is none; NULL: not known yet)? Fails at once instead of at the
 * end. */
RLM_API int rlm_media_writable(const char *path, const rlm_write_options *options,
                               const rlm_clip *shape, rlm_error *err);
/* 1: a container (mp4 mov mkv webm avi), which can be written piece by piece. */
RLM_API int rlm_media_grows(const char *path, const char *format);

/* 1: the path's own name holds one number (%d, %05d; %% is %), so that PNG files of a sequence go
 * there; name: of its picture `number`. 0: it holds none, name is untouched. -1: several, another
 * %, or longer than `room` bytes. */
RLM_API int rlm_media_sequence(const char *path, int number, char *name, size_t room);

/* One JSON object describing a media file (streams, sizes, rates, rotation, seconds, metadata).
 * *json is heap, free with rlm_string_free. */
RLM_API int rlm_media_probe(const char *path, char **json, rlm_error *err);
RLM_API void rlm_string_free(char **s);

/* ---- Engine -------------------------------------------------------------------------------- */

typedef struct rlm_engine rlm_engine;   /* loaded weights */
typedef struct rlm_session rlm_session; /* one timeline: KV cache, scratch, threads */

typedef struct rlm_options {
    int threads;          /* <= 0: all cores this process may use (default 0) */
    const char *cpu_mask; /* NULL: best; "ref", "blas", "dnn", "simd", "avx2", "avx512", "amx" */
    int deterministic;    /* 1: same tokens for any thread count (default 0) */
    const char *weights;  /* language model: "auto" (NULL), "f32", "bf16", "int8", "q4" */
    const char *cache;  /* its keys and values: "auto" (NULL; 8 bits beside weights of 8 or 4 bits,
                         * else bf16), "bf16" or "int8" */
    int64_t max_memory; /* bytes; 0: no limit of our own */
    void (*log)(void *cookie, int level, const char *text); /* NULL: silence */
    void *log_cookie;
} rlm_options;
RLM_API void rlm_options_defaults(rlm_options *options);

RLM_API int rlm_open(rlm_engine **out, const char *model_dir, const rlm_options *options,
                     rlm_error *err);
RLM_API void rlm_close(rlm_engine **engine); /* sets it NULL; its sessions must be closed first */
RLM_API int rlm_session_open(rlm_session **out, const rlm_engine *engine, rlm_error *err);
RLM_API void rlm_session_close(rlm_session **session);
/* Announce that this and the next count - 1 calls of rlm_generate differ by seeds that count up by
 * one: their first windows are sampled side by side, each pass over the weights serving all, with
 * the same tokens as alone (levels blas and dnn: up to rounding). Takes memory for count caches;
 * count is brought into 1..RLM_BATCH_MAX. Calls that ask for something else are served as ever. */
enum { RLM_BATCH_MAX = 16 };
RLM_API void rlm_session_batch(rlm_session *session, int count);
/* Copy a model directory to `to` with the language model's weights as "f32", "bf16", "int8" or
 * "q4", and the convolutions of the tokenizers' decoders as "bf16" or "int8". NULL: as they are.
 * stop (may be NULL) is asked between parts; non-zero: nothing is left behind, CANCELLED. *kept
 * (may be NULL): RLM_KEPT_*, what was so already and stays byte for byte. */
enum { RLM_KEPT_WEIGHTS = 1, RLM_KEPT_DECODERS = 2 };
RLM_API int rlm_convert(const char *from, const char *to, const char *weights, const char *decoders,
                        int (*stop)(void), unsigned *kept, rlm_error *err);
/* JSON text about model, parameters, vocabulary, kernels in use; free with rlm_string_free. */
RLM_API int rlm_engine_info(const rlm_engine *engine, char **json, rlm_error *err);

/* ---- Generation ---------------------------------------------------------------------------- */

enum {
    RLM_TASK_AUTO = 0, /* from the conditions given */
    RLM_TASK_VIDEO,    /* (text, first image) to video with sound; unconditional */
    RLM_TASK_IMAGE,    /* text to image */
    RLM_TASK_PREDICT,  /* future prediction */
    RLM_TASK_PAINT,    /* in- and outpainting */
    RLM_TASK_STYLIZE,  /* depth and flow to video */
    RLM_TASK_VIDEO_TO_AUDIO,
    RLM_TASK_AUDIO_TO_VIDEO,
    RLM_TASK_AV_CONTINUE,
    RLM_TASK_COUNT
};

/* The kinds of clips a model was trained on; NONE leaves the choice to it. */
enum { RLM_SOURCE_NONE = -1, RLM_SOURCE_REAL = 0, RLM_SOURCE_PLAYGROUND = 1 };

typedef struct rlm_sampling {
    float temperature; /* > 0; 0 = greedy */
    int top_k;         /* 0: off */
    float top_p;       /* 1: off */
    float min_p;       /* 0: off; drops what is less likely than min_p of the likeliest */
    float cfg_scale;   /* classifier-free guidance; 1: off. Once nothing more is guided the sequence
                        * without the prompt is left, and tokens come sooner */
} rlm_sampling;

enum { RLM_STAGE_PREFILL, RLM_STAGE_SAMPLE, RLM_STAGE_DECODE };
typedef struct rlm_progress {
    int stage;           /* RLM_STAGE_* */
    int64_t done, total; /* tokens, or frames */
    double elapsed_s, eta_s;
} rlm_progress;

/* The picture that must stand at a frame: the others are sampled around its codes, and it is shown
 * as the tokenizer gives it back alone. */
typedef struct rlm_keyframe {
    const rlm_clip *image; /* first frame of it; borrowed during the call */
    int frame;             /* of the result, 0 is the first; negative: from the end, -1 the last */
} rlm_keyframe;

/* Pixels of the condition as it came, frames [from, to); to 0: up to its end. */
typedef struct rlm_box {
    int x, y, width, height, from, to;
} rlm_box;

/* Seconds [from, to) of the condition; to 0: up to its end. */
typedef struct rlm_span {
    double from, to;
} rlm_span;

/* Pointers are borrowed during the call. n clips: n calls, the seed counted up. */
typedef struct rlm_request {
    int task;                    /* default RLM_TASK_AUTO */
    const char *prompt;          /* UTF-8 or NULL (default) */
    const char *const *prompts;  /* instead of it, one a window, the last for all that follow */
    int prompt_count;            /* 0 (default): prompt */
    const char *negative_prompt; /* NULL: the empty prompt stands for "not" in guidance */
    /* Image (first frame), video or sound; NULL: none. VIDEO_TO_AUDIO gives its pictures back as
     * they came, AUDIO_TO_VIDEO, STYLIZE and PAINT its sound. */
    const rlm_clip *condition;
    const rlm_keyframe *keyframes;
    int keyframe_count; /* 0..64; VIDEO, PREDICT and AV_CONTINUE */
    /* PAINT: made anew is what the mask shows white (over 127; one picture or one a frame, of the
     * condition's size), what lies in a box, and the borders that outpaint adds around the
     * condition. Everything else comes back as it was, bit for bit (at width x height), and so does
     * the sound. frames is ignored: the condition says. */
    const rlm_clip *mask;
    const rlm_box *boxes;
    int box_count;   /* 0..64 */
    int outpaint[4]; /* left, right, top, bottom: pixels of the condition */
    /* VIDEO_TO_AUDIO: only these seconds of the condition's sound are made anew, hearing what goes
     * before; every other sample comes back as it was. */
    const rlm_span *spans;
    int span_count; /* 0..64; 0: all is made */
    /* STYLIZE: brightness is nearness; red and green are flow (as rlm_control_pack makes both). The
     * one not given stays neutral; both NULL: estimated from the condition. */
    const rlm_clip *depth, *flow;
    int width, height;    /* pixels, 16..1024; default 128 x 128 */
    int frames;           /* 1..256; default 17 */
    int fps_num, fps_den; /* default 8 / 1 */
    int audio;            /* 1 (default): with sound where the task has it */
    int longest;          /* 1: a given sound comes back to its end, not to the pictures' */
    int source;           /* kind of clips to imitate: RLM_SOURCE_*; default NONE */
    uint64_t seed;
    /* video: the first code frame, which decides what stands where (default: temperature 0.9, top_p
     * 0.9, guidance 4); motion: code frames that follow pictures (0.8, 0.9, 2). */
    rlm_sampling video, motion, audio_sampling;
    int backward;              /* rlm_extend: 1: what came before, instead of what follows */
    int reencode;              /* rlm_extend: 1: the source as the tokenizers show it, too */
    int overlap;               /* pictures that a window which continues another sees of it: 1, 5, 9
                                * or 13; 0 (default): 9, what training saw */
    const char *save_tokens;   /* path: the token file is written there before decoding; or NULL */
    int dry_run;               /* 1: nothing is sampled; the report says what it would cost */
    const char *settings;      /* JSON object kept in the token file, or NULL */
    const char *resume_tokens; /* a file that save_tokens left: its tokens are taken, not sampled;
                                * with the same request the result is that of one run; or NULL */
    int (*progress)(void *cookie, const rlm_progress *p); /* non-zero: cancel */
    void *progress_cookie;
    /* Pictures as they are decoded, between the tokens of what follows: each once, in order, the
     * first of them number `first` of the result; they are borrowed. What they show is what comes
     * out, except that a painting is still joined to what is kept, and pictures around keyframes
     * are led to them. Not called where a film is continued backwards. */
    void (*preview)(void *cookie, const rlm_frames *pictures, int first);
    void *preview_cookie;
} rlm_request;
RLM_API void rlm_request_defaults(rlm_request *request);
/* What somebody asks of sampling; negative: nothing, the request's value stands. Pictures that
 * follow are then never drawn hotter or guided more than the first, unless asked for. */
typedef struct rlm_sampling_wish {
    double temperature, motion_temperature, audio_temperature, top_p, min_p; /* as rlm_sampling */
    double cfg_scale, motion_cfg_scale, audio_cfg_scale;
    int top_k; /* this one, top_p and min_p: of all pictures */
} rlm_sampling_wish;
RLM_API void rlm_request_sampling(rlm_request *request, const rlm_sampling_wish *wish);
/* The request as the JSON object that output and token files carry (docs/FORMATS.md), without what
 * only the program knows: its verb, its files. *json is heap, free with rlm_string_free. */
RLM_API int rlm_request_settings(const rlm_engine *engine, const rlm_request *request, char **json,
                                 rlm_error *err);
/* Frames a second as a fraction in lowest terms: whole, a multiple of 1000 / 1001, else
 * thousandths.
 */
RLM_API void rlm_fps_fraction(double fps, int *num, int *den);

/* What was really done, seconds of wall clock; of a dry run: what would be, from a probe of a
 * second or two on this machine as it is now (decode_s: all but sampling). */
typedef struct rlm_report {
    int task, width, height, frames;
    int64_t prefix_tokens, video_tokens, audio_tokens;
    double prefill_s, sample_s, decode_s;
    int64_t peak_bytes;
} rlm_report;

/* Generate. On RLM_E_CANCELLED `out` holds what was finished (possibly a shorter clip): free it. */
RLM_API int rlm_generate(rlm_session *session, const rlm_request *request, rlm_clip *out,
                         rlm_report *report, rlm_error *err); /* report may be NULL */

/* Continue `source` by `seconds` in overlapping windows; out holds source + continuation. */
RLM_API int rlm_extend(rlm_session *session, const rlm_request *request, const rlm_clip *source,
                       double seconds, rlm_clip *out, rlm_report *report, rlm_error *err);
/* The same from file to file: memory holds one window, however long both are. source: no pipe;
 * path: a container; keyframes and backward need the whole (UNSUPPORTED). hooks may be NULL. On
 * RLM_E_CANCELLED the file holds what was finished; it appears whole or not at all. */
typedef struct rlm_extend_hooks {
    void (*part)(void *cookie, const rlm_clip *part); /* what goes into the file, in order */
    /* JSON to embed, or NULL: asked at the start (report NULL) and when all is made; then at most
     * 2 KiB longer, or the first stays. Borrowed until the next call. */
    const char *(*settings)(void *cookie, const rlm_report *report);
    void *cookie;
} rlm_extend_hooks;
RLM_API int rlm_extend_file(rlm_session *session, const rlm_request *request, const char *source,
                            double seconds, const char *path, const rlm_write_options *options,
                            const rlm_extend_hooks *hooks, rlm_report *report, rlm_error *err);

/* ---- Tokens -------------------------------------------------------------------------------- */

/* video and/or audio may be NULL to leave a part out. */
RLM_API int rlm_encode(rlm_session *session, const rlm_clip *clip, rlm_codes *video,
                       rlm_codes *audio, rlm_error *err);
RLM_API int rlm_decode(rlm_session *session, const rlm_codes *video, const rlm_codes *audio,
                       rlm_clip *out, rlm_error *err);
/* A media file of any length to codes and back, a window at a time: memory holds the codes (a byte
 * for 192 of the pictures'), of a decoded file its encoded bytes, and one window; the codes are
 * those of the whole. want: what to read (rate and channels are the codec's); max_frames and
 * max_seconds hold. Of what the file lacks, count is 0. */
RLM_API int rlm_encode_file(rlm_session *session, const char *path, const rlm_want *want,
                            rlm_codes *video, rlm_codes *audio, rlm_error *err);
/* Containers (mp4 mov mkv webm avi) grow window by window; other files, and what was generated in
 * several windows or with keyframes, are made whole. metadata: a JSON object to embed, which also
 * says whether to mark the file as made by a model; or NULL. */
RLM_API int rlm_decode_file(rlm_session *session, const rlm_codes *video, const rlm_codes *audio,
                            const char *metadata, const char *path,
                            const rlm_write_options *options, rlm_error *err);
/* Token file (.rtok, docs/FORMATS.md); path "-": stdin or stdout. Reading checks the tokenizers
 * against the engine's. Writing stores codes->tokenizer, the engine's when that is "" (engine may
 * then not be NULL). */
RLM_API int rlm_tokens_write(const rlm_engine *engine, const char *path, const rlm_codes *video,
                             const rlm_codes *audio, rlm_error *err);
/* engine NULL: no check. video, audio and settings may be NULL. *settings: the request.settings it
 * was saved with, NULL if it has none; rlm_string_free. */
RLM_API int rlm_tokens_read(const rlm_engine *engine, const char *path, rlm_codes *video,
                            rlm_codes *audio, char **settings, rlm_error *err);

/* ---- Playground ---------------------------------------------------------------------------- */

/* A procedural world: everything is a pure function of the seed and of what is wanted, the same
 * bytes for any number of threads. Needs no model. */
typedef struct rlm_world rlm_world; /* its tables; read-only after open; share it between threads */
/* threads serve rlm_world_batch alone; <= 0: all cores. */
RLM_API int rlm_world_open(rlm_world **out, int threads, rlm_error *err);
RLM_API void rlm_world_close(rlm_world **world);

/* Every seed belongs to one split. Ten attribute pairs never occur in the first two and occur, one
 * a scene, in about half of the third. The index-th seed of a split: order to draw from and resume.
 */
enum { RLM_SPLIT_TRAIN = 0, RLM_SPLIT_VALIDATION = 1, RLM_SPLIT_TEST = 2, RLM_SPLITS };
RLM_API int rlm_world_split(uint64_t seed);
RLM_API uint64_t rlm_world_seed(int split, uint64_t index);

typedef struct rlm_world_want {
    int width, height;    /* 16..2048; default 128 x 128 */
    int frames;           /* 1..4096; default 17 */
    int fps_num, fps_den; /* 1..240 frames a second; default 8 / 1 */
    int audio;            /* 1 (default): 16 kHz mono */
    int style;            /* -1 (default): the seed's; 0 photo, 1 cartoon, 2 pencil, 3 neon */
} rlm_world_want;
RLM_API void rlm_world_want_defaults(rlm_world_want *want);
RLM_API int rlm_world_style(const char *name); /* number of a style, or -1 */

/* Buffers of the caller, each may be NULL. depth: [frames][h][w] metres along the axis of view, 100
 * where there is only sky. flow: [frames][h][w][2] pixels right and down to where the surface is in
 * the next frame (of the last frame: in the one that would follow). mask: [frames][h][w], 0 or
 * 1 + the object's place in the facts. Rain, snow and mirrored things are in the picture only. */
typedef struct rlm_world_truth {
    float *depth, *flow;
    uint8_t *mask;
} rlm_world_truth;
/* out is overwritten: heap, rlm_clip_free. truth may be NULL. Reentrant. */
RLM_API int rlm_world_clip(const rlm_world *world, uint64_t seed, const rlm_world_want *want,
                           rlm_clip *out, rlm_world_truth *truth, rlm_error *err);
/* count clips at once, one a thread; truths: NULL or count of them. On failure none is kept. */
RLM_API int rlm_world_batch(rlm_world *world, const uint64_t *seeds, int count,
                            const rlm_world_want *want, rlm_clip *out, rlm_world_truth *truths,
                            rlm_error *err);

/* One sentence about the scene, always true of it. variant picks among the paraphrases. Cut to
 * `bytes` with a NUL; 512 always suffice. Returns the length. */
enum { RLM_LANGUAGE_EN = 0, RLM_LANGUAGE_ZH = 1 };
RLM_API int rlm_world_caption(uint64_t seed, int style, int language, int is_long, int variant,
                              char *to, int bytes);
/* All facts, contacts and captions as one JSON object on one line; free with rlm_string_free. */
RLM_API int rlm_world_facts(uint64_t seed, const rlm_world_want *want, char **json, rlm_error *err);
/* PNG-ready picture: count clips from seeds[], one a cell with four of its frames and its caption.
 */
RLM_API int rlm_world_sheet(rlm_world *world, const uint64_t *seeds, int count,
                            const rlm_world_want *want, rlm_clip *out, rlm_error *err);

/* Flow and depth as pictures, the way the video tokenizer sees them: red = flow right, green = flow
 * down (128: none), blue = nearness (inverse depth), each scaled over the whole clip. */
typedef struct rlm_control_range {
    float flow;      /* pixels a frame at 255 */
    float near, far; /* inverse metres at 255 and at 0 */
} rlm_control_range;
/* out is overwritten: heap, rlm_clip_free. flow or depth may be NULL: its channels stay neutral. */
RLM_API int rlm_control_pack(const float *depth, const float *flow, int frames, int height,
                             int width, rlm_clip *out, rlm_control_range *range, rlm_error *err);
/* The inverse, to within the rounding: depth and flow as above, either may be NULL. */
RLM_API void rlm_control_unpack(const rlm_frames *packed, const rlm_control_range *range,
                                float *depth, float *flow);
/* For video of unknown making. Flow as in rlm_world_truth, [count][h][w][2], from pyramids of least
 * squares; the last frame repeats the one before. Depth is a guess by height in the picture and by
 * motion (flow may be NULL), of use as a control, not as a measurement. */
RLM_API int rlm_flow_estimate(const rlm_frames *video, float *flow, rlm_error *err);
RLM_API void rlm_depth_guess(const rlm_frames *video, const float *flow, float *depth);

#ifdef __cplusplus
}
#endif
#endif
