#define _GNU_SOURCE
#include "tests/fault/alloc.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* GNU ld: a call of `malloc` in our objects becomes one of __wrap_malloc; __real_malloc is libc's.
 */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
int __real_posix_memalign(void **p, size_t align, size_t n);
void __real_free(void *p);
void *__real_mmap(void *at, size_t n, int prot, int flags, int fd, off_t from);
int __real_munmap(void *at, size_t n);
int __real_mprotect(void *at, size_t n, int prot);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
int __wrap_posix_memalign(void **p, size_t align, size_t n);
void __wrap_free(void *p);
char *__wrap_strdup(const char *s);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t from);
void *__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t from);
int __wrap_mprotect(void *at, size_t n, int prot);

/* Scratch of kernels is the one place that ends the process, with a sentence: kernels cannot fail
 * (docs/SECURITY.md). It is left out here. */
void *__real_rlm_par_scratch(void *par, int worker, int slot, size_t bytes);
void *__wrap_rlm_par_scratch(void *par, int worker, int slot, size_t bytes);
static _Thread_local int exempt;

enum { SLOTS = 1 << 16, DEPTH = 6 };

typedef struct block {
    void *at; /* NULL: free; GONE: was used */
    int64_t number;
    void *from[DEPTH];
} block;
static void *const GONE = (void *)1;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static block *blocks;
static int64_t asked, missed, fail_at = -1, live, used;
static int fail_rest, telling;

static size_t slot_of(const void *p)
{
    return (size_t)(((uintptr_t)p >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 48) % SLOTS;
}

/* Rebuild when tombstones fill it. */
static void sweep(void)
{
    block *old = blocks;
    blocks = __real_calloc(SLOTS, sizeof *blocks);
    used = 0;
    for (size_t i = 0; old && i < SLOTS; i++)
        if (old[i].at && old[i].at != GONE) {
            size_t s = slot_of(old[i].at);
            while (blocks[s].at)
                s = (s + 1) % SLOTS;
            blocks[s] = old[i];
            used++;
        }
    __real_free(old);
}

static int may(void)
{
    if (exempt)
        return 1;
    pthread_mutex_lock(&lock);
    int64_t n = asked++;
    int fails = fail_at >= 0 && (n == fail_at || (fail_rest && n > fail_at));
    missed += fails;
    pthread_mutex_unlock(&lock);
    if (fails && telling) {
        void *from[8];
        backtrace_symbols_fd(from, backtrace(from, 8), 2);
    }
    errno = fails ? ENOMEM : errno;
    return !fails;
}

static void *keep(void *p)
{
    if (!p)
        return NULL;
    pthread_mutex_lock(&lock);
    if (!blocks || used > SLOTS / 2)
        sweep();
    size_t s = slot_of(p);
    while (blocks[s].at && blocks[s].at != GONE && blocks[s].at != p)
        s = (s + 1) % SLOTS;
    used += !blocks[s].at;
    live += blocks[s].at != p;
    blocks[s] = (block){.at = p, .number = asked};
    if (telling)
        backtrace(blocks[s].from, DEPTH);
    pthread_mutex_unlock(&lock);
    return p;
}

static void drop(const void *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&lock);
    for (size_t s = slot_of(p); blocks && blocks[s].at; s = (s + 1) % SLOTS)
        if (blocks[s].at == p) {
            blocks[s].at = GONE;
            live--;
            break;
        }
    pthread_mutex_unlock(&lock);
}

void *__wrap_malloc(size_t n)
{
    return may() ? keep(__real_malloc(n)) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
    return may() ? keep(__real_calloc(n, size)) : NULL;
}

void *__wrap_realloc(void *p, size_t n)
{
    if (!may())
        return NULL;
    drop(p);
    return keep(__real_realloc(p, n));
}

int __wrap_posix_memalign(void **p, size_t align, size_t n)
{
    int code = may() ? __real_posix_memalign(p, align, n) : ENOMEM;
    if (!code)
        keep(*p);
    return code;
}

char *__wrap_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = __wrap_malloc(n);
    return p ? memcpy(p, s, n) : NULL;
}

void __wrap_free(void *p)
{
    drop(p);
    __real_free(p);
}

void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t from)
{
    return may() ? __real_mmap(at, n, prot, flags, fd, from) : MAP_FAILED;
}

/* `mmap` to the linker where files may be large by default. */
void *__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t from)
{
    return __wrap_mmap(at, n, prot, flags, fd, from);
}

int __wrap_mprotect(void *at, size_t n, int prot)
{
    return prot == PROT_NONE || may() ? __real_mprotect(at, n, prot) : -1;
}

void *__wrap_rlm_par_scratch(void *par, int worker, int slot, size_t bytes)
{
    exempt = 1;
    void *p = __real_rlm_par_scratch(par, worker, slot, bytes);
    exempt = 0;
    return p;
}

void fault_arm(int64_t at, int rest)
{
    static cJSON_Hooks hooks = {__wrap_malloc, __wrap_free};
    cJSON_InitHooks(&hooks);
    pthread_mutex_lock(&lock);
    asked = missed = 0;
    fail_at = at;
    fail_rest = rest;
    for (size_t i = 0; blocks && i < SLOTS; i++)
        blocks[i].number = -1; /* of before */
    pthread_mutex_unlock(&lock);
}

int64_t fault_count(void)
{
    return asked;
}

int64_t fault_missed(void)
{
    return missed;
}

int64_t fault_live(void)
{
    return live;
}

void fault_tell(int on)
{
    telling = on;
}

int64_t fault_leaks(char *where, int bytes)
{
    int64_t count = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; blocks && i < SLOTS; i++) {
        if (!blocks[i].at || blocks[i].at == GONE || blocks[i].number < 0)
            continue;
        if (!count++ && bytes)
            snprintf(where, (size_t)bytes, "number %lld", (long long)blocks[i].number);
        if (telling && count < 4)
            backtrace_symbols_fd(blocks[i].from, DEPTH, 2);
    }
    pthread_mutex_unlock(&lock);
    return count;
}
