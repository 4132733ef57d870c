/* Segments -> ids, positions, targets and legal ranges; and back. See layout.h. */
#include "prompts/layout.h"

#include <string.h>

#include "prompts/tasks.h"
#include "src/base/mem.h"

enum {
    AXIS_MAX = 16384,    /* codes along one axis of a grid */
    COUNT_MAX = 1 << 22, /* ids of one sequence */
    FRAME_UNITS = 4,     /* t axis: units of a latent frame */
    SOUND_FRAMES = 25,   /* sound frames of a latent frame (50 Hz, 8 fps) */
    SHORT_FRAMES = 5,    /* more latent frames than this: <long> */
    SHORT_SOUND = 106,   /* more sound frames than this, without picture: <long> */
    STRAY = 2            /* t distance of a condition that shows the output's own moment */
};

/* Where a segment's grid begins. */
typedef struct origin {
    int t, o;
} origin;

typedef struct builder {
    rlm_layout *l;
    const rlm_vocab *v;
    int at;   /* next index */
    int next; /* running position counter */
} builder;

static int64_t grid_count(const rlm_grid *g)
{
    return g->t > 0 ? (int64_t)g->t * g->h * g->w : 0;
}

static int res_id(const rlm_layout_spec *s)
{
    const rlm_grid *g = &s->video_out;
    if (g->t <= 0 || (g->h == 16 && g->w == 16))
        return -1;
    return g->h == 28 && g->w == 16 ? RLM_ID_RES_PORTRAIT : RLM_ID_RES_OTHER;
}

static bool is_long(const rlm_layout_spec *s)
{
    if (s->video_out.t > 0)
        return s->video_out.t > SHORT_FRAMES;
    return s->audio_out.t > 0 && s->audio_out.h > SHORT_SOUND;
}

static int64_t count_prefix(const rlm_layout_spec *s)
{
    int64_t n = 2;
    n += s->text_count > 0 ? s->text_count + 2 : 0;
    n += s->visual_in.t > 0 ? grid_count(&s->visual_in) + 2 : 0;
    n += s->audio_in.t > 0 ? grid_count(&s->audio_in) + 2 : 0;
    n += s->source >= 0;
    n += res_id(s) >= 0;
    n += is_long(s);
    return n;
}

static int64_t count_output(const rlm_layout_spec *s)
{
    const rlm_task_info *info = rlm_task_get(s->task);
    int64_t n = 0;
    n += s->video_out.t > 0 ? grid_count(&s->video_out) + 2 : 0;
    n += s->audio_out.t > 0 ? grid_count(&s->audio_out) + 2 : 0;
    return info->unfinished ? n - 1 : n + 1;
}

int64_t rlm_layout_count(const rlm_layout_spec *spec)
{
    return count_prefix(spec) + count_output(spec);
}

static int check_axes(const char *name, const rlm_grid *g, rlm_error *err)
{
    if (g->t < 0 || g->t > AXIS_MAX ||
        (g->t > 0 && (g->h < 1 || g->h > AXIS_MAX || g->w < 1 || g->w > AXIS_MAX)))
        return rlm_fail(err, RLM_E_RANGE, "%s: grid %d x %d x %d, each axis must be 1..%d", name,
                        g->t, g->h, g->w, AXIS_MAX);
    if (grid_count(g) > COUNT_MAX)
        return rlm_fail(err, RLM_E_RANGE, "%s: %lld codes, at most %d", name,
                        (long long)grid_count(g), COUNT_MAX);
    return 0;
}

static int check_codes(const char *name, const rlm_grid *g, int limit, bool input, rlm_error *err)
{
    RLM_TRY(check_axes(name, g, err));
    if (g->t > 0 && input && !g->ids)
        return rlm_fail(err, RLM_E_ARG, "%s: a grid of %d x %d x %d without ids", name, g->t, g->h,
                        g->w);
    int64_t n = g->ids ? grid_count(g) : 0;
    for (int64_t i = 0; i < n; i++) {
        if (!input && g->known && !g->known[i])
            continue;
        int lowest = input ? -1 : 0;
        if (g->ids[i] < lowest || g->ids[i] >= limit)
            return rlm_fail(err, RLM_E_TOKENS, "%s: code %d at %lld, expected %d..%d", name,
                            g->ids[i], (long long)i, lowest, limit - 1);
    }
    return 0;
}

