/* First byte even: the list of a run's checkpoints. Odd: a checkpoint, with a list that names it
 * and its true sha256. What is refused must have changed nothing. */
#include "tests/fuzz/fuzz.h"

#include <sys/stat.h>

#include "src/base/mem.h"
#include "src/train/train.h"

typedef struct state {
    rlm_params p;
    rlm_optim o;
    uint64_t words[2];
    rlm_checkpoint c;
} state;

static state *open_state(void)
{
    static state s;
    static const int64_t shape[2] = {2, 3}, gain[1] = {3};
    if (s.p.count)
        return &s;
    rlm_params_add(&s.p, "w", 2, shape, RLM_INIT_NORMAL, 1);
    rlm_params_add(&s.p, "g", 1, gain, RLM_INIT_CONST, 1);
    FUZZ_CHECK(!rlm_params_allocate(&s.p, false, NULL));
    size_t n = (size_t)s.p.total;
    s.o = (rlm_optim){.params = &s.p, .m = rlm_calloc(n, 4), .v = rlm_calloc(n, 4)};
    s.o.ema = rlm_calloc(n, 4);
    s.c = (rlm_checkpoint){.optims = {&s.o}, .names = {"model"}, .optim_count = 1, .blob_count = 1};
    s.c.blobs[0] = (rlm_state_blob){"words", s.words, sizeof s.words};
    return &s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char name[] = "step_0000001.safetensors";
    state *s = open_state();
    char folder[128], line[160], sha[65];
    snprintf(folder, sizeof folder, "%s/checkpoints", fuzz_dir());
    mkdir(folder, 0700);
    if (!size)
        return 0;
    if (*data & 1) {
        fuzz_put("checkpoints/step_0000001.safetensors", data + 1, size - 1);
        rlm_sha256_hex(data + 1, size - 1, sha);
        int n = snprintf(line, sizeof line, "%s %s\n", name, sha);
        fuzz_put("latest", line, (size_t)n);
    } else {
        fuzz_put("latest", data + 1, size - 1);
    }
    for (int64_t i = 0; i < s->p.total; i++)
        s->p.data[i] = 7;
    s->words[0] = 7;
    s->c.step = 7;
    if (rlm_checkpoint_load(&s->c, fuzz_dir(), NULL)) {
        for (int64_t i = 0; i < s->p.total; i++)
            FUZZ_CHECK(s->p.data[i] == 7);
        FUZZ_CHECK(s->words[0] == 7 && s->c.step == 7);
    }
    rlm_checkpoint_exists(fuzz_dir());
    return 0;
}
