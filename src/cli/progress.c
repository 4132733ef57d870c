/* How far it is: a line that rewrites itself on terminals, a plain line every ten seconds elsewhere
 * when asked for, or one JSON object a line. Always on stderr. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/cli/cli.h"
#include "src/reelm_train.h"

static const double TERMINAL_S = 0.1, FILE_S = 10, JSON_S = 0.5;

double cli_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void cli_progress_begin(cli_progress *p, const cli_args *a)
{
    const char *how = a->progress ? a->progress : "auto";
    bool terminal = isatty(STDERR_FILENO);
    *p = (cli_progress){.stage = -1};
    if (!strcmp(how, "json"))
        p->show = CLI_PROGRESS_JSON;
    else if (!strcmp(how, "on") || (!strcmp(how, "auto") && !a->quiet))
        p->show = terminal ? CLI_PROGRESS_LINE : CLI_PROGRESS_FILE;
    p->last = p->show == CLI_PROGRESS_FILE ? cli_now() : 0; /* what is short stays silent */
}

int cli_progress_step(void *progress, const rlm_progress *step)
{
    static const char *names[] = {"prompt", "sample", "decode", "measure", "search"};
    cli_progress *p = progress;
    double now = cli_now();
    double wait = p->show == CLI_PROGRESS_JSON   ? JSON_S
                  : p->show == CLI_PROGRESS_FILE ? FILE_S
                                                 : TERMINAL_S;
    bool due = now - p->last > wait;
    if (p->show != CLI_PROGRESS_FILE)
        due |= step->done == step->total || step->stage != p->stage;
    if (!p->show || !due)
        return cli_interrupted();
    p->last = now;
    p->stage = step->stage;
    const char *name = step->stage >= 0 && step->stage < 5 ? names[step->stage] : "work";
    const char *unit = step->stage == RLM_STAGE_DECODE    ? "frames"
                       : step->stage == RLM_STAGE_MEASURE ? "files"
                       : step->stage == RLM_STAGE_SEARCH  ? "code frames"
                                                          : "tok";
    double rate = step->elapsed_s > 0 ? (double)step->done / step->elapsed_s : 0;
    if (p->show == CLI_PROGRESS_JSON)
        fprintf(stderr,
                "{\"stage\":\"%s\",\"done\":%lld,\"total\":%lld,\"per_s\":%.1f,\"elapsed_s\":%.2f,"
                "\"eta_s\":%.2f}\n",
                name, (long long)step->done, (long long)step->total, rate, step->elapsed_s,
                step->eta_s);
    else
        fprintf(stderr, "%s[%s] %lld/%lld %s  %.0f %s/s  %.1f s  ETA %.1f s%s",
                p->show == CLI_PROGRESS_LINE ? "\r\033[K" : "", name, (long long)step->done,
                (long long)step->total, unit, rate, unit, step->elapsed_s, step->eta_s,
                p->show == CLI_PROGRESS_LINE ? "" : "\n");
    fflush(stderr);
    return cli_interrupted();
}

void cli_progress_end(cli_progress *p)
{
    if (p->show == CLI_PROGRESS_LINE && p->last > 0)
        fputs("\r\033[K", stderr);
}
