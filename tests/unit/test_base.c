/* src/base: errors, sizes, memory, threads, random numbers, files. */
#define _GNU_SOURCE
#include "tests/folder.h"
#include "tests/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/diag.h"
#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/base/par.h"
#include "src/base/rng.h"

/* ---- Errors --------------------------------------------------------------------------------- */

static int forwards(rlm_error *err)
{
    RLM_TRY(rlm_fail(err, RLM_E_IO, "disk %d is full", 3));
    return 1;
}

static void errors_carry_code_and_sentence(void)
{
    rlm_error err = {0};
    CHECK(forwards(&err) == RLM_E_IO);
    CHECK(err.code == RLM_E_IO);
    CHECK_STR(err.text, "disk 3 is full");
    CHECK(rlm_fail_prefix(&err, RLM_E_INTERNAL, "saving %s", "x") == RLM_E_IO);
    CHECK_STR(err.text, "saving x: disk 3 is full");
    CHECK(forwards(NULL) == RLM_E_IO);
    CHECK(rlm_fail_prefix(NULL, RLM_E_ARG, "x") == RLM_E_ARG);
    CHECK_STR(rlm_error_name(RLM_E_NOMEM), "NOMEM");
    CHECK_STR(rlm_error_name(-1), "UNKNOWN");
    char big[2000];
    memset(big, 'a', sizeof big);
    big[sizeof big - 1] = 0;
    rlm_fail(&err, RLM_E_ARG, "%s", big);
    CHECK(strlen(err.text) == sizeof err.text - 1);
    rlm_fail_prefix(&err, RLM_E_ARG, "%s", big);
    CHECK(strlen(err.text) == sizeof err.text - 1);
}

static void keep_line(void *cookie, int level, const char *text)
{
    snprintf(cookie, 64, "%d:%s", level, text);
}

static void log_lines_reach_the_callback(void)
{
    char line[64] = "";
    rlm_log log = {keep_line, line};
    rlm_logf(&log, 2, "step %d", 7);
    CHECK_STR(line, "2:step 7");
    rlm_logf(NULL, 0, "nobody");
    rlm_logf(&(rlm_log){0}, 0, "nobody");
    double t = rlm_now();
    CHECK(rlm_now() >= t);
}

/* ---- Memory --------------------------------------------------------------------------------- */

static void sizes_saturate(void)
{
    CHECK(rlm_size_mul(6, 7) == 42);
    CHECK(rlm_size_mul(SIZE_MAX / 2, 3) == SIZE_MAX);
    CHECK(rlm_size_mul(SIZE_MAX, 0) == SIZE_MAX);
    CHECK(rlm_size_add(SIZE_MAX, 1) == SIZE_MAX);
    CHECK(rlm_size_add(40, 2) == 42);
    CHECK(rlm_size_align(65, 64) == 128);
    CHECK(rlm_size_align(64, 64) == 64);
    CHECK(rlm_size_align(SIZE_MAX - 3, 64) == SIZE_MAX);
    CHECK(rlm_alloc(rlm_size_mul(SIZE_MAX / 2, 4)) == NULL);
    CHECK(rlm_calloc(SIZE_MAX / 2, 4) == NULL);
}

static void heap_is_aligned_and_counted(void)
{
    static const size_t sizes[] = {0, 1, 63, 64, 65, 5 << 20};
    for (int i = 0; i < 6; i++) {
        uint8_t *p = rlm_calloc(sizes[i], 1);
        CHECK(p && (uintptr_t)p % RLM_ALIGN == 0);
        for (size_t j = 0; j < sizes[i]; j++)
            if (p[j])
                CHECK(!"rlm_calloc is not zeroed");
        rlm_free(p);
    }
    char *s = rlm_strdup("text");
    s = rlm_realloc(s, 5, 100);
    CHECK_STR(s, "text");
    s = rlm_realloc(s, 100, 3);
    CHECK(memcmp(s, "tex", 3) == 0);
    rlm_free(s);
    rlm_free(NULL);
}

