/* Pictures while they are being sampled: decoded afresh from the codes so far, as often as the
 * share of time allowed for it pays for. */
#include "src/pipeline.h"

#include <limits.h>
#include <string.h>

/* The window's past, whose pictures are known, and what stands behind it. */
static int preview_codes(const rlm_job *j, const rlm_layout_spec *spec, const int32_t *ids,
                         int latents, rlm_codes *all)
{
    const rlm_grid *g = &spec->video_out;
    int past = j->past ? j->past->dims[0] : 0;
    size_t plane = (size_t)g->h * (size_t)g->w;
    *all = rlm_job_video_grid(j, past + latents, g->h, g->w, NULL, INT_MAX);
    all->ids = rlm_alloc((size_t)all->count * sizeof *all->ids);
    if (!all->ids)
        return RLM_E_NOMEM;
    if (past)
        memcpy(all->ids, j->past->ids, (size_t)past * plane * sizeof *ids);
    for (size_t i = 0; i < (size_t)latents * plane; i++)
        all->ids[(size_t)past * plane + i] = ids[i] - RLM_ID_VIDEO;
    return 0;
}

void rlm_job_preview(rlm_job *j, const rlm_layout_spec *spec, const int32_t *ids, int latents)
{
    double start = rlm_now(), share = j->r->preview_share;
    rlm_codes all = {0};
    rlm_frames shown = {0};
    if (!j->r->preview || j->no_preview ||
        (share < 1 && j->preview_spent + j->preview_last >= share * (start - j->start)))
        return;
    /* a preview that fails is left out: the decoding at the end says why */
    int code = preview_codes(j, spec, ids, latents, &all);
    if (!code)
        code =
            rlm_video_decode(&j->s->run, j->s->engine->model.video, &all, &shown, NULL, NULL, NULL);
    if (!code && shown.count > j->past_frames) {
        rlm_frames part = shown;
        part.count -= j->past_frames;
        part.rgb += (size_t)j->past_frames * (size_t)shown.height * (size_t)shown.width * 3;
        j->r->preview(j->r->preview_cookie, &part, j->first_picture);
    }
    rlm_free(shown.rgb);
    rlm_codes_free(&all);
    j->preview_last = rlm_now() - start;
    j->preview_spent += j->preview_last;
}
