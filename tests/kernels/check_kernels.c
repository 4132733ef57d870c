/* Every overlay this machine has against the reference, over the case table; --bench times them.
 * Values: noise, zeros, denormals, large, and each with one and with three threads. */
#include <stdlib.h>

#include "src/base/mem.h"
#include "src/base/rng.h"
#include "tests/kernels/check_cases.h"
#include "tests/test.h"

enum { NOISE, ZEROS, DENORMAL, LARGE, HOSTILE, KINDS };

static const char *const kinds[] = {"noise", "zeros", "denormals", "large", "infinity"};

enum { MOST_LEVELS = 8 };

static struct {
    rlm_kernels ref, levels[MOST_LEVELS]; /* what this machine has, or REELM_CPU_MASK alone */
    int count;
    const rlm_kernels *test; /* the one at hand */
    rlm_par *one, *three;
    const char *only; /* part of a case's name, or NULL */
} check;

static float draw(int kind, uint64_t stream, int64_t i)
{
    float v = rlm_rng_normal(7, stream, (uint64_t)i);
    switch (kind) {
    case ZEROS:
        return 0;
    case DENORMAL:
        return v * 1e-40f;
    case LARGE:
        return v * 1e3f;
    default:
        return v;
    }
}

static float *fresh(int64_t n, int kind, uint64_t stream)
{
    float *p = n ? rlm_alloc((size_t)n * sizeof *p) : NULL;
    for (int64_t i = 0; i < n; i++)
        p[i] = draw(kind, stream, i);
    return p;
}

static void fill_inputs(check_case *c, int kind)
{
    for (int i = 0; i < CASE_INS; i++)
        c->in[i] = fresh(c->in_size[i], kind, (uint64_t)i);
    if (kind == HOSTILE) {
        c->in[0][c->in_size[0] / 3] = INFINITY;
        c->in[0][c->in_size[0] / 2] = NAN;
    }
    c->ids = c->ids_size ? rlm_alloc((size_t)c->ids_size * sizeof *c->ids) : NULL;
    for (int64_t i = 0; i < c->ids_size; i++)
        c->ids[i] = (int32_t)rlm_rng_below(9, 1, (uint64_t)i, (uint32_t)c->ids_below + 1) - 1;
    if (c->prepare)
        c->prepare(&check.ref, check.one, c);
}

static void pack_weight(const rlm_kernels *k, check_case *c, bool transposed, const void **out)
{
    size_t bytes = c->packed ? k->pack_bytes(&c->geom, transposed) : 0;
    void *p = bytes ? rlm_alloc(bytes) : NULL;
    if (p)
        k->pack(check.one, &c->geom, c->in[1], transposed, p);
    *out = p;
}

/* Runs the case on a table; out[] receives fresh buffers. */
static void run_case(const rlm_kernels *k, rlm_par *par, check_case *c, float **out)
{
    for (int i = 0; i < CASE_OUTS; i++) {
        out[i] = c->out[i] = fresh(c->out_size[i], NOISE, (uint64_t)(100 + i));
        for (int64_t j = 0; j < c->out_size[i] && !c->accumulates; j++)
            out[i][j] = NAN;
    }
    c->weight = (rlm_weight){.f32 = c->in[1]};
    if (c->geom.cout) {
        pack_weight(k, c, false, &c->weight.pack);
        pack_weight(k, c, true, &c->weight.pack_t);
    }
    c->run(k, par, c);
    rlm_free((void *)c->weight.pack);
    rlm_free((void *)c->weight.pack_t);
}

static void free_outputs(float **out)
{
    for (int i = 0; i < CASE_OUTS; i++)
        rlm_free(out[i]);
}

static void free_inputs(check_case *c)
{
    for (int i = 0; i < CASE_INS; i++)
        rlm_free(c->in[i]);
    rlm_free(c->ids);
}

/* The scale of errors: the same operation on absolute values, where it can be had. */
static void run_energy(int index, int kind, float **out)
{
    check_case c;
    check_case_at(index, false, &c);
    fill_inputs(&c, kind);
    for (int i = 0; i < CASE_INS; i++)
        for (int64_t j = 0; j < c.in_size[i]; j++)
            c.in[i][j] = fabsf(c.in[i][j]);
    run_case(&check.ref, check.one, &c, out);
    free_inputs(&c);
}

