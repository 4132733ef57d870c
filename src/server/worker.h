/* The one owner of the model: turns a wish into a request of the library, and its clip into files.
 */
#ifndef RLM_SERVER_WORKER_H
#define RLM_SERVER_WORKER_H

#include "src/reelm_train.h"
#include "src/server/jobs.h"

typedef struct rlm_worker {
    rlm_engine *engine;
    rlm_session *session;
    const char *judge_path; /* borrowed; NULL: no judge */
    rlm_judge *judge;       /* opened by the first job that needs it */
    int threads;
    const char *cpu_mask; /* of the judge */
    char name[80];        /* of the model: the last part of its folder */
    char *info;           /* rlm_engine_info's JSON without the folder; heap */
    rlm_wish_limits limits;
} rlm_worker;

/* judge: its weights, or NULL; the strings outlive the worker. */
int rlm_worker_open(rlm_worker *worker, const char *model_dir, const char *judge,
                    const rlm_options *options, double max_seconds, rlm_error *err);
void rlm_worker_close(rlm_worker *worker);

/* For rlm_jobs_options.make; cookie: the rlm_worker. Writes output.*, thumbnail.png and, for more
 * than one frame, spritesheet.png into the job's folder. */
int rlm_worker_make(void *cookie, rlm_work *work, rlm_error *err);

/* ---- outputs.c: what a job leaves behind ----------------------------------------------------- */

/* Write output.*, thumbnail.png and spritesheet.png; the settings go into the output. Fills bytes
 * and token_sha256 of the result. */
int rlm_outputs_write(rlm_work *work, const rlm_worker *worker, const rlm_request *request,
                      rlm_clip *clip, rlm_error *err);

/* ---- pictures.c: small pictures of clips ----------------------------------------------------- */

/* `count` frames spread evenly over [from, last], in rows of `columns`, each shrunk by a whole
 * factor until it is at most `side` wide and high. out: one frame, heap. */
int rlm_pictures_sheet(const rlm_frames *frames, int from, int last, int count, int columns,
                       int side, rlm_clip *out, rlm_error *err);

#endif
