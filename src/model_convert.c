/* A model directory copied with other weights. Parts that are not converted stay byte for byte what
 * they were, so that token files still belong to the copy. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "src/base/mem.h"
#include "src/model_config.h"
#include "src/pipeline.h"

static int no_memory(const char *what, rlm_error *err)
{
    return rlm_fail(err, RLM_E_NOMEM, "%s: no memory", what);
}

static int copy_bytes(const rlm_map *map, const char *to, const char *name, rlm_error *err)
{
    char *target = rlm_path_join(to, name);
    int code = target ? rlm_file_write(target, map->data, map->bytes, err) : no_memory(name, err);
    rlm_free(target);
    return code;
}

/* name of `from` into `to`, byte for byte. */
static int copy_file(const char *from, const char *to, const char *name, rlm_error *err)
{
    rlm_map map;
    char *source = rlm_path_join(from, name);
    int code = source ? rlm_map_open(&map, source, err) : no_memory(name, err);
    rlm_free(source);
    if (code)
        return code;
    code = copy_bytes(&map, to, name, err);
    rlm_map_close(&map);
    return code;
}

/* A part that no one has opened, so that nobody has looked at what its entry says. */
static int copy_part(const char *from, const char *to, const rlm_part *part, const cJSON *o,
                     rlm_error *err)
{
    rlm_entry e;
    rlm_map map;
    char found[65];
    RLM_TRY(rlm_entry_read(&e, part, o, from, err));
    int code = rlm_map_open(&map, e.path, err);
    if (!code) {
        rlm_sha256_hex(map.data, map.bytes, found);
        code = rlm_entry_check(&e, found, err);
        if (!code)
            code = copy_bytes(&map, to, e.file, err);
        rlm_map_close(&map);
    }
    rlm_free(e.path);
    return code;
}

/* Every file that config.json names except those of `parts`, then config.json and the model card,
 * whose credits the licences of the training data ask to be passed on. */
static int copy_but(const char *from, const char *to, unsigned parts, rlm_error *err)
{
    char *path = rlm_path_join(from, "config.json"), *card = rlm_path_join(from, "README.md");
    void *root = NULL;
    int code = path && card ? rlm_json_read(path, &root, err) : no_memory(from, err);
    for (int i = 0; i < RLM_PARTS && !code; i++) {
        const rlm_part *part = &RLM_PART_TABLE[i];
        const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, part->name);
        if (o && !(part->bit & parts))
            code = copy_part(from, to, part, o, err);
    }
    if (!code)
        code = copy_file(from, to, "config.json", err);
    if (!code && !access(card, F_OK))
        code = copy_file(from, to, "README.md", err);
    rlm_json_free(root);
    rlm_free(path);
    rlm_free(card);
    return code;
}

/* Of a decoder's convolutions all but the last: nothing behind those evens out their errors. */
static bool stands_8_bits(const char *name)
{
    return !strncmp(name, "decoder.", 8) && strncmp(name, "decoder.out.", 12) &&
           strncmp(name, "decoder.synthesis.", 18);
}

static int stopped(int (*stop)(void), rlm_error *err)
{
    return stop && stop() ? rlm_fail(err, RLM_E_CANCELLED, "convert: interrupted") : 0;
}

/* What was opened of m, written as asked for. */
static int save_parts(const char *to, const rlm_model *m, rlm_weights weights, rlm_weights decoders,
                      rlm_par *par, int (*stop)(void), rlm_error *err)
{
    RLM_TRY(stopped(stop, err));
    rlm_params_pick *convs = decoders == RLM_WEIGHTS_INT8 ? stands_8_bits : NULL;
    if (m->lm)
        RLM_TRY(rlm_model_save_as(to, RLM_PART_LM, &m->lm_config, &m->lm_params, weights, NULL, par,
                                  err));
    RLM_TRY(stopped(stop, err));
    if (m->video)
        RLM_TRY(rlm_model_save_as(to, RLM_PART_VIDEO, &m->video_config, &m->video_params,
                                  RLM_WEIGHTS_BF16, convs, par, err));
    if (m->audio)
        RLM_TRY(rlm_model_save_as(to, RLM_PART_AUDIO, &m->audio_config, &m->audio_params,
                                  RLM_WEIGHTS_BF16, convs, par, err));
    return 0;
}

static int read_types(const char *weights, const char *decoders, rlm_weights as[2], rlm_error *err)
{
    as[0] = as[1] = RLM_WEIGHTS_BF16;
    if (weights)
        RLM_TRY(rlm_weights_parse(weights, &as[0], err));
    if (decoders)
        RLM_TRY(rlm_weights_parse(decoders, &as[1], err));
    if (as[1] != RLM_WEIGHTS_BF16 && as[1] != RLM_WEIGHTS_INT8)
        return rlm_fail(err, RLM_E_ARG, "decoders are \"%s\", known are bf16, int8", decoders);
    return 0;
}

/* A folder of plain files, with them. */
static void remove_folder(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *f; d && (f = readdir(d));)
        if (strcmp(f->d_name, ".") && strcmp(f->d_name, ".."))
            unlinkat(dirfd(d), f->d_name, 0);
    if (d)
        closedir(d);
    rmdir(path);
}

