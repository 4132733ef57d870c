/* One request and its answer, above libmicrohttpd. Private to the files that speak HTTP. */
#ifndef RLM_SERVER_HTTP_H
#define RLM_SERVER_HTTP_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "src/server/form.h"
#include "src/server/guard.h"
#include "src/server/jobs.h"
#include "src/server/server.h"
#include "src/server/worker.h"

struct cJSON;

typedef struct rlm_server {
    const rlm_serve_options *options;
    struct MHD_Daemon *daemon;
    rlm_store store;
    rlm_jobs *jobs;
    rlm_worker worker;
    rlm_keys keys;
    rlm_rates rates;
    rlm_peers peers;
    int64_t started; /* seconds since 1970 */
    atomic_int ready, stopping;
    atomic_llong body_bytes;            /* of all requests being received */
    atomic_llong requests, refusals[6]; /* by hundreds of the status */
} rlm_server;

typedef struct rlm_exchange {
    rlm_server *server;
    struct MHD_Connection *connection;
    const char *method, *url;
    rlm_peer *peer;
    char id[RLM_ID_BYTES]; /* x-request-id */
    char *body;
    size_t bytes, room;
    int poll_ms;         /* > 0: the answer carries openai-poll-after-ms */
    const char *allowed; /* origin that gets CORS headers, or NULL */
    int status;          /* answered */
    int dropped;         /* the body found no room; what follows of it is read and forgotten */
    char range[32];      /* Content-Range of a refusal, or "" */
} rlm_exchange;

/* All replies return what MHD wants from the handler, and take over what they are given. */
enum MHD_Result rlm_reply_json(rlm_exchange *x, int status, struct cJSON *object);
enum MHD_Result rlm_reply_refusal(rlm_exchange *x, const rlm_refusal *refusal);
enum MHD_Result rlm_reply_text(rlm_exchange *x, const char *type, rlm_bytes *text);
/* A file, whole or the range that was asked for. name: to save it as. */
enum MHD_Result rlm_reply_file(rlm_exchange *x, int fd, int64_t bytes, const char *type,
                               const char *etag, const char *name);
/* Queue a response after adding the headers that all have. */
enum MHD_Result rlm_reply(rlm_exchange *x, int status, struct MHD_Response *response);

const char *rlm_header(const rlm_exchange *x, const char *name);   /* of the request, or NULL */
const char *rlm_argument(const rlm_exchange *x, const char *name); /* of the query, or NULL */

/* ---- Routes: each answers one request -------------------------------------------------------- */

/* The request's path and method decide. */
enum MHD_Result rlm_route(rlm_exchange *x);
/* Paths that need no key: health and the page. */
int rlm_route_is_open(const rlm_exchange *x);

enum MHD_Result rlm_route_create(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_sync(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_list(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_show(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_delete(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_content(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_remix(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_edit(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_extend(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_cancel(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_events(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_characters(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_health(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_models(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_props(rlm_exchange *x, const char *id);
enum MHD_Result rlm_route_metrics(rlm_exchange *x, const char *id);
/* The page's file at x->url, or 404. */
enum MHD_Result rlm_route_page(rlm_exchange *x);

#endif
