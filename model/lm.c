/* The network: embeddings, blocks, heads. See lm.h.
 *
 *   ids -> sum of tables -> [ x + out(attn(norm x));  x + down(swiglu(up(norm x))) ] * layers ->
 * norm
 *       -> heads at the rows that predict something */
#include "model/lm_private.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Config ---------------------------------------------------------------------------------- */

typedef struct preset {
    const char *name;
    int layers, dim, heads, ffn, max_len;
} preset;

static const preset presets[] = {
    {"tiny", 2, 64, 2, 128, 4096},       {"default", 6, 384, 6, 640, 8192},
    {"300m", 16, 1024, 16, 4096, 16384}, {"1b", 20, 2048, 16, 5632, 16384},
    {"8b", 40, 4096, 32, 11008, 32768},
};

int rlm_lm_config_preset(rlm_lm_config *c, const char *name)
{
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        const preset *p = &presets[i];
        if (strcmp(p->name, name))
            continue;
        *c = (rlm_lm_config){.layers = p->layers,
                             .dim = p->dim,
                             .heads = p->heads,
                             .ffn = p->ffn,
                             .cond = p->dim / 2,
                             .specials = 256,
                             .video_bits = 18,
                             .audio_levels = 4,
                             .audio_codes = 1024,
                             .text_pieces = 2048,
                             .max_len = p->max_len,
                             .rope_base = 10000.0f};
        return 0;
    }
    return RLM_E_ARG;
}

void rlm_lm_config_defaults(rlm_lm_config *c)
{
    rlm_lm_config_preset(c, "default");
}

static int check_range(const char *name, int value, int lowest, int highest, rlm_error *err)
{
    if (value < lowest || value > highest)
        return rlm_fail(err, RLM_E_RANGE, "lm config: %s is %d, expected %d..%d", name, value,
                        lowest, highest);
    return 0;
}

int rlm_lm_config_check(const rlm_lm_config *c, rlm_error *err)
{
    RLM_TRY(check_range("layers", c->layers, 1, 256, err));
    RLM_TRY(check_range("dim", c->dim, 32, 16384, err));
    RLM_TRY(check_range("heads", c->heads, 1, 256, err));
    RLM_TRY(check_range("ffn", c->ffn, 16, 65536, err));
    RLM_TRY(check_range("cond", c->cond, 16, 16384, err));
    RLM_TRY(check_range("specials", c->specials, 1, RLM_LM_CLASSES_MAX, err));
    RLM_TRY(check_range("video_bits", c->video_bits, 2, 24, err));
    RLM_TRY(check_range("audio_levels", c->audio_levels, 1, RLM_LM_LEVELS_MAX, err));
    RLM_TRY(check_range("audio_codes", c->audio_codes, 2, RLM_LM_CLASSES_MAX, err));
    RLM_TRY(check_range("text_pieces", c->text_pieces, 1, 1 << 20, err));
    RLM_TRY(check_range("max_len", c->max_len, 16, 1 << 20, err));
    if (c->video_bits % 2)
        return rlm_fail(err, RLM_E_RANGE, "lm config: video_bits is %d, expected an even number",
                        c->video_bits);
    if (c->dim % c->heads || c->dim / c->heads % 32 || c->dim / c->heads > RLM_HEAD_DIM_MAX)
        return rlm_fail(err, RLM_E_RANGE,
                        "lm config: dim %d over %d heads; a head must be a multiple of 32, at most "
                        "%d",
                        c->dim, c->heads, RLM_HEAD_DIM_MAX);
    if (!(c->rope_base >= 2.0f && c->rope_base <= 1e8f))
        return rlm_fail(err, RLM_E_RANGE, "lm config: rope_base is %g, expected 2..1e8",
                        (double)c->rope_base);
    return 0;
}

/* ---- Construction ---------------------------------------------------------------------------- */

/* A table that is embedding and head at once: one parameter, packed for the head. */
static void declare_tied(rlm_embedding *e, rlm_linear *l, rlm_params *p, const char *name,
                         int count, int dim)
{
    rlm_linear_declare(l, p, name, dim, count, false, 0.5f);
    if (l->w) {
        l->w->matrix = false;
        l->w->shared = true;
    }
    *e = (rlm_embedding){.count = count, .dim = dim, .table = l->w};
}

static void declare_head(rlm_linear *l, rlm_params *p, const char *name, int dim, int classes)
{
    rlm_linear_declare(l, p, name, dim, classes, false, 0.5f);
    if (l->w)
        l->w->matrix = false;
}

