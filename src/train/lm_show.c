/* Sample clips during training: generate with cached steps and guidance, decode, write. */
#include "src/train/lm_train.h"

#include <string.h>

/* As a request's defaults. */
static const rlm_lm_sampling PICTURE = {.temperature = 0.9f, .top_p = 0.9f, .cfg_scale = 4.0f};
static const rlm_lm_sampling MOTION = {.temperature = 0.8f, .top_p = 0.9f, .cfg_scale = 2.0f};
static const rlm_lm_sampling SOUND = {.temperature = 0.9f, .top_p = 0.9f, .cfg_scale = 1.0f};
enum { FPS = 8 };

/* Walk the output of `with`, the empty prompt `without` beside it; ids [with->count]. */
static void walk(const rlm_lm_show *s, rlm_lm_cache *cache, const rlm_layout *with,
                 const rlm_layout *without, int32_t *ids)
{
    rlm_run run = s->run;
    int shift = with->prefix - without->prefix;
    int follows = with->prefix + 1 + s->grid[1] * s->grid[2]; /* behind the delimiter */
    rlm_lm_prefill(&run, s->lm, cache, 0, with->ids, with->pos, with->prefix);
    rlm_lm_prefill(&run, s->lm, cache, 1, without->ids, without->pos, without->prefix);
    memcpy(ids, with->ids, (size_t)with->count * sizeof *ids);
    for (int p = with->prefix; p < with->count; p++) {
        int32_t first = with->legal[2 * p], pair[2], pos[6];
        rlm_lm_sampling how = first >= RLM_ID_AUDIO ? SOUND : p < follows ? PICTURE : MOTION;
        how.seed = s->seed;
        if (ids[p] < 0)
            ids[p] = rlm_lm_sample(&run, s->lm, rlm_lm_last_hidden(cache), 2, &how, p, first,
                                   with->legal[2 * p + 1], NULL);
        pair[0] = pair[1] = ids[p];
        memcpy(pos, with->pos + 3 * p, 3 * sizeof *pos);
        memcpy(pos + 3, without->pos + 3 * (p - shift), 3 * sizeof *pos);
        rlm_lm_step(&run, s->lm, cache, pair, pos, NULL);
    }
}

static int decode(const rlm_lm_show *s, const rlm_layout_spec *spec, int32_t *video, int32_t *sound,
                  const char *path, rlm_error *err)
{
    rlm_run run = s->run;
    rlm_clip clip = {0};
    const rlm_video_config *v = rlm_video_get_config(s->tokenizers->video);
    int side = rlm_video_stride_s(v);
    const rlm_grid *g = &spec->video_out, *a = &spec->audio_out;
    rlm_codes codes = {.dims = {g->t, g->h, g->w},
                       .count = (int64_t)g->t * g->h * g->w,
                       .ids = video,
                       .true_frames = 1 + rlm_video_stride_t(v) * (g->t - 1),
                       .true_height = g->h * side,
                       .true_width = g->w * side,
                       .fps_num = FPS,
                       .fps_den = 1};
    int code = rlm_video_decode(&run, s->tokenizers->video, &codes, &clip.video, err);
    if (!code && a->t > 0) {
        const rlm_audio_config *c = rlm_audio_get_config(s->tokenizers->audio);
        rlm_codes heard = {.dims = {a->t, a->h, 1},
                           .count = (int64_t)a->t * a->h,
                           .ids = sound,
                           .true_samples = (int64_t)a->h * rlm_audio_hop(c),
                           .rate = c->rate};
        code = rlm_audio_decode(&run, s->tokenizers->audio, &heard, &clip.audio, err);
    }
    if (!code)
        code = rlm_media_write(path, &clip, NULL, err);
    rlm_clip_free(&clip);
    return code;
}

int rlm_lm_show_clip(const rlm_lm_show *s, const int32_t *text, int text_count, const char *path,
                     rlm_error *err)
{
    rlm_layout with = {0}, without = {0};
    rlm_lm_cache *cache = NULL;
    int32_t *ids = NULL, *video = NULL;
    rlm_layout_spec spec = {.task = RLM_TASK_VIDEO, .source = s->source};
    spec.video_out = (rlm_grid){s->grid[0], s->grid[1], s->grid[2], NULL, NULL};
    int levels = s->tokenizers->audio ? rlm_audio_get_config(s->tokenizers->audio)->levels : 0;
    if (levels > 0 && s->sound_frames > 0)
        spec.audio_out = (rlm_grid){levels, s->sound_frames, 1, NULL, NULL};
    int code = rlm_layout_build(&without, &s->vocab, &spec, err);
    spec.text = text;
    spec.text_count = text_count;
    if (!code)
        code = rlm_layout_build(&with, &s->vocab, &spec, err);
    if (!code)
        code = rlm_lm_cache_new(&cache, s->lm, 2, with.count, err);
    if (!code) {
        ids = rlm_alloc((size_t)with.count * sizeof *ids);
        video = rlm_alloc((size_t)with.count * sizeof *video);
        if (!ids || !video)
            code = rlm_fail(err, RLM_E_NOMEM, "sample: no memory for %d ids", with.count);
    }
    if (!code) {
        int32_t *sound = video + (int64_t)s->grid[0] * s->grid[1] * s->grid[2];
        walk(s, cache, &with, &without, ids);
        code = rlm_layout_parse(&with, &s->vocab, &spec, ids, video, sound, err);
        if (!code)
            code = decode(s, &spec, video, sound, path, err);
    }
    rlm_free(ids);
    rlm_free(video);
    rlm_lm_cache_free(&cache);
    rlm_layout_free(&with);
    rlm_layout_free(&without);
    return code;
}
