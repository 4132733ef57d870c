/* How the items of one folder are found: manifest.tsv, metadata.jsonl, sidecars, or a walk. */
#ifndef RLM_TRAIN_DATASET_READ_H
#define RLM_TRAIN_DATASET_READ_H

#include "src/train/train.h"

/* Items of one folder while they are gathered; owns their strings. */
typedef struct rlm_found {
    rlm_item *items;
    int count, capacity;
    int skipped;
    const rlm_log *log;
    struct rlm_place *seen; /* folders walked through: a link may lead back to one */
    int seen_count, seen_room;
} rlm_found;

/* Adds what `dir` holds. Files that are missing, empty, outside `dir` or of an unknown kind are
 * counted, named through the log, and left out. */
int rlm_found_folder(rlm_found *f, const char *dir, rlm_error *err);
void rlm_found_forget(rlm_found *f); /* all but the items */
void rlm_item_free(rlm_item *item);

#endif
