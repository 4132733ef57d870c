/* info, probe. */
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "src/cli/cli.h"

/* One "key: value" line a leaf, nested names joined by dots. */
void cli_print_plain(const cJSON *node, const char *prefix)
{
    char name[256];
    const cJSON *child;
    cJSON_ArrayForEach(child, node)
    {
        snprintf(name, sizeof name, "%s%s%s", prefix, *prefix && child->string ? "." : "",
                 child->string ? child->string : "");
        if (cJSON_IsObject(child) || (cJSON_IsArray(child) && cJSON_IsObject(child->child))) {
            cli_print_plain(child, name);
        } else {
            char *value = cJSON_PrintUnformatted(child);
            printf("%-28s %s\n", name, value ? value : "");
            free(value);
        }
    }
}

static int print_text(const cli_args *a, char *json)
{
    cJSON *o = cJSON_Parse(json);
    rlm_string_free(&json);
    if (!o)
        return EXIT_FAIL;
    if (a->json) {
        cli_print_json(o);
        return EXIT_DONE;
    }
    cli_print_plain(o, "");
    cJSON_Delete(o);
    return EXIT_DONE;
}

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
    return code ? cli_error(&err) : print_text(a, json);
}

int cmd_probe(const cli_args *a)
{
    rlm_error err = {0};
    char *json = NULL;
    if (rlm_media_probe(a->inputs[0], &json, &err))
        return cli_error(&err);
    return print_text(a, json);
}
