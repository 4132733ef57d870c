/* Distances between sounds: log-mel, multi-resolution STFT; and their spectrograms as pictures.
 *
 * A spectrum is a product with windowed cosines and sines: frames [rows][window] x basis
 * [window][2 bins] -> re, im. Levels are relative to a sine of amplitude 1, and nothing below FLOOR
 * counts. */
#include "src/train/eval.h"

#include <math.h>
#include <string.h>

enum { RESOLUTIONS = 4, FIRST_WINDOW = 256, MEL_BANK = 2 /* window 1024 */, MELS = 80, ROWS = 128 };
enum { PICTURE_BANK = 1 /* window 512 */, PICTURE_ROWS = 256, PICTURE_SECONDS = 2 };
static const double PI = 3.14159265358979323846;
static const float FLOOR = 1e-4f; /* -80 dB */

typedef struct bank {
    int window, hop, bins;
    float *basis; /* [window][2 bins]: cosines, then sines, of the Hann window, 2 / its sum */
} bank;

struct rlm_ears {
    rlm_kernels k;
    rlm_par *par;
    int rate;
    bank banks[RESOLUTIONS];
    float *filters;        /* [bins of MEL_BANK][MELS] */
    float *frames, *parts; /* [ROWS][window], [ROWS][2 bins] */
    float *level[2];       /* magnitudes of both sounds, [ROWS][bins] */
    float *mel[2];         /* [ROWS][MELS] */
};

static bool fill_bank(bank *b, int window)
{
    *b = (bank){.window = window, .hop = window / 4, .bins = window / 2 + 1};
    b->basis = rlm_alloc((size_t)window * 2 * (size_t)b->bins * sizeof(float));
    for (int i = 0; i < window && b->basis; i++) {
        double w = (0.5 - 0.5 * cos(2 * PI * i / window)) * 4.0 / window;
        float *row = b->basis + (size_t)i * 2 * (size_t)b->bins;
        for (int k = 0; k < b->bins; k++) {
            double angle = 2 * PI * (double)((int64_t)i * k % window) / window;
            row[k] = (float)(w * cos(angle));
            row[b->bins + k] = (float)(w * sin(angle));
        }
    }
    return b->basis != NULL;
}

static double mel_to_hz(double mel)
{
    return 700.0 * (pow(10.0, mel / 2595.0) - 1.0);
}

/* Triangles of height 1, evenly spaced in mel (HTK) from 0 to rate / 2. */
static void fill_filters(rlm_ears *e)
{
    const bank *b = &e->banks[MEL_BANK];
    double top = 2595.0 * log10(1.0 + e->rate / 2.0 / 700.0);
    for (int m = 0; m < MELS; m++) {
        double left = mel_to_hz(top * m / (MELS + 1)),
               centre = mel_to_hz(top * (m + 1) / (MELS + 1));
        double right = mel_to_hz(top * (m + 2) / (MELS + 1));
        for (int k = 0; k < b->bins; k++) {
            double hz = (double)k * e->rate / b->window;
            double w =
                hz < centre ? (hz - left) / (centre - left) : (right - hz) / (right - centre);
            e->filters[k * MELS + m] = (float)(w > 0 ? w : 0);
        }
    }
}

int rlm_ears_open(rlm_ears **out, int rate, rlm_par *par, rlm_error *err)
{
    *out = NULL;
    rlm_ears *e = rlm_calloc(1, sizeof *e);
    if (!e)
        return rlm_fail(err, RLM_E_NOMEM, "evaluation: out of memory");
    e->par = par;
    e->rate = rate;
    int code = rlm_kernels_init(&e->k, "blas", err);
    bool good = true;
    for (int i = 0; i < RESOLUTIONS; i++)
        good &= fill_bank(&e->banks[i], FIRST_WINDOW << i);
    const bank *last = &e->banks[RESOLUTIONS - 1];
    e->filters = rlm_alloc((size_t)e->banks[MEL_BANK].bins * MELS * sizeof(float));
    e->frames = rlm_alloc((size_t)ROWS * (size_t)last->window * sizeof(float));
    e->parts = rlm_alloc((size_t)ROWS * 2 * (size_t)last->bins * sizeof(float));
    for (int i = 0; i < 2; i++) {
        e->level[i] = rlm_alloc((size_t)ROWS * (size_t)last->bins * sizeof(float));
        e->mel[i] = rlm_alloc((size_t)ROWS * MELS * sizeof(float));
        good &= e->level[i] && e->mel[i];
    }
    good &= e->filters && e->frames && e->parts;
    if (!code && !good)
        code = rlm_fail(err, RLM_E_NOMEM, "evaluation: no memory for spectra");
    if (code) {
        rlm_ears_close(&e);
        return code;
    }
    fill_filters(e);
    *out = e;
    return RLM_OK;
}

void rlm_ears_close(rlm_ears **ep)
{
    rlm_ears *e = *ep;
    if (!e)
        return;
    for (int i = 0; i < RESOLUTIONS; i++)
        rlm_free(e->banks[i].basis);
    for (int i = 0; i < 2; i++) {
        rlm_free(e->level[i]);
        rlm_free(e->mel[i]);
    }
    rlm_free(e->filters);
    rlm_free(e->frames);
    rlm_free(e->parts);
    rlm_free(e);
    *ep = NULL;
}

/* Magnitudes [rows][bins] of frames first.. of x; frame f is centred on sample f * hop, zeros
 * around x. */
