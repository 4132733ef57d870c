/* A small video tokenizer of random weights, as a part of a model directory. */
#ifndef RLM_TESTS_SMALL_VIDEO_H
#define RLM_TESTS_SMALL_VIDEO_H

#include "src/model_dir.h"

static inline int small_video_save(const char *dir, rlm_error *err)
{
    rlm_video_config c = {.bits = 6,
                          .haar = 1,
                          .factorised = 1,
                          .levels = 2,
                          .channels = {8, 16},
                          .blocks = {1, 1},
                          .down_t = {1},
                          .down_s = {2},
                          .groups = 4};
    rlm_params p = {0};
    rlm_video *v = NULL;
    int code = rlm_video_new(&v, &c, &p, err);
    code = code ? code : rlm_params_allocate(&p, false, err);
    if (!code) {
        rlm_params_initialise(&p, 7);
        code = rlm_model_save_part(dir, RLM_PART_VIDEO, &c, &p, NULL, err);
    }
    rlm_video_free(&v);
    rlm_params_free(&p);
    return code;
}

#endif
