/* A round: every tenant's log is cut, its due jobs are worked off, slice by slice. Each slice is a
 * batch; the next begins when it is durable. */
#include "server/upkeep.h"

#include <stdlib.h>

#include "proto/base/reader.h"
#include "server/account/account.h"
#include "server/config.h"
#include "server/log.h"
#include "server/server.h"
#include "storage/accounts.h"
#include "storage/events.h"
#include "storage/jobs.h"
#include "storage/retention.h"
#include "storage/tenants.h"
#include "storage/writer.h"

enum {
    AUDIT_DAYS = 90,
    SESSION_IDLE_DAYS = 7,
    PAUSE_MS = 5, /* between slices, for the accounts */
};
#define DAY_MS ((int64_t)24 * 60 * 60 * 1000)

struct upkeep {
    struct server *server;
    struct worker *worker;
    struct view *view;
    struct batch batch;
    struct timer timer;
    struct post post;
    uint32_t tenant;  /* worked on now; 0: between rounds */
    bool is_cut;      /* of what is too old or too much nothing is left, jobs come next */
    int64_t round_at; /* ticks: the next round begins then */
    bool in_flight, stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
    struct post stop_post;
};

static struct retention limits_of(const struct config *c)
{
    return (struct retention){
        .event_age_ms = c->event_days * DAY_MS,
        .event_bytes = (uint64_t)c->event_bytes,
        .audit_age_ms = AUDIT_DAYS * DAY_MS,
        .session_idle_ms = SESSION_IDLE_DAYS * DAY_MS,
    };
}

/* ---- jobs ---- */

static err_t purge_account(struct upkeep *u, const struct db_job *job, bool *out_more)
{
    struct reader r = reader_of(job->input);
    struct scope scope = {u->tenant, reader_be32(&r)};
    struct key prefix = key_of_scope(scope);

    TRY(reader_end(&r));
    TRY(purge_step(&u->batch, u->view, DB_data, key_slice(&prefix), out_more));
    if (*out_more) return OK;
    db_account_delete(&u->batch, scope);
    db_job_delete(&u->batch, (struct scope){u->tenant, 0}, job->number);
    LOG(INFO, NULL, "purged the rows of a deleted account number=%u", scope.account);
    return OK;
}

/* The first job that is due; there is more while it, or another one, is left. */
static err_t work_job(struct upkeep *u, int64_t now, bool *out_more)
{
    struct db_job job;
    AUTO(range) r = {0};

    db_jobs(&r, u->view, (struct scope){u->tenant, 0});
    while (db_job_next(&r, &job)) {
        if (job.due_ms > now || job.kind != JOB_PURGE_ACCOUNT) continue;
        TRY(purge_account(u, &job, out_more));
        *out_more = true;
        return OK;
    }
    return range_error(&r);
}

/* ---- rounds ---- */

/* 0 behind the last. */
static err_t next_tenant(struct upkeep *u)
{
    struct db_tenant t;
    uint32_t next = 0;
    AUTO(range) r = {0};

    db_tenants(&r, u->view);
    do {
        while (!next && db_tenant_next(&r, &t))
            if (t.tenant > u->tenant) next = t.tenant;
    } while (!next && range_pass_damage(&r)); /* those behind a damaged one have their turn */
    u->tenant = next;
    u->is_cut = false;
    return range_error(&r);
}

/* The planted bug of tests/inject. */
static void cut_greedily(struct upkeep *u)
{
    struct faults *faults = writer_faults(u->server->writer);
    struct db_log log;

    if (batch_is_empty(&u->batch) || !fault_due(&faults->greedy_cut)) return;
    if (db_log_find(u->view, u->tenant, &log) != OK || log.next_seq < 2) return;
    fault_count("greedy_cut");
    batch_trim(&u->batch, u->tenant, log.next_seq - 1);
}

/* Cut once in a round: where events come without a pause there is always one more to cut. */
static err_t work_tenant(struct upkeep *u, int64_t now, bool *out_more)
{
    struct retention limits = limits_of(u->server->config);
    bool left;

    if (!u->is_cut) {
        TRY(retention_step(&u->batch, u->view, u->tenant, &limits, now, &left));
        cut_greedily(u);
        u->is_cut = !left;
        *out_more = left || !batch_is_empty(&u->batch);
        if (*out_more) return OK;
    }
    return work_job(u, now, out_more);
}

