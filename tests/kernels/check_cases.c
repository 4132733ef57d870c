/* The case table of the kernel check: every entry, with shapes of 1, primes, 63..65, odd depths,
 * strides and dilations. */
#include "tests/kernels/check_cases.h"

#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"

/* ---- Convolution --------------------------------------------------------------------------- */

static const rlm_conv_shape conv_shapes[] = {
    /* n t h w cin  (out: filled in)  cout  kt kh kw  st sh sw  dw  pt ph pw */
    {1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0},
    {1, 3, 5, 7, 3, 0, 0, 0, 5, 3, 3, 3, 1, 1, 1, 1, 2, 1, 1},
    {2, 2, 8, 8, 16, 0, 0, 0, 32, 1, 3, 3, 1, 1, 1, 1, 0, 1, 1},
    {1, 5, 9, 9, 17, 0, 0, 0, 33, 3, 3, 3, 1, 2, 2, 1, 2, 1, 1},
    {1, 5, 4, 6, 8, 0, 0, 0, 9, 3, 1, 1, 2, 1, 1, 1, 2, 0, 0},
    {1, 4, 8, 8, 12, 0, 0, 0, 24, 4, 4, 4, 2, 2, 2, 1, 2, 1, 1},
    {1, 1, 1, 101, 13, 0, 0, 0, 63, 1, 1, 7, 1, 1, 1, 3, 0, 0, 18},
    {2, 1, 1, 80, 64, 0, 0, 0, 64, 1, 1, 3, 1, 1, 1, 27, 0, 0, 54}, /* pad wider than a box */
    {2, 1, 1, 64, 64, 0, 0, 0, 65, 1, 1, 4, 1, 1, 2, 1, 0, 0, 2},
    {2, 1, 1, 131, 1, 0, 0, 0, 32, 1, 1, 7, 1, 1, 1, 1, 0, 0, 6},
    {1, 1, 1, 80, 32, 0, 0, 0, 1, 1, 1, 7, 1, 1, 1, 1, 0, 0, 6},
    {1, 1, 1, 96, 48, 0, 0, 0, 64, 1, 1, 10, 1, 1, 5, 1, 0, 0, 5},
    {1, 2, 6, 6, 65, 0, 0, 0, 64, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0},
    {1, 2, 7, 7, 31, 0, 0, 0, 20, 1, 1, 1, 1, 2, 2, 1, 0, 0, 0},
    {1, 2, 3, 3, 192, 0, 0, 0, 48, 3, 3, 3, 1, 1, 1, 1, 2, 1, 1},
    {1, 1, 2, 2, 7, 0, 0, 0, 6, 1, 5, 5, 1, 1, 1, 1, 0, 2, 2},
    {1, 2, 17, 33, 40, 0, 0, 0, 40, 1, 3, 3, 1, 1, 1, 1, 0, 1, 1},
};
static const rlm_conv_shape conv_bench[] = {
    {1, 5, 32, 32, 96, 0, 0, 0, 96, 1, 3, 3, 1, 1, 1, 1, 0, 1, 1},
    {1, 5, 16, 16, 192, 0, 0, 0, 192, 3, 3, 3, 1, 1, 1, 1, 2, 1, 1},
    {4, 1, 1, 4000, 64, 0, 0, 0, 64, 1, 1, 7, 1, 1, 1, 3, 0, 0, 18},
};

static void run_conv(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->conv_forward(par, &c->conv, c->in[0], &c->weight, c->in[2], c->in[3], c->out[0]);
}

/* The statistics of a prepared input, of the numbers it has. */
static void prepare_conv(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    if (c->in_size[4])
        k->groupnorm_forward(par, &c->groupnorm, c->in[c->p[0] ? 2 : 0], c->in[5], c->in[6], NULL,
                             c->in[4]);
}

