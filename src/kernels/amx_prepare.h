/* How the AMX convolutions see a prepared input (rlm_prepare), 16 channels of a position at a time:
 * the same arithmetic as groupnorm_forward, so that fused and unfused agree to the bit. */
#ifndef RLM_KERNELS_AMX_PREPARE_H
#define RLM_KERNELS_AMX_PREPARE_H

#include "src/kernels/amx.h"
#include "src/kernels/lanes_norm.h"

enum { RLM_AMX_TABLE = 4 }; /* rows of c floats */

/* Mean, slope, gain and bias of a frame in `table`; NULL when there are no statistics. */
static inline const float *rlm_amx_frame_table(const rlm_prepare *p, int64_t frame, float *table)
{
    if (!p || !p->stats)
        return NULL;
    int c = p->norm.c;
    norm_frame_table(&p->norm, p->stats + frame * p->norm.groups * 2, p->gain, p->bias, table);
    for (int i = 0; i < c; i++)
        table[c + i] *= table[2 * c + i];
    return table;
}

/* Channels from i of a position; half: x is bf16. */
RLM_INLINE __m512 rlm_amx_prepared(rlm_act act, bool half, const void *x, const float *table, int c,
                                   int i, __mmask16 m)
{
    __m512 v = v_of(half, x, i, m);
    if (table) {
        v = _mm512_sub_ps(v, v_load(table + i, m));
        v = _mm512_fmadd_ps(v, v_load(table + c + i, m), v_load(table + 3 * c + i, m));
    }
    return v_act(act, v);
}

#endif
