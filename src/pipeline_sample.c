/* One pass of the language model: prefix in, codes out. With guidance two sequences run side by
 * side: 0 with the prompt, 1 with the negative (or no) prompt; both get the ids sampled, until
 * nothing more is guided. Clips that differ by their seed alone run in the same pass; what was not
 * asked for yet waits in the session. */
#include "src/pipeline.h"

#include <stdbool.h>
#include <string.h>

enum { TELL_EVERY = 8, PROBE_STEPS = 12, PROBE_MOST = 64 };
static const double TELL_SECONDS = 0.1, PROBE_SECONDS = 0.4;

/* Sequences in progress. */
typedef struct pass {
    rlm_layout l[2];
    int sides, clips; /* sequence = clip * sides + side */
    int in_use;       /* sides whose steps are still taken */
    /* Offsets behind the prefix: of the first code, one past the last; from where on codes follow
     * pictures, and nothing is guided. */
    int first_at, end_at, follows_at, alone_at;
    int32_t *ids;  /* [clips][end_at]: what stands behind the prefix */
    int done;      /* how many of them */
    int64_t codes; /* of one clip */
} pass;

int rlm_job_tell(rlm_job *j, int stage, int64_t done, int64_t total, int always)
{
    double now = rlm_now();
    if (!j->r->progress || j->cancelled)
        return j->cancelled;
    if (!always && now - j->last_told < TELL_SECONDS)
        return 0;
    j->last_told = now;
    double elapsed = now - j->start;
    total = total < done ? done : total; /* another window's prompt may leave less room */
    rlm_progress p = {.stage = stage, .done = done, .total = total, .elapsed_s = elapsed};
    p.eta_s = done > 0 && total > done ? elapsed * (double)(total - done) / (double)done : 0;
    if (j->r->progress(j->r->progress_cookie, &p))
        j->cancelled = 1;
    return j->cancelled;
}

void rlm_made_free(rlm_made *m)
{
    rlm_free(m->video);
    rlm_free(m->audio);
    *m = (rlm_made){0};
}

/* Ids as in prompts/vocab.h; legal are the codes that the tokenizers really have. */
static rlm_vocab job_vocab(const rlm_job *j)
{
    const rlm_model *m = &j->s->engine->model;
    return (rlm_vocab){.audio_levels = m->lm_config.audio_levels,
                       .text_pieces = m->lm_config.text_pieces,
                       .video_codes = m->video ? 1 << m->video_config.bits : 0,
                       .audio_codes = m->audio ? m->audio_config.codes : 0};
}

/* The spec with the text of one side of guidance. */
static rlm_layout_spec side_spec(const rlm_job *j, const rlm_layout_spec *spec, int side)
{
    rlm_layout_spec s = *spec;
    s.text = side ? j->negative : j->text;
    s.text_count = side ? j->negative_count : j->text_count;
    s.source = j->r->source;
    return s;
}

bool rlm_window_fits(const rlm_job *j, const rlm_layout_spec *spec)
{
    rlm_layout_spec longer = side_spec(j, spec, j->negative_count > j->text_count);
    return rlm_layout_count(&longer) <= j->s->engine->model.lm_config.max_len;
}

static int64_t spec_codes(const rlm_layout_spec *s)
{
    return (int64_t)s->video_out.t * s->video_out.h * s->video_out.w +
           (int64_t)s->audio_out.t * s->audio_out.h;
}

static const rlm_sampling *sampling_at(const pass *p, const rlm_job *j, int offset)
{
    const rlm_layout *l = &p->l[0];
    if (l->legal[2 * (l->prefix + offset)] >= RLM_ID_AUDIO)
        return &j->r->audio_sampling;
    return offset < p->follows_at ? &j->r->video : &j->r->motion;
}

