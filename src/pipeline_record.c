/* What a job has made so far, as one token file: every window's grids, saved before its pixels are
 * decoded; and such a file taken up again, so that its windows are not sampled once more. */
#include "src/pipeline.h"

#include <string.h>

#include "src/media/media.h"

rlm_codes rlm_job_video_grid(const rlm_job *j, int t, int h, int w, int32_t *ids, int frames)
{
    const rlm_model *m = &j->s->engine->model;
    int most = 1 + (t - 1) * rlm_video_stride_t(&m->video_config);
    rlm_codes grid = {.dims = {t, h, w},
                      .count = (int64_t)t * h * w,
                      .ids = ids,
                      .true_frames = frames < most ? frames : most,
                      .true_height = j->r->height,
                      .true_width = j->r->width,
                      .fps_num = j->r->fps_num,
                      .fps_den = j->r->fps_den};
    memcpy(grid.tokenizer, m->video_sha, sizeof grid.tokenizer);
    return grid;
}

rlm_codes rlm_job_audio_grid(const rlm_job *j, int levels, int frames, int32_t *ids,
                             int64_t samples)
{
    const rlm_model *m = &j->s->engine->model;
    rlm_codes grid = {.dims = {levels, frames, 1},
                      .count = (int64_t)levels * frames,
                      .ids = ids,
                      .true_samples = samples,
                      .rate = m->audio_config.rate};
    memcpy(grid.tokenizer, m->audio_sha, sizeof grid.tokenizer);
    return grid;
}

static int add_window(rlm_codes *to, int codes, int64_t skip, int64_t take, rlm_error *err)
{
    size_t n = (size_t)to->window_count, one = sizeof *to->windows;
    rlm_window *grown = rlm_realloc(to->windows, n * one, (n + 1) * one);
    if (!grown)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %zu windows", n + 1);
    grown[n] = (rlm_window){codes, skip, take};
    to->windows = grown;
    to->window_count++;
    return 0;
}

/* The first window brings sizes and rates; ids and windows stay the record's own. */
static void begin(rlm_codes *to, const rlm_codes *grid)
{
    if (to->window_count)
        return;
    *to = *grid;
    to->ids = NULL;
    to->windows = NULL;
    to->window_count = 0;
    to->count = 0;
    to->true_frames = 0;
    to->true_samples = 0;
}

int rlm_job_keep_video(rlm_job *j, const rlm_codes *grid, int skip, int take, rlm_error *err)
{
    rlm_codes *to = &j->made_video;
    size_t old = (size_t)to->count * sizeof *to->ids, more = (size_t)grid->count * sizeof *to->ids;
    if (take < 1)
        return 0;
    begin(to, grid);
    int32_t *ids = rlm_realloc(to->ids, old, rlm_size_add(old, more));
    if (!ids)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %lld codes", (long long)grid->count);
    to->ids = ids;
    RLM_TRY(add_window(to, grid->dims[0], skip, take, err));
    memcpy(ids + to->count, grid->ids, more);
    to->dims[0] = to->window_count > 1 ? to->dims[0] + grid->dims[0] : grid->dims[0];
    to->count += grid->count;
    to->true_frames += take;
    return 0;
}

int rlm_job_keep_audio(rlm_job *j, const rlm_codes *grid, int64_t skip, int64_t take,
                       rlm_error *err)
{
    rlm_codes *to = &j->made_audio;
    int levels = grid->dims[0], more = grid->dims[1], old = to->window_count ? to->dims[1] : 0;
    /* a later window that was stopped between two levels has no place in the grid */
    if (take < 1 || (to->window_count && levels != to->dims[0]))
        return 0;
    size_t width = (size_t)old + (size_t)more;
    int32_t *ids = rlm_alloc(rlm_size_mul((size_t)levels * sizeof *ids, width));
    if (!ids)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %lld codes", (long long)grid->count);
    for (int q = 0; q < levels; q++) {
        if (old)
            memcpy(ids + (size_t)q * width, to->ids + (size_t)q * (size_t)old,
                   (size_t)old * sizeof *ids);
        memcpy(ids + (size_t)q * width + old, grid->ids + (size_t)q * (size_t)more,
               (size_t)more * sizeof *ids);
    }
    int32_t *before = to->ids;
    begin(to, grid);
    rlm_free(before);
    to->ids = ids;
    RLM_TRY(add_window(to, more, skip, take, err));
    to->dims[1] = (int)width;
    to->count = (int64_t)levels * (int64_t)width;
    to->true_samples += take;
    return 0;
}

/* One window that is shown whole is a plain grid. */
static rlm_codes plain(const rlm_codes *c)
{
    rlm_codes one = *c;
    if (c->window_count == 1 && !c->windows[0].skip)
        one.window_count = 0;
    return one;
}

/* The request's settings as they stand in the token file: a painting's codes are in part those of
 * the recording, all others' are made. Heap; NULL: none. */
static int saved_settings(const rlm_job *j, char **settings, rlm_error *err)
{
    int paints = j->report.task == RLM_TASK_PAINT;
    int origin = paints ? rlm_origin(RLM_TASK_PAINT, j->r->condition) : RLM_ORIGIN_GENERATED;
    *settings = j->r->settings ? rlm_metadata_mark(j->r->settings, origin) : NULL;
    return *settings || !j->r->settings ? 0 : rlm_fail(err, RLM_E_NOMEM, "settings: out of memory");
}

