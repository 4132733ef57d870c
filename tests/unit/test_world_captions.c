/* Captions of the playground read back: every fact a sentence names is true of its scene, objects
 * with all their adjectives, the actor and the target in their roles. The reader below knows words,
 * not the grammar that wrote them. */
#include <ctype.h>

#include "src/world/world.h"
#include "tests/test.h"

typedef struct word {
    int fact, value;
    const char *text;
} word;

static const word english[] = {
    {FACT_FLOOR, GRASS, "grass"},
    {FACT_FLOOR, GRASS, "lawn"},
    {FACT_FLOOR, SAND, "sand"},
    {FACT_FLOOR, SNOW, "the snow"},
    {FACT_FLOOR, SNOW, "snowy"},
    {FACT_FLOOR, PLANKS, "wooden floor"},
    {FACT_FLOOR, PLANKS, "planks"},
    {FACT_FLOOR, TILES, "tile"},
    {FACT_SKY, DAY, "daylight"},
    {FACT_SKY, DAY, "the day"},
    {FACT_SKY, DAY, "daytime"},
    {FACT_SKY, DAY, "it is day"},
    {FACT_SKY, SUNSET, "sunset"},
    {FACT_SKY, SUNSET, "sun is setting"},
    {FACT_SKY, NIGHT, "night"},
    {FACT_SKY, NIGHT, "sky is dark"},
    {FACT_SKY, INDOORS, "indoors"},
    {FACT_SKY, INDOORS, "room"},
    {FACT_WEATHER, CLEAR, " dry"},
    {FACT_WEATHER, CLEAR, "air is clear"},
    {FACT_WEATHER, RAIN, "rain"},
    {FACT_WEATHER, SNOWFALL, "snowfall"},
    {FACT_WEATHER, SNOWFALL, "it snows"},
    {FACT_WEATHER, SNOWFALL, "snowing"},
    {FACT_WEATHER, SNOWFALL, "flakes"},
    {FACT_CAMERA, STILL, "camera stays"},
    {FACT_CAMERA, STILL, "camera stand"},
    {FACT_CAMERA, STILL, "camera is fixed"},
    {FACT_CAMERA, PAN_LEFT, "pans left"},
    {FACT_CAMERA, PAN_LEFT, "turns left"},
    {FACT_CAMERA, PAN_RIGHT, "pans right"},
    {FACT_CAMERA, PAN_RIGHT, "turns right"},
    {FACT_CAMERA, ZOOM_IN, "zooms in"},
    {FACT_CAMERA, ZOOM_OUT, "zooms out"},
    {FACT_CAMERA, ORBIT_SHOT, " arc"},
    {FACT_STYLE, PHOTO, "photo"},
    {FACT_STYLE, PHOTO, "realistic"},
    {FACT_STYLE, PHOTO, "lifelike"},
    {FACT_STYLE, CARTOON, "cartoon"},
    {FACT_STYLE, PENCIL, "pencil"},
    {FACT_STYLE, NEON, "neon"},
    {FACT_EVENT, BOUNCE, "bounc"},
    {FACT_EVENT, ROLL, "rolls"},
    {FACT_EVENT, ROLL, "rolling"},
    {FACT_EVENT, SLIDE, "slid"},
    {FACT_EVENT, SLIDE, "glid"},
    {FACT_EVENT, FALL, " falls"},
    {FACT_EVENT, FALL, " falling"},
    {FACT_EVENT, FALL, "drops down"},
    {FACT_EVENT, SPIN, "spin"},
    {FACT_EVENT, SPIN, "rotat"},
    {FACT_EVENT, COLLIDE, " hit"},
    {FACT_EVENT, COLLIDE, "bump"},
    {FACT_EVENT, COLLIDE, "collid"},
    {FACT_EVENT, COLLIDE, "crash"},
    {FACT_EVENT, JUMP, "jump"},
    {FACT_EVENT, JUMP, " hop"},
    {FACT_EVENT, ORBIT, "circl"},
    {FACT_EVENT, ORBIT, "orbit"},
    {FACT_DIRECTION, LEFT, "to the left"},
    {FACT_DIRECTION, LEFT, "leftwards"},
    {FACT_DIRECTION, LEFT, "towards the left"},
    {FACT_DIRECTION, RIGHT, "to the right"},
    {FACT_DIRECTION, RIGHT, "rightwards"},
    {FACT_DIRECTION, RIGHT, "towards the right"},
    {FACT_DIRECTION, TOWARDS, "towards the camera"},
    {FACT_DIRECTION, TOWARDS, "towards the viewer"},
    {FACT_DIRECTION, AWAY, "away from the camera"},
    {FACT_DIRECTION, AWAY, "into the distance"},
    {FACT_LIGHT, FROM_LEFT, "from the left"},
    {FACT_LIGHT, FROM_RIGHT, "from the right"},
    {FACT_LIGHT, FROM_FRONT, "from the front"},
    {FACT_LIGHT, FROM_BEHIND, "from behind"},
    {FACTS, 1, "one object"},
    {FACTS, 1, "single object"},
    {FACTS, 2, "two objects"},
    {FACTS, 3, "three objects"},
};

