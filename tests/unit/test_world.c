/* The playground: same seed, same bytes; sound on the contact; flow, depth and mask against the
 * geometry; held-out pairs; controls; bad wishes. */
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/world/render.h"
#include "tests/test.h"

static rlm_world *world;

static rlm_world_want wanted(int width, int height, int frames)
{
    rlm_world_want want;
    rlm_world_want_defaults(&want);
    want.width = width;
    want.height = height;
    want.frames = frames;
    return want;
}

/* Pixels, samples, depth and flow of one clip as one hash. */
static void hash_clip(uint64_t seed, const rlm_world_want *want, char hex[65])
{
    rlm_clip clip = {0};
    size_t n = (size_t)want->frames * (size_t)want->width * (size_t)want->height;
    rlm_world_truth truth = {rlm_alloc(4 * n), rlm_alloc(8 * n), rlm_alloc(n)};
    char parts[5][65];
    hex[0] = 0;
    CHECK(rlm_world_clip(world, seed, want, &clip, &truth, NULL) == 0);
    rlm_sha256_hex(clip.video.rgb, 3 * n, parts[0]);
    rlm_sha256_hex(clip.audio.samples, 4 * (size_t)clip.audio.count, parts[1]);
    rlm_sha256_hex(truth.depth, 4 * n, parts[2]);
    rlm_sha256_hex(truth.flow, 8 * n, parts[3]);
    rlm_sha256_hex(truth.mask, n, parts[4]);
    rlm_sha256_hex(parts, sizeof parts, hex);
    rlm_clip_free(&clip);
    rlm_free(truth.depth);
    rlm_free(truth.flow);
    rlm_free(truth.mask);
}

static void case_same_bytes(void)
{
    rlm_world_want want = wanted(64, 48, 5);
    uint64_t seeds[6];
    rlm_clip clips[6];
    for (int i = 0; i < 6; i++) {
        char a[65], b[65];
        seeds[i] = (uint64_t)i * 77777;
        hash_clip(seeds[i], &want, a);
        hash_clip(seeds[i], &want, b);
        CHECK_STR(a, b);
    }
    CHECK(rlm_world_batch(world, seeds, 6, &want, clips, NULL, NULL) == 0);
    for (int i = 0; i < 6; i++) {
        rlm_clip one = {0};
        CHECK(rlm_world_clip(world, seeds[i], &want, &one, NULL, NULL) == 0);
        CHECK(!memcmp(one.video.rgb, clips[i].video.rgb, 5 * 64 * 48 * 3));
        CHECK(one.audio.count == clips[i].audio.count && one.audio.count == 10000);
        CHECK(!memcmp(one.audio.samples, clips[i].audio.samples, 4 * 10000));
        rlm_clip_free(&one);
        rlm_clip_free(&clips[i]);
    }
}

/* The bytes themselves, so that another compiler or machine that differs is noticed, and that
 * whoever changes them on purpose counts the schema up. */
static void case_known_bytes(void)
{
    CHECK(RLM_WORLD_SCHEMA == 2); /* of the bytes below */
    static const char *const known[] = {
        "c0e1ac223cec6892ac8b77831e96cd37e642783b13bbdc65f4ffcd6878d30d8d",
        "5b80a3b4a2bf3ba84537646f441ee38e729202e4ae5d1cd8905e2bf55d98fb6e",
        "8c3c22ef034d47eb4890d01ca2b3337920c1b5ded7482e22aa30e2c016fa27b6"};
    rlm_world_want want = wanted(48, 48, 3);
    for (int i = 0; i < 3; i++) {
        char hex[65];
        hash_clip((uint64_t)i + 1, &want, hex);
        CHECK_STR(hex, known[i]);
    }
}

