/* The three ways a folder says what it holds:
 *   manifest.tsv    header line, then a line a file; columns file, source or repository, path,
 *                   kind or class, has_audio, split; a source may also be
 *                   "REPOSITORY | PATH @OFFSET"
 *   metadata.jsonl  {"file_name", "text", "text_long"}, optionally "source", "split", "has_audio"
 *   nothing         every file of a known kind, searched through sub-folders
 * The first two are joined by file name, and what they do not name is not used, which is said. A
 * missing caption is looked for in NAME.txt beside the file: first line short, the rest long. */
#include "src/train/dataset_read.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIST_LIMIT = 1 << 30, CAPTION_LIMIT = 1 << 14, COLUMNS_MAX = 32, DEPTH_MAX = 8 };

static const struct {
    int kind;
    const char *extensions;
} KINDS[] = {
    {RLM_MEDIA_VIDEO, " mp4 m4v mov mkv webm avi gif y4m mpg mpeg ogv "},
    {RLM_MEDIA_IMAGE, " png jpg jpeg bmp webp ppm tif tiff "},
    {RLM_MEDIA_AUDIO, " wav flac ogg oga opus mp3 m4a aac "},
};

int rlm_media_kind(const char *path)
{
    char ext[16], word[20];
    snprintf(word, sizeof word, " %s ", rlm_path_ext(path, ext));
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (word[1] != ' ' && strstr(KINDS[i].extensions, word))
            return KINDS[i].kind;
    return 0;
}

void rlm_item_free(rlm_item *item)
{
    rlm_free(item->path);
    rlm_free(item->source);
    rlm_free(item->group);
    rlm_free(item->label);
    rlm_free(item->text);
    rlm_free(item->text_long);
    memset(item, 0, sizeof *item);
}

static void skip(rlm_found *f, const char *path, const char *why)
{
    f->skipped++;
    rlm_logf(f->log, 1, "%s: %s; skipped", path, why);
}

static int no_memory(rlm_error *err)
{
    return rlm_fail(err, RLM_E_NOMEM, "dataset: no memory");
}

static bool inside(const char *name)
{
    if (!*name || *name == '/')
        return false;
    for (const char *at = name; (at = strstr(at, "..")); at += 2)
        if ((at == name || at[-1] == '/') && (at[2] == 0 || at[2] == '/'))
            return false;
    return true;
}

/* -1: no opinion. A folder of that name in the path, or the word itself. */
static int split_of(const char *word, size_t n)
{
    static const char *const TRAIN = " train training ", *const VAL = " test val valid validation ";
    char key[16];
    if (n == 0 || n > 12)
        return -1;
    snprintf(key, sizeof key, " %.*s ", (int)n, word);
    return strstr(TRAIN, key) ? 0 : strstr(VAL, key) ? 1 : -1;
}

static int split_of_path(const char *name)
{
    for (const char *slash; (slash = strchr(name, '/')); name = slash + 1) {
        int split = split_of(name, (size_t)(slash - name));
        if (split >= 0)
            return split;
    }
    return -1;
}

static char *copy_bytes(const char *s, size_t n)
{
    char *out = rlm_alloc(n + 1);
    if (out) {
        memcpy(out, s, n);
        out[n] = 0;
    }
    return out;
}

/* A new item for dir/name with what the name alone tells; NULL: skipped, or out of memory (*code).
 */
static rlm_item *add_item(rlm_found *f, const char *dir, const char *name, int *code,
                          rlm_error *err)
{
    struct stat st;
    char *path = rlm_path_join(dir, name);
    if (!path) {
        *code = no_memory(err);
        return NULL;
    }
    const char *why = !inside(name)                             ? "outside its folder"
                      : !rlm_media_kind(name)                   ? "not a known kind of media"
                      : stat(path, &st) || !S_ISREG(st.st_mode) ? "missing"
                      : st.st_size == 0                         ? "empty"
                                                                : NULL;
    if (why) {
        skip(f, path, why);
        rlm_free(path);
        return NULL;
    }
    if (f->count == f->capacity) {
        int more = f->capacity ? 2 * f->capacity : 256;
        rlm_item *grown = rlm_realloc(f->items, (size_t)f->capacity * sizeof *grown,
                                      (size_t)more * sizeof *grown);
        if (!grown) {
            rlm_free(path);
            *code = no_memory(err);
            return NULL;
        }
        f->items = grown;
        f->capacity = more;
    }
    int kind = rlm_media_kind(name);
    rlm_item *item = &f->items[f->count++];
    *item = (rlm_item){.path = path,
                       .kind = kind,
                       .split = split_of_path(name),
                       .has_audio = kind == RLM_MEDIA_AUDIO   ? 1
                                    : kind == RLM_MEDIA_IMAGE ? 0
                                                              : -1};
    return item;
}

