/* world: clips of the playground with everything known about them, or a contact sheet. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>

#include "src/cli/world_list.h"

enum { AT_ONCE = 8, PATH_ROOM = 4096 };

typedef struct job {
    const cli_args *args;
    rlm_world *world;
    rlm_world_want want;
    int split; /* -1: seeds as they are */
    int64_t first, count;
    cli_world_list list;
    char captions[1024];
} job;

static uint64_t seed_of(const job *j, int64_t i)
{
    uint64_t n = (uint64_t)(j->first + i);
    return j->split < 0 ? n : rlm_world_seed(j->split, n);
}

/* mkdir -p */
static int make_folder(const char *path)
{
    char part[PATH_ROOM];
    size_t n = strlen(path);
    if (n >= sizeof part)
        return cli_usage("--output: the path is too long");
    for (size_t i = 1; i <= n; i++)
        if (path[i] == '/' || i == n) {
            memcpy(part, path, i);
            part[i] = 0;
            if (mkdir(part, 0777) && errno != EEXIST) {
                fprintf(stderr, "reelm: %s: %s\n", part, strerror(errno));
                return EXIT_IO;
            }
        }
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode)) {
        fprintf(stderr, "reelm: %s: is not a folder\n", path);
        return EXIT_IO;
    }
    return EXIT_DONE;
}

static int read_split(const char *name)
{
    static const char *const names[] = {"train", "validation", "test"};
    for (int i = 0; i < 3; i++)
        if (name && !strcmp(name, names[i]))
            return i;
    return -1;
}

/* What is wanted, from the options; 0 or an exit code. */
static int read_want(job *j)
{
    const cli_args *a = j->args;
    rlm_world_want *w = &j->want;
    rlm_world_want_defaults(w);
    if (a->width)
        w->width = (int)a->width;
    if (a->height)
        w->height = (int)a->height;
    if (a->fps > 0)
        rlm_fps_fraction(a->fps, &w->fps_num, &w->fps_den);
    if (a->frames)
        w->frames = (int)a->frames;
    else if (a->seconds > 0) {
        double frames = a->seconds * w->fps_num / w->fps_den + 0.5;
        if (frames >= 4097)
            return cli_usage("--seconds: %g s are more than 4096 frames", a->seconds);
        w->frames = frames < 1 ? 1 : (int)frames;
    }
    w->audio = !a->no_audio;
    if (a->style) {
        w->style = rlm_world_style(a->style);
        if (w->style < 0)
            return cli_usage("--style: '%s' is none of photo, cartoon, pencil, neon", a->style);
    }
    j->split = read_split(a->split);
    if (a->split && j->split < 0)
        return cli_usage("--split: '%s' is none of train, validation, test", a->split);
    j->first = a->seed < 0 ? 0 : a->seed;
    j->count = a->count ? a->count : 1;
    return EXIT_DONE;
}

/* Depth, flow and mask of one clip; fills `range` for the list. */
static int write_truth(const job *j, const char *stem, const rlm_clip *clip,
                       const rlm_world_truth *truth, rlm_control_range *range)
{
    char path[PATH_ROOM];
    rlm_clip control = {0};
    rlm_error err = {0};
    const rlm_frames *v = &clip->video;
    int code = rlm_control_pack(truth->depth, truth->flow, v->count, v->height, v->width, &control,
                                range, &err);
    if (!code) {
        control.video.fps_num = v->fps_num;
        control.video.fps_den = v->fps_den;
        rlm_write_options o = {.crf = 8, .no_metadata = 1};
        snprintf(path, sizeof path, "%s/%s.control.mp4", j->args->output, stem);
        code = rlm_media_write(path, &control, &o, &err);
    }
    rlm_clip_free(&control);
    if (code)
        return cli_error(&err);
    snprintf(path, sizeof path, "%s/%s.depth.npy", j->args->output, stem);
    const int shape[4] = {v->count, v->height, v->width, 2};
    int exit_code = cli_write_npy(path, "<f4", shape, 3, truth->depth);
    snprintf(path, sizeof path, "%s/%s.flow.npy", j->args->output, stem);
    if (!exit_code)
        exit_code = cli_write_npy(path, "<f4", shape, 4, truth->flow);
    snprintf(path, sizeof path, "%s/%s.mask.npy", j->args->output, stem);
    return exit_code ? exit_code : cli_write_npy(path, "|u1", shape, 3, truth->mask);
}

static const char *extension(const job *j)
{
    return j->args->format ? j->args->format : "mp4";
}

