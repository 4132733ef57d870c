#include "src/server/jobs_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>

enum { JOB_FILE_LIMIT = 4 << 20 }; /* three texts of 64 KiB may be escapes of six bytes each */

/* ---- The list -------------------------------------------------------------------------------- */

job *rlm_jobs_find(rlm_jobs *q, const char *id)
{
    for (int i = 0; i < q->count; i++)
        if (!strcmp(q->list[i]->id, id))
            return q->list[i]->stop == STOP_REMOVED ? NULL : q->list[i];
    return NULL;
}

int rlm_jobs_missing(rlm_jobs *q, const char *id, rlm_refusal *r)
{
    for (int i = 0; i < JOB_GONE; i++)
        if (!strcmp(q->gone[i], id))
            return rlm_refuse(r, 410, "expired", "video_id", "Video '%.60s' has expired.", id);
    return rlm_refuse(r, 404, "not_found", "video_id", "Video '%.60s' does not exist.", id);
}

int rlm_jobs_position(const rlm_jobs *q, const job *j)
{
    int ahead = 0;
    for (int i = 0; i < q->count && q->list[i] != j; i++)
        ahead += q->list[i]->status == RLM_JOB_QUEUED || q->list[i]->status == RLM_JOB_RUNNING;
    return ahead;
}

double rlm_jobs_eta(const rlm_jobs *q, const job *j)
{
    if (j->status == RLM_JOB_RUNNING && j->eta > 0)
        return j->eta;
    if (q->average_s <= 0)
        return -1;
    return q->average_s * (1 + rlm_jobs_position(q, j));
}

static void free_previews(job *j)
{
    for (int i = 0; i < JOB_PREVIEWS; i++) {
        free(j->previews[i].png);
        j->previews[i].png = NULL;
    }
}

void rlm_jobs_free_job(job *j)
{
    rlm_wish_free(&j->wish);
    free_previews(j);
    free(j);
}

int rlm_jobs_append(rlm_jobs *q, job *j)
{
    if (q->count == q->room) {
        int room = 2 * q->room + 64;
        job **grown = realloc(q->list, (size_t)room * sizeof *grown);
        if (!grown)
            return -1;
        q->list = grown;
        q->room = room;
    }
    q->list[q->count++] = j;
    return 0;
}

void rlm_jobs_drop(rlm_jobs *q, job *j, int remember)
{
    int at = 0;
    while (at < q->count && q->list[at] != j)
        at++;
    memmove(q->list + at, q->list + at + 1, (size_t)(q->count - at - 1) * sizeof *q->list);
    q->count--;
    if (remember) {
        snprintf(q->gone[q->gone_next], RLM_ID_BYTES, "%s", j->id);
        q->gone_next = (q->gone_next + 1) % JOB_GONE;
    }
    rlm_store_remove(q->options.store, j->id);
    q->bytes -= j->bytes;
    rlm_jobs_free_job(j);
}

void rlm_jobs_weigh(rlm_jobs *q, job *j)
{
    q->bytes -= j->bytes;
    j->bytes = rlm_store_bytes(q->options.store, j->id);
    q->bytes += j->bytes;
}

/* A visible change of state: to the file, and to all who wait. */
int rlm_jobs_save(rlm_jobs *q, job *j, rlm_error *err)
{
    cJSON *o = rlm_jobs_saved(j);
    char *text = o ? cJSON_Print(o) : NULL;
    cJSON_Delete(o);
    int code = !text ? rlm_serve_fail(err, RLM_E_NOMEM, "job: out of memory")
               : strlen(text) > JOB_FILE_LIMIT
                   ? rlm_serve_fail(err, RLM_E_RANGE, "job: its settings are too long to be kept")
                   : rlm_store_write(q->options.store, j->id, "job.json", text, strlen(text), err);
    cJSON_free(text);
    j->status_version++;
    pthread_cond_broadcast(&q->changed);
    return code;
}

void rlm_jobs_expire(rlm_jobs *q)
{
    int64_t now = rlm_serve_clock();
    pthread_mutex_lock(&q->lock);
    for (int i = q->count - 1; i >= 0; i--) {
        job *j = q->list[i];
        int over = j->status >= RLM_JOB_COMPLETED && j->expires && j->expires <= now;
        if (over)
            rlm_jobs_drop(q, j, 1);
    }
    pthread_mutex_unlock(&q->lock);
}

/* ---- The worker ------------------------------------------------------------------------------ */

void rlm_jobs_nap(rlm_jobs *q, double seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)seconds;
    until.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_cond_timedwait(&q->changed, &q->lock, &until);
}

static void set_error(job *j, const char *code, const char *text)
{
    snprintf(j->error_code, sizeof j->error_code, "%s", code);
    snprintf(j->error_text, sizeof j->error_text, "%s", text);
    rlm_paths_hide(j->error_text);
}

