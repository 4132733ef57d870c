/* prompts/: vocabulary arithmetic, every task built and parsed back, positions, refusals. */
#include <string.h>

#include "prompts/tasks.h"
#include "src/base/rng.h"
#include "tests/test.h"

static const rlm_vocab vocab = {.audio_levels = 4, .text_pieces = 2048};

/* Codes of the largest grids below. */
typedef struct material {
    int32_t text[8], visual[4096], audio[4 * 300], video[16384], sound[4 * 300];
} material;

static void fill(int32_t *x, int n, int limit, uint64_t stream)
{
    for (int i = 0; i < n; i++)
        x[i] = (int32_t)rlm_rng_below(7, stream, (uint64_t)i, (uint32_t)limit);
}

static void make(material *m)
{
    fill(m->text, 8, 2048, 1);
    fill(m->visual, 4096, RLM_VIDEO_CODES, 2);
    fill(m->audio, 4 * 300, RLM_AUDIO_CODES, 3);
    fill(m->video, 16384, RLM_VIDEO_CODES, 4);
    fill(m->sound, 4 * 300, RLM_AUDIO_CODES, 5);
}

/* Every segment a task may have, at h x w codes and t latent frames. */
static rlm_layout_spec full_spec(const material *m, int task, int t, int h, int w)
{
    const rlm_task_info *info = rlm_task_get(task);
    rlm_layout_spec s = {.task = task, .source = 1};
    bool same = task == RLM_TASK_PAINT || task == RLM_TASK_STYLIZE;
    int in = same ? t : task == RLM_TASK_VIDEO_TO_AUDIO || task == RLM_TASK_PREDICT ? 2 : 1;
    s.text = m->text;
    s.text_count = 8;
    if (info->visual_in)
        s.visual_in = (rlm_grid){in, h, w, m->visual, NULL};
    if (info->audio_in)
        s.audio_in = (rlm_grid){4, 30, 1, m->audio, NULL};
    if (info->video_out)
        s.video_out = (rlm_grid){task == RLM_TASK_IMAGE ? 1 : t, h, w, m->video, NULL};
    if (info->audio_out)
        s.audio_out = (rlm_grid){4, 106, 1, m->sound, NULL};
    return s;
}

static void test_vocab(void)
{
    CHECK(rlm_vocab_size(&vocab) == 266496 + 2048);
    rlm_modality m;
    int32_t code;
    int level;
    CHECK(rlm_vocab_split(&vocab, rlm_vocab_audio(3, 1023), &m, &code, &level));
    CHECK(m == RLM_MOD_AUDIO && code == 1023 && level == 3);
    CHECK(rlm_vocab_audio(3, 1023) == 266495);
    CHECK(rlm_vocab_split(&vocab, 255, &m, &code, NULL) && m == RLM_MOD_SPECIAL && code == 255);
    CHECK(rlm_vocab_split(&vocab, 256, &m, &code, NULL) && m == RLM_MOD_VIDEO && code == 0);
    CHECK(rlm_vocab_split(&vocab, 262399, &m, &code, NULL) && m == RLM_MOD_VIDEO);
    CHECK(code == RLM_VIDEO_CODES - 1);
    CHECK(rlm_vocab_split(&vocab, 266496, &m, &code, NULL) && m == RLM_MOD_TEXT && code == 0);
    CHECK(!rlm_vocab_split(&vocab, -1, &m, &code, NULL));
    CHECK(!rlm_vocab_split(&vocab, 266496 + 2048, &m, &code, NULL));
    rlm_vocab two = {.audio_levels = 2, .text_pieces = 10};
    CHECK(!rlm_vocab_split(&two, rlm_vocab_audio(2, 0), &m, &code, NULL));
}

static void check_invariants(const rlm_layout *l)
{
    int bad = 0;
    for (int p = 0; p < l->count; p++) {
        int32_t first = l->legal[2 * p], n = l->legal[2 * p + 1];
        bad += l->ids[p] < first || l->ids[p] >= first + n;
        bad += p < l->prefix && l->target[p];
        bad += l->pos[3 * p] < 0 || l->pos[3 * p + 1] < 0 || l->pos[3 * p + 2] < 0;
    }
    CHECK(bad == 0);
}

