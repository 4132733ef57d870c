/* Private to the audio codec's training loop: what its files share. */
#ifndef RLM_TRAIN_AUDIO_TRAIN_H
#define RLM_TRAIN_AUDIO_TRAIN_H

#include "src/train/train.h"

/* ---- audio_sounds.c: every sound of the dataset in memory, mono int16 at one rate ------------ */
typedef struct rlm_sounds {
    rlm_dataset set;
    int16_t **samples; /* of item i, then of the playground clips; NULL: no sound in it */
    int64_t *count;
    int64_t total, trained; /* samples of all; of the files' training split */
    int made;               /* playground clips */
    double playground;      /* share of crops from them */
    int *val;               /* validation items with sound */
    int val_count;
    int rate;
} rlm_sounds;
int rlm_sounds_open(rlm_sounds *s, const rlm_train_options *o, const rlm_recipe *r, int rate,
                    const rlm_log *log, rlm_error *err);
void rlm_sounds_free(rlm_sounds *s);
/* Crop number `index` of the training stream of `seed`: random place, gain and sign. */
void rlm_sounds_crop(const rlm_sounds *s, uint64_t seed, int64_t index, int length, float *out);
/* The middle of validation sound i (modulo val_count), as recorded. */
void rlm_sounds_val(const rlm_sounds *s, int i, int length, float *out);

/* ---- rvq_ema.c: the quantiser's own learning ------------------------------------------------- */
/* Codebooks follow exponential averages of the residuals they win (decay 0.99); a code whose
 * average count falls below a share of its fair one is put on a residual of the running batch. */
typedef struct rlm_rvq {
    const rlm_audio *audio;
    int levels, codes, dim;
    float *hits, *sums;                  /* [levels][codes], [levels][codes][dim] */
    float *rest;                         /* [rows][dim] */
    int32_t *ids;                        /* [rows] */
    float *pool;                         /* [pool_rows][dim]: latents for k-means */
    int64_t pool_count, rows, step_rows; /* rows: room; step_rows: of one step */
    int64_t replaced;                    /* codes moved in the last update */
    int32_t started;                     /* k-means done */
} rlm_rvq;
enum { RLM_RVQ_POOL = 8192 };
int rlm_rvq_open(rlm_rvq *q, const rlm_audio *a, int64_t rows, rlm_error *err);
void rlm_rvq_free(rlm_rvq *q);
/* Latents seen before the codebooks exist; the newest RLM_RVQ_POOL rows are kept. */
void rlm_rvq_collect(rlm_rvq *q, int64_t rows, const float *x);
void rlm_rvq_start(rlm_rvq *q, rlm_run *run, uint64_t seed); /* k-means, level by level */
/* Quantise x [rows][dim] into out and move the codebooks. levels[clip]: how many levels the rows of
 * that clip use (quantiser dropout), each clip being rows / clips rows. */
void rlm_rvq_train(rlm_rvq *q, rlm_run *run, int64_t rows, int clips, const int *levels,
                   const float *x, float *out, uint64_t seed, int64_t step);

/* The pull of latents z towards their codes (once there are any) and of their mean towards zero,
 * both relative to the variance of z, which counts as a constant: a constant part of z carries
 * nothing, but it would make the pull look satisfied and cost bf16 products their precision.
 * value = scale * (0.25 lost + 0.1 offset); its gradient is added to z->grad. */
typedef struct rlm_rvq_pulled {
    double value;
    double lost;   /* mean square of z - quantised over the variance: 0 before the start */
    double offset; /* mean square of the mean over the variance */
    double spread; /* the variance */
} rlm_rvq_pulled;
rlm_rvq_pulled rlm_rvq_pull(const rlm_rvq *q, rlm_run *run, const rlm_tensor *z,
                            const rlm_tensor *quantised, float scale);

/* Perplexity of the running counts: how many codes of a level are really used. */
double rlm_rvq_used(const rlm_rvq *q, int level);

/* ---- audio_report.c: what a person looks at and listens to ----------------------------------- */
typedef struct rlm_audio_scores {
    double si_sdr;                     /* dB */
    double mel;                        /* the loss of mel.c */
    double used[RLM_AUDIO_LEVELS_MAX]; /* perplexity of the codes a level */
} rlm_audio_scores;
/* Scale-invariant signal to distortion of y against x, dB. */
double rlm_si_sdr(int64_t n, const float *x, const float *y);
/* run_dir/samples/audio_STEP_NUMBER_original.wav, _coded.wav and .png (their spectrograms, original
 * above). ears: of that rate. */
struct rlm_ears;
int rlm_audio_sample_write(struct rlm_ears *ears, const char *run_dir, int64_t step, int number,
                           int rate, int count, const float *original, const float *coded,
                           rlm_error *err);

#endif
