#include "src/server/wish.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/server/wish_inputs.h"

/* ---- The table ------------------------------------------------------------------------------- */

enum { PROMPT, NAME, INTEGER, SEED, NUMBER, FLAG, CHOICE, SPECIAL };

typedef struct row {
    const char *name, *alias;
    int kind;
    size_t at; /* offset in rlm_wish */
    double min, max;
} row;

#define AT(field) offsetof(rlm_wish, field)

static const row rows[] = {
    {"prompt", NULL, PROMPT, AT(prompt), 0, 0},
    {"negative_prompt", NULL, PROMPT, AT(negative), 0, 0},
    {"prompts", NULL, PROMPT, AT(prompts), 0, 0},
    {"model", NULL, NAME, AT(model), 0, 0},
    {"user", NULL, NAME, AT(user), 0, 0},
    {"task", NULL, CHOICE, AT(task), 0, 0},
    {"size", NULL, SPECIAL, 0, 0, 0},
    {"width", NULL, INTEGER, AT(width), 16, 8192},
    {"height", NULL, INTEGER, AT(height), 16, 8192},
    {"num_frames", "frames", INTEGER, AT(frames), 1, 4096},
    {"seconds", NULL, NUMBER, AT(seconds), 0.01, 600},
    {"fps", NULL, NUMBER, AT(fps), 1, 120},
    {"seed", NULL, SEED, AT(seed), -1, 9007199254740991.0},
    {"best_of", NULL, INTEGER, AT(best_of), 1, RLM_BATCH_MAX},
    {"temperature", NULL, NUMBER, AT(sampling.temperature), 0, 10},
    {"motion_temperature", NULL, NUMBER, AT(sampling.motion_temperature), 0, 10},
    {"audio_temperature", NULL, NUMBER, AT(sampling.audio_temperature), 0, 10},
    {"top_k", NULL, INTEGER, AT(sampling.top_k), 0, 262144},
    {"top_p", NULL, NUMBER, AT(sampling.top_p), 0.01, 1},
    {"min_p", NULL, NUMBER, AT(sampling.min_p), 0, 1},
    {"guidance_scale", "cfg_scale", NUMBER, AT(sampling.cfg_scale), 0, 30},
    {"motion_guidance_scale", "motion_cfg_scale", NUMBER, AT(sampling.motion_cfg_scale), 0, 30},
    {"audio_guidance_scale", "audio_cfg_scale", NUMBER, AT(sampling.audio_cfg_scale), 0, 30},
    {"generate_sound", NULL, FLAG, AT(sound), 0, 0},
    {"strict", NULL, FLAG, AT(strict), 0, 0},
    {"no_metadata", NULL, FLAG, AT(no_metadata), 0, 0},
    {"backward", NULL, FLAG, AT(backward), 0, 0},
    {"overlap", NULL, INTEGER, AT(overlap), 1, 256},
    {"reencode", NULL, FLAG, AT(reencode), 0, 0},
    {"output_format", NULL, CHOICE, AT(format), 0, 0},
    {"mask_box", NULL, SPECIAL, 0, 0, 0},
    {"outpaint", NULL, SPECIAL, 0, 0, 0},
    {"sound_spans", NULL, SPECIAL, 0, 0, 0},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static const char *const task_names[RLM_TASK_COUNT] = {
    "auto", "video", "image", "predict", "paint", "stylize", "sound", "visualize", "continue"};

static const rlm_format formats[RLM_FORMATS] = {
    {"mp4", "video/mp4"}, {"webm", "video/webm"}, {"mkv", "video/x-matroska"},
    {"gif", "image/gif"}, {"png", "image/png"},
};

const rlm_format *rlm_format_get(int format)
{
    return &formats[format >= 0 && format < RLM_FORMATS ? format : 0];
}

const char *rlm_wish_task_name(int task)
{
    return task >= 0 && task < RLM_TASK_COUNT ? task_names[task] : NULL;
}

const char *rlm_wish_field_name(int index)
{
    return index >= 0 && index < ROWS ? rows[index].name : rlm_input_field_name(index - ROWS);
}

/* ---- Values ---------------------------------------------------------------------------------- */

void rlm_wish_warn(rlm_wish *w, const char *fmt, ...)
{
    va_list list;
    if (w->warning_count == RLM_WISH_WARNINGS)
        return;
    va_start(list, fmt);
    vsnprintf(w->warnings[w->warning_count], sizeof w->warnings[0], fmt, list);
    va_end(list);
    rlm_utf8_mend(w->warnings[w->warning_count++]);
}

static int wrong_type(const rlm_field *f, const char *expected, rlm_refusal *r)
{
    static const char *const kinds[] = {"a string", "a number", "a boolean", "a file"};
    return rlm_refuse(r, 400, "invalid_type", f->name,
                      "Invalid type for '%s': expected %s, but got %s instead.", f->name, expected,
                      kinds[f->kind]);
}

static int take_number(const row *row, const rlm_field *f, double *out, rlm_refusal *r)
{
    char *end = NULL;
    if (f->kind != RLM_FIELD_TEXT && f->kind != RLM_FIELD_NUMBER)
        return wrong_type(f, "a number", r);
    errno = 0;
    double v = strtod(f->value, &end);
    if (end == f->value || *end || errno || !isfinite(v))
        return rlm_refuse(r, 400, "invalid_number", f->name,
                          "Invalid '%s': expected a number, got '%.40s'.", f->name, f->value);
    if (row->kind != NUMBER && v != floor(v))
        return rlm_refuse(r, 400, "invalid_number", f->name,
                          "Invalid '%s': expected a whole number, got %.40s.", f->name, f->value);
    if (v < row->min || v > row->max)
        return rlm_refuse(r, 400, "number_out_of_range", f->name,
                          "Invalid '%s': %.40s is outside %.15g to %.15g.", f->name, f->value,
                          row->min, row->max);
    *out = v;
    return 0;
}

static int take_flag(const rlm_field *f, int *out, rlm_refusal *r)
{
    if (f->kind == RLM_FIELD_FILE)
        return wrong_type(f, "a boolean", r);
    int yes = !strcmp(f->value, "true") || !strcmp(f->value, "1") || !strcmp(f->value, "True");
    int no = !strcmp(f->value, "false") || !strcmp(f->value, "0") || !strcmp(f->value, "False");
    if (!yes && !no)
        return rlm_refuse(r, 400, "invalid_boolean", f->name,
                          "Invalid '%s': expected true or false, got '%.40s'.", f->name, f->value);
    *out = yes;
    return 0;
}

static int take_choice(const rlm_field *f, int *out, rlm_refusal *r)
{
    int is_task = !strcmp(f->name, "task");
    char known[160] = "";
    if (f->kind != RLM_FIELD_TEXT)
        return wrong_type(f, "a string", r);
    for (int i = 0; i < (is_task ? (int)RLM_TASK_COUNT : (int)RLM_FORMATS); i++) {
        const char *name = is_task ? task_names[i] : formats[i].name;
        if (!strcmp(f->value, name)) {
            *out = i;
            return 0;
        }
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", name);
    }
    return rlm_refuse(r, 400, "invalid_value", f->name, "Invalid '%s': '%.40s' is not one of %s.",
                      f->name, f->value, known);
}

static int take_text(const row *row, rlm_wish *w, const rlm_field *f, rlm_refusal *r)
{
    if (f->kind != RLM_FIELD_TEXT)
        return wrong_type(f, "a string", r);
    if (row->kind == NAME && f->bytes >= sizeof w->model)
        return rlm_refuse(r, 400, "string_above_max_length", f->name,
                          "'%s' has %zu bytes, at most %zu are read.", f->name, f->bytes,
                          sizeof w->model - 1);
    if (row->kind == NAME) {
        snprintf((char *)w + row->at, sizeof w->model, "%s", f->value);
        return 0;
    }
    char **to = (char **)((char *)w + row->at), *copy = malloc(f->bytes + 1);
    if (!copy)
        return rlm_refuse(r, 500, "out_of_memory", f->name, "Out of memory.");
    memcpy(copy, f->value, f->bytes + 1);
    free(*to);
    *to = copy;
    return 0;
}

static int take_size(rlm_wish *w, const rlm_field *f, rlm_refusal *r)
{
    int width, height, used = 0;
    if (strlen(f->value) > 11 || sscanf(f->value, "%5dx%5d%n", &width, &height, &used) != 2 ||
        f->value[used])
        return rlm_refuse(r, 400, "invalid_value", "size",
                          "Invalid 'size': '%.40s' is not WxH, for example 128x224.", f->value);
    if (width < 16 || height < 16 || width > 8192 || height > 8192)
        return rlm_refuse(r, 400, "number_out_of_range", "size",
                          "Invalid 'size': sides of 16 to 8192 pixels are read, got %.40s.",
                          f->value);
    w->width = w->width ? w->width : width;
    w->height = w->height ? w->height : height;
    return 0;
}

static int take_row(rlm_wish *w, const row *row, const rlm_field *f, rlm_refusal *r)
{
    void *at = (char *)w + row->at;
    double v = 0;
    switch (row->kind) {
    case PROMPT:
    case NAME:
        return take_text(row, w, f, r);
    case FLAG:
        return take_flag(f, at, r);
    case CHOICE:
        return take_choice(f, at, r);
    case SPECIAL:
        if (f->kind != RLM_FIELD_TEXT)
            return wrong_type(f, "a string", r);
        return !strcmp(row->name, "size") ? take_size(w, f, r)
                                          : rlm_mask_take(w, row->name, f->value, r);
    }
    if (take_number(row, f, &v, r))
        return -1;
    if (row->kind == INTEGER)
        *(int *)at = (int)v;
    else if (row->kind == SEED)
        *(int64_t *)at = (int64_t)v;
    else
        *(double *)at = v;
    return 0;
}

/* ---- Fields ---------------------------------------------------------------------------------- */

/* Known from other servers, without effect here. */
static const char *const without_effect[] = {"num_inference_steps",
                                             "enable_frame_interpolation",
                                             "lora",
                                             "sound_duration",
                                             "quality",
                                             "flow_shift",
                                             "n",
                                             NULL};
/* A client that may name paths reads and writes the server's files. */
static const char *const refused[] = {"output_path", "prompt_path", "file_path", "save_path",
                                      "image_path",  "video_path",  NULL};

static int in_list(const char *const *list, const char *name)
{
    for (; *list; list++)
        if (!strcmp(*list, name))
            return 1;
    return 0;
}

static int take_fields(rlm_wish *w, const rlm_form *form, int depth, rlm_refusal *r);

/* extra_params: a JSON object in a string, its keys as if they stood at the top. */
static int take_extra(rlm_wish *w, const rlm_field *f, int depth, rlm_refusal *r)
{
    if (f->kind != RLM_FIELD_TEXT || depth)
        return wrong_type(f, "a JSON object in a string", r);
    rlm_form *inner = calloc(1, sizeof *inner);
    char *copy = malloc(f->bytes + 2);
    int code = -1;
    if (!inner || !copy) {
        rlm_refuse(r, 500, "out_of_memory", f->name, "Out of memory.");
    } else {
        memcpy(copy, f->value, f->bytes + 1);
        code = rlm_form_parse(inner, "application/json", copy, f->bytes, r);
        if (!code)
            code = take_fields(w, inner, depth + 1, r);
        rlm_form_free(inner);
    }
    free(copy);
    free(inner);
    return code;
}

/* "prompt[0]": a list or an object where one value is expected. */
static int is_part_of_row(const char *name)
{
    size_t n = strcspn(name, "[");
    for (int i = 0; name[n] && i < ROWS; i++)
        if (strlen(rows[i].name) == n && !strncmp(name, rows[i].name, n))
            return 1;
    return 0;
}

static int take_field(rlm_wish *w, const rlm_field *f, int depth, rlm_refusal *r)
{
    int code = rlm_prompts_take(w, f, r);
    if (code <= 0)
        return code;
    for (int i = 0; i < ROWS; i++)
        if (!strcmp(f->name, rows[i].name) || (rows[i].alias && !strcmp(f->name, rows[i].alias)))
            return take_row(w, &rows[i], f, r);
    code = rlm_input_take(w, f, r);
    if (code <= 0)
        return code;
    if (!strcmp(f->name, "extra_params"))
        return take_extra(w, f, depth, r);
    if (is_part_of_row(f->name))
        return rlm_refuse(r, 400, "invalid_type", f->name,
                          "Invalid type for '%s': it is one value, no list and no object.",
                          f->name);
    if (in_list(refused, f->name))
        return rlm_refuse(r, 400, "path_not_allowed", f->name,
                          "'%s' is refused: a client never names paths on the server.", f->name);
    if (in_list(without_effect, f->name))
        rlm_wish_warn(w, "'%s' has no effect here", f->name);
    else
        rlm_wish_warn(w, "'%.60s' is unknown and was ignored", f->name);
    return 0;
}

static int take_fields(rlm_wish *w, const rlm_form *form, int depth, rlm_refusal *r)
{
    for (int i = 0; i < form->count; i++)
        if (take_field(w, &form->fields[i], depth, r))
            return -1;
    return 0;
}

static void wish_defaults(rlm_wish *w, int kind)
{
    *w = (rlm_wish){
        .kind = kind, .seed = -1, .sampling = {-1, -1, -1, -1, -1, -1, -1, -1, -1}, .sound = -1};
}

int rlm_wish_has(const rlm_wish *w, int role)
{
    for (int i = 0; i < w->input_count; i++)
        if (w->inputs[i].role == role)
            return 1;
    return 0;
}

static int check_needed(const rlm_wish *w, rlm_refusal *r)
{
    int follows = w->kind == RLM_WISH_EDIT || w->kind == RLM_WISH_EXTEND;
    if ((!w->prompt || !*w->prompt) && w->kind == RLM_WISH_CREATE && !w->input_count)
        return rlm_refuse(r, 400, "missing_required_parameter", "prompt",
                          "Missing required parameter: 'prompt'.");
    if (follows && !rlm_wish_has(w, RLM_INPUT_CONDITION))
        return rlm_refuse(r, 400, "missing_required_parameter", "video",
                          "Missing required parameter: 'video'.");
    if (w->kind == RLM_WISH_EXTEND && w->seconds <= 0)
        return rlm_refuse(r, 400, "missing_required_parameter", "seconds",
                          "Missing required parameter: 'seconds'.");
    return 0;
}

int rlm_wish_strict(const rlm_wish *w, const char *code, rlm_refusal *r)
{
    if (!w->strict || !w->warning_count)
        return 0;
    return rlm_refuse(r, 400, code, "", "Refused because of 'strict': %s.", w->warnings[0]);
}

int rlm_wish_parse(rlm_wish *w, int kind, const rlm_form *form, rlm_refusal *r)
{
    wish_defaults(w, kind);
    if (take_fields(w, form, 0, r) || check_needed(w, r) || rlm_input_finish(w, r) ||
        rlm_wish_strict(w, "unknown_parameter", r))
        return -1;
    w->asked_width = w->width;
    w->asked_height = w->height;
    w->asked_frames = w->frames;
    w->asked_seconds = w->seconds;
    return 0;
}

int rlm_wish_remix(rlm_wish *w, const rlm_form *form, rlm_refusal *r)
{
    rlm_wish old = *w; /* numbers only are read from it */
    free(w->prompt);
    free(w->prompts);
    w->prompt = w->prompts = NULL;
    w->warning_count = w->frames = w->width = w->height = 0;
    w->seconds = 0;
    if (take_fields(w, form, 0, r) || rlm_input_finish(w, r) ||
        rlm_wish_strict(w, "unknown_parameter", r))
        return -1;
    if ((!w->prompt || !*w->prompt) && !w->input_count)
        return rlm_refuse(r, 400, "missing_required_parameter", "prompt",
                          "Missing required parameter: 'prompt'.");
    if (w->width || w->height) {
        w->asked_width = w->width;
        w->asked_height = w->height;
    } else {
        w->width = old.width;
        w->height = old.height;
    }
    if (w->frames || w->seconds > 0) {
        w->asked_frames = w->frames;
        w->asked_seconds = w->seconds;
    } else {
        w->frames = old.frames;
        w->seconds = old.kind == RLM_WISH_EXTEND ? old.seconds : 0;
    }
    return check_needed(w, r);
}

void rlm_wish_free(rlm_wish *w)
{
    free(w->prompt);
    free(w->prompts);
    free(w->negative);
    for (int i = 0; i < w->input_count; i++)
        free(w->inputs[i].owned);
    *w = (rlm_wish){0};
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* These tell whether there was memory for all of it: cJSON leaves out what it has none for. */
static bool add_row(cJSON *o, const rlm_wish *w, const row *row)
{
    const void *at = (const char *)w + row->at;
    const char *text = row->kind == PROMPT ? *(char *const *)at : at;
    int number = row->kind == INTEGER || row->kind == FLAG ? *(const int *)at : 0;
    switch (row->kind) {
    case PROMPT:
    case NAME:
        return !text || !*text || cJSON_AddStringToObject(o, row->name, text);
    case FLAG:
        return number < 0 || (!number && row->at != AT(sound)) ||
               cJSON_AddBoolToObject(o, row->name, number);
    case INTEGER:
        return number < 0 || (!number && row->at != AT(sampling.top_k)) ||
               cJSON_AddNumberToObject(o, row->name, number);
    case SEED:
        return rlm_json_integer(o, row->name, *(const int64_t *)at);
    case NUMBER:
        if (*(const double *)at > 0 || (*(const double *)at == 0 && row->min == 0))
            return cJSON_AddNumberToObject(o, row->name, *(const double *)at);
        return true;
    case CHOICE:
        return cJSON_AddStringToObject(o, row->name,
                                       row->at == AT(task) ? task_names[*(const int *)at]
                                                           : formats[*(const int *)at].name);
    }
    return true;
}

/* o, or NULL when it is not whole. */
static cJSON *whole_or_none(cJSON *o, bool whole)
{
    if (whole)
        return o;
    cJSON_Delete(o);
    return NULL;
}

cJSON *rlm_wish_settings(const rlm_wish *w)
{
    cJSON *o = cJSON_CreateObject();
    bool whole = o && rlm_mask_add(o, w);
    for (int i = 0; i < ROWS && whole; i++)
        if (rows[i].kind != SPECIAL)
            whole = add_row(o, w, &rows[i]);
    return whole_or_none(o, whole);
}

static bool save_input(cJSON *list, const rlm_wish_input *input)
{
    cJSON *in = cJSON_CreateObject();
    if (!in || !cJSON_AddItemToArray(list, in)) {
        cJSON_Delete(in);
        return false;
    }
    return cJSON_AddNumberToObject(in, "role", input->role) &&
           cJSON_AddNumberToObject(in, "frame", input->frame) &&
           cJSON_AddStringToObject(in, "video_id", input->video_id);
}

cJSON *rlm_wish_save(const rlm_wish *w)
{
    cJSON *o = cJSON_CreateObject();
    cJSON *inputs = cJSON_AddArrayToObject(o, "inputs");
    cJSON *warnings = cJSON_AddArrayToObject(o, "warnings");
    cJSON *settings = rlm_wish_settings(w);
    bool whole = inputs && warnings && settings && cJSON_AddItemToObject(o, "settings", settings);
    if (!whole)
        cJSON_Delete(settings);
    whole = whole && cJSON_AddNumberToObject(o, "kind", w->kind) &&
            cJSON_AddStringToObject(o, "remixed_from", w->remixed_from) &&
            cJSON_AddNumberToObject(o, "asked_width", w->asked_width) &&
            cJSON_AddNumberToObject(o, "asked_height", w->asked_height) &&
            cJSON_AddNumberToObject(o, "asked_frames", w->asked_frames) &&
            cJSON_AddNumberToObject(o, "asked_seconds", w->asked_seconds);
    for (int i = 0; i < w->input_count && whole; i++)
        whole = save_input(inputs, &w->inputs[i]);
    for (int i = 0; i < w->warning_count && whole; i++)
        whole = rlm_json_append_text(warnings, w->warnings[i]);
    return whole_or_none(o, whole);
}

/* A whole number of a saved object, kept within what the field may be. */
static int saved_int(const cJSON *o, const char *name, int low, int high)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);
    double v = cJSON_IsNumber(n) ? n->valuedouble : 0;
    return v >= low && v <= high ? (int)v : low > 0 ? low : 0;
}

