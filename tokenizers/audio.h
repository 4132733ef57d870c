/* Audio codec: 16 kHz mono <-> residual codes at 50 Hz. SoundStream (arXiv 2107.03312): causal
 * SEANet encoder and decoder, ELU, no normalisation, residual vector quantiser.
 *
 * A strided convolution of kernel 2s and stride s is computed as a dense one of kernel 2 on frames
 * of s samples (a reshape), a transposed one as a dense one followed by the inverse reshape: the
 * same linear maps, no strided kernels. In the same way the first and last layer may work on frames
 * of `stem` samples: stem 8 with strides 5, 8 has the hop of 2, 4, 5, 8 and spends nothing on
 * narrow layers at the full rate. */
#ifndef RLM_TOKENIZERS_AUDIO_H
#define RLM_TOKENIZERS_AUDIO_H

#include "src/nn/layers.h"

enum { RLM_AUDIO_STRIDES = 6, RLM_AUDIO_UNITS = 8, RLM_AUDIO_LEVELS_MAX = RLM_RVQ_LEVELS_MAX };

typedef struct rlm_audio_config {
    int rate;             /* 16000 */
    int channels;         /* C of the encoder's first layer, doubled at every stride */
    int decoder_channels; /* of the decoder's last layer; 0: as channels */
    int max_channels;     /* no layer is wider; 0: no limit */
    int stem;             /* samples a frame of the first and last layer; 1 (the paper) to 320 */
    int strides[RLM_AUDIO_STRIDES], stride_count; /* 5, 4; paper 2, 4, 5, 8 */
    int window; /* samples of the log spectrum beside the encoder's frames, a power of two; 0: none
                 */
    int synthesis;      /* the decoder ends in spectra of this many frames; 0: in samples */
    int middle;         /* residual units at the latent's rate, behind the strides of either side */
    int decoder_middle; /* of the decoder's; 0: as middle */
    int units, unit_kernel; /* residual units a stage (dilation 1, 3, 9, 27, 1, 3 ..), kernel of
                               their first */
    int decoder_units;      /* of the decoder's stages; 0: as units */
    int dim;                /* of the quantised latent, D */
    int levels;             /* 4 */
    int codes;              /* 1024 */
    int beam; /* sums the encoder keeps while it searches codes, to RLM_RVQ_BEAM_MAX; 1:
                 SoundStream's greedy choice. Part of the model: a language model learns codes
                 chosen like this */
} rlm_audio_config;
void rlm_audio_config_defaults(rlm_audio_config *c);
void rlm_audio_config_tiny(rlm_audio_config *c);  /* for tests: seconds */
void rlm_audio_config_paper(rlm_audio_config *c); /* C = 32, D = 256, 8.4 M parameters */
int rlm_audio_config_check(const rlm_audio_config *c, rlm_error *err);
int rlm_audio_hop(const rlm_audio_config *c); /* 320 */

typedef struct rlm_audio rlm_audio;
/* RANGE if a frame would depend on more than RLM_AUDIO_CONTEXT_MAX earlier ones. */
int rlm_audio_new(rlm_audio **out, const rlm_audio_config *c, rlm_params *params, rlm_error *err);
void rlm_audio_free(rlm_audio **a);
/* The weights that do not learn (the decoder's inverse transform) get their values and lose their
 * gradient: for training, after the parameters are initialised or loaded. */
void rlm_audio_fill(rlm_audio *a);
const rlm_audio_config *rlm_audio_get_config(const rlm_audio *a);
/* Codebooks [levels][codes][dim] as parameters "rvq.books" (no gradient: EMA in train/). */
rlm_param *rlm_audio_books(const rlm_audio *a);

/* wave [n][1][1][w][1], w a multiple of the hop -> latent [n][1][1][w/hop][dim]; and back. */
rlm_tensor rlm_audio_encode_forward(rlm_run *run, const rlm_audio *a, const rlm_tensor *wave);
rlm_tensor rlm_audio_decode_forward(rlm_run *run, const rlm_audio *a, const rlm_tensor *latent);
/* x [rows][dim] -> ids [levels][rows] (the first `use` levels; the rest -1), quantised [rows][dim]
 * (may be NULL). */
void rlm_audio_quantise(rlm_run *run, const rlm_audio *a, int use, int64_t rows, const float *x,
                        int32_t *ids, float *quantised);
/* ids [levels][rows] (< 0: level left out) -> sum of codes [rows][dim]. */
void rlm_audio_dequantise(rlm_run *run, const rlm_audio *a, int64_t rows, const int32_t *ids,
                          float *out);
/* The same on ids whose levels lie `pitch` apart. */
void rlm_audio_quantise_rows(rlm_run *run, const rlm_audio *a, int use, int64_t rows,
                             const float *x, int32_t *ids, int64_t pitch, float *quantised);
void rlm_audio_dequantise_rows(rlm_run *run, const rlm_audio *a, int levels, int64_t rows,
                               const int32_t *ids, int64_t pitch, float *out);
/* Frames of the past that a latent frame of the encoder and a frame of the decoder depend on. */
void rlm_audio_contexts(const rlm_audio *a, int *encoder, int *decoder);

/* Whole clips: resampling and down-mix are the caller's (src/media); pcm must be mono at `rate`.
 * The last frame is padded with zeros; true_samples restores the length. 2.125 s are 106.25 frames
 * and give 106: frames = round-half-down(samples / hop), at least 1; decode pads or cuts to
 * true_samples. Works in chunks of RLM_AUDIO_CHUNK frames with the exact left context computed
 * again: memory is bounded and the result equals the whole bit for bit. Scratch comes from
 * run->arena; nothing but kernels touches it, so a dry run on the longest clip (or CHUNK + context
 * frames) plans it. */
enum { RLM_AUDIO_CHUNK = 128, RLM_AUDIO_CONTEXT_MAX = 15 * RLM_AUDIO_CHUNK };
int64_t rlm_audio_frames(const rlm_audio_config *c, int64_t samples);
int rlm_audio_encode(rlm_run *run, const rlm_audio *a, const rlm_pcm *pcm, rlm_codes *codes,
                     rlm_error *err);
int rlm_audio_decode(rlm_run *run, const rlm_audio *a, const rlm_codes *codes, rlm_pcm *pcm,
                     rlm_error *err);

/* The same piece by piece, bit for bit the whole's. Scratch as for two chunks. */
typedef struct rlm_audio_encoder rlm_audio_encoder;
int rlm_audio_encoder_open(rlm_audio_encoder **out, rlm_run *run, const rlm_audio *a,
                           rlm_error *err);
int rlm_audio_encoder_push(rlm_audio_encoder *e, int64_t count, const float *samples,
                           rlm_error *err);
/* All that was pushed. Nothing can be pushed afterwards. */
int rlm_audio_encoder_finish(rlm_audio_encoder *e, rlm_codes *codes, rlm_error *err);
void rlm_audio_encoder_close(rlm_audio_encoder **e);
/* Samples [from, to) of checked codes, to at most frames * hop. */
int rlm_audio_codes_check(const rlm_audio *a, const rlm_codes *codes, rlm_error *err);
void rlm_audio_decode_part(rlm_run *run, const rlm_audio *a, const rlm_codes *codes, int64_t from,
                           int64_t to, float *out);

#endif
