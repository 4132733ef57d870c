/* Decoder-only prefix language model. Pre-norm RMSNorm, QK norm, SwiGLU, rotary positions on three
 * axes, factored video embeddings and heads. It knows ids, positions, a prefix length and legal
 * ranges; it knows no tasks.
 *
 * Vocabulary as handed in the config: specials [0, specials), video codes of 2 * half bits, audio
 * levels * codes, text pieces. With half = 9 a video code enters as E_lo[code & 511] + E_hi[code >>
 * 9] and leaves through two 512-way heads: p(lo | h), then p(hi | h, lo) from u = h + E_cond[lo];
 * v = u + W2 swiglu(W1 norm(u));  logits = head_hi norm(v) The gate matters: with h + E_cond[lo]
 * alone the logits would be a(h) + b(lo), unable to say "this lo changes that hi here". Tables of
 * specials and sound serve as embedding and head at once. Only the head of the modality that is
 * legal at a position is ever computed.
 *
 * Rotary frequencies: head dim / 2 of them, split 2:3:3 over the axes t, y, x; frequency i of an
 * axis with n is base^(-i/n). Text has equal positions on all axes. */
#ifndef RLM_MODEL_LM_H
#define RLM_MODEL_LM_H

#include "src/nn/layers.h"

typedef struct rlm_lm_config {
    int layers, dim, heads,
        ffn;        /* ffn: SwiGLU inner width; head dim = dim / heads, multiple of 32 */
    int cond;       /* inner width of the conditioned video head */
    int specials;   /* 256 */
    int video_bits; /* 18, even */
    int audio_levels, audio_codes; /* 4, 1024; at most 16 levels */
    int text_pieces;
    int max_len;     /* context, positions */
    float rope_base; /* 10000 */
} rlm_lm_config;
void rlm_lm_config_defaults(rlm_lm_config *c); /* the bundled network */
int rlm_lm_config_preset(rlm_lm_config *c,
                         const char *name); /* tiny default 300m 1b 8b; 0 if known */
int rlm_lm_config_check(const rlm_lm_config *c, rlm_error *err);

typedef struct rlm_lm rlm_lm;
int rlm_lm_new(rlm_lm **out, const rlm_lm_config *c, rlm_params *params, rlm_error *err);
void rlm_lm_free(rlm_lm **lm);
const rlm_lm_config *rlm_lm_get_config(const rlm_lm *lm);
int rlm_lm_weight_bits(const rlm_lm *lm); /* of its matrices as opened: 32, 16, 8 or 4 */

/* ---- Whole sequences: training and evaluation ---------------------------------------------- */
/* A batch of `batch` sequences padded to `len`. All arrays borrowed until backward. */
typedef struct rlm_lm_batch {
    int batch, len;
    const int32_t *ids; /* [batch][len] */
    const int32_t *pos; /* [batch][len][3] */
    const uint8_t
        *target; /* [batch][len]: 1 = this token is predicted from the position before it */
    const int *prefix, *length; /* [batch] */
} rlm_lm_batch;
/* Plans the side arrays of a batch (local ids of each table, rotation angles, which row feeds which
 * head) in `plan`: heap, for up to batch x len, refilled without allocating. Ids must be in the
 * vocabulary (asserted); a target whose id is a text piece is not predicted. */
typedef struct rlm_lm_plan rlm_lm_plan;
int rlm_lm_plan_new(rlm_lm_plan **out, const rlm_lm *lm, int batch, int len, rlm_error *err);
void rlm_lm_plan_free(rlm_lm_plan **plan);
void rlm_lm_plan_fill(rlm_lm_plan *plan, const rlm_lm *lm, const rlm_lm_batch *b);
/* Hidden states after the final norm [batch*len][dim]. */
rlm_tensor rlm_lm_forward(rlm_run *run, const rlm_lm *lm, const rlm_lm_plan *plan);
/* Heads: logits only for the rows that need them. Group g has rows and targets chosen by the plan,
 * in order of position; rows of a group may be 0. Sound has one group a level: RLM_LM_GROUP_AUDIO +
 * level. Results point into the plan and the arena. */
