/* One option table: parsing, ranges, help, manual, completion, environment and configuration file
 * come from the same rows (options.c). A new option is one row and one field of cli_args; a new
 * verb is one bit, one row and one function. */
#ifndef RLM_CLI_OPTIONS_H
#define RLM_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/reelm.h"

enum { CLI_MAX_INPUTS = 64, CLI_MAX_LIST = 64, CLI_MAX_OPTIONS = 256 };

/* Verbs as bits, so that a row says where it applies. */
enum {
    CLI_GENERATE = 1 << 0,
    CLI_ANIMATE = 1 << 1,
    CLI_EXTEND = 1 << 2,
    CLI_ENCODE = 1 << 3,
    CLI_DECODE = 1 << 4,
    CLI_TOKENS = 1 << 5,
    CLI_TRAIN = 1 << 6,
    CLI_INFO = 1 << 7,
    CLI_PROBE = 1 << 8,
    CLI_BENCH = 1 << 9,
    CLI_WORLD = 1 << 10,
    CLI_EDIT = 1 << 11,
    CLI_ASSEMBLE = 1 << 12,
    CLI_STYLIZE = 1 << 13,
    CLI_SOUND = 1 << 14,
    CLI_VISUALIZE = 1 << 15,
    CLI_EVAL = 1 << 16,
    CLI_CONVERT = 1 << 17,
    CLI_SERVE = 1 << 18,
    CLI_METADATA = 1 << 19,
    CLI_COMPLETION = 1 << 20,
    CLI_MANUAL = 1 << 21
};

/* An option that may be repeated. */
typedef struct cli_list {
    const char *items[CLI_MAX_LIST];
    int count;
} cli_list;

/* Where a value comes from; the weaker gives way. LINE: of a file of many clips. */
enum {
    CLI_FROM_DEFAULT,
    CLI_FROM_FILE,
    CLI_FROM_ENVIRONMENT,
    CLI_FROM_METADATA,
    CLI_FROM_FLAG,
    CLI_FROM_LINE
};

/* Every option's value; defaults in cli_args_defaults. Strings are borrowed from argv, the
 * environment or the configuration file's text, which live as long as the process. */
typedef struct cli_args {
    unsigned verb;
    const char *verb_name;
    const char *inputs[CLI_MAX_INPUTS]; /* positional arguments */
    int input_count;
    uint8_t from[CLI_MAX_OPTIONS]; /* CLI_FROM_* of each row */
    const char *config_file;
    const char *prompt, *prompt_file, *negative, *output, *format, *model, *init_img, *init_video;
    const char *weights, *decoders, *cache;
    const char *save_tokens, *cpu_mask, *size, *config, *out, *init, *dump, *cut;
    const char *style, *split, *progress, *source;
    const char *host, *api_key, *api_key_file, *state_dir, *allow_host, *cors_origins;
    const char *against, *keep, *perceptual, *sheet_file, *judge; /* eval */
    const char *prompts_file, *from_metadata, *preview_path, *resume_tokens;
    const char *end_img, *mask, *outpaint;
    cli_list data, keyframes, mask_boxes, control_files, spans, prompts;
    int64_t width, height, frames, threads, seed, top_k, batch_count, best_of, preview_interval;
    int64_t overlap;
    int64_t count, steps, batch, checkpoint_every, sample_every, validate_every;
    double fps, seconds, temp, motion_temp, audio_temp, top_p, min_p, cfg_scale, motion_cfg_scale,
        audio_cfg_scale, lr, max_seconds, playground, start, max_memory;
    int64_t limit, world_clips, levels; /* eval */
    int64_t search;                     /* encode, eval */
    int no_audio, backward, no_video, json, verbose, quiet, dry_run, deterministic, resume, help;
    int strict, sidecar, no_ai_mark, skip_existing, reencode, longest, shortest;
    int no_metadata, quick, sheet, no_truth, print_config, time;
    int64_t port, queue, job_ttl, max_upload, max_state, rate_limit;
    double timeout, max_clip;
    int insecure, no_webui;
    int controls, native, list, round_trip, certify; /* eval */
} cli_args;

typedef struct cli_verb {
    unsigned bit;
    const char *name, *arguments, *summary;
    int min_inputs, max_inputs;
    int (*run)(const cli_args *a); /* returns an exit code */
} cli_verb;

typedef enum {
    STRING,  /* const char * */
    INTEGER, /* int64_t in [min, max] */
    NUMBER,  /* double in [min, max] */
    FLAG,    /* int; takes no value (or =yes, =no) */
    LIST,    /* cli_list; may be repeated */
    CHOICE,  /* const char *, one of the words in arg, which are separated by | */
    MAYBE    /* the same, and without a value the first word that is not "auto" */
} cli_kind;

typedef struct cli_option {
    const char *name, *alias; /* long names; name NULL: `help` is the headline of what follows */
    char letter;
    cli_kind kind;
    size_t at; /* offset in cli_args */
    unsigned verbs;
    double min, max;
    const char *arg;  /* FILE, DIR or PATH: completed by the shell as such */
    const char *help; /* parentheses at its end hold the default */
} cli_option;

const cli_verb *cli_verbs(int *count);
const cli_verb *cli_find_verb(const char *name); /* NULL: there is none */
const cli_option *cli_options(int *count);
void cli_args_defaults(cli_args *a);

/* Fill from argv[1..]: argv[1] is the verb. Then what no flag gave is taken from the environment
 * (REELM_NAME), then from the configuration file. Returns 0, or an exit code after saying why on
 * stderr. args->help is set when help was asked for. */
int cli_parse(cli_args *args, int argc, char **argv);

/* Where two options speak of one thing the stronger source wins; after values changed. */
int cli_settle(cli_args *a);
/* CLI_FROM_* of the option with that long name (of the verb in args). */
int cli_from(const cli_args *a, const char *name);
/* The row of a long name or alias (`length` bytes) for any of these verbs, or NULL. */
const cli_option *cli_find(const char *name, size_t length, unsigned verbs);
/* Put a value into args. label: how to call the option in a complaint ("--width"). Value NULL: a
 * flag given bare. Returns 0 or an exit code. */
int cli_store(cli_args *a, const cli_option *o, const char *value, const char *label, int from);
/* The row whose name is nearest to `name` among those of the verbs, or NULL when none is near. */
const char *cli_nearest_option(const char *name, unsigned verbs);
/* REELM_CFG_SCALE for "cfg-scale". */
void cli_environment_name(const cli_option *o, char *to, size_t bytes);

/* environment.c: the two weaker sources, and --print-config. */
int cli_parse_environment(cli_args *a);
int cli_parse_file(cli_args *a);
void cli_print_config(const cli_args *a);

/* help.c. Help of one verb (0: the overview) on stdout; the manual page as roff; the completion. */
void cli_help(unsigned verb);
int cmd_manual(const cli_args *a);
int cmd_completion(const cli_args *a);

#endif
