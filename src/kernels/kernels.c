/* Fills the table: the reference, then every overlay the build has, the processor runs and the
 * mask allows, each over the one before. Also the table that does nothing. */
#include "src/kernels/kernels.h"

#include <string.h>

typedef struct overlay {
    const char *name;
    unsigned bit;
    bool (*fill)(rlm_kernels *k); /* NULL: not in this build */
} overlay;

static bool reference(rlm_kernels *k)
{
    rlm_kernels_reference(k);
    return true;
}

static const overlay overlays[] = {
    {"ref", RLM_LEVEL_REF, reference},
#ifdef RLM_HAVE_BLAS
    {"blas", RLM_LEVEL_BLAS, rlm_kernels_blas},
#else
    {"blas", RLM_LEVEL_BLAS, NULL},
#endif
#ifdef RLM_HAVE_DNNL
    {"dnn", RLM_LEVEL_DNN, rlm_kernels_dnn},
#else
    {"dnn", RLM_LEVEL_DNN, NULL},
#endif
#ifdef RLM_HAVE_SIMD
    {"simd", RLM_LEVEL_SIMD, rlm_kernels_simd},
#else
    {"simd", RLM_LEVEL_SIMD, NULL},
#endif
#ifdef RLM_HAVE_AVX2
    {"avx2", RLM_LEVEL_AVX2, rlm_kernels_avx2},
#else
    {"avx2", RLM_LEVEL_AVX2, NULL},
#endif
#ifdef RLM_HAVE_AVX512
    {"avx512", RLM_LEVEL_AVX512, rlm_kernels_avx512},
#else
    {"avx512", RLM_LEVEL_AVX512, NULL},
#endif
#ifdef RLM_HAVE_AMX
    {"amx", RLM_LEVEL_AMX, rlm_kernels_amx},
#else
    {"amx", RLM_LEVEL_AMX, NULL},
#endif
};

enum { OVERLAYS = sizeof overlays / sizeof *overlays };

static bool cpu_runs(const rlm_cpu *cpu, unsigned bit)
{
    switch (bit) {
    case RLM_LEVEL_SIMD:
        return cpu->simd;
    case RLM_LEVEL_AVX2:
        return cpu->avx2 && cpu->fma;
    case RLM_LEVEL_AVX512:
        return cpu->avx512 && cpu->avx512_vnni;
    case RLM_LEVEL_AMX:
        return cpu->amx_bf16 && cpu->amx_int8 && cpu->avx512 && cpu->avx512_bf16;
    default:
        return true;
    }
}

const char *rlm_kernels_level(int i)
{
    return i < OVERLAYS ? overlays[i].name : NULL;
}

static int unknown_level(const char *mask, rlm_error *err)
{
    char known[64] = "ref";
    for (int i = 1; i < OVERLAYS; i++) {
        strcat(known, i == OVERLAYS - 1 ? " or " : ", ");
        strcat(known, overlays[i].name);
    }
    return rlm_fail(err, RLM_E_ARG, "cpu mask: found \"%s\", expected %s", mask, known);
}

int rlm_kernels_init(rlm_kernels *k, const char *mask, rlm_error *err)
{
    int last = OVERLAYS - 1;
    if (mask && *mask) {
        for (last = 0; last < OVERLAYS && strcmp(mask, overlays[last].name); last++)
            ;
        if (last == OVERLAYS)
            return unknown_level(mask, err);
    }
    rlm_cpu cpu = rlm_cpu_detect();
    memset(k, 0, sizeof *k);
    for (int i = 0; i <= last; i++) {
        const overlay *o = &overlays[i];
        if (o->fill && cpu_runs(&cpu, o->bit) && o->fill(k)) {
            k->level = o->name;
            k->levels |= o->bit;
        }
    }
    return RLM_OK;
}

/* ---- Entries that do nothing --------------------------------------------------------------- */

static void no_pack(rlm_par *par, const rlm_weight_geom *g, const float *w, bool transposed,
                    void *out)
{
    (void)par, (void)g, (void)w, (void)transposed, (void)out;
}

static void no_conv(rlm_par *par, const rlm_conv_shape *s, const float *x, const rlm_weight *w,
                    const float *bias, const float *residual, float *y)
{
    (void)par, (void)s, (void)x, (void)w, (void)bias, (void)residual, (void)y;
}

