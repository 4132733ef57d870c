/* Distances between pictures: PSNR, SSIM, MS-SSIM, flicker. */
#include "src/train/eval.h"

#include <math.h>
#include <string.h>

enum { TAPS = 11, SCALES = 5, MAPS = 5 };
static const double SIGMA = 1.5, C1 = (0.01 * 255) * (0.01 * 255), C2 = (0.03 * 255) * (0.03 * 255);
static const double SCALE_WEIGHTS[SCALES] = {0.0448, 0.2856, 0.3001, 0.2363, 0.1333};

double rlm_psnr(const rlm_frames *a, const rlm_frames *b)
{
    size_t n = (size_t)a->count * (size_t)a->height * (size_t)a->width * 3;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        int d = a->rgb[i] - b->rgb[i];
        sum += d * d;
    }
    return sum > 0 ? 10.0 * log10(255.0 * 255.0 * (double)n / sum) : INFINITY;
}

/* [height][width], Rec. 601. */
static void take_luma(const rlm_frames *f, int index, double *y)
{
    size_t n = (size_t)f->height * (size_t)f->width;
    const uint8_t *p = f->rgb + (size_t)index * n * 3;
    for (size_t i = 0; i < n; i++, p += 3)
        y[i] = 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
}

double rlm_flicker(const rlm_frames *a, const rlm_frames *b)
{
    size_t n = (size_t)a->height * (size_t)a->width;
    double sum = 0;
    if (a->count < 2)
        return NAN;
    for (int t = 0; t + 1 < a->count; t++) {
        const uint8_t *p = a->rgb + (size_t)t * n * 3, *q = b->rgb + (size_t)t * n * 3;
        for (size_t i = 0; i < n; i++, p += 3, q += 3) {
            const uint8_t *pn = p + n * 3, *qn = q + n * 3;
            sum +=
                fabs(0.299 * (qn[0] - q[0] - pn[0] + p[0]) + 0.587 * (qn[1] - q[1] - pn[1] + p[1]) +
                     0.114 * (qn[2] - q[2] - pn[2] + p[2]));
        }
    }
    return sum / ((double)n * (a->count - 1));
}

/* ---- SSIM ---- */

typedef struct ssim_job {
    const rlm_frames *a, *b;
    double taps[TAPS];
    int scales;
    double *room;   /* a worker's part: 2 pictures, MAPS rows of one line, MAPS x TAPS lines */
    size_t stride;  /* of a worker's part */
    double *result; /* [frames][scales][2]: mean of l * cs, mean of cs */
} ssim_job;

/* One line of the five maps x, y, x^2, y^2, xy, filtered along it: [MAPS][w - 10]. */
static void filter_line(const ssim_job *j, int w, const double *x, const double *y, double *out)
{
    int n = w - TAPS + 1;
    memset(out, 0, (size_t)n * MAPS * sizeof *out);
    for (int k = 0; k < TAPS; k++) {
        const double g = j->taps[k], *p = x + k, *q = y + k;
        for (int i = 0; i < n; i++) {
            out[i] += g * p[i];
            out[n + i] += g * q[i];
            out[2 * n + i] += g * p[i] * p[i];
            out[3 * n + i] += g * q[i] * q[i];
            out[4 * n + i] += g * p[i] * q[i];
        }
    }
}

/* Means over all places where the window fits: [0] luminance x structure, [1] structure. lines: a
 * ring of TAPS filtered lines; sum: one line of maps. */
static void ssim_of(const ssim_job *j, int h, int w, const double *x, const double *y,
                    double *lines, double *sum, double *result)
{
    int n = w - TAPS + 1;
    size_t line = (size_t)n * MAPS;
    double whole = 0, structure = 0;
    for (int row = 0; row < h; row++) {
        filter_line(j, w, x + (size_t)row * (size_t)w, y + (size_t)row * (size_t)w,
                    lines + (size_t)(row % TAPS) * line);
        if (row < TAPS - 1)
            continue;
        memset(sum, 0, line * sizeof *sum);
        for (int k = 0; k < TAPS; k++) {
            const double g = j->taps[k];
            const double *from = lines + (size_t)((row - TAPS + 1 + k) % TAPS) * line;
            for (size_t i = 0; i < line; i++)
                sum[i] += g * from[i];
        }
        for (int i = 0; i < n; i++) {
            double mx = sum[i], my = sum[n + i], xy = sum[4 * n + i] - mx * my;
            double xx = sum[2 * n + i] - mx * mx, yy = sum[3 * n + i] - my * my;
            double cs = (2 * xy + C2) / (xx + yy + C2);
            structure += cs;
            whole += cs * (2 * mx * my + C1) / (mx * mx + my * my + C1);
        }
    }
    double places = (double)n * (h - TAPS + 1);
    result[0] = whole / places;
    result[1] = structure / places;
}

