/* A model directory. config.json:
 *   {"format": "reelm", "version": 1,
 *    "video": {"config": {...}, "file": "video.safetensors", "sha256": "..."},
 *    "audio": ..., "lm": ..., "text": {"file": "text.model", "sha256": "..."}}
 * A part's files are replaced in this order: config.json with the new sha256 and the old one as
 * "sha256_before", the weights, config.json with the new one alone. Either sha256 is accepted, so a
 * directory is whole at any moment of a save. */
#include "src/model_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const rlm_part *part_of(unsigned bit)
{
    for (int i = 0; i < RLM_PARTS; i++)
        if (RLM_PART_TABLE[i].bit == bit)
            return &RLM_PART_TABLE[i];
    return NULL;
}

/* ---- Open ---- */

static const char *text_of(const cJSON *o, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));
}

int rlm_entry_read(rlm_entry *e, const rlm_part *part, const cJSON *o, const char *dir,
                   rlm_error *err)
{
    static const char *const KEYS[] = {"config", "file", "sha256", "sha256_before"};
    char where[320];
    snprintf(where, sizeof where, "%s/config.json: %s", dir, part->name);
    if (!cJSON_IsObject(o))
        return rlm_fail(err, RLM_E_MODEL, "%s: not an object", where);
    RLM_TRY(rlm_json_known_keys(o, KEYS, sizeof KEYS / sizeof *KEYS, where, err));
    const char *file = text_of(o, "file");
    *e = (rlm_entry){cJSON_GetObjectItemCaseSensitive(o, "config"), text_of(o, "sha256"),
                     text_of(o, "sha256_before"), NULL, NULL};
    if (!file || !*file || *file == '.' || strchr(file, '/') || strlen(file) > 128)
        return rlm_fail(err, RLM_E_MODEL, "%s: \"file\" is not a plain file name", where);
    if (!e->sha || strlen(e->sha) != 64 || (e->before && strlen(e->before) != 64))
        return rlm_fail(err, RLM_E_MODEL, "%s: \"sha256\" is not 64 hexadecimal digits", where);
    if (part->fields && !e->config)
        return rlm_fail(err, RLM_E_MODEL, "%s: no \"config\"", where);
    e->file = file;
    e->path = rlm_path_join(dir, file);
    if (!e->path)
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory", where);
    int code = access(e->path, F_OK)
                   ? rlm_fail(err, RLM_E_MODEL, "%s: missing, config.json names it", e->path)
                   : 0;
    if (code)
        rlm_free(e->path);
    return code;
}

int rlm_entry_check(const rlm_entry *e, const char *found, rlm_error *err)
{
    if (!strcmp(found, e->sha) || (e->before && !strcmp(found, e->before)))
        return 0;
    return rlm_fail(err, RLM_E_MODEL, "%s: sha256 is %.16s..., config.json says %.16s...", e->path,
                    found, e->sha);
}

/* weights: how a language model's are kept; RLM_WEIGHTS: in f32 beside the packing. */
static int load_weights(const rlm_entry *e, rlm_params *params, char sha[65], rlm_weights weights,
                        const rlm_kernels *k, rlm_par *par, rlm_error *err)
{
    rlm_safetensors st;
    RLM_TRY(rlm_st_open(&st, e->path, err));
    const char *found = rlm_st_hash(&st);
    memcpy(sha, found, 65);
    int code = rlm_entry_check(e, found, err);
    if (weights != RLM_WEIGHTS) {
        code = code ? code : rlm_params_open(params, &st, k, par, weights, err);
        rlm_st_close(&st);
        return code;
    }
    if (!code)
        code = rlm_params_allocate(params, false, err);
    if (!code)
        code = rlm_params_load(params, &st, "", err);
    rlm_st_close(&st);
    return code ? code : rlm_params_pack(params, k, par, false, err);
}

static int load_text(rlm_model *m, const rlm_entry *e, rlm_error *err)
{
    rlm_map map;
    char found[65];
    RLM_TRY(rlm_map_open(&map, e->path, err));
    rlm_sha256_hex(map.data, map.bytes, found);
    rlm_map_close(&map);
    RLM_TRY(rlm_entry_check(e, found, err));
    return rlm_text_open(&m->text, e->path, err);
}

