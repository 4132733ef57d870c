/* Keyframes: the picture that must stand at a frame is encoded as a still clip, and its codes are
 * forced where that frame lies in a window. */
#include "src/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "src/media/media.h"

enum { KEYS_MAX = 64 };

/* A still clip of the image, as long as a window, at the request's size -> codes. */
static int encode_still(rlm_job *j, const rlm_clip *image, rlm_codes *codes, rlm_error *err)
{
    rlm_clip one = {.video = image->video}, fit = {0};
    rlm_want want;
    rlm_job_want(j, &want);
    want.want_audio = 0;
    one.video.count = 1;
    RLM_TRY(rlm_clip_convert(&one, &want, &fit, err));
    int frames =
        1 + (RLM_WINDOW_LATENTS - 1) * rlm_video_stride_t(&j->s->engine->model.video_config);
    size_t bytes = (size_t)fit.video.width * (size_t)fit.video.height * 3;
    uint8_t *rgb = rlm_alloc(rlm_size_mul(bytes, (size_t)frames));
    int code = rgb ? 0 : rlm_fail(err, RLM_E_NOMEM, "no memory for a keyframe");
    for (int i = 0; i < frames && !code; i++)
        memcpy(rgb + (size_t)i * bytes, fit.video.rgb, bytes);
    rlm_clip still = {.video = fit.video};
    still.video.count = frames;
    still.video.rgb = rgb;
    if (!code)
        code = rlm_encode(j->s, &still, codes, NULL, err);
    rlm_free(rgb);
    rlm_clip_free(&fit);
    return code;
}

int rlm_job_keys(rlm_job *j, int first, int last, int frames, rlm_error *err)
{
    const rlm_request *r = j->r;
    int stride = rlm_video_stride_t(&j->s->engine->model.video_config);
    if (r->keyframe_count < 0 || r->keyframe_count > KEYS_MAX ||
        (r->keyframe_count && !r->keyframes))
        return rlm_fail(err, RLM_E_ARG, "%d keyframes, allowed are 0 to %d", r->keyframe_count,
                        KEYS_MAX);
    if (!r->keyframe_count)
        return 0;
    j->keys = rlm_calloc((size_t)r->keyframe_count, sizeof *j->keys);
    if (!j->keys)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %d keyframes", r->keyframe_count);
    for (int i = 0; i < r->keyframe_count; i++) {
        const rlm_keyframe *k = &r->keyframes[i];
        int at = k->frame < 0 ? frames + k->frame : k->frame;
        if (at < first || at > last)
            return rlm_fail(err, RLM_E_RANGE,
                            "keyframe %d: frame %d of a clip of %d; free are %d to %d", i + 1,
                            k->frame, frames, first, last);
        if (!k->image || !k->image->video.count)
            return rlm_fail(err, RLM_E_ARG, "keyframe %d: has no picture", i + 1);
        for (int n = 0; n < i; n++)
            if (at == j->keys[n].frame ||
                (at && j->keys[n].frame && abs(at - j->keys[n].frame) < stride))
                return rlm_fail(err, RLM_E_ARG,
                                "keyframes at frames %d and %d: they must be %d apart",
                                j->keys[n].frame, at, stride);
        j->key_count = i + 1;
        j->keys[i].frame = at;
        RLM_TRY(encode_still(j, k->image, &j->keys[i].codes, err));
    }
    return 0;
}

void rlm_job_keys_free(rlm_job *j)
{
    for (int i = 0; i < j->key_count; i++)
        rlm_codes_free(&j->keys[i].codes);
    rlm_free(j->keys);
    j->keys = NULL;
    j->key_count = 0;
}

/* Latent frame of a window beginning at picture `base` that holds the picture `frame`; -1: none of
 * its `latents`. */
static int latent_of(const rlm_job *j, int frame, int base, int latents)
{
    int stride = rlm_video_stride_t(&j->s->engine->model.video_config), local = frame - base;
    int at = local < 0 ? -1 : (local + stride - 1) / stride;
    return at < latents ? at : -1;
}

int rlm_window_keys(rlm_job *j, int base, int past, int latents, int h, int w, int32_t *ids,
                    uint8_t *known)
{
    size_t plane = (size_t)h * (size_t)w;
    int forced = 0;
    for (int i = 0; i < j->key_count; i++) {
        const rlm_codes *c = &j->keys[i].codes;
        int at = latent_of(j, j->keys[i].frame, base, latents);
        if (at < past || c->dims[1] != h || c->dims[2] != w || at >= c->dims[0])
            continue;
        if (ids) {
            memcpy(ids + (size_t)at * plane, c->ids + (size_t)at * plane, plane * sizeof *ids);
            memset(known + (size_t)at * plane, 1, plane);
        }
        forced++;
    }
    return forced;
}
