/* Parameters for inference only: read tensor by tensor, packed at once, and the f32 values of what
 * is packed given back to the system, so that the peak is the packed size and one tensor. Also the
 * quantised tensors of a file, read and written (docs/FORMATS.md). */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "src/kernels/quant.h"
#include "src/nn/params.h"

#define ALIGN_FLOATS (RLM_ALIGN / sizeof(float))

static const char *const weight_names[RLM_WEIGHTS] = {"auto", "f32", "bf16", "int8", "q4"};

int rlm_weights_parse(const char *name, rlm_weights *out, rlm_error *err)
{
    for (int i = 0; i < RLM_WEIGHTS; i++)
        if (!strcmp(name, weight_names[i])) {
            *out = (rlm_weights)i;
            return 0;
        }
    return rlm_fail(err, RLM_E_ARG, "weights are \"%s\", known are auto, f32, bf16, int8, q4",
                    name);
}

const char *rlm_weights_name(rlm_weights w)
{
    return weight_names[w];
}

int rlm_params_quant_bits(const rlm_param *item, rlm_weights weights)
{
    if (!item->packable || item->rank != 2 || weights < RLM_WEIGHTS_INT8)
        return 0;
    return weights == RLM_WEIGHTS_INT8 || !item->matrix ? 8 : 4;
}

/* ---- Quantised tensors ----------------------------------------------------------------------- */

/* Inputs of one output, over all taps of a convolution's kernel. */
static int64_t inputs_of(const rlm_param *item)
{
    return item->count / item->shape[0];
}

static size_t groups_of(int bits, const rlm_param *item)
{
    return rlm_size_mul((size_t)item->shape[0],
                        (size_t)rlm_quant_groups(bits, (int)inputs_of(item)));
}

/* Bits of a file's tensor: 8, 4, or 0 when it is not quantised. */
static int stored_bits(const rlm_tensor *t)
{
    return t->dtype == RLM_I8 ? 8 : t->dtype == RLM_U8 ? 4 : 0;
}

/* The scales that belong to a quantised tensor, [out][groups]. */
static const rlm_tensor *find_scale(const rlm_safetensors *st, const rlm_param *item,
                                    const char *name, int bits)
{
    char full[256];
    snprintf(full, sizeof full, "%.240s.scale", name);
    const rlm_tensor *s = rlm_st_find(st, full);
    int groups = rlm_quant_groups(bits, (int)inputs_of(item));
    bool fits = s && s->rank == 2 && s->shape[0] == item->shape[0] && s->shape[1] == groups &&
                (s->dtype == RLM_F32 || s->dtype == RLM_BF16);
    return fits ? s : NULL;
}

/* q [out][in], scale [out][groups] of a quantised tensor; a convolution's inputs are those of all
 * taps of its kernel. */
static int load_quant(const rlm_param *item, const rlm_safetensors *st, const char *name, int8_t *q,
                      float *scale, rlm_error *err)
{
    const rlm_tensor *t = rlm_st_find(st, name);
    int bits = t ? stored_bits(t) : 0;
    assert(item->rank >= 2);
    int64_t rows = item->shape[0], k = inputs_of(item), wide = bits == 4 ? (k + 1) / 2 : k;
    const rlm_tensor *s = bits ? find_scale(st, item, name, bits) : NULL;
    if (!bits || t->rank != 2 || t->shape[0] != rows || t->shape[1] != wide || !s)
        return rlm_fail(err, RLM_E_MODEL,
                        "%s: %s is quantised, but values or scales do not fit [%lld,%lld]",
                        st->path, name, (long long)rows, (long long)k);
    const uint8_t *from = t->data;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < k; i++) {
            int byte = from[r * wide + (bits == 4 ? i / 2 : i)];
            q[r * k + i] = bits == 8 ? (int8_t)byte : (int8_t)((i % 2 ? byte >> 4 : byte & 15) - 8);
        }
    rlm_st_to_f32(s, scale);
    return 0;
}

bool rlm_params_is_quantised(const rlm_safetensors *st, const char *name)
{
    const rlm_tensor *t = rlm_st_find(st, name);
    return t && stored_bits(t) != 0;
}