static int write_list(job *j, const char *stem, uint64_t seed, const rlm_control_range *range)
{
    char *facts = NULL;
    rlm_error err = {0};
    FILE *to = j->list.fresh;
    if (rlm_world_facts(seed, &j->want, &facts, &err))
        return cli_error(&err);
    fprintf(to, "{\"file_name\":\"%s.%s\"", stem, extension(j));
    for (int is_long = 0; is_long < 2; is_long++) {
        rlm_world_caption(seed, j->want.style, RLM_LANGUAGE_EN, is_long, 0, j->captions,
                          sizeof j->captions);
        fprintf(to, ",\"text%s\":\"%s\"", is_long ? "_long" : "", j->captions);
    }
    fputc(',', to);
    if (range)
        fprintf(to, "\"control\":{\"flow\":%.9g,\"near\":%.9g,\"far\":%.9g},", range->flow,
                range->near, range->far);
    fprintf(to, "%s\n", facts + 1);
    rlm_string_free(&facts);
    j->list.count++;
    return EXIT_DONE;
}

static int write_clip(job *j, int64_t i, rlm_clip *clip, const rlm_world_truth *truth)
{
    char path[PATH_ROOM], stem[32];
    rlm_error err = {0};
    rlm_control_range range;
    snprintf(stem, sizeof stem, "%06lld", (long long)(j->first + i));
    if (strcmp(extension(j), "png"))
        snprintf(path, sizeof path, "%s/%s.%s", j->args->output, stem, extension(j));
    else
        snprintf(path, sizeof path, "%s/%s_%%04d.png", j->args->output, stem);
    if (rlm_media_write(path, clip, NULL, &err))
        return cli_error(&err);
    if (clip->audio.count) {
        rlm_clip sound = {.audio = clip->audio};
        snprintf(path, sizeof path, "%s/%s.wav", j->args->output, stem);
        if (rlm_media_write(path, &sound, NULL, &err))
            return cli_error(&err);
    }
    int code = truth ? write_truth(j, stem, clip, truth, &range) : EXIT_DONE;
    return code ? code : write_list(j, stem, seed_of(j, i), truth ? &range : NULL);
}

static void free_truths(rlm_world_truth *t)
{
    for (int i = 0; i < AT_ONCE; i++) {
        free(t[i].depth);
        free(t[i].flow);
        free(t[i].mask);
    }
}

static int make_truths(const job *j, rlm_world_truth *t, int64_t count)
{
    size_t n = (size_t)j->want.frames * (size_t)j->want.height * (size_t)j->want.width;
    for (int i = 0; i < AT_ONCE && i < count; i++) {
        t[i].depth = malloc(n * sizeof(float));
        t[i].flow = malloc(2 * n * sizeof(float));
        t[i].mask = malloc(n);
        if (!t[i].depth || !t[i].flow || !t[i].mask) {
            fprintf(stderr, "reelm: world: no memory for depth, flow and mask\n");
            return EXIT_MEMORY;
        }
    }
    return EXIT_DONE;
}

static int write_batches(job *j, rlm_world_truth *truths)
{
    rlm_error err = {0};
    int code = EXIT_DONE;
    for (int64_t i = 0; i < j->count && !code && !cli_interrupted(); i += AT_ONCE) {
        rlm_clip clips[AT_ONCE];
        uint64_t seeds[AT_ONCE];
        int n = j->count - i < AT_ONCE ? (int)(j->count - i) : AT_ONCE;
        for (int k = 0; k < n; k++)
            seeds[k] = seed_of(j, i + k);
        if (rlm_world_batch(j->world, seeds, n, &j->want, clips, truths, &err))
            return cli_error(&err);
        for (int k = 0; k < n; k++) {
            if (!code && !j->args->time)
                code = write_clip(j, i + k, &clips[k], truths ? &truths[k] : NULL);
            rlm_clip_free(&clips[k]);
        }
    }
    return cli_interrupted() ? EXIT_INTERRUPTED : code;
}

static int write_clips(job *j)
{
    rlm_world_truth truths[AT_ONCE] = {{0}};
    rlm_error err = {0};
    rlm_write_options o = {.format = extension(j)};
    /* the format alone, before there is a folder */
    if (rlm_media_writable("/dev/null", &o, NULL, &err))
        return cli_usage("--format: %s", strchr(err.text, ':') + 2);
    int code = make_folder(j->args->output);
    if (!code)
        code = cli_world_list_open(&j->list, j->args->output, extension(j), j->first);
    if (code)
        return code;
    if (!j->args->no_truth)
        code = make_truths(j, truths, j->count);
    if (!code)
        code = write_batches(j, j->args->no_truth ? NULL : truths);
    free_truths(truths);
    int closed = cli_world_list_close(&j->list); /* stopped: what was made is listed */
    return code ? code : closed;
}

