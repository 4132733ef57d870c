/* Private to the evaluation: what its files share. The measures work on bytes and samples as a user
 * gets them, outside every gradient, so they touch elements themselves. */
#ifndef RLM_TRAIN_EVAL_H
#define RLM_TRAIN_EVAL_H

#include "src/train/train.h"

struct cJSON;

enum { RLM_EVAL_SIDE = 128, RLM_EVAL_FRAMES = 17, RLM_EVAL_FPS = 8 }; /* of the standard clip */
enum { RLM_EVAL_NATIVE_FRAMES = 256 };                                /* most of a clip as it is */
enum { RLM_EVAL_RATE = 16000 };                                       /* Hz, of sound */

/* ---- eval_inputs.c, eval_read.c: what is measured -------------------------------------------- */
typedef struct rlm_eval_item {
    char *name;    /* path below its folder, or of a playground clip its seed */
    char *path;    /* file, or folder of PNG frames; NULL: playground */
    char *pair;    /* what it is compared with, of --against; else NULL */
    char *label;   /* group of the means: repository, class of sound, style; else NULL */
    int kind;      /* RLM_MEDIA_* */
    int64_t bytes; /* of the coded pair, from its folder's bytes.tsv; -1: unknown */
    uint64_t seed;
} rlm_eval_item;
typedef struct rlm_eval_list {
    rlm_eval_item *items;
    int count, capacity;
    rlm_world *world; /* when there are playground clips */
} rlm_eval_list;
/* Sorted by name within each input. Fails with ARG when nothing is there to measure. */
int rlm_eval_list_open(rlm_eval_list *l, const rlm_eval_options *o, const rlm_log *log,
                       rlm_error *err);
void rlm_eval_list_free(rlm_eval_list *l);
/* Its name without extension, '/' and '%' as '_'. */
void rlm_eval_flat_name(const rlm_eval_item *item, char *out, size_t bytes);
/* A shorter clip holds its last frame; f has one. */
int rlm_frames_hold(rlm_frames *f, int count, rlm_error *err);
/* The clip of an item by the protocol, or of its pair. heap, rlm_clip_free. */
int rlm_eval_read(const rlm_eval_list *l, const rlm_eval_options *o, const rlm_eval_item *item,
                  bool of_pair, rlm_clip *out, rlm_error *err);
/* Frames as DIR/PART/NAME/%03d.png, sound as DIR/PART/NAME.wav; NAME is flat. */
int rlm_eval_keep(const char *dir, const char *part, const rlm_eval_item *item, bool sound,
                  const rlm_clip *clip, rlm_error *err);

/* ---- eval_pictures.c: a and b are clips of equal size, [count][height][width][3] bytes ------- */
/* 10 log10(255^2 / mean squared difference) over all frames, pixels and channels; INFINITY when
 * equal. */
double rlm_psnr(const rlm_frames *a, const rlm_frames *b);
typedef struct rlm_structure {
    double ssim;    /* mean over frames; NAN when a side is below 11 */
    double ms_ssim; /* NAN likewise */
    int scales;     /* of ms_ssim: at most 5, each side at least 11 at the last */
} rlm_structure;
/* SSIM (Wang 2004) on luma 0..255 (Rec. 601): Gaussian window 11x11, sigma 1.5, only where it fits
 * whole, K1 0.01, K2 0.03. MS-SSIM (Wang 2003): means of 2x2 between scales, the five published
 * weights, those of the scales in use scaled to the sum 1; negative terms count 0. */
int rlm_structure_score(rlm_par *par, const rlm_frames *a, const rlm_frames *b,
                        rlm_structure *score, rlm_error *err);
/* Mean |(b[t+1] - b[t]) - (a[t+1] - a[t])| of luma in grey levels of 255; NAN for one frame. */
double rlm_flicker(const rlm_frames *a, const rlm_frames *b);

/* ---- perceptual.c ---------------------------------------------------------------------------- */
/* Distance of features of SqueezeNet v1.1 (ImageNet): relu1 and fire2..fire9, each position's
 * channels scaled to length 1, squared difference summed over channels, mean over positions, sum
 * over layers: LPIPS (arXiv 1801.03924) with all weights 1. f32 at every CPU level. */
typedef struct rlm_perceptual rlm_perceptual;
/* path: squeezenet_v1.1.safetensors (conv1, fireN.squeeze1x1, ...: [out][in][kh][kw]). */
int rlm_perceptual_open(rlm_perceptual **out, const char *path, rlm_par *par, rlm_error *err);
void rlm_perceptual_close(rlm_perceptual **p);
/* Mean over frames; equal sizes, sides 32 to 4096. */
int rlm_perceptual_score(rlm_perceptual *p, const rlm_frames *a, const rlm_frames *b, double *score,
                         rlm_error *err);

/* ---- eval_sound.c ---------------------------------------------------------------------------- */
typedef struct rlm_ears rlm_ears; /* spectra at one sample rate; f32 at every CPU level */
int rlm_ears_open(rlm_ears **out, int rate, rlm_par *par, rlm_error *err);
void rlm_ears_close(rlm_ears **e);
typedef struct rlm_heard {
    double log_mel; /* dB: mean |difference| of 80 mel levels, window 1024, hop 256, floor -80 dB */
    double stft; /* windows 256, 512, 1024, 2048, hop a quarter: spectral convergence |A - B| / |A|
                    plus mean |ln A - ln B| with that floor; mean over windows. NAN: a is silent */
} rlm_heard;
/* a [n] is the original. */
void rlm_ears_score(rlm_ears *e, int64_t n, const float *a, const float *b, rlm_heard *heard);
/* A column of the sheet: spectrograms of the middle two seconds, low frequencies below, 0 to -80
 * dB. */
