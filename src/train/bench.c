/* Benchmarks: the machine's ceilings first, then kernels and whole steps as fractions of them. */
#include "src/train/bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/kernels/peak.h"

/* ---- The report ----------------------------------------------------------------------------- */

void rlm_bench_add(rlm_bench_state *b, const char *name, double seconds, double flops, double bytes,
                   const char *unit, double units)
{
    if (b->count == RLM_BENCH_ROWS)
        return;
    rlm_bench_row *r = &b->rows[b->count++];
    snprintf(r->name, sizeof r->name, "%s", name);
    snprintf(r->unit, sizeof r->unit, "%s", unit ? unit : "");
    r->seconds = seconds;
    r->flops = flops;
    r->bytes = bytes;
    r->units = units;
}

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

/* A growing text. */
typedef struct text {
    char *data;
    size_t used, room;
} text;

static void text_add(text *t, const char *fmt, ...) RLM_PRINTF(2, 3);
static void text_add(text *t, const char *fmt, ...)
{
    va_list list;
    if (t->room - t->used < 512) {
        char *more = rlm_realloc(t->data, t->room, t->room + 8192);
        if (!more)
            return;
        t->data = more;
        t->room += 8192;
    }
    va_start(list, fmt);
    int n = vsnprintf(t->data + t->used, t->room - t->used, fmt, list);
    va_end(list);
    if (n > 0)
        t->used += (size_t)n < t->room - t->used ? (size_t)n : t->room - t->used - 1;
}

/* The share of the ceiling that binds a row: bytes when given, else FLOPs. */
static double fraction(const rlm_bench_state *b, const rlm_bench_row *r)
{
    double peak = b->peak_amx > 0 ? b->peak_amx : b->peak_f32;
    if (r->bytes > 0 && b->peak_read > 0)
        return r->bytes / r->seconds / b->peak_read;
    return r->flops > 0 && peak > 0 ? r->flops / r->seconds / peak : 0;
}

static void report_text(const rlm_bench_state *b, text *t)
{
    text_add(t, "kernels %s, %d threads\n", b->run.k->level, rlm_par_threads(b->run.par));
    text_add(t, "ceilings: AMX bf16 %.2f TFLOP/s, AVX-512 f32 %.2f TFLOP/s, read %.1f GB/s\n\n",
             b->peak_amx / 1e12, b->peak_f32 / 1e12, b->peak_read / 1e9);
    text_add(t, "%-44s %10s %12s %16s %8s\n", "what", "ms", "rate", "", "of peak");
    for (int i = 0; i < b->count; i++) {
        const rlm_bench_row *r = &b->rows[i];
        bool bytes = r->bytes > 0;
        text_add(t, "%-44s %10.3f %7.1f %s", r->name, r->seconds * 1e3,
                 bytes ? r->bytes / r->seconds / 1e9 : r->flops / r->seconds / 1e9,
                 bytes ? "GB/s " : "GF/s ");
        if (r->units > 0)
            text_add(t, "%8.1f %-7s", r->units / r->seconds, r->unit);
        else
            text_add(t, "%16s", "");
        text_add(t, " %6.1f %%", 100 * fraction(b, r));
        if (r->memory > 0)
            text_add(t, " %7.0f MB", r->memory / 1e6);
        text_add(t, "\n");
    }
}

