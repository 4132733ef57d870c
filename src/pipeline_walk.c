/* Windows whose condition shows the moments of their output: painting, stylisation, sound to video.
 * A later window begins with the last pictures made, encoded afresh; they are known to it. */
#include "src/pipeline.h"

#include <string.h>

enum { OVERLAP_LATENTS = 2 };

static int frames_of(const rlm_walk *w, int latents)
{
    return 1 + (latents - 1) * rlm_video_stride_t(&w->j->s->engine->model.video_config);
}

/* Most latent frames of a window whose condition is as long as its output. */
static int fit_latents(rlm_walk *w, int h, int width, rlm_error *err)
{
    const rlm_lm_config *c = &w->j->s->engine->model.lm_config;
    for (int t = RLM_WINDOW_LATENTS; t >= 1; t--) {
        rlm_layout_spec s = {.task = w->task, .video_out = {t, h, width, NULL, NULL}, .source = -1};
        if (w->task == RLM_TASK_AUDIO_TO_VIDEO)
            s.audio_in =
                (rlm_grid){c->audio_levels, rlm_sound_frames(w->j, frames_of(w, t)), 1, NULL, NULL};
        else
            s.visual_in = s.video_out;
        if (rlm_window_fits(w->j, &s))
            return t;
    }
    return rlm_fail(err, RLM_E_RANGE,
                    "a picture of %dx%d does not fit into the %d positions of this model",
                    w->j->r->width, w->j->r->height, c->max_len);
}

/* The codes of the pictures that the window shares with the one before it stand as they are. */
static int force_past(rlm_walk *w, int past, rlm_layout_spec *spec, rlm_error *err)
{
    rlm_codes codes = {0};
    rlm_clip part = {.video = w->out};
    size_t one = (size_t)part.video.height * (size_t)part.video.width * 3;
    size_t count =
        (size_t)spec->video_out.t * (size_t)spec->video_out.h * (size_t)spec->video_out.w;
    if (spec->video_out.ids || past < 1)
        return 0;
    part.video.rgb += (size_t)(w->out.count - past) * one;
    part.video.count = past;
    RLM_TRY(rlm_encode(w->j->s, &part, &codes, NULL, err));
    w->ids = rlm_calloc(count, sizeof *w->ids);
    w->known = rlm_calloc(count, 1);
    if (w->ids && w->known && (size_t)codes.count <= count) {
        memcpy(w->ids, codes.ids, (size_t)codes.count * sizeof *w->ids);
        memset(w->known, 1, (size_t)codes.count);
        spec->video_out.ids = w->ids;
        spec->video_out.known = w->known;
    }
    rlm_codes_free(&codes);
    return w->ids && w->known ? 0 : rlm_fail(err, RLM_E_NOMEM, "no memory for %zu codes", count);
}

/* The pictures decoded while they were sampled, behind those that are there. */
static int put(rlm_walk *w, const rlm_codes *grid, rlm_error *err)
{
    rlm_frames pictures = {0};
    size_t one = (size_t)w->out.height * (size_t)w->out.width * 3;
    RLM_TRY(rlm_film_take(w->j, grid->ids, grid->dims[0], &pictures, err));
    memcpy(w->out.rgb + (size_t)w->out.count * one, pictures.rgb, (size_t)pictures.count * one);
    rlm_free(pictures.rgb);
    return 0;
}

/* Codes of a window, sampled or given: kept, and its new pictures left to the owner. */
static int finish(rlm_walk *w, const rlm_codes *grid, int past, bool given, rlm_error *err)
{
    int fresh = grid->true_frames - past, at = w->out.count;
    if (fresh < 1)
        return 0;
    RLM_TRY(rlm_job_keep_video(w->j, grid, past, fresh, err));
    RLM_TRY(rlm_job_save(w->j, err));
    if (!given)
        RLM_TRY(put(w, grid, err));
    double start = rlm_now();
    w->out.count = at + fresh;
    int code = w->take ? w->take(w->ctx, w, at, fresh, err) : 0;
    w->j->report.decode_s += rlm_now() - start;
    if (!code && given) { /* nothing was sampled that would have shown them */
        rlm_frames part = w->out;
        part.rgb += (size_t)at * (size_t)part.height * (size_t)part.width * 3;
        part.count = fresh;
        rlm_film_show(w->j, &part, at);
    }
    rlm_job_tell(w->j, RLM_STAGE_DECODE, w->out.count, w->frames, 1);
    return code;
}

