/* The side arrays of a batch: which table row each token reads, the angle of each position, which
 * hidden row feeds which head. Integers and angles only; made once a batch, outside the kernels. */
#include "model/lm_private.h"

#include <assert.h>
#include <math.h>
#include <string.h>

int rlm_lm_ids_new(rlm_lm_ids *t, const rlm_lm *lm, int64_t count, rlm_error *err)
{
    int tables = 4 + lm->config.audio_levels;
    memset(t, 0, sizeof *t);
    t->block = rlm_alloc(rlm_size_mul(rlm_size_mul((size_t)tables, (size_t)count), 4));
    if (!t->block)
        return rlm_fail(err, RLM_E_NOMEM, "lm: no memory for ids of %lld tokens", (long long)count);
    t->special = t->block;
    t->lo = t->block + count;
    t->hi = t->block + 2 * count;
    t->pieces = t->block + 3 * count;
    for (int q = 0; q < lm->config.audio_levels; q++)
        t->sound[q] = t->block + (4 + q) * count;
    return 0;
}

void rlm_lm_ids_free(rlm_lm_ids *t)
{
    rlm_free(t->block);
    memset(t, 0, sizeof *t);
}

void rlm_lm_ids_set(const rlm_lm_ids *t, const rlm_lm *lm, int64_t i, int32_t id)
{
    assert(id < lm->end);
    t->special[i] = t->lo[i] = t->hi[i] = t->pieces[i] = -1;
    for (int q = 0; q < lm->config.audio_levels; q++)
        t->sound[q][i] = -1;
    if (id < 0)
        return;
    if (id < lm->video) {
        t->special[i] = id;
    } else if (id < lm->audio) {
        t->lo[i] = (id - lm->video) & (lm->half - 1);
        t->hi[i] = (id - lm->video) / lm->half;
    } else if (id < lm->text) {
        int32_t code = id - lm->audio;
        t->sound[code / lm->config.audio_codes][i] = code % lm->config.audio_codes;
    } else {
        t->pieces[i] = id - lm->text;
    }
}

void rlm_lm_angles(const rlm_lm *lm, const int32_t pos[3], float *angle)
{
    int at = 0;
    for (int a = 0; a < 3; a++)
        for (int i = 0; i < lm->axis[a]; i++, at++)
            angle[at] = (float)pos[a] * lm->freq[at];
}

int rlm_lm_plan_new(rlm_lm_plan **out, const rlm_lm *lm, int batch, int len, rlm_error *err)
{
    *out = NULL;
    if (batch < 1 || len < 2)
        return rlm_fail(err, RLM_E_RANGE, "lm plan: batch %d of length %d, expected 1.. of 2..",
                        batch, len);
    size_t count = rlm_size_mul((size_t)batch, (size_t)len);
    size_t half = (size_t)(lm->config.dim / lm->config.heads / 2);
    size_t lists = 5 + 2 * (size_t)lm->config.audio_levels;
    rlm_lm_plan *p = rlm_calloc(1, sizeof *p);
    if (!p)
        return rlm_fail(err, RLM_E_NOMEM, "lm plan: no memory");
    p->capacity = (int64_t)count;
    p->batch_capacity = batch;
    p->angle = rlm_alloc(rlm_size_mul(rlm_size_mul(count, half), sizeof *p->angle));
    p->prefix = rlm_alloc(rlm_size_mul((size_t)batch, sizeof *p->prefix));
    p->length = rlm_alloc(rlm_size_mul((size_t)batch, sizeof *p->length));
    p->block = rlm_alloc(rlm_size_mul(rlm_size_mul(lists, count), sizeof *p->block));
    if (!p->angle || !p->prefix || !p->length || !p->block ||
        rlm_lm_ids_new(&p->ids, lm, (int64_t)count, NULL)) {
        rlm_lm_plan_free(&p);
        return rlm_fail(err, RLM_E_NOMEM, "lm plan: no memory for %d x %d tokens", batch, len);
    }
    int32_t *at = p->block;
    for (int g = 0; g < RLM_LM_GROUP_AUDIO + lm->config.audio_levels; g++) {
        bool shared = g == RLM_LM_GROUP_VIDEO_HI;
        p->row[g] = shared ? p->row[RLM_LM_GROUP_VIDEO_LO] : at;
        at += shared ? 0 : count;
        p->target[g] = at;
        at += count;
    }
    *out = p;
    return 0;
}

void rlm_lm_plan_free(rlm_lm_plan **plan)
{
    rlm_lm_plan *p = *plan;
    if (p) {
        rlm_lm_ids_free(&p->ids);
        rlm_free(p->angle);
        rlm_free(p->prefix);
        rlm_free(p->length);
        rlm_free(p->block);
    }
    rlm_free(p);
    *plan = NULL;
}

static void add_target(rlm_lm_plan *p, int group, int32_t row, int32_t target)
{
    int64_t i = p->rows[group]++;
    p->row[group][i] = row;
    p->target[group][i] = target;
}

static void plan_target(rlm_lm_plan *p, const rlm_lm *lm, int32_t row, int64_t token)
{
    const rlm_lm_ids *t = &p->ids;
    if (t->special[token] >= 0)
        add_target(p, RLM_LM_GROUP_SPECIAL, row, t->special[token]);
    if (t->lo[token] >= 0) {
        add_target(p, RLM_LM_GROUP_VIDEO_LO, row, t->lo[token]);
        add_target(p, RLM_LM_GROUP_VIDEO_HI, row, t->hi[token]);
    }
    for (int q = 0; q < lm->config.audio_levels; q++)
        if (t->sound[q][token] >= 0)
            add_target(p, RLM_LM_GROUP_AUDIO + q, row, t->sound[q][token]);
}

void rlm_lm_plan_fill(rlm_lm_plan *p, const rlm_lm *lm, const rlm_lm_batch *b)
{
    int half = lm->config.dim / lm->config.heads / 2;
    assert((int64_t)b->batch * b->len <= p->capacity && b->batch <= p->batch_capacity);
    p->batch = b->batch;
    p->len = b->len;
    memset(p->rows, 0, sizeof p->rows);
    for (int n = 0; n < b->batch; n++) {
        p->prefix[n] = b->prefix[n];
        p->length[n] = b->length[n];
        assert(b->length[n] <= b->len && b->prefix[n] <= b->length[n]);
        for (int i = 0; i < b->len; i++) {
            int64_t at = (int64_t)n * b->len + i;
            bool real = i < b->length[n];
            rlm_lm_ids_set(&p->ids, lm, at, real ? b->ids[at] : -1);
            rlm_lm_angles(lm, b->pos + 3 * at, p->angle + half * at);
            if (real && i > 0 && b->target[at])
                plan_target(p, lm, (int32_t)(at - 1), at);
        }
    }
}
