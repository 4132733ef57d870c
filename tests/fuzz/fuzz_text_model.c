/* A text model: only what the checks before SentencePiece let through may reach it. */
#include "tests/fuzz/fuzz.h"

#include "tokenizers/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char line[] = "a red ball \xe7\xba\xa2 \xff\xc0 bounces";
    rlm_text *t = NULL;
    rlm_error err = {0};
    int32_t ids[64];
    int count = 0, cut;
    char *back = NULL;
    if (rlm_text_open(&t, fuzz_file(data, size), &err)) {
        FUZZ_CHECK(err.text[0] && !t);
        return 0;
    }
    if (!rlm_text_encode(t, line, sizeof line - 1, ids, 64, &count, &cut, NULL)) {
        for (int i = 0; i < count; i++)
            FUZZ_CHECK(ids[i] >= 0 && ids[i] < rlm_text_size(t));
        rlm_text_decode(t, ids, count, &back, NULL);
    }
    rlm_string_free(&back);
    rlm_text_close(&t);
    return 0;
}