int rlm_params_dequantise(const rlm_param *item, const rlm_safetensors *st, const char *name,
                          float *out, rlm_error *err)
{
    int bits = stored_bits(rlm_st_find(st, name));
    int64_t k = item->rank >= 2 ? inputs_of(item) : 0;
    int group = rlm_quant_group(bits);
    if (!k)
        return rlm_fail(err, RLM_E_MODEL, "%s: %s holds integers, expected F32, BF16 or F16",
                        st->path, name);
    int8_t *q = rlm_alloc((size_t)item->count);
    float *scale = rlm_alloc(rlm_size_mul(groups_of(bits, item), sizeof *scale));
    int code = q && scale ? load_quant(item, st, name, q, scale, err)
                          : rlm_fail(err, RLM_E_NOMEM, "%s: no memory for %s", st->path, name);
    int64_t groups = rlm_quant_groups(bits, (int)k), rows = code ? 0 : item->shape[0];
    for (int64_t g = 0; g < rows * groups; g++) {
        int64_t from = g % groups * group, n = k - from < group ? k - from : group;
        const int8_t *at = q + g / groups * k + from;
        for (int64_t i = 0; i < n; i++)
            out[at - q + i] = scale[g] * (float)at[i];
    }
    rlm_free(q);
    rlm_free(scale);
    return code;
}

/* ---- Opening --------------------------------------------------------------------------------- */

typedef struct opening {
    rlm_params *p;
    const rlm_safetensors *st;
    const rlm_kernels *k;
    rlm_par *par;
    rlm_weights weights;
    size_t at; /* into packs */
} opening;

bool rlm_params_in_half(const rlm_param *item, const rlm_kernels *k)
{
    return item->packable && item->rank == 2 && !k->pack_bytes(&item->geom, false);
}

/* What a parameter becomes: bits of quantisation; HALF, rows of bf16; or 0 and the table's packing.
 * Convolutions are quantised in files only. */
enum { HALF = 16 };
static int bits_of(const opening *o, const rlm_param *item)
{
    const rlm_tensor *t = rlm_st_find(o->st, item->name);
    bool as_stored = o->weights == RLM_WEIGHTS_AUTO && t;
    int bits = rlm_params_quant_bits(item, o->weights);
    if (as_stored && item->packable && item->rank == 2)
        bits = stored_bits(t);
    bool bf16 = o->weights == RLM_WEIGHTS_BF16 || (as_stored && t->dtype == RLM_BF16);
    return !bits && bf16 && rlm_params_in_half(item, o->k) ? HALF : bits;
}

static size_t packed_bytes(const opening *o, const rlm_param *item)
{
    int bits = bits_of(o, item);
    if (bits == HALF)
        return rlm_size_align((size_t)item->count * sizeof(uint16_t), RLM_ALIGN);
    if (bits)
        return rlm_quant_bytes(bits, (int)item->shape[0], (int)item->shape[1]);
    if (!item->packable || o->weights == RLM_WEIGHTS_F32)
        return 0;
    return rlm_size_align(o->k->pack_bytes(&item->geom, false), RLM_ALIGN);
}

static int pack_quantised(const opening *o, rlm_param *item, int bits, void *out, rlm_error *err)
{
    int n = (int)item->shape[0], k = (int)inputs_of(item);
    int8_t *q = rlm_alloc((size_t)item->count);
    float *scale = rlm_alloc(rlm_size_mul(groups_of(bits, item), sizeof *scale));
    const rlm_tensor *t = rlm_st_find(o->st, item->name);
    int code = q && scale ? 0 : rlm_fail(err, RLM_E_NOMEM, "%s: no memory", item->name);
    if (!code && t && stored_bits(t) == bits)
        code = load_quant(item, o->st, item->name, q, scale, err);
    else if (!code)
        rlm_quantise(o->par, bits, n, k, item->data, q, scale);
    if (!code) {
        rlm_quant_pack(o->par, bits, n, k, q, scale, out);
        item->weight.quant = out;
        item->weight.bits = bits;
    }
    rlm_free(q);
    rlm_free(scale);
    return code;
}

static void round_to_half(rlm_param *item, uint16_t *out)
{
    for (int64_t i = 0; i < item->count; i++)
        out[i] = rlm_bf16(item->data[i]);
    item->weight.half = out;
}

static int open_item(opening *o, rlm_param *item, rlm_error *err)
{
    size_t bytes = packed_bytes(o, item);
    int bits = bits_of(o, item);
    uint8_t *out = bytes ? (uint8_t *)o->p->packs + o->at : NULL;
    RLM_TRY(rlm_params_load_one(item, o->st, "", err));
    o->at += bytes;
    if (!out)
        return 0;
    if (bits == HALF) {
        round_to_half(item, (uint16_t *)(void *)out);
    } else if (bits) {
        RLM_TRY(pack_quantised(o, item, bits, out, err));
    } else {
        o->k->pack(o->par, &item->geom, item->data, false, out);
        item->weight.pack = out;
    }
    if (!item->shared && (bits || o->k->packs_alone)) {
        item->weight.f32 = NULL;
        rlm_release_pages(item->data, (size_t)item->count * sizeof *item->data);
    }
    return 0;
}

