#define _GNU_SOURCE /* O_NOFOLLOW, O_DIRECTORY, flock */
#include "src/server/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int rlm_store_open(rlm_store *s, const char *path, rlm_error *err)
{
    char jobs[RLM_STORE_PATH];
    *s = (rlm_store){.fd = -1, .lock_fd = -1, .temporary = !path};
    if (path) {
        snprintf(s->path, sizeof s->path, "%s", path);
        if (strlen(path) >= sizeof s->path)
            return rlm_serve_fail(err, RLM_E_ARG, "--state-dir: the path is too long");
        if (mkdir(s->path, 0700) && errno != EEXIST)
            return rlm_serve_fail(err, RLM_E_IO, "%s: cannot be made: %s", path, strerror(errno));
    } else {
        const char *tmp = getenv("TMPDIR");
        snprintf(s->path, sizeof s->path, "%.3800s/reelm-serve-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(s->path))
            return rlm_serve_fail(err, RLM_E_IO, "%s: cannot be made: %s", s->path,
                                  strerror(errno));
    }
    snprintf(jobs, sizeof jobs, "%s/lock", s->path);
    s->lock_fd = open(jobs, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock_fd < 0)
        return rlm_serve_fail(err, RLM_E_IO, "%s: %s", jobs, strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB)) {
        close(s->lock_fd);
        s->lock_fd = -1;
        return rlm_serve_fail(err, RLM_E_BUSY, "%s: another server uses this folder", s->path);
    }
    snprintf(jobs, sizeof jobs, "%s/jobs", s->path);
    if (mkdir(jobs, 0700) && errno != EEXIST)
        return rlm_serve_fail(err, RLM_E_IO, "%s: cannot be made: %s", jobs, strerror(errno));
    s->fd = open(jobs, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (s->fd < 0)
        return rlm_serve_fail(err, RLM_E_IO, "%s: %s", jobs, strerror(errno));
    return 0;
}

static void remove_one(void *cookie, const char *id)
{
    rlm_store_remove(cookie, id);
}

void rlm_store_close(rlm_store *s)
{
    char path[RLM_STORE_PATH];
    if (s->temporary && s->fd >= 0) {
        rlm_store_each(s, remove_one, s, NULL);
        snprintf(path, sizeof path, "%s/jobs", s->path);
        rmdir(path);
        snprintf(path, sizeof path, "%s/lock", s->path);
        unlink(path);
        rmdir(s->path);
    }
    if (s->fd >= 0)
        close(s->fd);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    s->fd = s->lock_fd = -1;
}

static int open_folder(rlm_store *s, const char *id)
{
    if (!rlm_id_valid(id)) {
        errno = ENOENT;
        return -1;
    }
    return openat(s->fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

int rlm_store_create(rlm_store *s, const char *id, rlm_error *err)
{
    if (!rlm_id_valid(id) || mkdirat(s->fd, id, 0700))
        return rlm_serve_fail(err, RLM_E_IO, "%s: no folder can be made for a job: %s", s->path,
                              strerror(errno));
    return 0;
}

static int write_all(int fd, const char *data, size_t bytes)
{
    while (bytes) {
        ssize_t n = write(fd, data, bytes < (1u << 30) ? bytes : 1u << 30);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        data += n;
        bytes -= (size_t)n;
    }
    return fsync(fd);
}

int rlm_store_write(rlm_store *s, const char *id, const char *name, const void *data, size_t bytes,
                    rlm_error *err)
{
    char temporary[64];
    int dir = open_folder(s, id), bad = 1;
    snprintf(temporary, sizeof temporary, ".%.40s.tmp", name);
    int fd = dir < 0 ? -1
                     : openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                              0600);
    if (fd >= 0) {
        bad = write_all(fd, data, bytes);
        bad |= close(fd);
        bad = bad || renameat(dir, temporary, dir, name) || fsync(dir);
    }
    int saved = errno;
    if (bad && fd >= 0)
        unlinkat(dir, temporary, 0);
    if (dir >= 0)
        close(dir);
    if (bad)
        return rlm_serve_fail(err, RLM_E_IO, "%s: %s of a job cannot be written: %s", s->path, name,
                              strerror(saved));
    return 0;
}

int rlm_store_open_file(rlm_store *s, const char *id, const char *name, int64_t *bytes)
{
    struct stat st;
    int dir = open_folder(s, id);
    if (dir < 0)
        return -1;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    close(dir);
    if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode))) {
        close(fd);
        return -1;
    }
    if (fd >= 0)
        *bytes = st.st_size;
    return fd;
}

