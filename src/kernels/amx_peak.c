/* Register-only loops: what the units can do when nothing is fetched. */
#include "src/kernels/amx.h"
#include "src/kernels/peak.h"

#include "src/base/mem.h"

enum { ROUNDS = 400000 };

static void amx_loop(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)ctx, (void)begin, (void)end, (void)worker;
    rlm_amx_begin();
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (int i = 0; i < ROUNDS; i++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    rlm_amx_end();
}

/* Shortest of eight runs on every thread: a ceiling, so clocks and units must have woken up. */
static double best_time(rlm_par *par, rlm_par_fn fn, void *ctx)
{
    double best = 1e30;
    for (int i = 0; i < 8; i++) {
        double start = rlm_now();
        rlm_par_for(par, rlm_par_threads(par), 1, fn, ctx);
        double took = rlm_now() - start;
        best = took < best ? took : best;
    }
    return best;
}

double rlm_peak_amx_bf16(rlm_par *par)
{
    if (!rlm_cpu_detect().amx_bf16)
        return 0;
    int n = rlm_par_threads(par);
    return n * (double)ROUNDS * 4 * (2.0 * 16 * 16 * 32) / best_time(par, amx_loop, NULL);
}

static void fma_loop(void *ctx, int64_t begin, int64_t end, int worker)
{
    __m512 a[16], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-6f);
    float *out = ctx;
    (void)begin, (void)end;
    for (int i = 0; i < 16; i++)
        a[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < ROUNDS * 4; r++) {
        for (int i = 0; i < 16; i++)
            a[i] = _mm512_fmadd_ps(a[i], x, y);
    }
    for (int i = 1; i < 16; i++)
        a[0] = _mm512_add_ps(a[0], a[i]);
    out[worker] = _mm512_reduce_add_ps(a[0]);
}

double rlm_peak_avx512_f32(rlm_par *par)
{
    float sink[1024];
    int n = rlm_par_threads(par);
    if (!rlm_cpu_detect().avx512 || n > 1024)
        return 0;
    return n * (double)ROUNDS * 4 * 16 * 32 / best_time(par, fma_loop, sink);
}

typedef struct read_job {
    const uint8_t *data;
    size_t bytes; /* a worker's share */
    uint64_t *sink;
} read_job;

static void read_loop(void *ctx, int64_t begin, int64_t end, int worker)
{
    const read_job *j = ctx;
    (void)worker;
    for (int64_t w = begin; w < end; w++) {
        const uint8_t *p = j->data + (size_t)w * j->bytes;
        __m512i s[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                        _mm512_setzero_si512()};
        for (size_t i = 0; i + 256 <= j->bytes; i += 256)
            for (int k = 0; k < 4; k++)
                s[k] = _mm512_add_epi64(s[k], _mm512_load_si512(p + i + 64 * k));
        j->sink[w] = (uint64_t)_mm512_reduce_or_epi64(
            _mm512_add_epi64(_mm512_add_epi64(s[0], s[1]), _mm512_add_epi64(s[2], s[3])));
    }
}

double rlm_peak_read(rlm_par *par)
{
    size_t bytes = (size_t)256 << 20;
    uint64_t sink[1024];
    int n = rlm_par_threads(par);
    uint8_t *data = rlm_alloc(bytes);
    if (!data || n > 1024 || !rlm_cpu_detect().avx512) {
        rlm_free(data);
        return 0;
    }
    memset(data, 1, bytes);
    read_job j = {data, bytes / (size_t)n / 256 * 256, sink};
    double best = 0;
    for (int i = 0; i < 4; i++) {
        double start = rlm_now();
        rlm_par_for(par, n, 1, read_loop, &j);
        double rate = (double)j.bytes * n / (rlm_now() - start);
        best = rate > best ? rate : best;
    }
    rlm_free(data);
    return best;
}
