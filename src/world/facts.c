/* Names of facts, and all that is true of a scene as JSON. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/world/world.h"

enum { MAX_VALUES = 8, JSON_ROOM = 32768 };

static const char *const names[FACTS][MAX_VALUES] = {
    [FACT_COLOUR] = {"red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"},
    [FACT_SHAPE] = {"ball", "cube", "cylinder", "cone", "ring"},
    [FACT_MATERIAL] = {"rubber", "metal", "wood", "glass"},
    [FACT_SIZE] = {"small", "big"},
    [FACT_FLOOR] = {"grass", "sand", "snow", "wood", "tiles"},
    [FACT_SKY] = {"day", "sunset", "night", "indoors"},
    [FACT_WEATHER] = {"clear", "rain", "snow"},
    [FACT_CAMERA] = {"still", "pan left", "pan right", "zoom in", "zoom out", "orbit"},
    [FACT_STYLE] = {"photo", "cartoon", "pencil", "neon"},
    [FACT_EVENT] = {"bounce", "roll", "slide", "fall", "spin", "collide", "jump", "orbit"},
    [FACT_DIRECTION] = {"none", "left", "right", "towards", "away"},
    [FACT_LIGHT] = {"left", "right", "front", "behind"},
};

const char *rlm_fact_name(int fact, int value)
{
    return fact < 0 || fact >= FACTS || value < 0 || value >= MAX_VALUES ? NULL
                                                                         : names[fact][value];
}

int rlm_fact_values(int fact)
{
    int n = 0;
    while (n < MAX_VALUES && names[fact][n])
        n++;
    return n;
}

typedef struct text {
    char *at;
    size_t room;
} text;

static void put(text *t, const char *fmt, ...) RLM_PRINTF(2, 3);
static void put(text *t, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    int n = vsnprintf(t->at, t->room, fmt, list);
    va_end(list);
    size_t used = n < 0 ? 0 : (size_t)n < t->room ? (size_t)n : t->room - 1;
    t->at += used;
    t->room -= used;
}

static void put_objects(text *t, const rlm_scene *s, const rlm_motion *m)
{
    static const char *const roles[] = {"actor", "target", "bystander"};
    put(t, "\"objects\":[");
    for (int i = 0; i < s->count; i++) {
        const rlm_object *o = &s->object[i];
        rlm_pose p;
        rlm_motion_pose(m, s, i, 0, &p);
        put(t,
            "%s{\"mask\":%d,\"role\":\"%s\",\"colour\":\"%s\",\"shape\":\"%s\",\"material\":\"%s\","
            "\"size\":\"%s\",\"half_size_m\":%.3f,\"start_m\":[%.4f,%.4f,%.4f]}",
            i ? "," : "", i + 1, roles[o->role], names[FACT_COLOUR][o->colour],
            names[FACT_SHAPE][o->shape], names[FACT_MATERIAL][o->material],
            names[FACT_SIZE][o->size], o->radius, p.p[0], p.p[1], p.p[2]);
    }
    put(t, "],\"contacts\":[");
    for (int i = 0; i < m->contacts; i++) {
        const rlm_contact *c = &m->contact[i];
        put(t,
            "%s{\"seconds\":%.6f,\"a\":%d,\"b\":%d,\"speed_m_s\":%.4f,\"at_m\":[%.4f,%.4f,%.4f]}",
            i ? "," : "", c->t, c->a + 1, c->b + 1, c->speed, c->at[0], c->at[1], c->at[2]);
    }
    put(t, "]");
}

static void put_captions(text *t, const rlm_scene *s)
{
    char line[512];
    rlm_caption_en(s, 0, 0, -1, line, sizeof line);
    put(t, ",\"caption\":\"%s\"", line);
    rlm_caption_en(s, 1, 0, -1, line, sizeof line);
    put(t, ",\"caption_long\":\"%s\"", line);
    rlm_caption_zh(s, 0, 0, -1, line, sizeof line);
    put(t, ",\"caption_zh\":\"%s\"", line);
    rlm_caption_zh(s, 1, 0, -1, line, sizeof line);
    put(t, ",\"caption_long_zh\":\"%s\"", line);
}

int rlm_world_facts(uint64_t seed, const rlm_world_want *want, char **json, rlm_error *err)
{
    static const char *const splits[] = {"train", "validation", "test"};
    rlm_scene s;
    RLM_TRY(rlm_world_want_check(want, err));
    rlm_motion *m = rlm_alloc(sizeof *m);
    char *to = rlm_alloc(JSON_ROOM);
    if (!m || !to) {
        rlm_free(m);
        rlm_free(to);
        return rlm_fail(err, RLM_E_NOMEM, "playground: no memory for the facts");
    }
    rlm_scene_make(&s, seed, want->style);
    rlm_motion_make(m, &s, rlm_world_seconds(want));
    text t = {to, JSON_ROOM};
    put(&t, "{\"seed\":%llu,\"split\":\"%s\",\"width\":%d,\"height\":%d,\"frames\":%d,\"fps\":%g",
        (unsigned long long)seed, splits[rlm_world_split(seed)], want->width, want->height,
        want->frames, (double)want->fps_num / want->fps_den);
    static const char *const keys[] = {"floor", "sky",   "weather",   "camera",
                                       "style", "event", "direction", "light"};
    for (int fact = FACT_FLOOR; fact < FACTS; fact++)
        put(&t, ",\"%s\":\"%s\"", keys[fact - FACT_FLOOR],
            names[fact][rlm_scene_fact(&s, 0, fact)]);
    put(&t, ",\"count\":%d,", s.count);
    put_objects(&t, &s, m);
    put(&t, ",\"held_out\":[");
    for (int i = 0, n = 0; i < HELD_OUT_PAIRS; i++)
        if (rlm_scene_has_pair(&s, &rlm_held_out[i]))
            put(&t, "%s%d", n++ ? "," : "", i);
    put(&t, "]");
    put_captions(&t, &s);
    put(&t, "}");
    rlm_free(m);
    *json = to;
    return 0;
}
