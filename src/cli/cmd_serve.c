/* serve. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/cli/cli.h"
#include "src/server/server.h"

/* The address is the result: on stdout, at once, for whoever started us. */
static void listening(void *cookie, const char *url)
{
    const cli_args *a = cookie;
    printf("%s\n", url);
    fflush(stdout);
    if (!a->quiet)
        fprintf(stderr, "reelm: serving %s at %s\n", cli_model_dir(a), url);
}

/* Out of the list of processes that everyone may read. */
static void wipe(const char *secret)
{
    if (secret)
        memset((char *)secret, '*',
               strlen(secret)); /* argv or the environment, which are ours to write */
}

int cmd_serve(const cli_args *a)
{
    rlm_serve_options o;
    rlm_error err = {0};
    char keys[16384] = "", judge[4096];
    rlm_serve_options_defaults(&o);
    cli_library_options(a, &o.library);
    if (a->api_key) {
        if (strlen(a->api_key) >= sizeof keys)
            return cli_usage("--api-key: %zu letters are too many", strlen(a->api_key));
        snprintf(keys, sizeof keys, "%s", a->api_key);
        o.api_keys = keys;
        wipe(a->api_key);
    }
    o.api_key_file = a->api_key_file;
    o.model_dir = cli_model_dir(a);
    cli_asset("world/judge.safetensors", judge, sizeof judge);
    o.judge = access(judge, R_OK) ? NULL : judge;
    o.state_dir = a->state_dir;
    o.allow_hosts = a->allow_host;
    o.cors_origins = a->cors_origins;
    o.insecure = a->insecure;
    o.no_page = a->no_webui;
    o.verbose = a->verbose;
    if (a->host)
        o.host = a->host;
    if (a->port >= 0)
        o.port = (int)a->port;
    if (a->queue)
        o.max_queue = (int)a->queue;
    if (a->job_ttl >= 0)
        o.job_ttl = a->job_ttl;
    if (a->max_upload)
        o.max_upload = a->max_upload << 20;
    if (a->max_state >= 0)
        o.max_state = a->max_state << 20;
    if (a->rate_limit >= 0)
        o.rate_limit = (int)a->rate_limit;
    if (a->timeout >= 0)
        o.timeout = a->timeout;
    if (a->max_clip > 0)
        o.max_seconds = a->max_clip;
    o.listening = listening;
    o.cookie = (void *)a;
    return rlm_serve(&o, &err) ? cli_error(&err) : EXIT_DONE;
}
