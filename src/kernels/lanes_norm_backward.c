/* Lanes: gradients of RMS norm and group norm. Gains' gradients are summed per fixed slice and
 * then in slice order: the same for any number of threads. */
#include "src/kernels/lanes_norm_backward.h"

/* out[i] += sum over parts of part[p][i], i in [begin, end): a slice of the last reduction. */
typedef struct sum_job {
    int64_t parts, stride;
    const float *part;
    float *out;
} sum_job;

static void sum_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const sum_job j = *(const sum_job *)ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i += V_LANES) {
        v_mask m = v_tail(end - i);
        v_double sum = v_double_zero();
        for (int64_t p = 0; p < j.parts; p++)
            sum = v_double_add(sum, v_double_of(v_load(j.part + p * j.stride + i, m)));
        v_store(j.out + i, m, v_add(v_load(j.out + i, m), v_double_round(sum)));
    }
}

static void sum_parts(rlm_par *par, int64_t parts, int64_t stride, const float *part, int c,
                      float *out)
{
    sum_job j = {parts, stride, part, out};
    int64_t grain = (RLM_GRAIN / parts + 16) / 16 * 16;
    if (out)
        rlm_par_for(par, c, grain, sum_fn, &j);
}

#ifndef RLM_BF16
/* ---- RMS norm ------------------------------------------------------------------------------ */

typedef struct rms_job {
    int c;
    int64_t rows, slice;
    const float *x, *gain, *rstd, *dy;
    float *dx, *part; /* part [slices][c] or NULL */
} rms_job;

/* dx += rstd (dy gain - xhat mean(dy gain xhat)); part += dy xhat. */
static void rms_row(const rms_job *j, int64_t r, float *part)
{
    const float *x = j->x + r * j->c, *dy = j->dy + r * j->c;
    v_f32 rstd = v_set(j->rstd[r]), dot = v_zero();
    for (int i = 0; i < j->c; i += V_LANES) {
        v_mask m = v_tail(j->c - i);
        v_f32 g = v_mul(v_load(dy + i, m), v_mul(v_load(x + i, m), rstd));
        if (part)
            v_store(part + i, m, v_add(v_load(part + i, m), g));
        dot = j->gain ? v_fma(g, v_load(j->gain + i, m), dot) : v_add(dot, g);
    }
    if (!j->dx)
        return;
    float *dx = j->dx + r * j->c;
    v_f32 mean = v_set(v_sum(dot) / (float)j->c * j->rstd[r]);
    for (int i = 0; i < j->c; i += V_LANES) {
        v_mask m = v_tail(j->c - i);
        v_f32 g = v_load(dy + i, m);
        if (j->gain)
            g = v_mul(g, v_load(j->gain + i, m));
        g = v_fnma(v_load(x + i, m), mean, g);
        v_store(dx + i, m, v_fma(g, rstd, v_load(dx + i, m)));
    }
}

/* Rows so short that the two terms of dx nearly cancel: in double. */
static void rms_row_short(const rms_job *j, int64_t r, float *part)
{
    const float *x = j->x + r * j->c, *dy = j->dy + r * j->c;
    double rstd = j->rstd[r], mean = 0;
    for (int i = 0; i < j->c; i++) {
        double g = dy[i] * (double)x[i] * rstd;
        if (part)
            part[i] += (float)g;
        mean += g * (j->gain ? j->gain[i] : 1.0f) * rstd / j->c;
    }
    for (int i = 0; j->dx && i < j->c; i++) {
        double g = dy[i] * (double)(j->gain ? j->gain[i] : 1.0f);
        j->dx[r * j->c + i] += (float)(rstd * (g - x[i] * mean));
    }
}

static void rms_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rms_job j = *(const rms_job *)ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        float *part = j.part ? j.part + i * j.c : NULL;
        int64_t last = (i + 1) * j.slice < j.rows ? (i + 1) * j.slice : j.rows;
        if (part)
            memset(part, 0, (size_t)j.c * sizeof(float));
        for (int64_t r = i * j.slice; r < last; r++)
            j.c < 8 ? rms_row_short(&j, r, part) : rms_row(&j, r, part);
    }
}

