/* Weights and caches of few bits: files round-trip, and the logits of a random tiny model stay
 * within measured bounds of those in f32, at every level of kernels and for any team. */
#include <stdlib.h>

#include "model/lm_private.h"
#include "src/base/rng.h"
#include "src/kernels/quant.h"
#include "tests/folder.h"
#include "tests/test.h"

enum { PREFIX = 20, STEPS = 12, BATCH = 2 };

typedef struct rig {
    rlm_kernels k;
    rlm_arena arena;
    rlm_par *par;
    rlm_params params;
    rlm_lm *lm;
    rlm_run run;
} rig;

static void rig_begin(rig *r, const char *mask, int threads)
{
    rlm_lm_config c;
    memset(r, 0, sizeof *r);
    CHECK(rlm_kernels_init(&r->k, mask, NULL) == 0 && rlm_par_open(&r->par, threads, NULL) == 0);
    CHECK(rlm_lm_config_preset(&c, "tiny") == 0);
    CHECK(rlm_lm_new(&r->lm, &c, &r->params, NULL) == 0);
    CHECK(rlm_arena_reserve(&r->arena, 64u << 20, NULL) == 0);
    CHECK(rlm_arena_commit(&r->arena, 64u << 20, NULL) == 0);
    r->run = (rlm_run){.k = &r->k, .arena = &r->arena, .par = r->par};
}

static void rig_end(rig *r)
{
    rlm_lm_free(&r->lm);
    rlm_params_free(&r->params);
    rlm_arena_release(&r->arena);
    rlm_par_close(&r->par);
}

/* One file a kind of weights, all of the same random values. */
static void write_files(void)
{
    rig r;
    rig_begin(&r, "ref", 1);
    CHECK(rlm_params_allocate(&r.params, false, NULL) == 0);
    rlm_params_initialise(&r.params, 5);
    for (int w = RLM_WEIGHTS_F32; w < RLM_WEIGHTS; w++)
        CHECK(rlm_params_write(&r.params, r.par, w, NULL, in_folder(rlm_weights_name(w)), NULL) ==
              0);
    rig_end(&r);
}

static int open_file(rig *r, const char *file, rlm_weights as, rlm_error *err)
{
    rlm_safetensors st;
    RLM_TRY(rlm_st_open(&st, in_folder(file), err));
    int code = rlm_params_open(&r->params, &st, &r->k, r->par, as, err);
    rlm_st_close(&st);
    return code;
}

/* Video logits (lo) of two sequences after a prefix and some steps: out [STEPS][BATCH][half]. */
static void walk(rig *r, int bits, float *out)
{
    rlm_lm_cache *cache;
    int half = r->lm->half, dim = r->lm->config.dim;
    int32_t ids[PREFIX], pos[3 * PREFIX];
    float *hidden = rlm_alloc((size_t)(BATCH * dim) * sizeof *hidden);
    CHECK(rlm_lm_cache_new_as(&cache, r->lm, bits, BATCH, PREFIX + STEPS, NULL) == 0);
    for (int n = 0; n < BATCH; n++) {
        for (int i = 0; i < PREFIX; i++) {
            ids[i] = 256 + (int32_t)rlm_rng_below(1, (uint64_t)n, (uint64_t)i, 1 << 18);
            pos[3 * i] = pos[3 * i + 1] = pos[3 * i + 2] = i;
        }
        rlm_lm_prefill(&r->run, r->lm, cache, n, ids, pos, PREFIX - n);
    }
    for (int i = 0; i < STEPS; i++) {
        size_t scope = rlm_scope_open(&r->run);
        for (int n = 0; n < BATCH; n++) {
            ids[n] = 256 + (int32_t)rlm_rng_below(2, 0, (uint64_t)i, 1 << 18);
            pos[3 * n] = pos[3 * n + 1] = pos[3 * n + 2] = PREFIX + i;
        }
        rlm_lm_step(&r->run, r->lm, cache, ids, pos, hidden);
        rlm_tensor x = rlm_tensor_view(hidden, RLM_F32, 2, (int64_t[]){BATCH, dim});
        rlm_tensor y = rlm_linear_forward(&r->run, &r->lm->head_lo, &x);
        memcpy(out + (size_t)(i * BATCH * half), y.data, (size_t)(BATCH * half) * sizeof *out);
        rlm_scope_close(&r->run, scope);
    }
    rlm_lm_cache_free(&cache);
    rlm_free(hidden);
}

