/* Scene -> Chinese, by the same slots as the English grammar. */
#include "src/world/caption.h"

#include <string.h>

static const char *const brief[] = {
    "%A%V",       "%A%F%V",         "%F，%A%V",     "%S，%A%V",
    "%T：%A%V",   "%A正在%F%V",     "%S，%F，%A%V", "%T，%A%F%V",
    "画面中%A%V", "%A%V，%c",       "视频里%A%F%V", "%S，%A正在%V",
    "%c，%A%V",   "这里有%A，它%V", "%F有%A，它%V", "短片：%A%S%V",
};
static const char *const full[] = {
    "%S，%A%F%V。%W%O%C",     "%T。%A%F%V。%Y%W%O%C",   "%A%F%V。%Y%W%C%X",
    "%c，%A%F%V。%Y%O%X",     "%N%A%F%V。%Y%O%C",       "%Y%W%A%F%V。%C%X",
    "%X%A%F%V。%Y%O%C%N",     "%T：%S，%A%F%V。%W%O",   "%F，%A%V。%Y%W%L%C",
    "%C%A%F%V。%Y%O%X",       "画面中%A%F%V。%N%Y%L",   "%L%A%F%V。%Y%W%C",
    "%S，%F有%A，它%V。%O%C", "这是%T。%A%F%V。%Y%W%O", "%A正在%F%V。%Y%L%C",
    "%Y%A%F%V。%W%C%X",       "视频里%A%F%V。%X%Y%N",   "%O%A%F%V。%Y%C%X",
};
enum { BRIEF = sizeof brief / sizeof brief[0], FULL = sizeof full / sizeof full[0] };

static void noun(rlm_writing *w, int index)
{
    static const char *const sizes[SIZES][WORDS] = {{"小型", "小的", "小小的"},
                                                    {"大型", "大的", "大大的"}};
    static const char *const colours[] = {"红色", "橙色", "黄色", "绿色",
                                          "青色", "蓝色", "紫色", "粉色"};
    static const char *const materials[] = {"橡胶", "金属", "木制", "玻璃"};
    static const char *const shapes[] = {"球", "立方体", "圆柱体", "圆锥体", "圆环"};
    const rlm_object *o = &w->scene->object[index];
    int size = w->is_long || rlm_write_pick(w, 2);
    int material = w->is_long || rlm_write_pick(w, 2);
    rlm_write(w, "一个");
    if (size)
        rlm_write(w, rlm_write_word(w, sizes[o->size]));
    rlm_write(w, colours[o->colour]);
    if (material)
        rlm_write(w, materials[o->material]);
    rlm_write(w, shapes[o->shape]);
}

static void verb(rlm_writing *w)
{
    static const char *const ways[DIRECTIONS][WORDS] = {
        {""}, {"向左", "往左"}, {"向右", "往右"}, {"朝镜头", "向镜头"}, {"向远处", "朝远处"}};
    static const char *const words[EVENTS][WORDS] = {
        [BOUNCE] = {"弹跳", "弹跳着"}, [ROLL] = {"滚动", "滚动着"},
        [SLIDE] = {"滑动", "滑行"},    [FALL] = {"落下", "掉落下来"},
        [SPIN] = {"旋转", "原地旋转"}, [COLLIDE] = {"撞上", "碰撞", "撞到"},
        [JUMP] = {"跳跃", "跳起来"},   [ORBIT] = {"绕着", "围绕"},
    };
    const rlm_scene *s = w->scene;
    rlm_write(w, rlm_write_word(w, ways[s->direction]));
    if (s->event == COLLIDE)
        rlm_write(w, s->object[0].shape == SHAPE_BALL ? "滚动，" : "滑动，");
    rlm_write(w, rlm_write_word(w, words[s->event]));
    if (s->event == COLLIDE || s->event == ORBIT)
        noun(w, 1);
    if (s->event == ORBIT)
        rlm_write(w, rlm_write_pick(w, 2) ? "转圈" : "转动");
}

static const char *const floors[FLOORS][WORDS] = {{"在草地上", "在草坪上"},
                                                  {"在沙地上", "在沙子上"},
                                                  {"在雪地上", "在积雪上"},
                                                  {"在木地板上", "在木板地面上"},
                                                  {"在瓷砖地面上", "在瓷砖上"}};
