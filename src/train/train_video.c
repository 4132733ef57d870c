/* Training of the video tokenizer.
 *
 *   clips of 17 x 128 x 128 and single pictures -> encoder -> sphere -> sign -> decoder -> pixels
 *
 * On the sphere (root mean square 1; binary spherical quantisation, arXiv 2406.07548) every bit
 * stands within reach of its sign, so the straight-through gradient means what it says. It changes
 * no sign: codes and decoder need not know.
 *
 * Losses: L1 + L2 of the pixels, entropy of the bits (each decided, all used), commitment; by
 * choice the perceptual distance of one frame a clip, and critics of two. An eighth of the batch
 * (of four clips on, at least one) are pictures, so that the first frame of everything gets its
 * share of the gradient. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/train/video_train.h"

enum { LOADER_DEPTH = 4, LOADER_THREADS = 1 };
static const float L1_WEIGHT = 0.5f, L2_WEIGHT = 5.0f;
/* A mean over the bits; tau 1 lets entropy reach beyond the very neighbourhood of 0. The entropy
 * starts three times as heavy, so that no bit falls asleep before it has learnt anything. */
static const float ENTROPY_WEIGHT = 0.05f, ENTROPY_TAU = 1.0f, COMMIT_WEIGHT = 0.1f;
static const double ENTROPY_ANNEAL = 300; /* steps */

typedef struct losses {
    double l1, l2, l2_image, perceptual, norm;
    rlm_lfq_loss bits;
    rlm_critic_loss critic;
} losses;

typedef struct trainer {
    rlm_trainer base;
    rlm_video_config config;
    rlm_video *video;
    rlm_adversary adversary;
    float *pairs[3]; /* [clip_batch][side][side][6]: made, real, gradient; NULL without critics */
    rlm_perceptual_loss *ruler; /* NULL: no perceptual loss */
    int *looked_at;             /* [batch] frame of each clip that the ruler sees */
    rlm_clips clips;
    rlm_video_val val;
    rlm_loader *loader;
    rlm_rmsnorm sphere; /* without gain; lives until backward */
    int clip_batch, image_batch;
} trainer;

/* ---- Setting up ------------------------------------------------------------------------------ */

/* A slot: clip_batch clips, then image_batch pictures. */
static int fill_batch(void *ctx, int64_t index, void *slot)
{
    trainer *t = ctx;
    float *out = slot;
    for (int i = 0; i < t->base.recipe.batch; i++) {
        bool clip = i < t->clip_batch;
        RLM_TRY(rlm_clips_sample(&t->clips, t->base.recipe.seed, index * t->base.recipe.batch + i,
                                 clip, out));
        out += clip ? RLM_CROP_FLOATS : RLM_IMAGE_FLOATS;
    }
    return 0;
}

static int open_network(trainer *t, rlm_error *err)
{
    rlm_video_config_defaults(&t->config);
    if (t->base.o->config)
        RLM_TRY(rlm_config_read(t->base.o->config, &t->config, NULL, NULL, err));
    int st = rlm_video_stride_t(&t->config), ss = rlm_video_stride_s(&t->config);
    if ((RLM_CROP_FRAMES - 1) % st || RLM_CROP_SIDE % ss)
        return rlm_fail(err, RLM_E_RANGE,
                        "video training: strides %d in time and %d in space do not divide %d "
                        "frames and %d pixels",
                        st, ss, RLM_CROP_FRAMES - 1, RLM_CROP_SIDE);
    RLM_TRY(rlm_video_new(&t->video, &t->config, &t->base.params, err));
    RLM_TRY(rlm_train_weights(&t->base, "video.safetensors", err));
    RLM_TRY(rlm_train_freeze(&t->base, err));
    return rlm_optim_new(&t->base.optim, &t->base.params, &t->base.recipe, err);
}

static rlm_tensor forward(trainer *t, const rlm_tensor *x, rlm_tensor *z)
{
    rlm_tape *tape = t->base.run.tape;
    if (t->base.recipe.decoder_only)
        t->base.run.tape = NULL;
    *z = rlm_video_encode_forward(&t->base.run, t->video, x);
    t->sphere = (rlm_rmsnorm){.dim = t->config.bits, .eps = 1e-6f};
    *z = rlm_rmsnorm_forward(&t->base.run, &t->sphere, z);
    rlm_tensor q = rlm_lfq_forward(&t->base.run, z, NULL);
    t->base.run.tape = tape;
    return rlm_video_decode_forward(&t->base.run, t->video, &q);
}

