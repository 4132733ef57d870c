/* What a sentence says of a scene: words and phrases, not grammar, so that what people write is
 * read as far as it goes. English and Chinese. */
#include <string.h>

#include "src/world/world.h"

typedef struct phrase {
    int fact, value; /* fact FACTS: how many bodies */
    const char *text;
} phrase;

/* Of the scene. A later row of the same fact wins: who rolls and hits, collides. */
static const phrase of_scene[] = {
    {FACT_FLOOR, GRASS, " grass"},
    {FACT_FLOOR, GRASS, " lawn"},
    {FACT_FLOOR, GRASS, "草"},
    {FACT_FLOOR, SAND, " sand"},
    {FACT_FLOOR, SAND, "沙"},
    {FACT_FLOOR, SNOW, " the snow "},
    {FACT_FLOOR, SNOW, " on snow "},
    {FACT_FLOOR, SNOW, " snowy"},
    {FACT_FLOOR, SNOW, "雪地"},
    {FACT_FLOOR, SNOW, "积雪"},
    {FACT_FLOOR, PLANKS, " wooden floor"},
    {FACT_FLOOR, PLANKS, " planks"},
    {FACT_FLOOR, PLANKS, "木地板"},
    {FACT_FLOOR, PLANKS, "木板"},
    {FACT_FLOOR, TILES, " tile"},
    {FACT_FLOOR, TILES, "瓷砖"},
    {FACT_SKY, DAY, " daylight"},
    {FACT_SKY, DAY, " the day "},
    {FACT_SKY, DAY, " daytime"},
    {FACT_SKY, DAY, " is day "},
    {FACT_SKY, DAY, "白天"},
    {FACT_SKY, SUNSET, " sunset"},
    {FACT_SKY, SUNSET, " sun is setting"},
    {FACT_SKY, SUNSET, "日落"},
    {FACT_SKY, SUNSET, "夕阳"},
    {FACT_SKY, NIGHT, " night"},
    {FACT_SKY, NIGHT, " sky is dark"},
    {FACT_SKY, NIGHT, "夜"},
    {FACT_SKY, INDOORS, " indoors"},
    {FACT_SKY, INDOORS, " room "},
    {FACT_SKY, INDOORS, "室内"},
    {FACT_SKY, INDOORS, "房间"},
    {FACT_WEATHER, CLEAR, " dry "},
    {FACT_WEATHER, CLEAR, " air is clear"},
    {FACT_WEATHER, CLEAR, "晴"},
    {FACT_WEATHER, CLEAR, "干爽"},
    {FACT_WEATHER, RAIN, " rain"},
    {FACT_WEATHER, RAIN, "雨"},
    {FACT_WEATHER, SNOWFALL, " snowfall"},
    {FACT_WEATHER, SNOWFALL, " it snows"},
    {FACT_WEATHER, SNOWFALL, " snowing"},
    {FACT_WEATHER, SNOWFALL, " snowflakes"},
    {FACT_WEATHER, SNOWFALL, "下雪"},
    {FACT_WEATHER, SNOWFALL, "雪花"},
    {FACT_CAMERA, STILL, " camera stays"},
    {FACT_CAMERA, STILL, " camera stands"},
    {FACT_CAMERA, STILL, " camera is fixed"},
    {FACT_CAMERA, STILL, "镜头静止"},
    {FACT_CAMERA, STILL, "镜头固定"},
    {FACT_CAMERA, PAN_LEFT, " pans left"},
    {FACT_CAMERA, PAN_LEFT, " camera turns left"},
    {FACT_CAMERA, PAN_LEFT, "左摇"},
    {FACT_CAMERA, PAN_LEFT, "左转"},
    {FACT_CAMERA, PAN_RIGHT, " pans right"},
    {FACT_CAMERA, PAN_RIGHT, " camera turns right"},
    {FACT_CAMERA, PAN_RIGHT, "右摇"},
    {FACT_CAMERA, PAN_RIGHT, "右转"},
    {FACT_CAMERA, ZOOM_IN, " zooms in"},
    {FACT_CAMERA, ZOOM_IN, "推近"},
    {FACT_CAMERA, ZOOM_IN, "拉近"},
    {FACT_CAMERA, ZOOM_OUT, " zooms out"},
    {FACT_CAMERA, ZOOM_OUT, "拉远"},
    {FACT_CAMERA, ZOOM_OUT, "推远"},
    {FACT_CAMERA, ORBIT_SHOT, " an arc"},
    {FACT_CAMERA, ORBIT_SHOT, "弧"},
    {FACT_STYLE, PHOTO, " photo"},
    {FACT_STYLE, PHOTO, " realistic"},
    {FACT_STYLE, PHOTO, " lifelike"},
    {FACT_STYLE, PHOTO, "写实"},
    {FACT_STYLE, PHOTO, "逼真"},
    {FACT_STYLE, PHOTO, "照片"},
    {FACT_STYLE, CARTOON, " cartoon"},
    {FACT_STYLE, CARTOON, "卡通"},
    {FACT_STYLE, PENCIL, " pencil"},
    {FACT_STYLE, PENCIL, "铅笔"},
    {FACT_STYLE, NEON, " neon"},
    {FACT_STYLE, NEON, "霓虹"},
    {FACT_EVENT, ROLL, " rolls"},
    {FACT_EVENT, ROLL, " rolling"},
    {FACT_EVENT, ROLL, "滚动"},
    {FACT_EVENT, SLIDE, " slid"},
    {FACT_EVENT, SLIDE, " glid"},
    {FACT_EVENT, SLIDE, "滑动"},
    {FACT_EVENT, SLIDE, "滑行"},
    {FACT_EVENT, FALL, " falls"},
    {FACT_EVENT, FALL, " falling"},
    {FACT_EVENT, FALL, " drops down"},
    {FACT_EVENT, FALL, "落下"},
    {FACT_EVENT, FALL, "掉落"},
    {FACT_EVENT, BOUNCE, " bounc"},
    {FACT_EVENT, BOUNCE, "弹跳"},
    {FACT_EVENT, SPIN, " spin"},
    {FACT_EVENT, SPIN, " rotat"},
    {FACT_EVENT, SPIN, "旋转"},
    {FACT_EVENT, JUMP, " jump"},
    {FACT_EVENT, JUMP, " hops"},
    {FACT_EVENT, JUMP, " hopping"},
    {FACT_EVENT, JUMP, "跳跃"},
    {FACT_EVENT, JUMP, "跳起"},
    {FACT_EVENT, ORBIT, " circles around"},
    {FACT_EVENT, ORBIT, " circling around"},
    {FACT_EVENT, ORBIT, " in a circle"},
    {FACT_EVENT, ORBIT, " orbits a"},
    {FACT_EVENT, ORBIT, " orbiting"},
    {FACT_EVENT, ORBIT, "绕"},
    {FACT_EVENT, COLLIDE, " hits"},
    {FACT_EVENT, COLLIDE, " hitting"},
    {FACT_EVENT, COLLIDE, " bump"},
    {FACT_EVENT, COLLIDE, " collid"},
    {FACT_EVENT, COLLIDE, " crash"},
    {FACT_EVENT, COLLIDE, "撞"},
    {FACT_DIRECTION, LEFT, " to the left"},
    {FACT_DIRECTION, LEFT, " leftwards"},
    {FACT_DIRECTION, LEFT, " towards the left"},
    {FACT_DIRECTION, LEFT, "向左"},
    {FACT_DIRECTION, LEFT, "往左"},
    {FACT_DIRECTION, RIGHT, " to the right"},
    {FACT_DIRECTION, RIGHT, " rightwards"},
    {FACT_DIRECTION, RIGHT, " towards the right"},
    {FACT_DIRECTION, RIGHT, "向右"},
    {FACT_DIRECTION, RIGHT, "往右"},
    {FACT_DIRECTION, TOWARDS, " towards the camera"},
    {FACT_DIRECTION, TOWARDS, " towards the viewer"},
    {FACT_DIRECTION, TOWARDS, "朝镜头"},
    {FACT_DIRECTION, TOWARDS, "向镜头"},
    {FACT_DIRECTION, AWAY, " away from the camera"},
    {FACT_DIRECTION, AWAY, " into the distance"},
    {FACT_DIRECTION, AWAY, "远处"},
    {FACT_LIGHT, FROM_LEFT, " from the left"},
    {FACT_LIGHT, FROM_LEFT, "左侧"},
    {FACT_LIGHT, FROM_RIGHT, " from the right"},
    {FACT_LIGHT, FROM_RIGHT, "右侧"},
    {FACT_LIGHT, FROM_FRONT, " from the front"},
    {FACT_LIGHT, FROM_FRONT, "前方"},
    {FACT_LIGHT, FROM_BEHIND, " from behind"},
    {FACT_LIGHT, FROM_BEHIND, "后方"},
    {FACTS, 1, " one object"},
    {FACTS, 1, " single object"},
    {FACTS, 1, "一件"},
    {FACTS, 2, " two objects"},
    {FACTS, 2, "两件"},
    {FACTS, 3, " three objects"},
    {FACTS, 3, "三件"},
};

