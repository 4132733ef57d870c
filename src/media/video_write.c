/* rlm_clip -> any file: which writer, checks, and how the bytes land. Files are made in a sink (an
 * encoded clip is small beside its pixels) and appear whole or not at all. */
#include "src/media/media.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/mem.h"

enum { WRITE_MAX_SIDE = 16384, WRITE_DEFAULT_CRF = 18, WRITE_PATH_LIMIT = 4096 };

/* ---- Formats --------------------------------------------------------------------------------- */

enum { HOLDS_VIDEO = 1, HOLDS_AUDIO = 2 };
typedef enum { MAKE_MUX, MAKE_GIF, MAKE_Y4M, MAKE_PNG, MAKE_SOUND } make_kind;
typedef struct format_row {
    const char *name, *muxer;
    int holds;
    make_kind make;
} format_row;

static const format_row *format_find(const char *name)
{
    static const format_row rows[] = {
        {"mp4", "mp4", HOLDS_VIDEO | HOLDS_AUDIO, MAKE_MUX},
        {"m4v", "mp4", HOLDS_VIDEO | HOLDS_AUDIO, MAKE_MUX},
        {"m4a", "mp4", HOLDS_AUDIO, MAKE_MUX},
        {"mov", "mov", HOLDS_VIDEO | HOLDS_AUDIO, MAKE_MUX},
        {"mkv", "matroska", HOLDS_VIDEO | HOLDS_AUDIO, MAKE_MUX},
        {"avi", "avi", HOLDS_VIDEO | HOLDS_AUDIO, MAKE_MUX},
        {"webm", "webm", HOLDS_VIDEO | HOLDS_AUDIO, MAKE_MUX},
        {"gif", "gif", HOLDS_VIDEO, MAKE_GIF},
        {"y4m", "y4m", HOLDS_VIDEO, MAKE_Y4M},
        {"png", "png", HOLDS_VIDEO, MAKE_PNG},
        {"wav", "wav", HOLDS_AUDIO, MAKE_SOUND},
        {"flac", "flac", HOLDS_AUDIO, MAKE_SOUND},
        {"ogg", "ogg", HOLDS_AUDIO, MAKE_SOUND},
        {"oga", "ogg", HOLDS_AUDIO, MAKE_SOUND},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].name, name))
            return &rows[i];
    return NULL;
}

static int format_choose(const format_row **out, const char *path, const char *format,
                         rlm_error *err)
{
    char ext[16];
    const char *name = format && *format ? format : NULL;
    if (!name && !strcmp(path, "-"))
        return rlm_fail(err, RLM_E_ARG, "stdout: a format must be named (mp4, mkv, y4m, wav, ...)");
    if (!name)
        name = rlm_path_ext(path, ext);
    *out = format_find(name);
    if (!*out)
        return rlm_fail(err, RLM_E_UNSUPPORTED,
                        "%s: file type \"%s\" is not known; known are mp4 mov m4a mkv webm avi gif "
                        "y4m png wav flac ogg",
                        path, name);
    return 0;
}

/* A path's own name, behind its folders: numbers stand there only. */
static const char *own_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* %d or %05d in its name. Without one any % there is just a letter. */
static bool is_sequence(const char *path)
{
    for (const char *p = own_name(path); (p = strchr(p, '%')); p++) {
        size_t digits = strspn(p + 1, "0123456789");
        if (p[1 + digits] == 'd')
            return true;
        p += p[1] == '%';
    }
    return false;
}

int rlm_media_sequence(const char *path, int number, char *out, size_t room)
{
    const char *name = own_name(path);
    size_t n = (size_t)(name - path);
    int found = 0;
    if (!is_sequence(path))
        return 0;
    if (n >= room)
        return -1;
    memcpy(out, path, n);
    for (const char *p = name; *p; p++) {
        if (n + 16 >= room)
            return -1;
        if (*p != '%' || p[1] == '%') {
            p += *p == '%';
            out[n++] = *p;
            continue;
        }
        int width = 0, zero = p[1] == '0';
        for (p++; *p >= '0' && *p <= '9' && width < 10; p++)
            width = width * 10 + *p - '0';
        if (*p != 'd' || width > 9)
            return -1;
        n += (size_t)snprintf(out + n, 16, zero ? "%0*d" : "%*d", width, number);
        found++;
    }
    out[n] = 0;
    return found == 1 ? 1 : -1;
}

