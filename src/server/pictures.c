/* Contact sheets: frames shrunk by averaging whole blocks of pixels. */
#include <stdlib.h>
#include <string.h>

#include "src/server/worker.h"

/* Mean of the n x n pixels at (x, y), one channel. */
static uint8_t mean(const uint8_t *rgb, int width, int x, int y, int channel, int n)
{
    int sum = n * n / 2;
    for (int j = 0; j < n; j++)
        for (int i = 0; i < n; i++)
            sum += rgb[((size_t)(y + j) * (size_t)width + (size_t)(x + i)) * 3 + (size_t)channel];
    return (uint8_t)(sum / (n * n));
}

int rlm_pictures_sheet(const rlm_frames *f, int from, int last, int count, int columns, int side,
                       rlm_clip *out, rlm_error *err)
{
    int n = 1;
    while (f->width / n > side || f->height / n > side)
        n++;
    int w = f->width / n, h = f->height / n;
    columns = count < columns ? count : columns;
    int rows = (count + columns - 1) / columns;
    size_t line = (size_t)columns * (size_t)w * 3;
    if (w < 1 || h < 1 || count < 1 || from < 0 || last < from || last >= f->count)
        return rlm_serve_fail(err, RLM_E_ARG, "a sheet of %d pictures cannot be made", count);
    uint8_t *sheet = calloc((size_t)rows * (size_t)h, line);
    if (!sheet)
        return rlm_serve_fail(err, RLM_E_NOMEM, "no memory for a sheet of %d pictures", count);
    for (int k = 0; k < count; k++) {
        int at = count > 1 ? from + k * (last - from) / (count - 1) : from;
        const uint8_t *rgb = f->rgb + (size_t)at * (size_t)f->width * (size_t)f->height * 3;
        for (int y = 0; y < h; y++) {
            uint8_t *to = sheet + (size_t)(k / columns * h + y) * line +
                          (size_t)(k % columns) * (size_t)w * 3;
            for (int x = 0; x < w; x++)
                for (int c = 0; c < 3; c++)
                    to[3 * x + c] = mean(rgb, f->width, x * n, y * n, c, n);
        }
    }
    *out = (rlm_clip){.video = {1, rows * h, columns * w, f->fps_num, f->fps_den, sheet}};
    return 0;
}