/* Of a body, adjectives before the shape. */
static const phrase of_body[] = {
    {FACT_SHAPE, SHAPE_BALL, " ball "},
    {FACT_SHAPE, SHAPE_BALL, " sphere "},
    {FACT_SHAPE, SHAPE_CUBE, " cube "},
    {FACT_SHAPE, SHAPE_CYLINDER, " cylinder "},
    {FACT_SHAPE, SHAPE_CONE, " cone "},
    {FACT_SHAPE, SHAPE_RING, " ring "},
    {FACT_SHAPE, SHAPE_CUBE, "立方体"},
    {FACT_SHAPE, SHAPE_CYLINDER, "圆柱体"},
    {FACT_SHAPE, SHAPE_CONE, "圆锥体"},
    {FACT_SHAPE, SHAPE_RING, "圆环"},
    {FACT_SHAPE, SHAPE_BALL, "球"},
    {FACT_COLOUR, RED, " red "},
    {FACT_COLOUR, ORANGE, " orange "},
    {FACT_COLOUR, YELLOW, " yellow "},
    {FACT_COLOUR, GREEN, " green "},
    {FACT_COLOUR, CYAN, " cyan "},
    {FACT_COLOUR, BLUE, " blue "},
    {FACT_COLOUR, PURPLE, " purple "},
    {FACT_COLOUR, PINK, " pink "},
    {FACT_COLOUR, RED, "红色"},
    {FACT_COLOUR, ORANGE, "橙色"},
    {FACT_COLOUR, YELLOW, "黄色"},
    {FACT_COLOUR, GREEN, "绿色"},
    {FACT_COLOUR, CYAN, "青色"},
    {FACT_COLOUR, BLUE, "蓝色"},
    {FACT_COLOUR, PURPLE, "紫色"},
    {FACT_COLOUR, PINK, "粉色"},
    {FACT_MATERIAL, RUBBER, " rubber "},
    {FACT_MATERIAL, METAL, " metal "},
    {FACT_MATERIAL, WOOD, " wooden "},
    {FACT_MATERIAL, GLASS, " glass "},
    {FACT_MATERIAL, RUBBER, "橡胶"},
    {FACT_MATERIAL, METAL, "金属"},
    {FACT_MATERIAL, WOOD, "木制"},
    {FACT_MATERIAL, GLASS, "玻璃"},
    {FACT_SIZE, SMALL, " small "},
    {FACT_SIZE, SMALL, " little "},
    {FACT_SIZE, BIG, " big "},
    {FACT_SIZE, BIG, " large "},
    {FACT_SIZE, SMALL, "小"},
    {FACT_SIZE, BIG, "大"},
};
#define COUNT(a) (int)(sizeof(a) / sizeof(a)[0])

