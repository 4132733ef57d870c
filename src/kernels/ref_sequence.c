/* Definition of the forward kernels, part 2: rearrangement, quantisers, sequences. */
#include "src/kernels/ref_kernels.h"

#include <assert.h>

#include "src/kernels/ref_haar.h"
#include "src/kernels/rvq.h"

/* ---- Rearrangement ------------------------------------------------------------------------- */

typedef struct shuffle_job {
    const rlm_shuffle_shape *s;
    const float *in;
    float *out;
    bool accumulate;
} shuffle_job;

/* Offset of channel 0 at (n, t, h, w) of the wide grid; -1 for a dropped frame. */
static int64_t wide_at(const rlm_shuffle_shape *s, int64_t n, int t, int h, int w)
{
    int64_t frames = (int64_t)s->t * s->ft - s->drop;
    if (t < s->drop)
        return -1;
    return (((n * frames + t - s->drop) * s->h * s->fh + h) * s->w * s->fw + w) * s->c;
}

/* One item = one deep position. wide selects the direction: deep -> wide or wide -> deep. */
static void shuffle_move(const shuffle_job *j, int64_t item, bool to_wide)
{
    const rlm_shuffle_shape *s = j->s;
    int w = (int)(item % s->w), h = (int)(item / s->w % s->h);
    int t = (int)(item / s->w / s->h % s->t), taps = s->ft * s->fh * s->fw;
    int64_t n = item / s->w / s->h / s->t;
    for (int tap = 0; tap < taps; tap++) {
        int a = tap / s->fw / s->fh, b = tap / s->fw % s->fh, c = tap % s->fw;
        int64_t wide = wide_at(s, n, t * s->ft + a, h * s->fh + b, w * s->fw + c);
        int64_t deep = (item * taps + tap) * s->c;
        if (wide < 0 && (to_wide || j->accumulate))
            continue;
        for (int i = 0; i < s->c; i++) {
            float v = to_wide ? j->in[deep + i] : wide < 0 ? 0 : j->in[wide + i];
            float *out = j->out + (to_wide ? wide : deep) + i;
            *out = j->accumulate ? *out + v : v;
        }
    }
}

static void to_wide(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t item = begin; item < end; item++)
        shuffle_move(ctx, item, true);
}

static void to_deep(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t item = begin; item < end; item++)
        shuffle_move(ctx, item, false);
}

static int64_t deep_count(const rlm_shuffle_shape *s)
{
    return (int64_t)s->n * s->t * s->h * s->w;
}

static void depth_to_space(rlm_par *par, const rlm_shuffle_shape *s, const float *x, float *y,
                           bool accumulate)
{
    shuffle_job j = {s, x, y, accumulate};
    rlm_par_for(par, deep_count(s), 64, to_wide, &j);
}

static void space_to_depth(rlm_par *par, const rlm_shuffle_shape *s, const float *y, float *x,
                           bool accumulate)
{
    shuffle_job j = {s, y, x, accumulate};
    rlm_par_for(par, deep_count(s), 64, to_deep, &j);
}

static void upsample_positions(void *ctx, int64_t begin, int64_t end, int worker)
{
    const shuffle_job *j = ctx;
    const rlm_shuffle_shape *s = j->s;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        int w = (int)(item % s->w), h = (int)(item / s->w % s->h);
        int t = (int)(item / s->w / s->h % s->t);
        int64_t n = item / s->w / s->h / s->t;
        for (int tap = 0; tap < s->ft * s->fh * s->fw; tap++) {
            int a = tap / s->fw / s->fh, b = tap / s->fw % s->fh, c = tap % s->fw;
            int64_t to = wide_at(s, n, t * s->ft + a, h * s->fh + b, w * s->fw + c);
            for (int i = 0; i < s->c && to >= 0; i++)
                j->out[to + i] = j->in[item * s->c + i];
        }
    }
}

static void upsample_forward(rlm_par *par, const rlm_shuffle_shape *s, const float *x, float *y)
{
    shuffle_job j = {s, x, y, false};
    rlm_par_for(par, deep_count(s), 64, upsample_positions, &j);
}

static void haar_forward(rlm_par *par, const rlm_haar_shape *s, const float *in, float *out)
{
    ref_haar(par, s, in, out, REF_HAAR_FORWARD, false, ref_haar_to_cells);
}

