/* The dataset as training sees it: items, a split by recording, and an order of draws that is a
 * pure function of (seed, index), so that resuming needs no state. */
#include "src/train/dataset_read.h"

#include "src/base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUND_MIN = 64, ROUND_MAX = 4096 };
enum { RECORDINGS_LEAST = 8 }; /* of which one validates whatever the draw says */
static const double VALIDATION_SHARE = 0.06;

/* FNV-1a, finished by the mixer of base/rng.h: [0, 1), the same on every machine. */
static double hash_unit(const char *s)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * 0x100000001b3ull;
    return (double)(rlm_rng_mix(h) >> 11) * 0x1p-53;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const rlm_item *)a)->path, ((const rlm_item *)b)->path);
}

static void free_plan(rlm_dataset *d)
{
    int **blocks[] = {&d->train,       &d->val,        &d->group_first, &d->group_items,
                      &d->round_group, &d->round_turn, &d->group_share};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        rlm_free(*blocks[i]);
        *blocks[i] = NULL;
    }
    d->train_count = d->val_count = d->group_count = d->round_slots = 0;
}

void rlm_dataset_free(rlm_dataset *d)
{
    for (int i = 0; i < d->count; i++)
        rlm_item_free(&d->items[i]);
    rlm_free(d->items);
    free_plan(d);
    memset(d, 0, sizeof *d);
}

/* ---- Groups and rounds ---- */

static int by_group(const void *a, const void *b)
{
    const rlm_item *const *x = a, *const *y = b;
    int order = strcmp((*x)->group, (*y)->group);
    return order ? order : strcmp((*x)->path, (*y)->path);
}

/* group_items: train items sorted by group; group_first: where each begins, and the end. */
static int plan_groups(rlm_dataset *d)
{
    const rlm_item **sorted = rlm_alloc(rlm_size_mul((size_t)d->train_count + 1, sizeof *sorted));
    d->group_items = rlm_alloc(((size_t)d->train_count + 1) * sizeof(int));
    d->group_first = rlm_alloc(((size_t)d->train_count + 1) * sizeof(int));
    if (!sorted || !d->group_items || !d->group_first) {
        rlm_free(sorted);
        return RLM_E_NOMEM;
    }
    for (int i = 0; i < d->train_count; i++)
        sorted[i] = &d->items[d->train[i]];
    if (d->train_count)
        qsort(sorted, (size_t)d->train_count, sizeof *sorted, by_group);
    for (int i = 0; i < d->train_count; i++) {
        d->group_items[i] = (int)(sorted[i] - d->items);
        if (i == 0 || strcmp(sorted[i]->group, sorted[i - 1]->group))
            d->group_first[d->group_count++] = i;
    }
    d->group_first[d->group_count] = d->train_count;
    rlm_free(sorted);
    return 0;
}

/* A round is a list of slots in which each group owns a share ~ sqrt(its count), at least one. */
static int plan_round(rlm_dataset *d)
{
    double total = 0;
    int want = d->train_count;
    want = want < ROUND_MIN ? ROUND_MIN : want > ROUND_MAX ? ROUND_MAX : want;
    d->group_share = rlm_calloc((size_t)d->group_count + 1, sizeof(int));
    if (!d->group_share)
        return RLM_E_NOMEM;
    for (int g = 0; g < d->group_count; g++)
        total += sqrt(d->group_first[g + 1] - d->group_first[g]);
    for (int g = 0; g < d->group_count; g++) {
        double w = sqrt(d->group_first[g + 1] - d->group_first[g]) / total;
        int share = (int)lrint(want * w);
        d->group_share[g] = share > 1 ? share : 1;
        d->round_slots += d->group_share[g];
    }
    d->round_group = rlm_alloc(((size_t)d->round_slots + 1) * sizeof(int));
    d->round_turn = rlm_alloc(((size_t)d->round_slots + 1) * sizeof(int));
    if (!d->round_group || !d->round_turn)
        return RLM_E_NOMEM;
    for (int g = 0, slot = 0; g < d->group_count; g++)
        for (int i = 0; i < d->group_share[g]; i++, slot++) {
            d->round_group[slot] = g;
            d->round_turn[slot] = i;
        }
    return 0;
}

/* Of few recordings all may have been drawn for validation: the first then trains. */
static void leave_one_to_train(rlm_dataset *d)
{
    const char *source = NULL;
    for (int i = 0; i < d->count; i++) {
        const rlm_item *item = &d->items[i];
        if (!item->split)
            return;
        source = !source && item->split_drawn ? item->source : source;
    }
    for (int i = 0; source && i < d->count; i++)
        if (d->items[i].split_drawn && !strcmp(d->items[i].source, source))
            d->items[i].split = 0;
}

/* Of few recordings none may have been drawn for validation: then the one whose draw came nearest
 * is, if there are enough of them. Nobody sees on other clips what a run has learnt. */
static void leave_one_to_judge(rlm_dataset *d)
{
    const char *nearest = NULL;
    double least = 1;
    int recordings = 0;
    for (int i = 0; i < d->count; i++) {
        const rlm_item *item = &d->items[i];
        if (item->split || !item->split_drawn)
            return;
        double at = hash_unit(item->source);
        recordings += !i || strcmp(item->source, d->items[i - 1].source);
        nearest = at < least ? item->source : nearest;
        least = at < least ? at : least;
    }
    for (int i = 0; recordings >= RECORDINGS_LEAST && i < d->count; i++)
        d->items[i].split = !strcmp(d->items[i].source, nearest);
}

