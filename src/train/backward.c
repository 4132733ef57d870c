/* Reverse mode over the tape: one rule an operation (backward_layers.c), last record first. */
#include "src/train/backward.h"
#include "src/train/train.h"

#include <assert.h>

static void walk(rlm_run *run, const rlm_tape *tape, bool all)
{
    if (tape->failed) /* no memory to record it: who planned it says so */
        return;
    const rlm_backward_rule *rules = rlm_backward_rules();
    for (int i = tape->count - 1; i >= 0; i--) {
        const rlm_record *r = &tape->items[i];
        assert(r->op < RLM_OPS && rules[r->op]);
        if (r->out.grad && (all || rlm_grad_touched(&r->out))) /* else its gradient is zero */
            rules[r->op](run, r);
    }
}

void rlm_backward(rlm_run *run, const rlm_tape *tape)
{
    walk(run, tape, false);
}

void rlm_backward_plan(rlm_run *run, const rlm_tape *tape)
{
    walk(run, tape, true);
}

int rlm_tape_check(const rlm_tape *tape, rlm_error *err)
{
    return tape->failed ? rlm_fail(err, RLM_E_NOMEM, "no memory to record a training step") : 0;
}
