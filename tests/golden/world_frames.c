/* Endless clips of the playground's training split for the PyTorch twin of the video tokenizer
 * (twin_train_video.py): raw bytes to standard output, each clip [17][128][128][3].
 *
 *   world_frames FIRST STEP COUNT SPLIT KIND > clips     KIND: picture, or control: flow and depth
 *
 * Clip i is the scene of rlm_world_seed(SPLIT, FIRST + i STEP). */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/reelm.h"

enum { FRAMES = 17, SIDE = 128, PIXELS = FRAMES * SIDE * SIDE };

static int render(const rlm_world *w, uint64_t seed, bool control, float *depth, float *flow,
                  rlm_clip *out, rlm_error *err)
{
    rlm_world_want want;
    rlm_world_want_defaults(&want);
    want.width = want.height = SIDE;
    want.frames = FRAMES;
    want.audio = 0;
    if (!control)
        return rlm_world_clip(w, seed, &want, out, NULL, err);
    rlm_world_truth truth = {.depth = depth, .flow = flow};
    rlm_clip picture = {0};
    int code = rlm_world_clip(w, seed, &want, &picture, &truth, err);
    if (!code)
        code = rlm_control_pack(depth, flow, FRAMES, SIDE, SIDE, out, NULL, err);
    rlm_clip_free(&picture);
    return code;
}

int main(int argc, char **argv)
{
    static float depth[PIXELS], flow[2 * PIXELS];
    rlm_world *world = NULL;
    rlm_error err = {0};
    if (argc != 6 || rlm_world_open(&world, 1, &err)) {
        fprintf(stderr, "usage: world_frames FIRST STEP COUNT SPLIT picture|control%s\n", err.text);
        return 2;
    }
    long long first = atoll(argv[1]), step = atoll(argv[2]), count = atoll(argv[3]);
    bool control = !strcmp(argv[5], "control");
    int code = 0;
    for (long long i = 0; i < count && !code; i++) {
        rlm_clip clip = {0};
        uint64_t seed = rlm_world_seed(atoi(argv[4]), (uint64_t)(first + i * step));
        code = render(world, seed, control, depth, flow, &clip, &err);
        if (code)
            fprintf(stderr, "world_frames: %s\n", err.text);
        else if (fwrite(clip.video.rgb, 3, PIXELS, stdout) != PIXELS)
            code = 1; /* the reader left */
        rlm_clip_free(&clip);
    }
    rlm_world_close(&world);
    return code;
}