static void spectra(rlm_ears *e, const bank *b, int64_t n, const float *x, int64_t first, int rows,
                    float *level)
{
    memset(e->frames, 0, (size_t)rows * (size_t)b->window * sizeof(float));
    for (int r = 0; r < rows; r++) {
        int64_t at = (first + r) * b->hop - b->window / 2, from = at < 0 ? -at : 0;
        int64_t to = n - at < b->window ? n - at : b->window;
        if (to > from)
            memcpy(e->frames + (int64_t)r * b->window + from, x + at + from,
                   (size_t)(to - from) * sizeof(float));
    }
    e->k.gemm(e->par, false, false, rows, 2 * b->bins, b->window, 1.0f, e->frames, b->basis, 0.0f,
              e->parts);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < b->bins; k++) {
            float re = e->parts[r * 2 * b->bins + k], im = e->parts[r * 2 * b->bins + b->bins + k];
            level[r * b->bins + k] = sqrtf(re * re + im * im);
        }
}

static double floored(float x)
{
    return x > FLOOR ? x : FLOOR;
}

typedef struct sums {
    double miss, whole; /* energy of the differences, of the original */
    double logs, mels;
    int64_t places, mel_places;
} sums;

/* One chunk of one resolution, both sounds' magnitudes at hand. */
static void add_up(rlm_ears *e, int i, int rows, sums *s)
{
    const bank *b = &e->banks[i];
    const float *a = e->level[0], *c = e->level[1];
    for (int64_t k = 0; k < (int64_t)rows * b->bins; k++) {
        double d = (double)a[k] - c[k];
        s->miss += d * d;
        s->whole += (double)a[k] * a[k];
        s->logs += fabs(log(floored(a[k]) / floored(c[k])));
    }
    s->places += (int64_t)rows * b->bins;
    if (i != MEL_BANK)
        return;
    for (int side = 0; side < 2; side++)
        e->k.gemm(e->par, false, false, rows, MELS, b->bins, 1.0f, e->level[side], e->filters, 0.0f,
                  e->mel[side]);
    for (int k = 0; k < rows * MELS; k++)
        s->mels += fabs(20 * log10(floored(e->mel[0][k]) / floored(e->mel[1][k])));
    s->mel_places += (int64_t)rows * MELS;
}

void rlm_ears_score(rlm_ears *e, int64_t n, const float *a, const float *b, rlm_heard *heard)
{
    *heard = (rlm_heard){0};
    for (int i = 0; i < RESOLUTIONS; i++) {
        sums s = {0};
        int64_t frames = n / e->banks[i].hop + 1;
        for (int64_t at = 0; at < frames; at += ROWS) {
            int rows = frames - at < ROWS ? (int)(frames - at) : ROWS;
            spectra(e, &e->banks[i], n, a, at, rows, e->level[0]);
            spectra(e, &e->banks[i], n, b, at, rows, e->level[1]);
            add_up(e, i, rows, &s);
        }
        double convergence = s.whole > 0 ? sqrt(s.miss / s.whole) : NAN;
        heard->stft += (convergence + s.logs / (double)s.places) / RESOLUTIONS;
        if (i == MEL_BANK)
            heard->log_mel = s.mels / (double)s.mel_places;
    }
}

/* ---- Pictures ---- */

/* Black over red and yellow to white: u in [0, 1]. */
static void heat(double u, uint8_t rgb[3])
{
    for (int i = 0; i < 3; i++) {
        double v = 3 * u - i;
        rgb[i] = (uint8_t)(255 * (v < 0 ? 0 : v > 1 ? 1 : v));
    }
}

/* rgb: heap. */
static int picture(rlm_ears *e, int64_t n, const float *x, rlm_frames *out, rlm_error *err)
{
    const bank *b = &e->banks[PICTURE_BANK];
    int64_t most = (int64_t)PICTURE_SECONDS * e->rate;
    if (n > most) {
        x += (n - most) / 2;
        n = most;
    }
    int columns = (int)(n / b->hop + 1);
    *out = (rlm_frames){.count = 1, .height = PICTURE_ROWS, .width = columns};
    out->rgb = rlm_alloc((size_t)columns * PICTURE_ROWS * 3);
    if (!out->rgb)
        return rlm_fail(err, RLM_E_NOMEM, "sheet: out of memory");
    for (int at = 0; at < columns; at += ROWS) {
        int rows = columns - at < ROWS ? columns - at : ROWS;
        spectra(e, b, n, x, at, rows, e->level[0]);
        for (int r = 0; r < rows; r++)
            for (int k = 0; k < PICTURE_ROWS; k++) {
                double db = 20 * log10(floored(e->level[0][(int64_t)r * b->bins + k]));
                heat((db + 80) / 80,
                     out->rgb +
                         ((size_t)(PICTURE_ROWS - 1 - k) * (size_t)columns + (size_t)(at + r)) * 3);
            }
    }
    return RLM_OK;
}

int rlm_ears_show(rlm_ears *e, rlm_eval_sheet *s, int64_t n, const float *a, const float *b,
                  rlm_error *err)
{
    rlm_frames pictures[2] = {{0}, {0}};
    int code = picture(e, n, a, &pictures[0], err);
    if (!code)
        code = picture(e, n, b, &pictures[1], err);
    if (!code)
        code = rlm_eval_sheet_add(s, &pictures[0], &pictures[1], err);
    rlm_free(pictures[0].rgb);
    rlm_free(pictures[1].rgb);
    return code;
}
