/* Private declarations of the training room. */
#ifndef RLM_TRAIN_TRAIN_H
#define RLM_TRAIN_TRAIN_H

#include "src/model_dir.h"
#include "src/nn/layers.h"
#include "src/reelm_train.h"

/* ---- backward.c, backward_layers.c ----------------------------------------------------------- */
/* Walk the tape from its last record to its first; gradients accumulate. Seed the loss gradient in
 * the output tensors' grad before. Does not clear the tape. */
void rlm_backward(rlm_run *run, const rlm_tape *tape);
/* The scratch of rlm_backward without its arithmetic: run->k are empty kernels, nothing is seeded.
 * A tape keeps its length: one that was planned does not grow, and so cannot fail, in a step. */
void rlm_backward_plan(rlm_run *run, const rlm_tape *tape);
/* NOMEM when there was no memory to record a planned step. */
int rlm_tape_check(const rlm_tape *tape, rlm_error *err);

/* ---- losses.c: each returns its value and ADDS scale * gradient into x->grad ----------------- */
enum { RLM_LOSS_L1 = 1, RLM_LOSS_L2 = 2 };
double rlm_loss_recon(rlm_run *run, int kind, const rlm_tensor *x, const float *target,
                      float scale);
/* LFQ per-bit entropy (MAGVIT-v2 L_ent in its factorised form): p_i = sigmoid(4 z_i / tau);
 * E[H(p)] - gamma * H(E[p]) summed over bits, and commitment mean |z - sign z|^2. */
typedef struct rlm_lfq_loss {
    double token_entropy, batch_entropy, commitment; /* nats per bit; mean square */
} rlm_lfq_loss;
rlm_lfq_loss rlm_loss_lfq(rlm_run *run, const rlm_tensor *z, float tau, float gamma,
                          float w_entropy, float w_commit);
/* Multi-scale mel (after SoundStream eq. 6) between wave tensors [n][1][1][w][1], w == samples and
 * n <= batch. Mean over bins, frames, clips and scales. x->grad NULL: value only. Allocates in new
 * only. */
typedef struct rlm_mel rlm_mel;
/* Bands and overlap: mel.c. BINS: multi-resolution STFT loss (Yamamoto et al., 2020) instead. */
typedef enum { RLM_MEL_SCORE, RLM_MEL_TRAIN, RLM_MEL_BINS } rlm_mel_use;
int rlm_mel_new(rlm_mel **out, rlm_mel_use use, int rate, int samples, int batch, rlm_error *err);
void rlm_mel_free(rlm_mel **m);
double rlm_loss_mel(rlm_run *run, rlm_mel *m, const rlm_tensor *x, const float *target,
                    float scale);

/* ---- perceptual_loss.c ----------------------------------------------------------------------- */
/* Distance of SqueezeNet's features as rlm_perceptual_score of eval.h measures it, of one frame a
 * clip: frame at[i] of clip i of x against target, both [n][t][h][w][3] in [-1, 1], h and w even
 * and at least 32. target NULL: with empty kernels, to plan the scratch. k: those of the run. */
typedef struct rlm_perceptual_loss rlm_perceptual_loss;
int rlm_perceptual_loss_open(rlm_perceptual_loss **out, const char *path, const rlm_kernels *k,
                             rlm_par *par, rlm_error *err);
void rlm_perceptual_loss_close(rlm_perceptual_loss **p);
double rlm_loss_perceptual(rlm_run *run, rlm_perceptual_loss *p, const rlm_tensor *x,
                           const float *target, const int *at, float scale);
/* The same in two halves, for many x beside one target: aim leaves its features in the arena, and
 * they are measured against until the next aim; like: shape of every x. dry: with empty kernels. */
void rlm_perceptual_aim(rlm_run *run, rlm_perceptual_loss *p, const rlm_tensor *like,
                        const float *target, const int *at);
double rlm_loss_perceptual_aimed(rlm_run *run, rlm_perceptual_loss *p, const rlm_tensor *x,
                                 const int *at, float scale, bool dry);

