/* Extension from file to file: what is finished leaves for the output window by window. The
 * source's pictures and sound (or what the tokenizers make of them) enter the clip as they are
 * read, then windows grow it; whatever no later window needs goes to the file, and the last few
 * pictures stay.
 */
#include "src/pipeline.h"

#include <string.h>

#include "src/media/media.h"

enum { STREAM_WINDOW = 16, EXTEND_FILE_FRAMES_MAX = 1 << 18 };

/* ---- The outlet ------------------------------------------------------------------------------ */

/* The first n samples of a sound, and the first n pictures of a film, are needed no more. */
static void drop_sound(rlm_pcm *a, int64_t n)
{
    a->count -= n;
    memmove(a->samples, a->samples + n * a->channels,
            (size_t)(a->count * a->channels) * sizeof *a->samples);
}

static void drop_pictures(rlm_frames *v, int n)
{
    size_t one = (size_t)v->height * (size_t)v->width * 3;
    v->count -= n;
    memmove(v->rgb, v->rgb + (size_t)n * one, (size_t)v->count * one);
}

/* Pictures of the result, its samples alike:
 *
 *   0 ........... gone ........... given ........... end
 *   the file has  the clip and     the clip has: to be
 *                 the file have    given now
 *
 * Sound is given up to the end of the pictures (due), which windows of codes do not meet exactly.
 */
int rlm_outlet_pass(rlm_job *j, rlm_clip *clip, rlm_error *err)
{
    rlm_outlet *o = j->outlet;
    rlm_clip part = *clip;
    if (!o)
        return 0;
    int end = o->gone + clip->video.count;
    int64_t made_samples = o->gone_samples + clip->audio.count, due = rlm_sound_samples(j, end);
    int64_t end_samples = made_samples < due ? made_samples : due;
    part.video.count = end - o->given;
    part.video.rgb +=
        (size_t)(o->given - o->gone) * (size_t)part.video.height * (size_t)part.video.width * 3;
    part.audio.count = end_samples > o->given_samples ? end_samples - o->given_samples : 0;
    if (part.audio.count)
        part.audio.samples += (o->given_samples - o->gone_samples) * part.audio.channels;
    if (part.video.count || part.audio.count)
        RLM_TRY(o->take(o->cookie, &part, err));
    o->given = end;
    o->given_samples += part.audio.count;
    /* a window sees at most so much of what goes before it */
    int stride = rlm_video_stride_t(&j->s->engine->model.video_config);
    int kept = 1 + (RLM_WINDOW_LATENTS - 2) * stride, unneeded = clip->video.count - kept;
    if (unneeded > 0) {
        drop_pictures(&clip->video, unneeded);
        o->gone += unneeded;
    }
    int64_t kept_from = o->given_samples - rlm_sound_samples(j, kept) - 1;
    if (kept_from > o->gone_samples) {
        drop_sound(&clip->audio, kept_from - o->gone_samples);
        o->gone_samples = kept_from;
    }
    return 0;
}

/* ---- The source ------------------------------------------------------------------------------ */

typedef struct growth {
    rlm_job job;
    rlm_outlet outlet;
    rlm_clip clip;
    rlm_media_out *out; /* NULL in a dry run */
    const rlm_extend_hooks *hooks;
    int heard; /* the source has sound */
    int origin;
} growth;

/* More pictures and sound behind what the clip holds. */
static int take_source(void *cookie, const rlm_clip *part, rlm_error *err)
{
    growth *g = cookie;
    rlm_frames *v = &g->clip.video;
    rlm_pcm *a = &g->clip.audio;
    const rlm_frames *from = &part->video;
    size_t one = (size_t)from->height * (size_t)from->width * 3;
    if (from->count) {
        uint8_t *grown = rlm_realloc(v->rgb, (size_t)v->count * one,
                                     rlm_size_mul((size_t)v->count + (size_t)from->count, one));
        if (!grown)
            return rlm_fail(err, RLM_E_NOMEM, "no memory for %d frames", v->count + from->count);
        memcpy(grown + (size_t)v->count * one, from->rgb, (size_t)from->count * one);
        int count = v->count + from->count;
        *v = *from;
        v->count = count;
        v->rgb = grown;
    }
    if (part->audio.count && g->heard) {
        if (!a->channels) {
            *a = part->audio;
            a->count = 0;
            a->samples = NULL;
        }
        int64_t old = a->count;
        RLM_TRY(rlm_fit_sound(a, old + part->audio.count, err));
        memcpy(a->samples + old * a->channels, part->audio.samples,
               (size_t)(part->audio.count * a->channels) * sizeof *a->samples);
    }
    return v->count ? rlm_outlet_pass(&g->job, &g->clip, err) : 0;
}

