/* Fitting a wish to what the model can hold; what changes is said in its warnings. */
#include <math.h>
#include <stdlib.h>
#include <sys/random.h>

#include "src/server/wish_inputs.h"

static int64_t cells(int width, int height)
{
    return (int64_t)((width + 7) / 8) * ((height + 7) / 8);
}

static int settle_size(rlm_wish *w, const rlm_wish_limits *l, rlm_refusal *r)
{
    if (rlm_wish_has(w, RLM_INPUT_CONDITION) && !w->width && !w->height)
        return 0; /* as the source: known when it is decoded */
    w->width = w->width ? w->width : l->width;
    w->height = w->height ? w->height : l->height;
    int width = w->width, height = w->height;
    rlm_wish_fit(&width, &height, l->max_cells);
    if (width == w->width && height == w->height)
        return 0;
    if (w->strict)
        return rlm_refuse(r, 400, "size_not_supported", "size",
                          "This model makes pictures up to %lld cells of 8x8 pixels; %dx%d is "
                          "beyond that, %dx%d is the nearest of the same shape.",
                          (long long)l->max_cells, w->width, w->height, width, height);
    rlm_wish_warn(w, "%dx%d is beyond this model; made at %dx%d", w->width, w->height, width,
                  height);
    w->width = width;
    w->height = height;
    return 0;
}

void rlm_wish_fit(int *width, int *height, int64_t max_cells)
{
    double w = *width, h = *height, scale = 1;
    if (w > 1024 || h > 1024)
        scale = 1024 / (w > h ? w : h);
    while (scale > 0.001 && cells((int)(w * scale), (int)(h * scale)) > max_cells)
        scale *= 0.98;
    if (scale < 1) {
        *width = (int)(w * scale / 8 + 0.5) * 8;
        *height = (int)(h * scale / 8 + 0.5) * 8;
        while (cells(*width, *height) > max_cells && (*width > 16 || *height > 16))
            *(*width > *height ? width : height) -= 8;
    }
    *width = *width < 16 ? 16 : *width;
    *height = *height < 16 ? 16 : *height;
}

/* What the inputs make of "auto" where the library could not tell. */
static int settle_task(rlm_wish *w, rlm_refusal *r)
{
    int mask = w->box_count > 0, control = 0;
    for (int i = 0; i < 4; i++)
        mask |= w->outpaint[i] > 0;
    mask |= rlm_wish_has(w, RLM_INPUT_MASK);
    control |= rlm_wish_has(w, RLM_INPUT_DEPTH) || rlm_wish_has(w, RLM_INPUT_FLOW);
    int sound = w->span_count > 0 || rlm_wish_has(w, RLM_INPUT_SOUND_MASK);
    int other = w->task != RLM_TASK_AUTO && w->task != RLM_TASK_VIDEO_TO_AUDIO;
    if (sound && (mask || control || other || w->kind == RLM_WISH_EXTEND))
        return rlm_refuse(r, 400, "conflicting_parameters",
                          w->span_count ? "sound_spans" : "audio_noise_mask",
                          "Parts of the sound are made anew with the pictures as they are: ask for "
                          "other changes in a request of their own.");
    if (sound && !rlm_wish_has(w, RLM_INPUT_CONDITION))
        return rlm_refuse(r, 400, "missing_required_parameter", "video",
                          "Missing required parameter: 'video', whose sound is to be changed.");
    if (sound)
        w->task = RLM_TASK_VIDEO_TO_AUDIO;
    if (w->task != RLM_TASK_AUTO || w->kind == RLM_WISH_EXTEND)
        return 0;
    if (w->format == RLM_FORMAT_PNG)
        w->task = RLM_TASK_IMAGE;
    else if (mask)
        w->task = RLM_TASK_PAINT;
    else if (control || w->kind == RLM_WISH_EDIT)
        w->task = RLM_TASK_STYLIZE;
    return 0;
}

/* How windows continue each other. */
static int settle_windows(rlm_wish *w, const rlm_wish_limits *l, rlm_refusal *r)
{
    const char *other = w->prompts ? "prompts" : w->reencode ? "reencode" : NULL;
    if (w->overlap && (w->overlap > l->overlap_most || (w->overlap - 1) % l->overlap_step))
        return rlm_refuse(r, 400, "number_out_of_range", "overlap",
                          "Invalid 'overlap': %d; 1 to %d frames in steps of %d are allowed.",
                          w->overlap, l->overlap_most, l->overlap_step);
    if (!other || w->kind == RLM_WISH_EXTEND)
        return 0;
    if (w->strict)
        return rlm_refuse(r, 400, "unknown_parameter", other, "'%s' is for extensions only.",
                          other);
    rlm_wish_warn(w, "'%s' is for extensions only and was ignored", other);
    free(w->prompts);
    w->prompts = NULL;
    w->reencode = 0;
    return 0;
}

/* A judge chooses only where it can see what is named. */
static void settle_choice(rlm_wish *w, const rlm_wish_limits *l)
{
    w->best_of = w->best_of > 1 ? w->best_of : 0;
    if (!w->best_of)
        return;
    const char *why = !l->asks                     ? "this server has no judge"
                      : w->kind == RLM_WISH_EXTEND ? "an extension is made once"
                      : !w->prompt || !l->asks(w->prompt)
                          ? "the prompt names nothing that the judge knows"
                          : NULL;
    if (!why)
        return;
    rlm_wish_warn(w, "'best_of' has no effect: %s", why);
    w->best_of = 0;
}

int rlm_wish_settle(rlm_wish *w, const rlm_wish_limits *l, rlm_refusal *r)
{
    if (w->seed < 0) {
        uint32_t seed = 0;
        if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
            seed = (uint32_t)(rlm_serve_now() * 1e6);
        w->seed = seed & 0x7fffffff; /* short enough to type again */
    }
    w->fps = w->fps > 0 ? w->fps : l->fps;
    double most = l->seconds * w->fps;
    if (w->kind != RLM_WISH_EXTEND) {
        int by_time = (int)lround(w->seconds * w->fps);
        if (w->frames && w->seconds > 0 && by_time != w->frames)
            rlm_wish_warn(w, "num_frames %d was taken, not seconds %g", w->frames, w->seconds);
        if (!w->frames && w->seconds > 0)
            w->frames = by_time < 1 ? 1 : by_time;
        w->frames = w->frames ? w->frames : l->frames;
        if (w->task == RLM_TASK_IMAGE || w->format == RLM_FORMAT_PNG)
            w->frames = 1;
        if (w->frames > most || w->frames > 256)
            return rlm_refuse(r, 400, "number_out_of_range",
                              w->asked_frames ? "num_frames" : "seconds",
                              "%d frames are asked for; at most %d (%g seconds at %g a second) are "
                              "made at once. Extend the video for more.",
                              w->frames, most < 256 ? (int)most : 256,
                              (most < 256 ? (int)most : 256) / w->fps, w->fps);
    } else if (w->seconds > l->seconds) {
        return rlm_refuse(r, 400, "number_out_of_range", "seconds",
                          "Invalid 'seconds': %g is outside 0.01 to %g.", w->seconds, l->seconds);
    }
    if (w->sound < 0)
        w->sound = 1;
    settle_choice(w, l);
    if (settle_task(w, r) || settle_windows(w, l, r) || settle_size(w, l, r))
        return -1;
    return rlm_wish_strict(w, "conflicting_parameters", r);
}
