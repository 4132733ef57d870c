/* Cases of the halves of a transformer block in training, and of its optimiser: fused kernels
 * against the same run kernel by kernel. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "tests/kernels/check_cases.h"

static const int half_shapes[][3] = {/* rows, heads of 32 or 64, hidden */
                                     {33, 2, 96},
                                     {64, 1, 32},
                                     {300, 2, 640},
                                     {2090, 1, 64}};
static const int half_bench[][3] = {{7168, 6, 640}, {1792, 16, 4096}};

#define EPS 1e-6f

static rlm_weight both_packings(const rlm_kernels *k, rlm_par *par, int n, int depth,
                                const float *w, void *memory[2])
{
    rlm_weight_geom g = {n, 1, 1, 1, depth, 1};
    for (int t = 0; t < 2; t++) {
        size_t bytes = k->pack_bytes(&g, t);
        memory[t] = bytes ? rlm_alloc(bytes) : NULL;
        if (memory[t])
            k->pack(par, &g, w, t, memory[t]);
    }
    return (rlm_weight){.f32 = w, .pack = memory[0], .pack_t = memory[1]};
}

/* in: x, up, gain, down; out: d (dy before), dgain, dup, ddown. */
static void run_mlp(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    int rows = c->p[0], dim = c->p[1], ffn = c->p[2];
    void *memory[4];
    rlm_weight up = both_packings(k, par, 2 * ffn, dim, c->in[1], memory);
    rlm_weight down = both_packings(k, par, dim, ffn, c->in[3], memory + 2);
    rlm_mlp_shape s = {rows, dim, ffn, EPS};
    if (k->mlp_backward) {
        void *saved = rlm_alloc(k->mlp_saved(&s));
        float *y = rlm_alloc((size_t)rows * (size_t)dim * sizeof *y);
        rlm_mlp_grads to = {c->out[0], c->out[1], c->out[2], c->out[3]};
        k->mlp_save(par, &s, c->in[0], c->in[2], &up, &down, y, saved);
        k->mlp_backward(par, &s, c->in[0], c->in[2], &up, &down, saved, &to);
        rlm_free(y);
        rlm_free(saved);
    } else {
        size_t n = (size_t)rows * (size_t)dim, f = (size_t)rows * (size_t)ffn;
        float *h = rlm_calloc(2 * n + 6 * f + (size_t)rows, sizeof *h), *u = h + n;
        float *v = u + 2 * f, *dv = v + f, *du = dv + f, *dh = du + 2 * f, *rstd = dh + n;
        k->rmsnorm_forward(par, rows, dim, c->in[0], c->in[2], EPS, h, rstd);
        k->linear_forward(par, rows, 2 * ffn, dim, h, &up, NULL, NULL, u);
        k->swiglu_forward(par, rows, ffn, u, v);
        k->linear_backward_data(par, rows, dim, ffn, c->out[0], &down, dv, true);
        k->linear_backward_weight(par, rows, dim, ffn, v, c->out[0], c->out[3], NULL);
        k->swiglu_backward(par, rows, ffn, u, dv, du, true);
        k->linear_backward_data(par, rows, 2 * ffn, dim, du, &up, dh, true);
        k->linear_backward_weight(par, rows, 2 * ffn, dim, h, du, c->out[2], NULL);
        k->rmsnorm_backward(par, rows, dim, c->in[0], c->in[2], rstd, dh, c->out[0], c->out[1]);
        rlm_free(h);
    }
    for (int i = 0; i < 4; i++)
        rlm_free(memory[i]);
}

/* Gradients of one of q, k through rotation and norm. */
static void rope_back(const rlm_kernels *k, rlm_par *par, const rlm_rope_shape *s, const float *raw,
                      const float *gain, check_case *c, float *draw, float *dgain)
{
    size_t rstds = (size_t)s->rows * (size_t)s->heads;
    float *y = rlm_alloc(((size_t)s->rows * (size_t)s->stride + rstds) * sizeof *y);
    float *rstd = y + s->rows * s->stride;
    k->rope_forward(par, s, raw, gain, c->in[4], y, rstd);
    k->rope_backward(par, s, raw, gain, c->in[4], rstd, c->in[5], draw, dgain);
    rlm_free(y);
}

