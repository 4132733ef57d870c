/* Every clip there is to train on, into the store: files of the dataset, then the playground. */
#include "src/train/lm_train.h"

#include <stdio.h>

enum { VIEWS = 3 /* of a real training clip */ };
static const double TELL_SECONDS = 2;

static int key_of_item(void *ctx, int index, rlm_lm_raw *out, rlm_error *err)
{
    const rlm_item *item = &((const rlm_dataset *)ctx)->items[index];
    rlm_map map;
    RLM_TRY(rlm_map_open(&map, item->path, err));
    rlm_sha256_hex(map.data, map.bytes, out->key);
    rlm_map_close(&map);
    out->text[0] = item->text;
    out->text[1] = item->text_long;
    out->source = RLM_SOURCE_REAL;
    out->rigid = item->split == 1;
    return 0;
}

/* Square, a little larger than a view so that crops differ. */
static int fetch_item(void *ctx, int index, rlm_lm_raw *out, rlm_error *err)
{
    const rlm_item *item = &((const rlm_dataset *)ctx)->items[index];
    rlm_want want;
    rlm_want_defaults(&want);
    want.width = want.height = out->rigid ? 128 : 144;
    want.fit = RLM_FIT_COVER;
    want.fps_num = 8;
    want.fps_den = 1;
    want.max_frames = 40;
    want.max_seconds = 6;
    want.rate = 16000;
    want.channels = 1;
    return rlm_media_read(item->path, &want, &out->clip, err);
}

/* Clips of one source into store places [first, first + count). */
static int encode(rlm_lm_store *s, const rlm_lm_clips *c, const char *what, int first, int count,
                  rlm_lm_key_fn key, rlm_lm_fetch_fn fetch, void *ctx, rlm_error *err)
{
    double began = rlm_now(), told = began;
    int64_t video = s->video_tokens, sound = s->sound_tokens;
    for (int i = 0; i < count; i++) {
        char line[160], span[48];
        RLM_TRY(rlm_lm_store_add(s, c->run, first + i, i, key, fetch, ctx, c->log, err));
        double now = rlm_now();
        if (now - told < TELL_SECONDS)
            continue;
        told = now;
        rlm_span_print(span, (now - began) / (i + 1) * (count - i - 1));
        snprintf(line, sizeof line, "encoding %s %d/%d  %.1f a second  eta %s", what, i + 1, count,
                 (i + 1) / (now - began), span);
        if (c->options->progress && c->options->progress(c->options->progress_cookie, line))
            return rlm_fail(err, RLM_E_CANCELLED,
                            "lm training: stopped at %d of %d %s; what is encoded stays, the same "
                            "command goes on",
                            i + 1, count, what);
    }
    if (count > 0)
        rlm_logf(c->log, 2, "%d %s: %lld video tokens, %lld sound tokens, %.0f s", count, what,
                 (long long)(s->video_tokens - video), (long long)(s->sound_tokens - sound),
                 rlm_now() - began);
    return 0;
}

int rlm_lm_clips_encode(rlm_lm_store *s, const rlm_lm_clips *c, rlm_error *err)
{
    int real = c->data->count;
    int judged = c->made < RLM_LM_WORLD_VAL ? c->made : RLM_LM_WORLD_VAL;
    int made = c->made + c->stills + judged;
    rlm_lm_world *world = NULL;
    RLM_TRY(rlm_lm_store_open(s, c->tokenizers, c->options->run_dir, real + made, VIEWS, err));
    RLM_TRY(encode(s, c, "clips", 0, real, key_of_item, fetch_item, (void *)c->data, err));
    if (!made)
        return 0;
    if (c->data->train_count)
        rlm_logf(c->log, 2,
                 "%d playground scenes are encoded once and learnt beside your %d clips; "
                 "--playground 0 does without",
                 made, c->data->train_count);
    int code = rlm_lm_world_open(&world, c->options->threads, c, judged, err);
    if (!code)
        code = encode(s, c, "playground clips", real, made, rlm_lm_world_key, rlm_lm_world_fetch,
                      world, err);
    rlm_lm_world_close(&world);
    return code;
}
