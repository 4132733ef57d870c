/* metadata.jsonl of a folder of clips: lines of other files in the folder stay. */
#ifndef RLM_CLI_WORLD_LIST_H
#define RLM_CLI_WORLD_LIST_H

#include <stdint.h>

#include "src/cli/cli.h"

typedef struct cli_world_list {
    FILE *fresh; /* lines of this run, one a clip; written by the caller. It has no name */
    const char *ext;
    int64_t first, count; /* of the clips so far: their file_name is NNNNNN.ext, counting up */
    char path[4096];
} cli_world_list;

/* dir, ext: borrowed; dir is there. 0, or an exit code after saying why: then there is nothing to
 * close. Nothing that was in the folder changes before close. */
int cli_world_list_open(cli_world_list *l, const char *dir, const char *ext, int64_t first);
/* Merge count lines into the list, in place of those with the same names; no line: it stays as it
 * was. Whole or not at all; exit code after saying why. */
int cli_world_list_close(cli_world_list *l);

#endif
