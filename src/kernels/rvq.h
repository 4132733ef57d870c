/* What the definition and the overlay of rlm_rvq_search share: the list of the best paths, and the
 * step from one level to the next. Paths are ranked by exact distances in double, so that every
 * level of instructions chooses the same. */
#ifndef RLM_KERNELS_RVQ_H
#define RLM_KERNELS_RVQ_H

#include <math.h>
#include <string.h>

#include "src/kernels/kernels.h"

/* One more code, `code`, behind path `from` of the level before. */
typedef struct rlm_rvq_path {
    double distance; /* squared, of what was to be coded from the sum so far */
    int from, code;
} rlm_rvq_path;

typedef struct rlm_rvq_paths {
    int beam, count;
    rlm_rvq_path at[RLM_RVQ_BEAM_MAX]; /* by distance; of equals the earlier kept comes first */
} rlm_rvq_paths;

/* What a path must lie below to be kept. */
static inline double rlm_rvq_limit(const rlm_rvq_paths *p)
{
    return p->count < p->beam ? INFINITY : p->at[p->count - 1].distance;
}

static inline void rlm_rvq_keep(rlm_rvq_paths *p, rlm_rvq_path path)
{
    if (!(path.distance < rlm_rvq_limit(p)))
        return;
    int at = p->count < p->beam ? p->count++ : p->count - 1;
    for (; at > 0 && p->at[at - 1].distance > path.distance; at--)
        p->at[at] = p->at[at - 1];
    p->at[at] = path;
}

/* Squared distance in double, in index order. */
static inline double rlm_rvq_distance(int dim, const float *x, const float *code)
{
    double sum = 0;
    for (int i = 0; i < dim; i++) {
        double d = (double)x[i] - code[i];
        sum += d * d;
    }
    return sum;
}

/* The paths of one row. */
typedef struct rlm_rvq_row {
    int count;
    float *rest;             /* [beam][dim]: x - sum */
    float *sum, *sum_next;   /* [beam][dim]: of the codes chosen */
    int32_t *ids, *ids_next; /* [beam][levels] */
} rlm_rvq_row;

/* 4-byte words of memory that rlm_rvq_begin cuts up. */
static inline size_t rlm_rvq_words(int dim, int levels, int beam)
{
    return (size_t)beam * (3 * (size_t)dim + 2 * (size_t)levels);
}

static inline rlm_rvq_row rlm_rvq_begin(int dim, int levels, int beam, const float *x, float *words)
{
    rlm_rvq_row row = {.count = 1, .rest = words};
    row.sum = row.rest + (size_t)beam * dim;
    row.sum_next = row.sum + (size_t)beam * dim;
    row.ids = (int32_t *)(row.sum_next + (size_t)beam * dim);
    row.ids_next = row.ids + (size_t)beam * levels;
    memcpy(row.rest, x, (size_t)dim * sizeof *x);
    memset(row.sum, 0, (size_t)dim * sizeof *row.sum);
    return row;
}

/* kept becomes the row's paths. Where nothing was near (x is not a number), code 0. */
static inline void rlm_rvq_advance(rlm_rvq_row *row, int dim, int levels, int level, const float *x,
                                   const float *book, rlm_rvq_paths *kept)
{
    if (kept->count == 0)
        kept->at[kept->count++] = (rlm_rvq_path){0};
    for (int b = 0; b < kept->count; b++) {
        rlm_rvq_path path = kept->at[b];
        const float *sum = row->sum + (size_t)path.from * dim;
        const float *code = book + (size_t)path.code * dim;
        float *next = row->sum_next + (size_t)b * dim, *rest = row->rest + (size_t)b * dim;
        int32_t *ids = row->ids_next + (size_t)b * levels;
        memcpy(ids, row->ids + (size_t)path.from * levels, (size_t)level * sizeof *ids);
        ids[level] = path.code;
        for (int i = 0; i < dim; i++) {
            next[i] = sum[i] + code[i];
            rest[i] = x[i] - next[i];
        }
    }
    float *sum = row->sum;
    int32_t *ids = row->ids;
    row->sum = row->sum_next;
    row->sum_next = sum;
    row->ids = row->ids_next;
    row->ids_next = ids;
    row->count = kept->count;
}

#endif
