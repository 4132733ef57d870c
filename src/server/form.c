#define _GNU_SOURCE /* memmem */
#include "src/server/form.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

static int is_url_field(const char *name)
{
    size_t n = strlen(name);
    return (n >= 4 && !strcmp(name + n - 4, "url]")) ||
           (n >= 10 && !strcmp(name + n - 10, "_reference"));
}

/* "name[]", once for each value: how some clients send a list. */
static int is_list(const char *name)
{
    size_t n = strlen(name);
    return n > 2 && !strcmp(name + n - 2, "[]");
}

/* Append a field; the value's bytes stay where they are. */
static int add(rlm_form *f, const char *name, int kind, const char *value, size_t bytes,
               rlm_refusal *r)
{
    int files = 0;
    for (int i = 0; i < f->count; i++) {
        files += f->fields[i].kind == RLM_FIELD_FILE;
        if (!strcmp(f->fields[i].name, name) && !is_list(name))
            return rlm_refuse(r, 400, "duplicate_field", name, "'%.80s' is given twice.", name);
    }
    if (f->count == RLM_FORM_FIELDS)
        return rlm_refuse(r, 400, "too_many_fields", "", "A request may have %d fields.",
                          RLM_FORM_FIELDS);
    if (kind == RLM_FIELD_FILE && files == RLM_FORM_FILES)
        return rlm_refuse(r, 400, "too_many_files", name, "A request may carry %d files.",
                          RLM_FORM_FILES);
    if (kind == RLM_FIELD_TEXT && bytes > RLM_FORM_TEXT_BYTES && !is_url_field(name))
        return rlm_refuse(r, 400, "string_above_max_length", name,
                          "'%.80s' has %zu bytes, at most %d are read.", name, bytes,
                          RLM_FORM_TEXT_BYTES);
    if (kind == RLM_FIELD_TEXT && !rlm_utf8_valid(value, bytes))
        return rlm_refuse(r, 400, "invalid_string", name, "'%.80s' is not valid UTF-8.", name);
    rlm_field *field = &f->fields[f->count++];
    snprintf(field->name, sizeof field->name, "%s", name);
    field->kind = kind;
    field->value = value;
    field->bytes = bytes;
    return 0;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* Depth and number of values, before any memory is spent on them. */
static int json_scan(const char *text, size_t bytes, rlm_refusal *r)
{
    int depth = 0, items = 0, in_string = 0;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\' && bytes - i > 5 && !strncmp(text + i, "\\u0000", 6))
                return rlm_refuse(r, 400, "invalid_json", "", "A JSON string holds a NUL.");
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = 0;
            continue;
        }
        if (!c)
            return rlm_refuse(r, 400, "invalid_json", "", "The JSON body holds a NUL.");
        in_string = c == '"';
        items += c == ',' || c == '{' || c == '[';
        if (c == '{' || c == '[')
            depth++;
        if (c == '}' || c == ']')
            depth--;
        if (depth > RLM_FORM_DEPTH)
            return rlm_refuse(r, 400, "invalid_json", "", "JSON nested deeper than %d levels.",
                              RLM_FORM_DEPTH);
        if (items > RLM_FORM_ITEMS)
            return rlm_refuse(r, 400, "invalid_json", "", "JSON with more than %d values.",
                              RLM_FORM_ITEMS);
    }
    return 0;
}

static int json_leaf(rlm_form *f, const char *name, cJSON *node, rlm_refusal *r)
{
    if (cJSON_IsNull(node))
        return 0;
    if (cJSON_IsString(node))
        return add(f, name, RLM_FIELD_TEXT, node->valuestring, strlen(node->valuestring), r);
    if (cJSON_IsBool(node))
        return add(f, name, RLM_FIELD_BOOL, cJSON_IsTrue(node) ? "true" : "false",
                   cJSON_IsTrue(node) ? 4 : 5, r);
    if (cJSON_IsRaw(node)) /* of rlm_json_integer */
        return add(f, name, RLM_FIELD_NUMBER, node->valuestring, strlen(node->valuestring), r);
    /* A number's text is kept with the node, which owns it. */
    if (!isfinite(node->valuedouble))
        return rlm_refuse(r, 400, "invalid_number", name, "'%.80s' is not a finite number.", name);
    char text[40];
    double v = node->valuedouble;
    snprintf(text, sizeof text, v == floor(v) && fabs(v) < 9e15 ? "%.0f" : "%.17g", v);
    node->valuestring = cJSON_malloc(strlen(text) + 1);
    if (!node->valuestring)
        return rlm_refuse(r, 500, "out_of_memory", name, "Out of memory.");
    memcpy(node->valuestring, text, strlen(text) + 1);
    return add(f, name, RLM_FIELD_NUMBER, node->valuestring, strlen(text), r);
}

