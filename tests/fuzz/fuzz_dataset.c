/* The lists of a folder of media: the first byte says which of manifest.tsv, metadata.jsonl and a
 * caption beside a file the bytes are. Nothing outside the folder may become an item. */
#include "tests/fuzz/fuzz.h"

#include <sys/stat.h>

#include "src/base/mem.h"
#include "src/train/dataset_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"in/manifest.tsv", "in/metadata.jsonl", "in/a.txt"};
    static int ready;
    char dir[96], path[128];
    rlm_log log = {0};
    rlm_found f = {.log = &log};
    snprintf(dir, sizeof dir, "%s/in", fuzz_dir());
    if (!ready++) {
        mkdir(dir, 0700);
        fuzz_put("in/a.mp4", "x", 1);
        fuzz_put("in/b.wav", "x", 1);
        fuzz_put("in/c.png", "", 0);
        fuzz_put("out.mp4", "x", 1);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", fuzz_dir(), names[i]);
        unlink(path);
    }
    if (!size)
        return 0;
    int which = *data % 4;
    if (which == 3) { /* both lists, of the same bytes */
        fuzz_put(names[0], data + 1, size - 1);
        which = 1;
    }
    fuzz_put(names[which], data + 1, size - 1);
    rlm_found_folder(&f, dir, NULL);
    for (int i = 0; i < f.count; i++) {
        char real[4096];
        FUZZ_CHECK(realpath(f.items[i].path, real) && !strncmp(real, dir, strlen(dir)));
        FUZZ_CHECK(f.items[i].kind && f.items[i].split >= -1 && f.items[i].split <= 1);
        rlm_item_free(&f.items[i]);
    }
    rlm_free(f.items);
    return 0;
}
