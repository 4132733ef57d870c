/* A team of threads - 1 workers plus the caller. A job is published as a ticket: its number and how
 * many of its chunks nobody has taken. Who takes a chunk does so by exchanging the ticket for one
 * with a chunk less; the caller takes chunks like everybody else and then waits for those taken,
 * not for workers: a worker that the system keeps off its core costs nothing as long as it holds no
 * chunk. Workers see a new ticket by spinning for a while, then by sleeping on a condition
 * variable. Between the layers of a network a new job comes within microseconds, so the spin nearly
 * always wins; an idle team costs nothing after it. */
#define _GNU_SOURCE
#include "src/base/par.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/base/mem.h"

#ifdef RLM_HAVE_OPENMP
/* From the runtime OpenBLAS and oneDNN were linked with. Both act on the calling thread only. */
void omp_set_num_threads(int n);
int omp_get_max_threads(void);
#else
static void omp_set_num_threads(int n)
{
    (void)n;
}
static int omp_get_max_threads(void)
{
    return 1;
}
#endif

#define SLOTS        4
#define SPIN_SECONDS 40e-6
#define MAX_THREADS  1024

typedef struct worker {
    _Alignas(RLM_ALIGN) struct rlm_par *par;
    int index;
    pthread_t thread;
    void *scratch[SLOTS];
    size_t scratch_bytes[SLOTS];
} worker;

struct rlm_par {
    int threads;
    worker *workers; /* [threads]; 0 is the caller */

    /* The job. Written by the caller while no chunk of the one before is open, read by those who
     * hold a chunk. */
    rlm_par_fn fn;
    void *ctx;
    int64_t n, grain;
    uint32_t chunks;

    _Alignas(RLM_ALIGN) _Atomic uint64_t ticket; /* number of the job << 32 | chunks not taken */
    _Alignas(RLM_ALIGN) _Atomic uint32_t done;   /* chunks finished */
    _Alignas(RLM_ALIGN) _Atomic int sleeping;    /* workers in or about to enter the wait */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_bool stop;
};

/* The team whose slice this thread runs; non-NULL makes nested calls run inline. */
static _Thread_local const rlm_par *inside;
static _Thread_local int inside_worker;

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Take and run chunks until none is left; returns the last ticket seen. */
static uint64_t run_chunks(rlm_par *par, int w)
{
    uint64_t t = atomic_load_explicit(&par->ticket, memory_order_acquire);
    while ((uint32_t)t > 0) {
        if (!atomic_compare_exchange_weak_explicit(&par->ticket, &t, t - 1, memory_order_acquire,
                                                   memory_order_acquire))
            continue;
        int64_t begin = (int64_t)(par->chunks - (uint32_t)t) * par->grain;
        int64_t end = par->n - begin > par->grain ? begin + par->grain : par->n;
        par->fn(par->ctx, begin, end, w);
        atomic_fetch_add_explicit(&par->done, 1, memory_order_release);
        t = atomic_load_explicit(&par->ticket, memory_order_acquire);
    }
    return t;
}

/* Wait until there is another job than that of ticket `seen`: spin, then sleep. */
static void await_job(rlm_par *par, uint64_t seen)
{
    double until = 0;
    for (int i = 0;; i++) {
        if (atomic_load_explicit(&par->ticket, memory_order_acquire) >> 32 != seen >> 32)
            return;
        relax();
        if (i % 64 == 63) {
            double t = rlm_now();
            if (until == 0)
                until = t + SPIN_SECONDS;
            else if (t > until)
                break;
        }
    }
    pthread_mutex_lock(&par->lock);
    atomic_fetch_add(&par->sleeping, 1);
    while (atomic_load(&par->ticket) >> 32 == seen >> 32)
        pthread_cond_wait(&par->wake, &par->lock);
    atomic_fetch_sub(&par->sleeping, 1);
    pthread_mutex_unlock(&par->lock);
}

static void *worker_main(void *arg)
{
    worker *me = arg;
    rlm_par *par = me->par;
    omp_set_num_threads(1);
    inside = par;
    inside_worker = me->index;
    uint64_t seen = 0;
    while (!par->stop) { /* asked before every wait: the ticket seen last may be the closing one */
        await_job(par, seen);
        seen = run_chunks(par, me->index);
    }
    return NULL;
}

/* A new ticket, and sleepers woken. A worker that saw the old one under the lock is either asleep
 * (sleeping > 0) or will see the new one: both sides use sequentially consistent accesses. */