/* Means of 2 x 2, in place; an odd last row or column is left out. */
static void halve(double *x, int h, int w)
{
    for (int i = 0; i < h / 2; i++)
        for (int k = 0; k < w / 2; k++) {
            const double *p = x + (size_t)(2 * i) * (size_t)w + 2 * k;
            x[(size_t)i * (size_t)(w / 2) + (size_t)k] = 0.25 * (p[0] + p[1] + p[w] + p[w + 1]);
        }
}

static void ssim_frames(void *ctx, int64_t begin, int64_t end, int worker)
{
    const ssim_job *j = ctx;
    size_t plane = (size_t)j->a->height * (size_t)j->a->width;
    double *x = j->room + (size_t)worker * j->stride, *y = x + plane, *lines = y + plane;
    double *sum = lines + (size_t)j->a->width * MAPS * TAPS;
    for (int64_t f = begin; f < end; f++) {
        int h = j->a->height, w = j->a->width;
        take_luma(j->a, (int)f, x);
        take_luma(j->b, (int)f, y);
        for (int s = 0; s < j->scales; s++) {
            ssim_of(j, h, w, x, y, lines, sum, j->result + (f * j->scales + s) * 2);
            halve(x, h, w);
            halve(y, h, w);
            h /= 2;
            w /= 2;
        }
    }
}

static void fill_taps(double taps[TAPS])
{
    double total = 0;
    for (int i = 0; i < TAPS; i++) {
        int d = i - TAPS / 2;
        taps[i] = exp(-d * d / (2 * SIGMA * SIGMA));
        total += taps[i];
    }
    for (int i = 0; i < TAPS; i++)
        taps[i] /= total;
}

static int count_scales(int side)
{
    int scales = 0;
    for (; scales < SCALES && side >= TAPS; side /= 2)
        scales++;
    return scales;
}

int rlm_structure_score(rlm_par *par, const rlm_frames *a, const rlm_frames *b,
                        rlm_structure *score, rlm_error *err)
{
    ssim_job j = {.a = a, .b = b};
    size_t plane = (size_t)a->height * (size_t)a->width;
    *score = (rlm_structure){.ssim = NAN, .ms_ssim = NAN};
    j.scales = score->scales = count_scales(a->height < a->width ? a->height : a->width);
    if (!j.scales)
        return RLM_OK;
    fill_taps(j.taps);
    j.stride = rlm_size_align(2 * plane + (size_t)a->width * MAPS * (TAPS + 1), 8);
    j.room = rlm_alloc(rlm_size_mul(j.stride * sizeof(double), (size_t)rlm_par_threads(par)));
    j.result = rlm_alloc((size_t)a->count * (size_t)j.scales * 2 * sizeof(double));
    if (!j.room || !j.result) {
        rlm_free(j.room);
        rlm_free(j.result);
        return rlm_fail(err, RLM_E_NOMEM, "SSIM: no memory for pictures of %dx%d", a->width,
                        a->height);
    }
    rlm_par_for(par, a->count, 1, ssim_frames, &j);
    double total = 0;
    for (int s = 0; s < j.scales; s++)
        total += SCALE_WEIGHTS[s];
    score->ssim = score->ms_ssim = 0;
    for (int f = 0; f < a->count; f++) {
        const double *r = j.result + (size_t)f * (size_t)j.scales * 2;
        double product = 1;
        for (int s = 0; s < j.scales; s++) {
            double term = r[2 * s + (s < j.scales - 1)];
            product *= pow(term > 0 ? term : 0, SCALE_WEIGHTS[s] / total);
        }
        score->ssim += r[0] / a->count;
        score->ms_ssim += product / a->count;
    }
    rlm_free(j.room);
    rlm_free(j.result);
    return RLM_OK;
}
