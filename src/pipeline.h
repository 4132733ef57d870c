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
    rlm_log log;
};

struct rlm_session {
    const rlm_engine *engine;
    rlm_par *par;
    rlm_arena arena;
    rlm_run run;
    rlm_lm_cache *cache; /* NULL until the first generation */
    int cache_batch, cache_capacity;
};

/* MODEL error naming the part that the model directory lacks. parts: RLM_PART_* */
int rlm_session_need(const rlm_session *s, unsigned parts, rlm_error *err);
/* NOMEM when the session's scratch and cache would pass options.max_memory. */
int rlm_session_allow(const rlm_session *s, size_t bytes, rlm_error *err);

/* RLM_ORIGIN_* of what a task made from this condition (NULL: none). */
int rlm_origin(int task, const rlm_clip *condition);
/* rlm_tokens_write with generation settings (JSON or NULL) in the file. */
int rlm_tokens_save(const rlm_engine *engine, const char *path, const rlm_codes *video,
                    const rlm_codes *audio, const char *settings, rlm_error *err);

/* ---- pipeline_generate.c ----------------------------------------------------------------------
 */

/* One call of rlm_generate or rlm_extend. */
typedef struct rlm_job {
    rlm_session *s;
    const rlm_request *r;
    rlm_report report;
    double start;        /* rlm_now() of the call */
    double last_told;    /* when progress was last called */
    int64_t done, total; /* tokens of all windows */
    uint64_t seed;       /* of the window in progress */
    int cancelled;
    int32_t *text, *negative; /* piece ids */
    int text_count, negative_count;
    /* Of the window in progress, for previews: codes of the pictures it begins with (borrowed;
     * NULL: none), how many pictures they are, and the number of the first new one in the result.
     */
    const rlm_codes *past;
    int past_frames, first_picture, no_preview;
    double preview_spent, preview_last; /* s: in all, the last one */
} rlm_job;
int rlm_job_open(rlm_job *j, rlm_session *s, const rlm_request *r, rlm_error *err);
void rlm_job_close(rlm_job *j);
/* Tell progress; returns 1 when the caller asked to stop (also remembered in the job). */
int rlm_job_tell(rlm_job *j, int stage, int64_t done, int64_t total, int always);

/* What one pass of the language model made. Whole latent frames and whole audio levels only. */
typedef struct rlm_made {
    int32_t *video, *audio; /* [t][h][w], [levels][frames]; heap or NULL */
    int latents, levels;    /* finished */
} rlm_made;
void rlm_made_free(rlm_made *m);
/* spec: task and grids; text and source are filled in from the job. Stops early when cancelled. */
int rlm_window_sample(rlm_job *j, const rlm_layout_spec *spec, rlm_made *made, rlm_error *err);
/* Positions of the sequence this spec makes; < 0: error. */
int rlm_window_length(const rlm_job *j, const rlm_layout_spec *spec, rlm_error *err);

/* Frames of sound codes that stand for `frames` pictures of the job's rate. */
int rlm_sound_frames(const rlm_job *j, int frames);
int64_t rlm_sound_samples(const rlm_job *j, int frames);

/* ---- pipeline_preview.c -----------------------------------------------------------------------
 */

/* Show the first `latents` frames of the window, whose global ids are given, if the time spent on
 * previews allows. */
void rlm_job_preview(rlm_job *j, const rlm_layout_spec *spec, const int32_t *ids, int latents);

/* ---- pipeline_extend.c -------------------------------------------------------------------------
 */

/* clip: at the request's size and rates; grows to `frames` pictures (and the sound that belongs to
 * them when `sound`) by windows. When cancelled it keeps what was finished. */
int rlm_continue(rlm_job *j, rlm_clip *clip, int frames, int sound, rlm_error *err);
/* The request's size and rates, and the codec's rate, for rlm_clip_convert. */
void rlm_job_want(const rlm_job *j, rlm_want *want);

#endif
