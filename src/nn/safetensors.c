/* File: u64 n (little endian), n bytes of JSON {"name": {"dtype", "shape", "data_offsets": [from,
 * to]}, ..., "__metadata__": {string: string}}, then the data that the offsets count in. The data
 * must be covered without gap or overlap. */
#include "src/nn/safetensors.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAX     ((size_t)64 << 20)
#define TENSORS_MAX    65536
#define NAME_MAX_BYTES 256

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "elements are stored little endian");

static const char *const dtype_names[RLM_DTYPES] = {
    [RLM_F32] = "F32", [RLM_BF16] = "BF16", [RLM_F16] = "F16", [RLM_I32] = "I32",
    [RLM_I16] = "I16", [RLM_I8] = "I8",     [RLM_U8] = "U8",
};

/* ---- Reader --------------------------------------------------------------------------------- */

/* A non-negative integer that a double holds exactly. */
static bool whole_number(const cJSON *v, int64_t *out)
{
    if (!cJSON_IsNumber(v) || !(v->valuedouble >= 0 && v->valuedouble <= 9007199254740992.0) ||
        v->valuedouble != (double)(int64_t)v->valuedouble)
        return false;
    *out = (int64_t)v->valuedouble;
    return true;
}

static int read_shape(const rlm_safetensors *st, const cJSON *v, rlm_tensor *t, rlm_error *err)
{
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(v, "shape");
    int rank = cJSON_GetArraySize(shape);
    if (!cJSON_IsArray(shape) || rank > 5)
        return rlm_fail(err, RLM_E_FORMAT, "%s: tensor %s: shape is no array of at most 5 numbers",
                        st->path, v->string);
    const cJSON *dim;
    int i = 0;
    cJSON_ArrayForEach(dim, shape)
    {
        if (!whole_number(dim, &t->shape[i++]))
            return rlm_fail(err, RLM_E_FORMAT, "%s: tensor %s: shape[%d] is no whole number >= 0",
                            st->path, v->string, i - 1);
    }
    if (rank == 0) /* a scalar */
        t->shape[rank++] = 1;
    t->rank = rank;
    return 0;
}

/* One entry of the header. data: `bytes` bytes behind the header. */
static int read_entry(rlm_safetensors *st, const cJSON *v, const uint8_t *data, size_t bytes,
                      rlm_st_entry *e, rlm_error *err)
{
    if (!cJSON_IsObject(v) || strlen(v->string) >= NAME_MAX_BYTES)
        return rlm_fail(err, RLM_E_FORMAT, "%s: header entry %.64s is no tensor", st->path,
                        v->string);
    const char *dtype = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(v, "dtype"));
    int d = 0;
    while (d < RLM_DTYPES && dtype && strcmp(dtype, dtype_names[d]))
        d++;
    if (!dtype || d == RLM_DTYPES)
        return rlm_fail(err, RLM_E_FORMAT,
                        "%s: tensor %s: dtype is %.16s, known are F32 BF16 F16 I32 I16 I8 U8",
                        st->path, v->string, dtype ? dtype : "missing");
    e->tensor.dtype = (rlm_dtype)d;
    RLM_TRY(read_shape(st, v, &e->tensor, err));
    size_t want = rlm_dtype_bytes(e->tensor.dtype);
    for (int i = 0; i < e->tensor.rank; i++)
        want = rlm_size_mul(want, (size_t)e->tensor.shape[i]);
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(v, "data_offsets");
    int64_t from, to;
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !whole_number(cJSON_GetArrayItem(offsets, 0), &from) ||
        !whole_number(cJSON_GetArrayItem(offsets, 1), &to))
        return rlm_fail(err, RLM_E_FORMAT, "%s: tensor %s: data_offsets are not two whole numbers",
                        st->path, v->string);
    if (from > to || (uint64_t)to > bytes)
        return rlm_fail(err, RLM_E_FORMAT,
                        "%s: tensor %s: bytes %lld to %lld, the file has %zu behind its header",
                        st->path, v->string, (long long)from, (long long)to, bytes);
    if ((size_t)(to - from) != want)
        return rlm_fail(err, RLM_E_FORMAT,
                        "%s: tensor %s: %lld bytes of data, its shape and dtype need %zu", st->path,
                        v->string, (long long)(to - from), want);
    e->tensor.data = (void *)(uintptr_t)(data + from);
    e->name = rlm_strdup(v->string);
    return e->name ? 0 : rlm_fail(err, RLM_E_NOMEM, "%s: no memory for its header", st->path);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_meta(rlm_safetensors *st, const cJSON *meta, rlm_error *err)
{
    int n = cJSON_GetArraySize(meta);
    if (!cJSON_IsObject(meta) || n > TENSORS_MAX)
        return rlm_fail(err, RLM_E_FORMAT, "%s: __metadata__ is no object", st->path);
    st->meta = rlm_calloc(2 * (size_t)n, sizeof *st->meta);
    if (!st->meta)
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory for its header", st->path);
    const cJSON *v;
    cJSON_ArrayForEach(v, meta)
    {
        if (!cJSON_IsString(v))
            return rlm_fail(err, RLM_E_FORMAT, "%s: __metadata__ %.64s is no text", st->path,
                            v->string);
        char **pair = st->meta + 2 * st->meta_count++;
        pair[0] = rlm_strdup(v->string);
        pair[1] = rlm_strdup(v->valuestring);
        if (!pair[0] || !pair[1])
            return rlm_fail(err, RLM_E_NOMEM, "%s: no memory for its header", st->path);
    }
    qsort(st->meta, (size_t)st->meta_count, 2 * sizeof *st->meta, by_key);
    for (int i = 1; i < st->meta_count; i++)
        if (!strcmp(st->meta[2 * i - 2], st->meta[2 * i]))
            return rlm_fail(err, RLM_E_FORMAT, "%s: __metadata__ has %.64s twice", st->path,
                            st->meta[2 * i]);
    return 0;
}

