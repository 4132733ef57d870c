/* What the pipeline's files share: engine, session, and the stages between media and tokens. */
#ifndef RLM_PIPELINE_H
#define RLM_PIPELINE_H

#include "prompts/layout.h"
#include "src/model_dir.h"

struct rlm_engine {
    rlm_model model;
    rlm_kernels kernels;
    rlm_options options;
    char *cpu_mask; /* copy of options.cpu_mask */
    int cache_bits; /* of keys and values: 16 (bf16) or 8 */
    rlm_log log;
};

typedef struct rlm_ahead rlm_ahead; /* pipeline_sample.c */

struct rlm_session {
    const rlm_engine *engine;
    rlm_par *par;
    rlm_arena arena;
    rlm_run run;
    rlm_lm_cache *cache; /* NULL until the first generation */
    int cache_batch, cache_capacity;
    int batch;        /* clips sampled side by side (rlm_session_batch) */
    rlm_ahead *ahead; /* those that nobody asked for yet; NULL: none */
};

/* MODEL error naming the part that the model directory lacks. parts: RLM_PART_* */
int rlm_session_need(const rlm_session *s, unsigned parts, rlm_error *err);
/* LIMIT when the session's scratch and cache would pass options.max_memory. */
int rlm_session_allow(const rlm_session *s, size_t bytes, rlm_error *err);

/* rlm_want.warn: to the log of the engine that the cookie is. */
void rlm_log_warning(void *engine, const char *text);
/* RLM_ORIGIN_* of what a task made from this condition (NULL: none). */
int rlm_origin(int task, const rlm_clip *condition);
/* rlm_tokens_write with generation settings (JSON or NULL) in the file. */
int rlm_tokens_save(const rlm_engine *engine, const char *path, const rlm_codes *video,
                    const rlm_codes *audio, const char *settings, rlm_error *err);

/* ---- pipeline_tokens.c ----------------------------------------------------------------------- */
/* Commit the scratch that the audio codec needs, either way, for sound of this length: it works in
 * chunks, so what is long needs no more. */
int rlm_session_plan_audio(rlm_session *s, int64_t samples, rlm_error *err);
/* The clip as the tokenizers give it back, in place; on errors it stays as it was. better, unless
 * NULL, may choose other codes for it; audio NULL: it has no sound. */
typedef int (*rlm_better_fn)(void *cookie, const rlm_clip *clip, rlm_codes *video, rlm_codes *audio,
                             rlm_error *err);
int rlm_clip_round_trip(rlm_session *s, rlm_clip *clip, rlm_better_fn better, void *cookie,
                        rlm_error *err);
/* pipeline_files.c: codes (plain ones) decoded piece by piece; NULL: a part that is not there. */
int rlm_decode_stream(rlm_session *s, const rlm_codes *video, const rlm_codes *audio,
                      int (*take)(void *cookie, const rlm_clip *part, rlm_error *err), void *cookie,
                      rlm_error *err);
/* TOKENS when codes name another tokenizer than `sha`. what: "video" or "audio". */
int rlm_codes_belong(const char *what, const rlm_codes *codes, const char *sha, rlm_error *err);

/* ---- pipeline_generate.c --------------------------------------------------------------------- */

/* A picture that must stand at a frame of the result. */
typedef struct rlm_key {
    int frame;       /* 0.. */
    rlm_codes codes; /* of a still clip of it, as long as a window */
} rlm_key;

/* Where pictures and sound go as they are finished; the clip then holds no more than the next
 * window needs. take borrows the part; its errors end the job. */
typedef struct rlm_outlet {
    int (*take)(void *cookie, const rlm_clip *part, rlm_error *err);
    void *cookie;
    int given, gone;                     /* pictures taken; no longer in the clip */
    int64_t given_samples, gone_samples; /* of the sound */
} rlm_outlet;

