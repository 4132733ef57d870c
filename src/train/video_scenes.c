/* Clips of the playground for the video tokenizer: the picture of a scene, or its flow and depth
 * packed as a picture (rlm_control_pack). A pool of fixed size is rendered at first use and kept as
 * bytes: a clip costs as much as a tenth of a step, and a few thousand scenes are more than a short
 * run can learn by heart. */
#include <string.h>

#include "src/base/rng.h"
#include "src/train/video_train.h"

enum { POOL = 2048, CONTROL_POOL = 512, CLIP_BYTES = RLM_CROP_FLOATS };
static const float CONTROL_SHARE = 0.2f; /* of the samples */

int rlm_scenes_open(rlm_scenes *m, rlm_error *err)
{
    memset(m, 0, sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
    m->clips = rlm_calloc(POOL + CONTROL_POOL, sizeof *m->clips);
    if (!m->clips)
        return rlm_fail(err, RLM_E_NOMEM, "video training: no memory for playground clips");
    return rlm_world_open(&m->world, 1, err);
}

void rlm_scenes_free(rlm_scenes *m)
{
    if (!m->clips)
        return;
    for (int i = 0; i < POOL + CONTROL_POOL; i++)
        rlm_free(m->clips[i]);
    rlm_free(m->clips);
    rlm_world_close(&m->world);
    pthread_mutex_destroy(&m->lock);
    memset(m, 0, sizeof *m);
}

int rlm_scenes_render(const rlm_scenes *m, uint64_t seed, int style, bool control, rlm_clip *out,
                      rlm_error *err)
{
    rlm_world_want want;
    rlm_world_want_defaults(&want);
    want.width = want.height = RLM_CROP_SIDE;
    want.frames = RLM_CROP_FRAMES;
    want.fps_num = RLM_CROP_FPS;
    want.fps_den = 1;
    want.audio = 0;
    want.style = style;
    if (!control)
        return rlm_world_clip(m->world, seed, &want, out, NULL, err);
    size_t pixels = (size_t)CLIP_BYTES / 3;
    rlm_world_truth truth = {.depth = rlm_alloc(pixels * sizeof(float)),
                             .flow = rlm_alloc(pixels * 2 * sizeof(float))};
    rlm_control_range range;
    rlm_clip picture = {0};
    int code = truth.depth && truth.flow
                   ? rlm_world_clip(m->world, seed, &want, &picture, &truth, err)
                   : rlm_fail(err, RLM_E_NOMEM, "video training: no memory for a depth clip");
    if (!code)
        code = rlm_control_pack(truth.depth, truth.flow, RLM_CROP_FRAMES, RLM_CROP_SIDE,
                                RLM_CROP_SIDE, out, &range, err);
    rlm_clip_free(&picture);
    rlm_free(truth.depth);
    rlm_free(truth.flow);
    return code;
}

/* Bytes of pool clip `at`, kept for the life of m; NULL: no memory. */
static const uint8_t *pool_get(rlm_scenes *m, int at)
{
    pthread_mutex_lock(&m->lock);
    const uint8_t *kept = m->clips[at];
    pthread_mutex_unlock(&m->lock);
    if (kept)
        return kept;
    rlm_clip clip = {0};
    rlm_error why;
    uint64_t seed = rlm_world_seed(RLM_SPLIT_TRAIN, (uint64_t)at);
    if (rlm_scenes_render(m, seed, -1, at >= POOL, &clip, &why))
        return NULL;
    pthread_mutex_lock(&m->lock);
    if (!m->clips[at]) {
        m->clips[at] = clip.video.rgb;
        clip.video.rgb = NULL;
    }
    kept = m->clips[at];
    pthread_mutex_unlock(&m->lock);
    rlm_clip_free(&clip);
    return kept;
}

int rlm_scenes_sample(rlm_scenes *m, uint64_t seed, int64_t index, int frames, float *out)
{
    bool control = rlm_rng_uniform(seed, 760, (uint64_t)index) < CONTROL_SHARE;
    int at = (int)rlm_rng_below(seed, 761, (uint64_t)index, control ? CONTROL_POOL : POOL);
    const uint8_t *rgb = pool_get(m, control ? POOL + at : at);
    if (!rgb)
        return RLM_E_NOMEM;
    if (frames == 1)
        rgb +=
            (size_t)rlm_rng_below(seed, 762, (uint64_t)index, RLM_CROP_FRAMES) * RLM_IMAGE_FLOATS;
    size_t n = (size_t)frames * RLM_IMAGE_FLOATS;
    for (size_t k = 0; k < n; k++)
        out[k] = (float)rgb[k] * (2.0f / 255.0f) - 1.0f;
    return RLM_OK;
}