typedef struct rlm_eval_sheet rlm_eval_sheet;
int rlm_ears_show(rlm_ears *e, rlm_eval_sheet *s, int64_t n, const float *a, const float *b,
                  rlm_error *err);

/* ---- eval_codes.c: use of bits and codes ----------------------------------------------------- */
enum { RLM_EVAL_BITS = 24 };
typedef struct rlm_bit_use {
    int bits;
    int64_t ones[RLM_EVAL_BITS], both[RLM_EVAL_BITS][RLM_EVAL_BITS]; /* both: of a < b */
    int32_t *ids;                                                    /* every code seen; heap */
    int64_t count, room;
} rlm_bit_use;
int rlm_bit_use_add(rlm_bit_use *u, const rlm_codes *codes, rlm_error *err);
/* Mean of each bit, the largest correlation of two bits (of bits that vary), codes seen and how
 * many of them differ. Sorts the ids. NULL: out of memory. */
struct cJSON *rlm_bit_use_json(rlm_bit_use *u);
void rlm_bit_use_free(rlm_bit_use *u);
/* How many of the ids differ; sorts them. */
int64_t rlm_ids_distinct(int32_t *ids, int64_t count);

typedef struct rlm_code_use {
    int levels, codes;
    int64_t *hits; /* [levels][codes] */
    int64_t frames;
} rlm_code_use;
/* ids as of rlm_codes: [levels][frames]. */
int rlm_code_use_add(rlm_code_use *u, const rlm_codes *codes, rlm_error *err);
/* Of each level the share of its codes seen, and the perplexity of their counts. */
struct cJSON *rlm_code_use_json(const rlm_code_use *u);
void rlm_code_use_free(rlm_code_use *u);
double rlm_code_use_perplexity(const rlm_code_use *u, int level); /* NAN: no frame yet */

/* ---- eval_sheet.c: originals above reconstructions ------------------------------------------- */
enum { RLM_SHEET_COLUMNS = 12 };
struct rlm_eval_sheet {
    rlm_frames cells[RLM_SHEET_COLUMNS][2]; /* up to three frames each; heap */
    int count;
};
/* Keep frames first, middle and last of both; nothing when it is full. */
int rlm_eval_sheet_add(rlm_eval_sheet *s, const rlm_frames *original, const rlm_frames *made,
                       rlm_error *err);
/* A column a clip; for each frame kept a row of originals and a row of reconstructions. */
int rlm_eval_sheet_write(const rlm_eval_sheet *s, const char *path, rlm_error *err);
void rlm_eval_sheet_free(rlm_eval_sheet *s);

/* ---- eval_tally.c: figures and their means --------------------------------------------------- */
enum { RLM_MEASURES = 10, RLM_LABELS = 64 };
typedef struct rlm_measure {
    const char *name; /* in the JSON */
    int digits;       /* behind the point */
    const char *how;  /* one sentence for the protocol */
} rlm_measure;
/* Means of measures, over all files and over those of a label. NAN: the file has no such figure. */
typedef struct rlm_tally {
    const rlm_measure *measures;
    int measure_count, label_count;
    const char *labels[RLM_LABELS]; /* borrowed; more are counted under "other" */
    int files[1 + RLM_LABELS];      /* 0: all; 1 + i: label i */
    double sum[1 + RLM_LABELS][RLM_MEASURES];
    int n[1 + RLM_LABELS][RLM_MEASURES];
} rlm_tally;
/* value INFINITY (equal) counts as 100 dB. The file's object goes to `items`. */
void rlm_tally_add(rlm_tally *t, const char *name, const char *label, const double *values,
                   struct cJSON *items);
/* "protocol", "mean" and, when there are labels, "mean_of_groups" and "groups" into `to`. */
void rlm_tally_json(const rlm_tally *t, struct cJSON *to);

/* ---- eval.c, eval_video.c, eval_audio.c ------------------------------------------------------ */
typedef struct rlm_eval_job {
    const rlm_eval_options *o;
    rlm_log log;
    rlm_eval_list list;
    rlm_par *par; /* of the measures; the session has its own */
    rlm_engine *engine;
    rlm_session *session; /* both NULL with --against */
    rlm_perceptual *perceptual;
    rlm_search *search; /* NULL: the encoder's codes */
    rlm_ears *ears;
    rlm_bit_use bits;
    rlm_code_use use;
    rlm_eval_sheet sheet;
    rlm_measure measures[RLM_MEASURES];
    rlm_tally tally;
    struct cJSON *items;
    int skipped, measured;
    double start; /* rlm_now() of the call */
} rlm_eval_job;
/* What is particular to pictures and to sound. open: measures and their tools; judge: one file,
 * `index` of the list, read into clip. */
int rlm_eval_video_open(rlm_eval_job *j, rlm_error *err);
int rlm_eval_video_judge(rlm_eval_job *j, int index, const rlm_clip *clip, rlm_error *err);
const char *rlm_eval_video_protocol(const rlm_eval_options *o);
int rlm_eval_audio_open(rlm_eval_job *j, rlm_error *err);
int rlm_eval_audio_judge(rlm_eval_job *j, int index, const rlm_clip *clip, rlm_error *err);
const char *rlm_eval_audio_protocol(const rlm_eval_options *o);
enum { RLM_EVAL_COLUMNS = 8 };
/* Whether file `index` gets one of the sheet's columns, which are spread evenly. */
bool rlm_eval_shown(const rlm_eval_job *j, int index);

#endif