static int by_data(const void *pa, const void *pb)
{
    const rlm_st_entry *a = pa, *b = pb;
    const uint8_t *x = a->tensor.data, *y = b->tensor.data;
    if (x != y)
        return x < y ? -1 : 1;
    /* Empty tensors first, so that they do not seem to overlap. */
    int64_t n = rlm_tensor_count(&a->tensor), m = rlm_tensor_count(&b->tensor);
    return (n > m) - (n < m);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const rlm_st_entry *)a)->name, ((const rlm_st_entry *)b)->name);
}

/* Data covered exactly once; names unique. Leaves the entries sorted by name. */
static int check_entries(rlm_safetensors *st, const uint8_t *data, rlm_error *err)
{
    const uint8_t *at = data;
    if (st->count > 1)
        qsort(st->entries, (size_t)st->count, sizeof *st->entries, by_data);
    for (int i = 0; i < st->count; i++) {
        const rlm_tensor *t = &st->entries[i].tensor;
        if ((const uint8_t *)t->data != at)
            return rlm_fail(err, RLM_E_FORMAT, "%s: tensor %s %s", st->path, st->entries[i].name,
                            (const uint8_t *)t->data < at ? "overlaps the one before it"
                                                          : "leaves a gap behind the one before");
        at += (size_t)rlm_tensor_count(t) * rlm_dtype_bytes(t->dtype);
    }
    size_t rest = (size_t)(st->map.data + st->map.bytes - at);
    if (rest)
        return rlm_fail(err, RLM_E_FORMAT, "%s: %zu bytes at the end belong to no tensor", st->path,
                        rest);
    if (st->count > 1)
        qsort(st->entries, (size_t)st->count, sizeof *st->entries, by_name);
    for (int i = 1; i < st->count; i++)
        if (strcmp(st->entries[i - 1].name, st->entries[i].name) == 0)
            return rlm_fail(err, RLM_E_FORMAT, "%s: tensor %s stands twice in the header", st->path,
                            st->entries[i].name);
    return 0;
}

