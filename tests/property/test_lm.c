/* model/: the cached step is the full forward, masks hold, sampling is legal, seeded and
 * independent of threads; guidance of scale 1 is none. Reference kernels. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/lm.h"
#include "prompts/tasks.h"
#include "src/base/rng.h"
#include "tests/test.h"

typedef struct bench {
    rlm_kernels k;
    rlm_arena arena;
    rlm_par *par;
    rlm_params params;
    rlm_lm *lm;
    rlm_run run;
} bench;

enum { DIM = 64 };

static void bench_open(bench *b, int threads)
{
    rlm_error err = {0};
    rlm_lm_config c;
    memset(b, 0, sizeof *b);
    CHECK(rlm_kernels_init(&b->k, "ref", &err) == 0);
    CHECK(rlm_par_open(&b->par, threads, &err) == 0);
    CHECK(rlm_lm_config_preset(&c, "tiny") == 0 && c.dim == DIM);
    CHECK(rlm_lm_new(&b->lm, &c, &b->params, &err) == 0);
    CHECK(rlm_params_allocate(&b->params, false, &err) == 0);
    rlm_params_initialise(&b->params, 5);
    CHECK(rlm_params_pack(&b->params, &b->k, b->par, false, &err) == 0);
    CHECK(rlm_arena_reserve(&b->arena, 256u << 20, &err) == 0);
    CHECK(rlm_arena_commit(&b->arena, 64u << 20, &err) == 0);
    b->run = (rlm_run){.k = &b->k, .arena = &b->arena, .par = b->par};
}

static void bench_close(bench *b)
{
    rlm_lm_free(&b->lm);
    rlm_params_free(&b->params);
    rlm_arena_release(&b->arena);
    rlm_par_close(&b->par);
}

/* A short text-to-video-with-sound sequence, all ids given. */
static void make_layout(rlm_layout *l, int text_count)
{
    static int32_t text[16], video[12], sound[8];
    rlm_vocab v = {.audio_levels = 4, .text_pieces = 2048};
    for (int i = 0; i < 16; i++)
        text[i] = (int32_t)rlm_rng_below(1, 1, (uint64_t)i, 2048);
    for (int i = 0; i < 12; i++)
        video[i] = (int32_t)rlm_rng_below(1, 2, (uint64_t)i, RLM_VIDEO_CODES);
    for (int i = 0; i < 8; i++)
        sound[i] = (int32_t)rlm_rng_below(1, 3, (uint64_t)i, RLM_AUDIO_CODES);
    rlm_layout_spec s = {.task = RLM_TASK_VIDEO, .source = 0};
    s.text = text;
    s.text_count = text_count;
    s.video_out = (rlm_grid){3, 2, 2, video, NULL};
    s.audio_out = (rlm_grid){4, 2, 1, sound, NULL};
    rlm_error err = {0};
    CHECK(rlm_layout_build(l, &v, &s, &err) == 0);
}

/* Hidden states of one whole sequence [count][DIM] into out. */
static void full_forward(bench *b, const rlm_layout *l, float *out)
{
    rlm_lm_plan *plan;
    rlm_error err = {0};
    CHECK(rlm_lm_plan_new(&plan, b->lm, 1, l->count, &err) == 0);
    rlm_lm_batch batch = {.batch = 1,
                          .len = l->count,
                          .ids = l->ids,
                          .pos = l->pos,
                          .target = l->target,
                          .prefix = &l->prefix,
                          .length = &l->count};
    rlm_lm_plan_fill(plan, b->lm, &batch);
    size_t scope = rlm_scope_open(&b->run);
    rlm_tensor h = rlm_lm_forward(&b->run, b->lm, plan);
    memcpy(out, h.data, (size_t)l->count * DIM * sizeof(float));
    rlm_scope_close(&b->run, scope);
    rlm_lm_plan_free(&plan);
}

static double worst(const float *a, const float *b, int count)
{
    double d = 0;
    for (int i = 0; i < count; i++)
        d = fabs((double)a[i] - (double)b[i]) > d ? fabs((double)a[i] - (double)b[i]) : d;
    return d;
}

/* Two sequences of different prompt lengths walk together; each must match its own full forward.
 * The cache holds bf16, hence the tolerance (hidden states have unit root mean square). */
