/* What a clip is made from: the file of the verb, masks, keyframes and controls. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli/job.h"

enum {
    AREA_MOST = 128 * 224,
    AREA_FIT = 128 * 128,
    SIDE_SHORT = 128,
    SIDE_TALL = 224,
    GRID = 8,
    FRAMES_MOST = 256,
    BORDER_MOST = 4096
};

/* ---- Words of options ------------------------------------------------------------------------ */

/* x,y,w,h[@first-last] */
static int parse_box(const char *text, rlm_box *b)
{
    int used = 0, last = -1;
    *b = (rlm_box){0};
    if (sscanf(text, "%d,%d,%d,%d%n", &b->x, &b->y, &b->width, &b->height, &used) != 4)
        used = -1;
    if (used > 0 && text[used] == '@') {
        int more = 0;
        if (sscanf(text + used, "@%d-%d%n", &b->from, &last, &more) != 2 || last < b->from ||
            last == INT_MAX)
            more = -1 - used;
        b->to = last + 1;
        used += more;
    }
    if (used < 0 || text[used])
        return cli_usage("--mask-box: '%s' is not X,Y,W,H or X,Y,W,H@FIRST-LAST", text);
    return 0;
}

static int parse_borders(const char *text, int border[4])
{
    int used = 0;
    if (!text)
        return 0;
    if (sscanf(text, "%d,%d,%d,%d%n", &border[0], &border[1], &border[2], &border[3], &used) != 4 ||
        text[used])
        return cli_usage("--outpaint: '%s' is not LEFT,RIGHT,TOP,BOTTOM", text);
    for (int i = 0; i < 4; i++)
        if (border[i] < 0 || border[i] > BORDER_MOST)
            return cli_usage("--outpaint: %d pixels, allowed are 0 to %d", border[i], BORDER_MOST);
    return 0;
}

/* A-B or A- in seconds */
static int parse_span(const char *text, rlm_span *s)
{
    char *end;
    *s = (rlm_span){.from = strtod(text, &end)};
    int good = end != text && *end == '-';
    if (good && end[1]) {
        const char *second = end + 1;
        s->to = strtod(second, &end);
        good = end != second && !*end && s->to > s->from;
    }
    if (!good || !(s->from >= 0 && s->from < 1e9))
        return cli_usage("--span: '%s' is not A-B in seconds, e.g. 0.5-1.25 or 2-", text);
    return 0;
}

/* ---- Files ----------------------------------------------------------------------------------- */

static int read_clip(const char *path, const rlm_want *want, rlm_clip *out)
{
    rlm_error err = {0};
    return rlm_media_read(path, want, out, &err) ? cli_error(&err) : 0;
}

/* First picture of a file; width, height 0: as it is. */
static int read_first(const char *path, int width, int height, rlm_clip *out)
{
    rlm_want want;
    rlm_want_defaults(&want);
    want.max_frames = 1;
    want.want_audio = 0;
    want.width = width;
    want.height = height;
    return read_clip(path, &want, out);
}

/* The same, which there must be, as large as the result. */
static int read_image(const cli_job *j, const char *path, rlm_clip *out)
{
    int code = read_first(path, j->request.width, j->request.height, out);
    if (!code && !out->video.count) {
        fprintf(stderr, "reelm: %s: no picture in it\n", path);
        code = EXIT_DATA;
    }
    return code;
}

static int read_pictures(const char *path, rlm_clip *out)
{
    rlm_want want;
    rlm_want_defaults(&want);
    want.want_audio = 0;
    return read_clip(path, &want, out);
}

static int add_key(cli_job *j, const char *path, int frame)
{
    int i = j->request.keyframe_count;
    if (i == CLI_MAX_LIST)
        return cli_usage("--keyframe: more than %d", CLI_MAX_LIST);
    j->extra->keys[i] = (rlm_keyframe){&j->extra->images[i], frame};
    j->request.keyframe_count = i + 1;
    j->request.keyframes = j->extra->keys;
    if (!cli_is_regular(path) || rlm_file_sha256(path, j->extra->key_sha[i], NULL))
        j->extra->key_sha[i][0] = 0;
    return read_image(j, path, &j->extra->images[i]);
}

/* FILE@FRAME */
static int read_keyframe(cli_job *j, const char *text)
{
    char path[4096], *end;
    const char *at = strrchr(text, '@');
    long frame = at ? strtol(at + 1, &end, 10) : 0;
    if (!at || at == text || end == at + 1 || *end || frame < -FRAMES_MOST || frame >= 1 << 20)
        return cli_usage("--keyframe: '%s' is not FILE@FRAME, e.g. end.png@-1", text);
    snprintf(path, sizeof path, "%.*s", (int)(at - text), text);
    return add_key(j, path, (int)frame);
}

