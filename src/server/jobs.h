/* The queue of jobs: bounded, first come first served, one worker thread. Knows nothing of HTTP and
 * nothing of models: the work itself is a function it is given. All functions may be called from
 * any thread. */
#ifndef RLM_SERVER_JOBS_H
#define RLM_SERVER_JOBS_H

#include "src/server/store.h"
#include "src/server/wish.h"

typedef struct rlm_jobs rlm_jobs;

enum { RLM_JOB_QUEUED, RLM_JOB_RUNNING, RLM_JOB_COMPLETED, RLM_JOB_FAILED };

/* What a finished job holds. Files lie in its folder. */
typedef struct rlm_job_result {
    int width, height, frames;
    double fps, seconds;
    int64_t prefix_tokens, video_tokens, audio_tokens;
    double prefill_s, sample_s, decode_s, total_s;
    int64_t bytes; /* of the output file */
    int task;
    int64_t seed;                        /* of the clip */
    int64_t first_seed;                  /* where it was chosen: the first that was tried, */
    int tried, facts_asked, facts_shown; /* how many (0: no choice), what the judge saw of it */
    char token_sha256[65];               /* of the token file, or "" */
    char note[160];                      /* a warning that arose during the work, or "" */
} rlm_job_result;

/* A job in the hands of the worker. */
typedef struct rlm_work {
    rlm_jobs *jobs;
    rlm_store *store;
    const char *id;
    const rlm_wish *wish;
    rlm_job_result result;
    void *job; /* of jobs.c */
} rlm_work;

/* Publish progress (RLM_STAGE_*); returns non-zero when the work must stop. Cheap: call often. */
int rlm_work_told(rlm_work *work, int stage, int64_t done, int64_t total, double eta_s);
int rlm_work_stopped(const rlm_work *work);
/* `count` frames from number `first` on, one PNG with the frames side by side as base64 text (heap,
 * taken over). */
void rlm_work_preview(rlm_work *work, int first, int count, int width, int height, char *png);

typedef struct rlm_jobs_options {
    rlm_store *store;
    int max_queue;     /* waiting jobs */
    int max_jobs;      /* kept in all; the oldest finished ones go first */
    int64_t max_bytes; /* of all their files; 0: no limit; the oldest finished ones go first */
    int64_t ttl;       /* seconds a finished job is kept; 0: for ever */
    double timeout;    /* seconds one job may take; 0: no limit */
    int verbose;       /* 1: one line a finished job on stderr */
    /* Make what the wish asks; 0 or RLM_E_* with err. RLM_E_CANCELLED after a stop. */
    int (*make)(void *cookie, rlm_work *work, rlm_error *err);
    void *cookie;
} rlm_jobs_options;

/* Reads the jobs of an earlier run from the store: queued and interrupted ones are queued again, in
 * their old order. No work starts before rlm_jobs_start. */
int rlm_jobs_open(rlm_jobs **out, const rlm_jobs_options *options, rlm_error *err);
int rlm_jobs_start(rlm_jobs *jobs, rlm_error *err);
/* Stops the running job (it stays queued in the store), joins the worker, frees all. */
void rlm_jobs_stop(rlm_jobs *jobs); /* wakes everyone who waits; may be called before close */
void rlm_jobs_close(rlm_jobs **jobs);

/* Take over the wish (it is emptied) and its inputs' bytes, stored before this returns. id: of the
 * new job. Refuses with 429 when the queue is full, 507 when the
 * store is, 404/409 when an input's job is not usable. */
int rlm_jobs_submit(rlm_jobs *jobs, rlm_wish *wish, char id[RLM_ID_BYTES], rlm_refusal *refusal);
/* A copy of a job's wish with its inputs as references to that job; for remixes. */
int rlm_jobs_copy_wish(rlm_jobs *jobs, const char *id, rlm_wish *wish, rlm_refusal *refusal);

/* The Video object, or NULL with 404 (never known) or 410 (expired). *poll_ms: when to ask again.
 */
struct cJSON *rlm_jobs_show(rlm_jobs *jobs, const char *id, int *poll_ms, rlm_refusal *refusal);
/* The list object. after: an id or NULL. */
struct cJSON *rlm_jobs_list(rlm_jobs *jobs, const char *after, int limit, int ascending,
                            rlm_refusal *refusal);
int rlm_jobs_cancel(rlm_jobs *jobs, const char *id, rlm_refusal *refusal);
int rlm_jobs_remove(rlm_jobs *jobs, const char *id, rlm_refusal *refusal);
/* File descriptor of the caller. variant: "video", "thumbnail", "spritesheet". */
int rlm_jobs_content(rlm_jobs *jobs, const char *id, const char *variant, int64_t *bytes,
                     const char **mime, rlm_refusal *refusal);
/* Wait until the job has ended: 1; after `seconds`: 0; gone: -1. */
int rlm_jobs_wait(rlm_jobs *jobs, const char *id, double seconds);

/* One listener of a job's events. */
typedef struct rlm_watch {
    char id[RLM_ID_BYTES];
    unsigned seen_status, seen_progress;
    int seen_previews, seen_ahead;
    int ended;
} rlm_watch;
/* Wait at most `seconds` for news and append them as server-sent events. Returns 0 once the last
 * event was appended. */
int rlm_jobs_watch(rlm_jobs *jobs, rlm_watch *watch, double seconds, rlm_bytes *events);

/* Remove what has expired. */
void rlm_jobs_expire(rlm_jobs *jobs);

typedef struct rlm_jobs_count {
    int queued, running, kept;
    int64_t completed, failed, cancelled, rejected; /* since the start */
    int64_t prompt_tokens, sampled_tokens, frames;
    double prompt_seconds, sample_seconds, decode_seconds, job_seconds;
} rlm_jobs_count;
void rlm_jobs_counts(rlm_jobs *jobs, rlm_jobs_count *count);

#endif
