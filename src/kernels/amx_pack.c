/* AMX overlay: packing of weights. */
#include "src/kernels/amx.h"

/* ---- Weights ------------------------------------------------------------------------------- */

/* One packing seen from the product: n columns, k side with its own channel count. */
typedef struct pack_job {
    rlm_weight_geom g;
    bool transposed;
    rlm_amx_cut cut;
    int columns, depth; /* columns of B; channels on the K side */
    const float *w;
    uint16_t *out;
} pack_job;

static rlm_amx_cut cut_of(const rlm_weight_geom *g, bool transposed)
{
    return rlm_amx_cut_of(transposed ? g->cout : g->cin, g->kt, g->kh, g->kw, g->dw);
}

size_t rlm_amx_pack_bytes(const rlm_weight_geom *g, bool transposed)
{
    rlm_amx_cut cut = cut_of(g, transposed);
    int columns = transposed ? g->cin : g->cout;
    return (size_t)rlm_div_up(columns, RLM_AMX_BLOCK) * (size_t)cut.chunks * 2 * RLM_AMX_TILE;
}

/* Weight of column j at tap (a, b, c), K channel d. The transposed kernel is also reversed. */
static float weight_at(const pack_job *p, int j, int a, int b, int c, int d)
{
    const rlm_weight_geom *g = &p->g;
    int co = j, ci = d;
    if (p->transposed) {
        co = d;
        ci = j;
        a = g->kt - 1 - a;
        b = g->kh - 1 - b;
        c = g->kw - 1 - c;
    }
    return p->w[((((int64_t)co * g->kt + a) * g->kh + b) * g->kw + c) * g->cin + ci];
}

/* K index inside a chunk -> tap c and channel; false: padding. */
static bool locate(const pack_job *p, int block, int i, int k, int *c, int *d)
{
    if (p->cut.merged) {
        int r = i * RLM_AMX_K + k;
        *c = r / p->depth;
        *d = r % p->depth;
        return *c < p->g.kw;
    }
    *c = i;
    *d = block * 32 + k;
    return *d < p->depth;
}

/* Any geometry, value by value. */
static void pack_chunk_any(const pack_job *p, int nb, int chunk, uint16_t *out)
{
    const rlm_amx_cut *cut = &p->cut;
    int i = chunk % cut->run, row = chunk / cut->run;
    int b = row % p->g.kh, a = row / p->g.kh % p->g.kt, block = row / p->g.kh / p->g.kt;
    for (int k = 0; k < RLM_AMX_K; k++) {
        int c, d;
        bool in = locate(p, block, i, k, &c, &d);
        for (int j = 0; j < RLM_AMX_BLOCK; j++) {
            int column = nb * RLM_AMX_BLOCK + j;
            float v = in && column < p->columns ? weight_at(p, column, a, b, c, d) : 0.0f;
            out[(j / 16) * 512 + (k / 2) * 32 + (j % 16) * 2 + (k & 1)] = rlm_bf16(v);
        }
    }
}

/* Forward: the 32 K values of a column lie side by side; `left` of them exist. */
static void pack_forward(const pack_job *p, int nb, int64_t at, int left, uint16_t *out)
{
    int64_t pitch = (int64_t)p->g.kt * p->g.kh * p->g.kw * p->g.cin;
    __mmask16 m0 = v_tail(left), m1 = v_left(left - 16);
    for (int tile = 0; tile < 2; tile++) {
        __m512i r[16];
        for (int j = 0; j < 16; j++) {
            int column = nb * RLM_AMX_BLOCK + tile * 16 + j;
            if (column >= p->columns) {
                r[j] = _mm512_setzero_si512();
                continue;
            }
            const float *w = p->w + column * pitch + at;
            r[j] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(m1, w + 16),
                                                _mm512_maskz_loadu_ps(m0, w));
        }
        v_transpose16(r);
        for (int k = 0; k < 16; k++)
            _mm512_storeu_si512(out + tile * 512 + k * 32, r[k]);
    }
}

/* Transposed: the columns of one K value lie side by side; K runs over output channels. */
static void pack_transposed(const pack_job *p, int nb, int64_t tap, int first, uint16_t *out)
{
    int64_t pitch = (int64_t)p->g.kt * p->g.kh * p->g.kw * p->g.cin;
    for (int tile = 0; tile < 2; tile++) {
        int column = nb * RLM_AMX_BLOCK + tile * 16;
        __mmask16 m = v_left(p->columns - column);
        for (int k = 0; k < RLM_AMX_K; k += 2) {
            const float *w = p->w + (first + k) * pitch + tap * p->g.cin + column;
            __m512 lo = _mm512_setzero_ps(), hi = lo;
            if (first + k < p->depth)
                lo = _mm512_maskz_loadu_ps(m, w);
            if (first + k + 1 < p->depth)
                hi = _mm512_maskz_loadu_ps(m, w + pitch);
            _mm512_storeu_si512(out + tile * 512 + k * 16, rlm_amx_pair(lo, hi));
        }
    }
}

static void pack_chunk(const pack_job *p, int nb, int chunk, uint16_t *out)
{
    const rlm_amx_cut *cut = &p->cut;
    const rlm_weight_geom *g = &p->g;
    int i = chunk % cut->run, row = chunk / cut->run;
    int b = row % g->kh, a = row / g->kh % g->kt, block = row / g->kh / g->kt;
    if (p->transposed && !cut->merged) {
        int64_t tap = ((int64_t)(g->kt - 1 - a) * g->kh + g->kh - 1 - b) * g->kw + g->kw - 1 - i;
        pack_transposed(p, nb, tap, block * 32, out);
    } else if (!p->transposed) {
        int64_t line = ((int64_t)a * g->kh + b) * g->kw * g->cin;
        int from = cut->merged ? i * RLM_AMX_K : i * g->cin + block * 32;
        int left = cut->merged ? g->kw * g->cin - from : g->cin - block * 32;
        pack_forward(p, nb, line + from, left, out);
    } else {
        pack_chunk_any(p, nb, chunk, out);
    }
}

static void pack_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const pack_job *p = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int chunk = (int)(i % p->cut.chunks), nb = (int)(i / p->cut.chunks);
        pack_chunk(p, nb, chunk, p->out + i * 1024);
    }
}

void rlm_amx_pack(rlm_par *par, const rlm_weight_geom *g, const float *w, bool transposed,
                  void *out)
{
    pack_job p = {
        .g = *g, .transposed = transposed, .cut = cut_of(g, transposed), .w = w, .out = out};
    p.columns = transposed ? g->cin : g->cout;
    p.depth = transposed ? g->cout : g->cin;
    int64_t n = (int64_t)rlm_div_up(p.columns, RLM_AMX_BLOCK) * p.cut.chunks;
    rlm_par_for(par, n, 16, pack_slice, &p);
}