static int plan(rlm_dataset *d, rlm_error *err)
{
    leave_one_to_train(d);
    leave_one_to_judge(d);
    free_plan(d);
    d->train = rlm_alloc(((size_t)d->count + 1) * sizeof(int));
    d->val = rlm_alloc(((size_t)d->count + 1) * sizeof(int));
    int code = d->train && d->val ? 0 : RLM_E_NOMEM;
    for (int i = 0; !code && i < d->count; i++)
        if (d->items[i].split)
            d->val[d->val_count++] = i;
        else
            d->train[d->train_count++] = i;
    if (!code)
        code = plan_groups(d);
    if (!code)
        code = plan_round(d);
    return code ? rlm_fail(err, code, "dataset: no memory for %d items", d->count) : 0;
}

/* ---- Draws ---- */

/* Position `at` of a keyed permutation of [0, n): four Feistel rounds on the next even power of
 * two, walked until it falls inside. No table, so any epoch costs the same. */
static uint32_t permute(uint64_t seed, uint64_t stream, uint32_t n, uint32_t at)
{
    int half = 1;
    while (half < 16 && (1u << (2 * half)) < n)
        half++;
    uint32_t mask = (1u << half) - 1;
    do {
        uint32_t left = at >> half, right = at & mask;
        for (uint64_t r = 0; r < 4; r++) {
            uint32_t next = left ^ ((uint32_t)rlm_rng(seed, stream, right * 4ull + r) & mask);
            left = right;
            right = next;
        }
        at = left << half | right;
    } while (at >= n);
    return at;
}

int rlm_dataset_draw(const rlm_dataset *d, uint64_t seed, int64_t index)
{
    uint64_t round = (uint64_t)index / (uint64_t)d->round_slots;
    uint32_t place = (uint32_t)((uint64_t)index % (uint64_t)d->round_slots);
    uint32_t slot = permute(seed, rlm_rng_mix(round), (uint32_t)d->round_slots, place);
    int g = d->round_group[slot];
    uint32_t n = (uint32_t)(d->group_first[g + 1] - d->group_first[g]);
    uint64_t turn = round * (uint64_t)d->group_share[g] + (uint64_t)d->round_turn[slot];
    uint64_t epoch = rlm_rng_mix(rlm_rng_mix((uint64_t)g + 1) ^ (turn / n));
    uint32_t item = permute(seed, epoch, n, (uint32_t)(turn % n));
    return d->group_items[d->group_first[g] + (int)item];
}

/* ---- Open ---- */

/* The same file named twice counts once; the order of items is that of their paths. */
static void sort_and_unite(rlm_found *f)
{
    int kept = 0;
    if (f->count)
        qsort(f->items, (size_t)f->count, sizeof *f->items, by_path);
    for (int i = 0; i < f->count; i++) {
        if (kept && !strcmp(f->items[kept - 1].path, f->items[i].path))
            rlm_item_free(&f->items[i]);
        else
            f->items[kept++] = f->items[i];
    }
    f->count = kept;
}

/* Recordings, not clips, are split: all clips of one recording hash alike. */
static void split_items(rlm_found *f)
{
    for (int i = 0; i < f->count; i++)
        if (f->items[i].split < 0) {
            f->items[i].split = hash_unit(f->items[i].source) < VALIDATION_SHARE;
            f->items[i].split_drawn = true;
        }
}

int rlm_dataset_open(rlm_dataset *d, const char *const *dirs, int dir_count, const rlm_log *log,
                     rlm_error *err)
{
    memset(d, 0, sizeof *d);
    rlm_found f = {.log = log};
    int code = 0;
    for (int i = 0; i < dir_count && !code; i++)
        code = rlm_found_folder(&f, dirs[i], err);
    if (!code && !f.count)
        code = rlm_fail(err, RLM_E_ARG, "%s: no media files found (%d skipped)",
                        dir_count ? dirs[0] : "dataset", f.skipped);
    if (!code) {
        sort_and_unite(&f);
        split_items(&f);
    }
    rlm_found_forget(&f);
    d->items = f.items;
    d->count = f.count;
    d->skipped = f.skipped;
    if (!code)
        code = plan(d, err);
    if (code)
        rlm_dataset_free(d);
    return code;
}

int rlm_dataset_keep(rlm_dataset *d, unsigned kinds, bool with_audio, rlm_error *err)
{
    int kept = 0;
    for (int i = 0; i < d->count; i++) {
        rlm_item *item = &d->items[i];
        bool silent = with_audio && item->kind == RLM_MEDIA_VIDEO && item->has_audio == 0;
        if (!((unsigned)item->kind & kinds) || silent)
            rlm_item_free(item);
        else
            d->items[kept++] = *item;
    }
    d->count = kept;
    RLM_TRY(plan(d, err));
    if (!d->train_count)
        return rlm_fail(err, RLM_E_ARG, "dataset: no file of a wanted kind (%s%s%s ) to train on",
                        kinds & RLM_MEDIA_VIDEO ? " video" : "",
                        kinds & RLM_MEDIA_IMAGE ? " image" : "",
                        kinds & RLM_MEDIA_AUDIO ? " audio" : "");
    return 0;
}