/* Recursion is bounded by json_scan. */
static int json_flatten(rlm_form *f, const char *prefix, cJSON *node, rlm_refusal *r)
{
    char name[RLM_FORM_NAME_BYTES + 8];
    int index = 0;
    cJSON *child;
    cJSON_ArrayForEach(child, node)
    {
        int n = child->string && *prefix
                    ? snprintf(name, sizeof name, "%s[%s]", prefix, child->string)
                : child->string ? snprintf(name, sizeof name, "%s", child->string)
                                : snprintf(name, sizeof name, "%s[%d]", prefix, index++);
        if (n >= RLM_FORM_NAME_BYTES || !n || !rlm_utf8_valid(name, strlen(name)))
            return rlm_refuse(r, 400, "invalid_name", "",
                              "A field's name is empty, no UTF-8 or longer than %d bytes.",
                              RLM_FORM_NAME_BYTES - 1);
        int code = cJSON_IsObject(child) || cJSON_IsArray(child) ? json_flatten(f, name, child, r)
                                                                 : json_leaf(f, name, child, r);
        if (code)
            return code;
    }
    return 0;
}

static int take_tree(rlm_form *f, cJSON *tree, rlm_refusal *r)
{
    f->storage = tree;
    if (!cJSON_IsObject(tree))
        return rlm_refuse(r, 400, "invalid_json", "", "The body is not a JSON object.");
    return json_flatten(f, "", tree, r);
}

static int parse_json(rlm_form *f, char *body, size_t bytes, rlm_refusal *r)
{
    if (json_scan(body, bytes, r))
        return -1;
    body[bytes] = 0;
    const char *end = NULL;
    return take_tree(f, cJSON_ParseWithLengthOpts(body, bytes + 1, &end, 1), r);
}

int rlm_form_from_json(rlm_form *f, const cJSON *object, rlm_refusal *r)
{
    f->count = 0;
    return take_tree(f, cJSON_Duplicate(object, 1), r);
}

int rlm_json_integer(cJSON *o, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return cJSON_AddRawToObject(o, name, text) != NULL;
}

int rlm_json_append_text(cJSON *array, const char *text)
{
    cJSON *item = cJSON_CreateString(text);
    if (item && cJSON_AddItemToArray(array, item))
        return 1;
    cJSON_Delete(item);
    return 0;
}

/* ---- multipart/form-data (RFC 7578) ---------------------------------------------------------- */

/* The value of a parameter (name="..." or name=token) of a header line [p, end); "" if absent. */
static int header_param(const char *p, const char *end, const char *name, char *to, size_t room)
{
    size_t n = strlen(name);
    *to = 0;
    for (; p < end; p++) {
        if (*p == '"') { /* skip a quoted string: names inside it are not parameters */
            for (p++; p < end && *p != '"'; p++)
                p += *p == '\\' && p + 1 < end;
            continue;
        }
        if (*p != ';')
            continue;
        const char *q = p + 1;
        while (q < end && (*q == ' ' || *q == '\t'))
            q++;
        if ((size_t)(end - q) <= n || strncasecmp(q, name, n) || q[n] != '=')
            continue;
        q += n + 1;
        int quoted = q < end && *q == '"';
        size_t at = 0;
        for (q += quoted; q < end && (quoted ? *q != '"' : !strchr("; \t\r", *q)); q++) {
            if (quoted && *q == '\\' && q + 1 < end)
                q++;
            if (at + 1 >= room || !*q)
                return -1;
            to[at++] = *q;
        }
        to[at] = 0;
        return quoted && q == end ? -1 : 1;
    }
    return 0;
}

