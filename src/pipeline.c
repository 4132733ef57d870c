/* Engine and session: what is loaded once, and what one timeline owns. */
#include "src/pipeline.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { CONTEXT_DEFAULT_SIDE = 128, CONTEXT_DEFAULT_FRAMES = 17 };

void rlm_string_free(char **s)
{
    if (s) {
        rlm_free(*s);
        *s = NULL;
    }
}

void rlm_options_defaults(rlm_options *options)
{
    *options = (rlm_options){0};
}

void rlm_request_defaults(rlm_request *request)
{
    *request = (rlm_request){.task = RLM_TASK_AUTO,
                             .width = CONTEXT_DEFAULT_SIDE,
                             .height = CONTEXT_DEFAULT_SIDE,
                             .frames = CONTEXT_DEFAULT_FRAMES,
                             .fps_num = 8,
                             .fps_den = 1,
                             .audio = 1,
                             .source = RLM_SOURCE_NONE,
                             .video = {.temperature = 0.9f, .top_p = 0.9f, .cfg_scale = 4.0f},
                             .motion = {.temperature = 0.8f, .top_p = 0.9f, .cfg_scale = 2.0f},
                             .audio_sampling = {0.9f, 0, 0.9f, 0, 1.0f}};
}

void rlm_request_sampling(rlm_request *request, const rlm_sampling_wish *wish)
{
    rlm_sampling *video = &request->video, *motion = &request->motion;
    const struct {
        float *to;
        double value;
    } wishes[] = {{&video->temperature, wish->temperature},
                  {&motion->temperature, wish->motion_temperature},
                  {&request->audio_sampling.temperature, wish->audio_temperature},
                  {&video->top_p, wish->top_p},
                  {&motion->top_p, wish->top_p},
                  {&video->min_p, wish->min_p},
                  {&motion->min_p, wish->min_p},
                  {&video->cfg_scale, wish->cfg_scale},
                  {&motion->cfg_scale, wish->motion_cfg_scale},
                  {&request->audio_sampling.cfg_scale, wish->audio_cfg_scale}};
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++)
        if (wishes[i].value >= 0)
            *wishes[i].to = (float)wishes[i].value;
    if (wish->motion_temperature < 0 && motion->temperature > video->temperature)
        motion->temperature = video->temperature;
    if (wish->motion_cfg_scale < 0 && motion->cfg_scale > video->cfg_scale)
        motion->cfg_scale = video->cfg_scale;
    if (wish->top_k >= 0)
        video->top_k = motion->top_k = wish->top_k;
}

/* ---- Engine ---------------------------------------------------------------------------------- */

/* bits: 16, 8, or 0 for what suits the weights. */
static int cache_parse(const char *name, int *bits, rlm_error *err)
{
    *bits = !name || !strcmp(name, "auto") ? 0 : !strcmp(name, "int8") ? 8 : 16;
    if (*bits == 16 && strcmp(name, "bf16"))
        return rlm_fail(err, RLM_E_ARG, "cache is \"%s\", known are auto, bf16 and int8", name);
    return 0;
}

int rlm_open(rlm_engine **out, const char *model_dir, const rlm_options *options, rlm_error *err)
{
    int cache = 0;
    rlm_options plain;
    rlm_par *par = NULL;
    rlm_weights weights = RLM_WEIGHTS_AUTO;
    rlm_options_defaults(&plain);
    options = options ? options : &plain;
    *out = NULL;
    if (!model_dir || !*model_dir)
        return rlm_fail(err, RLM_E_ARG, "no model directory was named");
    rlm_engine *e = rlm_calloc(1, sizeof *e);
    if (!e)
        return rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", model_dir);
    e->options = *options;
    e->log = (rlm_log){options->log, options->log_cookie};
    e->cpu_mask = options->cpu_mask ? rlm_strdup(options->cpu_mask) : NULL;
    e->options.cpu_mask = e->cpu_mask;
    int code = options->cpu_mask && !e->cpu_mask
                   ? rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", model_dir)
                   : rlm_kernels_init(&e->kernels, e->cpu_mask, err);
    if (!code)
        code = rlm_par_open(&par, options->threads, err);
    if (!code && options->weights)
        code = rlm_weights_parse(options->weights, &weights, err);
    if (!code)
        code = cache_parse(options->cache, &cache, err);
    e->options.weights = e->options.cache = NULL;
    if (!code)
        code = rlm_model_open_as(&e->model, model_dir, RLM_PART_ALL | RLM_PART_OPTIONAL, weights,
                                 &e->kernels, par, err);
    rlm_par_close(&par);
    e->cache_bits = cache ? cache : e->model.lm && rlm_lm_weight_bits(e->model.lm) <= 8 ? 8 : 16;
    if (code) {
        rlm_free(e->cpu_mask);
        rlm_free(e);
        return code;
    }
    rlm_logf(&e->log, 2, "%s: loaded, kernels up to %s", model_dir, e->kernels.level);
    *out = e;
    return 0;
}

