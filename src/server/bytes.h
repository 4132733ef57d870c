/* What every file of the server needs: a growing buffer, base64, ids, clocks, errors. */
#ifndef RLM_SERVER_BYTES_H
#define RLM_SERVER_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "src/reelm.h"

/* Always NUL-terminated once anything was added. When memory runs out `failed` is set and all that
 * follows is dropped; the owner frees it. */
typedef struct rlm_bytes {
    char *data;
    size_t used, room;
    int failed;
} rlm_bytes;
void rlm_bytes_add(rlm_bytes *b, const void *data, size_t bytes);
void rlm_bytes_puts(rlm_bytes *b, const char *text);
void rlm_bytes_printf(rlm_bytes *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void rlm_bytes_base64(rlm_bytes *b, const void *data, size_t bytes); /* RFC 4648, padded */
void rlm_bytes_free(rlm_bytes *b);

/* Strict RFC 4648 with padding; line breaks and spaces are skipped. *out is heap and may be longer
 * than *bytes. Returns 0, -1 when it is no base64, -2 without memory. */
int rlm_base64_decode(const char *text, size_t length, uint8_t **out, size_t *bytes);

/* 1 when the bytes are UTF-8 without NUL, overlong forms and surrogates. */
int rlm_utf8_valid(const char *text, size_t length);
/* Each byte that is of no whole character, as where a text was cut, becomes '?'. In place. */
void rlm_utf8_mend(char *text);

/* "video_" and 32 hex digits of the system's randomness. */
enum { RLM_ID_BYTES = 40 };
void rlm_id_make(char id[RLM_ID_BYTES], const char *prefix);
int rlm_id_valid(const char *id); /* of the form above: safe as the name of a folder */

/* Cut folders out of a sentence for clients: "/a/b/c.png: x" becomes "c.png: x". In place. */
void rlm_paths_hide(char *text);

double rlm_serve_now(void);    /* monotonic seconds */
int64_t rlm_serve_clock(void); /* seconds since 1970 */

/* Set err (may be NULL) and return code. */
int rlm_serve_fail(rlm_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* One line on stderr for people: time, then the text. */
void rlm_serve_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Why a request was refused, in the form of the OpenAI error object. */
typedef struct rlm_refusal {
    int status;       /* of HTTP */
    const char *type; /* static: "invalid_request_error", ... */
    char code[40], param[80], message[512];
    int retry_after; /* seconds; 0: no header */
} rlm_refusal;
/* Fill r and return -1. type follows from status. param "" : null. What is longer than its field
 * is cut, and what is no UTF-8 mended. */
int rlm_refuse(rlm_refusal *r, int status, const char *code, const char *param, const char *fmt,
               ...) __attribute__((format(printf, 5, 6)));

#endif
