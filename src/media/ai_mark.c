/* The mark "made by a model": an XMP packet with IPTC's DigitalSourceType, where containers keep
 * it. https://cv.iptc.org/newscodes/digitalsourcetype/; no C2PA, nothing signed. */
#include "src/media/media.h"

#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"

/* Of "ai_generated" settings: parts of a recording are kept. */
static const char composite_key[] =
    "\"digital_source_type\":\"compositeWithTrainedAlgorithmicMedia\"";

static const char *source_type(int origin)
{
    return origin == RLM_ORIGIN_COMPOSITE
               ? "http://cv.iptc.org/newscodes/digitalsourcetype/"
                 "compositeWithTrainedAlgorithmicMedia"
               : "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";
}

int rlm_xmp_packet(int origin, char out[RLM_XMP_ROOM])
{
    return snprintf(out, RLM_XMP_ROOM,
                    "<?xpacket begin=\"\xEF\xBB\xBF\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n"
                    "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n"
                    " <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n"
                    "  <rdf:Description rdf:about=\"\"\n"
                    "   xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\"\n"
                    "   xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\"\n"
                    "   Iptc4xmpExt:DigitalSourceType=\"%s\"\n"
                    "   xmp:CreatorTool=\"reelm " RLM_VERSION "\"/>\n"
                    " </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end=\"w\"?>",
                    source_type(origin));
}

/* ISO base media: a top-level uuid box (XMP specification, part 3), behind everything else so that
 * no offset moves. */
static void mark_mp4(rlm_sink *sink, const char *xmp, int bytes)
{
    static const uint8_t uuid[16] = {0xBE, 0x7A, 0xCF, 0xCB, 0x97, 0xA9, 0x42, 0xE8,
                                     0x9C, 0x71, 0x99, 0x94, 0x91, 0xE3, 0xAF, 0xAC};
    uint8_t head[8] = {0, 0, 0, 0, 'u', 'u', 'i', 'd'};
    uint32_t size = (uint32_t)bytes + 24;
    for (int i = 0; i < 4; i++)
        head[i] = (uint8_t)(size >> (24 - 8 * i));
    rlm_sink_seek(sink, sink->bytes);
    rlm_sink_write(sink, head, sizeof head);
    rlm_sink_write(sink, uuid, sizeof uuid);
    rlm_sink_write(sink, xmp, bytes);
}

/* GIF: an application extension before the trailer; its packet is no chain of sub-blocks, so 258
 * bytes lead a reader that takes it for one to the end. */
static void mark_gif(rlm_sink *sink, const char *xmp, int bytes)
{
    static const uint8_t head[14] = {0x21, 0xff, 11,  'X', 'M', 'P', ' ',
                                     'D',  'a',  't', 'a', 'X', 'M', 'P'};
    uint8_t tail[259];
    tail[0] = 1;
    for (int i = 0; i < 256; i++)
        tail[1 + i] = (uint8_t)(255 - i);
    tail[257] = 0;
    tail[258] = 0x3b;
    if (sink->bytes < 1 || sink->data[sink->bytes - 1] != 0x3b)
        return;
    rlm_sink_seek(sink, sink->bytes - 1);
    rlm_sink_write(sink, head, sizeof head);
    rlm_sink_write(sink, xmp, bytes);
    rlm_sink_write(sink, tail, sizeof tail);
}

void rlm_mark_file(rlm_sink *sink, const char *muxer, int origin)
{
    char xmp[RLM_XMP_ROOM];
    int bytes = rlm_xmp_packet(origin, xmp);
    if (!strcmp(muxer, "mp4") || !strcmp(muxer, "mov"))
        mark_mp4(sink, xmp, bytes);
    else if (!strcmp(muxer, "gif"))
        mark_gif(sink, xmp, bytes);
}

void rlm_mark_tags(AVDictionary **tags, const char *muxer, int origin)
{
    if (!strcmp(muxer, "mp4") || !strcmp(muxer, "mov")) { /* knows no keys of one's own */
        av_dict_set(tags, "description", "ai_generated=true", 0);
        return;
    }
    av_dict_set(tags, "ai_generated", "true", 0);
    av_dict_set(tags, "digital_source_type", source_type(origin), 0);
}

int rlm_origin_of_metadata(const char *json)
{
    const char *at = json ? strstr(json, "\"ai_generated\"") : NULL;
    if (!at)
        return RLM_ORIGIN_RECORDED;
    at += strlen("\"ai_generated\"");
    at += strspn(at, " \t\r\n:");
    if (strncmp(at, "true", 4))
        return RLM_ORIGIN_RECORDED;
    return strstr(json, composite_key) ? RLM_ORIGIN_COMPOSITE : RLM_ORIGIN_GENERATED;
}

char *rlm_metadata_mark(const char *json, int origin)
{
    const char *object = strchr(json, '{');
    if (!object || origin != RLM_ORIGIN_COMPOSITE ||
        rlm_origin_of_metadata(json) != RLM_ORIGIN_GENERATED)
        return rlm_strdup(json);
    size_t key = strlen(composite_key), head = (size_t)(object - json) + 1;
    size_t rest = strlen(json) - head + 1;
    char *out = rlm_alloc(head + key + 1 + rest);
    if (!out)
        return NULL;
    memcpy(out, json, head);
    memcpy(out + head, composite_key, key);
    out[head + key] = ',';
    memcpy(out + head + key + 1, object + 1, rest);
    return out;
}
