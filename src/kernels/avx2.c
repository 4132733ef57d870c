/* AVX2 overlay: the forward families. rlm_kernels_init has asked the processor before. */
#include "src/kernels/avx.h"

bool rlm_kernels_avx2(rlm_kernels *k)
{
    rlm_avx2_elementwise(k);
    rlm_avx2_norm(k);
    rlm_avx2_shuffle(k);
    rlm_avx2_sequence(k);
    rlm_avx2_cache(k);
    rlm_avx2_spectrum(k);
    rlm_avx2_quant(k);
    k->attention_forward = rlm_avx2_attention_forward;
    return true;
}
