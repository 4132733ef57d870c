/* Decoder-only prefix language model. Pre-norm RMSNorm, QK norm, SwiGLU, rotary positions on three
 * axes, factored video embeddings and heads. It knows ids, positions, a prefix length and legal
 * ranges; it knows no tasks.
 *
 * Vocabulary as handed in the config: specials [0, specials), video codes of 2 * bits_half bits, audio
 * levels * codes, text pieces. A video code enters as E_lo[code & 511] + E_hi[code >> 9] and leaves
 * through two 512-way heads: p(lo | h), then p(hi | h, lo) with the embedding of lo added to h through a
 * small MLP-free projection (docs/DECISIONS.md). Only the head of the modality that is legal at a
 * position is ever computed. */
#ifndef RLM_MODEL_LM_H
#define RLM_MODEL_LM_H

#include "src/nn/layers.h"

typedef struct rlm_lm_config {
    int layers, dim, heads, ffn; /* ffn: SwiGLU inner width; head dim = dim / heads, multiple of 32 */
    int specials;                /* 256 */
    int video_bits;              /* 18, even */
    int audio_levels, audio_codes; /* 4, 1024 */
    int text_pieces;
    int max_len;                 /* context, positions */
    float rope_base;             /* 10000 */
} rlm_lm_config;
void rlm_lm_config_defaults(rlm_lm_config *c); /* the bundled network */
int rlm_lm_config_preset(rlm_lm_config *c, const char *name); /* tiny default 300m 1b 8b; 0 if known */
int rlm_lm_config_check(const rlm_lm_config *c, rlm_error *err);

typedef struct rlm_lm rlm_lm;
int rlm_lm_new(rlm_lm **out, const rlm_lm_config *c, rlm_params *params, rlm_error *err);
void rlm_lm_free(rlm_lm **lm);
const rlm_lm_config *rlm_lm_get_config(const rlm_lm *lm);

/* ---- Whole sequences: training and evaluation ---------------------------------------------- */
/* A batch of `batch` sequences padded to `len`. All arrays borrowed until backward. */
typedef struct rlm_lm_batch {
    int batch, len;
    const int32_t *ids;   /* [batch][len] */
    const int32_t *pos;   /* [batch][len][3] */
    const uint8_t *target;/* [batch][len]: 1 = this token is predicted from the position before it */
    const int *prefix, *length; /* [batch] */
} rlm_lm_batch;
/* Plans the integer side arrays of a batch (which row feeds which head) in `plan`, heap, reused. */
typedef struct rlm_lm_plan rlm_lm_plan;
int rlm_lm_plan_new(rlm_lm_plan **out, const rlm_lm *lm, int batch, int len, rlm_error *err);
void rlm_lm_plan_free(rlm_lm_plan **plan);
void rlm_lm_plan_fill(rlm_lm_plan *plan, const rlm_lm *lm, const rlm_lm_batch *b);
/* Hidden states after the final norm [batch*len][dim]. */
rlm_tensor rlm_lm_forward(rlm_run *run, const rlm_lm *lm, const rlm_lm_plan *plan);
/* Heads: logits only for the rows that need them. Group g (special, video lo, video hi, audio level 0..,
 * text) has rows and targets chosen by the plan. count of a group may be 0. */
enum { RLM_LM_GROUP_SPECIAL, RLM_LM_GROUP_VIDEO_LO, RLM_LM_GROUP_VIDEO_HI, RLM_LM_GROUP_AUDIO,
       RLM_LM_GROUPS };
typedef struct rlm_lm_logits {
    rlm_tensor logits[RLM_LM_GROUPS]; /* [rows][classes]; rows 0: data NULL */
    const int32_t *target[RLM_LM_GROUPS]; /* local class of each row */
    int64_t rows[RLM_LM_GROUPS];
} rlm_lm_logits;
rlm_lm_logits rlm_lm_heads_forward(rlm_run *run, const rlm_lm *lm, const rlm_lm_plan *plan,
                                   const rlm_tensor *hidden);

/* ---- Cached generation (lm_cache.c) --------------------------------------------------------- */
typedef struct rlm_lm_cache rlm_lm_cache;
/* Room for `batch` sequences (2 with guidance) of `capacity` positions; bf16 keys and values. */
int rlm_lm_cache_new(rlm_lm_cache **out, const rlm_lm *lm, int batch, int capacity, rlm_error *err);
void rlm_lm_cache_free(rlm_lm_cache **c);
void rlm_lm_cache_rewind(rlm_lm_cache *c, int sequence, int length);
int rlm_lm_cache_length(const rlm_lm_cache *c, int sequence);
/* Bidirectional prefix of one sequence: must be the first thing in it. */
void rlm_lm_prefill(rlm_run *run, const rlm_lm *lm, rlm_lm_cache *c, int sequence,
                    const int32_t *ids, const int32_t *pos, int count);
/* One token for every sequence (ids [batch], pos [batch][3]); hidden out [batch][dim]. */
void rlm_lm_step(rlm_run *run, const rlm_lm *lm, rlm_lm_cache *c, const int32_t *ids,
                 const int32_t *pos, float *hidden);
/* Hidden state of the last position of each sequence after prefill [batch][dim]. */
const float *rlm_lm_last_hidden(const rlm_lm_cache *c);

/* ---- Sampling (lm_sample.c) ------------------------------------------------------------------ */
typedef struct rlm_lm_sampling {
    float temperature; /* 0: greedy */
    int top_k;         /* 0: off */
    float top_p, min_p; /* 1, 0: off */
    float cfg_scale;   /* 1: off; else sequence 0 = conditional, 1 = unconditional */
    uint64_t seed;
} rlm_lm_sampling;
/* Sample the id at position `index` (RNG counter) from hidden [batch][dim], inside [first, first + n),
 * which must lie in one modality and, for audio, one level. logp (may be NULL): its log probability. */
int32_t rlm_lm_sample(rlm_run *run, const rlm_lm *lm, const float *hidden, int batch,
                      const rlm_lm_sampling *s, int64_t index, int32_t first, int32_t n,
                      float *logp);

#endif
