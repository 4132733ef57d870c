/* The server's life: listening socket, libmicrohttpd, signals; and what every request passes before
 * it is answered. */
#define _GNU_SOURCE
#include "src/server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "src/server/http.h"

enum {
    IDLE_SECONDS = 60,      /* a connection without a byte in either direction */
    HEAD_BYTES = 16 * 1024, /* of a request line and headers */
    URL_BYTES = 2048,
    BODIES = 4, /* times max_upload: all bodies being received */
    FIRST_BODY_BYTES = 16 * 1024,
    LAST_SECONDS = 2, /* for answers under way when the server stops */
    THREAD_STACK = 512 * 1024
};

void rlm_serve_options_defaults(rlm_serve_options *o)
{
    *o = (rlm_serve_options){.host = "127.0.0.1",
                             .port = 8080,
                             .max_queue = 64,
                             .max_jobs = 1000,
                             .job_ttl = 86400,
                             .max_upload = 64 << 20,
                             .max_state = (int64_t)4 << 30,
                             .max_seconds = 60,
                             .timeout = 3600,
                             .rate_limit = 50,
                             .max_connections = 256};
    rlm_options_defaults(&o->library);
}

/* ---- One request ----------------------------------------------------------------------------- */

static int changes(const char *method)
{
    return strcmp(method, "GET") && strcmp(method, "HEAD") && strcmp(method, "OPTIONS");
}

static int check_key(const rlm_exchange *x, rlm_refusal *r)
{
    const char *given = rlm_header(x, "Authorization"), *key = "";
    if (!x->server->keys.count || rlm_route_is_open(x) || !strcmp(x->method, "OPTIONS"))
        return 0;
    if (given && !strncasecmp(given, "Bearer ", 7))
        key = given + 7;
    else if ((given = rlm_header(x, "x-api-key")))
        key = given;
    if (rlm_keys_match(&x->server->keys, key))
        return 0;
    return rlm_refuse(r, 401, "invalid_api_key", "",
                      *key ? "Invalid API key." : "Send the API key as Authorization: Bearer KEY.");
}

static int check_origin(rlm_exchange *x, rlm_refusal *r)
{
    const rlm_serve_options *o = x->server->options;
    const char *host = rlm_header(x, "Host"), *origin = rlm_header(x, "Origin");
    const char *site = rlm_header(x, "Sec-Fetch-Site");
    int asks_health = !strcmp(x->url, "/health") || !strcmp(x->url, "/v1/health");
    if (!x->server->keys.count && !asks_health && !rlm_host_allowed(host, o->allow_hosts))
        return rlm_refuse(r, 403, "host_not_allowed", "",
                          "The Host header names another server; see --allow-host.");
    if (origin && rlm_list_has(o->cors_origins, origin, strlen(origin)))
        x->allowed = origin;
    else if (changes(x->method) &&
             ((origin && !rlm_origin_allowed(origin, host, o->cors_origins)) ||
              (!origin && site && !strcasecmp(site, "cross-site"))))
        return rlm_refuse(r, 403, "origin_not_allowed", "",
                          "Pages of another origin may not change anything here; see "
                          "--cors-origins.");
    return 0;
}

static void address_of(const rlm_exchange *x, char *to, size_t room)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *a = info ? info->client_addr : NULL;
    *to = 0;
    if (a && a->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, to, (socklen_t)room);
    else if (a && a->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, to, (socklen_t)room);
}