static void case_sound_on_contact(void)
{
    enum { COUNT = 34000 };
    rlm_motion *m = rlm_alloc(sizeof *m), *one = rlm_alloc(sizeof *one);
    float *samples = rlm_alloc(sizeof(float) * COUNT);
    int contacts = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        rlm_scene s;
        rlm_scene_make(&s, seed, -1);
        rlm_motion_make(m, &s, 2.125);
        for (int i = 0; i < m->contacts; i++) {
            *one = *m;
            one->contact[0] = m->contact[i];
            one->contacts = 1;
            int64_t at = (int64_t)(m->contact[i].t * 16000 + 0.5), first = 0;
            memset(samples, 0, sizeof(float) * COUNT);
            rlm_world_sound(&s, one, SOUND_IMPACTS, COUNT, samples);
            while (first < COUNT && samples[first] == 0)
                first++;
            if (at + 2 < COUNT) {
                CHECK(first >= at - 1 && first <= at + 1);
                contacts++;
            }
        }
    }
    CHECK(contacts > 150);
    rlm_free(m);
    rlm_free(one);
    rlm_free(samples);
}

/* Bodies touch at contacts, never sink into the floor, and keep still when nothing moves them. */
static void case_motion(void)
{
    rlm_motion *m = rlm_alloc(sizeof *m);
    int rolled = 0, slips = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        rlm_scene s;
        rlm_scene_make(&s, seed, -1);
        rlm_motion_make(m, &s, 2.125);
        CHECK((s.event != BOUNCE && s.event != FALL && s.event != COLLIDE && s.event != JUMP) ||
              m->contacts > 0);
        for (double t = 0; t < 2.1; t += 0.05)
            for (int i = 0; i < s.count; i++) {
                rlm_pose p, q;
                const double h = 1e-3;
                rlm_motion_pose(m, &s, i, t, &p);
                rlm_motion_pose(m, &s, i, t + h, &q);
                CHECK(p.p[1] > 0.05);
                if (s.object[i].shape != SHAPE_BALL || !p.touches || !q.touches || p.speed < 0.3)
                    continue;
                /* Without slip: what touches the floor stands still for an instant. */
                v3 low = m3_back(&p.rotation, v3_make(0, -(float)s.object[i].dim[0], 0));
                v3 moved = m3_apply(&q.rotation, low);
                double x = q.p[0] + (double)moved.x - p.p[0], z = q.p[2] + (double)moved.z - p.p[2];
                double slip = sqrt(x * x + z * z) / h;
                int near = 0;
                for (int k = 0; k < m->contacts; k++)
                    near |= fabs(m->contact[k].t - t) < 2 * h;
                slips += !near && slip > 0.05 * p.speed + 0.02;
                rolled++;
            }
    }
    CHECK(rolled > 300);
    CHECK(slips == 0);
    rlm_free(m);
}

/* How far a point in the body's axes is from its surface, from the textbook. */
static double off_surface(const rlm_object *o, v3 p)
{
    double x = (double)p.x, y = (double)p.y, z = (double)p.z, q = sqrt(x * x + z * z);
    double a = o->dim[0], h = o->dim[1];
    switch (o->shape) {
    case SHAPE_BALL:
        return fabs(sqrt(q * q + y * y) - a);
    case SHAPE_CUBE:
        return fabs(fmax(fabs(x), fmax(fabs(y), fabs(z))) - a);
    case SHAPE_CYLINDER:
        return fabs(fmax(q - a, fabs(y) - h));
    case SHAPE_CONE:
        return fabs(fmax(((y - h) * a + q * 2 * h) / sqrt(a * a + 4 * h * h), -h - y));
    default:
        return fabs(sqrt((q - a) * (q - a) + y * y) - h);
    }
}