static rlm_tensor batch_view(const float *data, int count, int frames)
{
    int64_t shape[5] = {count, frames, RLM_CROP_SIDE, RLM_CROP_SIDE, 3};
    return rlm_tensor_view((void *)data, RLM_F32, 5, shape);
}

static int dry_step(void *cookie, rlm_error *err)
{
    trainer *t = cookie;
    rlm_tensor z;
    rlm_tensor clips = batch_view(NULL, t->clip_batch, RLM_CROP_FRAMES);
    rlm_tensor y = forward(t, &clips, &z);
    if (t->ruler)
        rlm_loss_perceptual(&t->base.run, t->ruler, &y, NULL, t->looked_at, 0);
    if (t->image_batch) {
        rlm_tensor images = batch_view(NULL, t->image_batch, 1);
        y = forward(t, &images, &z);
        if (t->ruler)
            rlm_loss_perceptual(&t->base.run, t->ruler, &y, NULL, t->looked_at, 0);
    }
    int64_t pair[5] = {t->clip_batch, 1, RLM_CROP_SIDE, RLM_CROP_SIDE, RLM_CRITIC_PAIR};
    rlm_adversary_plan(&t->adversary, &t->base.run, pair);
    rlm_backward_plan(&t->base.run, &t->base.tape);
    return rlm_tape_check(&t->adversary.tape, err);
}

static int open_critics(trainer *t, rlm_error *err)
{
    int64_t values = (int64_t)t->clip_batch * RLM_CROP_SIDE * RLM_CROP_SIDE * RLM_CRITIC_PAIR;
    RLM_TRY(rlm_adversary_open(&t->adversary, RLM_CRITIC_FILM, &t->base.recipe, values, err));
    for (int i = 0; i < 3 && t->adversary.critics; i++) {
        t->pairs[i] = rlm_calloc((size_t)values, sizeof(float));
        if (!t->pairs[i])
            return rlm_fail(err, RLM_E_NOMEM, "video training: no memory");
    }
    return 0;
}

static int open_all(void *cookie, rlm_error *err)
{
    trainer *t = cookie;
    const rlm_train_options *o = t->base.o;
    t->image_batch = (t->base.recipe.batch + 4) / 8;
    t->clip_batch = t->base.recipe.batch - t->image_batch;
    RLM_TRY(open_network(t, err));
    t->looked_at = rlm_calloc((size_t)t->base.recipe.batch, sizeof *t->looked_at);
    if (!t->looked_at)
        return rlm_fail(err, RLM_E_NOMEM, "video training: no memory");
    if (o->perceptual && t->base.recipe.perceptual > 0)
        RLM_TRY(rlm_perceptual_loss_open(&t->ruler, o->perceptual, &t->base.k, t->base.par, err));
    else if (t->base.recipe.perceptual > 0)
        rlm_logf(&t->base.log, 2, "the recipe's perceptual loss is left out: no --perceptual FILE");
    RLM_TRY(open_critics(t, err));
    RLM_TRY(rlm_clips_open(&t->clips, o, t->base.recipe.playground, &t->base.log, err));
    RLM_TRY(rlm_video_val_open(&t->val, &t->clips, err));
    RLM_TRY(rlm_train_plan(&t->base, dry_step, err));
    t->base.checkpoint =
        (rlm_checkpoint){.optims = {&t->base.optim, &t->adversary.optim},
                         .names = {"model", "critic"},
                         .optim_count = t->adversary.critics ? 2 : 1,
                         .blobs = {{"sizes", t->adversary.sizes, sizeof t->adversary.sizes}},
                         .blob_count = t->adversary.critics ? 1 : 0};
    RLM_TRY(rlm_train_begin(&t->base, err));
    size_t slot =
        ((size_t)t->clip_batch * RLM_CROP_FLOATS + (size_t)t->image_batch * RLM_IMAGE_FLOATS) *
        sizeof(float);
    RLM_TRY(rlm_loader_open(&t->loader, o->deterministic ? 0 : LOADER_THREADS, LOADER_DEPTH, slot,
                            t->base.step * t->base.recipe.accumulate, fill_batch, t, err));
    return rlm_train_repack(&t->base, err);
}

static void close_all(void *cookie)
{
    trainer *t = cookie;
    if (t->loader)
        rlm_loader_close(&t->loader);
    rlm_video_val_free(&t->val);
    rlm_clips_free(&t->clips);
    rlm_perceptual_loss_close(&t->ruler);
    rlm_free(t->looked_at);
    for (int i = 0; i < 3; i++)
        rlm_free(t->pairs[i]);
    rlm_adversary_close(&t->adversary);
    rlm_video_free(&t->video);
}

