/* Prefix-LM attention backward on AMX. Per head, blocks of keys outside, blocks of queries inside,
 * in them strips of 32 keys: scores are recomputed transposed (keys are rows), so that the saved
 * log-sum-exp is a plain vector operand and P^T, dS^T come out as A operands for dV and dK, which
 * follow while a strip's are in the L1 cache. dQ is summed transposed, [dim][queries], over a block
 * of keys, with dS^T as interleaved B operand. Scores are in units of log 2: q carries scale *
 * log2(e), or, where it comes in bf16, products do. */
#include "src/kernels/amx_attention.h"

#define LOG2E 1.44269504f

enum { KEYS = 128, QUERIES = 256 }; /* of a block */

typedef struct bwd_job {
    rlm_attention_shape s;
    rlm_par *par;
    att_rows qkv;
    float unit; /* of products of queries and keys, in scores */
    const float *y, *lse, *dy;
    void *dqkv; /* as qkv */
    bool add, far;
} bwd_job;

/* Values [at, at + 32) of dqkv, added to or overwritten (bf16: overwritten). */
RLM_INLINE void put(const bwd_job *j, int64_t at, __m512 a, __m512 b)
{
    if (j->qkv.half) {
        v_put_bf16(j->far, (uint16_t *)j->dqkv + at, a, b);
        return;
    }
    float *to = (float *)j->dqkv + at;
    if (j->add) {
        a = _mm512_add_ps(a, _mm512_loadu_ps(to));
        b = _mm512_add_ps(b, _mm512_loadu_ps(to + 16));
    }
    v_put(j->far, to, 0xffff, a);
    v_put(j->far, to + 16, 0xffff, b);
}

/* Operands of one head and of the current key block, in a worker's scratch. */
typedef struct bwd_work {
    float score[32 * 32], dp[32 * 32];
    uint16_t p[32 * QUERIES];  /* of a strip, [query/32][32 keys][32 queries]: A operand */
    uint16_t ds[32 * QUERIES]; /* the same */
    /* [key/32][query/16][16 key pairs][16 queries][2], 32 queries in the order of mixed_query */
    uint16_t ds_mixed[KEYS * QUERIES];
    uint16_t k[KEYS * ATT_MAX_DIM], v[KEYS * ATT_MAX_DIM]; /* plain */
    uint16_t k_pairs[KEYS * ATT_MAX_DIM], k_turned[KEYS * ATT_MAX_DIM];
    float dk[KEYS * ATT_MAX_DIM], dv[KEYS * ATT_MAX_DIM]; /* [key][dim] */
    bool begun[KEYS / 32];                                /* dk and dv of a strip hold sums */
    int from[KEYS / 32]; /* of a block, the first 32 queries that see any of a strip */
    int dim, padded;     /* padded: queries rounded up to 32 */
    uint16_t *q_pairs, *q_mixed, *dy_pairs, *dy_mixed;
    float *dq;          /* [padded/32][dim][32 queries in the order of mixed_query] */
    float *lse, *delta; /* [padded]; lse in units of log 2 */
    int32_t *visible;   /* [padded]; 0 past the end */
    int32_t *most;      /* [padded/32]: the most of 32 */
} bwd_work;

/* Which of 32 queries is i-th in ds_mixed: what interleaving within lanes makes of their order. */
static int mixed_query(int i)
{
    return i % 16 / 4 * 8 + i / 16 * 4 + i % 4;
}

static size_t work_bytes(int len, int dim)
{
    size_t padded = (size_t)v_round_up(len, 32), panel = padded * (size_t)dim;
    return (size_t)v_round_up(sizeof(bwd_work), 64) + panel * (4 * 2 + 4) + padded * 12 +
           padded / 8;
}

static bwd_work *work_open(const bwd_job *j, int worker)
{
    uint8_t *at = rlm_par_scratch(j->par, worker, 0, work_bytes(j->s.len, j->s.dim));
    bwd_work *w = (bwd_work *)at;
    size_t padded = (size_t)v_round_up(j->s.len, 32), panel = padded * (size_t)j->s.dim;
    at += v_round_up(sizeof *w, 64);
    w->dim = j->s.dim;
    w->padded = (int)padded;
    w->q_pairs = (uint16_t *)at;
    w->q_mixed = w->q_pairs + panel;
    w->dy_pairs = w->q_mixed + panel;
    w->dy_mixed = w->dy_pairs + panel;
    w->dq = (float *)(w->dy_mixed + panel);
    w->lse = w->dq + panel;
    w->delta = w->lse + padded;
    w->visible = (int32_t *)(w->delta + padded);
    w->most = w->visible + padded;
    return w;
}