static const word chinese[] = {
    {FACT_FLOOR, GRASS, "草"},
    {FACT_FLOOR, SAND, "沙"},
    {FACT_FLOOR, SNOW, "雪地"},
    {FACT_FLOOR, SNOW, "积雪"},
    {FACT_FLOOR, PLANKS, "木地板"},
    {FACT_FLOOR, PLANKS, "木板"},
    {FACT_FLOOR, TILES, "瓷砖"},
    {FACT_SKY, DAY, "白天"},
    {FACT_SKY, SUNSET, "日落"},
    {FACT_SKY, SUNSET, "夕阳"},
    {FACT_SKY, NIGHT, "夜"},
    {FACT_SKY, INDOORS, "室内"},
    {FACT_SKY, INDOORS, "房间"},
    {FACT_WEATHER, CLEAR, "晴"},
    {FACT_WEATHER, CLEAR, "干爽"},
    {FACT_WEATHER, RAIN, "雨"},
    {FACT_WEATHER, SNOWFALL, "下雪"},
    {FACT_WEATHER, SNOWFALL, "雪花"},
    {FACT_CAMERA, STILL, "静止"},
    {FACT_CAMERA, STILL, "固定"},
    {FACT_CAMERA, PAN_LEFT, "左摇"},
    {FACT_CAMERA, PAN_LEFT, "左转"},
    {FACT_CAMERA, PAN_RIGHT, "右摇"},
    {FACT_CAMERA, PAN_RIGHT, "右转"},
    {FACT_CAMERA, ZOOM_IN, "推近"},
    {FACT_CAMERA, ZOOM_IN, "拉近"},
    {FACT_CAMERA, ZOOM_OUT, "拉远"},
    {FACT_CAMERA, ZOOM_OUT, "推远"},
    {FACT_CAMERA, ORBIT_SHOT, "弧"},
    {FACT_STYLE, PHOTO, "写实"},
    {FACT_STYLE, PHOTO, "逼真"},
    {FACT_STYLE, PHOTO, "照片"},
    {FACT_STYLE, CARTOON, "卡通"},
    {FACT_STYLE, PENCIL, "铅笔"},
    {FACT_STYLE, NEON, "霓虹"},
    {FACT_EVENT, BOUNCE, "弹跳"},
    {FACT_EVENT, ROLL, "滚动"},
    {FACT_EVENT, SLIDE, "滑动"},
    {FACT_EVENT, SLIDE, "滑行"},
    {FACT_EVENT, FALL, "落下"},
    {FACT_EVENT, FALL, "掉落"},
    {FACT_EVENT, SPIN, "旋转"},
    {FACT_EVENT, COLLIDE, "撞"},
    {FACT_EVENT, JUMP, "跳跃"},
    {FACT_EVENT, JUMP, "跳起"},
    {FACT_EVENT, ORBIT, "绕"},
    {FACT_DIRECTION, LEFT, "向左"},
    {FACT_DIRECTION, LEFT, "往左"},
    {FACT_DIRECTION, RIGHT, "向右"},
    {FACT_DIRECTION, RIGHT, "往右"},
    {FACT_DIRECTION, TOWARDS, "朝镜头"},
    {FACT_DIRECTION, TOWARDS, "向镜头"},
    {FACT_DIRECTION, AWAY, "远处"},
    {FACT_LIGHT, FROM_LEFT, "左侧"},
    {FACT_LIGHT, FROM_RIGHT, "右侧"},
    {FACT_LIGHT, FROM_FRONT, "前方"},
    {FACT_LIGHT, FROM_BEHIND, "后方"},
    {FACTS, 1, "一件"},
    {FACTS, 2, "两件"},
    {FACTS, 3, "三件"},
};

