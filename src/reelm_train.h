/* Training, evaluation and benchmarks. Unstable tier: static linking only (libreelm_train). */
#ifndef REELM_TRAIN_H
#define REELM_TRAIN_H

#include "src/reelm.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { RLM_TRAIN_VIDEO, RLM_TRAIN_AUDIO, RLM_TRAIN_LM, RLM_TRAIN_TEXT, RLM_TRAIN_JUDGE };

/* Defaults from rlm_train_defaults; the JSON file `config` (assets/configs) overrides network and
 * recipe, the fields below override the file. */
typedef struct rlm_train_options {
    int what;                /* RLM_TRAIN_* */
    const char *config;      /* JSON: {"network": {...}, "train": {...}}; NULL: built-in default */
    const char *const *data; /* folders of media + captions */
    int data_count;
    const char *run_dir;   /* checkpoints/, samples/, metrics.jsonl, config.json, model/ */
    const char *model_dir; /* lm: where the tokenizers are. video/audio: NULL */
    const char *init;      /* weights to start from (safetensors or a model directory); NULL */
    int resume;            /* 1: continue from run_dir's last checkpoint; must exist */
    int64_t steps;         /* 0: from the config */
    double max_seconds;    /* stop (with a checkpoint) after this much wall clock; 0: no limit */
    int batch;             /* 0: from the config */
    double lr;             /* 0: from the config */
    uint64_t seed;
    int checkpoint_every, sample_every, validate_every; /* steps; 0: from the config */
    int threads;
    const char *cpu_mask;
    int deterministic;
    const char *perceptual; /* video: SqueezeNet v1.1 for the perceptual loss; NULL: none */
    double playground;      /* share of samples from the procedural world, 0..1; < 0: config */
    const char *dump;       /* lm: write all clips as codes to this file, train nothing; or NULL */
    void (*log)(void *cookie, int level, const char *text);
    void *log_cookie;
    int (*progress)(void *cookie, const char *line); /* non-zero: stop with a checkpoint */
    void *progress_cookie;
} rlm_train_options;

void rlm_train_defaults(rlm_train_options *o, int what);
int rlm_train(const rlm_train_options *o, rlm_error *err);

/* Put the parts (video, audio, lm, text) of model directories, or bare SentencePiece files,
 * together in `out`; of a part found twice the last one stays. out may exist: parts not named are
 * kept. */
int rlm_model_assemble(const char *const *sources, int count, const char *out, rlm_error *err);

/* ---- Evaluation: media -> codes -> media, or two folders beside each other ------------------- */
enum { RLM_EVAL_VIDEO, RLM_EVAL_AUDIO };
enum {
    RLM_STAGE_MEASURE = RLM_STAGE_DECODE + 1, /* of rlm_progress: files */
    RLM_STAGE_SEARCH                          /* latent frames */
};

/* Protocol of video: 17 frames at 8 fps (nearest timestamp), the shorter side scaled to 128, the
 * middle 128x128; a shorter clip holds its last frame; pictures are clips of one frame. native: own
 * size and rate, at most 256 frames. Of sound: mono at the codec's rate, whole files. */
typedef struct rlm_eval_options {
    int what;              /* RLM_EVAL_* */
    const char *model_dir; /* with the tokenizer to measure; not needed with `against` */
    /* Media files, folders (as in training), folders of folders of PNG frames, or .txt lists of
     * files, a line each, from the list's folder. May be empty when world > 0. */
    const char *const *inputs;
    int input_count;
    const char *against;    /* folder with coded files of the same names; NULL: encode and decode.
                               Its bytes.tsv (name, bytes) gives bits a second */
    int split;              /* RLM_SPLIT_TRAIN or _VALIDATION of the inputs; default -1: all */
    int64_t most;           /* measure at most so many files, evenly spread; 0: all */
    int world;              /* so many playground validation clips as well; default 0 */
    int controls;           /* 1: their depth and flow as pictures instead */
    int native;             /* 1: own size and rate */
    int levels;             /* audio: decode only so many levels; 0: all */
    int list;               /* 1: only say what would be measured */
    const char *perceptual; /* weights of SqueezeNet v1.1 (safetensors); NULL: not measured */
    int search;        /* video: steps of rlm_search, with `perceptual`; 0: the encoder's codes */
    const char *sheet; /* PNG to write: originals above reconstructions; NULL: none */
    const char *keep;  /* folder for originals/ and coded/, lossless; NULL: none */
    int threads;
    const char *cpu_mask;
    void (*log)(void *cookie, int level, const char *text);
    void *log_cookie;
    int (*progress)(void *cookie, const rlm_progress *p); /* files; non-zero: RLM_E_CANCELLED */
    void *progress_cookie;
} rlm_eval_options;
void rlm_eval_defaults(rlm_eval_options *o, int what);
/* One JSON object (heap; rlm_string_free): protocol, means over all files and over each group, use
 * of bits or codes, and every file's figures. docs/TRAINING.md names each measure. */
int rlm_eval(const rlm_eval_options *o, char **json, rlm_error *err);