/* Every pixel's depth, taken back into space, lies on what the mask says. */
static void check_depth(uint64_t seed, const rlm_world_want *want, rlm_motion *m, int64_t *seen)
{
    size_t n = (size_t)want->width * (size_t)want->height;
    rlm_world_truth truth = {rlm_alloc(4 * n), NULL, rlm_alloc(n)};
    rlm_scene s;
    rlm_view v;
    rlm_scene_make(&s, seed, -1);
    rlm_motion_make(m, &s, rlm_world_seconds(want));
    CHECK(rlm_world_draw(world, &s, m, want, NULL, &truth, NULL) == 0);
    double far = rlm_camera_distance(&s, m, want->width, want->height);
    rlm_camera_at(&s, m, far, want->width, want->height, 0, &v);
    int wrong = 0;
    for (size_t i = 0; i < n; i++) {
        float x = ((float)(i % (size_t)want->width) + 0.5f - v.half_w) / v.focal;
        float y = (v.half_h - (float)(i / (size_t)want->width) - 0.5f) / v.focal;
        v3 d = v3_mad(v3_mad(v.ahead, v.right, x), v.up, y), p = v3_mad(v.at, d, truth.depth[i]);
        int what = truth.mask[i];
        if (what) {
            rlm_pose pose;
            rlm_motion_pose(m, &s, what - 1, 0, &pose);
            v3 c = {(float)pose.p[0], (float)pose.p[1], (float)pose.p[2]};
            wrong += off_surface(&s.object[what - 1], m3_back(&pose.rotation, v3_sub(p, c))) > 2e-3;
            seen[s.object[what - 1].shape]++;
        } else if (s.sky != INDOORS) {
            double floor = d.y < 0 ? (double)(-v.at.y / d.y) : 100;
            floor = floor > 100 ? 100 : floor;
            wrong += fabs((double)truth.depth[i] - floor) > 1e-3 * floor;
        } else {
            wrong +=
                !(fabsf(p.y) < 1e-2f || fabsf(p.z - 4.2f) < 1e-2f || fabsf(fabsf(p.x) - 6) < 1e-2f);
        }
    }
    CHECK(wrong == 0);
    rlm_free(truth.depth);
    rlm_free(truth.mask);
}

static void case_depth(void)
{
    rlm_world_want want = wanted(96, 64, 1);
    rlm_motion *m = rlm_alloc(sizeof *m);
    int64_t seen[SHAPES] = {0};
    for (uint64_t seed = 0; seed < 60; seed++)
        check_depth(seed, &want, m, seen);
    for (int i = 0; i < SHAPES; i++)
        CHECK(seen[i] > 500);
    rlm_free(m);
}

static double pixel(const rlm_frames *v, int frame, double x, double y, int k)
{
    int ix = (int)x, iy = (int)y;
    double fx = x - ix, fy = y - iy;
    const uint8_t *p =
        v->rgb +
        3 * (((size_t)frame * (size_t)v->height + (size_t)iy) * (size_t)v->width + (size_t)ix) + k;
    const uint8_t *q = p + 3 * v->width;
    return (1 - fy) * ((1 - fx) * p[0] + fx * p[3]) + fy * ((1 - fx) * q[0] + fx * q[3]);
}

/* Squared error over the parts that stand still, before and after following the flow. */
static void warp(uint64_t seed, double *still, double *followed)
{
    rlm_world_want want = wanted(128, 128, 4);
    size_t n = 128 * 128;
    want.style = 0;
    want.audio = 0;
    rlm_world_truth truth = {rlm_alloc(16 * n), rlm_alloc(32 * n), rlm_alloc(4 * n)};
    rlm_clip clip = {0};
    CHECK(rlm_world_clip(world, seed, &want, &clip, &truth, NULL) == 0);
    for (int t = 0; t < 3; t++)
        for (int y = 0; y < 128; y++)
            for (int x = 0; x < 128; x++) {
                size_t i = (size_t)t * n + (size_t)y * 128 + (size_t)x;
                double u = x + (double)truth.flow[2 * i], v = y + (double)truth.flow[2 * i + 1];
                if (truth.mask[i] || truth.depth[i] > 12 || u < 1 || v < 1 || u >= 126 || v >= 126)
                    continue;
                size_t to = (size_t)(t + 1) * n + (size_t)v * 128 + (size_t)u;
                if (truth.mask[to] || truth.mask[to + 1] || truth.mask[to + 128] ||
                    truth.mask[to + 129])
                    continue;
                for (int k = 0; k < 3; k++) {
                    double a = pixel(&clip.video, t, x, y, k);
                    double b = pixel(&clip.video, t + 1, x < 127 ? x : 126, y < 127 ? y : 126, k);
                    double c = pixel(&clip.video, t + 1, u, v, k);
                    *still += (a - b) * (a - b);
                    *followed += (a - c) * (a - c);
                }
            }
    rlm_clip_free(&clip);
    rlm_free(truth.depth);
    rlm_free(truth.flow);
    rlm_free(truth.mask);
}

