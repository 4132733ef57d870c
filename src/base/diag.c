#include "src/base/diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#undef rlm_fail /* diag.h wraps both for the analyser */
#undef rlm_fail_prefix

const char *rlm_error_name(int code)
{
    switch (code) {
    case RLM_OK:
        return "OK";
    case RLM_E_ARG:
        return "ARG";
    case RLM_E_RANGE:
        return "RANGE";
    case RLM_E_IO:
        return "IO";
    case RLM_E_FORMAT:
        return "FORMAT";
    case RLM_E_VERSION:
        return "VERSION";
    case RLM_E_MEDIA:
        return "MEDIA";
    case RLM_E_MODEL:
        return "MODEL";
    case RLM_E_TOKENS:
        return "TOKENS";
    case RLM_E_NOMEM:
        return "NOMEM";
    case RLM_E_LIMIT:
        return "LIMIT";
    case RLM_E_CANCELLED:
        return "CANCELLED";
    case RLM_E_BUSY:
        return "BUSY";
    case RLM_E_UNSUPPORTED:
        return "UNSUPPORTED";
    case RLM_E_INTERNAL:
        return "INTERNAL";
    default:
        return "UNKNOWN";
    }
}

int rlm_fail(rlm_error *err, int code, const char *fmt, ...)
{
    if (err) {
        /* Through a copy: an argument may be err->text itself. */
        char text[sizeof err->text];
        va_list args;
        va_start(args, fmt);
        vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        memcpy(err->text, text, sizeof text);
        err->code = code;
    }
    return code;
}

int rlm_fail_prefix(rlm_error *err, int code, const char *fmt, ...)
{
    if (!err)
        return code;
    char text[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, ": %s", err->text);
    memcpy(err->text, text, sizeof text);
    return err->code;
}

void rlm_logf(const rlm_log *log, int level, const char *fmt, ...)
{
    if (!log || !log->fn)
        return;
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    log->fn(log->cookie, level, text);
}

double rlm_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
