/* Prefix-LM attention forward on AMX: 32 queries at a time against pieces of 64 keys, bf16
 * products, softmax in f32, no score matrix. Scores are kept in units of log 2. When norms bound
 * every score of a block of queries (normalised queries and keys), exp needs no running maximum,
 * nothing is ever rescaled, and values are weighed several pieces at a time. */
#include "src/kernels/amx_attention.h"

#define LOG2E       1.44269504f
#define SCORE_BOUND 64.0f /* |score| up to here: 2^score and its sums stay far inside f32 */

enum { QUERIES = 32, PIECE = 64, SPAN = 256 /* keys weighed at a time */ };

typedef struct fwd_job {
    rlm_attention_shape s;
    rlm_par *par;
    int parts; /* workers that share one head's queries */
    att_rows qkv;
    float unit; /* of products of queries and keys, in scores */
    float *y, *lse;
    bool far; /* y is written past the caches */
} fwd_job;

/* One head's operands and one query block's state, in a worker's scratch. */
typedef struct fwd_work {
    float score[QUERIES * PIECE];
    float out[QUERIES * ATT_MAX_DIM];
    uint16_t p[QUERIES * SPAN];        /* [key/32][32 queries][32 keys]: A operand */
    uint16_t q[QUERIES * ATT_MAX_DIM]; /* plain */
    const uint16_t *k, *v;             /* pairs, mixed */
    int dim;
    __m512 sum[QUERIES]; /* lanes are added up at the end */
    float max[QUERIES];
    int visible[QUERIES];
} fwd_work;

/* score[32][kn] = q k^T for keys k0 .. k0 + kn, of one piece. */
static void scores(fwd_work *w, int k0, int kn)
{
    size_t tile_rows = (size_t)w->dim * 32; /* bytes of 16 keys in pairs form */
    for (int k = 0; k < kn; k += 32) {
        att_tiles_zero();
        att_product(w->q, (size_t)w->dim * 2, 64, w->k + (size_t)(k0 + k) * (size_t)w->dim,
                    tile_rows, 1024, w->dim / 32);
        att_tiles_store(w->score + k, PIECE);
    }
    att_fence();
}

/* out += p v, of one span; the first keys' overwrites. */
static void weigh(fwd_work *w, int k0, int kn)
{
    for (int d = 0; d < w->dim; d += 32) {
        if (k0)
            att_tiles_load(w->out + d, w->dim);
        else
            att_tiles_zero();
        att_product(w->p, 64, 2048, w->v + (size_t)k0 * (size_t)w->dim + (size_t)d * 32, 1024,
                    (size_t)w->dim * 64, kn / 32);
        att_tiles_store(w->out + d, w->dim);
    }
    att_fence();
}

/* One row of scores (kn a multiple of 32, `seen` visible), times unit -> p in bf16; returns the
 * sum's vector. */
RLM_INLINE __m512 weights_row(const float *score, uint16_t *p, int kn, int seen, bool masked,
                              __m512 unit, __m512 max)
{
    __m512 s0 = _mm512_setzero_ps(), s1 = s0;
    for (int k = 0; k < kn; k += 32, p += QUERIES * 32) {
        int left = seen - k;
        __mmask16 m0 = 0xffff, m1 = 0xffff;
        if (masked) {
            m0 = v_left(left);
            m1 = v_left(left - 16);
        }
        __m512 a = v_exp2_16(m0, _mm512_fmsub_ps(_mm512_load_ps(score + k), unit, max));
        __m512 b = v_exp2_16(m1, _mm512_fmsub_ps(_mm512_load_ps(score + k + 16), unit, max));
        s0 = _mm512_add_ps(s0, a);
        s1 = _mm512_add_ps(s1, b);
        _mm512_store_si512(p, (__m512i)_mm512_cvtne2ps_pbh(b, a));
    }
    return _mm512_add_ps(s0, s1);
}

static void weights_bounded(fwd_work *w, uint16_t *p, int k0, int kn, bool masked, __m512 unit)
{
    __m512 zero = _mm512_setzero_ps();
    for (int r = 0; r < QUERIES; r++, p += 32) {
        const float *score = w->score + r * PIECE;
        __m512 s = masked ? weights_row(score, p, kn, w->visible[r] - k0, true, unit, zero)
                          : weights_row(score, p, kn, kn, false, unit, zero);
        w->sum[r] = _mm512_add_ps(w->sum[r], s);
    }
}

