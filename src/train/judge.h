/* The judge: small networks that say which facts of the playground a clip shows.
 *
 *   17 frames of 128 x 128, 8 a second --> trunk --> queries: scene, camera, event, a body of each
 *                                           |                colour
 *                                           |-> cells: which colour is where
 *   32 x 32 cut out around a body ----------> its shape and material; the style
 *   seven frames of it ---------------------> when it touches something
 *   40 bands of sound, 100 times a second --------> onsets of impacts
 *
 * No two bodies of a scene share a colour, so a colour names a body. docs/JUDGE.md. */
#ifndef RLM_TRAIN_JUDGE_H
#define RLM_TRAIN_JUDGE_H

#include "src/nn/layers.h"
#include "src/json_fields.h"
#include "src/train/train.h"
#include "src/world/world.h"

enum {
    JUDGE_FRAMES = 17,
    JUDGE_SIDE = 128,
    JUDGE_FPS = 8,
    JUDGE_GROUPS = 5, /* moments of the trunk: frame 0, then four frames each */
    JUDGE_GRID = 16,  /* cells of 8 x 8 pixels */
    JUDGE_CELLS = JUDGE_GROUPS * JUDGE_GRID * JUDGE_GRID,
    JUDGE_FLOATS = JUDGE_FRAMES * JUDGE_SIDE * JUDGE_SIDE * 3,
    JUDGE_SPANS = 16,     /* gaps between neighbouring frames */
    JUDGE_SPAN_PARTS = 8, /* a contact is told to an eighth of a gap */
    JUDGE_BANDS = 40,
    JUDGE_TICKS = 212, /* hundredths of a second of sound */
    JUDGE_AHEAD = 5,   /* ticks that the sound network hears before it decides */
    JUDGE_HEARD = JUDGE_TICKS + JUDGE_AHEAD
};

/* What a cell and what a colour is asked. Cells: which colour, 0 no body. Colours: 1 it is there.
 */
enum { BODY_COLOUR, BODY_SHAPE, BODY_MATERIAL, BODY_SIZE, BODY_ROLE, BODY_KINDS };
/* What a clip is asked. */
enum {
    CLIP_FLOOR,
    CLIP_SKY,
    CLIP_WEATHER,
    CLIP_STYLE,
    CLIP_CAMERA,
    CLIP_EVENT,
    CLIP_DIRECTION,
    CLIP_KINDS
};
int rlm_judge_body_classes(int kind); /* of the colour: 2 */
int rlm_judge_clip_classes(int kind);
int rlm_judge_clip_fact(int kind); /* FACT_* */

/* ---- judge_net.c ----------------------------------------------------------------------------- */

typedef struct rlm_judge_config {
    int width[3];      /* channels at 32, 16 and 8 cells a side */
    int blocks[3];     /* residual blocks there */
    int layers, heads; /* of attention over the 320 places of the coarsest grid and the queries */
    int sound, sound_blocks;
} rlm_judge_config;
void rlm_judge_config_defaults(rlm_judge_config *c);
int rlm_judge_config_check(const rlm_judge_config *c, rlm_error *err);
extern const rlm_field rlm_judge_fields[];
extern const int rlm_judge_field_count;

typedef struct rlm_judge_net rlm_judge_net;
int rlm_judge_net_new(rlm_judge_net **out, const rlm_judge_config *c, rlm_params *p,
                      rlm_error *err);
void rlm_judge_net_free(rlm_judge_net **net);
void rlm_judge_net_initialise(rlm_judge_net *net, rlm_params *p, uint64_t seed);

/* Logits of n clips. cell [n][CELLS][classes]; clip [n][classes]; body
 * [n * COLOURS][classes]; heard [n * HEARD][2], tick t at row t + AHEAD. */
typedef struct rlm_judge_logits {
    rlm_tensor cell[BODY_KINDS], clip[CLIP_KINDS], body[BODY_KINDS], heard;
} rlm_judge_logits;
/* pixels [n][17][128][128][3] in [-1, 1], bands [n][HEARD][BANDS]; NULL with empty kernels. Index
 * tables live in the net, which serves batches of up to `most`. */
int rlm_judge_net_plan(rlm_judge_net *net, int most, rlm_error *err);
void rlm_judge_forward(rlm_run *run, const rlm_judge_net *net, int n, const float *pixels,
                       const float *bands, rlm_judge_logits *out);

/* ---- judge_crop.c ---------------------------------------------------------------------------- */

/* Looks at squares around a body: in one frame, for what it is; in four gaps between frames and
 * what is beside them, for contacts there (class 0: none, else in which part of the gap). */
enum { LOOK_BODY, LOOK_CONTACT, LOOKS };
enum { CROP_COLOUR, CROP_SHAPE, CROP_MATERIAL, CROP_STYLE, CROP_KINDS = 4 };
enum { CROP_SIDE = 32, CROP_MOMENTS = JUDGE_SPANS - 3 /* at most */ };
int rlm_judge_crop_classes(int look, int kind);
/* Moments of a clip that are looked at, and the frames [from, to] whose square is cut out: frame 0,
 * 8 or 16; the four frames behind the gaps m .. m + 3. */