/* ---- optim.c --------------------------------------------------------------------------------- */
/* Every field has its row in recipe.c: name in the JSON "train" object, range. */
typedef struct rlm_recipe {
    int64_t steps;
    int batch, accumulate;
    double lr, muon_lr, beta1, beta2, eps, weight_decay, clip, ema; /* muon_lr 0: as lr */
    int64_t warmup;
    double decay; /* share of steps at the end that anneal to zero (WSD) */
    int muon;     /* 1: hidden matrices by Muon */
    int checkpoint_every, sample_every, validate_every;
    int keep;          /* checkpoints kept */
    double playground; /* share of samples from the procedural world */
    int world_clips;   /* lm: how many clips of it to train on */
    int world_stills;  /* lm: and how many more scenes of which only the first picture is made */
    int64_t
        world_first;   /* lm: and the first of those scenes, so that many processes render others */
    double perceptual; /* video: weight of the perceptual loss; 0, or no network given: none */
    int recompute; /* lm: 1: blocks are computed again in backward: a fifth slower, less memory */
    double stft;   /* audio: weight of the STFT loss in bins */
    double critic; /* tokenizers: critics join for this last share of steps; 0: never */
    int decoder_only; /* tokenizers: 1: all but the decoder stays, and so do codes made with it */
    uint64_t seed;
} rlm_recipe;
/* Warm-up / stable / decay: factor in (0, 1] for 1-based step. */
double rlm_schedule(const rlm_recipe *r, int64_t step);

/* A stretch of the parameter block that one AdamW call serves, or one Muon matrix. */
typedef struct rlm_optim_part {
    int64_t begin, count;
    bool decay;
    int rows, cols; /* of the Muon matrix; 0 for AdamW */
} rlm_optim_part;
typedef struct rlm_optim {
    rlm_params *params;
    float *m, *v, *ema; /* blocks laid out as params->data; ema NULL when recipe.ema == 0 */
    int64_t step;       /* calls of rlm_optim_step, skipped updates included */
    int64_t skipped;    /* updates skipped for a gradient that was not finite */
    rlm_optim_part *parts;
    int part_count;
    rlm_matrix *matrices; /* of a group, at most part_count */
    float *scratch; /* a group of matrices; for products one by one another, two Gram matrices */
    int64_t scratch_group, scratch_matrix, scratch_gram;
    void *packs; /* one packing, sized in the first step */
    bool packs_planned;
} rlm_optim;
int rlm_optim_new(rlm_optim *o, rlm_params *params, const rlm_recipe *r, rlm_error *err);
void rlm_optim_free(rlm_optim *o);
/* Clip, update, EMA, zero the gradients; returns the gradient norm before clipping. Non-finite
 * norms skip the update and return the norm. Repack with rlm_params_pack after it. Weights to
 * sample, validate and save with: o->ema when not NULL, else params->data. */
double rlm_optim_step(rlm_optim *o, rlm_run *run, const rlm_recipe *r);

/* Frozen parameters take the values of their average, which is what a file of them holds: after a
 * checkpoint was loaded. */
void rlm_optim_settle(rlm_optim *o);
/* Exchange params->data and ema (validate with the average, then swap back); no-op without EMA. */
void rlm_optim_swap_ema(rlm_optim *o);