/* ---- A step ---------------------------------------------------------------------------------- */

/* Of clip i the frames first[i] and the next, interleaved, from or back to values x [clip_batch]
 * [frames][side][side][3]. */
static void copy_pairs(const trainer *t, const int *first, float *x, float *pairs, bool back)
{
    int64_t plane = (int64_t)RLM_CROP_SIDE * RLM_CROP_SIDE;
    for (int i = 0; i < t->clip_batch; i++)
        for (int side = 0; side < 2; side++) {
            float *frame = x + ((int64_t)i * RLM_CROP_FRAMES + first[i] + side) * plane * 3;
            float *pair = pairs + i * plane * RLM_CRITIC_PAIR + side * 3;
            if (back)
                t->base.k.columns(t->base.par, plane, 3, pair, RLM_CRITIC_PAIR, 0, frame, 3, 0,
                                  false);
            else
                t->base.k.columns(t->base.par, plane, 3, frame, 3, 0, pair, RLM_CRITIC_PAIR, 0,
                                  false);
        }
}

/* The critics look at two frames of each clip, of which the ruler saw one. */
static void ask_critics(trainer *t, const rlm_tensor *y, const float *target, losses *l)
{
    int64_t shape[5] = {t->clip_batch, 1, RLM_CROP_SIDE, RLM_CROP_SIDE, RLM_CRITIC_PAIR};
    rlm_tensor fake = rlm_tensor_view(t->pairs[0], RLM_F32, 5, shape);
    for (int i = 0; i < t->clip_batch; i++)
        t->looked_at[i] -= t->looked_at[i] == RLM_CROP_FRAMES - 1;
    copy_pairs(t, t->looked_at, rlm_f32(y), t->pairs[0], false);
    copy_pairs(t, t->looked_at, (float *)(uintptr_t)target, t->pairs[1], false);
    copy_pairs(t, t->looked_at, y->grad, t->pairs[2], false);
    rlm_adversary_ask(&t->adversary, &t->base.run, &fake, t->pairs[1], t->pairs[2], &l->critic);
    copy_pairs(t, t->looked_at, y->grad, t->pairs[2], true);
}

/* Losses of a part of the batch, gradients with the weight `share`. index: of the batch. */
static double part_loss(trainer *t, const rlm_tensor *x, int64_t index, float share, losses *l,
                        rlm_tensor *z)
{
    rlm_tensor y = forward(t, x, z);
    l->l1 += share * rlm_loss_recon(&t->base.run, RLM_LOSS_L1, &y, rlm_f32(x), L1_WEIGHT * share);
    for (int i = 0; i < x->shape[0]; i++)
        t->looked_at[i] = (int)rlm_rng_below(t->base.recipe.seed, 640 + (uint64_t)i,
                                             (uint64_t)index, (uint32_t)x->shape[1]);
    if (t->ruler)
        l->perceptual +=
            share * rlm_loss_perceptual(&t->base.run, t->ruler, &y, rlm_f32(x), t->looked_at,
                                        (float)t->base.recipe.perceptual * share);
    double l2 = rlm_loss_recon(&t->base.run, RLM_LOSS_L2, &y, rlm_f32(x), L2_WEIGHT * share);
    if (x->shape[1] > 1 && rlm_adversary_joins(&t->adversary, &t->base.recipe, t->base.step + 1))
        ask_critics(t, &y, rlm_f32(x), l);
    return l2;
}

static float entropy_weight(const trainer *t)
{
    double left = 1.0 - (double)t->base.step / ENTROPY_ANNEAL;
    return ENTROPY_WEIGHT * (float)(1.0 + 2.0 * (left > 0 ? left : 0)) / (float)t->config.bits;
}

