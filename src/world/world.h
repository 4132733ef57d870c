/* The playground: a seed in; pictures, sound, depth, flow, masks, facts and captions out.
 *
 *   seed -> scene -> motion (poses, contacts) -> render -> frames, depth, flow, mask
 *     \-> facts, captions                 \-> sound -> PCM
 *
 * Everything is a pure function of the seed and of what is wanted (rlm_world_want of src/reelm.h).
 * Space: metres, x right, y up, z away from where the camera stands at first; the floor is y = 0.
 */
#ifndef RLM_WORLD_WORLD_H
#define RLM_WORLD_WORLD_H

#include "src/base/diag.h"
#include "src/base/par.h"
#include "src/world/wmath.h"

enum { SHAPE_BALL, SHAPE_CUBE, SHAPE_CYLINDER, SHAPE_CONE, SHAPE_RING, SHAPES };
enum { RED, ORANGE, YELLOW, GREEN, CYAN, BLUE, PURPLE, PINK, COLOURS };
enum { RUBBER, METAL, WOOD, GLASS, MATERIALS };
enum { SMALL, BIG, SIZES };
enum { GRASS, SAND, SNOW, PLANKS, TILES, FLOORS };
enum { DAY, SUNSET, NIGHT, INDOORS, SKIES };
enum { CLEAR, RAIN, SNOWFALL, WEATHERS };
enum { STILL, PAN_LEFT, PAN_RIGHT, ZOOM_IN, ZOOM_OUT, ORBIT_SHOT, CAMERAS };
enum { PHOTO, CARTOON, PENCIL, NEON, STYLES };
enum { BOUNCE, ROLL, SLIDE, FALL, SPIN, COLLIDE, JUMP, ORBIT, EVENTS };
enum { NOWHERE, LEFT, RIGHT, TOWARDS, AWAY, DIRECTIONS };
enum { FROM_LEFT, FROM_RIGHT, FROM_FRONT, FROM_BEHIND, LIGHTS };
enum { ACTOR, TARGET, BYSTANDER };
/* Counted up when the same scene looks or sounds different: caches of clips go by it. */
enum { RLM_WORLD_SCHEMA = 2 };
enum { MAX_OBJECTS = 3, MAX_SEGMENTS = 96, MAX_CONTACTS = 128, HELD_OUT_PAIRS = 10 };

/* Kinds of facts, in the order of rlm_scene's fields; names in facts.c. */
enum {
    FACT_COLOUR,
    FACT_SHAPE,
    FACT_MATERIAL,
    FACT_SIZE,
    FACT_FLOOR,
    FACT_SKY,
    FACT_WEATHER,
    FACT_CAMERA,
    FACT_STYLE,
    FACT_EVENT,
    FACT_DIRECTION,
    FACT_LIGHT,
    FACTS
};

typedef struct rlm_object {
    int shape, colour, material, size, role;
    double radius;    /* overall half size, m */
    double dim[2];    /* ball: radius; cube: half side; cylinder, cone: radius, half height;
                         ring: radius of the circle, radius of the tube */
    int upright;      /* 1: its axis is vertical; 0: level, across its heading */
    double x, z, yaw; /* where it is at first */
} rlm_object;

typedef struct rlm_scene {
    uint64_t seed;
    int count;
    rlm_object object[MAX_OBJECTS]; /* the actor first, then the target if there is one */
    int floor, sky, weather, camera, style, event, direction, light;
    double light_azimuth, light_elevation; /* of the vector towards the light, radians */
    double heading;                        /* of the motion: 0 right, pi/2 away, radians */
    double camera_pitch, camera_move;      /* radians; extent of the move, 0..1 */
} rlm_scene;

/* A stretch of motion: constant acceleration on a line, or steady motion on a circle. */
typedef struct rlm_segment {
    double t0;
    double p[3], v[3], a[3];
    double circle;         /* radius around p; 0: a line */
    double phase, angular; /* of the circle, radians and radians a second */
    double yaw, yaw_rate, yaw_acceleration;
    double roll;  /* angle rolled so far */
    double rolls; /* radians a metre of way; 0: does not roll */
} rlm_segment;

typedef struct rlm_contact {
    double t;     /* s */
    int a, b;     /* objects; b -1: the floor */
    double speed; /* m/s, along the normal */
    double at[3];
} rlm_contact;

typedef struct rlm_motion {
    rlm_segment segment[MAX_OBJECTS][MAX_SEGMENTS];
    int segments[MAX_OBJECTS];
    rlm_contact contact[MAX_CONTACTS];
    int contacts;
    double seconds;           /* the motion is known up to there */
    double centre[3], extent; /* where the camera looks; half of what it must show, m */
} rlm_motion;