static void test_cached_step(void)
{
    bench b;
    rlm_layout l[2];
    rlm_error err = {0};
    rlm_lm_cache *cache;
    static float full[2][64 * DIM], hidden[2 * DIM];
    bench_open(&b, 1);
    make_layout(&l[0], 9);
    make_layout(&l[1], 0);
    CHECK(rlm_lm_cache_new(&cache, b.lm, 2, l[0].count, &err) == 0);
    double gap = 0;
    for (int n = 0; n < 2; n++) {
        full_forward(&b, &l[n], full[n]);
        rlm_lm_prefill(&b.run, b.lm, cache, n, l[n].ids, l[n].pos, l[n].prefix);
        gap = worst(rlm_lm_last_hidden(cache) + n * DIM, full[n] + (l[n].prefix - 1) * DIM, DIM);
        CHECK(gap < 1e-4);
    }
    int steps = l[0].count - l[0].prefix;
    CHECK(steps == l[1].count - l[1].prefix);
    for (int i = 0; i < steps; i++) {
        int32_t ids[2], pos[6];
        for (int n = 0; n < 2; n++) {
            int p = l[n].prefix + i;
            ids[n] = l[n].ids[p];
            memcpy(pos + 3 * n, l[n].pos + 3 * p, 3 * sizeof pos[0]);
        }
        rlm_lm_step(&b.run, b.lm, cache, ids, pos, hidden);
        for (int n = 0; n < 2; n++) {
            double d = worst(hidden + n * DIM, full[n] + (l[n].prefix + i) * DIM, DIM);
            gap = d > gap ? d : gap;
        }
    }
    CHECK_NEAR(gap, 0, 0.03);
    CHECK(rlm_lm_cache_length(cache, 1) == l[1].count);
    rlm_lm_cache_rewind(cache, 1, l[1].prefix);
    CHECK(rlm_lm_cache_length(cache, 1) == l[1].prefix);
    rlm_lm_cache_free(&cache);
    rlm_layout_free(&l[0]);
    rlm_layout_free(&l[1]);
    bench_close(&b);
}

/* Changing a late prefix token reaches every position; changing an output token only later ones. */
static void test_mask(void)
{
    bench b;
    rlm_layout l;
    static float before[64 * DIM], after[64 * DIM];
    bench_open(&b, 1);
    make_layout(&l, 9);
    full_forward(&b, &l, before);
    int32_t kept = l.ids[l.prefix - 3];
    l.ids[l.prefix - 3] = kept == RLM_ID_TEXT ? RLM_ID_TEXT + 1 : RLM_ID_TEXT;
    full_forward(&b, &l, after);
    CHECK(worst(before, after, DIM) > 1e-6);
    l.ids[l.prefix - 3] = kept;
    int late = l.prefix + 5;
    l.ids[late] ^= 1;
    full_forward(&b, &l, after);
    CHECK(worst(before, after, late * DIM) == 0);
    CHECK(worst(before + late * DIM, after + late * DIM, DIM) > 1e-4);
    CHECK(worst(before + (l.count - 1) * DIM, after + (l.count - 1) * DIM, DIM) > 1e-7);
    rlm_layout_free(&l);
    bench_close(&b);
}

/* Padding behind a sequence and another sequence beside it change nothing. */
static void test_batch(void)
{
    bench b;
    rlm_layout l;
    rlm_error err = {0};
    static float alone[64 * DIM];
    static int32_t ids[2 * 64], pos[2 * 64 * 3];
    static uint8_t target[2 * 64];
    bench_open(&b, 1);
    make_layout(&l, 0);
    full_forward(&b, &l, alone);
    rlm_layout longer;
    make_layout(&longer, 9);
    int len = longer.count, prefix[2] = {longer.prefix, l.prefix}, length[2] = {len, l.count};
    memcpy(ids, longer.ids, (size_t)len * 4);
    memcpy(ids + len, l.ids, (size_t)l.count * 4);
    memcpy(pos, longer.pos, (size_t)len * 12);
    memcpy(pos + 3 * len, l.pos, (size_t)l.count * 12);
    memcpy(target, longer.target, (size_t)len);
    memcpy(target + len, l.target, (size_t)l.count);
    rlm_lm_plan *plan;
    CHECK(rlm_lm_plan_new(&plan, b.lm, 2, len, &err) == 0);
    rlm_lm_batch batch = {2, len, ids, pos, target, prefix, length};
    rlm_lm_plan_fill(plan, b.lm, &batch);
    rlm_tensor h = rlm_lm_forward(&b.run, b.lm, plan);
    CHECK(worst(alone, rlm_f32(&h) + len * DIM, l.count * DIM) < 1e-5);
    rlm_lm_logits g = rlm_lm_heads_forward(&b.run, b.lm, plan, &h);
    CHECK(g.rows[RLM_LM_GROUP_VIDEO_LO] == 24 && g.rows[RLM_LM_GROUP_VIDEO_HI] == 24);
    CHECK(g.rows[RLM_LM_GROUP_AUDIO] == 4 && g.rows[RLM_LM_GROUP_AUDIO + 3] == 4);
    CHECK(g.rows[RLM_LM_GROUP_AUDIO + 4] == 0 && g.rows[RLM_LM_GROUP_SPECIAL] == 6);
    int video = len - 8 - 12 - 4; /* index of the first code of the longer one */
    CHECK(g.row[RLM_LM_GROUP_VIDEO_LO][0] == video - 1);
    CHECK(g.target[RLM_LM_GROUP_VIDEO_LO][0] == ((longer.ids[video] - RLM_ID_VIDEO) & 511));
    CHECK(g.target[RLM_LM_GROUP_VIDEO_HI][0] == (longer.ids[video] - RLM_ID_VIDEO) >> 9);
    rlm_lm_plan_free(&plan);
    rlm_layout_free(&l);
    rlm_layout_free(&longer);
    bench_close(&b);
}

