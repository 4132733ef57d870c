/* Lanes: convolutions in f32. Rows of the input are read where they lie, through a table of their
 * addresses; no patch is gathered. Every output is summed tap by tap, channel by channel, whatever
 * tile it is in. */
#include "src/kernels/lanes_conv.h"

#include <string.h>

#include "src/kernels/blas.h"
#include "src/kernels/flush.h"

/* ---- Weights ------------------------------------------------------------------------------- */

/* A product of one tap is OpenBLAS's, from the weight as it is. */
static size_t pack_bytes(const rlm_weight_geom *g, bool transposed)
{
    int taps = g->kt * g->kh * g->kw, depth = transposed ? g->cout : g->cin;
    int channels = transposed ? g->cin : g->cout;
    int64_t padded = (int64_t)(channels + V_LANES - 1) / V_LANES * V_LANES;
    return taps > 1 ? (size_t)(padded * taps * depth) * sizeof(float) : 0;
}

typedef struct pack_job {
    int taps, depth, channels;
    int64_t tap, row, column; /* floats from one to the next in w */
    const float *w;
    float *out;
} pack_job;

/* One tap of one panel, [depth][vectors of channels]. */
static void pack_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const pack_job *j = ctx;
    (void)worker;
    for (int64_t slice = begin; slice < end; slice++) {
        int first = (int)(slice / j->taps) * CONV_PANEL, tap = (int)(slice % j->taps);
        int left = j->channels - first, wide = conv_wide(left);
        float *out = j->out + ((int64_t)first * j->taps + (int64_t)tap * wide * V_LANES) * j->depth;
        const float *w = j->w + tap * j->tap + first * j->column;
        for (int row = 0; row < j->depth; row++, w += j->row)
            for (int v = 0; v < wide; v++, out += V_LANES) {
                const float *from = w + v * V_LANES * j->column;
                v_mask m = v_tail(left - v * V_LANES);
                v_write(out, j->column == 1 ? v_load(from, m) : v_gather(from, (int)j->column, m));
            }
    }
}

void V_NAME(conv_pack)(rlm_par *par, const rlm_weight_geom *g, const float *w, bool transposed,
                       void *out)
{
    int taps = g->kt * g->kh * g->kw;
    int64_t filter = (int64_t)taps * g->cin;
    pack_job j = {.taps = taps, .tap = g->cin, .w = w, .out = out};
    j.depth = transposed ? g->cout : g->cin;
    j.channels = transposed ? g->cin : g->cout;
    j.row = transposed ? filter : 1;
    j.column = transposed ? 1 : filter;
    rlm_par_for(par, (int64_t)((j.channels + CONV_PANEL - 1) / CONV_PANEL) * taps, 4, pack_slice,
                &j);
}

/* ---- A block of tiles ---------------------------------------------------------------------- */

typedef struct conv_job {
    rlm_par *par;
    conv_product c;
    int taps, tiles; /* tiles of a block */
} conv_job;

/* from [taps][CONV_ROWS]: the rows of x that `count` positions from *p read, `zeros` for those
 * outside; the first is NULL where a tap reads nothing. */
static void find_rows(const conv_job *j, conv_place *p, int count, const float *zeros,
                      const float **from)
{
    const conv_walk *k = &j->c.walk;
    conv_place places[CONV_ROWS];
    count = count < CONV_ROWS ? count : CONV_ROWS;
    for (int i = 0; i < count; i++, conv_next(k, p))
        places[i] = *p;
    for (int tap = 0; tap < j->taps; tap++, from += CONV_ROWS) {
        conv_tap t = conv_tap_of(k, tap);
        bool any = false;
        for (int i = 0; i < CONV_ROWS; i++) {
            int64_t row = i < count ? conv_row(k, &places[i], t) : -1;
            from[i] = row < 0 ? zeros : j->c.x + row * j->c.depth;
            any |= row >= 0;
        }
        if (!any)
            from[0] = NULL;
    }
}

