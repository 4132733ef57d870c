/* The queue without a model: order, bounds, cancellation, restart, events. The work is a stand-in
 * that runs until it is told to end. */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "src/server/jobs.h"
#include "tests/test.h"

/* One queue over a folder, with work under the test's control. */
typedef struct rig {
    char path[64];
    rlm_store store;
    rlm_jobs *jobs;
    atomic_int hold; /* 1: work waits until this is 0, or until it is stopped; 2: until this is 0 */
    atomic_int made;
    int64_t max_bytes;
    char order[16][RLM_ID_BYTES];
} rig;

/* How the work fails for the seeds from FAILING on, and what the client is told. */
enum { FAILING = 1000 };
static const struct {
    int code;
    const char *said;
} failures[] = {{RLM_E_MEDIA, "invalid_media"},       {RLM_E_NOMEM, "out_of_memory"},
                {RLM_E_ARG, "invalid_request"},       {RLM_E_RANGE, "invalid_request"},
                {RLM_E_UNSUPPORTED, "not_supported"}, {RLM_E_IO, "generation_failed"}};

static int make(void *cookie, rlm_work *work, rlm_error *err)
{
    rig *g = cookie;
    int n = atomic_fetch_add(&g->made, 1);
    if (n < 16)
        snprintf(g->order[n], RLM_ID_BYTES, "%s", work->id);
    for (int i = 0;; i++) {
        if (rlm_work_told(work, RLM_STAGE_SAMPLE, i, 1000, 1) && atomic_load(&g->hold) < 2)
            return rlm_serve_fail(err, RLM_E_CANCELLED, "stopped");
        if (!atomic_load(&g->hold))
            break;
        usleep(1000);
    }
    if (work->wish->seed >= FAILING)
        return rlm_serve_fail(err, failures[work->wish->seed - FAILING].code, "/a/file: unlucky");
    work->result = (rlm_job_result){.width = 16,
                                    .height = 16,
                                    .frames = 1,
                                    .fps = 8,
                                    .seconds = 0.125,
                                    .prefix_tokens = 5,
                                    .video_tokens = 6,
                                    .audio_tokens = 7,
                                    .prefill_s = 1.5,
                                    .sample_s = 2.5,
                                    .decode_s = 3.5,
                                    .bytes = 4,
                                    .token_sha256 = "ab12",
                                    .note = "a note"};
    return rlm_store_write(work->store, work->id, "output.mp4", "clip", 4, err);
}

static void start(rig *g, int queue)
{
    rlm_error err = {0};
    rlm_jobs_options o = {.store = &g->store,
                          .max_queue = queue,
                          .max_jobs = 8,
                          .max_bytes = g->max_bytes,
                          .ttl = 100,
                          .make = make,
                          .cookie = g};
    CHECK(!rlm_store_open(&g->store, g->path, &err));
    CHECK(!rlm_jobs_open(&g->jobs, &o, &err) && !rlm_jobs_start(g->jobs, &err));
    CHECK_STR(err.text, "");
}

static void stop(rig *g)
{
    rlm_jobs_close(&g->jobs);
    rlm_store_close(&g->store);
}

static rig *rig_open(int queue)
{
    rig *g = calloc(1, sizeof *g);
    snprintf(g->path, sizeof g->path, "/tmp/reelm-test-jobs-XXXXXX");
    CHECK(mkdtemp(g->path) != NULL);
    start(g, queue);
    return g;
}

static void rig_close(rig *g)
{
    stop(g);
    rlm_store_open(&g->store, g->path, NULL);
    g->store.temporary = 1;
    rlm_store_close(&g->store);
    struct stat st;
    CHECK(stat(g->path, &st) != 0); /* all of it is gone */
    free(g);
}

static int submit_wish(rig *g, int64_t seed, const void *data, size_t bytes, char *id,
                       rlm_refusal *r)
{
    rlm_wish w = {.seed = seed,
                  .fps = 8,
                  .frames = 1,
                  .width = 16,
                  .height = 16,
                  .sampling = {.temperature = -1,
                               .audio_temperature = -1,
                               .top_p = -1,
                               .min_p = -1,
                               .cfg_scale = -1,
                               .top_k = -1}};
    if (bytes) {
        w.input_count = 1;
        w.inputs[0] = (rlm_wish_input){.name = "input-0", .data = data, .bytes = bytes};
    }
    int code = rlm_jobs_submit(g->jobs, &w, id, r);
    rlm_wish_free(&w);
    return code;
}

