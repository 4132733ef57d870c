/* Multi-scale mel loss between waves x and target, after SoundStream (arXiv 2107.03312, eq. 6):
 *
 *   mean over s = 64, 128 .. 2048, frames, clips and bins of
 *       LINEAR * |S(x) - S(target)| + |log(S(x) + FLOOR) - log(S(target) + FLOOR)|
 *
 * S: 64 mel bins of the magnitude spectrum, Hann window s divided by its root energy (so that white
 * noise of deviation 1 has magnitudes around 1 at every scale), hop s / 4. The paper sums, weights
 * the logarithms by sqrt(s / 2) and takes their L2 norm a frame; means and L1 weigh every scale and
 * every frame alike, whatever the crop, and let no single bin rule. Zeros around a clip let every
 * sample be seen by four frames.
 *
 * A scale is a chain of matrix products, so its gradient is the same chain transposed. The window
 * is symmetric about s / 2 and zero at 0, so a frame is folded there, which halves the products:
 *   x[i] + x[s - i] [rows][s / 2] x cosines -> re; x[i] - x[s - i] x sines -> im
 *   magnitude [rows][bins] x filters -> mel
 * The elementwise steps between the products touch elements here: they are the loss itself. */
#include "src/train/train.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { SCALES = 6, FIRST_WINDOW = 64, MELS = 64, CHUNK_FLOATS = 1 << 19 };
static const double PI = 3.14159265358979323846;
static const float LINEAR = 0.3f;
static const float FLOOR = 1e-3f; /* -60 dB: what is quieter need not be matched */

typedef struct scale {
    int window, hop, bins, frames, rows; /* frames a clip; rows: frames worked on at once */
    float *cosines, *sines;              /* [window / 2][bins], windowed; row i: sample i + 1 */
    float *filters;                      /* [bins][MELS] */
} scale;

struct rlm_mel {
    int rate, samples, batch, scale_count;
    scale scales[SCALES];
    float *frames;    /* [2][rows][window / 2]: sums, differences */
    float *spectra;   /* [2][rows][bins]: re, im */
    float *magnitude; /* [2][rows][bins]; the second half for its gradient */
    float *mel;       /* [2][rows][MELS]; the second half becomes the gradient */
    double *row_loss; /* [rows] */
};

static double hz_to_mel(double hz)
{
    return 2595.0 * log10(1.0 + hz / 700.0);
}

static double mel_to_hz(double mel)
{
    return 700.0 * (pow(10.0, mel / 2595.0) - 1.0);
}

/* Triangles evenly spaced in mel from 0 to rate / 2, at least one bin wide on each side: narrower
 * ones would fall between the bins of a short window and see nothing. */
static void fill_filters(scale *s, int rate)
{
    double top = hz_to_mel(rate / 2.0), step = (double)rate / s->window;
    for (int m = 0; m < MELS; m++) {
        double centre = mel_to_hz(top * (m + 1) / (MELS + 1));
        double left = centre - mel_to_hz(top * m / (MELS + 1));
        double right = mel_to_hz(top * (m + 2) / (MELS + 1)) - centre;
        left = left > step ? left : step;
        right = right > step ? right : step;
        for (int b = 0; b < s->bins; b++) {
            double d = b * step - centre;
            double w = d < 0 ? 1.0 + d / left : 1.0 - d / right;
            s->filters[b * MELS + m] = (float)(w > 0 ? w : 0.0);
        }
    }
}

static void fill_basis(scale *s)
{
    double energy = 0;
    for (int i = 0; i < s->window; i++)
        energy += pow(0.5 - 0.5 * cos(2 * PI * i / s->window), 2);
    double unit = 1.0 / sqrt(energy);
    for (int i = 1; i <= s->window / 2; i++) {
        double w = unit * (0.5 - 0.5 * cos(2 * PI * i / s->window));
        float *c = s->cosines + (size_t)(i - 1) * (size_t)s->bins;
        float *d = s->sines + (size_t)(i - 1) * (size_t)s->bins;
        for (int b = 0; b < s->bins; b++) {
            double angle = 2 * PI * (double)((int64_t)i * b % s->window) / s->window;
            c[b] = (float)(w * cos(angle));
            d[b] = (float)(w * sin(angle));
        }
    }
}

static bool scale_new(scale *s, int window, const rlm_mel *m)
{
    s->window = window;
    s->hop = window / 4;
    s->bins = window / 2 + 1;
    s->frames = (m->samples + window - s->hop + s->hop - 1) / s->hop;
    int64_t all = (int64_t)s->frames * m->batch;
    s->rows = CHUNK_FLOATS / window;
    s->rows = s->rows < all ? s->rows : (int)all;
    size_t half = rlm_size_mul((size_t)window / 2, (size_t)s->bins * sizeof(float));
    s->cosines = rlm_alloc(half);
    s->sines = rlm_alloc(half);
    s->filters = rlm_alloc((size_t)s->bins * MELS * sizeof(float));
    if (!s->cosines || !s->sines || !s->filters)
        return false;
    fill_basis(s);
    fill_filters(s, m->rate);
    return true;
}

