/* From a wish to a queued job: room, files, links to other jobs' files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "src/server/jobs_private.h"

/* The whole sentence for the log, one without paths for the client. */
static int refuse_io(rlm_refusal *r, rlm_error *err)
{
    rlm_serve_log("%s", err->text);
    rlm_paths_hide(err->text);
    return rlm_refuse(r, 500, "io_error", "", "%.400s", err->text);
}

static int64_t inputs_bytes(const rlm_wish *w)
{
    int64_t bytes = 0;
    for (int i = 0; i < w->input_count; i++)
        bytes += (int64_t)w->inputs[i].bytes;
    return bytes;
}

static int is_input(const rlm_wish *w, const char *id)
{
    for (int i = 0; i < w->input_count; i++)
        if (!strcmp(w->inputs[i].video_id, id))
            return 1;
    return 0;
}

/* Room for one more: the oldest finished jobs go, but none that it begins with. -1: the store is
 * full. */
static int make_room(rlm_jobs *q, const rlm_wish *w, rlm_refusal *r)
{
    int64_t most = q->options.max_bytes, bytes = inputs_bytes(w);
    int full = most && bytes > most; /* nothing that goes would help */
    for (int i = 0; !full && i < q->count &&
                    (q->count >= q->options.max_jobs || (most && q->bytes + bytes > most));) {
        if (q->list[i]->status >= RLM_JOB_COMPLETED && !is_input(w, q->list[i]->id))
            rlm_jobs_drop(q, q->list[i], 1);
        else
            i++;
    }
    if (most && q->bytes + bytes > most)
        return rlm_refuse(r, 507, "storage_full", "",
                          "The server keeps at most %lld MiB of jobs; try again later.",
                          (long long)(most >> 20));
    return 0;
}

/* The job whose file `in` is: its input when `in` says so, else its result. NULL with r. */
static job *source_of(rlm_jobs *q, const rlm_wish_input *in, rlm_refusal *r)
{
    job *from = rlm_jobs_find(q, in->video_id);
    if (!from) {
        rlm_jobs_missing(q, in->video_id, r);
    } else if (!in->source[0] && from->status != RLM_JOB_COMPLETED) {
        rlm_refuse(r, 409, "not_ready", "video", "Video '%s' is not completed.", in->video_id);
        from = NULL;
    }
    return from;
}

/* Before anything is dropped or written for the sake of a request that cannot be met. */
static int check_inputs(rlm_jobs *q, const rlm_wish *w, rlm_refusal *r)
{
    for (int i = 0; i < w->input_count; i++)
        if (w->inputs[i].video_id[0] && !source_of(q, &w->inputs[i], r))
            return -1;
    return 0;
}

/* Results of other jobs that the wish names become files of this one. With the lock held. */
static int link_inputs(rlm_jobs *q, job *j, rlm_refusal *r)
{
    rlm_error err;
    for (int i = 0; i < j->wish.input_count; i++) {
        rlm_wish_input *in = &j->wish.inputs[i];
        if (!in->video_id[0])
            continue;
        job *from = source_of(q, in, r);
        if (!from)
            return -1;
        const char *name = in->source[0] ? in->source : rlm_jobs_output(from);
        if (rlm_store_link(q->options.store, from->id, name, j->id, in->name, &err))
            return refuse_io(r, &err);
        in->video_id[0] = 0;
    }
    return 0;
}

static int store_inputs(rlm_jobs *q, job *j, rlm_refusal *r)
{
    rlm_error err;
    if (rlm_store_create(q->options.store, j->id, &err))
        return refuse_io(r, &err);
    for (int i = 0; i < j->wish.input_count; i++) {
        rlm_wish_input *in = &j->wish.inputs[i];
        if (in->video_id[0])
            continue;
        if (rlm_store_write(q->options.store, j->id, in->name, in->data, in->bytes, &err))
            return refuse_io(r, &err);
        free(in->owned);
        in->owned = NULL;
        in->data = NULL;
    }
    return 0;
}

static int queue_full(rlm_jobs *q, rlm_refusal *r)
{
    int waiting = 0;
    for (int i = 0; i < q->count; i++)
        waiting += q->list[i]->status == RLM_JOB_QUEUED;
    if (waiting < q->options.max_queue)
        return 0;
    q->counts.rejected++;
    rlm_refuse(r, 429, "queue_full", "", "The queue is full (%d jobs); try again later.", waiting);
    double wait = q->average_s > 0 ? q->average_s : 2;
    r->retry_after = wait < 1 ? 1 : wait > 100 ? 100 : (int)wait;
    return -1;
}

int rlm_jobs_submit(rlm_jobs *q, rlm_wish *wish, char id[RLM_ID_BYTES], rlm_refusal *r)
{
    struct timespec now;
    rlm_error err = {0};
    pthread_mutex_lock(&q->lock);
    int code = queue_full(q, r); /* before any byte is written */
    pthread_mutex_unlock(&q->lock);
    if (code)
        return code;
    job *j = calloc(1, sizeof *j);
    if (!j)
        return rlm_refuse(r, 503, "out_of_memory", "", "Out of memory.");
    clock_gettime(CLOCK_REALTIME, &now);
    j->created = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    j->wish = *wish;
    *wish = (rlm_wish){0};
    rlm_id_make(j->id, "video_");
    pthread_mutex_lock(&q->lock);
    code = check_inputs(q, &j->wish, r) || make_room(q, &j->wish, r) ? -1 : 0;
    pthread_mutex_unlock(&q->lock);
    if (code) {
        rlm_jobs_free_job(j);
        return code;
    }
    code = store_inputs(q, j, r);
    pthread_mutex_lock(&q->lock);
    if (!code)
        code = queue_full(q, r);
    if (!code)
        code = link_inputs(q, j, r);
    if (!code && q->stopping)
        code = rlm_refuse(r, 503, "stopping", "", "The server is stopping.");
    if (!code && rlm_jobs_save(q, j, &err))
        code = refuse_io(r, &err);
    if (!code && rlm_jobs_append(q, j))
        code = rlm_refuse(r, 503, "out_of_memory", "", "Out of memory.");
    if (!code)
        rlm_jobs_weigh(q, j);
    if (code) {
        rlm_store_remove(q->options.store, j->id);
        rlm_jobs_free_job(j);
    } else {
        snprintf(id, RLM_ID_BYTES, "%s", j->id);
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    return code;
}

int rlm_jobs_copy_wish(rlm_jobs *q, const char *id, rlm_wish *wish, rlm_refusal *r)
{
    pthread_mutex_lock(&q->lock);
    job *j = rlm_jobs_find(q, id);
    if (!j) {
        rlm_jobs_missing(q, id, r);
        pthread_mutex_unlock(&q->lock);
        return -1;
    }
    cJSON *saved = rlm_wish_save(&j->wish);
    int code = rlm_wish_load(wish, saved, r);
    cJSON_Delete(saved);
    for (int i = 0; i < wish->input_count; i++) {
        rlm_wish_input *in = &wish->inputs[i];
        snprintf(in->video_id, sizeof in->video_id, "%s", id);
        memcpy(in->source, in->name, sizeof in->source);
    }
    snprintf(wish->remixed_from, sizeof wish->remixed_from, "%s", id);
    pthread_mutex_unlock(&q->lock);
    return code;
}