/* Everything that depends on queries only. */
static void load_queries(const bwd_job *j, bwd_work *w, int64_t batch, int head)
{
    const rlm_attention_shape *s = &j->s;
    int64_t width = (int64_t)s->heads * s->dim;
    const float *y = j->y + batch * s->len * width + head * s->dim;
    const float *dy = j->dy + batch * s->len * width + head * s->dim;
    const float *lse = j->lse + (batch * s->heads + head) * s->len;
    att_rows q = att_behind(&j->qkv, batch * s->len * 3 * width + head * s->dim);
    att_rows d = {dy, width, s->len, w->padded, s->dim, 1.0f, false};
    q.rows = s->len;
    q.n = w->padded;
    q.scale = s->scale * LOG2E;
    att_pairs(&q, w->q_pairs);
    att_mixed(&q, w->q_mixed);
    att_pairs(&d, w->dy_pairs);
    att_mixed(&d, w->dy_mixed);
    for (int i = 0; i < w->padded; i++) {
        int seen = i < s->len ? rlm_attention_seen(s, batch, i) : 0, *most = w->most + i / 32;
        w->visible[i] = seen;
        *most = i % 32 && *most > seen ? *most : seen;
        w->lse[i] = i < s->len ? lse[i] * LOG2E : 0;
        __m512 sum = _mm512_setzero_ps();
        for (int c = 0; i < s->len && c < s->dim; c += 16) {
            const float *at = y + i * width + c;
            sum = _mm512_fmadd_ps(_mm512_loadu_ps(at), _mm512_loadu_ps(dy + i * width + c), sum);
            _mm_prefetch((const char *)(at + 32 * width), _MM_HINT_T0);
        }
        w->delta[i] = _mm512_reduce_add_ps(sum);
    }
}

/* Softmax and its gradient on one piece of 32 x 32, w->score and dp -> p, ds [32][32] and ds_mixed
 * (two tiles). */
RLM_INLINE void softmax(const bwd_work *w, float unit, int key, int query, bool masked, uint16_t *p,
                        uint16_t *ds, uint16_t *mixed)
{
    __m512 scale = v_set(unit);
    __m512 lse0 = _mm512_loadu_ps(w->lse + query), lse1 = _mm512_loadu_ps(w->lse + query + 16);
    __m512 del0 = _mm512_loadu_ps(w->delta + query), del1 = _mm512_loadu_ps(w->delta + query + 16);
    __m512i vis0 = _mm512_loadu_si512(w->visible + query);
    __m512i vis1 = _mm512_loadu_si512(w->visible + query + 16);
    for (int r = 0; r < 32; r += 2) {
        __m512i d[2];
        for (int i = 0; i < 2; i++) {
            const float *score = w->score + (r + i) * 32, *dp = w->dp + (r + i) * 32;
            __mmask16 m0 = 0xffff, m1 = 0xffff;
            if (masked) {
                __m512i at = _mm512_set1_epi32(key + r + i);
                m0 = _mm512_cmplt_epi32_mask(at, vis0);
                m1 = _mm512_cmplt_epi32_mask(at, vis1);
            }
            __m512 p0 = v_exp2_16(m0, _mm512_fmsub_ps(_mm512_load_ps(score), scale, lse0));
            __m512 p1 = v_exp2_16(m1, _mm512_fmsub_ps(_mm512_load_ps(score + 16), scale, lse1));
            __m512 d0 = _mm512_mul_ps(p0, _mm512_sub_ps(_mm512_load_ps(dp), del0));
            __m512 d1 = _mm512_mul_ps(p1, _mm512_sub_ps(_mm512_load_ps(dp + 16), del1));
            _mm512_store_si512(p + (r + i) * 32, (__m512i)_mm512_cvtne2ps_pbh(p1, p0));
            d[i] = (__m512i)_mm512_cvtne2ps_pbh(d1, d0);
            _mm512_store_si512(ds + (r + i) * 32, d[i]);
        }
        _mm512_store_si512(mixed + r * 16, _mm512_unpacklo_epi16(d[0], d[1]));
        _mm512_store_si512(mixed + 512 + r * 16, _mm512_unpackhi_epi16(d[0], d[1]));
    }
}