static void report_json(const rlm_bench_state *b, text *t)
{
    text_add(t, "{\"kernels\":\"%s\",\"threads\":%d,\"peak_amx_flops\":%.4g,", b->run.k->level,
             rlm_par_threads(b->run.par), b->peak_amx);
    text_add(t, "\"peak_f32_flops\":%.4g,\"peak_read_bytes\":%.4g,\"rows\":[", b->peak_f32,
             b->peak_read);
    for (int i = 0; i < b->count; i++) {
        const rlm_bench_row *r = &b->rows[i];
        text_add(t, "%s\n{\"name\":\"%s\",\"seconds\":%.6g,\"flops\":%.6g,\"bytes\":%.6g,",
                 i ? "," : "", r->name, r->seconds, r->flops, r->bytes);
        text_add(t, "\"unit\":\"%s\",\"units\":%.6g,\"of_peak\":%.4g,\"memory\":%.6g}", r->unit,
                 r->units, fraction(b, r), r->memory);
    }
    text_add(t, "\n]}\n");
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

static void product_rows(rlm_bench_state *b, const char *name, const rlm_conv_shape *s)
{
    static const char *const pass[] = {"forward", "backward data", "backward weight"};
    rlm_weight_geom g = {s->cout, s->kt, s->kh, s->kw, s->cin, s->dw};
    size_t nx = (size_t)s->n * s->t * s->h * s->w * s->cin;
    size_t ny = (size_t)s->n * s->ot * s->oh * s->ow * s->cout;
    size_t nw = (size_t)s->cout * s->kt * s->kh * s->kw * s->cin;
    const rlm_kernels *k = b->run.k;
    size_t pf = k->pack_bytes(&g, false), pt = k->pack_bytes(&g, true);
    product p = {
        .b = b, .s = *s, .x = rlm_calloc(nx, 4), .y = rlm_calloc(ny, 4), .w = rlm_calloc(nw, 4)};
    void *forward = rlm_alloc(pf + 64), *transposed = rlm_alloc(pt + 64);
    if (p.x && p.y && p.w && forward && transposed) {
        k->pack(b->run.par, &g, p.w, false, forward);
        k->pack(b->run.par, &g, p.w, true, transposed);
        p.weight = (rlm_weight){p.w, forward, transposed};
        for (p.pass = 0; p.pass < 3; p.pass++) {
            char text_name[96];
            snprintf(text_name, sizeof text_name, "%s %s", name, pass[p.pass]);
            if (!rlm_bench_wants(b, text_name))
                continue;
            rlm_bench_add(b, text_name, rlm_bench_time(b, run_product, &p),
                          2.0 * (double)ny * s->kt * s->kh * s->kw * s->cin, 0, NULL, 0);
        }
    }
    rlm_free(p.x);
    rlm_free(p.y);
    rlm_free(p.w);
    rlm_free(forward);
    rlm_free(transposed);
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
        rlm_conv_shape s = {.n = 1,
                            .t = 1,
                            .h = 1,
                            .w = dense[i].m,
                            .cin = dense[i].k,
                            .ot = 1,
                            .oh = 1,
                            .ow = dense[i].m,
                            .cout = dense[i].n,
                            .kt = 1,
                            .kh = 1,
                            .kw = 1,
                            .st = 1,
                            .sh = 1,
                            .sw = 1,
                            .dw = 1};
        product_rows(b, dense[i].name, &s);
    }
    for (size_t i = 0; i < sizeof conv / sizeof conv[0]; i++) {
        rlm_conv_shape s = {.n = conv[i].n,
                            .t = conv[i].t,
                            .h = conv[i].s,
                            .w = conv[i].s,
                            .cin = conv[i].c,
                            .ot = conv[i].t,
                            .oh = conv[i].s,
                            .ow = conv[i].s,
                            .cout = conv[i].c,
                            .kt = conv[i].kt,
                            .kh = conv[i].ks,
                            .kw = conv[i].ks,
                            .st = 1,
                            .sh = 1,
                            .sw = 1,
                            .dw = 1,
                            .pt = conv[i].kt - 1,
                            .ph = conv[i].ks / 2,
                            .pw = conv[i].ks / 2};
        product_rows(b, conv[i].name, &s);
    }
}

/* ---- All ------------------------------------------------------------------------------------ */

int rlm_bench(const char *model_dir, const rlm_options *options, int json, int quick,
              const char *const *words, int word_count, char **out, rlm_error *err)
{
    rlm_bench_state *b = rlm_calloc(1, sizeof *b);
    rlm_kernels kernels;
    rlm_arena arena = {0};
    text t = {0};
    if (!b)
        return rlm_fail(err, RLM_E_NOMEM, "bench: no memory");
    b->quick = quick;
    b->words = words;
    b->word_count = word_count;
    int code = rlm_kernels_init_training(&kernels, options->cpu_mask, err);
    if (!code)
        code = rlm_par_open(&b->run.par, options->threads, err);
    if (!code)
        code = rlm_arena_reserve(&arena, (size_t)1 << 37, err);
    if (!code) {
        b->run.k = &kernels;
        b->run.arena = &arena;
        b->run.lazy = true;
        b->peak_amx = rlm_peak_amx_bf16(b->run.par);
        b->peak_f32 = rlm_peak_avx512_f32(b->run.par);
        b->peak_read = rlm_peak_read(b->run.par);
        kernel_rows(b);
        code = rlm_bench_networks(b, err);
    }
    if (!code && model_dir && rlm_bench_wants(b, RLM_BENCH_GENERATE))
        code = rlm_bench_generate(b, model_dir, options, err);
    if (!code) {
        json ? report_json(b, &t) : report_text(b, &t);
        *out = t.data;
        if (!t.data)
            code = rlm_fail(err, RLM_E_NOMEM, "bench: no memory for the report");
    }
    rlm_arena_release(&arena);
    rlm_par_close(&b->run.par);
    rlm_free(b);
    return code;
}
