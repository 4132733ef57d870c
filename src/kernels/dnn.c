/* oneDNN overlay: bf16 products for linear layers and convolutions. A convolution gathers patches
 * of a slice of output positions as bf16, then multiplies them with the packed weight. */
#include "src/kernels/dnn.h"

#include "src/kernels/conv_rows.h"

/* ---- Rounding ------------------------------------------------------------------------------ */

typedef struct round_job {
    const float *x;
    uint16_t *out;
} round_job;

static void round_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const round_job *j = ctx;
    (void)worker;
    rlm_dnn_round((int)(end - begin), j->x + begin, j->out + begin);
}

void rlm_dnn_round_into(rlm_par *par, int64_t n, const float *x, uint16_t *out)
{
    round_job j = {x, out};
    rlm_par_for(par, n, 1 << 15, round_slice, &j);
}

uint16_t *rlm_dnn_rounded(rlm_par *par, int64_t n, const float *x, int64_t room)
{
    uint16_t *out = rlm_par_scratch(par, 0, 2, (size_t)(n + room) * sizeof *out);
    rlm_dnn_round_into(par, n, x, out);
    return out;
}

/* ---- Weights ------------------------------------------------------------------------------- */

static size_t pack_bytes(const rlm_weight_geom *g, bool transposed)
{
    int taps = g->kt * g->kh * g->kw;
    size_t rows = (size_t)(transposed ? g->cin : g->cout);
    return rows * (size_t)rlm_dnn_pad((int64_t)taps * (transposed ? g->cout : g->cin)) * 2;
}

typedef struct pack_job {
    const rlm_weight_geom *g;
    const float *w;
    bool transposed;
    uint16_t *out;
} pack_job;

static void pack_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const pack_job *j = ctx;
    int taps = j->g->kt * j->g->kh * j->g->kw, cin = j->g->cin, cout = j->g->cout;
    int width = taps * (j->transposed ? cout : cin), padded = rlm_dnn_pad(width);
    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        uint16_t *out = j->out + row * padded;
        memset(out + width, 0, (size_t)(padded - width) * sizeof *out);
        if (!j->transposed)
            rlm_dnn_round(width, j->w + row * width, out);
        for (int64_t i = 0; i < width && j->transposed; i++)
            out[i] = rlm_bf16(j->w[(i % cout * taps + i / cout) * cin + row]);
    }
}

void rlm_dnn_pack(rlm_par *par, const rlm_weight_geom *g, const float *w, bool transposed,
                  void *out)
{
    pack_job j = {g, w, transposed, out};
    rlm_par_for(par, transposed ? g->cin : g->cout, 8, pack_rows, &j);
}

/* ---- Linear -------------------------------------------------------------------------------- */

typedef struct linear_job {
    rlm_par *par;
    int m, n, k;
    const float *x, *bias, *residual;
    const uint16_t *w;
    float *y;
    bool full; /* every product has DNN_ROWS rows: blas.h */
} linear_job;

/* y = bias + residual + part, on a block of m x n; part is dense. */
static void finish_block(int m, int n, int64_t ld, const float *bias, const float *residual,
                         const float *part, float *y)
{
    for (int64_t row = 0; row < m; row++)
        for (int64_t i = 0; i < n; i++)
            y[row * ld + i] =
                part[row * n + i] + (bias ? bias[i] : 0) + (residual ? residual[row * ld + i] : 0);
}

static void linear_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const linear_job *j = ctx;
    int64_t across = (j->n + DNN_COLS - 1) / DNN_COLS;
    int padded = rlm_dnn_pad(j->k);
    uint16_t *a = rlm_par_scratch(j->par, worker, 0, (size_t)DNN_ROWS * padded * 2);
    float *part = rlm_par_scratch(j->par, worker, 1, DNN_ROWS * DNN_COLS * sizeof(float));
    for (int64_t slice = begin; slice < end; slice++) {
        int64_t row = slice / across * DNN_ROWS, col = slice % across * DNN_COLS;
        int m = j->m - row < DNN_ROWS ? (int)(j->m - row) : DNN_ROWS;
        int n = j->n - col < DNN_COLS ? (int)(j->n - col) : DNN_COLS;
        int64_t at = row * j->n + col;
        for (int64_t i = 0; i < m; i++) {
            rlm_dnn_round(j->k, j->x + (row + i) * j->k, a + i * padded);
            memset(a + i * padded + j->k, 0, (size_t)(padded - j->k) * 2);
        }
        int rows = j->full ? DNN_ROWS : m;
        memset(a + (int64_t)m * padded, 0, (size_t)(rows - m) * padded * 2);
        rlm_dnn_product p = {false, true, rows, n, padded, padded, a, j->w + col * padded, part};
        rlm_dnn_multiply(j->par, worker, &p);
        finish_block(m, n, j->n, j->bias ? j->bias + col : NULL,
                     j->residual ? j->residual + at : NULL, part, j->y + at);
    }
}

static void linear_run(linear_job *j)
{
    int64_t down = (j->m + DNN_ROWS - 1) / DNN_ROWS, across = (j->n + DNN_COLS - 1) / DNN_COLS;
    rlm_par_for(j->par, down * across, 1, linear_slice, j);
}

static void linear_forward(rlm_par *par, int m, int n, int k, const float *x, const rlm_weight *w,
                           const float *bias, const float *residual, float *y)
{
    if (!w->pack || m <= 8) { /* a few rows: reading the weights is all the work */
        rlm_blas_linear_forward(par, m, n, k, x, w, bias, residual, y);
        return;
    }
    linear_job j = {par, m, n, k, x, bias, residual, w->pack, y, false};
    linear_run(&j);
}

