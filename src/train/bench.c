/* Benchmarks: the machine's ceilings first, then kernels and whole steps as fractions of them. */
#include "src/train/bench.h"

#include <stdarg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/kernels/peak.h"

/* ---- The report ----------------------------------------------------------------------------- */

bool rlm_bench_wants(const rlm_bench_state *b, const char *name)
{
    for (int i = 0; i < b->word_count; i++)
        if (!strstr(name, b->words[i]))
            return false;
    return true;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double rlm_bench_time(const rlm_bench_state *b, void (*fn)(void *), void *ctx)
{
    double t[15], total = 0;
    int n = 0, most = b->quick ? 3 : 15;
    fn(ctx); /* first touch, packing, growth of scratch */
    while (n < most && (n < 3 || total < (b->quick ? 0.3 : 2.0))) {
        double start = rlm_now();
        fn(ctx);
        t[n] = rlm_now() - start;
        total += t[n++];
    }
    qsort(t, (size_t)n, sizeof *t, compare_double);
    return t[n / 2];
}

static void say(const rlm_bench_state *b, const char *fmt, ...) RLM_PRINTF(2, 3);
static void say(const rlm_bench_state *b, const char *fmt, ...)
{
    char text[512];
    va_list list;
    va_start(list, fmt);
    vsnprintf(text, sizeof text, fmt, list);
    va_end(list);
    b->write(b->cookie, text);
}

static void say_ceilings(const rlm_bench_state *b)
{
    const char *level = b->run.k->level;
    int threads = rlm_par_threads(b->run.par);
    if (b->json) {
        say(b, "{\"kernels\":\"%s\",\"threads\":%d,\"peak_amx_flops\":%.4g,", level, threads,
            b->peak_amx);
        say(b, "\"peak_f32_flops\":%.4g,\"peak_read_bytes\":%.4g,\"rows\":[", b->peak_f32,
            b->peak_read);
        return;
    }
    say(b, "kernels %s, %d threads\n", level, threads);
    say(b, "ceilings: AMX bf16 %.2f TFLOP/s, f32 %.2f TFLOP/s, read %.1f GB/s\n\n",
        b->peak_amx / 1e12, b->peak_f32 / 1e12, b->peak_read / 1e9);
    say(b, "%-44s %10s %12s %16s %8s %10s\n", "what", "ms", "rate", "", "of peak", "memory");
}

/* The share of the ceiling that binds a row: bytes when given, else FLOPs. */
static double fraction(const rlm_bench_state *b, const rlm_bench_row *r)
{
    double peak = b->peak_amx > 0 ? b->peak_amx : b->peak_f32;
    if (r->bytes > 0 && b->peak_read > 0)
        return r->bytes / r->seconds / b->peak_read;
    return r->flops > 0 && peak > 0 ? r->flops / r->seconds / peak : 0;
}

void rlm_bench_add(rlm_bench_state *b, const rlm_bench_row *r)
{
    size_t heap = rlm_alloc_bytes(), more = heap > b->heap ? heap - b->heap : 0;
    double memory = (double)(more + b->run.arena->peak);
    const char *unit = r->unit ? r->unit : "";
    char units[32] = "";
    bool first = b->count++ == 0;
    if (b->json) {
        say(b, "%s\n{\"name\":\"%s\",\"seconds\":%.6g,\"flops\":%.6g,\"bytes\":%.6g,",
            first ? "" : ",", r->name, r->seconds, r->flops, r->bytes);
        say(b, "\"unit\":\"%s\",\"units\":%.6g,\"of_peak\":%.4g,\"memory\":%.6g}", unit, r->units,
            fraction(b, r), memory);
        return;
    }
    if (r->units > 0)
        snprintf(units, sizeof units, "%8.1f %-7s", r->units / r->seconds, unit);
    say(b, "%-44s %10.3f %7.1f %s%16s %6.1f %% %7.0f MB\n", r->name, r->seconds * 1e3,
        (r->bytes > 0 ? r->bytes : r->flops) / r->seconds / 1e9, r->bytes > 0 ? "GB/s " : "GF/s ",
        units, 100 * fraction(b, r), memory / 1e6);
}

/* ---- Kernels -------------------------------------------------------------------------------- */

typedef struct product {
    rlm_bench_state *b;
    rlm_conv_shape s;
    float *x, *y, *w;
    rlm_weight weight;
    int pass; /* 0 forward, 1 backward data, 2 backward weight */
} product;

static void run_product(void *ctx)
{
    product *p = ctx;
    const rlm_kernels *k = p->b->run.k;
    if (p->pass == 0)
        k->conv_forward(p->b->run.par, &p->s, p->x, &p->weight, NULL, NULL, p->y);
    else if (p->pass == 1)
        k->conv_backward_data(p->b->run.par, &p->s, p->y, &p->weight, p->x, false);
    else
        k->conv_backward_weight(p->b->run.par, &p->s, p->x, p->y, p->w, NULL);
}

void rlm_bench_values(float *x, size_t n)
{
    for (size_t i = 0; x && i < n; i++)
        x[i] = (float)((uint32_t)i * 2654435761u >> 16) * 0x1p-15f - 1.0f;
}

void *rlm_bench_room(rlm_bench_memory *m, size_t bytes)
{
    void *p = m->count < RLM_BENCH_HELD ? rlm_calloc(bytes + 64, 1) : NULL;
    m->failed |= !p;
    if (p)
        m->held[m->count++] = p;
    return p;
}

float *rlm_bench_floats(rlm_bench_memory *m, size_t n)
{
    float *x = rlm_bench_room(m, rlm_size_mul(n, sizeof *x));
    rlm_bench_values(x, n);
    return x;
}

void rlm_bench_release(rlm_bench_memory *m)
{
    for (int i = 0; i < m->count; i++)
        rlm_free(m->held[i]);
    *m = (rlm_bench_memory){.count = 0};
}

static size_t weight_count(const rlm_conv_shape *s)
{
    return (size_t)s->cout * (size_t)s->kt * (size_t)s->kh * (size_t)s->kw * (size_t)s->cin;
}

rlm_weight rlm_bench_weight(const rlm_run *run, rlm_bench_memory *m, const rlm_conv_shape *s)
{
    rlm_weight_geom g = {s->cout, s->kt, s->kh, s->kw, s->cin, s->dw};
    size_t n = weight_count(s);
    float *w = rlm_bench_floats(m, n), size = sqrtf(3.0f * (float)s->cout / (float)n);
    void *to[2];
    for (size_t i = 0; w && i < n; i++)
        w[i] *= size;
    for (int t = 0; t < 2; t++) {
        size_t bytes = run->k->pack_bytes(&g, t);
        to[t] = bytes ? rlm_bench_room(m, bytes) : NULL;
        if (w && to[t])
            run->k->pack(run->par, &g, w, t, to[t]);
    }
    return (rlm_weight){.f32 = w, .pack = to[0], .pack_t = to[1]};
}

rlm_conv_shape rlm_bench_conv(int n, int t, int side, int c, int kt, int ks)
{
    return (rlm_conv_shape){.n = n,
                            .t = t,
                            .h = side,
                            .w = side,
                            .cin = c,
                            .ot = t,
                            .oh = side,
                            .ow = side,
                            .cout = c,
                            .kt = kt,
                            .kh = ks,
                            .kw = ks,
                            .st = 1,
                            .sh = 1,
                            .sw = 1,
                            .dw = 1,
                            .pt = kt - 1,
                            .ph = ks / 2,
                            .pw = ks / 2};
}

rlm_conv_shape rlm_bench_dense(int rows, int out, int in)
{
    rlm_conv_shape s = rlm_bench_conv(1, 1, 1, in, 1, 1);
    s.w = s.ow = rows;
    s.cout = out;
    return s;
}

static void product_rows(rlm_bench_state *b, const char *name, const rlm_conv_shape *s)
{
    static const char *const pass[] = {"forward", "backward data", "backward weight"};
    rlm_bench_memory m = {.count = 0};
    size_t nx = (size_t)s->n * s->t * s->h * s->w * s->cin;
    size_t ny = (size_t)s->n * s->ot * s->oh * s->ow * s->cout;
    product p = {.b = b,
                 .s = *s,
                 .x = rlm_bench_floats(&m, nx),
                 .y = rlm_bench_floats(&m, ny),
                 .w = rlm_bench_floats(&m, weight_count(s)),
                 .weight = rlm_bench_weight(&b->run, &m, s)};
    for (p.pass = 0; p.pass < 3 && !m.failed; p.pass++) {
        char text_name[96];
        snprintf(text_name, sizeof text_name, "%s %s", name, pass[p.pass]);
        if (!rlm_bench_wants(b, text_name))
            continue;
        double flops = 2.0 * (double)ny * s->kt * s->kh * s->kw * s->cin;
        rlm_bench_add(b, &(rlm_bench_row){.name = text_name,
                                          .seconds = rlm_bench_time(b, run_product, &p),
                                          .flops = flops});
    }
    rlm_bench_release(&m);
}

static void kernel_rows(rlm_bench_state *b)
{
    static const struct {
        const char *name;
        int m, n, k;
    } dense[] = {{"gemm 7168x1152x384", 7168, 1152, 384},
                 {"gemm 7168x384x768", 7168, 384, 768},
                 {"gemm 1280x3072x1024", 1280, 3072, 1024},
                 {"gemm 1280x1024x4096", 1280, 1024, 4096}};
    static const struct {
        const char *name;
        int n, t, s, c, kt, ks;
    } conv[] = {{"conv 1x3x3 4x5x32x32 c96", 4, 5, 32, 96, 1, 3},
                {"conv 3x1x1 4x5x32x32 c96", 4, 5, 32, 96, 3, 1},
                {"conv 1x3x3 4x5x16x16 c256", 4, 5, 16, 256, 1, 3},
                {"conv 3x3x3 9x64x64 c128", 1, 9, 64, 128, 3, 3}};
    for (size_t i = 0; i < sizeof dense / sizeof dense[0]; i++) {
        rlm_conv_shape s = rlm_bench_dense(dense[i].m, dense[i].n, dense[i].k);
        product_rows(b, dense[i].name, &s);
    }
    for (size_t i = 0; i < sizeof conv / sizeof conv[0]; i++) {
        rlm_conv_shape s =
            rlm_bench_conv(conv[i].n, conv[i].t, conv[i].s, conv[i].c, conv[i].kt, conv[i].ks);
        product_rows(b, conv[i].name, &s);
    }
}

/* ---- All ------------------------------------------------------------------------------------ */

static int measure(rlm_bench_state *b, const char *model_dir, const rlm_options *options,
                   rlm_error *err)
{
    unsigned levels = b->run.k->levels;
    for (int i = 0; i < 2; i++) { /* twice: a neighbour can hold a unit for longer than a loop */
        b->peak_amx = fmax(b->peak_amx, rlm_peak_amx_bf16(b->run.par, levels));
        b->peak_f32 = fmax(b->peak_f32, rlm_peak_f32(b->run.par, levels));
        b->peak_read = fmax(b->peak_read, rlm_peak_read(b->run.par, levels));
    }
    b->heap = rlm_alloc_bytes();
    say_ceilings(b);
    kernel_rows(b);
    rlm_bench_blocks(b);
    RLM_TRY(rlm_bench_networks(b, err));
    if (model_dir && rlm_bench_wants(b, RLM_BENCH_GENERATE))
        RLM_TRY(rlm_bench_generate(b, model_dir, options, err));
    if (b->json)
        say(b, "\n]}\n");
    return b->count ? 0 : rlm_fail(err, RLM_E_ARG, "bench: no row has all of these words");
}

int rlm_bench(const char *model_dir, const rlm_options *options, const rlm_bench_options *wish,
              rlm_error *err)
{
    rlm_kernels kernels;
    rlm_arena arena = {0};
    rlm_bench_state b = {.run = {.k = &kernels, .arena = &arena, .lazy = true},
                         .quick = wish->quick,
                         .json = wish->json,
                         .words = wish->words,
                         .word_count = wish->word_count,
                         .write = wish->write,
                         .cookie = wish->write_cookie};
    int code = rlm_kernels_init_training(&kernels, options->cpu_mask, err);
    if (!code)
        code = rlm_par_open(&b.run.par, options->threads, err);
    if (!code)
        code = rlm_arena_reserve(&arena, (size_t)1 << 37, err);
    if (!code)
        code = measure(&b, model_dir, options, err);
    rlm_arena_release(&arena);
    rlm_par_close(&b.run.par);
    return code;
}
