/* What the judge's networks say, put together into facts; and a judge opened from its file. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/train/judge.h"

static const double IN_STEP = 0.060; /* s */

int rlm_judge_best(const float *p, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        best = p[i] > p[best] ? i : best;
    return best;
}

static void softmax(const float *logit, int n, float *p)
{
    float top = logit[rlm_judge_best(logit, n)], sum = 0;
    for (int i = 0; i < n; i++) {
        p[i] = expf(logit[i] - top);
        sum += p[i];
    }
    for (int i = 0; i < n; i++)
        p[i] /= sum;
}

static const float *rows_of(const rlm_tensor *t, int64_t row)
{
    return rlm_f32(t) + row * rlm_tensor_last(t);
}

bool rlm_judge_there(const rlm_judge_view *v, int colour)
{
    return v->body[colour].p[BODY_COLOUR][1] > 0.5f;
}

int rlm_judge_actor(const rlm_judge_view *v)
{
    int actor = -1;
    for (int c = 0; c < COLOURS; c++)
        if (rlm_judge_there(v, c) &&
            (actor < 0 || v->body[c].p[BODY_ROLE][ACTOR] > v->body[actor].p[BODY_ROLE][ACTOR]))
            actor = c;
    return actor;
}

static void read_bodies(const rlm_judge_logits *l, int index, rlm_judge_view *v)
{
    for (int c = 0; c < COLOURS; c++) {
        for (int k = 0; k < BODY_KINDS; k++)
            softmax(rows_of(&l->body[k], (int64_t)index * COLOURS + c), rlm_judge_body_classes(k),
                    v->body[c].p[k]);
    }
}

/* Crops of the colours that are there, in every moment of a look: what a network says of them. */
typedef struct closer {
    rlm_tensor out[CROP_KINDS];
    int count, owner[COLOURS * CROP_MOMENTS], moment[COLOURS * CROP_MOMENTS]; /* of a crop */
} closer;

/* Where the colours that are there are, moment by moment of the trunk; side 0: nowhere. And in how
 * many pieces. */
static void find_all(rlm_run *run, const rlm_judge_logits *l, int index, rlm_judge_view *v,
                     rlm_judge_square at[JUDGE_GROUPS][COLOURS])
{
    enum { CELLS = JUDGE_GRID * JUDGE_GRID };
    float *p = rlm_arena_alloc(run->arena, sizeof(float) * CELLS * (1 + COLOURS));
    int seen[COLOURS] = {0};
    memset(at, 0, sizeof(rlm_judge_square) * JUDGE_GROUPS * COLOURS);
    for (int g = 0; g < JUDGE_GROUPS; g++) {
        int64_t row = (int64_t)index * JUDGE_CELLS + g * CELLS;
        for (int i = 0; i < CELLS; i++)
            softmax(rows_of(&l->cell[BODY_COLOUR], row + i), 1 + COLOURS, p + i * (1 + COLOURS));
        for (int k = 0; k < COLOURS; k++) {
            int pieces = rlm_judge_pieces(p + 1 + k, 1 + COLOURS);
            v->pieces[k] += (float)pieces;
            seen[k] += pieces > 0;
            if (rlm_judge_there(v, k))
                rlm_judge_find(p + 1 + k, 1 + COLOURS, &at[g][k]);
        }
    }
    for (int k = 0; k < COLOURS; k++)
        v->pieces[k] /= (float)(seen[k] ? seen[k] : 1);
}

/* The square around both. */
static rlm_judge_square around(rlm_judge_square a, rlm_judge_square b)
{
    if (a.side == 0 || b.side == 0)
        return a.side == 0 ? b : a;
    float x0 = fminf(a.x - a.side / 2, b.x - b.side / 2);
    float x1 = fmaxf(a.x + a.side / 2, b.x + b.side / 2);
    float y0 = fminf(a.y - a.side / 2, b.y - b.side / 2);
    float y1 = fmaxf(a.y + a.side / 2, b.y + b.side / 2);
    return (rlm_judge_square){(x0 + x1) / 2, (y0 + y1) / 2, fmaxf(x1 - x0, y1 - y0)};
}

