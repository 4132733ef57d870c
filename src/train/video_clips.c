/* Clips and photos for the video tokenizer. Files are decoded at first use by the loader's threads
 * and kept as bytes at a small size; a training sample is a square window on them, sampled afresh.
 */
#include <math.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/train/video_train.h"

enum { VIDEO_SHORT = 144, PHOTO_SHORT = 256, VIDEO_MOST = 48 /* frames kept of a clip */ };
enum { SIDE_MOST = 4096 }; /* pixels, of what footage keeps */
enum { TRIES = 16 };
static const int64_t KEEP_BYTES = (int64_t)6 << 30; /* beyond it, files are decoded every time */
static const float REAL_SHARE = 0.70f;              /* of clips; the rest moves over photos */

/* ---- Reading --------------------------------------------------------------------------------- */

static int footage_open(rlm_footage *f, const rlm_train_options *o, unsigned kind, int short_side,
                        const rlm_log *log, rlm_error *err)
{
    rlm_error none;
    f->short_side = short_side;
    RLM_TRY(rlm_dataset_open(&f->set, o->data, o->data_count, log, err));
    if (rlm_dataset_keep(&f->set, kind, false, &none)) {
        rlm_dataset_free(&f->set);
        memset(&f->set, 0, sizeof f->set);
        return RLM_OK;
    }
    f->frames = rlm_calloc((size_t)f->set.count, sizeof *f->frames);
    return f->frames
               ? RLM_OK
               : rlm_fail(err, RLM_E_NOMEM, "video training: no memory for %d files", f->set.count);
}

/* Without a folder everything comes from the playground. */
static int open_made(rlm_clips *c, double playground, rlm_error *err)
{
    c->playground = c->videos.set.train_count + c->photos.set.train_count ? playground : 1.0;
    return c->playground > 0 ? rlm_scenes_open(&c->made, err) : RLM_OK;
}

int rlm_clips_open(rlm_clips *c, const rlm_train_options *o, double playground, const rlm_log *log,
                   rlm_error *err)
{
    memset(c, 0, sizeof *c);
    c->log = *log;
    pthread_mutex_init(&c->lock, NULL);
    if (!o->data_count && playground > 0)
        return open_made(c, playground, err);
    RLM_TRY(footage_open(&c->videos, o, RLM_MEDIA_VIDEO, VIDEO_SHORT, log, err));
    RLM_TRY(footage_open(&c->photos, o, RLM_MEDIA_IMAGE, PHOTO_SHORT, NULL, err)); /* all is said */
    if (c->videos.set.train_count + c->photos.set.train_count == 0)
        return rlm_fail(err, RLM_E_ARG, "video training: no clip and no picture in %d folders",
                        o->data_count);
    rlm_logf(log, 2, "video: %d clips and %d photos to train on, %d and %d for validation",
             c->videos.set.train_count, c->photos.set.train_count, c->videos.set.val_count,
             c->photos.set.val_count);
    return open_made(c, playground, err);
}

static void footage_free(rlm_footage *f)
{
    for (int i = 0; f->frames && i < f->set.count; i++)
        rlm_free(f->frames[i].rgb);
    rlm_free(f->frames);
    rlm_dataset_free(&f->set);
}

void rlm_clips_free(rlm_clips *c)
{
    rlm_scenes_free(&c->made);
    footage_free(&c->videos);
    footage_free(&c->photos);
    pthread_mutex_destroy(&c->lock);
    memset(c, 0, sizeof *c);
}

/* Decode at the short side wanted; the aspect ratio decides which side that is. */
static int decode(const rlm_footage *f, int item, rlm_frames *out, rlm_error *err)
{
    rlm_want want;
    rlm_clip clip = {0};
    rlm_want_defaults(&want);
    want.want_audio = 0;
    want.height = f->short_side;
    want.fps_num = RLM_CROP_FPS;
    want.fps_den = 1;
    want.max_frames = VIDEO_MOST;
    RLM_TRY(rlm_media_read(f->set.items[item].path, &want, &clip, err));
    if (clip.video.width < clip.video.height) {
        rlm_clip_free(&clip);
        want.width = f->short_side;
        want.height = 0;
        RLM_TRY(rlm_media_read(f->set.items[item].path, &want, &clip, err));
    }
    if (clip.video.count < 1 || clip.video.width > SIDE_MOST) {
        rlm_clip_free(&clip);
        return rlm_fail(err, RLM_E_MEDIA, "%s: no frame in it, or wider than 28:1",
                        f->set.items[item].path);
    }
    *out = clip.video;
    clip.video.rgb = NULL;
    rlm_clip_free(&clip);
    return RLM_OK;
}

