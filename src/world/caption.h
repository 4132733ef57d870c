/* Private to the two grammars: a template's slots are filled from word lists by a counted draw. */
#ifndef RLM_WORLD_CAPTION_H
#define RLM_WORLD_CAPTION_H

#include "src/world/world.h"

enum { CAPTION_STREAM = 0xca9, WORDS = 4 };

typedef struct rlm_writing {
    const rlm_scene *scene;
    int language, variant, is_long;
    uint64_t draws;
    const char *between; /* put between words and phrases; NULL: nothing */
    char *text;
    int length, room; /* room: without the NUL */
} rlm_writing;

int rlm_write_pick(rlm_writing *w, int n); /* 0..n-1 */
void rlm_write(rlm_writing *w, const char *s);
/* One of up to WORDS words; the list ends early with NULL. */
const char *rlm_write_word(rlm_writing *w, const char *const list[WORDS]);
/* Copies a template, calling `slot` for the letter behind each '%'. */
void rlm_write_pattern(rlm_writing *w, const char *pattern, void (*slot)(rlm_writing *, char));

#endif