static void haar_inverse(rlm_par *par, const rlm_haar_shape *s, const float *in, float *out)
{
    ref_haar(par, s, in, out, REF_HAAR_INVERSE, false, ref_haar_to_pixels);
}

/* ---- Quantisers ---------------------------------------------------------------------------- */

typedef struct lfq_job {
    int width;
    const float *x;
    float *q;
    int32_t *ids;
} lfq_job;

static void lfq_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const lfq_job *j = ctx;
    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        uint32_t id = 0;
        for (int i = 0; i < j->width; i++) {
            bool up = j->x[row * j->width + i] > 0;
            j->q[row * j->width + i] = up ? 1.0f : -1.0f;
            id |= (uint32_t)up << i;
        }
        if (j->ids)
            j->ids[row] = (int32_t)id;
    }
}

static void lfq_forward(rlm_par *par, int64_t rows, int bits, const float *z, float *q,
                        int32_t *ids)
{
    lfq_job j = {bits, z, q, ids};
    assert(bits < 32);
    rlm_par_for(par, rows, 64, lfq_rows, &j);
}

typedef struct search_job {
    rlm_par *par;
    rlm_rvq_shape s;
    const float *x, *books;
    int32_t *ids;
    int64_t pitch;
} search_job;

static void search_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const search_job *j = ctx;
    rlm_rvq_shape s = j->s;
    size_t bytes = rlm_rvq_words(s.dim, s.levels, s.beam) * sizeof(float);
    float *words = rlm_par_scratch(j->par, worker, 0, bytes);
    for (int64_t r = begin; r < end; r++) {
        const float *x = j->x + r * s.dim;
        rlm_rvq_row row = rlm_rvq_begin(s.dim, s.levels, s.beam, x, words);
        for (int level = 0; level < s.levels; level++) {
            const float *book = j->books + (int64_t)level * s.codes * s.dim;
            rlm_rvq_paths kept = {.beam = s.beam};
            for (int b = 0; b < row.count; b++)
                for (int code = 0; code < s.codes; code++) {
                    double distance = rlm_rvq_distance(s.dim, row.rest + (int64_t)b * s.dim,
                                                       book + (int64_t)code * s.dim);
                    rlm_rvq_keep(&kept, (rlm_rvq_path){distance, b, code});
                }
            rlm_rvq_advance(&row, s.dim, s.levels, level, x, book, &kept);
        }
        for (int level = 0; level < s.levels; level++)
            j->ids[level * j->pitch + r] = row.ids[level];
    }
}

static void rvq_search(rlm_par *par, const rlm_rvq_shape *s, const float *x, const float *books,
                       int32_t *ids, int64_t pitch)
{
    search_job j = {par, *s, x, books, ids, pitch};
    rlm_par_for(par, s->rows, 1, search_rows, &j);
}

/* ---- Sequences ----------------------------------------------------------------------------- */

typedef struct embedding_job {
    int c;
    bool accumulate;
    const int32_t *ids;
    const float *table;
    float *y;
} embedding_job;

static void embedding_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const embedding_job *j = ctx;
    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        float *y = j->y + row * j->c;
        const float *from = j->ids[row] >= 0 ? j->table + (int64_t)j->ids[row] * j->c : NULL;
        for (int i = 0; i < j->c; i++)
            y[i] = (j->accumulate ? y[i] : 0) + (from ? from[i] : 0);
    }
}

static void embedding_forward(rlm_par *par, int64_t rows, int c, const int32_t *ids,
                              const float *table, float *y, bool accumulate)
{
    embedding_job j = {c, accumulate, ids, table, y};
    rlm_par_for(par, rows, 16, embedding_rows, &j);
}

typedef struct rope_job {
    const rlm_rope_shape *s;
    const float *x, *gain, *angle;
    float *y, *rstd;
} rope_job;

