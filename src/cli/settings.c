/* Generation settings as one JSON object: into output files, and back into options. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/cli/job.h"

enum { SETTINGS_LIMIT = 1 << 20 };

cJSON *cli_settings(const cli_job *j)
{
    const cli_args *a = j->args;
    char *text = NULL, seed[24];
    (void)rlm_request_settings(j->engine, &j->request, &text, NULL);
    cJSON *o = cJSON_Parse(text);
    rlm_string_free(&text);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)j->request.seed);
    cJSON_ReplaceItemInObject(o, "seed", cJSON_CreateRaw(seed)); /* a number loses digits */
    if (!a->no_ai_mark)
        cJSON_AddBoolToObject(o, "ai_generated", 1);
    cJSON_AddStringToObject(o, "mode", a->verb_name);
    if (a->verb == CLI_EXTEND) { /* as long as the source and so much */
        cJSON_DeleteItemFromObject(o, "frames");
        cJSON_AddNumberToObject(o, "seconds", a->seconds);
    }
    if (a->shortest || a->longest)
        cJSON_AddBoolToObject(o, a->longest ? "longest" : "shortest", 1);
    if (j->source_sha[0])
        cJSON_AddStringToObject(o, "source_sha256", j->source_sha);
    return o;
}

/* ---- Reading --------------------------------------------------------------------------------- */

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
    if (!is_stdin && !rlm_tokens_read(NULL, path, NULL, NULL, &text, NULL)) {
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
            {"motion_temperature", "motion-temp", false},
            {"audio_temperature", "audio-temp", false},
            {"top_k", "top-k", false},
            {"top_p", "top-p", false},
            {"min_p", "min-p", false},
            {"cfg_scale", "cfg-scale", false},
            {"motion_cfg_scale", "motion-cfg-scale", false},
            {"audio_cfg_scale", "audio-cfg-scale", false},
            {"source", "source", false},
            {"deterministic", "deterministic", false},
            {"backward", "backward", false},
            {"prompts", "prompts", false},
            {"overlap", "overlap", false},
            {"shortest", "shortest", false},
            {"longest", "longest", false},
            {"reencode", "reencode", false},
            {"outpaint", "outpaint", false},
            {"mask_boxes", "mask-box", false},
            {"sound_spans", "span", false}};

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
        value = item->valuestring;
    } else if (cJSON_IsBool(item)) {
        value = cJSON_IsTrue(item) != negated ? "yes" : "no";
    } else if (cJSON_IsNumber(item)) {
        snprintf(number, sizeof number, "%.17g", item->valuedouble);
    } else {
        return 0;
    }
    return cli_store(a, o, value, label, CLI_FROM_METADATA);
}

static int recall(cli_args *a, const char *path, const char *option, cJSON **saved)
{
    int code = 0;
    char *text = cli_settings_read(path, &code);
    cJSON *o = *saved = text ? cJSON_Parse(text) : NULL;
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
    return code ? code : cli_settle(a);
}

int cli_settings_recall(cli_args *a, cJSON **saved)
{
    *saved = NULL;
    if (a->from_metadata && a->resume_tokens)
        return cli_usage("%s: --from-metadata and --resume both bring settings; give one",
                         a->verb_name);
    if (a->resume_tokens)
        return recall(a, a->resume_tokens, "resume", saved);
    return a->from_metadata ? recall(a, a->from_metadata, "from-metadata", saved) : 0;
}
