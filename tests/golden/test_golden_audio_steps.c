/* Twelve training steps of the tiny codec against the PyTorch twin (twin_train_audio.py): from the
 * same weights, on the same sound, the losses of every step and the weights behind the last. */
#include "src/train/audio_train.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>

static const char *const START = "tests/golden/audio_tiny.safetensors";
static const char *const STEPS = "tests/golden/audio_steps.safetensors";
enum { COUNT = 12, CLIPS = 2, WIDTH = 3200, LOSSES = 4 };
static const size_t SCRATCH = (size_t)64 << 20;
static const float WAVE_WEIGHT = 8.0f;
static const rlm_recipe RECIPE = {.steps = 1000,
                                  .batch = CLIPS,
                                  .accumulate = 1,
                                  .lr = 5e-4,
                                  .beta1 = 0.9,
                                  .beta2 = 0.95,
                                  .eps = 1e-8,
                                  .weight_decay = 0.01,
                                  .clip = 1};

typedef struct replay {
    rlm_kernels k;
    rlm_par *par;
    rlm_arena arena;
    rlm_tape encoder_tape, decoder_tape;
    rlm_run run;
    rlm_params params;
    rlm_audio *audio;
    rlm_optim optim;
    rlm_rvq rvq;
    rlm_mel *mel;
} replay;

/* The codebooks' averages begin at a fair share each, with the longest memory. */
static void adopt_books(replay *t, int64_t rows)
{
    const rlm_param *b = rlm_audio_books(t->audio);
    float fair = (float)rows / (float)t->rvq.codes;
    for (int i = 0; i < t->rvq.levels * t->rvq.codes; i++)
        t->rvq.hits[i] = fair;
    for (int64_t i = 0; i < b->count; i++)
        t->rvq.sums[i] = fair * b->data[i];
    t->rvq.started = 1000;
}

