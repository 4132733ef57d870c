/* /v1/videos: the OpenAI video API and what local servers have added to it (docs/SERVER.md). */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cjson/cJSON.h>

#include "src/server/http.h"
#include "src/server/wish_inputs.h"

enum { EVENT_BLOCK = 64 * 1024, EVENT_SECONDS = 10, LIST_LIMIT = 100, LIST_DEFAULT = 20 };

static enum MHD_Result show(rlm_exchange *x, const char *id)
{
    rlm_refusal r;
    cJSON *o = rlm_jobs_show(x->server->jobs, id, &x->poll_ms, &r);
    return o ? rlm_reply_json(x, MHD_HTTP_OK, o) : rlm_reply_refusal(x, &r);
}

static int check_model(const rlm_exchange *x, rlm_wish *wish, rlm_refusal *r)
{
    const char *name = x->server->worker.name;
    if (wish->model[0] && strcmp(wish->model, name)) {
        if (wish->strict)
            return rlm_refuse(r, 404, "model_not_found", "model",
                              "There is no model '%.60s' here; it is called '%s'.", wish->model,
                              name);
        rlm_wish_warn(wish, "model '%.60s' is not here; made by '%.60s'", wish->model, name);
    }
    snprintf(wish->model, sizeof wish->model, "%s", name);
    return 0;
}

/* The body becomes a wish, the wish a job. source: for a remix, the job to start from. */
static int submit(rlm_exchange *x, int kind, const char *source, char id[RLM_ID_BYTES],
                  rlm_refusal *r)
{
    rlm_form *form = malloc(sizeof *form);
    rlm_wish wish = {0};
    if (!form)
        return rlm_refuse(r, 503, "out_of_memory", "", "Out of memory.");
    form->count = 0;
    form->storage = NULL;
    int code =
        rlm_form_parse(form, rlm_header(x, "Content-Type"), x->body ? x->body : "", x->bytes, r);
    if (!code && source)
        code = rlm_jobs_copy_wish(x->server->jobs, source, &wish, r);
    if (!code)
        code = source ? rlm_wish_remix(&wish, form, r) : rlm_wish_parse(&wish, kind, form, r);
    if (!code)
        code = check_model(x, &wish, r);
    if (!code)
        code = rlm_wish_settle(&wish, &x->server->worker.limits, r);
    if (!code)
        code = rlm_jobs_submit(x->server->jobs, &wish, id, r);
    rlm_wish_free(&wish);
    rlm_form_free(form);
    free(form);
    return code;
}

static enum MHD_Result submit_and_show(rlm_exchange *x, int kind, const char *source)
{
    char id[RLM_ID_BYTES];
    rlm_refusal r;
    if (submit(x, kind, source, id, &r))
        return rlm_reply_refusal(x, &r);
    return show(x, id);
}

enum MHD_Result rlm_route_create(rlm_exchange *x, const char *id)
{
    (void)id;
    return submit_and_show(x, RLM_WISH_CREATE, NULL);
}

enum MHD_Result rlm_route_edit(rlm_exchange *x, const char *id)
{
    (void)id;
    return submit_and_show(x, RLM_WISH_EDIT, NULL);
}

enum MHD_Result rlm_route_extend(rlm_exchange *x, const char *id)
{
    (void)id;
    return submit_and_show(x, RLM_WISH_EXTEND, NULL);
}

enum MHD_Result rlm_route_remix(rlm_exchange *x, const char *id)
{
    return submit_and_show(x, RLM_WISH_REMIX, id);
}

enum MHD_Result rlm_route_show(rlm_exchange *x, const char *id)
{
    return show(x, id);
}

enum MHD_Result rlm_route_characters(rlm_exchange *x, const char *id)
{
    rlm_refusal r;
    (void)id;
    rlm_refuse(&r, 501, "not_supported", "", "Characters are not supported.");
    return rlm_reply_refusal(x, &r);
}

enum MHD_Result rlm_route_list(rlm_exchange *x, const char *id)
{
    rlm_refusal r;
    const char *after = rlm_argument(x, "after"), *order = rlm_argument(x, "order");
    const char *limit = rlm_argument(x, "limit");
    char *end = NULL;
    long n = limit && *limit ? strtol(limit, &end, 10) : LIST_DEFAULT;
    (void)id;
    if ((end && *end) || n < 1 || n > LIST_LIMIT) {
        rlm_refuse(&r, 400, "number_out_of_range", "limit", "Invalid 'limit': allowed are 1 to %d.",
                   LIST_LIMIT);
        return rlm_reply_refusal(x, &r);
    }
    if (order && strcmp(order, "asc") && strcmp(order, "desc")) {
        rlm_refuse(&r, 400, "invalid_value", "order", "Invalid 'order': allowed are asc and desc.");
        return rlm_reply_refusal(x, &r);
    }
    cJSON *o = rlm_jobs_list(x->server->jobs, after && *after ? after : NULL, (int)n,
                             order && !strcmp(order, "asc"), &r);
    return o ? rlm_reply_json(x, MHD_HTTP_OK, o) : rlm_reply_refusal(x, &r);
}

enum MHD_Result rlm_route_delete(rlm_exchange *x, const char *id)
{
    rlm_refusal r;
    if (rlm_jobs_remove(x->server->jobs, id, &r))
        return rlm_reply_refusal(x, &r);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "id", id);
    cJSON_AddStringToObject(o, "object", "video.deleted");
    cJSON_AddBoolToObject(o, "deleted", 1);
    return rlm_reply_json(x, MHD_HTTP_OK, o);
}

