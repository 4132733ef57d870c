/* Files: read-only maps, bounded reads, and writes that appear whole or not at all. */
#ifndef RLM_BASE_FILE_H
#define RLM_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "src/base/diag.h"

/* Read-only view of a whole regular file. bytes 0 gives data NULL. */
typedef struct rlm_map {
    const uint8_t *data;
    size_t bytes;
    int heap; /* 1: read, not mapped */
} rlm_map;
int rlm_map_open(rlm_map *m, const char *path, rlm_error *err);
/* The same, and "-" (stdin), devices and pipes are read to their end (at most 1 GiB). */
int rlm_map_stream(rlm_map *m, const char *path, rlm_error *err);
void rlm_map_close(rlm_map *m);

/* Whole file into a heap buffer with a NUL behind it (not counted); fails with RLM_E_RANGE above
 * `limit` bytes. Caller frees with rlm_free. path "-" reads stdin. */
int rlm_file_read(const char *path, size_t limit, char **out, size_t *bytes, rlm_error *err);

/* Atomic write: a file without a name (O_TMPFILE; it is gone with its process), fsync, link as
 * PATH.tmp.PID, rename, fsync of the directory. Where the file system cannot do that, PATH.tmp.PID
 * is there from the start. On any failure the previous file is untouched and the temporary is gone;
 * only who is killed between link and rename leaves it, whole. "-", devices and pipes are written
 * in place. Use write_begin / fwrite-like / commit for streams. */
typedef struct rlm_writer {
    FILE *file;
    char *path, *tmp;
    int failed;  /* sticky errno */
    int unnamed; /* 1: tmp is not there before commit */
} rlm_writer;
int rlm_writer_open(rlm_writer *w, const char *path, rlm_error *err);
void rlm_writer_put(rlm_writer *w, const void *data, size_t bytes); /* errors stick until commit */
int rlm_writer_commit(rlm_writer *w, rlm_error *err);               /* closes in any case */
void rlm_writer_abort(rlm_writer *w);                               /* closes and removes */
int rlm_file_write(const char *path, const void *data, size_t bytes, rlm_error *err);
/* NAME.tmp.PID of a process that is no more. */
int rlm_is_orphan(const char *name);
/* Removes temporaries (NAME.tmp.PID) that killed processes left in a directory. */
void rlm_sweep_temporaries(const char *dir);

int rlm_mkdirs(const char *path, rlm_error *err); /* like mkdir -p */
int rlm_is_dir(const char *path);
/* dir + "/" + name, heap; NULL when out of memory. */
char *rlm_path_join(const char *dir, const char *name);
/* Lower-case extension without the dot ("" if none), a pointer into a static-free buffer out[16].
 */
const char *rlm_path_ext(const char *path, char out[16]);

/* SHA-256 (FIPS 180-4) of a buffer, as 64 hex digits and NUL. */
void rlm_sha256_hex(const void *data, size_t bytes, char out[65]);

#endif
