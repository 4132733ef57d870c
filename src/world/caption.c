/* Scene -> English: patterns with slots, slots with paraphrases. What is said is drawn; that it is
 * true is not: every slot reads the scene. */
#include "src/world/caption.h"

#include <string.h>

#include "src/base/rng.h"

int rlm_write_pick(rlm_writing *w, int n)
{
    uint64_t stream = CAPTION_STREAM + 4 * (uint64_t)(uint32_t)w->variant +
                      2 * (uint64_t)w->language + (uint64_t)w->is_long;
    return (int)rlm_rng_below(w->scene->seed, stream, w->draws++, (uint32_t)n);
}

static void write_bytes(rlm_writing *w, const char *s, size_t bytes)
{
    for (size_t i = 0; i < bytes && w->length < w->room; i++)
        w->text[w->length++] = s[i];
    w->text[w->length] = 0;
}

void rlm_write(rlm_writing *w, const char *s)
{
    if (w->between && w->length && *s)
        write_bytes(w, w->between, strlen(w->between));
    write_bytes(w, s, strlen(s));
}

const char *rlm_write_word(rlm_writing *w, const char *const list[WORDS])
{
    int n = 1;
    while (n < WORDS && list[n])
        n++;
    return list[rlm_write_pick(w, n)];
}

void rlm_write_pattern(rlm_writing *w, const char *p, void (*slot)(rlm_writing *, char))
{
    while (*p) {
        size_t literal = strcspn(p, "%");
        if (w->between && w->length && literal)
            write_bytes(w, w->between, strlen(w->between));
        write_bytes(w, p, literal);
        p += literal;
        if (*p) {
            slot(w, p[1]);
            p += 2;
        }
    }
}

/* A actor, V what it does, G the same as -ing, F floor, S sky, w weather, T style, c camera:
 * phrases. C camera, O the others, W weather, X style, Y sky, L light, N number: sentences, or
 * nothing. */
static const char *const brief[] = {
    "%A %V",
    "%A %V %F",
    "%A %G %F",
    "%A %V %S",
    "%T of %A %G",
    "%T of %A %G %F",
    "%F, %A %V",
    "%S, %A %V",
    "%A %V %F %S",
    "%A %G %S",
    "%T: %A %V",
    "%A that %V %F",
    "%F %S, %A %V",
    "a clip of %A %G",
    "%A %V while the camera %c",
    "a short video in which %A %V",
};
static const char *const full[] = {
    "%T of %A %G %F %S. %W %O %C", "%A %V %F %S. %W %O %C",
    "%S, %A %V %F. %O %C %X",      "%A %G %F %S %w, shown as %T. %O %C",
    "%T. %A %V %F %S. %O %C",      "The camera %c while %A %V %F %S. %W %X",
    "%F %S, %A %V %w. %C %X",      "%A %V %F. %Y %W %C %L",
    "%N %A %V %F %S. %O %C",       "%T of %A %G %w. %Y %C %L",
    "%T: %A %V %F. %Y %W %O",      "%Y %W %A %V %F. %C %X",
    "%A is %G %F %S. %L %C",       "In %T, %A %V %F %S. %W %O",
    "%C %A %V %F %S. %O %X",       "We see %A %G %F %S. %N %L",
    "%L %A %V %F %S %w. %C",       "%X %A %V %F. %Y %O %C %N",
};
enum { BRIEF = sizeof brief / sizeof brief[0], FULL = sizeof full / sizeof full[0] };

static void noun(rlm_writing *w, int index)
{
    static const char *const sizes[SIZES][WORDS] = {{"small", "little"}, {"big", "large"}};
    static const char *const shapes[SHAPES][WORDS] = {
        {"ball", "sphere", "ball"}, {"cube"}, {"cylinder"}, {"cone"}, {"ring"}};
    static const char *const materials[] = {"rubber", "metal", "wooden", "glass"};
    const rlm_object *o = &w->scene->object[index];
    int size = w->is_long || rlm_write_pick(w, 2);
    int material = w->is_long || rlm_write_pick(w, 2);
    rlm_write(w, !size && o->colour == ORANGE ? "an " : "a ");
    if (size) {
        rlm_write(w, rlm_write_word(w, sizes[o->size]));
        rlm_write(w, " ");
    }
    rlm_write(w, rlm_fact_name(FACT_COLOUR, o->colour));
    rlm_write(w, " ");
    if (material) {
        rlm_write(w, materials[o->material]);
        rlm_write(w, " ");
    }
    rlm_write(w, rlm_write_word(w, shapes[o->shape]));
}