int rlm_params_open(rlm_params *p, const rlm_safetensors *st, const rlm_kernels *k, rlm_par *par,
                    rlm_weights weights, rlm_error *err)
{
    opening o = {.p = p, .st = st, .k = k, .par = par, .weights = weights};
    size_t packs = 0;
    RLM_TRY(rlm_params_lay_out(p, err));
    p->data = rlm_alloc(rlm_size_mul((size_t)p->total, sizeof *p->data));
    for (int i = 0; i < p->count; i++)
        packs = rlm_size_add(packs, packed_bytes(&o, p->items[i]));
    p->packs = packs ? rlm_alloc(packs) : NULL;
    p->pack_bytes = packs;
    if (!p->data || (packs && !p->packs))
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory for %lld parameters", st->path,
                        (long long)p->total);
    size_t at = 0;
    for (int i = 0; i < p->count; i++) {
        rlm_param *item = p->items[i];
        item->data = p->data + at;
        item->weight = (rlm_weight){.f32 = item->data};
        at += rlm_size_align((size_t)item->count, ALIGN_FLOATS);
        RLM_TRY(open_item(&o, item, err));
    }
    return 0;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void put_quantised(const rlm_param *item, int bits, const int8_t *q, const float *scale,
                          uint8_t *bytes, rlm_st_writer *w)
{
    int64_t n = item->shape[0], k = inputs_of(item), wide = bits == 4 ? (k + 1) / 2 : k;
    char name[128];
    for (int64_t i = 0; i < n * wide; i++) {
        int64_t from = i / wide * k + i % wide * 2;
        bool second = i % wide * 2 + 1 < k;
        bytes[i] = bits == 8 ? (uint8_t)q[i]
                             : (uint8_t)((q[from] + 8) | (second ? q[from + 1] + 8 : 8) << 4);
    }
    rlm_tensor t = rlm_tensor_view(bytes, bits == 8 ? RLM_I8 : RLM_U8, 2, (int64_t[]){n, wide});
    rlm_tensor s = rlm_tensor_view((void *)(uintptr_t)scale, RLM_F32, 2,
                                   (int64_t[]){n, rlm_quant_groups(bits, (int)k)});
    snprintf(name, sizeof name, "%s.scale", item->name);
    rlm_st_add(w, item->name, &t, t.dtype);
    rlm_st_add(w, name, &s, bits == 8 ? RLM_F32 : RLM_BF16);
}

/* Bits a file holds of a parameter; 0: not quantised. */
static int file_bits(const rlm_param *item, rlm_weights weights, rlm_params_pick *convs)
{
    if (convs && item->packable && item->rank > 2 && convs(item->name))
        return 8;
    return rlm_params_quant_bits(item, weights);
}

int rlm_params_write(const rlm_params *p, rlm_par *par, rlm_weights weights, rlm_params_pick *convs,
                     const char *path, rlm_error *err)
{
    rlm_st_writer w;
    void **owned = rlm_calloc((size_t)p->count * 3 + 1, sizeof *owned);
    int held = 0, code = owned ? 0 : rlm_fail(err, RLM_E_NOMEM, "%s: no memory", path);
    rlm_dtype plain = weights == RLM_WEIGHTS_F32 ? RLM_F32 : RLM_BF16;
    rlm_st_writer_init(&w);
    rlm_st_add_meta(&w, "format", "reelm");
    for (int i = 0; i < p->count && !code; i++) {
        const rlm_param *item = p->items[i];
        int bits = file_bits(item, weights, convs);
        if (!bits) {
            rlm_tensor t = rlm_tensor_view(item->data, RLM_F32, item->rank, item->shape);
            rlm_st_add(&w, item->name, &t, plain);
            continue;
        }
        int8_t *q = owned[held++] = rlm_alloc((size_t)item->count);
        float *scale = owned[held++] = rlm_alloc(rlm_size_mul(groups_of(bits, item), 4));
        uint8_t *bytes = owned[held++] = rlm_alloc((size_t)item->count);
        if (!q || !scale || !bytes) {
            code = rlm_fail(err, RLM_E_NOMEM, "%s: no memory for %s", path, item->name);
            break;
        }
        rlm_quantise(par, bits, (int)item->shape[0], (int)inputs_of(item), item->data, q, scale);
        put_quantised(item, bits, q, scale, bytes, &w);
    }
    if (!code)
        code = rlm_st_commit(&w, path, err);
    rlm_st_writer_free(&w);
    for (int i = 0; i < held; i++)
        rlm_free(owned[i]);
    rlm_free(owned);
    return code;
}
