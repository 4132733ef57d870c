/* Build a sequence from segments; parse generated ids back into codes. Pure integers.
 *
 *   prefix (bidirectional): bos task [bot_i text eot_i] [bov_i visual eov_i] [boa_i audio eoa_i]
 *                           [source] [res] [long]
 *   output (causal):        [bov_o video eov_o] [boa_o audio eoa_o] eos
 *
 * bov_o and boa_o are given, not predicted: they stand in the input and carry no loss. Everything
 * else after the prefix is a target. An absent modality loses its delimiters. A text-to-image
 * output omits eov_o and eos (VideoPoet, Table 4: an image is an unfinished video).
 *
 * Rotary positions (t, y, x). One running counter n starts at 0. Text and specials stand at (n, n,
 * n) and advance it by 1. A visual grid has an origin (T, O): its code (t, y, x) stands at (T + 4
 * t, O + y, O + x): one unit of the t axis is one frame at 8 frames a second, so latent frame t
 * stands where its last frame does. Sound of level q, frame f (50 a second) stands at
 * (T + 4 f / 25, O + f, O + q): on the t axis beside the picture of the same moment, on y by its
 * own clock, on x by its level. A new segment has T = O = n and sets n beyond its largest position.
 * Segments that show the same moment share an origin:
 *   - visual and audio of one side (input or output) share T;
 *   - the output grid stands on its visual input's (O; and T + 2 for the input, T for the output,
 * so that both can be told apart) when they are of the same moment: video (the image is frame 0),
 *     paint, stylize; it continues at T + 4 t_in, same O, in predict and av-continue;
 *   - video-to-audio and audio-to-video take T from their input.
 * Positions are a rule of distances, so grids and durations never seen in training have them too.
 */
#ifndef RLM_PROMPTS_LAYOUT_H
#define RLM_PROMPTS_LAYOUT_H

#include "prompts/vocab.h"

/* Visual grid as codes; ids may be NULL in an output that is to be generated. known (same count,
 * may be NULL): 1 where the output code is given (forced), 0 where it is to be sampled. An input
 * code of -1 is RLM_ID_MASK. */
typedef struct rlm_grid {
    int t, h, w; /* audio: t = levels, h = frames, w = 1 */
    const int32_t *ids;
    const uint8_t *known;
} rlm_grid;

typedef struct rlm_layout_spec {
    int task;            /* RLM_TASK_* */
    const int32_t *text; /* local piece ids */
    int text_count;
    rlm_grid visual_in, audio_in; /* t = 0: absent */
    rlm_grid video_out, audio_out;
    int source; /* 0..31; -1: none */
} rlm_layout_spec;

/* What the model needs to know of every position. Position p's `next` fields describe the token at
 * p + 1, i.e. what the model predicts there. */
typedef struct rlm_layout {
    int count;       /* tokens in all, outputs included */
    int prefix;      /* bidirectional positions */
    int32_t *ids;    /* [count]; -1 where it is to be generated */
    int32_t *pos;    /* [count][3]: t, y, x rotary positions (text and specials: all three equal) */
    uint8_t *target; /* [count]: 1 = carries loss (never in the prefix) */
    int32_t *legal;  /* [count][2]: the token AT p lies in [first, first + n) */
} rlm_layout;

/* Task, grids and every given id are checked (ARG, RANGE or TOKENS); on success `l` is overwritten
 * and belongs to the caller (rlm_layout_free), on failure it is zeroed. Output ids NULL: all to be
 * generated. known NULL: all given, and all targets (training). A forced code (known 1) is no
 * target. */
int rlm_layout_build(rlm_layout *l, const rlm_vocab *v, const rlm_layout_spec *spec,
                     rlm_error *err);
void rlm_layout_free(rlm_layout *l);
/* How many tokens that would be, by the sizes of the grids alone: ids are not looked at. The task
 * must exist. */
int64_t rlm_layout_count(const rlm_layout_spec *spec);
/* Where the output grids lie in ids: index of the first code, or -1. */
int rlm_layout_video_at(const rlm_layout *l, const rlm_vocab *v, const rlm_layout_spec *spec);
int rlm_layout_audio_at(const rlm_layout *l, const rlm_vocab *v, const rlm_layout_spec *spec);
/* Ids of a finished sequence -> local codes (video [t*h*w], audio [levels*frames]; NULL: skip).
 * Fails with TOKENS naming position, found and expected range when an id is not legal there. */
int rlm_layout_parse(const rlm_layout *l, const rlm_vocab *v, const rlm_layout_spec *spec,
                     const int32_t *ids, int32_t *video, int32_t *audio, rlm_error *err);

#endif
