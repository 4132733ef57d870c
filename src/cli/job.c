/* One thing to make: options -> request, names, running, writing what came out. */
#include "src/cli/job.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

enum { MAX_PROMPT = 64 * 1024 };

/* ---- Options -> request ---------------------------------------------------------------------- */

static int read_prompt(cli_job *j)
{
    const char *path = j->args->prompt_file;
    j->request.prompt = j->args->prompt;
    if (path) {
        int code = cli_read_text(path, &j->prompt);
        if (code)
            return code;
        size_t n = strlen(j->prompt);
        while (n && (j->prompt[n - 1] == '\n' || j->prompt[n - 1] == '\r'))
            j->prompt[--n] = 0;
        j->request.prompt = j->prompt;
    }
    if (j->request.prompt && strlen(j->request.prompt) > MAX_PROMPT)
        return cli_usage("--prompt: %zu bytes, at most %d are read", strlen(j->request.prompt),
                         MAX_PROMPT);
    return 0;
}

/* Seconds become whole frames; --strict refuses to round. */
static int set_length(cli_job *j)
{
    const cli_args *a = j->args;
    rlm_request *r = &j->request;
    double rate = (double)r->fps_num / r->fps_den, wish = a->seconds * rate;
    if (a->frames)
        r->frames = (int)a->frames;
    else if (a->seconds > 0 && a->verb != CLI_EXTEND)
        r->frames = (int)lround(wish);
    if (a->strict && a->seconds > 0 && fabs(wish - round(wish)) > 1e-6)
        return cli_usage("--seconds: %g s are no whole number of frames at %g a second; %g or %g "
                         "are",
                         a->seconds, rate, floor(wish) / rate, ceil(wish) / rate);
    if (r->frames < 1 || r->frames > 256)
        return cli_usage("--seconds: that is %d frames, allowed are 1 to 256", r->frames);
    return 0;
}

static void set_sampling(rlm_request *r, const cli_args *a)
{
    const rlm_sampling_wish wish = {.temperature = a->temp,
                                    .motion_temperature = a->motion_temp,
                                    .audio_temperature = a->audio_temp,
                                    .top_p = a->top_p,
                                    .min_p = a->min_p,
                                    .cfg_scale = a->cfg_scale,
                                    .motion_cfg_scale = a->motion_cfg_scale,
                                    .audio_cfg_scale = a->audio_cfg_scale,
                                    .top_k = (int)a->top_k};
    rlm_request_sampling(r, &wish);
}

int cli_job_fill(cli_job *j, const cli_args *a, uint64_t seed)
{
    rlm_request *r = &j->request;
    j->args = a;
    j->tries = (int)a->best_of;
    rlm_request_defaults(r);
    if (a->width)
        r->width = (int)a->width;
    if (a->height)
        r->height = (int)a->height;
    if (a->fps > 0)
        rlm_fps_fraction(a->fps, &r->fps_num, &r->fps_den);
    int code = set_length(j);
    if (code)
        return code;
    set_sampling(r, a);
    if (a->source)
        r->source = strcmp(a->source, "real") ? RLM_SOURCE_PLAYGROUND : RLM_SOURCE_REAL;
    r->audio = !a->no_audio;
    r->overlap = (int)a->overlap;
    r->longest = a->longest;
    if (a->longest && a->shortest)
        return cli_usage("--longest and --shortest: give one");
    r->negative_prompt = a->negative;
    r->seed = a->seed >= 0 ? (uint64_t)a->seed : seed;
    r->resume_tokens = a->resume_tokens;
    return read_prompt(j);
}

/* ---- Names ----------------------------------------------------------------------------------- */

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

/* `from` with {seed} and, unless `keep_percent`, %d or %04d replaced. Returns how many were; -1:
 * too long. */
static int expand(const char *from, uint64_t seed, int number, bool keep_percent, char *to)
{
    size_t n = 0;
    int found = 0;
    while (*from) {
        int width = 0, used = 0;
        if (n + 32 >= CLI_PATH_ROOM)
            return -1;
        if (!strncmp(from, "{seed}", 6)) {
            n += (size_t)snprintf(to + n, 32, "%llu", (unsigned long long)seed);
            from += 6;
            found++;
        } else if (!keep_percent && *from == '%' &&
                   (from[1] == 'd' || (sscanf(from, "%%%d%n", &width, &used) == 1 && width >= 0 &&
                                       width < 10 && from[used] == 'd'))) {
            n += (size_t)snprintf(to + n, 32, "%0*d", width, number);
            from += from[1] == 'd' ? 2 : used + 1;
            found++;
        } else {
            to[n++] = *from++;
        }
    }
    to[n] = 0;
    return found;
}

