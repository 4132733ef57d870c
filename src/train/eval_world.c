/* The judge at work: scored on renders whose facts are known, or asked about clips. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/pipeline.h"
#include "src/train/eval.h"
#include "src/train/judge.h"

static const double MEAN_NEEDED = 0.97, LEAST_NEEDED = 0.90;

typedef struct job {
    const rlm_eval_world_options *o;
    rlm_log log;
    rlm_judge *judge;
    rlm_world *world;
    rlm_engine *engine;
    rlm_session *session; /* these three: of the tokenizers */
    rlm_search *search;   /* NULL: the encoder's codes */
    rlm_judge_score score;
    cJSON *root, *clips;
    int64_t done;
    double began;
} job;

void rlm_eval_world_defaults(rlm_eval_world_options *o)
{
    memset(o, 0, sizeof *o);
    o->split = RLM_SPLIT_VALIDATION;
    o->count = 256;
}

static double share(const rlm_judge_score *s, int what)
{
    return (double)s->right[what] / (double)s->asked[what];
}

/* Facts, their mean and the least; facts never asked are left out. */
static void put_score(cJSON *root, const rlm_judge_score *s, const char *rate, double *mean,
                      double *least)
{
    cJSON *facts = cJSON_AddObjectToObject(root, "facts");
    int n = 0;
    *mean = 0;
    *least = 1;
    for (int i = 0; i < SCORES; i++) {
        if (!s->asked[i])
            continue;
        cJSON *row = cJSON_AddObjectToObject(facts, rlm_judge_score_names[i]);
        cJSON_AddNumberToObject(row, "asked", (double)s->asked[i]);
        cJSON_AddNumberToObject(row, rate, share(s, i));
        *mean += share(s, i);
        *least = share(s, i) < *least ? share(s, i) : *least;
        n++;
    }
    *mean = n ? *mean / n : 0;
    cJSON_AddNumberToObject(root, "mean", *mean);
    cJSON_AddNumberToObject(root, "least", n ? *least : 0);
}

static int tell(job *j, int64_t total, rlm_error *err)
{
    rlm_progress p = {.stage = RLM_STAGE_MEASURE,
                      .done = ++j->done,
                      .total = total,
                      .elapsed_s = rlm_now() - j->began};
    if (total > 0)
        p.eta_s = p.elapsed_s / (double)p.done * (double)(total - p.done);
    if (j->o->progress && j->o->progress(j->o->progress_cookie, &p))
        return rlm_fail(err, RLM_E_CANCELLED, "eval world: interrupted");
    return 0;
}

/* ---- Renders --------------------------------------------------------------------------------- */

/* Every other clip with a visible contact hears it late, early or not at all. Returns what is
 * right: 1 in step, 0 not; -1: too near to call. */
static int change_sound(const rlm_judge_truth *t, int64_t index, rlm_clip *clip, rlm_motion *m)
{
    rlm_pcm *a = &clip->audio;
    double shift = 0;
    int right = 1;
    rlm_scene scene = t->scene;
    rlm_motion_make(m, &scene, (double)JUDGE_FRAMES / JUDGE_FPS);
    if (index % 2 == 0)
        return 1;
    if (index % 4 == 1) {
        memset(a->samples, 0, (size_t)a->count * sizeof *a->samples);
        rlm_world_sound(&scene, m, SOUND_ALL & ~SOUND_IMPACTS, a->count, a->samples);
        return 0;
    }
    int64_t by = a->rate * (15 + index % 13) / 100;
    shift = (double)by / a->rate;
    memmove(a->samples + by, a->samples, (size_t)(a->count - by) * sizeof *a->samples);
    memcpy(a->samples, a->samples + by, (size_t)by * sizeof *a->samples);
    for (int i = 0; i < t->contacts; i++) { /* late, one contact may sound like the next */
        double nearest = 1;
        for (int k = 0; k < m->contacts; k++) {
            double late = fabs(m->contact[k].t + shift - (double)t->contact_s[i]);
            nearest = late < nearest ? late : nearest;
        }
        if (nearest > 0.04 && nearest < 0.08)
            return -1;
        right &= nearest <= 0.06;
    }
    return right;
}

static int better(void *search, const rlm_clip *clip, rlm_codes *video, rlm_codes *audio,
                  rlm_error *err)
{
    RLM_TRY(rlm_search_frames(search, &clip->video, video, err));
    return audio ? rlm_search_pcm(search, &clip->audio, audio, err) : 0;
}

static int round_trip(job *j, rlm_clip *clip, rlm_error *err)
{
    return rlm_clip_round_trip(j->session, clip, j->search ? better : NULL, j->search, err);
}

