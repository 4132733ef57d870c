/* The audio codec: causality, chunks equal the whole, lengths, levels, refusals, parameter counts.
 */
#include "src/base/rng.h"
#include "tests/test.h"
#include "tokenizers/audio.h"
#include "tokenizers/audio_net.h"

#include <stdlib.h>

typedef struct fixture {
    rlm_kernels k;
    rlm_par *par;
    rlm_arena arena;
    rlm_run run;
    rlm_params params;
    rlm_audio *audio;
} fixture;

static const size_t SCRATCH = (size_t)64 << 20;

static bool open_codec(fixture *f, const char *mask, const rlm_audio_config *c)
{
    rlm_error err;
    memset(f, 0, sizeof *f);
    if (rlm_kernels_init(&f->k, mask, &err) || rlm_par_open(&f->par, 2, &err) ||
        rlm_arena_reserve(&f->arena, SCRATCH, &err) || rlm_arena_commit(&f->arena, SCRATCH, &err) ||
        rlm_audio_new(&f->audio, c, &f->params, &err) ||
        rlm_params_allocate(&f->params, false, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return false;
    }
    rlm_params_initialise(&f->params, 3);
    f->run = (rlm_run){.k = &f->k, .arena = &f->arena, .par = f->par};
    return rlm_params_pack(&f->params, &f->k, f->par, false, &err) == 0;
}

static bool open_fixture(fixture *f, const char *mask)
{
    rlm_audio_config c;
    rlm_audio_config_tiny(&c);
    return open_codec(f, mask, &c);
}

/* The tiny codec whose decoder has more units than its encoder, more than there are dilations. */
static void deep_config(rlm_audio_config *c)
{
    rlm_audio_config_tiny(c);
    c->decoder_middle = 5;
    c->decoder_units = 6;
}

static void close_fixture(fixture *f)
{
    rlm_audio_free(&f->audio);
    rlm_params_free(&f->params);
    rlm_arena_release(&f->arena);
    rlm_par_close(&f->par);
}

static float *noise(int64_t n, uint64_t seed)
{
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = 0.3f * rlm_rng_normal(seed, 1, (uint64_t)i);
    return x;
}

/* Whole clip in one forward against rlm_audio_encode and _decode, which work in chunks. */
static void compare_chunks(const char *mask, void (*preset)(rlm_audio_config *))
{
    fixture f;
    rlm_audio_config config;
    rlm_error err;
    preset(&config);
    if (!open_codec(&f, mask, &config)) {
        CHECK(!"fixture");
        return;
    }
    const rlm_audio_config *c = rlm_audio_get_config(f.audio);
    int64_t hop = rlm_audio_hop(c), frames = 3 * RLM_AUDIO_CHUNK + 17, n = frames * hop;
    float *wave = noise(n, 5);
    rlm_pcm pcm = {.count = n, .channels = 1, .rate = c->rate, .samples = wave}, back = {0};
    rlm_codes codes = {0};
    CHECK(rlm_audio_encode(&f.run, f.audio, &pcm, &codes, &err) == 0);
    CHECK(codes.dims[0] == 4 && codes.dims[1] == frames && codes.dims[2] == 1);
    int64_t shape[5] = {1, 1, 1, n, 1};
    rlm_tensor x = rlm_tensor_view(wave, RLM_F32, 5, shape);
    rlm_tensor z = rlm_audio_encode_forward(&f.run, f.audio, &x);
    rlm_tensor q = rlm_tensor_like(&f.run, &z);
    int32_t *ids = malloc((size_t)codes.count * sizeof *ids);
    rlm_audio_quantise(&f.run, f.audio, c->levels, frames, rlm_f32(&z), ids, rlm_f32(&q));
    CHECK(memcmp(ids, codes.ids, (size_t)codes.count * sizeof *ids) == 0);
    rlm_tensor y = rlm_audio_decode_forward(&f.run, f.audio, &q);
    CHECK(rlm_audio_decode(&f.run, f.audio, &codes, &back, &err) == 0);
    CHECK(back.count == n && memcmp(rlm_f32(&y), back.samples, (size_t)n * sizeof(float)) == 0);
    CHECK(rlm_arena_mark(&f.arena) < f.arena.peak);
    rlm_free(back.samples);
    rlm_codes_free(&codes);
    free(ids);
    free(wave);
    close_fixture(&f);
}

static void case_chunks(void)
{
    for (int i = 0; rlm_kernels_level(i); i++)
        compare_chunks(rlm_kernels_level(i), rlm_audio_config_tiny);
}

/* Units of the decoder's own number: names, dilations that begin again, reach, chunks. */
static void case_deep_decoder(void)
{
    fixture f;
    rlm_audio_config c;
    rlm_error err;
    deep_config(&c);
    CHECK(open_codec(&f, NULL, &c));
    const rlm_audio_stack *d = &f.audio->decoder;
    CHECK(rlm_params_find(&f.params, "decoder.stage0.unit5.conv1.weight") != NULL);
    CHECK(rlm_params_find(&f.params, "decoder.stage1.unit5.conv0.bias") != NULL);
    CHECK(rlm_params_find(&f.params, "decoder.stage0.unit6.conv0.weight") == NULL);
    CHECK(rlm_params_find(&f.params, "decoder.middle4.conv0.weight") != NULL);
    CHECK(rlm_params_find(&f.params, "encoder.stage0.unit2.conv0.weight") == NULL);
    CHECK(rlm_params_find(&f.params, "encoder.middle1.conv0.weight") == NULL);
    static const int reach[6] = {2, 6, 18, 54, 2, 6}; /* kernel 3, dilations 1, 3, 9, 27, 1, 3 */
    for (int j = 0; j < 6; j++)
        CHECK(rlm_conv_context(&d->stages[0].units[j].conv0) == reach[j]);
    /* voice 2 + units 88 frames of stage 0, over 4; that and 88 of stage 1, over 2; each stride's
     * kernel 1; middle 82; stem 6 */
    CHECK(f.audio->decoder_context == ((23 + 1 + 88) / 2 + 1) + 82 + 6);
    close_fixture(&f);
    compare_chunks("ref", deep_config);
    compare_chunks(NULL, deep_config);
    c.decoder_units = RLM_AUDIO_UNITS + 1;
    CHECK(rlm_audio_config_check(&c, &err) == RLM_E_RANGE);
    CHECK_HAS(err.text, "decoder_units is 9");
    c.decoder_units = 0;
    c.beam = RLM_RVQ_BEAM_MAX + 1;
    CHECK(rlm_audio_config_check(&c, &err) == RLM_E_RANGE);
    CHECK_HAS(err.text, "beam is 33");
    c.beam = 1;
    c.decoder_middle = RLM_AUDIO_UNITS + 1;
    CHECK(rlm_audio_config_check(&c, &err) == RLM_E_RANGE);
}

static void case_memory_is_bounded(void)
{
    fixture f;
    rlm_error err;
    size_t peak[2];
    CHECK(open_fixture(&f, NULL));
    for (int i = 0; i < 2; i++) {
        int64_t n = (int64_t)(i ? 12 : 3) * RLM_AUDIO_CHUNK * 320;
        float *wave = noise(n, 6);
        rlm_pcm pcm = {.count = n, .channels = 1, .rate = 16000, .samples = wave}, back = {0};
        rlm_codes codes = {0};
        CHECK(rlm_audio_encode(&f.run, f.audio, &pcm, &codes, &err) == 0);
        CHECK(rlm_audio_decode(&f.run, f.audio, &codes, &back, &err) == 0);
        peak[i] = f.arena.peak;
        rlm_free(back.samples);
        rlm_codes_free(&codes);
        free(wave);
    }
    CHECK(peak[0] == peak[1] && peak[0] > 0);
    close_fixture(&f);
}

/* A change at sample s alters no code before frame s / hop, and no sample before it after decoding;
 * and it does alter what follows. */
static void case_causality(void)
{
    fixture f;
    CHECK(open_fixture(&f, "ref"));
    const rlm_audio_config *c = rlm_audio_get_config(f.audio);
    int64_t hop = rlm_audio_hop(c), frames = 40, at = 25, n = frames * hop;
    float *wave = noise(n, 7);
    rlm_tensor x = rlm_tensor_view(wave, RLM_F32, 5, (int64_t[5]){1, 1, 1, n, 1});
    rlm_tensor z0 = rlm_audio_encode_forward(&f.run, f.audio, &x);
    rlm_tensor y0 = rlm_audio_decode_forward(&f.run, f.audio, &z0);
    for (int64_t i = at * hop; i < n; i++)
        wave[i] = -wave[i];
    rlm_tensor z1 = rlm_audio_encode_forward(&f.run, f.audio, &x);
    rlm_tensor y1 = rlm_audio_decode_forward(&f.run, f.audio, &z1);
    size_t same = (size_t)(at * c->dim) * sizeof(float), row = (size_t)c->dim * sizeof(float);
    CHECK(memcmp(rlm_f32(&z0), rlm_f32(&z1), same) == 0);
    CHECK(memcmp(rlm_f32(&z0) + at * c->dim, rlm_f32(&z1) + at * c->dim, row) != 0);
    CHECK(memcmp(rlm_f32(&y0), rlm_f32(&y1), (size_t)(at * hop) * sizeof(float)) == 0);
    CHECK(memcmp(rlm_f32(&y0), rlm_f32(&y1), (size_t)n * sizeof(float)) != 0);
    free(wave);
    close_fixture(&f);
}

static void case_lengths(void)
{
    static const int64_t lengths[] = {1, 159, 160, 161, 320, 480, 481, 34000, 33999, 50001};
    fixture f;
    rlm_error err;
    rlm_audio_config c;
    rlm_audio_config_defaults(&c);
    CHECK(rlm_audio_frames(&c, 34000) == 106);
    CHECK(rlm_audio_frames(&c, 480) == 1 && rlm_audio_frames(&c, 481) == 2);
    CHECK(open_fixture(&f, NULL));
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        float *wave = noise(lengths[i], i);
        rlm_pcm pcm = {.count = lengths[i], .channels = 1, .rate = 16000, .samples = wave};
        rlm_pcm back = {0};
        rlm_codes codes = {0};
        CHECK(rlm_audio_encode(&f.run, f.audio, &pcm, &codes, &err) == 0);
        CHECK(codes.true_samples == lengths[i] && codes.rate == 16000);
        CHECK(rlm_audio_decode(&f.run, f.audio, &codes, &back, &err) == 0);
        CHECK(back.count == lengths[i] && back.channels == 1 && back.rate == 16000);
        rlm_free(back.samples);
        rlm_codes_free(&codes);
        free(wave);
    }
    close_fixture(&f);
}

