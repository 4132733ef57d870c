/* Inside of the video tokenizer: its layers, and the state that lets a clip pass through in chunks.
 *
 *   encoder: [haar] stem | level 0: blocks, down | ... | last level: blocks | mid | norm SiLU out
 *   decoder: stem | mid | last level: AdaGN, blocks, up | ... | level 0: AdaGN, blocks |
 *            norm SiLU out [inverse haar] */
#ifndef RLM_TOKENIZERS_VIDEO_NET_H
#define RLM_TOKENIZERS_VIDEO_NET_H

#include "tokenizers/video.h"

/* GN SiLU conv, GN SiLU conv, plus the input (through a 1x1x1 convolution when it widens). */
typedef struct rlm_video_block {
    rlm_groupnorm norm[2];
    rlm_conv conv[2], shortcut;
    bool widens;
} rlm_video_block;

typedef struct rlm_video_level {
    rlm_video_block *blocks; /* as many as the config says of this side and level */
    rlm_conv resample;       /* encoder: down to level i + 1; decoder: up to level i - 1 */
    rlm_groupnorm ada_norm;  /* decoder only, without gain and bias */
    rlm_linear gamma, beta;  /* decoder only: from the quantised latent */
} rlm_video_level;

typedef struct rlm_video_side {
    rlm_conv stem, out;
    rlm_video_level levels[RLM_VIDEO_LEVELS];
    rlm_video_block *mid; /* [config.mid_blocks] */
    rlm_groupnorm out_norm;
} rlm_video_side;

struct rlm_video {
    rlm_video_config config;
    rlm_video_side encoder, decoder;
};

int rlm_video_encoder_declare(rlm_video *v, rlm_params *p, rlm_error *err);
int rlm_video_decoder_declare(rlm_video *v, rlm_params *p, rlm_error *err);

/* Shared by both sides (video_blocks.c). The kernels of a side's edges (stem, out) and of blocks.
 */
rlm_conv_spec rlm_video_edge_spec(const rlm_video_config *c, int cin, int cout);
int rlm_video_blocks_declare(rlm_video_block **out, int count, const rlm_video_config *c,
                             rlm_params *p, const char *prefix, int *width, int cout,
                             rlm_error *err);

/* ---- Chunks in time ---------------------------------------------------------------------------
 * Every convolution that looks back keeps the last input frames of the chunk before, so that a
 * chunk computes exactly what the whole clip would. One clip (n = 1), no tape. The first pass, with
 * empty kernels, only counts bytes (`data` NULL); then one block serves all caches. NULL: whole
 * clips. */
typedef struct rlm_video_stream {
    bool first;    /* this chunk starts the clip: zeros in front, first frames dropped behind */
    uint8_t *data; /* all caches, owned */
    size_t bytes, used;
} rlm_video_stream;

/* Convolution and residual block with the stream's context; residual may be NULL. */
rlm_tensor rlm_video_conv(rlm_run *run, rlm_video_stream *s, const rlm_conv *c, const rlm_tensor *x,
                          const rlm_tensor *residual);
/* c(n(x)) [+ residual], in one kernel unless the stream has to keep n(x). */
rlm_tensor rlm_video_norm_conv(rlm_run *run, rlm_video_stream *s, const rlm_groupnorm *n,
                               const rlm_conv *c, const rlm_tensor *x, const rlm_tensor *residual);
rlm_tensor rlm_video_blocks_forward(rlm_run *run, rlm_video_stream *s,
                                    const rlm_video_block *blocks, int count, rlm_tensor x);
/* Frames [from, t) of a clip with n = 1: a view. */
rlm_tensor rlm_video_frames_from(const rlm_tensor *x, int64_t from);
/* Copy of x with `count` frames of zeros in front. */
rlm_tensor rlm_video_frames_pad(rlm_run *run, const rlm_tensor *x, int64_t count);

/* The two stacks, whole (stream NULL) or one chunk. With a stream and haar, chunks after the first
 * carry one frame in front that fills the place of the clip's first frame and has no influence. */
rlm_tensor rlm_video_encoder_forward(rlm_run *run, const rlm_video *v, rlm_video_stream *s,
                                     const rlm_tensor *pixels);
rlm_tensor rlm_video_decoder_forward(rlm_run *run, const rlm_video *v, rlm_video_stream *s,
                                     const rlm_tensor *q);

#endif