static int score_render(job *j, int64_t i, rlm_judge_truth *t, rlm_motion *m, rlm_error *err)
{
    rlm_clip clip = {0};
    rlm_judge_view view;
    uint64_t seed = rlm_world_seed(j->o->split, (uint64_t)(j->o->first + i));
    RLM_TRY(rlm_judge_render(j->world, seed, &clip, t, err));
    int in_step = t->contacts ? change_sound(t, i, &clip, m) : -1;
    int code = j->session ? round_trip(j, &clip, err) : 0;
    if (!code) {
        rlm_judge_look(j->judge, &clip, &view);
        rlm_judge_count(t, &view, &j->score);
        if (in_step >= 0) {
            j->score.asked[SCORE_SOUND]++;
            j->score.right[SCORE_SOUND] += rlm_judge_in_step(&view) == in_step;
        }
    }
    rlm_clip_free(&clip);
    return code;
}

static int score_renders(job *j, rlm_error *err)
{
    static const char *const splits[] = {"train", "validation", "test"};
    const rlm_eval_world_options *o = j->o;
    rlm_judge_truth *t = rlm_alloc(sizeof *t);
    rlm_motion *m = rlm_alloc(sizeof *m);
    int code = t && m ? 0 : rlm_fail(err, RLM_E_NOMEM, "eval world: no memory");
    if (!code)
        code = rlm_world_open(&j->world, 1, err);
    for (int64_t i = 0; i < o->count && !code; i++) {
        code = score_render(j, i, t, m, err);
        if (!code)
            code = tell(j, o->count, err);
    }
    rlm_free(t);
    rlm_free(m);
    RLM_TRY(code);
    double mean, least;
    cJSON_AddStringToObject(j->root, "split", splits[o->split]);
    cJSON_AddNumberToObject(j->root, "clips", (double)o->count);
    cJSON_AddBoolToObject(j->root, "round_trip", o->round_trip);
    if (o->search)
        cJSON_AddNumberToObject(j->root, "search", o->search);
    put_score(j->root, &j->score, "accuracy", &mean, &least);
    cJSON_AddBoolToObject(j->root, "may_judge", mean >= MEAN_NEEDED && least >= LEAST_NEEDED);
    return 0;
}

/* ---- Clips ----------------------------------------------------------------------------------- */

/* As the judge wants it. */
static int read_clip(const char *path, rlm_clip *clip, rlm_error *err)
{
    rlm_want want;
    rlm_judge_want(&want);
    RLM_TRY(rlm_media_read(path, &want, clip, err));
    return rlm_judge_fit(clip, path, err);
}

static int judge_clip(job *j, const char *path, const char *name, const cJSON *facts,
                      const char *prompt, rlm_error *err)
{
    rlm_claim claim;
    rlm_clip clip = {0};
    rlm_judge_view view;
    if (!rlm_judge_claim(facts, prompt, &claim))
        return rlm_fail(err, RLM_E_ARG, "%s: nothing of the playground is said of it", name);
    RLM_TRY(read_clip(path, &clip, err));
    int code = j->session ? round_trip(j, &clip, err) : 0;
    if (!code) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "clip", name);
        cJSON *rows = cJSON_AddArrayToObject(row, "answers");
        rlm_judge_look(j->judge, &clip, &view);
        rlm_judge_answer(&claim, &view, clip.audio.count > 0, rows, &j->score);
        cJSON_AddItemToArray(j->clips, row);
    }
    rlm_clip_free(&clip);
    return code;
}

/* One line of metadata.jsonl. A line that names no facts is passed by with a word. */
static int judge_line(job *j, const char *folder, const char *line, rlm_error *err)
{
    rlm_error why = {0};
    char path[4096];
    cJSON *o = cJSON_Parse(line);
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(o, "file_name");
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(o, "text");
    int code = 0;
    if (!cJSON_IsString(name) || strstr(name->valuestring, "..")) {
        code = rlm_fail(err, RLM_E_FORMAT, "%s/metadata.jsonl: a line names no file", folder);
    } else {
        snprintf(path, sizeof path, "%s/%s", folder, name->valuestring);
        code = judge_clip(j, path, name->valuestring, o,
                          cJSON_IsString(text) ? text->valuestring : NULL, &why);
        if (code == RLM_E_ARG || code == RLM_E_MEDIA || code == RLM_E_IO) {
            rlm_logf(&j->log, 1, "%s", why.text);
            code = 0;
        } else if (code && err) {
            *err = why;
        }
    }
    cJSON_Delete(o);
    return code ? code : tell(j, 0, err);
}

static int judge_folder(job *j, const char *folder, rlm_error *err)
{
    char path[4096], *text, *next;
    size_t bytes;
    int code = 0;
    snprintf(path, sizeof path, "%s/metadata.jsonl", folder);
    RLM_TRY(rlm_file_read(path, (size_t)1 << 30, &text, &bytes, err));
    for (char *line = text; line && *line && !code; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        if (*line)
            code = judge_line(j, folder, line, err);
    }
    rlm_free(text);
    return code;
}

