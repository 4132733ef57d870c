/* Training of the language model over frozen tokenizers.
 *
 *   batch of one task -> forward -> heads -> weighted cross-entropy -> backward; Muon and AdamW.
 *
 * Loss = sum over targets of weight(modality) * nats / number of targets; a video code is one
 * target whose nats are those of its two halves. */
#include "src/train/lm_train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    VAL_CLIPS = 32, /* of the validation split, each kind and source */
    SHOWN = 2       /* sample clips */
};
static const float WEIGHT_SPECIAL = 0.1f, WEIGHT_VIDEO = 1.0f, WEIGHT_SOUND = 1.0f, Z_LOSS = 1e-4f;
/* Of the contrast between words, in nats a picture: they decide 8 of its 1,200. */
static const double WORDS_WEIGHT = 4;
static const size_t ARENA_RESERVE = (size_t)1 << 40, ARENA_LEAST = (size_t)256 << 20;

/* Sums over rows; nats of a group and its rows. */
typedef struct tally {
    double nats[RLM_LM_GROUPS];
    int64_t rows[RLM_LM_GROUPS];
} tally;

typedef struct trainer {
    rlm_trainer base;
    rlm_tape again; /* of a block, with recompute */
    rlm_model tokenizers;
    rlm_dataset data;
    rlm_lm_store store;
    rlm_lm_mix mix;
    rlm_lm_config config;
    rlm_lm *lm;
    rlm_lm_plan *plan;
    float *nats;  /* [tokens of a batch]: losses of one group */
    double apart; /* of the last batch of pairs: nats a picture that wrong words cost; else NaN */
} trainer;

/* ---- Setting up ------------------------------------------------------------------------------ */

static int open_tokenizers(trainer *t, rlm_error *err)
{
    const char *dir = t->base.o->model_dir;
    RLM_TRY(rlm_model_open(&t->tokenizers, dir,
                           RLM_PART_VIDEO | RLM_PART_AUDIO | RLM_PART_TEXT | RLM_PART_OPTIONAL,
                           &t->base.k, t->base.par, err));
    const rlm_model *m = &t->tokenizers;
    if (!m->video || !m->text)
        return rlm_fail(err, RLM_E_MODEL, "%s: no %s, lm training needs video and text tokenizers",
                        dir, m->video ? "text tokenizer" : "video tokenizer");
    if (m->video_config.bits > 18 || (m->audio && (m->audio_config.levels > RLM_AUDIO_LEVELS ||
                                                   m->audio_config.codes > RLM_AUDIO_CODES)))
        return rlm_fail(err, RLM_E_MODEL,
                        "%s: video codes of %d bits, sound of %d levels x %d codes; the vocabulary "
                        "has room for 18 bits and %d x %d",
                        dir, m->video_config.bits, m->audio_config.levels, m->audio_config.codes,
                        RLM_AUDIO_LEVELS, RLM_AUDIO_CODES);
    return 0;
}

/* The vocabulary is prompts/vocab.h's; the text tokenizer says how many pieces there are. */
static int open_network(trainer *t, rlm_error *err)
{
    rlm_lm_config_defaults(&t->config);
    if (t->base.o->config)
        RLM_TRY(rlm_config_read(t->base.o->config, NULL, NULL, &t->config, err));
    t->config.text_pieces = rlm_text_size(t->tokenizers.text);
    if (t->config.specials != RLM_ID_SPECIALS || t->config.video_bits != 18 ||
        t->config.audio_levels != RLM_AUDIO_LEVELS || t->config.audio_codes != RLM_AUDIO_CODES)
        return rlm_fail(err, RLM_E_RANGE,
                        "lm config: vocabulary %d, %d bits, %d x %d; training needs 256, 18, 4 x "
                        "1024",
                        t->config.specials, t->config.video_bits, t->config.audio_levels,
                        t->config.audio_codes);
    RLM_TRY(rlm_lm_new(&t->lm, &t->config, &t->base.params, err));
    RLM_TRY(rlm_train_weights(&t->base, "lm.safetensors", err));
    RLM_TRY(rlm_optim_new(&t->base.optim, &t->base.params, &t->base.recipe, err));
    return rlm_params_pack(&t->base.params, &t->base.k, t->base.par, true,
                           err); /* fused kernels need it */
}

