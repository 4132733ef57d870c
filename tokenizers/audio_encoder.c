/* Encoder: wave [n][1][1][w][1] -> latent [n][1][1][w / hop][dim].
 *
 *   frames of `stem` samples - conv k3 (k7 for stem 1) - C
 *   each stride S, widths doubling:
 *       units (dilation 1, 3, 9) - ELU - S frames side by side - conv k2
 *   middle units - conv k3 - dim
 *
 * With a `window`, frames come levelled and with the log spectrum of the window that ends where
 * they end (the kernel "ear"): the network need not learn to hear a soft consonant beside a loud
 * vowel.
 *
 * Everything is causal: latent frame f depends on samples below (f + 1) * hop. */
#include "tokenizers/audio_net.h"

#include <stdio.h>

int rlm_audio_width(const rlm_audio_config *c, int first, int depth)
{
    int width = first << depth;
    return c->max_channels && width > c->max_channels ? c->max_channels : width;
}

enum { DILATIONS = 4 };

static void unit_declare(rlm_audio_unit *u, rlm_params *p, const char *name,
                         const rlm_audio_config *c, int width, int dilation)
{
    char text[96];
    snprintf(text, sizeof text, "%s.conv0", name);
    rlm_conv_declare(&u->conv0, p, text,
                     &(rlm_conv_spec){.cin = width,
                                      .cout = width,
                                      .kt = 1,
                                      .kh = 1,
                                      .kw = c->unit_kernel,
                                      .dilation = dilation,
                                      .causal_w = true,
                                      .bias = true});
    snprintf(text, sizeof text, "%s.conv1", name);
    rlm_conv_declare(&u->conv1, p, text,
                     &(rlm_conv_spec){.cin = width,
                                      .cout = width,
                                      .kt = 1,
                                      .kh = 1,
                                      .kw = 1,
                                      .causal_w = true,
                                      .bias = true,
                                      .scale = 0.5f});
}

void rlm_audio_units_declare(rlm_audio_unit *u, rlm_params *p, const char *name,
                             const rlm_audio_config *c, int width, int count)
{
    static const int dilation[DILATIONS] = {1, 3, 9, 27};
    char text[64];
    for (int j = 0; j < count; j++) {
        snprintf(text, sizeof text, "%s%d", name, j);
        unit_declare(&u[j], p, text, c, width, dilation[j % DILATIONS]);
    }
}

static rlm_tensor unit_forward(rlm_run *run, const rlm_audio_unit *u, const rlm_tensor *x)
{
    size_t scope = rlm_scope_open(run);
    rlm_tensor h = rlm_act_conv_forward(run, RLM_ACT_ELU, &u->conv0, x, NULL);
    rlm_tensor y = rlm_act_conv_forward(run, RLM_ACT_ELU, &u->conv1, &h, x);
    rlm_scope_close(run, scope);
    return y;
}

rlm_tensor rlm_audio_units_forward(rlm_run *run, const rlm_audio_unit *u, int count,
                                   const rlm_tensor *x)
{
    rlm_tensor y = *x;
    for (int j = 0; j < count; j++)
        y = unit_forward(run, &u[j], &y);
    return y;
}

int64_t rlm_audio_units_context(const rlm_audio_unit *u, int count)
{
    int64_t reach = 0;
    for (int j = 0; j < count; j++)
        reach += rlm_conv_context(&u[j].conv0);
    return reach;
}

