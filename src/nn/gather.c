/* Chosen rows of a tensor: an embedding whose table is an activation. */
#include "src/nn/layers.h"

rlm_tensor rlm_gather_forward(rlm_run *run, const rlm_tensor *x, const int32_t *rows, int64_t count)
{
    int64_t c = rlm_tensor_last(x), shape[2] = {count, c};
    rlm_tensor y = rlm_tensor_new(run, 2, shape);
    run->k->embedding_forward(run->par, count, (int)c, rows, rlm_f32(x), rlm_f32(&y), false);
    if (run->tape) {
        rlm_record r = {.op = RLM_OP_GATHER, .in = {*x}, .out = y, .saved = {(void *)rows}};
        rlm_tape_push(run->tape, &r);
    }
    return y;
}