static int check_sound(const char *name, const rlm_vocab *v, const rlm_grid *g, bool input,
                       rlm_error *err)
{
    RLM_TRY(check_codes(name, g, rlm_vocab_audio_codes(v), input, err));
    if (g->t > v->audio_levels || (g->t > 0 && g->w != 1))
        return rlm_fail(err, RLM_E_RANGE,
                        "%s: %d levels x %d frames x %d, expected at most %d levels and width 1",
                        name, g->t, g->h, g->w, v->audio_levels);
    return 0;
}

static int check_spec(const rlm_vocab *v, const rlm_layout_spec *s, rlm_error *err)
{
    RLM_TRY(check_codes("visual_in", &s->visual_in, rlm_vocab_video_codes(v), true, err));
    RLM_TRY(check_sound("audio_in", v, &s->audio_in, true, err));
    RLM_TRY(check_codes("video_out", &s->video_out, rlm_vocab_video_codes(v), false, err));
    RLM_TRY(check_sound("audio_out", v, &s->audio_out, false, err));
    if (s->text_count < 0 || s->text_count > AXIS_MAX || (s->text_count > 0 && !s->text))
        return rlm_fail(err, RLM_E_ARG, "text: %d pieces, expected 0..%d and an array",
                        s->text_count, AXIS_MAX);
    for (int i = 0; i < s->text_count; i++)
        if (s->text[i] < 0 || s->text[i] >= v->text_pieces)
            return rlm_fail(err, RLM_E_TOKENS, "text: piece %d at %d, expected 0..%d", s->text[i],
                            i, v->text_pieces - 1);
    if (s->source < -1 || s->source > 31)
        return rlm_fail(err, RLM_E_RANGE, "source: %d, expected 0..31, or -1 for none", s->source);
    RLM_TRY(rlm_task_check(s, err));
    int64_t total = grid_count(&s->visual_in) + grid_count(&s->audio_in) +
                    grid_count(&s->video_out) + grid_count(&s->audio_out);
    if (total > COUNT_MAX)
        return rlm_fail(err, RLM_E_RANGE, "sequence: %lld codes, at most %d", (long long)total,
                        COUNT_MAX);
    return 0;
}

/* ---- Emission -------------------------------------------------------------------------------- */

static void put(builder *b, int32_t id, int t, int y, int x, int first, int n, bool target)
{
    rlm_layout *l = b->l;
    int p = b->at++;
    l->ids[p] = id;
    l->pos[3 * p] = t;
    l->pos[3 * p + 1] = y;
    l->pos[3 * p + 2] = x;
    l->target[p] = target;
    l->legal[2 * p] = first;
    l->legal[2 * p + 1] = n;
}

static void put_special(builder *b, int32_t id, bool target)
{
    put(b, id, b->next, b->next, b->next, id, 1, target);
    b->next++;
}

static void put_text(builder *b, const rlm_layout_spec *s, const rlm_vocab *v)
{
    put_special(b, RLM_ID_BOT_I, false);
    for (int i = 0; i < s->text_count; i++) {
        put(b, rlm_vocab_text(s->text[i]), b->next, b->next, b->next, RLM_ID_TEXT, v->text_pieces,
            false);
        b->next++;
    }
    put_special(b, RLM_ID_EOT_I, false);
}

static void reach(builder *b, int past)
{
    if (b->next < past)
        b->next = past;
}

/* Code i of an output as it stands in the sequence: global id or -1, and whether it is a target. */
static int32_t output_code(const rlm_grid *g, int64_t i, bool *target)
{
    bool given = g->ids && (!g->known || g->known[i]);
    *target = !(given && g->known);
    return given ? g->ids[i] : -1;
}

