/* Denormals cost a hundred cycles each: flush them where decaying moments, the tails of a softmax
 * or the gradients of what is nearly silent are full of them. Give the result of rlm_flush_begin to
 * rlm_flush_end. Nothing happens on processors without SSE. */
#ifndef RLM_KERNELS_FLUSH_H
#define RLM_KERNELS_FLUSH_H

#ifdef __SSE__
#include <xmmintrin.h>

static inline unsigned rlm_flush_begin(void)
{
    unsigned csr = _mm_getcsr();
    _mm_setcsr(csr | 0x8040); /* flush to zero, denormals are zero */
    return csr;
}
static inline void rlm_flush_end(unsigned csr)
{
    _mm_setcsr(csr);
}
#else
static inline unsigned rlm_flush_begin(void)
{
    return 0;
}
static inline void rlm_flush_end(unsigned csr)
{
    (void)csr;
}
#endif

#endif
