/* Lanes, f32: prefix-LM attention backward, an item a head, by blocks; weights are recomputed from
 * the saved log-sum-exp. */
#include "src/kernels/lanes_attention.h"

typedef struct att_job {
    rlm_attention_shape s;
    rlm_par *par;
    const float *qkv, *y, *lse, *dy;
    float *dqkv;
    bool add;
} att_job;

/* A worker's scratch. wide: dim in whole registers. q is times the scale, so that the gradient of k
 * is whole; that of q lacks it. */
typedef struct att_work {
    int64_t ld;
    int wide;
    float *k, *v, *dk, *dv;      /* [keys in whole blocks][wide] */
    float *q, *dy, *dq;          /* [96][wide] */
    float *q_turned, *dy_turned; /* [dim][96] */
    float *p, *ds;               /* [96 keys][96] */
    float seen[ATT_QUERIES], lse[ATT_QUERIES], delta[ATT_QUERIES];
} att_work;

static void work_begin(const att_job *j, int worker, att_work *w)
{
    const rlm_attention_shape *s = &j->s;
    w->ld = v_round_up(s->len, ATT_KEYS);
    w->wide = (int)v_round_up(s->dim, V_LANES);
    int64_t rows = w->ld * w->wide, block = ATT_QUERIES * w->wide, scores = ATT_QUERIES * ATT_KEYS;
    w->k = rlm_par_scratch(j->par, worker, 0,
                           (size_t)(4 * rows + 5 * block + 2 * scores) * sizeof(float));
    w->v = w->k + rows;
    w->dk = w->v + rows;
    w->dv = w->dk + rows;
    w->q = w->dv + rows;
    w->dy = w->q + block;
    w->dq = w->dy + block;
    w->q_turned = w->dq + block;
    w->dy_turned = w->q_turned + block;
    w->p = w->dy_turned + block;
    w->ds = w->p + scores;
}

/* p = e^(score - lse), ds = p (dp - delta) of the keys from `first` that a query sees; 0 up to
 * `rows`. Lanes from q on. */
RLM_INLINE void weigh(att_work *w, int q, int first, int rows, bool all)
{
    v_f32 seen = v_read(w->seen + q), lse = v_read(w->lse + q), delta = v_read(w->delta + q);
    float *p = w->p + q, *ds = w->ds + q;
    for (int i = 0; i < rows; i++, p += ATT_QUERIES, ds += ATT_QUERIES) {
        v_f32 e = v_exp(v_sub(v_read(p), lse)), d = v_sub(v_read(ds), delta);
        if (!all) {
            v_flags see = v_above(seen, v_set((float)(first + i)));
            e = v_pick(see, v_zero(), e);
            d = v_pick(see, v_zero(), d);
        }
        v_write(p, e);
        v_write(ds, v_mul(e, d));
    }
}

/* n keys from `first`, of which every query of the block sees at least `least`. */
static void key_block(att_work *w, int dim, int first, int n, int least)
{
    int64_t at = (int64_t)first * w->wide;
    int rows = (int)v_round_up(n, ATT_TILE), wide = w->wide;
    att_left k = {w->k + at, wide, 1}, v = {w->v + at, wide, 1};
    att_product(rows, ATT_QUERIES, dim, k, w->q_turned, ATT_QUERIES, w->p, ATT_QUERIES, false);
    att_product(rows, ATT_QUERIES, dim, v, w->dy_turned, ATT_QUERIES, w->ds, ATT_QUERIES, false);
    for (int q = 0; q < ATT_QUERIES; q += V_LANES)
        if (least >= first + rows)
            weigh(w, q, first, rows, true);
        else
            weigh(w, q, first, rows, false);
    att_left p = {w->p, ATT_QUERIES, 1}, ds = {w->ds, ATT_QUERIES, 1},
             down = {w->ds, 1, ATT_QUERIES};
    att_product(ATT_QUERIES, wide, n, down, w->k + at, wide, w->dq, wide, true);
    att_product(rows, wide, ATT_QUERIES, ds, w->q, wide, w->dk + at, wide, true);
    att_product(rows, wide, ATT_QUERIES, p, w->dy, wide, w->dv + at, wide, true);
}

/* Rows [n][wide] of x are added to rows of out, `stride` apart. */
static void give(const float *x, int n, int dim, int wide, bool add, float *out, int64_t stride)
{
    for (int r = 0; r < n; r++, x += wide, out += stride)
        for (int d = 0; d < dim; d += V_LANES) {
            v_mask m = v_tail(dim - d);
            v_store(out + d, m, add ? v_add(v_load(out + d, m), v_read(x + d)) : v_read(x + d));
        }
}

