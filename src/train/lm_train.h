/* What the files of language model training share.
 *
 *   clips -> frozen tokenizers -> views (codes in memory, cached in run_dir/tokens) -> task mixture
 *         -> batches of equal length -> train_lm.c */
#ifndef RLM_TRAIN_LM_TRAIN_H
#define RLM_TRAIN_LM_TRAIN_H

#include "prompts/tasks.h"
#include "src/train/train.h"

/* ---- lm_store.c: tokens of every clip -------------------------------------------------------- */
enum { RLM_LM_TEXT_MAX = 64, RLM_LM_TEXTS = 8, RLM_LM_VIEWS_MAX = 8 };

/* One crop, flip and stretch of time of a clip. */
typedef struct rlm_lm_view {
    int dims[3];            /* video codes t, h, w; t = 0: none */
    int levels, frames;     /* sound codes; frames = 0: none */
    int32_t *video, *sound; /* heap */
    int32_t *control;       /* heap, as video: its depth and flow; NULL: none */
} rlm_lm_view;

typedef struct rlm_lm_clip {
    rlm_lm_view views[RLM_LM_VIEWS_MAX];
    int view_count; /* 0: could not be read */
    int source;     /* RLM_SOURCE_* */
    int text_count[RLM_LM_TEXTS];
    int32_t text[RLM_LM_TEXTS][RLM_LM_TEXT_MAX]; /* captions as in rlm_lm_raw */
} rlm_lm_clip;

/* Where clips come from: index -> decoded clip and captions. Another source of clips (generated
 * ones) is another `fetch`. key names the content: equal keys, equal tokens. */
typedef struct rlm_lm_raw {
    rlm_clip clip, control; /* control: depth and flow packed, of the clip's size; or empty */
    /* Short and long in English, then in Chinese, then the four in other words. Borrowed until the
     * next key; NULL: none. */
    const char *text[RLM_LM_TEXTS];
    char key[65];
    int source;
    int rigid; /* 1: no crops and flips (one view) */
} rlm_lm_raw;
typedef int (*rlm_lm_key_fn)(void *ctx, int index, rlm_lm_raw *out, rlm_error *err);
typedef int (*rlm_lm_fetch_fn)(void *ctx, int index, rlm_lm_raw *out, rlm_error *err);

typedef struct rlm_lm_store {
    rlm_lm_clip *clips;
    int count;
    int views; /* of a training clip */
    char *dir; /* run_dir/tokens */
    const rlm_model *model;
    int64_t video_tokens, sound_tokens; /* in all views */
} rlm_lm_store;
int rlm_lm_store_open(rlm_lm_store *s, const rlm_model *model, const char *run_dir, int count,
                      int views, rlm_error *err);
void rlm_lm_store_free(rlm_lm_store *s);
/* Tokens of the source's clip `index` into clips[place], from the cache or by encoding. key fills
 * text, key, source, rigid; fetch the clip itself, and is asked only when the cache has nothing. A
 * clip that cannot be read is logged and left empty; what fails is the disk or memory. */
int rlm_lm_store_add(rlm_lm_store *s, rlm_run *run, int place, int index, rlm_lm_key_fn key,
                     rlm_lm_fetch_fn fetch, void *ctx, const rlm_log *log, rlm_error *err);

/* ---- lm_world.c: clips of the playground ----------------------------------------------------- */
typedef struct rlm_lm_world rlm_lm_world;
struct rlm_lm_clips;
/* Index 0..made - 1: of the training split from scene `first` on; the next `stills`: one picture of
 * other scenes of it; behind them: of the validation split. */
int rlm_lm_world_open(rlm_lm_world **out, int threads, const struct rlm_lm_clips *c, int validation,
                      rlm_error *err);
void rlm_lm_world_close(rlm_lm_world **world);
/* For rlm_lm_store_add, with the world as ctx. */
int rlm_lm_world_key(void *ctx, int index, rlm_lm_raw *out, rlm_error *err);
int rlm_lm_world_fetch(void *ctx, int index, rlm_lm_raw *out, rlm_error *err);
/* Depth and flow guessed from the pictures alone, packed; heap. */
int rlm_lm_control_estimate(const rlm_frames *f, rlm_clip *out, rlm_error *err);

/* ---- lm_clips.c: all clips into the store ---------------------------------------------------- */
enum { RLM_LM_WORLD_VAL = 32 }; /* playground clips that only validate; at most as many as train */
typedef struct rlm_lm_clips {
    const rlm_train_options *options;
    const rlm_dataset *data; /* may be empty */
    const rlm_model *tokenizers;
    rlm_run *run;
    const rlm_log *log;
    int made;      /* playground clips to train on; 0: none at all */
    int stills;    /* and scenes of it of which there is one picture */
    int64_t first; /* the first of these scenes in the training split */
} rlm_lm_clips;
/* Opens the store: data's items first, then the playground's clips and stills, those for validation
 * last. The options' progress is told the pace and can stop it (CANCELLED). */
