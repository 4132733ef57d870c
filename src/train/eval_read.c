/* Clips of an evaluation by its protocol: read, drawn or generated; and kept, when asked. */
#include "src/train/eval.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"

enum { AUDIO_SECONDS = 600, PATH_ROOM = 4096 };

int rlm_frames_hold(rlm_frames *f, int count, rlm_error *err)
{
    size_t one = (size_t)f->height * (size_t)f->width * 3;
    if (f->count >= count)
        return 0;
    uint8_t *grown = rlm_realloc(f->rgb, (size_t)f->count * one, (size_t)count * one);
    if (!grown)
        return rlm_fail(err, RLM_E_NOMEM, "evaluation: no memory for %d frames", count);
    f->rgb = grown;
    for (; f->count < count; f->count++)
        memcpy(grown + (size_t)f->count * one, grown + (size_t)(f->count - 1) * one, one);
    return 0;
}

/* PNG files of a folder, in the order of their names, as frames at 8 a second. */
static int read_sequence(const char *dir, const rlm_want *want, rlm_frames *out, rlm_error *err)
{
    struct dirent **names;
    int n = scandir(dir, &names, NULL, alphasort), code = 0;
    rlm_frames f = {.fps_num = RLM_EVAL_FPS, .fps_den = 1};
    if (n < 0)
        return rlm_fail(err, RLM_E_IO, "%s: cannot be listed", dir);
    for (int i = 0; i < n && !code && f.count < want->max_frames; i++) {
        rlm_clip one = {0};
        char *path = rlm_path_join(dir, names[i]->d_name);
        if (!path)
            code = rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", dir);
        else if (names[i]->d_name[0] != '.')
            code = rlm_media_read(path, want, &one, err);
        size_t bytes = (size_t)one.video.height * (size_t)one.video.width * 3;
        if (!code && one.video.count && !f.rgb) {
            f.height = one.video.height;
            f.width = one.video.width;
            f.rgb = rlm_alloc(rlm_size_mul(bytes, (size_t)n));
            if (!f.rgb)
                code = rlm_fail(err, RLM_E_NOMEM, "%s: no memory for %d frames", dir, n);
        }
        if (!code && one.video.count &&
            (one.video.height != f.height || one.video.width != f.width))
            code = rlm_fail(err, RLM_E_MEDIA, "%s: is %dx%d, the frames before are %dx%d", path,
                            one.video.width, one.video.height, f.width, f.height);
        if (!code && one.video.count)
            memcpy(f.rgb + (size_t)f.count++ * bytes, one.video.rgb, bytes);
        rlm_clip_free(&one);
        rlm_free(path);
    }
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    if (code)
        rlm_free(f.rgb);
    else
        *out = f;
    return code;
}

static int draw_world(const rlm_eval_list *l, const rlm_eval_options *o, const rlm_eval_item *item,
                      rlm_clip *out, rlm_error *err)
{
    rlm_world_want want;
    rlm_world_want_defaults(&want);
    want.audio = o->what == RLM_EVAL_AUDIO;
    if (!o->controls || want.audio)
        return rlm_world_clip(l->world, item->seed, &want, out, NULL, err);
    rlm_clip clip = {0};
    rlm_world_truth truth = {0};
    size_t n = (size_t)want.frames * (size_t)want.height * (size_t)want.width;
    truth.depth = rlm_alloc(n * sizeof *truth.depth);
    truth.flow = rlm_alloc(2 * n * sizeof *truth.flow);
    int code = truth.depth && truth.flow
                   ? rlm_world_clip(l->world, item->seed, &want, &clip, &truth, err)
                   : rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", item->name);
    if (!code)
        code = rlm_control_pack(truth.depth, truth.flow, want.frames, want.height, want.width, out,
                                NULL, err);
    rlm_clip_free(&clip);
    rlm_free(truth.depth);
    rlm_free(truth.flow);
    return code;
}

static int read_sound(const char *path, int rate, rlm_clip *out, rlm_error *err)
{
    rlm_want want;
    rlm_want_defaults(&want);
    want.want_video = 0;
    want.rate = rate;
    want.channels = 1;
    want.max_seconds = AUDIO_SECONDS;
    return rlm_media_read(path, &want, out, err);
}

int rlm_eval_read(const rlm_eval_list *l, const rlm_eval_options *o, const rlm_eval_item *item,
                  bool of_pair, rlm_clip *out, rlm_error *err)
{
    const char *path = of_pair ? item->pair : item->path;
    rlm_want want;
    memset(out, 0, sizeof *out);
    if (!path)
        return draw_world(l, o, item, out, err);
    if (o->what == RLM_EVAL_AUDIO)
        return read_sound(path, RLM_EVAL_RATE, out, err);
    rlm_want_defaults(&want);
    want.want_audio = 0;
    want.max_frames = o->native ? RLM_EVAL_NATIVE_FRAMES : RLM_EVAL_FRAMES;
    if (!o->native) {
        want.width = want.height = RLM_EVAL_SIDE;
        want.fps_num = RLM_EVAL_FPS;
        want.fps_den = 1;
    }
    if (rlm_is_dir(path))
        RLM_TRY(read_sequence(path, &want, &out->video, err));
    else
        RLM_TRY(rlm_media_read(path, &want, out, err));
    int code = 0;
    if (!out->video.count)
        code = rlm_fail(err, RLM_E_MEDIA, "%s: no frame in it", path);
    else if (!o->native && item->kind == RLM_MEDIA_VIDEO && !rlm_is_dir(path))
        code = rlm_frames_hold(&out->video, RLM_EVAL_FRAMES, err);
    else if (item->kind == RLM_MEDIA_IMAGE)
        out->video.count = 1;
    if (code)
        rlm_clip_free(out);
    return code;
}

int rlm_eval_keep(const char *dir, const char *part, const rlm_eval_item *item, bool sound,
                  const rlm_clip *clip, rlm_error *err)
{
    char path[PATH_ROOM], flat[PATH_ROOM / 2];
    rlm_eval_flat_name(item, flat, sizeof flat);
    int n =
        snprintf(path, sizeof path, "%s/%s%s%s", dir, part, sound ? "" : "/", sound ? "" : flat);
    if (n >= (int)sizeof path - 64)
        return rlm_fail(err, RLM_E_RANGE, "%s: the path is too long", dir);
    RLM_TRY(rlm_mkdirs(path, err));
    snprintf(path + n, sizeof path - (size_t)n, sound ? "/%s.wav" : "/%%03d.png", flat);
    return rlm_media_write(path, clip, NULL, err);
}
