/* Private to the benchmarks: how rows are measured and said, and their two other sources. */
#ifndef RLM_TRAIN_BENCH_H
#define RLM_TRAIN_BENCH_H

#include "src/train/train.h"

#define RLM_BENCH_GENERATE "generate: "

typedef struct rlm_bench_row {
    const char *name, *unit; /* unit: of `units`, or NULL */
    double seconds;          /* median of a call */
    double flops, bytes;     /* of a call; bytes > 0: the row is bound by memory */
    double units;            /* of `unit` a call: tokens, frames ... */
} rlm_bench_row;

typedef struct rlm_bench_state {
    rlm_run run;
    int quick, json;
    double peak_amx, peak_f32, peak_read;
    void (*write)(void *cookie, const char *text);
    void *cookie;
    int count;                /* rows said */
    size_t heap;              /* bytes that were in use before any row */
    const char *const *words; /* rows to measure: names with all of these */
    int word_count;
} rlm_bench_state;

/* Says a row, with the memory that its work holds: weights, cache, optimiser, planned scratch. */
void rlm_bench_add(rlm_bench_state *b, const rlm_bench_row *row);
bool rlm_bench_wants(const rlm_bench_state *b, const char *name);
/* Values of either sign in [-1, 1): on zeros tiles multiply up to a quarter faster. x may be NULL.
 */
void rlm_bench_values(float *x, size_t n);

/* What rows of kernels work on; `failed` once there was no memory (and then NULLs are about). */
enum { RLM_BENCH_HELD = 40 };
typedef struct rlm_bench_memory {
    void *held[RLM_BENCH_HELD];
    int count;
    bool failed;
} rlm_bench_memory;
void *rlm_bench_room(rlm_bench_memory *m, size_t bytes); /* zeros */
float *rlm_bench_floats(rlm_bench_memory *m, size_t n);  /* rlm_bench_values */
void rlm_bench_release(rlm_bench_memory *m);
/* The weight of a convolution with both packings, values of a size that keeps an output's. */
rlm_weight rlm_bench_weight(const rlm_run *run, rlm_bench_memory *m, const rlm_conv_shape *s);
/* n grids [t][side][side] of c channels to the same, kernel kt x ks x ks, causal in time. */
rlm_conv_shape rlm_bench_conv(int n, int t, int side, int c, int kt, int ks);
/* rows x in -> rows x out. */
rlm_conv_shape rlm_bench_dense(int rows, int out, int in);

/* Median seconds of fn over 3 to 15 calls after one that warms up. */
double rlm_bench_time(const rlm_bench_state *b, void (*fn)(void *), void *ctx);

/* bench_blocks.c: what training steps are made of, at the shapes of the default and 300m presets.
 */
void rlm_bench_blocks(rlm_bench_state *b);
/* bench_networks.c: steps of the three networks with random weights. */
int rlm_bench_networks(rlm_bench_state *b, rlm_error *err);
/* bench_decode.c: reading a prefix and decoding of one preset, every kind of weights. */
int rlm_bench_decode(rlm_bench_state *b, const char *preset, rlm_error *err);
/* bench_networks.c: the whole text-to-video path of a model directory by stage. */
int rlm_bench_generate(rlm_bench_state *b, const char *model_dir, const rlm_options *options,
                       rlm_error *err);

#endif
