/* AMX overlay: weight gradients of dense layers (amx_dense_weight.h). A task sums a block of the
 * gradient, whose accumulators stay in the core's L2 cache, over all slabs in order; blocks are cut
 * by shape, so results do not depend on the threads. */
#include "src/kernels/amx_dense_weight.h"

enum {
    ACC_MOST = 512, /* tiles of a task's sums: 512 KiB */
    A_MOST = 32,    /* tiles of A: a slab of them stays in L2 beside the sums, B streams by */
    ACC_LEAST = 32, /* not cut further to make tasks */
    TASKS = 4
};

static int even(int n)
{
    return (n + 1) & ~1;
}

typedef struct weight_job {
    const dense_weight *w;
    rlm_par *par;
    int rows;
} weight_job;

/* Tiles of a task: a of A, b of B. */
typedef struct block_size {
    int a, b;
} block_size;

static block_size block_of(const dense_weight *w)
{
    int a_tiles = dense_tiles(w->n), b_tiles = dense_tiles(w->k);
    block_size s = {even(rlm_div_up(a_tiles, rlm_div_up(a_tiles, A_MOST))), b_tiles};
    while (s.b > 2 &&
           (s.a * s.b > ACC_MOST || (rlm_div_up(a_tiles, s.a) * rlm_div_up(b_tiles, s.b) < TASKS &&
                                     s.a * s.b >= 2 * ACC_LEAST)))
        s.b = even(rlm_div_up(s.b, 2));
    return s;
}

static int blocks_of(const dense_weight *w)
{
    block_size s = block_of(w);
    return rlm_div_up(dense_tiles(w->n), s.a) * rlm_div_up(dense_tiles(w->k), s.b);
}

/* What is asked for into L2 beside products: `lines` cache lines a chunk, from `at` on. */
typedef struct wanted {
    const uint16_t *at;
    int lines;
} wanted;

RLM_INLINE void ask(wanted *w)
{
    for (int l = 0; l < w->lines; l++, w->at += 32)
        _mm_prefetch((const char *)w->at, _MM_HINT_T1);
}