static int load_part(rlm_model *m, const rlm_part *part, const rlm_entry *e, const rlm_kernels *k,
                     rlm_par *par, rlm_error *err)
{
    void *config = part->bit == RLM_PART_VIDEO   ? (void *)&m->video_config
                   : part->bit == RLM_PART_AUDIO ? (void *)&m->audio_config
                                                 : (void *)&m->lm_config;
    char path[320];
    if (part->bit == RLM_PART_TEXT)
        return load_text(m, e, err);
    snprintf(path, sizeof path, "%s/config.json", m->dir);
    part->defaults(config);
    RLM_TRY(rlm_config_read_part(part, e->config, path, config, err));
    switch (part->bit) {
    case RLM_PART_VIDEO:
        RLM_TRY(rlm_video_new(&m->video, config, &m->video_params, err));
        return load_weights(e, &m->video_params, m->video_sha, RLM_WEIGHTS, k, par, err);
    case RLM_PART_AUDIO:
        RLM_TRY(rlm_audio_new(&m->audio, config, &m->audio_params, err));
        return load_weights(e, &m->audio_params, m->audio_sha, RLM_WEIGHTS, k, par, err);
    default:
        RLM_TRY(rlm_lm_new(&m->lm, config, &m->lm_params, err));
        return load_weights(e, &m->lm_params, m->lm_sha, m->lm_weights, k, par, err);
    }
}

/* What one part's config claims about another's: a sampler trusts these. The language model may
 * have room for more codes than a tokenizer makes; only those that it makes are legal then. */
static int check_together(const rlm_model *m, rlm_error *err)
{
    const rlm_lm_config *lm = &m->lm_config;
    if (!m->lm)
        return 0;
    if (m->video && lm->video_bits < m->video_config.bits)
        return rlm_fail(err, RLM_E_MODEL, "%s: lm has %d video bits, the video tokenizer %d",
                        m->dir, lm->video_bits, m->video_config.bits);
    if (m->audio && (lm->audio_levels > m->audio_config.levels ||
                     (lm->audio_levels && lm->audio_codes < m->audio_config.codes)))
        return rlm_fail(err, RLM_E_MODEL, "%s: lm has %d x %d audio codes, the codec %d x %d",
                        m->dir, lm->audio_levels, lm->audio_codes, m->audio_config.levels,
                        m->audio_config.codes);
    if (m->text && lm->text_pieces != rlm_text_size(m->text))
        return rlm_fail(err, RLM_E_MODEL, "%s: lm has %d text pieces, text.model %d", m->dir,
                        lm->text_pieces, rlm_text_size(m->text));
    return 0;
}

static int open_parts(rlm_model *m, const cJSON *root, unsigned parts, const rlm_kernels *k,
                      rlm_par *par, rlm_error *err)
{
    bool optional = (parts & RLM_PART_OPTIONAL) != 0;
    for (int i = 0; i < RLM_PARTS; i++) {
        const rlm_part *part = &RLM_PART_TABLE[i];
        const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, part->name);
        if (!(parts & part->bit) || (!o && optional))
            continue;
        if (!o)
            return rlm_fail(err, RLM_E_MODEL, "%s: the model has no \"%s\" part", m->dir,
                            part->name);
        rlm_entry e;
        RLM_TRY(rlm_entry_read(&e, part, o, m->dir, err));
        int code = load_part(m, part, &e, k, par, err);
        rlm_free(e.path);
        RLM_TRY(code);
    }
    return check_together(m, err);
}

/* Whatever is wrong inside a model directory is the model's fault, not the caller's: one code. */
static int as_model_error(int code, rlm_error *err)
{
    if (code != RLM_E_ARG && code != RLM_E_RANGE && code != RLM_E_FORMAT)
        return code;
    if (err)
        err->code = RLM_E_MODEL;
    return RLM_E_MODEL;
}

int rlm_model_open(rlm_model *m, const char *dir, unsigned parts, const rlm_kernels *k,
                   rlm_par *par, rlm_error *err)
{
    return rlm_model_open_as(m, dir, parts, RLM_WEIGHTS, k, par, err);
}

