/* A model directory put together from the parts of others: what separate training runs made. */
#include <stdio.h>

#include "src/train/train.h"

/* Copy one part when `m` has it; *count grows. */
static int copy_parts(const char *out, const rlm_model *m, int *count, rlm_error *err)
{
    if (m->video) {
        RLM_TRY(rlm_model_save_part(out, RLM_PART_VIDEO, &m->video_config, &m->video_params, NULL,
                                    err));
        ++*count;
    }
    if (m->audio) {
        RLM_TRY(rlm_model_save_part(out, RLM_PART_AUDIO, &m->audio_config, &m->audio_params, NULL,
                                    err));
        ++*count;
    }
    if (m->lm) {
        RLM_TRY(rlm_model_save_part(out, RLM_PART_LM, &m->lm_config, &m->lm_params, NULL, err));
        ++*count;
    }
    if (m->text) {
        char *path = rlm_path_join(m->dir, "text.model");
        int code = path ? rlm_model_add_text(out, path, err)
                        : rlm_fail(err, RLM_E_NOMEM, "%s: no memory for its name", m->dir);
        rlm_free(path);
        RLM_TRY(code);
        ++*count;
    }
    return 0;
}

/* A folder, or a bare SentencePiece file. */
static int add_source(const char *source, const char *out, const rlm_kernels *k, rlm_par *par,
                      rlm_error *err)
{
    enum { EVERY = RLM_PART_ALL | RLM_PART_OPTIONAL };
    rlm_model m = {0};
    int count = 0;
    if (!rlm_is_dir(source)) {
        rlm_text *pieces = NULL;
        RLM_TRY(rlm_text_open(&pieces, source, err)); /* anything could stand there */
        rlm_text_close(&pieces);
        return rlm_model_add_text(out, source, err);
    }
    RLM_TRY(rlm_model_open(&m, source, EVERY, k, par, err));
    int code = copy_parts(out, &m, &count, err);
    rlm_model_close(&m);
    if (!code && !count)
        code = rlm_fail(err, RLM_E_MODEL, "%s: holds no part of a model", source);
    return code;
}

int rlm_model_assemble(const char *const *sources, int count, const char *out, rlm_error *err)
{
    rlm_kernels k;
    rlm_par *par = NULL;
    RLM_TRY(rlm_kernels_init(&k, "ref", err));
    RLM_TRY(rlm_par_open(&par, 1, err));
    int code = rlm_mkdirs(out, err);
    for (int i = 0; i < count && !code; i++)
        code = add_source(sources[i], out, &k, par, err);
    rlm_par_close(&par);
    return code;
}
