/* One option table: parsing, range checks and help text come from the same rows. */
#ifndef RLM_CLI_OPTIONS_H
#define RLM_CLI_OPTIONS_H

#include <stdint.h>

#include "src/reelm.h"

enum { CLI_MAX_INPUTS = 64, CLI_MAX_DATA = 16 };

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
    CLI_ASSEMBLE = 1 << 12
};

/* Every option's value; defaults in cli_args_defaults. Strings are borrowed from argv. */
typedef struct cli_args {
    unsigned verb;
    const char *verb_name;
    const char *inputs[CLI_MAX_INPUTS]; /* positional arguments */
    int input_count;
    const char *prompt, *prompt_file, *negative, *output, *format, *model, *init_img, *init_video;
    const char *save_tokens, *cpu_mask, *size, *config, *out, *init, *cut;
    const char *style, *split;
    const char *data[CLI_MAX_DATA];
    int data_count;
    int64_t width, height, frames, threads, seed, top_k, batch_count;
    int64_t count, steps, batch, checkpoint_every, sample_every, validate_every;
    double fps, seconds, temp, top_p, min_p, cfg_scale, audio_temp, lr, max_seconds, playground,
        start;
    int no_audio, no_video, json, verbose, quiet, progress, dry_run, deterministic, resume, help;
    int no_metadata, quick, sheet, no_truth;
} cli_args;

/* Fill from argv[1..]: argv[1] is the verb. Returns 0, or an exit code after saying why on stderr.
 * args->help is set when help was asked for. */
int cli_parse(cli_args *args, int argc, char **argv);

/* Help of one verb (0: the overview) on stdout. */
void cli_help(unsigned verb);

/* The verb whose name is closest to `name`, or NULL when nothing is near. */
const char *cli_nearest_verb(const char *name);

#endif
