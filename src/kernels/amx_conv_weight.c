/* AMX overlay: gradient of convolution weights,
 *
 *   dw[co][tap][ci] += sum over output positions p of dy[p][co] * x[source(p, tap)][ci]
 *
 * K is the position axis. Positions are taken slab by slab: a box of outputs whose operands, turned
 * for the tiles, stay in the L2 cache. A tile of A is 16 output channels x 32 positions of dy,
 * turned; a tile of B 16 pairs of positions x 16 input channels of x. A tap is a shift of B by
 * whole pairs; for odd shifts a second copy starts one position later. With strides, x is split
 * into phases so that a tap stays a shift. Sums of a task (a block of channels, a run of slabs)
 * stay in its block of accumulators; blocks are added in fixed order, so results do not depend on
 * the threads. */
#include "src/kernels/amx_dense_weight.h"

enum {
    K_LEAST = 192, /* positions of a slab, where there are as many */
    K_MOST = 320,
    ACC_MOST = 256 * 1024, /* accumulators of a task, floats: half of the L2 cache */
    TASKS = 8
};

/* One axis of a slab. */
typedef struct slab_axis {
    int out, len, count; /* outputs; of a slab; slabs */
    int phases, span;    /* phases that taps use; panel places of one phase */
} slab_axis;

typedef struct weight_job {
    const rlm_conv_shape *s;
    const void *x, *dy; /* f32, or bf16 if half, half_y */
    bool half, half_y;
    float *dw, *dbias;
    rlm_par *par;
    int taps, odd; /* odd: some shift is odd, so B has two copies */
    slab_axis t, h, w;
    int pitch, plane; /* panel positions between rows and frames; both even */
    int positions;    /* of a B panel, phases included */
    int runs, chunks; /* K: runs of chunks of 32 positions; a run is a frame of the slab */
    int64_t b_tile;   /* values of one copy of one channel tile of B */
    int64_t slabs;
    int co_tiles, ci_tiles; /* in all */
    int co_block, ci_block; /* tiles of a task; co_block even */
    int co_blocks, ci_blocks, slices;
    size_t b_from, zeros_from, at_from, room; /* bytes in a worker's scratch: A first */
    const int32_t *shift; /* one a tap: values from the start of its copy, copy included */
    float *acc, *bias;    /* [task][co tile][ci tile * taps + tap][16][16]; [slice][cout] */
} weight_job;

/* ---- Geometry ------------------------------------------------------------------------------ */

static slab_axis axis_of(int out, int stride, int reach)
{
    return (slab_axis){
        .out = out, .phases = reach + 1 < stride ? reach + 1 : stride, .span = reach / stride};
}

static void cut(slab_axis *a, int len)
{
    int reach = a->span;
    a->count = rlm_div_up(a->out, len);
    a->len = rlm_div_up(a->out, a->count);
    a->span = a->len + reach;
}

static int even(int n)
{
    return (n + 1) & ~1;
}

/* Sizes of a slab: whole frames' rows where they fit, else rows, else parts of a row. */
static void plan_slabs(weight_job *j)
{
    const rlm_conv_shape *s = j->s;
    j->t = axis_of(s->ot, s->st, s->kt - 1);
    j->h = axis_of(s->oh, s->sh, s->kh - 1);
    j->w = axis_of(s->ow, s->sw, (s->kw - 1) * s->dw);
    int reach_w = j->w.span, frames = s->ot < 8 ? s->ot : 8;
    int row = s->ow + reach_w;
    if (s->oh == 1) {
        int len = frames == 1 ? 256 : K_LEAST / frames / 32 * 32 + 32;
        cut(&j->w, len);
        if (j->w.count > 1) { /* a run is padded to chunks of 32 anyway */
            j->w.len = rlm_div_up(j->w.len, 32) * 32;
            j->w.count = rlm_div_up(s->ow, j->w.len);
            j->w.span = j->w.len + reach_w;
        }
        cut(&j->h, 1);
    } else {
        cut(&j->w, row <= K_MOST ? s->ow : 128);
        row = j->w.len + reach_w;
        int rows = K_MOST / row > 1 ? K_MOST / row : 1;
        cut(&j->h, rows < s->oh ? rows : s->oh);
    }
    j->pitch = even(j->w.span);
    int k = (j->h.len - 1) * j->pitch + j->w.len;
    int run = rlm_div_up(k, 32) * 32;
    cut(&j->t, run * frames <= K_MOST + 64 ? frames : K_LEAST / run > 1 ? K_LEAST / run : 1);
    j->runs = j->t.len;
    j->chunks = run / 32;
    j->plane = even(j->h.span * j->pitch);
    int phases = j->t.phases * j->h.phases * j->w.phases;
    j->positions = phases * j->t.span * j->plane;
    j->slabs = (int64_t)s->n * j->t.count * j->h.count * j->w.count;
    /* The last run reads whole chunks: up to 32 positions and the reach past its end. */
    j->b_tile = (int64_t)even(j->positions + 64 + j->pitch * (s->kh - 1) / s->sh) * 16;
}