static void allocations_fail_on_demand(void)
{
    int64_t before = rlm_alloc_count();
    rlm_alloc_fail_after(1);
    void *a = rlm_alloc(8), *b = rlm_alloc(8), *c = rlm_calloc(1, 8);
    rlm_alloc_fail_after(-1);
    void *d = rlm_alloc(8);
    CHECK(a && !b && !c && d);
    CHECK(rlm_alloc_count() == before + 4);
    rlm_free(a);
    rlm_free(d);
}

static void arena_lives_reserve_commit_rewind(void)
{
    rlm_arena a;
    rlm_error err;
    CHECK(rlm_arena_reserve(&a, (size_t)1 << 38, &err) == 0);
    /* A dry run far beyond physical memory: addresses only. */
    uint8_t *p = rlm_arena_alloc(&a, 100);
    size_t mark = rlm_arena_mark(&a);
    uint8_t *q = rlm_arena_alloc(&a, (size_t)1 << 37);
    CHECK(q == p + 128 && (uintptr_t)q % RLM_ALIGN == 0);
    CHECK(a.peak == 128 + ((size_t)1 << 37) && a.committed == 0);
    rlm_arena_rewind(&a, mark);
    CHECK(rlm_arena_alloc(&a, 64) == q);
    rlm_arena_rewind(&a, 0);
    CHECK(rlm_arena_commit(&a, 3 << 20, &err) == 0 && a.committed >= 3 << 20);
    CHECK(rlm_arena_commit(&a, 1 << 20, &err) == 0);
    CHECK(rlm_arena_alloc(&a, 3 << 20) == p);
    memset(p, 1, 3 << 20);
    CHECK(rlm_arena_commit(&a, 9 << 20, &err) == 0);
    CHECK(p[(3 << 20) - 1] == 1);
    p[(9 << 20) - 1] = 1;
    CHECK(rlm_arena_commit(&a, (size_t)1 << 40, &err) == RLM_E_NOMEM);
    rlm_alloc_fail_after(0);
    CHECK(rlm_arena_commit(&a, 20 << 20, &err) == RLM_E_NOMEM);
    rlm_alloc_fail_after(-1);
    rlm_arena_release(&a);
    CHECK(a.base == NULL);
    CHECK(rlm_arena_reserve(&a, SIZE_MAX, &err) == RLM_E_NOMEM);
    rlm_arena_release(&a);
}

/* What is asked for comes from outside: too much is an error at the edge. */
static void arena_counts_past_its_reservation(void)
{
    rlm_arena a;
    rlm_error err;
    CHECK(rlm_arena_reserve(&a, 4 << 20, &err) == 0);
    uint8_t *p = rlm_arena_alloc(&a, 3 << 20);
    CHECK(p == a.base && rlm_arena_alloc(&a, 3 << 20) && rlm_arena_alloc(&a, 3 << 20));
    CHECK(a.peak == 9 << 20 && rlm_arena_commit(&a, a.peak, &err) == RLM_E_NOMEM);
    rlm_arena_rewind(&a, 0);
    CHECK(rlm_arena_alloc(&a, SIZE_MAX / 2) && rlm_arena_alloc(&a, SIZE_MAX - 100));
    CHECK(a.peak == SIZE_MAX);
    rlm_arena_rewind(&a, 0);
    CHECK(rlm_arena_commit(&a, 4 << 20, &err) == 0 && rlm_arena_alloc(&a, 4 << 20) == p);
    p[(4 << 20) - 1] = 1;
    rlm_arena_release(&a);
}

/* ---- Threads -------------------------------------------------------------------------------- */

#define CELLS 10007
typedef struct cover_ctx {
    _Atomic int hits[CELLS];
    _Atomic int bad, calls;
    int threads, nested;
    int64_t grain;
    rlm_par *par;
} cover_ctx;

static void cover_nested(void *ctx, int64_t begin, int64_t end, int worker)
{
    cover_ctx *c = ctx;
    if (begin != 0 || end != 5 || worker < 0 || worker >= c->threads)
        atomic_fetch_add(&c->bad, 1);
}

static void cover(void *ctx, int64_t begin, int64_t end, int worker)
{
    cover_ctx *c = ctx;
    atomic_fetch_add(&c->calls, 1);
    if (worker < 0 || worker >= c->threads || begin >= end)
        atomic_fetch_add(&c->bad, 1);
    if (c->threads > 1 && end - begin > c->grain)
        atomic_fetch_add(&c->bad, 1);
    for (int64_t i = begin; i < end; i++)
        atomic_fetch_add(&c->hits[i], 1);
    if (c->nested)
        rlm_par_for(c->par, 5, 1, cover_nested, c);
}

