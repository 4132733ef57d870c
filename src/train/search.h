/* Private to the search for codes: what its files share. */
#ifndef RLM_TRAIN_SEARCH_H
#define RLM_TRAIN_SEARCH_H

#include "src/train/train.h"

/* The values behind the codes of a window, and Adam's averages. */
typedef struct rlm_descent {
    int64_t room, count;
    float *x, *mean, *square; /* [room], of which count are at hand; one block; heap */
    float *warm, *slope;      /* [room]: x / heat; the loss's slope there, of a relaxed look */
    float rate;               /* of the first step */
    float heat;               /* of this look: tanh(x / heat) stands for the codes; 0: the codes */
} rlm_descent;
int rlm_descent_new(rlm_descent *d, int64_t room, rlm_error *err);
void rlm_descent_free(rlm_descent *d);

/* Pictures: the window of a clip (search_video.c). */
typedef struct rlm_search_pictures {
    rlm_perceptual_loss *ruler; /* NULL: mean square alone */
    rlm_codes *codes;           /* borrowed; changed window by window */
    int begin, end;             /* latent frames of the window */
    int lead;                   /* the first of those decoded with it */
    int st, h, w;               /* pixel frames a latent frame stands for; pixels of the grid */
    int frames, room; /* pixel frames of the window that have come, and that belong to it */
    float *pixels;    /* [1 + room][h][w][3] in [-1, 1]: the frame before, the window's; heap */
    rlm_descent z;    /* [codes of the window][bits] */
    int32_t *ids;     /* [codes of the window] at hand; heap */
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
    int32_t *ids;        /* [levels][window], at hand; heap */
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
    size_t above; /* of the arena: what `start` left in it */
    double start; /* rlm_now() at the first window */
};

/* What is particular to pictures and to sound. Scratch comes from the arena, which is rewound
 * before a look and before codes are quantised to what `start` left in it. */
typedef struct rlm_search_task {
    float heat; /* of the first look; 0: all are of codes */
    /* The window's values, count and rate; the codes at hand are the clip's. dry: to plan, kernels
     * are empty. */
    void (*start)(rlm_search *s, bool dry);
    /* The loss of what the codes at hand, or the relaxed values, decode to behind the codes before;
     * slope: its gradient with respect to what is decoded. Recorded on the tape. */
    double (*look)(rlm_search *s, const float **slope, bool dry);
    void (*quantise)(rlm_search *s); /* the codes at hand become those of the values */
    void (*take)(rlm_search *s);     /* the clip's codes become those at hand */
} rlm_search_task;
/* Frames of codes [begin, end) of total. CANCELLED when the caller wishes. */
int rlm_search_window(rlm_search *s, const rlm_search_task *task, rlm_descent *d, int64_t begin,
                      int64_t end, int64_t total, rlm_error *err);

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