void rlm_close(rlm_engine **engine)
{
    if (!engine || !*engine)
        return;
    rlm_model_close(&(*engine)->model);
    rlm_free((*engine)->cpu_mask);
    rlm_free(*engine);
    *engine = NULL;
}

/* A growing text; out of memory shows as data NULL at the end. */
typedef struct json_text {
    char *data;
    size_t used, room;
} json_text;

static void json_put(json_text *j, const char *text)
{
    size_t n = strlen(text);
    if (!j->data)
        return;
    if (j->used + n + 1 > j->room) {
        size_t room = 2 * (j->used + n + 1);
        char *grown = rlm_realloc(j->data, j->used, room);
        if (!grown)
            rlm_free(j->data);
        j->data = grown;
        j->room = room;
        if (!grown)
            return;
    }
    memcpy(j->data + j->used, text, n + 1);
    j->used += n;
}

static void json_put_string(json_text *j, const char *text)
{
    char piece[8];
    json_put(j, "\"");
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 0x20)
            snprintf(piece, sizeof piece, "\\u%04x", *p);
        else
            snprintf(piece, sizeof piece, "%s%c", *p == '"' || *p == '\\' ? "\\" : "", *p);
        json_put(j, piece);
    }
    json_put(j, "\"");
}

static void json_put_part(json_text *j, const char *name, const rlm_params *p, const char *sha)
{
    char line[256];
    snprintf(line, sizeof line, ",\n  \"%s\": {\"parameters\": %lld, \"sha256\": \"%s\"", name,
             (long long)p->total, sha);
    json_put(j, line);
}

int rlm_engine_info(const rlm_engine *e, char **json, rlm_error *err)
{
    const rlm_model *m = &e->model;
    char line[512];
    json_text j = {.data = rlm_alloc(1024), .room = 1024};
    json_put(&j, "{\n  \"model\": ");
    json_put_string(&j, m->dir);
    snprintf(line, sizeof line, ",\n  \"version\": \"%s\",\n  \"kernels\": \"%s\"", RLM_VERSION,
             e->kernels.level);
    json_put(&j, line);
    if (m->video) {
        const rlm_video_config *c = &m->video_config;
        json_put_part(&j, "video", &m->video_params, m->video_sha);
        snprintf(line, sizeof line,
                 ", \"bits\": %d, \"stride_time\": %d, \"stride_space\": %d, "
                 "\"overlap_most\": %d}",
                 c->bits, rlm_video_stride_t(c), rlm_video_stride_s(c), rlm_overlap_most(m));
        json_put(&j, line);
    }
    if (m->audio) {
        const rlm_audio_config *c = &m->audio_config;
        json_put_part(&j, "audio", &m->audio_params, m->audio_sha);
        snprintf(line, sizeof line, ", \"rate\": %d, \"hop\": %d, \"levels\": %d, \"codes\": %d}",
                 c->rate, rlm_audio_hop(c), c->levels, c->codes);
        json_put(&j, line);
    }
    if (m->lm) {
        const rlm_lm_config *c = &m->lm_config;
        rlm_vocab vocab = {.audio_levels = c->audio_levels, .text_pieces = c->text_pieces};
        json_put_part(&j, "lm", &m->lm_params, m->lm_sha);
        snprintf(line, sizeof line,
                 ", \"weight_bits\": %d, \"layers\": %d, \"dim\": %d, \"heads\": %d, "
                 "\"positions\": %d, \"vocabulary\": %lld}",
                 rlm_lm_weight_bits(m->lm), c->layers, c->dim, c->heads, c->max_len,
                 (long long)rlm_vocab_size(&vocab));
        json_put(&j, line);
    }
    if (m->text) {
        snprintf(line, sizeof line, ",\n  \"text\": {\"pieces\": %d}", rlm_text_size(m->text));
        json_put(&j, line);
    }
    json_put(&j, "\n}");
    if (!j.data)
        return rlm_fail(err, RLM_E_NOMEM, "engine: out of memory");
    *json = j.data;
    return 0;
}

