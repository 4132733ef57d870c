/* What the tables say, three ways: help, the manual page (roff), completion for bash. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "src/cli/cli.h"

enum { LEFT = 32, RIGHT = 100 };

static const char exit_codes[] =
    "0 ok, 1 failure, 2 usage, 3 data, 4 model, 5 memory, 6 I/O, 130 interrupted, 143 terminated";

/* Words of `text` from column `at` on, broken before RIGHT, further lines indented by LEFT. */
static void put_wrapped(const char *text, int at)
{
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (at > LEFT && at + n + 1 > RIGHT) {
            printf("\n%*s", LEFT, "");
            at = LEFT;
        }
        printf("%s%.*s", at > LEFT ? " " : "", n, text);
        at += n + (at > LEFT);
        text += n + (text[n] == ' ');
    }
    putchar('\n');
}

static void help_row(const cli_option *o)
{
    char left[160];
    int n = o->letter ? snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name)
                      : snprintf(left, sizeof left, "      --%s", o->name);
    if (o->arg && n < (int)sizeof left)
        n +=
            snprintf(left + n, sizeof left - (size_t)n, o->kind == MAYBE ? "[=%s]" : " %s", o->arg);
    printf("%-*s", LEFT, left);
    if (n >= LEFT)
        printf("\n%*s", LEFT, "");
    put_wrapped(o->help, LEFT);
}

static void help_overview(void)
{
    int count;
    const cli_verb *v = cli_verbs(&count);
    printf("reelm " RLM_VERSION ": text, images, video and sound in; video with sound out\n\n"
           "usage: reelm VERB [options]\n\n");
    for (int i = 0; i < count; i++)
        printf("  %-10s %s\n", v[i].name, v[i].summary);
    printf(
        "\nreelm VERB --help lists the options of a verb. Each is also read from the environment "
        "as\nREELM_NAME and from $XDG_CONFIG_HOME/reelm/config.ini. reelm --version names the "
        "build.\nexit codes: %s\n",
        exit_codes);
}

/* Call back for each option of the verbs; headline: of its group, at the first one, else NULL. */
static void walk(unsigned verbs, void (*row)(const cli_option *o, const char *headline))
{
    int count;
    const cli_option *o = cli_options(&count);
    const char *headline = NULL;
    for (int i = 0; i < count; i++) {
        if (!o[i].name)
            headline = o[i].help;
        else if (o[i].verbs & verbs) {
            row(&o[i], headline);
            headline = NULL;
        }
    }
}

static void help_walked(const cli_option *o, const char *headline)
{
    if (headline)
        printf("\n%s\n", headline);
    help_row(o);
}

void cli_help(unsigned verb)
{
    int count;
    const cli_verb *v = cli_verbs(&count);
    if (!verb) {
        help_overview();
        return;
    }
    for (int i = 0; i < count; i++)
        if (v[i].bit == verb)
            printf("usage: reelm %s %s\n%s\n", v[i].name, v[i].arguments, v[i].summary);
    walk(verb, help_walked);
}

/* ---- The manual page ------------------------------------------------------------------------- */

static void roff(const char *text)
{
    int at_start = 1;
    for (const char *p = text; *p; p++) {
        if (at_start && (*p == '.' || *p == '\''))
            fputs("\\&", stdout);
        if (*p == '-' || *p == '\\')
            fputs(*p == '-' ? "\\-" : "\\e", stdout);
        else
            putchar(*p);
        at_start = *p == '\n';
    }
}

/* Names of the verbs that have the option, unless all have it. */
static void roff_verbs(const cli_option *o)
{
    int count, have = 0;
    const cli_verb *v = cli_verbs(&count);
    for (int i = 0; i < count; i++)
        have += (o->verbs & v[i].bit) != 0;
    if (have == count)
        return;
    fputs(" (", stdout);
    for (int i = 0, put = 0; i < count; i++)
        if (o->verbs & v[i].bit)
            printf("%s%s", put++ ? ", " : "", v[i].name);
    putchar(')');
}

