/* Which of the facts that are asked of a clip hold, as JSON. */
#include <cjson/cJSON.h>
#include <string.h>

#include "src/train/judge.h"

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

/* One row: {"fact", "of" (a body's colour), "said", "seen", "holds"}. */
static void answer(cJSON *rows, rlm_judge_score *score, int what, const char *of, const char *said,
                   const char *seen, bool holds)
{
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "fact", rlm_judge_score_names[what]);
    if (of)
        cJSON_AddStringToObject(row, "of", of);
    cJSON_AddStringToObject(row, "said", said);
    cJSON_AddStringToObject(row, "seen", seen);
    cJSON_AddBoolToObject(row, "holds", holds);
    cJSON_AddItemToArray(rows, row);
    score->asked[what]++;
    score->right[what] += holds;
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

static void answer_body(cJSON *rows, rlm_judge_score *score, const rlm_judge_view *v,
                        const int *said, int role)
{
    static const int whats[] = {SCORE_COLOUR, SCORE_SHAPE, SCORE_MATERIAL, SCORE_SIZE};
    int c = find_body(v, said);
    bool there = c >= 0 && rlm_judge_there(v, c);
    const rlm_judge_body *b = &v->body[c < 0 ? 0 : c];
    const char *of = c < 0 ? NULL : rlm_fact_name(FACT_COLOUR, c);
    if (said[FACT_COLOUR] >= 0)
        answer(rows, score, SCORE_COLOUR, NULL, of, there ? of : "none", there);
    bool drawn = rlm_judge_best(v->clip[CLIP_STYLE], STYLES) != PHOTO;
    for (int k = FACT_SHAPE; k <= FACT_SIZE; k++) {
        if (said[k] < 0 || (k == FACT_MATERIAL && drawn))
            continue;
        int seen = there ? rlm_judge_best(b->p[k], rlm_fact_values(k)) : -1;
        answer(rows, score, whats[k], of, rlm_fact_name(k, said[k]),
               seen < 0 ? "none" : rlm_fact_name(k, seen), seen == said[k]);
    }
    if (role == ACTOR && there) {
        int actor = rlm_judge_actor(v);
        answer(rows, score, SCORE_ACTOR, NULL, of, rlm_fact_name(FACT_COLOUR, actor), actor == c);
    }
}

void rlm_judge_answer(const rlm_claim *c, const rlm_judge_view *v, bool sound, cJSON *rows,
                      rlm_judge_score *score)
{
    static const char *const numbers[] = {"none", "1", "2", "3", "4", "5", "6", "7", "8"};
    if (c->count > 0 && c->count <= COLOURS)
        answer(rows, score, SCORE_COUNT, NULL, numbers[c->count], numbers[v->count],
               v->count == c->count);
    for (int i = 0; i < c->bodies; i++)
        answer_body(rows, score, v, c->body[i], c->role[i]);
    for (int k = 0; k < CLIP_KINDS; k++) {
        int fact = rlm_judge_clip_fact(k), said = c->fact[fact];
        int seen = rlm_judge_best(v->clip[k], rlm_judge_clip_classes(k));
        if (said >= 0)
            answer(rows, score, rlm_judge_clip_score(k), NULL, rlm_fact_name(fact, said),
                   rlm_fact_name(fact, seen), seen == said);
    }
    int step = rlm_judge_in_step(v);
    if (sound && step >= 0)
        answer(rows, score, SCORE_SOUND, NULL, "in step", step ? "in step" : "not in step", step);
}
