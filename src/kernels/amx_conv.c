/* AMX overlay: implicit-GEMM convolution, box by box. The input of a box of outputs becomes a
 * padded bf16 panel in the L2 cache, read once from f32 and normalised on the way if asked to;
 * every tap of every output tile is then a tile load at an offset, with no im2col copy. Backward
 * data is the same product with the reversed, transposed weight. */
#include "src/kernels/amx_prepare.h"
#include "src/kernels/blas.h"

enum {
    PANEL_MOST = 448 << 10, /* bytes of a panel, where the shape allows */
    GROUP = 8,              /* tiles of 16 outputs that meet a column block together */
    SEGMENT = 12            /* chunks of K whose weights and inputs share the L1 cache */
};

typedef struct conv_job {
    rlm_conv_shape s;
    rlm_amx_conv c;
    rlm_amx_cut cut;
    rlm_par *par;
    int tl, hl, wl;    /* outputs of a box */
    int tb, hb, wb;    /* boxes along each axis */
    int tp, hp, wp;    /* panel */
    int64_t plane;     /* values of one channel block of a panel */
    int segment;       /* chunks between visits of the accumulators */
    const size_t *off; /* bytes, one a chunk */
    size_t panel_bytes;
    bool far; /* y is written past the caches */
} conv_job;

/* ---- Boxes --------------------------------------------------------------------------------- */

static void measure(conv_job *j)
{
    const rlm_conv_shape *s = &j->s;
    j->tb = rlm_div_up(s->ot, j->tl);
    j->hb = rlm_div_up(s->oh, j->hl);
    j->wb = rlm_div_up(s->ow, j->wl);
    j->tp = (j->tl - 1) * s->st + s->kt;
    j->hp = (j->hl - 1) * s->sh + s->kh;
    j->wp = (j->wl - 1) * s->sw + (s->kw - 1) * s->dw + 1;
    j->plane = (int64_t)j->tp * j->hp * j->wp * j->cut.cblk;
    size_t values = (size_t)j->plane * j->cut.blocks;
    /* A tile of 16 rows and its 64-byte chunks may read past the end: into values that meet zero
     * weights but must be finite. */
    size_t slack = (size_t)32 * j->cut.cblk * 4 + 128;
    j->panel_bytes = ((values + slack) * 2 + 63) / 64 * 64;
}

static bool shrink(conv_job *j, int least_h, int least_w)
{
    if (j->hl > least_h)
        j->hl = rlm_div_up(j->hl, 2);
    else if (j->wl > least_w)
        j->wl = rlm_div_up(rlm_div_up(j->wl, 2), 16) * 16;
    else
        return false;
    measure(j);
    return true;
}

/* Boxes whose panels fit, at least four of them where their rims stay small. */
static void plan_boxes(conv_job *j)
{
    const rlm_conv_shape *s = &j->s;
    j->tl = s->ot;
    j->hl = s->oh;
    j->wl = s->ow;
    measure(j);
    while (j->panel_bytes > PANEL_MOST && shrink(j, 4, 64))
        ;
    while (j->panel_bytes > PANEL_MOST && j->tl > 1) {
        j->tl = rlm_div_up(j->tl, 2);
        measure(j);
    }
    while (j->panel_bytes > PANEL_MOST && shrink(j, 1, 16))
        ;
    while (s->n * j->tb * j->hb * j->wb < 4 && shrink(j, 4, 64))
        ;
}

/* Byte offset of every chunk from an output position's base. */
static void chunk_offsets(const conv_job *j, size_t *off)
{
    const rlm_conv_shape *s = &j->s;
    int64_t row = (int64_t)j->wp * j->cut.cblk, frame = row * j->hp;
    int i = 0;
    for (int blk = 0; blk < j->cut.blocks; blk++)
        for (int a = 0; a < s->kt; a++)
            for (int b = 0; b < s->kh; b++)
                for (int r = 0; r < j->cut.run; r++) {
                    int64_t at = blk * j->plane + a * frame + b * row;
                    at += j->cut.merged ? r * 32 : (int64_t)r * s->dw * j->cut.cblk;
                    off[i++] = (size_t)at * 2;
                }
}

/* ---- Panels -------------------------------------------------------------------------------- */

