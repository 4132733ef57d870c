/* Multi-scale spectral losses between waves x and target. In mel bands, after SoundStream (arXiv
 * 2107.03312, eq. 6):
 *
 *   mean over s = 64, 128 .. 2048, frames, clips and bands of
 *       LINEAR * |S(x) - S(target)| + |log(S(x) + FLOOR) - log(S(target) + FLOOR)|
 *
 * S: mel bands of the magnitude spectrum, Hann window s divided by its root energy (so that white
 * noise of deviation 1 has magnitudes around 1 at every scale). The paper sums, weights the
 * logarithms by sqrt(s / 2) and takes their L2 norm a frame; means and L1 weigh every scale and
 * every frame alike, whatever the crop, and let no single band rule. Zeros around a clip let every
 * sample be seen by as many frames.
 *
 * As a score: 64 bands at every scale, hop s / 4. To train: hop s / 2, s / 8 bands in windows below
 * 256 and s / 4, at most 256, from there on (the Descript codec, arXiv 2306.06546, has s / 8):
 * short windows hear when, in few bands, long ones hear which harmonic. In 64 bands a window of 64
 * samples would ask for the fine structure of noise, which no code of 2 kbit/s can give, and drown
 * what can be learnt. The linear part is small for most bands and rules the loud ones, which are
 * the harmonics of a voice: a weight of 0.3 leaves them to chance.
 *
 * In bins (Yamamoto et al., arXiv 1910.11480, eq. 4 to 6), for what no band can see, the harmonics
 * between its edges: windows 256 .. 2048, hop s / 4,
 *
 *   mean over s and clips of |S(x) - S(target)| / |S(target)|
 *                            + mean over places of |log(S(x) + FLOOR) - log(S(target) + FLOOR)|
 *
 * with Euclidean norms over a clip (spectral convergence) and -80 dB of a full sine as FLOOR.
 *
 * A scale is a chain of linear maps around two elementwise steps, so its gradient is the same chain
 * transposed. Real frames go two by two into the lanes of the complex transform, one as real and
 * one as imaginary part:
 *   frames [blocks][2][s][16] -> spectra -> magnitude [bins][rows] x filters -> mel [rows][mels]
 * The elementwise steps between the products touch elements here: they are the loss itself. */
#include "src/train/train.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    SCALES = 6,
    FIRST_WINDOW = 64,
    FIRST_BINS_WINDOW = 256, /* of the loss in bins */
    LAST_WINDOW = 2048,
    SCORE_MELS = 64,
    FINE_WINDOW = 256, /* the first with s / 4 bands */
    MOST_MELS = 256,
    CHUNK_FLOATS = 1 << 19,
    LANES = RLM_FFT_LANES,
    PAIRED = 2 * LANES
};
static const double PI = 3.14159265358979323846;
static const float LINEAR[2] = {0.3f, 10.0f}; /* by rlm_mel_use */
static const float FLOOR = 1e-3f;             /* -60 dB: what is quieter need not be matched */
static const double BINS_FLOOR = 1e-4;        /* of a sine of amplitude 1 */
/* Energy a place counts for in the norm of a silent target, -40 dB of white noise. */
static const double SILENCE = 1e-4;

/* Loops over the lanes of a block gain from the widest registers the machine has. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

typedef struct scale {
    int window, hop, bins, mels;
    int frames, rows; /* frames a clip; rows: frames worked on at once, in bins of whole clips */
    float floor;      /* under the logarithms */
    float *hann;      /* [window], over its root energy */
    float *filters;   /* [bins][mels]; NULL in bins: mels = bins then */
} scale;

struct rlm_mel {
    int rate, samples, batch, scale_count;
    rlm_mel_use use;
    scale scales[SCALES];
    float *spectra[2]; /* [rows / 32][re, im][window][16]: of the target (scratch), of x */
    float *magnitude;  /* [bins][rows]; becomes its gradient */
    float *mel;        /* [2][rows][mels]: of x, of the target; the second becomes the gradient */
    double *row_loss;  /* [rows]; in bins of the logarithms alone */
    double *row_miss, *row_whole; /* [rows] in bins: squares of the difference, of the target */
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
    for (int m = 0; m < s->mels; m++) {
        double centre = mel_to_hz(top * (m + 1) / (s->mels + 1));
        double left = centre - mel_to_hz(top * m / (s->mels + 1));
        double right = mel_to_hz(top * (m + 2) / (s->mels + 1)) - centre;
        left = left > step ? left : step;
        right = right > step ? right : step;
        for (int b = 0; b < s->bins; b++) {
            double d = b * step - centre;
            double w = d < 0 ? 1.0 + d / left : 1.0 - d / right;
            s->filters[b * s->mels + m] = (float)(w > 0 ? w : 0.0);
        }
    }
}

