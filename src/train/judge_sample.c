/* Clips of the playground as the judge learns them: pixels, bands of sound, and what is true. */
#include <math.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/train/judge.h"

/* ---- Truth ----------------------------------------------------------------------------------- */

enum { PER_CELL = JUDGE_SIDE / JUDGE_GRID };

/* Frames [first, last] of a moment. */
static int first_frame(int group)
{
    return group ? 4 * group - 3 : 0;
}

/* Which body holds the cell: 0 none, 1 + object, -1 mixed. */
static int holder(const uint8_t *mask, int group, int y, int x)
{
    int count[1 + MAX_OBJECTS] = {0}, all = 0;
    for (int f = first_frame(group); f <= 4 * group; f++)
        for (int i = 0; i < PER_CELL; i++, all += PER_CELL) {
            const uint8_t *row =
                mask + ((size_t)f * JUDGE_SIDE + (size_t)(y * PER_CELL + i)) * JUDGE_SIDE +
                x * PER_CELL;
            for (int k = 0; k < PER_CELL; k++)
                count[row[k]]++;
        }
    if (10 * count[0] >= 8 * all)
        return 0;
    int best = 1;
    for (int i = 2; i <= MAX_OBJECTS; i++)
        best = count[i] > count[best] ? i : best;
    return 3 * count[best] >= all ? best : -1;
}

static void cell_truth(const rlm_scene *s, const uint8_t *mask, rlm_judge_truth *t)
{
    static const int facts[] = {0, FACT_SHAPE, FACT_MATERIAL, FACT_SIZE};
    for (int i = 0; i < JUDGE_CELLS; i++) {
        int group = i / (JUDGE_GRID * JUDGE_GRID), at = i % (JUDGE_GRID * JUDGE_GRID);
        int body = holder(mask, group, at / JUDGE_GRID, at % JUDGE_GRID);
        t->cell[BODY_COLOUR][i] =
            (int8_t)(body < 1 ? body : 1 + rlm_scene_fact(s, body - 1, FACT_COLOUR));
        for (int k = BODY_SHAPE; k <= BODY_SIZE; k++)
            t->cell[k][i] = (int8_t)(body < 1 ? -1 : rlm_scene_fact(s, body - 1, facts[k]));
        if (s->style != PHOTO) /* what it is made of is hidden by how it is drawn */
            t->cell[BODY_MATERIAL][i] = -1;
        t->cell[BODY_ROLE][i] = (int8_t)(body < 1 ? -1 : s->object[body - 1].role);
    }
}

/* What a body covers of a frame. */
typedef struct extent {
    int x0, x1, y0, y1, pixels;
} extent;

static extent extent_of(const uint8_t *frame, int object)
{
    extent e = {JUDGE_SIDE, 0, JUDGE_SIDE, 0, 0};
    for (int y = 0; y < JUDGE_SIDE; y++)
        for (int x = 0; x < JUDGE_SIDE; x++)
            if (frame[y * JUDGE_SIDE + x] == 1 + object) {
                e.x0 = x < e.x0 ? x : e.x0;
                e.x1 = x > e.x1 ? x : e.x1;
                e.y0 = y < e.y0 ? y : e.y0;
                e.y1 = y > e.y1 ? y : e.y1;
                e.pixels++;
            }
    return e;
}

/* 1 visible, 0 nowhere, -1 hardly. */
static int visible(const extent covers[JUDGE_FRAMES])
{
    int frames = 0, any = 0;
    for (int f = 0; f < JUDGE_FRAMES; f++) {
        frames += covers[f].pixels >= JUDGE_SEEN_PIXELS;
        any |= covers[f].pixels;
    }
    return frames >= JUDGE_SEEN_FRAMES ? 1 : any ? -1 : 0;
}

static void body_truth(const rlm_object *o, int seen, rlm_judge_truth *t)
{
    const int values[BODY_KINDS] = {seen, o->shape, o->material, o->size, o->role};
    for (int k = 0; k < BODY_KINDS; k++)
        if (k == BODY_COLOUR || (seen == 1 && (k != BODY_MATERIAL || t->scene.style == PHOTO)))
            t->body[k][o->colour] = (int8_t)values[k];
}