static bool scratch_new(rlm_mel *m)
{
    size_t frames = 0, spectra = 0, mel = 0, rows = 0;
    for (int i = 0; i < m->scale_count; i++) {
        const scale *s = &m->scales[i];
        size_t r = (size_t)s->rows, f = r * (size_t)s->window, z = r * 2 * (size_t)s->bins;
        frames = f > frames ? f : frames;
        spectra = z > spectra ? z : spectra;
        mel = r * MELS > mel ? r * MELS : mel;
        rows = r > rows ? r : rows;
    }
    m->frames = rlm_calloc(frames, sizeof(float));
    m->spectra = rlm_calloc(spectra, sizeof(float));
    m->magnitude = rlm_calloc(spectra, sizeof(float));
    m->mel = rlm_calloc(2 * mel, sizeof(float));
    m->row_loss = rlm_calloc(rows, sizeof(double));
    return m->frames && m->spectra && m->magnitude && m->mel && m->row_loss;
}

int rlm_mel_new(rlm_mel **out, int rate, int samples, int batch, rlm_error *err)
{
    *out = NULL;
    if (rate < 1000 || samples < 1 || batch < 1 || samples > (1 << 26))
        return rlm_fail(err, RLM_E_ARG, "mel loss: rate %d, samples %d, batch %d", rate, samples,
                        batch);
    rlm_mel *m = rlm_calloc(1, sizeof *m);
    if (!m)
        return rlm_fail(err, RLM_E_NOMEM, "mel loss: no memory");
    m->rate = rate;
    m->samples = samples;
    m->batch = batch;
    for (m->scale_count = 0; m->scale_count < SCALES; m->scale_count++)
        if (!scale_new(&m->scales[m->scale_count], FIRST_WINDOW << m->scale_count, m))
            goto fail;
    if (!scratch_new(m))
        goto fail;
    *out = m;
    return 0;
fail:
    rlm_mel_free(&m);
    return rlm_fail(err, RLM_E_NOMEM, "mel loss: no memory for clips of %d samples", samples);
}

void rlm_mel_free(rlm_mel **mp)
{
    rlm_mel *m = *mp;
    if (!m)
        return;
    for (int i = 0; i < SCALES; i++) {
        rlm_free(m->scales[i].cosines);
        rlm_free(m->scales[i].sines);
        rlm_free(m->scales[i].filters);
    }
    rlm_free(m->frames);
    rlm_free(m->spectra);
    rlm_free(m->magnitude);
    rlm_free(m->mel);
    rlm_free(m->row_loss);
    rlm_free(m);
    *mp = NULL;
}

/* One chunk of frames of one scale, for the elementwise steps. */
typedef struct chunk {
    const scale *s;
    rlm_mel *m;
    int64_t first; /* frame number over all clips */
    int rows;
    const float *wave;
    float *dwave;
    float weight; /* of a frame in the mean, times the caller's scale */
} chunk;

/* Frame r begins at this sample of its clip (may be negative). */
static int64_t frame_start(const chunk *c, int64_t r, int64_t *clip)
{
    int64_t f = c->first + r;
    *clip = f / c->s->frames;
    return f % c->s->frames * c->s->hop - (c->s->window - c->s->hop);
}

static void gather_frames(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const chunk *c = ctx;
    int half = c->s->window / 2, n = c->m->samples;
    for (int64_t r = begin; r < end; r++) {
        int64_t clip, at = frame_start(c, r, &clip);
        const float *wave = c->wave + clip * n;
        float *sum = c->m->frames + r * half, *diff = sum + (int64_t)c->rows * half;
        for (int i = 1; i <= half; i++) {
            int64_t p = at + i, q = at + 2 * half - i;
            float x = p >= 0 && p < n ? wave[p] : 0.0f;
            float y = q >= 0 && q < n && i < half ? wave[q] : 0.0f;
            sum[i - 1] = x + y;
            diff[i - 1] = i < half ? x - y : 0.0f;
        }
    }
}

static void take_magnitude(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const chunk *c = ctx;
    int bins = c->s->bins;
    for (int64_t r = begin; r < end; r++) {
        const float *re = c->m->spectra + r * bins, *im = re + (int64_t)c->rows * bins;
        float *mag = c->m->magnitude + r * bins;
        for (int b = 0; b < bins; b++)
            mag[b] = sqrtf(re[b] * re[b] + im[b] * im[b]);
    }
}

/* d re, d im over the spectrum from d magnitude (held in the target's half). A bin of exactly zero
 * has no direction and gets none. */
