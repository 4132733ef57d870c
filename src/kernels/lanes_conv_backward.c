/* Lanes: gradients of convolutions in f32. The input's is a convolution the other way round with
 * the transposed packing; the weight's (AVX-512) sums, tap by tap, the products of rows of dy with
 * the rows of x that the tap joins to them. No two slices write the same element. */
#include "src/kernels/lanes_conv.h"

#include <string.h>

#include "src/kernels/blas.h"
#include "src/kernels/flush.h"

/* ---- The input's gradient ------------------------------------------------------------------ */

static void conv_backward_data(rlm_par *par, const rlm_conv_shape *s, const float *dy,
                               const rlm_weight *w, float *dx, bool add)
{
    if (!w->pack_t) {
        rlm_blas_conv_backward_data(par, s, dy, w, dx, add);
        return;
    }
    conv_product c = {.walk = conv_readers(s),
                      .rows = conv_rows_in(s),
                      .depth = s->cout,
                      .channels = s->cin,
                      .x = dy,
                      .pack = w->pack_t,
                      .residual = add ? dx : NULL,
                      .y = dx};
    V_NAME(conv_multiply)(par, &c);
}

/* ---- The weight's gradient ------------------------------------------------------------------ */

#if RLM_LANES == 16 /* with 8 OpenBLAS is faster, gathering included */

enum {
    WEIGHT_POSITIONS = 96, /* a panel of whose x stays in the nearest cache */
    WEIGHT_PART = 96,      /* channels of the output in a task */
    WEIGHT_GROUP = (WEIGHT_POSITIONS + 1) * CONV_ROWS, /* floats of dy; the last are written past */
};

typedef struct weight_job {
    rlm_par *par;
    conv_walk k;
    int cin, cout, taps;
    int span, parts, panels; /* taps of a task; parts of dy's channels, panels of x's */
    int64_t rows;
    const float *x, *dy;
    float *dw; /* [cout][taps][cin] */
} weight_job;

/* A task's positions at hand, side by side (rows that are wide apart would share few places of the
 * cache), and its sums. */
typedef struct weight_rows {
    int count;
    int64_t from[WEIGHT_POSITIONS];                  /* rows of x that a tap joins; -1: outside */
    float x[WEIGHT_POSITIONS * CONV_PANEL];          /* their panel: [count][its vectors] */
    float dy[WEIGHT_PART / CONV_ROWS][WEIGHT_GROUP]; /* groups of [positions][CONV_ROWS] */
    float sum[];                                     /* [taps][WEIGHT_PART][CONV_PANEL] */
} weight_rows;

/* A task: taps [tap, last), `height` channels of dy from co on, `width` of x from `at` on. */
typedef struct weight_part {
    int tap, last, co, height, at, width;
} weight_part;

static weight_part part_of(const weight_job *j, int64_t item)
{
    weight_part p = {.at = (int)(item % j->panels) * CONV_PANEL,
                     .co = (int)(item / j->panels % j->parts) * WEIGHT_PART,
                     .tap = (int)(item / j->panels / j->parts) * j->span};
    p.last = j->taps - p.tap < j->span ? j->taps : p.tap + j->span;
    p.height = j->cout - p.co < WEIGHT_PART ? j->cout - p.co : WEIGHT_PART;
    p.width = j->cin - p.at < CONV_PANEL ? j->cin - p.at : CONV_PANEL;
    return p;
}

/* sum [CONV_ROWS][wide vectors] += sum over positions of dy^T x. */
RLM_INLINE void sum_outer(int wide, int count, const float *x, const float *dy, float *to)
{
    v_f32 sum[CONV_ROWS][CONV_WIDE];
    for (int i = 0; i < CONV_ROWS; i++)
        for (int v = 0; v < wide; v++)
            sum[i][v] = v_read(to + i * CONV_PANEL + v * V_LANES);
    for (int p = 0; p < count; p++, dy += CONV_ROWS, x += wide * V_LANES) {
        v_f32 c[CONV_WIDE];
        for (int v = 0; v < wide; v++)
            c[v] = v_read(x + v * V_LANES);
        for (int i = 0; i < CONV_ROWS; i++) {
            v_f32 a = v_set(dy[i]);
            for (int v = 0; v < wide; v++)
                sum[i][v] = v_fma(a, c[v], sum[i][v]);
        }
    }
    for (int i = 0; i < CONV_ROWS; i++)
        for (int v = 0; v < wide; v++)
            v_write(to + i * CONV_PANEL + v * V_LANES, sum[i][v]);
}

