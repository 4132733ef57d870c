/* GIF: one palette of 255 colours for the whole clip (exact when the clip has no more; else median
 * cut, Heckbert 1982, with an ordered dither that stands still in time), coded by libavcodec. */
#include "src/media/media.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"

enum {
    GIF_COLOURS = 255, /* index 255 is transparent: unchanged pixels cost nothing */
    GIF_BINS = 32768,  /* 5 bits a channel */
    GIF_HASH = 1024,
    GIF_DITHER = 16, /* amplitude of the ordered dither in levels */
    GIF_RATE = 50,   /* pictures a second at most: readers raise delays below 2 hundredths to 10 */
    GIF_IO_BYTES = 65536
};

typedef struct gif_bin {
    uint64_t count, sum[3];
} gif_bin;

typedef struct gif_palette {
    gif_bin bins[GIF_BINS];
    uint16_t order[GIF_BINS]; /* occupied bins, sorted box by box */
    uint8_t nearest[GIF_BINS];
    uint8_t colour[GIF_COLOURS][3];
    int count;
    int exact;               /* 1: the clip has at most GIF_COLOURS colours */
    uint32_t hash[GIF_HASH]; /* colour + 1; 0: empty */
    uint8_t hash_at[GIF_HASH];
} gif_palette;

static unsigned gif_bin_of(const uint8_t *p)
{
    return (unsigned)(p[0] >> 3) << 10 | (unsigned)(p[1] >> 3) << 5 | p[2] >> 3;
}

/* Slot of a colour in the hash: its own, or a free one. */
static unsigned gif_slot(const gif_palette *g, uint32_t colour)
{
    unsigned at = (colour * 2654435761u) >> 22;
    while (g->hash[at] && g->hash[at] != colour + 1)
        at = (at + 1) % GIF_HASH;
    return at;
}

static void gif_count(gif_palette *g, const uint8_t *rgb, size_t pixels)
{
    uint32_t last = ~0u;
    g->exact = 1;
    for (size_t i = 0; i < pixels; i++, rgb += 3) {
        uint32_t colour = (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2];
        gif_bin *b = &g->bins[gif_bin_of(rgb)];
        b->count++;
        for (int c = 0; c < 3; c++)
            b->sum[c] += rgb[c];
        if (!g->exact || colour == last)
            continue;
        last = colour;
        unsigned at = gif_slot(g, colour);
        if (g->hash[at])
            continue;
        if (g->count == GIF_COLOURS) {
            g->exact = 0;
            continue;
        }
        memcpy(g->colour[g->count], rgb, 3);
        g->hash[at] = colour + 1;
        g->hash_at[at] = (uint8_t)g->count++;
    }
}

/* ---- Median cut ------------------------------------------------------------------------------ */

typedef struct gif_box {
    int first, n;    /* in order[] */
    int axis;        /* longest side */
    uint64_t weight; /* pixels times side: which box to cut next */
} gif_box;

static int bin_level(unsigned bin, int axis)
{
    return (int)(bin >> (10 - 5 * axis)) & 31;
}

static void gif_box_measure(const gif_palette *g, gif_box *b)
{
    uint64_t pixels = 0;
    int side = -1;
    for (int axis = 0; axis < 3; axis++) {
        int low = 31, high = 0;
        for (int i = b->first; i < b->first + b->n; i++) {
            int v = bin_level(g->order[i], axis);
            low = v < low ? v : low;
            high = v > high ? v : high;
        }
        if (high - low > side) {
            side = high - low;
            b->axis = axis;
        }
    }
    for (int i = b->first; i < b->first + b->n; i++)
        pixels += g->bins[g->order[i]].count;
    b->weight = pixels * (uint64_t)side;
}

/* Sort a box along its axis (counting sort over 32 levels) and cut it at the median pixel. */
static void gif_box_cut(gif_palette *g, gif_box *b, gif_box *rest, uint16_t *scratch)
{
    int start[33] = {0};
    uint64_t pixels = 0, half = 0;
    for (int i = b->first; i < b->first + b->n; i++) {
        start[bin_level(g->order[i], b->axis) + 1]++;
        pixels += g->bins[g->order[i]].count;
    }
    for (int v = 0; v < 32; v++)
        start[v + 1] += start[v];
    memcpy(scratch, g->order + b->first, (size_t)b->n * sizeof *scratch);
    for (int i = 0; i < b->n; i++)
        g->order[b->first + start[bin_level(scratch[i], b->axis)]++] = scratch[i];
    int cut = 0;
    while (cut < b->n - 1 && half < (pixels + 1) / 2)
        half += g->bins[g->order[b->first + cut++]].count;
    *rest = (gif_box){.first = b->first + cut, .n = b->n - cut};
    b->n = cut;
    gif_box_measure(g, b);
    gif_box_measure(g, rest);
}