static void no_prepared(rlm_par *par, const rlm_conv_shape *s, const rlm_prepare *prepare,
                        const float *x, const rlm_weight *w, const float *bias,
                        const float *residual, float *y, void *saved)
{
    (void)par, (void)s, (void)prepare, (void)x, (void)w, (void)bias, (void)residual, (void)y;
    (void)saved;
}

static void no_linear(rlm_par *par, int m, int n, int k, const float *x, const rlm_weight *w,
                      const float *bias, const float *residual, float *y)
{
    (void)par, (void)m, (void)n, (void)k, (void)x, (void)w, (void)bias, (void)residual, (void)y;
}

static void no_quant(rlm_par *par, int bits, int m, int n, int k, const float *x, const void *quant,
                     const float *bias, const float *residual, float *y)
{
    (void)par, (void)bits, (void)m, (void)n, (void)k, (void)x, (void)quant;
    (void)bias, (void)residual, (void)y;
}

static void no_half(rlm_par *par, int m, int n, int k, const float *x, const uint16_t *w,
                    const float *bias, const float *residual, float *y)
{
    (void)par, (void)m, (void)n, (void)k, (void)x, (void)w, (void)bias, (void)residual, (void)y;
}

static void no_gemm(rlm_par *par, bool ta, bool tb, int m, int n, int k, float alpha,
                    const float *a, const float *b, float beta, float *c)
{
    (void)par, (void)ta, (void)tb, (void)m, (void)n, (void)k;
    (void)alpha, (void)a, (void)b, (void)beta, (void)c;
}

static void no_rmsnorm(rlm_par *par, int64_t rows, int c, const float *x, const float *gain,
                       float eps, float *y, float *rstd)
{
    (void)par, (void)rows, (void)c, (void)x, (void)gain, (void)eps, (void)y, (void)rstd;
}

static void no_groupnorm(rlm_par *par, const rlm_groupnorm_shape *s, const float *x,
                         const float *gain, const float *bias, float *y, float *stats)
{
    (void)par, (void)s, (void)x, (void)gain, (void)bias, (void)y, (void)stats;
}

static void no_act(rlm_par *par, rlm_act act, int64_t n, const float *x, float *y)
{
    (void)par, (void)act, (void)n, (void)x, (void)y;
}

static void no_add(rlm_par *par, int64_t n, const float *a, const float *b, float *y)
{
    (void)par, (void)n, (void)a, (void)b, (void)y;
}

static void no_axpy(rlm_par *par, int64_t n, float alpha, const float *x, float *y)
{
    (void)par, (void)n, (void)alpha, (void)x, (void)y;
}

static void no_scale(rlm_par *par, int64_t n, float alpha, float *y)
{
    (void)par, (void)n, (void)alpha, (void)y;
}

static void no_fill(rlm_par *par, int64_t n, float value, float *y)
{
    (void)par, (void)n, (void)value, (void)y;
}

static void no_copy(rlm_par *par, int64_t n, const float *x, float *y)
{
    (void)par, (void)n, (void)x, (void)y;
}

static void no_modulate(rlm_par *par, int64_t n, const float *x, const float *scale,
                        const float *shift, float *y)
{
    (void)par, (void)n, (void)x, (void)scale, (void)shift, (void)y;
}

static void no_swiglu(rlm_par *par, int64_t rows, int c, const float *x, float *y)
{
    (void)par, (void)rows, (void)c, (void)x, (void)y;
}

static void no_columns(rlm_par *par, int64_t rows, int count, const float *x, int cx, int from,
                       float *y, int cy, int to, bool accumulate)
{
    (void)par, (void)rows, (void)count, (void)x, (void)cx, (void)from;
    (void)y, (void)cy, (void)to, (void)accumulate;
}

static void no_shuffle(rlm_par *par, const rlm_shuffle_shape *s, const float *x, float *y,
                       bool accumulate)
{
    (void)par, (void)s, (void)x, (void)y, (void)accumulate;
}

static void no_upsample(rlm_par *par, const rlm_shuffle_shape *s, const float *x, float *y)
{
    (void)par, (void)s, (void)x, (void)y;
}

