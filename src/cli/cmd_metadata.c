/* metadata: the settings in an output, token or sidecar file. Loads no model. */
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "src/cli/job.h"

int cmd_metadata(const cli_args *a)
{
    int code = EXIT_DONE;
    char *text = cli_settings_read(a->inputs[0], &code);
    cJSON *o = text ? cJSON_Parse(text) : NULL;
    free(text);
    if (code)
        return code;
    return cli_show(a, o, NULL);
}
