/* Sound files through libsndfile, in and out, over the room's own bytes (no file names). */
#include "src/media/media.h"

#include <math.h>
#include <sndfile.h>
#include <string.h>

#include "src/base/mem.h"

enum { SOUND_BLOCK = 4096 };

/* ---- Reading --------------------------------------------------------------------------------- */

static sf_count_t source_length(void *cookie)
{
    return ((rlm_source *)cookie)->bytes;
}

static sf_count_t source_seek(sf_count_t offset, int whence, void *cookie)
{
    rlm_source *s = cookie;
    int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? s->at : s->bytes;
    return rlm_source_seek(s, base + offset);
}

static sf_count_t source_read(void *to, sf_count_t bytes, void *cookie)
{
    int64_t got = rlm_source_read(cookie, to, bytes);
    return got < 0 ? 0 : got;
}

static sf_count_t source_write(const void *from, sf_count_t bytes, void *cookie)
{
    (void)from, (void)bytes, (void)cookie;
    return 0;
}

static sf_count_t source_tell(void *cookie)
{
    return ((rlm_source *)cookie)->at;
}

int rlm_audio_file_knows(rlm_source *s)
{
    char head[12] = {0};
    rlm_source_seek(s, 0);
    int64_t got = rlm_source_read(s, head, sizeof head);
    rlm_source_seek(s, 0);
    if (got < (int64_t)sizeof head)
        return 0;
    /* Ogg is left to libav: libsndfile 1.2.0 leaks when an Ogg file is damaged */
    return !memcmp(head, "fLaC", 4) ||
           ((!memcmp(head, "RIFF", 4) || !memcmp(head, "RF64", 4)) && !memcmp(head + 8, "WAVE", 4));
}

/* Blocks of the open file into s, from `start` on, until s is full. */
static int audio_file_blocks(SNDFILE *file, const SF_INFO *info, double start, rlm_sound *s,
                             rlm_error *err)
{
    int64_t first = (int64_t)(start * info->samplerate + 0.5);
    if (first > 0 && (!info->seekable || sf_seek(file, first, SEEK_SET) < 0))
        return rlm_fail(err, RLM_E_MEDIA, "%s: ends before the wanted start of %g s", s->name,
                        start);
    size_t bytes = sizeof(float) * SOUND_BLOCK * (size_t)info->channels;
    float *block = rlm_alloc(bytes);
    if (!block)
        return rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", s->name);
    int code = 0;
    while (!code && !rlm_sound_full(s)) {
        sf_count_t got = sf_readf_float(file, block, SOUND_BLOCK);
        if (got <= 0)
            break;
        const uint8_t *planes[1] = {(const uint8_t *)block};
        code = rlm_sound_push(s, planes, (int)got, AV_SAMPLE_FMT_FLT, info->samplerate,
                              info->channels, NULL, err);
    }
    rlm_free(block);
    if (!code)
        code = rlm_sound_push(s, NULL, 0, 0, 0, 0, NULL, err);
    if (!code && !s->pcm.count)
        code = rlm_fail(err, RLM_E_MEDIA, "%s: holds no sound", s->name);
    return code;
}

int rlm_audio_file_read(rlm_source *source, const rlm_want *want, rlm_sound *s, char **metadata,
                        rlm_error *err)
{
    SF_VIRTUAL_IO io = {source_length, source_seek, source_read, source_write, source_tell};
    SF_INFO info = {0};
    SNDFILE *file = sf_open_virtual(&io, SFM_READ, &info, source);
    if (!file)
        return rlm_fail(err, RLM_E_MEDIA, "%s: %s", s->name, sf_strerror(NULL));
    if (info.channels < 1 || info.channels > RLM_SOUND_CHANNELS || info.samplerate < 1000 ||
        info.samplerate > RLM_SOUND_RATE) {
        sf_close(file);
        return rlm_fail(err, RLM_E_MEDIA, "%s: sound of %d Hz and %d channels is not supported",
                        s->name, info.samplerate, info.channels);
    }
    int rate = want->rate ? want->rate : info.samplerate;
    s->limit = (int64_t)ceil(want->max_seconds * rate);
    int code = audio_file_blocks(file, &info, want->start_s, s, err);
    if (!code && !rlm_sound_full(s))
        rlm_warn_cut_off(want, s->name, want->start_s + (double)s->pcm.count / s->pcm.rate,
                         (double)info.frames / info.samplerate);
    if (!code)
        *metadata = rlm_metadata_copy(sf_get_string(file, SF_STR_COMMENT));
    sf_close(file);
    return code;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static sf_count_t sink_length(void *cookie)
{
    return ((rlm_sink *)cookie)->bytes;
}

static sf_count_t sink_seek(sf_count_t offset, int whence, void *cookie)
{
    rlm_sink *s = cookie;
    int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? s->at : s->bytes;
    return rlm_sink_seek(s, base + offset);
}

static sf_count_t sink_read(void *to, sf_count_t bytes, void *cookie)
{
    rlm_sink *s = cookie;
    int64_t got = s->bytes - s->at < bytes ? s->bytes - s->at : bytes;
    if (got <= 0)
        return 0;
    memcpy(to, s->data + s->at, (size_t)got);
    s->at += got;
    return got;
}

static sf_count_t sink_write(const void *from, sf_count_t bytes, void *cookie)
{
    return rlm_sink_write(cookie, from, bytes);
}

static sf_count_t sink_tell(void *cookie)
{
    return ((rlm_sink *)cookie)->at;
}

int rlm_audio_file_write(rlm_sink *sink, const char *format, const rlm_pcm *pcm,
                         const char *metadata, rlm_error *err)
{
    SF_VIRTUAL_IO io = {sink_length, sink_seek, sink_read, sink_write, sink_tell};
    SF_INFO info = {.samplerate = pcm->rate, .channels = pcm->channels};
    info.format = !strcmp(format, "flac")  ? SF_FORMAT_FLAC | SF_FORMAT_PCM_16
                  : !strcmp(format, "ogg") ? SF_FORMAT_OGG | SF_FORMAT_VORBIS
                                           : SF_FORMAT_WAV | SF_FORMAT_PCM_16;
    if (!sf_format_check(&info))
        return rlm_fail(err, RLM_E_MEDIA, "%s cannot hold %d channels at %d Hz", format,
                        pcm->channels, pcm->rate);
    SNDFILE *file = sf_open_virtual(&io, SFM_WRITE, &info, sink);
    if (!file)
        return rlm_fail(err, RLM_E_MEDIA, "%s: %s", format, sf_strerror(NULL));
    sf_command(file, SFC_SET_CLIPPING, NULL, SF_TRUE);
    if (metadata)
        sf_set_string(file, SF_STR_COMMENT, metadata);
    int64_t done = 0;
    while (done < pcm->count) {
        int64_t n = pcm->count - done < SOUND_BLOCK ? pcm->count - done : SOUND_BLOCK;
        if (sf_writef_float(file, pcm->samples + done * pcm->channels, n) != n)
            break;
        done += n;
    }
    if (sf_close(file) || done < pcm->count || sink->failed)
        return rlm_fail(err, sink->failed ? RLM_E_NOMEM : RLM_E_MEDIA,
                        "%s: only %lld of %lld samples could be encoded", format, (long long)done,
                        (long long)pcm->count);
    return 0;
}