int rlm_model_open_as(rlm_model *m, const char *dir, unsigned parts, rlm_weights lm_weights,
                      const rlm_kernels *k, rlm_par *par, rlm_error *err)
{
    memset(m, 0, sizeof *m);
    m->lm_weights = lm_weights;
    void *root = NULL;
    if (!rlm_is_dir(dir))
        return rlm_fail(err, RLM_E_MODEL, "%s: not a model directory", dir);
    char *path = rlm_path_join(dir, "config.json");
    m->dir = rlm_strdup(dir);
    int code = path && m->dir ? 0 : rlm_fail(err, RLM_E_NOMEM, "%s: no memory", dir);
    if (!code && access(path, F_OK))
        code = rlm_fail(err, RLM_E_MODEL, "%s: no config.json: not a model directory", dir);
    if (!code)
        code = rlm_json_read(path, &root, err);
    if (!code)
        code = rlm_config_check_root(root, path, err);
    if (!code)
        code = open_parts(m, root, parts, k, par, err);
    rlm_json_free(root);
    rlm_free(path);
    if (code)
        rlm_model_close(m);
    return as_model_error(code, err);
}

void rlm_model_close(rlm_model *m)
{
    rlm_video_free(&m->video);
    rlm_audio_free(&m->audio);
    rlm_lm_free(&m->lm);
    rlm_text_close(&m->text);
    rlm_params_free(&m->video_params);
    rlm_params_free(&m->audio_params);
    rlm_params_free(&m->lm_params);
    rlm_free(m->dir);
    memset(m, 0, sizeof *m);
}

/* ---- Save ---- */

static int no_memory(const char *dir, rlm_error *err)
{
    return rlm_fail(err, RLM_E_NOMEM, "%s: no memory", dir);
}

static int hash_of(const char *path, char sha[65], rlm_error *err)
{
    rlm_map map;
    RLM_TRY(rlm_map_open(&map, path, err));
    rlm_sha256_hex(map.data, map.bytes, sha);
    rlm_map_close(&map);
    return 0;
}

static int write_root(const cJSON *root, const char *path, rlm_error *err)
{
    char *text = cJSON_Print(root);
    if (!text)
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory", path);
    int code = rlm_file_write(path, text, strlen(text), err);
    cJSON_free(text);
    return code;
}

/* The part's entry in root, replaced. before may be NULL. */
static int put_entry(cJSON *root, const rlm_part *part, const void *config, const char *sha,
                     const char *before, rlm_error *err)
{
    cJSON *e = cJSON_CreateObject();
    cJSON *c = e && part->fields ? cJSON_AddObjectToObject(e, "config") : NULL;
    if (!e || (part->fields && !c)) {
        cJSON_Delete(e);
        return no_memory(part->name, err);
    }
    int code = c ? rlm_fields_write(c, part->fields, part->field_count, config, err) : 0;
    if (!code && (!cJSON_AddStringToObject(e, "file", part->file) ||
                  !cJSON_AddStringToObject(e, "sha256", sha) ||
                  (before && !cJSON_AddStringToObject(e, "sha256_before", before))))
        code = no_memory(part->name, err);
    if (code) {
        cJSON_Delete(e);
        return code;
    }
    cJSON_DeleteItemFromObjectCaseSensitive(root, part->name);
    if (cJSON_AddItemToObject(root, part->name, e))
        return 0;
    cJSON_Delete(e);
    return no_memory(part->name, err);
}

/* The directory's config.json, or a fresh one. */
static int open_root(const char *path, cJSON **root, rlm_error *err)
{
    if (access(path, F_OK) == 0) {
        void *o;
        RLM_TRY(rlm_json_read(path, &o, err));
        *root = o;
        return rlm_config_check_root(*root, path, err);
    }
    *root = cJSON_CreateObject();
    if (*root && cJSON_AddStringToObject(*root, "format", "reelm") &&
        cJSON_AddNumberToObject(*root, "version", RLM_MODEL_VERSION))
        return 0;
    return rlm_fail(err, RLM_E_NOMEM, "%s: no memory", path);
}

