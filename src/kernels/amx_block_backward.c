/* AMX overlay: gradients of the two halves of a transformer block. A task takes some rows back
 * through the whole half in its core's L2 cache and leaves what the weight gradients multiply as
 * tiles (amx_dense_weight.h), a part of the rows at a time; nothing in between is a tensor. */
#include "src/kernels/amx_block.h"
#include "src/kernels/amx_dense_weight.h"
#include "src/kernels/lanes_rope.h"

enum {
    GROUP = 128,       /* rows whose sums lie in the L1 cache */
    PART = 2048,       /* rows whose tiles exist at a time; whole slabs */
    CACHED = 512 << 10 /* bytes of a task's gradients of hidden values */
};

/* Rows a task, by shape alone: sums of gain gradients follow it. */
static int rows_of_task(int dim)
{
    int most = (1 << 20) / (dim * 6) / 32 * 32;
    return most < 128 ? 128 : most > 256 ? 256 : most;
}

/* ---- The norm in front ---------------------------------------------------------------------- */

typedef struct norm_job {
    int dim;
    float eps;
    const float *x, *gain;
    float *dx; /* accumulates */
} norm_job;

/* Rows of x normed, as turned tiles of a part of the batch in which they are rows `at` on; 1 / rms
 * to rstd. normed: room for 32 rows. */
static void turn_normed(const norm_job *n, const float *x, int rows, int at, int all, float *normed,
                        float *rstd, uint16_t *out)
{
    int c = n->dim;
    for (int r = 0; r < rows; r += 32) {
        for (int i = r; i < rows && i < r + 32; i++) {
            const float *from = x + (int64_t)i * c;
            float *to = normed + (int64_t)(i - r) * c;
            __m512 s = _mm512_setzero_ps();
            for (int k = 0; k < c; k += 16) {
                __m512 v = _mm512_loadu_ps(from + k);
                s = _mm512_fmadd_ps(v, v, s);
            }
            rstd[i] = (float)(1.0 / sqrt((double)_mm512_reduce_add_ps(s) / c + n->eps));
            for (int k = 0; k < c; k += 16) {
                __m512 v = _mm512_mul_ps(_mm512_loadu_ps(from + k), v_set(rstd[i]));
                _mm512_store_ps(to + k, _mm512_mul_ps(v, _mm512_loadu_ps(n->gain + k)));
            }
        }
        size_t tile, to = dense_chunk_at(at + r, all, dense_tiles(c), &tile);
        dense_turn(normed, rows - r, c, c, tile, out + to);
    }
}

/* sums [dim / 32][m][32] are gradients of normed rows, row 0 being x's row `row`: dx and dgain +=.
 */
static void norm_backward(const norm_job *n, const float *sums, int m, int row, int rows,
                          const float *rstd, float *dgain)
{
    int c = n->dim;
    for (int r = 0; r < rows; r++) {
        const float *x = n->x + (int64_t)(row + r) * c;
        float *dx = n->dx + (int64_t)(row + r) * c;
        __m512 dot = _mm512_setzero_ps(), scale = v_set(rstd[r]);
        for (int k = 0; k < c; k += 16) {
            __m512 d =
                _mm512_load_ps(sums + ((size_t)(k / 32) * (size_t)m + (size_t)r) * 32 + k % 32);
            __m512 dv = _mm512_mul_ps(d, _mm512_loadu_ps(x + k));
            dot = _mm512_fmadd_ps(dv, _mm512_loadu_ps(n->gain + k), dot);
            _mm512_storeu_ps(dgain + k, _mm512_fmadd_ps(dv, scale, _mm512_loadu_ps(dgain + k)));
        }
        __m512 mean = v_set(_mm512_reduce_add_ps(dot) / (float)c * rstd[r] * rstd[r]);
        for (int k = 0; k < c; k += 16) {
            __m512 d =
                _mm512_load_ps(sums + ((size_t)(k / 32) * (size_t)m + (size_t)r) * 32 + k % 32);
            d = _mm512_mul_ps(d, _mm512_loadu_ps(n->gain + k));
            d = _mm512_fnmadd_ps(_mm512_loadu_ps(x + k), mean, d);
            _mm512_storeu_ps(dx + k, _mm512_fmadd_ps(d, scale, _mm512_loadu_ps(dx + k)));
        }
    }
}

