/* The list of a folder of clips, merged with what stood there. */
#include "src/cli/world_list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

static int refuse(const char *path)
{
    fprintf(stderr, "reelm: %s: %s\n", path, strerror(errno));
    return EXIT_IO;
}

int cli_world_list_open(cli_world_list *l, const char *dir, const char *ext, int64_t first)
{
    char part[sizeof l->path + 32];
    *l = (cli_world_list){.ext = ext, .first = first};
    if (snprintf(l->path, sizeof l->path, "%s/metadata.jsonl", dir) >= (int)sizeof l->path)
        return cli_usage("--output: the path is too long");
    if (!access(l->path, F_OK) && access(l->path, R_OK | W_OK))
        return refuse(l->path);
    snprintf(part, sizeof part, "%s.new.%ld", l->path, (long)getpid());
    l->fresh = fopen(part, "w+b");
    if (!l->fresh)
        return refuse(part);
    remove(part);
    return EXIT_DONE;
}

/* Number of the clip that a line of an older list is about; -1: none that we name so. */
static int64_t number_of(const cli_world_list *l, const char *line)
{
    char name[64];
    int64_t number = -1;
    cJSON *o = cJSON_Parse(line);
    const char *file = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "file_name"));
    if (file && sscanf(file, "%" SCNd64, &number) == 1) {
        snprintf(name, sizeof name, "%06" PRId64 ".%s", number, l->ext);
        if (strcmp(file, name))
            number = -1;
    }
    cJSON_Delete(o);
    return number;
}

/* Lines of the older list that belong before (or behind) those of this run. */
static int copy_older(const cli_world_list *l, FILE *older, bool before, FILE *to)
{
    char *line = NULL;
    size_t room = 0;
    rewind(older);
    for (ssize_t n; (n = getline(&line, &room, older)) > 0;) {
        int64_t number = number_of(l, line);
        bool replaced = number >= l->first && number < l->first + l->count;
        if (replaced || (number < l->first) != before)
            continue;
        fwrite(line, 1, (size_t)n, to);
        if (line[n - 1] != '\n')
            fputc('\n', to);
    }
    free(line);
    return ferror(older) ? refuse(l->path) : EXIT_DONE;
}

static int copy_fresh(FILE *from, FILE *to)
{
    char buffer[1 << 14];
    size_t n;
    if (fflush(from) || ferror(from))
        return EXIT_IO;
    rewind(from);
    while ((n = fread(buffer, 1, sizeof buffer, from)) > 0)
        fwrite(buffer, 1, n, to);
    return ferror(from) ? EXIT_IO : EXIT_DONE;
}

static int merge(const cli_world_list *l)
{
    cli_whole w;
    FILE *older = fopen(l->path, "rb");
    if (!older && errno != ENOENT)
        return refuse(l->path);
    int code = cli_whole_open(&w, l->path);
    bool opened = !code;
    if (!code && older)
        code = copy_older(l, older, true, w.file);
    if (!code && copy_fresh(l->fresh, w.file))
        code = refuse(l->path);
    if (!code && older)
        code = copy_older(l, older, false, w.file);
    if (older)
        fclose(older);
    if (opened && code)
        cli_whole_abort(&w);
    return code || !opened ? code : cli_whole_commit(&w);
}

int cli_world_list_close(cli_world_list *l)
{
    int code = l->count ? merge(l) : EXIT_DONE;
    fclose(l->fresh);
    return code;
}