static int micro_step(trainer *t, int64_t index, losses *l, rlm_error *err)
{
    const float *data = rlm_loader_next(t->loader);
    if (!data)
        return rlm_fail(err, RLM_E_MEDIA, "video training: hardly any file can be read");
    float scale = 1.0f / (float)t->base.recipe.accumulate;
    float share = scale * (float)t->clip_batch / (float)t->base.recipe.batch;
    rlm_tensor z;
    rlm_arena_rewind(&t->base.arena, 0);
    rlm_tape_clear(&t->base.tape);
    t->base.run.tape = &t->base.tape;
    rlm_tensor clips = batch_view(data, t->clip_batch, RLM_CROP_FRAMES);
    l->l2 += scale * part_loss(t, &clips, index, share, l, &z);
    l->bits = rlm_loss_lfq(&t->base.run, &z, ENTROPY_TAU, 1.0f, entropy_weight(t) * scale,
                           COMMIT_WEIGHT * share);
    if (t->image_batch) { /* one picture's codes are no sample of all codes: commitment only */
        rlm_tensor images =
            batch_view(data + (size_t)t->clip_batch * RLM_CROP_FLOATS, t->image_batch, 1);
        l->l2_image += scale * part_loss(t, &images, index, scale - share, l, &z);
        rlm_loss_lfq(&t->base.run, &z, ENTROPY_TAU, 1.0f, 0.0f, COMMIT_WEIGHT * (scale - share));
    }
    rlm_backward(&t->base.run, &t->base.tape);
    return RLM_OK;
}

static int train_step(trainer *t, losses *l, rlm_error *err)
{
    *l = (losses){0};
    for (int i = 0; i < t->base.recipe.accumulate; i++)
        RLM_TRY(micro_step(t, t->base.step * t->base.recipe.accumulate + i, l, err));
    l->norm = rlm_optim_step(&t->base.optim, &t->base.run, &t->base.recipe);
    t->base.step++;
    if (rlm_adversary_joins(&t->adversary, &t->base.recipe, t->base.step))
        rlm_adversary_step(&t->adversary, &t->base.run);
    return rlm_train_repack(&t->base, err);
}

/* ---- Looking, saving ------------------------------------------------------------------------- */

static int look(void *cookie, int what, rlm_error *err)
{
    trainer *t = cookie;
    rlm_video_scores s;
    char sheet[4096];
    bool sample = what & RLM_LOOK_SAMPLE;
    snprintf(sheet, sizeof sheet, "%s/samples", t->base.o->run_dir);
    if (sample)
        RLM_TRY(rlm_mkdirs(sheet, err));
    snprintf(sheet, sizeof sheet, "%s/samples/step_%07lld.png", t->base.o->run_dir,
             (long long)t->base.step);
    t->base.run.tape = NULL;
    rlm_arena_rewind(&t->base.arena, 0);
    RLM_TRY(rlm_video_val_score(&t->val, &t->base.run, t->video, &s, sample ? sheet : NULL, err));
    rlm_journal_put(t->base.journal, t->base.step, "val_psnr", s.psnr[RLM_VAL_REAL],
                    "val_psnr_photo", s.psnr[RLM_VAL_PHOTO], "val_psnr_world",
                    s.psnr[RLM_VAL_WORLD], "val_psnr_control", s.psnr[RLM_VAL_CONTROL],
                    "val_distinct", s.distinct, NULL);
    rlm_logf(&t->base.log, 2, "%s", rlm_journal_line(t->base.journal, t->base.recipe.steps));
    return 0;
}

static int save(void *cookie, const char *dir, rlm_error *err)
{
    trainer *t = cookie;
    return rlm_model_save_part(dir, RLM_PART_VIDEO, &t->config, &t->base.params, t->base.optim.ema,
                               err);
}

/* Pixels are in [-1, 1]: peak to peak 2. */
static double psnr_of(double l2)
{
    return 10.0 * log10(4.0 / (l2 + 1e-9));
}

static int advance(void *cookie, rlm_error *err)
{
    trainer *t = cookie;
    losses now, *l = &now;
    RLM_TRY(train_step(t, l, err));
    rlm_journal_put(t->base.journal, t->base.step, "loss", L1_WEIGHT * l->l1 + L2_WEIGHT * l->l2,
                    "psnr", psnr_of(l->l2), "psnr_image", psnr_of(l->l2_image), "l1", l->l1,
                    "perceptual", l->perceptual, "bit_entropy", l->bits.token_entropy,
                    "use_entropy", l->bits.batch_entropy, "commit", l->bits.commitment, "adv",
                    l->critic.adversarial, "feature", l->critic.feature, "critic", l->critic.critic,
                    "grad", l->norm, "lr", rlm_train_rate(&t->base), NULL);
    return 0;
}

int rlm_train_video(const rlm_train_options *o, rlm_error *err)
{
    static const rlm_loop LOOP = {.bytes = sizeof(trainer),
                                  .open = open_all,
                                  .advance = advance,
                                  .look = look,
                                  .save = save,
                                  .close = close_all};
    return rlm_train_run(&LOOP, o, err);
}
