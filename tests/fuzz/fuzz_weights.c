/* A weight file for a small network: the first byte says how the weights shall be kept. */
#include "tests/fuzz/fuzz.h"

#include "src/nn/params.h"

static void declare(rlm_params *p)
{
    static const int64_t gain[1] = {6}, table[2] = {4, 6};
    static const rlm_weight_geom dense = {.cout = 4, .kt = 1, .kh = 1, .kw = 1, .cin = 6};
    static const rlm_weight_geom conv = {.cout = 3, .kt = 1, .kh = 2, .kw = 2, .cin = 2};
    *p = (rlm_params){0};
    rlm_params_add(p, "gain", 1, gain, RLM_INIT_CONST, 1);
    rlm_params_add(p, "table", 2, table, RLM_INIT_NORMAL, 1);
    rlm_params_add_weight(p, "dense", &dense, 1);
    rlm_params_add_weight(p, "conv", &conv, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static rlm_kernels k;
    static int ready;
    rlm_safetensors st;
    rlm_params p;
    rlm_error err = {0};
    if (!ready++)
        FUZZ_CHECK(!rlm_kernels_init(&k, "ref", NULL));
    if (!size || rlm_st_open(&st, fuzz_file(data + 1, size - 1), NULL))
        return 0;
    int way = *data % (RLM_WEIGHTS + 1);
    declare(&p);
    if (way == RLM_WEIGHTS) { /* as training reads them */
        FUZZ_CHECK(!rlm_params_allocate(&p, false, NULL));
        rlm_params_load(&p, &st, "", &err);
    } else {
        rlm_params_open(&p, &st, &k, NULL, (rlm_weights)way, &err);
    }
    FUZZ_CHECK(!err.code || err.text[0]);
    rlm_params_free(&p);
    rlm_st_close(&st);
    return 0;
}