/* p, ds, ds_mixed of keys k of the block from k0 on and queries q of the block from q0 on. */
static void piece(bwd_work *w, float unit, int k0, int k, int q0, int q)
{
    size_t lda = (size_t)w->dim * 2, tile_rows = (size_t)w->dim * 32;
    size_t b = (size_t)(q0 + q) * (size_t)w->dim;
    uint16_t *p = w->p + q * 32, *ds = w->ds + q * 32, *mixed = w->ds_mixed + k * QUERIES + q * 32;
    const int32_t *visible = w->visible + q0 + q;
    att_tiles_zero();
    att_product(w->k + k * w->dim, lda, 64, w->q_pairs + b, tile_rows, 1024, w->dim / 32);
    att_tiles_store(w->score, 32);
    att_tiles_zero();
    att_product(w->v + k * w->dim, lda, 64, w->dy_pairs + b, tile_rows, 1024, w->dim / 32);
    att_tiles_store(w->dp, 32);
    att_fence();
    if (k0 + k + 31 < visible[0] && visible[31]) /* every query sees every key */
        softmax(w, unit, k0 + k, q0 + q, false, p, ds, mixed);
    else
        softmax(w, unit, k0 + k, q0 + q, true, p, ds, mixed);
    att_fence();
}

/* out [strip at k][dim] (+)= a^T-form [key][query] times mixed rows of queries from q0. */
static void sum_keys(const bwd_work *w, const uint16_t *a, const uint16_t *mixed, int k, int q0,
                     int qn, float *out)
{
    int from = w->from[k / 32];
    const uint16_t *b = mixed + (size_t)(q0 + from) * (size_t)w->dim;
    for (int d = 0; d < w->dim; d += 32) {
        if (w->begun[k / 32])
            att_tiles_load(out + k * w->dim + d, w->dim);
        else
            att_tiles_zero();
        att_product(a + from * 32, 64, 2048, b + (size_t)d * 32, 1024, (size_t)w->dim * 64,
                    (qn - from) / 32);
        att_tiles_store(out + k * w->dim + d, w->dim);
    }
}

/* dq [dim][queries] (+)= k^T ds^T. */
static void sum_queries(bwd_work *w, bool add, int kn, int q0, int qn)
{
    for (int q = 0; q < qn; q += 32) {
        int chunks = 0; /* of keys that these queries see */
        while (chunks < kn / 32 && w->from[chunks] <= q)
            chunks++;
        for (int d = 0; d < w->dim && chunks; d += 32) {
            float *out = w->dq + (size_t)(q0 + q) * (size_t)w->dim + d * 32;
            if (add)
                att_tiles_load(out, 32);
            else
                att_tiles_zero();
            att_product(w->k_turned + d * 32, 64, (size_t)w->dim * 64, w->ds_mixed + q * 32, 1024,
                        QUERIES * 64, chunks);
            att_tiles_store(out, 32);
        }
    }
}

/* What keys k0 .. + kn and queries q0 .. + qn give each other, but where nothing is seen: later
 * queries see no fewer keys. */
static void block(bwd_work *w, float unit, int k0, int kn, int q0, int qn)
{
    for (int k = 0; k < kn; k += 32) {
        int from = 0;
        while (from < qn && w->most[(q0 + from) / 32] <= k0 + k)
            from += 32;
        w->from[k / 32] = from;
        if (from == qn)
            continue;
        for (int q = from; q < qn; q += 32)
            piece(w, unit, k0, k, q0, q);
        sum_keys(w, w->p, w->dy_mixed, k, q0, qn, w->dv);
        sum_keys(w, w->ds, w->q_mixed, k, q0, qn, w->dk);
        w->begun[k / 32] = true;
    }
    sum_queries(w, k0 > 0, kn, q0, qn);
    att_fence();
}

static void key_block(const bwd_job *j, bwd_work *w, int64_t batch, int head, int k0, int keys)
{
    const rlm_attention_shape *s = &j->s;
    int64_t width = (int64_t)s->heads * s->dim, base = (batch * s->len + k0) * 3 * width;
    int kn = keys - k0 < KEYS ? (int)v_round_up(keys - k0, 32) : KEYS;
    att_rows rows = att_behind(&j->qkv, base + width + head * s->dim);
    rows.rows = keys - k0;
    rows.n = kn;
    att_plain(&rows, w->k);
    att_pairs(&rows, w->k_pairs);
    att_turned(w->k_pairs, kn, s->dim, w->k_turned);
    rows = att_behind(&rows, width);
    att_plain(&rows, w->v);
    memset(w->begun, 0, sizeof w->begun);
    att_fence();
    for (int q0 = w->visible[0] > k0 ? 0 : k0; q0 < w->padded; q0 += QUERIES)
        block(w, j->unit, k0, kn, q0, w->padded - q0 < QUERIES ? w->padded - q0 : QUERIES);
    __m512 scale = v_set(j->unit / LOG2E);
    for (int r = 0; r < kn && r < keys - k0; r++) {
        int64_t at = base + (int64_t)r * 3 * width + width + head * s->dim;
        for (int d = 0; d < s->dim; d += 32) {
            const float *dk = w->dk + r * s->dim + d, *dv = w->dv + r * s->dim + d;
            put(j, at + d, _mm512_mul_ps(_mm512_load_ps(dk), scale),
                _mm512_mul_ps(_mm512_load_ps(dk + 16), scale));
            put(j, at + width + d, _mm512_load_ps(dv), _mm512_load_ps(dv + 16));
        }
    }
}