static void declare_block(rlm_lm_block *b, rlm_params *p, int index, const rlm_lm_config *c)
{
    char name[64];
    float scale = 1.0f / sqrtf(2.0f * (float)c->layers); /* of what enters the residual stream */
    snprintf(name, sizeof name, "layers.%d.attn_norm", index);
    rlm_rmsnorm_declare(&b->attn_norm, p, name, c->dim);
    snprintf(name, sizeof name, "layers.%d.qkv", index);
    rlm_linear_declare(&b->qkv, p, name, c->dim, 3 * c->dim, false, 1.0f);
    snprintf(name, sizeof name, "layers.%d.attn", index);
    rlm_attention_declare(&b->attn, p, name, c->heads, c->dim / c->heads);
    snprintf(name, sizeof name, "layers.%d.out", index);
    rlm_linear_declare(&b->out, p, name, c->dim, c->dim, false, scale);
    snprintf(name, sizeof name, "layers.%d.mlp_norm", index);
    rlm_rmsnorm_declare(&b->mlp_norm, p, name, c->dim);
    snprintf(name, sizeof name, "layers.%d.up", index);
    rlm_linear_declare(&b->up, p, name, c->dim, 2 * c->ffn, false, 1.0f);
    snprintf(name, sizeof name, "layers.%d.down", index);
    rlm_linear_declare(&b->down, p, name, c->ffn, c->dim, false, scale);
}

static void declare(rlm_lm *lm, rlm_params *p)
{
    const rlm_lm_config *c = &lm->config;
    float std = 1.0f / sqrtf((float)c->dim);
    declare_tied(&lm->special, &lm->head_special, p, "special", c->specials, c->dim);
    rlm_embedding_declare(&lm->video_lo, p, "video_lo", lm->half, c->dim, std);
    rlm_embedding_declare(&lm->video_hi, p, "video_hi", lm->half, c->dim, std);
    for (int q = 0; q < c->audio_levels; q++) {
        char name[32];
        snprintf(name, sizeof name, "audio.%d", q);
        declare_tied(&lm->sound[q], &lm->head_sound[q], p, name, c->audio_codes, c->dim);
    }
    rlm_embedding_declare(&lm->pieces, p, "text", c->text_pieces, c->dim, std);
    for (int i = 0; i < c->layers; i++)
        declare_block(&lm->blocks[i], p, i, c);
    rlm_rmsnorm_declare(&lm->norm, p, "norm", c->dim);
    declare_head(&lm->head_lo, p, "head_lo", c->dim, lm->half);
    rlm_embedding_declare(&lm->cond.lo, p, "cond.lo", lm->half, c->dim, std);
    rlm_rmsnorm_declare(&lm->cond.norm, p, "cond.norm", c->dim);
    rlm_linear_declare(&lm->cond.up, p, "cond.up", c->dim, 2 * c->cond, false, 1.0f);
    rlm_linear_declare(&lm->cond.down, p, "cond.down", c->cond, c->dim, false, 1.0f);
    rlm_rmsnorm_declare(&lm->cond.head_norm, p, "cond.head_norm", c->dim);
    declare_head(&lm->cond.head, p, "cond.head", c->dim, lm->half);
}

static void plan_rotation(rlm_lm *lm)
{
    int half = lm->config.dim / lm->config.heads / 2, at = 0;
    lm->axis[0] = half / 4;
    lm->axis[1] = (half - lm->axis[0]) / 2;
    lm->axis[2] = half - lm->axis[0] - lm->axis[1];
    for (int a = 0; a < 3; a++)
        for (int i = 0; i < lm->axis[a]; i++)
            lm->freq[at++] = (float)pow(lm->config.rope_base, -(double)i / lm->axis[a]);
}

int rlm_lm_new(rlm_lm **out, const rlm_lm_config *c, rlm_params *params, rlm_error *err)
{
    *out = NULL;
    RLM_TRY(rlm_lm_config_check(c, err));
    rlm_lm *lm = rlm_calloc(1, sizeof *lm);
    if (!lm)
        return rlm_fail(err, RLM_E_NOMEM, "lm: no memory for its layers");
    lm->blocks = rlm_calloc((size_t)c->layers, sizeof *lm->blocks);
    if (!lm->blocks) {
        rlm_free(lm);
        return rlm_fail(err, RLM_E_NOMEM, "lm: no memory for %d layers", c->layers);
    }
    lm->config = *c;
    lm->half = 1 << (c->video_bits / 2);
    lm->video = c->specials;
    lm->audio = lm->video + (1 << c->video_bits);
    lm->text = lm->audio + c->audio_levels * c->audio_codes;
    lm->end = lm->text + c->text_pieces;
    plan_rotation(lm);
    declare(lm, params);
    *out = lm;
    return 0;
}

void rlm_lm_free(rlm_lm **lm)
{
    if (*lm)
        rlm_free((*lm)->blocks);
    rlm_free(*lm);
    *lm = NULL;
}

int rlm_lm_weight_bits(const rlm_lm *lm)
{
    const rlm_weight *w = &lm->blocks[0].up.w->weight;
    return w->quant ? w->bits : w->f32 && !w->pack ? 32 : 16;
}