static void rmsnorm_backward(rlm_par *par, int64_t rows, int c, const float *x, const float *gain,
                             const float *rstd, const float *dy, float *dx, float *dgain)
{
    int64_t slice = rows / 64 < 16 ? 16 : rows / 64 > 256 ? 256 : rows / 64;
    int64_t slices = (rows + slice - 1) / slice;
    rms_job j = {c, rows, slice, x, gain, rstd, dy, dx, NULL};
    if (rows <= 0)
        return;
    if (dgain)
        j.part = rlm_par_scratch(par, 0, 3, (size_t)slices * (size_t)c * sizeof(float));
    rlm_par_for(par, slices, v_row_grain(c * slice * 2), rms_fn, &j);
    sum_parts(par, slices, c, j.part, c, dgain);
}
#endif

/* ---- Group norm ---------------------------------------------------------------------------- */

/* Tables of a frame, c floats each: norm_frame_table's four, then rstd * gain, k1, k2 (below).
 * Behind them a register's room for what nobody wants. */
enum { TABLE_SLOPE = 4, TABLE_K1 = 5, TABLE_K2 = 6, TABLES = 7 };

/* dz = dy * act'(d * rstd * gain + bias), d = x - mean, at lanes m of channel i. */
RLM_INLINE v_f32 gn_dz(rlm_act act, const float *table, int c, int i, v_mask m, v_f32 d, v_f32 dy)
{
    if (act == RLM_ACT_NONE)
        return dy;
    v_f32 slope = v_load(table + TABLE_SLOPE * c + i, m);
    return v_mul(dy, v_dact(act, v_fma(d, slope, v_load(table + 3 * c + i, m))));
}

/* What is bf16: nothing, dy, or x, dy and dx. The first at all levels but bf16, the others there.
 */
typedef enum { GN_F32, GN_DY16, GN_ALL16 } gn_form;
#ifdef RLM_BF16
enum { GN_HALVES = 1 };
#else
enum { GN_HALVES = 0 };
#endif

enum { SUM_ROWS = 32 }; /* rows that stay in the L1 cache while their channels are summed */

/* A pass over rows of one frame. What is read or written by choice has a place anyway, of one
 * register at least, and a mask that leaves all indices or makes them 0: a branch would double each
 * activation's loops, and this file took the compiler half a minute. */
typedef struct gn_rows {
    const void *x, *dy; /* [rows][c] */
    int64_t rows;
    int c;
    const float *table;
    gn_form form;
    /* sums */
    float *part; /* [2][c] = sums of dz, dz * d */
    float *keep; /* [rows][c] = dz */
    int64_t keep_mask;
    /* dx, if not NULL; `to` is added */
    void *dx;
    const float *to;
    int64_t to_mask;
    bool far;
} gn_rows;

/* `used` vectors of channels from i over the `rows` from `row` on, sums in registers; m: lanes of
 * each. */
RLM_INLINE void sums_block(rlm_act act, gn_form form, int used, v_mask m, const gn_rows *g,
                           int64_t row, int rows, int i)
{
    v_f32 sum[4], along[4];
    int c = g->c;
    const float *table = g->table;
    float *part = g->part + i, *keep = g->keep;
    int64_t mask = g->keep_mask;
    for (int v = 0; v < used; v++) {
        sum[v] = v_load(part + V_LANES * v, m);
        along[v] = v_load(part + c + V_LANES * v, m);
    }
    for (int64_t r = row; r < row + rows; r++) {
        for (int v = 0; v < used; v++) {
            int64_t at = r * c + i + V_LANES * v;
            v_f32 d = v_of(form == GN_ALL16, g->x, at, m), by = v_of(form > GN_F32, g->dy, at, m);
            d = v_sub(d, v_load(table + i + V_LANES * v, m));
            v_f32 dz = gn_dz(act, table, c, i + V_LANES * v, m, d, by);
            sum[v] = v_add(sum[v], dz);
            along[v] = v_fma(dz, d, along[v]);
            v_store(keep + (at & mask), m, dz);
        }
    }
    for (int v = 0; v < used; v++) {
        v_store(part + V_LANES * v, m, sum[v]);
        v_store(part + c + V_LANES * v, m, along[v]);
    }
}