/* One past the last code that guidance draws. */
static int guided_until(const pass *p, const rlm_job *j)
{
    for (int i = p->end_at; i > p->first_at; i--)
        if (p->l[0].ids[p->l[0].prefix + i - 1] < 0 && sampling_at(p, j, i - 1)->cfg_scale != 1.0f)
            return i;
    return 0;
}

static int pass_open(pass *p, const rlm_job *j, const rlm_layout_spec *spec, rlm_error *err)
{
    rlm_vocab vocab = job_vocab(j);
    rlm_layout_spec s = side_spec(j, spec, 0), other = side_spec(j, spec, 1);
    const rlm_layout *l = &p->l[0];
    RLM_TRY(rlm_layout_build(&p->l[0], &vocab, &s, err));
    int video = rlm_layout_video_at(l, &vocab, &s), audio = rlm_layout_audio_at(l, &vocab, &s);
    p->first_at = (video >= 0 ? video : audio) - l->prefix;
    p->end_at = audio >= 0 ? audio + s.audio_out.t * s.audio_out.h
                           : video + s.video_out.t * s.video_out.h * s.video_out.w;
    p->end_at -= l->prefix;
    p->codes = spec_codes(&s);
    bool after = s.task == RLM_TASK_PREDICT || s.task == RLM_TASK_AV_CONTINUE;
    p->follows_at = p->first_at + (after ? 0 : s.video_out.h * s.video_out.w);
    p->alone_at = j->text_count || j->negative_count ? guided_until(p, j) : 0;
    p->sides = p->in_use = p->alone_at > 0 ? 2 : 1;
    p->clips = j->s->batch > 1 && !j->done ? j->s->batch : 1;
    if (p->sides > 1)
        RLM_TRY(rlm_layout_build(&p->l[1], &vocab, &other, err));
    p->ids =
        rlm_alloc(rlm_size_mul(rlm_size_mul((size_t)p->end_at, (size_t)p->clips), sizeof *p->ids));
    return p->ids ? 0 : rlm_fail(err, RLM_E_NOMEM, "no memory for %d tokens", p->end_at);
}

static void pass_close(pass *p)
{
    rlm_layout_free(&p->l[0]);
    rlm_layout_free(&p->l[1]);
    rlm_free(p->ids);
}

/* ---- Memory: planned before the first token -------------------------------------------------- */

static int pass_cache(pass *p, rlm_session *s, rlm_error *err)
{
    const rlm_model *m = &s->engine->model;
    int need = p->l[0].count, batch = p->clips * p->sides;
    if (p->sides > 1 && p->l[1].count > need)
        need = p->l[1].count;
    if (need > m->lm_config.max_len)
        return rlm_fail(err, RLM_E_RANGE,
                        "%d positions are needed, this model has %d: ask for a smaller picture",
                        need, m->lm_config.max_len);
    if (!s->cache || (s->cache_batch != batch && s->cache_batch != 2 * batch) ||
        s->cache_capacity < need) {
        rlm_lm_cache_free(&s->cache);
        s->cache_capacity = (need + 255) / 256 * 256;
        if (s->cache_capacity > m->lm_config.max_len)
            s->cache_capacity = m->lm_config.max_len;
        s->cache_batch = batch;
        int bits = s->engine->cache_bits;
        RLM_TRY(rlm_session_allow(
            s, rlm_lm_cache_bytes(&m->lm_config, bits, batch, s->cache_capacity), err));
        RLM_TRY(rlm_lm_cache_new_as(&s->cache, m->lm, bits, batch, s->cache_capacity, err));
    }
    p->in_use = p->sides;
    rlm_lm_cache_use(s->cache, batch);
    for (int n = 0; n < batch; n++)
        rlm_lm_cache_rewind(s->cache, n, 0);
    return 0;
}

/* Nothing more is guided: the sequences without the prompt end here. */
static void pass_narrow(pass *p, rlm_session *s)
{
    if (p->in_use == 1)
        return;
    for (int clip = 0; clip < p->clips; clip++)
        rlm_lm_cache_copy(s->cache, clip * p->sides, clip);
    rlm_lm_cache_use(s->cache, p->clips);
    p->in_use = 1;
}