/* Pictures of the window in progress (pipeline_film.c). */
typedef struct rlm_film {
    rlm_video_decoder *decoder; /* NULL: no window is open */
    rlm_codes grid;             /* of all its latent frames; ids NULL */
    rlm_frames made;            /* new ones so far; rgb has room for all */
    int32_t *ids;               /* of one latent frame */
    int past, latents;          /* latent frames that are not sampled; decoded, those included */
    int skip, most; /* pictures it begins with and others show; with those, all it has */
    int number;     /* of the first new one in the result */
} rlm_film;

/* One call of rlm_generate or rlm_extend. */
typedef struct rlm_job {
    rlm_session *s;
    const rlm_request *r;
    rlm_report report;
    double start;        /* rlm_now() of the call */
    double last_told;    /* when progress was last called */
    int64_t done, total; /* codes of all windows, those given them included */
    uint64_t seed;       /* of the window in progress */
    int cancelled;
    int32_t *text,
        *negative; /* piece ids; text: of prompt number `prompt` where there are several */
    int text_count, negative_count, prompt;
    int windows;        /* begun, for their prompts */
    rlm_outlet *outlet; /* of rlm_continue; NULL: the clip holds all */
    rlm_film film;
    int no_preview;                     /* 1: pictures are made in another order than shown */
    rlm_codes made_video, made_audio;   /* windows finished, for save_tokens */
    rlm_codes given_video, given_audio; /* of resume_tokens */
    int video_window, audio_window;     /* how many windows were begun */
    rlm_key *keys;                      /* [key_count] */
    int key_count, key_base;            /* pictures of a source, which the record lacks */
    double probe_s, unmade_s;           /* dry run: s spent on probes; s of work left out */
    int unmade;                         /* dry run: pictures left out */
} rlm_job;
/* A moment of a job, by what it had spent. */
typedef struct rlm_mark {
    double at, probe_s, prefill_s, sample_s;
    int64_t prefix_tokens;
} rlm_mark;
rlm_mark rlm_job_mark(const rlm_job *j);
/* Dry run: what was spent since the mark on `made` codes, `rest` codes would cost as well. */
void rlm_job_left_out(rlm_job *j, const rlm_mark *since, int64_t rest, int64_t made);
int rlm_overlap_most(const rlm_model *m); /* pictures that windows may share */
int rlm_job_open(rlm_job *j, rlm_session *s, const rlm_request *r, rlm_error *err);
void rlm_job_close(rlm_job *j);
/* The words of the request's prompt number `prompt`, or of its last, where it has several. */
int rlm_job_prompt(rlm_job *j, int prompt, rlm_error *err);
/* Tell progress; returns 1 when the caller asked to stop (also remembered in the job). */
int rlm_job_tell(rlm_job *j, int stage, int64_t done, int64_t total, int always);

/* What one pass of the language model made. Whole latent frames and whole audio levels only. */
typedef struct rlm_made {
    int32_t *video, *audio; /* [t][h][w], [levels][frames]; heap or NULL */
    int latents, levels;    /* finished */
} rlm_made;
void rlm_made_free(rlm_made *m);
void rlm_ahead_free(rlm_ahead **ahead);
/* spec: task and grids; text and source are filled in from the job. Stops early when cancelled. */
int rlm_window_sample(rlm_job *j, const rlm_layout_spec *spec, rlm_made *made, rlm_error *err);
/* The model has positions for the sequence this spec makes. Ids are not looked at. */
bool rlm_window_fits(const rlm_job *j, const rlm_layout_spec *spec);

/* Frames of sound codes that stand for `frames` pictures of the job's rate. */
int rlm_sound_frames(const rlm_job *j, int frames);
int64_t rlm_sound_samples(const rlm_job *j, int frames);

/* ---- pipeline_keys.c ------------------------------------------------------------------------- */

enum { RLM_WINDOW_LATENTS = 5 /* of one pass: what training saw */ };
/* The request's keyframes, encoded; of the result's `frames` pictures first..last are free, and the
 * record begins at picture `base`. */