/* A third larger than what a body covers from one frame to another; side 0: too little. */
static rlm_judge_square square_of(const extent covers[JUDGE_FRAMES], int from, int to)
{
    extent all = covers[from];
    for (int f = from + 1; f <= to; f++) {
        const extent *e = &covers[f];
        all.x0 = e->x0 < all.x0 ? e->x0 : all.x0;
        all.x1 = e->x1 > all.x1 ? e->x1 : all.x1;
        all.y0 = e->y0 < all.y0 ? e->y0 : all.y0;
        all.y1 = e->y1 > all.y1 ? e->y1 : all.y1;
        all.pixels = e->pixels > all.pixels ? e->pixels : all.pixels;
    }
    int wide = all.x1 - all.x0, high = all.y1 - all.y0, side = wide > high ? wide : high;
    if (all.pixels < JUDGE_SEEN_PIXELS)
        return (rlm_judge_square){0};
    return (rlm_judge_square){0.5f * (float)(all.x0 + all.x1 + 1),
                              0.5f * (float)(all.y0 + all.y1 + 1), 1.3f * (float)(side + 1)};
}

static void square_truth(const extent covers[JUDGE_FRAMES], int object, rlm_judge_truth *t)
{
    for (int look = 0; look < LOOKS; look++)
        for (int m = 0; m < rlm_judge_crop_moments(look); m++) {
            int from, to;
            rlm_judge_crop_frames(look, m, &from, &to);
            t->square[look][m][object] = square_of(covers, from, to);
        }
}

/* A body's contact; the first one of a gap, and plain ones before faint ones. */
static void mark_contact(int8_t *gap, double parts, bool plain)
{
    if (plain && *gap <= 0)
        *gap = (int8_t)(1 + (int)parts % JUDGE_SPAN_PARTS);
    else if (!plain && *gap == 0)
        *gap = -1;
}

static void contact_truth(const rlm_motion *m, const int *seen, rlm_judge_truth *t)
{
    memset(t->contact, 0, sizeof t->contact);
    memset(t->heard, 0, sizeof t->heard);
    memset(t->heard, -1, JUDGE_AHEAD);
    t->contacts = t->faint = 0;
    for (int i = 0; i < m->contacts; i++) {
        const rlm_contact *c = &m->contact[i];
        int span = (int)(c->t * JUDGE_FPS), tick = (int)(c->t * 100 + 0.5) + JUDGE_AHEAD;
        double parts = c->t * JUDGE_FPS * JUDGE_SPAN_PARTS;
        bool inside = span < JUDGE_SPANS, plain = c->speed >= JUDGE_SEEN_SPEED && seen[c->a] == 1;
        if (inside)
            mark_contact(&t->contact[c->a][span], parts, plain);
        if (inside && c->b >= 0)
            mark_contact(&t->contact[c->b][span], parts, plain);
        if (inside && plain)
            t->contact_s[t->contacts++] = (float)c->t;
        else
            t->faint_s[t->faint++] = (float)c->t;
        for (int k = tick - 3; k <= tick + 3; k++)
            if (k >= JUDGE_AHEAD && k < JUDGE_HEARD && t->heard[k] != 1) {
                bool near = k >= tick - 1 && k <= tick + 1 && c->speed >= 0.4;
                t->heard[k] = near ? 1 : -1;
            }
    }
}

int rlm_judge_render(const rlm_world *world, uint64_t seed, rlm_clip *clip, rlm_judge_truth *t,
                     rlm_error *err)
{
    rlm_world_want want;
    rlm_world_want_defaults(&want);
    rlm_world_truth truth = {.mask = rlm_alloc((size_t)JUDGE_FRAMES * JUDGE_SIDE * JUDGE_SIDE)};
    rlm_motion *m = rlm_alloc(sizeof *m);
    int code = truth.mask && m ? 0 : rlm_fail(err, RLM_E_NOMEM, "judge: no memory for a clip");
    if (!code)
        code = rlm_world_clip(world, seed, &want, clip, &truth, err);
    if (!code) {
        int seen[MAX_OBJECTS];
        rlm_scene_make(&t->scene, seed, -1);
        rlm_motion_make(m, &t->scene, rlm_world_seconds(&want));
        cell_truth(&t->scene, truth.mask, t);
        memset(t->body, -1, sizeof t->body);
        memset(t->body[BODY_COLOUR], 0, sizeof t->body[BODY_COLOUR]);
        memset(t->square, 0, sizeof t->square);
        for (int i = 0; i < t->scene.count; i++) {
            extent covers[JUDGE_FRAMES];
            for (int f = 0; f < JUDGE_FRAMES; f++)
                covers[f] = extent_of(truth.mask + (size_t)f * JUDGE_SIDE * JUDGE_SIDE, i);
            seen[i] = visible(covers);
            body_truth(&t->scene.object[i], seen[i], t);
            square_truth(covers, i, t);
        }
        for (int k = 0; k < CLIP_KINDS; k++)
            t->clip[k] = (int8_t)rlm_scene_fact(&t->scene, 0, rlm_judge_clip_fact(k));
        contact_truth(m, seen, t);
    }
    rlm_free(truth.mask);
    rlm_free(m);
    return code;
}

