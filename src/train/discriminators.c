/* Multi-scale STFT critics for waves, in the manner of SoundStream's complex STFT discriminator:
 * one small convolutional network for each of the windows 256, 512, 1024 (hop a quarter) over real
 * and imaginary parts.
 *
 *   wave [w / hop][hop] - conv k4 with fixed Fourier rows -> [frames][bins][re, im]
 *   four bins side by side as channels: [frames][bins / 4][8]
 *   conv 3x5 - LEAKY - conv 3x5 stride (1,2) - LEAKY - the same - LEAKY - conv 3x3 - LEAKY - conv
 * 3x3 - 1
 *
 * Time is the h axis of the pictures, frequency the w axis. Losses touch elements here. */
#include "src/train/audio_train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CRITICS = 3, LAYERS = 4, WIDTH = 32, FIRST_WINDOW = 256, FOLD = 4 };
static const double PI = 3.14159265358979323846;

typedef struct critic {
    int window;
    rlm_conv stft, layers[LAYERS], out;
} critic;

struct rlm_critics {
    rlm_params *params;
    critic critics[CRITICS];
};

typedef struct opinion {
    rlm_tensor features[LAYERS], logits;
} opinion;

static void declare(critic *c, rlm_params *p, int number)
{
    static const int kernel[LAYERS] = {5, 5, 5, 3}, stride[LAYERS] = {1, 2, 2, 1};
    char name[64];
    c->window = FIRST_WINDOW << number;
    snprintf(name, sizeof name, "critic%d.stft", number);
    rlm_conv_declare(
        &c->stft, p, name,
        &(rlm_conv_spec){
            .cin = c->window / 4, .cout = c->window, .kt = 1, .kh = 1, .kw = 4, .causal_w = true});
    for (int i = 0; i < LAYERS; i++) {
        snprintf(name, sizeof name, "critic%d.conv%d", number, i);
        rlm_conv_declare(&c->layers[i], p, name,
                         &(rlm_conv_spec){.cin = i ? WIDTH : 2 * FOLD,
                                          .cout = WIDTH,
                                          .kt = 1,
                                          .kh = 3,
                                          .kw = kernel[i],
                                          .sw = stride[i],
                                          .bias = true});
    }
    snprintf(name, sizeof name, "critic%d.out", number);
    rlm_conv_declare(
        &c->out, p, name,
        &(rlm_conv_spec){.cin = WIDTH, .cout = 1, .kt = 1, .kh = 3, .kw = 3, .bias = true});
    if (c->stft.w)
        c->stft.w->decay = c->stft.w->matrix = false;
}

int rlm_critics_new(rlm_critics **out, rlm_params *params, rlm_error *err)
{
    *out = rlm_calloc(1, sizeof **out);
    if (!*out)
        return rlm_fail(err, RLM_E_NOMEM, "critics: no memory");
    (*out)->params = params;
    for (int i = 0; i < CRITICS; i++)
        declare(&(*out)->critics[i], params, i);
    return 0;
}

void rlm_critics_free(rlm_critics **c)
{
    rlm_free(*c);
    *c = NULL;
}

/* Hann window over its root energy times cosine and sine; the Nyquist bin is left out. No gradient
 * ever reaches these rows. */
void rlm_critics_fill(rlm_critics *c)
{
    for (int i = 0; i < CRITICS; i++) {
        rlm_param *w = c->critics[i].stft.w;
        int n = c->critics[i].window;
        double unit = 1.0 / sqrt(0.375 * n);
        w->grad = NULL;
        for (int b = 0; b < n / 2; b++)
            for (int t = 0; t < n; t++) {
                double hann = unit * (0.5 - 0.5 * cos(2 * PI * t / n));
                double angle = 2 * PI * (double)((int64_t)b * t % n) / n;
                w->data[(2 * b) * n + t] = (float)(hann * cos(angle));
                w->data[(2 * b + 1) * n + t] = (float)(hann * sin(angle));
            }
    }
}

static void set_gradients(rlm_critics *c, bool on)
{
    for (int i = 0; i < CRITICS; i++)
        for (int j = 0; j <= LAYERS; j++) {
            rlm_conv *conv = j < LAYERS ? &c->critics[i].layers[j] : &c->critics[i].out;
            rlm_param *both[2] = {conv->w, conv->bias};
            for (int k = 0; k < 2; k++)
                both[k]->grad = on ? c->params->grad + (both[k]->data - c->params->data) : NULL;
        }
}