static void run_apart(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    float *seen = rlm_alloc((size_t)c->in_size[0] * sizeof *seen);
    float *stats = c->in_size[4] ? rlm_alloc((size_t)c->in_size[4] * sizeof *stats) : NULL;
    if (stats)
        k->groupnorm_forward(par, &c->groupnorm, c->in[0], c->in[5], c->in[6], seen, stats);
    else
        k->act_forward(par, c->groupnorm.act, c->in_size[0], c->in[0], seen);
    if (c->accumulates)
        k->conv_backward_weight(par, &c->conv, seen, c->in[1], c->out[0], c->out[1]);
    else
        k->conv_forward(par, &c->conv, seen, &c->weight, c->in[2], c->in[3], c->out[0]);
    rlm_free(seen);
    rlm_free(stats);
}

/* The gradient through a norm or an activation, one by one. */
static void run_data_apart(const rlm_kernels *k, rlm_par *par, check_case *c, float *room)
{
    k->conv_backward_data(par, &c->conv, c->in[0], &c->weight, room, false);
    if (c->in_size[4])
        k->groupnorm_backward(par, &c->groupnorm, c->in[2], c->in[5], c->in[6], c->in[4], room,
                              c->out[0], c->out[1], c->out[2], c->accumulates);
    else
        k->act_backward(par, c->groupnorm.act, c->out_size[0], c->in[2], room, c->out[0],
                        c->accumulates);
}

static void run_conv_data(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->conv_backward_data(par, &c->conv, c->in[0], &c->weight, c->out[0], c->accumulates);
}

static void run_conv_weight(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->conv_backward_weight(par, &c->conv, c->in[0], c->in[1], c->out[0], c->out[1]);
}

/* From what the forward keeps, whatever its weight; odd depths work from an f32 weight. */
static void run_prepared_weight(const rlm_kernels *k, rlm_par *par, check_case *c,
                                const rlm_prepare *p)
{
    const rlm_conv_shape *s = &c->conv;
    rlm_weight_geom g = {s->cout, s->kt, s->kh, s->kw, s->cin, s->dw};
    size_t bytes = s->cin % 8 == 5 ? 0 : k->pack_bytes(&g, false);
    float *zeros = rlm_calloc((size_t)c->out_size[0], sizeof *zeros);
    float *y = rlm_alloc((size_t)c->in_size[1] * sizeof *y);
    void *pack = bytes ? rlm_alloc(bytes) : NULL;
    void *saved = rlm_alloc(k->prepared_saved(s));
    if (pack)
        k->pack(par, &g, zeros, false, pack);
    memset(saved, 0xff, k->prepared_saved(s)); /* NaN */
    rlm_weight w = {.f32 = zeros, .pack = pack};
    k->prepared_forward(par, s, p, c->in[0], &w, NULL, NULL, y, saved);
    k->prepared_backward_weight(par, s, saved, c->in[1], c->out[0], c->out[1]);
    rlm_free(zeros);
    rlm_free(y);
    rlm_free(pack);
    rlm_free(saved);
}

static void run_prepared(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    rlm_prepare p = {c->groupnorm, c->in[4], c->in[5], c->in[6]};
    if (c->p[0]) {
        float *room = rlm_alloc((size_t)c->in_size[2] * sizeof *room);
        if (k->prepared_backward_data)
            k->prepared_backward_data(par, &c->conv, &p, c->in[2], c->in[0], &c->weight, c->out[0],
                                      c->out[1], c->out[2], c->accumulates, room);
        else
            run_data_apart(k, par, c, room);
        rlm_free(room);
    } else if (c->accumulates && k->prepared_backward_weight)
        run_prepared_weight(k, par, c, &p);
    else if (!c->accumulates && k->prepared_forward)
        k->prepared_forward(par, &c->conv, &p, c->in[0], &c->weight, c->in[2], c->in[3], c->out[0],
                            NULL);
    else /* a table without the fused form: the kernels one by one */
        run_apart(k, par, c);
}

/* pass 0: forward, 1: data, 2: weight, 3: data that overwrites. bare: without bias, residual and
 * packing. */