static void par_for_covers_each_index_once(void)
{
    static cover_ctx c;
    static const int64_t sizes[] = {0, 1, 2, 63, 64, 65, CELLS};
    static const int64_t grains[] = {1, 7, 64, 5000, 100000};
    for (int threads = 1; threads <= 5; threads++) {
        rlm_par *par;
        CHECK(rlm_par_open(&par, threads, NULL) == 0);
        CHECK(rlm_par_threads(par) == threads);
        for (int i = 0; i < 7 * 5 * 2; i++) {
            int64_t n = sizes[i % 7];
            memset(&c, 0, sizeof c);
            c.threads = threads;
            c.par = par;
            c.grain = grains[i / 7 % 5];
            c.nested = i >= 35;
            rlm_par_for(par, n, c.grain, cover, &c);
            int wrong = c.bad;
            for (int j = 0; j < CELLS; j++)
                wrong += c.hits[j] != (j < n);
            CHECK(wrong == 0);
        }
        rlm_par_close(&par);
        CHECK(par == NULL);
    }
    memset(&c, 0, sizeof c);
    c.threads = 1;
    rlm_par_for(NULL, 100, 7, cover, &c);
    CHECK(c.calls == 1 && c.bad == 0 && c.hits[99] == 1);
    CHECK(rlm_par_threads(NULL) == 1);
}

static void add_ones(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    atomic_fetch_add((_Atomic int64_t *)ctx, end - begin);
}

/* Many short jobs with pauses that let the team fall asleep in between. */
static void team_wakes_from_sleep(void)
{
    rlm_par *par;
    CHECK(rlm_par_open(&par, 3, NULL) == 0);
    _Atomic int64_t sum = 0;
    for (int i = 0; i < 2000; i++) {
        rlm_par_for(par, 30, 1, add_ones, &sum);
        if (i % 100 == 0)
            usleep(300);
        if (i % 7 == 0) /* right at the edge between spinning and sleeping */
            for (double t = rlm_now() + 40e-6; rlm_now() < t;)
                continue;
    }
    CHECK(sum == 60000);
    rlm_par_close(&par);
    rlm_par_close(&par);
}

static void add_slowly(void *ctx, int64_t begin, int64_t end, int worker)
{
    for (double t = rlm_now() + (worker ? 3e-6 : 0); rlm_now() < t;)
        continue;
    add_ones(ctx, begin, end, worker);
}

/* A worker that the system stops right after its last chunk must see, when it goes on, that the
 * team closed meanwhile: it once took the closing ticket for one it had served, and slept for ever.
 * More threads than cores make that pause likely. */
static void team_closes_right_after_a_job(void)
{
    for (int i = 0; i < 4000; i++) {
        _Atomic int64_t sum = 0;
        rlm_par *par;
        CHECK(rlm_par_open(&par, 8, NULL) == 0);
        for (int k = 0; k < 3; k++)
            rlm_par_for(par, 4, 1, add_slowly, &sum);
        rlm_par_close(&par);
        CHECK(sum == 12);
    }
}

static void scratch_is_kept_and_private(void)
{
    rlm_par *par;
    CHECK(rlm_par_open(&par, 2, NULL) == 0);
    char *a = rlm_par_scratch(par, 0, 0, 100), *b = rlm_par_scratch(par, 1, 0, 100);
    char *c = rlm_par_scratch(par, 0, 1, 100);
    CHECK(a != b && a != c && (uintptr_t)a % RLM_ALIGN == 0);
    int64_t before = rlm_alloc_count();
    CHECK(rlm_par_scratch(par, 0, 0, 60) == a && rlm_alloc_count() == before);
    char *d = rlm_par_scratch(par, 0, 0, 100000);
    memset(d, 1, 100000);
    CHECK(rlm_alloc_count() == before + 1);
    rlm_par_close(&par);
}