static int submit(rig *g, int64_t seed, char id[RLM_ID_BYTES], rlm_refusal *r)
{
    return submit_wish(g, seed, NULL, 0, id, r);
}

static int submit_with(rig *g, const void *data, size_t bytes, char id[RLM_ID_BYTES],
                       rlm_refusal *r)
{
    return submit_wish(g, 0, data, bytes, id, r);
}

/* The caller frees it. */
static cJSON *shown(rig *g, const char *id)
{
    int ms;
    rlm_refusal r;
    return rlm_jobs_show(g->jobs, id, &ms, &r);
}

static const char *text_of(const cJSON *o, const char *name)
{
    const cJSON *t = cJSON_GetObjectItem(o, name);
    return cJSON_IsString(t) ? t->valuestring : "";
}

static void status_of(rig *g, const char *id, char *status, char *code)
{
    cJSON *o = shown(g, id);
    snprintf(status, 32, "%s", text_of(o, "status"));
    snprintf(code, 32, "%s", text_of(cJSON_GetObjectItem(o, "error"), "code"));
    cJSON_Delete(o);
}

static void wait_running(rig *g, const char *id)
{
    char status[32] = "", code[32];
    for (int i = 0; i < 5000 && strcmp(status, "in_progress"); i++) {
        status_of(g, id, status, code);
        usleep(1000);
    }
    CHECK_STR(status, "in_progress");
}

static void case_first_come_first_served(void)
{
    rig *g = rig_open(8);
    char id[5][RLM_ID_BYTES], status[32], code[32];
    rlm_refusal r;
    atomic_store(&g->hold, 1);
    for (int i = 0; i < 5; i++)
        CHECK(!submit(g, i == 3 ? FAILING : i, id[i], &r));
    atomic_store(&g->hold, 0);
    for (int i = 0; i < 5; i++) {
        CHECK(rlm_jobs_wait(g->jobs, id[i], 10) == 1);
        CHECK_STR(g->order[i], id[i]);
        status_of(g, id[i], status, code);
        CHECK_STR(status, i == 3 ? "failed" : "completed");
        CHECK_STR(code, i == 3 ? "invalid_media" : "");
    }
    const char *mime;
    int64_t bytes = 0;
    int fd = rlm_jobs_content(g->jobs, id[0], "video", &bytes, &mime, &r);
    CHECK(fd >= 0 && bytes == 4 && !strcmp(mime, "video/mp4"));
    close(fd);
    CHECK(rlm_jobs_content(g->jobs, id[3], "video", &bytes, &mime, &r) < 0 && r.status == 409);
    rig_close(g);
}

static void case_failures_have_codes(void)
{
    rig *g = rig_open(8);
    char id[RLM_ID_BYTES], status[32], code[32];
    rlm_refusal r;
    for (int i = 0; i < 6; i++) {
        CHECK(!submit(g, FAILING + i, id, &r) && rlm_jobs_wait(g->jobs, id, 10) == 1);
        status_of(g, id, status, code);
        CHECK_STR(status, "failed");
        CHECK_STR(code, failures[i].said);
        cJSON *o = shown(g, id); /* no folders of the server's */
        CHECK_STR(text_of(cJSON_GetObjectItem(o, "error"), "message"), "file: unlucky");
        cJSON_Delete(o);
    }
    rlm_jobs_count count;
    rlm_jobs_counts(g->jobs, &count);
    CHECK(count.failed == 6 && count.completed == 0 && count.cancelled == 0);
    rig_close(g);
}

