/* The case table of the kernel check, second half: rearrangement, quantisers, sequences. */
#include "tests/kernels/check_cases.h"

#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"

/* ---- Rearrangement ------------------------------------------------------------------------- */

static const rlm_shuffle_shape shuffle_shapes[] = {{1, 1, 1, 1, 1, 1, 1, 1, 0},
                                                   {2, 3, 5, 4, 7, 2, 2, 2, 1},
                                                   {1, 2, 3, 3, 64, 1, 2, 2, 0},
                                                   {1, 4, 2, 3, 17, 4, 1, 1, 3},
                                                   {3, 1, 1, 13, 5, 1, 1, 4, 0}};
static const rlm_shuffle_shape shuffle_bench[] = {{1, 5, 16, 16, 96, 1, 2, 2, 0}};

static void run_shuffle(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    switch (c->p[0]) {
    case 0:
    case 1:
        k->depth_to_space(par, &c->shuffle, c->in[0], c->out[0], c->p[0] == 1);
        break;
    case 2:
    case 3:
        k->space_to_depth(par, &c->shuffle, c->in[0], c->out[0], c->p[0] == 3);
        break;
    case 4:
        k->upsample_forward(par, &c->shuffle, c->in[0], c->out[0]);
        break;
    default:
        k->upsample_backward(par, &c->shuffle, c->in[0], c->out[0]);
    }
}

static void shuffle_case(check_case *c, const rlm_shuffle_shape *s, int variant)
{
    static const char *const names[] = {"depth_to_space",   "depth_to_space_add",
                                        "space_to_depth",   "space_to_depth_add",
                                        "upsample_forward", "upsample_backward"};
    int64_t grid = (int64_t)s->n * s->t * s->h * s->w * s->c, taps = s->ft * s->fh * s->fw;
    int64_t wide = (int64_t)s->n * (s->t * s->ft - s->drop) * s->h * s->fh * s->w * s->fw * s->c;
    int64_t deep = variant < 4 ? grid * taps : grid;
    bool to_wide = variant < 2 || variant == 4;
    c->shuffle = *s;
    c->p[0] = variant;
    snprintf(c->name, sizeof c->name, "%s %dx%dx%dx%dx%d by %dx%dx%d drop %d", names[variant], s->n,
             s->t, s->h, s->w, s->c, s->ft, s->fh, s->fw, s->drop);
    c->class = variant == 5 ? CASE_F32 : CASE_EXACT;
    c->run = run_shuffle;
    c->accumulates = variant == 1 || variant == 3 || variant == 5;
    c->in_size[0] = to_wide ? deep : wide;
    c->out_size[0] = to_wide ? wide : deep;
}

static const rlm_haar_shape haar_shapes[] = {{1, 1, 1, 1}, {2, 3, 2, 5}, {1, 5, 7, 1}};
static const rlm_haar_shape haar_bench[] = {{1, 5, 32, 32}};

static void run_haar(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    rlm_haar_fn fn[] = {k->haar_forward, k->haar_inverse};
    rlm_haar_adjoint_fn adjoint[] = {k->haar_forward_adjoint, k->haar_inverse_adjoint};
    if (c->p[0] < 2)
        fn[c->p[0]](par, &c->haar, c->in[0], c->out[0]);
    else
        adjoint[c->p[0] % 2](par, &c->haar, c->in[0], c->out[0], c->accumulates);
}

static void haar_case(check_case *c, const rlm_haar_shape *s, int variant)
{
    static const char *const names[] = {"haar_forward",
                                        "haar_inverse",
                                        "haar_forward_adjoint",
                                        "haar_inverse_adjoint",
                                        "haar_forward_adjoint_first",
                                        "haar_inverse_adjoint_first"};
    int64_t pixels = (int64_t)s->n * (1 + 4 * (s->t - 1)) * 16 * s->h * s->w * 3;
    int64_t coeffs = (int64_t)s->n * s->t * s->h * s->w * 192;
    bool from_pixels = variant == 0 || variant == 3 || variant == 5;
    c->haar = *s;
    c->p[0] = variant;
    snprintf(c->name, sizeof c->name, "%s %dx%dx%dx%d", names[variant], s->n, s->t, s->h, s->w);
    c->class = CASE_F32;
    c->run = run_haar;
    c->accumulates = variant > 1 && variant < 4;
    c->in_size[0] = from_pixels ? pixels : coeffs;
    c->out_size[0] = from_pixels ? coeffs : pixels;
}

/* ---- Quantisers, embeddings, losses ---------------------------------------------------------- */