/* TO.tmp.PID, heap; NULL when out of memory. Removes those that killed processes left there. */
static char *beside(const char *to)
{
    size_t n = strlen(to);
    char *path = rlm_alloc(n + 32);
    while (n > 1 && to[n - 1] == '/')
        n--;
    if (!path)
        return NULL;
    snprintf(path, n + 32, "%.*s", (int)n, to);
    char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t known = strlen(name);
    char *folder = slash ? rlm_strdup(path) : rlm_strdup(".");
    if (folder && slash)
        folder[slash == path ? 1 : slash - path] = 0;
    DIR *d = folder ? opendir(folder) : NULL;
    for (struct dirent *f; d && (f = readdir(d));) {
        bool ours = !strncmp(f->d_name, name, known) && !strncmp(f->d_name + known, ".tmp.", 5);
        char *old = ours && rlm_is_orphan(f->d_name) ? rlm_path_join(folder, f->d_name) : NULL;
        if (old)
            remove_folder(old);
        rlm_free(old);
    }
    if (d)
        closedir(d);
    rlm_free(folder);
    snprintf(path + n, 32, ".tmp.%ld", (long)getpid());
    return path;
}

/* The new directory beside where it goes, then in its place: there whole or not at all. */
static int write_folder(const char *from, const char *to, const rlm_model *m, unsigned parts,
                        const rlm_weights as[2], rlm_par *par, int (*stop)(void), rlm_error *err)
{
    char *fresh = beside(to);
    int code = fresh ? rlm_mkdirs(fresh, err) : no_memory(to, err);
    if (!code) {
        code = copy_but(from, fresh, parts, err);
        if (!code)
            code = save_parts(fresh, m, as[0], as[1], par, stop, err);
        if (!code)
            code = stopped(stop, err);
        if (!code && rename(fresh, to))
            code = rlm_fail(err, RLM_E_IO, "%s: cannot be put there: %s", to, strerror(errno));
        if (code)
            remove_folder(fresh);
    }
    rlm_free(fresh);
    return code;
}

/* How a file's matrices are stored. The scales of int8 are F32, and the heads of q4 int8, so the
 * first of these types that is there decides; AUTO: none, or no such file. */
static rlm_weights stored_as(const char *path)
{
    static const struct {
        rlm_dtype type;
        rlm_weights as;
    } order[] = {{RLM_U8, RLM_WEIGHTS_Q4},
                 {RLM_I8, RLM_WEIGHTS_INT8},
                 {RLM_F32, RLM_WEIGHTS_F32},
                 {RLM_BF16, RLM_WEIGHTS_BF16}};
    rlm_weights found = RLM_WEIGHTS_AUTO;
    rlm_safetensors st;
    if (rlm_st_open(&st, path, NULL))
        return found;
    for (size_t i = 0; i < sizeof order / sizeof *order && found == RLM_WEIGHTS_AUTO; i++)
        for (int t = 0; t < st.count; t++)
            if (st.entries[t].tensor.dtype == order[i].type)
                found = order[i].as;
    rlm_st_close(&st);
    return found;
}

/* Of the parts those that are of the wished type already: copied rather than rounded once more. */
static unsigned kept_parts(const char *from, unsigned parts, const rlm_weights as[2])
{
    unsigned kept = 0, tokenizers = RLM_PART_VIDEO | RLM_PART_AUDIO;
    void *root = NULL;
    char *path = rlm_path_join(from, "config.json");
    int code = path ? rlm_json_read(path, &root, NULL) : RLM_E_NOMEM;
    for (int i = 0; i < RLM_PARTS && !code; i++) {
        const rlm_part *part = &RLM_PART_TABLE[i];
        rlm_entry e;
        if (!(part->bit & parts) ||
            rlm_entry_read(&e, part, cJSON_GetObjectItemCaseSensitive(root, part->name), from,
                           NULL))
            continue;
        kept |= stored_as(e.path) == as[part->bit != RLM_PART_LM] ? part->bit : 0;
        rlm_free(e.path);
    }
    rlm_json_free(root);
    rlm_free(path);
    return (kept & tokenizers) == tokenizers ? kept : kept & ~tokenizers; /* both or none */
}

int rlm_convert(const char *from, const char *to, const char *weights, const char *decoders,
                int (*stop)(void), unsigned *kept, rlm_error *err)
{
    rlm_weights as[2];
    rlm_model m;
    rlm_kernels k;
    rlm_par *par = NULL;
    unsigned tokenizers = RLM_PART_VIDEO | RLM_PART_AUDIO;
    unsigned parts = (weights ? RLM_PART_LM : 0) | (decoders ? tokenizers : 0);
    RLM_TRY(read_types(weights, decoders, as, err));
    if (!strcmp(from, to))
        return rlm_fail(err, RLM_E_ARG, "%s: cannot be converted into itself", from);
    unsigned same = kept_parts(from, parts, as);
    if (kept)
        *kept = (same & RLM_PART_LM ? RLM_KEPT_WEIGHTS : 0) |
                (same & tokenizers ? RLM_KEPT_DECODERS : 0);
    parts &= ~same;
    RLM_TRY(rlm_kernels_init(&k, "ref", err));
    RLM_TRY(rlm_par_open(&par, 0, err));
    int code = rlm_model_open(&m, from, parts | (decoders ? RLM_PART_OPTIONAL : 0), &k, par, err);
    if (!code) {
        code = write_folder(from, to, &m, parts, as, par, stop, err);
        rlm_model_close(&m);
    }
    rlm_par_close(&par);
    return code;
}
