/* What the video tokenizer makes of recordings it never saw: PSNR on bytes, as a user gets them,
 * and a sheet to look at. Element loops here are measurements of bytes, outside every gradient. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/train/video_train.h"

enum { SIDE = RLM_CROP_SIDE, SHEET_ROWS = 6 };
static const int MOST[RLM_VAL_KINDS] = {24, 16, 16, 8}; /* scored */
static const int SHOWN[RLM_VAL_KINDS] = {5, 1, 4, 2};   /* columns of the sheet */

/* At most a third of the clips from one group (a repository that dominates the data). */
static int choose(rlm_clips *c, bool clip, rlm_frames *out, int most)
{
    const rlm_dataset *set = clip ? &c->videos.set : &c->photos.set;
    const char *groups[RLM_VAL_MOST];
    int count = 0;
    for (int i = 0; i < set->val_count && count < most; i++) {
        const char *group = set->items[set->val[i]].group;
        int alike = 0;
        for (int k = 0; k < count; k++)
            alike += !strcmp(groups[k], group);
        bool only = set->group_count <= 3;
        if (!only && alike >= (most + 2) / 3)
            continue;
        if (rlm_clips_val(c, clip, i, &out[count]) == RLM_OK)
            groups[count++] = group;
    }
    return count;
}

/* Scenes of the validation split, the styles in turn. */
static int make(const rlm_clips *c, bool control, rlm_frames *out, int most, rlm_error *err)
{
    for (int i = 0; i < most; i++) {
        rlm_clip clip = {0};
        uint64_t seed = rlm_world_seed(RLM_SPLIT_VALIDATION, (uint64_t)i);
        RLM_TRY(rlm_scenes_render(&c->made, seed, i % 4, control, &clip, err));
        out[i] = clip.video;
        clip.video.rgb = NULL;
        rlm_clip_free(&clip);
    }
    return RLM_OK;
}

int rlm_video_val_open(rlm_video_val *v, rlm_clips *c, rlm_error *err)
{
    memset(v, 0, sizeof *v);
    v->count[RLM_VAL_REAL] = choose(c, true, v->clips[RLM_VAL_REAL], MOST[RLM_VAL_REAL]);
    v->count[RLM_VAL_PHOTO] = choose(c, false, v->clips[RLM_VAL_PHOTO], MOST[RLM_VAL_PHOTO]);
    for (int kind = RLM_VAL_WORLD; kind < RLM_VAL_KINDS && c->playground > 0; kind++) {
        RLM_TRY(make(c, kind == RLM_VAL_CONTROL, v->clips[kind], MOST[kind], err));
        v->count[kind] = MOST[kind];
    }
    v->sheet = rlm_calloc((size_t)SHEET_ROWS * SIDE * RLM_SHEET_CLIPS * SIDE, 3);
    return v->sheet ? RLM_OK
                    : rlm_fail(err, RLM_E_NOMEM, "video training: no memory for the sample sheet");
}

void rlm_video_val_free(rlm_video_val *v)
{
    for (int kind = 0; kind < RLM_VAL_KINDS; kind++)
        for (int i = 0; i < RLM_VAL_MOST; i++)
            rlm_free(v->clips[kind][i].rgb);
    rlm_free(v->sheet);
    memset(v, 0, sizeof *v);
}

static double psnr(const rlm_frames *a, const rlm_frames *b)
{
    size_t n = (size_t)a->count * (size_t)a->height * (size_t)a->width * 3;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a->rgb[i] - (double)b->rgb[i];
        sum += d * d;
    }
    return 10.0 * log10(255.0 * 255.0 / (sum / (double)n + 1e-9));
}

