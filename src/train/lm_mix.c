/* The task mixture. A batch is of one kind, so its sequences are about equally long and padding is
 * small (alternating gradient descent, arXiv 2305.06324). Everything is a pure function of (seed,
 * index). */
#include "src/train/lm_train.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "src/base/rng.h"

enum {
    STREAM_KIND = 301,
    STREAM_CLIP,
    STREAM_VIEW,
    STREAM_TEXT,
    STREAM_CUT,
    STREAM_WORLD,
    STREAM_PLACE,
    STREAM_SOURCE,
    STRETCH = 65536, /* draws of a batch */
    TRIES = 4096
};
enum { MOST = RLM_LM_SEQUENCES };
enum { EXTRA = RLM_LM_TEXT_MAX + 16 /* text, delimiters, source, res, long */, PAST_SOUND = 25 };
static const double TEXT_DROP = 0.12;  /* the empty condition of guidance */
static const double SOURCE_DROP = 0.5; /* so that the words alone may say which kind it is */

/* Share of batches; of kinds with sound only where clips have it. Half of them are pictures for
 * their words: a caption says a few nats of a picture's thousand, so that words need many scenes,
 * and a batch holds five pictures for every clip. Pairs tell the words' few nats from the rest. */
static const double WISH[RLM_LM_MIXES] = {
    [RLM_LM_MIX_VIDEO] = 0.16,    [RLM_LM_MIX_VIDEO_SOUND] = 0.14, [RLM_LM_MIX_ANIMATE] = 0.05,
    [RLM_LM_MIX_PREDICT] = 0.04,  [RLM_LM_MIX_IMAGE] = 0.10,       [RLM_LM_MIX_PAINT] = 0.03,
    [RLM_LM_MIX_STYLIZE] = 0.03,  [RLM_LM_MIX_TO_SOUND] = 0.03,    [RLM_LM_MIX_FROM_SOUND] = 0.01,
    [RLM_LM_MIX_CONTINUE] = 0.01, [RLM_LM_MIX_WORDS] = 0.40,
};

static const int TASK[RLM_LM_MIXES] = {
    [RLM_LM_MIX_VIDEO] = RLM_TASK_VIDEO,
    [RLM_LM_MIX_VIDEO_SOUND] = RLM_TASK_VIDEO,
    [RLM_LM_MIX_ANIMATE] = RLM_TASK_VIDEO,
    [RLM_LM_MIX_PREDICT] = RLM_TASK_PREDICT,
    [RLM_LM_MIX_IMAGE] = RLM_TASK_IMAGE,
    [RLM_LM_MIX_PAINT] = RLM_TASK_PAINT,
    [RLM_LM_MIX_STYLIZE] = RLM_TASK_STYLIZE,
    [RLM_LM_MIX_TO_SOUND] = RLM_TASK_VIDEO_TO_AUDIO,
    [RLM_LM_MIX_FROM_SOUND] = RLM_TASK_AUDIO_TO_VIDEO,
    [RLM_LM_MIX_CONTINUE] = RLM_TASK_AV_CONTINUE,
    [RLM_LM_MIX_WORDS] = RLM_TASK_IMAGE,
};

static bool is_picture(int mix)
{
    return mix == RLM_LM_MIX_IMAGE || mix == RLM_LM_MIX_WORDS;
}

static bool needs_sound(int mix)
{
    return mix == RLM_LM_MIX_VIDEO_SOUND ||
           (mix >= RLM_LM_MIX_TO_SOUND && mix <= RLM_LM_MIX_CONTINUE);
}

static bool suits(int mix, const rlm_lm_view *v)
{
    if (!v->video || (needs_sound(mix) && v->frames <= PAST_SOUND) ||
        (mix == RLM_LM_MIX_STYLIZE && !v->control))
        return false;
    return is_picture(mix) || v->dims[0] >= 2;
}

/* Pairs need words to tell apart. */
static bool told(int mix, const rlm_lm_clip *c)
{
    return mix != RLM_LM_MIX_WORDS || c->text_count[0] > 0 || c->text_count[1] > 0;
}

static int plane(const rlm_lm_mix *m)
{
    return m->grid[1] * m->grid[2];
}