bool cli_is_regular(const char *path)
{
    struct stat st;
    return stat(path, &st) || S_ISREG(st.st_mode);
}

int cli_job_name(cli_job *j, int number)
{
    const cli_args *a = j->args;
    char name[CLI_PATH_ROOM];
    const char *out = a->output ? a->output : "out.mp4";
    bool png = ends_with(out, ".png") || (a->format && !strcmp(a->format, "png"));
    int found = expand(out, j->request.seed, number, png, name);
    const char *dot = strrchr(name, '.'), *slash = strrchr(name, '/');
    if (found < 0 || strlen(name) + 16 >= sizeof j->output)
        return cli_usage("--output: the name is longer than %d bytes", CLI_PATH_ROOM - 16);
    int stem = dot && (!slash || dot > slash) ? (int)(dot - name) : (int)strlen(name);
    if (j->many && !found && strcmp(out, "-"))
        snprintf(j->output, sizeof j->output, "%.*s-%d%s", stem, name, number, name + stem);
    else
        snprintf(j->output, sizeof j->output, "%s", name);
    j->keep_tokens = a->save_tokens != NULL;
    j->tokens[0] = 0;
    if (a->save_tokens && expand(a->save_tokens, j->request.seed, number, false, j->tokens) < 0)
        return cli_usage("--save-tokens: the name is longer than %d bytes", CLI_PATH_ROOM - 32);
    if (!a->save_tokens && strcmp(out, "-") && cli_is_regular(j->output))
        snprintf(j->tokens, sizeof j->tokens, "%s.rtok", j->output);
    j->request.save_tokens = j->tokens[0] ? j->tokens : NULL;
    if (png && !rlm_media_sequence(j->output, 0, name, sizeof name) && !a->frames &&
        a->seconds <= 0 && (a->verb & (CLI_GENERATE))) {
        j->request.task = RLM_TASK_IMAGE;
        j->request.frames = 1;
        j->request.audio = 0;
    }
    return cli_job_check_files(j);
}

/* ---- Model and input ------------------------------------------------------------------------- */

int cli_job_open(cli_job *j, rlm_error *err)
{
    rlm_options o;
    if (j->session)
        return 0;
    cli_library_options(j->args, &o);
    double start = cli_now();
    int code = rlm_open(&j->engine, cli_model_dir(j->args), &o, err);
    if (!code)
        code = rlm_session_open(&j->session, j->engine, err);
    j->load_s = cli_now() - start;
    return code;
}

int cli_job_condition(cli_job *j, const char *path, int max_frames, rlm_error *err)
{
    rlm_want want;
    cli_read_options(j->args, &want);
    if (max_frames) {
        want.max_frames = max_frames;
        want.want_audio = 0;
        want.width = j->request.width;
        want.height = j->request.height;
    }
    if (!strcmp(path, "-") || !cli_is_regular(path) || rlm_file_sha256(path, j->source_sha, NULL))
        j->source_sha[0] = 0;
    int code = rlm_media_read(path, &want, &j->condition, err);
    j->request.condition = code ? NULL : &j->condition;
    return code;
}

void cli_job_clear(cli_job *j)
{
    rlm_clip_free(&j->condition);
    cli_job_inputs_free(j);
    free(j->prompt);
    free(j->settings);
    free(j->final);
    cli_drift_free(&j->drift);
    *j = (cli_job){.args = j->args,
                   .engine = j->engine,
                   .session = j->session,
                   .judge = j->judge,
                   .many = j->many,
                   .recorded = j->recorded,
                   .load_s = j->load_s};
}

void cli_job_close(cli_job *j)
{
    cli_job_clear(j);
    rlm_judge_close(&j->judge);
    rlm_session_close(&j->session);
    rlm_close(&j->engine);
}

/* ---- Running --------------------------------------------------------------------------------- */

cJSON *cli_job_outcome(const cli_job *j, const rlm_clip *clip, const rlm_report *t)
{
    const rlm_frames *v = &clip->video;
    char sha[65] = "";
    cJSON *o = cli_settings(j);
    cJSON_AddNumberToObject(o, "effective_width", v->width);
    cJSON_AddNumberToObject(o, "effective_height", v->height);
    cJSON_AddNumberToObject(o, "effective_frames", v->count);
    cJSON_AddNumberToObject(o, "effective_seconds",
                            v->fps_num ? (double)v->count * v->fps_den / v->fps_num : 0);
    cJSON_AddNumberToObject(o, "audio_samples", (double)clip->audio.count);
    cJSON_AddNumberToObject(o, "video_tokens", (double)t->video_tokens);
    cJSON_AddNumberToObject(o, "audio_tokens", (double)t->audio_tokens);
    if (j->tokens[0] && cli_is_regular(j->tokens) && !rlm_file_sha256(j->tokens, sha, NULL))
        cJSON_AddStringToObject(o, "token_sha256", sha);
    cli_best_add(j, o);
    return o;
}