/* to [count] += column sums of parts [rows][pitch]. */
static void add_parts(const float *parts, int rows, int pitch, int count, float *to)
{
    for (int i = 0; i < count; i++) {
        double sum = 0;
        for (int r = 0; r < rows; r++)
            sum += parts[(int64_t)r * pitch + i];
        to[i] += (float)sum;
    }
}

/* ---- The gated half ------------------------------------------------------------------------- */

typedef struct mlp_job {
    rlm_mlp_shape s;
    norm_job n;
    int m, depth;             /* rows of a task; chunks of hidden values at a time */
    int first, rows;          /* the part: first row, rows */
    const uint8_t *up, *down; /* transposed */
    const uint16_t *keep;
    uint16_t *normed, *d, *hidden, *gates; /* tiles of the part; gates: ups behind them */
    float *dgain;                          /* [tasks of the part][dim] */
    size_t gates_from, sums_from, rows_from, rstd_from, room; /* of a worker's scratch */
    rlm_par *par;
} mlp_job;

/* Where 32 rows of one chunk of hidden values go. */
typedef struct gate_out {
    uint8_t *g, *u; /* gradients of gates and ups: two tiles of 16 rows, `tile` bytes apart */
    size_t tile;
    uint16_t *pair_h, *pair_g, *pair_u; /* paired tiles of the first 16 channels */
    size_t next;                        /* values to those of the other 16 */
} gate_out;

/* dh [32][32] and what was kept of the same values. */
static void gate_backward(const float *dh, const uint16_t *keep, const gate_out *o)
{
    for (int r = 0; r < 32; r += 2) {
        __m512 h[2][2], dg[2][2], du[2][2];
        for (int i = 0; i < 2; i++) {
            for (int half = 0; half < 2; half++) {
                const uint16_t *at = keep + (r + i) * 64 + half * 16;
                __m512 g = v_unbf16(at, 0xffff), u = v_unbf16(at + 32, 0xffff);
                __m512 d = _mm512_load_ps(dh + (r + i) * 32 + half * 16);
                __m512 e = v_exp2_16(0xffff, _mm512_mul_ps(g, v_set(-1.44269504f)));
                __m512 s = _mm512_rcp14_ps(_mm512_add_ps(e, v_set(1.0f)));
                __m512 silu = _mm512_mul_ps(g, s); /* its slope: s + silu (1 - s) */
                h[i][half] = _mm512_mul_ps(silu, u);
                du[i][half] = _mm512_mul_ps(d, silu);
                dg[i][half] = _mm512_mul_ps(
                    _mm512_mul_ps(d, u), _mm512_fmadd_ps(silu, _mm512_sub_ps(v_set(1.0f), s), s));
            }
            size_t to = (size_t)((r + i) / 16) * o->tile + (size_t)((r + i) % 16) * 64;
            _mm512_store_si512(o->g + to, (__m512i)_mm512_cvtne2ps_pbh(dg[i][1], dg[i][0]));
            _mm512_store_si512(o->u + to, (__m512i)_mm512_cvtne2ps_pbh(du[i][1], du[i][0]));
        }
        for (int half = 0; half < 2; half++) {
            size_t to = half * o->next + (size_t)r * 16;
            _mm512_store_si512(o->pair_h + to, rlm_amx_pair(h[0][half], h[1][half]));
            _mm512_store_si512(o->pair_g + to, rlm_amx_pair(dg[0][half], dg[1][half]));
            _mm512_store_si512(o->pair_u + to, rlm_amx_pair(du[0][half], du[1][half]));
        }
    }
}

/* Gradients of hidden values, chunks [from, from + depth), of rows `row` on of the part. */
static void mlp_hidden(const mlp_job *j, const uint8_t *a, int row, int padded, int from, int depth,
                       uint8_t *gates)
{
    _Alignas(64) float sums[GROUP * 32];
    int chunks = j->s.dim / 32, all = j->s.ffn / 32;
    size_t panel = (size_t)chunks * 2 * RLM_AMX_TILE, tile = (size_t)chunks * RLM_AMX_TILE;
    gate_out o = {.tile = (size_t)depth * RLM_AMX_TILE};
    size_t ups = (size_t)(padded / 16) * o.tile;
    for (int c = 0; c < depth; c++) {
        const uint8_t *b = j->down + (size_t)(from + c) * panel;
        const uint8_t *next = from + c + 1 < all ? b + panel : NULL;
        for (int r = 0; r < padded; r++) {
            if (r % GROUP == 0)
                dense_panel(a + (size_t)(r / 16) * tile, padded - r < GROUP ? padded - r : GROUP, b,
                            chunks, false, false, sums, next, r, padded);
            if (r % 32)
                continue;
            o.g = gates + (size_t)(r / 16) * o.tile + (size_t)c * RLM_AMX_TILE;
            o.u = o.g + ups;
            o.pair_h = j->hidden + dense_chunk_at(row + r, j->rows, 2 * all, &o.next);
            o.pair_h += (size_t)(from + c) * 2 * o.next;
            o.pair_g = j->gates + dense_chunk_at(row + r, j->rows, 4 * all, &o.next);
            o.pair_u = o.pair_g + (size_t)(all + from + c) * 2 * o.next;
            o.pair_g += (size_t)(from + c) * 2 * o.next;
            gate_backward(sums + r % GROUP * 32,
                          j->keep + mlp_kept(&j->s, from + c, j->first + row + r), &o);
        }
    }
}