static void conv_case(check_case *c, const rlm_conv_shape *shape, int pass, bool bare)
{
    bool overwrite = pass == 3;
    pass = overwrite ? 1 : pass;
    static const char *const names[] = {"conv_forward", "conv_backward_data",
                                        "conv_backward_weight"};
    rlm_conv_shape *s = &c->conv;
    *s = *shape;
    s->ot = (s->t + s->st - 1) / s->st;
    s->oh = (s->h + s->sh - 1) / s->sh;
    s->ow = (s->w + s->sw - 1) / s->sw;
    int64_t x = (int64_t)s->n * s->t * s->h * s->w * s->cin;
    int64_t y = (int64_t)s->n * s->ot * s->oh * s->ow * s->cout;
    int64_t w = (int64_t)s->cout * s->kt * s->kh * s->kw * s->cin;
    snprintf(c->name, sizeof c->name, "%s %dx%dx%dx%dx%d c%d k%dx%dx%d s%dx%dx%d d%d%s",
             names[pass], s->n, s->t, s->h, s->w, s->cin, s->cout, s->kt, s->kh, s->kw, s->st,
             s->sh, s->sw, s->dw, bare ? " bare" : "");
    c->class = CASE_PRODUCT;
    c->accumulates = pass > 0;
    c->packed = !bare;
    c->in_size[0] = pass == 1 ? y : x;
    if (pass < 2) {
        c->run = pass ? run_conv_data : run_conv;
        c->in_size[1] = w;
        c->geom = (rlm_weight_geom){s->cout, s->kt, s->kh, s->kw, s->cin, s->dw};
        c->in_size[2] = pass || bare ? 0 : s->cout;
        c->in_size[3] = pass || bare ? 0 : y;
        c->out_size[0] = pass ? x : y;
        c->accumulates = pass && !overwrite;
    } else {
        c->run = run_conv_weight;
        c->in_size[1] = y;
        c->out_size[0] = w;
        c->out_size[1] = bare ? 0 : s->cout;
    }
}

/* Forward, weights and data of a prepared input: behind a norm, or (alone) an activation only.
 * Compared in energies of the outputs: |x| prepared is not the prepared |x|. */
static void prepared_case(check_case *c, const rlm_conv_shape *shape, int variant)
{
    static const rlm_act acts[] = {RLM_ACT_SILU, RLM_ACT_ELU, RLM_ACT_NONE, RLM_ACT_GELU};
    bool data = variant > 3, weight = variant & 1, alone = variant & 2;
    conv_case(c, shape, data ? (weight ? 3 : 1) : weight ? 2 : 0, false);
    char name[100];
    snprintf(name, sizeof name, "prepared_%s%.80s", alone ? "act_" : "", c->name);
    snprintf(c->name, sizeof c->name, "%s", name);
    const rlm_conv_shape *s = &c->conv;
    c->class = CASE_SOFT;
    c->run = run_prepared;
    c->groupnorm = (rlm_groupnorm_shape){.frames = s->n * s->t,
                                         .hw = s->h * s->w,
                                         .c = s->cin,
                                         .groups = s->cin % 4 ? 1 : 4,
                                         .eps = 1e-5f,
                                         .act = acts[s->cin % 4]};
    c->prepare = prepare_conv;
    c->calm = true;
    c->p[0] = data;
    if (data)
        c->in_size[2] = c->out_size[0];               /* x */
    if (alone || (data && s->h * s->w * s->cin < 64)) /* of a few values the norm leaves noise */
        return;
    if (data)
        c->out_size[1] = c->out_size[2] = weight || s->cin < 8 ? 0 : s->cin; /* sums that cancel */
    c->in_size[4] = (int64_t)c->groupnorm.frames * c->groupnorm.groups * 2;
    c->in_size[5] = c->in_size[6] = s->cin;
}

/* ---- Linear and matrices ------------------------------------------------------------------- */

static const int linear_shapes[][3] = {
    /* m n k */
    {1, 1, 1},    {1, 63, 65},  {2, 7, 13},    {5, 64, 64},     {8, 65, 127},   {17, 33, 63},
    {64, 64, 64}, {65, 96, 31}, {3, 256, 1},   {127, 129, 100}, {33, 192, 576}, {1, 512, 1024},
    {7, 300, 63}, {300, 17, 5}, {12, 2, 1023}, {290, 270, 65},  {1100, 40, 72}};
static const int linear_bench[][3] = {{1, 1024, 1024}, {4, 1024, 1024}, {256, 1024, 1024}};

