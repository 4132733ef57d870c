/* AdamW on everything, or Muon on the hidden matrices and AdamW on the rest; clipping by the global
 * norm, warm-up / stable / decay, an exponential average of the weights. Element arithmetic happens
 * in kernels; nothing is allocated after rlm_optim_new. */
#include "src/train/train.h"

#include <math.h>
#include <string.h>

static const float MUON_MOMENTUM = 0.95f;
static const int64_t GROUP_MOST = 16 << 20; /* values of the matrices orthogonalised at once */

static int64_t padded(int64_t n)
{
    return (n + 15) & ~(int64_t)15;
}

double rlm_schedule(const rlm_recipe *r, int64_t step)
{
    double warm = r->warmup > 0 && step < r->warmup ? (double)step / (double)r->warmup : 1.0;
    double tail = r->decay * (double)r->steps;
    double left = (double)r->steps - (double)step + 1.0;
    if (tail < 1.0 || left > tail)
        return warm;
    /* 1 - sqrt annealing; the last step still moves, by a sliver */
    double done = (tail - left + 1.0) / (tail + 1.0);
    double cool = 1.0 - sqrt(done < 1.0 ? done : 1.0);
    return warm * (cool > 1e-4 ? cool : 1e-4);
}

static bool is_muon(const rlm_param *p, const rlm_recipe *r)
{
    int64_t rows = p->shape[0], cols = rows > 0 ? p->count / rows : 0;
    return r->muon && p->matrix && p->rank >= 2 && rows > 1 && cols > 1;
}

/* Neighbouring parameters of one kind share a call; the padding between them is zero and stays so.
 */
static void plan_parts(rlm_optim *o, const rlm_recipe *r)
{
    const rlm_params *ps = o->params;
    for (int i = 0; i < ps->count; i++) {
        const rlm_param *p = ps->items[i];
        int64_t begin = p->data - ps->data;
        rlm_optim_part *last = o->part_count ? &o->parts[o->part_count - 1] : NULL;
        if (p->frozen)
            continue;
        if (is_muon(p, r)) {
            int rows = (int)p->shape[0], cols = (int)(p->count / p->shape[0]);
            int64_t gram = padded(rows < cols ? (int64_t)rows * rows : (int64_t)cols * cols);
            o->parts[o->part_count++] = (rlm_optim_part){begin, p->count, p->decay, rows, cols};
            o->scratch_matrix =
                padded(p->count) > o->scratch_matrix ? padded(p->count) : o->scratch_matrix;
            o->scratch_gram = gram > o->scratch_gram ? gram : o->scratch_gram;
        } else if (last && !last->rows && last->decay == p->decay &&
                   begin >= last->begin + last->count && begin - last->begin - last->count < 16) {
            last->count = begin + p->count - last->begin;
        } else {
            o->parts[o->part_count++] = (rlm_optim_part){begin, p->count, p->decay, 0, 0};
        }
    }
}

/* The Muon matrices from part `first` on that go together, AdamW's between them left out; returns
 * the part behind the last of them, size receives the values they take. */
static int group_end(const rlm_optim *o, int first, int64_t *size)
{
    int i = first;
    *size = 0;
    for (; i < o->part_count; i++) {
        int64_t n = o->parts[i].rows ? padded(o->parts[i].count) : 0;
        if (*size && *size + n > GROUP_MOST)
            break;
        *size += n;
    }
    return i;
}

static void plan_groups(rlm_optim *o)
{
    int64_t size;
    for (int i = 0; i < o->part_count;) {
        i = group_end(o, i, &size);
        o->scratch_group = size > o->scratch_group ? size : o->scratch_group;
    }
}

int rlm_optim_new(rlm_optim *o, rlm_params *params, const rlm_recipe *r, rlm_error *err)
{
    memset(o, 0, sizeof *o);
    o->params = params;
    size_t total = (size_t)params->total;
    o->parts = rlm_calloc((size_t)(params->count > 0 ? params->count : 1), sizeof *o->parts);
    o->m = rlm_calloc(total ? total : 1, sizeof(float));
    o->v = rlm_calloc(total ? total : 1, sizeof(float));
    if (r->ema > 0)
        o->ema = rlm_alloc(rlm_size_mul(total ? total : 1, sizeof(float)));
    if (!o->parts || !o->m || !o->v || (r->ema > 0 && !o->ema))
        goto fail;
    plan_parts(o, r);
    plan_groups(o);
    if (o->scratch_matrix) {
        int64_t ones = o->scratch_gram; /* more than its side */
        o->scratch =
            rlm_calloc((size_t)(o->scratch_group + o->scratch_matrix + 2 * o->scratch_gram + ones),
                       sizeof(float));
        o->matrices = rlm_calloc((size_t)o->part_count, sizeof *o->matrices);
        if (!o->scratch || !o->matrices)
            goto fail;
    }
    if (o->ema)
        memcpy(o->ema, params->data, total * sizeof(float));
    return 0;
fail:
    rlm_optim_free(o);
    return rlm_fail(err, RLM_E_NOMEM, "optimiser: no memory for the state of %lld parameters",
                    (long long)params->total);
}

