/* The perceptual distance (perceptual.c) as a loss: value and gradient with respect to pixels.
 *
 * The network is frozen, so only the reconstruction's half is walked back, stretch by stretch
 * between the pools, with a tape each. Convolutions run on the kernels of the caller (bf16 where
 * the machine has it). */
#include "src/train/squeezenet.h"

struct rlm_perceptual_loss {
    rlm_squeezenet net;
    rlm_tape tapes[RLM_STRETCHES];
    rlm_tap target[RLM_TAPS], made[RLM_TAPS];
    rlm_tensor pooled[RLM_STRETCHES]; /* inputs of stretches 1.. */
};

int rlm_perceptual_loss_open(rlm_perceptual_loss **out, const char *path, const rlm_kernels *k,
                             rlm_par *par, rlm_error *err)
{
    *out = rlm_calloc(1, sizeof **out);
    if (!*out)
        return rlm_fail(err, RLM_E_NOMEM, "perceptual loss: out of memory");
    int code = rlm_squeezenet_load(&(*out)->net, path, err);
    if (!code)
        code = rlm_params_pack(&(*out)->net.params, k, par, true, err);
    if (code)
        rlm_perceptual_loss_close(out);
    return code;
}

void rlm_perceptual_loss_close(rlm_perceptual_loss **pp)
{
    if (!*pp)
        return;
    for (int i = 0; i < RLM_STRETCHES; i++)
        rlm_tape_free(&(*pp)->tapes[i]);
    rlm_params_free(&(*pp)->net.params);
    rlm_free(*pp);
    *pp = NULL;
}

/* ---- Forward and back ---- */

/* Frame `at[i]` of clip i of pixels [n][t][h][w][3] in [-1, 1] as network input, and its gradient
 * into that of the pixels. */
typedef struct picture_job {
    int64_t frames, plane;
    const int *at;
    const float *from;
    float *to;
} picture_job;

static void fill_some(void *ctx, int64_t begin, int64_t end, int worker)
{
    const picture_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const float *from = j->from + (i * j->frames + j->at[i]) * j->plane * 3;
        float *to = j->to + i * j->plane * 3;
        for (int64_t k = 0; k < j->plane; k++)
            for (int c = 0; c < 3; c++)
                to[k * 3 + c] = (from[k * 3 + 2 - c] + 1.0f) * 127.5f - rlm_squeezenet_mean[c];
    }
}

static void return_some(void *ctx, int64_t begin, int64_t end, int worker)
{
    const picture_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const float *from = j->from + i * j->plane * 3;
        float *to = j->to + (i * j->frames + j->at[i]) * j->plane * 3;
        for (int64_t k = 0; k < j->plane; k++)
            for (int c = 0; c < 3; c++)
                to[k * 3 + 2 - c] += 127.5f * from[k * 3 + c];
    }
}

void rlm_perceptual_aim(rlm_run *run, rlm_perceptual_loss *p, const rlm_tensor *like,
                        const float *target, const int *at)
{
    int64_t n = like->shape[0], frames = like->shape[1], h = like->shape[2], w = like->shape[3];
    rlm_tape *outer = run->tape;
    run->tape = NULL;
    rlm_tensor a = rlm_tensor_new5(run, n, 1, h, w, 3);
    picture_job shown = {frames, h * w, at, target, rlm_f32(&a)};
    if (target)
        rlm_par_for(run->par, n, 1, fill_some, &shown);
    rlm_squeezenet_features(run, &p->net, &a, h, w, !target, NULL, NULL, p->target);
    run->tape = outer;
}

double rlm_loss_perceptual_aimed(rlm_run *run, rlm_perceptual_loss *p, const rlm_tensor *x,
                                 const int *at, float scale, bool dry)
{
    static const int first[RLM_STRETCHES] = {0, 1, 3, 5};
    static const int last[RLM_STRETCHES] = {0, 2, 4, RLM_TAPS - 1};
    int64_t n = x->shape[0], h = x->shape[2], w = x->shape[3], frames = x->shape[1];
    rlm_tape *outer = run->tape;
    bool lazy = run->lazy;
    size_t mark = rlm_arena_mark(run->arena);
    double sum = 0;
    float *dx = rlm_grad(run, x);
    run->lazy = false; /* the loops here add to gradients directly */
    for (int i = 0; i < RLM_STRETCHES; i++)
        rlm_tape_clear(&p->tapes[i]);
    run->tape = &p->tapes[0];
    rlm_tensor b = rlm_tensor_new5(run, n, 1, h, w, 3);
    picture_job seen = {frames, h * w, at, rlm_f32(x), rlm_f32(&b)};
    if (!dry)
        rlm_par_for(run->par, n, 1, fill_some, &seen);
    rlm_squeezenet_features(run, &p->net, &b, h, w, dry, p->tapes, p->pooled, p->made);
    run->tape = NULL;
    for (int s = RLM_STRETCHES - 1; s >= 0; s--) {
        for (int i = first[s]; i <= last[s] && !dry; i++)
            sum += rlm_squeezenet_compare(run->par, &p->target[i], &p->made[i], scale);
        rlm_backward(run, &p->tapes[s]);
        if (s > 0 && !dry)
            rlm_squeezenet_pool_backward(run->par, &p->made[first[s] - 1], &p->pooled[s]);
    }
    picture_job back = {frames, h * w, at, b.grad, dx};
    if (!dry && dx)
        rlm_par_for(run->par, n, 1, return_some, &back);
    rlm_arena_rewind(run->arena, mark);
    run->tape = outer;
    run->lazy = lazy;
    for (int i = 0; i < RLM_STRETCHES && outer; i++)
        outer->failed = outer->failed || p->tapes[i].failed;
    return sum;
}

double rlm_loss_perceptual(rlm_run *run, rlm_perceptual_loss *p, const rlm_tensor *x,
                           const float *target, const int *at, float scale)
{
    size_t mark = rlm_arena_mark(run->arena);
    rlm_perceptual_aim(run, p, x, target, at);
    double loss = rlm_loss_perceptual_aimed(run, p, x, at, scale, !target);
    rlm_arena_rewind(run->arena, mark);
    return loss;
}