/* Where tap (a, b, c) lies: phase, place in it; copy 1 for odd places. */
static void plan_shifts(weight_job *j, int32_t *shift)
{
    const rlm_conv_shape *s = j->s;
    int i = 0;
    j->odd = 0;
    for (int a = 0; a < s->kt; a++)
        for (int b = 0; b < s->kh; b++)
            for (int c = 0; c < s->kw; c++, i++) {
                int at = c * s->dw;
                int phase = ((a % s->st) * j->h.phases + b % s->sh) * j->w.phases + at % s->sw;
                int place =
                    (phase * j->t.span + a / s->st) * j->plane + b / s->sh * j->pitch + at / s->sw;
                shift[i] = (place & ~1) * 16 + (place & 1 ? (int32_t)j->b_tile : 0);
                j->odd |= place & 1;
            }
    j->shift = shift;
}

/* Channel blocks whose accumulators stay in the L2 cache, as square as they come (rather more
 * output channels: they share what the taps read of x); then slices of the slabs until there is
 * work for several threads. */
static void plan_tasks(weight_job *j)
{
    const rlm_conv_shape *s = j->s;
    j->co_tiles = rlm_div_up(s->cout, 32) * 2;
    j->ci_tiles = rlm_div_up(s->cin, 16);
    int most = ACC_MOST / 256 / j->taps; /* tiles of co x tiles of ci */
    int co = j->co_tiles, ci = j->ci_tiles;
    while (co * ci > most && (co > 2 || ci > 1)) {
        if (ci > 1 && (2 * ci > co || co <= 2))
            ci = rlm_div_up(ci, 2);
        else
            co = even(rlm_div_up(co, 2));
    }
    ci = ci < 64 ? ci : 64; /* b_run.last */
    j->co_block = co;
    j->ci_block = ci;
    j->co_blocks = rlm_div_up(j->co_tiles, co);
    j->ci_blocks = rlm_div_up(j->ci_tiles, ci);
    int blocks = j->co_blocks * j->ci_blocks;
    int64_t sums = (int64_t)s->cout * s->cin * j->taps;
    int64_t data = (int64_t)s->n * ((int64_t)s->t * s->h * s->w * s->cin +
                                    (int64_t)s->ot * s->oh * s->ow * s->cout);
    int64_t slices = data / (4 * sums), least = rlm_div_up(TASKS / 2, blocks);
    slices = slices < least ? least : slices;
    slices = slices > TASKS / blocks ? TASKS / blocks : slices;
    slices = slices < 1 ? 1 : slices;
    j->slices = (int)(slices > j->slabs ? j->slabs : slices);
}

