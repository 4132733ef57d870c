/* AMX overlay: gradient of convolution weights. K is the position axis: x becomes
 * [channel][position] (so that a tap is a shift), dy becomes pairs of positions. Both live on the
 * padded grid, where dy is zero on the padding, so one offset a tap serves every position.
 *
 *   dw[co][tap][ci] += sum_p xT[ci][p + shift(tap)] * dy[p][co]
 *
 * Work is cut by (ci, co) blocks of 32 and fixed K slices: results do not depend on threads. */
#include "src/kernels/amx.h"

typedef struct weight_job {
    int cin, cout, cin_pad, cout_pad, taps;
    int n, chunks;                     /* segments; chunks of 32 positions in one */
    int64_t x_seg, y_seg;              /* positions between segments */
    int64_t x_pitch;                   /* values of one channel row of xT */
    int64_t x_len, y_len;              /* positions of the two panels */
    const uint16_t *x_panel, *y_panel; /* [position][channels padded]; NULL: read x, y instead */
    const float *x, *y;                /* [position][channels], no padding anywhere */
    int64_t positions;                 /* of x and y */
    uint16_t *xt;                      /* [cin_pad][x_pitch] */
    uint16_t *yv;                      /* [cout_pad / 16][y_len / 2][16][2] */
    const int64_t *shift;              /* one a tap */
    int co_blocks, ci_blocks, slices;
    float *acc; /* [slice][co_block][ci_block][tap][32][32] */
    float *dw;
    int tap_first, tap_stride; /* where the taps lie in dw: strided convolutions do one at a time */
} weight_job;

enum { K_BLOCK = 16 }; /* chunks between loads of the accumulators */

/* Positions 2j and 2j + 1 of 16 channels as 16 pairs of bf16. */
static inline __m512i position_pair(const uint16_t *p, int pitch)
{
    __m512i lo = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
    __m512i hi = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(p + pitch)));
    return _mm512_or_si512(lo, _mm512_slli_epi32(hi, 16));
}

/* The same straight from f32 rows; positions and channels that do not exist are zero. */
static inline __m512i position_pair_f32(const float *x, int64_t p, int64_t n, int channels, int c)
{
    int left = channels - c;
    __mmask16 m = left >= 16 ? 0xffff : left > 0 ? (__mmask16)((1u << left) - 1) : 0;
    const float *at = x + p * channels + c;
    __m512 lo = p < n ? _mm512_maskz_loadu_ps(m, at) : _mm512_setzero_ps();
    __m512 hi = p + 1 < n ? _mm512_maskz_loadu_ps(m, at + channels) : _mm512_setzero_ps();
    return rlm_amx_pair(lo, hi);
}

static void transpose_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const weight_job *j = ctx;
    (void)worker;
    __m512i r[16];
    for (int64_t b = begin; b < end; b++)
        for (int c = 0; c < j->cin_pad; c += 16) {
            for (int i = 0; i < 16; i++)
                r[i] =
                    j->x_panel
                        ? position_pair(j->x_panel + (b * 32 + 2 * i) * j->cin_pad + c, j->cin_pad)
                        : position_pair_f32(j->x, b * 32 + 2 * i, j->positions, j->cin, c);
            rlm_amx_transpose16(r);
            for (int i = 0; i < 16; i++)
                _mm512_storeu_si512(j->xt + (c + i) * j->x_pitch + b * 32, r[i]);
        }
}

static void pair_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const weight_job *j = ctx;
    (void)worker;
    int64_t column = j->y_len * 16;
    for (int64_t p = begin; p < end; p++)
        for (int c = 0; c < j->cout_pad; c += 16) {
            __m512i v = j->y_panel
                            ? position_pair(j->y_panel + p * 2 * j->cout_pad + c, j->cout_pad)
                            : position_pair_f32(j->y, 2 * p, j->positions, j->cout, c);
            _mm512_storeu_si512(j->yv + (c / 16) * column + p * 32, v);
        }
}

