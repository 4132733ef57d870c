/* AVX-512: spectra. One row of 16 lanes is one register; the compiler sees that by itself. */
#define RLM_SPECTRUM_REAL float
#include "src/kernels/spectrum.h"

#include "src/kernels/avx.h"

void RLM_AVX(spectrum)(rlm_kernels *k)
{
    k->fft = fft;
    k->ear = ear;
}