/* A, B, a row of zeros, then one pointer a position (of B and of A in turn). */
static void plan_room(weight_job *j)
{
    const rlm_conv_shape *s = j->s;
    int k = j->runs * j->chunks * 32, most = s->cin > s->cout ? s->cin : s->cout;
    j->b_from = (size_t)j->co_block * k * 32;
    j->zeros_from = j->b_from + (size_t)j->ci_block * (1 + j->odd) * j->b_tile * 2;
    j->at_from = j->zeros_from + rlm_div_up(most + 16, 16) * 16 * sizeof(float);
    j->room = j->at_from + ((size_t)j->positions + k + 2) * sizeof(float *);
    rlm_amx_room(j->par, 1, j->room);
}

/* ---- Panels -------------------------------------------------------------------------------- */

/* A slab's first output. */
typedef struct slab_at {
    int64_t n;
    int t, h, w;
} slab_at;

static slab_at slab_of(const weight_job *j, int64_t slab)
{
    slab_at p;
    p.w = (int)(slab % j->w.count) * j->w.len;
    slab /= j->w.count;
    p.h = (int)(slab % j->h.count) * j->h.len;
    slab /= j->h.count;
    p.t = (int)(slab % j->t.count) * j->t.len;
    p.n = slab / j->t.count;
    return p;
}

/* Rows of x for every position of the B panel; positions outside are `zeros`. */
static void point_at_x(const weight_job *j, slab_at p, const float *zeros, const void **at)
{
    const rlm_conv_shape *s = j->s;
    for (int phase = 0; phase < j->t.phases * j->h.phases * j->w.phases; phase++) {
        int fw = phase % j->w.phases, fh = phase / j->w.phases % j->h.phases;
        int ft = phase / j->w.phases / j->h.phases;
        for (int t = 0; t < j->t.span; t++, at += j->plane) {
            int st = (p.t + t) * s->st - s->pt + ft;
            for (int i = 0; i < j->plane; i++)
                at[i] = zeros;
            for (int h = 0; h < j->h.span && st >= 0 && st < s->t; h++) {
                int sh = (p.h + h) * s->sh - s->ph + fh;
                if (sh < 0 || sh >= s->h)
                    continue;
                int64_t row = ((p.n * s->t + st) * s->h + sh) * s->w;
                const void **to = at + h * j->pitch;
                for (int w = 0; w < j->w.span; w++) {
                    int sw = (p.w + w) * s->sw - s->pw + fw;
                    if (sw >= 0 && sw < s->w)
                        to[w] = v_at(j->half, j->x, (row + sw) * s->cin);
                }
            }
        }
    }
}

/* Rows of dy for every position of K. */
static void point_at_dy(const weight_job *j, slab_at p, const float *zeros, const void **at)
{
    const rlm_conv_shape *s = j->s;
    for (int t = 0; t < j->runs; t++, at += j->chunks * 32) {
        for (int i = 0; i < j->chunks * 32; i++)
            at[i] = zeros;
        for (int h = 0; h < j->h.len && p.t + t < s->ot && p.h + h < s->oh; h++) {
            int64_t row = ((p.n * s->ot + p.t + t) * s->oh + p.h + h) * (int64_t)s->ow + p.w;
            for (int w = 0; w < j->w.len && p.w + w < s->ow; w++)
                at[h * j->pitch + w] = v_at(j->half_y, j->dy, (row + w) * s->cout);
        }
    }
}

/* What fill_b turns. */
typedef struct b_run {
    const void *const *at; /* rows of x, one a position */
    int count;             /* positions, even */
    int first, tiles, cin;
    int64_t tile, copy; /* values of a channel tile; of its first copy, 0: there is no second */
    uint16_t *b;
} b_run;

/* Channels from i of a position as b_pair takes them: f32, or bf16 in the lower halves. */
RLM_INLINE __m512i b_channels(bool half, const void *x, int i, __mmask16 m)
{
    if (half)
        return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, (const uint16_t *)x + i));
    return _mm512_castps_si512(v_load((const float *)x + i, m));
}

RLM_INLINE __m512i b_pair(bool half, __m512i low, __m512i high)
{
    if (half)
        return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
    return rlm_amx_pair(_mm512_castsi512_ps(low), _mm512_castsi512_ps(high));
}