static int read_header(rlm_safetensors *st, const cJSON *json, const uint8_t *data, rlm_error *err)
{
    int n = cJSON_GetArraySize(json);
    if (n > TENSORS_MAX)
        return rlm_fail(err, RLM_E_FORMAT, "%s: %d tensors, at most %d are read", st->path, n,
                        TENSORS_MAX);
    st->entries = rlm_calloc((size_t)n, sizeof *st->entries);
    if (!st->entries)
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory for its header", st->path);
    size_t bytes = (size_t)(st->map.data + st->map.bytes - data);
    const cJSON *v;
    cJSON_ArrayForEach(v, json)
    {
        if (strcmp(v->string, "__metadata__") == 0) {
            if (st->meta)
                return rlm_fail(err, RLM_E_FORMAT, "%s: __metadata__ stands twice", st->path);
            RLM_TRY(read_meta(st, v, err));
        } else {
            RLM_TRY(read_entry(st, v, data, bytes, &st->entries[st->count], err));
            st->count++;
        }
    }
    return check_entries(st, data, err);
}

/* The header's JSON object behind the length; *data points behind it. NULL on failure. */
static cJSON *parse_header(const rlm_safetensors *st, const uint8_t **data, rlm_error *err)
{
    uint64_t n = 0;
    if (st->map.bytes >= 8)
        memcpy(&n, st->map.data, 8);
    if (st->map.bytes < 8 || n > st->map.bytes - 8 || n > HEADER_MAX) {
        rlm_fail(err, RLM_E_FORMAT,
                 "%s: no safetensors file: header of %llu bytes in a file of %zu", st->path,
                 (unsigned long long)n, st->map.bytes);
        return NULL;
    }
    const char *text = (const char *)st->map.data + 8, *end = NULL;
    cJSON *json = cJSON_ParseWithLengthOpts(text, (size_t)n, &end, 0);
    while (json && end < text + n && *end == ' ')
        end++;
    if (!cJSON_IsObject(json) || end != text + n) {
        rlm_fail(err, RLM_E_FORMAT, "%s: its header is no JSON object, broken near byte %zu",
                 st->path, end ? (size_t)(end - text) + 8 : (size_t)8);
        cJSON_Delete(json);
        return NULL;
    }
    *data = st->map.data + 8 + n;
    return json;
}

/* st->map is open; read what it holds, or close it. */
static int open_mapped(rlm_safetensors *st, const char *path, rlm_error *err)
{
    int code = 0;
    const uint8_t *data = NULL;
    cJSON *json = NULL;
    st->path = rlm_strdup(path);
    if (!st->path) {
        code = rlm_fail(err, RLM_E_NOMEM, "%s: no memory to open it", path);
        goto fail;
    }
    json = parse_header(st, &data, err);
    code = json ? read_header(st, json, data, err) : RLM_E_FORMAT;
    cJSON_Delete(json);
    if (code == 0)
        return 0;
fail:
    rlm_st_close(st);
    return code;
}

int rlm_st_open(rlm_safetensors *st, const char *path, rlm_error *err)
{
    *st = (rlm_safetensors){0};
    RLM_TRY(rlm_map_open(&st->map, path, err));
    return open_mapped(st, path, err);
}

int rlm_st_open_stream(rlm_safetensors *st, const char *path, rlm_error *err)
{
    *st = (rlm_safetensors){0};
    RLM_TRY(rlm_map_stream(&st->map, path, err));
    return open_mapped(st, strcmp(path, "-") ? path : "stdin", err);
}

void rlm_st_close(rlm_safetensors *st)
{
    for (int i = 0; i < st->count; i++)
        rlm_free(st->entries[i].name);
    for (int i = 0; i < 2 * st->meta_count; i++)
        rlm_free(st->meta[i]);
    rlm_free(st->entries);
    rlm_free(st->meta);
    rlm_free((char *)(uintptr_t)st->path);
    rlm_map_close(&st->map);
    *st = (rlm_safetensors){0};
}

const rlm_tensor *rlm_st_find(const rlm_safetensors *st, const char *name)
{
    rlm_st_entry key = {.name = (char *)(uintptr_t)name};
    const rlm_st_entry *e =
        st->count ? bsearch(&key, st->entries, (size_t)st->count, sizeof key, by_name) : NULL;
    return e ? &e->tensor : NULL;
}