static void gif_median_cut(gif_palette *g, uint16_t *scratch)
{
    gif_box boxes[GIF_COLOURS] = {{0}};
    int count = 1;
    for (int i = 0; i < GIF_BINS; i++)
        if (g->bins[i].count)
            g->order[boxes[0].n++] = (uint16_t)i;
    gif_box_measure(g, &boxes[0]);
    while (count < GIF_COLOURS) {
        int best = -1;
        for (int i = 0; i < count; i++)
            if (boxes[i].n > 1 && (best < 0 || boxes[i].weight > boxes[best].weight))
                best = i;
        if (best < 0)
            break;
        gif_box_cut(g, &boxes[best], &boxes[count], scratch);
        count++;
    }
    for (int i = 0; i < count; i++) {
        uint64_t pixels = 0, sum[3] = {0};
        for (int k = boxes[i].first; k < boxes[i].first + boxes[i].n; k++) {
            const gif_bin *b = &g->bins[g->order[k]];
            pixels += b->count;
            for (int c = 0; c < 3; c++)
                sum[c] += b->sum[c];
        }
        for (int c = 0; c < 3; c++)
            g->colour[i][c] = (uint8_t)((sum[c] + pixels / 2) / pixels);
    }
    g->count = count;
    for (int i = 0; i < GIF_BINS; i++) {
        int least = 1 << 30;
        for (int k = 0; k < count; k++) {
            int d = 0;
            for (int c = 0; c < 3; c++) {
                int e = bin_level((unsigned)i, c) * 8 + 4 - g->colour[k][c];
                d += e * e;
            }
            if (d < least) {
                least = d;
                g->nearest[i] = (uint8_t)k;
            }
        }
    }
}

/* ---- Coding ---------------------------------------------------------------------------------- */

/* Ordered dither threshold of (x, y), 0..63 (Bayer 8 x 8 by bit interleaving). */
static int gif_threshold(int x, int y)
{
    int v = 0;
    for (int bit = 0; bit < 3; bit++) {
        v = v << 2 | (((x ^ y) >> bit & 1) << 1) | (y >> bit & 1);
    }
    return v;
}

static void gif_indices(const gif_palette *g, const rlm_frames *f, int index, AVFrame *frame)
{
    const uint8_t *p = f->rgb + (size_t)index * (size_t)f->height * (size_t)f->width * 3;
    uint32_t *palette = (uint32_t *)(void *)frame->data[1];
    memset(palette, 0, 256 * sizeof *palette);
    for (int i = 0; i < g->count; i++)
        palette[i] = 0xff000000u | (uint32_t)g->colour[i][0] << 16 |
                     (uint32_t)g->colour[i][1] << 8 | g->colour[i][2];
    for (int y = 0; y < f->height; y++) {
        uint8_t *to = frame->data[0] + (ptrdiff_t)y * frame->linesize[0];
        for (int x = 0; x < f->width; x++, p += 3) {
            if (g->exact) {
                uint32_t colour = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
                to[x] = g->hash_at[gif_slot(g, colour)];
                continue;
            }
            int shift = (gif_threshold(x, y) - 32) * GIF_DITHER / 64;
            uint8_t q[3];
            for (int c = 0; c < 3; c++) {
                int v = p[c] + shift;
                q[c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
            to[x] = g->nearest[gif_bin_of(q)];
        }
    }
}

/* How many pictures of the clip one shown picture stands for; 1: all are shown. */
static double gif_step(const rlm_frames *f)
{
    double step = (double)f->fps_num / f->fps_den / GIF_RATE;
    return step > 1 ? step : 1;
}

typedef struct gif_mux {
    AVFormatContext *fmt;
    AVIOContext *io;
    AVCodecContext *codec;
    AVFrame *frame;
    AVPacket *packet;
    int header; /* written */
} gif_mux;

static int gif_io_write(void *cookie, uint8_t *data, int bytes)
{
    return rlm_sink_write(cookie, data, bytes) < 0 ? AVERROR(ENOMEM) : bytes;
}

static int gif_open(gif_mux *m, rlm_sink *sink, const rlm_frames *f)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_GIF);
    uint8_t *buffer = av_malloc(GIF_IO_BYTES);
    int code = codec ? avformat_alloc_output_context2(&m->fmt, NULL, "gif", NULL)
                     : AVERROR_ENCODER_NOT_FOUND;
    m->codec = codec ? avcodec_alloc_context3(codec) : NULL;
    m->frame = av_frame_alloc();
    m->packet = av_packet_alloc();
    if (code >= 0 && buffer)
        m->io = avio_alloc_context(buffer, GIF_IO_BYTES, 1, sink, NULL, gif_io_write, NULL);
    if (!m->io)
        av_free(buffer);
    if (code < 0)
        return code;
    if (!m->io || !m->codec || !m->frame || !m->packet)
        return AVERROR(ENOMEM);
    m->fmt->pb = m->io;
    m->fmt->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
    m->codec->width = m->frame->width = f->width;
    m->codec->height = m->frame->height = f->height;
    m->codec->pix_fmt = m->frame->format = AV_PIX_FMT_PAL8;
    AVRational rate = {f->fps_num, f->fps_den}, most = {GIF_RATE, 1};
    rate = gif_step(f) > 1 ? most : rate;
    m->codec->time_base = av_inv_q(rate);
    m->codec->thread_count = 1;
    if ((code = avcodec_open2(m->codec, codec, NULL)) < 0)
        return code;
    AVStream *st = avformat_new_stream(m->fmt, NULL);
    if (!st)
        return AVERROR(ENOMEM);
    st->time_base = m->codec->time_base;
    st->avg_frame_rate = rate;
    if ((code = avcodec_parameters_from_context(st->codecpar, m->codec)) < 0)
        return code;
    code = avformat_write_header(m->fmt, NULL);
    m->header = code >= 0;
    return code;
}

