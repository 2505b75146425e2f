/* Turns: opened by settle.c and calls.c for every input, filled through host.c and ingest.c,
 * released here.
 *
 * The order of an account's turns is the order of its list. A turn is released when it is durable
 * (or wrote nothing) and stands first. What must be durable before anything of a turn leaves is
 * written down twice: in the list, and for the monitor of test builds in `needs`, which asks the
 * writer's own notes. */
#include "server/account/turn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/account/inside.h"
#include "server/events/hub.h"
#include "server/log.h"
#include "server/release.h"
#include "storage/monitor.h"

struct arena *turn_arena(struct turn *t) { return &t->arena; }
struct batch *turn_batch(struct turn *t) { return &t->batch; }
int64_t turn_now(const struct turn *t) { return t->now; }
struct account *turn_account(struct turn *t) { return t->account; }

/* A snapshot is taken at the first read of a turn and given back at its end, so that a turn that
 * reads nothing costs none. */
struct view *turn_view(struct turn *t)
{
    struct account_worker *aw = t->account->home;

    if (!aw->view_begun) {
        /* Without a reader slot or a sane map there is nothing to run on. */
        if (view_begin(aw->view) != OK) {
            LOG(ERROR, account_subject(t->account), "the database cannot be read: %s", err_trail());
            abort();
        }
        view_overlay(aw->view, &t->account->batches);
        aw->view_begun = true;
    }
    return aw->view;
}

static void end_view(struct account_worker *aw)
{
    if (aw->view_begun) view_end(aw->view);
    aw->view_begun = false;
}

static struct event_head head_of(const struct turn *t, uint16_t number, uint32_t peer)
{
    const struct account *a = t->account;

    return (struct event_head){.account = a->scope.account,
                               .peer = peer,
                               .type = number,
                               .world = a->status.sandbox,
                               .at_ms = t->now};
}

void turn_event(struct turn *t, enum event_kind kind, uint32_t peer, struct slice bytes)
{
    struct event_head head = head_of(t, event_number(kind), peer);

    batch_event(&t->batch, t->account->scope.tenant, &head, bytes);
}

void turn_merge(struct turn *t, const struct db_contact *person)
{
    struct event_head head = head_of(t, NOTICE_MERGE, person->peer);
    AUTO(buf) parts = {0};

    event_merge(&parts, person);
    batch_notice(&t->batch, t->account->scope.tenant, &head, buf_slice(&parts));
}

void turn_live_event(struct turn *t, enum event_kind kind, uint32_t peer, struct slice bytes)
{
    struct queued_event *e = arena_new(&t->arena, struct queued_event);

    e->head = head_of(t, event_number(kind), peer);
    e->bytes = arena_dup(&t->arena, bytes);
    if (t->last_live)
        t->last_live->next = e;
    else
        t->first_live = e;
    t->last_live = e;
}

void turn_send(struct turn *t, const struct wa_send *send)
{
    struct queued_send *q = arena_new(&t->arena, struct queued_send);

    q->send = *send;
    q->send.bytes = arena_dup(&t->arena, send->bytes);
    if (t->last_send)
        t->last_send->next = q;
    else
        t->first_send = q;
    t->last_send = q;
}

void turn_ends_call(struct turn *t, struct account_call *c) { list_push(&t->calls, &c->link); }

/* ---- release ---- */

/* What leaves, in words: "3 sends, 1 call". */
static void check_release(const struct turn *t)
{
    char what[64];
    unsigned sends = 0, calls = 0, live = 0;

    if (!t->needs || !monitor_is_on()) return;
    for (const struct queued_send *q = t->first_send; q; q = q->next)
        sends++;
    for (const struct queued_event *e = t->first_live; e; e = e->next)
        live++;
    LIST_EACH(node, &t->calls)
    calls++;
    snprintf(what, sizeof what, "%u sends, %u calls, %u live events", sends, calls, live);
    release_check(t->account->scope.account, t->needs, account_subject(t->account), what);
}

static void release_sends(struct account *a, struct turn *t)
{
    AUTO(buf) bytes = {0};

    if (!a->client) return; /* broken meanwhile: the outbox repeats them, WhatsApp redelivers */
    for (struct queued_send *q = t->first_send; q; q = q->next) {
        if (!a->link || !a->link_is_up || q->send.link != a->link_number) continue;
        buf_reset(&bytes);
        wa_client_release(a->client, &q->send, worker_now(a->home->worker), &bytes);
        metric_add(METRIC_bytes_out, bytes.len);
        link_write(a->link, buf_slice(&bytes));
        if (q->send.kind == WA_SEND_CLOSE) link_close(a->link, "closed by us");
    }
}

static void release_live(struct account *a, struct turn *t)
{
    struct hubs *hubs = a->home->accounts->server->hubs;

    for (struct queued_event *e = t->first_live; e && hubs; e = e->next)
        hubs_publish_live(hubs, a->scope.tenant, &e->head, e->bytes);
}

static void release_status(struct account *a, struct turn *t)
{
    struct server *s = a->home->accounts->server;

    if (t->status) {
        t->status->blocked = a->broken;
        directory_update(s->directory, t->status);
        if (s->on_status) s->on_status(s, t->status);
    }
    if (t->removes) directory_remove(s->directory, account_id(a));
}

static void call_back(struct post *p, struct worker *w)
{
    struct account_call *c = CONTAINER_OF(p, struct account_call, post);

    c->done(c, w);
}

void turn_give_back(struct account_call *c)
{
    c->post.run = call_back;
    worker_post(c->home, &c->post);
}

static void turn_free(struct turn *t)
{
    batch_done(&t->batch);
    arena_done(&t->arena);
    free(t);
}