static const word english_parts[] = {
    {FACT_SHAPE, SHAPE_BALL, "ball"},  {FACT_SHAPE, SHAPE_BALL, "sphere"},
    {FACT_SHAPE, SHAPE_CUBE, "cube"},  {FACT_SHAPE, SHAPE_CYLINDER, "cylinder"},
    {FACT_SHAPE, SHAPE_CONE, "cone"},  {FACT_SHAPE, SHAPE_RING, "ring"},
    {FACT_COLOUR, RED, "red"},         {FACT_COLOUR, ORANGE, "orange"},
    {FACT_COLOUR, YELLOW, "yellow"},   {FACT_COLOUR, GREEN, "green"},
    {FACT_COLOUR, CYAN, "cyan"},       {FACT_COLOUR, BLUE, "blue"},
    {FACT_COLOUR, PURPLE, "purple"},   {FACT_COLOUR, PINK, "pink"},
    {FACT_MATERIAL, RUBBER, "rubber"}, {FACT_MATERIAL, METAL, "metal"},
    {FACT_MATERIAL, WOOD, "wooden"},   {FACT_MATERIAL, GLASS, "glass"},
    {FACT_SIZE, SMALL, "small"},       {FACT_SIZE, SMALL, "little"},
    {FACT_SIZE, BIG, "big"},           {FACT_SIZE, BIG, "large"},
};

static const word chinese_parts[] = {
    {FACT_SHAPE, SHAPE_CUBE, "立方体"},
    {FACT_SHAPE, SHAPE_CYLINDER, "圆柱体"},
    {FACT_SHAPE, SHAPE_CONE, "圆锥体"},
    {FACT_SHAPE, SHAPE_RING, "圆环"},
    {FACT_SHAPE, SHAPE_BALL, "球"},
    {FACT_COLOUR, RED, "红色"},
    {FACT_COLOUR, ORANGE, "橙色"},
    {FACT_COLOUR, YELLOW, "黄色"},
    {FACT_COLOUR, GREEN, "绿色"},
    {FACT_COLOUR, CYAN, "青色"},
    {FACT_COLOUR, BLUE, "蓝色"},
    {FACT_COLOUR, PURPLE, "紫色"},
    {FACT_COLOUR, PINK, "粉色"},
    {FACT_MATERIAL, RUBBER, "橡胶"},
    {FACT_MATERIAL, METAL, "金属"},
    {FACT_MATERIAL, WOOD, "木制"},
    {FACT_MATERIAL, GLASS, "玻璃"},
    {FACT_SIZE, SMALL, "小"},
    {FACT_SIZE, BIG, "大"},
};
#define COUNT(a) (sizeof(a) / sizeof(a)[0])

typedef struct reading {
    int errors, events;   /* false statements; true events named */
    int named[FACTS + 1]; /* facts named, FACTS: the number of objects */
    int actors, targets, others;
} reading;

static void read_words(const rlm_scene *s, const word *words, size_t count, const char *text,
                       reading *r)
{
    for (size_t i = 0; i < count; i++) {
        const word *w = &words[i];
        if (!strstr(text, w->text))
            continue;
        int truth = w->fact == FACTS ? s->count : rlm_scene_fact(s, 0, w->fact);
        int approach = w->fact == FACT_EVENT && s->event == COLLIDE &&
                       w->value == (s->object[0].shape == SHAPE_BALL ? ROLL : SLIDE);
        r->errors += w->value != truth && !approach;
        r->events += w->fact == FACT_EVENT && w->value == truth;
        r->named[w->fact]++;
    }
}

/* The object of the role that fits all that was said; -1: none. */
static void match(const rlm_scene *s, int role, const int said[FACTS], reading *r)
{
    int fits = 0;
    for (int i = 0; i < s->count; i++) {
        int good = s->object[i].role == role;
        for (int fact = FACT_COLOUR; fact <= FACT_SIZE; fact++)
            good = good && (said[fact] < 0 || said[fact] == rlm_scene_fact(s, i, fact));
        fits += good;
    }
    r->errors += fits != 1;
    r->actors += role == ACTOR;
    r->targets += role == TARGET;
    r->others += role == BYSTANDER;
    for (int fact = FACT_COLOUR; fact <= FACT_SIZE; fact++)
        r->named[fact] += said[fact] >= 0;
}

/* The role of the next object: those of a "nearby" sentence stand by. */
static int next_role(const rlm_scene *s, int nearby, reading *r)
{
    if (nearby)
        return BYSTANDER;
    if (r->actors && s->count > 1 && s->object[1].role == TARGET && !r->targets)
        return TARGET;
    return ACTOR;
}

