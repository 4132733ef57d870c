/* Definition of the training kernels, part 2: gradients of rearrangements and sequences, losses
 * and the optimiser. */
#include "src/kernels/ref_kernels.h"

#include <assert.h>

#include "src/kernels/ref_haar.h"

/* ---- Rearrangement ------------------------------------------------------------------------- */

typedef struct upsample_job {
    const rlm_shuffle_shape *s;
    const float *dy;
    float *dx;
} upsample_job;

static void upsample_positions(void *ctx, int64_t begin, int64_t end, int worker)
{
    const upsample_job *j = ctx;
    const rlm_shuffle_shape *s = j->s;
    int64_t frames = (int64_t)s->t * s->ft - s->drop;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        int w = (int)(item % s->w), h = (int)(item / s->w % s->h);
        int t = (int)(item / s->w / s->h % s->t);
        int64_t n = item / s->w / s->h / s->t;
        for (int i = 0; i < s->c; i++) {
            double sum = 0;
            for (int tap = 0; tap < s->ft * s->fh * s->fw; tap++) {
                int frame = t * s->ft + tap / s->fw / s->fh - s->drop;
                int64_t row = (n * frames + frame) * s->h * s->fh + h * s->fh;
                row += tap / s->fw % s->fh;
                if (frame >= 0)
                    sum += j->dy[((row * s->w + w) * s->fw + tap % s->fw) * s->c + i];
            }
            j->dx[item * s->c + i] += (float)sum;
        }
    }
}

static void upsample_backward(rlm_par *par, const rlm_shuffle_shape *s, const float *dy, float *dx)
{
    upsample_job j = {s, dy, dx};
    rlm_par_for(par, (int64_t)s->n * s->t * s->h * s->w, 64, upsample_positions, &j);
}

static void haar_forward_adjoint(rlm_par *par, const rlm_haar_shape *s, const float *in, float *out,
                                 bool add)
{
    ref_haar(par, s, in, out, REF_HAAR_FORWARD, add, ref_haar_to_pixels);
}

static void haar_inverse_adjoint(rlm_par *par, const rlm_haar_shape *s, const float *in, float *out,
                                 bool add)
{
    ref_haar(par, s, in, out, REF_HAAR_INVERSE, add, ref_haar_to_cells);
}

/* ---- Sequences ----------------------------------------------------------------------------- */

typedef struct embedding_job {
    int64_t rows;
    int c;
    const int32_t *ids;
    const float *dy;
    float *dtable;
} embedding_job;

/* One item = one block of columns, so that rows with the same id never meet in two threads. */
static void embedding_blocks(void *ctx, int64_t begin, int64_t end, int worker)
{
    const embedding_job *j = ctx;
    (void)worker;
    for (int64_t block = begin; block < end; block++) {
        int first = (int)block * 16, width = ref_min(16, j->c - first);
        for (int64_t row = 0; row < j->rows; row++) {
            float *out = j->dtable + (int64_t)j->ids[row] * j->c + first;
            for (int i = 0; i < width && j->ids[row] >= 0; i++)
                out[i] += j->dy[row * j->c + first + i];
        }
    }
}

static void embedding_backward(rlm_par *par, int64_t rows, int c, const int32_t *ids,
                               const float *dy, float *dtable)
{
    embedding_job j = {rows, c, ids, dy, dtable};
    rlm_par_for(par, (c + 15) / 16, 1, embedding_blocks, &j);
}

typedef struct rope_job {
    const rlm_rope_shape *s;
    const float *x, *gain, *angle, *rstd, *dy;
    float *dx, *dgain;
} rope_job;

/* Gradient before the rotation, of pair i of a head: out[0] of column i, out[1] of i + dim/2. */
static void rope_turn(const rope_job *j, int64_t row, int64_t at, int i, double out[2])
{
    int half = j->s->dim / 2;
    double angle = j->angle[row * half + i], a = j->dy[at + i], b = j->dy[at + i + half];
    out[0] = a * cos(angle) + b * sin(angle);
    out[1] = b * cos(angle) - a * sin(angle);
}

