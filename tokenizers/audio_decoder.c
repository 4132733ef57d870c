/* Decoder, the encoder's mirror: latent [n][1][1][f][dim] -> wave [n][1][1][f * hop][1].
 *
 *   conv k7 - widest - middle units
 *   each stride S, widest first:  ELU - conv k2 to S frames side by side - S frames - units
 *   ELU - conv k3 (k7 for stem 1) - frames of `stem` samples
 *
 * With `synthesis` K, instead of samples: conv k1 to gates and values of the cosines and sines of a
 * window of K frames, silu(gate) * value, and their inverse transform under a Hann window, which
 * overlaps K-fold: a convolution k K with fixed weights. A gate far below zero is an exponential,
 * so that soft bands beside loud ones cost the network no cancellation (Vocos, arXiv 2306.00814,
 * ends in magnitudes and phases for the same reason). */
#include "tokenizers/audio_net.h"

#include <math.h>
#include <stdio.h>

static const double PI = 3.14159265358979323846;

static int first_width(const rlm_audio_config *c)
{
    return c->decoder_channels ? c->decoder_channels : c->channels;
}

void rlm_audio_decoder_declare(rlm_audio *a, rlm_params *p)
{
    const rlm_audio_config *c = &a->config;
    rlm_audio_stack *d = &a->decoder;
    char text[64];
    d->middle_count = c->decoder_middle ? c->decoder_middle : c->middle;
    d->unit_count = c->decoder_units ? c->decoder_units : c->units;
    rlm_conv_declare(&d->stem, p, "decoder.stem",
                     &(rlm_conv_spec){.cin = c->dim,
                                      .cout = rlm_audio_width(c, first_width(c), c->stride_count),
                                      .kt = 1,
                                      .kh = 1,
                                      .kw = 7,
                                      .causal_w = true,
                                      .bias = true});
    rlm_audio_units_declare(d->middle, p, "decoder.middle", c,
                            rlm_audio_width(c, first_width(c), c->stride_count), d->middle_count);
    for (int i = c->stride_count - 1; i >= 0; i--) {
        rlm_audio_stage *s = &d->stages[i];
        int width = rlm_audio_width(c, first_width(c), i);
        s->stride = c->strides[i];
        snprintf(text, sizeof text, "decoder.stage%d.up", i);
        rlm_conv_declare(&s->resample, p, text,
                         &(rlm_conv_spec){.cin = rlm_audio_width(c, first_width(c), i + 1),
                                          .cout = s->stride * width,
                                          .kt = 1,
                                          .kh = 1,
                                          .kw = 2,
                                          .causal_w = true,
                                          .bias = true});
        snprintf(text, sizeof text, "decoder.stage%d.unit", i);
        rlm_audio_units_declare(s->units, p, text, c, width, d->unit_count);
    }
    int width = rlm_audio_width(c, first_width(c), 0), lines = c->stem * c->synthesis;
    rlm_conv_declare(&d->out, p, "decoder.out",
                     &(rlm_conv_spec){.cin = width,
                                      .cout = lines ? 2 * lines : c->stem,
                                      .kt = 1,
                                      .kh = 1,
                                      .kw = lines          ? 1
                                            : c->stem == 1 ? 7
                                                           : 3,
                                      .causal_w = true,
                                      .bias = true});
    if (!lines)
        return;
    rlm_conv_declare(
        &d->synthesis, p, "decoder.synthesis",
        &(rlm_conv_spec){
            .cin = lines, .cout = c->stem, .kt = 1, .kh = 1, .kw = c->synthesis, .causal_w = true});
    if (d->synthesis.w)
        d->synthesis.w->decay = d->synthesis.w->matrix = false;
}

/* Weight [stem][K][lines]: the tap that is k frames old (the last is the newest, 0) gives sample
 * i + k * stem of its window to sample i. Scaled so that values of size 1 make a wave of 0.1. */
void rlm_audio_fill(rlm_audio *a)
{
    const rlm_audio_config *c = &a->config;
    int lines = c->stem * c->synthesis, taps = c->synthesis;
    if (!lines)
        return;
    rlm_param *w = a->decoder.synthesis.w;
    double unit = 0.1 / sqrt(0.375 * taps * lines / 2);
    w->grad = NULL;
    for (int i = 0; i < c->stem; i++)
        for (int tap = 0; tap < taps; tap++)
            for (int line = 0; line < lines; line++) {
                int at = i + (taps - 1 - tap) * c->stem, bin = line / 2;
                double hann = unit * (0.5 - 0.5 * cos(2 * PI * (at + 0.5) / lines));
                double angle = 2 * PI * (double)((int64_t)bin * at % lines) / lines;
                w->data[(i * taps + tap) * lines + line] =
                    (float)(hann * (line & 1 ? sin(angle) : cos(angle)));
            }
}

/* From the wave back to the latent, in frames of each stage: rounded up where a stride divides. */
int rlm_audio_decoder_context(const rlm_audio *a)
{
    const rlm_audio_config *c = &a->config;
    int64_t reach = rlm_conv_context(&a->decoder.out);
    if (c->synthesis)
        reach += rlm_conv_context(&a->decoder.synthesis);
    for (int i = 0; i < c->stride_count; i++) {
        const rlm_audio_stage *s = &a->decoder.stages[i];
        reach += rlm_audio_units_context(s->units, a->decoder.unit_count);
        reach = (reach + s->stride - 1) / s->stride + rlm_conv_context(&s->resample);
    }
    reach += rlm_audio_units_context(a->decoder.middle, a->decoder.middle_count);
    return (int)(reach + rlm_conv_context(&a->decoder.stem));
}

rlm_tensor rlm_audio_decode_forward(rlm_run *run, const rlm_audio *a, const rlm_tensor *latent)
{
    const rlm_audio_config *c = &a->config;
    int64_t n = latent->shape[0], w = latent->shape[3];
    rlm_tensor x = rlm_conv_forward(run, &a->decoder.stem, latent);
    x = rlm_audio_units_forward(run, a->decoder.middle, a->decoder.middle_count, &x);
    for (int i = c->stride_count - 1; i >= 0; i--) {
        const rlm_audio_stage *s = &a->decoder.stages[i];
        x = rlm_act_conv_forward(run, RLM_ACT_ELU, &s->resample, &x, NULL);
        w *= s->stride;
        x = rlm_tensor_reshape5(&x, n, 1, 1, w, rlm_tensor_last(&x) / s->stride);
        x = rlm_audio_units_forward(run, s->units, a->decoder.unit_count, &x);
    }
    x = rlm_act_conv_forward(run, RLM_ACT_ELU, &a->decoder.out, &x, NULL);
    if (c->synthesis) {
        x = rlm_swiglu_forward(run, &x);
        x = rlm_conv_forward(run, &a->decoder.synthesis, &x);
    }
    return rlm_tensor_reshape5(&x, n, 1, 1, w * c->stem, 1);
}
