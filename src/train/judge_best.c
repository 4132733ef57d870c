/* Clips of several seeds, of which the judge keeps one: sampling by rank, as texts to pictures are
 * often drawn (Ramesh et al. 2021, section 2.6). Candidates are ranked, never changed. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/train/judge.h"

typedef struct best {
    rlm_request request; /* of the candidate at work */
    const char *tokens;  /* the caller's file, or NULL */
    char *next;          /* where a candidate's tokens lie until it is kept; heap, or NULL */
    cJSON *settings;     /* of the caller, or NULL */
} best;

static int best_open(best *b, const rlm_request *request, rlm_error *err)
{
    *b = (best){.request = *request, .tokens = request->save_tokens};
    if (b->tokens) {
        size_t room = strlen(b->tokens) + sizeof ".next";
        b->next = rlm_alloc(room);
        if (!b->next)
            return rlm_fail(err, RLM_E_NOMEM, "best: no memory");
        snprintf(b->next, room, "%s.next", b->tokens);
    }
    b->settings = request->settings ? cJSON_Parse(request->settings) : NULL;
    b->request.save_tokens = b->next;
    return !request->settings || b->settings
               ? 0
               : rlm_fail(err, RLM_E_ARG, "best: the settings are not JSON");
}

static void best_close(best *b)
{
    rlm_free(b->next);
    cJSON_Delete(b->settings);
}

/* The candidate of a seed, as it would come alone. */
static int candidate(best *b, rlm_session *s, uint64_t seed, rlm_clip *clip, rlm_report *report,
                     rlm_error *err)
{
    char digits[24], *text = NULL;
    b->request.seed = seed;
    if (b->settings) {
        snprintf(digits, sizeof digits, "%llu", (unsigned long long)seed);
        cJSON *raw = cJSON_CreateRaw(digits); /* a number loses digits */
        if (!cJSON_ReplaceItemInObject(b->settings, "seed", raw))
            cJSON_AddItemToObject(b->settings, "seed", raw);
        text = cJSON_PrintUnformatted(b->settings);
        if (!text)
            return rlm_fail(err, RLM_E_NOMEM, "best: no memory for the settings");
    }
    b->request.settings = text;
    int code = rlm_generate(s, &b->request, clip, report, err);
    cJSON_free(text);
    return code;
}

/* A candidate's tokens become those of the result, or go. */
static int settle_tokens(const best *b, bool kept, rlm_error *err)
{
    if (!b->next || access(b->next, F_OK))
        return 0;
    if (!kept)
        return remove(b->next) ? rlm_fail(err, RLM_E_IO, "%s: %s", b->next, strerror(errno)) : 0;
    return rename(b->next, b->tokens)
               ? rlm_fail(err, RLM_E_IO, "%s: %s", b->tokens, strerror(errno))
               : 0;
}

/* Times and memory are of all candidates, the rest of the one that is kept. */
static void add_report(rlm_report *sum, const rlm_report *one, bool kept)
{
    const rlm_report before = *sum;
    if (kept)
        *sum = *one;
    sum->prefill_s = before.prefill_s + one->prefill_s;
    sum->sample_s = before.sample_s + one->sample_s;
    sum->decode_s = before.decode_s + one->decode_s;
    sum->peak_bytes = before.peak_bytes > one->peak_bytes ? before.peak_bytes : one->peak_bytes;
}

/* The next candidate, which takes the place of the best so far when it is better. */
static int try_next(best *b, rlm_session *s, rlm_judge *judge, int i, rlm_clip *out,
                    rlm_report *report, rlm_choice *choice, rlm_error *err)
{
    rlm_clip clip = {0};
    rlm_report one = {0};
    rlm_verdict v = {0};
    int code = candidate(b, s, choice->first + (uint64_t)i, &clip, &one, err);
    bool whole = !code;
    if (whole)
        code = rlm_judge_clip(judge, &clip, b->request.prompt, &v, err);
    bool kept = i == 0 || (whole && !code && rlm_verdict_better(&v, &choice->verdict));
    if (kept) {
        rlm_clip_free(out);
        *out = clip;
        choice->seed = b->request.seed;
        choice->verdict = v;
    } else {
        rlm_clip_free(&clip);
    }
    choice->tried += whole;
    add_report(report, &one, kept);
    int stored = settle_tokens(b, kept, code ? NULL : err);
    return code ? code : stored;
}

int rlm_generate_best(rlm_session *session, rlm_judge *judge, const rlm_request *request, int count,
                      rlm_clip *out, rlm_report *report, rlm_choice *choice, rlm_error *err)
{
    best b;
    *out = (rlm_clip){0};
    *report = (rlm_report){0};
    *choice = (rlm_choice){.seed = request->seed, .first = request->seed};
    if (request->resume_tokens || request->dry_run)
        return rlm_fail(err, RLM_E_ARG, "best: neither goes on with tokens nor runs dry");
    int code = best_open(&b, request, err);
    if (!code)
        rlm_session_batch(session, count);
    for (int i = 0; i < count && !code; i++)
        code = try_next(&b, session, judge, i, out, report, choice, err);
    if (code && code != RLM_E_CANCELLED)
        rlm_clip_free(out);
    best_close(&b);
    return code;
}
