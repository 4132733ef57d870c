/* The judge: what it is taught, what it is fed, how its answers are read, and how right the bundled
 * one is. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/base/rng.h"
#include "src/train/judge.h"
#include "tests/test.h"

static const char bundled[] = "assets/world/judge.safetensors";

/* Truth of cells, bodies and contacts against the scene it was made from. */
static void case_truth(void)
{
    rlm_world *world = NULL;
    rlm_judge_truth *t = malloc(sizeof *t);
    rlm_motion *m = malloc(sizeof *m);
    int contacts = 0, cells = 0;
    CHECK(rlm_world_open(&world, 1, NULL) == 0);
    for (uint64_t i = 0; i < 16; i++) {
        rlm_clip clip = {0};
        rlm_scene s;
        uint64_t seed = rlm_world_seed(RLM_SPLIT_VALIDATION, i);
        CHECK(rlm_judge_render(world, seed, &clip, t, NULL) == 0);
        CHECK(clip.video.count == JUDGE_FRAMES && clip.video.width == JUDGE_SIDE);
        rlm_scene_make(&s, seed, -1);
        rlm_motion_make(m, &s, (double)JUDGE_FRAMES / JUDGE_FPS);
        for (int b = 0; b < s.count; b++) {
            const rlm_object *o = &s.object[b];
            CHECK(t->body[BODY_COLOUR][o->colour] != 0);
            CHECK(t->body[BODY_COLOUR][o->colour] != 1 ||
                  (t->body[BODY_SHAPE][o->colour] == o->shape &&
                   t->body[BODY_ROLE][o->colour] == o->role));
        }
        for (int k = 0; k < JUDGE_CELLS; k++) {
            int colour = t->cell[BODY_COLOUR][k] - 1, owner = -1;
            for (int b = 0; b < s.count; b++)
                owner = s.object[b].colour == colour ? b : owner;
            CHECK(colour < 0 || owner >= 0);
            CHECK(colour < 0 || t->cell[BODY_SHAPE][k] == s.object[owner].shape);
            cells += colour >= 0;
        }
        for (int k = 0; k < t->contacts; k++) {
            int span = (int)(t->contact_s[k] * JUDGE_FPS), tick = (int)(t->contact_s[k] * 100);
            const rlm_contact *c = NULL;
            for (int n = 0; n < m->contacts; n++)
                if (fabs(m->contact[n].t - (double)t->contact_s[k]) < 1e-6)
                    c = &m->contact[n];
            CHECK(c && t->contact[c->a][span] > 0 && (c->b < 0 || t->contact[c->b][span] > 0));
            CHECK(t->heard[tick + JUDGE_AHEAD] == 1 || t->heard[tick + 1 + JUDGE_AHEAD] == 1);
            contacts++;
        }
        rlm_clip_free(&clip);
    }
    CHECK(contacts > 5 && cells > 500);
    rlm_world_close(&world);
    free(t);
    free(m);
}

static void case_mirror(void)
{
    float *x = malloc(JUDGE_FLOATS * sizeof *x), *y = malloc(JUDGE_FLOATS * sizeof *y);
    rlm_judge_truth *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    for (int i = 0; i < JUDGE_FLOATS; i++)
        x[i] = y[i] = rlm_rng_uniform(1, 2, (uint64_t)i);
    for (int i = 0; i < JUDGE_CELLS; i++)
        a->cell[1][i] = (int8_t)rlm_rng_below(1, 3, (uint64_t)i, 5);
    a->clip[CLIP_DIRECTION] = LEFT;
    a->clip[CLIP_CAMERA] = PAN_RIGHT;
    *b = *a;
    rlm_judge_mirror(x, b);
    CHECK(b->clip[CLIP_DIRECTION] == RIGHT && b->clip[CLIP_CAMERA] == PAN_LEFT);
    CHECK(x[0] == y[(JUDGE_SIDE - 1) * 3] && b->cell[1][0] == a->cell[1][JUDGE_GRID - 1]);
    rlm_judge_mirror(x, b);
    CHECK(!memcmp(x, y, JUDGE_FLOATS * sizeof *x) && !memcmp(a, b, sizeof *a));
    free(x);
    free(y);
    free(a);
    free(b);
}

