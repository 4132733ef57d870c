/* Ceilings of this machine, measured: register-only loops and a streaming read. For benchmarks. */
#ifndef RLM_KERNELS_PEAK_H
#define RLM_KERNELS_PEAK_H

#include "src/base/par.h"

/* FLOP/s with every thread of the team; 0 where the level does not exist in this build or CPU. Each
 * takes about 50 ms. */
double rlm_peak_amx_bf16(rlm_par *par);
double rlm_peak_avx512_f32(rlm_par *par);
/* Bytes/s read from 256 MiB with every thread; 0 if the memory is not to be had. */
double rlm_peak_read(rlm_par *par);

#endif
