/* A model directory copied with other weights. Parts that are not converted stay byte for byte what
 * they were, so that token files still belong to the copy. */
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

/* Every file that config.json names except those of `parts`, then config.json. */
static int copy_but(const char *from, const char *to, unsigned parts, rlm_error *err)
{
    char *path = rlm_path_join(from, "config.json");
    void *root = NULL;
    int code =
        path ? rlm_json_read(path, &root, err) : rlm_fail(err, RLM_E_NOMEM, "%s: no memory", from);
    for (int i = 0; i < RLM_PARTS && !code; i++) {
        const rlm_part *part = &RLM_PART_TABLE[i];
        const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, part->name);
        const char *file = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "file"));
        if (file && !(part->bit & parts))
            code = copy_file(from, to, file, err);
    }
    rlm_json_free(root);
    rlm_free(path);
    return code ? code : copy_file(from, to, "config.json", err);
}

/* Of a decoder's convolutions all but the last: nothing behind those evens out their errors. */
static bool stands_8_bits(const char *name)
{
    return !strncmp(name, "decoder.", 8) && strncmp(name, "decoder.out.", 12) &&
           strncmp(name, "decoder.synthesis.", 18);
}

/* What was opened of m, written as asked for. */
static int save_parts(const char *to, const rlm_model *m, rlm_weights weights, rlm_weights decoders,
                      rlm_par *par, rlm_error *err)
{
    rlm_params_pick *convs = decoders == RLM_WEIGHTS_INT8 ? stands_8_bits : NULL;
    if (m->lm)
        RLM_TRY(rlm_model_save_as(to, RLM_PART_LM, &m->lm_config, &m->lm_params, weights, NULL, par,
                                  err));
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

int rlm_convert(const char *from, const char *to, const char *weights, const char *decoders,
                rlm_error *err)
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
    RLM_TRY(rlm_kernels_init(&k, "ref", err));
    RLM_TRY(rlm_par_open(&par, 0, err));
    int code = rlm_model_open(&m, from, parts | (decoders ? RLM_PART_OPTIONAL : 0), &k, par, err);
    if (!code) {
        code = rlm_mkdirs(to, err);
        if (!code)
            code = copy_but(from, to, parts, err);
        if (!code)
            code = save_parts(to, &m, as[0], as[1], par, err);
        rlm_model_close(&m);
    }
    rlm_par_close(&par);
    return code;
}
