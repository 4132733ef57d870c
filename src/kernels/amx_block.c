/* AMX overlay: the two halves of a transformer block over many rows, without their intermediate
 * tensors. A task takes some rows through the whole half in its core's L2 cache: norm, product and
 * rotation; or norm, product, gate, product and residual, the hidden values a segment at a time. */
#include <assert.h>

#include "src/kernels/amx_block.h"
#include "src/kernels/lanes_rope.h"

enum {
    QKV_FAR = 2 * RLM_FAR_BYTES, /* attention reads it at once: twice as much is worth keeping */
    GROUP = 128,                 /* rows whose sums lie in the L1 cache */
    CACHED = 512 << 10,          /* bytes of a task's rows, and of its hidden values */
    M_MOST = 320
};

/* Tasks of rows that L2 holds, as many for every thread; no two differ by more than 32 rows. */
static int tasks_of(const rlm_par *par, int rows, int width)
{
    int threads = rlm_par_threads(par), most = CACHED / (width * 2) / 32 * 32;
    most = most < 64 ? 64 : most > M_MOST ? M_MOST : most;
    int tasks = rlm_div_up(rlm_div_up(rows, most), threads) * threads;
    return tasks < rlm_div_up(rows, 32) ? tasks : rlm_div_up(rows, 32);
}

static int first_row(int rows, int tasks, int64_t task)
{
    int row = (int)(rlm_div_up(rows, 32) * task / tasks) * 32;
    return row < rows ? row : rows;
}

/* ---- Attention's half: queries, keys and values --------------------------------------------- */

typedef struct qkv_job {
    rlm_qkv_shape s;
    int width, tasks, m_block; /* m_block: the most rows of a task */
    const float *x, *gain, *q_gain, *k_gain, *angle;
    const uint8_t *pack;
    float *y;                /* or NULL: half */
    uint16_t *half;          /* y in bf16 */
    float *rstd;             /* [rows][q heads, k heads] or NULL */
    bool far;                /* it is written past the caches */
    size_t table_from, room; /* sines and cosines of a task's rows */
    rlm_par *par;
} qkv_job;

/* A head of `rows` rows from its panels of sums [dim / 32][GROUP][32] to y from value `at` on.
 * gain: of the head's norm; rotated if table is not NULL, rstd (or NULL) then receiving 1 / rms. */
static void store_head(const qkv_job *j, const float *sums, int rows, const float *gain,
                       const float *table, int64_t at, float *rstd)
{
    _Alignas(64) float head[ROPE_MAX_DIM];
    int dim = j->s.dim;
    for (int r = 0; r < rows; r++, at += 3 * j->width) {
        for (int i = 0; i < dim; i += 16)
            _mm512_store_ps(head + i, _mm512_load_ps(sums + (i / 32 * GROUP + r) * 32 + i % 32));
        if (table) {
            float norm = rope_head_forward(head, dim, j->s.rope_eps, gain, table + r * dim,
                                           table + r * dim + dim / 2, head);
            if (rstd)
                rstd[r * 2 * j->s.heads] = norm;
        }
        for (int i = 0; i < dim && j->half; i += 32)
            v_put_bf16(j->far, j->half + at + i, _mm512_load_ps(head + i),
                       _mm512_load_ps(head + i + 16));
        for (int i = 0; i < dim && j->y; i += 16)
            v_put(j->far, j->y + at + i, 0xffff, _mm512_load_ps(head + i));
    }
}

