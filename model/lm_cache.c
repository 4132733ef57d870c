/* Generation with cached keys and values.
 *
 * Cache: [layer][sequence][head] regions (src/kernels/cache.h) in bf16 or 8 bits, after QK norm and
 * rotation, so a cached position never has to be touched again. */
#include "model/lm_private.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "src/kernels/cache.h"

struct rlm_lm_cache {
    int room, batch, capacity; /* sequences: allocated, in use; positions */
    int layers, heads, dim;    /* dim: of a head */
    int bits;                  /* 16 or 8 */
    uint8_t *data;
    int *length;    /* [batch] */
    int *seen;      /* [batch]: of the step in progress */
    float *hidden;  /* [batch][heads * dim] */
    float *angle;   /* [max(capacity, batch)][dim / 2]: of the tokens in progress */
    rlm_lm_ids ids; /* of the tokens in progress */
};

static rlm_cache_shape shape_of(const rlm_lm_cache *c, int batch, int rows)
{
    return (rlm_cache_shape){.batch = batch,
                             .rows = rows,
                             .heads = c->heads,
                             .dim = c->dim,
                             .capacity = c->capacity,
                             .q_stride = 3 * c->heads * c->dim,
                             .bits = c->bits,
                             .seen = c->seen,
                             .scale = 1.0f / sqrtf((float)c->dim)};
}

size_t rlm_lm_cache_bytes(const rlm_lm_config *g, int bits, int batch, int capacity)
{
    rlm_cache_shape s = {.dim = g->dim / g->heads, .capacity = capacity, .bits = bits};
    return rlm_size_mul(rlm_size_mul((size_t)g->layers, (size_t)batch),
                        rlm_size_mul((size_t)g->heads, rlm_cache_head_bytes(&s)));
}

int rlm_lm_cache_new(rlm_lm_cache **out, const rlm_lm *lm, int batch, int capacity, rlm_error *err)
{
    return rlm_lm_cache_new_as(out, lm, 16, batch, capacity, err);
}

int rlm_lm_cache_new_as(rlm_lm_cache **out, const rlm_lm *lm, int bits, int batch, int capacity,
                        rlm_error *err)
{
    const rlm_lm_config *g = &lm->config;
    *out = NULL;
    assert(bits == 16 || bits == 8);
    if (batch < 1 || batch > 1024 || capacity < 1 || capacity > g->max_len)
        return rlm_fail(err, RLM_E_RANGE,
                        "lm cache: %d sequences of %d positions, expected 1..1024 of 1..%d", batch,
                        capacity, g->max_len);
    rlm_lm_cache *c = rlm_calloc(1, sizeof *c);
    if (!c)
        return rlm_fail(err, RLM_E_NOMEM, "lm cache: no memory");
    c->room = c->batch = batch;
    c->bits = bits;
    c->capacity = capacity;
    c->layers = g->layers;
    c->heads = g->heads;
    c->dim = g->dim / g->heads;
    size_t rows = (size_t)(capacity > batch ? capacity : batch);
    c->data = rlm_calloc(rlm_lm_cache_bytes(g, bits, batch, capacity), 1);
    c->length = rlm_calloc((size_t)batch, sizeof *c->length);
    c->seen = rlm_calloc((size_t)batch, sizeof *c->seen);
    c->hidden = rlm_calloc(rlm_size_mul((size_t)batch, (size_t)g->dim), sizeof *c->hidden);
    c->angle = rlm_alloc(rlm_size_mul(rows, (size_t)c->dim / 2 * sizeof *c->angle));
    if (!c->data || !c->length || !c->seen || !c->hidden || !c->angle ||
        rlm_lm_ids_new(&c->ids, lm, (int64_t)rows, NULL)) {
        rlm_lm_cache_free(&c);
        return rlm_fail(err, RLM_E_NOMEM, "lm cache: no memory for %d sequences of %d positions",
                        batch, capacity);
    }
    *out = c;
    return 0;
}

void rlm_lm_cache_free(rlm_lm_cache **cache)
{
    rlm_lm_cache *c = *cache;
    if (c) {
        rlm_free(c->data);
        rlm_free(c->length);
        rlm_free(c->seen);
        rlm_free(c->hidden);
        rlm_free(c->angle);
        rlm_lm_ids_free(&c->ids);
    }
    rlm_free(c);
    *cache = NULL;
}

void rlm_lm_cache_use(rlm_lm_cache *c, int sequences)
{
    assert(sequences >= 1 && sequences <= c->room);
    c->batch = sequences;
}

void rlm_lm_cache_rewind(rlm_lm_cache *c, int sequence, int length)
{
    assert(sequence >= 0 && sequence < c->batch);
    assert(length >= 0 && length <= c->length[sequence]);
    c->length[sequence] = length;
}

void rlm_lm_cache_blank(rlm_lm_cache *c, int sequence, int length)
{
    assert(sequence >= 0 && sequence < c->batch && length >= 0 && length <= c->capacity);
    c->length[sequence] = length;
}

int rlm_lm_cache_length(const rlm_lm_cache *c, int sequence)
{
    return c->length[sequence];
}

const float *rlm_lm_last_hidden(const rlm_lm_cache *c)
{
    return c->hidden;
}

static uint8_t *cache_at(const rlm_lm_cache *c, int layer, int sequence)
{
    rlm_cache_shape s = shape_of(c, 1, 1);
    size_t regions = ((size_t)layer * (size_t)c->room + (size_t)sequence) * (size_t)c->heads;
    return c->data + regions * rlm_cache_head_bytes(&s);
}

