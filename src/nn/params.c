#include "src/nn/params.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/rng.h"

#define ALIGN_FLOATS (RLM_ALIGN / sizeof(float))

/* ---- Declaring ------------------------------------------------------------------------------ */

static bool grow(rlm_params *p)
{
    if (p->count < p->capacity)
        return true;
    size_t used = (size_t)p->count * sizeof *p->items;
    size_t more = used ? 2 * used : 64 * sizeof *p->items;
    rlm_param **items = rlm_realloc(p->items, used, more);
    if (!items)
        return false;
    p->items = items;
    p->capacity = (int)(more / sizeof *items);
    return true;
}

/* Elements of a shape; 0 when it is no shape. */
static int64_t shape_count(int rank, const int64_t *shape)
{
    if (rank < 1 || rank > 5)
        return 0;
    size_t count = 1;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 1)
            return 0;
        count = rlm_size_mul(count, (size_t)shape[i]);
    }
    return count > INT64_MAX / 64 ? 0 : (int64_t)count;
}

rlm_param *rlm_params_add(rlm_params *p, const char *name, int rank, const int64_t *shape,
                          rlm_init init, float scale)
{
    int64_t count = shape_count(rank, shape);
    rlm_param *item = NULL;
    bool sound = count > 0 && strlen(name) < sizeof item->name && !rlm_params_find(p, name);
    if (sound && grow(p))
        item = rlm_calloc(1, sizeof *item);
    if (!item) {
        p->failed = sound ? RLM_E_NOMEM : RLM_E_INTERNAL;
        return NULL;
    }
    snprintf(item->name, sizeof item->name, "%s", name);
    item->rank = rank;
    memcpy(item->shape, shape, (size_t)rank * sizeof *shape);
    item->count = count;
    item->init = init;
    item->scale = scale;
    p->items[p->count++] = item;
    return item;
}

rlm_param *rlm_params_add_weight(rlm_params *p, const char *name, const rlm_weight_geom *g,
                                 float scale)
{
    rlm_param *item = rlm_params_add(p, name, 5, (int64_t[]){g->cout, g->kt, g->kh, g->kw, g->cin},
                                     RLM_INIT_NORMAL, scale);
    if (item) {
        item->geom = *g;
        item->decay = item->matrix = item->packable = true;
    }
    return item;
}

rlm_param *rlm_params_find(const rlm_params *p, const char *name)
{
    for (int i = 0; i < p->count; i++)
        if (strcmp(p->items[i]->name, name) == 0)
            return p->items[i];
    return NULL;
}

void rlm_params_freeze(rlm_params *p, const char *but)
{
    for (int i = 0; i < p->count; i++)
        p->items[i]->frozen = strncmp(p->items[i]->name, but, strlen(but)) != 0;
}

/* ---- Memory --------------------------------------------------------------------------------- */

int rlm_params_lay_out(rlm_params *p, rlm_error *err)
{
    if (p->failed)
        return rlm_fail(err, p->failed, "parameter %d could not be declared: %s", p->count,
                        p->failed == RLM_E_NOMEM
                            ? "no memory"
                            : "a bad shape or a name that is too long or was used before");
    size_t total = 0;
    for (int i = 0; i < p->count; i++)
        total = rlm_size_add(total, rlm_size_align((size_t)p->items[i]->count, ALIGN_FLOATS));
    if (total > INT64_MAX / 64)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %zu parameters", total);
    p->total = (int64_t)total;
    return 0;
}

int rlm_params_allocate(rlm_params *p, bool grads, rlm_error *err)
{
    RLM_TRY(rlm_params_lay_out(p, err));
    size_t total = (size_t)p->total;
    p->data = rlm_calloc(total, sizeof *p->data);
    p->grad = grads && p->data ? rlm_calloc(total, sizeof *p->grad) : NULL;
    if (!p->data || (grads && !p->grad)) {
        rlm_free(p->data);
        p->data = NULL;
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %zu parameters%s", total,
                        grads ? " with gradients" : "");
    }
    size_t at = 0;
    for (int i = 0; i < p->count; i++) {
        rlm_param *item = p->items[i];
        item->data = p->data + at;
        item->grad = grads ? p->grad + at : NULL;
        item->weight = (rlm_weight){.f32 = item->data};
        at += rlm_size_align((size_t)item->count, ALIGN_FLOATS);
    }
    return 0;
}

void rlm_params_free(rlm_params *p)
{
    for (int i = 0; i < p->count; i++)
        rlm_free(p->items[i]);
    rlm_free(p->items);
    rlm_free(p->data);
    rlm_free(p->grad);
    rlm_free(p->packs);
    *p = (rlm_params){0};
}

/* FNV-1a of the name: the stream of a parameter's numbers, whatever its place in the list. */
static uint64_t name_stream(const char *name)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 0x100000001b3ull;
    return h;
}

