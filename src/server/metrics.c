/* /metrics: Prometheus text exposition format 0.0.4. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/server/http.h"

static void head(rlm_bytes *b, const char *name, const char *type, const char *help)
{
    rlm_bytes_printf(b, "# HELP reelm_%s %s\n# TYPE reelm_%s %s\n", name, help, name, type);
}

static void put(rlm_bytes *b, const char *name, const char *type, const char *help, double value)
{
    head(b, name, type, help);
    rlm_bytes_printf(b, "reelm_%s %.15g\n", name, value);
}

static double resident_bytes(void)
{
    long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return 0;
    int n = fscanf(f, "%ld %ld", &total, &resident);
    fclose(f);
    return n == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) : 0;
}

enum MHD_Result rlm_route_metrics(rlm_exchange *x, const char *id)
{
    rlm_bytes b = {0};
    rlm_jobs_count c;
    rlm_server *s = x->server;
    (void)id;
    rlm_jobs_counts(s->jobs, &c);
    head(&b, "jobs_total", "counter", "Jobs that ended, by how.");
    rlm_bytes_printf(&b,
                     "reelm_jobs_total{status=\"completed\"} %lld\n"
                     "reelm_jobs_total{status=\"failed\"} %lld\n"
                     "reelm_jobs_total{status=\"cancelled\"} %lld\n",
                     (long long)c.completed, (long long)c.failed, (long long)c.cancelled);
    put(&b, "jobs_rejected_total", "counter", "Jobs refused because the queue was full.",
        (double)c.rejected);
    put(&b, "queue_length", "gauge", "Jobs waiting.", c.queued);
    put(&b, "requests_processing", "gauge", "Jobs in work.", c.running);
    put(&b, "requests_deferred", "gauge", "Jobs waiting (as llama.cpp calls it).", c.queued);
    put(&b, "jobs_kept", "gauge", "Jobs known, ended ones included.", c.kept);
    put(&b, "prompt_tokens_total", "counter", "Tokens of prefixes read.", (double)c.prompt_tokens);
    put(&b, "prompt_seconds_total", "counter", "Seconds spent reading prefixes.", c.prompt_seconds);
    put(&b, "tokens_predicted_total", "counter", "Video and audio tokens sampled.",
        (double)c.sampled_tokens);
    put(&b, "tokens_predicted_seconds_total", "counter", "Seconds spent sampling.",
        c.sample_seconds);
    put(&b, "prompt_tokens_per_second", "gauge", "Average speed of reading prefixes.",
        c.prompt_seconds > 0 ? (double)c.prompt_tokens / c.prompt_seconds : 0);
    put(&b, "predicted_tokens_per_second", "gauge", "Average speed of sampling.",
        c.sample_seconds > 0 ? (double)c.sampled_tokens / c.sample_seconds : 0);
    put(&b, "frames_decoded_total", "counter", "Frames of finished clips.", (double)c.frames);
    put(&b, "decode_seconds_total", "counter", "Seconds spent decoding.", c.decode_seconds);
    put(&b, "job_seconds_total", "counter", "Seconds from start to end of jobs.", c.job_seconds);
    put(&b, "http_requests_total", "counter", "HTTP requests.", (double)atomic_load(&s->requests));
    head(&b, "http_refusals_total", "counter", "HTTP requests refused, by class of status.");
    rlm_bytes_printf(&b,
                     "reelm_http_refusals_total{class=\"4xx\"} %lld\n"
                     "reelm_http_refusals_total{class=\"5xx\"} %lld\n",
                     (long long)atomic_load(&s->refusals[4]),
                     (long long)atomic_load(&s->refusals[5]));
    pthread_mutex_lock(&s->peers.lock);
    int connections = s->peers.count;
    pthread_mutex_unlock(&s->peers.lock);
    put(&b, "http_connections", "gauge", "Open connections.", connections);
    head(&b, "build_info", "gauge", "Version and model; always 1.");
    rlm_bytes_printf(&b, "reelm_build_info{version=\"" RLM_VERSION "\",model=\"");
    for (const char *p = s->worker.name; *p; p++)
        rlm_bytes_printf(&b, "%s%c", *p == '"' || *p == '\\' ? "\\" : "", *p);
    rlm_bytes_puts(&b, "\"} 1\n");
    rlm_bytes_printf(&b,
                     "# HELP process_resident_memory_bytes Resident memory.\n"
                     "# TYPE process_resident_memory_bytes gauge\n"
                     "process_resident_memory_bytes %.0f\n"
                     "# HELP process_start_time_seconds Start, seconds since 1970.\n"
                     "# TYPE process_start_time_seconds gauge\n"
                     "process_start_time_seconds %lld\n",
                     resident_bytes(), (long long)s->started);
    return rlm_reply_text(x, "text/plain; version=0.0.4; charset=utf-8", &b);
}