static void round_trip(const material *m, const rlm_layout_spec *s)
{
    rlm_layout l;
    rlm_error err = {0};
    CHECK(rlm_layout_build(&l, &vocab, s, &err) == 0);
    check_invariants(&l);
    CHECK(rlm_layout_count(s) == l.count);
    CHECK(l.ids[0] == RLM_ID_BOS && l.ids[1] == RLM_ID_TASK + s->task);
    static int32_t video[16384], audio[4 * 300];
    CHECK(rlm_layout_parse(&l, &vocab, s, l.ids, video, audio, &err) == 0);
    int nv = s->video_out.t * s->video_out.h * s->video_out.w;
    int na = s->audio_out.t * s->audio_out.h;
    CHECK(!memcmp(video, m->video, (size_t)nv * 4));
    CHECK(!memcmp(audio, m->sound, (size_t)na * 4));
    if (s->task != RLM_TASK_IMAGE) {
        CHECK(l.ids[l.count - 1] == RLM_ID_EOS && l.target[l.count - 1]);
    } else {
        CHECK(rlm_layout_video_at(&l, &vocab, s) + nv == l.count);
    }
    int at = nv ? rlm_layout_video_at(&l, &vocab, s) : rlm_layout_audio_at(&l, &vocab, s);
    CHECK(at > 0);
    l.ids[at] = RLM_ID_EOS;
    CHECK(rlm_layout_parse(&l, &vocab, s, l.ids, NULL, NULL, &err) == RLM_E_TOKENS);
    rlm_layout_free(&l);
}

static void test_tasks(void)
{
    static material m;
    make(&m);
    for (int task = 1; task < RLM_TASK_COUNT; task++) {
        const rlm_task_info *info = rlm_task_get(task);
        CHECK(info && rlm_task_by_name(info->name) == info);
        rlm_layout_spec s = full_spec(&m, task, 5, 16, 16);
        round_trip(&m, &s);
        s = full_spec(&m, task, 3, 28, 16);
        s.text_count = 0;
        round_trip(&m, &s);
        s = full_spec(&m, task, 7, 5, 19);
        s.source = -1;
        round_trip(&m, &s);
    }
    CHECK(!rlm_task_get(0) && !rlm_task_get(RLM_TASK_COUNT) && !rlm_task_by_name("nothing"));
}

/* bos task bot text eot bov image eov source | bov V eov boa A eoa eos, as in the paper's table. */
static void test_order(void)
{
    static material m;
    make(&m);
    rlm_layout l;
    rlm_layout_spec s = full_spec(&m, RLM_TASK_VIDEO, 5, 16, 16);
    CHECK(rlm_layout_build(&l, &vocab, &s, NULL) == 0);
    CHECK(l.prefix == 2 + 10 + 258 + 1);
    CHECK(l.count == l.prefix + 1282 + 426 + 1);
    CHECK(l.ids[2] == RLM_ID_BOT_I && l.ids[11] == RLM_ID_EOT_I && l.ids[12] == RLM_ID_BOV_I);
    CHECK(l.ids[l.prefix - 1] == RLM_ID_SOURCE + 1);
    CHECK(l.ids[l.prefix] == RLM_ID_BOV_O && !l.target[l.prefix]);
    int a = rlm_layout_audio_at(&l, &vocab, &s);
    CHECK(a == l.prefix + 1283 && l.ids[a - 1] == RLM_ID_BOA_O && !l.target[a - 1]);
    CHECK(l.ids[a - 2] == RLM_ID_EOV_O && l.target[a - 2]);
    CHECK(l.legal[2 * (a + 106)] == RLM_ID_AUDIO + 1024 && l.legal[2 * (a + 106) + 1] == 1024);
    rlm_layout_free(&l);
    s.video_out.t = 11;
    CHECK(rlm_layout_build(&l, &vocab, &s, NULL) == 0);
    CHECK(l.ids[l.prefix - 1] == RLM_ID_LONG);
    rlm_layout_free(&l);
    s = full_spec(&m, RLM_TASK_STYLIZE, 2, 28, 16);
    CHECK(rlm_layout_build(&l, &vocab, &s, NULL) == 0);
    CHECK(l.ids[l.prefix - 1] == RLM_ID_RES_PORTRAIT);
    rlm_layout_free(&l);
}

/* Sound and picture of the same moment stand within one latent frame on the t axis; the image of
 * image-to-video stands beside frame 0; the future continues the past. */
