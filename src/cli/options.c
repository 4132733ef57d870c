#include "src/cli/options.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/cli.h"

typedef struct verb_row {
    unsigned bit;
    const char *name, *arguments, *summary;
    int min_inputs, max_inputs;
} verb_row;

static const verb_row verbs[] = {
    {CLI_GENERATE, "generate", "[-p PROMPT] [-o FILE]", "text (and an image) to video with sound",
     0, 1},
    {CLI_ANIMATE, "animate", "IMAGE [-p PROMPT] [-o FILE]", "bring a still image to life", 0, 1},
    {CLI_EXTEND, "extend", "VIDEO --seconds S [-o FILE]", "continue a video", 0, 1},
    {CLI_ENCODE, "encode", "MEDIA -o FILE.rtok", "media file to token file", 1, 1},
    {CLI_DECODE, "decode", "FILE.rtok -o MEDIA", "token file to media file", 1, 1},
    {CLI_TOKENS, "tokens", "FILE.rtok...", "inspect, cut and join token files", 1, CLI_MAX_INPUTS},
    {CLI_TRAIN, "train", "video|audio|lm|text --data DIR --out RUN", "train or fine-tune, resume",
     1, 1},
    {CLI_ASSEMBLE, "assemble", "MODEL_DIR... -o MODEL_DIR", "join the parts that training made", 1,
     CLI_MAX_INPUTS},
    {CLI_WORLD, "world", "[--seed S] [--count N] -o DIR", "playground clips with all that is known",
     0, 0},
    {CLI_INFO, "info", "", "what the model is and which kernels serve it", 0, 0},
    {CLI_PROBE, "probe", "MEDIA", "what a media file holds", 1, 1},
    {CLI_BENCH, "bench", "", "measured speed of kernels and steps", 0, 0},
};
enum { VERBS = sizeof verbs / sizeof verbs[0] };

typedef enum { STRING, INTEGER, NUMBER, FLAG, LIST } option_kind;

typedef struct option_row {
    const char *name, *alias; /* long names */
    char letter;
    option_kind kind;
    size_t at; /* offset in cli_args */
    unsigned verbs;
    double min, max;
    const char *arg, *help;
} option_row;

#define AT(field) offsetof(cli_args, field)

enum {
    MAKES = CLI_GENERATE | CLI_ANIMATE | CLI_EXTEND,
    MODELS = MAKES | CLI_ENCODE | CLI_DECODE | CLI_INFO | CLI_BENCH | CLI_TRAIN,
    WRITES = MAKES | CLI_ENCODE | CLI_DECODE | CLI_TOKENS | CLI_ASSEMBLE,
    SHAPED = MAKES | CLI_WORLD,
    ALL = ~0u
};

