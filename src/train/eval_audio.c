/* Evaluation of the audio codec, or of other codecs' sound. */
#include <math.h>
#include <string.h>

#include "src/pipeline.h"
#include "src/train/audio_train.h"
#include "src/train/eval.h"

enum { SI_SDR, LOG_MEL, STFT, SECONDS, BITS, RATE, AUDIO_MEASURES };
static const double LENGTH_TOLERANCE_S = 0.5;
static const rlm_measure audio_measures[AUDIO_MEASURES] = {
    [SI_SDR] = {"si_sdr", 3,
                "dB, scale-invariant (Le Roux 2019), the mean is not removed; null when the "
                "original is silent"},
    [LOG_MEL] = {"log_mel", 3,
                 "dB, mean absolute difference of 80 mel levels (HTK, 0 Hz to half the rate), Hann "
                 "1024, hop 256, floor -80 dB of a full sine"},
    [STFT] = {"stft", 4,
              "multi-resolution STFT (Yamamoto 2020): Hann 256, 512, 1024, 2048, hop a quarter; "
              "spectral convergence + mean |difference of natural logarithms|, floor -80 dB; mean "
              "over the windows"},
    [SECONDS] = {"seconds", 3, "length compared"},
    [BITS] = {"bits", 0, "of the codes of a file"},
    [RATE] = {"bits_per_second", 1, "bits over seconds"},
};

const char *rlm_eval_audio_protocol(const rlm_eval_options *o)
{
    (void)o;
    return "whole files, 16 kHz mono; both cut to the shorter when lengths differ by at most 0.5 s";
}

int rlm_eval_audio_open(rlm_eval_job *j, rlm_error *err)
{
    memcpy(j->measures, audio_measures, sizeof audio_measures);
    j->tally.measure_count = AUDIO_MEASURES;
    RLM_TRY(rlm_ears_open(&j->ears, RLM_EVAL_RATE, j->par, err));
    if (!j->session)
        return 0;
    RLM_TRY(rlm_session_need(j->session, RLM_PART_AUDIO, err));
    const rlm_audio_config *c = &j->engine->model.audio_config;
    if (c->rate != RLM_EVAL_RATE)
        return rlm_fail(err, RLM_E_UNSUPPORTED,
                        "evaluation: the codec's rate is %d Hz, the "
                        "protocol's %d Hz",
                        c->rate, RLM_EVAL_RATE);
    if (j->o->levels > c->levels)
        return rlm_fail(err, RLM_E_RANGE, "evaluation: %d levels are wanted, the codec has %d",
                        j->o->levels, c->levels);
    j->use.levels = j->o->levels ? j->o->levels : c->levels;
    j->use.codes = c->codes;
    return 0;
}

/* The coded side. codes: only the levels that were decoded; empty with --against. */
static int make_other(rlm_eval_job *j, const rlm_eval_item *item, const rlm_clip *clip,
                      rlm_codes *codes, rlm_clip *out, rlm_error *err)
{
    if (item->pair)
        return rlm_eval_read(&j->list, j->o, item, true, out, err);
    RLM_TRY(rlm_encode(j->session, clip, NULL, codes, err));
    if (j->search)
        RLM_TRY(rlm_search_pcm(j->search, &clip->audio, codes, err));
    codes->dims[0] = j->use.levels; /* level-major: the first levels stand in front */
    codes->count = (int64_t)codes->dims[0] * codes->dims[1];
    return rlm_decode(j->session, NULL, codes, out, err);
}

static void measure(rlm_eval_job *j, int64_t n, const float *a, const float *b, double *v)
{
    rlm_heard heard;
    double energy = 0;
    rlm_ears_score(j->ears, n, a, b, &heard);
    for (int64_t i = 0; i < n; i++)
        energy += (double)a[i] * a[i];
    v[SI_SDR] = energy > 0 ? rlm_si_sdr(n, a, b) : NAN;
    v[LOG_MEL] = heard.log_mel;
    v[STFT] = heard.stft;
    v[SECONDS] = (double)n / RLM_EVAL_RATE;
}

static int compare(rlm_eval_job *j, int index, const rlm_clip *clip, const rlm_clip *other,
                   const rlm_codes *codes, rlm_error *err)
{
    const rlm_eval_item *item = &j->list.items[index];
    const rlm_pcm *a = &clip->audio, *b = &other->audio;
    int64_t n = a->count < b->count ? a->count : b->count;
    double v[RLM_MEASURES], apart = fabs((double)(a->count - b->count)) / RLM_EVAL_RATE;
    if (n < 1 || apart > LENGTH_TOLERANCE_S)
        return rlm_fail(err, RLM_E_MEDIA, "%s: is %.3f s long, %s %.3f s", item->name,
                        (double)a->count / RLM_EVAL_RATE, item->pair ? item->pair : "its decoding",
                        (double)b->count / RLM_EVAL_RATE);
    measure(j, n, a->samples, b->samples, v);
    double each = log2(j->use.codes ? j->use.codes : 1);
    v[BITS] = item->pair ? (item->bytes < 0 ? NAN : 8.0 * (double)item->bytes)
                         : (double)codes->count * each;
    v[RATE] = v[BITS] / v[SECONDS];
    rlm_tally_add(&j->tally, item->name, item->label, v, j->items);
    if (j->o->sheet && rlm_eval_shown(j, index))
        RLM_TRY(rlm_ears_show(j->ears, &j->sheet, n, a->samples, b->samples, err));
    return codes->count ? rlm_code_use_add(&j->use, codes, err) : 0;
}

int rlm_eval_audio_judge(rlm_eval_job *j, int index, const rlm_clip *clip, rlm_error *err)
{
    const rlm_eval_item *item = &j->list.items[index];
    rlm_codes codes = {0};
    rlm_clip other = {0};
    int code = make_other(j, item, clip, &codes, &other, err);
    if (!code)
        code = compare(j, index, clip, &other, &codes, err);
    if (!code && j->o->keep)
        code = rlm_eval_keep(j->o->keep, "originals", item, true, clip, err);
    if (!code && j->o->keep)
        code = rlm_eval_keep(j->o->keep, "coded", item, true, &other, err);
    rlm_codes_free(&codes);
    rlm_clip_free(&other);
    return code;
}