/* 2 x 2 tiles of sums, `row` floats between the two rows of them, over some chunks. */
RLM_INLINE void multiply(const uint16_t *a0, const uint16_t *b0, size_t tile, int chunks, bool add,
                         float *acc, size_t row, wanted *next_a, wanted *next_b)
{
    const uint16_t *a1 = a0 + tile, *b1 = b0 + tile;
    if (add) {
        _tile_loadd(0, acc, 64);
        _tile_loadd(1, acc + 256, 64);
        _tile_loadd(2, acc + row, 64);
        _tile_loadd(3, acc + row + 256, 64);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    _tile_stream_loadd(4, a0, 64); /* passes: leave L1 to B */
    _tile_loadd(6, b0, 64);
    _tile_loadd(7, b1, 64);
    _tile_stream_loadd(5, a1, 64);
    for (int i = 1; i <= chunks; i++) { /* each tile is loaded behind its last use */
        bool more = i < chunks;
        ask(next_a);
        ask(next_b);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (more)
            _tile_stream_loadd(4, a0 + i * 512, 64);
        _tile_dpbf16ps(2, 5, 6);
        if (more)
            _tile_loadd(6, b0 + i * 512, 64);
        _tile_dpbf16ps(3, 5, 7);
        if (more) {
            _tile_loadd(7, b1 + i * 512, 64);
            _tile_stream_loadd(5, a1 + i * 512, 64);
        }
    }
    _tile_stored(0, acc, 64);
    _tile_stored(1, acc + 256, 64);
    _tile_stored(2, acc + row, 64);
    _tile_stored(3, acc + row + 256, 64);
}

/* One tile of sums [16][16], channels from a and b on, into dw (a Gram matrix: over it). */
static void add_tile(const dense_weight *w, bool turned, const float *acc, int a, int b)
{
    __m512i r[16];
    int rows = turned ? w->k - b : w->n - a, columns = turned ? w->n - a : w->k - b;
    int64_t pitch = turned ? w->n : w->k;
    float *dw = w->dw + (turned ? b * pitch + a : a * pitch + b);
    __mmask16 m = v_left(columns), old = w->gram ? 0 : m;
    for (int i = 0; i < 16; i++)
        r[i] = _mm512_load_si512(acc + i * 16);
    if (turned)
        v_transpose16(r);
    for (int i = 0; i < 16 && i < rows; i++, dw += pitch)
        v_store(dw, m, _mm512_add_ps(v_load(dw, old), _mm512_castsi512_ps(r[i])));
}

/* The first tile of A, of those from a0 on, that B's tiles from b on (an even number) meet. */
static int first_of(const dense_weight *w, int a0, int b)
{
    return w->gram && b > a0 ? b - a0 : 0;
}

/* A block's operands in one slab. */
typedef struct slab {
    const uint16_t *a, *b;
    size_t tile;
} slab;

static slab slab_of(const weight_job *j, const dense_weight *w, int row, int a0, int b0)
{
    slab s;
    s.a = w->a + dense_chunk_at(row, j->rows, dense_tiles(w->n), &s.tile) + (size_t)a0 * s.tile;
    s.b = w->b + dense_chunk_at(row, j->rows, dense_tiles(w->k), &s.tile) + (size_t)b0 * s.tile;
    return s;
}

static void block(const weight_job *j, const dense_weight *w, int index, float *acc)
{
    block_size size = block_of(w);
    int a_tiles = dense_tiles(w->n), b_tiles = dense_tiles(w->k);
    int wide = rlm_div_up(b_tiles, size.b), a0 = index / wide * size.a, b0 = index % wide * size.b;
    int a_count = a_tiles - a0 < size.a ? a_tiles - a0 : size.a;
    int b_count = b_tiles - b0 < size.b ? b_tiles - b0 : size.b;
    size_t row = (size_t)size.b * 256;
    slab now = slab_of(j, w, 0, a0, b0), next;
    for (int r = 0; r < j->rows; r += WEIGHT_SLAB, now = next) {
        bool more = r + WEIGHT_SLAB < j->rows, beside = b0 + size.b < b_tiles;
        next = now; /* else this block's next slab, or the first of the block beside it */
        if (more || beside)
            next = slab_of(j, w, more ? r + WEIGHT_SLAB : 0, a0, more ? b0 : b0 + size.b);
        wanted next_a = {next.a, more || beside ? rlm_div_up(64, b_count) : 0};
        for (int q = 0; q < b_count; q += 2) { /* the next two tiles of B: 64 lines a chunk */
            const uint16_t *b = now.b + (size_t)q * now.tile;
            wanted next_b = {q + 2 < b_count ? b + 2 * now.tile : next.b, rlm_div_up(64, a_count)};
            for (int p = first_of(w, a0, b0 + q); p < a_count; p += 2)
                multiply(now.a + (size_t)p * now.tile, b, now.tile, (int)(now.tile / 512), r > 0,
                         acc + (size_t)p * row + (size_t)q * 256, row, &next_a, &next_b);
        }
    }
    for (int i = 0; i < a_count * b_count; i++) {
        int p = w->turned ? i % a_count : i / b_count, q = w->turned ? i / a_count : i % b_count;
        const float *sums = acc + (size_t)p * row + (size_t)q * 256;
        if (p < first_of(w, a0, (b0 + q) & ~1))
            continue;
        add_tile(w, w->turned, sums, (a0 + p) * 16, (b0 + q) * 16);
        if (w->gram && (a0 + p) / 2 > (b0 + q) / 2)
            add_tile(w, true, sums, (a0 + p) * 16, (b0 + q) * 16);
    }
}

static void block_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const weight_job *j = ctx;
    float *acc = rlm_par_scratch(j->par, worker, 1, ACC_MOST * 1024);
    rlm_amx_begin();
    for (int64_t i = begin; i < end; i++) {
        const dense_weight *w = j->w;
        int index = (int)i;
        for (; index >= blocks_of(w); w++)
            index -= blocks_of(w);
        block(j, w, index, acc);
    }
    rlm_amx_end();
}

void rlm_amx_weight_room(rlm_par *par)
{
    rlm_amx_room(par, 1, ACC_MOST * 1024);
}

