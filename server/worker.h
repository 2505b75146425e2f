/* A worker: one thread, one uv loop. Objects belong to one worker; to reach another thread, post
 * the object itself (the post is embedded in it, so posting cannot fail and allocates nothing).
 * What may be gone when the post arrives travels as an id and is looked up on arrival.
 *
 * Clock, timers and posting come only from here, so that tests/flow can run accounts on fake time
 * (worker_fake.c). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/list.h"

struct uv_loop_s;
struct worker;

struct post {
    struct list link;
    void (*run)(struct post *p, struct worker *w); /* on the worker's thread; may free its object */
};

/* `index` 0..n-1; main's own loop is a worker too (index -1) and is run by worker_run(). */
struct worker *worker_new(int index);
/* Starts the thread. */
err_t worker_start(struct worker *w) MUST_CHECK;
/* Runs the loop on the calling thread until worker_stop(). */
void worker_run(struct worker *w);
/* Any thread. The loop ends when its handles are closed; worker_join waits for the thread. */
void worker_stop(struct worker *w);
void worker_join(struct worker *w);
void worker_free(struct worker *w);
int worker_index(const struct worker *w);
/* The worker whose thread this is, NULL outside. */
struct worker *worker_self(void);
struct uv_loop_s *worker_loop(struct worker *w);

/* Any thread. Posts of one sender arrive in order. */
void worker_post(struct worker *w, struct post *p);

/* Milliseconds of wall clock, taken once per loop turn. */
int64_t worker_now(struct worker *w);
/* Monotonic milliseconds, for spans. */
int64_t worker_ticks(struct worker *w);

/* One-shot timers in a binary heap over a single uv timer: cheap to move, thousands per worker.
 * Embed one; zero it first. Own thread only. `at` in wall-clock ms as worker_now(); when that clock
 * is set back, what is armed comes as soon as it would have come. */
struct timer {
    int64_t at;
    size_t slot; /* place in the heap + 1, 0 when not armed */
    void (*fire)(struct timer *t, int64_t now);
};
void timer_arm(struct worker *w, struct timer *t, int64_t at);
void timer_disarm(struct worker *w, struct timer *t);
static inline bool timer_is_armed(const struct timer *t) { return t->slot != 0; }

/* Runs at the end of the current loop turn, before the loop sleeps: where streams coalesce what
 * they gathered. Own thread only; harmless when queued already. */
struct deferred {
    struct list link; /* zeroed: not queued */
    void (*run)(struct deferred *d);
};
void worker_defer(struct worker *w, struct deferred *d);
void worker_undefer(struct deferred *d);

/* Heavy work on libuv's pool: `work` on a pool thread, then `done` back on this worker. */
struct offload {
    void *uv; /* private */
    void (*work)(struct offload *o);
    void (*done)(struct offload *o, struct worker *w);
};
void worker_offload(struct worker *w, struct offload *o);
