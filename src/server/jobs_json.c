/* A job as the API's Video object, and as its file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/server/jobs_private.h"

static const char *const status_names[] = {"queued", "in_progress", "completed", "failed"};
static const char *const stage_names[] = {"prefill", "sample", "decode"};

static void add_seconds(cJSON *o, const char *name, double seconds)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", seconds);
    cJSON_AddStringToObject(o, name, text);
}

static void add_size(cJSON *o, const char *name, int width, int height)
{
    char text[32];
    snprintf(text, sizeof text, "%dx%d", width, height);
    cJSON_AddStringToObject(o, name, text);
}

static void add_time(cJSON *o, const char *name, int64_t when)
{
    if (when)
        cJSON_AddNumberToObject(o, name, (double)when);
    else
        cJSON_AddNullToObject(o, name);
}

static void add_text(cJSON *o, const char *name, const char *text)
{
    if (text && *text)
        cJSON_AddStringToObject(o, name, text);
    else
        cJSON_AddNullToObject(o, name);
}

/* What was asked, where it was asked for. */
static void add_requested(cJSON *o, const rlm_wish *w)
{
    cJSON *asked = cJSON_AddObjectToObject(o, "requested");
    if (w->asked_width || w->asked_height)
        add_size(asked, "size", w->asked_width, w->asked_height);
    if (w->asked_frames)
        cJSON_AddNumberToObject(asked, "num_frames", w->asked_frames);
    if (w->asked_seconds > 0)
        add_seconds(asked, "seconds", w->asked_seconds);
}

static void add_result(cJSON *o, const job *j)
{
    const rlm_job_result *t = &j->result;
    cJSON *usage = cJSON_AddObjectToObject(o, "usage");
    cJSON_AddNumberToObject(usage, "prefix_tokens", (double)t->prefix_tokens);
    cJSON_AddNumberToObject(usage, "video_tokens", (double)t->video_tokens);
    cJSON_AddNumberToObject(usage, "audio_tokens", (double)t->audio_tokens);
    cJSON_AddNumberToObject(usage, "prefill_s", round(t->prefill_s * 1000) / 1000);
    cJSON_AddNumberToObject(usage, "sample_s", round(t->sample_s * 1000) / 1000);
    cJSON_AddNumberToObject(usage, "decode_s", round(t->decode_s * 1000) / 1000);
    cJSON_AddNumberToObject(o, "inference_time_s", round(t->total_s * 1000) / 1000);
    cJSON_AddNumberToObject(o, "bytes", (double)t->bytes);
    if (t->token_sha256[0])
        cJSON_AddStringToObject(o, "token_sha256", t->token_sha256);
    if (!t->tried)
        return;
    cJSON *chosen = cJSON_AddObjectToObject(o, "chosen");
    cJSON_AddNumberToObject(chosen, "of", t->tried);
    rlm_json_integer(chosen, "first_seed", t->first_seed);
    cJSON_AddNumberToObject(chosen, "facts_asked", t->facts_asked);
    cJSON_AddNumberToObject(chosen, "facts_shown", t->facts_shown);
}

static void add_warnings(cJSON *o, const job *j)
{
    const rlm_wish *w = &j->wish;
    cJSON *list = cJSON_AddArrayToObject(o, "warnings");
    for (int i = 0; i < w->warning_count; i++)
        rlm_json_append_text(list, w->warnings[i]);
    if (j->result.note[0])
        rlm_json_append_text(list, j->result.note);
}

static void add_shape(cJSON *o, const job *j)
{
    const rlm_wish *w = &j->wish;
    int done = j->status == RLM_JOB_COMPLETED;
    double fps = done && j->result.fps > 0 ? j->result.fps : w->fps;
    int frames = done ? j->result.frames : w->frames;
    if (done)
        add_seconds(o, "seconds", j->result.seconds);
    else
        add_seconds(o, "seconds",
                    w->kind == RLM_WISH_EXTEND ? w->seconds
                    : fps > 0                  ? w->frames / fps
                                               : 0);
    if (done)
        add_size(o, "size", j->result.width, j->result.height);
    else if (w->width)
        add_size(o, "size", w->width, w->height);
    else
        cJSON_AddNullToObject(o, "size");
    cJSON_AddNumberToObject(o, "num_frames", frames);
    cJSON_AddNumberToObject(o, "fps", fps);
}