/* Longest sequence of a kind. */
static int64_t longest(const rlm_lm_mix *m, int mix)
{
    int64_t image = plane(m), video = m->grid[0] * image, sound = 4 * (int64_t)m->sound_frames;
    switch (mix) {
    case RLM_LM_MIX_VIDEO_SOUND:
    case RLM_LM_MIX_TO_SOUND:
    case RLM_LM_MIX_FROM_SOUND:
        return EXTRA + video + sound;
    case RLM_LM_MIX_ANIMATE:
        return EXTRA + video + image;
    case RLM_LM_MIX_IMAGE:
    case RLM_LM_MIX_WORDS:
        return EXTRA + image;
    case RLM_LM_MIX_PAINT:
    case RLM_LM_MIX_STYLIZE:
        return EXTRA + 2 * video;
    case RLM_LM_MIX_CONTINUE:
        return EXTRA + video + sound + image;
    default:
        return EXTRA + video;
    }
}

bool rlm_lm_mix_trained_on(const rlm_lm_mix *m, int clip)
{
    int made = clip - m->data->count;
    return made < 0 ? m->data->items[clip].split == 0 : made < m->made;
}

int rlm_lm_mix_val_count(const rlm_lm_mix *m, int source)
{
    int made = m->store->count - m->data->count - m->made;
    return source == RLM_SOURCE_REAL ? m->data->val_count : made;
}

int rlm_lm_mix_val_place(const rlm_lm_mix *m, int source, int i)
{
    return source == RLM_SOURCE_REAL ? m->data->val[i] : m->data->count + m->made + i;
}

/* Largest grid and sound; shares of the kinds that any training clip suits; which any clip does. */
static void survey(rlm_lm_mix *m, bool suited[RLM_LM_MIXES])
{
    bool any[RLM_LM_MIXES] = {false};
    double sum = 0;
    for (int i = 0; i < m->store->count; i++)
        for (int n = 0; n < m->store->clips[i].view_count; n++) {
            const rlm_lm_view *v = &m->store->clips[i].views[n];
            for (int a = 0; a < 3; a++)
                m->grid[a] = v->dims[a] > m->grid[a] ? v->dims[a] : m->grid[a];
            m->sound_frames = v->frames > m->sound_frames ? v->frames : m->sound_frames;
            for (int k = 0; k < RLM_LM_MIXES; k++) {
                bool fits = suits(k, v) && told(k, &m->store->clips[i]);
                suited[k] = suited[k] || fits;
                any[k] = any[k] || (fits && rlm_lm_mix_trained_on(m, i));
            }
        }
    for (int k = 0; k < RLM_LM_MIXES; k++)
        sum += any[k] ? WISH[k] : 0;
    for (int k = 0; k < RLM_LM_MIXES; k++)
        m->share[k] = any[k] ? WISH[k] / sum : 0;
}

int rlm_lm_mix_open(rlm_lm_mix *m, const rlm_lm_store *store, const rlm_dataset *data, int made,
                    const rlm_vocab *vocab, const rlm_recipe *r, rlm_error *err)
{
    *m = (rlm_lm_mix){.store = store, .data = data, .seed = r->seed, .playground = r->playground};
    m->vocab = *vocab;
    m->made = made;
    bool suited[RLM_LM_MIXES] = {false};
    survey(m, suited);
    if (m->grid[0] < 1)
        return rlm_fail(err, RLM_E_ARG, "lm training: none of %d clips could be read",
                        store->count);
    int64_t most = 0, least = longest(m, RLM_LM_MIX_IMAGE);
    for (int k = 0; k < RLM_LM_MIXES; k++)
        if (suited[k] && longest(m, k) > most)
            most = longest(m, k); /* validation lays out kinds that no training clip suits */
    m->tokens = r->batch * longest(m, RLM_LM_MIX_VIDEO);
    m->tokens = m->tokens > most ? m->tokens : most;
    m->sequences = (int)(m->tokens / least < MOST ? m->tokens / least : MOST);
    size_t n = (size_t)m->tokens, grid = (size_t)m->grid[0] * (size_t)plane(m);
    size_t sound = RLM_AUDIO_LEVELS * ((size_t)m->sound_frames + 1);
    m->ids = rlm_alloc(n * sizeof *m->ids);
    m->pos = rlm_alloc(3 * n * sizeof *m->pos);
    m->target = rlm_alloc(n);
    m->prefix = rlm_alloc((size_t)m->sequences * sizeof *m->prefix);
    m->length = rlm_alloc((size_t)m->sequences * sizeof *m->length);
    m->hidden = rlm_alloc(grid * sizeof *m->hidden);
    m->past = rlm_alloc(sound * sizeof *m->past);
    m->future = rlm_alloc(sound * sizeof *m->future);
    if (!m->ids || !m->pos || !m->target || !m->prefix || !m->length || !m->hidden || !m->past ||
        !m->future) {
        rlm_lm_mix_free(m);
        return rlm_fail(err, RLM_E_NOMEM, "lm training: no memory for batches of %lld tokens",
                        (long long)m->tokens);
    }
    return 0;
}