/* Sums [dim / 32][m][32] of the gradient of the normed rows over a depth of hidden values. */
static void mlp_normed(const mlp_job *j, const uint8_t *gates, int padded, int from, int depth,
                       float *sums)
{
    int all = j->s.ffn / 32, columns = j->s.dim / 32;
    size_t tile = (size_t)depth * RLM_AMX_TILE, ups = (size_t)(padded / 16) * tile;
    size_t half = (size_t)all * 2 * RLM_AMX_TILE;
    for (int c = 0; c < columns; c++) {
        const uint8_t *b = j->up + (size_t)c * 2 * half + (size_t)from * 2 * RLM_AMX_TILE;
        const uint8_t *next = c + 1 < columns ? b + 2 * half : NULL;
        for (int r = 0; r < padded; r += GROUP) {
            int count = padded - r < GROUP ? padded - r : GROUP;
            const uint8_t *a = gates + (size_t)(r / 16) * tile;
            float *to = sums + ((size_t)c * (size_t)j->m + (size_t)r) * 32;
            dense_panel(a, count, b, depth, false, from > 0, to, b + half, r, padded);
            dense_panel(a + ups, count, b + half, depth, false, true, to, next, r, padded);
        }
    }
}

static void mlp_task(const mlp_job *j, int task, uint8_t *room)
{
    int row = task * j->m, rows = j->rows - row < j->m ? j->rows - row : j->m;
    int padded = rlm_div_up(rows, 32) * 32, dim = j->s.dim, chunks = dim / 32, all = j->s.ffn / 32;
    float *sums = (float *)(void *)(room + j->sums_from), *dgain = j->dgain + (int64_t)task * dim;
    float *rstd = (float *)(void *)(room + j->rstd_from);
    const float *d = j->n.dx + (int64_t)(j->first + row) * dim;
    for (int r = 0; r < padded; r++)
        rlm_amx_row(r < rows ? d + (int64_t)r * dim : NULL, dim, chunks,
                    room + (size_t)(r / 16) * (size_t)chunks * RLM_AMX_TILE + r % 16 * 64);
    for (int r = 0; r < rows; r += 32) {
        size_t tile, to = dense_chunk_at(row + r, j->rows, dense_tiles(dim), &tile);
        dense_turn(d + (int64_t)r * dim, rows - r, dim, dim, tile, j->d + to);
    }
    turn_normed(&j->n, j->n.x + (int64_t)(j->first + row) * dim, rows, row, j->rows,
                (float *)(void *)(room + j->rows_from), rstd, j->normed);
    for (int from = 0; from < all; from += j->depth) {
        int depth = all - from < j->depth ? all - from : j->depth;
        mlp_hidden(j, room, row, padded, from, depth, room + j->gates_from);
        mlp_normed(j, room + j->gates_from, padded, from, depth, sums);
    }
    memset(dgain, 0, (size_t)dim * sizeof(float));
    norm_backward(&j->n, sums, j->m, j->first + row, rows, rstd, dgain);
}

static void mlp_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const mlp_job *j = ctx;
    uint8_t *room = rlm_par_scratch(j->par, worker, 3, j->room);
    rlm_amx_begin();
    for (int64_t task = begin; task < end; task++)
        mlp_task(j, (int)task, room);
    rlm_amx_end();
}

