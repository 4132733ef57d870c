/* Critics: small convolutional networks that tell the made from the real, piece by piece.
 *
 * Of waves, in the manner of SoundStream's complex STFT discriminator: one network for each of the
 * windows 256, 512, 1024 (hop a quarter) over real and imaginary parts.
 *
 *   wave [w / hop][hop] - conv k4 with fixed Fourier rows -> [frames][bins][re, im]
 *   four bins side by side as channels: [frames][bins / 4][8]
 *   conv 3x5 - LEAKY - conv 3x5 stride (1,2) - LEAKY - the same - LEAKY - conv 3x3 - LEAKY - conv
 * 3x3 - 1
 *
 * Time is the h axis of the pictures, frequency the w axis.
 *
 * Of film, patch critics (pix2pix, arXiv 1611.07004) over pairs of frames that follow each other,
 * so that what flickers or leaves ghosts is seen; patches of 2 and of 4 pixels:
 *
 *   [h][w][2 frames of 3] - conv k4 stride 2 (k8 stride 4) - LEAKY - conv 3x3 stride 2 - LEAKY -
 * the same - LEAKY - conv 3x3 - LEAKY - conv 3x3 - 1
 *
 * Losses touch elements here. */
#include "src/train/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WAVE_CRITICS = 3, FILM_CRITICS = 2, LAYERS = 4, WAVE_WIDTH = 32, FILM_WIDTH = 64 };
enum { FIRST_WINDOW = 256, FOLD = 4, FIRST_PATCH = 2 };
static const double PI = 3.14159265358979323846;

typedef struct critic {
    int window; /* 0: of film */
    rlm_conv stft, layers[LAYERS], out;
} critic;

struct rlm_critics {
    rlm_params *params;
    int count;
    critic critics[WAVE_CRITICS];
};

typedef struct opinion {
    rlm_tensor features[LAYERS], logits;
} opinion;

static void declare_layer(rlm_conv *c, rlm_params *p, int number, int layer, rlm_conv_spec spec)
{
    char name[64];
    spec.kt = 1;
    spec.bias = true;
    if (layer < LAYERS)
        snprintf(name, sizeof name, "critic%d.conv%d", number, layer);
    else
        snprintf(name, sizeof name, "critic%d.out", number);
    rlm_conv_declare(c, p, name, &spec);
}

static void declare_wave(critic *c, rlm_params *p, int number)
{
    static const int kernel[LAYERS] = {5, 5, 5, 3}, stride[LAYERS] = {1, 2, 2, 1};
    char name[64];
    c->window = FIRST_WINDOW << number;
    snprintf(name, sizeof name, "critic%d.stft", number);
    rlm_conv_declare(
        &c->stft, p, name,
        &(rlm_conv_spec){
            .cin = c->window / 4, .cout = c->window, .kt = 1, .kh = 1, .kw = 4, .causal_w = true});
    for (int i = 0; i < LAYERS; i++)
        declare_layer(&c->layers[i], p, number, i,
                      (rlm_conv_spec){.cin = i ? WAVE_WIDTH : 2 * FOLD,
                                      .cout = WAVE_WIDTH,
                                      .kh = 3,
                                      .kw = kernel[i],
                                      .sw = stride[i]});
    declare_layer(&c->out, p, number, LAYERS,
                  (rlm_conv_spec){.cin = WAVE_WIDTH, .cout = 1, .kh = 3, .kw = 3});
    if (c->stft.w)
        c->stft.w->decay = c->stft.w->matrix = false;
}

static void declare_film(critic *c, rlm_params *p, int number)
{
    int patch = FIRST_PATCH << number;
    int kernel[LAYERS] = {2 * patch, 3, 3, 3}, stride[LAYERS] = {patch, 2, 2, 1};
    for (int i = 0; i < LAYERS; i++)
        declare_layer(&c->layers[i], p, number, i,
                      (rlm_conv_spec){.cin = i ? FILM_WIDTH : RLM_CRITIC_PAIR,
                                      .cout = FILM_WIDTH,
                                      .kh = kernel[i],
                                      .kw = kernel[i],
                                      .sh = stride[i],
                                      .sw = stride[i]});
    declare_layer(&c->out, p, number, LAYERS,
                  (rlm_conv_spec){.cin = FILM_WIDTH, .cout = 1, .kh = 3, .kw = 3});
}

