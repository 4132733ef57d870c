/* Parameters and the safetensors reader and writer. */
#include "tests/folder.h"
#include "tests/test.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "src/base/rng.h"
#include "src/nn/params.h"

/* ---- safetensors: what is written is read ---------------------------------------------------- */

static rlm_tensor view(void *data, rlm_dtype dtype, int64_t a, int64_t b)
{
    return rlm_tensor_view(data, dtype, 2, (int64_t[]){a, b});
}

static void written_tensors_are_read(void)
{
    float f[6] = {0, -1.5f, 3.25f, 1e30f, -0.0f, 7}, out[6];
    int32_t i32[2] = {-5, 1 << 20};
    int16_t i16[3] = {-300, 0, 300};
    uint8_t u8[5] = {0, 1, 2, 254, 255};
    uint16_t f16[6] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000, 0x7c00};
    rlm_tensor tf = view(f, RLM_F32, 2, 3), ti = view(i32, RLM_I32, 1, 2);
    rlm_tensor ts = view(i16, RLM_I16, 3, 1), tu = view(u8, RLM_U8, 5, 1);
    rlm_tensor th = view(f16, RLM_F16, 6, 1), te = view(f, RLM_F32, 0, 4);
    rlm_st_writer w;
    rlm_error err = {0};
    rlm_st_writer_init(&w);
    rlm_st_add(&w, "bytes", &tu, RLM_U8); /* odd size first: order must not unalign the others */
    rlm_st_add(&w, "f", &tf, RLM_F32);
    rlm_st_add(&w, "f as bf16", &tf, RLM_BF16);
    rlm_st_add(&w, "half", &th, RLM_F16);
    rlm_st_add(&w, "i \"quoted\" \xc3\xa9", &ti, RLM_I32);
    rlm_st_add(&w, "short", &ts, RLM_I16);
    rlm_st_add(&w, "empty", &te, RLM_F32);
    rlm_st_add_meta(&w, "format", "pt");
    rlm_st_add_meta(&w, "k", "v \"x\"\n");
    const char *path = in_folder("round.safetensors");
    CHECK(rlm_st_commit(&w, path, &err) == 0);
    CHECK_STR(err.text, "");
    rlm_st_writer_free(&w);

    rlm_safetensors st;
    CHECK(rlm_st_open(&st, path, &err) == 0);
    CHECK_STR(err.text, "");
    CHECK(st.count == 7 && st.meta_count == 2);
    CHECK_STR(rlm_st_meta(&st, "k"), "v \"x\"\n");
    CHECK(rlm_st_meta(&st, "absent") == NULL && rlm_st_find(&st, "absent") == NULL);
    CHECK(strlen(rlm_st_hash(&st)) == 64);
    const rlm_tensor *t = rlm_st_find(&st, "f");
    CHECK(t && t->dtype == RLM_F32 && t->rank == 2 && t->shape[0] == 2 && t->shape[1] == 3);
    CHECK((uintptr_t)t->data % 64 == 0 && memcmp(t->data, f, sizeof f) == 0);
    t = rlm_st_find(&st, "f as bf16");
    rlm_st_to_f32(t, out);
    for (int i = 0; i < 6; i++)
        CHECK(out[i] == rlm_unbf16(rlm_bf16(f[i])));
    CHECK(out[1] == -1.5f && signbit(out[4]));
    t = rlm_st_find(&st, "i \"quoted\" \xc3\xa9");
    CHECK(t && (uintptr_t)t->data % 4 == 0 && memcmp(t->data, i32, sizeof i32) == 0);
    rlm_st_to_f32(t, out);
    CHECK(out[0] == -5 && out[1] == 1 << 20);
    rlm_st_to_f32(rlm_st_find(&st, "short"), out);
    CHECK(out[0] == -300 && out[2] == 300);
    rlm_st_to_f32(rlm_st_find(&st, "bytes"), out);
    CHECK(out[3] == 254);
    rlm_st_to_f32(rlm_st_find(&st, "half"), out);
    CHECK(out[0] == 1 && out[1] == -2 && out[2] == ldexpf(1, -24) && out[3] == 65504);
    CHECK(out[4] == 0 && signbit(out[4]) && isinf(out[5]));
    CHECK(rlm_tensor_count(rlm_st_find(&st, "empty")) == 0);
    rlm_st_close(&st);
    rlm_st_close(&st);
}

/* ---- safetensors: what must be refused ------------------------------------------------------- */