/* Left in the clip and right in its mirror image are one word; what is not of a side is averaged.
 */
static void case_merge(void)
{
    rlm_judge_view a, m;
    memset(&a, 0, sizeof a);
    memset(&m, 0, sizeof m);
    a.clip[CLIP_DIRECTION][LEFT] = m.clip[CLIP_DIRECTION][RIGHT] = 1;
    a.clip[CLIP_CAMERA][PAN_RIGHT] = m.clip[CLIP_CAMERA][PAN_LEFT] = 1;
    a.clip[CLIP_EVENT][ROLL] = m.clip[CLIP_EVENT][SLIDE] = 1;
    a.body[BLUE].p[BODY_COLOUR][1] = 1;
    m.body[BLUE].p[BODY_COLOUR][1] = 0.5f;
    a.body[PINK].p[BODY_COLOUR][1] = 0.75f;
    a.span[3][8] = a.span[4][1] = 0.75f; /* one contact on the border of two gaps */
    m.span[3][8] = m.span[4][1] = 0.75f;
    a.span[9][4] = 0.5f; /* seen in one of the two only */
    rlm_judge_merge(&a, &m);
    rlm_judge_settle(&a);
    CHECK(a.clip[CLIP_DIRECTION][LEFT] == 1 && a.clip[CLIP_CAMERA][PAN_RIGHT] == 1);
    CHECK(a.clip[CLIP_EVENT][ROLL] == 0.5f && a.clip[CLIP_EVENT][SLIDE] == 0.5f);
    CHECK(a.count == 1 && rlm_judge_there(&a, BLUE) && !rlm_judge_there(&a, PINK));
    CHECK(a.contacts == 1);
    CHECK_NEAR(a.contact_s[0], 0.5, 0.01);
}

/* A click is loudest at its tick; a tone in its band. */
static void case_bands(void)
{
    enum { COUNT = 34000 };
    float *wave = calloc(COUNT, sizeof *wave);
    float *bands = malloc(JUDGE_HEARD * JUDGE_BANDS * sizeof *bands);
    rlm_pcm pcm = {COUNT, 1, SOUND_RATE, wave};
    wave[16000] = 1;
    rlm_judge_bands(&pcm, bands);
    int loudest = 0;
    for (int t = 0; t < JUDGE_HEARD; t++)
        loudest = bands[t * JUDGE_BANDS + 20] > bands[loudest * JUDGE_BANDS + 20] ? t : loudest;
    CHECK(loudest == 100);
    for (int i = 0; i < COUNT; i++)
        wave[i] = 0.5f * (float)w_sin(2 * W_PI * 500 * i / SOUND_RATE);
    rlm_judge_bands(&pcm, bands);
    int best = rlm_judge_best(bands + 50 * JUDGE_BANDS, JUDGE_BANDS);
    CHECK(best == 8); /* 500 Hz is bin 8 of 62.5 Hz */
    pcm.count = 0;
    rlm_judge_bands(&pcm, bands);
    CHECK(bands[0] == bands[JUDGE_HEARD * JUDGE_BANDS - 1] && bands[0] < 0);
    free(wave);
    free(bands);
}

