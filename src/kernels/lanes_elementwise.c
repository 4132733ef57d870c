/* Lanes: elementwise forward kernels and column copies. All are bound by memory, so they only
 * avoid extra passes; large fills bypass the caches. */
#include "src/kernels/lanes.h"

/* Bytes above which a fill would only push useful lines out of the caches. */
#define FILL_STREAM_BYTES (8 << 20)

typedef struct act_job {
    rlm_act act;
    const float *x;
    float *y;
    int64_t begin, end; /* of a slice */
} act_job;

RLM_INLINE void act_slice(rlm_act act, void *ctx)
{
    const act_job *j = ctx;
    const float *x = j->x;
    float *y = j->y;
    int64_t i = j->begin, end = j->end;
    for (; i + 2 * V_LANES <= end; i += 2 * V_LANES) {
        v_f32 a = v_act(act, v_read(x + i));
        v_f32 b = v_act(act, v_read(x + i + V_LANES));
        v_write(y + i, a);
        v_write(y + i + V_LANES, b);
    }
    for (; i < end; i += V_LANES) {
        v_mask m = v_tail(end - i);
        v_store(y + i, m, v_act(act, v_load(x + i, m)));
    }
}

static void act_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    act_job j = *(const act_job *)ctx;
    (void)worker;
    j.begin = begin;
    j.end = end;
    if (j.act != RLM_ACT_NONE || j.x != j.y)
        v_by_act(j.act, act_slice, &j);
}

static void act_forward(rlm_par *par, rlm_act act, int64_t n, const float *x, float *y)
{
    act_job j = {.act = act, .x = x, .y = y};
    rlm_par_for(par, n, RLM_GRAIN, act_fn, &j);
}

RLM_INLINE void add_at(const v_args *e, int64_t i, v_mask m)
{
    v_store(e->y + i, m, v_add(v_load(e->a + i, m), v_load(e->b + i, m)));
}
static void add_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const v_args e = *(const v_args *)ctx;
    (void)worker;
    v_sweep(add_at, &e, begin, end);
}
static void add(rlm_par *par, int64_t n, const float *a, const float *b, float *y)
{
    v_args e = {.a = a, .b = b, .y = y};
    rlm_par_for(par, n, RLM_GRAIN, add_fn, &e);
}

RLM_INLINE void axpy_at(const v_args *e, int64_t i, v_mask m)
{
    v_store(e->y + i, m, v_fma(v_set(e->alpha), v_load(e->a + i, m), v_load(e->y + i, m)));
}
static void axpy_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const v_args e = *(const v_args *)ctx;
    (void)worker;
    v_sweep(axpy_at, &e, begin, end);
}
static void axpy(rlm_par *par, int64_t n, float alpha, const float *x, float *y)
{
    v_args e = {.a = x, .y = y, .alpha = alpha};
    rlm_par_for(par, n, RLM_GRAIN, axpy_fn, &e);
}

RLM_INLINE void scale_at(const v_args *e, int64_t i, v_mask m)
{
    v_store(e->y + i, m, v_mul(v_set(e->alpha), v_load(e->y + i, m)));
}
static void scale_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const v_args e = *(const v_args *)ctx;
    (void)worker;
    v_sweep(scale_at, &e, begin, end);
}
static void scale(rlm_par *par, int64_t n, float alpha, float *y)
{
    v_args e = {.y = y, .alpha = alpha};
    rlm_par_for(par, n, RLM_GRAIN, scale_fn, &e);
}