/* A file of `header` and `bytes` zero bytes of data; length UINT64_MAX: the true one. */
static int open_made(const char *header, size_t bytes, uint64_t length, rlm_error *err)
{
    static char file[1 << 16];
    size_t n = strlen(header);
    uint64_t stated = length == UINT64_MAX ? n : length;
    memcpy(file, &stated, 8);
    memcpy(file + 8, header, n);
    memset(file + 8 + n, 0, bytes);
    const char *path = in_folder("made.safetensors");
    if (rlm_file_write(path, file, 8 + n + bytes, err))
        return 1;
    rlm_safetensors st;
    int code = rlm_st_open(&st, path, err);
    rlm_st_close(&st);
    return code;
}

#define T(dtype, shape, from, to)                                                                  \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static void damaged_files_are_refused(void)
{
    static const struct {
        const char *header, *says;
        size_t bytes;
        uint64_t length;
    } bad[] = {
        {"", "header", 0, 0},
        {"{}", "header of", 0, 3},
        {"{}", "header of", 0, (uint64_t)1 << 62},
        {"{}", "header of", 0, UINT64_MAX - 1},
        {"[]", "JSON object", 0, UINT64_MAX},
        {"{\"a\":", "JSON object", 0, UINT64_MAX},
        {"{} x", "JSON object", 0, UINT64_MAX},
        {"{\"a\":3}", "no tensor", 0, UINT64_MAX},
        {"{\"a\":" T("F64", "[1]", "0", "8") "}", "F64", 8, UINT64_MAX},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", "missing", 4, UINT64_MAX},
        {"{\"a\":" T("F32", "[-1]", "0", "4") "}", "whole number", 4, UINT64_MAX},
        {"{\"a\":" T("F32", "[1.5]", "0", "6") "}", "whole number", 6, UINT64_MAX},
        {"{\"a\":" T("F32", "[1e300]", "0", "4") "}", "whole number", 4, UINT64_MAX},
        {"{\"a\":" T("F32", "[1,1,1,1,1,1]", "0", "4") "}", "at most 5", 4, UINT64_MAX},
        {"{\"a\":" T("F32", "\"x\"", "0", "4") "}", "at most 5", 4, UINT64_MAX},
        {"{\"a\":" T("F32", "[2]", "0", "4") "}", "need 8", 4, UINT64_MAX},
        {"{\"a\":" T("F32", "[9007199254740992,9007199254740992]", "0", "0") "}", "need", 0,
         UINT64_MAX},
        {"{\"a\":" T("F32", "[1]", "0", "8") "}", "behind its header", 4, UINT64_MAX},
        {"{\"a\":" T("F32", "[1]", "4", "0") "}", "behind its header", 4, UINT64_MAX},
        {"{\"a\":" T("F32", "[1]", "-4", "0") "}", "two whole", 4, UINT64_MAX},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", "two whole", 4,
         UINT64_MAX},
        {"{\"a\":" T("F32", "[2]", "0", "8") ",\"b\":" T("F32", "[2]", "4", "12") "}", "overlaps",
         12, UINT64_MAX},
        {"{\"a\":" T("F32", "[1]", "0", "4") ",\"b\":" T("F32", "[1]", "8", "12") "}", "gap", 12,
         UINT64_MAX},
        {"{\"a\":" T("F32", "[1]", "0", "4") "}", "belong to no tensor", 5, UINT64_MAX},
        {"{\"a\":" T("U8", "[1]", "0", "1") ",\"a\":" T("U8", "[1]", "1", "2") "}", "twice", 2,
         UINT64_MAX},
        {"{\"__metadata__\":{\"a\":1}}", "no text", 0, UINT64_MAX},
        {"{\"__metadata__\":[]}", "no object", 0, UINT64_MAX},
        {"{\"__metadata__\":{\"a\":\"b\"},\"__metadata__\":{}}", "twice", 0, UINT64_MAX},
        {"{\"__metadata__\":{\"a\":\"b\",\"c\":\"d\",\"a\":\"b\"}}", "has a twice", 0, UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rlm_error err = {0};
        CHECK(open_made(bad[i].header, bad[i].bytes, bad[i].length, &err) == RLM_E_FORMAT);
        CHECK(err.code == RLM_E_FORMAT);
        CHECK_HAS(err.text, bad[i].says);
        CHECK_HAS(err.text, "made.safetensors");
    }
    rlm_error err = {0};
    CHECK(open_made("{\"a\":" T("F32", "[]", "0", "4") "}   ", 4, UINT64_MAX, &err) == 0);
    CHECK(open_made("{}", 0, UINT64_MAX, &err) == 0);
    const char *name = in_folder("short");
    CHECK(rlm_file_write(name, "\1\0\0", 3, &err) == 0);
    rlm_safetensors st;
    CHECK(rlm_st_open(&st, name, &err) == RLM_E_FORMAT);
    CHECK(rlm_st_open(&st, in_folder("absent"), &err) == RLM_E_IO);
}

