#define _GNU_SOURCE
#include "src/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; EINVAL before */
#endif

#define HUGE_PAGE ((size_t)2 << 20)

/* ---- Sizes ---------------------------------------------------------------------------------- */

size_t rlm_size_mul(size_t a, size_t b)
{
    size_t r;
    return a == SIZE_MAX || b == SIZE_MAX || __builtin_mul_overflow(a, b, &r) ? SIZE_MAX : r;
}

size_t rlm_size_add(size_t a, size_t b)
{
    size_t r;
    return __builtin_add_overflow(a, b, &r) ? SIZE_MAX : r;
}

size_t rlm_size_align(size_t bytes, size_t align)
{
    size_t r = rlm_size_add(bytes, align - 1);
    return r == SIZE_MAX ? SIZE_MAX : r & ~(align - 1);
}

/* ---- Heap ----------------------------------------------------------------------------------- */

/* For tests only: the two counters behind rlm_alloc_fail_after. */
static _Atomic int64_t alloc_count;
static _Atomic int64_t alloc_left = -1;
/* Bytes of the heap that rlm_alloc gave and rlm_free has not had back. */
static _Atomic int64_t alloc_bytes;

static bool allowed(void)
{
    atomic_fetch_add_explicit(&alloc_count, 1, memory_order_relaxed);
    int64_t left = atomic_load_explicit(&alloc_left, memory_order_relaxed);
    if (left < 0)
        return true;
    if (left == 0)
        return false;
    atomic_fetch_sub_explicit(&alloc_left, 1, memory_order_relaxed);
    return true;
}

void *rlm_alloc(size_t bytes)
{
    if (!allowed() || bytes > PTRDIFF_MAX)
        return NULL;
    void *p = NULL;
    /* From two huge pages on, align to them: the advice works on whole ones only. */
    size_t align = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : RLM_ALIGN;
    if (posix_memalign(&p, align, bytes ? bytes : 1))
        return NULL;
    if (align == HUGE_PAGE)
        madvise(p, bytes & ~(HUGE_PAGE - 1), MADV_HUGEPAGE);
    int64_t usable = (int64_t)malloc_usable_size(p);
    atomic_fetch_add_explicit(&alloc_bytes, usable, memory_order_relaxed);
    return p;
}

void *rlm_calloc(size_t count, size_t size)
{
    size_t bytes = rlm_size_mul(count, size);
    void *p = rlm_alloc(bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

void *rlm_realloc(void *p, size_t old_bytes, size_t new_bytes)
{
    void *q = rlm_alloc(new_bytes);
    if (!q)
        return NULL;
    if (p)
        memcpy(q, p, old_bytes < new_bytes ? old_bytes : new_bytes);
    rlm_free(p);
    return q;
}

char *rlm_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = rlm_alloc(n);
    return p ? memcpy(p, s, n) : NULL;
}

void rlm_free(void *p)
{
    int64_t usable = (int64_t)malloc_usable_size(p);
    atomic_fetch_sub_explicit(&alloc_bytes, usable, memory_order_relaxed);
    free(p);
}

void rlm_release_pages(void *p, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)p + page - 1) & ~(uintptr_t)(page - 1);
    uintptr_t to = ((uintptr_t)p + bytes) & ~(uintptr_t)(page - 1);
    if (to > from)
        madvise((void *)from, to - from, MADV_DONTNEED);
}

void rlm_alloc_fail_after(int64_t n)
{
    atomic_store(&alloc_left, n);
}

int64_t rlm_alloc_count(void)
{
    return atomic_load(&alloc_count);
}

size_t rlm_alloc_bytes(void)
{
    return (size_t)atomic_load(&alloc_bytes);
}

/* ---- Arena ---------------------------------------------------------------------------------- */

int rlm_arena_reserve(rlm_arena *a, size_t bytes, rlm_error *err)
{
    *a = (rlm_arena){0};
    size_t rounded = rlm_size_align(bytes ? bytes : 1, HUGE_PAGE);
    if (!allowed() || rounded > PTRDIFF_MAX)
        return rlm_fail(err, RLM_E_NOMEM, "cannot reserve %zu bytes of address space", bytes);
    void *p = mmap(NULL, rounded + 2 * HUGE_PAGE, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return rlm_fail(err, RLM_E_NOMEM, "cannot reserve %zu bytes of address space: %s", bytes,
                        strerror(errno));
    /* Trim to a huge page boundary on both sides; the page behind the end is never accessible. */
    uintptr_t from = (uintptr_t)p;
    size_t front = (size_t)(-from & (HUGE_PAGE - 1));
    if (front)
        munmap(p, front);
    a->base = (uint8_t *)p + front;
    if (HUGE_PAGE - front)
        munmap(a->base + rounded + HUGE_PAGE, HUGE_PAGE - front);
    a->reserved = rounded;
    return 0;
}

int rlm_arena_commit(rlm_arena *a, size_t bytes, rlm_error *err)
{
    if (bytes <= a->committed)
        return 0;
    if (bytes > a->reserved)
        return rlm_fail(err, RLM_E_NOMEM, "scratch memory of %zu bytes asked, %zu reserved", bytes,
                        a->reserved);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t end = rlm_size_align(bytes, bytes >= HUGE_PAGE ? HUGE_PAGE : page);
    uint8_t *from = a->base + a->committed;
    size_t grow = end - a->committed;
    if (!allowed() || mprotect(from, grow, PROT_READ | PROT_WRITE))
        return rlm_fail(err, RLM_E_NOMEM, "the system refused %zu bytes of scratch memory", bytes);
    madvise(from, grow, MADV_HUGEPAGE);
    /* Fault the pages in now, in one call: each first touch later costs more than the arithmetic
     * on the page. ENOMEM is a real refusal; an older kernel says EINVAL and is served by hand. */
    if (madvise(from, grow, MADV_POPULATE_WRITE)) {
        if (errno != EINVAL) {
            mprotect(from, grow, PROT_NONE);
            return rlm_fail(err, RLM_E_NOMEM, "the system refused %zu bytes of scratch memory: %s",
                            bytes, strerror(errno));
        }
        for (size_t i = 0; i < grow; i += page)
            ((volatile uint8_t *)from)[i] = 0;
    }
    a->committed = end;
    return 0;
}

void rlm_arena_release(rlm_arena *a)
{
    if (a->base)
        munmap(a->base, a->reserved + HUGE_PAGE);
    *a = (rlm_arena){0};
}

void *rlm_arena_alloc(rlm_arena *a, size_t bytes)
{
    size_t rounded = rlm_size_align(bytes, RLM_ALIGN);
    bool fits = a->used <= a->reserved && rounded <= a->reserved - a->used;
    void *p = a->base + (fits ? a->used : a->reserved);
    a->used = rounded <= SIZE_MAX - a->used ? a->used + rounded : SIZE_MAX;
    if (a->used > a->peak)
        a->peak = a->used;
    return p;
}

size_t rlm_arena_mark(const rlm_arena *a)
{
    return a->used;
}

void rlm_arena_rewind(rlm_arena *a, size_t mark)
{
    assert(mark <= a->used);
    a->used = mark;
}
