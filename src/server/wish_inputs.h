/* The files of a wish: uploads, data URLs, results of other jobs. Private to wish*.c. */
#ifndef RLM_SERVER_WISH_INPUTS_H
#define RLM_SERVER_WISH_INPUTS_H

#include "src/server/wish.h"

/* Take a field that names an input. 0: taken, -1: refused, 1: it is none. */
int rlm_input_take(rlm_wish *wish, const rlm_field *field, rlm_refusal *refusal);
/* After all fields: what belongs together (keyframes, control and its type). */
int rlm_input_finish(rlm_wish *wish, rlm_refusal *refusal);
const char *rlm_input_field_name(int index); /* NULL at the end */

#endif
