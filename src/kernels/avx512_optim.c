/* AVX-512: what only a training step needs: cross-entropy, reconstruction loss, AdamW, norms of
 * gradients. Sums are taken per fixed slice and in slice order: the same for any threads. */
#include "src/kernels/avx512.h"

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
    __m512 top = v_set(-INFINITY);
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = v_tail(n - i);
        top = _mm512_mask_max_ps(top, m, top, v_load(x + i, m));
    }
    return _mm512_reduce_max_ps(top);
}

/* Sum of e^(x - max); the terms go to out unless NULL. */
static double row_exp(const float *x, int n, float max, float *out)
{
    __m512 sum = _mm512_setzero_ps(), sub = v_set(max);
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = v_tail(n - i);
        __m512 e = _mm512_maskz_mov_ps(m, v_exp(_mm512_sub_ps(v_load(x + i, m), sub)));
        sum = _mm512_add_ps(sum, e);
        if (out)
            v_store(out + i, m, e);
    }
    return _mm512_reduce_add_ps(sum);
}

static void entropy_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const entropy_job j = *(const entropy_job *)ctx;
    (void)worker;
    unsigned csr = v_flush_begin();
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
        __m512 k = v_set((float)(j.scale * (1 + 2 * j.zloss * logz) / sum));
        for (int i = 0; i < j.classes; i += 16) {
            __mmask16 m = v_tail(j.classes - i);
            v_store(dx + i, m, _mm512_mul_ps(v_load(dx + i, m), k));
        }
        dx[target] -= j.scale;
    }
    v_flush_end(csr);
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

RLM_INLINE void adamw_at(const adamw_job *j, int64_t i, __mmask16 k)
{
    __m512 g = _mm512_mul_ps(v_load(j->g + i, k), v_set(j->grad_scale));
    __m512 m =
        _mm512_fmadd_ps(v_load(j->m + i, k), v_set(j->beta1), _mm512_mul_ps(g, v_set(j->rest1)));
    __m512 v = _mm512_fmadd_ps(v_load(j->v + i, k), v_set(j->beta2),
                               _mm512_mul_ps(_mm512_mul_ps(g, g), v_set(j->rest2)));
    __m512 p = v_load(j->p + i, k);
    __m512 den = _mm512_fmadd_ps(_mm512_sqrt_ps(v), v_set(j->root), v_set(j->eps));
    __m512 d =
        _mm512_fmadd_ps(p, v_set(j->decay), _mm512_div_ps(_mm512_mul_ps(m, v_set(j->step)), den));
    p = _mm512_sub_ps(p, d);
    v_store(j->m + i, k, m);
    v_store(j->v + i, k, v);
    v_store(j->p + i, k, p);
    if (j->e) {
        __m512 e = _mm512_mul_ps(v_load(j->e + i, k), v_set(j->ema));
        v_store(j->e + i, k, _mm512_fmadd_ps(p, v_set(j->ema_rest), e));
    }
}

static void adamw_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const adamw_job j = *(const adamw_job *)ctx;
    int64_t i = begin;
    (void)worker;
    unsigned csr = v_flush_begin();
    for (; i + 16 <= end; i += 16)
        adamw_at(&j, i, 0xffff);
    if (i < end)
        adamw_at(&j, i, v_tail(end - i));
    v_flush_end(csr);
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
    __m512 mu = v_set(j.e.alpha), s = v_set(j.beta);
    (void)worker;
    unsigned csr = v_flush_begin();
    for (int64_t i = begin; i < end; i += 16) {
        __mmask16 k = v_tail(end - i);
        __m512 g = _mm512_mul_ps(v_load(j.e.a + i, k), s);
        __m512 m = _mm512_fmadd_ps(v_load(j.e.x + i, k), mu, g);
        v_store(j.e.x + i, k, m);
        v_store(j.e.y + i, k, _mm512_fmadd_ps(m, mu, g));
    }
    v_flush_end(csr);
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
    __m512 keep = v_set(j.e.alpha), step = v_set(j.beta);
    __m512 ema = v_set(j.ema), rest = v_set((float)(1.0 - j.ema));
    (void)worker;
    for (int64_t i = begin; i < end; i += 16) {
        __mmask16 k = v_tail(end - i), some = j.e.a ? k : 0;
        __m512 p = _mm512_mul_ps(v_load(j.e.x + i, k), keep);
        p = _mm512_fmadd_ps(v_load(j.e.a + i, some), step, p);
        v_store(j.e.x + i, k, p);
        if (j.e.y) {
            __m512 e = _mm512_mul_ps(v_load(j.e.y + i, k), ema);
            v_store(j.e.y + i, k, _mm512_fmadd_ps(p, rest, e));
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

RLM_INLINE void add_doubles(__m512d acc[2], __m512 v)
{
    acc[0] = _mm512_add_pd(acc[0], _mm512_cvtps_pd(_mm512_castps512_ps256(v)));
    acc[1] = _mm512_add_pd(acc[1], _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)));
}

static void sumsq_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const sum_job j = *(const sum_job *)ctx;
    (void)worker;
    for (int64_t s = begin; s < end; s++) {
        int64_t last = (s + 1) * SUM_SLICE < j.n ? (s + 1) * SUM_SLICE : j.n;
        __m512d a = _mm512_setzero_pd(), b = a;
        for (int64_t i = s * SUM_SLICE; i < last; i += 16) {
            __m512 v = v_load(j.x + i, v_tail(last - i));
            __m512d lo = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
            __m512d hi = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
            a = _mm512_fmadd_pd(lo, lo, a);
            b = _mm512_fmadd_pd(hi, hi, b);
        }
        j.sum[s] = _mm512_reduce_add_pd(_mm512_add_pd(a, b));
    }
}

static void recon_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const sum_job j = *(const sum_job *)ctx;
    __m512 k = v_set((float)(j.scale / (double)j.n * (j.kind == 1 ? 1 : 2)));
    (void)worker;
    for (int64_t s = begin; s < end; s++) {
        int64_t last = (s + 1) * SUM_SLICE < j.n ? (s + 1) * SUM_SLICE : j.n;
        __m512d acc[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
        for (int64_t i = s * SUM_SLICE; i < last; i += 16) {
            __mmask16 m = v_tail(last - i);
            __m512 d = _mm512_sub_ps(v_load(j.x + i, m), v_load(j.target + i, m));
            __m512 value = _mm512_mul_ps(d, d);
            if (j.kind == 1) {
                value = _mm512_maskz_sqrt_ps(m, _mm512_add_ps(value, v_set(1e-6f)));
                d = _mm512_maskz_div_ps(m, d, value);
            }
            add_doubles(acc, value);
            if (j.dx)
                v_store(j.dx + i, m, _mm512_fmadd_ps(d, k, v_load(j.dx + i, m)));
        }
        j.sum[s] = _mm512_reduce_add_pd(_mm512_add_pd(acc[0], acc[1]));
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

void rlm_avx512_optim(rlm_kernels *k)
{
    k->cross_entropy = cross_entropy;
    k->adamw = adamw;
    k->muon_moment = muon_moment;
    k->muon_apply = muon_apply;
    k->sumsq = sumsq;
    k->recon = recon;
}