/* One tap of one unit over chunks [first, first + count) of one segment. */
static void tap_block(const uint16_t *x, int64_t x_pitch, const uint16_t *y, int64_t column,
                      int count, bool narrow, float *acc)
{
    size_t lda = (size_t)x_pitch * 2;
    _tile_loadd(0, acc, 128);
    _tile_loadd(2, acc + 512, 128);
    if (narrow) {
        for (int i = 0; i < count; i++, x += 32, y += 512) {
            _tile_loadd(6, y, 64);
            _tile_loadd(4, x, lda);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(5, x + 16 * x_pitch, lda);
            _tile_dpbf16ps(2, 5, 6);
        }
    } else {
        _tile_loadd(1, acc + 16, 128);
        _tile_loadd(3, acc + 528, 128);
        for (int i = 0; i < count; i++, x += 32, y += 512) {
            _tile_loadd(4, x, lda);
            _tile_loadd(6, y, 64);
            _tile_loadd(7, y + column, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(5, x + 16 * x_pitch, lda);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(1, acc + 16, 128);
        _tile_stored(3, acc + 528, 128);
    }
    _tile_stored(0, acc, 128);
    _tile_stored(2, acc + 512, 128);
}

static void unit(const weight_job *j, int slice, int co, int ci, float *acc)
{
    int64_t column = j->y_len * 16;
    int per = rlm_div_up(j->chunks, K_BLOCK);
    int64_t blocks = (int64_t)per * j->n;
    int64_t first = blocks * slice / j->slices, last = blocks * (slice + 1) / j->slices;
    bool narrow = j->cout - co * 32 <= 16;
    memset(acc, 0, (size_t)j->taps * 4096);
    for (int64_t b = first; b < last; b++) {
        int64_t n = b / per;
        int chunk = (int)(b % per) * K_BLOCK;
        int count = j->chunks - chunk < K_BLOCK ? j->chunks - chunk : K_BLOCK;
        const uint16_t *y = j->yv + co * 2 * column + (n * j->y_seg + chunk * 32) * 16;
        const uint16_t *x = j->xt + ci * 32 * j->x_pitch + n * j->x_seg + chunk * 32;
        for (int t = 0; t < j->taps; t++)
            tap_block(x + j->shift[t], j->x_pitch, y, column, count, narrow, acc + t * 1024);
    }
}

static void unit_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const weight_job *j = ctx;
    (void)worker;
    rlm_amx_begin();
    for (int64_t i = begin; i < end; i++) {
        int ci = (int)(i % j->ci_blocks), co = (int)(i / j->ci_blocks % j->co_blocks);
        int slice = (int)(i / j->ci_blocks / j->co_blocks);
        unit(j, slice, co, ci, j->acc + i * j->taps * 1024);
    }
    rlm_amx_end();
}

/* dw rows of one (co block, ci block): sums of the slices, transposed from [ci][co]. */
static void reduce_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const weight_job *j = ctx;
    (void)worker;
    int64_t units = (int64_t)j->ci_blocks * j->co_blocks;
    for (int64_t i = begin; i < end; i++) {
        int ci0 = (int)(i % j->ci_blocks) * 32, co0 = (int)(i / j->ci_blocks) * 32;
        int ci_n = j->cin - ci0 < 32 ? j->cin - ci0 : 32;
        int co_n = j->cout - co0 < 32 ? j->cout - co0 : 32;
        for (int t = 0; t < j->taps; t++)
            for (int co = 0; co < co_n; co++) {
                float *dw =
                    j->dw + ((int64_t)(co0 + co) * j->tap_stride + j->tap_first + t) * j->cin;
                for (int s = 0; s < j->slices; s++) {
                    const float *a = j->acc + ((s * units + i) * j->taps + t) * 1024 + co;
                    for (int ci = 0; ci < ci_n; ci++)
                        dw[ci0 + ci] += a[ci * 32];
                }
            }
    }
}

