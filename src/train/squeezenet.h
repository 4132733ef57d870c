/* SqueezeNet v1.1 as a ruler for pictures: what the perceptual distance and the perceptual loss
 * share.
 *
 *   BGR 0..255 less means -> conv1 3x3 / 2, ReLU -> pool -> fire2, fire3 -> pool -> fire4, fire5
 *     -> pool -> fire6 .. fire9;  fire(x) = [relu(expand1x1(s)), relu(expand3x3(s))],
 *   s = relu(squeeze1x1(x));  pool: maximum of 3x3, stride 2, the last window cut at the border */
#ifndef RLM_TRAIN_SQUEEZENET_H
#define RLM_TRAIN_SQUEEZENET_H

#include "src/train/train.h"

enum { RLM_FIRES = 8 };

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
/* relu(c(x)); fires and this record on run->tape when it is set. */
rlm_tensor rlm_squeezenet_conv(rlm_run *run, const rlm_conv *c, const rlm_tensor *x);
rlm_tensor rlm_squeezenet_fire(rlm_run *run, const rlm_fire *f, const rlm_tensor *x);
/* A pool stands in front of fire i. */
bool rlm_squeezenet_pools(int i);
/* x [n][1][.][.][c], of which h x w count, pooled; dry: only the shape (planning). Not recorded. */
rlm_tensor rlm_squeezenet_pool(rlm_run *run, const rlm_tensor *x, int64_t h, int64_t w, bool dry);

#endif
