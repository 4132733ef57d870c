/* SqueezeNet v1.1 as a ruler for pictures: what the perceptual distance and the perceptual loss
 * share.
 *
 *   BGR 0..255 less means -> conv1 3x3 / 2, ReLU -> pool -> fire2, fire3 -> pool -> fire4, fire5
 *     -> pool -> fire6 .. fire9;  fire(x) = [relu(expand1x1(s)), relu(expand3x3(s))],
 *   s = relu(squeeze1x1(x));  pool: maximum of 3x3, stride 2, the last window cut at the border
 *
 * Features are tapped behind conv1 and behind each fire. Pools cut the stack into four stretches.
 */
#ifndef RLM_TRAIN_SQUEEZENET_H
#define RLM_TRAIN_SQUEEZENET_H

#include "src/train/train.h"

enum { RLM_FIRES = 8, RLM_TAPS = 1 + RLM_FIRES, RLM_STRETCHES = 4 };

typedef struct rlm_fire {
    rlm_conv squeeze, expand1, expand3;
} rlm_fire;

typedef struct rlm_squeezenet {
    rlm_params params; /* frozen: no gradients. The owner packs them for its kernels */
    rlm_conv conv1;
    rlm_fire fires[RLM_FIRES];
} rlm_squeezenet;

/* Means of blue, green, red that pictures are given without. */
extern const float rlm_squeezenet_mean[3];
/* path: squeezenet_v1.1.safetensors (conv1, fireN.squeeze1x1, ...: [out][in][kh][kw]). */
int rlm_squeezenet_load(rlm_squeezenet *net, const char *path, rlm_error *err);

typedef struct rlm_tap {
    rlm_tensor x;
    int64_t h, w; /* places that count */
} rlm_tap;
/* x [n][1][.][.][3], sides even, of which h x w count. tapes: one a stretch, and the inputs of
 * stretches 1.. into pooled (pools are not recorded); NULL: features only. dry: kernels are empty.
 */
void rlm_squeezenet_features(rlm_run *run, const rlm_squeezenet *net, const rlm_tensor *x,
                             int64_t h, int64_t w, bool dry, rlm_tape *tapes,
                             rlm_tensor pooled[RLM_STRETCHES], rlm_tap taps[RLM_TAPS]);
/* y->grad through the pool behind `in`, into its gradient: to the first place of a window that
 * holds its maximum. */
void rlm_squeezenet_pool_backward(rlm_par *par, const rlm_tap *in, const rlm_tensor *y);
/* Channels of each place scaled to length 1, squared difference summed over channels, mean over
 * places and pictures. scale * gradient is added to b's gradient, when it has one. */
double rlm_squeezenet_compare(rlm_par *par, const rlm_tap *a, const rlm_tap *b, double scale);

#endif