static double window_energy(int window)
{
    return 0.375 * window; /* Hann */
}

static void fill_window(scale *s)
{
    double energy = window_energy(s->window);
    for (int i = 0; i < s->window; i++)
        s->hann[i] = (float)((0.5 - 0.5 * cos(2 * PI * i / s->window)) / sqrt(energy));
}

static int train_mels(int window)
{
    int mels = window < FINE_WINDOW ? window / 8 : window / 4;
    return mels < MOST_MELS ? mels : MOST_MELS;
}

static int64_t whole_blocks(int64_t rows)
{
    return (rows + PAIRED - 1) / PAIRED * PAIRED;
}

static bool scale_new(scale *s, int window, const rlm_mel *m)
{
    s->window = window;
    s->hop = window / (m->use == RLM_MEL_TRAIN ? 2 : 4);
    s->bins = window / 2 + 1;
    s->mels = m->use == RLM_MEL_BINS    ? s->bins
              : m->use == RLM_MEL_SCORE ? SCORE_MELS
                                        : train_mels(window);
    s->floor = FLOOR;
    s->frames = (m->samples + window - s->hop + s->hop - 1) / s->hop;
    int64_t all = whole_blocks((int64_t)s->frames * m->batch);
    s->rows = CHUNK_FLOATS / window;
    if (m->use == RLM_MEL_BINS) {
        s->floor = (float)(BINS_FLOOR * window / 4.0 / sqrt(window_energy(window)));
        s->rows = s->rows < s->frames ? s->frames : s->rows / s->frames * s->frames;
    }
    s->rows = s->rows < all ? s->rows : (int)all;
    s->hann = rlm_alloc((size_t)window * sizeof(float));
    if (s->hann)
        fill_window(s);
    if (m->use == RLM_MEL_BINS)
        return s->hann != NULL;
    s->filters = rlm_alloc((size_t)s->bins * (size_t)s->mels * sizeof(float));
    if (s->filters)
        fill_filters(s, m->rate);
    return s->hann && s->filters;
}

static bool scratch_new(rlm_mel *m)
{
    size_t spectra = 0, magnitude = 0, mel = 0, rows = 0;
    for (int i = 0; i < m->scale_count; i++) {
        const scale *s = &m->scales[i];
        size_t r = (size_t)whole_blocks(s->rows), f = r * (size_t)s->window,
               z = r * (size_t)s->bins;
        spectra = f > spectra ? f : spectra;
        magnitude = z > magnitude ? z : magnitude;
        mel = r * (size_t)s->mels > mel ? r * (size_t)s->mels : mel;
        rows = r > rows ? r : rows;
    }
    m->spectra[0] = rlm_calloc(spectra, sizeof(float));
    m->spectra[1] = rlm_calloc(spectra, sizeof(float));
    m->magnitude = rlm_calloc(magnitude, sizeof(float));
    m->mel = rlm_calloc(2 * mel, sizeof(float));
    m->row_loss = rlm_calloc(rows, sizeof(double));
    m->row_miss = rlm_calloc(rows, sizeof(double));
    m->row_whole = rlm_calloc(rows, sizeof(double));
    return m->spectra[0] && m->spectra[1] && m->magnitude && m->mel && m->row_loss && m->row_miss &&
           m->row_whole;
}

int rlm_mel_new(rlm_mel **out, rlm_mel_use use, int rate, int samples, int batch, rlm_error *err)
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
    m->use = use;
    int window = use == RLM_MEL_BINS ? FIRST_BINS_WINDOW : FIRST_WINDOW;
    for (; window <= LAST_WINDOW; window *= 2, m->scale_count++)
        if (!scale_new(&m->scales[m->scale_count], window, m))
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
        rlm_free(m->scales[i].hann);
        rlm_free(m->scales[i].filters);
    }
    rlm_free(m->spectra[0]);
    rlm_free(m->spectra[1]);
    rlm_free(m->magnitude);
    rlm_free(m->mel);
    rlm_free(m->row_loss);
    rlm_free(m->row_miss);
    rlm_free(m->row_whole);
    rlm_free(m);
    *mp = NULL;
}