/* db[co] += sum of dy rows, 16 channels a task. */
typedef struct bias_job {
    int64_t rows;
    int c;
    const float *dy;
    float *db;
} bias_job;
static void bias_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const bias_job *j = ctx;
    (void)worker;
    for (int64_t b = begin; b < end; b++) {
        int c = (int)b * 16, n = j->c - c < 16 ? j->c - c : 16;
        __mmask16 m = (__mmask16)((1u << n) - 1);
        __m512 s[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                       _mm512_setzero_ps()};
        for (int64_t r = 0; r < j->rows; r++)
            s[r & 3] = _mm512_add_ps(s[r & 3], _mm512_maskz_loadu_ps(m, j->dy + r * j->c + c));
        s[0] = _mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3]));
        _mm512_mask_storeu_ps(j->db + c, m,
                              _mm512_add_ps(s[0], _mm512_maskz_loadu_ps(m, j->db + c)));
    }
}

/* Build xT and the dy pairs from their panels, then all products into dw. The scratch of worker 0:
 * slot 0 panels, 1 transposed panels, 2 accumulators. */
static void weight_run(rlm_par *par, weight_job *j)
{
    rlm_par_for(par, j->x_len / 32, 8, transpose_slice, j);
    rlm_par_for(par, j->y_len / 2, 256, pair_slice, j);
    j->ci_blocks = j->cin_pad / 32;
    j->co_blocks = j->cout_pad / 32;
    int units = j->ci_blocks * j->co_blocks;
    int64_t blocks = (int64_t)rlm_div_up(j->chunks, K_BLOCK) * j->n;
    j->slices = units >= 8 ? 1 : rlm_div_up(8, units);
    if (j->slices > blocks)
        j->slices = (int)blocks;
    size_t bytes = (size_t)j->slices * units * j->taps * 4096;
    j->acc = rlm_par_scratch(par, 0, 2, bytes);
    rlm_par_for(par, (int64_t)j->slices * units, 1, unit_slice, j);
    rlm_par_for(par, units, 1, reduce_slice, j);
}

static int64_t round32(int64_t n)
{
    return (n + 31) / 32 * 32;
}

/* Sizes and memory common to both kinds: x_len, y_len are set (multiples of 32); the panels follow
 * each other in slot 0 (x_panel NULL: none), their transposed forms in slot 1. */
static void weight_memory(rlm_par *par, weight_job *j, uint16_t **x_panel, uint16_t **y_panel)
{
    j->cin_pad = rlm_div_up(j->cin, 32) * 32;
    j->cout_pad = rlm_div_up(j->cout, 32) * 32;
    /* Room behind the end for the slack that rlm_amx_fill_panel clears and for rounding. */
    if (x_panel) {
        size_t xs = (size_t)j->x_len * j->cin_pad + 128 * (size_t)j->cin_pad + 4096;
        size_t ys = (size_t)j->y_len * j->cout_pad + 128 * (size_t)j->cout_pad + 4096;
        uint16_t *panels = rlm_par_scratch(par, 0, 0, (xs + ys) * 2);
        j->x_panel = *x_panel = panels;
        j->y_panel = *y_panel = panels + xs;
    }
    j->x_pitch = j->x_len + 32; /* an odd number of cache lines apart */
    if ((j->x_pitch / 32) % 2 == 0)
        j->x_pitch += 32;
    size_t xt = (size_t)j->x_pitch * j->cin_pad, yv = (size_t)j->y_len * j->cout_pad;
    j->xt = rlm_par_scratch(par, 0, 1, (xt + yv + 4096) * 2);
    j->yv = j->xt + xt + 64;
}

