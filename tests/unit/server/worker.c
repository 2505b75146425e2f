#include <criterion/criterion.h>
#include <stdatomic.h>

#include "server/worker.h"

struct ping {
    struct post post;
    struct worker *back;
    int hops;
};

static atomic_int hops_seen;

static void hop(struct post *p, struct worker *w)
{
    struct ping *ping = CONTAINER_OF(p, struct ping, post);
    atomic_fetch_add(&hops_seen, 1);
    if (--ping->hops == 0) {
        worker_stop(w);
        worker_stop(ping->back);
        return;
    }
    struct worker *next = ping->back;
    ping->back = w;
    worker_post(next, p);
}

Test(worker, passes_an_object_between_two_threads)
{
    struct worker *a = worker_new(0), *b = worker_new(1);
    struct ping ping = {.post.run = hop, .back = b, .hops = 1001};

    cr_assert_eq(worker_start(a), OK);
    cr_assert_eq(worker_start(b), OK);
    worker_post(a, &ping.post);
    worker_join(a);
    worker_join(b);
    cr_assert_eq(atomic_load(&hops_seen), 1001);
    worker_free(a);
    worker_free(b);
}

enum { TIMERS = 200 };
static struct timer timers[TIMERS];
static int64_t fired_at[TIMERS];
static int fired;
static struct worker *owner;

static void on_fire(struct timer *t, int64_t now)
{
    fired_at[fired++] = t->at;
    cr_assert_leq(t->at, now);
    if (fired == TIMERS / 2) worker_stop(owner);
}

Test(worker, fires_timers_in_order_and_not_the_disarmed)
{
    owner = worker_new(0);
    int64_t now = worker_now(owner);
    for (int i = 0; i < TIMERS; i++) {
        timers[i].fire = on_fire;
        timer_arm(owner, &timers[i], now + (i * 7919) % 50);
    }
    for (int i = 0; i < TIMERS; i += 2)
        timer_disarm(owner, &timers[i]);
    worker_run(owner);
    cr_assert_eq(fired, TIMERS / 2);
    for (int i = 1; i < fired; i++)
        cr_assert_leq(fired_at[i - 1], fired_at[i]);
    worker_free(owner);
}

static int deferred_runs, work_done;
static void on_deferred(struct deferred *d) { deferred_runs++; }
static struct deferred later = {.run = on_deferred};
static void do_work(struct offload *o) { work_done = 1; }
static void after_work(struct offload *o, struct worker *w)
{
    cr_assert_eq(work_done, 1);
    worker_stop(w);
}
static void queue_twice(struct post *p, struct worker *w)
{
    static struct offload job = {.work = do_work, .done = after_work};
    worker_defer(w, &later);
    worker_defer(w, &later);
    worker_offload(w, &job);
}

Test(worker, defers_once_per_turn_and_offloads)
{
    struct worker *w = worker_new(0);
    struct post p = {.run = queue_twice};
    worker_post(w, &p);
    worker_run(w);
    cr_assert_eq(deferred_runs, 1);
    worker_free(w);
}