/* in: x, weight, gain, gains of q and k, angles, dy; out: dx, dgain, dw, dgains of q and k. */
static void run_qkv(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    int rows = c->p[0], dim = c->p[1], head = c->p[3];
    void *memory[2];
    rlm_weight w = both_packings(k, par, 3 * dim, dim, c->in[1], memory);
    const float *q_gain = c->in[3], *k_gain = q_gain + head;
    size_t n = (size_t)rows * (size_t)dim;
    float *h = rlm_calloc(8 * n + (size_t)rows, sizeof *h), *raw = h + n, *draw = raw + 3 * n;
    float *dh = draw + 3 * n, *rstd = dh + n;
    if (k->qkv_backward) {
        rlm_qkv_shape s = {rows, dim / head, head, EPS, EPS};
        void *saved = rlm_alloc(k->qkv_saved(&s));
        uint16_t *y = rlm_alloc(6 * n * sizeof *y), *dy = y + 3 * n;
        rlm_qkv_grads to = {c->out[0], c->out[1], c->out[2], c->out[3], c->out[3] + head};
        for (size_t i = 0; i < 3 * n; i++)
            dy[i] = rlm_bf16(c->in[5][i]);
        k->qkv_save(par, &s, c->in[0], c->in[2], &w, q_gain, k_gain, c->in[4], y, saved);
        k->qkv_backward(par, &s, c->in[0], c->in[2], &w, q_gain, k_gain, c->in[4], y, saved, dy,
                        &to);
        rlm_free(saved);
        rlm_free(y);
    } else {
        rlm_rope_shape s = {rows, dim / head, head, 3 * dim, 0, EPS};
        k->rmsnorm_forward(par, rows, dim, c->in[0], c->in[2], EPS, h, rstd);
        k->linear_forward(par, rows, 3 * dim, dim, h, &w, NULL, NULL, raw);
        rope_back(k, par, &s, raw, q_gain, c, draw, c->out[3]);
        s.from = dim;
        rope_back(k, par, &s, raw, k_gain, c, draw, c->out[3] + head);
        k->columns(par, rows, dim, c->in[5], 3 * dim, 2 * dim, draw, 3 * dim, 2 * dim, true);
        k->linear_backward_data(par, rows, 3 * dim, dim, draw, &w, dh, true);
        k->linear_backward_weight(par, rows, 3 * dim, dim, h, draw, c->out[2], NULL);
        k->rmsnorm_backward(par, rows, dim, c->in[0], c->in[2], rstd, dh, c->out[0], c->out[1]);
    }
    rlm_free(h);
    rlm_free(memory[0]);
    rlm_free(memory[1]);
}

static void half_case(check_case *c, const int *s, int mlp)
{
    int head = s[0] % 2 ? 32 : 64, dim = head * s[1];
    snprintf(c->name, sizeof c->name, "%s_backward rows%d dim%d hidden%d", mlp ? "mlp" : "qkv",
             s[0], dim, s[2]);
    c->class = CASE_QUANT;
    c->run = mlp ? run_mlp : run_qkv;
    c->levels = RLM_LEVEL_AMX;
    c->accumulates = true;
    c->calm = true; /* angles, gates */
    c->p[0] = s[0];
    c->p[1] = dim;
    c->p[2] = s[2];
    c->p[3] = head;
    c->in_size[0] = (int64_t)s[0] * dim;
    c->in_size[1] = (int64_t)(mlp ? 2 * s[2] : 3 * dim) * dim;
    c->in_size[2] = dim;
    c->in_size[3] = mlp ? (int64_t)s[2] * dim : 2 * head;
    c->in_size[4] = mlp ? 0 : (int64_t)s[0] * head / 2;
    c->in_size[5] = mlp ? 0 : (int64_t)s[0] * 3 * dim;
    c->out_size[0] = (int64_t)s[0] * dim;
    c->out_size[1] = dim;
    c->out_size[2] = c->in_size[1];
    c->out_size[3] = c->in_size[3];
}

