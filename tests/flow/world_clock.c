/* The workers (tests/support/worker_fake.h), the log and all randomness, played for one thread. */
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

uint64_t roll(struct town *w, uint64_t n) { return n ? next(&w->dice) % n : 0; }

/* The linker sends our own, libsodium's and the kernel's randomness here. */
void __wrap_crypto_random(void *out, size_t n);
void __wrap_randombytes_buf(void *out, size_t n);
ssize_t __wrap_getrandom(void *out, size_t n, unsigned flags);

void __wrap_randombytes_buf(void *out, size_t n)
{
    uint8_t *at = out;

    for (size_t i = 0; i < n; i++)
        at[i] = (uint8_t)(next(&stream) >> 24);
}

void __wrap_crypto_random(void *out, size_t n) { __wrap_randombytes_buf(out, n); }

/* Seeds hash tables once a process: the same in all of them, whatever the seed of the world. */
ssize_t __wrap_getrandom(void *out, size_t n, unsigned flags)
{
    memset(out, 0x5a, n);
    return (ssize_t)n;
}

/* ---- log ---- */

bool log_aloud;
char clock_last_error[400];

void log_start(enum log_level level, bool json) {}
bool log_on(enum log_level level) { return log_aloud || level == LOG_ERROR; }
void log_write(enum log_level level, const char *subject, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(clock_last_error, sizeof clock_last_error, format, args);
    va_end(args);
    if (log_aloud) printf("      log %s: %s\n", subject ? subject : "", clock_last_error);
}

void clock_obituary(void)
{
    printf("seed %llu: the process ends here; the last error was: %s\n",
           the_town ? (unsigned long long)the_town->seed : 0, clock_last_error);
    fflush(stdout);
}

/* ---- clock ---- */

struct worker *clock_open(struct town *w, int index)
{
    struct worker *k = worker_new(index);

    k->now = w->now + w->skew;
    return k;
}

void clock_close(struct worker *k)
{
    if (fake_current == k) fake_current = NULL;
    worker_free(k);
}

void clock_enter(struct worker *k)
{
    fake_current = k;
    the_town->serving = true;
}

void clock_leave(void) { the_town->serving = false; }

struct worker *clock_any(struct town *w) { return w->workers[roll(w, w->worker_count)]; }

static struct worker *nth(struct town *w, size_t i) { return i ? w->workers[i - 1] : w->main; }

void clock_set(struct town *w)
{
    for (size_t i = 0; w->running && i <= w->worker_count; i++)
        nth(w, i)->now = w->now + w->skew;
}

/* One post, or at the end of a loop turn one of what was put off. */
static void run_one(struct worker *k)
{
    struct list *node = list_pop(&k->posts);

    clock_enter(k);
    if (node) {
        struct post *p = LIST_ENTRY(node, struct post, link);
        p->run(p, k);
    } else if ((node = list_pop(&k->deferred))) {
        struct deferred *d = LIST_ENTRY(node, struct deferred, link);
        d->run(d);
    }
    clock_leave();
}

void clock_posts(struct town *w)
{
    struct worker *busy[WORKERS_MAX + 1];
    size_t n;

    do {
        n = 0;
        for (size_t i = 0; i <= w->worker_count; i++)
            if (!list_empty(&nth(w, i)->posts) || !list_empty(&nth(w, i)->deferred))
                busy[n++] = nth(w, i);
        if (n) run_one(busy[n > 1 ? roll(w, n) : 0]);
    } while (n);
}

static struct timer *first_timer(struct town *w, struct worker **out)
{
    struct timer *first = NULL;

    for (size_t i = 0; i <= w->worker_count; i++) {
        struct timer *t = fake_due(nth(w, i), INT64_MAX);
        if (!t || (first && first->at <= t->at)) continue;
        first = t;
        *out = nth(w, i);
    }
    return first;
}

int64_t clock_due(struct town *w)
{
    struct worker *k;
    struct timer *t = w->running ? first_timer(w, &k) : NULL;

    return t ? t->at : INT64_MAX;
}

void clock_fire(struct town *w)
{
    struct worker *k;
    struct timer *t = first_timer(w, &k);

    if (!t || t->at > k->now) return;
    clock_enter(k);
    timer_disarm(k, t);
    t->fire(t, k->now);
    clock_leave();
    clock_posts(w);
}

/* ---- history ---- */

void mix(struct town *w, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        w->history = (w->history ^ bytes.data[i]) * 0x100000001b3u;
}

void note(struct town *w, const char *format, ...)
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

void violated(struct town *w, const char *format, ...)
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
