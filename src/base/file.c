#define _GNU_SOURCE
#include "src/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/mem.h"

/* ---- Reading -------------------------------------------------------------------------------- */

/* Open a regular file; *bytes its size. Returns the descriptor or a negative error code. */
static int open_regular(const char *path, size_t *bytes, rlm_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return rlm_fail(err, RLM_E_IO, "%s: %s", path, strerror(errno));
    struct stat st;
    int code = 0;
    if (fstat(fd, &st))
        code = rlm_fail(err, RLM_E_IO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        code = rlm_fail(err, RLM_E_IO, "%s: is %s, expected a file", path,
                        S_ISDIR(st.st_mode) ? "a directory" : "a device or pipe");
    if (code) {
        close(fd);
        return code;
    }
    *bytes = (size_t)st.st_size;
    return fd;
}

int rlm_map_open(rlm_map *m, const char *path, rlm_error *err)
{
    *m = (rlm_map){0};
    size_t bytes = 0;
    int fd = open_regular(path, &bytes, err);
    if (fd < 0)
        return fd;
    void *p = NULL;
    if (bytes > 0) {
        p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            int code = rlm_fail(err, errno == ENOMEM ? RLM_E_NOMEM : RLM_E_IO, "%s: cannot map: %s",
                                path, strerror(errno));
            close(fd);
            return code;
        }
    }
    close(fd);
    *m = (rlm_map){.data = p, .bytes = bytes};
    return 0;
}

