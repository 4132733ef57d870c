/* metrics.jsonl: one JSON object a line, flushed at once, so that a killed run loses nothing; on
 * resume the lines after the checkpoint's step are dropped, because those steps are run again.
 * metrics.svg: the curves. */
#include "src/train/journal_plot.h"
#include "src/train/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048, JOURNAL_LIMIT = 1 << 30 };

struct rlm_journal {
    char *path, *svg;
    FILE *file;
    double opened; /* rlm_now at open */
    int64_t first_step, last_step;
    double first_time, last_time;
    double until; /* rlm_now when the run ends in any case; 0: never */
    bool timed;
    char values[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 192];
};

/* Keep the complete lines up to step `last`. */
static int drop_after(const char *path, int64_t last, rlm_error *err)
{
    char *text;
    size_t bytes, kept = 0;
    RLM_TRY(rlm_file_read(path, JOURNAL_LIMIT, &text, &bytes, err));
    for (char *line = text; *line;) {
        char *end = strchr(line, '\n');
        int64_t step;
        if (!end)
            break; /* torn by a kill */
        if (sscanf(line, "{\"step\":%" SCNd64, &step) == 1 && step <= last) {
            memmove(text + kept, line, (size_t)(end + 1 - line));
            kept += (size_t)(end + 1 - line);
        }
        line = end + 1;
    }
    int code = kept == bytes ? 0 : rlm_file_write(path, text, kept, err);
    rlm_free(text);
    return code;
}

int rlm_journal_open(rlm_journal **out, const char *run_dir, int64_t resume_step, rlm_error *err)
{
    *out = NULL;
    RLM_TRY(rlm_mkdirs(run_dir, err));
    rlm_journal *j = rlm_calloc(1, sizeof *j);
    int code = 0;
    if (j) {
        j->path = rlm_path_join(run_dir, "metrics.jsonl");
        j->svg = rlm_path_join(run_dir, "metrics.svg");
    }
    if (!j || !j->path || !j->svg)
        code = rlm_fail(err, RLM_E_NOMEM, "journal: no memory");
    if (!code && access(j->path, F_OK) == 0)
        code = drop_after(j->path, resume_step, err);
    if (!code) {
        j->file = fopen(j->path, "a");
        if (!j->file)
            code = rlm_fail(err, RLM_E_IO, "%s: cannot be opened for writing", j->path);
    }
    if (code)
        rlm_journal_close(&j);
    else
        j->opened = rlm_now();
    *out = j;
    return code;
}

/* One key and value for the file (JSON has no NaN: null) and for the line. */
static void put_value(rlm_journal *j, const char *key, double value)
{
    size_t n = strlen(j->values);
    if (isfinite(value))
        fprintf(j->file, ",\"%s\":%.7g", key, value);
    else
        fprintf(j->file, ",\"%s\":null", key);
    snprintf(j->values + n, sizeof j->values - n, "  %s %.4g", key, value);
}

void rlm_journal_put(rlm_journal *j, int64_t step, ...)
{
    bool plot = false;
    double now = rlm_now() - j->opened;
    if (!j->timed || step < j->last_step) {
        j->timed = true;
        j->first_step = step;
        j->first_time = now;
    }
    j->last_step = step;
    j->last_time = now;
    j->values[0] = 0;
    fprintf(j->file, "{\"step\":%" PRId64 ",\"seconds\":%.2f", step, now);
    va_list args;
    va_start(args, step);
    for (const char *key; (key = va_arg(args, const char *));) {
        double value = va_arg(args, double);
        plot = plot || !strncmp(key, "val", 3);
        if (value != RLM_UNMEASURED)
            put_value(j, key, value);
    }
    va_end(args);
    fputs("}\n", j->file);
    fflush(j->file);
    if (plot)
        rlm_journal_plot(j->path, j->svg);
}

void rlm_span_print(char out[48], double seconds)
{
    long long s = (long long)seconds;
    if (s >= 3600)
        snprintf(out, 48, "%lld h %lld min", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(out, 48, "%lld min %lld s", s / 60, s % 60);
    else
        snprintf(out, 48, "%lld s", s);
}

void rlm_journal_until(rlm_journal *j, double until)
{
    j->until = until;
}

const char *rlm_journal_line(rlm_journal *j, int64_t total)
{
    char of[32] = "", pace[96] = "", span[48];
    if (total > 0)
        snprintf(of, sizeof of, "/%" PRId64, total);
    if (j->last_step > j->first_step) {
        double each = (j->last_time - j->first_time) / (double)(j->last_step - j->first_step);
        double left = total > j->last_step ? each * (double)(total - j->last_step) : 0;
        double room = j->until - j->opened - j->last_time;
        rlm_span_print(span, j->until > 0 && room < left ? room : left);
        if (total > j->last_step)
            snprintf(pace, sizeof pace, "  %.3g s/step  eta %s", each, span);
        else
            snprintf(pace, sizeof pace, "  %.3g s/step", each);
    }
    snprintf(j->line, sizeof j->line, "step %" PRId64 "%s%s%s", j->last_step, of, j->values, pace);
    return j->line;
}

void rlm_journal_close(rlm_journal **jp)
{
    rlm_journal *j = *jp;
    if (!j)
        return;
    if (j->file) {
        fclose(j->file);
        rlm_journal_plot(j->path, j->svg);
    }
    rlm_free(j->path);
    rlm_free(j->svg);
    rlm_free(j);
    *jp = NULL;
}
