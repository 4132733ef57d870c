/* What generate, animate, extend and their kin share: a request from options, its settings as JSON,
 * names of outputs, previews, and writing what was made. */
#ifndef RLM_CLI_JOB_H
#define RLM_CLI_JOB_H

#include <stdio.h>

#include "src/cli/cli.h"
#include "src/reelm_train.h"

enum { CLI_PATH_ROOM = 4096 };

/* ---- preview.c: --preview-path --------------------------------------------------------------- */
typedef struct cli_preview {
    const char *path;          /* NULL: none */
    rlm_clip clip;             /* the pictures so far */
    int base;                  /* number of the first picture shown: an extension begins late */
    int every, shown;          /* frames between writes; how many the file shows */
    double begin, spent, last; /* s: when it began; all writes, the last one */
} cli_preview;
/* Hang the preview that the options ask for into a request. */
void cli_preview_begin(cli_preview *p, const cli_args *a, rlm_request *r);
void cli_preview_end(cli_preview *p);

/* ---- inputs.c: what a clip is made from, beside the file of the verb ------------------------- */
typedef struct cli_inputs {
    rlm_clip mask, depth, flow;
    rlm_clip images[CLI_MAX_LIST]; /* of the keyframes */
    rlm_keyframe keys[CLI_MAX_LIST];
    char key_sha[CLI_MAX_LIST][65]; /* of their files, or "" */
    rlm_box boxes[CLI_MAX_LIST];
    rlm_span spans[CLI_MAX_LIST];
} cli_inputs;

/* ---- drift.c: mean and deviation of luma and chroma, second by second ------------------------ */
typedef struct cli_drift_second {
    double sum[3], square[3], pixels; /* Y, Cb, Cr */
} cli_drift_second;
typedef struct cli_drift {
    cli_drift_second *seconds; /* heap */
    int count, second, pictures;
} cli_drift;
void cli_drift_add(cli_drift *d, const rlm_frames *v); /* in order, as many at once as one likes */
/* A line a second to `to`, an array into o; each may be NULL. */
void cli_drift_report(const cli_drift *d, struct cJSON *o, FILE *to);
void cli_drift_free(cli_drift *d);

/* One thing to make. The engine is shared by the jobs of a batch. */
typedef struct cli_job {
    const cli_args *args;
    rlm_engine *engine;
    rlm_session *session;
    rlm_judge *judge; /* of --best-of, or NULL; shared like the engine */
    rlm_request request;
    rlm_clip condition;
    cli_inputs *extra;            /* heap, or NULL */
    char source_sha[65];          /* of the file the condition came from, or "" */
    const struct cJSON *recorded; /* settings that --from-metadata or --resume brought, or NULL */
    char *prompt;                 /* owned copy of a prompt file */
    char *settings;               /* owned; request.settings points to it */
    char output[CLI_PATH_ROOM], tokens[CLI_PATH_ROOM + 8];
    bool keep_tokens, many; /* many: one of a batch */
    double load_s;          /* seconds that opening the model took */
    bool in_file;           /* the library writes the output while it makes it: extend */
    cli_drift drift;        /* of an extension */
    int tries;              /* --best-of, where the judge can choose; else 1 */
    rlm_choice choice;      /* of these; none tried: there was no choice */
    char *final;            /* its settings, as the file has them; owned */
} cli_job;

/* Check the options and fill j->request; 0 or an exit code. seed: where none is given. */
int cli_job_fill(cli_job *j, const cli_args *a, uint64_t seed);
/* Names of output and token file. number: of the clip in a batch, from 1. */
int cli_job_name(cli_job *j, int number);
/* ---- guard.c: what can be known before anything is sampled. 0, or an exit code after saying why.
 */
/* Named outputs: none is an input, all can be written, and hold what is made. */
int cli_job_check_files(const cli_job *j);
/* What the output is written as can hold sound. */
bool cli_job_holds_sound(const cli_job *j);
/* After the inputs were read: the output can hold as many pictures, and sound or none. */
int cli_job_check_shape(const cli_job *j);
/* Load the model once; later calls do nothing. */
int cli_job_open(cli_job *j, rlm_error *err);
/* Read the file a request builds on. max_frames 0: all of it, with its sound. */
int cli_job_condition(cli_job *j, const char *path, int max_frames, rlm_error *err);
/* Read all that the verb and its options name: the condition, masks, keyframes, controls. Sizes and
 * lengths that follow from them go into the request. 0 or an exit code after saying why. */
int cli_job_inputs(cli_job *j);
/* The file that the verb works on, or NULL: the argument, else --init-img or --init-video. */
const char *cli_job_source(const cli_args *a);
void cli_job_inputs_free(cli_job *j);
/* Sample. `make` calls the library (extend: seconds apply). Writes what came out; exit code. */
typedef int (*cli_make)(cli_job *j, rlm_clip *out, rlm_report *report, rlm_error *err);
int cli_job_run(cli_job *j, cli_make make);
/* What was asked and what came out, as it is embedded and printed: a new object. */
struct cJSON *cli_job_outcome(const cli_job *j, const rlm_clip *clip, const rlm_report *t);
/* --dry-run: say what it would cost. */
int cli_job_dry_run(cli_job *j, cli_make make);
/* Free what belongs to one job, not the engine. */
void cli_job_clear(cli_job *j);
void cli_job_close(cli_job *j);

/* ---- best.c: --best-of; where it is not given, all but cli_best_make do nothing -------------- */

/* After names and prompt are known: one try where the judge cannot choose, or usage. */
int cli_best_check(cli_job *j);
/* The judge, opened once. */
int cli_best_open(cli_job *j, rlm_error *err);
int cli_best_make(cli_job *j, rlm_clip *out, rlm_report *report, rlm_error *err);
/* What was chosen, into an outcome; it is no setting, the seed alone makes the clip again. */
void cli_best_add(const cli_job *j, struct cJSON *outcome);
void cli_best_say(const cli_job *j); /* on stdout */

/* ---- settings.c: what was asked, as JSON and back -------------------------------------------- */

/* A new object, NULL without memory; the caller deletes it. */
struct cJSON *cli_settings(const cli_job *j);
/* --from-metadata and --resume: what no flag gave is taken from the file they name. *saved owns the
 * texts among it (or is NULL); the caller deletes it when a is no longer needed, failed or not. */
int cli_settings_recall(cli_args *a, struct cJSON **saved);
/* After the inputs were read: they are those of the recorded settings. --resume refuses others,
 * --from-metadata says so (with --strict: refuses). 0 or an exit code. */
int cli_settings_match(const cli_job *j);
/* Say when the same wishes gave other tokens. made: what cli_job_outcome returned. */
void cli_settings_compare(const cli_job *j, const struct cJSON *made);
/* The settings in a media, token or sidecar file: heap (free), or NULL after saying why. */
char *cli_settings_read(const char *path, int *exit_code);

/* ---- batch.c: --prompts-file and --batch-count ----------------------------------------------- */
typedef struct cli_batch {
    const cli_args *args;
    char *text;            /* of the file; lines end with NUL */
    struct cJSON **object; /* of each line, or NULL where it is a plain prompt */
    char **line;
    int *number; /* of the line in the file */
    int lines;
    uint64_t seed; /* of the first clip */
} cli_batch;
int cli_batch_open(cli_batch *b, const cli_args *a);
int cli_batch_count(const cli_batch *b);
/* Options of clip i; 0 or an exit code after saying why. */
int cli_batch_item(const cli_batch *b, int i, cli_args *item);
void cli_batch_close(cli_batch *b);

#endif