/* The next slice. A tenant that had one is looked at again, one that fails is passed over, and the
 * round ends behind the last. */
static err_t fill(struct upkeep *u, int64_t now)
{
    bool more = false;

    if (u->tenant && work_tenant(u, now, &more) != OK) {
        LOG(ERROR, NULL, "upkeep of tenant %u: %s", u->tenant, err_trail());
        batch_reset(&u->batch);
        more = false;
    }
    return more ? OK : next_tenant(u);
}

static void arm(struct upkeep *u, int64_t in_ms)
{
    timer_arm(u->worker, &u->timer, worker_now(u->worker) + in_ms);
}

static void tell_stopped(struct post *p, struct worker *w)
{
    struct upkeep *u = CONTAINER_OF(p, struct upkeep, stop_post);

    u->stopped(u->stopped_arg);
}

static void stopped(struct upkeep *u)
{
    timer_disarm(u->worker, &u->timer);
    u->stop_post.run = tell_stopped;
    worker_post(u->server->main, &u->stop_post);
}

static void on_home(struct post *p, struct worker *w)
{
    struct upkeep *u = CONTAINER_OF(p, struct upkeep, post);
    err_t e = u->batch.result;

    u->in_flight = false;
    if (e != OK) u->is_cut = false; /* it was not */
    batch_reset(&u->batch);
    if (u->stopping)
        stopped(u);
    else if (e != OK || writer_is_full(u->server->writer))
        arm(u, UPKEEP_PROBE_MS);
    else
        arm(u, PAUSE_MS);
}

/* The writer's thread. */
static void on_written(struct batch *b)
{
    struct upkeep *u = b->context;

    u->post.run = on_home;
    worker_post(u->worker, &u->post);
}

static void post(struct upkeep *u)
{
    u->batch.owner = 0;
    u->batch.done = on_written;
    u->batch.context = u;
    u->in_flight = true;
    writer_post(u->server->writer, &u->batch);
}

static void on_timer(struct timer *t, int64_t now)
{
    struct upkeep *u = CONTAINER_OF(t, struct upkeep, timer);

    if (u->stopping || u->in_flight) return;
    if (writer_is_full(u->server->writer)) {
        batch_probe(&u->batch);
        post(u);
        return;
    }
    if (!u->tenant && worker_ticks(u->worker) < u->round_at) {
        arm(u, UPKEEP_PROBE_MS);
        return;
    }
    err_t e = view_begin(u->view);
    if (e == OK) e = fill(u, now);
    view_end(u->view);
    if (e != OK) {
        LOG(ERROR, NULL, "upkeep: %s", err_trail());
        u->tenant = 0;
    }
    if (!u->tenant) u->round_at = worker_ticks(u->worker) + UPKEEP_EVERY_MS;
    if (!batch_is_empty(&u->batch))
        post(u);
    else
        arm(u, u->tenant ? PAUSE_MS : UPKEEP_PROBE_MS);
}

struct upkeep *upkeep_new(struct server *s)
{
    struct upkeep *u = xcalloc(sizeof *u);

    u->server = s;
    u->worker = s->workers[s->worker_count - 1];
    u->timer.fire = on_timer;
    batch_init(&u->batch);
    if (view_new(s->store, &u->view) != OK) abort();
    return u;
}

static void on_start(struct post *p, struct worker *w)
{
    arm(CONTAINER_OF(p, struct upkeep, post), UPKEEP_PROBE_MS);
}

void upkeep_start(struct upkeep *u)
{
    u->post.run = on_start;
    worker_post(u->worker, &u->post);
}

static void on_stop(struct post *p, struct worker *w)
{
    struct upkeep *u = CONTAINER_OF(p, struct upkeep, stop_post);

    u->stopping = true;
    if (!u->in_flight) stopped(u);
}

void upkeep_stop(struct upkeep *u, void (*done)(void *arg), void *arg)
{
    u->stopped = done;
    u->stopped_arg = arg;
    u->stop_post.run = on_stop;
    worker_post(u->worker, &u->stop_post);
}

void upkeep_free(struct upkeep *u)
{
    if (!u) return;
    batch_done(&u->batch);
    view_free(u->view);
    free(u);
}