/* A strided convolution: each tap on its own, on gathered positions. */
typedef struct gather_job {
    const rlm_conv_shape *s;
    const float *x;
    uint16_t *out;
    int cin_pad, a, b, c;
} gather_job;
static void gather_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const gather_job *g = ctx;
    const rlm_conv_shape *s = g->s;
    (void)worker;
    for (int64_t p = begin; p < end; p++) {
        int w = (int)(p % s->ow) * s->sw - s->pw + g->c * s->dw;
        int h = (int)(p / s->ow % s->oh) * s->sh - s->ph + g->b;
        int t = (int)(p / s->ow / s->oh % s->ot) * s->st - s->pt + g->a;
        int64_t n = p / s->ow / s->oh / s->ot;
        uint16_t *out = g->out + p * g->cin_pad;
        memset(out, 0, (size_t)g->cin_pad * 2);
        if (w >= 0 && w < s->w && h >= 0 && h < s->h && t >= 0 && t < s->t)
            rlm_amx_to_bf16(g->x + (((n * s->t + t) * s->h + h) * (int64_t)s->w + w) * s->cin,
                            s->cin, out);
    }
}

static void strided(rlm_par *par, const rlm_conv_shape *s, const float *x, const float *dy,
                    float *dw)
{
    int64_t positions = (int64_t)s->n * s->ot * s->oh * s->ow, zero = 0;
    weight_job j = {.cin = s->cin, .cout = s->cout, .taps = 1, .n = 1, .shift = &zero, .dw = dw};
    uint16_t *xp, *yp;
    j.x_len = j.y_len = j.x_seg = j.y_seg = round32(positions);
    j.chunks = (int)(j.y_len / 32);
    j.tap_stride = s->kt * s->kh * s->kw;
    weight_memory(par, &j, &xp, &yp);
    rlm_amx_fill fy = {.x = dy,
                       .out = yp,
                       .n = 1,
                       .t = 1,
                       .h = 1,
                       .w = (int)positions,
                       .c = s->cout,
                       .tp = 1,
                       .hp = 1,
                       .wp = (int)positions,
                       .ut = 1,
                       .uh = 1,
                       .uw = 1,
                       .cblk = j.cout_pad,
                       .blocks = 1};
    rlm_amx_fill_panel(par, &fy);
    gather_job g = {.s = s, .x = x, .out = xp, .cin_pad = j.cin_pad};
    memset(xp + positions * j.cin_pad, 0, (size_t)(j.x_len - positions) * j.cin_pad * 2);
    for (g.a = 0; g.a < s->kt; g.a++)
        for (g.b = 0; g.b < s->kh; g.b++)
            for (g.c = 0; g.c < s->kw; g.c++) {
                rlm_par_for(par, positions, 256, gather_slice, &g);
                j.tap_first = (g.a * s->kh + g.b) * s->kw + g.c;
                weight_run(par, &j);
            }
}

/* dy panels: each segment starts at a multiple of 32 positions; the zeros that filling leaves
 * behind a panel are the gap, so ascending order matters. */
static void fill_segments(rlm_par *par, const weight_job *j, rlm_amx_fill *f, uint16_t *panel)
{
    int64_t item = (int64_t)f->t * f->h * f->w * f->c;
    int segments = j->n;
    f->n /= segments;
    for (int i = 0; i < segments; i++) {
        f->out = panel + i * j->y_seg * j->cout_pad;
        rlm_amx_fill_panel(par, f);
        f->x += item * f->n;
    }
}

/* A dense product: no padding, so no panels. */
static void flat(rlm_par *par, const rlm_conv_shape *s, const float *x, const float *dy, float *dw)
{
    int64_t zero = 0;
    weight_job j = {.cin = s->cin,
                    .cout = s->cout,
                    .taps = 1,
                    .n = 1,
                    .shift = &zero,
                    .dw = dw,
                    .x = x,
                    .y = dy,
                    .tap_stride = 1};
    j.positions = (int64_t)s->n * s->t * s->h * s->w;
    j.x_len = j.y_len = j.x_seg = j.y_seg = round32(j.positions);
    j.chunks = (int)(j.y_len / 32);
    weight_memory(par, &j, NULL, NULL);
    weight_run(par, &j);
}