RLM_INLINE void sums_rows(rlm_act act, gn_form form, const gn_rows *g)
{
    int c = g->c;
    memset(g->part, 0, (size_t)c * 2 * sizeof(float));
    for (int64_t r = 0; r < g->rows; r += SUM_ROWS) {
        int n = g->rows - r < SUM_ROWS ? (int)(g->rows - r) : SUM_ROWS, i = 0;
        for (; i + 4 * V_LANES <= c; i += 4 * V_LANES)
            sums_block(act, form, 4, V_ALL, g, r, n, i);
        for (; V_LANES > 4 && i + 2 * V_LANES <= c; i += 2 * V_LANES)
            sums_block(act, form, 2, V_ALL, g, r, n, i);
        for (; i < c; i += V_LANES)
            sums_block(act, form, 1, v_tail(c - i), g, r, n, i);
    }
    for (int i = 0; i < c; i++)
        g->part[c + i] *= g->table[c + i];
}

/* dx = to + dz * slope - k1 - d * k2 at lanes m of channel i of the row at `row`, with slope = rstd
 * gain, k1 = rstd mean(dz gain), k2 = rstd^2 mean(dz gain xhat) per channel. */
RLM_INLINE void dx_block(rlm_act act, gn_form form, bool kept, const gn_rows *g, int64_t row, int i,
                         v_mask m, bool far)
{
    int64_t at = row + i;
    const float *table = g->table + i;
    v_f32 d = v_sub(v_of(form == GN_ALL16, g->x, at, m), v_load(table, m));
    v_f32 dz = v_of(form > GN_F32 && !kept, g->dy, at, m);
    if (!kept)
        dz = gn_dz(act, g->table, g->c, i, m, d, dz);
    v_f32 s = v_load(g->to + (at & g->to_mask), m);
    s = v_sub(s, v_load(table + TABLE_K1 * g->c, m));
    s = v_fnma(d, v_load(table + TABLE_K2 * g->c, m), s);
    s = v_fma(dz, v_load(table + TABLE_SLOPE * g->c, m), s);
    if (form == GN_ALL16)
        v_store16((uint16_t *)g->dx + at, m, s);
    else
        v_put(far, (float *)g->dx + at, m, s);
}

/* kept: dy is dz (f32). */
RLM_INLINE void dx_rows(rlm_act act, gn_form form, bool kept, const gn_rows *g)
{
    const gn_rows now = *g;
    for (int64_t r = 0; r < now.rows; r++) {
        int i = 0;
        for (; i + V_LANES <= now.c; i += V_LANES)
            dx_block(act, form, kept, &now, r * now.c, i, V_ALL, now.far);
        if (i < now.c) /* such rows are never far */
            dx_block(act, form, kept, &now, r * now.c, i, v_tail(now.c - i), false);
    }
}

RLM_INLINE void gn_rows_of(rlm_act act, gn_form form, const gn_rows *g)
{
    if (g->dx)
        dx_rows(act, form, false, g);
    else
        sums_rows(act, form, g);
}

RLM_INLINE void gn_rows_as(rlm_act act, void *ctx)
{
    const gn_rows *g = ctx;
    if (GN_HALVES && g->form == GN_ALL16)
        gn_rows_of(act, GN_ALL16, g);
    else if (GN_HALVES)
        gn_rows_of(act, GN_DY16, g);
    else
        gn_rows_of(act, GN_F32, g);
}

/* All activations and forms in one place, once. */
static __attribute__((noinline)) void gn_run(rlm_act act, gn_rows *g)
{
    v_by_act(act, gn_rows_as, g);
}