static void put_visual(builder *b, const rlm_grid *g, origin at, int stray, bool output)
{
    int64_t i = 0;
    for (int t = 0; t < g->t; t++)
        for (int y = 0; y < g->h; y++)
            for (int x = 0; x < g->w; x++, i++) {
                bool target = false;
                int32_t code = output ? output_code(g, i, &target) : g->ids[i];
                bool hidden = !output && code < 0;
                int32_t id = hidden ? RLM_ID_MASK : code < 0 ? -1 : rlm_vocab_video(code);
                put(b, id, at.t + stray + FRAME_UNITS * t, at.o + y, at.o + x,
                    hidden ? RLM_ID_MASK : RLM_ID_VIDEO, hidden ? 1 : rlm_vocab_video_codes(b->v),
                    target);
            }
    reach(b, at.t + FRAME_UNITS * g->t);
    reach(b, at.o + (g->h > g->w ? g->h : g->w));
}

static void put_sound(builder *b, const rlm_grid *g, origin at, bool output)
{
    int64_t i = 0;
    for (int q = 0; q < g->t; q++)
        for (int f = 0; f < g->h; f++, i++) {
            bool target = false;
            int32_t code = output ? output_code(g, i, &target) : g->ids[i];
            bool hidden = !output && code < 0;
            int32_t id = hidden ? RLM_ID_MASK : code < 0 ? -1 : rlm_vocab_audio(q, code);
            put(b, id, at.t + FRAME_UNITS * f / SOUND_FRAMES, at.o + f, at.o + q,
                hidden ? RLM_ID_MASK : RLM_ID_AUDIO + q * RLM_AUDIO_CODES,
                hidden ? 1 : rlm_vocab_audio_codes(b->v), target);
        }
    reach(b, at.t + FRAME_UNITS * g->h / SOUND_FRAMES + 1);
    reach(b, at.o + (g->h > g->t ? g->h : g->t));
}

/* Origins of all grids. The input side is placed while the prefix is emitted; the output side
 * follows from it by the rules of layout.h. */
static origin output_origin(const rlm_layout_spec *s, const builder *b, const origin *visual,
                            const origin *sound)
{
    origin out = {b->next, b->next};
    if (s->visual_in.t > 0) {
        bool after = s->task == RLM_TASK_PREDICT || s->task == RLM_TASK_AV_CONTINUE;
        out = *visual;
        out.t += after ? FRAME_UNITS * s->visual_in.t : 0;
    } else if (s->audio_in.t > 0) {
        out.t = sound->t;
    }
    return out;
}

static void emit(builder *b, const rlm_vocab *v, const rlm_layout_spec *s)
{
    const rlm_task_info *info = rlm_task_get(s->task);
    origin visual = {0, 0}, sound = {0, 0};
    put_special(b, RLM_ID_BOS, false);
    put_special(b, RLM_ID_TASK + s->task, false);
    if (s->text_count > 0)
        put_text(b, s, v);
    if (s->visual_in.t > 0) {
        put_special(b, RLM_ID_BOV_I, false);
        visual = (origin){b->next, b->next};
        put_visual(b, &s->visual_in, visual, STRAY, false);
        put_special(b, RLM_ID_EOV_I, false);
    }
    if (s->audio_in.t > 0) {
        put_special(b, RLM_ID_BOA_I, false);
        sound = (origin){s->visual_in.t > 0 ? visual.t : b->next, b->next};
        put_sound(b, &s->audio_in, sound, false);
        put_special(b, RLM_ID_EOA_I, false);
    }
    if (s->source >= 0)
        put_special(b, RLM_ID_SOURCE + s->source, false);
    if (res_id(s) >= 0)
        put_special(b, res_id(s), false);
    if (is_long(s))
        put_special(b, RLM_ID_LONG, false);
    b->l->prefix = b->at;

    origin out = output_origin(s, b, &visual, &sound);
    if (s->video_out.t > 0) {
        bool own = s->visual_in.t <= 0; /* a new grid begins behind its delimiter */
        put_special(b, RLM_ID_BOV_O, false);
        out.o = own ? b->next : out.o;
        out.t = own && s->audio_in.t <= 0 ? b->next : out.t;
        put_visual(b, &s->video_out, out, 0, true);
        if (!info->unfinished)
            put_special(b, RLM_ID_EOV_O, true);
    }
    if (s->audio_out.t > 0) {
        put_special(b, RLM_ID_BOA_O, false);
        put_sound(b, &s->audio_out, (origin){out.t, b->next}, true);
        put_special(b, RLM_ID_EOA_O, true);
    }
    if (!info->unfinished)
        put_special(b, RLM_ID_EOS, true);
}