/* What the format cannot hold of a clip with so many pictures and samples. */
static int holds_check(const char *path, const rlm_clip *clip, const format_row *row,
                       rlm_error *err)
{
    if (((row->holds & HOLDS_VIDEO) && clip->video.count > 0) ||
        ((row->holds & HOLDS_AUDIO) && clip->audio.count > 0))
        return 0;
    if (row->holds == HOLDS_AUDIO)
        return rlm_fail(err, RLM_E_ARG, "%s: holds sound alone, and the clip has none", path);
    return rlm_fail(err, RLM_E_ARG, "%s: the clip has no %s to write", path,
                    row->holds == HOLDS_VIDEO ? "picture" : "picture and no sound");
}

/* A name for so many pictures, 0: any number. */
static int sequence_check(const char *path, int count, rlm_error *err)
{
    char name[WRITE_PATH_LIMIT];
    int sequence = rlm_media_sequence(path, 0, name, sizeof name);
    if (sequence < 0)
        return rlm_fail(err, RLM_E_ARG,
                        "%s: exactly one %%d (or %%05d) is expected in the name, and %%%% for %%",
                        path);
    if (!sequence && count > 1)
        return rlm_fail(err, RLM_E_ARG,
                        "%s: holds one picture, and several are made (%d frames); put %%d (or "
                        "%%05d) where their number goes",
                        path, count);
    return 0;
}

int rlm_media_writable(const char *path, const rlm_write_options *options, const rlm_clip *shape,
                       rlm_error *err)
{
    const format_row *row;
    char dir[WRITE_PATH_LIMIT];
    if (!path || !*path || strlen(path) >= sizeof dir)
        return rlm_fail(err, RLM_E_ARG, "media file: the path is empty or too long");
    struct stat st;
    if (!stat(path, &st) && S_ISDIR(st.st_mode))
        return rlm_fail(err, RLM_E_IO, "%s: is a folder, a file name was expected", path);
    RLM_TRY(format_choose(&row, path, options ? options->format : NULL, err));
    if (row->make == MAKE_PNG)
        RLM_TRY(sequence_check(path, shape ? shape->video.count : 0, err));
    if (shape)
        RLM_TRY(holds_check(path, shape, row, err));
    if (!strcmp(path, "-"))
        return 0;
    if (!stat(path, &st) && !S_ISREG(st.st_mode)) /* a device or pipe is written in place */
        return access(path, W_OK) ? rlm_fail(err, RLM_E_IO, "%s: %s", path, strerror(errno)) : 0;
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    const char *folder = slash ? dir : ".";
    if (access(folder, W_OK | X_OK))
        return rlm_fail(err, RLM_E_IO, "%s: cannot be written: folder %s: %s", path, folder,
                        strerror(errno));
    return 0;
}

static int clip_check(const char *path, const rlm_clip *clip, const format_row *row, rlm_error *err)
{
    const rlm_frames *v = &clip->video;
    const rlm_pcm *a = &clip->audio;
    int has_video = v->count > 0, has_audio = a->count > 0;
    RLM_TRY(holds_check(path, clip, row, err));
    if (has_video && (v->width < 1 || v->width > WRITE_MAX_SIDE || v->height < 1 ||
                      v->height > WRITE_MAX_SIDE || v->fps_num < 1 || v->fps_den < 1))
        return rlm_fail(err, RLM_E_RANGE,
                        "%s: picture of %dx%d at %d/%d frames a second cannot be written", path,
                        v->width, v->height, v->fps_num, v->fps_den);
    if (has_audio && (a->channels < 1 || a->channels > 8 || a->rate < 1000 || a->rate > 384000))
        return rlm_fail(err, RLM_E_RANGE, "%s: sound of %d channels at %d Hz cannot be written",
                        path, a->channels, a->rate);
    return 0;
}

/* ---- PNG, one or a sequence ------------------------------------------------------------------ */

static int png_file(const char *path, const rlm_clip *clip, int i, rlm_error *err)
{
    rlm_sink sink = {0};
    int code = rlm_png_write(&sink, &clip->video, i, clip->metadata, clip->origin, err);
    if (!code)
        code = rlm_sink_land(&sink, path, err);
    rlm_sink_free(&sink);
    return code;
}

/* Name of picture i and the one it has until all are there. -1: too long. */
static int sequence_names(const char *path, int i, char name[WRITE_PATH_LIMIT],
                          char early[WRITE_PATH_LIMIT])
{
    int found = rlm_media_sequence(path, i, name, WRITE_PATH_LIMIT);
    int n = found == 1 ? snprintf(early, WRITE_PATH_LIMIT, "%s.tmp.%ld", name, (long)getpid()) : 0;
    return found == 1 && n < WRITE_PATH_LIMIT ? 0 : -1;
}