static void rope_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rope_job *j = ctx;
    const rlm_rope_shape *s = j->s;
    int half = s->dim / 2;
    (void)worker;
    for (int64_t item = begin * s->heads; item < end * s->heads; item++) {
        int64_t row = item / s->heads, at = row * s->stride + s->from + item % s->heads * s->dim;
        double g[REF_DIM] = {0}, mean = 0, r = j->rstd[item];
        for (int i = 0; i < half; i++) {
            double turned[2];
            rope_turn(j, row, at, i, turned);
            g[i] = turned[0] * (j->gain ? j->gain[i] : 1.0f);
            g[i + half] = turned[1] * (j->gain ? j->gain[i + half] : 1.0f);
        }
        for (int i = 0; i < s->dim; i++)
            mean += g[i] * j->x[at + i] / s->dim;
        for (int i = 0; i < s->dim; i++)
            j->dx[at + i] += (float)(r * (g[i] - j->x[at + i] * r * r * mean));
    }
}

static void rope_gain(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rope_job *j = ctx;
    const rlm_rope_shape *s = j->s;
    int half = s->dim / 2;
    (void)worker;
    for (int i = (int)begin; i < end; i++) {
        double low = 0, high = 0;
        for (int64_t item = 0; item < s->rows * s->heads; item++) {
            int64_t row = item / s->heads;
            int64_t at = row * s->stride + s->from + item % s->heads * s->dim;
            double turned[2];
            rope_turn(j, row, at, i, turned);
            low += turned[0] * j->x[at + i] * j->rstd[item];
            high += turned[1] * j->x[at + i + half] * j->rstd[item];
        }
        j->dgain[i] += (float)low;
        j->dgain[i + half] += (float)high;
    }
}

static void rope_backward(rlm_par *par, const rlm_rope_shape *s, const float *x, const float *gain,
                          const float *angle, const float *rstd, const float *dy, float *dx,
                          float *dgain)
{
    rope_job j = {s, x, gain, angle, rstd, dy, dx, dgain};
    assert(s->dim <= REF_DIM);
    if (dx)
        rlm_par_for(par, s->rows, 4, rope_rows, &j);
    if (dgain)
        rlm_par_for(par, s->dim / 2, 1, rope_gain, &j);
}

typedef struct attention_job {
    const rlm_attention_shape *s;
    const float *qkv, *y, *lse, *dy;
    float *dqkv;
    bool add;
} attention_job;

/* Where the rows of one (batch, head) start, and how far apart they are. */
typedef struct attention_head {
    const float *q, *k, *v, *y, *dy, *lse;
    float *dq, *dk, *dv;
    int64_t in, out;
} attention_head;

static attention_head head_of(const attention_job *j, int64_t batch, int64_t head)
{
    const rlm_attention_shape *s = j->s;
    int64_t width = (int64_t)s->heads * s->dim, in = 3 * width;
    int64_t base = batch * s->len * in + head * s->dim, out = batch * s->len * width;
    out += head * s->dim;
    return (attention_head){.q = j->qkv + base,
                            .k = j->qkv + base + width,
                            .v = j->qkv + base + 2 * width,
                            .y = j->y + out,
                            .dy = j->dy + out,
                            .lse = j->lse + (batch * s->heads + head) * s->len,
                            .dq = j->dqkv + base,
                            .dk = j->dqkv + base + width,
                            .dv = j->dqkv + base + 2 * width,
                            .in = in,
                            .out = width};
}

static double dot(int n, const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* Probability of the pair (i, p) and the gradient of its scaled score. */
static double pair_slope(const rlm_attention_shape *s, const attention_head *h, int64_t i,
                         int64_t p, double *probability)
{
    double score = s->scale * dot(s->dim, h->q + i * h->in, h->k + p * h->in);
    double along = dot(s->dim, h->dy + i * h->out, h->v + p * h->in);
    *probability = exp(score - h->lse[i]);
    return *probability * (along - dot(s->dim, h->dy + i * h->out, h->y + i * h->out)) * s->scale;
}

/* One item = row r of one head: dq from the keys r sees, dk and dv from the queries that see r. */
static void attention_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const attention_job *j = ctx;
    const rlm_attention_shape *s = j->s;
    double dq[REF_DIM], dk[REF_DIM], dv[REF_DIM], prob;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        int64_t batch = item / s->len / s->heads;
        attention_head h = head_of(j, batch, item / s->len % s->heads);
        int r = (int)(item % s->len), prefix = s->prefix[batch], length = s->length[batch];
        for (int c = 0; c < s->dim; c++)
            dq[c] = dk[c] = dv[c] = 0;
        for (int o = 0; o < s->len; o++) {
            if (ref_sees(r, o, prefix, length)) {
                double slope = pair_slope(s, &h, r, o, &prob);
                for (int c = 0; c < s->dim; c++)
                    dq[c] += slope * h.k[o * h.in + c];
            }
            if (ref_sees(o, r, prefix, length)) {
                double slope = pair_slope(s, &h, o, r, &prob);
                for (int c = 0; c < s->dim; c++) {
                    dk[c] += slope * h.q[o * h.in + c];
                    dv[c] += prob * h.dy[o * h.out + c];
                }
            }
        }
        for (int c = 0; c < s->dim; c++) {
            float *to[3] = {h.dq + r * h.in + c, h.dk + r * h.in + c, h.dv + r * h.in + c};
            *to[0] = (j->add ? *to[0] : 0) + (float)dq[c];
            *to[1] = (j->add ? *to[1] : 0) + (float)dk[c];
            *to[2] = (j->add ? *to[2] : 0) + (float)dv[c];
        }
    }
}

