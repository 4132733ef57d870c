/* Training of the audio codec.
 *
 *   crops of about a second -> encoder -> (quantiser) -> decoder -> wave, mel and STFT loss
 *
 * First the autoencoder alone, then k-means puts the codebooks on its latents and the quantiser
 * joins (straight through, commitment, quantiser dropout); for the last `critic` share of the steps
 * STFT critics join, their gradient kept in a fixed ratio to that of the mel and wave losses, so
 * that no weight depends on the critics' scale. */
#include "src/train/audio_train.h"

#include "src/base/rng.h"
#include "src/train/eval.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CROP_STEP = 1280, VAL_CLIPS = 24, SAMPLES = 4, LOADER_DEPTH = 4, MISTAKES = 100 };
static const double CROP_SECONDS = 1.04, VAL_SECONDS = 2.0;
/* Of the wave loss, before and after the quantiser joins. The second makes the codes carry the
 * phase of low partials, without which a voice has no pitch: the decoder has no memory to go on
 * with a phase of its own. */
static const float WAVE_WEIGHT[2] = {2.0f, 8.0f};
static const int START_STEPS = 300; /* before the quantiser joins; less in short runs */

typedef struct losses {
    double mel, stft, wave, commit, norm;
    rlm_critic_loss critic;
} losses;

typedef struct trainer {
    rlm_trainer base;
    rlm_tape encoder_tape; /* base.tape: the decoder's */
    rlm_audio_config config;
    rlm_audio *audio;
    rlm_adversary adversary;
    rlm_rvq rvq;
    rlm_sounds sounds;
    rlm_loader *loader;
    rlm_mel *mel, *stft, *val_mel; /* stft: NULL without its loss */
    rlm_ears *ears;                /* of the samples; NULL before the first */
    int crop, frames, val_length;
    int *levels;  /* [batch] used by each clip of the step */
    int32_t *ids; /* [levels][frames] of a clip, where the quantiser doesn't learn */
} trainer;

/* ---- Setting up ---- */

static int fill_crop(void *ctx, int64_t index, void *slot)
{
    const trainer *t = ctx;
    for (int i = 0; i < t->base.recipe.batch; i++)
        rlm_sounds_crop(&t->sounds, t->base.recipe.seed, index * t->base.recipe.batch + i, t->crop,
                        (float *)slot + (int64_t)i * t->crop);
    return 0;
}

static bool critics_on(const trainer *t)
{
    return t->rvq.started && rlm_adversary_joins(&t->adversary, &t->base.recipe, t->base.step);
}

static int64_t start_step(const trainer *t)
{
    int64_t tenth = t->base.recipe.steps / 10;
    return tenth < START_STEPS ? tenth + 1 : START_STEPS;
}

/* Codebooks given from elsewhere: their averages begin at a fair share each. */
static void adopt_books(trainer *t)
{
    const rlm_param *books = rlm_audio_books(t->audio);
    float fair = (float)(t->base.recipe.batch * t->frames) / (float)t->config.codes;
    int64_t codes = (int64_t)t->config.levels * t->config.codes;
    t->base.k.fill(t->base.par, codes, fair, t->rvq.hits);
    t->base.k.copy(t->base.par, books->count, books->data, t->rvq.sums);
    t->base.k.scale(t->base.par, books->count, fair, t->rvq.sums);
    t->rvq.started = 1000; /* averages of full length */
}

static int open_networks(trainer *t, rlm_error *err)
{
    rlm_audio_config_defaults(&t->config);
    if (t->base.o->config)
        RLM_TRY(rlm_config_read(t->base.o->config, NULL, &t->config, NULL, err));
    RLM_TRY(rlm_audio_new(&t->audio, &t->config, &t->base.params, err));
    RLM_TRY(rlm_train_weights(&t->base, "audio.safetensors", err));
    rlm_audio_fill(t->audio); /* files may hold it rounded */
    RLM_TRY(rlm_train_freeze(&t->base, err));
    return rlm_optim_new(&t->base.optim, &t->base.params, &t->base.recipe, err);
}