/* What stood there before goes only when every picture of the sequence is written. */
static int sequence_write(const char *path, const rlm_clip *clip, rlm_error *err)
{
    char name[WRITE_PATH_LIMIT], early[WRITE_PATH_LIMIT];
    int written = 0, landed = 0, code = 0, count = clip->video.count;
    for (; written < count && !code; written += !code) {
        if (sequence_names(path, written, name, early))
            code =
                rlm_fail(err, RLM_E_ARG, "%s: the name of picture %d is too long", path, written);
        else if (rlm_is_dir(name))
            code = rlm_fail(err, RLM_E_IO, "%s: is a folder, a file name was expected", name);
        else
            code = png_file(early, clip, written, err);
    }
    for (; landed < count && !code; landed += !code) {
        sequence_names(path, landed, name, early);
        if (rename(early, name))
            code = rlm_fail(err, RLM_E_IO, "%s: %s", name, strerror(errno));
    }
    for (; landed < written; landed++) {
        sequence_names(path, landed, name, early);
        unlink(early);
    }
    return code;
}

static int png_write(const char *path, const rlm_clip *clip, rlm_error *err)
{
    RLM_TRY(sequence_check(path, clip->video.count, err));
    return is_sequence(path) ? sequence_write(path, clip, err) : png_file(path, clip, 0, err);
}

/* ---- Entry ----------------------------------------------------------------------------------- */

/* Format, checks and the view of the clip that the format holds; its metadata is heap. */
static int write_plan(const char *path, const rlm_clip *clip, rlm_write_options *o,
                      const format_row **row, rlm_clip *part, rlm_error *err)
{
    if (!path || !*path || !clip)
        return rlm_fail(err, RLM_E_ARG, "media file: no path or no clip to write");
    RLM_TRY(format_choose(row, path, o->format, err));
    RLM_TRY(clip_check(path, clip, *row, err));
    o->crf = o->crf > 0 ? o->crf : WRITE_DEFAULT_CRF;
    if (o->crf > 63)
        return rlm_fail(err, RLM_E_RANGE, "%s: crf is %d, 1 to 63 is allowed", path, o->crf);
    av_log_set_level(AV_LOG_QUIET);
    *part = *clip; /* borrowed view: only what the format holds */
    if (o->no_ai_mark)
        part->origin = RLM_ORIGIN_RECORDED;
    part->metadata = NULL;
    if (clip->metadata && !o->no_metadata) {
        part->metadata = rlm_metadata_mark(clip->metadata, part->origin);
        if (!part->metadata)
            return rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", path);
    }
    if (!((*row)->holds & HOLDS_VIDEO) || !part->video.count)
        part->video = (rlm_frames){0};
    if (!((*row)->holds & HOLDS_AUDIO) || !part->audio.count)
        part->audio = (rlm_pcm){0};
    return 0;
}

/* Mark, and to its place. code: how the making went. */
static int write_land(rlm_sink *sink, const char *path, const char *muxer, int origin, int code,
                      rlm_error *err)
{
    if (!code && origin)
        rlm_mark_file(sink, muxer, origin);
    if (!code)
        code = rlm_sink_check(sink, err);
    if (code)
        rlm_fail_prefix(err, code, "%s", path);
    else
        code = rlm_sink_land(sink, path, err);
    rlm_sink_free(sink);
    return code;
}

int rlm_media_write(const char *path, const rlm_clip *clip, const rlm_write_options *options,
                    rlm_error *err)
{
    rlm_write_options o = options ? *options : (rlm_write_options){0};
    const format_row *row = NULL;
    rlm_sink sink = {0};
    rlm_clip part = {0};
    rlm_clip view = clip ? *clip : (rlm_clip){0};
    if (!view.video.rgb)
        view.video.count = 0;
    if (!view.audio.samples)
        view.audio.count = 0;
    RLM_TRY(write_plan(path, clip ? &view : NULL, &o, &row, &part, err));
    int code = 0;
    switch (row->make) {
    case MAKE_MUX:
        code = rlm_mux_write(&sink, row->muxer, &part, &o, err);
        break;
    case MAKE_GIF:
        code = rlm_gif_write(&sink, &part.video, err);
        break;
    case MAKE_Y4M:
        code = rlm_y4m_write(&sink, &part.video, err);
        break;
    case MAKE_SOUND:
        code = rlm_audio_file_write(&sink, row->muxer, &part.audio, part.metadata, err);
        break;
    case MAKE_PNG:
        code = png_write(path, &part, err);
    }
    rlm_free(part.metadata);
    return row->make == MAKE_PNG ? code
                                 : write_land(&sink, path, row->muxer, part.origin, code, err);
}