/* fresh: the new file, complete, under another name; it becomes `file` and root is written. */
static int swap_in(cJSON *root, const char *path, const rlm_part *part, const void *config,
                   const char *fresh, const char *file, rlm_error *err)
{
    char sha[65], old[65];
    bool had = access(file, F_OK) == 0;
    RLM_TRY(hash_of(fresh, sha, err));
    if (had)
        RLM_TRY(hash_of(file, old, err));
    RLM_TRY(put_entry(root, part, config, sha, had ? old : NULL, err));
    RLM_TRY(write_root(root, path, err));
    if (rename(fresh, file))
        return rlm_fail(err, RLM_E_IO, "%s: cannot replace: %s", file, strerror(errno));
    RLM_TRY(put_entry(root, part, config, sha, NULL, err));
    return write_root(root, path, err);
}

static int save_fresh(const char *fresh, const rlm_params *params, const float *data,
                      rlm_error *err)
{
    rlm_st_writer w;
    rlm_st_writer_init(&w);
    rlm_st_add_meta(&w, "format", "reelm");
    int code = rlm_params_save(params, &w, "", RLM_BF16, data, err);
    if (!code)
        code = rlm_st_commit(&w, fresh, err);
    rlm_st_writer_free(&w);
    return code;
}

/* write(cookie, path): the part's new file, complete. */
static int save_with(const char *dir, unsigned bit, const void *config,
                     int (*write)(void *cookie, const char *path, rlm_error *err), void *cookie,
                     rlm_error *err)
{
    const rlm_part *part = part_of(bit);
    if (!part || !part->fields)
        return rlm_fail(err, RLM_E_ARG, "%s: part %u is none of video, audio, lm", dir, bit);
    RLM_TRY(rlm_mkdirs(dir, err));
    char fresh_name[64];
    snprintf(fresh_name, sizeof fresh_name, ".%s.new", part->file);
    char *path = rlm_path_join(dir, "config.json"), *file = rlm_path_join(dir, part->file);
    char *fresh = rlm_path_join(dir, fresh_name);
    cJSON *root = NULL;
    int code = path && file && fresh ? 0 : no_memory(dir, err);
    if (!code)
        code = open_root(path, &root, err);
    if (!code)
        code = write(cookie, fresh, err);
    if (!code)
        code = swap_in(root, path, part, config, fresh, file, err);
    if (code && fresh)
        unlink(fresh);
    cJSON_Delete(root);
    rlm_free(path);
    rlm_free(file);
    rlm_free(fresh);
    return code;
}

typedef struct saving {
    const rlm_params *params;
    const float *data;
    rlm_weights weights;
    rlm_params_pick *convs;
    rlm_par *par;
} saving;

static int write_plain(void *cookie, const char *path, rlm_error *err)
{
    const saving *s = cookie;
    return save_fresh(path, s->params, s->data, err);
}

static int write_weights(void *cookie, const char *path, rlm_error *err)
{
    const saving *s = cookie;
    return rlm_params_write(s->params, s->par, s->weights, s->convs, path, err);
}

int rlm_model_save_part(const char *dir, unsigned bit, const void *config, const rlm_params *params,
                        const float *data, rlm_error *err)
{
    saving s = {.params = params, .data = data};
    return save_with(dir, bit, config, write_plain, &s, err);
}

int rlm_model_save_as(const char *dir, unsigned bit, const void *config, const rlm_params *params,
                      rlm_weights weights, rlm_params_pick *convs, rlm_par *par, rlm_error *err)
{
    saving s = {.params = params, .weights = weights, .convs = convs, .par = par};
    return save_with(dir, bit, config, write_weights, &s, err);
}

int rlm_model_add_text(const char *dir, const char *source, rlm_error *err)
{
    rlm_map map;
    const rlm_part *part = part_of(RLM_PART_TEXT);
    RLM_TRY(rlm_mkdirs(dir, err));
    RLM_TRY(rlm_map_open(&map, source, err));
    char *path = rlm_path_join(dir, "config.json"), *file = rlm_path_join(dir, part->file);
    char *fresh = rlm_path_join(dir, ".text.model.new");
    cJSON *root = NULL;
    int code = path && file && fresh ? 0 : no_memory(dir, err);
    if (!code)
        code = open_root(path, &root, err);
    if (!code)
        code = rlm_file_write(fresh, map.data, map.bytes, err);
    if (!code)
        code = swap_in(root, path, part, NULL, fresh, file, err);
    rlm_map_close(&map);
    cJSON_Delete(root);
    rlm_free(path);
    rlm_free(file);
    rlm_free(fresh);
    return code;
}