int rlm_map_stream(rlm_map *m, const char *path, rlm_error *err)
{
    struct stat st;
    char *data = NULL;
    *m = (rlm_map){0};
    if (strcmp(path, "-") && (stat(path, &st) || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
        return rlm_map_open(m, path, err);
    RLM_TRY(rlm_file_read(path, (size_t)1 << 30, &data, &m->bytes, err));
    m->data = (uint8_t *)data;
    m->heap = 1;
    return 0;
}

void rlm_map_close(rlm_map *m)
{
    if (m->heap)
        rlm_free((void *)(uintptr_t)m->data);
    else if (m->data)
        munmap((void *)(uintptr_t)m->data, m->bytes);
    *m = (rlm_map){0};
}

/* Read to the end of a stream of unknown length: pipes, and files that grow meanwhile. */
static int read_stream(FILE *f, const char *path, size_t limit, char **out, size_t *bytes,
                       rlm_error *err)
{
    size_t used = 0, cap = 0;
    char *buf = NULL;
    int code = 0;
    for (;;) {
        if (used + 1 >= cap) {
            size_t more = cap ? 2 * cap : 64 << 10;
            char *grown = rlm_realloc(buf, used, more);
            if (!grown) {
                code = rlm_fail(err, RLM_E_NOMEM, "%s: no memory for %zu bytes", path, more);
                goto fail;
            }
            buf = grown;
            cap = more;
        }
        size_t n = fread(buf + used, 1, cap - used - 1, f);
        used += n;
        if (used > limit) {
            code = rlm_fail(err, RLM_E_RANGE, "%s: larger than %zu bytes, the limit here", path,
                            limit);
            goto fail;
        }
        if (n == 0)
            break;
    }
    if (ferror(f)) {
        code = rlm_fail(err, RLM_E_IO, "%s: %s", path, strerror(errno));
        goto fail;
    }
    buf[used] = 0;
    *out = buf;
    *bytes = used;
    return 0;
fail:
    rlm_free(buf);
    return code;
}

int rlm_file_read(const char *path, size_t limit, char **out, size_t *bytes, rlm_error *err)
{
    *out = NULL;
    *bytes = 0;
    if (strcmp(path, "-") == 0)
        return read_stream(stdin, "stdin", limit, out, bytes, err);
    FILE *f = fopen(path, "rbe");
    if (!f)
        return rlm_fail(err, RLM_E_IO, "%s: %s", path, strerror(errno));
    struct stat st;
    int code = 0;
    if (fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode))
        code = rlm_fail(err, RLM_E_IO, "%s: is a directory, expected a file", path);
    else
        code = read_stream(f, path, limit, out, bytes, err);
    fclose(f);
    return code;
}

/* ---- Writing -------------------------------------------------------------------------------- */

static void writer_forget(rlm_writer *w)
{
    rlm_free(w->path);
    rlm_free(w->tmp);
    *w = (rlm_writer){0};
}

/* The folder that holds path, opened with so many flags; -1 otherwise. */
static int open_folder_of(const char *path, int flags)
{
    char *dir = rlm_strdup(path);
    if (!dir)
        return -1;
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    int fd = open(slash ? dir : ".", flags | O_CLOEXEC, 0666);
    rlm_free(dir);
    return fd;
}

/* Make the rename itself survive a power cut. Not every file system can; that is no failure. */
static void sync_folder_of(const char *path)
{
    int fd = open_folder_of(path, O_RDONLY | O_DIRECTORY);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

/* The name by which a file without one can be linked; needs /proc. */
static const char *own_link(int fd, char out[40])
{
    snprintf(out, 40, "/proc/self/fd/%d", fd);
    return out;
}

/* A file without a name in path's folder; NULL where there are none. */
static FILE *open_unnamed(const char *path)
{
    char link[40];
    int fd = open_folder_of(path, O_TMPFILE | O_WRONLY);
    FILE *f = fd < 0 || access(own_link(fd, link), F_OK) ? NULL : fdopen(fd, "wb");
    if (!f && fd >= 0)
        close(fd);
    return f;
}

/* Give it the temporary name, which a process with this number may have left long ago. */
static int name_unnamed(const rlm_writer *w)
{
    char link[40];
    own_link(fileno(w->file), link);
    if (!linkat(AT_FDCWD, link, AT_FDCWD, w->tmp, AT_SYMLINK_FOLLOW))
        return 0;
    if (errno != EEXIST || unlink(w->tmp))
        return -1;
    return linkat(AT_FDCWD, link, AT_FDCWD, w->tmp, AT_SYMLINK_FOLLOW);
}

int rlm_writer_open(rlm_writer *w, const char *path, rlm_error *err)
{
    *w = (rlm_writer){0};
    size_t n = strlen(path) + 32;
    w->path = rlm_strdup(path);
    w->tmp = rlm_alloc(n);
    if (!w->path || !w->tmp) {
        writer_forget(w);
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory to write it", path);
    }
    /* A device or pipe cannot be replaced by rename: it is written in place. */
    struct stat st;
    if (!strcmp(path, "-")) {
        rlm_free(w->tmp);
        w->tmp = NULL;
        int fd = dup(STDOUT_FILENO);
        w->file = fd < 0 ? NULL : fdopen(fd, "wb");
        if (!w->file && fd >= 0)
            close(fd);
    } else if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        if (S_ISDIR(st.st_mode)) {
            writer_forget(w);
            return rlm_fail(err, RLM_E_IO, "%s: is a directory, expected a file name", path);
        }
        rlm_free(w->tmp);
        w->tmp = NULL;
        w->file = fopen(path, "wbe");
    } else {
        snprintf(w->tmp, n, "%s.tmp.%ld", path, (long)getpid());
        w->file = open_unnamed(path);
        w->unnamed = w->file != NULL;
        if (!w->file)
            w->file = fopen(w->tmp, "wbe");
    }
    if (!w->file) {
        int code = rlm_fail(err, RLM_E_IO, "%s: cannot write: %s", path, strerror(errno));
        writer_forget(w);
        return code;
    }
    return 0;
}

void rlm_writer_put(rlm_writer *w, const void *data, size_t bytes)
{
    if (w->failed || bytes == 0)
        return;
    if (fwrite(data, 1, bytes, w->file) != bytes)
        w->failed = errno ? errno : EIO;
}

int rlm_writer_commit(rlm_writer *w, rlm_error *err)
{
    if (!w->failed && fflush(w->file))
        w->failed = errno;
    if (!w->failed && w->tmp && fsync(fileno(w->file)))
        w->failed = errno;
    if (!w->failed && w->unnamed) {
        if (name_unnamed(w))
            w->failed = errno;
        else
            w->unnamed = 0;
    }
    /* At once: a process killed between the two leaves the temporary name behind. */
    if (!w->failed && w->tmp && rename(w->tmp, w->path))
        w->failed = errno;
    if (fclose(w->file) && !w->failed && !w->tmp) /* what was synced is safe */
        w->failed = errno;
    w->file = NULL;
    int code = 0;
    if (w->failed) {
        code = rlm_fail(err, RLM_E_IO, "%s: cannot write: %s", w->path, strerror(w->failed));
        if (w->tmp && !w->unnamed)
            unlink(w->tmp);
    } else if (w->tmp) {
        sync_folder_of(w->path);
    }
    writer_forget(w);
    return code;
}

void rlm_writer_abort(rlm_writer *w)
{
    if (w->file)
        fclose(w->file);
    if (w->tmp && !w->unnamed)
        unlink(w->tmp);
    writer_forget(w);
}

int rlm_file_write(const char *path, const void *data, size_t bytes, rlm_error *err)
{
    rlm_writer w;
    RLM_TRY(rlm_writer_open(&w, path, err));
    rlm_writer_put(&w, data, bytes);
    return rlm_writer_commit(&w, err);
}

int rlm_is_orphan(const char *name)
{
    const char *mark = strstr(name, ".tmp.");
    char *end;
    long pid = mark ? strtol(mark + 5, &end, 10) : 0;
    return pid > 0 && *end == 0 && pid != getpid() && kill((pid_t)pid, 0) && errno == ESRCH;
}

void rlm_sweep_temporaries(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *f; d && (f = readdir(d));) {
        char *path = rlm_is_orphan(f->d_name) ? rlm_path_join(dir, f->d_name) : NULL;
        if (path)
            unlink(path);
        rlm_free(path);
    }
    if (d)
        closedir(d);
}