enum { TEXT_ROOM = 1024 };

/* Lower case, one blank for all that stands between words, one at each end. A stop is " . ". */
static void plain(const char *text, char *to)
{
    int n = 0;
    to[n++] = ' ';
    for (; *text && n < TEXT_ROOM - 5; text++) {
        char c = *text;
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        int blank = c == ' ' || (c >= 0 && c < '0') || c == ':' || c == ';' || c == '!' || c == '?';
        if (!blank)
            to[n++] = c;
        else if (to[n - 1] != ' ')
            to[n++] = ' ';
        if (c == '.') {
            to[n++] = '.';
            to[n++] = ' ';
        }
    }
    if (to[n - 1] != ' ')
        to[n++] = ' ';
    to[n] = 0;
}

static int same_body(const rlm_claim *c, const int *body)
{
    for (int i = 0; i < c->bodies; i++)
        if (!memcmp(c->body[i], body, sizeof c->body[i]))
            return 1;
    return 0;
}

/* Does the sentence that holds `at` speak of what stands by? */
static int nearby(const char *text, const char *at)
{
    static const char *const words[] = {" nearby ", "旁边"};
    const char *stop = strstr(at, " . "), *full = strstr(at, "。");
    stop = !stop || (full && full < stop) ? full : stop;
    for (int i = 0; i < 2; i++)
        for (const char *p = text; (p = strstr(p, words[i])); p++) {
            const char *a = strstr(p, " . "), *b = strstr(p, "。");
            a = !a || (b && b < a) ? b : a;
            if (a == stop)
                return 1;
        }
    return 0;
}