static void gn_kept(const gn_rows *g)
{
    if (GN_HALVES && g->form == GN_ALL16)
        dx_rows(RLM_ACT_NONE, GN_ALL16, true, g);
    else
        dx_rows(RLM_ACT_NONE, GN_F32, true, g);
}

static float *gn_table(const norm_back *j, int64_t frame, int worker)
{
    int c = j->s.c;
    float *table =
        rlm_par_scratch(j->par, worker, 0, ((size_t)c * TABLES + V_LANES) * sizeof(float));
    norm_frame_table(&j->s, j->stats + frame * j->s.groups * 2, j->gain, j->bias, table);
    for (int i = 0; i < c; i++)
        table[TABLE_SLOPE * c + i] = table[c + i] * table[2 * c + i];
    return table;
}

/* k1, k2 of a frame [2][c] from its slices' sums; k may be the first slice's sums themselves. */
static void gn_means(const norm_back *j, int64_t frame, const float *table, float *k)
{
    const rlm_groupnorm_shape *s = &j->s;
    int c = s->c, width = c / s->groups;
    const float *gain = table + 2 * c, *rstd = table + c;
    const float *part = j->part + frame * j->cut.slices * 2 * c;
    for (int g = 0; g < s->groups; g++) {
        double dz = 0, dzx = 0, count = (double)s->hw * width;
        for (int64_t p = 0; p < j->cut.slices; p++) {
            for (int i = g * width; i < (g + 1) * width; i++) {
                dz += (double)part[p * 2 * c + i] * gain[i];
                dzx += (double)part[(p * 2 + 1) * c + i] * gain[i];
            }
        }
        for (int i = g * width; i < (g + 1) * width; i++) {
            k[i] = (float)(rstd[i] * dz / count);
            k[c + i] = (float)((double)rstd[i] * rstd[i] * dzx / count);
        }
    }
}

/* `rows` from element `at` on: dx, or (sums) sums into part and, if keep is not NULL, dz there. */
static gn_rows gn_rows_at(const norm_back *j, int64_t at, int64_t rows, float *table, bool sums,
                          float *part, float *keep)
{
    static const float none[V_LANES];
    gn_rows g = {.x = v_at(j->half_x, j->x, at),
                 .dy = v_at(j->half, j->dy, at),
                 .rows = rows,
                 .c = j->s.c,
                 .table = table,
                 .form = j->half_x ? GN_ALL16
                         : j->half ? GN_DY16
                                   : GN_F32,
                 .part = part,
                 .keep = keep ? keep : table + (int64_t)TABLES * j->s.c,
                 .keep_mask = keep ? -1 : 0,
                 .far = j->far};
    g.dx = sums ? NULL : (uint8_t *)j->dx + at * (j->half_x ? 2 : 4);
    g.to = j->add ? (const float *)g.dx : none;
    g.to_mask = j->add ? -1 : 0;
    return g;
}

/* One slice: sums or dx. keep: of the frame, or NULL. */
static void gn_slice(const norm_back *j, int64_t frame, int64_t slice, float *table, bool sums,
                     float *keep)
{
    int c = j->s.c;
    int64_t row = slice * j->cut.rows, rows = j->s.hw - row;
    rows = rows < j->cut.rows ? rows : j->cut.rows;
    gn_rows g =
        gn_rows_at(j, (frame * j->s.hw + row) * c, rows, table, sums,
                   j->part + (frame * j->cut.slices + slice) * 2 * c, keep ? keep + row * c : NULL);
    gn_run(j->s.act, &g);
}

/* A whole frame stays in the L2 cache; dz, if not NULL, is kept there instead of being computed
 * twice. */
static void gn_frame(const norm_back *j, int64_t frame, float *dz, int worker)
{
    float *table = gn_table(j, frame, worker);
    for (int64_t i = 0; i < j->cut.slices; i++)
        gn_slice(j, frame, i, table, true, dz);
    gn_means(j, frame, table, table + (int64_t)TABLE_K1 * j->s.c);
    if (!j->dx)
        return;
    gn_rows g = gn_rows_at(j, frame * j->s.hw * j->s.c, j->s.hw, table, false, NULL, NULL);
    if (dz) {
        g.dy = dz;
        gn_kept(&g);
    } else {
        gn_run(j->s.act, &g);
    }
}

