/* AMX overlay: Muon's orthogonalisation. Y [g][r], g the shorter side, stays bf16 tiles from the
 * first step to the last, in every form that its two products read; only Y Y^T and its polynomial
 * pass through f32. Small matrices go whole to a core, whose caches hold them; large ones are
 * everybody's. */
#include "src/kernels/amx_block.h"
#include "src/kernels/amx_dense_weight.h"

enum {
    GROUP = 128,            /* rows whose sums lie in the L1 cache */
    ROWS_BYTES = 768 << 10, /* of a task's rows of the polynomial */
    SMALL = 2 << 20,        /* bytes of Y in bf16: one core's */
    TASKS = 8
};

/* Sides in whole blocks of 32; what does not exist is zero. */
typedef struct muon {
    rlm_par *par;
    const rlm_matrix *m;
    int g, r;
    uint16_t *a, *b;            /* Y as both sides of Y Y^T (amx_dense_weight.h) */
    uint8_t *before, *after;    /* Y as panels [r / 32][g / 32][2 tiles]: packed weights */
    float *gram;                /* [g][g] */
    uint8_t *rows, *panels;     /* it, as rows of tiles and as panels */
    uint8_t *poly;              /* rows of tiles */
    int m_block, n_block, last; /* rows and columns of a task; nonzero: the result leaves */
} muon;

static int sides(const rlm_matrix *m, int *r)
{
    int rows = rlm_div_up(m->rows, 32) * 32, cols = rlm_div_up(m->cols, 32) * 32;
    *r = rows < cols ? cols : rows;
    return rows < cols ? rows : cols;
}

static size_t bytes_of(const rlm_matrix *m)
{
    int r;
    size_t g = (size_t)sides(m, &r);
    return g * (size_t)r * 4 * sizeof(uint16_t) + g * g * (sizeof(float) + 3 * sizeof(uint16_t));
}

/* x [rows][cols] is Y, or Y transposed: 32 x 32 values of Y from (row, column) on, scaled. */
static bool is_turned(const rlm_matrix *m)
{
    return rlm_div_up(m->rows, 32) > rlm_div_up(m->cols, 32);
}

static void load_block(const muon *n, int row, int column, float *block)
{
    const rlm_matrix *m = n->m;
    bool turned = is_turned(m);
    __m512 scale = v_set(m->scale);
    for (int h = 0; h < 4; h++) {
        __m512i t[16];
        int y = h / 2 * 16, x = h % 2 * 16; /* within the block */
        int from = turned ? column + x : row + y, at = turned ? row + y : column + x;
        __mmask16 k = v_left(m->cols - at);
        for (int i = 0; i < 16; i++) {
            __mmask16 some = from + i < m->rows ? k : 0;
            const float *v = m->x + (some ? (int64_t)(from + i) * m->cols + at : 0);
            t[i] = _mm512_castps_si512(_mm512_mul_ps(v_load(v, some), scale));
        }
        if (turned)
            v_transpose16(t);
        for (int i = 0; i < 16; i++)
            _mm512_store_si512(block + (y + i) * 32 + x, t[i]);
    }
}

static void store_block(const muon *n, int row, int column, const float *block)
{
    const rlm_matrix *m = n->m;
    bool turned = is_turned(m);
    for (int h = 0; h < 4; h++) {
        __m512i t[16];
        int y = h / 2 * 16, x = h % 2 * 16;
        int to = turned ? column + x : row + y, at = turned ? row + y : column + x;
        __mmask16 k = v_left(m->cols - at);
        for (int i = 0; i < 16; i++)
            t[i] = _mm512_load_si512(block + (y + i) * 32 + x);
        if (turned)
            v_transpose16(t);
        for (int i = 0; i < 16 && to + i < m->rows && k; i++)
            v_store(m->x + (int64_t)(to + i) * m->cols + at, k, _mm512_castsi512_ps(t[i]));
    }
}

/* Two rows of 32 values into row i of a panel's two tiles. */
RLM_INLINE void put_pair(const float *lo, const float *hi, uint8_t *panel, int i)
{
    for (int h = 0; h < 2; h++)
        _mm512_store_si512(
            panel + h * RLM_AMX_TILE + i * 64,
            rlm_amx_pair(_mm512_loadu_ps(lo + h * 16), _mm512_loadu_ps(hi + h * 16)));
}