void rlm_lm_mix_free(rlm_lm_mix *m)
{
    rlm_free(m->ids);
    rlm_free(m->pos);
    rlm_free(m->target);
    rlm_free(m->prefix);
    rlm_free(m->length);
    rlm_free(m->hidden);
    rlm_free(m->past);
    rlm_free(m->future);
    memset(m, 0, sizeof *m);
}

/* ---- Sequences ------------------------------------------------------------------------------- */

static rlm_grid frames_of(const rlm_lm_view *v, int from, int count)
{
    size_t area = (size_t)v->dims[1] * (size_t)v->dims[2];
    return (rlm_grid){count, v->dims[1], v->dims[2], v->video + (size_t)from * area, NULL};
}

static rlm_grid sound_of(const rlm_lm_view *v)
{
    return (rlm_grid){v->levels, v->frames, 1, v->sound, NULL};
}

/* Frames [from, from + count) of every level, copied. */
static rlm_grid cut_sound(const rlm_lm_view *v, int from, int count, int32_t *to)
{
    for (int q = 0; q < v->levels; q++)
        memcpy(to + q * count, v->sound + q * v->frames + from, (size_t)count * sizeof *to);
    return (rlm_grid){v->levels, count, 1, to, NULL};
}

/* All hidden but the first picture (half of the times) and another one: keyframes. */
static rlm_grid with_keyframes(rlm_lm_mix *m, const rlm_lm_view *v, uint64_t draw)
{
    int t = v->dims[0], area = v->dims[1] * v->dims[2];
    bool first = rlm_rng(m->seed, STREAM_CUT, 8 * draw + 1) & 1;
    int other = (int)rlm_rng_below(m->seed, STREAM_CUT, 8 * draw + 2, (uint32_t)t);
    for (int i = 0; i < t * area; i++)
        m->hidden[i] = (first && i < area) || i / area == other ? v->video[i] : -1;
    return (rlm_grid){t, v->dims[1], v->dims[2], m->hidden, NULL};
}

/* A clip with a hole: inside a box (inpainting) or outside of it (outpainting), in every frame. */
static rlm_grid with_box(rlm_lm_mix *m, const rlm_lm_view *v, uint64_t draw)
{
    int h = v->dims[1], w = v->dims[2], box[4];
    bool outside = rlm_rng(m->seed, STREAM_CUT, 8 * draw) & 1;
    for (int i = 0; i < 2; i++) { /* centre half on average */
        int size = i ? w : h, least = size / 4 > 0 ? size / 4 : 1;
        int span = least + (int)rlm_rng_below(m->seed, STREAM_CUT, 8 * draw + 1 + (uint64_t)i,
                                              (uint32_t)(size / 2) + 1);
        span = span < size ? span : size;
        box[i] = (int)rlm_rng_below(m->seed, STREAM_CUT, 8 * draw + 3 + (uint64_t)i,
                                    (uint32_t)(size - span) + 1);
        box[2 + i] = box[i] + span;
    }
    int64_t at = 0;
    for (int t = 0; t < v->dims[0]; t++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++, at++) {
                bool inside = y >= box[0] && y < box[2] && x >= box[1] && x < box[3];
                m->hidden[at] = inside != outside ? -1 : v->video[at];
            }
    return (rlm_grid){v->dims[0], h, w, m->hidden, NULL};
}

static rlm_grid with_hole(rlm_lm_mix *m, const rlm_lm_view *v, uint64_t draw)
{
    bool keyframes = (rlm_rng(m->seed, STREAM_CUT, 8 * draw + 7) & 3) == 0;
    return keyframes ? with_keyframes(m, v, draw) : with_box(m, v, draw);
}