/* All that can be said from the headers alone, before any of the body is read. */
static int check_head(rlm_exchange *x, rlm_refusal *r)
{
    rlm_server *s = x->server;
    char address[64];
    const char *length = rlm_header(x, "Content-Length");
    if (check_origin(x, r) || check_key(x, r))
        return -1;
    if (!atomic_load(&s->ready) && !rlm_route_is_open(x)) {
        rlm_refuse(r, 503, "unavailable", "", "Loading model");
        r->retry_after = 1;
        return -1;
    }
    if (strlen(x->url) > URL_BYTES)
        return rlm_refuse(r, 414, "uri_too_long", "", "The path is longer than %d bytes.",
                          URL_BYTES);
    if (length && strtoll(length, NULL, 10) > s->options->max_upload)
        return rlm_refuse(r, 413, "body_too_large", "", "A request may have %lld bytes.",
                          (long long)s->options->max_upload);
    address_of(x, address, sizeof address);
    if (changes(x->method) &&
        !rlm_rates_take(&s->rates, address, s->options->rate_limit, rlm_serve_now())) {
        rlm_refuse(r, 429, "rate_limit_exceeded", "", "More than %d requests a second.",
                   s->options->rate_limit);
        r->retry_after = 1;
        return -1;
    }
    if (changes(x->method) && atomic_load(&s->stopping))
        return rlm_refuse(r, 503, "stopping", "", "The server is stopping.");
    return 0;
}

static int grow(rlm_exchange *x, size_t more)
{
    rlm_server *s = x->server;
    size_t need = x->bytes + more + 2, room = x->room ? x->room : FIRST_BODY_BYTES;
    while (room < need)
        room *= 2;
    if (room == x->room)
        return 0;
    int64_t all = atomic_fetch_add(&s->body_bytes, (int64_t)(room - x->room));
    char *grown = all + (int64_t)(room - x->room) > BODIES * s->options->max_upload
                      ? NULL
                      : realloc(x->body, room);
    if (!grown) {
        atomic_fetch_sub(&s->body_bytes, (int64_t)(room - x->room));
        return -1;
    }
    x->body = grown;
    x->room = room;
    return 0;
}

static void drop_body(rlm_exchange *x)
{
    atomic_fetch_sub(&x->server->body_bytes, (int64_t)x->room);
    free(x->body);
    x->body = NULL;
    x->room = 0;
    x->dropped = 1;
}

/* Said when all of the body has come: before, clients do not listen. */
static enum MHD_Result no_room(rlm_exchange *x)
{
    rlm_refusal r;
    rlm_refuse(&r, 503, "unavailable", "", "Too much is being uploaded at once; try again.");
    r.retry_after = 1;
    return rlm_reply_refusal(x, &r);
}

static enum MHD_Result preflight(rlm_exchange *x)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    const char *asked = rlm_header(x, "Access-Control-Request-Headers");
    if (r && x->allowed) { /* clients send headers of their own; the origin is who is trusted */
        MHD_add_response_header(r, "Access-Control-Allow-Methods", "GET, POST, DELETE");
        MHD_add_response_header(r, "Access-Control-Allow-Headers",
                                asked && *asked ? asked : "authorization, content-type, x-api-key");
        MHD_add_response_header(r, "Access-Control-Max-Age", "600");
    }
    return rlm_reply(x, MHD_HTTP_NO_CONTENT, r);
}

static enum MHD_Result first_call(rlm_server *s, struct MHD_Connection *connection, const char *url,
                                  const char *method, void **state)
{
    rlm_refusal r;
    rlm_exchange *x = calloc(1, sizeof *x);
    if (!x)
        return MHD_NO;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    x->server = s;
    x->connection = connection;
    x->url = url;
    x->method = method;
    x->peer = info ? info->socket_context : NULL;
    rlm_id_make(x->id, "req_");
    *state = x;
    atomic_fetch_add(&s->requests, 1);
    rlm_peers_phase(&s->peers, x->peer, RLM_PEER_BODY, 0);
    return check_head(x, &r) ? rlm_reply_refusal(x, &r) : MHD_YES;
}

