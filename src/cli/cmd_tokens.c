/* encode, decode, tokens. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/cli/cli.h"
#include "src/reelm_train.h"

static int open_session(const cli_args *a, rlm_engine **engine, rlm_session **session,
                        rlm_error *err)
{
    rlm_options o;
    cli_library_options(a, &o);
    int code = rlm_open(engine, cli_model_dir(a), &o, err);
    return code ? code : rlm_session_open(session, *engine, err);
}

static cJSON *describe(const rlm_codes *video, const rlm_codes *audio)
{
    cJSON *o = cJSON_CreateObject();
    if (video->count) {
        cJSON *v = cJSON_AddObjectToObject(o, "video");
        cJSON_AddItemToObject(v, "grid", cJSON_CreateIntArray(video->dims, 3));
        cJSON_AddNumberToObject(v, "tokens", (double)video->count);
        cJSON_AddNumberToObject(v, "frames", video->true_frames);
        cJSON_AddNumberToObject(v, "height", video->true_height);
        cJSON_AddNumberToObject(v, "width", video->true_width);
        cJSON_AddNumberToObject(v, "fps", (double)video->fps_num / video->fps_den);
        if (video->still_count)
            cJSON_AddItemToObject(v, "keyframes",
                                  cJSON_CreateIntArray(video->still_frames, video->still_count));
    }
    if (audio->count) {
        cJSON *s = cJSON_AddObjectToObject(o, "audio");
        cJSON_AddItemToObject(s, "grid", cJSON_CreateIntArray(audio->dims, 2));
        cJSON_AddNumberToObject(s, "tokens", (double)audio->count);
        cJSON_AddNumberToObject(s, "samples", (double)audio->true_samples);
        cJSON_AddNumberToObject(s, "rate", audio->rate);
    }
    return o;
}

static void report(const cli_args *a, const char *file, const rlm_codes *video,
                   const rlm_codes *audio, double seconds)
{
    if (!strcmp(file, "-")) /* stdout holds the result */
        return;
    if (a->json) {
        cJSON *o = describe(video, audio);
        cJSON_AddStringToObject(o, "file", file);
        if (seconds > 0)
            cJSON_AddNumberToObject(o, "elapsed_s", seconds);
        cli_print_json(o);
        return;
    }
    if (a->quiet)
        return;
    printf("%s:", file);
    if (video->count)
        printf(" video %dx%dx%d codes = %d frames %dx%d at %g/s%s", video->dims[0], video->dims[1],
               video->dims[2], video->true_frames, video->true_width, video->true_height,
               (double)video->fps_num / video->fps_den, audio->count ? ";" : "");
    if (audio->count)
        printf(" audio %dx%d codes = %.3f s at %d Hz", audio->dims[0], audio->dims[1],
               (double)audio->true_samples / audio->rate, audio->rate);
    printf(seconds > 0 ? " (%.2f s)\n" : "\n", seconds);
}

/* --search: better codes of the file, whose tokens are written before: a search may take hours. */
static int search(const cli_args *a, const rlm_engine *engine, const rlm_want *want,
                  rlm_codes *video, rlm_codes *audio, rlm_error *err)
{
    rlm_search *s = NULL;
    if (strcmp(a->output, "-")) {
        int code = rlm_tokens_write(engine, a->output, video, audio, err);
        if (code)
            return code;
    }
    cli_progress progress;
    rlm_search_options o = {.model_dir = cli_model_dir(a),
                            .steps = (int)a->search,
                            .perceptual = a->perceptual,
                            .threads = (int)a->threads,
                            .cpu_mask = a->cpu_mask,
                            .progress = cli_progress_step,
                            .progress_cookie = &progress};
    cli_catch_interrupt();
    cli_progress_begin(&progress, a);
    int code = rlm_search_open(&s, &o, err);
    if (!code)
        code = rlm_search_file(s, a->inputs[0], want, video, audio, err);
    rlm_search_close(&s);
    cli_progress_end(&progress);
    return code;
}

/* -o of encode: a token file, where it can be written, and not over a film. */
static int check_output(const cli_args *a)
{
    int code = cli_check_place(a->output);
    if (!code && !rlm_media_writable(a->output, NULL, NULL, NULL))
        code = cli_usage("encode: -o %s would be a token file with the name of a media file; name "
                         "it FILE.rtok",
                         a->output);
    if (!code && cli_same_file(a->output, a->inputs[0]))
        code = cli_usage("encode: -o %s is the input; give another name", a->output);
    return code;
}

int cmd_encode(const cli_args *a)
{
    rlm_engine *engine = NULL;
    rlm_session *session = NULL;
    rlm_codes video = {0}, audio = {0};
    rlm_error err = {0};
    rlm_want want;
    if (!a->output)
        return cli_usage("encode: -o FILE.rtok is missing");
    if (a->search && !strcmp(a->inputs[0], "-"))
        return cli_usage("encode: --search reads its input twice, - only once");
    if (a->perceptual && !a->search)
        return cli_usage("encode: --perceptual is of --search");
    int wrong = check_output(a);
    if (wrong)
        return wrong;
    rlm_want_defaults(&want);
    want.start_s = a->start;
    want.want_audio = !a->no_audio;
    want.want_video = !a->no_video;
    want.max_frames = INT_MAX; /* of any length */
    want.max_seconds = 1e8;
    int code = open_session(a, &engine, &session, &err);
    double start = cli_now();
    if (!code)
        code = rlm_encode_file(session, a->inputs[0], &want, &video, &audio, &err);
    if (!code && a->search)
        code = search(a, engine, &want, &video, &audio, &err);
    if (!code || code == RLM_E_CANCELLED) { /* stopped: what was searched so far */
        rlm_error why = {0};
        int written = rlm_tokens_write(engine, a->output, &video, &audio, &why);
        if (written)
            err = why;
        else if (code)
            snprintf(err.text, sizeof err.text, "interrupted; %s holds the codes searched so far",
                     a->output);
        code = code ? code : written;
    }
    int exit_code = code ? cli_error(&err) : EXIT_DONE;
    if (!code)
        report(a, a->output, &video, &audio, cli_now() - start);
    rlm_codes_free(&video);
    rlm_codes_free(&audio);
    rlm_session_close(&session);
    rlm_close(&engine);
    return exit_code;
}

