/* Calls of the system that fail on purpose: the linker sends what our own code calls (--wrap, see
 * tests/meson.build) through here. A write that fails writes half of it first. */
#ifndef RLM_TESTS_FAULT_CALLS_H
#define RLM_TESTS_FAULT_CALLS_H

#include <stdint.h>

/* From now on call number `at` (0: the next) fails with ENOSPC, and with `rest` all after it; -1:
 * none. */
void fault_calls_arm(int64_t at, int rest);
int64_t fault_calls(void);          /* since fault_calls_arm */
int64_t fault_calls_missed(void);   /* of them, those that failed */
const char *fault_calls_what(void); /* name of the first that failed; "" */
void fault_calls_old_files(int on); /* 1: a file system that has no files without a name */

#endif