static int judge_inputs(job *j, rlm_error *err)
{
    const rlm_eval_world_options *o = j->o;
    double mean, least;
    j->clips = cJSON_AddArrayToObject(j->root, "clips");
    for (int i = 0; i < o->input_count; i++) {
        if (rlm_is_dir(o->inputs[i]))
            RLM_TRY(judge_folder(j, o->inputs[i], err));
        else
            RLM_TRY(judge_clip(j, o->inputs[i], o->inputs[i], NULL, o->prompt, err));
    }
    if (!cJSON_GetArraySize(j->clips))
        return rlm_fail(err, RLM_E_MEDIA, "eval world: no clip could be judged");
    put_score(j->root, &j->score, "holds", &mean, &least);
    return 0;
}

/* ---- The door -------------------------------------------------------------------------------- */

/* What the judge's file says of its own score; a judge without is no judge. */
static int check_licence(const job *j, rlm_error *err)
{
    RLM_TRY(rlm_judge_licensed(j->judge, j->o->judge, err));
    cJSON_AddItemToObject(j->root, "judge", cJSON_Parse(j->judge->note));
    return 0;
}

/* Write the score into the judge's file. */
static int certify(job *j, rlm_error *err)
{
    const cJSON *may = cJSON_GetObjectItemCaseSensitive(j->root, "may_judge");
    if (!cJSON_IsTrue(may))
        return rlm_fail(err, RLM_E_MODEL, "%s: mean %.4f, least %.4f; needed: %.2f, %.2f",
                        j->o->judge, cJSON_GetObjectItem(j->root, "mean")->valuedouble,
                        cJSON_GetObjectItem(j->root, "least")->valuedouble, MEAN_NEEDED,
                        LEAST_NEEDED);
    char *note = cJSON_PrintUnformatted(j->root);
    int code =
        note ? rlm_judge_save(j->o->judge, &j->judge->config, &j->judge->params, NULL, note, err)
             : rlm_fail(err, RLM_E_NOMEM, "eval world: no memory");
    cJSON_free(note);
    return code;
}

static int open_all(job *j, rlm_error *err)
{
    const rlm_eval_world_options *o = j->o;
    if (!o->judge)
        return rlm_fail(err, RLM_E_ARG, "eval world: no judge given");
    if (!o->input_count && (o->count < 1 || o->split < 0 || o->split >= RLM_SPLITS || o->first < 0))
        return rlm_fail(err, RLM_E_RANGE, "eval world: %lld clips of split %d from %lld",
                        (long long)o->count, o->split, (long long)o->first);
    RLM_TRY(rlm_judge_load(&j->judge, o->judge, o->threads, o->cpu_mask, err));
    if (o->input_count)
        RLM_TRY(check_licence(j, err));
    if (!o->round_trip)
        return 0;
    rlm_options options;
    rlm_options_defaults(&options);
    options.threads = o->threads;
    options.cpu_mask = o->cpu_mask;
    RLM_TRY(rlm_open(&j->engine, o->model_dir, &options, err));
    RLM_TRY(rlm_session_open(&j->session, j->engine, err));
    rlm_search_options s = {.model_dir = o->model_dir,
                            .steps = o->search,
                            .perceptual = o->perceptual,
                            .threads = o->threads,
                            .cpu_mask = o->cpu_mask};
    return o->search ? rlm_search_open(&j->search, &s, err) : 0;
}

int rlm_eval_world(const rlm_eval_world_options *o, char **json, rlm_error *err)
{
    job j = {
        .o = o, .log = {o->log, o->log_cookie}, .root = cJSON_CreateObject(), .began = rlm_now()};
    *json = NULL;
    int code = j.root ? open_all(&j, err) : rlm_fail(err, RLM_E_NOMEM, "eval world: no memory");
    if (!code)
        code = o->input_count ? judge_inputs(&j, err) : score_renders(&j, err);
    if (!code && o->certify)
        code = o->input_count || o->round_trip
                   ? rlm_fail(err, RLM_E_ARG, "eval world: a judge is certified on clean renders")
                   : certify(&j, err);
    char *text = code ? NULL : cJSON_Print(j.root);
    if (text)
        *json = rlm_strdup(text);
    if (!code && !*json)
        code = rlm_fail(err, RLM_E_NOMEM, "eval world: no memory");
    cJSON_free(text);
    cJSON_Delete(j.root);
    rlm_search_close(&j.search);
    rlm_session_close(&j.session);
    rlm_close(&j.engine);
    rlm_world_close(&j.world);
    rlm_judge_close(&j.judge);
    return code;
}
