/* The test harness: a program is a list of cases, each a void function made of CHECKs.
 *
 *   static void case_add(void) { CHECK(1 + 1 == 2); CHECK_NEAR(0.1 + 0.2, 0.3, 1e-12); }
 *   int main(int argc, char **argv)
 *   {
 *       TEST_BEGIN(argc, argv);
 *       TEST_CASE(case_add);
 *       return TEST_END();
 *   }
 *
 * An argument selects the cases whose name contains it. TEST_SKIP("why") leaves a case; a program
 * whose cases were all skipped exits 77, which meson reports as SKIP. */
#ifndef RLM_TESTS_TEST_H
#define RLM_TESTS_TEST_H

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct {
    const char *only;
    int passed, failed, skipped;  /* cases */
    int bad_checks, skipped_case; /* of the running case */
} test_state;

#define TEST_FAILED(...)                                                                           \
    (fprintf(stderr, "%s:%d: ", __FILE__, __LINE__), fprintf(stderr, __VA_ARGS__),                 \
     fputc('\n', stderr), test_state.bad_checks++)

#define CHECK(cond) ((cond) ? (void)0 : (void)TEST_FAILED("CHECK(%s)", #cond))

/* Not near when either is NaN. */
#define CHECK_NEAR(a, b, tol)                                                                      \
    do {                                                                                           \
        double test_a = (double)(a), test_b = (double)(b), test_tol = (double)(tol);               \
        if (!(fabs(test_a - test_b) <= test_tol))                                                  \
            TEST_FAILED("%s is %.9g, %s is %.9g, tolerance %g", #a, test_a, #b, test_b, test_tol); \
    } while (0)

#define CHECK_STR(a, b)                                                                            \
    do {                                                                                           \
        const char *test_a = (a), *test_b = (b);                                                   \
        if (strcmp(test_a, test_b) != 0)                                                           \
            TEST_FAILED("%s is \"%s\", expected \"%s\"", #a, test_a, test_b);                      \
    } while (0)

/* The text contains the part. */
#define CHECK_HAS(text, part)                                                                      \
    do {                                                                                           \
        const char *test_a = (text), *test_b = (part);                                             \
        if (!strstr(test_a, test_b))                                                               \
            TEST_FAILED("\"%s\" does not contain \"%s\"", test_a, test_b);                         \
    } while (0)

#define TEST_SKIP(...)                                                                             \
    do {                                                                                           \
        printf("skipped: ");                                                                       \
        printf(__VA_ARGS__);                                                                       \
        printf("\n");                                                                              \
        test_state.skipped_case = 1;                                                               \
        return;                                                                                    \
    } while (0)

static inline void test_run(const char *name, void (*fn)(void))
{
    if (test_state.only && !strstr(name, test_state.only))
        return;
    test_state.bad_checks = test_state.skipped_case = 0;
    fn();
    if (test_state.bad_checks) {
        test_state.failed++;
        printf("FAIL %s\n", name);
    } else if (test_state.skipped_case) {
        test_state.skipped++;
    } else {
        test_state.passed++;
    }
    fflush(stdout);
}

static inline int test_end(void)
{
    if (test_state.skipped)
        printf("%d skipped, ", test_state.skipped);
    printf("%d passed, %d failed\n", test_state.passed, test_state.failed);
    if (test_state.passed + test_state.failed == 0)
        return test_state.skipped ? 77 : 1; /* nothing ran: never a success */
    return test_state.failed != 0;
}

#define TEST_BEGIN(argc, argv) (test_state.only = (argc) > 1 ? (argv)[1] : NULL)
#define TEST_CASE(fn)          test_run(#fn, fn)
#define TEST_END()             test_end()

#endif
