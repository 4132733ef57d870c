/* A tensor is a view: dtype, shape, data, optional gradient. It owns nothing. And `rlm_run`, what
 * every forward function rides on: kernels, scratch, threads, tape. */
#ifndef RLM_NN_TENSOR_H
#define RLM_NN_TENSOR_H

#include <stdint.h>

#include "src/base/mem.h"
#include "src/base/par.h"
#include "src/kernels/kernels.h"

typedef enum { RLM_F32, RLM_BF16, RLM_F16, RLM_I32, RLM_I16, RLM_I8, RLM_U8, RLM_DTYPES } rlm_dtype;
size_t rlm_dtype_bytes(rlm_dtype t);

/* Activations are f32 (between fused kernels of training bf16), channels last: rank 5
 * [n][t][h][w][c] for pictures and sound (sound has t = h = 1 and time in w), rank 2 [rows][c] or 3
 * [batch][len][c] for sequences. */
typedef struct rlm_tensor {
    rlm_dtype dtype;
    int rank;
    int64_t shape[5];
    void *data;
    float *grad;   /* same count, BF16 where the data is; NULL: no gradient wanted. See rlm_grad */
    bool *touched; /* something was added to grad; NULL: grad counts as touched */
} rlm_tensor;

static inline int64_t rlm_tensor_count(const rlm_tensor *x)
{
    int64_t n = 1;
    for (int i = 0; i < x->rank; i++)
        n *= x->shape[i];
    return n;
}
static inline int64_t rlm_tensor_last(const rlm_tensor *x)
{
    return x->shape[x->rank - 1];
}
static inline int64_t rlm_tensor_rows(const rlm_tensor *x)
{
    return rlm_tensor_count(x) / rlm_tensor_last(x);
}
static inline float *rlm_f32(const rlm_tensor *x)
{
    return (float *)x->data;
}

struct rlm_tape;

/* What a forward runs with. tape NULL: inference; nothing is kept and scopes recycle the arena. */
typedef struct rlm_run {
    const rlm_kernels *k;
    rlm_arena *arena;
    rlm_par *par;
    struct rlm_tape *tape;
    bool lazy; /* with a tape: gradients start unwritten; everyone who adds goes through rlm_grad */
    /* Not NULL: with a tape, stretches of a network that can be computed anew (rlm_again_forward)
     * keep their input alone; this one holds a stretch's records while backward is in it. */
    struct rlm_tape *again;
} rlm_run;

/* New f32 tensor from the arena; with a tape it gets a gradient, zeroed now, or (run->lazy) one
 * whose memory nobody has written yet: the first to add to it overwrites it instead, which saves
 * zeroing and reading it back. */
rlm_tensor rlm_tensor_new(rlm_run *run, int rank, const int64_t *shape);
rlm_tensor rlm_tensor_like(rlm_run *run, const rlm_tensor *x);
/* The same in BF16, and so its gradient, which its one reader overwrites: nothing adds to it. */
rlm_tensor rlm_tensor_like_bf16(rlm_run *run, const rlm_tensor *x);
/* The tensor that follows x on a residual branch, y = x + ...: without a tape x itself; with one,
 * new data and x's gradient, which is y's until the branch has read it and x's from then on. Right
 * only if nothing uses x after this. */
rlm_tensor rlm_tensor_after(rlm_run *run, const rlm_tensor *x);
/* View of caller's memory (no gradient). */
rlm_tensor rlm_tensor_view(void *data, rlm_dtype dtype, int rank, const int64_t *shape);
/* Same data and gradient under another shape of equal count. */
rlm_tensor rlm_tensor_reshape(const rlm_tensor *x, int rank, const int64_t *shape);
/* x->grad, ready to be added to: zeroed if this is the first use of it. NULL: none wanted. */
float *rlm_grad(rlm_run *run, const rlm_tensor *x);
/* For kernels that can overwrite: whether to add to x->grad; from now on it counts as touched. */
bool rlm_grad_adds(const rlm_tensor *x);
/* The gradient was written or added to. */
static inline bool rlm_grad_touched(const rlm_tensor *x)
{
    return x->grad && (!x->touched || *x->touched);
}
/* 5-axis shorthand of the above. */
rlm_tensor rlm_tensor_new5(rlm_run *run, int64_t n, int64_t t, int64_t h, int64_t w, int64_t c);
rlm_tensor rlm_tensor_reshape5(const rlm_tensor *x, int64_t n, int64_t t, int64_t h, int64_t w,
                               int64_t c);

/* Scratch discipline of inference: open, compute, close: everything allocated since is recycled.
 * With a tape both do nothing. Allocate what must survive before opening. */
size_t rlm_scope_open(rlm_run *run);
void rlm_scope_close(rlm_run *run, size_t scope);

#endif
