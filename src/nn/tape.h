/* The tape: what a forward did, in order, so that train/ can walk it backwards. Forward functions
 * push one record when run->tape is set. Inference never touches it. */
#ifndef RLM_NN_TAPE_H
#define RLM_NN_TAPE_H

#include "src/nn/tensor.h"

typedef enum rlm_op {
    RLM_OP_LINEAR,    /* in: x [, residual]; layer rlm_linear */
    RLM_OP_CONV,      /* in: x [, residual]; layer rlm_conv; u.conv */
    RLM_OP_PREPARED,  /* in: x [, residual]; layer rlm_conv; saved: stats, seen; u.prepared */
    RLM_OP_RMSNORM,   /* in: x; layer rlm_rmsnorm; saved[0] rstd */
    RLM_OP_GROUPNORM, /* in: x; layer rlm_groupnorm; saved[0] stats; u.groupnorm */
    RLM_OP_ACT,       /* in: x; u.act */
    RLM_OP_ADD,       /* in: a, b */
    RLM_OP_MODULATE,  /* in: x, scale, shift */
    RLM_OP_SWIGLU,    /* in: x */
    RLM_OP_COLUMNS,   /* in: x; u.columns; out: the other side */
    RLM_OP_DEPTH_TO_SPACE,
    RLM_OP_SPACE_TO_DEPTH,
    RLM_OP_UPSAMPLE, /* u.shuffle */
    RLM_OP_HAAR,     /* u.haar: pixels -> coefficients */
    RLM_OP_HAAR_INVERSE,
    RLM_OP_LFQ,       /* in: z; straight through */
    RLM_OP_EMBEDDING, /* layer rlm_embedding; saved[0] ids; out accumulates into in[0] if set */
    RLM_OP_QK_ROPE,   /* in: qkv; layer rlm_attention; saved: angle, rstd_q, rstd_k */
    RLM_OP_ATTENTION, /* in: qkv; saved[0] lse; u.attention */
    RLM_OP_GATHER,    /* in: x; saved[0] row indices */
    RLM_OP_QKV,       /* in: x; layer rlm_linear; saved: the kernel's own, angle; u.qkv */
    RLM_OP_MLP,       /* in: x; saved[0] the kernel's own; u.mlp; shares x's gradient */
    RLM_OP_PAIR,  /* in: x [, residual]; layer first rlm_conv; saved[0] the kernel's own; u.pair */
    RLM_OP_AGAIN, /* in: x; layer; saved[0] context; u.again */
    RLM_OPS
} rlm_op;

/* A stretch of a network: x -> y of the same shape. layer, context: as given, read only. */
typedef rlm_tensor (*rlm_stretch_fn)(rlm_run *run, const void *layer, const void *context,
                                     const rlm_tensor *x);

typedef struct rlm_record {
    rlm_op op;
    const void *layer;
    rlm_tensor in[3], out;
    void *saved[3];
    union {
        rlm_conv_shape conv;
        rlm_groupnorm_shape groupnorm;
        struct {
            rlm_conv_shape conv;
            rlm_groupnorm_shape norm;
            const struct rlm_groupnorm *layer; /* NULL: only norm.act */
        } prepared;
        struct {
            rlm_pair_shape shape;
            const struct rlm_groupnorm *norm[2];
            const struct rlm_conv *second;
        } pair;
        rlm_act act;
        rlm_shuffle_shape shuffle;
        rlm_haar_shape haar;
        rlm_attention_shape attention;
        struct {
            int count, from, to;
        } columns;
        struct {
            rlm_qkv_shape shape;
            const struct rlm_rmsnorm *norm;
            const struct rlm_attention *attention;
        } qkv;
        struct {
            rlm_mlp_shape shape;
            const struct rlm_rmsnorm *norm;
            const struct rlm_linear *up, *down;
        } mlp;
        rlm_stretch_fn again;
    } u;
} rlm_record;

/* Flags of the gradients made since the last clear; blocks, because tensors point into them. */
typedef struct rlm_tape_flags {
    struct rlm_tape_flags *next;
    int used;
    bool flags[1000];
} rlm_tape_flags;

typedef struct rlm_tape {
    rlm_record *items;
    int count, capacity;
    rlm_tape_flags *flags, *filling; /* all blocks; the one that serves */
    bool failed; /* sticky: out of memory; checked by rlm_tape_ok before backward */
} rlm_tape;

/* stretch(x), of which backward needs x alone: with run->again its forward leaves nothing else in
 * the arena and is computed once more when its gradients are asked for (Chen et al., arXiv
 * 1604.06174). layer and context live until then. */
rlm_tensor rlm_again_forward(rlm_run *run, rlm_stretch_fn stretch, const void *layer,
                             const void *context, const rlm_tensor *x);

/* Grows at need (only in the first step). */
void rlm_tape_push(rlm_tape *tape, const rlm_record *r);
/* A false flag that lives until the tape is cleared; NULL (and failed) without memory. */
bool *rlm_tape_flag(rlm_tape *tape);
void rlm_tape_clear(rlm_tape *tape); /* keeps memory */
void rlm_tape_free(rlm_tape *tape);

#endif