static void case_flow(void)
{
    double still = 0, followed = 0;
    int scenes = 0;
    for (uint64_t seed = 0; scenes < 24; seed++) {
        rlm_scene s;
        rlm_scene_make(&s, seed, 0);
        if (s.camera == STILL || s.weather != CLEAR || (s.floor != PLANKS && s.floor != TILES))
            continue;
        warp(seed, &still, &followed);
        scenes++;
    }
    printf("flow: error falls by %.1f %%\n", 100 * (1 - followed / still));
    CHECK(followed < 0.2 * still);
}

static void case_held_out(void)
{
    int wrong = 0, held = 0, tests = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        rlm_scene s;
        uint64_t seed = rlm_world_seed(RLM_SPLIT_TRAIN, i);
        wrong += rlm_world_split(seed) != RLM_SPLIT_TRAIN;
        rlm_scene_make(&s, seed, -1);
        for (int k = 0; k < HELD_OUT_PAIRS; k++)
            wrong += rlm_scene_has_pair(&s, &rlm_held_out[k]);
    }
    CHECK(wrong == 0);
    int of_pair[HELD_OUT_PAIRS] = {0};
    for (uint64_t i = 0; i < 2000; i++, tests++) {
        rlm_scene s;
        rlm_scene_make(&s, rlm_world_seed(RLM_SPLIT_TEST, i), -1);
        for (int k = 0; k < HELD_OUT_PAIRS; k++) {
            of_pair[k] += rlm_scene_has_pair(&s, &rlm_held_out[k]);
            held += rlm_scene_has_pair(&s, &rlm_held_out[k]);
        }
    }
    CHECK(held > 0.4 * tests && held < 0.6 * tests);
    for (int k = 0; k < HELD_OUT_PAIRS; k++)
        CHECK(of_pair[k] > 10);
}

/* The data file lists what the code holds out. */
static void case_held_out_file(void)
{
    static const char *const keys[] = {"colour", "shape", "material",  "size",
                                       "floor",  "sky",   "weather",   "camera",
                                       "style",  "event", "direction", "light"};
    char *text = NULL;
    size_t bytes;
    CHECK(rlm_file_read("assets/world/held_out.json", 1 << 20, &text, &bytes, NULL) == 0);
    cJSON *root = text ? cJSON_Parse(text) : NULL;
    const cJSON *pairs = cJSON_GetObjectItem(root, "pairs");
    CHECK(cJSON_GetArraySize(pairs) == HELD_OUT_PAIRS);
    for (int i = 0; root && i < HELD_OUT_PAIRS; i++)
        for (int k = 0; k < 2; k++) {
            const rlm_pair *pair = &rlm_held_out[i];
            const cJSON *v = cJSON_GetObjectItem(cJSON_GetArrayItem(pairs, i), keys[pair->fact[k]]);
            const char *name = rlm_fact_name(pair->fact[k], pair->value[k]);
            CHECK(cJSON_IsString(v) && !strcmp(v->valuestring, name));
        }
    CHECK(cJSON_GetArraySize(cJSON_GetObjectItem(root, "prompts")) == 2 * HELD_OUT_PAIRS);
    cJSON_Delete(root);
    rlm_free(text);
}

static void case_facts(void)
{
    rlm_world_want want = wanted(128, 128, 17);
    for (uint64_t seed = 0; seed < 200; seed++) {
        char *json = NULL;
        rlm_scene s;
        rlm_scene_make(&s, seed, -1);
        CHECK(rlm_world_facts(seed, &want, &json, NULL) == 0);
        cJSON *root = cJSON_Parse(json ? json : "");
        const cJSON *objects = cJSON_GetObjectItem(root, "objects");
        CHECK(cJSON_GetArraySize(objects) == s.count);
        const cJSON *floor = cJSON_GetObjectItem(root, "floor");
        CHECK(floor && !strcmp(floor->valuestring, rlm_fact_name(FACT_FLOOR, s.floor)));
        cJSON_Delete(root);
        rlm_free(json);
    }
}

