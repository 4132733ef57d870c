/* What a media file is, as one JSON object. */
#include "src/media/media.h"

#include <libavutil/display.h>
#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/base/mem.h"

enum { PROBE_LIMIT = 1 << 30, PROBE_MAX_TAG = 4096 };

static void probe_number(cJSON *to, const char *key, double value)
{
    cJSON_AddNumberToObject(to, key, value);
}

/* Tags come from strangers: UTF-8 is repaired by leaving the bytes out that are none. */
static void probe_text(cJSON *to, const char *key, const char *text)
{
    char clean[PROBE_MAX_TAG];
    size_t n = 0;
    for (const uint8_t *p = (const uint8_t *)text; *p && n + 5 < sizeof clean;) {
        int more = *p < 0x80                 ? 0
                   : *p >= 0xf0 && *p < 0xf5 ? 3
                   : *p >= 0xe0 && *p < 0xf0 ? 2
                   : *p >= 0xc2 && *p < 0xe0 ? 1
                                             : -1;
        int k = 1;
        while (k <= more && (p[k] & 0xc0) == 0x80)
            k++;
        if (more >= 0 && k == more + 1) {
            memcpy(clean + n, p, (size_t)k);
            n += (size_t)k;
        }
        p += k;
    }
    clean[n] = 0;
    cJSON_AddStringToObject(to, key, clean);
}

/* still: the picture, which knows its own turn; or NULL. */
static int probe_rotation(const AVStream *st, const AVFrame *still)
{
    size_t bytes = 0;
    const uint8_t *m = av_stream_get_side_data(st, AV_PKT_DATA_DISPLAYMATRIX, &bytes);
    int turn = rlm_turn_from_matrix(bytes >= 36 ? (const int32_t *)m : NULL);
    turn = still ? rlm_turn_of_frame(still, turn) : turn;
    if (turn & RLM_TURN_SWAP)
        return turn & RLM_TURN_FLIP_X ? 90 : 270; /* clockwise, to be looked at */
    return turn & RLM_TURN_FLIP_Y ? 180 : 0;
}

static void probe_video(cJSON *to, const AVStream *st, const AVFrame *still)
{
    const AVCodecParameters *par = st->codecpar;
    const char *format = av_get_pix_fmt_name(par->format);
    probe_number(to, "width", par->width);
    probe_number(to, "height", par->height);
    if (format)
        cJSON_AddStringToObject(to, "pixel_format", format);
    AVRational rate = st->avg_frame_rate, sar = st->sample_aspect_ratio;
    if (sar.num <= 0)
        sar = par->sample_aspect_ratio;
    if (rate.num > 0 && rate.den > 0) {
        probe_number(to, "fps_num", rate.num);
        probe_number(to, "fps_den", rate.den);
        probe_number(to, "fps", av_q2d(rate));
    }
    if (sar.num > 0 && sar.den > 0 && sar.num != sar.den) {
        probe_number(to, "aspect_num", sar.num);
        probe_number(to, "aspect_den", sar.den);
    }
    probe_number(to, "rotation", probe_rotation(st, still));
    if (st->nb_frames > 0)
        probe_number(to, "frames", (double)st->nb_frames);
    cJSON_AddBoolToObject(to, "cover_art", !!(st->disposition & AV_DISPOSITION_ATTACHED_PIC));
}

static cJSON *probe_stream(const rlm_input *in, int i, const AVFrame *still)
{
    const AVStream *st = in->fmt->streams[i];
    const AVCodecParameters *par = st->codecpar;
    const char *type = av_get_media_type_string(par->codec_type);
    cJSON *to = cJSON_CreateObject();
    if (!to)
        return NULL;
    cJSON_AddStringToObject(to, "type", type ? type : "unknown");
    cJSON_AddStringToObject(to, "codec", avcodec_get_name(par->codec_id));
    if (st->duration != AV_NOPTS_VALUE && st->duration > 0)
        probe_number(to, "seconds", (double)st->duration * av_q2d(st->time_base));
    if (par->codec_type == AVMEDIA_TYPE_VIDEO)
        probe_video(to, st, i == in->video ? still : NULL);
    if (par->codec_type == AVMEDIA_TYPE_AUDIO) {
        probe_number(to, "rate", par->sample_rate);
        probe_number(to, "channels", par->ch_layout.nb_channels);
    }
    cJSON_AddBoolToObject(to, "used", i == in->video || i == in->sound);
    return to;
}

