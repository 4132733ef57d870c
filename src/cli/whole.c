/* Files that appear whole or not at all. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/cli/cli.h"

static int refuse(const char *path, int why)
{
    fprintf(stderr, "reelm: %s: cannot be written: %s\n", path, strerror(why));
    return EXIT_IO;
}

int cli_whole_open(cli_whole *w, const char *path)
{
    *w = (cli_whole){.path = path};
    if (!strcmp(path, "-")) {
        w->file = stdout;
        return EXIT_DONE;
    }
    if (cli_is_regular(path) && snprintf(w->part, sizeof w->part, "%s.tmp.%ld", path,
                                         (long)getpid()) >= (int)sizeof w->part)
        return refuse(path, ENAMETOOLONG);
    w->file = fopen(*w->part ? w->part : path, "wb");
    return w->file ? EXIT_DONE : refuse(path, errno);
}

int cli_whole_commit(cli_whole *w)
{
    int failed = ferror(w->file) ? EIO : 0;
    if (fflush(w->file))
        failed = errno;
    if (!failed && *w->part && fsync(fileno(w->file)))
        failed = errno;
    if (w->file != stdout && fclose(w->file) && !failed)
        failed = errno;
    if (!failed && *w->part && rename(w->part, w->path))
        failed = errno;
    if (failed && *w->part)
        remove(w->part);
    return failed ? refuse(w->path, failed) : EXIT_DONE;
}

void cli_whole_abort(cli_whole *w)
{
    if (w->file != stdout)
        fclose(w->file);
    if (*w->part)
        remove(w->part);
}