cJSON *rlm_jobs_video(const rlm_jobs *q, const job *j)
{
    const rlm_wish *w = &j->wish;
    double eta = rlm_jobs_eta(q, j);
    int open = j->status <= RLM_JOB_RUNNING;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", j->id);
    cJSON_AddStringToObject(o, "object", "video");
    cJSON_AddStringToObject(o, "model", w->model);
    cJSON_AddStringToObject(o, "status", status_names[j->status]);
    cJSON_AddNumberToObject(o, "progress", j->progress);
    add_time(o, "created_at", (int64_t)j->created);
    add_time(o, "completed_at", j->completed);
    add_time(o, "expires_at", j->expires);
    add_text(o, "prompt", w->prompt);
    add_shape(o, j);
    add_text(o, "remixed_from_video_id", w->remixed_from);
    if (j->error_code[0]) {
        cJSON *e = cJSON_AddObjectToObject(o, "error");
        cJSON_AddStringToObject(e, "code", j->error_code);
        cJSON_AddStringToObject(e, "message", j->error_text);
    } else {
        cJSON_AddNullToObject(o, "error");
    }
    rlm_json_integer(o, "seed", w->seed);
    cJSON_AddStringToObject(o, "format", rlm_format_get(w->format)->name);
    cJSON_AddItemToObject(o, "settings", rlm_wish_settings(w));
    cJSON *inputs = cJSON_AddArrayToObject(o, "inputs");
    for (int i = 0; i < w->input_count; i++)
        rlm_json_append_text(inputs, rlm_input_role_name(w->inputs[i].role));
    add_requested(o, w);
    add_warnings(o, j);
    if (open && eta >= 0)
        cJSON_AddNumberToObject(o, "eta_seconds", round(eta * 10) / 10);
    if (j->status == RLM_JOB_QUEUED)
        cJSON_AddNumberToObject(o, "queue_position", rlm_jobs_position(q, j));
    if (j->status == RLM_JOB_RUNNING)
        cJSON_AddStringToObject(o, "stage", stage_names[j->stage]);
    if (j->status == RLM_JOB_COMPLETED)
        add_result(o, j);
    return o;
}

/* ---- The job's file -------------------------------------------------------------------------- */

/* Numbers of rlm_job_result by name. */
typedef struct number_row {
    const char *name;
    size_t at;
    int kind; /* 0: int, 1: int64_t, 2: double */
} number_row;

#define AT(field) offsetof(rlm_job_result, field)
static const number_row numbers[] = {
    {"width", AT(width), 0},
    {"height", AT(height), 0},
    {"frames", AT(frames), 0},
    {"task", AT(task), 0},
    {"tried", AT(tried), 0},
    {"facts_asked", AT(facts_asked), 0},
    {"facts_shown", AT(facts_shown), 0},
    {"seed", AT(seed), 1},
    {"first_seed", AT(first_seed), 1},
    {"fps", AT(fps), 2},
    {"seconds", AT(seconds), 2},
    {"prefix_tokens", AT(prefix_tokens), 1},
    {"video_tokens", AT(video_tokens), 1},
    {"audio_tokens", AT(audio_tokens), 1},
    {"bytes", AT(bytes), 1},
    {"prefill_s", AT(prefill_s), 2},
    {"sample_s", AT(sample_s), 2},
    {"decode_s", AT(decode_s), 2},
    {"total_s", AT(total_s), 2},
};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

/* NULL when there is no memory for all of it: a job's file is whole or is the one before. */
cJSON *rlm_jobs_saved(const job *j)
{
    cJSON *o = cJSON_CreateObject(), *wish = rlm_wish_save(&j->wish);
    int whole = wish && cJSON_AddItemToObject(o, "wish", wish);
    if (!whole)
        cJSON_Delete(wish);
    cJSON *t = cJSON_AddObjectToObject(o, "result");
    whole = whole && t && cJSON_AddNumberToObject(o, "version", 1) &&
            cJSON_AddStringToObject(o, "status", status_names[j->status]) &&
            cJSON_AddBoolToObject(o, "cancelled", j->stop == STOP_CANCELLED) &&
            cJSON_AddNumberToObject(o, "attempts", j->attempts) &&
            cJSON_AddNumberToObject(o, "created", j->created) &&
            cJSON_AddNumberToObject(o, "completed", (double)j->completed) &&
            cJSON_AddNumberToObject(o, "expires", (double)j->expires) &&
            cJSON_AddStringToObject(o, "error_code", j->error_code) &&
            cJSON_AddStringToObject(o, "error_text", j->error_text) &&
            cJSON_AddStringToObject(t, "note", j->result.note) &&
            cJSON_AddStringToObject(t, "token_sha256", j->result.token_sha256);
    for (int i = 0; i < NUMBERS && whole; i++) {
        const void *at = (const char *)&j->result + numbers[i].at;
        double v = numbers[i].kind == 0   ? *(const int *)at
                   : numbers[i].kind == 1 ? (double)*(const int64_t *)at
                                          : *(const double *)at;
        whole = cJSON_AddNumberToObject(t, numbers[i].name, v) != NULL;
    }
    if (whole)
        return o;
    cJSON_Delete(o);
    return NULL;
}