int rlm_lm_clips_encode(rlm_lm_store *s, const rlm_lm_clips *c, rlm_error *err);

/* ---- lm_mix.c: the task mixture -------------------------------------------------------------- */
enum {
    RLM_LM_MIX_VIDEO,       /* text to video */
    RLM_LM_MIX_VIDEO_SOUND, /* text to video with sound */
    RLM_LM_MIX_ANIMATE,     /* image (and text) to video */
    RLM_LM_MIX_PREDICT,
    RLM_LM_MIX_IMAGE,
    RLM_LM_MIX_PAINT,
    RLM_LM_MIX_STYLIZE, /* depth and flow (and text) to video */
    RLM_LM_MIX_TO_SOUND,
    RLM_LM_MIX_FROM_SOUND,
    RLM_LM_MIX_CONTINUE, /* picture and sound go on */
    RLM_LM_MIX_WORDS,    /* text to image in pairs: the picture's own words, and another's */
    RLM_LM_MIXES
};
enum { RLM_LM_SEQUENCES = 256 }; /* at most in a batch */
typedef struct rlm_lm_mix {
    const rlm_lm_store *store;
    const rlm_dataset *data;
    rlm_vocab vocab;
    uint64_t seed;
    double share[RLM_LM_MIXES]; /* sums to 1 */
    double playground;          /* share of draws from the clips behind those of data */
    int made;                   /* how many of those are for training; the rest validates */
    int grid[3], sound_frames;  /* largest in the store */
    int64_t tokens;             /* of a batch, padding included */
    int sequences;              /* at most in a batch */
    int32_t *ids, *pos, *hidden, *past, *future; /* heap, reused */
    uint8_t *target;
    int *prefix, *length;
    bool paired; /* sequences 2 i and 2 i + 1 of the batch filled last hold the same codes, under
                  * their own words and under another picture's */
} rlm_lm_mix;
/* The store's clips 0.. are data's items, those behind them are generated, `made` of them to train
 * on. r->batch: sequences of plain text to video in a batch; other kinds follow from the same
 * number of tokens. */
int rlm_lm_mix_open(rlm_lm_mix *m, const rlm_lm_store *store, const rlm_dataset *data, int made,
                    const rlm_vocab *vocab, const rlm_recipe *r, rlm_error *err);
void rlm_lm_mix_free(rlm_lm_mix *m);
/* Batch `index` of training: a pure function of (seed, index). */
int rlm_lm_mix_fill(rlm_lm_mix *m, int64_t index, rlm_lm_batch *out, rlm_error *err);
/* One sequence of the given mix from view 0 with its short caption, for validation; out->batch is 0
 * when the clip does not suit. */
int rlm_lm_mix_one(rlm_lm_mix *m, int mix, int clip, rlm_lm_batch *out, rlm_error *err);
bool rlm_lm_mix_trained_on(const rlm_lm_mix *m, int clip); /* clip: its place in the store */
/* Validation clips of a source (RLM_SOURCE_*), and the place in the store of number i of them. */
int rlm_lm_mix_val_count(const rlm_lm_mix *m, int source);
int rlm_lm_mix_val_place(const rlm_lm_mix *m, int source, int i);
/* Entropy of single codes over the training views, nats: what a model knows that knows only how
 * often each code occurs. */
typedef struct rlm_lm_unigram {
    double video_lo, video_hi, video,
        sound; /* video: of the joint code (counted, so a lower bound) */
} rlm_lm_unigram;
int rlm_lm_unigram_count(const rlm_lm_mix *m, rlm_lm_unigram *u, rlm_error *err);

/* ---- lm_dump.c: all of it as one file -------------------------------------------------------- */
int rlm_lm_dump(rlm_lm_mix *m, const char *path, rlm_error *err);

/* ---- lm_show.c: sample clips ----------------------------------------------------------------- */
typedef struct rlm_lm_show {
    rlm_run run;
    const rlm_model *tokenizers;
    const rlm_lm *lm;
    rlm_vocab vocab;
    int grid[3], sound_frames, source;
    uint64_t seed;
} rlm_lm_show;
/* Generate a clip for a caption (pieces) and write it. */
int rlm_lm_show_clip(const rlm_lm_show *s, const int32_t *text, int text_count, const char *path,
                     rlm_error *err);

#endif
