/* info, probe. */
#include "src/cli/cli.h"

int cmd_info(const cli_args *a)
{
    rlm_engine *engine = NULL;
    rlm_options o;
    rlm_error err = {0};
    char *json = NULL;
    cli_library_options(a, &o);
    int code = rlm_open(&engine, cli_model_dir(a), &o, &err);
    if (!code)
        code = rlm_engine_info(engine, &json, &err);
    rlm_close(&engine);
    return code ? cli_error(&err) : cli_show(a, cli_json_take(&json), NULL);
}

int cmd_probe(const cli_args *a)
{
    rlm_error err = {0};
    char *json = NULL;
    if (rlm_media_probe(a->inputs[0], &json, &err))
        return cli_error(&err);
    return cli_show(a, cli_json_take(&json), NULL);
}
