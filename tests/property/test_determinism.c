/* The same request gives the same tokens: for any number of threads, in a fresh session and in a
 * used one, alone and beside others, again and again, at every level of kernels; and at the
 * reference level the very tokens that stand here, on any processor. */
#include "tests/unit/pipeline_rig.h"

/* Of the reference level: this file is the only place that knows them. */
static const char golden[] = "09bf03a04d60e197b92b2d532377bd562556de75d3447ac9425c8a340621a17d";

static char path[128];

/* sha256 of a token file's codes. */
static void tokens_of(const char *file, char sha[65])
{
    rlm_codes v = {0}, a = {0};
    rlm_error why = {0};
    *sha = 0;
    if (rlm_tokens_read(NULL, file, &v, &a, NULL, &why)) {
        TEST_FAILED("%s", why.text);
        return;
    }
    size_t n = (size_t)v.count + (size_t)a.count;
    int32_t *all = rlm_alloc(n * sizeof *all);
    memcpy(all, v.ids, (size_t)v.count * sizeof *all);
    if (a.count)
        memcpy(all + v.count, a.ids, (size_t)a.count * sizeof *all);
    rlm_sha256_hex(all, n * sizeof *all, sha);
    rlm_free(all);
    rlm_codes_free(&v);
    rlm_codes_free(&a);
}

static float scale = 1.5f; /* of guidance behind the first code frame */

static void ask(rlm_session *s, uint64_t seed, char sha[65])
{
    rlm_clip out = {0};
    rlm_error why = {0};
    plain_request();
    request.width = 24;
    request.height = 16;
    request.frames = 5;
    request.seed = seed;
    request.video.cfg_scale = 1.5f;
    request.motion = request.video;
    request.motion.cfg_scale = request.audio_sampling.cfg_scale = scale;
    request.save_tokens = path;
    if (rlm_generate(s, &request, &out, NULL, &why))
        TEST_FAILED("%s", why.text);
    rlm_clip_free(&out);
    tokens_of(path, sha);
}

/* 0 when this machine has no such level. */
static int open_at(const char *mask, int threads, rlm_engine **e, rlm_session **s)
{
    rlm_options o;
    rlm_error why = {0};
    rlm_options_defaults(&o);
    o.threads = threads;
    o.cpu_mask = mask;
    o.deterministic = 1;
    if (rlm_open(e, folder, &o, &why) || rlm_session_open(s, *e, &why)) {
        TEST_FAILED("%s: %s", mask ? mask : "best", why.text);
        return 0;
    }
    return 1;
}

static void level(const char *mask, char first[65])
{
    static const int threads[] = {1, 2, 4};
    *first = 0;
    for (int i = 0; i < 3; i++) {
        rlm_engine *e = NULL;
        rlm_session *s = NULL;
        char fresh[65], used[65], other[65];
        if (!open_at(mask, threads[i], &e, &s))
            return;
        ask(s, 11, fresh);
        ask(s, 12, other);
        ask(s, 11, used);
        if (!*first)
            memcpy(first, fresh, 65);
        if (strcmp(fresh, first) || strcmp(used, first))
            TEST_FAILED("%s with %d threads: %.12s fresh, %.12s used, expected %.12s",
                        mask ? mask : "best", threads[i], fresh, used, first);
        CHECK(strcmp(other, first)); /* the seed does matter */
        rlm_session_close(&s);
        rlm_close(&e);
    }
}

static void case_threads_and_sessions(void)
{
    char sha[65];
    for (int i = 1; rlm_kernels_level(i); i++)
        level(rlm_kernels_level(i), sha);
}

static void case_reference_anywhere(void)
{
    char sha[65];
    level("ref", sha);
    CHECK_STR(sha, golden);
}

static void case_twenty_runs(void)
{
    char first[65], again[65];
    ask(session, 5, first);
    for (int i = 1; i < 20; i++) {
        ask(session, 5, again);
        CHECK_STR(again, first);
    }
}

/* The first of three that are sampled side by side has the tokens it has alone, guided to the end
 * or at the beginning only. */
static void case_beside_others(void)
{
    char alone[65], beside[65];
    for (int i = 0; i < 2; i++) {
        scale = i ? 1.0f : 1.5f;
        ask(session, 21, alone);
        rlm_session_batch(session, 3);
        ask(session, 21, beside);
        rlm_session_batch(session, 1);
        CHECK_STR(beside, alone);
    }
    scale = 1.5f;
}

/* Tokens that were interrupted and taken up again are those of one run. */
static void case_resumed(void)
{
    char whole[65], resumed[65];
    ask(session, 31, whole);
    rlm_clip out = {0};
    rlm_error why = {0};
    request.resume_tokens = path;
    CHECK(!rlm_generate(session, &request, &out, NULL, &why));
    rlm_clip_free(&out);
    request.resume_tokens = NULL;
    tokens_of(path, resumed);
    CHECK_STR(resumed, whole);
}

/* The pictures of clips sampled side by side are those of clips sampled alone; the fourth is none
 * of the three. */
static void case_batch(void)
{
    rlm_clip alone[4], beside[4];
    memset(alone, 0, sizeof alone);
    memset(beside, 0, sizeof beside);
    plain_request();
    request.frames = 5;
    request.seed = 40;
    for (int i = 0; i < 4; i++, request.seed++)
        CHECK(!rlm_generate(session, &request, &alone[i], NULL, &err));
    request.seed = 40;
    rlm_session_batch(session, 3);
    for (int i = 0; i < 4; i++, request.seed++) {
        rlm_report report;
        CHECK(!rlm_generate(session, &request, &beside[i], &report, &err));
        CHECK(report.video_tokens > 0 && (i % 3 == 0) == (report.sample_s > 0));
        size_t bytes =
            (size_t)(alone[i].video.count * alone[i].video.height * alone[i].video.width * 3);
        CHECK(beside[i].video.count == alone[i].video.count && bytes > 0);
        CHECK(!memcmp(beside[i].video.rgb, alone[i].video.rgb, bytes));
        rlm_clip_free(&alone[i]);
        rlm_clip_free(&beside[i]);
    }
    plain_request();
}

/* What was sampled for other wishes is not taken. */
static void case_batch_of_other_wishes(void)
{
    for (int i = 0; i < 6; i++) {
        rlm_clip clip = {0};
        rlm_report report;
        plain_request();
        request.frames = 1;
        request.audio = 0;
        rlm_session_batch(session, 2);
        CHECK(!rlm_generate(session, &request, &clip, NULL, &err));
        rlm_clip_free(&clip);
        request.seed++;
        request.video.temperature += i == 1;
        request.video.top_k = i == 2;
        request.video.top_p -= i == 3 ? 0.5f : 0;
        request.video.min_p = i == 4 ? 0.5f : 0;
        request.video.cfg_scale += i == 5;
        CHECK(!rlm_generate(session, &request, &clip, &report, &err));
        if ((report.sample_s > 0) != (i > 0))
            TEST_FAILED("wish %d: %g s of sampling", i, report.sample_s);
        rlm_clip_free(&clip);
    }
    rlm_session_batch(session, 1);
    plain_request();
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    if (rig_open())
        return 1;
    snprintf(path, sizeof path, "%s/made.rtok", folder);
    TEST_CASE(case_threads_and_sessions);
    TEST_CASE(case_reference_anywhere);
    TEST_CASE(case_twenty_runs);
    TEST_CASE(case_beside_others);
    TEST_CASE(case_batch);
    TEST_CASE(case_batch_of_other_wishes);
    TEST_CASE(case_resumed);
    rig_close();
    return TEST_END();
}
