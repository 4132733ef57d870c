/* The folder where jobs live: one folder a job, named by its id, files written to a temporary name,
 * synced and renamed. With no path given it is a private temporary folder that goes with the
 * server. No name here ever comes from a client. */
#ifndef RLM_SERVER_STORE_H
#define RLM_SERVER_STORE_H

#include "src/server/bytes.h"

enum { RLM_STORE_PATH = 4096 };

typedef struct rlm_store {
    char path[RLM_STORE_PATH - 128];
    int fd;        /* of the folder "jobs" */
    int lock_fd;   /* held as long as the server runs */
    int temporary; /* 1: removed at the end */
} rlm_store;

/* path NULL: temporary. Fails with IO, or BUSY when another server holds the folder. */
int rlm_store_open(rlm_store *store, const char *path, rlm_error *err);
void rlm_store_close(rlm_store *store);

int rlm_store_create(rlm_store *store, const char *id, rlm_error *err);
/* Atomic: after a crash the file holds all of the old bytes or all of the new. */
int rlm_store_write(rlm_store *store, const char *id, const char *name, const void *data,
                    size_t bytes, rlm_error *err);
/* File descriptor of the caller, or -1. *bytes is its size. Links are not followed. */
int rlm_store_open_file(rlm_store *store, const char *id, const char *name, int64_t *bytes);
/* 1 when the folder is there and the file is not; 0 too when that cannot be told. */
int rlm_store_lacks(rlm_store *store, const char *id, const char *name);
/* *text is heap with a NUL behind; files beyond limit are refused. */
int rlm_store_read(rlm_store *store, const char *id, const char *name, size_t limit, char **text,
                   size_t *bytes, rlm_error *err);
/* Path of a file of the job, for writers that need one. */
void rlm_store_file_path(const rlm_store *store, const char *id, const char *name,
                         char path[RLM_STORE_PATH]);
/* Another name in folder `to` for a finished file of folder `from`. */
int rlm_store_link(rlm_store *store, const char *from, const char *from_name, const char *to,
                   const char *to_name, rlm_error *err);
int64_t rlm_store_bytes(rlm_store *store, const char *id); /* of all files of a job */
/* Remove a job's folder with all in it. */
void rlm_store_remove(rlm_store *store, const char *id);
void rlm_store_remove_file(rlm_store *store, const char *id, const char *name);
/* Call seen for every job's folder. */
int rlm_store_each(rlm_store *store, void (*seen)(void *cookie, const char *id), void *cookie,
                   rlm_error *err);

#endif
