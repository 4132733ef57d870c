#include "src/server/wish_inputs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

static const char *const role_names[RLM_INPUT_ROLES] = {
    "condition", "audio", "keyframe", "mask", "depth", "flow", "edge", "audio mask"};

const char *rlm_input_role_name(int role)
{
    return role >= 0 && role < RLM_INPUT_ROLES ? role_names[role] : "?";
}

typedef struct input_row {
    const char *name;
    int role, frame;
} input_row;

/* Field names of the OpenAI API and of local servers. Each may be a file, or an object with a data
 * URL (image_url, video_url, audio_url, url) or the id of a job here (id, video_id). */
static const input_row input_rows[] = {
    {"input_reference", RLM_INPUT_CONDITION, 0},
    {"image_reference", RLM_INPUT_CONDITION, 0},
    {"video_reference", RLM_INPUT_CONDITION, 0},
    {"source_video", RLM_INPUT_CONDITION, 0},
    {"video", RLM_INPUT_CONDITION, 0},
    {"audio_reference", RLM_INPUT_AUDIO, 0},
    {"source_audio", RLM_INPUT_AUDIO, 0},
    {"end_image", RLM_INPUT_KEYFRAME, -1},
    {"mask", RLM_INPUT_MASK, 0},
    {"video_noise_mask", RLM_INPUT_MASK, 0},
    {"audio_noise_mask", RLM_INPUT_SOUND_MASK, 0},
    {"control_depth", RLM_INPUT_DEPTH, 0},
    {"control_flow", RLM_INPUT_FLOW, 0},
    {"control_edge", RLM_INPUT_EDGE, 0},
    {"control_reference", RLM_INPUT_ROLES, 0},
};
enum { INPUT_ROWS = sizeof input_rows / sizeof input_rows[0] };
enum { MAX_KEYFRAMES_FRAME = 4096 };

const char *rlm_input_field_name(int index)
{
    static const char *const more[] = {"keyframes", "control_type", "extra_params"};
    if (index < 0 || index >= INPUT_ROWS + 3)
        return NULL;
    return index < INPUT_ROWS ? input_rows[index].name : more[index - INPUT_ROWS];
}

/* The first bytes of a file of a kind that the decoder may be shown. */
static int known_media(const uint8_t *p, size_t n)
{
    static const struct {
        int at, length;
        const char *magic;
    } kinds[] = {
        {0, 8, "\x89PNG\r\n\x1a\n"},
        {0, 3, "\xff\xd8\xff"},
        {0, 4, "GIF8"},
        {8, 4, "WEBP"},
        {4, 4, "ftyp"},
        {4, 4, "moov"},
        {4, 4, "mdat"},
        {4, 4, "wide"},
        {4, 4, "free"},
        {0, 4, "\x1a\x45\xdf\xa3"},
        {8, 4, "AVI "},
        {8, 4, "WAVE"},
        {0, 4, "fLaC"},
        {0, 4, "OggS"},
        {0, 3, "ID3"},
        {0, 9, "YUV4MPEG2"},
        {0, 4, "caff"},
        {0, 4, "FORM"},
        {0, 4, "FLV\x01"},
        {0, 2, "BM"},
        {0, 4, "II*\0"},
        {0, 4, "MM\0*"},
        {0, 3, "\0\0\x01"},
        {0, 1, "\x47"},
        {0, 2, "P6"},
        {0, 2, "P5"},
        {0, 4, "PF\n-"},
    };
    if (n >= 2 && p[0] == 0xff && (p[1] & 0xe0) == 0xe0)
        return 1; /* MPEG audio without a tag */
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (n >= (size_t)kinds[i].at + (size_t)kinds[i].length &&
            !memcmp(p + kinds[i].at, kinds[i].magic, (size_t)kinds[i].length))
            return 1;
    return 0;
}

/* Another input in this place, or NULL. */
static rlm_wish_input *same_place(rlm_wish *w, const rlm_wish_input *but, int role, int frame)
{
    for (int i = 0; i < w->input_count; i++)
        if (&w->inputs[i] != but && w->inputs[i].role == role &&
            (role != RLM_INPUT_KEYFRAME || w->inputs[i].frame == frame))
            return &w->inputs[i];
    return NULL;
}

