/* Build a sequence from segments; parse generated ids back into codes. Pure integers.
 *
 *   prefix (bidirectional): bos task [bot_i text eot_i] [bov_i visual eov_i] [boa_i audio eoa_i]
 *                           [source] [res] [long]
 *   output (causal):        [bov_o video eov_o] [boa_o audio eoa_o] eos
 *
 * bov_o and boa_o are given, not predicted: they stand in the input and carry no loss. Everything
 * else after the prefix is a target. An absent modality loses its delimiters. A text-to-image
 * output omits eov_o and eos (VideoPoet, Table 4: an image is an unfinished video). */
#ifndef RLM_PROMPTS_LAYOUT_H
#define RLM_PROMPTS_LAYOUT_H

#include "prompts/vocab.h"

/* Visual grid as codes; ids may be NULL in an output that is to be generated. known (same count, may be
 * NULL): 1 where the output code is given (forced), 0 where it is to be sampled. An input code of -1 is
 * RLM_ID_MASK. */
typedef struct rlm_grid {
    int t, h, w; /* audio: t = levels, h = frames, w = 1 */
    const int32_t *ids;
    const uint8_t *known;
} rlm_grid;

typedef struct rlm_layout_spec {
    int task;                /* RLM_TASK_* */
    const int32_t *text;     /* local piece ids */
    int text_count;
    rlm_grid visual_in, audio_in;   /* t = 0: absent */
    rlm_grid video_out, audio_out;
    int source;              /* -1: none */
} rlm_layout_spec;

/* What the model needs to know of every position. Position p's `next` fields describe the token at
 * p + 1, i.e. what the model predicts there. */
typedef struct rlm_layout {
    int count;        /* tokens in all, outputs included */
    int prefix;       /* bidirectional positions */
    int32_t *ids;     /* [count]; -1 where it is to be generated */
    int32_t *pos;     /* [count][3]: t, y, x rotary positions (text and specials: all three equal) */
    uint8_t *target;  /* [count]: 1 = carries loss (never in the prefix) */
    int32_t *legal;   /* [count][2]: the token AT p lies in [first, first + n) */
} rlm_layout;

int rlm_layout_build(rlm_layout *l, const rlm_vocab *v, const rlm_layout_spec *spec,
                     rlm_error *err);
void rlm_layout_free(rlm_layout *l);
/* Where the output grids lie in ids: index of the first code, or -1. */
int rlm_layout_video_at(const rlm_layout *l, const rlm_vocab *v, const rlm_layout_spec *spec);
int rlm_layout_audio_at(const rlm_layout *l, const rlm_vocab *v, const rlm_layout_spec *spec);
/* Ids of a finished sequence -> local codes (video [t*h*w], audio [levels*frames]; NULL: skip). Fails
 * with TOKENS naming position, found and expected range when an id is not legal there. */
int rlm_layout_parse(const rlm_layout *l, const rlm_vocab *v, const rlm_layout_spec *spec,
                     const int32_t *ids, int32_t *video, int32_t *audio, rlm_error *err);

#endif
