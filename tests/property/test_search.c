/* Codes that were searched decode closer to their clip than the encoder's, window by window, and
 * what cannot be searched is refused. */
#include <stdlib.h>
#include <unistd.h>

#include "src/base/rng.h"
#include "src/model_dir.h"
#include "src/train/eval.h"
#include "src/train/search.h"
#include "tests/folder.h"
#include "tests/small_video.h"
#include "tests/test.h"

typedef struct rig {
    rlm_kernels k;
    rlm_arena arena;
    rlm_par *par;
    rlm_model model;
    rlm_run run;
} rig;

static int rig_open(rig *r, const char *dir)
{
    rlm_error err = {0};
    *r = (rig){0};
    int code = rlm_kernels_init(&r->k, NULL, &err);
    code = code ? code : rlm_par_open(&r->par, 2, &err);
    code = code ? code : rlm_arena_reserve(&r->arena, (size_t)8 << 30, &err);
    code = code ? code : rlm_model_open(&r->model, dir, RLM_PART_VIDEO, &r->k, r->par, &err);
    r->run = (rlm_run){.k = &r->k, .arena = &r->arena, .par = r->par};
    if (code)
        fprintf(stderr, "%s\n", err.text);
    return code;
}

static void rig_close(rig *r)
{
    rlm_model_close(&r->model);
    rlm_arena_release(&r->arena);
    rlm_par_close(&r->par);
}

/* A bright patch that wanders over slopes of colour. */
static rlm_frames film(int count, int h, int w)
{
    rlm_frames f = {.count = count, .height = h, .width = w, .fps_num = 8, .fps_den = 1};
    f.rgb = malloc((size_t)count * h * w * 3);
    uint8_t *p = f.rgb;
    for (int t = 0; t < count; t++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                bool patch = abs(x - w / 4 - t) < w / 6 && abs(y - h / 2) < h / 5;
                *p++ = (uint8_t)(patch ? 230 : 200 * x / w);
                *p++ = (uint8_t)(patch ? 210 : 200 * y / h);
                *p++ = (uint8_t)(patch ? 40 : 90 + 5 * t % 90);
            }
    return f;
}

/* Mean square of frames [from, to) of what codes decode to against f. */
static double error_of(rig *r, const rlm_codes *codes, const rlm_frames *f, int from, int to)
{
    rlm_frames made = {0};
    size_t one = (size_t)f->height * f->width * 3;
    double sum = 0;
    CHECK(rlm_video_decode(&r->run, r->model.video, codes, &made, NULL) == 0);
    for (size_t i = (size_t)from * one; i < (size_t)to * one; i++)
        sum += pow((double)made.rgb[i] - f->rgb[i], 2);
    rlm_free(made.rgb);
    return sum / (double)((size_t)(to - from) * one);
}

static int searched(rig *r, const rlm_search_options *o, const rlm_frames *f, rlm_codes *codes,
                    rlm_error *err)
{
    rlm_search *s = NULL;
    CHECK(rlm_video_encode(&r->run, r->model.video, f, codes, err) == 0);
    int code = rlm_search_open(&s, o, err);
    code = code ? code : rlm_search_frames(s, f, codes, err);
    rlm_search_close(&s);
    return code;
}

static void check_valid(const rlm_codes *c, const rlm_codes *like)
{
    CHECK(memcmp(c->dims, like->dims, sizeof c->dims) == 0 && c->count == like->count);
    for (int64_t i = 0; i < c->count; i++)
        CHECK(c->ids[i] >= 0 && c->ids[i] < 64);
}

/* A size that is no multiple of the grid's, and a clip that ends inside a latent frame. */
static void case_closer(void)
{
    rig r;
    CHECK(rig_open(&r, folder) == 0);
    rlm_error err = {0};
    rlm_frames f = film(14, 37, 45);
    rlm_codes plain = {0}, one = {0}, two = {0};
    rlm_search_options o = {.model_dir = folder, .steps = 15, .threads = 2};
    CHECK(rlm_video_encode(&r.run, r.model.video, &f, &plain, NULL) == 0);
    CHECK(searched(&r, &o, &f, &one, &err) == 0);
    CHECK(searched(&r, &o, &f, &two, &err) == 0);
    check_valid(&one, &plain);
    double before = error_of(&r, &plain, &f, 0, 14), after = error_of(&r, &one, &f, 0, 14);
    CHECK(after < 0.98 * before);
    CHECK(memcmp(one.ids, two.ids, (size_t)one.count * sizeof *one.ids) == 0);
    for (o.steps = 1; o.steps <= 3; o.steps++) { /* hardly time to harden: never further */
        rlm_codes_free(&one);
        CHECK(searched(&r, &o, &f, &one, &err) == 0);
        check_valid(&one, &plain);
        CHECK(error_of(&r, &one, &f, 0, 14) < 1.001 * before);
    }
    rlm_codes_free(&plain);
    rlm_codes_free(&one);
    rlm_codes_free(&two);
    free(f.rgb);
    rig_close(&r);
}