static void read_english_objects(const rlm_scene *s, const char *text, reading *r)
{
    int said[FACTS];
    memset(said, -1, sizeof said);
    for (const char *p = text; *p;) {
        size_t n = 0;
        while (isalpha((unsigned char)p[n]))
            n++;
        const word *found = NULL;
        for (size_t i = 0; i < COUNT(english_parts); i++)
            if (strlen(english_parts[i].text) == n && !strncmp(p, english_parts[i].text, n))
                found = &english_parts[i];
        if (!found && n)
            memset(said, -1, sizeof said); /* adjectives stand right before their noun */
        if (found)
            said[found->fact] = found->value;
        if (found && found->fact == FACT_SHAPE) {
            const char *from = p, *stop = strchr(p, '.');
            while (from > text && from[-1] != '.')
                from--;
            const char *near = strstr(from, "nearby");
            match(s, next_role(s, near && (!stop || near < stop), r), said, r);
            memset(said, -1, sizeof said);
        }
        p += n ? n : 1;
    }
}

static void read_chinese_objects(const rlm_scene *s, const char *text, reading *r)
{
    const char *beside = strstr(text, "旁边"), *end = beside ? strstr(beside, "。") : NULL;
    for (const char *p = text; (p = strstr(p, "一个"));) {
        const char *noun = NULL;
        int said[FACTS];
        memset(said, -1, sizeof said);
        for (size_t i = 0; i < SHAPES; i++) {
            const char *at = strstr(p, chinese_parts[i].text);
            if (at && (!noun || at < noun)) {
                noun = at;
                said[FACT_SHAPE] = chinese_parts[i].value;
            }
        }
        if (!noun) {
            r->errors++;
            return;
        }
        for (size_t i = SHAPES; i < COUNT(chinese_parts); i++) {
            const char *at = strstr(p, chinese_parts[i].text);
            if (at && at < noun)
                said[chinese_parts[i].fact] = chinese_parts[i].value;
        }
        match(s, next_role(s, beside && p > beside && p < end, r), said, r);
        p = noun;
    }
}

/* One caption; 1 when it says anything false or leaves out who does what. */
static int is_wrong(const rlm_scene *s, int language, int is_long, const char *caption, reading *r)
{
    char text[600];
    memset(r, 0, sizeof *r);
    size_t n = strlen(caption);
    for (size_t i = 0; i <= n; i++)
        text[i] = language ? caption[i] : (char)tolower((unsigned char)caption[i]);
    for (size_t i = 0; i < n && !language; i++)
        if (text[i] == ',' || text[i] == ':' || (text[i] == '.' && !is_long))
            text[i] = ' ';
    if (!language)
        strcat(text, " ");
    if (language) {
        read_words(s, chinese, COUNT(chinese), text, r);
        read_chinese_objects(s, text, r);
    } else {
        read_words(s, english, COUNT(english), text, r);
        read_english_objects(s, text, r);
    }
    int directed = s->direction == NOWHERE || r->named[FACT_DIRECTION] > 0;
    int targeted = s->event != COLLIDE && s->event != ORBIT ? r->targets == 0 : r->targets == 1;
    return r->errors || !r->events || r->actors != 1 || !targeted || !directed;
}

static void case_read_back(void)
{
    int wrong = 0, named[2][FACTS + 1] = {{0}};
    for (uint64_t i = 0; i < 10000; i++) {
        rlm_scene s;
        rlm_scene_make(&s, rlm_world_seed((int)(i % RLM_SPLITS), i), -1);
        for (int way = 0; way < 4; way++) {
            char text[512];
            reading r;
            int language = way & 1, is_long = way >> 1;
            int n = language ? rlm_caption_zh(&s, is_long, (int)(i % 7), -1, text, sizeof text)
                             : rlm_caption_en(&s, is_long, (int)(i % 7), -1, text, sizeof text);
            int bad = n < 10 || n > 500 || is_wrong(&s, language, is_long, text, &r);
            if (bad && wrong++ < 5)
                fprintf(stderr, "seed %llu: %s\n", (unsigned long long)s.seed, text);
            for (int fact = 0; fact <= FACTS; fact++)
                named[language][fact] += r.named[fact] > 0;
        }
    }
    CHECK(wrong == 0);
    for (int fact = 0; fact <= FACTS; fact++)
        CHECK(named[0][fact] > 500 && named[1][fact] > 500); /* all of it gets said */
}

