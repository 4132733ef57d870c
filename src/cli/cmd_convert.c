/* convert: a model directory with other weights. */
#include <stdio.h>
#include <sys/stat.h>

#include "src/cli/cli.h"

static void say_kept(const cli_args *a, const char *what, const char *wish)
{
    if (!a->quiet)
        fprintf(stderr, "reelm: %s: its %s are %s already, copied as they are\n", a->inputs[0],
                what, wish);
}

static int interrupted(void)
{
    return cli_interrupted();
}

int cmd_convert(const cli_args *a)
{
    rlm_error err = {0};
    struct stat there;
    unsigned kept = 0;
    const char *weights = a->weights || a->decoders ? a->weights : "int8";
    if (!a->output)
        return cli_usage("convert: --output is missing: the directory to write");
    if (!stat(a->output, &there))
        return cli_usage("--output: %s exists already", a->output);
    cli_catch_interrupt();
    if (rlm_convert(a->inputs[0], a->output, weights, a->decoders, interrupted, &kept, &err))
        return cli_error(&err);
    if (kept & RLM_KEPT_WEIGHTS)
        say_kept(a, "weights", weights);
    if (kept & RLM_KEPT_DECODERS)
        say_kept(a, "decoders", a->decoders);
    if (!a->quiet && weights)
        printf("%s: %s weights\n", a->output, weights);
    if (!a->quiet && a->decoders)
        printf("%s: decoders in %s\n", a->output, a->decoders);
    return EXIT_DONE;
}
