/* AMX overlay: packing of weights and filling of padded bf16 activation panels. */
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
    __mmask16 m0 = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
    __mmask16 m1 = left >= 32 ? 0xffff : left > 16 ? (__mmask16)((1u << (left - 16)) - 1) : 0;
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
        rlm_amx_transpose16(r);
        for (int k = 0; k < 16; k++)
            _mm512_storeu_si512(out + tile * 512 + k * 32, r[k]);
    }
}

/* Transposed: the columns of one K value lie side by side; K runs over output channels. */
static void pack_transposed(const pack_job *p, int nb, int64_t tap, int first, uint16_t *out)
{
    int64_t pitch = (int64_t)p->g.kt * p->g.kh * p->g.kw * p->g.cin;
    for (int tile = 0; tile < 2; tile++) {
        int column = nb * RLM_AMX_BLOCK + tile * 16, n = p->columns - column;
        __mmask16 m = n >= 16 ? 0xffff : n > 0 ? (__mmask16)((1u << n) - 1) : 0;
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

/* ---- Activations ---------------------------------------------------------------------------- */

static int64_t panel_positions(const rlm_amx_fill *f)
{
    return (int64_t)f->n * f->tp * f->hp * f->wp;
}

/* Slack behind the last position: a tile of 16 rows and its 64-byte chunks may read past the end,
 * into values that meet zero weights but must be finite. */
static size_t panel_slack(const rlm_amx_fill *f)
{
    return ((size_t)32 * (size_t)f->cblk * 4 + 128) * 2;
}

size_t rlm_amx_panel_bytes(const rlm_amx_fill *f)
{
    size_t values = (size_t)panel_positions(f) * (size_t)f->cblk * (size_t)f->blocks;
    return (values * 2 + panel_slack(f) + 63) / 64 * 64;
}

/* One position's channels of one block. */
static void fill_position(const rlm_amx_fill *f, const float *src, int block, uint16_t *out)
{
    int from = block * f->cblk, n = f->c - from < f->cblk ? f->c - from : f->cblk;
    rlm_amx_to_bf16(src + from, n, out);
    if (n < f->cblk)
        memset(out + n, 0, (size_t)(f->cblk - n) * 2);
}

static void fill_row(const rlm_amx_fill *f, const float *src, int block, uint16_t *row)
{
    int cb = f->cblk, x = 0;
    if (!src) {
        memset(row, 0, (size_t)f->wp * cb * 2);
        return;
    }
    int pad = f->pw < f->wp ? f->pw : f->wp;
    memset(row, 0, (size_t)(pad > 0 ? pad : 0) * cb * 2);
    if (f->uw == 1 && f->blocks == 1 && cb == f->c && f->pw >= 0) {
        int n = f->w < f->wp - f->pw ? f->w : f->wp - f->pw;
        rlm_amx_to_bf16(src, n * f->c, row + (size_t)f->pw * cb);
        x = f->pw + n;
    } else {
        for (x = pad > 0 ? pad : 0; x < f->wp; x++) {
            int q = x - f->pw;
            if (q >= (f->w - 1) * f->uw + 1)
                break;
            if (q % f->uw == 0)
                fill_position(f, src + (int64_t)(q / f->uw) * f->c, block, row + (size_t)x * cb);
            else
                memset(row + (size_t)x * cb, 0, (size_t)cb * 2);
        }
    }
    if (x < f->wp)
        memset(row + (size_t)x * cb, 0, (size_t)(f->wp - x) * cb * 2);
}

/* Source row of a padded row, or NULL for padding. */
static const float *source_row(const rlm_amx_fill *f, int64_t row)
{
    int h = (int)(row % f->hp) - f->ph, t = (int)(row / f->hp % f->tp) - f->pt;
    int64_t n = row / f->hp / f->tp;
    if (h < 0 || t < 0 || h % f->uh || t % f->ut || h / f->uh >= f->h || t / f->ut >= f->t)
        return NULL;
    return f->x + (((n * f->t + t / f->ut) * f->h + h / f->uh) * (int64_t)f->w) * f->c;
}

static void fill_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rlm_amx_fill *f = ctx;
    (void)worker;
    int64_t plane = panel_positions(f) * f->cblk;
    for (int64_t r = begin; r < end; r++) {
        const float *src = source_row(f, r);
        for (int b = 0; b < f->blocks; b++)
            fill_row(f, src, b, f->out + b * plane + r * f->wp * f->cblk);
    }
}

/* One very long row (sequences): positions instead of rows are the unit of work. */
static void fill_positions(void *ctx, int64_t begin, int64_t end, int worker)
{
    rlm_amx_fill f = *(const rlm_amx_fill *)ctx;
    (void)worker;
    int64_t plane = panel_positions(&f) * f.cblk;
    f.x += begin * f.c;
    f.w = f.wp = (int)(end - begin);
    for (int b = 0; b < f.blocks; b++)
        fill_row(&f, f.x, b, f.out + b * plane + begin * f.cblk);
}

void rlm_amx_fill_panel(rlm_par *par, const rlm_amx_fill *f)
{
    rlm_amx_fill job = *f;
    int64_t rows = (int64_t)f->n * f->tp * f->hp;
    size_t values = (size_t)panel_positions(f) * f->cblk * f->blocks;
    memset(f->out + values, 0, panel_slack(f));
    bool flat = rows == 1 && f->pw == 0 && f->uw == 1 && f->wp == f->w && !f->ph && !f->pt;
    int64_t work = (int64_t)f->wp * f->c;
    if (flat)
        rlm_par_for(par, f->wp, 1 + 32768 / f->c, fill_positions, &job);
    else
        rlm_par_for(par, rows, 1 + 32768 / work, fill_slice, &job);
}

rlm_amx_grid rlm_amx_grid_of(const rlm_conv_shape *shape)
{
    rlm_amx_grid g = {.s = *shape};
    rlm_conv_shape *s = &g.s;
    if (s->kh == 1 && s->kw == 1 && s->sh == 1 && s->sw == 1 && !s->ph && !s->pw && s->oh == s->h &&
        s->ow == s->w) {
        s->w *= s->h;
        s->ow = s->w;
        s->h = s->oh = 1;
    }
    if (s->kt == 1 && s->st == 1 && !s->pt && s->ot == s->t) { /* frames are independent */
        s->n *= s->t;
        s->t = s->ot = 1;
    }
    g.tp = (s->ot - 1) * s->st + s->kt;
    g.hp = (s->oh - 1) * s->sh + s->kh;
    g.wp = (s->ow - 1) * s->sw + (s->kw - 1) * s->dw + 1;
    return g;
}
