/* Stills: a keyframe is shown as its own codes decode alone. Decoded among others it is 26 to 36 dB
 * from that, since the decoder sees what came before; so the pictures around it take over part of
 * the difference, less the farther they are. */
#include "src/pipeline.h"

#include <stdlib.h>
#include <string.h>

enum { STILLS_MAX = 64 };

int rlm_stills_check(const rlm_codes *c, const char *what, rlm_error *err)
{
    if (c->still_count < 0 || c->still_count > STILLS_MAX ||
        (c->still_count && (!c->still_frames || !c->stills)))
        return rlm_fail(err, RLM_E_TOKENS, "%s: %d stills, allowed are 0 to %d", what,
                        c->still_count, STILLS_MAX);
    for (int i = 0, least = 0; i < c->still_count; i++) {
        if (c->still_frames[i] < least || c->still_frames[i] >= c->true_frames)
            return rlm_fail(err, RLM_E_TOKENS, "%s: a still at frame %d, expected %d to %d", what,
                            c->still_frames[i], least, c->true_frames - 1);
        least = c->still_frames[i] + 1;
    }
    return 0;
}

/* to += (still - decoded) * weight / of, where `to` shows what stands in `decoded`: all of it up to
 * a difference of SAME in any channel, none from OTHER on, so that nothing appears where things
 * move. */
static void lead(uint8_t *to, const uint8_t *still, const uint8_t *decoded, size_t pixels,
                 int weight, int of)
{
    enum { SAME = 16, OTHER = 48 };
    for (size_t i = 0; i < 3 * pixels; i += 3) {
        int far = 0, whole = of * (OTHER - SAME);
        for (size_t c = i; c < i + 3; c++)
            far = abs((int)to[c] - (int)decoded[c]) > far ? abs((int)to[c] - (int)decoded[c]) : far;
        int share = far <= SAME ? OTHER - SAME : far < OTHER ? OTHER - far : 0;
        for (size_t c = i; c < i + 3; c++) {
            int v = whole * to[c] + weight * share * ((int)still[c] - (int)decoded[c]);
            v = v < 0 ? 0 : (v + whole / 2) / whole;
            to[c] = (uint8_t)(v > 255 ? 255 : v);
        }
    }
}

/* The still at frame `at`; pictures strictly between `from` and `to` may change. */
static void show_one(rlm_frames *f, const uint8_t *still, int at, int from, int to, int reach)
{
    size_t one = (size_t)f->height * (size_t)f->width * 3;
    uint8_t *here = f->rgb + (size_t)at * one;
    for (int g = at - reach + 1; g < at + reach; g++)
        if (g > from && g < to && g != at)
            lead(f->rgb + (size_t)g * one, still, here, one / 3, reach - (g < at ? at - g : g - at),
                 reach);
    memcpy(here, still, one);
}

int rlm_stills_show(rlm_session *s, const rlm_codes *c, rlm_frames *pictures, rlm_error *err)
{
    const rlm_model *m = &s->engine->model;
    size_t plane = (size_t)c->dims[1] * (size_t)c->dims[2];
    rlm_codes one = *c;
    one.dims[0] = one.true_frames = 1;
    one.count = (int64_t)plane;
    for (int i = 0; i < c->still_count && c->still_frames[i] < pictures->count; i++) {
        rlm_frames still = {0};
        int at = c->still_frames[i], next = i + 1 < c->still_count ? c->still_frames[i + 1] : at;
        one.ids = c->stills + (size_t)i * plane;
        RLM_TRY(rlm_video_decode(&s->run, m->video, &one, &still, err));
        /* the first picture is its own still already */
        show_one(pictures, still.rgb, at, i ? c->still_frames[i - 1] : 0,
                 next > at && next < pictures->count ? next : pictures->count,
                 rlm_video_stride_t(&m->video_config));
        rlm_free(still.rgb);
    }
    return 0;
}
