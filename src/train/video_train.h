/* Private to the video tokenizer's training loop: what its files share. */
#ifndef RLM_TRAIN_VIDEO_TRAIN_H
#define RLM_TRAIN_VIDEO_TRAIN_H

#include <pthread.h>

#include "src/train/train.h"

enum { RLM_CROP_FRAMES = 17, RLM_CROP_SIDE = 128, RLM_CROP_FPS = 8 };
enum {
    RLM_CROP_FLOATS = RLM_CROP_FRAMES * RLM_CROP_SIDE * RLM_CROP_SIDE * 3,
    RLM_IMAGE_FLOATS = RLM_CROP_SIDE * RLM_CROP_SIDE * 3
};

/* ---- video_scenes.c: clips of the playground ------------------------------------------------- */
typedef struct rlm_scenes {
    rlm_world *world;
    uint8_t **clips;      /* the pool: RLM_CROP_FLOATS bytes each, NULL: not rendered yet */
    pthread_mutex_t lock; /* of the pool */
} rlm_scenes;
int rlm_scenes_open(rlm_scenes *m, rlm_error *err);
void rlm_scenes_free(rlm_scenes *m);
/* A scene (style -1: its own), or its packed flow and depth, at the size of a crop. Heap. */
int rlm_scenes_render(const rlm_scenes *m, uint64_t seed, int style, bool control, rlm_clip *out,
                      rlm_error *err);
/* Training sample `index` of the stream of `seed`: frames 17 or 1 in [-1, 1]. From several threads
 * at once. Non-zero: no memory. */
int rlm_scenes_sample(rlm_scenes *m, uint64_t seed, int64_t index, int frames, float *out);

/* ---- video_clips.c: every clip and photo, decoded at first use and kept as bytes ------------- */
typedef struct rlm_footage {
    rlm_dataset set;    /* items of one kind; train_count 0: none */
    rlm_frames *frames; /* of item i; rgb NULL: not read yet; count < 0: unreadable */
    int short_side;     /* of what is kept */
} rlm_footage;
typedef struct rlm_clips {
    rlm_footage videos, photos;
    rlm_scenes made;
    double playground;    /* share of samples from `made`; 0: it is closed */
    pthread_mutex_t lock; /* of the frames tables, the total and the log */
    int64_t bytes;
    rlm_log log;
} rlm_clips;
int rlm_clips_open(rlm_clips *c, const rlm_train_options *o, double playground, const rlm_log *log,
                   rlm_error *err);
void rlm_clips_free(rlm_clips *c);
/* Training sample `index` of the stream of `seed`: floats in [-1, 1]. clip: RLM_CROP_FRAMES frames
 * of the playground (its share), of a real clip (about 7 of 10 of the rest) or of a camera moving
 * over a photo, half of the time with a cut-out of another moving in front; else one picture. From
 * several threads at once. Non-zero: nothing could be read. */
int rlm_clips_sample(rlm_clips *c, uint64_t seed, int64_t index, bool clip, float *out);
/* Validation clip or picture i as bytes, the middle square, heap. Non-zero: not readable. */
int rlm_clips_val(rlm_clips *c, bool clip, int i, rlm_frames *out);

/* ---- video_report.c: quality on held-out recordings, and what a person looks at -------------- */
enum { RLM_VAL_MOST = 24 };
enum { RLM_VAL_REAL, RLM_VAL_PHOTO, RLM_VAL_WORLD, RLM_VAL_CONTROL, RLM_VAL_KINDS };
typedef struct rlm_video_val {
    rlm_frames clips[RLM_VAL_KINDS][RLM_VAL_MOST];
    int count[RLM_VAL_KINDS];
} rlm_video_val;
typedef struct rlm_video_scores {
    double psnr[RLM_VAL_KINDS]; /* dB, mean over clips; 0: none */
    double distinct;            /* different codes as a share of all codes of the clips */
} rlm_video_scores;
int rlm_video_val_open(rlm_video_val *v, rlm_clips *c, rlm_error *err);
void rlm_video_val_free(rlm_video_val *v);
/* Through the tokenizer's own door: bytes to codes to bytes. sheet: PNG to write, of some clips
 * frames 0, 8, 16, originals above reconstructions; NULL: none. */
int rlm_video_val_score(const rlm_video_val *v, rlm_run *run, const rlm_video *video,
                        rlm_video_scores *s, const char *sheet, rlm_error *err);

#endif