const char *rlm_st_meta(const rlm_safetensors *st, const char *key)
{
    for (int i = 0; i < st->meta_count; i++)
        if (strcmp(st->meta[2 * i], key) == 0)
            return st->meta[2 * i + 1];
    return NULL;
}

const char *rlm_st_hash(rlm_safetensors *st)
{
    if (!st->sha256[0])
        rlm_sha256_hex(st->map.data, st->map.bytes, st->sha256);
    return st->sha256;
}

/* IEEE binary16 to binary32, exact. */
static float from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
    if (exponent == 0) {
        float f = (float)mantissa * (1.0f / 16777216.0f);
        return sign ? -f : f;
    }
    union {
        uint32_t u;
        float f;
    } v;
    v.u = sign | (exponent == 31 ? 0xffu : exponent + 112) << 23 | mantissa << 13;
    return v.f;
}

/* Through memcpy: files of others may place tensors at any byte. */
void rlm_st_to_f32(const rlm_tensor *t, float *out)
{
    int64_t n = rlm_tensor_count(t);
    const uint8_t *p = t->data;
    uint16_t half;
    int16_t i16;
    int32_t i32;
    if (t->dtype == RLM_F32) {
        if (n)
            memcpy(out, p, (size_t)n * sizeof *out);
        return;
    }
    if (t->dtype == RLM_BF16) {
        for (int64_t i = 0; i < n; i++) {
            memcpy(&half, p + 2 * i, 2);
            out[i] = rlm_unbf16(half);
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        switch (t->dtype) {
        case RLM_F16:
            memcpy(&half, p + 2 * i, 2);
            out[i] = from_f16(half);
            break;
        case RLM_I32:
            memcpy(&i32, p + 4 * i, 4);
            out[i] = (float)i32;
            break;
        case RLM_I16:
            memcpy(&i16, p + 2 * i, 2);
            out[i] = (float)i16;
            break;
        case RLM_I8:
            out[i] = (float)(int8_t)p[i];
            break;
        default:
            out[i] = (float)p[i];
        }
    }
}

/* ---- Writer --------------------------------------------------------------------------------- */

void rlm_st_writer_init(rlm_st_writer *w)
{
    *w = (rlm_st_writer){0};
}

static bool writer_grow(rlm_st_writer *w)
{
    if (w->count < w->capacity)
        return true;
    size_t n = (size_t)w->count, more = n ? 2 * n : 64;
    rlm_st_entry *entries = rlm_realloc(w->entries, n * sizeof *entries, more * sizeof *entries);
    if (!entries)
        return false;
    w->entries = entries;
    rlm_dtype *types = rlm_realloc(w->store_as, n * sizeof *types, more * sizeof *types);
    if (!types)
        return false;
    w->store_as = types;
    w->capacity = (int)more;
    return true;
}

void rlm_st_add(rlm_st_writer *w, const char *name, const rlm_tensor *t, rlm_dtype store_as)
{
    char *copy = NULL;
    bool storable = store_as == t->dtype || (t->dtype == RLM_F32 && store_as == RLM_BF16);
    if (!w->failed && storable && strlen(name) < NAME_MAX_BYTES && w->count < TENSORS_MAX &&
        writer_grow(w))
        copy = rlm_strdup(name);
    if (!copy) {
        w->failed = true;
        return;
    }
    w->entries[w->count] = (rlm_st_entry){.name = copy, .tensor = *t};
    w->store_as[w->count++] = store_as;
}

void rlm_st_add_meta(rlm_st_writer *w, const char *key, const char *value)
{
    size_t used = 2 * (size_t)w->meta_count * sizeof *w->meta;
    char **grown = rlm_realloc(w->meta, used, used + 2 * sizeof *w->meta);
    if (!grown) {
        w->failed = true;
        return;
    }
    w->meta = grown;
    char **pair = grown + 2 * w->meta_count++;
    pair[0] = rlm_strdup(key);
    pair[1] = rlm_strdup(value);
    if (!pair[0] || !pair[1])
        w->failed = true;
}

static size_t stored_bytes(const rlm_st_writer *w, int i)
{
    return (size_t)rlm_tensor_count(&w->entries[i].tensor) * rlm_dtype_bytes(w->store_as[i]);
}

/* The header text; NULL without memory. Tensors of wider types come first, so that each starts at
 * a multiple of its element size: pass 4, then 2, then 1 bytes. */
static char *header_text(const rlm_st_writer *w)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *meta = w->meta_count ? cJSON_AddObjectToObject(json, "__metadata__") : NULL;
    bool ok = json && (meta || !w->meta_count);
    for (int i = 0; i < w->meta_count && ok; i++)
        ok = cJSON_AddStringToObject(meta, w->meta[2 * i], w->meta[2 * i + 1]) != NULL;
    size_t at = 0;
    for (size_t width = 4; width >= 1; width /= 2) {
        for (int i = 0; i < w->count && ok; i++) {
            const rlm_tensor *t = &w->entries[i].tensor;
            if (rlm_dtype_bytes(w->store_as[i]) != width)
                continue;
            cJSON *e = cJSON_AddObjectToObject(json, w->entries[i].name);
            ok = e && cJSON_AddStringToObject(e, "dtype", dtype_names[w->store_as[i]]);
            cJSON *shape = ok ? cJSON_AddArrayToObject(e, "shape") : NULL;
            for (int d = 0; d < t->rank && shape; d++)
                cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->shape[d]));
            cJSON *offsets = ok ? cJSON_AddArrayToObject(e, "data_offsets") : NULL;
            ok = shape && offsets && cJSON_GetArraySize(shape) == t->rank &&
                 cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)at)) &&
                 cJSON_AddItemToArray(offsets,
                                      cJSON_CreateNumber((double)(at + stored_bytes(w, i))));
            at += stored_bytes(w, i);
        }
    }
    char *text = ok ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    return text;
}

