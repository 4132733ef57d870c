/* How codes are used: over a set of clips each bit should say something, and say it alone; and each
 * code of a codebook should be needed. */
#include "src/train/eval.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void rlm_bit_use_free(rlm_bit_use *u)
{
    rlm_free(u->ids);
    memset(u, 0, sizeof *u);
}

int rlm_bit_use_add(rlm_bit_use *u, const rlm_codes *codes, rlm_error *err)
{
    if (u->count + codes->count > u->room) {
        int64_t room = 2 * (u->count + codes->count);
        int32_t *grown = rlm_realloc(u->ids, (size_t)u->room * sizeof *grown,
                                     rlm_size_mul((size_t)room, sizeof *grown));
        if (!grown)
            return rlm_fail(err, RLM_E_NOMEM, "evaluation: no memory for %lld codes",
                            (long long)room);
        u->ids = grown;
        u->room = room;
    }
    memcpy(u->ids + u->count, codes->ids, (size_t)codes->count * sizeof *u->ids);
    u->count += codes->count;
    for (int64_t i = 0; i < codes->count; i++)
        for (int a = 0; a < u->bits; a++) {
            if (!(codes->ids[i] >> a & 1))
                continue;
            u->ones[a]++;
            for (int b = a + 1; b < u->bits; b++)
                u->both[a][b] += codes->ids[i] >> b & 1;
        }
    return 0;
}

static int by_value(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

int64_t rlm_ids_distinct(int32_t *ids, int64_t count)
{
    int64_t distinct = count > 0;
    if (count > 0)
        qsort(ids, (size_t)count, sizeof *ids, by_value);
    for (int64_t i = 1; i < count; i++)
        distinct += ids[i] != ids[i - 1];
    return distinct;
}

/* Pearson's r of two bits; NAN when one of them never changes. */
static double correlation(const rlm_bit_use *u, int a, int b)
{
    double n = (double)u->count, pa = (double)u->ones[a] / n, pb = (double)u->ones[b] / n;
    double spread = sqrt(pa * (1 - pa) * pb * (1 - pb));
    return spread > 0 ? ((double)u->both[a][b] / n - pa * pb) / spread : NAN;
}

static double digits4(double v)
{
    return round(v * 1e4) / 1e4;
}

cJSON *rlm_bit_use_json(rlm_bit_use *u)
{
    cJSON *o = cJSON_CreateObject(), *means = cJSON_AddArrayToObject(o, "mean");
    double least = 1, most = 0, worst = 0, n = (double)u->count;
    int pair[2] = {0, 0};
    for (int a = 0; a < u->bits; a++) {
        double mean = (double)u->ones[a] / n;
        cJSON_AddItemToArray(means, cJSON_CreateNumber(digits4(mean)));
        least = mean < least ? mean : least;
        most = mean > most ? mean : most;
        for (int b = a + 1; b < u->bits; b++) {
            double r = correlation(u, a, b);
            if (fabs(r) > fabs(worst)) {
                worst = r;
                pair[0] = a;
                pair[1] = b;
            }
        }
    }
    cJSON_AddNumberToObject(o, "least_mean", digits4(least));
    cJSON_AddNumberToObject(o, "most_mean", digits4(most));
    cJSON_AddNumberToObject(o, "max_correlation", digits4(worst));
    cJSON_AddItemToObject(o, "max_correlation_bits", cJSON_CreateIntArray(pair, 2));
    cJSON_AddNumberToObject(o, "codes", n);
    cJSON_AddNumberToObject(o, "different_codes", (double)rlm_ids_distinct(u->ids, u->count));
    return o;
}

/* ---- Codebooks ---- */

void rlm_code_use_free(rlm_code_use *u)
{
    rlm_free(u->hits);
    memset(u, 0, sizeof *u);
}

int rlm_code_use_add(rlm_code_use *u, const rlm_codes *codes, rlm_error *err)
{
    if (!u->hits)
        u->hits = rlm_calloc((size_t)u->levels * (size_t)u->codes, sizeof *u->hits);
    if (!u->hits)
        return rlm_fail(err, RLM_E_NOMEM, "evaluation: no memory for counts of %d codes", u->codes);
    for (int64_t level = 0; level < codes->dims[0]; level++)
        for (int64_t i = 0; i < codes->dims[1]; i++)
            u->hits[level * u->codes + codes->ids[level * codes->dims[1] + i]]++;
    u->frames += codes->dims[1];
    return 0;
}

double rlm_code_use_perplexity(const rlm_code_use *u, int level)
{
    double entropy = 0;
    for (int c = 0; c < u->codes; c++) {
        double share = (double)u->hits[level * u->codes + c] / (double)u->frames;
        entropy -= share > 0 ? share * log(share) : 0;
    }
    return u->frames ? exp(entropy) : NAN;
}

cJSON *rlm_code_use_json(const rlm_code_use *u)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "frames", (double)u->frames);
    cJSON *used = cJSON_AddArrayToObject(o, "used"), *p = cJSON_AddArrayToObject(o, "perplexity");
    for (int level = 0; level < u->levels; level++) {
        int seen = 0;
        for (int c = 0; c < u->codes; c++)
            seen += u->hits[level * u->codes + c] > 0;
        cJSON_AddItemToArray(used, cJSON_CreateNumber(digits4((double)seen / u->codes)));
        double perplexity = rlm_code_use_perplexity(u, level);
        cJSON_AddItemToArray(p, cJSON_CreateNumber(round(perplexity * 10) / 10));
    }
    return o;
}