static void set_grids(rlm_lm_mix *m, int mix, const rlm_lm_view *v, uint64_t draw,
                      rlm_layout_spec *s)
{
    int t = v->dims[0], past = 1;
    if (mix == RLM_LM_MIX_PREDICT)
        past += (int)rlm_rng_below(m->seed, STREAM_CUT, 8 * draw, (uint32_t)(t > 3 ? 3 : t - 1));
    if (mix == RLM_LM_MIX_ANIMATE || mix == RLM_LM_MIX_PREDICT || mix == RLM_LM_MIX_CONTINUE)
        s->visual_in = frames_of(v, 0, past);
    if (mix == RLM_LM_MIX_TO_SOUND)
        s->visual_in = frames_of(v, 0, t);
    if (mix == RLM_LM_MIX_PAINT)
        s->visual_in = with_hole(m, v, draw);
    if (mix == RLM_LM_MIX_STYLIZE)
        s->visual_in = (rlm_grid){t, v->dims[1], v->dims[2], v->control, NULL};
    if (mix == RLM_LM_MIX_PREDICT || mix == RLM_LM_MIX_CONTINUE)
        s->video_out = frames_of(v, past, t - past);
    else if (is_picture(mix))
        s->video_out = frames_of(v, 0, 1);
    else if (mix != RLM_LM_MIX_TO_SOUND)
        s->video_out = frames_of(v, 0, t);
    if (mix == RLM_LM_MIX_VIDEO_SOUND || mix == RLM_LM_MIX_TO_SOUND)
        s->audio_out = sound_of(v);
    if (mix == RLM_LM_MIX_FROM_SOUND)
        s->audio_in = sound_of(v);
    if (mix == RLM_LM_MIX_CONTINUE) {
        s->audio_in = cut_sound(v, 0, PAST_SOUND, m->past);
        s->audio_out = cut_sound(v, PAST_SOUND, v->frames - PAST_SOUND, m->future);
    }
}

/* Lay out one sequence: a view of c under caption number `caption` (-1: none) of `words`. */
static int build(rlm_lm_mix *m, int mix, const rlm_lm_clip *c, const rlm_lm_view *v,
                 const rlm_lm_clip *words, int caption, uint64_t draw, rlm_layout *l,
                 rlm_error *err)
{
    bool untold = (double)rlm_rng_uniform(m->seed, STREAM_SOURCE, draw) < SOURCE_DROP;
    rlm_layout_spec s = {.task = TASK[mix], .source = untold ? -1 : c->source};
    if (caption >= 0 && words->text_count[caption] > 0) {
        s.text = words->text[caption];
        s.text_count = words->text_count[caption];
    }
    set_grids(m, mix, v, draw, &s);
    return rlm_layout_build(l, &m->vocab, &s, err);
}

/* Which caption: short and long alike, in English three times of four. */
static int any_caption(const rlm_lm_mix *m, const rlm_lm_clip *c, uint64_t draw)
{
    uint64_t bits = rlm_rng(m->seed, STREAM_TEXT, 2 * draw + 1);
    int other = (int)(bits >> 3 & 1) * 4, chinese = (bits >> 1 & 3) == 3 ? 2 : 0;
    int which = other + chinese + (int)(bits & 1);
    if (c->text_count[which] < 1)
        which &= 1;
    return c->text_count[which] > 0 ? which : 1 - which;
}

/* -1: no caption. */
static int choose_caption(const rlm_lm_mix *m, const rlm_lm_clip *c, uint64_t draw)
{
    bool dropped = (double)rlm_rng_uniform(m->seed, STREAM_TEXT, 2 * draw) < TEXT_DROP;
    return dropped ? -1 : any_caption(m, c, draw);
}

static int choose_mix(const rlm_lm_mix *m, int64_t index)
{
    double u = (double)rlm_rng_uniform(m->seed, STREAM_KIND, (uint64_t)index);
    int last = 0;
    for (int k = 0; k < RLM_LM_MIXES; k++) {
        if (m->share[k] <= 0)
            continue;
        last = k;
        if (u < m->share[k])
            return k;
        u -= m->share[k];
    }
    return last;
}