static void mlp_plan(mlp_job *j)
{
    size_t dim = (size_t)j->s.dim, m = (size_t)(j->m = rows_of_task(j->s.dim));
    int all = j->s.ffn / 32, most = CACHED / (j->m * 128);
    j->depth = rlm_div_up(all, rlm_div_up(all, most));
    j->gates_from = m * dim * 2;
    j->sums_from = j->gates_from + m * (size_t)j->depth * 128;
    j->rows_from = j->sums_from + m * dim * sizeof(float);
    j->rstd_from = j->rows_from + 32 * dim * sizeof(float);
    j->room = j->rstd_from + m * sizeof(float);
    rlm_amx_room(j->par, 3, j->room);
}

static void mlp_backward(rlm_par *par, const rlm_mlp_shape *s, const float *x, const float *gain,
                         const rlm_weight *up, const rlm_weight *down, const void *saved,
                         const rlm_mlp_grads *to)
{
    mlp_job j = {.s = *s,
                 .n = {s->dim, s->eps, x, gain, to->d},
                 .up = up->pack_t,
                 .down = down->pack_t,
                 .keep = saved,
                 .par = par};
    mlp_plan(&j);
    int most = s->rows < PART ? s->rows : PART, tasks = rlm_div_up(most, j.m);
    size_t narrow = dense_side(most, s->dim), wide = dense_side(most, s->ffn);
    j.normed = rlm_par_scratch(par, 0, 2,
                               (2 * narrow + 3 * wide) * sizeof(uint16_t) +
                                   (size_t)tasks * (size_t)s->dim * sizeof(float));
    j.d = j.normed + narrow;
    j.hidden = j.d + narrow;
    j.gates = j.hidden + wide;
    j.dgain = (float *)(void *)(j.gates + 2 * wide);
    dense_weight w[2] = {{s->dim, 2 * s->ffn, j.normed, j.gates, to->up, true},
                         {s->dim, s->ffn, j.d, j.hidden, to->down, false}};
    for (; j.first < s->rows; j.first += PART) {
        j.rows = s->rows - j.first < PART ? s->rows - j.first : PART;
        tasks = rlm_div_up(j.rows, j.m);
        rlm_par_for(par, tasks, 1, mlp_fn, &j);
        add_parts(j.dgain, tasks, s->dim, s->dim, to->gain);
        rlm_amx_weight_products(par, w, 2, j.rows);
    }
}

static size_t mlp_saved(const rlm_mlp_shape *s)
{
    return mlp_kept(s, s->ffn / 32, 0) * sizeof(uint16_t);
}

static void mlp_save(rlm_par *par, const rlm_mlp_shape *s, const float *x, const float *gain,
                     const rlm_weight *up, const rlm_weight *down, float *y, void *saved)
{
    rlm_amx_mlp(par, s, x, gain, up, down, y, saved);
}

/* ---- Attention's half ----------------------------------------------------------------------- */

typedef struct qkv_job {
    rlm_qkv_shape s;
    norm_job n;
    int width, m, first, rows;
    const uint8_t *w; /* transposed */
    const float *q_gain, *k_gain, *angle, *rstd;
    const uint16_t *y, *dy;
    uint16_t *normed, *out; /* tiles of the part */
    float *dgain;           /* [tasks of the part][width + 2 dim]: the norm's, q's, k's */
    size_t sums_from, rows_from, rstd_from, room;
    rlm_par *par;
} qkv_job;

