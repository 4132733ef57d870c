/* Token grids as values: free, cut, join. */
#include <math.h>
#include <stdbool.h>
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

enum { SOUND_PER_S = 50, PICTURES_A_CODE = 4 };

/* Pixel frames that t code frames stand for. */
static int frames_of(int t)
{
    return 1 + (t - 1) * PICTURES_A_CODE;
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

/* ---- Sound beside pictures ------------------------------------------------------------------- */

static const char NO_PLACE[] = "it was made in windows, or not at 50 codes a second";

/* Sound codes before code frame t. Alone it is one picture, the last of those that it stands for
 * behind others; so what was cut apart is joined again without a gap. */
static int sound_before(const rlm_codes *video, int t)
{
    return (int)lround((double)PICTURES_A_CODE * t * video->fps_den / video->fps_num * SOUND_PER_S);
}

/* Neither windows nor a codec of another rate: then the codes say where they belong. */
static bool is_plain(const rlm_codes *s)
{
    int64_t hop = s->rate / SOUND_PER_S, twice = 2 * s->true_samples; /* half a hop is no code */
    return !s->windows && hop > 0 && s->dims[1] == (twice <= hop ? 1 : (twice + hop - 1) / 2 / hop);
}

int rlm_codes_cut_sound(rlm_codes *s, const rlm_codes *video, int from, int to, rlm_error *err)
{
    if (!s->count || (from == 0 && to == video->dims[0]))
        return 0;
    if (!is_plain(s))
        return rlm_fail(err, RLM_E_UNSUPPORTED, "%s", NO_PLACE);
    int hop = s->rate / SOUND_PER_S, first = sound_before(video, from);
    int end = to == video->dims[0] ? s->dims[1] : sound_before(video, to);
    end = end < s->dims[1] ? end : s->dims[1];
    int64_t rest = s->true_samples - (int64_t)first * hop;
    int64_t samples = end == s->dims[1] ? rest : (int64_t)(end - first) * hop;
    if (samples < 1 || end <= first)
        return rlm_fail(err, RLM_E_UNSUPPORTED, "it ends before");
    size_t all = (size_t)s->dims[1], n = (size_t)(end - first);
    for (size_t level = 0; level < (size_t)s->dims[0]; level++)
        memmove(s->ids + level * n, s->ids + level * all + (size_t)first, n * sizeof *s->ids);
    s->dims[1] = end - first;
    s->count = (int64_t)s->dims[0] * s->dims[1];
    s->true_samples = samples;
    return 0;
}

/* Sound codes that a whole file lacks before the next begins, at most: its last code may stand for
 * one picture alone, the next file's first stands for four, and of one more the sound may be short.
 */
static int gap_most(const rlm_codes *video)
{
    double pictures = 2 * (PICTURES_A_CODE - 1) + 1;
    return (int)ceil(pictures * video->fps_den / video->fps_num * SOUND_PER_S);
}

/* Why b's sound cannot follow a's from code `start` on, `most` codes of which may lack; NULL: it
 * can. */
static const char *no_join(const rlm_codes *a, const rlm_codes *b, int start, int most)
{
    if (!a->count || !b->count)
        return "not all files have one";
    if (!is_plain(a) || !is_plain(b))
        return NO_PLACE;
    if (a->dims[0] != b->dims[0] || a->rate != b->rate || strcmp(a->tokenizer, b->tokenizer))
        return "the codes are of different codecs";
    return a->dims[1] + most < start ? "it ends long before the next begins" : NULL;
}

/* Code i of a level of n: behind its end back again, like an echo of what was last heard, which is
 * nearer to the room's sound than silence. */
static int32_t mirrored(const int32_t *ids, int n, int i)
{
    int turn = i % (2 * n);
    return ids[turn < n ? turn : 2 * n - 1 - turn];
}

int rlm_codes_join_sound(rlm_codes *a, const rlm_codes *b, const rlm_codes *video, int t,
                         rlm_error *err)
{
    if (!a->count && !b->count)
        return 0;
    int start = sound_before(video, t);
    start = a->dims[1] == start - 1 ? start - 1 : start; /* rounding */
    const char *why = no_join(a, b, start, gap_most(video));
    if (why)
        return rlm_fail(err, RLM_E_UNSUPPORTED, "%s", why);
    size_t levels = (size_t)a->dims[0], n = (size_t)start, m = (size_t)b->dims[1];
    int32_t *ids = rlm_alloc(rlm_size_mul(rlm_size_mul(n + m, levels), sizeof *ids));
    if (!ids)
        return rlm_fail(err, RLM_E_NOMEM, "no memory");
    for (size_t level = 0; level < levels; level++) {
        for (int i = 0; i < start; i++)
            ids[level * (n + m) + (size_t)i] =
                mirrored(a->ids + level * (size_t)a->dims[1], a->dims[1], i);
        memcpy(ids + level * (n + m) + n, b->ids + level * m, m * sizeof *ids);
    }
    rlm_free(a->ids);
    a->ids = ids;
    a->dims[1] = (int)(n + m);
    a->count = (int64_t)levels * a->dims[1];
    a->true_samples = (int64_t)start * (a->rate / SOUND_PER_S) + b->true_samples;
    return 0;
}
