/* What the decoder of uploads cannot do any more. Each case runs in a child of its own. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/server/confine.h"
#include "tests/test.h"

enum { FILTERED = 0, UNFILTERED = 77 };

/* Run fn confined; its exit code, or -signal. */
static int confined(int (*fn)(void))
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (!pid) {
        int code = rlm_confine(2, 1, 4096, (int64_t)1 << 30);
        _exit(code ? UNFILTERED : fn());
    }
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int refused(int result)
{
    return result >= 0 || errno != EACCES;
}

static int opens(void)
{
    return refused(open("/etc/passwd", O_RDONLY)) |
           refused(open("/tmp/x", O_WRONLY | O_CREAT, 0600)) | refused(unlink("/tmp/x"));
}

/* The younger calls that do the same. */
static int opens_otherwise(void)
{
    uint64_t how[3] = {O_RDONLY, 0, 0};
    return refused((int)syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", how, sizeof how)) |
           refused((int)syscall(SYS_mknodat, AT_FDCWD, "/tmp/x", 0100600, 0)) |
           refused((int)syscall(SYS_renameat, AT_FDCWD, "/tmp/x", AT_FDCWD, "/tmp/y"));
}

static int signals_otherwise(void)
{
    pid_t parent = getppid();
    return refused((int)syscall(SYS_tgkill, parent, parent, 0)) |
           refused((int)syscall(SYS_pidfd_open, parent, 0));
}

static int connects(void)
{
    return refused(socket(AF_INET, SOCK_STREAM, 0)) | refused(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int executes(void)
{
    char *argv[] = {(char *)"/bin/true", NULL};
    return refused(execve(argv[0], argv, argv + 1)) | refused(kill(getppid(), 0));
}

static int computes(void)
{
    char *p = malloc(1 << 20);
    memset(p, 1, 1 << 20);
    free(p);
    return write(STDERR_FILENO, "", 0) != 0;
}

static int hoards(void)
{
    void *p = mmap(NULL, (size_t)8 << 30, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p != MAP_FAILED;
}

static int spins(void)
{
    for (volatile unsigned i = 0;; i++)
        ;
    return 0;
}

static void expect(int (*fn)(void))
{
    int code = confined(fn);
    if (code == UNFILTERED)
        TEST_SKIP("no system call filter here");
    CHECK(code == 0);
}

static void case_no_files(void)
{
    expect(opens);
    expect(opens_otherwise);
}

static void case_no_network(void)
{
    expect(connects);
}

static void case_no_programs_no_signals(void)
{
    expect(executes);
    expect(signals_otherwise);
}

static void case_still_computes(void)
{
    expect(computes);
}

static void case_bounded_memory(void)
{
#ifndef __SANITIZE_ADDRESS__
    expect(hoards);
#endif
}

static void case_bounded_time(void)
{
    int code = confined(spins);
    CHECK(code == UNFILTERED || code == -SIGXCPU || code == -SIGKILL);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    TEST_CASE(case_no_files);
    TEST_CASE(case_no_network);
    TEST_CASE(case_no_programs_no_signals);
    TEST_CASE(case_still_computes);
    TEST_CASE(case_bounded_memory);
    TEST_CASE(case_bounded_time);
    return TEST_END();
}