/* Pieces of a colour: what touches by a corner is one, half a cell is none. */
static void case_pieces(void)
{
    float p[JUDGE_GRID * JUDGE_GRID][3] = {{0}};
    CHECK(rlm_judge_pieces(&p[0][1], 3) == 0);
    p[0][1] = p[JUDGE_GRID + 1][1] = 0.9f; /* a corner */
    CHECK(rlm_judge_pieces(&p[0][1], 3) == 1);
    p[JUDGE_GRID - 1][1] = p[2 * JUDGE_GRID - 1][1] = 0.9f; /* the other end of the row */
    p[2 * JUDGE_GRID][1] = 0.9f; /* next in memory, not in the picture: below the first two */
    CHECK(rlm_judge_pieces(&p[0][1], 3) == 2);
    p[15 * JUDGE_GRID + 8][1] = 0.9f; /* one cell alone */
    p[15 * JUDGE_GRID + 9][1] = 0.45f;
    CHECK(rlm_judge_pieces(&p[0][1], 3) == 2);
    p[15 * JUDGE_GRID + 9][1] = 0.55f;
    CHECK(rlm_judge_pieces(&p[0][1], 3) == 3);
    for (int i = 0; i < JUDGE_GRID * JUDGE_GRID; i++)
        p[i][1] = 1;
    CHECK(rlm_judge_pieces(&p[0][1], 3) == 1);
}

/* A view in which a small red metal ball bounces on grass, told from what it is asked. */
static void case_answers(void)
{
    rlm_judge_view v;
    rlm_claim c;
    rlm_judge_score score = {0};
    memset(&v, 0, sizeof v);
    v.count = 1;
    v.body[RED].p[BODY_COLOUR][1] = 0.9f;
    v.body[RED].p[BODY_SHAPE][SHAPE_BALL] = 0.9f;
    v.body[RED].p[BODY_MATERIAL][METAL] = 0.9f;
    v.body[RED].p[BODY_SIZE][SMALL] = 0.9f;
    v.body[RED].p[BODY_ROLE][ACTOR] = 0.9f;
    v.clip[CLIP_EVENT][BOUNCE] = v.clip[CLIP_FLOOR][GRASS] = 0.9f;
    v.contacts = 2;
    v.contact_s[0] = 0.5f;
    v.contact_s[1] = 1.0f;
    v.onsets = 2;
    v.onset_s[0] = 0.45f;
    v.onset_s[1] = 1.05f;
    cJSON *rows = cJSON_CreateArray();
    CHECK(rlm_judge_claim(NULL, "a small red metal ball bounces on grass", &c) == 6);
    rlm_judge_answer(&c, &v, true, rows, &score);
    int asked = 0, right = 0;
    for (int i = 0; i < SCORES; i++) {
        asked += (int)score.asked[i];
        right += (int)score.right[i];
    }
    CHECK(asked == 8 && right == 8); /* and that it is the actor, and in step */
    CHECK(cJSON_GetArraySize(rows) == 8);
    CHECK(fabs(score.log_likelihood - 7 * log(0.9)) < 1e-6);
    memset(&score, 0, sizeof score);
    v.body[RED].p[BODY_SIZE][SMALL] = 0.4f;
    v.clip[CLIP_FLOOR][GRASS] = 0;
    rlm_judge_answer(&c, &v, false, NULL, &score);
    CHECK(fabs(score.log_likelihood - (5 * log(0.9) + log(0.4f) + log(1e-3))) < 1e-6);
    v.clip[CLIP_FLOOR][GRASS] = v.body[RED].p[BODY_SIZE][SMALL] = 0.9f;
    memset(&score, 0, sizeof score);
    v.onset_s[1] = 1.07f;
    rlm_judge_claim(NULL, "a big blue ball rolls on grass", &c);
    rlm_judge_answer(&c, &v, true, rows, &score);
    CHECK(score.right[SCORE_FLOOR] == 1 && score.right[SCORE_EVENT] == 0);
    CHECK(score.asked[SCORE_COLOUR] == 1 && score.right[SCORE_COLOUR] == 0);
    CHECK(score.right[SCORE_SIZE] == 0 && score.right[SCORE_SHAPE] == 0);
    CHECK(score.asked[SCORE_SOUND] == 1 && score.right[SCORE_SOUND] == 0);
    v.contacts = 0;
    CHECK(rlm_judge_in_step(&v) == -1);
    cJSON_Delete(rows);
}