static void test_positions(void)
{
    static material m;
    make(&m);
    rlm_layout l;
    rlm_layout_spec s = full_spec(&m, RLM_TASK_VIDEO, 5, 16, 16);
    CHECK(rlm_layout_build(&l, &vocab, &s, NULL) == 0);
    int v = rlm_layout_video_at(&l, &vocab, &s), a = rlm_layout_audio_at(&l, &vocab, &s);
    for (int f = 0; f < 100; f++) {
        int latent = l.pos[3 * (v + 256 * (f / 25))];
        int sound = l.pos[3 * (a + 106 * 2 + f)];
        CHECK(sound - latent >= 0 && sound - latent < 4);
    }
    int image = 13;
    CHECK(l.pos[3 * image] == l.pos[3 * v] + 2);
    CHECK(l.pos[3 * image + 1] == l.pos[3 * v + 1] && l.pos[3 * image + 2] == l.pos[3 * v + 2]);
    CHECK(l.pos[3 * (v + 256 + 17) + 1] == l.pos[3 * v + 1] + 1);
    CHECK(l.pos[3 * (v + 256 + 17) + 2] == l.pos[3 * v + 2] + 1);
    CHECK(l.pos[3 * 5] == 5 && l.pos[3 * 5 + 1] == 5 && l.pos[3 * 5 + 2] == 5);
    rlm_layout_free(&l);
    s = full_spec(&m, RLM_TASK_PREDICT, 3, 16, 16);
    CHECK(rlm_layout_build(&l, &vocab, &s, NULL) == 0);
    v = rlm_layout_video_at(&l, &vocab, &s);
    CHECK(l.pos[3 * v] == l.pos[3 * (image + 256)] + 4 - 2);
    CHECK(l.pos[3 * v + 1] == l.pos[3 * image + 1]);
    rlm_layout_free(&l);
}

static void test_generation(void)
{
    static material m;
    make(&m);
    static uint8_t known[1280];
    rlm_layout l;
    rlm_layout_spec s = full_spec(&m, RLM_TASK_VIDEO, 5, 16, 16);
    s.video_out.ids = NULL;
    s.audio_out = (rlm_grid){0};
    CHECK(rlm_layout_build(&l, &vocab, &s, NULL) == 0);
    int v = rlm_layout_video_at(&l, &vocab, &s);
    CHECK(l.ids[v] == -1 && l.ids[v + 1279] == -1 && l.ids[v + 1280] == RLM_ID_EOV_O);
    CHECK(l.target[v] == 1);
    rlm_layout_free(&l);
    memset(known, 1, 256);
    s.video_out.ids = m.video;
    s.video_out.known = known;
    CHECK(rlm_layout_build(&l, &vocab, &s, NULL) == 0);
    CHECK(l.ids[v] == rlm_vocab_video(m.video[0]) && !l.target[v]);
    CHECK(l.ids[v + 256] == -1 && l.target[v + 256]);
    rlm_layout_free(&l);
    m.video[256] = -5; /* what is not known is not looked at */
    CHECK(rlm_layout_build(&l, &vocab, &s, NULL) == 0);
    rlm_layout_free(&l);
    known[256] = 1;
    CHECK(rlm_layout_build(&l, &vocab, &s, NULL) == RLM_E_TOKENS);
    m.video[256] = 0;
    s = full_spec(&m, RLM_TASK_PAINT, 5, 16, 16);
    m.visual[3] = -1;
    CHECK(rlm_layout_build(&l, &vocab, &s, NULL) == 0);
    CHECK(l.ids[13 + 3] == RLM_ID_MASK && l.legal[2 * 16] == RLM_ID_MASK);
    rlm_layout_free(&l);
}

/* A codec with fewer codes than the map has room for: fewer are legal. */
static void test_small_codes(void)
{
    static material m;
    make(&m);
    fill(m.audio, 1200, 64, 8);
    fill(m.sound, 1200, 64, 8);
    rlm_vocab small = {.audio_levels = 4, .text_pieces = 2048, .audio_codes = 64};
    rlm_layout l;
    rlm_layout_spec s = full_spec(&m, RLM_TASK_VIDEO, 5, 16, 16);
    CHECK(rlm_layout_build(&l, &small, &s, NULL) == 0);
    int at = rlm_layout_audio_at(&l, &small, &s);
    CHECK(l.legal[2 * at + 1] == 64 && l.legal[2 * (at - 300) + 1] == RLM_VIDEO_CODES);
    rlm_layout_free(&l);
    m.sound[5] = 64;
    CHECK(rlm_layout_build(&l, &small, &s, NULL) == RLM_E_TOKENS);
}

