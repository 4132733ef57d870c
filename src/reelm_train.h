/* Training, evaluation and benchmarks. Unstable tier: static linking only (libreelm_train). */
#ifndef REELM_TRAIN_H
#define REELM_TRAIN_H

#include "src/reelm.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { RLM_TRAIN_VIDEO, RLM_TRAIN_AUDIO, RLM_TRAIN_LM, RLM_TRAIN_TEXT };

/* Defaults from rlm_train_defaults; the JSON file `config` (assets/configs) overrides network and
 * recipe, the fields below override the file. */
typedef struct rlm_train_options {
    int what;                /* RLM_TRAIN_* */
    const char *config;      /* JSON: {"network": {...}, "train": {...}}; NULL: built-in default */
    const char *const *data; /* folders of media + captions */
    int data_count;
    const char *run_dir;   /* checkpoints/, samples/, metrics.jsonl, config.json, model/ */
    const char *model_dir; /* lm: where the tokenizers are. video/audio: NULL */
    const char *init;      /* weights to start from (safetensors or a model directory); NULL */
    int resume;            /* 1: continue from run_dir's last checkpoint; must exist */
    int64_t steps;         /* 0: from the config */
    double max_seconds;    /* stop (with a checkpoint) after this much wall clock; 0: no limit */
    int batch;             /* 0: from the config */
    double lr;             /* 0: from the config */
    uint64_t seed;
    int checkpoint_every, sample_every, validate_every; /* steps; 0: from the config */
    int threads;
    const char *cpu_mask;
    int deterministic;
    double playground; /* share of samples from the procedural world, 0..1; < 0: config */
    void (*log)(void *cookie, int level, const char *text);
    void *log_cookie;
    int (*progress)(void *cookie, const char *line); /* non-zero: stop with a checkpoint */
    void *progress_cookie;
} rlm_train_options;

void rlm_train_defaults(rlm_train_options *o, int what);
int rlm_train(const rlm_train_options *o, rlm_error *err);

/* Put the parts (video, audio, lm, text) of model directories, or bare SentencePiece files,
 * together in `out`; of a part found twice the last one stays. out may exist: parts not named are
 * kept. */
int rlm_model_assemble(const char *const *sources, int count, const char *out, rlm_error *err);

/* Kernel and step benchmarks as text or one JSON object (heap; rlm_string_free). */
int rlm_bench(const char *model_dir, const rlm_options *options, int json, int quick, char **out,
              rlm_error *err);

#ifdef __cplusplus
}
#endif
#endif
