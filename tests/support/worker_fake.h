/* A worker on fake time: include it in one .c of a test program, and the whole of worker.h is
 * played by this file. Everything runs on the test's thread, when the test says so. */
#pragma once
#include <stdlib.h>

#include "server/worker.h"

struct worker {
    int index;
    int64_t now, stepped; /* stepped: how far the wall clock was moved against the ticks */
    struct list posts, deferred;
    struct timer *timers[4096];
    size_t timer_count;
};

static struct worker *fake_current;
/* What another thread does just before a turn is posted, once: the clock is read there. */
static void (*fake_on_ticks)(void);

struct worker *worker_new(int index)
{
    struct worker *w = xcalloc(sizeof *w);

    w->index = index;
    w->now = 1800000000000;
    list_init(&w->posts);
    list_init(&w->deferred);
    fake_current = w;
    return w;
}
err_t worker_start(struct worker *w) { return OK; }
void worker_run(struct worker *w) {}
void worker_stop(struct worker *w) {}
void worker_join(struct worker *w) {}
void worker_free(struct worker *w) { free(w); }
int worker_index(const struct worker *w) { return w->index; }
struct worker *worker_self(void) { return fake_current; }
struct uv_loop_s *worker_loop(struct worker *w) { return NULL; }
void worker_post(struct worker *w, struct post *p) { list_push(&w->posts, &p->link); }
int64_t worker_now(struct worker *w) { return w->now + w->stepped; }
int64_t worker_ticks(struct worker *w)
{
    void (*act)(void) = fake_on_ticks;

    fake_on_ticks = NULL;
    if (act) act();
    return w->now;
}

void timer_disarm(struct worker *w, struct timer *t)
{
    if (!t->slot) return;
    w->timers[t->slot - 1] = w->timers[--w->timer_count];
    w->timers[t->slot - 1]->slot = t->slot;
    t->slot = 0;
}
void timer_arm(struct worker *w, struct timer *t, int64_t at)
{
    timer_disarm(w, t);
    t->at = at;
    w->timers[w->timer_count++] = t;
    t->slot = w->timer_count;
}
void worker_defer(struct worker *w, struct deferred *d)
{
    if (!d->link.next) list_init(&d->link);
    if (list_empty(&d->link)) list_push(&w->deferred, &d->link);
}
void worker_undefer(struct deferred *d)
{
    if (d->link.next) list_remove(&d->link);
}
void worker_offload(struct worker *w, struct offload *o)
{
    o->work(o);
    o->done(o, w);
}

/* Runs what was posted, until there is nothing. */
static inline void fake_run(struct worker *w)
{
    struct list *node;

    do {
        while ((node = list_pop(&w->posts))) {
            struct post *p = LIST_ENTRY(node, struct post, link);
            p->run(p, w);
        }
        if ((node = list_pop(&w->deferred))) {
            struct deferred *d = LIST_ENTRY(node, struct deferred, link);
            d->run(d);
        }
    } while (node || !list_empty(&w->posts));
}

/* Sets the wall clock back, and with it the timers, as worker.h has it. */
static inline void fake_set_back(struct worker *w, int64_t ms)
{
    w->stepped -= ms;
    for (size_t i = 0; i < w->timer_count; i++)
        w->timers[i]->at -= ms;
}

static inline struct timer *fake_due(struct worker *w, int64_t until)
{
    struct timer *next = NULL;

    for (size_t i = 0; i < w->timer_count; i++)
        if (w->timers[i]->at - w->stepped <= until && (!next || w->timers[i]->at < next->at))
            next = w->timers[i];
    return next;
}

/* Lets time pass; timers fire in their order. */
static inline void fake_pass(struct worker *w, int64_t ms)
{
    int64_t until = w->now + ms;

    for (struct timer *t; (t = fake_due(w, until));) {
        if (t->at - w->stepped > w->now) w->now = t->at - w->stepped;
        timer_disarm(w, t);
        t->fire(t, worker_now(w));
        fake_run(w);
    }
    w->now = until;
}