void rlm_optim_free(rlm_optim *o)
{
    rlm_free(o->m);
    rlm_free(o->v);
    rlm_free(o->ema);
    rlm_free(o->parts);
    rlm_free(o->matrices);
    rlm_free(o->scratch);
    rlm_free(o->packs);
    memset(o, 0, sizeof *o);
}

static rlm_weight_geom geom_of(int cout, int cin)
{
    return (rlm_weight_geom){.cout = cout, .kt = 1, .kh = 1, .kw = 1, .cin = cin, .dw = 1};
}

/* Room for the packings of Newton-Schulz, in the first step (a packing's size is the kernels'
 * business). Without memory for it the kernels work from f32, slower. */
static void plan_packs(rlm_optim *o, const rlm_run *run)
{
    size_t most = 0;
    for (int i = 0; i < o->part_count; i++) {
        int rows = o->parts[i].rows, cols = o->parts[i].cols, g = rows <= cols ? rows : cols;
        rlm_weight_geom wide = geom_of(rows, cols), square = geom_of(g, g);
        for (int t = 0; t < 2 && rows; t++) {
            size_t a = run->k->pack_bytes(&wide, t), b = run->k->pack_bytes(&square, t);
            most = a > most ? a : most;
            most = b > most ? b : most;
        }
    }
    o->packs_planned = true;
    if (most)
        o->packs = rlm_alloc(most);
}

/* w [cout][cin] as a weight, packed for one direction; valid until the next call. */
static rlm_weight packed(const rlm_optim *o, const rlm_run *run, const float *w, int cout, int cin,
                         bool transposed)
{
    rlm_weight_geom g = geom_of(cout, cin);
    rlm_weight out = {.f32 = w};
    if (!o->packs || !run->k->pack_bytes(&g, transposed))
        return out;
    run->k->pack(run->par, &g, w, transposed, o->packs);
    if (transposed)
        out.pack_t = o->packs;
    else
        out.pack = o->packs;
    return out;
}

/* orthogonalise (kernels.h) by the products of a linear layer, so that they run at its speed (and
 * in bf16 where it does, which the iteration forgives). Returns where the result is: in m->x or
 * another matrix of scratch. */
static const float *newton_schulz(const rlm_optim *o, const rlm_run *run, const rlm_matrix *m)
{
    const rlm_kernels *k = run->k;
    int rows = m->rows, cols = m->cols;
    bool wide = rows <= cols;
    int g = wide ? rows : cols;
    int64_t gg = (int64_t)g * g;
    float *x = m->x, *y = o->scratch + o->scratch_group, *gram = y + o->scratch_matrix;
    float *poly = gram + o->scratch_gram, *ones = poly + o->scratch_gram; /* a, g times */
    k->fill(run->par, g, RLM_MUON_A, ones);
    k->scale(run->par, (int64_t)rows * cols, m->scale, x);
    for (int i = 0; i < RLM_MUON_STEPS; i++) {
        if (wide) {
            rlm_weight w = packed(o, run, x, rows, cols, false);
            k->linear_forward(run->par, g, g, cols, x, &w, NULL, NULL, gram);
        } else {
            k->fill(run->par, gg, 0.0f, gram);
            k->linear_backward_weight(run->par, rows, g, g, x, x, gram, NULL);
        }
        rlm_weight square = packed(o, run, gram, g, g, false);
        k->linear_forward(run->par, g, g, g, gram, &square, NULL, NULL, poly);
        k->scale(run->par, gg, RLM_MUON_C, poly);
        k->axpy(run->par, gg, RLM_MUON_B, gram, poly);
        /* aI too goes into the polynomial: the diagonal is column 0 of rows g + 1 apart. */
        k->columns(run->par, g, 1, ones, 1, 0, poly, g + 1, 0, true);
        if (wide) {
            rlm_weight w = packed(o, run, x, rows, cols, true);
            k->linear_backward_data(run->par, g, g, cols, poly, &w, y, false);
        } else {
            rlm_weight w = packed(o, run, poly, g, g, false);
            k->linear_forward(run->par, rows, g, g, x, &w, NULL, NULL, y);
        }
        float *swap = x;
        x = y;
        y = swap;
    }
    return x;
}

/* What a step does to every part. */
typedef struct step_scale {
    float lr, decay, grad, ema;
} step_scale;

/* Nesterov momentum of the matrices of parts [first, last), orthogonalised; the factor
 * 0.2 sqrt(max(rows, cols)) gives the update the root mean square of an AdamW step, so one learning
 * rate and decay serve both. */
