/* AMX overlay: a pair of prepared convolutions where a gradient is wanted. What lies between them,
 * the tensor as well as its gradient, is bf16. */
#include "src/base/mem.h"
#include "src/kernels/amx_prepare.h"
#include "src/kernels/lanes_norm_backward.h"

/* What the backward needs, 64 bytes apart at least. */
typedef struct pair_saved {
    float *stats[2];
    uint16_t *seen[2], *h; /* inputs as the convolutions saw them; between them */
    size_t bytes;
} pair_saved;

static void *take(pair_saved *p, void *base, size_t bytes)
{
    void *at = base ? (uint8_t *)base + p->bytes : NULL;
    p->bytes += rlm_size_align(bytes, RLM_ALIGN);
    return at;
}

static pair_saved saved_at(const rlm_pair_shape *s, void *base)
{
    pair_saved p = {.bytes = 0};
    for (int i = 0; i < 2; i++) {
        size_t count = (size_t)s->norm[i].frames * s->norm[i].groups * 2;
        p.stats[i] = take(&p, base, count * sizeof(float));
        p.seen[i] = take(&p, base, rlm_amx_prepared_saved(&s->conv[i]));
    }
    p.h = take(&p, base, rlm_amx_prepared_saved(&s->conv[1]));
    return p;
}

static size_t saved_bytes(const rlm_pair_shape *s)
{
    return saved_at(s, NULL).bytes;
}

static void save(rlm_par *par, const rlm_pair_shape *s, const rlm_pair_layers *l, const float *x,
                 const float *residual, float *y, void *saved)
{
    pair_saved p = saved_at(s, saved);
    for (int i = 0; i < 2; i++) {
        const void *in = i ? (const void *)p.h : x;
        rlm_prepare prepare = {s->norm[i], p.stats[i], l->gain[i], l->bias[i]};
        rlm_conv_shape shape = rlm_amx_merged(&s->conv[i]);
        rlm_amx_conv c = {.up = {1, 1, 1},
                          .prepare = &prepare,
                          .x = in,
                          .half = i == 1,
                          .pack = l->w[i]->pack,
                          .saved = p.seen[i]};
        if (i) {
            c.residual = residual;
            c.y = y;
        } else {
            c.y16 = p.h;
        }
        rlm_avx512_norm_stats(par, &s->norm[i], i == 1, in, p.stats[i]);
        rlm_amx_conv_run(par, &shape, &c);
    }
}

static size_t room_bytes(const rlm_pair_shape *s)
{
    size_t x = rlm_amx_prepared_saved(&s->conv[0]), h = rlm_amx_prepared_saved(&s->conv[1]);
    return rlm_size_align(h, RLM_ALIGN) + (x > h ? x : h);
}

static void backward(rlm_par *par, const rlm_pair_shape *s, const rlm_pair_layers *l,
                     const float *x, const float *dy, const void *saved, const rlm_pair_grads *to,
                     void *room)
{
    pair_saved p = saved_at(s, (void *)(uintptr_t)saved);
    size_t h = rlm_size_align(rlm_amx_prepared_saved(&s->conv[1]), RLM_ALIGN);
    void *dh = room, *seen = (uint8_t *)room + h; /* gradients of h; of what a convolution saw */
    for (int i = 1; i >= 0; i--) {
        const void *by = i ? dy : dh;
        rlm_amx_conv c = {.x = by, .half = !i, .pack = l->w[i]->pack_t, .y16 = seen};
        norm_back j = {.s = s->norm[i],
                       .par = par,
                       .gain = l->gain[i],
                       .bias = l->bias[i],
                       .stats = p.stats[i],
                       .x = i ? (const void *)p.h : x,
                       .dy = seen,
                       .dx = i ? dh : to->x,
                       .half = true,
                       .half_x = i == 1,
                       .add = !i && to->add};
        if (to->w[i])
            rlm_amx_backward_weight(par, &s->conv[i], true, p.seen[i], !i, by, to->w[i], NULL);
        rlm_amx_data_run(par, &s->conv[i], &c);
        rlm_bf16_norm_back(&j, to->gain[i], to->bias[i]);
    }
}

void rlm_kernels_amx_pair(rlm_kernels *k)
{
    k->pair_saved = saved_bytes;
    k->pair_save = save;
    k->pair_room = room_bytes;
    k->pair_backward = backward;
}
