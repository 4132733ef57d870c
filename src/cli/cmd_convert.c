/* convert: a model directory with other weights. */
#include <stdio.h>
#include <sys/stat.h>

#include "src/cli/cli.h"

int cmd_convert(const cli_args *a)
{
    rlm_error err = {0};
    struct stat there;
    const char *weights = a->weights || a->decoders ? a->weights : "int8";
    if (!a->output)
        return cli_usage("convert: --output is missing: the directory to write");
    if (!stat(a->output, &there))
        return cli_usage("--output: %s exists already", a->output);
    if (rlm_convert(a->inputs[0], a->output, weights, a->decoders, &err))
        return cli_error(&err);
    if (!a->quiet && weights)
        printf("%s: %s weights\n", a->output, weights);
    if (!a->quiet && a->decoders)
        printf("%s: decoders in %s\n", a->output, a->decoders);
    return EXIT_DONE;
}
