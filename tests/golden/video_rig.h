/* What the golden tests of the video network share: the tiny configuration of twin_video.py, and a
 * network with the weights and tensors of a fixture. */
#ifndef RLM_TESTS_GOLDEN_VIDEO_RIG_H
#define RLM_TESTS_GOLDEN_VIDEO_RIG_H

#include "src/train/train.h"
#include "tests/test.h"

static const rlm_video_config TINY = {.bits = 6,
                                      .haar = 1,
                                      .factorised = 1,
                                      .levels = 2,
                                      .channels = {8, 16},
                                      .blocks = {1, 1},
                                      .down_t = {1},
                                      .down_s = {2},
                                      .mid_blocks = 0,
                                      .groups = 4};

typedef struct bench {
    rlm_kernels k;
    rlm_arena arena;
    rlm_par *par;
    rlm_params params;
    rlm_video *video;
    rlm_tape tape;
    rlm_run run;
    rlm_safetensors st;
} bench;

static int bench_open(bench *b, const char *path, const rlm_video_config *c, const char *mask)
{
    rlm_error err = {0};
    *b = (bench){0};
    int code = rlm_kernels_init_training(&b->k, mask, &err);
    code = code ? code : rlm_par_open(&b->par, 2, &err);
    code = code ? code : rlm_arena_reserve(&b->arena, (size_t)1 << 30, &err);
    code = code ? code : rlm_arena_commit(&b->arena, (size_t)1 << 28, &err);
    code = code ? code : rlm_st_open(&b->st, path, &err);
    code = code ? code : rlm_video_new(&b->video, c, &b->params, &err);
    code = code ? code : rlm_params_allocate(&b->params, true, &err);
    code = code ? code : rlm_params_load(&b->params, &b->st, "w.", &err);
    code = code ? code : rlm_params_pack(&b->params, &b->k, b->par, true, &err);
    b->run = (rlm_run){.k = &b->k, .arena = &b->arena, .par = b->par, .tape = &b->tape};
    if (code)
        fprintf(stderr, "%s\n", err.text);
    return code;
}

static void bench_close(bench *b)
{
    rlm_tape_free(&b->tape);
    rlm_video_free(&b->video);
    rlm_params_free(&b->params);
    rlm_st_close(&b->st);
    rlm_arena_release(&b->arena);
    rlm_par_close(&b->par);
}

/* A tensor of the fixture as f32, heap. */
static float *expected(const bench *b, const char *name)
{
    const rlm_tensor *t = rlm_st_find(&b->st, name);
    if (!t)
        return NULL;
    float *out = rlm_alloc((size_t)rlm_tensor_count(t) * sizeof *out);
    rlm_st_to_f32(t, out);
    return out;
}

#endif