static int group_of(int frame)
{
    return (frame + 3) / 4;
}

static void look_closer(rlm_run *run, const rlm_judge_crop *net, int look, const float *pixels,
                        rlm_judge_square at[JUDGE_GROUPS][COLOURS], closer *c)
{
    int moments = rlm_judge_crop_moments(look), from, to;
    size_t floats = rlm_judge_crop_floats(look);
    float *crops = rlm_arena_alloc(run->arena, sizeof(float) * COLOURS * (size_t)moments * floats);
    c->count = 0;
    for (int m = 0; m < moments; m++) {
        rlm_judge_crop_frames(look, m, &from, &to);
        for (int k = 0; k < COLOURS; k++) {
            rlm_judge_square s = around(at[group_of(from)][k], at[group_of(to)][k]);
            if (s.side == 0)
                continue;
            rlm_judge_cut(look, pixels, m, &s, crops + (size_t)c->count * floats);
            c->owner[c->count] = k;
            c->moment[c->count++] = m;
        }
    }
    if (c->count)
        rlm_judge_crop_forward(run, net, c->count, crops, c->out);
}

/* Each crop speaks as loudly as it is of its owner's colour. */
static void read_crops(const closer *c, rlm_judge_view *v)
{
    float votes[COLOURS][CROP_KINDS][8] = {{{0}}}, weight[COLOURS] = {0}, style[8] = {0}, all = 0;
    for (int i = 0; i < c->count; i++) {
        float q[8], sure;
        softmax(rows_of(&c->out[CROP_COLOUR], i), COLOURS, q);
        sure = q[c->owner[i]] + 1e-3f;
        weight[c->owner[i]] += sure;
        all += sure;
        for (int k = CROP_SHAPE; k < CROP_KINDS; k++) {
            int n = rlm_judge_crop_classes(LOOK_BODY, k);
            softmax(rows_of(&c->out[k], i), n, q);
            for (int j = 0; j < n; j++)
                votes[c->owner[i]][k][j] += sure * q[j];
            for (int j = 0; j < n && k == CROP_STYLE; j++)
                style[j] += sure * q[j];
        }
    }
    for (int j = 0; j < STYLES && all > 0; j++)
        v->clip[CLIP_STYLE][j] = 0.5f * v->clip[CLIP_STYLE][j] + 0.5f * style[j] / all;
    for (int k = 0; k < COLOURS; k++)
        for (int j = 0; j < 8 && weight[k] > 0; j++) {
            v->body[k].p[BODY_SHAPE][j] = votes[k][CROP_SHAPE][j] / weight[k];
            v->body[k].p[BODY_MATERIAL][j] = votes[k][CROP_MATERIAL][j] / weight[k];
        }
}

/* A gap is as all looks at it say in the mean, of the body that is surest of a contact. */
static void read_contacts(const closer *c, rlm_judge_view *v)
{
    float sum[COLOURS][JUDGE_SPANS][1 + JUDGE_SPAN_PARTS] = {{{0}}};
    int looks[COLOURS][JUDGE_SPANS] = {{0}};
    for (int i = 0; i < c->count; i++)
        for (int gap = 0; gap < CROP_KINDS; gap++) {
            float q[1 + JUDGE_SPAN_PARTS];
            int k = c->owner[i], span = c->moment[i] + gap;
            softmax(rows_of(&c->out[gap], i), 1 + JUDGE_SPAN_PARTS, q);
            for (int j = 0; j <= JUDGE_SPAN_PARTS; j++)
                sum[k][span][j] += q[j];
            looks[k][span]++;
        }
    for (int k = 0; k < COLOURS; k++)
        for (int i = 0; i < JUDGE_SPANS; i++)
            if (looks[k][i] && sum[k][i][0] / (float)looks[k][i] < v->span[i][0])
                for (int j = 0; j <= JUDGE_SPAN_PARTS; j++)
                    v->span[i][j] = sum[k][i][j] / (float)looks[k][i];
}