static void no_haar(rlm_par *par, const rlm_haar_shape *s, const float *in, float *out)
{
    (void)par, (void)s, (void)in, (void)out;
}

static void no_lfq(rlm_par *par, int64_t rows, int bits, const float *z, float *q, int32_t *ids)
{
    (void)par, (void)rows, (void)bits, (void)z, (void)q, (void)ids;
}

static void no_fft(rlm_par *par, int64_t blocks, int n, bool inverse, float *x)
{
    (void)par, (void)blocks, (void)n, (void)inverse, (void)x;
}

static void no_ear(rlm_par *par, const rlm_spectrum_shape *s, const float *wave, float *y)
{
    (void)par, (void)s, (void)wave, (void)y;
}

static void no_search(rlm_par *par, const rlm_rvq_shape *s, const float *x, const float *books,
                      int32_t *ids, int64_t pitch)
{
    (void)par, (void)s, (void)x, (void)books, (void)ids, (void)pitch;
}

static void no_embedding(rlm_par *par, int64_t rows, int c, const int32_t *ids, const float *table,
                         float *y, bool accumulate)
{
    (void)par, (void)rows, (void)c, (void)ids, (void)table, (void)y, (void)accumulate;
}

static void no_rope(rlm_par *par, const rlm_rope_shape *s, const float *x, const float *gain,
                    const float *angle, float *y, float *rstd)
{
    (void)par, (void)s, (void)x, (void)gain, (void)angle, (void)y, (void)rstd;
}

static void no_attention(rlm_par *par, const rlm_attention_shape *s, const float *qkv, float *y,
                         float *lse)
{
    (void)par, (void)s, (void)qkv, (void)y, (void)lse;
}

static void no_qkv(rlm_par *par, const rlm_qkv_shape *s, const float *x, const float *gain,
                   const rlm_weight *w, const float *q_gain, const float *k_gain,
                   const float *angle, float *y)
{
    (void)par, (void)s, (void)x, (void)gain, (void)w, (void)q_gain, (void)k_gain, (void)angle;
    (void)y;
}

static void no_mlp(rlm_par *par, const rlm_mlp_shape *s, const float *x, const float *gain,
                   const rlm_weight *up, const rlm_weight *down, float *y)
{
    (void)par, (void)s, (void)x, (void)gain, (void)up, (void)down, (void)y;
}

static void no_cached(rlm_par *par, const rlm_cache_shape *s, const float *q, const void *cache,
                      float *y)
{
    (void)par, (void)s, (void)q, (void)cache, (void)y;
}

static void no_store(rlm_par *par, const rlm_cache_shape *s, const float *qkv, const int *at,
                     void *cache)
{
    (void)par, (void)s, (void)qkv, (void)at, (void)cache;
}

void rlm_kernels_empty(rlm_kernels *k, const rlm_kernels *like)
{
    *k = (rlm_kernels){
        .level = like->level,
        .levels = like->levels,
        .pack_bytes = like->pack_bytes,
        .pack = no_pack,
        .conv_forward = no_conv,
        .prepared_forward = like->prepared_forward ? no_prepared : NULL,
        .prepared_saved = like->prepared_saved,
        .linear_forward = no_linear,
        .linear_quant = no_quant,
        .linear_half = no_half,
        .gemm = no_gemm,
        .rmsnorm_forward = no_rmsnorm,
        .groupnorm_forward = no_groupnorm,
        .act_forward = no_act,
        .add = no_add,
        .axpy = no_axpy,
        .scale = no_scale,
        .fill = no_fill,
        .copy = no_copy,
        .modulate_forward = no_modulate,
        .swiglu_forward = no_swiglu,
        .columns = no_columns,
        .depth_to_space = no_shuffle,
        .space_to_depth = no_shuffle,
        .upsample_forward = no_upsample,
        .haar_forward = no_haar,
        .haar_inverse = no_haar,
        .lfq_forward = no_lfq,
        .rvq_search = no_search,
        .fft = no_fft,
        .ear = no_ear,
        .embedding_forward = no_embedding,
        .rope_forward = no_rope,
        .attention_forward = no_attention,
        .qkv_forward = like->qkv_forward ? no_qkv : NULL,
        .mlp_forward = like->mlp_forward ? no_mlp : NULL,
        .attention_cached = no_cached,
        .cache_store = no_store,
    };
}
