/* AVX-512 f32: prefix-LM attention forward, one head a slice, four queries at a time. */
#include "src/kernels/avx512_attention.h"

typedef struct att_job {
    rlm_attention_shape s;
    rlm_par *par;
    const float *qkv;
    float *y, *lse;
} att_job;

/* Scores of n visible keys -> weights summing to 1 (all 0 past n up to end); returns lse. */
static float softmax_row(float *x, int n, int end)
{
    __m512 top = v_set(-INFINITY), sum = _mm512_setzero_ps();
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = v_tail(n - i);
        top = _mm512_mask_max_ps(top, m, top, v_load(x + i, m));
    }
    float max = _mm512_reduce_max_ps(top);
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = v_tail(n - i);
        __m512 e = _mm512_maskz_mov_ps(m, v_exp(_mm512_sub_ps(v_load(x + i, m), v_set(max))));
        sum = _mm512_add_ps(sum, e);
        v_store(x + i, m, e);
    }
    float total = _mm512_reduce_add_ps(sum);
    for (int i = 0; i < n; i += 16) {
        __mmask16 m = v_tail(n - i);
        v_store(x + i, m, _mm512_mul_ps(v_load(x + i, m), v_set(1.0f / total)));
    }
    for (int i = n; i < end; i++)
        x[i] = 0;
    return n > 0 ? max + logf(total) : 0;
}

static void att_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const att_job *j = ctx;
    const rlm_attention_shape *s = &j->s;
    int64_t width = (int64_t)s->heads * s->dim, ld = (s->len + 15) / 16 * 16;
    float *panel = rlm_par_scratch(j->par, worker, 0,
                                   (size_t)ld * (size_t)(s->dim + ATT_ROWS) * sizeof(float));
    float *score = panel + ld * s->dim;
    unsigned csr = v_flush_begin();
    for (int64_t item = begin; item < end; item++) {
        int64_t batch = item / s->heads, head = item % s->heads;
        const float *q = j->qkv + batch * s->len * 3 * width + head * s->dim;
        float *y = j->y + batch * s->len * width + head * s->dim;
        att_turn(q + width, 3 * width, att_keys(s, batch, s->len - 1), s->dim, ld, panel);
        for (int i = 0; i < s->len; i += ATT_ROWS) {
            const float *rows[ATT_ROWS];
            float *out[ATT_ROWS];
            int most = 0;
            for (int r = 0; r < ATT_ROWS; r++) {
                int at = i + r < s->len ? i + r : s->len - 1;
                rows[r] = q + at * 3 * width;
                out[r] = y + at * width;
                most = att_keys(s, batch, at);
            }
            att_dot(rows, panel, s->dim, most, ld, s->scale, score);
            for (int r = 0; r < ATT_ROWS; r++) {
                int at = i + r < s->len ? i + r : s->len - 1;
                float lse = softmax_row(score + r * ld, att_keys(s, batch, at), most);
                if (j->lse)
                    j->lse[item * s->len + at] = lse;
            }
            att_sum(score, ld, q + 2 * width, 3 * width, most, s->dim, out);
        }
    }
    v_flush_end(csr);
}

void rlm_avx512_attention_forward(rlm_par *par, const rlm_attention_shape *s, const float *qkv,
                                  float *y, float *lse)
{
    att_job j = {*s, par, qkv, y, lse};
    rlm_par_for(par, (int64_t)s->batch * s->heads, 1, att_fn, &j);
}