/* Clip of one draw: of the data, or a generated one. */
static int draw_clip(const rlm_lm_mix *m, uint64_t draw)
{
    int real = m->data->count, made = m->made;
    bool playground = (double)rlm_rng_uniform(m->seed, STREAM_WORLD, 2 * draw) < m->playground;
    if (made > 0 && (playground || m->data->train_count == 0))
        return real + (int)rlm_rng_below(m->seed, STREAM_WORLD, 2 * draw + 1, (uint32_t)made);
    return rlm_dataset_draw(m->data, m->seed ^ STREAM_CLIP, (int64_t)draw);
}

/* The next clip of the stream that suits; NULL when none of many did. */
static const rlm_lm_view *next_view(const rlm_lm_mix *m, int mix, uint64_t *draw,
                                    const rlm_lm_clip **clip)
{
    for (int i = 0; i < TRIES; i++, (*draw)++) {
        const rlm_lm_clip *c = &m->store->clips[draw_clip(m, *draw)];
        if (c->view_count < 1 || !told(mix, c))
            continue;
        int view = (int)rlm_rng_below(m->seed, STREAM_VIEW, *draw, (uint32_t)c->view_count);
        if (!suits(mix, &c->views[view]))
            continue;
        *clip = c;
        return &c->views[view];
    }
    return NULL;
}

/* Layouts of different lengths -> rows of the longest; tail padded. */
static void pack(rlm_lm_mix *m, const rlm_layout *l, int count, rlm_lm_batch *out)
{
    int len = 0;
    for (int n = 0; n < count; n++)
        len = l[n].count > len ? l[n].count : len;
    assert((int64_t)count * len <= m->tokens);
    memset(m->ids, 0, (size_t)count * (size_t)len * sizeof *m->ids);
    memset(m->pos, 0, 3 * (size_t)count * (size_t)len * sizeof *m->pos);
    memset(m->target, 0, (size_t)count * (size_t)len);
    for (int n = 0; n < count; n++) {
        size_t at = (size_t)n * (size_t)len, size = (size_t)l[n].count;
        memcpy(m->ids + at, l[n].ids, size * sizeof *m->ids);
        memcpy(m->pos + 3 * at, l[n].pos, 3 * size * sizeof *m->pos);
        memcpy(m->target + at, l[n].target, size);
        m->prefix[n] = l[n].prefix;
        m->length[n] = l[n].count;
    }
    *out = (rlm_lm_batch){count, len, m->ids, m->pos, m->target, m->prefix, m->length};
}

static int no_clip(int mix, rlm_error *err)
{
    return rlm_fail(err, RLM_E_INTERNAL, "lm training: no clip suits task %d", TASK[mix]);
}

/* Up to `count` sequences of the stream from `draw` on, each under its own words; returns how many
 * were laid out through made. */
static int build_each(rlm_lm_mix *m, int mix, int count, uint64_t draw, rlm_layout *l, int *made,
                      rlm_error *err)
{
    for (; *made < count; ++*made, draw++) {
        const rlm_lm_clip *c = NULL;
        const rlm_lm_view *v = next_view(m, mix, &draw, &c);
        if (!v)
            return no_clip(mix, err);
        RLM_TRY(build(m, mix, c, v, c, choose_caption(m, c, draw), draw, &l[*made], err));
    }
    return 0;
}

/* The same in pairs: every picture under its own words and under those of the next one, all of one
 * source, since words need not tell sources apart. */
static int build_pairs(rlm_lm_mix *m, int mix, int count, uint64_t draw, rlm_layout *l, int *made,
                       rlm_error *err)
{
    const rlm_lm_clip *clip[MOST];
    const rlm_lm_view *view[MOST];
    uint64_t from[MOST];
    int pairs = count / 2, have = 0;
    for (int tries = 0; have < pairs && tries < TRIES; tries++, draw++) {
        view[have] = next_view(m, mix, &draw, &clip[have]);
        if (!view[have])
            return no_clip(mix, err);
        from[have] = draw;
        have += clip[have]->source == clip[0]->source;
    }
    for (int i = 0; i < have; i++)
        for (int other = 0; other < 2; other++, ++*made) {
            const rlm_lm_clip *words = clip[(i + other) % have];
            int caption = any_caption(m, words, from[i] + (uint64_t)other);
            RLM_TRY(build(m, mix, clip[i], view[i], words, caption, from[i], &l[*made], err));
        }
    return 0;
}

