/* Listening to one job: server-sent events (WHATWG HTML, 9.2). Each listener remembers what it has
 * seen; a slow one gets fewer progress events, never an old one. */
#include <math.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "src/server/jobs_private.h"

static void event(rlm_bytes *out, const char *name, cJSON *data)
{
    char *text = cJSON_PrintUnformatted(data);
    rlm_bytes_printf(out, "event: %s\ndata: ", name);
    if (text)
        rlm_bytes_puts(out, text);
    else
        out->failed = 1;
    rlm_bytes_puts(out, "\n\n");
    cJSON_free(text);
    cJSON_Delete(data);
}

static void event_progress(const rlm_jobs *q, const job *j, rlm_bytes *out)
{
    static const char *const stages[] = {"prefill", "sample", "decode"};
    cJSON *o = cJSON_CreateObject();
    double eta = rlm_jobs_eta(q, j);
    cJSON_AddStringToObject(o, "id", j->id);
    cJSON_AddStringToObject(o, "stage", stages[j->stage]);
    cJSON_AddNumberToObject(o, "done", (double)j->done);
    cJSON_AddNumberToObject(o, "total", (double)j->total);
    cJSON_AddNumberToObject(o, "progress", j->progress);
    cJSON_AddNumberToObject(o, "elapsed_seconds",
                            round((rlm_serve_now() - j->started_at) * 10) / 10);
    if (eta >= 0)
        cJSON_AddNumberToObject(o, "eta_seconds", round(eta * 10) / 10);
    event(out, "progress", o);
}

/* The PNG goes into the stream as it is: base64 needs no escapes. */
static void event_preview(const job *j, const preview *p, rlm_bytes *out)
{
    rlm_bytes_printf(out,
                     "event: preview\ndata: {\"id\":\"%s\",\"first\":%d,\"count\":%d,\"width\":%d,"
                     "\"height\":%d,\"image\":\"data:image/png;base64,",
                     j->id, p->first, p->count, p->width, p->height);
    rlm_bytes_puts(out, p->png);
    rlm_bytes_puts(out, "\"}\n\n");
}

static int append_news(rlm_jobs *q, const job *j, rlm_watch *w, rlm_bytes *out)
{
    int news = 0;
    int ahead = j->status == RLM_JOB_QUEUED ? rlm_jobs_position(q, j) : 0;
    if (w->seen_status != j->status_version + 1 || w->seen_ahead != ahead) {
        w->seen_ahead = ahead;
        event(out, "status", rlm_jobs_video(q, j));
        w->seen_status = j->status_version + 1;
        news = 1;
    }
    if (j->status == RLM_JOB_RUNNING) {
        int from = w->seen_previews;
        from = from < j->preview_count - JOB_PREVIEWS ? j->preview_count - JOB_PREVIEWS : from;
        for (; from < j->preview_count; from++) {
            const preview *p = &j->previews[from % JOB_PREVIEWS];
            if (p->png)
                event_preview(j, p, out);
            news = 1;
        }
        w->seen_previews = j->preview_count;
        if (w->seen_progress != j->progress_version) {
            event_progress(q, j, out);
            w->seen_progress = j->progress_version;
            news = 1;
        }
    }
    return news;
}

int rlm_jobs_watch(rlm_jobs *q, rlm_watch *w, double seconds, rlm_bytes *out)
{
    double end = rlm_serve_now() + seconds;
    pthread_mutex_lock(&q->lock);
    while (!w->ended) {
        job *j = rlm_jobs_find(q, w->id);
        double left = end - rlm_serve_now();
        int news = j ? append_news(q, j, w, out) : 0;
        if (!j || j->status >= RLM_JOB_COMPLETED || q->stopping) {
            rlm_bytes_printf(out, "event: end\ndata: {\"id\":\"%s\",\"reason\":\"%s\"}\n\n", w->id,
                             !j                               ? "deleted"
                             : j->status == RLM_JOB_COMPLETED ? "completed"
                             : j->status == RLM_JOB_FAILED    ? "failed"
                                                              : "server_stopping");
            w->ended = 1;
        }
        if (news || w->ended)
            break;
        if (left <= 0) {
            rlm_bytes_puts(out, ": still here\n\n");
            break;
        }
        rlm_jobs_nap(q, left);
    }
    pthread_mutex_unlock(&q->lock);
    return !w->ended;
}