/* Clips begin alike: the first reads, the others copy. */
static void pass_prefill(pass *p, rlm_session *s, rlm_run *run)
{
    for (int n = 0; n < p->sides; n++)
        rlm_lm_prefill(run, s->engine->model.lm, s->cache, n, p->l[n].ids, p->l[n].pos,
                       p->l[n].prefix);
    for (int n = p->sides; n < p->clips * p->sides; n++)
        rlm_lm_cache_copy(s->cache, n % p->sides, n);
}

static void pass_step(pass *p, rlm_session *s, rlm_run *run, int offset)
{
    int32_t ids[2 * RLM_BATCH_MAX], pos[6 * RLM_BATCH_MAX];
    for (int n = 0; n < p->clips * p->in_use; n++) {
        const rlm_layout *l = &p->l[n % p->in_use];
        ids[n] = p->ids[n / p->in_use * p->end_at + offset];
        memcpy(pos + 3 * n, l->pos + 3 * (l->prefix + offset), 3 * sizeof *pos);
    }
    rlm_lm_step(run, s->engine->model.lm, s->cache, ids, pos, NULL);
}

static int32_t pass_draw(pass *p, rlm_job *j, rlm_run *run, int offset, int clip)
{
    const rlm_lm *lm = j->s->engine->model.lm;
    const int32_t *legal = p->l[0].legal + 2 * (p->l[0].prefix + offset);
    const rlm_sampling *from = sampling_at(p, j, offset);
    const float *hidden = rlm_lm_last_hidden(j->s->cache);
    hidden += (size_t)(clip * p->in_use) * (size_t)rlm_lm_get_config(lm)->dim;
    rlm_lm_sampling s = {.temperature = from->temperature,
                         .top_k = from->top_k,
                         .top_p = from->top_p,
                         .min_p = from->min_p,
                         .cfg_scale = p->in_use > 1 ? from->cfg_scale : 1.0f,
                         .seed = j->seed + (uint64_t)clip};
    return rlm_lm_sample(run, lm, hidden, p->in_use, &s, offset, legal[0], legal[1], NULL);
}

/* The same calls with empty kernels tell how much scratch they take. */
static int pass_plan(pass *p, rlm_job *j, rlm_error *err)
{
    rlm_session *s = j->s;
    rlm_kernels empty;
    rlm_kernels_empty(&empty, &s->engine->kernels);
    rlm_run dry = {.k = &empty, .arena = &s->arena, .par = s->par};
    pass_prefill(p, s, &dry);
    for (int clip = 0; clip < p->clips; clip++)
        p->ids[clip * p->end_at] = RLM_ID_VIDEO;
    pass_step(p, s, &dry, 0);
    pass_draw(p, j, &dry, p->first_at, 0);
    pass_draw(p, j, &dry, p->end_at - 1, 0);
    for (int n = 0; n < p->clips * p->sides; n++)
        rlm_lm_cache_rewind(s->cache, n, 0);
    RLM_TRY(rlm_session_allow(s, s->arena.peak, err));
    return rlm_arena_commit(&s->arena, s->arena.peak, err);
}

/* ---- The pass -------------------------------------------------------------------------------- */

/* A code frame is finished: its pictures are made. Seconds this took. */
static double pass_show(const pass *p, rlm_job *j, const rlm_layout_spec *spec, int done)
{
    int plane = spec->video_out.h * spec->video_out.w, count = spec->video_out.t * plane;
    int made = done - p->first_at;
    if (made < 1 || made > count || made % plane)
        return 0;
    double start = rlm_now();
    rlm_film_roll(j, p->ids + p->first_at, made / plane);
    return rlm_now() - start;
}

/* Steps from some offset on: the offset amid them, seconds of one, and of one draw. */
typedef struct probe {
    double at, step_s, draw_s;
} probe;