int rlm_layout_build(rlm_layout *l, const rlm_vocab *v, const rlm_layout_spec *spec, rlm_error *err)
{
    memset(l, 0, sizeof *l);
    RLM_TRY(check_spec(v, spec, err));
    int count = (int)rlm_layout_count(spec);
    l->ids = rlm_alloc(rlm_size_mul((size_t)count, sizeof *l->ids));
    l->pos = rlm_alloc(rlm_size_mul((size_t)count, 3 * sizeof *l->pos));
    l->target = rlm_alloc((size_t)count);
    l->legal = rlm_alloc(rlm_size_mul((size_t)count, 2 * sizeof *l->legal));
    if (!l->ids || !l->pos || !l->target || !l->legal) {
        rlm_layout_free(l);
        return rlm_fail(err, RLM_E_NOMEM, "sequence: no memory for %d ids", count);
    }
    builder b = {l, v, 0, 0};
    emit(&b, v, spec);
    l->count = b.at;
    if (b.at != count || l->prefix != count_prefix(spec)) {
        rlm_layout_free(l);
        return rlm_fail(err, RLM_E_INTERNAL, "sequence: %d ids emitted, %d planned", b.at, count);
    }
    return 0;
}

void rlm_layout_free(rlm_layout *l)
{
    rlm_free(l->ids);
    rlm_free(l->pos);
    rlm_free(l->target);
    rlm_free(l->legal);
    memset(l, 0, sizeof *l);
}

/* ---- Back ------------------------------------------------------------------------------------ */

int rlm_layout_video_at(const rlm_layout *l, const rlm_vocab *v, const rlm_layout_spec *spec)
{
    (void)v;
    return spec->video_out.t > 0 ? l->prefix + 1 : -1;
}

int rlm_layout_audio_at(const rlm_layout *l, const rlm_vocab *v, const rlm_layout_spec *spec)
{
    int video = rlm_layout_video_at(l, v, spec);
    if (spec->audio_out.t <= 0)
        return -1;
    return video < 0 ? l->prefix + 1 : video + (int)grid_count(&spec->video_out) + 2;
}

int rlm_layout_parse(const rlm_layout *l, const rlm_vocab *v, const rlm_layout_spec *spec,
                     const int32_t *ids, int32_t *video, int32_t *audio, rlm_error *err)
{
    for (int p = 0; p < l->count; p++) {
        int32_t first = l->legal[2 * p], n = l->legal[2 * p + 1];
        if (ids[p] < first || ids[p] - first >= n)
            return rlm_fail(err, RLM_E_TOKENS, "sequence: id %d at position %d, expected %d..%d",
                            ids[p], p, first, first + n - 1);
    }
    int at = rlm_layout_video_at(l, v, spec);
    int64_t n = at >= 0 ? grid_count(&spec->video_out) : 0;
    for (int64_t i = 0; video && i < n; i++)
        video[i] = ids[at + i] - RLM_ID_VIDEO;
    at = rlm_layout_audio_at(l, v, spec);
    n = at >= 0 ? grid_count(&spec->audio_out) : 0;
    for (int64_t i = 0; audio && i < n; i++)
        audio[i] = (ids[at + i] - RLM_ID_AUDIO) % RLM_AUDIO_CODES;
    return 0;
}
