#define _GNU_SOURCE /* memfd_create */
#include "src/server/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "src/server/bytes.h"
#include "src/server/confine.h"

enum { UPLOAD_MAGIC = 0x524c4d55, UPLOAD_SIDE_MAX = 16384, UPLOAD_FD = 3 };

/* What the child writes first; frames and samples follow. */
typedef struct upload_head {
    int32_t magic, code;
    char text[504];
    int32_t count, height, width, fps_num, fps_den, channels, rate, origin;
    int64_t samples;
} upload_head;

static int64_t frame_bytes(const upload_head *h)
{
    return (int64_t)h->count * h->height * h->width * 3;
}

static int64_t sound_bytes(const upload_head *h)
{
    return h->samples * h->channels * (int64_t)sizeof(float);
}

/* ---- The child ------------------------------------------------------------------------------- */

static int put(int fd, const void *data, int64_t bytes)
{
    const char *p = data;
    while (bytes > 0) {
        ssize_t n = write(fd, p, bytes < (1 << 30) ? (size_t)bytes : (size_t)1 << 30);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        p += n;
        bytes -= n;
    }
    return 0;
}

int rlm_upload_child(int argc, char **argv)
{
    rlm_want want;
    rlm_clip clip = {0};
    rlm_error err = {0};
    upload_head head = {.magic = UPLOAD_MAGIC};
    rlm_want_defaults(&want);
    if (argc != 1 || sscanf(argv[0], "%d,%d,%d,%d,%d,%d,%lf,%d,%d,%d,%d,%ld,%ld", &want.width,
                            &want.height, &want.fit, &want.fps_num, &want.fps_den, &want.max_frames,
                            &want.max_seconds, &want.rate, &want.channels, &want.want_video,
                            &want.want_audio, &want.max_pixels, &want.max_bytes) != 13) {
        fputs("reelm: this mode is used by the server only\n", stderr);
        return 2;
    }
    rlm_confine(UPLOAD_FD, RLM_UPLOAD_SECONDS, want.max_bytes + (int64_t)sizeof head,
                ((int64_t)2 << 30) + 2 * want.max_bytes);
    head.code = rlm_media_read("-", &want, &clip, &err);
    memcpy(head.text, err.text, sizeof head.text);
    if (!head.code) {
        head.count = clip.video.count;
        head.height = clip.video.height;
        head.width = clip.video.width;
        head.fps_num = clip.video.fps_num;
        head.fps_den = clip.video.fps_den;
        head.channels = clip.audio.channels;
        head.rate = clip.audio.rate;
        head.samples = clip.audio.count;
        head.origin = clip.origin;
    }
    int bad = put(UPLOAD_FD, &head, sizeof head) ||
              put(UPLOAD_FD, clip.video.rgb, head.code ? 0 : frame_bytes(&head)) ||
              put(UPLOAD_FD, clip.audio.samples, head.code ? 0 : sound_bytes(&head));
    /* Not through exit(): what a sanitizer does there (it traces itself) is refused by now. */
    _exit(bad ? 1 : 0);
}

/* ---- The server's side ----------------------------------------------------------------------- */

static int start(pid_t *pid, int in, int out, const rlm_want *want, rlm_error *err)
{
    char text[256], verb[] = RLM_UPLOAD_VERB, name[] = "reelm";
    char threads[] = "OMP_NUM_THREADS=1", blas[] = "OPENBLAS_NUM_THREADS=1";
    char *argv[] = {name, verb, text, NULL}, *envp[] = {threads, blas, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none;
    snprintf(text, sizeof text, "%d,%d,%d,%d,%d,%d,%.6f,%d,%d,%d,%d,%ld,%ld", want->width,
             want->height, want->fit, want->fps_num, want->fps_den, want->max_frames,
             want->max_seconds, want->rate, want->channels, want->want_video, want->want_audio,
             (long)want->max_pixels, (long)want->max_bytes);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    int bad = posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO) ||
              posix_spawn_file_actions_adddup2(&files, out, UPLOAD_FD) ||
              posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) ||
              posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0) ||
              posix_spawnattr_setsigmask(&attr, &none) ||
              posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    if (!bad)
        bad = posix_spawn(pid, "/proc/self/exe", &files, &attr, argv, envp);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    if (bad)
        return rlm_serve_fail(err, RLM_E_IO, "the decoder cannot be started: %s", strerror(bad));
    return 0;
}