static int window(rlm_walk *w, int from, int past, int n, int h, int width, rlm_error *err)
{
    rlm_made made = {0};
    rlm_layout_spec spec = {.task = w->task, .source = -1};
    int stride = rlm_video_stride_t(&w->j->s->engine->model.video_config);
    spec.video_out = (rlm_grid){1 + (n - 1 + stride - 1) / stride, h, width, NULL, NULL};
    w->j->seed += from > 0;
    int code = w->open(w->ctx, w, from, past, n, &spec, err);
    if (code > 0) {
        int32_t *ids = (int32_t *)(uintptr_t)spec.video_out.ids;
        rlm_codes grid = rlm_job_video_grid(w->j, spec.video_out.t, h, width, ids, n);
        w->j->video_window++; /* a file to resume from has it as well */
        w->j->done += grid.count;
        code = finish(w, &grid, past, true, err);
    } else if (!code) {
        rlm_codes grid = rlm_job_video_grid(w->j, spec.video_out.t, h, width, NULL, n);
        code = force_past(w, past, &spec, err);
        if (!code)
            code = rlm_film_open(w->j, &grid, NULL, 0, past, from + past, err);
        if (!code)
            code = rlm_window_sample(w->j, &spec, &made, err);
        grid = rlm_job_video_grid(w->j, made.latents, h, width, made.video, n);
        if (!code && made.latents)
            code = finish(w, &grid, past, false, err);
    }
    rlm_film_close(w->j);
    rlm_made_free(&made);
    rlm_free(w->ids);
    rlm_free(w->known);
    w->ids = NULL;
    w->known = NULL;
    return code;
}

/* The window after `made` pictures: how many it shares with the one before, and all it has. */
static int cut_window(const rlm_walk *w, int made, int most, int overlap, int *past)
{
    *past = made ? overlap : 0;
    int rest = w->frames - made + *past;
    return rest < most ? rest : most;
}

/* Dry run: the windows that follow are alike; what they would make is grey. */
static void leave_out(rlm_walk *w, const rlm_mark *since, int64_t made)
{
    size_t one = (size_t)w->out.height * (size_t)w->out.width * 3;
    int64_t rest = w->j->total - w->j->done;
    memset(w->out.rgb + (size_t)w->out.count * one, 128, (size_t)(w->frames - w->out.count) * one);
    rlm_job_left_out(w->j, since, rest, made);
    w->j->report.video_tokens += rest;
    w->j->done = w->j->total;
    w->out.count = w->frames;
}

int rlm_walk_run(rlm_walk *w, rlm_error *err)
{
    const rlm_model *m = &w->j->s->engine->model;
    int side = rlm_video_stride_s(&m->video_config);
    int h = (w->j->r->height + side - 1) / side, width = (w->j->r->width + side - 1) / side;
    int t = fit_latents(w, h, width, err);
    if (t < 0)
        return t;
    int most = frames_of(w, t),
        overlap = t > OVERLAP_LATENTS ? frames_of(w, OVERLAP_LATENTS) : t > 1;
    w->out = (rlm_frames){.height = w->j->r->height,
                          .width = w->j->r->width,
                          .fps_num = w->j->r->fps_num,
                          .fps_den = w->j->r->fps_den};
    size_t one = (size_t)w->out.height * (size_t)w->out.width * 3;
    w->out.rgb = rlm_alloc(rlm_size_mul(one, (size_t)w->frames));
    if (!w->out.rgb)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %d frames", w->frames);
    int code = 0, past, stride = rlm_video_stride_t(&m->video_config);
    for (int made = 0, n; made < w->frames; made += n - past) {
        n = cut_window(w, made, most, overlap, &past);
        w->j->total += (int64_t)(1 + (n - 1 + stride - 1) / stride) * h * width;
    }
    while (!code && w->out.count < w->frames && !w->j->cancelled) {
        int before = w->out.count, n = cut_window(w, before, most, overlap, &past);
        int64_t done = w->j->done;
        rlm_mark begin = rlm_job_mark(w->j);
        code = window(w, before - past, past, n, h, width, err);
        if (w->out.count == before)
            break; /* stopped before anything was whole */
        if (w->j->r->dry_run && !code && past && w->task != RLM_TASK_PAINT)
            leave_out(w, &begin, w->j->done - done);
    }
    return code;
}