/* The general case, weighed piece by piece: raise the running maximum first and shrink what was
 * summed under the old. */
static void weights_running(fwd_work *w, int k0, int kn, float unit)
{
    for (int r = 0; r < QUERIES; r++) {
        float *score = w->score + r * PIECE;
        int seen = w->visible[r] - k0 < kn ? w->visible[r] - k0 : kn;
        __m512 top = v_set(w->max[r]);
        for (int k = 0; k < seen; k += 16) {
            __mmask16 m = v_tail(seen - k);
            __m512 v = _mm512_mul_ps(_mm512_load_ps(score + k), v_set(unit));
            top = _mm512_mask_max_ps(top, m, top, v);
        }
        float max = _mm512_reduce_max_ps(top);
        if (max > w->max[r]) {
            float shrink = w->max[r] > -INFINITY ? exp2f(w->max[r] - max) : 0.0f;
            for (int d = 0; d < w->dim && k0; d += 16) {
                float *o = w->out + r * w->dim + d;
                _mm512_store_ps(o, _mm512_mul_ps(_mm512_load_ps(o), v_set(shrink)));
            }
            w->sum[r] = _mm512_mul_ps(w->sum[r], v_set(shrink));
            w->max[r] = max;
        }
        w->sum[r] = _mm512_add_ps(
            w->sum[r], weights_row(score, w->p + r * 32, kn, seen, true, v_set(unit), v_set(max)));
    }
}

/* Keys k0 .. k0 + kn of a span, all of them seen by every query up to `first`. */
static void span(fwd_work *w, float unit, bool bounded, int k0, int kn, int first)
{
    for (int k = k0; k < k0 + kn; k += PIECE) {
        int n = k0 + kn - k < PIECE ? k0 + kn - k : PIECE;
        scores(w, k, n);
        if (bounded)
            weights_bounded(w, w->p + (k - k0) * QUERIES, k, n, k + n > first, v_set(unit));
        else
            weights_running(w, k, n, unit);
    }
    att_fence();
    weigh(w, k0, kn);
}

static void finish(const fwd_job *j, const fwd_work *w, int64_t batch, int head, int q0)
{
    int width = j->s.heads * w->dim;
    for (int r = 0; r < QUERIES && q0 + r < j->s.len; r++) {
        float *y = j->y + (batch * j->s.len + q0 + r) * width + head * w->dim;
        float sum = _mm512_reduce_add_ps(w->sum[r]);
        __m512 scale = v_set(sum > 0 ? 1.0f / sum : 0.0f);
        for (int d = 0; d < w->dim; d += 16)
            v_put(j->far, y + d, 0xffff,
                  _mm512_mul_ps(_mm512_load_ps(w->out + r * w->dim + d), scale));
        if (j->lse) {
            float *lse = j->lse + (batch * j->s.heads + head) * j->s.len + q0 + r;
            *lse = sum > 0 ? (float)(log(sum) + w->max[r] / (double)LOG2E) : 0.0f;
        }
    }
}

/* Largest squared norm of rows of bf16 values, [QUERIES][dim]. */
static float largest_row(const uint16_t *x, int dim)
{
    float top = 0;
    for (int r = 0; r < QUERIES; r++, x += dim) {
        __m512 s = _mm512_setzero_ps();
        for (int d = 0; d < dim; d += 32) {
            __m512bh v = (__m512bh)_mm512_load_si512(x + d);
            s = _mm512_dpbf16_ps(s, v, v);
        }
        float sum = _mm512_reduce_add_ps(s);
        top = sum > top || isnan(sum) ? sum : top;
    }
    return top;
}

/* key_norm: largest squared norm of a key. */
static void query_block(const fwd_job *j, fwd_work *w, int64_t batch, int head, int q0,
                        float key_norm)
{
    att_rows rows = att_behind(&j->qkv, ((batch * j->s.len + q0) * 3 * j->s.heads + head) * w->dim);
    rows.rows = j->s.len - q0;
    rows.n = QUERIES;
    rows.scale = j->s.scale * LOG2E;
    att_plain(&rows, w->q);
    float top = sqrtf(largest_row(w->q, w->dim)) * sqrtf(key_norm) * j->unit;
    bool bounded = top <= SCORE_BOUND;
    int first = 0, last = 0;
    for (int r = 0; r < QUERIES; r++) {
        int i = q0 + r < j->s.len ? q0 + r : j->s.len - 1;
        w->visible[r] = last = rlm_attention_seen(&j->s, batch, i);
        w->sum[r] = _mm512_setzero_ps();
        w->max[r] = bounded ? 0.0f : -INFINITY;
        first = r ? first : last;
    }
    att_fence();
    if (!last)
        memset(w->out, 0, sizeof(float) * QUERIES * (size_t)w->dim);
    int step = bounded ? SPAN : PIECE;
    for (int k0 = 0; k0 < last; k0 += step)
        span(w, j->unit, bounded, k0, last - k0 < step ? (int)v_round_up(last - k0, 32) : step,
             first);
    finish(j, w, batch, head, q0);
}

