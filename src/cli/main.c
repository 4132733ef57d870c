/* reelm: the program. Sees the public headers only. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/cli/cli.h"
#include "src/server/upload.h"

enum { CLI_TEXT_LIMIT = 16 << 20 };

static volatile sig_atomic_t interrupts, last_signal;

static void on_interrupt(int signal_number)
{
    last_signal = signal_number;
    if (interrupts++)
        _exit(128 + signal_number);
}

void cli_catch_interrupt(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void)
{
    return interrupts != 0;
}

double cli_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int cli_error(const rlm_error *err)
{
    fprintf(stderr, "reelm: %s%s\n", err->text[0] ? err->text : rlm_error_name(err->code),
            err->code == RLM_E_LIMIT ? " (--max-memory 0 tries nevertheless)" : "");
    switch (err->code) {
    case RLM_E_ARG:
    case RLM_E_RANGE:
        return EXIT_USAGE;
    case RLM_E_FORMAT:
    case RLM_E_VERSION:
    case RLM_E_MEDIA:
    case RLM_E_TOKENS:
        return EXIT_DATA;
    case RLM_E_MODEL:
        return EXIT_MODEL;
    case RLM_E_NOMEM:
    case RLM_E_LIMIT:
        return EXIT_MEMORY;
    case RLM_E_IO:
        return EXIT_IO;
    case RLM_E_CANCELLED:
        return EXIT_INTERRUPTED;
    default:
        return EXIT_FAIL;
    }
}

int cli_usage(const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    fputs("reelm: ", stderr);
    vfprintf(stderr, fmt, list);
    fputc('\n', stderr);
    va_end(list);
    return EXIT_USAGE;
}

int cli_read_text(const char *path, char **out)
{
    FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
    if (!f) {
        fprintf(stderr, "reelm: %s: %s\n", path, strerror(errno));
        return EXIT_IO;
    }
    char *text = malloc(CLI_TEXT_LIMIT + 2);
    size_t n = text ? fread(text, 1, CLI_TEXT_LIMIT + 1, f) : 0;
    int failed = ferror(f);
    if (f != stdin)
        fclose(f);
    if (!text || failed || n > CLI_TEXT_LIMIT || memchr(text, 0, n)) {
        fprintf(stderr, "reelm: %s: %s\n", path,
                !text    ? "no memory to read it"
                : failed ? "cannot be read"
                         : "is no text of at most 16 MiB");
        int code = !text ? EXIT_MEMORY : failed ? EXIT_IO : EXIT_DATA;
        free(text);
        return code;
    }
    text[n] = 0;
    *out = text;
    return 0;
}

static void log_line(void *cookie, int level, const char *text)
{
    const int *most = cookie;
    if (level <= *most)
        fprintf(stderr, "reelm: %s\n", text);
}

/* Bytes that the machine has free, within the control group's limit; 0: unknown. */
static int64_t free_memory(void)
{
    int64_t free_bytes = 0, most, used;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %" SCNd64, &free_bytes) == 1)
            free_bytes *= 1024;
    if (f)
        fclose(f);
    f = fopen("/sys/fs/cgroup/memory.max", "r");
    FILE *now = fopen("/sys/fs/cgroup/memory.current", "r");
    if (f && now && fscanf(f, "%" SCNd64, &most) == 1 && fscanf(now, "%" SCNd64, &used) == 1 &&
        most > used && most - used < free_bytes)
        free_bytes = most - used;
    if (f)
        fclose(f);
    if (now)
        fclose(now);
    return free_bytes;
}

void cli_library_options(const cli_args *a, rlm_options *o)
{
    static int level;
    level = a->quiet ? 0 : a->verbose ? 3 : 1;
    rlm_options_defaults(o);
    o->threads = (int)a->threads;
    o->cpu_mask = a->cpu_mask;
    o->weights = a->weights;
    o->cache = a->cache;
    o->deterministic = a->deterministic;
    o->max_memory = a->max_memory >= 0 ? (int64_t)(a->max_memory * 1e9) : free_memory();
    o->log = log_line;
    o->log_cookie = &level;
}

static void warn_line(void *cookie, const char *text)
{
    (void)cookie;
    fprintf(stderr, "reelm: %s\n", text);
}

void cli_write_options(const cli_args *a, rlm_write_options *w)
{
    *w = (rlm_write_options){
        .format = a->format, .crf = 18, .no_ai_mark = a->no_ai_mark, .longest = a->longest};
    w->warn = a->quiet ? NULL : warn_line;
}

void cli_read_options(const cli_args *a, rlm_want *w)
{
    rlm_want_defaults(w);
    w->warn = a->quiet ? NULL : warn_line;
}

const char *cli_embedded(const cli_args *a, const char *settings)
{
    if (!settings || !a->no_metadata)
        return settings;
    return a->no_ai_mark || !strstr(settings, "\"ai_generated\"")
               ? NULL
               : "{\"generator\":\"reelm " RLM_VERSION "\",\"ai_generated\":true}";
}

const char *cli_asset(const char *name, char *path, size_t room)
{
    static const char *const tries[] = {"%s/assets/%s", "%s/../assets/%s", "%s/../../assets/%s",
                                        "%s/../share/reelm/%s"};
    char self[3900];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    for (size_t i = 0; n > 0 && i < sizeof tries / sizeof tries[0]; i++) {
        snprintf(path, room, tries[i], self, name);
        if (!access(path, R_OK))
            return path;
    }
    snprintf(path, room, "assets/%s", name);
    return path;
}

const char *cli_model_dir(const cli_args *a)
{
    static char path[4096];
    return a->model ? a->model : cli_asset("models/default", path, sizeof path);
}

static int run(const cli_args *a)
{
    int count;
    const cli_verb *v = cli_verbs(&count);
    while (v->bit != a->verb)
        v++;
    return v->run(a);
}

/* Called at the end of every way out: what stdout lost is a failure. */
static int end(int code)
{
    bool lost = ferror(stdout);
    lost |= fflush(stdout) != 0;
    if (!lost || code != EXIT_DONE)
        return code;
    fputs("reelm: stdout: write failed\n", stderr);
    return EXIT_IO;
}

/* --help, --version and their like, which need no verb; false: argv names one. */
static bool is_about(int argc, char **argv)
{
    if (!strcmp(argv[1], "--version"))
        puts("reelm " RLM_VERSION " (" RLM_BUILD ")");
    else if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
             (!strcmp(argv[1], "help") && argc == 2))
        cli_help(0);
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    cli_args args;
    if (argc < 2)
        return cli_usage("a verb is missing; see reelm --help");
    if (is_about(argc, argv))
        return end(EXIT_DONE);
    if (!strcmp(argv[1], "help")) {
        argv[1] = argv[2]; /* reelm help VERB = reelm VERB --help */
        argv[2] = "--help";
        argc = 3;
    }
    if (!strcmp(argv[1], RLM_UPLOAD_VERB)) /* the server's own child */
        return rlm_upload_child(argc - 2, argv + 2);
    int code = cli_parse(&args, argc, argv);
    if (code)
        return code;
    if (args.help)
        cli_help(args.verb);
    else if (args.print_config)
        cli_print_config(&args);
    else
        code = run(&args);
    if (code == EXIT_INTERRUPTED && last_signal == SIGTERM)
        code = EXIT_TERMINATED;
    return end(code);
}
