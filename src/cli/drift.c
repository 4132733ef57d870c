/* Whether a clip drifts as it goes on: mean and deviation of luma and chroma, second by second. */
#include <math.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "src/cli/job.h"

typedef struct moments {
    double mean, deviation;
} moments;

/* Full-range Y, Cb, Cr (BT.709) of pictures [from, to). */
static void measure(const rlm_frames *v, int from, int to, moments out[3])
{
    double sum[3] = {0}, square[3] = {0};
    size_t one = (size_t)v->width * (size_t)v->height;
    const uint8_t *rgb = v->rgb + 3 * one * (size_t)from;
    double n = (double)one * (to - from);
    for (size_t i = 0; i < one * (size_t)(to - from); i++, rgb += 3) {
        double y = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
        double value[3] = {y, (rgb[2] - y) / 1.8556, (rgb[0] - y) / 1.5748};
        for (int c = 0; c < 3; c++) {
            sum[c] += value[c];
            square[c] += value[c] * value[c];
        }
    }
    for (int c = 0; c < 3; c++) {
        out[c].mean = sum[c] / n;
        out[c].deviation = sqrt(fmax(0, square[c] / n - out[c].mean * out[c].mean));
    }
}

void cli_drift(const rlm_frames *v, cJSON *o, FILE *to)
{
    static const char *const names[] = {"luma", "cb", "cr"};
    cJSON *list = o ? cJSON_AddArrayToObject(o, "drift") : NULL;
    for (int s = 0, from = 0; from < v->count && v->fps_num > 0; s++) {
        moments m[3];
        int end = (int)ceil((s + 1.0) * v->fps_num / v->fps_den - 1e-9);
        end = end <= from ? from + 1 : end > v->count ? v->count : end;
        measure(v, from, end, m);
        from = end;
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
