/* Many clips from one command: lines of a prompts file, each --batch-count times. A line is a
 * prompt, or a JSON object of options by their long names: {"prompt": "...", "seed": 3}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <cjson/cJSON.h>

#include "src/cli/job.h"

enum { LINES_LIMIT = 100000 };

static uint64_t random_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)(cli_now() * 1e9);
    return seed & 0x7fffffff; /* short enough to type again */
}

static int add_line(cli_batch *b, char *line, int number)
{
    size_t n = strlen(line);
    while (n && strchr(" \t\r", line[n - 1]))
        line[--n] = 0;
    line += strspn(line, " \t");
    if (!*line || *line == '#')
        return 0;
    cJSON *o = NULL;
    if (*line == '{' && !cJSON_IsObject(o = cJSON_Parse(line))) {
        cJSON_Delete(o);
        fprintf(stderr, "reelm: %s:%d: is neither a prompt nor a JSON object\n",
                b->args->prompts_file, number);
        return EXIT_DATA;
    }
    b->object[b->lines] = o;
    b->line[b->lines] = line;
    b->number[b->lines++] = number;
    return 0;
}

static int split(cli_batch *b)
{
    int most = 1, number = 0, code = 0;
    for (const char *p = b->text; *p; p++)
        most += *p == '\n';
    if (most > LINES_LIMIT)
        return cli_usage("%s: %d lines, at most %d are read", b->args->prompts_file, most,
                         LINES_LIMIT);
    b->object = calloc((size_t)most, sizeof *b->object);
    b->line = calloc((size_t)most, sizeof *b->line);
    b->number = calloc((size_t)most, sizeof *b->number);
    if (!b->object || !b->line || !b->number)
        return EXIT_MEMORY;
    for (char *line = b->text, *next; line && !code; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        code = add_line(b, line, ++number);
    }
    if (!code && !b->lines) {
        fprintf(stderr, "reelm: %s: holds no prompt\n", b->args->prompts_file);
        code = EXIT_DATA;
    }
    return code;
}

int cli_batch_open(cli_batch *b, const cli_args *a)
{
    *b = (cli_batch){.args = a, .lines = 0};
    b->seed = a->seed >= 0 ? (uint64_t)a->seed : random_seed();
    if (!a->prompts_file)
        return 0;
    int from = cli_from(a, "prompt"), other = cli_from(a, "prompt-file");
    if ((from > other ? from : other) >= cli_from(a, "prompts-file"))
        return cli_usage("%s: --prompts-file brings the prompts; leave --prompt out", a->verb_name);
    int code = cli_read_text(a->prompts_file, &b->text);
    return code ? code : split(b);
}

int cli_batch_count(const cli_batch *b)
{
    return (b->args->prompts_file ? b->lines : 1) * (int)b->args->batch_count;
}

/* Options of the whole batch, not of one clip: the model is opened once. */
static bool is_shared(const char *name)
{
    static const char *const names[] = {
        "model",         "threads", "cpu-mask", "max-memory",   "weights",     "cache-type",
        "deterministic", "dry-run", "json",     "prompts-file", "batch-count", "from-metadata",
        "help",          "quiet",   "verbose",  "progress",     "config-file", "print-config"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

static int override(cli_args *item, const cJSON *field, const char *path, int number)
{
    char label[CLI_PATH_ROOM], name[64], text[40];
    size_t n = strlen(field->string);
    if (n >= sizeof name)
        return cli_usage("%s:%d: there is no option of %zu letters", path, number, n);
    for (size_t i = 0; i <= n; i++)
        name[i] = field->string[i] == '_' ? '-' : field->string[i];
    const cli_option *o = cli_find(name, n, item->verb);
    if (!o) {
        const char *near = cli_nearest_option(name, item->verb);
        return cli_usage("%s:%d: there is no option '%s'%s%s%s", path, number, field->string,
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    if (is_shared(o->name))
        return cli_usage("%s:%d: '%s' holds for the whole batch: give it as --%s", path, number,
                         name, o->name);
    const char *value = cJSON_GetStringValue(field);
    if (cJSON_IsNumber(field)) {
        snprintf(text, sizeof text, "%.17g", field->valuedouble);
        /* a text is meant as written */
        value = o->kind == INTEGER || o->kind == NUMBER || o->kind == FLAG ? text : NULL;
    } else if (cJSON_IsBool(field)) {
        value = cJSON_IsTrue(field) ? "yes" : "no";
    }
    if (!value)
        return cli_usage("%s:%d: the value of '%s' is neither text, number nor truth", path, number,
                         field->string);
    snprintf(label, sizeof label, "%s:%d: %s", path, number, o->name);
    if (!strcmp(o->name, "init-img")) /* instead of the one for all */
        item->input_count = 0;
    return cli_store(item, o, value, label, CLI_FROM_LINE);
}

int cli_batch_item(const cli_batch *b, int i, cli_args *item)
{
    const cli_args *a = b->args;
    int copies = (int)a->batch_count, line = i / copies, code = 0;
    *item = *a;
    item->seed = -1;
    if (a->prompts_file && b->object[line]) {
        const cJSON *field;
        cJSON_ArrayForEach(field, b->object[line]) if (!code) code =
            override(item, field, a->prompts_file, b->number[line]);
        if (!code)
            code = cli_settle(item);
    } else if (a->prompts_file) {
        item->prompt = b->line[line];
        item->prompt_file = NULL;
    }
    int64_t tries = item->best_of; /* seeds of one clip */
    item->seed = item->seed >= 0 ? item->seed + i % copies * tries
                                 : (int64_t)(b->seed + (uint64_t)(i * tries));
    return code;
}

void cli_batch_close(cli_batch *b)
{
    for (int i = 0; i < b->lines; i++)
        cJSON_Delete(b->object[i]);
    free(b->object);
    free(b->line);
    free(b->number);
    free(b->text);
    *b = (cli_batch){0};
}