static void attention_backward(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                               const float *y, const float *lse, const float *dy, float *dqkv,
                               bool add)
{
    attention_job j = {s, qkv, y, lse, dy, dqkv, add};
    assert(s->dim <= REF_DIM);
    rlm_par_for(par, (int64_t)s->batch * s->heads * s->len, 4, attention_rows, &j);
}

/* ---- Losses and optimiser ------------------------------------------------------------------ */

typedef struct entropy_job {
    int classes;
    const float *logits;
    const int32_t *target;
    float zloss, scale, *loss, *dlogits;
} entropy_job;

static void entropy_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const entropy_job *j = ctx;
    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        const float *x = j->logits + row * j->classes;
        float *dx = j->dlogits ? j->dlogits + row * j->classes : NULL;
        int target = j->target[row];
        double max = x[0], sum = 0;
        for (int i = 1; i < j->classes; i++)
            max = x[i] > max ? x[i] : max;
        for (int i = 0; i < j->classes; i++)
            sum += exp(x[i] - max);
        double logz = max + log(sum);
        j->loss[row] = target < 0 ? 0 : (float)(logz - x[target] + j->zloss * logz * logz);
        for (int i = 0; i < j->classes && dx; i++) {
            double p = exp(x[i] - logz), g = p * (1.0 + 2.0 * j->zloss * logz) - (i == target);
            dx[i] = target < 0 ? 0 : (float)(j->scale * g);
        }
    }
}

static void cross_entropy(rlm_par *par, int64_t rows, int classes, const float *logits,
                          const int32_t *target, float zloss, float scale, float *loss,
                          float *dlogits)
{
    entropy_job j = {classes, logits, target, zloss, scale, loss, dlogits};
    rlm_par_for(par, rows, 1, entropy_rows, &j);
}

typedef struct adamw_job {
    const rlm_adamw *o;
    double correct_m, correct_v;
    float *p, *m, *v, *ema;
    const float *g;
} adamw_job;

static void adamw_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const adamw_job *j = ctx;
    const rlm_adamw *o = j->o;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        double g = (double)j->g[i] * o->grad_scale;
        double m = o->beta1 * (double)j->m[i] + (1.0 - o->beta1) * g;
        double v = o->beta2 * (double)j->v[i] + (1.0 - o->beta2) * g * g;
        double step = m / j->correct_m / (sqrt(v / j->correct_v) + o->eps);
        j->m[i] = (float)m;
        j->v[i] = (float)v;
        j->p[i] = (float)(j->p[i] - o->lr * (step + o->weight_decay * (double)j->p[i]));
        if (j->ema && o->ema > 0)
            j->ema[i] = (float)(o->ema * (double)j->ema[i] + (1.0 - o->ema) * j->p[i]);
    }
}

static void adamw(rlm_par *par, const rlm_adamw *o, int64_t n, float *p, const float *g, float *m,
                  float *v, float *ema_p)
{
    adamw_job j = {.o = o,
                   .correct_m = 1.0 - pow(o->beta1, (double)o->step),
                   .correct_v = 1.0 - pow(o->beta2, (double)o->step),
                   .p = p,
                   .m = m,
                   .v = v,
                   .ema = ema_p,
                   .g = g};
    rlm_par_for(par, n, REF_GRAIN, adamw_slice, &j);
}