/* Without the sync of rlm_file_write: this runs hundreds of times. */
static void put_file(const char *path, const char *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(data, 1, bytes, f) == bytes);
    if (f)
        fclose(f);
}

/* Every truncation of a good file, and flips of every header byte, never crash. */
/* The most tensors that are read: no loop is square in their number. */
static void many_tensors_open_at_once(void)
{
    enum { MANY = 65536 };
    static const uint8_t byte = 7;
    const int64_t shape[1] = {1};
    rlm_tensor t = rlm_tensor_view((void *)(uintptr_t)&byte, RLM_U8, 1, shape);
    rlm_st_writer w;
    rlm_safetensors st;
    rlm_error err = {0};
    char name[32];
    rlm_st_writer_init(&w);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "t%d", i * 7919 % MANY);
        rlm_st_add(&w, name, &t, RLM_U8);
    }
    CHECK(rlm_st_commit(&w, in_folder("many.safetensors"), &err) == 0);
    rlm_st_writer_free(&w);
    clock_t begin = clock();
    CHECK(rlm_st_open(&st, in_folder("many.safetensors"), &err) == 0);
    CHECK(st.count == MANY && rlm_st_find(&st, "t65535"));
    CHECK(clock() - begin < 5 * CLOCKS_PER_SEC);
    rlm_st_close(&st);
}