/* ---- Convolution --------------------------------------------------------------------------- */

typedef struct conv_job {
    rlm_par *par;
    const rlm_conv_shape *s;
    const float *bias, *residual;
    const uint16_t *x, *w;
    float *y;
} conv_job;

/* patch [count][taps * cin, padded] of output rows from `row`. */
static void gather_patches(const rlm_conv_shape *s, const uint16_t *x, int64_t row, int count,
                           uint16_t *patch)
{
    int taps = conv_taps(s), width = taps * s->cin, padded = rlm_dnn_pad(width);
    conv_walk k = conv_sources(s);
    conv_place p = conv_place_of(&k, row);
    for (int i = 0; i < count; i++, conv_next(&k, &p)) {
        for (int tap = 0; tap < taps; tap++, patch += s->cin) {
            int64_t from = conv_row(&k, &p, conv_tap_of(&k, tap));
            if (from < 0)
                memset(patch, 0, (size_t)s->cin * sizeof *patch);
            else
                memcpy(patch, x + from * s->cin, (size_t)s->cin * sizeof *patch);
        }
        memset(patch, 0, (size_t)(padded - width) * sizeof *patch);
        patch += padded - width;
    }
}

/* Every product has DNN_ROWS rows: blas.h. */
static void conv_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const conv_job *j = ctx;
    const rlm_conv_shape *s = j->s;
    int padded = rlm_dnn_pad((int64_t)conv_taps(s) * s->cin);
    int64_t total = conv_rows_out(s);
    uint16_t *patch = rlm_par_scratch(j->par, worker, 0, (size_t)DNN_ROWS * padded * 2);
    float *part = rlm_par_scratch(j->par, worker, 1, (size_t)DNN_ROWS * s->cout * sizeof(float));
    for (int64_t slice = begin; slice < end; slice++) {
        int64_t row = slice * DNN_ROWS, at = row * s->cout;
        int count = total - row < DNN_ROWS ? (int)(total - row) : DNN_ROWS;
        gather_patches(s, j->x, row, count, patch);
        memset(patch + (int64_t)count * padded, 0, (size_t)(DNN_ROWS - count) * padded * 2);
        rlm_dnn_product p = {false, true, DNN_ROWS, s->cout, padded, padded, patch, j->w, part};
        rlm_dnn_multiply(j->par, worker, &p);
        finish_block(count, s->cout, s->cout, j->bias, j->residual ? j->residual + at : NULL, part,
                     j->y + at);
    }
}

static void conv_forward(rlm_par *par, const rlm_conv_shape *s, const float *x, const rlm_weight *w,
                         const float *bias, const float *residual, float *y)
{
    int64_t rows = conv_rows_out(s);
    if (!w->pack) {
        rlm_blas_conv_forward(par, s, x, w, bias, residual, y);
    } else if (conv_is_dense(s)) {
        linear_job j = {par, (int)rows, s->cout, s->cin, x, bias, residual, w->pack, y, true};
        linear_run(&j);
    } else {
        const uint16_t *rounded = rlm_dnn_rounded(par, conv_rows_in(s) * s->cin, x, 0);
        conv_job j = {par, s, bias, residual, rounded, w->pack, y};
        rlm_par_for(par, (rows + DNN_ROWS - 1) / DNN_ROWS, 1, conv_slice, &j);
    }
}

/* ---- Probe --------------------------------------------------------------------------------- */

/* A 40 x 33 x 64 product against scalar arithmetic, in every storage the overlay uses. */
static bool probe_product(rlm_par *par, bool ta, bool tb)
{
    enum { M = 40, N = 33, K = 64 };
    uint16_t a[M * K], b[N * K];
    float c[M * N];
    bool good = true;
    for (int i = 0; i < M * K; i++)
        a[i] = rlm_bf16((float)(i * 37 % 17 - 8) * 0.125f);
    for (int i = 0; i < N * K; i++)
        b[i] = rlm_bf16((float)(i * 29 % 19 - 9) * 0.125f);
    rlm_dnn_product p = {ta, tb, M, N, K, tb ? K : N, a, b, c};
    rlm_dnn_multiply(par, 0, &p);
    for (int m = 0; m < M; m++) {
        for (int n = 0; n < N; n++) {
            float sum = 0;
            for (int k = 0; k < K; k++)
                sum += rlm_unbf16(a[ta ? k * M + m : m * K + k]) *
                       rlm_unbf16(b[tb ? n * K + k : k * N + n]);
            good = good && sum - c[m * N + n] < 1e-3f && c[m * N + n] - sum < 1e-3f;
        }
    }
    return good;
}

bool rlm_kernels_dnn(rlm_kernels *k)
{
    rlm_par *par = NULL;
    if (!rlm_cpu_detect().avx512_bf16) /* without it oneDNN's bf16 is slower than f32 */
        return false;
    bool good = !rlm_par_open(&par, 1, NULL) && probe_product(par, false, true) &&
                probe_product(par, true, false);
    rlm_par_close(&par);
    if (!good)
        return false;
    k->pack_bytes = pack_bytes;
    k->pack = rlm_dnn_pack;
    k->linear_forward = linear_forward;
    k->conv_forward = conv_forward;
    k->prepared_forward = NULL;
    return true;
}