static const int table_shapes[][3] = {/* rows width codes */
                                      {1, 1, 1},     {3, 7, 5},     {65, 18, 64},
                                      {9, 63, 1023}, {40, 128, 65}, {17, 65, 256}};
static const int table_bench[][3] = {{512, 128, 1024}};

static void run_table(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    int rows = c->p[1], width = c->p[2], codes = c->p[3];
    int32_t *ids = rlm_calloc((size_t)rows, sizeof *ids);
    switch (c->p[0]) {
    case 0:
        k->lfq_forward(par, rows, width, c->in[0], c->out[0], ids);
        for (int i = 0; i < rows; i++)
            c->out[1][i] = (float)ids[i];
        break;
    case 1:
    case 2:
        k->embedding_forward(par, rows, width, c->ids, c->in[0], c->out[0], c->p[0] == 2);
        break;
    case 3:
        k->embedding_backward(par, rows, width, c->ids, c->in[0], c->out[0]);
        break;
    default:
        k->cross_entropy(par, rows, codes, c->in[0], c->ids, 1e-4f, 0.25f, c->out[0], c->out[1]);
    }
    rlm_free(ids);
}

static void table_case(check_case *c, const int *s, int variant)
{
    static const char *const names[] = {"lfq_forward", "embedding_forward", "embedding_forward_add",
                                        "embedding_backward", "cross_entropy"};
    int64_t rows = s[0], width = variant == 0 && s[1] > 18 ? 18 : s[1], codes = s[2];
    snprintf(c->name, sizeof c->name, "%s rows%d width%lld codes%d", names[variant], s[0],
             (long long)width, s[2]);
    c->p[0] = variant;
    c->p[1] = s[0];
    c->p[2] = (int)width;
    c->p[3] = s[2];
    c->run = run_table;
    c->class = variant < 3 ? CASE_EXACT : CASE_F32;
    c->accumulates = variant == 2 || variant == 3;
    c->ids_size = rows;
    c->ids_below = s[2];
    c->in_size[0] = variant == 1 || variant == 2 ? codes * width : rows * width;
    c->out_size[0] = rows * width;
    if (variant == 0)
        c->out_size[1] = rows;
    if (variant == 3)
        c->out_size[0] = codes * width;
    if (variant == 4) {
        c->in_size[0] = c->out_size[1] = rows * codes;
        c->out_size[0] = rows;
    }
}

static const rlm_rvq_shape search_shapes[] = {/* rows dim codes levels beam */
                                              {1, 1, 1, 1, 1},     {3, 7, 5, 3, 32},
                                              {65, 18, 64, 4, 2},  {9, 63, 1023, 1, 1},
                                              {17, 65, 256, 2, 9}, {40, 64, 1024, 4, 8}};
static const rlm_rvq_shape search_bench[] = {{128, 64, 1024, 4, 1}, {128, 64, 1024, 4, 8}};

static void run_search(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    rlm_rvq_shape s = {c->p[0], c->p[1], c->p[2], c->p[3], c->p[4]};
    int32_t *ids = rlm_calloc((size_t)c->out_size[0], sizeof *ids);
    k->rvq_search(par, &s, c->in[0], c->in[1], ids, s.rows);
    for (int64_t i = 0; i < c->out_size[0]; i++)
        c->out[0][i] = (float)ids[i];
    rlm_free(ids);
}

static void search_case(check_case *c, const rlm_rvq_shape *s, int variant)
{
    (void)variant;
    snprintf(c->name, sizeof c->name, "rvq_search rows%d dim%d codes%d levels%d beam%d",
             (int)s->rows, s->dim, s->codes, s->levels, s->beam);
    int p[] = {(int)s->rows, s->dim, s->codes, s->levels, s->beam};
    memcpy(c->p, p, sizeof p);
    c->class = CASE_EXACT;
    c->run = run_search;
    c->in_size[0] = s->rows * s->dim;
    c->in_size[1] = (int64_t)s->levels * s->codes * s->dim;
    c->out_size[0] = s->levels * s->rows;
}

/* ---- Spectra ------------------------------------------------------------------------------- */

static const int fft_shapes[][2] = {/* blocks n */
                                    {1, 2},
                                    {3, 4},
                                    {2, 64},
                                    {1, 2048},
                                    {1, 4096}};
static const int fft_bench[][2] = {{8, 2048}};

static void run_fft(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    memcpy(c->out[0], c->in[0], (size_t)c->in_size[0] * sizeof(float));
    k->fft(par, c->p[1], c->p[2], c->p[0] == 1, c->out[0]);
}

