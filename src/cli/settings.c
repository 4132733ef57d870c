/* Generation settings as one JSON object: into output files, and back into options. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/cli/job.h"

enum { SETTINGS_LIMIT = 1 << 20 };

/* What decides between tokens that are equal and tokens that are nearly so. */
static void add_machine(cJSON *o, const cli_job *j)
{
    char *text = NULL;
    const cli_args *a = j->args;
    cJSON_AddStringToObject(o, "weights", a->weights ? a->weights : "auto");
    cJSON_AddStringToObject(o, "cache_type", a->cache ? a->cache : "auto");
    if (j->engine)
        (void)rlm_engine_info(j->engine, &text, NULL);
    cJSON *info = text ? cJSON_Parse(text) : NULL;
    cJSON *level = cJSON_DetachItemFromObject(info, "kernels");
    if (level)
        cJSON_AddItemToObject(o, "kernels", level);
    cJSON_Delete(info);
    rlm_string_free(&text);
}

/* Where pictures stand and which: the files are the user's to give again. */
static void add_keyframes(cJSON *o, const cli_job *j)
{
    int count = j->extra ? j->request.keyframe_count : 0;
    cJSON *list = count ? cJSON_AddArrayToObject(o, "keyframes") : NULL;
    for (int i = 0; i < count && list; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, "frame", j->extra->keys[i].frame);
        if (j->extra->key_sha[i][0])
            cJSON_AddStringToObject(one, "sha256", j->extra->key_sha[i]);
        cJSON_AddItemToArray(list, one);
    }
}

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
    if (a->verb & (CLI_EDIT | CLI_SOUND)) /* as long as what they are made from */
        cJSON_DeleteItemFromObject(o, "frames");
    if (a->shortest || a->longest)
        cJSON_AddBoolToObject(o, a->longest ? "longest" : "shortest", 1);
    if (j->source_sha[0])
        cJSON_AddStringToObject(o, "source_sha256", j->source_sha);
    add_keyframes(o, j);
    add_machine(o, j);
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
            {"weights", "weights", false},
            {"cache_type", "cache-type", false},
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
    if (!o || cli_from(a, option) >= CLI_FROM_FLAG)
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

/* ---- Against what is given now --------------------------------------------------------------- */

/* To go on with other inputs would give neither clip: refused. To make a clip again from others may
 * be meant: said. */
static int mismatch(const cli_job *j, const char *text)
{
    const cli_args *a = j->args;
    const char *file = a->resume_tokens ? a->resume_tokens : a->from_metadata;
    if (!a->resume_tokens && a->strict)
        return cli_usage("--strict: %s: %s", file, text);
    if (a->resume_tokens || !a->quiet)
        fprintf(stderr, "reelm: %s: %s\n", file, text);
    return a->resume_tokens ? EXIT_DATA : EXIT_DONE;
}

int cli_settings_match(const cli_job *j)
{
    int code = EXIT_DONE;
    const cJSON *saved = j->recorded;
    const char *source = cJSON_GetStringValue(cJSON_GetObjectItem(saved, "source_sha256"));
    const cJSON *keys = cJSON_GetObjectItem(saved, "keyframes");
    if (!saved)
        return EXIT_DONE;
    if (source && !j->args->input_count && !j->args->init_img && !j->args->init_video)
        code = mismatch(j, "was made from a file, and none is given");
    else if (source && j->source_sha[0] && strcmp(source, j->source_sha))
        code = mismatch(j, "was made from another file than the one given (its sha256 differs)");
    cJSON *now = cJSON_CreateObject();
    add_keyframes(now, j);
    const cJSON *given = cJSON_GetObjectItem(now, "keyframes");
    if (!code && keys && !given)
        code = mismatch(j, "was made with keyframes, and none is given");
    else if (!code && keys && !cJSON_Compare(keys, given, 1))
        code = mismatch(j, "was made with other keyframes than those given");
    cJSON_Delete(now);
    return code;
}

/* Every wish that the recorded settings name is in force. */
static bool same_wishes(const cJSON *saved, const cJSON *made)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const cJSON *then = cJSON_GetObjectItem(saved, keys[i].key);
        const cJSON *now = cJSON_GetObjectItem(made, keys[i].key);
        if (then && !cJSON_Compare(then, now, 1))
            return false;
    }
    return true;
}

/* made: parsed, so that numbers are numbers. */
static void say_other_tokens(const cli_job *j, const cJSON *saved, const cJSON *made)
{
    const cJSON *model = cJSON_GetObjectItem(saved, "model");
    const char *before = cJSON_GetStringValue(cJSON_GetObjectItem(saved, "kernels"));
    const char *after = cJSON_GetStringValue(cJSON_GetObjectItem(made, "kernels"));
    if (!same_wishes(saved, made))
        return;
    fprintf(stderr, "reelm: %s: not the tokens that %s records", j->output, j->args->from_metadata);
    if (model && !cJSON_Compare(model, cJSON_GetObjectItem(made, "model"), 1))
        fputs(", which another model made", stderr);
    else if (before && after && strcmp(before, after))
        fprintf(stderr, ", made with kernels %s, these with %s", before, after);
    fputc('\n', stderr);
}

void cli_settings_compare(const cli_job *j, const cJSON *made)
{
    const char *then = cJSON_GetStringValue(cJSON_GetObjectItem(j->recorded, "token_sha256"));
    const char *now = cJSON_GetStringValue(cJSON_GetObjectItem(made, "token_sha256"));
    if (!j->args->from_metadata || j->args->quiet || !then || !now || !strcmp(then, now))
        return;
    char *text = cJSON_PrintUnformatted(made);
    cJSON *parsed = text ? cJSON_Parse(text) : NULL;
    if (parsed)
        say_other_tokens(j, j->recorded, parsed);
    cJSON_Delete(parsed);
    free(text);
}