static int read_keyframes(cli_job *j)
{
    const cli_args *a = j->args;
    int code = 0;
    for (int i = 0; i < a->keyframes.count && !code; i++)
        code = read_keyframe(j, a->keyframes.items[i]);
    if (!code && a->end_img)
        code = add_key(j, a->end_img, -1);
    return code;
}

/* depth=FILE or flow=FILE */
static int read_control(cli_job *j, const char *text)
{
    int is_depth = !strncmp(text, "depth=", 6), is_flow = !strncmp(text, "flow=", 5);
    if (!is_depth && !is_flow)
        return strncmp(text, "edge=", 5)
                   ? cli_usage("--control: '%s' is neither depth=FILE nor flow=FILE", text)
                   : cli_usage("--control: the model was never shown edges; give depth=FILE or "
                               "flow=FILE, or the video itself: both are guessed from it");
    rlm_clip *to = is_depth ? &j->extra->depth : &j->extra->flow;
    if (to->video.count)
        return cli_usage("--control: two files for %s", is_depth ? "depth" : "flow");
    int code = read_pictures(strchr(text, '=') + 1, to);
    *(is_depth ? &j->request.depth : &j->request.flow) = to;
    return code;
}

/* ---- Sizes and lengths that follow from what was read ---------------------------------------- */

static int round_side(double side)
{
    int cells = (int)lround(side / GRID);
    cells = cells < 2 ? 2 : cells > 1024 / GRID ? 1024 / GRID : cells;
    return cells * GRID;
}

/* The side that is not given keeps the shape w:h. Returns false when neither is. */
static bool follow_side(cli_job *j, int w, int h)
{
    rlm_request *r = &j->request;
    bool wide = j->args->width, high = j->args->height;
    if (wide && !high)
        r->height = round_side((double)r->width * h / w);
    if (high && !wide)
        r->width = round_side((double)r->height * w / h);
    return wide || high;
}

/* Square, or 128x224 where the source is tall: the shapes that training had. In others bodies fall
 * apart, so the rim goes instead, which is said. */
static void size_like(cli_job *j, const rlm_frames *v)
{
    rlm_request *r = &j->request;
    double w = v->width, h = v->height;
    if (!v->count || follow_side(j, v->width, v->height))
        return;
    r->width = SIDE_SHORT;
    r->height = h >= 1.5 * w ? SIDE_TALL : SIDE_SHORT;
    double scale = fmax(r->width / w, r->height / h), whole = SIDE_SHORT / fmin(w, h);
    bool crops = w * scale - r->width >= GRID || h * scale - r->height >= GRID;
    whole = fmin(whole, sqrt(AREA_MOST / (w * h)));
    if (crops && !j->args->quiet)
        fprintf(stderr,
                "reelm: %dx%d is cropped to %dx%d, a shape that the model was trained on; "
                "--size %dx%d keeps all of it\n",
                v->width, v->height, r->width, r->height, round_side(w * whole),
                round_side(h * whole));
}

/* An edit is made whole: only what rounding to the grid takes may be lost at the rim. */
static int check_shape(const cli_job *j, int w, int h)
{
    const rlm_request *r = &j->request;
    double half = GRID / 2, least = fmax((r->width - half) / w, (r->height - half) / h);
    double most = fmin((r->width + half) / w, (r->height + half) / h);
    if (least <= most)
        return 0;
    double scale = sqrt((double)r->width * r->height / ((double)w * h));
    return cli_usage("--size %dx%d: another shape than %dx%d, of which it would cut the rim off; "
                     "--size %dx%d has it",
                     r->width, r->height, w, h, round_side(w * scale), round_side(h * scale));
}

/* An edit is as large as what it edits, unless that is beyond the model: then it is made to fit. */
static int size_of_edit(cli_job *j)
{
    rlm_request *r = &j->request;
    int w = j->condition.video.width + r->outpaint[0] + r->outpaint[1];
    int h = j->condition.video.height + r->outpaint[2] + r->outpaint[3];
    if (j->args->width && j->args->height && j->args->verb == CLI_EDIT)
        return check_shape(j, w, h);
    if (follow_side(j, w, h))
        return 0;
    if ((int64_t)w * h <= AREA_MOST && w >= 16 && h >= 16) {
        r->width = w;
        r->height = h;
        return 0;
    }
    double scale = sqrt((double)AREA_FIT / ((double)w * h));
    r->width = round_side(w * scale);
    r->height = round_side(h * scale);
    if (j->args->strict)
        return cli_usage("--strict: %dx%d is not what the model sees at once; --size %dx%d is", w,
                         h, r->width, r->height);
    if (!j->args->quiet)
        fprintf(stderr, "reelm: %dx%d is more than the model sees at once: made at %dx%d\n", w, h,
                r->width, r->height);
    return 0;
}