/* From left to right: adjectives gather until a shape takes them; a word that is none ends them. */
static void read_bodies(const char *text, rlm_claim *c)
{
    int body[RLM_BODY_FACTS];
    memset(body, -1, sizeof body);
    for (const char *p = text; *p && c->bodies < MAX_OBJECTS;) {
        const phrase *found = NULL;
        for (int i = 0; i < COUNT(of_body) && !found; i++)
            if (!strncmp(p, of_body[i].text, strlen(of_body[i].text)))
                found = &of_body[i];
        if (!found) {
            if (*p == ' ' || *p == ',' || !strncmp(p, "。", 3) || !strncmp(p, "一个", 6))
                memset(body, -1, sizeof body);
            p++;
            continue;
        }
        body[found->fact] = found->value;
        if (found->fact == FACT_SHAPE) {
            if (!same_body(c, body)) {
                c->role[c->bodies] = nearby(text, p) ? BYSTANDER : ACTOR;
                memcpy(c->body[c->bodies++], body, sizeof body);
            }
            memset(body, -1, sizeof body);
        }
        p += strlen(found->text) - (*p == ' '); /* the blank behind it opens the next word */
    }
}

int rlm_claim_read(const char *text, rlm_claim *c)
{
    char line[TEXT_ROOM];
    int said = 0;
    memset(c, 0, sizeof *c);
    memset(c->fact, -1, sizeof c->fact);
    memset(c->body, -1, sizeof c->body);
    plain(text, line);
    for (int i = 0; i < COUNT(of_scene); i++) {
        const phrase *p = &of_scene[i];
        if (!strstr(line, p->text))
            continue;
        if (p->fact == FACTS)
            c->count = p->value;
        else
            c->fact[p->fact] = p->value;
    }
    read_bodies(line, c);
    int pair = c->fact[FACT_EVENT] == COLLIDE || c->fact[FACT_EVENT] == ORBIT, moving = 0;
    for (int i = 0; i < c->bodies; i++) {
        if (c->role[i] == ACTOR)
            c->role[i] = !moving++ ? ACTOR : moving == 2 && pair ? TARGET : BYSTANDER;
        for (int k = 0; k < RLM_BODY_FACTS; k++)
            said += c->body[i][k] >= 0;
    }
    for (int k = 0; k < FACTS; k++)
        said += c->fact[k] >= 0;
    return said + (c->count > 0);
}