static int gif_code(gif_mux *m, const AVFrame *frame)
{
    int code = avcodec_send_frame(m->codec, frame);
    while (code >= 0) {
        code = avcodec_receive_packet(m->codec, m->packet);
        if (code == AVERROR(EAGAIN) || code == AVERROR_EOF)
            return 0;
        if (code < 0)
            return code;
        m->packet->duration = 1;
        av_packet_rescale_ts(m->packet, m->codec->time_base, m->fmt->streams[0]->time_base);
        code = av_interleaved_write_frame(m->fmt, m->packet);
    }
    return code;
}

static int gif_run(gif_mux *m, rlm_sink *sink, const rlm_frames *f, const gif_palette *g)
{
    int code = gif_open(m, sink, f);
    double step = gif_step(f);
    int count = f->count / step < 1 ? 1 : (int)(f->count / step + 0.5);
    for (int i = 0; code >= 0 && i < count; i++) {
        int nearest = (int)(i * step + 0.5);
        /* a fresh buffer each time: the encoder keeps the last picture to code differences */
        av_frame_unref(m->frame);
        m->frame->width = f->width;
        m->frame->height = f->height;
        m->frame->format = AV_PIX_FMT_PAL8;
        code = av_frame_get_buffer(m->frame, 0);
        if (code >= 0) {
            gif_indices(g, f, nearest < f->count ? nearest : f->count - 1, m->frame);
            m->frame->pts = i;
            code = gif_code(m, m->frame);
        }
    }
    if (code >= 0)
        code = gif_code(m, NULL);
    if (m->header) { /* also after a failure: the trailer frees the packet that the muxer keeps */
        int end = av_write_trailer(m->fmt);
        code = code < 0 ? code : end;
    }
    if (m->io)
        avio_flush(m->io);
    return sink->failed ? AVERROR(ENOMEM) : code;
}

int rlm_gif_write(rlm_sink *sink, const rlm_frames *f, rlm_error *err)
{
    gif_mux m = {0};
    gif_palette *g = rlm_calloc(1, sizeof *g);
    uint16_t *scratch = rlm_alloc(GIF_BINS * sizeof *scratch);
    if (!g || !scratch) {
        rlm_free(g);
        rlm_free(scratch);
        return rlm_fail(err, RLM_E_NOMEM, "no memory for a palette");
    }
    gif_count(g, f->rgb, (size_t)f->count * (size_t)f->height * (size_t)f->width);
    if (!g->exact)
        gif_median_cut(g, scratch);
    int code = gif_run(&m, sink, f, g);
    avcodec_free_context(&m.codec);
    av_frame_free(&m.frame);
    av_packet_free(&m.packet);
    if (m.io)
        av_freep(&m.io->buffer);
    avio_context_free(&m.io);
    avformat_free_context(m.fmt);
    rlm_free(g);
    rlm_free(scratch);
    return code < 0 ? rlm_av_fail(err, "GIF", "encoding", code) : 0;
}
