/* A request as JSON, and rates as fractions. Needs the bundled model. */
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "src/reelm.h"
#include "tests/test.h"

static void case_rates_are_exact(void)
{
    static const struct {
        double fps;
        int num, den;
    } rates[] = {{8, 8, 1},
                 {1, 1, 1},
                 {12.5, 25, 2},
                 {7.001, 7001, 1000},
                 {23.976, 24000, 1001},
                 {29.97, 30000, 1001},
                 {30000 / 1001.0, 30000, 1001},
                 {59.94, 60000, 1001},
                 {119.88, 120000, 1001}};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        int num = 0, den = 0;
        rlm_fps_fraction(rates[i].fps, &num, &den);
        if (num != rates[i].num || den != rates[i].den)
            TEST_FAILED("%g is %d/%d", rates[i].fps, num, den);
    }
}

static void case_sampling_wishes(void)
{
    rlm_request r, d;
    rlm_sampling_wish w = {-1, -1, -1, -1, -1, -1, -1, -1, -1};
    rlm_request_defaults(&d);
    rlm_request_defaults(&r);
    rlm_request_sampling(&r, &w);
    CHECK(!memcmp(&r.video, &d.video, sizeof d.video) &&
          !memcmp(&r.motion, &d.motion, sizeof d.motion));
    w.temperature = 0.5;
    w.cfg_scale = 1;
    w.top_k = 7;
    rlm_request_sampling(&r, &w); /* what follows is held below the first */
    CHECK(r.video.temperature == 0.5f && r.motion.temperature == 0.5f && r.motion.top_k == 7);
    CHECK(r.video.cfg_scale == 1 && r.motion.cfg_scale == 1);
    CHECK(r.audio_sampling.temperature == d.audio_sampling.temperature);
    w.motion_temperature = 2; /* unless asked for */
    w.motion_cfg_scale = 3;
    rlm_request_sampling(&r, &w);
    CHECK(r.motion.temperature == 2 && r.motion.cfg_scale == 3 && r.video.temperature == 0.5f);
}

/* Each wish where it belongs. */
static void case_sampling_fields(void)
{
    rlm_request r;
    const rlm_sampling_wish w = {.temperature = 0.25,
                                 .motion_temperature = 0.5,
                                 .audio_temperature = 0.75,
                                 .top_p = 0.125,
                                 .min_p = 0.0625,
                                 .cfg_scale = 5,
                                 .motion_cfg_scale = 6,
                                 .audio_cfg_scale = 7,
                                 .top_k = 8};
    rlm_request_defaults(&r);
    const rlm_sampling video = {0.25f, 8, 0.125f, 0.0625f, 5},
                       motion = {0.5f, 8, 0.125f, 0.0625f, 6};
    const rlm_sampling audio = {0.75f, 0, r.audio_sampling.top_p, 0, 7};
    rlm_request_sampling(&r, &w);
    CHECK(!memcmp(&r.video, &video, sizeof video));
    CHECK(!memcmp(&r.motion, &motion, sizeof motion));
    CHECK(!memcmp(&r.audio_sampling, &audio, sizeof audio));
}

static void case_settings_say_what_was_asked(void)
{
    rlm_engine *engine = NULL;
    rlm_error err = {0};
    rlm_request r;
    rlm_box boxes[2] = {{8, 8, 12, 10, 0, 0}, {0, 0, 4, 4, 3, 6}};
    char *json = NULL;
    CHECK(!rlm_open(&engine, "assets/models/default/", NULL, &err));
    CHECK_STR(err.text, "");
    if (!engine)
        return;
    rlm_request_defaults(&r);
    r.prompt = "a \"red\" ball";
    r.video.temperature = 0.7f;
    r.seed = 9007199254740991;
    r.source = RLM_SOURCE_PLAYGROUND;
    r.boxes = boxes;
    r.box_count = 2;
    r.outpaint[2] = 16;
    CHECK(!rlm_request_settings(engine, &r, &json, &err) && json);
    CHECK_HAS(json, "{\"schema\":\"reelm.settings/1\",");
    CHECK_HAS(json, "\"prompt\":\"a \\\"red\\\" ball\"");
    CHECK_HAS(json, "\"seed\":9007199254740991,");
    CHECK_HAS(json, "\"temperature\":0.7,");
    CHECK_HAS(json, "\"source\":\"playground\"");
    CHECK_HAS(json, "\"outpaint\":\"0,0,16,0\"");
    CHECK_HAS(json, "\"mask_boxes\":[\"8,8,12,10\",\"0,0,4,4@3-5\"]");
    CHECK_HAS(json, "\"model\":{\"name\":\"default\",");
    CHECK(!strstr(json, "negative_prompt") && !strstr(json, "backward"));
    rlm_string_free(&json);
    rlm_close(&engine);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_rates_are_exact);
    TEST_CASE(case_sampling_wishes);
    TEST_CASE(case_sampling_fields);
    TEST_CASE(case_settings_say_what_was_asked);
    return TEST_END();
}
