/* Lanes: the search of the residual vector quantiser. Eight rows at a time: what is left of each on
 * each of its paths meets all codes of a level (score = |c|^2 / 2 - rest.c in f32); codes whose
 * score f32 cannot tell from those of the best are ranked by exact distances. */
#include "src/kernels/lanes.h"
#include "src/kernels/rvq.h"

typedef struct search_job {
    rlm_par *par;
    int dim, codes, levels, beam;
    int padded; /* codes, to whole vectors */
    const float *x, *books;
    float *turned;                     /* [levels * padded / lanes][dim][lanes] */
    float *half;                       /* [levels][padded]: |c|^2 / 2; infinity past the end */
    float longest[RLM_RVQ_LEVELS_MAX]; /* largest |c|^2 / 2 */
    int32_t *ids;
    int64_t pitch;
} search_job;

/* Lay as many codes as lanes side by side, so that one vector holds one dimension of all of them.
 */
static void turn_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const search_job j = *(const search_job *)ctx;
    (void)worker;
    for (int64_t b = begin; b < end; b++) {
        int64_t level = b * V_LANES / j.padded;
        int first = (int)(b * V_LANES % j.padded);
        const float *code = j.books + (level * j.codes + first) * j.dim;
        int n = j.codes - first < V_LANES ? j.codes - first : V_LANES;
        v_f32 sum = v_zero();
        for (int d = 0; d < j.dim; d++) {
            v_f32 v = v_gather(code + d, j.dim, v_tail(n));
            v_write(j.turned + (b * j.dim + d) * V_LANES, v);
            sum = v_fma(v, v, sum);
        }
        v_write(j.half + b * V_LANES, v_only(v_tail(n), v_set(INFINITY), v_mul(sum, v_set(0.5f))));
    }
}

enum { SEARCH_ROWS = 8 };

/* The scores [8][padded] of eight vectors at one level. */
static void score_eight(const search_job *j, int level, const float *const *x, float *score)
{
    const float *half = j->half + (int64_t)level * j->padded;
    const float *turned = j->turned + (int64_t)level * j->padded * j->dim;
    for (int at = 0; at < j->padded; at += V_LANES) {
        const float *t = turned + (int64_t)at * j->dim;
        v_f32 acc[SEARCH_ROWS];
        for (int i = 0; i < SEARCH_ROWS; i++)
            acc[i] = v_read(half + at);
        for (int d = 0; d < j->dim; d++) {
            v_f32 c = v_read(t + d * V_LANES);
            for (int i = 0; i < SEARCH_ROWS; i++)
                acc[i] = v_fnma(c, v_set(x[i][d]), acc[i]);
        }
        for (int i = 0; i < SEARCH_ROWS; i++)
            v_write(score + (int64_t)i * j->padded + at, acc[i]);
    }
}

static float square_sum(const float *x, int n)
{
    v_f32 sum = v_zero();
    for (int i = 0; i < n; i += V_LANES) {
        v_f32 v = v_load(x + i, v_tail(n - i));
        sum = v_fma(v, v, sum);
    }
    return v_sum(sum);
}

/* The best codes behind path `from`, whose scores these are. */
static void choose(const search_job *j, int level, int from, const float *rest, const float *score,
                   rlm_rvq_paths *kept)
{
    const float *book = j->books + (int64_t)level * j->codes * j->dim;
    float square = square_sum(rest, j->dim), slack = 4e-6f * (square + j->longest[level]);
    float bound = nextafterf((float)rlm_rvq_limit(kept) / 2 - square / 2 + slack, INFINITY);
    for (int i = 0; i < j->padded; i += V_LANES) {
        v_flags close = v_above(v_set(bound), v_read(score + i));
        for (unsigned m = v_bits(close, V_ALL); m; m &= m - 1) {
            int code = i + __builtin_ctz(m);
            double distance = rlm_rvq_distance(j->dim, rest, book + (int64_t)code * j->dim);
            rlm_rvq_keep(kept, (rlm_rvq_path){distance, from, code});
            bound = nextafterf((float)rlm_rvq_limit(kept) / 2 - square / 2 + slack, INFINITY);
        }
    }
}

static void search_eight(const search_job *j, int64_t first, int n, float *words, float *score)
{
    rlm_rvq_row row[SEARCH_ROWS];
    for (int i = 0; i < n; i++)
        row[i] = rlm_rvq_begin(j->dim, j->levels, j->beam, j->x + (first + i) * j->dim,
                               words + i * rlm_rvq_words(j->dim, j->levels, j->beam));
    for (int level = 0; level < j->levels; level++) {
        const float *rest[SEARCH_ROWS * RLM_RVQ_BEAM_MAX + SEARCH_ROWS];
        int count = 0;
        for (int i = 0; i < n; i++)
            for (int b = 0; b < row[i].count; b++)
                rest[count++] = row[i].rest + (int64_t)b * j->dim;
        for (int i = count; i % SEARCH_ROWS; i++)
            rest[i] = rest[0];
        for (int i = 0; i < count; i += SEARCH_ROWS)
            score_eight(j, level, rest + i, score + (int64_t)i * j->padded);
        const float *own = score;
        for (int i = 0; i < n; i++) {
            rlm_rvq_paths kept = {.beam = j->beam};
            for (int b = 0; b < row[i].count; b++, own += j->padded)
                choose(j, level, b, row[i].rest + (int64_t)b * j->dim, own, &kept);
            rlm_rvq_advance(&row[i], j->dim, j->levels, level, j->x + (first + i) * j->dim,
                            j->books + (int64_t)level * j->codes * j->dim, &kept);
        }
    }
    for (int i = 0; i < n; i++)
        for (int level = 0; level < j->levels; level++)
            j->ids[level * j->pitch + first + i] = row[i].ids[level];
}

static void search_fn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const search_job *j = ctx;
    size_t words = SEARCH_ROWS * rlm_rvq_words(j->dim, j->levels, j->beam);
    size_t scores = (size_t)SEARCH_ROWS * (size_t)j->beam * (size_t)j->padded;
    float *score = rlm_par_scratch(j->par, worker, 0, (scores + words) * sizeof(float));
    for (int64_t r = begin; r < end; r += SEARCH_ROWS) {
        int n = end - r < SEARCH_ROWS ? (int)(end - r) : SEARCH_ROWS;
        search_eight(j, r, n, score + scores, score);
    }
}

static void rvq_search(rlm_par *par, const rlm_rvq_shape *s, const float *x, const float *books,
                       int32_t *ids, int64_t pitch)
{
    int padded = (s->codes + V_LANES - 1) / V_LANES * V_LANES;
    int64_t all = (int64_t)s->levels * padded;
    float *turned = rlm_par_scratch(par, 0, 3, (size_t)all * ((size_t)s->dim + 1) * sizeof(float));
    search_job j = {par,    s->dim, s->codes, s->levels, s->beam,
                    padded, x,      books,    turned,    turned + all * s->dim,
                    {0},    ids,    pitch};
    rlm_par_for(par, all / V_LANES, v_row_grain(s->dim * 64), turn_fn, &j);
    for (int q = 0; q < s->levels; q++)
        for (int i = 0; i < s->codes; i++)
            j.longest[q] = fmaxf(j.longest[q], j.half[(int64_t)q * padded + i]);
    rlm_par_for(par, s->rows, SEARCH_ROWS, search_fn, &j);
}

void V_NAME(rvq)(rlm_kernels *k)
{
    k->rvq_search = rvq_search;
}
