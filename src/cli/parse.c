/* argv -> cli_args by the rows of options.c; nearest names for what is misspelt. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/cli.h"

enum { MOST_LETTERS = 31, NEAR = 4 };

/* Slips between two names of up to 31 letters: letters wrong, missing, too many, or two swapped. */
static int edit_distance(const char *a, const char *b)
{
    int la = (int)strnlen(a, MOST_LETTERS), lb = (int)strnlen(b, MOST_LETTERS);
    int d[MOST_LETTERS + 1][MOST_LETTERS + 1];
    for (int i = 0; i <= la; i++)
        for (int j = 0; j <= lb; j++) {
            if (!i || !j) {
                d[i][j] = i + j;
                continue;
            }
            int swap = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            int other = 1 + (d[i - 1][j] < d[i][j - 1] ? d[i - 1][j] : d[i][j - 1]);
            d[i][j] = swap < other ? swap : other;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < d[i][j])
                d[i][j] = d[i - 2][j - 2] + 1;
        }
    return d[la][lb];
}

/* Remember `name` in *best when it is nearer to `wish` than *least. At least half the letters must
 * be right; a beginning counts as one slip. */
static void nearer(const char *name, const char *wish, int *least, const char **best)
{
    if (!name || !*wish)
        return;
    int d = strncmp(name, wish, strlen(wish)) ? edit_distance(wish, name) : 1;
    if (d < *least && 2 * d <= (int)strlen(wish)) {
        *least = d;
        *best = name;
    }
}

static const char *nearest_verb(const char *name)
{
    int count, least = NEAR;
    const cli_verb *v = cli_verbs(&count);
    const char *best = NULL;
    for (int i = 0; i < count; i++)
        nearer(v[i].name, name, &least, &best);
    return best;
}

const char *cli_nearest_option(const char *name, unsigned verbs)
{
    int count, least = NEAR;
    const cli_option *o = cli_options(&count);
    const char *best = NULL;
    for (int i = 0; i < count; i++)
        if (o[i].name && (o[i].verbs & verbs)) {
            nearer(o[i].name, name, &least, &best);
            nearer(o[i].alias, name, &least, &best);
        }
    return best;
}

/* Say which verb has the option, or which name is near. */
static int unknown_option(const cli_args *a, const char *name, size_t length)
{
    char text[MOST_LETTERS + 1];
    int count;
    snprintf(text, sizeof text, "%.*s", (int)(length < MOST_LETTERS ? length : MOST_LETTERS), name);
    const cli_option *other = cli_find(name, length, ~0u);
    const cli_verb *v = cli_verbs(&count);
    for (int i = 0; other && i < count; i++)
        if (other->verbs & v[i].bit)
            return cli_usage("%s: has no option --%s; it belongs to %s", a->verb_name, text,
                             v[i].name);
    const char *best = cli_nearest_option(text, a->verb);
    if (best)
        return cli_usage("%s: unknown option --%s; did you mean --%s?", a->verb_name, text, best);
    return cli_usage("%s: unknown option --%s; see reelm %s --help", a->verb_name, text,
                     a->verb_name);
}

static bool is_name(const char *have, const char *name, size_t length)
{
    return have && strlen(have) == length && !strncmp(have, name, length);
}

const cli_option *cli_find(const char *name, size_t length, unsigned verbs)
{
    int count;
    const cli_option *o = cli_options(&count);
    for (int i = 0; i < count; i++)
        if (o[i].name && (o[i].verbs & verbs) &&
            (is_name(o[i].name, name, length) || is_name(o[i].alias, name, length)))
            return &o[i];
    return NULL;
}

static const cli_option *find_letter(char c, unsigned verb)
{
    int count;
    const cli_option *o = cli_options(&count);
    for (int i = 0; i < count; i++)
        if (o[i].letter == c && c && (o[i].verbs & verb))
            return &o[i];
    return NULL;
}

int cli_from(const cli_args *a, const char *name)
{
    int count;
    const cli_option *o = cli_find(name, strlen(name), a->verb);
    return o ? a->from[o - cli_options(&count)] : CLI_FROM_DEFAULT;
}

void cli_environment_name(const cli_option *o, char *to, size_t bytes)
{
    size_t n = (size_t)snprintf(to, bytes, "REELM_%s", o->name);
    for (size_t i = 0; i < n && i + 1 < bytes; i++)
        to[i] = to[i] == '-' ? '_' : (char)toupper((unsigned char)to[i]);
}