static void rope_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rope_job *j = ctx;
    const rlm_rope_shape *s = j->s;
    int half = s->dim / 2;
    (void)worker;
    for (int64_t item = begin * s->heads; item < end * s->heads; item++) {
        int64_t row = item / s->heads, at = row * s->stride + s->from + item % s->heads * s->dim;
        const float *x = j->x + at;
        double sum = 0;
        for (int i = 0; i < s->dim; i++)
            sum += (double)x[i] * x[i];
        double rstd = 1.0 / sqrt(sum / s->dim + s->eps);
        for (int i = 0; i < half; i++) {
            double u = x[i] * rstd * (j->gain ? j->gain[i] : 1.0f);
            double v = x[i + half] * rstd * (j->gain ? j->gain[i + half] : 1.0f);
            double angle = j->angle[row * half + i];
            j->y[at + i] = (float)(u * cos(angle) - v * sin(angle));
            j->y[at + i + half] = (float)(u * sin(angle) + v * cos(angle));
        }
        if (j->rstd)
            j->rstd[item] = (float)rstd;
    }
}

static void rope_forward(rlm_par *par, const rlm_rope_shape *s, const float *x, const float *gain,
                         const float *angle, float *y, float *rstd)
{
    rope_job j = {s, x, gain, angle, y, rstd};
    rlm_par_for(par, s->rows, 4, rope_rows, &j);
}

/* Softmax-weighted sum built key by key: the running maximum keeps exp() in range. */
typedef struct soft_sum {
    double max, sum, acc[REF_DIM];
} soft_sum;

static void soft_begin(soft_sum *o, int dim)
{
    o->max = -INFINITY;
    o->sum = 0;
    for (int i = 0; i < dim; i++)
        o->acc[i] = 0;
}

/* Makes room for a key of this score and returns its weight. */
static double soft_weight(soft_sum *o, int dim, double score)
{
    if (score > o->max) {
        double shrink = exp(o->max - score);
        o->sum *= shrink;
        for (int i = 0; i < dim; i++)
            o->acc[i] *= shrink;
        o->max = score;
    }
    double weight = exp(score - o->max);
    o->sum += weight;
    return weight;
}

static void soft_end(const soft_sum *o, int dim, float *y)
{
    for (int i = 0; i < dim; i++)
        y[i] = o->sum > 0 ? (float)(o->acc[i] / o->sum) : 0;
}

typedef struct attention_job {
    const rlm_attention_shape *s;
    const float *qkv;
    float *y, *lse;
} attention_job;

/* One item = one query of one head: (batch * heads + head) * len + i. */
static void attention_queries(void *ctx, int64_t begin, int64_t end, int worker)
{
    const attention_job *j = ctx;
    const rlm_attention_shape *s = j->s;
    int dim = s->dim, width = s->heads * dim;
    soft_sum o;
    (void)worker;
    for (int64_t item = begin; item < end; item++) {
        int i = (int)(item % s->len), head = (int)(item / s->len % s->heads);
        int64_t batch = item / s->len / s->heads;
        const float *rows = j->qkv + batch * s->len * 3 * width + head * dim;
        const float *q = rows + (int64_t)i * 3 * width;
        soft_begin(&o, dim);
        for (int p = 0; p < s->len; p++) {
            const float *k = rows + (int64_t)p * 3 * width + width, *v = k + width;
            if (!ref_sees(i, p, s->prefix[batch], s->length[batch]))
                continue;
            double score = 0;
            for (int c = 0; c < dim; c++)
                score += (double)q[c] * k[c];
            double weight = soft_weight(&o, dim, score * s->scale);
            for (int c = 0; c < dim; c++)
                o.acc[c] += weight * v[c];
        }
        soft_end(&o, dim, j->y + (batch * s->len + i) * width + head * dim);
        if (j->lse)
            j->lse[item] = o.sum > 0 ? (float)(o.max + log(o.sum)) : 0;
    }
}

static void attention_forward(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                              float *y, float *lse)
{
    attention_job j = {s, qkv, y, lse};
    assert(s->dim <= REF_DIM);
    rlm_par_for(par, (int64_t)s->batch * s->heads * s->len, 8, attention_queries, &j);
}

void rlm_kernels_reference_sequence(rlm_kernels *k)
{
    k->depth_to_space = depth_to_space;
    k->space_to_depth = space_to_depth;
    k->upsample_forward = upsample_forward;
    k->haar_forward = haar_forward;
    k->haar_inverse = haar_inverse;
    k->lfq_forward = lfq_forward;
    k->rvq_search = rvq_search;
    k->embedding_forward = embedding_forward;
    k->rope_forward = rope_forward;
    k->attention_forward = attention_forward;
    rlm_kernels_reference_cache(k);
}
