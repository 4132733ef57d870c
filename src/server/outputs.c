/* A job's files: the clip with its settings inside, a thumbnail, a sheet of frames. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "src/server/worker.h"

enum { THUMBNAIL_SIDE = 512, SHEET_SIDE = 160, SHEET_FRAMES = 16, SHEET_COLUMNS = 4 };

/* ---- Settings: as the command line writes and reads them, and two words of the API ----------- */

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

static char *settings_text(const rlm_work *work, const rlm_worker *worker, const rlm_request *r)
{
    const rlm_wish *w = work->wish;
    char *text = NULL;
    (void)rlm_request_settings(worker->engine, r, &text, NULL);
    cJSON *o = cJSON_Parse(text);
    rlm_string_free(&text);
    cJSON_DeleteItemFromObject(o, "seed"); /* as a number it may lose digits */
    rlm_json_integer(o, "seed", (int64_t)r->seed);
    cJSON_AddBoolToObject(o, "ai_generated", 1);
    cJSON_AddStringToObject(o, "mode", mode_of(w));
    if (w->kind == RLM_WISH_EXTEND) { /* as long as the source and so much */
        cJSON_DeleteItemFromObject(o, "frames");
        cJSON_AddNumberToObject(o, "seconds", w->seconds);
    }
    add_source(o, work);
    cJSON_AddStringToObject(o, "task", rlm_wish_task_name(w->task));
    cJSON_AddStringToObject(o, "output_format", rlm_format_get(w->format)->name);
    text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    return text;
}

/* ---- Files ----------------------------------------------------------------------------------- */

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

/* What the writer has to say about the file goes to the client with the job. */
static void noted(void *cookie, const char *text)
{
    rlm_work *work = cookie;
    snprintf(work->result.note, sizeof work->result.note, "%.159s", text);
}

int rlm_outputs_write(rlm_work *work, const rlm_worker *worker, const rlm_request *request,
                      rlm_clip *clip, rlm_error *err)
{
    char path[RLM_STORE_PATH], name[24];
    const char *format = rlm_format_get(work->wish->format)->name;
    rlm_write_options options = {.format = format,
                                 .crf = 18,
                                 .no_metadata = work->wish->no_metadata,
                                 .warn = noted,
                                 .warn_cookie = work};
    snprintf(name, sizeof name, "output.%s", format);
    rlm_store_file_path(work->store, work->id, name, path);
    char *text = settings_text(work, worker, request);
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
