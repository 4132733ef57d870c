/* The one owner of threads: a team that spins briefly, then sleeps. BLAS and oneDNN are called
 * single-threaded from inside a team's slices, so no second thread runtime ever owns a core. */
#ifndef RLM_BASE_PAR_H
#define RLM_BASE_PAR_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/diag.h"

typedef struct rlm_par rlm_par;

/* threads <= 0: number of cores this process may use. The team lives until rlm_par_close. */
int rlm_par_open(rlm_par **out, int threads, rlm_error *err);
void rlm_par_close(rlm_par **par);
int rlm_par_threads(const rlm_par *par); /* par NULL: 1 */

/* Run fn(ctx, begin, end, worker) over [0, n) cut into chunks of `grain` (>= 1), each taken by
 * whoever is free. worker in [0, threads). Returns when all are done; waits for chunks, never for a
 * worker that holds none. Nested calls run inline. par NULL: inline. fn's result must not depend on
 * the cut. A team serves one caller at a time: two threads must not call on the same team at once.
 * OpenMP libraries called from fn run single-threaded. */
typedef void (*rlm_par_fn)(void *ctx, int64_t begin, int64_t end, int worker);
void rlm_par_for(rlm_par *par, int64_t n, int64_t grain, rlm_par_fn fn, void *ctx);

/* A worker's private scratch, 64-byte aligned, kept and grown between calls (first use of a size
 * allocates; later steps do not). slot 0..3 are independent. Never NULL: aborts with a message
 * only if the system refuses memory. Contents undefined. par NULL is not allowed. */
void *rlm_par_scratch(rlm_par *par, int worker, int slot, size_t bytes);

#endif