/* One head back through rotation and norm: out [dim] is the gradient of its input. */
static void head_backward(int dim, const uint16_t *y, const uint16_t *dy, const float *gain,
                          float rstd, const float *sine, const float *cosine, float *out,
                          float *dgain)
{
    _Alignas(64) float x[ROPE_MAX_DIM]; /* normed, times gain */
    int half = dim / 2;
    __m512 dot = _mm512_setzero_ps();
    for (int i = 0; i < half; i += 16) {
        __m512 s = _mm512_loadu_ps(sine + i), c = _mm512_loadu_ps(cosine + i);
        __m512 a = v_unbf16(y + i, 0xffff), b = v_unbf16(y + half + i, 0xffff);
        __m512 x0 = _mm512_fmadd_ps(a, c, _mm512_mul_ps(b, s));
        __m512 x1 = _mm512_fmsub_ps(b, c, _mm512_mul_ps(a, s));
        a = v_unbf16(dy + i, 0xffff);
        b = v_unbf16(dy + half + i, 0xffff);
        __m512 g0 = _mm512_fmadd_ps(a, c, _mm512_mul_ps(b, s));
        __m512 g1 = _mm512_fmsub_ps(b, c, _mm512_mul_ps(a, s));
        dot = _mm512_fmadd_ps(x0, g0, _mm512_fmadd_ps(x1, g1, dot));
        _mm512_store_ps(x + i, x0);
        _mm512_storeu_ps(x + half + i, x1);
        _mm512_storeu_ps(out + i, g0);
        _mm512_storeu_ps(out + half + i, g1);
    }
    __m512 mean = v_set(_mm512_reduce_add_ps(dot) / (float)dim), scale = v_set(rstd);
    for (int i = 0; i < dim; i += 16) {
        __m512 w = _mm512_loadu_ps(gain + i), g = _mm512_loadu_ps(out + i);
        __mmask16 some = _mm512_cmp_ps_mask(w, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        __m512 v = _mm512_maskz_div_ps(some, _mm512_loadu_ps(x + i), w);
        _mm512_storeu_ps(dgain + i, _mm512_fmadd_ps(g, v, _mm512_loadu_ps(dgain + i)));
        g = _mm512_fnmadd_ps(v, mean, _mm512_mul_ps(g, w));
        _mm512_storeu_ps(out + i, _mm512_mul_ps(g, scale));
    }
}

/* 32 rows of one head's gradient as a chunk of rows of A and as paired tiles. */
static void store_head(const float *block, int dim, uint8_t *a, size_t a_tile, uint16_t *pairs,
                       size_t tile)
{
    for (int r = 0; r < 32; r++)
        rlm_amx_row(block + r * dim, dim, dim / 32,
                    a + (size_t)(r / 16) * a_tile + (size_t)(r % 16) * 64);
    dense_pair(block, 32, dim, dim, tile, pairs);
}

/* Gradients of queries, keys and values before norm and rotation, 32 rows from `row` of the part.
 */
static void qkv_rows(const qkv_job *j, int row, int rows, uint8_t *a, float *dgain)
{
    _Alignas(64) float table[32 * ROPE_MAX_DIM], block[32 * ROPE_MAX_DIM];
    int dim = j->s.dim, heads = j->s.heads, width = j->width;
    size_t a_tile = (size_t)(3 * width / 32) * RLM_AMX_TILE, tile;
    uint16_t *pairs = j->out + dense_chunk_at(row, j->rows, dense_tiles(3 * width), &tile);
    int64_t at = j->first + row;
    for (int r = 0; r < rows; r++)
        rope_table(j->angle + (at + r) * (dim / 2), dim / 2, table + r * dim,
                   table + r * dim + dim / 2);
    for (int h = 0; h < 3 * heads; h++) {
        for (int r = 0; r < 32; r++) {
            int64_t from = (at + r) * 3 * width + h * dim;
            for (int i = dim; i < 2 * dim && r < rows; i += 32) { /* the next head: pages apart */
                _mm_prefetch((const char *)(j->y + from + i), _MM_HINT_T0);
                _mm_prefetch((const char *)(j->dy + from + i), _MM_HINT_T0);
            }
            if (r >= rows)
                memset(block + r * dim, 0, (size_t)dim * sizeof(float));
            else if (h >= 2 * heads)
                for (int i = 0; i < dim; i += 16)
                    _mm512_store_ps(block + r * dim + i, v_unbf16(j->dy + from + i, 0xffff));
            else
                head_backward(dim, j->y + from, j->dy + from, h < heads ? j->q_gain : j->k_gain,
                              j->rstd[(at + r) * 2 * heads + h], table + r * dim,
                              table + r * dim + dim / 2, block + r * dim,
                              dgain + width + (h < heads ? 0 : dim));
        }
        store_head(block, dim, a + (size_t)(h * dim / 32) * RLM_AMX_TILE, a_tile,
                   pairs + (size_t)(h * dim / 16) * tile, tile);
    }
}

static void qkv_task(const qkv_job *j, int task, uint8_t *room)
{
    int row = task * j->m, rows = j->rows - row < j->m ? j->rows - row : j->m;
    int padded = rlm_div_up(rows, 32) * 32, width = j->width, depth = 3 * width / 32;
    size_t tile = (size_t)depth * RLM_AMX_TILE;
    float *sums = (float *)(void *)(room + j->sums_from);
    float *rstd = (float *)(void *)(room + j->rstd_from);
    float *dgain = j->dgain + (int64_t)task * (width + 2 * j->s.dim);
    memset(dgain, 0, (size_t)(width + 2 * j->s.dim) * sizeof(float));
    turn_normed(&j->n, j->n.x + (int64_t)(j->first + row) * width, rows, row, j->rows,
                (float *)(void *)(room + j->rows_from), rstd, j->normed);
    for (int r = 0; r < rows; r += 32)
        qkv_rows(j, row + r, rows - r < 32 ? rows - r : 32, room + (size_t)(r / 16) * tile, dgain);
    for (int c = 0; c < width / 32; c++) {
        const uint8_t *b = j->w + (size_t)c * 2 * tile;
        for (int r = 0; r < padded; r += GROUP)
            dense_panel(room + (size_t)(r / 16) * tile, padded - r < GROUP ? padded - r : GROUP, b,
                        depth, false, false, sums + ((size_t)c * (size_t)j->m + (size_t)r) * 32,
                        c + 1 < width / 32 ? b + 2 * tile : NULL, r, padded);
    }
    norm_backward(&j->n, sums, j->m, j->first + row, rows, rstd, dgain);
}

static void qkv_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const qkv_job *j = ctx;
    uint8_t *room = rlm_par_scratch(j->par, worker, 3, j->room);
    rlm_amx_begin();
    for (int64_t task = begin; task < end; task++)
        qkv_task(j, (int)task, room);
    rlm_amx_end();
}

