/* Private declarations of the program. */
#ifndef RLM_CLI_CLI_H
#define RLM_CLI_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "src/cli/options.h"

struct cJSON;

/* Exit codes, documented in the README and docs/ERRORS.md. */
enum {
    EXIT_DONE = 0,
    EXIT_FAIL = 1,
    EXIT_USAGE = 2,
    EXIT_DATA = 3,
    EXIT_MODEL = 4,
    EXIT_MEMORY = 5,
    EXIT_IO = 6,
    EXIT_INTERRUPTED = 130,
    EXIT_TERMINATED = 143
};

/* say.c: print "reelm: text" on stderr and return the exit code, of a library error or of misuse.
 */
int cli_error(const rlm_error *err);
int cli_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A text file ("-": stdin) of at most 16 MiB as heap, with a NUL behind; 0, or an exit code after
 * saying why. */
int cli_read_text(const char *path, char **out);

/* library.c: options of the library from the command line; the log goes to stderr as -v asks. */
void cli_library_options(const cli_args *a, rlm_options *o);
/* How an output is written, as the command line says; warnings go to stderr. */
void cli_write_options(const cli_args *a, rlm_write_options *w);
/* How an input is read: all of it; warnings go to stderr. */
void cli_read_options(const cli_args *a, rlm_want *w);
/* What an output made with these settings (JSON; NULL: none) carries: all, the mark, or NULL. */
const char *cli_embedded(const cli_args *a, const char *settings);
/* Where the model is: --model, beside the program, or the installed place. Static buffer. */
const char *cli_model_dir(const cli_args *a);
/* A file or folder below assets: beside the program, or the installed place. Returns path. */
const char *cli_asset(const char *name, char *path, size_t room);

/* Progress on stderr as --progress asks (progress.c). */
enum { CLI_PROGRESS_NONE, CLI_PROGRESS_LINE, CLI_PROGRESS_FILE, CLI_PROGRESS_JSON };
typedef struct cli_progress {
    int show, stage;
    double last; /* seconds of the last line */
} cli_progress;
void cli_progress_begin(cli_progress *p, const cli_args *a);
int cli_progress_step(void *progress, const rlm_progress *p); /* for rlm_request.progress */
void cli_progress_end(cli_progress *p);
double cli_now(void); /* seconds, monotonic */

/* interrupt.c: the first Ctrl-C or SIGTERM asks to stop, the second ends at once. */
void cli_catch_interrupt(void);
bool cli_interrupted(void);
bool cli_terminated(void); /* the last was SIGTERM */

/* A file that appears whole or not at all: PATH.tmp.PID until it is committed. "-" (stdout),
 * devices and pipes are written in place. Write to `file`; what fails there is said by commit. */
typedef struct cli_whole {
    FILE *file;
    const char *path; /* borrowed */
    char part[4096];  /* "": in place */
} cli_whole;
/* 0, or an exit code after saying why; then there is nothing to commit or to abort. */
int cli_whole_open(cli_whole *w, const char *path);
int cli_whole_commit(cli_whole *w); /* closes in any case; exit code after saying why */
void cli_whole_abort(cli_whole *w); /* closes and removes */
/* An array of 1 to 4 axes; type "<f4", "<i4" or "|u1". "-": stdout. Exit code after saying why. */
int cli_write_npy(const char *path, const char *type, const int *shape, int rank, const void *data);
/* guard.c: both are there and one file, by another name or through a link. */
bool cli_same_file(const char *a, const char *b);
/* A file of ours, of any name, can be written there ("-", devices and pipes too): 0, or an exit
 * code after saying why. */
int cli_check_place(const char *path);
bool cli_is_regular(const char *path); /* or not there; devices and pipes can be read once only */

/* show.c: print on stdout and delete. */
void cli_print_json(struct cJSON *object);
/* As JSON with --json, else by `print` (NULL: a "key value" line a leaf). Deletes the object; NULL
 * is a failure. */
int cli_show(const cli_args *a, struct cJSON *object,
             void (*print)(const cli_args *a, const struct cJSON *o));
/* Text of the library, parsed; it is freed and set to NULL. */
struct cJSON *cli_json_take(char **json);
double cli_json_number(const struct cJSON *o, const char *key); /* 0 without */

int cmd_generate(const cli_args *a); /* generate, animate */
int cmd_extend(const cli_args *a);
int cmd_encode(const cli_args *a);
int cmd_decode(const cli_args *a);
int cmd_tokens(const cli_args *a);
int cmd_train(const cli_args *a);
int cmd_assemble(const cli_args *a);
int cmd_convert(const cli_args *a);
int cmd_info(const cli_args *a);
int cmd_probe(const cli_args *a);
int cmd_metadata(const cli_args *a);
int cmd_bench(const cli_args *a);
int cmd_world(const cli_args *a);
int cmd_serve(const cli_args *a);
int cmd_eval(const cli_args *a);
int cmd_eval_world(const cli_args *a);

#endif