int rlm_store_lacks(rlm_store *s, const char *id, const char *name)
{
    struct stat st;
    int dir = open_folder(s, id);
    if (dir < 0)
        return 0;
    int lacks = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) && errno == ENOENT;
    close(dir);
    return lacks;
}

int rlm_store_read(rlm_store *s, const char *id, const char *name, size_t limit, char **text,
                   size_t *bytes, rlm_error *err)
{
    int64_t size = 0;
    int fd = rlm_store_open_file(s, id, name, &size);
    if (fd < 0 || size < 0 || (uint64_t)size > limit) {
        if (fd >= 0)
            close(fd);
        return rlm_serve_fail(err, RLM_E_IO, "%s/%s: missing or too large", id, name);
    }
    char *to = malloc((size_t)size + 1);
    size_t got = 0;
    while (to && got < (size_t)size) {
        ssize_t n = read(fd, to + got, (size_t)size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    close(fd);
    if (!to || got < (size_t)size) {
        free(to);
        return rlm_serve_fail(err, to ? RLM_E_IO : RLM_E_NOMEM, "%s/%s: cannot be read", id, name);
    }
    to[got] = 0;
    *text = to;
    *bytes = got;
    return 0;
}

int rlm_store_link(rlm_store *s, const char *from, const char *from_name, const char *to,
                   const char *to_name, rlm_error *err)
{
    int old = open_folder(s, from), new = open_folder(s, to);
    int bad = old < 0 || new < 0 || linkat(old, from_name, new, to_name, 0);
    int saved = errno;
    if (old >= 0)
        close(old);
    if (new >= 0)
        close(new);
    if (bad)
        return rlm_serve_fail(err, RLM_E_IO, "%s/%s: cannot be used again: %s", from, from_name,
                              strerror(saved));
    return 0;
}

int64_t rlm_store_bytes(rlm_store *s, const char *id)
{
    struct stat st;
    int64_t bytes = 0;
    int dir = open_folder(s, id);
    DIR *list = dir >= 0 ? fdopendir(dir) : NULL;
    for (struct dirent *e; list && (e = readdir(list));)
        if (!fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
            bytes += st.st_size;
    if (list)
        closedir(list);
    else if (dir >= 0)
        close(dir);
    return bytes;
}

void rlm_store_file_path(const rlm_store *s, const char *id, const char *name,
                         char path[RLM_STORE_PATH])
{
    snprintf(path, RLM_STORE_PATH, "%s/jobs/%s/%s", s->path, id, name);
}

void rlm_store_remove_file(rlm_store *s, const char *id, const char *name)
{
    int dir = open_folder(s, id);
    if (dir < 0)
        return;
    unlinkat(dir, name, 0);
    close(dir);
}

/* The job's file goes first: a folder without it is no job, and is removed at the next start. */
void rlm_store_remove(rlm_store *s, const char *id)
{
    int dir = open_folder(s, id);
    if (dir < 0)
        return;
    unlinkat(dir, "job.json", 0);
    DIR *list = fdopendir(dir);
    for (struct dirent *e; list && (e = readdir(list));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            unlinkat(dir, e->d_name, 0);
    if (list)
        closedir(list);
    else
        close(dir);
    unlinkat(s->fd, id, AT_REMOVEDIR);
}

int rlm_store_each(rlm_store *s, void (*seen)(void *cookie, const char *id), void *cookie,
                   rlm_error *err)
{
    int fd = openat(s->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        if (fd >= 0)
            close(fd);
        return rlm_serve_fail(err, RLM_E_IO, "%s: cannot be listed: %s", s->path, strerror(errno));
    }
    for (struct dirent *e; (e = readdir(list));)
        if (rlm_id_valid(e->d_name))
            seen(cookie, e->d_name);
    closedir(list);
    return 0;
}
