/* Video tokenizer: frames <-> 18-bit codes. MAGVIT-v2 (arXiv 2310.05737) causal 3-D convolutional
 * encoder and decoder around lookup-free quantisation, with an optional Haar wavelet front end.
 *
 * Causality: code frame t depends on pixel frames <= 4 t only; an image is a one-frame video. */
#ifndef RLM_TOKENIZERS_VIDEO_H
#define RLM_TOKENIZERS_VIDEO_H

#include "src/nn/layers.h"

enum { RLM_VIDEO_LEVELS = 6 };

typedef struct rlm_video_config {
    int bits;       /* 18 */
    int haar;       /* 1: two-level 3-D Haar front end (x4 in t, h, w); 0: the paper's stem */
    int factorised; /* 1: 1x3x3 then 3x1x1; 0: full 3x3x3 */
    int levels;     /* grids, finest first */
    int channels[RLM_VIDEO_LEVELS];       /* of each level */
    int blocks[RLM_VIDEO_LEVELS];         /* residual blocks of each level */
    int decoder_blocks[RLM_VIDEO_LEVELS]; /* of the decoder; 0: as blocks */
    int down_t[RLM_VIDEO_LEVELS];         /* stride in time between level i and i + 1: 1 or 2 */
    int down_s[RLM_VIDEO_LEVELS];         /* stride in space between level i and i + 1: 1 or 2 */
    int mid_blocks;                       /* extra blocks at the coarsest level, each side */
    int groups;                           /* of group norm */
} rlm_video_config;
void rlm_video_config_defaults(rlm_video_config *c); /* the bundled network */
void rlm_video_config_paper(rlm_video_config *c);    /* MAGVIT-v2, 370 M parameters */
int rlm_video_config_check(const rlm_video_config *c, rlm_error *err);
/* Pixel frames a code frame spans in time (4), pixels a code spans in space (8). */
int rlm_video_stride_t(const rlm_video_config *c);
int rlm_video_stride_s(const rlm_video_config *c);

typedef struct rlm_video rlm_video; /* layers; parameters live in `params` */
int rlm_video_new(rlm_video **out, const rlm_video_config *c, rlm_params *params, rlm_error *err);
void rlm_video_free(rlm_video **v);
const rlm_video_config *rlm_video_get_config(const rlm_video *v);

/* pixels [n][1 + 4(t-1)][8h][8w][3] in [-1, 1] -> z [n][t][h][w][bits], before quantisation. */
rlm_tensor rlm_video_encode_forward(rlm_run *run, const rlm_video *v, const rlm_tensor *pixels);
/* q (+-1) [n][t][h][w][bits] -> pixels, unclamped. Quantise with rlm_lfq_forward. */
rlm_tensor rlm_video_decode_forward(rlm_run *run, const rlm_video *v, const rlm_tensor *q);

/* Whole clips of any size and length: replicate-pad to the grid, encode, quantise. Chunked in time
 * with exact context so that memory is bounded and the result equals the whole. scratch arena is
 * grown at need (edge). ids: heap [t][h][w] in `codes`, freed with rlm_codes_free. */
int rlm_video_encode(rlm_run *run, const rlm_video *v, const rlm_frames *frames, rlm_codes *codes,
                     rlm_error *err);
/* The same piece by piece, codes equal to the whole's: memory holds the codes and one chunk. run
 * and its arena are used by every push, above what was allocated when it was opened. */
typedef struct rlm_video_encoder rlm_video_encoder;
int rlm_video_encoder_open(rlm_video_encoder **out, rlm_run *run, const rlm_video *v, int height,
                           int width, rlm_error *err);
int rlm_video_encoder_push(rlm_video_encoder *e, const rlm_frames *frames, rlm_error *err);
/* All that was pushed; no rate and no tokenizer in codes yet. Nothing can be pushed afterwards. */
int rlm_video_encoder_finish(rlm_video_encoder *e, rlm_codes *codes, rlm_error *err);
void rlm_video_encoder_close(rlm_video_encoder **e);
/* Codes that arrive one latent frame at a time: each is decoded once, its pictures equal to those
 * of decoding all at the end. Open takes all memory: codes tell the grid, as many latent frames as
 * may come, and the true size; their ids are not looked at. run and its arena are used by every
 * push, above what was allocated when it was opened. */
typedef struct rlm_video_decoder rlm_video_decoder;
int rlm_video_decoder_open(rlm_video_decoder **out, rlm_run *run, const rlm_video *v,
                           const rlm_codes *codes, rlm_error *err);
/* ids [h][w] of the next latent frame; of its own pictures (the clip's first: 1, later ones:
 * stride) those numbered [from, to), as far as there are, go behind the f->count of f, which is of
 * the true size and has room. TOKENS, and nothing changed, when an id is out of range. */
int rlm_video_decoder_push(rlm_video_decoder *d, const int32_t *ids, int from, int to,
                           rlm_frames *f, rlm_error *err);
void rlm_video_decoder_close(rlm_video_decoder **d);
/* All of them, cropped back to codes->true_*. frames->rgb heap. */
int rlm_video_decode(rlm_run *run, const rlm_video *v, const rlm_codes *codes, rlm_frames *frames,
                     rlm_error *err);
/* Latent frame by latent frame: take gets pictures [from, count) of f, and `done`, how many there
 * were so far; it sets f->count to 0 to have the room used again. An error of take's ends it. */
typedef int (*rlm_video_part_fn)(void *cookie, rlm_frames *f, int from, int done, rlm_error *err);
int rlm_video_decode_parts(rlm_run *run, const rlm_video *v, const rlm_codes *codes,
                           rlm_video_part_fn take, void *cookie, rlm_error *err);
/* Pixels of frame `index` as floats out [h][w][3] in [-1, 1], h and w at least its own; the last
 * row and column repeat beyond. */
void rlm_video_floats(const rlm_frames *f, int index, int h, int w, float *out);
/* Bits <-> +-1 rows. */
void rlm_video_unpack(const int32_t *ids, int64_t rows, int bits, float *q);

#endif
