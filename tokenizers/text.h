/* Text tokenizer: SentencePiece (arXiv 1808.06226) behind a C interface; the only C++ is
 * text_spm.cc. */
#ifndef RLM_TOKENIZERS_TEXT_H
#define RLM_TOKENIZERS_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "src/reelm.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rlm_text rlm_text;
/* The file is checked (size, protobuf framing) before SentencePiece sees it. */
int rlm_text_open(rlm_text **out, const char *path, rlm_error *err);
void rlm_text_close(rlm_text **t);
int rlm_text_size(const rlm_text *t); /* pieces */
/* Encode UTF-8 (invalid bytes become U+FFFD; at most `bytes`): up to `max` ids; *count = how many;
 * more than max is cut off and *cut set to 1 (may be NULL). */
int rlm_text_encode(const rlm_text *t, const char *utf8, size_t bytes, int32_t *ids, int max,
                    int *count, int *cut, rlm_error *err);
/* Ids -> UTF-8, heap, free with rlm_string_free. Out-of-range ids fail with TOKENS. */
int rlm_text_decode(const rlm_text *t, const int32_t *ids, int count, char **utf8, rlm_error *err);
/* Train a unigram model with byte fallback on a file of lines; writes out_path. */
int rlm_text_train(const char *corpus_path, const char *out_path, int pieces, rlm_error *err);

#ifdef __cplusplus
}
#endif
#endif