/* ---- Values ---------------------------------------------------------------------------------- */

static int store_number(const cli_option *o, const char *value, const char *label, void *at)
{
    char *end;
    errno = 0;
    double v = strtod(value, &end);
    if (end == value || *end || errno || !isfinite(v))
        return cli_usage("%s: '%s' is not a number", label, value);
    if (v < o->min || v > o->max)
        return cli_usage("%s: %s is outside %g to %g", label, value, o->min, o->max);
    if (o->kind == NUMBER) {
        *(double *)at = v;
        return 0;
    }
    if (v != floor(v))
        return cli_usage("%s: '%s' is not a whole number", label, value);
    *(int64_t *)at = (int64_t)v; /* ranges end below 2^53 */
    return 0;
}

static int store_flag(const char *value, const char *label, int *at)
{
    static const char *const words[] = {"no", "yes", "false", "true", "0", "1", "off", "on"};
    *at = 1;
    for (size_t i = 0; value && i < sizeof words / sizeof words[0]; i++)
        if (!strcmp(value, words[i])) {
            *at = (int)(i % 2);
            return 0;
        }
    return value ? cli_usage("%s takes no value, got '%s'", label, value) : 0;
}

/* value is one of the words of arg ("a|b|c"). */
static bool is_choice(const cli_option *o, const char *value)
{
    size_t n = strlen(value);
    for (const char *p = o->arg; p; p = strchr(p, '|'), p = p ? p + 1 : NULL)
        if (n && !strncmp(p, value, n) && (p[n] == '|' || !p[n]))
            return true;
    return false;
}

static int store_choice(const cli_option *o, const char *value, const char *label, const char **at)
{
    if (!value) /* only MAYBE gets here without one */
        value = "on";
    if (!is_choice(o, value)) {
        char words[256];
        size_t n = 0;
        for (const char *p = o->arg; *p && n + 3 < sizeof words; p++) {
            words[n++] = *p == '|' ? ',' : *p;
            if (*p == '|')
                words[n++] = ' ';
        }
        words[n] = 0;
        return cli_usage("%s: '%s' is none of %s", label, value, words);
    }
    *at = value;
    return 0;
}

int cli_store(cli_args *a, const cli_option *o, const char *value, const char *label, int from)
{
    int count, code = 0;
    void *at = (char *)a + o->at;
    switch (o->kind) {
    case FLAG:
        code = store_flag(value, label, at);
        break;
    case STRING:
        *(const char **)at = value;
        break;
    case LIST: {
        cli_list *list = at;
        if (a->from[o - cli_options(&count)] < from) /* a stronger source replaces */
            list->count = 0;
        if (list->count == CLI_MAX_LIST)
            return cli_usage("%s: given more than %d times", label, CLI_MAX_LIST);
        list->items[list->count++] = value;
        break;
    }
    case CHOICE:
    case MAYBE:
        code = store_choice(o, value, label, at);
        break;
    default:
        code = store_number(o, value, label, at);
    }
    a->from[o - cli_options(&count)] = (uint8_t)from;
    return code;
}

/* ---- argv ------------------------------------------------------------------------------------ */

/* -qvp TEXT: flags may share a dash; the first letter that takes a value takes the rest. */
static int parse_letters(cli_args *a, int argc, char **argv, int *i)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        char label[8];
        const char *value = NULL;
        const cli_option *o = find_letter(*p, a->verb);
        snprintf(label, sizeof label, "-%c", *p);
        if (!o)
            return cli_usage("%s: unknown option -%c; see reelm %s --help", a->verb_name, *p,
                             a->verb_name);
        if (o->kind != FLAG) {
            value = p[1] ? p + 1 + (p[1] == '=') : *i + 1 < argc ? argv[++*i] : NULL;
            if (!value)
                return cli_usage("--%s needs a value (%s)", o->name, o->arg);
            return cli_store(a, o, value, label, CLI_FROM_FLAG);
        }
        int code = cli_store(a, o, NULL, label, CLI_FROM_FLAG);
        if (code)
            return code;
    }
    return 0;
}