int cmd_decode(const cli_args *a)
{
    rlm_engine *engine = NULL;
    rlm_session *session = NULL;
    rlm_codes video = {0}, audio = {0};
    rlm_error err = {0};
    char *settings = NULL;
    if (!a->output)
        return cli_usage("decode: -o FILE is missing");
    rlm_write_options w;
    cli_write_options(a, &w);
    if (rlm_media_writable(a->output, &w, NULL, &err))
        return cli_error(&err);
    int code = open_session(a, &engine, &session, &err);
    double start = cli_now();
    if (!code)
        code = rlm_tokens_read(engine, a->inputs[0], &video, &audio, &settings, &err);
    if (!code)
        code = rlm_decode_file(session, a->no_video ? NULL : &video, a->no_audio ? NULL : &audio,
                               cli_embedded(a, settings), a->output, &w, &err);
    rlm_string_free(&settings);
    int exit_code = code ? cli_error(&err) : EXIT_DONE;
    const rlm_codes none = {0};
    if (!code && strcmp(a->output, "-"))
        report(a, a->output, a->no_video ? &none : &video, a->no_audio ? &none : &audio,
               cli_now() - start);
    rlm_codes_free(&video);
    rlm_codes_free(&audio);
    rlm_session_close(&session);
    rlm_close(&engine);
    return exit_code;
}

/* ---- Cutting and joining --------------------------------------------------------------------- */

/* Sound that has no place beside the pictures is left out, and that is said. */
static void drop_sound(const cli_args *a, rlm_codes *sound, const rlm_error *why)
{
    if (!a->quiet)
        fprintf(stderr, "reelm: tokens: the sound is left out: %s\n", why->text);
    rlm_codes_free(sound);
}

static int cut(const cli_args *a, rlm_codes *v, rlm_codes *sound)
{
    int from, to, used = 0;
    rlm_error err = {0};
    const rlm_codes whole = *v;
    if (sscanf(a->cut, "%d:%d%n", &from, &to, &used) != 2 || a->cut[used])
        return cli_usage("--cut: '%s' is not A:B", a->cut);
    if (rlm_codes_cut(v, from, to, &err))
        return cli_error(&err);
    if (rlm_codes_cut_sound(sound, &whole, from, to, &err))
        drop_sound(a, sound, &err);
    return EXIT_DONE;
}

static int join(const cli_args *args, const char *name, rlm_codes *video, rlm_codes *sound,
                const rlm_codes *more, const rlm_codes *more_sound)
{
    rlm_error err = {0};
    int t = video->dims[0];
    if (video->count && more->count &&
        (video->true_width != more->true_width || video->true_height != more->true_height ||
         (int64_t)video->fps_num * more->fps_den != (int64_t)more->fps_num * video->fps_den)) {
        fprintf(stderr, "reelm: join: %s is %dx%d at %g/s, %s %dx%d at %g/s\n", name,
                more->true_width, more->true_height, (double)more->fps_num / more->fps_den,
                args->inputs[0], video->true_width, video->true_height,
                (double)video->fps_num / video->fps_den);
        return EXIT_DATA;
    }
    if (rlm_codes_join(video, more, &err))
        return cli_error(&err);
    if (rlm_codes_join_sound(sound, more_sound, video, t, &err))
        drop_sound(args, sound, &err);
    return EXIT_DONE;
}

/* The codes as NumPy reads them: the picture's, or the sound's where there is no picture. */
static int write_array(const cli_args *a, const rlm_codes *video, const rlm_codes *audio)
{
    const rlm_codes *c = video->count && !a->no_video ? video : audio;
    if (!c->count)
        return cli_usage("tokens: %s has no sound", a->inputs[0]);
    return cli_write_npy(a->output, "<i4", c->dims, c == video ? 3 : 2, c->ids);
}

static bool is_array(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && !strcmp(path + n - 4, ".npy");
}

int cmd_tokens(const cli_args *a)
{
    rlm_codes video = {0}, audio = {0};
    rlm_error err = {0};
    int exit_code = EXIT_DONE;
    for (int i = 0; i < a->input_count && !exit_code; i++) {
        rlm_codes v = {0}, s = {0};
        if (rlm_tokens_read(NULL, a->inputs[i], &v, &s, NULL, &err)) {
            exit_code = cli_error(&err);
            break;
        }
        if (!a->output)
            report(a, strcmp(a->inputs[i], "-") ? a->inputs[i] : "stdin", &v, &s, 0);
        if (i == 0) {
            video = v;
            audio = s;
            continue;
        }
        if (a->output)
            exit_code = join(a, a->inputs[i], &video, &audio, &v, &s);
        rlm_codes_free(&v);
        rlm_codes_free(&s);
    }
    if (!exit_code && a->cut)
        exit_code = a->output ? cut(a, &video, &audio) : cli_usage("--cut needs --output");
    if (!exit_code && a->output) {
        if (is_array(a->output))
            exit_code = write_array(a, &video, &audio);
        else if (rlm_tokens_write(NULL, a->output, &video, &audio, &err))
            exit_code = cli_error(&err);
        else
            report(a, a->output, &video, &audio, 0);
    }
    rlm_codes_free(&video);
    rlm_codes_free(&audio);
    return exit_code;
}
