/* A request's body, multipart/form-data or JSON, as one flat list of named fields. JSON objects and
 * arrays become names in brackets, as the OpenAI client writes them in forms:
 * {"input_reference": {"image_url": "..."}} is the field input_reference[image_url]. */
#ifndef RLM_SERVER_FORM_H
#define RLM_SERVER_FORM_H

#include "src/server/bytes.h"

struct cJSON;

enum {
    RLM_FORM_FIELDS = 96,
    RLM_FORM_FILES = 16,
    RLM_FORM_NAME_BYTES = 96,
    RLM_FORM_TEXT_BYTES = 64 * 1024, /* of a value that is no file and no URL */
    RLM_FORM_DEPTH = 32,
    RLM_FORM_ITEMS = 2048 /* values in one JSON body */
};

enum { RLM_FIELD_TEXT, RLM_FIELD_NUMBER, RLM_FIELD_BOOL, RLM_FIELD_FILE };

typedef struct rlm_field {
    char name[RLM_FORM_NAME_BYTES];
    int kind;
    const char *value; /* NUL-terminated unless it is a file */
    size_t bytes;
} rlm_field;

/* Fields point into the body or into storage of the form: both must live as long as they do. */
typedef struct rlm_form {
    rlm_field fields[RLM_FORM_FIELDS];
    int count;
    void *storage; /* a cJSON tree, or NULL */
} rlm_form;

/* content_type: the header, NULL when absent. body is changed in place (NULs behind values) and has
 * room for one more byte. Fails with 400 or 415. The form must be freed in any case. */
int rlm_form_parse(rlm_form *form, const char *content_type, char *body, size_t bytes,
                   rlm_refusal *refusal);
/* The same from an object, which is left as it is. */
int rlm_form_from_json(rlm_form *form, const struct cJSON *object, rlm_refusal *refusal);
void rlm_form_free(rlm_form *form);
/* Add a number with all its digits, of which cJSON keeps 15. 1, or 0 without memory. */
int rlm_json_integer(struct cJSON *object, const char *name, int64_t value);
/* Put a text at the end of an array (may be NULL). 1, or 0 without memory. */
int rlm_json_append_text(struct cJSON *array, const char *text);

#endif
