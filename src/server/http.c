#include "src/server/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

const char *rlm_header(const rlm_exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

const char *rlm_argument(const rlm_exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, name);
}

static void add_cors(rlm_exchange *x, struct MHD_Response *response)
{
    if (!x->allowed)
        return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", x->allowed);
    MHD_add_response_header(response, "Vary", "Origin");
    MHD_add_response_header(response, "Access-Control-Expose-Headers",
                            "openai-poll-after-ms, x-request-id, retry-after");
}

enum MHD_Result rlm_reply(rlm_exchange *x, int status, struct MHD_Response *response)
{
    char number[24];
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "x-request-id", x->id);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (!x->allowed)
        MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
    if (x->poll_ms > 0) {
        snprintf(number, sizeof number, "%d", x->poll_ms);
        MHD_add_response_header(response, "openai-poll-after-ms", number);
    }
    add_cors(x, response);
    x->status = status;
    enum MHD_Result done = MHD_queue_response(x->connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return done;
}

static struct MHD_Response *json_response(cJSON *object)
{
    char *text = object ? cJSON_PrintUnformatted(object) : NULL;
    cJSON_Delete(object);
    if (!text)
        return NULL;
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (!r) {
        cJSON_free(text);
        return NULL;
    }
    MHD_add_response_header(r, "Content-Type", "application/json");
    MHD_add_response_header(r, "Cache-Control", "no-store");
    return r;
}

enum MHD_Result rlm_reply_json(rlm_exchange *x, int status, cJSON *object)
{
    return rlm_reply(x, status, json_response(object));
}

enum MHD_Result rlm_reply_refusal(rlm_exchange *x, const rlm_refusal *refusal)
{
    char number[24];
    cJSON *o = cJSON_CreateObject(), *e = cJSON_AddObjectToObject(o, "error");
    cJSON_AddStringToObject(e, "message", refusal->message);
    cJSON_AddStringToObject(e, "type", refusal->type);
    if (refusal->param[0])
        cJSON_AddStringToObject(e, "param", refusal->param);
    else
        cJSON_AddNullToObject(e, "param");
    cJSON_AddStringToObject(e, "code", refusal->code);
    struct MHD_Response *r = json_response(o);
    if (!r)
        return MHD_NO;
    if (refusal->retry_after) {
        snprintf(number, sizeof number, "%d", refusal->retry_after);
        MHD_add_response_header(r, "Retry-After", number);
    }
    if (refusal->status == 409 || refusal->status == 501 || refusal->status == 500)
        MHD_add_response_header(r, "x-should-retry", "false");
    if (x->range[0])
        MHD_add_response_header(r, "Content-Range", x->range);
    if (refusal->status == 401)
        MHD_add_response_header(r, "WWW-Authenticate", "Bearer");
    int hundred = refusal->status / 100;
    atomic_fetch_add(&x->server->refusals[hundred < 6 ? hundred : 0], 1);
    return rlm_reply(x, refusal->status, r);
}

enum MHD_Result rlm_reply_text(rlm_exchange *x, const char *type, rlm_bytes *text)
{
    struct MHD_Response *r = NULL;
    if (!text->failed && text->data)
        r = MHD_create_response_from_buffer(text->used, text->data, MHD_RESPMEM_MUST_FREE);
    if (!r) {
        rlm_bytes_free(text);
        return MHD_NO;
    }
    *text = (rlm_bytes){0};
    MHD_add_response_header(r, "Content-Type", type);
    MHD_add_response_header(r, "Cache-Control", "no-store");
    return rlm_reply(x, MHD_HTTP_OK, r);
}

/* "bytes=a-b", "bytes=a-", "bytes=-n": 1 when it is one satisfiable range, -1 when it is none, 0
 * for anything else: the whole file then (RFC 9110, 14.2). */
static int parse_range(const char *text, int64_t bytes, int64_t *from, int64_t *to)
{
    long long a = 0, b = 0;
    int used = 0;
    if (!text || strncmp(text, "bytes=", 6) || strlen(text) > 48)
        return 0;
    text += 6;
    if (sscanf(text, "%lld-%lld%n", &a, &b, &used) == 2 && !text[used] && a >= 0) {
        if (b < a)
            return 0;
        *from = a;
        *to = b < bytes ? b : bytes - 1;
    } else if (*text != '-' && sscanf(text, "%lld-%n", &a, &used) == 1 && used && !text[used]) {
        *from = a;
        *to = bytes - 1;
    } else if (sscanf(text, "-%lld%n", &b, &used) == 1 && !text[used] && b > 0) {
        *from = b < bytes ? bytes - b : 0;
        *to = bytes - 1;
    } else {
        return 0;
    }
    return *from < bytes ? 1 : -1;
}

enum MHD_Result rlm_reply_file(rlm_exchange *x, int fd, int64_t bytes, const char *type,
                               const char *etag, const char *name)
{
    char range[96], disposition[128];
    int64_t from = 0, to = bytes - 1;
    const char *known = rlm_header(x, "If-None-Match");
    if (known && (!strcmp(known, "*") || strstr(known, etag))) { /* a list, and W/ before each */
        close(fd);
        struct MHD_Response *same =
            MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
        if (same)
            MHD_add_response_header(same, "ETag", etag);
        return rlm_reply(x, MHD_HTTP_NOT_MODIFIED, same);
    }
    int partial = parse_range(rlm_header(x, "Range"), bytes, &from, &to);
    if (partial < 0) {
        rlm_refusal r;
        close(fd);
        snprintf(x->range, sizeof x->range, "bytes */%lld", (long long)bytes);
        rlm_refuse(&r, 416, "invalid_range", "", "The file has %lld bytes.", (long long)bytes);
        return rlm_reply_refusal(x, &r);
    }
    struct MHD_Response *r =
        MHD_create_response_from_fd_at_offset64((uint64_t)(to - from + 1), fd, (uint64_t)from);
    if (!r) {
        close(fd);
        return MHD_NO;
    }
    MHD_add_response_header(r, "Content-Type", type);
    snprintf(disposition, sizeof disposition, "inline; filename=\"%s\"", name);
    MHD_add_response_header(r, "Content-Disposition", disposition);
    MHD_add_response_header(r, "Accept-Ranges", "bytes");
    MHD_add_response_header(r, "ETag", etag);
    MHD_add_response_header(r, "Cache-Control", "private, no-cache");
    if (partial > 0) {
        snprintf(range, sizeof range, "bytes %lld-%lld/%lld", (long long)from, (long long)to,
                 (long long)bytes);
        MHD_add_response_header(r, "Content-Range", range);
    }
    return rlm_reply(x, partial > 0 ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK, r);
}
