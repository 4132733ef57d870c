/* train video|audio|lm|text|judge, assemble, bench. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "src/cli/cli.h"
#include "src/reelm_train.h"

enum { WHATS = RLM_TRAIN_JUDGE + 1 };

static void log_line(void *cookie, int level, const char *text)
{
    const cli_args *a = cookie;
    if (level <= (a->quiet ? 0 : a->verbose ? 3 : 2))
        fprintf(stderr, "reelm: %s\n", text);
}

/* A terminal sees one line that rewrites itself; a file one line at most every ten seconds. */
static int progress_line(void *cookie, const char *line)
{
    static double last;
    const cli_args *a = cookie;
    bool terminal = isatty(STDERR_FILENO);
    double now = cli_now();
    if (!a->quiet && (terminal || now - last > 10)) {
        fprintf(stderr, terminal ? "\r\033[K%s" : "%s\n", line);
        fflush(stderr);
        last = now;
    }
    return cli_interrupted();
}

static void fill_options(const cli_args *a, rlm_train_options *o)
{
    o->config = a->config;
    o->data = a->data.items;
    o->data_count = a->data.count;
    o->run_dir = a->out;
    o->model_dir = cli_model_dir(a);
    o->init = a->init;
    o->resume = a->resume;
    o->steps = a->steps;
    o->max_seconds = a->max_seconds;
    o->batch = (int)a->batch;
    o->lr = a->lr;
    if (a->seed >= 0)
        o->seed = (uint64_t)a->seed;
    o->checkpoint_every = (int)a->checkpoint_every;
    o->sample_every = (int)a->sample_every;
    o->validate_every = (int)a->validate_every;
    o->threads = (int)a->threads;
    o->cpu_mask = a->cpu_mask;
    o->deterministic = a->deterministic;
    o->playground = a->playground;
    o->perceptual = a->perceptual;
    o->dump = a->dump;
    o->log = log_line;
    o->log_cookie = (void *)a;
    o->progress = progress_line;
    o->progress_cookie = (void *)a;
}

int cmd_train(const cli_args *a)
{
    static const char *names[] = {"video", "audio", "lm", "text", "judge"};
    int what = 0;
    while (what < WHATS && strcmp(a->inputs[0], names[what]))
        what++;
    if (what == WHATS)
        return cli_usage("train: '%s' is none of video, audio, lm, text, judge", a->inputs[0]);
    if (!a->out)
        return cli_usage("train: --out DIR is missing");
    if (!a->data.count && a->playground != 1 && what < RLM_TRAIN_TEXT)
        return cli_usage("train: --data DIR is missing");
    if (a->dump && what != RLM_TRAIN_LM)
        return cli_usage("train %s: --dump is for lm", a->inputs[0]);
    rlm_train_options o;
    rlm_error err = {0};
    rlm_train_defaults(&o, what);
    fill_options(a, &o);
    cli_catch_interrupt();
    int code = rlm_train(&o, &err);
    if (isatty(STDERR_FILENO) && !a->quiet)
        fputc('\n', stderr);
    if (code)
        return cli_error(&err);
    if (a->json) {
        cJSON *out = cJSON_CreateObject();
        cJSON_AddStringToObject(out, "run", a->out);
        cJSON_AddBoolToObject(out, "interrupted", cli_interrupted());
        cli_print_json(out);
    }
    return cli_interrupted() ? EXIT_INTERRUPTED : EXIT_DONE;
}

int cmd_assemble(const cli_args *a)
{
    rlm_error err = {0};
    if (!a->output)
        return cli_usage("assemble: -o MODEL_DIR is missing");
    if (rlm_model_assemble(a->inputs, a->input_count, a->output, &err))
        return cli_error(&err);
    if (!a->quiet)
        printf("%s: put together from %d folders\n", a->output, a->input_count);
    return EXIT_DONE;
}

static void write_text(void *cookie, const char *text)
{
    fputs(text, cookie);
    fflush(cookie);
}

int cmd_bench(const cli_args *a)
{
    rlm_options o;
    rlm_error err = {0};
    rlm_bench_options wish = {.json = a->json,
                              .quick = a->quick,
                              .words = a->inputs,
                              .word_count = a->input_count,
                              .write = write_text,
                              .write_cookie = stdout};
    cli_library_options(a, &o);
    return rlm_bench(cli_model_dir(a), &o, &wish, &err) ? cli_error(&err) : EXIT_DONE;
}