/* `count` positions of x into blocks of 32 channels, `plane` values apart. */
RLM_INLINE void blocked_row(rlm_act act, bool half, const void *x, int count, int c,
                            const float *table, int64_t plane, uint16_t *out)
{
    for (int p = 0; p < count; p++, x = v_at(half, x, c), out += 32) {
        uint16_t *to = out;
        int i = 0;
        for (; i + 32 <= c; i += 32, to += plane) {
            __m512 lo = rlm_amx_prepared(act, half, x, table, c, i, 0xffff);
            __m512 hi = rlm_amx_prepared(act, half, x, table, c, i + 16, 0xffff);
            _mm512_store_si512(to, (__m512i)_mm512_cvtne2ps_pbh(hi, lo));
        }
        if (i < c) {
            __mmask16 m0 = v_tail(c - i), m1 = v_left(c - i - 16);
            __m512 lo = _mm512_maskz_mov_ps(m0, rlm_amx_prepared(act, half, x, table, c, i, m0));
            __m512 hi =
                _mm512_maskz_mov_ps(m1, rlm_amx_prepared(act, half, x, table, c, i + 16, m1));
            _mm512_store_si512(to, (__m512i)_mm512_cvtne2ps_pbh(hi, lo));
        }
    }
}

/* The same for merged channels: [position][c]. */
RLM_INLINE void merged_row(rlm_act act, bool half, const void *x, int count, int c,
                           const float *table, uint16_t *out)
{
    if (!half && !table && act == RLM_ACT_NONE) {
        rlm_amx_to_bf16(x, count * c, out);
        return;
    }
    for (int p = 0; p < count; p++, x = v_at(half, x, c), out += c)
        for (int i = 0; i < c; i += 16) {
            __mmask16 m = v_tail(c - i);
            __m256bh v = _mm512_cvtneps_pbh(rlm_amx_prepared(act, half, x, table, c, i, m));
            _mm256_mask_storeu_epi16(out + i, m, (__m256i)v);
        }
}

typedef struct row_job {
    const void *x;
    bool half;
    const float *table;
    int count, c;
    int64_t plane; /* 0: merged */
    uint16_t *out;
} row_job;

RLM_INLINE void row_of(rlm_act act, bool half, const row_job *r)
{
    if (r->plane)
        blocked_row(act, half, r->x, r->count, r->c, r->table, r->plane, r->out);
    else
        merged_row(act, half, r->x, r->count, r->c, r->table, r->out);
}

RLM_INLINE void row_as(rlm_act act, void *ctx)
{
    const row_job *r = ctx;
    if (r->half)
        row_of(act, true, r);
    else
        row_of(act, false, r);
}

/* Positions [from, to) of one panel row to zero. */
static void clear(const conv_job *j, uint16_t *row, int from, int to)
{
    for (int b = 0; b < j->cut.blocks && from < to; b++)
        memset(row + b * j->plane + (int64_t)from * j->cut.cblk, 0,
               (size_t)(to - from) * j->cut.cblk * 2);
}

/* One row of the panel: first column at padded place w; src: its source row or NULL. */
static void fill_row(const conv_job *j, const void *src, int w, const float *table, uint16_t *row)
{
    const rlm_conv_shape *s = &j->s;
    int uw = j->c.up[2], first = w - s->pw, cb = j->cut.cblk;
    int lo = first < 0 ? -first : 0, end = (s->w - 1) * uw + 1 - first;
    int hi = end < j->wp ? end : j->wp;
    row_job r = {.half = j->c.half, .table = table, .c = s->cin};
    r.plane = j->cut.merged ? 0 : j->plane;
    rlm_act act = j->c.prepare ? j->c.prepare->norm.act : RLM_ACT_NONE;
    if (!src || lo >= hi) {
        clear(j, row, 0, j->wp);
        return;
    }
    clear(j, row, 0, lo);
    clear(j, row, hi, j->wp);
    if (uw > 1)
        clear(j, row, lo, hi);
    int start = lo + (uw - (first + lo) % uw) % uw;
    if (start >= hi)
        return;
    r.x = v_at(r.half, src, (int64_t)((first + start) / uw) * s->cin);
    r.count = uw == 1 ? hi - start : 1;
    int step = uw == 1 ? hi - start : uw;
    for (int p = start; p < hi; p += step, r.x = v_at(r.half, r.x, s->cin)) {
        r.out = row + (int64_t)p * cb;
        v_by_act(act, row_as, &r);
    }
}

typedef struct box {
    int64_t n;
    int t, h, w; /* first output */
} box;

/* Inputs [*lo, *hi) that one box of an axis keeps, so that each is kept once: from where it begins
 * to read (the first box: from 0) to where the next one does (the last: to the end). */
