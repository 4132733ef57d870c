/* The one map (modality, local code) <-> global id. VideoPoet A.5.1: 256 special and task tokens,
 * then 2^18 video codes, then 4 x 1024 audio codes (levels disjoint), then text pieces. */
#ifndef RLM_PROMPTS_VOCAB_H
#define RLM_PROMPTS_VOCAB_H

#include <stdbool.h>
#include <stdint.h>

#include "src/reelm.h"

enum {
    RLM_ID_PAD = 0,
    RLM_ID_BOS = 1,
    RLM_ID_EOS = 2,
    RLM_ID_BOT_I = 3, /* text in */
    RLM_ID_EOT_I = 4,
    RLM_ID_BOV_I = 5, /* visual in */
    RLM_ID_EOV_I = 6,
    RLM_ID_BOA_I = 7, /* audio in */
    RLM_ID_EOA_I = 8,
    RLM_ID_BOV_O = 9, /* visual out */
    RLM_ID_EOV_O = 10,
    RLM_ID_BOA_O = 11, /* audio out */
    RLM_ID_EOA_O = 12,
    RLM_ID_RES_PORTRAIT = 13, /* 128 wide x 224 high; absent: 128 x 128 */
    RLM_ID_RES_OTHER = 14,
    RLM_ID_LONG = 15,   /* duration: more than 5 latent frames */
    RLM_ID_MASK = 16,   /* an unknown visual token in a condition (COMMIT) */
    RLM_ID_SOURCE = 32, /* + source 0..31: 0 real, 1 playground */
    RLM_ID_TASK = 64,   /* + RLM_TASK_* */
    RLM_ID_SPECIALS = 256,
    RLM_ID_VIDEO = 256,
    RLM_VIDEO_CODES = 262144,
    RLM_ID_AUDIO = 262400,
    RLM_AUDIO_CODES = 1024,
    RLM_AUDIO_LEVELS = 4,
    RLM_ID_TEXT = 266496
};

typedef enum { RLM_MOD_SPECIAL, RLM_MOD_VIDEO, RLM_MOD_AUDIO, RLM_MOD_TEXT } rlm_modality;

typedef struct rlm_vocab {
    int audio_levels; /* 4 */
    int text_pieces;
    /* Codes the tokenizers really have, when fewer than there is room for; 0: all. Ids beyond are
     * in the map, but not legal in a layout. */
    int video_codes, audio_codes;
} rlm_vocab;

/* Legal codes of a video position, and of an audio one. */
int rlm_vocab_video_codes(const rlm_vocab *v);
int rlm_vocab_audio_codes(const rlm_vocab *v);

int64_t rlm_vocab_size(const rlm_vocab *v);
/* Global id -> modality and local code (audio: code in its level, level in *level, may be NULL).
 * false: not an id. */
bool rlm_vocab_split(const rlm_vocab *v, int32_t id, rlm_modality *m, int32_t *code, int *level);
int32_t rlm_vocab_video(int32_t code);
int32_t rlm_vocab_audio(int level, int32_t code);
int32_t rlm_vocab_text(int32_t piece);

#endif
