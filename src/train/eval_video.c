/* Evaluation of the video tokenizer, or of other codecs' pictures. */
#include "src/train/eval.h"

#include <math.h>
#include <string.h>

#include "src/pipeline.h"

enum { PSNR, SSIM, MS_SSIM, PERCEPTUAL, FLICKER, BITS, RATE, VIDEO_MEASURES };
static const rlm_measure video_measures[VIDEO_MEASURES] = {
    [PSNR] = {"psnr", 3,
              "dB, 255^2 over the mean squared difference of all bytes of a clip (RGB); mean of "
              "the clips' dB; 100 when equal"},
    [SSIM] = {"ssim", 4,
              "Wang 2004 on luma (Rec. 601), Gaussian 11x11 of sigma 1.5, only whole windows, K1 "
              "0.01, K2 0.03; mean over frames"},
    [MS_SSIM] =
        {"ms_ssim", 4,
         "Wang 2003 with as many of its 5 scales as keep both sides at 11 or more (128x128: "
         "4), their weights scaled to the sum 1"},
    [PERCEPTUAL] = {"perceptual", 4, NULL},
    [FLICKER] = {"flicker", 3,
                 "mean absolute error of the change of luma from frame to frame, grey levels of "
                 "255"},
    [BITS] = {"bits", 0, "of the codes of a clip or picture"},
    [RATE] = {"bits_per_second", 1, "bits over frames / frame rate; null for pictures"},
};
static const char *const PERCEPTUAL_HOW =
    "SqueezeNet v1.1 features (relu1, fire2..fire9), channels of unit length, squared difference, "
    "mean over positions, sum over layers (LPIPS with all weights 1); mean over frames";
static const char *const PERCEPTUAL_ABSENT =
    "not measured: needs the weights of SqueezeNet v1.1 (--perceptual squeezenet_v1.1.safetensors)";

/* What stands beside the original; codes stay empty with --against. */
static int make_other(rlm_eval_job *j, const rlm_eval_item *item, const rlm_clip *clip,
                      rlm_codes *codes, rlm_clip *out, rlm_error *err)
{
    if (item->pair)
        return rlm_eval_read(&j->list, j->o, item, true, out, err);
    RLM_TRY(rlm_encode(j->session, clip, codes, NULL, err));
    if (j->search)
        RLM_TRY(rlm_search_frames(j->search, &clip->video, codes, err));
    return rlm_decode(j->session, codes, NULL, out, err);
}

static int measure_video(rlm_eval_job *j, const rlm_frames *a, const rlm_frames *b, double *v,
                         rlm_error *err)
{
    rlm_structure s;
    RLM_TRY(rlm_structure_score(j->par, a, b, &s, err));
    v[PSNR] = rlm_psnr(a, b);
    v[SSIM] = s.ssim;
    v[MS_SSIM] = s.ms_ssim;
    v[FLICKER] = rlm_flicker(a, b);
    v[PERCEPTUAL] = NAN;
    return j->perceptual ? rlm_perceptual_score(j->perceptual, a, b, &v[PERCEPTUAL], err) : 0;
}

static int same_size(const rlm_eval_item *item, const rlm_frames *a, const rlm_frames *b,
                     rlm_error *err)
{
    if (a->count == b->count && a->height == b->height && a->width == b->width)
        return 0;
    return rlm_fail(err, RLM_E_MEDIA, "%s: has %d frames of %dx%d, %s has %d of %dx%d", item->name,
                    a->count, a->width, a->height, item->pair ? item->pair : "its decoding",
                    b->count, b->width, b->height);
}

int rlm_eval_video_judge(rlm_eval_job *j, int index, const rlm_clip *clip, rlm_error *err)
{
    const rlm_eval_item *item = &j->list.items[index];
    rlm_codes codes = {0};
    rlm_clip other = {0};
    double v[RLM_MEASURES];
    int code = make_other(j, item, clip, &codes, &other, err);
    const rlm_frames *a = &clip->video, *b = &other.video;
    if (!code)
        code = same_size(item, a, b, err);
    if (!code)
        code = measure_video(j, a, b, v, err);
    if (!code) {
        int64_t bits = codes.count * j->bits.bits;
        v[BITS] = item->pair ? (item->bytes < 0 ? NAN : 8.0 * (double)item->bytes) : (double)bits;
        v[RATE] = a->count > 1 ? v[BITS] * a->fps_num / a->fps_den / a->count : NAN;
        rlm_tally_add(&j->tally, item->name, item->label, v, j->items);
    }
    if (!code && codes.count)
        code = rlm_bit_use_add(&j->bits, &codes, err);
    if (!code && j->o->sheet && rlm_eval_shown(j, index))
        code = rlm_eval_sheet_add(&j->sheet, a, b, err);
    if (!code && j->o->keep)
        code = rlm_eval_keep(j->o->keep, "originals", item, false, clip, err);
    if (!code && j->o->keep)
        code = rlm_eval_keep(j->o->keep, "coded", item, false, &other, err);
    rlm_codes_free(&codes);
    rlm_clip_free(&other);
    return code;
}

int rlm_eval_video_open(rlm_eval_job *j, rlm_error *err)
{
    const char *path = j->o->perceptual;
    memcpy(j->measures, video_measures, sizeof video_measures);
    j->measures[PERCEPTUAL].how = path ? PERCEPTUAL_HOW : PERCEPTUAL_ABSENT;
    j->tally.measure_count = VIDEO_MEASURES;
    if (!path)
        rlm_logf(&j->log, 1, "perceptual distance: %s", PERCEPTUAL_ABSENT);
    if (j->session) {
        RLM_TRY(rlm_session_need(j->session, RLM_PART_VIDEO, err));
        j->bits.bits = j->engine->model.video_config.bits;
    }
    return path ? rlm_perceptual_open(&j->perceptual, path, j->par, err) : 0;
}

const char *rlm_eval_video_protocol(const rlm_eval_options *o)
{
    return o->native ? "own size and rate, at most 256 frames"
                     : "17 frames at 8 fps by nearest timestamp, the last one held when there are "
                       "fewer; shorter side scaled to 128 (bicubic), middle 128x128; pictures: one "
                       "frame; folders of PNG frames as they are";
}
