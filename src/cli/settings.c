/* Generation settings as one JSON object: into output files, and back into options. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/cli/job.h"

enum { SETTINGS_LIMIT = 1 << 20 };

void cli_add_float(cJSON *o, const char *key, float value)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    cJSON_AddRawToObject(o, key, text);
}

/* Name of the model's folder and the sums of its parts. */
static void add_model(cJSON *o, const cli_job *j)
{
    static const char *const parts[] = {"video", "audio", "lm"};
    char *text = NULL;
    if (!j->engine || rlm_engine_info(j->engine, &text, NULL))
        return;
    cJSON *info = cJSON_Parse(text), *model = cJSON_AddObjectToObject(o, "model");
    const char *dir = cJSON_GetStringValue(cJSON_GetObjectItem(info, "model"));
    const char *slash = dir ? strrchr(dir, '/') : NULL;
    if (dir)
        cJSON_AddStringToObject(model, "name", slash && slash[1] ? slash + 1 : dir);
    for (int i = 0; i < 3; i++) {
        const cJSON *part = cJSON_GetObjectItem(info, parts[i]);
        const char *sha = cJSON_GetStringValue(cJSON_GetObjectItem(part, "sha256"));
        if (sha)
            cJSON_AddStringToObject(model, parts[i], sha);
    }
    cJSON_Delete(info);
    rlm_string_free(&text);
}

/* What the verb's own options say; the files they name are the user's to give again. */
static void add_conditions(cJSON *o, const cli_job *j)
{
    const cli_args *a = j->args;
    if (a->backward)
        cJSON_AddBoolToObject(o, "backward", 1);
    if (a->outpaint)
        cJSON_AddStringToObject(o, "outpaint", a->outpaint);
    cJSON *boxes = a->mask_boxes.count ? cJSON_AddArrayToObject(o, "mask_boxes") : NULL;
    for (int i = 0; i < a->mask_boxes.count; i++)
        cJSON_AddItemToArray(boxes, cJSON_CreateString(a->mask_boxes.items[i]));
}

cJSON *cli_settings(const cli_job *j)
{
    const rlm_request *r = &j->request;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "schema", "reelm.settings/1");
    cJSON_AddStringToObject(o, "generator", "reelm " RLM_VERSION);
    if (!j->args->no_ai_mark)
        cJSON_AddBoolToObject(o, "ai_generated", 1);
    cJSON_AddStringToObject(o, "mode", j->args->verb_name);
    if (r->prompt)
        cJSON_AddStringToObject(o, "prompt", r->prompt);
    if (r->negative_prompt)
        cJSON_AddStringToObject(o, "negative_prompt", r->negative_prompt);
    cJSON_AddNumberToObject(o, "seed", (double)r->seed);
    cJSON_AddNumberToObject(o, "width", r->width);
    cJSON_AddNumberToObject(o, "height", r->height);
    if (j->args->verb == CLI_EXTEND)
        cJSON_AddNumberToObject(o, "seconds", j->args->seconds);
    else
        cJSON_AddNumberToObject(o, "frames", r->frames);
    cJSON_AddNumberToObject(o, "fps", (double)r->fps_num / r->fps_den);
    cJSON_AddBoolToObject(o, "audio", r->audio);
    cli_add_float(o, "temperature", r->video.temperature);
    cli_add_float(o, "audio_temperature", r->audio_sampling.temperature);
    cJSON_AddNumberToObject(o, "top_k", r->video.top_k);
    cli_add_float(o, "top_p", r->video.top_p);
    cli_add_float(o, "min_p", r->video.min_p);
    cli_add_float(o, "cfg_scale", r->cfg_scale);
    if (j->args->source)
        cJSON_AddStringToObject(o, "source", j->args->source);
    cJSON_AddBoolToObject(o, "deterministic", j->args->deterministic);
    add_conditions(o, j);
    if (j->source_sha[0])
        cJSON_AddStringToObject(o, "source_sha256", j->source_sha);
    add_model(o, j);
    return o;
}

/* ---- Reading ----------------------------------------------------------------------------------
 */

static char *whole_file(const char *path, size_t limit)
{
    FILE *f = fopen(path, "rb");
    char *text = f ? malloc(limit + 2) : NULL;
    size_t n = text ? fread(text, 1, limit + 1, f) : 0;
    if (f)
        fclose(f);
    if (text && (n == 0 || n > limit)) {
        free(text);
        return NULL;
    }
    if (text)
        text[n] = 0;
    return text;
}

/* A sidecar file: JSON text that says so. */
static char *read_sidecar(const char *path)
{
    char *text = whole_file(path, SETTINGS_LIMIT);
    cJSON *o = text && text[strspn(text, " \t\r\n")] == '{' ? cJSON_Parse(text) : NULL;
    if (!cJSON_IsObject(o)) {
        free(text);
        text = NULL;
    }
    cJSON_Delete(o);
    return text;
}