static double number_of(const cJSON *o, const char *name)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);
    double v = cJSON_IsNumber(n) ? n->valuedouble : 0;
    return v >= 0 && v < 9e15 ? v : 0;
}

static void text_of(const cJSON *o, const char *name, char *to, size_t room)
{
    const cJSON *t = cJSON_GetObjectItemCaseSensitive(o, name);
    snprintf(to, room, "%s", cJSON_IsString(t) ? t->valuestring : "");
}

static void parse_result(job *j, const cJSON *t)
{
    text_of(t, "note", j->result.note, sizeof j->result.note);
    text_of(t, "token_sha256", j->result.token_sha256, sizeof j->result.token_sha256);
    for (int i = 0; i < NUMBERS; i++) {
        void *at = (char *)&j->result + numbers[i].at;
        double v = number_of(t, numbers[i].name);
        if (numbers[i].kind == 0)
            *(int *)at = v < 1e9 ? (int)v : 0;
        else if (numbers[i].kind == 1)
            *(int64_t *)at = (int64_t)v;
        else
            *(double *)at = v;
    }
}

int rlm_jobs_parse(job *j, const char *id, const char *text, size_t bytes)
{
    rlm_refusal r;
    char status[24];
    cJSON *o = cJSON_ParseWithLength(text, bytes);
    int code = -1;
    text_of(o, "status", status, sizeof status);
    for (int i = 0; i < 4; i++)
        if (!strcmp(status, status_names[i])) {
            j->status = i;
            code = 0;
        }
    if (number_of(o, "version") != 1)
        code = -1;
    snprintf(j->id, sizeof j->id, "%s", id);
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "cancelled")))
        j->stop = STOP_CANCELLED;
    j->attempts = (int)fmin(number_of(o, "attempts"), 1000);
    j->created = number_of(o, "created");
    j->completed = (int64_t)number_of(o, "completed");
    j->expires = (int64_t)number_of(o, "expires");
    text_of(o, "error_code", j->error_code, sizeof j->error_code);
    text_of(o, "error_text", j->error_text, sizeof j->error_text);
    parse_result(j, cJSON_GetObjectItemCaseSensitive(o, "result"));
    j->progress = j->status == RLM_JOB_COMPLETED ? 100 : 0;
    if (!code)
        code = rlm_wish_load(&j->wish, cJSON_GetObjectItemCaseSensitive(o, "wish"), &r);
    cJSON_Delete(o);
    return code;
}

/* ---- Answers --------------------------------------------------------------------------------- */

cJSON *rlm_jobs_show(rlm_jobs *q, const char *id, int *poll_ms, rlm_refusal *r)
{
    cJSON *o = NULL;
    pthread_mutex_lock(&q->lock);
    job *j = rlm_jobs_find(q, id);
    if (j) {
        double eta = rlm_jobs_eta(q, j);
        double ms = eta < 0 ? 1000 : eta * 250;
        *poll_ms = ms < 200 ? 200 : ms > 5000 ? 5000 : (int)ms;
        o = rlm_jobs_video(q, j);
    } else {
        rlm_jobs_missing(q, id, r);
    }
    pthread_mutex_unlock(&q->lock);
    return o;
}

cJSON *rlm_jobs_list(rlm_jobs *q, const char *after, int limit, int ascending, rlm_refusal *r)
{
    cJSON *o = cJSON_CreateObject(), *data = cJSON_AddArrayToObject(o, "data");
    int started = !after, more = 0, n = 0;
    const char *first = NULL, *last = NULL;
    cJSON_AddStringToObject(o, "object", "list");
    pthread_mutex_lock(&q->lock);
    if (after && !rlm_jobs_find(q, after)) {
        rlm_jobs_missing(q, after, r);
        snprintf(r->param, sizeof r->param, "after");
        pthread_mutex_unlock(&q->lock);
        cJSON_Delete(o);
        return NULL;
    }
    for (int i = 0; i < q->count; i++) {
        const job *j = q->list[ascending ? i : q->count - 1 - i];
        if (j->stop == STOP_REMOVED)
            continue;
        if (!started) {
            started = !strcmp(j->id, after);
            continue;
        }
        if (n == limit) {
            more = 1;
            break;
        }
        cJSON_AddItemToArray(data, rlm_jobs_video(q, j));
        first = first ? first : j->id;
        last = j->id;
        n++;
    }
    add_text(o, "first_id", first);
    add_text(o, "last_id", last);
    pthread_mutex_unlock(&q->lock);
    cJSON_AddBoolToObject(o, "has_more", more);
    return o;
}
