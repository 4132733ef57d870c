/* What an evaluation measures: files of folders and lists, playground clips, and their pairs. */
#include "src/train/eval.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/world/world.h"

enum { LIST_LIMIT = 1 << 24 };

static void item_free(rlm_eval_item *item)
{
    rlm_free(item->name);
    rlm_free(item->path);
    rlm_free(item->pair);
    rlm_free(item->label);
}

void rlm_eval_list_free(rlm_eval_list *l)
{
    for (int i = 0; i < l->count; i++)
        item_free(&l->items[i]);
    rlm_free(l->items);
    if (l->world)
        rlm_world_close(&l->world);
    memset(l, 0, sizeof *l);
}

static int no_memory(rlm_error *err)
{
    return rlm_fail(err, RLM_E_NOMEM, "evaluation: no memory for the list of files");
}

static int add(rlm_eval_list *l, const char *name, const char *path, const char *label, int kind,
               uint64_t seed, rlm_error *err)
{
    if (l->count == l->capacity) {
        int more = l->capacity ? 2 * l->capacity : 64;
        rlm_eval_item *grown = rlm_realloc(l->items, (size_t)l->capacity * sizeof *grown,
                                           (size_t)more * sizeof *grown);
        if (!grown)
            return no_memory(err);
        l->items = grown;
        l->capacity = more;
    }
    rlm_eval_item *item = &l->items[l->count];
    *item = (rlm_eval_item){.name = rlm_strdup(name),
                            .path = path ? rlm_strdup(path) : NULL,
                            .label = label ? rlm_strdup(label) : NULL,
                            .kind = kind,
                            .bytes = -1,
                            .seed = seed};
    l->count++;
    return item->name && (!path || item->path) && (!label || item->label) ? 0 : no_memory(err);
}

/* ---- Folders ---- */

/* Sorted names in a folder, hidden ones left out; count or -1. */
static int names_of(const char *dir, struct dirent ***names)
{
    int n = scandir(dir, names, NULL, alphasort), kept = 0;
    for (int i = 0; i < n; i++)
        if ((*names)[i]->d_name[0] == '.')
            free((*names)[i]);
        else
            (*names)[kept++] = (*names)[i];
    return n < 0 ? n : kept;
}

static void names_free(struct dirent **names, int n)
{
    for (int i = 0; i < n; i++)
        free(names[i]);
    if (n >= 0)
        free(names);
}

/* A folder that holds PNG files and nothing else. */
static bool is_sequence(const char *dir)
{
    struct dirent **names = NULL;
    char ext[16];
    int n = rlm_is_dir(dir) ? names_of(dir, &names) : -1;
    bool good = n > 0;
    for (int i = 0; i < n; i++)
        good &= !strcmp(rlm_path_ext(names[i]->d_name, ext), "png");
    names_free(names, n);
    return good;
}

/* Sub-folders of PNG frames; *found stays 0 when there are none. */
static int add_sequences(rlm_eval_list *l, const char *dir, int *found, rlm_error *err)
{
    struct dirent **names;
    int n = names_of(dir, &names), code = 0;
    for (int i = 0; i < n && !code; i++) {
        char *path = rlm_path_join(dir, names[i]->d_name);
        if (!path)
            code = no_memory(err);
        else if (is_sequence(path)) {
            code = add(l, names[i]->d_name, path, NULL, RLM_MEDIA_VIDEO, 0, err);
            ++*found;
        }
        rlm_free(path);
    }
    names_free(names, n);
    return code;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const rlm_eval_item *)a)->name, ((const rlm_eval_item *)b)->name);
}

static bool wanted(const rlm_eval_options *o, const rlm_item *item)
{
    if (o->split >= 0 && item->split != o->split)
        return false;
    if (o->what == RLM_EVAL_AUDIO)
        return item->kind == RLM_MEDIA_AUDIO ||
               (item->kind == RLM_MEDIA_VIDEO && item->has_audio == 1);
    return item->kind == RLM_MEDIA_VIDEO || item->kind == RLM_MEDIA_IMAGE;
}

/* Of sound the manifest's class, of pictures the last part of the repository's name. */
static const char *label_of(const rlm_eval_options *o, const rlm_item *item, const char *dir)
{
    if (o->what == RLM_EVAL_AUDIO && item->label)
        return item->label;
    if (!strcmp(item->group, dir))
        return NULL;
    const char *slash = strrchr(item->group, '/');
    return slash && slash[1] ? slash + 1 : item->group;
}