static int dry_step(void *cookie, rlm_error *err)
{
    trainer *t = cookie;
    t->base.run.tape = &t->encoder_tape;
    rlm_tensor wave = rlm_tensor_new5(&t->base.run, t->base.recipe.batch, 1, 1, t->crop, 1);
    rlm_tensor z = rlm_audio_encode_forward(&t->base.run, t->audio, &wave);
    rlm_tensor q = rlm_tensor_like(&t->base.run, &z);
    t->base.run.tape = &t->base.tape;
    rlm_tensor y = rlm_audio_decode_forward(&t->base.run, t->audio, &q);
    rlm_backward_plan(&t->base.run, &t->base.tape);
    rlm_backward_plan(&t->base.run, &t->encoder_tape);
    rlm_tape_clear(&t->base.tape);
    rlm_tape_clear(&t->encoder_tape);
    y.shape[0] = (y.shape[0] + 1) / 2;
    rlm_adversary_plan(&t->adversary, &t->base.run, y.shape);
    RLM_TRY(rlm_tape_check(&t->encoder_tape, err));
    return rlm_tape_check(&t->adversary.tape, err);
}

static void list_state(trainer *t)
{
    rlm_checkpoint *c = &t->base.checkpoint;
    rlm_rvq *q = &t->rvq;
    size_t books = (size_t)q->levels * (size_t)q->codes * sizeof(float);
    *c = (rlm_checkpoint){
        .optims = {&t->base.optim, &t->adversary.optim},
        .names = {"model", "critic"},
        .optim_count = t->adversary.critics ? 2 : 1,
        .blobs = {{"rvq.hits", q->hits, books},
                  {"rvq.sums", q->sums, books * (size_t)q->dim},
                  {"rvq.started", &q->started, sizeof q->started},
                  {"rvq.pool", q->pool, (size_t)RLM_RVQ_POOL * (size_t)q->dim * sizeof(float)},
                  {"rvq.pool_count", &q->pool_count, sizeof q->pool_count},
                  {"sizes", t->adversary.sizes, sizeof t->adversary.sizes}},
        .blob_count = 6};
}

static int open_all(void *cookie, rlm_error *err)
{
    trainer *t = cookie;
    const rlm_train_options *o = t->base.o;
    RLM_TRY(open_networks(t, err));
    int hop = rlm_audio_hop(&t->config);
    if (CROP_STEP % hop)
        return rlm_fail(err, RLM_E_RANGE, "audio training: hop %d does not divide %d", hop,
                        CROP_STEP);
    t->crop = (int)(CROP_SECONDS * t->config.rate / CROP_STEP) * CROP_STEP;
    t->frames = t->crop / hop;
    t->val_length = (int)(VAL_SECONDS * t->config.rate / hop) * hop;
    int64_t samples = (int64_t)t->base.recipe.batch * t->crop;
    t->levels = rlm_calloc((size_t)t->base.recipe.batch, sizeof(int));
    t->ids = rlm_calloc((size_t)t->config.levels * (size_t)t->frames, sizeof *t->ids);
    if (!t->levels || !t->ids)
        return rlm_fail(err, RLM_E_NOMEM, "audio training: no memory");
    RLM_TRY(rlm_rvq_open(&t->rvq, t->audio, (int64_t)t->base.recipe.batch * t->frames, err));
    if (o->init)
        adopt_books(t);
    RLM_TRY(rlm_sounds_open(&t->sounds, o, &t->base.recipe, t->config.rate, &t->base.log, err));
    RLM_TRY(rlm_adversary_open(&t->adversary, RLM_CRITIC_WAVE, &t->base.recipe,
                               (int64_t)(t->base.recipe.batch + 1) / 2 * t->crop, err));
    RLM_TRY(
        rlm_mel_new(&t->mel, RLM_MEL_TRAIN, t->config.rate, t->crop, t->base.recipe.batch, err));
    if (t->base.recipe.stft > 0)
        RLM_TRY(rlm_mel_new(&t->stft, RLM_MEL_BINS, t->config.rate, t->crop, t->base.recipe.batch,
                            err));
    RLM_TRY(rlm_mel_new(&t->val_mel, RLM_MEL_SCORE, t->config.rate, t->val_length, 1, err));
    RLM_TRY(rlm_train_plan(&t->base, dry_step, err));
    list_state(t);
    RLM_TRY(rlm_train_begin(&t->base, err));
    if (o->resume && t->adversary.critics)
        rlm_critics_fill(t->adversary.critics);
    RLM_TRY(rlm_loader_open(&t->loader, o->deterministic ? 0 : 1, LOADER_DEPTH,
                            (size_t)samples * sizeof(float),
                            t->base.step * t->base.recipe.accumulate, fill_crop, t, err));
    return rlm_train_repack(&t->base, err);
}