static char *take(char *library_text)
{
    char *own = library_text ? strdup(library_text) : NULL;
    rlm_string_free(&library_text);
    return own;
}

char *cli_settings_read(const char *path, int *exit_code)
{
    char beside[CLI_PATH_ROOM], *text = NULL, *found = NULL;
    rlm_error err = {0};
    rlm_clip clip = {0};
    rlm_want want;
    *exit_code = EXIT_DONE;
    bool is_stdin = !strcmp(path, "-") || !cli_is_regular(path);
    if (!is_stdin && !rlm_tokens_settings(path, &text, NULL)) {
        found = take(text);
    } else if (is_stdin || !(found = read_sidecar(path))) {
        rlm_want_defaults(&want);
        want.max_frames = 1; /* the start is enough; sound only where there is no picture */
        if (rlm_media_read(path, &want, &clip, &err)) {
            *exit_code = cli_error(&err);
            return NULL;
        }
        found = clip.metadata ? strdup(clip.metadata) : NULL;
        rlm_clip_free(&clip);
    }
    if (!found && !is_stdin && snprintf(beside, sizeof beside, "%s.json", path) > 0)
        found = read_sidecar(beside);
    if (!found) {
        fprintf(stderr, "reelm: %s: holds no settings, and %s.json is not beside it\n", path, path);
        *exit_code = EXIT_DATA;
    }
    return found;
}

/* Key of the settings -> option; false: the option is a flag that says the opposite. */
static const struct {
    const char *key, *option;
    bool negated;
} keys[] = {{"prompt", "prompt", false},
            {"negative_prompt", "negative-prompt", false},
            {"seed", "seed", false},
            {"width", "width", false},
            {"height", "height", false},
            {"frames", "frames", false},
            {"seconds", "seconds", false},
            {"fps", "fps", false},
            {"audio", "no-audio", true},
            {"temperature", "temp", false},
            {"audio_temperature", "audio-temp", false},
            {"top_k", "top-k", false},
            {"top_p", "top-p", false},
            {"min_p", "min-p", false},
            {"cfg_scale", "cfg-scale", false},
            {"source", "source", false},
            {"deterministic", "deterministic", false},
            {"backward", "backward", false},
            {"outpaint", "outpaint", false},
            {"mask_boxes", "mask-box", false}};

static int recall_one(cli_args *a, const cJSON *item, const char *option, bool negated,
                      const char *path)
{
    char label[CLI_PATH_ROOM + 64], number[40];
    const cli_option *o = cli_find(option, strlen(option), a->verb);
    const char *value = number;
    if (!o || cli_from(a, option) == CLI_FROM_FLAG)
        return 0;
    snprintf(label, sizeof label, "%s: %s", path, option);
    if (cJSON_IsArray(item)) {
        const cJSON *one;
        int code = 0;
        cJSON_ArrayForEach(one, item) if (!code && !cJSON_IsArray(one)) code =
            recall_one(a, one, option, negated, path);
        return code;
    }
    if (cJSON_IsString(item)) {
        value = strdup(item->valuestring); /* lives as long as the process, as argv does */
        if (!value)
            return EXIT_MEMORY;
    } else if (cJSON_IsBool(item)) {
        value = cJSON_IsTrue(item) != negated ? "yes" : "no";
    } else if (cJSON_IsNumber(item)) {
        snprintf(number, sizeof number, "%.17g", item->valuedouble);
    } else {
        return 0;
    }
    return cli_store(a, o, value, label, CLI_FROM_METADATA);
}

static int recall(cli_args *a, const char *path, const char *option)
{
    int code = 0;
    char *text = cli_settings_read(path, &code);
    cJSON *o = text ? cJSON_Parse(text) : NULL;
    free(text);
    if (code)
        return code;
    const char *mode = cJSON_GetStringValue(cJSON_GetObjectItem(o, "mode"));
    if (!mode) {
        fprintf(stderr, "reelm: %s: its metadata does not come from reelm\n", path);
        code = EXIT_DATA;
    } else if (strcmp(mode, a->verb_name)) {
        code = cli_usage("--%s: %s was made by %s; use reelm %s --%s", option, path, mode, mode,
                         option);
    }
    if (cJSON_HasObjectItem(o, "frames")) /* they say how long */
        cJSON_DeleteItemFromObject(o, "seconds");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && !code; i++) {
        const cJSON *item = cJSON_GetObjectItem(o, keys[i].key);
        if (item)
            code = recall_one(a, item, keys[i].option, keys[i].negated, path);
    }
    cJSON_Delete(o);
    return code ? code : cli_settle(a);
}

int cli_settings_recall(cli_args *a)
{
    if (a->from_metadata && a->resume_tokens)
        return cli_usage("%s: --from-metadata and --resume both bring settings; give one",
                         a->verb_name);
    if (a->resume_tokens)
        return recall(a, a->resume_tokens, "resume");
    return a->from_metadata ? recall(a, a->from_metadata, "from-metadata") : 0;
}
