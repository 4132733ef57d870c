/* Decoder: q (+-1) [n][t][h][w][bits] -> pixels [n][1 + st (t - 1)][ss h][ss w][3]. */
#include <stdio.h>

#include "tokenizers/video_net.h"

/* The convolution in front of depth-to-space. The paper's keeps the level's width, so that the next
 * level's first block narrows it; the factorised one goes straight to the next level's width. */
static rlm_conv_spec up_spec(const rlm_video_config *c, int level, int *width)
{
    int dt = c->down_t[level - 1], ds = c->down_s[level - 1];
    rlm_conv_spec spec = {.cin = *width, .kt = 3, .kh = 3, .kw = 3, .bias = true};
    if (c->factorised) {
        spec.kt = dt == 1 ? 1 : 3;
        spec.kh = spec.kw = 1;
        *width = c->channels[level - 1];
    }
    spec.cout = dt * ds * ds * *width;
    return spec;
}

static int blocks_of(const rlm_video_config *c, int level)
{
    return c->decoder_blocks[level] ? c->decoder_blocks[level] : c->blocks[level];
}

static int level_declare(rlm_video *v, rlm_params *p, int i, int *width, rlm_error *err)
{
    const rlm_video_config *c = &v->config;
    rlm_video_level *l = &v->decoder.levels[i];
    char name[80];
    snprintf(name, sizeof name, "decoder.level%d.ada_norm", i);
    rlm_groupnorm_declare(&l->ada_norm, p, name, *width, c->groups, RLM_ACT_NONE, false);
    snprintf(name, sizeof name, "decoder.level%d.gamma", i);
    rlm_linear_declare(&l->gamma, p, name, c->bits, *width, true, 0.1f);
    snprintf(name, sizeof name, "decoder.level%d.beta", i);
    rlm_linear_declare(&l->beta, p, name, c->bits, *width, true, 0.1f);
    snprintf(name, sizeof name, "decoder.level%d.block", i);
    RLM_TRY(rlm_video_blocks_declare(&l->blocks, blocks_of(c, i), c, p, name, width, c->channels[i],
                                     err));
    if (i > 0) {
        rlm_conv_spec up = up_spec(c, i, width);
        snprintf(name, sizeof name, "decoder.level%d.up", i);
        rlm_conv_declare(&l->resample, p, name, &up);
    }
    return RLM_OK;
}

int rlm_video_decoder_declare(rlm_video *v, rlm_params *p, rlm_error *err)
{
    const rlm_video_config *c = &v->config;
    rlm_video_side *d = &v->decoder;
    int width = c->channels[c->levels - 1];
    rlm_conv_spec stem = rlm_video_edge_spec(c, c->bits, width);
    rlm_conv_declare(&d->stem, p, "decoder.stem", &stem);
    RLM_TRY(
        rlm_video_blocks_declare(&d->mid, c->mid_blocks, c, p, "decoder.mid", &width, width, err));
    for (int i = c->levels - 1; i >= 0; i--)
        RLM_TRY(level_declare(v, p, i, &width, err));
    rlm_groupnorm_declare(&d->out_norm, p, "decoder.out_norm", width, c->groups, RLM_ACT_SILU,
                          true);
    rlm_conv_spec out = rlm_video_edge_spec(c, width, c->haar ? 192 : 3);
    out.scale = 0.1f;
    rlm_conv_declare(&d->out, p, "decoder.out", &out);
    return RLM_OK;
}

/* GN without gain and bias, then x (1 + gamma(q)) + beta(q). A per-position linear commutes with
 * nearest upsampling, so it runs on the latent's own grid. ft, fs: from the latent to x's grid. */
static rlm_tensor ada_forward(rlm_run *run, const rlm_video_level *l, const rlm_video_stream *s,
                              const rlm_tensor *q, int ft, int fs, const rlm_tensor *x)
{
    rlm_tensor gamma = rlm_linear_places_forward(run, &l->gamma, q);
    rlm_tensor beta = rlm_linear_places_forward(run, &l->beta, q);
    if (ft > 1 || fs > 1) {
        int drop = s && !s->first ? 0 : ft - 1;
        gamma = rlm_upsample_forward(run, &gamma, ft, fs, fs, drop);
        beta = rlm_upsample_forward(run, &beta, ft, fs, fs, drop);
    }
    rlm_tensor h = rlm_groupnorm_forward(run, &l->ada_norm, x);
    return rlm_modulate_forward(run, &h, &gamma, &beta);
}

rlm_tensor rlm_video_decoder_forward(rlm_run *run, const rlm_video *v, rlm_video_stream *s,
                                     const rlm_tensor *q)
{
    const rlm_video_config *c = &v->config;
    const rlm_video_side *d = &v->decoder;
    rlm_tensor x = rlm_video_conv(run, s, &d->stem, q, NULL);
    x = rlm_video_blocks_forward(run, s, d->mid, c->mid_blocks, x);
    int ft = 1, fs = 1;
    for (int i = c->levels - 1; i >= 0; i--) {
        const rlm_video_level *l = &d->levels[i];
        x = ada_forward(run, l, s, q, ft, fs, &x);
        x = rlm_video_blocks_forward(run, s, l->blocks, blocks_of(c, i), x);
        if (i == 0)
            break;
        int dt = c->down_t[i - 1], ds = c->down_s[i - 1];
        x = rlm_video_conv(run, s, &l->resample, &x, NULL);
        x = rlm_depth_to_space_forward(run, &x, dt, ds, ds, s && !s->first ? 0 : dt - 1);
        ft *= dt;
        fs *= ds;
    }
    x = rlm_video_norm_conv(run, s, &d->out_norm, &d->out, &x, NULL);
    if (!c->haar)
        return x;
    if (!s || s->first)
        return rlm_haar_inverse_forward(run, &x);
    x = rlm_video_frames_pad(run, &x, 1);
    x = rlm_haar_inverse_forward(run, &x);
    return rlm_video_frames_from(&x, 1);
}

rlm_tensor rlm_video_decode_forward(rlm_run *run, const rlm_video *v, const rlm_tensor *q)
{
    return rlm_video_decoder_forward(run, v, NULL, q);
}