static void case_bounds(void)
{
    rig *g = rig_open(2);
    char id[RLM_ID_BYTES], running[RLM_ID_BYTES];
    rlm_refusal r;
    rlm_jobs_count count;
    atomic_store(&g->hold, 1);
    CHECK(!submit(g, 0, running, &r));
    wait_running(g, running);
    CHECK(!submit(g, 1, id, &r) && !submit(g, 2, id, &r));
    CHECK(submit(g, 3, id, &r) && r.status == 429 && r.retry_after > 0);
    rlm_jobs_counts(g->jobs, &count);
    CHECK(count.queued == 2 && count.running == 1 && count.rejected == 1 && count.kept == 3);
    cJSON *o = shown(g, id);
    CHECK(cJSON_GetNumberValue(cJSON_GetObjectItem(o, "queue_position")) == 2);
    CHECK(!cJSON_HasObjectItem(o, "usage") && !cJSON_HasObjectItem(o, "stage"));
    cJSON_Delete(o);
    atomic_store(&g->hold, 0);
    for (int i = 0; i < 20; i++) { /* beyond max_jobs the oldest finished ones go */
        while (submit(g, i, id, &r))
            usleep(1000);
        CHECK(rlm_jobs_wait(g->jobs, id, 10) == 1);
    }
    rlm_jobs_counts(g->jobs, &count);
    CHECK(count.kept <= 8);
    CHECK(rlm_jobs_cancel(g->jobs, running, &r) && r.status == 410);
    rig_close(g);
}

static void case_store_is_bounded(void)
{
    rig *g = rig_open(4);
    char id[RLM_ID_BYTES], first[RLM_ID_BYTES];
    rlm_refusal r;
    rlm_jobs_count count;
    stop(g);
    g->max_bytes = 64 << 10;
    start(g, 4);
    char *data = calloc(1, 100 << 10);
    CHECK(!submit_with(g, data, 30 << 10, first, &r) && rlm_jobs_wait(g->jobs, first, 10) == 1);
    CHECK(!submit_with(g, data, 20 << 10, id, &r) && rlm_jobs_wait(g->jobs, id, 10) == 1);
    CHECK(!submit_with(g, data, 20 << 10, id, &r)); /* the first one goes */
    CHECK(rlm_jobs_wait(g->jobs, id, 10) == 1 && rlm_jobs_wait(g->jobs, first, 0) == -1);
    CHECK(submit_with(g, data, 100 << 10, id, &r) && r.status == 507);
    rlm_jobs_counts(g->jobs, &count);
    CHECK(count.kept == 2); /* nothing went for what could never fit */
    free(data);
    rig_close(g);
}

/* An extension of the oldest clip in a full store: others go, not what it begins with; and nothing
 * goes for a request that names what is not there. */
static void case_inputs_are_not_dropped(void)
{
    rig *g = rig_open(4);
    char id[9][RLM_ID_BYTES];
    rlm_refusal r;
    rlm_jobs_count count;
    for (int i = 0; i < 8; i++) {
        CHECK(!submit(g, i, id[i], &r) && rlm_jobs_wait(g->jobs, id[i], 10) == 1);
    }
    rlm_wish w = {.fps = 8, .frames = 1, .width = 16, .height = 16, .input_count = 1};
    snprintf(w.inputs[0].name, sizeof w.inputs[0].name, "input-0");
    snprintf(w.inputs[0].video_id, sizeof w.inputs[0].video_id, "video_%032d", 0);
    rlm_wish lost = w;
    CHECK(rlm_jobs_submit(g->jobs, &lost, id[8], &r) && r.status == 404);
    rlm_jobs_counts(g->jobs, &count);
    CHECK(count.kept == 8);
    snprintf(w.inputs[0].video_id, sizeof w.inputs[0].video_id, "%s", id[0]);
    CHECK(!rlm_jobs_submit(g->jobs, &w, id[8], &r) && rlm_jobs_wait(g->jobs, id[8], 10) == 1);
    CHECK(rlm_jobs_wait(g->jobs, id[0], 0) == 1 && rlm_jobs_wait(g->jobs, id[1], 0) == -1);
    char *clip = NULL; /* which is a file of its own then */
    size_t bytes = 0;
    CHECK(!rlm_jobs_remove(g->jobs, id[0], &r));
    CHECK(!rlm_store_read(&g->store, id[8], "input-0", 100, &clip, &bytes, NULL));
    CHECK(bytes == 4 && !memcmp(clip, "clip", 4));
    free(clip);
    rig_close(g);
}