/* B: [ci tile][copy][pair][16][2]; four channel tiles at a time. */
RLM_INLINE void b_run_as(bool half, const b_run *r)
{
    for (int c = 0; c < r->tiles; c += 4) {
        int n = r->tiles - c < 4 ? r->tiles - c : 4;
        __m512i last[4];
        for (int p = 0; p < r->count; p += 2) {
            uint16_t *out = r->b + c * r->tile + (int64_t)p * 16;
            for (int u = 0; u < n; u++, out += r->tile) {
                int i = r->first + (c + u) * 16;
                __mmask16 m = v_left(r->cin - i);
                __m512i even = b_channels(half, r->at[p], i, m),
                        odd = b_channels(half, r->at[p + 1], i, m);
                _mm512_store_si512(out, b_pair(half, even, odd));
                if (r->copy && p > 0)
                    _mm512_store_si512(out + r->copy - 32, b_pair(half, last[u], even));
                last[u] = odd;
            }
        }
        for (int u = 0; u < n && r->copy; u++) /* ends in nothing */
            _mm512_store_si512(r->b + (c + u) * r->tile + r->copy + (int64_t)(r->count - 2) * 16,
                               b_pair(half, last[u], _mm512_setzero_si512()));
    }
}

/* All of B of a slab, channels from `first`. */
static void fill_b(const weight_job *j, const void *const *at, int first, int tiles, uint16_t *b)
{
    int pairs = j->positions / 2, spare = (int)(j->b_tile / 32) - pairs;
    b_run r = {.at = at,
               .count = j->positions,
               .first = first,
               .tiles = tiles,
               .cin = j->s->cin,
               .tile = j->b_tile * (1 + j->odd),
               .copy = j->odd ? j->b_tile : 0,
               .b = b};
    if (j->half)
        b_run_as(true, &r);
    else
        b_run_as(false, &r);
    for (int c = 0; c < tiles * (1 + j->odd); c++)
        memset(b + c * j->b_tile + pairs * 32, 0, (size_t)spare * 64);
}

/* A: [co tile][chunk][16][32], channels from `first`; bias, if not NULL: += sums over positions. */
RLM_INLINE void a_run_as(bool half, const weight_job *j, const void *const *at, int first,
                         int tiles, uint16_t *a, float *bias)
{
    __m512i r[16];
    int chunks = j->runs * j->chunks;
    for (int k = 0; k < chunks; k++, at += 32)
        for (int c = 0; c < tiles; c++) {
            int from = first + c * 16;
            __mmask16 m = v_left(j->s->cout - from);
            for (int i = 0; i < 16; i++)
                r[i] = b_pair(half, b_channels(half, at[2 * i], from, m),
                              b_channels(half, at[2 * i + 1], from, m));
            if (bias && m) {
                __m512 sum = _mm512_maskz_loadu_ps(m, bias + from);
                for (int i = 0; i < 32; i++)
                    sum = _mm512_add_ps(sum, v_of(half, at[i], from, m));
                _mm512_mask_storeu_ps(bias + from, m, sum);
            }
            v_transpose16(r);
            uint16_t *out = a + ((int64_t)c * chunks + k) * 512;
            for (int i = 0; i < 16; i++)
                _mm512_store_si512(out + i * 32, r[i]);
        }
}

static void fill_a(const weight_job *j, const void *const *at, int first, int tiles, uint16_t *a,
                   float *bias)
{
    if (j->half_y)
        a_run_as(true, j, at, first, tiles, a, bias);
    else
        a_run_as(false, j, at, first, tiles, a, bias);
}

/* ---- Products ------------------------------------------------------------------------------ */

