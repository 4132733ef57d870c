/* AMX overlay: implicit-GEMM convolution. The input becomes one padded bf16 panel; every tap of
 * every output tile is then a tile load at an offset, with no im2col copy. Backward data is the
 * same product with the reversed, transposed weight. */
#include "src/kernels/amx.h"
#include "src/kernels/blas.h"

typedef struct conv_job {
    rlm_amx_grid g;
    rlm_amx_cut cut;
    const uint8_t *panel;
    const uint8_t *pack;
    const size_t *off; /* bytes, one a chunk */
    const float *bias, *residual;
    float *y;
    int tiles_x; /* tiles of 16 outputs in one row */
    int64_t tiles;
} conv_job;

enum { GROUP = 8 }; /* tiles a task computes against one column block before the next */

/* Tile -> its output position index and where its first input value lies. */
static const uint8_t *tile_base(const conv_job *j, int64_t tile, int64_t *out_pos, int *rows)
{
    const rlm_conv_shape *s = &j->g.s;
    int x = (int)(tile % j->tiles_x) * 16;
    int64_t row = tile / j->tiles_x;
    int h = (int)(row % s->oh), t = (int)(row / s->oh % s->ot);
    int64_t n = row / s->oh / s->ot;
    *out_pos = row * s->ow + x;
    *rows = s->ow - x < 16 ? s->ow - x : 16;
    int64_t in = ((n * j->g.tp + (int64_t)t * s->st) * j->g.hp + (int64_t)h * s->sh) * j->g.wp +
                 (int64_t)x * s->sw;
    return j->panel + in * j->cut.cblk * 2;
}

/* All column blocks of tiles [first, last), at most GROUP of them. */
static void conv_group(const conv_job *j, int64_t first, int64_t last)
{
    const rlm_conv_shape *s = &j->g.s;
    const uint8_t *base[GROUP];
    int64_t pos[GROUP];
    int rows[GROUP], count = (int)(last - first);
    _Alignas(64) float block[32 * 32];
    size_t lda = (size_t)s->sw * j->cut.cblk * 2;
    for (int i = 0; i < count; i++)
        base[i] = tile_base(j, first + i, &pos[i], &rows[i]);
    for (int c = 0; c < s->cout; c += 32) {
        const uint8_t *b = j->pack + (size_t)(c / 32) * j->cut.chunks * 2 * RLM_AMX_TILE;
        int n = s->cout - c < 32 ? s->cout - c : 32;
        for (int i = 0; i < count; i += 2) {
            bool pair = i + 1 < count;
            rlm_amx_block(base[i], base[pair ? i + 1 : i], lda, j->off, b, j->cut.chunks, n <= 16,
                          block);
            for (int k = 0; k < 1 + pair; k++) {
                int64_t at = pos[i + k] * s->cout + c;
                rlm_amx_store(block + k * 512, rows[i + k], n, j->bias ? j->bias + c : NULL,
                              j->residual ? j->residual + at : NULL, j->y + at, s->cout);
            }
        }
    }
}

static void conv_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const conv_job *j = ctx;
    (void)worker;
    rlm_amx_begin();
    for (int64_t g = begin; g < end; g++) {
        int64_t last = (g + 1) * GROUP < j->tiles ? (g + 1) * GROUP : j->tiles;
        conv_group(j, g * GROUP, last);
    }
    rlm_amx_end();
}

/* Byte offset of every chunk from an output position's base. */
static void chunk_offsets(const conv_job *j, size_t *off)
{
    const rlm_conv_shape *s = &j->g.s;
    int64_t row = j->g.wp, frame = row * j->g.hp, plane = frame * j->g.tp * s->n;
    int i = 0;
    for (int blk = 0; blk < j->cut.blocks; blk++)
        for (int a = 0; a < s->kt; a++)
            for (int b = 0; b < s->kh; b++)
                for (int r = 0; r < j->cut.run; r++) {
                    int64_t at = (blk * plane + a * frame + b * row) * j->cut.cblk;
                    at += j->cut.merged ? r * 32 : (int64_t)r * s->dw * j->cut.cblk;
                    off[i++] = (size_t)at * 2;
                }
}

void rlm_amx_conv_run(rlm_par *par, const rlm_amx_grid *g, const int up[3], const float *x,
                      const void *pack, const float *bias, const float *residual, float *y)
{
    const rlm_conv_shape *s = &g->s;
    conv_job j = {.g = *g, .pack = pack, .bias = bias, .residual = residual, .y = y};
    j.cut = rlm_amx_cut_of(s->cin, s->kt, s->kh, s->kw, s->dw);
    rlm_amx_fill f = {.x = x,
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
                      .ut = up[0],
                      .uh = up[1],
                      .uw = up[2],
                      .cblk = j.cut.cblk,
                      .blocks = j.cut.blocks};
    f.out = rlm_par_scratch(par, 0, 0, rlm_amx_panel_bytes(&f));
    rlm_amx_fill_panel(par, &f);
    size_t *off = rlm_par_scratch(par, 0, 2, (size_t)j.cut.chunks * sizeof *off);
    chunk_offsets(&j, off);
    j.panel = (const uint8_t *)f.out;
    j.off = off;
    j.tiles_x = rlm_div_up(s->ow, 16);
    j.tiles = (int64_t)s->n * s->ot * s->oh * j.tiles_x;
    rlm_par_for(par, rlm_div_up(j.tiles, GROUP), 1, conv_slice, &j);
}

void rlm_amx_conv_forward(rlm_par *par, const rlm_conv_shape *s, const float *x,
                          const rlm_weight *w, const float *bias, const float *residual, float *y)
{
    static const int up[3] = {1, 1, 1};
    if (!w->pack) {
        rlm_blas_conv_forward(par, s, x, w, bias, residual, y);
        return;
    }
    if (rlm_amx_is_linear(s)) {
        rlm_amx_gemm(par, s->n * s->t * s->h * s->w, s->cout, s->cin, x, w->pack, bias, residual,
                     y);
        return;
    }
    rlm_amx_grid g = rlm_amx_grid_of(s);
    rlm_amx_conv_run(par, &g, up, x, w->pack, bias, residual, y);
}