/* As after a crash: what was answered holds, whatever the worker had reached. */
static void case_a_crash_undoes_no_answer(void)
{
    rig *g = rig_open(4);
    char id[2][RLM_ID_BYTES], status[32], code[32], path[160], copy[160];
    rlm_refusal r;
    for (int i = 0; i < 2; i++) {
        atomic_store(&g->hold, 2); /* deaf: it does not stop when it is told to */
        CHECK(!submit(g, i, id[i], &r));
        wait_running(g, id[i]);
        CHECK(!(i ? rlm_jobs_remove : rlm_jobs_cancel)(g->jobs, id[i], &r));
        snprintf(path, sizeof path, "%s/jobs/%s/job.json", g->path, id[i]);
        snprintf(copy, sizeof copy, "%s/%d.json", g->path, i);
        CHECK(i ? access(path, F_OK) != 0 : link(path, copy) == 0);
        atomic_store(&g->hold, 0);
        rlm_jobs_wait(g->jobs, id[i], 10);
    }
    stop(g);
    snprintf(path, sizeof path, "%s/jobs/%s/job.json", g->path, id[0]);
    snprintf(copy, sizeof copy, "%s/0.json", g->path);
    CHECK(!rename(copy, path)); /* as it was when cancel had answered */
    start(g, 4);
    status_of(g, id[0], status, code);
    CHECK_STR(status, "failed");
    CHECK_STR(code, "cancelled");
    rig_close(g);
}

/* A job that is running each time the server goes down is given up at last. */
static void case_a_job_that_crashes_ends(void)
{
    rig *g = rig_open(4);
    char id[RLM_ID_BYTES], status[32] = "", code[32], path[160], copy[160];
    rlm_refusal r;
    int crashes = 0;
    atomic_store(&g->hold, 2);
    CHECK(!submit(g, 0, id, &r));
    snprintf(path, sizeof path, "%s/jobs/%s/job.json", g->path, id);
    snprintf(copy, sizeof copy, "%s/job.json", g->path);
    for (; crashes < 9 && strcmp(status, "failed"); crashes++) {
        wait_running(g, id);
        CHECK(link(path, copy) == 0);
        atomic_store(&g->hold, 0);
        CHECK(rlm_jobs_wait(g->jobs, id, 10) == 1);
        stop(g);
        CHECK(!rename(copy, path)); /* as it was when the server went down */
        atomic_store(&g->hold, 2);
        start(g, 4);
        status_of(g, id, status, code);
    }
    CHECK(crashes == 3);
    CHECK_STR(code, "server_restarted");
    atomic_store(&g->hold, 0);
    rig_close(g);
}

static void case_cancel_and_remove(void)
{
    rig *g = rig_open(4);
    char id[3][RLM_ID_BYTES], status[32], code[32];
    rlm_refusal r;
    atomic_store(&g->hold, 1);
    for (int i = 0; i < 3; i++)
        CHECK(!submit(g, i, id[i], &r));
    wait_running(g, id[0]);
    CHECK(!rlm_jobs_cancel(g->jobs, id[1], &r));
    status_of(g, id[1], status, code);
    CHECK_STR(code, "cancelled");
    double begin = rlm_serve_now();
    CHECK(!rlm_jobs_cancel(g->jobs, id[0], &r) && rlm_jobs_wait(g->jobs, id[0], 10) == 1);
    CHECK(rlm_serve_now() - begin < 2);
    wait_running(g, id[2]);
    CHECK(!rlm_jobs_remove(g->jobs, id[2], &r) && rlm_jobs_wait(g->jobs, id[2], 10) == -1);
    CHECK(rlm_jobs_cancel(g->jobs, id[0], &r) && r.status == 409);
    CHECK(!rlm_jobs_remove(g->jobs, id[0], &r));
    CHECK(rlm_jobs_remove(g->jobs, id[0], &r) && r.status == 404);
    rig_close(g);
}