static void run_linear(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->linear_forward(par, c->p[0], c->p[1], c->p[2], c->in[0], &c->weight, c->in[2], c->in[3],
                      c->out[0]);
}

static void run_linear_data(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->linear_backward_data(par, c->p[0], c->p[1], c->p[2], c->in[0], &c->weight, c->out[0],
                            c->accumulates);
}

static void run_linear_weight(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->linear_backward_weight(par, c->p[0], c->p[1], c->p[2], c->in[0], c->in[1], c->out[0],
                              c->out[1]);
}

static void linear_case(check_case *c, const int *s, int pass, bool bare)
{
    bool overwrite = pass == 3;
    pass = overwrite ? 1 : pass;
    static const char *const names[] = {"linear_forward", "linear_backward_data",
                                        "linear_backward_weight"};
    int64_t m = s[0], n = s[1], k = s[2];
    snprintf(c->name, sizeof c->name, "%s m%d n%d k%d%s", names[pass], s[0], s[1], s[2],
             bare ? " bare" : "");
    memcpy(c->p, s, 3 * sizeof *s);
    c->class = CASE_PRODUCT;
    c->accumulates = pass > 0;
    c->packed = !bare;
    c->in_size[0] = pass == 1 ? m * n : m * k;
    if (pass < 2) {
        c->run = pass ? run_linear_data : run_linear;
        c->in_size[1] = n * k;
        c->geom = (rlm_weight_geom){s[1], 1, 1, 1, s[2], 1};
        c->in_size[2] = pass || bare ? 0 : n;
        c->in_size[3] = pass || bare ? 0 : m * n;
        c->out_size[0] = pass ? m * k : m * n;
        c->accumulates = pass && !overwrite;
    } else {
        c->run = run_linear_weight;
        c->in_size[1] = m * n;
        c->out_size[0] = n * k;
        c->out_size[1] = bare ? 0 : n;
    }
}

static void run_gemm(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->gemm(par, c->p[3], c->p[4], c->p[0], c->p[1], c->p[2], 0.75f, c->in[0], c->in[1],
            c->accumulates ? 0.5f : 0, c->out[0]);
}

/* f32 on every level: compared as such. */
static void gemm_case(check_case *c, const int *s, int variant)
{
    memcpy(c->p, s, 3 * sizeof *s);
    c->p[3] = variant & 1;
    c->p[4] = variant >> 1 & 1;
    c->accumulates = variant >> 2 & 1;
    snprintf(c->name, sizeof c->name, "gemm m%d n%d k%d ta%d tb%d", s[0], s[1], s[2], c->p[3],
             c->p[4]);
    c->class = CASE_F32;
    c->run = run_gemm;
    c->in_size[0] = (int64_t)s[0] * s[2];
    c->in_size[1] = (int64_t)s[1] * s[2];
    c->out_size[0] = (int64_t)s[0] * s[1];
}

/* ---- Norms --------------------------------------------------------------------------------- */

static const int norm_shapes[][2] = {/* rows c */
                                     {1, 1},  {3, 7},    {2, 63},   {5, 64},
                                     {7, 65}, {130, 48}, {33, 192}, {2, 1023}};
static const int norm_bench[][2] = {{1024, 512}};

static void run_rmsnorm(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->rmsnorm_forward(par, c->p[0], c->p[1], c->in[0], c->in[1], 1e-5f, c->out[0], c->out[1]);
}

static void prepare_rmsnorm(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    float *y = rlm_alloc((size_t)c->in_size[0] * sizeof *y);
    k->rmsnorm_forward(par, c->p[0], c->p[1], c->in[0], c->in[1], 1e-5f, y, c->in[2]);
    rlm_free(y);
}

static void run_rmsnorm_backward(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->rmsnorm_backward(par, c->p[0], c->p[1], c->in[0], c->in[1], c->in[2], c->in[3], c->out[0],
                        c->out[1]);
}

