/* Register-only loops and a streaming read: what this level can do when nothing is fetched, and
 * what memory gives. */
#include "src/base/mem.h"
#include "src/kernels/lanes.h"
#include "src/kernels/peak.h"

enum { ROUNDS = 1600000, SUMS = 12 };

static void fma_loop(void *ctx, int64_t begin, int64_t end, int worker)
{
    v_f32 a[SUMS], x = v_set(0.999f), y = v_set(1e-6f);
    float *out = ctx;
    (void)begin, (void)end;
    for (int i = 0; i < SUMS; i++)
        a[i] = v_set((float)i);
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < SUMS; i++)
            a[i] = v_fma(a[i], x, y);
    for (int i = 1; i < SUMS; i++)
        a[0] = v_add(a[0], a[i]);
    out[worker] = v_sum(a[0]);
}

double V_NAME(peak_f32)(rlm_par *par)
{
    float sink[RLM_PEAK_THREADS];
    int n = rlm_par_threads(par);
    return n * (double)ROUNDS * SUMS * 2 * V_LANES / rlm_peak_time(par, fma_loop, sink);
}

typedef struct read_job {
    const float *data;
    size_t count; /* a worker's share */
    float *sink;
} read_job;

static void read_loop(void *ctx, int64_t begin, int64_t end, int worker)
{
    const read_job *j = ctx;
    (void)worker;
    for (int64_t w = begin; w < end; w++) {
        const float *p = j->data + (size_t)w * j->count;
        v_f32 s[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
        for (size_t i = 0; i + 4 * V_LANES <= j->count; i += 4 * V_LANES)
            for (int k = 0; k < 4; k++)
                s[k] = v_max(s[k], v_read(p + i + k * V_LANES));
        j->sink[w] = v_most(v_max(v_max(s[0], s[1]), v_max(s[2], s[3])));
    }
}

double V_NAME(peak_read)(rlm_par *par)
{
    size_t bytes = (size_t)256 << 20;
    float sink[RLM_PEAK_THREADS];
    int n = rlm_par_threads(par);
    float *data = rlm_alloc(bytes);
    if (!data)
        return 0;
    memset(data, 1, bytes);
    read_job j = {data, bytes / sizeof *data / (size_t)n / 64 * 64, sink};
    double rate = (double)j.count * sizeof *data * n / rlm_peak_time(par, read_loop, &j);
    rlm_free(data);
    return rate;
}