static void case_restart_takes_up_what_was_left(void)
{
    rig *g = rig_open(8);
    char id[4][RLM_ID_BYTES], status[32], code[32];
    rlm_refusal r;
    CHECK(!submit(g, 0, id[0], &r) && rlm_jobs_wait(g->jobs, id[0], 10) == 1);
    cJSON *before = shown(g, id[0]), *after;
    atomic_store(&g->hold, 1);
    for (int i = 1; i < 4; i++)
        CHECK(!submit(g, i, id[i], &r));
    wait_running(g, id[1]);
    stop(g);
    atomic_store(&g->hold, 0);
    atomic_store(&g->made, 0);
    start(g, 8);
    for (int i = 1; i < 4; i++) {
        CHECK(rlm_jobs_wait(g->jobs, id[i], 10) == 1);
        status_of(g, id[i], status, code);
        CHECK_STR(status, "completed");
        CHECK_STR(g->order[i - 1], id[i]);
    }
    after = shown(g, id[0]);
    CHECK_STR(text_of(after, "token_sha256"), "ab12");
    CHECK(cJSON_Compare(before, after, 1)); /* all that was told of it */
    cJSON_Delete(before);
    cJSON_Delete(after);
    CHECK(atomic_load(&g->made) == 3);
    rig_close(g);
}

static void case_events(void)
{
    rig *g = rig_open(4);
    char id[RLM_ID_BYTES];
    rlm_refusal r;
    rlm_watch w = {0};
    rlm_bytes all = {0};
    atomic_store(&g->hold, 1);
    CHECK(!submit(g, 0, id, &r));
    wait_running(g, id);
    snprintf(w.id, sizeof w.id, "%s", id);
    CHECK(rlm_jobs_watch(g->jobs, &w, 5, &all));
    CHECK_HAS(all.data, "event: status\ndata: {");
    while (!strstr(all.data, "event: progress"))
        rlm_jobs_watch(g->jobs, &w, 5, &all);
    CHECK_HAS(all.data, "\"stage\":\"sample\"");
    atomic_store(&g->hold, 0);
    while (rlm_jobs_watch(g->jobs, &w, 5, &all))
        ;
    CHECK_HAS(all.data, "\"status\":\"completed\"");
    int told = 0; /* its state once when it changes, not with each event */
    for (const char *at = all.data; (at = strstr(at, "event: status")); at++)
        told++;
    CHECK(told == 2);
    CHECK_HAS(all.data, "event: end\ndata: {\"id\":\"video_");
    CHECK(all.used > 2 && !strcmp(all.data + all.used - 2, "\n\n"));
    rlm_bytes_free(&all);
    rig_close(g);
}

static void case_store_is_one_servers(void)
{
    rig *g = rig_open(1);
    rlm_store other;
    rlm_error err;
    CHECK(rlm_store_open(&other, g->path, &err) == RLM_E_BUSY);
    CHECK_HAS(err.text, "another server");
    CHECK(rlm_store_open_file(&g->store, "../jobs", "x", &(int64_t){0}) < 0);
    CHECK(rlm_store_open(&other, "/proc/no/such", &err) == RLM_E_IO);
    rig_close(g);
}

/* A store that was given no folder makes one of its own and leaves nothing; all else stays. */
static void case_store_of_its_own_goes(void)
{
    rlm_store own;
    rlm_error err = {0};
    char id[RLM_ID_BYTES];
    rlm_id_make(id, "video_");
    CHECK(!rlm_store_open(&own, NULL, &err) && !access(own.path, F_OK));
    CHECK(!rlm_store_create(&own, id, &err));
    CHECK(!rlm_store_write(&own, id, "output.mp4", "clip", 4, &err));
    rlm_store_close(&own);
    CHECK(access(own.path, F_OK) != 0);
    rlm_store_close(&own);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_first_come_first_served);
    TEST_CASE(case_failures_have_codes);
    TEST_CASE(case_bounds);
    TEST_CASE(case_store_is_bounded);
    TEST_CASE(case_inputs_are_not_dropped);
    TEST_CASE(case_cancel_and_remove);
    TEST_CASE(case_a_crash_undoes_no_answer);
    TEST_CASE(case_a_job_that_crashes_ends);
    TEST_CASE(case_restart_takes_up_what_was_left);
    TEST_CASE(case_events);
    TEST_CASE(case_store_is_one_servers);
    TEST_CASE(case_store_of_its_own_goes);
    return TEST_END();
}