static void direction(rlm_writing *w)
{
    static const char *const words[DIRECTIONS][WORDS] = {
        {""},
        {" to the left", " leftwards", " towards the left"},
        {" to the right", " rightwards", " towards the right"},
        {" towards the camera", " towards the viewer"},
        {" away from the camera", " into the distance"}};
    rlm_write(w, rlm_write_word(w, words[w->scene->direction]));
}

/* What the actor does, as "rolls" (ing 0) or "rolling" (ing 1). */
static void verb(rlm_writing *w, int ing)
{
    static const char *const words[EVENTS][2][WORDS] = {
        [BOUNCE] = {{"bounces", "drops and bounces"}, {"bouncing"}},
        [ROLL] = {{"rolls"}, {"rolling"}},
        [SLIDE] = {{"slides", "glides"}, {"sliding", "gliding"}},
        [FALL] = {{"falls", "falls down", "drops down"}, {"falling", "falling down"}},
        [SPIN] = {{"spins", "spins around", "rotates in place"},
                  {"spinning", "spinning around", "rotating in place"}},
        [COLLIDE] = {{" and hits ", " and bumps into ", " and collides with ",
                      " and crashes into "},
                     {" and hitting ", " and bumping into ", " and colliding with "}},
        [JUMP] = {{"jumps", "hops"}, {"jumping", "hopping"}},
        [ORBIT] = {{"circles around ", "moves in a circle around ", "orbits "},
                   {"circling around ", "moving in a circle around ", "orbiting "}},
    };
    const rlm_scene *s = w->scene;
    if (s->event == COLLIDE) {
        const char *going[] = {"rolls", "rolling", "slides", "sliding"};
        rlm_write(w, going[2 * (s->object[0].shape != SHAPE_BALL) + ing]);
        direction(w);
    }
    rlm_write(w, rlm_write_word(w, words[s->event][ing]));
    if (s->event == COLLIDE || s->event == ORBIT)
        noun(w, 1);
    else
        direction(w);
}

static const char *const floors[FLOORS][WORDS] = {{"on the grass", "on a lawn", "on grassy ground"},
                                                  {"on the sand", "on sandy ground"},
                                                  {"on the snow", "on snowy ground"},
                                                  {"on a wooden floor", "on wooden planks"},
                                                  {"on a tiled floor", "on floor tiles"}};
static const char *const skies[SKIES][2][WORDS] = {
    {{"in daylight", "during the day", "under a daytime sky"}, {"It is daytime.", "It is day."}},
    {{"at sunset", "under a sunset sky", "in the light of sunset"},
     {"The sun is setting.", "It is sunset."}},
    {{"at night", "under a night sky", "during the night"}, {"It is night.", "The sky is dark."}},
    {{"indoors", "in a room", "inside a room"}, {"The scene is indoors.", "We are in a room."}}};
static const char *const weathers[WEATHERS][2][WORDS] = {
    {{"in dry weather"}, {"The weather is dry.", "The air is clear."}},
    {{"in the rain", "while it rains"}, {"It is raining.", "Rain pours down."}},
    {{"in a snowfall", "while it snows"}, {"It is snowing.", "Snowflakes drift down."}}};
static const char *const cameras[CAMERAS][WORDS] = {{"stays still", "stands still", "is fixed"},
                                                    {"pans left", "turns left"},
                                                    {"pans right", "turns right"},
                                                    {"zooms in", "slowly zooms in"},
                                                    {"zooms out", "slowly zooms out"},
                                                    {"moves in an arc", "travels in an arc"}};
static const char *const styles[STYLES][2][WORDS] = {
    {{"a photo-like video", "a realistic video", "a lifelike clip"},
     {"It looks like a photo.", "The style is realistic."}},
    {{"a flat cartoon", "a cartoon", "a cartoon animation"},
     {"It looks like a cartoon.", "The style is a flat cartoon."}},
    {{"a pencil sketch", "a pencil drawing", "an animated pencil sketch"},
     {"It looks like a pencil sketch.", "The style is a pencil drawing."}},
    {{"a neon animation", "a glowing neon scene", "a neon picture"},
     {"It glows like neon.", "The style is neon."}}};