/* "REPOSITORY | PATH @OFFSET by NAME" or "... (+1 joined)": the repository, and what comes before
 * the offset as the recording. With a path column the recording is source and path together. */
static bool set_source(rlm_item *item, const char *source, const char *path)
{
    const char *bar = strstr(source, " | ");
    size_t group = bar ? (size_t)(bar - source) : strlen(source), whole = strlen(source);
    const char *at = bar ? strstr(bar, " @") : NULL, *joined = bar ? strstr(bar, " (+") : NULL;
    if (at)
        whole = (size_t)(at - source);
    else if (joined)
        whole = (size_t)(joined - source);
    rlm_free(item->group);
    rlm_free(item->source);
    item->group = copy_bytes(source, group);
    item->source = path && *path ? rlm_path_join(source, path) : copy_bytes(source, whole);
    return item->group && item->source;
}

/* ---- manifest.tsv ---- */

typedef struct columns {
    int file, source, path, label, has_audio, split, count;
} columns;

static int cut(char *line, char *cell[COLUMNS_MAX])
{
    int n = 0;
    for (char *at = line; n < COLUMNS_MAX; at++) {
        cell[n++] = at;
        at = strchr(at, '\t');
        if (!at)
            break;
        *at = 0;
    }
    return n;
}

static columns read_header(char *line)
{
    char *cell[COLUMNS_MAX];
    columns c = {-1, -1, -1, -1, -1, -1, cut(line, cell)};
    for (int i = 0; i < c.count; i++) {
        if (!strcmp(cell[i], "file") || !strcmp(cell[i], "file_name"))
            c.file = i;
        else if (!strcmp(cell[i], "source") || !strcmp(cell[i], "repository"))
            c.source = i;
        else if (!strcmp(cell[i], "path"))
            c.path = i;
        else if (!strcmp(cell[i], "kind") || !strcmp(cell[i], "class"))
            c.label = i;
        else if (!strcmp(cell[i], "has_audio"))
            c.has_audio = i;
        else if (!strcmp(cell[i], "split"))
            c.split = i;
    }
    return c;
}

static int manifest_line(rlm_found *f, const char *dir, const columns *c, char *line,
                         rlm_error *err)
{
    char *cell[COLUMNS_MAX];
    int n = cut(line, cell), code = 0;
    if (n <= c->file) {
        skip(f, line, "a manifest line without a file");
        return 0;
    }
    rlm_item *item = add_item(f, dir, cell[c->file], &code, err);
    if (!item)
        return code;
    if (c->source >= 0 && c->source < n &&
        !set_source(item, cell[c->source], c->path >= 0 && c->path < n ? cell[c->path] : NULL))
        return no_memory(err);
    if (c->label >= 0 && c->label < n && !item->label &&
        !(item->label = rlm_strdup(cell[c->label])))
        return no_memory(err);
    if (c->has_audio >= 0 && c->has_audio < n)
        item->has_audio = atoi(cell[c->has_audio]) != 0;
    if (c->split >= 0 && c->split < n && split_of(cell[c->split], strlen(cell[c->split])) >= 0)
        item->split = split_of(cell[c->split], strlen(cell[c->split]));
    return 0;
}

/* Next line of text at *at, without its end; NULL at the end. */
static char *next_line(char **at)
{
    char *line = *at;
    if (!*line)
        return NULL;
    char *end = line + strcspn(line, "\n");
    *at = *end ? end + 1 : end;
    *end = 0;
    if (end > line && end[-1] == '\r')
        end[-1] = 0;
    return line;
}

static int read_manifest(rlm_found *f, const char *dir, char *text, rlm_error *err)
{
    char *at = text, *line = next_line(&at);
    if (!line)
        return 0;
    columns c = read_header(line);
    if (c.file < 0)
        return rlm_fail(err, RLM_E_FORMAT, "%s/manifest.tsv: no column `file` in its first line",
                        dir);
    while ((line = next_line(&at)))
        if (*line)
            RLM_TRY(manifest_line(f, dir, &c, line, err));
    return 0;
}

/* ---- metadata.jsonl ---- */

static int by_path(const void *a, const void *b)
{
    return strcmp(((const rlm_item *)a)->path, ((const rlm_item *)b)->path);
}

static bool set_text(char **to, const cJSON *o, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    if (!cJSON_IsString(v) || !v->valuestring[0])
        return true;
    rlm_free(*to);
    *to = rlm_strdup(v->valuestring);
    return *to != NULL;
}