static bool open_replay(replay *t, const char *mask)
{
    rlm_audio_config c;
    rlm_error err;
    rlm_safetensors st;
    memset(t, 0, sizeof *t);
    rlm_audio_config_tiny(&c);
    int64_t rows = CLIPS * WIDTH / rlm_audio_hop(&c);
    if (rlm_kernels_init_training(&t->k, mask, &err) || rlm_par_open(&t->par, 1, &err) ||
        rlm_arena_reserve(&t->arena, SCRATCH, &err) || rlm_arena_commit(&t->arena, SCRATCH, &err) ||
        rlm_audio_new(&t->audio, &c, &t->params, &err) ||
        rlm_params_allocate(&t->params, true, &err) || rlm_st_open(&st, START, &err) ||
        rlm_params_load(&t->params, &st, "", &err) ||
        rlm_optim_new(&t->optim, &t->params, &RECIPE, &err) ||
        rlm_rvq_open(&t->rvq, t->audio, rows, &err) ||
        rlm_mel_new(&t->mel, RLM_MEL_TRAIN, c.rate, WIDTH, CLIPS, &err) ||
        rlm_params_pack(&t->params, &t->k, t->par, true, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return false;
    }
    rlm_st_close(&st);
    rlm_params_find(&t->params, "decoder.synthesis.weight")->grad = NULL;
    adopt_books(t, rows);
    t->run = (rlm_run){.k = &t->k, .arena = &t->arena, .par = t->par};
    return true;
}

static void close_replay(replay *t)
{
    rlm_mel_free(&t->mel);
    rlm_rvq_free(&t->rvq);
    rlm_optim_free(&t->optim);
    rlm_audio_free(&t->audio);
    rlm_params_free(&t->params);
    rlm_tape_free(&t->encoder_tape);
    rlm_tape_free(&t->decoder_tape);
    rlm_arena_release(&t->arena);
    rlm_par_close(&t->par);
}

/* golden_wave of the twin. */
static void make_wave(int step, float *out)
{
    for (int clip = 0; clip < CLIPS; clip++) {
        double f = 2 * 3.14159265358979323846 * (110 + 70 * clip + 13 * step);
        for (int i = 0; i < WIDTH; i++) {
            double t = i / 16000.0;
            *out++ =
                (float)(0.2 * sin(f * t) + 0.1 * sin(2 * f * t + step) + 0.05 * sin(7 * f * t));
        }
    }
}

/* losses: mel, wave, commitment, norm of the gradient. */
static void take_step(replay *t, int step, double *losses)
{
    static float wave[CLIPS * WIDTH];
    rlm_error err;
    rlm_run *run = &t->run;
    int levels[CLIPS];
    for (int clip = 0; clip < CLIPS; clip++)
        levels[clip] = 1 + (step + clip) % t->rvq.levels;
    make_wave(step, wave);
    rlm_arena_rewind(&t->arena, 0);
    rlm_tape_clear(&t->encoder_tape);
    rlm_tape_clear(&t->decoder_tape);
    rlm_tensor x = rlm_tensor_view(wave, RLM_F32, 5, (int64_t[5]){CLIPS, 1, 1, WIDTH, 1});
    run->tape = &t->encoder_tape;
    rlm_tensor z = rlm_audio_encode_forward(run, t->audio, &x);
    rlm_tensor q = rlm_tensor_like(run, &z);
    rlm_rvq_train(&t->rvq, run, rlm_tensor_rows(&z), CLIPS, levels, rlm_f32(&z), rlm_f32(&q), 1,
                  step);
    run->tape = &t->decoder_tape;
    rlm_tensor y = rlm_audio_decode_forward(run, t->audio, &q);
    losses[0] = rlm_loss_mel(run, t->mel, &y, wave, 1.0f);
    losses[1] = rlm_loss_recon(run, RLM_LOSS_L1, &y, wave, WAVE_WEIGHT);
    rlm_backward(run, &t->decoder_tape);
    t->k.axpy(t->par, rlm_tensor_count(&z), 1.0f, rlm_grad(run, &q), rlm_grad(run, &z));
    losses[2] = rlm_rvq_pull(&t->rvq, run, &z, &q, 1.0f).lost;
    rlm_backward(run, &t->encoder_tape);
    losses[3] = rlm_optim_step(&t->optim, run, &RECIPE);
    CHECK(rlm_params_pack(&t->params, &t->k, t->par, true, &err) == 0);
}

/* Energy of found - expected over that of expected. */
static double distance(const rlm_tensor *expected, const float *found)
{
    int64_t n = rlm_tensor_count(expected);
    float *e = malloc((size_t)n * sizeof *e);
    double d = 0, all = 1e-30;
    rlm_st_to_f32(expected, e);
    for (int64_t i = 0; i < n; i++) {
        d += (double)(found[i] - e[i]) * (found[i] - e[i]);
        all += (double)e[i] * e[i];
    }
    free(e);
    return d / all;
}

/* tolerance: of both losses; loose: of what hangs on which code won (commitment, gradient), and of
 * the weights' root mean square. */
static void compare(const char *mask, double tolerance, double loose)
{
    replay t;
    rlm_safetensors st;
    rlm_error err;
    if (!open_replay(&t, mask) || rlm_st_open(&st, STEPS, &err)) {
        CHECK(!"open");
        return;
    }
    float expected[COUNT * LOSSES];
    rlm_st_to_f32(rlm_st_find(&st, "steps.losses"), expected);
    for (int step = 0; step < COUNT; step++) {
        double found[LOSSES];
        take_step(&t, step, found);
        for (int i = 0; i < LOSSES; i++) {
            double e = expected[step * LOSSES + i];
            CHECK_NEAR(found[i], e, (i < 2 ? tolerance : loose) * e);
        }
    }
    const rlm_tensor *books = rlm_st_find(&st, "steps.books");
    const rlm_param *p = rlm_audio_books(t.audio);
    int64_t level = rlm_tensor_count(books) / t.rvq.levels;
    float *some = malloc((size_t)rlm_tensor_count(books) * sizeof *some);
    for (int q = 0; q < t.rvq.levels; q++)
        memcpy(some + q * level, p->data + (int64_t)q * t.rvq.codes * t.rvq.dim,
               (size_t)level * sizeof *some);
    CHECK_NEAR(distance(books, some), 0, loose * loose);
    CHECK_NEAR(distance(rlm_st_find(&st, "steps.out"),
                        rlm_params_find(&t.params, "decoder.out.weight")->data),
               0, loose * loose);
    free(some);
    rlm_st_close(&st);
    close_replay(&t);
}

static void case_reference(void)
{
    compare("ref", 1e-3, 1e-3);
}

/* f32 as well. */
static void case_blas(void)
{
    compare("blas", 1e-3, 1e-3);
}

/* Every level above ref and blas, some of which multiply in bf16; one that the machine lacks is
 * its best one. */
static void case_bf16(void)
{
    for (int i = 2; rlm_kernels_level(i); i++)
        compare(rlm_kernels_level(i), 0.03, 0.3);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_reference);
    TEST_CASE(case_blas);
    TEST_CASE(case_bf16);
    return TEST_END();
}