void rlm_judge_look_again(rlm_run *run, rlm_judge_crop *const crops[LOOKS],
                          const rlm_judge_logits *l, int index, const float *pixels,
                          rlm_judge_view *v)
{
    rlm_judge_square at[JUDGE_GROUPS][COLOURS];
    size_t mark = rlm_arena_mark(run->arena);
    find_all(run, l, index, v, at);
    rlm_arena_rewind(run->arena, mark);
    for (int look = 0; look < LOOKS; look++) {
        closer c;
        look_closer(run, crops[look], look, pixels, at, &c);
        if (look == LOOK_BODY)
            read_crops(&c, v);
        else
            read_contacts(&c, v);
        rlm_arena_rewind(run->arena, mark);
    }
}

/* Probability over time in parts of gaps. A contact is a window of 11 parts, 0.17 s, in which it is
 * likelier than SURE, the likeliest first; its time is the window's mean. What a window explains,
 * and what is near its mean, is no other contact. */
static void settle_contacts(rlm_judge_view *v)
{
    enum { PARTS = JUDGE_SPANS * JUDGE_SPAN_PARTS, HALF = 5 };
    static const float SURE = 0.35f;
    float p[PARTS];
    for (int i = 0; i < PARTS; i++)
        p[i] = v->span[i / JUDGE_SPAN_PARTS][1 + i % JUDGE_SPAN_PARTS];
    for (v->contacts = 0; v->contacts < JUDGE_SPANS; v->contacts++) {
        float most = SURE, mean = 0;
        for (int i = 0; i < PARTS; i++) {
            float sum = 0, at = 0;
            for (int k = i > HALF ? i - HALF : 0; k <= i + HALF && k < PARTS; k++) {
                sum += p[k];
                at += p[k] * ((float)k + 0.5f);
            }
            if (sum > most) {
                most = sum;
                mean = at / sum;
            }
        }
        if (mean == 0)
            break;
        v->contact_s[v->contacts] = mean / (JUDGE_SPAN_PARTS * JUDGE_FPS);
        for (int k = (int)mean - HALF; k <= (int)mean + HALF; k++)
            if (k >= 0 && k < PARTS)
                p[k] = 0;
    }
}

void rlm_judge_settle(rlm_judge_view *v)
{
    v->count = 0;
    for (int c = 0; c < COLOURS; c++)
        v->count += rlm_judge_there(v, c);
    settle_contacts(v);
}

/* Where class i of a kind of the clip goes in a mirror. */
static int mirrored_class(int kind, int i)
{
    int a = kind == CLIP_DIRECTION ? LEFT : kind == CLIP_CAMERA ? PAN_LEFT : -1;
    int b = kind == CLIP_DIRECTION ? RIGHT : kind == CLIP_CAMERA ? PAN_RIGHT : -1;
    return i == a ? b : i == b ? a : i;
}

void rlm_judge_merge(rlm_judge_view *a, const rlm_judge_view *m)
{
    for (int c = 0; c < COLOURS; c++)
        a->pieces[c] = 0.5f * (a->pieces[c] + m->pieces[c]);
    for (int c = 0; c < COLOURS; c++)
        for (int k = 0; k < BODY_KINDS; k++)
            for (int i = 0; i < 8; i++)
                a->body[c].p[k][i] = 0.5f * (a->body[c].p[k][i] + m->body[c].p[k][i]);
    for (int k = 0; k < CLIP_KINDS; k++) {
        float both[8];
        for (int i = 0; i < 8; i++)
            both[i] = 0.5f * (a->clip[k][i] + m->clip[k][mirrored_class(k, i)]);
        memcpy(a->clip[k], both, sizeof both);
    }
    for (int i = 0; i < JUDGE_SPANS; i++)
        for (int k = 0; k <= JUDGE_SPAN_PARTS; k++)
            a->span[i][k] = 0.5f * (a->span[i][k] + m->span[i][k]);
}