/* ---- What the networks take ------------------------------------------------------------------ */

void rlm_judge_pixels(const rlm_frames *video, float *pixels)
{
    for (int i = 0; i < JUDGE_FLOATS; i++)
        pixels[i] = (float)video->rgb[i] * (2.0f / 255.0f) - 1.0f;
}

enum { WINDOW = 256, HOP = 160 };

/* In-place FFT of WINDOW complex numbers, radix 2. */
static void fft(float *re, float *im, const float *cosines, const float *sines)
{
    for (int i = 1, j = 0; i < WINDOW; i++) {
        int bit = WINDOW >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            float a = re[i], b = im[i];
            re[i] = re[j];
            im[i] = im[j];
            re[j] = a;
            im[j] = b;
        }
    }
    for (int half = 1; half < WINDOW; half *= 2)
        for (int i = 0; i < WINDOW; i += 2 * half)
            for (int k = 0; k < half; k++) {
                int a = i + k, b = a + half, w = k * (WINDOW / 2 / half);
                float x = re[b] * cosines[w] + im[b] * sines[w];
                float y = im[b] * cosines[w] - re[b] * sines[w];
                re[b] = re[a] - x;
                im[b] = im[a] - y;
                re[a] += x;
                im[a] += y;
            }
}

/* First bin of band i of JUDGE_BANDS: evenly spaced below 1 kHz, evenly by ratio above. */
static int band_edge(int i)
{
    enum { EVEN = 16, BINS = WINDOW / 2 };
    if (i <= EVEN)
        return i;
    return (int)(EVEN * pow((double)BINS / EVEN, (double)(i - EVEN) / (JUDGE_BANDS - EVEN)) + 0.5);
}

static float sample_at(const rlm_pcm *s, int64_t i)
{
    float sum = 0;
    if (i < 0 || i >= s->count)
        return 0;
    for (int c = 0; c < s->channels; c++)
        sum += s->samples[i * s->channels + c];
    return sum / (float)s->channels;
}

void rlm_judge_bands(const rlm_pcm *sound, float *bands)
{
    float re[WINDOW], im[WINDOW], window[WINDOW], cosines[WINDOW / 2], sines[WINDOW / 2];
    for (int i = 0; i < WINDOW; i++)
        window[i] = (float)((0.5 - 0.5 * cos(2 * W_PI * (i + 0.5) / WINDOW)) / 9.8);
    for (int i = 0; i < WINDOW / 2; i++) {
        cosines[i] = (float)cos(2 * W_PI * i / WINDOW);
        sines[i] = (float)sin(2 * W_PI * i / WINDOW);
    }
    for (int t = 0; t < JUDGE_HEARD; t++) {
        for (int i = 0; i < WINDOW; i++) {
            re[i] = t < JUDGE_TICKS
                        ? window[i] * sample_at(sound, (int64_t)t * HOP - WINDOW / 2 + i)
                        : 0;
            im[i] = 0;
        }
        fft(re, im, cosines, sines);
        for (int b = 0; b < JUDGE_BANDS; b++) {
            float sum = 0;
            int from = band_edge(b), to = band_edge(b + 1);
            to = to > from ? to : from + 1;
            for (int i = from; i < to; i++)
                sum += re[i] * re[i] + im[i] * im[i];
            bands[t * JUDGE_BANDS + b] = 0.3f * (logf(sum / (float)(to - from) + 1e-7f) + 9);
        }
    }
}

