/* A model directory: config.json, video.safetensors, audio.safetensors, lm.safetensors, text.model.
 * docs/FORMATS.md. Fills and range-checks each room's own config struct, checks sha256 of the files
 * against config.json, loads and packs. */
#ifndef RLM_MODEL_DIR_H
#define RLM_MODEL_DIR_H

#include "model/lm.h"
#include "tokenizers/audio.h"
#include "tokenizers/text.h"
#include "tokenizers/video.h"

typedef struct rlm_model {
    char *dir;
    rlm_video_config video_config;
    rlm_audio_config audio_config;
    rlm_lm_config lm_config;
    rlm_params video_params, audio_params, lm_params;
    rlm_video *video; /* NULL: the directory has none */
    rlm_audio *audio;
    rlm_lm *lm;
    rlm_text *text;
    char video_sha[65], audio_sha[65], lm_sha[65]; /* of the weight files */
    rlm_weights lm_weights;                        /* as asked for; RLM_WEIGHTS: with f32 */
} rlm_model;

enum {
    RLM_PART_VIDEO = 1,
    RLM_PART_AUDIO = 2,
    RLM_PART_LM = 4,
    RLM_PART_TEXT = 8,
    RLM_PART_ALL = 15,
    RLM_PART_OPTIONAL = 16
};
/* parts: which to load; each must be there, unless RLM_PART_OPTIONAL is added: then those that are.
 */
int rlm_model_open(rlm_model *m, const char *dir, unsigned parts, const rlm_kernels *k,
                   rlm_par *par, rlm_error *err);
/* For inference only: the language model's weights as `lm_weights` says and nothing beside them
 * (rlm_params_open). rlm_model_open keeps the f32 values, so that parts can be saved again. */
int rlm_model_open_as(rlm_model *m, const char *dir, unsigned parts, rlm_weights lm_weights,
                      const rlm_kernels *k, rlm_par *par, rlm_error *err);
void rlm_model_close(rlm_model *m);

/* Fill the configs that are not NULL from a model directory's config.json (parts it lacks stay as
 * they are) or from a training config {"what", "about", "network": {"preset", fields}, "train"}
 * (no "network": defaults). Unknown keys are an error naming the nearest known one. */
int rlm_config_read(const char *path, rlm_video_config *video, rlm_audio_config *audio,
                    rlm_lm_config *lm, rlm_error *err);
/* Write one part's weights (bf16) and its entry (config, sha256) into dir/config.json, atomically;
 * the other parts' entries stay. */
int rlm_model_save_part(const char *dir, unsigned part, const void *config,
                        const rlm_params *params, const float *data, rlm_error *err);
/* The same with weights as rlm_params_write takes them. */
int rlm_model_save_as(const char *dir, unsigned part, const void *config, const rlm_params *params,
                      rlm_weights weights, rlm_params_pick *convs, rlm_par *par, rlm_error *err);
/* Copy a text model into dir as its text part. */
int rlm_model_add_text(const char *dir, const char *source, rlm_error *err);

#endif