static void describe(const cli_job *j, const rlm_clip *clip, const rlm_report *t, cJSON *o,
                     double write_s, double preview_s, bool partial)
{
    const rlm_frames *v = &clip->video;
    if (j->args->json) {
        cJSON_AddStringToObject(o, "output", j->output);
        cJSON_AddNumberToObject(o, "prefix_tokens", (double)t->prefix_tokens);
        cJSON_AddNumberToObject(o, "prefill_s", t->prefill_s);
        cJSON_AddNumberToObject(o, "sample_s", t->sample_s);
        cJSON_AddNumberToObject(o, "decode_s", t->decode_s);
        cJSON_AddNumberToObject(o, "write_s", write_s);
        if (j->args->preview_path)
            cJSON_AddNumberToObject(o, "preview_write_s", preview_s);
        cJSON_AddNumberToObject(o, "peak_bytes", (double)t->peak_bytes);
        cJSON_AddBoolToObject(o, "partial", partial);
        if (j->args->verb == CLI_EXTEND)
            cli_drift_report(&j->drift, o, NULL);
        char *text = j->many ? cJSON_PrintUnformatted(o) : cJSON_Print(o);
        FILE *to = strcmp(j->output, "-") ? stdout : stderr; /* stdout holds the clip */
        fprintf(to, "%s\n", text ? text : "");
        free(text);
    } else if (!j->args->quiet && strcmp(j->output, "-")) {
        double seconds = v->fps_num ? (double)v->count * v->fps_den / v->fps_num : 0;
        printf("%s: %dx%d, %d frames at %g/s (%.3f s)%s, seed %llu; %lld tokens in %.1f s, "
               "decoded in %.1f s\n",
               j->output, v->width, v->height, v->count,
               v->fps_den ? (double)v->fps_num / v->fps_den : 0, seconds,
               clip->audio.count && cli_job_holds_sound(j) ? " with sound" : "",
               (unsigned long long)j->request.seed, (long long)(t->video_tokens + t->audio_tokens),
               t->prefill_s + t->sample_s, t->decode_s);
        cli_best_say(j);
        if (j->args->verb == CLI_EXTEND)
            cli_drift_report(&j->drift, NULL, stdout);
    } else if (!j->args->quiet) {
        fprintf(stderr, "reelm: seed %llu\n", (unsigned long long)j->request.seed);
    }
}

/* FILE.json beside the output. */
static int write_sidecar(const cli_job *j, const char *text)
{
    char path[CLI_PATH_ROOM + 8];
    cli_whole w;
    snprintf(path, sizeof path, "%s.json", j->output);
    int code = cli_whole_open(&w, path);
    if (code)
        return code;
    fprintf(w.file, "%s\n", text);
    return cli_whole_commit(&w);
}

/* What could not be written can still be decoded. */
static int write_error(const cli_job *j, rlm_error *err)
{
    size_t n = strlen(err->text);
    if (j->request.save_tokens && !access(j->tokens, R_OK))
        snprintf(err->text + n, sizeof err->text - n,
                 "; the tokens are safe: reelm decode %s -o FILE", j->tokens);
    return cli_error(err);
}

static int write_clip(cli_job *j, rlm_clip *clip, const cJSON *full)
{
    const cli_args *a = j->args;
    rlm_write_options w;
    rlm_error err = {0};
    char *text = cJSON_PrintUnformatted(full);
    cli_write_options(a, &w);
    clip->metadata = (char *)(uintptr_t)cli_embedded(a, text);
    int code = j->in_file ? 0 : rlm_media_write(j->output, clip, &w, &err);
    clip->metadata = NULL;
    if (code)
        code = write_error(j, &err);
    if (!code && a->sidecar && text)
        code = write_sidecar(j, text);
    free(text);
    return code;
}

/* --shortest: pictures that outlast the sound are left out. */
static void cut_to_sound(rlm_clip *clip)
{
    rlm_frames *v = &clip->video;
    const rlm_pcm *s = &clip->audio;
    if (!s->count || !v->count)
        return;
    double frames = floor((double)s->count / s->rate * v->fps_num / v->fps_den + 1e-6);
    v->count = frames < 1 ? 1 : frames < v->count ? (int)frames : v->count;
}

