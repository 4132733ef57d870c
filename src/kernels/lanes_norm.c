/* Lanes: RMS norm and group norm (with its activation), forward. */
#include "src/kernels/lanes_norm.h"

/* ---- RMS norm ------------------------------------------------------------------------------ */

typedef struct rms_job {
    int c;
    float eps;
    const float *x, *gain;
    float *y, *rstd;
    bool far;
} rms_job;

static void rms_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rms_job j = *(const rms_job *)ctx;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        const float *x = j.x + r * j.c;
        float *y = j.y + r * j.c;
        v_f32 s0 = v_zero(), s1 = s0;
        int i = 0;
        for (; i + 2 * V_LANES <= j.c; i += 2 * V_LANES) {
            v_f32 a = v_read(x + i), b = v_read(x + i + V_LANES);
            s0 = v_fma(a, a, s0);
            s1 = v_fma(b, b, s1);
        }
        for (; i < j.c; i += V_LANES) {
            v_f32 a = v_load(x + i, v_tail(j.c - i));
            s0 = v_fma(a, a, s0);
        }
        float sum = v_sum(v_add(s0, s1));
        float rstd = (float)(1.0 / sqrt((double)sum / j.c + j.eps));
        v_f32 scale = v_set(rstd);
        for (i = 0; i < j.c; i += V_LANES) {
            v_mask m = v_tail(j.c - i);
            v_f32 v = v_mul(v_load(x + i, m), scale);
            if (j.gain)
                v = v_mul(v, v_load(j.gain + i, m));
            v_put(j.far, y + i, m, v);
        }
        if (j.rstd)
            j.rstd[r] = rstd;
    }
    v_far_end(j.far);
}

static void rmsnorm_forward(rlm_par *par, int64_t rows, int c, const float *x, const float *gain,
                            float eps, float *y, float *rstd)
{
    rms_job j = {c, eps, x, gain, y, rstd, v_is_far(y, rows * c, c)};
    rlm_par_for(par, rows, v_row_grain(c), rms_fn, &j);
}

/* ---- Group norm ---------------------------------------------------------------------------- */

typedef struct gn_job {
    rlm_groupnorm_shape s;
    norm_cut cut;
    rlm_par *par;
    const void *x;
    bool half; /* x is bf16: statistics only */
    const float *gain, *bias;
    float *y, *stats; /* stats never NULL here */
    double
        *partial; /* [frames][slices][groups][2] = sum, squared deviation from the slice's mean */
} gn_job;

/* Per-channel sums of (x - x[first row]) and its square over rows of one slice: work[2c]. The
 * shift keeps the variance of a channel with a large mean. */
RLM_INLINE void sums_block(bool half, int used, const void *x, int64_t rows, int c, int i,
                           float *work)
{
    v_mask m[4];
    v_f32 base[4], sum[4], square[4];
    for (int v = 0; v < used; v++) {
        m[v] = v_tail(c - i - v * V_LANES);
        base[v] = v_of(half, x, i + v * V_LANES, m[v]);
        sum[v] = square[v] = v_zero();
    }
    for (int64_t r = 0; r < rows; r++) {
        for (int v = 0; v < used; v++) {
            v_f32 d = v_sub(v_of(half, x, r * c + i + v * V_LANES, m[v]), base[v]);
            sum[v] = v_add(sum[v], d);
            square[v] = v_fma(d, d, square[v]);
        }
    }
    for (int v = 0; v < used; v++) {
        v_store(work + i + v * V_LANES, m[v], sum[v]);
        v_store(work + c + i + v * V_LANES, m[v], square[v]);
    }
}

RLM_INLINE void slice_sums(bool half, const void *x, int64_t rows, int c, float *work)
{
    int i = 0;
    for (; i + 4 * V_LANES <= c; i += 4 * V_LANES)
        sums_block(half, 4, x, rows, c, i, work);
    if (c - i > 3 * V_LANES)
        sums_block(half, 4, x, rows, c, i, work);
    else if (c - i > 2 * V_LANES)
        sums_block(half, 3, x, rows, c, i, work);
    else if (c - i > V_LANES)
        sums_block(half, 2, x, rows, c, i, work);
    else if (c - i > 0)
        sums_block(half, 1, x, rows, c, i, work);
}

