/* oneDNN overlay: the bf16 product. Primitives are made once a shape and kept: making one takes
 * longer than running it. The store is shared by all threads behind a lock and lives as long as
 * the process, like the cache inside oneDNN. */
#include "src/kernels/dnn.h"

#include <pthread.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>

enum { STORE = 1024 }; /* shapes; a power of two */

typedef struct shape_key {
    int m, n, k, ldb;
    bool ta, tb;
} shape_key;

typedef struct made {
    shape_key key;
    bool used;
    dnnl_primitive_t primitive; /* NULL: oneDNN refused this shape */
    dnnl_memory_desc_t a, b, c, scratch;
} made;

static struct store {
    pthread_mutex_t lock;
    dnnl_engine_t engine;
    made items[STORE];
    int count;
} store = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool describe(made *it)
{
    const shape_key *k = &it->key;
    dnnl_dims_t a = {k->m, k->k}, b = {k->k, k->n}, c = {k->m, k->n};
    dnnl_dims_t step_b = {k->tb ? 1 : k->ldb, k->tb ? k->ldb : 1};
    return dnnl_memory_desc_init_by_tag(&it->a, 2, a, dnnl_bf16, k->ta ? dnnl_ba : dnnl_ab) ==
               dnnl_success &&
           dnnl_memory_desc_init_by_strides(&it->b, 2, b, dnnl_bf16, step_b) == dnnl_success &&
           dnnl_memory_desc_init_by_tag(&it->c, 2, c, dnnl_f32, dnnl_ab) == dnnl_success;
}

/* Leaves it->primitive NULL on any refusal. */
static void make(made *it, dnnl_engine_t engine)
{
    dnnl_matmul_desc_t desc;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    if (describe(it) && dnnl_primitive_attr_create(&attr) == dnnl_success &&
        dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success &&
        dnnl_matmul_desc_init(&desc, &it->a, &it->b, NULL, &it->c) == dnnl_success &&
        dnnl_primitive_desc_create(&pd, &desc, attr, engine, NULL) == dnnl_success) {
        it->scratch = *dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
        if (dnnl_primitive_create(&it->primitive, pd) != dnnl_success)
            it->primitive = NULL;
    }
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
}

/* The kept primitive of a shape, NULL in it if oneDNN has none; NULL if the store is full. */
static const made *find(const shape_key *key, dnnl_engine_t *engine)
{
    const made *found = NULL;
    uint64_t hash = (uint64_t)key->m * 0x9e3779b1u + (uint64_t)key->n * 0x85ebca6bu;
    hash +=
        (uint64_t)key->k * 0xc2b2ae35u + (uint64_t)key->ldb * 0x27d4eb2fu + key->ta * 2 + key->tb;
    pthread_mutex_lock(&store.lock);
    if (!store.engine && dnnl_engine_create(&store.engine, dnnl_cpu, 0) != dnnl_success)
        store.engine = NULL;
    *engine = store.engine;
    for (uint64_t i = hash >> 7; store.engine; i++) {
        made *it = &store.items[i % STORE];
        if (!it->used && store.count < STORE / 2) {
            *it = (made){.key = *key, .used = true};
            make(it, store.engine);
            store.count++;
        }
        if (!it->used)
            break;
        if (it->key.m == key->m && it->key.n == key->n && it->key.k == key->k &&
            it->key.ldb == key->ldb && it->key.ta == key->ta && it->key.tb == key->tb) {
            found = it;
            break;
        }
    }
    pthread_mutex_unlock(&store.lock);
    return found;
}

/* What a shape without a primitive gets. */
static void multiply_plain(const rlm_dnn_product *p)
{
    for (int64_t m = 0; m < p->m; m++) {
        for (int64_t n = 0; n < p->n; n++) {
            double sum = 0;
            for (int64_t k = 0; k < p->k; k++)
                sum += (double)rlm_unbf16(p->a[p->ta ? k * p->m + m : m * p->k + k]) *
                       rlm_unbf16(p->b[p->tb ? n * p->ldb + k : k * p->ldb + n]);
            p->c[m * p->n + n] = (float)sum;
        }
    }
}

static bool execute(const made *it, dnnl_engine_t engine, const rlm_dnn_product *p, void *scratch)
{
    static const int names[4] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD};
    const dnnl_memory_desc_t *descs[4] = {&it->a, &it->b, &it->c, &it->scratch};
    void *data[4] = {(void *)p->a, (void *)p->b, p->c, scratch};
    dnnl_exec_arg_t args[4] = {{0, NULL}};
    dnnl_stream_t stream = NULL;
    bool good = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success;
    for (int i = 0; i < 4 && good; i++) {
        args[i].arg = names[i];
        good = dnnl_memory_create(&args[i].memory, descs[i], engine, data[i]) == dnnl_success;
    }
    good = good && dnnl_primitive_execute(it->primitive, stream, 4, args) == dnnl_success &&
           dnnl_stream_wait(stream) == dnnl_success;
    for (int i = 0; i < 4; i++)
        if (args[i].memory)
            dnnl_memory_destroy(args[i].memory);
    if (stream)
        dnnl_stream_destroy(stream);
    return good;
}

void rlm_dnn_multiply(rlm_par *par, int worker, const rlm_dnn_product *p)
{
    shape_key key = {p->m, p->n, p->k, p->ldb, p->ta, p->tb};
    dnnl_engine_t engine = NULL;
    made once = {.key = key}; /* past a full store: slower, the same sums */
    const made *it = find(&key, &engine);
    if (!it && engine)
        make(&once, engine);
    it = it ? it : &once;
    size_t bytes = it->primitive ? dnnl_memory_desc_get_size(&it->scratch) : 0;
    void *scratch = rlm_par_scratch(par, worker, 3, bytes + 64);
    if (!it->primitive || !execute(it, engine, p, scratch))
        multiply_plain(p);
    if (once.primitive)
        dnnl_primitive_destroy(once.primitive);
}