static void team_refuses_nonsense(void)
{
    rlm_par *par;
    rlm_error err;
    CHECK(rlm_par_open(&par, 1000000, &err) == RLM_E_RANGE && !par);
    CHECK_HAS(err.text, "1000000");
    for (int i = 0; i < 2; i++) {
        rlm_alloc_fail_after(i);
        CHECK(rlm_par_open(&par, 2, &err) == RLM_E_NOMEM && !par);
        rlm_alloc_fail_after(-1);
    }
    CHECK(rlm_par_open(&par, 0, &err) == 0 && rlm_par_threads(par) >= 1);
    rlm_par_close(&par);
}

/* ---- Random numbers ------------------------------------------------------------------------- */

static void random_numbers_are_a_function(void)
{
    /* Any order gives the same numbers; neighbours in seed, stream and index differ. */
    uint64_t forward = 0, backward = 0;
    for (int i = 0; i < 1000; i++)
        forward += rlm_rng(5, 7, (uint64_t)i) * (uint64_t)(2 * i + 1);
    for (int i = 999; i >= 0; i--)
        backward += rlm_rng(5, 7, (uint64_t)i) * (uint64_t)(2 * i + 1);
    CHECK(forward == backward);
    CHECK(rlm_rng(5, 7, 1) != rlm_rng(5, 8, 1));
    CHECK(rlm_rng(5, 7, 1) != rlm_rng(6, 7, 1));
    CHECK(rlm_rng(5, 7, 1) != rlm_rng(7, 5, 1));
}

static void random_numbers_have_their_moments(void)
{
    enum { N = 200000 };
    double sum = 0, square = 0, usum = 0, cross = 0;
    int bins[10] = {0};
    for (int i = 0; i < N; i++) {
        double x = rlm_rng_normal(1, 2, (uint64_t)i), u = rlm_rng_uniform(1, 3, (uint64_t)i);
        sum += x;
        square += x * x;
        usum += u;
        cross += (u - 0.5) * (rlm_rng_uniform(1, 4, (uint64_t)i) - 0.5);
        CHECK(u >= 0 && u < 1 && isfinite(x));
        bins[rlm_rng_below(1, 5, (uint64_t)i, 10)]++;
    }
    CHECK_NEAR(sum / N, 0, 0.01);
    CHECK_NEAR(square / N, 1, 0.015);
    CHECK_NEAR(usum / N, 0.5, 0.003);
    CHECK_NEAR(cross / N, 0, 0.001);
    for (int i = 0; i < 10; i++)
        CHECK_NEAR(bins[i], N / 10, 600); /* 4.5 sigma */
}

/* ---- Files ---------------------------------------------------------------------------------- */

static void check_content(const char *path, const char *want)
{
    char *text = NULL;
    size_t bytes = 0;
    CHECK(rlm_file_read(path, 1000, &text, &bytes, NULL) == 0);
    CHECK(text && bytes == strlen(want) && strcmp(text, want) == 0);
    rlm_free(text);
}

static int files_in(const char *dir)
{
    char command[600];
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", dir);
    FILE *f = popen(command, "r");
    int n = -1;
    if (f && fscanf(f, "%d", &n) != 1)
        n = -1;
    if (f)
        pclose(f);
    return n;
}

static void files_round_trip(void)
{
    rlm_error err;
    char *dir = rlm_path_join(folder, "a/b/c");
    CHECK(rlm_mkdirs(dir, &err) == 0 && rlm_is_dir(dir));
    CHECK(rlm_mkdirs(dir, &err) == 0);
    char *path = rlm_path_join(dir, "x.txt");
    CHECK(rlm_file_write(path, "hello", 5, &err) == 0);
    check_content(path, "hello");
    CHECK(rlm_file_write(path, "again", 5, &err) == 0);
    check_content(path, "again");
    CHECK(files_in(dir) == 1);
    rlm_map m;
    CHECK(rlm_map_open(&m, path, &err) == 0);
    CHECK(m.bytes == 5 && memcmp(m.data, "again", 5) == 0);
    rlm_map_close(&m);
    CHECK(rlm_file_write(path, "", 0, &err) == 0);
    CHECK(rlm_map_open(&m, path, &err) == 0 && m.bytes == 0 && m.data == NULL);
    rlm_map_close(&m);
    check_content(path, "");
    CHECK(rlm_mkdirs(path, &err) == RLM_E_IO);
    rlm_free(path);
    rlm_free(dir);
}

