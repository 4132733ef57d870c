/* The overlays in lanes: the forward families. rlm_kernels_init has asked the processor before. */
#include "src/kernels/lanes.h"

#if RLM_LANES == 16 && defined(RLM_HAVE_BF16)
void rlm_bf16_cache(rlm_kernels *k);
#endif

bool V_FILL(rlm_kernels *k)
{
    V_NAME(conv)(k);
    V_NAME(elementwise)(k);
    V_NAME(norm)(k);
    V_NAME(shuffle)(k);
    V_NAME(sequence)(k);
    V_NAME(rvq)(k);
    V_NAME(cache)(k);
    V_NAME(spectrum)(k);
    V_NAME(quant)(k);
    V_NAME(linear)(k);
    k->attention_forward = V_NAME(attention_forward);
#if RLM_LANES == 16 && defined(RLM_HAVE_BF16)
    if (rlm_cpu_detect().avx512_bf16)
        rlm_bf16_cache(k);
#endif
    return true;
}
