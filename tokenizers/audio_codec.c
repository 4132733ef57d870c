/* The codec around encoder, quantiser and decoder: configurations, and whole clips in chunks.
 *
 * A chunk is computed together with as many earlier frames as its first frame can see; their
 * results are thrown away. Where the clip itself begins, the zeros in front are those of the whole.
 * So the chunks' results are the whole's, bit for bit, as each output row of a kernel does not
 * depend on how many rows there are. */
#include "tokenizers/audio_net.h"

#include <assert.h>
#include <string.h>

void rlm_audio_config_defaults(rlm_audio_config *c)
{
    *c = (rlm_audio_config){.rate = 16000,
                            .channels = 192,
                            .decoder_channels = 224,
                            .max_channels = 224,
                            .stem = 80,
                            .strides = {4},
                            .stride_count = 1,
                            .window = 512,
                            .synthesis = 3,
                            .middle = 1,
                            .units = 3,
                            .unit_kernel = 3,
                            .dim = 64,
                            .levels = 4,
                            .codes = 1024,
                            .beam = 1};
}

void rlm_audio_config_tiny(rlm_audio_config *c)
{
    *c = (rlm_audio_config){.rate = 16000,
                            .channels = 16,
                            .decoder_channels = 24,
                            .max_channels = 24,
                            .stem = 40,
                            .strides = {4, 2},
                            .stride_count = 2,
                            .window = 64,
                            .synthesis = 3,
                            .middle = 1,
                            .units = 2,
                            .unit_kernel = 3,
                            .dim = 16,
                            .levels = 4,
                            .codes = 64,
                            .beam = 1};
}

void rlm_audio_config_paper(rlm_audio_config *c)
{
    *c = (rlm_audio_config){.rate = 16000,
                            .channels = 32,
                            .decoder_channels = 32,
                            .stem = 1,
                            .strides = {2, 4, 5, 8},
                            .stride_count = 4,
                            .units = 3,
                            .unit_kernel = 3,
                            .dim = 256,
                            .levels = 4,
                            .codes = 1024,
                            .beam = 1};
}

static int check_range(const char *name, int value, int low, int high, rlm_error *err)
{
    if (value >= low && value <= high)
        return 0;
    return rlm_fail(err, RLM_E_RANGE, "audio: %s is %d, allowed %d to %d", name, value, low, high);
}

int rlm_audio_config_check(const rlm_audio_config *c, rlm_error *err)
{
    RLM_TRY(check_range("rate", c->rate, 1000, 192000, err));
    RLM_TRY(check_range("channels", c->channels, 1, 1024, err));
    RLM_TRY(check_range("decoder_channels", c->decoder_channels, 0, 1024, err));
    RLM_TRY(check_range("max_channels", c->max_channels, 0, 16384, err));
    RLM_TRY(check_range("stem", c->stem, 1, 320, err));
    RLM_TRY(check_range("stride_count", c->stride_count, 1, RLM_AUDIO_STRIDES, err));
    for (int i = 0; i < c->stride_count; i++)
        RLM_TRY(check_range("strides", c->strides[i], 1, 16, err));
    RLM_TRY(check_range("hop", rlm_audio_hop(c), 1, 4096, err));
    RLM_TRY(check_range("synthesis", c->synthesis, 0, 8, err));
    if (c->synthesis && c->stem * c->synthesis % 2)
        return rlm_fail(err, RLM_E_RANGE, "audio: stem %d x synthesis %d is odd", c->stem,
                        c->synthesis);
    if (c->window &&
        (c->window < 32 || c->window > 1024 || c->window & (c->window - 1) || c->window < c->stem))
        return rlm_fail(
            err, RLM_E_RANGE,
            "audio: window is %d, allowed are powers of two from 32 to 1024, not below stem",
            c->window);
    RLM_TRY(check_range("middle", c->middle, 0, RLM_AUDIO_UNITS, err));
    RLM_TRY(check_range("decoder_middle", c->decoder_middle, 0, RLM_AUDIO_UNITS, err));
    RLM_TRY(check_range("units", c->units, 0, RLM_AUDIO_UNITS, err));
    RLM_TRY(check_range("decoder_units", c->decoder_units, 0, RLM_AUDIO_UNITS, err));
    RLM_TRY(check_range("unit_kernel", c->unit_kernel, 1, 15, err));
    RLM_TRY(check_range("dim", c->dim, 1, 1024, err));
    RLM_TRY(check_range("levels", c->levels, 1, RLM_AUDIO_LEVELS_MAX, err));
    RLM_TRY(check_range("codes", c->codes, 2, 65536, err));
    return check_range("beam", c->beam, 1, RLM_RVQ_BEAM_MAX, err);
}