static void scale_rows(float *x, int64_t n, float by)
{
    for (int64_t i = 0; i < n; i += V_LANES)
        v_write(x + i, v_mul(v_read(x + i), v_set(by)));
}

/* Queries [from, from + 96) of head `item`: base, out: where its q and its y begin. */
static void query_block(const att_job *j, att_work *w, int64_t item, int64_t base, int64_t out,
                        int from)
{
    const rlm_attention_shape *s = &j->s;
    int64_t batch = item / s->heads, width = (int64_t)s->heads * s->dim;
    int rows = s->len - from < ATT_QUERIES ? s->len - from : ATT_QUERIES;
    int most = rlm_attention_seen(s, batch, from + rows - 1), wide = w->wide;
    int least = rows < ATT_QUERIES ? 0 : rlm_attention_seen(s, batch, from);
    const float *q = j->qkv + base + from * 3 * width, *dy = j->dy + out + from * width;
    att_pack(q, 3 * width, rows, ATT_QUERIES, s->dim, wide, w->q);
    scale_rows(w->q, ATT_QUERIES * wide, s->scale);
    att_turn(q, 3 * width, rows, s->dim, ATT_QUERIES, s->scale, w->q_turned);
    att_pack(dy, width, rows, ATT_QUERIES, s->dim, wide, w->dy);
    att_turn(dy, width, rows, s->dim, ATT_QUERIES, 1, w->dy_turned);
    memset(w->dq, 0, (size_t)(ATT_QUERIES * wide) * sizeof *w->dq);
    for (int r = 0; r < ATT_QUERIES; r++) {
        const float *y = j->y + out + (from + (r < rows ? r : 0)) * width;
        v_f32 sum = v_zero();
        for (int d = 0; d < s->dim; d += V_LANES)
            sum = v_fma(v_load(y + d, v_tail(s->dim - d)), v_read(w->dy + r * wide + d), sum);
        w->delta[r] = v_sum(sum);
        w->lse[r] = r < rows ? j->lse[item * s->len + from + r] : 0;
        w->seen[r] = r < rows ? (float)rlm_attention_seen(s, batch, from + r) : 0;
    }
    for (int k = 0; k < most; k += ATT_KEYS)
        key_block(w, s->dim, k, most - k < ATT_KEYS ? most - k : ATT_KEYS, least);
    scale_rows(w->dq, ATT_QUERIES * wide, s->scale);
    give(w->dq, rows, s->dim, wide, j->add, j->dqkv + base + from * 3 * width, 3 * width);
}

static void att_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const att_job *j = ctx;
    const rlm_attention_shape *s = &j->s;
    int64_t width = (int64_t)s->heads * s->dim;
    att_work w;
    work_begin(j, worker, &w);
    unsigned csr = rlm_flush_begin();
    for (int64_t item = begin; item < end; item++) {
        int64_t batch = item / s->heads, head = item % s->heads;
        int64_t base = batch * s->len * 3 * width + head * s->dim;
        int64_t out = batch * s->len * width + head * s->dim;
        const float *k = j->qkv + base + width;
        int keys = rlm_attention_seen(s, batch, s->len - 1),
            whole = (int)v_round_up(keys, ATT_TILE);
        att_pack(k, 3 * width, keys, whole, s->dim, w.wide, w.k);
        att_pack(k + width, 3 * width, keys, whole, s->dim, w.wide, w.v);
        memset(w.dk, 0, (size_t)(2 * w.ld * w.wide) * sizeof *w.dk);
        for (int i = 0; i < s->len; i += ATT_QUERIES)
            query_block(j, &w, item, base, out, i);
        give(w.dk, s->len, s->dim, w.wide, j->add, j->dqkv + base + width, 3 * width);
        give(w.dv, s->len, s->dim, w.wide, j->add, j->dqkv + base + 2 * width, 3 * width);
    }
    rlm_flush_end(csr);
}

void V_NAME(attention_backward)(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                                const float *y, const float *lse, const float *dy, float *dqkv,
                                bool add)
{
    att_job j = {*s, par, qkv, y, lse, dy, dqkv, add};
    rlm_par_for(par, (int64_t)s->batch * s->heads, 1, att_fn, &j);
}