/* Root mean square of the difference over that of the values. */
static double distance(const float *want, const float *got, int n)
{
    double error = 0, scale = 0;
    for (int i = 0; i < n; i++) {
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        scale += (double)want[i] * want[i];
    }
    return sqrt(error / scale);
}

static void logits_stay_near(void)
{
    static const struct {
        rlm_weights weights;
        int bits; /* of the cache */
        double most;
    } kinds[] = {{RLM_WEIGHTS_F32, 16, 0.01}, {RLM_WEIGHTS_BF16, 16, 0.015},
                 {RLM_WEIGHTS_F32, 8, 0.02},  {RLM_WEIGHTS_INT8, 16, 0.04},
                 {RLM_WEIGHTS_INT8, 8, 0.04}, {RLM_WEIGHTS_Q4, 8, 0.35}};
    static const char *const masks[] = {"ref", "simd", "avx2", "avx512", "amx"};
    enum { MASKS = sizeof masks / sizeof *masks };
    static float want[STEPS * BATCH * 512], got[STEPS * BATCH * 512];
    rig r;
    rig_begin(&r, "ref", 1);
    CHECK(open_file(&r, "f32", RLM_WEIGHTS_AUTO, NULL) == 0);
    walk(&r, 16, want);
    rig_end(&r);
    for (int i = 0; i < (int)(sizeof kinds / sizeof *kinds) * MASKS; i++) {
        int kind = i / MASKS;
        rig_begin(&r, masks[i % MASKS], 2);
        CHECK(open_file(&r, "f32", kinds[kind].weights, NULL) == 0);
        walk(&r, kinds[kind].bits, got);
        double off = distance(want, got, STEPS * BATCH * 512);
        if (getenv("REELM_SHOW"))
            printf("%s %s cache %d: %.4f\n", masks[i % MASKS],
                   rlm_weights_name(kinds[kind].weights), kinds[kind].bits, off);
        CHECK_NEAR(off, 0, kinds[kind].most);
        rig_end(&r);
    }
}

/* A file's values are those that opening f32 makes; what is not quantised is bf16 in it. */
static void files_hold_what_opening_makes(void)
{
    static float want[STEPS * BATCH * 512], got[STEPS * BATCH * 512], again[STEPS * BATCH * 512];
    for (int w = RLM_WEIGHTS_INT8; w <= RLM_WEIGHTS_Q4; w++) {
        rig r;
        rig_begin(&r, NULL, 1);
        CHECK(open_file(&r, "f32", w, NULL) == 0);
        walk(&r, 8, want);
        rig_end(&r);
        for (int threads = 1; threads <= 3; threads += 2) {
            rig_begin(&r, NULL, threads);
            CHECK(open_file(&r, rlm_weights_name(w), RLM_WEIGHTS_AUTO, NULL) == 0);
            const rlm_weight *kept = &r.lm->blocks[0].up.w->weight; /* in as few bits */
            CHECK(kept->quant && kept->bits == (w == RLM_WEIGHTS_INT8 ? 8 : 4) && !kept->f32);
            walk(&r, 8, threads == 1 ? got : again);
            rig_end(&r);
        }
        CHECK(!memcmp(got, again, sizeof got));
        CHECK_NEAR(distance(want, got, STEPS * BATCH * 512), 0, 0.05);
    }
}

/* Where a table packs no matrix, a file's bf16 values stay as they are: half the memory, and the
 * results of the same values in f32 but for the order of sums. */
