/* AVX-512 overlay: the families only training links. */
#include "src/kernels/avx512.h"

bool rlm_kernels_avx512_backward(rlm_kernels *k)
{
    rlm_avx512_elementwise_backward(k);
    rlm_avx512_norm_backward(k);
    rlm_avx512_shuffle_backward(k);
    rlm_avx512_sequence_backward(k);
    rlm_avx512_optim(k);
    k->attention_backward = rlm_avx512_attention_backward;
    return true;
}
