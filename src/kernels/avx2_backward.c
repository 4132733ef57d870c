/* AVX2 overlay: the families only training links. */
#include "src/kernels/avx.h"

bool rlm_kernels_avx2_backward(rlm_kernels *k)
{
    rlm_avx2_elementwise_backward(k);
    rlm_avx2_norm_backward(k);
    rlm_avx2_shuffle_backward(k);
    rlm_avx2_sequence_backward(k);
    rlm_avx2_optim(k);
    k->attention_backward = rlm_avx2_attention_backward;
    return true;
}
