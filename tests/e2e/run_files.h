/* What runs wrote: their journals, checkpoints and weights. */
#ifndef RLM_TESTS_E2E_RUN_FILES_H
#define RLM_TESTS_E2E_RUN_FILES_H

#include "src/nn/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `key` in the first and last line of a run's journal that have it; 0: none has. */
static inline void read_journal(const char *run, const char *key, double *first, double *last)
{
    char path[300], line[1024], quoted[64];
    snprintf(path, sizeof path, "%s/metrics.jsonl", run);
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    FILE *f = fopen(path, "r");
    *first = *last = 0;
    while (f && fgets(line, sizeof line, f)) {
        const char *at = strstr(line, quoted);
        if (!at)
            continue;
        *last = atof(at + strlen(quoted));
        if (*first == 0)
            *first = *last;
    }
    if (f)
        fclose(f);
}

/* A run folder `part` that holds only the checkpoint of `step` of the run `whole`. */
static inline bool copy_checkpoint(const char *whole, const char *part, int step)
{
    rlm_error err;
    char *text = NULL, *file = NULL, name[64], list[256], from[300], to[300];
    size_t bytes, length;
    snprintf(from, sizeof from, "%s/latest", whole);
    snprintf(name, sizeof name, "step_%07d", step);
    const char *line = rlm_file_read(from, 4096, &text, &length, &err) ? NULL : strstr(text, name);
    if (line)
        snprintf(list, sizeof list, "%.*s\n", (int)strcspn(line, "\n"), line);
    snprintf(to, sizeof to, "%s/checkpoints", part);
    bool ok = line && !rlm_mkdirs(to, &err);
    snprintf(from, sizeof from, "%s/checkpoints/%s.safetensors", whole, name);
    snprintf(to, sizeof to, "%s/checkpoints/%s.safetensors", part, name);
    ok = ok && !rlm_file_read(from, 1 << 28, &file, &bytes, &err) &&
         !rlm_file_write(to, file, bytes, &err);
    snprintf(to, sizeof to, "%s/latest", part);
    ok = ok && !rlm_file_write(to, list, strlen(list), &err);
    rlm_free(text);
    rlm_free(file);
    return ok;
}

static inline bool same_file(const char *a, const char *b)
{
    rlm_error err;
    char *x = NULL, *y = NULL;
    size_t nx = 0, ny = 0;
    bool same = !rlm_file_read(a, 1 << 26, &x, &nx, &err) &&
                !rlm_file_read(b, 1 << 26, &y, &ny, &err) && nx == ny && !memcmp(x, y, nx);
    rlm_free(x);
    rlm_free(y);
    return same;
}

/* Tensors of file a that begin with `prefix` and are other in b; -1: none begins so. */
static inline int changed(const char *a, const char *b, const char *prefix)
{
    rlm_error err;
    rlm_safetensors x = {0}, y = {0};
    int differ = -1;
    if (!rlm_st_open(&x, a, &err) && !rlm_st_open(&y, b, &err))
        for (int i = 0; i < x.count; i++) {
            const rlm_tensor *s = &x.entries[i].tensor;
            const rlm_tensor *t = rlm_st_find(&y, x.entries[i].name);
            if (strncmp(x.entries[i].name, prefix, strlen(prefix)) || !t)
                continue;
            size_t bytes = (size_t)rlm_tensor_count(s) * rlm_dtype_bytes(s->dtype);
            differ = (differ < 0 ? 0 : differ) + (memcmp(s->data, t->data, bytes) != 0);
        }
    rlm_st_close(&x);
    rlm_st_close(&y);
    return differ;
}

#endif
