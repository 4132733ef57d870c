/* Line chart of a training run as SVG, from the journal's own lines. */
#include "src/train/journal_plot.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"

enum {
    SERIES = 6,
    POINTS = 600,
    WIDTH = 860,
    HEIGHT = 420,
    LEFT = 70,
    RIGHT = 20,
    TOP = 40,
    BOTTOM = 50,
    PLOT_LIMIT = 1 << 28
};
static const char *const COLOURS[SERIES] = {"#3366cc", "#dc3912", "#109618",
                                            "#990099", "#ff9900", "#0099c6"};

typedef struct series {
    char key[48];
    int count; /* points seen */
    double sum_y[POINTS], sum_x[POINTS];
    int in_bin[POINTS];
} series;

typedef struct chart {
    series s[SERIES];
    int series_count;
    int64_t last_step;
    double low, high;
} chart;

static series *series_of(chart *c, const char *key, size_t bytes)
{
    for (int i = 0; i < c->series_count; i++)
        if (strlen(c->s[i].key) == bytes && !memcmp(c->s[i].key, key, bytes))
            return &c->s[i];
    if (c->series_count == SERIES || bytes >= sizeof c->s[0].key)
        return NULL;
    series *s = &c->s[c->series_count++];
    memcpy(s->key, key, bytes);
    s->key[bytes] = 0;
    return s;
}

/* Values that share a column of the picture are averaged. */
static void add_point(chart *c, series *s, int64_t step, double y)
{
    int bin = (int)((double)step / (double)(c->last_step + 1) * POINTS);
    s->sum_x[bin] += (double)step;
    s->sum_y[bin] += y;
    s->in_bin[bin]++;
    s->count++;
}

static void read_line(chart *c, const char *line, const char *end, int64_t step)
{
    for (const char *at = line; (at = memchr(at, '"', (size_t)(end - at)));) {
        const char *key = ++at, *close = memchr(at, '"', (size_t)(end - at));
        if (!close || close + 2 >= end)
            return;
        size_t n = (size_t)(close - key);
        bool wanted = (n == 4 && !memcmp(key, "loss", 4)) || (n >= 3 && !memcmp(key, "val", 3));
        char *stop;
        double y = strtod(close + 2, &stop);
        if (wanted && stop > close + 2 && isfinite(y)) {
            series *s = series_of(c, key, n);
            if (s)
                add_point(c, s, step, y);
        }
        at = close + 1;
    }
}

static void read_journal(chart *c, const char *text)
{
    for (int pass = 0; pass < 2; pass++)
        for (const char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
            int64_t step;
            if (sscanf(line, "{\"step\":%" SCNd64, &step) != 1 || step < 0)
                continue;
            if (pass)
                read_line(c, line, end, step);
            else if (step > c->last_step)
                c->last_step = step;
        }
}

static void find_range(chart *c)
{
    c->low = INFINITY;
    c->high = -INFINITY;
    for (int i = 0; i < c->series_count; i++)
        for (int b = 0; b < POINTS; b++)
            if (c->s[i].in_bin[b]) {
                double y = c->s[i].sum_y[b] / c->s[i].in_bin[b];
                c->low = fmin(c->low, y);
                c->high = fmax(c->high, y);
            }
    if (!(c->high > c->low)) {
        c->low = isfinite(c->low) ? c->low - 0.5 : 0;
        c->high = c->low + 1;
    }
}

static double place_y(const chart *c, double y)
{
    return TOP + (c->high - y) / (c->high - c->low) * (HEIGHT - TOP - BOTTOM);
}

static double place_x(const chart *c, double x)
{
    double last = c->last_step > 0 ? (double)c->last_step : 1.0;
    return LEFT + x / last * (WIDTH - LEFT - RIGHT);
}

static void draw_axes(const chart *c, FILE *f)
{
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    for (int i = 0; i <= 4; i++) {
        double v = c->low + (c->high - c->low) * i / 4.0, y = place_y(c, v);
        double step = (double)c->last_step * i / 4.0, x = place_x(c, step);
        fprintf(f,
                "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#dddddd\"/>\n"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" fill=\"#444444\">%.4g</text>\n"
                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" fill=\"#444444\">%.0f</text>\n",
                LEFT, WIDTH - RIGHT, y, y, LEFT - 8, y + 4, v, x, HEIGHT - BOTTOM + 18, step);
    }
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"#444444\">step</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12);
}

static void draw_series(const chart *c, int i, FILE *f)
{
    const series *s = &c->s[i];
    double x = 0, y = 0;
    fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", COLOURS[i]);
    for (int b = 0; b < POINTS; b++)
        if (s->in_bin[b]) {
            x = place_x(c, s->sum_x[b] / s->in_bin[b]);
            y = place_y(c, s->sum_y[b] / s->in_bin[b]);
            fprintf(f, "%.1f,%.1f ", x, y);
        }
    fprintf(f, "\"/>\n");
    if (s->count)
        fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x, y, COLOURS[i]);
    fprintf(f, "<text x=\"%d\" y=\"%d\" fill=\"%s\">%s</text>\n", LEFT + 130 * i, TOP - 16,
            COLOURS[i], s->key);
}

void rlm_journal_plot(const char *jsonl_path, const char *svg_path)
{
    char *text;
    size_t bytes;
    rlm_writer w;
    if (rlm_file_read(jsonl_path, PLOT_LIMIT, &text, &bytes, NULL))
        return;
    chart *c = rlm_calloc(1, sizeof *c);
    if (c) {
        read_journal(c, text);
        find_range(c);
        if (!rlm_writer_open(&w, svg_path, NULL)) {
            draw_axes(c, w.file);
            for (int i = 0; i < c->series_count; i++)
                draw_series(c, i, w.file);
            fputs("</svg>\n", w.file);
            rlm_writer_commit(&w, NULL);
        }
    }
    rlm_free(c);
    rlm_free(text);
}