/* The largest batch with every row a video target, run with empty kernels: exact scratch of a step.
 */
static int plan_scratch(trainer *t, rlm_error *err)
{
    rlm_lm_mix *m = &t->mix;
    int len = (int)m->tokens, prefix = 1;
    int each = (int)((m->tokens + m->sequences - 1) / m->sequences);
    RLM_TRY(rlm_lm_plan_new(&t->plan, t->lm, m->sequences, each, err));
    t->nats = rlm_alloc((size_t)len * sizeof *t->nats);
    if (!t->nats)
        return rlm_fail(err, RLM_E_NOMEM, "lm training: no memory for %d losses", len);
    for (int i = 0; i < len; i++)
        m->ids[i] = RLM_ID_VIDEO;
    memset(m->pos, 0, 3 * (size_t)len * sizeof *m->pos);
    memset(m->target, 1, (size_t)len);
    rlm_lm_batch b = {1, len, m->ids, m->pos, m->target, &prefix, &len};
    rlm_lm_plan_fill(t->plan, t->lm, &b);
    rlm_kernels empty;
    rlm_kernels_empty_training(&empty, &t->base.k);
    t->base.run.again = t->base.recipe.recompute ? &t->again : NULL;
    rlm_run dry = {.k = &empty,
                   .arena = &t->base.arena,
                   .par = t->base.par,
                   .tape = &t->base.tape,
                   .again = t->base.run.again};
    rlm_arena_rewind(&t->base.arena, 0);
    rlm_tensor h = rlm_lm_forward(&dry, t->lm, t->plan);
    rlm_lm_heads_forward(&dry, t->lm, t->plan, &h);
    rlm_backward_plan(&dry, &t->base.tape);
    RLM_TRY(rlm_tape_check(&t->base.tape, err));
    RLM_TRY(rlm_tape_check(&t->again, err));
    rlm_tape_clear(&t->base.tape);
    rlm_arena_rewind(&t->base.arena, 0);
    size_t slack = (size_t)1 << 20; /* alignment of batches with more, smaller groups */
    return rlm_arena_commit(&t->base.arena, t->base.arena.peak + slack, err);
}

/* run_dir/model is a whole model directory from the start: tokenizers now, lm at every save. */
static int save_tokenizers(trainer *t, rlm_error *err)
{
    char dir[4096], text[4096];
    rlm_model *m = &t->tokenizers;
    snprintf(dir, sizeof dir, "%s/model", t->base.o->run_dir);
    snprintf(text, sizeof text, "%s/text.model", t->base.o->model_dir);
    RLM_TRY(rlm_mkdirs(dir, err));
    RLM_TRY(
        rlm_model_save_part(dir, RLM_PART_VIDEO, &m->video_config, &m->video_params, NULL, err));
    if (m->audio)
        RLM_TRY(rlm_model_save_part(dir, RLM_PART_AUDIO, &m->audio_config, &m->audio_params, NULL,
                                    err));
    return rlm_model_add_text(dir, text, err);
}

static void log_unigram(trainer *t, const rlm_lm_unigram *u)
{
    rlm_logf(&t->base.log, 2,
             "unigram entropy: video %.3f nats a code (halves %.3f + %.3f), sound %.3f a code",
             u->video, u->video_lo, u->video_hi, u->sound);
    rlm_journal_put(t->base.journal, t->base.step, "unigram_video", u->video, "unigram_video_lo",
                    u->video_lo, "unigram_video_hi", u->video_hi, "unigram_sound", u->sound, NULL);
}

static int open_data(trainer *t, rlm_error *err)
{
    const rlm_train_options *o = t->base.o;
    int made = t->base.recipe.playground > 0 ? t->base.recipe.world_clips : 0;
    int stills = made ? t->base.recipe.world_stills : 0;
    if (o->data_count || !made) {
        RLM_TRY(rlm_dataset_open(&t->data, o->data, o->data_count, &t->base.log, err));
        RLM_TRY(rlm_dataset_keep(&t->data, RLM_MEDIA_VIDEO | RLM_MEDIA_IMAGE, false, err));
    }
    rlm_lm_clips clips = {.options = o,
                          .data = &t->data,
                          .tokenizers = &t->tokenizers,
                          .run = &t->base.run,
                          .log = &t->base.log,
                          .made = made,
                          .stills = stills,
                          .first = t->base.recipe.world_first};
    RLM_TRY(rlm_lm_clips_encode(&t->store, &clips, err));
    const rlm_model *m = &t->tokenizers;
    rlm_vocab vocab = {.audio_levels = RLM_AUDIO_LEVELS,
                       .text_pieces = t->config.text_pieces,
                       .video_codes = 1 << m->video_config.bits,
                       .audio_codes = m->audio ? m->audio_config.codes : 0};
    return rlm_lm_mix_open(&t->mix, &t->store, &t->data, made + stills, &vocab, &t->base.recipe,
                           err);
}

