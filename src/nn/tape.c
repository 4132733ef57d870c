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

void rlm_tape_clear(rlm_tape *tape)
{
    tape->count = 0;
}

void rlm_tape_free(rlm_tape *tape)
{
    rlm_free(tape->items);
    *tape = (rlm_tape){0};
}
