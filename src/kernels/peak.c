/* The ceilings, where this build has the loops that measure them. */
#include "src/kernels/peak.h"

#if defined(RLM_HAVE_AMX)
double rlm_amx_peak_amx_bf16(rlm_par *par);
double rlm_amx_peak_avx512_f32(rlm_par *par);
double rlm_amx_peak_read(rlm_par *par);

double rlm_peak_amx_bf16(rlm_par *par)
{
    return rlm_amx_peak_amx_bf16(par);
}

double rlm_peak_avx512_f32(rlm_par *par)
{
    return rlm_amx_peak_avx512_f32(par);
}

double rlm_peak_read(rlm_par *par)
{
    return rlm_amx_peak_read(par);
}
#else
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