/* Whether a file has sound that will be read, and who made it. */
static int look_at_source(growth *g, const char *path, rlm_error *err)
{
    rlm_glance seen;
    RLM_TRY(rlm_media_glance(path, &seen, err));
    rlm_clip source = {.origin = seen.origin};
    g->origin = rlm_origin(RLM_TASK_PREDICT, &source);
    g->heard = rlm_extends_sound(&g->job, seen.has_audio);
    return seen.has_video ? 0 : rlm_fail(err, RLM_E_ARG, "extend: the source has no picture");
}

static int read_source(growth *g, const char *path, rlm_error *err)
{
    rlm_want want;
    rlm_codes video = {0}, audio = {0};
    rlm_job_want(&g->job, &want);
    want.want_audio = g->heard;
    want.max_frames = EXTEND_FILE_FRAMES_MAX;
    want.max_seconds = 1e6;
    if (!g->job.r->reencode)
        return rlm_media_stream(path, &want, STREAM_WINDOW, take_source, g, err);
    int code = rlm_encode_file(g->job.s, path, &want, &video, &audio, err);
    if (!code)
        code = rlm_decode_stream(g->job.s, video.count ? &video : NULL, audio.count ? &audio : NULL,
                                 take_source, g, err);
    rlm_codes_free(&video);
    rlm_codes_free(&audio);
    return code;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int pass_on(void *cookie, const rlm_clip *part, rlm_error *err)
{
    growth *g = cookie;
    if (g->hooks && g->hooks->part)
        g->hooks->part(g->hooks->cookie, part);
    return g->out ? rlm_media_out_push(g->out, part, err) : 0;
}

static int open_output(growth *g, const char *path, const rlm_write_options *options,
                       rlm_error *err)
{
    const rlm_request *r = g->job.r;
    const rlm_extend_hooks *h = g->hooks;
    const char *text = h && h->settings && !r->dry_run ? h->settings(h->cookie, NULL) : NULL;
    rlm_clip shape = {.metadata = (char *)(uintptr_t)text, .origin = g->origin};
    shape.video = (rlm_frames){.count = EXTEND_FILE_FRAMES_MAX,
                               .width = r->width,
                               .height = r->height,
                               .fps_num = r->fps_num,
                               .fps_den = r->fps_den};
    if (g->heard)
        shape.audio = (rlm_pcm){
            .count = INT32_MAX, .channels = 1, .rate = g->job.s->engine->model.audio_config.rate};
    return r->dry_run ? 0 : rlm_media_out_open(&g->out, path, &shape, options, err);
}

static int grow(growth *g, const char *source, double seconds, const char *path,
                const rlm_write_options *options, rlm_error *err)
{
    int frames = 0;
    rlm_job *j = &g->job;
    RLM_TRY(look_at_source(g, source, err));
    RLM_TRY(open_output(g, path, options, err));
    j->report.task = g->heard ? RLM_TASK_AV_CONTINUE : RLM_TASK_PREDICT;
    RLM_TRY(read_source(g, source, err));
    g->heard = g->heard && g->clip.audio.channels > 0; /* damaged sound: none came */
    RLM_TRY(rlm_extend_frames(j, g->outlet.gone + g->clip.video.count, seconds,
                              EXTEND_FILE_FRAMES_MAX, &frames, err));
    j->total = rlm_continue_codes(j, g->outlet.gone + g->clip.video.count, frames, g->heard);
    RLM_TRY(rlm_continue(j, &g->clip, frames, g->heard, err));
    j->report.frames = g->outlet.gone + g->clip.video.count;
    if (g->out) {
        const rlm_extend_hooks *h = g->hooks;
        const char *settings = h && h->settings ? h->settings(h->cookie, &j->report) : NULL;
        RLM_TRY(rlm_media_out_finish(g->out, settings, err));
    }
    return j->cancelled ? rlm_fail(err, RLM_E_CANCELLED, "stopped after %d of %d frames",
                                   j->report.frames, frames)
                        : 0;
}

int rlm_extend_file(rlm_session *s, const rlm_request *request, const char *source, double seconds,
                    const char *path, const rlm_write_options *options,
                    const rlm_extend_hooks *hooks, rlm_report *report, rlm_error *err)
{
    growth g = {.hooks = hooks, .outlet = {.take = pass_on}};
    if (request->keyframe_count || request->backward)
        return rlm_fail(err, RLM_E_UNSUPPORTED,
                        "extend: keyframes and what comes before need the whole film at once");
    RLM_TRY(rlm_session_need(s, RLM_PART_VIDEO | RLM_PART_LM, err));
    RLM_TRY(rlm_job_open(&g.job, s, request, err));
    g.outlet.cookie = &g;
    g.job.outlet = &g.outlet;
    int code = grow(&g, source, seconds, path, options, err);
    rlm_media_out_close(&g.out);
    rlm_clip_free(&g.clip);
    rlm_job_close(&g.job);
    if (report)
        *report = g.job.report;
    return code;
}
