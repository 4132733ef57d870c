#include "src/nn/tensor.h"

#include <assert.h>
#include <string.h>

#include "src/nn/tape.h"

size_t rlm_dtype_bytes(rlm_dtype t)
{
    static const uint8_t bytes[RLM_DTYPES] = {
        [RLM_F32] = 4, [RLM_BF16] = 2, [RLM_F16] = 2, [RLM_I32] = 4,
        [RLM_I16] = 2, [RLM_I8] = 1,   [RLM_U8] = 1,
    };
    assert(t < RLM_DTYPES);
    return bytes[t];
}

rlm_tensor rlm_tensor_view(void *data, rlm_dtype dtype, int rank, const int64_t *shape)
{
    assert(rank >= 1 && rank <= 5);
    rlm_tensor x = {.dtype = dtype, .rank = rank, .data = data};
    memcpy(x.shape, shape, (size_t)rank * sizeof *shape);
    return x;
}

rlm_tensor rlm_tensor_new(rlm_run *run, int rank, const int64_t *shape)
{
    rlm_tensor x = rlm_tensor_view(NULL, RLM_F32, rank, shape);
    int64_t count = rlm_tensor_count(&x);
    size_t bytes = rlm_size_mul((size_t)count, sizeof(float));
    x.data = rlm_arena_alloc(run->arena, bytes);
    if (run->tape) {
        x.grad = rlm_arena_alloc(run->arena, bytes);
        x.touched = run->lazy ? rlm_tape_flag(run->tape) : NULL;
        if (!x.touched) /* or no memory: the tape has failed; keep the gradient defined */
            run->k->fill(run->par, count, 0.0f, x.grad);
    }
    return x;
}

float *rlm_grad(rlm_run *run, const rlm_tensor *x)
{
    if (x->grad && !rlm_grad_adds(x))
        run->k->fill(run->par, rlm_tensor_count(x), 0.0f, x->grad);
    return x->grad;
}

bool rlm_grad_adds(const rlm_tensor *x)
{
    bool adds = rlm_grad_touched(x);
    if (x->touched)
        *x->touched = true;
    return adds;
}

rlm_tensor rlm_tensor_after(rlm_run *run, const rlm_tensor *x)
{
    if (!run->tape)
        return *x;
    if (!x->grad)
        return rlm_tensor_like(run, x);
    rlm_tensor y = *x;
    y.data = rlm_arena_alloc(run->arena, rlm_size_mul((size_t)rlm_tensor_count(x), sizeof(float)));
    return y;
}

rlm_tensor rlm_tensor_like(rlm_run *run, const rlm_tensor *x)
{
    return rlm_tensor_new(run, x->rank, x->shape);
}

rlm_tensor rlm_tensor_like_bf16(rlm_run *run, const rlm_tensor *x)
{
    rlm_tensor y = rlm_tensor_view(NULL, RLM_BF16, x->rank, x->shape);
    size_t bytes = rlm_size_mul((size_t)rlm_tensor_count(&y), sizeof(uint16_t));
    y.data = rlm_arena_alloc(run->arena, bytes);
    if (run->tape) {
        y.grad = rlm_arena_alloc(run->arena, bytes);
        y.touched = run->lazy ? rlm_tape_flag(run->tape) : NULL;
    }
    return y;
}

rlm_tensor rlm_tensor_reshape(const rlm_tensor *x, int rank, const int64_t *shape)
{
    rlm_tensor y = rlm_tensor_view(x->data, x->dtype, rank, shape);
    y.grad = x->grad;
    y.touched = x->touched;
    assert(rlm_tensor_count(&y) == rlm_tensor_count(x));
    return y;
}

rlm_tensor rlm_tensor_new5(rlm_run *run, int64_t n, int64_t t, int64_t h, int64_t w, int64_t c)
{
    return rlm_tensor_new(run, 5, (int64_t[5]){n, t, h, w, c});
}

rlm_tensor rlm_tensor_reshape5(const rlm_tensor *x, int64_t n, int64_t t, int64_t h, int64_t w,
                               int64_t c)
{
    return rlm_tensor_reshape(x, 5, (int64_t[5]){n, t, h, w, c});
}

size_t rlm_scope_open(rlm_run *run)
{
    return run->tape ? 0 : rlm_arena_mark(run->arena);
}

void rlm_scope_close(rlm_run *run, size_t scope)
{
    if (!run->tape)
        rlm_arena_rewind(run->arena, scope);
}
