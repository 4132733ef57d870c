/* The table: task -> which segments stand in its prefix and output. VideoPoet, section 3 and A.5.
 */
#ifndef RLM_PROMPTS_TASKS_H
#define RLM_PROMPTS_TASKS_H

#include "prompts/layout.h"

typedef enum { RLM_SEG_NONE, RLM_SEG_OPTIONAL, RLM_SEG_REQUIRED } rlm_segment_rule;
typedef struct rlm_task_info {
    int task;
    const char *name; /* "video", "image", "predict", "paint", "stylize", ... */
    rlm_segment_rule text, visual_in, audio_in, video_out, audio_out;
    int unfinished; /* output without eov_o and eos */
} rlm_task_info;
const rlm_task_info *rlm_task_get(int task);             /* NULL: no such task */
const rlm_task_info *rlm_task_by_name(const char *name); /* NULL: no such name */
/* ARG error naming the segment that is missing or too many. */
int rlm_task_check(const rlm_layout_spec *spec, rlm_error *err);

#endif