static void close_all(void *cookie)
{
    trainer *t = cookie;
    if (t->loader)
        rlm_loader_close(&t->loader);
    rlm_mel_free(&t->mel);
    rlm_mel_free(&t->stft);
    rlm_mel_free(&t->val_mel);
    rlm_ears_close(&t->ears);
    rlm_sounds_free(&t->sounds);
    rlm_rvq_free(&t->rvq);
    rlm_adversary_close(&t->adversary);
    rlm_audio_free(&t->audio);
    rlm_tape_free(&t->encoder_tape);
    rlm_free(t->levels);
    rlm_free(t->ids);
}

/* ---- A step ---- */

/* Half of the clips use all levels, the others 1 .. levels. */
static void draw_levels(trainer *t, int64_t index)
{
    int most = t->config.levels;
    for (int i = 0; i < t->base.recipe.batch; i++) {
        uint64_t at = (uint64_t)(index * t->base.recipe.batch + i);
        bool all = rlm_rng(t->base.recipe.seed, 911, at) & 1;
        t->levels[i] =
            all ? most : 1 + (int)rlm_rng_below(t->base.recipe.seed, 912, at, (uint32_t)most);
    }
}

/* One frame in MISTAKES is off by the difference of two codes of a level: a language model makes
 * mistakes, and a decoder that never saw any may answer with a bang. q [rows][dim]. */
static void make_mistakes(trainer *t, int64_t index, int64_t rows, float *q)
{
    uint64_t seed = t->base.recipe.seed;
    int dim = t->config.dim;
    uint32_t codes = (uint32_t)t->config.codes, levels = (uint32_t)t->config.levels;
    const float *books = rlm_audio_books(t->audio)->data;
    for (int64_t r = 0; r < rows; r++) {
        uint64_t at = (uint64_t)(index * rows + r);
        if (rlm_rng_below(seed, 913, at, MISTAKES))
            continue;
        uint32_t level = rlm_rng_below(seed, 914, at, levels) * codes;
        const float *from = books + (int64_t)(level + rlm_rng_below(seed, 915, at, codes)) * dim;
        const float *to = books + (int64_t)(level + rlm_rng_below(seed, 916, at, codes)) * dim;
        for (int i = 0; i < dim; i++)
            q[r * dim + i] += to[i] - from[i];
    }
}

/* z -> what the decoder sees. */
static void quantise(trainer *t, int64_t index, const rlm_tensor *z, rlm_tensor *q)
{
    int64_t rows = rlm_tensor_rows(z);
    if (!t->rvq.started && t->base.step > start_step(t)) {
        rlm_rvq_start(&t->rvq, &t->base.run, t->base.recipe.seed);
        rlm_logf(&t->base.log, 2, "step %lld: the quantiser joins", (long long)t->base.step);
    }
    if (!t->rvq.started) {
        rlm_rvq_collect(&t->rvq, rows, rlm_f32(z));
        t->base.k.copy(t->base.par, rlm_tensor_count(z), rlm_f32(z), rlm_f32(q));
        return;
    }
    draw_levels(t, index);
    if (t->base.recipe.decoder_only) {
        int64_t clip = (int64_t)t->frames * t->config.dim;
        for (int i = 0; i < t->base.recipe.batch; i++)
            rlm_audio_quantise(&t->base.run, t->audio, t->levels[i], t->frames,
                               rlm_f32(z) + i * clip, t->ids, rlm_f32(q) + i * clip);
        return;
    }
    rlm_rvq_train(&t->rvq, &t->base.run, rows, t->base.recipe.batch, t->levels, rlm_f32(z),
                  rlm_f32(q), t->base.recipe.seed, index);
}