/* The sums of a tile: `wide` vectors of channels of CONV_ROWS positions. */
RLM_INLINE void sum_tile(int wide, int taps, int depth, const float *const *from, const float *w,
                         v_f32 sum[CONV_ROWS][CONV_WIDE])
{
    for (int i = 0; i < CONV_ROWS; i++)
        for (int v = 0; v < wide; v++)
            sum[i][v] = v_zero();
    for (int tap = 0; tap < taps; tap++, from += CONV_ROWS, w += (int64_t)depth * wide * V_LANES) {
        const float *x[CONV_ROWS], *column = w;
        if (!from[0])
            continue;
        for (int i = 0; i < CONV_ROWS; i++)
            x[i] = from[i];
#pragma GCC unroll 4
        for (int64_t d = 0; d < depth; d++, column += (int64_t)wide * V_LANES) {
            v_f32 c[CONV_WIDE];
            for (int v = 0; v < wide; v++)
                c[v] = v_read(column + v * V_LANES);
            for (int i = 0; i < CONV_ROWS; i++) {
                v_f32 a = v_set(x[i][d]);
                for (int v = 0; v < wide; v++)
                    sum[i][v] = v_fma(a, c[v], sum[i][v]);
            }
        }
    }
}

RLM_INLINE void tile(const conv_job *j, int wide, int64_t row, int count, int first,
                     const float *const *from)
{
    v_f32 sum[CONV_ROWS][CONV_WIDE];
    sum_tile(wide, j->taps, j->c.depth, from, j->c.pack + (int64_t)first * j->taps * j->c.depth,
             sum);
    for (int i = 0; i < CONV_ROWS; i++)
        for (int v = 0; v < wide && i < count; v++) {
            int channel = first + v * V_LANES;
            int64_t at = (row + i) * j->c.channels + channel;
            v_mask m = v_tail(j->c.channels - channel);
            v_f32 y = sum[i][v];
            if (j->c.bias)
                y = v_add(y, v_load(j->c.bias + channel, m));
            if (j->c.residual)
                y = v_add(y, v_load(j->c.residual + at, m));
            v_store(j->c.y + at, m, y);
        }
}

/* All tiles of a block go through a panel before the next: it stays in the core's cache. */
static void conv_block(const conv_job *j, int64_t row, int count, const float *const *from)
{
    for (int first = 0; first < j->c.channels; first += CONV_PANEL) {
        int wide = conv_wide(j->c.channels - first);
        for (int at = 0; at < count; at += CONV_ROWS) {
            const float *const *f = from + (int64_t)at * j->taps;
            if (wide == CONV_WIDE)
                tile(j, CONV_WIDE, row + at, count - at, first, f);
            else if (wide == 2)
                tile(j, 2, row + at, count - at, first, f);
            else
                tile(j, 1, row + at, count - at, first, f);
        }
    }
}

static void conv_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const conv_job *j = ctx;
    int block = j->tiles * CONV_ROWS;
    size_t addresses = (size_t)block * j->taps;
    const float **from = rlm_par_scratch(j->par, worker, 0, addresses * sizeof *from);
    float *zeros = rlm_par_scratch(j->par, worker, 1, (size_t)j->c.depth * sizeof *zeros);
    memset(zeros, 0, (size_t)j->c.depth * sizeof *zeros);
    unsigned csr = rlm_flush_begin();
    for (int64_t slice = begin; slice < end; slice++) {
        int64_t row = slice * block;
        int count = j->c.rows - row < block ? (int)(j->c.rows - row) : block;
        conv_place p = conv_place_of(&j->c.walk, row);
        for (int at = 0; at < count; at += CONV_ROWS)
            find_rows(j, &p, count - at, zeros, from + (int64_t)at * j->taps);
        conv_block(j, row, count, from);
    }
    rlm_flush_end(csr);
}

void V_NAME(conv_multiply)(rlm_par *par, const conv_product *c)
{
    int64_t tiles = (c->rows + CONV_ROWS - 1) / CONV_ROWS, share = tiles / 16;
    conv_job j = {.par = par, .c = *c};
    j.taps = c->walk.taps[0] * c->walk.taps[1] * c->walk.taps[2];
    j.tiles = share < 4 ? 4 : share > 32 ? 32 : (int)share;
    rlm_par_for(par, (tiles + j.tiles - 1) / j.tiles, 1, conv_slice, &j);
}

static void conv_forward(rlm_par *par, const rlm_conv_shape *s, const float *x, const rlm_weight *w,
                         const float *bias, const float *residual, float *y)
{
    conv_product c = {
        conv_sources(s), conv_rows_out(s), s->cin, s->cout, x, w->pack, bias, residual, y};
    if (w->pack)
        V_NAME(conv_multiply)(par, &c);
    else
        rlm_blas_conv_forward(par, s, x, w, bias, residual, y);
}

void V_NAME(conv)(rlm_kernels *k)
{
    if (k->levels & RLM_LEVEL_DNN) /* whose packing is bf16 */
        return;
    k->pack_bytes = pack_bytes;
    k->pack = V_NAME(conv_pack);
    k->packs_alone = true;
    k->conv_forward = conv_forward;
}