int rlm_lm_mix_fill(rlm_lm_mix *m, int64_t index, rlm_lm_batch *out, rlm_error *err)
{
    rlm_layout l[MOST];
    int mix = choose_mix(m, index), count = (int)(m->tokens / longest(m, mix)), made = 0;
    count = count > m->sequences ? m->sequences : count;
    /* Batches draw from stretches of the stream that do not overlap, each from a place of its own:
     * the stream has rounds, and equal strides would meet the same groups again and again. */
    uint64_t draw = (uint64_t)index * STRETCH;
    draw += rlm_rng_below(m->seed, STREAM_PLACE, (uint64_t)index, STRETCH / 2);
    m->paired = mix == RLM_LM_MIX_WORDS && count > 1;
    int code = m->paired ? build_pairs(m, mix, count, draw, l, &made, err)
                         : build_each(m, mix, count, draw, l, &made, err);
    if (!code)
        pack(m, l, made, out);
    for (int n = 0; n < made; n++)
        rlm_layout_free(&l[n]);
    return code;
}

int rlm_lm_mix_one(rlm_lm_mix *m, int mix, int clip, rlm_lm_batch *out, rlm_error *err)
{
    const rlm_lm_clip *c = &m->store->clips[clip];
    rlm_layout l;
    memset(out, 0, sizeof *out);
    if (c->view_count < 1 || !suits(mix, &c->views[0]))
        return 0;
    m->paired = false;
    RLM_TRY(
        build(m, mix, c, &c->views[0], c, c->text_count[0] > 0 ? 0 : 1, (uint64_t)clip, &l, err));
    pack(m, &l, 1, out);
    rlm_layout_free(&l);
    return 0;
}

/* ---- What frequencies alone explain ---------------------------------------------------------- */

static double entropy(const int64_t *count, int n)
{
    double total = 0, sum = 0;
    for (int i = 0; i < n; i++)
        total += (double)count[i];
    for (int i = 0; i < n; i++)
        if (count[i])
            sum -= (double)count[i] / total * log((double)count[i] / total);
    return sum;
}

/* counts: joint [2^18], lo [512], hi [512], sound [levels][1024]. */
static void count_view(const rlm_lm_view *v, int64_t *joint, int64_t *lo, int64_t *hi,
                       int64_t *sound)
{
    int64_t n = v->video ? (int64_t)v->dims[0] * v->dims[1] * v->dims[2] : 0;
    for (int64_t i = 0; i < n; i++) {
        joint[v->video[i]]++;
        lo[v->video[i] & 511]++;
        hi[v->video[i] >> 9]++;
    }
    for (int q = 0; q < v->levels; q++)
        for (int f = 0; f < v->frames; f++)
            sound[q * RLM_AUDIO_CODES + v->sound[q * v->frames + f]]++;
}

int rlm_lm_unigram_count(const rlm_lm_mix *m, rlm_lm_unigram *u, rlm_error *err)
{
    size_t sound_count = (size_t)RLM_AUDIO_LEVELS * RLM_AUDIO_CODES;
    int64_t *joint = rlm_calloc(RLM_VIDEO_CODES + 1024 + sound_count, sizeof *joint);
    if (!joint)
        return rlm_fail(err, RLM_E_NOMEM, "lm training: no memory to count codes");
    int64_t *lo = joint + RLM_VIDEO_CODES, *hi = lo + 512, *sound = hi + 512;
    for (int i = 0; i < m->store->count; i++) {
        for (int n = 0; rlm_lm_mix_trained_on(m, i) && n < m->store->clips[i].view_count; n++)
            count_view(&m->store->clips[i].views[n], joint, lo, hi, sound);
    }
    *u = (rlm_lm_unigram){.video_lo = entropy(lo, 512),
                          .video_hi = entropy(hi, 512),
                          .video = entropy(joint, RLM_VIDEO_CODES)};
    int levels = 0;
    for (int q = 0; q < RLM_AUDIO_LEVELS; q++) {
        double e = entropy(sound + q * RLM_AUDIO_CODES, RLM_AUDIO_CODES);
        u->sound += e;
        levels += e > 0;
    }
    u->sound /= levels > 0 ? levels : 1;
    rlm_free(joint);
    return 0;
}
