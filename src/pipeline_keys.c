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

int rlm_job_keys(rlm_job *j, int base, int first, int last, int frames, rlm_error *err)
{
    const rlm_request *r = j->r;
    int stride = rlm_video_stride_t(&j->s->engine->model.video_config);
    if (r->keyframe_count < 0 || r->keyframe_count > KEYS_MAX ||
        (r->keyframe_count && !r->keyframes))
        return rlm_fail(err, RLM_E_ARG, "%d keyframes, allowed are 0 to %d", r->keyframe_count,
                        KEYS_MAX);
    if (!r->keyframe_count)
        return 0;
    j->key_base = base;
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

int rlm_window_keys(const rlm_job *j, int base, int past, int latents, int h, int w, int32_t *ids,
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

int rlm_job_stills(const rlm_job *j, rlm_codes *record, rlm_error *err)
{
    size_t plane = (size_t)record->dims[1] * (size_t)record->dims[2];
    size_t room = (size_t)j->key_count;
    if (!room || !record->count)
        return 0;
    record->still_frames = rlm_alloc(room * sizeof *record->still_frames);
    record->stills = rlm_alloc(rlm_size_mul(room * plane, sizeof *record->stills));
    if (!record->still_frames || !record->stills) {
        rlm_free(record->still_frames);
        rlm_free(record->stills);
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %d keyframes", j->key_count);
    }
    for (int i = 0; i < j->key_count; i++) { /* sorted in */
        int at = j->keys[i].frame - j->key_base, n = record->still_count;
        if (at < 0 || at >= record->true_frames)
            continue;
        for (; n > 0 && record->still_frames[n - 1] > at; n--) {
            record->still_frames[n] = record->still_frames[n - 1];
            memcpy(record->stills + (size_t)n * plane, record->stills + (size_t)(n - 1) * plane,
                   plane * sizeof *record->stills);
        }
        record->still_frames[n] = at;
        /* a still clip begins with its picture alone */
        memcpy(record->stills + (size_t)n * plane, j->keys[i].codes.ids,
               plane * sizeof *record->stills);
        record->still_count++;
    }
    return 0;
}

int rlm_job_show_keys(rlm_job *j, rlm_frames *result, rlm_error *err)
{
    rlm_frames part = *result;
    if (!j->key_count || result->count <= j->key_base)
        return 0;
    double start = rlm_now();
    const int *d = j->keys[0].codes.dims;
    part.count -= j->key_base;
    part.rgb += (size_t)j->key_base * (size_t)part.height * (size_t)part.width * 3;
    rlm_codes record = rlm_job_video_grid(j, d[0], d[1], d[2], NULL, 0);
    record.true_frames = part.count;
    RLM_TRY(rlm_job_stills(j, &record, err));
    int code = rlm_stills_show(j->s, &record, &part, err);
    rlm_free(record.still_frames);
    rlm_free(record.stills);
    j->report.decode_s += rlm_now() - start;
    return code;
}