/* Generate all outputs of a layout, from position `alone` on without the second sequence of a
 * batch; ids [count]. */
static void generate_alone(int threads, const rlm_lm_sampling *s, const rlm_layout *l, int batch,
                           int alone, int32_t *out)
{
    bench b;
    rlm_error err = {0};
    rlm_lm_cache *cache;
    bench_open(&b, threads);
    CHECK(rlm_lm_cache_new(&cache, b.lm, batch, l->count, &err) == 0);
    for (int n = 0; n < batch; n++)
        rlm_lm_prefill(&b.run, b.lm, cache, n, l->ids + n, l->pos, l->prefix - n);
    memcpy(out, l->ids, (size_t)l->prefix * 4);
    const float *hidden = rlm_lm_last_hidden(cache);
    for (int p = l->prefix; p < l->count; p++) {
        int32_t first = l->legal[2 * p], n = l->legal[2 * p + 1], ids[2], pos[6];
        if (p == alone)
            rlm_lm_cache_use(cache, batch = 1);
        out[p] = rlm_lm_sample(&b.run, b.lm, hidden, batch, s, p, first, n, NULL);
        CHECK(out[p] >= first && out[p] < first + n);
        ids[0] = ids[1] = out[p];
        memcpy(pos, l->pos + 3 * p, 12);
        memcpy(pos + 3, l->pos + 3 * p, 12);
        rlm_lm_step(&b.run, b.lm, cache, ids, pos, NULL);
    }
    rlm_lm_cache_free(&cache);
    bench_close(&b);
}

static void generate(int threads, const rlm_lm_sampling *s, const rlm_layout *l, int batch,
                     int32_t *out)
{
    generate_alone(threads, s, l, batch, l->count, out);
}

static void test_same_tokens(void)
{
    rlm_layout l;
    static int32_t a[64], b[64];
    make_layout(&l, 9);
    rlm_lm_sampling s = {.temperature = 1.0f, .top_k = 50, .top_p = 0.95f, .cfg_scale = 1.0f};
    s.seed = 11;
    generate(1, &s, &l, 1, a);
    generate(1, &s, &l, 1, b);
    CHECK(!memcmp(a, b, (size_t)l.count * 4));
    generate(2, &s, &l, 1, b);
    CHECK(!memcmp(a, b, (size_t)l.count * 4));
    generate(1, &s, &l, 2, b); /* an unconditional sequence beside it, scale 1: ignored */
    CHECK(!memcmp(a, b, (size_t)l.count * 4));
    generate_alone(1, &s, &l, 2, l.prefix + 9, b); /* which may end on the way */
    CHECK(!memcmp(a, b, (size_t)l.count * 4));
    s.cfg_scale = 6.0f;
    generate(1, &s, &l, 2, b);
    CHECK(memcmp(a, b, (size_t)l.count * 4));
    s.cfg_scale = 1.0f;
    s.seed = 12;
    generate(1, &s, &l, 1, b);
    CHECK(memcmp(a, b, (size_t)l.count * 4));
    rlm_layout_free(&l);
}