static probe probe_steps(pass *p, rlm_job *j, int at, int end)
{
    rlm_run *run = &j->s->run;
    double step = 0, draw = 0;
    int n = 0, room = end - at;
    for (int q = 0; q < p->clips * p->in_use; q++)
        rlm_lm_cache_blank(j->s->cache, q, p->l[q % p->in_use].prefix + at);
    for (; n < room && (n < PROBE_STEPS || step + draw < PROBE_SECONDS); n++) {
        double start = rlm_now();
        for (int clip = 0; clip < p->clips; clip++)
            p->ids[clip * p->end_at + at + n] = pass_draw(p, j, run, at + n, clip);
        double drawn = rlm_now();
        pass_step(p, j->s, run, at + n);
        step += rlm_now() - drawn;
        draw += drawn - start;
    }
    n = n ? n : 1;
    return (probe){at + (n - 1) / 2.0, step / n, draw / n};
}

/* Seconds that offsets [begin, end) take, from some of the first and last steps: a step costs in
 * proportion to what is cached. */
static double probe_part(pass *p, rlm_job *j, int begin, int end)
{
    int64_t prefix = p->l[0].prefix;
    int from = end - 1 - PROBE_MOST, first = begin > p->first_at ? begin : p->first_at,
        drawn[2] = {0};
    if (first >= end)
        return 0;
    probe early = probe_steps(p, j, first, end);
    probe late = probe_steps(p, j, from < first ? first : from, end);
    double way = late.at - early.at, amid = (begin + end - 1) / 2.0 - early.at;
    double share = way > 0 && amid > 0 ? amid / way : 0;
    for (int i = begin; i < end; i++)
        if (p->l[0].ids[prefix + i] < 0)
            drawn[p->l[0].legal[2 * (prefix + i)] >= RLM_ID_AUDIO]++;
    return (end - begin) * (early.step_s + share * (late.step_s - early.step_s)) +
           drawn[0] * early.draw_s + drawn[1] * late.draw_s;
}

/* request.dry_run: what the pass would cost. */
static void pass_probe(pass *p, rlm_job *j)
{
    rlm_session *s = j->s;
    double start = rlm_now();
    int64_t prefix = p->l[0].prefix;
    pass_prefill(p, s, &s->run);
    j->report.prefix_tokens += prefix;
    j->report.prefill_s += rlm_now() - start;
    j->report.sample_s += probe_part(p, j, 0, p->alone_at);
    pass_narrow(p, s);
    j->report.sample_s += probe_part(p, j, p->alone_at, p->end_at);
    for (int i = 0; i < p->end_at; i++) {
        int32_t id = p->l[0].ids[prefix + i], legal = p->l[0].legal[2 * (prefix + i)];
        for (int clip = 0; clip < p->clips; clip++)
            p->ids[clip * p->end_at + i] = id >= 0 ? id : legal;
    }
    p->done = p->end_at;
    j->done += p->codes;
    j->probe_s += rlm_now() - start;
}

static void pass_run(pass *p, rlm_job *j, const rlm_layout_spec *spec)
{
    rlm_session *s = j->s;
    if (j->r->dry_run) {
        pass_probe(p, j);
        return;
    }
    double start = rlm_now(), shown_s = 0;
    int64_t prefix = p->l[0].prefix;
    if (rlm_job_tell(j, RLM_STAGE_PREFILL, 0, prefix, 1))
        return;
    pass_prefill(p, s, &s->run);
    j->report.prefix_tokens += prefix;
    j->report.prefill_s += rlm_now() - start;
    start = rlm_now();
    int stop = rlm_job_tell(j, RLM_STAGE_PREFILL, prefix, prefix, 1);
    for (int i = 0; i < p->end_at && !stop; i++) {
        int32_t id = p->l[0].ids[prefix + i];
        for (int clip = 0; clip < p->clips; clip++)
            p->ids[clip * p->end_at + i] = id >= 0 ? id : pass_draw(p, j, &s->run, i, clip);
        p->done = i + 1;
        if (i + 1 >= p->alone_at)
            pass_narrow(p, s);
        if (i + 1 < p->end_at)
            pass_step(p, s, &s->run, i);
        j->done += p->ids[i] >= RLM_ID_VIDEO; /* a code, sampled or given */
        shown_s += pass_show(p, j, spec, i + 1);
        if (i % TELL_EVERY == 0)
            stop = rlm_job_tell(j, RLM_STAGE_SAMPLE, j->done, j->total, 0);
    }
    j->report.sample_s += rlm_now() - start - shown_s;
}