/* ---- Session --------------------------------------------------------------------------------- */

int rlm_session_open(rlm_session **out, const rlm_engine *engine, rlm_error *err)
{
    *out = NULL;
    rlm_session *s = rlm_calloc(1, sizeof *s);
    if (!s)
        return rlm_fail(err, RLM_E_NOMEM, "session: out of memory");
    s->engine = engine;
    int code = rlm_par_open(&s->par, engine->options.threads, err);
    /* address space only; where it is limited, less serves as well */
    size_t most = sizeof(size_t) > 4 ? (size_t)256 << 30 : (size_t)1 << 30;
    for (size_t bytes = most; !code; bytes /= 4) {
        if (!rlm_arena_reserve(&s->arena, bytes, err))
            break;
        if (bytes < (size_t)1 << 30)
            code = RLM_E_NOMEM;
    }
    s->run = (rlm_run){.k = &engine->kernels, .arena = &s->arena, .par = s->par};
    if (code)
        rlm_session_close(&s);
    else
        *out = s;
    return code;
}

void rlm_session_batch(rlm_session *s, int count)
{
    s->batch = count < 1 ? 1 : count > RLM_BATCH_MAX ? RLM_BATCH_MAX : count;
}

void rlm_session_close(rlm_session **session)
{
    rlm_session *s = session ? *session : NULL;
    if (!s)
        return;
    rlm_lm_cache_free(&s->cache);
    rlm_ahead_free(&s->ahead);
    rlm_arena_release(&s->arena);
    rlm_par_close(&s->par);
    rlm_free(s);
    *session = NULL;
}

void rlm_log_warning(void *engine, const char *text)
{
    const rlm_engine *e = engine;
    rlm_logf(&e->log, 1, "%s", text);
}

int rlm_origin(int task, const rlm_clip *condition)
{
    static const uint8_t keeps[RLM_TASK_COUNT] = {[RLM_TASK_PREDICT] = 1,
                                                  [RLM_TASK_PAINT] = 1,
                                                  [RLM_TASK_VIDEO_TO_AUDIO] = 1,
                                                  [RLM_TASK_AUDIO_TO_VIDEO] = 1,
                                                  [RLM_TASK_AV_CONTINUE] = 1};
    int kept = condition && task >= 0 && task < RLM_TASK_COUNT && keeps[task];
    return kept && condition->origin != RLM_ORIGIN_GENERATED ? RLM_ORIGIN_COMPOSITE
                                                             : RLM_ORIGIN_GENERATED;
}

int rlm_session_need(const rlm_session *s, unsigned parts, rlm_error *err)
{
    const rlm_model *m = &s->engine->model;
    const char *missing = (parts & RLM_PART_VIDEO) && !m->video   ? "video tokenizer"
                          : (parts & RLM_PART_AUDIO) && !m->audio ? "audio codec"
                          : (parts & RLM_PART_LM) && !m->lm       ? "language model"
                          : (parts & RLM_PART_TEXT) && !m->text   ? "text model"
                                                                  : NULL;
    if (missing)
        return rlm_fail(err, RLM_E_MODEL, "%s: this model has no %s", m->dir, missing);
    return 0;
}

int rlm_session_allow(const rlm_session *s, size_t bytes, rlm_error *err)
{
    int64_t most = s->engine->options.max_memory;
    if (most > 0 && (bytes > (size_t)most || s->arena.committed > (size_t)most - bytes))
        return rlm_fail(err, RLM_E_LIMIT, "%zu bytes are needed, max_memory allows %lld",
                        rlm_size_add(bytes, s->arena.committed), (long long)most);
    return 0;
}
