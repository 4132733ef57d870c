/* Lanes: prefix-LM attention forward in f32. An item is a chunk of a head's queries; their
 * softmaxes are built key block by key block. */
#include "src/kernels/lanes_attention.h"

enum { CHUNK = 4 * ATT_QUERIES, ITEMS = 4 }; /* of a thread at least, or heads are cut */

typedef struct att_job {
    rlm_attention_shape s;
    rlm_par *par;
    const float *qkv;
    float *y, *lse;
    int chunk, chunks;
} att_job;

/* A worker's scratch and what it works on. wide: dim in whole registers; ld: keys in whole blocks.
 */
typedef struct att_work {
    const rlm_attention_shape *s;
    int64_t batch, ld;
    int wide;
    float *keys, *values; /* [ld][wide] */
    float *q;             /* [dim][96] */
    float *score;         /* [96 keys][96] */
    float *acc;           /* [96][wide] */
    float seen[ATT_QUERIES], max[ATT_QUERIES], sum[ATT_QUERIES], shrink[ATT_QUERIES];
} att_work;

/* Scores of the n keys from `first` -> weights under the running maxima of the lanes from q on. */
RLM_INLINE void soften(att_work *w, int q, int first, int n, bool all)
{
    v_f32 seen = v_read(w->seen + q), old = v_read(w->max + q), top = old, sum = v_zero();
    float *x = w->score + q;
    for (int i = 0; i < n; i++, x += ATT_QUERIES) {
        v_f32 more = v_max(top, v_read(x));
        top = all ? more : v_pick(v_above(seen, v_set((float)(first + i))), top, more);
    }
    x = w->score + q;
    for (int i = 0; i < n; i++, x += ATT_QUERIES) {
        v_f32 e = v_exp(v_sub(v_read(x), top));
        if (!all)
            e = v_pick(v_above(seen, v_set((float)(first + i))), v_zero(), e);
        sum = v_add(sum, e);
        v_write(x, e);
    }
    v_f32 shrink = v_pick(v_above(top, old), v_set(1.0f), v_exp(v_sub(old, top)));
    v_write(w->sum + q, v_fma(v_read(w->sum + q), shrink, sum));
    v_write(w->max + q, top);
    v_write(w->shrink + q, shrink);
}

/* n keys from `first`, of which every query of the block sees at least `least`. */
static void key_block(att_work *w, int first, int n, int least)
{
    int64_t at = (int64_t)first * w->wide;
    att_product((int)v_round_up(n, ATT_TILE), ATT_QUERIES, w->s->dim,
                (att_left){w->keys + at, w->wide, 1}, w->q, ATT_QUERIES, w->score, ATT_QUERIES,
                false);
    for (int q = 0; q < ATT_QUERIES; q += V_LANES)
        if (least >= first + n)
            soften(w, q, first, n, true);
        else
            soften(w, q, first, n, false);
    for (int r = 0; r < ATT_QUERIES; r++) {
        float *acc = w->acc + r * w->wide;
        for (int d = 0; d < w->wide && w->shrink[r] != 1; d += V_LANES)
            v_write(acc + d, v_mul(v_read(acc + d), v_set(w->shrink[r])));
    }
    att_product(ATT_QUERIES, w->wide, n, (att_left){w->score, 1, ATT_QUERIES}, w->values + at,
                w->wide, w->acc, w->wide, true);
}

/* Queries [from, from + 96) of a head: qkv and y at its first row; lse or NULL. */
static void query_block(att_work *w, const float *qkv, float *y, float *lse, int from)
{
    const rlm_attention_shape *s = w->s;
    int64_t width = (int64_t)s->heads * s->dim;
    int rows = s->len - from < ATT_QUERIES ? s->len - from : ATT_QUERIES;
    int most = rlm_attention_seen(s, w->batch, from + rows - 1),
        least = rlm_attention_seen(s, w->batch, from);
    att_turn(qkv + from * 3 * width, 3 * width, rows, s->dim, ATT_QUERIES, s->scale, w->q);
    memset(w->acc, 0, (size_t)(ATT_QUERIES * w->wide) * sizeof *w->acc);
    for (int r = 0; r < ATT_QUERIES; r++) {
        w->seen[r] = (float)rlm_attention_seen(s, w->batch, r < rows ? from + r : from);
        w->max[r] = -INFINITY;
        w->sum[r] = 0;
    }
    for (int k = 0; k < most; k += ATT_KEYS)
        key_block(w, k, most - k < ATT_KEYS ? most - k : ATT_KEYS, least);
    for (int r = 0; r < rows; r++) {
        v_f32 scale = v_set(w->seen[r] > 0 ? 1.0f / w->sum[r] : 0.0f);
        for (int d = 0; d < s->dim; d += V_LANES)
            v_store(y + (from + r) * width + d, v_tail(s->dim - d),
                    v_mul(v_read(w->acc + r * w->wide + d), scale));
        if (lse)
            lse[from + r] = w->seen[r] > 0 ? w->max[r] + logf(w->sum[r]) : 0;
    }
}

static void att_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const att_job *j = ctx;
    const rlm_attention_shape *s = &j->s;
    int64_t width = (int64_t)s->heads * s->dim;
    att_work w = {
        .s = s, .ld = v_round_up(s->len, ATT_KEYS), .wide = (int)v_round_up(s->dim, V_LANES)};
    size_t rows = (size_t)(w.ld * w.wide), block = (size_t)(ATT_QUERIES * w.wide);
    w.keys = rlm_par_scratch(j->par, worker, 0,
                             (2 * rows + 2 * block + ATT_KEYS * ATT_QUERIES) * sizeof(float));
    w.values = w.keys + rows;
    w.q = w.values + rows;
    w.acc = w.q + block;
    w.score = w.acc + block;
    unsigned csr = rlm_flush_begin();
    for (int64_t item = begin; item < end; item++) {
        int64_t row = item / j->chunks, head = row % s->heads;
        int from = (int)(item % j->chunks) * j->chunk;
        int to = from + j->chunk < s->len ? from + j->chunk : s->len;
        w.batch = row / s->heads;
        const float *q = j->qkv + w.batch * s->len * 3 * width + head * s->dim;
        float *y = j->y + w.batch * s->len * width + head * s->dim;
        int keys = rlm_attention_seen(s, w.batch, to - 1), whole = (int)v_round_up(keys, ATT_TILE);
        att_pack(q + width, 3 * width, keys, whole, s->dim, w.wide, w.keys);
        att_pack(q + 2 * width, 3 * width, keys, whole, s->dim, w.wide, w.values);
        for (int i = from; i < to; i += ATT_QUERIES)
            query_block(&w, q, y, j->lse ? j->lse + row * s->len : NULL, i);
    }
    rlm_flush_end(csr);
}

void V_NAME(attention_forward)(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                               float *y, float *lse)
{
    int64_t heads = (int64_t)s->batch * s->heads;
    int chunk = heads < ITEMS * rlm_par_threads(par) ? CHUNK : s->len;
    att_job j = {*s, par, qkv, y, lse, chunk, chunk > 0 ? (s->len + chunk - 1) / chunk : 0};
    rlm_par_for(par, heads * j.chunks, 1, att_fn, &j);
}
