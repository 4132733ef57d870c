/* The search for codes of pictures, the signs of z: mean square, and what a perceptual network sees
 * of every frame. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "src/train/search.h"

enum {
    WINDOW_CODES = 1280, /* codes of a window, unless one latent frame has more */
    WINDOW_CONTEXT = 2,  /* latent frames decoded in front of it */
    RULER_SIDE_MIN = 32, /* pixels; smaller pictures are compared without the ruler */
};
static const double RULER_WEIGHT = 0.005; /* of the perceptual distance beside the mean square */
static const float RATE = 0.1f, HEAT = 0.25f;

typedef rlm_search_pictures window;

/* ---- A window -------------------------------------------------------------------------------- */

static int64_t plane_of(const window *w)
{
    return (int64_t)w->codes->dims[1] * w->codes->dims[2];
}

static size_t frame_floats(const window *w)
{
    return (size_t)w->h * (size_t)w->w * 3;
}

static float *target(const window *w)
{
    return w->pixels + frame_floats(w);
}

/* The window's pictures, each a clip of its own, at `pixels`. */
static rlm_tensor pictures(const window *w, float *pixels)
{
    return rlm_tensor_view(pixels, RLM_F32, 5, (int64_t[5]){w->room, 1, w->h, w->w, 3});
}

static bool looks(const window *w)
{
    return w->ruler && w->h >= RULER_SIDE_MIN && w->w >= RULER_SIDE_MIN;
}

/* The encoder's z, rows of mean square 1, with the signs of the codes: how sure it was of each. It
 * sees the window alone, so that a later window's signs need not be those of its z. What the ruler
 * sees in the pixels stays in the arena. */
static void start(rlm_search *s, bool dry)
{
    window *w = &s->pictures;
    int bits = s->model.video_config.bits, lead = w->begin > 0;
    int64_t codes = (w->end - w->begin) * plane_of(w);
    size_t mark = rlm_arena_mark(&s->arena);
    rlm_tensor x = rlm_tensor_view(lead ? w->pixels : target(w), RLM_F32, 5,
                                   (int64_t[5]){1, lead + w->room, w->h, w->w, 3});
    rlm_rmsnorm sphere = {.dim = bits, .eps = 1e-6f};
    rlm_tensor z = rlm_video_encode_forward(&s->run, s->model.video, &x);
    z = rlm_rmsnorm_forward(&s->run, &sphere, &z);
    w->z.count = codes * bits;
    w->z.rate = RATE;
    memcpy(w->ids, w->codes->ids + w->begin * plane_of(w), (size_t)codes * sizeof *w->ids);
    rlm_video_unpack(w->ids, codes, bits, w->z.x);
    for (int64_t i = 0; i < w->z.count && !dry; i++)
        w->z.x[i] *= fabsf(rlm_f32(&z)[lead * plane_of(w) * bits + i]) + FLT_MIN;
    rlm_arena_rewind(&s->arena, mark);
    if (looks(w)) {
        rlm_tensor shown = pictures(w, target(w));
        rlm_perceptual_aim(&s->run, w->ruler, &shown, dry ? NULL : target(w), w->at);
    }
}

static double look(rlm_search *s, const float **slope, bool dry)
{
    window *w = &s->pictures;
    rlm_run *run = &s->run;
    int bits = s->model.video_config.bits, lead = w->begin - w->lead;
    int64_t plane = plane_of(w), before = lead * plane * bits;
    rlm_tensor q =
        rlm_tensor_new5(run, 1, w->end - w->lead, w->codes->dims[1], w->codes->dims[2], bits);
    if (!dry) {
        rlm_video_unpack(w->codes->ids + w->lead * plane, lead * plane, bits, rlm_f32(&q));
        if (w->z.heat > 0)
            run->k->act_forward(run->par, RLM_ACT_TANH, w->z.count, w->z.warm,
                                rlm_f32(&q) + before);
        else
            rlm_video_unpack(w->ids, w->z.count / bits, bits, rlm_f32(&q) + before);
    }
    rlm_tensor y = rlm_video_decode_forward(run, s->model.video, &q);
    int64_t skip = (y.shape[1] - w->room) * (int64_t)frame_floats(w);
    float *dy = rlm_grad(run, &y);
    rlm_tensor seen = pictures(w, rlm_f32(&y) + skip);
    seen.grad = dy + skip;
    *slope = q.grad + before;
    double loss = rlm_loss_recon(run, RLM_LOSS_L2, &seen, target(w), 1.0f);
    if (looks(w))
        loss += RULER_WEIGHT *
                rlm_loss_perceptual_aimed(run, w->ruler, &seen, w->at, (float)RULER_WEIGHT, dry);
    return loss;
}

static void quantise(rlm_search *s)
{
    window *w = &s->pictures;
    int bits = s->model.video_config.bits;
    rlm_tensor z = rlm_tensor_view(w->z.x, RLM_F32, 2, (int64_t[2]){w->z.count / bits, bits});
    rlm_lfq_forward(&s->run, &z, w->ids);
}