/* ---- Piece by piece ---- */

enum { METADATA_SPARE = 2048 };

struct rlm_media_out {
    char *path;
    const format_row *row;
    rlm_sink sink;
    rlm_mux *mux;
    int origin;
    char *held; /* the metadata as it stands in the file, blanks behind; NULL: none */
};

/* Containers keep their tags in front of what they are to tell of: room is left behind the text. */
static char *hold_metadata(const char *text)
{
    size_t n = strlen(text);
    char *held = rlm_alloc(n + METADATA_SPARE + 1);
    if (held) {
        memcpy(held, text, n);
        memset(held + n, ' ', METADATA_SPARE);
        held[n + METADATA_SPARE] = 0;
    }
    return held;
}

int rlm_media_grows(const char *path, const char *format)
{
    const format_row *row;
    rlm_error none;
    return !format_choose(&row, path, format, &none) && row->make == MAKE_MUX;
}

int rlm_media_out_open(rlm_media_out **out, const char *path, const rlm_clip *shape,
                       const rlm_write_options *options, rlm_error *err)
{
    rlm_write_options o = options ? *options : (rlm_write_options){0};
    rlm_clip part = {0};
    *out = NULL;
    rlm_media_out *w = rlm_calloc(1, sizeof *w);
    if (!w || !(w->path = rlm_strdup(path))) {
        rlm_free(w);
        return rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", path);
    }
    int code = write_plan(path, shape, &o, &w->row, &part, err);
    if (!code && w->row->make != MAKE_MUX)
        code =
            rlm_fail(err, RLM_E_UNSUPPORTED, "%s: %s files are written whole", path, w->row->name);
    w->origin = code ? 0 : part.origin;
    struct stat st; /* pipes and devices have no folder to write beside */
    w->sink.beside = strcmp(path, "-") && (stat(path, &st) || S_ISREG(st.st_mode)) ? w->path : NULL;
    if (!code && part.metadata && !(w->held = hold_metadata(part.metadata)))
        code = rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", path);
    rlm_free(part.metadata);
    part.metadata = w->held;
    if (!code) {
        code = rlm_mux_open(&w->mux, &w->sink, w->row->muxer, &part, &o, err);
        if (code)
            rlm_fail_prefix(err, code, "%s", path);
    }
    if (code)
        rlm_media_out_close(&w);
    *out = w;
    return code;
}

int rlm_media_out_push(rlm_media_out *w, const rlm_clip *part, rlm_error *err)
{
    int code = rlm_mux_push(w->mux, part, err);
    return code ? rlm_fail_prefix(err, code, "%s", w->path) : 0;
}

/* Another text where the held one stands: in mov files that is twice. */
static void change_metadata(rlm_media_out *w, const char *text)
{
    char *marked = w->held && text ? rlm_metadata_mark(text, w->origin) : NULL;
    size_t room = w->held ? strlen(w->held) : 0, n = marked ? strnlen(marked, room + 1) : 0;
    char *now = n && n <= room ? rlm_alloc(room) : NULL;
    if (!now) {
        rlm_free(marked);
        return;
    }
    memcpy(now, marked, n);
    memset(now + n, ' ', room - n);
    for (int64_t at = 0; (at = rlm_sink_find(&w->sink, w->held, at)) >= 0; at += (int64_t)room) {
        rlm_sink_seek(&w->sink, at);
        rlm_sink_write(&w->sink, now, (int64_t)room);
    }
    rlm_free(marked);
    rlm_free(now);
}

int rlm_media_out_finish(rlm_media_out *w, const char *metadata, rlm_error *err)
{
    int code = rlm_mux_finish(w->mux, err);
    if (!code)
        change_metadata(w, metadata);
    return write_land(&w->sink, w->path, w->row->muxer, w->origin, code, err);
}

void rlm_media_out_close(rlm_media_out **w)
{
    if (!*w)
        return;
    rlm_mux_close(&(*w)->mux);
    rlm_sink_free(&(*w)->sink);
    rlm_free((*w)->path);
    rlm_free((*w)->held);
    rlm_free(*w);
    *w = NULL;
}