static void kept(int first, int len, int out, int stride, int pad, int size, int *lo, int *hi)
{
    int end = (first + len) * stride - pad;
    *lo = first * stride > pad ? first * stride - pad : 0; /* pads may be wider than boxes */
    *hi = first + len >= out || end > size ? size : end > 0 ? end : 0;
}

/* One row of the panel, source row `src_row` of all, to where it is kept: past the caches, where
 * lines are whole, since the backward comes for it last. */
static void keep_row(const conv_job *j, const box *b, int64_t src_row, const uint16_t *row)
{
    const rlm_conv_shape *s = &j->s;
    int lo, hi, first = b->w * s->sw - s->pw, c = s->cin;
    kept(b->w, j->wl, s->ow, s->sw, s->pw, s->w, &lo, &hi);
    hi = hi < first + j->wp ? hi : first + j->wp;
    uint16_t *to = j->c.saved + (src_row * s->w + lo) * c;
    row += (int64_t)(lo - first) * j->cut.cblk;
    if (j->cut.merged) {
        memcpy(to, row, (size_t)(hi > lo ? hi - lo : 0) * c * sizeof *to);
        return;
    }
    for (int p = lo; p < hi; p++, row += 32, to += c) {
        const uint16_t *from = row;
        for (int i = 0; i < c; i += 32, from += j->plane) {
            if (c % 32 == 0)
                _mm512_stream_si512((void *)(to + i), _mm512_load_si512(from));
            else
                _mm512_mask_storeu_epi16(to + i, v_tail32(c - i), _mm512_load_si512(from));
        }
    }
}

static bool keeps(int at, int first, int len, int out, int stride, int pad, int size)
{
    int lo, hi;
    kept(first, len, out, stride, pad, size, &lo, &hi);
    return at >= lo && at < hi;
}

static void fill_panel(const conv_job *j, const box *b, uint16_t *panel, float *room)
{
    const rlm_conv_shape *s = &j->s;
    for (int f = 0; f < j->tp; f++) {
        int t = b->t * s->st + f - s->pt;
        bool in = t >= 0 && t % j->c.up[0] == 0 && t / j->c.up[0] < s->t;
        int64_t frame = b->n * s->t + t / j->c.up[0];
        const float *table = in ? rlm_amx_frame_table(j->c.prepare, frame, room) : NULL;
        for (int r = 0; r < j->hp; r++) {
            int h = b->h * s->sh + r - s->ph;
            bool inside = in && h >= 0 && h % j->c.up[1] == 0 && h / j->c.up[1] < s->h;
            int64_t at = (frame * s->h + h / j->c.up[1]) * s->w * s->cin;
            const void *src = v_at(j->c.half, j->c.x, at);
            uint16_t *row = panel + (int64_t)(f * j->hp + r) * j->wp * j->cut.cblk;
            fill_row(j, inside ? src : NULL, b->w * s->sw, table, row);
            if (j->c.saved && inside && keeps(t, b->t, j->tl, s->ot, s->st, s->pt, s->t) &&
                keeps(h, b->h, j->hl, s->oh, s->sh, s->ph, s->h))
                keep_row(j, b, frame * s->h + h, row);
        }
    }
}

/* ---- Products ------------------------------------------------------------------------------ */

typedef struct tile {
    const uint8_t *base;
    int64_t out; /* output position */
    int rows;
} tile;

/* The box's tiles from index `first` on, at most GROUP. Returns how many. */
static int tiles_from(const conv_job *j, const box *b, const uint8_t *panel, int first, tile *out)
{
    const rlm_conv_shape *s = &j->s;
    int across = rlm_div_up(j->wl, 16), all = j->tl * j->hl * across, n = 0;
    for (int i = first; i < all && i < first + GROUP; i++) {
        int w = i % across * 16, h = i / across % j->hl, t = i / across / j->hl;
        int left = s->ow - b->w - w < j->wl - w ? s->ow - b->w - w : j->wl - w;
        if (b->t + t >= s->ot || b->h + h >= s->oh || left <= 0)
            continue;
        int64_t in = ((int64_t)t * s->st * j->hp + h * s->sh) * j->wp + (int64_t)w * s->sw;
        out[n].base = panel + in * j->cut.cblk * 2;
        out[n].out = (((b->n * s->ot + b->t + t) * s->oh + b->h + h) * s->ow) + b->w + w;
        out[n++].rows = left < 16 ? left : 16;
    }
    return n;
}

