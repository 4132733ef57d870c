/* Which path is answered by whom, and the routes about the server itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/server/http.h"

typedef struct route {
    const char *method, *path; /* one "*" stands for an id */
    enum MHD_Result (*answer)(rlm_exchange *x, const char *id);
    int open; /* 1: needs no key */
} route;

/* First match wins: "/v1/videos/edits" stands before "/v1/videos/ *". */
static const route routes[] = {
    {"GET", "/health", rlm_route_health, 1},
    {"GET", "/v1/health", rlm_route_health, 1},
    {"GET", "/v1/models", rlm_route_models, 0},
    {"GET", "/models", rlm_route_models, 0},
    {"GET", "/props", rlm_route_props, 0},
    {"GET", "/metrics", rlm_route_metrics, 0},
    {"POST", "/v1/videos", rlm_route_create, 0},
    {"GET", "/v1/videos", rlm_route_list, 0},
    {"POST", "/v1/videos/sync", rlm_route_sync, 0},
    {"POST", "/v1/videos/edits", rlm_route_edit, 0},
    {"POST", "/v1/videos/extensions", rlm_route_extend, 0},
    {"POST", "/v1/videos/characters", rlm_route_characters, 0},
    {"GET", "/v1/videos/characters/*", rlm_route_characters, 0},
    {"GET", "/v1/videos/*", rlm_route_show, 0},
    {"DELETE", "/v1/videos/*", rlm_route_delete, 0},
    {"GET", "/v1/videos/*/content", rlm_route_content, 0},
    {"GET", "/v1/videos/*/events", rlm_route_events, 0},
    {"POST", "/v1/videos/*/remix", rlm_route_remix, 0},
    {"POST", "/v1/videos/*/cancel", rlm_route_cancel, 0},
};
enum { ROUTES = sizeof routes / sizeof routes[0] };

/* 1 when url is of the form of path; id gets what stands for the "*". */
static int matches(const char *path, const char *url, char id[RLM_ID_BYTES])
{
    const char *star = strchr(path, '*');
    size_t head = star ? (size_t)(star - path) : strlen(path);
    id[0] = 0;
    if (!star)
        return !strcmp(path, url);
    if (strncmp(path, url, head))
        return 0;
    size_t n = strcspn(url + head, "/");
    if (!n || strcmp(star + 1, url + head + n))
        return 0;
    snprintf(id, RLM_ID_BYTES, "%.*s", (int)(n < RLM_ID_BYTES ? n : RLM_ID_BYTES - 1), url + head);
    return 1;
}

static int is_api(const char *url)
{
    static const char *const heads[] = {"/v1/", "/props", "/metrics", "/models", "/health"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        if (!strncmp(url, heads[i], strlen(heads[i])))
            return 1;
    return 0;
}

int rlm_route_is_open(const rlm_exchange *x)
{
    char id[RLM_ID_BYTES];
    for (int i = 0; i < ROUTES; i++)
        if (matches(routes[i].path, x->url, id))
            return routes[i].open;
    return !is_api(x->url);
}

static int same_method(const char *method, const char *route_method)
{
    return !strcmp(method, route_method) ||
           (!strcmp(method, "HEAD") && !strcmp(route_method, "GET"));
}

static enum MHD_Result not_allowed(rlm_exchange *x, const char *allow)
{
    cJSON *o = cJSON_CreateObject(), *e = cJSON_AddObjectToObject(o, "error");
    char text[128];
    snprintf(text, sizeof text, "%.16s is not allowed here; allowed are %s.", x->method, allow);
    cJSON_AddStringToObject(e, "message", text);
    cJSON_AddStringToObject(e, "type", "invalid_request_error");
    cJSON_AddNullToObject(e, "param");
    cJSON_AddStringToObject(e, "code", "method_not_allowed");
    char *body = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    struct MHD_Response *r =
        body ? MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_MUST_FREE) : NULL;
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, "Content-Type", "application/json");
    MHD_add_response_header(r, "Allow", allow);
    return rlm_reply(x, MHD_HTTP_METHOD_NOT_ALLOWED, r);
}

enum MHD_Result rlm_route(rlm_exchange *x)
{
    char id[RLM_ID_BYTES], allow[64] = "";
    rlm_refusal r;
    for (int i = 0; i < ROUTES; i++) {
        if (!matches(routes[i].path, x->url, id))
            continue;
        if (same_method(x->method, routes[i].method))
            return routes[i].answer(x, id);
        size_t n = strlen(allow);
        snprintf(allow + n, sizeof allow - n, "%s%s", n ? ", " : "", routes[i].method);
    }
    if (allow[0])
        return not_allowed(x, allow);
    if (!is_api(x->url) && !x->server->options->no_page)
        return same_method(x->method, "GET") ? rlm_route_page(x) : not_allowed(x, "GET");
    rlm_refuse(&r, 404, "not_found", "", "There is nothing at '%.200s'.", x->url);
    return rlm_reply_refusal(x, &r);
}

/* ---- About the server ------------------------------------------------------------------------ */

enum MHD_Result rlm_route_health(rlm_exchange *x, const char *id)
{
    rlm_refusal r;
    (void)id;
    if (!atomic_load(&x->server->ready) || atomic_load(&x->server->stopping)) {
        rlm_refuse(&r, 503, "unavailable", "", "%s",
                   atomic_load(&x->server->stopping) ? "The server is stopping." : "Loading model");
        r.retry_after = 1;
        return rlm_reply_refusal(x, &r);
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "status", "ok");
    return rlm_reply_json(x, MHD_HTTP_OK, o);
}

