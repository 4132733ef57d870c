/* Tables of fields over cJSON. */
#include "src/json_fields.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"

enum { JSON_LIMIT = 1 << 20, DEPTH_MAX = 32, KEY_MAX = 64, NAMES_MAX = 64, KEYS_MAX = 1024 };

/* Levenshtein distance of two names shorter than KEY_MAX. */
static int distance(const char *a, const char *b)
{
    int row[KEY_MAX + 1], n = (int)strlen(b);
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            int least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < least ? change : least;
        }
    }
    return row[n];
}

const char *rlm_fields_nearest(const char *key, const char *const *names, int count)
{
    const char *best = NULL;
    size_t n = strlen(key);
    int least = (int)n / 3 + 2;
    if (n >= KEY_MAX)
        return NULL;
    for (int i = 0; i < count; i++) {
        int d = strlen(names[i]) < KEY_MAX ? distance(key, names[i]) : least;
        if (d < least) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

static int unknown(const char *key, const rlm_field *fields, int count, const char *where,
                   rlm_error *err)
{
    const char *names[NAMES_MAX];
    int n = count < NAMES_MAX ? count : NAMES_MAX;
    for (int i = 0; i < n; i++)
        names[i] = fields[i].name;
    const char *near = rlm_fields_nearest(key, names, n);
    if (near)
        return rlm_fail(err, RLM_E_ARG, "%s: unknown key \"%s\"; did you mean \"%s\"?", where, key,
                        near);
    return rlm_fail(err, RLM_E_ARG, "%s: unknown key \"%s\"", where, key);
}

static int check_number(const cJSON *v, const rlm_field *f, const char *where, rlm_error *err)
{
    if (cJSON_IsBool(v) && f->low <= 0 && f->high >= 1)
        return 0;
    if (!cJSON_IsNumber(v))
        return rlm_fail(err, RLM_E_RANGE, "%s: \"%s\" is not a number", where, f->name);
    bool whole = f->kind != RLM_FIELD_FLOAT && f->kind != RLM_FIELD_DOUBLE;
    double x = v->valuedouble;
    if (!(x >= f->low && x <= f->high) || (whole && x != floor(x)))
        return rlm_fail(err, RLM_E_RANGE, "%s: \"%s\" is %g, expected %s%g..%g", where, f->name, x,
                        whole ? "a whole number " : "", f->low, f->high);
    return 0;
}

static int read_ints(const cJSON *v, const rlm_field *f, char *into, const char *where,
                     rlm_error *err)
{
    if (!cJSON_IsArray(v) || cJSON_GetArraySize(v) > f->most)
        return rlm_fail(err, RLM_E_RANGE, "%s: \"%s\" is not a list of at most %d whole numbers",
                        where, f->name, f->most);
    int values[NAMES_MAX] = {0}, n = 0;
    const cJSON *e;
    cJSON_ArrayForEach(e, v)
    {
        if (!cJSON_IsNumber(e))
            return rlm_fail(err, RLM_E_RANGE, "%s: \"%s\" is not a list of numbers", where,
                            f->name);
        RLM_TRY(check_number(e, f, where, err));
        values[n++] = (int)e->valuedouble;
    }
    memcpy(into + f->offset, values, (size_t)f->most * sizeof *values);
    if (f->sets_length)
        memcpy(into + f->length, &n, sizeof n);
    return 0;
}

static int read_field(const cJSON *v, const rlm_field *f, char *into, const char *where,
                      rlm_error *err)
{
    if (f->kind == RLM_FIELD_INTS)
        return read_ints(v, f, into, where, err);
    RLM_TRY(check_number(v, f, where, err));
    double x = cJSON_IsBool(v) ? cJSON_IsTrue(v) : v->valuedouble;
    int i = f->kind == RLM_FIELD_INT ? (int)x : 0;
    int64_t w = f->kind == RLM_FIELD_I64 ? (int64_t)x : 0;
    float s = (float)x;
    if (f->kind == RLM_FIELD_INT)
        memcpy(into + f->offset, &i, sizeof i);
    else if (f->kind == RLM_FIELD_I64)
        memcpy(into + f->offset, &w, sizeof w);
    else if (f->kind == RLM_FIELD_FLOAT)
        memcpy(into + f->offset, &s, sizeof s);
    else
        memcpy(into + f->offset, &x, sizeof x);
    return 0;
}

int rlm_fields_read(const void *object, const rlm_field *fields, int count, void *into,
                    const char *where, rlm_error *err)
{
    const cJSON *o = object, *v;
    if (!cJSON_IsObject(o))
        return rlm_fail(err, RLM_E_FORMAT, "%s: not a JSON object", where);
    cJSON_ArrayForEach(v, o)
    {
        int i = 0;
        while (i < count && strcmp(fields[i].name, v->string))
            i++;
        if (i == count)
            return unknown(v->string, fields, count, where, err);
        RLM_TRY(read_field(v, &fields[i], into, where, err));
    }
    return 0;
}

static cJSON *write_field(const rlm_field *f, const char *from)
{
    int i;
    int64_t w;
    float s;
    double x;
    switch (f->kind) {
    case RLM_FIELD_INT:
        memcpy(&i, from + f->offset, sizeof i);
        return cJSON_CreateNumber(i);
    case RLM_FIELD_I64:
        memcpy(&w, from + f->offset, sizeof w);
        return cJSON_CreateNumber((double)w);
    case RLM_FIELD_FLOAT: /* shortest decimal that is this float again */
        memcpy(&s, from + f->offset, sizeof s);
        for (int digits = 6; digits <= 9; digits++) {
            char text[32];
            snprintf(text, sizeof text, "%.*g", digits, s);
            if (strtof(text, NULL) == s || digits == 9)
                return cJSON_CreateNumber(strtod(text, NULL));
        }
        return NULL;
    case RLM_FIELD_DOUBLE:
        memcpy(&x, from + f->offset, sizeof x);
        return cJSON_CreateNumber(x);
    case RLM_FIELD_INTS:
        memcpy(&i, from + f->length, sizeof i);
        return cJSON_CreateIntArray((const int *)(const void *)(from + f->offset),
                                    i < f->most ? i : f->most);
    }
    return NULL;
}

int rlm_fields_write(void *object, const rlm_field *fields, int count, const void *from,
                     rlm_error *err)
{
    for (int i = 0; i < count; i++) {
        cJSON *v = write_field(&fields[i], from);
        if (!v || !cJSON_AddItemToObject(object, fields[i].name, v)) {
            cJSON_Delete(v);
            return rlm_fail(err, RLM_E_NOMEM, "JSON: no memory");
        }
    }
    return 0;
}

/* Brackets opened at once, outside of strings: cJSON itself recurses. */
static bool too_deep(const char *text)
{
    int depth = 0;
    bool string = false;
    for (const char *c = text; *c; c++) {
        if (string) {
            if (*c == '\\' && c[1])
                c++;
            else if (*c == '"')
                string = false;
        } else if (*c == '"') {
            string = true;
        } else if (*c == '{' || *c == '[') {
            if (++depth > DEPTH_MAX)
                return true;
        } else if (*c == '}' || *c == ']') {
            depth--;
        }
    }
    return false;
}

/* A key that stands twice in one object, at any depth, "" when there are too many keys to compare;
 * NULL: none. Two readers of such a text would each take another value. */
static const char *repeated_key(const cJSON *o)
{
    if (cJSON_IsObject(o) && cJSON_GetArraySize(o) > KEYS_MAX)
        return "";
    for (const cJSON *v = o->child; v; v = v->next) {
        for (const cJSON *w = cJSON_IsObject(o) ? v->next : NULL; w; w = w->next)
            if (!strcmp(v->string, w->string))
                return v->string;
        const char *below = repeated_key(v);
        if (below)
            return below;
    }
    return NULL;
}

int rlm_json_read(const char *path, void **object, rlm_error *err)
{
    char *text;
    size_t bytes;
    *object = NULL;
    RLM_TRY(rlm_file_read(path, JSON_LIMIT, &text, &bytes, err));
    const char *end = text;
    cJSON *o = too_deep(text) ? NULL : cJSON_ParseWithOpts(text, &end, 1);
    int code = 0;
    if (!cJSON_IsObject(o)) {
        int line = 1;
        for (const char *c = text; c < end; c++)
            line += *c == '\n';
        cJSON_Delete(o);
        code =
            rlm_fail(err, RLM_E_FORMAT, "%s: not one JSON object (stopped at line %d)", path, line);
    } else if (repeated_key(o)) {
        code = rlm_fail(err, RLM_E_FORMAT,
                        "%s: \"%.64s\" stands twice in one object, or more than %d keys do", path,
                        repeated_key(o), KEYS_MAX);
        cJSON_Delete(o);
    } else {
        *object = o;
    }
    rlm_free(text);
    return code;
}

void rlm_json_free(void *object)
{
    cJSON_Delete(object);
}