static enum MHD_Result on_request(void *cookie, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *bytes, void **state)
{
    rlm_server *s = cookie;
    rlm_exchange *x = *state;
    (void)version;
    if (!x)
        return first_call(s, connection, url, method, state);
    if (*bytes) {
        if ((int64_t)(x->bytes + *bytes) > s->options->max_upload)
            return MHD_NO; /* it came in chunks, without a length: there is no polite way out */
        if (!x->dropped && grow(x, *bytes))
            drop_body(x);
        if (!x->dropped)
            memcpy(x->body + x->bytes, data, *bytes);
        x->bytes += *bytes;
        *bytes = 0;
        rlm_peers_phase(&s->peers, x->peer, RLM_PEER_BODY, (int64_t)x->bytes);
        return MHD_YES;
    }
    rlm_peers_phase(&s->peers, x->peer, RLM_PEER_REPLY, (int64_t)x->bytes);
    if (x->dropped)
        return no_room(x);
    return !strcmp(method, "OPTIONS") ? preflight(x) : rlm_route(x);
}

static void on_completed(void *cookie, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    rlm_server *s = cookie;
    rlm_exchange *x = *state;
    (void)connection, (void)code;
    if (!x)
        return;
    if (s->options->verbose)
        rlm_serve_log("%s %.200s %d", x->method, x->url, x->status);
    rlm_peers_phase(&s->peers, x->peer, RLM_PEER_IDLE, 0);
    atomic_fetch_sub(&s->body_bytes, (int64_t)x->room);
    free(x->body);
    free(x);
    *state = NULL;
}

static void on_connection(void *cookie, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    rlm_server *s = cookie;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = info ? rlm_peers_add(&s->peers, info->connect_fd) : NULL;
    } else {
        rlm_peers_remove(&s->peers, *context);
        *context = NULL;
    }
}

/* ---- Listening ------------------------------------------------------------------------------- */

static int listen_on(const char *host, int port, int *bound, rlm_error *err)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    host = strcasecmp(host, "localhost") ? host : "127.0.0.1";
    int is4 = inet_pton(AF_INET, host, &v4.sin_addr) == 1, yes = 1;
    if (!is4 && inet_pton(AF_INET6, host, &v6.sin6_addr) != 1)
        return rlm_serve_fail(err, RLM_E_ARG, "--host: '%.80s' is no address in numbers", host);
    const struct sockaddr *at = is4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    socklen_t size = is4 ? sizeof v4 : sizeof v6;
    int fd = socket(is4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (fd < 0 || bind(fd, at, size) || listen(fd, 128)) {
        int saved = errno;
        if (fd >= 0)
            close(fd);
        rlm_serve_fail(err, RLM_E_IO, "%s port %d: %s", host, port, strerror(saved));
        return RLM_E_IO;
    }
    getsockname(fd, is4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6, &size);
    *bound = ntohs(is4 ? v4.sin_port : v6.sin6_port);
    return fd;
}

/* systemd's Type=notify: one datagram to the socket it names. */
static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!path || (*path != '/' && *path != '@') || strlen(path) >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path, strlen(path));
    if (*path == '@')
        to.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (fd >= 0) {
        (void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to, size);
        close(fd);
    }
}

static int start_http(rlm_server *s, int fd, rlm_error *err)
{
    const rlm_serve_options *o = s->options;
    s->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_ITC,
        0, NULL, NULL, on_request, s, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)o->max_connections, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)2 * HEAD_BYTES,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)THREAD_STACK, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_END);
    if (!s->daemon) {
        close(fd);
        return rlm_serve_fail(err, RLM_E_INTERNAL, "the HTTP server cannot be started");
    }
    return 0;
}

/* Until SIGTERM or SIGINT; once a second, housekeeping. */
static void run_until_signal(rlm_server *s, const sigset_t *signals)
{
    struct timespec second = {1, 0};
    for (;;) {
        int got = sigtimedwait(signals, NULL, &second);
        if (got == SIGTERM || got == SIGINT)
            return;
        rlm_peers_sweep(&s->peers, rlm_serve_now());
        rlm_jobs_expire(s->jobs);
    }
}

