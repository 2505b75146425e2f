#include "server/net/resolve.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <netdb.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/support/clock.h"

/* The libc's lookup, with a gate in front for one name. */
static atomic_int asked;
static sem_t gate;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (strcmp(node, "slow.example") != 0) return real(node, service, hints, res);
    atomic_fetch_add(&asked, 1);
    sem_wait(&gate);
    sem_post(&gate);
    return real("127.0.0.9", service, hints, res);
}

struct asker {
    struct post post;
    struct worker *worker;
    struct resolver *resolver;
    const char *name;
    size_t times;
    struct lookup *last; /* the worker's */
    struct asker *dropped;
    atomic_int answers;
    struct resolved found;
};

static void on_found(void *owner, const struct resolved *found)
{
    struct asker *a = owner;

    a->found = *found;
    atomic_fetch_add(&a->answers, 1);
}

static void ask(struct post *p, struct worker *w)
{
    struct asker *a = CONTAINER_OF(p, struct asker, post);

    for (size_t i = 0; i < a->times; i++)
        a->last = lookup_start(a->resolver, a->worker, a->name, on_found, a);
}

static void abandon(struct post *p, struct worker *w)
{
    lookup_abandon(CONTAINER_OF(p, struct asker, post)->dropped->last);
}

static struct worker *owner, *home;
static struct resolver *resolver;

static void start(void)
{
    sem_init(&gate, 0, 0);
    owner = worker_new(0);
    home = worker_new(1);
    resolver = resolver_new(owner);
    cr_assert_eq(worker_start(owner), OK);
    cr_assert_eq(worker_start(home), OK);
}

static void stop(void)
{
    worker_stop(home);
    worker_join(home);
    worker_stop(owner);
    worker_join(owner);
    resolver_free(resolver);
    worker_free(home);
    worker_free(owner);
}

TestSuite(resolve, .init = start, .fini = stop, .timeout = 20);

static void post_ask(struct asker *a)
{
    a->post.run = ask;
    a->worker = home;
    a->resolver = resolver;
    worker_post(home, &a->post);
}

/* `drop` is the caller's: the post of it runs later. */
static void ask_and_abandon(struct asker *a, struct asker *drop)
{
    post_ask(a);
    while (atomic_load(&asked) == 0)
        nap(1);
    *drop = (struct asker){.dropped = a};
    drop->post.run = abandon;
    worker_post(home, &drop->post);
}

static void ask_and_wait(struct asker *a, int answers)
{
    post_ask(a);
    while (atomic_load(&a->answers) < answers)
        nap(1);
}

Test(resolve, passes_numbers_through)
{
    struct asker a = {.name = "::1", .times = 1};

    ask_and_wait(&a, 1);
    cr_expect_eq(a.found.count, 1u);
    cr_expect_str_eq(a.found.addresses[0], "::1");
}

Test(resolve, finds_localhost)
{
    struct asker a = {.name = "localhost", .times = 1};

    ask_and_wait(&a, 1);
    cr_expect(a.found.count > 0);
}

Test(resolve, says_why_there_is_nothing)
{
    struct asker a = {.name = "no such name", .times = 1};

    ask_and_wait(&a, 1);
    cr_expect_eq(a.found.count, 0u);
    cr_expect(a.found.why[0]);
}

Test(resolve, a_blocked_lookup_is_asked_once_and_shared)
{
    struct asker a = {.name = "slow.example", .times = 20},
                 other = {.name = "localhost", .times = 1};

    post_ask(&a);
    ask_and_wait(&other, 1); /* others are not held up */
    cr_expect_eq(atomic_load(&a.answers), 0);
    sem_post(&gate);
    while (atomic_load(&a.answers) < 20)
        nap(1);
    cr_expect_eq(atomic_load(&asked), 1);
    cr_expect_str_eq(a.found.addresses[0], "127.0.0.9");

    struct asker again = {.name = "slow.example", .times = 1};
    ask_and_wait(&again, 1);
    cr_expect_eq(atomic_load(&asked), 1, "an answer is kept for a while");
}

Test(resolve, an_abandoned_lookup_is_silent)
{
    struct asker a = {.name = "slow.example", .times = 1},
                 other = {.name = "slow.example", .times = 1}, drop;

    ask_and_abandon(&a, &drop);
    sem_post(&gate);
    ask_and_wait(&other, 1);
    cr_expect_eq(atomic_load(&a.answers), 0);
}

/* Who asks may be gone before the answer: a shutdown does not wait for a name server. */
Test(resolve, an_answer_to_who_has_stopped_is_freed)
{
    struct asker a = {.name = "slow.example", .times = 3}, drop;

    ask_and_abandon(&a, &drop);
    worker_stop(home);
    worker_join(home);
    sem_post(&gate);
    worker_stop(owner);
    worker_join(owner);
    cr_expect(resolver_is_quiet(resolver));
    cr_expect_eq(atomic_load(&a.answers), 0);
}