/* Ids behind the prefix -> local codes, whole latent frames and whole levels only. */
static int pass_collect(const pass *p, const rlm_job *j, const rlm_layout_spec *spec, int clip,
                        rlm_made *made, rlm_error *err)
{
    const int32_t *ids = p->ids + (size_t)clip * (size_t)p->end_at;
    rlm_vocab vocab = job_vocab(j);
    rlm_layout_spec s = side_spec(j, spec, 0);
    const rlm_layout *l = &p->l[0];
    int video = rlm_layout_video_at(l, &vocab, &s), audio = rlm_layout_audio_at(l, &vocab, &s);
    int plane = s.video_out.h * s.video_out.w, row = s.audio_out.h;
    if (video >= 0) {
        int have = p->done - (video - l->prefix);
        made->latents = have < 0 ? 0 : have / plane;
        if (made->latents > s.video_out.t)
            made->latents = s.video_out.t;
        made->video = rlm_alloc(rlm_size_mul((size_t)made->latents + 1, (size_t)plane * 4));
    }
    if (audio >= 0) {
        int have = p->done - (audio - l->prefix);
        made->levels = have < 0 ? 0 : have / row;
        made->audio = rlm_alloc(rlm_size_mul((size_t)made->levels + 1, (size_t)row * 4));
    }
    if ((video >= 0 && !made->video) || (audio >= 0 && !made->audio))
        return rlm_fail(err, RLM_E_NOMEM, "no memory for the codes");
    for (int i = 0; i < made->latents * plane; i++)
        made->video[i] = ids[video - l->prefix + i] - RLM_ID_VIDEO;
    for (int i = 0; i < made->levels * row; i++)
        made->audio[i] = (ids[audio - l->prefix + i] - RLM_ID_AUDIO) % RLM_AUDIO_CODES;
    return 0;
}

/* ---- Clips sampled ahead ------------------------------------------------------------------- */

struct rlm_ahead {
    uint64_t key;  /* of everything but the seed */
    uint64_t seed; /* of made[0] */
    int count;     /* made[count]; taken ones are empty */
    rlm_made made[RLM_BATCH_MAX];
};

void rlm_ahead_free(rlm_ahead **ahead)
{
    for (int i = 0; *ahead && i < (*ahead)->count; i++)
        rlm_made_free(&(*ahead)->made[i]);
    rlm_free(*ahead);
    *ahead = NULL;
}

/* FNV-1a. */
static uint64_t hash(uint64_t h, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ p[i]) * 0x100000001b3ull;
    return h;
}

static uint64_t pass_key(const pass *p, const rlm_job *j)
{
    const rlm_sampling *all[] = {&j->r->video, &j->r->motion, &j->r->audio_sampling};
    uint64_t h = 0xcbf29ce484222325ull;
    for (int side = 0; side < p->sides; side++) {
        const rlm_layout *l = &p->l[side];
        h = hash(h, &l->prefix, sizeof l->prefix);
        h = hash(h, l->ids, (size_t)l->count * sizeof *l->ids);
        h = hash(h, l->pos, (size_t)l->count * 3 * sizeof *l->pos);
        h = hash(h, l->legal, (size_t)l->count * 2 * sizeof *l->legal);
    }
    for (int i = 0; i < 3; i++) {
        h = hash(h, &all[i]->temperature, sizeof all[i]->temperature);
        h = hash(h, &all[i]->top_k, sizeof all[i]->top_k);
        h = hash(h, &all[i]->top_p, sizeof all[i]->top_p);
        h = hash(h, &all[i]->min_p, sizeof all[i]->min_p);
        h = hash(h, &all[i]->cfg_scale, sizeof all[i]->cfg_scale);
    }
    return h;
}

