/* convert: a model directory with other weights. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>

#include "src/cli/cli.h"

enum { HEADER_MOST = 16 << 20, PATH_ROOM = 4096 };

/* The JSON at the start of a safetensors file, behind its length; NULL: cannot be read, which the
 * library then says. */
static cJSON *read_header(const char *dir, const char *part)
{
    char path[PATH_ROOM], *text = NULL;
    uint8_t size[8];
    uint64_t n = 0;
    if (snprintf(path, sizeof path, "%s/%s.safetensors", dir, part) >= (int)sizeof path)
        return NULL;
    FILE *f = cli_is_regular(path) ? fopen(path, "rb") : NULL;
    if (f && fread(size, 1, sizeof size, f) == sizeof size)
        for (int i = 7; i >= 0; i--)
            n = n << 8 | size[i];
    if (n && n <= HEADER_MOST)
        text = malloc((size_t)n);
    cJSON *o =
        text && fread(text, 1, (size_t)n, f) == n ? cJSON_ParseWithLength(text, (size_t)n) : NULL;
    free(text);
    if (f)
        fclose(f);
    return o;
}

/* How a part's matrices are stored: "q4", "int8", "f32", "bf16", or "" where that is unknown. The
 * scales of int8 are F32, and the heads of q4 int8, so the first type found here decides. */
static const char *stored_as(const char *dir, const char *part)
{
    static const char *const types[][2] = {
        {"U8", "q4"}, {"I8", "int8"}, {"F32", "f32"}, {"BF16", "bf16"}};
    const char *found = "";
    cJSON *o = read_header(dir, part);
    const cJSON *tensor;
    for (size_t i = 0; i < sizeof types / sizeof types[0] && !*found; i++)
        cJSON_ArrayForEach(tensor, o)
        {
            const char *type = cJSON_GetStringValue(cJSON_GetObjectItem(tensor, "dtype"));
            if (type && !strcmp(type, types[i][0]))
                found = types[i][1];
        }
    cJSON_Delete(o);
    return found;
}

/* Copied rather than rounded once more; said unless quiet. */
static bool is_there_already(const cli_args *a, const char *what, const char *wish, bool same)
{
    if (same && !a->quiet)
        fprintf(stderr, "reelm: %s: its %s are %s already, copied as they are\n", a->inputs[0],
                what, wish);
    return same;
}

int cmd_convert(const cli_args *a)
{
    rlm_error err = {0};
    struct stat there;
    const char *from = a->inputs[0], *decoders = a->decoders;
    const char *weights = a->weights || a->decoders ? a->weights : "int8";
    if (!a->output)
        return cli_usage("convert: --output is missing: the directory to write");
    if (!stat(a->output, &there))
        return cli_usage("--output: %s exists already", a->output);
    bool plain =
        weights && is_there_already(a, "weights", weights, !strcmp(stored_as(from, "lm"), weights));
    bool light = decoders && is_there_already(a, "decoders", decoders,
                                              !strcmp(stored_as(from, "video"), decoders) &&
                                                  !strcmp(stored_as(from, "audio"), decoders));
    if (rlm_convert(from, a->output, plain ? NULL : weights, light ? NULL : decoders, &err))
        return cli_error(&err);
    if (!a->quiet && weights)
        printf("%s: %s weights\n", a->output, weights);
    if (!a->quiet && decoders)
        printf("%s: decoders in %s\n", a->output, decoders);
    return EXIT_DONE;
}