/* ---- Codes chosen by what they decode to (src/train/search.c) -------------------------------- */
enum { RLM_SEARCH_STEPS_MAX = 1000 };
typedef struct rlm_search_options {
    const char *model_dir;  /* with the tokenizers that made the codes */
    int steps;              /* times a decoder is asked, forward and backward; 20 are worth it */
    const char *perceptual; /* SqueezeNet v1.1 (safetensors): its distance counts beside pictures'
                               mean square; NULL: the mean square alone */
    int threads;
    const char *cpu_mask;
    int (*progress)(void *cookie, const rlm_progress *p); /* non-zero: RLM_E_CANCELLED */
    void *progress_cookie;
} rlm_search_options; /* strings must outlive the search */
typedef struct rlm_search rlm_search;
int rlm_search_open(rlm_search **out, const rlm_search_options *o, rlm_error *err);
/* codes: what rlm_encode made of these frames or samples (mono, at the codec's rate); their ids
 * become those that decode closer to them (never further, in what the search measures). Pictures'
 * codes are one piece without stills. After a failure, and when cancelled, codes are valid:
 * searched as far as it came. */
int rlm_search_frames(rlm_search *s, const rlm_frames *f, rlm_codes *codes, rlm_error *err);
int rlm_search_pcm(rlm_search *s, const rlm_pcm *pcm, rlm_codes *codes, rlm_error *err);
/* The same of what rlm_encode_file made of `path` with this `want`, either may be NULL or empty;
 * memory holds one window. */
int rlm_search_file(rlm_search *s, const char *path, const rlm_want *want, rlm_codes *video,
                    rlm_codes *audio, rlm_error *err);
void rlm_search_close(rlm_search **s);

/* The judge: which facts of the playground does a clip show? Without inputs it is scored itself, on
 * `count` renders of a split from index `first`; with inputs it answers for clips and for folders
 * with metadata.jsonl, whose lines hold the facts that `reelm world` writes or a "text". */
typedef struct rlm_eval_world_options {
    const char *judge;         /* its weights (assets/world/judge.safetensors) */
    const char *const *inputs; /* clips and folders; input_count 0: renders */
    int input_count;
    const char *prompt; /* what is asked of clips given by name */
    int split;          /* RLM_SPLIT_*; default validation */
    int64_t first, count;
    int round_trip;         /* 1: through the tokenizers of model_dir first */
    const char *model_dir;  /* NULL without round_trip */
    int search;             /* round_trip: steps of rlm_search; 0: the encoder's codes */
    const char *perceptual; /* of the search, or NULL */
    int certify;            /* 1: renders; a good enough score is written into the judge's file */
    int threads;
    const char *cpu_mask;
    void (*log)(void *cookie, int level, const char *text);
    void *log_cookie;
    int (*progress)(void *cookie, const rlm_progress *p); /* non-zero: cancel */
    void *progress_cookie;
} rlm_eval_world_options;
void rlm_eval_world_defaults(rlm_eval_world_options *o);
/* One JSON object (heap; rlm_string_free). A judge answers for clips only when its file says that
 * it was right in 97 of 100 answers on renders, and in 90 of 100 about every single fact. */
int rlm_eval_world(const rlm_eval_world_options *o, char **json, rlm_error *err);

/* ---- The judge asked about clips in memory: which of several shows what was asked for ----------
 */
typedef struct rlm_judge rlm_judge;
/* A judge that may judge (above); else, and where the file is no judge's, MODEL. */
int rlm_judge_open(rlm_judge **out, const char *path, int threads, const char *cpu_mask,
                   rlm_error *err);
void rlm_judge_close(rlm_judge **judge);
/* How many facts of the playground a prompt names; 0: a judge has nothing to ask. */
int rlm_judge_asks(const char *prompt);
typedef struct rlm_verdict {
    int asked, holds;      /* facts; a contact's sound is one where a contact is seen */
    double extra;          /* bodies beyond those named, 0 where none is named; and those that are
                            * in two places, as a share of the clip's moments */
    double log_likelihood; /* ln p of what was said, summed over what was asked */
} rlm_verdict;
/* The clip's first two seconds, of any size and rate. ARG when the prompt names nothing. */
int rlm_judge_clip(rlm_judge *judge, const rlm_clip *clip, const char *prompt, rlm_verdict *out,
                   rlm_error *err);
/* Fewer facts missed and extra bodies together, then likelier. */
int rlm_verdict_better(const rlm_verdict *a, const rlm_verdict *b);
/* rlm_generate for `count` seeds from request->seed up (side by side, rlm_session_batch); the clip
 * of the best verdict comes out as that seed alone makes it, with its token file and the seed in
 * its settings. Times in the report are of all. RLM_E_CANCELLED: out holds the best so far, or what
 * is there of the first. ARG: the prompt names nothing, tokens to resume, a dry run. */
typedef struct rlm_choice {
    uint64_t seed, first; /* of the clip that is kept, of the first that was tried */
    int tried;            /* clips that were judged */
    rlm_verdict verdict;
} rlm_choice;
int rlm_generate_best(rlm_session *session, rlm_judge *judge, const rlm_request *request, int count,
                      rlm_clip *out, rlm_report *report, rlm_choice *choice, rlm_error *err);

/* Kernel and step benchmarks as text or one JSON object, given to `write` piece by piece as rows
 * are measured: those whose names contain all of `words`. Each says its share of the ceiling that
 * binds it and the memory that its work holds. */
typedef struct rlm_bench_options {
    int json, quick;
    const char *const *words;
    int word_count;
    void (*write)(void *cookie, const char *text); /* text: valid during the call */
    void *write_cookie;
} rlm_bench_options;
/* model_dir: also text to video by stage, or NULL; of the options threads, cpu_mask and what
 * opening that model uses. ARG when no row has all words. */
int rlm_bench(const char *model_dir, const rlm_options *options, const rlm_bench_options *wish,
              rlm_error *err);

#ifdef __cplusplus
}
#endif
#endif
