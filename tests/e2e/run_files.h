/* Comparing what runs wrote. */
#ifndef RLM_TESTS_E2E_RUN_FILES_H
#define RLM_TESTS_E2E_RUN_FILES_H

#include "src/nn/safetensors.h"

#include <string.h>

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
