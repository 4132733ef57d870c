/* PNG, y4m and GIF. */
#include "src/media/media.h"

#include <libavutil/crc.h>
#include <libavutil/intreadwrite.h>
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"

/* ---- PNG ------------------------------------------------------------------------------------- */

/* JSON with every non-ASCII character as \uXXXX: a tEXt chunk is Latin-1. Heap; NULL: no memory. */
static char *json_ascii(const char *json)
{
    size_t n = strlen(json), used = 0;
    char *out = rlm_alloc(rlm_size_add(rlm_size_mul(n, 6), 1));
    if (!out)
        return NULL;
    for (size_t i = 0; i < n;) {
        const uint8_t *p = (const uint8_t *)json + i;
        int more = p[0] < 0x80 ? 0 : p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : p[0] >= 0xc0 ? 1 : -1;
        uint32_t code = more <= 0 ? p[0] : (uint32_t)p[0] & (0x3fu >> more);
        int k = 1;
        for (; k <= more && (p[k] & 0xc0) == 0x80; k++)
            code = code << 6 | (p[k] & 0x3fu);
        if (more < 0 || k <= more)
            code = 0xfffd;
        i += (size_t)k;
        if (code < 0x80)
            out[used++] = (char)code;
        else if (code < 0x10000)
            used += (size_t)snprintf(out + used, 7, "\\u%04x", (unsigned)code);
        else
            used += (size_t)snprintf(out + used, 13, "\\u%04x\\u%04x",
                                     (unsigned)(0xd800 + ((code - 0x10000) >> 10)),
                                     (unsigned)(0xdc00 + (code & 0x3ff)));
    }
    out[used] = 0;
    return out;
}

/* gap: zeros between the key's own and the text: iTXt has four empty fields there. */
static void png_chunk(rlm_sink *sink, const char *type, const char *name, int gap, const char *text)
{
    uint8_t head[8], tail[4];
    char key[80] = {0};
    snprintf(key, sizeof key - 8, "%s", name);
    size_t key_bytes = strlen(key) + 1 + (size_t)gap, bytes = strlen(text);
    AV_WB32(head, (uint32_t)(key_bytes + bytes));
    memcpy(head + 4, type, 4);
    const AVCRC *table = av_crc_get_table(AV_CRC_32_IEEE_LE);
    uint32_t crc = av_crc(table, ~0u, head + 4, 4);
    crc = av_crc(table, crc, (const uint8_t *)key, key_bytes);
    crc = av_crc(table, crc, (const uint8_t *)text, bytes);
    AV_WB32(tail, ~crc);
    rlm_sink_write(sink, head, sizeof head);
    rlm_sink_write(sink, key, (int64_t)key_bytes);
    rlm_sink_write(sink, text, (int64_t)bytes);
    rlm_sink_write(sink, tail, sizeof tail);
}

/* packet: a whole PNG file; metadata goes behind its IHDR chunk. */
static int png_land(rlm_sink *sink, const AVPacket *packet, const char *metadata, int origin,
                    rlm_error *err)
{
    enum { SIGNATURE_AND_IHDR = 33 };
    if (packet->size < SIGNATURE_AND_IHDR)
        return rlm_fail(err, RLM_E_INTERNAL, "the PNG encoder gave %d bytes", packet->size);
    rlm_sink_write(sink, packet->data, SIGNATURE_AND_IHDR);
    if (metadata) {
        char *ascii = json_ascii(metadata);
        if (!ascii)
            return rlm_fail(err, RLM_E_NOMEM, "no memory for the metadata of a PNG file");
        png_chunk(sink, "tEXt", "reelm", 0, ascii);
        png_chunk(sink, "tEXt", "Comment", 0, ascii);
        rlm_free(ascii);
    }
    if (origin) {
        char xmp[RLM_XMP_ROOM];
        rlm_xmp_packet(origin, xmp);
        png_chunk(sink, "iTXt", "XML:com.adobe.xmp", 4, xmp);
    }
    rlm_sink_write(sink, packet->data + SIGNATURE_AND_IHDR, packet->size - SIGNATURE_AND_IHDR);
    return sink->failed ? rlm_fail(err, RLM_E_NOMEM, "no memory for a PNG file") : 0;
}

int rlm_png_write(rlm_sink *sink, const rlm_frames *f, int index, const char *metadata, int origin,
                  rlm_error *err)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_PNG);
    if (!codec)
        return rlm_fail(err, RLM_E_UNSUPPORTED, "this libavcodec has no PNG encoder");
    AVCodecContext *c = avcodec_alloc_context3(codec);
    AVFrame *frame = rlm_frame_new(AV_PIX_FMT_RGB24, f->width, f->height);
    AVPacket *packet = av_packet_alloc();
    int code = c && frame && packet ? 0 : AVERROR(ENOMEM);
    if (!code) {
        c->width = f->width;
        c->height = f->height;
        c->pix_fmt = AV_PIX_FMT_RGB24;
        c->time_base = (AVRational){1, 1};
        c->thread_count = 1;
        code = avcodec_open2(c, codec, NULL);
    }
    if (code >= 0) {
        rlm_frame_fill(frame, f, index);
        code = avcodec_send_frame(c, frame);
    }
    if (code >= 0)
        code = avcodec_receive_packet(c, packet);
    int result = code < 0 ? rlm_av_fail(err, "PNG", "encoding", code)
                          : png_land(sink, packet, metadata, origin, err);
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&c);
    return result;
}

/* ---- y4m: 4:4:4, so that a pipe to another program loses no colour --------------------------- */

int rlm_y4m_write(rlm_sink *sink, const rlm_frames *f, rlm_error *err)
{
    char head[128];
    int n =
        snprintf(head, sizeof head, "YUV4MPEG2 W%d H%d F%d:%d Ip A1:1 C444 XCOLORRANGE=LIMITED\n",
                 f->width, f->height, f->fps_num, f->fps_den);
    rlm_sink_write(sink, head, n);
    AVFrame *rgb = rlm_frame_new(AV_PIX_FMT_RGB24, f->width, f->height);
    AVFrame *frame = rlm_frame_new(AV_PIX_FMT_YUV444P, f->width, f->height);
    struct SwsContext *sws =
        sws_getContext(f->width, f->height, AV_PIX_FMT_RGB24, f->width, f->height,
                       AV_PIX_FMT_YUV444P, SWS_BICUBIC | SWS_ACCURATE_RND, NULL, NULL, NULL);
    int ok = rgb && frame && sws;
    if (ok) /* y4m has no tag for the matrix: others take Rec. 601 at any size */
        rlm_colour_details(sws, SWS_CS_ITU601, 1, 0, 1);
    for (int i = 0; ok && i < f->count && !sink->failed; i++) {
        rlm_frame_fill(rgb, f, i);
        ok = sws_scale(sws, (const uint8_t *const *)rgb->data, rgb->linesize, 0, f->height,
                       frame->data, frame->linesize) > 0;
        rlm_sink_write(sink, "FRAME\n", 6);
        for (int p = 0; ok && p < 3; p++)
            for (int y = 0; y < f->height; y++)
                rlm_sink_write(sink, frame->data[p] + (ptrdiff_t)y * frame->linesize[p], f->width);
    }
    sws_freeContext(sws);
    av_frame_free(&rgb);
    av_frame_free(&frame);
    if (!ok || sink->failed)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %d frames of %dx%d", f->count, f->width,
                        f->height);
    return 0;
}