/* Frames of an item. *mine: the caller must free them (no room to keep them). */
static int footage_get(rlm_clips *c, rlm_footage *f, int item, rlm_frames *out, bool *mine)
{
    *mine = false;
    pthread_mutex_lock(&c->lock);
    *out = f->frames[item];
    pthread_mutex_unlock(&c->lock);
    if (out->rgb)
        return RLM_OK;
    if (out->count < 0)
        return RLM_E_MEDIA;
    rlm_error why;
    int code = decode(f, item, out, &why);
    pthread_mutex_lock(&c->lock);
    rlm_frames *kept = &f->frames[item];
    if (code) {
        if (kept->count == 0)
            rlm_logf(&c->log, 1, "%s; skipped", why.text);
        kept->count = -1;
    } else if (kept->rgb) { /* another thread was faster */
        rlm_free(out->rgb);
        *out = *kept;
    } else if (c->bytes < KEEP_BYTES) {
        *kept = *out;
        c->bytes += (int64_t)out->count * out->height * out->width * 3;
    } else {
        *mine = true;
    }
    pthread_mutex_unlock(&c->lock);
    return code;
}

/* ---- Windows --------------------------------------------------------------------------------- */

/* A square window, in pixels of the source: centre and side. */
typedef struct window {
    float x, y, side;
} window;

/* A place between two neighbours: index of the first, step to the second, share of the second. */
typedef struct between {
    int at, next;
    float share;
} between;

static between between_of(float x, int size)
{
    x = fminf(fmaxf(x, 0.0f), (float)(size - 1));
    int at = (int)x;
    return (between){at, at + 1 < size ? 1 : 0, x - (float)at};
}

/* row [width][3]: the picture between two of its rows, times `weight`, added. */
static void add_row(const uint8_t *rgb, int width, between y, float weight, float *row)
{
    const uint8_t *a = rgb + (size_t)y.at * (size_t)width * 3,
                  *b = a + (size_t)(y.next * width) * 3;
    for (int k = 0; k < 3 * width; k++)
        row[k] += weight * ((float)a[k] + y.share * (float)(b[k] - a[k]));
}

/* Windows up to this many times the output's size are sampled once a pixel: a window of just its
 * size on whole pixels is a copy, as sharp as what users give. */
static const float SHARP = 1.5f;

/* One output picture [128][128][3] in [-1, 1], of bilinear samples: one a pixel, or the mean of 2 x
 * 2, which keeps windows up to four times the output's size free of aliasing. Both are separable:
 * rows first. */
static void draw_window(const uint8_t *rgb, int h, int w, window v, bool mirror, float *out)
{
    const int n = RLM_CROP_SIDE;
    float row[3 * SIDE_MOST], left = v.x - 0.5f * v.side, top = v.y - 0.5f * v.side;
    between across[2 * RLM_CROP_SIDE];
    int times = v.side < SHARP * (float)n ? 1 : 2; /* samples a pixel and axis */
    float step = v.side / (float)(n * times), share = 1.0f / (float)times;
    for (int i = 0; i < times * n; i++)
        across[i] = between_of(left + ((float)i + 0.5f) * step - 0.5f, w);
    for (int y = 0; y < n; y++) {
        memset(row, 0, (size_t)w * 3 * sizeof *row);
        for (int i = times * y; i < times * (y + 1); i++)
            add_row(rgb, w, between_of(top + ((float)i + 0.5f) * step - 0.5f, h), share, row);
        for (int x = 0; x < n; x++) {
            float *p = out + (y * n + (mirror ? n - 1 - x : x)) * 3;
            p[0] = p[1] = p[2] = -1.0f;
            for (int i = times * x; i < times * (x + 1); i++) {
                const float *a = row + 3 * across[i].at;
                for (int c = 0; c < 3; c++)
                    p[c] += (a[c] + across[i].share * (a[c + 3 * across[i].next] - a[c])) * share *
                            (2.0f / 255.0f);
            }
        }
    }
}

/* Draws of one sample: number i of sample `index`. */
typedef struct dice {
    uint64_t seed, index, i;
} dice;

static float roll(dice *d, float low, float high)
{
    return low + (high - low) * rlm_rng_uniform(d->seed, 700 + d->i++, d->index);
}

