/* The judge asked about clips in memory: how many of the facts that a prompt names are there. */
#include <cjson/cJSON.h>

#include "src/media/media.h"
#include "src/train/eval.h"
#include "src/train/judge.h"

void rlm_judge_want(rlm_want *want)
{
    rlm_want_defaults(want);
    want->width = want->height = JUDGE_SIDE;
    want->fps_num = JUDGE_FPS;
    want->fps_den = 1;
    want->max_frames = JUDGE_FRAMES;
    want->max_seconds = 3;
    want->rate = SOUND_RATE;
    want->channels = 1;
}

int rlm_judge_fit(rlm_clip *clip, const char *name, rlm_error *err)
{
    int code = clip->video.count ? rlm_frames_hold(&clip->video, JUDGE_FRAMES, err)
                                 : rlm_fail(err, RLM_E_MEDIA, "%s: has no picture to judge", name);
    if (code)
        rlm_clip_free(clip);
    return code;
}

int rlm_judge_licensed(const rlm_judge *judge, const char *path, rlm_error *err)
{
    cJSON *note = cJSON_Parse(judge->note);
    int may = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(note, "may_judge"));
    cJSON_Delete(note);
    return may ? 0
               : rlm_fail(err, RLM_E_MODEL,
                          "%s: this judge has not been shown to be right: score it on renders "
                          "first, with --certify",
                          path);
}

int rlm_judge_open(rlm_judge **out, const char *path, int threads, const char *cpu_mask,
                   rlm_error *err)
{
    RLM_TRY(rlm_judge_load(out, path, threads, cpu_mask, err));
    int code = rlm_judge_licensed(*out, path, err);
    if (code)
        rlm_judge_close(out);
    return code;
}

int rlm_judge_asks(const char *prompt)
{
    rlm_claim claim;
    return rlm_judge_claim(NULL, prompt, &claim);
}

/* Bodies of other colours than those named, and those that stand there twice. */
static double extra_bodies(const rlm_claim *c, const rlm_judge_view *v)
{
    int named = c->count > c->bodies ? c->count : c->bodies;
    double extra = named && v->count > named ? v->count - named : 0;
    for (int i = 0; i < COLOURS; i++)
        if (rlm_judge_there(v, i) && v->pieces[i] > 1)
            extra += v->pieces[i] - 1;
    return extra;
}

int rlm_judge_clip(rlm_judge *judge, const rlm_clip *clip, const char *prompt, rlm_verdict *out,
                   rlm_error *err)
{
    rlm_want want;
    rlm_claim claim;
    rlm_clip fit = {0};
    rlm_judge_view view;
    rlm_judge_score score = {0};
    *out = (rlm_verdict){0};
    if (!rlm_judge_claim(NULL, prompt, &claim))
        return rlm_fail(err, RLM_E_ARG, "judge: the prompt names nothing of the playground");
    rlm_judge_want(&want);
    RLM_TRY(rlm_clip_convert(clip, &want, &fit, err));
    RLM_TRY(rlm_judge_fit(&fit, "judge", err));
    rlm_judge_look(judge, &fit, &view);
    rlm_judge_answer(&claim, &view, fit.audio.count > 0, NULL, &score);
    rlm_clip_free(&fit);
    for (int i = 0; i < SCORES; i++) {
        out->asked += (int)score.asked[i];
        out->holds += (int)score.right[i];
    }
    out->extra = extra_bodies(&claim, &view);
    out->log_likelihood = score.log_likelihood;
    return 0;
}

int rlm_verdict_better(const rlm_verdict *a, const rlm_verdict *b)
{
    double wrong_a = a->asked - a->holds + a->extra, wrong_b = b->asked - b->holds + b->extra;
    if (wrong_a != wrong_b)
        return wrong_a < wrong_b;
    return a->log_likelihood > b->log_likelihood;
}
