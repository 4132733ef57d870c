/* A tiny model of random weights, an engine and a session on it, requests and clips. */
#ifndef RLM_TESTS_PIPELINE_RIG_H
#define RLM_TESTS_PIPELINE_RIG_H

#include <stdlib.h>
#include <unistd.h>

#include "src/base/rng.h"
#include "src/model_dir.h"
#include "tests/folder.h"
#include "tests/test.h"

static rlm_engine *engine;
static rlm_session *session;
static rlm_request request;
static rlm_error err;

static void tiny_video(rlm_video_config *c)
{
    rlm_video_config_defaults(c);
    for (int i = 0; i < RLM_VIDEO_LEVELS; i++) {
        c->channels[i] = c->channels[i] ? 32 : 0;
        c->blocks[i] = c->blocks[i] ? 1 : 0;
    }
    c->mid_blocks = 0;
    c->groups = 8;
}

static int save_model(void)
{
    rlm_video_config v;
    rlm_audio_config a;
    rlm_lm_config l;
    rlm_params p[3] = {{0}};
    rlm_video *video = NULL;
    rlm_audio *audio = NULL;
    rlm_lm *lm = NULL;
    tiny_video(&v);
    rlm_audio_config_defaults(&a);
    a.channels = 4;
    a.dim = 32;
    int code = rlm_model_add_text(folder, "assets/models/default/text.model", &err);
    rlm_text *text = NULL;
    if (!code)
        code = rlm_text_open(&text, "assets/models/default/text.model", &err);
    rlm_lm_config_preset(&l, "tiny");
    l.text_pieces = text ? rlm_text_size(text) : 0;
    rlm_text_close(&text);
    if (!code)
        code = rlm_video_new(&video, &v, &p[0], &err);
    if (!code)
        code = rlm_audio_new(&audio, &a, &p[1], &err);
    if (!code)
        code = rlm_lm_new(&lm, &l, &p[2], &err);
    const void *configs[3] = {&v, &a, &l};
    static const unsigned parts[3] = {RLM_PART_VIDEO, RLM_PART_AUDIO, RLM_PART_LM};
    for (int i = 0; i < 3 && !code; i++) {
        code = rlm_params_allocate(&p[i], false, &err);
        if (!code)
            rlm_params_initialise(&p[i], 5 + (uint64_t)i);
        if (!code)
            code = rlm_model_save_part(folder, parts[i], configs[i], &p[i], NULL, &err);
        rlm_params_free(&p[i]);
    }
    rlm_video_free(&video);
    rlm_audio_free(&audio);
    rlm_lm_free(&lm);
    return code;
}

static inline rlm_clip make_clip(int count, int w, int h, int fps, int64_t samples, int rate)
{
    rlm_clip c = {0};
    c.video = (rlm_frames){count, h, w, fps, 1, NULL};
    c.video.rgb = rlm_alloc((size_t)count * w * h * 3 + 1);
    for (size_t i = 0; i < (size_t)count * w * h * 3; i++)
        c.video.rgb[i] = (uint8_t)(rlm_rng(3, 1, i / 97) >> 56);
    if (samples) {
        c.audio = (rlm_pcm){samples, 1, rate, rlm_alloc((size_t)samples * sizeof(float))};
        for (int64_t i = 0; i < samples; i++)
            c.audio.samples[i] = 0.3f * sinf((float)i * 0.1f);
    }
    return c;
}

static inline void plain_request(void)
{
    rlm_request_defaults(&request);
    request.width = 40;
    request.height = 32;
    request.frames = 9;
    request.prompt = "a red ball bounces on grass";
    request.seed = 11;
}

static inline int same_clip(const rlm_clip *a, const rlm_clip *b)
{
    size_t n = (size_t)a->video.count * a->video.width * a->video.height * 3;
    return a->video.count == b->video.count && a->video.width == b->video.width &&
           a->audio.count == b->audio.count && !memcmp(a->video.rgb, b->video.rgb, n) &&
           (!a->audio.count ||
            !memcmp(a->audio.samples, b->audio.samples, (size_t)a->audio.count * sizeof(float)));
}

/* A generation that must succeed with these sizes; sound -1: not looked at. */
static inline rlm_clip generate(int frames, int w, int h, int64_t sound)
{
    rlm_clip clip = {0};
    rlm_report report = {0};
    int code = rlm_generate(session, &request, &clip, &report, &err);
    if (code)
        TEST_FAILED("generate: %d %s", code, err.text);
    CHECK(clip.video.count == frames && clip.video.width == w && clip.video.height == h);
    if (sound >= 0)
        CHECK(clip.audio.count == sound);
    CHECK(code || report.frames == frames);
    return clip;
}

/* Bytes of a picture. */
static inline size_t pixels(const rlm_frames *v)
{
    return (size_t)v->height * (size_t)v->width * 3;
}

static inline void edit_request(const rlm_clip *film)
{
    plain_request();
    request.task = RLM_TASK_AUTO;
    request.condition = film;
    request.width = film->video.width;
    request.height = film->video.height;
    request.video.cfg_scale = 1;
}

/* The request fails with this code, and a sentence that has the part. */
static inline void refuse(int expected, const char *part)
{
    rlm_clip clip = {0};
    int code = rlm_generate(session, &request, &clip, NULL, &err);
    if (code != expected || !strstr(err.text, part))
        TEST_FAILED("%d \"%s\", expected %d and \"%s\"", code, err.text, expected, part);
    rlm_clip_free(&clip);
}

/* 0, or 1 after saying why. */
static int rig_open(void)
{
    if (folder_open() && !save_model() && !rlm_open(&engine, folder, NULL, &err) &&
        !rlm_session_open(&session, engine, &err))
        return 0;
    fprintf(stderr, "%s\n", err.text);
    return 1;
}

static void rig_close(void)
{
    rlm_session_close(&session);
    rlm_close(&engine);
    folder_close();
}

#endif