static void fft_case(check_case *c, const int *s, int variant)
{
    snprintf(c->name, sizeof c->name, "fft%s blocks%d n%d", variant ? "_inverse" : "", s[0], s[1]);
    c->p[0] = variant;
    c->p[1] = s[0];
    c->p[2] = s[1];
    c->class = CASE_F32;
    c->run = run_fft;
    c->in_size[0] = c->out_size[0] = (int64_t)s[0] * 2 * s[1] * RLM_FFT_LANES;
}

static const rlm_spectrum_shape spectrum_shapes[] = {/* n w hop window */
                                                     {1, 16, 16, 32},
                                                     {2, 640, 80, 64},
                                                     {1, 2800, 80, 512},
                                                     {3, 330, 10, 1024}};
static const rlm_spectrum_shape spectrum_bench[] = {{8, 16640, 80, 512}};

static void run_spectrum(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->ear(par, &c->spectrum, c->in[0], c->out[0]);
}

static void spectrum_case(check_case *c, const rlm_spectrum_shape *s, int variant)
{
    (void)variant;
    snprintf(c->name, sizeof c->name, "ear %dx%d hop%d window%d", s->n, s->w, s->hop, s->window);
    c->spectrum = *s;
    c->class = CASE_F32;
    c->calm = true; /* the logarithm of a nearly empty bin beside a full one */
    c->run = run_spectrum;
    c->in_size[0] = (int64_t)s->n * s->w;
    c->out_size[0] = c->in_size[0] / s->hop * (s->hop + s->window / 2);
}

/* ---- Attention ----------------------------------------------------------------------------- */

static const int rope_shapes[][3] = {/* rows heads dim */
                                     {1, 1, 2},
                                     {3, 2, 6},
                                     {17, 3, 32},
                                     {5, 2, 64},
                                     {33, 1, 128}};
static const int rope_bench[][3] = {{1024, 8, 64}};

static void run_rope(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->rope_forward(par, &c->rope, c->in[0], c->in[1], c->in[2], c->out[0], c->out[1]);
}

static void prepare_rope(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    float *y = rlm_alloc((size_t)c->in_size[0] * sizeof *y);
    k->rope_forward(par, &c->rope, c->in[0], c->in[1], c->in[2], y, c->in[3]);
    rlm_free(y);
}

static void run_rope_backward(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    k->rope_backward(par, &c->rope, c->in[0], c->in[1], c->in[2], c->in[3], c->in[4], c->out[0],
                     c->out[1]);
}

static void rope_case(check_case *c, const int *s, int variant)
{
    bool backward = variant & 1, bare = variant & 2;
    int width = s[1] * s[2], stride = 3 * width, from = bare ? 0 : width;
    c->rope = (rlm_rope_shape){s[0], s[1], s[2], stride, from, 1e-5f};
    snprintf(c->name, sizeof c->name, "rope_%s rows%d heads%d dim%d%s",
             backward ? "backward" : "forward", s[0], s[1], s[2], bare ? " bare" : "");
    c->class = CASE_F32;
    c->calm = true;        /* angles of thousands of turns lose their last digits */
    c->accumulates = true; /* the other columns stay as they are */
    c->run = backward ? run_rope_backward : run_rope;
    c->in_size[0] = c->out_size[0] = (int64_t)s[0] * stride;
    c->in_size[1] = bare ? 0 : s[2];
    c->in_size[2] = (int64_t)s[0] * s[2] / 2;
    c->out_size[1] = bare ? 0 : backward ? s[2] : s[0] * s[1];
    if (backward) {
        c->prepare = prepare_rope;
        c->in_size[3] = (int64_t)s[0] * s[1];
        c->in_size[4] = c->in_size[0];
    }
}

static const int attention_shapes[][6] = {/* batch len heads dim prefix length */
                                          {1, 1, 1, 2, 0, 1},        {2, 7, 2, 6, 3, 6},
                                          {1, 63, 3, 32, 10, 63},    {2, 65, 1, 64, 65, 50},
                                          {1, 130, 2, 64, 0, 130},   {1, 33, 1, 128, 7, 20},
                                          {2, 97, 2, 48, 33, 90},    {1, 300, 1, 64, 5, 300},
                                          {1, 417, 2, 32, 270, 390}, {1, 40, 1, 64, 0, 0}};
static const int attention_bench[][6] = {{1, 1024, 8, 64, 256, 1024}};