static int read_input(cli_job *j, const char *path, int max_frames)
{
    rlm_error err = {0};
    return path && cli_job_condition(j, path, max_frames, &err) ? cli_error(&err) : 0;
}

static int edit_inputs(cli_job *j, const char *path)
{
    const cli_args *a = j->args;
    rlm_request *r = &j->request;
    r->task = RLM_TASK_PAINT;
    int code = parse_borders(a->outpaint, r->outpaint);
    for (int i = 0; i < a->mask_boxes.count && !code; i++)
        code = parse_box(a->mask_boxes.items[i], &j->extra->boxes[i]);
    r->boxes = j->extra->boxes;
    r->box_count = a->mask_boxes.count;
    if (!code && !a->mask && !a->outpaint && !r->box_count)
        code = cli_usage("edit: say what to make anew: --mask FILE, --mask-box or --outpaint");
    if (!code)
        code = read_input(j, path, 0);
    if (!code && !j->condition.video.count) {
        fprintf(stderr, "reelm: %s: no picture in it\n", path);
        code = EXIT_DATA;
    }
    if (!code && a->mask)
        code = read_pictures(a->mask, &j->extra->mask);
    if (code)
        return code;
    r->mask = a->mask ? &j->extra->mask : NULL;
    if (a->fps <= 0 && j->condition.video.count > 1) {
        r->fps_num = j->condition.video.fps_num;
        r->fps_den = j->condition.video.fps_den;
    }
    return size_of_edit(j);
}

/* Its first picture says how large a video is. */
static int look_at(cli_job *j, const char *path)
{
    if (rlm_file_sha256(path, j->source_sha, NULL))
        j->source_sha[0] = 0;
    return read_first(path, 0, 0, &j->condition);
}

/* An extension is as large as the video, at the model's rate unless another is wanted. */
static int extend_inputs(cli_job *j, const char *path)
{
    const cli_args *a = j->args;
    rlm_request *r = &j->request;
    const rlm_frames *v = &j->condition.video;
    r->backward = a->backward;
    r->reencode = a->reencode;
    j->in_file = strcmp(path, "-") && cli_is_regular(path) && !a->backward && !a->end_img &&
                 !a->keyframes.count && rlm_media_grows(j->output, a->format);
    int code = j->in_file ? look_at(j, path) : read_input(j, path, 0);
    if (!code && !v->count) {
        fprintf(stderr, "reelm: %s: no picture in it\n", path);
        code = EXIT_DATA;
    }
    double rate = (double)r->fps_num / r->fps_den,
           own = v->fps_den ? (double)v->fps_num / v->fps_den : 0;
    if (!code && a->fps <= 0 && fabs(own - rate) > 1e-3 && v->fps_num) {
        if (a->strict)
            return cli_usage(
                "--strict: %s has %g frames a second, the model makes %g: give --fps %g "
                "or --fps %g",
                path, own, rate, own, rate);
        if (!a->quiet)
            fprintf(stderr,
                    "reelm: %s has %g frames a second, made at %g; --fps %g keeps them all\n", path,
                    own, rate, own);
    }
    return code ? code : size_of_edit(j);
}

/* generate, animate: the first picture. What can be read once only is kept as it came, else it is
 * read again at the size of the result. */
static int animate_inputs(cli_job *j, const char *path)
{
    const cli_args *a = j->args;
    rlm_request *r = &j->request;
    rlm_clip first = {0};
    if (!path || (a->width && a->height))
        return read_input(j, path, 1);
    if (!strcmp(path, "-") || !cli_is_regular(path)) {
        int width = r->width, height = r->height;
        r->width = r->height = 0;
        int code = read_input(j, path, 1);
        r->width = width;
        r->height = height;
        size_like(j, &j->condition.video);
        return code;
    }
    int code = read_first(path, 0, 0, &first);
    if (code)
        return code;
    size_like(j, &first.video);
    rlm_clip_free(&first);
    return read_input(j, path, 1);
}

