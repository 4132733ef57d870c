/* Requests of the library: sizes, rates, boxes, borders, keyframes, masks and controls of any shape
 * and content, on a tiny model of random weights. The clip is given up when the first token is
 * sampled; until then everything is checked, converted, filled and encoded. */
#include "tests/fuzz/fuzz.h"

#include "tests/unit/pipeline_rig.h"

typedef struct feed {
    const uint8_t *at, *end;
} feed;

static int byte(feed *f)
{
    return f->at < f->end ? *f->at++ : 0;
}

/* Mostly small, sometimes anything. */
static int number(feed *f)
{
    int b = byte(f);
    if (b < 224)
        return b - 16;
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 8 | (uint32_t)byte(f);
    return (int)v;
}

static void clip(feed *f, rlm_clip *c)
{
    int kind = byte(f);
    *c = (rlm_clip){0};
    if (kind & 1) {
        c->video = (rlm_frames){1 + byte(f) % 6, 1 + byte(f) % 48, 1 + byte(f) % 48, 0, 0, NULL};
        c->video.fps_num = kind & 2 ? number(f) : 8;
        c->video.fps_den = kind & 2 ? number(f) : 1;
        size_t n = (size_t)c->video.count * c->video.height * c->video.width * 3;
        c->video.rgb = malloc(n);
        for (size_t i = 0; i < n; i++)
            c->video.rgb[i] = (uint8_t)(kind & 4 ? byte(f) : i * (size_t)kind);
    }
    if (kind & 8) {
        c->audio = (rlm_pcm){byte(f) * 8, 1 + byte(f) % 2, kind & 16 ? number(f) : 16000, NULL};
        int64_t n = c->audio.count * c->audio.channels;
        c->audio.samples = malloc((size_t)n * sizeof(float) + 1);
        for (int64_t i = 0; i < n; i++)
            c->audio.samples[i] = (float)byte(f) / 100 - 1;
    }
}

static int stop(void *cookie, const rlm_progress *p)
{
    (void)cookie;
    return p->stage != RLM_STAGE_PREFILL || p->done > 0;
}

static void fill(feed *f, rlm_request *r, rlm_clip clips[6], rlm_box boxes[3], rlm_keyframe *key)
{
    static char prompt[16];
    rlm_request_defaults(r);
    r->task = byte(f) % (RLM_TASK_COUNT + 1) - (byte(f) == 255);
    r->width = byte(f) & 1 ? number(f) : 32;
    r->height = byte(f) & 1 ? number(f) : 24;
    r->width = r->width > 64 && r->width <= 1024 ? 64 : r->width;
    r->height = r->height > 64 && r->height <= 1024 ? 64 : r->height;
    r->frames = byte(f) & 1 ? number(f) : 5;
    r->frames = r->frames > 20 && r->frames <= 256 ? 20 : r->frames;
    if (byte(f) & 1)
        r->fps_num = number(f), r->fps_den = number(f);
    for (int i = 0; i < 6; i++)
        clip(f, &clips[i]);
    r->condition = clips[0].video.count || clips[0].audio.count ? &clips[0] : NULL;
    r->mask = clips[1].video.count ? &clips[1] : NULL;
    r->depth = clips[2].video.count ? &clips[2] : NULL;
    r->flow = clips[3].video.count ? &clips[3] : NULL;
    *key = (rlm_keyframe){&clips[4], number(f)};
    r->keyframes = key;
    r->keyframe_count = clips[4].video.count ? 1 : 0;
    r->boxes = boxes;
    r->box_count = byte(f) % 4;
    for (int i = 0; i < 3; i++)
        boxes[i] = (rlm_box){number(f), number(f), number(f), number(f), number(f), number(f)};
    for (int i = 0; i < 4 && byte(f) & 1; i++)
        r->outpaint[i] = number(f);
    r->audio = byte(f) & 1;
    r->source = byte(f) % 4 - 2;
    r->video.cfg_scale = (float)number(f) / 16;
    r->video.top_k = number(f);
    r->video.temperature = (float)number(f) / 64;
    for (size_t i = 0; i + 1 < sizeof prompt; i++)
        prompt[i] = (char)byte(f);
    r->prompt = prompt;
    r->progress = stop;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    feed f = {data, data + size};
    rlm_clip clips[6], out = {0};
    rlm_box boxes[3];
    rlm_keyframe key;
    rlm_error why = {0};
    rlm_request r;
    if (!session) {
        FUZZ_CHECK(!rig_open());
        atexit(rig_close);
    }
    fill(&f, &r, clips, boxes, &key);
    int code = byte(&f) & 1 && r.condition
                   ? rlm_extend(session, &r, r.condition, (double)number(&f) / 8, &out, NULL, &why)
                   : rlm_generate(session, &r, &out, NULL, &why);
    FUZZ_CHECK(code == 0 || (why.code == code && why.text[0] && code != RLM_E_INTERNAL));
    rlm_clip_free(&out);
    for (int i = 0; i < 6; i++) {
        free(clips[i].video.rgb);
        free(clips[i].audio.samples);
    }
    return 0;
}