/* What the quantiser says it chose is what its codes mean, for any number of levels; every level
 * brings the sum nearer on average. */
static void case_quantiser(void)
{
    fixture f;
    CHECK(open_fixture(&f, NULL));
    const rlm_audio_config *c = rlm_audio_get_config(f.audio);
    enum { ROWS = 50 };
    float *x = noise(ROWS * c->dim, 9), *q = malloc(ROWS * c->dim * sizeof *q);
    float *d = malloc(ROWS * c->dim * sizeof *d);
    int32_t ids[4 * ROWS];
    rlm_param *books = rlm_audio_books(f.audio);
    for (int64_t i = 0; i < books->count; i++)
        books->data[i] =
            0.3f * rlm_rng_normal(4, 4, (uint64_t)i) / (float)(1 + i / (books->count / c->levels));
    double before = 1e30;
    for (int use = 1; use <= c->levels; use++) {
        rlm_audio_quantise(&f.run, f.audio, use, ROWS, x, ids, q);
        rlm_audio_dequantise(&f.run, f.audio, ROWS, ids, d);
        CHECK(memcmp(q, d, ROWS * c->dim * sizeof *q) == 0);
        for (int i = 0; i < 4 * ROWS; i++)
            CHECK(i < use * ROWS ? ids[i] >= 0 && ids[i] < c->codes : ids[i] == -1);
        double error = 0;
        for (int i = 0; i < ROWS * c->dim; i++)
            error += (x[i] - q[i]) * (x[i] - q[i]);
        CHECK(error < before);
        before = error;
    }
    free(x);
    free(q);
    free(d);
    close_fixture(&f);
}