/* Write what was made; a partial clip after an interruption is written as well. */
static int finish(cli_job *j, rlm_clip *clip, const rlm_report *report, double preview_s, int made,
                  rlm_error *err)
{
    bool partial = made == RLM_E_CANCELLED;
    if (made && !(partial && (clip->video.count || clip->audio.count)))
        return j->in_file && made == RLM_E_IO ? write_error(j, err) : cli_error(err);
    if (j->args->verb == CLI_EDIT && !partial && !report->video_tokens && !j->args->resume_tokens)
        return cli_usage("edit: nothing was masked: at %dx%d there is nothing to make anew",
                         clip->video.width, clip->video.height);
    if (j->args->shortest)
        cut_to_sound(clip);
    cJSON *full = cli_job_outcome(j, clip, report);
    double start = cli_now();
    int code = write_clip(j, clip, full);
    if (!code)
        describe(j, clip, report, full, cli_now() - start, preview_s, partial);
    if (!code && !partial)
        cli_settings_compare(j, full);
    cJSON_Delete(full);
    bool saved = j->tokens[0] && !access(j->tokens, R_OK);
    if (code)
        return code;
    if (partial) {
        fprintf(stderr, "reelm: interrupted; %s holds what was finished%s%s%s\n", j->output,
                saved ? ", the tokens are in " : "", saved ? j->tokens : "",
                saved ? "; --resume goes on" : "");
        return EXIT_INTERRUPTED;
    }
    if (j->request.save_tokens && !j->keep_tokens)
        remove(j->tokens);
    return EXIT_DONE;
}

static void keep_settings(cli_job *j)
{
    cJSON *o = j->args->no_metadata ? NULL : cli_settings(j);
    free(j->settings);
    j->settings = o ? cJSON_PrintUnformatted(o) : NULL;
    j->request.settings = j->settings;
    cJSON_Delete(o);
}

int cli_job_run(cli_job *j, cli_make make)
{
    cli_progress progress;
    cli_preview preview;
    rlm_report report = {0};
    rlm_clip clip = {0};
    rlm_error err = {0};
    keep_settings(j);
    cli_progress_begin(&progress, j->args);
    cli_preview_begin(&preview, j->args, &j->request);
    j->request.progress = cli_progress_step;
    j->request.progress_cookie = &progress;
    int made = make(j, &clip, &report, &err);
    cli_progress_end(&progress);
    cli_preview_end(&preview);
    int code = finish(j, &clip, &report, preview.spent, made, &err);
    rlm_clip_free(&clip);
    return code;
}

/* ---- Dry run --------------------------------------------------------------------------------- */

/* What writing adds to the peak: the encoder's look-ahead in 4:2:0, twice, and the coded file, of
 * which memory holds 4 MiB where it is written piece by piece. */
static double writer_bytes(const cli_job *j, int width, int height, double frames)
{
    double one = (double)width * height * 1.5, coded = frames * one / 20;
    if (j->in_file && coded > 4 << 20)
        coded = 4 << 20;
    return one * 2 * (frames < 50 ? frames : 50) + coded;
}

int cli_job_dry_run(cli_job *j, cli_make make)
{
    rlm_report t = {0};
    rlm_clip none = {0};
    rlm_error err = {0};
    double start = cli_now();
    j->request.dry_run = 1;
    j->request.save_tokens = NULL;
    int code = make(j, &none, &t, &err);
    rlm_clip_free(&none);
    if (code)
        return cli_error(&err);
    const rlm_frames *v = &j->condition.video; /* of sound: they stay as they are */
    bool as_is = j->args->verb == CLI_SOUND && v->count;
    int width = as_is ? v->width : j->request.width, height = as_is ? v->height : j->request.height;
    int frames = as_is ? v->count : t.frames;
    double rate =
        as_is ? (double)v->fps_num / v->fps_den : (double)j->request.fps_num / j->request.fps_den;
    double seconds = j->load_s + (t.prefill_s + t.sample_s + t.decode_s) * j->tries;
    double bytes = (double)t.peak_bytes + writer_bytes(j, width, height, frames);
    if (j->args->json) {
        cJSON *o = cli_settings(j);
        cJSON_AddStringToObject(o, "output", j->output);
        cJSON_AddNumberToObject(o, "effective_frames", frames);
        cJSON_AddNumberToObject(o, "video_tokens", (double)t.video_tokens);
        cJSON_AddNumberToObject(o, "audio_tokens", (double)t.audio_tokens);
        cJSON_AddNumberToObject(o, "estimated_s", seconds);
        cJSON_AddNumberToObject(o, "estimated_peak_bytes", bytes);
        cJSON_AddNumberToObject(o, "probe_s", cli_now() - start);
        cli_print_json(o);
    } else {
        printf("%s: %dx%d, %d frames at %g/s; %lld video and %lld audio tokens; about %.1f s and "
               "%.0f MB on this machine\n",
               j->output, width, height, frames, rate, (long long)t.video_tokens,
               (long long)t.audio_tokens, seconds, bytes / 1e6);
    }
    return EXIT_DONE;
}