static void truncations_are_refused(void)
{
    float f[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    rlm_tensor t = view(f, RLM_F32, 2, 4);
    rlm_st_writer w;
    rlm_st_writer_init(&w);
    rlm_st_add(&w, "layer.weight", &t, RLM_F32);
    rlm_st_add(&w, "layer.bias", &t, RLM_BF16);
    rlm_st_add_meta(&w, "format", "pt");
    CHECK(rlm_st_commit(&w, in_folder("whole"), NULL) == 0);
    rlm_st_writer_free(&w);
    char *file;
    size_t bytes;
    CHECK(rlm_file_read(in_folder("whole"), 1 << 20, &file, &bytes, NULL) == 0);
    const char *path = in_folder("part");
    rlm_safetensors st;
    int refused = 0;
    for (size_t n = 0; n < bytes; n++) {
        put_file(path, file, n);
        refused += rlm_st_open(&st, path, NULL) == RLM_E_FORMAT;
        rlm_st_close(&st);
    }
    CHECK(refused == (int)bytes);
    for (size_t n = 0; n < bytes - 48; n++) {
        file[n] ^= 0x15;
        put_file(path, file, bytes);
        if (rlm_st_open(&st, path, NULL) == 0)
            for (int i = 0; i < st.count; i++) {
                float out[64];
                CHECK(rlm_tensor_count(&st.entries[i].tensor) <= 64);
                rlm_st_to_f32(&st.entries[i].tensor, out);
            }
        rlm_st_close(&st);
        file[n] ^= 0x15;
    }
    rlm_free(file);
}

static void files_without_memory_fail_cleanly(void)
{
    rlm_safetensors st;
    rlm_error err;
    int code = RLM_E_NOMEM, i;
    for (i = 0; code == RLM_E_NOMEM && i < 100; i++) {
        rlm_alloc_fail_after(i);
        code = rlm_st_open(&st, in_folder("whole"), &err);
        rlm_alloc_fail_after(-1);
        rlm_st_close(&st);
    }
    CHECK(code == 0 && i > 3);
    float f[1] = {1};
    rlm_tensor t = view(f, RLM_F32, 1, 1);
    code = RLM_E_NOMEM;
    for (i = 0; code == RLM_E_NOMEM && i < 100; i++) {
        rlm_st_writer w;
        rlm_st_writer_init(&w);
        rlm_alloc_fail_after(i);
        rlm_st_add(&w, "a", &t, RLM_F32);
        rlm_st_add_meta(&w, "k", "v");
        code = rlm_st_commit(&w, in_folder("nomem"), &err);
        rlm_alloc_fail_after(-1);
        rlm_st_writer_free(&w);
    }
    CHECK(code == 0 && i > 5);
    rlm_st_writer w;
    rlm_st_writer_init(&w);
    rlm_st_add(&w, "a", &t, RLM_I8); /* no such conversion */
    CHECK(w.failed && rlm_st_commit(&w, in_folder("never"), &err) != 0);
    rlm_st_writer_free(&w);
}

/* ---- Parameters ------------------------------------------------------------------------------ */

static void declare(rlm_params *p, bool reversed)
{
    static const rlm_weight_geom g = {.cout = 4, .kt = 1, .kh = 3, .kw = 3, .cin = 100, .dw = 1};
    *p = (rlm_params){0};
    for (int i = 0; i < 3; i++) {
        int which = reversed ? 2 - i : i;
        if (which == 0)
            rlm_params_add_weight(p, "conv.weight", &g, 2.0f);
        else if (which == 1)
            rlm_params_add(p, "conv.bias", 1, (int64_t[]){4}, RLM_INIT_CONST, 0.5f);
        else
            rlm_params_add(p, "norm.gain", 2, (int64_t[]){3, 7}, RLM_INIT_CONST, 1.0f);
    }
}

static void parameters_are_declared_and_initialised(void)
{
    rlm_params p, q;
    rlm_error err = {0};
    declare(&p, false);
    declare(&q, true);
    CHECK(rlm_params_allocate(&p, true, &err) == 0 && rlm_params_allocate(&q, false, &err) == 0);
    CHECK(p.count == 3 && p.total == 3600 + 16 + 32 && p.total % 16 == 0);
    rlm_params_initialise(&p, 42);
    rlm_params_initialise(&q, 42);
    double square = 0;
    for (int i = 0; i < 3; i++) {
        const rlm_param *a = p.items[i], *b = rlm_params_find(&q, a->name);
        CHECK((uintptr_t)a->data % RLM_ALIGN == 0 && a->weight.f32 == a->data);
        CHECK(a->grad == p.grad + (a->data - p.data) && b->grad == NULL && a->grad[0] == 0);
        CHECK(memcmp(a->data, b->data, (size_t)a->count * sizeof(float)) == 0);
    }
    const rlm_param *w = rlm_params_find(&p, "conv.weight");
    CHECK(w->rank == 5 && w->packable && w->decay && w->matrix && w->count == 3600);
    for (int i = 0; i < w->count; i++)
        square += (double)w->data[i] * w->data[i];
    CHECK_NEAR(sqrt(square / (double)w->count), 2.0 / 30.0, 0.004); /* fan in 900 */
    CHECK(rlm_params_find(&p, "conv.bias")->data[3] == 0.5f);
    CHECK(rlm_params_find(&p, "absent") == NULL);
    rlm_params_initialise(&q, 43);
    CHECK(memcmp(w->data, rlm_params_find(&q, "conv.weight")->data, 64) != 0);
    rlm_params_free(&p);
    rlm_params_free(&q);
}

static void bad_declarations_stick(void)
{
    char name[200];
    memset(name, 'n', sizeof name);
    name[199] = 0;
    static const int64_t big[5] = {1 << 20, 1 << 20, 1 << 20, 1 << 20, 2};
    for (int i = 0; i < 5; i++) {
        rlm_params p;
        rlm_error err;
        declare(&p, false);
        rlm_param *r = i == 0   ? rlm_params_add(&p, name, 1, big, RLM_INIT_CONST, 0)
                       : i == 1 ? rlm_params_add(&p, "x", 5, big, RLM_INIT_CONST, 0)
                       : i == 2 ? rlm_params_add(&p, "x", 2, (int64_t[]){0, 4}, RLM_INIT_CONST, 0)
                       : i == 3 ? rlm_params_add(&p, "x", 6, big, RLM_INIT_CONST, 0)
                                : rlm_params_add(&p, "conv.bias", 1, big, RLM_INIT_CONST, 0);
        CHECK(r == NULL && rlm_params_allocate(&p, false, &err) == RLM_E_INTERNAL);
        rlm_params_free(&p);
    }
    rlm_params p;
    declare(&p, false);
    rlm_alloc_fail_after(1);
    CHECK(rlm_params_allocate(&p, true, NULL) == RLM_E_NOMEM && !p.data);
    rlm_alloc_fail_after(-1);
    rlm_params_free(&p);
}

static int save(const rlm_params *p, const char *prefix, rlm_dtype dtype, const float *data,
                const char *file)
{
    rlm_st_writer w;
    rlm_st_writer_init(&w);
    int code = rlm_params_save(p, &w, prefix, dtype, data, NULL);
    code = code ? code : rlm_st_commit(&w, in_folder(file), NULL);
    rlm_st_writer_free(&w);
    return code;
}

static int load(rlm_params *p, const char *prefix, const char *file, rlm_error *err)
{
    rlm_safetensors st;
    RLM_TRY(rlm_st_open(&st, in_folder(file), err));
    int code = rlm_params_load(p, &st, prefix, err);
    rlm_st_close(&st);
    return code;
}

static void parameters_are_saved_and_loaded(void)
{
    rlm_params p, q;
    rlm_error err = {0};
    declare(&p, false);
    declare(&q, true);
    CHECK(rlm_params_allocate(&p, false, &err) == 0 && rlm_params_allocate(&q, false, &err) == 0);
    rlm_params_initialise(&p, 1);
    CHECK(save(&p, "", RLM_F32, NULL, "f32") == 0 && load(&q, "", "f32", &err) == 0);
    const rlm_param *a = rlm_params_find(&p, "conv.weight"), *b = rlm_params_find(&q, a->name);
    CHECK(memcmp(a->data, b->data, (size_t)a->count * sizeof(float)) == 0);
    CHECK(save(&p, "", RLM_BF16, NULL, "bf16") == 0 && load(&q, "", "bf16", &err) == 0);
    for (int i = 0; i < a->count; i++)
        CHECK(b->data[i] == rlm_unbf16(rlm_bf16(a->data[i])));
    /* Another block of the same layout, under a prefix. */
    float *ema = rlm_calloc((size_t)p.total, sizeof *ema);
    ema[a->data - p.data] = 9;
    CHECK(save(&p, "ema.", RLM_F32, ema, "ema") == 0 && load(&q, "ema.", "ema", &err) == 0);
    CHECK(b->data[0] == 9 && b->data[1] == 0);
    rlm_free(ema);
    CHECK(load(&q, "", "ema", &err) == RLM_E_MODEL);
    CHECK_HAS(err.text, "missing");
    rlm_params_free(&p);
    rlm_params_free(&q);
}

static bool only_conv(const char *name)
{
    return !strcmp(name, "conv.weight");
}

/* Convolutions in 8 bits: [out][all taps], a scale for every 128 of them. */
static void convolutions_are_stored_in_bytes(void)
{
    rlm_params p, q;
    rlm_error err = {0};
    rlm_par *par;
    rlm_safetensors st;
    const char *path = in_folder("bytes.safetensors");
    declare(&p, false);
    declare(&q, true);
    CHECK(rlm_par_open(&par, 1, &err) == 0);
    CHECK(rlm_params_allocate(&p, false, &err) == 0 && rlm_params_allocate(&q, false, &err) == 0);
    rlm_params_initialise(&p, 1);
    CHECK(rlm_params_write(&p, par, RLM_WEIGHTS_BF16, only_conv, path, &err) == 0);
    CHECK(rlm_st_open(&st, path, &err) == 0);
    const rlm_param *a = rlm_params_find(&p, "conv.weight"), *b = rlm_params_find(&q, a->name);
    const rlm_tensor *t = rlm_st_find(&st, a->name), *s = rlm_st_find(&st, "conv.weight.scale");
    int64_t inputs = a->count / a->shape[0];
    CHECK(t->dtype == RLM_I8 && t->rank == 2 && t->shape[1] == inputs);
    CHECK(s && s->shape[0] == a->shape[0] && s->shape[1] == (inputs + 127) / 128);
    CHECK(rlm_params_load(&q, &st, "", &err) == 0);
    const float *scale = s->data;
    for (int64_t i = 0; i < a->count; i++) {
        int64_t row = i / inputs, group = i % inputs / 128;
        float step = scale[row * s->shape[1] + group];
        CHECK(step > 0 && fabsf(a->data[i] - b->data[i]) <= 0.501f * step);
    }
    rlm_st_close(&st);
    rlm_params_free(&p);
    rlm_params_free(&q);
    rlm_par_close(&par);
}

static void wrong_weights_are_named(void)
{
    rlm_params p;
    rlm_error err = {0};
    declare(&p, false);
    CHECK(rlm_params_allocate(&p, false, &err) == 0);
    CHECK(save(&p, "", RLM_F32, NULL, "right") == 0);
    rlm_params q = {0};
    rlm_params_add(&q, "norm.gain", 2, (int64_t[]){7, 3}, RLM_INIT_CONST, 1.0f);
    CHECK(rlm_params_allocate(&q, false, &err) == 0);
    CHECK(load(&q, "", "right", &err) == RLM_E_MODEL);
    CHECK_HAS(err.text, "norm.gain is [3,7], the configuration says [7,3]");
    CHECK_HAS(err.text, in_folder("right"));
    rlm_params_free(&q);
    rlm_params_add(&q, "extra", 1, (int64_t[]){3}, RLM_INIT_CONST, 1.0f);
    CHECK(rlm_params_allocate(&q, false, &err) == 0);
    CHECK(load(&q, "", "right", &err) == RLM_E_MODEL);
    CHECK_HAS(err.text, "extra is missing, expected [3]");
    int32_t ids[3] = {1, 2, 3};
    rlm_tensor t = rlm_tensor_view(ids, RLM_I32, 1, (int64_t[]){3});
    rlm_st_writer w;
    rlm_st_writer_init(&w);
    rlm_st_add(&w, "extra", &t, RLM_I32);
    CHECK(rlm_st_commit(&w, in_folder("integers"), &err) == 0);
    rlm_st_writer_free(&w);
    CHECK(load(&q, "", "integers", &err) == RLM_E_MODEL);
    CHECK_HAS(err.text, "integers");
    rlm_params_free(&q);
    rlm_params_free(&p);
}

/* A table whose packing is the weights negated, and twice for the transposed one. */
static size_t fake_bytes(const rlm_weight_geom *g, bool transposed)
{
    return (size_t)g->cout * g->kt * g->kh * g->kw * g->cin * sizeof(float) * (transposed ? 2 : 1);
}

static void fake_pack(rlm_par *par, const rlm_weight_geom *g, const float *w, bool transposed,
                      void *out)
{
    size_t n = fake_bytes(g, false) / sizeof(float);
    (void)par;
    for (size_t i = 0; i < n * (transposed ? 2 : 1); i++)
        ((float *)out)[i] = -w[i % n];
}

static void packings_follow_the_weights(void)
{
    rlm_params p;
    rlm_kernels k = {.pack_bytes = fake_bytes, .pack = fake_pack};
    declare(&p, false);
    CHECK(rlm_params_allocate(&p, false, NULL) == 0);
    rlm_params_initialise(&p, 1);
    CHECK(rlm_params_pack(&p, &k, NULL, true, NULL) == 0);
    const rlm_param *w = rlm_params_find(&p, "conv.weight");
    const float *pack = w->weight.pack, *pack_t = w->weight.pack_t;
    CHECK(pack[5] == -w->data[5] && pack_t[3600 + 5] == -w->data[5]);
    CHECK((uintptr_t)pack % RLM_ALIGN == 0 && (uintptr_t)pack_t % RLM_ALIGN == 0);
    CHECK(rlm_params_find(&p, "conv.bias")->weight.pack == NULL);
    w->data[5] = 77;
    int64_t before = rlm_alloc_count();
    CHECK(rlm_params_pack(&p, &k, NULL, true, NULL) == 0);
    CHECK(rlm_alloc_count() == before && w->weight.pack == pack && pack[5] == -77);
    CHECK(rlm_params_pack(&p, &k, NULL, false, NULL) == 0 && w->weight.pack_t == NULL);
    rlm_alloc_fail_after(0);
    CHECK(rlm_params_pack(&p, &k, NULL, true, NULL) == RLM_E_NOMEM && !w->weight.pack);
    rlm_alloc_fail_after(-1);
    rlm_params_free(&p);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    if (!folder_open())
        return 1;
    TEST_CASE(written_tensors_are_read);
    TEST_CASE(damaged_files_are_refused);
    TEST_CASE(many_tensors_open_at_once);
    TEST_CASE(truncations_are_refused);
    TEST_CASE(files_without_memory_fail_cleanly);
    TEST_CASE(parameters_are_declared_and_initialised);
    TEST_CASE(bad_declarations_stick);
    TEST_CASE(parameters_are_saved_and_loaded);
    TEST_CASE(convolutions_are_stored_in_bytes);
    TEST_CASE(wrong_weights_are_named);
    TEST_CASE(packings_follow_the_weights);
    folder_close();
    return TEST_END();
}