int rlm_audio_hop(const rlm_audio_config *c)
{
    int hop = c->stem;
    for (int i = 0; i < c->stride_count; i++)
        hop *= c->strides[i];
    return hop;
}

int rlm_audio_new(rlm_audio **out, const rlm_audio_config *c, rlm_params *params, rlm_error *err)
{
    *out = NULL;
    RLM_TRY(rlm_audio_config_check(c, err));
    rlm_audio *a = rlm_calloc(1, sizeof *a);
    if (!a)
        return rlm_fail(err, RLM_E_NOMEM, "audio codec: no memory");
    a->config = *c;
    rlm_audio_encoder_declare(a, params);
    rlm_audio_decoder_declare(a, params);
    int64_t shape[3] = {c->levels, c->codes, c->dim};
    a->books = rlm_params_add(params, "rvq.books", 3, shape, RLM_INIT_NORMAL, 1.0f);
    if (!a->books) {
        rlm_free(a);
        return rlm_fail(err, RLM_E_NOMEM, "audio codec: no memory for its parameters");
    }
    a->encoder_context = rlm_audio_encoder_context(a);
    a->decoder_context = rlm_audio_decoder_context(a);
    int most = a->encoder_context > a->decoder_context ? a->encoder_context : a->decoder_context;
    if (most > RLM_AUDIO_CONTEXT_MAX) {
        rlm_free(a);
        return rlm_fail(err, RLM_E_RANGE, "audio: a frame looks %d frames back, allowed are %d",
                        most, RLM_AUDIO_CONTEXT_MAX);
    }
    *out = a;
    return 0;
}

void rlm_audio_free(rlm_audio **a)
{
    rlm_free(*a);
    *a = NULL;
}

const rlm_audio_config *rlm_audio_get_config(const rlm_audio *a)
{
    return &a->config;
}

rlm_param *rlm_audio_books(const rlm_audio *a)
{
    return a->books;
}

void rlm_audio_contexts(const rlm_audio *a, int *encoder, int *decoder)
{
    *encoder = a->encoder_context;
    *decoder = a->decoder_context;
}

int64_t rlm_audio_frames(const rlm_audio_config *c, int64_t samples)
{
    int64_t hop = rlm_audio_hop(c), frames = (2 * samples + hop - 1) / (2 * hop);
    return frames < 1 ? 1 : frames;
}

/* Codes of frames [at, at + n) from the wave that begins at frame `first` of the clip and is
 * `have` samples long; zeros behind it. ids as in rlm_audio_quantise_rows. */
static void encode_chunk(rlm_run *run, const rlm_audio *a, int64_t at, int64_t n, int64_t first,
                         const float *wave, int64_t have, int32_t *ids, int64_t pitch)
{
    const rlm_audio_config *c = &a->config;
    const rlm_kernels *k = run->k;
    int64_t lead = at < a->encoder_context ? at : a->encoder_context;
    int64_t hop = rlm_audio_hop(c), from = (at - lead - first) * hop, room = (lead + n) * hop;
    have = have - from < room ? have - from : room;
    size_t scope = rlm_scope_open(run);
    rlm_tensor x = rlm_tensor_new5(run, 1, 1, 1, room, 1);
    k->copy(run->par, have, wave + from, rlm_f32(&x));
    k->fill(run->par, room - have, 0.0f, rlm_f32(&x) + have);
    rlm_tensor z = rlm_audio_encode_forward(run, a, &x);
    rlm_audio_quantise_rows(run, a, c->levels, n, rlm_f32(&z) + lead * c->dim, ids, pitch, NULL);
    rlm_scope_close(run, scope);
}

int rlm_audio_encode(rlm_run *run, const rlm_audio *a, const rlm_pcm *pcm, rlm_codes *codes,
                     rlm_error *err)
{
    const rlm_audio_config *c = &a->config;
    if (pcm->count < 1 || pcm->count > INT64_MAX / 64 || pcm->channels != 1 || pcm->rate != c->rate)
        return rlm_fail(err, RLM_E_ARG,
                        "audio codec: %lld samples, %d channels at %d Hz; expected mono at %d Hz",
                        (long long)pcm->count, pcm->channels, pcm->rate, c->rate);
    int64_t frames = rlm_audio_frames(c, pcm->count);
    int32_t *ids = rlm_alloc(rlm_size_mul((size_t)frames, (size_t)c->levels * sizeof(int32_t)));
    if (!ids)
        return rlm_fail(err, RLM_E_NOMEM, "audio codec: no memory for %lld frames of codes",
                        (long long)frames);
    for (int64_t at = 0; at < frames; at += RLM_AUDIO_CHUNK) {
        int64_t n = frames - at < RLM_AUDIO_CHUNK ? frames - at : RLM_AUDIO_CHUNK;
        encode_chunk(run, a, at, n, 0, pcm->samples, pcm->count, ids + at, frames);
    }
    *codes = (rlm_codes){.dims = {c->levels, (int)frames, 1},
                         .count = c->levels * frames,
                         .ids = ids,
                         .true_samples = pcm->count,
                         .rate = c->rate};
    return 0;
}

