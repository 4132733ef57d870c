/* generate, animate, extend. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "src/cli/cli.h"

enum { MAX_PROMPT = 64 * 1024 };

/* One job: what was asked, and the files it works with. */
typedef struct job {
    const cli_args *args;
    rlm_engine *engine;
    rlm_session *session;
    rlm_request request;
    rlm_clip condition;
    char *prompt; /* owned copy of a prompt file */
    char output[4096], tokens[4200];
    bool keep_tokens;
} job;

static uint64_t random_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)(cli_now() * 1e9);
    return seed & 0x7fffffff; /* short enough to type again */
}

static int read_prompt(job *j)
{
    const char *path = j->args->prompt_file;
    j->request.prompt = j->args->prompt;
    if (path) {
        FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
        if (!f) {
            fprintf(stderr, "reelm: %s: cannot be opened\n", path);
            return EXIT_IO;
        }
        j->prompt = malloc(MAX_PROMPT + 2);
        size_t n = j->prompt ? fread(j->prompt, 1, MAX_PROMPT + 1, f) : 0;
        if (f != stdin)
            fclose(f);
        if (!j->prompt)
            return EXIT_MEMORY;
        j->prompt[n] = 0;
        while (n && (j->prompt[n - 1] == '\n' || j->prompt[n - 1] == '\r'))
            j->prompt[--n] = 0;
        j->request.prompt = j->prompt;
    }
    if (j->request.prompt && strlen(j->request.prompt) > MAX_PROMPT)
        return cli_usage("--prompt: %zu bytes, at most %d are read", strlen(j->request.prompt),
                         MAX_PROMPT);
    return 0;
}

/* Frames a second as a fraction of small integers. */
static void set_fps(rlm_request *r, double fps)
{
    r->fps_den = fabs(fps - round(fps)) < 1e-9 ? 1 : 1001;
    r->fps_num = (int)lround(fps * r->fps_den);
}

static int fill_request(job *j)
{
    const cli_args *a = j->args;
    rlm_request *r = &j->request;
    rlm_request_defaults(r);
    if (a->width)
        r->width = (int)a->width;
    if (a->height)
        r->height = (int)a->height;
    if (a->fps > 0)
        set_fps(r, a->fps);
    if (a->frames)
        r->frames = (int)a->frames;
    else if (a->seconds > 0 && a->verb != CLI_EXTEND)
        r->frames = (int)lround(a->seconds * r->fps_num / r->fps_den);
    if (r->frames < 1 || r->frames > 256)
        return cli_usage("--seconds: that is %d frames, allowed are 1 to 256", r->frames);
    if (a->temp >= 0)
        r->video.temperature = (float)a->temp;
    if (a->audio_temp >= 0)
        r->audio_sampling.temperature = (float)a->audio_temp;
    if (a->top_k >= 0)
        r->video.top_k = (int)a->top_k;
    if (a->top_p >= 0)
        r->video.top_p = (float)a->top_p;
    if (a->min_p >= 0)
        r->video.min_p = (float)a->min_p;
    if (a->cfg_scale >= 0)
        r->cfg_scale = (float)a->cfg_scale;
    r->audio = !a->no_audio;
    r->negative_prompt = a->negative;
    r->seed = a->seed >= 0 ? (uint64_t)a->seed : random_seed();
    return read_prompt(j);
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

/* out.mp4 -> out-3.mp4 in a batch; the token file lies beside the output. */
static void name_outputs(job *j, int index)
{
    const cli_args *a = j->args;
    const char *out = a->output ? a->output : "out.mp4";
    const char *dot = strrchr(out, '.'), *slash = strrchr(out, '/');
    int stem = dot && (!slash || dot > slash) ? (int)(dot - out) : (int)strlen(out);
    if (a->batch_count > 1 && strcmp(out, "-"))
        snprintf(j->output, sizeof j->output, "%.*s-%d%s", stem, out, index + 1, out + stem);
    else
        snprintf(j->output, sizeof j->output, "%s", out);
    j->keep_tokens = a->save_tokens != NULL;
    if (a->save_tokens)
        snprintf(j->tokens, sizeof j->tokens, "%s", a->save_tokens);
    else if (strcmp(out, "-"))
        snprintf(j->tokens, sizeof j->tokens, "%s.rtok", j->output);
    j->request.save_tokens = j->tokens[0] ? j->tokens : NULL;
    if (ends_with(out, ".png") && !strchr(out, '%') && !a->frames) {
        j->request.task = RLM_TASK_IMAGE;
        j->request.frames = 1;
        j->request.audio = 0;
    }
}

static cJSON *settings(const job *j)
{
    const rlm_request *r = &j->request;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "generator", "reelm " RLM_VERSION);
    cJSON_AddBoolToObject(o, "ai_generated", 1);
    cJSON_AddStringToObject(o, "mode", j->args->verb_name);
    if (r->prompt)
        cJSON_AddStringToObject(o, "prompt", r->prompt);
    if (r->negative_prompt)
        cJSON_AddStringToObject(o, "negative_prompt", r->negative_prompt);
    cJSON_AddNumberToObject(o, "seed", (double)r->seed);
    cJSON_AddNumberToObject(o, "width", r->width);
    cJSON_AddNumberToObject(o, "height", r->height);
    cJSON_AddNumberToObject(o, "frames", r->frames);
    cJSON_AddNumberToObject(o, "fps", (double)r->fps_num / r->fps_den);
    cJSON_AddNumberToObject(o, "temperature", r->video.temperature);
    cJSON_AddNumberToObject(o, "top_k", r->video.top_k);
    cJSON_AddNumberToObject(o, "top_p", r->video.top_p);
    cJSON_AddNumberToObject(o, "min_p", r->video.min_p);
    cJSON_AddNumberToObject(o, "cfg_scale", r->cfg_scale);
    return o;
}