/* acc: two rows of accumulator tiles `row` floats apart; columns at b0 and, if two, b1. */
static inline void multiply(const weight_job *j, const uint16_t *a0, const uint16_t *a1,
                            const uint16_t *b0, const uint16_t *b1, bool two, float *acc,
                            int64_t row)
{
    int64_t step = (int64_t)j->plane * 16 - j->chunks * 512;
    _tile_loadd(0, acc, 64);
    _tile_loadd(2, acc + row, 64);
    if (two) {
        _tile_loadd(1, acc + 256, 64);
        _tile_loadd(3, acc + row + 256, 64);
        for (int t = 0; t < j->runs; t++, b0 += step, b1 += step)
            for (int k = 0; k < j->chunks; k++, a0 += 512, a1 += 512, b0 += 512, b1 += 512) {
                _tile_loadd(4, a0, 64);
                _tile_loadd(6, b0, 64);
                _tile_dpbf16ps(0, 4, 6);
                _tile_loadd(7, b1, 64);
                _tile_dpbf16ps(1, 4, 7);
                _tile_loadd(5, a1, 64);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
            }
        _tile_stored(1, acc + 256, 64);
        _tile_stored(3, acc + row + 256, 64);
    } else {
        for (int t = 0; t < j->runs; t++, b0 += step)
            for (int k = 0; k < j->chunks; k++, a0 += 512, a1 += 512, b0 += 512) {
                _tile_loadd(4, a0, 64);
                _tile_loadd(6, b0, 64);
                _tile_dpbf16ps(0, 4, 6);
                _tile_loadd(5, a1, 64);
                _tile_dpbf16ps(2, 5, 6);
            }
    }
    _tile_stored(0, acc, 64);
    _tile_stored(2, acc + row, 64);
}

/* Taps of a channel tile of B are shifts of one panel: it and a pair of A stay in the L1 cache. */
static void slab_products(const weight_job *j, const uint16_t *a, const uint16_t *b, int co, int ci,
                          float *acc)
{
    int64_t tile = j->b_tile * (1 + j->odd), row = (int64_t)j->ci_block * j->taps * 256;
    int64_t a_tile = (int64_t)j->runs * j->chunks * 512;
    int columns = ci * j->taps;
    for (int c = 0; c < co; c += 2)
        for (int q = 0; q < columns; q += 2) {
            int p = q + 1 < columns ? q + 1 : q;
            const uint16_t *b0 = b + q / j->taps * tile + j->shift[q % j->taps];
            const uint16_t *b1 = b + p / j->taps * tile + j->shift[p % j->taps];
            multiply(j, a + c * a_tile, a + (c + 1) * a_tile, b0, b1, p > q,
                     acc + c * row + q * 256, row);
        }
}

static void task(const weight_job *j, int64_t index, int worker)
{
    int blocks = j->co_blocks * j->ci_blocks, slice = (int)(index / blocks);
    int cob = (int)(index % blocks) / j->ci_blocks, cib = (int)(index % j->ci_blocks);
    int co0 = cob * j->co_block, ci0 = cib * j->ci_block;
    int co = j->co_tiles - co0 < j->co_block ? j->co_tiles - co0 : j->co_block;
    int ci = j->ci_tiles - ci0 < j->ci_block ? j->ci_tiles - ci0 : j->ci_block;
    int64_t first = j->slabs * slice / j->slices, last = j->slabs * (slice + 1) / j->slices;
    uint8_t *room = rlm_par_scratch(j->par, worker, 1, j->room);
    uint16_t *a = (uint16_t *)room, *b = (uint16_t *)(room + j->b_from);
    float *zeros = (float *)(room + j->zeros_from);
    const void **at = (const void **)(room + j->at_from);
    float *acc = j->acc + index * j->co_block * j->ci_block * j->taps * 256;
    float *bias = j->dbias && cib == 0 ? j->bias + (int64_t)slice * j->s->cout : NULL;
    memset(zeros, 0, j->at_from - j->zeros_from);
    memset(acc, 0, (size_t)j->co_block * j->ci_block * j->taps * 1024);
    for (int64_t slab = first; slab < last; slab++) {
        slab_at p = slab_of(j, slab);
        point_at_x(j, p, zeros, at);
        fill_b(j, at, ci0 * 16, ci, b);
        point_at_dy(j, p, zeros, at);
        fill_a(j, at, co0 * 16, co, a, bias);
        if (j->dw)
            slab_products(j, a, b, co, ci, acc);
    }
}

