#include "src/server/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

void rlm_bytes_add(rlm_bytes *b, const void *data, size_t bytes)
{
    if (b->failed)
        return;
    if (bytes > SIZE_MAX / 4 - b->used) {
        b->failed = 1;
        return;
    }
    if (b->used + bytes + 1 > b->room) {
        size_t room = 2 * (b->used + bytes + 128);
        char *grown = realloc(b->data, room);
        if (!grown) {
            b->failed = 1;
            return;
        }
        b->data = grown;
        b->room = room;
    }
    if (bytes)
        memcpy(b->data + b->used, data, bytes);
    b->used += bytes;
    b->data[b->used] = 0;
}

void rlm_bytes_puts(rlm_bytes *b, const char *text)
{
    rlm_bytes_add(b, text, strlen(text));
}

void rlm_bytes_printf(rlm_bytes *b, const char *fmt, ...)
{
    char line[1024];
    va_list list;
    va_start(list, fmt);
    int n = vsnprintf(line, sizeof line, fmt, list);
    va_end(list);
    if (n < 0 || (size_t)n >= sizeof line)
        b->failed = 1;
    else
        rlm_bytes_add(b, line, (size_t)n);
}

static const char base64_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void rlm_bytes_base64(rlm_bytes *b, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    char four[4];
    for (size_t i = 0; i < bytes; i += 3) {
        size_t n = bytes - i < 3 ? bytes - i : 3;
        uint32_t v =
            (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0);
        four[0] = base64_letters[v >> 18];
        four[1] = base64_letters[v >> 12 & 63];
        four[2] = n > 1 ? base64_letters[v >> 6 & 63] : '=';
        four[3] = n > 2 ? base64_letters[v & 63] : '=';
        rlm_bytes_add(b, four, 4);
    }
}

void rlm_bytes_free(rlm_bytes *b)
{
    free(b->data);
    *b = (rlm_bytes){0};
}

int rlm_base64_decode(const char *text, size_t length, uint8_t **out, size_t *bytes)
{
    uint8_t value[256];
    memset(value, 255, sizeof value);
    for (int i = 0; i < 64; i++)
        value[(uint8_t)base64_letters[i]] = (uint8_t)i;
    uint8_t *to = malloc(length / 4 * 3 + 4);
    if (!to)
        return -2;
    uint32_t held = 0;
    size_t letters = 0, pads = 0, n = 0;
    for (size_t i = 0; i < length; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c == '\r' || c == '\n' || c == ' ' || c == '\t')
            continue;
        if (c == '=') {
            pads++;
            continue;
        }
        if (pads || value[c] == 255) {
            free(to);
            return -1;
        }
        held = held << 6 | value[c];
        if (++letters % 4 == 0) {
            to[n++] = (uint8_t)(held >> 16);
            to[n++] = (uint8_t)(held >> 8);
            to[n++] = (uint8_t)held;
        }
    }
    size_t rest = letters % 4;
    if (rest == 1 || pads != (rest ? 4 - rest : 0)) {
        free(to);
        return -1;
    }
    if (rest >= 2)
        to[n++] = (uint8_t)(held >> (rest == 2 ? 4 : 10));
    if (rest == 3)
        to[n++] = (uint8_t)(held >> 2);
    *out = to;
    *bytes = n;
    return 0;
}

/* Bytes of the character that begins at p, of which `left` follow; 0 when none does. */
static size_t utf8_bytes(const uint8_t *p, size_t left)
{
    uint8_t c = p[0];
    size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (!c || n > left)
        return 0;
    for (size_t k = 1; k < n; k++)
        if ((p[k] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) || (c == 0xf0 && p[1] < 0x90) ||
        (c == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

int rlm_utf8_valid(const char *text, size_t length)
{
    size_t n = 1;
    for (size_t i = 0; i < length && n; i += n)
        n = utf8_bytes((const uint8_t *)text + i, length - i);
    return n != 0;
}

void rlm_utf8_mend(char *text)
{
    size_t length = strlen(text), to = 0;
    for (size_t i = 0; i < length;) {
        size_t n = utf8_bytes((const uint8_t *)text + i, length - i);
        if (n)
            memmove(text + to, text + i, n);
        else
            text[to] = '?';
        to += n ? n : 1;
        i += n ? n : 1;
    }
    text[to] = 0;
}

void rlm_id_make(char id[RLM_ID_BYTES], const char *prefix)
{
    uint8_t r[16];
    size_t got = 0;
    while (got < sizeof r) {
        ssize_t n = getrandom(r + got, sizeof r - got, 0);
        if (n > 0)
            got += (size_t)n;
    }
    int at = snprintf(id, RLM_ID_BYTES, "%.6s", prefix);
    for (size_t i = 0; i < sizeof r; i++)
        at += snprintf(id + at, RLM_ID_BYTES - (size_t)at, "%02x", r[i]);
}

int rlm_id_valid(const char *id)
{
    return !strncmp(id, "video_", 6) && strlen(id) == 38 &&
           strspn(id + 6, "0123456789abcdef") == 32;
}

void rlm_paths_hide(char *text)
{
    char *to = text;
    for (const char *p = text; *p;) {
        int starts = *p == '/' && (p == text || strchr(" '\"(=", p[-1]));
        size_t n = starts ? strcspn(p, " :,;'\")") : 1;
        const char *name = p;
        for (size_t i = 0; starts && i < n; i++)
            if (p[i] == '/' && i + 1 < n)
                name = p + i + 1;
        size_t kept = n - (size_t)(name - p);
        memmove(to, name, kept);
        to += kept;
        p += n;
    }
    *to = 0;
}

double rlm_serve_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int64_t rlm_serve_clock(void)
{
    return (int64_t)time(NULL);
}

int rlm_serve_fail(rlm_error *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list list;
        err->code = code;
        va_start(list, fmt);
        vsnprintf(err->text, sizeof err->text, fmt, list);
        va_end(list);
    }
    return code;
}

void rlm_serve_log(const char *fmt, ...)
{
    char line[1024], stamp[32];
    struct tm tm;
    time_t now = time(NULL);
    va_list list;
    va_start(list, fmt);
    vsnprintf(line, sizeof line, fmt, list);
    va_end(list);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    fprintf(stderr, "%s %s\n", stamp, line);
}

static const char *refusal_type(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
    case 410:
        return "not_found_error";
    case 429:
        return "rate_limit_error";
    case 501:
        return "not_supported_error";
    case 503:
        return "unavailable_error";
    default:
        return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

int rlm_refuse(rlm_refusal *r, int status, const char *code, const char *param, const char *fmt,
               ...)
{
    va_list list;
    *r = (rlm_refusal){.status = status, .type = refusal_type(status)};
    snprintf(r->code, sizeof r->code, "%s", code);
    snprintf(r->param, sizeof r->param, "%s", param);
    va_start(list, fmt);
    vsnprintf(r->message, sizeof r->message, fmt, list);
    va_end(list);
    rlm_utf8_mend(r->code);
    rlm_utf8_mend(r->param);
    rlm_utf8_mend(r->message);
    return -1;
}