/* Makes the clips and keeps none. */
static int time_clips(job *j)
{
    rlm_world_truth truths[AT_ONCE] = {{0}};
    int code = j->args->no_truth ? EXIT_DONE : make_truths(j, truths, j->count);
    if (!code)
        code = write_batches(j, j->args->no_truth ? NULL : truths);
    free_truths(truths);
    return code;
}

static void report(const job *j, double seconds)
{
    const cli_args *a = j->args;
    double rate = (double)j->count / seconds;
    if (a->json) {
        cJSON *o = cJSON_CreateObject();
        if (a->output)
            cJSON_AddStringToObject(o, "output", a->output);
        cJSON_AddNumberToObject(o, "count", (double)j->count);
        cJSON_AddNumberToObject(o, "seed", (double)j->first);
        cJSON_AddNumberToObject(o, "width", j->want.width);
        cJSON_AddNumberToObject(o, "height", j->want.height);
        cJSON_AddNumberToObject(o, "frames", j->want.frames);
        cJSON_AddNumberToObject(o, "fps", (double)j->want.fps_num / j->want.fps_den);
        cJSON_AddNumberToObject(o, "elapsed_s", seconds);
        if (a->time)
            cJSON_AddNumberToObject(o, "clips_per_s", rate);
        cli_print_json(o);
    } else if (a->time) {
        printf("%lld clips in %.2f s: %.1f a second\n", (long long)j->count, seconds, rate);
    } else if (!a->quiet && !a->sheet) {
        printf("%s: %lld clips in %.1f s\n", a->output, (long long)j->count, seconds);
    }
}

static int write_sheet(job *j)
{
    rlm_error err = {0};
    rlm_clip sheet = {0};
    const int64_t count = j->count;
    uint64_t *seeds = malloc(sizeof *seeds * (size_t)count);
    if (!seeds)
        return EXIT_MEMORY;
    for (int64_t i = 0; i < count; i++)
        seeds[i] = seed_of(j, i);
    char path[PATH_ROOM];
    size_t n = strlen(j->args->output);
    int named = !strcmp(j->args->output, "-") ||
                (n > 4 && !strcmp(j->args->output + n - 4, ".png")); /* else a folder */
    int made = named ? EXIT_DONE : make_folder(j->args->output);
    if (made) {
        free(seeds);
        return made;
    }
    snprintf(path, sizeof path, named ? "%s" : "%s/sheet.png", j->args->output);
    rlm_write_options o = {.format = "png"};
    int code = rlm_world_sheet(j->world, seeds, (int)count, &j->want, &sheet, &err);
    if (!code)
        code = rlm_media_write(path, &sheet, &o, &err);
    for (int64_t i = 0; i < count && !code && !j->args->json && !j->args->quiet; i++)
        for (int language = 0; language < 2; language++) {
            rlm_world_caption(seeds[i], j->want.style, language, 1, 0, j->captions,
                              sizeof j->captions);
            printf("%6lld  %s\n", (long long)(j->first + i), j->captions);
        }
    rlm_clip_free(&sheet);
    free(seeds);
    return code ? cli_error(&err) : EXIT_DONE;
}

int cmd_world(const cli_args *a)
{
    job j = {.args = a};
    rlm_error err = {0};
    if (a->time && (a->sheet || a->output))
        return cli_usage("world: --time writes nothing; leave -o and --sheet out");
    if (!a->output && !a->time)
        return cli_usage("world: -o %s is missing", a->sheet ? "FILE.png" : "DIR");
    if (a->output && !strcmp(a->output, "-") && !a->sheet)
        return cli_usage("world: -o '-': clips go to a folder");
    int code = read_want(&j);
    if (code)
        return code;
    cli_catch_interrupt();
    if (rlm_world_open(&j.world, (int)a->threads, &err))
        return cli_error(&err);
    double start = cli_now();
    code = a->time ? time_clips(&j) : a->sheet ? write_sheet(&j) : write_clips(&j);
    rlm_world_close(&j.world);
    if (!code)
        report(&j, cli_now() - start);
    return code;
}