/* One chunk of frames of one scale, for the elementwise steps. */
typedef struct chunk {
    const scale *s;
    rlm_mel *m;
    int64_t first;   /* frame number over all clips */
    int rows, width; /* frames in it; rounded up to whole blocks */
    const float *wave;
    float *dwave, *spectra, *magnitude;
    float weight; /* of a frame in the mean, times the caller's scale */
} chunk;

/* Frame r begins at this sample of its clip (may be negative). */
static int64_t frame_start(const chunk *c, int64_t r, int64_t *clip)
{
    int64_t f = c->first + r;
    *clip = f / c->s->frames;
    return f % c->s->frames * c->s->hop - (c->s->window - c->s->hop);
}

/* Where frame r of the chunk lies: its first sample; the others follow LANES apart. */
static float *lane_of(const chunk *c, int64_t r)
{
    int64_t block = r / PAIRED, half = r / LANES % 2;
    return c->spectra + (2 * block + half) * c->s->window * LANES + r % LANES;
}

/* Which part [*from, *to) of frame r lies inside its clip. */
static void clamp_frame(const chunk *c, int64_t at, int *from, int *to)
{
    int64_t n = c->m->samples - at;
    *from = at < 0 ? (int)-at : 0;
    *to = n < c->s->window ? (int)n : c->s->window;
}

static void gather_frames(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const chunk *c = ctx;
    const float *hann = c->s->hann;
    for (int64_t r = begin; r < end; r++) {
        int64_t clip, at = frame_start(c, r, &clip);
        const float *wave = c->wave + clip * c->m->samples + at;
        float *lane = lane_of(c, r);
        int from = c->s->window, to = from;
        if (r < c->rows)
            clamp_frame(c, at, &from, &to);
        for (int i = 0; i < from; i++)
            lane[(int64_t)i * LANES] = 0.0f;
        for (int i = from; i < to; i++)
            lane[(int64_t)i * LANES] = hann[i] * wave[i];
        for (int i = to; i < c->s->window; i++)
            lane[(int64_t)i * LANES] = 0.0f;
    }
}

/* Of the frames a, b in a lane: z_k = a_k + i b_k, and both are real, so
 * 2 a_k = z_k + conj z_-k, 2 i b_k = z_k - conj z_-k. */
WIDE static void magnitudes_of(int n, const float *x, int64_t pitch, float *out)
{
    const float *y = x + (int64_t)n * LANES;
    for (int k = 0; k <= n / 2; k++) {
        const float *re = x + (int64_t)k * LANES, *im = y + (int64_t)k * LANES;
        const float *re2 = x + (int64_t)((n - k) % n) * LANES;
        const float *im2 = y + (int64_t)((n - k) % n) * LANES;
        float *a = out + k * pitch, *b = a + LANES;
        for (int l = 0; l < LANES; l++) {
            float ar = re[l] + re2[l], ai = im[l] - im2[l];
            float br = im[l] + im2[l], bi = re[l] - re2[l];
            a[l] = 0.5f * sqrtf(ar * ar + ai * ai);
            b[l] = 0.5f * sqrtf(br * br + bi * bi);
        }
    }
}

static void take_magnitude(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const chunk *c = ctx;
    for (int64_t i = begin; i < end; i++)
        magnitudes_of(c->s->window, c->spectra + i * 2 * c->s->window * LANES, c->width,
                      c->magnitude + i * PAIRED);
}

/* d wave from d magnitude: g = dmag * a / |a| is the gradient of frame a's spectrum; the wave's is
 * Re of the inverse transform of g over the bins 0 .. n / 2, that is the inverse transform of g / 2
 * there and of its conjugate at the mirrored bins; b rides along as before. A bin of zero has no
 * direction and gets none. */
WIDE static void spread_of(int n, const float *dmag, int64_t pitch, float *x)
{
    float *y = x + (int64_t)n * LANES;
    for (int k = 0; k <= n / 2; k++) {
        int mirror = (n - k) % n;
        float *re = x + (int64_t)k * LANES, *im = y + (int64_t)k * LANES;
        float *re2 = x + (int64_t)mirror * LANES, *im2 = y + (int64_t)mirror * LANES;
        const float *a = dmag + k * pitch, *b = a + LANES;
        float whole = mirror == k ? 1.0f : 0.5f;
        for (int l = 0; l < LANES; l++) {
            float ar = re[l] + re2[l], ai = im[l] - im2[l];
            float br = im[l] + im2[l], bi = re2[l] - re[l];
            float fa = whole * a[l] / sqrtf(ar * ar + ai * ai + 1e-20f);
            float fb = whole * b[l] / sqrtf(br * br + bi * bi + 1e-20f);
            ar *= fa, ai *= fa, br *= fb, bi *= fb;
            re[l] = ar - bi;
            im[l] = ai + br;
            re2[l] = ar + bi;
            im2[l] = br - ai;
        }
    }
}