/* The squared distance of row r from the sum of its codes. */
static double left_over(const rlm_rvq_shape *s, const float *x, const float *books,
                        const int32_t *ids, int64_t r)
{
    double sum = 0;
    for (int i = 0; i < s->dim; i++) {
        double d = x[r * s->dim + i];
        for (int q = 0; q < s->levels; q++)
            d -= books[((int64_t)q * s->codes + ids[q * s->rows + r]) * s->dim + i];
        sum += d * d;
    }
    return sum;
}

/* A beam that holds every path finds the best pair of codes there is; a narrow one comes nearer
 * than the greedy choice on average. */
static void case_beam(void)
{
    enum { ROWS = 40, DIM = 6, CODES = 5, PAIRS = CODES * CODES };
    fixture f;
    CHECK(open_fixture(&f, NULL));
    float *x = noise(ROWS * DIM, 3), *books = noise(2 * CODES * DIM, 4);
    double mean[3] = {0};
    static const int beams[3] = {1, 2, PAIRS};
    for (int b = 0; b < 3; b++) {
        rlm_rvq_shape s = {ROWS, DIM, CODES, 2, beams[b]};
        int32_t ids[2 * ROWS];
        f.run.k->rvq_search(f.run.par, &s, x, books, ids, ROWS);
        for (int64_t r = 0; r < ROWS; r++) {
            double found = left_over(&s, x, books, ids, r), best = 1e30;
            for (int pair = 0; pair < PAIRS; pair++) {
                int32_t try[2 * ROWS];
                try[r] = pair / CODES;
                try[ROWS + r] = pair % CODES;
                best = fmin(best, left_over(&s, x, books, try, r));
            }
            CHECK(b < 2 || found < best + 1e-5);
            mean[b] += found;
        }
    }
    CHECK(mean[1] < mean[0] && mean[2] < mean[1]);
    free(x);
    free(books);
    close_fixture(&f);
}

