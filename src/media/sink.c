/* Bytes of a file while it is made: in memory, or, when many, in a file that has no name yet. */
#define _GNU_SOURCE /* memmem */
#include "src/media/media.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/mem.h"

enum { SPILL_BYTES = 4 << 20, COPY_BYTES = 1 << 16, SPILL_PATH = 4200 };

static int sink_fail(rlm_sink *s, int code)
{
    if (!s->failed)
        s->failed = code ? code : EIO;
    return -1;
}

/* From memory to a file beside the one to be, gone with this process whatever happens to it. */
static int spill(rlm_sink *s)
{
    char name[SPILL_PATH];
    const char *slash = strrchr(s->beside, '/');
    int folder = slash ? (int)(slash - s->beside) + 1 : 0;
    int n = snprintf(name, sizeof name, "%.*s.reelm.tmp.XXXXXX", folder, s->beside);
    int fd = n < (int)sizeof name ? mkstemp(name) : -1;
    if (fd >= 0)
        unlink(name);
    FILE *f = fd >= 0 ? fdopen(fd, "w+b") : NULL;
    if (!f) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return sink_fail(s, code);
    }
    s->spill = f;
    if (s->bytes && fwrite(s->data, 1, (size_t)s->bytes, f) != (size_t)s->bytes)
        return sink_fail(s, errno);
    rlm_free(s->data);
    s->data = NULL;
    s->room = 0;
    return 0;
}

static int write_spill(rlm_sink *s, const void *data, int64_t bytes)
{
    if (fseeko(s->spill, s->at, SEEK_SET) ||
        (bytes && fwrite(data, 1, (size_t)bytes, s->spill) != (size_t)bytes))
        return sink_fail(s, errno);
    return 0;
}

static int write_memory(rlm_sink *s, const void *data, int64_t bytes)
{
    int64_t end = s->at + bytes;
    if (end > s->room) {
        int64_t room = s->room ? s->room * 2 : 1 << 16;
        room = room < end ? end : room;
        uint8_t *grown = rlm_realloc(s->data, (size_t)s->bytes, (size_t)room);
        if (!grown)
            return sink_fail(s, ENOMEM);
        s->data = grown;
        s->room = room;
    }
    if (s->at > s->bytes)
        memset(s->data + s->bytes, 0, (size_t)(s->at - s->bytes));
    if (bytes)
        memcpy(s->data + s->at, data, (size_t)bytes);
    return 0;
}

int rlm_sink_write(rlm_sink *s, const void *data, int64_t bytes)
{
    if (s->failed || bytes < 0)
        return -1;
    if (!s->spill && s->beside && s->at + bytes > SPILL_BYTES && spill(s))
        return -1;
    if (s->spill ? write_spill(s, data, bytes) : write_memory(s, data, bytes))
        return -1;
    s->at += bytes;
    if (s->at > s->bytes)
        s->bytes = s->at;
    return (int)bytes;
}

int64_t rlm_sink_seek(rlm_sink *s, int64_t at)
{
    if (at < 0)
        return -1;
    s->at = at;
    return at;
}

int64_t rlm_sink_read(const rlm_sink *s, int64_t at, void *to, int64_t bytes)
{
    int64_t got = s->bytes - at < bytes ? s->bytes - at : bytes;
    if (got <= 0 || at < 0)
        return 0;
    if (s->spill)
        return fseeko(s->spill, at, SEEK_SET) ? 0 : (int64_t)fread(to, 1, (size_t)got, s->spill);
    memcpy(to, s->data + at, (size_t)got);
    return got;
}

int64_t rlm_sink_find(const rlm_sink *s, const char *text, int64_t from)
{
    size_t n = strlen(text), room = n + COPY_BYTES;
    uint8_t *piece = n ? rlm_alloc(room) : NULL;
    int64_t found = -1, got;
    for (int64_t at = from; piece && found < 0; at += COPY_BYTES) { /* pieces overlap by n */
        got = rlm_sink_read(s, at, piece, (int64_t)room);
        if (got < (int64_t)n)
            break;
        const uint8_t *hit = memmem(piece, (size_t)got, text, n);
        found = hit ? at + (hit - piece) : -1;
    }
    rlm_free(piece);
    return found;
}

int rlm_sink_check(const rlm_sink *s, rlm_error *err)
{
    if (!s->failed)
        return 0;
    if (s->failed == ENOMEM)
        return rlm_fail(err, RLM_E_NOMEM, "no memory for %lld bytes", (long long)s->bytes);
    return rlm_fail(err, RLM_E_IO, "cannot be written: %s", strerror(s->failed));
}

void rlm_sink_free(rlm_sink *s)
{
    rlm_free(s->data);
    if (s->spill)
        fclose(s->spill);
    *s = (rlm_sink){0};
}

static int to_stdout(const uint8_t *data, int64_t bytes, rlm_error *err)
{
    for (int64_t done = 0; done < bytes;) {
        ssize_t n = write(STDOUT_FILENO, data + done, (size_t)(bytes - done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return rlm_fail(err, RLM_E_IO, "stdout: %s", strerror(errno));
        done += n;
    }
    return 0;
}

/* What was spilled, a piece at a time. */
static int land_spill(const rlm_sink *s, const char *path, rlm_error *err)
{
    uint8_t *piece = rlm_alloc(COPY_BYTES);
    int to_file = strcmp(path, "-") != 0, code = 0;
    rlm_writer w;
    if (!piece)
        return rlm_fail(err, RLM_E_NOMEM, "%s: out of memory", path);
    if (to_file)
        code = rlm_writer_open(&w, path, err);
    bool open = to_file && !code;
    for (int64_t at = 0, n; at < s->bytes && !code; at += n) {
        n = rlm_sink_read(s, at, piece, COPY_BYTES);
        if (n <= 0)
            code = rlm_fail(err, RLM_E_IO, "%s: cannot be read back: %s", path, strerror(errno));
        else if (to_file)
            rlm_writer_put(&w, piece, (size_t)n);
        else
            code = to_stdout(piece, n, err);
    }
    if (open && code)
        rlm_writer_abort(&w);
    else if (open)
        code = rlm_writer_commit(&w, err);
    rlm_free(piece);
    return code;
}

int rlm_sink_land(const rlm_sink *s, const char *path, rlm_error *err)
{
    if (s->spill)
        return land_spill(s, path, err);
    if (strcmp(path, "-"))
        return rlm_file_write(path, s->data, (size_t)s->bytes, err);
    return to_stdout(s->data, s->bytes, err);
}