static void describe(const job *j, const rlm_clip *clip, const rlm_report *t, double write_s,
                     bool partial)
{
    double seconds = clip->video.fps_num
                         ? (double)clip->video.count * clip->video.fps_den / clip->video.fps_num
                         : 0;
    if (j->args->json) {
        cJSON *o = settings(j);
        cJSON_AddStringToObject(o, "output", j->output);
        cJSON_AddNumberToObject(o, "effective_width", clip->video.width);
        cJSON_AddNumberToObject(o, "effective_height", clip->video.height);
        cJSON_AddNumberToObject(o, "effective_frames", clip->video.count);
        cJSON_AddNumberToObject(o, "seconds", seconds);
        cJSON_AddNumberToObject(o, "audio_samples", (double)clip->audio.count);
        cJSON_AddNumberToObject(o, "prefix_tokens", (double)t->prefix_tokens);
        cJSON_AddNumberToObject(o, "video_tokens", (double)t->video_tokens);
        cJSON_AddNumberToObject(o, "audio_tokens", (double)t->audio_tokens);
        cJSON_AddNumberToObject(o, "prefill_s", t->prefill_s);
        cJSON_AddNumberToObject(o, "sample_s", t->sample_s);
        cJSON_AddNumberToObject(o, "decode_s", t->decode_s);
        cJSON_AddNumberToObject(o, "write_s", write_s);
        cJSON_AddNumberToObject(o, "peak_bytes", (double)t->peak_bytes);
        cJSON_AddBoolToObject(o, "partial", partial);
        cli_print_json(o);
    } else if (!j->args->quiet && strcmp(j->output, "-")) {
        printf("%s: %dx%d, %d frames at %g/s (%.3f s)%s, seed %llu; %lld tokens in %.1f s, "
               "decoded in %.1f s\n",
               j->output, clip->video.width, clip->video.height, clip->video.count,
               clip->video.fps_den ? (double)clip->video.fps_num / clip->video.fps_den : 0, seconds,
               clip->audio.count ? " with sound" : "", (unsigned long long)j->request.seed,
               (long long)(t->video_tokens + t->audio_tokens), t->prefill_s + t->sample_s,
               t->decode_s);
    }
}

/* Write what was made; a partial clip after an interruption is written as well. */
static int finish(job *j, rlm_clip *clip, const rlm_report *report, int code, rlm_error *err)
{
    bool partial = code == RLM_E_CANCELLED;
    if (code && !(partial && (clip->video.count || clip->audio.count)))
        return cli_error(err);
    cJSON *meta = settings(j);
    clip->metadata = NULL;
    rlm_write_options w = {
        .format = j->args->format, .crf = 18, .no_metadata = j->args->no_metadata};
    char *text = cJSON_PrintUnformatted(meta);
    cJSON_Delete(meta);
    clip->metadata = text;
    double start = cli_now();
    rlm_error write_error = {0};
    int write_code = rlm_media_write(j->output, clip, &w, &write_error);
    clip->metadata = NULL;
    free(text);
    if (write_code) {
        int exit_code = cli_error(&write_error);
        if (j->request.save_tokens && !access(j->tokens, R_OK))
            fprintf(stderr, "reelm: the tokens are safe: reelm decode %s -o FILE\n", j->tokens);
        return exit_code;
    }
    describe(j, clip, report, cli_now() - start, partial);
    if (partial) {
        bool tokens = j->tokens[0] && !access(j->tokens, R_OK);
        fprintf(stderr, "reelm: interrupted; %s holds what was finished%s%s\n", j->output,
                tokens ? ", the tokens are in " : "", tokens ? j->tokens : "");
        return EXIT_INTERRUPTED;
    }
    if (j->request.save_tokens && !j->keep_tokens)
        remove(j->tokens);
    return EXIT_DONE;
}

