/* Lanes: spectra. Rows of 16 numbers are whole registers at every level; the compiler sees that by
 * itself. */
#define RLM_SPECTRUM_REAL float
#include "src/kernels/spectrum.h"

#include "src/kernels/lanes.h"

void V_NAME(spectrum)(rlm_kernels *k)
{
    k->fft = fft;
    k->ear = ear;
}