static int set_metadata(rlm_item *item, const cJSON *o, rlm_error *err)
{
    const cJSON *source = cJSON_GetObjectItemCaseSensitive(o, "source");
    const cJSON *split = cJSON_GetObjectItemCaseSensitive(o, "split");
    const cJSON *audio = cJSON_GetObjectItemCaseSensitive(o, "has_audio");
    if (!set_text(&item->text, o, "text") || !set_text(&item->text_long, o, "text_long"))
        return no_memory(err);
    if (cJSON_IsString(source) && !item->source && !set_source(item, source->valuestring, NULL))
        return no_memory(err);
    if (cJSON_IsString(split) && split_of(split->valuestring, strlen(split->valuestring)) >= 0)
        item->split = split_of(split->valuestring, strlen(split->valuestring));
    if (cJSON_IsBool(audio))
        item->has_audio = cJSON_IsTrue(audio);
    else if (cJSON_IsNumber(audio))
        item->has_audio = audio->valuedouble != 0;
    return 0;
}

/* known: items sorted by path that the manifest of this folder gave. */
static int metadata_line(rlm_found *f, const char *dir, int first, int known, const char *line,
                         rlm_error *err)
{
    int code = 0;
    cJSON *o = cJSON_Parse(line);
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(o, "file_name");
    if (!cJSON_IsString(name)) {
        cJSON_Delete(o);
        skip(f, dir, "a line of metadata.jsonl is not an object with \"file_name\"");
        return 0;
    }
    char *path = rlm_path_join(dir, name->valuestring);
    rlm_item key = {.path = path}, *item = NULL;
    if (!path)
        code = no_memory(err);
    else if (known)
        item = bsearch(&key, f->items + first, (size_t)known, sizeof key, by_path);
    if (!code && !item)
        item = add_item(f, dir, name->valuestring, &code, err);
    if (item)
        code = set_metadata(item, o, err);
    rlm_free(path);
    cJSON_Delete(o);
    return code;
}

static int read_metadata(rlm_found *f, const char *dir, int first, char *text, rlm_error *err)
{
    int known = f->count - first;
    char *at = text;
    if (known)
        qsort(f->items + first, (size_t)known, sizeof *f->items, by_path);
    for (char *line; (line = next_line(&at));)
        if (*line)
            RLM_TRY(metadata_line(f, dir, first, known, line, err));
    return 0;
}

/* ---- A walk through sub-folders ---- */

typedef struct rlm_place {
    dev_t device;
    ino_t inode;
} rlm_place;

void rlm_found_forget(rlm_found *f)
{
    rlm_free(f->seen);
    f->seen = NULL;
    f->seen_count = f->seen_room = 0;
}

/* A folder is walked through once, whatever links lead there: else its clips would count several
 * times, some of them for validation. */
static bool enters(rlm_found *f, const char *path, int *code, rlm_error *err)
{
    struct stat st;
    if (stat(path, &st))
        return false;
    for (int i = 0; i < f->seen_count; i++)
        if (f->seen[i].device == st.st_dev && f->seen[i].inode == st.st_ino)
            return false;
    if (f->seen_count == f->seen_room) {
        int more = f->seen_room ? 2 * f->seen_room : 64;
        rlm_place *grown = rlm_realloc(f->seen, (size_t)f->seen_room * sizeof *grown,
                                       (size_t)more * sizeof *grown);
        if (!grown) {
            *code = no_memory(err);
            return false;
        }
        f->seen = grown;
        f->seen_room = more;
    }
    f->seen[f->seen_count++] = (rlm_place){st.st_dev, st.st_ino};
    return true;
}

/* A link to a file that is found under its own name. */
static bool leads_inside(const char *dir, const char *path)
{
    struct stat st;
    if (lstat(path, &st) || !S_ISLNK(st.st_mode))
        return false;
    char *whole = realpath(dir, NULL), *target = realpath(path, NULL);
    size_t n = whole ? strlen(whole) : 0;
    bool yes = whole && target && !strncmp(whole, target, n) && target[n] == '/';
    free(whole);
    free(target);
    return yes;
}

/* Media files that no item from `first` on stands for, by its name or by what comes before its
 * first dot (CLIP.control.mp4 and CLIP.wav belong to CLIP.mp4). Items sorted by path. */
