/* A model directory copied with other weights for its language model: the tokenizers' files stay
 * byte for byte what they were, so that token files still belong to the copy. */
#include <string.h>

#include "src/model_config.h"
#include "src/pipeline.h"

static int copy_file(const char *from, const char *to, const char *name, rlm_error *err)
{
    rlm_map map;
    char *source = rlm_path_join(from, name), *target = rlm_path_join(to, name);
    int code = source && target ? rlm_map_open(&map, source, err)
                                : rlm_fail(err, RLM_E_NOMEM, "%s: no memory", name);
    if (!code) {
        code = rlm_file_write(target, map.data, map.bytes, err);
        rlm_map_close(&map);
    }
    rlm_free(source);
    rlm_free(target);
    return code;
}

/* Every file that config.json names except the language model's, then config.json. */
static int copy_parts(const char *from, const char *to, rlm_error *err)
{
    char *path = rlm_path_join(from, "config.json");
    void *root = NULL;
    int code =
        path ? rlm_json_read(path, &root, err) : rlm_fail(err, RLM_E_NOMEM, "%s: no memory", from);
    for (int i = 0; i < RLM_PARTS && !code; i++) {
        const rlm_part *part = &RLM_PART_TABLE[i];
        const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, part->name);
        const char *file = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "file"));
        if (file && part->bit != RLM_PART_LM)
            code = copy_file(from, to, file, err);
    }
    rlm_json_free(root);
    rlm_free(path);
    return code ? code : copy_file(from, to, "config.json", err);
}

int rlm_convert(const char *from, const char *to, const char *weights, rlm_error *err)
{
    rlm_weights as;
    rlm_model m;
    rlm_kernels k;
    rlm_par *par = NULL;
    RLM_TRY(rlm_weights_parse(weights, &as, err));
    if (!strcmp(from, to))
        return rlm_fail(err, RLM_E_ARG, "%s: cannot be converted into itself", from);
    RLM_TRY(rlm_kernels_init(&k, "ref", err));
    RLM_TRY(rlm_par_open(&par, 0, err));
    int code = rlm_model_open(&m, from, RLM_PART_LM, &k, par, err);
    if (!code) {
        code = rlm_mkdirs(to, err);
        if (!code)
            code = copy_parts(from, to, err);
        if (!code)
            code = rlm_model_save_lm(to, &m.lm_config, &m.lm_params, as, par, err);
        rlm_model_close(&m);
    }
    rlm_par_close(&par);
    return code;
}
