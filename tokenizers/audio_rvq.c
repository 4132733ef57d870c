/* Residual vector quantiser: level q codes what levels 0 .. q - 1 left over, and the `beam` best
 * sums so far are kept from level to level (rlm_rvq_search_fn).
 *
 * Only kernels touch elements, so a dry run passes through here too. */
#include "tokenizers/audio_net.h"

#include <assert.h>

static const float *book_of(const rlm_audio *a, int level)
{
    return a->books->data + (int64_t)level * a->config.codes * a->config.dim;
}

void rlm_audio_quantise_rows(rlm_run *run, const rlm_audio *a, int use, int64_t rows,
                             const float *x, int32_t *ids, int64_t pitch, float *quantised)
{
    const rlm_audio_config *c = &a->config;
    assert(!run->tape && use >= 1 && use <= c->levels);
    rlm_rvq_shape s = {rows, c->dim, c->codes, use, c->beam};
    run->k->rvq_search(run->par, &s, x, book_of(a, 0), ids, pitch);
    if (quantised)
        rlm_audio_dequantise_rows(run, a, use, rows, ids, pitch, quantised);
}

void rlm_audio_quantise(rlm_run *run, const rlm_audio *a, int use, int64_t rows, const float *x,
                        int32_t *ids, float *quantised)
{
    rlm_audio_quantise_rows(run, a, use, rows, x, ids, rows, quantised);
    for (int64_t i = use * rows; i < a->config.levels * rows; i++)
        ids[i] = -1;
}

void rlm_audio_dequantise_rows(rlm_run *run, const rlm_audio *a, int levels, int64_t rows,
                               const int32_t *ids, int64_t pitch, float *out)
{
    const rlm_audio_config *c = &a->config;
    run->k->fill(run->par, rows * c->dim, 0.0f, out);
    for (int q = 0; q < levels; q++)
        run->k->embedding_forward(run->par, rows, c->dim, ids + q * pitch, book_of(a, q), out,
                                  true);
}

void rlm_audio_dequantise(rlm_run *run, const rlm_audio *a, int64_t rows, const int32_t *ids,
                          float *out)
{
    rlm_audio_dequantise_rows(run, a, a->config.levels, rows, ids, rows, out);
}
