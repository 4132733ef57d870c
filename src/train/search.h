/* Private to the search for codes: what its files share. */
#ifndef RLM_TRAIN_SEARCH_H
#define RLM_TRAIN_SEARCH_H

#include "src/train/train.h"

/* Adam on the values behind the codes of a window. */
typedef struct rlm_descent {
    int64_t room, count;
    float *x, *mean, *square; /* [room], of which count are at hand; one block; heap */
} rlm_descent;
int rlm_descent_new(rlm_descent *d, int64_t room, rlm_error *err);
void rlm_descent_free(rlm_descent *d);
/* x is set: no step was taken yet. */
void rlm_descent_begin(rlm_descent *d, int64_t count);
/* Step t = 1 .. steps down `slope`; `rate` falls in a line to a fifth of it. */
void rlm_descent_step(rlm_descent *d, int t, int steps, float rate, const float *slope);

/* Pictures: the window of a clip (search_video.c). */
typedef struct rlm_search_pictures {
    rlm_perceptual_loss *ruler; /* NULL: mean square alone */
    rlm_codes *codes;           /* borrowed; changed window by window */
    int begin, end;             /* latent frames of the window */
    int lead;                   /* the first of those decoded with it */
    int st, h, w;               /* pixel frames a latent frame stands for; pixels of the grid */
    int frames, room; /* pixel frames of the window that have come, and that belong to it */
    float *pixels;    /* [1 + room][h][w][3] in [-1, 1]: the frame before, the window's; heap */
    size_t above;     /* the arena's part that every look begins with: features of the pixels */
    rlm_descent z;    /* [codes of the window][bits] */
    int *at;          /* zeros, one a pixel frame: what the ruler looks at; heap */
} rlm_search_pictures;

/* Sound: the window of a clip (search_sound.c). */
typedef struct rlm_search_sound {
    rlm_mel *mel, *stft; /* for `window` frames */
    int window;          /* codec frames of a window of this clip */
    int hop;             /* samples of a frame */
    int before[2];       /* frames that the encoder and the decoder look back */
    rlm_codes *codes;    /* borrowed; changed window by window */
    int64_t begin;       /* first frame of the window */
    float *wave;         /* from frame `first` on; heap */
    int64_t first, held; /* held: samples */
    rlm_descent z;       /* [window][dim] */
    int32_t *ids;        /* [levels][window], of the look at hand; heap */
} rlm_search_sound;

struct rlm_search {
    rlm_search_options o;
    rlm_kernels k, empty;
    rlm_par *par;
    rlm_arena arena;
    rlm_run run;
    rlm_tape tape;
    rlm_model model;
    rlm_search_pictures pictures;
    rlm_search_sound sound;
    double start; /* rlm_now() at the first window */
};

/* done of total frames of codes; CANCELLED when the caller wishes. */
int rlm_search_tell(const rlm_search *s, int64_t done, int64_t total, rlm_error *err);

/* A clip's pictures or samples as they come, and its end. TOKENS when the codes are not theirs. */
int rlm_search_pictures_begin(rlm_search *s, rlm_codes *codes, int width, int height,
                              rlm_error *err);
int rlm_search_pictures_push(rlm_search *s, const rlm_frames *f, rlm_error *err);
int rlm_search_pictures_end(rlm_search *s, rlm_error *err);
void rlm_search_pictures_free(rlm_search_pictures *p);
int rlm_search_sound_begin(rlm_search *s, rlm_codes *codes, rlm_error *err);
int rlm_search_sound_push(rlm_search *s, int64_t count, const float *samples, rlm_error *err);
int rlm_search_sound_end(rlm_search *s, rlm_error *err);
void rlm_search_sound_free(rlm_search_sound *p);

#endif