static float first_of(const gn_job *j, const void *x, int i)
{
    return j->half ? rlm_unbf16(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

static void slice_stats(const gn_job *j, int64_t frame, int64_t slice, int worker)
{
    const rlm_groupnorm_shape *s = &j->s;
    int c = s->c, width = c / s->groups;
    int64_t row = slice * j->cut.rows, rows = s->hw - row < j->cut.rows ? s->hw - row : j->cut.rows;
    const void *x = v_at(j->half, j->x, (frame * s->hw + row) * c);
    float *work = rlm_par_scratch(j->par, worker, 0, (size_t)c * 4 * sizeof(float));
    double *out = j->partial + (frame * j->cut.slices + slice) * s->groups * 2;
    if (j->half)
        slice_sums(true, x, rows, c, work);
    else
        slice_sums(false, x, rows, c, work);
    for (int g = 0; g < s->groups; g++) {
        double sum = 0, dev = 0;
        for (int i = g * width; i < (g + 1) * width; i++)
            sum += work[i] + (double)rows * first_of(j, x, i);
        double mean = sum / ((double)rows * width);
        for (int i = g * width; i < (g + 1) * width; i++) {
            double d = mean - first_of(j, x, i);
            dev += work[c + i] - 2 * d * work[i] + (double)rows * d * d;
        }
        out[2 * g] = sum;
        out[2 * g + 1] = dev > 0 ? dev : 0;
    }
}

/* Slices of a frame -> mean and rstd (Chan's merge, in slice order). */
static void frame_stats(const gn_job *j, int64_t frame)
{
    const rlm_groupnorm_shape *s = &j->s;
    int width = s->c / s->groups;
    double count = (double)s->hw * width;
    const double *part = j->partial + frame * j->cut.slices * s->groups * 2;
    for (int g = 0; g < s->groups; g++) {
        double sum = 0, dev = 0;
        for (int64_t i = 0; i < j->cut.slices; i++)
            sum += part[(i * s->groups + g) * 2];
        double mean = sum / count;
        for (int64_t i = 0; i < j->cut.slices; i++) {
            int64_t row = i * j->cut.rows;
            int64_t rows = s->hw - row < j->cut.rows ? s->hw - row : j->cut.rows;
            double n = (double)rows * width, d = part[(i * s->groups + g) * 2] / n - mean;
            dev += part[(i * s->groups + g) * 2 + 1] + n * d * d;
        }
        float *stats = j->stats + (frame * s->groups + g) * 2;
        stats[0] = (float)mean;
        stats[1] = (float)(1.0 / sqrt(dev / count + s->eps));
    }
}

typedef struct apply_job {
    const float *x, *table;
    float *y;
    int64_t rows;
    int c;
} apply_job;

/* y = act((x - mean) * rstd * gain + bias); table as norm_frame_table, rstd already times gain. */
RLM_INLINE void apply_rows(rlm_act act, void *ctx)
{
    const apply_job *j = ctx;
    const float *x = j->x, *table = j->table;
    float *y = j->y;
    int64_t rows = j->rows;
    int c = j->c;
    for (int64_t r = 0; r < rows; r++, x += c, y += c) {
        int i = 0;
        for (; i + V_LANES <= c; i += V_LANES) {
            v_f32 d = v_sub(v_read(x + i), v_read(table + i));
            d = v_fma(d, v_read(table + c + i), v_read(table + 3 * c + i));
            v_write(y + i, v_act(act, d));
        }
        if (i < c) {
            v_mask m = v_tail(c - i);
            v_f32 d = v_sub(v_load(x + i, m), v_load(table + i, m));
            d = v_fma(d, v_load(table + c + i, m), v_load(table + 3 * c + i, m));
            v_store(y + i, m, v_act(act, d));
        }
    }
}

static void apply(const gn_job *j, int64_t frame, int64_t row, int64_t rows, const float *table)
{
    int64_t at = (frame * j->s.hw + row) * j->s.c;
    apply_job a = {
        .x = (const float *)j->x + at, .table = table, .y = j->y + at, .rows = rows, .c = j->s.c};
    v_by_act(j->s.act, apply_rows, &a);
}

static const float *forward_table(const gn_job *j, int64_t frame, int worker)
{
    int c = j->s.c;
    float *table = rlm_par_scratch(j->par, worker, 0, (size_t)c * 4 * sizeof(float));
    norm_frame_table(&j->s, j->stats + frame * j->s.groups * 2, j->gain, j->bias, table);
    for (int i = 0; i < c; i++)
        table[c + i] *= table[2 * c + i];
    return table;
}

static void gn_frames_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const gn_job *j = ctx;
    for (int64_t frame = begin; frame < end; frame++) {
        for (int64_t i = 0; i < j->cut.slices; i++)
            slice_stats(j, frame, i, worker);
        frame_stats(j, frame);
        if (j->y)
            apply(j, frame, 0, j->s.hw, forward_table(j, frame, worker));
    }
}

static void gn_stats_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const gn_job *j = ctx;
    for (int64_t i = begin; i < end; i++)
        slice_stats(j, i / j->cut.slices, i % j->cut.slices, worker);
}