int rlm_critics_new(rlm_critics **out, rlm_critic_kind kind, rlm_params *params, rlm_error *err)
{
    *out = rlm_calloc(1, sizeof **out);
    if (!*out)
        return rlm_fail(err, RLM_E_NOMEM, "critics: no memory");
    (*out)->params = params;
    (*out)->count = kind == RLM_CRITIC_WAVE ? WAVE_CRITICS : FILM_CRITICS;
    for (int i = 0; i < (*out)->count; i++)
        (kind == RLM_CRITIC_WAVE ? declare_wave : declare_film)(&(*out)->critics[i], params, i);
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
    for (int i = 0; i < c->count; i++) {
        rlm_param *w = c->critics[i].stft.w;
        int n = c->critics[i].window;
        if (!n)
            continue;
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
    for (int i = 0; i < c->count; i++)
        for (int j = 0; j <= LAYERS; j++) {
            rlm_conv *conv = j < LAYERS ? &c->critics[i].layers[j] : &c->critics[i].out;
            rlm_param *both[2] = {conv->w, conv->bias};
            for (int k = 0; k < 2; k++)
                both[k]->grad = on ? c->params->grad + (both[k]->data - c->params->data) : NULL;
        }
}

static rlm_tensor spectrum(rlm_run *run, const critic *c, const rlm_tensor *wave)
{
    int64_t n = wave->shape[0], hop = c->window / 4, frames = wave->shape[3] / hop;
    rlm_tensor x = rlm_tensor_reshape5(wave, n, 1, 1, frames, hop);
    x = rlm_conv_forward(run, &c->stft, &x);
    return rlm_tensor_reshape5(&x, n, 1, frames, c->window / 2 / FOLD, 2 * FOLD);
}

static opinion ask(rlm_run *run, const critic *c, const rlm_tensor *seen)
{
    opinion o;
    rlm_tensor x = c->window ? spectrum(run, c, seen) : *seen;
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

void rlm_critics_plan(rlm_run *run, rlm_critics *c, const int64_t shape[5])
{
    rlm_tensor seen = rlm_tensor_new5(run, shape[0], shape[1], shape[2], shape[3], shape[4]);
    for (int i = 0; i < c->count; i++) {
        size_t mark = rlm_arena_mark(run->arena);
        ask(run, &c->critics[i], &seen);
        ask(run, &c->critics[i], &seen);
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
    rlm_tensor truth_seen = view_of(fake, real);
    float share = 1.0f / (float)c->count;
    loss->adversarial = loss->feature = 0;
    set_gradients(c, false);
    for (int i = 0; i < c->count; i++) {
        size_t mark = rlm_arena_mark(run->arena);
        opinion truth = ask(&plain, &c->critics[i], &truth_seen);
        opinion o = ask(run, &c->critics[i], fake);
        loss->adversarial += share * hinge(run, &o.logits, 1.0f, share);
        for (int j = 0; j < LAYERS; j++) {
            float size = (float)mean_size(&truth.features[j]) + 1e-4f;
            float scale = share / (size * LAYERS);
            loss->feature += run->k->recon(run->par, RLM_LOSS_L1, rlm_tensor_count(&o.features[j]),
                                           rlm_f32(&o.features[j]), rlm_f32(&truth.features[j]),
                                           w_feat * scale, rlm_grad(run, &o.features[j])) *
                             scale;
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
    float share = 1.0f / (float)c->count;
    rlm_tensor sides[2] = {view_of(fake, real), view_of(fake, fake->data)};
    loss->critic = 0;
    for (int i = 0; i < c->count; i++)
        for (int side = 0; side < 2; side++) {
            size_t mark = rlm_arena_mark(run->arena);
            opinion o = ask(run, &c->critics[i], &sides[side]);
            loss->critic += share * hinge(run, &o.logits, side ? -1.0f : 1.0f, share);
            rlm_backward(run, run->tape);
            rlm_tape_clear(run->tape);
            rlm_arena_rewind(run->arena, mark);
        }
}