void rlm_audio_encoder_declare(rlm_audio *a, rlm_params *p)
{
    const rlm_audio_config *c = &a->config;
    rlm_audio_stack *e = &a->encoder;
    char text[64];
    e->middle_count = c->middle;
    e->unit_count = c->units;
    rlm_conv_declare(&e->stem, p, "encoder.stem",
                     &(rlm_conv_spec){.cin = c->stem + c->window / 2,
                                      .cout = rlm_audio_width(c, c->channels, 0),
                                      .kt = 1,
                                      .kh = 1,
                                      .kw = c->stem == 1 ? 7 : 3,
                                      .causal_w = true,
                                      .bias = true});
    for (int i = 0; i < c->stride_count; i++) {
        rlm_audio_stage *s = &e->stages[i];
        int width = rlm_audio_width(c, c->channels, i);
        s->stride = c->strides[i];
        snprintf(text, sizeof text, "encoder.stage%d.unit", i);
        rlm_audio_units_declare(s->units, p, text, c, width, e->unit_count);
        snprintf(text, sizeof text, "encoder.stage%d.down", i);
        rlm_conv_declare(&s->resample, p, text,
                         &(rlm_conv_spec){.cin = s->stride * width,
                                          .cout = rlm_audio_width(c, c->channels, i + 1),
                                          .kt = 1,
                                          .kh = 1,
                                          .kw = 2,
                                          .causal_w = true,
                                          .bias = true});
    }
    rlm_audio_units_declare(e->middle, p, "encoder.middle", c,
                            rlm_audio_width(c, c->channels, c->stride_count), e->middle_count);
    rlm_conv_declare(&e->out, p, "encoder.out",
                     &(rlm_conv_spec){.cin = rlm_audio_width(c, c->channels, c->stride_count),
                                      .cout = c->dim,
                                      .kt = 1,
                                      .kh = 1,
                                      .kw = 3,
                                      .causal_w = true,
                                      .bias = true});
}

/* From the latent back to the wave: each layer adds its reach, each stride multiplies it. */
int rlm_audio_encoder_context(const rlm_audio *a)
{
    const rlm_audio_config *c = &a->config;
    int64_t reach = rlm_conv_context(&a->encoder.out);
    reach += rlm_audio_units_context(a->encoder.middle, a->encoder.middle_count);
    for (int i = c->stride_count - 1; i >= 0; i--) {
        const rlm_audio_stage *s = &a->encoder.stages[i];
        reach = (reach + rlm_conv_context(&s->resample)) * s->stride;
        reach += rlm_audio_units_context(s->units, a->encoder.unit_count);
    }
    reach = (reach + rlm_conv_context(&a->encoder.stem)) * c->stem;
    if (c->window)
        reach += c->window - c->stem;
    int hop = rlm_audio_hop(c);
    return (int)((reach + hop - 1) / hop);
}

/* Frames of the wave, or what an ear takes of them. Nothing here learns. */
static rlm_tensor frames_of(rlm_run *run, const rlm_audio_config *c, const rlm_tensor *wave)
{
    int64_t n = wave->shape[0], w = wave->shape[3] / c->stem;
    if (!c->window)
        return rlm_tensor_reshape5(wave, n, 1, 1, w, c->stem);
    rlm_spectrum_shape s = {(int)n, (int)wave->shape[3], c->stem, c->window};
    rlm_tensor x = rlm_tensor_new5(run, n, 1, 1, w, c->stem + c->window / 2);
    run->k->ear(run->par, &s, rlm_f32(wave), rlm_f32(&x));
    x.grad = NULL;
    return x;
}

rlm_tensor rlm_audio_encode_forward(rlm_run *run, const rlm_audio *a, const rlm_tensor *wave)
{
    const rlm_audio_config *c = &a->config;
    int64_t n = wave->shape[0], w = wave->shape[3] / c->stem;
    rlm_tensor x = frames_of(run, c, wave);
    x = rlm_conv_forward(run, &a->encoder.stem, &x);
    for (int i = 0; i < c->stride_count; i++) {
        const rlm_audio_stage *s = &a->encoder.stages[i];
        x = rlm_audio_units_forward(run, s->units, a->encoder.unit_count, &x);
        x = rlm_act_forward(run, RLM_ACT_ELU, &x);
        w /= s->stride;
        x = rlm_tensor_reshape5(&x, n, 1, 1, w, rlm_tensor_last(&x) * s->stride);
        x = rlm_conv_forward(run, &s->resample, &x);
    }
    x = rlm_audio_units_forward(run, a->encoder.middle, a->encoder.middle_count, &x);
    return rlm_conv_forward(run, &a->encoder.out, &x);
}