/* Largest share of squared error in squared energy over the rows; NaN where one is not finite,
 * unless the reference's row is not either. */
static double worst_row(int64_t n, int64_t row, const float *want, const float *got,
                        const float *energy)
{
    double worst = 0;
    for (int64_t from = 0; from < n; from += row) {
        double error = 0, scale = 1e-60;
        bool spoilt = false, got_spoilt = false;
        for (int64_t i = from; i < from + row && i < n; i++) {
            double d = (double)got[i] - want[i];
            error += d * d;
            scale += (double)energy[i] * energy[i];
            spoilt = spoilt || !isfinite(want[i]);
            got_spoilt = got_spoilt || !isfinite(got[i]);
        }
        if (spoilt && got_spoilt)
            continue;
        if (!(error / scale <= worst))
            worst = error / scale;
        if (isnan(worst))
            return worst;
    }
    return worst;
}

/* Squared share of the energy. f32: 1e-5 squared, ten times that where a processor rounds products
 * before it adds them (simd without FMA). bf16: two roundings of a product are off by at most 2^-8,
 * squared 1.53e-5; twice that where roundings of scores, weights and values add up. */
static double tolerance(const check_case *c)
{
    unsigned half = RLM_LEVEL_DNN | RLM_LEVEL_AVX512 | RLM_LEVEL_AMX;
    bool product = c->class == CASE_PRODUCT || c->class == CASE_SOFT;
    double rounded = c->class == CASE_SOFT ? 3e-5 : 1.55e-5;
    double single = strcmp(check.test->level, "simd") ? 1e-10 : 1e-9;
    if (c->allowed > 0)
        return c->allowed;
    if (c->class == CASE_QUANT) /* steps of 1/127 of the largest, here three times the rms */
        return check.test->levels & (half | RLM_LEVEL_AVX2 | RLM_LEVEL_SIMD) ? 2e-4 : 1e-10;
    return product && (check.test->levels & half) ? rounded : single;
}

/* Bit for bit, but that a NaN is a NaN: its sign and payload are those of whichever factor the
 * compiler put first, which tails of loops and so places of slices decide. */
static bool identical(int64_t n, const float *a, const float *b)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) && !(isnan(a[i]) && isnan(b[i])))
            return false;
    return true;
}

static void compare_case(check_case *c, int kind, float **want, float **got, float **again,
                         float **energy)
{
    for (int i = 0; i < CASE_OUTS; i++) {
        int64_t n = c->out_size[i];
        if (!n)
            continue;
        if (!identical(n, got[i], again[i]))
            TEST_FAILED("%s: %s (%s): output %d differs between 1 and 3 threads", check.test->level,
                        c->name, kinds[kind], i);
        if (c->class == CASE_EXACT) {
            if (memcmp(got[i], want[i], (size_t)n * sizeof(float)))
                TEST_FAILED("%s: %s (%s): output %d is not exact", check.test->level, c->name,
                            kinds[kind], i);
            continue;
        }
        double worst = worst_row(n, c->out_row[i] ? c->out_row[i] : n, want[i], got[i], energy[i]);
        if (!(worst <= tolerance(c)))
            TEST_FAILED("%s: %s (%s): output %d is off by %.3g squared, allowed %.3g",
                        check.test->level, c->name, kinds[kind], i, worst, tolerance(c));
    }
}

static bool applies(const check_case *c, const rlm_kernels *k)
{
    return !c->levels || (k->levels & c->levels);
}

/* The reference once, then every level. */
static void check_one(int index, int kind)
{
    check_case c;
    float *want[CASE_OUTS], *got[CASE_OUTS], *again[CASE_OUTS], *energy[CASE_OUTS] = {NULL};
    bool any = false;
    check_case_at(index, false, &c);
    for (int l = 0; l < check.count; l++)
        any |= applies(&c, &check.levels[l]);
    if (!any || (c.calm && kind == LARGE) || (!c.hostile && kind == HOSTILE) ||
        (check.only && !strstr(c.name, check.only)))
        return;
    fill_inputs(&c, kind);
    run_case(&check.ref, check.one, &c, want);
    bool product = c.class == CASE_PRODUCT;
    if (product)
        run_energy(index, kind, energy);
    for (int l = 0; l < check.count; l++) {
        check.test = &check.levels[l];
        if (!applies(&c, check.test))
            continue;
        run_case(check.test, check.one, &c, got);
        run_case(check.test, check.three, &c, again);
        compare_case(&c, kind, want, got, again, product ? energy : want);
        free_outputs(got);
        free_outputs(again);
    }
    free_outputs(want);
    free_outputs(energy);
    free_inputs(&c);
}

