#include <criterion/criterion.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

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

/* Posts itself again and again, and stops when a timer, another thread's post and a deferred one
 * came through all the same. */
static struct circle {
    struct post post, guest, farewell;
    struct timer timer;
    struct deferred deferred;
    int rounds, guests, ticks, ends;
} circle;

static void on_guest(struct post *p, struct worker *w) { circle.guests++; }
static void on_tick(struct timer *t, int64_t now) { circle.ticks++; }
static void on_farewell(struct post *p, struct worker *w) { worker_stop(w); }
static void on_end_of_turn(struct deferred *d)
{
    circle.ends++;
    if (circle.ticks && circle.guests && !circle.farewell.run) {
        circle.farewell.run = on_farewell; /* posted where the loop is about to sleep */
        worker_post(worker_self(), &circle.farewell);
    }
}
static void go_round(struct post *p, struct worker *w)
{
    if (circle.rounds++ == 0) {
        circle.timer.fire = on_tick;
        timer_arm(w, &circle.timer, worker_now(w) + 5);
    }
    worker_defer(w, &circle.deferred);
    if (!circle.farewell.run) worker_post(w, &circle.post);
}

Test(worker, who_posts_to_itself_keeps_nobody_waiting, .timeout = 20)
{
    struct worker *w = worker_new(0);

    circle.post.run = go_round;
    circle.guest.run = on_guest;
    circle.deferred.run = on_end_of_turn;
    cr_assert_eq(worker_start(w), OK);
    worker_post(w, &circle.post);
    worker_post(w, &circle.guest);
    worker_join(w);
    cr_expect_eq(circle.guests, 1);
    cr_expect_eq(circle.ticks, 1);
    cr_expect_gt(circle.rounds, 1);
    cr_expect_gt(circle.ends, 1);
    worker_free(w);
}

/* The kernel's wall clock, how far somebody has set it back since, and how long its next reader is
 * kept from the core. */
static atomic_int set_back_s, kept_ms;

int gettimeofday(struct timeval *out, void *zone)
{
    struct timespec t;
    usleep((useconds_t)atomic_exchange(&kept_ms, 0) * 1000);
    int r = (int)syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);

    *out = (struct timeval){t.tv_sec - atomic_load(&set_back_s), t.tv_nsec / 1000};
    return r;
}

static atomic_int rung;
static void on_ring(struct timer *t, int64_t now) { atomic_fetch_add(&rung, 1); }
static void set_back(struct timer *t, int64_t now) { atomic_store(&set_back_s, 2 * 3600); }
static struct timer bells[3] = {{.fire = on_ring}, {.fire = set_back}, {.fire = on_ring}};

static void wind_up(struct post *p, struct worker *w)
{
    for (int i = 0; i < 3; i++)
        timer_arm(w, &bells[i], worker_now(w) + 200 * (i + 1));
}

Test(worker, a_clock_that_is_set_back_keeps_no_timer_waiting)
{
    struct worker *w = worker_new(0);
    struct post p = {.run = wind_up};

    cr_assert_eq(worker_start(w), OK);
    worker_post(w, &p);
    for (int i = 0; i < 1000 && atomic_load(&rung) < 2; i++)
        usleep(10 * 1000);
    cr_expect_eq(atomic_load(&set_back_s), 2 * 3600);
    cr_expect_eq(atomic_load(&rung), 2);
    worker_stop(w);
    worker_join(w);
    worker_free(w);
}

/* A callback that keeps the loop for long is no step of the wall clock. */
static int64_t ms_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t armed_at, fired_late_at;
static struct post stalls[3];
static void on_patience(struct timer *t, int64_t now)
{
    fired_late_at = ms_now();
    worker_stop(worker_self());
}
static struct timer patience = {.fire = on_patience};
static void on_stall(struct post *p, struct worker *w) { usleep(700 * 1000); }
static void begin_patience(struct post *p, struct worker *w)
{
    armed_at = ms_now();
    timer_arm(w, &patience, worker_now(w) + 3000);
}

Test(worker, a_long_callback_brings_no_timer_forward)
{
    struct worker *w = worker_new(0);
    struct post p = {.run = begin_patience};

    cr_assert_eq(worker_start(w), OK);
    worker_post(w, &p);
    for (int i = 0; i < 3; i++) {
        usleep(100 * 1000);
        stalls[i].run = on_stall;
        worker_post(w, &stalls[i]);
        usleep(750 * 1000);
    }
    worker_join(w);
    /* A stall would bring it forward by 500 and more; who waits for a core may lose some ms. */
    cr_expect_geq(fired_late_at - armed_at, 2800, "after %ld ms", (long)(fired_late_at - armed_at));
    worker_free(w);
}

static void on_nothing(struct post *p, struct worker *w) {}

Test(worker, who_is_kept_from_the_core_while_it_reads_the_clocks_sees_no_step)
{
    struct worker *w = worker_new(0);
    struct post begin = {.run = begin_patience}, wakes[3];

    cr_assert_eq(worker_start(w), OK);
    worker_post(w, &begin);
    for (int i = 0; i < 3; i++) {
        usleep(100 * 1000);
        atomic_store(&kept_ms, 700);
        wakes[i].run = on_nothing;
        worker_post(w, &wakes[i]);
        usleep(750 * 1000);
    }
    worker_join(w);
    cr_expect_geq(fired_late_at - armed_at, 2800, "after %ld ms", (long)(fired_late_at - armed_at));
    worker_free(w);
}
