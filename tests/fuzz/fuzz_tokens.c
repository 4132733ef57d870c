/* A token file: read, its settings, cut, joined, written and read again. */
#include "tests/fuzz/fuzz.h"

#include "src/pipeline.h"

static void again(rlm_codes *v, const rlm_codes *a)
{
    char path[128];
    rlm_codes v2 = {0}, a2 = {0};
    snprintf(path, sizeof path, "%s/again.rtok", fuzz_dir());
    /* a file may lack the tokenizer's name; without an engine such a grid is not written */
    if (rlm_tokens_write(NULL, path, v->count ? v : NULL, a->count ? a : NULL, NULL))
        return;
    FUZZ_CHECK(!rlm_tokens_read(NULL, path, &v2, &a2, NULL, NULL));
    FUZZ_CHECK(v2.count == v->count && a2.count == a->count);
    FUZZ_CHECK(!v->count || !memcmp(v->ids, v2.ids, (size_t)v->count * sizeof *v->ids));
    FUZZ_CHECK(!a->count || !memcmp(a->ids, a2.ids, (size_t)a->count * sizeof *a->ids));
    FUZZ_CHECK(v2.window_count == v->window_count && v2.true_frames == v->true_frames);
    FUZZ_CHECK(v2.still_count == v->still_count);
    for (int i = 0; i < v->still_count; i++)
        FUZZ_CHECK(v2.still_frames[i] == v->still_frames[i]);
    if (v->count && !rlm_codes_join(v, &v2, NULL))
        FUZZ_CHECK(v->dims[0] == 2 * v2.dims[0] && v->count == 2 * v2.count);
    rlm_codes_free(&v2);
    rlm_codes_free(&a2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);
    char *json = NULL;
    rlm_codes v = {0}, a = {0};
    rlm_error err = {0};
    if (rlm_tokens_read(NULL, path, &v, &a, &json, &err)) {
        FUZZ_CHECK(err.text[0] && !v.ids && !a.ids && !json);
        return 0;
    }
    rlm_string_free(&json);
    FUZZ_CHECK(v.count == (int64_t)v.dims[0] * v.dims[1] * v.dims[2]);
    again(&v, &a);
    if (v.count && !rlm_codes_cut(&v, 0, (v.dims[0] + 1) / 2, NULL))
        FUZZ_CHECK(v.count == (int64_t)v.dims[0] * v.dims[1] * v.dims[2]);
    rlm_codes_free(&v);
    rlm_codes_free(&a);
    return 0;
}