static int stop_in_time(void *cookie, const rlm_progress *p)
{
    *(int *)cookie += 1;
    return p->done >= 5;
}

/* 7 latent frames of 256 codes: two windows, each closer; stopped behind the first, the codes of
 * the second are the encoder's. */
static void case_windows(void)
{
    rig r;
    CHECK(rig_open(&r, folder) == 0);
    rlm_error err = {0};
    int told = 0;
    rlm_frames f = film(25, 128, 128);
    rlm_codes plain = {0}, whole = {0}, part = {0};
    rlm_search_options o = {.model_dir = folder, .steps = 6, .threads = 2};
    CHECK(rlm_video_encode(&r.run, r.model.video, &f, &plain, NULL) == 0);
    CHECK(plain.dims[0] == 7);
    CHECK(searched(&r, &o, &f, &whole, &err) == 0);
    check_valid(&whole, &plain);
    CHECK(error_of(&r, &whole, &f, 0, 17) < error_of(&r, &plain, &f, 0, 17));
    CHECK(error_of(&r, &whole, &f, 17, 25) < error_of(&r, &plain, &f, 17, 25));
    o.progress = stop_in_time;
    o.progress_cookie = &told;
    CHECK(searched(&r, &o, &f, &part, &err) == RLM_E_CANCELLED && told == 7);
    CHECK_HAS(err.text, "code frame 5 of 7");
    size_t first = (size_t)5 * 256 * sizeof *part.ids, rest = (size_t)2 * 256 * sizeof *part.ids;
    CHECK(memcmp(part.ids, whole.ids, first) == 0);
    CHECK(memcmp(part.ids + 5 * 256, plain.ids + 5 * 256, rest) == 0);
    rlm_codes_free(&plain);
    rlm_codes_free(&whole);
    rlm_codes_free(&part);
    free(f.rgb);
    rig_close(&r);
}

/* With the perceptual network the bundled tokenizer's pictures come closer in what it sees. */
static void case_perceptual(void)
{
    static const char *const path = "../shared/data/perceptual/squeezenet_v1.1.safetensors";
    if (access(path, R_OK))
        TEST_SKIP("%s is not there", path);
    rlm_search_options o = {
        .model_dir = "assets/models/default", .steps = 8, .threads = 2, .perceptual = path};
    rig r;
    CHECK(rig_open(&r, o.model_dir) == 0);
    rlm_error err = {0};
    rlm_perceptual *ruler = NULL;
    CHECK(rlm_perceptual_open(&ruler, path, r.par, &err) == 0);
    rlm_frames f = film(9, 64, 72);
    double far[2];
    for (int i = 0; i < 2; i++) {
        rlm_codes codes = {0};
        rlm_frames made = {0};
        if (i)
            CHECK(searched(&r, &o, &f, &codes, &err) == 0);
        else
            CHECK(rlm_video_encode(&r.run, r.model.video, &f, &codes, &err) == 0);
        CHECK(rlm_video_decode(&r.run, r.model.video, &codes, &made, &err) == 0);
        CHECK(rlm_perceptual_score(ruler, &f, &made, &far[i], &err) == 0);
        rlm_free(made.rgb);
        rlm_codes_free(&codes);
    }
    CHECK(far[1] < 0.9 * far[0]);
    rlm_perceptual_close(&ruler);
    free(f.rgb);
    rig_close(&r);
}

/* Three seconds of tones, beats and noise. */
static float *sound(int64_t *count)
{
    enum { COUNT = 3 * 16000 + 77 };
    float *x = malloc(COUNT * sizeof *x);
    for (int i = 0; i < COUNT; i++) {
        double t = i / 16000.0, beat = exp(-12 * fmod(t, 0.4));
        x[i] = (float)(0.3 * beat * sin(6.2832 * (180 + 60 * floor(t / 0.4)) * t) +
                       0.1 * sin(6.2832 * 310 * t) * (t > 1.3) +
                       0.02 * rlm_rng_normal(5, 1, (uint64_t)i));
    }
    *count = COUNT;
    return x;
}

