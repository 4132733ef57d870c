/* The command line as the library's options; where the model and the other assets are. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/cli/cli.h"

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
