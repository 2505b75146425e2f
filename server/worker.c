/* Threads, posts, timers. The inbox is one list under one lock; an eventfd wakes the loop, which
 * takes the whole list at once. (With uv_async who is woken spins until who wakes him has come back
 * from its write, and on a busy machine that one waits for the same core.) What a thread posts to
 * itself it finds before it sleeps. Timers live in a binary heap over a single uv timer. */
#include "server/worker.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/xalloc.h"

struct worker {
    int index;
    bool started;
    pthread_t thread;
    uv_loop_t loop;
    int wake_fd;
    uv_poll_t wake;
    uv_timer_t clock; /* the earliest timer of the heap */
    uv_prepare_t before_sleep;
    uv_check_t after_sleep;
    pthread_mutex_t lock; /* guards inbox and stopping */
    struct list inbox;
    bool stopping;
    bool posted_here; /* by its own thread, which need not be woken for it; its own */
    struct timer **heap;
    size_t heap_len, heap_cap;
    struct list deferred;
    int64_t wall_offset; /* wall clock minus loop clock, ms */
};

static _Thread_local struct worker *self;

struct worker *worker_self(void) { return self; }
int worker_index(const struct worker *w) { return w->index; }
struct uv_loop_s *worker_loop(struct worker *w) { return &w->loop; }

/* ---- clock ---- */

/* The wall clock is read once per loop turn, so that a step of it moves all timers together. Both
 * clocks at one moment: after a long callback the loop's stands where the callback began, and the
 * difference would look like a step, back again in the next turn. */
static void read_clock(struct worker *w)
{
    uv_timeval64_t t;
    uv_update_time(&w->loop);
    uv_gettimeofday(&t);
    w->wall_offset = t.tv_sec * 1000 + t.tv_usec / 1000 - (int64_t)uv_now(&w->loop);
}

int64_t worker_now(struct worker *w) { return (int64_t)uv_now(&w->loop) + w->wall_offset; }
int64_t worker_ticks(struct worker *w) { return (int64_t)uv_now(&w->loop); }

/* ---- posts ---- */

/* Only a counter that is full takes no more, and that one wakes too. */
static void wake(struct worker *w) { eventfd_write(w->wake_fd, 1); }

void worker_post(struct worker *w, struct post *p)
{
    pthread_mutex_lock(&w->lock);
    bool first = list_empty(&w->inbox);
    list_push(&w->inbox, &p->link);
    pthread_mutex_unlock(&w->lock);
    if (!first) return;
    if (w == self)
        w->posted_here = true;
    else
        wake(w);
}

static void run_inbox(struct worker *w)
{
    struct list taken, *node;
    list_init(&taken);

    pthread_mutex_lock(&w->lock);
    list_splice(&taken, &w->inbox);
    pthread_mutex_unlock(&w->lock);

    while ((node = list_pop(&taken))) {
        struct post *p = LIST_ENTRY(node, struct post, link);
        p->run(p, w);
    }
}

static void close_own(struct worker *w)
{
    uv_handle_t *own[] = {(uv_handle_t *)&w->wake, (uv_handle_t *)&w->clock,
                          (uv_handle_t *)&w->before_sleep, (uv_handle_t *)&w->after_sleep};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (!uv_is_closing(own[i])) uv_close(own[i], NULL);
}

static void take_posts(struct worker *w)
{
    w->posted_here = false;
    run_inbox(w);
    pthread_mutex_lock(&w->lock);
    bool stop = w->stopping && list_empty(&w->inbox);
    pthread_mutex_unlock(&w->lock);
    if (stop) close_own(w);
}

static void on_wake(uv_poll_t *poll, int status, int events)
{
    struct worker *w = poll->data;
    eventfd_t times;

    eventfd_read(w->wake_fd, &times);
    take_posts(w);
}

/* ---- timers ---- */

static void heap_set(struct worker *w, size_t at, struct timer *t)
{
    w->heap[at] = t;
    t->slot = at + 1;
}

static void sift_up(struct worker *w, size_t at, struct timer *t)
{
    while (at && w->heap[(at - 1) / 2]->at > t->at) {
        heap_set(w, at, w->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_set(w, at, t);
}

static void sift_down(struct worker *w, size_t at, struct timer *t)
{
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= w->heap_len) break;
        if (child + 1 < w->heap_len && w->heap[child + 1]->at < w->heap[child]->at) child++;
        if (w->heap[child]->at >= t->at) break;
        heap_set(w, at, w->heap[child]);
        at = child;
    }
    heap_set(w, at, t);
}

static void on_clock(uv_timer_t *clock);

static void aim_clock(struct worker *w)
{
    if (!w->heap_len) {
        uv_timer_stop(&w->clock);
        return;
    }
    int64_t in = w->heap[0]->at - worker_now(w);
    uv_timer_start(&w->clock, on_clock, in > 0 ? (uint64_t)in : 0, 0);
}

void timer_disarm(struct worker *w, struct timer *t)
{
    if (!t->slot) return;

    size_t at = t->slot - 1;
    struct timer *last = w->heap[--w->heap_len];
    t->slot = 0;
    if (last == t) return;
    if (at && w->heap[(at - 1) / 2]->at > last->at) {
        sift_up(w, at, last);
    } else {
        sift_down(w, at, last);
    }
}