/* An onset is a stretch of ticks that are likely ones; its time is their mean. */
static void read_onsets(const rlm_judge_logits *l, int index, rlm_judge_view *v)
{
    float sum = 0, at = 0;
    for (int t = 0; t <= JUDGE_TICKS; t++) {
        float p[2] = {1, 0};
        if (t < JUDGE_TICKS)
            softmax(rows_of(&l->heard, (int64_t)index * JUDGE_HEARD + JUDGE_AHEAD + t), 2, p);
        if (p[1] > 0.4f) {
            sum += p[1];
            at += p[1] * (float)t;
        } else if (sum > 0) {
            if (sum > 0.8f && v->onsets < JUDGE_TICKS / 4)
                v->onset_s[v->onsets++] = at / sum * 0.01f;
            sum = at = 0;
        }
    }
}

void rlm_judge_read(const rlm_judge_logits *l, int index, rlm_judge_view *v)
{
    memset(v, 0, sizeof *v);
    read_bodies(l, index, v);
    for (int k = 0; k < CLIP_KINDS; k++)
        softmax(rows_of(&l->clip[k], index), rlm_judge_clip_classes(k), v->clip[k]);
    for (int i = 0; i < JUDGE_SPANS; i++)
        v->span[i][0] = 1;
    read_onsets(l, index, v);
}

/* Is one of the times within IN_STEP of s? */
static bool in_reach(float s, const float *times, int count)
{
    for (int i = 0; i < count; i++)
        if (fabsf(s - times[i]) <= (float)IN_STEP)
            return true;
    return false;
}

int rlm_judge_in_step(const rlm_judge_view *v)
{
    if (!v->contacts)
        return -1;
    for (int i = 0; i < v->contacts; i++)
        if (!in_reach(v->contact_s[i], v->onset_s, v->onsets))
            return 0;
    return 1;
}

/* ---- Right answers --------------------------------------------------------------------------- */

const char *const rlm_judge_score_names[SCORES] = {
    "count", "colour", "shape",   "size",  "material", "actor",   "event", "direction",
    "floor", "sky",    "weather", "style", "camera",   "contact", "sound"};

int rlm_judge_clip_score(int kind)
{
    static const int scores[CLIP_KINDS] = {SCORE_FLOOR,  SCORE_SKY,   SCORE_WEATHER,  SCORE_STYLE,
                                           SCORE_CAMERA, SCORE_EVENT, SCORE_DIRECTION};
    return scores[kind];
}

static void ask(rlm_judge_score *s, int what, bool right)
{
    s->asked[what]++;
    s->right[what] += right;
}

/* Faint contacts may be seen; two within a gap may be seen as one. */
static bool contacts_right(const rlm_judge_truth *t, const rlm_judge_view *v)
{
    for (int i = 0; i < t->contacts; i++)
        if (!in_reach(t->contact_s[i], v->contact_s, v->contacts))
            return false;
    for (int i = 0; i < v->contacts; i++)
        if (!in_reach(v->contact_s[i], t->contact_s, t->contacts) &&
            !in_reach(v->contact_s[i], t->faint_s, t->faint))
            return false;
    return true;
}

