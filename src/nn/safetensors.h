/* safetensors: u64 header length, JSON header, data. Reader checks every bound; writer is atomic.
 */
#ifndef RLM_NN_SAFETENSORS_H
#define RLM_NN_SAFETENSORS_H

#include "src/base/file.h"
#include "src/nn/tensor.h"

typedef struct rlm_st_entry {
    char *name;
    rlm_tensor tensor; /* data points into the map; read only */
} rlm_st_entry;

typedef struct rlm_safetensors {
    rlm_map map;
    const char *path; /* copy, for messages */
    rlm_st_entry *entries;
    int count;
    char **meta; /* key, value, key, value ... sorted by key */
    int meta_count;
    char sha256[65]; /* of the whole file; filled by rlm_st_hash */
} rlm_safetensors;

/* Limits: header 64 MiB, 65,536 tensors, rank <= 5 (a scalar reads as [1]), names < 256 bytes, data
 * covered without overlap or gap. Files of others may leave data unaligned: read elements through
 * rlm_st_to_f32 or memcpy. Entries are sorted by name. */
int rlm_st_open(rlm_safetensors *st, const char *path, rlm_error *err);
/* The same from "-" (stdin) or a pipe as well. */
int rlm_st_open_stream(rlm_safetensors *st, const char *path, rlm_error *err);
void rlm_st_close(rlm_safetensors *st);
const rlm_tensor *rlm_st_find(const rlm_safetensors *st, const char *name);
const char *rlm_st_meta(const rlm_safetensors *st, const char *key); /* NULL if absent */
const char *rlm_st_hash(rlm_safetensors *st);
/* Convert a found tensor's elements to f32 (from F32, BF16, F16, I32...). */
void rlm_st_to_f32(const rlm_tensor *t, float *out);

/* Writer: data is borrowed until commit; names and metadata are copied. store_as: the tensor's own
 * dtype, or BF16 for F32. Failures stick and are reported by commit. */
typedef struct rlm_st_writer {
    rlm_st_entry *entries;
    rlm_dtype *store_as; /* dtype in the file; f32 data may be stored as BF16 */
    int count, capacity;
    char **meta;
    int meta_count;
    bool failed;
} rlm_st_writer;
void rlm_st_writer_init(rlm_st_writer *w);
void rlm_st_add(rlm_st_writer *w, const char *name, const rlm_tensor *t, rlm_dtype store_as);
void rlm_st_add_meta(rlm_st_writer *w, const char *key, const char *value);
int rlm_st_commit(rlm_st_writer *w, const char *path, rlm_error *err); /* atomic */
void rlm_st_writer_free(rlm_st_writer *w);

#endif
