/* What our tests use of Criterion, for builds with ThreadSanitizer: Criterion's own runner maps its
 * memory where TSan keeps its shadow. Each test runs in a child; the first failed assertion ends
 * it. The files of a program share the weak definitions. */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct threaded_options {
    void (*init)(void), (*fini)(void);
    double timeout; /* seconds */
};

struct threaded_test {
    const char *suite, *name;
    void (*run)(void);
    struct threaded_options options;
    struct threaded_test *next;
};

#define THREADED_SHARED __attribute__((weak))
THREADED_SHARED struct threaded_test *threaded_tests, *threaded_suites;
THREADED_SHARED bool threaded_failed;

#define THREADED_ROW(list, suite_, name_, run_, ...)                                               \
    __attribute__((constructor)) static void add_##suite_##_##name_(void)                          \
    {                                                                                              \
        static struct threaded_test row = {#suite_, #name_, run_, {__VA_ARGS__}, NULL};            \
        row.next = list;                                                                           \
        list = &row;                                                                               \
    }
#define Test(suite, name, ...)                                                                     \
    static void run_##suite##_##name(void);                                                        \
    THREADED_ROW(threaded_tests, suite, name, run_##suite##_##name, __VA_ARGS__)                   \
    static void run_##suite##_##name(void)
#define TestSuite(suite, ...) THREADED_ROW(threaded_suites, suite, all, NULL, __VA_ARGS__)

#define threaded_check(ends, condition, ...)                                                       \
    do {                                                                                           \
        if (condition) break;                                                                      \
        fprintf(stderr, "%s:%d: %s", __FILE__, __LINE__, #condition);                              \
        fprintf(stderr, " " __VA_ARGS__);                                                          \
        fputc('\n', stderr);                                                                       \
        if (ends) _exit(1);                                                                        \
        threaded_failed = true;                                                                    \
    } while (0)
#define cr_assert(c, ...) threaded_check(true, c, __VA_ARGS__)
#define cr_assert_not(c, ...) threaded_check(true, !(c), __VA_ARGS__)
#define cr_assert_null(p, ...) threaded_check(true, (p) == NULL, __VA_ARGS__)
#define cr_assert_not_null(p, ...) threaded_check(true, (p) != NULL, __VA_ARGS__)
#define cr_assert_fail(...) threaded_check(true, false, __VA_ARGS__)
#define cr_assert_eq(a, b, ...) threaded_check(true, (a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...) threaded_check(true, (a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...) threaded_check(true, (a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...) threaded_check(true, (a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...) threaded_check(true, (a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...) threaded_check(true, (a) >= (b), __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) threaded_check(true, strcmp(a, b) == 0, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) threaded_check(true, strcmp(a, b) != 0, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...) threaded_check(true, memcmp(a, b, n) == 0, __VA_ARGS__)
#define cr_expect(c, ...) threaded_check(false, c, __VA_ARGS__)
#define cr_expect_not(c, ...) threaded_check(false, !(c), __VA_ARGS__)
#define cr_expect_null(p, ...) threaded_check(false, (p) == NULL, __VA_ARGS__)
#define cr_expect_not_null(p, ...) threaded_check(false, (p) != NULL, __VA_ARGS__)
#define cr_expect_fail(...) threaded_check(false, false, __VA_ARGS__)
#define cr_expect_eq(a, b, ...) threaded_check(false, (a) == (b), __VA_ARGS__)
#define cr_expect_neq(a, b, ...) threaded_check(false, (a) != (b), __VA_ARGS__)
#define cr_expect_lt(a, b, ...) threaded_check(false, (a) < (b), __VA_ARGS__)
#define cr_expect_leq(a, b, ...) threaded_check(false, (a) <= (b), __VA_ARGS__)
#define cr_expect_gt(a, b, ...) threaded_check(false, (a) > (b), __VA_ARGS__)
#define cr_expect_geq(a, b, ...) threaded_check(false, (a) >= (b), __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) threaded_check(false, strcmp(a, b) == 0, __VA_ARGS__)
#define cr_expect_str_empty(a, ...) threaded_check(false, *(a) == 0, __VA_ARGS__)
#define cr_expect_str_neq(a, b, ...) threaded_check(false, strcmp(a, b) != 0, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, n, ...) threaded_check(false, memcmp(a, b, n) == 0, __VA_ARGS__)
#define cr_log_warn(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr))

static inline struct threaded_options threaded_options_of(const struct threaded_test *t)
{
    struct threaded_options o = t->options;

    for (const struct threaded_test *s = threaded_suites; s; s = s->next) {
        if (strcmp(s->suite, t->suite) != 0) continue;
        if (!o.init) o.init = s->options.init;
        if (!o.fini) o.fini = s->options.fini;
        if (o.timeout == 0) o.timeout = s->options.timeout;
    }
    return o;
}

static inline bool threaded_run(const struct threaded_test *t)
{
    struct threaded_options o = threaded_options_of(t);
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        alarm(o.timeout > 0 ? (unsigned)o.timeout : 60);
        if (o.init) o.init();
        t->run();
        if (o.fini) o.fini();
        exit(threaded_failed); /* through exit: TSan's own verdict is its exit code */
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

THREADED_SHARED int main(void)
{
    unsigned passed = 0, failed = 0;

    for (const struct threaded_test *t = threaded_tests; t; t = t->next) {
        if (threaded_run(t)) {
            passed++;
            continue;
        }
        failed++;
        printf("failed: %s/%s\n", t->suite, t->name);
        fflush(stdout);
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