/* The panel of x of the rows at hand, and what it gives with all of dy. */
RLM_INLINE void sum_panel(const weight_job *j, const weight_part *part, int wide, weight_rows *r,
                          float *sum)
{
    v_mask m = v_tail(part->width - (wide - 1) * V_LANES);
    float *to = r->x;
    for (int p = 0; p < r->count; p++, to += wide * V_LANES) {
        bool there = r->from[p] >= 0;
        const float *x = there ? j->x + r->from[p] * j->cin + part->at : NULL;
        for (int v = 0; v < wide; v++)
            v_write(to + v * V_LANES,
                    there ? v_load(x + v * V_LANES, v == wide - 1 ? m : V_ALL) : v_zero());
    }
    for (int i = 0; i < part->height; i += CONV_ROWS)
        sum_outer(wide, r->count, r->x, r->dy[i / CONV_ROWS], sum + i * CONV_PANEL);
}

/* The rows that a tap joins to the positions from p on. */
static void find_rows(const weight_job *j, conv_place p, int tap, weight_rows *r)
{
    conv_tap t = conv_tap_of(&j->k, tap);
    for (int i = 0; i < r->count; i++, conv_next(&j->k, &p))
        r->from[i] = conv_row(&j->k, &p, t);
}

/* dy of the rows at hand, the part's channels, zeros up to whole groups. */
static void take_dy(const weight_job *j, const weight_part *part, int64_t row, weight_rows *r)
{
    const float *dy = j->dy + row * j->cout + part->co;
    for (int i = 0; i < r->count; i++, dy += j->cout) {
        float *to = r->dy[0] + i * CONV_ROWS;
        for (int at = 0; at < part->height; at += CONV_ROWS, to += WEIGHT_GROUP) {
            int left = part->height - at;
            v_write(to, v_load(dy + at, v_tail(left < CONV_ROWS ? left : CONV_ROWS)));
        }
    }
}

/* Positions from `row` on, as many as are held at once. */
static void weight_block(const weight_job *j, const weight_part *part, int64_t row, weight_rows *r)
{
    conv_place p = conv_place_of(&j->k, row);
    int wide = conv_wide(part->width);
    r->count = j->rows - row < WEIGHT_POSITIONS ? (int)(j->rows - row) : WEIGHT_POSITIONS;
    take_dy(j, part, row, r);
    for (int tap = part->tap; tap < part->last; tap++) {
        float *sum = r->sum + (tap - part->tap) * WEIGHT_PART * CONV_PANEL;
        find_rows(j, p, tap, r);
        if (wide == CONV_WIDE)
            sum_panel(j, part, CONV_WIDE, r, sum);
        else if (wide == 2)
            sum_panel(j, part, 2, r, sum);
        else
            sum_panel(j, part, 1, r, sum);
    }
}

static void weight_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const weight_job *j = ctx;
    size_t sums = (size_t)j->span * WEIGHT_PART * CONV_PANEL * sizeof(float);
    weight_rows *r = rlm_par_scratch(j->par, worker, 0, sizeof *r + sums);
    unsigned csr = rlm_flush_begin();
    for (int64_t item = begin; item < end; item++) {
        weight_part part = part_of(j, item);
        memset(r->sum, 0, sums);
        for (int64_t row = 0; row < j->rows; row += WEIGHT_POSITIONS)
            weight_block(j, &part, row, r);
        const float *sum = r->sum;
        for (int tap = part.tap; tap < part.last; tap++, sum += WEIGHT_PART * CONV_PANEL)
            for (int i = 0; i < part.height; i++) {
                float *dw = j->dw + ((int64_t)(part.co + i) * j->taps + tap) * j->cin + part.at;
                v_row_add(dw, sum + i * CONV_PANEL, part.width);
            }
    }
    rlm_flush_end(csr);
}

static int64_t weight_items(const weight_job *j)
{
    return (int64_t)(j->taps + j->span - 1) / j->span * j->parts * j->panels;
}

static void conv_backward_weight(rlm_par *par, const rlm_conv_shape *s, const float *x,
                                 const float *dy, float *dw, float *dbias)
{
    weight_job j = {.par = par,
                    .k = conv_sources(s),
                    .cin = s->cin,
                    .cout = s->cout,
                    .taps = conv_taps(s),
                    .span = conv_taps(s),
                    .parts = (s->cout + WEIGHT_PART - 1) / WEIGHT_PART,
                    .panels = (s->cin + CONV_PANEL - 1) / CONV_PANEL,
                    .rows = conv_rows_out(s),
                    .x = x,
                    .dy = dy,
                    .dw = dw};
    while (j.span > 1 && weight_items(&j) < 2 * rlm_par_threads(par))
        j.span = (j.span + 1) / 2;
    if (dw)
        rlm_par_for(par, weight_items(&j), 1, weight_slice, &j);
    if (dbias)
        rlm_blas_bias_gradient(par, j.rows, s->cout, dy, dbias);
}

#endif

void V_NAME(conv_backward)(rlm_kernels *k)
{
    if (k->pack != V_NAME(conv_pack)) /* pack_t is another's */
        return;
    k->conv_backward_data = conv_backward_data;
#if RLM_LANES == 16
    k->conv_backward_weight = conv_backward_weight;
#endif
}