static void qkv_plan(qkv_job *j)
{
    size_t width = (size_t)j->width, m = (size_t)(j->m = rows_of_task(j->width));
    j->sums_from = m * width * 3 * 2;
    j->rows_from = j->sums_from + m * width * sizeof(float);
    j->rstd_from = j->rows_from + 32 * width * sizeof(float);
    j->room = j->rstd_from + m * sizeof(float);
    rlm_amx_room(j->par, 3, j->room);
}

static void qkv_backward(rlm_par *par, const rlm_qkv_shape *s, const float *x, const float *gain,
                         const rlm_weight *w, const float *q_gain, const float *k_gain,
                         const float *angle, const uint16_t *y, const void *saved,
                         const uint16_t *dy, const rlm_qkv_grads *to)
{
    int width = s->heads * s->dim, pitch = width + 2 * s->dim;
    qkv_job j = {.s = *s,
                 .n = {width, s->eps, x, gain, to->x},
                 .width = width,
                 .w = w->pack_t,
                 .q_gain = q_gain,
                 .k_gain = k_gain,
                 .angle = angle,
                 .y = y,
                 .rstd = saved,
                 .dy = dy,
                 .par = par};
    qkv_plan(&j);
    int most = s->rows < PART ? s->rows : PART, tasks = rlm_div_up(most, j.m);
    size_t narrow = dense_side(most, width), wide = dense_side(most, 3 * width);
    j.normed = rlm_par_scratch(par, 0, 2,
                               (narrow + wide) * sizeof(uint16_t) +
                                   (size_t)tasks * (size_t)pitch * sizeof(float));
    j.out = j.normed + narrow;
    j.dgain = (float *)(void *)(j.out + wide);
    dense_weight product = {width, 3 * width, j.normed, j.out, to->w, true};
    for (; j.first < s->rows; j.first += PART) {
        j.rows = s->rows - j.first < PART ? s->rows - j.first : PART;
        tasks = rlm_div_up(j.rows, j.m);
        rlm_par_for(par, tasks, 1, qkv_fn, &j);
        add_parts(j.dgain, tasks, pitch, width, to->gain);
        add_parts(j.dgain + width, tasks, pitch, s->dim, to->q_gain);
        add_parts(j.dgain + width + s->dim, tasks, pitch, s->dim, to->k_gain);
        rlm_amx_weight_products(par, &product, 1, j.rows);
    }
}

static size_t qkv_saved(const rlm_qkv_shape *s)
{
    return (size_t)s->rows * 2 * (size_t)s->heads * sizeof(float);
}

static void qkv_save(rlm_par *par, const rlm_qkv_shape *s, const float *x, const float *gain,
                     const rlm_weight *w, const float *q_gain, const float *k_gain,
                     const float *angle, uint16_t *y, void *saved)
{
    rlm_amx_qkv(par, s, x, gain, w, q_gain, k_gain, angle, NULL, y, saved);
}

void rlm_kernels_amx_block_backward(rlm_kernels *k)
{
    k->qkv_saved = qkv_saved;
    k->qkv_save = qkv_save;
    k->qkv_backward = qkv_backward;
    k->mlp_saved = mlp_saved;
    k->mlp_save = mlp_save;
    k->mlp_backward = mlp_backward;
}