RLM_INLINE void fill_at(const v_args *e, int64_t i, v_mask m)
{
    v_store(e->y + i, m, v_set(e->alpha));
}
static void fill_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const v_args e = *(const v_args *)ctx;
    (void)worker;
    v_sweep(fill_at, &e, begin, end);
}
static void fill_stream_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const v_args e = *(const v_args *)ctx;
    v_f32 value = v_set(e.alpha);
    int64_t i = begin;
    (void)worker;
    for (; i < end && ((uintptr_t)(e.y + i) & 63); i++)
        e.y[i] = e.alpha;
    for (; i + V_LANES <= end; i += V_LANES)
        v_stream(e.y + i, value);
    for (; i < end; i++)
        e.y[i] = e.alpha;
    v_fence();
}
static void fill(rlm_par *par, int64_t n, float value, float *y)
{
    v_args e = {.y = y, .alpha = value};
    bool stream = n * (int64_t)sizeof(float) >= FILL_STREAM_BYTES;
    rlm_par_for(par, n, RLM_GRAIN, stream ? fill_stream_fn : fill_fn, &e);
}

RLM_INLINE void copy_at(const v_args *e, int64_t i, v_mask m)
{
    v_store(e->y + i, m, v_load(e->a + i, m));
}
static void copy_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const v_args e = *(const v_args *)ctx;
    (void)worker;
    v_sweep(copy_at, &e, begin, end);
}
static void copy(rlm_par *par, int64_t n, const float *x, float *y)
{
    v_args e = {.a = x, .y = y};
    if (x != y)
        rlm_par_for(par, n, RLM_GRAIN, copy_fn, &e);
}

RLM_INLINE void modulate_at(const v_args *e, int64_t i, v_mask m)
{
    v_f32 x = v_load(e->a + i, m);
    v_f32 y = v_add(x, v_load(e->c + i, m));
    v_store(e->y + i, m, v_fma(x, v_load(e->b + i, m), y));
}
static void modulate_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const v_args e = *(const v_args *)ctx;
    (void)worker;
    v_sweep(modulate_at, &e, begin, end);
}
static void modulate_forward(rlm_par *par, int64_t n, const float *x, const float *scale,
                             const float *shift, float *y)
{
    v_args e = {.a = x, .b = scale, .c = shift, .y = y};
    rlm_par_for(par, n, RLM_GRAIN, modulate_fn, &e);
}

typedef struct rows_job {
    int c;
    const float *x;
    float *y;
    bool far;
} rows_job;

static void swiglu_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rows_job j = *(const rows_job *)ctx;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        const float *gate = j.x + r * 2 * j.c, *up = gate + j.c;
        float *y = j.y + r * j.c;
        for (int i = 0; i < j.c; i += V_LANES) {
            v_mask m = v_tail(j.c - i);
            v_f32 g = v_act(RLM_ACT_SILU, v_load(gate + i, m));
            v_put(j.far, y + i, m, v_mul(g, v_load(up + i, m)));
        }
    }
    v_far_end(j.far);
}
static void swiglu_forward(rlm_par *par, int64_t rows, int c, const float *x, float *y)
{
    rows_job j = {c, x, y, v_is_far(y, rows * c, c)};
    rlm_par_for(par, rows, v_row_grain(c), swiglu_fn, &j);
}

typedef struct columns_job {
    int count, cx, from, cy, to;
    bool accumulate;
    const float *x;
    float *y;
} columns_job;

static void columns_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const columns_job j = *(const columns_job *)ctx;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        const float *x = j.x + r * j.cx + j.from;
        float *y = j.y + r * j.cy + j.to;
        if (j.accumulate)
            v_row_add(y, x, j.count);
        else
            v_row_copy(y, x, j.count);
    }
}
static void columns(rlm_par *par, int64_t rows, int count, const float *x, int cx, int from,
                    float *y, int cy, int to, bool accumulate)
{
    columns_job j = {count, cx, from, cy, to, accumulate, x, y};
    rlm_par_for(par, rows, v_row_grain(count), columns_fn, &j);
}

void V_NAME(elementwise)(rlm_kernels *k)
{
    k->act_forward = act_forward;
    k->add = add;
    k->axpy = axpy;
    k->scale = scale;
    k->fill = fill;
    k->copy = copy;
    k->modulate_forward = modulate_forward;
    k->swiglu_forward = swiglu_forward;
    k->columns = columns;
}
