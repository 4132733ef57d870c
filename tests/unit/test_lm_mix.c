/* Pairs of pictures for the contrast of words: what the trainer takes the difference of must differ
 * in its words alone. */
#include "src/train/lm_train.h"
#include "tests/test.h"

enum { CLIPS = 12, SIDE = 3, CODES = SIDE * SIDE, PIECES = 2048, BATCHES = 40 };

/* Clip i: one picture of codes of its own and one caption; every third is of the other source. */
static void make_store(rlm_lm_store *s, rlm_lm_clip *clips, int32_t *codes)
{
    memset(clips, 0, CLIPS * sizeof *clips);
    for (int i = 0; i < CLIPS; i++) {
        rlm_lm_clip *c = &clips[i];
        c->view_count = 1;
        c->views[0] = (rlm_lm_view){.dims = {1, SIDE, SIDE}, .video = codes + i * CODES};
        for (int k = 0; k < CODES; k++)
            c->views[0].video[k] = 1000 * i + k;
        c->source = i % 3 == 0 ? RLM_SOURCE_REAL : RLM_SOURCE_PLAYGROUND;
        c->text_count[0] = c->text_count[1] = 2;
        for (int t = 0; t < 2; t++) {
            c->text[t][0] = 5;
            c->text[t][1] = 10 + i;
        }
    }
    *s = (rlm_lm_store){.clips = clips, .count = CLIPS, .views = 1};
}

/* The n-th sequence: its predicted codes into `codes` (returns how many), and the one piece of its
 * text that tells captions apart, or -1. */
static int read_sequence(const rlm_lm_batch *b, int n, int32_t *codes, int *piece)
{
    const int32_t *ids = b->ids + (size_t)n * (size_t)b->len;
    const uint8_t *target = b->target + (size_t)n * (size_t)b->len;
    int count = 0;
    *piece = -1;
    for (int i = 0; i < b->length[n]; i++) {
        int code = ids[i] - RLM_ID_VIDEO, text = ids[i] - RLM_ID_TEXT;
        if (target[i] && code >= 0 && code < 1 << 18 && count < CODES)
            codes[count++] = code;
        if (i < b->prefix[n] && text >= 10 && text < 10 + CLIPS)
            *piece = text - 10;
    }
    return count;
}

static void check_pairs(const rlm_lm_batch *b)
{
    int32_t own[CODES], other[CODES];
    CHECK(b->batch >= 2 && b->batch % 2 == 0);
    for (int n = 0; n + 1 < b->batch; n += 2) {
        int mine, another;
        CHECK(read_sequence(b, n, own, &mine) == CODES);
        CHECK(read_sequence(b, n + 1, other, &another) == CODES);
        CHECK(!memcmp(own, other, sizeof own));
        CHECK(mine == own[0] / 1000); /* under its own words */
        CHECK(another >= 0);
        CHECK((another % 3 == 0) == (mine % 3 == 0)); /* of one source */
    }
}

typedef struct bench {
    rlm_lm_clip clips[CLIPS];
    int32_t codes[CLIPS * CODES];
    rlm_lm_store store;
    rlm_dataset none;
    rlm_lm_mix mix;
} bench;

static void open_mix(bench *b, bool told)
{
    rlm_vocab vocab = {4, PIECES, 1 << 18, 1024};
    rlm_recipe r;
    rlm_error err = {0};
    make_store(&b->store, b->clips, b->codes);
    for (int i = 0; i < CLIPS && !told; i++)
        b->clips[i].text_count[0] = b->clips[i].text_count[1] = 0;
    rlm_recipe_defaults(&r, RLM_TRAIN_LM);
    r.batch = 8;
    CHECK(rlm_lm_mix_open(&b->mix, &b->store, &b->none, CLIPS, &vocab, &r, &err) == 0);
}

static void test_pairs(void)
{
    static bench b;
    open_mix(&b, true);
    int paired = 0, different = 0;
    for (int i = 0; i < BATCHES; i++) {
        rlm_lm_batch batch;
        rlm_error err = {0};
        CHECK(rlm_lm_mix_fill(&b.mix, i, &batch, &err) == 0);
        if (!b.mix.paired)
            continue;
        check_pairs(&batch);
        paired++;
        for (int n = 0; n + 1 < batch.batch; n += 2) {
            int32_t ignored[CODES];
            int mine, another;
            read_sequence(&batch, n, ignored, &mine);
            read_sequence(&batch, n + 1, ignored, &another);
            different += mine != another;
        }
    }
    CHECK(paired > 10 && different > paired); /* kinds without video frames are left out */
    rlm_lm_mix_free(&b.mix);
}

/* Without words there is nothing to tell apart: no pairs. */
static void test_untold(void)
{
    static bench b;
    open_mix(&b, false);
    for (int i = 0; i < BATCHES; i++) {
        rlm_lm_batch batch;
        rlm_error err = {0};
        CHECK(rlm_lm_mix_fill(&b.mix, i, &batch, &err) == 0);
        CHECK(!b.mix.paired);
    }
    rlm_lm_mix_free(&b.mix);
}

/* Pictures to train on and one clip to be judged by: its kinds are longer than any that is trained
 * on, and have room. */
static void test_judged_kinds_have_room(void)
{
    static bench b;
    static int32_t film[5 * CODES];
    static int place = CLIPS - 1;
    rlm_vocab vocab = {4, PIECES, 1 << 18, 1024};
    rlm_recipe r;
    rlm_error err = {0};
    make_store(&b.store, b.clips, b.codes);
    b.clips[place].views[0] =
        (rlm_lm_view){.dims = {5, SIDE, SIDE}, .video = film, .control = film};
    b.none = (rlm_dataset){.val = &place, .val_count = 1};
    rlm_recipe_defaults(&r, RLM_TRAIN_LM);
    r.batch = 1;
    CHECK(rlm_lm_mix_open(&b.mix, &b.store, &b.none, CLIPS - 1, &vocab, &r, &err) == 0);
    for (int mix = 0; mix < RLM_LM_MIXES; mix++) {
        rlm_lm_batch batch;
        CHECK(rlm_lm_mix_one(&b.mix, mix, place, &batch, &err) == 0);
        CHECK((int64_t)batch.batch * batch.len <= b.mix.tokens);
    }
    rlm_lm_mix_free(&b.mix);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(test_pairs);
    TEST_CASE(test_untold);
    TEST_CASE(test_judged_kinds_have_room);
    return TEST_END();
}
