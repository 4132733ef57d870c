/* Whatever a client sends on one connection: the bytes go through a socket to libmicrohttpd and our
 * handlers, jobs and store, with a key and without (first byte). Jobs make nothing. Every answer
 * must be HTTP, and none may be a success without the key where one is needed. */
#include "tests/fuzz/fuzz.h"

#include "src/server/server.c"

#include <poll.h>

enum { ROUNDS = 200, ANSWER = 1 << 16 };

static int make_nothing(void *cookie, rlm_work *work, rlm_error *err)
{
    (void)cookie;
    rlm_work_told(work, 1, 1, 2, 3);
    return rlm_serve_fail(err, RLM_E_UNSUPPORTED, "this server makes nothing");
}

static rlm_server *open_server(void)
{
    static rlm_server *s;
    static rlm_serve_options o;
    if (s)
        return s;
    s = calloc(1, sizeof *s);
    rlm_serve_options_defaults(&o);
    o.max_jobs = 8;
    o.max_queue = 4;
    o.max_upload = 1 << 16;
    o.rate_limit = 0;
    o.cors_origins = "https://a.example";
    s->options = &o;
    pthread_mutex_init(&s->rates.lock, NULL);
    pthread_mutex_init(&s->peers.lock, NULL);
    FUZZ_CHECK(!rlm_store_open(&s->store, fuzz_dir(), NULL));
    rlm_jobs_options jobs = {.store = &s->store, .max_queue = 4, .max_jobs = 8};
    jobs.max_bytes = 1 << 22;
    jobs.make = make_nothing;
    FUZZ_CHECK(!rlm_jobs_open(&s->jobs, &jobs, NULL) && !rlm_jobs_start(s->jobs, NULL));
    strcpy(s->worker.name, "none");
    s->worker.info = strdup("{}");
    s->worker.limits = (rlm_wish_limits){128, 128, 17, 8, 60, 1458, 1, 4, 13, NULL};
    s->daemon =
        MHD_start_daemon(MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_request, s,
                         MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_NOTIFY_CONNECTION,
                         on_connection, s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)2 * HEAD_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    FUZZ_CHECK(s->daemon);
    atomic_store(&s->ready, 1);
    return s;
}

static void check_answer(const char *text, size_t n, int locked, const uint8_t *sent, size_t size)
{
    static const char key[] = "secret-of-the-server";
    int status = 0;
    if (!n)
        return;
    FUZZ_CHECK(n > 12 && !memcmp(text, "HTTP/1.", 7));
    status = atoi(text + 9);
    FUZZ_CHECK(status >= 200 && status < 600);
    if (locked && !memmem(sent, size, key, sizeof key - 1))
        FUZZ_CHECK(!memmem(text, n, "\"object\":\"video\"", 16));
    FUZZ_CHECK(!memmem(text, n, fuzz_dir(), strlen(fuzz_dir()))); /* nor where the jobs lie */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char answer[ANSWER];
    rlm_server *s = open_server();
    struct sockaddr_in from = {.sin_family = AF_INET};
    int sv[2], locked = size && (*data & 1);
    size_t got = 0;
    if (size < 2 || size > 1 << 15)
        return 0;
    if (memmem(data, size, fuzz_dir(), strlen(fuzz_dir())))
        return 0; /* a prompt that names the folder would be found in later answers */
    memset(&s->keys, 0, sizeof s->keys);
    if (locked)
        FUZZ_CHECK(!rlm_keys_read(&s->keys, "secret-of-the-server", NULL, NULL));
    FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv));
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    FUZZ_CHECK(MHD_add_connection(s->daemon, sv[0], (struct sockaddr *)&from, sizeof from) ==
               MHD_YES);
    FUZZ_CHECK(send(sv[1], data + 1, size - 1, MSG_NOSIGNAL) == (ssize_t)(size - 1));
    shutdown(sv[1], SHUT_WR);
    for (int i = 0; i < ROUNDS; i++) {
        MHD_run(s->daemon);
        ssize_t n = recv(sv[1], answer + got, sizeof answer - got, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            break;
        got += n > 0 ? (size_t)n : 0;
        if (got == sizeof answer)
            break;
    }
    check_answer(answer, got, locked, data + 1, size - 1);
    close(sv[1]);
    MHD_run(s->daemon);
    MHD_run(s->daemon);
    return 0;
}
