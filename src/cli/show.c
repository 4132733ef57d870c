/* What the library says as JSON, on stdout. */
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "src/cli/cli.h"

cJSON *cli_json_take(char **json)
{
    cJSON *o = cJSON_Parse(*json);
    rlm_string_free(json);
    return o;
}

double cli_json_number(const cJSON *o, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsNumber(v) ? v->valuedouble : 0;
}

void cli_print_json(cJSON *object)
{
    char *text = cJSON_Print(object);
    if (text)
        puts(text);
    free(text);
    cJSON_Delete(object);
}

/* Nested names are joined by dots. */
static void print_leaves(const cJSON *node, const char *prefix)
{
    char name[256];
    const cJSON *child;
    cJSON_ArrayForEach(child, node)
    {
        snprintf(name, sizeof name, "%s%s%s", prefix, *prefix && child->string ? "." : "",
                 child->string ? child->string : "");
        if (cJSON_IsObject(child) || (cJSON_IsArray(child) && cJSON_IsObject(child->child))) {
            print_leaves(child, name);
        } else {
            char *value = cJSON_PrintUnformatted(child);
            printf("%-28s %s\n", name, value ? value : "");
            free(value);
        }
    }
}

int cli_show(const cli_args *a, cJSON *object, void (*print)(const cli_args *a, const cJSON *o))
{
    if (!object)
        return EXIT_FAIL;
    if (a->json) {
        cli_print_json(object);
        return EXIT_DONE;
    }
    if (print)
        print(a, object);
    else
        print_leaves(object, "");
    cJSON_Delete(object);
    return EXIT_DONE;
}
