/* Media files of any length <-> token grids, a window at a time.
 *
 *   packets -> frames, samples -> encoders' chunks -> codes
 *   codes -> a chunk of frames, the sound of its time -> container */
#include "src/pipeline.h"

#include <string.h>

#include "src/media/media.h"

enum { FILES_WINDOW = 16, FILES_SOUND_FRAMES = 16 * RLM_AUDIO_CHUNK };

/* ---- Encoding -------------------------------------------------------------------------------- */

typedef struct encoding {
    rlm_session *s;
    rlm_video_encoder *video; /* both NULL until the first piece of their kind */
    rlm_audio_encoder *audio;
    int fps_num, fps_den;
} encoding;

static int open_video(encoding *e, const rlm_frames *f, rlm_error *err)
{
    RLM_TRY(rlm_session_need(e->s, RLM_PART_VIDEO, err));
    e->fps_num = f->fps_num;
    e->fps_den = f->fps_den;
    return rlm_video_encoder_open(&e->video, &e->s->run, e->s->engine->model.video, f->height,
                                  f->width, err);
}

static int open_audio(encoding *e, rlm_error *err)
{
    RLM_TRY(rlm_session_need(e->s, RLM_PART_AUDIO, err));
    RLM_TRY(rlm_session_plan_audio(e->s, INT64_MAX, err));
    return rlm_audio_encoder_open(&e->audio, &e->s->run, e->s->engine->model.audio, err);
}

static int take_part(void *cookie, const rlm_clip *part, rlm_error *err)
{
    encoding *e = cookie;
    if (part->video.count && !e->video)
        RLM_TRY(open_video(e, &part->video, err));
    if (part->video.count)
        RLM_TRY(rlm_video_encoder_push(e->video, &part->video, err));
    if (part->audio.count && !e->audio)
        RLM_TRY(open_audio(e, err));
    if (part->audio.count)
        RLM_TRY(rlm_audio_encoder_push(e->audio, part->audio.count, part->audio.samples, err));
    return 0;
}

static int finish(encoding *e, rlm_codes *video, rlm_codes *audio, rlm_error *err)
{
    const rlm_model *m = &e->s->engine->model;
    if (e->video) {
        RLM_TRY(rlm_video_encoder_finish(e->video, video, err));
        video->fps_num = e->fps_num;
        video->fps_den = e->fps_den;
        memcpy(video->tokenizer, m->video_sha, sizeof video->tokenizer);
    }
    if (e->audio) {
        RLM_TRY(rlm_audio_encoder_finish(e->audio, audio, err));
        memcpy(audio->tokenizer, m->audio_sha, sizeof audio->tokenizer);
    }
    return 0;
}

int rlm_encode_file(rlm_session *s, const char *path, const rlm_want *want, rlm_codes *video,
                    rlm_codes *audio, rlm_error *err)
{
    encoding e = {.s = s};
    rlm_codes v = {0}, a = {0};
    rlm_want mine = *want;
    mine.want_video &= video != NULL;
    mine.want_audio &= audio != NULL;
    mine.channels = 1;
    if (!mine.warn) {
        mine.warn = rlm_log_warning;
        mine.warn_cookie = (void *)(uintptr_t)s->engine;
    }
    /* a file may turn out to be silent: without a codec its sound is read at its own rate and
     * refused when the first of it comes */
    mine.rate = s->engine->model.audio ? s->engine->model.audio_config.rate : 0;
    if (!mine.rate && mine.want_audio && !mine.want_video)
        RLM_TRY(rlm_session_need(s, RLM_PART_AUDIO, err));
    int code = rlm_media_stream(path, &mine, FILES_WINDOW, take_part, &e, err);
    if (!code)
        code = finish(&e, &v, &a, err);
    rlm_video_encoder_close(&e.video);
    rlm_audio_encoder_close(&e.audio);
    if (code) {
        rlm_codes_free(&v);
        rlm_codes_free(&a);
        return code;
    }
    if (video)
        *video = v;
    if (audio)
        *audio = a;
    return 0;
}

/* ---- Decoding -------------------------------------------------------------------------------- */

typedef struct decoding {
    rlm_session *s;
    rlm_clip_sink take; /* gets the parts, in order */
    void *cookie;
    const rlm_codes *audio; /* NULL: none */
    int64_t samples, done;  /* of sound: in all, decoded */
    int fps_num, fps_den;
    float *sound; /* of a piece; heap */
    int64_t room;
} decoding;

/* Sound up to sample `until`, at most a piece, into part. */
static int decode_sound(decoding *d, int64_t until, rlm_clip *part, rlm_error *err)
{
    int64_t n = (until < d->samples ? until : d->samples) - d->done;
    if (!d->audio || n <= 0)
        return 0;
    if (n > d->room) {
        rlm_free(d->sound);
        d->room = 2 * n;
        d->sound = rlm_alloc(rlm_size_mul((size_t)d->room, sizeof *d->sound));
        if (!d->sound)
            return rlm_fail(err, RLM_E_NOMEM, "decode: no memory for %lld samples", (long long)n);
    }
    const rlm_model *m = &d->s->engine->model;
    rlm_audio_decode_part(&d->s->run, m->audio, d->audio, d->done, d->done + n, d->sound);
    part->audio =
        (rlm_pcm){.count = n, .channels = 1, .rate = m->audio_config.rate, .samples = d->sound};
    d->done += n;
    return 0;
}

