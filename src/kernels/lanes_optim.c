/* Lanes: what only a training step needs: cross-entropy, reconstruction loss, AdamW, norms of
 * gradients. Sums are taken per fixed slice and in slice order: the same for any threads. */
#include "src/kernels/lanes.h"

/* ---- Cross-entropy ------------------------------------------------------------------------- */

typedef struct entropy_job {
    int classes;
    const float *logits;
    const int32_t *target;
    float zloss, scale;
    float *loss, *dlogits;
} entropy_job;

static float row_max(const float *x, int n)
{
    v_f32 top = v_set(-INFINITY);
    for (int i = 0; i < n; i += V_LANES) {
        v_mask m = v_tail(n - i);
        top = v_only(m, top, v_max(top, v_load(x + i, m)));
    }
    return v_most(top);
}

/* Sum of e^(x - max); the terms go to out unless NULL. */
static double row_exp(const float *x, int n, float max, float *out)
{
    v_f32 sum = v_zero(), sub = v_set(max);
    for (int i = 0; i < n; i += V_LANES) {
        v_mask m = v_tail(n - i);
        v_f32 e = v_keep(m, v_exp(v_sub(v_load(x + i, m), sub)));
        sum = v_add(sum, e);
        if (out)
            v_store(out + i, m, e);
    }
    return v_sum(sum);
}

static void entropy_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const entropy_job j = *(const entropy_job *)ctx;
    (void)worker;
    unsigned csr = rlm_flush_begin();
    for (int64_t r = begin; r < end; r++) {
        const float *x = j.logits + r * j.classes;
        float *dx = j.dlogits ? j.dlogits + r * j.classes : NULL;
        int32_t target = j.target[r];
        if (target < 0) {
            if (dx)
                memset(dx, 0, (size_t)j.classes * sizeof(float));
            if (j.loss)
                j.loss[r] = 0;
            continue;
        }
        float max = row_max(x, j.classes), hit = x[target];
        double sum = row_exp(x, j.classes, max, dx), logz = max + log(sum);
        if (j.loss)
            j.loss[r] = (float)(logz - hit + j.zloss * logz * logz);
        if (!dx)
            continue;
        v_f32 k = v_set((float)(j.scale * (1 + 2 * j.zloss * logz) / sum));
        for (int i = 0; i < j.classes; i += V_LANES) {
            v_mask m = v_tail(j.classes - i);
            v_store(dx + i, m, v_mul(v_load(dx + i, m), k));
        }
        dx[target] -= j.scale;
    }
    rlm_flush_end(csr);
}

static void cross_entropy(rlm_par *par, int64_t rows, int classes, const float *logits,
                          const int32_t *target, float zloss, float scale, float *loss,
                          float *dlogits)
{
    entropy_job j = {classes, logits, target, zloss, scale, loss, dlogits};
    rlm_par_for(par, rows, v_row_grain(2 * (int64_t)classes), entropy_fn, &j);
}

/* ---- AdamW --------------------------------------------------------------------------------- */

typedef struct adamw_job {
    float beta1, rest1, beta2, rest2, grad_scale;
    float step, root, eps; /* p -= step * m / (sqrt(v) * root + eps) + decay * p */
    float decay, ema, ema_rest;
    float *p, *m, *v, *e;
    const float *g;
} adamw_job;

RLM_INLINE void adamw_at(const adamw_job *j, int64_t i, v_mask k)
{
    v_f32 g = v_mul(v_load(j->g + i, k), v_set(j->grad_scale));
    v_f32 m = v_fma(v_load(j->m + i, k), v_set(j->beta1), v_mul(g, v_set(j->rest1)));
    v_f32 v = v_fma(v_load(j->v + i, k), v_set(j->beta2), v_mul(v_mul(g, g), v_set(j->rest2)));
    v_f32 p = v_load(j->p + i, k);
    v_f32 den = v_fma(v_sqrt(v), v_set(j->root), v_set(j->eps));
    v_f32 d = v_fma(p, v_set(j->decay), v_div(v_mul(m, v_set(j->step)), den));
    p = v_sub(p, d);
    v_store(j->m + i, k, m);
    v_store(j->v + i, k, v);
    v_store(j->p + i, k, p);
    if (j->e) {
        v_f32 e = v_mul(v_load(j->e + i, k), v_set(j->ema));
        v_store(j->e + i, k, v_fma(p, v_set(j->ema_rest), e));
    }
}

static void adamw_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const adamw_job j = *(const adamw_job *)ctx;
    int64_t i = begin;
    (void)worker;
    unsigned csr = rlm_flush_begin();
    for (; i + V_LANES <= end; i += V_LANES)
        adamw_at(&j, i, V_ALL);
    if (i < end)
        adamw_at(&j, i, v_tail(end - i));
    rlm_flush_end(csr);
}

static void adamw(rlm_par *par, const rlm_adamw *o, int64_t n, float *p, const float *g, float *m,
                  float *v, float *ema_p)
{
    double fix1 = 1.0 - pow(o->beta1, (double)o->step), fix2 = 1.0 - pow(o->beta2, (double)o->step);
    adamw_job j = {.beta1 = o->beta1,
                   .rest1 = (float)(1.0 - o->beta1),
                   .beta2 = o->beta2,
                   .rest2 = (float)(1.0 - o->beta2),
                   .grad_scale = o->grad_scale,
                   .step = (float)(o->lr / fix1),
                   .root = (float)(1.0 / sqrt(fix2)),
                   .eps = o->eps,
                   .decay = o->lr * o->weight_decay,
                   .ema = o->ema,
                   .ema_rest = (float)(1.0 - o->ema),
                   .p = p,
                   .m = m,
                   .v = v,
                   .e = o->ema > 0 ? ema_p : NULL,
                   .g = g};
    rlm_par_for(par, n, RLM_GRAIN / 4, adamw_fn, &j);
}