/* ---- discriminators.c: critics of waves and of film ------------------------------------------ */
typedef struct rlm_critics rlm_critics;
typedef enum { RLM_CRITIC_WAVE, RLM_CRITIC_FILM } rlm_critic_kind;
enum {
    RLM_CRITIC_STEP = 256, /* waves [n][1][1][w][1]: w a multiple of this */
    RLM_CRITIC_PAIR = 6    /* film [n][1][h][w][6]: two frames of three channels a place */
};
int rlm_critics_new(rlm_critics **out, rlm_critic_kind kind, rlm_params *params, rlm_error *err);
void rlm_critics_free(rlm_critics **c);
/* The fixed Fourier bases; after rlm_params_initialise or a load. */
void rlm_critics_fill(rlm_critics *c);
/* Scratch of the two functions below for what has this shape: run with empty kernels. */
void rlm_critics_plan(rlm_run *run, rlm_critics *c, const int64_t shape[5]);
typedef struct rlm_critic_loss {
    double adversarial, feature, critic; /* means over critics */
} rlm_critic_loss;
/* fake, real of a shape: adds the gradient of hinge + w_feat * feature matching, means over
 * critics, to fake->grad. Critic parameters get no gradient. Uses and clears run->tape. */
void rlm_critics_judge(rlm_run *run, rlm_critics *c, const rlm_tensor *fake, const float *real,
                       float w_feat, rlm_critic_loss *loss);
/* Hinge loss of the critics themselves; gradients into their parameters only. */
void rlm_critics_learn(rlm_run *run, rlm_critics *c, const rlm_tensor *fake, const float *real,
                       rlm_critic_loss *loss);

/* ---- adversary.c: critics that learn beside a network --------------------------------------- */
typedef struct rlm_adversary {
    rlm_critics *critics; /* NULL: the recipe has none, and nothing else is set */
    rlm_params params;
    rlm_recipe recipe;
    rlm_optim optim;
    rlm_tape tape;
    float *gradient; /* [most] */
    float sizes[2];  /* running norms of gradients at the fake: of other losses, of the critics */
} rlm_adversary;
/* r: of the network. most: values of a fake at most. */
int rlm_adversary_open(rlm_adversary *a, rlm_critic_kind kind, const rlm_recipe *r, int64_t most,
                       rlm_error *err);
void rlm_adversary_close(rlm_adversary *a);
void rlm_adversary_plan(rlm_adversary *a, rlm_run *run, const int64_t shape[5]);
/* Whether they take part in this step: in the last r->critic of them. */
bool rlm_adversary_joins(const rlm_adversary *a, const rlm_recipe *r, int64_t step);
/* The critics look at fake and real and learn; once they have learnt a little, their gradient is
 * added to `gradient`, [values of fake], that of the other losses, in a fixed ratio of size. */
void rlm_adversary_ask(rlm_adversary *a, rlm_run *run, const rlm_tensor *fake, const float *real,
                       float *gradient, rlm_critic_loss *loss);
void rlm_adversary_step(rlm_adversary *a, rlm_run *run);

/* ---- checkpoint.c: run/checkpoints/step_0000100.safetensors, run/latest ---------------------- */
/* Named extra state beside the optimisers, saved and restored bit for bit. */
typedef struct rlm_state_blob {
    const char *name;
    void *data;
    size_t bytes;
} rlm_state_blob;
typedef struct rlm_checkpoint {
    rlm_optim *optims[4];
    const char *names[4]; /* "model", "critic", ... */
    int optim_count;
    rlm_state_blob blobs[16];
    int blob_count;
    int64_t step;
    char note[224]; /* after load: why an older one than the latest was taken; "" otherwise */
} rlm_checkpoint;
/* Atomic; `latest` lists the `keep` newest with their sha256, newest first; the others are removed.
 * Killed at any moment, a loadable `latest` remains. */
int rlm_checkpoint_save(const rlm_checkpoint *c, const char *run_dir, int keep, rlm_error *err);
/* The newest listed in `latest` whose sha256 is right. Nothing is changed unless everything fits:
 * a tensor that is missing or has another shape fails with MODEL and its name. */
int rlm_checkpoint_load(rlm_checkpoint *c, const char *run_dir, rlm_error *err);
int rlm_checkpoint_exists(const char *run_dir);

