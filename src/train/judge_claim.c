/* Which of the facts that are asked of a clip hold, as JSON. */
#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

#include "src/train/judge.h"

static const double LEAST_P = 1e-3; /* no answer is surer than the judge has been shown to be */

/* ---- What is asked --------------------------------------------------------------------------- */

static int value_of(const cJSON *object, const char *key, int fact)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);
    for (int i = 0; cJSON_IsString(v) && i < rlm_fact_values(fact); i++)
        if (!strcmp(v->valuestring, rlm_fact_name(fact, i)))
            return i;
    return -1;
}

int rlm_judge_claim(const cJSON *facts, const char *prompt, rlm_claim *c)
{
    static const char *const keys[] = {"colour", "shape", "material",  "size",
                                       "floor",  "sky",   "weather",   "camera",
                                       "style",  "event", "direction", "light"};
    static const char *const roles[] = {"actor", "target", "bystander"};
    const cJSON *objects = cJSON_GetObjectItemCaseSensitive(facts, "objects"), *o;
    if (!cJSON_IsArray(objects))
        return rlm_claim_read(prompt ? prompt : "", c);
    int said = 0;
    memset(c, 0, sizeof *c);
    memset(c->fact, -1, sizeof c->fact);
    for (int k = FACT_FLOOR; k < FACTS; k++) {
        c->fact[k] = value_of(facts, keys[k], k);
        said += c->fact[k] >= 0;
    }
    cJSON_ArrayForEach(o, objects)
    {
        if (c->bodies == MAX_OBJECTS)
            break;
        const cJSON *role = cJSON_GetObjectItemCaseSensitive(o, "role");
        c->role[c->bodies] = BYSTANDER;
        for (int i = 0; i < 3 && cJSON_IsString(role); i++)
            if (!strcmp(role->valuestring, roles[i]))
                c->role[c->bodies] = i;
        for (int k = 0; k < RLM_BODY_FACTS; k++) {
            c->body[c->bodies][k] = value_of(o, keys[k], k);
            said += c->body[c->bodies][k] >= 0;
        }
        c->bodies++;
    }
    const cJSON *count = cJSON_GetObjectItemCaseSensitive(facts, "count");
    c->count = cJSON_IsNumber(count) ? count->valueint : 0;
    return said + (c->count > 0);
}

/* ---- Answers --------------------------------------------------------------------------------- */

/* Where answers go: rows may be NULL. */
typedef struct answers {
    cJSON *rows;
    rlm_judge_score *score;
} answers;

/* One row: {"fact", "of" (a body's colour), "said", "seen", "holds"}. p: how likely the judge finds
 * what was said. */
static void answer(const answers *to, int what, const char *of, const char *said, const char *seen,
                   bool holds, double p)
{
    cJSON *row = to->rows ? cJSON_CreateObject() : NULL;
    if (row) {
        cJSON_AddStringToObject(row, "fact", rlm_judge_score_names[what]);
        if (of)
            cJSON_AddStringToObject(row, "of", of);
        cJSON_AddStringToObject(row, "said", said);
        cJSON_AddStringToObject(row, "seen", seen);
        cJSON_AddBoolToObject(row, "holds", holds);
        cJSON_AddItemToArray(to->rows, row);
    }
    to->score->asked[what]++;
    to->score->right[what] += holds;
    to->score->log_likelihood += log(p > LEAST_P ? p : LEAST_P);
}

/* That exactly the colours that seem to be there are. */
static double count_likelihood(const rlm_judge_view *v)
{
    double p = 1;
    for (int c = 0; c < COLOURS; c++)
        p *= rlm_judge_there(v, c) ? v->body[c].p[BODY_COLOUR][1] : v->body[c].p[BODY_COLOUR][0];
    return p;
}

/* How well a body that is there fits its shape. */
static float likely(const rlm_judge_view *v, int colour, const int *said)
{
    return said[FACT_SHAPE] < 0 ? 0 : v->body[colour].p[BODY_SHAPE][said[FACT_SHAPE]];
}

/* A body named without a colour is the likeliest of its shape; -1: none. */
static int find_body(const rlm_judge_view *v, const int *said)
{
    int best = -1;
    if (said[FACT_COLOUR] >= 0)
        return said[FACT_COLOUR];
    for (int c = 0; c < COLOURS; c++)
        if (rlm_judge_there(v, c) && (best < 0 || likely(v, c, said) > likely(v, best, said)))
            best = c;
    return best;
}

static void answer_body(const answers *to, const rlm_judge_view *v, const int *said, int role)
{
    static const int whats[] = {SCORE_COLOUR, SCORE_SHAPE, SCORE_MATERIAL, SCORE_SIZE};
    int c = find_body(v, said);
    bool there = c >= 0 && rlm_judge_there(v, c);
    const rlm_judge_body *b = &v->body[c < 0 ? 0 : c];
    const char *of = c < 0 ? NULL : rlm_fact_name(FACT_COLOUR, c);
    if (said[FACT_COLOUR] >= 0)
        answer(to, SCORE_COLOUR, NULL, of, there ? of : "none", there, b->p[BODY_COLOUR][1]);
    bool drawn = rlm_judge_best(v->clip[CLIP_STYLE], STYLES) != PHOTO;
    for (int k = FACT_SHAPE; k <= FACT_SIZE; k++) {
        if (said[k] < 0 || (k == FACT_MATERIAL && drawn))
            continue;
        int seen = there ? rlm_judge_best(b->p[k], rlm_fact_values(k)) : -1;
        answer(to, whats[k], of, rlm_fact_name(k, said[k]),
               seen < 0 ? "none" : rlm_fact_name(k, seen), seen == said[k],
               there ? (double)b->p[k][said[k]] : 0);
    }
    if (role == ACTOR && there) {
        int actor = rlm_judge_actor(v);
        answer(to, SCORE_ACTOR, NULL, of, rlm_fact_name(FACT_COLOUR, actor), actor == c,
               b->p[BODY_ROLE][ACTOR]);
    }
}

void rlm_judge_answer(const rlm_claim *c, const rlm_judge_view *v, bool sound, cJSON *rows,
                      rlm_judge_score *score)
{
    static const char *const numbers[] = {"none", "1", "2", "3", "4", "5", "6", "7", "8"};
    const answers to = {rows, score};
    double p = count_likelihood(v);
    if (c->count > 0 && c->count <= COLOURS)
        answer(&to, SCORE_COUNT, NULL, numbers[c->count], numbers[v->count], v->count == c->count,
               v->count == c->count ? p : 1 - p);
    for (int i = 0; i < c->bodies; i++)
        answer_body(&to, v, c->body[i], c->role[i]);
    for (int k = 0; k < CLIP_KINDS; k++) {
        int fact = rlm_judge_clip_fact(k), said = c->fact[fact];
        int seen = rlm_judge_best(v->clip[k], rlm_judge_clip_classes(k));
        if (said >= 0)
            answer(&to, rlm_judge_clip_score(k), NULL, rlm_fact_name(fact, said),
                   rlm_fact_name(fact, seen), seen == said, v->clip[k][said]);
    }
    int step = rlm_judge_in_step(v);
    if (sound && step >= 0)
        answer(&to, SCORE_SOUND, NULL, "in step", step ? "in step" : "not in step", step, step);
}