int rlm_job_keys(rlm_job *j, int base, int first, int last, int frames, rlm_error *err);
void rlm_job_keys_free(rlm_job *j);
/* How many keyframes stand in latent frames [past, latents) of a window that begins at picture
 * `base`; their codes into ids [latents][h][w] and known, unless ids is NULL. */
int rlm_window_keys(const rlm_job *j, int base, int past, int latents, int h, int w, int32_t *ids,
                    uint8_t *known);
/* The keyframes among the true_frames of the record as its stills: heap, the caller's. */
int rlm_job_stills(const rlm_job *j, rlm_codes *record, rlm_error *err);
/* They stand in the pictures of the result as decoding the record shows them. */
int rlm_job_show_keys(rlm_job *j, rlm_frames *result, rlm_error *err);

/* ---- pipeline_stills.c ----------------------------------------------------------------------- */

/* TOKENS when the codes' stills do not lie in their pictures. what: begins the sentence. */
int rlm_stills_check(const rlm_codes *c, const char *what, rlm_error *err);
/* Put the stills of `c` into the pictures decoded from it, and lead those around to them. */
int rlm_stills_show(rlm_session *s, const rlm_codes *c, rlm_frames *pictures, rlm_error *err);

/* ---- pipeline_walk.c ------------------------------------------------------------------------- */

/* Windows over `frames` pictures whose condition shows the same moments. */
typedef struct rlm_walk rlm_walk;
struct rlm_walk {
    rlm_job *j;
    int task, frames;
    rlm_frames
        out; /* what is made so far; heap, the caller's after the run, whatever it returned */
    /* Condition of pictures [from, from + n), of which `past` are in out: fills the inputs of spec,
     * and ids and known of its output where it forces more than the past. What they point to lives
     * until the next call. > 0: all codes are known, nothing is to be made; `take` does it. */
    int (*open)(void *ctx, rlm_walk *w, int from, int past, int n, rlm_layout_spec *spec,
                rlm_error *err);
    /* Pictures [from, from + n) stand in out (or are to be put there): finish them. NULL: nothing
     */
    int (*take)(void *ctx, rlm_walk *w, int from, int n, rlm_error *err);
    void *ctx;
    int32_t *ids; /* of the window in progress */
    uint8_t *known;
};
int rlm_walk_run(rlm_walk *w, rlm_error *err);

/* pipeline_paint.c: the whole task, from the request to the clip. */
int rlm_paint(rlm_job *j, rlm_clip *out, rlm_error *err);
/* pipeline_control.c: depth and flow in, pictures out; sound in, pictures out. */
int rlm_stylize(rlm_job *j, rlm_clip *out, rlm_error *err);
int rlm_visualize(rlm_job *j, rlm_clip *out, rlm_error *err);
/* pipeline_sound.c: the condition's pictures with sound, or with spans of theirs made anew; and
 * sound for the pictures of a clip of the request's size and rate, window after window. */
int rlm_soundtrack(rlm_job *j, rlm_clip *out, rlm_error *err);
int rlm_dub(rlm_job *j, rlm_clip *clip, rlm_error *err);
int64_t rlm_dub_codes(const rlm_job *j, int frames); /* its part of the job's total */
/* pipeline_fill.c: pixels [h][w][3] where known is 0 get what lies around them, smoothly. */
int rlm_fill(float *pixels, const uint8_t *known, int h, int w, rlm_error *err);

/* ---- pipeline_record.c ----------------------------------------------------------------------- */

/* Codes of the job's tokenizers as grids. ids are borrowed. frames: pictures shown, at most as many
 * as t code frames have; samples 0: all that its frames have. */
rlm_codes rlm_job_video_grid(const rlm_job *j, int t, int h, int w, int32_t *ids, int frames);
rlm_codes rlm_job_audio_grid(const rlm_job *j, int levels, int frames, int32_t *ids,
                             int64_t samples);