static void qkv_task(const qkv_job *j, int row, int rows, uint8_t *a, float *sums)
{
    int chunks = j->width / 32, dim = j->s.dim, heads = j->s.heads;
    size_t panel = (size_t)chunks * 2 * RLM_AMX_TILE, tile = (size_t)chunks * RLM_AMX_TILE;
    float *table = (float *)(void *)(a + j->table_from);
    dense_normed(j->x + (int64_t)row * j->width, rows, j->width, j->gain, j->s.eps, a);
    for (int r = 0; r < rows; r++)
        rope_table(j->angle + (int64_t)(row + r) * (dim / 2), dim / 2, table + r * dim,
                   table + r * dim + dim / 2);
    for (int h = 0; h < 3 * heads; h++)
        for (int r = 0; r < rows; r += GROUP) {
            int count = rows - r < GROUP ? rows - r : GROUP;
            for (int p = 0; p < dim / 32; p++) {
                const uint8_t *b = j->pack + (size_t)(h * dim / 32 + p) * panel;
                dense_panel(a + (size_t)(r / 16) * tile, count, b, chunks, false, false,
                            sums + p * GROUP * 32, b + panel, r, rows);
            }
            store_head(j, sums, count, h < heads ? j->q_gain : j->k_gain,
                       h < 2 * heads ? table + r * dim : NULL,
                       (int64_t)(row + r) * 3 * j->width + h * dim,
                       j->rstd ? j->rstd + (int64_t)(row + r) * 2 * heads + h : NULL);
        }
}

static void qkv_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const qkv_job *j = ctx;
    _Alignas(64) float sums[ROPE_MAX_DIM / 32 * GROUP * 32];
    uint8_t *a = rlm_par_scratch(j->par, worker, 3, j->room);
    rlm_amx_begin();
    for (int64_t task = begin; task < end; task++) {
        int row = first_row(j->s.rows, j->tasks, task);
        qkv_task(j, row, first_row(j->s.rows, j->tasks, task + 1) - row, a, sums);
    }
    rlm_amx_end();
    v_far_end(j->far);
}

void rlm_amx_qkv(rlm_par *par, const rlm_qkv_shape *s, const float *x, const float *gain,
                 const rlm_weight *w, const float *q_gain, const float *k_gain, const float *angle,
                 float *y, uint16_t *half, float *rstd)
{
    int width = s->heads * s->dim;
    qkv_job j = {.s = *s,
                 .width = width,
                 .tasks = tasks_of(par, s->rows, width),
                 .x = x,
                 .gain = gain,
                 .q_gain = q_gain,
                 .k_gain = k_gain,
                 .angle = angle,
                 .y = y,
                 .half = half,
                 .rstd = rstd,
                 .far = (int64_t)s->rows * 3 * width * (y ? 4 : 2) > QKV_FAR,
                 .par = par};
    void *room = w->quant ? rlm_par_scratch(par, 0, 1, dense_bytes(3 * width, width)) : NULL;
    assert(s->dim % 32 == 0 && s->dim <= ROPE_MAX_DIM);
    j.m_block = rlm_div_up(rlm_div_up(s->rows, 32), j.tasks) * 32;
    j.pack = rlm_amx_dense_weight(par, 3 * width, width, w, room);
    j.table_from = (size_t)j.m_block * (size_t)width * 2;
    j.room = j.table_from + (size_t)j.m_block * (size_t)s->dim * sizeof(float);
    rlm_amx_room(par, 3, j.room);
    rlm_par_for(par, j.tasks, 1, qkv_fn, &j);
}

static void qkv_forward(rlm_par *par, const rlm_qkv_shape *s, const float *x, const float *gain,
                        const rlm_weight *w, const float *q_gain, const float *k_gain,
                        const float *angle, float *y)
{
    rlm_amx_qkv(par, s, x, gain, w, q_gain, k_gain, angle, y, NULL, NULL);
}

/* ---- The gated half ------------------------------------------------------------------------- */

typedef struct mlp_job {
    rlm_mlp_shape s;
    int tasks, m_block, depth; /* m_block: the most rows of a task; depth: chunks of hidden values
                                * at a time */
    const float *x, *gain;
    const uint8_t *up, *down;
    float *y;
    uint16_t *keep; /* amx_block.h, or NULL */
    bool far;
    size_t hidden_from, sums_from, room;
    rlm_par *par;
} mlp_job;

