/* AVX-512: gradients of RMS norm and group norm. Gains' gradients are summed per fixed slice and
 * then in slice order: the same for any number of threads. */
#include "src/kernels/avx512_norm.h"

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
    for (int64_t i = begin; i < end; i += 16) {
        __mmask16 m = v_tail(end - i);
        __m512d lo = _mm512_setzero_pd(), hi = lo;
        for (int64_t p = 0; p < j.parts; p++) {
            __m512 v = v_load(j.part + p * j.stride + i, m);
            lo = _mm512_add_pd(lo, _mm512_cvtps_pd(_mm512_castps512_ps256(v)));
            hi = _mm512_add_pd(hi, _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)));
        }
        __m512 sum =
            _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(lo)), _mm512_cvtpd_ps(hi), 1);
        v_store(j.out + i, m, _mm512_add_ps(v_load(j.out + i, m), sum));
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
    __m512 rstd = v_set(j->rstd[r]), dot = _mm512_setzero_ps();
    for (int i = 0; i < j->c; i += 16) {
        __mmask16 m = v_tail(j->c - i);
        __m512 g = _mm512_mul_ps(v_load(dy + i, m), _mm512_mul_ps(v_load(x + i, m), rstd));
        if (part)
            v_store(part + i, m, _mm512_add_ps(v_load(part + i, m), g));
        dot = j->gain ? _mm512_fmadd_ps(g, v_load(j->gain + i, m), dot) : _mm512_add_ps(dot, g);
    }
    if (!j->dx)
        return;
    float *dx = j->dx + r * j->c;
    __m512 mean = v_set(_mm512_reduce_add_ps(dot) / (float)j->c * j->rstd[r]);
    for (int i = 0; i < j->c; i += 16) {
        __mmask16 m = v_tail(j->c - i);
        __m512 g = v_load(dy + i, m);
        if (j->gain)
            g = _mm512_mul_ps(g, v_load(j->gain + i, m));
        g = _mm512_fnmadd_ps(v_load(x + i, m), mean, g);
        v_store(dx + i, m, _mm512_fmadd_ps(g, rstd, v_load(dx + i, m)));
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

/* ---- Group norm ---------------------------------------------------------------------------- */

typedef struct gn_job {
    rlm_groupnorm_shape s;
    norm_cut cut;
    rlm_par *par;
    const float *x, *gain, *bias, *stats, *dy;
    float *dx;
    float *part; /* [frames][slices][2][c] = sums over rows of dz, dz * xhat */
} gn_job;

/* dz = dy * act'(xhat gain + bias) at lanes m of channel i. */
RLM_INLINE __m512 gn_dz(rlm_act act, const float *table, int c, int i, __mmask16 m, __m512 xhat,
                        __m512 dy)
{
    if (act == RLM_ACT_NONE)
        return dy;
    __m512 z = _mm512_fmadd_ps(xhat, v_load(table + 2 * c + i, m), v_load(table + 3 * c + i, m));
    return _mm512_mul_ps(dy, v_dact(act, z));
}

RLM_INLINE __m512 gn_xhat(const float *table, int c, int i, __mmask16 m, __m512 x)
{
    return _mm512_mul_ps(_mm512_sub_ps(x, v_load(table + i, m)), v_load(table + c + i, m));
}

RLM_INLINE void sums_rows(rlm_act act, const float *x, const float *dy, int64_t rows, int c,
                          const float *table, float *part)
{
    memset(part, 0, (size_t)c * 2 * sizeof(float));
    for (int64_t r = 0; r < rows; r++, x += c, dy += c) {
        for (int i = 0; i < c; i += 16) {
            __mmask16 m = v_tail(c - i);
            __m512 xhat = gn_xhat(table, c, i, m, v_load(x + i, m));
            __m512 dz = gn_dz(act, table, c, i, m, xhat, v_load(dy + i, m));
            v_store(part + i, m, _mm512_add_ps(v_load(part + i, m), dz));
            v_store(part + c + i, m, _mm512_fmadd_ps(dz, xhat, v_load(part + c + i, m)));
        }
    }
}

/* dx += dz * k0 - k1 - xhat * k2, with k0 = rstd gain, k1 = rstd mean(dz gain),
 * k2 = rstd mean(dz gain xhat) per channel at table[4c ..]. */
RLM_INLINE void dx_rows(rlm_act act, const float *x, const float *dy, float *dx, int64_t rows,
                        int c, const float *table)
{
    const float *k = table + 4 * c;
    for (int64_t r = 0; r < rows; r++, x += c, dy += c, dx += c) {
        for (int i = 0; i < c; i += 16) {
            __mmask16 m = v_tail(c - i);
            __m512 xhat = gn_xhat(table, c, i, m, v_load(x + i, m));
            __m512 dz = gn_dz(act, table, c, i, m, xhat, v_load(dy + i, m));
            __m512 s = _mm512_sub_ps(v_load(dx + i, m), v_load(k + c + i, m));
            s = _mm512_fnmadd_ps(xhat, v_load(k + 2 * c + i, m), s);
            v_store(dx + i, m, _mm512_fmadd_ps(dz, v_load(k + i, m), s));
        }
    }
}

/* Sums (dx NULL) or dx of rows of a frame, specialised by activation. */
static void gn_rows(rlm_act act, const float *x, const float *dy, float *dx, int64_t rows, int c,
                    const float *table, float *part)
{
    switch (act) {
    case RLM_ACT_SILU:
        dx ? dx_rows(RLM_ACT_SILU, x, dy, dx, rows, c, table)
           : sums_rows(RLM_ACT_SILU, x, dy, rows, c, table, part);
        break;
    case RLM_ACT_ELU:
        dx ? dx_rows(RLM_ACT_ELU, x, dy, dx, rows, c, table)
           : sums_rows(RLM_ACT_ELU, x, dy, rows, c, table, part);
        break;
    case RLM_ACT_LEAKY:
        dx ? dx_rows(RLM_ACT_LEAKY, x, dy, dx, rows, c, table)
           : sums_rows(RLM_ACT_LEAKY, x, dy, rows, c, table, part);
        break;
    case RLM_ACT_GELU:
        dx ? dx_rows(RLM_ACT_GELU, x, dy, dx, rows, c, table)
           : sums_rows(RLM_ACT_GELU, x, dy, rows, c, table, part);
        break;
    case RLM_ACT_TANH:
        dx ? dx_rows(RLM_ACT_TANH, x, dy, dx, rows, c, table)
           : sums_rows(RLM_ACT_TANH, x, dy, rows, c, table, part);
        break;
    case RLM_ACT_RELU:
        dx ? dx_rows(RLM_ACT_RELU, x, dy, dx, rows, c, table)
           : sums_rows(RLM_ACT_RELU, x, dy, rows, c, table, part);
        break;
    case RLM_ACT_NONE:
        dx ? dx_rows(RLM_ACT_NONE, x, dy, dx, rows, c, table)
           : sums_rows(RLM_ACT_NONE, x, dy, rows, c, table, part);
        break;
    }
}

static float *gn_table(const gn_job *j, int64_t frame, int worker)
{
    float *table = rlm_par_scratch(j->par, worker, 0, (size_t)j->s.c * 7 * sizeof(float));
    norm_frame_table(&j->s, j->stats + frame * j->s.groups * 2, j->gain, j->bias, table);
    return table;
}

/* Fill k0, k1, k2 of a frame from its slices' sums. */
static void gn_means(const gn_job *j, int64_t frame, float *table)
{
    const rlm_groupnorm_shape *s = &j->s;
    int c = s->c, width = c / s->groups;
    float *k = table + 4 * c;
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
            k[i] = rstd[i] * gain[i];
            k[c + i] = (float)(rstd[i] * dz / count);
            k[2 * c + i] = (float)(rstd[i] * dzx / count);
        }
    }
}