/* Ranges of every shape; greedy is the best; log probabilities of a small range sum to one. */
static void test_legal(void)
{
    bench b;
    float hidden[DIM];
    bench_open(&b, 1);
    for (int i = 0; i < DIM; i++)
        hidden[i] = rlm_rng_normal(1, 9, (uint64_t)i);
    rlm_lm_sampling s = {.temperature = 2.0f, .top_p = 1.0f, .cfg_scale = 1.0f, .seed = 3};
    static const int32_t range[][2] = {{256, 262144}, {256 + 700, 3}, {256 + 511, 2},
                                       {300, 512},    {256 + 5, 600}, {262400, 1024},
                                       {263500, 7},   {0, 256},       {10, 2}};
    for (size_t r = 0; r < sizeof range / sizeof range[0]; r++)
        for (int i = 0; i < 40; i++) {
            int32_t id =
                rlm_lm_sample(&b.run, b.lm, hidden, 1, &s, i, range[r][0], range[r][1], NULL);
            CHECK(id >= range[r][0] && id - range[r][0] < range[r][1]);
        }
    double sum = 0;
    for (int i = 0; i < 400; i++) {
        float logp;
        static int seen[3];
        int32_t id = rlm_lm_sample(&b.run, b.lm, hidden, 1, &s, i, 956, 3, &logp);
        if (!seen[id - 956]++)
            sum += exp((double)logp);
    }
    CHECK_NEAR(sum, 1.0, 1e-4);
    s.temperature = 0;
    int32_t greedy = rlm_lm_sample(&b.run, b.lm, hidden, 1, &s, 0, 262400, 1024, NULL);
    s.temperature = 1;
    s.top_k = 1;
    CHECK(rlm_lm_sample(&b.run, b.lm, hidden, 1, &s, 5, 262400, 1024, NULL) == greedy);
    s.top_k = 0;
    s.min_p = 1.0f;
    CHECK(rlm_lm_sample(&b.run, b.lm, hidden, 1, &s, 6, 262400, 1024, NULL) == greedy);
    s.min_p = 0;
    s.top_p = 1e-6f;
    CHECK(rlm_lm_sample(&b.run, b.lm, hidden, 1, &s, 7, 262400, 1024, NULL) == greedy);
    bench_close(&b);
}

/* Logits that are infinite, no numbers, or all -inf (weights of one sign): a legal id all the same,
 * drawn or greedy. */
static void test_no_numbers(void)
{
    static const float bad[] = {-INFINITY, INFINITY, NAN, -3e38f};
    static const int32_t range[][2] = {{956, 3}, {300, 512}, {263500, 7}, {10, 2}};
    bench b;
    rlm_error err = {0};
    bench_open(&b, 1);
    for (int same = 0; same < 2; same++) {
        for (int r = 0; r < 16 * 4; r++) {
            float hidden[2 * DIM];
            const int32_t *legal = range[r % 4];
            rlm_lm_sampling s = {.temperature = r & 16 ? 0 : 1,
                                 .top_k = r & 32 ? 5 : 0,
                                 .top_p = 1.0f,
                                 .cfg_scale = 2.0f,
                                 .seed = 3};
            for (int i = 0; i < 2 * DIM; i++)
                hidden[i] = i < DIM || r % 3 ? bad[r / 4 % 4] : 0.5f;
            int32_t id = rlm_lm_sample(&b.run, b.lm, hidden, 2, &s, r, legal[0], legal[1], NULL);
            CHECK(id >= legal[0] && id - legal[0] < legal[1]);
        }
        for (int i = 0; i < b.params.count; i++)
            for (int64_t j = 0; j < b.params.items[i]->count; j++)
                b.params.items[i]->data[j] = 1e3f;
        CHECK(rlm_params_pack(&b.params, &b.k, b.par, false, &err) == 0);
    }
    bench_close(&b);
}

static void test_config(void)
{
    rlm_lm_config c;
    rlm_error err = {0};
    static const char *const names[] = {"tiny", "default", "300m", "1b", "8b"};
    for (int i = 0; i < 5; i++) {
        CHECK(rlm_lm_config_preset(&c, names[i]) == 0);
        CHECK(rlm_lm_config_check(&c, &err) == 0);
    }
    CHECK(rlm_lm_config_preset(&c, "huge") != 0);
    c.heads = 3;
    CHECK(rlm_lm_config_check(&c, &err) == RLM_E_RANGE);
    rlm_lm_config_defaults(&c);
    c.video_bits = 17;
    CHECK(rlm_lm_config_check(&c, &err) == RLM_E_RANGE);
    rlm_lm_config_defaults(&c);
    c.layers = 0;
    CHECK(rlm_lm_config_check(&c, &err) == RLM_E_RANGE);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(test_config);
    TEST_CASE(test_cached_step);
    TEST_CASE(test_mask);
    TEST_CASE(test_batch);
    TEST_CASE(test_same_tokens);
    TEST_CASE(test_legal);
    TEST_CASE(test_no_numbers);
    return TEST_END();
}
