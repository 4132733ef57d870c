/* Ceilings of this machine, measured: register-only loops and a streaming read. For benchmarks. */
#ifndef RLM_KERNELS_PEAK_H
#define RLM_KERNELS_PEAK_H

#include "src/base/par.h"

enum { RLM_PEAK_THREADS = 1024 }; /* at most */

/* FLOP/s with every thread of the team, of AMX in bf16, and of f32 as the highest of `levels`
 * (RLM_LEVEL_*) has it; 0 where there is no such level in this build or CPU. */
double rlm_peak_amx_bf16(rlm_par *par, unsigned levels);
double rlm_peak_f32(rlm_par *par, unsigned levels);
/* Bytes/s read from 256 MiB with every thread; 0 if the memory or a level is not to be had. */
double rlm_peak_read(rlm_par *par, unsigned levels);

/* Seconds of a loop on every thread, the shortest of eight runs: clocks and units must have woken
 * up. */
double rlm_peak_time(rlm_par *par, rlm_par_fn fn, void *ctx);

/* The loops of each level. */
double rlm_amx_peak_bf16(rlm_par *par);
double rlm_avx512_peak_f32(rlm_par *par);
double rlm_avx512_peak_read(rlm_par *par);
double rlm_simd_peak_f32(rlm_par *par);
double rlm_simd_peak_read(rlm_par *par);
double rlm_avx2_peak_f32(rlm_par *par);
double rlm_avx2_peak_read(rlm_par *par);

#endif