/* Two windows of the bundled codec: closer, and the same however the sound comes. */
static void case_sound(void)
{
    rlm_engine *engine = NULL;
    rlm_session *session = NULL;
    rlm_search *s = NULL;
    rlm_ears *ears = NULL;
    rlm_par *par = NULL;
    rlm_error err = {0};
    rlm_search_options o = {.model_dir = "assets/models/default", .steps = 4, .threads = 2};
    CHECK(rlm_open(&engine, o.model_dir, NULL, &err) == 0);
    CHECK(rlm_session_open(&session, engine, &err) == 0);
    CHECK(rlm_par_open(&par, 2, &err) == 0 && rlm_ears_open(&ears, 16000, par, &err) == 0);
    CHECK(rlm_search_open(&s, &o, &err) == 0);
    rlm_clip clip = {.audio = {.channels = 1, .rate = 16000}}, made[2] = {0};
    clip.audio.samples = sound(&clip.audio.count);
    int64_t n = clip.audio.count;
    rlm_codes whole = {0}, parts = {0};
    rlm_heard heard[2];
    for (int i = 0; i < 2; i++) {
        rlm_codes *codes = i ? &whole : &parts;
        CHECK(rlm_encode(session, &clip, NULL, codes, &err) == 0);
        if (i)
            CHECK(rlm_search_pcm(s, &clip.audio, codes, &err) == 0);
        CHECK(rlm_decode(session, NULL, codes, &made[i], &err) == 0);
        rlm_ears_score(ears, n, clip.audio.samples, made[i].audio.samples, &heard[i]);
    }
    CHECK(heard[1].stft < 0.98 * heard[0].stft);
    CHECK(rlm_search_sound_begin(s, &parts, &err) == 0);
    for (int64_t at = 0, piece = 1; at < n; at += piece) {
        piece = piece * 3 % 7919;
        CHECK(rlm_search_sound_push(s, n - at < piece ? n - at : piece, clip.audio.samples + at,
                                    &err) == 0);
    }
    CHECK(rlm_search_sound_end(s, &err) == 0);
    CHECK(memcmp(whole.ids, parts.ids, (size_t)whole.count * sizeof *whole.ids) == 0);
    parts.ids[7] = 1024;
    CHECK(rlm_search_pcm(s, &clip.audio, &parts, &err) == RLM_E_TOKENS);
    clip.audio.rate = 8000;
    CHECK(rlm_search_pcm(s, &clip.audio, &whole, &err) == RLM_E_ARG);
    for (int i = 0; i < 2; i++)
        rlm_clip_free(&made[i]);
    rlm_codes_free(&whole);
    rlm_codes_free(&parts);
    free(clip.audio.samples);
    rlm_search_close(&s);
    rlm_ears_close(&ears);
    rlm_par_close(&par);
    rlm_session_close(&session);
    rlm_close(&engine);
}

static void case_refusals(void)
{
    rig r;
    CHECK(rig_open(&r, folder) == 0);
    rlm_error err = {0};
    rlm_search *s = NULL;
    rlm_search_options o = {.model_dir = folder, .threads = 1};
    CHECK(rlm_search_open(&s, &o, &err) == RLM_E_ARG && !s);
    o.steps = 2;
    o.model_dir = "no/such/model";
    CHECK(rlm_search_open(&s, &o, &err) != 0 && !s);
    o.model_dir = folder;
    o.perceptual = "no/such/file";
    CHECK(rlm_search_open(&s, &o, &err) != 0 && !s);
    CHECK_HAS(err.text, "no/such/file");
    o.perceptual = NULL;
    CHECK(rlm_search_open(&s, &o, &err) == 0);
    rlm_frames f = film(5, 32, 32), other = film(5, 64, 32), few = film(1, 32, 32);
    rlm_codes codes = {0};
    CHECK(rlm_video_encode(&r.run, r.model.video, &f, &codes, NULL) == 0);
    CHECK(rlm_search_frames(s, &other, &codes, &err) == RLM_E_TOKENS);
    CHECK_HAS(err.text, "32x64");
    codes.ids[3] = 64;
    CHECK(rlm_search_frames(s, &f, &codes, &err) == RLM_E_TOKENS);
    codes.ids[3] = 63;
    CHECK(rlm_search_frames(s, &f, &codes, &err) == 0);
    CHECK(rlm_search_frames(s, &few, &codes, &err) == 0); /* its last frame is held */
    few.count = 0;
    CHECK(rlm_search_frames(s, &few, &codes, &err) == RLM_E_ARG);
    rlm_codes_free(&codes);
    free(f.rgb);
    free(other.rgb);
    free(few.rgb);
    rlm_search_close(&s);
    rig_close(&r);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    rlm_error err = {0};
    if (!folder_open() || small_video_save(folder, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    TEST_CASE(case_closer);
    TEST_CASE(case_windows);
    TEST_CASE(case_perceptual);
    TEST_CASE(case_sound);
    TEST_CASE(case_refusals);
    folder_close();
    return TEST_END();
}