/* A window is finished: of its pictures (samples) `skip` are shown by others, then `take` are its
 * own; take 0 keeps nothing. */
int rlm_job_keep_video(rlm_job *j, const rlm_codes *grid, int skip, int take, rlm_error *err);
int rlm_job_keep_audio(rlm_job *j, const rlm_codes *grid, int64_t skip, int64_t take,
                       rlm_error *err);
int rlm_job_save(rlm_job *j, rlm_error *err); /* what is kept, to the request's save_tokens */
int rlm_job_resume(rlm_job *j, rlm_error *err);
/* The next window's codes as far as the resumed file has them, forced into the spec's outputs. */
typedef struct rlm_given {
    int32_t *video, *audio; /* behind the spec; NULL: nothing given */
    uint8_t *video_known, *audio_known;
    int latents, levels; /* whole ones given */
    int whole;           /* 1: nothing is left to sample */
} rlm_given;
int rlm_job_given(rlm_job *j, rlm_layout_spec *spec, rlm_given *out, rlm_error *err);
void rlm_given_free(rlm_given *g);

/* ---- pipeline_film.c ------------------------------------------------------------------------- */

/* A window of pictures begins: `grid` of all its latent frames, of which the first past_latents
 * have the codes `past` (borrowed during the call) and the others are sampled. Of the pictures
 * `skip` are shown by others; the first new one is number `number` of the result. */
int rlm_film_open(rlm_job *j, const rlm_codes *grid, const int32_t *past, int past_latents,
                  int skip, int number, rlm_error *err);
/* The first `latents` sampled latent frames have these global ids: those not yet decoded are, and
 * the request's preview sees them. Without a window nothing happens. */
void rlm_film_roll(rlm_job *j, const int32_t *ids, int latents);
/* The window ends with so many sampled latent frames (local ids): what is left is decoded. All new
 * pictures: heap, the caller's. Closes. */
int rlm_film_take(rlm_job *j, const int32_t *ids, int latents, rlm_frames *pictures,
                  rlm_error *err);
void rlm_film_close(rlm_job *j); /* also when none is open */
/* The request's preview sees these pictures, the first of them number `number` of the result. */
void rlm_film_show(rlm_job *j, const rlm_frames *pictures, int number);

/* ---- pipeline_extend.c ----------------------------------------------------------------------- */

/* A window of sound `frames` long is made: keep it, save, decode, and put what lies behind `skip`
 * samples into to[take], as far as it goes. */
int rlm_take_sound(rlm_job *j, const rlm_made *made, int frames, int64_t skip, int64_t take,
                   float *to, rlm_error *err);
/* Cut the sound to `samples`, or fill it up with silence. */
int rlm_fit_sound(rlm_pcm *a, int64_t samples, rlm_error *err);
/* clip: at the request's size and rates; grows to `frames` pictures (and the sound that belongs to
 * them when `sound`) by windows. When cancelled it keeps what was finished. */
int rlm_continue(rlm_job *j, rlm_clip *clip, int frames, int sound, rlm_error *err);
/* Its part of the job's total, from `have` pictures on. */
int64_t rlm_continue_codes(const rlm_job *j, int have, int frames, int sound);
/* 1: an extension of a source with sound (or without) makes sound. */
int rlm_extends_sound(const rlm_job *j, int heard);
/* Pictures that `seconds` add to `have`; RANGE above `most` in all. */
int rlm_extend_frames(const rlm_job *j, int have, double seconds, int most, int *frames,
                      rlm_error *err);

/* ---- pipeline_outlet.c ----------------------------------------------------------------------- */

/* Give the job's outlet what is finished: all pictures, and the sound up to their end. */
int rlm_outlet_pass(rlm_job *j, rlm_clip *clip, rlm_error *err);
/* The request's size and rates, and the codec's rate, for rlm_clip_convert. */
void rlm_job_want(const rlm_job *j, rlm_want *want);

#endif
