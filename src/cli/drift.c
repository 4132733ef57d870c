/* Whether a clip drifts as it goes on: mean and deviation of luma and chroma, second by second. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/cli/job.h"

typedef struct moments {
    double mean, deviation;
} moments;

/* Full-range Y, Cb, Cr (BT.709) of pictures [from, to), added up. */
static void measure(const rlm_frames *v, int from, int to, cli_drift_second *out)
{
    size_t one = (size_t)v->width * (size_t)v->height;
    const uint8_t *rgb = v->rgb + 3 * one * (size_t)from;
    for (size_t i = 0; i < one * (size_t)(to - from); i++, rgb += 3) {
        double y = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
        double value[3] = {y, (rgb[2] - y) / 1.8556, (rgb[0] - y) / 1.5748};
        for (int c = 0; c < 3; c++) {
            out->sum[c] += value[c];
            out->square[c] += value[c] * value[c];
        }
    }
    out->pixels += (double)one * (to - from);
}

/* Number of the first picture behind a second. */
static int second_end(const rlm_frames *v, int second)
{
    return (int)ceil((second + 1.0) * v->fps_num / v->fps_den - 1e-9);
}

void cli_drift_add(cli_drift *d, const rlm_frames *v)
{
    for (int at = 0; at < v->count && v->fps_num > 0;) {
        while (d->pictures >=
               second_end(v, d->second)) /* fewer than one a second: some are empty */
            d->second++;
        if (d->second >= d->count) {
            int count = d->second + 1;
            cli_drift_second *grown = realloc(d->seconds, (size_t)count * sizeof *grown);
            if (!grown)
                return; /* it ends here: a measurement is not worth the clip */
            memset(grown + d->count, 0, (size_t)(count - d->count) * sizeof *grown);
            d->seconds = grown;
            d->count = count;
        }
        int end = at + second_end(v, d->second) - d->pictures;
        end = end > v->count ? v->count : end;
        measure(v, at, end, &d->seconds[d->second]);
        d->pictures += end - at;
        at = end;
    }
}

static moments moments_of(const cli_drift_second *s, int c)
{
    double mean = s->sum[c] / s->pixels;
    return (moments){mean, sqrt(fmax(0, s->square[c] / s->pixels - mean * mean))};
}

void cli_drift_report(const cli_drift *d, cJSON *o, FILE *to)
{
    static const char *const names[] = {"luma", "cb", "cr"};
    cJSON *list = o ? cJSON_AddArrayToObject(o, "drift") : NULL;
    for (int s = 0; s < d->count; s++) {
        moments m[3];
        if (d->seconds[s].pixels <= 0)
            continue;
        for (int c = 0; c < 3; c++)
            m[c] = moments_of(&d->seconds[s], c);
        if (to)
            fprintf(to, "  second %d: luma %.1f +- %.1f, chroma %.1f +- %.1f, %.1f +- %.1f\n", s,
                    m[0].mean, m[0].deviation, m[1].mean, m[1].deviation, m[2].mean,
                    m[2].deviation);
        cJSON *second = list ? cJSON_CreateObject() : NULL;
        for (int c = 0; c < 3 && second; c++) {
            double pair[2] = {round(m[c].mean * 100) / 100, round(m[c].deviation * 100) / 100};
            cJSON_AddItemToObject(second, names[c], cJSON_CreateDoubleArray(pair, 2));
        }
        if (second)
            cJSON_AddItemToArray(list, second);
    }
}

void cli_drift_free(cli_drift *d)
{
    free(d->seconds);
    *d = (cli_drift){0};
}