int rlm_judge_crop_moments(int look);
void rlm_judge_crop_frames(int look, int moment, int *from, int *to);
size_t rlm_judge_crop_floats(int look); /* of a crop */
typedef struct rlm_judge_crop rlm_judge_crop;
int rlm_judge_crop_new(rlm_judge_crop **out, int look, rlm_params *p, rlm_error *err);
void rlm_judge_crop_free(rlm_judge_crop **net);
/* crops [m][32][32][channels], or NULL with empty kernels -> logits [m][classes]. */
void rlm_judge_crop_forward(rlm_run *run, const rlm_judge_crop *net, int m, const float *crops,
                            rlm_tensor out[CROP_KINDS]);
typedef struct rlm_judge_square {
    float x, y, side; /* middle and side, pixels */
} rlm_judge_square;
/* The square of moment m of pixels [17][128][128][3] as crop [32][32][channels]. */
void rlm_judge_cut(int look, const float *pixels, int moment, const rlm_judge_square *s,
                   float *crop);
void rlm_judge_tremble(uint64_t seed, uint64_t index, rlm_judge_square *s);
/* Where a colour is: p [16][16] probabilities, `stride` floats apart. 0: nowhere. */
int rlm_judge_find(const float *p, int stride, rlm_judge_square *s);
/* In how many pieces it is that are larger than a cell: bodies that do not touch. */
int rlm_judge_pieces(const float *p, int stride);
/* Bytes that rlm_judge_look_again takes of the arena besides the network. */
enum { JUDGE_CROP_SCRATCH = 12 << 20 };

/* ---- judge_sample.c -------------------------------------------------------------------------- */

/* Everything true of a clip that can be judged; -1: not to be seen (or not asked). */
typedef struct rlm_judge_truth {
    int8_t cell[BODY_KINDS][JUDGE_CELLS]; /* class, -1: nothing to learn there */
    int8_t clip[CLIP_KINDS];
    int8_t body[BODY_KINDS][COLOURS];         /* of BODY_COLOUR: visible 1, not 0, hardly -1 */
    int8_t contact[MAX_OBJECTS][JUDGE_SPANS]; /* of a body in a gap: 0 none, 1 .. 8 in which part */
    int8_t heard[JUDGE_HEARD];                /* 1 an onset, -1 near one or too soft */
    rlm_judge_square square[LOOKS][CROP_MOMENTS][MAX_OBJECTS]; /* side 0: not to be seen */
    rlm_scene scene;
    int contacts, faint; /* visible ones; the rest, which may be seen or not */
    float contact_s[MAX_CONTACTS], faint_s[MAX_CONTACTS];
} rlm_judge_truth;
/* A body is visible when it covers SEEN_PIXELS in SEEN_FRAMES frames; a contact, when it is between
 * two frames of the clip, at SEEN_SPEED or more, of a visible body. */
enum { JUDGE_SEEN_PIXELS = 24, JUDGE_SEEN_FRAMES = 5 };
#define JUDGE_SEEN_SPEED 1.0 /* m/s: a fall from 5 cm */

/* The clip of a seed as the judge wants it, and its truth. */
int rlm_judge_render(const rlm_world *world, uint64_t seed, rlm_clip *clip, rlm_judge_truth *truth,
                     rlm_error *err);
/* Log energy of JUDGE_BANDS bands at every tick, the first JUDGE_TICKS; bands [HEARD][BANDS].
 * Sound of any length, mono or not, 16 kHz; absent: silence. */
void rlm_judge_bands(const rlm_pcm *sound, float *bands);
/* Bytes to [-1, 1]. A clip of 17 frames of 128 x 128. */
void rlm_judge_pixels(const rlm_frames *video, float *pixels);
/* The same seen in a mirror, in place; truth may be NULL. */
void rlm_judge_mirror(float *pixels, rlm_judge_truth *truth);
/* Blur, noise, a change of light, in place; a pure function of seed and index. */
void rlm_judge_spoil(uint64_t seed, uint64_t index, rlm_clip *clip);

/* ---- judge_look.c ---------------------------------------------------------------------------- */

/* What the judge sees: probabilities, and times in seconds. A body's p[BODY_COLOUR][1]: it is
 * there.
 */
typedef struct rlm_judge_body {
    float p[BODY_KINDS][8];
} rlm_judge_body;
typedef struct rlm_judge_view {
    rlm_judge_body body[COLOURS];
    float span[JUDGE_SPANS][1 + JUDGE_SPAN_PARTS]; /* of each gap: no contact, or in which part */
    int count;                                     /* bodies there */
    float pieces[COLOURS]; /* in how many a colour is, the mean over the moments where it is seen */
    float clip[CLIP_KINDS][8];
    int contacts, onsets;
    float contact_s[JUDGE_SPANS], onset_s[JUDGE_TICKS / 4];
} rlm_judge_view;
/* Clip `index` of the batch: probabilities and onsets; shape and material as the trunk sees them,
 * no contacts. */