/* The critics see either half of the batch in turn. */
static void ask_critics(trainer *t, const rlm_tensor *y, const float *target, losses *l)
{
    int64_t n = y->shape[0], half = (n + 1) / 2, at = t->base.step & 1 ? (n - half) * t->crop : 0;
    rlm_tensor fake = *y;
    fake.shape[0] = half;
    fake.data = rlm_f32(y) + at;
    rlm_adversary_ask(&t->adversary, &t->base.run, &fake, target + at, y->grad + at, &l->critic);
}

static void micro_step(trainer *t, int64_t index, losses *l)
{
    rlm_run *run = &t->base.run;
    const float *target = rlm_loader_next(t->loader);
    int batch = t->base.recipe.batch;
    float scale = 1.0f / (float)t->base.recipe.accumulate;
    int64_t shape[5] = {batch, 1, 1, t->crop, 1};
    rlm_arena_rewind(&t->base.arena, 0);
    rlm_tape_clear(&t->encoder_tape);
    rlm_tape_clear(&t->base.tape);
    rlm_tensor wave = rlm_tensor_view((void *)target, RLM_F32, 5, shape);
    bool whole = !t->base.recipe.decoder_only;
    run->tape = whole ? &t->encoder_tape : NULL;
    rlm_tensor z = rlm_audio_encode_forward(run, t->audio, &wave);
    rlm_tensor q = rlm_tensor_like(run, &z);
    quantise(t, index, &z, &q);
    if (whole) {
        rlm_grad(run, &z);
        l->commit += scale * rlm_rvq_pull(&t->rvq, run, &z, &q, scale).lost;
    }
    if (t->rvq.started)
        make_mistakes(t, index, rlm_tensor_rows(&q), rlm_f32(&q));
    run->tape = &t->base.tape;
    rlm_tensor y = rlm_audio_decode_forward(run, t->audio, &q);
    l->mel += scale * rlm_loss_mel(run, t->mel, &y, target, scale);
    if (t->stft)
        l->stft +=
            scale * rlm_loss_mel(run, t->stft, &y, target, (float)t->base.recipe.stft * scale);
    l->wave += scale * rlm_loss_recon(run, RLM_LOSS_L1, &y, target,
                                      WAVE_WEIGHT[t->rvq.started > 0] * scale);
    if (critics_on(t))
        ask_critics(t, &y, target, l);
    rlm_backward(run, &t->base.tape);
    if (!whole)
        return;
    t->base.k.axpy(t->base.par, rlm_tensor_count(&z), 1.0f, rlm_grad(run, &q), rlm_grad(run, &z));
    rlm_backward(run, &t->encoder_tape);
}

/* The averaged weights take the codebooks as they are: those are averages already. */
static void average_books(trainer *t)
{
    const rlm_param *b = rlm_audio_books(t->audio);
    if (t->base.optim.ema)
        t->base.k.copy(t->base.par, b->count, b->data,
                       t->base.optim.ema + (b->data - t->base.params.data));
}

static int train_step(trainer *t, losses *l, rlm_error *err)
{
    memset(l, 0, sizeof *l);
    t->base.step++;
    for (int i = 0; i < t->base.recipe.accumulate; i++)
        micro_step(t, (t->base.step - 1) * t->base.recipe.accumulate + i, l);
    l->norm = rlm_optim_step(&t->base.optim, &t->base.run, &t->base.recipe);
    average_books(t);
    if (critics_on(t))
        rlm_adversary_step(&t->adversary, &t->base.run);
    return rlm_train_repack(&t->base, err);
}

/* ---- Reports ---- */

/* One validation clip through the codec as users run it; its codes are counted. */
static int score_clip(trainer *t, int i, float *wave, rlm_code_use *use, rlm_audio_scores *s,
                      bool sample, rlm_error *err)
{
    int n = t->val_length;
    rlm_pcm in = {.count = n, .channels = 1, .rate = t->config.rate, .samples = wave}, out = {0};
    rlm_codes codes = {0};
    rlm_sounds_val(&t->sounds, i, n, wave);
    RLM_TRY(rlm_audio_encode(&t->base.run, t->audio, &in, &codes, err));
    int code = rlm_audio_decode(&t->base.run, t->audio, &codes, &out, err);
    if (!code)
        code = rlm_code_use_add(use, &codes, err);
    if (!code) {
        rlm_tensor y = rlm_tensor_view(out.samples, RLM_F32, 5, (int64_t[5]){1, 1, 1, n, 1});
        s->si_sdr += rlm_si_sdr(n, wave, out.samples);
        s->mel += rlm_loss_mel(&t->base.run, t->val_mel, &y, wave, 1.0f);
        if (sample)
            code = rlm_audio_sample_write(t->ears, t->base.o->run_dir, t->base.step, i,
                                          t->config.rate, n, wave, out.samples, err);
    }
    rlm_free(out.samples);
    rlm_codes_free(&codes);
    return code;
}