/* One slice: sums or dx. */
static void gn_slice(const gn_job *j, int64_t frame, int64_t slice, const float *table, bool sums)
{
    int c = j->s.c;
    int64_t row = slice * j->cut.rows, at = (frame * j->s.hw + row) * c;
    int64_t rows = j->s.hw - row < j->cut.rows ? j->s.hw - row : j->cut.rows;
    gn_rows(j->s.act, j->x + at, j->dy + at, sums ? NULL : j->dx + at, rows, c, table,
            j->part + (frame * j->cut.slices + slice) * 2 * c);
}

static void gn_frames_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const gn_job *j = ctx;
    for (int64_t frame = begin; frame < end; frame++) {
        float *table = gn_table(j, frame, worker);
        for (int64_t i = 0; i < j->cut.slices; i++)
            gn_slice(j, frame, i, table, true);
        gn_means(j, frame, table);
        for (int64_t i = 0; j->dx && i < j->cut.slices; i++)
            gn_slice(j, frame, i, table, false);
    }
}

static void gn_sums_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const gn_job *j = ctx;
    const float *table = NULL;
    for (int64_t i = begin; i < end; i++) {
        if (!table || i % j->cut.slices == 0)
            table = gn_table(j, i / j->cut.slices, worker);
        gn_slice(j, i / j->cut.slices, i % j->cut.slices, table, true);
    }
}

static void gn_dx_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const gn_job *j = ctx;
    float *table = NULL;
    for (int64_t i = begin; i < end; i++) {
        if (!table || i % j->cut.slices == 0) {
            table = gn_table(j, i / j->cut.slices, worker);
            gn_means(j, i / j->cut.slices, table);
        }
        gn_slice(j, i / j->cut.slices, i % j->cut.slices, table, false);
    }
}

static void groupnorm_backward(rlm_par *par, const rlm_groupnorm_shape *s, const float *x,
                               const float *gain, const float *bias, const float *stats,
                               const float *dy, float *dx, float *dgain, float *dbias)
{
    gn_job j = {.s = *s,
                .par = par,
                .x = x,
                .gain = gain,
                .bias = bias,
                .stats = stats,
                .dy = dy,
                .dx = dx};
    j.cut = norm_cut_of(par, s, 2);
    int64_t slices = s->frames * j.cut.slices;
    if (slices <= 0)
        return;
    j.part = rlm_par_scratch(par, 0, 3, (size_t)slices * (size_t)s->c * 2 * sizeof(float));
    if (j.cut.by_frame) {
        rlm_par_for(par, s->frames, v_row_grain((int64_t)s->hw * s->c), gn_frames_fn, &j);
    } else {
        rlm_par_for(par, slices, 2, gn_sums_fn, &j);
        if (dx)
            rlm_par_for(par, slices, 2, gn_dx_fn, &j);
    }
    sum_parts(par, slices, 2 * (int64_t)s->c, j.part, s->c, dbias);
    sum_parts(par, slices, 2 * (int64_t)s->c, j.part + s->c, s->c, dgain);
}

void rlm_avx512_norm_backward(rlm_kernels *k)
{
    k->rmsnorm_backward = rmsnorm_backward;
    k->groupnorm_backward = groupnorm_backward;
}