void rlm_judge_read(const rlm_judge_logits *l, int index, rlm_judge_view *view);
/* Shape, material and contacts of the bodies of clip `index`, and its style, looked at more
 * closely; scratch from run. */
void rlm_judge_look_again(rlm_run *run, rlm_judge_crop *const crops[LOOKS],
                          const rlm_judge_logits *l, int index, const float *pixels,
                          rlm_judge_view *view);

/* The mean of a view and one of the mirrored clip, into a. */
void rlm_judge_merge(rlm_judge_view *a, const rlm_judge_view *mirrored);
/* Count and contacts from the probabilities. */
void rlm_judge_settle(rlm_judge_view *view);

struct rlm_judge {
    rlm_judge_config config;
    rlm_params params;
    rlm_judge_net *net;
    rlm_judge_crop *crops[LOOKS];
    rlm_kernels kernels;
    rlm_par *par;
    rlm_arena arena;
    rlm_run run;
    float *pixels, *bands;
    char *note; /* of the file: what was measured of it, JSON; or "" */
};
/* Any judge, rlm_judge_open one that may judge; close it with rlm_judge_close. */
int rlm_judge_load(rlm_judge **out, const char *path, int threads, const char *cpu_mask,
                   rlm_error *err);
/* MODEL unless the file says what rlm_judge_open asks for. path: for the error. */
int rlm_judge_licensed(const rlm_judge *judge, const char *path, rlm_error *err);
/* The clip and its mirror image, taken together. A clip of JUDGE_FRAMES x JUDGE_SIDE x JUDGE_SIDE
 * at JUDGE_FPS, sound at 16 kHz or none. */
void rlm_judge_look(rlm_judge *judge, const rlm_clip *clip, rlm_judge_view *view);
int rlm_judge_save(const char *path, const rlm_judge_config *c, const rlm_params *p,
                   const float *data, const char *note, rlm_error *err);

/* Are the named facts there? Likeliest class. */
int rlm_judge_best(const float *p, int n);
/* 1: every visible contact has an onset within 60 ms; 0: one has none; -1: no contact is visible.
 */
int rlm_judge_in_step(const rlm_judge_view *view);

/* Right answers by fact. */
enum {
    SCORE_COUNT,
    SCORE_COLOUR, /* each of the eight: there or not */
    SCORE_SHAPE,
    SCORE_SIZE,
    SCORE_MATERIAL, /* of photo-like clips: drawing hides it */
    SCORE_ACTOR,    /* which body acts */
    SCORE_EVENT,
    SCORE_DIRECTION,
    SCORE_FLOOR,
    SCORE_SKY,
    SCORE_WEATHER,
    SCORE_STYLE,
    SCORE_CAMERA,
    SCORE_CONTACT, /* all visible contacts, and none where nothing meets, within 60 ms */
    SCORE_SOUND,   /* in step or not; half of the questions have the sound taken away or moved */
    SCORES
};
extern const char *const rlm_judge_score_names[SCORES];
typedef struct rlm_judge_score {
    int64_t right[SCORES], asked[SCORES];
    double log_likelihood; /* of rlm_judge_answer: sum over its answers, ln p of what was said */
} rlm_judge_score;
/* Is a body of this colour there? Which of those there acts (-1: none is there)? */
bool rlm_judge_there(const rlm_judge_view *v, int colour);
int rlm_judge_actor(const rlm_judge_view *v);
int rlm_judge_clip_score(int kind); /* SCORE_* of a CLIP_* */
void rlm_judge_count(const rlm_judge_truth *truth, const rlm_judge_view *view,
                     rlm_judge_score *score);

/* ---- judge_claim.c --------------------------------------------------------------------------- */
struct cJSON;
/* What a clip's facts (the object that `reelm world` writes; NULL: none) or its prompt say. Returns
 * how many facts. */
int rlm_judge_claim(const struct cJSON *facts, const char *prompt, rlm_claim *claim);
/* One row of `rows` (NULL: none) and one count of `score` for each fact asked. sound: ask whether
 * it is in step. */
void rlm_judge_answer(const rlm_claim *claim, const rlm_judge_view *view, bool sound,
                      struct cJSON *rows, rlm_judge_score *score);

/* ---- judge_verdict.c ------------------------------------------------------------------------- */
/* How the judge wants a clip: size, rates, at most so many frames. */
void rlm_judge_want(rlm_want *want);
/* What was read or converted so, brought to JUDGE_FRAMES: the last picture is held. name: for the
 * error, MEDIA where there is no picture. A failure frees the clip. */
int rlm_judge_fit(rlm_clip *clip, const char *name, rlm_error *err);

#endif