/* ---- Mirror ---------------------------------------------------------------------------------- */

static int8_t swapped(int8_t v, int a, int b)
{
    return (int8_t)(v == a ? b : v == b ? a : v);
}

void rlm_judge_mirror(float *pixels, rlm_judge_truth *t)
{
    for (int row = 0; row < JUDGE_FRAMES * JUDGE_SIDE; row++)
        for (int x = 0; x < JUDGE_SIDE / 2; x++)
            for (int k = 0; k < 3; k++) {
                float *a = pixels + ((size_t)row * JUDGE_SIDE + (size_t)x) * 3 + k;
                float *b = pixels + ((size_t)(row + 1) * JUDGE_SIDE - 1 - (size_t)x) * 3 + k;
                float keep = *a;
                *a = *b;
                *b = keep;
            }
    if (!t)
        return;
    for (int kind = 0; kind < BODY_KINDS; kind++)
        for (int row = 0; row < JUDGE_CELLS; row += JUDGE_GRID)
            for (int x = 0; x < JUDGE_GRID / 2; x++) {
                int8_t *a = &t->cell[kind][row + x], *b = &t->cell[kind][row + JUDGE_GRID - 1 - x];
                int8_t keep = *a;
                *a = *b;
                *b = keep;
            }
    for (int look = 0; look < LOOKS; look++)
        for (int m = 0; m < CROP_MOMENTS; m++)
            for (int i = 0; i < MAX_OBJECTS; i++)
                t->square[look][m][i].x = JUDGE_SIDE - t->square[look][m][i].x;
    t->clip[CLIP_DIRECTION] = swapped(t->clip[CLIP_DIRECTION], LEFT, RIGHT);
    t->clip[CLIP_CAMERA] = swapped(t->clip[CLIP_CAMERA], PAN_LEFT, PAN_RIGHT);
}

/* ---- Spoiling -------------------------------------------------------------------------------- */

enum { SPOIL_STREAM = 0x5b01 };

static float draw(uint64_t seed, uint64_t index, int what)
{
    return rlm_rng_uniform(seed, SPOIL_STREAM + (uint64_t)what, index);
}

/* (1 2 1) / 4 along a line of bytes, `step` apart. */
static void soften(uint8_t *p, int n, int step)
{
    int before = p[0];
    for (int i = 0; i < n; i++) {
        int here = p[i * step], after = i + 1 < n ? p[(i + 1) * step] : here;
        p[i * step] = (uint8_t)((before + 2 * here + after + 2) / 4);
        before = here;
    }
}

static void blur(rlm_frames *v)
{
    int row = 3 * v->width;
    for (int f = 0; f < v->count; f++) {
        uint8_t *p = v->rgb + (size_t)f * (size_t)v->height * (size_t)row;
        for (int y = 0; y < v->height; y++)
            for (int k = 0; k < 3; k++)
                soften(p + y * row + k, v->width, 3);
        for (int x = 0; x < row; x++)
            soften(p + x, v->height, row);
    }
}

void rlm_judge_spoil(uint64_t seed, uint64_t index, rlm_clip *clip)
{
    rlm_frames *v = &clip->video;
    size_t n = (size_t)v->count * (size_t)v->height * (size_t)v->width * 3;
    float noise = 12 * draw(seed, index, 0) * draw(seed, index, 1), curve[256];
    float gain = 0.9f + 0.2f * draw(seed, index, 2), lift = 8 * draw(seed, index, 3) - 4;
    float loud = powf(10, 0.6f * draw(seed, index, 4) - 0.4f);
    for (int i = draw(seed, index, 5) < 0.5f; i > 0; i--)
        blur(v);
    for (int i = 0; i < 256; i++)
        curve[i] = gain * (float)i + lift + 0.5f;
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % 8 == 0)
            bits = rlm_rng(seed, SPOIL_STREAM + 9, index * (uint64_t)JUDGE_FLOATS + i);
        float x = curve[v->rgb[i]] + noise * ((float)(bits & 255) * (1.0f / 128) - 1);
        v->rgb[i] = (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x);
        bits >>= 8;
    }
    for (int64_t i = 0; i < clip->audio.count * clip->audio.channels; i++)
        clip->audio.samples[i] *= loud;
}
