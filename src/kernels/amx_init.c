/* AMX overlay: entries, behind a probe product. */
#include "src/kernels/amx.h"

#include <math.h>

#include "src/base/mem.h"

/* A 40 x 33 x 45 product against scalar arithmetic; false: leave the lower level in place. */
static bool probe(void)
{
    enum { M = 40, N = 33, K = 45 };
    static const rlm_weight_geom g = {N, 1, 1, 1, K, 1};
    rlm_par *par = NULL;
    size_t bytes = rlm_amx_pack_bytes(&g, false);
    float *x = rlm_alloc((M * K + N * K + M * N) * sizeof(float));
    void *pack = rlm_alloc(bytes);
    bool good = x && pack && !rlm_par_open(&par, 1, NULL);
    if (good) {
        float *w = x + M * K, *y = w + N * K;
        for (int i = 0; i < M * K + N * K; i++)
            x[i] = (float)((i * 37 % 17) - 8) * 0.125f;
        rlm_amx_pack(par, &g, w, false, pack);
        rlm_amx_gemm(par, M, N, K, x, pack, NULL, NULL, y);
        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++) {
                float s = 0;
                for (int k = 0; k < K; k++)
                    s += x[m * K + k] * w[n * K + k];
                good = good && fabsf(s - y[m * N + n]) < 1e-3f;
            }
    }
    rlm_par_close(&par);
    rlm_free(pack);
    rlm_free(x);
    return good;
}

bool rlm_kernels_amx(rlm_kernels *k)
{
    rlm_cpu cpu = rlm_cpu_detect();
    if (!cpu.amx_bf16 || !cpu.avx512_bf16 || !probe())
        return false;
    k->pack_bytes = rlm_amx_pack_bytes;
    k->pack = rlm_amx_pack;
    k->packs_alone = true;
    k->conv_forward = rlm_amx_conv_forward;
    k->prepared_forward = rlm_amx_prepared_forward;
    k->prepared_saved = rlm_amx_prepared_saved;
    k->linear_forward = rlm_amx_rows_forward;
    k->linear_quant = rlm_amx_linear_quant;
    rlm_kernels_amx_block(k);
    rlm_kernels_amx_attention(k);
    return true;
}
