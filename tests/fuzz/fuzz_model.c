/* A model directory with a tiny codec and the bundled text model. First byte 0: its config.json, in
 * which @audio@ and @text@ stand for the true sha256 of the two files; 1, 2: one of the files, and
 * config.json names its sha256. */
#include "tests/fuzz/fuzz.h"

#include "src/base/mem.h"
#include "src/model_dir.h"

enum { CONFIG_ROOM = 1 << 16 };

typedef struct part {
    const char *word, *file;
    char *data;
    size_t bytes;
    char sha[65];
} part;

static void read_part(part *p, const char *path)
{
    FUZZ_CHECK(!rlm_file_read(path, 8 << 20, &p->data, &p->bytes, NULL));
    rlm_sha256_hex(p->data, p->bytes, p->sha);
    fuzz_put(p->file, p->data, p->bytes);
}

static void make(part parts[2], char **config)
{
    rlm_audio_config c;
    rlm_params p = {0};
    rlm_audio *a = NULL;
    char path[128];
    size_t bytes;
    rlm_audio_config_tiny(&c);
    FUZZ_CHECK(!rlm_audio_new(&a, &c, &p, NULL) && !rlm_params_allocate(&p, false, NULL));
    rlm_params_initialise(&p, 7);
    FUZZ_CHECK(!rlm_model_save_part(fuzz_dir(), RLM_PART_AUDIO, &c, &p, NULL, NULL));
    FUZZ_CHECK(!rlm_model_add_text(fuzz_dir(), "assets/models/default/text.model", NULL));
    rlm_audio_free(&a);
    rlm_params_free(&p);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", fuzz_dir(), parts[i].file);
        read_part(&parts[i], path);
    }
    snprintf(path, sizeof path, "%s/config.json", fuzz_dir());
    FUZZ_CHECK(!rlm_file_read(path, CONFIG_ROOM, config, &bytes, NULL));
}

/* text with `from` replaced wherever it stands; heap */
static char *replace(const char *text, const char *from, const char *to)
{
    size_t n = strlen(text), count = 0;
    for (const char *at = text; (at = strstr(at, from)); at += strlen(from))
        count++;
    char *out = malloc(n + count * strlen(to) + 1), *end = out;
    FUZZ_CHECK(out);
    for (const char *at; (at = strstr(text, from)); text = at + strlen(from)) {
        memcpy(end, text, (size_t)(at - text));
        end += at - text;
        memcpy(end, to, strlen(to));
        end += strlen(to);
    }
    strcpy(end, text);
    return out;
}

static void put_config(const char *text, const char *from[2], const char *to[2])
{
    char *one = replace(text, from[0], to[0]), *two = replace(one, from[1], to[1]);
    fuzz_put("config.json", two, strlen(two));
    free(one);
    free(two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static part parts[2] = {{.word = "@audio@", .file = "audio.safetensors"},
                            {.word = "@text@", .file = "text.model"}};
    static char *config;
    static rlm_kernels k;
    rlm_model m;
    rlm_error err = {0};
    char sha[65];
    if (!config) {
        FUZZ_CHECK(!rlm_kernels_init(&k, "ref", NULL));
        make(parts, &config);
    }
    if (!size)
        return 0;
    int which = *data % 3;
    const char *from[2] = {parts[0].word, parts[1].word}, *to[2] = {parts[0].sha, parts[1].sha};
    for (int i = 0; i < 2; i++)
        fuzz_put(parts[i].file, parts[i].data, parts[i].bytes);
    if (which) {
        fuzz_put(parts[which - 1].file, data + 1, size - 1);
        rlm_sha256_hex(data + 1, size - 1, sha);
        from[which - 1] = parts[which - 1].sha;
        to[which - 1] = sha;
        put_config(config, from, to);
    } else {
        char *text = fuzz_text(data + 1, size - 1);
        put_config(text, from, to);
        free(text);
    }
    if (!rlm_model_open(&m, fuzz_dir(), RLM_PART_ALL | RLM_PART_OPTIONAL, &k, NULL, &err))
        rlm_model_close(&m);
    else
        FUZZ_CHECK(err.text[0]);
    return 0;
}