static void reading_is_bounded(void)
{
    rlm_error err;
    char *text;
    size_t bytes;
    const char *path = in_folder("bounded");
    static char data[200000];
    memset(data, 'x', sizeof data);
    CHECK(rlm_file_write(path, data, sizeof data, &err) == 0);
    CHECK(rlm_file_read(path, sizeof data, &text, &bytes, &err) == 0);
    CHECK(bytes == sizeof data && text[bytes] == 0 && memcmp(text, data, bytes) == 0);
    rlm_free(text);
    CHECK(rlm_file_read(path, sizeof data - 1, &text, &bytes, &err) == RLM_E_RANGE && !text);
    CHECK_HAS(err.text, path);
    CHECK(rlm_file_read("/dev/zero", 100000, &text, &bytes, &err) == RLM_E_RANGE);
    CHECK(rlm_file_read(in_folder("absent"), 10, &text, &bytes, &err) == RLM_E_IO);
    CHECK(rlm_file_read(folder, 10, &text, &bytes, &err) == RLM_E_IO);
    CHECK_HAS(err.text, "directory");
    rlm_map m;
    CHECK(rlm_map_open(&m, folder, &err) == RLM_E_IO && !m.data);
    CHECK(rlm_map_open(&m, "/dev/null", &err) == RLM_E_IO);
    CHECK(rlm_map_open(&m, in_folder("absent"), &err) == RLM_E_IO);
    for (int i = 0; i < 3; i++) {
        rlm_alloc_fail_after(i);
        int code = rlm_file_read(in_folder("bounded"), sizeof data, &text, &bytes, &err);
        rlm_alloc_fail_after(-1);
        CHECK(code == RLM_E_NOMEM && !text);
    }
}

/* A process that is killed while it writes leaves nothing; and what an older one left under the
 * name that is needed now is no obstacle. */