enum {
    RLM_LM_GROUP_SPECIAL,
    RLM_LM_GROUP_VIDEO_LO,
    RLM_LM_GROUP_VIDEO_HI,
    RLM_LM_GROUP_AUDIO,
    RLM_LM_LEVELS_MAX = 16,
    RLM_LM_GROUPS = RLM_LM_GROUP_AUDIO + RLM_LM_LEVELS_MAX
};
typedef struct rlm_lm_logits {
    rlm_tensor logits[RLM_LM_GROUPS];     /* [rows][classes]; rows 0: data NULL */
    const int32_t *target[RLM_LM_GROUPS]; /* local class of each row */
    const int32_t *row[RLM_LM_GROUPS];    /* row of the hidden states: batch * len + position */
    int64_t rows[RLM_LM_GROUPS];
} rlm_lm_logits;
rlm_lm_logits rlm_lm_heads_forward(rlm_run *run, const rlm_lm *lm, const rlm_lm_plan *plan,
                                   const rlm_tensor *hidden);

/* ---- Cached generation (lm_cache.c) --------------------------------------------------------- */
typedef struct rlm_lm_cache rlm_lm_cache;
/* Room for `batch` sequences (2 with guidance) of `capacity` positions; bf16 keys and values. */
int rlm_lm_cache_new(rlm_lm_cache **out, const rlm_lm *lm, int batch, int capacity, rlm_error *err);
/* bits: 16 (bf16) or 8. Bytes of keys and values; SIZE_MAX: too many. */
int rlm_lm_cache_new_as(rlm_lm_cache **out, const rlm_lm *lm, int bits, int batch, int capacity,
                        rlm_error *err);
size_t rlm_lm_cache_bytes(const rlm_lm_config *c, int bits, int batch, int capacity);
/* From here on steps take the first `sequences` (1 to batch) of them; the others are left as they
 * are. */
void rlm_lm_cache_use(rlm_lm_cache *c, int sequences);
/* Sequence `to` becomes what `from` is. */
void rlm_lm_cache_copy(rlm_lm_cache *c, int from, int to);
void rlm_lm_cache_free(rlm_lm_cache **c);
void rlm_lm_cache_rewind(rlm_lm_cache *c, int sequence, int length);
/* A sequence of `length` positions, whatever the cache holds there: for benchmarks. */
void rlm_lm_cache_blank(rlm_lm_cache *c, int sequence, int length);
int rlm_lm_cache_length(const rlm_lm_cache *c, int sequence);
/* Bidirectional prefix of one sequence: must be the first thing in it. */
void rlm_lm_prefill(rlm_run *run, const rlm_lm *lm, rlm_lm_cache *c, int sequence,
                    const int32_t *ids, const int32_t *pos, int count);
/* One token for every sequence (ids [batch], pos [batch][3]); hidden out [batch][dim], may be NULL
 * when only the cache matters (forced tokens). Sequences may have different lengths. */
void rlm_lm_step(rlm_run *run, const rlm_lm *lm, rlm_lm_cache *c, const int32_t *ids,
                 const int32_t *pos, float *hidden);
/* Hidden state of the last position of each sequence after prefill or step [batch][dim]. */
const float *rlm_lm_last_hidden(const rlm_lm_cache *c);

/* ---- Sampling (lm_sample.c) ------------------------------------------------------------------ */
typedef struct rlm_lm_sampling {
    float temperature;  /* 0: greedy */
    int top_k;          /* 0: off */
    float top_p, min_p; /* 1, 0: off */
    float cfg_scale;    /* 1: off; else logits = u + cfg_scale (c - u), sequence 0 = c, 1 = u */
    uint64_t seed;
} rlm_lm_sampling;
/* Sample the id at position `index` (RNG counter) from hidden [batch][dim], inside [first, first +
 * n), which must lie in one modality other than text and, for audio, one level. batch: 1, or 2 with
 * guidance. Filters act on each half of a video code. logp (may be NULL): log probability of the id
 * under the model after guidance, before temperature and filters, over the legal ids. */
int32_t rlm_lm_sample(rlm_run *run, const rlm_lm *lm, const float *hidden, int batch,
                      const rlm_lm_sampling *s, int64_t index, int32_t first, int32_t n,
                      float *logp);

#endif