void rlm_judge_count(const rlm_judge_truth *t, const rlm_judge_view *v, rlm_judge_score *s)
{
    int count = 0, hardly = 0, actor = rlm_judge_actor(v);
    for (int c = 0; c < COLOURS; c++) {
        int seen = t->body[BODY_COLOUR][c];
        hardly |= seen < 0;
        count += seen > 0;
        if (seen >= 0)
            ask(s, SCORE_COLOUR, rlm_judge_there(v, c) == (seen == 1));
    }
    if (!hardly)
        ask(s, SCORE_COUNT, v->count == count);
    for (int i = 0; i < t->scene.count; i++) {
        const rlm_object *o = &t->scene.object[i];
        const rlm_judge_body *b = &v->body[o->colour];
        if (t->body[BODY_COLOUR][o->colour] != 1)
            continue;
        ask(s, SCORE_SHAPE, rlm_judge_best(b->p[BODY_SHAPE], SHAPES) == o->shape);
        ask(s, SCORE_SIZE, rlm_judge_best(b->p[BODY_SIZE], SIZES) == o->size);
        if (t->scene.style == PHOTO)
            ask(s, SCORE_MATERIAL, rlm_judge_best(b->p[BODY_MATERIAL], MATERIALS) == o->material);
        if (o->role == ACTOR)
            ask(s, SCORE_ACTOR, actor == o->colour);
    }
    for (int k = 0; k < CLIP_KINDS; k++)
        ask(s, rlm_judge_clip_score(k),
            rlm_judge_best(v->clip[k], rlm_judge_clip_classes(k)) == t->clip[k]);
    ask(s, SCORE_CONTACT, contacts_right(t, v));
}

/* ---- The file -------------------------------------------------------------------------------- */

int rlm_judge_save(const char *path, const rlm_judge_config *c, const rlm_params *p,
                   const float *data, const char *note, rlm_error *err)
{
    rlm_st_writer w;
    cJSON *o = cJSON_CreateObject();
    int code = o ? rlm_fields_write(o, rlm_judge_fields, rlm_judge_field_count, c, err)
                 : rlm_fail(err, RLM_E_NOMEM, "judge: no memory");
    char *text = code ? NULL : cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    RLM_TRY(code);
    if (!text)
        return rlm_fail(err, RLM_E_NOMEM, "judge: no memory");
    rlm_st_writer_init(&w);
    rlm_st_add_meta(&w, "format", "reelm-judge 1");
    rlm_st_add_meta(&w, "config", text);
    if (note)
        rlm_st_add_meta(&w, "note", note);
    code = rlm_params_save(p, &w, "", RLM_BF16, data, err);
    if (!code)
        code = rlm_st_commit(&w, path, err);
    rlm_st_writer_free(&w);
    free(text);
    return code;
}

static int read_config(rlm_judge_config *c, const rlm_safetensors *st, const char *path,
                       rlm_error *err)
{
    const char *format = rlm_st_meta(st, "format"), *text = rlm_st_meta(st, "config");
    if (!format || strcmp(format, "reelm-judge 1") || !text)
        return rlm_fail(err, RLM_E_MODEL, "%s: is not the weights of a judge", path);
    cJSON *o = cJSON_Parse(text);
    rlm_judge_config_defaults(c);
    int code = cJSON_IsObject(o)
                   ? rlm_fields_read(o, rlm_judge_fields, rlm_judge_field_count, c, path, err)
                   : rlm_fail(err, RLM_E_MODEL, "%s: its configuration is not JSON", path);
    cJSON_Delete(o);
    return code;
}

/* Scratch of a look at one clip, by a dry run. */
static int plan(rlm_judge *j, rlm_error *err)
{
    rlm_kernels empty;
    rlm_judge_logits l;
    rlm_tensor out[CROP_KINDS];
    rlm_kernels_empty(&empty, &j->kernels);
    RLM_TRY(rlm_arena_reserve(&j->arena, (size_t)1 << 36, err));
    j->run = (rlm_run){.k = &empty, .arena = &j->arena, .par = j->par};
    rlm_judge_forward(&j->run, j->net, 1, NULL, NULL, &l);
    rlm_arena_alloc(&j->arena, JUDGE_CROP_SCRATCH);
    for (int i = 0; i < LOOKS; i++)
        rlm_judge_crop_forward(&j->run, j->crops[i], COLOURS * CROP_MOMENTS, NULL, out);
    rlm_arena_rewind(&j->arena, 0);
    j->run.k = &j->kernels;
    return rlm_arena_commit(&j->arena, j->arena.peak, err);
}

