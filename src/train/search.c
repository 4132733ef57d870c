/* Codes chosen by what they decode to (analysis by synthesis): the door, and files.
 *
 * The encoder's codes are where a search begins. The values behind them go down the gradient that
 * the decoder, frozen, gives, by Adam: the refinement of a codec's latents for the clip at hand
 * (Campos et al., arXiv 1906.01223) where latents are quantised. Where a code is a sign, what is
 * decoded at first are values between the signs that harden step by step (soft-to-hard annealing,
 * Agustsson et al., arXiv 1704.00648); then, and from the start where it is not, codes are, and
 * the gradient goes straight through (Bengio et al., arXiv 1308.3432). The best codes seen are
 * taken, so that by the measure of the search, what the decoder makes of them, no window gets
 * worse.
 *
 * A clip is searched window by window, in order; what lies before a window is final and decoded
 * with it. Memory does not grow with the clip. */
#include "src/train/search.h"

#include <math.h>
#include <string.h>

#include "src/media/media.h"

enum { READ_AT_ONCE = 16 }; /* pixel frames */
static const size_t ARENA_RESERVE = (size_t)1 << 38;
static const float BETA1 = 0.9f, BETA2 = 0.99f, EPS = 1e-20f, FALL = 0.8f;
static const double COOLED = 0.12, RELAXED = 0.85; /* last heat by first; share of the looks */

/* ---- The descent ----------------------------------------------------------------------------- */

int rlm_descent_new(rlm_descent *d, int64_t room, rlm_error *err)
{
    rlm_descent_free(d);
    d->x = rlm_alloc(rlm_size_mul(5 * (size_t)room, sizeof *d->x));
    if (!d->x)
        return rlm_fail(err, RLM_E_NOMEM, "search: no memory for %lld values", (long long)room);
    d->room = room;
    d->mean = d->x + room;
    d->square = d->mean + room;
    d->warm = d->square + room;
    d->slope = d->warm + room;
    return 0;
}

void rlm_descent_free(rlm_descent *d)
{
    rlm_free(d->x);
    *d = (rlm_descent){0};
}

/* Look t = 0 .. steps: how warm, and the values that are looked at. */
static void warm(rlm_search *s, const rlm_search_task *task, rlm_descent *d, int t)
{
    double along = (double)t / s->o.steps / RELAXED;
    d->heat = along < 1 ? task->heat * (float)pow(COOLED, along) : 0;
    if (d->heat <= 0)
        return;
    s->k.fill(s->par, d->count, 0, d->warm);
    s->k.axpy(s->par, d->count, 1 / d->heat, d->x, d->warm);
}

/* Step t = 1 .. steps; the rate falls in a line to a fifth. */
static void descend(rlm_search *s, rlm_descent *d, int t, const float *slope)
{
    rlm_adamw o = {.lr = d->rate * (1 - FALL * (float)(t - 1) / (float)s->o.steps),
                   .beta1 = BETA1,
                   .beta2 = BETA2,
                   .eps = EPS,
                   .grad_scale = 1,
                   .step = t};
    if (d->heat > 0) {
        s->k.act_backward(s->par, RLM_ACT_TANH, d->count, d->warm, slope, d->slope, false);
        slope = d->slope;
    }
    s->k.adamw(s->par, &o, d->count, d->x, slope, d->mean, d->square, NULL);
}

/* ---- A window -------------------------------------------------------------------------------- */

static void start(rlm_search *s, const rlm_search_task *task, bool dry)
{
    rlm_arena_rewind(&s->arena, 0);
    s->run.tape = NULL;
    task->start(s, dry);
    s->above = rlm_arena_mark(&s->arena);
}

static double look(rlm_search *s, const rlm_search_task *task, const float **slope, bool dry)
{
    rlm_arena_rewind(&s->arena, s->above);
    rlm_tape_clear(&s->tape);
    s->run.tape = &s->tape;
    double loss = task->look(s, slope, dry);
    s->run.tape = NULL;
    return loss;
}

