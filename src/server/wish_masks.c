/* Fields of several values: what of a source is made anew (boxes, borders, spans of sound), and the
 * prompts of windows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "src/server/wish_inputs.h"

/* "x,y,w,h" or "x,y,w,h@from-to"; several with ';'. */
static int take_boxes(rlm_wish *w, const char *text, rlm_refusal *r)
{
    const char *p = text;
    for (w->box_count = 0; *p;) {
        rlm_box b = {0};
        int used = 0;
        if (w->box_count == RLM_WISH_BOXES ||
            sscanf(p, "%6d,%6d,%6d,%6d%n", &b.x, &b.y, &b.width, &b.height, &used) != 4)
            break;
        p += used;
        if (*p == '@') {
            if (sscanf(p, "@%6d-%6d%n", &b.from, &b.to, &used) != 2 || b.from < 0 || b.to <= b.from)
                break;
            p += used;
        }
        if (b.width < 1 || b.height < 1 || (*p && *p != ';'))
            break;
        w->boxes[w->box_count++] = b;
        if (!*p)
            return 0;
        p++;
    }
    return rlm_refuse(r, 400, "invalid_value", "mask_box",
                      "Invalid 'mask_box': '%.60s' is not x,y,width,height[@from-to], at most %d "
                      "of them with ';' between.",
                      text, RLM_WISH_BOXES);
}

/* "0.5-1.25", or "2-" for all from there on; several with ';'. */
static int take_spans(rlm_wish *w, const char *text, rlm_refusal *r)
{
    const char *p = text;
    for (w->span_count = 0; *p;) {
        char *end;
        rlm_span s = {.from = strtod(p, &end)};
        if (w->span_count == RLM_WISH_BOXES || end == p || *end != '-' || !(s.from >= 0))
            break;
        p = end + 1;
        if (*p && *p != ';') {
            s.to = strtod(p, &end);
            if (end == p || !(s.to > s.from && s.to <= 3600))
                break;
            p = end;
        }
        if (*p && *p != ';')
            break;
        w->spans[w->span_count++] = s;
        if (!*p)
            return 0;
        p++;
    }
    return rlm_refuse(
        r, 400, "invalid_value", "sound_spans",
        "Invalid 'sound_spans': '%.60s' is not from-to in seconds, at most %d of them "
        "with ';' between.",
        text, RLM_WISH_BOXES);
}

static int take_outpaint(rlm_wish *w, const char *text, rlm_refusal *r)
{
    int *o = w->outpaint, used = 0;
    int bad =
        sscanf(text, "%5d,%5d,%5d,%5d%n", &o[0], &o[1], &o[2], &o[3], &used) != 4 || text[used];
    for (int i = 0; i < 4; i++)
        bad |= o[i] < 0 || o[i] > 1024;
    if (bad)
        return rlm_refuse(r, 400, "invalid_value", "outpaint",
                          "Invalid 'outpaint': '%.40s' is not left,right,top,bottom, each 0 to "
                          "1024 pixels.",
                          text);
    return 0;
}

int rlm_mask_take(rlm_wish *w, const char *name, const char *text, rlm_refusal *r)
{
    return !strcmp(name, "mask_box")   ? take_boxes(w, text, r)
           : !strcmp(name, "outpaint") ? take_outpaint(w, text, r)
                                       : take_spans(w, text, r);
}

/* ---- Prompts --------------------------------------------------------------------------------- */

static int count_lines(const char *text)
{
    int n = text && *text;
    for (; n && *text; text++)
        n += *text == '\n';
    return n;
}