/* One argument that starts with '-'; *i moves on when a value was taken from the next one. */
static int parse_option(cli_args *a, int argc, char **argv, int *i)
{
    char label[64];
    const char *name = argv[*i] + 2, *equal = strchr(name, '=');
    if (argv[*i][1] != '-')
        return parse_letters(a, argc, argv, i);
    size_t length = equal ? (size_t)(equal - name) : strlen(name);
    const cli_option *o = cli_find(name, length, a->verb);
    if (!o)
        return unknown_option(a, name, length);
    const char *value = equal ? equal + 1 : NULL, *next = *i + 1 < argc ? argv[*i + 1] : NULL;
    snprintf(label, sizeof label, "--%s", o->name);
    if (!value && next && o->kind != FLAG && (o->kind != MAYBE || is_choice(o, next))) {
        value = next;
        ++*i;
    }
    if (!value && o->kind != FLAG && o->kind != MAYBE)
        return cli_usage("--%s needs a value (%s)", o->name, o->arg);
    return cli_store(a, o, value, label, CLI_FROM_FLAG);
}

static int parse_size(cli_args *a)
{
    int w, h, used = 0, from = cli_from(a, "size");
    if (!a->size)
        return 0;
    if (sscanf(a->size, "%dx%d%n", &w, &h, &used) != 2 || a->size[used])
        return cli_usage("--size: '%s' is not WxH, e.g. 128x224", a->size);
    if (w < 16 || h < 16 || w > 1024 || h > 1024)
        return cli_usage("--size: %s is outside 16x16 to 1024x1024", a->size);
    if (from == cli_from(a, "width") || from == cli_from(a, "height"))
        return cli_usage("--size and --%s both say how large; give one",
                         from == cli_from(a, "width") ? "width" : "height");
    if (from > cli_from(a, "width"))
        a->width = w;
    if (from > cli_from(a, "height"))
        a->height = h;
    return 0;
}

/* Prompts for all, one a window, one a clip: what is weaker gives way. A prompt for all stays as
 * what lines of many clips begin with. */
static void settle_prompts(cli_args *a)
{
    int one = cli_from(a, "prompt"), file = cli_from(a, "prompt-file");
    int windows = cli_from(a, "prompts"), lines = cli_from(a, "prompts-file");
    one = file > one ? file : one;
    if (one == CLI_FROM_LINE)
        return;
    if (lines < one || lines < windows)
        a->prompts_file = NULL;
    if (windows < one || windows < lines)
        a->prompts.count = 0;
    if (a->verb == CLI_EXTEND && (one < windows || one < lines))
        a->prompt = a->prompt_file = NULL;
}

/* Where two options speak of one thing the stronger source wins. */
int cli_settle(cli_args *a)
{
    int frames = cli_from(a, "frames"), seconds = cli_from(a, "seconds");
    if (a->verb != CLI_EXTEND && frames && frames == seconds)
        return cli_usage("%s: --frames and --seconds both say how long; give one", a->verb_name);
    if (seconds > frames && a->verb != CLI_EXTEND)
        a->frames = 0;
    if (frames > seconds && a->verb != CLI_EXTEND)
        a->seconds = 0;
    if (cli_from(a, "prompt") && cli_from(a, "prompt") == cli_from(a, "prompt-file"))
        return cli_usage("%s: --prompt and --prompt-file are two prompts; give one", a->verb_name);
    if (cli_from(a, "prompt") > cli_from(a, "prompt-file"))
        a->prompt_file = NULL;
    settle_prompts(a);
    return parse_size(a);
}

const cli_verb *cli_find_verb(const char *name)
{
    int count;
    const cli_verb *v = cli_verbs(&count);
    for (int i = 0; i < count; i++)
        if (!strcmp(name, v[i].name))
            return &v[i];
    return NULL;
}

int cli_parse(cli_args *a, int argc, char **argv)
{
    const cli_verb *verb = cli_find_verb(argv[1]);
    bool only_inputs = false;
    cli_args_defaults(a);
    if (!verb) {
        const char *near = nearest_verb(argv[1]);
        if (near)
            return cli_usage("unknown verb '%s'; did you mean '%s'?", argv[1], near);
        return cli_usage("unknown verb '%s'; see reelm --help", argv[1]);
    }
    a->verb = verb->bit;
    a->verb_name = verb->name;
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
    if (a->help)
        return 0;
    int code = cli_parse_environment(a);
    if (!code)
        code = cli_parse_file(a);
    if (!code)
        code = cli_settle(a);
    if (!code && !a->print_config && a->input_count < verb->min_inputs)
        return cli_usage("usage: reelm %s %s", verb->name, verb->arguments);
    return code;
}
