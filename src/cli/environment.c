/* What no flag says: environment variables REELM_NAME, then an INI file of long option names.
 *
 *   threads = 2              # for every verb that has the option
 *   [generate]               # for this verb only
 *   cfg-scale = 3 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/cli.h"

enum { MOST_BYTES = 1 << 16, PATH_ROOM = 4096 };

/* These would make no sense as a standing wish. */
static bool is_momentary(const cli_option *o)
{
    static const char *const names[] = {"help", "print-config", "config-file"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(o->name, names[i]))
            return true;
    return false;
}

int cli_parse_environment(cli_args *a)
{
    int count, code = 0;
    const cli_option *o = cli_options(&count);
    for (int i = 0; i < count && !code; i++) {
        char name[64];
        if (!o[i].name || !(o[i].verbs & a->verb) || a->from[i] || is_momentary(&o[i]))
            continue;
        cli_environment_name(&o[i], name, sizeof name);
        const char *value = getenv(name);
        if (value && *value)
            code = cli_store(a, &o[i], value, name, CLI_FROM_ENVIRONMENT);
    }
    return code;
}

/* The file that is read: named by flag or environment, or the person's own when there is one. */
static const char *config_path(const cli_args *a, char *room, bool *must_exist)
{
    const char *named = a->config_file ? a->config_file : getenv("REELM_CONFIG_FILE");
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    *must_exist = named != NULL;
    if (named)
        return *named ? named : NULL; /* "": none */
    if (base && *base)
        snprintf(room, PATH_ROOM, "%s/reelm/config.ini", base);
    else if (home && *home)
        snprintf(room, PATH_ROOM, "%s/.config/reelm/config.ini", home);
    else
        return NULL;
    return room;
}

static char *trim(char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    for (size_t n = strlen(s); n && isspace((unsigned char)s[n - 1]);)
        s[--n] = 0;
    return s;
}

/* One line; *section: verbs it speaks to. Text after the value belongs to it: '#' starts a comment
 * only at the start of a line, so that prompts may hold one. */
static int parse_line(cli_args *a, char *line, const char *path, int number, unsigned *section)
{
    char label[PATH_ROOM + 128];
    int count;
    char *text = trim(line), *equal = strchr(text, '='), *end = text + strlen(text);
    if (!*text || *text == '#' || *text == ';')
        return 0;
    if (*text == '[' && end[-1] == ']') {
        end[-1] = 0;
        const cli_verb *verb = cli_find_verb(trim(text + 1));
        *section = verb ? verb->bit : 0;
        return verb ? 0 : cli_usage("%s:%d: there is no verb '%s'", path, number, text + 1);
    }
    if (!equal)
        return cli_usage("%s:%d: '%s' is neither NAME = VALUE nor [VERB]", path, number, text);
    *equal = 0;
    char *name = trim(text), *value = trim(equal + 1);
    const cli_option *any = cli_find(name, strlen(name), *section);
    if (!any) {
        const char *near = cli_nearest_option(name, *section);
        return cli_usage("%s:%d: there is no option '%s'%s%s%s", path, number, name,
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    const cli_option *o = cli_find(name, strlen(name), *section & a->verb);
    if (!o || is_momentary(o))
        return 0;
    uint8_t from = a->from[o - cli_options(&count)];
    if (from > CLI_FROM_FILE)
        return 0;
    snprintf(label, sizeof label, "%s:%d: %s", path, number, o->name);
    return cli_store(a, o, value, label, CLI_FROM_FILE);
}

int cli_parse_file(cli_args *a)
{
    static char text[MOST_BYTES + 1]; /* values stay where they were read */
    char room[PATH_ROOM];
    bool must_exist;
    unsigned section = ~0u;
    const char *path = config_path(a, room, &must_exist);
    FILE *f = path ? fopen(path, "rb") : NULL;
    if (!f) {
        if (!path || (!must_exist && (errno == ENOENT || errno == ENOTDIR || errno == EACCES)))
            return 0;
        fprintf(stderr, "reelm: %s: %s\n", path, strerror(errno));
        return EXIT_IO;
    }
    size_t n = fread(text, 1, MOST_BYTES + 1, f);
    int failed = ferror(f);
    fclose(f);
    if (failed) {
        fprintf(stderr, "reelm: %s: cannot be read\n", path);
        return EXIT_IO;
    }
    if (n > MOST_BYTES || memchr(text, 0, n))
        return cli_usage("%s: is no configuration file (text of at most %d bytes)", path,
                         MOST_BYTES);
    text[n] = 0;
    int number = 0, code = 0;
    for (char *line = text, *next; line && !code; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        code = parse_line(a, line, path, ++number, &section);
    }
    return code;
}

static void print_value(const cli_args *a, const cli_option *o)
{
    const void *at = (const char *)a + o->at;
    const char *text;
    const cli_list *list;
    switch (o->kind) {
    case FLAG:
        printf("%s = %s", o->name, *(const int *)at ? "yes" : "no");
        break;
    case INTEGER:
        printf("%s = %lld", o->name, (long long)*(const int64_t *)at);
        break;
    case NUMBER:
        printf("%s = %.12g", o->name, *(const double *)at);
        break;
    case LIST:
        list = at;
        for (int i = 0; i < list->count; i++)
            printf("%s%s = %s", i ? "\n" : "", o->name, list->items[i]);
        break;
    default:
        text = *(const char *const *)at;
        printf("%s = %s", o->name, text ? text : "");
    }
}

/* What holds where nothing was said, as help has it; else it is left to the verb. */
static void print_default(const cli_option *o)
{
    size_t n = strlen(o->help);
    const char *open = n && o->help[n - 1] == ')' ? strrchr(o->help, '(') : NULL;
    if (open)
        printf("# %s = %.*s\n", o->name, (int)(o->help + n - 2 - open), open + 1);
    else
        printf(o->kind == FLAG ? "# %s = no\n" : "# %s is not set\n", o->name);
}

void cli_print_config(const cli_args *a)
{
    static const char *const sources[] = {"default",  "file", "environment",
                                          "metadata", "flag", "line"};
    int count;
    const cli_option *o = cli_options(&count);
    printf("[%s]\n", a->verb_name);
    for (int i = 0; i < count; i++) {
        if (!o[i].name || !(o[i].verbs & a->verb) || is_momentary(&o[i]))
            continue;
        if (a->from[i] == CLI_FROM_DEFAULT) {
            print_default(&o[i]);
            continue;
        }
        printf("# %s\n", sources[a->from[i]]);
        print_value(a, &o[i]);
        putchar('\n');
    }
}
