/* The overlays in lanes: the families that only training links. */
#include "src/kernels/lanes.h"

bool V_JOIN(V_FILL, _backward)(rlm_kernels *k)
{
    V_NAME(conv_backward)(k);
    V_NAME(elementwise_backward)(k);
    V_NAME(norm_backward)(k);
    V_NAME(shuffle_backward)(k);
    V_NAME(sequence_backward)(k);
    V_NAME(optim)(k);
    k->attention_backward = V_NAME(attention_backward);
    return true;
}