static void dense(rlm_par *par, const rlm_amx_grid *g, const float *x, const float *dy, float *dw)
{
    const rlm_conv_shape *s = &g->s;
    int64_t plane = (int64_t)g->hp * g->wp;
    weight_job j = {
        .cin = s->cin, .cout = s->cout, .taps = s->kt * s->kh * s->kw, .n = s->n, .dw = dw};
    j.tap_stride = j.taps;
    j.x_seg = g->tp * plane;
    j.y_seg = s->ot * plane;
    if (g->tp == s->ot) { /* one pitch for all items: a single segment */
        j.n = 1;
        j.y_len = round32(s->n * j.y_seg);
        j.chunks = (int)(j.y_len / 32);
    } else {
        j.y_seg = round32(j.y_seg);
        j.chunks = (int)(j.y_seg / 32);
        j.y_len = s->n * j.y_seg;
    }
    int64_t shift[1024], far = 0;
    for (int a = 0, i = 0; a < s->kt; a++)
        for (int b = 0; b < s->kh; b++)
            for (int c = 0; c < s->kw; c++, i++) {
                shift[i] = a * plane + (int64_t)b * g->wp + (int64_t)c * s->dw;
                far = shift[i] > far ? shift[i] : far;
            }
    j.shift = shift;
    int64_t need = (int64_t)(j.n - 1) * j.x_seg + (int64_t)j.chunks * 32 + far;
    j.x_len = round32(need > s->n * j.x_seg ? need : s->n * j.x_seg);
    uint16_t *xp, *yp;
    weight_memory(par, &j, &xp, &yp);
    rlm_amx_fill fx = {.x = x,
                       .out = xp,
                       .n = s->n,
                       .t = s->t,
                       .h = s->h,
                       .w = s->w,
                       .c = s->cin,
                       .pt = s->pt,
                       .ph = s->ph,
                       .pw = s->pw,
                       .tp = g->tp,
                       .hp = g->hp,
                       .wp = g->wp,
                       .ut = 1,
                       .uh = 1,
                       .uw = 1,
                       .cblk = j.cin_pad,
                       .blocks = 1};
    rlm_amx_fill fy = {.x = dy,
                       .out = yp,
                       .n = s->n,
                       .t = s->ot,
                       .h = s->oh,
                       .w = s->ow,
                       .c = s->cout,
                       .tp = s->ot,
                       .hp = g->hp,
                       .wp = g->wp,
                       .ut = 1,
                       .uh = 1,
                       .uw = 1,
                       .cblk = j.cout_pad,
                       .blocks = 1};
    int64_t xn = s->n * j.x_seg;
    rlm_amx_fill_panel(par, &fx);
    if (j.x_len > xn)
        memset(xp + xn * j.cin_pad, 0, (size_t)(j.x_len - xn) * j.cin_pad * 2);
    fill_segments(par, &j, &fy, yp);
    weight_run(par, &j);
}

void rlm_amx_conv_backward_weight(rlm_par *par, const rlm_conv_shape *s, const float *x,
                                  const float *dy, float *dw, float *dbias)
{
    if (dbias) {
        bias_job b = {
            .rows = (int64_t)s->n * s->ot * s->oh * s->ow, .c = s->cout, .dy = dy, .db = dbias};
        rlm_par_for(par, rlm_div_up(s->cout, 16), 1, bias_slice, &b);
    }
    if (!dw)
        return;
    if (rlm_amx_is_linear(s)) {
        flat(par, s, x, dy, dw);
        return;
    }
    if (s->st > 1 || s->sh > 1 || s->sw > 1) {
        strided(par, s, x, dy, dw);
        return;
    }
    rlm_amx_grid g = rlm_amx_grid_of(s);
    dense(par, &g, x, dy, dw);
}