static bool is_listed(const rlm_found *f, int first, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t stem = (size_t)(name - path) + strcspn(name, ".") + 1;
    int low = first, high = f->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (strncmp(f->items[middle].path, path, stem) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->count && !strncmp(f->items[low].path, path, stem);
}

/* unlisted NULL: adds what is there; else counts what no item from `first` on stands for. */
static int walk(rlm_found *f, const char *dir, const char *below, int depth, int first,
                int *unlisted, rlm_error *err)
{
    struct dirent **names;
    char *path = *below ? rlm_path_join(dir, below) : rlm_strdup(dir);
    if (!path)
        return no_memory(err);
    int code = 0, n = enters(f, path, &code, err) ? scandir(path, &names, NULL, alphasort) : 0;
    rlm_free(path);
    if (n == 0)
        return code;
    if (n < 0)
        return rlm_fail(err, RLM_E_IO, "%s/%s: cannot be listed", dir, below);
    for (int i = 0; i < n; i++) {
        char *name = *below ? rlm_path_join(below, names[i]->d_name) : rlm_strdup(names[i]->d_name);
        char *full = name ? rlm_path_join(dir, name) : NULL;
        if (!full)
            code = code ? code : no_memory(err);
        else if (!code && names[i]->d_name[0] != '.') {
            if (rlm_is_dir(full) && depth < DEPTH_MAX)
                code = walk(f, dir, name, depth + 1, first, unlisted, err);
            else if (unlisted)
                *unlisted += rlm_media_kind(name) && !is_listed(f, first, full);
            else if (rlm_media_kind(name) && !leads_inside(dir, full))
                add_item(f, dir, name, &code, err);
        }
        rlm_free(full);
        rlm_free(name);
        free(names[i]);
    }
    free(names);
    return code;
}

/* ---- Captions beside the file ---- */

static int read_sidecar(rlm_item *item, rlm_error *err)
{
    char *dot = strrchr(item->path, '.'), *text = NULL;
    size_t stem = dot ? (size_t)(dot - item->path) : strlen(item->path), bytes;
    char *path = rlm_alloc(stem + 5);
    if (!path)
        return no_memory(err);
    memcpy(path, item->path, stem);
    memcpy(path + stem, ".txt", 5);
    int code = 0;
    if (access(path, R_OK) == 0 && !rlm_file_read(path, CAPTION_LIMIT, &text, &bytes, NULL)) {
        char *at = text, *line = next_line(&at);
        while (bytes > 0 && isspace((unsigned char)text[bytes - 1]))
            text[--bytes] = 0;
        if (line && *line && !(item->text = rlm_strdup(line)))
            code = no_memory(err);
        if (!code && *at && at < text + bytes && !(item->text_long = rlm_strdup(at)))
            code = no_memory(err);
    }
    rlm_free(text);
    rlm_free(path);
    return code;
}

/* What no list said: captions from sidecars, the file as its own recording, the folder as group. */
static int complete(rlm_item *item, const char *dir, rlm_error *err)
{
    if (!item->text)
        RLM_TRY(read_sidecar(item, err));
    if (!item->source)
        item->source = rlm_strdup(item->path);
    if (!item->group)
        item->group = rlm_strdup(dir);
    return item->source && item->group ? 0 : no_memory(err);
}

typedef int (*list_reader)(rlm_found *, const char *dir, int first, char *text, rlm_error *);

static int manifest_reader(rlm_found *f, const char *dir, int first, char *text, rlm_error *err)
{
    (void)first;
    return read_manifest(f, dir, text, err);
}

/* *there: the list exists. */
static int read_list(rlm_found *f, const char *dir, const char *name, int first, list_reader reader,
                     bool *there, rlm_error *err)
{
    char *path = rlm_path_join(dir, name), *text = NULL;
    size_t bytes;
    int code = path ? 0 : no_memory(err);
    if (path && access(path, F_OK) == 0) {
        *there = true;
        code = rlm_file_read(path, LIST_LIMIT, &text, &bytes, err);
        if (!code)
            code = reader(f, dir, first, text, err);
    }
    rlm_free(text);
    rlm_free(path);
    return code;
}

/* A list decides; that it passes over files is said, for it may be meant as captions of some. */
static int count_unlisted(rlm_found *f, const char *dir, int first, rlm_error *err)
{
    int unlisted = 0, listed = f->count - first;
    if (listed)
        qsort(f->items + first, (size_t)listed, sizeof *f->items, by_path);
    rlm_found_forget(f);
    RLM_TRY(walk(f, dir, "", 0, first, &unlisted, err));
    rlm_found_forget(f); /* a folder below may be given by itself */
    if (unlisted)
        rlm_logf(f->log, 1,
                 "%s: its list names %d files, %d more there are not used: name them in it too, or "
                 "take it away and give captions as NAME.txt",
                 dir, listed, unlisted);
    return 0;
}

int rlm_found_folder(rlm_found *f, const char *dir, rlm_error *err)
{
    int first = f->count;
    bool listed = false;
    if (!rlm_is_dir(dir))
        return rlm_fail(err, RLM_E_IO, "%s: not a folder", dir);
    RLM_TRY(read_list(f, dir, "manifest.tsv", first, manifest_reader, &listed, err));
    RLM_TRY(read_list(f, dir, "metadata.jsonl", first, read_metadata, &listed, err));
    if (listed)
        RLM_TRY(count_unlisted(f, dir, first, err));
    else
        RLM_TRY(walk(f, dir, "", 0, first, NULL, err));
    for (int i = first; i < f->count; i++)
        RLM_TRY(complete(&f->items[i], dir, err));
    return 0;
}