static int add_folder(rlm_eval_list *l, const rlm_eval_options *o, const char *dir,
                      const rlm_log *log, rlm_error *err)
{
    int first = l->count, sequences = 0, code;
    size_t n = strlen(dir);
    rlm_dataset set;
    if (o->what == RLM_EVAL_VIDEO && is_sequence(dir))
        return add(l, dir, dir, NULL, RLM_MEDIA_VIDEO, 0, err);
    if (o->what == RLM_EVAL_VIDEO)
        RLM_TRY(add_sequences(l, dir, &sequences, err));
    if (sequences)
        return 0;
    RLM_TRY(rlm_dataset_open(&set, &dir, 1, log, err));
    code = 0;
    for (int i = 0; i < set.count && !code; i++) {
        const rlm_item *item = &set.items[i];
        const char *name = strncmp(item->path, dir, n) ? item->path : item->path + n;
        name += strspn(name, "/");
        if (wanted(o, item))
            code = add(l, name, item->path, label_of(o, item, dir), item->kind, 0, err);
    }
    rlm_dataset_free(&set);
    if (l->count > first)
        qsort(l->items + first, (size_t)(l->count - first), sizeof *l->items, by_name);
    return code;
}

static int add_input(rlm_eval_list *l, const rlm_eval_options *o, const char *path,
                     const rlm_log *log, rlm_error *err);

/* Lines of files; a relative one starts in the list's folder. */
static int add_lines(rlm_eval_list *l, const rlm_eval_options *o, const char *path,
                     const rlm_log *log, rlm_error *err)
{
    char *text, *next = NULL;
    size_t bytes;
    RLM_TRY(rlm_file_read(path, LIST_LIMIT, &text, &bytes, err));
    const char *slash = strrchr(path, '/');
    int code = 0, length = slash ? (int)(slash - path) : 1;
    for (char *line = strtok_r(text, "\r\n", &next); line && !code;
         line = strtok_r(NULL, "\r\n", &next)) {
        char full[4096], ext[16];
        if (*line == '#')
            continue;
        int n = *line == '/'
                    ? snprintf(full, sizeof full, "%s", line)
                    : snprintf(full, sizeof full, "%.*s/%s", length, slash ? path : ".", line);
        if (n >= (int)sizeof full)
            code = rlm_fail(err, RLM_E_RANGE, "%s: a line is too long", path);
        else if (!strcmp(rlm_path_ext(line, ext), "txt"))
            code = rlm_fail(err, RLM_E_FORMAT, "%s: a list cannot name a list (%s)", path, line);
        else
            code = add_input(l, o, full, log, err);
        if (!code && l->count && l->items[l->count - 1].path &&
            !strcmp(l->items[l->count - 1].path, full)) {
            rlm_free(l->items[l->count - 1].name);
            l->items[l->count - 1].name = rlm_strdup(line);
            code = l->items[l->count - 1].name ? 0 : no_memory(err);
        }
    }
    rlm_free(text);
    return code;
}

static int add_input(rlm_eval_list *l, const rlm_eval_options *o, const char *path,
                     const rlm_log *log, rlm_error *err)
{
    char ext[16];
    if (rlm_is_dir(path))
        return add_folder(l, o, path, log, err);
    if (access(path, R_OK))
        return rlm_fail(err, RLM_E_IO, "%s: no such file or folder", path);
    if (!strcmp(rlm_path_ext(path, ext), "txt"))
        return add_lines(l, o, path, log, err);
    int kind = rlm_media_kind(path);
    if (!kind)
        return rlm_fail(err, RLM_E_ARG,
                        "%s: neither a folder, a .txt list nor a known kind of "
                        "media",
                        path);
    const char *slash = strrchr(path, '/');
    return add(l, slash ? slash + 1 : path, path, NULL, kind, 0, err);
}

static int add_world(rlm_eval_list *l, const rlm_eval_options *o, rlm_error *err)
{
    rlm_scene scene;
    if (!o->world)
        return 0;
    RLM_TRY(rlm_world_open(&l->world, 1, err));
    for (int i = 0; i < o->world; i++) {
        char name[64];
        uint64_t seed = rlm_world_seed(RLM_SPLIT_VALIDATION, (uint64_t)i);
        rlm_scene_make(&scene, seed, -1);
        snprintf(name, sizeof name, "%s-%" PRIu64, o->controls ? "controls" : "playground", seed);
        RLM_TRY(
            add(l, name, NULL, rlm_fact_name(FACT_STYLE, scene.style), RLM_MEDIA_VIDEO, seed, err));
    }
    return 0;
}