typedef struct muon_job {
    float a, b, ema; /* momentum, grad_scale; or keep, step */
    const float *in; /* g or update */
    float *x, *y;    /* m, x; or p, ema_p */
} muon_job;

static void moment_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const muon_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        double g = (double)j->b * j->in[i], m = (double)j->a * j->x[i] + g;
        j->x[i] = (float)m;
        j->y[i] = (float)(g + j->a * m);
    }
}

static void muon_moment(rlm_par *par, int64_t n, float momentum, float grad_scale, const float *g,
                        float *m, float *x)
{
    muon_job j = {.a = momentum, .b = grad_scale, .in = g, .x = m, .y = x};
    rlm_par_for(par, n, REF_GRAIN, moment_slice, &j);
}

static void apply_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const muon_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        double p = (double)j->a * j->x[i] + (j->in ? (double)j->b * j->in[i] : 0);
        j->x[i] = (float)p;
        if (j->y)
            j->y[i] = (float)(j->ema * (double)j->y[i] + (1.0 - j->ema) * p);
    }
}

static void muon_apply(rlm_par *par, int64_t n, float keep, float step, float ema,
                       const float *update, float *p, float *ema_p)
{
    muon_job j = {.a = keep, .b = step, .ema = ema, .in = update, .x = p, .y = ema_p};
    rlm_par_for(par, n, REF_GRAIN, apply_slice, &j);
}

enum { PARTS = 256 }; /* partial sums, whatever the number of threads: same total */

typedef struct sum_job {
    int kind;
    int64_t n, part; /* elements, elements of a part */
    float scale;
    const float *x, *target;
    float *dx;
    double sum[PARTS];
} sum_job;

static double sum_parts(rlm_par *par, sum_job *j, rlm_par_fn fn)
{
    double sum = 0;
    j->part = (j->n + PARTS - 1) / PARTS;
    rlm_par_for(par, PARTS, 4, fn, j);
    for (int i = 0; i < PARTS; i++)
        sum += j->sum[i];
    return sum;
}

static void sumsq_parts(void *ctx, int64_t begin, int64_t end, int worker)
{
    sum_job *j = ctx;
    (void)worker;
    for (int64_t part = begin; part < end; part++) {
        int64_t stop = (part + 1) * j->part < j->n ? (part + 1) * j->part : j->n;
        double sum = 0;
        for (int64_t i = part * j->part; i < stop; i++)
            sum += (double)j->x[i] * j->x[i];
        j->sum[part] = sum;
    }
}

static double sumsq(rlm_par *par, int64_t n, const float *x)
{
    sum_job j = {.n = n, .x = x};
    return sum_parts(par, &j, sumsq_parts);
}

/* kind 1: sqrt(d^2 + 1e-6), kind 2: d^2. */
static void recon_parts(void *ctx, int64_t begin, int64_t end, int worker)
{
    sum_job *j = ctx;
    (void)worker;
    for (int64_t part = begin; part < end; part++) {
        int64_t stop = (part + 1) * j->part < j->n ? (part + 1) * j->part : j->n;
        double sum = 0;
        for (int64_t i = part * j->part; i < stop; i++) {
            double d = (double)j->x[i] - j->target[i], root = sqrt(d * d + 1e-6);
            sum += j->kind == 1 ? root : d * d;
            if (j->dx)
                j->dx[i] += (float)(j->scale / (double)j->n * (j->kind == 1 ? d / root : 2 * d));
        }
        j->sum[part] = sum;
    }
}

static double recon(rlm_par *par, int kind, int64_t n, const float *x, const float *target,
                    float scale, float *dx)
{
    sum_job j = {.kind = kind, .n = n, .scale = scale, .x = x, .target = target, .dx = dx};
    return n > 0 ? sum_parts(par, &j, recon_parts) / (double)n : 0;
}

void rlm_kernels_reference_backward_sequence(rlm_kernels *k)
{
    k->upsample_backward = upsample_backward;
    k->haar_forward_adjoint = haar_forward_adjoint;
    k->haar_inverse_adjoint = haar_inverse_adjoint;
    k->embedding_backward = embedding_backward;
    k->rope_backward = rope_backward;
    k->attention_backward = attention_backward;
    k->cross_entropy = cross_entropy;
    k->adamw = adamw;
    k->muon_moment = muon_moment;
    k->muon_apply = muon_apply;
    k->sumsq = sumsq;
    k->recon = recon;
}