/* Fewer levels decode too, also when the grid itself has fewer rows. */
static void case_fewer_levels(void)
{
    fixture f;
    rlm_error err;
    CHECK(open_fixture(&f, NULL));
    int32_t ids[4 * 10];
    for (int i = 0; i < 40; i++)
        ids[i] = (i * 7) % 64;
    for (int levels = 1; levels <= 4; levels++) {
        rlm_codes codes = {.dims = {levels, 10, 1}, .count = levels * 10, .ids = ids};
        rlm_pcm a = {0}, b = {0};
        CHECK(rlm_audio_decode(&f.run, f.audio, &codes, &a, &err) == 0 && a.count == 3200);
        int32_t masked[40];
        for (int i = 0; i < 40; i++)
            masked[i] = i < levels * 10 ? ids[i] : -1;
        rlm_codes full = {.dims = {4, 10, 1}, .count = 40, .ids = masked};
        CHECK(rlm_audio_decode(&f.run, f.audio, &full, &b, &err) == 0);
        CHECK(memcmp(a.samples, b.samples, 3200 * sizeof(float)) == 0);
        rlm_free(a.samples);
        rlm_free(b.samples);
    }
    close_fixture(&f);
}

static void case_refusals(void)
{
    fixture f;
    rlm_error err;
    rlm_codes codes = {0};
    rlm_pcm pcm = {0};
    int32_t ids[8] = {0};
    float wave[8] = {0};
    CHECK(open_fixture(&f, "ref"));
    pcm = (rlm_pcm){.count = 0, .channels = 1, .rate = 16000, .samples = wave};
    CHECK(rlm_audio_encode(&f.run, f.audio, &pcm, &codes, &err) == RLM_E_ARG);
    pcm = (rlm_pcm){.count = 4, .channels = 2, .rate = 16000, .samples = wave};
    CHECK(rlm_audio_encode(&f.run, f.audio, &pcm, &codes, &err) == RLM_E_ARG);
    pcm = (rlm_pcm){.count = 8, .channels = 1, .rate = 44100, .samples = wave};
    CHECK(rlm_audio_encode(&f.run, f.audio, &pcm, &codes, &err) == RLM_E_ARG);
    codes = (rlm_codes){.dims = {4, 2, 1}, .count = 8, .ids = ids, .rate = 16000};
    ids[5] = 64;
    CHECK(rlm_audio_decode(&f.run, f.audio, &codes, &pcm, &err) == RLM_E_TOKENS);
    CHECK_HAS(err.text, "audio code 5 is 64");
    ids[5] = -2;
    CHECK(rlm_audio_decode(&f.run, f.audio, &codes, &pcm, &err) == RLM_E_TOKENS);
    ids[5] = 0;
    codes.true_samples = 5000;
    CHECK(rlm_audio_decode(&f.run, f.audio, &codes, &pcm, &err) == RLM_E_TOKENS);
    codes.true_samples = 0;
    codes.dims[0] = 5;
    CHECK(rlm_audio_decode(&f.run, f.audio, &codes, &pcm, &err) == RLM_E_TOKENS);
    rlm_audio_config c;
    rlm_audio_config_defaults(&c);
    c.strides[0] = 0;
    CHECK(rlm_audio_config_check(&c, &err) == RLM_E_RANGE);
    deep_config(&c);
    c.decoder_middle = 8;
    c.decoder_units = 8;
    c.unit_kernel = 15;
    c.strides[1] = 1;
    rlm_audio *far = NULL;
    rlm_params p = {0};
    CHECK(rlm_audio_config_check(&c, &err) == 0);
    CHECK(rlm_audio_new(&far, &c, &p, &err) == RLM_E_RANGE && !far);
    CHECK_HAS(err.text, "frames back, allowed are 1920");
    rlm_params_free(&p);
    close_fixture(&f);
}