/* Faint contacts are neither asked nor counted against the judge; two in a gap may be one. */
static void case_contacts(void)
{
    static const struct {
        float seen[3];
        int count, right;
    } views[] = {{{0.52f, 1.22f}, 2, 1}, {{0.52f, 0.90f, 1.22f}, 3, 1}, {{0.52f}, 1, 0},
                 {{0.58f, 1.22f}, 2, 0}, {{0.52f, 0.70f, 1.22f}, 3, 0}, {{0}, 0, 0}};
    rlm_judge_truth *t = calloc(1, sizeof *t);
    t->contacts = 3;
    t->contact_s[0] = 0.5f;
    t->contact_s[1] = 1.2f;
    t->contact_s[2] = 1.25f;
    t->faint = 1;
    t->faint_s[0] = 0.88f;
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        rlm_judge_view v;
        rlm_judge_score score = {0};
        memset(&v, 0, sizeof v);
        v.contacts = views[i].count;
        memcpy(v.contact_s, views[i].seen, sizeof views[i].seen);
        rlm_judge_count(t, &v, &score);
        if (score.asked[SCORE_CONTACT] != 1 || score.right[SCORE_CONTACT] != views[i].right)
            TEST_FAILED("view %d", (int)i);
    }
    free(t);
}

/* The facts of `reelm world` say what its scene says. */
static void case_facts(void)
{
    rlm_world_want want;
    rlm_world_want_defaults(&want);
    for (uint64_t seed = 0; seed < 20; seed++) {
        char *json = NULL;
        rlm_scene s;
        rlm_claim c;
        CHECK(rlm_world_facts(seed, &want, &json, NULL) == 0);
        cJSON *o = cJSON_Parse(json);
        rlm_scene_make(&s, seed, -1);
        CHECK(rlm_judge_claim(o, NULL, &c) == 8 + 1 + 4 * s.count);
        CHECK(c.count == s.count && c.bodies == s.count && c.fact[FACT_EVENT] == s.event);
        for (int b = 0; b < s.count; b++)
            CHECK(c.body[b][FACT_SHAPE] == s.object[b].shape && c.role[b] == s.object[b].role);
        cJSON_Delete(o);
        rlm_string_free(&json);
    }
}

/* A judge of random weights whose file claims that it may judge. */
static int random_judge(const char *path, const char *note, rlm_error *err)
{
    rlm_judge_config c = {.width = {16, 16, 16}, .heads = 1, .sound = 8};
    rlm_judge_config wide = {.width = {16, 16, 512}, .heads = 1, .sound = 8};
    CHECK(rlm_judge_config_check(&wide, err) == RLM_E_RANGE);
    rlm_params p = {0};
    rlm_judge_net *net = NULL;
    rlm_judge_crop *looks[LOOKS] = {NULL};
    int code = rlm_judge_net_new(&net, &c, &p, err);
    for (int i = 0; i < LOOKS && !code; i++)
        code = rlm_judge_crop_new(&looks[i], i, &p, err);
    if (!code)
        code = rlm_params_allocate(&p, false, err);
    if (!code) {
        rlm_judge_net_initialise(net, &p, 1);
        code = rlm_judge_save(path, &c, &p, NULL, note, err);
    }
    rlm_judge_net_free(&net);
    for (int i = 0; i < LOOKS; i++)
        rlm_judge_crop_free(&looks[i]);
    rlm_params_free(&p);
    return code;
}