/* ---- Sound that arrives piece by piece ---- */

struct rlm_audio_encoder {
    rlm_run *run;
    const rlm_audio *audio;
    float *wave;      /* from frame `first` on */
    int64_t held;     /* samples in wave */
    int64_t room;     /* of wave: context and a chunk */
    int64_t first;    /* frame */
    int64_t samples;  /* pushed so far */
    int64_t frames;   /* coded so far */
    int32_t *ids;     /* [frames][levels]: turned when all is known */
    int64_t ids_room; /* frames */
};

int rlm_audio_encoder_open(rlm_audio_encoder **out, rlm_run *run, const rlm_audio *a,
                           rlm_error *err)
{
    rlm_audio_encoder *e = rlm_calloc(1, sizeof *e);
    *out = NULL;
    if (!e)
        return rlm_fail(err, RLM_E_NOMEM, "audio codec: out of memory");
    *e = (rlm_audio_encoder){.run = run, .audio = a};
    e->room = (int64_t)(a->encoder_context + RLM_AUDIO_CHUNK) * rlm_audio_hop(&a->config);
    e->wave = rlm_alloc((size_t)e->room * sizeof *e->wave);
    if (!e->wave) {
        rlm_free(e);
        return rlm_fail(err, RLM_E_NOMEM, "audio codec: out of memory");
    }
    *out = e;
    return 0;
}

void rlm_audio_encoder_close(rlm_audio_encoder **e)
{
    if (!*e)
        return;
    rlm_free((*e)->wave);
    rlm_free((*e)->ids);
    rlm_free(*e);
    *e = NULL;
}

/* The next n frames; what the ones behind them need stays. */
static int encoder_chunk(rlm_audio_encoder *e, int64_t n, rlm_error *err)
{
    const rlm_audio *a = e->audio;
    int levels = a->config.levels;
    int64_t hop = rlm_audio_hop(&a->config);
    int32_t chunk[RLM_AUDIO_CHUNK * RLM_AUDIO_LEVELS_MAX];
    if (e->frames + n > e->ids_room) {
        int64_t room = 2 * (e->frames + n);
        int32_t *grown = rlm_realloc(e->ids, (size_t)(e->ids_room * levels) * sizeof *grown,
                                     rlm_size_mul((size_t)room, (size_t)levels * sizeof *grown));
        if (!grown)
            return rlm_fail(err, RLM_E_NOMEM, "audio codec: no memory for %lld frames of codes",
                            (long long)room);
        e->ids = grown;
        e->ids_room = room;
    }
    encode_chunk(e->run, a, e->frames, n, e->first, e->wave, e->held, chunk, RLM_AUDIO_CHUNK);
    for (int64_t i = 0; i < n; i++)
        for (int level = 0; level < levels; level++)
            e->ids[(e->frames + i) * levels + level] = chunk[level * RLM_AUDIO_CHUNK + i];
    e->frames += n;
    int64_t keep = e->frames - a->encoder_context > 0 ? e->frames - a->encoder_context : 0;
    int64_t drop = (keep - e->first) * hop < e->held ? (keep - e->first) * hop : e->held;
    e->held -= drop;
    e->first = keep;
    memmove(e->wave, e->wave + drop, (size_t)e->held * sizeof *e->wave);
    return 0;
}

int rlm_audio_encoder_push(rlm_audio_encoder *e, int64_t count, const float *samples,
                           rlm_error *err)
{
    int64_t hop = rlm_audio_hop(&e->audio->config);
    while (count > 0) {
        int64_t full = (e->frames + RLM_AUDIO_CHUNK - e->first) * hop;
        int64_t n = full - e->held < count ? full - e->held : count;
        memcpy(e->wave + e->held, samples, (size_t)n * sizeof *samples);
        e->held += n;
        e->samples += n;
        samples += n;
        count -= n;
        if (e->held == full)
            RLM_TRY(encoder_chunk(e, RLM_AUDIO_CHUNK, err));
    }
    return 0;
}

