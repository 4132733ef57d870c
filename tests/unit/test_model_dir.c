/* Model directories: what is saved comes back, and what is wrong is refused with a sentence. */
#define _GNU_SOURCE
#include "src/base/rng.h"
#include "src/json_fields.h"
#include "src/model_config.h"
#include "src/model_dir.h"
#include "tests/folder.h"
#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>

static rlm_kernels kernels;

static void write_text(const char *name, const char *text)
{
    const char *path = in_folder(name);
    CHECK(rlm_file_write(path, text, strlen(text), NULL) == 0);
}

static char *read_text(const char *name)
{
    const char *path = in_folder(name);
    char *text = NULL;
    size_t bytes;
    CHECK(rlm_file_read(path, 1 << 20, &text, &bytes, NULL) == 0);
    return text;
}

/* Replace the first `from` in folder/name; false when it is not there. */
static bool edit(const char *name, const char *from, const char *to)
{
    char *text = read_text(name), *at = strstr(text, from);
    size_t n = strlen(text) + strlen(to) + 1;
    char *out = rlm_alloc(n);
    if (at) {
        snprintf(out, n, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
        write_text(name, out);
    }
    rlm_free(out);
    rlm_free(text);
    return at != NULL;
}

/* A directory with a tiny codec. */
static void save_audio(const char *name, uint64_t seed)
{
    rlm_audio_config c;
    rlm_params p = {0};
    rlm_audio *a = NULL;
    rlm_error err = {0};
    const char *dir = in_folder(name);
    rlm_audio_config_tiny(&c);
    CHECK(rlm_audio_new(&a, &c, &p, &err) == 0);
    CHECK(rlm_params_allocate(&p, false, &err) == 0);
    rlm_params_initialise(&p, seed);
    if (rlm_model_save_part(dir, RLM_PART_AUDIO, &c, &p, NULL, &err))
        TEST_FAILED("%s", err.text);
    rlm_audio_free(&a);
    rlm_params_free(&p);
}

static int open_dir(rlm_model *m, const char *name, unsigned parts, rlm_error *err)
{
    const char *dir = in_folder(name);
    int code = rlm_model_open(m, dir, parts, &kernels, NULL, err);
    return code;
}

static void case_round_trip(void)
{
    rlm_model m;
    rlm_error err = {0};
    save_audio("m1", 7);
    if (open_dir(&m, "m1", RLM_PART_AUDIO, &err))
        TEST_FAILED("%s", err.text);
    rlm_audio_config want;
    rlm_audio_config_tiny(&want);
    CHECK(memcmp(&want, &m.audio_config, sizeof want) == 0);
    CHECK(m.audio && !m.video && !m.lm && strlen(m.audio_sha) == 64);
    rlm_params p = {0};
    rlm_audio *a;
    CHECK(rlm_audio_new(&a, &want, &p, NULL) == 0 && rlm_params_allocate(&p, false, NULL) == 0);
    rlm_params_initialise(&p, 7);
    for (int64_t i = 0; i < p.total; i++) /* stored as bf16 */
        CHECK(m.audio_params.data[i] == rlm_unbf16(rlm_bf16(p.data[i])));
    rlm_audio_free(&a);
    rlm_params_free(&p);
    rlm_model_close(&m);
    CHECK(!m.audio && !m.dir);
}

static void case_parts(void)
{
    rlm_model m;
    rlm_error err = {0};
    save_audio("m2", 1);
    CHECK(open_dir(&m, "m2", RLM_PART_AUDIO | RLM_PART_LM, &err) == RLM_E_MODEL);
    CHECK_HAS(err.text, "no \"lm\" part");
    CHECK(open_dir(&m, "m2", RLM_PART_ALL | RLM_PART_OPTIONAL, &err) == 0);
    CHECK(m.audio && !m.lm);
    rlm_model_close(&m);
    CHECK(open_dir(&m, "nothing", RLM_PART_ALL, &err) == RLM_E_MODEL);
    /* a second part leaves the first alone */
    rlm_lm_config c;
    rlm_params p = {0};
    rlm_lm *lm;
    const char *dir = in_folder("m2");
    CHECK(rlm_lm_config_preset(&c, "tiny") == 0);
    rlm_audio_config tiny;
    rlm_audio_config_tiny(&tiny);
    c.audio_levels = tiny.levels;
    c.audio_codes = tiny.codes;
    CHECK(rlm_lm_new(&lm, &c, &p, NULL) == 0 && rlm_params_allocate(&p, false, NULL) == 0);
    CHECK(rlm_model_save_part(dir, RLM_PART_LM, &c, &p, NULL, &err) == 0);
    if (open_dir(&m, "m2", RLM_PART_AUDIO | RLM_PART_LM, &err))
        TEST_FAILED("%s", err.text);
    CHECK(memcmp(&c, &m.lm_config, sizeof c) == 0);
    rlm_model_close(&m);
    c.audio_codes = tiny.codes - 1; /* no room for all codes of the codec */
    rlm_lm_free(&lm);
    rlm_params_free(&p);
    CHECK(rlm_lm_new(&lm, &c, &p, NULL) == 0 && rlm_params_allocate(&p, false, NULL) == 0);
    CHECK(rlm_model_save_part(dir, RLM_PART_LM, &c, &p, NULL, &err) == 0);
    CHECK(open_dir(&m, "m2", RLM_PART_AUDIO | RLM_PART_LM, &err) == RLM_E_MODEL);
    CHECK_HAS(err.text, "audio codes");
    rlm_lm_free(&lm);
    rlm_params_free(&p);
}

static void case_save_again(void)
{
    rlm_model m;
    rlm_error err = {0};
    save_audio("m3", 1);
    char *first = read_text("m3/config.json");
    save_audio("m3", 2);
    CHECK(open_dir(&m, "m3", RLM_PART_AUDIO, &err) == 0);
    CHECK(!strstr(first, m.audio_sha));
    rlm_model_close(&m);
    /* killed after the weights were replaced, or before: both sums are listed then */
    char *sha = strstr(first, "\"sha256\"") + 11, both[200];
    snprintf(both, sizeof both, "\"sha256_before\": \"%.64s\", \"sha256\"",
             strchr(sha, '"') ? sha : "");
    CHECK(edit("m3/config.json", "\"sha256\"", both));
    CHECK(open_dir(&m, "m3", RLM_PART_AUDIO, &err) == 0);
    rlm_model_close(&m);
    rlm_free(first);
}

/* Each edit of a good config.json, the code it must give, and a part of the sentence. */
static void case_refused(void)
{
    static const struct {
        const char *from, *to;
        int code;
        const char *says;
    } EDITS[] = {
        {"\"reelm\"", "\"other\"", RLM_E_MODEL, "format"},
        {"\"version\":\t1", "\"version\":\t9", RLM_E_VERSION, "version 9"},
        {"\"audio\"", "\"adio\"", RLM_E_MODEL, "did you mean \"audio\""},
        {"\"strides\"", "\"stride\"", RLM_E_MODEL, "did you mean \"strides\""},
        {"\"rate\":\t16000", "\"rate\":\t-5", RLM_E_MODEL, "\"rate\" is -5"},
        {"\"rate\":\t16000", "\"rate\":\t\"x\"", RLM_E_MODEL, "not a number"},
        {"audio.safetensors", "../audio.safetensors", RLM_E_MODEL, "plain file name"},
        {"audio.safetensors", "missing.safetensors", RLM_E_MODEL, "missing.safetensors"},
        {"\"sha256\":\t\"", "\"sha256\":\t\"0", RLM_E_MODEL, "64 hexadecimal"},
        {"{", "[", RLM_E_MODEL, "JSON"},
        {"\"version\":\t1", "\"version\":\t1, \"version\": 1", RLM_E_MODEL,
         "\"version\" stands twice"},
        {"\"dim\":", "\"rate\": 16000, \"dim\":", RLM_E_MODEL, "\"rate\" stands twice"},
    };
    for (size_t i = 0; i < sizeof EDITS / sizeof *EDITS; i++) {
        rlm_model m;
        rlm_error err = {0};
        save_audio("m4", 1);
        CHECK(edit("m4/config.json", EDITS[i].from, EDITS[i].to));
        int code = open_dir(&m, "m4", RLM_PART_AUDIO, &err);
        if (code != EDITS[i].code || !strstr(err.text, EDITS[i].says))
            TEST_FAILED("%s: code %d, \"%s\"", EDITS[i].to, code, err.text);
        const char *path = in_folder("m4/config.json");
        unlink(path);
    }
}

static void case_damaged_weights(void)
{
    rlm_model m;
    rlm_error err = {0};
    save_audio("m5", 1);
    const char *path = in_folder("m5/audio.safetensors");
    char *data;
    size_t bytes;
    CHECK(rlm_file_read(path, 1 << 26, &data, &bytes, NULL) == 0);
    data[bytes - 9] ^= 4;
    CHECK(rlm_file_write(path, data, bytes, NULL) == 0);
    CHECK(open_dir(&m, "m5", RLM_PART_AUDIO, &err) == RLM_E_MODEL);
    CHECK_HAS(err.text, "sha256");
    rlm_free(data);
    /* right sum, another network */
    save_audio("m6", 1);
    CHECK(edit("m6/config.json", "\"dim\":\t", "\"dim\":\t1"));
    CHECK(open_dir(&m, "m6", RLM_PART_AUDIO, &err) == RLM_E_MODEL);
}

/* The words' model is another than the one the network was trained with. */
static void case_other_text_model(void)
{
    rlm_model m;
    rlm_error err = {0};
    const char *dir = in_folder("m9"), *path = in_folder("m9/text.model");
    char *data;
    size_t bytes;
    CHECK(rlm_model_add_text(dir, "assets/models/default/text.model", &err) == 0);
    CHECK(open_dir(&m, "m9", RLM_PART_TEXT, &err) == 0);
    rlm_model_close(&m);
    CHECK(rlm_file_read(path, 1 << 26, &data, &bytes, NULL) == 0);
    char *letter = memmem(data, bytes, "bounce", 6);
    CHECK(letter != NULL);
    if (letter)
        *letter = 'f';
    CHECK(rlm_file_write(path, data, bytes, NULL) == 0);
    CHECK(open_dir(&m, "m9", RLM_PART_TEXT, &err) == RLM_E_MODEL);
    CHECK_HAS(err.text, "text.model: sha256");
    rlm_free(data);
}

/* Any bit of the weights, their names and shapes included, the other codec's file, or none. */
static void case_any_bit(void)
{
    rlm_model m;
    rlm_error err = {0};
    save_audio("m7", 1);
    save_audio("m8", 2);
    const char *path = in_folder("m7/audio.safetensors");
    const char *other = in_folder("m8/audio.safetensors");
    char *data;
    size_t bytes, swapped;
    CHECK(rlm_file_read(path, 1 << 26, &data, &bytes, NULL) == 0);
    for (uint64_t i = 0; i < 64; i++) {
        size_t at = i < 16 ? (size_t)i * 8 : (size_t)(rlm_rng(9, 9, i) % bytes);
        data[at] ^= (char)(1 << i % 8);
        CHECK(rlm_file_write(path, data, bytes, NULL) == 0);
        int code = open_dir(&m, "m7", RLM_PART_AUDIO, &err);
        if (code >= 0 || !strstr(err.text, "audio.safetensors"))
            TEST_FAILED("bit %d of byte %zu: code %d \"%s\"", (int)(i % 8), at, code, err.text);
        data[at] ^= (char)(1 << i % 8);
    }
    rlm_free(data);
    CHECK(rlm_file_read(other, 1 << 26, &data, &swapped, NULL) == 0);
    CHECK(rlm_file_write(path, data, swapped, NULL) == 0);
    CHECK(open_dir(&m, "m7", RLM_PART_AUDIO, &err) == RLM_E_MODEL);
    CHECK_HAS(err.text, "audio.safetensors: sha256");
    CHECK(unlink(path) == 0);
    CHECK(open_dir(&m, "m7", RLM_PART_AUDIO, &err) < 0);
    CHECK_HAS(err.text, "audio.safetensors");
    rlm_free(data);
}

static void case_training_config(void)
{
    rlm_audio_config a, tiny;
    rlm_error err = {0};
    const char *path = in_folder("train.json");
    rlm_audio_config_tiny(&tiny);
    write_text("train.json", "{\"what\": \"audio\", \"about\": \"x\", \"network\": {\"preset\": "
                             "\"tiny\", \"codes\": 32}, \"train\": {\"anything\": 1}}");
    if (rlm_config_read(path, NULL, &a, NULL, &err))
        TEST_FAILED("%s", err.text);
    tiny.codes = 32;
    CHECK(memcmp(&a, &tiny, sizeof a) == 0);
    rlm_lm_config lm;
    CHECK(rlm_config_read(path, NULL, NULL, &lm, &err) == RLM_E_ARG);
    CHECK_HAS(err.text, "is for \"audio\"");
    write_text("train.json", "{\"network\": {\"preset\": \"huge\"}}");
    CHECK(rlm_config_read(path, NULL, &a, NULL, &err) == RLM_E_ARG);
    write_text("train.json", "{\"netwrk\": {}}");
    CHECK(rlm_config_read(path, NULL, &a, NULL, &err) == RLM_E_ARG);
    CHECK_HAS(err.text, "did you mean \"network\"");
    rlm_video_config v;
    write_text("train.json", "{\"network\": {\"channels\": [32,32,32,32,32,32,32,32,32,32,32]}}");
    CHECK(rlm_config_read(path, &v, NULL, NULL, &err) == RLM_E_RANGE);
    CHECK_HAS(err.text, "\"channels\" is not a list of at most");
    write_text("train.json", "{\"network\": {\"channels\": 32}}");
    CHECK(rlm_config_read(path, &v, NULL, NULL, &err) == RLM_E_RANGE);
    write_text("train.json", "{\n\"about\": \"x\",\n\"what\": audio\n}");
    CHECK(rlm_config_read(path, NULL, &a, NULL, &err) == RLM_E_FORMAT);
    CHECK_HAS(err.text, "line 3");
    char deep[200] = "{\"a\": ";
    memset(deep + 6, '[', 100);
    write_text("train.json", deep);
    CHECK(rlm_config_read(path, NULL, &a, NULL, &err) == RLM_E_FORMAT);
}

/* What a training file leaves out is the default, whatever stood there. */
static void case_training_defaults(void)
{
    rlm_video_config v, video;
    rlm_audio_config a, audio;
    rlm_lm_config l, lm;
    rlm_error err = {0};
    const char *path = in_folder("train.json");
    rlm_video_config_defaults(&video);
    rlm_audio_config_defaults(&audio);
    rlm_lm_config_defaults(&lm);
    memset(&v, 1, sizeof v);
    memset(&a, 1, sizeof a);
    memset(&l, 1, sizeof l);
    write_text("train.json", "{\"network\": {}}");
    CHECK(!rlm_config_read(path, &v, NULL, NULL, &err) && !memcmp(&v, &video, sizeof v));
    CHECK(!rlm_config_read(path, NULL, &a, NULL, &err) && !memcmp(&a, &audio, sizeof a));
    CHECK(!rlm_config_read(path, NULL, NULL, &l, &err) && !memcmp(&l, &lm, sizeof l));
}

/* Every int of a config struct has its row: a new field cannot be forgotten in the files. */
static void case_tables_cover(void)
{
    static const size_t SIZES[3] = {sizeof(rlm_video_config), sizeof(rlm_audio_config),
                                    sizeof(rlm_lm_config)};
    for (int i = 0; i < 3; i++) {
        const rlm_part *part = &RLM_PART_TABLE[i];
        unsigned char covered[512] = {0};
        for (int f = 0; f < part->field_count; f++) {
            const rlm_field *field = &part->fields[f];
            size_t bytes = field->kind == RLM_FIELD_INTS ? 4 * (size_t)field->most : 4;
            memset(covered + field->offset, 1, bytes);
            if (field->kind == RLM_FIELD_INTS)
                memset(covered + field->length, 1, 4);
        }
        for (size_t b = 0; b < SIZES[i]; b++)
            if (!covered[b]) {
                TEST_FAILED("%s: byte %zu of the config is in no row", part->name, b);
                break;
            }
    }
}

int main(int argc, char **argv)
{
    rlm_error err = {0};
    TEST_BEGIN(argc, argv);
    if (!folder_open() || rlm_kernels_init(&kernels, "ref", &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    TEST_CASE(case_round_trip);
    TEST_CASE(case_parts);
    TEST_CASE(case_save_again);
    TEST_CASE(case_refused);
    TEST_CASE(case_damaged_weights);
    TEST_CASE(case_other_text_model);
    TEST_CASE(case_any_bit);
    TEST_CASE(case_training_config);
    TEST_CASE(case_training_defaults);
    TEST_CASE(case_tables_cover);
    folder_close();
    return TEST_END();
}
