/* A process that gives up what it will not need. */
#ifndef RLM_SERVER_CONFINE_H
#define RLM_SERVER_CONFINE_H

#include <stdint.h>

/* From now on this process may open, execute and connect to nothing (seccomp; no network where user
 * namespaces are allowed), keeps the descriptors 0..last_fd, and is bounded in CPU seconds, bytes
 * of a file and address space. It dies with its parent. Returns 0, or -1 when the system filter
 * could not be set (the other limits hold then). Not to be undone. */
int rlm_confine(int last_fd, int seconds, int64_t file_bytes, int64_t memory_bytes);

#endif