int rlm_file_sha256(const char *path, char hex[65], rlm_error *err)
{
    rlm_map m;
    RLM_TRY(rlm_map_open(&m, path, err));
    rlm_sha256_hex(m.data, m.bytes, hex);
    rlm_map_close(&m);
    return 0;
}

/* ---- Paths ---------------------------------------------------------------------------------- */

int rlm_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int rlm_mkdirs(const char *path, rlm_error *err)
{
    char *p = rlm_strdup(path);
    if (!p)
        return rlm_fail(err, RLM_E_NOMEM, "%s: no memory to create the directory", path);
    int code = 0;
    for (char *s = p + 1; code == 0 && *p; s++) {
        if (*s != '/' && *s != 0)
            continue;
        char end = *s;
        *s = 0;
        if (mkdir(p, 0777) && !rlm_is_dir(p))
            code =
                rlm_fail(err, RLM_E_IO, "%s: cannot create the directory: %s", p, strerror(errno));
        *s = end;
        if (!end)
            break;
    }
    rlm_free(p);
    return code;
}

char *rlm_path_join(const char *dir, const char *name)
{
    size_t n = strlen(dir);
    size_t bytes = n + strlen(name) + 2;
    char *p = rlm_alloc(bytes);
    if (p)
        snprintf(p, bytes, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
    return p;
}

const char *rlm_path_ext(const char *path, char out[16])
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash + 1 : path, '.');
    int n = 0;
    for (const char *s = dot ? dot + 1 : ""; *s && n < 15; s++)
        out[n++] = *s >= 'A' && *s <= 'Z' ? (char)(*s + 32) : *s;
    out[n] = 0;
    return out;
}