/* The gradients of the look before. */
static void look_back(rlm_search *s, bool dry)
{
    s->run.tape = &s->tape;
    if (dry)
        rlm_backward_plan(&s->run, &s->tape);
    else
        rlm_backward(&s->run, &s->tape);
    s->run.tape = NULL;
}

/* The scratch of a window: the same with empty kernels. */
static int plan(rlm_search *s, const rlm_search_task *task, rlm_error *err)
{
    const float *slope;
    s->run.k = &s->empty;
    start(s, task, true);
    look(s, task, &slope, true);
    look_back(s, true);
    s->run.k = &s->k;
    RLM_TRY(rlm_tape_check(&s->tape, err));
    return rlm_arena_commit(&s->arena, s->arena.peak, err);
}

static int tell(const rlm_search *s, int64_t done, int64_t total, rlm_error *err)
{
    rlm_progress p = {.stage = RLM_STAGE_SEARCH, .done = done, .total = total};
    p.elapsed_s = rlm_now() - s->start;
    p.eta_s = done ? p.elapsed_s / (double)done * (double)(total - done) : 0;
    if (s->o.progress && s->o.progress(s->o.progress_cookie, &p))
        return rlm_fail(err, RLM_E_CANCELLED, "search: stopped at code frame %lld of %lld",
                        (long long)done, (long long)total);
    return 0;
}

int rlm_search_window(rlm_search *s, const rlm_search_task *task, rlm_descent *d, int64_t begin,
                      int64_t end, int64_t total, rlm_error *err)
{
    const float *slope;
    RLM_TRY(plan(s, task, err));
    start(s, task, false);
    memset(d->mean, 0, (size_t)d->count * sizeof *d->mean);
    memset(d->square, 0, (size_t)d->count * sizeof *d->square);
    d->heat = 0;
    double best = task->heat > 0 ? look(s, task, &slope, false) : INFINITY;
    for (int t = 0; t <= s->o.steps; t++) {
        warm(s, task, d, t);
        double loss = look(s, task, &slope, false);
        RLM_TRY(rlm_tape_check(&s->tape, err));
        if (d->heat <= 0 && loss < best) {
            best = loss;
            task->take(s);
        }
        RLM_TRY(tell(s, begin + (end - begin) * t / s->o.steps, total, err));
        if (t == s->o.steps)
            break;
        look_back(s, false);
        descend(s, d, t + 1, slope);
        rlm_arena_rewind(&s->arena, s->above);
        task->quantise(s);
    }
    return 0;
}

/* ---- The door -------------------------------------------------------------------------------- */

static int open_all(rlm_search *s, rlm_error *err)
{
    unsigned parts = RLM_PART_VIDEO | RLM_PART_AUDIO | RLM_PART_OPTIONAL;
    RLM_TRY(rlm_par_open(&s->par, s->o.threads, err));
    RLM_TRY(rlm_kernels_init_training(&s->k, s->o.cpu_mask, err));
    rlm_kernels_empty_training(&s->empty, &s->k);
    RLM_TRY(rlm_model_open(&s->model, s->o.model_dir, parts, &s->k, s->par, err));
    if (s->model.video)
        RLM_TRY(rlm_params_pack(&s->model.video_params, &s->k, s->par, true, err));
    if (s->model.audio)
        RLM_TRY(rlm_params_pack(&s->model.audio_params, &s->k, s->par, true, err));
    RLM_TRY(rlm_arena_reserve(&s->arena, ARENA_RESERVE, err));
    s->run = (rlm_run){.k = &s->k, .arena = &s->arena, .par = s->par, .lazy = true};
    return s->o.perceptual
               ? rlm_perceptual_loss_open(&s->pictures.ruler, s->o.perceptual, &s->k, s->par, err)
               : 0;
}