/* One clip of the playground, one other line that says nothing of it, one whose file is gone. */
static void write_folder(const char *dir)
{
    char path[256], *json = NULL;
    rlm_world *world = NULL;
    rlm_clip clip = {0};
    rlm_world_want want;
    rlm_world_want_defaults(&want);
    CHECK(rlm_world_open(&world, 1, NULL) == 0);
    CHECK(rlm_world_clip(world, 7, &want, &clip, NULL, NULL) == 0);
    CHECK(rlm_world_facts(7, &want, &json, NULL) == 0);
    snprintf(path, sizeof path, "%s/a.mp4", dir);
    CHECK(rlm_media_write(path, &clip, NULL, NULL) == 0);
    snprintf(path, sizeof path, "%s/metadata.jsonl", dir);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    fprintf(f, "{\"file_name\":\"a.mp4\",%s\n", json + 1);
    fprintf(f, "{\"file_name\":\"a.mp4\",\"text\":\"waves on a beach\"}\n\n");
    fprintf(f, "{\"file_name\":\"gone.mp4\",\"text\":\"a red ball rolls\"}\n");
    fclose(f);
    rlm_string_free(&json);
    rlm_clip_free(&clip);
    rlm_world_close(&world);
}

static void case_folder(void)
{
    char dir[] = "/tmp/reelm-judge-XXXXXX", judge[64], file[64], command[64], *json = NULL;
    rlm_error err = {0};
    rlm_eval_world_options o;
    CHECK(mkdtemp(dir) != NULL);
    snprintf(judge, sizeof judge, "%s/judge.safetensors", dir);
    snprintf(file, sizeof file, "%s/a.mp4", dir);
    write_folder(dir);
    const char *inputs[] = {dir, file};
    rlm_eval_world_defaults(&o);
    o.judge = judge;
    o.inputs = inputs;
    o.input_count = 1;
    CHECK(random_judge(judge, "step 3", &err) == 0);
    CHECK(rlm_eval_world(&o, &json, &err) == RLM_E_MODEL);
    rlm_judge *none = NULL;
    CHECK(rlm_judge_open(&none, judge, 1, NULL, &err) == RLM_E_MODEL && !none);
    CHECK(random_judge(judge, "{\"may_judge\":true}", &err) == 0);
    CHECK(rlm_eval_world(&o, &json, &err) == 0);
    cJSON *root = cJSON_Parse(json ? json : "{}");
    const cJSON *clips = cJSON_GetObjectItem(root, "clips");
    CHECK(cJSON_GetArraySize(clips) == 1);
    CHECK(cJSON_GetArraySize(cJSON_GetObjectItem(cJSON_GetArrayItem(clips, 0), "answers")) > 9);
    cJSON_Delete(root);
    rlm_string_free(&json);
    o.inputs = inputs + 1;
    o.prompt = "a red ball bounces on grass";
    CHECK(rlm_eval_world(&o, &json, &err) == 0 && json);
    CHECK_HAS(json ? json : "", "\"said\":\t\"grass\"");
    rlm_string_free(&json);
    o.prompt = "waves";
    CHECK(rlm_eval_world(&o, &json, &err) == RLM_E_ARG && !json);
    o.prompt = "a red ball";
    inputs[1] = "/nonexistent.mp4";
    CHECK(rlm_eval_world(&o, &json, &err) == RLM_E_IO && !json);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    CHECK(system(command) == 0);
}

/* Of a render the words that are true of it are found, words that are not are missed; a clip of
 * another size and rate is looked at too. */