const rlm_lm_config *rlm_lm_get_config(const rlm_lm *lm)
{
    return &lm->config;
}

/* ---- Forward --------------------------------------------------------------------------------- */

rlm_tensor rlm_lm_embed(rlm_run *run, const rlm_lm *lm, const rlm_lm_ids *t, int64_t count)
{
    rlm_tensor x = rlm_embedding_forward(run, &lm->special, t->special, count, NULL);
    x = rlm_embedding_forward(run, &lm->video_lo, t->lo, count, &x);
    x = rlm_embedding_forward(run, &lm->video_hi, t->hi, count, &x);
    for (int q = 0; q < lm->config.audio_levels; q++)
        x = rlm_embedding_forward(run, &lm->sound[q], t->sound[q], count, &x);
    return rlm_embedding_forward(run, &lm->pieces, t->pieces, count, &x);
}

static rlm_tensor block_forward(rlm_run *run, const void *block, const void *context,
                                const rlm_tensor *x)
{
    const rlm_lm_block *b = block;
    const rlm_lm_plan *plan = context;
    rlm_attention_in in = {.batch = plan->batch,
                           .len = plan->len,
                           .prefix = plan->prefix,
                           .length = plan->length,
                           .angle = plan->angle};
    size_t scope = rlm_scope_open(run);
    rlm_tensor qkv = rlm_qkv_forward(run, &b->attn_norm, &b->qkv, &b->attn, x, in.angle);
    rlm_tensor a = rlm_attention_forward(run, &b->attn, &in, &qkv);
    rlm_tensor y = rlm_linear_residual_forward(run, &b->out, &a, x);
    y = rlm_mlp_forward(run, &b->mlp_norm, &b->up, &b->down, &y);
    rlm_scope_close(run, scope);
    return y;
}

rlm_tensor rlm_lm_forward(rlm_run *run, const rlm_lm *lm, const rlm_lm_plan *plan)
{
    rlm_tensor x = rlm_lm_embed(run, lm, &plan->ids, (int64_t)plan->batch * plan->len);
    for (int i = 0; i < lm->config.layers; i++)
        x = rlm_again_forward(run, block_forward, &lm->blocks[i], plan, &x);
    return rlm_rmsnorm_forward(run, &lm->norm, &x);
}

rlm_tensor rlm_lm_hi_forward(rlm_run *run, const rlm_lm *lm, const rlm_tensor *x, const int32_t *lo)
{
    const rlm_lm_cond *c = &lm->cond;
    rlm_tensor e = rlm_embedding_forward(run, &c->lo, lo, rlm_tensor_rows(x), NULL);
    rlm_tensor u = rlm_add_forward(run, x, &e);
    u = rlm_mlp_forward(run, &c->norm, &c->up, &c->down, &u);
    u = rlm_rmsnorm_forward(run, &c->head_norm, &u);
    return rlm_linear_forward(run, &c->head, &u);
}

rlm_lm_logits rlm_lm_heads_forward(rlm_run *run, const rlm_lm *lm, const rlm_lm_plan *plan,
                                   const rlm_tensor *hidden)
{
    rlm_lm_logits l;
    memset(&l, 0, sizeof l);
    for (int g = 0; g < RLM_LM_GROUPS; g++) {
        l.rows[g] = plan->rows[g];
        l.row[g] = plan->row[g];
        l.target[g] = plan->target[g];
    }
    if (plan->rows[RLM_LM_GROUP_SPECIAL]) {
        rlm_tensor x = rlm_gather_forward(run, hidden, plan->row[RLM_LM_GROUP_SPECIAL],
                                          plan->rows[RLM_LM_GROUP_SPECIAL]);
        l.logits[RLM_LM_GROUP_SPECIAL] = rlm_linear_forward(run, &lm->head_special, &x);
    }
    if (plan->rows[RLM_LM_GROUP_VIDEO_LO]) {
        rlm_tensor x = rlm_gather_forward(run, hidden, plan->row[RLM_LM_GROUP_VIDEO_LO],
                                          plan->rows[RLM_LM_GROUP_VIDEO_LO]);
        l.logits[RLM_LM_GROUP_VIDEO_LO] = rlm_linear_forward(run, &lm->head_lo, &x);
        l.logits[RLM_LM_GROUP_VIDEO_HI] =
            rlm_lm_hi_forward(run, lm, &x, plan->target[RLM_LM_GROUP_VIDEO_LO]);
    }
    for (int q = 0; q < lm->config.audio_levels; q++) {
        int g = RLM_LM_GROUP_AUDIO + q;
        if (!plan->rows[g])
            continue;
        rlm_tensor x = rlm_gather_forward(run, hidden, plan->row[g], plan->rows[g]);
        l.logits[g] = rlm_linear_forward(run, &lm->head_sound[q], &x);
    }
    return l;
}