static window random_window(dice *d, int h, int w, float least, float most)
{
    float side = (float)(h < w ? h : w) * roll(d, least, most), half = 0.5f * side;
    window v = {.side = side};
    v.x = roll(d, half, (float)w - half);
    v.y = roll(d, half, (float)h - half);
    return v;
}

/* A window of the output's own size on whole pixels. */
static window copied_window(dice *d, int h, int w)
{
    const float n = (float)RLM_CROP_SIDE;
    window v = {.side = n};
    v.x = 0.5f * n + floorf(roll(d, 0, (float)w - n + 0.999f));
    v.y = 0.5f * n + floorf(roll(d, 0, (float)h - n + 0.999f));
    return v;
}

/* A clip as it was filmed: window and start at random, its last frame held when it is short. Seven
 * of ten are copied, the others resized. */
static void draw_clip(const rlm_frames *f, dice *d, float *out)
{
    int least = f->height < f->width ? f->height : f->width;
    bool copied = roll(d, 0, 1) < 0.7f && least >= RLM_CROP_SIDE;
    window v = copied ? copied_window(d, f->height, f->width)
                      : random_window(d, f->height, f->width, 0.85f, 1.0f);
    bool mirror = roll(d, 0, 1) < 0.5f;
    int spare = f->count - RLM_CROP_FRAMES;
    int start = spare > 0 ? (int)roll(d, 0, (float)spare + 0.999f) : 0;
    size_t frame = (size_t)f->height * (size_t)f->width * 3;
    for (int i = 0; i < RLM_CROP_FRAMES; i++) {
        int at = start + i < f->count ? start + i : f->count - 1;
        draw_window(f->rgb + (size_t)at * frame, f->height, f->width, v, mirror,
                    out + (size_t)i * RLM_IMAGE_FLOATS);
    }
}

/* A camera that pans and zooms evenly over one picture; one in ten stands still. */
static void draw_motion(const rlm_frames *f, dice *d, float *out)
{
    window a = random_window(d, f->height, f->width, 0.4f, 1.0f), b = a;
    bool mirror = roll(d, 0, 1) < 0.5f;
    if (roll(d, 0, 1) > 0.1f) {
        float most = (float)(f->height < f->width ? f->height : f->width);
        b.side = fminf(a.side * roll(d, 0.8f, 1.25f), most);
        b.x += roll(d, -0.25f, 0.25f) * a.side;
        b.y += roll(d, -0.18f, 0.18f) * a.side;
        b.x = fminf(fmaxf(b.x, 0.5f * b.side), (float)f->width - 0.5f * b.side);
        b.y = fminf(fmaxf(b.y, 0.5f * b.side), (float)f->height - 0.5f * b.side);
    }
    const uint8_t *rgb = f->rgb + (size_t)(f->count / 2) * (size_t)f->height * (size_t)f->width * 3;
    for (int i = 0; i < RLM_CROP_FRAMES; i++) {
        float t = (float)i / (RLM_CROP_FRAMES - 1);
        window v = {a.x + t * (b.x - a.x), a.y + t * (b.y - a.y), a.side + t * (b.side - a.side)};
        draw_window(rgb, f->height, f->width, v, mirror, out + (size_t)i * RLM_IMAGE_FLOATS);
    }
}

/* An ellipse cut out of another picture moves evenly over the clip: `over` is that picture as a
 * clip, blended in with a soft edge. */
static void draw_cutout(const float *over, dice *d, float *out)
{
    const float n = (float)RLM_CROP_SIDE;
    float rx = n * roll(d, 0.1f, 0.3f), ry = n * roll(d, 0.1f, 0.3f);
    float x = roll(d, 0, n), y = roll(d, 0, n), vx = roll(d, -4, 4), vy = roll(d, -3, 3);
    for (int t = 0; t < RLM_CROP_FRAMES; t++, x += vx, y += vy)
        for (int i = 0; i < RLM_CROP_SIDE * RLM_CROP_SIDE; i++) {
            int row = i / RLM_CROP_SIDE, column = i % RLM_CROP_SIDE;
            float u = ((float)column - x) / rx, v = ((float)row - y) / ry;
            float cover = fminf(fmaxf((1.0f - u * u - v * v) * 0.25f * (rx + ry), 0.0f), 1.0f);
            /* the cut-out carries its picture along */
            int px = ((int)(u * rx + n) + RLM_CROP_SIDE) % RLM_CROP_SIDE;
            int py = ((int)(v * ry + n) + RLM_CROP_SIDE) % RLM_CROP_SIDE;
            const float *from = over + (py * RLM_CROP_SIDE + px) * 3;
            float *to = out + (size_t)t * RLM_IMAGE_FLOATS + (size_t)i * 3;
            for (int c = 0; c < 3 && cover > 0; c++)
                to[c] += cover * (from[c] - to[c]);
        }
}