static opinion ask(rlm_run *run, const critic *c, const rlm_tensor *wave)
{
    opinion o;
    int64_t n = wave->shape[0], hop = c->window / 4, frames = wave->shape[3] / hop;
    rlm_tensor x = rlm_tensor_reshape5(wave, n, 1, 1, frames, hop);
    x = rlm_conv_forward(run, &c->stft, &x);
    x = rlm_tensor_reshape5(&x, n, 1, frames, c->window / 2 / FOLD, 2 * FOLD);
    for (int i = 0; i < LAYERS; i++) {
        x = rlm_conv_forward(run, &c->layers[i], &x);
        x = rlm_act_forward(run, RLM_ACT_LEAKY, &x);
        o.features[i] = x;
    }
    o.logits = rlm_conv_forward(run, &c->out, &x);
    return o;
}

static rlm_tensor view_of(const rlm_tensor *like, const float *data)
{
    rlm_tensor v = *like;
    v.data = (void *)data;
    v.grad = NULL;
    v.touched = NULL;
    return v;
}

/* Hinge: mean of max(0, 1 - sign * logit); its gradient is added times scale. */
static double hinge(rlm_run *run, const rlm_tensor *logits, float sign, float scale)
{
    int64_t n = rlm_tensor_count(logits);
    const float *z = rlm_f32(logits);
    float *dz = rlm_grad(run, logits);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        float gap = 1.0f - sign * z[i];
        if (gap <= 0)
            continue;
        sum += gap;
        dz[i] -= sign * scale / (float)n;
    }
    return sum / (double)n;
}

static double mean_size(const rlm_tensor *x)
{
    int64_t n = rlm_tensor_count(x);
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += fabsf(rlm_f32(x)[i]);
    return sum / (double)n;
}

void rlm_critics_plan(rlm_run *run, rlm_critics *c, int64_t n, int64_t w)
{
    rlm_tensor wave = rlm_tensor_new5(run, n, 1, 1, w, 1);
    for (int i = 0; i < CRITICS; i++) {
        size_t mark = rlm_arena_mark(run->arena);
        ask(run, &c->critics[i], &wave);
        ask(run, &c->critics[i], &wave);
        rlm_backward_plan(run, run->tape);
        rlm_tape_clear(run->tape);
        rlm_arena_rewind(run->arena, mark);
    }
}

void rlm_critics_judge(rlm_run *run, rlm_critics *c, const rlm_tensor *fake, const float *real,
                       float w_feat, rlm_critic_loss *loss)
{
    rlm_run plain = *run;
    plain.tape = NULL;
    rlm_tensor wave = view_of(fake, real);
    loss->adversarial = loss->feature = 0;
    set_gradients(c, false);
    for (int i = 0; i < CRITICS; i++) {
        size_t mark = rlm_arena_mark(run->arena);
        opinion truth = ask(&plain, &c->critics[i], &wave);
        opinion o = ask(run, &c->critics[i], fake);
        loss->adversarial += hinge(run, &o.logits, 1.0f, 1.0f / CRITICS) / CRITICS;
        for (int j = 0; j < LAYERS; j++) {
            float size = (float)mean_size(&truth.features[j]) + 1e-4f;
            float scale = w_feat / (size * LAYERS * CRITICS);
            loss->feature += run->k->recon(run->par, RLM_LOSS_L1, rlm_tensor_count(&o.features[j]),
                                           rlm_f32(&o.features[j]), rlm_f32(&truth.features[j]),
                                           scale, rlm_grad(run, &o.features[j])) /
                             (size * LAYERS * CRITICS);
        }
        rlm_backward(run, run->tape);
        rlm_tape_clear(run->tape);
        rlm_arena_rewind(run->arena, mark);
    }
    set_gradients(c, true);
}

void rlm_critics_learn(rlm_run *run, rlm_critics *c, const rlm_tensor *fake, const float *real,
                       rlm_critic_loss *loss)
{
    rlm_tensor waves[2] = {view_of(fake, real), view_of(fake, fake->data)};
    loss->critic = 0;
    for (int i = 0; i < CRITICS; i++)
        for (int side = 0; side < 2; side++) {
            size_t mark = rlm_arena_mark(run->arena);
            opinion o = ask(run, &c->critics[i], &waves[side]);
            loss->critic += hinge(run, &o.logits, side ? -1.0f : 1.0f, 1.0f / CRITICS) / CRITICS;
            rlm_backward(run, run->tape);
            rlm_tape_clear(run->tape);
            rlm_arena_rewind(run->arena, mark);
        }
}
