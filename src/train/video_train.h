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

/* ---- video_clips.c: every clip and photo, decoded at first use and kept as bytes ---------------
 */
typedef struct rlm_footage {
    rlm_dataset set;    /* items of one kind; train_count 0: none */
    rlm_frames *frames; /* of item i; rgb NULL: not read yet; count < 0: unreadable */
    int short_side;     /* of what is kept */
} rlm_footage;
typedef struct rlm_clips {
    rlm_footage videos, photos;
    pthread_mutex_t lock; /* of the frames tables, the total and the log */
    int64_t bytes;
    rlm_log log;
} rlm_clips;
int rlm_clips_open(rlm_clips *c, const rlm_train_options *o, const rlm_log *log, rlm_error *err);
void rlm_clips_free(rlm_clips *c);
/* Training sample `index` of the stream of `seed`: floats in [-1, 1]. clip: RLM_CROP_FRAMES frames
 * of a real clip (about 7 of 10) or of a camera moving over a photo; else one picture. Called from
 * several threads at once. Non-zero: nothing could be read. */
int rlm_clips_sample(rlm_clips *c, uint64_t seed, int64_t index, bool clip, float *out);
/* Validation clip or picture i as bytes, the middle square, heap. Non-zero: not readable. */
int rlm_clips_val(rlm_clips *c, bool clip, int i, rlm_frames *out);

/* ---- video_report.c: quality on held-out recordings, and what a person looks at ----------------
 */
enum { RLM_VAL_CLIPS = 16, RLM_VAL_PHOTOS = 16, RLM_SHEET_CLIPS = 8 };
typedef struct rlm_video_val {
    rlm_frames clips[RLM_VAL_CLIPS], photos[RLM_VAL_PHOTOS];
    int clip_count, photo_count;
    uint8_t *sheet; /* [6 * side][RLM_SHEET_CLIPS * side][3] */
} rlm_video_val;
typedef struct rlm_video_scores {
    double psnr, psnr_photo; /* dB, mean over clips; 0: none */
    double distinct;         /* different codes as a share of all codes of the clips */
} rlm_video_scores;
int rlm_video_val_open(rlm_video_val *v, rlm_clips *c, rlm_error *err);
void rlm_video_val_free(rlm_video_val *v);
/* Through the tokenizer's own door: bytes to codes to bytes. sheet: also draw it. */
int rlm_video_val_score(rlm_video_val *v, rlm_run *run, const rlm_video *video, rlm_video_scores *s,
                        bool sheet, rlm_error *err);
/* run_dir/samples/step_0001000.png: frames 0, 8, 16; originals above reconstructions. */
int rlm_video_sheet_write(const rlm_video_val *v, const char *run_dir, int64_t step,
                          rlm_error *err);

#endif
