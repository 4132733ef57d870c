/* How the residual quantiser learns: k-means on collected latents, then exponential averages, dead
 * codes replaced. Distances and look-ups are kernels; the scatter into averages touches elements
 * here: it is the quantiser's own optimiser. */
#include "src/train/audio_train.h"

#include "src/base/rng.h"

#include <math.h>
#include <string.h>

static const float DECAY = 0.99f;     /* of the averages, a step */
static const float DEAD_SHARE = 0.1f; /* of a code's fair count below which it is replaced */
static const float BORN_SHARE = 0.4f; /* of the fair count that a replaced code starts with */
static const float COMMIT_WEIGHT = 0.25f, CENTRE_WEIGHT = 0.1f;
enum { KMEANS_ROUNDS = 6 };

int rlm_rvq_open(rlm_rvq *q, const rlm_audio *a, int64_t rows, rlm_error *err)
{
    const rlm_audio_config *c = rlm_audio_get_config(a);
    memset(q, 0, sizeof *q);
    q->audio = a;
    q->levels = c->levels;
    q->codes = c->codes;
    q->dim = c->dim;
    q->step_rows = rows;
    q->rows = rows > RLM_RVQ_POOL ? rows : RLM_RVQ_POOL;
    size_t books = (size_t)c->levels * (size_t)c->codes, row = (size_t)c->dim * sizeof(float);
    q->hits = rlm_calloc(books, sizeof(float));
    q->sums = rlm_calloc(books, row);
    q->rest = rlm_calloc((size_t)q->rows, row);
    q->ids = rlm_calloc((size_t)q->rows, sizeof(int32_t));
    q->pool = rlm_calloc(RLM_RVQ_POOL, row);
    if (q->hits && q->sums && q->rest && q->ids && q->pool)
        return 0;
    rlm_rvq_free(q);
    return rlm_fail(err, RLM_E_NOMEM, "quantiser: no memory for its averages");
}

void rlm_rvq_free(rlm_rvq *q)
{
    rlm_free(q->hits);
    rlm_free(q->sums);
    rlm_free(q->rest);
    rlm_free(q->ids);
    rlm_free(q->pool);
    memset(q, 0, sizeof *q);
}

static float *book_of(const rlm_rvq *q, int level)
{
    return rlm_audio_books(q->audio)->data + (int64_t)level * q->codes * q->dim;
}

void rlm_rvq_collect(rlm_rvq *q, int64_t rows, const float *x)
{
    for (int64_t r = 0; r < rows; r++, q->pool_count++)
        memcpy(q->pool + q->pool_count % RLM_RVQ_POOL * q->dim, x + r * q->dim,
               (size_t)q->dim * sizeof(float));
}

/* Counts and sums of the rows each code won; rows with id < 0 belong to nobody. */
static void tally(const rlm_rvq *q, int64_t rows, const float *x, float weight, float *hits,
                  float *sums)
{
    for (int64_t r = 0; r < rows; r++) {
        if (q->ids[r] < 0)
            continue;
        hits[q->ids[r]] += weight;
        float *sum = sums + (int64_t)q->ids[r] * q->dim;
        for (int i = 0; i < q->dim; i++)
            sum[i] += weight * x[r * q->dim + i];
    }
}

/* book = sums / hits where anybody was hit. */
static void centre(const rlm_rvq *q, const float *hits, const float *sums, float *book)
{
    for (int64_t k = 0; k < q->codes; k++)
        for (int i = 0; i < q->dim && hits[k] > 1e-6f; i++)
            book[k * q->dim + i] = sums[k * q->dim + i] / hits[k];
}

/* Put code k on row r of x as if it had won `hit` rows there. */
static void plant(rlm_rvq *q, int level, int64_t k, const float *row, float hit)
{
    int64_t at = (int64_t)level * q->codes + k;
    float *code = book_of(q, level) + k * q->dim, *sum = q->sums + at * q->dim;
    q->hits[at] = hit;
    for (int i = 0; i < q->dim; i++) {
        code[i] = row[i];
        sum[i] = hit * row[i];
    }
}

/* q->ids: the code of this level nearest to each of the rows of q->rest. */
static void nearest(rlm_rvq *q, rlm_run *run, int level, int64_t rows)
{
    rlm_rvq_shape s = {.rows = rows, .dim = q->dim, .codes = q->codes, .levels = 1, .beam = 1};
    run->k->rvq_search(run->par, &s, q->rest, book_of(q, level), q->ids, rows);
}

static void kmeans(rlm_rvq *q, rlm_run *run, int level, int64_t rows, uint64_t seed)
{
    float *book = book_of(q, level), *hits = q->hits + (int64_t)level * q->codes;
    float *sums = q->sums + (int64_t)level * q->codes * q->dim;
    for (int k = 0; k < q->codes; k++) {
        uint32_t r = rlm_rng_below(seed, 71 + (uint64_t)level, (uint64_t)k, (uint32_t)rows);
        plant(q, level, k, q->rest + (int64_t)r * q->dim, 1.0f);
    }
    for (int round = 0; round < KMEANS_ROUNDS; round++) {
        nearest(q, run, level, rows);
        memset(hits, 0, (size_t)q->codes * sizeof(float));
        memset(sums, 0, (size_t)q->codes * (size_t)q->dim * sizeof(float));
        tally(q, rows, q->rest, 1.0f, hits, sums);
        centre(q, hits, sums, book);
        for (int k = 0; k < q->codes; k++) {
            if (hits[k] > 0)
                continue;
            uint64_t at = (uint64_t)round * (uint64_t)q->codes + (uint64_t)k;
            uint32_t r = rlm_rng_below(seed, 171 + (uint64_t)level, at, (uint32_t)rows);
            plant(q, level, k, q->rest + (int64_t)r * q->dim, 1.0f);
        }
    }
}

