/* What encoder and decoder share: residual blocks, and convolutions that remember the frames before
 * a chunk. */
#include <assert.h>
#include <stdio.h>

#include "tokenizers/video_net.h"

rlm_conv_spec rlm_video_edge_spec(const rlm_video_config *c, int cin, int cout)
{
    return (rlm_conv_spec){
        .cin = cin, .cout = cout, .kt = c->factorised ? 1 : 3, .kh = 3, .kw = 3, .bias = true};
}

static void block_declare(rlm_video_block *b, const rlm_video_config *c, rlm_params *p,
                          const char *prefix, int cin, int cout)
{
    char name[96];
    snprintf(name, sizeof name, "%s.norm0", prefix);
    rlm_groupnorm_declare(&b->norm[0], p, name, cin, c->groups, RLM_ACT_SILU, true);
    snprintf(name, sizeof name, "%s.conv0", prefix);
    rlm_conv_spec first = {.cin = cin, .cout = cout, .kt = 3, .kh = 3, .kw = 3};
    rlm_conv_spec second = {.cin = cout, .cout = cout, .kt = 3, .kh = 3, .kw = 3, .scale = 0.5f};
    if (c->factorised) {
        first.kt = 1;
        second.kh = second.kw = 1;
    }
    rlm_conv_declare(&b->conv[0], p, name, &first);
    snprintf(name, sizeof name, "%s.norm1", prefix);
    rlm_groupnorm_declare(&b->norm[1], p, name, cout, c->groups, RLM_ACT_SILU, true);
    snprintf(name, sizeof name, "%s.conv1", prefix);
    rlm_conv_declare(&b->conv[1], p, name, &second);
    b->widens = cin != cout;
    if (b->widens) {
        snprintf(name, sizeof name, "%s.shortcut", prefix);
        rlm_conv_spec across = {.cin = cin, .cout = cout, .kt = 1, .kh = 1, .kw = 1};
        rlm_conv_declare(&b->shortcut, p, name, &across);
    }
}

/* Blocks prefix0, prefix1, ...: the first goes from *width to cout channels; *width becomes cout.
 */
int rlm_video_blocks_declare(rlm_video_block **out, int count, const rlm_video_config *c,
                             rlm_params *p, const char *prefix, int *width, int cout,
                             rlm_error *err)
{
    *out = NULL;
    if (count == 0)
        return RLM_OK;
    *out = rlm_calloc((size_t)count, sizeof **out);
    if (!*out)
        return rlm_fail(err, RLM_E_NOMEM, "video tokenizer: no memory for %d blocks", count);
    for (int i = 0; i < count; i++) {
        char name[80];
        snprintf(name, sizeof name, "%s%d", prefix, i);
        block_declare(&(*out)[i], c, p, name, *width, cout);
        *width = cout;
    }
    return RLM_OK;
}

rlm_tensor rlm_video_frames_from(const rlm_tensor *x, int64_t from)
{
    assert(x->shape[0] == 1 && from < x->shape[1]);
    int64_t frame = x->shape[2] * x->shape[3] * x->shape[4];
    int64_t shape[5] = {1, x->shape[1] - from, x->shape[2], x->shape[3], x->shape[4]};
    return rlm_tensor_view(rlm_f32(x) + from * frame, RLM_F32, 5, shape);
}

rlm_tensor rlm_video_frames_pad(rlm_run *run, const rlm_tensor *x, int64_t count)
{
    int64_t frame = x->shape[2] * x->shape[3] * x->shape[4];
    rlm_tensor y =
        rlm_tensor_new5(run, 1, x->shape[1] + count, x->shape[2], x->shape[3], x->shape[4]);
    run->k->fill(run->par, count * frame, 0.0f, rlm_f32(&y));
    run->k->copy(run->par, x->shape[1] * frame, rlm_f32(x), rlm_f32(&y) + count * frame);
    return y;
}

/* Take `bytes` of the stream's block; NULL in the counting pass. */
static float *stream_cache(rlm_video_stream *s, size_t bytes)
{
    size_t at = s->used;
    s->used = rlm_size_add(s->used, rlm_size_align(bytes, RLM_ALIGN));
    assert(!s->data || s->used <= s->bytes);
    return s->data ? (float *)(s->data + at) : NULL;
}

/* Convolution over a chunk. With stride st the first output of a later chunk stands st frames
 * behind the last one of the chunk before, so it needs kt - st frames from there. */
rlm_tensor rlm_video_conv(rlm_run *run, rlm_video_stream *s, const rlm_conv *c, const rlm_tensor *x,
                          const rlm_tensor *residual)
{
    if (!s || c->kt == 1)
        return residual ? rlm_conv_residual_forward(run, c, x, residual)
                        : rlm_conv_forward(run, c, x);
    int64_t keep = c->kt - c->st, t = x->shape[1];
    int64_t frame = x->shape[2] * x->shape[3] * x->shape[4];
    float *cache = stream_cache(s, (size_t)(keep * frame) * sizeof(float));
    rlm_tensor joined = rlm_video_frames_pad(run, x, keep);
    if (!s->first && cache)
        run->k->copy(run->par, keep * frame, cache, rlm_f32(&joined));
    if (cache)
        run->k->copy(run->par, keep * frame, rlm_f32(&joined) + t * frame, cache);
    if (s->first)
        return residual ? rlm_conv_residual_forward(run, c, x, residual)
                        : rlm_conv_forward(run, c, x);
    return residual ? rlm_conv_stream_residual_forward(run, c, &joined, residual)
                    : rlm_conv_stream_forward(run, c, &joined);
}

rlm_tensor rlm_video_norm_conv(rlm_run *run, rlm_video_stream *s, const rlm_groupnorm *n,
                               const rlm_conv *c, const rlm_tensor *x, const rlm_tensor *residual)
{
    if (!s || c->kt == 1)
        return rlm_norm_conv_forward(run, n, c, x, residual);
    rlm_tensor h = rlm_groupnorm_forward(run, n, x);
    return rlm_video_conv(run, s, c, &h, residual);
}

static rlm_tensor block_forward(rlm_run *run, rlm_video_stream *s, const rlm_video_block *b,
                                rlm_tensor x)
{
    rlm_tensor skip = b->widens ? rlm_video_conv(run, s, &b->shortcut, &x, NULL) : x;
    size_t scope = rlm_scope_open(run);
    rlm_tensor y;
    if (s) {
        rlm_tensor h = rlm_video_norm_conv(run, s, &b->norm[0], &b->conv[0], &x, NULL);
        y = rlm_video_norm_conv(run, s, &b->norm[1], &b->conv[1], &h, &skip);
    } else {
        y = rlm_norm_conv_pair_forward(run, b->norm, b->conv, &x, &skip);
    }
    rlm_scope_close(run, scope);
    return y;
}

rlm_tensor rlm_video_blocks_forward(rlm_run *run, rlm_video_stream *s,
                                    const rlm_video_block *blocks, int count, rlm_tensor x)
{
    for (int i = 0; i < count; i++)
        x = block_forward(run, s, &blocks[i], x);
    return x;
}
