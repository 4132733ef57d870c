/* Replays files through a fuzz target where there is no libFuzzer: each argument is a file or a
 * folder of files. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t room = 1 << 20, n = 0;
    uint8_t *data = malloc(room);
    if (!f || !data) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    n = fread(data, 1, room, f);
    fclose(f);
    /* a block of the very size, so that a sanitizer sees the first byte read beyond it */
    uint8_t *exact = malloc(n ? n : 1);
    memcpy(exact, data, n);
    free(data);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    return 1;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (!folder) {
            count += replay(argv[i]);
            continue;
        }
        for (struct dirent *e; (e = readdir(folder));) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            if (e->d_name[0] != '.')
                count += replay(path);
        }
        closedir(folder);
    }
    printf("%d passed, 0 failed\n", count);
    return count == 0;
}