static void rmsnorm_case(check_case *c, const int *s, int variant)
{
    bool backward = variant & 1, bare = variant & 2;
    int64_t count = (int64_t)s[0] * s[1];
    memcpy(c->p, s, 2 * sizeof *s);
    snprintf(c->name, sizeof c->name, "rmsnorm_%s %dx%d%s", backward ? "backward" : "forward", s[0],
             s[1], bare ? " bare" : "");
    c->class = CASE_F32;
    c->accumulates = backward;
    c->in_size[0] = count;
    c->in_size[1] = bare ? 0 : s[1];
    c->out_size[0] = count;
    c->out_row[0] = s[1];
    c->out_size[1] = backward ? (bare ? 0 : s[1]) : bare ? 0 : s[0];
    c->run = backward ? run_rmsnorm_backward : run_rmsnorm;
    if (backward) {
        c->prepare = prepare_rmsnorm;
        c->in_size[2] = s[0];
        c->in_size[3] = count;
    }
}

static const rlm_groupnorm_shape group_shapes[] = {
    {1, 1, 4, 1, 1e-5f, RLM_ACT_NONE},     {2, 5, 6, 3, 1e-5f, RLM_ACT_SILU},
    {3, 35, 65, 1, 1e-5f, RLM_ACT_ELU},    {2, 63, 64, 8, 1e-5f, RLM_ACT_GELU},
    {1, 65, 96, 32, 1e-5f, RLM_ACT_LEAKY}, {2, 17, 48, 48, 1e-5f, RLM_ACT_TANH},
    {5, 64, 32, 1, 1e-5f, RLM_ACT_RELU},   {3, 9, 192, 12, 1e-5f, RLM_ACT_SILU}};
static const rlm_groupnorm_shape group_bench[] = {{5, 1024, 96, 1, 1e-5f, RLM_ACT_SILU}};

static void run_groupnorm(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->groupnorm_forward(par, &c->groupnorm, c->in[0], c->in[1], c->in[2], c->out[0], c->out[1]);
}

static void prepare_groupnorm(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    float *y = rlm_alloc((size_t)c->in_size[0] * sizeof *y);
    k->groupnorm_forward(par, &c->groupnorm, c->in[0], c->in[1], c->in[2], y, c->in[3]);
    rlm_free(y);
}

static void run_groupnorm_backward(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->groupnorm_backward(par, &c->groupnorm, c->in[0], c->in[1], c->in[2], c->in[3], c->in[4],
                          c->out[0], c->out[1], c->out[2], c->accumulates);
}

static void groupnorm_case(check_case *c, const rlm_groupnorm_shape *s, int variant)
{
    bool overwrite = variant == 4, backward = variant & 1 || overwrite,
         bare = variant & 2 || overwrite;
    int64_t count = (int64_t)s->frames * s->hw * s->c, stats = (int64_t)s->frames * s->groups * 2;
    c->groupnorm = *s;
    snprintf(c->name, sizeof c->name, "groupnorm_%s f%d hw%d c%d g%d act%d%s",
             backward ? "backward" : "forward", s->frames, s->hw, s->c, s->groups, s->act,
             bare ? " bare" : "");
    c->class = CASE_F32;
    c->accumulates = backward && !overwrite;
    c->in_size[0] = count;
    c->in_size[1] = c->in_size[2] = bare ? 0 : s->c;
    c->out_size[0] = count;
    c->run = backward ? run_groupnorm_backward : run_groupnorm;
    if (backward) {
        c->prepare = prepare_groupnorm;
        c->in_size[3] = stats;
        c->in_size[4] = count;
        c->out_size[1] = c->out_size[2] = bare ? 0 : s->c;
    } else {
        c->out_size[1] = stats;
    }
}

/* ---- Elementwise --------------------------------------------------------------------------- */

static const int64_t sizes[] = {1, 7, 63, 64, 65, 1023, 9001};
static const int64_t sizes_bench[] = {1000000};

enum {
    EL_ACT,
    EL_ACT_BACK = 7,
    EL_ADD = 14,
    EL_AXPY,
    EL_SCALE,
    EL_FILL,
    EL_COPY,
    EL_MOD,
    EL_MOD_BACK,
    EL_ADAMW,
    EL_MOMENT,
    EL_APPLY,
    EL_SUMSQ,
    EL_RECON1,
    EL_RECON2,
    ELEMENTS
};