/* 32 x 32 values of Y in all its forms. */
static void put_block(const muon *n, int row, int column, const float *block, uint8_t *panels)
{
    size_t tile, at = dense_chunk_at(column, n->r, n->g / 16, &tile) + (size_t)(row / 16) * tile;
    for (int h = 0; h < 2; h++, at += tile) {
        __m512i t[16];
        for (int i = 0; i < 16; i++) {
            const float *v = block + (h * 16 + i) * 32;
            t[i] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_load_ps(v + 16), _mm512_load_ps(v));
            _mm512_store_si512(n->a + at + i * 32, t[i]);
        }
        v_transpose16(t);
        for (int i = 0; i < 16; i++)
            _mm512_store_si512(n->b + at + i * 32, t[i]);
    }
    uint8_t *out = panels + ((size_t)column * (size_t)(n->g / 32) + (size_t)row) * 64;
    for (int i = 0; i < 16; i++)
        put_pair(block + 2 * i * 32, block + (2 * i + 1) * 32, out, i);
}

static void load_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const muon *n = ctx;
    _Alignas(64) float block[32 * 32];
    (void)worker;
    for (int64_t c = begin; c < end; c++)
        for (int row = 0; row < n->g; row += 32) {
            load_block(n, row, (int)c * 32, block);
            put_block(n, row, (int)c * 32, block, n->before);
        }
}

/* 32 rows of the Gram matrix, which are its columns too. */
static void gram_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const muon *n = ctx;
    int chunks = n->g / 32;
    (void)worker;
    for (int64_t b = begin; b < end; b++) {
        const float *rows = n->gram + b * 32 * n->g;
        for (int r = 0; r < 32; r++)
            rlm_amx_row(rows + (int64_t)r * n->g, n->g, chunks,
                        n->rows + (size_t)(b * 2 + r / 16) * (size_t)chunks * RLM_AMX_TILE +
                            r % 16 * 64);
        for (int c = 0; c < n->g; c += 32) {
            uint8_t *out = n->panels + ((size_t)(c / 32) * (size_t)chunks + (size_t)b) * 2048;
            for (int i = 0; i < 16; i++) {
                const float *v = rows + (int64_t)2 * i * n->g + c;
                put_pair(v, v + n->g, out, i);
            }
        }
    }
}

/* 32 columns of aI + bA + cA^2. */
static void poly_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const muon *n = ctx;
    _Alignas(64) float sums[GROUP * 32];
    int chunks = n->g / 32;
    size_t tile = (size_t)chunks * RLM_AMX_TILE;
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    (void)worker;
    rlm_amx_begin();
    for (int64_t p = begin; p < end; p++) {
        const uint8_t *b = n->panels + (size_t)p * 2 * tile;
        for (int r = 0; r < n->g; r += GROUP) {
            int count = n->g - r < GROUP ? n->g - r : GROUP;
            dense_panel(n->rows + (size_t)(r / 16) * tile, count, b, chunks, false, false, sums,
                        p + 1 < end ? b + 2 * tile : NULL, r, n->g);
            for (int i = 0; i < count; i++) {
                const float *gram = n->gram + (int64_t)(r + i) * n->g + p * 32;
                __m512 v[2];
                for (int h = 0; h < 2; h++) {
                    __m512i on = _mm512_set1_epi32(r + i - (int)p * 32 - h * 16);
                    v[h] =
                        _mm512_maskz_mov_ps(_mm512_cmpeq_epi32_mask(lane, on), v_set(RLM_MUON_A));
                    v[h] = _mm512_fmadd_ps(_mm512_loadu_ps(gram + h * 16), v_set(RLM_MUON_B), v[h]);
                    v[h] = _mm512_fmadd_ps(_mm512_load_ps(sums + i * 32 + h * 16),
                                           v_set(RLM_MUON_C), v[h]);
                }
                _mm512_store_si512(n->poly + (size_t)((r + i) / 16) * tile +
                                       (size_t)p * RLM_AMX_TILE + (r + i) % 16 * 64,
                                   (__m512i)_mm512_cvtne2ps_pbh(v[1], v[0]));
            }
        }
    }
    rlm_amx_end();
}