enum MHD_Result rlm_route_cancel(rlm_exchange *x, const char *id)
{
    rlm_refusal r;
    if (rlm_jobs_cancel(x->server->jobs, id, &r))
        return rlm_reply_refusal(x, &r);
    return show(x, id);
}

static enum MHD_Result send_content(rlm_exchange *x, const char *id, const char *variant)
{
    char etag[RLM_ID_BYTES + 16], name[RLM_ID_BYTES + 32];
    rlm_refusal r;
    const char *mime = NULL;
    int64_t bytes = 0;
    int fd = rlm_jobs_content(x->server->jobs, id, variant, &bytes, &mime, &r);
    if (fd < 0)
        return rlm_reply_refusal(x, &r);
    snprintf(etag, sizeof etag, "\"%s-%c\"", id + 6, *variant);
    const char *slash = strchr(mime, '/') + 1;
    snprintf(name, sizeof name, "%s%s%s.%s", id, *variant == 'v' ? "" : "-",
             *variant == 'v' ? "" : variant, strcmp(slash, "x-matroska") ? slash : "mkv");
    return rlm_reply_file(x, fd, bytes, mime, etag, name);
}

enum MHD_Result rlm_route_content(rlm_exchange *x, const char *id)
{
    const char *variant = rlm_argument(x, "variant");
    return send_content(x, id, variant && *variant ? variant : "video");
}

/* ---- Waiting for the end --------------------------------------------------------------------- */

static int client_left(const rlm_exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd p = {.fd = info ? info->connect_fd : -1, .events = POLLIN};
    char byte;
    if (p.fd < 0 || poll(&p, 1, 0) < 1)
        return 0;
    if (p.revents & (POLLHUP | POLLERR))
        return 1;
    ssize_t n = recv(p.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* Of a failed job: the client's mistake, the server's, or neither. */
static int failure_status(const char *code)
{
    static const struct {
        const char *code;
        int status;
    } known[] = {{"invalid_media", 400}, {"invalid_request", 400}, {"cancelled", 409},
                 {"not_supported", 501}, {"out_of_memory", 503},   {"timeout", 504}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(code, known[i].code))
            return known[i].status;
    return 500;
}

enum MHD_Result rlm_route_sync(rlm_exchange *x, const char *unused)
{
    char id[RLM_ID_BYTES], reason[512] = "";
    rlm_refusal r;
    int state;
    (void)unused;
    if (submit(x, RLM_WISH_CREATE, NULL, id, &r))
        return rlm_reply_refusal(x, &r);
    while (!(state = rlm_jobs_wait(x->server->jobs, id, 0.5))) {
        if (client_left(x)) {
            rlm_jobs_remove(x->server->jobs, id, &r);
            return MHD_NO;
        }
        if (atomic_load(&x->server->stopping)) {
            rlm_refuse(&r, 503, "stopping", "", "The server is stopping; the video is %s.", id);
            return rlm_reply_refusal(x, &r);
        }
    }
    cJSON *o = state > 0 ? rlm_jobs_show(x->server->jobs, id, &x->poll_ms, &r) : NULL;
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(o, "error");
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(error, "message");
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(error, "code");
    int failed = cJSON_IsString(text) && cJSON_IsString(code);
    if (failed)
        snprintf(reason, sizeof reason, "%s", text->valuestring);
    if (failed)
        rlm_refuse(&r, failure_status(code->valuestring), code->valuestring, "", "%s", reason);
    cJSON_Delete(o);
    if (failed || state < 0) {
        if (state < 0)
            rlm_refuse(&r, 404, "not_found", "", "The video was deleted.");
        return rlm_reply_refusal(x, &r);
    }
    return send_content(x, id, "video");
}

/* ---- Events ---------------------------------------------------------------------------------- */

typedef struct stream {
    rlm_server *server;
    rlm_watch watch;
    rlm_bytes text;
    size_t at; /* sent of text */
} stream;

static ssize_t stream_read(void *cookie, uint64_t position, char *to, size_t most)
{
    stream *s = cookie;
    (void)position;
    if (s->at == s->text.used) {
        s->text.used = s->at = 0;
        if (s->watch.ended)
            return MHD_CONTENT_READER_END_OF_STREAM;
        rlm_jobs_watch(s->server->jobs, &s->watch, EVENT_SECONDS, &s->text);
        if (s->text.failed)
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t n = s->text.used - s->at;
    n = n < most ? n : most;
    memcpy(to, s->text.data + s->at, n);
    s->at += n;
    return (ssize_t)n;
}

static void stream_free(void *cookie)
{
    stream *s = cookie;
    rlm_bytes_free(&s->text);
    free(s);
}

enum MHD_Result rlm_route_events(rlm_exchange *x, const char *id)
{
    rlm_refusal r;
    int poll_ms;
    cJSON *o = rlm_jobs_show(x->server->jobs, id, &poll_ms, &r);
    if (!o)
        return rlm_reply_refusal(x, &r);
    cJSON_Delete(o);
    stream *s = calloc(1, sizeof *s);
    if (!s)
        return MHD_NO;
    s->server = x->server;
    snprintf(s->watch.id, sizeof s->watch.id, "%s", id);
    rlm_bytes_puts(&s->text, "retry: 2000\n\n");
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, EVENT_BLOCK,
                                                                      stream_read, s, stream_free);
    if (!response) {
        stream_free(s);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", "text/event-stream");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Accel-Buffering", "no");
    return rlm_reply(x, MHD_HTTP_OK, response);
}
