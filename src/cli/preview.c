/* Pictures so far, written beside while the rest is being sampled. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/job.h"

static const double WRITE_SHARE = 0.05;

/* Pictures [first, first + shown->count) of the result into p->clip. */
static bool keep(cli_preview *p, const rlm_frames *shown, int first)
{
    rlm_frames *v = &p->clip.video;
    size_t one = (size_t)shown->height * (size_t)shown->width * 3;
    if (first < 0 || first > v->count ||
        (v->count && (v->height != shown->height || v->width != shown->width)))
        return false;
    uint8_t *grown = realloc(v->rgb, (size_t)(first + shown->count) * one);
    if (!grown)
        return false;
    memcpy(grown + (size_t)first * one, shown->rgb, (size_t)shown->count * one);
    *v = *shown;
    v->rgb = grown;
    v->count = first + shown->count;
    return true;
}

/* A write now would cost more than its share of the time so far. */
static bool too_soon(const cli_preview *p, double now)
{
    return p->clip.video.count - p->shown < p->every ||
           p->spent + p->last > WRITE_SHARE * (now - p->begin);
}

static void show(void *cookie, const rlm_frames *pictures, int first)
{
    cli_preview *p = cookie;
    if (!p->clip.video.count)
        p->base = first;
    double start = cli_now();
    rlm_error err = {0};
    if (!p->path || !keep(p, pictures, first - p->base) || too_soon(p, start))
        return;
    rlm_clip part = p->clip;
    size_t n = strlen(p->path);
    if (n > 4 && !strcmp(p->path + n - 4, ".png")) { /* a still: the latest picture */
        part.video.count = 1;
        part.video.rgb += (size_t)(p->clip.video.count - 1) * (size_t)part.video.height *
                          (size_t)part.video.width * 3;
    }
    if (rlm_media_write(p->path, &part, NULL, &err)) {
        fprintf(stderr, "reelm: preview: %s\n", err.text);
        p->path = NULL; /* said once; the clip itself goes on */
    }
    p->shown = p->clip.video.count;
    p->last = cli_now() - start;
    p->spent += p->last;
}

void cli_preview_begin(cli_preview *p, const cli_args *a, rlm_request *r)
{
    *p = (cli_preview){
        .path = a->preview_path, .every = (int)a->preview_interval, .begin = cli_now()};
    p->clip.origin = a->no_ai_mark ? RLM_ORIGIN_RECORDED : RLM_ORIGIN_GENERATED;
    r->preview = p->path ? show : NULL;
    r->preview_cookie = p;
}

void cli_preview_end(cli_preview *p)
{
    free(p->clip.video.rgb);
    *p = (cli_preview){.spent = p->spent};
}
