/* A safetensors file: everything in it is looked at, and what was read is written and read again.
 */
#include "tests/fuzz/fuzz.h"

#include "src/base/mem.h"
#include "src/nn/safetensors.h"

static void write_again(const rlm_safetensors *st)
{
    char path[128];
    rlm_st_writer w;
    rlm_safetensors back;
    snprintf(path, sizeof path, "%s/again", fuzz_dir());
    rlm_st_writer_init(&w);
    for (int i = 0; i < st->count; i++)
        rlm_st_add(&w, st->entries[i].name, &st->entries[i].tensor, st->entries[i].tensor.dtype);
    for (int i = 0; i < st->meta_count; i++)
        rlm_st_add_meta(&w, st->meta[2 * i], st->meta[2 * i + 1]);
    FUZZ_CHECK(!rlm_st_commit(&w, path, NULL));
    rlm_st_writer_free(&w);
    FUZZ_CHECK(!rlm_st_open(&back, path, NULL));
    FUZZ_CHECK(back.count == st->count && back.meta_count == st->meta_count);
    for (int i = 0; i < st->count; i++) {
        const rlm_tensor *a = &st->entries[i].tensor;
        const rlm_tensor *b = rlm_st_find(&back, st->entries[i].name);
        FUZZ_CHECK(b && rlm_tensor_count(a) == rlm_tensor_count(b) && a->dtype == b->dtype);
        size_t n = (size_t)rlm_tensor_count(a) * rlm_dtype_bytes(a->dtype);
        FUZZ_CHECK(!n || !memcmp(a->data, b->data, n));
    }
    rlm_st_close(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rlm_safetensors st;
    rlm_error err = {0};
    if (rlm_st_open(&st, fuzz_file(data, size), &err)) {
        FUZZ_CHECK(err.code < 0 && err.text[0]);
        return 0;
    }
    for (int i = 0; i < st.count; i++) {
        const rlm_tensor *t = rlm_st_find(&st, st.entries[i].name);
        FUZZ_CHECK(t == &st.entries[i].tensor);
        float *x = rlm_alloc((size_t)rlm_tensor_count(t) * sizeof *x);
        if (x)
            rlm_st_to_f32(t, x);
        rlm_free(x);
    }
    for (int i = 0; i < st.meta_count; i++)
        FUZZ_CHECK(rlm_st_meta(&st, st.meta[2 * i]));
    write_again(&st);
    rlm_st_close(&st);
    return 0;
}