static void case_table(void)
{
    check_case c;
    for (int i = 0; check_case_at(i, false, &c); i++)
        for (int kind = 0; kind < KINDS; kind++)
            check_one(i, kind);
}

/* ---- Length -------------------------------------------------------------------------------- */

/* y [ot][oh][ow][cout] of a whole clip against parts of it: the first frames alone, and the rest
 * with the frames before it that it reads. The same bits, whatever the length: tokenizers work in
 * chunks. */
static void length_of(rlm_conv_shape s)
{
    rlm_weight_geom g = {s.cout, s.kt, s.kh, s.kw, s.cin, s.dw};
    int64_t row = (int64_t)s.h * s.w * s.cin, made = (int64_t)s.oh * s.ow * s.cout;
    float *x = fresh(s.t * row, NOISE, 1), *y = fresh(s.ot * made, NOISE, 2);
    float *w = fresh((int64_t)g.cout * g.kt * g.kh * g.kw * g.cin, NOISE, 3);
    float *bias = fresh(s.cout, NOISE, 4), *part = fresh(s.ot * made, NOISE, 5);
    size_t bytes = check.test->pack_bytes(&g, false);
    void *pack = bytes ? rlm_alloc(bytes) : NULL;
    rlm_weight weight = {.f32 = w, .pack = pack};
    if (pack)
        check.test->pack(check.one, &g, w, false, pack);
    check.test->conv_forward(check.one, &s, x, &weight, bias, NULL, y);
    for (int ot = 1; ot < s.ot; ot++) {
        rlm_conv_shape head = s, tail = s;
        head.ot = ot;
        head.t = (ot - 1) * s.st + s.kt - s.pt;
        check.test->conv_forward(check.one, &head, x, &weight, bias, NULL, part);
        bool same = !memcmp(part, y, (size_t)(ot * made) * sizeof *y);
        int from = ot * s.st > s.pt ? ot * s.st - s.pt : 0;
        tail.ot = s.ot - ot;
        tail.t = s.t - from;
        tail.pt = s.pt + from - ot * s.st;
        check.test->conv_forward(check.one, &tail, x + from * row, &weight, bias, NULL, part);
        same = same && !memcmp(part, y + ot * made, (size_t)(tail.ot * made) * sizeof *y);
        if (!same)
            TEST_FAILED(
                "%s: conv %d -> %d, %d x %d x %d taps, %d x %d: frames depend on the length",
                check.test->level, s.cin, s.cout, s.kt, s.kh, s.kw, s.h, s.w);
    }
    rlm_free(x);
    rlm_free(y);
    rlm_free(w);
    rlm_free(bias);
    rlm_free(part);
    rlm_free(pack);
}

static void case_length(void)
{
    /* cin, cout, taps in time and space, side */
    static const int cases[][5] = {{3, 16, 3, 3, 16}, {16, 18, 1, 1, 2},  {32, 128, 3, 3, 2},
                                   {128, 3, 3, 3, 8}, {64, 128, 1, 1, 8}, {192, 64, 1, 3, 5},
                                   {128, 64, 3, 3, 3}};
    enum { FRAMES = 9 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases * (size_t)check.count; i++) {
        const int *c = cases[i / (size_t)check.count];
        check.test = &check.levels[i % (size_t)check.count];
        for (int step = 1; step <= c[2] && step <= 2; step++) {
            rlm_conv_shape s = {.n = 1, .t = FRAMES, .cin = c[0], .cout = c[1], .dw = 1};
            s.h = s.w = s.oh = s.ow = c[4];
            s.kt = c[2];
            s.kh = s.kw = c[3];
            s.ph = s.pw = c[3] / 2;
            s.st = step;
            s.sh = s.sw = 1;
            s.pt = s.kt - s.st;
            s.ot = 1 + (FRAMES + s.pt - s.kt) / step;
            length_of(s);
        }
    }
}