/* block [rows][32] *= act'(x), x rows `ldx` floats apart. */
static void times_slope(rlm_act act, int rows, int n, const float *x, int ldx, float *block)
{
    __mmask16 m[2] = {v_tail(n), v_left(n - 16)};
    for (int r = 0; r < rows; r++)
        for (int h = 0; h < 2 && m[h]; h++) {
            float *b = block + r * 32 + h * 16;
            __m512 d = v_dact(act, v_load(x + (int64_t)r * ldx + h * 16, m[h]));
            _mm512_store_ps(b, _mm512_mul_ps(_mm512_load_ps(b), d));
        }
}

/* One column block of a group of tiles; sums of a pair lie in `block` between segments of K. */
static void multiply(const conv_job *j, const tile *t, int count, int c, float *block)
{
    const rlm_conv_shape *s = &j->s;
    int n = s->cout - c < 32 ? s->cout - c : 32, chunks = j->cut.chunks;
    size_t lda = (size_t)s->sw * j->cut.cblk * 2;
    const uint8_t *b = (const uint8_t *)j->c.pack + (size_t)(c / 32) * chunks * 2 * RLM_AMX_TILE;
    for (int k = 0; k < chunks; k += j->segment) {
        int run = chunks - k < j->segment ? chunks - k : j->segment;
        for (int i = 0; i < count; i += 2)
            rlm_amx_block(t[i].base, t[i + 1 < count ? i + 1 : i].base, lda, j->off + k,
                          b + (size_t)k * 2 * RLM_AMX_TILE, run, n <= 16, k > 0,
                          block + i / 2 * 1024);
    }
    for (int i = 0; i < count; i++) {
        int64_t at = t[i].out * s->cout + c;
        if (j->c.y16) {
            rlm_amx_store16(block + i * 512, t[i].rows, n, j->c.y16 + at, s->cout);
            continue;
        }
        if (j->c.slope)
            times_slope(j->c.act, t[i].rows, n, j->c.slope + at, s->cout, block + i * 512);
        rlm_amx_store(block + i * 512, t[i].rows, n, j->c.bias ? j->c.bias + c : NULL,
                      j->c.residual ? j->c.residual + at : NULL, j->c.y + at, s->cout, j->far);
    }
}

static void box_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const conv_job *j = ctx;
    uint8_t *panel = rlm_par_scratch(j->par, worker, 1, j->panel_bytes);
    float *table =
        rlm_par_scratch(j->par, worker, 0, (size_t)j->s.cin * RLM_AMX_TABLE * sizeof(float));
    int all = j->tl * j->hl * rlm_div_up(j->wl, 16);
    size_t values = (size_t)j->plane * j->cut.blocks;
    _Alignas(64) float block[GROUP / 2 * 1024];
    memset(panel + values * 2, 0, j->panel_bytes - values * 2);
    rlm_amx_begin();
    for (int64_t i = begin; i < end; i++) {
        box b = {.w = (int)(i % j->wb) * j->wl,
                 .h = (int)(i / j->wb % j->hb) * j->hl,
                 .t = (int)(i / j->wb / j->hb % j->tb) * j->tl,
                 .n = i / j->wb / j->hb / j->tb};
        fill_panel(j, &b, (uint16_t *)panel, table);
        for (int c = 0; c < j->s.cout; c += 32)
            for (int first = 0; first < all; first += GROUP) {
                tile tiles[GROUP];
                int count = tiles_from(j, &b, panel, first, tiles);
                multiply(j, tiles, count, c, block);
            }
    }
    rlm_amx_end();
    v_far_end(j->far || j->c.saved);
}

void rlm_amx_conv_run(rlm_par *par, const rlm_conv_shape *s, const rlm_amx_conv *c)
{
    conv_job j = {.s = *s, .c = *c, .par = par};
    j.cut = rlm_amx_cut_of(s->cin, s->kt, s->kh, s->kw, s->dw);
    int chunks = j.cut.chunks, block = s->kt * s->kh * j.cut.run;
    j.segment = block <= SEGMENT && chunks > 2 * SEGMENT
                    ? block
                    : rlm_div_up(chunks, rlm_div_up(chunks, SEGMENT));
    plan_boxes(&j);
    size_t *off = rlm_par_scratch(par, 0, 2, (size_t)chunks * sizeof *off);
    chunk_offsets(&j, off);
    j.off = off;
    j.far = c->y && v_is_far(c->y, (int64_t)s->n * s->ot * s->oh * s->ow * s->cout, s->cout);
    rlm_amx_room(par, 1, j.panel_bytes);
    rlm_amx_room(par, 0, (size_t)s->cin * RLM_AMX_TABLE * sizeof(float));
    rlm_par_for(par, (int64_t)s->n * j.tb * j.hb * j.wb, 1, box_slice, &j);
}