static void spread_magnitude(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const chunk *c = ctx;
    int bins = c->s->bins;
    const float *dmag0 = c->m->magnitude + (int64_t)c->rows * bins;
    for (int64_t r = begin; r < end; r++) {
        float *re = c->m->spectra + r * bins, *im = re + (int64_t)c->rows * bins;
        const float *mag = c->m->magnitude + r * bins, *dmag = dmag0 + r * bins;
        for (int b = 0; b < bins; b++) {
            float f = mag[b] > 1e-12f ? dmag[b] / mag[b] : 0.0f;
            re[b] *= f;
            im[b] *= f;
        }
    }
}

/* Loss of each frame; the target's mel is replaced by the gradient towards x's mel. */
static void compare_mels(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const chunk *c = ctx;
    for (int64_t r = begin; r < end; r++) {
        const float *a = c->m->mel + r * MELS;
        float *t = c->m->mel + (c->rows + r) * MELS;
        double sum = 0;
        for (int i = 0; i < MELS; i++) {
            float sign = (float)((a[i] > t[i]) - (a[i] < t[i]));
            sum += LINEAR * fabsf(a[i] - t[i]) + fabsf(logf((a[i] + FLOOR) / (t[i] + FLOOR)));
            t[i] = c->weight * sign * (LINEAR + 1.0f / (a[i] + FLOOR));
        }
        c->m->row_loss[r] = sum;
    }
}

/* Overlapping frames add up: clips are independent, frames of one are not, so it goes in order. */
static void overlap_add(const chunk *c)
{
    int half = c->s->window / 2, n = c->m->samples;
    for (int64_t r = 0; r < c->rows; r++) {
        int64_t clip, at = frame_start(c, r, &clip);
        float *wave = c->dwave + clip * n;
        const float *sum = c->m->frames + r * half, *diff = sum + (int64_t)c->rows * half;
        for (int i = 1; i <= half; i++) {
            int64_t p = at + i, q = at + 2 * half - i;
            if (p >= 0 && p < n)
                wave[p] += i < half ? sum[i - 1] + diff[i - 1] : sum[i - 1];
            if (q >= 0 && q < n && i < half)
                wave[q] += sum[i - 1] - diff[i - 1];
        }
    }
}

/* Mel rows of c->wave into part `which` of m->mel; the spectrum and magnitude stay for backward. */
static void mel_of(rlm_run *run, chunk *c, int which)
{
    const scale *s = c->s;
    rlm_mel *m = c->m;
    rlm_par_for(run->par, c->rows, 16, gather_frames, c);
    int half = s->window / 2;
    for (int part = 0; part < 2; part++)
        run->k->gemm(run->par, false, false, c->rows, s->bins, half, 1.0f,
                     m->frames + (int64_t)part * c->rows * half, part ? s->sines : s->cosines, 0.0f,
                     m->spectra + (int64_t)part * c->rows * s->bins);
    rlm_par_for(run->par, c->rows, 16, take_magnitude, c);
    run->k->gemm(run->par, false, false, c->rows, MELS, s->bins, 1.0f, m->magnitude, s->filters,
                 0.0f, m->mel + (int64_t)which * c->rows * MELS);
}

static double chunk_loss(rlm_run *run, chunk *c, const float *x, const float *target)
{
    const scale *s = c->s;
    rlm_mel *m = c->m;
    c->wave = target;
    mel_of(run, c, 1);
    c->wave = x;
    mel_of(run, c, 0);
    rlm_par_for(run->par, c->rows, 16, compare_mels, c);
    double sum = 0;
    for (int r = 0; r < c->rows; r++)
        sum += m->row_loss[r];
    if (!c->dwave)
        return sum;
    run->k->gemm(run->par, false, true, c->rows, s->bins, MELS, 1.0f,
                 m->mel + (int64_t)c->rows * MELS, s->filters, 0.0f,
                 m->magnitude + (int64_t)c->rows * s->bins);
    rlm_par_for(run->par, c->rows, 16, spread_magnitude, c);
    int half = s->window / 2;
    for (int part = 0; part < 2; part++)
        run->k->gemm(run->par, false, true, c->rows, half, s->bins, 1.0f,
                     m->spectra + (int64_t)part * c->rows * s->bins, part ? s->sines : s->cosines,
                     0.0f, m->frames + (int64_t)part * c->rows * half);
    overlap_add(c);
    return sum;
}

double rlm_loss_mel(rlm_run *run, rlm_mel *m, const rlm_tensor *x, const float *target,
                    float scale_by)
{
    int64_t clips = rlm_tensor_count(x) / m->samples;
    assert(clips >= 1 && clips <= m->batch && clips * m->samples == rlm_tensor_count(x));
    double loss = 0;
    for (int i = 0; i < m->scale_count; i++) {
        const scale *s = &m->scales[i];
        int64_t all = clips * s->frames;
        double sum = 0, each = (double)all * MELS * m->scale_count;
        for (int64_t at = 0; at < all; at += s->rows) {
            int rows = all - at < s->rows ? (int)(all - at) : s->rows;
            chunk c = {s, m, at, rows, NULL, x->grad, scale_by / (float)each};
            sum += chunk_loss(run, &c, rlm_f32(x), target);
        }
        loss += sum / each;
    }
    return loss;
}