static void run_element(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    int op = c->p[0];
    int64_t n = c->in_size[0];
    float **in = c->in, **out = c->out;
    if (op < EL_ACT_BACK)
        k->act_forward(par, (rlm_act)op, n, in[0], out[0]);
    else if (op < EL_ADD)
        k->act_backward(par, (rlm_act)(op - EL_ACT_BACK), n, in[0], in[1], out[0], c->accumulates);
    else if (op == EL_ADD)
        k->add(par, n, in[0], in[1], out[0]);
    else if (op == EL_AXPY)
        k->axpy(par, n, -0.3f, in[0], out[0]);
    else if (op == EL_SCALE)
        k->scale(par, n, 3e-9f, out[0]);
    else if (op == EL_FILL)
        k->fill(par, n, 1.5f, out[0]);
    else if (op == EL_COPY)
        k->copy(par, n, in[0], out[0]);
    else if (op == EL_MOD)
        k->modulate_forward(par, n, in[0], in[1], in[2], out[0]);
    else if (op == EL_MOD_BACK)
        k->modulate_backward(par, n, in[0], in[1], in[2], out[0], out[1], out[2],
                             (const bool[3]){c->accumulates, c->accumulates, c->accumulates});
    else if (op == EL_ADAMW) {
        for (int64_t i = 0; i < n; i++) /* second moments are never negative */
            out[2][i] = out[2][i] < 0 ? -out[2][i] : out[2][i];
        k->adamw(par, &c->adamw, n, out[0], in[0], out[1], out[2], out[3]);
    } else if (op == EL_MOMENT)
        k->muon_moment(par, n, 0.95f, 0.5f, in[0], out[0], out[1]);
    else if (op == EL_APPLY)
        k->muon_apply(par, n, 0.99f, -0.03f, 0.9f, n % 4 ? in[0] : NULL, out[0], out[1]);
    else if (op == EL_SUMSQ)
        out[0][0] = (float)k->sumsq(par, n, in[0]);
    else
        out[1][0] = (float)k->recon(par, op == EL_RECON1 ? 1 : 2, n, in[0], in[1], 3.0f, out[0]);
}

static void element_case(check_case *c, int op, int64_t n)
{
    static const char *const names[] = {"add",
                                        "axpy",
                                        "scale",
                                        "fill",
                                        "copy",
                                        "modulate_forward",
                                        "modulate_backward",
                                        "adamw",
                                        "muon_moment",
                                        "muon_apply",
                                        "sumsq",
                                        "recon_l1",
                                        "recon_l2"};
    const char *name = op < EL_ACT_BACK ? "act_forward"
                       : op < EL_ADD    ? "act_backward"
                                        : names[op - EL_ADD];
    snprintf(c->name, sizeof c->name, "%s %d n%lld", name, op, (long long)n);
    c->p[0] = op;
    c->run = run_element;
    c->class = op == EL_ADD || op == EL_FILL || op == EL_COPY ? CASE_EXACT : CASE_F32;
    c->in_size[0] = c->in_size[1] = c->in_size[2] = c->out_size[0] = n;
    c->accumulates = (op >= EL_ACT_BACK && op < EL_ADD && n % 4 == 3) || op == EL_AXPY ||
                     op == EL_SCALE || (op == EL_MOD_BACK && n % 4 == 3) || op == EL_ADAMW ||
                     op == EL_MOMENT || op == EL_APPLY || op >= EL_RECON1;
    if (op == EL_MOD_BACK)
        c->out_size[1] = c->out_size[2] = n;
    if (op == EL_ADAMW) {
        c->out_size[1] = c->out_size[2] = n;
        c->out_size[3] = n % 2 ? n : 0;
        c->adamw = (rlm_adamw){1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, 3, n % 2 ? 0.99f : 0};
    }
    if (op == EL_MOMENT || op == EL_APPLY)
        c->out_size[1] = op == EL_APPLY && n % 2 ? 0 : n;
    if (op == EL_SUMSQ)
        c->out_size[0] = 1;
    if (op >= EL_RECON1)
        c->out_size[1] = 1;
}

