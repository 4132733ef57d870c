/* What joins the walk over the tape and the rules. */
#ifndef RLM_TRAIN_BACKWARD_H
#define RLM_TRAIN_BACKWARD_H

#include "src/nn/layers.h"

/* Adds what the record's output gradient says to the gradients of its inputs and parameters. Inputs
 * and parameters whose grad is NULL get nothing. */
typedef void (*rlm_backward_rule)(rlm_run *run, const rlm_record *r);
/* RLM_OPS entries, static. */
const rlm_backward_rule *rlm_backward_rules(void);

#endif