static int refused(const rlm_layout_spec *s)
{
    rlm_layout l;
    rlm_error err = {0};
    int code = rlm_layout_build(&l, &vocab, s, &err);
    CHECK(code != 0 && err.code == code && err.text[0] && !l.ids);
    return code;
}

static void test_refusals(void)
{
    static material m;
    make(&m);
    rlm_layout_spec s = full_spec(&m, RLM_TASK_VIDEO, 5, 16, 16), bad;
    bad = s, bad.task = 0;
    CHECK(refused(&bad) == RLM_E_ARG);
    bad = s, bad.video_out.t = 0;
    CHECK(refused(&bad) == RLM_E_ARG);
    bad = s, bad.visual_in.t = 2;
    CHECK(refused(&bad) == RLM_E_ARG);
    bad = s, bad.visual_in.ids = NULL;
    CHECK(refused(&bad) == RLM_E_ARG);
    bad = s, bad.visual_in.w = 15;
    CHECK(refused(&bad) == RLM_E_ARG);
    bad = s, bad.audio_in = (rlm_grid){4, 10, 1, m.audio, NULL};
    CHECK(refused(&bad) == RLM_E_ARG);
    bad = s, bad.audio_out.t = 5;
    CHECK(refused(&bad) == RLM_E_RANGE);
    bad = s, bad.audio_out.w = 2;
    CHECK(refused(&bad) == RLM_E_RANGE);
    bad = s, bad.source = 32;
    CHECK(refused(&bad) == RLM_E_RANGE);
    bad = s, bad.video_out.h = -1;
    CHECK(refused(&bad) == RLM_E_RANGE);
    bad = s, bad.video_out.t = bad.video_out.h = bad.video_out.w = 16384;
    CHECK(refused(&bad) == RLM_E_RANGE);
    bad = s, bad.text_count = -1;
    CHECK(refused(&bad) == RLM_E_ARG);
    m.text[2] = 2048;
    CHECK(refused(&s) == RLM_E_TOKENS);
    m.text[2] = 0;
    m.video[9] = RLM_VIDEO_CODES;
    CHECK(refused(&s) == RLM_E_TOKENS);
    m.video[9] = 0;
    m.sound[9] = -1;
    CHECK(refused(&s) == RLM_E_TOKENS);
    bad = full_spec(&m, RLM_TASK_PAINT, 5, 16, 16);
    bad.visual_in.t = 4;
    CHECK(refused(&bad) == RLM_E_ARG);
}

/* Each segment of each task, left out where it must stand and given where it may not. */
static void test_segments(void)
{
    static material m;
    make(&m);
    for (int task = 1; task < RLM_TASK_COUNT; task++) {
        const rlm_task_info *info = rlm_task_get(task);
        const int rules[] = {info->visual_in, info->audio_in, info->video_out, info->audio_out};
        for (int i = 0; i < 4; i++) {
            rlm_layout_spec s = full_spec(&m, task, 5, 16, 16);
            rlm_grid *g[] = {&s.visual_in, &s.audio_in, &s.video_out, &s.audio_out};
            bool sound = i == 1 || i == 3;
            if (rules[i] == RLM_SEG_REQUIRED)
                *g[i] = (rlm_grid){0};
            else if (rules[i] == RLM_SEG_NONE)
                *g[i] = sound ? (rlm_grid){4, 30, 1, m.audio, NULL}
                              : (rlm_grid){1, 16, 16, m.visual, NULL};
            else
                continue;
            if (refused(&s) != RLM_E_ARG)
                TEST_FAILED("task %s, segment %d", info->name, i);
        }
    }
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(test_vocab);
    TEST_CASE(test_tasks);
    TEST_CASE(test_order);
    TEST_CASE(test_positions);
    TEST_CASE(test_generation);
    TEST_CASE(test_small_codes);
    TEST_CASE(test_refusals);
    TEST_CASE(test_segments);
    return TEST_END();
}