/* One line more, or all of them at once. */
static int append_lines(rlm_wish *w, const rlm_field *f, rlm_refusal *r)
{
    size_t old = w->prompts ? strlen(w->prompts) : 0;
    if (old + f->bytes + 1 > RLM_FORM_TEXT_BYTES)
        return rlm_refuse(r, 400, "string_above_max_length", "prompts",
                          "The prompts have over %d bytes in all.", RLM_FORM_TEXT_BYTES);
    char *all = realloc(w->prompts, old + f->bytes + 2);
    if (!all)
        return rlm_refuse(r, 500, "out_of_memory", "prompts", "Out of memory.");
    w->prompts = all;
    if (old)
        all[old++] = '\n';
    memcpy(all + old, f->value, f->bytes);
    old += f->bytes;
    all[old] = 0;
    return 0;
}

/* "prompts" has one a line, "prompts[0]", "prompts[1]" and so on, or "prompts[]" again and again,
 * one each. */
int rlm_prompts_take(rlm_wish *w, const rlm_field *f, rlm_refusal *r)
{
    static const char name[] = "prompts";
    const char *index = f->name + sizeof name - 1;
    char expected[16];
    int have = count_lines(w->prompts), whole = !strcmp(f->name, name);
    snprintf(expected, sizeof expected, "[%d]", have);
    if (!whole && (strncmp(f->name, name, sizeof name - 1) || *index != '['))
        return 1;
    if (f->kind != RLM_FIELD_TEXT || (!whole && strcmp(index, expected) && strcmp(index, "[]")))
        return rlm_refuse(r, 400, "invalid_type", f->name,
                          "Invalid '%s': expected texts, one a window: a list, or one a line.",
                          f->name);
    if (whole) {
        free(w->prompts);
        w->prompts = NULL;
    }
    const char *end = f->value + f->bytes;
    int empty = !f->bytes || *f->value == '\n' || end[-1] == '\n' || strstr(f->value, "\n\n");
    if (empty || strchr(f->value, '\r') || (!whole && strchr(f->value, '\n')))
        return rlm_refuse(r, 400, "invalid_value", f->name,
                          "Invalid '%s': each prompt is one line, and none is empty.", f->name);
    if (append_lines(w, f, r))
        return -1;
    return count_lines(w->prompts) <= RLM_WISH_PROMPTS
               ? 0
               : rlm_refuse(r, 400, "too_many_values", "prompts", "More than %d prompts.",
                            RLM_WISH_PROMPTS);
}

int rlm_wish_prompt_lines(const rlm_wish *w, char **text, const char *lines[RLM_WISH_PROMPTS])
{
    int count = 0;
    char *at = *text = w->prompts ? strdup(w->prompts) : NULL;
    while (at && count < RLM_WISH_PROMPTS) {
        lines[count++] = at;
        at = strchr(at, '\n');
        if (at)
            *at++ = 0;
    }
    return count;
}

/* ---- As settings ----------------------------------------------------------------------------- */

bool rlm_mask_add(cJSON *o, const rlm_wish *w)
{
    bool whole = true;
    char text[RLM_WISH_BOXES * 56] = "";
    size_t n = 0;
    for (int i = 0; i < w->box_count; i++) {
        const rlm_box *b = &w->boxes[i];
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%d,%d,%d,%d", i ? ";" : "", b->x, b->y,
                              b->width, b->height);
        if (b->to)
            n += (size_t)snprintf(text + n, sizeof text - n, "@%d-%d", b->from, b->to);
    }
    if (w->box_count)
        whole = cJSON_AddStringToObject(o, "mask_box", text);
    const int *p = w->outpaint;
    snprintf(text, sizeof text, "%d,%d,%d,%d", p[0], p[1], p[2], p[3]);
    if (p[0] | p[1] | p[2] | p[3])
        whole = cJSON_AddStringToObject(o, "outpaint", text) && whole;
    n = 0;
    for (int i = 0; i < w->span_count; i++) {
        const rlm_span *s = &w->spans[i];
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%.17g-", i ? ";" : "", s->from);
        if (s->to > 0)
            n += (size_t)snprintf(text + n, sizeof text - n, "%.17g", s->to);
    }
    if (w->span_count)
        whole = cJSON_AddStringToObject(o, "sound_spans", text) && whole;
    return whole;
}
