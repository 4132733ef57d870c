/* Figures of files, and their means over all of them and over each group, as JSON. */
#include "src/train/eval.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

static const double EQUAL_DB = 100; /* stands for infinity in decibels */

static double rounded(double v, int digits)
{
    double unit = pow(10, digits);
    return round(v * unit) / unit;
}

static void put(cJSON *to, const rlm_measure *m, double value)
{
    if (isnan(value))
        cJSON_AddNullToObject(to, m->name);
    else
        cJSON_AddNumberToObject(to, m->name, rounded(value, m->digits));
}

static int label_of(rlm_tally *t, const char *label)
{
    for (int i = 0; i < t->label_count; i++)
        if (!strcmp(t->labels[i], label))
            return i;
    if (t->label_count == RLM_LABELS - 1)
        label = "other";
    if (t->label_count == RLM_LABELS)
        return RLM_LABELS - 1;
    t->labels[t->label_count] = label;
    return t->label_count++;
}

void rlm_tally_add(rlm_tally *t, const char *name, const char *label, const double *values,
                   cJSON *items)
{
    cJSON *o = cJSON_CreateObject();
    int rows[2] = {0, label ? 1 + label_of(t, label) : 0};
    cJSON_AddStringToObject(o, "name", name);
    if (label)
        cJSON_AddStringToObject(o, "group", label);
    for (int r = 0; r < (label ? 2 : 1); r++)
        t->files[rows[r]]++;
    for (int i = 0; i < t->measure_count; i++) {
        double v = isinf(values[i]) ? EQUAL_DB : values[i];
        put(o, &t->measures[i], v);
        for (int r = 0; r < (label ? 2 : 1) && !isnan(v); r++) {
            t->sum[rows[r]][i] += v;
            t->n[rows[r]][i]++;
        }
    }
    cJSON_AddItemToArray(items, o);
}

static void put_means(const rlm_tally *t, int row, cJSON *to)
{
    for (int i = 0; i < t->measure_count; i++)
        put(to, &t->measures[i], t->n[row][i] ? t->sum[row][i] / t->n[row][i] : NAN);
}

/* Every group counts once, however many files it has. */
static void put_mean_of_groups(const rlm_tally *t, cJSON *to)
{
    for (int i = 0; i < t->measure_count; i++) {
        double sum = 0;
        int n = 0;
        for (int row = 1; row <= t->label_count; row++)
            if (t->n[row][i]) {
                sum += t->sum[row][i] / t->n[row][i];
                n++;
            }
        put(to, &t->measures[i], n ? sum / n : NAN);
    }
}

void rlm_tally_json(const rlm_tally *t, cJSON *to)
{
    cJSON *protocol = cJSON_GetObjectItemCaseSensitive(to, "protocol");
    for (int i = 0; i < t->measure_count && protocol; i++)
        cJSON_AddStringToObject(protocol, t->measures[i].name, t->measures[i].how);
    put_means(t, 0, cJSON_AddObjectToObject(to, "mean"));
    if (!t->label_count)
        return;
    put_mean_of_groups(t, cJSON_AddObjectToObject(to, "mean_of_groups"));
    cJSON *groups = cJSON_AddObjectToObject(to, "groups");
    for (int l = 0; l < t->label_count; l++) {
        cJSON *group = cJSON_AddObjectToObject(groups, t->labels[l]);
        cJSON_AddNumberToObject(group, "files", t->files[1 + l]);
        put_means(t, 1 + l, group);
    }
}