static int64_t count_weights(void (*preset)(rlm_audio_config *), int64_t *books)
{
    rlm_audio_config c;
    rlm_params p = {0};
    rlm_audio *a;
    rlm_error err;
    int64_t total = 0;
    preset(&c);
    CHECK(rlm_audio_new(&a, &c, &p, &err) == 0);
    for (int i = 0; i < p.count; i++)
        total += p.items[i]->count;
    *books = rlm_audio_books(a)->count;
    rlm_audio_free(&a);
    rlm_params_free(&p);
    return total - *books;
}

/* SoundStream's table: 3.94 M + 4.46 M at C = 32. The bundled codec fits 6 MB of bf16. */
static void case_parameters(void)
{
    int64_t books;
    CHECK_NEAR(count_weights(rlm_audio_config_paper, &books), 8.40e6, 0.01e6);
    CHECK(books == 4 * 1024 * 256);
    int64_t own = count_weights(rlm_audio_config_defaults, &books);
    CHECK(own + books <= 3000000 && own > 2000000);
    int64_t tiny = count_weights(rlm_audio_config_tiny, &books);
    CHECK(count_weights(deep_config, &books) - tiny == (4 + 4 + 4) * (24 * 24 * 4 + 2 * 24));
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_chunks);
    TEST_CASE(case_deep_decoder);
    TEST_CASE(case_memory_is_bounded);
    TEST_CASE(case_causality);
    TEST_CASE(case_lengths);
    TEST_CASE(case_quantiser);
    TEST_CASE(case_beam);
    TEST_CASE(case_fewer_levels);
    TEST_CASE(case_refusals);
    TEST_CASE(case_parameters);
    return TEST_END();
}
