/* All that is said to a person: error codes with a sentence, log lines, progress.
 * The library never prints, exits or reads the environment; programs do. */
#ifndef RLM_BASE_DIAG_H
#define RLM_BASE_DIAG_H

#include "src/reelm.h"

#if defined(__GNUC__)
#define RLM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define RLM_PRINTF(fmt, args)
#endif

/* Forward a failure to the caller: the error text was written where it happened. */
#define RLM_TRY(expr)                                                                              \
    do {                                                                                           \
        int rlm_try_code = (expr);                                                                 \
        if (rlm_try_code)                                                                          \
            return rlm_try_code;                                                                   \
    } while (0)

/* Write code and sentence into err (may be NULL) and return code. The sentence names what, where,
 * found and expected: "lm.safetensors: lm.3.wq is [512,512], config.json says [768,512]". */
int rlm_fail(rlm_error *err, int code, const char *fmt, ...) RLM_PRINTF(3, 4);

/* Put "prefix: " in front of the text already in err; returns err's code (or code if err NULL). */
int rlm_fail_prefix(rlm_error *err, int code, const char *fmt, ...) RLM_PRINTF(3, 4);

#ifdef __clang_analyzer__
/* For the analyser only, which looks into one file at a time: what fails does not return RLM_OK. */
static inline int rlm_failed(int code)
{
    if (code == RLM_OK)
        __builtin_unreachable();
    return code;
}
#define rlm_fail(...)        rlm_failed((rlm_fail)(__VA_ARGS__))
#define rlm_fail_prefix(...) rlm_failed((rlm_fail_prefix)(__VA_ARGS__))
#endif

/* Where log lines go. fn NULL: silence. level: 0 error, 1 warning, 2 info, 3 debug. */
typedef struct rlm_log {
    void (*fn)(void *cookie, int level, const char *text);
    void *cookie;
} rlm_log;
void rlm_logf(const rlm_log *log, int level, const char *fmt, ...) RLM_PRINTF(3, 4);

/* Seconds of a monotonic clock. */
double rlm_now(void);

#endif