static void run_rows(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    const int *p = c->p;
    if (p[0] == 0)
        k->swiglu_forward(par, p[1], p[2], c->in[0], c->out[0]);
    else if (p[0] == 1 || p[0] == 4)
        k->swiglu_backward(par, p[1], p[2], c->in[0], c->in[1], c->out[0], c->accumulates);
    else
        k->columns(par, p[1], p[2], c->in[0], p[2] + 5, 3, c->out[0], p[2] + 2, 1, p[0] == 3);
}

/* variant 0, 1, 4: SwiGLU forward, backward, backward that overwrites; 2, 3: columns without and
 * with accumulation. */
static void rows_case(check_case *c, const int *s, int variant)
{
    static const char *const names[] = {"swiglu_forward", "swiglu_backward", "columns",
                                        "columns_add", "swiglu_backward_first"};
    bool swiglu = variant < 2 || variant == 4;
    int64_t rows = s[0], width = s[1];
    snprintf(c->name, sizeof c->name, "%s %dx%d", names[variant], s[0], s[1]);
    c->p[0] = variant;
    memcpy(c->p + 1, s, 2 * sizeof *s);
    c->class = swiglu ? CASE_F32 : CASE_EXACT;
    c->run = run_rows;
    c->accumulates = variant == 1 || variant == 3;
    c->in_size[0] = swiglu ? rows * 2 * width : rows * (width + 5);
    c->in_size[1] = rows * width;
    c->out_size[0] = variant == 0 ? rows * width : swiglu ? rows * 2 * width : rows * (width + 2);
}

/* ---- The table ----------------------------------------------------------------------------- */

static void conv_variant(check_case *c, const rlm_conv_shape *s, int v)
{
    conv_case(c, s, v % 4, v > 3);
}

static void linear_variant(check_case *c, const int *s, int v)
{
    linear_case(c, s, v % 4, v > 3);
}

static void element_variant(check_case *c, int64_t n, int v)
{
    element_case(c, v, n);
}

/* Outputs that AVX-512 writes past the caches: more than 4 MiB. */
static void far_case(check_case *c, int kind)
{
    static const int dense[3] = {1090, 1008, 5}, rows[2] = {1090, 1008};
    static const rlm_conv_shape conv = {1, 1, 33, 80, 1, 0, 0, 0, 400, 1,
                                        1, 3, 1,  1,  1, 1, 0, 0, 1};
    static const rlm_groupnorm_shape group = {5, 1024, 224, 8, 1e-5f, RLM_ACT_SILU};
    c->levels = RLM_LEVEL_AVX512;
    switch (kind) {
    case 0:
        linear_case(c, dense, 0, false);
        break;
    case 1:
        conv_case(c, &conv, 0, false);
        break;
    case 2:
        rmsnorm_case(c, rows, 0);
        break;
    case 3:
        groupnorm_case(c, &group, 4);
        break;
    default:
        rows_case(c, rows, 0);
    }
}

bool check_case_at(int index, bool bench, check_case *c)
{
    walk from = {index}, *w = &from;
    memset(c, 0, sizeof *c);
    GROUP(conv_shapes, conv_bench, bench ? 3 : 8, conv_variant, ADDRESS);
    GROUP(conv_shapes, conv_bench, bench ? 2 : 8, prepared_case, ADDRESS);
    GROUP(linear_shapes, linear_bench, bench ? 3 : 8, linear_variant, ITEM);
    GROUP(linear_shapes, linear_bench, bench ? 1 : 8, gemm_case, ITEM);
    GROUP(norm_shapes, norm_bench, bench ? 2 : 4, rmsnorm_case, ITEM);
    GROUP(group_shapes, group_bench, bench ? 2 : 5, groupnorm_case, ADDRESS);
    GROUP(sizes, sizes_bench, ELEMENTS, element_variant, ITEM);
    GROUP(norm_shapes, norm_bench, 5, rows_case, ITEM);
    int kind;
    if (!bench && take(w, 5, &kind)) {
        far_case(c, kind);
        return true;
    }
    return check_sequence_case_at(w, bench, c) || check_quant_case_at(w, bench, c) ||
           check_block_case_at(w, bench, c) || check_pair_case_at(w, bench, c);
}
