/* What the files of the two reference tables share. Private to ref_*.c. */
#ifndef RLM_KERNELS_REF_KERNELS_H
#define RLM_KERNELS_REF_KERNELS_H

#include "src/kernels/kernels.h"

void rlm_kernels_reference_sequence(rlm_kernels *k);          /* ref_sequence.c */
void rlm_kernels_reference_spectrum(rlm_kernels *k);          /* ref_spectrum.c */
void rlm_kernels_reference_cache(rlm_kernels *k);             /* ref_cache.c */
void rlm_kernels_reference_quant(rlm_kernels *k);             /* quant.c */
void rlm_kernels_reference_backward_sequence(rlm_kernels *k); /* ref_backward_sequence.c */

#endif