static int open_all(void *cookie, rlm_error *err)
{
    trainer *t = cookie;
    const rlm_train_options *o = t->base.o;
    rlm_lm_unigram unigram;
    RLM_TRY(rlm_arena_reserve(&t->base.arena, ARENA_RESERVE, err));
    RLM_TRY(rlm_arena_commit(&t->base.arena, ARENA_LEAST, err));
    t->base.run =
        (rlm_run){.k = &t->base.k, .arena = &t->base.arena, .par = t->base.par, .lazy = true};
    RLM_TRY(open_tokenizers(t, err));
    RLM_TRY(open_network(t, err));
    RLM_TRY(rlm_mkdirs(o->run_dir, err));
    RLM_TRY(open_data(t, err));
    t->base.done = o->dump != NULL;
    if (t->base.done)
        return rlm_lm_dump(&t->mix, o->dump, err);
    RLM_TRY(plan_scratch(t, err));
    t->base.checkpoint =
        (rlm_checkpoint){.optims = {&t->base.optim}, .names = {"model"}, .optim_count = 1};
    RLM_TRY(rlm_train_begin(&t->base, err));
    RLM_TRY(rlm_lm_unigram_count(&t->mix, &unigram, err));
    if (!o->resume)
        RLM_TRY(save_tokenizers(t, err));
    log_unigram(t, &unigram);
    return rlm_train_repack(&t->base, err);
}

static void close_all(void *cookie)
{
    trainer *t = cookie;
    rlm_lm_plan_free(&t->plan);
    rlm_lm_mix_free(&t->mix);
    rlm_lm_store_free(&t->store);
    rlm_dataset_free(&t->data);
    rlm_lm_free(&t->lm);
    rlm_model_close(&t->tokenizers);
    rlm_tape_free(&t->again);
    rlm_free(t->nats);
}

/* ---- A step ---------------------------------------------------------------------------------- */

static float weight_of(int group)
{
    if (group == RLM_LM_GROUP_SPECIAL)
        return WEIGHT_SPECIAL;
    return group < RLM_LM_GROUP_AUDIO ? WEIGHT_VIDEO : WEIGHT_SOUND;
}

/* Cross-entropy of group g into `sum`; with grads, gradients into the logits. */
static void take_group(trainer *t, const rlm_lm_logits *l, int g, bool grads, float scale,
                       tally *sum)
{
    const rlm_tensor *x = &l->logits[g];
    if (grads)
        rlm_grad_adds(x); /* cross-entropy overwrites */
    t->base.k.cross_entropy(t->base.par, l->rows[g], (int)rlm_tensor_last(x), rlm_f32(x),
                            l->target[g], grads ? Z_LOSS : 0.0f, scale, t->nats,
                            grads ? x->grad : NULL);
    for (int64_t i = 0; i < l->rows[g]; i++)
        sum->nats[g] += (double)t->nats[i];
    sum->rows[g] += l->rows[g];
}

static bool is_video(int g)
{
    return g == RLM_LM_GROUP_VIDEO_LO || g == RLM_LM_GROUP_VIDEO_HI;
}

/* Pictures in pairs: sequence 2 i under its own words, 2 i + 1 under another's. The loss adds
 * WORDS_WEIGHT softplus(own - other), in nats a picture, to the nats under its own words. What both
 * share cancels, so that this gradient is about the words alone, and it fades where they are told
 * apart (condition contrast, arXiv 2410.09347, without its reference model). len: of a sequence. */