static void spread_magnitude(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const chunk *c = ctx;
    for (int64_t i = begin; i < end; i++)
        spread_of(c->s->window, c->m->magnitude + i * PAIRED, c->width,
                  c->spectra + i * 2 * c->s->window * LANES);
}

/* Loss of each frame; the target's mel is replaced by the gradient towards x's mel. */
static void compare_mels(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const chunk *c = ctx;
    int mels = c->s->mels;
    float linear = LINEAR[c->m->use];
    for (int64_t r = begin; r < end; r++) {
        const float *a = c->m->mel + r * mels;
        float *t = c->m->mel + (c->width + r) * mels;
        double sum = 0;
        for (int i = 0; i < mels; i++) {
            float sign = (float)((a[i] > t[i]) - (a[i] < t[i]));
            sum += linear * fabsf(a[i] - t[i]) + fabsf(logf((a[i] + FLOOR) / (t[i] + FLOOR)));
            t[i] = c->weight * sign * (linear + 1.0f / (a[i] + FLOOR));
        }
        c->m->row_loss[r] = sum;
    }
}

/* Overlapping frames add up: clips are independent, frames of one are not, so it goes in order. */
static void overlap_add(const chunk *c)
{
    const float *hann = c->s->hann;
    for (int64_t r = 0; r < c->rows; r++) {
        int64_t clip, at = frame_start(c, r, &clip);
        float *wave = c->dwave + clip * c->m->samples + at;
        const float *lane = lane_of(c, r);
        int from, to;
        clamp_frame(c, at, &from, &to);
        for (int i = from; i < to; i++)
            wave[i] += hann[i] * lane[(int64_t)i * LANES];
    }
}

/* Magnitudes of a wave's frames; spectra: where they stay for backward. */
static void magnitudes(rlm_run *run, chunk *c, const float *wave, float *spectra, float *out)
{
    int blocks = c->width / PAIRED;
    c->wave = wave;
    c->spectra = spectra;
    c->magnitude = out;
    rlm_par_for(run->par, c->width, 16, gather_frames, c);
    run->k->fft(run->par, blocks, c->s->window, false, spectra);
    rlm_par_for(run->par, blocks, 1, take_magnitude, c);
}

/* Mel rows of a wave into part `which` of m->mel. */
static void mel_of(rlm_run *run, chunk *c, const float *wave, float *spectra, int which)
{
    const scale *s = c->s;
    rlm_mel *m = c->m;
    magnitudes(run, c, wave, spectra, m->magnitude);
    run->k->gemm(run->par, true, false, c->width, s->mels, s->bins, 1.0f, m->magnitude, s->filters,
                 0.0f, m->mel + (int64_t)which * c->width * s->mels);
}

static double sum_of(int64_t n, const double *x)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

static double mel_loss(rlm_run *run, chunk *c, const float *x, const float *target)
{
    const scale *s = c->s;
    rlm_mel *m = c->m;
    mel_of(run, c, target, m->spectra[0], 1);
    mel_of(run, c, x, m->spectra[1], 0);
    rlm_par_for(run->par, c->width, 16, compare_mels, c);
    if (c->dwave)
        run->k->gemm(run->par, false, true, s->bins, c->width, s->mels, 1.0f, s->filters,
                     m->mel + (int64_t)c->width * s->mels, 0.0f, m->magnitude);
    return sum_of(c->rows, m->row_loss);
}

/* Of a block of frames: the sums of convergence and the logarithms' loss of each. */
WIDE static void bins_sums(int64_t bins, int64_t width, float floor, const float *t, const float *a,
                           double *logs, double *miss, double *whole)
{
    for (int64_t k = 0; k < bins; k++, a += width, t += width)
        for (int l = 0; l < PAIRED; l++) {
            float d = a[l] - t[l];
            miss[l] += (double)d * d;
            whole[l] += (double)t[l] * t[l];
            logs[l] += fabsf(logf((a[l] + floor) / (t[l] + floor)));
        }
}

