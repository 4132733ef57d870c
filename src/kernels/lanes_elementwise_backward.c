/* Lanes: gradients of the elementwise kernels. */
#include "src/kernels/lanes.h"

typedef struct act_job {
    rlm_act act;
    const float *x, *dy;
    float *dx;
    bool add;
    int64_t begin, end; /* of a slice */
} act_job;

/* The lanes of what dx holds already that count: all or none. */
RLM_INLINE v_mask old_lanes(bool add, v_mask m)
{
    return add ? m : 0;
}

RLM_INLINE void act_slice(rlm_act act, void *ctx)
{
    const act_job *j = ctx;
    int64_t i = j->begin, end = j->end;
    v_mask old = old_lanes(j->add, V_ALL);
    for (; i + V_LANES <= end; i += V_LANES) {
        v_f32 d = v_dact(act, v_read(j->x + i));
        v_f32 s = v_fma(d, v_read(j->dy + i), v_load(j->dx + i, old));
        v_write(j->dx + i, s);
    }
    if (i < end) {
        v_mask m = v_tail(end - i);
        v_f32 d = v_dact(act, v_load(j->x + i, m));
        v_store(j->dx + i, m,
                v_fma(d, v_load(j->dy + i, m), v_load(j->dx + i, old_lanes(j->add, m))));
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
    for (int64_t i = begin; i < end; i += V_LANES) {
        v_mask m = v_tail(end - i);
        v_f32 dy = v_load(j.dy + i, m), by[3] = {v_set(1.0f), v_load(j.x + i, m), v_set(1.0f)};
        by[0] = v_add(by[0], v_load(j.scale + i, m));
        for (int u = 0; u < 3; u++)
            if (j.d[u]) {
                v_f32 old = v_load(j.d[u] + i, old_lanes(j.add[u], m));
                v_put(j.far[u], j.d[u] + i, m, v_fma(dy, by[u], old));
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
        for (int i = 0; i < j.c; i += V_LANES) {
            v_mask m = v_tail(j.c - i), old = old_lanes(j.add, m);
            v_f32 g = v_load(gate + i, m), u = v_load(up + i, m), d = v_load(dy + i, m);
            v_f32 s = v_sigmoid(g), gs = v_mul(g, s);
            v_f32 ds = v_fma(gs, v_sub(v_set(1.0f), s), s);
            v_f32 du = v_mul(d, u);
            v_store(dgate + i, m, v_fma(du, ds, v_load(dgate + i, old)));
            v_store(dup + i, m, v_fma(d, gs, v_load(dup + i, old)));
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

void V_NAME(elementwise_backward)(rlm_kernels *k)
{
    k->act_backward = act_backward;
    k->modulate_backward = modulate_backward;
    k->swiglu_backward = swiglu_backward;
}