static void roff_row(const cli_option *o, const char *headline)
{
    if (headline) {
        fputs(".SS ", stdout);
        roff(headline);
        putchar('\n');
    }
    fputs(".TP\n", stdout);
    if (o->letter)
        printf("\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", stdout);
    roff(o->name);
    fputs("\\fR", stdout);
    if (o->alias) {
        fputs(", \\fB\\-\\-", stdout);
        roff(o->alias);
        fputs("\\fR", stdout);
    }
    if (o->arg) {
        fputs(o->kind == MAYBE ? "[=\\fI" : " \\fI", stdout);
        roff(o->arg);
        fputs(o->kind == MAYBE ? "\\fR]" : "\\fR", stdout);
    }
    putchar('\n');
    roff(o->help);
    roff_verbs(o);
    putchar('\n');
}

static const char manual_end[] =
    ".SH CONFIGURATION\n"
    "A value comes from the first of these that has one: the command line, the environment "
    "variable\n"
    "\\fBREELM_\\fINAME\\fR (the long option in capitals, \\- as _: \\fBREELM_CFG_SCALE\\fR), the "
    "file\nnamed by \\fB\\-\\-config\\-file\\fR or \\fBREELM_CONFIG_FILE\\fR (else\n"
    "\\fI$XDG_CONFIG_HOME/reelm/config.ini\\fR or \\fI~/.config/reelm/config.ini\\fR), the model, "
    "the\nprogram. The file holds lines \\fIoption\\fR = \\fIvalue\\fR (flags: yes or no) for "
    "every "
    "verb that has the\noption, or for one verb below a line [\\fIverb\\fR]; # starts a comment.\n"
    "\\fB\\-\\-print\\-config\\fR shows what holds and where it comes from.\n"
    ".SH FILES\n"
    "\\- is stdin or stdout wherever a file is named; named pipes work as well.\n"
    ".TP\n\\fI$prefix/share/reelm/models/default\\fR\nthe bundled model\n"
    ".TP\n\\fIFILE.rtok\\fR\ntoken file: what generation makes before it decodes; it survives a "
    "failure later on\n"
    ".SH SIGNALS\n"
    "The first SIGINT or SIGTERM ends after the token in progress, and what is finished is "
    "written; "
    "a\nsecond one ends at once.\n"
    ".SH EXIT STATUS\n"
    "0 done; 1 failure; 2 usage; 3 input data or media; 4 model; 5 memory or a limit; 6 input or\n"
    "output; 130 interrupted; 143 terminated. Every error is one line on stderr.\n"
    ".SH EXAMPLES\n.nf\n"
    "reelm generate \\-p \"a red ball bounces on grass\" \\-o out.mp4\n"
    "reelm extend clip.mp4 \\-\\-seconds 4 \\-o longer.mp4\n"
    "reelm encode clip.mp4 \\-o clip.rtok && reelm decode clip.rtok \\-o back.mp4\n"
    "reelm generate \\-o \\- \\-\\-format mkv | ffmpeg \\-i \\- out.gif\n.fi\n"
    ".SH SEE ALSO\n\\fBreelm\\fR(3), \\fBffmpeg\\fR(1)\n";

int cmd_manual(const cli_args *a)
{
    int count;
    const cli_verb *v = cli_verbs(&count);
    (void)a;
    printf(".TH REELM 1 \"\" \"reelm " RLM_VERSION "\" \"User Commands\"\n.SH NAME\n"
           "reelm \\- text, images, video and sound in; video with sound out\n.SH SYNOPSIS\n"
           "\\fBreelm\\fR \\fIVERB\\fR [\\fIoptions\\fR]\n.SH DESCRIPTION\n"
           "Tokenizers turn video and sound into codes, a language model continues the codes, and "
           "decoders\nturn them back into video with sound, on ordinary CPUs.\n.SH VERBS\n");
    for (int i = 0; i < count; i++) {
        printf(".TP\n\\fB%s\\fR ", v[i].name);
        roff(v[i].arguments);
        putchar('\n');
        roff(v[i].summary);
        putchar('\n');
    }
    printf(".SH OPTIONS\nWhat a verb takes is named behind each option; \\fBreelm\\fR \\fIVERB\\fR "
           "\\fB\\-\\-help\\fR lists them by verb.\n\\fB\\-\\-name value\\fR and "
           "\\fB\\-\\-name=value\\fR are the same.\n");
    walk(~0u, roff_row);
    fputs(manual_end, stdout);
    return EXIT_DONE;
}

