/* AVX-512 f32: prefix-LM attention backward, one head a slice, four queries at a time; weights are
 * recomputed from the saved log-sum-exp. */
#include "src/kernels/avx512_attention.h"

typedef struct att_job {
    rlm_attention_shape s;
    rlm_par *par;
    const float *qkv, *y, *lse, *dy;
    float *dqkv;
    bool add;
} att_job;

/* A worker's scratch. */
typedef struct att_work {
    int64_t ld;
    float *k, *v;  /* [dim][ld] */
    float *p, *ds; /* [4][ld] */
    float *dq;     /* [4][dim] */
} att_work;

/* p = e^(score - lse), ds = p (dp - delta) scale over n visible keys; 0 up to end. */
static void weights_row(float *p, float *ds, int n, int end, float lse, float delta, float scale)
{
    for (int i = 0; i < end; i += 16) {
        __mmask16 m = v_left(n - i);
        __m512 e = v_exp(_mm512_sub_ps(_mm512_loadu_ps(p + i), v_set(lse)));
        e = _mm512_maskz_mov_ps(m, e);
        __m512 d = _mm512_maskz_sub_ps(m, _mm512_loadu_ps(ds + i), v_set(delta));
        _mm512_storeu_ps(p + i, e);
        _mm512_storeu_ps(ds + i, _mm512_mul_ps(_mm512_mul_ps(e, d), v_set(scale)));
    }
}

/* rows k < n of out += sum over the four of w[i][k] * x[i]. */
static void spread(const float *w, int64_t ld, const float *const x[ATT_ROWS], int n, int dim,
                   float *out, int64_t stride)
{
    for (int k = 0; k < n; k++, out += stride) {
        for (int d = 0; d < dim; d += 16) {
            __mmask16 m = v_tail(dim - d);
            __m512 acc = v_load(out + d, m);
            for (int i = 0; i < ATT_ROWS; i++)
                acc = _mm512_fmadd_ps(v_set(w[i * ld + k]), v_load(x[i] + d, m), acc);
            v_store(out + d, m, acc);
        }
    }
}

static void four(const att_job *j, const att_work *w, int64_t item, int i)
{
    const rlm_attention_shape *s = &j->s;
    int64_t batch = item / s->heads, width = (int64_t)s->heads * s->dim, ld = w->ld;
    int64_t base = batch * s->len * 3 * width + item % s->heads * s->dim;
    int64_t out = batch * s->len * width + item % s->heads * s->dim;
    const float *q[ATT_ROWS], *dy[ATT_ROWS];
    float *dq[ATT_ROWS];
    int most = 0;
    for (int r = 0; r < ATT_ROWS; r++) {
        int at = i + r < s->len ? i + r : s->len - 1;
        q[r] = j->qkv + base + at * 3 * width;
        dy[r] = j->dy + out + at * width;
        dq[r] = w->dq + r * s->dim;
        most = att_keys(s, batch, at);
    }
    att_dot(q, w->k, s->dim, most, ld, s->scale, w->p);
    att_dot(dy, w->v, s->dim, most, ld, 1.0f, w->ds);
    for (int r = 0; r < ATT_ROWS; r++) {
        int at = i + r < s->len ? i + r : s->len - 1;
        const float *y = j->y + out + at * width;
        __m512 delta = _mm512_setzero_ps();
        for (int d = 0; d < s->dim; d += 16) {
            __mmask16 m = v_tail(s->dim - d);
            delta = _mm512_fmadd_ps(v_load(y + d, m), v_load(dy[r] + d, m), delta);
        }
        weights_row(w->p + r * ld, w->ds + r * ld, i + r < s->len ? att_keys(s, batch, at) : 0,
                    most, j->lse[item * s->len + at], _mm512_reduce_add_ps(delta), s->scale);
    }
    att_sum(w->ds, ld, j->qkv + base + width, 3 * width, most, s->dim, dq);
    for (int r = 0; r < ATT_ROWS && i + r < s->len; r++)
        v_row_add(j->dqkv + base + (i + r) * 3 * width, dq[r], s->dim);
    spread(w->ds, ld, q, most, s->dim, j->dqkv + base + width, 3 * width);
    spread(w->p, ld, dy, most, s->dim, j->dqkv + base + 2 * width, 3 * width);
}

static void att_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const att_job *j = ctx;
    const rlm_attention_shape *s = &j->s;
    att_work w = {.ld = (s->len + 15) / 16 * 16};
    size_t ld = (size_t)w.ld, dim = (size_t)s->dim;
    w.k = rlm_par_scratch(j->par, worker, 0,
                          (ld * (2 * dim + 2 * ATT_ROWS) + ATT_ROWS * dim) * sizeof(float));
    w.v = w.k + ld * dim;
    w.p = w.v + ld * dim;
    w.ds = w.p + ld * ATT_ROWS;
    w.dq = w.ds + ld * ATT_ROWS;
    unsigned csr = v_flush_begin();
    for (int64_t item = begin; item < end; item++) {
        int64_t batch = item / s->heads, width = (int64_t)s->heads * s->dim;
        const float *k = j->qkv + batch * s->len * 3 * width + item % s->heads * s->dim + width;
        int keys = att_keys(s, batch, s->len - 1);
        float *dq = j->dqkv + (k - width - j->qkv);
        for (int64_t i = 0; i < 3 * (int64_t)s->len && !j->add; i++) /* q, k, v of every row */
            memset(dq + i * width, 0, (size_t)s->dim * sizeof *dq);
        att_turn(k, 3 * width, keys, s->dim, w.ld, w.k);
        att_turn(k + width, 3 * width, keys, s->dim, w.ld, w.v);
        for (int i = 0; i < s->len; i += ATT_ROWS)
            four(j, &w, item, i);
    }
    v_flush_end(csr);
}

void rlm_avx512_attention_backward(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                                   const float *y, const float *lse, const float *dy, float *dqkv,
                                   bool add)
{
    att_job j = {*s, par, qkv, y, lse, dy, dqkv, add};
    rlm_par_for(par, (int64_t)s->batch * s->heads, 1, att_fn, &j);
}
