/* AVX2 and AVX-512 overlays: the families only training links. */
#include "src/kernels/avx.h"

#if RLM_LANES == 16
#define FILL rlm_kernels_avx512_backward
#else
#define FILL rlm_kernels_avx2_backward
#endif

bool FILL(rlm_kernels *k)
{
    RLM_AVX(conv_backward)(k);
    RLM_AVX(elementwise_backward)(k);
    RLM_AVX(norm_backward)(k);
    RLM_AVX(shuffle_backward)(k);
    RLM_AVX(sequence_backward)(k);
    RLM_AVX(optim)(k);
    k->attention_backward = RLM_AVX(attention_backward);
    return true;
}
