/* The text tokenizer: a corpus of the playground's captions (training split, English and Chinese)
 * and those of the data folders, and SentencePiece on it. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "src/json_fields.h"
#include "src/train/train.h"
#include "src/world/world.h"

enum { CAPTION_ROOM = 1024, ENGLISH_VARIANTS = 2 };

typedef struct text_recipe {
    int pieces, scenes; /* size of the vocabulary; playground scenes that lend their captions */
} text_recipe;

static const rlm_field FIELDS[] = {
    {"pieces", RLM_FIELD_INT, offsetof(text_recipe, pieces), 300, 65536, 0, 0, 0},
    {"scenes", RLM_FIELD_INT, offsetof(text_recipe, scenes), 0, 1e6, 0, 0, 0},
};

static int read_recipe(text_recipe *r, const char *path, rlm_error *err)
{
    void *root;
    char where[256];
    *r = (text_recipe){.pieces = 2048, .scenes = 4000};
    if (!path)
        return 0;
    RLM_TRY(rlm_json_read(path, &root, err));
    snprintf(where, sizeof where, "%s: \"text\"", path);
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(root, "text");
    int code = text ? rlm_fields_read(text, FIELDS, 2, r, where, err) : 0;
    rlm_json_free(root);
    return code;
}

/* Captions of scene i: English as it is; Chinese with stops between its words, so that no piece
 * spans two of them. */
static void put_scene(FILE *f, int i, char *line)
{
    rlm_scene s;
    rlm_scene_make(&s, rlm_world_seed(RLM_SPLIT_TRAIN, (uint64_t)i), -1);
    for (int is_long = 0; is_long < 2; is_long++) {
        for (int v = 0; v < ENGLISH_VARIANTS; v++) {
            rlm_caption_en(&s, is_long, v, -1, line, CAPTION_ROOM);
            fprintf(f, "%s\n", line);
        }
        rlm_caption_zh_words(&s, is_long, 0, -1, ";", line, CAPTION_ROOM);
        fprintf(f, "%s\n", line);
    }
}

static int write_corpus(const char *path, const rlm_train_options *o, const text_recipe *r,
                        const rlm_log *log, rlm_error *err)
{
    char line[CAPTION_ROOM];
    rlm_dataset data = {0};
    int captions = 0;
    if (o->data_count)
        RLM_TRY(rlm_dataset_open(&data, o->data, o->data_count, log, err));
    FILE *f = fopen(path, "w");
    if (!f) {
        rlm_dataset_free(&data);
        return rlm_fail(err, RLM_E_IO, "%s: cannot be written", path);
    }
    for (int i = 0; i < data.count; i++)
        for (int k = 0; k < 2; k++) {
            const char *text = k ? data.items[i].text_long : data.items[i].text;
            captions += text != NULL;
            if (text)
                fprintf(f, "%s\n", text);
        }
    for (int i = 0; i < r->scenes; i++)
        put_scene(f, i, line);
    int bad = ferror(f);
    bad |= fclose(f);
    rlm_dataset_free(&data);
    if (bad)
        return rlm_fail(err, RLM_E_IO, "%s: could not be written", path);
    rlm_logf(log, 2, "%s: %d captions of data folders, those of %d playground scenes", path,
             captions, r->scenes);
    return 0;
}

int rlm_train_text(const rlm_train_options *o, rlm_error *err)
{
    rlm_log log = {o->log, o->log_cookie};
    text_recipe recipe;
    char corpus[1024], model[1024];
    RLM_TRY(read_recipe(&recipe, o->config, err));
    snprintf(corpus, sizeof corpus, "%s/corpus.txt", o->run_dir);
    snprintf(model, sizeof model, "%s/text.model", o->run_dir);
    RLM_TRY(rlm_mkdirs(o->run_dir, err));
    RLM_TRY(write_corpus(corpus, o, &recipe, &log, err));
    RLM_TRY(rlm_text_train(corpus, model, recipe.pieces, err));
    rlm_logf(&log, 2, "%s: trained", model);
    return 0;
}
