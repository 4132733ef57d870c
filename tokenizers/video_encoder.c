/* Encoder: pixels [n][1 + st (t - 1)][ss h][ss w][3] -> z [n][t][h][w][bits]. */
#include <stdio.h>

#include "tokenizers/video_net.h"

int rlm_video_encoder_declare(rlm_video *v, rlm_params *p, rlm_error *err)
{
    const rlm_video_config *c = &v->config;
    rlm_video_side *e = &v->encoder;
    char name[80];
    int width = c->channels[0];
    rlm_conv_spec stem = rlm_video_edge_spec(c, c->haar ? 192 : 3, width);
    rlm_conv_declare(&e->stem, p, "encoder.stem", &stem);
    for (int i = 0; i < c->levels; i++) {
        snprintf(name, sizeof name, "encoder.level%d.block", i);
        RLM_TRY(rlm_video_blocks_declare(&e->levels[i].blocks, c->blocks[i], c, p, name, &width,
                                         c->channels[i], err));
        if (i + 1 == c->levels)
            break;
        rlm_conv_spec down = rlm_video_edge_spec(c, width, width);
        down.kt = c->factorised && c->down_t[i] == 1 ? 1 : 3;
        down.st = c->down_t[i];
        down.sh = down.sw = c->down_s[i];
        snprintf(name, sizeof name, "encoder.level%d.down", i);
        rlm_conv_declare(&e->levels[i].resample, p, name, &down);
    }
    RLM_TRY(
        rlm_video_blocks_declare(&e->mid, c->mid_blocks, c, p, "encoder.mid", &width, width, err));
    rlm_groupnorm_declare(&e->out_norm, p, "encoder.out_norm", width, c->groups, RLM_ACT_SILU,
                          true);
    rlm_conv_spec out = {.cin = width, .cout = c->bits, .kt = 1, .kh = 1, .kw = 1, .bias = true};
    rlm_conv_declare(&e->out, p, "encoder.out", &out);
    return RLM_OK;
}

rlm_tensor rlm_video_encoder_forward(rlm_run *run, const rlm_video *v, rlm_video_stream *s,
                                     const rlm_tensor *pixels)
{
    const rlm_video_config *c = &v->config;
    const rlm_video_side *e = &v->encoder;
    rlm_tensor x = *pixels;
    if (c->haar) {
        x = rlm_haar_forward(run, &x);
        if (s && !s->first)
            x = rlm_video_frames_from(&x, 1);
    }
    x = rlm_video_conv(run, s, &e->stem, &x, NULL);
    for (int i = 0; i < c->levels; i++) {
        x = rlm_video_blocks_forward(run, s, e->levels[i].blocks, c->blocks[i], x);
        if (i + 1 < c->levels)
            x = rlm_video_conv(run, s, &e->levels[i].resample, &x, NULL);
    }
    x = rlm_video_blocks_forward(run, s, e->mid, c->mid_blocks, x);
    return rlm_video_norm_conv(run, s, &e->out_norm, &e->out, &x, NULL);
}

rlm_tensor rlm_video_encode_forward(rlm_run *run, const rlm_video *v, const rlm_tensor *pixels)
{
    return rlm_video_encoder_forward(run, v, NULL, pixels);
}