static void take_pairs(trainer *t, const rlm_lm_logits *l, int len, int parts, tally *sum)
{
    double nats[RLM_LM_SEQUENCES + 1] = {0};
    int64_t rows = l->rows[RLM_LM_GROUP_VIDEO_LO], targets = 0;
    const int32_t *row = l->row[RLM_LM_GROUP_VIDEO_LO];
    for (int64_t i = 0; i < rows; i++)
        targets += row[i] / len % 2 == 0;
    for (int g = RLM_LM_GROUP_VIDEO_LO; g <= RLM_LM_GROUP_VIDEO_HI; g++) {
        const rlm_tensor *x = &l->logits[g];
        t->base.k.cross_entropy(t->base.par, rows, (int)rlm_tensor_last(x), rlm_f32(x),
                                l->target[g], 0.0f, 0.0f, t->nats, NULL);
        for (int64_t i = 0; i < rows; i++) {
            nats[row[i] / len] += (double)t->nats[i];
            sum->nats[g] += row[i] / len % 2 ? 0 : (double)t->nats[i];
        }
        sum->rows[g] += targets;
    }
    int count = rows ? row[rows - 1] / len + 1 : 0;
    t->apart = 0;
    for (int n = 0; n < count; n += 2)
        t->apart += 2 * (nats[n + 1] - nats[n]) / count;
    for (int g = RLM_LM_GROUP_VIDEO_LO; g <= RLM_LM_GROUP_VIDEO_HI; g++) {
        const rlm_tensor *x = &l->logits[g];
        int64_t classes = rlm_tensor_last(x), end = 0;
        rlm_grad_adds(x);
        for (int64_t at = 0; at < rows; at = end) {
            int n = row[at] / len;
            while (end < rows && row[end] / len == n)
                end++;
            double confused = 1.0 / (1.0 + exp(nats[n | 1] - nats[n & ~1]));
            double pull = WORDS_WEIGHT * confused, weight = n & 1 ? -pull : 1.0 + pull;
            float scale = (float)(weight_of(g) * weight / (double)(targets * parts));
            t->base.k.cross_entropy(t->base.par, end - at, (int)classes, rlm_f32(x) + at * classes,
                                    l->target[g] + at, n & 1 ? 0.0f : Z_LOSS, scale, t->nats,
                                    x->grad + at * classes);
        }
    }
}

/* All groups into `sum`; with grads, gradients into the logits, divided by the number of targets
 * and `parts`. Row losses are summed here, in double: a few thousand a step. */
static void take_losses(trainer *t, const rlm_lm_logits *l, int len, bool grads, int parts,
                        tally *sum)
{
    int64_t targets = 0;
    bool paired = grads && t->mix.paired;
    for (int g = 0; g < RLM_LM_GROUPS; g++)
        targets += g == RLM_LM_GROUP_VIDEO_HI ? 0 : l->rows[g];
    for (int g = 0; g < RLM_LM_GROUPS; g++)
        if (l->rows[g] && !(paired && is_video(g)))
            take_group(t, l, g, grads, weight_of(g) / ((float)targets * (float)parts), sum);
    t->apart = NAN;
    if (paired)
        take_pairs(t, l, len, parts, sum);
}

static int micro_step(trainer *t, int64_t index, tally *sum, int64_t *tokens, rlm_error *err)
{
    rlm_lm_batch b;
    RLM_TRY(rlm_lm_mix_fill(&t->mix, index, &b, err));
    rlm_lm_plan_fill(t->plan, t->lm, &b);
    rlm_arena_rewind(&t->base.arena, 0);
    rlm_tape_clear(&t->base.tape);
    t->base.run.tape = &t->base.tape;
    rlm_tensor h = rlm_lm_forward(&t->base.run, t->lm, t->plan);
    rlm_lm_logits l = rlm_lm_heads_forward(&t->base.run, t->lm, t->plan, &h);
    take_losses(t, &l, b.len, true, t->base.recipe.accumulate, sum);
    rlm_backward(&t->base.run, &t->base.tape);
    t->base.run.tape = NULL;
    *tokens += (int64_t)b.batch * b.len;
    return 0;
}

typedef struct figures {
    double loss, special, video_lo, video_hi, video, sound;
} figures;

static double mean(const tally *s, int first, int count)
{
    double nats = 0;
    int64_t rows = 0;
    for (int g = first; g < first + count; g++) {
        nats += s->nats[g];
        rows += s->rows[g];
    }
    return rows > 0 ? nats / (double)rows : NAN;
}