/* Not saved yet. */
static void end(rlm_jobs *q, job *j, int status)
{
    j->status = status;
    j->completed = rlm_serve_clock();
    j->expires = q->options.ttl > 0 ? j->completed + q->options.ttl : 0;
}

/* An end that no work led to. */
static void end_early(rlm_jobs *q, job *j, const char *code, const char *text)
{
    end(q, j, RLM_JOB_FAILED);
    set_error(j, code, text);
}

/* The job's last words. */
static void finish(rlm_jobs *q, job *j, const rlm_work *work, int code, const rlm_error *err)
{
    double took = rlm_serve_now() - j->started_at;
    q->counts.running = 0;
    if (code && j->stop == STOP_SHUTDOWN) { /* the next start takes it up again */
        j->status = RLM_JOB_QUEUED;
        j->attempts--;
        rlm_jobs_save(q, j, NULL);
        return;
    }
    j->result = work->result;
    j->result.total_s = took;
    end(q, j, code ? RLM_JOB_FAILED : RLM_JOB_COMPLETED);
    j->eta = 0;
    free_previews(j);
    q->counts.job_seconds += took;
    if (!code) {
        const rlm_job_result *t = &j->result;
        if (t->tried) { /* that seed alone makes the clip again */
            j->wish.seed = t->seed;
            j->wish.best_of = 0;
        }
        j->progress = 100;
        q->average_s = q->average_s > 0 ? 0.7 * q->average_s + 0.3 * took : took;
        q->counts.completed++;
        q->counts.prompt_tokens += t->prefix_tokens;
        q->counts.sampled_tokens += t->video_tokens + t->audio_tokens;
        q->counts.frames += t->frames;
        q->counts.prompt_seconds += t->prefill_s;
        q->counts.sample_seconds += t->sample_s;
        q->counts.decode_seconds += t->decode_s;
    } else if (j->stop == STOP_CANCELLED || j->stop == STOP_REMOVED) {
        set_error(j, "cancelled", "The job was cancelled.");
        q->counts.cancelled++;
    } else {
        q->counts.failed++;
        if (j->stop == STOP_TIMEOUT)
            set_error(j, "timeout", "The job took longer than the server allows.");
        else
            set_error(j,
                      code == RLM_E_NOMEM || code == RLM_E_LIMIT ? "out_of_memory"
                      : code == RLM_E_MEDIA                      ? "invalid_media"
                      : code == RLM_E_UNSUPPORTED                ? "not_supported"
                      : code == RLM_E_ARG || code == RLM_E_RANGE ? "invalid_request"
                                                                 : "generation_failed",
                      err->text);
    }
    if (j->stop == STOP_REMOVED) {
        j->stop = STOP_NO;
        rlm_jobs_drop(q, j, 0);
        pthread_cond_broadcast(&q->changed);
        return;
    }
    rlm_jobs_weigh(q, j);
    if (rlm_jobs_save(q, j, NULL))
        rlm_serve_log("%s: its end could not be written to the state folder", j->id);
    if (q->options.verbose)
        rlm_serve_log("%s: %s%s after %.1f s", j->id, code ? "failed: " : "completed",
                      code ? err->text : "", took);
}

static job *next_queued(rlm_jobs *q)
{
    for (int i = 0; i < q->count; i++)
        if (q->list[i]->status == RLM_JOB_QUEUED)
            return q->list[i];
    return NULL;
}