void rlm_lm_cache_copy(rlm_lm_cache *c, int from, int to)
{
    rlm_cache_shape s = shape_of(c, 1, 1);
    assert(from >= 0 && from < c->batch && to >= 0 && to < c->batch);
    size_t width = (size_t)c->heads * (size_t)c->dim;
    for (int layer = 0; layer < c->layers && from != to; layer++)
        memcpy(cache_at(c, layer, to), cache_at(c, layer, from),
               (size_t)c->heads * rlm_cache_head_bytes(&s));
    memmove(c->hidden + (size_t)to * width, c->hidden + (size_t)from * width,
            width * sizeof *c->hidden);
    c->length[to] = c->length[from];
}

/* Keys and values of new positions: `rows` of one sequence, or one of each (sequence < 0). */
static void store(rlm_run *run, rlm_lm_cache *c, int layer, int sequence, const rlm_tensor *qkv)
{
    bool one = sequence >= 0;
    rlm_cache_shape s = shape_of(c, one ? 1 : c->batch, one ? (int)rlm_tensor_rows(qkv) : 1);
    run->k->cache_store(run->par, &s, rlm_f32(qkv), c->length + (one ? sequence : 0),
                        cache_at(c, layer, one ? sequence : 0));
}

/* Attention of one new row of each sequence against the cache. */
static rlm_tensor attend_cached(rlm_run *run, const rlm_lm_cache *c, int layer,
                                const rlm_tensor *qkv)
{
    rlm_cache_shape s = shape_of(c, c->batch, 1);
    rlm_tensor y = rlm_tensor_new(run, 2, (int64_t[2]){c->batch, (int64_t)c->heads * c->dim});
    run->k->attention_cached(run->par, &s, rlm_f32(qkv), cache_at(c, layer, 0), rlm_f32(&y));
    return y;
}

/* Attention of the rows of a prefix among themselves. */
static rlm_tensor attend_prefix(rlm_run *run, const rlm_attention *a, const rlm_tensor *qkv)
{
    int rows = (int)rlm_tensor_rows(qkv);
    rlm_attention_in in = {.batch = 1, .len = rows, .prefix = &rows, .length = &rows};
    return rlm_attention_forward(run, a, &in, qkv);
}

/* One block over the rows in progress: all of one sequence (prefix), or one of each. In place on x.
 */
static void block_cached(rlm_run *run, const rlm_lm_block *b, rlm_lm_cache *c, int layer,
                         int sequence, rlm_tensor *x)
{
    size_t scope = rlm_scope_open(run);
    bool prefix = sequence >= 0;
    rlm_tensor qkv = rlm_qkv_forward(run, &b->attn_norm, &b->qkv, &b->attn, x, c->angle);
    store(run, c, layer, sequence, &qkv);
    rlm_tensor a = prefix ? attend_prefix(run, &b->attn, &qkv) : attend_cached(run, c, layer, &qkv);
    *x = rlm_linear_residual_forward(run, &b->out, &a, x);
    *x = rlm_mlp_forward(run, &b->mlp_norm, &b->up, &b->down, x);
    rlm_scope_close(run, scope);
}

static void place(const rlm_lm *lm, rlm_lm_cache *c, const int32_t *ids, const int32_t *pos,
                  int count)
{
    for (int i = 0; i < count; i++) {
        rlm_lm_ids_set(&c->ids, lm, i, ids[i]);
        rlm_lm_angles(lm, pos + 3 * i, c->angle + (size_t)i * (size_t)c->dim / 2);
    }
}

void rlm_lm_prefill(rlm_run *run, const rlm_lm *lm, rlm_lm_cache *c, int sequence,
                    const int32_t *ids, const int32_t *pos, int count)
{
    assert(!run->tape && sequence >= 0 && sequence < c->batch);
    assert(c->length[sequence] == 0 && count >= 1 && count <= c->capacity);
    size_t scope = rlm_scope_open(run);
    int64_t dim = lm->config.dim;
    place(lm, c, ids, pos, count);
    rlm_tensor x = rlm_lm_embed(run, lm, &c->ids, count);
    for (int i = 0; i < c->layers; i++)
        block_cached(run, &lm->blocks[i], c, i, sequence, &x);
    int64_t shape[2] = {1, dim};
    rlm_tensor last = rlm_tensor_view(rlm_f32(&x) + (count - 1) * dim, RLM_F32, 2, shape);
    rlm_tensor h = rlm_rmsnorm_forward(run, &lm->norm, &last);
    run->k->copy(run->par, dim, rlm_f32(&h), c->hidden + sequence * dim);
    c->length[sequence] = count;
    rlm_scope_close(run, scope);
}

void rlm_lm_step(rlm_run *run, const rlm_lm *lm, rlm_lm_cache *c, const int32_t *ids,
                 const int32_t *pos, float *hidden)
{
    assert(!run->tape);
    size_t scope = rlm_scope_open(run);
    int64_t count = (int64_t)c->batch * lm->config.dim;
    for (int n = 0; n < c->batch; n++) {
        assert(c->length[n] >= 1 && c->length[n] < c->capacity);
        c->seen[n] = c->length[n] + 1;
    }
    place(lm, c, ids, pos, c->batch);
    rlm_tensor x = rlm_lm_embed(run, lm, &c->ids, c->batch);
    for (int i = 0; i < c->layers; i++)
        block_cached(run, &lm->blocks[i], c, i, -1, &x);
    rlm_tensor h = rlm_rmsnorm_forward(run, &lm->norm, &x);
    run->k->copy(run->par, count, rlm_f32(&h), c->hidden);
    if (hidden)
        run->k->copy(run->par, count, rlm_f32(&h), hidden);
    for (int n = 0; n < c->batch; n++)
        c->length[n]++;
    rlm_scope_close(run, scope);
}