/* Wait for the end; kills the child when it is stopped or too slow. */
static int await(pid_t pid, int (*stopped)(void *cookie), void *cookie, rlm_error *err)
{
    double end = rlm_serve_now() + RLM_UPLOAD_SECONDS;
    struct timespec nap = {0, 2000000};
    int status = 0;
    for (;;) {
        pid_t done = waitpid(pid, &status, WNOHANG);
        if (done == pid)
            break;
        int stop = stopped && stopped(cookie), late = rlm_serve_now() > end;
        if ((done < 0 && errno != EINTR) || stop || late) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return stop ? rlm_serve_fail(err, RLM_E_CANCELLED, "stopped while reading the file")
                        : rlm_serve_fail(err, RLM_E_MEDIA, "the file took more than %d s to decode",
                                         RLM_UPLOAD_SECONDS);
        }
        nanosleep(&nap, NULL);
        nap.tv_nsec = nap.tv_nsec < 40000000 ? nap.tv_nsec * 2 : 50000000;
    }
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL))
        return rlm_serve_fail(err, RLM_E_MEDIA, "the file took more than %d s to decode",
                              RLM_UPLOAD_SECONDS);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        return rlm_serve_fail(err, RLM_E_MEDIA, "the file is damaged: its decoder stopped");
    return 0;
}

/* "stdin: what" -> "the file: what" */
static int child_error(const upload_head *h, rlm_error *err)
{
    int at = strncmp(h->text, "stdin: ", 7) ? 0 : 7;
    return rlm_serve_fail(err, h->code, "the file: %.480s", h->text + at);
}

static int fetch(int fd, void *to, int64_t bytes, int64_t at)
{
    char *p = to;
    while (bytes > 0) {
        ssize_t n = pread(fd, p, (size_t)bytes, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        p += n;
        at += n;
        bytes -= n;
    }
    return 0;
}

/* Nothing the child says is believed before it is checked. */
static int collect(int fd, const rlm_want *want, rlm_clip *out, rlm_error *err)
{
    upload_head h;
    struct stat st;
    if (fetch(fd, &h, sizeof h, 0) || h.magic != UPLOAD_MAGIC || fstat(fd, &st))
        return rlm_serve_fail(err, RLM_E_MEDIA, "the file is damaged: its decoder said nothing");
    h.text[sizeof h.text - 1] = 0;
    if (h.code)
        return child_error(&h, err);
    int bad = h.count < 0 || h.count > want->max_frames || h.height < 0 || h.width < 0 ||
              h.height > UPLOAD_SIDE_MAX || h.width > UPLOAD_SIDE_MAX || h.channels < 0 ||
              h.channels > 64 || h.samples < 0 || h.samples > ((int64_t)1 << 40) || h.rate < 0 ||
              (h.count && (h.fps_num < 1 || h.fps_den < 1 || !h.width || !h.height)) ||
              (h.samples && (!h.rate || !h.channels)) || h.origin < RLM_ORIGIN_RECORDED ||
              h.origin > RLM_ORIGIN_COMPOSITE;
    if (bad || frame_bytes(&h) + sound_bytes(&h) + (int64_t)sizeof h != st.st_size)
        return rlm_serve_fail(err, RLM_E_MEDIA, "the file is damaged: its decoder made no sense");
    rlm_clip clip = {.video = {h.count, h.height, h.width, h.fps_num, h.fps_den, NULL},
                     .audio = {h.samples, h.channels, h.rate, NULL},
                     .origin = h.origin};
    clip.video.rgb = h.count ? malloc((size_t)frame_bytes(&h)) : NULL;
    clip.audio.samples = h.samples ? malloc((size_t)sound_bytes(&h)) : NULL;
    if ((h.count && !clip.video.rgb) || (h.samples && !clip.audio.samples)) {
        rlm_clip_free(&clip);
        return rlm_serve_fail(err, RLM_E_NOMEM, "no memory for %d frames", h.count);
    }
    if (fetch(fd, clip.video.rgb, frame_bytes(&h), sizeof h) ||
        fetch(fd, clip.audio.samples, sound_bytes(&h), (int64_t)sizeof h + frame_bytes(&h))) {
        rlm_clip_free(&clip);
        return rlm_serve_fail(err, RLM_E_IO, "the decoded file cannot be read back");
    }
    *out = clip;
    return 0;
}

int rlm_upload_decode(int fd, const rlm_want *want, int (*stopped)(void *cookie), void *cookie,
                      rlm_clip *out, rlm_error *err)
{
    pid_t pid = 0;
    int to = memfd_create("reelm-upload", MFD_CLOEXEC);
    if (to < 0 || lseek(fd, 0, SEEK_SET)) {
        if (to >= 0)
            close(to);
        return rlm_serve_fail(err, RLM_E_IO, "the file cannot be read: %s", strerror(errno));
    }
    int code = start(&pid, fd, to, want, err);
    if (!code)
        code = await(pid, stopped, cookie, err);
    if (!code)
        code = collect(to, want, out, err);
    close(to);
    return code;
}
