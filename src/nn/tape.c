#include "src/nn/tape.h"

void rlm_tape_push(rlm_tape *tape, const rlm_record *r)
{
    if (tape->failed)
        return;
    if (tape->count == tape->capacity) {
        size_t used = (size_t)tape->count * sizeof *tape->items;
        size_t more = used ? 2 * used : 256 * sizeof *tape->items;
        rlm_record *grown = rlm_realloc(tape->items, used, more);
        if (!grown) {
            tape->failed = true;
            return;
        }
        tape->items = grown;
        tape->capacity = (int)(more / sizeof *tape->items);
    }
    tape->items[tape->count++] = *r;
}

bool *rlm_tape_flag(rlm_tape *tape)
{
    enum { FLAGS = sizeof tape->flags->flags / sizeof tape->flags->flags[0] };
    rlm_tape_flags *b = tape->filling;
    if (!b || b->used == FLAGS) {
        rlm_tape_flags *next = b ? b->next : tape->flags;
        if (!next) {
            next = rlm_calloc(1, sizeof *next);
            if (!next) {
                tape->failed = true;
                return NULL;
            }
            if (b)
                b->next = next;
            else
                tape->flags = next;
        }
        next->used = 0;
        tape->filling = b = next;
    }
    b->flags[b->used] = false;
    return &b->flags[b->used++];
}

void rlm_tape_clear(rlm_tape *tape)
{
    tape->count = 0;
    tape->filling = NULL;
}

void rlm_tape_free(rlm_tape *tape)
{
    while (tape->flags) {
        rlm_tape_flags *next = tape->flags->next;
        rlm_free(tape->flags);
        tape->flags = next;
    }
    rlm_free(tape->items);
    *tape = (rlm_tape){0};
}

rlm_tensor rlm_again_forward(rlm_run *run, rlm_stretch_fn stretch, const void *layer,
                             const void *context, const rlm_tensor *x)
{
    rlm_tape *tape = run->tape, *inner = run->again;
    if (!tape || !inner)
        return stretch(run, layer, context, x);
    rlm_tensor out = rlm_tensor_like(run, x);
    size_t mark = rlm_arena_mark(run->arena);
    run->tape = inner; /* so that the kernels, and the bits, are those of a recorded forward */
    run->again = NULL;
    rlm_tensor y = stretch(run, layer, context, x);
    run->k->copy(run->par, rlm_tensor_count(&y), rlm_f32(&y), rlm_f32(&out));
    rlm_tape_clear(inner);
    run->tape = tape;
    run->again = inner;
    rlm_arena_rewind(run->arena, mark);
    rlm_record r = {.op = RLM_OP_AGAIN,
                    .layer = layer,
                    .in = {*x},
                    .out = out,
                    .saved = {(void *)(uintptr_t)context},
                    .u.again = stretch};
    rlm_tape_push(tape, &r);
    return out;
}
