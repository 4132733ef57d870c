/* What encoder, decoder, quantiser and codec share; seen by tokenizers/audio_*.c only. */
#ifndef RLM_TOKENIZERS_AUDIO_NET_H
#define RLM_TOKENIZERS_AUDIO_NET_H

#include "tokenizers/audio.h"

/* x + conv1(elu(conv0(elu(x)))): conv0 dilated, conv1 pointwise. */
typedef struct rlm_audio_unit {
    rlm_conv conv0, conv1;
} rlm_audio_unit;

/* Encoder: units, then `resample` takes `stride` frames to one. Decoder: `resample` makes `stride`
 * frames of one, then units. */
typedef struct rlm_audio_stage {
    int stride;
    rlm_audio_unit units[RLM_AUDIO_UNITS];
    rlm_conv resample;
} rlm_audio_stage;

typedef struct rlm_audio_stack {
    rlm_conv stem, out;
    rlm_conv synthesis; /* decoder with spectra: their inverse transform, which does not learn */
    rlm_audio_unit middle[RLM_AUDIO_UNITS];    /* at the latent's rate */
    rlm_audio_stage stages[RLM_AUDIO_STRIDES]; /* 0 is next to the wave on both sides */
    int middle_count, unit_count;              /* of middle, of each stage's units */
} rlm_audio_stack;

struct rlm_audio {
    rlm_audio_config config;
    rlm_audio_stack encoder, decoder;
    rlm_param *books;                     /* [levels][codes][dim] */
    int encoder_context, decoder_context; /* latent frames of the past that a frame depends on */
};

/* Width of the layers behind `depth` strides of a stack that starts with `first` channels. */
int rlm_audio_width(const rlm_audio_config *c, int first, int depth);

void rlm_audio_encoder_declare(rlm_audio *a, rlm_params *p);
void rlm_audio_decoder_declare(rlm_audio *a, rlm_params *p);
int rlm_audio_encoder_context(const rlm_audio *a);
int rlm_audio_decoder_context(const rlm_audio *a);

/* `count` units of `width` channels, one behind the other: parameters "{name}{j}.conv0", ".conv1",
 * dilations 1, 3, 9, 27 and again from 1. */
void rlm_audio_units_declare(rlm_audio_unit *u, rlm_params *p, const char *name,
                             const rlm_audio_config *c, int width, int count);
/* In inference the result reuses x's memory. */
rlm_tensor rlm_audio_units_forward(rlm_run *run, const rlm_audio_unit *u, int count,
                                   const rlm_tensor *x);
/* Frames of the past that they see. */
int64_t rlm_audio_units_context(const rlm_audio_unit *u, int count);

#endif