/* Milliseconds of the fastest of a few runs of about a tenth of a second. */
static double time_case(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    double best = 1e9, start = rlm_now();
    for (int i = 0; i < 3 || rlm_now() - start < 0.1; i++) {
        double from = rlm_now();
        c->run(k, par, c);
        double took = rlm_now() - from;
        best = took < best ? took : best;
        if (took > 0.1)
            break;
    }
    return best * 1e3;
}

static void bench(rlm_par *par)
{
    check_case c;
    for (int i = 0; check_case_at(i, true, &c); i++) {
        if (check.only && !strstr(c.name, check.only))
            continue;
        fill_inputs(&c, NOISE);
        printf("%-58s", c.name);
        for (int l = 0; l < check.count; l++) {
            float *out[CASE_OUTS];
            const rlm_kernels *k = &check.levels[l];
            c.packed = true;
            run_case(k, par, &c, out);
            c.weight = (rlm_weight){.f32 = c.in[1]};
            if (c.geom.cout) {
                pack_weight(k, &c, false, &c.weight.pack);
                pack_weight(k, &c, true, &c.weight.pack_t);
            }
            c.keep = true;
            printf(" %s %.3f", k->level, time_case(k, par, &c));
            rlm_free(c.ready);
            c.ready = NULL;
            c.keep = false;
            fflush(stdout);
            rlm_free((void *)c.weight.pack);
            rlm_free((void *)c.weight.pack_t);
            free_outputs(out);
        }
        printf(" ms\n");
        free_inputs(&c);
    }
}

static int run_bench(void)
{
    rlm_par *par = NULL;
    rlm_error err;
    if (rlm_par_open(&par, 0, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    bench(par);
    rlm_par_close(&par);
    return 0;
}

static void case_masks(void)
{
    rlm_kernels k, none;
    rlm_error err;
    CHECK(rlm_kernels_init(&k, "mmx", &err) == RLM_E_ARG);
    CHECK_HAS(err.text, "mmx");
    CHECK(rlm_kernels_init(&k, "ref", &err) == 0);
    CHECK_STR(k.level, "ref");
    CHECK(!k.conv_backward_data && !k.adamw);
    rlm_kernels_empty(&none, &k);
    CHECK(none.pack_bytes == k.pack_bytes && none.conv_forward && !none.conv_backward_data);
    none.fill(NULL, 1, 1, NULL);
    CHECK(rlm_kernels_init_training(&k, "", &err) == 0);
    rlm_kernels_empty_training(&none, &k);
    CHECK(none.sumsq(NULL, 1, NULL) == 0);
}

/* The levels of this machine; false if the teams can't be had. */
static bool open_all(void)
{
    const char *mask = getenv("REELM_CPU_MASK");
    for (int i = 0; rlm_kernels_level(i) && check.count < MOST_LEVELS; i++) {
        rlm_kernels *k = &check.levels[check.count];
        const char *name = rlm_kernels_level(i);
        if ((mask && *mask && strcmp(mask, name)) || rlm_kernels_init_training(k, name, NULL) ||
            strcmp(k->level, name))
            continue;
        check.count++;
    }
    return !rlm_par_open(&check.one, 1, NULL) && !rlm_par_open(&check.three, 3, NULL) &&
           !rlm_kernels_init_training(&check.ref, "ref", NULL);
}

int main(int argc, char **argv)
{
    bool timed = argc > 1 && !strcmp(argv[1], "--bench");
    check.only = argc > 1 + timed ? argv[1 + timed] : NULL;
    if (!open_all())
        return 1;
    if (timed) {
        int code = run_bench();
        rlm_par_close(&check.three);
        rlm_par_close(&check.one);
        return code;
    }
    TEST_BEGIN(1, argv);
    for (int l = 0; l < check.count; l++)
        printf("%s\n", check.levels[l].level);
    TEST_CASE(case_masks);
    TEST_CASE(case_table);
    if (!check.only || strstr("case_length", check.only))
        TEST_CASE(case_length);
    rlm_par_close(&check.three);
    rlm_par_close(&check.one);
    return TEST_END();
}
