/* A request's body as the server takes it: the first line is the Content-Type, the rest the body.
 * Fields, then the wish, then its file and back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/server/wish.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void wish(const rlm_form *form, int kind)
{
    static const rlm_wish_limits limits = {128, 128, 17, 8, 60, 1458, 1, 4, 13, NULL};
    rlm_wish *w = calloc(2, sizeof *w);
    rlm_refusal r;
    if (!rlm_wish_parse(w, kind, form, &r) && !rlm_wish_settle(w, &limits, &r)) {
        cJSON *saved = rlm_wish_save(w);
        if (rlm_wish_load(w + 1, saved, &r)) /* what was taken can be read back */
            abort();
        cJSON *again = rlm_wish_save(w + 1);
        if (!cJSON_Compare(saved, again, 1))
            abort();
        cJSON_Delete(saved);
        cJSON_Delete(again);
    }
    rlm_wish_free(w);
    rlm_wish_free(w + 1);
    free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
    if (!line || line - data > 200)
        return 0;
    char type[208];
    size_t n = size - (size_t)(line + 1 - data);
    memcpy(type, data, (size_t)(line - data));
    type[line - data] = 0;
    char *body = malloc(n + 1);
    rlm_form *form = malloc(sizeof *form);
    rlm_refusal r;
    if (n)
        memcpy(body, line + 1, n);
    if (!rlm_form_parse(form, type, body, n, &r))
        for (int kind = RLM_WISH_CREATE; kind <= RLM_WISH_EXTEND; kind++)
            wish(form, kind);
    rlm_form_free(form);
    free(form);
    free(body);
    return 0;
}
