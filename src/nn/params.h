/* Named parameters: declare, allocate, initialise or load, pack, save, iterate. f32 masters. */
#ifndef RLM_NN_PARAMS_H
#define RLM_NN_PARAMS_H

#include "src/nn/safetensors.h"
#include "src/nn/tensor.h"

/* How a fresh parameter starts. NORMAL: std `scale` / sqrt(fan_in); CONST: `scale`. */
typedef enum { RLM_INIT_NORMAL, RLM_INIT_CONST } rlm_init;

typedef struct rlm_param {
    char name[96]; /* "encoder.level0.block1.conv0.weight" */
    int rank;
    int64_t shape[5];
    int64_t count;
    rlm_init init;
    float scale;
    bool decay;    /* weight decay applies (matrices), not to gains and biases */
    bool matrix;   /* hidden matrix [out][in...]: Muon may serve it */
    bool packable; /* geom is set and the kernels may pack it */
    bool shared;   /* packable, and its f32 values serve beside the product (tied tables) */
    bool frozen;   /* training leaves it as it is */
    rlm_weight_geom geom;
    rlm_weight weight; /* f32 = data, packs from rlm_params_pack */
    float *data;
    float *grad; /* NULL without training */
} rlm_param;

typedef struct rlm_params {
    rlm_param **items; /* in order of declaration */
    int count, capacity;
    int failed;         /* sticky: NOMEM, or INTERNAL: bad shape or name of a declaration; 0 */
    int64_t total;      /* elements of the block, gaps of alignment (always 0) included */
    float *data, *grad; /* one block each; items point into them, 64-byte aligned */
    void *packs;
    size_t pack_bytes;
} rlm_params;

/* Declaring never fails aloud; rlm_params_allocate reports. Returned pointer lives with params. */
rlm_param *rlm_params_add(rlm_params *p, const char *name, int rank, const int64_t *shape,
                          rlm_init init, float scale);
/* A conv / linear weight [cout][kt][kh][kw][cin], packable, decayed; rank 5, or 2 for linear. */
rlm_param *rlm_params_add_weight(rlm_params *p, const char *name, const rlm_weight_geom *g,
                                 float scale);
/* grads: also gradients (zeroed). Fails with NOMEM, or INTERNAL when a declaration failed. */
int rlm_params_allocate(rlm_params *p, bool grads, rlm_error *err);
void rlm_params_free(rlm_params *p);
void rlm_params_initialise(rlm_params *p, uint64_t seed); /* same values for any order of items */
rlm_param *rlm_params_find(const rlm_params *p, const char *name);
/* Freezes all whose names do not begin with `but`. */
void rlm_params_freeze(rlm_params *p, const char *but);

/* Every parameter must be there with its shape (f32, f16, bf16 or quantised); MODEL error names the
 * first that is not. prefix, e.g. "ema.", or "". */
int rlm_params_load(rlm_params *p, const rlm_safetensors *st, const char *prefix, rlm_error *err);
/* Adds all to a writer under prefix; dtype F32 or BF16. data overrides (same block layout as
 * p->data), NULL: p->data. */
int rlm_params_save(const rlm_params *p, rlm_st_writer *w, const char *prefix, rlm_dtype dtype,
                    const float *data, rlm_error *err);

/* (Re)make kernel packings from the masters; the first call allocates. backward: also pack_t. */
int rlm_params_pack(rlm_params *p, const rlm_kernels *k, rlm_par *par, bool backward,
                    rlm_error *err);

/* ---- Inference only (params_open.c) ---------------------------------------------------------- */

/* How dense weights are kept. AUTO: quantised ones as the file has them, others packed by the table
 * (bf16 where it can), or in bf16 as the file has them. F32: no packing at all. INT8, Q4: quantised
 * (src/kernels/quant.h); Q4 leaves heads in 8 bits. Other parameters are never quantised. */
typedef enum {
    RLM_WEIGHTS_AUTO,
    RLM_WEIGHTS_F32,
    RLM_WEIGHTS_BF16,
    RLM_WEIGHTS_INT8,
    RLM_WEIGHTS_Q4,
    RLM_WEIGHTS
} rlm_weights;
int rlm_weights_parse(const char *name, rlm_weights *out, rlm_error *err); /* ARG names the known */
const char *rlm_weights_name(rlm_weights w);
int rlm_params_quant_bits(const rlm_param *item, rlm_weights weights); /* 8, 4, 0: stays */
/* Whether a table without a packing for it can multiply the matrix as rows of bf16. */
bool rlm_params_in_half(const rlm_param *item, const rlm_kernels *k);

/* Allocate, load and pack in one go, in place of _allocate, _load and _pack(backward false). f32
 * values that only a packing needs are given up: weight.f32 is NULL there and data must not be read
 * any more. On failure rlm_params_free cleans up. */
int rlm_params_open(rlm_params *p, const rlm_safetensors *st, const rlm_kernels *k, rlm_par *par,
                    rlm_weights weights, rlm_error *err);
typedef bool rlm_params_pick(const char *name); /* of a parameter */
/* All parameters into a file of their own, atomically: F32; BF16 (AUTO too); INT8 and Q4 with what
 * is not quantised in BF16. Convolutions that `convs` picks by name (NULL: none) are stored in 8
 * bits whatever `weights` says. */
int rlm_params_write(const rlm_params *p, rlm_par *par, rlm_weights weights, rlm_params_pick *convs,
                     const char *path, rlm_error *err);

/* Shared by params.c and params_open.c. */
int rlm_params_lay_out(rlm_params *p, rlm_error *err); /* checks declarations, sets total */
int rlm_params_load_one(rlm_param *item, const rlm_safetensors *st, const char *prefix,
                        rlm_error *err);
bool rlm_params_is_quantised(const rlm_safetensors *st, const char *name);
int rlm_params_dequantise(const rlm_param *item, const rlm_safetensors *st, const char *name,
                          float *out, rlm_error *err);

#endif