static figures figures_of(const tally *s)
{
    figures f;
    double sum = 0, targets = 0;
    for (int g = 0; g < RLM_LM_GROUPS; g++) {
        sum += (double)weight_of(g) * s->nats[g];
        targets += g == RLM_LM_GROUP_VIDEO_HI ? 0 : (double)s->rows[g];
    }
    f.loss = targets > 0 ? sum / targets : NAN;
    f.special = mean(s, RLM_LM_GROUP_SPECIAL, 1);
    f.video_lo = mean(s, RLM_LM_GROUP_VIDEO_LO, 1);
    f.video_hi = mean(s, RLM_LM_GROUP_VIDEO_HI, 1);
    f.video = f.video_lo + f.video_hi;
    f.sound = mean(s, RLM_LM_GROUP_AUDIO, RLM_LM_LEVELS_MAX);
    return f;
}

/* What a batch has no targets of is left out. */
static void put_figures(trainer *t, const tally *sum, double norm, double speed)
{
    figures f = figures_of(sum);
    double lr = rlm_train_rate(&t->base);
    const char *sound = isnan(f.sound) ? NULL : "sound";
    if (!isnan(t->apart))
        rlm_journal_put(t->base.journal, t->base.step, "loss", f.loss, "norm", norm, "lr", lr,
                        "tokens_per_s", speed, "words", f.video, "words_apart", t->apart, NULL);
    else if (isnan(f.video))
        rlm_journal_put(t->base.journal, t->base.step, "loss", f.loss, "norm", norm, "lr", lr,
                        "tokens_per_s", speed, sound, f.sound, NULL);
    else
        rlm_journal_put(t->base.journal, t->base.step, "loss", f.loss, "norm", norm, "lr", lr,
                        "tokens_per_s", speed, "video", f.video, "video_lo", f.video_lo, "video_hi",
                        f.video_hi, sound, f.sound, NULL);
}

static int advance(void *cookie, rlm_error *err)
{
    trainer *t = cookie;
    tally sum = {0};
    int64_t tokens = 0;
    double began = rlm_now();
    for (int i = 0; i < t->base.recipe.accumulate; i++)
        RLM_TRY(micro_step(t, t->base.step * t->base.recipe.accumulate + i, &sum, &tokens, err));
    double norm = rlm_optim_step(&t->base.optim, &t->base.run, &t->base.recipe);
    RLM_TRY(rlm_train_repack(&t->base, err));
    t->base.step++;
    put_figures(t, &sum, norm, (double)tokens / (rlm_now() - began));
    return 0;
}

/* ---- Validation, samples, saving: all with the averaged weights ------------------------------ */

static int evaluate(trainer *t, const rlm_lm_batch *b, tally *sum)
{
    rlm_lm_plan_fill(t->plan, t->lm, b);
    rlm_arena_rewind(&t->base.arena, 0);
    rlm_tensor h = rlm_lm_forward(&t->base.run, t->lm, t->plan);
    rlm_lm_logits l = rlm_lm_heads_forward(&t->base.run, t->lm, t->plan, &h);
    take_losses(t, &l, b->len, false, 1, sum);
    return 0;
}

enum { JUDGED = 5 };
static const int JUDGED_MIX[JUDGED] = {RLM_LM_MIX_VIDEO, RLM_LM_MIX_VIDEO_SOUND, RLM_LM_MIX_PREDICT,
                                       RLM_LM_MIX_IMAGE, RLM_LM_MIX_STYLIZE};

/* Nats of each kind (of sound: those of its sound) over the clips of one source; the first two
 * kinds also into `sum`. */
static int judge(trainer *t, int source, double nats[JUDGED], tally *sum, rlm_error *err)
{
    for (int k = 0; k < JUDGED; k++) {
        tally kind = {0};
        int done = 0;
        for (int i = 0; i < rlm_lm_mix_val_count(&t->mix, source) && done < VAL_CLIPS; i++) {
            rlm_lm_batch b;
            RLM_TRY(rlm_lm_mix_one(&t->mix, JUDGED_MIX[k], rlm_lm_mix_val_place(&t->mix, source, i),
                                   &b, err));
            if (b.batch > 0 && ++done)
                evaluate(t, &b, &kind);
        }
        figures f = figures_of(&kind);
        nats[k] = k == 1 ? f.sound : f.video;
        for (int g = 0; k < 2 && g < RLM_LM_GROUPS; g++) {
            sum->nats[g] += kind.nats[g];
            sum->rows[g] += kind.rows[g];
        }
    }
    return 0;
}