typedef struct rlm_pose {
    double p[3];
    m3 rotation;        /* object to world */
    double speed, spin; /* m/s over the floor; rad/s about the vertical */
    int touches;        /* on the floor */
} rlm_pose;

/* ---- scene.c, splits.c ----------------------------------------------------------------------- */

/* style: -1 the seed's own. */
void rlm_scene_make(rlm_scene *scene, uint64_t seed, int style);
/* One of the held-out attribute pairs: both facts hold for one object or for the scene. */
typedef struct rlm_pair {
    int fact[2], value[2];
} rlm_pair;
extern const rlm_pair rlm_held_out[HELD_OUT_PAIRS];
int rlm_scene_has_pair(const rlm_scene *scene, const rlm_pair *pair);
double rlm_restitution(int material, int floor);
double rlm_flat_landing(const rlm_scene *s);  /* what falls flat keeps less of its speed: factor */
double rlm_friction(int material, int floor); /* of sliding */
double rlm_mass(const rlm_object *o);

/* ---- world.c: limits and length of what is wanted */
int rlm_world_want_check(const rlm_world_want *want, rlm_error *err);
double rlm_world_seconds(const rlm_world_want *want);

/* ---- physics.c ------------------------------------------------------------------------------- */

void rlm_motion_make(rlm_motion *motion, rlm_scene *scene, double seconds);
void rlm_motion_pose(const rlm_motion *motion, const rlm_scene *scene, int object, double t,
                     rlm_pose *pose);

/* ---- facts.c, caption.c, caption_zh.c -------------------------------------------------------- */

const char *rlm_fact_name(int fact, int value); /* English word of the JSON; NULL outside */
int rlm_fact_values(int fact);
int rlm_scene_fact(const rlm_scene *scene, int object, int fact); /* value */
/* Both cut at `bytes`; return the length written. pattern < 0: drawn from seed and variant. */
int rlm_caption_en(const rlm_scene *s, int is_long, int variant, int pattern, char *to, int bytes);
int rlm_caption_zh(const rlm_scene *s, int is_long, int variant, int pattern, char *to, int bytes);
/* The Chinese caption with `between` (or NULL) between its words and phrases: a corpus in which no
 * piece of a text tokenizer spans two of them. */
int rlm_caption_zh_words(const rlm_scene *s, int is_long, int variant, int pattern,
                         const char *between, char *to, int bytes);
int rlm_caption_patterns(int language, int is_long); /* how many there are */
int rlm_caption_patterns_en(int is_long);
int rlm_caption_patterns_zh(int is_long);

/* ---- caption_read.c -------------------------------------------------------------------------- */

/* What a sentence says of a scene; -1: nothing. */
enum { RLM_BODY_FACTS = FACT_SIZE + 1 };
typedef struct rlm_claim {
    int count;       /* of bodies; 0: not said */
    int fact[FACTS]; /* FACT_FLOOR and those behind it */
    int bodies;      /* named, in order of mention */
    int body[MAX_OBJECTS][RLM_BODY_FACTS];
    int role[MAX_OBJECTS];
} rlm_claim;
/* UTF-8, English or Chinese, the first 1,000 bytes. Returns how many facts are named. */
int rlm_claim_read(const char *text, rlm_claim *claim);

/* ---- sound.c --------------------------------------------------------------------------------- */

enum {
    SOUND_IMPACTS = 1,
    SOUND_ROLLING = 2,
    SOUND_AMBIENCE = 4,
    SOUND_ALL = 7,
    SOUND_RATE = 16000
};
/* Adds to samples [count], which the caller zeroed. */
void rlm_world_sound(const rlm_scene *s, const rlm_motion *m, int layers, int64_t count,
                     float *samples);

/* ---- texture.c, render*.c -------------------------------------------------------------------- */

enum { TEXTURE = 512, MIPS = 10, NOISE = 256, TONES = 16384 };
#define W_TILE 4.0f   /* metres a floor texture spans */
#define W_FAR  100.0f /* depth of the sky and of all beyond, m */

struct rlm_world {
    rlm_par *par;
    uint8_t *floor[FLOORS]; /* mip chain of [n][n][4]: square root of linear red, green, blue */
    float *noise;           /* [NOISE][NOISE], tileable, 0..1 */
    uint8_t tone[TONES];    /* linear light 0..4 to sRGB */
};
int rlm_textures_make(struct rlm_world *w, rlm_error *err);
float rlm_noise(const struct rlm_world *w, float u, float v); /* period 1 */

/* Frames into rgb [frames][h][w][3]; depth, flow, mask may be NULL. Scratch of its own. */
int rlm_world_draw(const struct rlm_world *w, const rlm_scene *s, const rlm_motion *m,
                   const rlm_world_want *want, uint8_t *rgb, rlm_world_truth *truth,
                   rlm_error *err);

#endif