static void halves_serve_in_place_of_f32(void)
{
    static const char *const masks[] = {"ref", "blas", "simd", "avx2", "avx512"};
    static float want[STEPS * BATCH * 512], got[STEPS * BATCH * 512];
    for (int i = 0; i < (int)(sizeof masks / sizeof *masks); i++) {
        rig r;
        rig_begin(&r, masks[i], 2);
        CHECK(open_file(&r, "bf16", RLM_WEIGHTS_F32, NULL) == 0);
        walk(&r, 16, want);
        bool packed = r.k.pack_bytes(&r.lm->head_lo.w->geom, false) != 0;
        rig_end(&r);
        rig_begin(&r, masks[i], 2);
        CHECK(open_file(&r, "bf16", RLM_WEIGHTS_AUTO, NULL) == 0);
        const rlm_weight *w = &r.lm->head_lo.w->weight;
        CHECK(packed ? w->pack != NULL : w->half != NULL && !w->f32);
        walk(&r, 16, got);
        rig_end(&r);
        CHECK_NEAR(distance(want, got, STEPS * BATCH * 512), 0, packed ? 0.015 : 2e-3);
        if (getenv("REELM_SHOW"))
            printf("%s bf16: %.2e\n", masks[i], distance(want, got, STEPS * BATCH * 512));
    }
}

static void damaged_files_are_refused(void)
{
    rig r;
    rlm_error err = {0};
    rlm_st_writer w;
    rlm_weights out;
    CHECK(rlm_weights_parse("q3", &out, &err) == RLM_E_ARG);
    CHECK_HAS(err.text, "q3");
    rig_begin(&r, "ref", 1);
    CHECK(rlm_params_allocate(&r.params, false, NULL) == 0);
    rlm_st_writer_init(&w);
    for (int i = 0; i < r.params.count; i++) { /* int8 values without their scales */
        const rlm_param *p = r.params.items[i];
        bool quant = rlm_params_quant_bits(p, RLM_WEIGHTS_INT8) != 0;
        rlm_tensor t = rlm_tensor_view(p->data, quant ? RLM_I8 : RLM_F32, p->rank, p->shape);
        rlm_st_add(&w, p->name, &t, t.dtype);
    }
    CHECK(rlm_st_commit(&w, in_folder("damaged"), NULL) == 0);
    rlm_st_writer_free(&w);
    rig_end(&r);
    rig_begin(&r, "ref", 1);
    CHECK(open_file(&r, "damaged", RLM_WEIGHTS_AUTO, &err) == RLM_E_MODEL);
    CHECK_HAS(err.text, "scales");
    rig_end(&r);
}

static void copies_of_a_sequence_go_on_alike(void)
{
    rig r;
    rlm_lm_cache *cache;
    int32_t ids[PREFIX] = {0}, pos[3 * PREFIX] = {0};
    rig_begin(&r, NULL, 2);
    CHECK(open_file(&r, "int8", RLM_WEIGHTS_AUTO, NULL) == 0);
    CHECK(rlm_lm_cache_new_as(&cache, r.lm, 8, 3, 64, NULL) == 0);
    for (int i = 0; i < PREFIX; i++)
        ids[i] = 300 + i;
    rlm_lm_prefill(&r.run, r.lm, cache, 0, ids, pos, PREFIX);
    rlm_lm_cache_copy(cache, 0, 1);
    rlm_lm_cache_copy(cache, 0, 2);
    CHECK(rlm_lm_cache_length(cache, 2) == PREFIX);
    ids[0] = ids[1] = ids[2] = 7000;
    rlm_lm_step(&r.run, r.lm, cache, ids, pos, NULL);
    const float *h = rlm_lm_last_hidden(cache);
    size_t bytes = (size_t)r.lm->config.dim * sizeof *h;
    CHECK(!memcmp(h, h + r.lm->config.dim, bytes) && !memcmp(h, h + 2 * r.lm->config.dim, bytes));
    rlm_lm_cache_free(&cache);
    rig_end(&r);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    if (!folder_open())
        return 1;
    write_files();
    TEST_CASE(logits_stay_near);
    TEST_CASE(files_hold_what_opening_makes);
    TEST_CASE(halves_serve_in_place_of_f32);
    TEST_CASE(damaged_files_are_refused);
    TEST_CASE(copies_of_a_sequence_go_on_alike);
    folder_close();
    return TEST_END();
}
