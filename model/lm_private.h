/* What the files of this room share. */
#ifndef RLM_MODEL_LM_PRIVATE_H
#define RLM_MODEL_LM_PRIVATE_H

#include "model/lm.h"

enum { RLM_LM_CLASSES_MAX = 4096, RLM_LM_ROPE_MAX = 256 /* of half a head */ };

typedef struct rlm_lm_block {
    rlm_rmsnorm attn_norm, mlp_norm;
    rlm_linear qkv, out, up, down; /* up: gate | up */
    rlm_attention attn;
} rlm_lm_block;

/* p(hi | h, lo). */
typedef struct rlm_lm_cond {
    rlm_embedding lo;
    rlm_rmsnorm norm, head_norm;
    rlm_linear up, down, head;
} rlm_lm_cond;

struct rlm_lm {
    rlm_lm_config config;
    int half;                    /* classes of half a video code: 512 */
    int video, audio, text, end; /* first id of each modality; one past the last */
    int axis[3];                 /* rotary frequencies of t, y, x */
    float freq[RLM_LM_ROPE_MAX]; /* all of them in axis order */
    rlm_embedding special, video_lo, video_hi, sound[RLM_LM_LEVELS_MAX], pieces;
    rlm_lm_block *blocks; /* [layers] */
    rlm_rmsnorm norm;
    rlm_linear head_special, head_lo, head_sound[RLM_LM_LEVELS_MAX]; /* special, sound: tied */
    rlm_lm_cond cond;
};

/* Local ids of `count` tokens in each table, -1 where a token belongs to another. */
typedef struct rlm_lm_ids {
    int32_t *special, *lo, *hi, *pieces, *sound[RLM_LM_LEVELS_MAX];
    int32_t *block; /* owns all */
} rlm_lm_ids;
int rlm_lm_ids_new(rlm_lm_ids *t, const rlm_lm *lm, int64_t count, rlm_error *err);
void rlm_lm_ids_free(rlm_lm_ids *t);
/* One token at place i; id < 0: padding. */
void rlm_lm_ids_set(const rlm_lm_ids *t, const rlm_lm *lm, int64_t i, int32_t id);
/* angle [half a head] of one position. */
void rlm_lm_angles(const rlm_lm *lm, const int32_t pos[3], float *angle);

struct rlm_lm_plan {
    int batch, len;   /* as filled */
    int64_t capacity; /* batch x len at most */
    int batch_capacity;
    rlm_lm_ids ids;
    float *angle;                                        /* [batch * len][half a head] */
    int *prefix, *length;                                /* [batch] */
    int32_t *row[RLM_LM_GROUPS], *target[RLM_LM_GROUPS]; /* [capacity] each; hi shares lo's rows */
    int64_t rows[RLM_LM_GROUPS];
    int32_t *block; /* owns row and target */
};

/* Sum of the tables' rows [count][dim]. */
rlm_tensor rlm_lm_embed(rlm_run *run, const rlm_lm *lm, const rlm_lm_ids *t, int64_t count);
/* Conditioned head: x [rows][dim], lo [rows] -> [rows][half]. */
rlm_tensor rlm_lm_hi_forward(rlm_run *run, const rlm_lm *lm, const rlm_tensor *x,
                             const int32_t *lo);

#endif
