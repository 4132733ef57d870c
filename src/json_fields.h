/* JSON objects <-> plain structs through a table of fields: one row a field, read, range-checked
 * and written by the same row. Objects are cJSON nodes behind void*, so that callers need no cJSON.
 */
#ifndef RLM_JSON_FIELDS_H
#define RLM_JSON_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/diag.h"

typedef enum {
    RLM_FIELD_INT,
    RLM_FIELD_I64,
    RLM_FIELD_FLOAT,
    RLM_FIELD_DOUBLE,
    RLM_FIELD_INTS
} rlm_field_kind;

typedef struct rlm_field {
    const char *name;
    rlm_field_kind kind;
    size_t offset;
    double low, high; /* of a number, or of every element */
    int most;         /* INTS: capacity; fewer elements leave the rest 0 */
    size_t length;    /* INTS: offset of the int that counts elements */
    int sets_length;  /* INTS: reading sets that count; otherwise it only says how many to write */
} rlm_field;

/* Members of `object` into the struct; absent ones keep their value. An unknown key fails with ARG
 * and the nearest known name; a wrong type or range with RANGE. where opens the sentence. */
int rlm_fields_read(const void *object, const rlm_field *fields, int count, void *into,
                    const char *where, rlm_error *err);
/* All fields added to `object`; NOMEM. */
int rlm_fields_write(void *object, const rlm_field *fields, int count, const void *from,
                     rlm_error *err);
/* The known name nearest to `key` (edit distance at most a third of its length + 1), or NULL. */
const char *rlm_fields_nearest(const char *key, const char *const *names, int count);

/* A file of at most 1 MiB holding one JSON object, nested at most 32 deep, no key twice in an
 * object: *object is freed with rlm_json_free. FORMAT names the line where parsing stopped. */
int rlm_json_read(const char *path, void **object, rlm_error *err);
void rlm_json_free(void *object);

#endif
