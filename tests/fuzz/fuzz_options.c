/* The command line: a line an argument. What starts with '[' or '#' is a configuration
 * file instead, and what starts with '{' the settings of an earlier run, both for `generate`. */
#include "tests/fuzz/fuzz.h"

#include <stdarg.h>

#include <cjson/cJSON.h>

#include "src/cli/inputs.c" /* for the words that its options hold */

enum { ARGUMENTS = 40 };

/* options.c names the verbs; nothing is run here. */
#define VERB(name)                                                                                 \
    int name(const cli_args *a)                                                                    \
    {                                                                                              \
        return a != NULL;                                                                          \
    }
VERB(cmd_assemble)
VERB(cmd_bench)
VERB(cmd_completion)
VERB(cmd_convert)
VERB(cmd_decode)
VERB(cmd_encode)
VERB(cmd_eval)
VERB(cmd_extend)
VERB(cmd_generate)
VERB(cmd_info)
VERB(cmd_manual)
VERB(cmd_metadata)
VERB(cmd_probe)
VERB(cmd_serve)
VERB(cmd_tokens)
VERB(cmd_train)
VERB(cmd_world)

int cli_error(const rlm_error *err)
{
    FUZZ_CHECK(err->text[0]);
    return EXIT_FAIL;
}

int cli_job_condition(cli_job *j, const char *path, int max_frames, rlm_error *err)
{
    return j && path && max_frames && err ? EXIT_FAIL : EXIT_DONE;
}

bool cli_is_regular(const char *path)
{
    return *path != 0;
}

int cli_usage(const char *fmt, ...)
{
    char text[8192];
    va_list list;
    va_start(list, fmt);
    int n = vsnprintf(text, sizeof text, fmt, list);
    va_end(list);
    FUZZ_CHECK(n > 0);
    return EXIT_USAGE;
}

static void check(cli_args *a)
{
    int count;
    const cli_option *o = cli_options(&count);
    for (int i = 0; i < count; i++) {
        const void *at = (const char *)a + o[i].at;
        if (!o[i].name || !a->from[i])
            continue;
        if (o[i].kind == INTEGER)
            FUZZ_CHECK(*(const int64_t *)at >= o[i].min && *(const int64_t *)at <= o[i].max);
        if (o[i].kind == NUMBER)
            FUZZ_CHECK(*(const double *)at >= o[i].min && *(const double *)at <= o[i].max);
        if (o[i].kind == FLAG)
            FUZZ_CHECK(*(const int *)at == 0 || *(const int *)at == 1);
        if (o[i].kind == LIST)
            FUZZ_CHECK(((const cli_list *)at)->count <= CLI_MAX_LIST);
    }
    rlm_box box;
    int borders[4] = {0};
    for (int i = 0; i < a->mask_boxes.count; i++)
        parse_box(a->mask_boxes.items[i], &box);
    parse_borders(a->outpaint, borders);
}

/* Settings as an earlier run left them beside its output. */
static void recall_settings(cli_args *a, const uint8_t *data, size_t size)
{
    char *argv[3] = {(char *)"reelm", (char *)"generate", NULL};
    if (cli_parse(a, 2, argv))
        return;
    a->from_metadata = fuzz_put("settings.json", data, size);
    cJSON *saved;
    if (!cli_settings_recall(a, &saved))
        check(a);
    cJSON_Delete(saved);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static cli_args a;
    char *argv[ARGUMENTS + 1] = {(char *)"reelm"}, *text = fuzz_text(data, size), option[128];
    int argc = 1;
    setenv("REELM_CONFIG_FILE", "", 1);
    if (*text == '[' || *text == '#') {
        snprintf(option, sizeof option, "--config-file=%s", fuzz_file(data, size));
        argv[argc++] = (char *)"generate";
        argv[argc++] = option;
    } else if (*text == '{') {
        recall_settings(&a, data, size);
        free(text);
        return 0;
    } else {
        for (char *line = text; line && argc < ARGUMENTS;) {
            argv[argc++] = line;
            line = strchr(line, '\n');
            if (line)
                *line++ = 0;
        }
    }
    if (!cli_parse(&a, argc, argv))
        check(&a);
    free(text);
    return 0;
}
