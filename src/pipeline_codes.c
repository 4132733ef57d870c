/* Token grids as values: free, cut, join. */
#include <string.h>

#include "src/base/mem.h"

void rlm_codes_free(rlm_codes *codes)
{
    if (!codes)
        return;
    rlm_free(codes->ids);
    rlm_free(codes->windows);
    rlm_free(codes->still_frames);
    rlm_free(codes->stills);
    memset(codes, 0, sizeof *codes);
}

/* Pixel frames that t code frames stand for. */
static int frames_of(int t)
{
    return 1 + (t - 1) * 4;
}

/* One window counts as well: it stands in a file only where it leaves some of its pictures out,
 * and pictures that follow a cut no longer say which. */
static int one_piece(const rlm_codes *c, const char *what, rlm_error *err)
{
    if (c->window_count)
        return rlm_fail(err, RLM_E_UNSUPPORTED,
                        "%s: the clip was made in %d window%s, of which not all is shown", what,
                        c->window_count, c->window_count > 1 ? "s" : "");
    if (c->still_count)
        return rlm_fail(err, RLM_E_UNSUPPORTED,
                        "%s: the clip shows %d keyframes, each decoded on its own", what,
                        c->still_count);
    return 0;
}

int rlm_codes_cut(rlm_codes *v, int from, int to, rlm_error *err)
{
    RLM_TRY(one_piece(v, "cut", err));
    if (!v->count)
        return rlm_fail(err, RLM_E_TOKENS, "cut: there are no video codes");
    if (from < 0 || to <= from || to > v->dims[0])
        return rlm_fail(err, RLM_E_RANGE, "cut: %d:%d is outside 0:%d", from, to, v->dims[0]);
    size_t frame = (size_t)v->dims[1] * v->dims[2];
    memmove(v->ids, v->ids + (size_t)from * frame, (size_t)(to - from) * frame * sizeof *v->ids);
    if (from > 0 || to < v->dims[0])
        v->true_frames = frames_of(to - from);
    v->dims[0] = to - from;
    v->count = (int64_t)(to - from) * (int64_t)frame;
    return 0;
}

int rlm_codes_join(rlm_codes *a, const rlm_codes *b, rlm_error *err)
{
    RLM_TRY(one_piece(a, "join", err));
    RLM_TRY(one_piece(b, "join", err));
    if (!a->count || !b->count)
        return rlm_fail(err, RLM_E_TOKENS, "join: one of the files has no video codes");
    if (a->dims[1] != b->dims[1] || a->dims[2] != b->dims[2])
        return rlm_fail(err, RLM_E_TOKENS, "join: grid %dx%d does not fit %dx%d", b->dims[2],
                        b->dims[1], a->dims[2], a->dims[1]);
    if (strcmp(a->tokenizer, b->tokenizer))
        return rlm_fail(err, RLM_E_TOKENS, "join: the codes come from different tokenizers");
    size_t bytes = rlm_size_mul(rlm_size_add((size_t)a->count, (size_t)b->count), sizeof *a->ids);
    int32_t *ids = rlm_alloc(bytes);
    if (!ids)
        return rlm_fail(err, RLM_E_NOMEM, "join: %zu bytes of codes", bytes);
    memcpy(ids, a->ids, (size_t)a->count * sizeof *ids);
    memcpy(ids + a->count, b->ids, (size_t)b->count * sizeof *ids);
    rlm_free(a->ids);
    a->ids = ids;
    a->dims[0] += b->dims[0];
    a->count += b->count;
    a->true_frames = frames_of(a->dims[0]);
    return 0;
}