static int give_part(void *cookie, rlm_frames *f, int from, int done, rlm_error *err)
{
    decoding *d = cookie;
    rlm_clip part = {.video = *f};
    part.video.rgb += (size_t)from * (size_t)f->height * (size_t)f->width * 3;
    part.video.count -= from;
    part.video.fps_num = d->fps_num;
    part.video.fps_den = d->fps_den;
    f->count = 0;
    double seconds = (double)done * d->fps_den / d->fps_num;
    int rate = d->s->engine->model.audio_config.rate;
    RLM_TRY(decode_sound(d, (int64_t)(seconds * rate) + 1, &part, err));
    return d->take(d->cookie, &part, err);
}

/* Sound without pictures. */
static int give_sound(decoding *d, rlm_error *err)
{
    int64_t piece = (int64_t)FILES_SOUND_FRAMES * rlm_audio_hop(&d->s->engine->model.audio_config);
    while (d->audio && d->done < d->samples) {
        rlm_clip part = {0};
        RLM_TRY(decode_sound(d, d->done + piece, &part, err));
        RLM_TRY(d->take(d->cookie, &part, err));
    }
    return 0;
}

static int prepare_audio(decoding *d, const rlm_codes *audio, rlm_clip *shape, rlm_error *err)
{
    const rlm_model *m = &d->s->engine->model;
    RLM_TRY(rlm_session_need(d->s, RLM_PART_AUDIO, err));
    RLM_TRY(rlm_codes_belong("audio", audio, m->audio_sha, err));
    RLM_TRY(rlm_audio_codes_check(m->audio, audio, err));
    int64_t coded = (int64_t)audio->dims[1] * rlm_audio_hop(&m->audio_config);
    RLM_TRY(rlm_session_plan_audio(d->s, coded, err));
    d->audio = audio;
    d->samples = audio->true_samples && audio->true_samples < coded ? audio->true_samples : coded;
    shape->audio = (rlm_pcm){.count = d->samples, .channels = 1, .rate = m->audio_config.rate};
    return 0;
}

/* What will be decoded, as far as it can be refused before; its sizes and rates go into shape. */
static int prepare(decoding *d, const rlm_codes *video, const rlm_codes *audio, rlm_clip *shape,
                   rlm_error *err)
{
    if (video) {
        RLM_TRY(rlm_session_need(d->s, RLM_PART_VIDEO, err));
        RLM_TRY(rlm_codes_belong("video", video, d->s->engine->model.video_sha, err));
        d->fps_num = video->fps_num > 0 && video->fps_den > 0 ? video->fps_num : 8;
        d->fps_den = video->fps_num > 0 && video->fps_den > 0 ? video->fps_den : 1;
        shape->video = (rlm_frames){.count = video->true_frames,
                                    .height = video->true_height,
                                    .width = video->true_width,
                                    .fps_num = d->fps_num,
                                    .fps_den = d->fps_den};
    }
    return audio ? prepare_audio(d, audio, shape, err) : 0;
}

static int run(decoding *d, const rlm_codes *video, rlm_error *err)
{
    const rlm_video *v = d->s->engine->model.video;
    int code = video ? rlm_video_decode_parts(&d->s->run, v, video, give_part, d, err)
                     : give_sound(d, err);
    rlm_free(d->sound);
    d->sound = NULL;
    return code;
}

int rlm_decode_stream(rlm_session *s, const rlm_codes *video, const rlm_codes *audio,
                      rlm_clip_sink take, void *cookie, rlm_error *err)
{
    decoding d = {.s = s, .take = take, .cookie = cookie};
    rlm_clip shape = {0};
    RLM_TRY(prepare(&d, video, audio, &shape, err));
    return run(&d, video, err);
}

static int push_part(void *out, const rlm_clip *part, rlm_error *err)
{
    return rlm_media_out_push(out, part, err);
}

static int decode_container(rlm_session *s, const rlm_codes *video, const rlm_codes *audio,
                            const char *metadata, const char *path,
                            const rlm_write_options *options, rlm_error *err)
{
    decoding d = {.s = s, .take = push_part};
    rlm_media_out *out = NULL;
    rlm_clip shape = {.metadata = (char *)metadata, .origin = rlm_origin_of_metadata(metadata)};
    RLM_TRY(prepare(&d, video, audio, &shape, err));
    RLM_TRY(rlm_media_out_open(&out, path, &shape, options, err));
    d.cookie = out;
    int code = run(&d, video, err);
    if (!code)
        code = rlm_media_out_finish(out, NULL, err);
    rlm_media_out_close(&out);
    return code;
}

int rlm_decode_file(rlm_session *s, const rlm_codes *video, const rlm_codes *audio,
                    const char *metadata, const char *path, const rlm_write_options *options,
                    rlm_error *err)
{
    video = video && video->count ? video : NULL;
    audio = audio && audio->count ? audio : NULL;
    if (!video && !audio)
        return rlm_fail(err, RLM_E_TOKENS, "there are no codes to decode");
    bool whole =
        (video && (video->window_count || video->still_count)) || (audio && audio->window_count);
    if (whole || !rlm_media_grows(path, options ? options->format : NULL)) {
        rlm_clip clip = {0};
        RLM_TRY(rlm_decode(s, video, audio, &clip, err));
        clip.metadata = (char *)metadata;
        clip.origin = rlm_origin_of_metadata(metadata);
        int code = rlm_media_write(path, &clip, options, err);
        clip.metadata = NULL;
        rlm_clip_free(&clip);
        return code;
    }
    return decode_container(s, video, audio, metadata, path, options, err);
}