int rlm_job_save(rlm_job *j, rlm_error *err)
{
    char *settings = NULL;
    rlm_codes video = plain(&j->made_video), audio = plain(&j->made_audio);
    if (!j->r->save_tokens || (!video.count && !audio.count))
        return 0;
    RLM_TRY(rlm_job_stills(j, &video, err));
    int code = saved_settings(j, &settings, err);
    if (!code)
        code = rlm_tokens_save(j->s->engine, j->r->save_tokens, &video, &audio, settings, err);
    rlm_free(settings);
    rlm_free(video.still_frames);
    rlm_free(video.stills);
    return code;
}

int rlm_job_resume(rlm_job *j, rlm_error *err)
{
    if (!j->r->resume_tokens)
        return 0;
    RLM_TRY(rlm_tokens_read(j->s->engine, j->r->resume_tokens, &j->given_video, &j->given_audio,
                            NULL, err));
    rlm_codes *v = &j->given_video, *a = &j->given_audio;
    if (v->count && !v->window_count)
        RLM_TRY(add_window(v, v->dims[0], 0, v->true_frames, err));
    if (a->count && !a->window_count)
        RLM_TRY(add_window(a, a->dims[1], 0, a->true_samples, err));
    return 0;
}

/* ---- Taking up again ------------------------------------------------------------------------- */

/* ids and known of an output grid: what the spec forces, and what the file has. `rows` of `width`
 * codes each lie `stride` apart in `from`. */
static int overlay(rlm_grid *g, int rows, int width, const int32_t *from, size_t stride,
                   int32_t **ids, uint8_t **known, rlm_error *err)
{
    size_t count = (size_t)g->t * (size_t)g->h * (size_t)g->w;
    *ids = rlm_calloc(count, sizeof **ids);
    *known = rlm_calloc(count, 1);
    if (!*ids || !*known)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %zu codes", count);
    for (size_t i = 0; g->ids && i < count; i++) {
        (*known)[i] = !g->known || g->known[i];
        (*ids)[i] = (*known)[i] ? g->ids[i] : 0;
    }
    for (int r = 0; r < rows; r++) {
        memcpy(*ids + (size_t)r * (size_t)width, from + (size_t)r * stride,
               (size_t)width * sizeof **ids);
        memset(*known + (size_t)r * (size_t)width, 1, (size_t)width);
    }
    g->ids = *ids;
    g->known = *known;
    return 0;
}

static int window_start(const rlm_codes *c, int window)
{
    int at = 0;
    for (int i = 0; i < window; i++)
        at += c->windows[i].codes;
    return at;
}

static int given_video(rlm_job *j, rlm_layout_spec *spec, rlm_given *out, rlm_error *err)
{
    const rlm_codes *c = &j->given_video;
    rlm_grid *g = &spec->video_out;
    int past = j->film.past, window = j->video_window;
    if (g->t < 1) /* a pass for sound alone */
        return 0;
    j->video_window++;
    if (window >= c->window_count)
        return 0;
    int have = c->windows[window].codes - past, plane = g->h * g->w;
    if (c->dims[1] != g->h || c->dims[2] != g->w || have < 0 || have > g->t)
        return rlm_fail(err, RLM_E_TOKENS,
                        "%s: window %d has %d x %d x %d codes, this request makes %d x %d x %d: "
                        "resume with the settings it was made with",
                        j->r->resume_tokens, window, have, c->dims[1], c->dims[2], g->t, g->h,
                        g->w);
    const int32_t *from = c->ids + (size_t)(window_start(c, window) + past) * (size_t)plane;
    out->latents = have;
    return overlay(g, have, plane, from, (size_t)plane, &out->video, &out->video_known, err);
}

static int given_audio(rlm_job *j, rlm_layout_spec *spec, rlm_given *out, rlm_error *err)
{
    const rlm_codes *c = &j->given_audio;
    rlm_grid *g = &spec->audio_out;
    int window = j->audio_window;
    if (g->t < 1)
        return 0;
    j->audio_window++;
    if (window >= c->window_count)
        return 0;
    if (c->windows[window].codes != g->h || c->dims[0] > g->t)
        return rlm_fail(err, RLM_E_TOKENS,
                        "%s: window %d has %d frames of sound, this request makes %d: resume with "
                        "the settings it was made with",
                        j->r->resume_tokens, window, c->windows[window].codes, g->h);
    out->levels = c->dims[0];
    return overlay(g, c->dims[0], g->h, c->ids + window_start(c, window), (size_t)c->dims[1],
                   &out->audio, &out->audio_known, err);
}

int rlm_job_given(rlm_job *j, rlm_layout_spec *spec, rlm_given *out, rlm_error *err)
{
    *out = (rlm_given){0};
    if (!j->r->resume_tokens)
        return 0;
    RLM_TRY(given_video(j, spec, out, err));
    RLM_TRY(given_audio(j, spec, out, err));
    out->whole = out->latents == spec->video_out.t && out->levels == spec->audio_out.t;
    return 0;
}

void rlm_given_free(rlm_given *g)
{
    rlm_free(g->video);
    rlm_free(g->video_known);
    rlm_free(g->audio);
    rlm_free(g->audio_known);
}
