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

/* Loops of a level, where the build has it. */
typedef struct peak_level {
    unsigned level;
    peak_fn f32, read;
} peak_level;

static const peak_level peaks[] = {
#ifdef RLM_HAVE_AVX512
    {RLM_LEVEL_AVX512, rlm_avx512_peak_f32, rlm_avx512_peak_read},
#endif
#ifdef RLM_HAVE_AVX2
    {RLM_LEVEL_AVX2, rlm_avx2_peak_f32, rlm_avx2_peak_read},
#endif
#ifdef RLM_HAVE_SIMD
    {RLM_LEVEL_SIMD, rlm_simd_peak_f32, rlm_simd_peak_read},
#endif
    {0, NULL, NULL}};

/* The highest of `levels`; the last of the table if there is none. */
static const peak_level *highest(rlm_par *par, unsigned levels)
{
    const peak_level *p = peaks;
    while (p->level && (!(levels & p->level) || rlm_par_threads(par) > RLM_PEAK_THREADS))
        p++;
    return p;
}

double rlm_peak_f32(rlm_par *par, unsigned levels)
{
    peak_fn fn = highest(par, levels)->f32;
    return fn ? fn(par) : 0;
}

double rlm_peak_read(rlm_par *par, unsigned levels)
{
    peak_fn fn = highest(par, levels)->read;
    return fn ? fn(par) : 0;
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
