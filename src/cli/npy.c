/* Arrays in NumPy's file format, version 1.0. */
#include <stdio.h>
#include <string.h>

#include "src/cli/cli.h"

int cli_write_npy(const char *path, const char *type, const int *shape, int rank, const void *data)
{
    enum { HEADER = 128, FIXED = 10 };
    char dims[96] = "", header[HEADER];
    size_t count = 1, item = (size_t)(type[2] - '0');
    for (int i = 0, n = 0; i < rank; i++) {
        n += snprintf(dims + n, sizeof dims - (size_t)n, i ? ", %d" : "%d", shape[i]);
        count *= (size_t)shape[i];
    }
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", FIXED); /* 0x76 = HEADER - FIXED */
    int n = snprintf(header + FIXED, sizeof header - FIXED,
                     "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", type, dims);
    header[FIXED + n] = ' ';
    header[HEADER - 1] = '\n';
    cli_whole w;
    int code = cli_whole_open(&w, path);
    if (code)
        return code;
    fwrite(header, 1, sizeof header, w.file);
    fwrite(data, item, count, w.file);
    return cli_whole_commit(&w);
}
