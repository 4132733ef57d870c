/* Which level's loops measure a ceiling. */
#include "src/kernels/peak.h"

#include "src/base/mem.h"
#include "src/kernels/kernels.h"

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

typedef double (*peak_fn)(rlm_par *par);

/* What the highest of `levels` gives. */
static double highest(rlm_par *par, unsigned levels, peak_fn avx512, peak_fn avx2)
{
    peak_fn fn = levels & RLM_LEVEL_AVX512 ? avx512 : levels & RLM_LEVEL_AVX2 ? avx2 : NULL;
    return fn && rlm_par_threads(par) <= RLM_PEAK_THREADS ? fn(par) : 0;
}

#ifdef RLM_HAVE_AVX512
#define AVX512(name) rlm_avx512_##name
#else
#define AVX512(name) NULL
#endif
#ifdef RLM_HAVE_AVX2
#define AVX2(name) rlm_avx2_##name
#else
#define AVX2(name) NULL
#endif

double rlm_peak_f32(rlm_par *par, unsigned levels)
{
    return highest(par, levels, AVX512(peak_f32), AVX2(peak_f32));
}

double rlm_peak_read(rlm_par *par, unsigned levels)
{
    return highest(par, levels, AVX512(peak_read), AVX2(peak_read));
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