/* Column `at` of the sheet: frames 0, 8, 16, original above reconstruction. */
static void draw_column(rlm_video_val *v, int at, const rlm_frames *original,
                        const rlm_frames *made)
{
    for (int row = 0; row < SHEET_ROWS; row++) {
        const rlm_frames *f = row % 2 ? made : original;
        int frame = row / 2 * ((RLM_CROP_FRAMES - 1) / 2);
        const uint8_t *in =
            f->rgb + (size_t)(frame < f->count ? frame : f->count - 1) * SIDE * SIDE * 3;
        for (int y = 0; y < SIDE; y++)
            memcpy(v->sheet + ((size_t)(row * SIDE + y) * RLM_SHEET_CLIPS + (size_t)at) * SIDE * 3,
                   in + (size_t)y * SIDE * 3, (size_t)SIDE * 3);
    }
}

/* Bytes -> codes -> bytes. codes stay with the caller. */
static int there_and_back(rlm_run *run, const rlm_video *video, const rlm_frames *in,
                          rlm_codes *codes, rlm_frames *out, rlm_error *err)
{
    RLM_TRY(rlm_video_encode(run, video, in, codes, err));
    int code = rlm_video_decode(run, video, codes, out, NULL, NULL, err);
    if (code)
        rlm_codes_free(codes);
    return code;
}

static int by_value(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int64_t count_distinct(int32_t *ids, int64_t n)
{
    int64_t distinct = n > 0;
    qsort(ids, (size_t)n, sizeof *ids, by_value);
    for (int64_t i = 1; i < n; i++)
        distinct += ids[i] != ids[i - 1];
    return distinct;
}

/* Codes of the real clips, gathered to count how many differ. */
typedef struct code_bag {
    int32_t *ids;
    int64_t count, room;
} code_bag;

static void bag_add(code_bag *bag, const rlm_codes *codes, int clips)
{
    if (!bag->ids) {
        bag->room = codes->count * clips;
        bag->ids = rlm_alloc((size_t)bag->room * sizeof *bag->ids);
    }
    if (!bag->ids || bag->count + codes->count > bag->room)
        return;
    memcpy(bag->ids + bag->count, codes->ids, (size_t)codes->count * sizeof *bag->ids);
    bag->count += codes->count;
}

int rlm_video_val_score(rlm_video_val *v, rlm_run *run, const rlm_video *video, rlm_video_scores *s,
                        bool sheet, rlm_error *err)
{
    code_bag bag = {0};
    int column = 0, code = RLM_OK;
    *s = (rlm_video_scores){0};
    for (int kind = 0; kind < RLM_VAL_KINDS && !code; kind++)
        for (int i = 0; i < v->count[kind] && !code; i++) {
            rlm_codes codes;
            rlm_frames made;
            const rlm_frames *clip = &v->clips[kind][i];
            code = there_and_back(run, video, clip, &codes, &made, err);
            if (code)
                break;
            if (kind == RLM_VAL_REAL)
                bag_add(&bag, &codes, v->count[kind]);
            s->psnr[kind] += psnr(clip, &made) / v->count[kind];
            if (sheet && i < SHOWN[kind])
                draw_column(v, column++, clip, &made);
            rlm_free(made.rgb);
            rlm_codes_free(&codes);
        }
    if (bag.count)
        s->distinct = (double)count_distinct(bag.ids, bag.count) / (double)bag.count;
    rlm_free(bag.ids);
    return code;
}

int rlm_video_sheet_write(const rlm_video_val *v, const char *run_dir, int64_t step, rlm_error *err)
{
    char path[1024];
    rlm_clip clip = {.video = {.count = 1,
                               .height = SHEET_ROWS * SIDE,
                               .width = RLM_SHEET_CLIPS * SIDE,
                               .fps_num = 1,
                               .fps_den = 1,
                               .rgb = v->sheet}};
    snprintf(path, sizeof path, "%s/samples", run_dir);
    RLM_TRY(rlm_mkdirs(path, err));
    snprintf(path, sizeof path, "%s/samples/step_%07lld.png", run_dir, (long long)step);
    return rlm_media_write(path, &clip, NULL, err);
}
