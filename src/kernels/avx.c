/* AVX2 and AVX-512 overlays: the forward families. rlm_kernels_init has asked the processor before.
 */
#include "src/kernels/avx.h"

#if RLM_LANES == 16
#define FILL rlm_kernels_avx512
#else
#define FILL rlm_kernels_avx2
#endif
#if RLM_LANES == 16 && defined(RLM_HAVE_BF16)
void rlm_bf16_cache(rlm_kernels *k);
#endif

bool FILL(rlm_kernels *k)
{
    RLM_AVX(conv)(k);
    RLM_AVX(elementwise)(k);
    RLM_AVX(norm)(k);
    RLM_AVX(shuffle)(k);
    RLM_AVX(sequence)(k);
    RLM_AVX(rvq)(k);
    RLM_AVX(cache)(k);
    RLM_AVX(spectrum)(k);
    RLM_AVX(quant)(k);
    RLM_AVX(linear)(k);
    k->attention_forward = RLM_AVX(attention_forward);
#if RLM_LANES == 16 && defined(RLM_HAVE_BF16)
    if (rlm_cpu_detect().avx512_bf16)
        rlm_bf16_cache(k);
#endif
    return true;
}