static void gn_apply_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const gn_job *j = ctx;
    const float *table = NULL;
    for (int64_t i = begin; i < end; i++) {
        int64_t frame = i / j->cut.slices, row = i % j->cut.slices * j->cut.rows;
        if (!table || i % j->cut.slices == 0)
            table = forward_table(j, frame, worker);
        apply(j, frame, row, j->s.hw - row < j->cut.rows ? j->s.hw - row : j->cut.rows, table);
    }
}

/* j.stats may be NULL. */
static void forward(gn_job j)
{
    rlm_par *par = j.par;
    const rlm_groupnorm_shape *s = &j.s;
    float *stats = j.stats, *y = j.y;
    int64_t frame_cost = (int64_t)s->hw * s->c;
    j.cut = norm_cut_of(par, s, 1);
    size_t doubles = (size_t)s->frames * (size_t)j.cut.slices * (size_t)s->groups * 2;
    size_t floats = stats ? 0 : (size_t)s->frames * (size_t)s->groups * 2;
    j.partial =
        rlm_par_scratch(par, 0, 3, doubles * sizeof(double) + (floats + 16) * sizeof(float));
    if (!stats)
        j.stats = (float *)(j.partial + doubles);
    if (j.cut.by_frame) {
        rlm_par_for(par, s->frames, v_row_grain(frame_cost), gn_frames_fn, &j);
        return;
    }
    rlm_par_for(par, s->frames * j.cut.slices, 1, gn_stats_fn, &j);
    for (int64_t frame = 0; frame < s->frames; frame++)
        frame_stats(&j, frame);
    if (y)
        rlm_par_for(par, s->frames * j.cut.slices, 2, gn_apply_fn, &j);
}

static void groupnorm_forward(rlm_par *par, const rlm_groupnorm_shape *s, const float *x,
                              const float *gain, const float *bias, float *y, float *stats)
{
    forward(
        (gn_job){.s = *s, .par = par, .x = x, .gain = gain, .bias = bias, .y = y, .stats = stats});
}

#if RLM_LANES == 16
void rlm_avx512_norm_stats(rlm_par *par, const rlm_groupnorm_shape *s, bool half, const void *x,
                           float *stats)
{
    forward((gn_job){.s = *s, .par = par, .x = x, .half = half, .stats = stats});
}
#endif

void V_NAME(norm)(rlm_kernels *k)
{
    k->rmsnorm_forward = rmsnorm_forward;
    k->groupnorm_forward = groupnorm_forward;
}
