#define _GNU_SOURCE
#include "tests/fault/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

FILE *__real_fopen(const char *path, const char *mode);
size_t __real_fwrite(const void *p, size_t size, size_t n, FILE *f);
int __real_fflush(FILE *f);
int __real_fclose(FILE *f);
int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __real_renameat(int a, const char *from, int b, const char *to);
ssize_t __real_write(int fd, const void *p, size_t n);
int __real_mkdir(const char *path, mode_t mode);
int __real_mkdirat(int fd, const char *path, mode_t mode);
int __real_openat(int fd, const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
int __real_linkat(int a, const char *from, int b, const char *to, int flags);
FILE *__wrap_fopen(const char *path, const char *mode);
size_t __wrap_fwrite(const void *p, size_t size, size_t n, FILE *f);
int __wrap_fflush(FILE *f);
int __wrap_fclose(FILE *f);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_renameat(int a, const char *from, int b, const char *to);
ssize_t __wrap_write(int fd, const void *p, size_t n);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdirat(int fd, const char *path, mode_t mode);
FILE *__wrap_fopen64(const char *path, const char *mode);
int __wrap_openat(int fd, const char *path, int flags, ...);
int __wrap_openat64(int fd, const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_linkat(int a, const char *from, int b, const char *to, int flags);

static int64_t asked, missed, fail_at = -1;
static int fail_rest, old_files;
static const char *first = "";

static int may(const char *what)
{
    int64_t n = asked++;
    if (fail_at < 0 || (n != fail_at && !(fail_rest && n > fail_at)))
        return 1;
    if (!missed++)
        first = what;
    errno = ENOSPC;
    return 0;
}

/* Where files may be large by default, `fopen` in the source is fopen64 to the linker. */
FILE *__wrap_fopen(const char *path, const char *mode)
{
    return *mode == 'r' || may("fopen") ? __real_fopen(path, mode) : NULL;
}

FILE *__wrap_fopen64(const char *path, const char *mode)
{
    return __wrap_fopen(path, mode);
}

size_t __wrap_fwrite(const void *p, size_t size, size_t n, FILE *f)
{
    if (may("fwrite"))
        return __real_fwrite(p, size, n, f);
    n = __real_fwrite(p, size, n / 2, f);
    errno = ENOSPC;
    return n;
}

int __wrap_fflush(FILE *f)
{
    return f == stdout || !f || may("fflush") ? __real_fflush(f) : EOF;
}

/* A file that was read has nothing to lose. */
int __wrap_fclose(FILE *f)
{
    int good = may("fclose"), code = __real_fclose(f);
    errno = good ? errno : ENOSPC;
    return good ? code : EOF;
}

int __wrap_fsync(int fd)
{
    return may("fsync") ? __real_fsync(fd) : -1;
}

int __wrap_rename(const char *from, const char *to)
{
    return may("rename") ? __real_rename(from, to) : -1;
}

int __wrap_renameat(int a, const char *from, int b, const char *to)
{
    return may("renameat") ? __real_renameat(a, from, b, to) : -1;
}

ssize_t __wrap_write(int fd, const void *p, size_t n)
{
    if (may("write"))
        return __real_write(fd, p, n);
    if (n > 1)
        return __real_write(fd, p, n / 2); /* a short write is no error */
    errno = ENOSPC;
    return -1;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    return may("mkdir") ? __real_mkdir(path, mode) : -1;
}

int __wrap_mkdirat(int fd, const char *path, mode_t mode)
{
    return may("mkdirat") ? __real_mkdirat(fd, path, mode) : -1;
}

/* The mode behind the flags of a call that makes a file, and whether the call may go on. */
static int may_open(const char *what, int flags, va_list list, mode_t *mode)
{
    int nameless = (flags & O_TMPFILE) == O_TMPFILE, makes = flags & O_CREAT || nameless;
    *mode = makes ? va_arg(list, mode_t) : 0;
    if (nameless && old_files) {
        errno = EOPNOTSUPP;
        return 0;
    }
    return !makes || may(what);
}

int __wrap_openat(int fd, const char *path, int flags, ...)
{
    va_list list;
    mode_t mode;
    va_start(list, flags);
    int go = may_open("openat", flags, list, &mode);
    va_end(list);
    return go ? __real_openat(fd, path, flags, mode) : -1;
}

int __wrap_openat64(int fd, const char *path, int flags, ...)
{
    va_list list;
    mode_t mode;
    va_start(list, flags);
    int go = may_open("openat", flags, list, &mode);
    va_end(list);
    return go ? __real_openat(fd, path, flags, mode) : -1;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list list;
    mode_t mode;
    va_start(list, flags);
    int go = may_open("open", flags, list, &mode);
    va_end(list);
    return go ? __real_open(path, flags, mode) : -1;
}

int __wrap_open64(const char *path, int flags, ...)
{
    va_list list;
    mode_t mode;
    va_start(list, flags);
    int go = may_open("open", flags, list, &mode);
    va_end(list);
    return go ? __real_open(path, flags, mode) : -1;
}

int __wrap_linkat(int a, const char *from, int b, const char *to, int flags)
{
    return may("linkat") ? __real_linkat(a, from, b, to, flags) : -1;
}

void fault_calls_arm(int64_t at, int rest)
{
    asked = missed = 0;
    fail_at = at;
    fail_rest = rest;
    first = "";
}

int64_t fault_calls(void)
{
    return asked;
}

int64_t fault_calls_missed(void)
{
    return missed;
}

const char *fault_calls_what(void)
{
    return first;
}

void fault_calls_old_files(int on)
{
    old_files = on;
}