static void case_verdict(void)
{
    static const char true_words[] = "a big purple metal ring falls on floor tiles indoors";
    static const char other_words[] =
        "a small green wooden ball rolls to the left on grass at night";
    rlm_world_want want;
    rlm_world *world = NULL;
    rlm_judge *judge = NULL;
    rlm_clip clip = {0};
    rlm_verdict as_said, other;
    rlm_error err = {0};
    if (access(bundled, R_OK))
        TEST_SKIP("no judge is bundled");
    CHECK(rlm_judge_open(&judge, bundled, 1, NULL, &err) == 0);
    CHECK(rlm_world_open(&world, 1, NULL) == 0);
    for (int big = 0; big < 2; big++) {
        rlm_world_want_defaults(&want);
        want.width = big ? 256 : 128;
        want.height = big ? 192 : 128;
        want.fps_num = big ? 12 : 8;
        want.frames = big ? 30 : 17;
        CHECK(rlm_world_clip(world, 7, &want, &clip, NULL, NULL) == 0);
        CHECK(rlm_judge_asks(true_words) == 7);
        CHECK(rlm_judge_clip(judge, &clip, true_words, &as_said, &err) == 0);
        CHECK(as_said.asked >= 7 && as_said.holds == as_said.asked && as_said.log_likelihood < 0);
        CHECK(fabs(as_said.extra - 1) < 0.3); /* a yellow cube lies nearby */
        CHECK(rlm_judge_clip(judge, &clip, other_words, &other, &err) == 0);
        CHECK(other.asked >= 7 && other.holds <= 1) /* the sound is in step */;
        CHECK(rlm_verdict_better(&as_said, &other) && !rlm_verdict_better(&other, &as_said));
        CHECK(rlm_judge_clip(judge, &clip, "waves", &other, &err) == RLM_E_ARG);
        rlm_clip_free(&clip);
    }
    rlm_clip none = {0};
    CHECK(rlm_judge_asks("waves") == 0 && rlm_judge_asks(NULL) == 0);
    CHECK(rlm_judge_clip(judge, &none, true_words, &other, &err) == RLM_E_MEDIA);
    rlm_world_close(&world);
    rlm_judge_close(&judge);
}

/* What is missed, whatever was asked, and bodies that were not asked for; then likelihood. */
static void case_better(void)
{
    static const rlm_verdict order[] = {{8, 8, 0, -0.5}, {8, 8, 0, -3}, {8, 8, 0.4, -0.1},
                                        {7, 6, 0, -1},   {8, 8, 1, -2}, {8, 7, 2, -1}};
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 6; k++)
            CHECK(rlm_verdict_better(&order[i], &order[k]) == (i < k));
}

/* It must be right in 97 of 100 answers, 90 of 100 about each fact; on so few renders, a little
 * less is asked. */
static void case_bundled(void)
{
    rlm_eval_world_options o;
    rlm_error err = {0};
    char *json = NULL;
    if (access(bundled, R_OK))
        TEST_SKIP("no judge is bundled");
    rlm_eval_world_defaults(&o);
    o.judge = bundled;
    o.count = 48;
    o.first = 500;
    CHECK(rlm_eval_world(&o, &json, &err) == 0);
    cJSON *root = cJSON_Parse(json ? json : "{}");
    const cJSON *facts = cJSON_GetObjectItem(root, "facts"), *fact;
    CHECK(cJSON_GetArraySize(facts) == SCORES);
    cJSON_ArrayForEach(fact, facts)
    {
        double accuracy = cJSON_GetObjectItem(fact, "accuracy")->valuedouble;
        if (accuracy < 0.8)
            fprintf(stderr, "%s: %.3f\n", fact->string, accuracy);
        CHECK(accuracy >= 0.8);
    }
    CHECK(cJSON_GetObjectItem(root, "mean") &&
          cJSON_GetObjectItem(root, "mean")->valuedouble > 0.95);
    cJSON_Delete(root);
    rlm_string_free(&json);
    o.count = 0;
    CHECK(rlm_eval_world(&o, &json, &err) == RLM_E_RANGE);
    o.judge = "assets/models/default/video.safetensors";
    o.count = 1;
    CHECK(rlm_eval_world(&o, &json, &err) == RLM_E_MODEL);
    o.judge = "/nonexistent";
    CHECK(rlm_eval_world(&o, &json, &err) == RLM_E_IO && !json);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_truth);
    TEST_CASE(case_mirror);
    TEST_CASE(case_merge);
    TEST_CASE(case_bands);
    TEST_CASE(case_pieces);
    TEST_CASE(case_answers);
    TEST_CASE(case_contacts);
    TEST_CASE(case_facts);
    TEST_CASE(case_folder);
    TEST_CASE(case_verdict);
    TEST_CASE(case_better);
    TEST_CASE(case_bundled);
    return TEST_END();
}