/* ---- dataset.c: folders of media + captions -------------------------------------------------- */
enum { RLM_MEDIA_VIDEO = 1, RLM_MEDIA_IMAGE = 2, RLM_MEDIA_AUDIO = 4 };
int rlm_media_kind(const char *path); /* RLM_MEDIA_* by extension; 0: none */
typedef struct rlm_item {
    char *path, *source;    /* source: recording the clip was cut from; the split goes by it */
    char *group;            /* repository or folder; draws are balanced between groups */
    char *label;            /* what the manifest calls its kind or class; or NULL */
    int kind;               /* RLM_MEDIA_*, by extension */
    char *text, *text_long; /* captions or NULL */
    int split;              /* 0 train, 1 validation */
    bool split_drawn;       /* by the hash of its source; nobody named it */
    int has_audio;          /* as declared or found; -1 unknown */
} rlm_item;
typedef struct rlm_dataset {
    rlm_item *items;
    int count, train_count, val_count;
    int *train, *val; /* indices */
    int skipped;      /* bad files, each logged by name */
    int group_count;
    int *group_first, *group_items; /* train items of group g: group_items[group_first[g] ..] */
    int *round_group, *round_turn;  /* slot of a round -> group, which of its draws this is */
    int *group_share;               /* slots of a group in a round, ~ sqrt(its count) */
    int round_slots;
} rlm_dataset;
/* metadata.jsonl (file_name, text, text_long), manifest.tsv (file, source, path ...) or sidecar
 * .txt; else every readable file. Split: hash of source, about 6 % validation (but one recording at
 * least to train on, and of eight or more one to validate); train/ and test/ folders win. */
int rlm_dataset_open(rlm_dataset *d, const char *const *dirs, int dir_count, const rlm_log *log,
                     rlm_error *err);
void rlm_dataset_free(rlm_dataset *d);
/* Keep only items of these kinds (a mask of RLM_MEDIA_*); with_audio: of videos only those not
 * known to be silent. Rebuilds splits and groups. Fails with ARG when nothing is left to train on.
 */
int rlm_dataset_keep(rlm_dataset *d, unsigned kinds, bool with_audio, rlm_error *err);
/* Order without state: which item (an index into items, of the train split) serves draw `index` of
 * a stream that is shuffled every epoch of a group and balanced between groups by sqrt(count). */
int rlm_dataset_draw(const rlm_dataset *d, uint64_t seed, int64_t index);

/* Background loader: fill(ctx, index, slot) prepares sample `index` into a slot's memory; batches
 * come out in order of index whatever the threads do. fill is called from several threads at once.
 * threads 0: filled inside next. depth >= 3: slots, two of which the caller may hold. */
typedef int (*rlm_loader_fill)(void *ctx, int64_t index, void *slot);
typedef struct rlm_loader rlm_loader;
int rlm_loader_open(rlm_loader **out, int threads, int depth, size_t slot_bytes, int64_t first,
                    rlm_loader_fill fill, void *ctx, rlm_error *err);
/* Valid until the call after the next; NULL when fill returned non-zero for this index. */
const void *rlm_loader_next(rlm_loader *l);
void rlm_loader_close(rlm_loader **l);

/* ---- journal.c: metrics.jsonl, progress line, samples ---------------------------------------- */
typedef struct rlm_journal rlm_journal;
int rlm_journal_open(rlm_journal **out, const char *run_dir, int64_t resume_step, rlm_error *err);
/* key, value pairs, key NULL ends: rlm_journal_put(j, step, "loss", 1.0, "lr", 2.0, NULL). A value
 * RLM_UNMEASURED is left out. */
static const double RLM_UNMEASURED = -1e300;
void rlm_journal_put(rlm_journal *j, int64_t step, ...);
/* The last put as one line for people: "step 120/20000  loss 1.234  lr 0.0003  0.81 s/step  eta
 * 4 h 28 min". total 0: unknown. Valid until the next put. A put with a key "val..." also renews
 * run_dir/metrics.svg (keys "loss" and "val..." over steps); so does close. */
const char *rlm_journal_line(rlm_journal *j, int64_t total);
/* The run ends then at the latest (rlm_now): the time left in its lines is no longer. */
void rlm_journal_until(rlm_journal *j, double until);
void rlm_span_print(char out[48], double seconds); /* "1 h 5 min", "2 min 3 s", "4 s" */
void rlm_journal_close(rlm_journal **j);