static void gn_frames_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const norm_back *j = ctx;
    int64_t size = (int64_t)j->s.hw * j->s.c;
    float *dz = NULL;
    if (j->dx && j->s.act != RLM_ACT_NONE)
        dz = rlm_par_scratch(j->par, worker, 1, (size_t)size * sizeof(float));
    for (int64_t frame = begin; frame < end; frame++)
        gn_frame(j, frame, dz, worker);
    v_far_end(j->far);
}

static void gn_sums_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const norm_back *j = ctx;
    float *table = NULL;
    for (int64_t i = begin; i < end; i++) {
        if (!table || i % j->cut.slices == 0)
            table = gn_table(j, i / j->cut.slices, worker);
        gn_slice(j, i / j->cut.slices, i % j->cut.slices, table, true, NULL);
    }
}

/* Sums of a frame's slices -> its k1, k2, in place of its first slice's sums. */
static void gn_means_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const norm_back *j = ctx;
    for (int64_t frame = begin; frame < end; frame++)
        gn_means(j, frame, gn_table(j, frame, worker),
                 j->part + frame * j->cut.slices * 2 * j->s.c);
}

static void gn_dx_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const norm_back *j = ctx;
    float *table = NULL;
    int c = j->s.c;
    for (int64_t i = begin; i < end; i++) {
        int64_t frame = i / j->cut.slices;
        if (!table || i % j->cut.slices == 0) {
            table = gn_table(j, frame, worker);
            memcpy(table + (int64_t)TABLE_K1 * c, j->part + frame * j->cut.slices * 2 * c,
                   (size_t)c * 2 * sizeof(float));
        }
        gn_slice(j, frame, i % j->cut.slices, table, false, NULL);
    }
    v_far_end(j->far);
}

void V_NAME(norm_back)(norm_back *j, float *dgain, float *dbias)
{
    const rlm_groupnorm_shape *s = &j->s;
    j->cut = norm_cut_of(j->par, s, 2);
    int64_t c = s->c, slices = s->frames * j->cut.slices;
    if (slices <= 0)
        return;
    j->far = !j->add && !j->half_x && v_is_far(j->dx, (int64_t)s->frames * s->hw * c, c);
    j->part = rlm_par_scratch(j->par, 0, 3, (size_t)slices * (size_t)c * 2 * sizeof(float));
    if (j->cut.by_frame)
        rlm_par_for(j->par, s->frames, v_row_grain(s->hw * c), gn_frames_fn, j);
    else
        rlm_par_for(j->par, slices, 2, gn_sums_fn, j);
    sum_parts(j->par, slices, 2 * c, j->part, s->c, dbias);
    sum_parts(j->par, slices, 2 * c, j->part + c, s->c, dgain);
    if (j->dx && !j->cut.by_frame) {
        rlm_par_for(j->par, s->frames, 1, gn_means_fn, j);
        rlm_par_for(j->par, slices, 2, gn_dx_fn, j);
    }
}

#ifndef RLM_BF16
static void groupnorm_backward(rlm_par *par, const rlm_groupnorm_shape *s, const float *x,
                               const float *gain, const float *bias, const float *stats,
                               const float *dy, float *dx, float *dgain, float *dbias, bool add)
{
    norm_back j = {.s = *s,
                   .add = add,
                   .par = par,
                   .x = x,
                   .gain = gain,
                   .bias = bias,
                   .stats = stats,
                   .dy = dy,
                   .dx = dx};
    V_NAME(norm_back)(&j, dgain, dbias);
}

void V_NAME(norm_backward)(rlm_kernels *k)
{
    k->rmsnorm_backward = rmsnorm_backward;
    k->groupnorm_backward = groupnorm_backward;
}
#endif
