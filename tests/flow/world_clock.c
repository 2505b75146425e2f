/* The worker (tests/support/worker_fake.h), the log and all randomness, played for one thread. */
#include "tests/flow/world.h"

#include <stdarg.h>
#include <sys/types.h>

#include "server/log.h"
#include "tests/support/worker_fake.h"

/* ---- randomness ---- */

static uint64_t stream; /* of keys, ids and nonces */

static uint64_t next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void clock_seed(uint64_t seed) { stream = seed ^ 0x7061726c65790000u; }

uint64_t roll(struct world *w, uint64_t n) { return n ? next(&w->dice) % n : 0; }

/* The linker sends libsodium's and the kernel's randomness here. */
void __wrap_randombytes_buf(void *out, size_t n);
ssize_t __wrap_getrandom(void *out, size_t n, unsigned flags);

void __wrap_randombytes_buf(void *out, size_t n)
{
    uint8_t *at = out;

    for (size_t i = 0; i < n; i++)
        at[i] = (uint8_t)(next(&stream) >> 24);
}

/* Seeds hash tables once a process: the same in all of them, whatever the seed of the world. */
ssize_t __wrap_getrandom(void *out, size_t n, unsigned flags)
{
    memset(out, 0x5a, n);
    return (ssize_t)n;
}

/* ---- log ---- */

bool log_aloud;
static char last_error[400]; /* what the server said before it gave up */

void log_start(enum log_level level, bool json) {}
bool log_on(enum log_level level) { return log_aloud || level == LOG_ERROR; }
void log_write(enum log_level level, const char *subject, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(last_error, sizeof last_error, format, args);
    va_end(args);
    if (log_aloud) printf("      log %s: %s\n", subject ? subject : "", last_error);
}

void clock_obituary(void)
{
    printf("seed %llu: the process ends here; the last error was: %s\n",
           the_world ? (unsigned long long)the_world->seed : 0, last_error);
    fflush(stdout);
}

/* ---- clock ---- */

struct worker *clock_open(struct world *w)
{
    struct worker *k = worker_new(0);

    k->now = w->now + w->skew;
    return k;
}

void clock_close(struct worker *k)
{
    fake_current = NULL;
    worker_free(k);
}

void clock_set(struct worker *k, int64_t now) { k->now = now; }
void clock_posts(struct worker *k) { fake_run(k); }

int64_t clock_due(struct worker *k)
{
    struct timer *t = fake_due(k, INT64_MAX);

    return t ? t->at : INT64_MAX;
}

void clock_fire(struct worker *k)
{
    struct timer *t = fake_due(k, k->now);

    if (!t) return;
    timer_disarm(k, t);
    t->fire(t, k->now);
    fake_run(k);
}

/* ---- history ---- */

void mix(struct world *w, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        w->history = (w->history ^ bytes.data[i]) * 0x100000001b3u;
}

void note(struct world *w, const char *format, ...)
{
    char line[400];
    va_list args;
    int n = snprintf(line, sizeof line, "%10.3f  ", (double)(w->now % 1000000000) / 1000);

    va_start(args, format);
    vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    mix(w, slice_text(line));
    if (w->verbose) printf("%s\n", line);
}

void violated(struct world *w, const char *format, ...)
{
    char line[400];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    w->violations++;
    printf("seed %llu: %s\n", (unsigned long long)w->seed, line);
    fflush(stdout);
}