static void case_control(void)
{
    rlm_world_want want = wanted(64, 64, 6);
    size_t n = 6 * 64 * 64;
    rlm_world_truth truth = {rlm_alloc(4 * n), rlm_alloc(8 * n), NULL};
    float *depth = rlm_alloc(4 * n), *flow = rlm_alloc(8 * n);
    rlm_clip clip = {0}, packed = {0};
    rlm_control_range range;
    CHECK(rlm_world_clip(world, 11, &want, &clip, &truth, NULL) == 0);
    CHECK(rlm_control_pack(truth.depth, truth.flow, 6, 64, 64, &packed, &range, NULL) == 0);
    rlm_control_unpack(&packed.video, &range, depth, flow);
    int wrong = 0;
    for (size_t i = 0; i < n; i++) {
        wrong += fabsf(flow[2 * i] - truth.flow[2 * i]) > 0.51f * range.flow / 127;
        wrong += fabsf(flow[2 * i + 1] - truth.flow[2 * i + 1]) > 0.51f * range.flow / 127;
        wrong += fabsf(1 / depth[i] - 1 / truth.depth[i]) > 0.51f * (range.near - range.far) / 255;
    }
    CHECK(wrong == 0);
    rlm_error err = {0};
    CHECK(rlm_control_pack(NULL, NULL, 0, 4, 4, &packed, NULL, &err) == RLM_E_RANGE);
    rlm_clip_free(&clip);
    rlm_clip_free(&packed);
    rlm_free(truth.depth);
    rlm_free(truth.flow);
    rlm_free(depth);
    rlm_free(flow);
}

/* The estimate follows most of the true motion of textured floors and walls. */
static void case_estimate(void)
{
    double error = 0, zero = 0;
    int scenes = 0;
    for (uint64_t seed = 0; scenes < 8; seed++) {
        rlm_scene s;
        rlm_scene_make(&s, seed, 0);
        if (s.camera == STILL || s.weather != CLEAR || s.floor == SAND || s.floor == SNOW)
            continue;
        rlm_world_want want = wanted(96, 96, 17);
        size_t n = 17 * 96 * 96;
        rlm_world_truth truth = {rlm_alloc(4 * n), rlm_alloc(8 * n), rlm_alloc(n)};
        float *flow = rlm_alloc(8 * n);
        rlm_clip clip = {0};
        want.style = 0;
        CHECK(rlm_world_clip(world, seed, &want, &clip, &truth, NULL) == 0);
        CHECK(rlm_flow_estimate(&clip.video, flow, NULL) == 0);
        for (size_t i = 0; i < n * 16 / 17; i++) {
            if (truth.depth[i] > 10 || truth.mask[i])
                continue;
            double du = (double)flow[2 * i], dv = (double)flow[2 * i + 1];
            double u = (double)truth.flow[2 * i], v = (double)truth.flow[2 * i + 1];
            error += sqrt((du - u) * (du - u) + (dv - v) * (dv - v));
            zero += sqrt(u * u + v * v);
        }
        rlm_depth_guess(&clip.video, flow, truth.depth);
        for (size_t i = 0; i < n; i++)
            CHECK(truth.depth[i] >= 1.4f && truth.depth[i] <= 30);
        rlm_clip_free(&clip);
        rlm_free(truth.depth);
        rlm_free(truth.flow);
        rlm_free(truth.mask);
        rlm_free(flow);
        scenes++;
    }
    printf("flow estimate: end point error %.0f %% of the motion\n", 100 * error / zero);
    CHECK(error < 0.35 * zero);
}