static const option_row rows[] = {
    {"prompt", NULL, 'p', STRING, AT(prompt), MAKES, 0, 0, "TEXT", "what to show and to hear"},
    {"prompt-file", NULL, 0, STRING, AT(prompt_file), MAKES, 0, 0, "FILE",
     "read the prompt from a file ('-': stdin)"},
    {"negative-prompt", NULL, 'n', STRING, AT(negative), MAKES, 0, 0, "TEXT",
     "what guidance leads away from"},
    {"output", NULL, 'o', STRING, AT(output), WRITES, 0, 0, "FILE",
     "mp4 webm mkv gif y4m png wav flac ('-': stdout)"},
    {"output", NULL, 'o', STRING, AT(output), CLI_WORLD, 0, 0, "DIR",
     "folder to fill, or the sheet"},
    {"format", NULL, 0, STRING, AT(format), SHAPED | CLI_DECODE, 0, 0, "NAME",
     "container when the name does not tell"},
    {"model", NULL, 'm', STRING, AT(model), MODELS, 0, 0, "DIR",
     "model directory (default: the bundled one)"},
    {"init-img", NULL, 'i', STRING, AT(init_img), CLI_GENERATE | CLI_ANIMATE, 0, 0, "FILE",
     "first frame"},
    {"init-video", NULL, 0, STRING, AT(init_video), CLI_EXTEND, 0, 0, "FILE", "video to continue"},
    {"width", NULL, 'W', INTEGER, AT(width), SHAPED, 16, 1024, "PX", "picture width (128)"},
    {"height", NULL, 'H', INTEGER, AT(height), SHAPED, 16, 1024, "PX", "picture height (128)"},
    {"size", NULL, 0, STRING, AT(size), SHAPED, 0, 0, "WxH", "both at once"},
    {"frames", "video-frames", 0, INTEGER, AT(frames), MAKES, 1, 256, "N", "frames (17)"},
    {"fps", NULL, 0, NUMBER, AT(fps), SHAPED, 1, 120, "N", "frames a second (8)"},
    {"frames", NULL, 0, INTEGER, AT(frames), CLI_WORLD, 1, 4096, "N", "frames (17)"},
    {"seconds", "duration", 0, NUMBER, AT(seconds), SHAPED, 0.01, 600, "S",
     "length instead of --frames; for extend: what to add"},
    {"seed", NULL, 's', INTEGER, AT(seed), MAKES | CLI_TRAIN, -1, 9e15, "N",
     "same seed, same clip; -1: random, printed (-1)"},
    {"seed", NULL, 's', INTEGER, AT(seed), CLI_WORLD, 0, 9e15, "N", "first of the seeds (0)"},
    {"count", NULL, 'c', INTEGER, AT(count), CLI_WORLD, 1, 1e7, "N", "clips, seeds counted up (1)"},
    {"style", NULL, 0, STRING, AT(style), CLI_WORLD, 0, 0, "NAME",
     "photo, cartoon, pencil, neon; else the seed's own"},
    {"split", NULL, 0, STRING, AT(split), CLI_WORLD, 0, 0, "NAME",
     "train, validation, test: seeds count within that part"},
    {"sheet", NULL, 0, FLAG, AT(sheet), CLI_WORLD, 0, 0, NULL,
     "one picture of all clips with captions, to -o FILE.png"},
    {"no-truth", NULL, 0, FLAG, AT(no_truth), CLI_WORLD, 0, 0, NULL,
     "leave depth, flow and mask out"},
    {"temp", "temperature", 0, NUMBER, AT(temp), MAKES, 0, 10, "T",
     "sampling temperature of the picture, 0: greedy"},
    {"audio-temp", NULL, 0, NUMBER, AT(audio_temp), MAKES, 0, 10, "T", "the same for the sound"},
    {"top-k", NULL, 0, INTEGER, AT(top_k), MAKES, 0, 1 << 18, "N", "keep the N likeliest; 0: all"},
    {"top-p", NULL, 0, NUMBER, AT(top_p), MAKES, 0.01, 1, "P",
     "keep the likeliest that sum to P; 1: all"},
    {"min-p", NULL, 0, NUMBER, AT(min_p), MAKES, 0, 1, "P",
     "drop what is less likely than P of the likeliest; 0: nothing"},
    {"cfg-scale", "guidance-scale", 0, NUMBER, AT(cfg_scale), MAKES, 0, 30, "S",
     "how strongly the prompt leads; 1: off"},
    {"batch-count", NULL, 'b', INTEGER, AT(batch_count), CLI_GENERATE | CLI_ANIMATE, 1, 1000, "N",
     "that many clips, seeds counted up, outputs numbered"},
    {"no-audio", NULL, 0, FLAG, AT(no_audio), SHAPED | CLI_ENCODE | CLI_DECODE, 0, 0, NULL,
     "leave the sound out"},
    {"no-video", NULL, 0, FLAG, AT(no_video), CLI_ENCODE | CLI_DECODE, 0, 0, NULL,
     "leave the picture out"},
    {"no-metadata", NULL, 0, FLAG, AT(no_metadata), MAKES | CLI_DECODE, 0, 0, NULL,
     "do not embed the settings in the output"},
    {"save-tokens", NULL, 0, STRING, AT(save_tokens), MAKES, 0, 0, "FILE",
     "keep the token file there"},
    {"start", NULL, 0, NUMBER, AT(start), CLI_ENCODE, 0, 1e6, "S", "skip that much of the input"},
    {"cut", NULL, 0, STRING, AT(cut), CLI_TOKENS, 0, 0, "A:B", "code frames A to B-1 to --output"},
    {"config", NULL, 0, STRING, AT(config), CLI_TRAIN, 0, 0, "FILE",
     "network and recipe as JSON (assets/configs)"},
    {"data", NULL, 0, LIST, AT(data), CLI_TRAIN, 0, 0, "DIR",
     "folder of media and captions; may be repeated"},
    {"out", NULL, 0, STRING, AT(out), CLI_TRAIN, 0, 0, "DIR", "run directory"},
    {"resume", NULL, 0, FLAG, AT(resume), CLI_TRAIN, 0, 0, NULL,
     "continue from the last checkpoint in --out"},
    {"init", NULL, 0, STRING, AT(init), CLI_TRAIN, 0, 0, "PATH", "weights to start from"},
    {"steps", NULL, 0, INTEGER, AT(steps), CLI_TRAIN, 1, 1e12, "N", "optimiser steps"},
    {"max-seconds", NULL, 0, NUMBER, AT(max_seconds), CLI_TRAIN, 1, 1e9, "S",
     "stop with a checkpoint after that time"},
    {"batch", NULL, 0, INTEGER, AT(batch), CLI_TRAIN, 1, 4096, "N", "samples a step"},
    {"lr", NULL, 0, NUMBER, AT(lr), CLI_TRAIN, 1e-9, 10, "R", "peak learning rate"},
    {"checkpoint-every", NULL, 0, INTEGER, AT(checkpoint_every), CLI_TRAIN, 1, 1e9, "N", "steps"},
    {"sample-every", NULL, 0, INTEGER, AT(sample_every), CLI_TRAIN, 1, 1e9, "N", "steps"},
    {"validate-every", NULL, 0, INTEGER, AT(validate_every), CLI_TRAIN, 1, 1e9, "N", "steps"},
    {"playground", NULL, 0, NUMBER, AT(playground), CLI_TRAIN, 0, 1, "SHARE",
     "share of samples from the procedural world"},
    {"quick", NULL, 0, FLAG, AT(quick), CLI_BENCH, 0, 0, NULL, "a few seconds instead of minutes"},
    {"threads", NULL, 't', INTEGER, AT(threads), MODELS | CLI_WORLD, 0, 1024, "N",
     "0: every core (0)"},
    {"cpu-mask", NULL, 0, STRING, AT(cpu_mask), MODELS, 0, 0, "LEVEL",
     "highest kernels allowed: ref blas dnn avx2 avx512 amx"},
    {"deterministic", NULL, 0, FLAG, AT(deterministic), MODELS, 0, 0, NULL,
     "the same result for any number of threads"},
    {"dry-run", NULL, 0, FLAG, AT(dry_run), MAKES, 0, 0, NULL,
     "say what would be made, make nothing"},
    {"json", NULL, 0, FLAG, AT(json), ALL, 0, 0, NULL, "one JSON object on stdout"},
    {"progress", NULL, 0, FLAG, AT(progress), ALL, 0, 0, NULL,
     "progress even if not on a terminal"},
    {"verbose", NULL, 'v', FLAG, AT(verbose), ALL, 0, 0, NULL, "say more"},
    {"quiet", NULL, 'q', FLAG, AT(quiet), ALL, 0, 0, NULL, "errors only"},
    {"help", NULL, 'h', FLAG, AT(help), ALL, 0, 0, NULL, "this text"},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static void args_defaults(cli_args *a)
{
    memset(a, 0, sizeof *a);
    a->seed = -1;
    a->temp = a->audio_temp = a->top_p = a->min_p = a->cfg_scale =
        -1; /* negative: the model's default */
    a->top_k = -1;
    a->batch_count = 1;
    a->count = 1;
    a->playground = -1;
}

/* Levenshtein distance, names up to 31 letters. */
static int edit_distance(const char *a, const char *b)
{
    int la = (int)strnlen(a, 31), lb = (int)strnlen(b, 31), d[32][32];
    for (int i = 0; i <= la; i++)
        for (int j = 0; j <= lb; j++) {
            if (!i || !j) {
                d[i][j] = i + j;
                continue;
            }
            int swap = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            int other = 1 + (d[i - 1][j] < d[i][j - 1] ? d[i - 1][j] : d[i][j - 1]);
            d[i][j] = swap < other ? swap : other;
        }
    return d[la][lb];
}

const char *cli_nearest_verb(const char *name)
{
    const char *best = NULL;
    int least = 4;
    for (int i = 0; i < VERBS; i++) {
        int d = edit_distance(name, verbs[i].name);
        if (d < least) {
            least = d;
            best = verbs[i].name;
        }
    }
    return best;
}

static int unknown_option(const cli_args *a, const char *name, size_t length)
{
    char text[32];
    snprintf(text, sizeof text, "%.*s", (int)(length < 31 ? length : 31), name);
    const char *best = NULL;
    int least = 4;
    for (int i = 0; i < ROWS; i++) {
        int d = edit_distance(text, rows[i].name);
        if ((rows[i].verbs & a->verb) && d < least) {
            least = d;
            best = rows[i].name;
        }
    }
    if (best)
        return cli_usage("%s: unknown option --%s; did you mean --%s?", a->verb_name, text, best);
    return cli_usage("%s: unknown option --%s; see reelm %s --help", a->verb_name, text,
                     a->verb_name);
}

static const option_row *find_long(const char *name, size_t length, unsigned verb)
{
    for (int i = 0; i < ROWS; i++) {
        const option_row *r = &rows[i];
        if (!(r->verbs & verb))
            continue;
        if ((strlen(r->name) == length && !strncmp(r->name, name, length)) ||
            (r->alias && strlen(r->alias) == length && !strncmp(r->alias, name, length)))
            return r;
    }
    return NULL;
}

static const option_row *find_letter(char c, unsigned verb)
{
    for (int i = 0; i < ROWS; i++)
        if (rows[i].letter == c && (rows[i].verbs & verb))
            return &rows[i];
    return NULL;
}

static int store_number(const option_row *r, const char *value, void *at)
{
    char *end;
    errno = 0;
    double v = strtod(value, &end);
    if (end == value || *end || errno || !isfinite(v))
        return cli_usage("--%s: '%s' is not a number", r->name, value);
    if (v < r->min || v > r->max)
        return cli_usage("--%s: %s is outside %g to %g", r->name, value, r->min, r->max);
    if (r->kind == NUMBER) {
        *(double *)at = v;
    } else {
        if (v != floor(v))
            return cli_usage("--%s: '%s' is not a whole number", r->name, value);
        *(int64_t *)at = strtoll(value, NULL, 10);
    }
    return 0;
}

static int store(cli_args *a, const option_row *r, const char *value)
{
    void *at = (char *)a + r->at;
    switch (r->kind) {
    case FLAG:
        if (value)
            return cli_usage("--%s takes no value, got '%s'", r->name, value);
        *(int *)at = 1;
        return 0;
    case STRING:
        *(const char **)at = value;
        return 0;
    case LIST:
        if (a->data_count == CLI_MAX_DATA)
            return cli_usage("--%s: at most %d", r->name, CLI_MAX_DATA);
        a->data[a->data_count++] = value;
        return 0;
    default:
        return store_number(r, value, at);
    }
}

/* One argument that starts with '-'; *i moves on when a value was taken from the next one. */
static int parse_option(cli_args *a, int argc, char **argv, int *i)
{
    const char *arg = argv[*i], *value = NULL;
    const option_row *r;
    if (arg[1] == '-') {
        const char *name = arg + 2, *equal = strchr(name, '=');
        size_t length = equal ? (size_t)(equal - name) : strlen(name);
        r = find_long(name, length, a->verb);
        if (!r)
            return unknown_option(a, name, length);
        value = equal ? equal + 1 : NULL;
    } else {
        r = find_letter(arg[1], a->verb);
        if (!r)
            return cli_usage("%s: unknown option -%c; see reelm %s --help", a->verb_name, arg[1],
                             a->verb_name);
        if (arg[2])
            value = arg + 2 + (arg[2] == '=');
    }
    if (r->kind != FLAG && !value) {
        if (*i + 1 >= argc)
            return cli_usage("--%s needs a value (%s)", r->name, r->arg);
        value = argv[++*i];
    }
    return store(a, r, value);
}

static int parse_size(cli_args *a)
{
    int w, h, used = 0;
    if (!a->size)
        return 0;
    if (sscanf(a->size, "%dx%d%n", &w, &h, &used) != 2 || a->size[used])
        return cli_usage("--size: '%s' is not WxH, e.g. 128x224", a->size);
    if (w < 16 || h < 16 || w > 1024 || h > 1024)
        return cli_usage("--size: %s is outside 16x16 to 1024x1024", a->size);
    a->width = w;
    a->height = h;
    return 0;
}

int cli_parse(cli_args *a, int argc, char **argv)
{
    const verb_row *verb = NULL;
    args_defaults(a);
    for (int i = 0; i < VERBS; i++)
        if (!strcmp(argv[1], verbs[i].name))
            verb = &verbs[i];
    if (!verb) {
        const char *near = cli_nearest_verb(argv[1]);
        if (near)
            return cli_usage("unknown verb '%s'; did you mean '%s'?", argv[1], near);
        return cli_usage("unknown verb '%s'; see reelm --help", argv[1]);
    }
    a->verb = verb->bit;
    a->verb_name = verb->name;
    bool only_inputs = false;
    for (int i = 2; i < argc; i++) {
        int code = 0;
        if (!only_inputs && !strcmp(argv[i], "--"))
            only_inputs = true;
        else if (!only_inputs && argv[i][0] == '-' && argv[i][1])
            code = parse_option(a, argc, argv, &i);
        else if (a->input_count == verb->max_inputs)
            code = cli_usage("%s: '%s' is one argument too many", verb->name, argv[i]);
        else
            a->inputs[a->input_count++] = argv[i];
        if (code)
            return code;
    }
    if (!a->help && a->input_count < verb->min_inputs)
        return cli_usage("usage: reelm %s %s", verb->name, verb->arguments);
    return parse_size(a);
}

static void help_row(const option_row *r)
{
    char left[48];
    int n = r->letter ? snprintf(left, sizeof left, "-%c, --%s", r->letter, r->name)
                      : snprintf(left, sizeof left, "    --%s", r->name);
    if (r->arg)
        snprintf(left + n, sizeof left - (size_t)n, " %s", r->arg);
    printf("  %-28s %s\n", left, r->help);
}

void cli_help(unsigned verb)
{
    if (!verb) {
        printf("reelm " RLM_VERSION ": text, images, video and sound in; video with sound out\n\n"
               "usage: reelm VERB [options]\n\n");
        for (int i = 0; i < VERBS; i++)
            printf("  %-10s %s\n", verbs[i].name, verbs[i].summary);
        printf("\nreelm VERB --help lists the options of a verb.\n"
               "exit codes: 0 ok, 1 failure, 2 usage, 3 data, 4 model, 5 memory, 6 I/O, "
               "130 interrupted\n");
        return;
    }
    for (int i = 0; i < VERBS; i++)
        if (verbs[i].bit == verb)
            printf("usage: reelm %s %s\n%s\n\n", verbs[i].name, verbs[i].arguments,
                   verbs[i].summary);
    for (int i = 0; i < ROWS; i++)
        if (rows[i].verbs & verb)
            help_row(&rows[i]);
}
