/* No ceilings in a build without the overlay whose loops measure them (amx_peak.c). */
#include "src/kernels/peak.h"

#if !defined(RLM_HAVE_AMX)
double rlm_peak_amx_bf16(rlm_par *par)
{
    (void)par;
    return 0;
}

double rlm_peak_avx512_f32(rlm_par *par)
{
    (void)par;
    return 0;
}

double rlm_peak_read(rlm_par *par)
{
    (void)par;
    return 0;
}
#endif