/* One part's header lines [p, end). Returns -1 when they name no field. */
static int part_header(const char *p, const char *end, char *name, size_t room, int *is_file)
{
    static const char disposition[] = "content-disposition:";
    int found = 0;
    *is_file = 0;
    while (p < end) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        line = line ? line : end;
        if ((size_t)(line - p) > sizeof disposition &&
            !strncasecmp(p, disposition, sizeof disposition - 1)) {
            char filename[512];
            found = header_param(p, line, "name", name, room);
            *is_file = header_param(p, line, "filename", filename, sizeof filename) != 0;
        }
        p = line + 1;
    }
    return found == 1 && *name ? 0 : -1;
}

/* First occurrence of the delimiter line from p on, or NULL. */
static char *find_delimiter(char *p, const char *end, const char *delimiter, size_t length)
{
    return (size_t)(end - p) < length ? NULL : memmem(p, (size_t)(end - p), delimiter, length);
}

static int parse_part(rlm_form *f, char *p, char *end, rlm_refusal *r)
{
    char name[RLM_FORM_NAME_BYTES];
    int is_file;
    char *gap = memmem(p, (size_t)(end - p), "\r\n\r\n", 4);
    if (!gap || gap - p > 4096)
        return rlm_refuse(r, 400, "invalid_form", "", "A part of the form has no header.");
    if (part_header(p, gap, name, sizeof name, &is_file) || !rlm_utf8_valid(name, strlen(name)))
        return rlm_refuse(r, 400, "invalid_form", "",
                          "A part of the form has no name of 1 to %d bytes.",
                          RLM_FORM_NAME_BYTES - 1);
    char *value = gap + 4;
    if (!is_file)
        *end = 0; /* over the CR of the delimiter */
    return add(f, name, is_file ? RLM_FIELD_FILE : RLM_FIELD_TEXT, value, (size_t)(end - value), r);
}

static int parse_multipart(rlm_form *f, const char *content_type, char *body, size_t bytes,
                           rlm_refusal *r)
{
    char boundary[80] = "\r\n--";
    const char *type_end = content_type + strlen(content_type);
    if (header_param(content_type, type_end, "boundary", boundary + 4, 71) != 1 || !boundary[4])
        return rlm_refuse(r, 400, "invalid_form", "",
                          "The form's Content-Type has no boundary of 1 to 70 letters.");
    size_t length = strlen(boundary);
    char *end = body + bytes;
    /* the first delimiter may stand at the very start, without its line break */
    int at_start = bytes >= length - 2 && !memcmp(body, boundary + 2, length - 2);
    char *p = at_start ? body : find_delimiter(body, end, boundary, length);
    if (!p)
        return rlm_refuse(r, 400, "invalid_form", "", "The form's boundary never occurs.");
    p += at_start ? length - 2 : length;
    for (;;) {
        if (end - p >= 2 && p[0] == '-' && p[1] == '-')
            return 0;
        while (p < end && (*p == ' ' || *p == '\t'))
            p++;
        if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
            return rlm_refuse(r, 400, "invalid_form", "", "The form's boundary is malformed.");
        p += 2;
        char *next = find_delimiter(p, end, boundary, length);
        if (!next)
            return rlm_refuse(r, 400, "invalid_form", "", "The form ends within a part.");
        if (parse_part(f, p, next, r))
            return -1;
        p = next + length;
    }
}

int rlm_form_parse(rlm_form *form, const char *content_type, char *body, size_t bytes,
                   rlm_refusal *refusal)
{
    form->count = 0;
    form->storage = NULL;
    if (!bytes)
        return 0;
    if (content_type && !strncasecmp(content_type, "multipart/form-data", 19))
        return parse_multipart(form, content_type, body, bytes, refusal);
    if (content_type && !strncasecmp(content_type, "application/json", 16))
        return parse_json(form, body, bytes, refusal);
    return rlm_refuse(refusal, 415, "unsupported_media_type", "",
                      "The body must be multipart/form-data or application/json.");
}

void rlm_form_free(rlm_form *form)
{
    cJSON_Delete(form->storage);
    form->storage = NULL;
    form->count = 0;
}
