/* Allocations that fail on purpose. The linker sends every call that our own code makes (--wrap,
 * see tests/meson.build) through these functions, and cJSON through its hooks; other libraries keep
 * their memory. What is live is counted, so that a leak shows without a sanitizer. */
#ifndef RLM_TESTS_FAULT_ALLOC_H
#define RLM_TESTS_FAULT_ALLOC_H

#include <stdint.h>

/* From now on allocation number `at` (0: the next) fails, and with `rest` all after it; -1: none.
 */
void fault_arm(int64_t at, int rest);
int64_t fault_count(void);  /* allocations since fault_arm */
int64_t fault_missed(void); /* of them, those that failed */
int64_t fault_live(void);   /* blocks that are not freed */
/* Say on stderr where the failing allocation was asked for. */
void fault_tell(int on);
/* How many blocks allocated since fault_arm are still live; names where the first came from. */
int64_t fault_leaks(char *where, int bytes);

#endif
