/* What jobs.c, jobs_json.c and jobs_watch.c share. */
#ifndef RLM_SERVER_JOBS_PRIVATE_H
#define RLM_SERVER_JOBS_PRIVATE_H

#include <pthread.h>

#include "src/server/jobs.h"

/* Why a running job must stop. */
enum { STOP_NO, STOP_CANCELLED, STOP_REMOVED, STOP_SHUTDOWN, STOP_TIMEOUT };

enum { JOB_GONE = 256, JOB_PREVIEWS = 64, JOB_ATTEMPTS = 3 };

typedef struct preview {
    int first, count, width, height;
    char *png; /* base64, heap */
} preview;

typedef struct job {
    char id[RLM_ID_BYTES];
    int status, attempts, stop;
    rlm_wish wish;
    double created; /* seconds since 1970, with fraction: their order */
    int64_t started, completed, expires;
    double started_at; /* monotonic */
    int stage, progress;
    int64_t done, total;
    double eta, told_at;
    char error_code[40], error_text[504];
    rlm_job_result result;
    int64_t bytes; /* of its files */
    unsigned status_version, progress_version;
    preview previews[JOB_PREVIEWS]; /* of the running job; the oldest are dropped */
    int preview_count;              /* ever made */
} job;

struct rlm_jobs {
    rlm_jobs_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* any visible change, and new work */
    pthread_t worker;
    int has_worker, stopping;
    job **list; /* by creation */
    int count, room;
    char gone[JOB_GONE][RLM_ID_BYTES]; /* expired ids: 410 instead of 404 */
    int gone_next;
    rlm_jobs_count counts;
    int64_t bytes;    /* of all jobs' files */
    double average_s; /* of finished jobs; 0: none yet */
};

/* All below: with the lock held. */
job *rlm_jobs_find(rlm_jobs *q, const char *id);
int rlm_jobs_position(const rlm_jobs *q, const job *j); /* 0: next, or running */
struct cJSON *rlm_jobs_video(const rlm_jobs *q, const job *j);
struct cJSON *rlm_jobs_saved(const job *j);
int rlm_jobs_append(rlm_jobs *q, job *j); /* -1 without memory */
void rlm_jobs_drop(rlm_jobs *q, job *j,
                   int remember); /* with its folder; remember: 410 from now on */
int rlm_jobs_save(rlm_jobs *q, job *j, rlm_error *err); /* to its file, and to all who wait */
void rlm_jobs_weigh(rlm_jobs *q, job *j);               /* count its files' bytes again */
void rlm_jobs_free_job(job *j);
const char *rlm_jobs_output(const job *j); /* name of its output file */
/* 0, or -1 when the text is no job. */
int rlm_jobs_parse(job *j, const char *id, const char *text, size_t bytes);
int rlm_jobs_missing(rlm_jobs *q, const char *id, rlm_refusal *r); /* 404 or 410; -1 */
double rlm_jobs_eta(const rlm_jobs *q, const job *j);              /* seconds; < 0: unknown */
void rlm_jobs_nap(rlm_jobs *q, double seconds); /* wait for a change at most so long */

#endif
