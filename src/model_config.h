/* Private to model_dir.c, model_config.c and model_convert.c: the table of a model's parts. */
#ifndef RLM_MODEL_CONFIG_H
#define RLM_MODEL_CONFIG_H

#include <cjson/cJSON.h>

#include "src/json_fields.h"
#include "src/model_dir.h"

enum { RLM_MODEL_VERSION = 1, RLM_PARTS = 4 };

typedef struct rlm_part {
    unsigned bit;
    const char *name, *file;
    const rlm_field *fields; /* of its config; NULL: it has none */
    int field_count;
    int (*check)(const void *config, rlm_error *);
    void (*defaults)(void *config);
    int (*preset)(void *config, const char *name); /* 0 if the name is known */
} rlm_part;
extern const rlm_part RLM_PART_TABLE[RLM_PARTS]; /* video, audio, lm, text */

/* One part's entry in config.json: where its file is, what its sha256 may be. */
typedef struct rlm_entry {
    const cJSON *config;
    const char *sha, *before, *file; /* live with the JSON */
    char *path;                      /* of the file, which is there; heap */
} rlm_entry;
/* MODEL when the entry is none or its file is not a plain name in dir; the caller frees e->path. */
int rlm_entry_read(rlm_entry *e, const rlm_part *part, const cJSON *o, const char *dir,
                   rlm_error *err);
int rlm_entry_check(const rlm_entry *e, const char *found, rlm_error *err); /* its sha256 */

/* Refuse members whose names are not listed. */
int rlm_json_known_keys(const cJSON *o, const char *const *names, int count, const char *where,
                        rlm_error *err);
/* config.json of a model directory: format, version, names of the parts. */
int rlm_config_check_root(const cJSON *root, const char *path, rlm_error *err);
/* A part's "config" object over what `config` holds, then the part's own check. */
int rlm_config_read_part(const rlm_part *part, const cJSON *object, const char *path, void *config,
                         rlm_error *err);

#endif