/* Largest squared norm of n rows (a multiple of 16) in pairs form: a lane is a row. */
static float largest_pairs(const uint16_t *x, int n, int dim)
{
    __m512 top = _mm512_setzero_ps();
    __mmask16 bad = 0;
    for (int r = 0; r < n; r += 16) {
        __m512 s = _mm512_setzero_ps();
        for (int d = 0; d < dim; d += 2, x += 32) {
            __m512bh v = (__m512bh)_mm512_load_si512(x);
            s = _mm512_dpbf16_ps(s, v, v);
        }
        bad |= _mm512_cmp_ps_mask(s, s, _CMP_UNORD_Q);
        top = _mm512_max_ps(top, s);
    }
    return bad ? NAN : _mm512_reduce_max_ps(top);
}

static void fwd_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const fwd_job *j = ctx;
    const rlm_attention_shape *s = &j->s;
    size_t panel = (size_t)v_round_up(s->len, 32) * (size_t)s->dim;
    uint8_t *scratch =
        rlm_par_scratch(j->par, worker, 0, v_round_up(sizeof(fwd_work), 64) + panel * 4);
    fwd_work *w = (fwd_work *)scratch;
    uint16_t *k = (uint16_t *)(scratch + v_round_up(sizeof(fwd_work), 64)), *v = k + panel;
    unsigned csr = rlm_flush_begin();
    rlm_amx_begin();
    for (int64_t item = begin; item < end; item++) {
        int part = (int)(item % j->parts), head = (int)(item / j->parts % s->heads);
        int64_t batch = item / j->parts / s->heads, width = (int64_t)s->heads * s->dim;
        att_rows rows = att_behind(&j->qkv, batch * s->len * 3 * width + width + head * s->dim);
        rows.rows = rlm_attention_seen(s, batch, s->len - 1);
        rows.n = (int)v_round_up(rows.rows, 32);
        w->dim = s->dim;
        w->k = k;
        w->v = v;
        att_pairs(&rows, k);
        att_rows values = att_behind(&rows, width);
        att_mixed(&values, v);
        float key_norm = largest_pairs(k, rows.n, s->dim);
        for (int q0 = part * QUERIES; q0 < s->len; q0 += j->parts * QUERIES)
            query_block(j, w, batch, head, q0, key_norm);
    }
    rlm_amx_end();
    v_far_end(j->far);
    rlm_flush_end(csr);
}

static void run(rlm_par *par, const rlm_attention_shape *s, const void *qkv, bool half, float *y,
                float *lse)
{
    int threads = rlm_par_threads(par), heads = s->batch * s->heads;
    int64_t width = (int64_t)s->heads * s->dim;
    fwd_job j = {.s = *s, .par = par, .parts = 1, .y = y, .lse = lse};
    j.qkv = (att_rows){.x = qkv, .stride = 3 * width, .dim = s->dim, .scale = 1, .half = half};
    j.unit = half ? s->scale * LOG2E : 1.0f; /* floats are scaled on their way to bf16 */
    j.far = v_is_far(y, width * s->batch * s->len, width);
    if (heads < threads)
        j.parts = (threads + heads - 1) / heads;
    rlm_par_for(par, (int64_t)heads * j.parts, 1, fwd_fn, &j);
}

static void attention_forward(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                              float *y, float *lse)
{
    if (att_dim_ok(s->dim))
        run(par, s, qkv, false, y, lse);
    else
        rlm_avx512_attention_forward(par, s, qkv, y, lse);
}

void rlm_amx_attention_bf16(rlm_par *par, const rlm_attention_shape *s, const uint16_t *qkv,
                            float *y, float *lse)
{
    run(par, s, qkv, true, y, lse);
}

void rlm_kernels_amx_attention(rlm_kernels *k)
{
    k->attention_forward = attention_forward;
}
