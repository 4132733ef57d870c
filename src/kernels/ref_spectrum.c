/* The definition of the spectra: double accumulators. */
#define RLM_SPECTRUM_REAL double
#include "src/kernels/spectrum.h"

#include "src/kernels/ref_kernels.h"

void rlm_kernels_reference_spectrum(rlm_kernels *k)
{
    k->fft = fft;
    k->ear = ear;
}
