/* What can be known of a job's files before anything is read or sampled: no output is one of the
 * inputs, and all can be written. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "src/cli/job.h"

enum { INPUTS_MOST = 8 + 2 * CLI_MAX_LIST, PICTURES_MOST = 4096 };

/* The first `length` bytes of path. */
typedef struct named {
    const char *path;
    int length;
} named;

/* ---- No output is an input ------------------------------------------------------------------- */

static int add(named *to, int n, const char *path, const char *end)
{
    if (path)
        to[n] = (named){path, end ? (int)(end - path) : (int)strlen(path)};
    return n + (path != NULL);
}

static int list_inputs(const cli_args *a, named *to)
{
    const char *const single[] = {
        a->init_img,     a->init_video,   a->input_count ? a->inputs[0] : NULL,
        a->end_img,      a->mask,         a->prompt_file,
        a->prompts_file, a->from_metadata};
    int n = 0;
    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++)
        n = add(to, n, single[i], NULL);
    for (int i = 0; i < a->keyframes.count; i++)
        n = add(to, n, a->keyframes.items[i], strrchr(a->keyframes.items[i], '@'));
    for (int i = 0; i < a->control_files.count; i++) {
        const char *equal = strchr(a->control_files.items[i], '=');
        n = add(to, n, equal ? equal + 1 : NULL, NULL);
    }
    return n;
}

bool cli_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && S_ISREG(x.st_mode) && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

/* what: how to call the file that would be written. */
static int not_an_input(const cli_args *a, const char *what, const char *path)
{
    named inputs[INPUTS_MOST];
    char name[CLI_PATH_ROOM];
    struct stat st;
    if (!strcmp(path, "-") || stat(path, &st))
        return 0;
    int count = list_inputs(a, inputs);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%.*s", inputs[i].length, inputs[i].path);
        if (cli_same_file(path, name))
            return cli_usage("%s: %s is the same file as the input %s; give another name", what,
                             path, name);
    }
    return 0;
}

/* ---- Names of pictures ----------------------------------------------------------------------- */

static bool is_png(const cli_job *j)
{
    size_t n = strlen(j->output);
    return j->args->format ? !strcasecmp(j->args->format, "png")
                           : n > 4 && !strcasecmp(j->output + n - 4, ".png");
}

/* None of the pictures of a sequence is an input. */
static int check_sequence(const cli_job *j)
{
    char name[CLI_PATH_ROOM];
    int code = 0;
    for (int i = 0; i < PICTURES_MOST && !code; i++) {
        if (rlm_media_sequence(j->output, i, name, sizeof name) != 1)
            break;
        code = not_an_input(j->args, "--output", name);
    }
    return code;
}

/* ---- What can be written --------------------------------------------------------------------- */

int cli_check_place(const char *path)
{
    rlm_error err = {0};
    rlm_write_options w = {.format = "mp4"};
    return rlm_media_writable(path, &w, NULL, &err) ? cli_error(&err) : 0;
}

static int check_output(const cli_job *j, const rlm_clip *shape)
{
    rlm_error err = {0};
    rlm_write_options w = {.format = j->args->format};
    return rlm_media_writable(j->output, &w, shape, &err) ? cli_error(&err) : 0;
}

bool cli_job_holds_sound(const cli_job *j)
{
    rlm_clip sound = {.audio.count = 1};
    rlm_write_options w = {.format = j->args->format};
    return !rlm_media_writable(j->output, &w, &sound, NULL);
}

int cli_job_check_files(const cli_job *j)
{
    const cli_args *a = j->args;
    rlm_error err = {0};
    int code = not_an_input(a, "--output", j->output);
    if (!code && a->resume_tokens && cli_same_file(j->output, a->resume_tokens))
        code = cli_usage("--output: %s is the file to go on from; give another name", j->output);
    if (!code && a->save_tokens)
        code = not_an_input(a, "--save-tokens", j->tokens);
    if (!code && a->save_tokens && !strcmp(j->tokens, j->output))
        code = cli_usage("--save-tokens and --output: %s cannot be both", j->output);
    if (!code && a->preview_path)
        code = not_an_input(a, "--preview-path", a->preview_path);
    if (!code)
        code = check_output(j, NULL);
    if (!code && is_png(j))
        code = check_sequence(j);
    if (!code && a->save_tokens)
        code = cli_check_place(j->tokens);
    if (!code && a->preview_path && rlm_media_writable(a->preview_path, NULL, NULL, &err))
        code = cli_error(&err);
    return code;
}

/* Pictures that will be made; of an extension, those behind the first of its source. */
static int pictures_of(const cli_job *j)
{
    switch (j->args->verb) {
    case CLI_EXTEND:
        return 2 + (int)(j->args->seconds * j->request.fps_num / j->request.fps_den);
    case CLI_EDIT:
    case CLI_SOUND:
        return j->condition.video.count;
    default:
        return j->request.frames;
    }
}

int cli_job_check_shape(const cli_job *j)
{
    rlm_clip shape = {.video.count = pictures_of(j), .audio.count = j->request.audio};
    return check_output(j, &shape);
}
