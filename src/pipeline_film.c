/* Pictures of the window in progress, decoded latent frame by latent frame as their codes are
 * sampled, between two tokens: both are work for all cores, so that nothing is gained by doing them
 * at once, and every picture is there as soon as its codes allow. */
#include "src/pipeline.h"

#include <string.h>

/* A failure here would lose tokens not yet saved: all memory is taken before the first of them. */
int rlm_film_open(rlm_job *j, const rlm_codes *grid, const int32_t *past, int past_latents,
                  int skip, int number, rlm_error *err)
{
    rlm_film *f = &j->film;
    size_t plane = (size_t)grid->dims[1] * (size_t)grid->dims[2];
    size_t one = rlm_size_mul(rlm_size_mul((size_t)grid->true_height, (size_t)grid->true_width), 3);
    int fresh = grid->true_frames - skip;
    *f = (rlm_film){.skip = skip, .most = grid->true_frames, .number = number, .grid = *grid};
    f->made = (rlm_frames){.height = grid->true_height,
                           .width = grid->true_width,
                           .fps_num = grid->fps_num,
                           .fps_den = grid->fps_den};
    f->past = past_latents;
    f->made.rgb = rlm_alloc(rlm_size_mul(one, fresh > 0 ? (size_t)fresh : 1));
    f->ids = rlm_alloc(rlm_size_mul(plane, sizeof *f->ids));
    int code =
        f->made.rgb && f->ids ? 0 : rlm_fail(err, RLM_E_NOMEM, "no memory for %d frames", fresh);
    if (!code)
        code =
            rlm_video_decoder_open(&f->decoder, &j->s->run, j->s->engine->model.video, grid, err);
    double start = rlm_now();
    for (int t = 0; t < past_latents && !code; t++)
        code = rlm_video_decoder_push(f->decoder, past + (size_t)t * plane, 0, 0, &f->made, err);
    j->report.decode_s += rlm_now() - start;
    f->latents = past_latents;
    if (code)
        rlm_film_close(j);
    return code;
}

void rlm_film_close(rlm_job *j)
{
    rlm_film *f = &j->film;
    rlm_video_decoder_close(&f->decoder);
    rlm_free(f->made.rgb);
    rlm_free(f->ids);
    *f = (rlm_film){0};
}

void rlm_film_show(rlm_job *j, const rlm_frames *pictures, int number)
{
    if (j->r->preview && !j->no_preview && !j->r->dry_run && pictures->count)
        j->r->preview(j->r->preview_cookie, pictures, number);
}

/* The next latent frame, whose codes are given; whoever watches sees its pictures. */
static int film_next(rlm_job *j, const int32_t *ids, rlm_error *err)
{
    rlm_film *f = &j->film;
    int stride = rlm_video_stride_t(&j->s->engine->model.video_config), had = f->made.count;
    int first = f->latents ? 1 + (f->latents - 1) * stride : 0;
    double start = rlm_now();
    RLM_TRY(rlm_video_decoder_push(f->decoder, ids, f->skip > first ? f->skip - first : 0,
                                   f->most - first, &f->made, err));
    f->latents++;
    j->report.decode_s += rlm_now() - start;
    rlm_frames part = f->made;
    part.count -= had;
    part.rgb += (size_t)had * (size_t)part.height * (size_t)part.width * 3;
    rlm_film_show(j, &part, f->number + had);
    return 0;
}

void rlm_film_roll(rlm_job *j, const int32_t *ids, int latents)
{
    rlm_film *f = &j->film;
    size_t plane = (size_t)f->grid.dims[1] * (size_t)f->grid.dims[2];
    while (f->decoder && f->latents < f->past + latents) {
        const int32_t *from = ids + (size_t)(f->latents - f->past) * plane;
        for (size_t i = 0; i < plane; i++)
            f->ids[i] = from[i] - RLM_ID_VIDEO;
        if (film_next(j, f->ids, NULL))
            return; /* decoded, and the reason said, when the window is taken */
    }
}

int rlm_film_take(rlm_job *j, const int32_t *ids, int latents, rlm_frames *pictures, rlm_error *err)
{
    rlm_film *f = &j->film;
    size_t plane = (size_t)f->grid.dims[1] * (size_t)f->grid.dims[2];
    int code = 0;
    while (!code && f->latents < f->past + latents)
        code = film_next(j, ids + (size_t)(f->latents - f->past) * plane, err);
    if (!code) {
        *pictures = f->made;
        f->made.rgb = NULL;
    }
    rlm_film_close(j);
    return code;
}