/* An input that a remix took over from its source gives way to one that is given. */
static rlm_wish_input *new_input(rlm_wish *w, int role, int frame, const char *field,
                                 rlm_refusal *r)
{
    rlm_wish_input *old = same_place(w, NULL, role, frame);
    if (old && old->source[0]) {
        old->source[0] = old->video_id[0] = 0;
        return old;
    }
    if (old) {
        rlm_refuse(r, 400, "conflicting_parameters", field, "'%.80s': there is already a %s input.",
                   field, rlm_input_role_name(role));
        return NULL;
    }
    if (w->input_count == RLM_WISH_INPUTS) {
        rlm_refuse(r, 400, "too_many_files", field, "A request may carry %d files.",
                   RLM_WISH_INPUTS);
        return NULL;
    }
    rlm_wish_input *in = &w->inputs[w->input_count];
    *in = (rlm_wish_input){.role = role, .frame = frame};
    snprintf(in->name, sizeof in->name, "input-%d", w->input_count++);
    return in;
}

static int check_media(const rlm_wish_input *in, const char *field, rlm_refusal *r)
{
    if (!in->bytes)
        return rlm_refuse(r, 400, "empty_file", field, "The file in '%.80s' is empty.", field);
    if (!known_media(in->data, in->bytes))
        return rlm_refuse(r, 415, "unsupported_media_type", field,
                          "The file in '%.80s' is no image, video or sound of a kind that is read.",
                          field);
    return 0;
}

static int take_url(rlm_wish *w, int role, int frame, const char *field, const char *url,
                    rlm_refusal *r)
{
    uint8_t *data = NULL;
    size_t bytes = 0;
    if (strncasecmp(url, "data:", 5))
        return rlm_refuse(r, 400, "url_not_allowed", field,
                          "'%.80s' must be a data: URL; this server fetches nothing.", field);
    const char *comma = strchr(url, ',');
    if (!comma || comma - url < 12 || strncasecmp(comma - 7, ";base64", 7))
        return rlm_refuse(r, 400, "invalid_data_url", field,
                          "'%.80s' is not data:TYPE;base64,DATA.", field);
    int code = rlm_base64_decode(comma + 1, strlen(comma + 1), &data, &bytes);
    if (code)
        return rlm_refuse(r, code == -2 ? 500 : 400,
                          code == -2 ? "out_of_memory" : "invalid_base64", field,
                          "The data in '%.80s' is %s.", field,
                          code == -2 ? "more than there is memory" : "not base64");
    rlm_wish_input *in = new_input(w, role, frame, field, r);
    if (!in) {
        free(data);
        return -1;
    }
    in->data = in->owned = data;
    in->bytes = bytes;
    return check_media(in, field, r);
}

static int take_id(rlm_wish *w, int role, int frame, const rlm_field *f, rlm_refusal *r)
{
    if (f->kind != RLM_FIELD_TEXT || !rlm_id_valid(f->value))
        return rlm_refuse(r, 400, "invalid_id", f->name, "'%.60s' is not the id of a video.",
                          f->kind == RLM_FIELD_TEXT ? f->value : "");
    rlm_wish_input *in = new_input(w, role, frame, f->name, r);
    if (!in)
        return -1;
    snprintf(in->video_id, sizeof in->video_id, "%s", f->value);
    return 0;
}

static int take_file(rlm_wish *w, int role, int frame, const rlm_field *f, rlm_refusal *r)
{
    rlm_wish_input *in = new_input(w, role, frame, f->name, r);
    if (!in)
        return -1;
    in->data = f->value;
    in->bytes = f->bytes;
    return check_media(in, f->name, r);
}

/* {"image_url": "data:..."} in a string, as some servers want it in forms. */
static int take_object_text(rlm_wish *w, int role, int frame, const rlm_field *f, rlm_refusal *r)
{
    static const char *const keys[] = {"image_url", "video_url", "audio_url", "url"};
    cJSON *o = cJSON_ParseWithLength(f->value, f->bytes);
    for (int i = 0; i < 4; i++) {
        const cJSON *url = cJSON_GetObjectItemCaseSensitive(o, keys[i]);
        if (cJSON_IsString(url)) {
            int code = take_url(w, role, frame, f->name, url->valuestring, r);
            cJSON_Delete(o);
            return code;
        }
    }
    cJSON_Delete(o);
    return rlm_refuse(r, 400, "invalid_type", f->name,
                      "Invalid type for '%s': expected a file or an object with a data: URL.",
                      f->name);
}