/* Our own metadata as an object under "metadata", other tags as texts under "tags". */
static void probe_tags(cJSON *to, const rlm_input *in)
{
    const AVDictionaryEntry *e = NULL;
    cJSON *tags = cJSON_AddObjectToObject(to, "tags");
    while (tags && (e = av_dict_get(in->fmt->metadata, "", e, AV_DICT_IGNORE_SUFFIX)) != NULL) {
        char *own = strcmp(e->key, "comment") && strcmp(e->key, "COMMENT")
                        ? NULL
                        : rlm_metadata_copy(e->value);
        cJSON *object = own ? cJSON_Parse(own) : NULL;
        if (!object)
            probe_text(tags, e->key, e->value);
        else if (!cJSON_AddItemToObject(to, "metadata", object))
            cJSON_Delete(object);
        rlm_free(own);
    }
}

static char *probe_print(const rlm_input *in)
{
    rlm_want plain;
    cJSON *root = cJSON_CreateObject(), *streams = NULL;
    if (!root)
        return NULL;
    rlm_want_defaults(&plain);
    AVFrame *still = rlm_input_still(in, plain.max_pixels);
    probe_text(root, "file", in->source->name);
    cJSON_AddStringToObject(root, "container", in->fmt->iformat->name);
    probe_number(root, "bytes", (double)in->source->bytes);
    if (in->fmt->duration != AV_NOPTS_VALUE && in->fmt->duration > 0)
        probe_number(root, "seconds", (double)in->fmt->duration / AV_TIME_BASE);
    if (in->fmt->start_time != AV_NOPTS_VALUE)
        probe_number(root, "start", (double)in->fmt->start_time / AV_TIME_BASE);
    cJSON_AddBoolToObject(root, "still", in->still);
    streams = cJSON_AddArrayToObject(root, "streams");
    for (unsigned i = 0; streams && i < in->fmt->nb_streams; i++)
        cJSON_AddItemToArray(streams, probe_stream(in, (int)i, still)); /* NULL: left out */
    av_frame_free(&still);
    int w, h;
    rlm_input_true_size(in, &w, &h);
    if (w) {
        probe_number(root, "true_width", w);
        probe_number(root, "true_height", h);
    }
    probe_tags(root, in);
    char *printed = cJSON_Print(root), *text = rlm_strdup(printed ? printed : "");
    int whole = printed && *printed;
    cJSON_free(printed);
    cJSON_Delete(root);
    if (!whole) {
        rlm_free(text);
        text = NULL;
    }
    return text;
}

typedef struct opened {
    rlm_source source;
    rlm_input input;
} opened;

/* On failure nothing stays open. */
static int open_file(opened *o, const char *path, rlm_error *err)
{
    rlm_want plain;
    rlm_want_defaults(&plain);
    RLM_TRY(rlm_source_open(&o->source, path, PROBE_LIMIT, err));
    int code = rlm_input_open(&o->input, &o->source, plain.max_pixels, err);
    if (code)
        rlm_source_close(&o->source);
    return code;
}

static void close_file(opened *o)
{
    rlm_input_close(&o->input);
    rlm_source_close(&o->source);
}

int rlm_media_probe(const char *path, char **json, rlm_error *err)
{
    opened o;
    RLM_TRY(open_file(&o, path, err));
    char *text = probe_print(&o.input);
    int code = text ? 0 : rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", o.source.name);
    if (text)
        *json = text;
    close_file(&o);
    return code;
}

int rlm_media_glance(const char *path, rlm_glance *out, rlm_error *err)
{
    opened o;
    RLM_TRY(open_file(&o, path, err));
    rlm_want plain;
    AVCodecContext *sound = NULL;
    rlm_want_defaults(&plain);
    if (o.input.sound >= 0) /* what has no decoder is left out by reading, too */
        (void)rlm_decoder_open(&sound, &o.input, o.input.sound, plain.max_pixels, NULL);
    AVFrame *still = rlm_input_still(&o.input, plain.max_pixels);
    char *metadata = rlm_input_metadata(&o.input, still);
    *out = (rlm_glance){.has_video = o.input.video >= 0,
                        .has_audio = sound != NULL,
                        .origin = rlm_origin_of_metadata(metadata)};
    rlm_free(metadata);
    av_frame_free(&still);
    avcodec_free_context(&sound);
    close_file(&o);
    return 0;
}