/* silu(g) * u for a result in bf16: relative error 3e-4, a tenth of its rounding. */
static inline __m512 gated(__m512 g, __m512 u)
{
    __m512 e = v_exp2_16(0xffff, _mm512_mul_ps(g, v_set(-1.44269504f)));
    return _mm512_mul_ps(_mm512_mul_ps(g, u), _mm512_rcp14_ps(_mm512_add_ps(e, v_set(1.0f))));
}

/* silu(gate) * up of [rows][32] sums as one chunk of tiles; both to keep, unless NULL. */
static void gate(const float *g, const float *u, int rows, size_t tile, uint8_t *out,
                 uint16_t *keep)
{
    for (int r = 0; r < rows; r++, g += 32, u += 32) {
        if (keep) {
            __m512bh a = _mm512_cvtne2ps_pbh(_mm512_load_ps(g + 16), _mm512_load_ps(g));
            __m512bh b = _mm512_cvtne2ps_pbh(_mm512_load_ps(u + 16), _mm512_load_ps(u));
            _mm512_stream_si512((__m512i *)(keep + r * 64), (__m512i)a);
            _mm512_stream_si512((__m512i *)(keep + r * 64 + 32), (__m512i)b);
        }
        __m512 a = gated(_mm512_load_ps(g), _mm512_load_ps(u));
        __m512 b = gated(_mm512_load_ps(g + 16), _mm512_load_ps(u + 16));
        _mm512_store_si512(out + (size_t)(r / 16) * tile + r % 16 * 64,
                           (__m512i)_mm512_cvtne2ps_pbh(b, a));
    }
}

/* Hidden values of chunks [from, from + depth) of rows from `row` on. */
static void mlp_up(const mlp_job *j, const uint8_t *a, int row, int rows, int from, int depth,
                   uint8_t *h)
{
    _Alignas(64) float g[GROUP * 32], u[GROUP * 32];
    int chunks = j->s.dim / 32, padded = rlm_div_up(rows, 32) * 32;
    size_t panel = (size_t)chunks * 2 * RLM_AMX_TILE, tile = (size_t)chunks * RLM_AMX_TILE;
    size_t h_tile = (size_t)depth * RLM_AMX_TILE;
    for (int c = 0; c < depth; c++) {
        const uint8_t *gates = j->up + (size_t)(from + c) * panel;
        const uint8_t *ups = gates + (size_t)(j->s.ffn / 32) * panel;
        const uint8_t *next = from + c + 1 < j->s.ffn / 32 ? gates + panel : j->down;
        for (int r = 0; r < padded; r += GROUP) {
            int count = padded - r < GROUP ? padded - r : GROUP;
            const uint8_t *at = a + (size_t)(r / 16) * tile;
            dense_panel(at, count, gates, chunks, false, false, g, ups, r, padded);
            dense_panel(at, count, ups, chunks, false, false, u, next, r, padded);
            gate(g, u, count, h_tile, h + (size_t)(r / 16) * h_tile + (size_t)c * RLM_AMX_TILE,
                 j->keep ? j->keep + mlp_kept(&j->s, from + c, row + r) : NULL);
        }
    }
}