/* The reader does notice: captions of one scene are false of another. */
static void case_reader_notices(void)
{
    int noticed = 0;
    for (uint64_t i = 0; i < 500; i++) {
        char text[512];
        rlm_scene a, b;
        reading r;
        rlm_scene_make(&a, i, -1);
        rlm_scene_make(&b, i + 1000, -1);
        int language = (int)(i & 1);
        if (language)
            rlm_caption_zh(&a, 1, 0, -1, text, sizeof text);
        else
            rlm_caption_en(&a, 1, 0, -1, text, sizeof text);
        noticed += is_wrong(&b, language, 1, text, &r);
    }
    CHECK(noticed >= 499);
}

/* The reader of src/world, which serves prompts that people write: it never reads a false fact, and
 * reads who acts, what it does and where it goes. */
static void case_claims(void)
{
    int wrong = 0, missed = 0;
    for (uint64_t i = 0; i < 10000; i++) {
        rlm_scene s;
        rlm_scene_make(&s, rlm_world_seed((int)(i % RLM_SPLITS), i), -1);
        for (int way = 0; way < 4; way++) {
            char text[512];
            rlm_claim c;
            if (way & 1)
                rlm_caption_zh(&s, way >> 1, (int)(i % 5), -1, text, sizeof text);
            else
                rlm_caption_en(&s, way >> 1, (int)(i % 5), -1, text, sizeof text);
            rlm_claim_read(text, &c);
            int bad = c.count && c.count != s.count;
            for (int k = FACT_FLOOR; k < FACTS; k++)
                bad |= c.fact[k] >= 0 && c.fact[k] != rlm_scene_fact(&s, 0, k);
            for (int b = 0; b < c.bodies; b++) {
                int fits = 0;
                for (int o = 0; o < s.count; o++) {
                    int good = c.role[b] == s.object[o].role;
                    for (int k = 0; k < RLM_BODY_FACTS; k++)
                        good &= c.body[b][k] < 0 || c.body[b][k] == rlm_scene_fact(&s, o, k);
                    fits += good;
                }
                bad |= !fits || c.body[b][FACT_SHAPE] < 0 || c.body[b][FACT_COLOUR] < 0;
            }
            int actor = 0;
            while (actor < c.bodies && c.role[actor] != ACTOR)
                actor++;
            int lost = actor == c.bodies || c.fact[FACT_EVENT] < 0 ||
                       (s.direction != NOWHERE && c.fact[FACT_DIRECTION] < 0) ||
                       (way > 1 && c.body[actor][FACT_SIZE] < 0);
            if ((bad || lost) && wrong + missed < 5)
                fprintf(stderr, "seed %llu: %s\n", (unsigned long long)s.seed, text);
            wrong += bad;
            missed += lost;
        }
    }
    CHECK(wrong == 0);
    CHECK(missed == 0);
    rlm_claim c;
    CHECK(rlm_claim_read("A red ball bounces on grass!", &c) == 4);
    CHECK(c.bodies == 1 && c.body[0][FACT_COLOUR] == RED && c.body[0][FACT_SIZE] == -1);
    CHECK(c.fact[FACT_EVENT] == BOUNCE && c.fact[FACT_FLOOR] == GRASS && c.fact[FACT_SKY] == -1);
    CHECK(rlm_claim_read("waves on a beach", &c) == 0);
    CHECK(rlm_claim_read("", &c) == 0);
}

static void case_patterns(void)
{
    rlm_scene s;
    char text[512], small[24];
    for (int language = 0; language < 2; language++) {
        CHECK(rlm_caption_patterns(language, 0) + rlm_caption_patterns(language, 1) >= 30);
        for (int is_long = 0; is_long < 2; is_long++)
            for (int p = 0; p < rlm_caption_patterns(language, is_long); p++)
                for (uint64_t seed = 0; seed < 40; seed++) {
                    reading r;
                    rlm_scene_make(&s, seed, -1);
                    if (language)
                        rlm_caption_zh(&s, is_long, 0, p, text, sizeof text);
                    else
                        rlm_caption_en(&s, is_long, 0, p, text, sizeof text);
                    CHECK(!is_wrong(&s, language, is_long, text, &r));
                    CHECK(!strstr(text, " .") && !strstr(text, "  ") && !strstr(text, "。。"));
                }
    }
    CHECK(rlm_world_caption(3, -1, RLM_LANGUAGE_EN, 1, 0, small, sizeof small) < 24);
    CHECK(strlen(small) < sizeof small);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_read_back);
    TEST_CASE(case_reader_notices);
    TEST_CASE(case_claims);
    TEST_CASE(case_patterns);
    return TEST_END();
}
