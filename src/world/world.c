/* The door: tables opened once; clips, one or many, from seeds. */
#include "src/world/world.h"

#include <string.h>

#include "src/base/mem.h"

int rlm_world_open(rlm_world **out, int threads, rlm_error *err)
{
    struct rlm_world *w = rlm_calloc(1, sizeof *w);
    if (!w)
        return rlm_fail(err, RLM_E_NOMEM, "playground: no memory");
    int code = rlm_textures_make(w, err);
    if (!code)
        code = rlm_par_open(&w->par, threads, err);
    if (code)
        rlm_world_close(&w);
    else
        *out = w;
    return code;
}

void rlm_world_close(rlm_world **world)
{
    struct rlm_world *w = *world;
    if (!w)
        return;
    if (w->par)
        rlm_par_close(&w->par);
    for (int i = 0; i < FLOORS; i++)
        rlm_free(w->floor[i]);
    rlm_free(w->noise);
    rlm_free(w);
    *world = NULL;
}

void rlm_world_want_defaults(rlm_world_want *want)
{
    *want = (rlm_world_want){.width = 128,
                             .height = 128,
                             .frames = 17,
                             .fps_num = 8,
                             .fps_den = 1,
                             .audio = 1,
                             .style = -1};
}

int rlm_world_style(const char *name)
{
    for (int i = 0; i < STYLES; i++)
        if (!strcmp(name, rlm_fact_name(FACT_STYLE, i)))
            return i;
    return -1;
}

int rlm_world_want_check(const rlm_world_want *w, rlm_error *err)
{
    if (w->width < 16 || w->height < 16 || w->width > 2048 || w->height > 2048)
        return rlm_fail(err, RLM_E_RANGE, "playground: size %d x %d is outside 16..2048", w->width,
                        w->height);
    if (w->frames < 1 || w->frames > 4096)
        return rlm_fail(err, RLM_E_RANGE, "playground: %d frames is outside 1..4096", w->frames);
    if (w->fps_den < 1 || w->fps_num < w->fps_den || w->fps_num / w->fps_den > 240)
        return rlm_fail(err, RLM_E_RANGE, "playground: %d/%d frames a second is outside 1..240",
                        w->fps_num, w->fps_den);
    if (w->style < -1 || w->style >= STYLES)
        return rlm_fail(err, RLM_E_RANGE, "playground: style %d is outside -1..%d", w->style,
                        STYLES - 1);
    return 0;
}

double rlm_world_seconds(const rlm_world_want *want)
{
    return (double)want->frames * want->fps_den / want->fps_num;
}

int rlm_world_clip(const rlm_world *world, uint64_t seed, const rlm_world_want *want, rlm_clip *out,
                   rlm_world_truth *truth, rlm_error *err)
{
    rlm_scene scene;
    RLM_TRY(rlm_world_want_check(want, err));
    double seconds = rlm_world_seconds(want);
    int64_t samples = want->audio ? (int64_t)(seconds * SOUND_RATE + 0.5) : 0;
    size_t bytes =
        rlm_size_mul(3 * (size_t)want->width * (size_t)want->height, (size_t)want->frames);
    rlm_motion *motion = rlm_alloc(sizeof *motion);
    uint8_t *rgb = rlm_alloc(bytes);
    float *sound = samples ? rlm_calloc((size_t)samples, sizeof *sound) : NULL;
    int code = 0;
    if (!motion || !rgb || (samples && !sound))
        code = rlm_fail(err, RLM_E_NOMEM, "playground: no memory for %d frames of %d x %d",
                        want->frames, want->width, want->height);
    if (!code) {
        rlm_scene_make(&scene, seed, want->style);
        rlm_motion_make(motion, &scene, seconds);
        code = rlm_world_draw(world, &scene, motion, want, rgb, truth, err);
    }
    if (!code && samples)
        rlm_world_sound(&scene, motion, SOUND_ALL, samples, sound);
    rlm_free(motion);
    if (code) {
        rlm_free(rgb);
        rlm_free(sound);
        return code;
    }
    memset(out, 0, sizeof *out);
    out->video =
        (rlm_frames){want->frames, want->height, want->width, want->fps_num, want->fps_den, rgb};
    if (samples)
        out->audio = (rlm_pcm){samples, 1, SOUND_RATE, sound};
    return 0;
}

typedef struct batch {
    const rlm_world *world;
    const uint64_t *seeds;
    const rlm_world_want *want;
    rlm_clip *out;
    rlm_world_truth *truths;
    rlm_error *errors; /* one a clip */
} batch;

static void batch_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    batch *b = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        rlm_world_clip(b->world, b->seeds[i], b->want, &b->out[i], b->truths ? &b->truths[i] : NULL,
                       &b->errors[i]);
}

int rlm_world_batch(rlm_world *world, const uint64_t *seeds, int count, const rlm_world_want *want,
                    rlm_clip *out, rlm_world_truth *truths, rlm_error *err)
{
    int code = 0;
    RLM_TRY(rlm_world_want_check(want, err));
    rlm_error *errors = rlm_calloc((size_t)(count > 0 ? count : 1), sizeof *errors);
    if (!errors)
        return rlm_fail(err, RLM_E_NOMEM, "playground: no memory");
    for (int i = 0; i < count; i++)
        memset(&out[i], 0, sizeof out[i]);
    batch b = {world, seeds, want, out, truths, errors};
    rlm_par_for(world->par, count, 1, batch_part, &b);
    for (int i = 0; i < count && !code; i++) {
        code = errors[i].code;
        if (code && err)
            *err = errors[i];
    }
    for (int i = 0; i < count && code; i++)
        rlm_clip_free(&out[i]);
    rlm_free(errors);
    return code;
}

int rlm_world_caption(uint64_t seed, int style, int language, int is_long, int variant, char *to,
                      int bytes)
{
    rlm_scene scene;
    rlm_scene_make(&scene, seed, style);
    if (language == RLM_LANGUAGE_ZH)
        return rlm_caption_zh(&scene, is_long, variant, -1, to, bytes);
    return rlm_caption_en(&scene, is_long, variant, -1, to, bytes);
}
