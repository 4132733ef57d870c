/* Background loader: a ring of `depth` slots; sample i lives in slot i % depth. Workers claim
 * indices in order and may finish in any; the consumer waits for exactly the next one. The one
 * place outside src/base/par.c with threads: they wait on files and decoders, not on arithmetic. */
#include "src/train/train.h"

#include <pthread.h>

enum { THREADS_MAX = 64, SLOT_EMPTY = 0, SLOT_READY, SLOT_FAILED };

struct rlm_loader {
    rlm_loader_fill fill;
    void *ctx;
    size_t slot_bytes;
    uint8_t *memory;
    int *state; /* of each slot */
    int depth, threads;
    pthread_t thread[THREADS_MAX];
    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    int64_t claimed;  /* next index to be filled */
    int64_t served;   /* next index to be handed out */
    int64_t released; /* indices below this may be overwritten */
    bool stop;
};

static void *slot_of(const rlm_loader *l, int64_t index)
{
    return l->memory + (size_t)(index % l->depth) * l->slot_bytes;
}

static void *worker(void *arg)
{
    rlm_loader *l = arg;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (l->claimed >= l->released + l->depth) {
            pthread_cond_wait(&l->work, &l->lock);
            continue;
        }
        int64_t index = l->claimed++;
        pthread_mutex_unlock(&l->lock);
        int code = l->fill(l->ctx, index, slot_of(l, index));
        pthread_mutex_lock(&l->lock);
        l->state[index % l->depth] = code ? SLOT_FAILED : SLOT_READY;
        pthread_cond_broadcast(&l->ready);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

int rlm_loader_open(rlm_loader **out, int threads, int depth, size_t slot_bytes, int64_t first,
                    rlm_loader_fill fill, void *ctx, rlm_error *err)
{
    *out = NULL;
    if (depth < 3 || threads < 0 || threads > THREADS_MAX || first < 0)
        return rlm_fail(err, RLM_E_ARG, "loader: depth %d (at least 3), threads %d (0..%d)", depth,
                        threads, THREADS_MAX);
    rlm_loader *l = rlm_calloc(1, sizeof *l);
    if (!l)
        return rlm_fail(err, RLM_E_NOMEM, "loader: no memory");
    l->fill = fill;
    l->ctx = ctx;
    l->depth = depth;
    l->slot_bytes = rlm_size_align(slot_bytes, RLM_ALIGN);
    l->claimed = l->served = l->released = first;
    l->memory = rlm_calloc((size_t)depth, l->slot_bytes);
    l->state = rlm_calloc((size_t)depth, sizeof *l->state);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->ready, NULL);
    int code = l->memory && l->state
                   ? 0
                   : rlm_fail(err, RLM_E_NOMEM, "loader: no memory for %d slots of %zu bytes",
                              depth, slot_bytes);
    while (!code && l->threads < threads) {
        if (pthread_create(&l->thread[l->threads], NULL, worker, l))
            code = rlm_fail(err, RLM_E_NOMEM, "loader: the system refused thread %d", l->threads);
        else
            l->threads++;
    }
    if (code)
        rlm_loader_close(&l);
    *out = l;
    return code;
}

/* Without threads: the sample is made when asked for. */
static const void *next_inline(rlm_loader *l)
{
    int64_t index = l->served++;
    return l->fill(l->ctx, index, slot_of(l, index)) ? NULL : slot_of(l, index);
}

const void *rlm_loader_next(rlm_loader *l)
{
    if (!l->threads)
        return next_inline(l);
    pthread_mutex_lock(&l->lock);
    int64_t index = l->served++;
    /* the sample before this one stays with the caller; the one before that is free again */
    while (l->released < index - 1) {
        l->state[l->released % l->depth] = SLOT_EMPTY;
        l->released++;
    }
    pthread_cond_broadcast(&l->work);
    int *state = &l->state[index % l->depth];
    while (*state == SLOT_EMPTY)
        pthread_cond_wait(&l->ready, &l->lock);
    bool good = *state == SLOT_READY;
    pthread_mutex_unlock(&l->lock);
    return good ? slot_of(l, index) : NULL;
}

void rlm_loader_close(rlm_loader **lp)
{
    rlm_loader *l = *lp;
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->threads; i++)
        pthread_join(l->thread[i], NULL);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->ready);
    rlm_free(l->memory);
    rlm_free(l->state);
    rlm_free(l);
    *lp = NULL;
}
