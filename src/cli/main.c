/* reelm: the program. Sees the public headers only. Which verb, and with what code it ends. */
#include <stdio.h>
#include <string.h>

#include "src/cli/cli.h"
#include "src/server/upload.h"

static int run(const cli_args *a)
{
    int count;
    const cli_verb *v = cli_verbs(&count);
    while (v->bit != a->verb)
        v++;
    return v->run(a);
}

/* Called at the end of every way out: what stdout lost is a failure. */
static int end(int code)
{
    bool lost = ferror(stdout);
    lost |= fflush(stdout) != 0;
    if (!lost || code != EXIT_DONE)
        return code;
    fputs("reelm: stdout: write failed\n", stderr);
    return EXIT_IO;
}

/* --help, --version and their like, which need no verb; false: argv names one. */
static bool is_about(int argc, char **argv)
{
    if (!strcmp(argv[1], "--version"))
        puts("reelm " RLM_VERSION " (" RLM_BUILD ")");
    else if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
             (!strcmp(argv[1], "help") && argc == 2))
        cli_help(0);
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    cli_args args;
    if (argc < 2)
        return cli_usage("a verb is missing; see reelm --help");
    if (is_about(argc, argv))
        return end(EXIT_DONE);
    if (!strcmp(argv[1], "help")) {
        argv[1] = argv[2]; /* reelm help VERB = reelm VERB --help */
        argv[2] = "--help";
        argc = 3;
    }
    if (!strcmp(argv[1], RLM_UPLOAD_VERB)) /* the server's own child */
        return rlm_upload_child(argc - 2, argv + 2);
    int code = cli_parse(&args, argc, argv);
    if (code)
        return code;
    if (args.help)
        cli_help(args.verb);
    else if (args.print_config)
        cli_print_config(&args);
    else
        code = run(&args);
    if (code == EXIT_INTERRUPTED && cli_terminated())
        code = EXIT_TERMINATED;
    return end(code);
}