static void put_tensor(rlm_writer *f, const rlm_tensor *t, rlm_dtype store_as)
{
    int64_t n = rlm_tensor_count(t);
    if (store_as == t->dtype) {
        rlm_writer_put(f, t->data, (size_t)n * rlm_dtype_bytes(store_as));
        return;
    }
    uint16_t chunk[4096];
    const float *x = rlm_f32(t);
    for (int64_t i = 0; i < n; i += 4096) {
        int64_t m = n - i < 4096 ? n - i : 4096;
        for (int64_t j = 0; j < m; j++)
            chunk[j] = rlm_bf16(x[i + j]);
        rlm_writer_put(f, chunk, (size_t)m * sizeof *chunk);
    }
}

int rlm_st_commit(rlm_st_writer *w, const char *path, rlm_error *err)
{
    char *text = w->failed ? NULL : header_text(w);
    if (!text)
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory for a header of %d tensors", path,
                        w->count);
    rlm_writer f;
    int code = rlm_writer_open(&f, path, err);
    if (code == 0) {
        size_t n = strlen(text);
        uint64_t padded = (n + 8 + 63) / 64 * 64 - 8; /* data starts at a multiple of 64 */
        char spaces[64];
        memset(spaces, ' ', sizeof spaces);
        rlm_writer_put(&f, &padded, sizeof padded);
        rlm_writer_put(&f, text, n);
        rlm_writer_put(&f, spaces, padded - n);
        for (size_t width = 4; width >= 1; width /= 2)
            for (int i = 0; i < w->count; i++)
                if (rlm_dtype_bytes(w->store_as[i]) == width)
                    put_tensor(&f, &w->entries[i].tensor, w->store_as[i]);
        code = rlm_writer_commit(&f, err);
    }
    cJSON_free(text);
    return code;
}

void rlm_st_writer_free(rlm_st_writer *w)
{
    for (int i = 0; i < w->count; i++)
        rlm_free(w->entries[i].name);
    for (int i = 0; i < 2 * w->meta_count; i++)
        rlm_free(w->meta[i]);
    rlm_free(w->entries);
    rlm_free(w->store_as);
    rlm_free(w->meta);
    *w = (rlm_st_writer){0};
}