static void draw_image(const rlm_frames *f, dice *d, float *out)
{
    window v = random_window(d, f->height, f->width, 0.4f, 1.0f);
    bool mirror = roll(d, 0, 1) < 0.5f;
    int at = (int)roll(d, 0, (float)f->count - 0.001f);
    draw_window(f->rgb + (size_t)at * (size_t)f->height * (size_t)f->width * 3, f->height, f->width,
                v, mirror, out);
}

/* Half of the clips made of photos get a cut-out of another photo. Its absence is no failure. */
static void add_cutout(rlm_clips *c, dice *d, int64_t index, float *out)
{
    if (roll(d, 0, 1) < 0.5f)
        return;
    int item = rlm_dataset_draw(&c->photos.set, d->seed + 77, index);
    rlm_frames frames;
    bool mine;
    if (footage_get(c, &c->photos, item, &frames, &mine))
        return;
    float picture[RLM_IMAGE_FLOATS]; /* 196 kB of stack: a step allocates nothing */
    draw_image(&frames, d, picture);
    draw_cutout(picture, d, out);
    if (mine)
        rlm_free(frames.rgb);
}

int rlm_clips_sample(rlm_clips *c, uint64_t seed, int64_t index, bool clip, float *out)
{
    if (rlm_rng_uniform(seed, 699, (uint64_t)index) < c->playground)
        return rlm_scenes_sample(&c->made, seed, index, clip ? RLM_CROP_FRAMES : 1, out);
    for (int turn = 0; turn < TRIES; turn++) {
        dice d = {seed + (uint64_t)turn, (uint64_t)index, 0};
        bool real = clip && roll(&d, 0, 1) < REAL_SHARE;
        rlm_footage *f = real ? &c->videos : &c->photos;
        if (f->set.train_count == 0)
            f = real ? &c->photos : &c->videos;
        int item = rlm_dataset_draw(&f->set, d.seed, index);
        rlm_frames frames;
        bool mine;
        if (footage_get(c, f, item, &frames, &mine))
            continue;
        if (!clip)
            draw_image(&frames, &d, out);
        else if (real && f == &c->videos)
            draw_clip(&frames, &d, out);
        else
            draw_motion(&frames, &d, out);
        if (clip && f == &c->photos)
            add_cutout(c, &d, index, out);
        if (mine)
            rlm_free(frames.rgb);
        return RLM_OK;
    }
    return RLM_E_MEDIA;
}

int rlm_clips_val(rlm_clips *c, bool clip, int i, rlm_frames *out)
{
    rlm_footage f = clip ? c->videos : c->photos;
    rlm_frames frames;
    rlm_error why;
    f.short_side = RLM_CROP_SIDE; /* afresh, as the evaluation reads files */
    RLM_TRY(decode(&f, f.set.val[i], &frames, &why));
    *out = (rlm_frames){.count = clip ? RLM_CROP_FRAMES : 1,
                        .height = RLM_CROP_SIDE,
                        .width = RLM_CROP_SIDE,
                        .fps_num = RLM_CROP_FPS,
                        .fps_den = 1};
    out->rgb = rlm_alloc((size_t)out->count * RLM_IMAGE_FLOATS);
    int left = (frames.width - RLM_CROP_SIDE) / 2, top = (frames.height - RLM_CROP_SIDE) / 2;
    for (int t = 0; t < out->count && out->rgb; t++) {
        size_t at = (size_t)(t < frames.count ? t : frames.count - 1);
        for (int y = 0; y < RLM_CROP_SIDE; y++) {
            size_t row = (at * (size_t)frames.height + (size_t)(top + y)) * (size_t)frames.width;
            memcpy(out->rgb + (size_t)t * RLM_IMAGE_FLOATS + (size_t)y * RLM_CROP_SIDE * 3,
                   frames.rgb + (row + (size_t)left) * 3, (size_t)RLM_CROP_SIDE * 3);
        }
    }
    rlm_free(frames.rgb);
    return out->rgb ? RLM_OK : RLM_E_NOMEM;
}
