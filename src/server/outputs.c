/* A job's files: the clip with its settings inside, a thumbnail, a sheet of frames. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "src/server/worker.h"

enum { THUMBNAIL_SIDE = 512, SHEET_SIDE = 160, SHEET_FRAMES = 16, SHEET_COLUMNS = 4 };

/* ---- Settings: the keys that the command line writes and reads back, then what the API adds
 * ------
 */

/* A float in as few digits as tell it from its neighbours. */
static void add_float(cJSON *o, const char *key, float value)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    cJSON_AddRawToObject(o, key, text);
}

static void add_model(cJSON *o, const rlm_worker *w)
{
    static const char *const parts[] = {"video", "audio", "lm"};
    cJSON *info = w->info ? cJSON_Parse(w->info) : NULL;
    cJSON *model = cJSON_AddObjectToObject(o, "model");
    cJSON_AddStringToObject(model, "name", w->name);
    for (int i = 0; i < 3; i++) {
        const cJSON *part = cJSON_GetObjectItemCaseSensitive(info, parts[i]);
        const cJSON *sha = cJSON_GetObjectItemCaseSensitive(part, "sha256");
        if (cJSON_IsString(sha))
            cJSON_AddStringToObject(model, parts[i], sha->valuestring);
    }
    cJSON_Delete(info);
}

/* The verb that makes the same. */
static const char *mode_of(const rlm_wish *w)
{
    return w->kind == RLM_WISH_EXTEND           ? "extend"
           : w->task == RLM_TASK_PAINT          ? "edit"
           : w->task == RLM_TASK_STYLIZE        ? "stylize"
           : w->task == RLM_TASK_VIDEO_TO_AUDIO ? "sound"
           : w->task == RLM_TASK_AUDIO_TO_VIDEO ? "visualize"
                                                : "generate";
}

static void add_source(cJSON *o, const rlm_work *work)
{
    char path[RLM_STORE_PATH], sha[65];
    for (int i = 0; i < work->wish->input_count; i++) {
        int role = work->wish->inputs[i].role;
        rlm_store_file_path(work->store, work->id, work->wish->inputs[i].name, path);
        if ((role == RLM_INPUT_CONDITION || role == RLM_INPUT_AUDIO) &&
            !rlm_file_sha256(path, sha, NULL)) {
            cJSON_AddStringToObject(o, "source_sha256", sha);
            return;
        }
    }
}

static char *settings_text(const rlm_work *work, const rlm_worker *worker, const rlm_request *r,
                           const rlm_clip *clip)
{
    const rlm_wish *w = work->wish;
    cJSON *o = cJSON_CreateObject(), *more = rlm_wish_settings(w), *item;
    cJSON_AddStringToObject(o, "schema", "reelm.settings/1");
    cJSON_AddStringToObject(o, "generator", "reelm " RLM_VERSION);
    cJSON_AddBoolToObject(o, "ai_generated", 1);
    cJSON_AddStringToObject(o, "mode", mode_of(w));
    if (r->prompt)
        cJSON_AddStringToObject(o, "prompt", r->prompt);
    if (r->negative_prompt)
        cJSON_AddStringToObject(o, "negative_prompt", r->negative_prompt);
    cJSON_AddNumberToObject(o, "seed", (double)r->seed);
    cJSON_AddNumberToObject(o, "width", clip->video.width);
    cJSON_AddNumberToObject(o, "height", clip->video.height);
    if (w->kind == RLM_WISH_EXTEND)
        cJSON_AddNumberToObject(o, "seconds", w->seconds);
    else
        cJSON_AddNumberToObject(o, "frames", r->frames);
    cJSON_AddNumberToObject(o, "fps", (double)r->fps_num / r->fps_den);
    cJSON_AddBoolToObject(o, "audio", r->audio);
    add_float(o, "temperature", r->video.temperature);
    add_float(o, "audio_temperature", r->audio_sampling.temperature);
    cJSON_AddNumberToObject(o, "top_k", r->video.top_k);
    add_float(o, "top_p", r->video.top_p);
    add_float(o, "min_p", r->video.min_p);
    add_float(o, "cfg_scale", r->cfg_scale);
    cJSON_AddBoolToObject(o, "deterministic", worker->deterministic);
    add_source(o, work);
    add_model(o, worker);
    cJSON_DeleteItemFromObject(more, "user");
    cJSON_DeleteItemFromObject(more, "generate_sound");
    cJSON_DeleteItemFromObject(more, "guidance_scale");
    cJSON_DeleteItemFromObject(more, "num_frames");
    while (more && (item = more->child)) {
        cJSON_DetachItemViaPointer(more, item);
        if (cJSON_HasObjectItem(o, item->string))
            cJSON_Delete(item);
        else
            cJSON_AddItemToObject(o, item->string, item);
    }
    cJSON_Delete(more);
    char *text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    return text;
}

/* ---- Files -------------------------------------------------------------------------------------
 */

static int write_sheet(rlm_work *work, const rlm_clip *clip, const char *name, int frames, int side,
                       rlm_error *err)
{
    char path[RLM_STORE_PATH];
    rlm_clip sheet = {0};
    int last = clip->video.count - 1, n = clip->video.count;
    n = n > frames ? frames : n;
    int code = rlm_pictures_sheet(&clip->video, 0, last, n, SHEET_COLUMNS, side, &sheet, err);
    rlm_store_file_path(work->store, work->id, name, path);
    sheet.origin = clip->origin;
    if (!code)
        code = rlm_media_write(path, &sheet, NULL, err);
    rlm_clip_free(&sheet);
    return code;
}

int rlm_outputs_write(rlm_work *work, const rlm_worker *worker, const rlm_request *request,
                      rlm_clip *clip, rlm_error *err)
{
    char path[RLM_STORE_PATH], name[24];
    const char *format = rlm_format_get(work->wish->format)->name;
    rlm_write_options options = {
        .format = format, .crf = 18, .no_metadata = work->wish->no_metadata};
    snprintf(name, sizeof name, "output.%s", format);
    rlm_store_file_path(work->store, work->id, name, path);
    char *text = settings_text(work, worker, request, clip);
    clip->metadata = text;
    int code = rlm_media_write(path, clip, &options, err);
    clip->metadata = NULL;
    cJSON_free(text);
    if (!code && clip->video.count)
        code = write_sheet(work, clip, "thumbnail.png", 1, THUMBNAIL_SIDE, err);
    if (!code && clip->video.count > 1)
        code = write_sheet(work, clip, "spritesheet.png", SHEET_FRAMES, SHEET_SIDE, err);
    int fd = code ? -1 : rlm_store_open_file(work->store, work->id, name, &work->result.bytes);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    rlm_store_file_path(work->store, work->id, "tokens.rtok", path);
    if (access(path, R_OK) || rlm_file_sha256(path, work->result.token_sha256, NULL))
        work->result.token_sha256[0] = 0;
    rlm_store_remove_file(work->store, work->id, "preview.png");
    rlm_store_remove_file(work->store, work->id, "tokens.rtok");
    return code;
}