/* What an earlier call made for this one; false: nothing. */
static bool take_ahead(const pass *p, rlm_job *j, rlm_made *made)
{
    rlm_ahead *a = j->s->ahead;
    uint64_t at = a ? j->seed - a->seed : 0;
    if (!a || j->done || at >= (uint64_t)a->count || a->key != pass_key(p, j) ||
        (!a->made[at].latents && !a->made[at].levels))
        return false;
    *made = a->made[at];
    a->made[at] = (rlm_made){0};
    j->done += p->codes;
    j->report.prefix_tokens += p->l[0].prefix;
    return true;
}

/* The other clips of a finished pass, for the calls to come. */
static int keep_ahead(const pass *p, rlm_job *j, const rlm_layout_spec *spec, rlm_error *err)
{
    rlm_session *s = j->s;
    rlm_ahead_free(&s->ahead);
    if (p->clips == 1 || j->cancelled)
        return 0;
    s->ahead = rlm_calloc(1, sizeof *s->ahead);
    if (!s->ahead)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %d clips", p->clips);
    s->ahead->key = pass_key(p, j);
    s->ahead->seed = j->seed + 1;
    s->ahead->count = p->clips - 1;
    int code = 0;
    for (int clip = 1; clip < p->clips && !code; clip++)
        code = pass_collect(p, j, spec, clip, &s->ahead->made[clip - 1], err);
    if (code)
        rlm_ahead_free(&s->ahead);
    return code;
}

/* Sample what is left to sample. */
static int pass_make(pass *p, rlm_job *j, const rlm_layout_spec *spec, rlm_made *made,
                     rlm_error *err)
{
    if (take_ahead(p, j, made))
        return 0;
    RLM_TRY(pass_cache(p, j->s, err));
    RLM_TRY(pass_plan(p, j, err));
    pass_run(p, j, spec);
    j->s->batch = 1;
    RLM_TRY(pass_collect(p, j, spec, 0, made, err));
    return keep_ahead(p, j, spec, err);
}

/* Everything is given: the codes are the result, and no model is asked. */
static int take_given(const rlm_layout_spec *spec, rlm_given *g, rlm_made *made)
{
    *made = (rlm_made){g->video, g->audio, g->latents, g->levels};
    g->video = g->audio = NULL;
    return (spec->video_out.t && !made->video) || (spec->audio_out.t && !made->audio)
               ? RLM_E_INTERNAL
               : 0;
}

static int sample(rlm_job *j, const rlm_layout_spec *spec, rlm_made *made, rlm_error *err)
{
    pass p = {0};
    int code = pass_open(&p, j, spec, err);
    if (!code)
        code = pass_make(&p, j, spec, made, err);
    pass_close(&p);
    return code;
}

int rlm_window_sample(rlm_job *j, const rlm_layout_spec *spec, rlm_made *made, rlm_error *err)
{
    rlm_layout_spec own = *spec;
    rlm_given given;
    *made = (rlm_made){0};
    int code = rlm_job_given(j, &own, &given, err);
    if (!code && given.whole) {
        code = take_given(spec, &given, made);
        j->done += spec_codes(spec);
    } else if (!code) {
        code = sample(j, &own, made, err);
    }
    rlm_given_free(&given);
    if (code)
        rlm_made_free(made);
    j->report.video_tokens += (int64_t)made->latents * spec->video_out.h * spec->video_out.w;
    j->report.audio_tokens += (int64_t)made->levels * spec->audio_out.h;
    return code;
}