static int open_all(rlm_judge *j, const rlm_safetensors *st, const char *path, int threads,
                    const char *cpu_mask, rlm_error *err)
{
    const char *note = rlm_st_meta(st, "note");
    RLM_TRY(read_config(&j->config, st, path, err));
    j->note = rlm_strdup(note ? note : "");
    RLM_TRY(rlm_kernels_init(&j->kernels, cpu_mask, err));
    RLM_TRY(rlm_par_open(&j->par, threads, err));
    RLM_TRY(rlm_judge_net_new(&j->net, &j->config, &j->params, err));
    for (int i = 0; i < LOOKS; i++)
        RLM_TRY(rlm_judge_crop_new(&j->crops[i], i, &j->params, err));
    RLM_TRY(rlm_params_allocate(&j->params, false, err));
    RLM_TRY(rlm_params_load(&j->params, st, "", err));
    RLM_TRY(rlm_params_pack(&j->params, &j->kernels, j->par, false, err));
    RLM_TRY(rlm_judge_net_plan(j->net, 1, err));
    j->pixels = rlm_alloc(JUDGE_FLOATS * sizeof(float));
    j->bands = rlm_alloc(JUDGE_HEARD * JUDGE_BANDS * sizeof(float));
    if (!j->pixels || !j->bands || !j->note)
        return rlm_fail(err, RLM_E_NOMEM, "judge: no memory for a clip");
    return plan(j, err);
}

int rlm_judge_load(rlm_judge **out, const char *path, int threads, const char *cpu_mask,
                   rlm_error *err)
{
    rlm_safetensors st;
    *out = NULL;
    RLM_TRY(rlm_st_open(&st, path, err));
    rlm_judge *j = rlm_calloc(1, sizeof *j);
    int code = j ? open_all(j, &st, path, threads, cpu_mask, err)
                 : rlm_fail(err, RLM_E_NOMEM, "judge: no memory");
    rlm_st_close(&st);
    if (code)
        rlm_judge_close(&j);
    *out = j;
    return code;
}

void rlm_judge_close(rlm_judge **judge)
{
    rlm_judge *j = *judge;
    if (!j)
        return;
    rlm_judge_net_free(&j->net);
    for (int i = 0; i < LOOKS; i++)
        rlm_judge_crop_free(&j->crops[i]);
    rlm_params_free(&j->params);
    if (j->arena.base)
        rlm_arena_release(&j->arena);
    if (j->par)
        rlm_par_close(&j->par);
    rlm_free(j->pixels);
    rlm_free(j->bands);
    rlm_free(j->note);
    rlm_free(j);
    *judge = NULL;
}

/* j->pixels and j->bands as they are. */
static void look_once(rlm_judge *j, rlm_judge_view *view)
{
    rlm_judge_logits l;
    rlm_arena_rewind(&j->arena, 0);
    rlm_judge_forward(&j->run, j->net, 1, j->pixels, j->bands, &l);
    rlm_judge_read(&l, 0, view);
    rlm_judge_look_again(&j->run, j->crops, &l, 0, j->pixels, view);
}

void rlm_judge_look(rlm_judge *j, const rlm_clip *clip, rlm_judge_view *view)
{
    rlm_judge_view mirrored;
    rlm_judge_pixels(&clip->video, j->pixels);
    rlm_judge_bands(&clip->audio, j->bands);
    look_once(j, view);
    rlm_judge_mirror(j->pixels, NULL);
    look_once(j, &mirrored);
    rlm_judge_merge(view, &mirrored);
    rlm_judge_settle(view);
}