/* The pool is many batches: its counts become those of one, so that the averages keep moving. */
static void weigh_start(rlm_rvq *q, rlm_run *run, int level, int64_t rows)
{
    float share = (float)q->step_rows / (float)rows;
    run->k->scale(run->par, q->codes, share, q->hits + (int64_t)level * q->codes);
    run->k->scale(run->par, (int64_t)q->codes * q->dim, share,
                  q->sums + (int64_t)level * q->codes * q->dim);
}

void rlm_rvq_start(rlm_rvq *q, rlm_run *run, uint64_t seed)
{
    int64_t rows = q->pool_count < RLM_RVQ_POOL ? q->pool_count : RLM_RVQ_POOL;
    const rlm_kernels *k = run->k;
    if (rows == 0)
        return;
    k->copy(run->par, rows * q->dim, q->pool, q->rest);
    for (int level = 0; level < q->levels; level++) {
        kmeans(q, run, level, rows, seed);
        weigh_start(q, run, level, rows);
        nearest(q, run, level, rows);
        for (int64_t r = 0; r < rows; r++) {
            const float *code = book_of(q, level) + (int64_t)q->ids[r] * q->dim;
            for (int i = 0; i < q->dim; i++)
                q->rest[r * q->dim + i] -= code[i];
        }
    }
    q->started = 1;
}

/* Codes that hardly anybody chooses move onto a row that does choose. */
static void replace_dead(rlm_rvq *q, int level, int64_t rows, int64_t active, uint64_t seed,
                         int64_t step)
{
    float fair = (float)active / (float)q->codes;
    uint64_t stream = rlm_rng_mix((uint64_t)step) + (uint64_t)level;
    for (int k = 0; k < q->codes && active > 0; k++) {
        if (q->hits[(int64_t)level * q->codes + k] >= DEAD_SHARE * fair)
            continue;
        uint32_t r = rlm_rng_below(seed, stream, (uint64_t)k, (uint32_t)rows);
        if (q->ids[r] < 0)
            continue; /* a row without this level; another turn next step */
        plant(q, level, k, q->rest + (int64_t)r * q->dim, BORN_SHARE * fair);
        q->replaced++;
    }
}

rlm_rvq_pulled rlm_rvq_pull(const rlm_rvq *q, rlm_run *run, const rlm_tensor *z,
                            const rlm_tensor *quantised, float scale)
{
    const rlm_kernels *k = run->k;
    int64_t n = rlm_tensor_count(z), rows = rlm_tensor_rows(z), dim = n / rows;
    const float *x = rlm_f32(z);
    float *mean = q->rest; /* free between steps */
    rlm_rvq_pulled p = {0};
    for (int64_t i = 0; i < dim; i++) {
        double sum = 0;
        for (int64_t r = 0; r < rows; r++)
            sum += x[r * dim + i];
        mean[i] = (float)(sum / (double)rows);
        p.offset += (double)mean[i] * mean[i] / (double)dim;
    }
    p.spread = k->sumsq(run->par, n, x) / (double)n - p.offset + 1e-6;
    p.offset /= p.spread;
    float weight = (float)(2.0 * CENTRE_WEIGHT * scale / (p.spread * (double)n));
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < dim; i++)
            z->grad[r * dim + i] += weight * mean[i];
    weight = (float)(COMMIT_WEIGHT * scale / p.spread);
    if (q->started)
        p.lost =
            k->recon(run->par, RLM_LOSS_L2, n, x, rlm_f32(quantised), weight, z->grad) / p.spread;
    p.value = scale * (COMMIT_WEIGHT * p.lost + CENTRE_WEIGHT * p.offset);
    return p;
}

/* Shorter averages at first: the latents still move quickly when the codebooks are new. */
static float decay_of(const rlm_rvq *q)
{
    float age = (float)q->started;
    return fminf(DECAY, (age + 4.0f) / (age + 8.0f));
}

double rlm_rvq_used(const rlm_rvq *q, int level)
{
    const float *hits = q->hits + (int64_t)level * q->codes;
    double total = 1e-30, h = 0;
    for (int k = 0; k < q->codes; k++)
        total += hits[k];
    for (int k = 0; k < q->codes; k++)
        h -= hits[k] > 0 ? hits[k] / total * log(hits[k] / total) : 0;
    return exp(h);
}

void rlm_rvq_train(rlm_rvq *q, rlm_run *run, int64_t rows, int clips, const int *levels,
                   const float *x, float *out, uint64_t seed, int64_t step)
{
    const rlm_kernels *k = run->k;
    int64_t n = rows * q->dim, each = rows / clips;
    float decay = decay_of(q);
    q->replaced = 0;
    k->fill(run->par, n, 0.0f, out);
    for (int level = 0; level < q->levels; level++) {
        float *hits = q->hits + (int64_t)level * q->codes;
        float *sums = q->sums + (int64_t)level * q->codes * q->dim;
        int64_t active = 0;
        k->copy(run->par, n, x, q->rest);
        k->axpy(run->par, n, -1.0f, out, q->rest);
        nearest(q, run, level, rows);
        for (int64_t r = 0; r < rows; r++) {
            if (levels[r / each] <= level)
                q->ids[r] = -1;
            active += q->ids[r] >= 0;
        }
        k->embedding_forward(run->par, rows, q->dim, q->ids, book_of(q, level), out, true);
        run->k->scale(run->par, q->codes, decay, hits);
        run->k->scale(run->par, (int64_t)q->codes * q->dim, decay, sums);
        tally(q, rows, q->rest, 1.0f - decay, hits, sums);
        centre(q, hits, sums, book_of(q, level));
        replace_dead(q, level, rows, active, seed, step);
    }
    q->started++;
}