/* n floats as bf16; the caller frees. */
static uint16_t *bf16_of(const float *x, int64_t n)
{
    uint16_t *y = rlm_alloc((size_t)n * sizeof *y);
    for (int64_t i = 0; i < n; i++)
        y[i] = rlm_bf16(x[i]);
    return y;
}

static bool takes_bf16(const rlm_kernels *k, const check_case *c)
{
    int dim = c->attention.dim;
    return c->p[0] && k->attention_bf16_forward && (dim == 32 || dim == 64 || dim == 128);
}

static void run_attention(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    c->attention.prefix = c->prefix;
    c->attention.length = c->length;
    if (takes_bf16(k, c)) {
        uint16_t *qkv = bf16_of(c->in[0], c->in_size[0]);
        k->attention_bf16_forward(par, &c->attention, qkv, c->out[0], c->out[1]);
        rlm_free(qkv);
        return;
    }
    k->attention_forward(par, &c->attention, c->in[0], c->out[0], c->out[1]);
}

static void prepare_attention(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    c->attention.prefix = c->prefix;
    c->attention.length = c->length;
    k->attention_forward(par, &c->attention, c->in[0], c->in[1], c->in[2]);
}

static void run_attention_backward(const rlm_kernels *k, rlm_par *par, check_case *c)
{
    c->attention.prefix = c->prefix;
    c->attention.length = c->length;
    if (takes_bf16(k, c)) {
        uint16_t *qkv = bf16_of(c->in[0], c->in_size[0]), *dqkv = bf16_of(c->in[0], c->in_size[0]);
        k->attention_bf16_backward(par, &c->attention, qkv, c->in[1], c->in[2], c->in[3], dqkv);
        for (int64_t i = 0; i < c->out_size[0]; i++)
            c->out[0][i] = rlm_unbf16(dqkv[i]);
        rlm_free(qkv);
        rlm_free(dqkv);
        return;
    }
    k->attention_backward(par, &c->attention, c->in[0], c->in[1], c->in[2], c->in[3], c->out[0],
                          c->accumulates);
}

/* forward, backward that adds, that overwrites; both on bf16. */
static void attention_case(check_case *c, const int *s, int variant)
{
    int64_t rows = (int64_t)s[0] * s[1], width = (int64_t)s[2] * s[3];
    bool backward = variant % 3 > 0, half = variant > 2;
    bool sharp = s[1] == 300; /* scores past any bound that norms could give */
    c->attention = (rlm_attention_shape){
        .batch = s[0], .len = s[1], .heads = s[2], .dim = s[3], .scale = sharp ? 1.0f : 0.125f};
    c->allowed = sharp ? 1e-3 : 0; /* bf16 scores in the exponent */
    for (int i = 0; i < 4; i++) {
        c->prefix[i] = i ? s[4] / 2 : s[4];
        c->length[i] = i ? s[1] : s[5];
    }
    snprintf(c->name, sizeof c->name, "attention_%s%s b%d len%d heads%d dim%d prefix%d length%d",
             half ? "bf16_" : "", backward ? "backward" : "forward", s[0], s[1], s[2], s[3], s[4],
             s[5]);
    c->levels = half ? RLM_LEVEL_AMX : 0;
    c->p[0] = half;
    c->class = CASE_SOFT;
    c->calm = true;
    c->accumulates = variant == 1;
    c->run = backward ? run_attention_backward : run_attention;
    c->in_size[0] = rows * 3 * width;
    if (backward) {
        c->prepare = prepare_attention;
        c->in_size[1] = c->in_size[3] = rows * width;
        c->in_size[2] = rows * s[2];
        c->out_size[0] = rows * 3 * width;
    } else {
        c->out_size[0] = rows * width;
        c->out_size[1] = rows * s[2];
    }
}

bool check_sequence_case_at(walk *w, bool bench, check_case *c)
{
    GROUP(shuffle_shapes, shuffle_bench, 6, shuffle_case, ADDRESS);
    GROUP(haar_shapes, haar_bench, bench ? 4 : 6, haar_case, ADDRESS);
    GROUP(table_shapes, table_bench, 5, table_case, ITEM);
    GROUP(search_shapes, search_bench, 1, search_case, ADDRESS);
    GROUP(fft_shapes, fft_bench, 2, fft_case, ITEM);
    GROUP(spectrum_shapes, spectrum_bench, 1, spectrum_case, ADDRESS);
    GROUP(rope_shapes, rope_bench, bench ? 2 : 4, rope_case, ITEM);
    GROUP(attention_shapes, attention_bench, 5, attention_case, ITEM);
    return false;
}