/* Scores over validation clips, evenly chosen; there are some. */
static int score(trainer *t, bool sample, rlm_audio_scores *s, rlm_error *err)
{
    int clips = t->sounds.val_count < VAL_CLIPS ? t->sounds.val_count : VAL_CLIPS;
    rlm_code_use use = {.levels = t->config.levels, .codes = t->config.codes};
    float *wave = rlm_alloc((size_t)t->val_length * sizeof(float));
    memset(s, 0, sizeof *s);
    int code = wave ? 0 : rlm_fail(err, RLM_E_NOMEM, "audio training: no memory");
    t->base.run.tape = NULL;
    rlm_arena_rewind(&t->base.arena, 0);
    for (int i = 0; i < clips && !code; i++) {
        int at = (int)((int64_t)i * t->sounds.val_count / clips);
        code = score_clip(t, at, wave, &use, s, sample && i < SAMPLES, err);
    }
    for (int q = 0; q < t->config.levels && !code; q++)
        s->used[q] = rlm_code_use_perplexity(&use, q);
    s->si_sdr /= clips;
    s->mel /= clips;
    rlm_code_use_free(&use);
    rlm_free(wave);
    return code;
}

static int look(void *cookie, int what, rlm_error *err)
{
    trainer *t = cookie;
    rlm_audio_scores s;
    if (t->sounds.val_count && !t->rvq.started)
        rlm_logf(&t->base.log, 2, "step %lld: no codes to judge before step %lld",
                 (long long)t->base.step, (long long)start_step(t) + 1);
    if (!t->sounds.val_count || !t->rvq.started)
        return 0;
    bool sample = what & RLM_LOOK_SAMPLE;
    if (sample && !t->ears)
        RLM_TRY(rlm_ears_open(&t->ears, t->config.rate, t->base.par, err));
    RLM_TRY(score(t, sample, &s, err));
    rlm_journal_put(t->base.journal, t->base.step, "val_si_sdr", s.si_sdr, "val_mel", s.mel,
                    "val_codes_first", s.used[0], "val_codes_last", s.used[t->config.levels - 1],
                    NULL);
    rlm_logf(&t->base.log, 2, "%s", rlm_journal_line(t->base.journal, t->base.recipe.steps));
    return 0;
}

static int save(void *cookie, const char *dir, rlm_error *err)
{
    trainer *t = cookie;
    return rlm_model_save_part(dir, RLM_PART_AUDIO, &t->config, &t->base.params, t->base.optim.ema,
                               err);
}

static int advance(void *cookie, rlm_error *err)
{
    trainer *t = cookie;
    losses now, *l = &now;
    RLM_TRY(train_step(t, l, err));
    rlm_journal_put(t->base.journal, t->base.step, "loss",
                    l->mel + t->base.recipe.stft * l->stft +
                        WAVE_WEIGHT[t->rvq.started > 0] * l->wave,
                    "mel", l->mel, "stft", l->stft, "wave", l->wave, "commit", l->commit, "grad",
                    l->norm, "adv", l->critic.adversarial, "feature", l->critic.feature, "critic",
                    l->critic.critic, "codes", rlm_rvq_used(&t->rvq, 0), "replaced",
                    (double)t->rvq.replaced, "lr", rlm_train_rate(&t->base), NULL);
    return 0;
}

int rlm_train_audio(const rlm_train_options *o, rlm_error *err)
{
    static const rlm_loop LOOP = {.bytes = sizeof(trainer),
                                  .open = open_all,
                                  .advance = advance,
                                  .look = look,
                                  .save = save,
                                  .close = close_all};
    return rlm_train_run(&LOOP, o, err);
}
