/* What a person looks at: a few clips side by side, originals above reconstructions. */
#include "src/train/eval.h"

#include <string.h>

enum { SHOWN = 3, GAP = 2 };

/* Frames 0, middle and last (0, 8, 16 of 17) of f. */
static int keep_frames(const rlm_frames *f, rlm_frames *out, rlm_error *err)
{
    size_t one = (size_t)f->height * (size_t)f->width * 3;
    int count = f->count < SHOWN ? 1 : SHOWN;
    *out = (rlm_frames){.count = count, .height = f->height, .width = f->width};
    out->rgb = rlm_alloc(rlm_size_mul(one, (size_t)count));
    if (!out->rgb)
        return rlm_fail(err, RLM_E_NOMEM, "sheet: out of memory");
    for (int i = 0; i < count; i++) {
        int at = count == 1 ? 0 : (f->count - 1) * i / (SHOWN - 1);
        memcpy(out->rgb + (size_t)i * one, f->rgb + (size_t)at * one, one);
    }
    return 0;
}

int rlm_eval_sheet_add(rlm_eval_sheet *s, const rlm_frames *original, const rlm_frames *made,
                       rlm_error *err)
{
    if (s->count == RLM_SHEET_COLUMNS)
        return 0;
    rlm_frames *cell = s->cells[s->count];
    RLM_TRY(keep_frames(original, &cell[0], err));
    s->count++;
    return keep_frames(made, &cell[1], err);
}

void rlm_eval_sheet_free(rlm_eval_sheet *s)
{
    for (int i = 0; i < RLM_SHEET_COLUMNS; i++)
        for (int k = 0; k < 2; k++)
            rlm_free(s->cells[i][k].rgb);
    memset(s, 0, sizeof *s);
}

int rlm_eval_sheet_write(const rlm_eval_sheet *s, const char *path, rlm_error *err)
{
    int height = 0, rows = 1, width = 0;
    for (int i = 0; i < s->count; i++) {
        const rlm_frames *f = &s->cells[i][0];
        height = f->height > height ? f->height : height;
        rows = f->count > rows ? f->count : rows;
        width += f->width + GAP;
    }
    if (!s->count)
        return rlm_fail(err, RLM_E_ARG, "%s: there is nothing to show", path);
    rlm_frames sheet = {.count = 1,
                        .height = rows * 2 * (height + GAP),
                        .width = width,
                        .fps_num = 1,
                        .fps_den = 1};
    size_t bytes = rlm_size_mul((size_t)sheet.height, (size_t)sheet.width * 3);
    sheet.rgb = rlm_alloc(bytes);
    if (!sheet.rgb)
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory for %dx%d", path, width, sheet.height);
    memset(sheet.rgb, 255, bytes);
    for (int i = 0, left = 0; i < s->count; left += s->cells[i++][0].width + GAP)
        for (int row = 0; row < 2 * s->cells[i][0].count; row++) {
            const rlm_frames *f = &s->cells[i][row % 2];
            size_t line = (size_t)f->width * 3;
            for (int y = 0; y < f->height; y++)
                memcpy(sheet.rgb +
                           ((size_t)(row * (height + GAP) + y) * (size_t)width + (size_t)left) * 3,
                       f->rgb + ((size_t)(row / 2 * f->height) + (size_t)y) * line, line);
        }
    rlm_clip clip = {.video = sheet};
    int code = rlm_media_write(path, &clip, NULL, err);
    rlm_free(sheet.rgb);
    return code;
}
