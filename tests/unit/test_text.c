/* tokenizers/text: training, round trips, the bundled model, and damaged files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/base/rng.h"
#include "tests/test.h"
#include "tokenizers/text.h"

static const char bundled[] = "assets/models/default/text.model";

static void temp_path(char out[256], const char *name)
{
    const char *dir = getenv("TMPDIR");
    snprintf(out, 256, "%s/reelm-text-%s", dir && *dir ? dir : "/tmp", name);
}

static void round_trip(const rlm_text *t, const char *in, const char *expected)
{
    int32_t ids[256];
    int count, cut;
    rlm_error err = {0};
    CHECK(rlm_text_encode(t, in, strlen(in), ids, 256, &count, &cut, &err) == 0);
    CHECK(cut == 0 && count > 0);
    char *back = NULL;
    CHECK(rlm_text_decode(t, ids, count, &back, &err) == 0);
    if (back)
        CHECK_STR(back, expected);
    rlm_free(back);
}

static void test_bundled(void)
{
    rlm_text *t;
    rlm_error err = {0};
    CHECK(rlm_text_open(&t, bundled, &err) == 0);
    if (!t)
        return;
    CHECK(rlm_text_size(t) == 2048);
    round_trip(t, "A red ball bounces on grass.", "a red ball bounces on grass.");
    round_trip(t, "\xe4\xb8\x80\xe4\xb8\xaa\xe7\xba\xa2\xe8\x89\xb2\xe7\x9a\x84\xe7\x90\x83",
               "\xe4\xb8\x80\xe4\xb8\xaa\xe7\xba\xa2\xe8\x89\xb2\xe7\x9a\x84\xe7\x90\x83");
    round_trip(t, "\xf0\x9f\x8e\xac cut \xe9\xbe\x98", "\xf0\x9f\x8e\xac cut \xe9\xbe\x98");
    int32_t ids[64];
    int count, cut;
    const char *plain = "a red ball bounces on grass";
    CHECK(rlm_text_encode(t, plain, strlen(plain), ids, 64, &count, NULL, &err) == 0);
    CHECK(count <= 8);
    CHECK(rlm_text_encode(t, plain, strlen(plain), ids, 2, &count, &cut, &err) == 0);
    CHECK(count == 2 && cut == 1);
    CHECK(rlm_text_encode(t, "\xff\xc0 ok\x80", 6, ids, 64, &count, &cut, &err) == 0 && count > 0);
    CHECK(rlm_text_encode(t, "", 0, ids, 64, &count, &cut, &err) == 0 && count == 0);
    char *text;
    ids[0] = 2048;
    CHECK(rlm_text_decode(t, ids, 1, &text, &err) == RLM_E_TOKENS && !text);
    rlm_text_close(&t);
    CHECK(!t);
}

/* Cut and flipped files are refused or opened, never fatal; an opened one still encodes. */
static void test_damage(void)
{
    char *file, path[256];
    size_t bytes;
    rlm_error err = {0};
    CHECK(rlm_file_read(bundled, 1 << 20, &file, &bytes, &err) == 0);
    temp_path(path, "damaged.model");
    int refused = 0;
    for (int i = 0; i < 300; i++) {
        char *copy = rlm_alloc(bytes);
        memcpy(copy, file, bytes);
        size_t n = i < 100 ? rlm_rng_below(3, 0, (uint64_t)i, (uint32_t)bytes) : bytes;
        for (int f = 0; i >= 100 && f < 3; f++) {
            size_t at = rlm_rng_below(3, 1, (uint64_t)(4 * i + f), (uint32_t)bytes);
            copy[at] = (char)(copy[at] ^ (1 << rlm_rng_below(3, 2, (uint64_t)(4 * i + f), 8)));
        }
        CHECK(rlm_file_write(path, copy, n, &err) == 0);
        rlm_text *t;
        int code = rlm_text_open(&t, path, &err);
        refused += code != 0;
        if (!code) {
            int32_t ids[64];
            int count;
            rlm_text_encode(t, "A Red ball, \xef\xbc\xa1\xf0\x9f\x8e\xac", 19, ids, 64, &count,
                            NULL, &err);
            rlm_text_close(&t);
        }
        rlm_free(copy);
    }
    CHECK(refused > 90);
    remove(path);
    rlm_free(file);
}

static void test_train(void)
{
    char corpus[256], model[256];
    temp_path(corpus, "corpus.txt");
    temp_path(model, "small.model");
    FILE *f = fopen(corpus, "w");
    CHECK(f != NULL);
    static const char *const things[] = {"ball", "cube", "ring", "dog", "river", "street"};
    static const char *const acts[] = {"rolls", "bounces", "falls", "shines", "turns"};
    for (int i = 0; i < 300; i++)
        fprintf(f, "A %s %s number %d near the %s\n", things[i % 6], acts[i % 5], i,
                things[(i / 6) % 6]);
    fclose(f);
    rlm_error err = {0};
    CHECK(rlm_text_train(corpus, model, 340, &err) == 0);
    rlm_text *t = NULL;
    CHECK(rlm_text_open(&t, model, &err) == 0);
    if (t) {
        int32_t ids[16];
        int count;
        round_trip(t, "the dog falls", "the dog falls");
        /* A word that stands alone wherever it occurs is a piece all the same. */
        CHECK(rlm_text_encode(t, "number near", 11, ids, 16, &count, NULL, &err) == 0);
        CHECK(count == 2);
    }
    rlm_text_close(&t);
    CHECK(rlm_text_train(corpus, model, 10, &err) == RLM_E_RANGE);
    CHECK(rlm_text_train("/nonexistent", model, 400, &err) == RLM_E_IO);
    CHECK(rlm_text_open(&t, corpus, &err) == RLM_E_MODEL);
    CHECK(rlm_text_open(&t, "/nonexistent", &err) == RLM_E_IO);
    remove(corpus);
    remove(model);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(test_bundled);
    TEST_CASE(test_damage);
    TEST_CASE(test_train);
    return TEST_END();
}