static void muon_group(const rlm_optim *o, const rlm_run *run, int first, int last,
                       const step_scale *s)
{
    const rlm_kernels *k = run->k;
    float *x = o->scratch;
    int count = 0;
    for (int i = first; i < last; i++) {
        const rlm_optim_part *part = &o->parts[i];
        if (!part->rows)
            continue;
        k->muon_moment(run->par, part->count, MUON_MOMENTUM, s->grad, o->params->grad + part->begin,
                       o->m + part->begin, x);
        double norm = sqrt(k->sumsq(run->par, part->count, x));
        float scale = norm > 1e-30 ? (float)(1.0 / norm) : 0.0f;
        o->matrices[count++] = (rlm_matrix){part->rows, part->cols, scale, x};
        x += padded(part->count);
    }
    if (k->orthogonalise)
        k->orthogonalise(run->par, count, o->matrices);
    const rlm_matrix *m = o->matrices;
    for (int i = first; i < last; i++) {
        const rlm_optim_part *part = &o->parts[i];
        if (!part->rows)
            continue;
        const float *update = NULL; /* a matrix of zeros has no direction */
        if (m->scale > 0)
            update = k->orthogonalise ? m->x : newton_schulz(o, run, m);
        m++;
        int widest = part->rows > part->cols ? part->rows : part->cols;
        k->muon_apply(run->par, part->count, part->decay ? 1.0f - s->lr * s->decay : 1.0f,
                      -s->lr * 0.2f * sqrtf((float)widest), s->ema, update,
                      o->params->data + part->begin, o->ema ? o->ema + part->begin : NULL);
    }
}

double rlm_optim_step(rlm_optim *o, rlm_run *run, const rlm_recipe *r)
{
    const rlm_params *ps = o->params;
    double norm = sqrt(run->k->sumsq(run->par, ps->total, ps->grad));
    o->step++;
    if (!isfinite(norm)) {
        o->skipped++;
        run->k->fill(run->par, ps->total, 0.0f, ps->grad);
        return norm;
    }
    if (o->scratch && !run->k->orthogonalise && !o->packs_planned)
        plan_packs(o, run);
    double f = rlm_schedule(r, o->step);
    double warm = (1.0 + (double)o->step) / (10.0 + (double)o->step);
    float ema = (float)(r->ema < warm ? r->ema : warm);
    float grad_scale = r->clip > 0 && norm > r->clip ? (float)(r->clip / norm) : 1.0f;
    step_scale muon = {.lr = (float)(f * (r->muon_lr > 0 ? r->muon_lr : r->lr)),
                       .decay = (float)r->weight_decay,
                       .grad = grad_scale,
                       .ema = ema};
    rlm_adamw a = {.lr = (float)(f * r->lr),
                   .beta1 = (float)r->beta1,
                   .beta2 = (float)r->beta2,
                   .eps = (float)r->eps,
                   .grad_scale = grad_scale,
                   .step = o->step,
                   .ema = o->ema ? ema : 0.0f};
    for (int i = 0; i < o->part_count; i++) {
        const rlm_optim_part *part = &o->parts[i];
        int64_t at = part->begin;
        if (part->rows)
            continue;
        a.weight_decay = part->decay ? (float)r->weight_decay : 0.0f;
        run->k->adamw(run->par, &a, part->count, ps->data + at, ps->grad + at, o->m + at, o->v + at,
                      o->ema ? o->ema + at : NULL);
    }
    int64_t size;
    for (int i = 0, last; o->scratch && i < o->part_count; i = last) {
        last = group_end(o, i, &size);
        muon_group(o, run, i, last, &muon);
    }
    run->k->fill(run->par, ps->total, 0.0f, ps->grad);
    return norm;
}

void rlm_optim_settle(rlm_optim *o)
{
    for (int i = 0; i < o->params->count && o->ema; i++) {
        const rlm_param *p = o->params->items[i];
        if (p->frozen)
            memcpy(p->data, o->ema + (p->data - o->params->data), (size_t)p->count * sizeof(float));
    }
}

void rlm_optim_swap_ema(rlm_optim *o)
{
    if (!o->ema)
        return;
    /* memory, not arithmetic: exchanged through a small buffer */
    unsigned char *a = (unsigned char *)o->params->data, *b = (unsigned char *)o->ema;
    unsigned char hold[4096];
    size_t bytes = (size_t)o->params->total * sizeof(float);
    for (size_t at = 0; at < bytes; at += sizeof hold) {
        size_t n = bytes - at < sizeof hold ? bytes - at : sizeof hold;
        memcpy(hold, a + at, n);
        memcpy(a + at, b + at, n);
        memcpy(b + at, hold, n);
    }
}