/* ---- rhythm.c -------------------------------------------------------------------------------- */
/* What every training loop has; a loop's own state begins with it. */
typedef struct rlm_trainer {
    const rlm_train_options *o;
    rlm_log log;
    rlm_recipe recipe;
    rlm_kernels k;
    rlm_par *par;
    rlm_arena arena; /* scratch of a step */
    rlm_tape tape;
    rlm_run run;
    rlm_params params;
    rlm_optim optim; /* of params */
    rlm_checkpoint checkpoint;
    rlm_journal *journal;
    int64_t step; /* taken; advanced by `advance` */
    bool done;    /* open did all that was asked for */
} rlm_trainer;
/* The weights a run starts from: the file `init`, or the file `name` of the folder `init`. */
int rlm_train_init_open(rlm_safetensors *st, const char *init, const char *name, rlm_error *err);
/* Memory for all that is declared in t->params, its first values by the recipe's seed; with the
 * option `init` every parameter from there. */
int rlm_train_weights(rlm_trainer *t, const char *name, rlm_error *err);
/* The decoder alone learns, where the recipe says so; before rlm_optim_new. ARG without weights to
 * begin with. */
int rlm_train_freeze(rlm_trainer *t, rlm_error *err);
/* Scratch of a step: t->run on an arena that holds what `step`, the same forward and backward with
 * t->run's kernels empty, takes. It may use further tapes: those it checks and clears itself. */
int rlm_train_plan(rlm_trainer *t, int (*step)(void *trainer, rlm_error *err), rlm_error *err);
/* The checkpoint, when the options resume one (else step is 0), the run directory and its journal.
 * t->checkpoint names all that learns. */
int rlm_train_begin(rlm_trainer *t, rlm_error *err);
/* The packings of all that learns, when its weights have become others. */
int rlm_train_repack(rlm_trainer *t, rlm_error *err);
/* The learning rate of step t->step. */
double rlm_train_rate(const rlm_trainer *t);
enum { RLM_LOOK_SCORE = 1, RLM_LOOK_SAMPLE = 2 };
/* What a loop is; `trainer` is its state, zeroed but for o, log, recipe, k and par. */
typedef struct rlm_loop {
    size_t bytes; /* of its state */
    int (*open)(void *trainer, rlm_error *err);
    int (*advance)(void *trainer, rlm_error *err); /* one step, packed again; its journal row */
    /* what: RLM_LOOK_*, why it is called; the weights are the averaged ones. */
    int (*look)(void *trainer, int what, rlm_error *err);
    int (*save)(void *trainer, const char *dir, rlm_error *err); /* the model into its folder */
    void (*close)(void *trainer); /* what open opened, as far as it came, beyond rlm_trainer */
} rlm_loop;
/* Opens, steps until the recipe's last, the time limit or the progress callback, then a last look
 * and checkpoint; closes. */
int rlm_train_run(const rlm_loop *l, const rlm_train_options *o, rlm_error *err);

/* ---- The loops ------------------------------------------------------------------------------- */
int rlm_train_video(const rlm_train_options *o, rlm_error *err);
int rlm_train_audio(const rlm_train_options *o, rlm_error *err);
int rlm_train_lm(const rlm_train_options *o, rlm_error *err);
/* Writes run_dir/corpus.txt and run_dir/text.model; config: {"text": {"pieces", "scenes"}}. */
int rlm_train_text(const rlm_train_options *o, rlm_error *err);
int rlm_train_judge(const rlm_train_options *o, rlm_error *err); /* model_dir: for round trips */
void rlm_recipe_defaults(rlm_recipe *r, int what);
/* Defaults, then the config file's "train" object, then the options. */
int rlm_recipe_load(rlm_recipe *r, const rlm_train_options *o, rlm_error *err);

#endif