static const char *const skies[SKIES][2][WORDS] = {
    {{"白天", "在白天的天空下"}, {"时间是白天。", "现在是白天。"}},
    {{"日落时分", "在夕阳下"}, {"太阳正在西沉，是日落时分。", "时间是日落时分。"}},
    {{"夜晚", "在夜空下"}, {"时间是夜晚。", "夜晚天色很暗。"}},
    {{"在室内", "在房间里"}, {"场景在室内。", "这是在房间里。"}}};
static const char *const weathers[WEATHERS][WORDS] = {
    {"天气晴好。", "天气干爽。"}, {"天正在下雨。", "雨水洒下。"}, {"天正在下雪。", "雪花飞舞。"}};
static const char *const cameras[CAMERAS][WORDS] = {
    {"镜头静止", "镜头固定"}, {"镜头左摇", "镜头左转"}, {"镜头右摇", "镜头右转"},
    {"镜头推近", "镜头拉近"}, {"镜头拉远", "镜头推远"}, {"镜头弧形移动", "镜头弧线移动"}};
static const char *const styles[STYLES][2][WORDS] = {
    {{"写实视频", "逼真的短片"}, {"画面像照片。", "风格写实。"}},
    {{"平面卡通", "卡通动画"}, {"画面像卡通。", "风格是平面卡通。"}},
    {{"铅笔素描", "铅笔画动画"}, {"画面像铅笔素描。", "风格是铅笔画。"}},
    {{"霓虹动画", "发光的霓虹画面"}, {"画面像霓虹灯。", "风格是霓虹。"}}};
static const char *const lights[LIGHTS][WORDS] = {{"光线来自左侧。", "光从左侧照来。"},
                                                  {"光线来自右侧。", "光从右侧照来。"},
                                                  {"光线来自前方。", "光从前方照来。"},
                                                  {"光线来自后方。", "光从后方照来。"}};
static const char *const numbers[MAX_OBJECTS][WORDS] = {{"共有一件物体。", "画面里有一件物体。"},
                                                        {"共有两件物体。", "画面里有两件物体。"},
                                                        {"共有三件物体。", "画面里有三件物体。"}};

static void others(rlm_writing *w)
{
    int said = 0;
    for (int i = 0; i < w->scene->count; i++)
        if (w->scene->object[i].role == BYSTANDER) {
            rlm_write(w, said++ ? "和" : "旁边有");
            noun(w, i);
        }
    if (said)
        rlm_write(w, "。");
}

static void slot(rlm_writing *w, char letter)
{
    const rlm_scene *s = w->scene;
    switch (letter) {
    case 'A':
        noun(w, 0);
        break;
    case 'V':
        verb(w);
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
    case 'W':
        if (s->sky != INDOORS)
            rlm_write(w, rlm_write_word(w, weathers[s->weather]));
        break;
    case 'T':
    case 'X':
        rlm_write(w, rlm_write_word(w, styles[s->style][letter == 'X']));
        break;
    case 'C':
    case 'c':
        rlm_write(w, rlm_write_word(w, cameras[s->camera]));
        rlm_write(w, letter == 'C' ? "。" : "");
        break;
    case 'L':
        rlm_write(w, rlm_write_word(w, lights[s->light]));
        break;
    default:
        rlm_write(w, rlm_write_word(w, numbers[s->count - 1]));
        break;
    }
}

int rlm_caption_zh_words(const rlm_scene *s, int is_long, int variant, int pattern,
                         const char *between, char *to, int bytes)
{
    rlm_writing w = {.scene = s,
                     .variant = variant,
                     .is_long = is_long != 0,
                     .language = 1,
                     .between = between,
                     .text = to,
                     .room = bytes - 1};
    if (bytes < 1)
        return 0;
    to[0] = 0;
    int drawn = rlm_write_pick(&w, is_long ? FULL : BRIEF);
    pattern = pattern < 0 ? drawn : pattern;
    rlm_write_pattern(&w, is_long ? full[pattern % FULL] : brief[pattern % BRIEF], slot);
    return w.length;
}

int rlm_caption_zh(const rlm_scene *s, int is_long, int variant, int pattern, char *to, int bytes)
{
    return rlm_caption_zh_words(s, is_long, variant, pattern, NULL, to, bytes);
}

int rlm_caption_patterns_zh(int is_long)
{
    return is_long ? FULL : BRIEF;
}
