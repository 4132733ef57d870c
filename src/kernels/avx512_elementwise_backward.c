/* AVX-512: gradients of the elementwise kernels. */
#include "src/kernels/avx512.h"

typedef struct act_job {
    rlm_act act;
    const float *x, *dy;
    float *dx;
    bool add;
    int64_t begin, end; /* of a slice */
} act_job;

/* The lanes of what dx holds already that count: all or none. */
RLM_INLINE __mmask16 old_lanes(bool add, __mmask16 m)
{
    return add ? m : 0;
}

RLM_INLINE void act_slice(rlm_act act, void *ctx)
{
    const act_job *j = ctx;
    int64_t i = j->begin, end = j->end;
    __mmask16 old = old_lanes(j->add, 0xffff);
    for (; i + 16 <= end; i += 16) {
        __m512 d = v_dact(act, _mm512_loadu_ps(j->x + i));
        __m512 s = _mm512_fmadd_ps(d, _mm512_loadu_ps(j->dy + i), v_load(j->dx + i, old));
        _mm512_storeu_ps(j->dx + i, s);
    }
    if (i < end) {
        __mmask16 m = v_tail(end - i);
        __m512 d = v_dact(act, v_load(j->x + i, m));
        v_store(j->dx + i, m, _mm512_fmadd_ps(d, v_load(j->dy + i, m), v_load(j->dx + i, m & old)));
    }
}

static void act_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    act_job j = *(const act_job *)ctx;
    (void)worker;
    j.begin = begin;
    j.end = end;
    v_by_act(j.act, act_slice, &j);
}

static void act_backward(rlm_par *par, rlm_act act, int64_t n, const float *x, const float *dy,
                         float *dx, bool add)
{
    act_job j = {.act = act, .x = x, .dy = dy, .dx = dx, .add = add};
    if (dx)
        rlm_par_for(par, n, RLM_GRAIN, act_fn, &j);
}

typedef struct modulate_job {
    const float *x, *scale, *dy;
    float *d[3]; /* dx, dscale, dshift */
    bool add[3], far[3];
} modulate_job;

static void modulate_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const modulate_job j = *(const modulate_job *)ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i += 16) {
        __mmask16 m = v_tail(end - i);
        __m512 dy = v_load(j.dy + i, m), by[3] = {v_set(1.0f), v_load(j.x + i, m), v_set(1.0f)};
        by[0] = _mm512_add_ps(by[0], v_load(j.scale + i, m));
        for (int u = 0; u < 3; u++)
            if (j.d[u]) {
                __m512 old = v_load(j.d[u] + i, old_lanes(j.add[u], m));
                v_put(j.far[u], j.d[u] + i, m, _mm512_fmadd_ps(dy, by[u], old));
            }
    }
    v_far_end(j.far[0] || j.far[1] || j.far[2]);
}
static void modulate_backward(rlm_par *par, int64_t n, const float *x, const float *scale,
                              const float *dy, float *dx, float *dscale, float *dshift,
                              const bool add[3])
{
    modulate_job j = {.x = x, .scale = scale, .dy = dy, .d = {dx, dscale, dshift}};
    for (int u = 0; u < 3; u++) {
        j.add[u] = add[u];
        j.far[u] = !add[u] && v_is_far(j.d[u], n, n);
    }
    rlm_par_for(par, n, RLM_GRAIN, modulate_fn, &j);
}

typedef struct rows_job {
    int c;
    const float *x, *dy;
    float *dx;
    bool add;
} rows_job;

static void swiglu_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rows_job j = *(const rows_job *)ctx;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        const float *gate = j.x + r * 2 * j.c, *up = gate + j.c, *dy = j.dy + r * j.c;
        float *dgate = j.dx + r * 2 * j.c, *dup = dgate + j.c;
        for (int i = 0; i < j.c; i += 16) {
            __mmask16 m = v_tail(j.c - i), old = old_lanes(j.add, m);
            __m512 g = v_load(gate + i, m), u = v_load(up + i, m), d = v_load(dy + i, m);
            __m512 s = v_sigmoid(g), gs = _mm512_mul_ps(g, s);
            __m512 ds = _mm512_fmadd_ps(gs, _mm512_sub_ps(v_set(1.0f), s), s);
            __m512 du = _mm512_mul_ps(d, u);
            v_store(dgate + i, m, _mm512_fmadd_ps(du, ds, v_load(dgate + i, old)));
            v_store(dup + i, m, _mm512_fmadd_ps(d, gs, v_load(dup + i, old)));
        }
    }
}
static void swiglu_backward(rlm_par *par, int64_t rows, int c, const float *x, const float *dy,
                            float *dx, bool add)
{
    rows_job j = {c, x, dy, dx, add};
    if (dx)
        rlm_par_for(par, rows, v_row_grain(2 * (int64_t)c), swiglu_fn, &j);
}

void rlm_avx512_elementwise_backward(rlm_kernels *k)
{
    k->act_backward = act_backward;
    k->modulate_backward = modulate_backward;
    k->swiglu_backward = swiglu_backward;
}
