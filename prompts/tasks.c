/* Which segments a task has. Text is optional everywhere: a dropped caption is the empty condition
 * of guidance. A segment left out of a row is RLM_SEG_NONE. */
#include "prompts/tasks.h"

#include <string.h>

#include "src/base/diag.h"

static const rlm_task_info tasks[] = {
    {.task = RLM_TASK_VIDEO,
     .name = "video",
     .text = RLM_SEG_OPTIONAL,
     .visual_in = RLM_SEG_OPTIONAL,
     .video_out = RLM_SEG_REQUIRED,
     .audio_out = RLM_SEG_OPTIONAL},
    {.task = RLM_TASK_IMAGE,
     .name = "image",
     .text = RLM_SEG_OPTIONAL,
     .video_out = RLM_SEG_REQUIRED,
     .unfinished = 1},
    {.task = RLM_TASK_PREDICT,
     .name = "predict",
     .text = RLM_SEG_OPTIONAL,
     .visual_in = RLM_SEG_REQUIRED,
     .video_out = RLM_SEG_REQUIRED,
     .audio_out = RLM_SEG_OPTIONAL},
    {.task = RLM_TASK_PAINT,
     .name = "paint",
     .text = RLM_SEG_OPTIONAL,
     .visual_in = RLM_SEG_REQUIRED,
     .video_out = RLM_SEG_REQUIRED},
    {.task = RLM_TASK_STYLIZE,
     .name = "stylize",
     .text = RLM_SEG_OPTIONAL,
     .visual_in = RLM_SEG_REQUIRED,
     .video_out = RLM_SEG_REQUIRED},
    {.task = RLM_TASK_VIDEO_TO_AUDIO,
     .name = "video-to-audio",
     .text = RLM_SEG_OPTIONAL,
     .visual_in = RLM_SEG_REQUIRED,
     .audio_out = RLM_SEG_REQUIRED},
    {.task = RLM_TASK_AUDIO_TO_VIDEO,
     .name = "audio-to-video",
     .text = RLM_SEG_OPTIONAL,
     .audio_in = RLM_SEG_REQUIRED,
     .video_out = RLM_SEG_REQUIRED},
    {.task = RLM_TASK_AV_CONTINUE,
     .name = "av-continue",
     .text = RLM_SEG_OPTIONAL,
     .visual_in = RLM_SEG_REQUIRED,
     .audio_in = RLM_SEG_REQUIRED,
     .video_out = RLM_SEG_REQUIRED,
     .audio_out = RLM_SEG_REQUIRED},
};

enum { TASK_ROWS = sizeof tasks / sizeof tasks[0] };

const rlm_task_info *rlm_task_get(int task)
{
    for (int i = 0; i < TASK_ROWS; i++)
        if (tasks[i].task == task)
            return &tasks[i];
    return NULL;
}

const rlm_task_info *rlm_task_by_name(const char *name)
{
    for (int i = 0; i < TASK_ROWS; i++)
        if (!strcmp(tasks[i].name, name))
            return &tasks[i];
    return NULL;
}

static int check_segment(const rlm_task_info *info, const char *segment, rlm_segment_rule rule,
                         int present, rlm_error *err)
{
    if (rule == RLM_SEG_REQUIRED && !present)
        return rlm_fail(err, RLM_E_ARG, "task %s: %s is missing", info->name, segment);
    if (rule == RLM_SEG_NONE && present)
        return rlm_fail(err, RLM_E_ARG, "task %s: %s is given, the task has none", info->name,
                        segment);
    return 0;
}

static int check_grids(const rlm_task_info *info, const rlm_layout_spec *spec, rlm_error *err)
{
    const rlm_grid *in = &spec->visual_in, *out = &spec->video_out;
    if (in->t > 0 && out->t > 0 && (in->h != out->h || in->w != out->w))
        return rlm_fail(err, RLM_E_ARG,
                        "task %s: visual_in is %d x %d codes (h x w), video_out %d x %d; they must "
                        "be equal",
                        info->name, in->h, in->w, out->h, out->w);
    if (info->task == RLM_TASK_VIDEO && in->t > 1)
        return rlm_fail(err, RLM_E_ARG, "task video: visual_in has %d latent frames, expected 1",
                        in->t);
    if (info->task == RLM_TASK_IMAGE && out->t != 1)
        return rlm_fail(err, RLM_E_ARG, "task image: video_out has %d latent frames, expected 1",
                        out->t);
    if ((info->task == RLM_TASK_PAINT || info->task == RLM_TASK_STYLIZE) && in->t != out->t)
        return rlm_fail(err, RLM_E_ARG,
                        "task %s: visual_in has %d latent frames, video_out %d; they must be equal",
                        info->name, in->t, out->t);
    return 0;
}

int rlm_task_check(const rlm_layout_spec *spec, rlm_error *err)
{
    const rlm_task_info *info = rlm_task_get(spec->task);
    if (!info)
        return rlm_fail(err, RLM_E_ARG, "task %d: no such task (1..%d)", spec->task,
                        RLM_TASK_COUNT - 1);
    RLM_TRY(check_segment(info, "text", info->text, spec->text_count > 0, err));
    RLM_TRY(check_segment(info, "visual_in", info->visual_in, spec->visual_in.t > 0, err));
    RLM_TRY(check_segment(info, "audio_in", info->audio_in, spec->audio_in.t > 0, err));
    RLM_TRY(check_segment(info, "video_out", info->video_out, spec->video_out.t > 0, err));
    RLM_TRY(check_segment(info, "audio_out", info->audio_out, spec->audio_out.t > 0, err));
    return check_grids(info, spec, err);
}