static void release(struct account *a, struct turn *t)
{
    check_release(t);
    release_sends(a, t);
    release_live(a, t);
    release_status(a, t);
    for (struct list *node; (node = list_pop(&t->calls));)
        turn_give_back(LIST_ENTRY(node, struct account_call, link));
    if (t->posted)
        metric_add(METRIC_turn_ms, (uint64_t)(worker_ticks(a->home->worker) - t->closed_ticks));
    turn_free(t);
}

/* The planted bug of tests/inject: what the turn says leaves at once. */
static void release_early(struct account *a, struct turn *t)
{
    struct faults *faults = writer_faults(a->home->accounts->server->writer);

    if (!fault_due(&faults->early_release)) return;
    fault_count("early_release");
    check_release(t);
    release_sends(a, t);
}

static void release_ready(struct account *a)
{
    while (!list_empty(&a->turns)) {
        struct turn *t = LIST_ENTRY(a->turns.next, struct turn, node);

        if (!t->durable) return; /* NOLINT: what was freed has left the list */
        list_remove(&t->node);
        release(a, t);
    }
}

/* ---- the commit's answer ---- */

static void settle_counts(struct account *a, struct turn *t)
{
    list_remove(&t->batch.pending);
    if (t->slices) a->slicing = false;
    a->undurable--;
    a->undurable_bytes -= t->batch.bytes;
}

/* Its account broke: what it ended waits with the other calls until the database knows all. */
static void throw_away(struct turn *t)
{
    struct account *a = t->account;

    list_remove(&t->node);
    for (struct list *node; (node = list_pop(&t->calls)); a->call_count++)
        list_push(&a->calls, node);
    metric_add(METRIC_turns_failed, 1);
    turn_free(t);
}

void account_leave_turns(struct account *a)
{
    LIST_EACH(node, &a->turns)
    {
        struct turn *t = LIST_ENTRY(node, struct turn, node);

        t->left = true;
        list_remove(&t->batch.pending); /* nobody may read it any more */
    }
}

/* The oldest turn's commit failed. What wrote behind it fails too, as the writer says in a moment;
 * what wrote nothing had read it. */
static void on_failed(struct account *a, struct turn *t, err_t e)
{
    struct list *node;

    list_remove(&t->node);
    if (!t->left) {
        LOG(ERROR, account_subject(a), "a commit failed: %s", err_name(e));
        account_break(a, e);
    }
    throw_away(t);
    while ((node = a->turns.next) != &a->turns && LIST_ENTRY(node, struct turn, node)->durable)
        throw_away(LIST_ENTRY(node, struct turn, node));
}

static void on_committed(struct post *p, struct worker *w)
{
    struct turn *t = CONTAINER_OF(p, struct turn, post);
    struct account *a = t->account;
    err_t e = t->batch.result;

    settle_counts(a, t);
    if (e == OK) {
        a->created = false; /* its row is there, whatever became of the account */
        t->durable = true;
        release_ready(a);
    } else {
        on_failed(a, t, e);
    }
    account_end_break(a);
    account_settle(a);
}

/* The writer's thread. */
static void on_written(struct batch *b)
{
    struct turn *t = b->context;

    t->post.run = on_committed;
    worker_post(t->account->home->worker, &t->post);
}

/* ---- open and close ---- */

struct turn *turn_open(struct account *a)
{
    struct turn *t = xcalloc(sizeof *t);

    assert(!a->home->turn);
    t->account = a;
    t->now = worker_now(a->home->worker);
    list_init(&t->node);
    list_init(&t->calls);
    batch_init(&t->batch);
    list_init(&t->batch.pending);
    list_push(&a->batches, &t->batch.pending);
    a->home->turn = t;
    a->row_dirty = a->status_dirty = false;
    metric_add(METRIC_turns, 1);
    return t;
}

void turn_discard(struct turn *t)
{
    end_view(t->account->home);
    t->account->home->turn = NULL;
    list_remove(&t->batch.pending);
    turn_free(t);
}

static void take_status(struct account *a, struct turn *t)
{
    if (!a->row_dirty && !a->status_dirty) return;
    if (a->row_dirty) account_write_row(a, t);
    t->status = arena_new(&t->arena, struct account_status);
    *t->status = a->status;
}

void turn_close(struct turn *t, err_t e)
{
    struct account *a = t->account;
    struct account_worker *aw = a->home;

    if (e == OK) e = t->error; /* of a save or an event, which have no way to tell it */
    if (e == OK && t->batch.overfull)
        e = fail(TOO_LARGE, "one input wrote more than %d MB", BATCH_MAX >> 20);
    if (e == OK) take_status(a, t);
    end_view(aw);
    aw->turn = NULL;
    if (e != OK) {
        LOG(ERROR, account_subject(a), "the account is opened again from disk: %s", err_trail());
        list_remove(&t->batch.pending);
        throw_away(t);
        account_break(a, e);
        account_settle(a);
        return;
    }
    t->closed_ticks = worker_ticks(aw->worker);
    list_push(&a->turns, &t->node);
    if (batch_is_empty(&t->batch)) {
        list_remove(&t->batch.pending);
        t->needs = a->written;
        t->durable = true;
        release_ready(a);
    } else {
        t->needs = t->batch.turn = a->written = ++a->turn_number;
        t->batch.owner = a->scope.account;
        t->batch.epoch = a->epoch;
        t->batch.done = on_written;
        t->batch.context = t;
        t->posted = true;
        a->undurable++;
        a->undurable_bytes += t->batch.bytes;
        metric_add(METRIC_turns_written, 1);
        release_early(a, t);
        writer_post(aw->accounts->server->writer, &t->batch);
    }
    account_settle(a);
}
