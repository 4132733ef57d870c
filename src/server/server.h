/* reelm serve: the HTTP API and the web page (docs/SERVER.md). The room's door for the command
 * line. */
#ifndef RLM_SERVER_SERVER_H
#define RLM_SERVER_SERVER_H

#include "src/reelm.h"

typedef struct rlm_serve_options {
    const char *host;         /* address to bind; default "127.0.0.1" */
    int port;                 /* default 8080; 0: any free one */
    const char *model_dir;    /* needed */
    const char *judge;        /* weights of the judge that best_of asks; NULL: none */
    rlm_options library;      /* for rlm_open */
    const char *api_keys;     /* accepted keys, separated by commas; NULL: none */
    const char *api_key_file; /* one key a line, '#' starts a comment; NULL: none */
    const char *state_dir;    /* where jobs live on; NULL: a temporary folder */
    const char *allow_hosts;  /* more names that the Host header may carry, by commas; NULL */
    const char *cors_origins; /* origins of pages that may call, by commas; NULL: only our own */
    int max_queue;            /* waiting jobs, 1..4096; default 64 */
    int max_jobs;             /* kept in all, 8..65536; default 1000 */
    int64_t job_ttl;          /* seconds a finished job is kept; default 86400; 0: for ever */
    int64_t max_upload;       /* bytes of one request; default 64 MiB */
    int64_t max_state;        /* bytes of all kept jobs; default 4 GiB; 0: no limit */
    double max_seconds;       /* of one clip; default 60 */
    double timeout;           /* seconds one job may take; default 3600; 0: no limit */
    int rate_limit;           /* changing requests a second and address; default 50; 0: no limit */
    int max_connections;      /* default 256 */
    int insecure;             /* 1: another address than loopback without a key */
    int no_page;              /* 1: the API alone */
    int verbose;              /* 1: one line a request on stderr */
    /* Called once when the server listens, with its address as http://HOST:PORT. */
    void (*listening)(void *cookie, const char *url);
    void *cookie;
} rlm_serve_options;
void rlm_serve_options_defaults(rlm_serve_options *options);

/* Serve until SIGTERM or SIGINT; then finishes cleanly (a second signal ends at once) and returns
 * 0. All else is an error. Must be called before other threads are started. */
int rlm_serve(const rlm_serve_options *options, rlm_error *err);

#endif
