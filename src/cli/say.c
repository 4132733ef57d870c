/* What goes wrong, on stderr, and the exit code for it; texts read with the same manners. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/cli.h"

enum { TEXT_LIMIT = 16 << 20 };

int cli_error(const rlm_error *err)
{
    fprintf(stderr, "reelm: %s%s\n", err->text[0] ? err->text : rlm_error_name(err->code),
            err->code == RLM_E_LIMIT ? " (--max-memory 0 tries nevertheless)" : "");
    switch (err->code) {
    case RLM_E_ARG:
    case RLM_E_RANGE:
        return EXIT_USAGE;
    case RLM_E_FORMAT:
    case RLM_E_VERSION:
    case RLM_E_MEDIA:
    case RLM_E_TOKENS:
        return EXIT_DATA;
    case RLM_E_MODEL:
        return EXIT_MODEL;
    case RLM_E_NOMEM:
    case RLM_E_LIMIT:
        return EXIT_MEMORY;
    case RLM_E_IO:
        return EXIT_IO;
    case RLM_E_CANCELLED:
        return EXIT_INTERRUPTED;
    default:
        return EXIT_FAIL;
    }
}

int cli_usage(const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    fputs("reelm: ", stderr);
    vfprintf(stderr, fmt, list);
    fputc('\n', stderr);
    va_end(list);
    return EXIT_USAGE;
}

int cli_read_text(const char *path, char **out)
{
    FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
    if (!f) {
        fprintf(stderr, "reelm: %s: %s\n", path, strerror(errno));
        return EXIT_IO;
    }
    char *text = malloc(TEXT_LIMIT + 2);
    size_t n = text ? fread(text, 1, TEXT_LIMIT + 1, f) : 0;
    int failed = ferror(f);
    if (f != stdin)
        fclose(f);
    if (!text || failed || n > TEXT_LIMIT || memchr(text, 0, n)) {
        fprintf(stderr, "reelm: %s: %s\n", path,
                !text    ? "no memory to read it"
                : failed ? "cannot be read"
                         : "is no text of at most 16 MiB");
        int code = !text ? EXIT_MEMORY : failed ? EXIT_IO : EXIT_DATA;
        free(text);
        return code;
    }
    text[n] = 0;
    *out = text;
    return 0;
}
