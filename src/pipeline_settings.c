/* A request as the JSON object that output and token files carry, and rates as fractions. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/pipeline.h"

void rlm_fps_fraction(double fps, int *num, int *den)
{
    double whole = round(fps), ntsc = round(fps * 1.001) * 1000; /* 23.976 is 24000 / 1001 */
    *den = fabs(fps - whole) < 1e-9 ? 1 : fabs(fps - ntsc / 1001) < 2e-6 * fps ? 1001 : 1000;
    *num = (int)(*den == 1 ? whole : *den == 1001 ? ntsc : round(fps * 1000));
    for (int p = 2; p <= 5; p += 3) /* in lowest terms: 1000 = 2^3 5^3 */
        for (; *den % p == 0 && *num % p == 0; *den /= p)
            *num /= p;
}

/* In as few digits as tell the float from its neighbours. */
static bool add_float(cJSON *o, const char *key, float value)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    return cJSON_AddRawToObject(o, key, text);
}

/* These tell whether there was memory for all of it: cJSON leaves out what it has none for. */
static bool add_word(cJSON *list, const char *text)
{
    cJSON *one = cJSON_CreateString(text);
    bool whole = one && cJSON_AddItemToArray(list, one);
    if (!whole)
        cJSON_Delete(one);
    return whole;
}

/* What is made anew, in pixels and seconds of the condition: the files are the user's to give
 * again. */
static bool add_masks(cJSON *o, const rlm_request *r)
{
    char text[96];
    const int *border = r->outpaint;
    bool whole = true;
    snprintf(text, sizeof text, "%d,%d,%d,%d", border[0], border[1], border[2], border[3]);
    if (border[0] | border[1] | border[2] | border[3])
        whole = cJSON_AddStringToObject(o, "outpaint", text);
    cJSON *boxes = r->box_count ? cJSON_AddArrayToObject(o, "mask_boxes") : NULL;
    for (int i = 0; i < r->box_count && whole; i++) {
        const rlm_box *b = &r->boxes[i];
        int n = snprintf(text, sizeof text, "%d,%d,%d,%d", b->x, b->y, b->width, b->height);
        if (b->to)
            snprintf(text + n, sizeof text - (size_t)n, "@%d-%d", b->from, b->to - 1);
        whole = add_word(boxes, text);
    }
    cJSON *spans = r->span_count ? cJSON_AddArrayToObject(o, "sound_spans") : NULL;
    for (int i = 0; i < r->span_count && whole; i++) {
        int n = snprintf(text, sizeof text, "%.9g-", r->spans[i].from);
        if (r->spans[i].to > 0)
            snprintf(text + n, sizeof text - (size_t)n, "%.9g", r->spans[i].to);
        whole = add_word(spans, text);
    }
    return whole;
}

/* How windows continue each other. */
static bool add_windows(cJSON *o, const rlm_request *r)
{
    cJSON *list = r->prompt_count ? cJSON_AddArrayToObject(o, "prompts") : NULL;
    bool whole = list || !r->prompt_count;
    for (int i = 0; i < r->prompt_count && whole; i++)
        whole = add_word(list, r->prompts[i]);
    return whole && (!r->overlap || cJSON_AddNumberToObject(o, "overlap", r->overlap)) &&
           (!r->reencode || cJSON_AddBoolToObject(o, "reencode", 1)) &&
           (!r->backward || cJSON_AddBoolToObject(o, "backward", 1));
}

/* Name of the model's folder, not where it is, and the sums of its parts. */
static bool add_model(cJSON *o, const rlm_model *m)
{
    char name[256];
    cJSON *model = cJSON_AddObjectToObject(o, "model");
    size_t end = strlen(m->dir);
    while (end > 1 && m->dir[end - 1] == '/')
        end--;
    size_t start = end;
    while (start && m->dir[start - 1] != '/')
        start--;
    snprintf(name, sizeof name, "%.*s", (int)(end - start), m->dir + start);
    return cJSON_AddStringToObject(model, "name", name) &&
           (!m->video || cJSON_AddStringToObject(model, "video", m->video_sha)) &&
           (!m->audio || cJSON_AddStringToObject(model, "audio", m->audio_sha)) &&
           (!m->lm || cJSON_AddStringToObject(model, "lm", m->lm_sha));
}

static bool add_request(cJSON *o, const rlm_request *r)
{
    char seed[24];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)r->seed); /* cJSON keeps 15 digits */
    return cJSON_AddStringToObject(o, "schema", "reelm.settings/1") &&
           cJSON_AddStringToObject(o, "generator", "reelm " RLM_VERSION) &&
           (!r->prompt || cJSON_AddStringToObject(o, "prompt", r->prompt)) &&
           (!r->negative_prompt ||
            cJSON_AddStringToObject(o, "negative_prompt", r->negative_prompt)) &&
           cJSON_AddRawToObject(o, "seed", seed) && cJSON_AddNumberToObject(o, "width", r->width) &&
           cJSON_AddNumberToObject(o, "height", r->height) &&
           cJSON_AddNumberToObject(o, "frames", r->frames) &&
           cJSON_AddNumberToObject(o, "fps", (double)r->fps_num / r->fps_den) &&
           cJSON_AddBoolToObject(o, "audio", r->audio) &&
           add_float(o, "temperature", r->video.temperature) &&
           add_float(o, "motion_temperature", r->motion.temperature) &&
           add_float(o, "audio_temperature", r->audio_sampling.temperature) &&
           cJSON_AddNumberToObject(o, "top_k", r->video.top_k) &&
           add_float(o, "top_p", r->video.top_p) && add_float(o, "min_p", r->video.min_p) &&
           add_float(o, "cfg_scale", r->video.cfg_scale) &&
           add_float(o, "motion_cfg_scale", r->motion.cfg_scale) &&
           add_float(o, "audio_cfg_scale", r->audio_sampling.cfg_scale) &&
           (r->source == RLM_SOURCE_NONE ||
            cJSON_AddStringToObject(o, "source", r->source ? "playground" : "real"));
}

int rlm_request_settings(const rlm_engine *e, const rlm_request *r, char **json, rlm_error *err)
{
    cJSON *o = cJSON_CreateObject();
    bool whole = o && add_request(o, r) &&
                 cJSON_AddBoolToObject(o, "deterministic", e->options.deterministic) &&
                 add_windows(o, r) && add_masks(o, r) && add_model(o, &e->model);
    char *printed = whole ? cJSON_PrintUnformatted(o) : NULL;
    cJSON_Delete(o);
    *json = printed ? rlm_strdup(printed) : NULL;
    cJSON_free(printed);
    return *json ? 0 : rlm_fail(err, RLM_E_NOMEM, "settings: out of memory");
}