static void killed_writers_leave_nothing(void)
{
    rlm_error err;
    char path[400], left[440];
    const char *dir = in_folder("killed");
    snprintf(path, sizeof path, "%s/file", dir);
    CHECK(rlm_mkdirs(dir, &err) == 0);
    CHECK(rlm_file_write(path, "old", 3, &err) == 0);
    int talk[2], unnamed = -1, status;
    CHECK(pipe(talk) == 0);
    pid_t child = fork();
    if (child == 0) {
        rlm_writer w;
        int code = rlm_writer_open(&w, path, &err);
        rlm_writer_put(&w, "new", 3);
        code |= fflush(w.file);
        if (code || write(talk[1], &w.unnamed, sizeof w.unnamed) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    CHECK(child > 0 && read(talk[0], &unnamed, sizeof unnamed) == sizeof unnamed);
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    close(talk[0]);
    close(talk[1]);
    int fd = open(dir, O_TMPFILE | O_WRONLY, 0600);
    CHECK(unnamed == (fd >= 0 && !access("/proc/self/fd", F_OK)));
    if (fd >= 0)
        close(fd);
    CHECK(files_in(dir) == 2 - unnamed); /* named from the start where nothing else can be had */
    check_content(path, "old");
    snprintf(left, sizeof left, "%s.tmp.%ld", path, (long)getpid());
    FILE *f = fopen(left, "w");
    CHECK(f && fputs("torn", f) >= 0 && fclose(f) == 0);
    CHECK(rlm_file_write(path, "new", 3, &err) == 0);
    check_content(path, "new");
    CHECK(access(left, F_OK) != 0);
}

static void failed_writes_keep_the_old_file(void)
{
    rlm_error err;
    rlm_writer w;
    char path[400];
    const char *dir = in_folder("keep");
    snprintf(path, sizeof path, "%s/file", dir);
    CHECK(rlm_mkdirs(dir, &err) == 0);
    CHECK(rlm_file_write(path, "old", 3, &err) == 0);
    /* Given up. */
    CHECK(rlm_writer_open(&w, path, &err) == 0);
    rlm_writer_put(&w, "new", 3);
    CHECK(files_in(dir) == 2 - w.unnamed);
    rlm_writer_abort(&w);
    check_content(path, "old");
    CHECK(files_in(dir) == 1);
    /* Failed on the way: the error sticks until commit. */
    CHECK(rlm_writer_open(&w, path, &err) == 0);
    rlm_writer_put(&w, "new", 3);
    w.failed = 28;
    rlm_writer_put(&w, "more", 4);
    CHECK(rlm_writer_commit(&w, &err) == RLM_E_IO);
    CHECK_HAS(err.text, "No space");
    check_content(path, "old");
    CHECK(files_in(dir) == 1);
    /* A full device and places where nothing can be written. */
    CHECK(rlm_file_write("/dev/full", "data", 4, &err) == RLM_E_IO);
    CHECK_HAS(err.text, "/dev/full");
    CHECK(rlm_file_write("/dev/null", "data", 4, &err) == 0);
    CHECK(rlm_file_write(dir, "data", 4, &err) == RLM_E_IO);
    CHECK(rlm_file_write("/nonexistent/dir/file", "data", 4, &err) == RLM_E_IO);
    CHECK(rlm_file_write("/proc/nothing-here", "data", 4, &err) == RLM_E_IO);
    for (int i = 0; i < 2; i++) {
        rlm_alloc_fail_after(i);
        CHECK(rlm_file_write(path, "new", 3, &err) == RLM_E_NOMEM);
        rlm_alloc_fail_after(-1);
    }
    check_content(path, "old");
}

static void paths_have_extensions(void)
{
    char out[16];
    CHECK_STR(rlm_path_ext("a/b.MP4", out), "mp4");
    CHECK_STR(rlm_path_ext("a.b/c", out), "");
    CHECK_STR(rlm_path_ext("c.tar.gz", out), "gz");
    CHECK_STR(rlm_path_ext("x.", out), "");
    CHECK(strlen(rlm_path_ext("x.abcdefghijklmnopqrstuvwxyz", out)) == 15);
    char *p = rlm_path_join("dir/", "x");
    CHECK_STR(p, "dir/x");
    rlm_free(p);
    p = rlm_path_join("dir", "x");
    CHECK_STR(p, "dir/x");
    rlm_free(p);
}

/* FIPS 180-4 example vectors, and lengths around the padding edge. */
static void sha256_vectors(void)
{
    char hex[65];
    rlm_sha256_hex("", 0, hex);
    CHECK_STR(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    rlm_sha256_hex("abc", 3, hex);
    CHECK_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    rlm_sha256_hex(two, 56, hex);
    CHECK_STR(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = rlm_alloc(1000000);
    memset(million, 'a', 1000000);
    rlm_sha256_hex(million, 1000000, hex);
    CHECK_STR(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    rlm_sha256_hex(million, 64, hex);
    CHECK_STR(hex, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
    rlm_sha256_hex(million, 55, hex);
    CHECK_STR(hex, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
    rlm_free(million);
}

int main(int argc, char **argv)
{
    TEST_BEGIN(argc, argv);
    if (!folder_open())
        return 1;
    TEST_CASE(errors_carry_code_and_sentence);
    TEST_CASE(log_lines_reach_the_callback);
    TEST_CASE(sizes_saturate);
    TEST_CASE(heap_is_aligned_and_counted);
    TEST_CASE(allocations_fail_on_demand);
    TEST_CASE(arena_lives_reserve_commit_rewind);
    TEST_CASE(arena_counts_past_its_reservation);
    TEST_CASE(par_for_covers_each_index_once);
    TEST_CASE(team_closes_right_after_a_job);
    TEST_CASE(team_wakes_from_sleep);
    TEST_CASE(scratch_is_kept_and_private);
    TEST_CASE(team_refuses_nonsense);
    TEST_CASE(random_numbers_are_a_function);
    TEST_CASE(random_numbers_have_their_moments);
    TEST_CASE(files_round_trip);
    TEST_CASE(reading_is_bounded);
    TEST_CASE(killed_writers_leave_nothing);
    TEST_CASE(failed_writes_keep_the_old_file);
    TEST_CASE(paths_have_extensions);
    TEST_CASE(sha256_vectors);
    folder_close();
    return TEST_END();
}