/* The part of the name behind the row's: "", "[image_url]", ... */
static int take_source(rlm_wish *w, int role, int frame, const char *rest, const rlm_field *f,
                       rlm_refusal *r)
{
    if (!*rest) {
        if (f->kind == RLM_FIELD_FILE)
            return take_file(w, role, frame, f, r);
        if (f->kind == RLM_FIELD_TEXT && f->value[0] == '{' && f->bytes < SIZE_MAX / 2 &&
            strcmp(f->name, "input_reference"))
            return take_object_text(w, role, frame, f, r);
        return rlm_refuse(r, 400, "invalid_type", f->name,
                          "Invalid type for '%s': expected a file, but got a %s instead.", f->name,
                          f->kind == RLM_FIELD_TEXT     ? "string"
                          : f->kind == RLM_FIELD_NUMBER ? "number"
                                                        : "boolean");
    }
    if (!strcmp(rest, "[id]") || !strcmp(rest, "[video_id]"))
        return take_id(w, role, frame, f, r);
    if (!strcmp(rest, "[file_id]"))
        return rlm_refuse(r, 400, "not_supported", f->name,
                          "'%.80s': there is no file store here; send the file.", f->name);
    if ((!strcmp(rest, "[image_url]") || !strcmp(rest, "[video_url]") ||
         !strcmp(rest, "[audio_url]") || !strcmp(rest, "[url]"))) {
        if (f->kind != RLM_FIELD_TEXT)
            return rlm_refuse(r, 400, "invalid_type", f->name,
                              "Invalid type for '%.80s': expected a string.", f->name);
        return take_url(w, role, frame, f->name, f->value, r);
    }
    return 1;
}

/* keyframes[FRAME] = file, or keyframes[FRAME][image_url]; FRAME may be negative. */
static int take_keyframe(rlm_wish *w, const rlm_field *f, rlm_refusal *r)
{
    int frame, used = 0;
    if (sscanf(f->name, "keyframes[%5d]%n", &frame, &used) != 1 || !used ||
        frame < -MAX_KEYFRAMES_FRAME || frame > MAX_KEYFRAMES_FRAME)
        return rlm_refuse(r, 400, "invalid_name", f->name,
                          "'%.80s' is not keyframes[FRAME], FRAME -%d to %d.", f->name,
                          MAX_KEYFRAMES_FRAME, MAX_KEYFRAMES_FRAME);
    return take_source(w, RLM_INPUT_KEYFRAME, frame, f->name + used, f, r);
}

static int take_control_type(rlm_wish *w, const rlm_field *f, rlm_refusal *r)
{
    int role = f->kind != RLM_FIELD_TEXT    ? -1
               : !strcmp(f->value, "depth") ? RLM_INPUT_DEPTH
               : !strcmp(f->value, "flow")  ? RLM_INPUT_FLOW
               : !strcmp(f->value, "edge")  ? RLM_INPUT_EDGE
                                            : -1;
    if (role < 0)
        return rlm_refuse(r, 400, "invalid_value", "control_type",
                          "Invalid 'control_type': allowed are depth and flow.");
    w->control_role = role;
    return 0;
}

int rlm_input_take(rlm_wish *w, const rlm_field *f, rlm_refusal *r)
{
    if (!strncmp(f->name, "keyframes[", 10))
        return take_keyframe(w, f, r);
    if (!strcmp(f->name, "control_type"))
        return take_control_type(w, f, r);
    for (int i = 0; i < INPUT_ROWS; i++) {
        size_t n = strlen(input_rows[i].name);
        if (!strncmp(f->name, input_rows[i].name, n) && (!f->name[n] || f->name[n] == '['))
            return take_source(w, input_rows[i].role, input_rows[i].frame, f->name + n, f, r);
    }
    return 1;
}

/* control_reference becomes what control_type says. */
static int name_control(rlm_wish *w, rlm_wish_input *in, rlm_refusal *r)
{
    if (w->control_role <= 0)
        return rlm_refuse(r, 400, "missing_required_parameter", "control_type",
                          "'control_reference' needs 'control_type': depth or flow.");
    rlm_wish_input *old = same_place(w, in, w->control_role, 0);
    if (old && !old->source[0])
        return rlm_refuse(r, 400, "conflicting_parameters", "control_reference",
                          "'control_reference': there is already a %s input.",
                          rlm_input_role_name(w->control_role));
    in->role = w->control_role;
    if (old) /* of a remix's source */
        *old = w->inputs[--w->input_count];
    return 0;
}

int rlm_input_finish(rlm_wish *w, rlm_refusal *r)
{
    for (int i = 0; i < w->input_count; i++)
        if (w->inputs[i].role == RLM_INPUT_ROLES && name_control(w, &w->inputs[i], r))
            return -1;
    if (rlm_wish_has(w, RLM_INPUT_EDGE))
        return rlm_refuse(r, 501, "not_supported", "control_type",
                          "This model was never shown edges: send depth or flow, or the video "
                          "itself as the condition, and both are estimated.");
    return 0;
}
