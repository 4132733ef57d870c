/* Register-only loops: what the units can do when nothing is fetched. */
#include "src/kernels/amx.h"
#include "src/kernels/peak.h"

enum { ROUNDS = 400000 };

static void amx_loop(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)ctx, (void)begin, (void)end, (void)worker;
    rlm_amx_begin();
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (int i = 0; i < ROUNDS; i++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    rlm_amx_end();
}

double rlm_amx_peak_bf16(rlm_par *par)
{
    int n = rlm_par_threads(par);
    return n * (double)ROUNDS * 4 * (2.0 * 16 * 16 * 32) / rlm_peak_time(par, amx_loop, NULL);
}
