/* What a client wants, as native values: fields of a form, checked against a table of names and
 * ranges, and back to JSON for the job's file. Knows nothing of HTTP, models or threads. */
#ifndef RLM_SERVER_WISH_H
#define RLM_SERVER_WISH_H

#include "src/server/form.h"

struct cJSON;

enum { RLM_WISH_CREATE, RLM_WISH_REMIX, RLM_WISH_EDIT, RLM_WISH_EXTEND };

/* What a file that came with a request is for. */
enum {
    RLM_INPUT_CONDITION, /* image or video */
    RLM_INPUT_AUDIO,
    RLM_INPUT_KEYFRAME, /* at `frame`; the end image is keyframe -1 */
    RLM_INPUT_MASK,     /* white: make anew */
    RLM_INPUT_DEPTH,
    RLM_INPUT_FLOW,
    RLM_INPUT_EDGE,
    RLM_INPUT_SOUND_MASK, /* loud: make anew */
    RLM_INPUT_ROLES
};
const char *rlm_input_role_name(int role);

enum { RLM_WISH_INPUTS = 16, RLM_WISH_WARNINGS = 8, RLM_WISH_BOXES = 8, RLM_WISH_PROMPTS = 64 };

typedef struct rlm_wish_input {
    int role, frame;
    char name[16];    /* file in the job's folder: "input-0" */
    const void *data; /* bytes to store; NULL: already stored. Borrowed or `owned` */
    size_t bytes;
    void *owned;                 /* heap: a decoded data URL, or NULL */
    char video_id[RLM_ID_BYTES]; /* instead of bytes: the result of that job */
    char source[16];             /* with video_id: not its result but this file of its folder */
} rlm_wish_input;

enum {
    RLM_FORMAT_MP4,
    RLM_FORMAT_WEBM,
    RLM_FORMAT_MKV,
    RLM_FORMAT_GIF,
    RLM_FORMAT_PNG,
    RLM_FORMATS
};
typedef struct rlm_format {
    const char *name, *mime;
} rlm_format;
const rlm_format *rlm_format_get(int format);
const char *rlm_wish_task_name(int task); /* RLM_TASK_*; NULL at the end */

/* Numbers that were not given are 0, or negative where 0 has a meaning; rlm_wish_settle fills them
 * in. Ranges: the table in wish.c. */
typedef struct rlm_wish {
    int kind;                /* RLM_WISH_* */
    int task;                /* RLM_TASK_* */
    char *prompt, *negative; /* heap, or NULL */
    char *prompts;           /* heap, or NULL: of the windows of an extension, one a line */
    char model[80], user[80];
    char remixed_from[RLM_ID_BYTES];
    int width, height, frames;
    double fps, seconds;
    int64_t seed; /* < 0: random */
    int best_of;  /* seeds that are tried, from that one up; the judge keeps one. 0: no choice */
    rlm_sampling_wish sampling;
    int sound;        /* -1: default */
    int strict;       /* 1: refuse instead of warn */
    int no_metadata;  /* 1: no settings in the output */
    int control_role; /* of control_reference, from control_type */
    int backward, format;
    int overlap, reencode; /* of windows, in frames; 1: the source as the tokenizers show it */
    rlm_box boxes[RLM_WISH_BOXES];
    int box_count, outpaint[4];     /* left, right, top, bottom */
    rlm_span spans[RLM_WISH_BOXES]; /* of the sound, to be made anew */
    int span_count;
    rlm_wish_input inputs[RLM_WISH_INPUTS];
    int input_count;
    int asked_width, asked_height, asked_frames; /* as given; 0: not given */
    double asked_seconds;
    char warnings[RLM_WISH_WARNINGS][160];
    int warning_count;
} rlm_wish;

/* What a model can hold; rlm_wish_settle fits the wish to it. */
typedef struct rlm_wish_limits {
    int width, height, frames; /* defaults */
    double fps, seconds;       /* default rate; longest clip */
    int64_t max_cells;         /* 8 x 8 pixel cells of one picture */
    int has_sound;
    int overlap_step, overlap_most;  /* frames that windows may share: 1, 1 + step .. most */
    int (*asks)(const char *prompt); /* facts that the judge can look for; NULL: there is none */
} rlm_wish_limits;

/* Fill wish from a form. wish must be rlm_wish_free'd in any case; it borrows from the form. */
int rlm_wish_parse(rlm_wish *wish, int kind, const rlm_form *form, rlm_refusal *refusal);
/* The same over a copy of another wish (rlm_jobs_copy_wish): what the form gives is changed, the
 * rest stays; a prompt must be given, unless files came with the other. */
int rlm_wish_remix(rlm_wish *wish, const rlm_form *form, rlm_refusal *refusal);
/* Defaults, length, size; says in warnings what differs from what was asked (refuses when strict).
 */
int rlm_wish_settle(rlm_wish *wish, const rlm_wish_limits *limits, rlm_refusal *refusal);
/* -1 with the first warning when the wish is strict and there is one. */
int rlm_wish_strict(const rlm_wish *wish, const char *code, rlm_refusal *refusal);
/* Pixels that boxes and borders name are known only with the condition; everything else is checked.
 */
void rlm_wish_free(rlm_wish *wish);
/* Shrink a size to sides <= 1024 and the cells of a picture, keeping its shape. */
void rlm_wish_fit(int *width, int *height, int64_t max_cells);

/* The prompts as lines of their own: text (heap, the caller's free(); NULL: none, or no memory) and
 * where each begins. Returns how many. */
int rlm_wish_prompt_lines(const rlm_wish *wish, char **text, const char *lines[RLM_WISH_PROMPTS]);

/* The settings under the names of the API, inputs apart. NULL without memory. */
struct cJSON *rlm_wish_settings(const rlm_wish *wish);
/* Settings and inputs, for the job's file; and back. */
struct cJSON *rlm_wish_save(const rlm_wish *wish);
int rlm_wish_load(rlm_wish *wish, const struct cJSON *saved, rlm_refusal *refusal);

/* The field names the API knows, for docs and tests: NULL at the end of the list. */
const char *rlm_wish_field_name(int index);

#endif
