/* Decoding what a client sent, in a child process: the program runs itself again with hard limits
 * on memory, time, files and network, reads the file on its standard input and writes pictures and
 * sound to a file without a name. A file that crashes or hangs the decoder ends the child. */
#ifndef RLM_SERVER_UPLOAD_H
#define RLM_SERVER_UPLOAD_H

#include "src/reelm.h"

/* The first argument that makes the program a decoder; main hands over to rlm_upload_child then. */
#define RLM_UPLOAD_VERB "--decode-upload"

enum { RLM_UPLOAD_SECONDS = 60 }; /* wall clock; the child's CPU time is limited to the same */

/* fd: the file, read from its start, kept open. stopped: asked 20 times a second. out as in
 * rlm_media_read. MEDIA when the file cannot be decoded or the child died, CANCELLED when stopped.
 */
int rlm_upload_decode(int fd, const rlm_want *want, int (*stopped)(void *cookie), void *cookie,
                      rlm_clip *out, rlm_error *err);

/* The child's life; returns its exit code. argv: the arguments behind RLM_UPLOAD_VERB. */
int rlm_upload_child(int argc, char **argv);

#endif
