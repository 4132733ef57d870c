/* Which level's loops measure a ceiling. */
#include "src/kernels/peak.h"

#include "src/base/mem.h"
#include "src/kernels/kernels.h"

double rlm_avx2_peak_f32(rlm_par *par);
double rlm_avx2_peak_read(rlm_par *par);
double rlm_avx512_peak_f32(rlm_par *par);
double rlm_avx512_peak_read(rlm_par *par);
double rlm_amx_peak_bf16(rlm_par *par);

double rlm_peak_time(rlm_par *par, rlm_par_fn fn, void *ctx)
{
    double best = 1e30;
    for (int i = 0; i < 8; i++) {
        double start = rlm_now();
        rlm_par_for(par, rlm_par_threads(par), 1, fn, ctx);
        double took = rlm_now() - start;
        best = took < best ? took : best;
    }
    return best;
}

double rlm_peak_amx_bf16(rlm_par *par, unsigned levels)
{
#ifdef RLM_HAVE_AMX
    if (levels & RLM_LEVEL_AMX)
        return rlm_amx_peak_bf16(par);
#endif
    (void)par, (void)levels;
    return 0;
}

double rlm_peak_f32(rlm_par *par, unsigned levels)
{
    if (rlm_par_threads(par) > RLM_PEAK_THREADS)
        return 0;
#ifdef RLM_HAVE_AVX512
    if (levels & RLM_LEVEL_AVX512)
        return rlm_avx512_peak_f32(par);
#endif
#ifdef RLM_HAVE_AVX2
    if (levels & RLM_LEVEL_AVX2)
        return rlm_avx2_peak_f32(par);
#endif
    return 0;
}

double rlm_peak_read(rlm_par *par, unsigned levels)
{
    if (rlm_par_threads(par) > RLM_PEAK_THREADS)
        return 0;
#ifdef RLM_HAVE_AVX512
    if (levels & RLM_LEVEL_AVX512)
        return rlm_avx512_peak_read(par);
#endif
#ifdef RLM_HAVE_AVX2
    if (levels & RLM_LEVEL_AVX2)
        return rlm_avx2_peak_read(par);
#endif
    return 0;
}