/* dqkv's queries += scale * dq^T. */
static void store_queries(const bwd_job *j, const bwd_work *w, int64_t batch, int head)
{
    const rlm_attention_shape *s = &j->s;
    int64_t width = (int64_t)s->heads * s->dim;
    for (int i = 0; i < w->padded; i += 16) {
        const float *dq = w->dq + (size_t)(i / 32 * 32) * (size_t)s->dim + i % 32;
        for (int d = 0; d < s->dim; d += 32) {
            __m512i t[2][16];
            for (int h = 0; h < 2; h++) {
                for (int r = 0; r < 16; r++)
                    t[h][r] = _mm512_load_si512(dq + (d + h * 16 + r) * 32);
                v_transpose16(t[h]);
            }
            for (int r = 0; r < 16; r++) {
                int query = i / 32 * 32 + mixed_query(i % 32 + r);
                if (query < s->len)
                    put(j, (batch * s->len + query) * 3 * width + head * s->dim + d,
                        _mm512_mul_ps(_mm512_castsi512_ps(t[0][r]), v_set(s->scale)),
                        _mm512_mul_ps(_mm512_castsi512_ps(t[1][r]), v_set(s->scale)));
            }
        }
    }
}

static void bwd_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const bwd_job *j = ctx;
    bwd_work *w = work_open(j, worker);
    unsigned csr = rlm_flush_begin();
    rlm_amx_begin();
    for (int64_t item = begin; item < end; item++) {
        int64_t batch = item / j->s.heads;
        int head = (int)(item % j->s.heads), keys = rlm_attention_seen(&j->s, batch, j->s.len - 1);
        load_queries(j, w, batch, head);
        if (!keys)
            memset(w->dq, 0, sizeof(float) * (size_t)w->padded * (size_t)w->dim);
        for (int k0 = 0; k0 < keys; k0 += KEYS)
            key_block(j, w, batch, head, k0, keys);
        store_queries(j, w, batch, head);
        for (int i = keys; i < j->s.len && !j->add; i++) { /* keys that nobody sees */
            int64_t width = (int64_t)j->s.heads * j->s.dim;
            int64_t at = (batch * j->s.len + i) * 3 * width + width + head * j->s.dim;
            for (int d = 0; d < j->s.dim; d += 32) {
                put(j, at + d, _mm512_setzero_ps(), _mm512_setzero_ps());
                put(j, at + width + d, _mm512_setzero_ps(), _mm512_setzero_ps());
            }
        }
    }
    rlm_amx_end();
    v_far_end(j->far);
    rlm_flush_end(csr);
}

static void run(rlm_par *par, const rlm_attention_shape *s, const void *qkv, bool half,
                const float *y, const float *lse, const float *dy, void *dqkv, bool add)
{
    int64_t row = 3 * (int64_t)s->heads * s->dim;
    bwd_job j = {.s = *s, .par = par, .y = y, .lse = lse, .dy = dy, .dqkv = dqkv, .add = add};
    j.qkv = (att_rows){.x = qkv, .stride = row, .dim = s->dim, .scale = 1, .half = half};
    j.unit = half ? s->scale * LOG2E : 1.0f; /* floats are scaled on their way to bf16 */
    j.far = !add && v_is_far(dqkv, row * s->batch * s->len / (half ? 2 : 1), row);
    rlm_par_for(par, (int64_t)s->batch * s->heads, 1, bwd_fn, &j);
}

static void attention_backward(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                               const float *y, const float *lse, const float *dy, float *dqkv,
                               bool add)
{
    if (att_dim_ok(s->dim))
        run(par, s, qkv, false, y, lse, dy, dqkv, add);
    else
        rlm_avx512_attention_backward(par, s, qkv, y, lse, dy, dqkv, add);
}

static void attention_bf16_backward(rlm_par *par, const rlm_attention_shape *s, const uint16_t *qkv,
                                    const float *y, const float *lse, const float *dy,
                                    uint16_t *dqkv)
{
    run(par, s, qkv, true, y, lse, dy, dqkv, false);
}

void rlm_kernels_amx_attention_backward(rlm_kernels *k)
{
    k->attention_backward = attention_backward;
    k->attention_bf16_forward = rlm_amx_attention_bf16;
    k->attention_bf16_backward = attention_bf16_backward;
}