static int validate(trainer *t, rlm_error *err)
{
    double real[JUDGED], made[JUDGED];
    tally sum = {0};
    RLM_TRY(judge(t, RLM_SOURCE_REAL, real, &sum, err));
    RLM_TRY(judge(t, RLM_SOURCE_PLAYGROUND, made, &sum, err));
    double loss = figures_of(&sum).loss;
    if (isnan(loss))
        return 0;
    rlm_journal_put(t->base.journal, t->base.step, "val_loss", loss, "val_video", real[0],
                    "val_sound", real[1], "val_predict", real[2], "val_image", real[3],
                    "val_world_video", made[0], "val_world_sound", made[1], "val_world_predict",
                    made[2], "val_world_image", made[3], "val_world_stylize", made[4], NULL);
    rlm_logf(&t->base.log, 2,
             "step %lld: validation video %.3f, sound %.3f, predict %.3f, image %.3f; playground "
             "%.3f, %.3f, %.3f, %.3f, stylize %.3f",
             (long long)t->base.step, real[0], real[1], real[2], real[3], made[0], made[1], made[2],
             made[3], made[4]);
    return 0;
}

/* Captions of the first validation clips, of both sources in turn where there are both; else of the
 * first clips. */
static int shown_place(const trainer *t, int i)
{
    int both = rlm_lm_mix_val_count(&t->mix, RLM_SOURCE_PLAYGROUND) > 0 && t->data.val_count > 0;
    int source = both ? i % 2 : t->data.val_count > 0 ? RLM_SOURCE_REAL : RLM_SOURCE_PLAYGROUND;
    int at = both ? i / 2 : i;
    return at < rlm_lm_mix_val_count(&t->mix, source) ? rlm_lm_mix_val_place(&t->mix, source, at)
           : i < t->store.count                       ? i
                                                      : 0;
}

static int show(trainer *t, rlm_error *err)
{
    char dir[4096], path[4200];
    snprintf(dir, sizeof dir, "%s/samples", t->base.o->run_dir);
    RLM_TRY(rlm_mkdirs(dir, err));
    rlm_lm_show s = {.run = t->base.run,
                     .tokenizers = &t->tokenizers,
                     .lm = t->lm,
                     .vocab = t->mix.vocab,
                     .grid = {t->mix.grid[0], t->mix.grid[1], t->mix.grid[2]},
                     .sound_frames = t->mix.sound_frames,
                     .seed = t->base.recipe.seed};
    rlm_arena_rewind(&t->base.arena, 0);
    for (int i = 0; i < SHOWN; i++) {
        const rlm_lm_clip *c = &t->store.clips[shown_place(t, i)];
        snprintf(path, sizeof path, "%s/step_%07lld_%d.mp4", dir, (long long)t->base.step, i);
        s.source = c->source;
        s.seed = t->base.recipe.seed + (uint64_t)i;
        RLM_TRY(rlm_lm_show_clip(&s, c->text[0], c->text_count[0], path, err));
    }
    return 0;
}

static int look(void *cookie, int what, rlm_error *err)
{
    trainer *t = cookie;
    if (what & RLM_LOOK_SCORE)
        RLM_TRY(validate(t, err));
    return what & RLM_LOOK_SAMPLE && t->base.recipe.sample_every > 0 ? show(t, err) : 0;
}

static int save(void *cookie, const char *dir, rlm_error *err)
{
    trainer *t = cookie;
    return rlm_model_save_part(dir, RLM_PART_LM, &t->config, &t->base.params, t->base.optim.ema,
                               err);
}

int rlm_train_lm(const rlm_train_options *o, rlm_error *err)
{
    static const rlm_loop LOOP = {.bytes = sizeof(trainer),
                                  .open = open_all,
                                  .advance = advance,
                                  .look = look,
                                  .save = save,
                                  .close = close_all};
    return rlm_train_run(&LOOP, o, err);
}