/* ---- Pairs ---- */

void rlm_eval_flat_name(const rlm_eval_item *item, char *out, size_t bytes)
{
    const char *dot = strrchr(item->name, '.'), *slash = strrchr(item->name, '/');
    size_t n = dot && dot != item->name && (!slash || dot > slash) ? (size_t)(dot - item->name)
                                                                   : strlen(item->name);
    snprintf(out, bytes, "%.*s", (int)n, item->name);
    for (char *c = out; *c; c++)
        if (*c == '/' || *c == '%')
            *c = '_';
}

/* The pair may be named like the item, or like what --keep made of it. */
static int find_pair(rlm_eval_item *item, const char *dir, rlm_error *err)
{
    static const char *const ends[] = {"",     ".mkv",  ".mp4", ".webm", ".y4m", ".png",
                                       ".wav", ".flac", ".ogg", ".opus", ".mp3", ".jpg",
                                       ".gif", ".mov",  ".m4a", ".h264", ".hevc"};
    char path[4096], flat[2048];
    size_t kinds = sizeof ends / sizeof *ends;
    rlm_eval_flat_name(item, flat, sizeof flat);
    for (size_t i = 0; i < 1 + kinds && !item->pair; i++) {
        if (i == 0)
            snprintf(path, sizeof path, "%s/%s", dir, item->name);
        else
            snprintf(path, sizeof path, "%s/%s%s", dir, flat, ends[i - 1]);
        if (rlm_is_dir(path) ? !is_sequence(path) : access(path, R_OK))
            continue;
        item->pair = rlm_strdup(path);
        if (!item->pair)
            return no_memory(err);
    }
    if (!item->pair)
        return rlm_fail(err, RLM_E_IO, "%s: no file there belongs to %s", dir, item->name);
    return 0;
}

/* bytes.tsv: name without folder and extension as --keep writes it, tab, bytes. */
static int read_bytes(rlm_eval_list *l, const char *dir, rlm_error *err)
{
    char path[4096], flat[2048], *text, *next = NULL;
    size_t bytes;
    snprintf(path, sizeof path, "%s/bytes.tsv", dir);
    if (access(path, R_OK))
        return 0;
    RLM_TRY(rlm_file_read(path, LIST_LIMIT, &text, &bytes, err));
    for (char *line = strtok_r(text, "\r\n", &next); line; line = strtok_r(NULL, "\r\n", &next)) {
        char *tab = strchr(line, '\t');
        if (!tab)
            continue;
        *tab = 0;
        for (int i = 0; i < l->count; i++) {
            rlm_eval_flat_name(&l->items[i], flat, sizeof flat);
            if (!strcmp(flat, line))
                l->items[i].bytes = strtoll(tab + 1, NULL, 10);
        }
    }
    rlm_free(text);
    return 0;
}

/* Keep `most` items, evenly spread. */
static void thin_out(rlm_eval_list *l, int64_t most)
{
    int kept = 0;
    if (most <= 0 || most >= l->count)
        return;
    for (int i = 0; i < l->count && kept < most; i++) {
        if (i != (int)(kept * (int64_t)l->count / most))
            continue;
        rlm_eval_item swap = l->items[kept];
        l->items[kept++] = l->items[i];
        l->items[i] = swap;
    }
    for (int i = kept; i < l->count; i++)
        item_free(&l->items[i]);
    l->count = kept;
}

static int open_list(rlm_eval_list *l, const rlm_eval_options *o, const rlm_log *log,
                     rlm_error *err)
{
    for (int i = 0; i < o->input_count; i++)
        RLM_TRY(add_input(l, o, o->inputs[i], log, err));
    RLM_TRY(add_world(l, o, err));
    if (!l->count)
        return rlm_fail(err, RLM_E_ARG, "evaluation: no %s in what was named%s",
                        o->what == RLM_EVAL_AUDIO ? "sound" : "clip and no picture",
                        o->split >= 0 ? " belongs to that split" : "");
    thin_out(l, o->most);
    for (int i = 0; i < l->count && o->against; i++)
        RLM_TRY(find_pair(&l->items[i], o->against, err));
    return o->against ? read_bytes(l, o->against, err) : 0;
}

int rlm_eval_list_open(rlm_eval_list *l, const rlm_eval_options *o, const rlm_log *log,
                       rlm_error *err)
{
    memset(l, 0, sizeof *l);
    int code = open_list(l, o, log, err);
    if (code)
        rlm_eval_list_free(l);
    return code;
}