/* The target's magnitudes lie in m->mel. */
static void compare_bins(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const chunk *c = ctx;
    rlm_mel *m = c->m;
    for (int64_t at = begin * PAIRED; at < end * PAIRED; at += PAIRED) {
        double *sums[3] = {m->row_loss + at, m->row_miss + at, m->row_whole + at};
        for (int i = 0; i < 3; i++)
            memset(sums[i], 0, PAIRED * sizeof(double));
        bins_sums(c->s->bins, c->width, c->s->floor, m->mel + at, m->magnitude + at, sums[0],
                  sums[1], sums[2]);
    }
}

/* Magnitudes a of x become their gradient. pull: of each frame. */
WIDE static void bins_gradient(int64_t bins, int64_t width, float weight, float floor,
                               const double *pull, const float *t, float *a)
{
    float p[PAIRED];
    for (int l = 0; l < PAIRED; l++)
        p[l] = (float)(weight * (double)bins * pull[l]);
    for (int64_t k = 0; k < bins; k++, a += width, t += width)
        for (int l = 0; l < PAIRED; l++) {
            float d = a[l] - t[l], sign = (float)((d > 0) - (d < 0));
            a[l] = p[l] * d + weight * sign / (a[l] + floor);
        }
}

static void pull_bins(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const chunk *c = ctx;
    for (int64_t at = begin * PAIRED; at < end * PAIRED; at += PAIRED)
        bins_gradient(c->s->bins, c->width, c->weight, c->s->floor, c->m->row_miss + at,
                      c->m->mel + at, c->m->magnitude + at);
}

/* A clip's convergence counts as much as the mean of its logarithms: times its places here, since
 * the caller divides by them. */
static double bins_loss(rlm_run *run, chunk *c, const float *x, const float *target)
{
    const scale *s = c->s;
    rlm_mel *m = c->m;
    double convergence = 0, places = (double)s->frames * s->bins;
    magnitudes(run, c, target, m->spectra[0], m->mel);
    magnitudes(run, c, x, m->spectra[1], m->magnitude);
    rlm_par_for(run->par, c->width / PAIRED, 1, compare_bins, c);
    for (int r = 0; r < c->rows; r += s->frames) {
        double miss = sqrt(sum_of(s->frames, m->row_miss + r));
        double whole = sqrt(sum_of(s->frames, m->row_whole + r) + SILENCE * places);
        convergence += miss / whole;
        for (int i = r; i < r + s->frames; i++)
            m->row_miss[i] = miss > 0 ? s->frames / (miss * whole) : 0;
    }
    if (c->dwave)
        rlm_par_for(run->par, c->width / PAIRED, 1, pull_bins, c);
    return places * convergence + sum_of(c->rows, m->row_loss);
}

static double chunk_loss(rlm_run *run, chunk *c, const float *x, const float *target)
{
    const scale *s = c->s;
    double sum =
        c->m->use == RLM_MEL_BINS ? bins_loss(run, c, x, target) : mel_loss(run, c, x, target);
    if (!c->dwave)
        return sum;
    rlm_par_for(run->par, c->width / PAIRED, 1, spread_magnitude, c);
    run->k->fft(run->par, c->width / PAIRED, s->window, true, c->spectra);
    overlap_add(c);
    return sum;
}

double rlm_loss_mel(rlm_run *run, rlm_mel *m, const rlm_tensor *x, const float *target,
                    float scale_by)
{
    int64_t clips = rlm_tensor_count(x) / m->samples;
    assert(clips >= 1 && clips <= m->batch && clips * m->samples == rlm_tensor_count(x));
    double loss = 0;
    float *dx = rlm_grad(run, x);
    for (int i = 0; i < m->scale_count; i++) {
        const scale *s = &m->scales[i];
        int64_t all = clips * s->frames;
        double sum = 0, each = (double)all * s->mels * m->scale_count;
        for (int64_t at = 0; at < all; at += s->rows) {
            int rows = all - at < s->rows ? (int)(all - at) : s->rows;
            chunk c = {.s = s,
                       .m = m,
                       .first = at,
                       .rows = rows,
                       .width = (int)whole_blocks(rows),
                       .dwave = dx,
                       .weight = scale_by / (float)each};
            sum += chunk_loss(run, &c, rlm_f32(x), target);
        }
        loss += sum / each;
    }
    return loss;
}