static const char *const lights[LIGHTS][WORDS] = {
    {"Light comes from the left.", "It is lit from the left."},
    {"Light comes from the right.", "It is lit from the right."},
    {"Light comes from the front.", "It is lit from the front."},
    {"Light comes from behind.", "It is lit from behind."}};
static const char *const numbers[MAX_OBJECTS][WORDS] = {
    {"There is one object.", "A single object is visible."},
    {"There are two objects.", "Two objects are visible."},
    {"There are three objects.", "Three objects are visible."}};

static void others(rlm_writing *w)
{
    int first = -1, second = -1;
    for (int i = 0; i < w->scene->count; i++)
        if (w->scene->object[i].role == BYSTANDER) {
            second = first < 0 ? second : i;
            first = first < 0 ? i : first;
        }
    if (first < 0)
        return;
    int before = rlm_write_pick(w, 2);
    rlm_write(w, before ? "Nearby there is " : "");
    noun(w, first);
    if (second >= 0) {
        rlm_write(w, " and ");
        noun(w, second);
    }
    rlm_write(w, before ? "." : second >= 0 ? " are nearby." : " is nearby.");
}

static void slot(rlm_writing *w, char letter)
{
    const rlm_scene *s = w->scene;
    switch (letter) {
    case 'A':
        noun(w, 0);
        break;
    case 'V':
        verb(w, 0);
        break;
    case 'G':
        verb(w, 1);
        break;
    case 'O':
        others(w);
        break;
    case 'F':
        rlm_write(w, rlm_write_word(w, floors[s->floor]));
        break;
    case 'S':
    case 'Y':
        rlm_write(w, rlm_write_word(w, skies[s->sky][letter == 'Y']));
        break;
    case 'w':
    case 'W':
        if (s->sky != INDOORS)
            rlm_write(w, rlm_write_word(w, weathers[s->weather][letter == 'W']));
        break;
    case 'T':
    case 'X':
        rlm_write(w, rlm_write_word(w, styles[s->style][letter == 'X']));
        break;
    case 'C':
    case 'c':
        rlm_write(w, letter == 'C' ? "The camera " : "");
        rlm_write(w, rlm_write_word(w, cameras[s->camera]));
        rlm_write(w, letter == 'C' ? "." : "");
        break;
    case 'L':
        rlm_write(w, rlm_write_word(w, lights[s->light]));
        break;
    default:
        rlm_write(w, rlm_write_word(w, numbers[s->count - 1]));
        break;
    }
}

/* One space between words, none before a stop; sentences start with a capital when `capitals`. */
static int tidy(char *text, int capitals)
{
    int n = 0, start = capitals;
    for (const char *p = text; *p; p++) {
        if (*p == ' ' && (n == 0 || text[n - 1] == ' '))
            continue;
        if ((*p == '.' || *p == ',') && n > 0 && text[n - 1] == ' ')
            n--;
        char c = *p;
        if (start && c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        if (c != ' ')
            start = capitals && c == '.';
        text[n++] = c;
    }
    while (n > 0 && text[n - 1] == ' ')
        n--;
    text[n] = 0;
    return n;
}

int rlm_caption_en(const rlm_scene *s, int is_long, int variant, int pattern, char *to, int bytes)
{
    rlm_writing w = {.scene = s, .variant = variant, .is_long = is_long != 0, .text = to};
    if (bytes < 1)
        return 0;
    w.room = bytes - 1;
    to[0] = 0;
    int drawn = rlm_write_pick(&w, is_long ? FULL : BRIEF);
    pattern = pattern < 0 ? drawn : pattern;
    rlm_write_pattern(&w, is_long ? full[pattern % FULL] : brief[pattern % BRIEF], slot);
    return tidy(to, is_long);
}

int rlm_caption_patterns_en(int is_long)
{
    return is_long ? FULL : BRIEF;
}

int rlm_caption_patterns(int language, int is_long)
{
    return language == RLM_LANGUAGE_ZH ? rlm_caption_patterns_zh(is_long)
                                       : rlm_caption_patterns_en(is_long);
}