void timer_arm(struct worker *w, struct timer *t, int64_t at)
{
    if (t->slot && t->at == at) return;

    timer_disarm(w, t);
    t->at = at;
    if (w->heap_len == w->heap_cap) {
        w->heap_cap = w->heap_cap ? w->heap_cap * 2 : 64;
        w->heap = xrealloc(w->heap, w->heap_cap * sizeof(struct timer *));
    }
    sift_up(w, w->heap_len++, t);
    if (t->slot == 1) aim_clock(w);
}

static void on_clock(uv_timer_t *clock)
{
    struct worker *w = clock->data;
    int64_t now = worker_now(w);

    while (w->heap_len && w->heap[0]->at <= now) {
        struct timer *t = w->heap[0];
        timer_disarm(w, t);
        t->fire(t, now);
    }
    aim_clock(w);
}

/* ---- the end of a loop turn ---- */

void worker_defer(struct worker *w, struct deferred *d)
{
    if (!d->link.next) list_init(&d->link);
    if (list_empty(&d->link)) list_push(&w->deferred, &d->link);
}

void worker_undefer(struct deferred *d)
{
    if (d->link.next) list_remove(&d->link);
}

static void on_before_sleep(uv_prepare_t *handle)
{
    struct worker *w = handle->data;
    struct list *node;

    if (w->posted_here) take_posts(w);
    while ((node = list_pop(&w->deferred))) {
        struct deferred *d = LIST_ENTRY(node, struct deferred, link);
        d->run(d);
    }
    /* Not now: who posts to itself again and again must not keep the sockets waiting. */
    if (w->posted_here && !uv_is_closing((uv_handle_t *)&w->wake)) wake(w);
}

/* A machine that starts with a wrong clock sets it back by hours when the network comes: what was
 * to happen in seconds must not wait as long. The order of the heap stays. */
static void bring_forward(struct worker *w, int64_t by)
{
    for (size_t i = 0; i < w->heap_len; i++)
        w->heap[i]->at -= by;
}

static void on_after_sleep(uv_check_t *handle)
{
    enum { STEP_MS = 500 };
    struct worker *w = handle->data;
    int64_t before = w->wall_offset;

    read_clock(w);
    /* Kept from the core between the two clocks, one sees a step that is none. */
    if (llabs(w->wall_offset - before) > STEP_MS) read_clock(w);
    if (before - w->wall_offset > STEP_MS) bring_forward(w, before - w->wall_offset);
    /* The wall clock was stepped: the armed uv timer aims at the wrong moment. */
    if (llabs(w->wall_offset - before) > STEP_MS) aim_clock(w);
}

/* ---- life ---- */

struct worker *worker_new(int index)
{
    struct worker *w = xcalloc(sizeof(*w));

    w->index = index;
    list_init(&w->inbox);
    list_init(&w->deferred);
    pthread_mutex_init(&w->lock, NULL);
    if (uv_loop_init(&w->loop)) abort();
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->wake_fd < 0 || uv_poll_init(&w->loop, &w->wake, w->wake_fd)) abort();
    uv_poll_start(&w->wake, UV_READABLE, on_wake);
    uv_timer_init(&w->loop, &w->clock);
    uv_prepare_init(&w->loop, &w->before_sleep);
    uv_check_init(&w->loop, &w->after_sleep);
    w->wake.data = w->clock.data = w->before_sleep.data = w->after_sleep.data = w;
    uv_prepare_start(&w->before_sleep, on_before_sleep);
    uv_check_start(&w->after_sleep, on_after_sleep);
    uv_unref((uv_handle_t *)&w->clock);
    uv_unref((uv_handle_t *)&w->before_sleep);
    uv_unref((uv_handle_t *)&w->after_sleep);
    read_clock(w);
    return w;
}

void worker_run(struct worker *w)
{
    self = w;
    uv_run(&w->loop, UV_RUN_DEFAULT);
    self = NULL;
}

static void *thread_main(void *arg)
{
    worker_run(arg);
    return NULL;
}

err_t worker_start(struct worker *w)
{
    int e = pthread_create(&w->thread, NULL, thread_main, w);
    if (e) return fail(SYSTEM, "cannot start a thread: %s", uv_strerror(-e));
    w->started = true;
    return OK;
}

void worker_stop(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_mutex_unlock(&w->lock);
    wake(w);
}

void worker_join(struct worker *w)
{
    if (w->started) pthread_join(w->thread, NULL);
    w->started = false;
}

void worker_free(struct worker *w)
{
    if (!w) return;
    close_own(w);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    uv_loop_close(&w->loop);
    close(w->wake_fd);
    pthread_mutex_destroy(&w->lock);
    free(w->heap);
    free(w);
}

/* ---- heavy work ---- */

struct pool_job {
    uv_work_t request;
    struct offload *offload;
    struct worker *worker;
};

static void on_pool(uv_work_t *request)
{
    struct offload *o = ((struct pool_job *)request->data)->offload;
    o->work(o);
}

static void on_pool_done(uv_work_t *request, int status)
{
    struct pool_job *job = request->data;
    struct offload *o = job->offload;
    struct worker *w = job->worker;

    free(job);
    o->uv = NULL;
    o->done(o, w);
}

void worker_offload(struct worker *w, struct offload *o)
{
    struct pool_job *job = xcalloc(sizeof(*job));
    *job = (struct pool_job){.offload = o, .worker = w};
    job->request.data = job;
    o->uv = job;
    uv_queue_work(&w->loop, &job->request, on_pool, on_pool_done);
}