static int check_options(const rlm_serve_options *o, rlm_server *s, rlm_error *err)
{
    if (!o->model_dir)
        return rlm_serve_fail(err, RLM_E_ARG, "no model directory was named");
    int code = rlm_keys_read(&s->keys, o->api_keys, o->api_key_file, err);
    if (!code && !s->keys.count && !o->insecure && !rlm_address_is_loopback(o->host))
        code = rlm_serve_fail(err, RLM_E_ARG,
                              "--host %.80s is reachable by others: give --api-key or "
                              "--api-key-file (or --insecure)",
                              o->host);
    return code;
}

static int serve_open(rlm_server *s, int *port, rlm_error *err)
{
    const rlm_serve_options *o = s->options;
    int fd = listen_on(o->host, o->port, port, err);
    if (fd < 0)
        return fd;
    int code = rlm_store_open(&s->store, o->state_dir, err);
    rlm_jobs_options jobs = {.store = &s->store,
                             .max_queue = o->max_queue,
                             .max_jobs = o->max_jobs,
                             .max_bytes = o->max_state,
                             .ttl = o->job_ttl,
                             .timeout = o->timeout,
                             .verbose = o->verbose,
                             .make = rlm_worker_make,
                             .cookie = &s->worker};
    if (!code)
        code = rlm_jobs_open(&s->jobs, &jobs, err);
    if (code) {
        close(fd);
        return code;
    }
    code = start_http(s, fd, err); /* answers 503 until the model is there */
    if (!code)
        code =
            rlm_worker_open(&s->worker, o->model_dir, o->judge, &o->library, o->max_seconds, err);
    if (!code)
        code = rlm_jobs_start(s->jobs, err);
    return code;
}

/* No new connections; those who wait are told that the server stops, then all are closed. */
static void last_answers(rlm_server *s)
{
    struct timespec pause = {0, 20 * 1000000};
    int listening = MHD_quiesce_daemon(s->daemon);
    double end = rlm_serve_now() + LAST_SECONDS;
    while (rlm_peers_answered(&s->peers) && rlm_serve_now() < end)
        nanosleep(&pause, NULL);
    MHD_stop_daemon(s->daemon);
    if (listening != MHD_INVALID_SOCKET)
        close(listening);
}

static void serve_close(rlm_server *s)
{
    atomic_store(&s->stopping, 1);
    if (s->jobs)
        rlm_jobs_stop(s->jobs);
    if (s->daemon)
        last_answers(s);
    rlm_jobs_close(&s->jobs);
    rlm_worker_close(&s->worker);
    if (s->store.path[0])
        rlm_store_close(&s->store);
    pthread_mutex_destroy(&s->rates.lock);
    pthread_mutex_destroy(&s->peers.lock);
    free(s);
}

int rlm_serve(const rlm_serve_options *options, rlm_error *err)
{
    sigset_t signals, before;
    char url[128];
    int port = 0;
    rlm_server *s = calloc(1, sizeof *s);
    if (!s)
        return rlm_serve_fail(err, RLM_E_NOMEM, "server: out of memory");
    s->options = options;
    s->store.fd = s->store.lock_fd = -1;
    s->started = rlm_serve_clock();
    pthread_mutex_init(&s->rates.lock, NULL);
    pthread_mutex_init(&s->peers.lock, NULL);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error like a full disk */
    pthread_sigmask(SIG_BLOCK, &signals, &before); /* for all threads to come */
    int code = check_options(options, s, err);
    if (!code)
        code = serve_open(s, &port, err);
    if (!code) {
        int v6 = strchr(options->host, ':') != NULL;
        snprintf(url, sizeof url, v6 ? "http://[%.80s]:%d" : "http://%.80s:%d", options->host,
                 port);
        atomic_store(&s->ready, 1);
        if (options->listening)
            options->listening(options->cookie, url);
        notify("READY=1");
        run_until_signal(s, &signals);
        notify("STOPPING=1");
    }
    /* a second signal ends at once */
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    serve_close(s);
    return code;
}
