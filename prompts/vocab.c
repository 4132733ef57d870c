/* The arithmetic of the one vocabulary; see vocab.h for its map. */
#include "prompts/vocab.h"

#include <assert.h>

int64_t rlm_vocab_size(const rlm_vocab *v)
{
    return (int64_t)RLM_ID_TEXT + v->text_pieces;
}

int rlm_vocab_video_codes(const rlm_vocab *v)
{
    return v->video_codes > 0 ? v->video_codes : RLM_VIDEO_CODES;
}

int rlm_vocab_audio_codes(const rlm_vocab *v)
{
    return v->audio_codes > 0 ? v->audio_codes : RLM_AUDIO_CODES;
}

bool rlm_vocab_split(const rlm_vocab *v, int32_t id, rlm_modality *m, int32_t *code, int *level)
{
    rlm_modality found;
    int32_t local;
    int at = 0;
    if (id < 0 || id >= rlm_vocab_size(v))
        return false;
    if (id < RLM_ID_SPECIALS) {
        found = RLM_MOD_SPECIAL;
        local = id;
    } else if (id < RLM_ID_AUDIO) {
        found = RLM_MOD_VIDEO;
        local = id - RLM_ID_VIDEO;
    } else if (id < RLM_ID_TEXT) {
        found = RLM_MOD_AUDIO;
        at = (id - RLM_ID_AUDIO) / RLM_AUDIO_CODES;
        local = (id - RLM_ID_AUDIO) % RLM_AUDIO_CODES;
        if (at >= v->audio_levels)
            return false;
    } else {
        found = RLM_MOD_TEXT;
        local = id - RLM_ID_TEXT;
    }
    if (m)
        *m = found;
    if (code)
        *code = local;
    if (level)
        *level = at;
    return true;
}

int32_t rlm_vocab_video(int32_t code)
{
    assert(code >= 0 && code < RLM_VIDEO_CODES);
    return RLM_ID_VIDEO + code;
}

int32_t rlm_vocab_audio(int level, int32_t code)
{
    assert(level >= 0 && level < RLM_AUDIO_LEVELS && code >= 0 && code < RLM_AUDIO_CODES);
    return RLM_ID_AUDIO + level * RLM_AUDIO_CODES + code;
}

int32_t rlm_vocab_text(int32_t piece)
{
    assert(piece >= 0);
    return RLM_ID_TEXT + piece;
}