/* ---- Completion ------------------------------------------------------------------------------ */

static const char bash_functions[] =
    "# bash completion for reelm, from its option table: reelm completion bash\n"
    "_reelm() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} "
    "verb=${COMP_WORDS[1]}\n"
    "    [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD-2]}\n"
    "    [[ $cur == = ]] && cur=\n"
    "    COMPREPLY=()\n"
    "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
    "        COMPREPLY=($(compgen -W \"$(_reelm_verbs) --help --version\" -- \"$cur\"))\n"
    "        return\n"
    "    fi\n"
    "    case $verb:$prev in\n";

static void bash_option(const cli_verb *v, const cli_option *o)
{
    const char *name = o->arg ? o->arg : "";
    if (o->kind == CHOICE || o->kind == MAYBE) {
        printf("    %s:--%s) COMPREPLY=($(compgen -W \"", v->name, o->name);
        for (const char *p = name; *p; p++)
            putchar(*p == '|' ? ' ' : *p);
        puts("\" -- \"$cur\")); return ;;");
    } else if (!strcmp(name, "DIR")) {
        printf("    %s:--%s) COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n", v->name, o->name);
    } else if (o->kind != FLAG) {
        printf("    %s:--%s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", v->name, o->name);
    }
}

static void bash_words(const cli_verb *v)
{
    int rows;
    const cli_option *o = cli_options(&rows);
    printf("    %s) words=\"", v->name);
    for (int k = 0; k < rows; k++)
        if (o[k].name && (o[k].verbs & v->bit))
            printf("--%s ", o[k].name);
    puts("\" ;;");
}

/* A verb whose first argument is one of some words: "video|audio DIR". */
static void bash_kinds(const cli_verb *v)
{
    size_t n = strcspn(v->arguments, " ");
    if (!memchr(v->arguments, '|', n) && v->bit != CLI_COMPLETION)
        return;
    printf("    elif [[ $verb == %s && $COMP_CWORD -eq 2 ]]; then\n"
           "        COMPREPLY=($(compgen -W \"",
           v->name);
    for (size_t i = 0; i < n; i++)
        putchar(v->arguments[i] == '|' ? ' ' : v->arguments[i]);
    puts("\" -- \"$cur\"))");
}

int cmd_completion(const cli_args *a)
{
    int count, rows;
    const cli_verb *v = cli_verbs(&count);
    const cli_option *o = cli_options(&rows);
    if (strcmp(a->inputs[0], "bash"))
        return cli_usage("completion: '%s' is no shell it knows; known is bash", a->inputs[0]);
    fputs("_reelm_verbs() { echo \"", stdout);
    for (int i = 0; i < count; i++)
        printf("%s%s", i ? " " : "", v[i].name);
    printf("\"; }\n%s", bash_functions);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < rows; k++)
            if (o[k].name && (o[k].verbs & v[i].bit))
                bash_option(&v[i], &o[k]);
    puts("    esac\n    local words=\n    case $verb in");
    for (int i = 0; i < count; i++)
        bash_words(&v[i]);
    puts("    esac\n    if [[ $cur == -* ]]; then\n"
         "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))");
    for (int i = 0; i < count; i++)
        bash_kinds(&v[i]);
    puts("    else\n"
         "        COMPREPLY=($(compgen -f -- \"$cur\"))\n    fi\n}\n"
         "complete -o filenames -F _reelm reelm");
    return EXIT_DONE;
}