void rlm_amx_weight_products(rlm_par *par, const dense_weight *w, int count, int rows)
{
    weight_job j = {w, par, rows};
    int64_t blocks = 0;
    for (int i = 0; i < count; i++)
        blocks += blocks_of(w + i);
    rlm_amx_weight_room(par);
    rlm_par_for(par, blocks, 1, block_fn, &j);
}

/* ---- One layer ----------------------------------------------------------------------------- */

enum {
    FILL = 64,        /* rows of a task */
    TILES = 12 << 20, /* bytes of tiles that exist at a time, or as many as dw has */
};

typedef struct fill_job {
    const float *x, *dy;
    int rows, n, k; /* of the group; of dy, of x */
    bool turned;    /* A is x */
    uint16_t *a, *b;
    float *bias; /* [tasks][n] or NULL */
} fill_job;

/* sums [n] = of rows of dy. */
static void sum_rows(const float *dy, int rows, int n, float *sums)
{
    for (int c = 0; c < n; c += 16) {
        __mmask16 m = v_left(n - c);
        __m512 s = _mm512_setzero_ps();
        for (int r = 0; r < rows; r++)
            s = _mm512_add_ps(s, v_load(dy + (int64_t)r * n + c, m));
        v_store(sums + c, m, s);
    }
}

static void fill_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const fill_job *j = ctx;
    const float *a = j->turned ? j->x : j->dy, *b = j->turned ? j->dy : j->x;
    int n = j->turned ? j->k : j->n, k = j->turned ? j->n : j->k;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int last = (int)(i + 1) * FILL < j->rows ? (int)(i + 1) * FILL : j->rows;
        for (int r = (int)i * FILL; r < last; r += 32) {
            size_t tile, at = dense_chunk_at(r, j->rows, dense_tiles(n), &tile);
            dense_turn(a + (int64_t)r * n, last - r, n, n, tile, j->a + at);
            at = dense_chunk_at(r, j->rows, dense_tiles(k), &tile);
            dense_pair(b + (int64_t)r * k, last - r, k, k, tile, j->b + at);
        }
        if (j->bias)
            sum_rows(j->dy + i * FILL * j->n, last - (int)i * FILL, j->n, j->bias + i * j->n);
    }
}

/* The narrower side is turned, which costs more than pairing. */
void rlm_amx_dense_backward_weight(rlm_par *par, int m, int n, int k, const float *x,
                                   const float *dy, float *dw, float *dbias)
{
    bool turned = k < n;
    dense_weight w = {.n = turned ? k : n, .k = turned ? n : k, .dw = dw, .turned = turned};
    size_t sums = (size_t)n * (size_t)k * sizeof(float), most = sums > TILES ? sums : TILES;
    int group = (int)(most / (dense_side(WEIGHT_SLAB, n) + dense_side(WEIGHT_SLAB, k)) / 2 + 1) *
                WEIGHT_SLAB;
    group = group < m ? group : m;
    size_t a = dense_side(group, w.n), b = dense_side(group, w.k);
    size_t bias = dbias ? (size_t)rlm_div_up(group, FILL) * (size_t)n * sizeof(float) : 0;
    uint16_t *room = rlm_par_scratch(par, 0, 2, (a + b) * 2 + bias);
    fill_job j = {.n = n,
                  .k = k,
                  .turned = turned,
                  .a = room,
                  .b = room + a,
                  .bias = dbias ? (float *)(void *)(room + a + b) : NULL};
    w.a = j.a;
    w.b = j.b;
    for (int row = 0; row < m; row += group) {
        j.rows = m - row < group ? m - row : group;
        j.x = x + (int64_t)row * k;
        j.dy = dy + (int64_t)row * n;
        rlm_par_for(par, rlm_div_up(j.rows, FILL), 1, fill_fn, &j);
        rlm_amx_weight_products(par, &w, 1, j.rows);
        for (int i = 0; i < rlm_div_up(j.rows, FILL) && dbias; i++)
            for (int c = 0; c < n; c++)
                dbias[c] += j.bias[(int64_t)i * n + c];
    }
}