int rlm_audio_encoder_finish(rlm_audio_encoder *e, rlm_codes *codes, rlm_error *err)
{
    const rlm_audio_config *c = &e->audio->config;
    int64_t frames = rlm_audio_frames(c, e->samples);
    if (!e->samples || frames > INT32_MAX)
        return rlm_fail(err, RLM_E_ARG, "audio codec: %lld samples", (long long)e->samples);
    if (e->frames < frames)
        RLM_TRY(encoder_chunk(e, frames - e->frames, err));
    int32_t *ids = rlm_alloc(rlm_size_mul((size_t)frames, (size_t)c->levels * sizeof *ids));
    if (!ids)
        return rlm_fail(err, RLM_E_NOMEM, "audio codec: no memory for %lld frames of codes",
                        (long long)frames);
    for (int64_t i = 0; i < frames; i++)
        for (int level = 0; level < c->levels; level++)
            ids[level * frames + i] = e->ids[i * c->levels + level];
    *codes = (rlm_codes){.dims = {c->levels, (int)frames, 1},
                         .count = c->levels * frames,
                         .ids = ids,
                         .true_samples = e->samples,
                         .rate = c->rate};
    return 0;
}

/* Everything about codes from outside that decoding relies on. */
static int check_codes(const rlm_audio_config *c, const rlm_codes *codes, rlm_error *err)
{
    int levels = codes->dims[0];
    int64_t frames = codes->dims[1];
    if (levels < 1 || levels > c->levels || frames < 1 || codes->dims[2] != 1 || !codes->ids ||
        codes->count != levels * frames)
        return rlm_fail(err, RLM_E_TOKENS, "audio codes are [%d,%d,%d], expected [1..%d,frames,1]",
                        levels, codes->dims[1], codes->dims[2], c->levels);
    if (codes->rate && codes->rate != c->rate)
        return rlm_fail(err, RLM_E_TOKENS, "audio codes are of %d Hz, the codec's rate is %d Hz",
                        codes->rate, c->rate);
    if (codes->true_samples < 0 ||
        (codes->true_samples && rlm_audio_frames(c, codes->true_samples) != frames))
        return rlm_fail(err, RLM_E_TOKENS, "audio codes: %lld frames cannot hold %lld samples",
                        (long long)frames, (long long)codes->true_samples);
    for (int64_t i = 0; i < codes->count; i++)
        if (codes->ids[i] < -1 || codes->ids[i] >= c->codes)
            return rlm_fail(err, RLM_E_TOKENS, "audio code %lld is %d, allowed 0 to %d",
                            (long long)i, codes->ids[i], c->codes - 1);
    return 0;
}

int rlm_audio_codes_check(const rlm_audio *a, const rlm_codes *codes, rlm_error *err)
{
    return check_codes(&a->config, codes, err);
}

void rlm_audio_decode_part(rlm_run *run, const rlm_audio *a, const rlm_codes *codes, int64_t from,
                           int64_t to, float *out)
{
    const rlm_audio_config *c = &a->config;
    int64_t hop = rlm_audio_hop(c), frames = codes->dims[1];
    while (from < to) {
        int64_t at = from / hop, n = (to - 1) / hop + 1 - at;
        n = n < RLM_AUDIO_CHUNK ? n : RLM_AUDIO_CHUNK;
        int64_t lead = at < a->decoder_context ? at : a->decoder_context;
        int64_t end = (at + n) * hop < to ? (at + n) * hop : to;
        size_t scope = rlm_scope_open(run);
        rlm_tensor z = rlm_tensor_new5(run, 1, 1, 1, lead + n, c->dim);
        rlm_audio_dequantise_rows(run, a, codes->dims[0], lead + n, codes->ids + at - lead, frames,
                                  rlm_f32(&z));
        rlm_tensor y = rlm_audio_decode_forward(run, a, &z);
        run->k->copy(run->par, end - from, rlm_f32(&y) + lead * hop + from - at * hop, out);
        rlm_scope_close(run, scope);
        out += end - from;
        from = end;
    }
}

int rlm_audio_decode(rlm_run *run, const rlm_audio *a, const rlm_codes *codes, rlm_pcm *pcm,
                     rlm_error *err)
{
    const rlm_audio_config *c = &a->config;
    RLM_TRY(check_codes(c, codes, err));
    int64_t coded = (int64_t)codes->dims[1] * rlm_audio_hop(c);
    int64_t count = codes->true_samples ? codes->true_samples : coded;
    float *samples = rlm_calloc((size_t)count, sizeof(float));
    if (!samples)
        return rlm_fail(err, RLM_E_NOMEM, "audio codec: no memory for %lld samples",
                        (long long)count);
    rlm_audio_decode_part(run, a, codes, 0, count < coded ? count : coded, samples);
    *pcm = (rlm_pcm){.count = count, .channels = 1, .rate = c->rate, .samples = samples};
    return 0;
}