static const int matrix_shapes[][3] = {/* rows, columns, matrices */
                                       {1, 1, 1},     {33, 63, 3},   {63, 33, 3},
                                       {40, 34, 5},   {1, 700, 2},   {96, 576, 2},
                                       {1152, 64, 1}, {514, 540, 1}, {33, 17000, 1}};
static const int matrix_bench[][3] = {{1152, 384, 6}, {384, 640, 6}, {3072, 1024, 1}};

/* x [rows][cols] by the definition; room: of x, and twice of the smaller square. */
static void orthogonalise(const rlm_kernels *k, rlm_par *par, const rlm_matrix *m, float *room)
{
    bool wide = m->rows <= m->cols;
    int g = wide ? m->rows : m->cols, r = wide ? m->cols : m->rows;
    int64_t n = (int64_t)m->rows * m->cols, gg = (int64_t)g * g;
    float *gram = room + n, *poly = gram + gg, *x = m->x;
    if (!(m->scale > 0)) {
        memset(x, 0, (size_t)n * sizeof *x);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        x[i] *= m->scale;
    for (int step = 0; step < RLM_MUON_STEPS; step++) {
        k->gemm(par, !wide, wide, g, g, r, 1, x, x, 0, gram);
        k->gemm(par, false, false, g, g, g, RLM_MUON_C, gram, gram, 0, poly);
        for (int64_t i = 0; i < gg; i++)
            poly[i] += RLM_MUON_B * gram[i] + (i % (g + 1) == 0 ? RLM_MUON_A : 0);
        if (wide)
            k->gemm(par, false, false, g, r, g, 1, poly, x, 0, room);
        else
            k->gemm(par, false, false, r, g, g, 1, x, poly, 0, room);
        memcpy(x, room, (size_t)n * sizeof *x);
    }
}

static void run_orthogonalise(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    int rows = c->p[0], cols = c->p[1], count = c->p[2], side = rows < cols ? rows : cols;
    int64_t n = (int64_t)rows * cols;
    rlm_matrix m[8];
    memcpy(c->out[0], c->in[0], (size_t)(n * count) * sizeof(float));
    for (int i = 0; i < count; i++) {
        float *x = c->out[0] + i * n;
        double sum = 0;
        for (int64_t at = 0; at < n; at++)
            sum += (double)x[at] * x[at];
        m[i] = (rlm_matrix){rows, cols, sum > 1e-60 ? (float)(1 / sqrt(sum)) : 0, x};
    }
    if (k->orthogonalise) {
        k->orthogonalise(par, count, m);
        return;
    }
    float *room = rlm_alloc((size_t)(n + 2 * (int64_t)side * side) * sizeof *room);
    for (int i = 0; i < count; i++)
        orthogonalise(k, par, m + i, room);
    rlm_free(room);
}

static void matrix_case(check_case *c, const int *s, int variant)
{
    (void)variant;
    snprintf(c->name, sizeof c->name, "orthogonalise %d x %dx%d", s[2], s[0], s[1]);
    c->class = CASE_QUANT;
    c->run = run_orthogonalise;
    c->levels = RLM_LEVEL_AMX;
    c->calm = true;    /* the square of the norm */
    c->allowed = 2e-3; /* five steps on bf16, the first of which triples what is small */
    memcpy(c->p, s, 3 * sizeof *s);
    c->in_size[0] = c->out_size[0] = (int64_t)s[0] * s[1] * s[2];
    c->out_row[0] = (int64_t)s[0] * s[1];
}

bool check_block_case_at(walk *w, bool bench, check_case *c)
{
    GROUP(half_shapes, half_bench, 2, half_case, ITEM);
    GROUP(matrix_shapes, matrix_bench, 1, matrix_case, ITEM);
    return false;
}
