/* The files and masks of a wish: uploads, data URLs, results of other jobs. Private to wish*.c. */
#ifndef RLM_SERVER_WISH_INPUTS_H
#define RLM_SERVER_WISH_INPUTS_H

#include <stdbool.h>

#include "src/server/wish.h"

/* Take a field that names an input. 0: taken, -1: refused, 1: it is none. */
int rlm_input_take(rlm_wish *wish, const rlm_field *field, rlm_refusal *refusal);
/* mask_box, outpaint or sound_spans (wish_masks.c), and all three as settings. */
int rlm_mask_take(rlm_wish *wish, const char *name, const char *text, rlm_refusal *refusal);
bool rlm_mask_add(struct cJSON *settings, const rlm_wish *wish); /* false: no memory */
/* prompts, prompts[] or prompts[N]. 0: taken, -1: refused, 1: it is none. */
int rlm_prompts_take(rlm_wish *wish, const rlm_field *field, rlm_refusal *refusal);
/* After all fields: what belongs together (keyframes, control and its type). */
int rlm_input_finish(rlm_wish *wish, rlm_refusal *refusal);
/* Add a warning, as long as there is room. */
void rlm_wish_warn(rlm_wish *wish, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int rlm_wish_has(const rlm_wish *wish, int role); /* 1: an input of that role is there */
const char *rlm_input_field_name(int index);      /* NULL at the end */

#endif