int rlm_search_open(rlm_search **out, const rlm_search_options *o, rlm_error *err)
{
    *out = NULL;
    if (!o->model_dir || o->steps < 1 || o->steps > RLM_SEARCH_STEPS_MAX)
        return rlm_fail(err, RLM_E_ARG, "search: needs a model directory and 1 to %d steps, not %d",
                        RLM_SEARCH_STEPS_MAX, o->steps);
    rlm_search *s = rlm_calloc(1, sizeof *s);
    if (!s)
        return rlm_fail(err, RLM_E_NOMEM, "search: out of memory");
    s->o = *o;
    int code = open_all(s, err);
    if (code)
        rlm_search_close(&s);
    *out = s;
    return code;
}

void rlm_search_close(rlm_search **search)
{
    rlm_search *s = *search;
    if (!s)
        return;
    rlm_search_pictures_free(&s->pictures);
    rlm_search_sound_free(&s->sound);
    rlm_model_close(&s->model);
    rlm_tape_free(&s->tape);
    if (s->arena.base)
        rlm_arena_release(&s->arena);
    if (s->par)
        rlm_par_close(&s->par);
    rlm_free(s);
    *search = NULL;
}

int rlm_search_frames(rlm_search *s, const rlm_frames *f, rlm_codes *codes, rlm_error *err)
{
    RLM_TRY(rlm_search_pictures_begin(s, codes, f->width, f->height, err));
    RLM_TRY(rlm_search_pictures_push(s, f, err));
    return rlm_search_pictures_end(s, err);
}

int rlm_search_pcm(rlm_search *s, const rlm_pcm *pcm, rlm_codes *codes, rlm_error *err)
{
    if (pcm->channels != 1 || (s->model.audio && pcm->rate != s->model.audio_config.rate))
        return rlm_fail(err, RLM_E_ARG, "search: sound of %d channels at %d Hz, not the codec's",
                        pcm->channels, pcm->rate);
    RLM_TRY(rlm_search_sound_begin(s, codes, err));
    RLM_TRY(rlm_search_sound_push(s, pcm->count, pcm->samples, err));
    return rlm_search_sound_end(s, err);
}

/* ---- A file: read once more for its pictures, and for its sound ------------------------------ */

typedef struct reading {
    rlm_search *s;
    rlm_codes *codes;
    bool begun;
} reading;

static int take_pictures(void *cookie, const rlm_clip *part, rlm_error *err)
{
    reading *r = cookie;
    const rlm_frames *f = &part->video;
    if (!f->count)
        return 0;
    if (!r->begun)
        RLM_TRY(rlm_search_pictures_begin(r->s, r->codes, f->width, f->height, err));
    r->begun = true;
    return rlm_search_pictures_push(r->s, f, err);
}

static int take_sound(void *cookie, const rlm_clip *part, rlm_error *err)
{
    reading *r = cookie;
    return rlm_search_sound_push(r->s, part->audio.count, part->audio.samples, err);
}

int rlm_search_file(rlm_search *s, const char *path, const rlm_want *want, rlm_codes *video,
                    rlm_codes *audio, rlm_error *err)
{
    if (video && video->count) {
        reading r = {.s = s, .codes = video};
        rlm_want pictures = *want;
        pictures.want_audio = 0;
        RLM_TRY(rlm_media_stream(path, &pictures, READ_AT_ONCE, take_pictures, &r, err));
        RLM_TRY(r.begun ? rlm_search_pictures_end(s, err) : 0);
    }
    if (audio && audio->count) {
        reading r = {.s = s};
        rlm_want sound = *want;
        sound.want_video = 0;
        sound.channels = 1;
        sound.rate = s->model.audio ? s->model.audio_config.rate : 0;
        RLM_TRY(rlm_search_sound_begin(s, audio, err));
        RLM_TRY(rlm_media_stream(path, &sound, READ_AT_ONCE, take_sound, &r, err));
        RLM_TRY(rlm_search_sound_end(s, err));
    }
    return 0;
}