static int open_job(job *j, rlm_error *err)
{
    rlm_options o;
    cli_library_options(j->args, &o);
    int code = rlm_open(&j->engine, cli_model_dir(j->args), &o, err);
    return code ? code : rlm_session_open(&j->session, j->engine, err);
}

static void close_job(job *j)
{
    rlm_clip_free(&j->condition);
    rlm_session_close(&j->session);
    rlm_close(&j->engine);
    free(j->prompt);
}

static int dry_run(const job *j)
{
    cJSON *o = settings(j);
    int grid_t = 1 + (j->request.frames - 1 + 3) / 4;
    int cells = ((j->request.height + 7) / 8) * ((j->request.width + 7) / 8);
    cJSON_AddNumberToObject(o, "video_tokens", (double)grid_t * cells);
    cJSON_AddStringToObject(o, "output", j->output);
    cli_print_json(o);
    return EXIT_DONE;
}

static int read_condition(job *j, const char *path, int max_frames, rlm_error *err)
{
    rlm_want want;
    rlm_want_defaults(&want);
    if (max_frames) {
        want.max_frames = max_frames;
        want.want_audio = 0;
        want.width = j->request.width;
        want.height = j->request.height;
    }
    return rlm_media_read(path, &want, &j->condition, err);
}

int cmd_generate(const cli_args *a)
{
    job j = {.args = a};
    rlm_error err = {0};
    const char *image = a->init_img ? a->init_img : a->input_count ? a->inputs[0] : NULL;
    if (a->verb == CLI_ANIMATE && !image)
        return cli_usage("animate: an image is missing: reelm animate IMAGE -o FILE");
    int code = fill_request(&j);
    if (code)
        goto fail;
    name_outputs(&j, 0);
    if (a->dry_run) {
        code = dry_run(&j);
        goto fail;
    }
    if (image && read_condition(&j, image, 1, &err)) {
        code = cli_error(&err);
        goto fail;
    }
    if (open_job(&j, &err)) {
        code = cli_error(&err);
        goto fail;
    }
    j.request.condition = image ? &j.condition : NULL;
    cli_catch_interrupt();
    for (int i = 0; i < (int)a->batch_count && !code; i++) {
        cli_progress progress;
        rlm_report report = {0};
        rlm_clip clip = {0};
        name_outputs(&j, i);
        cli_progress_begin(&progress, a);
        j.request.progress = cli_progress_step;
        j.request.progress_cookie = &progress;
        int made = rlm_generate(j.session, &j.request, &clip, &report, &err);
        cli_progress_end(&progress);
        code = finish(&j, &clip, &report, made, &err);
        rlm_clip_free(&clip);
        j.request.seed++;
    }
fail:
    close_job(&j);
    return code;
}

int cmd_extend(const cli_args *a)
{
    job j = {.args = a};
    rlm_error err = {0};
    rlm_report report = {0};
    rlm_clip clip = {0};
    cli_progress progress;
    const char *source = a->init_video ? a->init_video : a->input_count ? a->inputs[0] : NULL;
    if (!source || a->seconds <= 0)
        return cli_usage("usage: reelm extend VIDEO --seconds S [-p PROMPT] -o FILE");
    int code = fill_request(&j);
    if (code)
        goto fail;
    name_outputs(&j, 0);
    if (read_condition(&j, source, 0, &err) || open_job(&j, &err)) {
        code = cli_error(&err);
        goto fail;
    }
    cli_catch_interrupt();
    cli_progress_begin(&progress, a);
    j.request.progress = cli_progress_step;
    j.request.progress_cookie = &progress;
    int made = rlm_extend(j.session, &j.request, &j.condition, a->seconds, &clip, &report, &err);
    cli_progress_end(&progress);
    code = finish(&j, &clip, &report, made, &err);
    rlm_clip_free(&clip);
fail:
    close_job(&j);
    return code;
}