/* Some input is read by no output: its place in `saved` would stay as it was. */
static bool skips(const rlm_conv_shape *s)
{
    int reach = (s->kw - 1) * s->dw + 1;
    return s->kt < s->st || s->kh < s->sh || reach < s->sw ||
           (s->ot - 1) * s->st - s->pt + s->kt < s->t ||
           (s->oh - 1) * s->sh - s->ph + s->kh < s->h || (s->ow - 1) * s->sw - s->pw + reach < s->w;
}

size_t rlm_amx_prepared_saved(const rlm_conv_shape *s)
{
    return (size_t)s->n * s->t * s->h * s->w * s->cin * sizeof(uint16_t);
}

typedef struct copy_job {
    const rlm_prepare *p;
    const float *x;
    float *y;
    rlm_par *par;
} copy_job;

static void copy_frames(void *ctx, int64_t begin, int64_t end, int worker)
{
    const copy_job *j = ctx;
    int c = j->p->norm.c;
    int64_t rows = j->p->norm.hw;
    float *room = rlm_par_scratch(j->par, worker, 0, (size_t)c * RLM_AMX_TABLE * sizeof(float));
    for (int64_t f = begin; f < end; f++) {
        const float *table = rlm_amx_frame_table(j->p, f, room);
        for (int64_t r = f * rows; r < (f + 1) * rows; r++)
            for (int i = 0; i < c; i += 16) {
                __mmask16 m = v_tail(c - i);
                __m512 v = rlm_amx_prepared(RLM_ACT_NONE, false, j->x + r * c, table, c, i, m);
                v_store(j->y + r * c + i, m, v_act(j->p->norm.act, v));
            }
    }
}

/* The tensor that x stands for, in slot 3 of worker 0. */
static const float *prepared_copy(rlm_par *par, const rlm_prepare *p, const float *x)
{
    size_t count = (size_t)p->norm.frames * p->norm.hw * p->norm.c;
    copy_job j = {p, x, rlm_par_scratch(par, 0, 3, count * sizeof(float)), par};
    rlm_par_for(par, p->norm.frames, 1, copy_frames, &j);
    return j.y;
}

/* Axes merged where the kernel does not look around on them. */
rlm_conv_shape rlm_amx_merged(const rlm_conv_shape *shape)
{
    rlm_conv_shape s = *shape;
    if (s.kh == 1 && s.kw == 1 && s.sh == 1 && s.sw == 1 && !s.ph && !s.pw && s.oh == s.h &&
        s.ow == s.w) {
        s.w *= s.h;
        s.ow = s.w;
        s.h = s.oh = 1;
    }
    if (s.kt == 1 && s.st == 1 && !s.pt && s.ot == s.t) { /* frames are independent */
        s.n *= s.t;
        s.t = s.ot = 1;
    }
    return s;
}

void rlm_amx_prepared_forward(rlm_par *par, const rlm_conv_shape *s, const rlm_prepare *prepare,
                              const float *x, const rlm_weight *w, const float *bias,
                              const float *residual, float *y, void *saved)
{
    int64_t row = (int64_t)s->w * s->cin;
    if (!w->pack) { /* nobody's fast path: prepared once, in f32 */
        const float *seen = prepare ? prepared_copy(par, prepare, x) : x;
        for (int64_t r = 0; saved && r < (int64_t)s->n * s->t * s->h; r++)
            rlm_amx_to_bf16(seen + r * row, (int)row, (uint16_t *)saved + r * row);
        rlm_blas_conv_forward(par, s, seen, w, bias, residual, y);
        return;
    }
    if (saved && skips(s))
        memset(saved, 0, rlm_amx_prepared_saved(s));
    rlm_conv_shape merged = rlm_amx_merged(s);
    rlm_amx_conv c = {.up = {1, 1, 1},
                      .prepare = prepare,
                      .x = x,
                      .pack = w->pack,
                      .bias = bias,
                      .residual = residual,
                      .y = y,
                      .saved = saved};
    rlm_amx_conv_run(par, &merged, &c);
}

void rlm_amx_conv_forward(rlm_par *par, const rlm_conv_shape *s, const float *x,
                          const rlm_weight *w, const float *bias, const float *residual, float *y)
{
    if (w->pack && rlm_amx_is_linear(s))
        rlm_amx_gemm(par, s->n * s->t * s->h * s->w, s->cout, s->cin, x, w->pack, bias, residual,
                     y);
    else
        rlm_amx_prepared_forward(par, s, NULL, x, w, bias, residual, y, NULL);
}
