/* Reverse mode over the tape: one rule an operation (backward_layers.c), last record first. */
#include "src/train/backward.h"
#include "src/train/train.h"

#include <assert.h>

static void walk(rlm_run *run, const rlm_tape *tape, bool all);

/* The stretch is computed once more, recorded this time, and walked. */
static void walk_again(rlm_run *run, const rlm_record *r, bool all)
{
    rlm_tape *outer = run->tape, *inner = run->again;
    size_t mark = rlm_arena_mark(run->arena);
    run->tape = inner;
    run->again = NULL;
    rlm_tensor y = r->u.again(run, r->layer, r->saved[0], &r->in[0]);
    rlm_grad_adds(&y); /* it holds nothing yet, or zeros */
    run->k->copy(run->par, rlm_tensor_count(&y), r->out.grad, y.grad);
    walk(run, inner, all);
    rlm_tape_clear(inner);
    run->tape = outer;
    run->again = inner;
    rlm_arena_rewind(run->arena, mark);
}

static void walk(rlm_run *run, const rlm_tape *tape, bool all)
{
    if (tape->failed) /* no memory to record it: who planned it says so */
        return;
    const rlm_backward_rule *rules = rlm_backward_rules();
    for (int i = tape->count - 1; i >= 0; i--) {
        const rlm_record *r = &tape->items[i];
        assert(r->op < RLM_OPS && (rules[r->op] || r->op == RLM_OP_AGAIN));
        if (!r->out.grad || !(all || rlm_grad_touched(&r->out))) /* its gradient is zero */
            continue;
        if (r->op == RLM_OP_AGAIN)
            walk_again(run, r, all);
        else
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