static void take(rlm_search *s)
{
    window *w = &s->pictures;
    memcpy(w->codes->ids + w->begin * plane_of(w), w->ids,
           (size_t)((w->end - w->begin) * plane_of(w)) * sizeof *w->ids);
}

static const rlm_search_task TASK = {HEAT, start, look, quantise, take};

/* ---- A clip ---------------------------------------------------------------------------------- */

/* The window that begins at latent frame w->end; nothing is left behind the last. */
static void next_window(window *w)
{
    int64_t most = WINDOW_CODES / plane_of(w);
    w->begin = w->end;
    w->end += most < 1 ? 1 : (int)most;
    if (w->end > w->codes->dims[0])
        w->end = w->codes->dims[0];
    w->lead = w->begin - (most < 1 ? 1 : WINDOW_CONTEXT);
    if (w->lead < 0)
        w->lead = 0;
    w->room = (w->end - w->begin) * w->st - (w->begin == 0 ? w->st - 1 : 0);
    w->frames = 0;
}

/* Codes that this tokenizer may have made of frames of this size. */
static int check_codes(const rlm_search *s, const rlm_codes *c, int width, int height,
                       rlm_error *err)
{
    const rlm_video_config *config = &s->model.video_config;
    if (!s->model.video)
        return rlm_fail(err, RLM_E_MODEL, "search: %s has no video tokenizer", s->model.dir);
    int stride = rlm_video_stride_s(config);
    bool fits = c->dims[0] >= 1 && c->window_count <= 1 && !c->still_count &&
                c->dims[1] == (height + stride - 1) / stride &&
                c->dims[2] == (width + stride - 1) / stride &&
                c->count == (int64_t)c->dims[0] * c->dims[1] * c->dims[2];
    for (int64_t i = 0; fits && i < c->count; i++)
        fits = c->ids[i] >= 0 && !(c->ids[i] >> config->bits);
    return fits ? 0
                : rlm_fail(err, RLM_E_TOKENS, "search: the codes are not of these frames of %dx%d",
                           width, height);
}

int rlm_search_pictures_begin(rlm_search *s, rlm_codes *codes, int width, int height,
                              rlm_error *err)
{
    window *w = &s->pictures;
    RLM_TRY(check_codes(s, codes, width, height, err));
    int stride = rlm_video_stride_s(&s->model.video_config);
    w->codes = codes;
    w->st = rlm_video_stride_t(&s->model.video_config);
    w->h = codes->dims[1] * stride;
    w->w = codes->dims[2] * stride;
    w->begin = w->end = 0;
    s->start = rlm_now();
    next_window(w);
    size_t most = (size_t)(w->end * w->st);
    rlm_free(w->pixels);
    rlm_free(w->ids);
    rlm_free(w->at);
    w->pixels = rlm_alloc(rlm_size_mul((1 + most) * frame_floats(w), sizeof(float)));
    w->ids = rlm_alloc(rlm_size_mul((size_t)(w->end * plane_of(w)), sizeof *w->ids));
    w->at = rlm_calloc(most, sizeof *w->at);
    if (!w->pixels || !w->ids || !w->at)
        return rlm_fail(err, RLM_E_NOMEM, "search: no memory for a window of %dx%d", w->w, w->h);
    return rlm_descent_new(&w->z, w->end * plane_of(w) * s->model.video_config.bits, err);
}

static int end_window(rlm_search *s, rlm_error *err)
{
    window *w = &s->pictures;
    RLM_TRY(rlm_search_window(s, &TASK, &w->z, w->begin, w->end, w->codes->dims[0], err));
    memcpy(w->pixels, target(w) + (size_t)(w->room - 1) * frame_floats(w),
           frame_floats(w) * sizeof *w->pixels);
    next_window(w);
    return 0;
}

int rlm_search_pictures_push(rlm_search *s, const rlm_frames *f, rlm_error *err)
{
    window *w = &s->pictures;
    for (int i = 0; i < f->count && w->begin < w->codes->dims[0]; i++) {
        rlm_video_floats(f, i, w->h, w->w, target(w) + (size_t)w->frames++ * frame_floats(w));
        if (w->frames == w->room)
            RLM_TRY(end_window(s, err));
    }
    return 0;
}

/* The clip's last frame fills the last window, as it does when codes are made. */
int rlm_search_pictures_end(rlm_search *s, rlm_error *err)
{
    window *w = &s->pictures;
    size_t frame = frame_floats(w);
    if (w->begin == w->codes->dims[0])
        return 0;
    if (!w->frames)
        return rlm_fail(err, RLM_E_ARG, "search: fewer frames than the codes stand for");
    for (float *to = target(w) + (size_t)w->frames * frame; w->frames < w->room; to += frame) {
        memcpy(to, to - frame, frame * sizeof *to);
        w->frames++;
    }
    return end_window(s, err);
}

void rlm_search_pictures_free(rlm_search_pictures *w)
{
    rlm_perceptual_loss_close(&w->ruler);
    rlm_descent_free(&w->z);
    rlm_free(w->pixels);
    rlm_free(w->ids);
    rlm_free(w->at);
}