static void add_strings(cJSON *o, const char *name, const char *const *list)
{
    cJSON *a = cJSON_AddArrayToObject(o, name);
    for (; *list; list++)
        cJSON_AddItemToArray(a, cJSON_CreateString(*list));
}

enum MHD_Result rlm_route_models(rlm_exchange *x, const char *id)
{
    static const char *const in[] = {"text", "image", "video", "audio", NULL};
    static const char *const out[] = {"video", "audio", "image", NULL};
    rlm_server *s = x->server;
    (void)id;
    cJSON *o = cJSON_CreateObject(), *data = cJSON_AddArrayToObject(o, "data");
    cJSON *m = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "object", "list");
    cJSON_AddItemToArray(data, m);
    cJSON_AddStringToObject(m, "id", s->worker.name);
    cJSON_AddStringToObject(m, "object", "model");
    cJSON_AddNumberToObject(m, "created", (double)s->started);
    cJSON_AddStringToObject(m, "owned_by", "reelm");
    cJSON *a = cJSON_AddObjectToObject(m, "architecture");
    add_strings(a, "input_modalities", in);
    add_strings(a, "output_modalities", out);
    if (s->worker.info)
        cJSON_AddItemToObject(m, "meta", cJSON_Parse(s->worker.info));
    return rlm_reply_json(x, MHD_HTTP_OK, o);
}

/* A float as the thousandths it was written in, not as its binary digits. */
static void add_rounded(cJSON *o, const char *name, float value)
{
    cJSON_AddNumberToObject(o, name, (int)(value * 1000 + 0.5) / 1000.0);
}

static void add_defaults(cJSON *o, const rlm_wish_limits *l)
{
    rlm_request r;
    cJSON *d = cJSON_AddObjectToObject(o, "defaults");
    rlm_request_defaults(&r);
    cJSON_AddNumberToObject(d, "width", l->width);
    cJSON_AddNumberToObject(d, "height", l->height);
    cJSON_AddNumberToObject(d, "num_frames", l->frames);
    cJSON_AddNumberToObject(d, "fps", l->fps);
    add_rounded(d, "temperature", r.video.temperature);
    add_rounded(d, "motion_temperature", r.motion.temperature);
    add_rounded(d, "audio_temperature", r.audio_sampling.temperature);
    cJSON_AddNumberToObject(d, "top_k", r.video.top_k);
    add_rounded(d, "top_p", r.video.top_p);
    add_rounded(d, "min_p", r.video.min_p);
    add_rounded(d, "guidance_scale", r.video.cfg_scale);
    add_rounded(d, "motion_guidance_scale", r.motion.cfg_scale);
    add_rounded(d, "audio_guidance_scale", r.audio_sampling.cfg_scale);
}

enum MHD_Result rlm_route_props(rlm_exchange *x, const char *id)
{
    const rlm_serve_options *p = x->server->options;
    const rlm_wish_limits *l = &x->server->worker.limits;
    (void)id;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "build", "reelm " RLM_VERSION);
    cJSON_AddStringToObject(o, "model", x->server->worker.name);
    add_defaults(o, l);
    cJSON *f = cJSON_AddArrayToObject(o, "tasks");
    for (int i = 0; rlm_wish_task_name(i); i++)
        cJSON_AddItemToArray(f, cJSON_CreateString(rlm_wish_task_name(i)));
    f = cJSON_AddArrayToObject(o, "output_formats");
    for (int i = 0; i < RLM_FORMATS; i++)
        cJSON_AddItemToArray(f, cJSON_CreateString(rlm_format_get(i)->name));
    f = cJSON_AddArrayToObject(o, "fields");
    for (int i = 0; rlm_wish_field_name(i); i++)
        cJSON_AddItemToArray(f, cJSON_CreateString(rlm_wish_field_name(i)));
    cJSON *m = cJSON_AddObjectToObject(o, "limits");
    cJSON_AddNumberToObject(m, "min_side", 16);
    cJSON_AddNumberToObject(m, "max_side", 1024);
    cJSON_AddNumberToObject(m, "max_cells", (double)l->max_cells);
    cJSON_AddNumberToObject(m, "max_frames", 256);
    cJSON_AddNumberToObject(m, "max_seconds", l->seconds);
    cJSON_AddNumberToObject(m, "max_upload_bytes", (double)p->max_upload);
    cJSON_AddNumberToObject(m, "max_queue", p->max_queue);
    cJSON_AddNumberToObject(m, "job_ttl_seconds", (double)p->job_ttl);
    cJSON_AddNumberToObject(m, "max_prompt_bytes", RLM_FORM_TEXT_BYTES);
    cJSON_AddNumberToObject(m, "max_prompts", RLM_WISH_PROMPTS);
    cJSON_AddNumberToObject(m, "max_overlap", l->overlap_most);
    cJSON_AddNumberToObject(m, "overlap_step", l->overlap_step);
    cJSON_AddNumberToObject(m, "max_best_of", l->asks ? RLM_BATCH_MAX : 1);
    cJSON_AddBoolToObject(o, "has_sound", l->has_sound);
    cJSON_AddBoolToObject(o, "needs_key", x->server->keys.count > 0);
    return rlm_reply_json(x, MHD_HTTP_OK, o);
}
