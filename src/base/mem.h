/* Checked size arithmetic, aligned memory, and the arena: scratch planned once, reused for ever. */
#ifndef RLM_BASE_MEM_H
#define RLM_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/diag.h"

#define RLM_ALIGN 64

/* Products and sums that saturate to SIZE_MAX instead of wrapping; SIZE_MAX always fails to
 * allocate, so a chain of them needs one check at its end. */
size_t rlm_size_mul(size_t a, size_t b);
size_t rlm_size_add(size_t a, size_t b);
size_t rlm_size_align(size_t bytes, size_t align); /* align: power of two */

/* 64-byte aligned memory, NOT zeroed (rlm_alloc) or zeroed (rlm_calloc). NULL on failure.
 * Free with rlm_free (NULL allowed). Every heap allocation of the library goes through these two,
 * so that tests can make each one fail in turn (rlm_alloc_fail_after). */
void *rlm_alloc(size_t bytes);
void *rlm_calloc(size_t count, size_t size);
void *rlm_realloc(void *p, size_t old_bytes, size_t new_bytes);
char *rlm_strdup(const char *s);
void rlm_free(void *p);
/* Bytes of the heap that these hold now, the allocator's rounding included. */
size_t rlm_alloc_bytes(void);
/* Whole pages inside [p, p + bytes) go back to the system; their contents are lost. */
void rlm_release_pages(void *p, size_t bytes);

/* Tests: the n-th allocation from now (0 = the next) and all after it fail; -1 switches off. */
void rlm_alloc_fail_after(int64_t n);
int64_t rlm_alloc_count(void);

/* Arena over reserved address space. Life: reserve (inaccessible), commit (usable), alloc / rewind.
 * A dry run allocates from a reserved, uncommitted arena with a table of empty kernels: `peak` is
 * then the exact size to commit, and the real run uses the same addresses. */
typedef struct rlm_arena {
    uint8_t *base;
    size_t reserved;  /* bytes of address space */
    size_t committed; /* bytes readable and writable */
    size_t used;      /* current top */
    size_t peak;      /* highest top since reserve */
} rlm_arena;

int rlm_arena_reserve(rlm_arena *a, size_t bytes, rlm_error *err);
int rlm_arena_commit(rlm_arena *a, size_t bytes, rlm_error *err); /* grows only; pre-faults pages */
void rlm_arena_release(rlm_arena *a);
/* Never NULL, 64-byte aligned. A dry run that passes the reservation counts on, with an address
 * that nobody can use, and rlm_arena_commit refuses its peak. */
void *rlm_arena_alloc(rlm_arena *a, size_t bytes);
size_t rlm_arena_mark(const rlm_arena *a);
void rlm_arena_rewind(rlm_arena *a, size_t mark);

#endif
