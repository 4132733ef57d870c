/* What the video tokenizer makes of recordings it never saw: PSNR on bytes, as a user gets them,
 * and a sheet to look at. */
#include <math.h>
#include <string.h>

#include "src/train/eval.h"
#include "src/train/video_train.h"

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
    return RLM_OK;
}

void rlm_video_val_free(rlm_video_val *v)
{
    for (int kind = 0; kind < RLM_VAL_KINDS; kind++)
        for (int i = 0; i < RLM_VAL_MOST; i++)
            rlm_free(v->clips[kind][i].rgb);
    memset(v, 0, sizeof *v);
}

/* Bytes -> codes -> bytes. codes stay with the caller. */
static int there_and_back(rlm_run *run, const rlm_video *video, const rlm_frames *in,
                          rlm_codes *codes, rlm_frames *out, rlm_error *err)
{
    RLM_TRY(rlm_video_encode(run, video, in, codes, err));
    int code = rlm_video_decode(run, video, codes, out, err);
    if (code)
        rlm_codes_free(codes);
    return code;
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

/* Equal bytes count as 100 dB, as in the evaluation. */
static double psnr(const rlm_frames *a, const rlm_frames *b)
{
    return fmin(rlm_psnr(a, b), 100);
}

int rlm_video_val_score(const rlm_video_val *v, rlm_run *run, const rlm_video *video,
                        rlm_video_scores *s, const char *sheet, rlm_error *err)
{
    code_bag bag = {0};
    rlm_eval_sheet columns = {0};
    int code = RLM_OK;
    *s = (rlm_video_scores){.distinct = RLM_UNMEASURED};
    for (int kind = 0; kind < RLM_VAL_KINDS; kind++)
        s->psnr[kind] = v->count[kind] ? 0 : RLM_UNMEASURED;
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
                code = rlm_eval_sheet_add(&columns, clip, &made, err);
            rlm_free(made.rgb);
            rlm_codes_free(&codes);
        }
    if (!code && columns.count)
        code = rlm_eval_sheet_write(&columns, sheet, err);
    if (bag.count)
        s->distinct = (double)rlm_ids_distinct(bag.ids, bag.count) / (double)bag.count;
    rlm_free(bag.ids);
    rlm_eval_sheet_free(&columns);
    return code;
}