/* Rows of the polynomial times columns of Y: the next Y, or what leaves. */
static void apply_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const muon *n = ctx;
    _Alignas(64) float sums[GROUP * 32];
    int chunks = n->g / 32, wide = rlm_div_up(n->r, n->n_block);
    size_t tile = (size_t)chunks * RLM_AMX_TILE;
    (void)worker;
    rlm_amx_begin();
    for (int64_t task = begin; task < end; task++) {
        int row = (int)(task / wide) * n->m_block, column = (int)(task % wide) * n->n_block;
        int bottom = row + n->m_block < n->g ? row + n->m_block : n->g;
        int right = column + n->n_block < n->r ? column + n->n_block : n->r;
        for (int c = column; c < right; c += 32) {
            const uint8_t *b = n->before + (size_t)(c / 32) * 2 * tile;
            for (int r = row; r < bottom; r += GROUP) {
                int count = bottom - r < GROUP ? bottom - r : GROUP;
                dense_panel(n->poly + (size_t)(r / 16) * tile, count, b, chunks, false, false, sums,
                            c + 32 < right ? b + 2 * tile : NULL, r - row, bottom - row);
                for (int i = 0; i < count; i += 32)
                    if (n->last)
                        store_block(n, r + i, c, sums + i * 32);
                    else
                        put_block(n, r + i, c, sums + i * 32, n->after);
            }
        }
    }
    rlm_amx_end();
}

static void place(muon *n, uint8_t *room)
{
    size_t y = (size_t)n->g * (size_t)n->r * sizeof(uint16_t), gg = (size_t)n->g * (size_t)n->g;
    n->a = (uint16_t *)(void *)room;
    n->b = (uint16_t *)(void *)(room + y);
    n->before = room + 2 * y;
    n->after = room + 3 * y;
    n->gram = (float *)(void *)(room + 4 * y);
    n->rows = room + 4 * y + gg * sizeof(float);
    n->panels = n->rows + gg * sizeof(uint16_t);
    n->poly = n->panels + gg * sizeof(uint16_t);
}

/* Tasks of the last product, by shape alone. */
static void plan(muon *n)
{
    int most = ROWS_BYTES / (n->g * 2) / 32 * 32, blocks = n->r / 32;
    most = most < 64 ? 64 : most;
    n->m_block = rlm_div_up(rlm_div_up(n->g, rlm_div_up(n->g, most)), 32) * 32;
    int tall = rlm_div_up(n->g, n->m_block), want = rlm_div_up(TASKS, tall);
    n->n_block = rlm_div_up(blocks, want < blocks ? want : blocks) * 32;
}

static void orthogonalise_one(rlm_par *par, const rlm_matrix *m, uint8_t *room)
{
    muon n = {.par = par, .m = m};
    n.g = sides(m, &n.r);
    place(&n, room);
    plan(&n);
    rlm_par_for(par, n.r / 32, 4, load_fn, &n);
    for (int i = 1; i <= RLM_MUON_STEPS; i++) {
        dense_weight gram = {.n = n.g, .k = n.g, .a = n.a, .b = n.b, .dw = n.gram, .gram = true};
        rlm_amx_weight_products(par, &gram, 1, n.r);
        rlm_par_for(par, n.g / 32, 1, gram_fn, &n);
        rlm_par_for(par, n.g / 32, 4, poly_fn, &n);
        n.last = i == RLM_MUON_STEPS;
        rlm_par_for(par, (int64_t)rlm_div_up(n.g, n.m_block) * rlm_div_up(n.r, n.n_block), 1,
                    apply_fn, &n);
        uint8_t *swap = n.before;
        n.before = n.after;
        n.after = swap;
    }
}

typedef struct batch {
    rlm_par *par;
    const rlm_matrix *m;
    size_t room;
} batch;

static bool is_small(const rlm_matrix *m)
{
    int r, g = sides(m, &r);
    return (size_t)g * (size_t)r * sizeof(uint16_t) <= SMALL;
}

static void small_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const batch *j = ctx;
    for (int64_t i = begin; i < end; i++)
        if (is_small(j->m + i))
            orthogonalise_one(j->par, j->m + i, rlm_par_scratch(j->par, worker, 0, j->room));
}

static void orthogonalise(rlm_par *par, int count, const rlm_matrix *m)
{
    size_t small = 0, large = 0;
    for (int i = 0; i < count; i++) {
        size_t *most = is_small(m + i) ? &small : &large, bytes = bytes_of(m + i);
        *most = bytes > *most ? bytes : *most;
    }
    batch j = {par, m, small};
    rlm_amx_weight_room(par);
    rlm_amx_room(par, 0, small);
    if (small)
        rlm_par_for(par, count, 1, small_fn, &j);
    for (int i = 0; i < count && large; i++)
        if (!is_small(m + i))
            orthogonalise_one(par, m + i, rlm_par_scratch(par, 0, 0, large));
}

void rlm_kernels_amx_muon(rlm_kernels *k)
{
    k->orthogonalise = orthogonalise;
}
