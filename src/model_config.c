/* Config tables of the parts, and the two kinds of file that hold them. */
#include "src/model_config.h"

#include <string.h>

/* clang-format off */
#define INT(type, field, low, high) \
    {#field, RLM_FIELD_INT, offsetof(type, field), low, high, 0, 0, 0}
#define INTS(type, field, low, high, most, length, sets) \
    {#field, RLM_FIELD_INTS, offsetof(type, field), low, high, most, offsetof(type, length), sets}
/* clang-format on */

static const rlm_field VIDEO_FIELDS[] = {
    INT(rlm_video_config, bits, 1, 30),
    INT(rlm_video_config, haar, 0, 1),
    INT(rlm_video_config, factorised, 0, 1),
    INT(rlm_video_config, levels, 1, RLM_VIDEO_LEVELS),
    INTS(rlm_video_config, channels, 0, 16384, RLM_VIDEO_LEVELS, levels, 0),
    INTS(rlm_video_config, blocks, 0, 64, RLM_VIDEO_LEVELS, levels, 0),
    INTS(rlm_video_config, decoder_blocks, 0, 64, RLM_VIDEO_LEVELS, levels, 0),
    INTS(rlm_video_config, down_t, 0, 2, RLM_VIDEO_LEVELS, levels, 0),
    INTS(rlm_video_config, down_s, 0, 2, RLM_VIDEO_LEVELS, levels, 0),
    INT(rlm_video_config, mid_blocks, 0, 64),
    INT(rlm_video_config, groups, 1, 4096),
};
static const rlm_field AUDIO_FIELDS[] = {
    INT(rlm_audio_config, rate, 1000, 192000),
    INT(rlm_audio_config, channels, 1, 4096),
    INT(rlm_audio_config, decoder_channels, 0, 4096),
    INT(rlm_audio_config, max_channels, 0, 65536),
    INT(rlm_audio_config, stem, 1, 320),
    INTS(rlm_audio_config, strides, 1, 64, RLM_AUDIO_STRIDES, stride_count, 1),
    INT(rlm_audio_config, window, 0, 1024),
    INT(rlm_audio_config, synthesis, 0, 8),
    INT(rlm_audio_config, middle, 0, RLM_AUDIO_UNITS),
    INT(rlm_audio_config, decoder_middle, 0, RLM_AUDIO_UNITS),
    INT(rlm_audio_config, units, 0, RLM_AUDIO_UNITS),
    INT(rlm_audio_config, decoder_units, 0, RLM_AUDIO_UNITS),
    INT(rlm_audio_config, unit_kernel, 1, 64),
    INT(rlm_audio_config, dim, 1, 16384),
    INT(rlm_audio_config, levels, 1, RLM_AUDIO_LEVELS_MAX),
    INT(rlm_audio_config, codes, 2, 65536),
    INT(rlm_audio_config, beam, 1, RLM_RVQ_BEAM_MAX),
};
static const rlm_field LM_FIELDS[] = {
    INT(rlm_lm_config, layers, 1, 1024),
    INT(rlm_lm_config, dim, 1, 65536),
    INT(rlm_lm_config, heads, 1, 1024),
    INT(rlm_lm_config, ffn, 1, 262144),
    INT(rlm_lm_config, cond, 1, 65536),
    INT(rlm_lm_config, specials, 1, 65536),
    INT(rlm_lm_config, video_bits, 2, 30),
    INT(rlm_lm_config, audio_levels, 0, 64),
    INT(rlm_lm_config, audio_codes, 0, 65536),
    INT(rlm_lm_config, text_pieces, 0, 1000000),
    INT(rlm_lm_config, max_len, 1, 10000000),
    {"rope_base", RLM_FIELD_FLOAT, offsetof(rlm_lm_config, rope_base), 1, 1e9, 0, 0, 0},
};
#undef INT
#undef INTS

static int check_video(const void *c, rlm_error *err)
{
    return rlm_video_config_check(c, err);
}
static int check_audio(const void *c, rlm_error *err)
{
    return rlm_audio_config_check(c, err);
}
static int check_lm(const void *c, rlm_error *err)
{
    return rlm_lm_config_check(c, err);
}
static void default_video(void *c)
{
    rlm_video_config_defaults(c);
}
static void default_audio(void *c)
{
    rlm_audio_config_defaults(c);
}
static void default_lm(void *c)
{
    rlm_lm_config_defaults(c);
}
/* "default" and the other names a config file may start from; 0 if known. */
static int preset_video(void *c, const char *name)
{
    if (!strcmp(name, "default"))
        rlm_video_config_defaults(c);
    else if (!strcmp(name, "paper"))
        rlm_video_config_paper(c);
    else
        return -1;
    return 0;
}
static int preset_audio(void *c, const char *name)
{
    if (!strcmp(name, "default"))
        rlm_audio_config_defaults(c);
    else if (!strcmp(name, "tiny"))
        rlm_audio_config_tiny(c);
    else if (!strcmp(name, "paper"))
        rlm_audio_config_paper(c);
    else
        return -1;
    return 0;
}
static int preset_lm(void *c, const char *name)
{
    return rlm_lm_config_preset(c, name);
}

const rlm_part RLM_PART_TABLE[RLM_PARTS] = {
    {RLM_PART_VIDEO, "video", "video.safetensors", VIDEO_FIELDS,
     sizeof VIDEO_FIELDS / sizeof *VIDEO_FIELDS, check_video, default_video, preset_video},
    {RLM_PART_AUDIO, "audio", "audio.safetensors", AUDIO_FIELDS,
     sizeof AUDIO_FIELDS / sizeof *AUDIO_FIELDS, check_audio, default_audio, preset_audio},
    {RLM_PART_LM, "lm", "lm.safetensors", LM_FIELDS, sizeof LM_FIELDS / sizeof *LM_FIELDS, check_lm,
     default_lm, preset_lm},
    {RLM_PART_TEXT, "text", "text.model", NULL, 0, NULL, NULL, NULL},
};

int rlm_json_known_keys(const cJSON *o, const char *const *names, int count, const char *where,
                        rlm_error *err)
{
    const cJSON *v;
    cJSON_ArrayForEach(v, o)
    {
        bool known = false;
        for (int i = 0; i < count; i++)
            known = known || !strcmp(v->string, names[i]);
        if (known)
            continue;
        const char *near = rlm_fields_nearest(v->string, names, count);
        return rlm_fail(err, RLM_E_ARG, "%s: unknown key \"%s\"%s%s%s", where, v->string,
                        near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    return 0;
}

int rlm_config_check_root(const cJSON *root, const char *path, rlm_error *err)
{
    static const char *const KEYS[] = {"format", "version", "video", "audio", "lm", "text"};
    const cJSON *format = cJSON_GetObjectItemCaseSensitive(root, "format");
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(root, "version");
    if (!cJSON_IsString(format) || strcmp(format->valuestring, "reelm"))
        return rlm_fail(err, RLM_E_FORMAT, "%s: \"format\" is not \"reelm\"", path);
    if (!cJSON_IsNumber(version) || version->valuedouble != RLM_MODEL_VERSION)
        return rlm_fail(err, RLM_E_VERSION, "%s: version %g, this program reads version %d", path,
                        cJSON_IsNumber(version) ? version->valuedouble : 0.0, RLM_MODEL_VERSION);
    return rlm_json_known_keys(root, KEYS, sizeof KEYS / sizeof *KEYS, path, err);
}

int rlm_config_read_part(const rlm_part *part, const cJSON *object, const char *path, void *config,
                         rlm_error *err)
{
    char where[320];
    snprintf(where, sizeof where, "%s: %s", path, part->name);
    RLM_TRY(rlm_fields_read(object, part->fields, part->field_count, config, where, err));
    int code = part->check(config, err);
    return code ? rlm_fail_prefix(err, code, "%s", where) : 0;
}

/* "network" of a training config: an optional "preset" to start from, then the part's fields. */
static int read_network(const rlm_part *part, cJSON *network, const char *path, void *config,
                        rlm_error *err)
{
    cJSON *preset = cJSON_DetachItemFromObjectCaseSensitive(network, "preset");
    int code = 0;
    part->defaults(config);
    if (preset && (!cJSON_IsString(preset) || part->preset(config, preset->valuestring)))
        code =
            rlm_fail(err, RLM_E_ARG, "%s: \"preset\" %s is not known for %s", path,
                     cJSON_IsString(preset) ? preset->valuestring : "(not a string)", part->name);
    cJSON_Delete(preset);
    return code ? code : rlm_config_read_part(part, network, path, config, err);
}

static int read_training(cJSON *root, const char *path, void *const config[3], rlm_error *err)
{
    static const char *const KEYS[] = {"what", "about", "network", "train"};
    RLM_TRY(rlm_json_known_keys(root, KEYS, sizeof KEYS / sizeof *KEYS, path, err));
    const cJSON *what = cJSON_GetObjectItemCaseSensitive(root, "what");
    cJSON *network = cJSON_GetObjectItemCaseSensitive(root, "network");
    for (int i = 0; i < 3; i++) {
        if (!config[i])
            continue;
        if (what && (!cJSON_IsString(what) || strcmp(what->valuestring, RLM_PART_TABLE[i].name)))
            return rlm_fail(err, RLM_E_ARG, "%s: is for \"%s\", not for \"%s\"", path,
                            cJSON_IsString(what) ? what->valuestring : "(not a string)",
                            RLM_PART_TABLE[i].name);
        if (network)
            RLM_TRY(read_network(&RLM_PART_TABLE[i], network, path, config[i], err));
        else
            RLM_PART_TABLE[i].defaults(config[i]);
    }
    return 0;
}

int rlm_config_read(const char *path, rlm_video_config *video, rlm_audio_config *audio,
                    rlm_lm_config *lm, rlm_error *err)
{
    void *const config[3] = {video, audio, lm};
    void *root;
    RLM_TRY(rlm_json_read(path, &root, err));
    int code = 0;
    if (!cJSON_GetObjectItemCaseSensitive(root, "format")) {
        code = read_training(root, path, config, err);
    } else {
        code = rlm_config_check_root(root, path, err);
        for (int i = 0; i < 3 && !code; i++) {
            const cJSON *entry = cJSON_GetObjectItemCaseSensitive(root, RLM_PART_TABLE[i].name);
            const cJSON *o = cJSON_GetObjectItemCaseSensitive(entry, "config");
            if (config[i] && o) {
                RLM_PART_TABLE[i].defaults(config[i]);
                code = rlm_config_read_part(&RLM_PART_TABLE[i], o, path, config[i], err);
            }
        }
    }
    rlm_json_free(root);
    return code;
}