static int stylize_inputs(cli_job *j, const char *path)
{
    const cli_args *a = j->args;
    rlm_request *r = &j->request;
    int code = 0;
    r->task = RLM_TASK_STYLIZE;
    for (int i = 0; i < a->control_files.count && !code; i++)
        code = read_control(j, a->control_files.items[i]);
    if (!code && !path && !a->control_files.count)
        code = cli_usage("stylize: a video or --control depth=FILE is missing");
    if (!code)
        code = read_input(j, path, 0);
    const rlm_frames *v = r->depth  ? &j->extra->depth.video
                          : r->flow ? &j->extra->flow.video
                                    : &j->condition.video;
    if (!code)
        size_like(j, v);
    if (code || !v->count || a->frames || a->seconds > 0)
        return code;
    double frames = (double)v->count * v->fps_den / v->fps_num * r->fps_num / r->fps_den;
    r->frames = frames < 1 ? 1 : frames > FRAMES_MOST ? FRAMES_MOST : (int)lround(frames);
    if (frames > FRAMES_MOST && !a->quiet)
        fprintf(stderr, "reelm: the first %d frames are stylized, %.0f are there\n", FRAMES_MOST,
                frames);
    return 0;
}

static int visualize_inputs(cli_job *j, const char *path)
{
    const cli_args *a = j->args;
    rlm_request *r = &j->request;
    r->task = RLM_TASK_AUDIO_TO_VIDEO;
    int code = read_input(j, path, 0);
    const rlm_pcm *s = &j->condition.audio;
    if (!code && !s->count) {
        fprintf(stderr, "reelm: %s: no sound in it\n", path);
        return EXIT_DATA;
    }
    double frames =
        ceil((double)s->count / (s->rate ? s->rate : 1) * r->fps_num / r->fps_den - 1e-6);
    if (!code && a->shortest && frames < r->frames)
        r->frames = frames < 1 ? 1 : (int)frames;
    if (code || a->frames || a->seconds > 0)
        return code;
    if (frames > FRAMES_MOST)
        return cli_usage("visualize: %s lasts %.1f s, at most %d frames are made: --seconds S",
                         path, (double)s->count / s->rate, FRAMES_MOST);
    r->frames = frames < 1 ? 1 : (int)frames;
    return 0;
}

static int sound_inputs(cli_job *j, const char *path)
{
    const cli_args *a = j->args;
    int code = 0;
    j->request.task = RLM_TASK_VIDEO_TO_AUDIO;
    for (int i = 0; i < a->spans.count && !code; i++)
        code = parse_span(a->spans.items[i], &j->extra->spans[i]);
    j->request.spans = j->extra->spans;
    j->request.span_count = a->spans.count;
    return code ? code : read_input(j, path, 0);
}

void cli_job_inputs_free(cli_job *j)
{
    cli_inputs *x = j->extra;
    if (!x)
        return;
    rlm_clip_free(&x->mask);
    rlm_clip_free(&x->depth);
    rlm_clip_free(&x->flow);
    for (int i = 0; i < CLI_MAX_LIST; i++)
        rlm_clip_free(&x->images[i]);
    free(x);
    j->extra = NULL;
}

const char *cli_job_source(const cli_args *a)
{
    return a->input_count  ? a->inputs[0]
           : a->init_img   ? a->init_img
           : a->init_video ? a->init_video
                           : NULL;
}

/* What stands on the command line is meant; a standing wish gives way to it. */
static int one_source(const cli_args *a)
{
    bool image = a->init_img && cli_from(a, "init-img") >= CLI_FROM_FLAG;
    bool video = a->init_video && cli_from(a, "init-video") >= CLI_FROM_FLAG;
    if (a->input_count && (image || video))
        return cli_usage("%s: %s and --%s %s are two inputs; give one", a->verb_name, a->inputs[0],
                         image ? "init-img" : "init-video", image ? a->init_img : a->init_video);
    return 0;
}

int cli_job_inputs(cli_job *j)
{
    const cli_args *a = j->args;
    const char *path = cli_job_source(a);
    int code = one_source(a);
    if (code)
        return code;
    if (!path && a->verb != CLI_GENERATE && a->verb != CLI_STYLIZE)
        return cli_usage("%s: a file to work on is missing; see reelm %s --help", a->verb_name,
                         a->verb_name);
    j->extra = calloc(1, sizeof *j->extra);
    if (!j->extra)
        return EXIT_MEMORY;
    switch (a->verb) {
    case CLI_EDIT:
        code = edit_inputs(j, path);
        break;
    case CLI_STYLIZE:
        code = stylize_inputs(j, path);
        break;
    case CLI_VISUALIZE:
        code = visualize_inputs(j, path);
        break;
    case CLI_SOUND:
        code = sound_inputs(j, path);
        break;
    case CLI_EXTEND:
        code = extend_inputs(j, path);
        break;
    default:
        code = animate_inputs(j, path);
    }
    return code ? code : read_keyframes(j);
}