static void load_inputs(rlm_wish *w, const cJSON *saved)
{
    const cJSON *in, *list = cJSON_GetObjectItemCaseSensitive(saved, "inputs");
    cJSON_ArrayForEach(in, list)
    {
        if (w->input_count == RLM_WISH_INPUTS)
            break;
        rlm_wish_input *to = &w->inputs[w->input_count];
        const cJSON *id = cJSON_GetObjectItemCaseSensitive(in, "video_id");
        *to = (rlm_wish_input){.role = saved_int(in, "role", 0, RLM_INPUT_ROLES - 1),
                               .frame = saved_int(in, "frame", -4096, 4096)};
        if (cJSON_IsString(id) && rlm_id_valid(id->valuestring))
            snprintf(to->video_id, sizeof to->video_id, "%s", id->valuestring);
        snprintf(to->name, sizeof to->name, "input-%d", w->input_count++);
    }
    list = cJSON_GetObjectItemCaseSensitive(saved, "warnings");
    cJSON_ArrayForEach(in, list)
    {
        if (cJSON_IsString(in))
            rlm_wish_warn(w, "%s", in->valuestring);
    }
}

int rlm_wish_load(rlm_wish *w, const cJSON *saved, rlm_refusal *r)
{
    const cJSON *settings = cJSON_GetObjectItemCaseSensitive(saved, "settings");
    const cJSON *from = cJSON_GetObjectItemCaseSensitive(saved, "remixed_from");
    wish_defaults(w, saved_int(saved, "kind", 0, RLM_WISH_EXTEND));
    rlm_form *form = calloc(1, sizeof *form);
    if (!form)
        return rlm_refuse(r, 500, "out_of_memory", "", "Out of memory.");
    int code = rlm_form_from_json(form, settings, r);
    if (!code)
        code = take_fields(w, form, 1, r);
    rlm_form_free(form);
    free(form);
    w->asked_width = saved_int(saved, "asked_width", 0, 8192);
    w->asked_height = saved_int(saved, "asked_height", 0, 8192);
    w->asked_frames = saved_int(saved, "asked_frames", 0, 4096);
    const cJSON *seconds = cJSON_GetObjectItemCaseSensitive(saved, "asked_seconds");
    w->asked_seconds = cJSON_IsNumber(seconds) ? seconds->valuedouble : 0;
    if (cJSON_IsString(from) && rlm_id_valid(from->valuestring))
        snprintf(w->remixed_from, sizeof w->remixed_from, "%s", from->valuestring);
    load_inputs(w, saved);
    return code;
}