static void task_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const weight_job *j = ctx;
    rlm_amx_begin();
    for (int64_t i = begin; i < end; i++)
        task(j, i, worker);
    rlm_amx_end();
}

/* dw of one output channel: the slices' sums in order. */
static void reduce_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const weight_job *j = ctx;
    int blocks = j->co_blocks * j->ci_blocks;
    int64_t block = (int64_t)j->co_block * j->ci_block * j->taps * 256;
    (void)worker;
    for (int64_t co = begin; co < end; co++) {
        int cob = (int)(co / 16) / j->co_block, c = (int)(co / 16) % j->co_block;
        for (int ci = 0; ci < j->ci_tiles; ci++) {
            int cib = ci / j->ci_block, i = ci % j->ci_block;
            __mmask16 m = v_left(j->s->cin - ci * 16);
            const float *from = j->acc + (cob * j->ci_blocks + cib) * block +
                                ((int64_t)(c * j->ci_block + i) * j->taps) * 256 + co % 16 * 16;
            for (int tap = 0; tap < j->taps; tap++) {
                float *dw = j->dw + (co * j->taps + tap) * j->s->cin + ci * 16;
                __m512 sum = _mm512_maskz_loadu_ps(m, dw);
                for (int s = 0; s < j->slices; s++)
                    sum = _mm512_add_ps(sum, _mm512_load_ps(from + s * blocks * block + tap * 256));
                _mm512_mask_storeu_ps(dw, m, sum);
            }
        }
    }
}

void rlm_amx_backward_weight(rlm_par *par, const rlm_conv_shape *shape, bool half, const void *x,
                             bool half_y, const void *dy, float *dw, float *dbias)
{
    rlm_conv_shape merged = rlm_amx_merged(shape), *s = &merged;
    if (rlm_amx_is_linear(shape)) {
        s->w = s->ow = shape->n * shape->t * shape->h * shape->w;
        s->n = s->t = s->ot = s->h = s->oh = 1;
    }
    weight_job j = {.s = s, .x = x, .dy = dy, .dw = dw, .dbias = dbias, .par = par};
    j.half = half;
    j.half_y = half_y;
    int32_t shift[1024];
    j.taps = s->kt * s->kh * s->kw;
    plan_slabs(&j);
    plan_shifts(&j, shift);
    plan_tasks(&j);
    plan_room(&j);
    int64_t tasks = (int64_t)j.slices * j.co_blocks * j.ci_blocks;
    size_t floats = (size_t)tasks * j.co_block * j.ci_block * j.taps * 256;
    size_t sums = dbias ? (size_t)j.slices * s->cout : 0;
    j.acc = rlm_par_scratch(par, 0, 2, (floats + sums) * sizeof(float));
    j.bias = j.acc + floats;
    memset(j.bias, 0, sums * sizeof(float));
    rlm_par_for(par, tasks, 1, task_slice, &j);
    if (dw)
        rlm_par_for(par, s->cout, 1 + 32768 / (j.taps * s->cin), reduce_slice, &j);
    for (int i = 0; i < j.slices && dbias; i++)
        for (int c = 0; c < s->cout; c++)
            dbias[c] += j.bias[(int64_t)i * s->cout + c];
}

void rlm_amx_conv_backward_weight(rlm_par *par, const rlm_conv_shape *s, const float *x,
                                  const float *dy, float *dw, float *dbias)
{
    if (rlm_amx_is_linear(s) && dw)
        rlm_amx_dense_backward_weight(par, s->n * s->t * s->h * s->w, s->cout, s->cin, x, dy, dw,
                                      dbias);
    else
        rlm_amx_backward_weight(par, s, false, x, false, dy, dw, dbias);
}

void rlm_amx_prepared_backward_weight(rlm_par *par, const rlm_conv_shape *s, const void *saved,
                                      const float *dy, float *dw, float *dbias)
{
    rlm_amx_backward_weight(par, s, true, saved, false, dy, dw, dbias);
}