static void publish(rlm_par *par, uint32_t chunks)
{
    uint64_t number = (atomic_load_explicit(&par->ticket, memory_order_relaxed) >> 32) + 1;
    atomic_store(&par->ticket, number << 32 | chunks);
    if (atomic_load(&par->sleeping) > 0) {
        pthread_mutex_lock(&par->lock);
        pthread_cond_broadcast(&par->wake);
        pthread_mutex_unlock(&par->lock);
    }
}

static int available_cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n;
}

int rlm_par_open(rlm_par **out, int threads, rlm_error *err)
{
    *out = NULL;
    if (threads <= 0)
        threads = available_cores();
    if (threads > MAX_THREADS)
        return rlm_fail(err, RLM_E_RANGE, "threads is %d, at most %d are possible", threads,
                        MAX_THREADS);
    rlm_par *par = rlm_calloc(1, sizeof *par);
    worker *workers = rlm_calloc((size_t)threads, sizeof *workers);
    if (!par || !workers) {
        rlm_free(par);
        rlm_free(workers);
        return rlm_fail(err, RLM_E_NOMEM, "no memory for a team of %d threads", threads);
    }
    par->workers = workers;
    par->threads = 1;
    pthread_mutex_init(&par->lock, NULL);
    pthread_cond_init(&par->wake, NULL);
    for (int i = 0; i < threads; i++) {
        workers[i].par = par;
        workers[i].index = i;
    }
    for (int i = 1; i < threads; i++) {
        int e = pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]);
        if (e) {
            rlm_par_close(&par);
            return rlm_fail(err, RLM_E_NOMEM, "the system refused thread %d of %d", i + 1, threads);
        }
        par->threads = i + 1;
    }
    *out = par;
    return 0;
}

void rlm_par_close(rlm_par **p)
{
    rlm_par *par = *p;
    *p = NULL;
    if (!par)
        return;
    par->stop = true;
    publish(par, 0);
    for (int i = 1; i < par->threads; i++)
        pthread_join(par->workers[i].thread, NULL);
    for (int i = 0; i < par->threads; i++)
        for (int s = 0; s < SLOTS; s++)
            rlm_free(par->workers[i].scratch[s]);
    pthread_cond_destroy(&par->wake);
    pthread_mutex_destroy(&par->lock);
    rlm_free(par->workers);
    rlm_free(par);
}

int rlm_par_threads(const rlm_par *par)
{
    return par ? par->threads : 1;
}

/* The caller's OpenMP setting is its own: lowered for the call, then put back. */
static void run_here(rlm_par *par, rlm_par_fn fn, void *ctx, int64_t n, bool team)
{
    int omp_threads = omp_get_max_threads();
    omp_set_num_threads(1);
    inside = par;
    inside_worker = 0;
    if (team)
        run_chunks(par, 0);
    else
        fn(ctx, 0, n, 0);
    inside = NULL;
    omp_set_num_threads(omp_threads);
}

void rlm_par_for(rlm_par *par, int64_t n, int64_t grain, rlm_par_fn fn, void *ctx)
{
    assert(grain >= 1);
    if (n <= 0)
        return;
    if (!par || inside) {
        fn(ctx, 0, n, inside == par ? inside_worker : 0);
        return;
    }
    if (par->threads == 1 || n <= grain) {
        run_here(par, fn, ctx, n, false);
        return;
    }
    if ((n - 1) / grain >= UINT32_MAX)
        grain = n / UINT32_MAX + 1;
    par->fn = fn;
    par->ctx = ctx;
    par->n = n;
    par->grain = grain;
    par->chunks = (uint32_t)((n + grain - 1) / grain);
    atomic_store_explicit(&par->done, 0, memory_order_relaxed);
    publish(par, par->chunks);
    run_here(par, fn, ctx, n, true);
    /* The chunks that others hold; give the core away if they are not running. */
    for (int i = 0; atomic_load_explicit(&par->done, memory_order_acquire) < par->chunks; i++) {
        relax();
        if (i % 256 == 255) /* some 10 us */
            sched_yield();
    }
}

void *rlm_par_scratch(rlm_par *par, int w, int slot, size_t bytes)
{
    assert(par && w >= 0 && w < par->threads && slot >= 0 && slot < SLOTS);
    worker *me = &par->workers[w];
    if (me->scratch_bytes[slot] < bytes) {
        rlm_free(me->scratch[slot]);
        me->scratch_bytes[slot] = bytes;
        me->scratch[slot] = rlm_alloc(bytes);
        if (!me->scratch[slot]) {
            fprintf(stderr, "reelm: no memory for %zu bytes of scratch\n", bytes);
            abort();
        }
    }
    return me->scratch[slot];
}
