/* AVX-512 overlay: the forward families. rlm_kernels_init has asked the processor before. */
#include "src/kernels/avx512.h"

#ifdef RLM_HAVE_BF16
void rlm_bf16_cache(rlm_kernels *k);
#endif

bool rlm_kernels_avx512(rlm_kernels *k)
{
    rlm_avx512_elementwise(k);
    rlm_avx512_norm(k);
    rlm_avx512_shuffle(k);
    rlm_avx512_sequence(k);
    rlm_avx512_cache(k);
    rlm_avx512_spectrum(k);
    rlm_avx512_quant(k);
    k->attention_forward = rlm_avx512_attention_forward;
#ifdef RLM_HAVE_BF16
    if (rlm_cpu_detect().avx512_bf16)
        rlm_bf16_cache(k);
#endif
    return true;
}
