/* A prompt, any bytes, through the bundled text model and back. */
#include "tests/fuzz/fuzz.h"

#include "tokenizers/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static rlm_text *t;
    enum { MOST = 96 };
    int32_t ids[MOST], few[3];
    int count = -1, cut = -1, less = 0;
    char *back = NULL;
    if (!t)
        FUZZ_CHECK(!rlm_text_open(&t, "assets/models/default/text.model", NULL));
    if (rlm_text_encode(t, (const char *)data, size, ids, MOST, &count, &cut, NULL))
        return 0;
    FUZZ_CHECK(count >= 0 && count <= MOST && (cut == 0 || cut == 1));
    for (int i = 0; i < count; i++)
        FUZZ_CHECK(ids[i] >= 0 && ids[i] < rlm_text_size(t));
    FUZZ_CHECK(!rlm_text_encode(t, (const char *)data, size, few, 3, &less, NULL, NULL));
    FUZZ_CHECK(less == (count < 3 ? count : 3) && !memcmp(ids, few, (size_t)less * sizeof *ids));
    FUZZ_CHECK(!rlm_text_decode(t, ids, count, &back, NULL) && back);
    rlm_string_free(&back);
    return 0;
}
