/* A folder of a test program's own, and paths in it. */
#ifndef RLM_TESTS_FOLDER_H
#define RLM_TESTS_FOLDER_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[64];

/* Below TMPDIR, or /tmp. false after saying why. */
static inline bool folder_open(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/reelm-test-XXXXXX",
             tmp && *tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    if (mkdtemp(folder))
        return true;
    perror(folder);
    return false;
}

/* Valid until 64 other names were asked for. */
static inline const char *in_folder(const char *name)
{
    static char paths[64][256];
    static int next;
    char wanted[sizeof paths[0]];
    snprintf(wanted, sizeof wanted, "%s/%s", folder, name);
    for (int i = 0; i < 64; i++)
        if (!strcmp(paths[i], wanted))
            return paths[i];
    return strcpy(paths[next++ % 64], wanted);
}

static inline void folder_close(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command))
        fprintf(stderr, "%s is left behind\n", folder);
}

#endif