/* Sums of the output over a depth of hidden values; with the last of them, y. */
static void mlp_down(const mlp_job *j, const uint8_t *h, int row, int rows, int from, int depth,
                     float *sums)
{
    _Alignas(64) float block[GROUP * 32];
    int all = j->s.ffn / 32, dim = j->s.dim;
    size_t panel = (size_t)all * 2 * RLM_AMX_TILE, tile = (size_t)depth * RLM_AMX_TILE;
    dense_leaving leaving = {.rows = 0};
    for (int c = 0; c < dim; c += 32) {
        const uint8_t *b = j->down + (size_t)(c / 32) * panel + (size_t)from * 2 * RLM_AMX_TILE;
        for (int r = 0; r < rows; r += GROUP) {
            int count = rows - r < GROUP ? rows - r : GROUP;
            int64_t at = (int64_t)(row + r) * dim + c;
            float *to = depth == all ? block : sums + (size_t)c * (size_t)j->m_block + r * 32;
            dense_product p = {.a = h + (size_t)(r / 16) * tile,
                               .b = b,
                               .rows = count,
                               .depth = depth,
                               .add = from > 0,
                               .sums = to,
                               .next = c + 32 < dim ? b + panel : NULL,
                               .at = r,
                               .all = rows};
            dense_out out = {
                .y = j->y + at, .residual = j->x + at, .ldy = (size_t)dim, .n = 32, .far = j->far};
            dense_panel_out(&p, &leaving, from + depth == all ? &out : NULL);
        }
    }
    dense_leave(&leaving, 32);
}

static void mlp_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const mlp_job *j = ctx;
    uint8_t *room = rlm_par_scratch(j->par, worker, 3, j->room);
    float *sums = (float *)(void *)(room + j->sums_from);
    int all = j->s.ffn / 32;
    rlm_amx_begin();
    for (int64_t task = begin; task < end; task++) {
        int row = first_row(j->s.rows, j->tasks, task);
        int rows = first_row(j->s.rows, j->tasks, task + 1) - row;
        dense_normed(j->x + (int64_t)row * j->s.dim, rows, j->s.dim, j->gain, j->s.eps, room);
        for (int from = 0; from < all; from += j->depth) {
            int depth = all - from < j->depth ? all - from : j->depth;
            mlp_up(j, room, row, rows, from, depth, room + j->hidden_from);
            mlp_down(j, room + j->hidden_from, row, rows, from, depth, sums);
        }
    }
    rlm_amx_end();
    v_far_end(j->far || j->keep);
}

void rlm_amx_mlp(rlm_par *par, const rlm_mlp_shape *s, const float *x, const float *gain,
                 const rlm_weight *up, const rlm_weight *down, float *y, uint16_t *keep)
{
    mlp_job j = {.s = *s,
                 .tasks = tasks_of(par, s->rows, s->dim),
                 .x = x,
                 .gain = gain,
                 .y = y,
                 .keep = keep,
                 .far = y != x && v_is_far(y, (int64_t)s->rows * s->dim, s->dim),
                 .par = par};
    j.m_block = rlm_div_up(rlm_div_up(s->rows, 32), j.tasks) * 32;
    size_t first = dense_bytes(2 * s->ffn, s->dim), second = dense_bytes(s->dim, s->ffn);
    uint8_t *room = up->quant || down->quant ? rlm_par_scratch(par, 0, 1, first + second) : NULL;
    j.up = rlm_amx_dense_weight(par, 2 * s->ffn, s->dim, up, room);
    j.down = rlm_amx_dense_weight(par, s->dim, s->ffn, down, room + first);
    int all = s->ffn / 32, most = CACHED / (j.m_block * 64);
    j.depth = rlm_div_up(all, rlm_div_up(all, most));
    j.hidden_from = (size_t)j.m_block * (size_t)s->dim * 2;
    j.sums_from = j.hidden_from + (size_t)j.m_block * (size_t)j.depth * 64;
    j.room = j.sums_from;
    if (j.depth < all)
        j.room += (size_t)j.m_block * (size_t)s->dim * sizeof(float);
    rlm_amx_room(par, 3, j.room);
    rlm_par_for(par, j.tasks, 1, mlp_fn, &j);
}

static void mlp_forward(rlm_par *par, const rlm_mlp_shape *s, const float *x, const float *gain,
                        const rlm_weight *up, const rlm_weight *down, float *y)
{
    rlm_amx_mlp(par, s, x, gain, up, down, y, NULL);
}

void rlm_kernels_amx_block(rlm_kernels *k)
{
    k->qkv_forward = qkv_forward;
    k->mlp_forward = mlp_forward;
}