/* ---- Muon ---------------------------------------------------------------------------------- */

/* a = g or update; x, y = m, x or p, ema_p; alpha, beta = momentum, grad_scale or keep, step. */
typedef struct muon_job {
    v_args e;
    float beta, ema;
} muon_job;

static void moment_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const muon_job j = *(const muon_job *)ctx;
    v_f32 mu = v_set(j.e.alpha), s = v_set(j.beta);
    (void)worker;
    unsigned csr = rlm_flush_begin();
    for (int64_t i = begin; i < end; i += V_LANES) {
        v_mask k = v_tail(end - i);
        v_f32 g = v_mul(v_load(j.e.a + i, k), s);
        v_f32 m = v_fma(v_load(j.e.x + i, k), mu, g);
        v_store(j.e.x + i, k, m);
        v_store(j.e.y + i, k, v_fma(m, mu, g));
    }
    rlm_flush_end(csr);
}

static void muon_moment(rlm_par *par, int64_t n, float momentum, float grad_scale, const float *g,
                        float *m, float *x)
{
    muon_job j = {{.a = g, .x = m, .y = x, .alpha = momentum}, grad_scale, 0};
    rlm_par_for(par, n, RLM_GRAIN / 4, moment_fn, &j);
}

static void apply_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const muon_job j = *(const muon_job *)ctx;
    v_f32 keep = v_set(j.e.alpha), step = v_set(j.beta);
    v_f32 ema = v_set(j.ema), rest = v_set((float)(1.0 - j.ema));
    (void)worker;
    for (int64_t i = begin; i < end; i += V_LANES) {
        v_mask k = v_tail(end - i), some = j.e.a ? k : 0;
        v_f32 p = v_mul(v_load(j.e.x + i, k), keep);
        p = v_fma(v_load(j.e.a + i, some), step, p);
        v_store(j.e.x + i, k, p);
        if (j.e.y) {
            v_f32 e = v_mul(v_load(j.e.y + i, k), ema);
            v_store(j.e.y + i, k, v_fma(p, rest, e));
        }
    }
}

static void muon_apply(rlm_par *par, int64_t n, float keep, float step, float ema,
                       const float *update, float *p, float *ema_p)
{
    muon_job j = {{.a = update, .x = p, .y = ema_p, .alpha = keep}, step, ema};
    rlm_par_for(par, n, RLM_GRAIN / 4, apply_fn, &j);
}

/* ---- Sums ---------------------------------------------------------------------------------- */

#define SUM_SLICE 65536

typedef struct sum_job {
    int kind;
    int64_t n;
    float scale;
    const float *x, *target;
    float *dx;
    double *sum; /* [slices] */
} sum_job;

static void sumsq_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const sum_job j = *(const sum_job *)ctx;
    (void)worker;
    for (int64_t s = begin; s < end; s++) {
        int64_t last = (s + 1) * SUM_SLICE < j.n ? (s + 1) * SUM_SLICE : j.n;
        v_double sum = v_double_zero();
        for (int64_t i = s * SUM_SLICE; i < last; i += V_LANES) {
            v_double v = v_double_of(v_load(j.x + i, v_tail(last - i)));
            sum = v_double_fma(v, v, sum);
        }
        j.sum[s] = v_double_sum(sum);
    }
}

static void recon_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const sum_job j = *(const sum_job *)ctx;
    v_f32 k = v_set((float)(j.scale / (double)j.n * (j.kind == 1 ? 1 : 2)));
    (void)worker;
    for (int64_t s = begin; s < end; s++) {
        int64_t last = (s + 1) * SUM_SLICE < j.n ? (s + 1) * SUM_SLICE : j.n;
        v_double sum = v_double_zero();
        for (int64_t i = s * SUM_SLICE; i < last; i += V_LANES) {
            v_mask m = v_tail(last - i);
            v_f32 d = v_sub(v_load(j.x + i, m), v_load(j.target + i, m));
            v_f32 value = v_mul(d, d);
            if (j.kind == 1) {
                value = v_keep(m, v_sqrt(v_add(value, v_set(1e-6f))));
                d = v_keep(m, v_div(d, value));
            }
            sum = v_double_add(sum, v_double_of(value));
            if (j.dx)
                v_store(j.dx + i, m, v_fma(d, k, v_load(j.dx + i, m)));
        }
        j.sum[s] = v_double_sum(sum);
    }
}

static double sum_slices(rlm_par *par, sum_job *j, rlm_par_fn fn)
{
    int64_t slices = (j->n + SUM_SLICE - 1) / SUM_SLICE;
    double sum = 0;
    if (slices <= 0)
        return 0;
    j->sum = rlm_par_scratch(par, 0, 3, (size_t)slices * sizeof(double));
    rlm_par_for(par, slices, 1, fn, j);
    for (int64_t i = 0; i < slices; i++)
        sum += j->sum[i];
    return sum;
}

static double sumsq(rlm_par *par, int64_t n, const float *x)
{
    sum_job j = {.n = n, .x = x};
    return sum_slices(par, &j, sumsq_fn);
}

static double recon(rlm_par *par, int kind, int64_t n, const float *x, const float *target,
                    float scale, float *dx)
{
    sum_job j = {.kind = kind, .n = n, .scale = scale, .x = x, .target = target, .dx = dx};
    return n > 0 ? sum_slices(par, &j, recon_fn) / (double)n : 0;
}

void V_NAME(optim)(rlm_kernels *k)
{
    k->cross_entropy = cross_entropy;
    k->adamw = adamw;
    k->muon_moment = muon_moment;
    k->muon_apply = muon_apply;
    k->sumsq = sumsq;
    k->recon = recon;
}