static void *work_loop(void *cookie)
{
    rlm_jobs *q = cookie;
    pthread_mutex_lock(&q->lock);
    while (!q->stopping) {
        job *j = next_queued(q);
        if (!j) {
            pthread_cond_wait(&q->changed, &q->lock);
            continue;
        }
        rlm_error err = {0};
        rlm_work work = {
            .jobs = q, .store = q->options.store, .id = j->id, .wish = &j->wish, .job = j};
        j->status = RLM_JOB_RUNNING;
        j->stop = STOP_NO;
        j->attempts++;
        j->progress = 0;
        j->started = rlm_serve_clock();
        j->started_at = rlm_serve_now();
        q->counts.running = 1;
        rlm_jobs_save(q, j, NULL);
        pthread_mutex_unlock(&q->lock);
        int code = q->options.make(q->options.cookie, &work, &err);
        pthread_mutex_lock(&q->lock);
        finish(q, j, &work, code, &err);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

int rlm_work_stopped(const rlm_work *work)
{
    rlm_jobs *q = work->jobs;
    job *j = work->job;
    pthread_mutex_lock(&q->lock);
    if (!j->stop && q->stopping)
        j->stop = STOP_SHUTDOWN;
    if (!j->stop && q->options.timeout > 0 && rlm_serve_now() - j->started_at > q->options.timeout)
        j->stop = STOP_TIMEOUT;
    int stop = j->stop;
    pthread_mutex_unlock(&q->lock);
    return stop;
}

int rlm_work_told(rlm_work *work, int stage, int64_t done, int64_t total, double eta_s)
{
    rlm_jobs *q = work->jobs;
    job *j = work->job;
    int stop = rlm_work_stopped(work);
    double now = rlm_serve_now();
    pthread_mutex_lock(&q->lock);
    if (now - j->told_at > 0.1 || stage != j->stage) { /* at most ten a second */
        double part = total > 0 ? (double)done / (double)total : 0;
        int percent = stage == RLM_STAGE_PREFILL  ? 1
                      : stage == RLM_STAGE_SAMPLE ? (int)(2 + 86 * part)
                                                  : (int)(90 + 9 * part);
        j->told_at = now;
        j->stage = stage;
        j->done = done;
        j->total = total;
        j->eta = eta_s;
        j->progress = percent > j->progress ? percent : j->progress;
        j->progress = j->progress > 99 ? 99 : j->progress;
        j->progress_version++;
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    return stop;
}

void rlm_work_preview(rlm_work *work, int first, int count, int width, int height, char *png)
{
    rlm_jobs *q = work->jobs;
    job *j = work->job;
    pthread_mutex_lock(&q->lock);
    preview *p = &j->previews[j->preview_count++ % JOB_PREVIEWS];
    free(p->png);
    *p = (preview){first, count, width, height, png};
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

/* ---- Opening and closing --------------------------------------------------------------------- */

/* A job that was open when the server ended: queued again, unless it had been cancelled. */
static void resume(rlm_jobs *q, job *j)
{
    int cancelled = j->stop == STOP_CANCELLED;
    j->stop = STOP_NO;
    j->status = RLM_JOB_QUEUED;
    j->progress = 0;
    if (cancelled)
        end_early(q, j, "cancelled", "The job was cancelled.");
    else if (j->attempts >= JOB_ATTEMPTS) /* it may be what brings the server down */
        end_early(q, j, "server_restarted", "The server stopped during each attempt at this job.");
    rlm_jobs_save(q, j, NULL);
}

/* A folder without a job's file is what a removal or a submission that was cut short left. One
 * whose file is not understood is kept: what lies in it was made for someone. */
static void load_one(void *cookie, const char *id)
{
    rlm_jobs *q = cookie;
    char *text = NULL;
    size_t bytes = 0;
    if (rlm_store_lacks(q->options.store, id, "job.json")) {
        rlm_serve_log("%s: is no whole job, removed", id);
        rlm_store_remove(q->options.store, id);
        return;
    }
    job *j = calloc(1, sizeof *j);
    int bad =
        !j || rlm_store_read(q->options.store, id, "job.json", JOB_FILE_LIMIT, &text, &bytes, NULL);
    if (!bad)
        bad = rlm_jobs_parse(j, id, text, bytes);
    free(text);
    if (bad || rlm_jobs_append(q, j)) {
        if (j)
            rlm_jobs_free_job(j);
        rlm_serve_log("%s: its job.json cannot be read; left as it is", id);
        return;
    }
    rlm_jobs_weigh(q, j);
    if (j->status == RLM_JOB_RUNNING || j->status == RLM_JOB_QUEUED)
        resume(q, j);
}

static int by_creation(const void *a, const void *b)
{
    const job *x = *(job *const *)a, *y = *(job *const *)b;
    return x->created < y->created ? -1 : x->created > y->created;
}

int rlm_jobs_open(rlm_jobs **out, const rlm_jobs_options *options, rlm_error *err)
{
    pthread_condattr_t attr;
    *out = NULL;
    rlm_jobs *q = calloc(1, sizeof *q);
    if (!q)
        return rlm_serve_fail(err, RLM_E_NOMEM, "queue: out of memory");
    q->options = *options;
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q->changed, &attr);
    pthread_condattr_destroy(&attr);
    int code = rlm_store_each(options->store, load_one, q, err);
    if (code) {
        rlm_jobs_close(&q);
        return code;
    }
    if (q->count)
        qsort(q->list, (size_t)q->count, sizeof *q->list, by_creation);
    *out = q;
    return 0;
}

int rlm_jobs_start(rlm_jobs *q, rlm_error *err)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 8 << 20);
    int bad = pthread_create(&q->worker, &attr, work_loop, q);
    pthread_attr_destroy(&attr);
    if (bad)
        return rlm_serve_fail(err, RLM_E_NOMEM, "the worker thread cannot be started");
    q->has_worker = 1;
    return 0;
}

void rlm_jobs_stop(rlm_jobs *q)
{
    pthread_mutex_lock(&q->lock);
    q->stopping = 1;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

void rlm_jobs_close(rlm_jobs **jobs)
{
    rlm_jobs *q = jobs ? *jobs : NULL;
    if (!q)
        return;
    rlm_jobs_stop(q);
    if (q->has_worker)
        pthread_join(q->worker, NULL);
    for (int i = 0; i < q->count; i++)
        rlm_jobs_free_job(q->list[i]);
    free(q->list);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    free(q);
    *jobs = NULL;
}

const char *rlm_jobs_output(const job *j)
{
    static const char *const names[RLM_FORMATS] = {"output.mp4", "output.webm", "output.mkv",
                                                   "output.gif", "output.png"};
    return names[j->wish.format];
}

/* ---- Ending ---------------------------------------------------------------------------------- */

int rlm_jobs_cancel(rlm_jobs *q, const char *id, rlm_refusal *r)
{
    pthread_mutex_lock(&q->lock);
    job *j = rlm_jobs_find(q, id);
    int code = 0;
    if (!j) {
        code = rlm_jobs_missing(q, id, r);
    } else if (j->status == RLM_JOB_RUNNING) {
        j->stop = STOP_CANCELLED;
        rlm_jobs_save(q, j, NULL); /* holds even if the server ends before the work does */
    } else if (j->status == RLM_JOB_QUEUED) {
        end_early(q, j, "cancelled", "The job was cancelled.");
        q->counts.cancelled++;
        rlm_jobs_save(q, j, NULL);
    } else {
        code = rlm_refuse(r, 409, "cannot_cancel", "video_id", "Video '%s' has already ended.", id);
    }
    pthread_mutex_unlock(&q->lock);
    return code;
}

int rlm_jobs_remove(rlm_jobs *q, const char *id, rlm_refusal *r)
{
    pthread_mutex_lock(&q->lock);
    job *j = rlm_jobs_find(q, id);
    int code = 0;
    if (!j) {
        code = rlm_jobs_missing(q, id, r);
    } else if (j->status == RLM_JOB_RUNNING) {
        j->stop = STOP_REMOVED; /* hidden from now on; the worker frees it */
        rlm_store_remove_file(q->options.store, j->id, "job.json"); /* no job at the next start */
    } else {
        q->counts.cancelled += j->status == RLM_JOB_QUEUED;
        rlm_jobs_drop(q, j, 0);
    }
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    return code;
}

int rlm_jobs_wait(rlm_jobs *q, const char *id, double seconds)
{
    double end = rlm_serve_now() + seconds;
    int state = 0;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        job *j = rlm_jobs_find(q, id);
        state = !j ? -1 : j->status >= RLM_JOB_COMPLETED;
        double left = end - rlm_serve_now();
        if (state || q->stopping || left <= 0)
            break;
        rlm_jobs_nap(q, left);
    }
    pthread_mutex_unlock(&q->lock);
    return state;
}

int rlm_jobs_content(rlm_jobs *q, const char *id, const char *variant, int64_t *bytes,
                     const char **mime, rlm_refusal *r)
{
    int fd = -1;
    pthread_mutex_lock(&q->lock);
    job *j = rlm_jobs_find(q, id);
    if (!j) {
        rlm_jobs_missing(q, id, r);
    } else if (j->status != RLM_JOB_COMPLETED) {
        rlm_refuse(r, 409, "not_ready", "video_id", "Video '%s' is %s.", id,
                   j->status == RLM_JOB_FAILED ? "failed" : "not completed yet");
    } else {
        const char *name = !strcmp(variant, "video")         ? rlm_jobs_output(j)
                           : !strcmp(variant, "thumbnail")   ? "thumbnail.png"
                           : !strcmp(variant, "spritesheet") ? "spritesheet.png"
                                                             : NULL;
        if (!name)
            rlm_refuse(r, 400, "invalid_value", "variant",
                       "Invalid 'variant': allowed are video, thumbnail and spritesheet.");
        else if ((fd = rlm_store_open_file(q->options.store, id, name, bytes)) < 0)
            rlm_refuse(r, 404, "not_found", "variant", "Video '%s' has no %.20s.", id, variant);
        *mime = name && *variant == 'v' ? rlm_format_get(j->wish.format)->mime : "image/png";
    }
    pthread_mutex_unlock(&q->lock);
    return fd;
}

void rlm_jobs_counts(rlm_jobs *q, rlm_jobs_count *count)
{
    pthread_mutex_lock(&q->lock);
    *count = q->counts;
    count->kept = q->count;
    count->queued = 0;
    for (int i = 0; i < q->count; i++)
        count->queued += q->list[i]->status == RLM_JOB_QUEUED;
    pthread_mutex_unlock(&q->lock);
}