void rlm_params_initialise(rlm_params *p, uint64_t seed)
{
    for (int i = 0; i < p->count; i++) {
        rlm_param *item = p->items[i];
        uint64_t stream = name_stream(item->name);
        int64_t fan_in = item->count / item->shape[0];
        float std = item->scale / sqrtf((float)fan_in);
        for (int64_t j = 0; j < item->count; j++)
            item->data[j] = item->init == RLM_INIT_CONST
                                ? item->scale
                                : std * rlm_rng_normal(seed, stream, (uint64_t)j);
    }
}

/* ---- Files ---------------------------------------------------------------------------------- */

static void format_shape(char out[128], int rank, const int64_t *shape)
{
    int n = 0;
    for (int i = 0; i < rank; i++)
        n += snprintf(out + n, 128 - (size_t)n, "%s%lld", i ? "," : "[", (long long)shape[i]);
    snprintf(out + n, 128 - (size_t)n, "]");
}

static bool full_name(char out[256], const char *prefix, const char *name)
{
    return snprintf(out, 256, "%s%s", prefix, name) < 256;
}

int rlm_params_load_one(rlm_param *item, const rlm_safetensors *st, const char *prefix,
                        rlm_error *err)
{
    char name[256], found[128], wanted[128];
    const rlm_tensor *t = full_name(name, prefix, item->name) ? rlm_st_find(st, name) : NULL;
    format_shape(wanted, item->rank, item->shape);
    if (!t)
        return rlm_fail(err, RLM_E_MODEL, "%s: %s is missing, expected %s", st->path, name, wanted);
    if (rlm_params_is_quantised(st, name))
        return rlm_params_dequantise(item, st, name, item->data, err);
    if (t->rank != item->rank ||
        memcmp(t->shape, item->shape, (size_t)t->rank * sizeof *t->shape)) {
        format_shape(found, t->rank, t->shape);
        return rlm_fail(err, RLM_E_MODEL, "%s: %s is %s, the configuration says %s", st->path, name,
                        found, wanted);
    }
    if (t->dtype != RLM_F32 && t->dtype != RLM_BF16 && t->dtype != RLM_F16)
        return rlm_fail(err, RLM_E_MODEL, "%s: %s holds integers, expected F32, BF16 or F16",
                        st->path, name);
    rlm_st_to_f32(t, item->data);
    return 0;
}

int rlm_params_load(rlm_params *p, const rlm_safetensors *st, const char *prefix, rlm_error *err)
{
    for (int i = 0; i < p->count; i++)
        RLM_TRY(rlm_params_load_one(p->items[i], st, prefix, err));
    return 0;
}

int rlm_params_save(const rlm_params *p, rlm_st_writer *w, const char *prefix, rlm_dtype dtype,
                    const float *data, rlm_error *err)
{
    for (int i = 0; i < p->count; i++) {
        const rlm_param *item = p->items[i];
        const float *from = (data ? data : p->data) + (item->data - p->data);
        char name[256];
        if (!full_name(name, prefix, item->name))
            return rlm_fail(err, RLM_E_ARG, "parameter name %s%s is longer than 255 bytes", prefix,
                            item->name);
        rlm_tensor t = rlm_tensor_view((void *)(uintptr_t)from, RLM_F32, item->rank, item->shape);
        rlm_st_add(w, name, &t, dtype);
    }
    return w->failed ? rlm_fail(err, RLM_E_NOMEM, "no memory to list %d tensors", p->count) : 0;
}

/* ---- Packing -------------------------------------------------------------------------------- */

static size_t pack_size(const rlm_kernels *k, const rlm_param *item, bool transposed)
{
    return rlm_size_align(k->pack_bytes(&item->geom, transposed), RLM_ALIGN);
}

int rlm_params_pack(rlm_params *p, const rlm_kernels *k, rlm_par *par, bool backward,
                    rlm_error *err)
{
    size_t total = 0;
    for (int i = 0; i < p->count; i++)
        for (int t = 0; t <= (backward ? 1 : 0) && p->items[i]->packable; t++)
            total = rlm_size_add(total, pack_size(k, p->items[i], t));
    if (total != p->pack_bytes) {
        rlm_free(p->packs);
        p->pack_bytes = 0;
        p->packs = total ? rlm_alloc(total) : NULL;
        if (total && !p->packs) {
            for (int i = 0; i < p->count; i++)
                p->items[i]->weight.pack = p->items[i]->weight.pack_t = NULL;
            return rlm_fail(err, RLM_E_NOMEM, "no memory for %zu bytes of packed weights", total);
        }
        p->pack_bytes = total;
    }
    uint8_t *at = p->packs;
    for (int i = 0; i < p->count; i++) {
        rlm_param *item = p->items[i];
        item->weight.pack = item->weight.pack_t = NULL;
        for (int t = 0; t <= (backward ? 1 : 0) && item->packable; t++) {
            size_t bytes = pack_size(k, item, t);
            if (bytes == 0)
                continue;
            k->pack(par, &item->geom, item->data, t, at);
            if (t)
                item->weight.pack_t = at;
            else
                item->weight.pack = at;
            at += bytes;
        }
    }
    return 0;
}