/* What a caption may name can be seen: every body covers some pixels in most frames. */
static void case_seen(void)
{
    enum { SIDE = 64, N = 17, SCENES = 120 };
    rlm_world_want want = wanted(SIDE, SIDE, N);
    rlm_world_truth truth = {.mask = malloc((size_t)N * SIDE * SIDE)};
    rlm_motion *m = malloc(sizeof *m);
    int hidden = 0;
    for (uint64_t i = 0; i < SCENES; i++) {
        rlm_scene s;
        rlm_scene_make(&s, rlm_world_seed(RLM_SPLIT_TRAIN, 400 + i), -1);
        rlm_motion_make(m, &s, rlm_world_seconds(&want));
        CHECK(rlm_world_draw(world, &s, m, &want, NULL, &truth, NULL) == 0);
        for (int b = 0; b < s.count; b++) {
            int frames = 0;
            for (int f = 0; f < N; f++) {
                int pixels = 0;
                for (int k = 0; k < SIDE * SIDE; k++)
                    pixels += truth.mask[f * SIDE * SIDE + k] == 1 + b;
                frames += pixels >= 6;
            }
            if (frames < 5 && hidden++ < 5)
                fprintf(stderr, "seed %llu: body %d is seen in %d frames\n",
                        (unsigned long long)s.seed, b, frames);
        }
    }
    CHECK(hidden == 0);
    free(truth.mask);
    free(m);
}

static void case_bad_wishes(void)
{
    rlm_clip clip = {0};
    rlm_error err = {0};
    rlm_world_want want = wanted(8, 128, 17);
    CHECK(rlm_world_clip(world, 1, &want, &clip, NULL, &err) == RLM_E_RANGE);
    CHECK_HAS(err.text, "8 x 128");
    want = wanted(128, 128, 0);
    CHECK(rlm_world_clip(world, 1, &want, &clip, NULL, &err) == RLM_E_RANGE);
    want = wanted(128, 128, 17);
    want.fps_den = 0;
    CHECK(rlm_world_clip(world, 1, &want, &clip, NULL, &err) == RLM_E_RANGE);
    want.fps_den = 1;
    want.style = 4;
    CHECK(rlm_world_clip(world, 1, &want, &clip, NULL, &err) == RLM_E_RANGE);
    CHECK(rlm_world_style("oil") == -1 && rlm_world_style("neon") == 3);
    CHECK(rlm_world_sheet(world, NULL, 0, &want, &clip, &err) == RLM_E_RANGE);
    want.style = -1;
    for (int i = 0; i < 3; i++) { /* each allocation in turn */
        rlm_alloc_fail_after(i);
        CHECK(rlm_world_clip(world, 1, &want, &clip, NULL, &err) == RLM_E_NOMEM);
    }
    rlm_alloc_fail_after(-1);
    CHECK(clip.video.rgb == NULL);
}

/* Odd shapes, one frame, other rates. */
static void case_any_shape(void)
{
    static const int shapes[][4] = {
        {16, 16, 1, 8}, {224, 128, 2, 24}, {128, 224, 2, 30}, {37, 91, 3, 5}};
    for (int i = 0; i < 4; i++) {
        rlm_world_want want = wanted(shapes[i][0], shapes[i][1], shapes[i][2]);
        rlm_clip clip = {0};
        want.fps_num = shapes[i][3];
        CHECK(rlm_world_clip(world, 5 + (uint64_t)i, &want, &clip, NULL, NULL) == 0);
        double seconds = (double)want.frames / want.fps_num;
        CHECK(clip.audio.count == (int64_t)(seconds * 16000 + 0.5));
        rlm_clip_free(&clip);
    }
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    if (rlm_world_open(&world, 2, NULL))
        return 1;
    TEST_CASE(case_same_bytes);
    TEST_CASE(case_known_bytes);
    TEST_CASE(case_sound_on_contact);
    TEST_CASE(case_motion);
    TEST_CASE(case_depth);
    TEST_CASE(case_flow);
    TEST_CASE(case_held_out);
    TEST_CASE(case_held_out_file);
    TEST_CASE(case_facts);
    TEST_CASE(case_control);
    TEST_CASE(case_estimate);
    TEST_CASE(case_seen);
    TEST_CASE(case_bad_wishes);
    TEST_CASE(case_any_shape);
    rlm_world_close(&world);
    return TEST_END();
}
